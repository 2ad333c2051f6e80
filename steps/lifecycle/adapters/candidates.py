"""Who may be registered: finished runs of one table that have a model and a cross-validated score."""

from typing import Any

from lifecycle.adapters import projects, registry, sources, spark, spark_table, tracking
from lifecycle.adapters.cli import Options
from lifecycle.adapters.steps import TABLE_OPTIONS, TRAINING_OPTIONS, Identity, Step, training_settings
from lifecycle.errors import UserError
from lifecycle.metrics import Metric
from lifecycle.selection import Candidate, choose

STEPS = ("baseline", "tune_lr", "tune_multi", "tune_mllib", "regress_sklearn")
NO_CANDIDATE = ("optimistic", "pickle")


def searched_in_spark(options: Options) -> Identity | None:
    """Name a table of a catalog as ``tune_mllib`` does, by its rows; None where it cannot have searched over it."""
    if options["split"] != "hash" or not sources.is_cataloged(options["data"]):
        return None
    session = spark.active_session()
    return None if session is None else spark_table.identify(options, session)


def candidate(run: Any) -> Candidate:
    """Read a run as a candidate."""
    tags = run.data.tags
    return Candidate(
        run_id=run.info.run_id,
        step=tags.get("lifecycle.step", ""),
        model=tags.get("lifecycle.model", "model"),
        rank=int(tags.get("lifecycle.rank", 0)),
        started=run.info.start_time,
        scores=dict(run.data.metrics),
    )


def all_of(table_key: str, experiment_id: str, max_rows: int) -> list[Candidate]:
    """Return the candidates of a table: finished, with a model, neither optimistic nor pickled.

    Scores on other rows cannot be compared, so only those that trained on as many are.
    """
    found = []
    for run in tracking.runs_with({"lifecycle.table": table_key}, experiment_id):
        tags = run.data.tags
        if tags.get("lifecycle.step") not in STEPS or any(tag in tags for tag in NO_CANDIDATE):
            continue
        if int(tags.get("lifecycle.max_rows", 0)) != max_rows:
            continue
        # A trial inherits the table's tag but is no step; its step's winner stands for it.
        if "lifecycle.key" in tags and registry.model_of(run.info.run_id):
            found.append(candidate(run))
    return found


def chosen(step: Step, metric: Metric, options: Options) -> Candidate:
    """Return the candidate to register: the run asked for, else the best; with none, ``baseline`` is run first.

    Raises
    ------
    UserError
        Where the run asked for cannot be taken.
    """
    if options["run_id"]:
        return asked_for(options["run_id"], step.identity.key, bool(options["allow_pickle"]))
    max_rows = training_settings(options, step.contract)["max_rows"]
    found = all_of(step.identity.key, step.run.experiment_id, max_rows)
    if not found:
        projects.run_step(step.run, "baseline", {name: options[name] for name in (*TABLE_OPTIONS, *TRAINING_OPTIONS)})
        found = all_of(step.identity.key, step.run.experiment_id, max_rows)
    return choose(found, metric)


def chosen_id(table_key: str, experiment_id: str, metric: Metric, max_rows: int, options: Options) -> str:
    """Return the id of the run that ``register`` would choose now, or an empty text where it has none yet."""
    found = all_of(table_key, experiment_id, max_rows)
    return str(options["run_id"]) or (choose(found, metric).run_id if found else "")


def asked_for(run_id: str, table_key: str, allow_pickle: bool) -> Candidate:
    """Return the run that was named, as a candidate.

    Raises
    ------
    UserError
        Where it does not exist, is deleted, has no model, is of another table, was selected on test rows, or is pickled
        without leave.
    """
    from mlflow.exceptions import MlflowException

    try:
        run = tracking.client().get_run(run_id)
    except MlflowException as error:
        raise UserError(
            f"run_id: there is no run {run_id!r} in this tracking store; copy the id from a run's page."
        ) from error
    tags = run.data.tags
    if run.info.lifecycle_stage == "deleted":
        raise UserError(f"run_id: run {run_id} is deleted; restore it, or name another run.")
    if tags.get("lifecycle.reused"):
        raise UserError(
            f"run_id: run {run_id} took over the work of another and has no model; "
            f"name that one, {tags['lifecycle.reused']}."
        )
    if tags.get("lifecycle.table") and tags["lifecycle.table"] != table_key:
        raise UserError(
            f"run_id: run {run_id} is of another table (lifecycle.table {tags['lifecycle.table'][:12]}, this one is "
            f"{table_key[:12]}); give the table parameters that it was made with, or name another run."
        )
    if not registry.model_of(run_id):
        raise UserError(f"run_id: run {run_id} has no model; name a run that logged one.")
    if "lifecycle.table" not in tags:
        raise UserError(f"run_id: run {run_id} is not of this project, its table is not known; name a step's run.")
    if "optimistic" in tags:
        raise UserError(
            f"run_id: run {run_id} was selected on the test rows (select_on=test), which can therefore not judge it; "
            "search with select_on=cv."
        )
    if "pickle" in tags and not allow_pickle:
        raise UserError(
            f"run_id: the model of run {run_id} is pickled, which runs its author's code when it is loaded; "
            "if you trust it, add -P allow_pickle=true."
        )
    return candidate(run)


def own_settings(options: Options, metric: Metric, name: str, run_id: str) -> dict[str, Any]:
    """Return the settings of ``register`` that decide its result; the candidate chosen is one of them."""
    return {
        "metric": metric.name,
        "name": name,
        "run_id": run_id,
        "allow_pickle": bool(options["allow_pickle"]),
    }


def still_champion(done: Any) -> bool:
    """Tell whether what a finished run of ``register`` registered is champion still."""
    registered = str(done.data.tags.get("lifecycle.registered", ""))
    now = registry.champion_of(registered.rpartition("/")[0]) if registered else None
    return now is not None and registered == f"{now.name}/{now.version}"


def version_tags(step: Step, chosen: Candidate, metric: Metric) -> dict[str, str]:
    """Return the tags of a version: where it comes from, and the figures that it was chosen and judged by."""
    tags = {
        "lifecycle.run": chosen.run_id,
        "lifecycle.table": step.identity.key,
        "lifecycle.metric": metric.name,
        "lifecycle.data": step.identity.data_digest,
    }
    for name in ("cv", "test", "dummy_test"):
        if f"{name}_{metric.name}" in chosen.scores:
            tags[f"{name}_{metric.name}"] = f"{chosen.scores[f'{name}_{metric.name}']:.6g}"
    return tags

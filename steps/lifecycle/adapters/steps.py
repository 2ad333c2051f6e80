"""What all steps do alike: resolve the options, open the run, find the prepared table, know their key."""

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

from lifecycle.adapters import catalog, code, projects, sources, stored, tracking
from lifecycle.adapters.cli import Options
from lifecycle.adapters.memory import Heartbeat, named
from lifecycle.contract import Contract
from lifecycle.errors import UserError
from lifecycle.reading import parse_read
from lifecycle.settings import SPARK, THRESHOLDS, TableSettings, one_of, step_key, table_key
from lifecycle.table import PreparedTable, TestRows, sample_size
from lifecycle.thresholds import check_threshold

TABLE_OPTIONS = (
    "data",
    "target",
    "query",
    "task",
    "test_data",
    "split",
    "split_column",
    "test_size",
    "folds",
    "seed",
    "positive",
    "drop",
    "ordinal",
    "roles",
    "read",
    "strict",
)
TRAINING_OPTIONS = ("max_rows", "threshold")
PACKAGES = ("mlflow", "hyperopt", "scikit-learn", "numpy", "pandas", "duckdb", "statsmodels", "skops", "pyspark")
# The step that prepares its table by itself, where the rows are.
SPARK_STEP = "tune_mllib"
# A step of another task is named instead of the one that was asked for.
TASK_OF = {"tune_lr": "classification", "regress_sklearn": "regression", "regress_statsmodels": "regression"}
INSTEAD = {"tune_lr": "tune_multi", "regress_sklearn": "baseline", "regress_statsmodels": "baseline"}


@dataclass(frozen=True)
class Identity:
    """A table's settings, its sources, and the key that names it.

    Attributes
    ----------
    settings : TableSettings
        Resolved as far as the table itself is not needed.
    sources : tuple of Source
        ``data``, and ``test_data`` if there is one.
    data_digest, code_digest : str
        SHA-256 of the inputs' bytes, and of steps/ and the lock.
    """

    settings: TableSettings
    sources: tuple[sources.Source, ...]
    data_digest: str
    code_digest: str

    @cached_property
    def key(self) -> str:
        """The tag ``lifecycle.table``."""
        return table_key(self.data_digest, self.settings, self.code_digest)


def identify(options: Options) -> Identity:
    """Resolve a step's table options and name the table, without reading more than its bytes.

    Raises
    ------
    UserError
        For anything that is wrong with the options or the files' places.
    """
    asked = {name: options[name] for name in ("data", "test_data") if options[name] or name == "data"}
    # What lies elsewhere is fetched last, when nothing else can be wrong.
    for name, place in asked.items():
        sources.check(name, place)
    settings, read = catalog.settings_for(options), parse_read(options["read"])
    found = [sources.locate(name, place, read) for name, place in asked.items()]
    return Identity(settings, tuple(found), sources.inputs_digest(found), code.code_digest())


@dataclass
class Step:
    """A step at work.

    Attributes
    ----------
    name : str
        The entry point.
    options : dict
        As typed.
    identity : Identity
        Of its table.
    run : StepRun
        Where it writes.
    prepared_run_id : str
        The run that prepared its table.
    contract : Contract
        Of the table.
    """

    name: str
    options: Options
    identity: Identity
    run: tracking.StepRun
    prepared_run_id: str
    contract: Contract

    @cached_property
    def table(self) -> PreparedTable:
        """The training rows with their folds; of a large table the rows that ``max_rows`` asks for."""
        rows = sample_size(self.contract, self.options["max_rows"])
        if rows:
            self.run.log(tags={"lifecycle.max_rows": str(rows)})
            print(f"{self.name}: trained on a sample of {rows:,} of {self.contract.rows:,} training rows.")
        path = tracking.artifact(self.prepared_run_id, "prepared/train.parquet")
        return stored.read_training(path, self.contract, rows, self.identity.settings.seed)

    def test_rows(self) -> TestRows:
        """Hand out the test rows; a second call in the run is refused."""
        return tracking.test_rows(self.run, self.prepared_run_id, self.contract.features, self.contract.target)

    def begin(self, own: Mapping[str, Any], holds: Callable[[Any], bool] = lambda run: True) -> bool:
        """Name the step's work and write its settings; take over a finished run that has done it before.

        Parameters
        ----------
        own : mapping
            The step's own resolved settings.
        holds : callable, optional
            Tells of a finished run whether its work still stands.

        Returns
        -------
        bool
            True where nothing is left to do.

        Raises
        ------
        UserError
            Where ``resume`` names a run that is no search like this one.
        """
        key = step_key(self.name, self.identity.key, own)
        settings = settings_of(self.name, self.identity, self.contract, own, self.prepared_run_id)
        self.run.settings(settings)
        if self.options.get("resume"):
            # Also where nothing is left to do: a search named by mistake is not the one that the user means.
            named(self.options["resume"], self.run, settings)
        self.run.log(tags={"lifecycle.key": key})
        done = None if self.options["fresh"] else finished(self.name, key, own, self.run.experiment_id)
        if done is None or not holds(done):
            return False
        take_over(self.run, done)
        print(f"{self.name}: done before in run {done.info.run_id}, taken over; -P fresh=true runs it again.")
        return True


def check_training(options: Options) -> None:
    """Refuse options of training that no table could make right, before anything is started.

    Raises
    ------
    UserError
        For an unknown threshold, or a number of rows below zero.
    """
    if options["threshold"]:
        one_of("threshold", options["threshold"], THRESHOLDS)
    if options["max_rows"] < 0:
        raise UserError(
            f"max_rows: {options['max_rows']} rows cannot train anything; give a number of rows, or 0 for all."
        )


def training_settings(options: Options, contract: Contract) -> dict[str, Any]:
    """Resolve the options of training for one table.

    Returns
    -------
    dict
        ``max_rows`` (0 where all rows are used) and ``threshold``.

    Raises
    ------
    UserError
        For a threshold that the target does not have, or rows that cannot be drawn.
    """
    check_threshold(options["threshold"], contract)
    return {"max_rows": sample_size(contract, options["max_rows"]), "threshold": options["threshold"]}


def settings_of(
    step: str, identity: Identity, contract: Contract, own: Mapping[str, Any], prepared_run_id: str
) -> dict[str, Any]:
    """Gather all that is needed to run a step again: what `settings.json` holds.

    Returns
    -------
    dict
        The table's settings with task, split and positive settled, the step's own, the digests and the versions.
    """
    table = identity.settings.resolved() | {
        "task": contract.task,
        "split": contract.split,
        "positive": contract.positive,
    }
    return {
        "step": step,
        "table": table,
        "own": dict(own),
        "data_sha256": identity.data_digest,
        "code_sha256": identity.code_digest,
        "lifecycle.table": identity.key,
        "prepared_run_id": prepared_run_id,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def finished(step: str, key: str, own: Mapping[str, Any], experiment_id: str) -> Any:
    """Find the newest finished run with a key that is at least as complete as what is asked.

    Parameters
    ----------
    step : str
        The entry point.
    key : str
        The step's key.
    own : mapping
        Its settings: a search must have at least ``max_evals`` trials, or have ended without a gain for at least
        ``patience``; and it must have its models under ``log_models=all``.
    experiment_id : str
        Where to look.

    Returns
    -------
    Run or None
        None where there is none.
    """
    for run in tracking.runs_with({"lifecycle.step": step, "lifecycle.key": key}, experiment_id):
        try:
            then = json.loads(tracking.artifact(run.info.run_id, tracking.SETTINGS).read_text(encoding="utf-8"))["own"]
        except LookupError:
            continue
        enough = run.data.metrics.get("trials", 0) >= own.get("max_evals", 0)
        if run.data.tags.get("lifecycle.ended") == "patience":
            enough |= 0 < own["patience"] <= then["patience"]
        if enough and (own.get("log_models") != "all" or then.get("log_models") == "all"):
            return run
    return None


def take_over(run: tracking.StepRun, done: Any) -> None:
    """Give a run the metrics of a finished one with the same key, and the tag that says so; no model."""
    keep = {name: value for name, value in done.data.tags.items() if name in ("lifecycle.key", "optimistic", "pickle")}
    run.log(metrics=done.data.metrics, tags=keep | {"lifecycle.reused": done.info.run_id})


def find_prepared(identity: Identity, experiment_id: str, step: str = "prepare") -> str:
    """Return the id of a finished run that prepared a table, or an empty text."""
    for found in tracking.runs_with({"lifecycle.step": step, "lifecycle.table": identity.key}, experiment_id):
        if tracking.has_artifact(found.info.run_id, "prepared/contract.json"):
            return str(found.info.run_id)
    return ""


def as_searched(identity: Identity, run: tracking.StepRun) -> Identity:
    """Name the table for ``register`` as Spark's SQL makes it, where a search in Spark alone has read the query."""
    if run.step != "register" or not identity.settings.query or find_prepared(identity, run.experiment_id):
        return identity
    other = replace(identity, settings=replace(identity.settings, dialect=SPARK))
    return other if find_prepared(other, run.experiment_id, SPARK_STEP) else identity


def prepared_table(identity: Identity, run: tracking.StepRun, options: Options) -> str:
    """Find the run that prepared a table, or run ``prepare`` as a child.

    ``register`` reads no rows, so that a table whose rows stayed in Spark serves it too.

    Returns
    -------
    str
        Its run id.
    """
    found = find_prepared(identity, run.experiment_id)
    if run.step == "register":
        found = found or find_prepared(identity, run.experiment_id, SPARK_STEP)
    return found or projects.run_step(run, "prepare", {name: options[name] for name in TABLE_OPTIONS})


def read_contract(prepared_run_id: str) -> Contract:
    """Read the contract of a prepared table."""
    path = tracking.artifact(prepared_run_id, "prepared/contract.json")
    return Contract.from_json(path.read_text(encoding="utf-8"))


@contextmanager
def opened(name: str, options: Options, in_spark: Identity | None = None) -> Iterator[Step]:
    """Open a step on its prepared table, and end its run when the block ends.

    Parameters
    ----------
    name : str
        The entry point.
    options : dict
        As typed.
    in_spark : Identity, optional
        The table's name as a search in Spark gives it. Where the experiment has such a search, the table is that one,
        and its rows are not fetched.

    Yields
    ------
    Step
        Ready to work.

    Raises
    ------
    UserError
        For a mistake in the options or the table, or a table of a task that the step is not for.
    """
    check_training(options)
    identity = in_spark or identify(options)
    check_task(name, identity.settings, identity.settings.task)
    tracking.connect()
    run = tracking.start(name)
    if in_spark and not find_prepared(in_spark, run.experiment_id, SPARK_STEP):
        identity = identify(options)
    identity = as_searched(identity, run)
    run.log(tags=identity_tags(name, identity))
    # From here on, since preparing and reading a large table take longer than a run may be silent.
    with Heartbeat(run):
        prepared_run_id = prepared_table(identity, run, options)
        contract = read_contract(prepared_run_id)
        check_task(name, identity.settings, contract.task)
        tracking.copy_inputs(run, prepared_run_id)
        yield Step(name, options, identity, run, prepared_run_id, contract)
    run.end("FINISHED")


def check_task(name: str, settings: TableSettings, task: str) -> None:
    """Refuse a step that is not for a table's task, naming the one that is; ``auto`` is not known yet.

    Raises
    ------
    UserError
        Where the tasks differ.
    """
    if task not in ("auto", TASK_OF.get(name, task)):
        raise UserError(
            f"{name}: it is for {TASK_OF[name]}, and {settings.target!r} of {settings.data!r} makes a table of "
            f"{task}; run -e {INSTEAD[name]} instead."
        )


def identity_tags(name: str, identity: Identity) -> dict[str, str]:
    """Return the tags by which a step's run is found."""
    return {"lifecycle.step": name, "lifecycle.table": identity.key, "lifecycle.data": identity.data_digest}

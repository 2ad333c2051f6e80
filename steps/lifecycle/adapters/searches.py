"""A search as a step: its settings, its trials as child runs, its winner refitted and scored once."""

import time
from dataclasses import asdict
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from lifecycle import adaptive, figures
from lifecycle.adapters import finals, local, spacefiles
from lifecycle.adapters.catalog import short_name
from lifecycle.adapters.cli import Options
from lifecycle.adapters.flavors import log_pipeline
from lifecycle.adapters.progress import Progress
from lifecycle.adapters.steps import Step, training_settings
from lifecycle.contract import Contract
from lifecycle.declared import space_of
from lifecycle.errors import UserError
from lifecycle.metrics import METRIC_NAMES, Metric, dummy_scores, resolve_metric
from lifecycle.models import MODEL_NAMES, MODELS, choose_models, left_out_models, space_for
from lifecycle.search import Suggester, best_record, run_search
from lifecycle.settings import SearchSettings, one_of, parse_names
from lifecycle.spaces import Values
from lifecycle.table import TestRows
from lifecycle.trials import FAILED, Objective, TrialRecord

# Options that are handed to the settings as typed.
AS_TYPED = (
    "algo",
    "select_on",
    "engine",
    "timeout",
    "log_models",
    "trial_timeout",
    "patience",
    "resume",
    "warm_start",
    "max_latency_ms",
    "max_size_mb",
)


def settings_for(step: str, options: Options, contract: Contract) -> SearchSettings:
    """Resolve a search's settings for one table.

    Raises
    ------
    UserError
        For a metric or an estimator that the task does not have.
    """
    training = training_settings(options, contract)
    asked = parse_names(options["models"])
    if step == "tune_lr":
        if asked not in ((), ("logreg",)):
            raise UserError(
                f"models: tune_lr searches over logistic regression alone, not {','.join(asked)!r}; use tune_multi."
            )
        asked = ("logreg",)
    space = spacefiles.read(options["space"], contract.task, asked)
    declared = space_of(space) if space else {}
    return SearchSettings(
        models=choose_models(asked or tuple(declared), contract, training["max_rows"] or contract.rows),
        metric=resolve_metric(options["metric"], contract).name,
        max_evals=options["max_evals"],
        parallelism=options["parallelism"] or local.cores(),
        seed=options["seed"],
        space=space,
        **{name: options[name] for name in AS_TYPED},
        **training,
    )


def models_asked(options: Options) -> tuple[str, ...]:
    """Return the models that were asked for, by name or by a space file; empty where none were.

    Raises
    ------
    UserError
        Where the space file cannot be searched over.
    """
    asked = parse_names(options["models"])
    return asked or tuple(space_of(spacefiles.read(options["space"]) or "{}"))


def check(options: Options) -> None:
    """Refuse search options that no table could make right, before anything is started.

    Raises
    ------
    UserError
        For the first option that cannot be right.
    """
    for name in parse_names(options["models"]):
        one_of("models", name, MODEL_NAMES)
    space = spacefiles.read(options["space"], models=parse_names(options["models"]))
    if options["algo"] == "atpe":
        adaptive.check_installed()
    if options["metric"]:
        one_of("metric", options["metric"], METRIC_NAMES)
    SearchSettings(
        models=(),
        metric="",
        max_evals=options["max_evals"],
        parallelism=1 if options["parallelism"] == 0 else options["parallelism"],
        threshold=options["threshold"],
        space=space,
        **{name: options[name] for name in AS_TYPED},
    )


def run(step: Step) -> None:
    """Search, refit the winner on all training rows, and score it once on the test rows.

    Parameters
    ----------
    step : Step
        ``tune_lr`` or ``tune_multi``.

    Raises
    ------
    UserError
        Where no trial finished, with the reasons.
    """
    settings = settings_for(step.name, step.options, step.contract)
    if step.begin(asdict(settings)):
        return
    if not parse_names(step.options["models"]) and not settings.space and step.name != "tune_lr":
        left_out = left_out_models(step.contract, settings.max_rows or step.contract.rows)
        for model, reason in left_out.items():
            print(f"{step.name}: {model} is left out, the table has {reason}.")
        if left_out:
            reasons = "; ".join(f"{model}: {reason}" for model, reason in left_out.items())
            step.run.log(tags={"lifecycle.left_out": reasons})
    metric = resolve_metric(settings.metric, step.contract)
    on_test = settings.select_on == "test"
    test = step.test_rows() if on_test else None
    if on_test:
        step.run.log(tags={"optimistic": "true"})
    objective = Objective(
        step.table, metric, settings.seed, test, settings.log_models == "all", bool(settings.threshold)
    )
    records = _trials(step, settings, metric, objective)
    best = best_record(records, metric, step.contract.task)
    _draw(step, records, metric, test)
    _finish(step, metric, objective, records, best, test or step.test_rows())


def _trials(step: Step, settings: SearchSettings, metric: Metric, objective: Objective) -> list[TrialRecord]:
    """Run the search; every trial is a child run from the moment it is handed to the engine."""
    selected = f"{'test' if settings.select_on == 'test' else 'cv'}_{metric.name}"
    space = space_of(settings.space) if settings.space else space_for(settings.models, step.contract)
    suggester = Suggester(space, settings.algo, metric, settings.seed)
    progress = Progress(f"{step.name} {short_name(step.options['data'])}", settings.max_evals, metric, selected)
    children: dict[int, str] = {}

    def started(number: int, values: Values) -> None:
        children[number] = step.run.child(f"{number:03d} {values['model']}", {"lifecycle.step": "trial"})

    def ended(record: TrialRecord) -> None:
        child = children.pop(record.number)
        if record.model is not None:
            log_pipeline(step.run, record.model, step.contract, step.table.rows, step.identity.key, child)
            record.model = None
        step.run.end_trial(child, record)
        progress.trial(record)

    began = time.perf_counter()
    try:
        with _engine(settings, objective) as engine:
            records = run_search(settings, suggester, engine, started, ended)
    finally:
        # None are left unless something broke or was interrupted.
        for child in children.values():
            step.run.end_child(child, "KILLED")
    step.run.log(metrics={"search_seconds": time.perf_counter() - began})
    progress.close()
    return records


def _engine(settings: SearchSettings, objective: Objective) -> Any:
    if settings.engine == "spark":
        from lifecycle.adapters import spark

        return spark.SparkEngine(objective, settings.parallelism)
    return local.engine(objective, min(settings.parallelism, settings.max_evals))


def _finish(
    step: Step,
    metric: Metric,
    objective: Objective,
    records: list[TrialRecord],
    best: TrialRecord,
    test: TestRows,
) -> None:
    failed = sum(record.status == FAILED for record in records)
    step.run.log(
        metrics={
            "trials": len(records),
            "failed_trials": failed,
            "trials_fit_seconds": sum(record.fit_seconds for record in records),
            "trials_score_seconds": sum(record.score_seconds for record in records),
        },
        params={f"best_{name}": value for name, value in best.values.items()},
        tags={"lifecycle.best_trial": str(best.number)},
    )
    seconds = {"fit_seconds": best.fit_seconds, "score_seconds": best.score_seconds}
    # Under select_on=test the winner has no cross-validated score, and is no candidate.
    known = {name: value for name, value in best.metrics.items() if name.startswith("cv_")} | seconds
    with threadpool_limits(1):
        model = objective.refit(best.values, best.threshold)
    choice = MODELS[step.contract.task][best.values["model"]]
    finals.log_final(step, model, choice.label, choice.rank, known, test)


def _draw(step: Step, records: list[TrialRecord], metric: Metric, test: TestRows | None) -> None:
    """Draw the search beside the dummy, scored on the rows that the search selected on."""
    rows = [
        {
            "trial": record.number,
            "model": record.values["model"],
            "score": record.score,
            "status": record.status,
        }
        for record in records
    ]
    frame = figures.search_frame(pd.DataFrame(rows), greater_is_better=metric.greater_is_better)
    table = step.table
    dummies = dummy_scores(step.contract, table.labels, table.fold_pairs, test.labels if test else None)
    dummy = dummies.get(f"dummy_{'test' if test else 'cv'}_{metric.name}")
    title = f"{step.name} of {short_name(step.options['data'])}"
    step.run.figure("figures/search.png", figures.draw_search(frame, title, metric.label, dummy))
    step.run.frame("trials.csv", frame)

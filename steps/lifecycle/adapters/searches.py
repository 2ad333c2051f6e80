"""A search as a step: its settings, its trials as child runs, its winner refitted and scored once."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from lifecycle import adaptive, figures
from lifecycle.adapters import finals, local, memory, outcomes, predictions, spacefiles, tracking
from lifecycle.adapters.catalog import short_name
from lifecycle.adapters.cli import Interruption, Options
from lifecycle.adapters.flavors import log_pipeline
from lifecycle.adapters.memory import Past
from lifecycle.adapters.predictions import Keeper
from lifecycle.adapters.progress import Progress
from lifecycle.adapters.steps import Step, settings_of, training_settings
from lifecycle.contract import Contract
from lifecycle.declared import space_of
from lifecycle.errors import UserError
from lifecycle.metrics import METRIC_NAMES, Metric, dummy_scores, resolve_metric
from lifecycle.models import MODEL_NAMES, MODELS, choose_models, first_points, left_out_models, space_for
from lifecycle.search import LAG, Suggester, best_record, run_search
from lifecycle.settings import SearchSettings, one_of, parse_names, step_key
from lifecycle.spaces import Space, Values, holds
from lifecycle.table import TestRows
from lifecycle.trials import FAILED, FINISHED, INFEASIBLE, PRUNED, Limits, Objective, Task, TrialRecord

# The tag of a search that began with another's points: how many.
WARM_POINTS = "lifecycle.warm_points"
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
        adaptive.check_space(space_of(space or "{}"))
    if options["engine"] == "spark":
        from lifecycle.adapters import spark

        spark.check()
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


def start_workers(options: Options) -> None:
    """Let the local engine import its libraries beside what comes before the first trial."""
    if options["engine"] == "local":
        local.start_early()


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
    limits = Limits(settings.max_latency_ms, settings.max_size_mb)
    objective = Objective(
        step.table, metric, settings.seed, test, settings.log_models == "all", bool(settings.threshold), limits
    )
    space = space_of(settings.space) if settings.space else space_for(settings.models, step.contract)
    past = past_of(step, settings, asdict(settings))
    first = _warm(step, settings, metric, space, past) + first_points(space, step.contract.task)
    keeper = Keeper(step.run, step.table, metric)
    keeper.past(past.records)

    def keep(record: TrialRecord) -> None:
        if record.model is not None:
            log_pipeline(step.run, record.model, step.contract, step.table.rows, step.identity.key, record.run_id)
            record.model = None
        keeper.trial(record.run_id, record)

    plan = Plan(
        Suggester(space, settings.algo, metric, settings.seed, first),
        lambda: _engine(settings, objective),
        keep,
        lambda records: best_record(records, metric, step.contract.task, limits),
        lambda best: Task({"model": best.values["model"]}),
    )
    records, best, defaults = trials(step, settings, metric, plan, past)
    assert defaults is not None
    for record in past.records:
        if record.status == FINISHED:
            record.out_of_fold = predictions.of_child(record.run_id, step.table)
    with told_if_interrupted(step, settings, metric, plan, records):
        _draw(step, records, metric, test)
        _finish(step, metric, objective, records, best, defaults, test or step.test_rows())


@dataclass(frozen=True)
class Plan:
    """What is peculiar to a search.

    Attributes
    ----------
    suggester : Suggester
        Where its points come from.
    engine : callable
        Gives the context in which they are evaluated.
    keep : callable
        Writes into a trial's child run what is kept of it beside its record, before that ends.
    best : callable
        Chooses the winner.
    beside : callable
        Of the winner, what else to evaluate where trials are, which is no trial; None for nothing.
    """

    suggester: Suggester
    engine: Callable[[], Any]
    keep: Callable[[TrialRecord], None]
    best: Callable[[list[TrialRecord]], TrialRecord]
    beside: Callable[[TrialRecord], Task | None]


def trials(
    step: Step, settings: SearchSettings, metric: Metric, plan: Plan, past: Past
) -> tuple[list[TrialRecord], TrialRecord, TrialRecord | None]:
    """Run the search, or what is left of it; every trial is a child run from the moment it is handed to the engine.

    Returns
    -------
    records : list of TrialRecord
        All trials.
    best : TrialRecord
        The winner's.
    beside : TrialRecord or None
        Of what the plan asks for beside, such as the winner's estimator at its defaults.
    """
    progress = Progress(
        f"{step.name} {short_name(step.options['data'])}",
        settings.max_evals,
        metric,
        _selected(settings, metric),
        past.records,
    )
    done = {record.number: record for record in past.records}
    children = {record.number: record.run_id for record in past.records}
    open_ones: dict[int, str] = {}

    def started(number: int, values: Values) -> None:
        open_ones[number] = step.run.child(f"{number:03d} {values['model']}", {"lifecycle.step": "trial"})

    def ended(record: TrialRecord) -> None:
        if record.number not in open_ones:
            # The store has been given up before it had begun.
            return
        record.run_id = children[record.number] = open_ones.pop(record.number)
        done[record.number] = record
        _keep(step, plan, record, children)
        progress.trial(record)

    began = time.perf_counter()
    with Interruption() as interruption:
        try:
            with plan.engine() as engine:
                try:
                    records = run_search(
                        settings, plan.suggester, engine, started, ended, past.records, interruption.asked
                    )
                finally:
                    seconds = time.perf_counter() - began
                    step.run.log(metrics={"search_seconds": seconds})
                    progress.close()
                best = plan.best(records)
                # Where trials run, so that it is as safe from what hangs or crashes as they are.
                more = plan.beside(best)
                beside = engine.submit(len(records), more) if more is not None else None
                awaited = [beside, interruption.asked] if beside is not None else []
                if interruption.asked in wait(awaited, return_when=FIRST_COMPLETED).done:
                    raise KeyboardInterrupt
            if interruption.asked.done():
                # It came while the workers ended.
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            _end_open(step, open_ones)
            _say_interrupted(step, settings, metric, plan, list(done.values()))
            raise
        finally:
            _end_open(step, open_ones)
    if len(records) < settings.max_evals:
        bound = "timeout" if seconds >= settings.timeout else "patience"
        step.run.log(tags={"lifecycle.ended": bound})
        said = (
            f"{bound}={getattr(settings, bound):g} ended the search after {len(records)} of {settings.max_evals} trials"
        )
        again = "the command without fresh" if step.options["fresh"] else "the same command"
        print(f"{step.name}: {said}; {again} goes on if it gives more.")
    return records, best, beside.result() if beside is not None else None


def _selected(settings: SearchSettings, metric: Metric) -> str:
    """Return the name of the score that a search goes by."""
    return f"{'test' if settings.select_on == 'test' else 'cv'}_{metric.name}"


def _keep(step: Step, plan: Plan, record: TrialRecord, children: dict[int, str]) -> None:
    """Write what is kept of a trial, and its record, into its child run, and end that."""
    try:
        plan.keep(record)
    finally:
        # Also where the store has just been given up: then the record is kept in the file.
        step.run.end_trial(record.run_id, record, memory.record_tags(record, children))


def _end_open(step: Step, open_ones: dict[int, str]) -> None:
    """End the children of trials that were under way; there are none unless something broke or was interrupted."""
    while open_ones:
        step.run.end_child(open_ones.popitem()[1], "KILLED")


def past_of(step: Step, settings: SearchSettings, own: Mapping[str, Any]) -> Past:
    """Find what an earlier run of the same search has done, and claim it.

    Parameters
    ----------
    step : Step
        The search.
    settings : SearchSettings
        How it is done.
    own : mapping
        What its key is made of.

    Raises
    ------
    UserError
        Where the run that the user has named cannot be gone on with.
    """
    asked = settings.resume
    if asked:
        whole = settings_of(step.name, step.identity, step.contract, own, step.prepared_run_id)
        found = memory.asked_for(asked, step.run, whole)
    elif step.options["fresh"]:
        found = ""
    else:
        found = memory.find(step.run, step_key(step.name, step.identity.key, own), settings.log_models == "all")
    if not found:
        return Past()
    past = memory.take(step.run, found)
    if asked and not past.run_id:
        raise UserError(f"resume: another search has just gone on with {asked}; wait for it, or end it first.")
    if past.run_id:
        print(f"{step.name}: goes on with run {past.run_id}, {len(past.records)} trials are done.")
    return past


def _warm(step: Step, settings: SearchSettings, metric: Metric, space: Space, past: Past) -> list[Values]:
    """Return the points of another search to begin with: at most half of the trials, or as many as this one began with.

    Also where more trials are asked for than it had then: what it has tried, and would have tried next, hangs on them.
    """
    if not settings.warm_start:
        return []
    contract = memory.same_contract(json.loads(step.contract.to_json()))
    points = memory.points_of(step.run, settings.warm_start, contract, metric, settings.select_on == "test")
    held = [values for values in points if holds(space, values)]
    if not held:
        raise UserError(
            f"warm_start: none of the points that {settings.warm_start} has tried lies in the space that is searched "
            f"now ({', '.join(space)}); name another search, or its models."
        )
    tags = tracking.run_of(past.run_id).data.tags if past.run_id else {}
    first = held[: int(tags.get(WARM_POINTS, max(settings.max_evals // 2, 1)))]
    step.run.log(tags={WARM_POINTS: str(len(first))})
    if not past.run_id:
        print(f"{step.name}: begins with the {len(first)} best points of run {settings.warm_start}.")
    return first


@contextmanager
def told_if_interrupted(
    step: Step, settings: SearchSettings, metric: Metric, plan: Plan, records: list[TrialRecord]
) -> Iterator[None]:
    """Where what follows a search is interrupted, say what it has found, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        # Told twice, as by mlflow's runner, it must not end the telling.
        with Interruption():
            _say_interrupted(step, settings, metric, plan, records)
        raise


def _say_interrupted(
    step: Step, settings: SearchSettings, metric: Metric, plan: Plan, records: list[TrialRecord]
) -> None:
    """Track and print the best so far, and how to go on."""
    said = f"{step.name}: interrupted after {len(records)} of {settings.max_evals} trials"
    if any(record.status == FINISHED for record in records):
        best = plan.best(records)
        values = ", ".join(f"{name}={value}" for name, value in best.values.items())
        said += f"; the best so far has {_selected(settings, metric)} {best.score:.4g} ({values})"
        step.run.log(
            metrics={"trials": len(records)},
            params={f"best_{name}": value for name, value in best.values.items()},
            tags={"lifecycle.best_trial": str(best.number)},
        )
    # A search that was to begin anew would do so again.
    way = "It goes on" if step.options["fresh"] else "The same command goes on, and so does it"
    print(f"{said}. {way} with -P resume={step.run.run_id}.", flush=True)


def _engine(settings: SearchSettings, objective: Objective) -> Any:
    # More workers than a search hands trials to at once would only be started.
    workers = min(settings.parallelism, settings.max_evals, LAG)
    if settings.parallelism > LAG:
        print(f"parallelism: {settings.parallelism} trials at once, a search has points for {LAG}: {LAG} are used.")
    if settings.engine == "spark":
        from lifecycle.adapters import spark

        return spark.SparkEngine(objective, workers, settings.trial_timeout)
    return local.engine(objective, workers, settings.trial_timeout)


def _finish(
    step: Step,
    metric: Metric,
    objective: Objective,
    records: list[TrialRecord],
    best: TrialRecord,
    defaults: TrialRecord,
    test: TestRows,
) -> None:
    log_trials(step, records, best)
    seconds = {
        "fit_seconds": best.fit_seconds,
        "score_seconds": best.score_seconds,
        "latency_ms": best.latency_ms,
        "size_mb": best.size_mb,
    }
    # Under select_on=test the winner has no cross-validated score, and is no candidate.
    known = {name: value for name, value in best.metrics.items() if name.startswith("cv_")} | seconds
    with threadpool_limits(1):
        model = objective.refit(best.values, best.threshold)
    choice = MODELS[step.contract.task][best.values["model"]]
    finals.log_final(step, model, choice.label, choice.rank, known, test)
    with threadpool_limits(1):
        outcomes.log(step, metric, objective, records, best, defaults, model, test)


def log_trials(step: Step, records: list[TrialRecord], best: TrialRecord) -> None:
    """Track of a search how many trials there were, what became of them, and the winner's values."""
    step.run.log(
        metrics={
            "trials": len(records),
            "failed_trials": sum(record.status == FAILED for record in records),
            "pruned_trials": sum(record.status == PRUNED for record in records),
            "repeated_trials": sum(record.repeat_of is not None for record in records),
            "infeasible_trials": sum(record.status == INFEASIBLE for record in records),
            "trials_fit_seconds": sum(record.fit_seconds for record in records),
            "trials_score_seconds": sum(record.score_seconds for record in records),
        },
        params={f"best_{name}": value for name, value in best.values.items()},
        tags={"lifecycle.best_trial": str(best.number)},
    )


def _draw(step: Step, records: list[TrialRecord], metric: Metric, test: TestRows | None) -> None:
    """Draw the search beside the dummy, scored on the rows that the search selected on."""
    table = step.table
    dummies = dummy_scores(step.contract, table.labels, table.fold_pairs, test.labels if test else None)
    dummy = dummies.get(f"dummy_{'test' if test else 'cv'}_{metric.name}")
    draw_trials(step, records, metric, dummy)


def draw_trials(step: Step, records: list[TrialRecord], metric: Metric, dummy: float | None) -> None:
    """Draw a search beside the dummy's score, and write its trials as a table."""
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
    title = f"{step.name} of {short_name(step.options['data'])}"
    step.run.figure("figures/search.png", figures.draw_search(frame, title, metric.label, dummy))
    step.run.frame("trials.csv", frame)

"""The chain of a whole run: which steps fit a table, what is finished already, what runs side by side."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from lifecycle.adapters import candidates, catalog, local, projects, registry, searches, sources, spark, steps, tracking
from lifecycle.adapters.cli import Options
from lifecycle.contract import Contract
from lifecycle.errors import InnerStepError, UserError
from lifecycle.least_squares import left_out_for_width
from lifecycle.metrics import Metric, resolve_metric
from lifecycle.settings import step_key

CHAINS = {
    "classification": ("baseline", "tune_lr", "tune_multi"),
    "regression": ("baseline", "regress_sklearn", "regress_statsmodels", "tune_multi"),
}
TRIALS = {"tune_lr": 16, "tune_multi": 32}
# With more than one table these would be right for one of them only.
OF_ONE_TABLE = (
    "target",
    "query",
    "test_data",
    "drop",
    "ordinal",
    "positive",
    "metric",
    "models",
    "name",
    "run_id",
    "roles",
    "read",
    "threshold",
    "warm_start",
    "space",
)
SEARCH_OPTIONS = ("metric", "models", "parallelism", "space", *searches.AS_TYPED)


@dataclass
class Outcome:
    """What became of one step of one table.

    Attributes
    ----------
    step : str
        The entry point.
    seconds : float
        Wall seconds, with the start of its process; not those of waiting for a free core.
    run_id : str
        The step's run.
    reused : bool
        Whether the work of an earlier run was taken over.
    metrics : dict of str to float
        The run's.
    tags : dict of str to str
        The run's.
    """

    step: str
    seconds: float
    run_id: str
    reused: bool
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class TableOutcome:
    """What became of one table: its metric, its steps in order, and why nothing was registered, if so."""

    table: str
    metric: Metric
    contract: Contract
    steps: list[Outcome]
    refusal: str = ""


def check(tables: list[str], options: Options) -> None:
    """Refuse what cannot be right before anything is started.

    Raises
    ------
    UserError
        For an option that fits one table where several were given, or any option of a step.
    """
    if len(tables) > 1:
        for name in OF_ONE_TABLE:
            if options[name]:
                raise UserError(
                    f"{name}: {options[name]!r} fits one table, and data names {len(tables)} ({', '.join(tables)}); "
                    "run them one by one, each with its own."
                )
    if options["resume"]:
        raise UserError(
            "resume: main finds by itself what its searches can go on with, so the same command is enough; to name a "
            "run, use -e tune_lr or -e tune_multi."
        )
    searches.check(options | {"max_evals": options["max_evals"] or 1})
    registry.check_name(options["name"], tables)
    steps.check_training(options)
    for table in tables:
        steps.identify(options | {"data": table})


class Chain:
    """The steps of some tables, under one parent run.

    Parameters
    ----------
    parent : StepRun
        The run of ``main``.
    options : dict
        As typed.
    """

    def __init__(self, parent: tracking.StepRun, options: Options) -> None:
        self.parent = parent
        self.options = options
        # As many processes at once as there are cores, and two on a single one: steps wait for disk and store too.
        self._free = threading.Semaphore(max(2, local.cores()))
        self._stop = threading.Event()
        # Here, because threads do not know which session is active.
        spark.hand_on()

    def run(self, tables: list[str]) -> list[TableOutcome]:
        """Run every table's steps; what does not depend on each other runs side by side.

        Parameters
        ----------
        tables : list of str
            As given in ``data``.

        Returns
        -------
        list of TableOutcome
            In the order given.

        Raises
        ------
        UserError, InnerStepError
            The first failure; steps that have not begun by then are not begun.
        """
        with ThreadPoolExecutor(4 * len(tables) + 4) as pool:
            futures = [pool.submit(self._table, table, pool) for table in tables]
            return _results(futures)

    def _table(self, table: str, pool: ThreadPoolExecutor) -> TableOutcome:
        options = self.options | {"data": table}
        identity = steps.identify(options)
        parent = tracking.StepRun(
            self.parent.run_id,
            self.parent.experiment_id,
            "main",
            self.parent.inherited | {"lifecycle.table": identity.key, "lifecycle.data": identity.data_digest},
        )
        prepared = self._prepare(parent, identity, options)
        contract = steps.read_contract(prepared.tags["lifecycle.prepared"])
        tracking.copy_inputs(self.parent, prepared.tags["lifecycle.prepared"])
        metric = resolve_metric(options["metric"], contract)
        if options["run_id"]:
            candidates.asked_for(options["run_id"], identity.key, bool(options["allow_pickle"]))
        # Refused before the first step begins.
        training = steps.training_settings(options, contract)
        wanted = [step for step in CHAINS[contract.task] if self._fits(step, options)]
        if "regress_statsmodels" in wanted and (reason := left_out_for_width(contract)):
            wanted.remove("regress_statsmodels")
            print(f"main: regress_statsmodels is left out, the table has {reason}.")
            self.parent.log(tags={"lifecycle.left_out": f"regress_statsmodels: {reason}"})
        for step in wanted:
            if step in TRIALS:
                # A model of another task is refused before the first search begins.
                searches.settings_for(step, self._given(step, options), contract)
        done = _results(
            [pool.submit(self._step, parent, identity, step, self._given(step, options), contract) for step in wanted]
        )
        try:
            last = self._register(parent, identity, options, metric, training["max_rows"])
        except UserError as refusal:
            # The scores are what the user needs to see why; the sentence ends the whole run.
            return TableOutcome(table, metric, contract, [prepared, *done], str(refusal))
        return TableOutcome(table, metric, contract, [prepared, *done, last])

    @staticmethod
    def _fits(step: str, options: Options) -> bool:
        """Logistic regression alone is searched unless other models were asked for."""
        asked = searches.models_asked(options)
        return step != "tune_lr" or not asked or "logreg" in asked

    def _given(self, step: str, options: Options) -> Options:
        """Return the options that a step takes, as they are handed on."""
        given = {name: options[name] for name in (*steps.TABLE_OPTIONS, "fresh")}
        if step != "prepare":
            given |= {name: options[name] for name in steps.TRAINING_OPTIONS}
        if step in TRIALS:
            given |= {name: options[name] for name in SEARCH_OPTIONS}
            given["max_evals"] = options["max_evals"] or TRIALS[step]
            if step == "tune_lr":
                given["models"] = ""
        return given

    def _prepare(self, parent: tracking.StepRun, identity: steps.Identity, options: Options) -> Outcome:
        began = time.monotonic()
        given = self._given("prepare", options)
        found = "" if options["fresh"] else steps.find_prepared(identity, parent.experiment_id)
        if found:
            outcome = self._take_over(parent, "prepare", given, tracking.client().get_run(found), began)
        else:
            outcome = self._run(parent, "prepare", given)
        outcome.tags["lifecycle.prepared"] = found or outcome.run_id
        return outcome

    def _step(
        self,
        parent: tracking.StepRun,
        identity: steps.Identity,
        step: str,
        given: Options,
        contract: Contract,
    ) -> Outcome:
        began = time.monotonic()
        training = steps.training_settings(given, contract)
        own = asdict(searches.settings_for(step, given, contract)) if step in TRIALS else training
        done = None
        if not given["fresh"]:
            done = steps.finished(step, step_key(step, identity.key, own), own, parent.experiment_id)
        return self._take_over(parent, step, given, done, began) if done else self._run(parent, step, given)

    def _register(
        self, parent: tracking.StepRun, identity: steps.Identity, options: Options, metric: Metric, max_rows: int
    ) -> Outcome:
        began = time.monotonic()
        names = (*steps.TABLE_OPTIONS, *steps.TRAINING_OPTIONS, "metric", "run_id", "name", "allow_pickle", "fresh")
        given = {name: options[name] for name in names}
        name = options["name"] or catalog.model_name(options["data"])
        own = candidates.own_settings(
            options, metric, name, candidates.chosen_id(identity.key, parent.experiment_id, metric, max_rows, options)
        )
        done = None
        if not options["fresh"]:
            done = steps.finished("register", step_key("register", identity.key, own), own, parent.experiment_id)
        if done and candidates.still_champion(done):
            return self._take_over(parent, "register", given, done, began)
        return self._run(parent, "register", given)

    def _run(self, parent: tracking.StepRun, step: str, given: Options) -> Outcome:
        with self._free:
            # Waiting for a free place is not the step's time.
            began = time.monotonic()
            if self._stop.is_set():
                raise InnerStepError(f"{step} was not begun, because another step failed")
            try:
                run_id = projects.run_step(parent, step, given)
            except BaseException:
                if step != "register":
                    self._stop.set()
                raise
        run = tracking.client().get_run(run_id)
        reused = "lifecycle.reused" in run.data.tags
        seconds = time.monotonic() - began
        return Outcome(step, seconds, run_id, reused, dict(run.data.metrics), dict(run.data.tags))

    def _take_over(self, parent: tracking.StepRun, step: str, given: Options, done: Any, began: float) -> Outcome:
        """Make the child of a step that is finished, without a process."""
        run_id = parent.child(step, {"mlflow.project.entryPoint": step, "lifecycle.step": step})
        child = tracking.StepRun(run_id, parent.experiment_id, step)
        child.log(params=projects.typed(sources.logged(given)))
        settings = tracking.artifact(done.info.run_id, tracking.SETTINGS)
        child.text(tracking.SETTINGS, settings.read_text(encoding="utf-8"))
        tracking.copy_inputs(child, done.info.run_id)
        steps.take_over(child, done)
        child.end("FINISHED")
        seconds = time.monotonic() - began
        tags = dict(done.data.tags) | {"lifecycle.reused": done.info.run_id}
        return Outcome(step, seconds, run_id, True, dict(done.data.metrics), tags)


def _results(futures: list[Future[Any]]) -> list[Any]:
    """Wait for all, then raise the first failure that is somebody's own, not a consequence of another."""
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    for error in errors:
        if isinstance(error, UserError):
            raise error
    if errors:
        raise errors[0]
    return [future.result() for future in futures]

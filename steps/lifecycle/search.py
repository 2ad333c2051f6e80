"""The search: hyperopt suggests, an engine evaluates, and the order of events does not change what is tried.

Trials run side by side and end in any order, yet the same settings and seed give the same trials on one worker or
eight, on any engine: the suggestion for trial ``i`` reads the records of the trials up to ``i - LAG`` and no others,
and its own seed is made of the search's seed and ``i``.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from hyperopt import STATUS_FAIL, STATUS_OK, Trials, anneal, rand
from hyperopt.base import JOB_STATE_DONE, Domain

from lifecycle import adaptive
from lifecycle.errors import StoreAwayError, UserError, listed
from lifecycle.honest import chosen
from lifecycle.metrics import Metric
from lifecycle.models import MODELS
from lifecycle.parzen import Parzen
from lifecycle.pruning import bar_of
from lifecycle.settings import SearchSettings
from lifecycle.spaces import Space, Values, compile_space, point_for, point_of, values_of
from lifecycle.trials import FINISHED, INFEASIBLE, PRUNED, Limits, Task, TrialRecord

LAG = 8
REDRAWS = 10
# Trials handed to the engine beyond those under way, so that a worker that ends one begins the next at once.
AHEAD = 2
TIE = 1e-9
SUGGEST = {"rand": rand.suggest, "anneal": anneal.suggest, "atpe": adaptive.suggest}


class Engine(Protocol):
    """Where trials run: a seam as wide as ``concurrent.futures``."""

    workers: int

    def submit(self, number: int, task: Task) -> "Future[TrialRecord]":
        """Start a trial, or queue it."""
        ...


class Suggester:
    """Hyperopt behind ask and tell.

    Parameters
    ----------
    space : mapping
        Ranges of each model's hyperparameters.
    algo : str
        ``tpe``, ``rand`` or ``anneal``.
    metric : Metric
        Its loss is what hyperopt minimises.
    seed : int
        The search's seed.
    first : sequence of dict
        Values of the first trials, which are not drawn.
    """

    def __init__(self, space: Space, algo: str, metric: Metric, seed: int, first: Sequence[Values] = ()) -> None:
        self.space = space
        self.metric = metric
        self.seed = seed
        self.first = list(first)
        self._domain = Domain(lambda point: 0.0, compile_space(space))
        self._trials = Trials()
        self._parzen = Parzen(self._domain)
        self._suggest = self._parzen.suggest if algo == "tpe" else SUGGEST[algo]
        self._asked: dict[int, dict[str, Any]] = {}
        self._numbers: dict[str, int] = {}

    def ask(self, number: int) -> Values:
        """Suggest the values of a trial.

        A point that was asked for before is drawn again, up to 10 times, the later half of them at random: on a small
        space hyperopt repeats itself, and a second fit of the same point tells nothing.

        Parameters
        ----------
        number : int
            The trial's place in the search.

        Returns
        -------
        dict
            ``model`` and its hyperparameters.
        """
        values = self.first[number] if number < len(self.first) else self._draw(number, 0)
        for draw in range(1, 1 + REDRAWS):
            if point_of(values) not in self._numbers:
                break
            values = self._draw(number, draw)
        self.recall(number, values)
        return values

    def _draw(self, number: int, draw: int) -> Values:
        # Where TPE or annealing insists, chance has the last word; a space that is used up gives repeats still.
        suggest = self._suggest if draw <= REDRAWS // 2 else rand.suggest
        seed = int(np.random.SeedSequence([self.seed, number, draw]).generate_state(1)[0]) % 2**31
        [document] = suggest([number], self._domain, self._trials, seed)
        point = {label: drawn[0] for label, drawn in document["misc"]["vals"].items() if len(drawn)}
        return values_of(self.space, point)

    def recall(self, number: int, values: Values) -> None:
        """Know a trial's values as asked for, also those of a trial that another search has asked for.

        Raises
        ------
        ValueError
            Where the space does not hold them.
        """
        # From the values, and not as it was drawn, so that a search that goes on has the very same history.
        point = point_for(self.space, values)
        cells = {label: [point[label]] if label in point else [] for label in self._domain.params}
        places = {label: [number] if drawn else [] for label, drawn in cells.items()}
        misc = {"tid": number, "cmd": self._domain.cmd, "workdir": self._domain.workdir, "idxs": places, "vals": cells}
        [self._asked[number]] = self._trials.new_trial_docs([number], [None], [self._domain.new_result()], [misc])
        self._numbers.setdefault(point_of(values), number)

    def repeats(self, number: int, values: Values) -> int | None:
        """Return the trial that has the same values, if there is one before this."""
        earlier = self._numbers[point_of(values)]
        return earlier if earlier != number else None

    def tell(self, record: TrialRecord) -> None:
        """Give hyperopt the result of a trial that was asked for."""
        document = self._asked.pop(record.number)
        scored = record.status in (FINISHED, PRUNED)
        document["state"] = JOB_STATE_DONE
        document["result"] = (
            {"status": STATUS_OK, "loss": self.metric.loss(record.score)} if scored else {"status": STATUS_FAIL}
        )
        self._trials.insert_trial_doc(document)
        self._trials.refresh()
        self._parzen.tell(document)


def run_search(
    settings: SearchSettings,
    suggester: Suggester,
    engine: Engine,
    started: Callable[[int, Values], None],
    ended: Callable[[TrialRecord], None],
    past: Sequence[TrialRecord] = (),
    interruption: "Future[None] | None" = None,
) -> list[TrialRecord]:
    """Run trials until the asked number is done, the time is over, or nothing better comes.

    Parameters
    ----------
    settings : SearchSettings
        Number of trials, seconds, and trials without a gain after which it ends.
    suggester : Suggester
        Where points come from.
    engine : Engine
        Where they are evaluated.
    started, ended : callable
        Told of every trial, in this thread, as it is handed to the engine and as its record comes back.
    past : sequence of TrialRecord
        Trials of the same search that are done already; neither callable is told of them.
    interruption : Future, optional
        Done when the search is to end at once.

    Returns
    -------
    list of TrialRecord
        By number, those of the past among them. Trials under way when the time is over are waited for; none is
        started after it.

    Raises
    ------
    KeyboardInterrupt
        On an interruption, between two trials; `ended` has been told of all that were done.
    """
    never: Future[None] = Future()
    stop = never if interruption is None else interruption
    search = _Search(settings, suggester, engine, {record.number: record for record in past})
    while not stop.done():
        # First the workers, then the store: while they fit, this process writes, and draws the next point.
        search.hand_over()
        search.report(started, ended)
        search.draw()
        if not search.pending:
            if search.over():
                break
            continue
        awaited: list[Future[Any]] = [*search.pending, stop]
        if not wait(awaited, search.seconds_left(), FIRST_COMPLETED).done:
            search.call_back()
            awaited = [*search.pending, stop]
            if search.pending:
                wait(awaited, return_when=FIRST_COMPLETED)
        for future in sorted((one for one in search.pending if one.done()), key=search.pending.__getitem__):
            search.take(search.end(future))
    search.report(started, ended)
    if stop.done():
        raise KeyboardInterrupt
    # Also those of the past that the time was too short to come to.
    reached = {number: record for number, record in search.past.items() if number < settings.max_evals}
    return [record for _, record in sorted((reached | search.records).items())]


class _Search:
    """The state of a search that runs: what is known, drawn, under way and not yet reported."""

    def __init__(
        self, settings: SearchSettings, suggester: Suggester, engine: Engine, past: dict[int, TrialRecord]
    ) -> None:
        self.settings, self.suggester, self.engine, self.past = settings, suggester, engine, past
        self.deadline = time.monotonic() + settings.timeout
        self.records: dict[int, TrialRecord] = {}
        self.pending: dict[Future[TrialRecord], int] = {}
        self._drawn: tuple[int, Values] | None = None
        self._repeats: dict[int, list[tuple[int, Values]]] = {}
        self._news: list[tuple[int, Values] | TrialRecord] = []
        self._asked = self._told = 0
        self._called_back = False
        self._best: tuple[int, float] = (-1, float("inf"))
        self._losses: list[list[float]] = []

    def over(self) -> bool:
        """Tell whether no trial is to come."""
        if self._drawn is not None:
            return not self._in_time()
        return self._asked >= self.settings.max_evals or not self._in_time() or self._without_gain()

    def seconds_left(self) -> float | None:
        """Return how long a trial that waits for a worker may still begin; None where none waits any more."""
        return None if self._called_back else max(self.deadline - time.monotonic(), 0)

    def end(self, future: "Future[TrialRecord]") -> TrialRecord:
        """Return the record of a trial that is done, which is under way no more."""
        del self.pending[future]
        return future.result()

    def call_back(self) -> None:
        """Take back what no worker has begun."""
        self._called_back = True
        for future in [future for future in self.pending if future.cancel()]:
            del self.pending[future]

    def _in_time(self) -> bool:
        return time.monotonic() < self.deadline

    def _without_gain(self) -> bool:
        return 0 < self.settings.patience <= self._told - 1 - self._best[0]

    def hand_over(self) -> None:
        """Give the engine as much as it can take."""
        most = min(self.engine.workers + AHEAD, LAG)
        while len(self.pending) < most and self._in_time():
            if self._drawn is None:
                self.draw()
            if self._drawn is None:
                return
            (number, values), self._drawn = self._drawn, None
            self._news.append((number, values))
            earlier = self.suggester.repeats(number, values)
            if earlier is None:
                self.pending[self.engine.submit(number, Task(values, bar_of(self._losses)))] = number
            elif earlier in self.records:
                self.take(_again(self.records[earlier], number))
            else:
                self._repeats.setdefault(earlier, []).append((number, values))

    def draw(self) -> None:
        """Draw the next point, where all that it may know of is known."""
        while self._drawn is None and self._asked < self.settings.max_evals and self._in_time():
            while self._told <= self._asked - LAG:
                if self._told not in self.records:
                    return
                self._tell(self.records[self._told])
            if self._without_gain():
                return
            number = self._asked
            self._asked += 1
            if number in self.past:
                self.records[number] = self.past[number]
                self.suggester.recall(number, self.past[number].values)
            else:
                self._drawn = number, self.suggester.ask(number)

    def _tell(self, record: TrialRecord) -> None:
        self.suggester.tell(record)
        self._told += 1
        if record.status == FINISHED:
            metric = self.suggester.metric
            if metric.loss(record.score) < self._best[1] - TIE * abs(record.score):
                self._best = record.number, metric.loss(record.score)
            if record.fold_scores:
                self._losses.append([metric.loss(score) for score in record.fold_scores])

    def take(self, record: TrialRecord) -> None:
        """Know a record, and those that repeat it."""
        self.records[record.number] = record
        self._news.append(record)
        for number, _ in self._repeats.pop(record.number, ()):
            self.take(_again(record, number))

    def report(self, started: Callable[[int, Values], None], ended: Callable[[TrialRecord], None]) -> None:
        """Tell of what has happened, in order; of all of it, also where the store is given up meanwhile."""
        news, self._news = self._news, []
        away: StoreAwayError | None = None
        for one in news:
            try:
                if isinstance(one, TrialRecord):
                    ended(one)
                else:
                    started(*one)
            except StoreAwayError as error:
                away = away or error
        if away is not None:
            raise away


def _again(record: TrialRecord, number: int) -> TrialRecord:
    """Take over the record of a trial with the same values; it took no time."""
    return replace(
        record,
        number=number,
        repeat_of=record.number if record.repeat_of is None else record.repeat_of,
        fit_seconds=0.0,
        score_seconds=0.0,
        model=None,
        run_id="",
    )


def best_record(
    records: Sequence[TrialRecord],
    metric: Metric,
    task: str,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    ranks: Mapping[str, int] | None = None,
) -> TrialRecord:
    """Choose the winner of a search by the one-standard-error rule.

    Parameters
    ----------
    records : sequence of TrialRecord
        All of the search.
    metric : Metric
        What to choose by.
    task : str
        Says which models are simpler.
    limits : Limits
        Of the search, for the sentence where every trial is over one.
    ranks : mapping of str to int, optional
        The simplicity of models that are not those of `lifecycle.models`.

    Returns
    -------
    TrialRecord
        Of the trials whose cross-validated score is within one standard error of the best, the simplest by
        `simplicity`, of equals the better score, then the earlier. Scores within 1e-9 (relative) are ties also where
        there is no error, as under ``select_on=test``.

    Raises
    ------
    UserError
        Where no trial finished, with the reasons.
    """
    good = [record for record in records if record.status == FINISHED]
    if not records:
        raise UserError("timeout: the time was over before the first trial began; give more seconds.")
    if not good:
        over = [record for record in records if record.status == INFEASIBLE]
        if over:
            raise UserError(_all_over(over, len(records), limits))
        reasons = dict.fromkeys(f"{record.values['model']}: {record.error}" for record in records)
        raise UserError(
            f"models: all {len(records)} trials failed ({listed(reasons, most=5)}); mend the table or the models."
        )
    errors = standard_errors(good, metric)
    if not errors.any():
        own = [_rank(record, task, ranks) for record in good]
        return good[best_of([record.score for record in good], own, metric)]
    losses = np.array([[metric.loss(record.score) for record in good]])
    return good[int(chosen(losses, np.maximum(errors, TIE * np.abs(losses[0])), simplicity(good, task, ranks))[0])]


def _all_over(over: Sequence[TrialRecord], trials: int, limits: Limits) -> str:
    """Say that no trial keeps within the limits: the one that most are over, and the least that was found."""
    broken = [limits.broken(record) for record in over]
    names = [name for one in broken for name in one]
    name = max(dict.fromkeys(names), key=names.count)
    least = min(one[name][0] for one in broken if name in one)
    unit = "ms for 1,000 rows" if name == "max_latency_ms" else "MB"
    others = f" ({trials - len(over)} failed)" if trials > len(over) else ""
    return (
        f"{name}: none of {trials} trials{others} keeps within {getattr(limits, name):g} {unit}, the least found is "
        f"{least:.3g}; give more than that, name smaller or faster models, or search longer."
    )


def standard_errors(records: Sequence[TrialRecord], metric: Metric) -> npt.NDArray[np.float64]:
    """Return the standard error of each trial's mean over its folds, in the metric's units; 0 for a single score."""
    found = []
    for record in records:
        spread = record.metrics.get(f"cv_{metric.name}_std", 0.0) if f"cv_{metric.name}" in record.metrics else 0.0
        on_folds = record.folds_done > 1 and record.score == record.metrics.get(f"cv_{metric.name}")
        # The tracked deviation has the divisor n, an error wants n - 1.
        found.append(spread / np.sqrt(record.folds_done - 1) if on_folds and np.isfinite(spread) else 0.0)
    return np.array(found, dtype=np.float64)


def _rank(record: TrialRecord, task: str, ranks: Mapping[str, int] | None) -> int:
    model = record.values["model"]
    return MODELS[task][model].rank if ranks is None else ranks[model]


def simplicity(
    records: Sequence[TrialRecord], task: str, ranks: Mapping[str, int] | None = None
) -> npt.NDArray[np.int64]:
    """Return how simple each trial's model is, smaller for simpler: by the model's rank, then by its size.

    Sizes are told apart by factors of two, since a few bytes make no model faster. Seconds have no say: they differ
    from run to run, and the same search must have the same winner.
    """
    keys = []
    for record in records:
        known = np.isfinite(record.size_mb) and record.size_mb > 0
        octave = round(float(np.log2(record.size_mb * 1e6))) if known else 0
        keys.append(_rank(record, task, ranks) * 1000 + octave)
    return np.array(keys, dtype=np.int64)


def best_of(scores: Sequence[float], ranks: Sequence[float], metric: Metric) -> int:
    """Return the place of the best score; of ties (within 1e-9, relative) the smaller rank, then the earlier."""
    top = min(metric.loss(score) for score in scores)
    tied = [i for i, score in enumerate(scores) if metric.loss(score) - top <= TIE * max(abs(top), abs(score))]
    return min(tied, key=lambda i: (ranks[i], i))

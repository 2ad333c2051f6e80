"""The search: hyperopt suggests, an engine evaluates, and the order of events does not change what is tried.

Trials run side by side and end in any order, yet the same settings and seed give the same trials on one worker or
eight, on any engine: the suggestion for trial ``i`` reads the records of the trials up to ``i - LAG`` and no others,
and its own seed is made of the search's seed and ``i``.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Protocol

import numpy as np
from hyperopt import STATUS_FAIL, STATUS_OK, Trials, anneal, rand, tpe
from hyperopt.base import JOB_STATE_DONE, Domain

from lifecycle import adaptive
from lifecycle.errors import UserError, listed
from lifecycle.metrics import Metric
from lifecycle.models import MODELS
from lifecycle.settings import SearchSettings
from lifecycle.spaces import Space, Values, compile_space, point_of, values_of
from lifecycle.trials import FINISHED, TrialRecord

LAG = 8
REDRAWS = 10
TIE = 1e-9
SUGGEST = {"tpe": tpe.suggest, "rand": rand.suggest, "anneal": anneal.suggest, "atpe": adaptive.suggest}


class Engine(Protocol):
    """Where trials run: a seam as wide as ``concurrent.futures``."""

    workers: int

    def submit(self, number: int, values: Values) -> "Future[TrialRecord]":
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
    """

    def __init__(self, space: Space, algo: str, metric: Metric, seed: int) -> None:
        self.space = space
        self.metric = metric
        self.seed = seed
        self._suggest = SUGGEST[algo]
        self._domain = Domain(lambda point: 0.0, compile_space(space))
        self._trials = Trials()
        self._asked: dict[int, dict[str, Any]] = {}
        self._points: set[str] = set()

    def ask(self, number: int) -> Values:
        """Suggest the values of a trial.

        A point that was asked for before is drawn again, up to 10 times, and then up to 10 times at random: on a small
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
        for draw in range(1 + 2 * REDRAWS):
            # Where TPE or annealing insists, chance has the last word; a space that is used up gives repeats still.
            suggest = self._suggest if draw <= REDRAWS else rand.suggest
            seed = int(np.random.SeedSequence([self.seed, number, draw]).generate_state(1)[0]) % 2**31
            [document] = suggest([number], self._domain, self._trials, seed)
            point = {label: drawn[0] for label, drawn in document["misc"]["vals"].items() if len(drawn)}
            values = values_of(self.space, point)
            if point_of(values) not in self._points:
                break
        self._points.add(point_of(values))
        self._asked[number] = document
        return values

    def tell(self, record: TrialRecord) -> None:
        """Give hyperopt the result of a trial that was asked for."""
        document = self._asked.pop(record.number)
        good = record.status == FINISHED
        document["state"] = JOB_STATE_DONE
        document["result"] = (
            {"status": STATUS_OK, "loss": self.metric.loss(record.score)} if good else {"status": STATUS_FAIL}
        )
        self._trials.insert_trial_doc(document)
        self._trials.refresh()


def run_search(
    settings: SearchSettings,
    suggester: Suggester,
    engine: Engine,
    started: Callable[[int, Values], None],
    ended: Callable[[TrialRecord], None],
) -> list[TrialRecord]:
    """Run trials until the asked number is done or the time is over.

    Parameters
    ----------
    settings : SearchSettings
        Number of trials and seconds.
    suggester : Suggester
        Where points come from.
    engine : Engine
        Where they are evaluated.
    started, ended : callable
        Told of every trial, in this thread, as it is handed to the engine and as its record comes back.

    Returns
    -------
    list of TrialRecord
        By number. Trials under way when the time is over are waited for; none is started after it.
    """
    deadline = time.monotonic() + settings.timeout
    records: dict[int, TrialRecord] = {}
    pending: dict[Future[TrialRecord], int] = {}
    asked = told = 0
    while asked < settings.max_evals or pending:
        while asked < settings.max_evals and len(pending) < min(engine.workers, LAG) and time.monotonic() < deadline:
            if any(number <= asked - LAG for number in pending.values()):
                break
            while told <= asked - LAG:
                suggester.tell(records[told])
                told += 1
            values = suggester.ask(asked)
            started(asked, values)
            pending[engine.submit(asked, values)] = asked
            asked += 1
        if not pending:
            break
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=pending.__getitem__):
            del pending[future]
            record = future.result()
            records[record.number] = record
            ended(record)
    return [records[number] for number in sorted(records)]


def best_record(records: Sequence[TrialRecord], metric: Metric, task: str) -> TrialRecord:
    """Choose the winner of a search.

    Parameters
    ----------
    records : sequence of TrialRecord
        All of the search.
    metric : Metric
        What to choose by.
    task : str
        Says which models are simpler.

    Returns
    -------
    TrialRecord
        The best score; of scores within 1e-9 (relative) the simpler model, then the earlier trial.

    Raises
    ------
    UserError
        Where no trial finished, with the reasons.
    """
    good = [record for record in records if record.status == FINISHED]
    if not records:
        raise UserError("timeout: the time was over before the first trial began; give more seconds.")
    if not good:
        reasons = dict.fromkeys(f"{record.values['model']}: {record.error}" for record in records)
        raise UserError(
            f"models: all {len(records)} trials failed ({listed(reasons, most=5)}); mend the table or the models."
        )
    return good[
        best_of(
            [record.score for record in good],
            [MODELS[task][record.values["model"]].rank for record in good],
            metric,
        )
    ]


def best_of(scores: Sequence[float], ranks: Sequence[float], metric: Metric) -> int:
    """Return the place of the best score; of ties (within 1e-9, relative) the smaller rank, then the earlier."""
    top = min(metric.loss(score) for score in scores)
    tied = [i for i, score in enumerate(scores) if metric.loss(score) - top <= TIE * max(abs(top), abs(score))]
    return min(tied, key=lambda i: (ranks[i], i))

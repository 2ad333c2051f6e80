"""The search: the same trials whatever order they end in, a winner by rule, and an end for every trial begun."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lifecycle.contract import Contract
from lifecycle.metrics import BINARY, REGRESSION, Metric
from lifecycle.models import MODELS, space_for
from lifecycle.pruning import FEWEST
from lifecycle.search import AHEAD, LAG, Suggester, best_of, best_record, run_search, simplicity, standard_errors
from lifecycle.settings import SearchSettings
from lifecycle.spaces import Choice, LogNormal, Space, Steps, Uniform, Values, point_of
from lifecycle.trials import FAILED, FINISHED, INFEASIBLE, PRUNED, Limits, Task, TrialRecord

F1, RMSE = BINARY["f1"], REGRESSION["rmse"]
SPACE: Space = {
    "logreg": {"C": LogNormal(0, 1), "solver": Choice(("liblinear", "lbfgs"))},
    "rf": {"n_estimators": Steps(100, 500, 50), "max_depth": Steps(2, 12)},
    "svm": {"C": LogNormal(0, 1), "u": Uniform(0, 1)},
}
Score = Callable[[Values], float]


def hill(values: Values) -> float:
    """Score a point so that some are better than others."""
    return {"logreg": 0.5, "rf": 0.3, "svm": 0.1}[values["model"]] - abs(np.log(values.get("C", 2.0)) - 0.5) / 10


class OutOfOrder:
    """An engine whose trials end in an order of its own: of those under way, a thread ends one at random.

    Parameters
    ----------
    workers : int
        Trials at once.
    score : callable
        Scores values; what it raises makes a failed record.
    """

    def __init__(self, workers: int, score: Score = hill, seconds: float = 0.0) -> None:
        self.workers = workers
        self.score = score
        self.seconds = seconds
        self.most = 0
        self.ended: list[int] = []
        self._chance = random.Random(1)
        self.tasks: dict[int, Task] = {}
        self._handed: dict[int, tuple[Values, Future[TrialRecord]]] = {}
        self._change = threading.Condition()
        self._open = True

    @contextmanager
    def at_work(self) -> Iterator["OutOfOrder"]:
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield self
        finally:
            with self._change:
                self._open = False
                self._change.notify()
            thread.join()

    def submit(self, number: int, task: Task) -> "Future[TrialRecord]":
        future: Future[TrialRecord] = Future()
        with self._change:
            self.tasks[number] = task
            self._handed[number] = (task.values, future)
            self.most = max(self.most, len(self._handed))
            self._change.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._handed or not self._open)
                if not self._handed:
                    return
            # Time for the search to hand out as many as it would.
            time.sleep(0.002)
            with self._change:
                # The others wait for a worker.
                number = self._chance.choice(sorted(self._handed)[: self.workers])
                values, future = self._handed.pop(number)
                if not future.set_running_or_notify_cancel():
                    continue
                self.ended.append(number)
            time.sleep(self.seconds)
            future.set_result(self._record(number, values))

    def _record(self, number: int, values: Values) -> TrialRecord:
        try:
            return TrialRecord(number, values, score=self.score(values))
        except ArithmeticError as error:
            return TrialRecord(number, values, status=FAILED, error=f"ArithmeticError: {error}")


def settings(**changes: Any) -> SearchSettings:
    """Make a search's settings."""
    return SearchSettings(**{"models": tuple(SPACE), "metric": "f1", "max_evals": 30, **changes})


def searched(
    workers: int = 1, seed: int = 1, algo: str = "tpe", score: Score = hill, trials: int = 30, space: Space = SPACE
) -> list[Values]:
    """Run a search, and give the values of its trials in order."""
    with OutOfOrder(workers, score).at_work() as engine:
        records = run_search(
            settings(max_evals=trials), Suggester(space, algo, F1, seed), engine, lambda *_: None, lambda _: None
        )
    assert [record.number for record in records] == list(range(trials))
    assert engine.most <= workers + AHEAD
    assert (workers == 1) == (engine.ended == sorted(engine.ended))
    return [record.values for record in records]


# ------------------------------------------------------------------------------------ repeatable


@pytest.fixture(scope="module")
def alone() -> list[Values]:
    """Give the trials of a search by one worker."""
    return searched()


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_the_same_seed_gives_the_same_trials_on_any_number_of_workers(workers: int, alone: list):
    """Up to four, in whatever order they end; with 30 trials TPE has learned from the first ones."""
    assert searched(workers) == alone


@pytest.mark.parametrize("algo", ["rand", "anneal"])
def test_every_algorithm_gives_the_same_trials_again(algo: str):
    one = searched(1, algo=algo, trials=16)
    assert searched(4, algo=algo, trials=16) == one
    assert searched(1, seed=2, algo=algo, trials=16) != one


def test_another_seed_gives_other_trials(alone: list):
    assert not {point_of(values) for values in searched(seed=2)} & {point_of(values) for values in alone}


def test_a_longer_search_begins_with_the_shorter_one(alone: list):
    assert searched(2, trials=12) == alone[:12]


def test_the_results_of_earlier_trials_are_read(alone: list):
    """But for the first ones, which are drawn at random."""
    other = searched(score=lambda values: -hill(values))
    assert other[:20] == alone[:20]
    assert other != alone


@pytest.mark.parametrize("algo", ["tpe", "anneal"])
@pytest.mark.parametrize("metric", [F1, RMSE])
def test_the_search_goes_where_the_metric_is_better(algo: str, metric: Metric):
    """One of two models has the better score: greater for F1, smaller for RMSE."""
    suggester = Suggester({"good": {"u": Uniform(0, 1)}, "bad": {"u": Uniform(0, 1)}}, algo, metric, 3)
    chosen = []
    for number in range(45):
        values = suggester.ask(number)
        chosen.append(values["model"])
        score = 0.9 if (values["model"] == "good") == metric.greater_is_better else 0.1
        suggester.tell(TrialRecord(number, values, score=score))
    assert chosen[20:].count("good") >= 17


@pytest.mark.parametrize("algo", ["tpe", "rand", "anneal"])
def test_what_a_search_asks_for_is_within_the_space_also_once_it_has_learned(algo: str):
    """With the best at the edge of every range, and every third trial failing."""
    space: Space = {"m": {"n": Steps(1, 9), "u": Uniform(2, 3), "k": Choice(("a", None)), "c": LogNormal(0, 1)}}
    suggester = Suggester(space, algo, F1, 7)
    for number in range(45):
        values = suggester.ask(number)
        assert type(values["n"]) is int
        assert 1 <= values["n"] <= 9
        assert 2 <= values["u"] <= 3
        assert values["k"] in ("a", None)
        assert values["c"] > 0
        failed = number % 3 == 0
        record = TrialRecord(number, values, FAILED if failed else FINISHED, float("nan") if failed else values["n"])
        suggester.tell(record)


# --------------------------------------------------------------------------------------- repeats

SIX: Space = {"a": {"k": Choice((1, 2, 3))}, "b": {"k": Choice((1, 2, 3))}}


@pytest.mark.parametrize("algo", ["tpe", "rand", "anneal"])
def test_a_point_is_not_tried_twice_while_there_are_others(algo: str):
    """Drawn at random, four of six points would all be different in 28 of 100 searches."""
    for seed in range(8):
        suggester = Suggester(SIX, algo, F1, seed)
        points = []
        for number in range(4):
            values = suggester.ask(number)
            points.append(point_of(values))
            suggester.tell(TrialRecord(number, values, score=0.5))
        assert len(set(points)) == 4


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_of_a_space_that_is_used_up_records_are_taken_over_without_a_fit(workers: int):
    """Each counts, also where the first of its kind is still under way."""
    told: list[TrialRecord] = []
    with OutOfOrder(workers, lambda values: values["k"]).at_work() as engine:
        records = run_search(
            settings(max_evals=40), Suggester(SIX, "rand", F1, 1), engine, lambda *_: None, told.append
        )
    assert len(records) == len(told) == 40
    fitted = [record for record in records if record.repeat_of is None]
    assert sorted(engine.ended) == [record.number for record in fitted]
    assert sorted(point_of(one.values) for one in fitted) == sorted(
        point_of({"model": m, "k": k}) for m in "ab" for k in (1, 2, 3)
    )
    first = {record.number: record for record in fitted}
    for again in (record for record in records if record.repeat_of is not None):
        assert again.repeat_of in first
        assert (again.values, again.score) == (first[again.repeat_of].values, first[again.repeat_of].score)


# ------------------------------------------------------------------------- begun and ended trials


def test_each_trial_is_told_once_as_it_begins_and_once_as_it_ends():
    """Both in the thread of the search, and never more than two for which there is no worker yet."""
    told: list[tuple[str, int]] = []
    here = threading.get_ident()

    def started(number: int, values: Values) -> None:
        assert threading.get_ident() == here
        told.append(("started", number))

    def ended(record: TrialRecord) -> None:
        assert threading.get_ident() == here
        told.append(("ended", record.number))

    with OutOfOrder(3).at_work() as engine:
        records = run_search(settings(max_evals=14), Suggester(SPACE, "rand", F1, 1), engine, started, ended)
    assert engine.most == 3 + AHEAD
    assert [number for what, number in told if what == "started"] == list(range(14))
    assert sorted(number for what, number in told if what == "ended") == list(range(14))
    assert all(told.index(("started", number)) < told.index(("ended", number)) for number in range(14))
    assert [record.number for record in records] == list(range(14))


@pytest.mark.parametrize("workers", [1, 4])
def test_failed_trials_do_not_stop_the_search(workers: int):
    def fragile(values: Values) -> float:
        if values["model"] == "rf":
            raise ArithmeticError("no forest today")
        return hill(values)

    with OutOfOrder(workers, fragile).at_work() as engine:
        records = run_search(settings(), Suggester(SPACE, "tpe", F1, 1), engine, lambda *_: None, lambda _: None)
    assert len(records) == 30
    assert {record.status for record in records} == {FAILED, FINISHED}
    for record in records:
        assert (record.status == FAILED) == (record.values["model"] == "rf")


def test_no_trial_begins_after_the_time_is_over_and_those_begun_are_waited_for():
    begun: list[float] = []
    ended: list[int] = []
    start = time.monotonic()
    with OutOfOrder(2, seconds=0.05).at_work() as engine:
        records = run_search(
            settings(max_evals=500, timeout=0.3),
            Suggester(SPACE, "rand", F1, 1),
            engine,
            lambda number, values: begun.append(time.monotonic() - start),
            lambda record: ended.append(record.number),
        )
    assert 2 <= len(records) < 40
    # A suggestion may be under way as the time runs out.
    assert begun[-1] < 0.3 + 0.25
    assert len(ended) == len(records)
    # Those that waited for a worker are taken back.
    assert len(records) <= len(begun) <= len(records) + 1 + AHEAD


def test_a_trial_that_waits_for_a_worker_when_the_time_is_over_is_not_begun():
    """One worker, whose first trial takes longer than all may: of those handed to it ahead none begins."""
    with OutOfOrder(1, seconds=0.4).at_work() as engine:
        records = run_search(
            settings(timeout=0.2), Suggester(SPACE, "rand", F1, 1), engine, lambda *_: None, lambda _: None
        )
    assert [record.number for record in records] == engine.ended == [0]


def test_a_trial_that_waits_for_a_worker_is_not_begun_where_the_time_ran_out_in_mid_write():
    """The store takes longer than all may: when it has been written to, nothing is left of the time to wait for."""
    with OutOfOrder(1, seconds=0.4).at_work() as engine:
        records = run_search(
            settings(timeout=0.1),
            Suggester(SPACE, "rand", F1, 1),
            engine,
            lambda number, values: time.sleep(0.06),
            lambda _: None,
        )
    assert [record.number for record in records] == engine.ended == [0]


@pytest.mark.parametrize("seconds", [1e7, 1e9])
def test_all_the_time_there_is_may_be_given(seconds: float):
    with OutOfOrder(2).at_work() as engine:
        records = run_search(
            settings(max_evals=4, timeout=seconds),
            Suggester(SPACE, "rand", F1, 1),
            engine,
            lambda *_: None,
            lambda _: None,
        )
    assert len(records) == 4


# ------------------------------------------------------------------------------ what is done already


@pytest.mark.parametrize("algo", ["tpe", "rand", "anneal"])
@pytest.mark.parametrize("lost", [(), (3,), (9, 17, 18)])
def test_a_search_that_goes_on_tries_what_it_would_have_tried(algo: str, lost: tuple[int, ...]):
    """Trials that were under way when it ended are tried again, those that were done are not."""
    whole = []
    with OutOfOrder(2).at_work() as engine:
        run_search(settings(), Suggester(SPACE, algo, F1, 1), engine, lambda *_: None, whole.append)
    past = [record for record in whole if record.number < 19 and record.number not in lost]
    told: list[TrialRecord] = []
    with OutOfOrder(4).at_work() as engine:
        records = run_search(settings(), Suggester(SPACE, algo, F1, 1), engine, lambda *_: None, told.append, past)
    assert [record.values for record in records] == [
        record.values for record in sorted(whole, key=lambda record: record.number)
    ]
    assert sorted(record.number for record in told) == sorted({*lost, *range(19, 30)})


def test_a_search_that_is_done_tries_nothing():
    whole = []
    with OutOfOrder(2).at_work() as engine:
        run_search(settings(), Suggester(SPACE, "tpe", F1, 1), engine, lambda *_: None, whole.append)
    with OutOfOrder(2).at_work() as engine:
        records = run_search(settings(), Suggester(SPACE, "tpe", F1, 1), engine, lambda *_: None, lambda _: None, whole)
    assert (len(records), engine.ended) == (30, [])


def test_what_is_done_counts_also_where_the_time_ends_before_it_is_come_to():
    """At once, or while a trial that was under way keeps the search from those that were done after it."""
    whole = []
    with OutOfOrder(2).at_work() as engine:
        run_search(settings(), Suggester(SPACE, "rand", F1, 1), engine, lambda *_: None, whole.append)
    past = [record for record in whole if record.number not in (10, 11, 12)]
    for seconds, again in ((1e-9, 0), (0.2, 1)):
        with OutOfOrder(1, seconds=0.4).at_work() as engine:
            records = run_search(
                settings(timeout=seconds),
                Suggester(SPACE, "rand", F1, 1),
                engine,
                lambda *_: None,
                lambda _: None,
                past,
            )
        assert engine.ended == [10][:again]
        assert [record.number for record in records] == sorted([record.number for record in past] + engine.ended)


def test_the_first_points_are_tried_first_and_known_to_hyperopt():
    first = [{"model": "logreg", "C": 1.0, "solver": "lbfgs"}, {"model": "rf", "n_estimators": 150, "max_depth": 7}]
    records = []
    with OutOfOrder(1).at_work() as engine:
        run_search(
            settings(max_evals=12), Suggester(SPACE, "tpe", F1, 1, first), engine, lambda *_: None, records.append
        )
    assert [record.values for record in records[:2]] == first
    assert len({point_of(record.values) for record in records}) == 12


def test_values_outside_the_space_are_no_past_of_it():
    suggester = Suggester(SPACE, "tpe", F1, 1)
    with pytest.raises(ValueError, match="C of logreg"):
        suggester.recall(0, {"model": "logreg", "C": -1.0, "solver": "lbfgs"})


# ---------------------------------------------------------------------------------------- patience


def test_a_search_ends_where_nothing_better_comes():
    """The third trial is the best; those that were handed out before that was known are waited for."""
    numbers = iter(range(100))
    scores = {}

    def third(values: Values) -> float:
        return scores.setdefault(point_of(values), 1.0 if next(numbers) == 2 else 0.5)

    with OutOfOrder(1, third).at_work() as engine:
        records = run_search(
            settings(max_evals=90, patience=10),
            Suggester(SPACE, "rand", F1, 1),
            engine,
            lambda *_: None,
            lambda _: None,
        )
    # Ten after the third, and as many as are suggested without knowing of them.
    assert len(records) == 3 + 10 + LAG - 1


def test_without_patience_a_search_goes_on():
    with OutOfOrder(2, lambda values: 0.5).at_work() as engine:
        records = run_search(settings(), Suggester(SPACE, "rand", F1, 1), engine, lambda *_: None, lambda _: None)
    assert len(records) == 30


# -------------------------------------------------------------------------------------------- the bar


def test_the_bar_of_a_trial_is_set_by_those_that_it_may_know_of():
    """Eight finished trials with folds, and as many more as may be under way."""

    class Folded(OutOfOrder):
        def _record(self, number: int, values: Values) -> TrialRecord:
            return TrialRecord(number, values, score=number / 100, fold_scores=(number / 100, number / 100 + 0.1))

    with Folded(3).at_work() as engine:
        run_search(settings(max_evals=20), Suggester(SPACE, "rand", F1, 1), engine, lambda *_: None, lambda _: None)
    for number, task in engine.tasks.items():
        known = number - LAG + 1
        if known < FEWEST:
            assert task.bar is None
        else:
            best = (known - 1) / 100
            assert task.bar is not None
            np.testing.assert_allclose(task.bar.losses, (-best, -best - 0.1))


def test_hyperopt_is_told_what_a_pruned_trial_is_thought_to_have():
    suggester = Suggester(SPACE, "tpe", F1, 1)
    values = suggester.ask(0)
    suggester.tell(TrialRecord(0, values, PRUNED, score=0.25))
    assert suggester._trials.losses() == [-0.25]


def test_one_trial_ends_a_search_of_one():
    assert len(searched(1, trials=1)) == 1


# ---------------------------------------------------------------------------------------- winner


def record(number: int, model: str, score: float, error: str = "") -> TrialRecord:
    """Make a record; one with an error has failed."""
    return TrialRecord(number, {"model": model}, FAILED if error else FINISHED, score, error=error)


def winner(metric: Metric, *records: TrialRecord, task: str = "classification") -> int:
    """Give the number of the winner."""
    return best_record(records, metric, task).number


def test_the_best_score_wins_by_the_metrics_direction():
    records = [record(0, "rf", 0.3), record(1, "svm", 0.7), record(2, "logreg", 0.1)]
    assert winner(F1, *records) == 1
    quantities = [record(0, "rf", 0.3), record(1, "lasso", 0.7), record(2, "ridge", 0.1)]
    assert winner(RMSE, *quantities, task="regression") == 2
    assert winner(REGRESSION["r2"], *quantities, task="regression") == 1


def test_of_equal_scores_the_simpler_model_wins_then_the_earlier_trial():
    assert winner(F1, record(0, "rf", 0.5), record(1, "logreg", 0.5), record(2, "logreg", 0.5)) == 1
    assert winner(F1, record(0, "rf", 0.5), record(1, "dtc", 0.5), record(2, "svm", 0.5)) == 1
    assert winner(RMSE, record(0, "rf", 2.0), record(1, "ridge", 2.0), task="regression") == 1


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_scores_within_a_billionth_of_each_other_are_equal(size: float):
    """Relative to the score, whatever its size."""
    near, far = size * (1 - 0.5e-9), size * (1 - 2e-9)
    assert winner(F1, record(0, "rf", size), record(1, "logreg", near)) == 1
    assert winner(F1, record(0, "rf", size), record(1, "logreg", far)) == 0
    near, far = size * (1 + 0.5e-9), size * (1 + 2e-9)
    assert winner(RMSE, record(0, "rf", size), record(1, "ridge", near), task="regression") == 1
    assert winner(RMSE, record(0, "rf", size), record(1, "ridge", far), task="regression") == 0


def test_negative_scores_and_noughts_are_compared_too():
    assert winner(REGRESSION["r2"], record(0, "rf", -2.0), record(1, "ridge", -3.0), task="regression") == 0
    assert winner(F1, record(0, "rf", 0.0), record(1, "logreg", 0.0)) == 1


def test_a_failed_trial_wins_nothing():
    failed = record(0, "logreg", float("nan"), "ValueError: bad")
    assert winner(F1, failed, record(1, "rf", 0.1)) == 1


def test_a_search_in_which_all_failed_has_no_winner_and_says_why(refused: Callable):
    records = [
        record(0, "svm", float("nan"), "ValueError: bad"),
        record(1, "rf", float("nan"), "MemoryError: too much"),
        record(2, "svm", float("nan"), "ValueError: bad"),
    ]
    with refused(
        "models: all 3 trials failed (svm: ValueError: bad, rf: MemoryError: too much); mend the table or the models."
    ):
        best_record(records, F1, "classification")


def test_a_search_without_a_trial_has_no_winner(refused: Callable):
    with refused("timeout: the time was over before the first trial began; give more seconds."):
        best_record([], F1, "classification")


def test_the_best_of_some_scores_by_rank_then_place():
    assert best_of([0.1, 0.9, 0.9], [0, 5, 4], F1) == 2
    assert best_of([0.1, 0.9, 0.9], [0, 5, 5], F1) == 1
    assert best_of([0.1, 0.9, 0.9], [0, 5, 4], RMSE) == 0


def test_every_model_offered_has_a_rank_to_win_ties_by():
    contract = Contract("y", "classification", (0, 1), 1, "random")
    names = tuple(MODELS["classification"])
    records = [record(number, name, 0.5) for number, name in enumerate(space_for(names, contract))]
    assert winner(F1, *records) == names.index("logreg")
    ranks = [MODELS["regression"][name].rank for name in ("ridge", "linear_svr", "rf", "gradient_boosting")]
    assert all(one < other for one, other in pairwise(ranks))


def scored(number: int, model: str, score: float, deviation: float = 0.0, size_mb: float = 0.01) -> TrialRecord:
    """Make the record of a trial with five folds; the deviation has the divisor n, as tracked."""
    metrics = {"cv_f1": score, "cv_f1_std": deviation}
    return TrialRecord(number, {"model": model}, score=score, metrics=metrics, folds_done=5, size_mb=size_mb)


def test_a_standard_error_is_of_the_mean_over_the_folds():
    """As NumPy has it: the folds' deviation with divisor n - 1, over the root of their number."""
    folds = np.array([0.5, 0.7, 0.6, 0.65, 0.4])
    record = scored(0, "rf", float(folds.mean()), float(folds.std()))
    assert standard_errors([record], F1).tolist() == pytest.approx([folds.std(ddof=1) / np.sqrt(5)])
    on_test = TrialRecord(0, {"model": "rf"}, score=0.5, metrics={"test_f1": 0.5})
    assert standard_errors([on_test], F1).tolist() == [0.0]


def test_within_one_standard_error_of_the_best_the_simplest_wins():
    best = scored(0, "rf", 0.70, 0.04)
    assert winner(F1, best, scored(1, "svm", 0.685), scored(2, "logreg", 0.679)) == 1
    assert winner(F1, best, scored(1, "svm", 0.681), scored(2, "logreg", 0.681)) == 2
    # It is the best one's error that counts.
    assert winner(F1, best, scored(1, "logreg", 0.6, 0.9)) == 0


def test_of_the_same_kind_the_smaller_model_wins_but_a_few_bytes_do_not_count():
    best = scored(0, "rf", 0.70, 0.04, size_mb=1.0)
    assert winner(F1, best, scored(1, "rf", 0.69, size_mb=0.25), scored(2, "rf", 0.69, size_mb=0.5)) == 1
    assert winner(F1, best, scored(1, "rf", 0.69, size_mb=0.9)) == 0
    assert winner(F1, best, scored(1, "rf", 0.70, size_mb=1.1)) == 0


def test_seconds_have_no_say_in_what_is_simple():
    one, other = scored(0, "rf", 0.7), scored(1, "rf", 0.7)
    other.latency_ms, other.fit_seconds = 0.001, 0.001
    assert len(set(simplicity([one, other], "classification").tolist())) == 1


def test_the_infeasible_never_win_and_hyperopt_is_told_that_they_failed():
    over = scored(0, "logreg", 0.9)
    over.status = INFEASIBLE
    assert winner(F1, over, scored(1, "rf", 0.1)) == 1
    suggester = Suggester(SPACE, "tpe", F1, 1)
    over.values = suggester.ask(0)
    suggester.tell(over)
    assert suggester._trials.statuses() == ["fail"]


def test_where_all_are_infeasible_the_option_and_the_least_are_named(refused: Callable):
    over = [scored(number, "rf", 0.5, size_mb=size) for number, size in enumerate((3.0, 1.2345, 2.0))]
    for one in over:
        one.status, one.latency_ms = INFEASIBLE, 9.0 - one.number
    failed = record(3, "svm", float("nan"), "ValueError: bad")
    with refused(
        "max_size_mb: none of 4 trials (1 failed) keeps within 1 MB, the least found is 1.23; give more than that, "
        "name smaller or faster models, or search longer."
    ):
        best_record([*over, failed], F1, "classification", Limits(8.5, 1.0))
    with refused(
        "max_latency_ms: none of 3 trials keeps within 5 ms for 1,000 rows, the least found is 7; give more than that, "
        "name smaller or faster models, or search longer."
    ):
        best_record(over, F1, "classification", Limits(5.0, 0.0))


def test_an_interrupted_search_ends_between_two_trials_and_tells_of_those_that_were_done():
    stop: Future[None] = Future()
    told: list[int] = []

    def ended(record: TrialRecord) -> None:
        told.append(record.number)
        if len(told) == 5:
            stop.set_result(None)

    with OutOfOrder(2).at_work() as engine, pytest.raises(KeyboardInterrupt):
        run_search(settings(), Suggester(SPACE, "rand", F1, 1), engine, lambda *_: None, ended, (), stop)
    assert 5 <= len(told) < 12
    assert len(told) == len(set(told))

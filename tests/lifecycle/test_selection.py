"""Who becomes champion: the best by cross-validation, if the test rows say that it beats the dummy."""

from collections.abc import Callable
from typing import Any

import pytest

from lifecycle.errors import UserError
from lifecycle.metrics import BINARY, REGRESSION
from lifecycle.selection import Candidate, choose, judge

F1, RMSE, R2 = BINARY["f1"], REGRESSION["rmse"], REGRESSION["r2"]
NAN = float("nan")


def candidate(run_id: str, rank: int = 1, started: int = 100, **scores: float) -> Candidate:
    """Make a candidate with some metrics."""
    return Candidate(run_id, "tune_multi", "random forest", rank, started, scores)


def chosen(metric: Any, *candidates: Candidate) -> str:
    """Give the run that is chosen, which does not hang on the order of the candidates."""
    [name] = {choose(order, metric).run_id for order in (candidates, candidates[::-1])}
    return name


def test_the_best_by_cross_validation_is_chosen_and_the_test_rows_have_no_say():
    one = candidate("one", cv_f1=0.6, test_f1=0.1, cv_rmse=2.0)
    other = candidate("other", cv_f1=0.5, test_f1=0.9, cv_rmse=3.0)
    assert chosen(F1, one, other) == "one"
    assert chosen(RMSE, one, other) == "one"


def test_of_ties_the_simpler_model_is_chosen_then_the_earlier_run():
    forest, line = candidate("forest", rank=4, cv_f1=0.5), candidate("line", rank=0, started=900, cv_f1=0.5)
    assert chosen(F1, forest, line) == "line"
    assert chosen(F1, candidate("late", started=200, cv_f1=0.5), candidate("early", cv_f1=0.5)) == "early"
    # Both of the same millisecond: still one and the same.
    assert chosen(F1, candidate("b", cv_f1=0.5), candidate("a", cv_f1=0.5)) == "a"


def test_scores_within_a_billionth_are_ties():
    near = candidate("line", rank=0, cv_f1=0.5 * (1 - 0.5e-9)), candidate("forest", rank=4, cv_f1=0.5)
    far = candidate("line", rank=0, cv_f1=0.5 * (1 - 2e-9)), candidate("forest", rank=4, cv_f1=0.5)
    assert chosen(F1, *near) == "line"
    assert chosen(F1, *far) == "forest"


def test_a_candidate_without_the_metric_is_passed_over():
    assert chosen(F1, candidate("blind", test_f1=0.9), candidate("seen", cv_f1=0.1)) == "seen"


def test_a_candidate_whose_score_is_no_number_is_passed_over():
    """R2 of a fold of one row is none."""
    assert chosen(R2, candidate("none", cv_r2=NAN), candidate("some", cv_r2=0.1)) == "some"


def test_without_a_score_there_is_no_choice(refused: Callable):
    for candidates in ([], [candidate("blind", test_f1=0.9)]):
        with refused("metric: no candidate of this table has tracked cv_f1; run a step that does."):
            choose(candidates, F1)


def test_scores_that_are_no_numbers_are_no_choice():
    with pytest.raises(UserError, match=r"^metric: .*cv_r2"):
        choose([candidate("none", cv_r2=NAN)], R2)


def test_who_beats_the_dummy_is_accepted_with_both_figures():
    better = candidate("one", test_f1=0.4567, dummy_test_f1=0.36749)
    assert judge(better, F1) == "F1 0.4567 on the test rows, against 0.3675 for the best constant prediction."
    smaller = candidate("one", test_rmse=7.48, dummy_test_rmse=11.0)
    assert judge(smaller, RMSE) == "RMSE 7.48 on the test rows, against 11 for the best constant prediction."


@pytest.mark.parametrize(
    ("metric", "test", "dummy"),
    [(F1, 0.2687, 0.3675), (F1, 0.3675, 0.3675), (RMSE, 11.5, 11.0), (RMSE, NAN, 11.0), (F1, NAN, 0.3)],
)
def test_who_does_not_beat_the_dummy_is_refused(metric: Any, test: float, dummy: float, refused: Callable):
    name = metric.name
    weak = candidate("abc", **{f"cv_{name}": 0.9, f"test_{name}": test, f"dummy_test_{name}": dummy})
    with refused(
        f"run_id: the best candidate (random forest of tune_multi, run abc) has {metric.label} {test:.4g} on the test "
        f"rows, and the best constant prediction has {dummy:.4g}: it is not registered; search longer, or give better "
        "columns."
    ):
        judge(weak, metric)


@pytest.mark.parametrize("scores", [{"test_f1": 0.5}, {"dummy_test_f1": 0.5}, {"cv_f1": 0.5}])
def test_who_was_not_scored_beside_a_dummy_is_refused(scores: dict, refused: Callable):
    with refused(
        "metric: run abc has no test_f1 beside a dummy's to be judged by; choose another metric, or another run_id."
    ):
        judge(candidate("abc", **scores), F1)

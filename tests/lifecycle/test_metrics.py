"""Every figure of merit: by hand, equal to scikit-learn's, with its direction and the best constant beside it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as skm

from lifecycle.contract import Contract
from lifecycle.metrics import (
    METRIC_NAMES,
    Metric,
    adjusted_r2,
    best_constant,
    dummy_score,
    dummy_scores,
    metrics_for,
    over_folds,
    prefixed,
    resolve_metric,
    score_all,
    score_text,
)

NAN = np.nan


def classes(*labels: Any, positive: Any = None) -> Contract:
    """Make the contract of a table of these classes."""
    return Contract("y", "classification", labels, positive, "random")


NO_YES = classes("no", "yes", positive="yes")
ABC = classes("a", "b", "c")
QUANTITY = Contract("y", "regression", (), None, "random")


# ---------------------------------------------------------------------------------------- by hand


def test_two_classes_by_hand():
    """Of 4 yes 2 are found, with 1 false alarm among 4 no; of the 16 pairs 13 are in order."""
    truth = np.array(["yes"] * 4 + ["no"] * 4, dtype=object)
    guess = np.array(["yes", "yes", "no", "no", "yes", "no", "no", "no"], dtype=object)
    ranks = np.array([9.0, 8.0, 4.0, 3.0, 5.0, 3.5, 2.0, 1.0])
    assert score_all(NO_YES, truth, guess, ranks) == pytest.approx(
        {"accuracy": 5 / 8, "precision": 2 / 3, "recall": 2 / 4, "f1": 4 / 7, "roc_auc": 13 / 16}
    )
    # The other class in view: 3 of 4 are found, with 2 false alarms.
    other = classes("no", "yes", positive="no")
    assert score_all(other, truth, guess, -ranks) == pytest.approx(
        {"accuracy": 5 / 8, "precision": 3 / 5, "recall": 3 / 4, "f1": 2 / 3, "roc_auc": 13 / 16}
    )


def test_three_classes_by_hand():
    """One a of two is found and the one b, each with a false alarm; c is never guessed."""
    found = score_all(ABC, np.array(list("aabc")), np.array(list("abba")), None)
    assert found == pytest.approx(
        {
            "accuracy": 2 / 4,
            "precision_macro": (1 / 2 + 1 / 2 + 0) / 3,
            "recall_macro": (1 / 2 + 1 + 0) / 3,
            "f1_macro": (1 / 2 + 2 / 3 + 0) / 3,
        }
    )


def test_three_areas_by_hand():
    """For a and b all pairs are in order, for c one of two."""
    scores = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.3, 0.5, 0.2]])
    found = score_all(ABC, np.array(list("abc")), np.array(list("abb")), scores)
    assert found["roc_auc_ovr"] == pytest.approx((1 + 0.75 + 0.5) / 3)


def test_a_quantity_by_hand():
    """Errors 0, 1, 0 and -2; the squares of the distances from the mean, 3, add up to 14."""
    found = score_all(QUANTITY, [1.0, 2.0, 3.0, 6.0], np.array([1.0, 3.0, 3.0, 4.0]), None)
    assert found == pytest.approx({"rmse": np.sqrt(5 / 4), "mae": 3 / 4, "r2": 1 - 5 / 14})


def test_one_row_has_no_r2():
    found = score_all(QUANTITY, [1.0], np.array([3.0]), None)
    assert (found["rmse"], found["mae"]) == (2.0, 2.0)
    assert np.isnan(found["r2"])


def test_what_is_never_guessed_and_what_never_occurs_scores_nought():
    never = np.array(["no"] * 3, dtype=object)
    found = score_all(NO_YES, np.array(["no", "yes", "yes"], dtype=object), never, None)
    assert found == pytest.approx({"accuracy": 1 / 3, "precision": 0.0, "recall": 0.0, "f1": 0.0})
    nowhere = score_all(NO_YES, never, never, np.zeros(3))
    assert nowhere == {"accuracy": 1.0, "precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_roc_is_left_out_where_it_is_not_defined():
    assert "roc_auc" not in score_all(NO_YES, np.array(["yes"] * 2), np.array(["yes", "no"]), np.array([0.1, 0.2]))
    assert "roc_auc" not in score_all(NO_YES, np.array(["yes", "no"]), np.array(["yes", "no"]), None)
    two_of_three = score_all(ABC, np.array(list("ab")), np.array(list("ab")), np.eye(3)[:2])
    assert "roc_auc_ovr" not in two_of_three


@pytest.mark.parametrize(
    ("r2", "rows", "columns", "expected"),
    [(0.5, 11, 2, 1 - 0.5 * 10 / 8), (1.0, 4, 2, 1.0), (0.0, 5, 3, 1 - 4.0), (0.5, 3, 2, NAN), (0.5, 2, 2, NAN)],
)
def test_adjusted_r2_by_hand(r2: float, rows: int, columns: int, expected: float):
    assert adjusted_r2(r2, rows, columns) == pytest.approx(expected, nan_ok=True)


# --------------------------------------------------------------------------- as scikit-learn's


@st.composite
def guesses(draw: st.DrawFn, labels: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Draw true and guessed labels, some of which need not occur."""
    among = draw(st.lists(st.sampled_from(labels), min_size=1, unique=True))
    rows = draw(st.integers(1, 30))
    column = st.lists(st.sampled_from(among), min_size=rows, max_size=rows)
    truth, guess = draw(column), draw(st.lists(st.sampled_from(labels), min_size=rows, max_size=rows))
    dtype = object if isinstance(labels[0], str) else None
    return np.array(truth, dtype=dtype), np.array(guess, dtype=dtype)


@pytest.mark.parametrize(("labels", "place"), [((0, 1), 1), ((0, 1), 0), (("No", "Yes"), 1), ((False, True), 0)])
@given(data=st.data(), seed=st.integers(0, 1000))
def test_two_classes_are_scored_as_by_scikit_learn(labels: tuple, place: int, data: st.DataObject, seed: int):
    truth, guess = data.draw(guesses(labels))
    positive = labels[place]
    ranks = np.random.default_rng(seed).integers(0, 4, len(truth)).astype(float)
    found = score_all(classes(*labels, positive=positive), truth, guess, ranks)
    isit, said = truth == positive, guess == positive
    expected = {
        "accuracy": skm.accuracy_score(isit, said),
        "precision": skm.precision_score(isit, said, zero_division=0),
        "recall": skm.recall_score(isit, said, zero_division=0),
        "f1": skm.f1_score(isit, said, zero_division=0),
    }
    if 0 < isit.sum() < len(isit):
        expected["roc_auc"] = skm.roc_auc_score(isit, ranks)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("labels", [(0, 1, 2), ("a", "b", "c"), (1, 2, 3, 4, 5)])
@given(data=st.data(), seed=st.integers(0, 1000))
def test_several_classes_are_scored_as_by_scikit_learn(labels: tuple, data: st.DataObject, seed: int):
    """Classes that neither occur nor are guessed have no place in a macro average."""
    truth, guess = data.draw(guesses(labels))
    shares = np.random.default_rng(seed).dirichlet([1] * len(labels), len(truth))
    found = score_all(classes(*labels), truth, guess, shares)
    sure = {"average": "macro", "zero_division": 0}
    words, said = truth.astype(str), guess.astype(str)
    expected = {
        "accuracy": skm.accuracy_score(words, said),
        "precision_macro": skm.precision_score(words, said, **sure),
        "recall_macro": skm.recall_score(words, said, **sure),
        "f1_macro": skm.f1_score(words, said, **sure),
    }
    if len(set(words)) == len(labels):
        expected["roc_auc_ovr"] = skm.roc_auc_score(words, shares, multi_class="ovr", average="macro")
    assert found == pytest.approx(expected)


numbers = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))


@given(pairs=st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30))
def test_a_quantity_is_scored_as_by_scikit_learn(pairs: list):
    truth, guess = np.array(pairs).T
    assert score_all(QUANTITY, truth, guess, None) == pytest.approx(
        {
            "rmse": skm.root_mean_squared_error(truth, guess),
            "mae": skm.mean_absolute_error(truth, guess),
            "r2": skm.r2_score(truth, guess),
        }
    )


# ---------------------------------------------------------------------------------------- dummies


def metric(contract: Contract, name: str) -> Metric:
    """Find a table's metric by its short name."""
    return metrics_for(contract)[name]


ONE_IN_FOUR = pd.Series(["no", "no", "no", "yes"])


@pytest.mark.parametrize(
    ("name", "constant"),
    [("accuracy", "no"), ("f1", "yes"), ("recall", "yes"), ("precision", "yes")],
)
def test_the_best_constant_of_two_classes(name: str, constant: str):
    assert best_constant(NO_YES, metric(NO_YES, name), ONE_IN_FOUR) == constant


def test_the_best_constant_is_about_the_positive_class():
    turned = classes("no", "yes", positive="no")
    assert best_constant(turned, metric(turned, "f1"), ONE_IN_FOUR) == "no"


@pytest.mark.parametrize("labels", [[1, 1, 0], [True, True, False]])
def test_the_constant_has_the_targets_type(labels: list):
    contract = classes(*sorted(set(labels)), positive=max(labels))
    for name in ("accuracy", "f1"):
        constant = best_constant(contract, metric(contract, name), pd.Series(labels))
        assert constant is labels[0]


def test_the_best_constant_of_three_classes_is_the_majority():
    labels = pd.Series(list("bbbac"))
    for name in ("f1", "accuracy", "precision", "recall", "roc_auc"):
        assert best_constant(ABC, metric(ABC, name), labels) == "b"


def test_the_best_constant_of_a_quantity_is_the_mean_or_for_mae_the_median():
    labels = pd.Series([1.0, 2.0, 9.0])
    assert best_constant(QUANTITY, metric(QUANTITY, "rmse"), labels) == 4.0
    assert best_constant(QUANTITY, metric(QUANTITY, "r2"), labels) == 4.0
    assert best_constant(QUANTITY, metric(QUANTITY, "mae"), labels) == 2.0


@given(yes=st.integers(1, 20), no=st.integers(1, 20))
def test_always_positive_has_an_f1_of_two_p_over_one_plus_p(yes: int, no: int):
    share = yes / (yes + no)
    rows = pd.Series(["yes"] * yes + ["no"] * no)
    assert dummy_score(NO_YES, metric(NO_YES, "f1"), ONE_IN_FOUR, rows) == pytest.approx(2 * share / (1 + share))
    assert dummy_score(NO_YES, metric(NO_YES, "accuracy"), ONE_IN_FOUR, rows) == pytest.approx(1 - share)
    assert dummy_score(NO_YES, metric(NO_YES, "recall"), ONE_IN_FOUR, rows) == 1.0
    assert dummy_score(NO_YES, metric(NO_YES, "precision"), ONE_IN_FOUR, rows) == pytest.approx(share)
    assert dummy_score(NO_YES, metric(NO_YES, "roc_auc"), ONE_IN_FOUR, rows) == 0.5


def test_the_dummy_is_not_defined_where_the_metric_is_not():
    assert dummy_score(NO_YES, metric(NO_YES, "roc_auc"), ONE_IN_FOUR, pd.Series(["no", "no"])) is None
    assert dummy_score(ABC, metric(ABC, "roc_auc"), pd.Series(list("abc")), pd.Series(list("ab"))) is None


def test_the_dummy_of_three_classes_by_hand():
    """Always a, where two of four rows are a: F1 of a is 2/3, of the two others 0."""
    train, rows = pd.Series(list("aaabc")), pd.Series(list("aabc"))
    assert dummy_score(ABC, metric(ABC, "f1"), train, rows) == pytest.approx(2 / 9)
    assert dummy_score(ABC, metric(ABC, "roc_auc"), train, rows) == 0.5


def test_the_dummies_of_a_quantity_by_hand():
    """Of 0, 2, 4 and 9 each half is guessed by the other's mean, 6.5 and 1, which is its median too."""
    train, test = pd.Series([0.0, 2.0, 4.0, 9.0]), pd.Series([3.0, 5.0])
    pairs = [(np.array([2, 3]), np.array([0, 1])), (np.array([0, 1]), np.array([2, 3]))]
    found = dummy_scores(QUANTITY, train, pairs, test)
    first, second = np.sqrt((6.5**2 + 4.5**2) / 2), np.sqrt((3**2 + 8**2) / 2)
    # On the test rows: the mean of all is 3.75, the median 3.
    assert found == pytest.approx(
        {
            "dummy_cv_rmse": (first + second) / 2,
            "dummy_cv_mae": (5.5 + 5.5) / 2,
            "dummy_cv_r2": ((1 - 2 * first**2 / 2) + (1 - 2 * second**2 / 12.5)) / 2,
            "dummy_test_rmse": np.sqrt((0.75**2 + 1.25**2) / 2),
            "dummy_test_mae": 1.0,
            "dummy_test_r2": 1 - (0.75**2 + 1.25**2) / 2,
        }
    )


def test_the_dummies_of_two_classes_by_hand():
    """Each fold's constant is chosen on the rows fitted on: in the first no is frequent, in the second yes."""
    train = pd.Series(["yes", "yes", "no", "no", "no", "yes"])
    pairs = [(np.array([2, 3, 4, 5]), np.array([0, 1])), (np.array([0, 1, 2]), np.array([3, 4, 5]))]
    found = dummy_scores(NO_YES, train, pairs, None)
    assert found == pytest.approx(
        {
            "dummy_cv_accuracy": (0 + 1 / 3) / 2,
            "dummy_cv_f1": (1 + 2 * (1 / 3) / (4 / 3)) / 2,
            "dummy_cv_precision": (1 + 1 / 3) / 2,
            "dummy_cv_recall": 1.0,
            # Defined in the second fold alone.
            "dummy_cv_roc_auc": 0.5,
        }
    )
    assert dummy_scores(NO_YES, train, pairs, pd.Series(["yes", "no"]))["dummy_test_roc_auc"] == 0.5


# ------------------------------------------------------------------------------ names, direction


def test_folds_are_summed_up_by_mean_and_deviation():
    scores = [{"f1": 0.2, "roc_auc": 0.7, "accuracy": 1.0}, {"f1": 0.6, "accuracy": 1.0}]
    assert over_folds(scores) == pytest.approx(
        {"cv_f1": 0.4, "cv_f1_std": 0.2, "cv_accuracy": 1.0, "cv_accuracy_std": 0.0}
    )
    # A score that only later folds have is not of all folds either.
    assert "cv_roc_auc" not in over_folds(scores[::-1])
    assert over_folds([]) == {}


def test_scores_are_named_by_their_rows():
    assert prefixed("test", {"f1": 0.5, "roc_auc": 0.7}) == {"test_f1": 0.5, "test_roc_auc": 0.7}


@pytest.mark.parametrize(
    ("name", "greater"),
    [("f1", True), ("accuracy", True), ("precision", True), ("recall", True), ("roc_auc", True)]
    + [("rmse", False), ("mae", False), ("r2", True)],
)
def test_every_metric_has_its_direction(name: str, greater: bool):
    tables = [QUANTITY] if name in ("rmse", "mae", "r2") else [NO_YES, ABC]
    for contract in tables:
        one = metric(contract, name)
        assert one.greater_is_better is greater
        assert one.better(0.9, 0.1) is greater
        assert one.better(0.1, 0.9) is not greater
        assert not one.better(0.5, 0.5)
        assert not one.better(NAN, 0.5)
        assert not one.better(0.5, NAN)
        assert (one.loss(0.9) < one.loss(0.1)) is greater


@pytest.mark.parametrize(
    ("contract", "typed", "name"),
    [
        (NO_YES, "", "f1"),
        (NO_YES, "roc_auc", "roc_auc"),
        (ABC, "", "f1_macro"),
        (ABC, "f1", "f1_macro"),
        (ABC, "f1_macro", "f1_macro"),
        (ABC, "accuracy", "accuracy"),
        (ABC, "precision", "precision_macro"),
        (ABC, "recall", "recall_macro"),
        (ABC, "roc_auc", "roc_auc_ovr"),
        (QUANTITY, "", "rmse"),
        (QUANTITY, "mae", "mae"),
    ],
)
def test_a_metric_is_found_by_the_name_typed(contract: Contract, typed: str, name: str):
    assert resolve_metric(typed, contract).name == name


def test_a_metric_that_the_task_does_not_have_is_refused(refused: Callable):
    with refused("metric: 'f1' is not known; use one of rmse, mae, r2."):
        resolve_metric("f1", QUANTITY)
    with refused(
        "metric (a table of classification, 2 classes): 'rmse' is not known; "
        "use one of f1, accuracy, precision, recall, roc_auc."
    ):
        resolve_metric("rmse", NO_YES)
    with refused(
        "metric: 'acuracy' is not known; use one of f1, accuracy, precision, recall, roc_auc. Did you mean accuracy?"
    ):
        resolve_metric("acuracy", ABC)


def test_every_name_of_a_metric_may_be_typed():
    tracked = {one.name for contract in (NO_YES, ABC, QUANTITY) for one in metrics_for(contract).values()}
    assert tracked == set(METRIC_NAMES)
    for contract in (NO_YES, ABC, QUANTITY):
        for one in metrics_for(contract).values():
            assert resolve_metric(one.name, contract) == one


def test_what_is_scored_is_what_has_a_name():
    scored = score_all(ABC, np.array(list("abc")), np.array(list("abc")), np.eye(3))
    assert set(scored) == {one.name for one in metrics_for(ABC).values()}
    assert all(value == 1.0 for value in scored.values())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.701754, "0.7018"),
        (27.4369, "27.44"),
        (9999.4, "9999"),
        (9999.6, "10000"),
        (15_050.06, "15050"),
        (-123_456.7, "-123457"),
        (1.2e16, "1.2e+16"),
        (0.0, "0"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_scores_in_a_line_have_no_exponent_that_people_would_have_to_undo(value: float, text: str):
    assert score_text(value) == text

"""Spark's MLlib as data: what is offered, the sweep, and the figures that are made of counts and sums."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lifecycle import mllib
from lifecycle.contract import CATEGORICAL, NUMERIC, Column, Contract
from lifecycle.errors import UserError
from lifecycle.metrics import dummy_of_counts, dummy_score, metrics_for, score_all
from lifecycle.spaces import holds
from lifecycle.trials import FAILED, TrialRecord

COLUMNS = (Column("x", NUMERIC, "DOUBLE", low=0.0, high=1.0), Column("c", CATEGORICAL, "VARCHAR", levels=("a", "b")))
BINARY = Contract("y", "classification", ("no", "yes"), "yes", "hash", columns=COLUMNS, rows=100)
THREE = replace(BINARY, classes=("a", "b", "c"), positive=None)
QUANTITY = Contract("y", "regression", (), None, "hash", columns=COLUMNS, rows=100)


def test_the_sweep_is_of_18_points_row_by_row() -> None:
    space, points = mllib.sweep()
    assert [(point["maxBins"], point["maxDepth"]) for point in points] == [
        (bins, depth) for bins in (5, 7, 9, 11, 13, 15) for depth in (2, 3, 4)
    ]
    assert all(point["model"] == "dtc" and holds(space, point) for point in points)


@pytest.mark.parametrize("contract", [BINARY, THREE, QUANTITY], ids=["two classes", "three", "a quantity"])
def test_the_first_point_of_every_model_lies_in_its_space(contract: Contract) -> None:
    models = mllib.choose((), contract)
    space, first = mllib.space_of(models, contract)
    assert [point["model"] for point in first] == list(models) == list(space)
    assert all(holds(space, point) for point in first)


def test_boosting_of_spark_is_for_two_classes() -> None:
    assert mllib.choose((), BINARY) == ("logreg", "dtc", "rf", "gradient_boosting")
    assert mllib.choose((), THREE) == ("logreg", "dtc", "rf")
    with pytest.raises(UserError, match=r"^models: the table has 3 classes, of which it takes at most 2 \(gradient_"):
        mllib.choose(("gradient_boosting",), THREE)


def test_trees_are_left_out_of_a_table_of_many_levels() -> None:
    levels = tuple(f"l{place:04d}" for place in range(1_002))
    wide = replace(BINARY, columns=(Column("c", CATEGORICAL, "VARCHAR", levels=levels),))
    assert mllib.choose((), wide) == ("logreg",)
    with pytest.raises(UserError, match=r"^models: the table has 1,001 one-hot columns, .*; use one of logreg\.$"):
        mllib.check_sweep((), wide)


@pytest.mark.parametrize(
    ("asked", "contract", "said"),
    [
        (
            ("linreg",),
            BINARY,
            "models: 'linreg' is not for classification; use one of logreg, dtc, rf, gradient_boosting.",
        ),
        (
            ("logreg",),
            QUANTITY,
            "models: 'logreg' is not for regression; use one of linreg, dtr, rf, gradient_boosting.",
        ),
        (("lgreg",), BINARY, "models: 'lgreg' is not known; .* Did you mean logreg?"),
    ],
)
def test_a_model_that_is_not_offered_is_refused(asked: tuple[str, ...], contract: Contract, said: str) -> None:
    with pytest.raises(UserError, match=f"^{said.replace('?', '[?]')}$"):
        mllib.choose(asked, contract)


def test_a_sweep_is_of_a_tree_for_classes() -> None:
    with pytest.raises(
        UserError, match=r"^sweep: it is of a decision tree for classes, and 'y' is a quantity; set sweep"
    ):
        mllib.check_sweep((), QUANTITY)
    with pytest.raises(UserError, match=r"^models: the sweep is of dtc alone, not of 'rf'; set sweep=false to search"):
        mllib.check_sweep(("rf",), BINARY)


def test_balanced_weights_make_classes_count_alike() -> None:
    weights = mllib.balanced_weights([30, 10])
    assert weights == pytest.approx([40 / 60, 40 / 20])
    assert 30 * weights[0] == pytest.approx(10 * weights[1])
    assert mllib.balanced_weights([5, 0]) == [0.5, 1.0]


def test_a_sweep_as_a_table_has_no_score_of_a_failed_trial() -> None:
    records = [
        TrialRecord(0, {"model": "dtc", "maxBins": 7, "maxDepth": 2}, metrics={"cv_accuracy": 0.75}),
        TrialRecord(1, {"model": "dtc", "maxBins": 5, "maxDepth": 2}, FAILED, metrics={"cv_accuracy": 0.5}),
    ]
    expected = pd.DataFrame({"maxBins": [5, 7], "maxDepth": [2, 2], "score": [np.nan, 0.75]})
    pd.testing.assert_frame_equal(mllib.contour_frame(records, "cv_accuracy"), expected)


def test_scores_of_sums_are_those_of_rows() -> None:
    rng = np.random.default_rng(3)
    truth, guess = rng.normal(size=50), rng.normal(size=50)
    errors = truth - guess
    sums = {
        "rows": 50,
        "squares": float((errors**2).sum()),
        "absolute": float(np.abs(errors).sum()),
        "spread": float(((truth - truth.mean()) ** 2).sum()),
    }
    assert mllib.regression_scores(sums) == pytest.approx(score_all(QUANTITY, truth, guess, None))


@pytest.mark.parametrize("contract", [BINARY, THREE], ids=["two classes", "three"])
def test_a_dummy_of_counts_is_that_of_rows(contract: Contract) -> None:
    counts = np.array([7, 3, 5][: len(contract.classes)]), np.array([2, 4, 1][: len(contract.classes)])
    one, other = (pd.Series(np.repeat(np.array(contract.classes, dtype=object), each)) for each in counts)
    for metric in metrics_for(contract).values():
        expected = dummy_score(contract, metric, one, other)
        assert dummy_of_counts(contract, metric, *counts) == pytest.approx(expected), metric.name


def test_an_area_is_not_defined_without_rows_of_a_class() -> None:
    metric = metrics_for(BINARY)["roc_auc"]
    assert dummy_of_counts(BINARY, metric, np.array([3, 3]), np.array([3, 0])) is None

"""What a best score is worth: intervals as SciPy's, corrections that find no optimism where there is none to find."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lifecycle import honest
from lifecycle.contract import Contract
from lifecycle.honest import Predictions, Scorer, chosen, compared, corrected, places_of, truth_of
from lifecycle.metrics import BINARY, MULTICLASS, REGRESSION, Metric, score_all

TWO = Contract("y", "classification", ("no", "yes"), "yes", "random")
THREE = Contract("y", "classification", ("a", "b", "c"), None, "random")
QUANTITY = Contract("y", "regression", (), None, "random")
EVERY = [
    *((TWO, metric) for metric in BINARY.values()),
    *((THREE, metric) for metric in MULTICLASS.values()),
    *((QUANTITY, metric) for metric in REGRESSION.values()),
]
NAMES = [metric.name for _, metric in EVERY]


def drawn(contract: Contract, rows: int, models: int, seed: int = 0, signal: float = 1.0) -> tuple[Any, list[Any]]:
    """Draw a truth, and models that know something of it; responses are coarse, so that some are equal."""
    chance = np.random.default_rng(seed)
    if not contract.classes:
        truth = chance.normal(5, 2, rows)
        return truth, [Predictions(truth + chance.normal(0, 1 + i, rows)) for i in range(models)]
    classes = len(contract.classes)
    truth = chance.integers(0, classes, rows).astype(np.int16)
    said = []
    for _ in range(models):
        response = np.round(chance.normal(0, 1, (rows, classes)) + signal * np.eye(classes)[truth], 1)
        said.append(Predictions(response.argmax(axis=1).astype(np.int16), response[:, 1] if classes == 2 else response))
    return truth, said


def by_hand(contract: Contract, metric: Metric, truth: Any, said: Predictions, rows: Any) -> float:
    """Score some rows, each as often as it stands there."""
    # An area takes milliseconds.
    response = said.response[rows] if said.response is not None and "roc" in metric.name else None
    if not contract.classes:
        return score_all(contract, truth[rows], said.predicted[rows], None)[metric.name]
    labels = np.array(contract.classes, dtype=object)
    return score_all(contract, labels[truth[rows]], labels[said.predicted[rows]], response)[metric.name]


def scorer(contract: Contract, metric: Metric, truth: Any, said: list[Any], exact: bool = True) -> Scorer:
    return Scorer(contract, metric, truth, said, [np.arange(len(truth))], np.random.default_rng(0), exact)


# ------------------------------------------------------------------------------------------ scores


@pytest.mark.parametrize(("contract", "metric"), EVERY, ids=NAMES)
def test_a_weighted_score_is_that_of_rows_repeated_as_often(contract: Contract, metric: Metric):
    truth, said = drawn(contract, 60, 3)
    chance = np.random.default_rng(1)
    weights = np.array([np.bincount(chance.integers(0, 60, 60), minlength=60) for _ in range(20)], dtype=float)
    expected = [
        [by_hand(contract, metric, truth, one, np.repeat(np.arange(60), counts.astype(int))) for one in said]
        for counts in weights
    ]
    assert scorer(contract, metric, truth, said)(weights) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(("contract", "metric"), EVERY, ids=NAMES)
def test_the_score_of_all_rows_is_the_metrics_own_also_in_bags(
    contract: Contract, metric: Metric, monkeypatch: pytest.MonkeyPatch
):
    truth, said = drawn(contract, 500, 2)
    expected = [by_hand(contract, metric, truth, one, np.arange(500)) for one in said]
    for bags in (20_000, 50):
        monkeypatch.setattr(honest, "MOST_BAGS", bags)
        monkeypatch.setattr(honest, "FEWEST_BAGS", 50)
        one = scorer(contract, metric, truth, said, exact=False)
        assert len(one.everything()[0]) == min(bags, 500)
        assert one(one.everything())[0] == pytest.approx(expected)
        assert one(one.everything(), [1])[0] == pytest.approx(expected[1:])


def test_a_macro_average_leaves_out_what_is_neither_there_nor_guessed():
    truth, said = np.array([0, 0, 1, 1], np.int16), [Predictions(np.array([0, 1, 1, 1], np.int16))]
    found = scorer(THREE, MULTICLASS["f1"], truth, said)(np.ones((1, 4)))
    assert found[0, 0] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_what_is_not_defined_is_no_number():
    truth, said = np.array([0, 0, 1], np.int16), [Predictions(np.zeros(3, np.int16), np.arange(3.0))]
    for exact in (True, False):
        found = scorer(TWO, BINARY["roc_auc"], truth, said, exact)(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]))
        assert np.isnan(found[0, 0])
        assert found[1, 0] == pytest.approx(1.0)
    found = scorer(QUANTITY, REGRESSION["r2"], np.arange(3.0), [Predictions(np.arange(3.0))])(np.eye(3))
    assert np.isnan(found).all()


def test_an_area_without_responses_is_refused():
    with pytest.raises(ValueError, match=r"^an area under the curve needs responses$"):
        scorer(TWO, BINARY["roc_auc"], np.array([0, 1]), [Predictions(np.array([0, 1]))])


def test_labels_are_counted_by_their_place():
    assert places_of(TWO, ["yes", "no", "yes"]).tolist() == [1, 0, 1]
    assert truth_of(TWO, pd.Series(["yes", "no"])).tolist() == [1, 0]
    assert truth_of(QUANTITY, pd.Series([2, 3])).dtype == np.float64
    with pytest.raises(KeyError, match="perhaps"):
        places_of(TWO, ["perhaps"])


# --------------------------------------------------------------------------------------- intervals


# The metrics once more, each in a line of NumPy, for thousands of resamples.
QUICK: dict[str, Any] = {
    "f1": lambda y, one, rows: 2 * np.sum(y * one.predicted[rows]) / np.sum(y + one.predicted[rows]),
    "f1_macro": lambda y, one, rows: np.mean(
        [
            2 * np.sum((y == k) & (one.predicted[rows] == k)) / np.sum((y == k) + 1 * (one.predicted[rows] == k))
            for k in range(3)
        ]
    ),
    "roc_auc": lambda y, one, rows: (
        (stats.rankdata(one.response[rows])[y == 1].mean() - (np.sum(y == 1) + 1) / 2) / np.sum(y == 0)
    ),
    "rmse": lambda y, one, rows: np.sqrt(np.mean((y - one.predicted[rows]) ** 2)),
}


@pytest.mark.parametrize(
    ("contract", "metric"),
    [(TWO, BINARY["f1"]), (TWO, BINARY["roc_auc"]), (THREE, MULTICLASS["f1"]), (QUANTITY, REGRESSION["rmse"])],
    ids=["f1", "roc_auc", "f1_macro", "rmse"],
)
def test_intervals_are_those_of_scipys_paired_bootstrap(contract: Contract, metric: Metric):
    """The two draw other resamples: each end has a standard error of 2 % of the width, of which 8 % are 4."""
    truth, said = drawn(contract, 120, 2, seed=3)

    def difference(*rows: Any) -> float:
        places = np.asarray(rows[0], dtype=int)
        one, other = (QUICK[metric.name](truth[places], model, places) for model in said)
        return float(one - other)

    expected = stats.bootstrap(
        (np.arange(120),), difference, n_resamples=1_500, method="percentile", vectorized=False,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    found = compared(contract, metric, truth, said, seed=2, resamples=4_000)[1].difference
    width = expected.high - expected.low
    assert found.value == pytest.approx(difference(np.arange(120)))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=width / 12)


def test_the_interval_of_a_difference_covers_it_95_times_in_a_hundred():
    """Of 200 tables 190 are expected, and binomial theory leaves 4 standard deviations of 3.1 on either side."""
    covered = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        truth = chance.normal(size=200)
        # The same disturbance in both: the difference is told far better than either.
        shared = chance.normal(size=200)
        said = [Predictions(truth + shared + bias) for bias in (0.0, 0.5)]
        found = compared(QUANTITY, REGRESSION["mae"], truth, said, seed, resamples=1_000)[1].difference
        covered += found.low <= MEAN_LOST <= found.high
    assert abs(covered - 190) <= 4 * np.sqrt(200 * 0.05 * 0.95)


# The mean of |z| less that of |z + 1/2|, for a standard normal z.
MEAN_LOST = float(stats.foldnorm.mean(0) - stats.foldnorm.mean(0.5))


def test_a_paired_interval_is_narrower_than_two_apart():
    truth, said = drawn(QUANTITY, 300, 1)
    other = Predictions(said[0].predicted + 0.01)
    found = compared(QUANTITY, REGRESSION["rmse"], truth, [said[0], other], seed=1)[1]
    assert found.difference.high - found.difference.low < (found.score.high - found.score.low) / 10


def test_a_model_does_not_differ_from_itself():
    truth, said = drawn(TWO, 50, 1)
    own = compared(TWO, BINARY["f1"], truth, said, seed=1)[0]
    assert (own.difference.value, own.difference.low, own.difference.high) == (0.0, 0.0, 0.0)
    assert own.score.low < own.score.value < own.score.high


def test_no_resample_is_without_a_rare_class():
    """Three positives of 300: resampled together, one resample in twenty would have none and its recall be 0."""
    truth = np.array([1] * 3 + [0] * 297, np.int16)
    said = [Predictions(truth), Predictions(1 - truth)]
    own, other = compared(TWO, BINARY["recall"], truth, said, seed=1)
    assert (own.score.low, own.score.high) == (1.0, 1.0)
    assert (other.difference.low, other.difference.high) == (1.0, 1.0)


def test_bags_of_rows_spread_as_the_rows_do(monkeypatch: pytest.MonkeyPatch):
    truth, said = drawn(TWO, 6_000, 2, signal=0.5)
    for metric in (BINARY["f1"], BINARY["roc_auc"]):
        single = compared(TWO, metric, truth, said, seed=1)[1].difference
        monkeypatch.setattr(honest, "MOST_BAGS", 1_000)
        bagged = compared(TWO, metric, truth, said, seed=1)[1].difference
        monkeypatch.undo()
        assert bagged.value == pytest.approx(single.value)
        assert bagged.high - bagged.low == pytest.approx(single.high - single.low, rel=0.1)


def test_the_same_seed_gives_the_same_interval():
    truth, said = drawn(THREE, 80, 2)
    one, again, other = (compared(THREE, MULTICLASS["f1"], truth, said, seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


# ------------------------------------------------------------------------------------------ choice


def test_the_simplest_within_one_error_of_the_best_is_chosen():
    losses, errors = np.array([[0.30, 0.24, 0.20, 0.22]]), np.array([0.9, 0.9, 0.05, 0.9])
    # The best one's error counts, not their own: 0.30 is too far.
    assert chosen(losses, errors, np.array([1, 2, 3, 3])).tolist() == [1]
    assert chosen(losses, errors, np.array([1, 3, 3, 3])).tolist() == [2]
    assert chosen(losses, np.zeros(4), np.array([1, 2, 3, 3])).tolist() == [2]
    assert chosen(np.array([[0.2, 0.2]]), np.zeros(2), np.array([1, 1])).tolist() == [0]
    assert chosen(np.array([[np.nan, 0.5]]), np.ones(2), np.array([1, 2])).tolist() == [1]


def test_the_correction_is_the_published_one():
    """By the paper's own three lines, on the rows that were drawn here."""
    truth, said = drawn(TWO, 40, 5)
    one = scorer(TWO, BINARY["f1"], truth, said, exact=False)
    chance = np.random.default_rng(7)
    # The bags take no chance where each is a row.
    expected = []
    for weights in itertools.chain(*one.drawn(200, chance)):
        rows, outside = np.repeat(np.arange(40), weights.astype(int)), np.flatnonzero(weights == 0)
        inside = [by_hand(TWO, BINARY["f1"], truth, model, rows) for model in said]
        expected.append(by_hand(TWO, BINARY["f1"], truth, said[int(np.argmax(inside))], outside))
    found = corrected(TWO, BINARY["f1"], truth, said, 2, np.zeros(5), np.zeros(5, int), seed=7, resamples=200)
    assert found.corrected.value == pytest.approx(np.mean(expected))
    assert found.corrected.low == pytest.approx(np.quantile(expected, 0.025))
    assert found.pooled == pytest.approx(by_hand(TWO, BINARY["f1"], truth, said[2], np.arange(40)))
    assert (found.resamples, found.trials) == (200, 5)


@pytest.mark.parametrize(
    ("contract", "metric", "true"),
    [(TWO, BINARY["accuracy"], 0.5), (TWO, BINARY["roc_auc"], 0.5), (QUANTITY, REGRESSION["rmse"], np.sqrt(2))],
    ids=["accuracy", "roc_auc", "rmse"],
)
def test_among_equals_the_best_flatters_and_the_corrected_does_not(contract: Contract, metric: Metric, true: float):
    """Fifty models that are equally good: of 40 tables the mean best is far off, the mean corrected near."""
    best, honestly = [], []
    for seed in range(40):
        chance = np.random.default_rng(seed)
        if contract.classes:
            truth = chance.integers(0, 2, 200).astype(np.int16)
            draws = chance.random((50, 200))
            said = [Predictions((one > 0.5).astype(np.int16), one) for one in draws]
        else:
            truth = chance.normal(size=200)
            said = [Predictions(one) for one in chance.normal(size=(50, 200))]
        whole = scorer(contract, metric, truth, said)
        scores = whole(whole.everything())[0]
        winner = int(np.argmin([metric.loss(score) for score in scores]))
        found = corrected(contract, metric, truth, said, winner, np.zeros(50), np.zeros(50, int), seed, resamples=200)
        assert found.pooled == pytest.approx(scores[winner])
        best.append(metric.loss(found.pooled))
        honestly.append(metric.loss(found.corrected.value))
    flattering = metric.loss(true) - np.mean(best)
    assert flattering > 0.05
    assert abs(np.mean(honestly) - metric.loss(true)) < flattering / 4


def test_where_one_is_far_better_there_is_nothing_to_correct():
    truth, said = drawn(QUANTITY, 300, 5)
    found = corrected(QUANTITY, REGRESSION["rmse"], truth, said, 0, np.zeros(5), np.zeros(5, int), seed=1)
    assert found.corrected.value == pytest.approx(found.pooled, rel=0.01)


def test_the_rule_that_chose_is_the_one_that_is_bootstrapped():
    """By the one-standard-error rule the simple model wins in every resample: its own score is the corrected one."""
    truth, said = drawn(QUANTITY, 300, 2)
    found = corrected(QUANTITY, REGRESSION["rmse"], truth, said, 1, np.array([9.0, 0.0]), np.array([2, 1]), seed=1)
    assert found.corrected.value == pytest.approx(found.pooled, rel=0.01)
    assert found.corrected.value > 1.5

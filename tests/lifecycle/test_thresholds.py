"""Thresholds: the best F1 that any cut reaches, and a score that no row had a hand in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from sklearn.tree import DecisionTreeClassifier

from lifecycle.adapters.flavors import ALLOWED_TYPES
from lifecycle.coefficients import coefficients
from lifecycle.contract import Column, Contract
from lifecycle.metrics import over_folds
from lifecycle.models import (
    MODELS,
    estimator_of,
    make_estimator,
    pipeline,
    response_of,
    scores_of,
    space_for,
)
from lifecycle.thresholds import (
    FoldScores,
    best_f1_threshold,
    check_threshold,
    cross_fitted,
    cross_fitted_thresholds,
    cuts,
    f1_of_cuts,
    labels_at,
    pooled_threshold,
)

TWO = Contract("y", "classification", ("no", "yes"), "yes", "random")


def contract(positive: Any = "yes", classes: tuple = ("no", "yes"), split: str = "random") -> Contract:
    """Make the contract of a table with one numeric and one categorical column."""
    columns = (Column("x", "numeric", "float64"), Column("colour", "categorical", "object", levels=("blue", "red")))
    return Contract("y", "classification", classes, positive, split, columns=columns)


# ---------------------------------------------------------------------------------- the best cut


def test_the_best_cut_by_hand():
    """Above 0.25: hits 2 of 3 guessed and of 2 true, 2 * 2 / 5; above 0.55 2 * 1 / 3; all 2 * 2 / 6."""
    labels, scores = ["n", "y", "n", "y"], [0.2, 0.3, 0.5, 0.6]
    thresholds = cuts(np.array(scores))
    assert thresholds.tolist() == pytest.approx([0.2, 0.25, 0.4, 0.55])
    found = f1_of_cuts(np.array(labels) == "y", np.array(scores), thresholds)
    assert found.tolist() == pytest.approx([4 / 6, 4 / 5, 2 / 4, 2 / 3])
    assert best_f1_threshold(labels, scores, "y") == pytest.approx(0.25)


def test_of_equal_cuts_the_nearest_to_the_models_own_then_the_lower():
    """At 0.15 all hits with two misses, 4 / 6; at 0.8 one hit without a miss, 2 / 3."""
    labels, scores = [0, 1, 0, 0, 1], [0.1, 0.2, 0.4, 0.6, 1.0]
    ties = cuts(np.array(scores))[[1, 4]]
    np.testing.assert_allclose(f1_of_cuts(np.array(labels) == 1, np.array(scores), ties), [2 / 3, 2 / 3])
    assert ties.tolist() == pytest.approx([0.15, 0.8])
    assert best_f1_threshold(labels, scores, 1) == pytest.approx(0.8)
    assert best_f1_threshold(labels, scores, 1, default=0.0) == pytest.approx(0.15)
    # 0.25 and 0.75 lie equally far from 0.5.
    assert best_f1_threshold([0, 1, 0, 0, 1], [0.0, 0.5, 0.5, 0.5, 1.0], 1) == 0.25


def test_scores_that_tell_nothing_are_cut_where_all_rows_are_positive():
    """As the constant prediction that is best by F1."""
    assert best_f1_threshold([1, 0, 0, 0], [0.3, 0.3, 0.3, 0.3], 1) == 0.3
    assert best_f1_threshold([1, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.15, 0.12], 1) == pytest.approx(0.1)


def test_where_no_row_is_positive_the_cut_nearest_the_default_stands():
    assert best_f1_threshold(["no", "no", "no"], [0.1, 0.5, 0.7], "yes") == pytest.approx(0.6)


@pytest.mark.parametrize("scores", [[], [0.5, np.nan], [np.inf]])
def test_there_is_no_threshold_among_no_numbers(scores: list):
    with pytest.raises(ValueError, match="at least one, all of them finite"):
        best_f1_threshold([1] * len(scores), scores, 1)


finite = st.floats(allow_nan=False, allow_infinity=False)
coarse = st.integers(-3, 3).map(lambda number: number / 4)
rows = st.lists(st.tuples(st.booleans(), finite | coarse), min_size=1, max_size=30)


@given(rows, st.sampled_from([0.0, 0.5]))
def test_no_other_threshold_has_a_better_f1(rows: list, default: float):
    labels, scores = np.array([label for label, _ in rows]), np.array([score for _, score in rows])

    def f1(threshold: float) -> float:
        return float(f1_score(labels, scores >= threshold, zero_division=0))

    chosen = best_f1_threshold(labels, scores, True, default)
    others = [default, *scores, *(np.sort(scores)[1:] / 2 + np.sort(scores)[:-1] / 2)]
    assert f1(chosen) == pytest.approx(max(f1(other) for other in others), abs=1e-12)


@given(rows)
def test_cuts_tell_every_distinct_score_from_the_one_below(rows: list):
    scores = np.array([score for _, score in rows])
    thresholds = cuts(scores)
    assert [int((scores >= cut).sum()) for cut in thresholds] == [int((scores >= s).sum()) for s in np.unique(scores)]


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_count(rows: list, chance: Any):
    mixed = rows.copy()
    chance.shuffle(mixed)
    one, other = (best_f1_threshold([r[0] for r in some], [r[1] for r in some], True) for some in (rows, mixed))
    assert one == other


# ------------------------------------------------------------------------------ the honest score

FOLDS = [
    FoldScores(np.array(["no", "yes", "yes"], object), np.array([0.1, 0.2, 0.3])),
    FoldScores(np.array(["no", "no", "yes"], object), np.array([0.3, 0.6, 0.9])),
    FoldScores(np.array(["no", "yes", "no"], object), np.array([0.2, 0.7, 0.8])),
]


def test_each_folds_threshold_is_chosen_on_the_others():
    found = cross_fitted_thresholds(FOLDS, TWO, 0.5)
    for index, threshold in enumerate(found):
        others = [fold for place, fold in enumerate(FOLDS) if place != index]
        labels = np.concatenate([fold.labels for fold in others])
        scores = np.concatenate([fold.scores for fold in others])
        assert threshold == best_f1_threshold(labels, scores, "yes")
    # The first fold's own best cut, 0.15, is not what it is judged by: 0.65 takes none of its rows.
    assert found[0] == pytest.approx(0.65)
    assert cross_fitted(FOLDS, TWO, 0.5)[1][0]["f1"] == 0.0


def test_the_honest_score_by_hand():
    """The second fold at 0.15 (all positive): 2 * 1 / (3 + 1); the third at 0.15 as well: 2 * 1 / (3 + 1)."""
    assert cross_fitted_thresholds(FOLDS, TWO, 0.5)[1:] == pytest.approx([0.15, 0.15])
    _, scores = cross_fitted(FOLDS, TWO, 0.5)
    assert [fold["f1"] for fold in scores] == pytest.approx([0, 0.5, 0.5])
    assert [fold["recall"] for fold in scores] == [0, 1, 1]
    assert [fold["roc_auc"] for fold in scores] == [1, 1, 0.5]
    assert over_folds(scores)["cv_f1"] == pytest.approx(1 / 3)


def test_a_time_splits_threshold_is_chosen_on_the_past():
    in_time = Contract("y", "classification", ("no", "yes"), "yes", "time")
    found = cross_fitted_thresholds(FOLDS, in_time, 0.5)
    assert found[0] == 0.5
    assert found[1] == best_f1_threshold(FOLDS[0].labels, FOLDS[0].scores, "yes")
    assert found[2] == cross_fitted_thresholds(FOLDS, TWO, 0.5)[2]


def test_the_final_models_threshold_is_chosen_by_all_folds_together():
    """At 0.15 eight rows, all four hits among them: 2 * 4 / (8 + 4); at 0.65 three rows, two hits: 2 * 2 / (3 + 4)."""
    assert pooled_threshold(FOLDS, TWO, 0.5) == pytest.approx(0.15)
    turned = [FoldScores(fold.labels[::-1], fold.scores[::-1]) for fold in FOLDS[::-1]]
    assert pooled_threshold(turned, TWO, 0.5) == pooled_threshold(FOLDS, TWO, 0.5)
    assert pooled_threshold([], TWO, 0.25) == 0.25


def test_a_fold_alone_takes_the_models_own_threshold():
    assert cross_fitted_thresholds(FOLDS[:1], TWO, 0.25) == [0.25]


@given(st.lists(rows, min_size=2, max_size=4), st.integers(0, 3))
def test_no_row_has_a_hand_in_the_threshold_that_it_is_judged_by(parts: list, which: int):
    booleans = Contract("y", "classification", (False, True), True, "random")
    which %= len(parts)
    folds = [FoldScores(np.array([r[0] for r in part]), np.array([r[1] for r in part])) for part in parts]
    turned = FoldScores(~folds[which].labels, -folds[which].scores)
    before = cross_fitted_thresholds(folds, booleans, 0.5)
    after = cross_fitted_thresholds([*folds[:which], turned, *folds[which + 1 :]], booleans, 0.5)
    assert before[which] == after[which]


def test_noise_gains_nothing_by_its_threshold():
    """Chosen and judged on the same rows a threshold flatters; cross-fitted it does not, over many tables."""
    rng = np.random.default_rng(5)
    flattered, honest = [], []
    for _ in range(60):
        folds = [FoldScores(rng.permutation([True] * 8 + [False] * 12), rng.uniform(size=20)) for _ in range(4)]
        booleans = Contract("y", "classification", (False, True), True, "random")
        own = [best_f1_threshold(fold.labels, fold.scores, True) for fold in folds]
        flattered.append(np.mean([f1_score(f.labels, f.scores >= t) for f, t in zip(folds, own, strict=True)]))
        honest.append(np.mean([fold["f1"] for fold in cross_fitted(folds, booleans, 0.5)[1]]))
    always = 2 * 8 / (20 + 8)
    assert np.mean(flattered) > always + 0.02
    assert np.mean(honest) < always


@pytest.mark.parametrize(
    ("classes", "positive"), [(("no", "yes"), "yes"), (("no", "yes"), "no"), ((0, 1), 0), ((False, True), True)]
)
def test_cut_scores_are_the_targets_own_labels(classes: tuple, positive: Any):
    found = labels_at(np.array([0.2, 0.5, 0.7]), 0.5, contract(positive, classes)).tolist()
    [negative] = set(classes) - {positive}
    assert found == [negative, positive, positive]
    assert {type(label) for label in found} == {type(positive)}


# ------------------------------------------------------------------------------- in the pipeline

RNG = np.random.default_rng(7)
ROWS = pd.DataFrame({"x": RNG.normal(size=80), "colour": RNG.choice(["blue", "red"], 80)})
TRUE = ROWS["x"] + (ROWS["colour"] == "red") + RNG.normal(size=80) > 1
LABELS = {
    "texts": (("no", "yes"), np.where(TRUE, "yes", "no").astype(object)),
    "numbers": ((0, 1), TRUE.to_numpy().astype("int64")),
    "booleans": ((False, True), TRUE.to_numpy()),
}
every_model = pytest.mark.parametrize("name", MODELS["classification"])


def drawn(name: str) -> dict:
    """Give one point of a model's space: the first option and the lowest value of every range."""
    small = {"n_estimators": 20, "max_depth": 3, "C": 1.0, "kernel": "rbf", "max_features": 1}
    ranges = space_for((name,), contract())[name]
    return {"model": name} | {key: value for key, value in small.items() if key in ranges}


@every_model
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("which", [0, 1])
def test_a_pipeline_predicts_what_its_threshold_says(name: str, kind: str, which: int):
    """For either class as the positive one; saved and loaded by the types allowed, it says the same."""
    classes, labels = LABELS[kind]
    one = contract(classes[which], classes)
    plain = pipeline(one, make_estimator("classification", drawn(name), 3)).fit(ROWS, labels)
    scores, default = response_of(one, plain, ROWS)
    threshold = best_f1_threshold(labels, scores, one.positive, default)
    model = pipeline(one, make_estimator("classification", drawn(name), 3), threshold).fit(ROWS, labels)
    expected = labels_at(scores, threshold, one).tolist()
    assert model.predict(ROWS).tolist() == expected
    assert {type(label) for label in model.predict(ROWS).tolist()} == {type(classes[0])}
    assert 0 < expected.count(one.positive) < len(expected)
    saved = skops.io.dumps(model)
    assert set(skops.io.get_untrusted_types(data=saved)) <= set(ALLOWED_TYPES)
    assert skops.io.loads(saved, trusted=list(ALLOWED_TYPES)).predict(ROWS).tolist() == expected
    # Scores, and with them ROC, are the estimator's own.
    np.testing.assert_array_equal(scores_of(model, ROWS, 2), scores_of(plain, ROWS, 2))
    np.testing.assert_array_equal(response_of(one, model, ROWS)[0], scores)


@every_model
@pytest.mark.parametrize("which", [0, 1])
def test_the_default_is_where_the_estimator_itself_cuts(name: str, which: int):
    classes, labels = LABELS["texts"]
    one = contract(classes[which], classes)
    model = pipeline(one, make_estimator("classification", drawn(name), 3)).fit(ROWS, labels)
    scores, default = response_of(one, model, ROWS)
    apart = scores != default
    assert labels_at(scores, default, one)[apart].tolist() == model.predict(ROWS)[apart].tolist()


@every_model
def test_the_estimator_is_seen_through_its_threshold(name: str):
    classes, labels = LABELS["texts"]
    estimator = make_estimator("classification", drawn(name), 3)
    for threshold in (None, 0.25):
        model = pipeline(contract(), estimator, threshold).fit(ROWS, labels)
        assert type(estimator_of(model)) is type(estimator)
        assert estimator_of(model).classes_.tolist() == list(classes)


def test_coefficients_are_the_same_with_a_threshold():
    _, labels = LABELS["texts"]
    estimator = make_estimator("classification", {"model": "logreg"}, 3)
    frames = []
    for threshold in (None, 0.2):
        model = pipeline(contract(), estimator, threshold).fit(ROWS, labels)
        frames.append(coefficients(model, contract(), model[:-1].transform(ROWS)))
    pd.testing.assert_frame_equal(*frames)


def test_a_tree_that_knows_one_score_alone_is_cut_there():
    labels = LABELS["numbers"][1]
    numbers = contract(1, (0, 1))
    stump = DecisionTreeClassifier(max_depth=1, min_samples_leaf=80)
    share = labels.mean()
    model = pipeline(numbers, stump, best_f1_threshold(labels, np.full(80, share), 1)).fit(ROWS, labels)
    assert set(model.predict(ROWS)) == {1}


# -------------------------------------------------------------------------------------- refusals


def test_a_threshold_is_for_two_classes(refused: Callable):
    check_threshold("best_f1", TWO)
    check_threshold("", Contract("y", "regression", (), None, "random"))
    with refused("threshold: 'best_f1' needs a target of two classes, but 'y' is a quantity; leave it out."):
        check_threshold("best_f1", Contract("y", "regression", (), None, "random"))
    with refused("threshold: 'best_f1' needs a target of two classes, but 'y' has 3 classes; leave it out."):
        check_threshold("best_f1", Contract("y", "classification", (1, 2, 3), None, "random"))

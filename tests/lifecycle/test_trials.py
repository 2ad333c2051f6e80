"""Trial records: the figures of cross-validation, what a failure leaves behind, and what the seconds count."""

import pickle
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, mean_absolute_error, r2_score, roc_auc_score, root_mean_squared_error
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from lifecycle import trials
from lifecycle.contract import Column, Contract
from lifecycle.metrics import BINARY, MULTICLASS, REGRESSION
from lifecycle.models import MODELS, Model
from lifecycle.pruning import Bar
from lifecycle.table import PreparedTable
from lifecycle.table import TestRows as HandedOut  # pytest would collect a name that starts with Test
from lifecycle.thresholds import best_f1_threshold
from lifecycle.trials import (
    FAILED,
    FINISHED,
    INFEASIBLE,
    PRUNED,
    Folds,
    Limits,
    Objective,
    Task,
    megabytes,
    score_model,
    without_twins,
)

NAN = np.nan
SEED = 5
LOGREG = Task({"model": "logreg", "C": 0.3})


def table(target: str, rows: int = 48, seed: int = 0) -> PreparedTable:
    """Make a table of a number and a text with gaps, and three folds."""
    rng = np.random.default_rng(seed)
    x, colour = rng.normal(10, 4, rows), rng.choice(["red", "green", "blue"], rows).astype(object)
    value = x / 4 + (colour == "red") + rng.normal(0, 0.5, rows)
    x[::5], colour[::7] = NAN, NAN
    labels: Any = {
        "texts": np.where(value > np.median(value), "Yes", "No").astype(object),
        "three": 1 + (value > 2).astype(int) + (value > 3),
        "quantity": value,
    }[target]
    task = "regression" if target == "quantity" else "classification"
    classes = () if target == "quantity" else tuple(sorted(set(labels.tolist())))
    positive = "Yes" if target == "texts" else None
    columns = (Column("x", "numeric", "float64"), Column("colour", "categorical", "object"))
    contract = Contract("y", task, classes, positive, "random", columns=columns)
    frame = pd.DataFrame({"x": x, "colour": colour})
    return PreparedTable(contract, frame, pd.Series(labels, name="y"), np.arange(rows) % 3)


TEXTS, THREE, QUANTITY = table("texts"), table("three"), table("quantity")


def by_hand(estimator: BaseEstimator) -> Pipeline:
    """Write the whole model with scikit-learn alone."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing"), OneHotEncoder(drop="first", handle_unknown="ignore")
    )
    return make_pipeline(make_column_transformer((numbers, ["x"]), (texts, ["colour"])), estimator)


def folds_by_hand(one: PreparedTable, estimator: BaseEstimator) -> list[tuple[Pipeline, pd.DataFrame, Any]]:
    """Fit the whole model on every fold's rows, and give it with the fold's held rows and labels."""
    fitted = []
    for fold in range(3):
        held = one.folds == fold
        model = by_hand(clone(estimator)).fit(one.rows[~held], one.labels[~held].to_numpy())
        fitted.append((model, one.rows[held], one.labels[held].to_numpy()))
    return fitted


# ------------------------------------------------------------------------------ cross-validation


@pytest.mark.parametrize(
    ("values", "estimator"),
    [
        ({"model": "logreg", "C": 0.3, "solver": "lbfgs"}, LogisticRegression(C=0.3, random_state=SEED)),
        ({"model": "svm", "C": 2.0, "kernel": "rbf"}, SVC(C=2.0, random_state=SEED)),
        (
            {"model": "dtc", "max_depth": 3, "max_features": 1},
            DecisionTreeClassifier(max_depth=3, max_features=1, random_state=SEED),
        ),
    ],
)
def test_two_classes_are_cross_validated_as_by_hand(values: dict, estimator: BaseEstimator):
    record = Objective(TEXTS, BINARY["f1"], SEED)(4, Task(values))
    scores = []
    for model, rows, truth in folds_by_hand(TEXTS, estimator):
        ranks = model.predict_proba(rows)[:, 1] if hasattr(model, "predict_proba") else model.decision_function(rows)
        predicted = model.predict(rows)
        scores.append(
            [
                f1_score(truth, predicted, pos_label="Yes"),
                roc_auc_score(truth == "Yes", ranks),
                np.mean(truth == predicted),
            ]
        )
    means, deviations = np.mean(scores, axis=0), np.std(scores, axis=0)
    assert record.status == FINISHED
    assert record.number == 4
    assert record.values == values
    assert record.folds_done == 3
    assert [record.metrics[f"cv_{name}"] for name in ("f1", "roc_auc", "accuracy")] == pytest.approx(means.tolist())
    assert [record.metrics[f"cv_{name}_std"] for name in ("f1", "roc_auc", "accuracy")] == pytest.approx(
        deviations.tolist()
    )
    assert record.score == record.metrics["cv_f1"]
    assert (record.error, record.warnings, record.model) == ("", 0, None)


@pytest.mark.parametrize("values", [{"model": "logreg", "C": 0.3}, {"model": "svm", "C": 2.0, "kernel": "rbf"}])
def test_a_threshold_is_chosen_on_the_other_folds_and_kept_in_the_model(values: dict):
    """As by hand: each fold at the threshold that the others' predictions choose; the model's by all of them."""
    record = Objective(TEXTS, BINARY["f1"], SEED, keep_models=True, choose_threshold=True)(0, Task(values))
    estimator = LogisticRegression(C=0.3, random_state=SEED)
    if values["model"] == "svm":
        estimator = SVC(C=2.0, random_state=SEED)
    said = []
    for model, rows, truth in folds_by_hand(TEXTS, estimator):
        scores = model.predict_proba(rows)[:, 1] if hasattr(model, "predict_proba") else model.decision_function(rows)
        said.append((truth, scores))
    default = 0.5 if values["model"] == "logreg" else 0.0
    found = []
    for fold, (truth, scores) in enumerate(said):
        others = [np.concatenate(parts) for parts in zip(*(s for f, s in enumerate(said) if f != fold), strict=True)]
        cut = best_f1_threshold(others[0], others[1], "Yes", default)
        found.append(f1_score(truth, np.where(scores >= cut, "Yes", "No"), pos_label="Yes"))
    assert record.score == pytest.approx(np.mean(found))
    every = [np.concatenate(parts) for parts in zip(*said, strict=True)]
    assert record.threshold == pytest.approx(best_f1_threshold(every[0], every[1], "Yes", default))
    assert record.model is not None
    assert record.model.named_steps["model"].threshold == record.threshold


def test_a_threshold_is_never_chosen_on_test_rows():
    """Given test rows of which all are positive, the threshold is what the training folds say."""
    test = HandedOut(TEXTS.rows, pd.Series(["Yes"] * len(TEXTS.rows)), np.zeros(len(TEXTS.rows), dtype=bool))
    chosen = [
        Objective(TEXTS, BINARY["f1"], SEED, held, choose_threshold=True)(0, LOGREG).threshold for held in (None, test)
    ]
    assert chosen[0] is not None
    assert chosen[0] == chosen[1]


def test_test_rows_with_twins_are_scored_without_them_too():
    model = Objective(TEXTS, BINARY["f1"], SEED).refit({"model": "logreg", "C": 0.3})
    twins = np.arange(len(TEXTS.labels)) % 3 == 0
    found = without_twins(TEXTS.contract, model, HandedOut(TEXTS.rows, TEXTS.labels, twins))
    alone = score_model(TEXTS.contract, model, TEXTS.rows[~twins], TEXTS.labels[~twins])
    assert found == {f"{name}_without_twins": score for name, score in alone.items()}
    only_no = np.asarray(TEXTS.labels != "No")
    assert without_twins(TEXTS.contract, model, HandedOut(TEXTS.rows, TEXTS.labels, only_no)) == {}


def test_three_classes_are_cross_validated_as_by_hand():
    record = Objective(THREE, MULTICLASS["f1"], SEED)(0, Task({"model": "logreg", "C": 2.0}))
    f1, areas = [], []
    for model, rows, truth in folds_by_hand(THREE, LogisticRegression(C=2.0, random_state=SEED)):
        f1.append(f1_score(truth, model.predict(rows), average="macro", zero_division=0))
        areas.append(roc_auc_score(truth, model.predict_proba(rows), multi_class="ovr"))
    assert record.score == pytest.approx(np.mean(f1))
    assert record.metrics["cv_roc_auc_ovr"] == pytest.approx(np.mean(areas))


@pytest.mark.parametrize(
    ("values", "estimator"),
    [
        ({"model": "ridge", "alpha": 3.0}, Ridge(alpha=3.0, random_state=SEED)),
        (
            {"model": "gradient_boosting", "n_estimators": 20, "max_depth": 2},
            GradientBoostingRegressor(n_estimators=20, max_depth=2, random_state=SEED),
        ),
    ],
)
def test_a_quantity_is_cross_validated_as_by_hand(values: dict, estimator: BaseEstimator):
    record = Objective(QUANTITY, REGRESSION["rmse"], SEED)(0, Task(values))
    scores = []
    for model, rows, truth in folds_by_hand(QUANTITY, estimator):
        guess = model.predict(rows)
        scores.append([f(truth, guess) for f in (root_mean_squared_error, mean_absolute_error, r2_score)])
    found = [record.metrics[f"cv_{name}"] for name in ("rmse", "mae", "r2")]
    assert found == pytest.approx(np.mean(scores, axis=0).tolist())
    assert record.score == record.metrics["cv_rmse"]


def test_the_positive_class_may_be_the_first():
    """The area under its own curve is the same, its F1 another."""
    contract = Contract("y", "classification", ("No", "Yes"), "No", "random", columns=TEXTS.contract.columns)
    turned = PreparedTable(contract, TEXTS.rows, TEXTS.labels, TEXTS.folds)
    values = {"model": "logreg", "C": 0.3}
    one, other = (Objective(t, BINARY["f1"], SEED)(0, Task(values)).metrics for t in (TEXTS, turned))
    assert other["cv_roc_auc"] == pytest.approx(one["cv_roc_auc"])
    f1 = [
        f1_score(truth, model.predict(rows), pos_label="No")
        for model, rows, truth in folds_by_hand(TEXTS, LogisticRegression(C=0.3, random_state=SEED))
    ]
    assert other["cv_f1"] == pytest.approx(np.mean(f1))


def test_blocks_in_time_are_validated_on_all_before_them():
    contract = Contract("y", "regression", (), None, "time", columns=QUANTITY.contract.columns)
    blocks = PreparedTable(contract, QUANTITY.rows, QUANTITY.labels, np.arange(48) // 16)
    record = Objective(blocks, REGRESSION["rmse"], SEED)(0, Task({"model": "ridge"}))
    errors = []
    for border in (16, 32):
        model = by_hand(Ridge(random_state=SEED)).fit(QUANTITY.rows[:border], QUANTITY.labels[:border])
        held = slice(border, border + 16)
        errors.append(root_mean_squared_error(QUANTITY.labels[held], model.predict(QUANTITY.rows[held])))
    assert record.folds_done == 2
    assert record.score == pytest.approx(np.mean(errors))


def test_a_table_too_large_to_be_kept_gives_the_same(monkeypatch: pytest.MonkeyPatch):
    values = {"model": "logreg", "C": 0.3}
    kept = Objective(TEXTS, BINARY["f1"], SEED)(0, Task(values))
    monkeypatch.setattr(trials, "MOST_CACHED_CELLS", 10)
    assert Objective(TEXTS, BINARY["f1"], SEED)(0, Task(values)).metrics == kept.metrics


def test_the_objective_travels_to_a_worker():
    """Before its first trial and after one; what it says there is what it says here."""
    objective = Objective(TEXTS, BINARY["f1"], SEED)
    values = {"model": "dtc", "max_depth": 4, "max_features": 1}
    away = pickle.loads(pickle.dumps(objective))
    here = objective(0, Task(values))
    assert away(0, Task(values)).metrics == here.metrics
    assert pickle.loads(pickle.dumps(objective))(0, Task(values)).metrics == here.metrics
    assert pickle.loads(pickle.dumps(here)) == here


def test_trials_do_not_change_one_another():
    objective = Objective(TEXTS, BINARY["f1"], SEED)
    values = {"model": "dtc", "max_depth": 4, "max_features": 1}
    first = objective(0, Task(values))
    objective(1, Task({"model": "svm", "C": 1.0, "kernel": "rbf"}))
    objective(2, Task({"model": "logreg", "C": -1.0}))
    assert objective(3, Task(values)).metrics == first.metrics


def test_a_record_has_every_parameter_of_the_estimator():
    record = Objective(TEXTS, BINARY["f1"], SEED)(0, LOGREG)
    assert record.params == LogisticRegression(C=0.3, random_state=SEED).get_params()


# ------------------------------------------------------------------- what a record bears of its cost


@pytest.mark.parametrize("values", [{"model": "logreg", "C": 0.3}, {"model": "svm", "C": 2.0, "kernel": "rbf"}])
def test_out_of_fold_predictions_are_those_of_the_folds_models(values: dict):
    record = Objective(TEXTS, BINARY["f1"], SEED)(0, Task(values))
    estimator = LogisticRegression(C=0.3, random_state=SEED)
    if values["model"] == "svm":
        estimator = SVC(C=2.0, random_state=SEED)
    said, responses = [], []
    for model, rows, _ in folds_by_hand(TEXTS, estimator):
        said += model.predict(rows).tolist()
        probable = hasattr(model, "predict_proba")
        responses += (model.predict_proba(rows)[:, 1] if probable else model.decision_function(rows)).tolist()
    assert record.out_of_fold is not None and record.out_of_fold.response is not None
    assert [TEXTS.contract.classes[place] for place in record.out_of_fold.predicted] == said
    assert record.out_of_fold.response.tolist() == pytest.approx(responses)


def test_out_of_fold_predictions_of_more_classes_and_of_a_quantity():
    three = Objective(THREE, MULTICLASS["f1"], SEED)(0, Task({"model": "logreg", "C": 2.0})).out_of_fold
    assert three is not None and three.response is not None
    probabilities = [m.predict_proba(rows) for m, rows, _ in folds_by_hand(THREE, LogisticRegression(C=2.0))]
    assert three.response == pytest.approx(np.concatenate(probabilities))
    assert three.predicted.tolist() == np.concatenate(probabilities).argmax(axis=1).tolist()
    quantity = Objective(QUANTITY, REGRESSION["rmse"], SEED)(0, Task({"model": "ridge", "alpha": 3.0})).out_of_fold
    assert quantity is not None and quantity.response is None
    assert quantity.predicted == pytest.approx(
        np.concatenate([m.predict(rows) for m, rows, _ in folds_by_hand(QUANTITY, Ridge(alpha=3.0))])
    )


def test_out_of_fold_labels_are_cut_where_the_scores_are():
    """With a chosen threshold each fold's labels are those that its score is of."""
    record = Objective(TEXTS, BINARY["f1"], SEED, choose_threshold=True)(0, LOGREG)
    assert record.out_of_fold is not None
    held = [TEXTS.labels[TEXTS.folds == fold].to_numpy() for fold in range(3)]
    cut = np.cumsum([len(one) for one in held])[:-1]
    said = np.split(np.array(TEXTS.contract.classes, object)[record.out_of_fold.predicted], cut)
    scores = [f1_score(truth, one, pos_label="Yes") for truth, one in zip(held, said, strict=True)]
    assert record.score == pytest.approx(np.mean(scores))


def test_a_trial_that_cannot_win_ends_early_also_where_a_fold_lacks_a_metric():
    """The second fold holds one class, and has no area under the curve; the bar lets the first fold pass."""
    one_class = TEXTS.labels.mask(TEXTS.folds == 1, "No")
    objective = Objective(PreparedTable(TEXTS.contract, TEXTS.rows, one_class, TEXTS.folds), BINARY["accuracy"], SEED)
    whole = objective(0, LOGREG)
    first, second, _ = whole.fold_scores
    record = objective(0, Task(LOGREG.values, Bar((-first, -second - 1, -1.0), gain=0.1, error=0.0)))
    assert (record.status, record.folds_done, record.error) == (PRUNED, 2, "")
    assert record.metrics["cv_partial_accuracy"] == pytest.approx((first + second) / 2)
    assert "cv_partial_roc_auc" not in record.metrics
    # Its loss is the best one's mean and what it is behind, fold for fold.
    assert -record.score == pytest.approx(-(first + second + 1 + 1) / 3 + 0.5)


def test_a_failed_trial_and_one_on_test_rows_keep_no_predictions():
    test = HandedOut(TEXTS.rows, TEXTS.labels, np.zeros(len(TEXTS.rows), dtype=bool))
    on_test = Objective(TEXTS, BINARY["f1"], SEED, test, choose_threshold=True)(0, Task({"model": "logreg"}))
    assert on_test.status == FINISHED
    assert on_test.out_of_fold is None
    assert on_test.size_mb > 0 and on_test.latency_ms > 0
    failed = Objective(TEXTS, BINARY["f1"], SEED)(0, Task({"model": "logreg", "C": -1.0}))
    assert (failed.status, failed.out_of_fold) == (FAILED, None)


def test_a_models_size_is_that_of_its_pickle():
    """But for a hundredth: a pickle has equal texts and dtypes as often as there are objects of them."""
    many = np.tile(np.arange(len(TEXTS.rows)), 5000 // len(TEXTS.rows))
    model = by_hand(KNeighborsClassifier()).fit(TEXTS.rows.iloc[many], TEXTS.labels.iloc[many])
    assert megabytes(model) == pytest.approx(len(pickle.dumps(model, protocol=5)) / 1e6, rel=0.01)


@pytest.mark.parametrize("name", MODELS["classification"])
def test_a_model_that_came_from_elsewhere_has_the_size_it_had(name: str):
    """A pickle is longer the more of its equal texts and dtypes are objects of their own, as after a journey."""
    model = Objective(TEXTS, BINARY["f1"], SEED).refit({"model": name})
    again = pickle.loads(pickle.dumps(model, protocol=5))
    assert len(pickle.dumps(again, protocol=5)) > len(pickle.dumps(model, protocol=5))
    assert megabytes(again) == megabytes(model)


def test_twice_the_trees_are_twice_the_size_and_every_time_the_same():
    sizes = [
        Objective(QUANTITY, REGRESSION["rmse"], SEED)(0, Task({"model": "rf", "n_estimators": trees})).size_mb
        for trees in (50, 50, 100)
    ]
    assert sizes[0] == sizes[1]
    assert sizes[2] == pytest.approx(2 * sizes[0], rel=0.2)


def test_a_point_over_a_limit_is_scored_but_infeasible():
    values = {"model": "rf", "n_estimators": 50}
    free = Objective(QUANTITY, REGRESSION["rmse"], SEED)(0, Task(values))
    size = free.size_mb
    limits = Limits(max_size_mb=size / 2)
    over = Objective(QUANTITY, REGRESSION["rmse"], SEED, keep_models=True, limits=limits)(0, Task(values))
    assert over.status == INFEASIBLE
    assert over.metrics == free.metrics
    assert over.model is None
    assert over.error == f"max_size_mb: {size:.4g} is over {size / 2:g}"
    assert limits.broken(over) == {"max_size_mb": (size, size / 2)}
    within = Objective(QUANTITY, REGRESSION["rmse"], SEED, limits=Limits(1e9, size))(0, Task(values))
    assert (within.status, within.error) == (FINISHED, "")


def test_a_slow_point_is_infeasible_by_the_time_that_raw_rows_take(monkeypatch: pytest.MonkeyPatch):
    """Ten milliseconds a call of 16 rows are over 600 for 1,000, whatever else the machine does."""
    own = Ridge.predict

    def slow(self: Ridge, rows: Any) -> Any:
        time.sleep(0.01)
        return own(self, rows)

    monkeypatch.setattr(Ridge, "predict", slow)
    record = Objective(QUANTITY, REGRESSION["rmse"], SEED, limits=Limits(max_latency_ms=600))(
        0, Task({"model": "ridge"})
    )
    assert record.status == INFEASIBLE
    assert record.latency_ms > 625


# --------------------------------------------------------------------------------------- on test


def test_select_on_test_fits_once_and_scores_both_sides_as_by_hand():
    test = table("texts", 30, seed=1)
    objective = Objective(
        TEXTS, BINARY["f1"], SEED, HandedOut(test.rows, test.labels, np.ones(len(test.labels), dtype=bool))
    )
    record = objective(0, LOGREG)
    model = by_hand(LogisticRegression(C=0.3, random_state=SEED)).fit(TEXTS.rows, TEXTS.labels)
    expected = {}
    for side, one in (("train", TEXTS), ("test", test)):
        predicted = model.predict(one.rows)
        expected[f"{side}_f1"] = f1_score(one.labels, predicted, pos_label="Yes")
        expected[f"{side}_accuracy"] = np.mean(one.labels == predicted)
        expected[f"{side}_roc_auc"] = roc_auc_score(one.labels == "Yes", model.predict_proba(one.rows)[:, 1])
    assert {name: record.metrics[name] for name in expected} == pytest.approx(expected)
    assert not any(name.startswith("cv_") for name in record.metrics)
    assert record.score == record.metrics["test_f1"]
    assert record.fit_seconds > 0


def test_models_are_kept_where_they_are_asked_for():
    """Fitted on all training rows."""
    test = HandedOut(TEXTS.rows, TEXTS.labels, np.ones(len(TEXTS.labels), dtype=bool))
    expected = by_hand(LogisticRegression(C=0.3, random_state=SEED)).fit(TEXTS.rows, TEXTS.labels)
    for on_test in (None, test):
        record = Objective(TEXTS, BINARY["f1"], SEED, on_test, keep_models=True)(0, LOGREG)
        assert record.model is not None
        np.testing.assert_allclose(record.model.predict_proba(TEXTS.rows), expected.predict_proba(TEXTS.rows))
        assert Objective(TEXTS, BINARY["f1"], SEED, on_test)(0, Task({"model": "logreg"})).model is None


def test_the_refitted_winner_is_the_whole_model_on_all_training_rows():
    model = Objective(QUANTITY, REGRESSION["rmse"], SEED).refit({"model": "ridge", "alpha": 2.0})
    expected = by_hand(Ridge(alpha=2.0, random_state=SEED)).fit(QUANTITY.rows, QUANTITY.labels)
    np.testing.assert_allclose(model.predict(QUANTITY.rows), expected.predict(QUANTITY.rows))
    scores = score_model(QUANTITY.contract, model, QUANTITY.rows, QUANTITY.labels)
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(QUANTITY.labels, expected.predict(QUANTITY.rows)))


# -------------------------------------------------------------------------------------- failures


class Counted(ClassifierMixin, BaseEstimator):
    """Always says Yes; sleeps in fit and in predict, and does what it is told at its n-th fit."""

    fits = 0

    def __init__(self, fit_sleep: float = 0.0, predict_sleep: float = 0.0, at: int = -1, fault: Any = None) -> None:
        self.fit_sleep = fit_sleep
        self.predict_sleep = predict_sleep
        self.at = at
        self.fault = fault

    def fit(self, rows: Any, labels: Any) -> "Counted":
        Counted.fits += 1
        if Counted.fits == self.at:
            raise self.fault
        time.sleep(self.fit_sleep)
        self.classes_ = np.unique(labels)
        return self

    def predict(self, rows: Any) -> Any:
        time.sleep(self.predict_sleep)
        return np.full(rows.shape[0], "Yes", dtype=object)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """Offer the estimator above, and give the values of a point of it."""
    monkeypatch.setattr(Counted, "fits", 0)
    model = Model("counted", lambda seed, **values: Counted(**values), lambda contract: {}, 9)
    monkeypatch.setitem(MODELS["classification"], "counted", model)
    return lambda **values: {"model": "counted", **values}


def test_each_fold_is_fitted_once(counted: Callable):
    Objective(TEXTS, BINARY["f1"], SEED)(0, Task(counted()))
    assert Counted.fits == 3


def test_select_on_test_fits_once(counted: Callable):
    record = Objective(
        TEXTS,
        BINARY["f1"],
        SEED,
        HandedOut(TEXTS.rows, TEXTS.labels, np.ones(len(TEXTS.labels), dtype=bool)),
        keep_models=True,
    )(0, Task(counted()))
    assert Counted.fits == 1
    assert record.status == FINISHED
    assert record.metrics["train_recall"] == record.metrics["test_recall"] == 1.0


def test_a_model_is_kept_without_another_fit_than_its_own(counted: Callable):
    """Of a threshold chosen on three folds the whole model is fitted once, and of a point over a limit not at all."""
    test = HandedOut(TEXTS.rows, TEXTS.labels, np.ones(len(TEXTS.labels), dtype=bool))
    Objective(TEXTS, BINARY["f1"], SEED, test, keep_models=True, choose_threshold=True)(0, Task(counted()))
    assert Counted.fits == 3 + 1
    record = Objective(TEXTS, BINARY["f1"], SEED, keep_models=True, limits=Limits(0.0, 1e-9))(0, Task(counted()))
    assert (record.status, record.model) == (INFEASIBLE, None)
    assert Counted.fits == 3 + 1 + 3
    assert Objective(TEXTS, BINARY["f1"], SEED, keep_models=True)(0, Task(counted())).model is not None
    assert Counted.fits == 3 + 1 + 3 + 3 + 1


def test_seconds_of_fit_are_those_of_all_folds_and_of_fit_alone(counted: Callable):
    objective = Objective(TEXTS, BINARY["f1"], SEED)
    began = time.time()
    record = objective(0, Task(counted(fit_sleep=0.03, predict_sleep=0.1)))
    assert 0.09 <= record.fit_seconds < 0.3
    assert record.score_seconds >= 0.3
    assert began <= record.started
    assert record.ended <= time.time()
    assert 0 <= record.ended - record.started - record.fit_seconds - record.score_seconds < 0.2


def test_seconds_of_fit_are_more_than_nought():
    record = Objective(QUANTITY, REGRESSION["rmse"], SEED)(0, Task({"model": "ridge", "alpha": 1.0}))
    assert record.fit_seconds > 0
    assert record.score_seconds > 0
    assert all(fold.fit_seconds > 0 for fold in Folds(QUANTITY).evaluate(Ridge))


def test_what_an_estimator_raises_is_a_failed_record_with_the_reason(counted: Callable):
    """The folds that were done are counted; nothing is left to be chosen by."""
    values = counted(at=3, fault=ValueError("no such luck"))
    record = Objective(TEXTS, BINARY["f1"], SEED, keep_models=True)(7, Task(values))
    assert (record.number, record.values, record.status) == (7, values, FAILED)
    assert record.error == "ValueError: no such luck"
    assert np.isnan(record.score)
    assert record.folds_done == 2
    assert record.model is None
    assert record.metrics == {}
    assert record.ended >= record.started > 0


def test_what_an_estimator_raises_on_test_is_a_failed_record_too(counted: Callable):
    objective = Objective(
        TEXTS, BINARY["f1"], SEED, HandedOut(TEXTS.rows, TEXTS.labels, np.ones(len(TEXTS.labels), dtype=bool))
    )
    record = objective(0, Task(counted(at=1, fault=MemoryError("too much"))))
    assert (record.status, record.error) == (FAILED, "MemoryError: too much")


def test_a_value_that_the_estimator_refuses_is_a_failed_record():
    record = Objective(TEXTS, BINARY["f1"], SEED)(0, Task({"model": "logreg", "C": -1.0}))
    assert record.status == FAILED
    assert record.error.startswith("InvalidParameterError: The 'C' parameter of LogisticRegression must be")
    unknown = Objective(TEXTS, BINARY["f1"], SEED)(0, Task({"model": "logreg", "depth": 3}))
    assert unknown.error == "TypeError: LogisticRegression.__init__() got an unexpected keyword argument 'depth'"


def test_an_interrupt_is_no_failed_trial(counted: Callable):
    with pytest.raises(KeyboardInterrupt, match="stop"):
        Objective(TEXTS, BINARY["f1"], SEED)(0, Task(counted(at=1, fault=KeyboardInterrupt("stop"))))


def test_a_score_that_is_no_number_is_a_failed_record():
    """A fold of one class has no ROC, so there is no mean of all folds."""
    order = np.argsort(TEXTS.labels.to_numpy(), kind="stable")
    rows, labels = TEXTS.rows.iloc[order].reset_index(drop=True), TEXTS.labels.iloc[order].reset_index(drop=True)
    # The first 12 rows are a fold of their own, and all of them No.
    lopsided = PreparedTable(TEXTS.contract, rows, labels, np.r_[[0] * 12, np.arange(36) % 2 + 1])
    record = Objective(lopsided, BINARY["roc_auc"], SEED)(0, Task({"model": "logreg", "C": 1.0}))
    assert record.status == FAILED
    assert record.error == "ArithmeticError: roc_auc came out as nan"
    assert np.isnan(record.score)
    assert Objective(lopsided, BINARY["f1"], SEED)(0, Task({"model": "logreg", "C": 1.0})).status == FINISHED


def test_a_model_without_scores_has_no_roc(counted: Callable):
    record = Objective(TEXTS, BINARY["f1"], SEED)(0, Task(counted()))
    assert record.status == FINISHED
    assert "cv_roc_auc" not in record.metrics
    assert record.score == pytest.approx(np.mean([2 * p / (1 + p) for p in share_of_yes()]))


def share_of_yes() -> list[float]:
    """Give each fold's share of Yes."""
    return [float(np.mean(TEXTS.labels[TEXTS.folds == fold] == "Yes")) for fold in range(3)]


def test_a_fit_that_did_not_converge_is_counted_and_kept():
    values = {"model": "logreg", "C": 1e4, "max_iter": 1}
    record = Objective(TEXTS, BINARY["f1"], SEED)(0, Task(values))
    assert record.status == FINISHED
    assert record.warnings == 3
    assert np.isfinite(record.score)


@pytest.mark.parametrize("name", list(MODELS["regression"]))
def test_every_regressor_makes_a_finished_record(name: str):
    values = {"model": name} | ({"n_estimators": 5} if name in ("rf", "extra_trees", "gradient_boosting") else {})
    record = Objective(QUANTITY, REGRESSION["rmse"], SEED)(0, Task(values))
    assert record.status == FINISHED
    # Better than the deviation around the mean.
    assert record.score < QUANTITY.labels.std()

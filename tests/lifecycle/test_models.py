"""One suite over every estimator on offer, and the preprocessing that they share."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from frames import prepare
from hyperopt import Trials, rand
from hyperopt.base import Domain
from scipy import sparse
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from lifecycle.adapters.flavors import ALLOWED_TYPES
from lifecycle.coefficients import design_names
from lifecycle.contract import Column, Contract
from lifecycle.metrics import resolve_metric
from lifecycle.models import (
    BOOSTING,
    COLUMNS,
    COLUMNS_SOURCE,
    MODEL_NAMES,
    MODELS,
    choose_models,
    design_columns,
    first_points,
    left_out_models,
    make_estimator,
    one_hot_columns,
    pipeline,
    plain_estimator,
    preprocessor,
    scores_of,
    space_for,
    toward,
)
from lifecycle.settings import TableSettings, parse_ordinal
from lifecycle.spaces import Choice, Steps, Values, compile_space, point_for, values_of
from lifecycle.table import PreparedTable, read_prepared
from lifecycle.trials import FINISHED, Objective, Task, score_model

NAN = np.nan
SEED = 11

# A level that training never saw stands for none; scikit-learn says so each time.
unseen = pytest.mark.filterwarnings("ignore:Found unknown categories:UserWarning")
# A point drawn from a space need not be one that converges.
unconverged = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def mixed(target: str, rows: int = 60) -> PreparedTable:
    """Make a table with every role and missing cells, whose target depends on its columns."""
    rng = np.random.default_rng(3)
    age = rng.normal(40, 12, rows)
    size = rng.choice(["S", "M", "L"], rows)
    colour = rng.choice(["red", "green", "blue", None], rows)
    value = age / 12 + (size == "L") * 2 + (colour == "red") + rng.normal(0, 0.3, rows)
    raw = pd.DataFrame({"age": age, "rooms": rng.integers(1, 6, rows), "size": size, "colour": colour})
    raw["member"] = rng.choice([True, False], rows)
    raw.loc[::7, "age"] = NAN
    raw.loc[::9, "size"] = None
    low, high = np.quantile(value, [0.35, 0.7])
    raw["y"] = {
        "texts": np.where(value > high, "Yes", "No"),
        "booleans": value > high,
        "three": 1 + (value > low).astype(int) + (value > high),
        "quantity": value * 1000,
    }[target]
    settings = TableSettings(data="m.csv", target="y", ordinal=parse_ordinal("size:S<M<L"), folds=3)
    train, _, contract = prepare(raw, settings)
    return read_prepared(train, contract)


TABLES = {target: mixed(target) for target in ("texts", "booleans", "three", "quantity")}
# New rows as they come to a served model: whole numbers, levels never seen, nothing at all.
NEW = pd.DataFrame(
    {
        "member": ["True", "False", None, "perhaps"],
        "colour": ["red", "violet", None, 7],
        "size": ["L", "XXL", None, "S"],
        "rooms": [3, 2, None, 99],
        "age": [41, None, None, "18"],
        "further": [0, 0, 0, 0],
    }
)
EVERY = [
    pytest.param(target, name, id=f"{name}-{target}")
    for target, task in (("texts", "classification"), ("three", "classification"), ("quantity", "regression"))
    for name in MODELS[task]
]
every_model = pytest.mark.parametrize(("target", "name"), EVERY)


def drawn(table: PreparedTable, name: str, points: int) -> list[Values]:
    """Draw points of one model's space for a table."""
    space = space_for((name,), table.contract)
    domain = Domain(lambda point: 0.0, compile_space(space))
    values = []
    for seed in range(points):
        [document] = rand.suggest([0], domain, Trials(), seed)
        values.append(values_of(space, {k: v[0] for k, v in document["misc"]["vals"].items() if len(v)}))
    return values


def fitted(table: PreparedTable, values: Values) -> Pipeline:
    """Fit the whole model of a point."""
    model = pipeline(table.contract, make_estimator(table.contract.task, values, SEED))
    return model.fit(table.rows, table.labels.to_numpy())


@cache
def first(target: str, name: str) -> Pipeline:
    """Fit the first point drawn of a model, once for all tests that look at it."""
    [values] = drawn(TABLES[target], name, 1)
    return fitted(TABLES[target], values)


@cache
def several(target: str, name: str) -> list[Pipeline]:
    """Fit two more points beside it; of ensembles, which take long, the one that a search may begin with."""
    table = TABLES[target]
    if {"n_estimators", "max_iter"} & set(MODELS[table.contract.task][name].space(table.contract)):
        [start] = first_points(space_for((name,), table.contract), table.contract.task)
        return [first(target, name), fitted(table, start)]
    return [first(target, name), *(fitted(table, values) for values in drawn(table, name, 3)[1:])]


def spoken(model: Pipeline, rows: pd.DataFrame, classes: int) -> list[np.ndarray]:
    """Gather all that a model says of rows."""
    scores = scores_of(model, rows, classes)
    return [model.predict(rows)] + ([] if scores is None else [scores])


# ------------------------------------------------------------------------------- every estimator


@unseen
@unconverged
@every_model
def test_a_point_of_its_space_becomes_a_model(target: str, name: str):
    """It predicts the target's own labels or units for rows of any kind, and a classifier has scores for ROC."""
    contract = TABLES[target].contract
    for model in several(target, name):
        predicted = model.predict(NEW)
        assert predicted.shape == (4,)
        scores = scores_of(model, NEW, len(contract.classes))
        if contract.task == "regression":
            assert predicted.dtype == np.float64
            assert np.isfinite(predicted).all()
            assert scores is None
            continue
        assert set(predicted.tolist()) <= set(contract.classes)
        assert {type(label) for label in predicted.tolist()} == {type(contract.classes[0])}
        assert scores is not None
        assert scores.shape == ((4,) if len(contract.classes) == 2 else (4, len(contract.classes)))
        assert np.isfinite(scores).all()


@unconverged
@every_model
def test_it_learns_more_than_a_constant(target: str, name: str):
    """On the rows that it was fitted on, at one point at least."""
    table = TABLES[target]
    truth = table.labels.to_numpy()
    found = [model.predict(table.rows) for model in several(target, name)]
    if table.contract.task == "regression":
        errors = [np.mean((predicted - truth) ** 2) for predicted in found]
        assert min(errors) < 0.7 * np.var(truth)
    else:
        shares = [np.mean(predicted == truth) for predicted in found]
        assert max(shares) > table.labels.value_counts(normalize=True).max()


@unseen
@unconverged
@every_model
def test_the_same_seed_gives_the_same_model(target: str, name: str):
    """Whatever chance was drawn elsewhere in the process."""
    table = TABLES[target]
    [values] = drawn(table, name, 1)
    classes = len(table.contract.classes)
    before = first(target, name)
    np.random.seed(123)
    again = fitted(table, values)
    for rows in (table.rows, NEW):
        for one, other in zip(spoken(before, rows, classes), spoken(again, rows, classes), strict=True):
            np.testing.assert_array_equal(one, other)


@every_model
def test_every_source_of_chance_has_the_seed(target: str, name: str):
    table = TABLES[target]
    [values] = drawn(table, name, 1)
    parameters = make_estimator(table.contract.task, values, SEED).get_params(deep=True)
    chances = {key: value for key, value in parameters.items() if key.split("__")[-1] == "random_state"}
    assert chances or name in ("knn", "lda")
    if not chances:
        return
    assert set(chances.values()) == {SEED}


@unseen
@unconverged
@every_model
def test_it_is_saved_with_the_types_allowed_and_no_others(target: str, name: str):
    """And says the same when it is loaded."""
    table, model = TABLES[target], first(target, name)
    saved = skops.io.dumps(model)
    assert set(skops.io.get_untrusted_types(data=saved)) <= set(ALLOWED_TYPES)
    loaded = skops.io.loads(saved, trusted=list(ALLOWED_TYPES))
    for rows in (table.rows, NEW):
        kept = spoken(model, rows, len(table.contract.classes))
        for one, other in zip(kept, spoken(loaded, rows, len(table.contract.classes)), strict=True):
            np.testing.assert_array_equal(one, other)


@every_model
def test_its_parameters_are_what_was_drawn(target: str, name: str):
    table = TABLES[target]
    for values in drawn(table, name, 5):
        parameters = make_estimator(table.contract.task, values, SEED).get_params(deep=True)
        for key, value in values.items():
            if key != "model":
                # A regressor on a standardised target holds its own parameters one level down.
                assert parameters[key if key in parameters else f"regressor__{key}"] == value


@unseen
@pytest.mark.parametrize("target", TABLES)
def test_the_plain_model_is_fitted_saved_and_loaded(target: str):
    table = TABLES[target]
    contract = table.contract
    model = pipeline(contract, plain_estimator(contract.task, SEED)).fit(table.rows, table.labels.to_numpy())
    loaded = skops.io.loads(skops.io.dumps(model), trusted=list(ALLOWED_TYPES))
    np.testing.assert_array_equal(loaded.predict(NEW), model.predict(NEW))
    if contract.classes:
        assert type(model.predict(NEW).tolist()[0]) is type(contract.classes[0])


def test_the_plain_model_is_scikit_learns_at_its_defaults():
    assert plain_estimator("classification", 5).get_params() == LogisticRegression(random_state=5).get_params()
    assert plain_estimator("regression", 5).get_params() == LinearRegression().get_params()


# ----------------------------------------------------------------------------------- the spaces


def test_liblinear_is_drawn_for_two_classes_alone():
    """It raises for more."""
    two = {values["solver"] for values in drawn(TABLES["texts"], "logreg", 30)}
    three = {values["solver"] for values in drawn(TABLES["three"], "logreg", 30)}
    assert (two, three) == ({"liblinear", "lbfgs"}, {"lbfgs"})


def test_the_search_over_logistic_regression_is_the_courses():
    """Its natural logarithm of C is standard normal, with or without balanced weights."""
    values = drawn(TABLES["texts"], "logreg", 300)
    logs = np.log([one["C"] for one in values])
    assert np.mean(logs) == pytest.approx(0, abs=0.2)
    assert np.std(logs) == pytest.approx(1, abs=0.15)
    assert {one["class_weight"] for one in values} == {None, "balanced"}
    assert set(values[0]) == {"model", "C", "solver", "class_weight"}


# Neighbours have no weights for classes.
WEIGHTED = [name for name in MODELS["classification"] if name != "knn"]


@pytest.mark.parametrize("target", ["texts", "three"])
@pytest.mark.parametrize("name", WEIGHTED)
def test_every_classifier_is_tried_with_balanced_weights_and_without(name: str, target: str):
    weights = [values["class_weight"] for values in drawn(TABLES[target], name, 40)]
    assert 10 <= weights.count("balanced") <= 30
    assert set(weights) == {None, "balanced"}


@pytest.mark.parametrize("name", WEIGHTED)
def test_balanced_weights_find_more_of_a_rare_class(name: str):
    """One row in ten is positive, and its class overlaps with the other."""
    rng = np.random.default_rng(8)
    labels = rng.permutation(np.repeat(["no", "yes"], [270, 30])).astype(object)
    rows = pd.DataFrame({"x": rng.normal(1.2 * (labels == "yes"), 1.0), "z": rng.normal(size=300)})
    columns = (Column("x", "numeric", "float64"), Column("z", "numeric", "float64"))
    contract = Contract("y", "classification", ("no", "yes"), "yes", "random", columns=columns)
    small = {
        "dtc": {"max_depth": 3},
        "rf": {"max_depth": 3, "n_estimators": 50},
        "extra_trees": {"max_depth": 3, "n_estimators": 50},
        "hist_gradient_boosting": {"max_iter": 5},
        "xgboost": {"max_depth": 2, "n_estimators": 20},
    }.get(name, {})
    found = []
    for weight in (None, "balanced"):
        estimator = make_estimator("classification", {"model": name, "class_weight": weight} | small, SEED)
        predicted = pipeline(contract, estimator).fit(rows, labels).predict(rows)
        found.append(np.mean(predicted[labels == "yes"] == "yes"))
    assert found[1] > found[0] + 0.2


@pytest.mark.parametrize("features", [1, 2, 3, 6, 9])
def test_a_tree_is_not_asked_for_more_columns_than_there_are(features: int):
    columns = tuple(Column(f"x{i}", "numeric", "float64") for i in range(features))
    contract = Contract("y", "classification", (0, 1), 1, "random", columns=(*columns, Column("z", "id", "object")))
    table = PreparedTable(contract, pd.DataFrame(), pd.Series(dtype="int64"), np.array([]))
    asked = {values["max_features"] for values in drawn(table, "dtc", 80)}
    assert asked == set(range(1, min(features, 6) + 1))


def test_models_are_chosen_by_name():
    two, quantity = TABLES["texts"].contract, TABLES["quantity"].contract
    assert choose_models((), two) == tuple(MODELS["classification"])
    assert choose_models((), quantity) == tuple(MODELS["regression"])
    assert choose_models(("rf", "dtc", "rf"), two) == ("rf", "dtc")
    assert list(space_for(("rf", "dtc"), two)) == ["rf", "dtc"]
    assert set(MODEL_NAMES) == {*MODELS["classification"], *MODELS["regression"]}


def test_a_model_that_cannot_be_chosen_is_refused(refused: Callable):
    contract = Contract("y", "classification", (0, 1), 1, "random")
    with refused(f"models: 'ridge' is not for classification; use one of {', '.join(MODELS['classification'])}."):
        choose_models(("rf", "ridge"), contract)
    with refused(f"models: 'svn' is not known; use one of {', '.join(MODEL_NAMES)}. Did you mean svm?"):
        choose_models(("svn",), contract)


@pytest.mark.parametrize("target", ["texts", "three", "quantity"])
def test_a_search_may_begin_with_one_point_of_each_model(target: str):
    """Each lies in the space that it begins, to the last bit."""
    contract = TABLES[target].contract
    space = space_for(tuple(MODELS[contract.task]), contract)
    points = first_points(space, contract.task)
    assert [point["model"] for point in points] == list(MODELS[contract.task])
    for values in points:
        assert repr(values_of(space, point_for(space, values))) == repr(values)


def test_a_first_point_is_the_models_start_where_the_space_holds_it():
    space = {"rf": {"max_depth": Steps(3, 9), "n_estimators": Steps(50, 150, 50), "criterion": Choice(("entropy",))}}
    assert first_points(space, "classification") == [
        {"model": "rf", "max_depth": 6, "n_estimators": 100, "criterion": "entropy"}
    ]


# ------------------------------------------------------------------------------------- boosting


def two_moons(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Make rows of two columns whose class no line tells, one in five labelled wrong."""
    rng = np.random.default_rng(5)
    design = rng.normal(size=(rows, 2))
    labels = (design[:, 0] * design[:, 1] > 0) ^ (rng.random(rows) < 0.2)
    return design, np.where(labels, "yes", "no").astype(object)


def test_xgboost_stops_early_on_rows_that_it_was_given_and_then_fits_them_all():
    """On noise more trees only learn it by heart; without early stopping all are fitted."""
    design, labels = two_moons(600)
    stopped = BOOSTING.XGBoostClassifier(n_estimators=200, random_state=1).fit(design, labels)
    assert 1 <= stopped.trees_ < 60
    every = BOOSTING.XGBoostClassifier(n_estimators=200, early_stopping_rounds=0, random_state=1).fit(design, labels)
    assert every.trees_ == 200
    same = BOOSTING.XGBoostClassifier(n_estimators=stopped.trees_, early_stopping_rounds=0, random_state=1)
    assert same.fit(design, labels).booster_ == stopped.booster_


def test_xgboost_holds_rows_of_every_class_back_and_none_where_there_are_too_few():
    design, labels = two_moons(100)
    few = np.where(np.arange(100) == 3, "rare", labels).astype(object)
    model = BOOSTING.XGBoostClassifier(n_estimators=7, random_state=1).fit(design, few)
    assert (model.trees_, model.classes_.tolist()) == (7, ["no", "rare", "yes"])
    fit, held = BOOSTING.XGBoostClassifier(random_state=1)._parts(np.repeat([0, 1], [90, 10]), 2)
    assert (len(fit), len(held)) == (85, 15)
    assert set(fit) | set(held) == set(range(100))
    assert sum(held >= 90) in (1, 2)


def test_xgboost_says_the_same_of_a_sparse_table_as_of_a_dense_one_without_noughts():
    rng = np.random.default_rng(2)
    design, target = rng.normal(size=(80, 3)), rng.normal(size=80)
    dense_one = BOOSTING.XGBoostRegressor(n_estimators=5, random_state=0).fit(design, target).predict(design)
    matrix = sparse.csr_matrix(design)
    other = BOOSTING.XGBoostRegressor(n_estimators=5, random_state=0).fit(matrix, target).predict(matrix)
    np.testing.assert_array_equal(dense_one, other)


def test_histogram_boosting_takes_a_sparse_table():
    design, labels = two_moons(200)
    classifier, regressor = BOOSTING.DenseHistGradientBoostingClassifier, BOOSTING.DenseHistGradientBoostingRegressor
    matrix = sparse.csr_matrix(design)
    for make, target in ((classifier, labels), (regressor, design[:, 0])):
        one, other = make(max_iter=5, random_state=0).fit(design, target), make(max_iter=5, random_state=0)
        np.testing.assert_array_equal(one.predict(design), other.fit(matrix, target).predict(matrix))
    other = classifier(max_iter=5, random_state=0).fit(matrix, labels)
    np.testing.assert_array_equal(other.decision_function(matrix) > 0, other.predict(matrix) == "yes")


def test_discriminant_analysis_takes_a_sparse_table_and_is_scikit_learns_own():
    design, labels = two_moons(200)
    matrix, few = sparse.csr_matrix(design), labels.copy()
    few[np.flatnonzero(labels == "yes")[5:]] = "no"
    for weight, priors, truth in ((None, None, labels), ("balanced", [0.5, 0.5], few)):
        own = BOOSTING.DenseLinearDiscriminantAnalysis(0.1, weight).fit(matrix, truth)
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1, priors=priors).fit(design, truth)
        np.testing.assert_allclose(own.predict_proba(matrix), theirs.predict_proba(design))
        np.testing.assert_array_equal(own.predict(matrix), theirs.predict(design))
        np.testing.assert_array_equal(own.decision_function(matrix) > 0, own.predict(design) == "yes")


@pytest.mark.parametrize("change", [{"n_estimators": 0}, {"subsample": 1.5}, {"class_weight": "even"}])
def test_xgboost_refuses_what_it_cannot_take(change: dict[str, Any]):
    design, labels = two_moons(60)
    [name] = change
    with pytest.raises(ValueError, match=f"^The '{name}' parameter of XGBoostClassifier must be "):
        BOOSTING.XGBoostClassifier(**change).fit(design, labels)


# ----------------------------------------------------------------- what a table is too large for


def wide(task: str, levels: int, missing: bool = False) -> Contract:
    """Make the contract of a table of every role; its text has many levels."""
    columns = (
        Column("x", "numeric", "float64"),
        Column("place", "categorical", "object", levels=tuple(f"p{i:05}" for i in range(levels)), missing=missing),
        Column("size", "ordinal", "object", levels=("S", "M", "L")),
        Column("note", "id", "object"),
    )
    classes, positive = ((0, 1), 1) if task == "classification" else ((), None)
    return Contract("y", task, classes, positive, "random", columns=columns)


def test_design_columns_are_counted_from_the_levels():
    """As many as the preprocessing makes of them."""
    assert (one_hot_columns(DESIGN), design_columns(DESIGN)) == (3, 5)
    assert design_columns(wide("regression", 10)) == 9 + 2
    assert design_columns(wide("regression", 10, missing=True)) == 10 + 2
    for table in TABLES.values():
        design = preprocessor(table.contract).fit_transform(table.rows)
        assert design_columns(table.contract) == design.shape[1]


def test_what_looks_at_every_pair_of_rows_is_left_out_over_20_000_rows():
    few = wide("classification", 4)
    assert left_out_models(few, 20_000) == {}
    reason = "20,001 training rows, of which it takes at most 20,000"
    assert left_out_models(few, 20_001) == {"svm": reason, "knn": reason}
    assert choose_models((), few, 20_000) == tuple(MODELS["classification"])
    assert choose_models((), few, 20_001) == tuple(n for n in MODELS["classification"] if n not in ("svm", "knn"))
    assert left_out_models(wide("regression", 4), 20_001) == {"knn": reason}


@pytest.mark.parametrize(
    ("task", "left"),
    [
        ("classification", ("logreg", "svm", "xgboost")),
        ("regression", ("ridge", "lasso", "elasticnet", "gradient_boosting", "xgboost")),
    ],
)
def test_trees_that_need_every_column_are_left_out_over_1_000_one_hot_columns(task: str, left: tuple):
    assert left_out_models(wide(task, 1001), 500) == {}
    over = left_out_models(wide(task, 1002), 500)
    reason = "1,001 one-hot columns, of which it takes at most 1,000"
    assert over == {name: reason for name in MODELS[task] if name not in left}
    assert choose_models((), wide(task, 1002), 500) == left
    # Where the rows are not known, the columns are all the same.
    assert choose_models((), wide(task, 1002)) == left


def test_what_takes_no_sparse_design_is_left_out_over_50_million_cells():
    """A table without levels has none to write out, whatever its size."""
    for task in MODELS:
        sparse_one, rows = wide(task, 499), 100_000
        assert design_columns(sparse_one) == 500
        assert "hist_gradient_boosting" not in left_out_models(sparse_one, rows)
        assert left_out_models(sparse_one, rows + 1)["hist_gradient_boosting"] == (
            "50,000,500 cells in rows and design columns, of which it takes at most 50,000,000"
        )
        plain = replace(sparse_one, columns=tuple(Column(f"x{i}", "numeric", "float64") for i in range(500)))
        assert "hist_gradient_boosting" not in left_out_models(plain, 10**7)


def test_what_is_not_installed_is_not_offered(monkeypatch: pytest.MonkeyPatch, refused: Callable):
    two = TABLES["texts"].contract
    monkeypatch.setattr("lifecycle.models.importable", lambda package: not package)
    assert choose_models((), two) == tuple(name for name in MODELS["classification"] if name != "xgboost")
    with refused(
        "models: xgboost is not installed; install it by `uv pip install -r requirements.txt`, or use one of "
        "logreg, lda, dtc, svm, knn, rf, extra_trees, hist_gradient_boosting."
    ):
        choose_models(("rf", "xgboost"), two)


def test_every_task_has_a_model_without_limits():
    for task in MODELS:
        assert choose_models((), wide(task, 100_000), 10**9)


def test_a_model_that_the_table_is_too_large_for_is_refused_by_name(refused: Callable):
    two = wide("classification", 4)
    with refused(
        "models: the table has 73,908 training rows, of which it takes at most 20,000 (svm); "
        "set max_rows=20000, or use one of logreg, lda, dtc, rf, extra_trees, hist_gradient_boosting, xgboost."
    ):
        choose_models(("logreg", "svm"), two, 73_908)
    assert choose_models(("logreg",), two, 73_908) == ("logreg",)
    with refused(
        "models: the table has 13,219 one-hot columns, of which it takes at most 1,000 (rf); "
        "use one of ridge, lasso, elasticnet, gradient_boosting, xgboost."
    ):
        choose_models(("rf",), wide("regression", 13_220), 73_908)


@unconverged
@pytest.mark.parametrize("task", MODELS)
def test_no_model_that_is_left_writes_a_wide_design_out(kept_sparse: None, task: str):
    """Every fold, score and the refitted pipeline with what it says of rows."""
    contract = wide(task, 1_500)
    rng = np.random.default_rng(1)
    # Every level is in every fold, so that none is unknown.
    rows = pd.DataFrame({"x": rng.normal(size=4_500), "place": np.tile(contract.columns[1].levels, 3)})
    rows["size"] = rng.choice(["S", "M", "L"], 4_500)
    labels = rows["x"] + (rows["size"] == "L") + rng.normal(size=4_500)
    if task == "classification":
        labels = (labels > 0).astype("int64")
    table = PreparedTable(contract, rows, pd.Series(labels, name="y"), np.repeat([0, 1, 2], 1_500))
    metric = resolve_metric("", contract)
    objective = Objective(table, metric, SEED)
    for name in choose_models((), contract, 4_500):
        small = {"n_estimators": 10} if name in ("gradient_boosting", "xgboost") else {}
        values = {"model": name} | small
        assert objective(0, Task(values)).status == FINISHED
        scores = score_model(contract, objective.refit(values), rows, table.labels)
        assert metric.name in scores


def test_the_guard_of_these_tests_sees_a_matrix_that_is_written_out(kept_sparse: None):
    with pytest.raises(AssertionError, match=r"shape \(11, 11\) was written out"):
        sparse.csr_matrix(np.eye(11)).toarray()


def test_the_courses_models_are_offered_and_the_simpler_rank_lower():
    rank = {name: model.rank for name, model in MODELS["classification"].items()}
    assert {"svm", "rf", "logreg", "dtc"} <= set(rank)
    assert rank["logreg"] < rank["dtc"] < rank["rf"]
    assert MODELS["regression"]["ridge"].rank < MODELS["regression"]["rf"].rank
    assert min(model.rank for task in MODELS.values() for model in task.values()) > 0


# --------------------------------------------------------------------------------- preprocessing

DESIGN = Contract(
    "y",
    "regression",
    (),
    None,
    "random",
    columns=(
        Column("colour", "categorical", "object", levels=("blue", "green", "red")),
        Column("size", "ordinal", "object", levels=("S", "M", "L")),
        Column("age", "numeric", "float64"),
        Column("note", "id", "object"),
        Column("flag", "categorical", "bool", levels=("False", "True")),
    ),
)
TRAIN = pd.DataFrame(
    {
        "colour": ["green", "blue", "red", None],
        "size": ["M", "L", "L", None],
        "age": [1.0, 2.0, NAN, 9.0],
        "flag": [True, False, True, False],
        "note": list("abcd"),
    }
)
NAMES = ["age", "size", "colour_green", "colour_missing", "colour_red", "flag_True"]


def dense(values: Any) -> np.ndarray:
    """Give a design as a plain array."""
    return values.toarray() if hasattr(values, "toarray") else np.asarray(values)


def test_the_design_by_hand():
    """Missing: the median, 2, of the ages; the middle place, 2, of the sizes; a level of its own for the colours.

    The first level of each categorical column is left out.
    """
    before = preprocessor(DESIGN, scale=False)
    expected = [
        [1, 1, 1, 0, 0, 1],
        [2, 2, 0, 0, 0, 0],
        [2, 2, 0, 0, 1, 1],
        [9, 2, 0, 1, 0, 0],
    ]
    np.testing.assert_array_equal(dense(before.fit_transform(TRAIN)), expected)
    assert before.named_steps["columns"].get_feature_names_out().tolist() == NAMES


def test_numbers_are_standardised_and_nothing_else():
    plain = dense(preprocessor(DESIGN, scale=False).fit_transform(TRAIN))
    scaled = dense(preprocessor(DESIGN).fit_transform(TRAIN))
    # 1, 2, 2 and 9: the mean is 3.5, the variance (2.5² + 1.5² + 1.5² + 5.5²) / 4 = 10.25.
    np.testing.assert_allclose(scaled[:, 0], (plain[:, 0] - 3.5) / np.sqrt(10.25))
    np.testing.assert_array_equal(scaled[:, 1:], plain[:, 1:])


@unseen
def test_new_rows_are_prepared_by_what_the_training_rows_were():
    """An unknown level is no level, an unknown place the middle one, in whatever order the columns come."""
    before = preprocessor(DESIGN, scale=False).fit(TRAIN)
    rows = pd.DataFrame(
        {
            "flag": ["True", None, "True"],
            "age": [None, 5, "7"],
            "size": ["S", "XXL", None],
            "colour": ["violet", None, "blue"],
        }
    )
    expected = [[2, 0, 0, 0, 0, 1], [5, 2, 0, 1, 0, 0], [7, 2, 0, 0, 0, 1]]
    np.testing.assert_array_equal(dense(before.transform(rows)), expected)


@unseen
def test_an_unknown_level_beside_no_missing_cell_is_no_level():
    contract = Contract("y", "regression", (), None, "random", columns=DESIGN.columns[:1])
    before = preprocessor(contract).fit(pd.DataFrame({"colour": ["blue", "green", "red"]}))
    design = dense(before.transform(pd.DataFrame({"colour": ["blue", "green", "red", "violet", None]})))
    np.testing.assert_array_equal(design, [[0, 0], [1, 0], [0, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize("role", ["numeric", "ordinal", "categorical"])
def test_one_kind_of_columns_is_enough(role: str):
    contract = Contract(
        "y", "regression", (), None, "random", columns=tuple(c for c in DESIGN.columns if c.role == role)
    )
    design = dense(preprocessor(contract).fit_transform(TRAIN))
    assert design.shape == (4, {"numeric": 1, "ordinal": 1, "categorical": 4}[role])
    assert np.isfinite(design).all()


def test_a_column_that_is_empty_in_training_leaves_the_model_standing():
    """As in a fold that holds none of its values."""
    empty = TRAIN.assign(age=NAN, size=None, colour=None)
    before = preprocessor(DESIGN).fit(empty)
    assert np.isfinite(dense(before.transform(empty))).all()
    prepared, _, _ = messy()
    nothing = prepared.assign(title=None, sold=pd.NaT, seen=pd.NaT)
    before = preprocessor(MESSY).fit(nothing)
    # The price, the size, two of the colours, a number for each of the three.
    assert dense(before.transform(prepared)).shape == (60, 7)
    assert np.isfinite(dense(before.transform(prepared))).all()


MESSY = Contract(
    "y",
    "regression",
    (),
    None,
    "random",
    columns=(
        Column("price", "numeric", "object", format="decimal comma"),
        Column("size", "ordinal", "object", levels=("S", "M", "L")),
        Column("title", "text", "object"),
        Column("colour", "categorical", "object", levels=("blue", "red")),
        Column("sold", "datetime", "object", format="%d/%m/%Y %H:%M", origin="2021-01-01"),
        Column("seen", "datetime", "datetime64[us]", origin="2021-01-01"),
    ),
    missing_words=("?", "n/a"),
)


def messy(rows: int = 60) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Make the same rows as training reads them and as people write them, and a target that depends on each column."""
    rng = np.random.default_rng(8)
    price, size, colour = (
        rng.normal(20, 5, rows).round(2),
        rng.choice(["S", "M", "L"], rows),
        rng.choice(["blue", "red"], rows),
    )
    title = np.array(
        [f"{rng.choice(['Senior', 'Junior'])} {rng.choice(['driver', 'clerk', 'nurse'])} {i}" for i in range(rows)]
    )
    sold = np.datetime64("2021-01-01") + rng.integers(0, 500 * 24 * 60, rows).astype("timedelta64[m]")
    seen = np.datetime64("2021-01-01") + rng.integers(0, 500, rows).astype("timedelta64[D]")
    hour = pd.Series(sold).dt.hour.to_numpy()
    driver = np.array(["driver" in one for one in title])
    value = price / 5 + (size == "L") + (colour == "red") + 2 * driver + np.sin(hour / 24 * 2 * np.pi)
    frame = {"price": price, "size": size, "title": title, "colour": colour, "sold": sold, "seen": seen}
    prepared = pd.DataFrame(frame).astype({"size": object, "title": object, "colour": object})
    raw = prepared.assign(
        price=[f" {one:.2f}".replace(".", ",") for one in price],
        title=[f"{one} " for one in title],
        sold=prepared["sold"].dt.strftime("%d/%m/%Y %H:%M"),
        seen=prepared["seen"].dt.strftime("%Y-%m-%dT00:00:00Z"),
    ).astype(object)
    for place, name in enumerate(prepared):
        prepared.loc[place + 3 :: 10, name] = None
        raw.loc[place + 3 :: 10, name] = ["?", "n/a", " ", ""][place % 4]
    return prepared, raw, value * 10


@unconverged
@pytest.mark.parametrize(("task", "name"), [(task, name) for task in MODELS for name in (*MODELS[task], "plain")])
def test_every_model_of_dates_and_text_is_saved_and_takes_rows_as_people_write_them(task: str, name: str):
    prepared, raw, labels = messy()
    contract = MESSY
    if task == "classification":
        contract = replace(MESSY, task=task, classes=("high", "low"), positive="high")
        labels = np.where(labels > np.median(labels), "high", "low")
    values = {"model": name} | ({"weights": "distance"} if name == "knn" else {})
    estimator = plain_estimator(task, SEED) if name == "plain" else make_estimator(task, values, SEED)
    model = pipeline(contract, estimator).fit(prepared, labels)
    assert model.score(prepared, labels) > 0.6
    saved = skops.io.dumps(model)
    assert set(skops.io.get_untrusted_types(data=saved)) <= set(ALLOWED_TYPES)
    loaded = skops.io.loads(saved, trusted=list(ALLOWED_TYPES))
    expected = model.predict(prepared)
    for rows in (prepared, raw, raw[raw.columns[::-1]]):
        np.testing.assert_array_equal(loaded.predict(rows), expected)


def test_a_saved_column_of_text_stays_small():
    """Thirty directions over 8,192 buckets in single precision: 983,040 bytes, whatever the texts."""
    rng = np.random.default_rng(4)
    for rows in (200, 2000):
        words = rng.choice(list("abcdefghijklmnop"), (rows, 3, 8))
        frame = pd.DataFrame({"title": [" ".join("".join(word) for word in row) for row in words]}, dtype=object)
        before = preprocessor(replace(MESSY, columns=(MESSY.columns[2],))).fit(frame)
        assert before.transform(frame).shape == (rows, 30)
        assert 983_040 < len(skops.io.dumps(before)) < 1_100_000


def test_dates_are_standardised_as_numbers_are_and_text_is_not():
    prepared, _, _ = messy()
    scaled, plain = preprocessor(MESSY).fit(prepared), preprocessor(MESSY, scale=False).fit(prepared)
    names = design_names(plain)
    assert names == design_names(scaled)
    assert [name for name in names if "_text_" not in name] == [
        "price", "size", "colour_missing", "colour_red",
        "sold_days", "sold_year_sin", "sold_year_cos", "sold_week_sin", "sold_week_cos",
        "sold_day_sin", "sold_day_cos", "sold_day_sin2", "sold_day_cos2",
        "seen_days", "seen_year_sin", "seen_year_cos", "seen_week_sin", "seen_week_cos",
    ]  # fmt: skip
    one = pd.DataFrame(dense(plain.transform(prepared)), columns=names)
    other = pd.DataFrame(dense(scaled.transform(prepared)), columns=names)
    assert one["sold_days"].min() == (prepared["sold"].min() - pd.Timestamp("2021-01-01")) / pd.Timedelta(days=1)
    for name in names:
        if name == "price" or name.startswith(("sold", "seen")):
            np.testing.assert_allclose(other[name], (one[name] - one[name].mean()) / one[name].std(ddof=0), atol=1e-9)
        else:
            np.testing.assert_array_equal(other[name], one[name])


def test_a_declared_order_of_booleans_is_that_of_the_cells():
    contract = replace(MESSY, columns=(Column("flag", "ordinal", "object", levels=("true", "false")),))
    before = preprocessor(contract).fit(pd.DataFrame({"flag": [True, False]}))
    rows = pd.DataFrame({"flag": ["TRUE", "false", True, "False"]}, dtype=object)
    np.testing.assert_array_equal(before.transform(rows), [[0], [1], [0], [1]])


def test_a_model_bears_the_digest_of_its_first_step():
    """So that a later version of it does not stand in for the one that a saved model was made with."""
    assert sha256(COLUMNS_SOURCE.encode()).hexdigest()[:12] in COLUMNS.__name__
    first = preprocessor(DESIGN).steps[0][1]
    assert type(first).__module__ == COLUMNS.__name__
    assert any(COLUMNS.__name__ in name for name in ALLOWED_TYPES)


# -------------------------------------------------------------------------------------- for ROC


def test_scores_are_probabilities_else_the_decision_function():
    rows, labels = np.array([[0.0], [1.0], [2.0], [3.0]]), ["a", "a", "b", "b"]
    logistic = LogisticRegression().fit(rows, labels)
    np.testing.assert_array_equal(scores_of(logistic, rows, 2), logistic.predict_proba(rows)[:, 1])
    vector = SVC().fit(rows, labels)
    np.testing.assert_array_equal(scores_of(vector, rows, 2), vector.decision_function(rows))
    three = LogisticRegression().fit(rows, list("aabc"))
    np.testing.assert_array_equal(scores_of(three, rows, 3), three.predict_proba(rows))
    assert scores_of(LinearRegression().fit(rows, [0, 1, 2, 3]), rows, 0) is None


def test_scores_are_turned_toward_the_positive_class():
    scores = np.array([0.25, 0.75])
    later = Contract("y", "classification", ("no", "yes"), "yes", "random")
    first = Contract("y", "classification", ("no", "yes"), "no", "random")
    three = Contract("y", "classification", ("a", "b", "c"), None, "random")
    np.testing.assert_array_equal(toward(later, scores), scores)
    np.testing.assert_array_equal(toward(first, scores), -scores)
    np.testing.assert_array_equal(toward(three, np.eye(3)), np.eye(3))
    assert toward(first, None) is None

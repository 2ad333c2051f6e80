"""The estimators on offer, each with its space, and the pipeline from raw columns to prediction.

Adding an estimator is one entry in `MODELS`; the contract suite of the tests covers every entry.
"""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier

from lifecycle.contract import CATEGORICAL, DATETIME, NUMERIC, TEXT, Contract
from lifecycle.errors import UserError, listed
from lifecycle.settings import one_of
from lifecycle.spaces import Choice, LogNormal, LogUniform, Range, Space, Steps, Uniform, Values, nearest


def _under_its_digest(module: str) -> tuple[ModuleType, str]:
    """Import a module once more, under a name that bears its source's digest.

    Models keep their own classes by module name. Under this name two versions of the module load in one process,
    and a saved model finds the very code that it was made with. The source comes from the import system, which also
    reads it out of the archive that Spark's executors get.
    """
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.loader is not None
    source: str = spec.loader.get_source(module)  # type: ignore[attr-defined]
    name = f"{module.replace('.', '_')}_{sha256(source.encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        made = ModuleType(name, "Classes of saved models.")
        sys.modules[name] = made
        exec(compile(source, str(spec.origin), "exec"), made.__dict__)
    return sys.modules[name], source


COLUMNS, COLUMNS_SOURCE = _under_its_digest("lifecycle.columns")
BOOSTING, BOOSTING_SOURCE = _under_its_digest("lifecycle.boosting")


# What a table may have for the models that have a limit; docs/large.md has the seconds behind them.
MOST_ROWS_OF_KERNELS = 20_000
MOST_ROWS_OF_NEIGHBOURS = 20_000
MOST_ONE_HOT = 1_000
MOST_CELLS_WRITTEN_OUT = 50_000_000


@dataclass(frozen=True)
class Model:
    """An estimator on offer.

    Attributes
    ----------
    label : str
        What people call it.
    make : callable
        ``make(seed, **hyperparameters)`` gives the unfitted estimator; every source of chance in it is seeded.
    space : callable
        ``space(contract)`` gives the ranges that fit a table.
    rank : int
        Simplicity: of equal scores the smaller rank wins.
    start : dict
        Where a search may begin: values that do well on many tables. What is not named starts in the middle.
    most_rows : int or None
        Training rows over which a trial takes minutes; None for no limit.
    most_one_hot : int or None
        One-hot columns over which a trial takes minutes or finds nothing; None for no limit.
    most_cells : int or None
        Cells of a sparse design over which it is not written out, for an estimator that takes no sparse one.
    needs : str
        A package that need not be installed, as it is imported; empty where there is none.
    """

    label: str
    make: Callable[..., BaseEstimator]
    space: Callable[[Contract], dict[str, Range]]
    rank: int
    start: Values = field(default_factory=dict)
    most_rows: int | None = None
    most_one_hot: int | None = None
    most_cells: int | None = None
    needs: str = ""


def _seeded(estimator: Callable[..., BaseEstimator], **fixed: Any) -> Callable[..., BaseEstimator]:
    """Return what makes an estimator of a seed and hyperparameters, which may override what is fixed."""
    return lambda seed, **values: estimator(**{"random_state": seed} | fixed | values)


def _unseeded(estimator: Callable[..., BaseEstimator], **fixed: Any) -> Callable[..., BaseEstimator]:
    """Return the same for an estimator without chance."""
    return lambda seed, **values: estimator(**fixed | values)


# Balanced weights count each class as if it were as frequent as the others.
CLASS_WEIGHT = Choice((None, "balanced"))


def _logistic_space(contract: Contract) -> dict[str, Range]:
    # liblinear knows two classes only.
    solvers = ("liblinear", "lbfgs") if len(contract.classes) == 2 else ("lbfgs",)
    return {"C": LogNormal(0, 1), "solver": Choice(solvers), "class_weight": CLASS_WEIGHT}


def _tree_space(contract: Contract) -> dict[str, Range]:
    most = min(6, len(contract.features))
    features: Range = Steps(1, most) if most > 1 else Choice((1,))
    return {
        "criterion": Choice(("gini", "entropy")),
        "max_depth": Steps(2, 12),
        "max_features": features,
        "class_weight": CLASS_WEIGHT,
    }


def _forest_space(contract: Contract) -> dict[str, Range]:
    return {
        "n_estimators": Steps(50, 250, 50),
        "max_depth": Steps(4, 20, 2),
        "min_samples_leaf": Steps(1, 5),
        "max_features": Choice(("sqrt", 0.5, 1.0)),
    }


def _neighbours_space(contract: Contract) -> dict[str, Range]:
    return {
        "n_neighbors": Steps(1, 30),
        "weights": Choice(("uniform", "distance")),
        "p": Choice((1, 2)),
    }


def _histogram_space(contract: Contract) -> dict[str, Range]:
    return {
        "max_iter": Steps(50, 250, 50),
        "learning_rate": LogUniform(0.02, 0.5),
        "max_leaf_nodes": Steps(4, 64, 4),
        # A small table has no fifty rows for a leaf.
        "min_samples_leaf": Steps(2, 50 if contract.rows >= 1_000 else 20, 2),
        "l2_regularization": LogUniform(1e-3, 10),
    }


def _xgboost_space(contract: Contract) -> dict[str, Range]:
    return {
        "max_depth": Steps(2, 12),
        "learning_rate": LogUniform(0.03, 0.5),
        "min_child_weight": LogUniform(0.01, 20),
        "reg_alpha": LogUniform(1e-3, 1),
        "reg_lambda": LogUniform(1e-3, 10),
        "subsample": Uniform(0.6, 1.0),
    }


def _linear_svr(seed: int, **values: Any) -> BaseEstimator:
    # Its penalty and its margin are in the target's units; on a standardised target one range serves all.
    svr = LinearSVR(**{"random_state": seed, "max_iter": 20_000} | values)
    return TransformedTargetRegressor(regressor=svr, transformer=StandardScaler())


# A forest's and a boosting's first points are what each library ships with, but for as many trees as the space has.
FOREST_START = {"n_estimators": 100, "max_depth": 20, "min_samples_leaf": 1, "max_features": "sqrt"}
NEIGHBOURS_START = {"n_neighbors": 5, "weights": "distance", "p": 2}
HISTOGRAM_START = {
    "max_iter": 100,
    "learning_rate": 0.1,
    "max_leaf_nodes": 32,
    "min_samples_leaf": 10,
    "l2_regularization": 0.01,
}
XGBOOST_START = {
    "max_depth": 6,
    "learning_rate": 0.1,
    "min_child_weight": 1.0,
    "reg_alpha": 0.001,
    "reg_lambda": 1.0,
    "subsample": 1.0,
}

MODELS: dict[str, dict[str, Model]] = {
    "classification": {
        "logreg": Model(
            "logistic regression",
            _seeded(LogisticRegression),
            _logistic_space,
            1,
            {"C": 1.0, "solver": "lbfgs", "class_weight": None},
        ),
        "lda": Model(
            "linear discriminant analysis",
            _unseeded(BOOSTING.DenseLinearDiscriminantAnalysis),
            lambda contract: {"shrinkage": LogUniform(1e-4, 1), "class_weight": CLASS_WEIGHT},
            1,
            {"shrinkage": 0.01, "class_weight": None},
            most_one_hot=MOST_ONE_HOT,
            most_cells=MOST_CELLS_WRITTEN_OUT,
        ),
        "dtc": Model(
            "decision tree",
            _seeded(DecisionTreeClassifier),
            _tree_space,
            2,
            {"criterion": "gini", "max_depth": 6, "max_features": 6, "class_weight": None},
            most_one_hot=MOST_ONE_HOT,
        ),
        "svm": Model(
            "support vector machine",
            _seeded(SVC),
            lambda contract: {
                "C": LogNormal(0, 1),
                "kernel": Choice(("linear", "rbf")),
                "class_weight": CLASS_WEIGHT,
            },
            3,
            {"C": 1.0, "kernel": "rbf", "class_weight": None},
            most_rows=MOST_ROWS_OF_KERNELS,
        ),
        "knn": Model(
            "k-nearest neighbours",
            _unseeded(KNeighborsClassifier, algorithm="brute"),
            _neighbours_space,
            3,
            NEIGHBOURS_START,
            most_rows=MOST_ROWS_OF_NEIGHBOURS,
            most_one_hot=MOST_ONE_HOT,
        ),
        "rf": Model(
            "random forest",
            _seeded(RandomForestClassifier),
            lambda contract: _forest_space(contract) | {"class_weight": CLASS_WEIGHT},
            4,
            FOREST_START | {"class_weight": None},
            most_one_hot=MOST_ONE_HOT,
        ),
        "extra_trees": Model(
            "extremely randomised trees",
            _seeded(ExtraTreesClassifier),
            lambda contract: _forest_space(contract) | {"class_weight": CLASS_WEIGHT},
            4,
            FOREST_START | {"class_weight": None},
            most_one_hot=MOST_ONE_HOT,
        ),
        "hist_gradient_boosting": Model(
            "histogram gradient boosting",
            _seeded(BOOSTING.DenseHistGradientBoostingClassifier, early_stopping=False),
            lambda contract: _histogram_space(contract) | {"class_weight": CLASS_WEIGHT},
            5,
            HISTOGRAM_START | {"class_weight": None},
            most_one_hot=MOST_ONE_HOT,
            most_cells=MOST_CELLS_WRITTEN_OUT,
        ),
        "xgboost": Model(
            "xgboost",
            _seeded(BOOSTING.XGBoostClassifier),
            lambda contract: _xgboost_space(contract) | {"class_weight": CLASS_WEIGHT},
            5,
            XGBOOST_START | {"class_weight": None},
            needs="xgboost",
        ),
    },
    "regression": {
        "ridge": Model("ridge regression", _seeded(Ridge), lambda contract: {"alpha": LogUniform(1e-4, 1e3)}, 1),
        "lasso": Model("lasso", _seeded(Lasso, max_iter=20_000), lambda contract: {"alpha": LogUniform(1e-4, 1e1)}, 1),
        "elasticnet": Model(
            "elastic net",
            _seeded(ElasticNet, max_iter=20_000),
            lambda contract: {"alpha": LogUniform(1e-4, 1e1), "l1_ratio": Uniform(0.05, 0.95)},
            1,
        ),
        "linear_svr": Model(
            "linear SVR",
            _linear_svr,
            lambda contract: {"C": LogNormal(0, 1), "epsilon": LogUniform(1e-3, 0.3)},
            2,
            most_one_hot=MOST_ONE_HOT,
        ),
        "knn": Model(
            "k-nearest neighbours",
            _unseeded(KNeighborsRegressor, algorithm="brute"),
            _neighbours_space,
            3,
            NEIGHBOURS_START,
            most_rows=MOST_ROWS_OF_NEIGHBOURS,
            most_one_hot=MOST_ONE_HOT,
        ),
        "rf": Model(
            "random forest",
            _seeded(RandomForestRegressor),
            _forest_space,
            4,
            FOREST_START,
            most_one_hot=MOST_ONE_HOT,
        ),
        "extra_trees": Model(
            "extremely randomised trees",
            _seeded(ExtraTreesRegressor),
            _forest_space,
            4,
            FOREST_START,
            most_one_hot=MOST_ONE_HOT,
        ),
        "gradient_boosting": Model(
            "gradient boosting",
            _seeded(GradientBoostingRegressor),
            lambda contract: {
                "n_estimators": Steps(50, 300, 50),
                "learning_rate": LogUniform(0.02, 0.3),
                "max_depth": Steps(2, 6),
                "min_samples_leaf": Steps(1, 10),
            },
            5,
            {"n_estimators": 100, "learning_rate": 0.1, "max_depth": 3, "min_samples_leaf": 1},
        ),
        "hist_gradient_boosting": Model(
            "histogram gradient boosting",
            _seeded(BOOSTING.DenseHistGradientBoostingRegressor, early_stopping=False),
            _histogram_space,
            5,
            HISTOGRAM_START,
            most_one_hot=MOST_ONE_HOT,
            most_cells=MOST_CELLS_WRITTEN_OUT,
        ),
        "xgboost": Model(
            "xgboost", _seeded(BOOSTING.XGBoostRegressor), _xgboost_space, 5, XGBOOST_START, needs="xgboost"
        ),
    },
}
MODEL_NAMES = tuple(dict.fromkeys(name for table in MODELS.values() for name in table))
PLAIN = {"classification": "logistic regression", "regression": "linear regression"}
PLAIN_RANK = 0


# The elapsed days, and a sine and a cosine for each wave of each cycle.
MOST_OF_TIME = 1 + 2 * sum(COLUMNS.CYCLES.values())


def one_hot_columns(contract: Contract) -> int:
    """Count the one-hot columns of a table: of each categorical column its levels but one, and one for missing."""
    return sum(
        max(len(column.levels) + column.missing - 1, 0) for column in contract.columns if column.role == CATEGORICAL
    )


def design_columns(contract: Contract) -> int:
    """Count the columns that estimators are given.

    The one-hot ones, one for each column of numbers or of an order, and at most 30 for one of text and
    `MOST_OF_TIME` for one of times.
    """
    several = {CATEGORICAL: 0, TEXT: COLUMNS.PARTS, DATETIME: MOST_OF_TIME}
    own = [several.get(column.role, 1) for column in contract.columns if column.name in contract.features]
    return one_hot_columns(contract) + int(sum(own))


def importable(package: str) -> bool:
    """Tell whether a package that need not be installed is; no name asks for none."""
    return not package or importlib.util.find_spec(package) is not None


def left_out_models(contract: Contract, rows: int) -> dict[str, str]:
    """Tell which models of a task a table is too large for.

    Parameters
    ----------
    contract : Contract
        Of the table.
    rows : int
        Training rows.

    Returns
    -------
    dict of str to str
        By model, what the table has too much of.
    """
    one_hot = one_hot_columns(contract)
    # Without one-hot columns the design is no sparse one, and there is nothing to write out.
    cells = rows * design_columns(contract) if one_hot else 0
    reasons = {}
    for name, model in MODELS[contract.task].items():
        limits = (
            (rows, model.most_rows, "training rows"),
            (one_hot, model.most_one_hot, "one-hot columns"),
            (cells, model.most_cells, "cells in rows and design columns"),
        )
        over = [
            f"{found:,} {what}, of which it takes at most {most:,}"
            for found, most, what in limits
            if most is not None and found > most
        ]
        if over:
            reasons[name] = " and ".join(over)
    return reasons


def choose_models(asked: tuple[str, ...], contract: Contract, rows: int = 0) -> tuple[str, ...]:
    """Return the models to search over.

    Parameters
    ----------
    asked : tuple of str
        As typed; empty for all of the task that are installed and that the table is not too large for.
    contract : Contract
        Of the table.
    rows : int
        Training rows; 0 where they are not known, and nothing is left out for their number.

    Raises
    ------
    UserError
        For a model that is not known, not for this task, not installed, or that the table is too large for.
    """
    offered = MODELS[contract.task]
    left_out = left_out_models(contract, rows)
    fit = [name for name in offered if name not in left_out and importable(offered[name].needs)]
    for name in asked:
        one_of("models", name, MODEL_NAMES)
        if name not in offered:
            raise UserError(f"models: {name!r} is not for {contract.task}; use one of {listed(offered)}.")
        if not importable(offered[name].needs):
            raise UserError(
                f"models: {name} is not installed; install it by `uv pip install -r requirements.txt`, or use one of "
                f"{listed(fit)}."
            )
        if name in left_out:
            most = offered[name].most_rows
            sample = f"set max_rows={most}, or " if most is not None and rows > most else ""
            raise UserError(f"models: the table has {left_out[name]} ({name}); {sample}use one of {listed(fit)}.")
    return tuple(dict.fromkeys(asked)) or tuple(fit)


def space_for(models: tuple[str, ...], contract: Contract) -> Space:
    """Gather the ranges of some models for one table."""
    return {name: MODELS[contract.task][name].space(contract) for name in models}


def first_points(space: Space, task: str) -> list[Values]:
    """Return where a search may begin: one point of each model, which does well on many tables.

    Parameters
    ----------
    space : mapping
        Of the search; the first points lie in it, whoever declared it.
    task : str
        The table's.

    Returns
    -------
    list of dict
        ``model`` and its hyperparameters, in the order of the space: the model's own start, and where the space does
        not hold that, the middle of the range.
    """
    return [
        {"model": model} | {name: nearest(one, MODELS[task][model].start.get(name)) for name, one in ranges.items()}
        for model, ranges in space.items()
    ]


def make_estimator(task: str, values: Values, seed: int) -> BaseEstimator:
    """Build the unfitted estimator of a point: ``model`` and its hyperparameters."""
    hyperparameters = {name: value for name, value in values.items() if name != "model"}
    return MODELS[task][values["model"]].make(seed, **hyperparameters)


def plain_estimator(task: str, seed: int) -> BaseEstimator:
    """Build scikit-learn's logistic or linear regression at its defaults."""
    return LogisticRegression(random_state=seed) if task == "classification" else LinearRegression()


def _completed(scale: bool) -> list[tuple[str, BaseEstimator]]:
    """Build the steps that fill gaps by the median, and standardise if asked."""
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    return [("impute", impute), ("scale", StandardScaler())] if scale else [("impute", impute)]


def preprocessor(contract: Contract, scale: bool = True) -> Pipeline:
    """Build the part of a model from raw columns to design columns.

    Numeric columns: median for missing, then standardised. Ordinal ones: their place in the order, the median
    place for missing or unknown levels. Categorical ones: one-hot without the first level, missing as a level of its
    own, unknown levels as no level. Datetime ones: elapsed days and the places in the year, week and day, then as
    numeric ones. Text: at most 30 numbers a column, zero for missing.

    Parameters
    ----------
    contract : Contract
        Of the table.
    scale : bool
        False leaves numeric columns in their own units, and times in days.

    Returns
    -------
    Pipeline
        Unfitted.
    """
    numeric, categorical = contract.of_role(NUMERIC), contract.of_role(CATEGORICAL)
    times, texts = contract.of_role(DATETIME), contract.of_role(TEXT)
    orders = contract.orders
    branches: list[tuple[str, Pipeline, list[str]]] = []
    if numeric:
        branches.append(("numeric", Pipeline(_completed(scale)), numeric))
    if orders:
        encode = OrdinalEncoder(
            categories=[[COLUMNS.level_of(level) for level in levels] for levels in orders.values()],
            handle_unknown="use_encoded_value",
            unknown_value=np.nan,
            encoded_missing_value=np.nan,
        )
        impute = SimpleImputer(strategy="median", keep_empty_features=True)
        branches.append(("ordinal", Pipeline([("encode", encode), ("impute", impute)]), list(orders)))
    if categorical:
        impute = SimpleImputer(strategy="constant", fill_value="missing", keep_empty_features=True)
        encode = OneHotEncoder(drop="first", handle_unknown="ignore")
        branches.append(("onehot", Pipeline([("impute", impute), ("encode", encode)]), categorical))
    columns_of = {column.name: column for column in contract.columns}
    if times:
        encode = COLUMNS.EncodeTimes({name: columns_of[name].origin for name in times})
        branches.append(("datetime", Pipeline([("encode", encode), *_completed(scale)]), times))
    if texts:
        branches.append(("text", Pipeline([("encode", COLUMNS.EncodeText())]), texts))
    cast = COLUMNS.CastColumns(
        numeric=numeric,
        categorical=[*orders, *categorical, *texts],
        datetime=times,
        formats={name: columns_of[name].format for name in (*numeric, *times) if columns_of[name].format},
        missing_words=list(contract.missing_words),
    )
    columns = ColumnTransformer(branches, verbose_feature_names_out=False)
    return Pipeline([("cast", cast), ("columns", columns)])


def pipeline(contract: Contract, estimator: BaseEstimator, threshold: float | None = None) -> Pipeline:
    """Build the whole model, unfitted: raw columns in, the target's own labels or units out.

    Parameters
    ----------
    contract : Contract
        Of the table.
    estimator : estimator
        Unfitted.
    threshold : float, optional
        For two classes: the positive class is predicted where its response, as `response_of` gives it, is at least
        this. None leaves the estimator its own.

    Returns
    -------
    Pipeline
        Its step ``model`` is the estimator, or with a threshold scikit-learn's FixedThresholdClassifier around it;
        `estimator_of` sees through that.
    """
    if threshold is not None:
        estimator = FixedThresholdClassifier(
            estimator, threshold=threshold, pos_label=contract.positive, response_method="auto"
        )
    return Pipeline([*preprocessor(contract).steps, ("model", estimator)])


def estimator_of(model: Pipeline) -> Any:
    """Return the fitted estimator of a fitted pipeline, without the threshold that may stand around it."""
    last = model.named_steps["model"]
    # By type: forests too have an attribute estimator_, which is something else.
    return last.estimator_ if isinstance(last, FixedThresholdClassifier) else last


def response_of(contract: Contract, estimator: Any, rows: Any) -> tuple[npt.NDArray[np.float64], float]:
    """Return what a threshold is set on: the response of the positive class.

    Parameters
    ----------
    contract : Contract
        Of a table of two classes.
    estimator : fitted classifier or pipeline
        Of the table's labels.
    rows : array or DataFrame, shape (n, columns)
        What the estimator takes.

    Returns
    -------
    scores : array of float64, shape (n,)
        Larger for more positive: the probability of the positive class, else the decision function turned toward it.
    default : float
        The threshold that the estimator itself takes: 0.5 or 0.
    """
    if hasattr(estimator, "predict_proba"):
        place = contract.classes.index(contract.positive)
        return np.asarray(estimator.predict_proba(rows), dtype=np.float64)[:, place], 0.5
    scores = toward(contract, np.asarray(estimator.decision_function(rows), dtype=np.float64))
    assert scores is not None
    return scores, 0.0


def scores_of(estimator: Any, rows: Any, classes: int) -> npt.NDArray[np.float64] | None:
    """Rank rows for ROC: by decision_function where there is no predict_proba.

    Parameters
    ----------
    estimator : fitted estimator or pipeline
        A classifier, else None is returned.
    rows : array or DataFrame, shape (n, columns)
        What the estimator takes.
    classes : int
        Number of classes.

    Returns
    -------
    array of float64 or None
        Shape (n,) for two classes, larger for the later class in ``classes_``; shape (n, classes) for more.
    """
    if hasattr(estimator, "predict_proba"):
        probabilities = np.asarray(estimator.predict_proba(rows), dtype=np.float64)
        return probabilities[:, 1] if classes == 2 else probabilities
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(rows), dtype=np.float64)
    return None


def toward(contract: Contract, scores: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64] | None:
    """Turn two-class scores so that larger speaks for the positive class."""
    if scores is not None and len(contract.classes) == 2 and contract.positive == contract.classes[0]:
        return -scores
    return scores

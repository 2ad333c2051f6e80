"""The estimators of Spark's MLlib on offer, their ranges, the course's sweep, and what their size is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from lifecycle.contract import Contract
from lifecycle.errors import UserError, listed
from lifecycle.models import MOST_ONE_HOT, one_hot_columns
from lifecycle.settings import one_of
from lifecycle.spaces import Choice, LogUniform, Range, Space, Steps, Uniform, Values
from lifecycle.trials import FINISHED, TrialRecord

# What the trial's point says of class weights, which MLlib takes as a column.
CLASS_WEIGHT = "class_weight"
BALANCED = Choice((None, "balanced"))
SWEPT = "dtc"
SWEEP: dict[str, Range] = {"maxBins": Steps(5, 15, 2), "maxDepth": Steps(2, 4)}
BYTES = 8


@dataclass(frozen=True)
class SparkModel:
    """An estimator of MLlib on offer.

    Attributes
    ----------
    label : str
        What people call it.
    estimator : str
        Its class in ``pyspark.ml.classification`` or ``pyspark.ml.regression``.
    rank : int
        Simplicity, as in `lifecycle.models`: of equal scores the smaller rank wins.
    space : callable
        ``space(contract)`` gives the ranges that fit a table.
    start : dict
        The point that a search begins with.
    seeded : bool
        Whether there is chance in it.
    most_one_hot : int or None
        One-hot columns over which a trial takes minutes; None for no limit.
    most_classes : int or None
        Classes that it can tell apart.
    """

    label: str
    estimator: str
    rank: int
    space: Callable[[Contract], dict[str, Range]]
    start: Values = field(default_factory=dict)
    seeded: bool = False
    most_one_hot: int | None = None
    most_classes: int | None = None


def _tree(_: Contract) -> dict[str, Range]:
    return {"maxDepth": Steps(2, 12), "maxBins": Steps(16, 64, 16), "minInstancesPerNode": Steps(1, 21, 5)}


def _tree_of_classes(contract: Contract) -> dict[str, Range]:
    return _tree(contract) | {"impurity": Choice(("gini", "entropy")), CLASS_WEIGHT: BALANCED}


def _forest(_: Contract) -> dict[str, Range]:
    return {
        "numTrees": Steps(10, 60, 10),
        "maxDepth": Steps(3, 12),
        "featureSubsetStrategy": Choice(("sqrt", "onethird", "all")),
    }


def _boosting(_: Contract) -> dict[str, Range]:
    return {"maxIter": Steps(10, 50, 10), "maxDepth": Steps(2, 6), "stepSize": LogUniform(0.03, 0.3)}


def _linear(_: Contract) -> dict[str, Range]:
    return {"regParam": LogUniform(1e-5, 1.0), "elasticNetParam": Uniform(0.0, 1.0)}


TREE_START: Values = {"maxDepth": 6, "maxBins": 32, "minInstancesPerNode": 1}
FOREST_START: Values = {"numTrees": 20, "maxDepth": 8, "featureSubsetStrategy": "sqrt"}
BOOSTING_START: Values = {"maxIter": 20, "maxDepth": 4, "stepSize": 0.1}
LINEAR_START: Values = {"regParam": 1e-3, "elasticNetParam": 0.0}
MLLIB: dict[str, dict[str, SparkModel]] = {
    "classification": {
        "logreg": SparkModel(
            "logistic regression of Spark",
            "LogisticRegression",
            1,
            lambda contract: _linear(contract) | {CLASS_WEIGHT: BALANCED},
            LINEAR_START | {CLASS_WEIGHT: None},
        ),
        "dtc": SparkModel(
            "decision tree of Spark",
            "DecisionTreeClassifier",
            2,
            _tree_of_classes,
            TREE_START | {"impurity": "gini", CLASS_WEIGHT: None},
            seeded=True,
            most_one_hot=MOST_ONE_HOT,
        ),
        "rf": SparkModel(
            "random forest of Spark",
            "RandomForestClassifier",
            4,
            lambda contract: _forest(contract) | {CLASS_WEIGHT: BALANCED},
            FOREST_START | {CLASS_WEIGHT: None},
            seeded=True,
            most_one_hot=MOST_ONE_HOT,
        ),
        "gradient_boosting": SparkModel(
            "gradient boosting of Spark",
            "GBTClassifier",
            5,
            lambda contract: _boosting(contract) | {CLASS_WEIGHT: BALANCED},
            BOOSTING_START | {CLASS_WEIGHT: None},
            seeded=True,
            most_one_hot=MOST_ONE_HOT,
            most_classes=2,
        ),
    },
    "regression": {
        "linreg": SparkModel("linear regression of Spark", "LinearRegression", 1, _linear, LINEAR_START),
        "dtr": SparkModel(
            "decision tree of Spark",
            "DecisionTreeRegressor",
            2,
            _tree,
            TREE_START,
            seeded=True,
            most_one_hot=MOST_ONE_HOT,
        ),
        "rf": SparkModel(
            "random forest of Spark",
            "RandomForestRegressor",
            4,
            _forest,
            FOREST_START,
            seeded=True,
            most_one_hot=MOST_ONE_HOT,
        ),
        "gradient_boosting": SparkModel(
            "gradient boosting of Spark",
            "GBTRegressor",
            5,
            _boosting,
            BOOSTING_START,
            seeded=True,
            most_one_hot=MOST_ONE_HOT,
        ),
    },
}
MLLIB_NAMES = tuple(dict.fromkeys(name for table in MLLIB.values() for name in table))


def ranks_of(task: str) -> dict[str, int]:
    """Return the simplicity of each model of a task."""
    return {name: model.rank for name, model in MLLIB[task].items()}


def left_out(contract: Contract) -> dict[str, str]:
    """Tell which models of a task a table is too much for, and why."""
    one_hot, classes = one_hot_columns(contract), len(contract.classes)
    reasons = {}
    for name, model in MLLIB[contract.task].items():
        if model.most_one_hot is not None and one_hot > model.most_one_hot:
            reasons[name] = f"{one_hot:,} one-hot columns, of which it takes at most {model.most_one_hot:,}"
        elif model.most_classes is not None and classes > model.most_classes:
            reasons[name] = f"{classes} classes, of which it takes at most {model.most_classes}"
    return reasons


def choose(asked: Sequence[str], contract: Contract) -> tuple[str, ...]:
    """Return the models to search over.

    Parameters
    ----------
    asked : sequence of str
        As typed; empty for all of the task that the table is not too much for.
    contract : Contract
        Of the table.

    Raises
    ------
    UserError
        For a model that is not known, of the other task, or that the table is too much for.
    """
    offered, reasons = MLLIB[contract.task], left_out(contract)
    fit = [name for name in offered if name not in reasons]
    for name in asked:
        one_of("models", name, MLLIB_NAMES)
        if name not in offered:
            raise UserError(f"models: {name!r} is not for {contract.task}; use one of {listed(offered)}.")
        if name in reasons:
            raise UserError(f"models: the table has {reasons[name]} ({name}); use one of {listed(fit)}.")
    return tuple(dict.fromkeys(asked)) or tuple(fit)


def check_sweep(asked: Sequence[str], contract: Contract) -> None:
    """Refuse the sweep of a decision tree's bins and depth where the table has no classes, or is too much for it.

    Raises
    ------
    UserError
        Naming what would do.
    """
    if contract.task != "classification":
        raise UserError(
            f"sweep: it is of a decision tree for classes, and {contract.target!r} is a quantity; set sweep=false."
        )
    if tuple(asked) not in ((), (SWEPT,)):
        raise UserError(
            f"models: the sweep is of {SWEPT} alone, not of {','.join(asked)!r}; set sweep=false to search over models."
        )
    choose((SWEPT,), contract)


def sweep() -> tuple[Space, list[Values]]:
    """Return the course's sweep: its ranges, and its points row by row, the bins first."""
    every = [[one.value(step) for step in range(one.most + 1)] for one in SWEEP.values() if isinstance(one, Steps)]
    points = [{"model": SWEPT} | dict(zip(SWEEP, values, strict=True)) for values in product(*every)]
    return {SWEPT: SWEEP}, points


def space_of(models: Sequence[str], contract: Contract) -> tuple[Space, list[Values]]:
    """Return the ranges of some models, and the point of each that a search begins with."""
    offered = MLLIB[contract.task]
    space = {name: offered[name].space(contract) for name in models}
    return space, [{"model": name} | offered[name].start for name in models]


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Weigh classes as if each were as frequent as the others: rows over classes times the class's rows; 1 for none."""
    rows, classes = sum(counts), len(counts)
    return [rows / (classes * count) if count else 1.0 for count in counts]


def numbers_in(nodes: int, coefficients: int, classes: int) -> int:
    """Count the numbers that a model holds.

    Parameters
    ----------
    nodes : int
        Of all trees: each has its column, threshold, two children, impurity and prediction, and a count of each class.
    coefficients : int
        Of a linear model, with the intercepts.
    classes : int
        0 for a quantity.
    """
    return nodes * (6 + classes) + coefficients


def megabytes(numbers: int) -> float:
    """Return what numbers take in units of 10**6 bytes: reckoned, since what a JVM holds is not to be measured."""
    return numbers * BYTES / 1e6


def contour_frame(records: Sequence[TrialRecord], score: str) -> pd.DataFrame:
    """Lay out a sweep as a table.

    Parameters
    ----------
    records : sequence of TrialRecord
        Of the sweep.
    score : str
        The tracked metric to show, such as ``cv_accuracy``.

    Returns
    -------
    DataFrame
        ``maxBins`` and ``maxDepth`` (int64), ``score`` (float64; NaN of a trial that failed), by both.
    """
    rows = [
        {
            **{name: record.values[name] for name in SWEEP},
            "score": record.metrics.get(score, np.nan) if record.status == FINISHED else np.nan,
        }
        for record in records
    ]
    return pd.DataFrame(rows).sort_values(list(SWEEP)).reset_index(drop=True)


def regression_scores(figures: Mapping[str, float]) -> dict[str, float]:
    """Score a regression by sums over its rows.

    Parameters
    ----------
    figures : mapping
        ``rows``; ``squares`` and ``absolute``: the sums of the squared and of the absolute errors; ``spread``: the sum
        of the squared distances of the target from its mean.
    """
    rows, squares, spread = figures["rows"], figures["squares"], figures["spread"]
    if not rows:
        return {}
    r2 = 1 - squares / spread if spread else (1.0 if not squares else 0.0)
    return {
        "rmse": float(np.sqrt(squares / rows)),
        "mae": figures["absolute"] / rows,
        "r2": r2 if rows > 1 else float("nan"),
    }


def known_params(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return an estimator's parameters by name, those that tell of columns left out."""
    return {str(name): value for name, value in values.items() if not str(name).endswith("Col")}

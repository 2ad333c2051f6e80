"""Metrics with a name, a direction and a baseline; the sign is turned in the loss and nowhere else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics as skm

from lifecycle.contract import Contract
from lifecycle.settings import one_of

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    Attributes
    ----------
    name : str
        As tracked, without ``train_``, ``test_`` or ``cv_``.
    label : str
        As people write it.
    greater_is_better : bool
        Its direction.
    """

    name: str
    label: str
    greater_is_better: bool

    def loss(self, score: float) -> float:
        """Turn a score into what a search minimises."""
        return -score if self.greater_is_better else score

    def better(self, one: float, other: float) -> bool:
        """Tell whether ``one`` beats ``other``; NaN beats nothing."""
        return self.loss(one) < self.loss(other)


BINARY = {
    "f1": Metric("f1", "F1", True),
    "accuracy": Metric("accuracy", "accuracy", True),
    "precision": Metric("precision", "precision", True),
    "recall": Metric("recall", "recall", True),
    "roc_auc": Metric("roc_auc", "ROC AUC", True),
}
MULTICLASS = {
    "f1": Metric("f1_macro", "macro F1", True),
    "accuracy": Metric("accuracy", "accuracy", True),
    "precision": Metric("precision_macro", "macro precision", True),
    "recall": Metric("recall_macro", "macro recall", True),
    "roc_auc": Metric("roc_auc_ovr", "ROC AUC, one against the rest", True),
}
REGRESSION = {
    "rmse": Metric("rmse", "RMSE", False),
    "mae": Metric("mae", "MAE", False),
    "r2": Metric("r2", "R2", True),
}
# What a user may type, before the task is known.
METRIC_NAMES = tuple(dict.fromkeys([*BINARY, *(m.name for m in MULTICLASS.values()), *REGRESSION]))


def metrics_for(contract: Contract) -> dict[str, Metric]:
    """Return the metrics of a table, by the short names that a user may type."""
    if contract.task == "regression":
        return REGRESSION
    return BINARY if len(contract.classes) == 2 else MULTICLASS


def resolve_metric(name: str, contract: Contract) -> Metric:
    """Find the metric that a user means.

    Parameters
    ----------
    name : str
        As typed; empty for the default, F1 or RMSE. With more than two classes ``f1`` means ``f1_macro``.
    contract : Contract
        Of the table.

    Raises
    ------
    UserError
        For a metric that the task does not have.
    """
    known = metrics_for(contract)
    if not name:
        return next(iter(known.values()))
    full = {metric.name: metric for metric in known.values()}
    if name in full:
        return full[name]
    what = f"metric (a table of {contract.task}, {len(contract.classes)} classes)" if contract.classes else "metric"
    return known[one_of(what if name in METRIC_NAMES else "metric", name, known)]


def score_all(
    contract: Contract, labels: "pd.Series[Any] | Array", predicted: Array, scores: Array | None
) -> dict[str, float]:
    """Score predictions by every metric of the table.

    Parameters
    ----------
    contract : Contract
        Of the table.
    labels : array-like, shape (n,)
        The true target.
    predicted : array, shape (n,)
        Labels, or values in the target's units.
    scores : array or None
        For ROC: shape (n,), larger for the positive class; shape (n, classes) for more than two classes. None
        where the model has none.

    Returns
    -------
    dict of str to float
        By the metrics' full names. ROC is left out where it is not defined (no scores, a class that does not occur).
    """
    truth, guess = np.asarray(labels), np.asarray(predicted)
    if contract.task == "regression":
        return {
            "rmse": float(skm.root_mean_squared_error(truth, guess)),
            "mae": float(skm.mean_absolute_error(truth, guess)),
            "r2": float(skm.r2_score(truth, guess)) if len(truth) > 1 else float("nan"),
        }
    result = score_confusion(contract, _confusion(truth, guess, contract.classes))
    area = _roc_auc(contract, truth, scores)
    if area is not None:
        result["roc_auc" if len(contract.classes) == 2 else "roc_auc_ovr"] = area
    return result


def score_confusion(contract: Contract, confusion: npt.NDArray[Any]) -> dict[str, float]:
    """Score predicted labels by every metric that their counts tell: all but the area under the curve.

    Parameters
    ----------
    contract : Contract
        Of the table.
    confusion : array of int64, shape (classes, classes)
        Rows by their true class (first) and the predicted one, in the contract's order.

    Returns
    -------
    dict of str to float
        By the metrics' full names.
    """
    binary = len(contract.classes) == 2
    suffix = "" if binary else "_macro"
    hits, guessed, true = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    zeros = np.zeros(len(hits))
    precision = np.divide(hits, guessed, out=zeros.copy(), where=guessed > 0)
    recall = np.divide(hits, true, out=zeros.copy(), where=true > 0)
    f1 = np.divide(2 * hits, guessed + true, out=zeros.copy(), where=guessed + true > 0)
    # A class that neither occurs nor is guessed has no place in a macro average (scikit-learn's rule).
    which: Any = contract.classes.index(contract.positive) if binary else (guessed + true) > 0
    result = {"accuracy": float(hits.sum() / confusion.sum())}
    for name, per_class in (("precision", precision), ("recall", recall), ("f1", f1)):
        result[name + suffix] = float(np.mean(per_class[which]))
    return result


def _confusion(truth: Array, guess: Array, classes: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Count (true, predicted) pairs.

    scikit-learn's functions give the same figures and spend a millisecond each on finding out what the labels are;
    with five folds and five metrics that is as long as a small fit.
    """
    place = {label: index for index, label in enumerate(classes)}
    rows = np.fromiter((place[label] for label in truth.tolist()), dtype=np.int64, count=len(truth))
    columns = np.fromiter((place[label] for label in guess.tolist()), dtype=np.int64, count=len(guess))
    size = len(classes)
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)


def _roc_auc(contract: Contract, truth: Array, scores: Array | None) -> float | None:
    if scores is None or len(np.unique(truth)) < len(contract.classes):
        return None
    if len(contract.classes) == 2:
        return float(skm.roc_auc_score(truth == contract.positive, scores))
    areas = [skm.roc_auc_score(truth == label, scores[:, i]) for i, label in enumerate(contract.classes)]
    return float(np.mean(areas))


def adjusted_r2(r2: float, rows: int, columns: int) -> float:
    """Adjust R2 for the number of columns: ``1 - (1 - r2) (n - 1) / (n - p - 1)``; NaN where n <= p + 1."""
    return 1 - (1 - r2) * (rows - 1) / (rows - columns - 1) if rows > columns + 1 else float("nan")


def best_constant(contract: Contract, metric: Metric, labels: "pd.Series[Any]") -> Any:
    """Choose the constant prediction that is best by a metric, on training rows.

    Parameters
    ----------
    contract : Contract
        Of the table.
    metric : Metric
        What to be best by: the mean for RMSE and R2, the median for MAE, for labels the class with the best score
        (the majority for accuracy, the positive class for F1; of equals the more frequent).
    labels : Series
        Of the training rows.

    Returns
    -------
    float, str, int or bool
        The constant.
    """
    if contract.task == "regression":
        return float(labels.median() if metric.name == "mae" else labels.mean())
    frequent = labels.value_counts()
    by_count = sorted(contract.classes, key=lambda label: -int(frequent.get(label, 0)))

    def value(label: Any) -> float:
        guess = np.full(len(labels), label, dtype=object)
        return metric.loss(score_all(contract, labels, guess, None).get(metric.name, 0.5))

    return min(by_count, key=value)


def dummy_score(
    contract: Contract, metric: Metric, train: "pd.Series[Any]", validate: "pd.Series[Any]"
) -> float | None:
    """Score the best constant of the training rows on other rows.

    ROC AUC is scored on the classes' prior, which ranks every row alike: 0.5 by definition.

    Returns
    -------
    float or None
        None where the metric is not defined on these rows.
    """
    scores: Array | None = np.zeros(len(validate))
    if len(contract.classes) > 2:
        scores = np.zeros((len(validate), len(contract.classes)))
    constant = best_constant(contract, metric, train)
    guess = np.full(len(validate), constant, dtype=object if contract.classes else "float64")
    return score_all(contract, validate, guess, scores).get(metric.name)


def dummy_scores(
    contract: Contract,
    train: "pd.Series[Any]",
    pairs: Sequence[tuple[Array, Array]],
    test: "pd.Series[Any] | None",
) -> dict[str, float]:
    """Score the dummies of every metric of a table.

    Parameters
    ----------
    contract : Contract
        Of the table.
    train : Series
        Labels of the training rows.
    pairs : sequence of (fitted, validated) positions
        The folds.
    test : Series or None
        Labels of the test rows, if they have been handed out.

    Returns
    -------
    dict of str to float
        ``dummy_cv_<metric>`` and, given the test rows, ``dummy_test_<metric>``.
    """
    found: dict[str, float] = {}
    for metric in metrics_for(contract).values():
        scores = [dummy_score(contract, metric, train.iloc[fit], train.iloc[validate]) for fit, validate in pairs]
        defined = [score for score in scores if score is not None]
        if defined:
            found[f"dummy_cv_{metric.name}"] = float(np.mean(defined))
        on_test = dummy_score(contract, metric, train, test) if test is not None else None
        if on_test is not None:
            found[f"dummy_test_{metric.name}"] = on_test
    return found


def dummy_of_counts(
    contract: Contract, metric: Metric, train: npt.NDArray[np.int64], validate: npt.NDArray[np.int64]
) -> float | None:
    """Score the best constant label of the training rows on others, by how often each class occurs.

    Parameters
    ----------
    contract : Contract
        Of a classification.
    metric : Metric
        As for `dummy_score`.
    train, validate : array of int64, shape (classes,)
        Rows of each class.

    Returns
    -------
    float or None
        None where the metric is not defined on these rows.
    """
    if metric.name.startswith("roc"):
        return 0.5 if (validate > 0).all() else None

    def score(place: int, counts: npt.NDArray[np.int64]) -> float:
        confusion = np.zeros((len(counts), len(counts)), dtype=np.int64)
        confusion[:, place] = counts
        return score_confusion(contract, confusion)[metric.name]

    by_count = sorted(range(len(train)), key=lambda place: -int(train[place]))
    return score(min(by_count, key=lambda place: metric.loss(score(place, train))), validate)


def over_folds(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Summarise the folds' scores.

    Parameters
    ----------
    scores : sequence of dict
        One for each fold, as `score_all` gives them.

    Returns
    -------
    dict of str to float
        ``cv_<metric>``, the mean over the folds, and ``cv_<metric>_std``, their standard deviation (of the folds
        themselves, divisor n), for the metrics that every fold has.
    """
    found: dict[str, float] = {}
    for name in scores[0] if scores else ():
        values = [fold[name] for fold in scores if name in fold]
        if len(values) == len(scores):
            found[f"cv_{name}"] = float(np.mean(values))
            found[f"cv_{name}_std"] = float(np.std(values))
    return found


def prefixed(prefix: str, scores: Mapping[str, float]) -> dict[str, float]:
    """Name scores by the rows that they are of: ``train_`` or ``test_``."""
    return {f"{prefix}_{name}": value for name, value in scores.items()}


def score_text(value: float) -> str:
    """Write a metric for a line of text: four digits, and from 10,000 up the whole number instead of an exponent.

    Parameters
    ----------
    value : float
        In the metric's unit; may be NaN or infinite.

    Returns
    -------
    str
        For example ``0.7018``, ``27.44``, ``15052`` or ``1.2e+16``.
    """
    return f"{value:.0f}" if 9_999.5 <= abs(value) < 1e15 else f"{value:.4g}"

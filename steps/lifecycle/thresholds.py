"""The decision threshold of a two-class model: chosen on out-of-fold scores, judged on folds that did not choose it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lifecycle.contract import Contract
from lifecycle.errors import UserError
from lifecycle.metrics import score_all

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FoldScores:
    """What models said of the rows of one fold, on which they were not fitted.

    Attributes
    ----------
    labels : array, shape (n,)
        The true labels, in the target's own dtype.
    scores : array of float64, shape (n,)
        The response of the positive class, as `lifecycle.models.response_of` gives it: a probability or a value of
        the decision function, larger for more positive.
    """

    labels: npt.NDArray[Any]
    scores: Floats


def check_threshold(asked: str, contract: Contract) -> None:
    """Refuse a chosen threshold for a table that is not one of two classes.

    Parameters
    ----------
    asked : str
        The option ``threshold``; empty for the estimators' own.
    contract : Contract
        Of the table.

    Raises
    ------
    UserError
        Naming what the target is instead.
    """
    if asked and len(contract.classes) != 2:
        found = f"has {len(contract.classes)} classes" if contract.classes else "is a quantity"
        raise UserError(
            f"threshold: {asked!r} needs a target of two classes, but {contract.target!r} {found}; leave it out."
        )


def cuts(scores: Floats) -> Floats:
    """Return every threshold that tells some rows from others, and the one that takes them all.

    Parameters
    ----------
    scores : array of float64, shape (n,)
        At least one, all finite.

    Returns
    -------
    array of float64, shape (number of distinct scores,)
        Ascending: the lowest score itself, at which every row is positive, then the middle between each distinct
        score and the next. A row is positive where its score is at least the threshold.

    Raises
    ------
    ValueError
        For no scores, or one that is not finite.
    """
    if not len(scores) or not np.isfinite(scores).all():
        raise ValueError("a threshold is chosen among scores: at least one, all of them finite")
    distinct = np.unique(scores)
    lower, upper = distinct[:-1], distinct[1:]
    # Halved before they are added, lest large ones overflow; between neighbouring floats there is no middle.
    middle = lower / 2 + upper / 2
    return np.concatenate([distinct[:1], np.where(middle > lower, middle, upper)])


def f1_of_cuts(positive: npt.NDArray[np.bool_], scores: Floats, thresholds: Floats) -> Floats:
    """Score thresholds by the F1 of the positive class.

    Parameters
    ----------
    positive : array of bool, shape (n,)
        Which rows are of the positive class.
    scores : array of float64, shape (n,)
        Larger for more positive.
    thresholds : array of float64, shape (k,)
        A row is predicted positive where its score is at least the threshold.

    Returns
    -------
    array of float64, shape (k,)
        Between 0 and 1; 0 where no row is positive, truly or by prediction.
    """
    order = np.argsort(scores, kind="stable")
    # Positive rows from each place of the ascending scores to the end.
    hits_from = np.concatenate([np.cumsum(positive[order][::-1])[::-1], [0]])
    first = np.searchsorted(scores[order], thresholds, side="left")
    hits, guessed = hits_from[first], len(scores) - first
    both = guessed + int(positive.sum())
    return np.divide(2.0 * hits, both, out=np.zeros(len(thresholds)), where=both > 0)


def best_f1_threshold(labels: Any, scores: Any, positive: Any, default: float = 0.5) -> float:
    """Choose the threshold with the best F1 of the positive class.

    Parameters
    ----------
    labels : array-like, shape (n,)
        The true labels.
    scores : array-like of float, shape (n,)
        The response of the positive class, larger for more positive, for rows that the models were not fitted on.
    positive : str, int or bool
        The class that F1 is about.
    default : float
        The threshold that the models would take: 0.5 for probabilities, 0 for a decision function.

    Returns
    -------
    float
        One of `cuts`. Of equals the nearest to the default, of these the lower: where the choice does not matter to
        F1, what the model would do by itself is changed as little as possible. The order of the rows does not count.

    Raises
    ------
    ValueError
        For no scores, or one that is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    thresholds = cuts(values)
    f1 = f1_of_cuts(np.asarray(labels) == positive, values, thresholds)
    # The counts are whole numbers, so equal scores are equal to the last bit.
    tied = thresholds[f1 == f1.max()]
    return float(tied[np.argmin(np.abs(tied - default))])


def pooled_threshold(folds: Sequence[FoldScores], contract: Contract, default: float) -> float:
    """Choose the threshold of a final model: by the out-of-fold scores of all folds together.

    Parameters
    ----------
    folds : sequence of FoldScores
        Of one model.
    contract : Contract
        Of a table of two classes.
    default : float
        The model's own threshold, which stands where there are no folds.
    """
    if not folds:
        return default
    labels, scores = (np.concatenate(parts) for parts in zip(*((f.labels, f.scores) for f in folds), strict=True))
    return best_f1_threshold(labels, scores, contract.positive, default)


def cross_fitted_thresholds(folds: Sequence[FoldScores], contract: Contract, default: float) -> list[float]:
    """Choose for each fold the threshold by the other folds' out-of-fold scores.

    Parameters
    ----------
    folds : sequence of FoldScores
        In the order of the folds.
    contract : Contract
        Of a table of two classes.
    default : float
        The models' own threshold.

    Returns
    -------
    list of float
        One for each fold. Under a time split a fold's threshold is chosen on the folds before it alone, as it would
        have been on the day; a fold that has no others takes the default.
    """
    in_order = contract.split == "time"
    return [
        pooled_threshold([*folds[:index], *([] if in_order else folds[index + 1 :])], contract, default)
        for index in range(len(folds))
    ]


def labels_at(scores: Floats, threshold: float, contract: Contract) -> npt.NDArray[Any]:
    """Turn scores into the target's own labels: the positive class where a score is at least the threshold."""
    [negative] = [label for label in contract.classes if label != contract.positive]
    return np.where(scores >= threshold, np.array(contract.positive, object), np.array(negative, object))


def cross_fitted(
    folds: Sequence[FoldScores], contract: Contract, default: float
) -> tuple[list[npt.NDArray[Any]], list[dict[str, float]]]:
    """Score a model with a chosen threshold without letting any row choose the threshold that it is judged by.

    Parameters
    ----------
    folds : sequence of FoldScores
        In the order of the folds.
    contract : Contract
        Of a table of two classes.
    default : float
        The models' own threshold.

    Returns
    -------
    labels : list of array
        The predictions of each fold, cut at the threshold that the other folds chose.
    scores : list of dict of str to float
        Theirs, by the metrics' full names, for `lifecycle.metrics.over_folds`. ROC AUC hangs on no threshold.
    """
    thresholds = cross_fitted_thresholds(folds, contract, default)
    labels = [labels_at(fold.scores, cut, contract) for fold, cut in zip(folds, thresholds, strict=True)]
    scores = [score_all(contract, fold.labels, mine, fold.scores) for fold, mine in zip(folds, labels, strict=True)]
    return labels, scores

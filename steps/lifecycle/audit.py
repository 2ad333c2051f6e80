"""The leak audit: what makes a test score better than the model will be, looked for and shown with its figure.

A finding is a cause to look, not a proof: it names the rows or columns, says how many and how much, and what to do.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from lifecycle.contract import CATEGORICAL, DATETIME, NUMERIC, ORDINAL, TEXT, Column, Contract
from lifecycle.roles import Reading

# Rows of a side that the checks by models see; duplicates and crossings are counted over all rows.
AUDITED_ROWS = 20_000
GIVEN_AWAY = 0.98
SEPARABLE_AUC, SEPARABLE_P, PERMUTATIONS = 0.55, 0.001, 9_999
FEWEST_ROWS = 30


@dataclass(frozen=True)
class Finding:
    """One cause for doubt.

    Attributes
    ----------
    code : str
        ``twins``, ``copy``, ``giveaway``, ``group_crosses``, ``time_crosses``, ``separable``, ``mixed``, ``unit``
        or ``ambiguous_dates``.
    column : str
        What it is about; empty for the rows as a whole.
    count : int
        Rows concerned.
    share : float
        Of the rows looked at, 0 to 1.
    score : float
        The figure behind it, by the code: balanced accuracy, R2 or area under the curve; NaN where there is none.
    message : str
        One sentence: what was found, and what to do.
    """

    code: str
    column: str
    count: int
    share: float
    score: float
    message: str


LEVELS = {"copy": "high", "giveaway": "high", "mixed": "note", "unit": "note"}
COLUMNS = ["code", "level", *(field.name for field in fields(Finding)[1:])]


def as_frame(findings: Iterable[Finding]) -> pd.DataFrame:
    """Write findings as a table, one a row; ``level`` is high, medium or note, by the code."""
    rows = [asdict(finding) | {"level": LEVELS.get(finding.code, "medium")} for finding in findings]
    return pd.DataFrame(rows, columns=COLUMNS)


def mixed(column: str, reading: Reading, count: int, rows: int, example: str) -> Finding:
    """Tell of a column that is read as text because a few of its cells are neither numbers nor dates."""
    what = "numbers" if reading.role == NUMERIC else "dates"
    return Finding(
        "mixed",
        column,
        count,
        count / rows,
        float("nan"),
        f"{column!r} holds {what} but for {count} cells such as {example!r}, so it is read as text; name words for "
        "missing cells by read='nullstr=...', or mend the cells by query.",
    )


def ambiguous_dates(
    column: str, reading: Reading, other: Reading, times: "pd.Series[Any]", otherwise: "pd.Series[Any]"
) -> list[Finding]:
    """Tell of dates whose day and month cannot be told apart, and which form was taken.

    Parameters
    ----------
    column : str
        Of texts, every one of which can be read both ways.
    reading, other : Reading
        As the column is read, and as it could be.
    times, otherwise : Series of datetime64, shape (n,)
        What either gives.

    Returns
    -------
    list of Finding
        One, where some cell is another time by the other form: 05/05/2021 is not.
    """
    differ = np.flatnonzero(((times != otherwise) & times.notna()).to_numpy())
    if not len(differ):
        return []
    taken = times.iloc[differ[0]]
    option = "timestampformat" if "%H" in reading.format else "dateformat"
    return [
        Finding(
            "ambiguous_dates",
            column,
            len(differ),
            len(differ) / len(times),
            float("nan"),
            f"every cell of {column!r} is a date by {reading.format} and by {other.format}; the first is taken, "
            f"so that {taken.strftime(reading.format)!r} is {taken:%Y-%m-%d}; if it is the other, say "
            f"read='{option}={other.format}', or make the date by query.",
        )
    ]


def with_unit(column: str, unit: str, count: int, rows: int) -> Finding:
    """Tell of a column whose numbers are read as text because their unit stands beside them."""
    # As it is typed between double quotes in a shell.
    name = column if column.isidentifier() else f'\\"{column}\\"'
    return Finding(
        "unit",
        column,
        count,
        count / rows,
        float("nan"),
        f"{column!r} holds numbers with {unit!r} beside them, so it is not read as numbers; take it off, such as by "
        f"-P query=\"SELECT * REPLACE (replace({name}, '{unit}', '') AS {name}) FROM data\".",
    )


def twins(count: int, rows: int) -> list[Finding]:
    """Tell of test rows that stand in the training rows too, cell by cell.

    Parameters
    ----------
    count, rows : int
        Test rows with a twin, and all test rows.
    """
    if not count:
        return []
    return [
        Finding(
            "twins",
            "",
            count,
            count / rows,
            float("nan"),
            f"{count} of {rows} test rows ({count / rows:.1%}) have an exact twin among the training rows; "
            "split=hash keeps equal rows on one side, and the metrics without_twins leave them out.",
        )
    ]


def crossing(split: str, column: str, count: int, rows: int, times: bool) -> list[Finding]:
    """Tell of groups on both sides of the split, or of training rows later than test rows.

    Parameters
    ----------
    split : str
        How the rows were split.
    column : str
        Of the groups or times.
    count, rows : int
        Test rows whose group is in training too, or that are not later than every training row; and all test rows.
    times : bool
        Whether the column holds times.
    """
    if not count:
        return []
    what = "are not later than every training row" if times else "belong to a group that is in training too"
    other = "time" if times else "group"
    mend = (
        f"split={other} with split_column={column!r} keeps them apart"
        if split != other
        else f"give a test table whose {'times' if times else 'groups'} are others"
    )
    return [
        Finding(
            "time_crosses" if times else "group_crosses",
            column,
            count,
            count / rows,
            float("nan"),
            f"by {column!r} {count} of {rows} test rows ({count / rows:.1%}) {what}; {mend}.",
        )
    ]


def _codes(rows: pd.DataFrame, column: Column) -> npt.NDArray[Any]:
    """Turn one prepared column into numbers for a tree: levels by frequency, times as nanoseconds."""
    cells = rows[column.name]
    if column.role == NUMERIC:
        return cells.to_numpy(dtype="float64")
    if column.role == DATETIME:
        return cells.astype("int64").where(cells.notna(), np.nan).to_numpy(dtype="float64")
    # In the order of the levels: by first appearance the codes would tell where a row stands.
    codes, _ = pd.factorize(cells, sort=True)
    return np.where(codes < 0, np.nan, codes.astype(np.float64))


def giveaways(rows: pd.DataFrame, labels: "pd.Series[Any]", contract: Contract, seed: int) -> list[Finding]:
    """Look for columns that give the target away alone.

    Parameters
    ----------
    rows : DataFrame
        Training rows as prepared, a sample where there are many.
    labels : Series
        Their target.
    contract : Contract
        Of the table.
    seed : int
        Of the folds.

    Returns
    -------
    list of Finding
        ``copy`` for a column that maps one to one on the classes, or linearly on the values; ``giveaway`` for one
        from which a small tree predicts the target, cross-validated in 3 folds, with a balanced accuracy or R2 of
        at least 0.98. Columns of text are not looked at.
    """
    found = []
    classes = contract.task == "classification"
    if len(rows) < FEWEST_ROWS or (classes and int(labels.value_counts().min()) < 3):
        return []
    for column in contract.columns:
        if column.name not in contract.features or column.role == TEXT:
            continue
        codes = _codes(rows, column)
        if _is_copy(codes, labels, contract, column):
            found.append(
                Finding(
                    "copy",
                    column.name,
                    len(rows),
                    1.0,
                    1.0,
                    f"{column.name!r} is the target under another name: each value goes with one value of "
                    f"{contract.target!r}; leave it out by drop.",
                )
            )
            continue
        score = _alone(codes, labels, contract, column, seed)
        if score >= GIVEN_AWAY:
            metric = "a balanced accuracy" if classes else "an R2"
            found.append(
                Finding(
                    "giveaway",
                    column.name,
                    len(rows),
                    1.0,
                    score,
                    f"{column.name!r} alone predicts {contract.target!r} with {metric} of {score:.3f}; if it is not "
                    "known when the model is asked, leave it out by drop.",
                )
            )
    return found


def _is_copy(codes: npt.NDArray[np.float64], labels: "pd.Series[Any]", contract: Contract, column: Column) -> bool:
    if contract.task == "classification":
        known = ~np.isnan(codes)
        pairs = pd.DataFrame({"code": codes[known], "label": labels.to_numpy()[known]}).drop_duplicates()
        return (
            bool(known.all())
            and len(pairs) == len(contract.classes)
            and pairs["code"].is_unique
            and pairs["label"].is_unique
        )
    if column.role not in (NUMERIC, DATETIME) or np.isnan(codes).any() or codes.std() == 0:
        return False
    return bool(abs(np.corrcoef(codes, labels.to_numpy(dtype="float64"))[0, 1]) > 1 - 1e-9)


def _alone(
    codes: npt.NDArray[np.float64], labels: "pd.Series[Any]", contract: Contract, column: Column, seed: int
) -> float:
    """Score a small tree, or of levels what most rows of each hold, on one column and out of fold."""
    classes = contract.task == "classification"
    # Classes as numbers in their order: a tree would sort the texts anew for each fold and each figure.
    truth = pd.factorize(labels, sort=True)[0] if classes else labels.to_numpy()
    folds = (StratifiedKFold if classes else KFold)(3, shuffle=True, random_state=seed)
    if column.role in (CATEGORICAL, ORDINAL):
        predicted = _by_level(codes, truth, folds, len(contract.classes))
    else:
        cells = codes.reshape(-1, 1)
        tree: Any = DecisionTreeRegressor(max_depth=8, min_samples_leaf=3, random_state=seed)
        if classes:
            tree = DecisionTreeClassifier(max_depth=6, min_samples_leaf=3, class_weight="balanced", random_state=seed)
        predicted = cross_val_predict(tree, cells, truth, cv=folds)
    return float(balanced_accuracy_score(truth, predicted) if classes else r2_score(truth, predicted))


def _by_level(codes: npt.NDArray[np.float64], truth: npt.NDArray[Any], folds: Any, classes: int) -> npt.NDArray[Any]:
    """Predict each fold by the levels of the others: the likeliest of the classes, all alike before, or the mean."""
    # A missing cell is a level as well.
    levels = np.where(np.isnan(codes), 0, codes + 1).astype(np.int64)
    predicted = np.zeros(len(truth), dtype=truth.dtype)
    for fitted, held in folds.split(levels, truth):
        if classes:
            weights = 1 / np.bincount(truth[fitted], minlength=classes)
            counts = np.zeros((levels.max() + 1, classes))
            np.add.at(counts, (levels[fitted], truth[fitted]), weights[truth[fitted]])
            predicted[held] = counts[levels[held]].argmax(axis=1)
        else:
            rows = np.bincount(levels[fitted], minlength=levels.max() + 1)
            sums = np.bincount(levels[fitted], weights=truth[fitted], minlength=levels.max() + 1)
            means = np.where(rows > 0, sums / np.maximum(rows, 1), truth[fitted].mean())
            predicted[held] = means[levels[held]]
    return predicted


def separable(
    train: pd.DataFrame, test: pd.DataFrame, contract: Contract, seed: int, apart_by: str = ""
) -> list[Finding]:
    """Ask a classifier to tell training rows from test rows.

    It is fitted on one half of both and judged on the other, so that the permutation test of its area under the
    curve is exact: the scores of the second half do not know its labels (a classifier two-sample test, Lopez-Paz and
    Oquab, 2017).

    Parameters
    ----------
    train, test : DataFrame
        Rows as prepared, samples where there are many.
    contract : Contract
        Of the table.
    seed : int
        Of the halves, the classifier and the permutations.
    apart_by : str
        The column of a time split, which the classifier is not given: it tells the sides apart because it was asked to.

    Returns
    -------
    list of Finding
        One, where the area is over 0.55 and its one-sided p below 0.001.
    """
    if min(len(train), len(test)) < FEWEST_ROWS:
        return []
    asked = set(contract.features) - {apart_by}
    features = [column for column in contract.columns if column.name in asked and column.role != TEXT]
    if not features:
        return []
    both = pd.concat([train, test], ignore_index=True)
    cells = np.column_stack([_codes(both, column) for column in features])
    side = np.repeat([0, 1], [len(train), len(test)])
    chance = np.random.default_rng(seed)
    half = np.zeros(len(side), dtype=bool)
    for value in (0, 1):
        own = chance.permutation(np.flatnonzero(side == value))
        half[own[: len(own) // 2]] = True
    classifier = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=15, random_state=seed)
    # On so few rows its threads wait for each other, on busy cores for seconds; one also gives the same sums anywhere.
    with threadpool_limits(1):
        classifier.fit(cells[half], side[half])
        ranks = rankdata(classifier.decision_function(cells[~half]))
    # The permutations take longer than the classifier, and most tables need none.
    if _area(ranks, side[~half]) <= SEPARABLE_AUC:
        return []
    area, p = permuted_area(ranks, side[~half], chance)
    if p >= SEPARABLE_P:
        return []
    column = features[_telling(classifier, cells[~half], side[~half], chance)].name
    return [
        Finding(
            "separable",
            column,
            len(test),
            1.0,
            area,
            f"a classifier tells test rows from training rows with an area under the curve of {area:.3f} "
            f"(p {p:.4f}), most of all by {column!r}; what holds for one side may not hold for the other.",
        )
    ]


def permuted_area(
    ranks: npt.NDArray[np.float64], side: npt.NDArray[np.int64], chance: np.random.Generator
) -> tuple[float, float]:
    """Return an area under the ROC curve and its one-sided permutation p.

    Parameters
    ----------
    ranks : array of float64, shape (n,)
        Of the scores, from 1.
    side : array of int, shape (n,)
        0 or 1.
    chance : Generator
        Draws the permutations.

    Returns
    -------
    area, p : float
        ``p`` counts the observed order among the 9,999 permuted ones.
    """
    ones = int(side.sum())
    observed = ranks[side == 1].sum()
    # The sum of the ranks of a random subset is all that a permutation changes.
    above = sum(chance.permutation(ranks)[:ones].sum() >= observed for _ in range(PERMUTATIONS))
    return _area(ranks, side), (above + 1) / (PERMUTATIONS + 1)


def _area(ranks: npt.NDArray[np.float64], side: npt.NDArray[np.int64]) -> float:
    ones = int(side.sum())
    return float((ranks[side == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(side) - ones)))


def _telling(classifier: Any, cells: npt.NDArray[np.float64], side: npt.NDArray[np.int64], chance: Any) -> int:
    """Return the column whose shuffling costs the classifier most."""
    losses = []
    for column in range(cells.shape[1]):
        shuffled = cells.copy()
        shuffled[:, column] = chance.permutation(shuffled[:, column])
        scores = classifier.decision_function(shuffled)
        losses.append(scores[side == 1].mean() - scores[side == 0].mean())
    return int(np.argmin(losses))


def said(findings: Iterable[Finding]) -> str:
    """Name findings in one line: code, column, share."""
    return "; ".join(
        f"{finding.code}{f' {finding.column}' if finding.column else ''} {finding.share:.1%}" for finding in findings
    )

"""Which rows train, which rows test, and which fold each training row is in.

Every split is a function of the rows and the seed alone, so that any step, engine or machine gets the same one.
"""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    train_test_split,
)

from lifecycle.columns import levels_of
from lifecycle.errors import UserError, shown

ISO_TIME = re.compile(r"\d{4}-\d{2}(-\d{2}([ T]\d{2}(:\d{2}){1,2})?)?")
# 2**64 over the golden ratio: its multiples differ in half of their bits.
GOLDEN = 0x9E3779B97F4A7C15
# Training rows up to which a hash split deals its folds out; of more, each row's hash alone tells its fold.
DEALT_ROWS = 200_000
# Bits that are left out where a fold is told from a hash, so that the rest is no negative number anywhere.
FINER_BITS = 11
Rows = npt.NDArray[np.int64]


def split_rows(
    target: "pd.Series[Any]",
    split: str,
    test_size: float,
    seed: int,
    by: "pd.Series[Any] | None" = None,
) -> tuple[Rows, Rows]:
    """Part the rows of one table into training and test rows.

    Parameters
    ----------
    target : Series, shape (n,)
        The labels or values; a stratified split keeps their shares.
    split : str
        ``random`` is scikit-learn's ``train_test_split(random_state=seed)`` on the rows as read; ``stratified``
        the same with the classes' shares kept; ``group`` keeps each value of ``by`` on one side; ``time`` tests on
        the latest rows by ``by`` (rows of one time stay together); ``hash`` puts a row where the hash of ``by``
        falls, whatever other rows there are.
    test_size : float
        The test rows' share, above 0 and below 1.
    seed : int
        Of the random, stratified, group and hash splits.
    by : Series, shape (n,), optional
        Groups, times, or what to hash.

    Returns
    -------
    train, test : arrays of int64
        Positions of rows. The order is the splitter's own: scikit-learn shuffles, and what a tree learns can
        depend on it.

    Raises
    ------
    UserError
        Where a side would be empty, or a class is too rare to be on both.
    """
    positions = np.arange(len(target), dtype=np.int64)
    if split in ("random", "stratified"):
        if split == "stratified":
            counts = target.value_counts()
            if int(counts.iloc[-1]) < 2:
                raise UserError(
                    f"split: the class {shown(counts.index[-1])} of {target.name!r} has a single row, which a "
                    "stratified split cannot put on both sides; leave the class out by query, or set split=random."
                )
        try:
            train, test = train_test_split(
                positions,
                test_size=test_size,
                random_state=seed,
                stratify=_codes(target) if split == "stratified" else None,
            )
        except ValueError as error:
            raise UserError(
                f"test_size: {test_size:g} of {len(target)} rows cannot be split {split}: {_words(error)}; "
                "give more rows or another test_size."
            ) from error
        return train, test
    if by is None:
        raise ValueError(f"a {split} split needs the column to split by")
    if split != "hash":
        check_complete(by)
    if split == "time":
        check_ordered(by)
    if split == "group":
        if by.nunique() < 2:
            raise UserError(f"split_column: {by.name!r} has one group only; choose a column with several.")
        splitter = GroupShuffleSplit(1, test_size=test_size, random_state=seed)
        try:
            [(train, test)] = splitter.split(positions, groups=by.to_numpy())
        except ValueError as error:
            raise UserError(
                f"test_size: {test_size:g} of the {by.nunique()} groups in {by.name!r} leaves one side empty; "
                "give another test_size or a column with more groups."
            ) from error
    elif split == "time":
        ranks = by.rank(method="min", pct=True).to_numpy()
        # Rows of one moment share a rank, so they fall on one side.
        border = np.quantile(ranks, 1 - test_size, method="lower")
        order = np.argsort(by.to_numpy(), kind="stable")
        train, test = order[ranks[order] <= border], order[ranks[order] > border]
    else:
        fractions = _hashed(by, seed) / 2.0**64
        train, test = positions[fractions >= test_size], positions[fractions < test_size]
    if not len(train) or not len(test):
        raise UserError(
            f"split: {split} by {by.name!r} leaves {len(train)} training and {len(test)} test rows of {len(by)}; "
            "give more rows, another column or another test_size."
        )
    return train, test


def _codes(target: "pd.Series[Any]") -> npt.NDArray[np.int16]:
    """Return each label's place among the classes, in two bytes: scikit-learn sorts millions of those by radix."""
    return pd.factorize(target, sort=True)[0].astype(np.int16)


def _hashed(by: "pd.Series[Any]", seed: int) -> npt.NDArray[np.uint64]:
    """Hash each cell by the seed; cells of uint64 are digests already, of the rows' content."""
    if by.dtype == np.uint64:
        key = np.uint64((seed + 1) * GOLDEN % 2**64)
        return pd.util.hash_array(by.to_numpy(dtype=np.uint64) ^ key)
    return hashed_texts(levels_of(by).fillna("").to_numpy(dtype=object), seed)


def deal(hashes: npt.NDArray[np.uint64], codes: npt.NDArray[np.int16], folds: int) -> Rows:
    """Deal rows out into folds by their hashes, whatever order they come in.

    Parameters
    ----------
    hashes : array of uint64, shape (n,)
        Rows of one hash go into one fold.
    codes : array of int16, shape (n,)
        Their classes; rows of one hash count as of the first class among them.
    folds : int
        How many.

    Returns
    -------
    array of int64, shape (n,)
        0 to ``folds - 1``: folds have as many hashes, but for one, and each its share of every class.

    Raises
    ------
    UserError
        Where there are fewer different hashes than folds.
    """
    different, which = np.unique(hashes, return_inverse=True)
    if len(different) < folds:
        raise UserError(
            f"folds: the {len(hashes)} training rows hold {len(different)} different values to hash, fewer than "
            f"{folds} folds; give fewer folds or more rows."
        )
    classes = np.full(len(different), np.iinfo(np.int16).max, dtype=np.int16)
    np.minimum.at(classes, which, codes)
    dealt = np.empty(len(different), dtype=np.int64)
    dealt[np.lexsort((different, classes))] = np.arange(len(different))
    return dealt[which] % folds


def hashed_texts(texts: npt.NDArray[Any], seed: int) -> npt.NDArray[np.uint64]:
    """Hash texts by the seed, each by itself: a later row may change the type that a whole column is read with."""
    return pd.util.hash_array(texts, hash_key=f"{seed:016d}", categorize=False)


def check_complete(by: "pd.Series[Any]") -> None:
    """Refuse groups or times with missing cells.

    Raises
    ------
    UserError
        Naming the column.
    """
    if by.isna().any():
        raise UserError(
            f"split_column: {by.name!r} has {int(by.isna().sum())} missing cells, and a row without one belongs to "
            "neither side; fill or leave them out by query."
        )


def check_ordered(by: "pd.Series[Any]") -> None:
    """Refuse times that are text, whose order is the alphabet's, unless it is that of ISO 8601.

    Raises
    ------
    UserError
        Naming the column and the query that would do.
    """
    dates = types.is_datetime64_any_dtype(by) or all(hasattr(value, "isoformat") for value in by)
    iso = not dates and all(ISO_TIME.fullmatch(str(value)) for value in by) and by.astype(str).str.len().nunique() == 1
    if not dates and not iso and (types.is_bool_dtype(by) or not types.is_numeric_dtype(by)):
        raise UserError(
            f"split_column: {by.name!r} holds {shown(by.iloc[0])}, which is neither a date nor a number, so its "
            "order in time is not known; turn it into a date by query, such as strptime(column, '%d.%m.%Y')."
        )


def _words(error: Exception) -> str:
    """Return what a library says, fit for the middle of a sentence."""
    return str(error).split(". ")[0].replace(";", ",").rstrip(". ")


def assign_folds(
    target: "pd.Series[Any]",
    task: str,
    split: str,
    folds: int,
    seed: int,
    by: "pd.Series[Any] | None" = None,
) -> npt.NDArray[np.int64]:
    """Give every training row its fold.

    Parameters
    ----------
    target : Series, shape (n,)
        Of the training rows.
    task, split : str
        Classification folds are stratified; ``group`` keeps groups whole; ``time`` makes blocks in order; ``hash``
        deals rows out in the order of the hash of ``by``, class by class, those of one hash into one fold; of more
        than 200,000 rows the hash itself tells the fold, wherever the row lies and whatever others there are.
    folds : int
        At least 2.
    seed : int
        Of the shuffle or the hash.
    by : Series, shape (n,), optional
        Groups, times, or what to hash.

    Returns
    -------
    array of int64, shape (n,)
        0 to ``folds - 1``.

    Raises
    ------
    UserError
        Where there are fewer rows, rows of a class, groups, times or values to hash than folds.
    """
    if len(target) < 2 * folds:
        raise UserError(
            f"folds: {len(target)} training rows are too few for {folds} folds of at least two; "
            "give fewer folds or more rows."
        )
    if task == "classification" and split != "time":
        counts = target.value_counts()
        if int(counts.iloc[-1]) < folds:
            raise UserError(
                f"folds: the class {shown(counts.index[-1])} of {target.name!r} has {int(counts.iloc[-1])} training "
                f"rows, fewer than {folds} folds; give fewer folds, more rows, or leave the class out by query."
            )
    places = np.zeros(len(target), dtype=np.int64)
    rows = np.zeros((len(target), 1))
    if split == "time" and by is not None:
        # The quantile of the rank, so that rows of one moment fall into one block.
        ranks = (by.rank(method="min").to_numpy() - 1) / len(by)
        places = np.minimum((ranks * folds).astype(np.int64), folds - 1)
        if len(np.unique(places)) < folds:
            raise UserError(
                f"folds: the times in {by.name!r} are too few for {folds} blocks in order; give fewer folds."
            )
        return places
    if split == "hash" and by is not None:
        # The hash of the hash: the row's side of the table was told by the first.
        hashes = _hashed(pd.Series(_hashed(by, seed)), seed)
        if len(target) > DEALT_ROWS:
            return (hashes >> np.uint64(FINER_BITS)).astype(np.int64) % folds
        return deal(hashes, _codes(target) if task == "classification" else np.zeros(len(by), dtype=np.int16), folds)
    splitter: Any
    if split == "group" and by is not None:
        if by.nunique() < folds:
            raise UserError(
                f"folds: {by.name!r} has {by.nunique()} groups in training, fewer than {folds} folds; give fewer folds."
            )
        kind = StratifiedGroupKFold if task == "classification" else GroupKFold
        splitter = kind(folds, shuffle=True, random_state=seed)
        pairs = splitter.split(rows, _codes(target) if task == "classification" else None, groups=by.to_numpy())
    else:
        kind = StratifiedKFold if task == "classification" else KFold
        splitter = kind(folds, shuffle=True, random_state=seed)
        pairs = splitter.split(rows, _codes(target) if task == "classification" else None)
    for fold, (_, validated) in enumerate(pairs):
        places[validated] = fold
    return places

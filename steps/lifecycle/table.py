"""The prepared table: training rows with their folds, test rows kept apart, and the contract of both."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from lifecycle.columns import levels_of, numbers_of
from lifecycle.contract import (
    NUMERIC,
    Column,
    Contract,
    check_finite,
    check_header,
    check_order,
    describe,
    find_positive,
    find_task,
    labels_of,
)
from lifecycle.errors import UserError, listed
from lifecycle.settings import FOLD_COLUMN, TableSettings
from lifecycle.split import assign_folds, check_complete, check_ordered, row_texts, split_rows

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PreparedTable:
    """What a step trains on. It holds no test rows: those are handed out once, by the step's run.

    Attributes
    ----------
    contract : Contract
        Of the whole table.
    rows : DataFrame, shape (n, features)
        Training rows, the contract's features in order.
    labels : Series, shape (n,)
        Their target: the task's own dtype.
    folds : array of int64, shape (n,)
        The fold of each row.
    """

    contract: Contract
    rows: pd.DataFrame
    labels: "pd.Series[Any]"
    folds: Positions

    @cached_property
    def fold_pairs(self) -> list[tuple[Positions, Positions]]:
        """Positions fitted on and validated on, a pair for each fold.

        Folds of a time split are blocks in order, each validated on all before it; the first is fitted on alone.
        """
        return list(self._pairs())

    def _pairs(self) -> Iterator[tuple[Positions, Positions]]:
        in_order = self.contract.split == "time"
        for fold in np.unique(self.folds):
            fitted = self.folds < fold if in_order else self.folds != fold
            if fitted.any():
                yield np.flatnonzero(fitted), np.flatnonzero(self.folds == fold)


@dataclass(frozen=True)
class TestRows:
    """Test rows, handed out once in a run, after its choices: the features in order, and the target."""

    rows: pd.DataFrame
    labels: "pd.Series[Any]"


def prepare(
    raw: pd.DataFrame, settings: TableSettings, raw_test: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, Contract]:
    """Turn a raw table into the prepared one.

    Parameters
    ----------
    raw : DataFrame
        After the query, as read.
    settings : TableSettings
        What was asked.
    raw_test : DataFrame, optional
        A second table that is the test table, after the same query.

    Returns
    -------
    train : DataFrame
        Features, target and the fold column, in the split's order.
    test : DataFrame
        Features and target.
    contract : Contract
        Task, labels, split and columns, settled.

    Raises
    ------
    UserError
        For whatever makes the table unfit; see the checks of `lifecycle.contract` and `lifecycle.split`.
    """
    check_header([str(name) for name in raw.columns], settings, len(raw))
    kept = raw[raw[settings.target].notna()].reset_index(drop=True)
    check_finite(kept[settings.target], "target")
    task = find_task(kept[settings.target], settings.task) if len(kept) else "regression"
    labels = labels_of(kept[settings.target], task, settings.target)
    split = _settled_split(settings, task)
    if task == "regression" and settings.positive:
        raise UserError(
            f"positive: {settings.positive!r} was given, but {settings.target!r} is a quantity; leave it out."
        )
    by = kept[settings.split_column] if settings.split_column else None
    if by is not None and split != "hash":
        check_complete(by)
    if by is not None and split == "time":
        check_ordered(by)
    if split == "hash" and by is None:
        by = row_texts(kept)
    # Groups of the test rows are new by design, so a model cannot learn from their names.
    left = {settings.target, *settings.drop, settings.split_column if split == "group" else settings.target}
    inputs = [name for name in kept.columns if name not in left]
    if raw_test is not None:
        train_rows = np.arange(len(kept))
        test_kept, test_labels = _second_table(raw_test, settings, task, inputs, labels)
    else:
        train_rows, test_rows = split_rows(labels, split, settings.test_size, settings.seed, by)
        test_kept, test_labels = kept.iloc[test_rows], labels.iloc[test_rows].reset_index(drop=True)
    train_kept = kept.iloc[train_rows]
    contract = Contract(
        target=settings.target,
        task=task,
        classes=tuple(sorted(labels.unique().tolist())) if task == "classification" else (),
        positive=find_positive(labels, settings.positive) if task == "classification" else None,
        split=split,
        query=settings.query,
        columns=_columns(train_kept, test_kept, inputs, settings),
        rows_without_target=len(raw) - len(kept),
    )
    if not contract.features:
        roles = listed(f"{column.name} ({column.role})" for column in contract.left_out)
        raise UserError(f"data: {settings.data!r} has no column to learn from; beside the target there are: {roles}.")
    fold_by = by.iloc[train_rows].reset_index(drop=True) if by is not None and split in ("group", "time") else None
    train_labels = labels.iloc[train_rows].reset_index(drop=True)
    _check_classes(train_labels, contract, split)
    folds = assign_folds(train_labels, task, split, settings.folds, settings.seed, fold_by)
    train = features_of(train_kept, contract)
    train[settings.target], train[FOLD_COLUMN] = train_labels, folds
    for fit, _ in read_prepared(train, contract).fold_pairs:
        _check_classes(train_labels.iloc[fit], contract, split, "folds")
    test = _test_features(test_kept, contract, settings).assign(**{settings.target: test_labels})
    return train, test, contract


def _settled_split(settings: TableSettings, task: str) -> str:
    if settings.split == "auto":
        return "stratified" if task == "classification" else "random"
    if settings.split == "stratified" and task == "regression":
        raise UserError(
            f"split: a stratified split needs classes, but {settings.target!r} is a regression target; "
            "set split=random, group, time or hash."
        )
    return settings.split


def _columns(train: pd.DataFrame, test: pd.DataFrame, inputs: list[str], settings: TableSettings) -> tuple[Column, ...]:
    """Describe the columns by the training rows alone: what a model reads must not hang on test rows."""
    orders = {order.column: order for order in settings.ordinal}
    for name in inputs:
        for rows, option in ((train, "data"), (test, "test_data" if settings.test_data else "data")):
            check_finite(rows[name], option)
            if name in orders:
                check_order(rows[name], orders[name])
    return tuple(describe(train[name], orders.get(name)) for name in inputs)


def _check_classes(labels: "pd.Series[Any]", contract: Contract, split: str, where: str = "split") -> None:
    lost = sorted(set(contract.classes) - set(labels.unique().tolist()))
    if lost and where == "split":
        raise UserError(
            f"split: {split} leaves no training row of the class {lost[0]!r}; set split=stratified or give more rows."
        )
    if lost:
        raise UserError(
            f"folds: by a {split} split the rows that a fold is fitted on have none of the class {lost[0]!r}; "
            "give fewer folds or more rows, or set split=stratified."
        )


def _test_features(rows: pd.DataFrame, contract: Contract, settings: TableSettings) -> pd.DataFrame:
    try:
        return features_of(rows, contract)
    except ValueError as error:
        option = "test_data" if settings.test_data else "data"
        raise UserError(f"{option}: {error} among the test rows; mend the cell, for example by query.") from error


def _second_table(
    raw_test: pd.DataFrame,
    settings: TableSettings,
    task: str,
    inputs: list[str],
    labels: "pd.Series[Any]",
) -> tuple[pd.DataFrame, "pd.Series[Any]"]:
    absent = [name for name in (*inputs, settings.target) if name not in raw_test.columns]
    if absent:
        raise UserError(
            f"test_data: {settings.test_data!r} lacks the columns {listed(absent)}; "
            "give a table with the training table's columns, or leave them out by drop."
        )
    kept = raw_test[raw_test[settings.target].notna()].reset_index(drop=True)
    if not len(kept):
        raise UserError(f"test_data: {settings.test_data!r} has no row with a target; give a table that has.")
    found = kept[settings.target]
    if task == "regression":
        if types.is_bool_dtype(found) or not types.is_numeric_dtype(found):
            raise UserError(f"test_data: {settings.target!r} is not numeric there; give the same quantity as in data.")
        check_finite(found, "test_data")
        return kept, found.astype("float64")
    # By the text of the label: a table that holds only 0 and 1 may have been read with another dtype.
    by_text = {text: label for text, label in zip(levels_of(labels), labels, strict=True)}
    texts = levels_of(found)
    unknown = [text for text in texts.unique() if text not in by_text]
    if unknown:
        raise UserError(
            f"test_data: {settings.target!r} holds {unknown[0]!r}, which the training rows do not; "
            f"their classes are {listed(by_text)}."
        )
    return kept, texts.map(by_text).astype(labels.dtype)


def features_of(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Give raw rows the contract's features and types.

    Parameters
    ----------
    rows : DataFrame
        With at least the contract's features.
    contract : Contract
        Of the table.

    Returns
    -------
    DataFrame
        The features in order, numeric ones as float64, the others as text, with a new index.
    """
    numeric = set(contract.of_role(NUMERIC))
    cast = {name: (numbers_of if name in numeric else levels_of)(rows[name]) for name in contract.features}
    return pd.DataFrame(cast).reset_index(drop=True)


def profile(train: pd.DataFrame, test: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Summarise the columns that models read, and the target, as one tidy table.

    Parameters
    ----------
    train, test : DataFrame
        As `prepare` returns them.
    contract : Contract
        Of the table.

    Returns
    -------
    DataFrame
        A row a column: ``column``, ``role``, ``missing`` (share of all rows), ``distinct``, ``mean``, ``std``,
        ``low``, ``median``, ``high`` (numeric ones, in the column's units), ``most_frequent`` and its ``share``.
    """
    rows = pd.concat([train.drop(columns=FOLD_COLUMN), test], ignore_index=True)
    roles = {column.name: column.role for column in contract.columns} | {contract.target: "target"}
    summaries = []
    for name in rows.columns:
        cells = rows[name]
        summary: dict[str, Any] = {"column": name, "role": roles[name], "missing": cells.isna().mean()}
        summary["distinct"] = cells.nunique()
        if roles[name] == NUMERIC or (roles[name] == "target" and contract.task == "regression"):
            summary |= {
                "mean": cells.mean(),
                "std": cells.std(),
                "low": cells.min(),
                "median": cells.median(),
                "high": cells.max(),
            }
        counts = cells.value_counts()
        summary |= {"most_frequent": counts.index[0], "share": counts.iloc[0] / len(cells)} if len(counts) else {}
        summaries.append(summary)
    return pd.DataFrame(summaries)


def read_prepared(train: pd.DataFrame, contract: Contract) -> PreparedTable:
    """Build the table that steps train on from the stored training rows and the contract."""
    return PreparedTable(
        contract=contract,
        rows=train[contract.features],
        labels=train[contract.target],
        folds=train[FOLD_COLUMN].to_numpy(dtype=np.int64),
    )

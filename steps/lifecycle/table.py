"""The prepared table: training rows with their folds, test rows kept apart, and the contract of both."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types
from sklearn.model_selection import train_test_split

from lifecycle.audit import Finding, ambiguous_dates, mixed, with_unit
from lifecycle.cells import Observed
from lifecycle.checks import Breach, judge, refuse
from lifecycle.columns import levels_of
from lifecycle.contract import (
    CATEGORICAL,
    DATETIME,
    LEFT_OUT,
    NUMERIC,
    ORDINAL,
    Column,
    Contract,
    check_finite,
    check_header,
    check_order,
    find_positive,
    find_task,
    infinite,
    labels_of,
)
from lifecycle.errors import UserError, listed
from lifecycle.reading import parse_read
from lifecycle.roles import (
    NESTED,
    TIME,
    WORDS,
    Reading,
    Summary,
    are_codes,
    check_role,
    column_of,
    kind_of,
    readings_of,
    role_of,
    swapped,
    unit_of,
)
from lifecycle.settings import FOLD_COLUMN, TableSettings
from lifecycle.split import assign_folds, check_complete, check_ordered, split_rows

Positions = npt.NDArray[np.int64]
# Above this many rows they keep the table's own order within a side: sorting them costs more than all the rest.
SHUFFLED_ROWS = 1_000_000


class Described(Protocol):
    """What is asked of rows to describe and to check them, wherever they lie and whether or not they have an order.

    A missing cell is an empty one, a blank one, or a word for missing.
    """

    names: list[str]
    types: dict[str, str]

    def __len__(self) -> int:
        """Return the number of rows."""

    def examples(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return some different present cells of columns of texts."""

    def unread(self, name: str, reading: Reading) -> tuple[int, str]:
        """Return how many present cells cannot be read so, and one of them."""

    def summaries(self, readings: Mapping[str, Reading | None]) -> dict[str, Summary]:
        """Return a summary of each column named, its texts read as something else where a reading is given."""

    def levels(self, name: str) -> list[str]:
        """Return the different levels of a column as texts."""

    def read_both(self, name: str, reading: Reading, other: Reading) -> "tuple[pd.Series[Any], pd.Series[Any]]":
        """Return a column of texts read as times in two ways, row by row; of a large table some of the rows."""

    def observe(self, contract: Contract) -> Observed:
        """Count what a contract's check needs, each cell as the models' first step would read it."""


class Rows(Described, Protocol):
    """Rows of a table that have an order."""

    def take(self, positions: Positions) -> "Rows":
        """Return some rows, in the table's order."""

    def column(self, name: str, reading: Reading | None = None) -> "pd.Series[Any]":
        """Return a column whole, its texts read as something else where a reading is given."""

    def contents(self) -> "pd.Series[Any]":
        """Return a digest of each row's content, uint64: equal rows have equal ones, whatever types they have."""


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
        """Positions fitted on and validated on, a pair for each fold."""
        return list(fold_pairs(self.folds, self.contract.split))


def fold_pairs(folds: Positions, split: str) -> Iterator[tuple[Positions, Positions]]:
    """Pair the rows fitted on with the rows validated on, for each fold.

    Folds of a time split are blocks in order, each validated on all before it; the first is fitted on alone.
    """
    for fold in np.unique(folds):
        fitted = folds < fold if split == "time" else folds != fold
        if fitted.any():
            yield np.flatnonzero(fitted), np.flatnonzero(folds == fold)


@dataclass(frozen=True)
class TestRows:
    """Test rows, handed out once in a run, after its choices.

    Attributes
    ----------
    rows : DataFrame, shape (n, features)
        The features in order.
    labels : Series, shape (n,)
        The target.
    twins : array of bool, shape (n,)
        Which of them stand in the training rows too, cell by cell.
    """

    rows: pd.DataFrame
    labels: "pd.Series[Any]"
    twins: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Prepared:
    """What is decided about a table: which rows go where, and what its columns are.

    Attributes
    ----------
    contract : Contract
        Task, labels, split and columns, settled.
    train, test : arrays of int64
        Positions in the raw table (``test`` in the second one, where there is one), in the order to write them.
    train_labels, test_labels : Series
        The target of those rows, in the task's own dtype.
    folds : array of int64
        The fold of each training row.
    train_summaries : dict of str to Summary
        Of the columns but the target, by name.
    observed : Observed
        What was counted in the test rows.
    breaches : tuple of Breach
        What the test rows do against the contract; warnings alone, since errors are refused.
    findings : tuple of Finding
        What the cells themselves give cause to doubt.
    """

    contract: Contract
    train: Positions
    test: Positions
    train_labels: "pd.Series[Any]"
    test_labels: "pd.Series[Any]"
    folds: Positions
    train_summaries: dict[str, Summary]
    observed: Observed
    breaches: tuple[Breach, ...]
    findings: tuple[Finding, ...]


def prepare(raw: Rows, settings: TableSettings, raw_test: Rows | None = None) -> Prepared:
    """Decide what becomes of a raw table.

    Parameters
    ----------
    raw : Rows
        After the query.
    settings : TableSettings
        What was asked.
    raw_test : Rows, optional
        A second table that is the test table, after the same query.

    Returns
    -------
    Prepared
        Nothing is written.

    Raises
    ------
    UserError
        For whatever makes the table unfit; see the checks of `lifecycle.contract`, `lifecycle.roles` and
        `lifecycle.split`.
    """
    check_header(raw.names, settings, len(raw))
    kind = kind_of(raw.types[settings.target])
    if kind in (NESTED, TIME):
        what = "dates" if kind == TIME else f"cells of the type {raw.types[settings.target]}"
        raise UserError(
            f"target: {settings.target!r} holds {what}; choose a column of labels or numbers, or make one by query."
        )
    reading = reading_of(raw, settings.target, NUMERIC)
    if kind == WORDS and reading is None and settings.task != "classification":
        check_numbers(raw, settings.target)
    target = raw.column(settings.target, reading)
    kept = np.flatnonzero(target.notna().to_numpy())
    target = target.iloc[kept].reset_index(drop=True)
    if target.dtype == object:
        # Millions of texts are few numbers from here on.
        target = target.astype("category")
    check_finite(target, "target")
    task = find_task(target, settings.task) if len(kept) else "regression"
    labels = labels_of(target, task, settings.target)
    split = _settled_split(settings, task)
    if task == "regression" and settings.positive:
        raise UserError(
            f"positive: {settings.positive!r} was given, but {settings.target!r} is a quantity; leave it out."
        )
    by = _split_by(raw, settings, split, kept)
    if raw_test is None:
        train, test = split_rows(labels, split, settings.test_size, settings.seed, by)
        if len(kept) > SHUFFLED_ROWS:
            train, test = np.sort(train), np.sort(test)
        test_table, test_kept, test_labels = raw, kept[test], labels.iloc[test].reset_index(drop=True)
    else:
        train = np.arange(len(kept))
        test_table, (test_kept, test_labels) = raw_test, _second_target(raw_test, settings, task, reading, labels)
    train_labels = labels.iloc[train].reset_index(drop=True)
    train_rows, test_rows = raw.take(kept[train]), test_table.take(test_kept)
    columns, summaries, findings = describe(train_rows, settings, split)
    contract = Contract(
        target=settings.target,
        task=task,
        classes=tuple(sorted(labels.unique().tolist())) if task == "classification" else (),
        positive=find_positive(labels, settings.positive) if task == "classification" else None,
        split=split,
        query=settings.query,
        columns=columns,
        rows_without_target=len(raw) - len(kept),
        rows=len(train),
        missing_words=settings.missing_words,
    )
    if not contract.features:
        roles = listed(f"{column.name} ({column.role})" for column in contract.left_out)
        raise UserError(f"data: {settings.data!r} has no column to learn from; beside the target there are: {roles}.")
    fold_by = by.iloc[train].reset_index(drop=True) if by is not None else None
    with ThreadPoolExecutor(1) as beside:
        # The one counts outside of Python, the other does not.
        assigned = beside.submit(_folds, train_labels, contract, settings, fold_by)
        observed, breaches = check_test_rows(test_rows, contract, settings)
        folds = assigned.result()
    return Prepared(
        contract,
        kept[train],
        test_kept,
        train_labels,
        test_labels,
        folds,
        summaries,
        observed,
        breaches,
        findings,
    )


def reading_of(raw: Described, name: str, *roles: str) -> Reading | None:
    """Return how every text of a column can be read as numbers or times; words for missing cells are what does that."""
    if kind_of(raw.types[name]) != WORDS:
        return None
    for reading in readings_of(raw.examples([name])[name]):
        if reading.role in roles and not raw.unread(name, reading)[0]:
            return reading
    return None


def check_numbers(raw: Described, target: str) -> None:
    """Refuse a target of numbers but for a few cells, which would make classes of all the others."""
    for reading in readings_of(raw.examples([target])[target]):
        if reading.role == NUMERIC:
            count, example = raw.unread(target, reading)
            raise UserError(
                f"target: {target!r} holds numbers but for {count} cells such as {example!r}; name words for missing "
                "cells by read='nullstr=...', mend the cells by query, or set task=classification."
            )


def _settled_split(settings: TableSettings, task: str) -> str:
    if settings.split == "auto":
        return "stratified" if task == "classification" else "random"
    if settings.split == "stratified" and task == "regression":
        raise UserError(
            f"split: a stratified split needs classes, but {settings.target!r} is a regression target; "
            "set split=random, group, time or hash."
        )
    return settings.split


def _split_by(raw: Rows, settings: TableSettings, split: str, kept: Positions) -> "pd.Series[Any] | None":
    """Return the groups, the times or what to hash, of the rows that have a target."""
    if not settings.split_column:
        return raw.contents().iloc[kept].reset_index(drop=True) if split == "hash" else None
    reading = reading_of(raw, settings.split_column, NUMERIC, DATETIME) if split == "time" else None
    by = raw.column(settings.split_column, reading).iloc[kept].reset_index(drop=True)
    if split != "hash":
        check_complete(by)
    if split == "time":
        check_ordered(by)
    return by


def describe(
    train: Described, settings: TableSettings, split: str
) -> tuple[tuple[Column, ...], dict[str, Summary], tuple[Finding, ...]]:
    """Describe the columns by the training rows alone: what a model reads must not hang on test rows.

    Parameters
    ----------
    train : Described
        The training rows.
    settings : TableSettings
        With the roles, orders and columns to drop that the user gave.
    split : str
        A ``group`` split leaves its column out.

    Returns
    -------
    columns : tuple of Column
        All but the target, in the table's order.
    summaries : dict of str to Summary
        By name.
    findings : tuple of Finding
        Columns that are nearly numbers or dates, numbers beside signs, and dates that can be read in two ways.

    Raises
    ------
    UserError
        For a role or an order that the cells do not have, and for infinite numbers.
    """
    asked, orders = dict(settings.roles), {order.column: order for order in settings.ordinal}
    asked |= dict.fromkeys(settings.drop, "drop")
    if split == "group":
        # Groups of the test rows are new by design, so a model cannot learn from their names.
        asked[settings.split_column] = "drop"
    inputs = [name for name in train.names if name != settings.target]
    words = [name for name in inputs if kind_of(train.types[name]) == WORDS and name not in orders]
    examples = train.examples([name for name in words if asked.get(name) not in LEFT_OUT])
    readings: dict[str, Reading | None] = dict.fromkeys(inputs)
    findings = []
    for name, texts in examples.items():
        wrong = []
        for likely in readings_of(texts):
            if asked.get(name, likely.role) != likely.role:
                continue
            count, example = train.unread(name, likely)
            if not count:
                readings[name] = likely
                other = swapped(likely)
                if other and not train.unread(name, other)[0]:
                    times, otherwise = train.read_both(name, likely, other)
                    findings += ambiguous_dates(name, likely, other, times, otherwise)
                break
            wrong.append((count, example, likely))
        if wrong and readings[name] is None:
            count, example, nearest = min(wrong, key=lambda found: found[0])
            if name in asked:
                examples[name] = (example,)
            elif not are_codes((example, *texts)):
                findings.append(mixed(name, nearest, count, len(train), example))
    summaries = train.summaries(readings)
    columns = []
    for name in inputs:
        summary, reading, order = summaries[name], readings[name], orders.get(name)
        texts = examples.get(name, ())
        if name in asked:
            check_role(summary, reading, asked[name], texts)
        role = ORDINAL if order else asked.get(name) or role_of(summary, reading, texts)
        if summary.infinite is not None and role not in LEFT_OUT:
            raise infinite("data", name, summary.infinite)
        if name not in asked and not order and not reading and (unit := unit_of(texts)):
            findings.append(with_unit(name, unit, summary.present, summary.rows))
        levels = train.levels(name) if role in (CATEGORICAL, ORDINAL) else []
        if order:
            check_order(levels, order)
        written = reading.format if reading and reading.role == role else _declared_form(settings, summary.type, role)
        columns.append(column_of(summary, role, written, order.levels if order else levels))
    return tuple(columns), summaries, tuple(findings)


def _declared_form(settings: TableSettings, sql_type: str, role: str) -> str:
    """Return how the user has said that dates or times are written: models read the texts of later rows by it."""
    if role != DATETIME or settings.query:
        return ""
    read = parse_read(settings.read)
    return {"DATE": read.dateformat, "TIMESTAMP": read.timestampformat}.get(sql_type, "")


def _folds(
    labels: "pd.Series[Any]", contract: Contract, settings: TableSettings, by: "pd.Series[Any] | None"
) -> Positions:
    """Give the training rows their folds, each of which is fitted on rows of all classes."""
    _check_classes(labels, contract, contract.split)
    folds = assign_folds(labels, contract.task, contract.split, settings.folds, settings.seed, by)
    if contract.classes:
        # Counted once by fold and class, instead of looking at the rows of each fold.
        codes = pd.Categorical(labels, categories=list(contract.classes)).codes
        cells = folds * len(contract.classes) + codes
        counts = np.bincount(cells, minlength=(int(folds.max()) + 1) * len(contract.classes))
        check_folds(counts.reshape(-1, len(contract.classes)), contract)
    return folds


def _check_classes(labels: "pd.Series[Any]", contract: Contract, split: str) -> None:
    lost = sorted(set(contract.classes) - set(labels.unique().tolist()))
    if lost:
        raise UserError(
            f"split: {split} leaves no training row of the class {lost[0]!r}; set split=stratified or give more rows."
        )


def check_folds(by_fold: Positions, contract: Contract) -> None:
    """Refuse folds whose fitted rows lack a class.

    Parameters
    ----------
    by_fold : array of int64, shape (folds, classes)
        Training rows of each.
    contract : Contract
        Of the table.

    Raises
    ------
    UserError
        Naming the class.
    """
    numbers = np.arange(len(by_fold))
    for fold in numbers:
        fitted = by_fold[numbers < fold if contract.split == "time" else numbers != fold]
        if len(fitted) and (fitted.sum(axis=0) == 0).any():
            lost = contract.classes[int(np.argmin(fitted.sum(axis=0)))]
            raise UserError(
                f"folds: by a {contract.split} split the rows that a fold is fitted on have none of the class "
                f"{lost!r}; give fewer folds or more rows, or set split=stratified."
            )


def check_test_rows(
    test: Described, contract: Contract, settings: TableSettings
) -> tuple[Observed, tuple[Breach, ...]]:
    """Refuse test rows that no model of this contract could read; return what was counted in them, and warnings."""
    option = "test_data" if settings.test_data else "data"
    observed = test.observe(contract)
    breaches = judge(contract, observed)
    absent = [breach.column for breach in breaches if breach.code == "missing_column"]
    if absent:
        raise UserError(
            f"test_data: {settings.test_data!r} lacks the columns {listed(absent)}; "
            "give a table with the training table's columns, or leave them out by drop."
        )
    orders = {order.column: order for order in settings.ordinal}
    for column in contract.columns:
        if column.name not in observed.columns:
            continue
        counts = observed.columns[column.name]
        # Test rows are written as training rows are read; a cell that the model alone can read would be lost.
        strange = [cells.example for cells in (counts.unread, counts.odd) if cells.count]
        if strange:
            raise UserError(
                f"{option}: column {column.name!r} is {column.role}, but holds {min(strange)!r} among the test rows; "
                "mend the cell, for example by query."
            )
        if column.name in orders and counts.new.count:
            check_order([counts.new.example], orders[column.name])
    for name, counts in observed.columns.items():
        if counts.infinite.count:
            raise infinite(option, name, float(counts.infinite.example))
    refuse(breaches, option)
    return observed, tuple(breaches)


def _second_target(
    raw_test: Rows,
    settings: TableSettings,
    task: str,
    reading: Reading | None,
    labels: "pd.Series[Any]",
) -> tuple[Positions, "pd.Series[Any]"]:
    """Return the positions of the second table's rows that have a target, and their labels."""
    if settings.target not in raw_test.names:
        raise UserError(
            f"test_data: {settings.test_data!r} lacks the columns {settings.target}; "
            "give a table with the training table's columns, or leave them out by drop."
        )
    if kind_of(raw_test.types[settings.target]) != WORDS:
        reading = None
    elif reading and (unread := raw_test.unread(settings.target, reading))[0]:
        raise UserError(
            f"test_data: {settings.target!r} is not numeric there, it holds {unread[1]!r}; "
            "give the same quantity as in data."
        )
    found = raw_test.column(settings.target, reading)
    kept = np.flatnonzero(found.notna().to_numpy())
    if not len(kept):
        raise UserError(f"test_data: {settings.test_data!r} has no row with a target; give a table that has.")
    found = found.iloc[kept].reset_index(drop=True)
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


def profile(prepared: Prepared, sample: pd.DataFrame) -> pd.DataFrame:
    """Summarise the columns of the training rows, and the target, as one tidy table.

    Parameters
    ----------
    prepared : Prepared
        As `prepare` returns it.
    sample : DataFrame
        Some of the training rows, from which the median of a large table is estimated.

    Returns
    -------
    DataFrame
        A row a column: ``column``, ``role``, ``type``, ``missing`` and ``missing_test`` (shares of the training and
        of the test rows), ``distinct``, and of numeric ones ``mean``, ``std``, ``low``, ``median``, ``high`` (in the
        column's units).
    """
    contract, labels = prepared.contract, prepared.train_labels
    target = Summary(contract.target, "", len(labels), len(labels), labels.nunique())
    if contract.task == "regression":
        figures: dict[str, Any] = {"mean": labels.mean(), "std": labels.std(), "median": labels.median()}
        target = replace(target, low=labels.min(), high=labels.max(), **figures)
    return profile_of(contract, prepared.train_summaries, target, prepared.observed, sample)


def profile_of(
    contract: Contract,
    summaries: Mapping[str, Summary],
    target: Summary,
    observed: Observed,
    sample: pd.DataFrame,
) -> pd.DataFrame:
    """Return what `profile` does, of the summaries of the columns and of the target."""
    frame = []
    for column in contract.columns:
        one, other = summaries[column.name], observed.columns.get(column.name)
        row: dict[str, Any] = {
            "column": column.name,
            "role": column.role,
            "type": column.type,
            "missing": one.missing / max(one.rows, 1),
            "missing_test": other.missing / observed.rows if other else np.nan,
            "distinct": one.distinct,
        }
        if column.role == NUMERIC:
            row |= _figures(one, sample[column.name])
        frame.append(row)
    last = {"column": contract.target, "role": "target", "missing": 0.0, "missing_test": 0.0}
    last["distinct"] = target.distinct
    if contract.task == "regression":
        last |= _figures(target, sample[contract.target])
    return pd.DataFrame([*frame, last])


def _figures(one: Summary, sample: "pd.Series[Any]") -> dict[str, Any]:
    median = sample.median() if one.median is None else one.median
    return {"mean": one.mean, "std": one.std, "low": one.low, "high": one.high, "median": median}


def sample_size(contract: Contract, asked: int) -> int:
    """Return the number of training rows to draw, or 0 where all are used.

    Parameters
    ----------
    contract : Contract
        Of the table.
    asked : int
        The option ``max_rows``; 0 for all.
    """
    return asked if 0 < asked < contract.rows else 0


def sampled(labels: "pd.Series[Any]", folds: Positions, contract: Contract, rows: int, seed: int) -> Positions:
    """Draw training rows.

    Parameters
    ----------
    labels : Series, shape (n,)
        Of all training rows.
    folds : array of int64, shape (n,)
        Their folds, which stay as they are.
    contract : Contract
        Of the table: classes keep their shares.
    rows : int
        How many to draw.
    seed : int
        Of the draw.

    Returns
    -------
    array of int64, shape (rows,)
        Positions, ascending.

    Raises
    ------
    UserError
        Where the rows drawn leave a fold, or a class in one, without rows.
    """
    codes = pd.factorize(labels, sort=True)[0] if contract.task == "classification" else None
    try:
        # Not the seed itself: folds were shuffled by it, and the same permutation would draw whole folds.
        own_seed = int(np.random.SeedSequence([seed, rows]).generate_state(1)[0])
        drawn, _ = train_test_split(np.arange(len(labels)), train_size=rows, random_state=own_seed, stratify=codes)
    except ValueError as error:
        raise UserError(f"max_rows: {rows} of {len(labels)} rows are too few for the classes; give more.") from error
    drawn = np.sort(drawn)
    if set(folds[drawn]) != set(folds):
        raise UserError(f"max_rows: {rows} of {len(labels)} rows leave a fold empty; give more.")
    for fitted, _ in fold_pairs(folds[drawn], contract.split):
        lost = sorted(set(contract.classes) - set(labels.iloc[drawn[fitted]].unique().tolist()))
        if lost:
            raise UserError(
                f"max_rows: {rows} of {len(labels)} rows leave none of the class {lost[0]!r} to fit on; give more."
            )
    return drawn


def read_prepared(train: pd.DataFrame, contract: Contract) -> PreparedTable:
    """Build the table that steps train on from the stored training rows and the contract."""
    return PreparedTable(
        contract=contract,
        rows=train[contract.features],
        labels=train[contract.target],
        folds=train[FOLD_COLUMN].to_numpy(dtype=np.int64),
    )

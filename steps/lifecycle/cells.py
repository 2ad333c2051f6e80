"""Cells of a later table, counted as the models' first step would read them.

Most cells are counted where they lie. Those that are not written as training's were come here, each different one
once, and are read by the first step's own functions.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lifecycle.columns import NO_TIME, level_of, number_of, plain_times, time_of
from lifecycle.contract import DATETIME, NUMERIC, Column
from lifecycle.roles import BOOLEAN, NESTED, TIME, WRITTEN, ZONE

# The kinds of cells that no number, or no time, is read from.
NEVER = {NUMERIC: (TIME, NESTED), DATETIME: (BOOLEAN, NESTED)}
# A text with one of these characters, in any case, is no number in any writing: the others write e, inf and nan.
NO_NUMBER = "[b-dghj-mo-su-xz_]"
# Times that every reader understands alike.
_CLOCK = r"([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?"
PLAIN_ISO = rf"[1-9][0-9]{{3}}-[0-9]{{2}}-[0-9]{{2}}([ T]{_CLOCK}{ZONE}?)?"
DIRECTIVES = {
    "%Y": "[1-9][0-9]{3}",
    "%m": "[0-9]{1,2}",
    "%d": "[0-9]{1,2}",
    "%H": "[0-9]{1,2}",
    "%M": "[0-9]{1,2}",
    "%S": "[0-5]?[0-9]",
    "%b": "[A-Za-z]{3}",
}
NOTHING = r"[^\s\S]"


@dataclass(frozen=True)
class Cells:
    """Some cells of one column.

    Attributes
    ----------
    count : int
        Their number, one a row.
    example : str
        One of them, as text: the least of texts, the farthest of numbers.
    distinct : int
        How many different ones; counted of new levels only.
    """

    count: int = 0
    example: str = ""
    distinct: int = 0


@dataclass(frozen=True)
class Counts:
    """What is counted in one column that models read, each cell as their first step would read it.

    Attributes
    ----------
    missing : int
        Cells that are missing: empty, blank, or a word for missing.
    unread : Cells
        Present cells that are no numbers, or no times, where such are needed.
    odd : Cells
        Cells that can be read although they are not written as training's were, such as 007 or 1e3 with a decimal
        comma; finite numbers among them count as below or above too.
    infinite : Cells
        Infinite numbers.
    below, above : Cells
        Finite numbers outside the range of training.
    new : Cells
        Levels that the contract does not have.
    """

    missing: int = 0
    unread: Cells = Cells()
    odd: Cells = Cells()
    infinite: Cells = Cells()
    below: Cells = Cells()
    above: Cells = Cells()
    new: Cells = Cells()


@dataclass(frozen=True)
class Observed:
    """What is counted in a later table.

    Attributes
    ----------
    names : tuple of str
        Its columns.
    rows : int
        Their number.
    columns : mapping of str to Counts
        Of the columns that models read and the table has.
    """

    names: tuple[str, ...]
    rows: int
    columns: Mapping[str, Counts] = field(default_factory=dict)


def added(parts: Iterable[Observed], names: Sequence[str], contract_columns: Iterable[Column]) -> Observed:
    """Add up what was counted in the parts of a table.

    Parameters
    ----------
    parts : iterable of Observed
        Of rows that all have the same columns.
    names : sequence of str
        The table's columns.
    contract_columns : iterable of Column
        Those that may have been counted.

    Returns
    -------
    Observed
        Counts are sums. Of new levels no fewer are different than in the part that has most: which they were, the
        parts do not tell.
    """
    every = list(parts)
    columns = {
        column.name: _sum([part.columns[column.name] for part in every if column.name in part.columns])
        for column in contract_columns
        if any(column.name in part.columns for part in every)
    }
    return Observed(tuple(names), sum(part.rows for part in every), columns)


def _sum(counts: Sequence[Counts]) -> Counts:
    found = {}
    for which, farthest in (("unread", min), ("odd", min), ("infinite", min), ("new", min)):
        found[which] = _together([getattr(one, which) for one in counts], farthest)
    found["below"] = _together([one.below for one in counts], lambda texts: min(texts, key=float))
    found["above"] = _together([one.above for one in counts], lambda texts: max(texts, key=float))
    return Counts(sum(one.missing for one in counts), **found)


def _together(cells: Sequence[Cells], farthest: Callable[[list[str]], str]) -> Cells:
    there = [one for one in cells if one.count]
    if not there:
        return Cells()
    distinct = max(one.distinct for one in there)
    return Cells(sum(one.count for one in there), farthest([one.example for one in there]), distinct)


def plain_pattern(column: Column) -> str:
    """Return the regular expression of the texts that every reader understands alike.

    It says how numbers or times of the column's format are written; that there is such a day it does not say.

    Parameters
    ----------
    column : Column
        Of role ``numeric`` or ``datetime``.
    """
    if column.role == NUMERIC:
        return WRITTEN.get(column.format, NOTHING)
    if not column.format:
        return PLAIN_ISO
    parts = re.findall(r"%.|[^%]+|%$", column.format, flags=re.DOTALL)
    if not all(part in DIRECTIVES for part in parts if part.startswith("%")):
        return NOTHING
    return "".join(DIRECTIVES.get(part) or re.escape(part) for part in parts)


def _value_of(text: str, column: Column) -> Any:
    try:
        return number_of(text, column.format) if column.role == NUMERIC else time_of(text, column.format)
    except (ValueError, TypeError, OverflowError):
        return None


def sentinels(column: Column, missing_words: Iterable[str]) -> set[Any]:
    """Return the numbers, or times, that stand for a missing cell in a column.

    Parameters
    ----------
    column : Column
        Of role ``numeric`` or ``datetime``.
    missing_words : iterable of str
        Of the contract; those that are no number, or no time, have none.

    Returns
    -------
    set of float or numpy.datetime64
        Finite numbers and times; NaN and NaT are missing anyhow.
    """
    values = (_value_of(word.strip(), column) for word in missing_words)
    return {value for value in values if value is not None and not pd.isna(value)}


def values_of(texts: Sequence[str], column: Column, missing_words: Sequence[str]) -> list[Any]:
    """Read texts as the models' first step does.

    Parameters
    ----------
    texts : sequence of str
        Present cells, without the blanks around them.
    column : Column
        Of role ``numeric`` or ``datetime``.
    missing_words : sequence of str
        Of the contract.

    Returns
    -------
    list of float, numpy.datetime64 or None
        NaN or NaT where a text stands for a missing cell, None where it cannot be read.
    """
    absent = sentinels(column, missing_words)
    if column.role == NUMERIC:
        values = [_value_of(text, column) for text in texts]
    else:
        times = plain_times(pd.Series(texts, dtype=object), column.format)
        values = [
            time if not np.isnat(time) else NO_TIME if level_of(text) in missing_words else _value_of(text, column)
            for text, time in zip(texts, times, strict=True)
        ]
    return [np.nan if value in absent else value for value in values]


def tally(column: Column, missing: int, plain: Mapping[str, Cells], odd: Iterable[tuple[str, int, Any]]) -> Counts:
    """Add up the cells of a column of numbers or times.

    Parameters
    ----------
    column : Column
        With the range of training.
    missing : int
        Missing cells that were counted where they lie.
    plain : mapping of str to Cells
        Further counts, by the names of `Counts`.
    odd : iterable of (str, int, value)
        Each different cell that is not written as training's: its text, its number, and its value as `values_of`
        returns it.
    """
    found = dict(plain)

    def add(which: str, many: int, example: str, farthest: Callable[..., str] = min) -> None:
        one = found.get(which)
        if one is not None:
            key = float if which in ("below", "above") else str
            many, example = one.count + many, farthest(one.example, example, key=key)
        found[which] = Cells(many, example)

    low, high = (-np.inf if column.low is None else column.low), (np.inf if column.high is None else column.high)
    for text, many, value in odd:
        if value is None:
            add("unread", many, text)
        elif value != value:
            missing += many
        elif column.role == NUMERIC and np.isinf(value):
            add("infinite", many, level_of(value))
        else:
            add("odd", many, text)
            if column.role == NUMERIC and value < low:
                add("below", many, level_of(value))
            elif column.role == NUMERIC and value > high:
                add("above", many, level_of(value), max)
    return Counts(missing, **found)

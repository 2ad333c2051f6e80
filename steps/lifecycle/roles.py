"""What each column is: its role, found from a summary of its cells or given by the user.

A summary is a handful of figures, so that ten million rows are decided on as cheaply as ten; whoever holds the rows
makes it.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from lifecycle.contract import CATEGORICAL, DATETIME, MOST_LEVELS, NUMERIC, TEXT, Column
from lifecycle.errors import UserError

INTEGER, REAL, BOOLEAN, WORDS, TIME, NESTED = "integer", "real", "boolean", "words", "time", "nested"
INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")} | {
    "INTEGER",
    "UINTEGER",
}
# Nanoseconds with a zone are what pandas writes to Parquet.
ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", *ZONED)
FEW, MANY = 50, 100
# How numbers are written in texts. A leading zero makes a code of digits, such as a postal code, not a number.
WRITTEN = {
    "": r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?",
    "thousands": r"[+-]?(0|[1-9][0-9]*|[1-9][0-9]{0,2}(,[0-9]{3})+)(\.[0-9]*)?",
    "decimal comma": r"[+-]?(0|[1-9][0-9]*|[1-9][0-9]{0,2}(\.[0-9]{3})+)(,[0-9]*)?",
}
# A number with what people write beside it: a currency's sign before, or a sign or a short word after.
_WITH_UNIT = re.compile(r"([$£¥€₩₹₺₽]?) ?([+-]?[0-9][0-9.,]*) ?([^\W\d_]{1,4}|[%‰°$£¥€₩₹₺₽])?")
_CLOCK = r"[ T]([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?"
ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
ISO = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}({_CLOCK}{ZONE}?)?"
# Of a text of that form, which ones have a zone: those are moments, told in UTC.
ISO_ZONED = rf".*{_CLOCK}{ZONE}"
_DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%Y%m%d", "%d %b %Y", "%b %d, %Y")
DATE_FORMATS = tuple(day + hour for day in _DAYS for hour in ("", " %H:%M", " %H:%M:%S"))
MONTH_FIRST, DAY_FIRST = "%m/%d/%Y", "%d/%m/%Y"
ID_NAME = re.compile(r"(?i:(^|[_\s.-])(id|uuid|guid|key|index|rowid|nr|no)$)|[a-z](Id|ID|UUID)$|^Unnamed: 0$")


@dataclass(frozen=True)
class Summary:
    """What is known of one column over some rows.

    Attributes
    ----------
    name, type : str
        As the table has them; the type is an SQL one.
    rows, present : int
        Number of rows, and of cells that are not missing: a blank one and a word for missing are.
    distinct : int
        Different values among the present cells; an estimate for large tables.
    low, high, mean, std, median : float or None
        Of a column of numbers, in its units; there is no median of a large table.
    infinite : float or None
        An infinite number, where the column holds one.
    first, last : str
        Of a column of times, the earliest and the latest in ISO 8601.
    """

    name: str
    type: str
    rows: int
    present: int
    distinct: int
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = None
    median: float | None = None
    infinite: float | None = None
    first: str = ""
    last: str = ""

    @property
    def missing(self) -> int:
        """Number of missing cells."""
        return self.rows - self.present


@dataclass(frozen=True)
class Reading:
    """How texts are read as something else: the role they take, and the format they are written in."""

    role: str
    format: str = ""


READINGS = (
    *(Reading(NUMERIC, form) for form in WRITTEN),
    *(Reading(DATETIME, form) for form in ("", *DATE_FORMATS)),
)


def kind_of(sql_type: str) -> str:
    """Sort SQL types into integers, reals, booleans, words, times, and what no model reads."""
    if sql_type in INTEGERS:
        return INTEGER
    if sql_type in ("DOUBLE", "FLOAT", "REAL") or sql_type.startswith("DECIMAL"):
        return NESTED if sql_type.endswith("]") else REAL
    if sql_type == "BOOLEAN":
        return BOOLEAN
    if sql_type in TIMES:
        return TIME
    # A column without a single value has no type at all.
    if sql_type in ("VARCHAR", "UUID", '"NULL"') or (sql_type.startswith("ENUM(") and not sql_type.endswith("]")):
        return WORDS
    return NESTED


def readings_of(examples: Iterable[str]) -> list[Reading]:
    """Tell as what some texts could be read.

    Parameters
    ----------
    examples : iterable of str
        Present cells.

    Returns
    -------
    list of Reading
        Those that fit at least nine tenths of the texts, so that a few strange cells are seen as such; numbers
        before dates. None for plain texts, and where there are no cells.
    """
    texts = [text.strip() for text in examples]
    if not texts:
        return []
    return [reading for reading in READINGS if _fits_most(texts, reading)]


def are_codes(texts: Iterable[str]) -> bool:
    """Tell whether texts are codes of digits, such as postal codes: all of one length, some with a leading zero."""
    cells = [text.strip() for text in texts]
    lengths = {len(cell) for cell in cells}
    digits = all(cell.isascii() and cell.isdigit() for cell in cells)
    return digits and len(lengths) == 1 and lengths != {1} and any(cell.startswith("0") for cell in cells)


def unit_of(texts: Iterable[str]) -> str:
    """Name the unit that stands beside all numbers of a column, such as the currency of ``1.234,50 €``.

    Parameters
    ----------
    texts : iterable of str
        Present cells.

    Returns
    -------
    str
        Empty where nine tenths of the texts are not numbers with one and the same unit.
    """
    units: dict[str, list[str]] = {}
    every = 0
    for text in texts:
        every += 1
        found = _WITH_UNIT.fullmatch(text.strip())
        # With a sign on both sides, or none, it is something else.
        if found and bool(found[1]) != bool(found[3]):
            units.setdefault(found[1] or found[3], []).append(found[2])
    unit, numbers = max(units.items(), key=lambda item: len(item[1]), default=("", []))
    common = bool(numbers) and len(numbers) >= 0.9 * every
    return unit if common and any(reading.role == NUMERIC for reading in readings_of(numbers)) else ""


def swapped(reading: Reading) -> Reading | None:
    """Return how dates are read with the day first where they are read with the month first; else None."""
    if reading.role != DATETIME or not reading.format.startswith(MONTH_FIRST):
        return None
    return replace(reading, format=reading.format.replace(MONTH_FIRST, DAY_FIRST))


def _fits_most(texts: list[str], reading: Reading) -> bool:
    left = len(texts)
    for text in texts:
        left -= not _fits(text, reading)
        # Most readings fit nothing, which a tenth of the texts is enough to tell.
        if left < 0.9 * len(texts):
            return False
    return True


def _fits(text: str, reading: Reading) -> bool:
    if reading.role == NUMERIC:
        return re.fullmatch(WRITTEN[reading.format], text) is not None
    return bool(reading.format or re.fullmatch(ISO, text)) and _is_date(text, reading.format)


def _is_date(text: str, form: str = "") -> bool:
    try:
        datetime.strptime(text, form) if form else datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def looks_like_id(name: str) -> bool:
    """Tell whether a column's name is that of an identifier, such as `id`, `customer_id` or `PassengerId`."""
    return ID_NAME.search(name) is not None


def role_of(summary: Summary, reading: Reading | None, examples: Collection[str] = ()) -> str:
    """Find the role of a column by what it holds.

    Parameters
    ----------
    summary : Summary
        Of the rows that models are trained on.
    reading : Reading or None
        As what every one of its texts can be read.
    examples : collection of str
        Some different ones of its texts.

    Returns
    -------
    str
        ``numeric``, ``categorical``, ``datetime`` or ``text`` for what models read; ``constant``, ``id`` or
        ``nested`` for what is left out.

        A column is an ``id`` where whole numbers are all different and either fill a third of their range or are
        named like an identifier, and where texts of less than two words are mostly different ones. Texts of two words
        and more with more than 100 different ones are ``text``.
    """
    kind = kind_of(summary.type)
    if kind == NESTED:
        return "nested"
    if summary.distinct == 0 or (summary.distinct == 1 and not summary.missing):
        return "constant"
    if kind == TIME or (reading and reading.role == DATETIME):
        return DATETIME
    if kind in (INTEGER, REAL) or reading:
        return "id" if _counts_rows(summary) else NUMERIC
    if kind == WORDS:
        mostly_different = summary.distinct > FEW and summary.distinct > 0.5 * summary.rows
        words = sum(len(text.split()) for text in examples) / max(len(examples), 1)
        if words >= 2 and (mostly_different or summary.distinct > MANY):
            return TEXT
        if mostly_different or summary.distinct > MOST_LEVELS:
            return "id"
    return CATEGORICAL


def _counts_rows(summary: Summary) -> bool:
    """Tell whether whole numbers name the rows rather than measure something."""
    if kind_of(summary.type) != INTEGER or summary.low is None or summary.high is None:
        return False
    if summary.rows <= FEW or summary.missing or summary.distinct < summary.rows:
        return False
    # Row numbers fill their range; of those that are left after a split, the most.
    return summary.high - summary.low < 3 * summary.rows or looks_like_id(summary.name)


def column_of(summary: Summary, role: str, written: str = "", levels: Iterable[str] = ()) -> Column:
    """Describe one column for the contract.

    Parameters
    ----------
    summary : Summary
        Of the rows that models are trained on.
    role : str
        Found or given.
    written : str, optional
        How its texts are written: a `Reading`'s format.
    levels : iterable of str, optional
        Of a categorical one sorted, of an ordinal one lowest first.
    """
    share = summary.missing / summary.rows if summary.rows else 0.0
    column = Column(summary.name, role, summary.type, missing=summary.missing > 0, missing_share=share)
    if role == NUMERIC:
        return replace(column, low=summary.low, high=summary.high, format=written)
    if role == DATETIME:
        return replace(column, format=written, origin=summary.first, last=summary.last)
    return replace(column, levels=tuple(levels))


def check_role(summary: Summary, reading: Reading | None, asked: str, examples: Collection[str]) -> None:
    """Refuse a role that the cells of a column cannot have.

    Raises
    ------
    UserError
        Naming the column and what it holds.
    """
    kind = kind_of(summary.type)
    can = {
        NUMERIC: kind in (INTEGER, REAL, BOOLEAN) or bool(reading and reading.role == NUMERIC),
        DATETIME: kind == TIME or bool(reading and reading.role == DATETIME),
        TEXT: kind == WORDS,
        CATEGORICAL: kind != NESTED,
    }
    if summary.present and not can.get(asked, True):
        wanted = [other for other in READINGS if other.role == asked]
        odd = (text for text in examples if not any(_fits(text.strip(), other) for other in wanted))
        held = repr(next(odd, next(iter(examples)))) if examples else f"cells of the type {summary.type}"
        raise UserError(
            f"roles: {summary.name!r} cannot be {asked}, it holds {held}; give another role, name words for missing "
            "cells by read='nullstr=...', or mend the cells by query."
        )

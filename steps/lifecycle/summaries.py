"""The figures of a column that its role is decided by, asked of any engine in its own SQL."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lifecycle.contract import DATETIME, NUMERIC
from lifecycle.roles import INTEGER, NESTED, REAL, TIME, Reading, Summary, kind_of

# Up to here distinct values and medians are counted, beyond they are estimated: an exact count holds all values.
EXACT_ROWS = 200_000


@dataclass(frozen=True)
class Dialect:
    """What two engines write differently; ``{}`` is the value.

    Attributes
    ----------
    text : str
        The type of texts.
    finite, infinite : str
        Whether a number is; of a NaN neither holds.
    distinct, about_distinct, median : str
        Aggregates: the number of different values, the same as an estimate, and the median.
    """

    text: str
    finite: str
    infinite: str
    distinct: str
    about_distinct: str
    median: str


DUCKDB = Dialect(
    "VARCHAR",
    "isfinite({})",
    "isinf({})",
    "count(DISTINCT {})",
    "approx_count_distinct({})",
    "quantile_cont({}, 0.5)",
)
SPARK = Dialect(
    "STRING",
    "abs({}) < double('Infinity')",
    "abs({}) = double('Infinity')",
    # More than one count of DISTINCT in a query copies all rows once for each.
    "size(collect_set({}))",
    "approx_count_distinct({}, 0.01)",
    "percentile({}, 0.5)",
)


def aggregates(dialect: Dialect, sql_type: str, reading: Reading | None, value: str, rows: int) -> dict[str, str]:
    """Write what is asked of a column.

    Parameters
    ----------
    dialect : Dialect
        The engine's.
    sql_type : str
        The column's in the table.
    reading : Reading or None
        As what its texts are read.
    value : str
        The SQL of a cell so read.
    rows : int
        Of the table.

    Returns
    -------
    dict of str to str
        The SQL of an aggregate by the name that `summary` knows it by.
    """
    kind = kind_of(sql_type)
    present = {"present": f"count({value})"}
    if kind == NESTED:
        return present
    exact = rows <= EXACT_ROWS
    asked = present | {"distinct": (dialect.distinct if exact else dialect.about_distinct).format(value)}
    role = reading.role if reading else NUMERIC if kind in (INTEGER, REAL) else DATETIME if kind == TIME else ""
    if role == NUMERIC:
        number = f"CAST({value} AS DOUBLE)"
        finite = f"CASE WHEN {dialect.finite.format(number)} THEN {number} END"
        asked |= {
            "low": f"min({finite})",
            "high": f"max({finite})",
            "mean": f"avg({finite})",
            # The squares of numbers beyond 1e150 have no double.
            "std": f"stddev_samp(CASE WHEN abs({number}) < 1e150 THEN {number} END)",
            "infinite": f"min(CASE WHEN {dialect.infinite.format(number)} THEN {number} END)",
        }
        if exact:
            asked["median"] = dialect.median.format(finite)
    elif role == DATETIME:
        asked |= {"first": f"CAST(min({value}) AS {dialect.text})", "last": f"CAST(max({value}) AS {dialect.text})"}
    return asked


def summary(name: str, sql_type: str, rows: int, figures: Mapping[str, Any], counted: Callable[[], int]) -> Summary:
    """Make a column's summary of what was answered.

    Parameters
    ----------
    name, sql_type : str
        The column's.
    rows : int
        Of the table.
    figures : mapping
        By the names of `aggregates`; None where there was no value.
    counted : callable
        Counts the column's different values one by one; asked of whole numbers in a large table that may all be
        different, since an identifier is told by that.
    """
    given = {key: value for key, value in figures.items() if value is not None}
    present = int(given.pop("present"))
    distinct = min(int(given.pop("distinct", 0)), present)
    if rows > EXACT_ROWS and kind_of(sql_type) == INTEGER and distinct > 0.8 * rows:
        distinct = counted()
    return Summary(name, sql_type, rows, present, distinct, **given)

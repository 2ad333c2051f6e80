"""The rows of a DataFrame of Spark, as the data decisions ask for them: figures come here, rows stay there."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from lifecycle import sparksql
from lifecycle.adapters.relation import EXAMPLES
from lifecycle.audit import AUDITED_ROWS
from lifecycle.cells import Cells, Counts, Observed
from lifecycle.columns import level_of
from lifecycle.contract import CATEGORICAL, DATETIME, NUMERIC, ORDINAL, TEXT, Column, Contract
from lifecycle.roles import BOOLEAN, INTEGER, NESTED, REAL, TIME, Reading, Summary, kind_of
from lifecycle.summaries import SPARK, aggregates, summary

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Columns summarised in one pass: the text of a plan grows with them, and Java takes no method of any length.
AT_ONCE = 20


class SparkRows:
    """The rows of a DataFrame, as the data decisions ask for them.

    Parameters
    ----------
    frame : DataFrame
        With the table's columns, and maybe some of ours.
    names : sequence of str
        The table's columns.
    missing_words : sequence of str
        Texts that stand for a missing cell, beside blank ones.
    rows : int
        Their number.
    """

    def __init__(self, frame: "DataFrame", names: Sequence[str], missing_words: Sequence[str], rows: int) -> None:
        self.frame = frame
        self.names = list(names)
        kinds = dict(frame.dtypes)
        self.types = {name: sparksql.sql_type(kinds[name]) for name in names}
        self.missing_words = tuple(missing_words)
        self._rows = rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._rows

    def value(self, name: str, reading: Reading | None = None) -> str:
        """Return the SQL of a cell, its text read as something else where a reading is given."""
        return sparksql.value_sql(name, kind_of(self.types[name]), reading, self.missing_words)

    def examples(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the different cells among 1,000 present ones of each column, as texts."""
        if not names:
            return {}
        cells = [f"{self.value(name)} AS c{place}" for place, name in enumerate(names)]
        rows = self.frame.selectExpr(*cells).limit(EXAMPLES).collect()
        found: dict[str, tuple[str, ...]] = {}
        for place, name in enumerate(names):
            present = [row[place] for row in rows if row[place] is not None]
            if len(present) < EXAMPLES <= len(rows):
                # The others stand further on.
                there = self.frame.selectExpr(cells[place]).where(f"c{place} IS NOT NULL")
                present = [row[0] for row in there.limit(EXAMPLES).collect()]
            found[name] = tuple(dict.fromkeys(map(str, present)))
        return found

    def unread(self, name: str, reading: Reading) -> tuple[int, str]:
        """Return how many present cells cannot be read so, and the least of them."""
        kind = kind_of(self.types[name])
        if kind in {NUMERIC: (INTEGER, REAL, BOOLEAN), DATETIME: (TIME,)}[reading.role]:
            return 0, ""
        column = Column(name, reading.role, self.types[name], format=reading.format)
        wrong = sparksql.unread_sql(column, kind, self.missing_words)
        text = sparksql.text_of(name, self.missing_words)
        [found] = self.frame.selectExpr(f"count_if({wrong})", f"min(CASE WHEN {wrong} THEN {text} END)").collect()
        return int(found[0]), str(found[1] or "")

    def read_both(self, name: str, reading: Reading, other: Reading) -> "tuple[pd.Series[Any], pd.Series[Any]]":
        """Return some rows of a column of texts read as times in two ways."""
        cells = [f"CAST({self.value(name, one)} AS STRING)" for one in (reading, other)]
        rows = self.frame.selectExpr(*cells).limit(AUDITED_ROWS).collect()
        one, two = ([row[place] for row in rows] for place in (0, 1))
        return pd.Series(pd.to_datetime(one)), pd.Series(pd.to_datetime(two))

    def levels(self, name: str) -> list[str]:
        """Return the different levels of a column as texts, sorted."""
        level = sparksql.level_sql(name, self.missing_words, kind_of(self.types[name]))
        rows = self.frame.selectExpr(f"{level} AS level").distinct().collect()
        return sorted(row[0] for row in rows if row[0] is not None)

    def summaries(self, readings: Mapping[str, Reading | None]) -> dict[str, Summary]:
        """Return a summary of each column named.

        Above 200,000 rows ``distinct`` is an estimate (HyperLogLog, 1 %), but whole numbers that may all be different
        are counted, and there is no median.
        """
        found: dict[str, Summary] = {}
        every = list(readings)
        for begin in range(0, len(every), AT_ONCE):
            some = every[begin : begin + AT_ONCE]
            cells = [f"{self._summed(name, readings[name])} AS c{place}" for place, name in enumerate(some)]
            asked = [
                (name, figure, sql)
                for place, name in enumerate(some)
                for figure, sql in aggregates(SPARK, self.types[name], readings[name], f"c{place}", len(self)).items()
            ]
            [row] = self.frame.selectExpr(*cells).selectExpr(*(sql for _, _, sql in asked)).collect()
            figures: dict[str, dict[str, Any]] = {name: {} for name in some}
            for (name, figure, _), value in zip(asked, row, strict=True):
                figures[name][figure] = value
            found |= {
                name: summary(name, self.types[name], len(self), figures[name], partial(self._distinct, name))
                for name in some
            }
        return found

    def _summed(self, name: str, reading: Reading | None) -> str:
        return sparksql.quoted(name) if kind_of(self.types[name]) == NESTED else self.value(name, reading)

    def _distinct(self, name: str) -> int:
        """Count a column's different values."""
        return int(self.frame.selectExpr(f"count(DISTINCT {self.value(name)})").collect()[0][0])

    def observe(self, contract: Contract) -> Observed:
        """Count what a contract's check needs; cells that only a model's first step could read count as unread."""
        there = [column for column in contract.columns if column.name in {*contract.features} & {*self.types}]
        counts: dict[str, Counts] = {}
        for begin in range(0, len(there), AT_ONCE):
            some = there[begin : begin + AT_ONCE]
            asked = [
                (column, figure, sql) for column in some for figure, sql in self._counted(column, contract).items()
            ]
            [row] = self.frame.selectExpr(*(sql for _, _, sql in asked)).collect()
            figures: dict[str, dict[str, Any]] = {column.name: {} for column in some}
            for (column, figure, _), value in zip(asked, row, strict=True):
                figures[column.name][figure] = value
            counts |= {name: _counts(own) for name, own in figures.items()}
        return Observed(tuple(self.names), len(self), counts)

    def _counted(self, column: Column, contract: Contract) -> dict[str, str]:
        words = contract.missing_words
        value = sparksql.feature_sql(column, words)
        if column.role in (CATEGORICAL, ORDINAL):
            known = ", ".join(sparksql.literal(level_of(level)) for level in column.levels)
            new = f"NOT array_contains(array({known}), {value})"
            return {"missing": f"count_if({value} IS NULL)"} | _pair("new", new, value)
        if column.role == TEXT:
            return {"missing": f"count_if({value} IS NULL)"}
        text = sparksql.text_of(column.name, words)
        wrong = sparksql.unread_sql(column, kind_of(self.types[column.name]), words)
        asked = {"missing": f"count_if({value} IS NULL AND NOT {wrong})"} | _pair("unread", wrong, text)
        if column.role == NUMERIC:
            asked |= _pair("infinite", f"abs({value}) = double('Infinity')", f"CAST({value} AS STRING)")
            if column.low is not None and column.high is not None:
                asked |= _pair("below", f"{value} < {float(column.low)!r}D", value)
                asked |= _pair("above", f"{value} > {float(column.high)!r}D", value, "max")
        return asked


def _pair(which: str, condition: str, shown: str, farthest: str = "min") -> dict[str, str]:
    return {
        which: f"count_if({condition})",
        f"{which}_one": f"{farthest}(CASE WHEN {condition} THEN {shown} END)",
    } | ({f"{which}_many": f"size(collect_set(CASE WHEN {condition} THEN {shown} END))"} if which == "new" else {})


def _counts(figures: Mapping[str, Any]) -> Counts:
    """Turn the figures of one column into its counts."""
    found = {
        which: Cells(int(figures[which]), level_of(figures[f"{which}_one"]), int(figures.get(f"{which}_many", 0)))
        for which in ("unread", "infinite", "below", "above", "new")
        if figures.get(which)
    }
    return Counts(int(figures["missing"]), **found)

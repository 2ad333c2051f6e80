"""Rows in duckdb: what the data decisions ask of a table, said in SQL, and the prepared rows written as Parquet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from lifecycle.adapters.sql import AS_PARQUET, literal, quoted
from lifecycle.cells import NEVER, NO_NUMBER, Cells, Counts, Observed, plain_pattern, sentinels, tally, values_of
from lifecycle.columns import level_of
from lifecycle.contract import CATEGORICAL, DATETIME, NUMERIC, ORDINAL, TEXT, Column, Contract
from lifecycle.roles import (
    BOOLEAN,
    INTEGER,
    ISO,
    ISO_ZONED,
    REAL,
    TIME,
    WORDS,
    ZONED,
    Reading,
    Summary,
    kind_of,
)
from lifecycle.summaries import DUCKDB, EXACT_ROWS, aggregates, summary
from lifecycle.table import Positions

EXAMPLES = 1_000
# Columns summarised in one pass: each takes a few aggregates, and duckdb's plans grow faster than their number.
AT_ONCE = 40
LARGE_AT_ONCE = 3
# Queries side by side: duckdb has two threads for each process here, and some queries use one.
WORKERS = 2
T = TypeVar("T")
# Different cells that Python is asked about in one go.
ODD_AT_ONCE = 100_000
PLACE = "__place__"
# What models strip: all that Python takes for blank.
BLANKS = (
    " \t\n\r\f\v\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_numbers = count()


def _has_blank_end(cell: str) -> str:
    """Return the SQL of whether a text begins or ends with one of `BLANKS`."""
    text = f"CAST({cell} AS VARCHAR)"
    last = f"right({text}, 1)"
    blank = " OR ".join(f"contains({literal(BLANKS)}, {end})" for end in (f"left({text}, 1)", last))
    # Most texts begin and end with a visible character of ASCII, which two comparisons tell.
    apart = " OR ".join(f"{end} < '!' OR {end} > '~'" for end in (text, last))
    return f"CASE WHEN {apart} THEN {blank} ELSE false END"


class Relation:
    """The rows of a view in duckdb, in its order.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where the view is.
    view : str
        Its name. A scan of it must give the same rows in the same order each time.
    missing_words : sequence of str
        Texts that stand for a missing cell, beside blank ones.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        view: str,
        missing_words: Sequence[str] = (),
        positions: Positions | None = None,
    ) -> None:
        self.connection = connection
        self.view = view
        self.missing_words = tuple(missing_words)
        described = connection.execute(f"DESCRIBE {quoted(view)}").fetchall()
        self.types: dict[str, str] = {row[0]: row[1] for row in described}
        self.names = list(self.types)
        self._all_rows: int = connection.execute(f"SELECT count(*) FROM {quoted(view)}").fetchall()[0][0]
        self._positions = positions
        self._place = self._free(PLACE)
        # Of columns of texts, whether blanks stand around a cell; the same for all rows taken of one view.
        self._looked: dict[tuple[str, tuple[str, ...]], tuple[bool, bool]] = {}
        self._looking = Lock()
        self._mask: dict[str, pa.Array] = {}
        if positions is not None and not (
            len(positions) == self._all_rows and bool((positions == np.arange(self._all_rows)).all())
        ):
            place = np.full(self._all_rows, -1, dtype=np.int8)
            place[positions] = 0
            self._mask = {self._place: pa.array(place)}

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._all_rows if self._positions is None else len(self._positions)

    def _free(self, name: str) -> str:
        """Return a name for a column of ours that none of the table's bears, in any case."""
        taken = {other.casefold() for other in self.names}
        while name.casefold() in taken:
            name += "_"
        return name

    def _beside(self, cells: Mapping[str, str], arrays: Mapping[str, pa.Array]) -> str:
        """Put arrays, one cell for each row of the view, beside columns made of its; return what stands after FROM.

        The columns are made below the join: there duckdb computes on the dictionaries of the Parquet file.
        """
        name = f"beside_{next(_numbers)}"
        self.connection.register(name, pa.table(dict(arrays)))
        asked = ", ".join(f"{cell} AS {quoted(alias)}" for alias, cell in cells.items())
        return f"(SELECT {asked} FROM {quoted(self.view)}) POSITIONAL JOIN {name}"

    def _from(self, cells: Mapping[str, str]) -> str:
        """Return what stands after FROM where columns, by alias, are made of those of the rows."""
        if self._mask:
            return f"(FROM {self._beside(cells, self._mask)} WHERE {self._place} >= 0)"
        asked = ", ".join(f"{cell} AS {quoted(alias)}" for alias, cell in cells.items())
        return f"(SELECT {asked} FROM {quoted(self.view)})"

    def take(self, positions: Positions) -> "Relation":
        """Return some rows of the view, in its order."""
        taken = Relation(self.connection, self.view, self.missing_words, positions)
        taken._looked, taken._looking = self._looked, self._looking
        return taken

    def look_at_texts(self, first: str) -> None:
        """Look at every column of texts, ahead of the questions; at the one that is asked about first, first."""
        for name in sorted(self.names, key=lambda name: name != first):
            if kind_of(self.types[name]) == WORDS:
                self._looks(name)

    def _looks(self, name: str) -> tuple[bool, bool]:
        """Tell whether a cell of a column begins or ends with a blank, and whether one is a word for missing.

        Trimming and comparing cost more than all else that is done to a text, and most columns have nothing to trim
        and no such word: a look, once, takes a sixth of it.
        """
        key = (name, self.missing_words)
        if key in self._looked:
            return self._looked[key]
        with self._looking:
            if key not in self._looked:
                # Of a large table the column alone, since others may be waiting for theirs.
                words = [other for other in self.names if kind_of(self.types[other]) == WORDS]
                names = words if self._all_rows <= EXACT_ROWS else [name]
                for some in (names[begin : begin + AT_ONCE] for begin in range(0, len(names), AT_ONCE)):
                    asked = []
                    for other in some:
                        cell = f"CAST({quoted(other)} AS VARCHAR)"
                        absent = " OR ".join(f"{cell} = {literal(word)}" for word in ("", *self.missing_words))
                        asked += [f"bool_or({_has_blank_end(quoted(other))})", f"bool_or({absent})"]
                    query = f"SELECT {', '.join(asked)} FROM {quoted(self.view)}"
                    found = [bool(value) for value in self.connection.execute(query).fetchall()[0]]
                    for place, other in enumerate(some):
                        self._looked[(other, self.missing_words)] = (found[2 * place], found[2 * place + 1])
            return self._looked[key]

    def cells(self, name: str, reading: Reading | None = None) -> str:
        """Return the SQL of a table of one column ``cell``, for what is asked by SQL alone."""
        return self._from({"cell": self._read(name, reading)})

    def _cells(self, name: str) -> str:
        """Return the SQL of a column whose missing cells are NULL."""
        cell, sql_type = quoted(name), self.types[name]
        kind = kind_of(sql_type)
        if kind == REAL:
            number = f"CAST({cell} AS DOUBLE)"
            # Asked for NaN alone, duckdb 2.0 looks at a Parquet file's least and greatest number, which leave NaN out.
            return f"CASE WHEN isfinite({number}) OR isinf({number}) THEN {number} END"
        if kind == TIME:
            zoned = sql_type.startswith(ZONED)
            moment = f"timezone('UTC', CAST({cell} AS TIMESTAMPTZ))" if zoned else f"CAST({cell} AS TIMESTAMP)"
            return f"CASE WHEN isfinite({moment}) THEN {moment} END"
        if kind == WORDS:
            text = f"CAST({cell} AS VARCHAR)"
            padded, wordy = self._looks(name)
            if not padded and not wordy:
                return text
            bare = f"trim({text}, {literal(BLANKS)})" if padded else text
            # Not by NOT IN: of five words and more duckdb makes a join, after which rows come in any order.
            words = " AND ".join(f"{bare} <> {literal(word)}" for word in ("", *self.missing_words))
            return f"CASE WHEN {words} THEN {bare} END"
        return cell

    def _present(self, value: str, reading: Reading) -> str:
        """Return the SQL of a number or a time that is NULL where a word for missing is that very number or time.

        The texts alone would not do: -999 stands in a Parquet file as a number, and in a text as -999.0 too.
        """
        column = Column("", reading.role, "", format=reading.format)
        absent = sorted(sentinels(column, self.missing_words))
        differs = " AND ".join(f"{value} <> {_written(one)}" for one in absent)
        return f"CASE WHEN {differs} THEN {value} END" if absent else value

    def _read(self, name: str, reading: Reading | None) -> str:
        """Return the SQL of a column read as numbers or times; its missing and unreadable cells are NULL."""
        value, kind = self._converted(name, reading), kind_of(self.types[name])
        if reading is None and kind in (INTEGER, REAL, TIME):
            reading = Reading(DATETIME if kind == TIME else NUMERIC)
        return self._present(value, reading) if reading else value

    def _converted(self, name: str, reading: Reading | None) -> str:
        """Return the SQL of a column read as numbers or times, words that are such among them."""
        cells, kind = self._cells(name), kind_of(self.types[name])
        if reading is None:
            return cells
        if reading.role == NUMERIC:
            if kind == WORDS:
                if reading.format == "thousands":
                    cells = f"replace({cells}, ',', '')"
                elif reading.format == "decimal comma":
                    cells = f"replace(replace({cells}, '.', ''), ',', '.')"
                return f"TRY_CAST({cells} AS DOUBLE)"
            return f"CAST({cells} AS DOUBLE)" if kind in (INTEGER, REAL, BOOLEAN) else "CAST(NULL AS DOUBLE)"
        if kind == WORDS and reading.format:
            return f"try_strptime({cells}, {literal(reading.format)})"
        if kind == WORDS:
            # The plain cast would drop a zone without a word.
            moment = f"timezone('UTC', TRY_CAST({cells} AS TIMESTAMPTZ))"
            zoned = f"regexp_full_match({cells}, {literal(ISO_ZONED)})"
            return f"CASE WHEN {zoned} THEN {moment} ELSE TRY_CAST({cells} AS TIMESTAMP) END"
        return f"TRY_CAST({cells} AS TIMESTAMP)" if kind == TIME else "CAST(NULL AS TIMESTAMP)"

    def _level(self, name: str) -> str:
        """Return the SQL of a column's levels as texts, as `lifecycle.columns.levels_of` writes them."""
        level = self._level_of(name)
        if kind_of(self.types[name]) == WORDS:
            return level
        words = [word for word in self.missing_words if word[:1] in "+-.0123456789" or word in ("True", "False")]
        differs = " AND ".join(f"{level} <> {literal(word)}" for word in words)
        return f"CASE WHEN {differs} THEN {level} END" if words else level

    def _level_of(self, name: str) -> str:
        """Return the SQL of a column's levels, words that are such among them."""
        cells, kind = self._cells(name), kind_of(self.types[name])
        if kind == BOOLEAN:
            return f"CASE WHEN {cells} THEN 'True' WHEN NOT {cells} THEN 'False' END"
        if kind == REAL:
            whole = f"{cells} = trunc({cells}) AND abs({cells}) < 1e37"
            return f"CASE WHEN {whole} THEN CAST(CAST({cells} AS HUGEINT) AS VARCHAR) ELSE CAST({cells} AS VARCHAR) END"
        if kind == WORDS:
            return f"CASE lower({cells}) WHEN 'true' THEN 'True' WHEN 'false' THEN 'False' ELSE {cells} END"
        return f"CAST({cells} AS VARCHAR)"

    def _feature(self, column: Column) -> str:
        """Return the SQL of a column as models read it."""
        if column.role in (NUMERIC, DATETIME):
            return self._read(column.name, Reading(column.role, column.format))
        if column.role in (CATEGORICAL, ORDINAL):
            return self._level(column.name)
        if column.role == TEXT:
            return f"CAST({self._cells(column.name)} AS VARCHAR)"
        raise ValueError(f"models do not read the column {column.name!r}")

    def column(self, name: str, reading: Reading | None = None) -> "pd.Series[Any]":
        """Return a column whole.

        Parameters
        ----------
        name : str
            Of the column.
        reading : Reading, optional
            As what its texts are read.

        Returns
        -------
        Series
            Integers with missing cells and decimals as float64, times as datetime64, texts as objects.
        """
        result = self.connection.sql(f"SELECT cell FROM {self.cells(name, reading)}")
        if kind_of(self.types[name]) == WORDS and reading is None:
            # Each different text becomes one object, however many cells hold it.
            cells = result.to_arrow_table()["cell"].combine_chunks().dictionary_encode()
            texts = np.array([*cells.dictionary.to_pylist(), np.nan], dtype=object)
            codes = cells.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)
            return pd.Series(texts[codes], name=name, dtype=object)
        found = pd.Series(result.df()["cell"], name=name)
        return found.astype("float64") if str(found.dtype).lstrip("U")[:3] == "Int" else found

    def read_both(self, name: str, reading: Reading, other: Reading) -> "tuple[pd.Series[Any], pd.Series[Any]]":
        """Return a column of texts read as times in two ways, row by row."""
        return self.column(name, reading), self.column(name, other)

    def contents(self) -> "pd.Series[Any]":
        """Return a digest of each row's content, uint64: equal rows have equal ones, whatever types they have."""
        # By name, so that the order of the columns does not count.
        cells = ", ".join(f"coalesce({self._level(name)}, '\x00')" for name in sorted(self.names))
        digest = f"md5_number_lower(concat_ws('\x1f', {cells}))"
        found = self.connection.sql(f"SELECT digest FROM {self._from({'digest': digest})}").df()["digest"]
        return pd.Series(found, name="the row's content")

    def examples(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the different cells among the first 1,000 present ones of each column, as texts."""
        found = {}
        for name in names:
            query = f"SELECT cell FROM {self.cells(name)} WHERE cell IS NOT NULL LIMIT {EXAMPLES}"
            rows = self.connection.execute(query).fetchall()
            found[name] = tuple(dict.fromkeys(str(row[0]) for row in rows))
        return found

    def unread(self, name: str, reading: Reading) -> tuple[int, str]:
        """Return how many present cells cannot be read so, and the least of them."""
        kind = kind_of(self.types[name])
        if kind in {NUMERIC: (INTEGER, REAL, BOOLEAN), DATETIME: (TIME,)}[reading.role]:
            return 0, ""
        wrong = "cell IS NOT NULL"
        if kind == WORDS:
            # duckdb takes the word epoch for a time, and years of two digits, which models do not.
            written = Column(name, reading.role, self.types[name], format=reading.format)
            pattern = ISO if reading == Reading(DATETIME) else plain_pattern(written)
            wrong += f" AND (NOT regexp_full_match(cell, {literal(pattern)}) OR read IS NULL)"
        rows = self._from({"cell": self._cells(name), "read": self._converted(name, reading)})
        query = f"SELECT count(*), min(CAST(cell AS VARCHAR)) FROM {rows} WHERE {wrong}"
        found = self.connection.execute(query).fetchall()[0]
        return int(found[0]), str(found[1] or "")

    def summaries(self, readings: Mapping[str, Reading | None]) -> dict[str, Summary]:
        """Return a summary of each column named.

        Parameters
        ----------
        readings : mapping of str to Reading or None
            The columns, and as what their texts are read.

        Returns
        -------
        dict of str to Summary
            Above 200,000 rows ``distinct`` is an estimate (HyperLogLog), but whole numbers that may all be different
            are counted, and there is no median, which takes longer than all other figures.
        """
        found: dict[str, Summary] = {}
        every = list(readings)
        step = AT_ONCE if len(self) <= EXACT_ROWS else LARGE_AT_ONCE
        parts = [{name: readings[name] for name in every[begin : begin + step]} for begin in range(0, len(every), step)]
        for one in self._side_by_side([partial(Relation._summarised, readings=part) for part in parts]):
            found |= one
        return found

    def _summarised(self, readings: Mapping[str, Reading | None]) -> dict[str, Summary]:
        """Summarise columns in one pass."""
        asked = [
            f"{aggregate} AS {quoted(f'{place}_{figure}')}"
            for place, (name, reading) in enumerate(readings.items())
            for figure, aggregate in aggregates(
                DUCKDB, self.types[name], reading, quoted(f"cell_{place}"), len(self)
            ).items()
        ]
        cells = {f"cell_{place}": self._read(name, reading) for place, (name, reading) in enumerate(readings.items())}
        row = self.connection.sql(f"SELECT {', '.join(asked)} FROM {self._from(cells)}")
        figures = dict(zip(row.columns, row.fetchall()[0], strict=True))
        found = {}
        for place, name in enumerate(readings):
            own = {key.partition("_")[2]: figures[key] for key in figures if key.split("_")[0] == str(place)}
            found[name] = summary(name, self.types[name], len(self), own, partial(self._distinct, name))
        return found

    def _distinct(self, name: str) -> int:
        """Count a column's different values."""
        counted = self.connection.sql(f"SELECT count(DISTINCT cell) FROM {self.cells(name)}")
        return int(counted.fetchall()[0][0])

    def _side_by_side(self, jobs: Sequence[Callable[["Relation"], T]]) -> list[T]:
        """Do some work on these rows; of a large table two pieces at once, each with a cursor of its own.

        duckdb reads rows beside an array in one thread, so that one query leaves the other core idle.
        """
        if len(self) <= EXACT_ROWS or len(jobs) == 1:
            return [job(self) for job in jobs]

        def work(job: Callable[["Relation"], T]) -> T:
            other = self.elsewhere()
            try:
                return job(other)
            finally:
                other.connection.close()

        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(work, jobs))

    def elsewhere(self) -> "Relation":
        """Return the same rows on a cursor of their own, for another thread."""
        other = copy(self)
        other.connection = self.connection.cursor()
        return other

    def levels(self, name: str) -> list[str]:
        """Return the different levels of a column as texts, sorted."""
        rows = self.connection.execute(
            f"SELECT DISTINCT level FROM {self._from({'level': self._level(name)})}"
        ).fetchall()
        return sorted(row[0] for row in rows if row[0] is not None)

    def observe(self, contract: Contract) -> Observed:
        """Count what a contract's check needs, each cell as the models' first step would read it.

        Parameters
        ----------
        contract : Contract
            Of the training table; its words for missing cells count, not those of these rows.

        Returns
        -------
        Observed
            The counts of every feature that is there: of each column of levels by its different cells, of the others
            40 in one pass, or one where the table is large. Cells that are written as training's are counted by SQL
            alone; of those that are not, each different one is read by the first step's own functions, which takes
            7 s for a million of them.
        """
        rows = copy(self)
        rows.missing_words = contract.missing_words
        there = [column for column in contract.columns if column.name in {*contract.features} & {*self.types}]
        if not len(rows):
            return Observed(tuple(self.names), 0)
        levels = [column for column in there if column.role in (CATEGORICAL, ORDINAL)]
        others = [column for column in there if column not in levels]
        # Of a large table each column by itself: together they take four times as long.
        step = AT_ONCE if len(rows) <= EXACT_ROWS else 1
        parts = [others[begin : begin + step] for begin in range(0, len(others), step)]
        jobs = [partial(Relation._counted, columns=part) for part in parts]
        found: dict[str, Counts] = {}
        for one in rows._side_by_side([*jobs, *(partial(Relation._levels_of_one, column=column) for column in levels)]):
            found |= one
        return Observed(tuple(self.names), len(rows), {column.name: found[column.name] for column in there})

    def _levels_of_one(self, column: Column) -> dict[str, Counts]:
        return {column.name: self._levels_told(column)}

    def _levels_told(self, column: Column) -> Counts:
        """Count the missing cells and the new levels of a column; its different cells are written as levels once."""
        many, one = self._free("__rows__"), self._free("__level__")
        rows = self._from({column.name: quoted(column.name)})
        different = f"SELECT {quoted(column.name)}, count(*) AS {many} FROM {rows} GROUP BY ALL"
        # Words stand for missing cells in columns of numbers too.
        level = _without(self._level(column.name), [literal(word) for word in self.missing_words])
        told = f"SELECT {level} AS {one}, sum({many}) AS {many} FROM ({different}) GROUP BY {one}"
        known = f"levels_{next(_numbers)}"
        self.connection.register(known, pa.table({"level": pa.array(column.levels, pa.string())}))
        new = f"FILTER ({one} IS NOT NULL AND {one} NOT IN (SELECT level FROM {known}))"
        figures = [f"sum({many}) FILTER ({one} IS NULL)"]
        figures += [f"{figure} {new}" for figure in (f"sum({many})", "count(*)", f"min({one})")]
        query = f"SELECT {', '.join(figures)} FROM ({told})"
        absent, count, distinct, least = self.connection.execute(query).fetchall()[0]
        self.connection.unregister(known)
        return Counts(int(absent or 0), new=Cells(int(count), least, distinct) if count else Cells())

    def _counted(self, columns: Sequence[Column]) -> dict[str, Counts]:
        """Count one pass of columns of numbers, times and texts."""
        cells: dict[str, str] = {}
        read: list[str] = []
        asked: list[str] = []
        for place, column in enumerate(columns):
            cells[f"value_{place}"], cells[f"text_{place}"] = self._observed(column)
            words = () if column.role == TEXT else self.missing_words
            missing = [_written(sentinel) for sentinel in sentinels(column, words)]
            read.append(f"{_without(f'value_{place}', missing)} AS value_{place}")
            read.append(f"text_{place} IS NOT NULL AND value_{place} IS NULL AS odd_{place}")
            asked += [f"{sql} AS {figure}_{place}" for figure, sql in _figures(column, place).items()]
        rows = f"(SELECT {', '.join(read)} FROM {self._from(cells)})"
        answer = self.connection.sql(f"SELECT {', '.join(asked)} FROM {rows}")
        figures = dict(zip(answer.columns, answer.fetchall()[0], strict=True))
        found = {}
        for place, column in enumerate(columns):
            own = {key.rpartition("_")[0]: value for key, value in figures.items() if key.endswith(f"_{place}")}
            found[column.name] = self._counts(column, own)
        return found

    def _observed(self, column: Column) -> tuple[str, str]:
        """Return the SQL of a column's values as models read them, and of the texts that they are written in.

        What duckdb may read otherwise than models do has no value; cells that are no texts have no text.
        """
        name, kind, none = column.name, kind_of(self.types[column.name]), "CAST(NULL AS VARCHAR)"
        if column.role == TEXT:
            # Numbers and booleans may stand where texts were.
            level = self._level(name) if kind != WORDS else self._cells(name)
            return level if kind == WORDS else _without(level, [literal(word) for word in self.missing_words]), none
        reading, text = Reading(column.role, column.format), f"CAST({self._cells(name)} AS VARCHAR)"
        value = self._converted(name, reading)
        if kind in ((INTEGER, REAL, BOOLEAN) if column.role == NUMERIC else (TIME,)):
            return value, none
        if column.role == DATETIME and column.format and kind in (INTEGER, REAL):
            text = self._level(name)
            value = f"try_strptime({text}, {literal(column.format)})"
        return f"CASE WHEN regexp_full_match({text}, {literal(plain_pattern(column))}) THEN {value} END", text

    def _counts(self, column: Column, figures: Mapping[str, Any]) -> Counts:
        """Turn the figures of one column into its counts, and look at its odd cells."""
        if column.role == TEXT:
            return Counts(len(self) - figures["present"])
        outside = {
            which: Cells(figures[which], level_of(figures[f"{which}_one"]))
            for which in ("infinite", "below", "above")
            if figures.get(which)
        }
        missing = len(self) - figures["present"] - figures["odd"]
        odd = self._odd(column, figures["odd"]) if figures["odd"] else []
        return tally(column, missing, outside, odd)

    def _odd(self, column: Column, every: int) -> Iterator[tuple[str, int, Any]]:
        """Give each different cell that is not written as training's: its text, how often it stands, its value.

        Those that cannot be read for sure are given as one, by the least of them.
        """
        kind, (value, text) = kind_of(self.types[column.name]), self._observed(column)
        rows = f"FROM {self._from({'value': value, 'cell': text})} WHERE cell IS NOT NULL AND value IS NULL"
        hopeless = f"regexp_matches(cell, {literal(NO_NUMBER)}, 'i')" if column.role == NUMERIC else "false"
        if kind in NEVER[column.role] or (column.role == DATETIME and not column.format and kind in (INTEGER, REAL)):
            hopeless = "true"
        many, least = self.connection.execute(f"SELECT count(*), min(cell) {rows} AND {hopeless}").fetchall()[0]
        if many:
            yield least, many, None
        if many == every:
            return
        answer = self.connection.execute(f"SELECT cell, count(*) {rows} AND NOT {hopeless} GROUP BY cell")
        while found := answer.fetchmany(ODD_AT_ONCE):
            values = values_of([text for text, _ in found], column, self.missing_words)
            yield from ((text, many, value) for (text, many), value in zip(found, values, strict=True))

    def digests(self, contract: Contract) -> npt.NDArray[np.uint64]:
        """Return a digest of what models read of each row, and of its target: twins have equal ones.

        Parameters
        ----------
        contract : Contract
            Of the table, or of the one that these rows are compared with.

        Returns
        -------
        array of uint64, shape (n,)
            Of all rows of the view, in its order.
        """
        features = [self._feature(column) for column in contract.columns if column.name in contract.features]
        digest = f"hash({', '.join([*features, self._level(contract.target)])})"
        rows = self.connection.sql(f"SELECT {digest} AS digest FROM {quoted(self.view)}")
        return np.asarray(rows.fetchnumpy()["digest"], dtype=np.uint64)

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """Give the rows as they are, in the view's order, so many at a time; no more than those are in memory.

        Parameters
        ----------
        rows : int
            Of each batch but the last, a multiple of 2,048.
        """
        yield from self.connection.sql(f"FROM {quoted(self.view)}").to_arrow_reader(rows)

    def write(self, path: Path, contract: Contract, positions: Positions, beside: Mapping[str, Any]) -> None:
        """Write prepared rows as a Parquet file.

        Parameters
        ----------
        path : Path
            Of the file.
        contract : Contract
            Of the table: its features are written as models read them.
        positions : array of int64, shape (n,)
            The rows to write, in order.
        beside : mapping of str to array or Series, shape (n,)
            Further columns: the target, the folds, the twins' flag.
        """
        ordered = "" if bool((np.diff(positions) > 0).all()) else f" ORDER BY {self._place}"
        rows = f"SELECT * EXCLUDE ({self._place}) FROM ({self._prepared(contract, positions, beside)}){ordered}"
        self.connection.execute(f"COPY ({rows}) TO {literal(str(path))} {AS_PARQUET}")

    def _prepared(self, contract: Contract, positions: Positions, beside: Mapping[str, Any]) -> str:
        """Return the SQL of prepared rows with their place; nothing in it may change their order."""
        place = np.full(self._all_rows, -1, dtype=np.int64)
        place[positions] = np.arange(len(positions))
        names = [self._free(f"__beside_{name}__") for name in beside]
        scattered = [_scattered(values, positions, self._all_rows) for values in beside.values()]
        arrays = {self._place: pa.array(place)} | dict(zip(names, scattered, strict=True))
        features = {
            column.name: self._feature(column) for column in contract.columns if column.name in contract.features
        }
        further = []
        for name, own, array in zip(beside, names, scattered, strict=True):
            cell = quoted(own)
            texts = isinstance(array, pa.DictionaryArray)
            further.append(f"{f'CAST({cell} AS VARCHAR)' if texts else cell} AS {quoted(name)}")
        asked = ", ".join([self._place, *map(quoted, features), *further])
        return f"SELECT {asked} FROM {self._beside(features, arrays)} WHERE {self._place} >= 0"


def _scattered(values: Any, positions: Positions, rows: int) -> pa.Array:
    """Put the values of some rows into a column of all, in which the other rows are missing."""
    cells = pd.Series(values)
    absent = np.ones(rows, dtype=bool)
    absent[positions] = False
    if cells.dtype == object or isinstance(cells.dtype, pd.CategoricalDtype):
        kinds = cells.astype("category").cat
        codes, texts = kinds.codes, kinds.categories
        places = np.zeros(rows, dtype=np.int32)
        places[positions] = codes
        return pa.DictionaryArray.from_arrays(pa.array(places, mask=absent), pa.array(texts))
    values = cells.to_numpy()
    every = np.zeros(rows, dtype=values.dtype)
    every[positions] = values
    return pa.array(every, mask=absent)


def _without(value: str, missing: Sequence[str]) -> str:
    """Return the SQL of a value that is NULL where it stands for a missing cell."""
    return f"CASE WHEN {value} NOT IN ({', '.join(missing)}) THEN {value} END" if missing else value


def _written(value: Any) -> str:
    """Write a number or a time as SQL does."""
    return f"TIMESTAMP {literal(str(value))}" if isinstance(value, np.datetime64) else f"{literal(str(value))}::DOUBLE"


def _figures(column: Column, place: int) -> dict[str, str]:
    """Return the aggregates that are asked of one column, by figure."""
    value = f"value_{place}"
    asked = {"present": f"count({value})"}
    if column.role != TEXT:
        asked["odd"] = f"count_if(odd_{place})"
    if column.role == NUMERIC:
        asked |= {
            "infinite": f"count(*) FILTER (isinf({value}))",
            "infinite_one": f"min({value}) FILTER (isinf({value}))",
        }
        for which, bound, farthest in (("below", column.low, "min"), ("above", column.high, "max")):
            if bound is not None:
                outside = f"isfinite({value}) AND {value} {'<' if which == 'below' else '>'} {bound!r}::DOUBLE"
                asked |= {
                    which: f"count(*) FILTER ({outside})",
                    f"{which}_one": f"{farthest}({value}) FILTER ({outside})",
                }
    return asked

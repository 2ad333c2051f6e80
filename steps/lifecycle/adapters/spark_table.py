"""A table that stays in Spark: read, described, split by hash, audited; what is decided are figures, rows never leave.

The decisions are those of `prepare`, made by the same functions on summaries that Spark's SQL computes.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lifecycle import sparksql
from lifecycle.adapters import catalog, code, readers, sources, steps
from lifecycle.adapters.cli import Options
from lifecycle.adapters.preparation import workplace
from lifecycle.adapters.relation import EXACT_ROWS, EXAMPLES
from lifecycle.adapters.steps import Identity
from lifecycle.audit import AUDITED_ROWS, Finding, crossing, giveaways, separable, twins
from lifecycle.cells import Cells, Counts, Observed
from lifecycle.checks import Breach
from lifecycle.columns import level_of
from lifecycle.contract import (
    CATEGORICAL,
    DATETIME,
    MOST_CLASSES,
    NUMERIC,
    ORDINAL,
    TEXT,
    Column,
    Contract,
    check_header,
    find_positive,
    find_task,
    infinite,
    labels_of,
)
from lifecycle.errors import UserError, listed
from lifecycle.roles import BOOLEAN, INTEGER, NESTED, REAL, TIME, WORDS, Reading, Summary, kind_of, looks_like_id
from lifecycle.settings import FOLD_COLUMN, TWIN_COLUMN, TableSettings
from lifecycle.split import DEALT_ROWS, deal, hashed_texts
from lifecycle.table import check_folds, check_numbers, check_test_rows, describe, reading_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Columns of ours beside the table's.
KEY, HASH, FOLD, PLACE = "__key__", "__hash__", FOLD_COLUMN, "__label__"
NANOSECONDS = "spark.sql.legacy.parquet.nanosAsLong"
# Columns summarised in one pass: the text of a plan grows with them, and Java takes no method of any length.
AT_ONCE = 20


def identify(options: Options, session: "SparkSession | None" = None) -> Identity:
    """Resolve the table options of a step that splits by hash, and name the table.

    Parameters
    ----------
    options : dict
        As typed.
    session : SparkSession, optional
        Where a table of a catalog is; it has no bytes of its own, so the digest is of its rows.

    Raises
    ------
    UserError
        For anything that is wrong with the options, the files' places, or the table's name.
    """
    options = {**options, "split": checked_split(options["split"])}
    if not sources.is_cataloged(options["data"]):
        return steps.identify(options)
    settings = catalog.settings_for(options)
    digest = content_digest(table_of(session, options["data"])) if session is not None else ""
    return Identity(settings, (), digest, code.code_digest())


def checked_split(split: str) -> str:
    """Return how rows are split, where they have no order.

    Raises
    ------
    UserError
        For a split that is drawn from the rows' order or looks at all rows.
    """
    if split not in ("", "hash"):
        raise UserError(
            f"split: tune_mllib splits by hash and not {split!r}, since rows in Spark have no order; leave split out, "
            "or give split=hash with the column whose values are to stay whole as split_column."
        )
    return "hash"


def table_of(session: "SparkSession", name: str) -> "DataFrame":
    """Return a table of the session's catalogs.

    Raises
    ------
    UserError
        Where there is none of that name.
    """
    from pyspark.errors import PySparkException

    try:
        return session.table(name)
    except PySparkException as error:
        raise UserError(
            f"data: Spark's catalogs have no table {name!r} ({_said(error)}); give a name as catalog.schema.table that "
            "this session may read, or a path."
        ) from error


def content_digest(rows: "DataFrame") -> str:
    """SHA-256 of a table's columns, number of rows and rows in whatever order."""
    from pyspark.sql import functions as F

    told = rows.select(F.xxhash64("*").alias("h")).agg(
        F.count("*"), F.sum(F.expr("CAST(h AS DECIMAL(38, 0))")), F.expr("bit_xor(h)")
    )
    [figures] = told.collect()
    text = f"{rows.schema.simpleString()}\n{figures[0]}\n{figures[1]}\n{figures[2]}"
    return hashlib.sha256(text.encode()).hexdigest()


def _said(error: BaseException) -> str:
    """Return Spark's own words, the first line without its code."""
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return re.sub(r"^\[[A-Z_.]+\] ", "", line).split(" SQLSTATE")[0].rstrip(". ")


# Reading.


def read(session: "SparkSession", identity: Identity, folder: Path) -> list["DataFrame"]:
    """Read the tables of a step, each after the query.

    Parameters
    ----------
    session : SparkSession
        Where the rows stay.
    identity : Identity
        With the sources; without any, of a table of a catalog.
    folder : Path
        For copies of CSV files that are not in UTF-8.

    Raises
    ------
    UserError
        For a file that Spark cannot read, or a query that fails or gives no rows.
    """
    settings = identity.settings
    if not identity.sources:
        tables = [table_of(session, settings.data)]
        if settings.test_data:
            tables.append(table_of(session, settings.test_data))
    else:
        tables = [_file(session, source, settings, folder) for source in identity.sources]
    return [_queried(session, table, settings.query) for table in tables] if settings.query else tables


def _file(session: "SparkSession", source: sources.Source, settings: TableSettings, folder: Path) -> "DataFrame":
    if source.kind == "csv":
        return _csv(session, source, settings, folder)
    if source.kind == "parquet":
        return _parquet(session, source)
    raise UserError(
        f"{source.option}: tune_mllib reads CSV, Parquet and tables of a catalog, and {source.shown!r} is "
        f"{source.kind_name}; write it as Parquet first."
    )


def _parquet(session: "SparkSession", source: sources.Source) -> "DataFrame":
    """Read Parquet files; times in nanoseconds, which pandas writes and Spark does not know, in microseconds."""
    import pyarrow.parquet as pq
    from pyspark.errors import PySparkException

    fields = pq.read_schema(source.files[0])
    fine = {field.name: field.type.tz for field in fields if str(field.type).startswith("timestamp[ns")}
    if fine and session.conf.get(NANOSECONDS, "false") != "true":
        raise UserError(
            f"{source.option}: {next(iter(fine))!r} holds times in nanoseconds, which this session of Spark does not "
            f"read; set {NANOSECONDS} to true in it, or write them in microseconds."
        )
    try:
        table = session.read.option("mergeSchema", len(source.files) > 1).parquet(*map(_uri, source.files))
    except PySparkException as error:
        raise UserError(
            f"{source.option}: Spark cannot read {source.shown!r} ({_said(error)}); mend the files, or give others."
        ) from error
    for name, zone in fine.items():
        moment = f"timestamp_micros({sparksql.quoted(name)} div 1000)"
        table = table.withColumn(name, expression(moment if zone else f"CAST({moment} AS TIMESTAMP_NTZ)"))
    return table


def _uri(path: Path) -> str:
    # Without a scheme a cluster would look for it in its own file system.
    return path.absolute().as_uri()


def _csv(session: "SparkSession", source: sources.Source, settings: TableSettings, folder: Path) -> "DataFrame":
    """Read CSV files with the columns, the marks and the types that `prepare` finds in them."""
    from pyspark.errors import PySparkException
    from pyspark.sql import functions as F

    texts = [name for name, role in settings.roles if role in (CATEGORICAL, DATETIME, TEXT, "id")]
    with workplace(folder) as connection:
        layouts, types = readers.csv_layouts(connection, source, folder, texts)
    unlike = [name for name in ("comment", "dateformat", "timestampformat") if getattr(source.read, name)]
    if unlike or source.read.decimal != "." or any(layout.skip for layout in layouts):
        raise UserError(
            f"read: Spark does not read {source.shown!r} by {', '.join(unlike) or 'skip or decimal'}; write it as "
            "Parquet first."
        )
    names = layouts[0].names
    parts = []
    for layout in layouts:
        schema = ", ".join(f"{sparksql.quoted(name)} STRING" for name in layout.names)
        reader = session.read.schema(schema).options(
            sep=layout.sep, quote=layout.quote, escape=layout.escape, header=layout.header, mode="FAILFAST",
            ignoreLeadingWhiteSpace=False, ignoreTrailingWhiteSpace=False, enforceSchema=True,
        )  # fmt: skip
        parts.append(reader.csv(_uri(layout.path)).select(*map(sparksql.quoted, names)))
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.unionByName(part)
    absent = ", ".join(sparksql.literal(word) for word in ("", *source.read.nullstr))
    present = {
        name: f"CASE WHEN {sparksql.quoted(name)} NOT IN ({absent}) THEN {sparksql.quoted(name)} END" for name in names
    }
    doubtful = {
        name: [kind, "DOUBLE"] if kind == "BIGINT" else [kind] for name, kind in types.items() if kind != "VARCHAR"
    }
    asked = {
        (
            name,
            kind,
        ): f"bool_and({present[name]} IS NULL OR try_cast({present[name]} AS {_spark_type(kind)}) IS NOT NULL)"
        for name, kinds in doubtful.items()
        for kind in kinds
    }
    try:
        fits = whole.agg(*map(F.expr, asked.values())).collect()[0] if asked else ()
    except PySparkException as error:
        raise UserError(
            f"{source.option}: Spark cannot read {source.shown!r} ({_said(error)}); a cell may hold a line break, or a "
            "row lack cells; write it as Parquet first."
        ) from error
    fitting: dict[str, str] = {}
    for (name, kind), fit in zip(asked, fits, strict=True):
        if fit is not False:
            fitting.setdefault(name, kind)
    columns = [
        F.expr(f"CAST({present[name]} AS {_spark_type(fitting.get(name, 'VARCHAR'))})").alias(name) for name in names
    ]
    return whole.select(*columns)


def _spark_type(kind: str) -> str:
    return {"VARCHAR": "STRING", "TIMESTAMP": "TIMESTAMP_NTZ"}.get(kind, kind)


def _queried(session: "SparkSession", table: "DataFrame", query: str) -> "DataFrame":
    """Apply the user's SQL, which is Spark's here; the view is out of anybody's way."""
    from pyspark.errors import PySparkException

    view = f"lifecycle_{id(table):x}"
    table.createOrReplaceTempView(view)
    try:
        return session.sql(f"WITH data AS (SELECT * FROM {view}) SELECT * FROM ({query.rstrip().rstrip(';')})")
    except PySparkException as error:
        raise UserError(
            f"query: Spark's SQL fails with {_said(error)!r}; the table `data` has the columns {listed(table.columns)}."
        ) from error
    finally:
        session.catalog.dropTempView(view)


# What is asked of rows.


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
        found: dict[str, dict[str, None]] = {name: {} for name in names}
        if names:
            cells = [f"{self.value(name)} AS c{place}" for place, name in enumerate(names)]
            for row in self.frame.selectExpr(*cells).limit(EXAMPLES).collect():
                for name, cell in zip(names, row, strict=True):
                    if cell is not None:
                        found[name][str(cell)] = None
        for place, name in enumerate(names):
            if not found[name]:
                # Mostly missing cells: those that are there stand further on.
                some = self.frame.selectExpr(f"{self.value(name)} AS c{place}").where(f"c{place} IS NOT NULL")
                found[name] = {str(row[0]): None for row in some.limit(EXAMPLES).collect()}
        return {name: tuple(cells) for name, cells in found.items()}

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
                for figure, sql in self._aggregates(name, readings[name], f"c{place}").items()
            ]
            [row] = self.frame.selectExpr(*cells).selectExpr(*(sql for _, _, sql in asked)).collect()
            figures: dict[str, dict[str, Any]] = {name: {} for name in some}
            for (name, figure, _), value in zip(asked, row, strict=True):
                figures[name][figure] = value
            found |= {name: self._summary(name, figures[name]) for name in some}
        return found

    def _summed(self, name: str, reading: Reading | None) -> str:
        return sparksql.quoted(name) if kind_of(self.types[name]) == NESTED else self.value(name, reading)

    def _aggregates(self, name: str, reading: Reading | None, value: str) -> dict[str, str]:
        kind = kind_of(self.types[name])
        if kind == NESTED:
            return {"present": f"count({value})"}
        exact = len(self) <= EXACT_ROWS
        asked = {
            "present": f"count({value})",
            "distinct": f"size(collect_set({value}))" if exact else f"approx_count_distinct({value}, 0.01)",
        }
        role = reading.role if reading else NUMERIC if kind in (INTEGER, REAL) else DATETIME if kind == TIME else ""
        if role == NUMERIC:
            number = f"CAST({value} AS DOUBLE)"
            finite = f"CASE WHEN abs({number}) < double('Infinity') THEN {number} END"
            asked |= {
                "low": f"min({finite})",
                "high": f"max({finite})",
                "mean": f"avg({finite})",
                "std": f"stddev_samp(CASE WHEN abs({number}) < 1e150 THEN {number} END)",
                "infinite": f"min(CASE WHEN abs({number}) = double('Infinity') THEN {number} END)",
            }
            if exact:
                asked["median"] = f"percentile({finite}, 0.5)"
        elif role == DATETIME:
            asked |= {"first": f"CAST(min({value}) AS STRING)", "last": f"CAST(max({value}) AS STRING)"}
        return asked

    def _summary(self, name: str, figures: dict[str, Any]) -> Summary:
        present, rows = int(figures.pop("present")), len(self)
        distinct = min(int(figures.pop("distinct", 0)), present)
        if rows > EXACT_ROWS and kind_of(self.types[name]) == INTEGER and distinct > 0.8 * rows:
            distinct = int(self.frame.selectExpr(f"count(DISTINCT {self.value(name)})").collect()[0][0])
        given = {key: value for key, value in figures.items() if value is not None}
        return Summary(name, self.types[name], rows, present, distinct, **given)

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


# Preparing.


@dataclass(frozen=True)
class SparkPrepared:
    """A prepared table whose rows are in Spark.

    Attributes
    ----------
    contract : Contract
        Of the table.
    types : dict of str to str
        The raw table's columns and their SQL types.
    rows : int
        Of the raw table.
    train, test : SparkRows
        Raw rows that have a target; with their class's place or their value (`PLACE`, DOUBLE) and, of the training
        rows, their fold (`FOLD`, INT). They are kept where Spark keeps rows until `let_go`.
    summaries : dict of str to Summary
        Of the training rows, by column.
    observed : Observed
        What was counted in the test rows.
    breaches : tuple of Breach
        Warnings of the contract's check.
    findings : list of Finding
        Of the audit.
    labels : array of int64, shape (folds, classes)
        Training rows of each fold and class; of a regression one column.
    sample : DataFrame
        Some training rows as models read them, with their target.
    """

    contract: Contract
    types: dict[str, str]
    rows: int
    train: SparkRows
    test: SparkRows
    summaries: dict[str, Summary]
    observed: Observed
    breaches: tuple[Breach, ...]
    findings: list[Finding]
    labels: npt.NDArray[np.int64]
    sample: pd.DataFrame
    kept: "tuple[DataFrame, ...]"

    def let_go(self) -> None:
        """Free what Spark keeps of the rows."""
        for frame in self.kept:
            frame.unpersist()


def prepare(session: "SparkSession", identity: Identity, folder: Path) -> SparkPrepared:
    """Decide what becomes of a table that stays in Spark.

    Parameters
    ----------
    session : SparkSession
        Where it stays.
    identity : Identity
        Its settings and sources.
    folder : Path
        For small files beside.

    Raises
    ------
    UserError
        For whatever makes the table unfit, in the sentences of `prepare`.
    """
    settings = identity.settings
    tables = read(session, identity, folder)
    names = tables[0].columns
    kept: list[DataFrame] = []
    try:
        return _prepared(session, settings, tables, names, kept)
    except BaseException:
        for frame in kept:
            frame.unpersist()
        raise


def _prepared(
    session: "SparkSession",
    settings: TableSettings,
    tables: "list[DataFrame]",
    names: list[str],
    kept: "list[DataFrame]",
) -> SparkPrepared:
    words = settings.missing_words
    check_header(names, settings, 1)
    keyed = [_keyed(session, table, settings, words) for table in tables]
    for table in keyed:
        kept.append(table.persist())
    every = [table.count() for table in keyed]
    check_header(names, settings, every[0])
    raw = SparkRows(keyed[0], names, words, every[0])
    task, labels, value = _target(raw, settings)
    classes = tuple(sorted(labels.unique().tolist())) if task == "classification" else ()
    if task == "regression" and settings.positive:
        raise UserError(
            f"positive: {settings.positive!r} was given, but {settings.target!r} is a quantity; leave it out."
        )
    place = sparksql.place_sql(settings.target, classes, words) if classes else f"CAST({value} AS DOUBLE)"
    targeted = [table.withColumn(PLACE, expression(place)) for table in keyed]
    with_target = targeted[0].where(f"{PLACE} IS NOT NULL")
    if settings.test_data:
        _check_second(SparkRows(targeted[1], tables[1].columns, words, every[1]), settings, classes)
        sides = with_target, targeted[1].where(f"{PLACE} IS NOT NULL")
    else:
        fraction = sparksql.fraction_sql(HASH)
        border = sparksql.literal(settings.test_size)
        sides = with_target.where(f"{fraction} >= {border}"), with_target.where(f"{fraction} < {border}")
    kept.append(sides[1].persist())
    train_rows, test_rows = (side.count() for side in sides)
    if not train_rows or not test_rows:
        by = repr(settings.split_column) if settings.split_column else "the row's content"
        raise UserError(
            f"split: hash by {by} leaves {train_rows} training and {test_rows} test rows of {every[0]}; "
            "give more rows, another column or another test_size."
        )
    folded = _folded(session, sides[0], settings, train_rows, bool(classes), kept)
    train = SparkRows(folded, names, words, train_rows)
    test = SparkRows(sides[1], tables[-1].columns, words, test_rows)
    by_fold = _label_counts(folded, settings.folds, max(len(classes), 1), bool(classes))
    # Both sides are kept by themselves now.
    for table in keyed:
        table.unpersist()
    columns, summaries, findings = describe(train, settings, "hash")
    contract = Contract(
        target=settings.target,
        task=task,
        classes=classes,
        positive=find_positive(labels, settings.positive) if classes else None,
        split="hash",
        query=settings.query,
        columns=columns,
        rows_without_target=every[0] - (train_rows if settings.test_data else train_rows + test_rows),
        rows=train_rows,
        missing_words=words,
    )
    lost = [label for label, rows in zip(classes, by_fold.sum(axis=0), strict=False) if not rows]
    if lost:
        raise UserError(f"split: hash leaves no training row of the class {lost[0]!r}; give more rows.")
    if not contract.features:
        roles = listed(f"{column.name} ({column.role})" for column in contract.left_out)
        raise UserError(f"data: {settings.data!r} has no column to learn from; beside the target there are: {roles}.")
    if classes:
        check_folds(by_fold, contract)
    observed, breaches = check_test_rows(test, contract, settings)
    sample, held = _sample(train, contract, settings.seed), _sample(test, contract, settings.seed)
    findings = (
        *findings,
        *twins(_twins(train, test, contract), test_rows),
        *_crossings(train, test, contract, summaries),
        *giveaways(sample, sample[contract.target], contract, settings.seed),
        *separable(sample, held, contract, settings.seed),
    )
    return SparkPrepared(
        contract, raw.types, every[0], train, test, summaries, observed, breaches, list(findings), by_fold, sample,
        tuple(kept),
    )  # fmt: skip


def expression(sql: str) -> Any:
    """Return a column that SQL makes."""
    from pyspark.sql import functions as F

    return F.expr(sql)


@contextmanager
def _wrapping(session: "SparkSession") -> Iterator[None]:
    """Let products of whole numbers wrap around in the expressions that are made in the block, as hashes need them."""
    before = session.conf.get("spark.sql.ansi.enabled")
    session.conf.set("spark.sql.ansi.enabled", "false")
    try:
        yield
    finally:
        session.conf.set("spark.sql.ansi.enabled", str(before))


def _keyed(session: "SparkSession", table: "DataFrame", settings: TableSettings, words: Sequence[str]) -> "DataFrame":
    """Add the hash by which rows are split."""
    if not settings.split_column:
        kinds = {name: kind_of(sparksql.sql_type(kind)) for name, kind in table.dtypes}
        keyed = table.withColumn(KEY, expression(sparksql.content_sql(kinds, words)))
        return _hashed(session, keyed.withColumn(HASH, expression(sparksql.half_sql(KEY))).drop(KEY), HASH, settings)
    from pyspark.sql import functions as F

    seed = settings.seed

    @F.pandas_udf("bigint")  # type: ignore[call-overload,untyped-decorator,unused-ignore]
    def hashed(texts: pd.Series) -> pd.Series:
        return pd.Series(hashed_texts(texts.fillna("").to_numpy(dtype=object), seed).view(np.int64))

    level = sparksql.level_sql(settings.split_column, words)
    return table.withColumn(HASH, hashed(F.expr(f"coalesce({level}, '')")))


def _hashed(session: "SparkSession", table: "DataFrame", column: str, settings: TableSettings) -> "DataFrame":
    """Put the hash of a column of 64 bits by the seed in its place."""
    with _wrapping(session):
        for step in sparksql.hash_sqls(column, settings.seed):
            table = table.withColumn(column, expression(step))
    return table


def _target(raw: SparkRows, settings: TableSettings) -> "tuple[str, pd.Series[Any], str]":
    """Tell the task by the target.

    Returns
    -------
    task : str
        Classification or regression.
    labels : Series
        A few rows that stand for all: each value, the more often the more rows have it.
    value : str
        The SQL of the target as a number, or as it is.
    """
    name = settings.target
    kind = kind_of(raw.types[name])
    if kind in (NESTED, TIME):
        what = "dates" if kind == TIME else f"cells of the type {raw.types[name]}"
        raise UserError(f"target: {name!r} holds {what}; choose a column of labels or numbers, or make one by query.")
    reading = reading_of(raw, name, NUMERIC)
    if kind == WORDS and reading is None and settings.task != "classification":
        check_numbers(raw, name)
    value = raw.value(name, reading)
    counted = raw.frame.selectExpr(f"{value} AS v").where("v IS NOT NULL").groupBy("v").count()
    rows = counted.limit(MOST_CLASSES + 2).collect()
    numbers = reading is not None or kind == REAL
    if numbers:
        odd = (
            raw.frame.selectExpr(f"CAST({value} AS DOUBLE) AS v")
            .where("abs(v) = double('Infinity')")
            .limit(1)
            .collect()
        )
        if odd:
            raise infinite("target", name, odd[0][0])
    ranks = {count: rank for rank, count in enumerate(sorted({int(row["count"]) for row in rows}), start=2)}
    shown = [row["v"] for row in rows for _ in range(1 if row["count"] == 1 else ranks[int(row["count"])])]
    dtype = "float64" if numbers else "int64" if kind == INTEGER else "bool" if kind == BOOLEAN else object
    target = pd.Series(shown, name=name, dtype=dtype)
    task = find_task(target, settings.task) if len(target) else "regression"
    return task, labels_of(target, task, name), value


def _check_second(tested: SparkRows, settings: TableSettings, classes: Sequence[Any]) -> None:
    """Refuse a second table without a target, or with labels that training does not have."""
    if settings.target not in tested.names:
        raise UserError(
            f"test_data: {settings.test_data!r} lacks the columns {settings.target}; "
            "give a table with the training table's columns, or leave them out by drop."
        )
    text = sparksql.text_of(settings.target, tested.missing_words)
    wrong = tested.frame.where(f"{PLACE} IS NULL AND {text} IS NOT NULL").selectExpr(f"min({text})").collect()[0][0]
    if wrong is not None:
        known = f"their classes are {listed(classes)}" if classes else "it is a quantity in data"
        raise UserError(f"test_data: {settings.target!r} holds {wrong!r}, which the training rows do not; {known}.")


def _folded(
    session: "SparkSession",
    train: "DataFrame",
    settings: TableSettings,
    rows: int,
    labelled: bool,
    kept: "list[DataFrame]",
) -> "DataFrame":
    """Give every training row its fold by the hash of its hash, as `lifecycle.split.assign_folds` does."""
    again = "__again__"
    hashed = _hashed(session, train.withColumn(again, expression(HASH)), again, settings)
    if rows > DEALT_ROWS:
        folded = hashed.withColumn(FOLD, expression(sparksql.fold_sql(again, settings.folds)))
    else:
        if rows < 2 * settings.folds:
            raise UserError(
                f"folds: {rows} training rows are too few for {settings.folds} folds of at least two; "
                "give fewer folds or more rows."
            )
        known = hashed.groupBy(again).agg(expression(f"min({PLACE if labelled else 0})")).collect()
        hashes = np.array([row[0] for row in known], dtype=np.int64)
        codes = np.array([row[1] for row in known], dtype=np.int16)
        folds = deal(hashes.view(np.uint64), codes, settings.folds)
        from pyspark.sql import functions as F

        told = session.createDataFrame(pd.DataFrame({again: hashes, FOLD: folds.astype(np.int32)}))
        folded = hashed.join(F.broadcast(told), again)
    folded = folded.drop(again, HASH).persist()
    kept.append(folded)
    return folded


def _label_counts(rows: "DataFrame", folds: int, classes: int, labelled: bool) -> npt.NDArray[np.int64]:
    """Count the rows of each fold and class."""
    counts = np.zeros((folds, classes), dtype=np.int64)
    place = f"CAST({PLACE} AS INT)" if labelled else "0"
    for fold, label, count in rows.selectExpr(FOLD, f"{place} AS c").groupBy(FOLD, "c").count().collect():
        counts[fold, label] = count
    return counts


def features_of(rows: "DataFrame", contract: Contract, *more: str) -> "DataFrame":
    """Return rows as models read them, with the target's own labels or values, and more columns."""
    features = [column for column in contract.columns if column.name in contract.features]
    cells = [
        f"{sparksql.feature_sql(column, contract.missing_words)} AS {sparksql.quoted(column.name)}"
        for column in features
    ]
    target = sparksql.label_sql(PLACE, contract.classes) if contract.classes else PLACE
    return rows.selectExpr(*cells, f"{target} AS {sparksql.quoted(contract.target)}", *more)


def _sample(rows: SparkRows, contract: Contract, seed: int) -> pd.DataFrame:
    """Draw at most `AUDITED_ROWS` rows by the seed, whatever order they lie in."""
    frame = rows.frame
    if len(rows) > AUDITED_ROWS:
        frame = frame.orderBy(expression(f"xxhash64({sparksql.row_sql(contract)}, {seed})")).limit(AUDITED_ROWS)
    found: pd.DataFrame = features_of(frame, contract).toPandas()
    for column in contract.columns:
        if column.name in found and column.role == DATETIME:
            found[column.name] = pd.to_datetime(found[column.name])
        elif column.name in found and column.role == NUMERIC:
            found[column.name] = found[column.name].astype("float64")
    return found


def _twins(train: SparkRows, test: SparkRows, contract: Contract) -> int:
    """Count the test rows that stand in training too, by what models read of them and the target."""
    digest = f"{sparksql.row_sql(contract)} AS digest"
    known = train.frame.selectExpr(digest).distinct()
    return int(test.frame.selectExpr(digest).join(known, "digest", "left_semi").count())


def _crossings(
    train: SparkRows, test: SparkRows, contract: Contract, summaries: Mapping[str, Summary]
) -> Iterator[Finding]:
    """Count the test rows whose group or whose time is in training too, by the columns that say so."""
    for column in contract.columns:
        name, summary = column.name, summaries[column.name]
        times = column.role == DATETIME
        # Entities have a few rows each; what has many is a category.
        entities = looks_like_id(name) and summary.rows / 50 <= summary.distinct <= 0.95 * summary.rows
        if name not in test.types or not (times or entities):
            continue
        if times:
            cell = test.value(name, Reading(DATETIME, column.format))
            asked = f"count_if({cell} <= TIMESTAMP_NTZ {sparksql.literal(column.last)})"
            count = int(test.frame.selectExpr(asked).collect()[0][0])
        else:
            known = train.frame.selectExpr(f"{train.value(name)} AS cell").distinct()
            count = int(test.frame.selectExpr(f"{test.value(name)} AS cell").join(known, "cell", "left_semi").count())
        yield from crossing("hash", name, count, len(test), times)


def with_twins(prepared: SparkPrepared) -> "DataFrame":
    """Return the test rows with a flag, ``__twin__``, of those that stand in training too."""
    from pyspark.sql import functions as F

    test = prepared.test.frame
    if not any(finding.code == "twins" for finding in prepared.findings):
        return test.withColumn(TWIN_COLUMN, F.lit(False))
    digest = F.expr(sparksql.row_sql(prepared.contract)).alias("__digest__")
    known = prepared.train.frame.select(digest).distinct().withColumn(TWIN_COLUMN, F.lit(True))
    joined = test.select("*", digest).join(known, "__digest__", "left").drop("__digest__")
    return joined.withColumn(TWIN_COLUMN, F.expr(f"coalesce({TWIN_COLUMN}, false)"))

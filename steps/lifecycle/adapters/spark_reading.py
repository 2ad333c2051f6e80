"""Tables read in Spark: files with the columns and types that `prepare` finds in them, catalogs' tables, the query."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle import sparksql
from lifecycle.adapters import readers, sources
from lifecycle.adapters.preparation import workplace
from lifecycle.adapters.steps import Identity
from lifecycle.contract import CATEGORICAL, DATETIME, TEXT
from lifecycle.errors import UserError, listed
from lifecycle.settings import TableSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NANOSECONDS = "spark.sql.legacy.parquet.nanosAsLong"
_DAY = "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
# How the cells of a CSV file are written that `prepare` reads as a type: Spark's casts take more, such as 5d for a
# number and 2021 for a day, and drop the clock from a day and the zone from a time.
WRITTEN = {
    "BIGINT": "[+-]?[0-9]+",
    "DOUBLE": r"[+-]?(([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?|(?i:nan|inf|infinity))",
    "DATE": _DAY,
    "TIMESTAMP": rf"{_DAY}([ T][0-9]{{1,2}}:[0-9]{{2}}(:[0-9]{{2}}([.][0-9]{{1,9}})?)?)?",
}
# What a column is tried as, the narrowest first, by what its first rows tell; else it is of texts.
TRIED = {
    "BIGINT": ("BIGINT", "DOUBLE"),
    "DOUBLE": ("DOUBLE",),
    "DATE": ("DATE", "TIMESTAMP"),
    "TIMESTAMP": ("TIMESTAMP",),
}


def table_of(session: "SparkSession", option: str, name: str) -> "DataFrame":
    """Return a table of the session's catalogs.

    Raises
    ------
    UserError
        Where there is none of that name.
    """

    def sentence(words: str) -> str:
        return (
            f"{option}: Spark's catalogs have no table {name!r} ({words}); give a name as catalog.schema.table that "
            "this session may read, or a path."
        )

    with telling(sentence):
        return session.table(name)


def content_digest(rows: "DataFrame", option: str, name: str) -> str:
    """SHA-256 of a catalog's table: its columns, its number of rows, and its rows in whatever order.

    Raises
    ------
    UserError
        Where Spark fails to read it.
    """
    cells = []
    for field, kind in rows.dtypes:
        cell = sparksql.quoted(field)
        # What is inside of a cell may be missing too, and maps have no hash.
        nested = kind.startswith(("array", "struct", "map", "variant"))
        cells.append(f"to_json(struct({cell}), map('ignoreNullFields', 'false'))" if nested else cell)
    hashes = rows.selectExpr(f"{sparksql.cells_sql(cells)} AS h")
    with telling(unread(option, name)):
        [figures] = hashes.selectExpr("count(*)", "sum(CAST(h AS DECIMAL(38, 0)))", "bit_xor(h)").collect()
    text = f"{rows.schema.simpleString()}\n{figures[0]}\n{figures[1]}\n{figures[2]}"
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def telling(sentence: Callable[[str], str]) -> Iterator[None]:
    """Turn what Spark raises in the block into a sentence, which is made of Spark's own words.

    Raises
    ------
    UserError
        In place of any error of Spark.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        raise UserError(sentence(_said(error))) from error


def unread(option: str, shown: str, advice: str = "mend it, or give another one") -> Callable[[str], str]:
    """Return what makes the sentence of a table that Spark cannot read."""
    return lambda words: f"{option}: Spark cannot read {shown!r} ({words}); {advice}."


def _said(error: BaseException) -> str:
    """Return Spark's own words, one line without its code; of an error among others the one that has a code."""
    text = str(error).strip() or type(error).__name__
    coded = re.search(r"\[[A-Z][A-Z0-9_.]+\] (.+)", text)
    line = coded[1] if coded else text.splitlines()[0]
    return line.split(" SQLSTATE")[0].rstrip(". ")


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
        tables = [table_of(session, "data", settings.data)]
        if settings.test_data:
            tables.append(table_of(session, "test_data", settings.test_data))
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
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql import functions as F

    fine: dict[str, str | None] = {}
    for file in source.files:
        try:
            fields = pq.read_schema(file)
        except (pa.ArrowException, OSError) as error:
            named = repr(source.shown) if len(source.files) == 1 else f"{file.name!r} in {source.shown!r}"
            raise UserError(
                f"{source.option}: {named} cannot be read: it is no Parquet file, or one that is cut short; fetch or "
                "write it again, or name it by what it is."
            ) from error
        fine |= {field.name: field.type.tz for field in fields if str(field.type).startswith("timestamp[ns")}
    if fine and session.conf.get(NANOSECONDS, "false") != "true":
        raise UserError(
            f"{source.option}: {next(iter(fine))!r} holds times in nanoseconds, which this session of Spark does not "
            f"read; set {NANOSECONDS} to true in it, or write them in microseconds."
        )
    with telling(unread(source.option, source.shown)):
        table = session.read.option("mergeSchema", len(source.files) > 1).parquet(*map(_uri, source.files))
    for name, zone in fine.items():
        moment = f"timestamp_micros({sparksql.quoted(name)} div 1000)"
        table = table.withColumn(name, F.expr(moment if zone else f"CAST({moment} AS TIMESTAMP_NTZ)"))
    return table


def _uri(path: Path) -> str:
    # Without a scheme a cluster would look for it in its own file system. It is no URI: Hadoop takes %20 for what it
    # says, and a bracket for a pattern.
    return "file://" + re.sub(r"[][*?{}\\]", r"\\\g<0>", str(path.absolute()))


def _csv(session: "SparkSession", source: sources.Source, settings: TableSettings, folder: Path) -> "DataFrame":
    """Read CSV files with the columns, the marks and the types that `prepare` finds in them."""
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
            # Else a row that lacks cells is told only where all columns are asked for.
            columnPruning=False,
        )  # fmt: skip
        parts.append(reader.csv(_uri(layout.path)).select(*map(sparksql.quoted, names)))
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.unionByName(part)
    absent = ", ".join(sparksql.literal(word) for word in ("", *source.read.nullstr))
    present = {
        name: f"CASE WHEN {sparksql.quoted(name)} NOT IN ({absent}) THEN {sparksql.quoted(name)} END" for name in names
    }
    asked = {(name, kind): _fits(present[name], kind) for name, first in types.items() for kind in TRIED.get(first, ())}
    advice = "a cell may hold a line break, or a row lack cells; write it as Parquet first"
    with telling(unread(source.option, source.shown, advice)):
        _, *fits = whole.selectExpr("count(*)", *asked.values()).collect()[0]
    fitting: dict[str, str] = {}
    for (name, kind), fit in zip(asked, fits, strict=True):
        if fit is not False:
            fitting.setdefault(name, kind)
    return whole.selectExpr(
        *(
            f"CAST({present[name]} AS {_spark_type(fitting.get(name, 'VARCHAR'))}) AS {sparksql.quoted(name)}"
            for name in names
        )
    )


def _fits(text: str, kind: str) -> str:
    """Return the SQL of whether all of a column's texts are of a type."""
    written = sparksql.literal(rf"^\s*(?:{WRITTEN[kind]})\s*$")
    return (
        f"bool_and({text} IS NULL OR ({text} RLIKE {written} AND try_cast({text} AS {_spark_type(kind)}) IS NOT NULL))"
    )


def _spark_type(kind: str) -> str:
    return {"VARCHAR": "STRING", "TIMESTAMP": "TIMESTAMP_NTZ"}.get(kind, kind)


def _queried(session: "SparkSession", table: "DataFrame", query: str) -> "DataFrame":
    """Apply the user's SQL, which is Spark's here; the view is out of anybody's way."""

    def sentence(words: str) -> str:
        return f"query: Spark's SQL fails with {words!r}; the table `data` has the columns {listed(table.columns)}."

    view = f"lifecycle_{id(table):x}"
    table.createOrReplaceTempView(view)
    try:
        with telling(sentence):
            return session.sql(f"WITH data AS (SELECT * FROM {view}) SELECT * FROM ({query.rstrip().rstrip(';')})")
    finally:
        session.catalog.dropTempView(view)


def counted(tables: "Sequence[DataFrame]", settings: TableSettings) -> list[int]:
    """Count the rows of tables that Spark is to keep, which reads them for the first time.

    Raises
    ------
    UserError
        For a cell that the query fails at, and for a table that cannot be read to its end.
    """
    found = []
    for table, option in zip(tables, ("data", "test_data"), strict=False):
        sentence = unread(option, getattr(settings, option))
        if settings.query:
            sentence = _fails_in_a_row
        with telling(sentence):
            found.append(table.count())
    return found


def _fails_in_a_row(words: str) -> str:
    return (
        f"query: Spark's SQL fails at a row with {words!r}; write try_cast, try_divide or the like, or leave such rows "
        "out."
    )

"""From a source to a view in duckdb: rows in the source's order, columns typed; and the user's query over it."""

import codecs
import csv
import json
import re
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.adapters.sql import AS_PARQUET, literal, literals, quoted
from lifecycle.contract import check_twins, is_number
from lifecycle.errors import UserError, listed
from lifecycle.reading import ReadOptions
from lifecycle.settings import MISSING_WORDS

if TYPE_CHECKING:
    import duckdb

    from lifecycle.adapters.sources import Source

# BOOLEAN is none of them: Yes and No are words of the table, and a model is asked with them later.
CANDIDATES = ("BIGINT", "DOUBLE", "DATE", "TIMESTAMP", "VARCHAR")
MARKS = ",;\t|"
HEAD_BYTES = 1 << 20
# Doubles hold every whole number below this one.
EXACT = 2**53


@dataclass(frozen=True)
class Dialect:
    """How one CSV file is written, as far as duckdb must be told.

    Attributes
    ----------
    path : Path
        The file, or its copy in UTF-8.
    sep, quote, escape : str
        One character each, or none.
    names : tuple of str
        Its columns, in its own order.
    types : tuple of str
        Of each column, as far as the rows looked at tell.
    dateformat, timestampformat : str
        Empty where there are none.
    header : bool
        Whether a line of names stands before the rows.
    skip : int
        Lines before that one, blank ones included.
    """

    path: Path
    sep: str
    quote: str
    escape: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    dateformat: str
    timestampformat: str
    header: bool
    skip: int


def open_table(
    connection: "duckdb.DuckDBPyConnection",
    source: "Source",
    view: str,
    folder: Path,
    texts: Collection[str] = (),
) -> None:
    """Make a view of a source in a connection: rows in the source's order, columns typed.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where the view is made.
    source : Source
        What to read; located, and fetched where it is not here.
    view : str
        Name of the view; one of that name is replaced.
    folder : Path
        An existing folder for the Parquet files that CSV, JSON and Arrow are copied to; they are named after the view
        and must stay as long as the view is used. Parquet files are read where they are.
    texts : collection of str, optional
        Columns to read as text, of CSV alone.

    Raises
    ------
    UserError
        For anything that is wrong with the source's content.
    """
    import duckdb

    connection.execute("SET autoinstall_known_extensions = false")
    for file in source.files:
        if file.stat().st_size == 0:
            raise UserError(f"{source.option}: {_of(source, file)} is empty; give a table with a header and rows.")
    _check_meaning(source)
    folder = folder.absolute()
    try:
        if source.kind == "csv":
            definition, files = _copy_csv(connection, source, view, folder, texts)
        elif source.kind == "json":
            definition, files = _copy_json(connection, source, view, folder)
        elif source.kind == "arrow":
            definition, files = _copy_arrow(connection, source, view, folder)
        else:
            definition, files = _parquet(connection, source, list(source.files))
    except duckdb.Error as error:
        raise _told(source, error) from error
    _make_view(connection, view, definition, files)


def run_query(connection: "duckdb.DuckDBPyConnection", query: str, view: str, result: str, folder: Path) -> None:
    """Apply the user's SQL to a view that `open_table` or this function made.

    The query runs in a database of its own that knows the table by the name ``data`` and nothing else: no other file,
    no variable of ours, one thread and a fixed seed, so that its result and the order of its rows follow from the
    table.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where the view is, and where the result's is made.
    query : str
        SQL that names the raw table ``data``.
    view : str
        The view that stands for it.
    result : str
        Name of the view of the result, another one than ``view``; one of that name is replaced.
    folder : Path
        An existing folder for the result's Parquet file.

    Raises
    ------
    UserError
        Where the query fails, returns no table, or no rows.
    """
    import duckdb

    [(definition, comment)] = connection.execute(
        "SELECT sql, comment FROM duckdb_views() WHERE view_name = ?", [view]
    ).fetchall()
    columns = [row[0] for row in connection.execute(f"DESCRIBE {quoted(view)}").fetchall()]
    target = folder.absolute() / f"{result}.parquet"
    # Over a file that is there, duckdb would write one of another name first, which it may not here.
    target.unlink(missing_ok=True)
    with duckdb.connect() as confined:
        confined.execute("SET autoinstall_known_extensions = false")
        confined.execute(definition)
        if view != "data":
            confined.execute(f"CREATE VIEW data AS FROM {quoted(view)}")
        confined.execute(f"SET allowed_paths = {literals([*json.loads(comment), str(target)])}")
        confined.execute("SET threads = 1; SET python_enable_replacements = false; SELECT setseed(0.5)").fetchall()
        confined.execute("SET enable_external_access = false")
        try:
            statements = confined.extract_statements(query)
            if not statements or statements[-1].type != duckdb.StatementType.SELECT:
                raise UserError("query: the statement returns no table; give a SELECT over the table `data`.")
            relation = confined.sql(query)
            check_twins("query", query, relation.columns)
            relation.write_parquet(str(target), compression="lz4_raw")
        except duckdb.Error as error:
            target.unlink(missing_ok=True)
            raise UserError(
                f"query: it fails with {_first_line(error)!r}; the table `data` has the columns {listed(columns)}."
            ) from error
    found = connection.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [str(target)]).fetchall()
    if not found[0][0]:
        target.unlink(missing_ok=True)
        raise UserError("query: it returns no rows; give a query that keeps some.")
    _make_view(connection, result, f"FROM read_parquet({literals([str(target)])})", [target])


def read_table(source: "Source", query: str) -> Any:
    """Read a table whole, through the query if there is one.

    Text stays text: a column of Yes and No is not read as booleans. An empty cell is missing.

    Parameters
    ----------
    source : Source
        What to read.
    query : str
        SQL that names the raw table ``data``; empty for the table as it is.

    Returns
    -------
    pandas.DataFrame
        Integers with missing cells come as float64, dates as datetime64.

    Raises
    ------
    UserError
        Where the source is empty, cannot be read, or the query fails.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="lifecycle-") as folder, duckdb.connect() as connection:
        open_table(connection, source, "data", Path(folder))
        if query:
            run_query(connection, query, "data", "result", Path(folder))
        frame = connection.table("result" if query else "data").df()
    # Integers with missing cells come from duckdb as nullable ones.
    nullable = {name: "float64" for name, dtype in frame.dtypes.items() if str(dtype).lstrip("U")[:3] == "Int"}
    return frame.astype(nullable)


# The view.


def _make_view(connection: "duckdb.DuckDBPyConnection", view: str, definition: str, files: Iterable[Path]) -> None:
    """Make a view that bears the files beneath it as its comment: all that a query over it may read."""
    connection.execute(f"CREATE OR REPLACE VIEW {quoted(view)} AS {definition}")
    connection.execute(f"COMMENT ON VIEW {quoted(view)} IS {literal(json.dumps([str(file) for file in files]))}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _of(source: "Source", file: Path) -> str:
    """Name a file of a source for a sentence: the source itself where it has but one."""
    return repr(source.shown) if len(source.files) == 1 else f"{file.name!r} in {source.shown!r}"


def _check_meaning(source: "Source") -> None:
    """Refuse what ``read`` says that has no meaning for this kind of source.

    Raises
    ------
    UserError
        Naming it.
    """
    if source.kind == "csv":
        return
    for name in source.read.typed():
        if name != "nullstr":
            raise UserError(
                f"read: {name} is of CSV files alone, and {source.shown!r} is {source.kind_name}; leave {name} out."
            )


def _check_columns(source: "Source", file: Path, first: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a file whose columns are not those of the first one.

    Raises
    ------
    UserError
        Naming the file, and what it lacks or has beside.
    """
    if set(first) != set(names):
        lacks, beside = sorted(set(first) - set(names)), sorted(set(names) - set(first))
        raise UserError(
            f"{source.option}: {_of(source, file)} has other columns than {source.files[0].name!r} (it lacks "
            f"{listed(lacks)}, and has beside {listed(beside)}); give files of the same columns."
        )


def _without(nullstr: Sequence[str], columns: Iterable[tuple[str, str]]) -> str:
    """Write a list of columns for a SELECT in which the texts for missing cells are missing."""

    def present(name: str) -> str:
        # Not by NOT IN: of five words and more duckdb makes a join, after which rows come in any order.
        return " AND ".join(f"{quoted(name)} <> {literal(word)}" for word in nullstr)

    return ", ".join(
        f"CASE WHEN {present(name)} THEN {quoted(name)} END AS {quoted(name)}"
        if nullstr and kind == "VARCHAR"
        else quoted(name)
        for name, kind in columns
    )


def _described(connection: "duckdb.DuckDBPyConnection", table: str) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind, *_ in connection.execute(f"DESCRIBE FROM {table}").fetchall()]


# Parquet.


def _parquet(
    connection: "duckdb.DuckDBPyConnection", source: "Source", files: Sequence[Path]
) -> tuple[str, Sequence[Path]]:
    first: list[str] = []
    for file in files:
        nodes = connection.execute("SELECT name, num_children FROM parquet_schema(?)", [str(file)]).fetchall()
        names = _top_level(nodes)
        check_twins(source.option, source.shown, names)
        first = first or names
        _check_columns(source, file, first, names)
    several = ", union_by_name = true" if len(files) > 1 else ""
    table = f"read_parquet({literals(map(str, files))}{several}, hive_partitioning = false)"
    columns = _without(source.read.nullstr, _described(connection, table)) if source.read.nullstr else "*"
    return f"SELECT {columns} FROM {table}", files


def _top_level(nodes: list[tuple[str, int | None]]) -> list[str]:
    """Return the columns of a Parquet file's schema, which lists each nested column's parts after it."""
    names, inside = [], 0
    for name, children in nodes[1:]:
        if not inside:
            names.append(name)
        inside = max(inside - 1, 0) + (children or 0)
    return names


# JSON and Arrow.


def _copy_json(
    connection: "duckdb.DuckDBPyConnection", source: "Source", view: str, folder: Path
) -> tuple[str, Sequence[Path]]:
    import duckdb

    target = folder / f"{view}.parquet"
    for sample in (20_480, -1):
        table = f"read_json({literals(map(str, source.files))}, sample_size = {sample}, union_by_name = true)"
        first: list[str] = []
        for file in source.files:
            alone = _described(connection, f"read_json({literal(str(file))}, sample_size = {sample})")
            names = [name for name, _ in alone]
            check_twins(source.option, source.shown, names)
            first = first or names
            _check_columns(source, file, first, names)
        try:
            columns = _without(source.read.nullstr, _described(connection, table))
            connection.execute(f"COPY (SELECT {columns} FROM {table}) TO {literal(str(target))} {AS_PARQUET}")
        except duckdb.Error:
            if sample == -1:
                raise
            continue
        break
    return f"FROM read_parquet({literals([str(target)])})", [target]


def _copy_arrow(
    connection: "duckdb.DuckDBPyConnection", source: "Source", view: str, folder: Path
) -> tuple[str, Sequence[Path]]:
    import pyarrow as pa
    from pyarrow import feather

    parts: list[Path] = []
    first: list[str] = []
    for number, file in enumerate(source.files):
        try:
            try:
                table = feather.read_table(file, memory_map=False)
            except pa.ArrowInvalid:
                # Not the form of a file but that of a stream, which has no index at its end.
                with pa.OSFile(str(file)) as stream, pa.ipc.open_stream(stream) as reader:
                    table = reader.read_all()
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{source.option}: {_of(source, file)} cannot be read as Arrow: {_first_line(error)}; "
                "write it anew as Feather (version 2) or as an Arrow file or stream."
            ) from error
        names = table.column_names
        check_twins(source.option, source.shown, names)
        first = first or names
        _check_columns(source, file, first, names)
        parts.append(folder / f"{view}-{number}.parquet")
        relation = connection.from_arrow(table.select(first))
        relation.write_parquet(str(parts[-1]), compression="lz4_raw")
    return _parquet(connection, source, parts)


# CSV.

ISO_FORM = "%Y-%m-%d"


def _copy_csv(
    connection: "duckdb.DuckDBPyConnection", source: "Source", view: str, folder: Path, texts: Collection[str]
) -> tuple[str, Sequence[Path]]:
    """Copy CSV files to Parquet in one pass, with types that a sample of each file tells.

    Where a later row has another type, the whole files are looked at and read again.
    """
    import duckdb

    plain = [_in_utf8(source, file, folder / f"{view}-{i}.csv") for i, file in enumerate(source.files)]
    for whole in (False, True):
        dialects = [
            _dialect(connection, source, file, path, whole) for file, path in zip(source.files, plain, strict=True)
        ]
        names = dialects[0].names
        for file, dialect in zip(source.files, dialects, strict=True):
            _check_columns(source, file, names, dialect.names)
        types = _types(dialects, texts)
        # A cast to whole numbers would round a later fraction without a word, so they are read as doubles first.
        doubtful = [] if whole else [name for name, kind in types.items() if kind == "BIGINT"]
        read = types | dict.fromkeys(doubtful, "DOUBLE")
        parts = []
        try:
            for number, dialect in enumerate(dialects):
                parts.append(folder / f"{view}-{number}.parquet")
                _copy_one(connection, source, dialect, read, names, parts[-1])
        except duckdb.ConversionException:
            if whole:
                raise
            continue
        table = f"read_parquet({literals(map(str, parts))})"
        if not doubtful:
            break
        fits = _fits(connection, table, doubtful)
        if fits is not None:
            types |= {name: "DOUBLE" for name, is_whole in fits.items() if not is_whole}
            break
    columns = ", ".join(
        f"CAST({quoted(name)} AS BIGINT) AS {quoted(name)}"
        if name in doubtful and types[name] == "BIGINT"
        else quoted(name)
        for name in names
    )
    for path in set(plain) - set(source.files):
        path.unlink()
    return f"SELECT {columns} FROM {table}", parts


def csv_layouts(
    connection: "duckdb.DuckDBPyConnection", source: "Source", folder: Path, texts: Collection[str] = ()
) -> "tuple[list[Dialect], dict[str, str]]":
    """Tell how CSV files are written, for another engine that reads them.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Looks at the first rows of each.
    source : Source
        Located.
    folder : Path
        Where copies of files go that are not in UTF-8.
    texts : collection of str, optional
        Columns to read as text.

    Returns
    -------
    layouts : list of Dialect
        A file each.
    types : dict of str to str
        The SQL type of each column, as far as the rows looked at tell.

    Raises
    ------
    UserError
        For whatever is wrong with the files' headers.
    """
    import duckdb

    plain = [_in_utf8(source, file, folder / f"csv-{i}.csv") for i, file in enumerate(source.files)]
    try:
        layouts = [_dialect(connection, source, *pair, False) for pair in zip(source.files, plain, strict=True)]
    except duckdb.Error as error:
        raise _told(source, error) from error
    for file, layout in zip(source.files, layouts, strict=True):
        _check_columns(source, file, layouts[0].names, layout.names)
    return layouts, _types(layouts, texts)


def _copy_one(
    connection: "duckdb.DuckDBPyConnection",
    source: "Source",
    dialect: Dialect,
    types: dict[str, str],
    names: Sequence[str],
    target: Path,
) -> None:
    columns = ", ".join(f"{literal(name)}: {literal(types[name])}" for name in dialect.names)
    formats = {"dateformat": dialect.dateformat, "timestampformat": dialect.timestampformat}
    more = "".join(f", {name} = {literal(value)}" for name, value in formats.items() if value)
    table = (
        f"read_csv({literal(str(dialect.path))}, auto_detect = false, columns = {{{columns}}}, "
        f"header = {str(dialect.header).lower()}{_said(source.read, dialect, dialect.skip)}{more})"
    )
    selected = ", ".join(map(quoted, names))
    connection.execute(f"COPY (SELECT {selected} FROM {table}) TO {literal(str(target))} {AS_PARQUET}")


def _said(read: ReadOptions, dialect: Dialect | None, skip: int) -> str:
    """Write the arguments for duckdb's reader that do not come from the rows."""
    sep = dialect.sep if dialect else read.sep
    quote = dialect.quote if dialect else read.quote
    escape = dialect.escape if dialect else read.escape
    given = {"delim": sep, "quote": quote, "escape": escape, "comment": read.comment}
    written = [f"{name} = {literal(value)}" for name, value in given.items() if value is not None]
    written += [
        f"skip = {skip}",
        f"nullstr = {literals(['', *read.nullstr])}",
        f"decimal_separator = {literal(read.decimal)}",
    ]
    return ", " + ", ".join(written)


def _types(dialects: Sequence[Dialect], texts: Collection[str]) -> dict[str, str]:
    """Give each column one type for all files: of whole numbers and fractions the latter, else text."""
    found: dict[str, set[str]] = {}
    for dialect in dialects:
        for name, kind in zip(dialect.names, dialect.types, strict=True):
            found.setdefault(name, set()).add(kind)
    numbers = {"BIGINT", "DOUBLE"}
    types = {
        name: kinds.pop() if len(kinds) == 1 else "DOUBLE" if kinds == numbers else "VARCHAR"
        for name, kinds in found.items()
    }
    return types | {name: "VARCHAR" for name in texts if name in types}


def _fits(connection: "duckdb.DuckDBPyConnection", table: str, columns: Sequence[str]) -> dict[str, bool] | None:
    """Tell of columns of doubles which hold whole numbers alone; None where one is too large to be exact."""
    asked = ", ".join(
        f"coalesce(max(abs({quoted(name)})), 0) < {EXACT}, "
        f"coalesce(bool_and({quoted(name)} = trunc({quoted(name)})), true)"
        for name in columns
    )
    answers = connection.execute(f"SELECT {asked} FROM {table}").fetchall()[0]
    if not all(answers[::2]):
        return None
    return dict(zip(columns, answers[1::2], strict=True))


def _dialect(connection: "duckdb.DuckDBPyConnection", source: "Source", file: Path, path: Path, whole: bool) -> Dialect:
    """Find how a CSV file is written and what its columns hold, from its first rows or from all.

    Raises
    ------
    UserError
        Where the header cannot be right.
    """
    read = source.read
    skip = read.skip + _blank_lines(path, read.skip)
    sniffed = _sniffed(connection, source, path, whole, None, skip)
    quote = read.quote if read.quote is not None else _one(sniffed.get("Quote"), '"')
    escape = read.escape if read.escape is not None else _one(sniffed.get("Escape"), quote)
    sep = read.sep or _one(sniffed.get("Delimiter"), ",")
    first, second = _records(source, path, sep, quote)
    marks = [mark for mark in MARKS if mark in first[0]] if len(first) == 1 else []
    if read.sep is None and marks and not _is_one_column(first, second):
        # duckdb takes the whole line for one column where no separator cuts every row alike.
        sep = max(marks, key=first[0].count)
        first, second = _records(source, path, sep, quote)
        sniffed = {}
    if read.sep is None and len(first) == 1 and not marks and not read.names:
        _check_title(source, file, path)
    header = read.header is not False
    if header and not read.names:
        _check_header(source, file, first, second)
    names = _names(source, file, first)
    dialect = Dialect(path, sep, quote, escape, names, ("VARCHAR",) * len(names), "", "", header, skip)
    if len(sniffed.get("Columns", ())) != len(names):
        sniffed = _sniffed(connection, source, path, whole, dialect, skip)
    kinds = tuple(column["type"] for column in sniffed.get("Columns", ()))
    if len(kinds) != len(names):
        # The rows do not agree with the names. As text they are read until the first that does not.
        kinds = dialect.types
    # Before dates of another form are made text: below a second header alone is there something that was all text.
    if header and not whole and set(kinds) == {"VARCHAR"} and not read.names and not read.skip:
        _check_second_header(connection, source, file, dialect, first, second)
    # Dates in another form than ISO 8601 stay text: the contract finds their form, by which models read served rows.
    formats = {
        "DATE": read.dateformat or sniffed.get("DateFormat") or "",
        "TIMESTAMP": read.timestampformat or sniffed.get("TimestampFormat") or "",
    }
    asked = {"DATE": read.dateformat, "TIMESTAMP": read.timestampformat}
    foreign = {kind for kind, form in formats.items() if form and not asked[kind] and not form.startswith(ISO_FORM)}
    kinds = tuple("VARCHAR" if kind in foreign else kind for kind in kinds)
    return Dialect(
        path, sep, quote, escape, names, kinds, formats["DATE"], formats["TIMESTAMP"], header, skip,
    )  # fmt: skip


def _is_one_column(first: Sequence[str], second: Sequence[str]) -> bool:
    """Tell whether a table of one column has a quoted name that merely holds a separator."""
    return len(second) == 1 and not any(mark in second[0] for mark in MARKS) and " " in first[0]


def _sniffed(
    connection: "duckdb.DuckDBPyConnection", source: "Source", path: Path, whole: bool, dialect: Dialect | None,
    skip: int,
) -> dict[str, Any]:  # fmt: skip
    """Ask duckdb what a file looks like; an empty answer where it cannot tell."""
    import duckdb

    read = source.read
    said = _said(read, dialect, skip)
    formats = {"dateformat": read.dateformat, "timestampformat": read.timestampformat}
    said += "".join(f", {name} = {literal(value)}" for name, value in formats.items() if value)
    try:
        cursor = connection.execute(
            f"FROM sniff_csv({literal(str(path))}, auto_type_candidates = {literals(CANDIDATES)}, "
            f"sample_size = {-1 if whole else 20_480}, header = {str(read.header is not False).lower()}{said})"
        )
        row = cursor.fetchone()
    except duckdb.InvalidInputException:
        return {}
    described = [column[0] for column in cursor.description or ()]
    return dict(zip(described, row or (), strict=True))


def _one(value: str | None, default: str) -> str:
    """Return a character that duckdb found, which writes ``(empty)`` for none."""
    return value if value is not None and len(value) == 1 else default


def _records(source: "Source", path: Path, sep: str, quote: str) -> tuple[list[str], list[str]]:
    """Read the first two records of a CSV file after the lines to skip; either may be of several lines."""
    text = _head(path).decode("utf-8-sig", errors="replace")
    lines = text.splitlines(keepends=True)[source.read.skip :]
    if source.read.comment:
        lines = [line for line in lines if not line.startswith(source.read.comment)]
    records = csv.reader(
        lines, delimiter=sep, quotechar=quote or None, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    )
    found = []
    try:
        for record in records:
            if record:
                found.append(record)
            if len(found) == 2:
                break
    except csv.Error:
        pass
    if not found:
        raise UserError(
            f"{source.option}: {source.shown!r} holds no line after {source.read.skip} skipped ones; "
            "give a table with a header and rows."
        )
    return found[0], found[1] if len(found) > 1 else []


def _head(path: Path) -> bytes:
    """Read the beginning of a file, unpacked."""
    import pyarrow as pa

    with pa.input_stream(str(path), compression="detect") as stream:
        return bytes(stream.read(HEAD_BYTES))


def _blank_lines(path: Path, after: int) -> int:
    """Count the blank lines at a file's beginning, after some that are skipped anyway."""
    lines = _head(path).decode("utf-8-sig", errors="replace").splitlines()[after:]
    filled = (number for number, line in enumerate(lines) if line.strip())
    return next(filled, 0)


def _names(source: "Source", file: Path, first: Sequence[str]) -> tuple[str, ...]:
    """Return the columns' names: those of ``read``, those of the first line, or numbers where there are neither."""
    read = source.read
    if read.names and len(read.names) != len(first):
        raise UserError(
            f"read: names gives {len(read.names)} names, and {_of(source, file)} has {len(first)} cells in its first "
            "line; name every column."
        )
    names = read.names or (first if read.header is not False else [""] * len(first))
    check_twins(source.option, source.shown, names)
    return tuple(name or f"column{i}" for i, name in enumerate(names))


def _check_header(source: "Source", file: Path, first: Sequence[str], second: Sequence[str]) -> None:
    """Refuse a first line that is not one of names.

    Raises
    ------
    UserError
        Where all of it are numbers, or it is narrower than the line after it.
    """
    if source.read.header is None and all(is_number(cell) for cell in first):
        names = ",".join("abcdefghijkl"[: len(first)])
        raise UserError(
            f"{source.option}: {_of(source, file)} has numbers in its first line ({listed(first, 4)}), where "
            f'names were expected; name the columns, such as -P read="header=false; names={names}", or say header=true.'
        )
    if len(first) == 1 < len(second):
        raise UserError(
            f"{source.option}: {_of(source, file)} has 1 name in its first line, {first[0][:60]!r}, and {len(second)} "
            "cells in the next; where the names stand further down, say how many lines to leave out, such as "
            '-P read="skip=1".'
        )


def _check_title(source: "Source", file: Path, path: Path) -> None:
    """Refuse a first line without any separator over lines that agree on one: for duckdb all are one column.

    Raises
    ------
    UserError
        Saying how to skip it.
    """
    first, *rest = _head(path).decode("utf-8-sig", errors="replace").splitlines()[source.read.skip :][:6]
    for mark in MARKS:
        counts = {line.count(mark) for line in rest if line}
        if len(counts) == 1 and counts != {0}:
            _check_header(source, file, [first], rest[0].split(mark))


def _check_second_header(
    connection: "duckdb.DuckDBPyConnection", source: "Source", file: Path, dialect: Dialect, first: Sequence[str],
    second: Sequence[str],
) -> None:  # fmt: skip
    """Refuse a second line of names, or one of units: without it, columns that were all text hold numbers.

    Raises
    ------
    UserError
        Saying how to skip the first, or both.
    """
    after = _sniffed(connection, source, dialect.path, False, dialect, dialect.skip + 1).get("Columns", ())
    if len(after) != len(dialect.names) or len(second) != len(after):
        return
    # A missing cell in the first row is no name.
    above = [cell.strip() for cell, column in zip(second, after, strict=True) if column["type"] != "VARCHAR"]
    if any(cell and cell not in MISSING_WORDS for cell in above):
        names = ",".join((*first[:12], "...") if len(first) > 12 else first)
        raise UserError(
            f"{source.option}: {_of(source, file)} has text in its second line, and numbers or dates below it; where "
            'the second holds the names, say -P read="skip=1", and where it holds units or the like, name the columns, '
            f'-P read="skip=2; header=false; names={names}".'
        )


# Text that is not UTF-8.


def _in_utf8(source: "Source", file: Path, copy: Path) -> Path:
    """Return a CSV file in UTF-8: itself, or a copy where it is of another encoding.

    Raises
    ------
    UserError
        Where a byte cannot be of the encoding.
    """
    import pyarrow as pa

    try:
        start = _head(file)[:4]
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{source.option}: {_of(source, file)} cannot be unpacked ({_first_line(error)}); it is cut short or of "
            "another kind than its name says, so fetch or pack it again."
        ) from error
    encoding = source.read.encoding
    if not encoding and start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    if encoding in ("", "utf-8", "ascii"):
        return file
    decoder, read = codecs.getincrementaldecoder(encoding)(), 0
    with (
        pa.input_stream(str(file), compression="detect") as stream,
        copy.open("w", encoding="utf-8", newline="") as out,
    ):
        while True:
            block = bytes(stream.read(HEAD_BYTES))
            held = len(decoder.getstate()[0])
            try:
                out.write(decoder.decode(block, final=not block).removeprefix("\ufeff" if not read else ""))
            except UnicodeDecodeError as error:
                offset = read - held + error.start
                raise UserError(
                    f"read: byte {offset} of {_of(source, file)} cannot be of the encoding {encoding}; "
                    "give the one that it was written in."
                ) from error
            if not block:
                return copy
            read += len(block)


def _undecodable(path: Path) -> tuple[int, int, str]:
    """Find the first byte of a file that is not UTF-8: its offset, its line and what it is."""
    import pyarrow as pa

    decoder, read, line = codecs.getincrementaldecoder("utf-8")(), 0, 1
    with pa.input_stream(str(path), compression="detect") as stream:
        while True:
            block = bytes(stream.read(HEAD_BYTES))
            held = decoder.getstate()[0]
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                every = held + block
                line += every[: error.start].count(b"\n")
                return read - len(held) + error.start, line, f"0x{every[error.start]:02x}"
            if not block:
                raise LookupError("every byte is UTF-8")
            read += len(block)


# What duckdb says, as a sentence.


def _told(source: "Source", error: Exception) -> UserError:
    """Turn an error of duckdb's readers into a sentence about the user's file."""
    text = str(error)
    file = next((file for file in source.files if str(file) in text), source.files[0])
    line = re.search(r"CSV Error on Line: (\d+)", text)
    width = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    where = _of(source, file)
    if line and width:
        # A line over the table has fewer cells than the names below it.
        title = int(line[1]) == source.read.skip + 2 and int(width[1]) < int(width[2])
        more = ', or where the names stand further down, say so, such as -P read="skip=1"' if title else ""
        return UserError(
            f"{source.option}: {where} has {width[1]} names in its first line, and {width[2]} cells in line {line[1]}; "
            f"give every row as many cells as there are names{more}."
        )
    if line and "unterminated quote" in text:
        return UserError(
            f"{source.option}: {where} opens a quote in line {line[1]} that is not closed; close it, or say that "
            'quotes are plain characters, such as -P read="quote=".'
        )
    if "magic bytes" in text:
        return UserError(
            f"{source.option}: {where} cannot be read: it is no Parquet file, or one that is cut short; fetch or write "
            "it again, or name it by what it is."
        )
    if "Invalid unicode" in text or "not utf-8 encoded" in text:
        try:
            offset, at, byte = _undecodable(file)
        except LookupError:
            pass
        else:
            return UserError(
                f"{source.option}: {where} is not UTF-8: byte {offset} ({byte}, in line {at}) cannot be read; say its "
                'encoding, such as -P read="encoding=cp1252" (Western Windows), latin-1 or utf-16.'
            )
    if re.search("GZIP|ZSTD|zstd|frame descriptor|Src size|decompress", text):
        return UserError(
            f"{source.option}: {where} cannot be unpacked ({_first_line(error)}); it is cut short or of another kind "
            "than its name says, so fetch or pack it again."
        )
    said = _first_line(error)
    if line:
        # The first line only says where, the next ones show the row, and then comes what is wrong.
        wrong = re.search(
            r"^(Error when|Could not|Value with|Maximum|Invalid).*", text.partition("\n")[2], re.MULTILINE
        )
        said = f"line {line[1]}: {wrong[0] if wrong else said}"
    return UserError(f"{source.option}: {where} cannot be read: {said.rstrip('. ')}.")

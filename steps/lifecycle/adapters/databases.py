"""Tables of databases and of Delta Lake, copied to one Parquet file whose bytes follow from their rows."""

import json
import os
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.adapters.places import Place, without_secrets
from lifecycle.contract import check_twins
from lifecycle.errors import UserError, listed

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import URL, Connection, Engine, Table

DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
EXTRAS = {"psycopg": "psycopg[binary]", "pymysql": "pymysql"}
CHUNK = 20_000
CONNECT_SECONDS = 10


def expanded(option: str, text: str) -> str:
    """Put the values of environment variables, ``$NAME`` or ``${NAME}``, into an address.

    Raises
    ------
    UserError
        Naming a variable that is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise UserError(f"{option}: the address names the variable ${name}, which is not set; export it first.")
        return os.environ[name]

    return re.sub(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", value, text)


def absent(option: str, shown: str, package: str) -> UserError:
    """Tell that a package is needed for an address, and how it is installed."""
    return UserError(
        f"{option}: {shown!r} needs the package {package}, which is not installed; `pip install '{package}'` into the "
        "active environment, or add it to python_env.yaml as docs/sources.md shows."
    )


def fetch(option: str, asked: str, folder: Path) -> Path:
    """Copy a database's table to one Parquet file, its rows sorted by all columns.

    Parameters
    ----------
    option : str
        ``data`` or ``test_data``.
    asked : str
        SQLAlchemy's address with ``?table=name`` or ``?table=schema.name``.
    folder : Path
        Where the file goes.

    Returns
    -------
    Path
        Of the file. Whole numbers are int64 with nulls, decimals and floats are doubles, dates and times are such.

    Raises
    ------
    UserError
        Where the server, the database or the table cannot be reached or read; never with a password in it.
    """
    import sqlalchemy
    from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

    shown = without_secrets(asked)
    url, named = _url(option, asked, shown)
    try:
        engine = sqlalchemy.create_engine(url, connect_args=_arguments(url))
    except (ImportError, NoSuchModuleError) as error:
        driver = getattr(error, "name", "") or url.drivername.partition("+")[2]
        raise absent(option, shown, EXTRAS.get(driver, driver or url.drivername)) from error
    raw = folder / "rows.parquet"
    try:
        with engine.connect() as connection:
            table = _table(option, shown, engine, named)
            _copy(option, shown, connection, table, raw)
    except DBAPIError as error:
        raise _refused(option, shown, url, error.orig or error) from error
    except SQLAlchemyError as error:
        raise _refused(option, shown, url, error) from error
    finally:
        engine.dispose()
    return in_order(raw, folder / f"{table.name}.parquet")


def _url(option: str, asked: str, shown: str) -> tuple["URL", str]:
    """Return the address without its table, and the table's name."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(asked)
    except (ArgumentError, ValueError) as error:
        raise UserError(
            f"{option}: {shown!r} is no address of a database; write it as dialect://user:password@host:port/database"
            "?table=name, and signs such as @ : / in a password as %40 %3A %2F."
        ) from error
    named = url.query.get("table", "")
    url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername)).difference_update_query(["table"])
    # Only now, so that a password may hold any sign.
    parts = {
        part: expanded(option, value)
        for part in ("username", "password", "host", "database")
        if isinstance(value := getattr(url, part), str)
    }
    url = url.set(**parts)  # type: ignore[arg-type]
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "").expanduser()
        if not file.is_file():
            raise UserError(
                f"{option}: there is no SQLite file {str(file)!r}; give its absolute path, with four slashes, such as "
                "sqlite:////home/me/shop.db?table=orders."
            )
        with file.open("rb") as stream:
            start = stream.read(16)
        if start not in (b"", b"SQLite format 3\0"):
            raise UserError(f"{option}: {str(file)!r} is no SQLite database; give one that is.")
        url = url.set(database=str(file.absolute()))
    return url, str(named)


def _arguments(url: "URL") -> dict[str, Any]:
    """Return what makes the driver give up in seconds where nobody answers."""
    return {} if url.get_backend_name() == "sqlite" else {"connect_timeout": CONNECT_SECONDS}


def _table(option: str, shown: str, engine: "Engine", named: str) -> "Table":
    """Find a table or view, and its columns with their types.

    Raises
    ------
    UserError
        Where there is none, with the nearest names.
    """
    import sqlalchemy
    from sqlalchemy.exc import NoSuchTableError

    schema, _, name = named.rpartition(".")
    inspector = sqlalchemy.inspect(engine)
    try:
        return sqlalchemy.Table(name, sqlalchemy.MetaData(), schema=schema or None, autoload_with=engine)
    except NoSuchTableError as error:
        known = [*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)]
        near = get_close_matches(name, known, n=3)
        hint = f"near it are {listed(near)}" if near else f"there are {listed(sorted(known))}"
        raise UserError(f"{option}: there is no table {named!r} in {shown.split('?')[0]!r}; {hint}.") from error


def _copy(option: str, shown: str, connection: "Connection", table: "Table", target: Path) -> None:
    """Write a table's rows to Parquet, some thousands at a time.

    Raises
    ------
    UserError
        Where a cell is not of its column's type, as SQLite allows.
    """
    import pyarrow as pa
    import sqlalchemy
    from pyarrow import parquet

    check_twins(option, shown, [column.name for column in table.columns])
    kinds = [_kind(connection, table, column) for column in table.columns]
    schema = pa.schema([(column.name, kind) for column, (kind, _) in zip(table.columns, kinds, strict=True)])
    rows = connection.execution_options(stream_results=True, yield_per=CHUNK).execute(sqlalchemy.select(table))
    with parquet.ParquetWriter(target, schema, compression="lz4") as writer:
        try:
            for chunk in rows.partitions():
                cells = zip(*chunk, strict=True)
                arrays = [
                    _array(column.name, values, kind, change)
                    for column, values, (kind, change) in zip(table.columns, cells, kinds, strict=True)
                ]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
        except (TypeError, ValueError, ArithmeticError) as error:
            raise UserError(
                f"{option}: {shown!r} has a cell that is not of its column's type ({_line(error)}); mend the cell, or "
                "make a view that casts the column, and name that one."
            ) from error


def _array(name: str, values: Sequence[Any], kind: "pa.DataType", change: Callable[[Any], Any] | None) -> "pa.Array":
    import pyarrow as pa

    try:
        return pa.array([None if v is None else change(v) for v in values] if change else values, type=kind)
    except (pa.ArrowException, TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"column {name!r}: {_line(error)}") from error


def _kind(connection: "Connection", table: "Table", column: Any) -> tuple["pa.DataType", Callable[[Any], Any] | None]:
    """Return the Arrow type of a column, and what makes its cells fit."""
    import pyarrow as pa
    from sqlalchemy import types

    kind = column.type
    if isinstance(kind, types.NullType) and connection.dialect.name == "sqlite":
        return _stored(connection, table, column)
    if isinstance(kind, types.Boolean):
        return pa.bool_(), None
    if isinstance(kind, types.Integer):
        return pa.int64(), None
    if isinstance(kind, types.Numeric | types.Float):
        return pa.float64(), float
    if isinstance(kind, types.DateTime):
        return pa.timestamp("us"), _in_utc
    if isinstance(kind, types.Date):
        return pa.date32(), None
    if isinstance(kind, types.Time):
        return pa.time64("us"), None
    if isinstance(kind, types.LargeBinary):
        return pa.binary(), bytes
    return pa.string(), _as_text


def _stored(connection: "Connection", table: "Table", column: Any) -> tuple["pa.DataType", Callable[[Any], Any] | None]:
    """Tell the type of a SQLite column that declares none, such as an expression of a view, by what is stored."""
    import pyarrow as pa
    import sqlalchemy

    asked = sqlalchemy.select(sqlalchemy.func.typeof(column)).distinct()
    found = {row[0] for row in connection.execute(asked)} - {"null"}
    if found and found <= {"integer", "real"}:
        return (pa.int64(), None) if found == {"integer"} else (pa.float64(), float)
    return pa.string(), _as_text


def _in_utc(moment: Any) -> Any:
    """Return a moment without its zone, in UTC if it has one."""
    from datetime import UTC

    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str) if isinstance(value, dict | list) else str(value)


def _line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def _refused(option: str, shown: str, url: "URL", error: BaseException) -> UserError:
    """Turn what a server or driver says into a sentence that holds no password."""
    said = str(error).strip() or type(error).__name__
    if url.password:
        said = said.replace(str(url.password), "***")
    place = f"{url.host or 'the local server'}" + (f":{url.port}" if url.port else "")
    if re.search("password authentication failed|Access denied|no password supplied|role .* does not exist", said):
        return UserError(
            f"{option}: the server of {shown!r} refuses user and password; give the right ones, for example as "
            f"'{url.get_backend_name()}://$USER:$PASSWORD@...' with both variables exported."
        )
    if re.search(r"database .* does not exist|Unknown database", said):
        return UserError(f"{option}: there is no database {url.database!r} at {place}; create it or name another.")
    if re.search("refused|time[d ]*out|translate host|resolve|No such file|Can't connect|unreachable", said):
        return UserError(
            f"{option}: no database server answers at {place} for {shown!r}; start it, or mend host and port."
        )
    lines = [line for line in said.splitlines() if line.strip()]
    return UserError(f"{option}: {shown!r} cannot be read: {lines[0].rstrip('.')}.")


def in_order(rows: Path, target: Path) -> Path:
    """Write the rows of a Parquet file anew, sorted by all columns, so that content alone decides the bytes.

    Returns
    -------
    Path
        The new file; the former one is removed.
    """
    import duckdb

    with duckdb.connect() as connection:
        # More threads cut the row groups where chance has it.
        connection.execute("SET threads = 1")
        connection.read_parquet(str(rows)).order("ALL").write_parquet(str(target), compression="lz4_raw")
    if rows != target:
        rows.unlink()
    return target


def fetch_delta(option: str, place: Place, folder: Path) -> Path:
    """Copy one version of a Delta table to a Parquet file, its rows sorted by all columns.

    Parameters
    ----------
    option : str
        ``data`` or ``test_data``.
    place : Place
        The table's folder, and the version if one was asked for; else the newest.
    folder : Path
        Where the file goes.

    Raises
    ------
    UserError
        Where there is no such version, or the table uses what this reader does not know.
    """
    try:
        import deltalake
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise absent(option, place.shown, "deltalake") from error
    from pyarrow import ArrowException, parquet

    path = Path(place.path).expanduser()
    rows = folder / "rows.parquet"
    try:
        newest = deltalake.DeltaTable(str(path)).version()
        if place.version is not None and place.version > newest:
            raise UserError(
                f"{option}: {place.shown!r} asks for version {place.version}, and the newest is {newest}; "
                "give one of 0 to it."
            )
        table = deltalake.DeltaTable(str(path), version=place.version)
        data = table.to_pyarrow_dataset()
        check_twins(option, place.shown, data.schema.names)
        with parquet.ParquetWriter(rows, data.schema, compression="lz4") as writer:
            for batch in data.to_batches():
                writer.write_batch(batch)
    except (DeltaError, ArrowException, OSError, NotImplementedError) as error:
        raise UserError(f"{option}: {place.shown!r} cannot be read as a Delta table: {_line(error)}.") from error
    return in_order(rows, folder / f"{path.name}.parquet")

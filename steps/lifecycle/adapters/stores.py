"""Databases as tracking stores: made once, under a lock, and opened so that many may write to them."""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

LOCK_SECONDS = 120.0
BUSY_SECONDS = 20.0
# Any number does, as long as all processes that make a store ask for the same one.
ADVISORY_LOCK = 7_261_954_110
# Of the name of a file that is being made.
UNFINISHED = ".new"
# mlflow's last act on a new store: its tables are all there by then.
MADE = "SELECT 1 FROM experiments WHERE experiment_id = 0"


def file_of(uri: str) -> Path | None:
    """Return the file of an SQLite store; None for any other store, and for one in memory."""
    name = uri.removeprefix("sqlite:///")
    return Path(name) if name not in (uri, "", ":memory:") else None


@contextmanager
def making(uri: str) -> Iterator[str]:
    """Hold the others off while a store that is not there yet is made, within the block.

    mlflow makes a store's tables, the registry's among them, with its first call, by some fifty migrations; of
    several processes that find no tables, all but one break, and a file whose migrations were broken off is of no use
    to anybody. A store that stands is not locked at all.

    Parameters
    ----------
    uri : str
        The store's address; for other stores than SQLite and PostgreSQL nothing is done.

    Yields
    ------
    str
        The address to make it at. An SQLite file is made beside its place, which it takes when the block ends well.

    Raises
    ------
    OSError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError
        Where the database cannot be opened, or another process has held the lock for two minutes.
    """
    path = file_of(uri)
    if path is not None and path.parent.is_dir():
        with _file_made(path) as place:
            yield f"sqlite:///{place}"
    elif uri.startswith("postgresql"):
        with _database_made(uri):
            yield uri
    else:
        yield uri


@contextmanager
def _file_made(path: Path) -> Iterator[Path]:
    _write_ahead()
    if _stands(path):
        yield path
        return
    # A second SQLite file is a lock that every system has, and that the system drops when its holder dies.
    beside = path.with_name(f"{path.name}.lock")
    with closing(sqlite3.connect(beside, timeout=LOCK_SECONDS, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            # Whoever made the store has removed the lock from under those who waited for it.
            if not _stands(path):
                raise
        if path.exists():
            yield path
        else:
            unfinished = path.with_name(f"{path.name}{UNFINISHED}")
            unfinished.unlink(missing_ok=True)
            try:
                yield unfinished
                _on_disk(unfinished)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
            _stands(path)
    with suppress(OSError):
        beside.unlink()


def _stands(path: Path) -> bool:
    """Tell whether an SQLite file is a store already, and let it write ahead if nobody is in its way."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        # Writers then do not wait for readers, and a commit appends to one file instead of making and removing one.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return False
        return connection.execute(MADE).fetchone() is not None


@cache
def _write_ahead() -> None:
    """Let every connection to an SQLite file that writes ahead leave the disk to `settle`."""
    from sqlalchemy import Engine, event

    def opened(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
            if connection.execute("PRAGMA database_list").fetchone()[2].endswith(UNFINISHED):
                # Nobody reads it before it is whole, and then it is waited for once.
                connection.execute("PRAGMA journal_mode = MEMORY")
                connection.execute("PRAGMA synchronous = OFF")
            # Without the second file a power cut could leave the database torn; with it, only shorter.
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                connection.execute("PRAGMA synchronous = NORMAL")

    event.listen(Engine, "connect", opened)


@contextmanager
def _database_made(uri: str) -> Iterator[None]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        if sqlalchemy.inspect(connection).has_table("experiments") and connection.scalar(sqlalchemy.text(MADE)):
            yield
            return
        until = time.monotonic() + LOCK_SECONDS
        # Tried again and again rather than waited for: one who waits within a transaction would stop some migrations.
        while not connection.scalar(sqlalchemy.text(f"SELECT pg_try_advisory_lock({ADVISORY_LOCK})")):
            connection.rollback()
            if time.monotonic() > until:
                raise TimeoutError(f"another process has been making its tables for {LOCK_SECONDS:.0f} s")
            time.sleep(0.2)
        connection.commit()
        # The lock is the session's, and goes with it.
        yield


def settle(uri: str) -> None:
    """Wait until all that has been committed to an SQLite store is on the disk: what a power cut leaves.

    One wait for all commits since the last one, instead of one for each of them.
    """
    path = file_of(uri)
    if path is None:
        return
    # No such file: the store does not write ahead, and each commit has been waited for.
    with suppress(FileNotFoundError):
        _on_disk(Path(f"{path}-wal"))


def _on_disk(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file)


def shown(uri: str) -> str:
    """Return a store's address without what stands before the last @, which may be a password, and its query."""
    return re.sub(r"//.*@", "//", uri.partition("?")[0])

"""Where scored rows go: judged before any work is done, written beside the place, put there when they are whole."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import pyarrow as pa

from lifecycle.adapters.places import parse_place
from lifecycle.errors import UserError

# In the hidden folder: the new rows, and what they take the place of.
NEW, FORMER = "rows", "former"
PARQUET, DELTA, TABLE = "parquet", "delta", "table"
SUFFIXES = {".parquet": PARQUET, ".pq": PARQUET, ".delta": DELTA}
# What Spark and Delta Lake write, marks and checksums included.
WRITTEN = re.compile(r"part-.*|.*\.parquet|_SUCCESS|_delta_log|_committed_.*|_started_.*|\..*\.crc")


@dataclass(frozen=True)
class Output:
    """Where scored rows go.

    Attributes
    ----------
    asked : str
        As typed.
    form : str
        ``parquet``, ``delta``, or ``table`` for one of a catalog, which Spark alone writes.
    path : Path
        Of a file or folder here, absolute; of a table its name.
    overwrite : bool
        Whether what is there may be replaced.
    """

    asked: str
    form: str
    path: Path
    overwrite: bool

    @contextmanager
    def beside(self) -> Iterator[Path]:
        """Give a hidden folder beside the place, on the same disk, which is gone when the block ends.

        What `put` has moved out of the way is moved back if the new rows did not take its place.

        Raises
        ------
        UserError
            Where the disk refuses it.
        """
        # Not by tempfile, whose folders are for this user alone: executors may be another's.
        folder = self.path.with_name(f".{self.path.name}.{token_hex(4)}")
        with told():
            folder.mkdir()
        try:
            yield folder
        finally:
            # Whoever interrupts this, too, finds the former output in the folder.
            if self._settled(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def put(self, written: Path) -> None:
        """Put a file or folder that is whole in its place.

        Parameters
        ----------
        written : Path
            `NEW` in the folder beside it.

        Raises
        ------
        UserError
            Where something has appeared there that may not be replaced, or the disk refuses.
        """
        former = written.with_name(FORMER)
        try:
            if self.path.exists():
                check_free(self)
                if written.is_dir() or self.path.is_dir():
                    # Folders cannot be exchanged in one go.
                    self.path.rename(former)
            written.replace(self.path)
        except OSError as error:
            kept = "" if self._settled(written.parent) else f"; what stood there is {str(former)!r} now"
            raise UserError(
                f"output: the rows cannot take their place at {str(self.path)!r} ({error}){kept}; give another path, "
                "or make room."
            ) from error

    def _settled(self, folder: Path) -> bool:
        """Tell whether nothing in the folder beside is missed: a former output is moved back, or has been replaced."""
        former = folder / FORMER
        if former.exists() and (folder / NEW).exists() and not self.path.exists():
            with suppress(OSError):
                former.rename(self.path)
        return not (former.exists() and (folder / NEW).exists())

    def holds_delta(self) -> bool:
        """Tell whether a Delta table stands there, whose next version new rows can be.

        Raises
        ------
        UserError
            Where it may not be replaced, such as one that has appeared since the options were read.
        """
        found = self.form == DELTA and (self.path / "_delta_log").is_dir()
        if found:
            check_free(self)
        return found


def parse_output(asked: str, engine: str, overwrite: bool) -> Output:
    """Tell what ``output`` points at, and refuse it while nothing has been done yet.

    Parameters
    ----------
    asked : str
        A path that ends in .parquet or .delta; with ``engine=spark`` also a table's three-part name.
    engine : str
        ``local`` or ``spark``.
    overwrite : bool
        Whether what is there may be replaced.

    Raises
    ------
    UserError
        Where the path is of another kind, relative to a folder that the user does not stand in, in no folder that can
        be written to, or taken.
    """
    place = parse_place("output", asked)
    path = Path(place.path).expanduser()
    form = SUFFIXES.get(path.suffix.lower(), "")
    if place.form == "catalog" and not form and engine == "spark":
        return Output(asked, TABLE, Path(asked), overwrite)
    if place.is_remote or not form:
        table = ", or catalog.schema.table" if engine == "spark" else ""
        raise UserError(
            f"output: {place.shown!r} is no place to write to; give a path that ends in .parquet, in .delta for a "
            f"Delta table{table}."
        )
    if not path.is_absolute() and "MLFLOW_RUN_ID" in os.environ:
        raise UserError(
            f"output: {asked!r} would lie in {str(Path.cwd())!r}, where the project runs; give the absolute path, such "
            f'as -P output="$PWD/{asked.removeprefix("./")}".'
        )
    output = Output(asked, form, path.absolute(), overwrite)
    folder = output.path.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "there is no folder" if not folder.is_dir() else "nobody may write to the folder"
        raise UserError(f"output: {what} {str(folder)!r}; make it, or give another path.")
    check_free(output)
    return output


def check_free(output: Output) -> None:
    """Refuse a place that is taken, unless it may be replaced: a file, or a folder of nothing but part files.

    Raises
    ------
    UserError
        Naming what is there.
    """
    path = output.path
    if not path.exists():
        return
    if not output.overwrite:
        raise UserError(f"output: {str(path)!r} exists; give another path, or -P overwrite=true, which replaces it.")
    strangers = [one.name for one in path.iterdir() if not WRITTEN.fullmatch(one.name)] if path.is_dir() else []
    if strangers:
        raise UserError(
            f"output: {str(path)!r} is a folder that holds {sorted(strangers)[0]!r}, which no scoring wrote, so it is "
            "not replaced; give another path."
        )


@contextmanager
def told(*others: type[Exception]) -> Iterator[None]:
    """Make a sentence of what the disk refuses, which some libraries tell by types of their own.

    Raises
    ------
    UserError
        With the first line of what was said.
    """
    refusals: tuple[type[Exception], ...] = (OSError, *others)
    try:
        yield
    except refusals as error:
        words = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(f"output: it cannot be written ({words}); give another path, or make room.") from error


def write_parquet(path: Path, first: pa.RecordBatch, batches: Iterator[pa.RecordBatch]) -> None:
    """Write batches as one Parquet file, a group of rows each."""
    from pyarrow import parquet

    with told(), parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


def write_delta(path: Path, first: pa.RecordBatch, batches: Iterator[pa.RecordBatch]) -> None:
    """Write batches as a Delta table; over one that is there as its next version."""
    import deltalake

    met: list[BaseException] = []

    def every() -> Iterator[pa.RecordBatch]:
        yield first
        try:
            yield from batches
        except (Exception, KeyboardInterrupt) as error:
            met.append(error)
            raise

    reader = pa.RecordBatchReader.from_batches(first.schema, every())
    with told():
        try:
            deltalake.write_deltalake(str(path), reader, mode="overwrite", schema_mode="overwrite")
        except Exception as error:
            # Its errors are of several types, none of them OSError; of one that our rows met it keeps the text alone.
            raise (met[0] if met else OSError(error)) from error

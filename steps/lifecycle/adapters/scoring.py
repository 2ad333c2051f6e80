"""Scoring: a registered model over a table, in batches, each row written with what the model predicts of it."""

import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from lifecycle import checks
from lifecycle.adapters import (
    catalog,
    databases,
    local,
    outputs,
    predicting,
    predictors,
    preparation,
    readers,
    registry,
    sources,
    tracking,
)
from lifecycle.adapters.places import without_secrets
from lifecycle.adapters.relation import Relation
from lifecycle.adapters.scorer import Model
from lifecycle.cells import Observed
from lifecycle.contract import Contract
from lifecycle.errors import UserError, listed
from lifecycle.reading import ReadOptions, parse_read
from lifecycle.settings import ENGINES, one_of

if TYPE_CHECKING:
    import duckdb

    from lifecycle.adapters.cli import Options

PREDICTION = "prediction"
BATCH_ROWS = 65_536
# Batches that wait for a process, beside those that are worked on: the reader must not run away from the model.
AHEAD = 2
BREACHES = "breaches.csv"


@dataclass(frozen=True)
class Asked:
    """What was asked for, as far as neither the store nor the table is needed to tell.

    Attributes
    ----------
    model : str
        Its address, as typed or by the table's name.
    data : str
        As typed.
    read : ReadOptions
        How a CSV file is written.
    query : str
        SQL over the raw table; empty for none.
    output : Output or None
        None for an artifact of the run.
    engine : str
        ``local`` or ``spark``.
    parallelism : int
        Processes at once, 1 or more.
    """

    model: str
    data: str
    read: ReadOptions
    query: str
    output: outputs.Output | None
    engine: str
    parallelism: int


class Rows(Protocol):
    """A table to be scored, in one engine.

    Attributes
    ----------
    names : list of str
        Its columns.
    types : mapping of str to str
        Their SQL types.
    origin : str
        Where it lies, without secrets.
    digest : str
        SHA-256 of its bytes; empty where nobody here sees them.
    notes : list of str
        What was done to it that nobody asked for, in sentences.
    """

    names: list[str]
    types: dict[str, str]
    origin: str
    digest: str
    notes: list[str]

    def __len__(self) -> int:
        """Return the number of rows."""

    def observe(self, contract: Contract) -> Observed:
        """Count what a contract's check needs."""

    def score(self, model: Model, folder: Path) -> Path | None:
        """Write every row with its prediction; return the file where no output was asked for."""


def asked_for(options: "Options") -> Asked:
    """Resolve the options, and refuse what can be refused before the store and the table are looked at.

    Raises
    ------
    UserError
        For anything that is wrong with an option by itself.
    """
    engine = one_of("engine", options["engine"], ENGINES)
    if options["parallelism"] < 0:
        raise UserError(
            f"parallelism: {options['parallelism']} processes cannot score anything; give 1 or more, or 0 for one a "
            "core."
        )
    if engine == "spark" and not options["output"]:
        raise UserError(
            "output: engine=spark writes part files into a folder that its executors see; give one, such as "
            '-P output="$PWD/scored.parquet".'
        )
    output = None
    if options["output"]:
        output = outputs.parse_output(options["output"], engine, options["overwrite"])
        if output.form == outputs.DELTA and engine == "local" and find_spec("deltalake") is None:
            raise databases.absent("output", output.asked, "deltalake")
    return Asked(
        options["model"] or f"models:/{catalog.model_name(options['data'])}@{registry.CHAMPION}",
        options["data"],
        parse_read(options["read"]),
        options["query"],
        output,
        engine,
        options["parallelism"] or local.cores(),
    )


@contextmanager
def opened(asked: Asked, model: Model, folder: Path) -> Iterator[Rows]:
    """Open the table in its engine.

    Raises
    ------
    UserError
        Where it cannot be read, has no rows, lacks columns, or has one of the output's.
    """
    if asked.engine == "spark":
        from lifecycle.adapters import scoring_spark

        with scoring_spark.opened(asked, model, folder) as rows:
            yield _checked(rows, asked, model)
        return
    with preparation.workplace(folder) as connection:
        yield _checked(LocalRows(File(connection, asked, model, folder), asked), asked, model)


def _checked(rows: Rows, asked: Asked, model: Model) -> Rows:
    if not len(rows):
        raise UserError(f"data: {rows.origin!r} has no rows; give a table with rows.")
    taken = [name for name in rows.names if name.casefold() == PREDICTION]
    if taken:
        raise UserError(
            f"data: {rows.origin!r} has a column {taken[0]!r}, which is the name of what is written beside the rows; "
            "rename or leave it out by query."
        )
    absent = [name for name in model.reads if name not in rows.names]
    if absent and model.contract is None:
        raise UserError(
            f"data: {rows.origin!r} lacks the columns {listed(absent)}, which {model.uri} reads; make them by query, "
            "or name another model."
        )
    return rows


class File:
    """A table that lies here, or has been fetched, as a view in duckdb, after the query.

    Attributes
    ----------
    source : Source
        What it was read from.
    relation : Relation
        Its rows.
    untouched : bool
        Whether they are those of Parquet files that lie where the user has them, which others may read in its place.
    notes : list of str
        What was done that nobody asked for.
    """

    def __init__(self, connection: "duckdb.DuckDBPyConnection", asked: Asked, model: Model, folder: Path) -> None:
        self.source = sources.locate("data", asked.data, asked.read)
        self.notes: list[str] = []
        contract = model.contract
        # Words in training are words here: a code such as 007 would be read as a number where all are such.
        texts = [column.name for column in contract.columns if column.type == "VARCHAR"] if contract else []
        readers.open_table(connection, self.source, "data", folder, texts)
        view = "data"
        raw = Relation(connection, view)
        absent = [name for name in model.reads if name not in raw.names]
        query = asked.query
        if absent and contract and contract.query and not query and len(raw):
            if contract.dialect:
                raise UserError(
                    f"data: {self.source.shown!r} lacks the columns {listed(absent)}, which {model.uri} reads, and the "
                    f"query of its training table, {contract.query!r}, is Spark's SQL, which score does not run; say "
                    "it by query as duckdb does, or make the columns first."
                )
            query = contract.query
        if query:
            view = "data_after_query"
            try:
                readers.run_query(connection, query, "data", view, folder)
            except UserError as error:
                if asked.query:
                    raise
                raise UserError(
                    f"data: {self.source.shown!r} lacks the columns {listed(absent)}, which {model.uri} reads, and the "
                    f"query of its training table makes none of them here ({str(error).rstrip('.')}); give query."
                ) from error
        self.relation = Relation(connection, view) if query else raw
        if query and not asked.query:
            self.notes.append(
                f"the table lacks {listed(absent)}, so the query of the model's training table is applied first: "
                f"{len(raw):,} rows, {len(self.relation):,} after it."
            )
        as_read = self.source.kind == "parquet" and not query and not asked.read.nullstr
        self.untouched = as_read and not self.source.fetched
        self.digest = sources.inputs_digest([self.source])


class LocalRows:
    """A table in duckdb, scored in processes of this machine; the rows stay in their order.

    Parameters
    ----------
    file : File
        The table.
    asked : Asked
        What was asked for.
    """

    def __init__(self, file: File, asked: Asked) -> None:
        self._relation, self._asked = file.relation, asked
        self.names, self.types = file.relation.names, file.relation.types
        self.origin, self.digest, self.notes = file.source.origin, file.digest, file.notes

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._relation)

    def observe(self, contract: Contract) -> Observed:
        """Count what a contract's check needs, in SQL."""
        return self._relation.observe(contract)

    def score(self, model: Model, folder: Path) -> Path | None:
        """Write every row with its prediction, in the table's order; nothing lies in its place before all is whole."""
        output = self._asked.output
        if output is None:
            file = folder / "predictions.parquet"
            self._write(model, file, outputs.PARQUET)
            return file
        if output.holds_delta():
            # A transaction of its own, after which the rows before it can still be read.
            self._write(model, output.path, outputs.DELTA)
            return None
        with output.beside() as beside:
            self._write(model, beside / outputs.NEW, output.form)
            output.put(beside / outputs.NEW)
        return None

    def _write(self, model: Model, path: Path, form: str) -> None:
        batches = self._scored(model)
        first = next(batches)
        write = outputs.write_delta if form == outputs.DELTA else outputs.write_parquet
        try:
            write(path, first, batches)
        finally:
            batches.close()

    def _scored(self, model: Model) -> Generator[pa.RecordBatch]:
        """Give batches with their predictions, in order, while the next ones are predicted."""
        rows = len(self)
        batches = self._relation.batches(BATCH_ROWS)
        workers = min(self._asked.parallelism, -(-rows // BATCH_ROWS))
        names = model.inputs(self.names)
        kind = predicting.ARROW_TYPES.get(model.kind)
        under_way: deque[tuple[pa.RecordBatch, Future[pa.Array]]] = deque()

        def finished() -> pa.RecordBatch:
            nonlocal kind
            batch, future = under_way.popleft()
            predicted = future.result()
            # Where the model does not declare it, all have the first batch's.
            kind = kind or predicted.type
            return batch.append_column(PREDICTION, predicting.as_kind(predicted, kind))

        try:
            with predictors.engine(model.folder, workers, one_batch=rows <= BATCH_ROWS) as engine:
                for batch in batches:
                    under_way.append((batch, engine.submit(batch.select(names))))
                    if len(under_way) >= engine.workers + AHEAD:
                        yield finished()
                while under_way:
                    yield finished()
        except predicting.Unfit as error:
            raise UserError(f"model: {model.uri} {error}.") from error


def judged(run: tracking.StepRun, rows: Rows, model: Model) -> list[str]:
    """Check a whole table against the model's contract, before any of it is scored.

    Returns
    -------
    list of str
        What is to be told.

    Raises
    ------
    UserError
        Where there are errors by the contract's own rules.
    """
    if model.contract is None:
        return [f"{model.uri} has no contract, so the rows are checked by mlflow alone, against its signature."]
    breaches = checks.judge(model.contract, rows.observe(model.contract))
    run.frame(BREACHES, checks.as_frame(breaches))
    checks.refuse(breaches, "data")
    return checks.told(breaches, BREACHES)


def tracked(run: tracking.StepRun, asked: Asked, model: Model, rows: Rows) -> None:
    """Write into a run what is scored by which model."""
    run.log(tags={"lifecycle.model": model.uri})
    if rows.digest:
        run.log(tags={"lifecycle.data": rows.digest})
        data = without_secrets(asked.data)
        tracking.log_dataset(run, rows.types, len(rows), rows.origin, data, rows.digest, "scoring")
    settings: dict[str, Any] = {
        "step": "score",
        "own": {
            "model": model.uri,
            "data": rows.origin,
            "query": asked.query,
            "output": asked.output.asked if asked.output else "",
            "engine": asked.engine,
            "parallelism": asked.parallelism,
        },
        "data_sha256": rows.digest,
    }
    run.settings(settings)


@dataclass
class Clock:
    """How long scoring took.

    Attributes
    ----------
    rows : int
        What is scored.
    """

    rows: int
    _began: float = field(default_factory=time.perf_counter)

    def metrics(self) -> dict[str, float]:
        """Return rows, wall seconds since this clock was made, and rows a second."""
        seconds = time.perf_counter() - self._began
        return {"rows": float(self.rows), "seconds": seconds, "rows_per_second": self.rows / seconds}

"""Scoring on Spark: mlflow's own function for it over the table's partitions, each written where it was scored."""

import logging
import pickle
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.adapters import outputs, predictors, preparation, sources, spark
from lifecycle.adapters.scoring import PREDICTION, Asked, File, Model, Rows
from lifecycle.adapters.sql import AS_PARQUET, literal, quoted
from lifecycle.cells import Observed, added
from lifecycle.contract import Contract
from lifecycle.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

# Of a task: loading the model, a third of a second, is little beside them, and so is what a lost executor costs.
ROWS_OF_A_TASK = 500_000
# Of the packages that a model names, those whose names in Python are known.
IMPORTED = {
    "mlflow": "mlflow",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "skops": "skops",
    "statsmodels": "statsmodels",
    "xgboost": "xgboost",
    "xgboost-cpu": "xgboost",
    "lightgbm": "lightgbm",
}
# What Spark does not read as others do, and what it is written as instead.
FOREIGN = {"TIMESTAMP_NS": "TIMESTAMP", "TIME": "VARCHAR"}


@contextmanager
def opened(asked: Asked, model: Model, folder: Path) -> Iterator[Rows]:
    """Open a table for Spark, on the active session or one of our own.

    Raises
    ------
    UserError
        Where Spark, its executors' pythons or the table are not fit for it.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(preparation.workplace(folder))
        # Before Spark is started: most mistakes are in the table.
        file = None if sources.is_cataloged(asked.data) else File(connection, asked, model, folder)
        session = stack.enter_context(spark.session(asked.parallelism, spark.ATTEMPTS))
        spark.check_pythons(session.sparkContext, packages_of(model))
        settings = {
            # Times without a zone are those of UTC, as everywhere in this project.
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
            "spark.sql.files.openCostInBytes": "65536",
        }
        stack.enter_context(spark.configured(session, settings))
        if file is None:
            spark.ship(session.sparkContext, folder)
            yield CatalogRows(session, asked)
        else:
            yield FileRows(session, asked, file)


def packages_of(model: Model) -> list[str]:
    """Return what the executors' pythons must have, as it is imported, by the requirements that a model names."""
    file = model.folder / "requirements.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    named = {re.split(r"[^\w.-]", line.strip())[0].lower() for line in lines}
    return sorted({IMPORTED[name] for name in named & set(IMPORTED)} | {"mlflow", "pandas", "pyarrow"})


class _SparkRows:
    """What both kinds of table have in common.

    Parameters
    ----------
    session : SparkSession
        Where they are scored.
    asked : Asked
        What was asked for.
    """

    names: list[str]
    types: dict[str, str]

    def __init__(self, session: Any, asked: Asked) -> None:
        self._session, self._asked = session, asked
        self.notes: list[str] = []

    def __len__(self) -> int:
        raise NotImplementedError

    def _frame(self, beside: Path | None) -> Any:
        raise NotImplementedError

    def score(self, model: Model, folder: Path) -> Path | None:
        """Write every row with its prediction, a part file a task; nothing lies in its place before all is whole."""
        output = self._asked.output
        assert output is not None
        parts = max(spark.slots(self._session.sparkContext), -(-len(self) // ROWS_OF_A_TASK))
        with spark.configured(self._session, {"spark.sql.files.minPartitionNum": str(parts)}):
            if output.form == outputs.TABLE:
                writer = self._scored(model, None).write.mode("overwrite" if output.overwrite else "errorifexists")
                self._write(model, writer.saveAsTable, output.asked)
            elif (output.path / "_delta_log").is_dir() and output.form == outputs.DELTA:
                with output.beside() as beside:
                    writer = self._scored(model, beside).write.format(outputs.DELTA).mode("overwrite")
                    self._write(model, writer.option("overwriteSchema", "true").save, address(output.path))
            else:
                with output.beside() as beside:
                    writer = self._scored(model, beside).write.format(output.form)
                    self._write(model, writer.save, address(beside / "rows"))
                    check_whole(beside / "rows", len(self))
                    output.put(beside / "rows")
        return None

    def _scored(self, model: Model, beside: Path | None) -> Any:
        import mlflow

        # It recommends another environment for each task, at minutes a task.
        for noisy in ("mlflow.pyfunc", "mlflow.models.flavor_backend_registry"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        predict = mlflow.pyfunc.spark_udf(self._session, str(model.folder), env_manager="local")
        return self._frame(beside).withColumn(PREDICTION, predict(spark.struct_of(model.inputs(self.names))))

    def _write(self, model: Model, write: Any, where: str) -> None:
        try:
            write(where)
        except Exception as error:
            raise _refusal(error, model, where) from error


class FileRows(_SparkRows):
    """A table that lies here: Spark reads its Parquet files, or a copy beside the output, which its executors see.

    Parameters
    ----------
    session : SparkSession
        Where they are scored.
    asked : Asked
        What was asked for.
    file : File
        The table in duckdb, where the contract is checked.
    """

    def __init__(self, session: Any, asked: Asked, file: File) -> None:
        super().__init__(session, asked)
        self._file = file
        self.names, self.types = file.relation.names, file.relation.types
        self.origin, self.digest, self.notes = file.source.origin, file.digest, file.notes
        self._as_it_is = file.untouched and not set(self.types.values()) & set(FOREIGN) and alike(file.source.files)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._file.relation)

    def observe(self, contract: Contract) -> Observed:
        """Count what a contract's check needs, in SQL."""
        return self._file.relation.observe(contract)

    def _frame(self, beside: Path | None) -> Any:
        if self._as_it_is:
            files = self._session.read.parquet(*(address(path) for path in self._file.source.files))
            return files.select(spark.columns_of(self.names))
        if beside is None:
            raise UserError(
                f"data: {self.origin!r} is no Parquet file that Spark can read as it is, and the output is a table, "
                "beside which no copy can be made; give output as a path, or data as a table."
            )
        cast = {name: FOREIGN[kind] for name, kind in self.types.items() if kind in FOREIGN}
        made = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in cast.items())
        rows = f"SELECT * {f'REPLACE ({made})' if made else ''} FROM {quoted(self._file.relation.view)}"
        copy = beside / "rows-as-read.parquet"
        self._file.relation.connection.execute(f"COPY ({rows}) TO {literal(str(copy))} {AS_PARQUET}")
        return self._session.read.parquet(address(copy))


class CatalogRows(_SparkRows):
    """A table of a catalog, which nobody but Spark reads; the contract is checked where its partitions are.

    Parameters
    ----------
    session : SparkSession
        Where they are scored.
    asked : Asked
        What was asked for.

    Raises
    ------
    UserError
        Where the catalog does not have it.
    """

    digest = ""

    def __init__(self, session: Any, asked: Asked) -> None:
        super().__init__(session, asked)
        if asked.query:
            raise UserError(f"query: {asked.data} is a table that Spark alone reads; make a view of the query there.")
        self.origin = asked.data
        try:
            self._table = session.table(asked.data)
        except Exception as error:
            raise UserError(f"data: there is no table {asked.data!r} ({spark.said(error, 'look')}).") from error
        self.names = list(self._table.columns)
        self.types = {name: kind.upper().replace("STRING", "VARCHAR") for name, kind in self._table.dtypes}

    @cached_property
    def _count(self) -> int:
        return int(self._table.count())

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    def observe(self, contract: Contract) -> Observed:
        """Count what a contract's check needs, batch by batch in the executors, and add it up."""
        features = [name for name in contract.features if name in self.names]
        if not features:
            return Observed(tuple(self.names), len(self))
        # By numbers: Spark's own function takes the dot in a name for a way into a struct.
        numbered = self._table.select(spark.columns_of(features)).toDF(*map(str, range(len(features))))
        counted = numbered.mapInArrow(lambda batches: observed(batches, features, contract), "part binary")
        parts = [pickle.loads(row.part) for row in counted.collect()]
        return added(parts, self.names, contract.columns)

    def _frame(self, beside: Path | None) -> Any:
        return self._table


def observed(batches: Iterator["pa.RecordBatch"], names: list[str], contract: Contract) -> Iterator["pa.RecordBatch"]:
    """Count in an executor what a contract's check needs of each batch."""
    import duckdb
    import pyarrow as pa

    from lifecycle.adapters.relation import Relation

    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        for batch in batches:
            connection.register("batch", pa.Table.from_batches([batch.rename_columns(names)]))
            part = pickle.dumps(Relation(connection, "batch").observe(contract))
            yield pa.record_batch([pa.array([part], pa.binary())], names=["part"])


def address(path: Path) -> str:
    """Write a path as Spark wants it: on Databricks the mounted folders have names of their own."""
    text = str(path)
    if text.startswith("/dbfs/"):
        return f"dbfs:/{text.removeprefix('/dbfs/')}"
    return text if text.startswith("/Volumes/") else path.as_uri()


def alike(files: Sequence[Path]) -> bool:
    """Tell whether Parquet files have the same columns of the same types; Spark takes the first one's for all."""
    from pyarrow import parquet

    schemas = (parquet.read_schema(file).remove_metadata() for file in files)
    first = next(schemas)
    return all(schema.equals(first) for schema in schemas)


def check_whole(folder: Path, rows: int) -> None:
    """Make sure that part files hold as many rows as were to be scored.

    Raises
    ------
    RuntimeError
        Where they do not.
    """
    from pyarrow import parquet

    written = sum(parquet.read_metadata(path).num_rows for path in folder.glob("*.parquet"))
    if written != rows:
        raise RuntimeError(f"Spark has written {written} rows of {rows}")


def _refusal(error: Exception, model: Model, where: str) -> Exception:
    """Say why Spark did not write; what is no mistake of the user's is returned as it is."""
    text = str(error)
    if "data source: delta" in text or "DATA_SOURCE_NOT_FOUND" in text:
        return UserError(
            "output: this Spark has no Delta Lake; give a path that ends in .parquet, a Spark with Delta's jars, or "
            "engine=local with the package deltalake."
        )
    if "TABLE_OR_VIEW_ALREADY_EXISTS" in text:
        return UserError(
            f"output: the table {where} exists; give another name, or -P overwrite=true, which replaces it."
        )
    if "ExecutorLostFailure" in text or "Python worker exited unexpectedly" in text:
        return UserError(f"engine: {spark.said(error, 'scoring')}, {spark.ATTEMPTS} times; nothing is written.")
    # What the model's python wrote: a traceback, then the exception, before Spark's own hundred lines.
    told = re.search(
        r"^[\w.]*?(\w+(?:Error|Exception)): (.+)", text.partition("Traceback")[2], re.MULTILINE | re.DOTALL
    )
    if told:
        return UserError(f"model: {model.uri} refuses the rows: {told[1]}: {predictors.first_words(told[2])}.")
    return error

"""Scoring on Spark: mlflow's own function for it over the table's partitions, each written where it was scored."""

import logging
import pickle
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import duckdb

from lifecycle import sparksql
from lifecycle.adapters import observing, outputs, predicting, preparation, sources, spark
from lifecycle.adapters.places import CATALOGED, Place
from lifecycle.adapters.scorer import Model
from lifecycle.adapters.scoring import BATCH_ROWS, PREDICTION, Asked, File, Rows
from lifecycle.adapters.sql import AS_PARQUET, literal, quoted
from lifecycle.cells import Observed, added
from lifecycle.contract import Contract
from lifecycle.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

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
# What `observing` imports.
OF_CONTRACTS = ("duckdb", "numpy", "sklearn")
SETTINGS = {
    # Times without a zone are those of UTC, as everywhere in this project.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
    "spark.sql.files.openCostInBytes": "65536",
}
# By this name Spark finds the reader and the writer of Delta Lake.
DELTA_LAKE = "delta"
# Forms of a catalog's tables that are replaced in one transaction; of others Spark drops the former one first.
REPLACED_AT_ONCE = ("delta", "iceberg")
# Of a table whose model does not say what it predicts, what tells it.
FIRST_ROWS = 1_000
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
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(preparation.workplace(folder))
            place = sources.place_of("data", asked.data)
            # Before Spark is started: most mistakes are in the table.
            file = None if is_read_by_spark(place, asked) else File(connection, asked, model, folder)
            session = stack.enter_context(spark.session(asked.parallelism, spark.ATTEMPTS))
            stack.enter_context(spark.configured(session, SETTINGS))
            found = None if file else table_of(session, place, model)
            checked_there = OF_CONTRACTS if found and model.contract else ()
            spark.check_pythons(session.sparkContext, packages_of(model, checked_there))
            if found:
                spark.ship(session.sparkContext)
                yield TableRows(session, asked, *found)
            else:
                yield FileRows(session, asked, file or File(connection, asked, model, folder))
    except Exception as error:
        # Spark is lazy: whatever is asked of the rows may be what it fails over.
        if type(error).__module__.partition(".")[0] not in ("pyspark", "py4j"):
            raise
        raise _refusal(error, asked, model) from error


def packages_of(model: Model, more: Sequence[str] = ()) -> list[str]:
    """Return what the executors' pythons must have, as it is imported, by the requirements that a model names."""
    file = model.folder / "requirements.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    named = {re.split(r"[^\w.-]", line.strip())[0].lower() for line in lines}
    return sorted({IMPORTED[name] for name in named & set(IMPORTED)} | {"mlflow", "pandas", "pyarrow", *more})


def is_read_by_spark(place: Place, asked: Asked) -> bool:
    """Tell whether Spark itself may read a table: one of a catalog, or one of Delta Lake without a query.

    Raises
    ------
    UserError
        For a query over a table that nobody else reads.
    """
    if place.form == "catalog" and asked.query:
        raise UserError(f"query: {asked.data} is a table that Spark alone reads; make a view of the query there.")
    return place.form == "catalog" or (sources.is_delta(place) and not asked.query)


def table_of(session: Any, place: Place, model: Model) -> tuple[Any, str] | None:
    """Find a table as Spark reads it, in one version where it has versions: what comes meanwhile is not scored.

    Parameters
    ----------
    session : SparkSession
        Where it is read.
    place : Place
        A table of a catalog, or the folder of a Delta table.
    model : Model
        That it is for.

    Returns
    -------
    (DataFrame, str) or None
        Its rows, and where they lie. None for a Delta table where this Spark has no Delta Lake, or where it lacks
        columns, which may be made by the model's query.

    Raises
    ------
    UserError
        Where the catalog does not have it.
    """
    if place.form == "catalog":
        return _newest(session, place.path), place.shown
    folder = Path(place.path).expanduser().absolute()
    commits = [int(file.stem) for file in (folder / "_delta_log").glob("*.json") if file.stem.isdigit()]
    version = max(commits, default=0) if place.version is None else place.version
    try:
        table = session.read.format(DELTA_LAKE).option("versionAsOf", version).load(address(folder))
    except Exception as error:
        if not _lacks_delta(error):
            raise
        return None
    return None if set(model.reads) - set(table.columns) else (table, f"{folder}?version={version}")


def _newest(session: Any, name: str) -> Any:
    """Return a table of a catalog, in its newest version where it has versions and this user may see them."""
    try:
        [newest] = session.sql(f"DESCRIBE HISTORY {name} LIMIT 1").collect()
        return session.read.option("versionAsOf", newest["version"]).table(name)
    except Exception:  # noqa: BLE001 - a view, another form, rows that a filter hides: Spark has a type for each
        pass
    try:
        return session.table(name)
    except Exception as error:
        raise UserError(f"data: there is no table {name!r} ({spark.said(error, 'look')}).") from error


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
    origin: str

    def __init__(self, session: Any, asked: Asked) -> None:
        self._session, self._asked = session, asked
        self.notes: list[str] = []

    def __len__(self) -> int:
        raise NotImplementedError

    def _frame(self, beside: Path | None) -> Any:
        raise NotImplementedError

    def _first(self, names: Sequence[str]) -> "pd.DataFrame":
        raise NotImplementedError

    def score(self, model: Model, folder: Path) -> Path | None:
        """Write every row with its prediction, a part file a task; nothing lies in its place before all is whole."""
        output = self._asked.output
        assert output is not None
        kind = self._kind(model)
        udf_folder = Path(tempfile.mkdtemp(prefix="for-spark-", dir=folder))
        predicting.for_spark(model.folder, kind, udf_folder)
        parts = max(spark.slots(self._session.sparkContext), -(-len(self) // ROWS_OF_A_TASK))
        with spark.configured(self._session, {"spark.sql.files.minPartitionNum": str(parts)}):
            if output.form == outputs.TABLE:
                self._into_table(self._scored(self._frame(None), model, udf_folder, kind), output)
                return None
            in_place = output.holds_delta()
            with output.beside() as beside:
                scored = self._scored(self._frame(beside), model, udf_folder, kind)
                if in_place:
                    with self._counted(scored) as whole:
                        # Its next version, after which the rows before it can still be read.
                        writer = whole.write.format(output.form).mode("overwrite").option("overwriteSchema", "true")
                        writer.save(address(output.path))
                    return None
                written = beside / outputs.NEW
                scored.write.format(output.form).save(address(written))
                self._check_whole(self._session.read.format(output.form).load(address(written)))
                output.put(written)
        return None

    def _kind(self, model: Model) -> str:
        """Tell what a model predicts, which Spark must know beforehand: as it declares, or as it does of some rows."""
        if model.kind in predicting.ARROW_TYPES:
            return model.kind
        try:
            return predicting.kind_of(predicting.Predictor(model.folder)(self._first(model.inputs(self.names))))
        except predicting.Unfit as error:
            raise UserError(f"model: {model.uri} {error}.") from error

    def _scored(self, rows: Any, model: Model, folder: Path, kind: str) -> Any:
        import mlflow

        # It recommends another environment for each task, at minutes a task.
        for noisy in ("mlflow.pyfunc", "mlflow.models.flavor_backend_registry"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        predict = mlflow.pyfunc.spark_udf(self._session, str(folder), result_type=kind, env_manager="local")
        scored = rows.withColumn(PREDICTION, predict(spark.struct_of(model.inputs(self.names))))
        if kind != "string":
            return scored
        return scored.selectExpr(
            *map(sparksql.quoted, self.names), f"{predicting.unmarked(PREDICTION)} AS {PREDICTION}"
        )

    def _into_table(self, scored: Any, output: outputs.Output) -> None:
        """Write a table of a catalog. One whose form knows no transactions is replaced when all rows lie in another."""
        name, catalog = output.asked, self._session.catalog
        if not (output.overwrite and catalog.tableExists(name)):
            scored.write.saveAsTable(name)
            try:
                self._check_whole(self._session.table(name))
            except BaseException:
                self._session.sql(f"DROP TABLE IF EXISTS {name}")
                raise
            return
        if self._is_replaced_at_once(name):
            with self._counted(scored) as whole:
                whole.write.mode("overwrite").saveAsTable(name)
            return
        parents = re.fullmatch(CATALOGED, name)
        assert parents is not None
        stage = f"{parents[1]}.{parents[2]}.scored_{token_hex(4)}"
        try:
            scored.write.saveAsTable(stage)
            self._check_whole(self._session.table(stage))
            self._session.table(stage).write.mode("overwrite").saveAsTable(name)
        finally:
            if not catalog.tableExists(name):
                raise UserError(
                    f"output: the former table {name} is gone, and the new one has not come; its rows are in {stage}, "
                    "which only has to be renamed."
                )
            self._session.sql(f"DROP TABLE IF EXISTS {stage}")

    def _is_replaced_at_once(self, name: str) -> bool:
        told = self._session.sql(f"DESCRIBE TABLE EXTENDED {name}").collect()
        provider = next((row["data_type"] for row in told if row["col_name"] == "Provider"), "")
        return provider.lower() in REPLACED_AT_ONCE

    @contextmanager
    def _counted(self, scored: Any) -> Iterator[Any]:
        """Give the scored rows, counted and held where they were made, for a place that takes them at once."""
        held = scored.persist()
        try:
            self._check_whole(held)
            yield held
        finally:
            held.unpersist()

    def _check_whole(self, written: Any) -> None:
        """Make sure that as many rows are written as were to be scored.

        Raises
        ------
        UserError
            Where they are not: the table has changed since they were counted.
        """
        count = written.count()
        if count != len(self):
            raise UserError(
                f"data: {self.origin!r} had {len(self):,} rows when it was checked, and {count:,} when it was scored; "
                "score it again when nobody changes it."
            )


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
                f"data: {self._file.source.shown!r} is no Parquet file here that Spark can read as it is, and the "
                "output is a table, beside which no copy can be made; give output as a path, or data as a table."
            )
        cast = {name: FOREIGN[kind] for name, kind in self.types.items() if kind in FOREIGN}
        made = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in cast.items())
        rows = f"SELECT * {f'REPLACE ({made})' if made else ''} FROM {quoted(self._file.relation.view)}"
        copy = beside / "rows-as-read.parquet"
        with outputs.told(duckdb.IOException):
            self._file.relation.connection.execute(f"COPY ({rows}) TO {literal(str(copy))} {AS_PARQUET}")
        return self._session.read.parquet(address(copy))

    def _first(self, names: Sequence[str]) -> "pd.DataFrame":
        # Those from which processes here would tell it.
        first: pd.DataFrame = next(self._file.relation.batches(BATCH_ROWS)).select(names).to_pandas()
        return first


class TableRows(_SparkRows):
    """A table that Spark itself reads; the contract is checked where its partitions are.

    Parameters
    ----------
    session : SparkSession
        Where they are scored.
    asked : Asked
        What was asked for.
    table : DataFrame
        Its rows.
    origin : str
        Its name, or where it lies, with the version.
    """

    def __init__(self, session: Any, asked: Asked, table: Any, origin: str) -> None:
        super().__init__(session, asked)
        self._table, self.origin = table, origin
        self.names = list(table.columns)
        # Nobody here sees its bytes, which these would go with.
        self.digest, self.types = "", dict[str, str]()

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
        counted = numbered.mapInArrow(lambda batches: observing.observed(batches, features, contract), "part binary")
        parts = [pickle.loads(row.part) for row in counted.collect()]
        return added(parts, self.names, contract.columns)

    def _frame(self, beside: Path | None) -> Any:
        return self._table

    def _first(self, names: Sequence[str]) -> "pd.DataFrame":
        first: pd.DataFrame = self._table.select(spark.columns_of(names)).limit(FIRST_ROWS).toPandas()
        return first


def address(path: Path) -> str:
    """Write a path as Spark wants it: on Databricks the mounted folders have names of their own."""
    text = str(path)
    if text.startswith("/dbfs/"):
        return f"dbfs:/{text.removeprefix('/dbfs/')}"
    # Not by as_uri: Hadoop takes %20 for three characters of a name.
    return text if text.startswith("/Volumes/") else f"file://{text}"


def alike(files: Sequence[Path]) -> bool:
    """Tell whether Parquet files have the same columns of the same types; Spark takes the first one's for all."""
    from pyarrow import parquet

    schemas = (parquet.read_schema(file).remove_metadata() for file in files)
    first = next(schemas)
    return all(schema.equals(first) for schema in schemas)


def _lacks_delta(error: Exception) -> bool:
    return "data source: delta" in str(error) or "DATA_SOURCE_NOT_FOUND" in str(error)


def _refusal(error: Exception, asked: Asked, model: Model) -> UserError:
    """Say why Spark has not done what it was asked to."""
    text = str(error)
    where = asked.output.asked if asked.output else ""
    if _lacks_delta(error):
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
    python = text.partition("Traceback")[2]
    unfit = re.search(r"^[\w.]*\bUnfit: (.+)", python, re.MULTILINE)
    if unfit:
        return UserError(f"model: {model.uri} {unfit[1].rstrip('.')}.")
    told = re.search(r"^[\w.]*?(\w+(?:Error|Exception)): (.+)", python, re.MULTILINE | re.DOTALL)
    if told:
        return UserError(f"model: {model.uri} refuses the rows: {told[1]}: {predicting.first_words(told[2])}.")
    return UserError(
        f"engine: {spark.said(error, 'scoring').rstrip('.')}; nothing is written, so mend it and score again."
    )

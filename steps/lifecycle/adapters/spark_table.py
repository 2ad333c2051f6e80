"""A table that stays in Spark: described, split by hash, audited; what is decided are figures, rows never leave.

The decisions are those of `prepare`, made by the same functions on summaries that Spark's SQL computes.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lifecycle import sparksql
from lifecycle.adapters import catalog, code, sources, spark_reading, steps
from lifecycle.adapters.cli import Options
from lifecycle.adapters.spark_rows import SparkRows
from lifecycle.adapters.steps import Identity
from lifecycle.audit import AUDITED_ROWS, Finding, crossing, giveaways, separable, twins
from lifecycle.cells import Observed
from lifecycle.checks import Breach
from lifecycle.contract import (
    DATETIME,
    MOST_CLASSES,
    NUMERIC,
    Contract,
    check_header,
    check_twins,
    find_positive,
    find_task,
    infinite,
    labels_of,
)
from lifecycle.errors import UserError, listed
from lifecycle.roles import BOOLEAN, INTEGER, NESTED, REAL, TIME, WORDS, Reading, Summary, kind_of, looks_like_id
from lifecycle.settings import FOLD_COLUMN, SPARK, TWIN_COLUMN, TableSettings
from lifecycle.split import DEALT_ROWS, deal, hashed_texts
from lifecycle.table import check_folds, check_numbers, check_test_rows, describe, reading_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Columns of ours beside the table's.
KEY, HASH, FOLD, PLACE = "__key__", "__hash__", FOLD_COLUMN, "__label__"
AGAIN, DIGEST = "__again__", "__digest__"
# Those of models too, and what estimators of MLlib write: a table's own column of such a name would be overwritten, in
# any case, as Spark does not tell names apart by it.
OWN_NAMES = re.compile(
    "__(key|hash|fold|label|again|digest|twin|features|guess|weight|(number|level|words|time|place|onehot|counts)_[0-9]+)__"
    "|prediction|probability|rawprediction"
)


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
    check_places(options)
    if not sources.is_cataloged(options["data"]):
        identity = steps.identify(options)
        return replace(identity, settings=_in_spark(identity.settings))
    digest = ""
    if session is not None:
        names = {name: options[name] for name in ("data", "test_data") if options[name]}
        digests = [
            spark_reading.content_digest(spark_reading.table_of(session, name, table), name, table)
            for name, table in names.items()
        ]
        digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return Identity(_in_spark(catalog.settings_for(options)), (), digest, code.code_digest())


def _in_spark(settings: TableSettings) -> TableSettings:
    """Return settings whose query is Spark's SQL: the same words may mean another table to duckdb."""
    return replace(settings, dialect=SPARK) if settings.query else settings


def check_places(options: Options) -> None:
    """Refuse a table of a catalog beside a file: a file is known by its bytes, a table by its rows.

    Raises
    ------
    UserError
        Naming both.
    """
    data, test_data = options["data"], options["test_data"]
    if test_data and sources.is_cataloged(data) != sources.is_cataloged(test_data):
        cataloged, other = (data, test_data) if sources.is_cataloged(data) else (test_data, data)
        raise UserError(
            f"test_data: {cataloged!r} is a table of a catalog, and {other!r} is none; give both as "
            "catalog.schema.table, or both as files."
        )


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
    target : Summary
        Of the places or the values of the training rows.
    """

    contract: Contract
    types: dict[str, str]
    rows: int
    train: SparkRows
    test: SparkRows
    summaries: dict[str, Summary]
    target: Summary
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
    tables = spark_reading.read(session, identity, folder)
    check_columns(tables, settings)
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
    keyed = [_keyed(session, tables[0], settings, words), *tables[1:]]
    for table in keyed:
        kept.append(table.persist())
    every = spark_reading.counted(keyed, settings)
    check_header(names, settings, every[0])
    raw = SparkRows(keyed[0], names, words, every[0])
    task, labels, value = _target(raw, settings)
    classes = tuple(sorted(labels.unique().tolist())) if task == "classification" else ()
    if task == "regression" and settings.positive:
        raise UserError(
            f"positive: {settings.positive!r} was given, but {settings.target!r} is a quantity; leave it out."
        )
    place = sparksql.place_sql(settings.target, classes, words) if classes else f"CAST({value} AS DOUBLE)"
    if settings.test_data:
        _check_second(SparkRows(keyed[1], tables[1].columns, words, every[1]), settings, classes, place)
    targeted = [table.withColumn(PLACE, expression(place)) for table in keyed]
    with_target = targeted[0].where(f"{PLACE} IS NOT NULL")
    if settings.test_data:
        sides = with_target, targeted[1].where(f"{PLACE} IS NOT NULL")
    else:
        fraction = sparksql.fraction_sql(HASH)
        border = sparksql.literal(settings.test_size)
        sides = with_target.where(f"{fraction} >= {border}"), with_target.where(f"{fraction} < {border}")
    kept.append(sides[1].persist())
    train_rows, test_rows = (side.count() for side in sides)
    if settings.test_data and not test_rows:
        raise UserError(f"test_data: {settings.test_data!r} has no row with a target; give a table that has.")
    if not train_rows or not test_rows:
        by = repr(settings.split_column) if settings.split_column else "the row's content"
        raise UserError(
            f"split: hash by {by} leaves {train_rows} training and {test_rows} test rows of {every[0]}; "
            "give more rows, another column or another test_size."
        )
    folded = _folded(session, sides[0], settings, train_rows, bool(classes), kept)
    by_fold = _label_counts(folded, settings.folds, max(len(classes), 1), bool(classes))
    folded, by_fold = _without_empty(folded, by_fold, settings)
    train = SparkRows(folded, names, words, train_rows)
    test = SparkRows(sides[1], tables[-1].columns, words, test_rows)
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
        dialect=settings.dialect,
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
        *_crossings(train, test, contract, summaries, settings.split_column),
        *giveaways(sample, sample[contract.target], contract, settings.seed),
        *separable(sample, held, contract, settings.seed),
    )
    target = SparkRows(folded, [PLACE], words, train_rows).summaries({PLACE: None})[PLACE]
    return SparkPrepared(
        contract, raw.types, every[0], train, test, summaries, target, observed, breaches, list(findings), by_fold,
        sample, tuple(kept),
    )  # fmt: skip


def check_columns(tables: "Sequence[DataFrame]", settings: TableSettings) -> None:
    """Refuse tables whose columns cannot be worked with, before their rows are looked at.

    Raises
    ------
    UserError
        As `lifecycle.contract.check_header` does, for a second table without the target, and for a column that bears
        a name of ours.
    """
    check_header(tables[0].columns, settings, 1)
    for table, option in zip(tables, ("data", "test_data"), strict=False):
        shown = repr(getattr(settings, option))
        check_twins(option, getattr(settings, option), table.columns)
        taken = [name for name in table.columns if OWN_NAMES.fullmatch(name.casefold())]
        if taken:
            raise UserError(
                f"{option}: {shown} has a column named {taken[0]!r}, which a search in Spark keeps for itself; "
                "rename it, for example by query."
            )
        if settings.target not in table.columns:
            raise UserError(
                f"{option}: {shown} lacks the columns {settings.target}; "
                "give a table with the training table's columns, or leave them out by drop."
            )


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

    kind = kind_of(sparksql.sql_type(dict(table.dtypes)[settings.split_column]))
    level = sparksql.level_sql(settings.split_column, words, kind)
    if kind == TIME:
        # Python writes six digits of a fraction of a second or none.
        level = f"CASE WHEN instr({level}, '.') = 0 THEN {level} ELSE rpad({level}, 26, '0') END"
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


def _check_second(tested: SparkRows, settings: TableSettings, classes: Sequence[Any], place: str) -> None:
    """Refuse a second table with a target of another kind, or with labels that training does not have."""
    if not classes and kind_of(tested.types[settings.target]) not in (INTEGER, REAL, WORDS):
        raise UserError(f"test_data: {settings.target!r} is not numeric there; give the same quantity as in data.")
    text = sparksql.text_of(settings.target, tested.missing_words)
    unknown = f"{place} IS NULL AND {text} IS NOT NULL"
    wrong = tested.frame.where(unknown).selectExpr(f"min({text})").collect()[0][0]
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
    hashed = _hashed(session, train.withColumn(AGAIN, expression(HASH)), AGAIN, settings)
    if rows > DEALT_ROWS:
        folded = hashed.withColumn(FOLD, expression(sparksql.fold_sql(AGAIN, settings.folds)))
    else:
        if rows < 2 * settings.folds:
            raise UserError(
                f"folds: {rows} training rows are too few for {settings.folds} folds of at least two; "
                "give fewer folds or more rows."
            )
        known = hashed.groupBy(AGAIN).agg(expression(f"min({PLACE if labelled else 0})")).collect()
        hashes = np.array([row[0] for row in known], dtype=np.int64)
        codes = np.array([row[1] for row in known], dtype=np.int16)
        folds = deal(hashes.view(np.uint64), codes, settings.folds)
        from pyspark.sql import functions as F

        told = session.createDataFrame(pd.DataFrame({AGAIN: hashes, FOLD: folds.astype(np.int32)}))
        folded = hashed.join(F.broadcast(told), AGAIN)
    folded = folded.drop(AGAIN, HASH).persist()
    kept.append(folded)
    return folded


def _label_counts(rows: "DataFrame", folds: int, classes: int, labelled: bool) -> npt.NDArray[np.int64]:
    """Count the rows of each fold and class."""
    counts = np.zeros((folds, classes), dtype=np.int64)
    place = f"CAST({PLACE} AS INT)" if labelled else "0"
    for fold, label, count in rows.selectExpr(FOLD, f"{place} AS c").groupBy(FOLD, "c").count().collect():
        counts[fold, label] = count
    return counts


def _without_empty(
    train: "DataFrame", labels: npt.NDArray[np.int64], settings: TableSettings
) -> "tuple[DataFrame, npt.NDArray[np.int64]]":
    """Count folds anew where some have no rows, as few values to hash leave them; `prepare` goes on without them too.

    Raises
    ------
    UserError
        Where all rows are in one fold.
    """
    there = np.flatnonzero(labels.any(axis=1))
    if len(there) == len(labels):
        return train, labels
    if len(there) < 2:
        by = repr(settings.split_column) if settings.split_column else "the row's content"
        raise UserError(
            f"folds: hash by {by} leaves all training rows in one of {settings.folds} folds; give more folds, or a "
            "column of more values."
        )
    places = ", ".join(map(str, there))
    return train.withColumn(FOLD, expression(f"CAST(array_position(array({places}), {FOLD}) - 1 AS INT)")), labels[
        there
    ]


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
    train: SparkRows, test: SparkRows, contract: Contract, summaries: Mapping[str, Summary], split_column: str
) -> Iterator[Finding]:
    """Count the test rows whose group or whose time is in training too, by the columns that say so."""
    for column in contract.columns:
        name, summary = column.name, summaries[column.name]
        # The values of the column that rows are split by stay whole, times or not.
        times = column.role == DATETIME and name != split_column
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
    digest = F.expr(sparksql.row_sql(prepared.contract)).alias(DIGEST)
    known = prepared.train.frame.select(digest).distinct().withColumn(TWIN_COLUMN, F.lit(True))
    joined = test.select("*", digest).join(known, DIGEST, "left").drop(DIGEST)
    return joined.withColumn(TWIN_COLUMN, F.expr(f"coalesce({TWIN_COLUMN}, false)"))

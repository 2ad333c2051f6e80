"""Tables that stay in Spark: what `prepare` decides, decided there, and the models that are fitted on them."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lifecycle import mllib as offered
from lifecycle import sparksql, split
from lifecycle.adapters import (
    cli,
    mllib,
    preparation,
    readers,
    sources,
    spark,
    spark_reading,
    spark_rows,
    spark_table,
    steps,
    tracking,
)
from lifecycle.errors import UserError
from lifecycle.metrics import metrics_for, resolve_metric
from lifecycle.table import profile, profile_of
from lifecycle.trials import FINISHED, Task

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("at_home")]


def options(**typed: Any) -> dict[str, Any]:
    """Return the options of the entry point as the command line gives them."""

    def command(**_: Any) -> None:
        pass

    for option in reversed(cli.OPTIONS["tune_mllib"]):
        command = option(command)
    script: Any = click.command()(command)
    return {one.name: one.get_default(click.Context(script)) for one in script.params} | typed


@pytest.fixture(scope="module")
def session(at_home: None) -> Iterator[Any]:
    with mllib.session_for(2) as started:
        for name, value in mllib.OVER_FEW_ROWS.items():
            started.conf.set(name, value)
        yield started


@pytest.fixture(scope="module")
def prepared(session: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., spark_table.SparkPrepared]:
    known: dict[str, spark_table.SparkPrepared] = {}

    def prepare(**typed: Any) -> spark_table.SparkPrepared:
        name = json.dumps(typed, default=str, sort_keys=True)
        if name not in known:
            folder = tmp_path_factory.mktemp("spark")
            known[name] = spark_table.prepare(session, spark_table.identify(options(**typed)), folder)
        return known[name]

    return prepare


def ordinary(folder: Path, **typed: Any) -> preparation.Made:
    """Prepare a table by `prepare` with split=hash."""
    identity = steps.identify(options(**typed) | {"split": "hash"})
    settings = identity.settings
    with preparation.workplace(folder) as connection:
        tables = preparation.opened(connection, identity.sources, settings, folder)
        return preparation.make(tables[0], settings, tables[1] if settings.test_data else None, folder)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of column, missing cells among them, in several files: text that is numbers, dates, words.

    In a folder of a name that no address could have.
    """
    folder, chance, rows = tmp_path_factory.mktemp("ein Ärger 5%20"), np.random.default_rng(5), 400
    frame = pd.DataFrame(
        {
            "number": np.round(chance.normal(0, 100, rows), 2),
            "tiny": chance.random(rows) * 1e-6,
            "whole": pd.array(chance.integers(0, 9, rows), dtype="Int64"),
            "price": chance.choice(["1,50", "2,25", "1.000,00", "7"], rows),
            "word": chance.choice(["a", " b ", "true", "TRUE", "é", "?", ""], rows),
            "flag": chance.random(rows) < 0.5,
            "day": pd.Timestamp("2021-03-01 10:00") + pd.to_timedelta(chance.integers(0, 9000, rows), unit="h"),
            "sold": chance.choice(["31.01.2021", "01.02.2022", "15.12.2020"], rows),
            "remark": [" ".join(chance.choice(list("abcdefghijklmnop"), 4)) for _ in range(rows)],
            "row_id": np.arange(rows),
            "same": "x",
            "shop": chance.choice([f"s{place}" for place in range(40)], rows),
        }
    )
    frame["y"] = np.where((frame["number"] > 0) ^ (chance.random(rows) < 0.2), "yes", "no")
    frame["number"] = frame["number"].mask(chance.random(rows) < 0.1)
    frame["whole"] = frame["whole"].mask(chance.random(rows) < 0.2)
    frame["y"] = frame["y"].where(chance.random(rows) > 0.02)
    for place, part in enumerate(np.array_split(np.arange(rows), 3)):
        frame.iloc[part].to_parquet(folder / f"part-{place}.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def kinds(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a Parquet file may hold that a CSV cannot: what is golden, five times, and what has more digits beside."""
    golden = pq.read_table(project / "tests" / "golden" / "good" / "kinds.parquet")
    # Spark reads no times of a day, and writes bytes in its own way; a NaN in Parquet is no missing cell to `prepare`.
    golden = golden.drop_columns(["clock", "raw", "ratio"])
    chance, places = np.random.default_rng(3), range(5 * len(golden))
    moment = datetime(2021, 3, 1, 10, 30)
    more = {
        "weight": pa.array(chance.normal(0, 9, len(places)), pa.float32()),
        "grade": pa.array([Decimal(i % 4) / 2 for i in places], pa.decimal128(10, 2)),
        "share": pa.array([(0.1, 0.25, 3.0)[i % 3] for i in places], pa.float32()),
        "born": pa.array([None if i % 7 == 2 else date(1980 + i % 3, 1, 1) for i in places]),
        "stamp": pa.array([moment + timedelta(milliseconds=2100 * (i % 50)) for i in places], pa.timestamp("us")),
        "endless": pa.array([(-1) ** i * np.inf if i % 5 else 1e-7 * i for i in places], pa.float64()),
        "exact": pa.array([Decimal(i % 9 < 4) for i in places], pa.decimal128(38, 10)),
    }
    table = pa.concat_tables([golden] * 5)
    for name, cells in more.items():
        table = table.append_column(name, cells)
    path = tmp_path_factory.mktemp("kinds") / "kinds.parquet"
    pq.write_table(table, path)
    return path


KINDS = {"target": "exact", "drop": "endless", "roles": "grade=categorical;share=categorical;born=categorical"}
TABLES = {
    "churn": {"data": "churn"},
    "iris": {"data": "iris"},
    "diabetes": {"data": "diabetes"},
    "strange": {"target": "y"},
    "by shop": {"target": "y", "split_column": "shop", "drop": "remark"},
    "kinds": KINDS,
    "by stamp": KINDS | {"split_column": "stamp"},
}
# Spark knows no nanoseconds, and no numbers without a sign.
KNOWN = {"TIMESTAMP_NS": "TIMESTAMP", "UTINYINT": "SMALLINT"}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_prepared_as_prepare_does(
    prepared: Callable[..., spark_table.SparkPrepared], strange: Path, kinds: Path, tmp_path: Path, name: str
) -> None:
    typed = {"data": str(kinds if TABLES[name].get("target") == "exact" else strange)} | TABLES[name]
    here, there = prepared(**typed), ordinary(tmp_path, **typed)
    columns = [replace(one, type=KNOWN.get(one.type, one.type)) for one in there.prepared.contract.columns]
    assert here.contract == replace(there.prepared.contract, columns=tuple(columns))
    found = profile_of(here.contract, here.summaries, here.target, here.observed, here.sample)
    expected = profile(there.prepared, there.train_sample)
    expected["type"] = expected["type"].replace(KNOWN)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert {one.code: (one.column, one.count) for one in here.findings} == {
        one.code: (one.column, one.count) for one in there.findings
    }
    assert [(one.code, one.column, one.count, one.example) for one in here.breaches] == [
        (one.code, one.column, one.count, one.example) for one in there.prepared.breaches
    ]
    contract = here.contract
    train = spark_table.features_of(here.train.frame, contract, spark_table.FOLD).toPandas()
    test = spark_table.features_of(here.test.frame, contract).toPandas()
    assert multiset(train) == multiset(pd.read_parquet(there.train))
    assert multiset(test) == multiset(pd.read_parquet(there.test).drop(columns="__twin__"))


def multiset(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the rows of a frame as texts in an order of their own."""
    texts = pd.DataFrame({name: frame[name].map(shown) for name in sorted(frame.columns)})
    return sorted(texts.itertuples(index=False, name=None))


def shown(cell: Any) -> str:
    if pd.isna(cell):
        return ""
    return f"{cell:.12g}" if isinstance(cell, (float, np.floating)) else str(cell)


def test_a_second_table_is_the_test_table(
    prepared: Callable[..., spark_table.SparkPrepared], strange: Path, tmp_path: Path
) -> None:
    typed = {"data": str(strange / "part-0.parquet"), "test_data": str(strange / "part-1.parquet"), "target": "y"}
    here, there = prepared(**typed, drop="remark"), ordinary(tmp_path, **typed, drop="remark")
    columns = [replace(one, type=KNOWN.get(one.type, one.type)) for one in there.prepared.contract.columns]
    assert here.contract == replace(there.prepared.contract, columns=tuple(columns))
    train = spark_table.features_of(here.train.frame, here.contract, spark_table.FOLD).toPandas()
    test = spark_table.features_of(here.test.frame, here.contract).toPandas()
    assert multiset(train) == multiset(pd.read_parquet(there.train))
    assert multiset(test) == multiset(pd.read_parquet(there.test).drop(columns="__twin__"))
    assert here.labels.sum() == len(train)


def test_where_few_values_leave_folds_empty_those_that_are_there_are_used_as_by_prepare(
    session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large table alone, whose folds are not dealt."""
    for module in (split, spark_table):
        monkeypatch.setattr(module, "DEALT_ROWS", 100)
    typed = {"data": "churn", "split_column": "ServicesOpted", "seed": 48}
    there = ordinary(tmp_path, **typed)
    different, sizes = np.unique(there.prepared.folds, return_counts=True)
    assert different.tolist() == [1, 3]
    here = spark_table.prepare(session, spark_table.identify(options(**typed)), tmp_path)
    assert here.labels.sum(axis=1).tolist() == sizes.tolist()
    made = mllib.Design(here)
    record = objective(made)(0, Task({"model": "dtc", "maxDepth": 2}))
    assert (record.status, record.error, record.folds_done) == (FINISHED, "", 2)
    made.let_go()
    here.let_go()
    with pytest.raises(
        UserError, match=r"^folds: hash by 'ServicesOpted' leaves all training rows in one of 3 folds; give"
    ):
        identity = spark_table.identify(options(**typed, folds=3))
        spark_table._without_empty(here.train.frame, np.array([[0, 0], [3, 4], [0, 0]]), identity.settings)


def test_rows_that_differ_by_where_a_cell_is_missing_are_told_apart(session: Any) -> None:
    """Spark's own hash passes over missing cells, and knows no maps."""
    cells = "1D AS a, CAST(NULL AS DOUBLE) AS b", "CAST(NULL AS DOUBLE) AS a, 1D AS b"
    one, other = (session.sql(f"SELECT {some}") for some in cells)
    assert one.union(other).selectExpr(sparksql.cells_sql(["a", "b"])).distinct().count() == 2
    assert spark_reading.content_digest(one, "data", "t") != spark_reading.content_digest(other, "data", "t")
    inner = (f"SELECT map('k', 1) AS m, struct({some}) AS s" for some in cells)
    assert len({spark_reading.content_digest(session.sql(query), "data", "t") for query in inner}) == 2


def test_a_query_in_spark_makes_another_table_than_the_same_words_in_duckdb(
    prepared: Callable[..., spark_table.SparkPrepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = options(data="iris", split="hash")
    assert spark_table.identify(plain).key == steps.identify(plain).key
    typed = {"data": "iris", "query": "SELECT *, CAST(petal_width AS INT) AS width FROM data"}
    there, here = steps.identify(options(**typed, split="hash")), spark_table.identify(options(**typed))
    assert here.key != there.key
    contract = prepared(**typed).contract
    assert (contract.dialect, json.loads(contract.to_json())["dialect"]) == ("spark", "spark")
    # Spark cuts a fraction off, which duckdb rounds.
    assert [column.high for column in contract.columns if column.name == "width"] == [2.0]
    # What was searched in Spark alone is what is registered.
    known = {("tune_mllib", here.key)}
    monkeypatch.setattr(steps, "find_prepared", lambda one, _, step="prepare": "x" if (step, one.key) in known else "")
    assert steps.as_searched(there, tracking.StepRun("r", "0", "register")).key == here.key
    assert steps.as_searched(there, tracking.StepRun("r", "0", "baseline")).key == there.key
    known.add(("prepare", there.key))
    assert steps.as_searched(there, tracking.StepRun("r", "0", "register")).key == there.key


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"data": "churn", "target": "Targt"}, "target: there is no column 'Targt' in 'churn'; near it are Target."),
        (
            {"data": "churn", "query": "SELECT * FROM data WHERE Age > 1000"},
            "data: 'churn' has a header but no rows; .*",
        ),
        (
            {"data": "churn", "query": "SELECT nothing FROM data"},
            "query: Spark's SQL fails with '.*nothing.*'; the table .*",
        ),
        ({"data": "churn", "target": "Age", "positive": "x"}, "positive: 'x' was given, but 'Age' is a quantity; .*"),
        ({"data": "churn", "roles": "FrequentFlyer=numeric"}, "roles: 'FrequentFlyer' cannot be numeric, it holds .*"),
        ({"data": "iris", "folds": 60}, "folds: .* too few for 60 folds .*"),
        (
            {"data": "churn", "query": "SELECT *, CAST(FrequentFlyer AS INT) AS x FROM data"},
            "query: Spark's SQL fails at a row with .*cannot be cast to .*; write try_cast, try_divide or the like, .*",
        ),
        (
            {"data": "churn", "query": "SELECT *, 1 AS __Label__ FROM data"},
            "data: 'churn' has a column named '__Label__', which a search in Spark keeps for itself; rename it, .*",
        ),
        (
            {"data": "churn", "query": "SELECT *, 1 AS probability FROM data"},
            "data: 'churn' has a column named 'probability', which a search in Spark keeps for itself; .*",
        ),
        ({"data": "churn", "test_data": "iris"}, "test_data: 'iris' lacks the columns Target; give a table with .*"),
    ],
)
def test_a_mistake_is_told_as_by_prepare(session: Any, tmp_path: Path, typed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}$"):
        spark_table.prepare(session, spark_table.identify(options(**typed)), tmp_path)


@pytest.mark.parametrize(
    ("name", "cells", "typed", "said"),
    [
        (
            "x.parquet",
            b"",
            {},
            "data: .*x.parquet' cannot be read: it is no Parquet file, or one that is cut short; .*",
        ),
        ("x.parquet", b"PAR1 and no more", {}, "data: .*x.parquet' cannot be read: it is no Parquet file, .*"),
        ("x.csv", b"a,y\nb,c\nd\n", {}, "data: Spark cannot read '.*x.csv' .*; a cell may hold a line break, .*"),
        (
            "x.csv",
            b"a,b,y\n1,2,c\n3,4\n",
            {"query": "SELECT a, 'c' AS y FROM data"},
            "data: Spark cannot read '.*x.csv' .*; a cell may hold a line break, or a row lack cells; .*",
        ),
        ("x.csv", b'a,y\n"b\nc",d\ne,f\n', {}, "data: Spark cannot read '.*x.csv' .*; a cell may hold a line break.*"),
    ],
)
def test_a_file_that_is_broken_is_told(
    session: Any, tmp_path: Path, name: str, cells: bytes, typed: dict[str, Any], said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(cells)
    with pytest.raises(UserError, match=f"^{said}$"):
        spark_table.prepare(session, spark_table.identify(options(data=str(path), target="y", **typed)), tmp_path)


def test_late_cells_of_a_csv_file_are_read_as_by_prepare(session: Any, tmp_path: Path) -> None:
    """Beyond the rows by which types are found."""
    rows = "".join(f"2021-01-05,2021-01-05,5,0.5,5,{place % 7}\n" for place in range(20_600))
    path = tmp_path / "ein Ärger 5%20.csv"
    path.write_text(f"day,date,count,size,sum,place\n{rows}2021-01-05 10:30:00,2021,5d,6f, 5.5,3\n", encoding="utf-8")
    identity = spark_table.identify(options(data=str(path), target="sum"))
    [here] = spark_reading.read(session, identity, tmp_path)
    with preparation.workplace(tmp_path) as connection:
        readers.open_table(connection, identity.sources[0], "data", tmp_path)
        there = {name: kind for name, kind, *_ in connection.execute("DESCRIBE data").fetchall()}
    assert {name: sparksql.sql_type(kind) for name, kind in here.dtypes} == there
    [found] = here.where("date = '2021'").collect()
    assert tuple(found) == (datetime(2021, 1, 5, 10, 30), "2021", "5d", "6f", 5.5, 3)


def test_a_file_is_read_whatever_its_name(session: Any, kinds: Path, tmp_path: Path) -> None:
    """Of which Hadoop makes patterns."""
    path = tmp_path / "a [1] {b} ü" / "x?*.parquet"
    path.parent.mkdir()
    shutil.copy(kinds, path)
    [found] = spark_reading.read(session, spark_table.identify(options(data=str(path), target="exact")), tmp_path)
    assert found.count() == 120


@pytest.mark.parametrize(
    ("progression", "said"),
    [
        ("2021-01-05", "test_data: 'progression' is not numeric there; give the same quantity as in data."),
        (None, "test_data: .* has no row with a target; give a table that has."),
    ],
)
def test_a_second_table_without_such_a_target_is_told(
    session: Any, project: Path, tmp_path: Path, progression: str | None, said: str
) -> None:
    rows = pd.read_csv(project / "data" / "diabetes.csv").head(30).assign(progression=progression)
    rows.to_csv(tmp_path / "x.csv", index=False)
    typed = options(data="diabetes", test_data=str(tmp_path / "x.csv"))
    with pytest.raises(UserError, match=f"^{said}$"):
        spark_table.prepare(session, spark_table.identify(typed), tmp_path)


def test_a_file_that_spark_does_not_read_is_refused(session: Any, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"x": 1, "y": 2}\n')
    with pytest.raises(
        UserError, match=r"^data: tune_mllib reads CSV, Parquet and tables of a catalog, and .* is JSON"
    ):
        spark_table.prepare(
            session, spark_table.identify(options(data=str(tmp_path / "x.jsonl"), target="y")), tmp_path
        )


def test_a_table_of_a_catalog_is_read_by_its_name(session: Any, tmp_path: Path, project: Path) -> None:
    """The session's own catalog, whose name is spark_catalog."""
    name = "spark_catalog.default.lifecycle_iris"
    frame = session.read.csv(str(project / "data" / "iris.csv"), header=True, inferSchema=True)
    frame.write.option("path", str(tmp_path / "iris")).saveAsTable(name)
    try:
        typed = options(data=name, target="species")
        identity = spark_table.identify(typed, session)
        assert spark_table.identify(typed, session).key == identity.key
        here = spark_table.prepare(session, identity, tmp_path)
        assert (len(here.train), len(here.test)) == (117, 33)
        here.let_go()
        later = typed | {"test_data": name}
        tested = spark_table.identify(later, session)
        assert tested.key != identity.key
        session.sql(f"CREATE TABLE {name}_later AS SELECT * FROM {name} LIMIT 60")
        assert spark_table.identify(later | {"test_data": f"{name}_later"}, session).key != tested.key
        session.sql(f"INSERT INTO {name} SELECT * FROM {name} LIMIT 1")
        assert spark_table.identify(typed, session).key != identity.key
    finally:
        for table in (name, f"{name}_later"):
            session.sql(f"DROP TABLE IF EXISTS {table}")
    with pytest.raises(
        UserError, match=r"^data: Spark's catalogs have no table 'spark_catalog.default.none' \(.*\); give"
    ):
        spark_table.identify(options(data="spark_catalog.default.none", target="y"), session)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"split": "stratified"}, "split: tune_mllib splits by hash and not 'stratified', since rows .*"),
        ({"models": "knn"}, "models: 'knn' is not known; use one of logreg, dtc, rf, gradient_boosting, linreg, dtr.*"),
        ({"metric": "f2"}, "metric: 'f2' is not known; .*"),
        ({"parallelism": -1}, "parallelism: -1 cannot run a trial; give 1 or more."),
        ({"max_evals": -3}, "max_evals: -3 trials cannot find anything; .*"),
        ({"patience": -1}, "patience: -1 is below 0; .*"),
        (
            {"algo": "rand"},
            "algo: 'rand' has no say in the sweep, which tries all its points; give sweep=false for a search.",
        ),
        (
            {"data": "c.s.january", "test_data": "february.csv"},
            "test_data: 'c.s.january' is a table of a catalog, and 'february.csv' is none; give both as .*",
        ),
        ({"test_data": "c.s.february"}, "test_data: 'c.s.february' is a table of a catalog, and 'iris' is none; .*"),
    ],
)
def test_options_are_refused_before_anything_is_started(typed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}$"):
        mllib.check(options(**typed))


def test_adaptive_tpe_without_lightgbm_is_refused_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^algo: atpe needs lightgbm, which is not installed; "):
        mllib.check(options(algo="atpe", sweep=False))


def test_examples_are_of_present_cells_also_where_most_are_missing(session: Any) -> None:
    """One remark among the first 1,000 rows says little of those that follow."""
    frame = session.range(0, 3000, 1, 1).selectExpr(
        "CASE WHEN id = 5 THEN 'ok' WHEN id >= 1500 THEN concat('remark number ', id) END AS remark", "'x' AS same"
    )
    found = spark_rows.SparkRows(frame, ["remark", "same"], (), 3000).examples(["remark", "same"])
    assert found["same"] == ("x",)
    assert found["remark"] == ("ok", *(f"remark number {place}" for place in range(1500, 2499)))
    assert spark_rows.SparkRows(frame, ["remark"], (), 3000).examples([]) == {}


def test_without_java_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr(spark, "active_session", lambda: None)
    with pytest.raises(
        UserError, match=r"^data: spark needs Java, and none was found .*, or use tune_multi, which needs"
    ):
        mllib.check(options())


# Fitting.


@pytest.fixture(scope="module")
def design(prepared: Callable[..., spark_table.SparkPrepared]) -> Callable[[str], mllib.Design]:
    known: dict[str, mllib.Design] = {}

    def make(data: str) -> mllib.Design:
        if data not in known:
            known[data] = mllib.Design(prepared(data=data, folds=2))
        return known[data]

    return make


def objective(design: mllib.Design, metric: str = "", on_test: bool = False) -> mllib.Objective:
    return mllib.Objective(design, resolve_metric(metric, design.contract), 42, on_test, False)


@pytest.mark.parametrize(
    ("data", "model"), [(data, model) for data, task in (("churn", "classification"), ("diabetes", "regression"))
                        for model in offered.MLLIB[task]]
)  # fmt: skip
def test_every_model_beats_the_best_constant(design: Callable[[str], mllib.Design], data: str, model: str) -> None:
    table = design(data)
    _, [first] = offered.space_of([model], table.contract)
    values = first | ({"class_weight": "balanced"} if "class_weight" in first else {})
    values |= {name: 5 for name in ("maxIter", "numTrees") if name in first}
    record = objective(table)(0, Task(values))
    assert (record.status, record.error, record.folds_done) == (FINISHED, "", 2)
    metric = resolve_metric("", table.contract)
    assert metric.better(record.score, table.dummies("cv")[f"dummy_cv_{metric.name}"])
    assert 0 < record.size_mb < 1
    named = {name: value for name, value in values.items() if name != "model"}
    assert {name: record.params[name] for name in named} == named


def test_a_point_that_spark_refuses_is_a_failed_trial(design: Callable[[str], mllib.Design]) -> None:
    record = objective(design("churn"))(3, Task({"model": "dtc", "maxDepth": 99}))
    assert (record.number, record.status) == (3, "failed")
    assert "99" in record.error and np.isnan(record.score)


def test_figures_are_those_of_the_evaluators(design: Callable[[str], mllib.Design]) -> None:
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator

    table = design("churn")
    model = objective(table).fit({"model": "dtc", "maxDepth": 3}, table.train, table.labels.sum(axis=0))
    said = model.transform(table.test)
    found = mllib.score(table.contract, model, table.test, areas=True)
    columns = {"labelCol": mllib.PLACE, "predictionCol": mllib.GUESS}
    for own, its in (("accuracy", "accuracy"), ("precision", "precisionByLabel"), ("recall", "recallByLabel"),
                     ("f1", "fMeasureByLabel")):  # fmt: skip
        evaluator = MulticlassClassificationEvaluator(metricName=its, metricLabel=1.0, **columns)
        assert found[own] == pytest.approx(evaluator.evaluate(said)), own
    assert set(found) == {metric.name for metric in metrics_for(table.contract).values()}
    table = design("diabetes")
    model = objective(table).fit({"model": "linreg"}, table.train, table.labels.sum(axis=0))
    found = mllib.score(table.contract, model, table.test, areas=True)
    said = model.transform(table.test)
    for name in ("rmse", "mae", "r2"):
        assert found[name] == pytest.approx(RegressionEvaluator(metricName=name, **columns).evaluate(said)), name


def test_an_area_counts_probabilities(design: Callable[[str], mllib.Design]) -> None:
    from sklearn.metrics import roc_auc_score

    table = design("churn")
    model = objective(table).fit({"model": "dtc", "maxDepth": 4}, table.train, table.labels.sum(axis=0))
    rows = model.transform(table.test).select(mllib.PLACE, "probability").collect()
    expected = roc_auc_score([row[0] for row in rows], [row[1][1] for row in rows])
    assert mllib.score(table.contract, model, table.test, areas=True)["roc_auc"] == pytest.approx(expected)


def test_the_model_takes_raw_rows_of_any_type(session: Any, design: Callable[[str], mllib.Design]) -> None:
    """Missing cells, new levels, numbers as texts; and it says the target's own labels, which are numbers."""
    table = design("churn")
    model = objective(table).fit({"model": "logreg"}, table.train, table.labels.sum(axis=0))
    whole = mllib.pipeline_of(table, model)
    row = {"Age": 30, "FrequentFlyer": "Yes", "AnnualIncomeClass": "High Income", "ServicesOpted": 2,
           "AccountSyncedToSocialMedia": "No", "BookedHotelOrNot": "Yes"}  # fmt: skip

    def said(*rows: dict[str, Any]) -> list[Any]:
        frame = session.createDataFrame(pd.DataFrame(list(rows)))
        return [one[0] for one in whole.transform(frame).select("prediction").collect()]

    [plain] = said(row)
    assert plain in (0, 1) and isinstance(plain, int)
    assert said(row | {"Age": "30", "ServicesOpted": " 2.0 "}) == [plain]
    assert said(row | {"FrequentFlyer": " Yes "}) == [plain]
    assert len(said(row | {"Age": None, "FrequentFlyer": "Perhaps", "AnnualIncomeClass": "?"})) == 1


def test_columns_of_every_kind_have_their_places(
    session: Any, prepared: Callable[..., spark_table.SparkPrepared], strange: Path
) -> None:
    """Six numbers, two times of nine numbers each, 256 buckets of words, and the levels, missing among them."""
    table = mllib.Design(prepared(data=str(strange), target="y"))
    contract = table.contract
    levels = [len(column.levels) + column.missing for column in contract.columns if column.role == "categorical"]
    numbers, times = contract.of_role("numeric"), contract.of_role("datetime")
    assert (len(numbers), times, contract.of_role("text")) == (4, ["day", "sold"], ["remark"])
    [first] = table.train.select(mllib.FEATURES).limit(1).collect()
    assert first[0].size == len(numbers) + 2 * 9 + sum(levels) + 256
    model = objective(table).fit({"model": "dtc", "maxDepth": 2}, table.train, table.labels.sum(axis=0))
    whole = mllib.pipeline_of(table, model)
    rows = pd.DataFrame({name: [None, "?"] for name in contract.features})
    said = whole.transform(session.createDataFrame(rows, ", ".join(f"{name} STRING" for name in rows)))
    assert {row[0] for row in said.select("prediction").collect()} <= {"no", "yes"}
    table.let_go()


def test_the_best_tree_of_the_sweep_gets_at_least_95_of_100_flowers_right(
    prepared: Callable[..., spark_table.SparkPrepared],
) -> None:
    """At the seed of the course's own churn model; docs/mllib.md has others."""
    table = mllib.Design(prepared(data="iris", seed=124))
    _, points = offered.sweep()
    every = objective(table, "accuracy", on_test=True)
    best = max((every(number, Task(values)) for number, values in enumerate(points[:5])), key=lambda one: one.score)
    assert best.metrics["test_accuracy"] >= 0.95
    table.let_go()


def test_what_is_kept_is_let_go(
    session: Any, prepared: Callable[..., spark_table.SparkPrepared], tmp_path: Path
) -> None:
    before = session.sparkContext._jsc.getPersistentRDDs().size()
    here = spark_table.prepare(session, spark_table.identify(options(data="iris", seed=7)), tmp_path)
    made = mllib.Design(here)
    assert session.sparkContext._jsc.getPersistentRDDs().size() > before
    made.let_go()
    here.let_go()
    assert session.sparkContext._jsc.getPersistentRDDs().size() == before


def test_names_of_tables_are_told_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.b.c").write_text("x")
    names = ("main.sales.trips", "a.b.c", "a.b.csv", "sales.trips", "/x/main.sales.trips")
    assert [name for name in names if sources.is_cataloged(name)] == ["main.sales.trips"]

"""Scoring on a session that is there: what Spark reads itself, what is copied for it, what it writes and refuses."""

import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import guests
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType
from pyarrow import parquet

from lifecycle import checks
from lifecycle.adapters import outputs, scoring, scoring_spark, spark
from lifecycle.adapters.places import Place
from lifecycle.contract import Column, Contract
from lifecycle.errors import UserError
from lifecycle.reading import ReadOptions

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("at_home")]
CONTRACT = Contract(
    "y",
    "regression",
    (),
    None,
    "random",
    columns=(
        Column("a.b", "numeric", "BIGINT", low=0.0, high=10.0),
        Column("word", "categorical", "VARCHAR", levels=("x",), missing_share=0.0),
    ),
)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warehouse")


@pytest.fixture(scope="module")
def session(at_home: None, warehouse: Path) -> Iterator[Any]:
    """A session with two cores, and a catalog in a folder of its own, wherever the JVM was started."""
    found = spark.own_session(2, 4, {"spark.sql.warehouse.dir": str(warehouse)})
    yield found
    found.stop()


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> scoring.Model:
    """A model that reads a number under a name with a dot, and a word, and tells both."""
    body = 'return [f"{a}{w}" for a, w in zip(rows["a.b"], rows["word"])]'
    schema = Schema([ColSpec(AnyType(), "a.b"), ColSpec(AnyType(), "word")])
    signature = ModelSignature(schema, Schema([ColSpec("string")]))
    folder = guests.save(tmp_path_factory.mktemp("guest"), body, signature)
    return scoring.Model("models:/guest/1", folder, CONTRACT, ("a.b", "word"), (), "string")


@pytest.fixture
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a scoring puts what is not the output."""
    return tmp_path_factory.mktemp("work")


def asked(data: Path | str, output: Path | str, query: str = "", overwrite: bool = False) -> scoring.Asked:
    place = outputs.parse_output(str(output), "spark", overwrite)
    return scoring.Asked("", str(data), ReadOptions(), query, place, "spark", 2)


def scored(asked: scoring.Asked, model: scoring.Model, folder: Path) -> None:
    with scoring.opened(asked, model, folder) as rows:
        assert rows.score(model, folder) is None


def read(path: Path) -> dict[str, list[Any]]:
    frame = pd.read_parquet(path)
    return frame.sort_values(list(frame.columns)[0]).to_dict("list")


def frame(**more: Any) -> pd.DataFrame:
    return pd.DataFrame({"a.b": [1, 2, 3], "word": ["x", None, "y"]} | more)


def test_parquet_is_read_by_spark_and_everything_else_as_a_copy(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame().to_parquet(tmp_path / "rows.parquet")
    frame().to_csv(tmp_path / "rows.csv", index=False)
    expected = {"a.b": [1, 2, 3], "word": ["x", None, "y"], "prediction": ["1x", "2None", "3y"]}
    before = session.conf.get("spark.sql.session.timeZone")
    for name in ("parquet", "csv"):
        output = tmp_path / f"{name}.parquet"
        scored(asked(tmp_path / f"rows.{name}", output), guest, work)
        assert read(output) == expected
        assert (output / "_SUCCESS").exists()
    # The session of others is left as it was.
    assert session.conf.get("spark.sql.session.timeZone") == before
    assert session.range(3).count() == 3


@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_names_with_blanks_and_umlauts_are_names(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path, name: str
) -> None:
    folder = tmp_path / "für 100%25 näher"
    folder.mkdir()
    data, output = folder / f"neue rows.{name}", folder / "my scöred.parquet"
    frame().to_parquet(data) if name == "parquet" else frame().to_csv(data, index=False)
    scored(asked(data, output), guest, work)
    assert read(output)["prediction"] == ["1x", "2None", "3y"]
    assert sorted(os.listdir(folder)) == [output.name, data.name]


def test_a_delta_table_is_read_by_spark_where_it_can_and_as_a_copy_where_it_cannot(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This Spark has no Delta Lake; its reader of Parquet, under that name, sees the same files of a first version."""
    deltalake = pytest.importorskip("deltalake")
    data = tmp_path / "rows.delta"
    deltalake.write_deltalake(str(data), frame())
    for place, way, reader in (
        ("copied", scoring_spark.FileRows, "delta"),
        ("read", scoring_spark.TableRows, "parquet"),
    ):
        monkeypatch.setattr(scoring_spark, "DELTA_LAKE", reader)
        output = tmp_path / f"{place}.parquet"
        with scoring.opened(asked(data, output), guest, work) as rows:
            assert isinstance(rows, way)
            assert checks.judge(CONTRACT, rows.observe(CONTRACT))[0].code == "new_level"
            rows.score(guest, work)
        assert read(output) == {"a.b": [1, 2, 3], "word": ["x", None, "y"], "prediction": ["1x", "2None", "3y"]}
    assert rows.origin == f"{data}?version=0"


# What a model of another project says of rows, and what both engines make of that.
GUESTS = {
    "whole numbers": ("return rows['a.b'] * 2", [2, 4, 6]),
    "numbers, one missing": ("return [float('nan') if a == 2 else a / 2 for a in rows['a.b']]", [0.5, None, 1.5]),
    "texts, some missing": ("return [[None, float('nan'), 'None'][a - 1] for a in rows['a.b']]", [None, None, "None"]),
    "two columns": (
        "return pd.DataFrame({'y': rows['a.b'], 'z': rows['a.b']})",
        "model: m predicts 2 columns (y, z), where one is needed.",
    ),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "") for name in GUESTS), ("texts, some missing", "string")],
    ids=lambda word: word or "undeclared",
)
def test_both_engines_say_the_same_of_a_model_of_another_project(
    session: Any, tmp_path: Path, work: Path, name: str, kind: str
) -> None:
    body, expected = GUESTS[name]
    signature = ModelSignature(outputs=Schema([ColSpec(kind)])) if kind else None
    model = scoring.Model("m", guests.save(tmp_path / "guest", body, signature), None, ("a.b",), (), kind)
    frame().to_parquet(tmp_path / "rows.parquet")
    types = set()
    for engine in ("local", "spark"):
        place = outputs.parse_output(str(tmp_path / f"{engine}.parquet"), engine, False)
        wanted = scoring.Asked("", str(tmp_path / "rows.parquet"), ReadOptions(), "", place, engine, 1)
        if isinstance(expected, str):
            with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
                scored(wanted, model, work)
        else:
            scored(wanted, model, work)
            found = parquet.read_table(place.path).sort_by("a.b").column("prediction")
            assert found.to_pylist() == expected
            types.add(str(found.type))
    assert len(types) <= 1


def test_a_query_and_times_of_nanoseconds_go_through_a_copy(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path
) -> None:
    times = pd.to_datetime(["2021-01-01 00:00", "2021-06-01 12:30", None])
    frame(seen=times).to_parquet(tmp_path / "rows.parquet")
    output = tmp_path / "out.parquet"
    scored(asked(tmp_path / "rows.parquet", output, 'SELECT * FROM data WHERE "a.b" > 1'), guest, work)
    found = read(output)
    assert (found["a.b"], found["prediction"]) == ([2, 3], ["2None", "3y"])
    assert found["seen"][0] == pd.Timestamp("2021-06-01 12:30")
    assert sorted(os.listdir(tmp_path)) == ["out.parquet", "rows.parquet"]


def test_a_table_of_the_catalog_is_checked_where_it_lies_and_scored_into_another(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path
) -> None:
    rows = pd.DataFrame({"a.b": np.arange(40) - 2, "word": ["x", "y", "z", None] * 10})
    session.createDataFrame(rows).repartition(3).write.saveAsTable("spark_catalog.default.trips")
    wanted = asked("spark_catalog.default.trips", "spark_catalog.default.scored")
    rows.to_parquet(tmp_path / "rows.parquet")
    here = scoring.Asked("", str(tmp_path / "rows.parquet"), ReadOptions(), "", None, "local", 1)
    with scoring.opened(here, guest, work) as known:
        expected = checks.judge(CONTRACT, known.observe(CONTRACT))
    assert {breach.code for breach in expected} == {"below", "above", "new_level", "more_missing"}
    with scoring.opened(wanted, guest, work) as table:
        assert (len(table), table.origin, table.digest) == (40, "spark_catalog.default.trips", "")
        assert checks.judge(CONTRACT, table.observe(CONTRACT)) == expected
        table.score(guest, work)
    found = sorted(tuple(row) for row in session.table("spark_catalog.default.scored").collect())
    assert found == [(a, w, f"{a}{w}") for a, w in rows.itertuples(index=False, name=None)]

    with pytest.raises(
        UserError,
        match=r"^output: the table spark_catalog\.default\.scored exists; give another name, or "
        r"-P overwrite=true, which replaces it\.$",
    ):
        scored(wanted, guest, work)
    scored(asked("spark_catalog.default.trips", "spark_catalog.default.scored", overwrite=True), guest, work)
    assert session.table("spark_catalog.default.scored").count() == 40


def test_a_scoring_that_fails_leaves_the_former_table_and_no_other(session: Any, tmp_path: Path, work: Path) -> None:
    """Spark itself drops a table of Parquet files before the first row of the new one. This model says it gives one."""
    session.createDataFrame(frame()).coalesce(1).write.saveAsTable("spark_catalog.default.new_rows")
    session.createDataFrame([("former",)], "word string").write.saveAsTable("spark_catalog.default.former")
    body, sentence = GUESTS["two columns"]
    signature = ModelSignature(outputs=Schema([ColSpec("double")]))
    broken = scoring.Model("m", guests.save(tmp_path / "broken", body, signature), None, ("a.b",), (), "double")
    with pytest.raises(UserError, match=f"^{re.escape(str(sentence))}$"):
        scored(asked("spark_catalog.default.new_rows", "spark_catalog.default.former", overwrite=True), broken, work)
    assert [row.word for row in session.table("spark_catalog.default.former").collect()] == ["former"]
    tables = [row.tableName for row in session.sql("SHOW TABLES IN spark_catalog.default").collect()]
    assert "former" in tables and not [name for name in tables if name.startswith("scored_")]


@pytest.mark.parametrize("output", ["a file", "new", "replaced at once"])
def test_of_a_table_that_changes_between_check_and_scoring_nothing_is_written(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delta Lake, whose tables are replaced in one transaction, is not to be had here; one of Parquet files is."""
    source, target = (f"spark_catalog.default.{name}_{output.replace(' ', '_')}" for name in ("growing", "grown"))
    monkeypatch.setattr(scoring_spark, "REPLACED_AT_ONCE", ("parquet",))
    if output == "replaced at once":
        session.createDataFrame([("former",)], "word string").write.saveAsTable(target)
    session.createDataFrame(frame()).write.saveAsTable(source)
    wanted = asked(source, tmp_path / "out.parquet" if output == "a file" else target, overwrite=True)
    with (
        pytest.raises(
            UserError,
            match=rf"^data: '{re.escape(source)}' had 3 rows when it was checked, and 6 when it was scored; "
            r"score it again when nobody changes it\.$",
        ),
        scoring.opened(wanted, guest, work) as rows,
    ):
        session.createDataFrame(frame()).write.insertInto(source)
        session.catalog.refreshTable(source)
        rows.score(guest, work)
    assert os.listdir(tmp_path) == []
    assert session.catalog.tableExists(target) == (output == "replaced at once")
    if output == "replaced at once":
        assert [row.word for row in session.table(target).collect()] == ["former"]
        scored(wanted, guest, work)
        assert session.table(target).count() == 6


def test_whatever_spark_fails_over_is_a_sentence(
    session: Any, warehouse: Path, guest: scoring.Model, tmp_path: Path, work: Path
) -> None:
    session.createDataFrame(frame()).write.saveAsTable("spark_catalog.default.spoilt")
    for file in (warehouse / "spoilt").iterdir():
        file.write_bytes(b"no table")
    with pytest.raises(UserError, match=r"^engine: Spark ended the scoring: .*; nothing is written, so mend it and "):
        scored(asked("spark_catalog.default.spoilt", tmp_path / "out.parquet"), guest, work)
    assert os.listdir(tmp_path) == []


def test_a_disk_without_room_for_the_copy_is_told(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def nowhere(_: outputs.Output) -> Iterator[Path]:
        yield tmp_path / "nowhere"

    frame().to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.setattr(outputs.Output, "beside", nowhere)
    with pytest.raises(UserError, match=r"^output: it cannot be written \(IO Error: .*\); give another path, or make "):
        scored(asked(tmp_path / "rows.csv", tmp_path / "out.parquet"), guest, work)


def test_executors_import_no_more_for_a_contract_than_they_are_asked_to_have() -> None:
    """Of what stands in requirements.txt."""
    code = "import sys, lifecycle.adapters.observing; print(*{name.split('.')[0] for name in sys.modules})"
    path = str(Path(scoring_spark.__file__).parents[2])
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    known = {"mlflow", "hyperopt", "matplotlib", "statsmodels", "skops", "click", "pyspark", "xgboost", "sqlalchemy"}
    assert not set(run.stdout.split()) & known
    assert {"pandas", "pyarrow", *scoring_spark.OF_CONTRACTS} <= set(run.stdout.split())


def test_of_a_table_with_versions_the_newest_is_kept_to() -> None:
    class Session:
        """As far as a table of Delta Lake is asked for; the last of all that was."""

        def sql(self, text: str) -> Any:
            assert text == "DESCRIBE HISTORY main.shop.rows LIMIT 1"
            return self

        def collect(self) -> list[dict[str, int]]:
            return [{"version": 7}]

        @property
        def read(self) -> Any:
            return self

        def option(self, *words: Any) -> Any:
            self.options = words
            return self

        def table(self, name: str) -> Any:
            return (name, *self.options)

    place = Place("catalog", "main.shop.rows", "main.shop.rows", "rows")
    model = scoring.Model("m", Path(), None, ())
    assert scoring_spark.table_of(Session(), place, model)[0] == ("main.shop.rows", "versionAsOf", 7)


def test_a_table_that_the_catalog_does_not_have_is_told(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path
) -> None:
    with pytest.raises(UserError, match=r"^data: there is no table 'spark_catalog\.default\.nowhere' \(.*\)\.$"):
        scored(asked("spark_catalog.default.nowhere", tmp_path / "out.parquet"), guest, work)
    frame().to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(UserError, match=r"^data: '.*rows\.csv' is no Parquet file here that Spark can "):
        scored(asked(tmp_path / "rows.csv", "spark_catalog.default.scored2"), guest, work)


def test_a_session_without_delta_is_told_and_a_failed_job_leaves_nothing(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path
) -> None:
    frame().to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"^output: this Spark has no Delta Lake; give a path that ends in \.parquet, "):
        scored(asked(tmp_path / "rows.parquet", tmp_path / "out.delta"), guest, work)
    schema = Schema([ColSpec("string", "a.b")])
    strict = guests.save(tmp_path / "strict", "return rows['a.b']", ModelSignature(schema, schema))
    model = scoring.Model("models:/strict/1", strict, None, ("a.b",), (), "string")
    with pytest.raises(
        UserError,
        match=r"^model: models:/strict/1 refuses the rows: MlflowException: Incompatible input types for column a\.b\. "
        r"Can not safely convert int64 to .*\.$",
    ):
        scored(asked(tmp_path / "rows.parquet", tmp_path / "out.parquet"), model, work)
    assert sorted(os.listdir(tmp_path)) == ["rows.parquet", "strict"]


def test_executors_without_the_locks_packages_are_told(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark asks for a python by its name; this one has nothing but the standard library."""
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    monkeypatch.setattr(session.sparkContext, "pythonExec", python)
    frame().to_parquet(tmp_path / "rows.parquet")
    (guest.folder / "requirements.txt").write_text("scikit-learn==1.9.0\nxgboost-cpu==3.2.0\n", encoding="utf-8")
    with pytest.raises(
        UserError,
        match=rf"^engine: the executors' python, {re.escape(python)}, has no mlflow, pandas, pyarrow, sklearn, "
        r"xgboost; install requirements\.txt there, or set PYSPARK_PYTHON to a python that has it\.$",
    ):
        scored(asked(tmp_path / "rows.parquet", tmp_path / "out.parquet"), guest, work)
    # There the contract of a catalog's table is checked, too.
    session.createDataFrame([(1, "x")], "`a.b` long, word string").write.saveAsTable("spark_catalog.default.few")
    with pytest.raises(UserError, match=r", has no duckdb, mlflow, numpy, pandas, pyarrow, sklearn, xgboost; install "):
        scored(asked("spark_catalog.default.few", tmp_path / "out.parquet"), guest, work)
    monkeypatch.setattr(session.sparkContext, "pythonExec", "/no/such/python")
    with pytest.raises(UserError, match=r"^engine: the executors' pythons are not there: /no/such/python; install "):
        spark.check_pythons(session.sparkContext, ["mlflow"])

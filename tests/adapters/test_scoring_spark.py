"""Scoring on a session that is there: what Spark reads itself, what is copied for it, what it writes and refuses."""

import os
import re
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guests
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType

from lifecycle import checks
from lifecycle.adapters import outputs, scoring, spark
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
def session(at_home: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A session with two cores, and a catalog in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("warehouse"))
        found = spark.own_session(2, 4)
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


def test_a_table_that_the_catalog_does_not_have_is_told(
    session: Any, guest: scoring.Model, tmp_path: Path, work: Path
) -> None:
    with pytest.raises(UserError, match=r"^data: there is no table 'spark_catalog\.default\.nowhere' \(.*\)\.$"):
        scored(asked("spark_catalog.default.nowhere", tmp_path / "out.parquet"), guest, work)
    frame().to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(UserError, match=r"^data: '.*rows\.csv' is no Parquet file that Spark can read as it is, "):
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
    monkeypatch.setattr(session.sparkContext, "pythonExec", "/no/such/python")
    with pytest.raises(UserError, match=r"^engine: the executors' pythons are not there: /no/such/python; install "):
        spark.check_pythons(session.sparkContext, ["mlflow"])

"""A table scored in processes of this machine: what is read, what is written, what is refused."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import guests
import pandas as pd
import pytest
from hostile import appeared, eventually, lives
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from pyarrow import parquet

from lifecycle.adapters import outputs, preparation, scoring
from lifecycle.contract import Column, Contract
from lifecycle.errors import UserError
from lifecycle.reading import ReadOptions

CODES = Contract(
    "y",
    "classification",
    ("no", "yes"),
    "yes",
    "random",
    query="SELECT *, size * 2 AS double_size FROM data WHERE size > 1",
    columns=(
        Column("code", "categorical", "VARCHAR", levels=("007", "A1")),
        Column("double_size", "numeric", "BIGINT"),
    ),
)


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says what it was handed: the columns and the first cells."""
    body = 'return [",".join(f"{name}={rows[name].tolist()[i]!r}" for name in rows) for i in range(len(rows))]'
    return guests.save(tmp_path_factory.mktemp("guest"), body)


@pytest.fixture
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a scoring puts what is not the output."""
    return tmp_path_factory.mktemp("work")


def asked(data: Path | str, output: Path | None = None, query: str = "", **more: Any) -> scoring.Asked:
    place = outputs.parse_output(str(output), "local", more.pop("overwrite", False)) if output else None
    return scoring.Asked("", str(data), ReadOptions(), query, place, "local", more.pop("parallelism", 1))


def table(folder: Path, text: str) -> Path:
    path = folder / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return path


def scored(asked: scoring.Asked, model: scoring.Model, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    with scoring.opened(asked, model, folder) as rows:
        path = rows.score(model, folder)
        return pd.read_parquet(path or asked.output.path), rows.notes  # type: ignore[union-attr]


def refused(sentence: str) -> Any:
    return pytest.raises(UserError, match=f"^{re.escape(sentence)}$")


def with_contract(guest: Path) -> scoring.Model:
    return scoring.Model("models:/codes/1", guest, CODES, tuple(CODES.features), (), "string")


def test_rows_are_written_whole_in_order_with_what_the_model_says_of_the_columns_it_reads(
    tmp_path: Path, work: Path, guest: Path
) -> None:
    data = table(tmp_path, "name,b,a\nx,1,2\ny,,4\n")
    model = scoring.Model("models:/m/1", guest, None, ("a", "b"), (), "string")
    found, notes = scored(asked(data, tmp_path / "out.parquet"), model, work)
    assert found.columns.tolist() == ["name", "b", "a", "prediction"]
    assert found["name"].tolist() == ["x", "y"]
    assert found["prediction"].tolist() == ["a=2,b=1.0", "a=4,b=nan"]
    assert notes == []


def test_a_model_that_names_no_columns_gets_all_and_one_that_may_have_some_gets_those(
    tmp_path: Path, work: Path, guest: Path
) -> None:
    data = table(tmp_path, "a,b\n1,2\n")
    for model, expected in (
        (scoring.Model("m", guest, None, ()), "a=1,b=2"),
        (scoring.Model("m", guest, None, ("b",), ("c", "a")), "b=2,a=1"),
    ):
        found, _ = scored(asked(data), model, work)
        assert found["prediction"].tolist() == [expected]


def test_the_models_own_query_makes_the_columns_that_a_table_lacks_and_that_is_told(
    tmp_path: Path, work: Path, guest: Path
) -> None:
    data = table(tmp_path, "code,size\n007,1\n007,2\n008,3\n")
    found, notes = scored(asked(data), with_contract(guest), work)
    assert found.columns.tolist() == ["code", "size", "double_size", "prediction"]
    # Words in training are words here, although all of these might be numbers.
    assert found["prediction"].tolist() == ["code='007',double_size=4", "code='008',double_size=6"]
    assert notes == [
        "the table lacks double_size, so the query of the model's training table is applied first: 3 rows, 2 after it."
    ]


def test_the_models_own_query_is_left_out_where_nothing_lacks_and_where_one_is_typed(
    tmp_path: Path, work: Path, guest: Path
) -> None:
    data = table(tmp_path, "code,double_size\n007,1\n")
    for query in ("", "SELECT * FROM data"):
        found, notes = scored(asked(data, query=query), with_contract(guest), work)
        assert (found["prediction"].tolist(), notes) == (["code='007',double_size=1"], [])


def test_a_query_of_the_models_that_fails_here_is_told(tmp_path: Path, work: Path, guest: Path) -> None:
    data = table(tmp_path, "code,length\n007,1\n")
    with (
        pytest.raises(
            UserError,
            match=rf"^data: '{data}' lacks the columns double_size, which models:/codes/1 reads, and the query of its "
            r"training table makes none of them here \(query: it fails with .*size.*\); give query\.$",
        ),
        scoring.opened(asked(data), with_contract(guest), work),
    ):
        pass


def test_a_query_of_the_models_that_is_sparks_is_not_run_by_another_engine(
    tmp_path: Path, work: Path, guest: Path
) -> None:
    data, model = table(tmp_path, "code,size\n007,2\n"), with_contract(guest)
    assert model.contract is not None
    model = replace(model, contract=replace(model.contract, dialect="spark"))
    said = (
        rf"^data: '{data}' lacks the columns double_size, which models:/codes/1 reads, and the query of its training "
        r"table, 'SELECT .*', is Spark's SQL, which score does not run; say it by query as duckdb does, or .*\.$"
    )
    with pytest.raises(UserError, match=said), scoring.opened(asked(data), model, work):
        pass


def test_tables_that_cannot_be_scored_are_refused_before_anything_is_written(
    tmp_path: Path, work: Path, guest: Path
) -> None:
    model = scoring.Model("models:/m/1", guest, None, ("a", "size"))
    for text, sentence in (
        ("a,size\n", "data: {data} has no rows; give a table with rows."),
        (
            "a,size,Prediction\n1,2,3\n",
            "data: {data} has a column 'Prediction', which is the name of what is written beside the rows; rename or "
            "leave it out by query.",
        ),
        (
            "a,b\n1,2\n",
            "data: {data} lacks the columns size, which models:/m/1 reads; make them by query, or name another model.",
        ),
    ):
        data = table(tmp_path, text)
        with (
            refused(sentence.format(data=repr(str(data)))),
            scoring.opened(asked(data, tmp_path / "out.parquet"), model, work),
        ):
            pass
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_what_a_model_refuses_is_a_sentence_and_leaves_nothing(tmp_path: Path, work: Path) -> None:
    schema = Schema([ColSpec("string", "a")])
    guest = guests.save(tmp_path / "guest", "return rows.a", ModelSignature(schema, Schema([ColSpec("long")])))
    data = table(tmp_path, "a\n1\n")
    model = scoring.Model("models:/m/1", guest, None, ("a",), (), "long")
    with pytest.raises(
        UserError, match=r"^model: models:/m/1 refuses the rows: MlflowException: Incompatible .* column a\. .*\.$"
    ):
        scored(asked(data, tmp_path / "out.parquet"), model, work)
    assert sorted(os.listdir(tmp_path)) == ["guest", "rows.csv"]


def test_predictions_have_the_type_that_the_model_declares(tmp_path: Path, work: Path) -> None:
    guest = guests.save(tmp_path / "guest", "return rows.a")
    data = table(tmp_path, "a\n1\n2\n")
    for kind, dtype in (("double", "float64"), ("long", "int64"), ("", "int64")):
        found, _ = scored(asked(data), scoring.Model("m", guest, None, ("a",), (), kind), work)
        assert str(found["prediction"].dtype) == dtype


def test_a_later_batch_of_another_type_is_a_sentence(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "BATCH_ROWS", 2048)
    body = "return rows.a + 1 if rows.a[0] == 0 else [str(a) + 'x' for a in rows.a]"
    guest = guests.save(tmp_path / "guest", body)
    pd.DataFrame({"a": range(4096)}).to_parquet(tmp_path / "rows.parquet")
    model = scoring.Model("models:/m/1", guest, None, ("a",))
    with pytest.raises(UserError, match=r"^model: models:/m/1 predicts what is no int64: ArrowInvalid: .*\.$"):
        scored(asked(tmp_path / "rows.parquet", tmp_path / "out.parquet"), model, work)
    assert sorted(os.listdir(tmp_path)) == ["guest", "rows.parquet"]


def test_batches_come_in_order_from_several_processes(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one sleeps, the others pass it by."""
    monkeypatch.setattr(scoring, "BATCH_ROWS", 2048)
    guest = guests.save(tmp_path / "guest", "if rows.a[0] == 0:\n    time.sleep(0.5)\nreturn rows.a + 0.5")
    frame = pd.DataFrame({"a": range(20_000)})
    frame.to_parquet(tmp_path / "rows.parquet")
    model = scoring.Model("m", guest, None, ("a",), (), "double")
    found, _ = scored(asked(tmp_path / "rows.parquet", parallelism=2), model, work)
    assert found["prediction"].tolist() == [a + 0.5 for a in range(20_000)]
    assert found["a"].tolist() == list(range(20_000))


KILLED = """
import sys
sys.path[:] = {path!r}
from pathlib import Path
from lifecycle.adapters import outputs, preparation, scoring
from lifecycle.reading import ReadOptions
scoring.BATCH_ROWS = 2048
output = outputs.parse_output({output!r}, "local", False)
asked = scoring.Asked("", {data!r}, ReadOptions(), "", output, "local", 1)
model = scoring.Model("m", Path({model!r}), None, ("a",), (), "long")
with scoring.opened(asked, model, Path({work!r})) as rows:
    rows.score(model, Path({work!r}))
"""


def test_a_scoring_that_is_killed_leaves_no_output_and_no_process(tmp_path: Path, work: Path) -> None:
    """After the first batches; the process ends when it finds nobody to answer."""
    seen = tmp_path / "pid"
    body = (
        f"if rows.a[0] > 8000:\n    Path({str(seen)!r}).write_text(str(os.getpid()))\n    time.sleep(1)\nreturn rows.a"
    )
    guest = guests.save(tmp_path / "guest", body)
    pd.DataFrame({"a": range(20_000)}).to_parquet(tmp_path / "rows.parquet")
    names = {"output": tmp_path / "out.parquet", "data": tmp_path / "rows.parquet", "model": guest, "work": work}
    code = KILLED.format(path=sys.path, **{name: str(path) for name, path in names.items()})
    parent = subprocess.Popen([sys.executable, "-c", code])
    worker = appeared(seen)
    assert lives(worker)
    parent.kill()
    parent.wait()
    assert not (tmp_path / "out.parquet").exists()
    assert eventually(lambda: not lives(worker))


def test_a_delta_table_is_made_and_replaced_by_its_next_version(tmp_path: Path, work: Path, guest: Path) -> None:
    deltalake = pytest.importorskip("deltalake")
    model = scoring.Model("m", guest, None, ("a",), (), "string")
    place = tmp_path / "out.delta"
    for number, version in ((1, 0), (2, 1)):
        data = table(tmp_path, f"a\n{number}\n")
        with scoring.opened(asked(data, place, overwrite=True), model, work) as rows:
            assert rows.score(model, work) is None
        made = deltalake.DeltaTable(str(place))
        assert made.version() == version
        assert made.to_pandas().to_dict("list") == {"a": [number], "prediction": [f"a={number}"]}
    assert deltalake.DeltaTable(str(place), version=0).to_pandas()["a"].tolist() == [1]
    assert sorted(os.listdir(tmp_path)) == ["out.delta", "rows.csv"]


def test_a_disk_that_is_full_is_a_sentence(
    tmp_path: Path, work: Path, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet.ParquetWriter, "write_batch", full)
    model = scoring.Model("m", guest, None, ("a",))
    with refused("output: it cannot be written ([Errno 28] No space left on device); give another path, or make room."):
        scored(asked(table(tmp_path, "a\n1\n"), tmp_path / "out.parquet"), model, work)
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_a_copy_of_what_lies_elsewhere_is_not_for_others_to_read(tmp_path: Path, work: Path, guest: Path) -> None:
    """It lies in a folder of this process; an executor on another machine would not find it."""
    deltalake = pytest.importorskip("deltalake")
    frame = pd.DataFrame({"a": [1, 2]})
    frame.to_parquet(tmp_path / "rows.parquet")
    deltalake.write_deltalake(str(tmp_path / "rows.delta"), frame)
    model = scoring.Model("m", guest, None, ("a",))
    with preparation.workplace(work) as connection:
        for name, untouched in (("rows.parquet", True), ("rows.delta", False)):
            file = scoring.File(connection, asked(tmp_path / name), model, work)
            assert (len(file.relation), file.source.kind, file.untouched) == (2, "parquet", untouched)

"""Where scored rows may go, and that nothing lies there before it is whole."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lifecycle.adapters import outputs
from lifecycle.errors import UserError


def refused(sentence: str) -> Any:
    return pytest.raises(UserError, match=f"^output: {re.escape(sentence)}$")


@pytest.mark.parametrize(
    ("name", "form"), [("x.parquet", "parquet"), ("x.PQ", "parquet"), ("x.delta", "delta"), ("a.b.parquet", "parquet")]
)
@pytest.mark.parametrize("engine", ["local", "spark"])
def test_the_ending_says_the_form(tmp_path: Path, name: str, form: str, engine: str) -> None:
    output = outputs.parse_output(str(tmp_path / name), engine, False)
    assert (output.form, output.path) == (form, tmp_path / name)


def test_three_names_are_a_table_on_spark_alone() -> None:
    assert outputs.parse_output("main.shop.scored", "spark", False).form == "table"
    with refused(
        "'main.shop.scored' is no place to write to; give a path that ends in .parquet, in .delta for a Delta table."
    ):
        outputs.parse_output("main.shop.scored", "local", False)


@pytest.mark.parametrize("asked", ["/tmp/x.csv", "/tmp/x", "s3://bucket/x.parquet", "https://host/x.parquet"])
def test_other_places_are_refused(asked: str) -> None:
    with refused(
        f"{asked!r} is no place to write to; give a path that ends in .parquet, in .delta for a Delta table, or "
        "catalog.schema.table."
    ):
        outputs.parse_output(asked, "spark", False)


def test_a_relative_path_is_kept_by_hand_and_refused_under_mlflow_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    assert outputs.parse_output("x.parquet", "local", False).path == tmp_path / "x.parquet"
    monkeypatch.setenv("MLFLOW_RUN_ID", "1")
    with refused(
        f"'./x.parquet' would lie in {str(tmp_path)!r}, where the project runs; give the absolute path, such as "
        '-P output="$PWD/x.parquet".'
    ):
        outputs.parse_output("./x.parquet", "local", False)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with refused(f"there is no folder {str(tmp_path / 'no')!r}; make it, or give another path."):
        outputs.parse_output(str(tmp_path / "no" / "x.parquet"), "local", False)


def test_what_is_there_is_replaced_only_where_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("former", encoding="utf-8")
    with refused(f"{str(path)!r} exists; give another path, or -P overwrite=true, which replaces it."):
        outputs.parse_output(str(path), "local", False)
    output = outputs.parse_output(str(path), "local", True)
    with output.beside() as beside:
        (beside / "rows").write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "former"
        output.put(beside / "rows")
    assert path.read_text(encoding="utf-8") == "new"
    assert os.listdir(tmp_path) == ["x.parquet"]


def test_a_folder_of_part_files_takes_the_place_of_a_file_and_a_file_that_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("former", encoding="utf-8")
    for kind in ("folder", "file"):
        output = outputs.parse_output(str(path), "spark", True)
        with output.beside() as beside:
            if kind == "folder":
                (beside / "rows").mkdir()
                for name in ("part-00000.snappy.parquet", "_SUCCESS", "._SUCCESS.crc"):
                    (beside / "rows" / name).write_text("", encoding="utf-8")
            else:
                (beside / "rows").write_text("new", encoding="utf-8")
            output.put(beside / "rows")
        assert path.is_dir() == (kind == "folder")
        assert os.listdir(tmp_path) == ["x.parquet"]


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "home.parquet"
    path.mkdir()
    (path / "part-00000.parquet").write_text("", encoding="utf-8")
    (path / "letters.txt").write_text("dear", encoding="utf-8")
    with refused(
        f"{str(path)!r} is a folder that holds 'letters.txt', which no scoring wrote, so it is not replaced; give "
        "another path."
    ):
        outputs.parse_output(str(path), "local", True)


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    output = outputs.parse_output(str(path), "local", False)
    with (
        refused(f"{str(path)!r} exists; give another path, or -P overwrite=true, which replaces it."),
        output.beside() as beside,
    ):
        (beside / "rows").write_text("mine", encoding="utf-8")
        path.write_text("another's", encoding="utf-8")
        output.put(beside / "rows")
    assert path.read_text(encoding="utf-8") == "another's"
    assert os.listdir(tmp_path) == ["x.parquet"]


def test_nothing_is_left_of_work_that_failed(tmp_path: Path) -> None:
    output = outputs.parse_output(str(tmp_path / "x.parquet"), "local", False)
    with pytest.raises(OSError, match="^no space$"), output.beside() as beside:
        (beside / "rows").write_text("half", encoding="utf-8")
        raise OSError("no space")
    assert os.listdir(tmp_path) == []


def with_former(folder: Path) -> outputs.Output:
    """A folder of part files that may be replaced."""
    path = folder / "x.parquet"
    path.mkdir()
    (path / "part-0.parquet").write_text("former", encoding="utf-8")
    return outputs.parse_output(str(path), "spark", True)


def put(output: outputs.Output) -> None:
    with output.beside() as beside:
        (beside / outputs.NEW).mkdir()
        (beside / outputs.NEW / "part-0.parquet").write_text("new", encoding="utf-8")
        output.put(beside / outputs.NEW)


@pytest.mark.parametrize("met", [OSError(5, "Input/output error"), KeyboardInterrupt("asked")], ids=["disk", "Ctrl-C"])
def test_what_was_there_stands_again_where_the_new_rows_cannot_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, met: BaseException
) -> None:
    def broken(*_: object) -> None:
        raise met

    output = with_former(tmp_path)
    monkeypatch.setattr(Path, "replace", broken)
    sentence = (
        f"output: the rows cannot take their place at {str(output.path)!r} ([Errno 5] Input/output error); give "
        "another path, or make room."
    )
    expected = (UserError, sentence) if isinstance(met, OSError) else (KeyboardInterrupt, "asked")
    with pytest.raises(expected[0], match=f"^{re.escape(expected[1])}$"):
        put(output)
    assert (output.path / "part-0.parquet").read_text(encoding="utf-8") == "former"
    assert os.listdir(tmp_path) == ["x.parquet"]


def test_what_was_there_is_kept_where_anothers_rows_come_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = with_former(tmp_path)
    moved = Path.rename

    def overtaken(self: Path, target: Path) -> Path:
        moved(self, target)
        self.mkdir()
        (self / "part-0.parquet").write_text("another's", encoding="utf-8")
        return target

    monkeypatch.setattr(Path, "rename", overtaken)
    with pytest.raises(
        UserError,
        match=r"^output: the rows cannot take their place at '.*x\.parquet' \(.*\); what stood there is '.*' now; give "
        r"another path, or make room\.$",
    ) as refusal:
        put(output)
    former = Path(str(refusal.value).split("what stood there is '")[1].split("'")[0])
    assert (former / "part-0.parquet").read_text(encoding="utf-8") == "former"
    assert (output.path / "part-0.parquet").read_text(encoding="utf-8") == "another's"


def test_a_disk_without_room_for_the_folder_beside_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    output = outputs.parse_output(str(tmp_path / "x.parquet"), "local", False)
    monkeypatch.setattr(Path, "mkdir", full)
    with (
        refused("it cannot be written ([Errno 28] No space left on device); give another path, or make room."),
        output.beside(),
    ):
        pass


def test_a_delta_table_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.delta"
    output = outputs.parse_output(str(path), "local", False)
    assert not output.holds_delta()
    (path / "_delta_log").mkdir(parents=True)
    with refused(f"{str(path)!r} exists; give another path, or -P overwrite=true, which replaces it."):
        output.holds_delta()
    assert outputs.parse_output(str(path), "local", True).holds_delta()
    assert not outputs.Output("", outputs.PARQUET, path, True).holds_delta()


@pytest.mark.parametrize("met", [UserError("model: m refuses the rows."), KeyboardInterrupt("asked")])
def test_what_rows_meet_on_their_way_into_delta_comes_out_as_it_is(tmp_path: Path, met: BaseException) -> None:
    pytest.importorskip("deltalake")
    first = pa.record_batch([pa.array([1])], names=["a"])

    def batches() -> Iterator[pa.RecordBatch]:
        yield first
        raise met

    with pytest.raises(type(met), match=f"^{met}$"):
        outputs.write_delta(tmp_path / "x.delta", first, batches())


def test_what_delta_does_not_take_is_told(tmp_path: Path) -> None:
    pytest.importorskip("deltalake")
    first = pa.record_batch([pa.array([0], pa.time64("us"))], names=["a"])
    with pytest.raises(
        UserError,
        match=r"^output: it cannot be written \(.*Invalid data type for Delta Lake: Time64.*\); give another path, or "
        r"make room\.$",
    ):
        outputs.write_delta(tmp_path / "x.delta", first, iter(()))

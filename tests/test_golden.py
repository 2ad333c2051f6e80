"""Tables as people have them, good and bad, the whole way: each gives its contract, or its sentence, to the letter."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from golden import make, walk

from lifecycle.adapters import readers, sources

CASES = walk.cases()


@pytest.mark.parametrize("case", CASES, ids=[f"{case.folder.name}-{case.name}" for case in CASES])
def test_a_golden_table_gives_what_lies_beside_it(case: walk.Case) -> None:
    expected = case.expected()
    assert (walk.CONTRACT in expected, walk.ERROR in expected) == ((True, False), (False, True))[
        case.folder.name == "bad"
    ]
    given = walk.found(case)
    assert given == expected, f"python tests/golden/walk.py {case.name}\n{walk.difference(case, given)}"


@pytest.mark.parametrize("case", [case for case in CASES if case.folder.name == "bad"], ids=lambda case: case.name)
def test_a_sentence_names_an_option_and_ends(case: walk.Case) -> None:
    [sentence] = case.expected()[walk.ERROR].splitlines()
    option, colon, rest = sentence.partition(": ")
    assert colon and rest.endswith(".") and " " not in option
    assert "Traceback" not in rest and ". " not in rest


def test_every_file_is_of_a_case_and_all_are_small() -> None:
    files = [path for kind in ("good", "bad") for path in (walk.HERE / kind).rglob("*") if path.is_file()]
    named = {path for case in CASES for path in (walk.HERE / case.folder).glob(f"{case.name}.*.*")}
    read = set()
    for case in CASES:
        for option in ("data", "test_data"):
            asked = case.options.get(option, "").removeprefix("sqlite:///").partition("?")[0]
            path = (case.folder / asked).resolve()
            read |= {path, *path.rglob("*")} if asked else set()
    assert set(files) - named - read == set()
    assert len(CASES) >= 90
    assert sum(path.stat().st_size for path in files) < 300_000


def test_the_script_writes_the_tables_that_lie_there(tmp_path: Path) -> None:
    """The same rows: how they are packed may change with a library."""
    for kind in ("good", "bad"):
        (tmp_path / kind).mkdir()
    for made in make.main(tmp_path):
        there = walk.HERE / made.relative_to(tmp_path)
        if made.suffix in (".parquet", ".arrow", ".db") and made.parent.name == "good":
            pd.testing.assert_frame_equal(rows_of(made), rows_of(there))
        elif made.name == "cut_short.csv.gz":
            assert made.stat().st_size == there.stat().st_size
        else:
            assert unpacked(made) == unpacked(there)


def rows_of(path: Path) -> pd.DataFrame:
    asked = f"sqlite:///{path}?table=orders" if path.suffix == ".db" else str(path)
    rows: pd.DataFrame = readers.read_table(sources.locate("data", asked), "")
    return rows


def unpacked(path: Path) -> bytes:
    with pa.input_stream(str(path), compression="detect") as stream:
        return bytes(stream.read())

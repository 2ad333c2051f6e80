"""Tables from outside: what is read, by which name it is found, and by which digest it is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lifecycle.adapters import catalog, code, readers, sources, steps
from lifecycle.errors import UserError

ORIGINALS = {"customer_travel.csv": "Target", "ecommerce_customers.csv": "Yearly Amount Spent"}


def read(path: Path, query: str = "") -> pd.DataFrame:
    return readers.read_table(sources.locate("data", str(path)), query)


def written(folder: Path, text: str, name: str = "some.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("name", ["churn", "ecommerce", "iris", "diabetes"])
def test_samples_are_read_as_pandas_reads_them(name: str) -> None:
    assert_read_as_by_pandas(sources.locate("data", name).path)


@pytest.mark.parametrize("name", ORIGINALS)
def test_originals_are_read_as_pandas_reads_them(originals: Path, name: str) -> None:
    assert_read_as_by_pandas(originals / name)


def assert_read_as_by_pandas(path: Path) -> None:
    # Its default is a faster reading of fractions that is wrong in the last digit.
    theirs = pd.read_csv(path, float_precision="round_trip")
    pd.testing.assert_frame_equal(read(path), theirs, check_exact=True)


def test_words_for_true_and_false_stay_text(tmp_path: Path) -> None:
    frame = read(written(tmp_path, "a,b,c,d\nYes,y,t,true\nNo,n,f,false\n"))
    assert frame.to_numpy().tolist() == [["Yes", "y", "t", "true"], ["No", "n", "f", "false"]]


def test_empty_cells_are_missing(tmp_path: Path) -> None:
    frame = read(written(tmp_path, "whole,text,number\n1,a,0.5\n,,\n3,c,2\n"))
    assert frame["whole"].dtype == frame["number"].dtype == np.float64
    assert frame.isna().to_numpy().tolist() == [[False] * 3, [True] * 3, [False] * 3]


def test_whole_numbers_and_dates_have_their_types(tmp_path: Path) -> None:
    frame = read(written(tmp_path, "n,day,time\n1,2021-01-31,2021-01-31 12:30:00\n2,2021-02-01,2021-02-01 00:00:00\n"))
    assert frame["n"].dtype == np.int64
    assert pd.api.types.is_datetime64_any_dtype(frame["day"])
    assert frame["time"][0] == pd.Timestamp("2021-01-31 12:30")


def test_a_late_text_makes_the_column_text(tmp_path: Path) -> None:
    """No sample of the first rows decides the type."""
    frame = read(written(tmp_path, "a,b\n" + "".join(f"{i},1\n" for i in range(30_000)) + "late,1\n"))
    assert frame["a"].iloc[-1] == "late" and frame["a"].iloc[0] == "0"


def test_rows_keep_the_order_of_the_file(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).permutation(200_000)
    path = written(tmp_path, "a,b\n" + "".join(f"{row},x\n" for row in rows))
    np.testing.assert_array_equal(read(path)["a"], rows)


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": ["Yes", None], "c": [True, False]})
    frame.to_parquet(tmp_path / "some.parquet")
    found = read(tmp_path / "some.parquet")
    assert found["a"].isna().tolist() == found["b"].isna().tolist() == [False, True]
    assert found["b"][0] == "Yes" and found["c"].tolist() == [True, False]


def test_query_derives_filters_and_renames(tmp_path: Path) -> None:
    path = written(tmp_path, "from,to,kind\n1,4,a\n2,9,b\n3,3,c\n")
    found = read(path, """SELECT "to" - "from" AS took, kind FROM data WHERE "to" > "from" """)
    assert found.to_dict("list") == {"took": [3, 7], "kind": ["a", "b"]}


def test_query_reads_no_other_table_by_chance(tmp_path: Path) -> None:
    """duckdb would take a variable of this process for a table."""
    frame = pd.DataFrame({"secret": [1]})
    assert len(frame) == 1
    with pytest.raises(UserError, match=r"^query: it fails with .*; the table `data` has the columns a\.$"):
        read(written(tmp_path, "a\n1\n"), "SELECT * FROM frame")


@pytest.mark.parametrize(
    "header",
    ["size,kind,size", "size,kind,Size", '"a\nb",kind,"a\nb"', "size;kind;size"],
    ids=["alike", "but for case", "over two lines", "with semicolons"],
)
def test_column_that_stands_twice_is_refused(tmp_path: Path, header: str) -> None:
    """duckdb would rename the second one, and a model would ask raw rows for a column that they do not have."""
    separator = ";" if ";" in header else ","
    path = written(tmp_path, header + "\n" + "".join(separator.join(["1", "a", str(i)]) + "\n" for i in range(9)))
    with pytest.raises(UserError, match=r"^data: the column .* stands twice in .*some\.csv.*; rename one of them\.$"):
        read(path)


def test_column_that_stands_twice_but_for_case_is_refused_in_parquet(tmp_path: Path) -> None:
    pd.DataFrame({"size": [1], "Size": [2]}).to_parquet(tmp_path / "some.parquet")
    with pytest.raises(UserError, match=r"^data: the column .* stands twice in .*some\.parquet.*\.$"):
        read(tmp_path / "some.parquet")


@pytest.mark.parametrize("place", ["first", "in the middle", "last"])
@pytest.mark.parametrize("row", ["1,2,3,4,5\n", "1,2\n"], ids=["longer", "shorter"])
def test_row_of_another_length_is_refused(tmp_path: Path, row: str, place: str) -> None:
    """duckdb would take it for the header and leave the rows before it out, or all cells of a row for one."""
    rows = [f"{i},{i % 3},{i % 2}\n" for i in range(100)]
    rows.insert({"first": 0, "in the middle": 50, "last": 100}[place], row)
    with pytest.raises(UserError, match=r"^data: '.*some\.csv' .*\.$"):
        read(written(tmp_path, "a,b,y\n" + "".join(rows)))


def test_file_uri_is_a_path(tmp_path: Path) -> None:
    path = written(tmp_path, "a\n1\n", "my table.csv")
    assert sources.locate("data", path.as_uri()).path == path
    assert read(path)["a"].tolist() == [1]


def test_names_are_split_only_where_all_are_samples() -> None:
    assert catalog.split_tables("churn,ecommerce") == ["churn", "ecommerce"]
    assert catalog.split_tables(" churn , iris ") == ["churn", "iris"]
    assert catalog.split_tables("churn") == ["churn"]
    assert catalog.split_tables("/data/a,b.csv") == ["/data/a,b.csv"]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("churn", "churn"),
        ("/data/My Table-2021.csv", "my_table_2021"),
        ("file:///data/Größe.parquet", "gr__e"),
        ("trips.v2.parquet", "trips_v2"),
    ],
)
def test_registered_name_is_the_samples_or_the_stem(data: str, name: str) -> None:
    assert catalog.model_name(data) == name


def test_pins_are_the_locks_without_hashes(project: Path) -> None:
    lock = (project / "requirements.txt").read_text(encoding="utf-8")
    for pin in code.pinned(["mlflow", "scikit-learn"]):
        assert f"\n{pin} \\\n" in lock and "hash" not in pin


# The key of a table.


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    path = written(tmp_path, "a,b,y\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(50)))
    texts = ("query", "test_data", "split", "split_column", "positive", "drop", "ordinal", "roles", "read")
    return {
        "data": str(path),
        "target": "y",
        "task": "auto",
        "test_size": 0.2,
        "folds": 5,
        "seed": 42,
        "strict": False,
        **dict.fromkeys(texts, ""),
    }


def test_same_bytes_elsewhere_are_the_same_table(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / "other.csv"
    other.write_bytes(Path(options["data"]).read_bytes())
    assert steps.identify(options | {"data": str(other)}).key == steps.identify(options).key


def test_any_byte_makes_another_table(options: dict[str, Any]) -> None:
    before = steps.identify(options).key
    path = Path(options["data"])
    path.write_bytes(path.read_bytes().replace(b"49,1,1", b"49,1,0"))
    assert steps.identify(options).key != before


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"folds": 4},
        {"test_size": 0.3},
        {"split": "random"},
        {"target": "b"},
        {"drop": "a"},
        {"query": "SELECT * FROM data"},
        {"ordinal": "b:0<1<2"},
        {"positive": "0"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_table_parameter_makes_another_table(options: dict[str, Any], change: dict[str, Any]) -> None:
    assert steps.identify(options | change).key != steps.identify(options).key


def test_a_second_table_counts_also_where_it_has_the_same_bytes(options: dict[str, Any]) -> None:
    assert steps.identify(options | {"test_data": options["data"]}).key != steps.identify(options).key


def test_parts_of_nested_parquet_columns_are_no_twins(tmp_path: Path) -> None:
    """Two columns of lists both have a part named `element`, and two of structs may share their fields."""
    table = pd.DataFrame({"a": [[1, 2], [3]], "b": [[4], [5]], "c": [{"x": 1}] * 2, "d": [{"x": 2}] * 2, "y": [0, 1]})
    table.to_parquet(tmp_path / "nested.parquet")
    assert list(read(tmp_path / "nested.parquet").columns) == ["a", "b", "c", "d", "y"]


def test_twins_beside_nested_parquet_columns_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"s": [{"x": 1, "z": [1]}], "n": [1], "N": [2], "y": [0]}).to_parquet(tmp_path / "twins.parquet")
    with pytest.raises(UserError, match=r"^data: the column 'N' stands twice in .* \(as 'n': case does not"):
        read(tmp_path / "twins.parquet")


def test_a_file_that_is_not_there_is_told_with_the_nearest_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sensor.csv").touch()
    (tmp_path / "other.csv").touch()
    with pytest.raises(UserError, match=r"there is no file '.*/sensr\.csv', near it is 'sensor\.csv'; give"):
        sources.locate("data", str(tmp_path / "sensr.csv"))
    with pytest.raises(UserError, match=r"there is no file '.*/none\.csv'; give the path of a "):
        sources.locate("data", str(tmp_path / "none.csv"))

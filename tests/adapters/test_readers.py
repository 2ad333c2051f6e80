"""Every kind of file as a view: its rows in order, its types, and what is said of one that is broken."""

import codecs
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lifecycle.adapters import readers, sources
from lifecycle.errors import UserError
from lifecycle.reading import parse_read

FRAME = pd.DataFrame({"n": [3, 1, 2], "x": [0.5, np.nan, 2.0], "word": ["Yes", None, "No"]})
TEXT = "n,x,word\n3,0.5,Yes\n1,,\n2,2.0,No\n"


def read(path: Path | str, options: str = "", query: str = "") -> pd.DataFrame:
    frame: pd.DataFrame = readers.read_table(sources.locate("data", str(path), parse_read(options)), query)
    return frame


def types_of(path: Path, folder: Path, texts: tuple[str, ...] = (), options: str = "") -> dict[str, str]:
    """Return the columns' types in the view."""
    with duckdb.connect() as connection:
        readers.open_table(connection, sources.locate("data", str(path), parse_read(options)), "raw", folder, texts)
        return {row[0]: row[1] for row in connection.execute("DESCRIBE raw").fetchall()}


def written(folder: Path, content: str | bytes, name: str = "some.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def framed_zstd(folder: Path, content: bytes) -> bytes:
    path = folder / "packed"
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(content)
    return path.read_bytes()


# Kinds.

WRITERS: dict[str, Callable[[Path], Any]] = {
    "some.csv": lambda path: path.write_text(TEXT),
    "semicolons.csv": lambda path: path.write_text(TEXT.replace(",", ";")),
    "tabs.tsv": lambda path: path.write_text(TEXT.replace(",", "\t")),
    "quoted.csv": lambda path: path.write_text(TEXT.replace("Yes", '"Yes"').replace("word", '"word"')),
    "crlf.csv": lambda path: path.write_bytes(TEXT.replace("\n", "\r\n").encode()),
    "bom.csv": lambda path: path.write_bytes(codecs.BOM_UTF8 + TEXT.encode()),
    "utf16.csv": lambda path: path.write_bytes(TEXT.encode("utf-16")),
    "packed.csv.gz": lambda path: path.write_bytes(gzip.compress(TEXT.encode())),
    "packed.csv.zst": lambda path: path.write_bytes(framed_zstd(path.parent, TEXT.encode())),
    "some.parquet": lambda path: FRAME.to_parquet(path),
    "some.pq": lambda path: FRAME.to_parquet(path),
    "some.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "some.json": lambda path: FRAME.to_json(path, orient="records"),
    "some.ndjson": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "some.feather": lambda path: FRAME.to_feather(path),
    "some.arrow": lambda path: FRAME.to_feather(path, compression="uncompressed"),
    "stream.ipc": lambda path: write_stream(path),
}


def write_stream(path: Path) -> None:
    table = pa.Table.from_pandas(FRAME)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_gives_the_same_table(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    pd.testing.assert_frame_equal(read(tmp_path / name), FRAME, check_dtype=False)
    types = types_of(tmp_path / name, tmp_path)
    assert types == {"n": "BIGINT", "x": "DOUBLE", "word": "VARCHAR"}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl", "feather"])
@pytest.mark.parametrize("form", ["", "/part-*.{}"], ids=["folder", "glob"])
def test_files_of_a_folder_come_in_the_order_of_their_names(tmp_path: Path, suffix: str, form: str) -> None:
    writer = WRITERS[f"some.{suffix}"]
    folder = tmp_path / "table"
    folder.mkdir()
    for number in (2, 10, 1):
        writer(folder / f"part-{number:02}.{suffix}")
    (folder / "_SUCCESS").touch()
    (folder / "README.md").write_text("about it")
    frame = read(f"{folder}{form.format(suffix)}")
    assert frame["n"].tolist() == [3, 1, 2] * 3


def test_one_column_has_one_type_over_all_files(tmp_path: Path) -> None:
    """Whole numbers here and fractions there are doubles, numbers and words are text; the first's order counts."""
    written(tmp_path, "a,b,c\n1,2,7\n", "1.csv")
    written(tmp_path, "c;b;a\n8;x;1.5\n", "2.csv")
    frame = read(tmp_path)
    assert frame.to_dict("list") == {"a": [1.0, 1.5], "b": ["2", "x"], "c": [7, 8]}


def test_nested_json_stays_nested(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": {"b": 1}, "c": [1, 2]}\n{"a": {"b": 2}, "c": []}\n', "nested.jsonl")
    assert types_of(path, tmp_path) == {"a": "STRUCT(b BIGINT)", "c": "BIGINT[]"}


# Types that a sample of the rows does not tell.

MANY = 30_000


@pytest.mark.parametrize(
    ("early", "late", "kind", "value"),
    [
        ("1", "1.5", "DOUBLE", 1.5),
        ("1", "word", "VARCHAR", "word"),
        ("1", "99999999999999999999", "DOUBLE", 1e20),
        ("1", "9007199254740993", "BIGINT", 9007199254740993),
        ("0.5", "word", "VARCHAR", "word"),
        ("2021-01-31", "2021-01-31 12:30:00", "TIMESTAMP", pd.Timestamp("2021-01-31 12:30")),
        ("2021-01-31", "soon", "VARCHAR", "soon"),
        ("Yes", "1", "VARCHAR", "1"),
    ],
)
def test_a_late_cell_decides_too(tmp_path: Path, early: str, late: str, kind: str, value: Any) -> None:
    """No fraction is rounded because the rows before it were whole, and no digit of a long number is lost."""
    path = written(tmp_path, "a,b\n" + f"{early},1\n" * MANY + f"{late},1\n")
    assert types_of(path, tmp_path)["a"] == kind
    assert read(path)["a"].iloc[-1] == value


def test_columns_named_are_read_as_text(tmp_path: Path) -> None:
    path = written(tmp_path, "zip,n\n01234,1\n00017,2\n")
    assert types_of(path, tmp_path, texts=("zip", "absent")) == {"zip": "VARCHAR", "n": "BIGINT"}


def test_a_column_all_empty_is_missing(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a,b\n1,\n2,\n"))["b"].isna().all()


# What `read` says.


def test_read_says_what_the_form_cannot_tell(tmp_path: Path) -> None:
    path = written(tmp_path, "made on a Monday\n1;2,5;?;31.12.2021\n2;3,5;x;01.01.2022\n")
    frame = read(path, "skip=1; header=false; names=a,b,c,d; sep=;; decimal=,; nullstr=?; dateformat=%d.%m.%Y")
    assert frame["a"].tolist() == [1, 2] and frame["b"].tolist() == [2.5, 3.5]
    assert frame["c"].isna().tolist() == [True, False]
    assert frame["d"].tolist() == [pd.Timestamp("2021-12-31"), pd.Timestamp("2022-01-01")]


def test_names_replace_the_headers(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a,b\n1,2\n"), "names=x,y").to_dict("list") == {"x": [1], "y": [2]}


def test_without_header_and_names_columns_are_numbered(tmp_path: Path) -> None:
    assert list(read(written(tmp_path, "1,2\n3,4\n"), "header=false").columns) == ["column0", "column1"]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-16-le", "shift_jis"])
def test_any_encoding_is_taken(tmp_path: Path, encoding: str) -> None:
    word = "ソート" if encoding == "shift_jis" else "Größe é"
    path = written(tmp_path, f"a,{word}\n1,{word}\n".encode(encoding))
    assert read(path, f"encoding={encoding}").to_dict("list") == {"a": [1], word: [word]}


@pytest.mark.parametrize("name", ["some.parquet", "some.jsonl", "some.feather", "some.csv"])
def test_words_for_missing_cells_are_taken_everywhere(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    assert read(tmp_path / name, "nullstr=No")["word"].isna().tolist() == [False, True, True]


def test_many_words_for_missing_cells_leave_the_rows_in_order(tmp_path: Path) -> None:
    """In a file of several row groups, which several threads read."""
    frame = pd.DataFrame({"word": [f"w{i}" for i in range(200_000)], "n": range(200_000)})
    frame.to_parquet(tmp_path / "some.parquet", row_group_size=10_000)
    found = read(tmp_path / "some.parquet", "nullstr=w7,-,none,unknown,nothing,void")
    assert found["word"].isna().to_numpy().nonzero()[0].tolist() == [7]
    pd.testing.assert_series_equal(found["word"].drop(7), frame["word"].drop(7))


@pytest.mark.parametrize("name", ["some.parquet", "some.jsonl", "some.feather"])
def test_what_is_of_csv_alone_is_refused_elsewhere(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    with pytest.raises(UserError, match=r"^read: skip is of CSV files alone, and '.*' is \w+; leave skip out\.$"):
        read(tmp_path / name, "skip=1")


def test_blank_lines_before_the_header_do_not_count(tmp_path: Path) -> None:
    assert read(written(tmp_path, "\n\na,b\n1,2\n")).to_dict("list") == {"a": [1], "b": [2]}
    assert read(written(tmp_path, "title\n\na,b\n1,2\n"), "skip=1").to_dict("list") == {"a": [1], "b": [2]}


# What is wrong, in one sentence.

BROKEN: dict[str, tuple[str, bytes, str]] = {
    "no header": ("a.csv", b"1,2\n3,4\n", r'has numbers in its first line \(1, 2\), .*"header=false; names=a,b"'),
    "two headers": ("a.csv", b"size,weight\ncm,kg\n1,2\n3,4\n", r'has text in its second line.*read="skip=1"'),
    "a title": ("a.csv", b"Report of 2021\na,b\n1,2\n3,4\n", r'has 1 name in its first line.*read="skip=1"'),
    "a long row": ("a.csv", b"a,b\n1,2\n3,4,5\n6,7\n", r"has 2 names in its first line, and 3 cells in line 3"),
    "a short row": ("a.csv", b"a,b,c\n1,2,3\n4,5\n", r"has 3 names in its first line, and 2 cells in line 3"),
    "a late long row": (
        "a.csv",
        b"a,b\n" + b"1,2\n" * MANY + b"3,4,5\n",
        rf"has 2 names in its first line, and 3 cells in line {MANY + 2}",
    ),
    "another encoding": (
        "a.csv",
        "a,b\n1,x\n2,é\n".encode("cp1252"),
        r'is not UTF-8: byte 10 \(0xe9, in line 3\) cannot be read; .*read="encoding=cp1252"',
    ),
    "empty": ("a.csv", b"", r"is empty; give a table"),
    "empty parquet": ("a.parquet", b"", r"is empty; give a table"),
    "no gzip": ("a.csv.gz", b"a,b\n1,2\n", r"cannot be unpacked \(.*\); it is cut short or of another kind"),
    "cut gzip": ("a.csv.gz", gzip.compress(TEXT.encode() * 999)[:-20], r"cannot be unpacked"),
    "no zstd": ("a.csv.zst", b"a,b\n1,2\n", r"cannot be unpacked"),
    "no parquet": ("a.parquet", b"PAR1 and no more", r"cannot be read: .*"),
    "no arrow": ("a.feather", b"ARROW1 and no more", r"cannot be read as Arrow: .*"),
    "no json": ("a.jsonl", b'{"a": 1}\n{"a": \n', r"cannot be read: .*"),
    "an open quote": ("a.csv", b'a,b\n"x,1\nz,2\n', r"opens a quote in line 2 that is not closed; .*"),
    "only blank lines": ("a.csv", b"\n\n", r"holds no line"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_said_in_one_sentence(tmp_path: Path, name: str) -> None:
    file, content, sentence = BROKEN[name]
    path = written(tmp_path, content, file)
    folder = tmp_path / "made"
    folder.mkdir()
    with duckdb.connect() as connection, pytest.raises(UserError, match=rf"^data: '.*' {sentence}") as caught:
        readers.open_table(connection, sources.locate("data", str(path)), "raw", folder)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_parquet_file_cut_short_is_told(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    with pytest.raises(UserError, match=r"^data: '.*cut.parquet' cannot be read: .*\.$"):
        read(written(tmp_path, content[: len(content) // 2], "cut.parquet"))


def test_a_byte_that_cannot_be_of_the_encoding_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, b"a\nx\n\x81\n")
    with pytest.raises(UserError, match=r"^read: byte 4 of '.*' cannot be of the encoding cp1252; .*\.$"):
        read(path, "encoding=cp1252")


def test_numbers_can_be_names_where_that_is_said(tmp_path: Path) -> None:
    assert list(read(written(tmp_path, "2020,2021\n1,2\n"), "header=true").columns) == ["2020", "2021"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, r"holds no table; give one or more .* files"),
        ({"notes.md": "x"}, r"holds no table, only notes\.md; .*"),
        (
            {"a.csv": "a\n1\n", "b.jsonl": '{"a": 1}'},
            r"holds files of several kinds, CSV \(a.csv\), JSON \(b.jsonl\); .*",
        ),
        (
            {"1.csv": "a,b\n1,2\n", "2.csv": "a,b\n1,2\n", "3.csv": "a,c\n1,2\n"},
            r"has other columns than '1.csv' \(it lacks b, and has beside c\); .*",
        ),
    ],
)
def test_a_folder_that_is_no_table_is_refused(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    for name, text in files.items():
        written(folder, text, name)
    with pytest.raises(UserError, match=rf"^data: .*'.*' {sentence}\.$"):
        read(folder)


def test_a_glob_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data: '.*/\*\.csv' matches no table; give one or more .* files\.$"):
        read(tmp_path / "*.csv")


# The query.


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    connection = duckdb.connect()
    path = written(tmp_path, "a,b\n" + "".join(f"{i},{i % 3}\n" for i in range(100)))
    readers.open_table(connection, sources.locate("data", str(path)), "raw", tmp_path)
    yield connection
    connection.close()


def test_a_query_leaves_a_view_over_one_parquet_file(opened: Any, tmp_path: Path) -> None:
    readers.run_query(opened, "SELECT a * 2 AS twice FROM data WHERE b = 1 ORDER BY a DESC", "raw", "result", tmp_path)
    assert opened.execute("FROM result LIMIT 2").fetchall() == [(194,), (188,)]
    readers.run_query(opened, "SELECT twice + 1 AS odd FROM data", "result", "again", tmp_path)
    assert opened.execute("FROM again LIMIT 1").fetchall() == [(195,)]
    # A second time under the same name, in the same folder.
    readers.run_query(opened, "SELECT a FROM data LIMIT 1", "raw", "result", tmp_path)
    assert opened.execute("FROM result").fetchall() == [(0,)]
    # The table's own connection stays as it was.
    readers.open_table(opened, sources.locate("data", "churn"), "test", tmp_path)


@pytest.mark.parametrize(
    "query",
    [
        "FROM '{secret}'",
        "SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM read_text('{secret}')",
        "COPY (FROM data) TO '{evil}'",
        "ATTACH '{evil}'",
        "SET enable_external_access = true; FROM '{secret}'",
        "SET allowed_directories = ['/']; FROM '{secret}'",
    ],
)
def test_a_query_reaches_no_other_file(opened: Any, tmp_path: Path, query: str) -> None:
    secret, evil = written(tmp_path, "a\n1\n", "secret.csv"), tmp_path / "evil"
    with pytest.raises(UserError, match=r"^query: (it fails with .*|the statement returns no table; .*)\.$"):
        readers.run_query(opened, query.format(secret=secret, evil=evil), "raw", "result", tmp_path)
    assert not evil.exists() and not (tmp_path / "result.parquet").exists()


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("SELECT c FROM data", r"it fails with '.*'; the table `data` has the columns a, b"),
        ("SELECT a FROM data WHERE a < 0", r"it returns no rows; give a query that keeps some"),
        ("CREATE TABLE x AS FROM data", r"the statement returns no table; give a SELECT over the table `data`"),
        ("SELECT a FROM data WHERE a / 0 > (SELECT error('no'))", r"it fails with .*"),
    ],
)
def test_a_query_that_gives_no_table_is_refused(opened: Any, tmp_path: Path, query: str, sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^query: {sentence}\.$"):
        readers.run_query(opened, query, "raw", "result", tmp_path)
    assert not (tmp_path / "result.parquet").exists()


def test_chance_in_a_query_is_the_same_each_time(opened: Any, tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        readers.run_query(opened, "SELECT a, random() AS r FROM data USING SAMPLE 20", "raw", name, tmp_path)
        found.append(opened.execute(f"FROM {name}").fetchall())
    assert found[0] == found[1] and len(found[0]) == 20


# Digests.


def test_a_folders_digest_is_of_its_files_in_order(tmp_path: Path) -> None:
    digests = []
    for names in (("a", "b"), ("c", "d"), ("b", "a")):
        folder = tmp_path / "".join(names)
        folder.mkdir()
        for name, content in zip(names, ("x\n1\n", "x\n2\n"), strict=True):
            written(folder, content, f"{name}.csv")
        digests.append(sources.inputs_digest([sources.locate("data", str(folder))]))
    # Other names in the same order are the same rows; another order is another table.
    assert digests[0] == digests[1] != digests[2]


def test_relative_shapes_are_handed_on_as_absolute_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, TEXT)
    (tmp_path / "folder").mkdir()
    here = str(tmp_path)
    for asked, told in {
        "some.csv": f"{here}/some.csv",
        "folder": f"{here}/folder",
        "*.csv": f"{here}/*.csv",
        "folder?version=2": f"{here}/folder?version=2",
        "sqlite:///shop.db?table=t": f"sqlite:///{here}/shop.db?table=t",
        "sqlite:////shop.db?table=t": "sqlite:////shop.db?table=t",
        "churn": "churn",
        "s3://bucket/x.csv": "s3://bucket/x.csv",
        "postgresql://u:$PW@h/d?table=t": "postgresql://u:$PW@h/d?table=t",
    }.items():
        assert sources.handed_on({"data": asked, "seed": 1}) == {"data": told, "seed": 1}


@pytest.mark.parametrize(("written", "form"), [("25.08.2022", "%d.%m.%Y"), ("25.08.2022 10:30", "%d.%m.%Y %H:%M")])
def test_dates_in_another_form_than_iso_keep_it(tmp_path: Path, written: str, form: str) -> None:
    """A served row has them as the file has: models must know the form, so it is the contract that reads them."""
    path = tmp_path / "some.csv"
    path.write_text("day,iso,x\n" + f"{written},2022-08-25,1\n" * 30, encoding="utf-8")
    frame = read(path)
    assert frame["day"].tolist() == [written] * 30
    assert pd.api.types.is_datetime64_any_dtype(frame["iso"])
    typed = read(path, f"dateformat={form}" if " " not in form else f"timestampformat={form}")
    assert pd.api.types.is_datetime64_any_dtype(typed["day"])


def test_a_note_beside_the_tables_of_a_folder_is_no_table(tmp_path: Path) -> None:
    for name, text in {"a.csv": "x,y\n1,2\n", "README.txt": "Written by hand.\n", "LICENSE.txt": "Free.\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert read(tmp_path).to_dict("list") == {"x": [1], "y": [2]}


@pytest.mark.parametrize(
    "content",
    ["name,since\nAnn,31.01.2021\nBob,28.02.2021\n", "name,calls\nAnn,N/A\nBob,3\nCem,4\n"],
    ids=["dates as elsewhere", "a missing cell first"],
)
def test_a_first_row_of_words_is_not_taken_for_a_second_header(tmp_path: Path, content: str) -> None:
    """All is read as text, though below the first row there are dates or numbers alone."""
    rows = [line.split(",") for line in content.splitlines()]
    found = read(written(tmp_path, content))
    assert found.columns.tolist() == rows[0]
    assert found.astype(str).to_numpy().tolist() == rows[1:]


def test_a_second_header_over_dates_alone_is_refused(tmp_path: Path) -> None:
    content = "name,since\nfull name,day of entry\nAnn,31.01.2021\nBob,28.02.2021\n"
    with pytest.raises(UserError, match=r"has text in its second line, and numbers or dates below it"):
        read(written(tmp_path, content))

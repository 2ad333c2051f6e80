"""Rows in duckdb: what SQL says of them is what the models' first step would say in Python."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from frames import relation_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lifecycle.adapters.relation import Relation
from lifecycle.cells import Cells, Counts, Observed
from lifecycle.columns import CastColumns, levels_of, numbers_of, times_of
from lifecycle.contract import Column, Contract
from lifecycle.roles import Reading
from lifecycle.settings import MISSING_WORDS


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


@pytest.fixture(scope="module")
def relation(connection: duckdb.DuckDBPyConnection) -> Callable[[pd.DataFrame], Relation]:
    return lambda frame: relation_of(frame, connection)


words = st.text(alphabet=st.sampled_from("abcNAn/a ?trueTRUEfals01.,-\t\u00e9"), max_size=6) | st.sampled_from(
    [*MISSING_WORDS, "true", "False", " NA ", "\u00a0x", "x\n"]
)
# Whole numbers beyond 1e37 have no integer in SQL.
finite = st.floats(-1e36, 1e36, allow_nan=False)


@given(
    cells=st.lists(st.none() | words, min_size=1, max_size=8)
    | st.lists(st.none() | finite, min_size=1, max_size=8)
    | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8)
    | st.lists(st.none() | st.booleans(), min_size=1, max_size=8)
)
def test_levels_are_those_of_the_models_first_step(cells: list, relation: Callable):
    frame = pd.DataFrame({"c": pd.Series(cells, dtype="Int64" if type(cells[0]) is int else None)})
    expected = levels_of(frame["c"], MISSING_WORDS).dropna()
    assert relation(frame).levels("c") == sorted(set(expected))


@given(cells=st.lists(finite.map(repr) | st.integers().map(str) | st.sampled_from(["?", "", " 7 "]), min_size=1))
def test_numbers_are_those_of_the_models_first_step(cells: list, relation: Callable):
    rows = relation(pd.DataFrame({"c": pd.Series(cells, dtype=object)}))
    reading = Reading("numeric")
    if rows.unread("c", reading)[0] == 0:
        expected = numbers_of(pd.Series(cells, name="c", dtype=object), missing_words=MISSING_WORDS)
        np.testing.assert_array_equal(rows.column("c", reading).to_numpy(dtype=float), expected.to_numpy())


moments = st.builds(
    lambda moment, sign, spec, zone: moment.isoformat(sign, spec) + zone,
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from("T "),
    st.sampled_from(["minutes", "seconds", "milliseconds", "microseconds"]),
    st.sampled_from(["", "Z", "+02:00", "-05", "+0530"]),
)


@given(cells=st.lists(moments | st.dates().map(str) | st.sampled_from(["?", "", " 2021-03-28 "]), min_size=1))
def test_times_are_those_of_the_models_first_step(cells: list, relation: Callable):
    rows = relation(pd.DataFrame({"c": pd.Series(cells, dtype=object)}))
    assert rows.unread("c", Reading("datetime")) == (0, "")
    expected = times_of(pd.Series(cells, name="c", dtype=object), missing_words=MISSING_WORDS)
    np.testing.assert_array_equal(rows.column("c", Reading("datetime")).astype("datetime64[us]"), expected)


@pytest.mark.parametrize("cell", ["2021-03-28T02:30+2:00", "2021-03-28+02:00", "2021-03-28T02:30 CET", "02:30Z"])
def test_what_is_no_time_in_iso_8601_is_not_read_as_one(cell: str, relation: Callable):
    assert relation(pd.DataFrame({"c": ["2021-03-28", cell]})).unread("c", Reading("datetime")) == (1, cell)


@pytest.mark.parametrize(
    "cells",
    [["x"], ["1,5"], ["1_000"], ["0x10"], ["inf"], ["007"], ["1e"], ["1 2"], ["2021-01-01"]],
)
def test_what_is_no_plain_number_is_not_read_as_one(cells: list, relation: Callable):
    assert relation(pd.DataFrame({"c": ["1", *cells]})).unread("c", Reading("numeric")) == (1, cells[0])


def test_every_blank_that_models_strip_is_stripped(relation: Callable):
    """The ideographic one stands around many a Japanese word."""
    blanks = [chr(number) for number in range(0x11000) if chr(number).isspace()]
    for name, cells in {"after": [f"x{one}" for one in blanks], "before": [f"{one}x" for one in blanks]}.items():
        assert relation(pd.DataFrame({name: cells})).levels(name) == ["x"]
    for one in blanks:
        assert relation(pd.DataFrame({"c": [f"{one}x", "y"]})).levels("c") == ["x", "y"]


@pytest.mark.parametrize("cell", ["epoch", "infinity", "05.01.21", "05.01.0000", "05.01.999"])
def test_what_models_read_no_date_from_is_not_read_as_one(cell: str, relation: Callable):
    """duckdb would."""
    reading = Reading("datetime", "%d.%m.%Y")
    assert relation(pd.DataFrame({"c": ["05.01.2021", cell]})).unread("c", reading) == (1, cell)


def test_an_hour_that_models_do_not_know_is_not_read_as_a_time(relation: Callable):
    cell = "2021-01-05 24:00:00"
    assert relation(pd.DataFrame({"c": ["2021-01-05 23:00:00", cell]})).unread("c", Reading("datetime")) == (1, cell)


@pytest.mark.parametrize(
    ("cells", "reading"),
    [
        ([-999, 1], None),
        ([-999.0, 1.5], None),
        (["-999.0", "1"], Reading("numeric")),
        (["-9,99e2", "1,5"], Reading("numeric", "decimal comma")),
        ([pd.Timestamp("1900-01-01"), pd.Timestamp("2021-01-01")], None),
        (["1900-01-01 00:00", "2021-01-01"], Reading("datetime")),
    ],
)
def test_a_word_for_missing_is_missing_as_a_number_or_a_time_too(cells: list, reading: Any, relation: Callable):
    frame, words = pd.DataFrame({"c": cells}), ("-999", "1900-01-01")
    rows = relation(frame)
    rows.missing_words = words
    assert rows.column("c", reading).isna().tolist() == [True, False]
    assert rows.summaries({"c": reading})["c"].present == 1
    if reading is None:
        assert rows.levels("c") == sorted(set(levels_of(frame["c"], words).dropna()))
    elif reading.format != "decimal comma":
        assert rows.unread("c", reading) == (0, "")


def test_rows_are_taken_in_the_tables_order(relation: Callable):
    rows = relation(pd.DataFrame({"c": range(10), "w": list("abcdefghij")})).take(np.array([7, 2, 5]))
    assert len(rows) == 3
    assert rows.column("c").tolist() == [2, 5, 7]
    assert rows.column("w").tolist() == ["c", "f", "h"]
    assert rows.levels("w") == ["c", "f", "h"]
    summary = rows.summaries({"c": None})["c"]
    assert (summary.rows, summary.low, summary.median, summary.high) == (3, 2, 5, 7)


def test_a_summary_by_hand(relation: Callable):
    frame = pd.DataFrame({"n": [1.0, 2.0, 4.0, np.nan], "w": ["a", " a", "?", "b"], "t": ["1", "NA", "3", "3"]})
    found = relation(frame).summaries({"n": None, "w": None, "t": Reading("numeric")})
    assert (found["n"].present, found["n"].missing, found["n"].distinct) == (3, 1, 3)
    assert (found["n"].mean, found["n"].median) == (7 / 3, 2.0)
    assert found["n"].std == pytest.approx(np.sqrt(7 / 3))
    assert (found["w"].present, found["w"].distinct, found["w"].low) == (3, 2, None)
    assert (found["t"].present, found["t"].low, found["t"].high) == (3, 1.0, 3.0)


def test_an_infinite_number_is_seen_beside_the_finite_ones(relation: Callable):
    found = relation(pd.DataFrame({"n": [1.0, -np.inf, 1e300]})).summaries({"n": None})["n"]
    assert (found.infinite, found.low, found.high) == (-np.inf, 1.0, 1e300)


def test_many_columns_are_summarised_in_several_passes(relation: Callable):
    frame = pd.DataFrame({f"c{i}": [i, i + 1.0] for i in range(95)})
    found = relation(frame).summaries(dict.fromkeys(frame.columns))
    assert [found[name].low for name in frame.columns] == [float(i) for i in range(95)]


def test_estimates_of_a_large_table_are_near(relation: Callable):
    """Beyond 200,000 rows; whole numbers that may all be different are counted."""
    rows = 250_000
    frame = pd.DataFrame({"few": np.arange(rows) % 60, "row": np.arange(rows)})
    found = relation(frame).summaries({"few": None, "row": None})
    assert found["row"].distinct == rows
    assert abs(found["few"].distinct - 60) <= 3
    assert found["few"].median is None


# ---------------------------------------------------------------------------------- rows' contents

GROWN = {
    "a number with decimals among whole ones": ([1, 2, 3] * 12, [2.5]),
    "a time of day among dates": (
        list(pd.date_range("2021-01-01", periods=36)),
        [pd.Timestamp("2021-02-20 12:30")],
    ),
    "a text among numbers": (list(range(36)), ["none"]),
    "a missing cell": ([f"k{i}" for i in range(36)], [None]),
}


@pytest.mark.parametrize("what", GROWN)
def test_a_rows_digest_stays_when_a_column_changes_type(what: str, relation: Callable):
    first, further = GROWN[what]
    rows = relation(pd.DataFrame({"k": first, "n": range(36)})).contents()
    grown = relation(pd.DataFrame({"k": first + further, "n": range(37)})).contents()
    assert grown[:36].tolist() == rows.tolist()


def test_equal_rows_have_equal_digests_and_others_have_not(relation: Callable):
    rows = pd.DataFrame({"a": [1, 1, 1, 2], "b": ["x", "x", "y", "x"], "c": [None, None, None, None]})
    digests = relation(rows).contents()
    assert digests[0] == digests[1]
    assert digests.nunique() == 3
    # Which cell holds what is part of it.
    assert relation(pd.DataFrame({"a": ["x", "y"], "b": ["y", "x"]})).contents().nunique() == 2
    assert relation(pd.DataFrame({"a": ["x", None], "b": [None, "x"]})).contents().nunique() == 2


def test_rows_of_nested_cells_have_digests_too(relation: Callable):
    """Lists, structs and bytes, as a Parquet file may hold them."""
    rows = pd.DataFrame(
        {
            "list": [[1, 2], [1, 2], [1], [1, 2], [1, 2]],
            "struct": [{"a": 1}, {"a": 1}, {"a": 1}, {"a": 2}, {"a": 1}],
            "bytes": [bytearray(b"x")] * 4 + [bytearray(b"y")],
        }
    )
    digests = relation(rows).contents()
    assert digests[0] == digests[1]
    assert digests.nunique() == 4


# ------------------------------------------------------------------------------------ rows written


def contract_of(*columns: Column) -> Contract:
    return Contract("y", "classification", ("no", "yes"), "yes", "random", columns=columns)


def test_rows_are_written_in_the_order_asked_with_what_stands_beside(tmp_path: Path, relation: Callable):
    frame = pd.DataFrame({"n": ["1", "?", "3", "4"], "w": ["a", " b ", "c", None], "left": range(4)})
    contract = contract_of(Column("n", "numeric", "VARCHAR"), Column("w", "categorical", "VARCHAR"))
    beside: dict[str, Any] = {"y": pd.Series(["yes", "no", "no"]), "f": np.array([2, 0, 1])}
    relation(frame).write(tmp_path / "a.parquet", contract, np.array([2, 0, 1]), beside)
    found = pd.read_parquet(tmp_path / "a.parquet")
    assert found.columns.tolist() == ["n", "w", "y", "f"]
    assert found.fillna("-").to_numpy().tolist() == [[3, "c", "yes", 2], [1, "a", "no", 0], ["-", "b", "no", 1]]


def test_a_twin_is_equal_in_all_that_models_read_and_in_the_target(tmp_path: Path, relation: Callable):
    frame = pd.DataFrame({"n": [1, 1, 1, 2, None, None], "w": list("aabaxx"), "id": range(6)})
    frame["y"] = ["yes", "yes", "yes", "yes", "no", "no"]
    contract = contract_of(Column("n", "numeric", "DOUBLE"), Column("w", "categorical", "VARCHAR"))
    one, other, third, fourth, fifth, last = relation(frame).digests(contract)
    assert one == other
    assert fifth == last
    assert len({one, third, fourth, fifth}) == 4
    # The same cells with another target, or read with other types, in another table.
    again = relation(frame.assign(y=["no", "yes", "yes", "yes", "no", "yes"], n=["1", "1", "1", "2.0", "?", " "]))
    assert (again.digests(contract) == [one, other, third, fourth, fifth, last]).tolist() == [False] + [True] * 4 + [
        False
    ]


@pytest.mark.parametrize("name", ["__place__", "__PLACE__", "__beside_y__", "__place___"])
def test_no_name_of_a_column_is_taken_for_ours_in_what_is_written(name: str, tmp_path: Path, relation: Callable):
    rows = relation(pd.DataFrame({name: [5.0, 6.0, 7.0], "__place": [1.0, 2.0, 3.0]}))
    contract = contract_of(Column(name, "numeric", "DOUBLE"))
    assert rows.take(np.array([2])).column(name).tolist() == [7.0]
    rows.write(tmp_path / "a.parquet", contract, np.array([2, 0]), {"y": pd.Series(["no", "yes"])})
    found = pd.read_parquet(tmp_path / "a.parquet")
    assert found.to_dict("list") == {name: [7.0, 5.0], "y": ["no", "yes"]}


def test_a_zone_is_told_in_utc_however_fine_the_times_are(relation: Callable, tmp_path: Path):
    """As pandas writes them to Parquet."""
    moments = pd.Series(pd.date_range("2021-07-01 02:00", periods=2, tz="Europe/Berlin"))
    for unit in ("ns", "us"):
        moments.dt.as_unit(unit).to_frame("t").to_parquet(tmp_path / f"{unit}.parquet")
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW moments AS FROM read_parquet('{tmp_path}/{unit}.parquet')")
            rows = Relation(connection, "moments")
            assert rows.column("t").tolist() == [pd.Timestamp("2021-07-01"), pd.Timestamp("2021-07-02")]
            assert rows.summaries({"t": None})["t"].first == "2021-07-01 00:00:00"


def test_many_rows_keep_the_tables_order(tmp_path: Path, relation: Callable):
    """In several threads, as a large table is written."""
    rows = 600_000
    chosen = np.flatnonzero(np.random.default_rng(0).random(rows) < 0.8)
    contract = contract_of(Column("n", "numeric", "BIGINT"))
    beside = {"y": pd.Series(np.where(chosen % 2, "yes", "no"))}
    table = relation(pd.DataFrame({"n": np.arange(rows)}))
    table.write(tmp_path / "a.parquet", contract, chosen, beside)
    found = pd.read_parquet(tmp_path / "a.parquet")
    np.testing.assert_array_equal(found["n"], chosen)
    assert (found["y"] == np.where(found["n"] % 2, "yes", "no")).all()


# --------------------------------------------------------------------- a later table and its contract

NUMBERS = [
    "1",
    " -7.5 ",
    "1e3",
    "007",
    "1_000",
    "0x10",
    "inf",
    "-Infinity",
    "nan",
    "NAN",
    "1,5",
    "1.234,5",
    "12.34,5",
] + [
    "1 234",
    "1'000.5",
    "1,234.5",
    "12,34",
    "1e400",
    "\u0663",
    "-999",
    "-999.0",
    "99",
    "+5",
    ".5",
    "5.",
    "true",
    "abc",
]
DATES = (
    ["2021-01-31", "2021-01-31 10:00", "2021-01-31T10:00:00.5", "2021-01-31T07:00Z", "2021-01-31 07:00+02:00", "2021"]
    + ["20210131", "2021-W01-1", "31.01.2021", "31.02.2021", "1.2.2021", "31.01.0000", "0000-01-31", "2021-02-30"]
    + ["2021-01-31 24:00", "epoch", "infinity", "now", "NaT", "9999-12-31", "31.12.9999", "Jan 31, 2021", "jan 1, 2021"]
)
LATER_WORDS = (*MISSING_WORDS, "-999", "9999-12-31", "31.12.9999", "abc")
ROLES = {
    "plain": Column("c", "numeric", "DOUBLE", low=-5.0, high=50.0),
    "decimal comma": Column("c", "numeric", "VARCHAR", low=-5.0, high=50.0, format="decimal comma"),
    "thousands": Column("c", "numeric", "VARCHAR", low=-5.0, high=50.0, format="thousands"),
    "ISO 8601": Column("c", "datetime", "VARCHAR"),
    "days": Column("c", "datetime", "VARCHAR", format="%d.%m.%Y"),
    "names of months": Column("c", "datetime", "VARCHAR", format="%b %d, %Y"),
    "digits": Column("c", "datetime", "BIGINT", format="%Y%m%d"),
    "a format of weekdays": Column("c", "datetime", "VARCHAR", format="%A %d.%m.%Y"),
    "levels": Column("c", "categorical", "VARCHAR", levels=("1", "7", "True", "a", "2021-01-31")),
    "order": Column("c", "ordinal", "VARCHAR", levels=("a", "1")),
    "text": Column("c", "text", "VARCHAR"),
}
LATER = (
    st.lists(st.none() | st.sampled_from(NUMBERS) | words, min_size=1, max_size=12)
    | st.lists(st.none() | st.sampled_from(DATES), min_size=1, max_size=12)
    | st.lists(st.none() | st.sampled_from([1.0, 7.5, -999.0, np.inf, -np.inf, 20210131.0, -1e300]), min_size=1)
    | st.lists(st.sampled_from([1, 99, -7, -999, 20210131]), min_size=1)
    | st.lists(st.none() | st.booleans(), min_size=1)
    | st.lists(st.sampled_from([None, "2021-01-31", "9999-12-31"]).map(pd.Timestamp), min_size=1)
    | st.lists(st.lists(st.integers(), max_size=2), min_size=1, max_size=3)
)


def by_the_first_step(frame: pd.DataFrame, column: Column) -> dict[str, int]:
    """Count the cells of a frame one by one, each cast by the models' own first step."""
    step = CastColumns(
        numeric=["c"] if column.role == "numeric" else [],
        categorical=["c"] if column.role in ("categorical", "ordinal", "text") else [],
        datetime=["c"] if column.role == "datetime" else [],
        formats={"c": column.format} if column.format else None,
        missing_words=LATER_WORDS,
    ).fit(frame)
    counted = dict.fromkeys(("missing", "unread", "infinite", "below", "above", "new", "levels"), 0)
    levels = set()
    for place in range(len(frame)):
        try:
            value = step.transform(frame.iloc[[place]])["c"].iloc[0]
        except ValueError:
            counted["unread"] += 1
            continue
        if pd.isna(value):
            counted["missing"] += 1
        elif column.role == "numeric":
            which = "infinite" if np.isinf(value) else "below" if value < -5 else "above" if value > 50 else ""
            if which:
                counted[which] += 1
        elif column.levels and value not in column.levels:
            counted["new"] += 1
            levels.add(value)
    return counted | {"levels": len(levels)}


@pytest.mark.parametrize("column", ROLES.values(), ids=ROLES)
@example(cells=NUMBERS)
@example(cells=DATES)
@given(cells=LATER)
@settings(deadline=None, derandomize=True, database=None, max_examples=60)
def test_a_later_tables_counts_are_those_of_the_models_first_step(cells: list, column: Column, relation: Callable):
    frame = pd.DataFrame({"c": pd.Series(cells)})
    contract = replace(contract_of(column), missing_words=LATER_WORDS)
    observed = relation(frame).observe(contract)
    counts = observed.columns["c"]
    found = {name: getattr(counts, name).count for name in ("unread", "infinite", "below", "above", "new")}
    found |= {"missing": counts.missing, "levels": counts.new.distinct}
    assert observed.rows == len(cells)
    assert found == by_the_first_step(frame, column)


def test_a_later_table_by_hand(relation: Callable):
    """Words for missing cells are the contract's, and the table's columns stand in another order."""
    frame = pd.DataFrame(
        {
            "extra": range(8),
            "city": ["Bonn", " Ulm ", "ulm", "Rom", "Rom", "-", None, ""],
            "day": ["01.02.2021", "2021-02-01", "31.02.2021", "soon", "soon", "-", None, " "],
            "age": [17, 18, 90, 91, 99, np.inf, -np.inf, np.nan],
        }
    )
    columns = (
        Column("age", "numeric", "BIGINT", low=18.0, high=90.0),
        Column("city", "categorical", "VARCHAR", levels=("Bonn", "Ulm")),
        Column("day", "datetime", "VARCHAR", format="%d.%m.%Y"),
        Column("absent", "numeric", "BIGINT", low=18.0, high=90.0),
        Column("extra", "id", "BIGINT"),
    )
    contract = replace(contract_of(*columns), missing_words=("-",))
    observed = relation(frame).observe(contract)
    assert observed == Observed(
        ("extra", "city", "day", "age"),
        8,
        {
            "age": Counts(1, infinite=Cells(2, "-inf"), below=Cells(1, "17"), above=Cells(2, "99")),
            "city": Counts(3, new=Cells(3, "Rom", 2)),
            "day": Counts(3, unread=Cells(3, "31.02.2021"), odd=Cells(1, "2021-02-01")),
        },
    )
    # Some of the rows, and none.
    assert relation(frame).take(np.array([4, 0])).observe(contract).columns == {
        "age": Counts(below=Cells(1, "17"), above=Cells(1, "99")),
        "city": Counts(new=Cells(1, "Rom", 1)),
        "day": Counts(unread=Cells(1, "soon")),
    }
    assert relation(frame.head(0)).observe(contract) == Observed(("extra", "city", "day", "age"), 0)


def test_columns_are_told_apart_by_case_as_models_do(relation: Callable):
    observed = relation(pd.DataFrame({"X": [1, 2]})).observe(contract_of(Column("x", "numeric", "BIGINT")))
    assert (observed.names, observed.columns) == (("X",), {})


def test_many_columns_are_observed_in_several_passes(relation: Callable):
    frame = pd.DataFrame({f"c{i}": [i, i + 1.0, np.nan] for i in range(95)})
    columns = [Column(name, "numeric", "DOUBLE", low=float(i), high=float(i)) for i, name in enumerate(frame.columns)]
    observed = relation(frame).observe(contract_of(*columns))
    assert observed.columns == {f"c{i}": Counts(1, above=Cells(1, str(i + 1))) for i in range(95)}


def test_new_levels_among_thousands_are_counted(relation: Callable):
    rows = pd.DataFrame({"c": [f"{i % 13_300}-pair" for i in range(40_000)]})
    levels = tuple(sorted(f"{i}-pair" for i in range(13_000)))
    observed = relation(rows).observe(contract_of(Column("c", "categorical", "VARCHAR", levels=levels)))
    assert observed.columns["c"] == Counts(new=Cells(900, "13000-pair", 300))


def test_more_odd_cells_than_are_looked_at_in_one_go(relation: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lifecycle.adapters.relation.ODD_AT_ONCE", 7)
    rows = pd.DataFrame({"c": [f"{i:03d}" for i in range(50)] + ["x"] * 3})
    column = Column("c", "numeric", "VARCHAR", low=10.0, high=40.0)
    counts = relation(rows).observe(contract_of(column)).columns["c"]
    assert counts == Counts(unread=Cells(3, "x"), odd=Cells(50, "000"), below=Cells(10, "0"), above=Cells(9, "49"))


def test_a_file_is_observed_as_a_frame_is(tmp_path: Path, connection: duckdb.DuckDBPyConnection, relation: Callable):
    frame = pd.DataFrame({"x": [0.5, 99, None], "c": ["a", "b", None], "t": pd.to_datetime(["2021-01-01"] * 3)})
    columns = Column("x", "numeric", "DOUBLE", low=0.0, high=9.0), Column("c", "categorical", "VARCHAR", levels=("a",))
    contract = contract_of(*columns, Column("t", "datetime", "TIMESTAMP"))
    frame.to_parquet(tmp_path / "a.parquet")
    connection.execute(f"CREATE OR REPLACE VIEW scored AS FROM read_parquet('{tmp_path}/a.parquet')")
    assert Relation(connection, "scored").observe(contract) == relation(frame).observe(contract)


@pytest.mark.parametrize(
    "name",
    [
        "level",
        "__level__x",
        "rows",
        "cell",
        "value_0",
        "text_0",
        "odd_0",
        'a "b"',
        "count",
        "__place__",
        "__ROWS__",
        "__level__",
    ],
)
@pytest.mark.parametrize("role", ["categorical", "numeric"])
def test_no_name_of_a_column_is_taken_for_another(name: str, role: str, relation: Callable):
    frame = pd.DataFrame({name: ["1", "1", "x", None], "n": ["7", "8", "9", "09"], "level": ["u"] * 4, "cell": 1})
    columns = Column(name, role, "VARCHAR", levels=("1",) * (role == "categorical")), Column("n", "numeric", "VARCHAR")
    if name in ("level", "cell"):
        frame = frame.assign(**{name: ["1", "1", "x", None]})
    wrong = {"new": Cells(1, "x", 1)} if role == "categorical" else {"unread": Cells(1, "x")}
    observed = relation(frame).observe(contract_of(*columns))
    assert observed.columns == {name: Counts(1, **wrong), "n": Counts(odd=Cells(1, "09"))}

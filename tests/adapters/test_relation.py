"""Rows in duckdb: what SQL says of them is what the models' first step would say in Python."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from frames import relation_of
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.adapters.relation import Relation
from lifecycle.columns import levels_of, numbers_of, times_of
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
    relation(frame).write(tmp_path / "a.parquet", contract, np.array([2, 0, 1]), beside, None)
    found = pd.read_parquet(tmp_path / "a.parquet")
    assert found.columns.tolist() == ["n", "w", "y", "f"]
    assert found.fillna("-").to_numpy().tolist() == [[3, "c", "yes", 2], [1, "a", "no", 0], ["-", "b", "no", 1]]


def test_a_twin_is_equal_in_all_that_models_read_and_in_the_target(tmp_path: Path, relation: Callable):
    frame = pd.DataFrame({"n": [1, 1, 1, 2, None, None], "w": list("aabaxx"), "id": range(6)})
    contract = contract_of(Column("n", "numeric", "DOUBLE"), Column("w", "categorical", "VARCHAR"))
    rows = relation(frame)
    rows.write(tmp_path / "a.parquet", contract, np.array([0, 4]), {"y": pd.Series(["yes", "no"])}, None)
    held = pd.Series(["yes", "yes", "yes", "no"])
    rows.write(tmp_path / "b.parquet", contract, np.array([1, 2, 3, 5]), {"y": held}, tmp_path / "a.parquet")
    assert pd.read_parquet(tmp_path / "b.parquet")["__twin__"].tolist() == [True, False, False, True]
    rows.write(tmp_path / "b.parquet", contract, np.array([1, 5]), {"y": held[2:][::-1]}, tmp_path / "a.parquet")
    assert pd.read_parquet(tmp_path / "b.parquet")["__twin__"].tolist() == [False, False]


def test_many_rows_keep_the_tables_order(tmp_path: Path, relation: Callable):
    """In several threads, as a large table is written."""
    rows = 600_000
    chosen = np.flatnonzero(np.random.default_rng(0).random(rows) < 0.8)
    contract = contract_of(Column("n", "numeric", "BIGINT"))
    beside = {"y": pd.Series(np.where(chosen % 2, "yes", "no"))}
    table = relation(pd.DataFrame({"n": np.arange(rows)}))
    table.write(tmp_path / "a.parquet", contract, chosen, beside, None)
    table.write(tmp_path / "b.parquet", contract, chosen, beside, tmp_path / "a.parquet")
    for name in ("a", "b"):
        found = pd.read_parquet(tmp_path / f"{name}.parquet")
        np.testing.assert_array_equal(found["n"], chosen)
        assert (found["y"] == np.where(found["n"] % 2, "yes", "no")).all()
    assert found["__twin__"].all()

"""The first step of every model: whatever type a cell comes in, the model reads the same."""

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from lifecycle.columns import CastColumns, level_of, levels_of, numbers_of

NAN = np.nan


# ----------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize(
    "value", [3, 3.0, "3", np.int64(3), np.int8(3), np.uint16(3), np.float64(3), np.float32(3), Decimal(3)]
)
def test_three_is_one_level_in_whatever_type_it_comes(value: Any):
    assert level_of(value) == "3"


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (2.5, "2.5"),
        (np.float32(2.5), "2.5"),
        (np.float32(0.1), "0.1"),
        (-0.0, "0"),
        (-7.0, "-7"),
        (1e20, "100000000000000000000"),
        (float("inf"), "inf"),
        (True, "True"),
        (np.bool_(False), "False"),
        ("", ""),
        (" Yes", " Yes"),
        ("3.0", "3.0"),
        (date(2021, 1, 31), "2021-01-31"),
    ],
)
def test_a_level_is_the_cell_as_text(value: Any, level: str):
    assert level_of(value) == level


@pytest.mark.parametrize("value", [None, NAN, np.float32("nan"), pd.NA, pd.NaT])
def test_a_missing_cell_has_no_level(value: Any):
    assert isinstance(level_of(value), float)
    assert np.isnan(level_of(value))


@given(st.integers(-(2**53), 2**53))
def test_every_whole_number_is_one_level(number: int):
    assert level_of(number) == level_of(float(number)) == level_of(str(number)) == str(number)


@pytest.mark.parametrize(
    ("column", "levels"),
    [
        (pd.Series([3, 1, 3]), ["3", "1", "3"]),
        (pd.Series([3.0, NAN, 0.5]), ["3", NAN, "0.5"]),
        (pd.Series([3, None, 1], dtype="Int64"), ["3", NAN, "1"]),
        (pd.Series([3, 3.0, "3", None, pd.NA, NAN, pd.NaT], dtype=object), ["3", "3", "3", NAN, NAN, NAN, NAN]),
        (pd.Series(["b", None, "a"]), ["b", NAN, "a"]),
        (pd.Series(["b", None, "a"], dtype="string"), ["b", NAN, "a"]),
        (pd.Series(["b", None, "a"], dtype="category"), ["b", NAN, "a"]),
        (pd.Series([2, 1, 2], dtype="category"), ["2", "1", "2"]),
        (pd.Series([True, False]), ["True", "False"]),
        (pd.Series([True, None], dtype="boolean"), ["True", NAN]),
        (pd.Series([True, None], dtype=object), ["True", NAN]),
        (pd.Series([None, None], dtype=object), [NAN, NAN]),
        (pd.Series([NAN, NAN]), [NAN, NAN]),
        (pd.Series([], dtype="float64"), []),
    ],
)
def test_levels_of_a_column_of_any_type(column: pd.Series, levels: list):
    named = column.rename("size").set_axis(range(7, 7 + len(column)))
    expected = pd.Series(levels, index=named.index, name="size", dtype=object)
    assert_series_equal(levels_of(named), expected)


# ---------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("column", "numbers"),
    [
        (pd.Series([3, 1]), [3.0, 1.0]),
        (pd.Series([3.5, NAN]), [3.5, NAN]),
        (pd.Series([0.25], dtype="float32"), [0.25]),
        (pd.Series([3, None], dtype="Int64"), [3.0, NAN]),
        (pd.Series([0.5, None], dtype="Float64"), [0.5, NAN]),
        (pd.Series([3, 0.5, "2.5", " 4 ", None, pd.NA, NAN], dtype=object), [3.0, 0.5, 2.5, 4.0, NAN, NAN, NAN]),
        (pd.Series([Decimal("1.5"), None], dtype=object), [1.5, NAN]),
        (pd.Series(["1e3", "-2"], dtype="string"), [1000.0, -2.0]),
        (pd.Series([2, 1, None], dtype="category"), [2.0, 1.0, NAN]),
        (pd.Series([True, False]), [1.0, 0.0]),
        (pd.Series([True, None], dtype="boolean"), [1.0, NAN]),
        (pd.Series([None, None], dtype=object), [NAN, NAN]),
        (pd.Series([], dtype=object), []),
        # A reader that found no value in a batch may call the column a time.
        (pd.Series([pd.NaT, pd.NaT]), [NAN, NAN]),
        (pd.Series([], dtype="datetime64[ns]"), []),
    ],
)
def test_numbers_of_a_column_of_any_type(column: pd.Series, numbers: list):
    named = column.rename("size").set_axis(range(7, 7 + len(column)))
    assert_series_equal(numbers_of(named), pd.Series(numbers, index=named.index, name="size", dtype="float64"))


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_text_in_a_numeric_column_is_refused_by_the_columns_name(dtype: Any):
    column = pd.Series(["41", None, "old", "young"], name="age", dtype=dtype)
    with pytest.raises(ValueError, match=r"^column 'age' is numeric, but holds 'old'$"):
        numbers_of(column)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        (pd.to_datetime(["2021-01-31", None]), "2021-01-31"),
        (pd.to_datetime([None, "2021-01-31"]), "2021-01-31"),
        (pd.to_timedelta(["1 day"]), "1 days"),
        ([pd.Timestamp("2021-01-31")], "2021-01-31"),
        ([None, [1, 2]], r"\[1, 2\]"),
    ],
    ids=["time", "second time", "duration", "time among objects", "list"],
)
def test_what_is_no_number_is_refused_by_the_columns_name(column: Any, cell: str):
    """Also what pandas would take for a count of nanoseconds."""
    with pytest.raises(ValueError, match=f"^column 'age' is numeric, but holds .*{cell}"):
        numbers_of(pd.Series(column, name="age"))


# ------------------------------------------------------------------------------------ transformer

RAW = pd.DataFrame(
    {"age": [41, 7], "colour": ["red", None], "rooms": ["3", "2"], "floor": [1.0, NAN], "note": ["x", "y"]},
    index=[5, 9],
)
CAST = pd.DataFrame(
    {
        "age": [41.0, 7.0],
        "rooms": [3.0, 2.0],
        "colour": pd.Series(["red", NAN], dtype=object, index=[5, 9]),
        "floor": pd.Series(["1", NAN], dtype=object, index=[5, 9]),
    },
    index=[5, 9],
)


def fitted(numeric: tuple[str, ...] = ("age", "rooms"), categorical: tuple[str, ...] = ("colour", "floor")):
    """Give a transformer that has seen the raw rows."""
    return CastColumns(list(numeric), list(categorical)).fit(RAW)


def test_columns_are_picked_by_name_and_typed_the_numeric_ones_first():
    before = RAW.copy(deep=True)
    assert_frame_equal(fitted().transform(RAW), CAST)
    assert_frame_equal(RAW, before)


def test_neither_order_nor_further_columns_matter():
    assert_frame_equal(fitted().transform(RAW[RAW.columns[::-1]]), CAST)
    assert_frame_equal(fitted().transform(RAW.drop(columns="note").assign(new=0)), CAST)


def test_a_batch_may_come_in_other_types_than_the_training_rows():
    """As it comes from a CSV with gaps, from a nullable frame, and from JSON."""
    rows = {
        "age": pd.Series([41, None], dtype="Int64"),
        "rooms": pd.Series([3, None], dtype=object),
        "colour": pd.Series([None, None]),
        "floor": pd.Series([1, None], dtype="Int64"),
    }
    expected = pd.DataFrame({"age": [41.0, NAN], "rooms": [3.0, NAN]})
    expected["colour"] = pd.Series([NAN, NAN], dtype=object)
    expected["floor"] = pd.Series(["1", NAN], dtype=object)
    assert_frame_equal(fitted().transform(pd.DataFrame(rows)), expected)


def test_no_rows_give_no_rows():
    empty = fitted().transform(RAW.head(0))
    assert_frame_equal(empty, CAST.head(0))


def test_one_kind_of_columns_will_do():
    assert_frame_equal(fitted(categorical=()).transform(RAW), CAST[["age", "rooms"]])
    assert_frame_equal(fitted(numeric=()).transform(RAW), CAST[["colour", "floor"]])


def test_an_absent_column_is_named():
    with pytest.raises(
        ValueError, match=r"^the model needs the columns \['rooms', 'floor'\], which the table does not have$"
    ):
        fitted().transform(RAW.drop(columns=["floor", "rooms"]))


def test_text_is_refused_in_a_numeric_column_alone():
    assert fitted().transform(RAW.assign(colour="41")).loc[5, "colour"] == "41"
    with pytest.raises(ValueError, match=r"^column 'age' is numeric, but holds 'old'$"):
        fitted().transform(RAW.assign(age=["41", "old"]))


def test_scikit_learn_knows_its_columns_and_its_parameters():
    assert fitted().get_feature_names_out().tolist() == ["age", "rooms", "colour", "floor"]
    copied = clone(fitted())
    assert copied.get_params() == {"numeric": ["age", "rooms"], "categorical": ["colour", "floor"]}
    with pytest.raises(NotFittedError, match="This CastColumns instance is not fitted yet"):
        copied.transform(RAW)

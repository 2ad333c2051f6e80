"""The first step of every model: whatever type a cell comes in, the model reads the same."""

import re
from datetime import date, datetime, timedelta, timezone
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

from lifecycle.columns import CastColumns, EncodeText, EncodeTimes, level_of, levels_of, numbers_of, times_of

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
        (" Yes", "Yes"),
        ("Yes\u00a0", "Yes"),
        ("true", "True"),
        (" FALSE", "False"),
        ("truest", "truest"),
        ("3.0", "3.0"),
        (date(2021, 1, 31), "2021-01-31"),
    ],
)
def test_a_level_is_the_cell_as_text(value: Any, level: str):
    assert level_of(value) == level


@pytest.mark.parametrize("value", [None, NAN, np.float32("nan"), pd.NA, pd.NaT, "", " ", "\t\u00a0"])
def test_a_missing_or_blank_cell_has_no_level(value: Any):
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


def test_words_that_stand_for_a_missing_cell_are_no_levels():
    """In their own case: NA is not Na. A number that stands for one does so in every type."""
    column = pd.Series(["?", " NA ", "Na", "a?", -9, -9.0, "-9", "9"], dtype=object)
    levels = levels_of(column, ["?", "NA ", "-9"])
    assert_series_equal(levels, pd.Series([NAN, NAN, "Na", "a?", NAN, NAN, NAN, "9"], dtype=object))
    assert levels_of(pd.Series([-9, 9]), ["-9"]).tolist()[1:] == ["9"]


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
        (pd.Series(["", " ", "4", "\u00a05\t", "nan"], dtype=object), [NAN, NAN, 4.0, 5.0, NAN]),
        (pd.Series(["", None, "-2.5e1"], dtype="string"), [NAN, NAN, -25.0]),
        (pd.Series([" ", "4", " "], dtype="category"), [NAN, 4.0, NAN]),
        # A reader that found no value in a batch may call the column a time.
        (pd.Series([pd.NaT, pd.NaT]), [NAN, NAN]),
        (pd.Series([], dtype="datetime64[ns]"), []),
    ],
)
def test_numbers_of_a_column_of_any_type(column: pd.Series, numbers: list):
    named = column.rename("size").set_axis(range(7, 7 + len(column)))
    assert_series_equal(numbers_of(named), pd.Series(numbers, index=named.index, name="size", dtype="float64"))


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_words_that_stand_for_a_missing_cell_are_no_numbers(dtype: Any):
    column = pd.Series(["?", "41", " n/a", "7.5", "-999", "-999.0"], name="age", dtype=dtype)
    expected = pd.Series([NAN, 41.0, NAN, 7.5, NAN, NAN], name="age")
    assert_series_equal(numbers_of(column, "", ("?", "n/a", "-999")), expected)


def test_a_number_that_stands_for_a_missing_cell_does_so_in_every_type():
    for column in (pd.Series([-999, 1]), pd.Series([-999.0, 1.0]), pd.Series([-999, 1], dtype="Int64")):
        assert_series_equal(numbers_of(column, "", ("?", "-999")), pd.Series([NAN, 1.0]))
    assert_series_equal(numbers_of(pd.Series([-0.5, 1.0]), "decimal comma", ("-0,5",)), pd.Series([NAN, 1.0]))


@pytest.mark.parametrize(
    ("format", "text", "number"),
    [
        ("decimal comma", "1,5", 1.5),
        ("decimal comma", "-,5", -0.5),
        ("decimal comma", "12", 12.0),
        ("decimal comma", " 1.234,5 ", 1234.5),
        ("decimal comma", "1.234.567", 1234567.0),
        ("decimal comma", "1\u202f234,25", 1234.25),
        ("decimal comma", "2,5e-3", 0.0025),
        ("decimal comma", " ", NAN),
        ("decimal comma", "nan", NAN),
        ("thousands", "1,234", 1234.0),
        ("thousands", "+1,234,567.89", 1234567.89),
        ("thousands", "1'234.5", 1234.5),
        ("thousands", "1 234", 1234.0),
        ("thousands", "12.5", 12.5),
        ("thousands", "1234.5", 1234.5),
        ("", "1e3", 1000.0),
    ],
)
def test_a_number_is_read_as_its_column_writes_it(format: str, text: str, number: float):
    assert_series_equal(numbers_of(pd.Series([text, 2.5, None]), format), pd.Series([number, 2.5, NAN]))


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("decimal comma", "1.5"),
        ("decimal comma", "1,5,0"),
        ("decimal comma", "1.23,4"),
        ("decimal comma", "1.234 567"),
        ("thousands", "1,5"),
        ("thousands", "12,34"),
        ("thousands", "1,234 567"),
        ("thousands", "1.234.567"),
        ("thousands", "?"),
        ("", "1,5"),
        ("", "1_000"),
        ("", "0x10"),
        ("", "12 km"),
    ],
)
def test_a_number_that_is_written_in_another_way_is_refused(format: str, text: str):
    """Reading 1.5 as 15, or as 1.5 where 1.500 would be 1500, would be a guess."""
    with pytest.raises(ValueError, match=f"^column 'age' is numeric, but holds {re.escape(repr(text))}$"):
        numbers_of(pd.Series(["1", text], name="age"), format)


@given(st.floats(-1e12, 1e12).map(lambda number: round(number, 3)))
def test_every_number_comes_back_from_how_it_is_written(number: float):
    english = f"{number:,.3f}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert numbers_of(pd.Series([english]), "thousands").tolist() == [number]
    assert numbers_of(pd.Series([german]), "decimal comma").tolist() == [number]


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


# ------------------------------------------------------------------------------------------ times

NOON = datetime(2021, 1, 31, 12)
EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(pd.to_datetime(["2021-01-31 12:00", None])),
        pd.Series(pd.to_datetime(["2021-01-31 12:00", None])).astype("datetime64[s]"),
        pd.Series(pd.to_datetime(["2021-01-31 14:00+02:00", None])),
        pd.Series([NOON, None], dtype=object),
        pd.Series([NOON.replace(tzinfo=EAST, hour=14), pd.NaT], dtype=object),
        pd.Series([pd.Timestamp(NOON), pd.NA], dtype=object),
        pd.Series([np.datetime64(NOON), NAN], dtype=object),
        pd.Series(["2021-01-31 12:00", None], dtype=object),
        pd.Series([" 2021-01-31T12:00:00.000", " "], dtype=object),
        pd.Series(["2021-01-31T12:00:00.000000", "NaT"], dtype=object),
        pd.Series(["2021-01-31T12:00:00Z", "?"], dtype=object),
        pd.Series(["2021-01-31T14:00:00+02:00", ""], dtype="string"),
        pd.Series(["2021-01-31 12:00", "?"], dtype="category"),
    ],
)
def test_a_time_is_the_same_in_whatever_type_it_comes(column: pd.Series):
    named = column.rename("seen").set_axis([7, 8])
    expected = pd.Series([NOON, None], index=[7, 8], name="seen", dtype="datetime64[us]")
    assert_series_equal(times_of(named, "", ["?"]), expected)


@pytest.mark.parametrize(
    ("format", "cell", "time"),
    [
        ("", date(2021, 1, 31), "2021-01-31"),
        ("", "2021-01-31", "2021-01-31"),
        ("", "20210131", "2021-01-31"),
        ("", date(9999, 12, 31), "9999-12-31"),
        ("", "9999-12-31", "9999-12-31"),
        ("", "0001-01-01T01:00", "0001-01-01T01:00"),
        ("%d/%m/%Y", "03/02/2021", "2021-02-03"),
        ("%d/%m/%Y", " 03/02/2021 ", "2021-02-03"),
        ("%m/%d/%y %H:%M", "03/02/21 17:05", "2021-03-02T17:05"),
        ("%d/%m/%Y", "31/12/9999", "9999-12-31"),
        ("%Y%m%d", 20210131, "2021-01-31"),
        ("%Y%m%d", 20210131.0, "2021-01-31"),
        ("%Y%m%d", "20210131", "2021-01-31"),
        ("%Y", 2021, "2021-01-01"),
        # As a client that read the same table writes it in JSON.
        ("%d/%m/%Y", "2021-02-03T00:00:00", "2021-02-03"),
        ("%d/%m/%Y", date(2021, 2, 3), "2021-02-03"),
    ],
)
def test_a_time_is_read_as_its_column_writes_it(format: str, cell: Any, time: str):
    for column in (pd.Series([cell]), pd.Series([cell, None], dtype=object)):
        found = times_of(column, format)
        assert found.dtype == "datetime64[us]"
        np.testing.assert_array_equal(found, np.array([time, "NaT"][: len(column)], "datetime64[us]"))


@pytest.mark.parametrize("column", [[NAN, NAN], [None, None], [pd.NaT, pd.NaT], pd.array([pd.NA] * 2, "Int64")])
def test_a_batch_without_a_time_may_come_in_any_type(column: Any):
    for format in ("", "%d/%m/%Y"):
        expected = pd.Series([pd.NaT, pd.NaT], dtype="datetime64[us]")
        assert_series_equal(times_of(pd.Series(column), format), expected)


def test_a_time_that_stands_for_a_missing_cell_does_so_in_every_type():
    times = pd.Series(pd.to_datetime(["1900-01-01", "2021-01-31"]))
    for column in (times, times.astype(str), times.dt.date, times.dt.tz_localize("UTC")):
        assert times_of(column, "", ["1900-01-01"]).isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("column", "format", "cell"),
    [
        (["2021-01-31", "soon"], "", "soon"),
        (["2021-01-31", "2021-02-30"], "", "2021-02-30"),
        (["2021-01-31", "31.1.2021"], "", "31.1.2021"),
        (["31/01/2021", "01/31/2021"], "%d/%m/%Y", "01/31/2021"),
        (["2021-01-31", "now"], "", "now"),
        (["2021-01-31", "today"], "", "today"),
        ([1609459200, 1609459201], "", "1609459200"),
        ([1609459200.5], "", "1609459200.5"),
        (["1609459200"], "", "1609459200"),
        ([date(2021, 1, 31), 1609459200], "", "1609459200"),
        ([1609459200], "%d/%m/%Y", "1609459200"),
        ([True, False], "%Y", "True"),
        (pd.to_timedelta(["1 day"]), "", "1 days"),
        ([["2021-01-31"]], "", "['2021-01-31']"),
    ],
)
def test_what_is_no_time_is_refused_by_the_columns_name(column: Any, format: str, cell: str):
    """A count of seconds or nanoseconds since 1970 too: nobody said which."""
    with pytest.raises(ValueError, match=f"^column 'seen' .*{re.escape(cell)}"):
        times_of(pd.Series(column, name="seen"), format)


@pytest.mark.parametrize(("zone", "utc"), [("+02:00", "10:00"), ("+02", "10:00"), ("-0330", "15:30"), ("Z", "12:00")])
@pytest.mark.parametrize("time", ["2021-01-31 14:00", "2021-01-31T14:00:00.5", "2021-01-31"])
def test_a_time_without_a_zone_is_not_that_of_its_neighbour(zone: str, utc: str, time: str):
    zoned = f"2021-01-31T12:00{zone}"
    one, other = np.datetime64(time.replace(" ", "T"), "us"), np.datetime64(f"2021-01-31T{utc}", "us")
    expected = pd.Series([one, None, other, one, other], dtype="datetime64[us]")
    assert_series_equal(times_of(pd.Series([time, None, zoned, time, zoned], dtype=object)), expected)


def test_the_rest_of_a_column_is_read_where_one_cell_needs_a_closer_look():
    column = pd.Series(["2021-01-31", "9999-12-31", "?", None] * 30, dtype=object)
    found = times_of(column, "", ["?"])
    assert found.dt.year.tolist()[:2] == [2021, 9999]
    assert found.isna().tolist() == [False, False, True, True] * 30


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
    assert copied.get_params() == {
        "numeric": ["age", "rooms"],
        "categorical": ["colour", "floor"],
        "datetime": (),
        "formats": None,
        "missing_words": (),
    }
    with pytest.raises(NotFittedError, match="This CastColumns instance is not fitted yet"):
        copied.transform(RAW)


def test_prepared_rows_and_raw_rows_become_the_same():
    """Training sees typed columns; a server sees what people write."""
    formats = {"price": "decimal comma", "sold": "%d.%m.%y"}
    texts = ["colour", "member", "note"]
    cast = CastColumns(["price", "weight"], texts, ["seen", "sold"], formats, ["?", "NA"]).fit(RAW)
    prepared = pd.DataFrame(
        {
            "price": [1234.5, NAN],
            "weight": [NAN, 3.0],
            "colour": ["red", None],
            "member": ["True", None],
            "note": ["two words", None],
            "seen": pd.to_datetime(["2021-01-31 12:00", None]),
            "sold": pd.to_datetime([None, "2021-02-03"]),
        }
    )
    raw = pd.DataFrame(
        {
            "price": ["1.234,5", "?"],
            "weight": [" ", "3"],
            "colour": ["red ", "NA"],
            "member": [True, "NA"],
            "note": ["two words", ""],
            "seen": ["2021-01-31T12:00:00Z", "?"],
            "sold": ["", "03.02.21"],
        }
    )
    assert_frame_equal(clone(cast).fit(RAW).transform(raw), cast.transform(prepared))
    # Each row by itself is what it is among others.
    for place in (0, 1):
        assert_frame_equal(cast.transform(raw.iloc[[place]]), cast.transform(prepared).iloc[[place]])


# ----------------------------------------------------------------------------------- times as numbers


def days(*times: Any) -> pd.DataFrame:
    """Make a column of times."""
    return pd.DataFrame({"sold": np.array(times, dtype="datetime64[us]")})


def test_the_numbers_of_a_time_by_hand():
    """Monday the 1st of January at noon, Thursday the 5th of April at six, and no time."""
    rows = days("2018-01-01T12:00", "2018-04-05T06:00", "NaT")
    encode = EncodeTimes({"sold": "2017-12-31"}).fit(rows)
    expected = {
        "sold_days": [1.5, 95.25, NAN],
        "sold_year_sin": [0, 1, NAN],
        "sold_year_cos": [1, 0, NAN],
        "sold_week_sin": [0, np.sin(2 * np.pi * 3 / 7), NAN],
        "sold_week_cos": [1, np.cos(2 * np.pi * 3 / 7), NAN],
        "sold_day_sin": [0, 1, NAN],
        "sold_day_cos": [-1, 0, NAN],
        "sold_day_sin2": [0, 0, NAN],
        "sold_day_cos2": [1, -1, NAN],
    }
    assert encode.get_feature_names_out().tolist() == list(expected)
    np.testing.assert_allclose(encode.transform(rows), np.column_stack(list(expected.values())), atol=1e-12)


def test_neighbours_across_the_end_of_a_cycle_are_neighbours():
    rows = days("2021-12-31T23:59:59", "2022-01-01T00:00:01", "2021-06-30T12:00")
    encode = EncodeTimes().fit(rows)
    late, early, midsummer = encode.transform(rows)[:, 5:]
    assert np.abs(late - early).max() < 0.001
    assert np.abs(late - midsummer).max() > 1


@pytest.mark.parametrize(
    ("times", "names"),
    [
        (("2021-03-01", "2021-03-02"), ["days", "week_sin", "week_cos"]),
        (("2021-03-01", "2021-04-05", "NaT"), ["days", "year_sin", "year_cos"]),
        (("2021-03-01", "2021-03-01T06:00"), ["days", "day_sin", "day_cos", "day_sin2", "day_cos2"]),
        (("2021-03-01T06:00", "2021-03-08T06:00"), ["days"]),
        (("2021-03-01",), ["days"]),
        (("NaT", "NaT"), ["days"]),
    ],
)
def test_a_cycle_that_tells_nothing_in_training_is_left_out(times: tuple, names: list):
    """What a new row has to say of it would be weighed by chance."""
    encode = EncodeTimes().fit(days(*times))
    assert encode.get_feature_names_out().tolist() == [f"sold_{name}" for name in names]
    assert encode.transform(days("2024-12-31T17:30")).shape == (1, len(names))


def test_days_count_from_1970_where_nothing_else_is_said():
    for origins in (None, {}, {"sold": ""}):
        assert EncodeTimes(origins).fit(days("1970-01-02")).transform(days("1970-01-11"))[0, 0] == 10
    rows = days("2021-01-02", "2021-01-03").assign(back=days("2021-01-05", "2021-01-04")["sold"])
    encode = EncodeTimes({"back": "2021-01-01", "sold": "2021-01-02T00:00:00Z"}).fit(rows)
    assert encode.get_feature_names_out().tolist()[::3] == ["sold_days", "back_days"]
    np.testing.assert_array_equal(encode.transform(rows)[:, ::3], [[0, 4], [1, 3]])


# ------------------------------------------------------------------------------------ text as numbers

TITLES = ["Police Officer", "police officer III", "Firefighter/Rescuer", "Firefighter Rescuer II", "Bus Operator"] * 3


def texts(*values: Any) -> pd.DataFrame:
    """Make a column of texts."""
    return pd.DataFrame({"title": pd.Series(values, dtype=object)})


def test_texts_alike_in_their_letters_are_near_each_other():
    """In any case, and where the very text was never seen in training."""
    encode = EncodeText().fit(texts(*TITLES))
    officer, other, fire = encode.transform(texts("POLICE OFFICERS", "Police Officer II", "Firefighters"))
    assert officer @ other / np.linalg.norm(officer) / np.linalg.norm(other) > 0.9
    assert abs(officer @ fire) / np.linalg.norm(officer) / np.linalg.norm(fire) < 0.2


def test_a_missing_text_and_an_unknown_one_are_zero():
    encode = EncodeText().fit(texts(*TITLES, NAN))
    found = encode.transform(texts(NAN, "", "xyzzy", "Bus"))
    assert not found[:3].any()
    assert found[3].any()


def test_a_column_of_text_weighs_as_much_as_a_standardised_number():
    rows = texts(*TITLES)
    found = EncodeText().fit(rows).transform(rows)
    assert (found**2).sum() / len(rows) == pytest.approx(1, rel=1e-5)
    # Five texts, five directions.
    assert found.shape == (15, 5)


def test_a_column_of_text_is_at_most_thirty_numbers():
    words = np.random.default_rng(1).choice(list("abcdefghij"), (200, 4, 6))
    rows = texts(*(" ".join("".join(word) for word in row) for row in words)).assign(title2=lambda x: x["title"])
    encode = EncodeText().fit(rows)
    found = encode.transform(rows)
    assert found.shape == (200, 60)
    np.testing.assert_array_equal(found[:, :30], found[:, 30:])
    names = encode.get_feature_names_out().tolist()
    assert names[:2] + names[29:31] == ["title_text_1", "title_text_2", "title_text_30", "title2_text_1"]


def test_a_text_is_the_same_numbers_in_any_company_and_any_process():
    rows = texts(*TITLES, NAN)
    np.random.seed(5)
    encode = EncodeText().fit(rows)
    np.random.seed(6)
    again = EncodeText().fit(rows)
    whole = encode.transform(rows)
    np.testing.assert_array_equal(whole, again.transform(rows))
    for place in range(len(rows)):
        np.testing.assert_allclose(encode.transform(rows.iloc[[place]]), whole[[place]], rtol=1e-6)
    assert whole.dtype == np.float64


@pytest.mark.parametrize("values", [(NAN, NAN), ("", "!"), (NAN,)])
def test_a_column_without_any_text_is_one_zero(values: tuple):
    encode = EncodeText().fit(texts(*values))
    np.testing.assert_array_equal(encode.transform(texts("new", NAN)), [[0], [0]])
    assert encode.get_feature_names_out().tolist() == ["title_text_1"]


def test_a_text_that_is_everywhere_the_same_is_one_number():
    encode = EncodeText().fit(texts("same", "same", "same"))
    np.testing.assert_allclose(np.abs(encode.transform(texts("same", "other"))), [[1], [0]], rtol=1e-6)


def test_an_encoder_that_has_seen_nothing_says_so():
    for encode, rows in ((EncodeText(), texts("a")), (EncodeTimes(), days("2021-01-01"))):
        with pytest.raises(NotFittedError, match=f"This {type(encode).__name__} instance is not fitted yet"):
            clone(encode).transform(rows)

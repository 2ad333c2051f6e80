"""What each column is found to be, by its training rows, and what the user may say instead."""

from collections.abc import Callable, Iterator
from datetime import date, time
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from frames import relation_of

from lifecycle.audit import Finding
from lifecycle.contract import Column
from lifecycle.roles import Reading, looks_like_id, readings_of, unit_of
from lifecycle.settings import TableSettings, parse_ordinal, parse_roles
from lifecycle.table import describe

NAN = np.nan


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


@pytest.fixture
def described(connection: duckdb.DuckDBPyConnection) -> Callable[..., tuple[Column, tuple[Finding, ...]]]:
    """Describe a column of some values, and give the findings."""

    def describe_one(
        values: Any, dtype: Any = None, name: str = "c", roles: str = "", order: str = ""
    ) -> tuple[Column, tuple[Finding, ...]]:
        frame = pd.DataFrame({name: pd.Series(values, dtype=dtype)})
        settings = TableSettings("t.csv", "y", roles=parse_roles(roles), ordinal=parse_ordinal(order))
        [column], _, findings = describe(relation_of(frame, connection), settings, "random")
        return column, findings

    return describe_one


@pytest.fixture
def found(described: Callable) -> Callable[..., Column]:
    return lambda *args, **options: described(*args, **options)[0]


@pytest.mark.parametrize(
    ("values", "dtype", "sql", "low", "high", "share"),
    [
        ([3, 1, 2], "int64", "BIGINT", 1.0, 3.0, 0.0),
        ([0.5, NAN, -2.0], "float64", "DOUBLE", -2.0, 0.5, 1 / 3),
        ([3, None, 2], "Int64", "BIGINT", 2.0, 3.0, 1 / 3),
        ([1.5, NAN, NAN], "float64", "DOUBLE", 1.5, 1.5, 2 / 3),
        ([3, 1, 3, 1], "int8", "TINYINT", 1.0, 3.0, 0.0),
    ],
)
def test_numbers_are_numeric_with_their_range(
    values: Any, dtype: str, sql: str, low: float, high: float, share: float, found: Callable
):
    assert found(values, dtype) == Column(
        "c", "numeric", sql, low=low, high=high, missing=share > 0, missing_share=share
    )


@pytest.mark.parametrize(
    ("values", "dtype", "levels", "missing"),
    [
        (["b", "a", "b"], "object", ("a", "b"), False),
        (["b", None, "b"], "object", ("b",), True),
        ([True, False], "bool", ("False", "True"), False),
        ([True, None, False], "boolean", ("False", "True"), True),
        (["b", "a"], "string", ("a", "b"), False),
        # As the models' first step reads them.
        ([" b ", "b", "true", "TRUE", "no"], "object", ("True", "b", "no"), False),
        (["b", "a", " ", "?", "NA"], "object", ("a", "b"), True),
        # An answer, as often as not.
        (["yes", "unknown", "None", "-"], "object", ("-", "None", "unknown", "yes"), False),
        # A postal code is no number.
        (["01067", "80331", "01067"], "object", ("01067", "80331"), False),
    ],
)
def test_texts_and_booleans_are_categorical_with_sorted_levels(
    values: list, dtype: str, levels: tuple, missing: bool, found: Callable
):
    column = found(values, dtype)
    assert (column.role, column.levels, column.missing) == ("categorical", levels, missing)


@pytest.mark.parametrize(
    ("values", "missing"),
    [([7, 7], False), (["x", "x"], False), ([None, None], True), ([NAN, NAN], True), ([True], False), (["?"], True)],
)
def test_a_column_that_says_nothing_is_constant(values: list, missing: bool, found: Callable):
    column = found(values)
    assert (column.role, column.missing) == ("constant", missing)


@pytest.mark.parametrize(
    ("distinct", "rows", "role"),
    [(51, 101, "id"), (51, 102, "categorical"), (50, 50, "categorical"), (200, 200, "id"), (150, 600, "categorical")],
)
def test_a_word_is_an_id_if_more_than_half_and_more_than_fifty_cells_are_distinct(
    distinct: int, rows: int, role: str, found: Callable
):
    assert found([f"name{i % distinct}x" for i in range(rows)]).role == role


@pytest.mark.parametrize(
    ("distinct", "rows", "role"),
    [(51, 101, "text"), (51, 102, "categorical"), (101, 400, "text"), (100, 400, "categorical")],
)
def test_words_are_text_if_many_are_distinct(distinct: int, rows: int, role: str, found: Callable):
    assert found([f"a note of customer {i % distinct}" for i in range(rows)]).role == role


@pytest.mark.parametrize(
    ("values", "name", "role"),
    [
        # Row numbers, also of the rows that a split has left.
        (range(100), "c", "id"),
        ([number for number in range(200) if number % 5], "c", "id"),
        (range(0, 100_000, 997), "passenger_id", "id"),
        (range(0, 100_000, 997), "PassengerId", "id"),
        (range(0, 100_000, 997), "distance", "numeric"),
        (range(0, 100_000, 997), "acid", "numeric"),
        # Customers that come again are no row's name.
        ([*range(0, 100_000, 997), 0], "customer_id", "numeric"),
        (np.linspace(0, 1, 100), "id", "numeric"),
        (range(50), "c", "numeric"),
    ],
)
def test_whole_numbers_that_name_the_rows_are_an_id(values: Any, name: str, role: str, found: Callable):
    assert found(list(values), name=name).role == role


@pytest.mark.parametrize(
    ("name", "id_name"),
    [("id", True), ("ID", True), ("user_id", True), ("userId", True), ("order-key", True), ("Unnamed: 0", True),
     ("paid", False), ("valid", False), ("idle", False), ("width", False), ("keys", False)],
)  # fmt: skip
def test_names_of_identifiers(name: str, id_name: bool):
    assert looks_like_id(name) is id_name


@pytest.mark.parametrize(
    ("values", "role"),
    [
        (pd.to_datetime(["2021-01-31", None]), "datetime"),
        (pd.to_datetime(["2021-01-31", "2021-02-01"]).tz_localize("Europe/Vienna"), "datetime"),
        ([None, date(2021, 1, 31), date(2021, 2, 1)], "datetime"),
        (pd.to_timedelta(["1 day", "2 days"]), "nested"),
        ([time(12, 30), time(12, 31)], "nested"),
        ([None, [1, 2]], "nested"),
        ([{"a": 1}, {"a": 2}], "nested"),
        ([np.array([1, 2]), np.array([1])], "nested"),
        ([bytearray(b"a"), bytearray(b"b")], "nested"),
    ],
)
def test_times_and_values_that_no_model_reads_are_told(values: Any, role: str, found: Callable):
    assert found(values).role == role


def test_times_have_the_earliest_and_the_latest(found: Callable):
    column = found(pd.to_datetime(["2021-03-01 12:30", "2020-01-31 00:00", None]))
    assert (column.origin, column.last, column.missing) == ("2020-01-31 00:00:00", "2021-03-01 12:30:00", True)


@pytest.mark.parametrize(
    ("values", "form", "low", "high"),
    [
        (["1", "2.5", "?", " 3 ", ""], "", 1.0, 3.0),
        (["1e3", "-2.5E-1", "+7", ".5", "0", "5."], "", -0.25, 1000.0),
        (["1,5", "2,25", "1.234,5", "7"], "decimal comma", 1.5, 1234.5),
        (["1,234", "12,345,678.5", "7"], "thousands", 7.0, 12345678.5),
    ],
)
def test_numbers_written_as_text_are_numeric(values: list, form: str, low: float, high: float, found: Callable):
    column = found(values, "object")
    assert (column.role, column.format, column.low, column.high) == ("numeric", form, low, high)


@pytest.mark.parametrize(
    ("values", "form", "first", "last"),
    [
        (["2021-01-31", "2020-02-29 23:59:59", "?"], "", "2020-02-29 23:59:59", "2021-01-31 00:00:00"),
        (["31.12.2020", "01.02.2021"], "%d.%m.%Y", "2020-12-31 00:00:00", "2021-02-01 00:00:00"),
        (["12/31/2020", "01/02/2021"], "%m/%d/%Y", "2020-12-31 00:00:00", "2021-01-02 00:00:00"),
        (["31/12/2020", "01/02/2021"], "%d/%m/%Y", "2020-12-31 00:00:00", "2021-02-01 00:00:00"),
        (["31.12.2020 08:15", "01.02.2021 00:00"], "%d.%m.%Y %H:%M", "2020-12-31 08:15:00", "2021-02-01 00:00:00"),
    ],
)
def test_dates_written_as_text_are_times(values: list, form: str, first: str, last: str, found: Callable):
    column = found(values, "object")
    assert (column.role, column.format, column.origin, column.last) == ("datetime", form, first, last)


def test_a_late_cell_decides_between_two_ways_of_writing_dates(found: Callable):
    """The first thousand fit both; the day of the last one is no month."""
    values = [f"{1 + i % 12:02d}/{1 + i % 11:02d}/2021" for i in range(2_000)]
    assert found(values, "object").format == "%m/%d/%Y"
    assert found([*values, "25/01/2021"], "object").format == "%d/%m/%Y"


def test_a_late_text_makes_numbers_a_text_and_is_told(described: Callable):
    column, [finding] = described([str(number % 7) for number in range(2_000)] + ["eleven"], "object")
    assert (column.role, finding.code, finding.count) == ("categorical", "mixed", 1)
    assert finding.message == (
        "'c' holds numbers but for 1 cells such as 'eleven', so it is read as text; name words for missing cells by "
        "read='nullstr=...', or mend the cells by query."
    )


def test_codes_with_leading_zeros_are_no_mistake_in_numbers(described: Callable):
    """Postal codes: a tenth begins with a zero. Words among them are still told, and so is one zero too many."""
    codes = [f"{number:05d}" for number in range(2_000, 97_000, 190)]
    assert described(codes, "object")[1] == ()
    [finding] = described([*codes[1:], "foreign"], "object")[1]
    assert finding.code == "mixed"
    [finding] = described([str(number) for number in range(1_000, 1_100)] + ["007"], "object")[1]
    assert (finding.code, finding.count) == ("mixed", 1)


@pytest.mark.parametrize(
    ("values", "unit", "role"),
    [
        ([f"{number}.000,50 €" for number in range(1, 300)], "€", "text"),
        ([f"${number},000.50" for number in range(1, 300)], "$", "id"),
        (["5 kg", "12.5 kg", None, "3kg"], "kg", "categorical"),
    ],
)
def test_numbers_with_a_unit_are_told(values: list, unit: str, role: str, described: Callable):
    column, [finding] = described(values, "object", "price net")
    assert (column.role, finding.code, finding.count) == (role, "unit", sum(value is not None for value in values))
    assert finding.message == (
        f"'price net' holds numbers with '{unit}' beside them, so it is not read as numbers; take it off, such as by "
        f'-P query="SELECT * REPLACE (replace(\\"price net\\", \'{unit}\', \'\') AS \\"price net\\") FROM data".'
    )


@pytest.mark.parametrize(
    "texts",
    [["5 kg", "7 lb"], ["A12", "A13"], ["+49 515 32", "+49 144 10"], ["$5 k", "$6 k"], ["2 x 3 cm"], []],
)
def test_texts_without_one_common_unit_have_none(texts: list):
    assert unit_of(texts) == ""


def test_days_and_months_that_cannot_be_told_apart_are_told(described: Callable):
    column, [finding] = described(["05/05/2021", "03/04/2021", "04/03/2021", None], "object")
    assert column.format == "%m/%d/%Y"
    assert (finding.code, finding.count, finding.share) == ("ambiguous_dates", 2, 0.5)
    assert finding.message == (
        "every cell of 'c' is a date by %m/%d/%Y and by %d/%m/%Y; the first is taken, so that '03/04/2021' is "
        "2021-03-04; if it is the other, say read='dateformat=%d/%m/%Y', or make the date by query."
    )
    _, [finding] = described(["05/05/2021 10:00", "03/04/2021 11:00"], "object")
    assert "read='timestampformat=%d/%m/%Y %H:%M'" in finding.message


@pytest.mark.parametrize(
    "cells", [["05/05/2021", "06/06/2021"], ["03/04/2021", "25/04/2021"], ["03/04/2021", "04/25/2021"]]
)
def test_days_and_months_that_can_be_told_apart_are_no_finding(cells: list, described: Callable):
    assert described(cells, "object")[1] == ()


def test_readings_are_those_that_most_examples_have():
    assert readings_of(["1", "2"])[0] == Reading("numeric")
    assert readings_of(["1,234"]) == [Reading("numeric", "thousands"), Reading("numeric", "decimal comma")]
    assert readings_of(["2021-02-30"] * 9) == []
    assert readings_of(["1"] * 9 + ["x"]) != [] == readings_of(["1"] * 8 + ["x"])
    assert readings_of([]) == []


def test_an_order_is_kept_with_levels_that_do_not_occur(found: Callable):
    assert found(["L", None, "S"], order="c:S<M<L") == Column(
        "c", "ordinal", "VARCHAR", levels=("S", "M", "L"), missing=True, missing_share=1 / 3
    )
    assert found(["M", "M"], order="c:S<M<L").role == "ordinal"


@pytest.mark.parametrize("values", [[1, 3], [1.0, NAN], ["1", "2"], pd.array([1, None], dtype="Int64")])
def test_an_order_of_numbers_holds_whatever_type_they_are_read_in(values: Any, found: Callable):
    assert found(values, order="c:1<2<3").levels == ("1", "2", "3")


@pytest.mark.parametrize(
    ("values", "order", "what"),
    [
        (["S", "XL"], "S<M<L", "holds 'XL', not in its order S<M<L"),
        ([1, 4], "1<2<3", "holds '4', not in its order 1<2<3"),
        (["1", "one"], "1<2<3", "holds 'one', text in a numeric order 1<2<3"),
        ([1.0, 2.5], "1<2<3", "holds '2.5', not in its order 1<2<3"),
    ],
)
def test_a_level_outside_its_order_is_refused(values: list, order: str, what: str, found: Callable, refused: Callable):
    with refused(
        f"ordinal: the column 'c' {what}; add the level to the order, lowest first, or mend the cell by query."
    ):
        found(values, order=f"c:{order}")


@pytest.mark.parametrize(
    ("values", "asked", "role"),
    [
        ([1, 2, 3], "categorical", "categorical"),
        (["1", "2"], "categorical", "categorical"),
        ([1, 2, 3], "id", "id"),
        ([1, 2, 3], "drop", "drop"),
        ([True, False], "numeric", "numeric"),
        (["a b", "c"], "text", "text"),
        (list(range(100)), "numeric", "numeric"),
        (["2021-01-01"], "categorical", "categorical"),
        ([None, None], "numeric", "numeric"),
    ],
)
def test_the_user_may_give_a_role(values: list, asked: str, role: str, found: Callable):
    assert found(values, roles=f"c={asked}").role == role


@pytest.mark.parametrize(
    ("values", "asked", "held"),
    [
        (["1", "eleven", "2"], "numeric", "'eleven'"),
        ([str(i) for i in range(99)] + ["eleven"], "numeric", "'eleven'"),
        (["a"], "datetime", "'a'"),
        ([1, 2], "datetime", "cells of the type BIGINT"),
        ([1, 2], "text", "cells of the type BIGINT"),
        ([[1], [2]], "categorical", "cells of the type INTEGER[]"),
    ],
)
def test_a_role_that_the_cells_cannot_have_is_refused(
    values: list, asked: str, held: str, found: Callable, refused: Callable
):
    with refused(
        f"roles: 'c' cannot be {asked}, it holds {held}; give another role, name words for missing cells by "
        "read='nullstr=...', or mend the cells by query."
    ):
        found(values, roles=f"c={asked}")

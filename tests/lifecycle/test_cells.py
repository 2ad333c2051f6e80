"""Cells that are not written as training's were, read one by one."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from lifecycle.cells import NO_NUMBER, Cells, Counts, Observed, added, plain_pattern, sentinels, tally, values_of
from lifecycle.contract import Column

NUMBER = Column("n", "numeric", "VARCHAR", low=0.0, high=10.0)
DAY = Column("d", "datetime", "VARCHAR", format="%d.%m.%Y")


def test_odd_cells_are_counted_by_what_they_are():
    odd = [
        ("007", 2, 7.0),
        ("x", 3, None),
        ("nan", 4, math.nan),
        ("1_1", 5, None),
        ("inf", 6, math.inf),
        ("-Infinity", 1, -math.inf),
    ]
    odd += [("-03", 7, -3.0), ("-01", 8, -1.0), ("011", 9, 11.0), ("012", 10, 12.0)]
    plain = {"below": Cells(1, "-2"), "above": Cells(1, "15"), "infinite": Cells(1, "inf")}
    assert tally(NUMBER, 100, plain, odd) == Counts(
        missing=104,
        unread=Cells(8, "1_1"),
        odd=Cells(36, "-01"),
        infinite=Cells(8, "-inf"),
        below=Cells(16, "-3"),
        above=Cells(20, "15"),
    )


def test_what_sql_has_counted_stays_where_nothing_is_odd():
    assert tally(NUMBER, 3, {"above": Cells(1, "15")}, []) == Counts(3, above=Cells(1, "15"))


def test_texts_are_read_as_the_models_first_step_reads_them():
    found = values_of(["007", "-999", "-999.0", "abc", "nan"], NUMBER, ("-999",))
    assert found[0] == 7.0
    assert found[3] is None
    assert [math.isnan(found[place]) for place in (1, 2, 4)] == [True] * 3
    times = values_of(["31.01.2021", "2021-01-31T10:00Z", "31.02.2021", "01.01.1900", "NaT"], DAY, ("01.01.1900",))
    assert times[:3] == [np.datetime64("2021-01-31"), np.datetime64("2021-01-31T10:00"), None]
    assert [pd.isna(value) for value in times[3:]] == [True, True]


def test_words_that_are_numbers_or_times_stand_for_such_too():
    words = ("NA", "-999", "01.01.1900", "nan")
    assert sentinels(NUMBER, words) == {-999.0}
    assert sentinels(DAY, words) == {np.datetime64("1900-01-01")}


@pytest.mark.parametrize(
    ("form", "fits", "others"),
    [
        ("", ["2021-01-31", "2021-01-31 23:59:59.5"], ["2021-01-31 24:00", "0000-01-31", "2021-1-31", "epoch"]),
        ("%d.%m.%Y", ["31.01.2021", "1.2.2021"], ["31x01x2021", "31.01.0000", "epoch", "2021-01-31"]),
        ("%b %d, %Y", ["Jan 31, 2021"], ["January 31, 2021", "infinity"]),
        ("%A %d.%m.%Y", [], ["Sunday 31.01.2021", ""]),
    ],
)
def test_times_that_every_reader_understands_are_told_by_their_pattern(form: str, fits: list, others: list):
    pattern = plain_pattern(Column("d", "datetime", "VARCHAR", format=form))
    assert [text for text in [*fits, *others] if re.fullmatch(pattern, text)] == fits


def test_what_python_reads_as_a_number_has_no_hopeless_character():
    for text in ("1e5", "1E+5", "Infinity", "-INF", "NaN", "0.5", "\u0663", "1.234,5", "1 234"):
        assert not re.search(NO_NUMBER, text, flags=re.IGNORECASE)
    for code in range(32, 127):
        text = f"1{chr(code)}"
        if re.search(NO_NUMBER, text, flags=re.IGNORECASE):
            assert values_of([text], NUMBER, ()) == [None]


def test_counts_of_parts_are_added_up():
    one = Counts(1, unread=Cells(2, "x"), below=Cells(1, "-2"), above=Cells(3, "9"), new=Cells(4, "b", 2))
    other = Counts(5, unread=Cells(1, "a"), below=Cells(1, "-10"), above=Cells(1, "11"), new=Cells(1, "c", 1))
    parts = [Observed(("n",), 10, {"n": one}), Observed(("n",), 7, {"n": other}), Observed(("n",), 0)]
    assert added(parts, ["n", "other"], [NUMBER, DAY]) == Observed(
        ("n", "other"),
        17,
        {
            "n": Counts(
                6,
                unread=Cells(3, "a"),
                below=Cells(2, "-10"),
                above=Cells(4, "11"),
                new=Cells(5, "b", 2),
            )
        },
    )
    assert added([], ["n"], [NUMBER]) == Observed(("n",), 0)

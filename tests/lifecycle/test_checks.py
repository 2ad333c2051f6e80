"""What a later table does against its contract, judged from counts made by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lifecycle.cells import Cells, Counts, Observed
from lifecycle.checks import Breach, as_frame, errors_of, judge, refuse, said, told
from lifecycle.contract import RULES, Column, Contract

COLUMNS = (
    Column("age", "numeric", "BIGINT", low=18.0, high=90.5, missing=True, missing_share=0.1),
    Column("day", "datetime", "DATE", missing_share=0.0),
    Column("city", "categorical", "VARCHAR", levels=("Bonn", "Ulm"), missing_share=0.0),
    Column("size", "ordinal", "VARCHAR", levels=("S", "M"), missing_share=0.0),
    Column("key", "id", "VARCHAR", missing_share=0.0),
)
CONTRACT = Contract("y", "regression", (), None, "random", columns=COLUMNS)
FEATURES = ("age", "day", "city", "size")


def judged(names: tuple[str, ...] = FEATURES, rows: int = 40, contract: Contract = CONTRACT, **counts: Counts) -> list:
    """Judge a table; columns of which nothing is said have nothing wrong."""
    columns = {name: counts.get(name, Counts()) for name in FEATURES if name in names}
    return judge(contract, Observed(names, rows, columns))


def test_a_table_like_training_breaches_nothing():
    assert judged() == []
    assert said(judged()) == "none"
    refuse(judged(), "data")


@pytest.mark.parametrize(
    ("column", "counts", "code", "rule", "count", "share", "example", "message"),
    [
        (
            "age",
            Counts(unread=Cells(10, "old")),
            *("unreadable", "error", 10, 0.25, "old"),
            "the column 'age' is numeric, but holds what is not a number in 10 of 40 rows (25.0%), such as 'old'.",
        ),
        (
            "day",
            Counts(unread=Cells(1, "soon")),
            *("unreadable", "error", 1, 0.025, "soon"),
            "the column 'day' is datetime, but holds what is not a time in 1 of 40 rows (2.5%), such as 'soon'.",
        ),
        (
            "age",
            Counts(infinite=Cells(2, "-inf")),
            *("infinite", "error", 2, 0.05, "-inf"),
            "the column 'age' is infinite in 2 of 40 rows (5.0%), such as -inf.",
        ),
        (
            "age",
            Counts(below=Cells(4, "-1")),
            *("below", "warning", 4, 0.1, "-1"),
            "the column 'age' is under 18, the least of training, in 4 of 40 rows (10.0%), down to -1.",
        ),
        (
            "age",
            Counts(above=Cells(40, "120")),
            *("above", "warning", 40, 1.0, "120"),
            "the column 'age' is over 90.5, the most of training, in 40 of 40 rows (100.0%), up to 120.",
        ),
        (
            "city",
            Counts(new=Cells(3, "Köln", 2)),
            *("new_level", "warning", 3, 0.075, "Köln"),
            "the column 'city' holds 2 levels that training does not have, in 3 of 40 rows (7.5%), such as 'Köln'.",
        ),
        (
            "size",
            Counts(new=Cells(3, "XL", 1)),
            *("not_in_order", "error", 3, 0.075, "XL"),
            "the column 'size' holds 1 level that its order does not have, in 3 of 40 rows (7.5%), such as 'XL'.",
        ),
        (
            "age",
            Counts(missing=7),
            *("more_missing", "warning", 7, 0.175, ""),
            "the column 'age' is missing in 7 of 40 rows (17.5%), in training in 10.0%.",
        ),
    ],
)
def test_each_breach_is_told_with_its_figures(
    column: str, counts: Counts, code: str, rule: str, count: int, share: float, example: str, message: str
):
    assert judged(**{column: counts}) == [Breach(code, column, rule, count, share, example, message)]


def test_odd_ways_of_writing_alone_are_no_breach():
    assert judged(age=Counts(odd=Cells(5, "007"))) == []


@pytest.mark.parametrize(
    ("share", "margin", "missing", "breached"),
    [
        (0.1, 0.05, 6, False),
        (0.1, 0.05, 7, True),
        (0.0, 0.05, 2, False),
        (0.0, 0.05, 3, True),
        (0.1, 0.5, 24, False),
        (0.1, 0.5, 25, True),
        (0.0, 0.0, 1, True),
        (1.0, 0.0, 40, False),
        (None, 0.0, 40, False),
    ],
)
def test_missing_cells_may_be_more_than_in_training_by_the_margin(
    share: float | None, margin: float, missing: int, breached: bool
):
    column = replace(COLUMNS[0], missing_share=share)
    contract = replace(CONTRACT, columns=(column,), missing_margin=margin)
    found = judged(("age",), contract=contract, age=Counts(missing=missing))
    assert [one.code for one in found] == ["more_missing"] * breached


def test_a_column_that_models_read_must_be_there():
    found = judged(("Age", "day", "town", "size"))
    assert [(one.code, one.column, one.rule, one.count, one.share, one.message) for one in found] == [
        ("missing_column", "age", "error", 40, 1.0, "the column 'age' is absent, near it is 'Age'."),
        ("missing_column", "city", "error", 40, 1.0, "the column 'city' is absent."),
        ("extra_column", "Age", "warning", 40, 1.0, "the column 'Age' is new, and models do not read it."),
        ("extra_column", "town", "warning", 40, 1.0, "the column 'town' is new, and models do not read it."),
    ]


@pytest.mark.parametrize("names", [("key",), ("y",), ("customer_id",), ("key", "y", "row_nr")])
def test_the_target_and_columns_that_no_model_reads_may_come_and_go(names: tuple):
    assert judged((*names, *FEATURES)) == []


def test_an_empty_table_is_told_once():
    [found] = judged(rows=0)
    assert (found.code, found.rule, found.count, found.share) == ("empty", "error", 0, 1.0)
    assert [one.code for one in judged(("age",), rows=0)] == ["empty", *["missing_column"] * 3]


MANY = {
    "age": Counts(missing=30, unread=Cells(1, "x"), below=Cells(2, "0")),
    "city": Counts(new=Cells(9, "Rom", 3)),
}


def test_the_contracts_own_rules_decide():
    assert [one.rule for one in judged(**MANY)] == ["error", "warning", "warning", "warning"]
    rules = RULES | {"unreadable": "warning", "below": "ignore", "new_level": "error"}
    found = judged(contract=replace(CONTRACT, rules=rules), **MANY)
    assert [(one.code, one.rule) for one in found] == [
        ("unreadable", "warning"),
        ("more_missing", "warning"),
        ("new_level", "error"),
    ]
    assert [one.code for one in errors_of(found)] == ["new_level"]
    silent = replace(CONTRACT, rules=dict.fromkeys(RULES, "ignore"))
    assert judged((), rows=0, contract=silent) == judged(contract=silent, **MANY) == []


def test_errors_are_refused_in_one_sentence_and_warnings_pass(refused: Callable):
    with refused(
        "data: the table breaks the contract of the training table: the column 'size' is absent; the column 'age' is "
        "numeric, but holds what is not a number in 1 of 40 rows (2.5%), such as 'x'; mend it, for example by query."
    ):
        refuse(judged(("age", "day", "city"), **MANY), "data")
    refuse(judged(city=MANY["city"]), "data")


def test_of_many_errors_five_are_named(refused: Callable):
    columns = tuple(Column(f"c{place}", "text", "VARCHAR") for place in range(7))
    found = judge(replace(CONTRACT, columns=columns), Observed((), 3))
    named = "; ".join(f"the column 'c{place}' is absent" for place in range(5))
    with refused(
        f"b: the table breaks the contract of the training table: {named}; and 2 more; mend it, for example by query."
    ):
        refuse(found, "b")


def test_breaches_are_told_in_a_line_and_in_a_table():
    found = judged(**MANY)
    assert said(found) == "unreadable age 2.5%, below age 5.0%, more_missing age 75.0%, new_level city 22.5%"
    assert said(judged(rows=0)) == "empty 100.0%"
    frame = as_frame(found)
    assert frame.columns.tolist() == ["code", "column", "rule", "count", "share", "example", "message"]
    assert frame[["code", "count", "share"]].to_numpy().tolist()[0] == ["unreadable", 1, 0.025]
    assert as_frame([]).columns.tolist() == frame.columns.tolist()


def test_of_many_warnings_the_worst_are_told_and_the_rest_counted():
    """A random split of a wide table puts the least number of a hundred columns among the test rows."""
    columns = tuple(Column(f"c{place}", "numeric", "DOUBLE", low=0.0, high=1.0) for place in range(6))
    counts = {f"c{place}": Counts(below=Cells(place + 1, "-1")) for place in range(6)} | {"c0": Counts(missing=9)}
    found = judge(replace(CONTRACT, columns=columns), Observed(tuple(counts), 40, counts))
    assert told(found)[:4] == [
        "warning below: the column 'c5' is under 0, the least of training, in 6 of 40 rows (15.0%), down to -1.",
        "warning below: the column 'c4' is under 0, the least of training, in 5 of 40 rows (12.5%), down to -1.",
        "warning below: the column 'c3' is under 0, the least of training, in 4 of 40 rows (10.0%), down to -1.",
        "warning below: 2 more columns do so, see prepared/breaches.csv.",
    ]
    assert told(found[:4])[-1] == "warning below: 1 more column does so, see prepared/breaches.csv."
    assert told([]) == []

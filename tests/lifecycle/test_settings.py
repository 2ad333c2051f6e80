"""What a user may set: what is refused and in which words, and what makes two pieces of work the same."""

import dataclasses
import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from lifecycle.settings import (
    Ordinal,
    SearchSettings,
    TableSettings,
    digest,
    one_of,
    parse_names,
    parse_ordinal,
    step_key,
    table_key,
)


def table(**changes: Any) -> TableSettings:
    """Make settings that are right but for the changes."""
    return TableSettings(**{"data": "trips.csv", "target": "duration", **changes})


def search(**changes: Any) -> SearchSettings:
    """Make settings that are right but for the changes."""
    return SearchSettings(**{"models": ("rf",), "metric": "f1", "max_evals": 8, **changes})


# ------------------------------------------------------------------------------------ typed lists


@pytest.mark.parametrize("text", ["", "  ", ";", " ; ;"])
def test_no_order_is_no_order(text: str):
    assert parse_ordinal(text) == ()


def test_orders_are_read_lowest_first_without_blanks_around_names():
    assert parse_ordinal(" Size : S< M <L ;Class:Low Income<High Income;") == (
        Ordinal("Size", ("S", "M", "L")),
        Ordinal("Class", ("Low Income", "High Income")),
    )


def test_the_last_colon_parts_column_from_levels():
    assert parse_ordinal("time:zone:early<late") == (Ordinal("time:zone", ("early", "late")),)


@pytest.mark.parametrize("part", ["Size", "S<M<L", "Size:", "Size:S", ":S<M", "Size:S<", "Size:<M", "Size:S<<L"])
def test_what_is_no_order_is_refused_with_the_form(part: str, refused: Callable):
    with refused(
        f"ordinal: {part!r} is not of the form Column:low<middle<high; "
        "give at least two levels, lowest first, and separate columns by a semicolon."
    ):
        parse_ordinal(f"Grade:1<2; {part}")


def test_a_level_or_a_column_that_stands_twice_is_refused(refused: Callable):
    with refused("ordinal: 'Size:S<M<S' names a level twice; name each level once, lowest first."):
        parse_ordinal("Size:S<M<S")
    with refused("ordinal: the column 'Size' stands twice; give it one order."):
        parse_ordinal("Size:S<M; Size :M<S")


def test_names_are_split_at_commas():
    assert parse_names(" a, b c ,,d,") == ("a", "b c", "d")
    assert parse_names(" ") == ()


def test_a_known_value_is_handed_back():
    assert one_of("algo", "rand", ("tpe", "rand")) == "rand"


def test_an_unknown_value_is_refused_with_the_known_and_the_nearest(refused: Callable):
    with refused("algo: 'rnd' is not known; use one of tpe, rand, anneal. Did you mean rand?"):
        one_of("algo", "rnd", ("tpe", "rand", "anneal"))
    with refused("algo: 'grid' is not known; use one of tpe, rand, anneal."):
        one_of("algo", "grid", iter(["tpe", "rand", "anneal"]))
    with refused("algo: '' is not known; use one of tpe, rand, anneal."):
        one_of("algo", "", ("tpe", "rand", "anneal"))


# --------------------------------------------------------------------------------------- refusals

SPLIT_KINDS = "auto, random, stratified, group, time, hash"
WRONG_TABLES = [
    (
        {"task": "regresion"},
        "task: 'regresion' is not known; use one of auto, classification, regression. Did you mean regression?",
    ),
    ({"split": "tme"}, f"split: 'tme' is not known; use one of {SPLIT_KINDS}. Did you mean time?"),
    ({"test_size": 0.0}, "test_size: 0 is outside 0 to 1; give the test rows' share, such as 0.2."),
    ({"test_size": 1.0}, "test_size: 1 is outside 0 to 1; give the test rows' share, such as 0.2."),
    ({"test_size": -0.25}, "test_size: -0.25 is outside 0 to 1; give the test rows' share, such as 0.2."),
    ({"test_size": float("nan")}, "test_size: nan is outside 0 to 1; give the test rows' share, such as 0.2."),
    ({"folds": 1}, "folds: 1 is too few for cross-validation; give 2 or more, such as 5."),
    ({"seed": -1}, "seed: -1 is outside 0 to 4294967295; give a whole number in that range."),
    ({"seed": 2**32}, "seed: 4294967296 is outside 0 to 4294967295; give a whole number in that range."),
    (
        {"split": "group"},
        "split_column: a group split needs a column and none was given; name the one that holds the groups.",
    ),
    (
        {"split": "time"},
        "split_column: a time split needs a column and none was given; name the one that holds the times.",
    ),
    (
        {"split": "random", "split_column": "day"},
        "split_column: 'day' was given, but split=random reads no column; "
        "set split to group, time or hash, or leave split_column out.",
    ),
    (
        {"target": ""},
        "target: 'trips.csv' is not a sample, so its target is not known; give the name of the column to predict.",
    ),
    (
        {"drop": ("day", "duration")},
        "drop: 'duration' is the target; leave it out of drop, or choose another target.",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG_TABLES)
def test_a_table_setting_that_cannot_be_right_is_refused(changes: dict, sentence: str, refused: Callable):
    with refused(sentence):
        table(**changes)


def test_a_column_for_a_split_that_reads_none_is_refused_whatever_the_split(refused: Callable):
    for split in ("auto", "stratified"):
        with refused(
            f"split_column: 'day' was given, but split={split} reads no column; "
            "set split to group, time or hash, or leave split_column out."
        ):
            table(split=split, split_column="day")


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 0},
        {"seed": 2**32 - 1},
        {"folds": 2},
        {"test_size": 0.001},
        {"test_size": 0.999},
        {"split": "hash"},
        {"split": "hash", "split_column": "id"},
        {"split": "group", "split_column": "id"},
        {"split": "time", "split_column": "day", "drop": ("day",)},
    ],
)
def test_settings_at_the_edge_are_taken(changes: dict):
    settings = table(**changes)
    assert {name: getattr(settings, name) for name in changes} == changes


WRONG_SEARCHES = [
    ({"algo": "tpee"}, "algo: 'tpee' is not known; use one of tpe, rand, anneal, atpe. Did you mean tpe?"),
    ({"select_on": "train"}, "select_on: 'train' is not known; use one of cv, test."),
    ({"engine": "sparc"}, "engine: 'sparc' is not known; use one of local, spark. Did you mean spark?"),
    ({"log_models": "bests"}, "log_models: 'bests' is not known; use one of best, all. Did you mean best?"),
    ({"max_evals": 0}, "max_evals: 0 trials cannot find anything; give 1 or more, such as 16."),
    ({"parallelism": 0}, "parallelism: 0 cannot run a trial; give 1 or more."),
    ({"timeout": 0.0}, "timeout: 0 seconds leave no time; give more than 0, such as 600."),
    ({"timeout": -2.5}, "timeout: -2.5 seconds leave no time; give more than 0, such as 600."),
    ({"timeout": float("nan")}, "timeout: nan seconds leave no time; give more than 0, such as 600."),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG_SEARCHES)
def test_a_search_setting_that_cannot_be_right_is_refused(changes: dict, sentence: str, refused: Callable):
    with refused(sentence):
        search(**changes)


def test_the_smallest_search_is_taken():
    assert search(max_evals=1, parallelism=1, timeout=0.1).max_evals == 1


@pytest.mark.parametrize("settings", [table(), search()])
def test_settings_do_not_change_once_built(settings: Any):
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'seed'"):
        settings.seed = 1


# ------------------------------------------------------------------------------------------- keys


def test_a_digest_is_of_canonical_json():
    text = '{"a":[true,null,"é"],"b":0.5}'
    assert digest({"b": 0.5, "a": (True, None, "é")}) == hashlib.sha256(text.encode()).hexdigest()


BASE = table()
# Every setting that decides what is in a prepared table, changed.
OTHER_TABLES = {
    "target": {"target": "fare"},
    "query": {"query": "SELECT * FROM data"},
    "task": {"task": "regression"},
    "split": {"split": "random"},
    "split_column": {"split": "hash", "split_column": "id"},
    "test_size": {"test_size": 0.25},
    "folds": {"folds": 4},
    "seed": {"seed": 43},
    "positive": {"positive": "yes"},
    "drop": {"drop": ("id",)},
    "ordinal": {"ordinal": (Ordinal("Size", ("S", "M")),)},
    "test_data": {"test_data": "february.csv"},
    "roles": {"roles": (("zip", "categorical"),)},
    "read": {"read": "skip=1"},
    "strict": {"strict": True},
    "dialect": {"dialect": "spark"},
}


def test_every_table_setting_is_spoken_for():
    fields = {field.name for field in dataclasses.fields(TableSettings)}
    assert fields == {*OTHER_TABLES, "data", "of_the_sample", "nullstr"}
    # Who named the columns does not change what becomes of them.
    assert table_key("d", table(of_the_sample=("drop",)), "c") == table_key("d", BASE, "c")
    # It is of `read`, which does.
    assert table_key("d", table(nullstr=("x",)), "c") == table_key("d", BASE, "c")


@pytest.mark.parametrize("name", OTHER_TABLES)
def test_a_table_setting_changes_the_tables_key(name: str):
    assert table_key("d", table(**OTHER_TABLES[name]), "c") != table_key("d", BASE, "c")


def test_the_tables_key_is_of_bytes_and_code_and_not_of_names():
    key = table_key("d", BASE, "c")
    assert re.fullmatch("[0-9a-f]{64}", key)
    assert table_key("d", table(), "c") == key
    assert table_key("d", table(data="/elsewhere/trips.csv"), "c") == key
    assert table_key("D", BASE, "c") != key
    assert table_key("d", BASE, "C") != key
    # What is bytes and what is code is told apart.
    assert table_key("c", BASE, "d") != key
    february = table_key("d", table(test_data="february.csv"), "c")
    assert table_key("d", table(test_data="/elsewhere/february.csv"), "c") == february


def test_the_order_of_levels_and_of_columns_is_part_of_the_tables_key():
    def key(text: str) -> str:
        return table_key("d", table(ordinal=parse_ordinal(text)), "c")

    assert len({key("a:1<2"), key("a:2<1"), key("b:1<2")}) == 3


OWN = dataclasses.asdict(search())
STEP = step_key("tune_multi", "t", OWN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_evals", 9),
        ("timeout", 1.0),
        ("parallelism", 2),
        ("engine", "spark"),
        ("log_models", "all"),
        ("fresh", True),
    ],
)
def test_how_far_and_how_fast_a_search_goes_does_not_change_its_key(name: str, value: Any):
    assert step_key("tune_multi", "t", OWN | {name: value}) == STEP


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("models", ("rf", "svm")),
        ("metric", "accuracy"),
        ("algo", "rand"),
        ("select_on", "test"),
        ("seed", 43),
        ("something_new", 1),
    ],
)
def test_what_decides_the_trials_changes_the_key(name: str, value: Any):
    assert step_key("tune_multi", "t", OWN | {name: value}) != STEP


def test_step_and_table_change_the_steps_key_and_the_order_of_settings_does_not():
    assert re.fullmatch("[0-9a-f]{64}", STEP)
    assert step_key("tune_lr", "t", OWN) != STEP
    assert step_key("tune_multi", "u", OWN) != STEP
    assert step_key("tune_multi", "t", dict(reversed(OWN.items()))) == STEP

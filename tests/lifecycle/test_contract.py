"""What a table is found to be: the roles of its columns, its task, its labels, and what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_series_equal

from lifecycle.contract import (
    RULES,
    Column,
    Contract,
    check_finite,
    check_header,
    find_positive,
    find_task,
    labels_of,
)
from lifecycle.settings import TableSettings, parse_ordinal

NAN = np.nan


@pytest.mark.parametrize(
    ("values", "dtype", "found"),
    [([1.0, np.inf], "float64", "inf"), ([NAN, -np.inf], "float64", "-inf"), ([1.0, np.inf], "Float64", "inf")],
)
def test_an_infinite_number_is_refused(values: list, dtype: str, found: str, refused: Callable):
    with refused(f"data: the column 'c' holds {found}; replace infinite numbers, for example by query."):
        check_finite(pd.Series(values, name="c", dtype=dtype), "data")


@pytest.mark.parametrize(
    "column", [pd.Series([1.0, NAN]), pd.Series([1, None], dtype="Int64"), pd.Series(["inf"]), pd.Series([True])]
)
def test_what_is_not_infinite_passes(column: pd.Series):
    check_finite(column, "data")


# ------------------------------------------------------------------------------------------- task


@pytest.mark.parametrize(
    ("values", "dtype", "task"),
    [
        (["a", "b"], object, "classification"),
        ([True, False], bool, "classification"),
        ([True, False], "boolean", "classification"),
        (["a", "b"], "category", "classification"),
        (range(10), "int64", "classification"),
        (range(11), "int64", "regression"),
        ([1.0, 2.0], "float64", "classification"),
        ([1.0, 2.5], "float64", "regression"),
        ([1, 2], "Int64", "classification"),
        (range(0, 1100, 100), "Int64", "regression"),
    ],
)
def test_few_whole_numbers_and_whatever_is_no_number_make_classes(values: Any, dtype: Any, task: str):
    assert find_task(pd.Series(values, dtype=dtype), "auto") == task


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_task_asked_for_is_taken(task: str):
    assert find_task(pd.Series([0.5, 1.5]), task) == task
    assert find_task(pd.Series(["a", "b"]), task) == task


# ----------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (["Yes", "No"], object, pd.Series(["Yes", "No"], dtype=object)),
        (["Yes", "No"], "category", pd.Series(["Yes", "No"], dtype="category")),
        (["Yes", "No"], "string", pd.Series(["Yes", "No"], dtype=object)),
        ([True, False], bool, pd.Series([True, False])),
        ([True, False], "boolean", pd.Series([True, False])),
        ([1.0, 0.0], "float64", pd.Series([1, 0])),
        ([1, 0], "Int64", pd.Series([1, 0])),
        ([1, 0], "int8", pd.Series([1, 0])),
    ],
)
def test_classes_keep_the_targets_own_labels(values: list, dtype: Any, expected: pd.Series):
    assert_series_equal(labels_of(pd.Series(values, dtype=dtype), "classification", "y"), expected)


@pytest.mark.parametrize("dtype", ["int64", "float32", "Int64", "float64"])
def test_a_quantity_becomes_float64(dtype: str):
    assert_series_equal(labels_of(pd.Series([3, 1], dtype=dtype), "regression", "y"), pd.Series([3.0, 1.0]))


def test_a_hundred_classes_are_enough(refused: Callable):
    assert labels_of(pd.Series([f"c{i}" for i in range(100)]), "classification", "y").nunique() == 100
    with refused(
        "target: 'y' has 101 distinct values, too many for classes (at most 100); "
        "set task=regression if it is a quantity, or choose another target."
    ):
        labels_of(pd.Series(range(101)), "classification", "y")


@pytest.mark.parametrize(
    ("values", "task", "sentence"),
    [
        ([], "regression", "target: every cell of 'y' is missing; choose a column that holds values."),
        (["a"] * 2, "classification", "target: 'y' is constant, every row has 'a'; choose a column that varies."),
        (
            ["a", "b"],
            "regression",
            "task: regression needs numbers, but 'y' holds 'a'; set task=classification or choose a numeric target.",
        ),
    ],
)
def test_a_target_that_does_not_fit_is_refused(values: list, task: str, sentence: str, refused: Callable):
    with refused(sentence):
        labels_of(pd.Series(values), task, "y")


@pytest.mark.parametrize(
    ("values", "task", "sentence"),
    [
        ([7, 7], "classification", "target: 'y' is constant, every row has 7; choose a column that varies."),
        ([0.5] * 2, "regression", "target: 'y' is constant, every row has 0.5; choose a column that varies."),
        ([True] * 2, "classification", "target: 'y' is constant, every row has True; choose a column that varies."),
        (
            [True, False],
            "regression",
            "task: regression needs numbers, but 'y' holds True; set task=classification or choose a numeric target.",
        ),
        (
            [1.0, 2.5],
            "classification",
            "task: classification needs labels, but 'y' holds the fraction 2.5; set task=regression.",
        ),
    ],
    ids=["whole", "fraction", "boolean", "boolean regressed", "fraction classified"],
)
def test_a_refused_number_is_shown_as_the_table_has_it(values: list, task: str, sentence: str, refused: Callable):
    """And not as NumPy writes it."""
    with refused(sentence):
        labels_of(pd.Series(values), task, "y")


# --------------------------------------------------------------------------------- positive class


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        ([0, 0, 1], 1),
        ([0, 1, 1, 1], 1),
        ([1, 2, 2, 2], 1),
        ([False, True, True], True),
        (["yes", "yes", "no"], "yes"),
        (["No", "YES", "YES"], "YES"),
        (["FALSE", "True", "True"], "True"),
        (["no", "1", "1"], "1"),
        (["stays", "leaves", "stays"], "leaves"),
        (["a", "b", "b"], "a"),
        (["a", "b"], "b"),
        ([2, 3], 3),
        ([0, 1, 2], None),
        (["yes", "no", "perhaps"], None),
    ],
)
def test_the_positive_class_is_1_true_or_yes_else_the_rarer_else_the_later(labels: list, positive: Any):
    chosen = find_positive(pd.Series(labels), "")
    assert chosen == positive
    assert type(chosen) is type(positive)


@pytest.mark.parametrize(
    ("labels", "asked", "positive"),
    [
        ([0, 1], "0", 0),
        ([False, True], "false", False),
        (["Yes", "No"], "no", "No"),
        (["Yes", "No"], "No", "No"),
    ],
)
def test_the_positive_class_may_be_chosen_in_any_case(labels: list, asked: str, positive: Any):
    chosen = find_positive(pd.Series(labels), asked)
    assert chosen == positive
    assert type(chosen) is type(positive)


def test_of_labels_that_differ_in_case_alone_the_one_typed_is_meant():
    labels = pd.Series(["Yes", "yes", "yes"])
    assert find_positive(labels, "Yes") == "Yes"
    assert find_positive(labels, "yes") == "yes"


def test_a_positive_class_that_cannot_be_is_refused(refused: Callable):
    with refused("positive: 'maybe' is no class of the target; the classes are no, yes."):
        find_positive(pd.Series(["yes", "no"]), "maybe")
    with refused(
        "positive: 'b' was given, but the target has 3 classes, whose metrics are macro averages; leave positive out."
    ):
        find_positive(pd.Series(["a", "b", "c"]), "b")


# ----------------------------------------------------------------------------------------- header

NAMES = ["Age", "Income", "Churned"]


def asked(**changes: Any) -> TableSettings:
    """Make settings for a table of the names above."""
    return TableSettings(**{"data": "t.csv", "target": "Churned", **changes})


def test_a_header_that_fits_passes():
    settings = asked(drop=("Age",), ordinal=parse_ordinal("Income:low<high"), split="group", split_column="Age")
    check_header(NAMES, settings, rows=1)


@pytest.mark.parametrize(
    ("names", "settings", "sentence"),
    [
        (["Age", "Age", "Churned"], asked(), "data: the column 'Age' stands twice in 't.csv'; rename one of them."),
        (
            ["Age", "AGE", "Churned"],
            asked(),
            "data: the column 'AGE' stands twice in 't.csv' (as 'Age': case does not tell columns apart); "
            "rename one of them.",
        ),
        (
            ["Straße", "STRASSE", "Churned"],
            asked(),
            "data: the column 'STRASSE' stands twice in 't.csv' (as 'Straße': case does not tell columns apart); "
            "rename one of them.",
        ),
        (
            ["__fold__", "Churned"],
            asked(),
            "data: 't.csv' has a column named '__fold__', which the prepared table keeps for the folds; "
            "rename it, for example by query.",
        ),
        (
            NAMES,
            asked(target="Churn"),
            "target: there is no column 'Churn' in 't.csv'; near it are Churned.",
        ),
        (
            NAMES,
            asked(target="xyz"),
            "target: there is no column 'xyz' in 't.csv'; the columns are Age, Income, Churned.",
        ),
        (
            NAMES,
            asked(target="churned"),
            "target: there is no column 'churned' in 't.csv'; names are told apart by case, there is 'Churned'.",
        ),
        (
            NAMES,
            asked(drop=("Age", "Incme")),
            "drop: there is no column 'Incme' in 't.csv'; near it are Income.",
        ),
        (
            NAMES,
            asked(drop=("xyz",)),
            "drop: there is no column 'xyz' in 't.csv'; the columns are Age, Income, Churned.",
        ),
        (
            NAMES,
            asked(ordinal=parse_ordinal("Incom:1<2")),
            "ordinal: there is no column 'Incom' in 't.csv'; near it are Income.",
        ),
        (
            NAMES,
            asked(split="time", split_column="Agee"),
            "split_column: there is no column 'Agee' in 't.csv'; near it are Age.",
        ),
    ],
)
def test_a_header_that_cannot_be_worked_with_is_refused(
    names: list, settings: TableSettings, sentence: str, refused: Callable
):
    with refused(sentence):
        check_header(names, settings, rows=3)


def test_many_columns_are_cut_in_the_sentence(refused: Callable):
    with refused(
        "target: there is no column 'xyz' in 't.csv'; "
        "the columns are q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11 and 18 more."
    ):
        check_header([f"q{i}" for i in range(30)], asked(target="xyz"), rows=3)


def test_a_header_without_rows_is_refused(refused: Callable):
    with refused("data: 't.csv' has a header but no rows; give a table with rows."):
        check_header(NAMES, asked(), rows=0)


# --------------------------------------------------------------------------------------- contract

COLUMNS = (
    Column("when", "datetime", "datetime64[ns]"),
    Column("größe", "ordinal", "object", levels=("S", "M"), missing=True),
    Column("x", "numeric", "float64", low=-0.1, high=1e300),
    Column("who", "id", "object"),
    Column("c", "categorical", "object", levels=("a", "b")),
    Column("z", "numeric", "int64", low=0.0, high=3.0),
)


def test_features_are_what_a_model_reads_in_the_tables_order():
    contract = Contract("y", "regression", (), None, "random", columns=COLUMNS)
    assert contract.features == ["when", "größe", "x", "c", "z"]
    assert contract.of_role("numeric") == ["x", "z"]
    assert contract.orders == {"größe": ("S", "M")}
    assert [column.name for column in contract.left_out] == ["who"]


@pytest.mark.parametrize(
    ("classes", "positive"),
    [((False, True), True), ((0, 1), 1), (("Nein", "Ja, schön"), "Nein"), ((1, 2, 3), None), ((), None)],
)
def test_a_contract_survives_json(classes: tuple, positive: Any):
    contract = Contract(
        target="Ziel €",
        task="classification" if classes else "regression",
        classes=classes,
        positive=positive,
        split="time",
        query="SELECT 'ä\n' AS c",
        columns=COLUMNS,
        rows_without_target=3,
        dialect="spark",
    )
    again = Contract.from_json(contract.to_json())
    assert again == contract
    assert [type(label) for label in again.classes] == [type(label) for label in classes]


def test_numpys_scalars_are_written_as_plain_numbers():
    contract = Contract("y", "classification", (np.int64(0), np.int64(1)), np.int64(1), "random")
    values = json.loads(contract.to_json())
    assert values["classes"] == [0, 1]
    assert values["positive"] == 1


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"target": "Churned"}, "target: there is no column 'Churned'"),
        ({"drop": ("Age",)}, "drop: there is no column 'Age'"),
    ],
)
def test_a_column_that_the_query_has_dropped_is_looked_for_in_its_result(changes: dict, what: str, refused: Callable):
    settings = TableSettings(**{"data": "t.csv", "target": "y", "query": "SELECT y, x FROM data", **changes})
    with refused(f"{what} in the query's result; the columns are y, x."):
        check_header(["y", "x"], settings, 5)


# ------------------------------------------------------------------------------------------ rules


def test_every_rule_stands_in_the_contract_and_can_be_edited():
    values = json.loads(Contract("y", "regression", (), None, "random", columns=COLUMNS).to_json())
    assert values["rules"] == RULES
    assert values["missing_margin"] == 0.05
    edited = Contract.from_json(json.dumps(values | {"rules": {"new_level": "error"}, "missing_margin": 0.2}))
    assert edited.rules == RULES | {"new_level": "error"}
    assert edited.missing_margin == 0.2
    assert Contract.from_json(edited.to_json()) == edited


def test_a_contract_from_before_there_were_rules_takes_the_defaults():
    values = json.loads(Contract("y", "regression", (), None, "random", columns=COLUMNS).to_json())
    del values["rules"], values["missing_margin"]
    for column in values["columns"]:
        del column["missing_share"]
    assert Contract.from_json(json.dumps(values)) == Contract("y", "regression", (), None, "random", columns=COLUMNS)


@pytest.mark.parametrize(
    ("edited", "sentence"),
    [
        ({"rules": {"new_levels": "error"}}, "there is no code 'new_levels' for a rule; it may mean new_level."),
        (
            {"rules": {"Q": "error"}},
            "there is no code 'Q' for a rule; the codes are empty, missing_column, extra_column, unreadable, infinite, "
            "not_in_order, new_level, below, above, more_missing.",
        ),
        ({"rules": {"below": "warn"}}, "the rule of below is 'warn'; set it to error, warning or ignore."),
        ({"rules": {"below": ["error"]}}, "the rule of below is ['error']; set it to error, warning or ignore."),
        (
            {"rules": ["below"]},
            'rules is [\'below\']; give an object of codes and their rules, such as {"new_level": "error"}.',
        ),
        ({"missing_margin": 5}, "missing_margin is 5; give a share from 0 to 1, such as 0.05."),
        ({"missing_margin": "5%"}, "missing_margin is '5%'; give a share from 0 to 1, such as 0.05."),
        ({"missing_margin": True}, "missing_margin is True; give a share from 0 to 1, such as 0.05."),
    ],
)
def test_a_rule_that_does_not_exist_is_refused(edited: dict, sentence: str, refused: Callable):
    values = json.loads(Contract("y", "regression", (), None, "random", columns=COLUMNS).to_json())
    with refused(f"contract: {sentence}"):
        Contract.from_json(json.dumps(values | edited))


def test_an_edited_contract_that_is_no_json_is_refused(refused: Callable):
    with refused(
        "contract: it is no JSON (Expecting ',' delimiter: line 1 column 9 (char 8)); mend it, or prepare the table "
        "again."
    ):
        Contract.from_json('{"a": 1 "b": 2}')


def test_the_documentation_names_every_rule_with_its_default(project: Path):
    page = (project / "docs" / "contract.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (`.*?) \| (error|warning|ignore) \|", page, flags=re.MULTILINE)
    assert {code: rule for codes, rule in table for code in re.findall(r"`(\w+)`", codes)} == RULES
    shown = Contract.from_json(re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)[0])
    assert shown.rules == RULES | {"extra_column": "ignore", "new_level": "error"}
    assert shown.features == ["age", "city"]

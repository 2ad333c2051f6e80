"""The prepared table: what a raw one becomes, row by row, and what is refused before any work starts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames import made, prepare
from hypothesis import assume, given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from lifecycle.contract import Column, Contract
from lifecycle.errors import UserError
from lifecycle.settings import MISSING_WORDS, TableSettings, parse_ordinal
from lifecycle.table import PreparedTable, profile, read_prepared
from lifecycle.trials import Folds

NAN = np.nan


def asked(**changes: Any) -> TableSettings:
    """Make settings for a table with the target ``y``."""
    return TableSettings(**{"data": "t.csv", "target": "y", **changes})


def plain(rows: int = 20, **columns: Any) -> pd.DataFrame:
    """Make a table that is fit for anything: a number, a text and two balanced classes."""
    made = {
        "x": np.arange(rows, dtype=float),
        "c": ["a", "b", "b"] * (rows // 3) + ["a"] * (rows % 3),
        "y": ([0, 1, 1, 0] * rows)[:rows],
    }
    return pd.DataFrame({**made, **columns})


# ----------------------------------------------------------------------------------- end to end

RAW = pd.DataFrame(
    {
        "day": pd.to_datetime(
            ["2021-01-05", "2021-01-01", "2021-01-03", "2021-01-02", "2021-01-04", "2021-01-07", "2021-01-06"]
        ),
        "size": ["M", "S", None, "L", "S", "M", "L"],
        "rooms": [3, 1, 2, 4, 5, 7, 6],
        "colour": ["red", "blue", "red", None, "blue", "red", "red"],
        "note": ["x"] * 7,
        "secret": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5],
        "price": [50.5, 10.5, 30.5, NAN, 40.5, 70.5, 60.5],
    }
)
BY_DAY = TableSettings(
    data="houses.csv",
    target="price",
    split="time",
    split_column="day",
    test_size=0.3,
    folds=2,
    drop=("secret",),
    ordinal=parse_ordinal("size:S<M<L"),
    query="SELECT * FROM data",
)


def test_a_table_end_to_end():
    """Six of seven rows have a target; in the order of the days the first four train, the last two test."""
    before = RAW.copy(deep=True)
    train, test, contract = prepare(RAW, BY_DAY)
    assert_frame_equal(
        train,
        pd.DataFrame(
            {
                "day": pd.to_datetime(["2021-01-01", "2021-01-03", "2021-01-04", "2021-01-05"]).as_unit("us"),
                "size": ["S", NAN, "S", "M"],
                "rooms": [1.0, 2.0, 5.0, 3.0],
                "colour": ["blue", "red", "blue", "red"],
                "price": [10.5, 30.5, 40.5, 50.5],
                "__fold__": [0, 0, 1, 1],
            }
        ),
    )
    assert_frame_equal(
        test,
        pd.DataFrame(
            {
                "day": pd.to_datetime(["2021-01-06", "2021-01-07"]).as_unit("us"),
                "size": ["L", "M"],
                "rooms": [6.0, 7.0],
                "colour": ["red", "red"],
                "price": [60.5, 70.5],
            }
        ),
    )
    assert contract == Contract(
        target="price",
        task="regression",
        classes=(),
        positive=None,
        split="time",
        query="SELECT * FROM data",
        columns=(
            Column(
                "day",
                "datetime",
                "TIMESTAMP_NS",
                missing_share=0.0,
                origin="2021-01-01 00:00:00",
                last="2021-01-05 00:00:00",
            ),
            Column("size", "ordinal", "VARCHAR", levels=("S", "M", "L"), missing=True, missing_share=0.25),
            # The training rows' range: what a model reads does not hang on test rows.
            Column("rooms", "numeric", "BIGINT", low=1.0, high=5.0, missing_share=0.0),
            # The one row without a colour has no target and is out.
            Column("colour", "categorical", "VARCHAR", levels=("blue", "red"), missing_share=0.0),
            Column("note", "constant", "VARCHAR", missing_share=0.0),
            Column("secret", "drop", "DOUBLE", missing_share=0.0),
        ),
        rows_without_target=1,
        rows=4,
        missing_words=MISSING_WORDS,
    )
    assert Contract.from_json(contract.to_json()) == contract
    assert_frame_equal(RAW, before)


def test_the_raw_rows_index_does_not_matter():
    shuffled = RAW.set_axis([9, 9, 3, 1, 0, -5, 2])
    for one, other in zip(prepare(shuffled, BY_DAY)[:2], prepare(RAW, BY_DAY)[:2], strict=True):
        assert_frame_equal(one, other)


@pytest.mark.parametrize(
    ("target", "task", "classes", "positive", "split", "dtype"),
    [
        (["no", "yes"] * 10, "classification", ("no", "yes"), "yes", "stratified", "object"),
        ([True, False] * 10, "classification", (False, True), True, "stratified", "bool"),
        (pd.array([1, None] * 2 + [0, 1] * 8, dtype="Int64"), "classification", (0, 1), 1, "stratified", "int64"),
        (pd.array([True, None] * 2 + [False, True] * 8), "classification", (False, True), True, "stratified", "bool"),
        ([0.0, NAN] * 4 + [1.0, 2.0] * 6, "classification", (0, 1, 2), None, "stratified", "int64"),
        (np.linspace(0, 1, 20), "regression", (), None, "random", "float64"),
        (range(20), "regression", (), None, "random", "float64"),
    ],
)
def test_task_classes_and_split_are_settled_by_the_target(
    target: Any, task: str, classes: tuple, positive: Any, split: str, dtype: str
):
    train, test, contract = prepare(plain(y=target), asked(folds=2, test_size=0.4))
    assert (contract.task, contract.classes, contract.positive, contract.split) == (task, classes, positive, split)
    assert [type(label) for label in contract.classes] == [type(label) for label in classes]
    assert (str(train["y"].dtype), str(test["y"].dtype)) == (dtype, dtype)
    missing = int(pd.isna(pd.Series(target)).sum())
    assert contract.rows_without_target == missing
    assert len(train) + len(test) == 20 - missing


@given(
    rows=st.integers(30, 60),
    split=st.sampled_from(["random", "stratified", "group", "time", "hash", "hash by"]),
    gaps=st.sets(st.integers(0, 29), max_size=5),
    test_size=st.floats(0.2, 0.4),
    folds=st.integers(2, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_row_with_a_target_is_in_one_table_once(
    rows: int, split: str, gaps: set, test_size: float, folds: int, seed: int
):
    raw = plain(rows, g=[row * 7 % 11 for row in range(rows)])
    raw["y"] = raw["y"].astype("Int64")
    raw.loc[list(gaps), "y"] = pd.NA
    by = "g" if split in ("group", "time", "hash by") else ""
    settings = asked(split=split.split()[0], split_column=by, test_size=test_size, folds=folds, seed=seed)
    try:
        train, test, contract = prepare(raw, settings)
    except UserError:
        assume(False)
    kept = raw[raw["y"].notna()].set_index("x")
    found = pd.concat([train, test]).set_index("x")
    # The number x is the row's own: every row is there once, with its own cells.
    assert sorted(found.index) == kept.index.tolist()
    assert (found["y"].loc[kept.index] == kept["y"]).all()
    assert (found["c"].loc[kept.index] == kept["c"]).all()
    assert not set(train["x"]) & set(test["x"])
    assert "__fold__" not in test
    assert sorted(train["__fold__"].unique()) == list(range(folds))
    assert contract.rows_without_target == len(gaps)


# ----------------------------------------------------------------------------------------- folds


def with_folds(split: str, folds: list) -> PreparedTable:
    """Make a table of one column with the folds given."""
    contract = Contract("y", "regression", (), None, split, columns=(Column("x", "numeric", "float64"),))
    rows = pd.DataFrame({"x": np.arange(len(folds), dtype=float)})
    return PreparedTable(contract, rows, rows["x"].rename("y"), np.array(folds))


def test_each_fold_is_validated_on_the_others():
    pairs = with_folds("random", [0, 1, 2, 0, 1]).fold_pairs
    assert [(fit.tolist(), held.tolist()) for fit, held in pairs] == [
        ([1, 2, 4], [0, 3]),
        ([0, 2, 3], [1, 4]),
        ([0, 1, 3, 4], [2]),
    ]


def test_a_block_in_time_is_validated_on_all_before_it():
    pairs = with_folds("time", [2, 0, 1, 0, 2, 1]).fold_pairs
    assert [(fit.tolist(), held.tolist()) for fit, held in pairs] == [([1, 3], [2, 5]), ([1, 2, 3, 5], [0, 4])]


def test_what_is_stored_is_what_is_trained_on():
    train, _, contract = prepare(RAW, BY_DAY)
    table = read_prepared(train, contract)
    assert_frame_equal(table.rows, train[["day", "size", "rooms", "colour"]])
    assert table.labels.tolist() == [10.5, 30.5, 40.5, 50.5]
    assert table.folds.tolist() == [0, 0, 1, 1]
    assert [(fit.tolist(), held.tolist()) for fit, held in table.fold_pairs] == [([0, 1], [2, 3])]


def test_folds_of_groups_hold_whole_groups():
    raw = plain(40, g=[f"g{row % 10}" for row in range(40)], y=[0, 1] * 20).assign(n=range(40))
    # The groups are no feature, since those of test rows are new by design; a copy of them shows where they went.
    train, test, contract = prepare(raw.assign(copy=raw["g"]), asked(split="group", split_column="g", folds=3))
    assert "g" not in contract.features
    assert not set(train["copy"]) & set(test["copy"])
    assert train.groupby("copy")["__fold__"].nunique().max() == 1


def test_folds_without_a_class_are_refused_by_the_class(refused: Callable):
    raw = plain(40, y=[0] * 20 + [1] * 20)
    with refused(
        "folds: by a time split the rows that a fold is fitted on have none of the class 1; "
        "give fewer folds or more rows, or set split=stratified."
    ):
        prepare(raw, asked(split="time", split_column="x", folds=3))


def test_a_hash_split_without_a_column_is_of_the_rows_content():
    """Twins are on one side; and the rows keep their side in a table twice as long."""
    raw = plain(40, x=[float(row % 20) for row in range(40)], c=list("ab") * 20, y=[0, 1] * 20)
    settings = asked(split="hash", test_size=0.4, folds=2)
    train, test, _ = prepare(raw, settings)
    assert not set(train["x"]) & set(test["x"])
    assert train.groupby("x")["__fold__"].nunique().max() == 1
    longer = pd.concat([raw, raw.assign(x=raw["x"] + 20)], ignore_index=True)
    grown_train, grown_test, _ = prepare(longer, settings)
    assert set(train["x"]) <= set(grown_train["x"])
    assert set(test["x"]) <= set(grown_test["x"])


@pytest.mark.parametrize(
    ("target", "split", "column"),
    [
        ([0] * 20 + [1] * 20, "time", "x"),
        ([0, 1] * 10 + [0, 1, 2, 2] * 5, "time", "x"),
        ([0] * 30 + [1] * 10, "group", "g"),
    ],
    ids=["one class at first", "a third class later", "a class in one group"],
)
@pytest.mark.parametrize("model", ["logreg", "dtc"])
def test_folds_without_a_class_are_refused_or_can_be_scored(target: list, split: str, column: str, model: str):
    """Bad input is one clear sentence before work starts, never a traceback in the middle of it."""
    from lifecycle.models import make_estimator

    raw = plain(40, g=[0, 1, 2, 3, 4] * 6 + [5] * 10, y=target)
    try:
        train, _, contract = prepare(raw, asked(split=split, split_column=column, folds=3, test_size=0.2, seed=1))
    except UserError as refusal:
        assert str(refusal).startswith(("folds:", "split:", "split_column:"))
        return
    table = read_prepared(train, contract)
    scores = list(Folds(table).evaluate(lambda: make_estimator("classification", {"model": model}, 1)))
    assert len(scores) == len(table.fold_pairs)


# ----------------------------------------------------------------------------------- second table


def test_the_second_table_is_the_test_table():
    january, february = plain(12), plain(4, x=[9.5, 8.5, 7.5, 6.5], c=["b", "z", None, "a"], y=[1, 0, 1, 1])
    settings = asked(test_data="february.csv", folds=2)
    # Columns in another order, and further ones.
    train, test, contract = prepare(january, settings, february[["y", "c", "x"]].assign(new=1))
    assert_frame_equal(train.drop(columns="__fold__"), january)
    assert_frame_equal(test, pd.DataFrame({"x": [9.5, 8.5, 7.5, 6.5], "c": ["b", "z", NAN, "a"], "y": [1, 0, 1, 1]}))
    assert contract.features == ["x", "c"]
    assert contract.rows_without_target == 0


@pytest.mark.parametrize("second", [["1", "0"], [1.0, 0.0], pd.array([1, 0], dtype="Int64"), [1, 0]])
def test_labels_of_the_second_table_are_known_by_their_text(second: Any):
    _, test, _ = prepare(plain(12), asked(test_data="b.csv", folds=2), plain(2, c=["a", "b"], y=second))
    assert test["y"].tolist() == [1, 0]
    assert test["y"].dtype == np.int64


def test_numbers_in_the_second_table_may_be_texts_in_the_first():
    raw = plain(12, y=["1", "0"] * 5 + ["A", "A"])
    _, test, contract = prepare(raw, asked(test_data="b.csv", folds=2), plain(2, c=["a", "b"], y=[1, 0]))
    assert contract.classes == ("0", "1", "A")
    assert test["y"].tolist() == ["1", "0"]


def test_a_quantity_in_the_second_table_becomes_float64():
    _, test, _ = prepare(
        plain(12, y=np.linspace(0, 1, 12)), asked(test_data="b.csv", folds=2), plain(2, c=["a", "b"], y=[1, 0])
    )
    assert test["y"].tolist() == [1.0, 0.0]
    assert test["y"].dtype == np.float64


def test_rows_without_target_are_left_out_of_both_tables():
    first, second = plain(12), plain(6)
    first["y"], second["y"] = first["y"].astype(float), second["y"].astype(float)
    first.loc[[0, 5], "y"] = NAN
    second.loc[1, "y"] = NAN
    train, test, contract = prepare(first, asked(test_data="b.csv", folds=2), second)
    assert (len(train), len(test), contract.rows_without_target) == (10, 5, 2)
    assert test["x"].tolist() == [0.0, 2.0, 3.0, 4.0, 5.0]


def test_an_order_holds_for_the_second_table_too(refused: Callable):
    settings = asked(test_data="b.csv", folds=2, ordinal=parse_ordinal("c:a<b"))
    with refused(
        "ordinal: the column 'c' holds 'z', not in its order a<b; "
        "add the level to the order, lowest first, or mend the cell by query."
    ):
        prepare(plain(12), settings, plain(3, c=["a", "b", "z"]))


def test_time_folds_of_the_first_table_stand_beside_a_second_one():
    settings = asked(test_data="b.csv", split="time", split_column="x", folds=3)
    train, test, _ = prepare(plain(12).iloc[::-1], settings, plain(4))
    assert train.set_index("x")["__fold__"].sort_index().tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert len(test) == 4


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        (
            plain(4).drop(columns=["x", "c"]),
            "test_data: 'b.csv' lacks the columns x, c; "
            "give a table with the training table's columns, or leave them out by drop.",
        ),
        (plain(4, y=[None] * 4), "test_data: 'b.csv' has no row with a target; give a table that has."),
        (
            plain(4, y=[0, 1, 2, 0]),
            "test_data: 'y' holds '2', which the training rows do not; their classes are 0, 1.",
        ),
    ],
    ids=["columns", "rows", "label"],
)
def test_a_second_table_that_does_not_fit_is_refused(second: pd.DataFrame, sentence: str, refused: Callable):
    with refused(sentence):
        prepare(plain(12), asked(test_data="b.csv", folds=2), second)


@pytest.mark.parametrize("values", [["u", "v"], [True, False]], ids=["texts", "booleans"])
def test_what_is_no_quantity_in_the_second_table_is_refused(values: list, refused: Callable):
    first, second = plain(12, y=np.linspace(0, 1, 12)), plain(2, c=["a", "b"], y=values)
    with refused("test_data: 'y' is not numeric there; give the same quantity as in data."):
        prepare(first, asked(test_data="b.csv", folds=2), second)


def test_a_column_that_is_dropped_may_be_absent_from_the_second_table():
    """As the sentence that refuses an absent column advises."""
    settings = asked(test_data="b.csv", folds=2, drop=("c",))
    _, test, contract = prepare(plain(12), settings, plain(4).drop(columns="c"))
    assert contract.features == ["x"]
    assert test.columns.tolist() == ["x", "y"]


def test_a_number_that_is_text_in_the_second_table_is_refused(refused: Callable):
    """A model's columns are not chosen from test rows: a column of numbers must not become one of levels by them."""
    with refused(
        "test_data: column 'x' is numeric, but holds 'eleven' among the test rows; mend the cell, for example by query."
    ):
        prepare(plain(12), asked(test_data="b.csv", folds=2), plain(3, x=["1", "eleven", "2"]))


def test_what_a_column_is_does_not_hang_on_the_second_table():
    """In training the text has few levels; in the second table every row has its own."""
    first, second = plain(60), plain(120, c=[f"level {row}" for row in range(120)])
    _, _, contract = prepare(first, asked(test_data="b.csv", folds=2), second)
    assert contract.of_role("categorical") == ["c"]


def test_a_column_that_is_empty_in_the_second_table_keeps_its_role():
    """DuckDB reads an empty column of a CSV as text without a value; no warning of pandas' shall reach the user."""
    second = plain(3, x=pd.Series([None, None, None], dtype=object))
    _, test, contract = prepare(plain(12), asked(test_data="b.csv", folds=2), second)
    assert contract.of_role("numeric") == ["x"]
    assert test["x"].isna().all()


@pytest.mark.parametrize(("split", "by"), [("time", [1.0, NAN]), ("group", ["a", None]), ("group", [1.0, NAN])])
def test_missing_times_or_groups_are_refused_beside_a_second_table_too(split: str, by: list, refused: Callable):
    raw = plain(12, b=[*by, *(by[:1] * 4), *"uvwxyz"] if isinstance(by[0], str) else [*by, *range(10)])
    settings = asked(test_data="b.csv", split=split, split_column="b", folds=2)
    with refused(
        "split_column: 'b' has 1 missing cells, and a row without one belongs to neither side; "
        "fill or leave them out by query."
    ):
        prepare(raw, settings, raw)


def test_what_test_rows_do_against_the_contract_is_told():
    """Of the first table's 12 rows x is 0 to 11 and c is a or b."""
    second = plain(8, x=[-1, 3, 4, 5, 6, 12, 13.5, None], c=["a", "b", "z", "z", "y", None, "a", "b"]).assign(new=1)
    with made(plain(12), asked(test_data="b.csv", folds=2), second) as table:
        prepared = table.prepared
    assert [(one.code, one.column, one.rule, one.count, one.example) for one in prepared.breaches] == [
        ("below", "x", "warning", 1, "-1"),
        ("above", "x", "warning", 2, "13.5"),
        ("more_missing", "x", "warning", 1, ""),
        ("new_level", "c", "warning", 3, "y"),
        ("more_missing", "c", "warning", 1, ""),
        ("extra_column", "new", "warning", 8, ""),
    ]
    assert (
        profile(prepared, table.train_sample).set_index("column").loc[["x", "c"], "missing_test"].tolist()
        == [0.125] * 2
    )


def test_test_rows_like_training_breach_nothing():
    with made(plain(12), asked(test_data="b.csv", folds=2), plain(6)) as table:
        assert table.prepared.breaches == ()


def test_a_number_that_only_the_model_could_read_is_refused_among_test_rows(refused: Callable):
    """The prepared rows are read by SQL, which knows no such digits."""
    with refused(
        "test_data: column 'x' is numeric, but holds '\u0663' among the test rows; mend the cell, for example by query."
    ):
        prepare(plain(12), asked(test_data="b.csv", folds=2), plain(3, x=["1", "\u0663", "2"]))


# --------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("raw", "settings", "sentence"),
    [
        (plain(8).head(0), asked(), "data: 't.csv' has a header but no rows; give a table with rows."),
        (plain(8), asked(target="Y"), "target: names"),
        (
            plain(8, y=np.full(8, NAN)),
            asked(),
            "target: every cell of 'y' is missing; choose a column that holds values.",
        ),
        (
            plain(8, y=np.linspace(0, 1, 8)),
            asked(split="stratified"),
            "split: a stratified split needs classes, but 'y' is a regression target; "
            "set split=random, group, time or hash.",
        ),
        (
            plain(8, y=np.linspace(0, 1, 8)),
            asked(positive="yes"),
            "positive: 'yes' was given, but 'y' is a quantity; leave it out.",
        ),
        (
            plain(8)[["y"]],
            asked(),
            "data: 't.csv' has no column to learn from; beside the target there are: none.",
        ),
        (
            plain(8, x=[1] * 8, c=[[1]] * 8),
            asked(),
            "data: 't.csv' has no column to learn from; beside the target there are: x (constant), c (nested).",
        ),
        (
            plain(8, c=[1, 1, 1, 1, 2, 2, 3, 4], y=["a"] * 6 + ["b"] * 2),
            asked(split="time", split_column="c", test_size=0.3, folds=2),
            "split: time leaves no training row of the class 'b'; set split=stratified or give more rows.",
        ),
        (
            plain(8, y=["a", "b"] * 4),
            asked(task="regression"),
            "task: regression needs numbers, but 'y' holds 'a'; set task=classification or choose a numeric target.",
        ),
        (
            plain(8),
            asked(test_size=0.5, folds=3),
            "folds: 4 training rows are too few for 3 folds of at least two; give fewer folds or more rows.",
        ),
    ],
    ids=[
        "no rows",
        "target's case",
        "no target",
        "stratified quantity",
        "positive quantity",
        "target only",
        "nothing to learn from",
        "class lost",
        "regression on text",
        "folds",
    ],
)
def test_a_table_that_is_unfit_is_refused(raw: pd.DataFrame, settings: TableSettings, sentence: str, refused: Callable):
    if sentence == "target: names":
        sentence = "target: there is no column 'Y' in 't.csv'; names are told apart by case, there is 'y'."
    with refused(sentence):
        prepare(raw, settings)


def test_an_infinite_number_is_refused_by_the_columns_name(refused: Callable):
    """No estimator takes one; without a refusal the step that fits first ends in a traceback."""
    rest = "; replace infinite numbers, for example by query."
    with refused(f"data: the column 'x' holds -inf{rest}"):
        prepare(plain(x=[-np.inf, *range(19)]), asked())
    with refused(f"target: the column 'y' holds inf{rest}"):
        prepare(plain(y=[np.inf, *np.linspace(0, 1, 19)]), asked())
    # Wherever the split puts the row.
    for row in range(20):
        with refused(f"data: the column 'x' holds inf{rest}"):
            prepare(plain(x=np.where(np.arange(20) == row, np.inf, 1.0 * np.arange(20))), asked())
    quantity = plain(y=np.linspace(0, 1, 20))
    with refused(f"test_data: the column 'x' holds inf{rest}"):
        prepare(quantity, asked(test_data="b.csv"), plain(2, c=["a", "b"], x=[1.0, np.inf]))
    with refused(f"test_data: the column 'y' holds inf{rest}"):
        prepare(quantity, asked(test_data="b.csv"), plain(2, c=["a", "b"], y=[1.0, np.inf]))
    # A column that is left out may hold what it will.
    assert prepare(plain(x=[np.inf, *range(19)]), asked(drop=("x",)))[2].features == ["c"]


def test_a_level_outside_its_order_is_refused_wherever_the_split_puts_the_row(refused: Callable):
    for row in range(20):
        levels = np.where(np.arange(20) == row, "z", plain()["c"])
        with refused(
            "ordinal: the column 'c' holds 'z', not in its order a<b; "
            "add the level to the order, lowest first, or mend the cell by query."
        ):
            prepare(plain(c=levels), asked(ordinal=parse_ordinal("c:a<b")))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([[1], [2]], "cells of the type INTEGER[]"),
        ([{"a": 1}, {"a": 2}], "cells of the type STRUCT(a INTEGER)"),
        ([bytearray(b"a")] * 2, "cells of the type BLOB"),
        (pd.date_range("2021-01-01", periods=2).tolist(), "dates"),
    ],
)
def test_a_target_that_no_model_predicts_is_refused(values: list, what: str, refused: Callable):
    with refused(f"target: 'y' holds {what}; choose a column of labels or numbers, or make one by query."):
        prepare(plain(y=values * 10), asked())


def test_nested_targets_of_the_second_table_are_refused():
    for first in (plain(), plain(y=np.linspace(0, 1, 20))):
        with pytest.raises(UserError, match=r"^test_data: 'y' "):
            prepare(first, asked(test_data="b.csv"), plain(2, c=["a", "b"], y=[[1], [2]]))


@pytest.mark.parametrize("split", ["random", "stratified", "hash"])
def test_nested_cells_do_not_break_a_split(split: str):
    raw = plain(30, tags=[[row % 3] for row in range(30)])
    train, test, contract = prepare(raw, asked(split=split, test_size=0.4, folds=2))
    assert len(train) + len(test) == 30
    assert [column.name for column in contract.left_out] == ["tags"]


def test_bytes_do_not_break_a_table():
    """A BLOB column of a Parquet file comes as bytearrays."""
    _, _, contract = prepare(plain(c=[bytearray(b"a"), bytearray(b"b")] * 10), asked())
    assert "x" in contract.features


# ---------------------------------------------------------------------------- features, profile


def test_the_profile_of_a_table_by_hand():
    with made(RAW, BY_DAY) as table:
        found = profile(table.prepared, table.train_sample).set_index("column")
    assert found.index.tolist() == ["day", "size", "rooms", "colour", "note", "secret", "price"]
    assert found["role"].tolist() == [
        "datetime",
        "ordinal",
        "numeric",
        "categorical",
        "constant",
        "drop",
        "target",
    ]
    # Of the four training rows.
    assert found["missing"].tolist() == pytest.approx([0, 1 / 4, 0, 0, 0, 0, 0])
    assert found["distinct"].tolist() == [4, 2, 4, 2, 1, 4, 4]
    # 1, 2, 3 and 5: the squares of the distances from 11/4 add up to 35/4.
    assert found.loc["rooms", ["mean", "std", "low", "median", "high"]].tolist() == pytest.approx(
        [11 / 4, np.sqrt(35 / 12), 1.0, 2.5, 5.0]
    )
    assert found.loc["price", ["mean", "low", "median", "high"]].tolist() == pytest.approx([33.0, 10.5, 35.5, 50.5])
    assert found.loc["colour", ["mean", "std", "low", "median", "high"]].isna().all()


def test_a_target_of_numbers_but_for_a_cell_is_refused(refused: Callable):
    """Of its numbers classes would be made, without a word."""
    raw = plain(40, y=[*map(str, range(39)), "sold"])
    with refused(
        "target: 'y' holds numbers but for 1 cells such as 'sold'; name words for missing cells by "
        "read='nullstr=...', mend the cells by query, or set task=classification."
    ):
        prepare(raw, asked())

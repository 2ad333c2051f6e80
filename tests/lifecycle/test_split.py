"""Which rows train, which test, and in which fold: nothing lost, nothing twice, nothing on both sides."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from lifecycle.errors import UserError
from lifecycle.split import assign_folds, split_rows

SPLITS = ("random", "stratified", "group", "time", "hash")
seeds = st.integers(0, 2**32 - 1)
sizes = st.floats(0.1, 0.6)


def labels(values: Any) -> pd.Series:
    """Make a target."""
    return pd.Series(list(values), name="y")


def column(values: Any, dtype: Any = None) -> pd.Series:
    """Make a column to split by."""
    return pd.Series(list(values), name="by", dtype=dtype)


@st.composite
def tables(draw: st.DrawFn) -> tuple[pd.Series, pd.Series]:
    """Draw labels of two or three classes, at least five rows each, and a column of whole numbers beside them."""
    counts = draw(st.lists(st.integers(5, 15), min_size=2, max_size=3))
    values = draw(st.permutations([f"c{label}" for label, count in enumerate(counts) for _ in range(count)]))
    most = draw(st.sampled_from([3, 8, 1000]))
    by = draw(st.lists(st.integers(0, most), min_size=len(values), max_size=len(values)))
    return labels(values), column(by)


def sides(target: pd.Series, split: str, test_size: float, seed: int, by: pd.Series) -> tuple[list, list]:
    """Split, or leave the example out where it is refused."""
    try:
        train, test = split_rows(target, split, test_size, seed, by)
    except UserError:
        assume(False)
    return train.tolist(), test.tolist()


# -------------------------------------------------------------------------------------- two sides


@pytest.mark.parametrize("split", SPLITS)
@given(table=tables(), test_size=sizes, seed=seeds)
def test_every_split_parts_the_rows(split: str, table: tuple, test_size: float, seed: int):
    """None is lost, none stands twice, no side is empty, and the same call gives the same rows."""
    target, by = table
    # Few large groups cannot always be parted so; that has a test of its own.
    assume(split != "group" or (by.nunique() >= 5 and test_size <= 0.5))
    train, test = sides(target, split, test_size, seed, by)
    assert sorted(train + test) == list(range(len(target)))
    assert train
    assert test
    assert sides(target, split, test_size, seed, by) == (train, test)


@given(table=tables(), test_size=sizes, seed=seeds)
def test_random_is_scikit_learns_split_of_the_rows_as_read(table: tuple, test_size: float, seed: int):
    target, by = table
    expected = train_test_split(np.arange(len(target)), test_size=test_size, random_state=seed)
    train, test = sides(target, "random", test_size, seed, by)
    assert (train, test) == (expected[0].tolist(), expected[1].tolist())


@given(table=tables(), test_size=st.floats(0.2, 0.6), seed=seeds)
def test_stratified_keeps_each_share_within_a_row(table: tuple, test_size: float, seed: int):
    target, by = table
    _, test = sides(target, "stratified", test_size, seed, by)
    assert len(test) == np.ceil(test_size * len(target))
    for label, count in target.value_counts().items():
        assert abs((target.iloc[test] == label).sum() - len(test) * count / len(target)) < 1


@given(table=tables(), test_size=st.floats(0.1, 0.5), seed=seeds)
def test_a_group_is_on_one_side(table: tuple, test_size: float, seed: int):
    target, by = table
    assume(by.nunique() >= 5)
    train, test = sides(target, "group", test_size, seed, by)
    assert not set(by.iloc[train]) & set(by.iloc[test])


def test_groups_may_be_texts_and_the_share_is_of_groups():
    by = column(["a"] * 6 + ["b", "c", "d", "e"])
    for seed in range(5):
        _, test = split_rows(labels(range(10)), "group", 0.4, seed, by)
        assert by.iloc[test].nunique() == 2


@given(table=tables(), test_size=sizes, seed=seeds)
def test_all_training_rows_are_before_all_test_rows(table: tuple, test_size: float, seed: int):
    target, by = table
    train, test = sides(target, "time", test_size, seed, by)
    assert by.iloc[train].max() < by.iloc[test].min()
    assert by.iloc[train].is_monotonic_increasing
    # Rows of one moment stay together, so the share may be missed by them, and only to the smaller side.
    assert len(test) <= test_size * len(target) + 1


@pytest.mark.parametrize(
    ("times", "test_size", "train", "test"),
    [
        ([50, 30, 10, 40, 20], 0.4, [2, 4, 1], [3, 0]),
        (["2021-03", "2021-01", "2020-12"], 0.3, [2, 1], [0]),
        (pd.to_datetime(["2021-01-03", "2021-01-01", "2021-01-02", "2021-01-04"]), 0.25, [1, 2, 0], [3]),
        (pd.array([3, 1, 2], dtype="Int64"), 0.3, [1, 2], [0]),
        ([1, 3, 2, 3, 1], 0.4, [0, 4, 2], [1, 3]),
        ([3, 3, 2, 1, 1], 0.3, [3, 4, 2], [0, 1]),
    ],
)
def test_the_latest_rows_test(times: Any, test_size: float, train: list, test: list):
    found = split_rows(labels(range(len(times))), "time", test_size, 0, pd.Series(times, name="by"))
    assert [side.tolist() for side in found] == [train, test]


@pytest.mark.parametrize(("rows", "test_size", "expected"), [(10, 0.2, 2), (100, 0.2, 20), (5, 0.4, 2), (10, 0.3, 3)])
def test_the_share_of_the_latest_rows(rows: int, test_size: float, expected: int):
    _, test = split_rows(labels(range(rows)), "time", test_size, 0, column(range(rows)))
    assert test.tolist() == list(range(rows - expected, rows))


# ------------------------------------------------------------------------------------------- hash

keys = st.lists(st.integers(0, 10**9), min_size=12, max_size=30)


def test_side(by: pd.Series, rows: int, seed: int = 7) -> list:
    """Return which of the first rows test, by their hash."""
    try:
        _, test = split_rows(labels(range(len(by))), "hash", 0.5, seed, by)
    except UserError:
        assume(False)
    return [row for row in test.tolist() if row < rows]


test_side.__test__ = False


@given(first=keys, further=keys, seed=seeds)
def test_a_row_keeps_its_side_when_the_table_grows(first: list, further: list, seed: int):
    before = test_side(column(first), len(first), seed)
    assert test_side(column(first + further), len(first), seed) == before


@given(values=keys, order=st.randoms(use_true_random=False), seed=seeds)
def test_a_row_keeps_its_side_in_any_order(values: list, order: Any, seed: int):
    places = list(range(len(values)))
    order.shuffle(places)
    moved = test_side(column([values[place] for place in places]), len(values), seed)
    assert sorted(places[row] for row in moved) == test_side(column(values), len(values), seed)


def test_equal_keys_are_on_one_side():
    by = column(["a", "b", None, "c", "d", "e"] * 4)
    _, test = split_rows(labels(range(24)), "hash", 0.5, 1, by)
    chosen = {row % 6 for row in test.tolist()}
    assert sorted(test.tolist()) == [row for row in range(24) if row % 6 in chosen]


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
def test_a_key_keeps_its_side_when_its_column_changes_type(what: str):
    """A later row makes a reader choose another type for the whole column; the earlier rows hold the same values."""
    first, further = GROWN[what]
    before = test_side(column(first), 36)
    assert test_side(column(first + further), 36) == before


def test_the_hash_has_a_seed_and_keeps_the_share():
    by = column(range(4000))
    _, one = split_rows(labels(range(4000)), "hash", 0.2, 1, by)
    _, other = split_rows(labels(range(4000)), "hash", 0.2, 2, by)
    # The standard deviation of such a share is 0.0063.
    assert abs(len(one) / 4000 - 0.2) < 0.02
    assert abs(len(other) / 4000 - 0.2) < 0.02
    # Independent of one another, a fifth of the one is in the other.
    assert abs(len(set(one) & set(other)) / len(one) - 0.2) < 0.06


def test_digests_of_rows_are_hashed_by_the_seed_too():
    by = pd.Series(np.arange(4000, dtype=np.uint64), name="the row's content")
    sides = [set(split_rows(labels(range(4000)), "hash", 0.2, seed, by)[1].tolist()) for seed in (1, 2)]
    assert all(abs(len(side) / 4000 - 0.2) < 0.02 for side in sides)
    assert abs(len(sides[0] & sides[1]) / len(sides[0]) - 0.2) < 0.06
    # In a table twice as long each row stays where it was.
    half = set(split_rows(labels(range(2000)), "hash", 0.2, 1, by[:2000])[1].tolist())
    assert half == {row for row in sides[0] if row < 2000}


@pytest.mark.parametrize("dtype", [np.uint64, str])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_equal_rows_of_a_hash_split_are_in_one_fold(dtype: type, task: str):
    """Folds have as many different rows, and a fold says nothing of the side that a row would be on."""
    by = column(np.arange(4000).repeat(2).astype(dtype))
    target = labels((np.arange(4000) % 10 == 0).astype(int).repeat(2))
    places = assign_folds(target, task, "hash", 5, 1, by)
    assert (places[::2] == places[1::2]).all()
    assert np.bincount(places).tolist() == [1600] * 5
    if task == "classification":
        assert np.bincount(places[target == 1]).tolist() == [160] * 5
    assert (assign_folds(target, task, "hash", 5, 2, by) != places).mean() > 0.7
    _, test = split_rows(target, "hash", 0.2, 1, by)
    # 160 of 800 are expected in each, with a standard deviation of 11.
    assert np.bincount(places[test], minlength=5) / len(test) == pytest.approx([0.2] * 5, abs=0.06)


def test_too_few_different_rows_for_the_folds_of_a_hash_split_are_refused():
    by = column(["a"] * 8 + ["b"] * 8)
    with pytest.raises(
        UserError,
        match=r"^folds: the 16 training rows hold 2 different values to hash, fewer than 4 folds; give fewer folds or "
        r"more rows\.$",
    ):
        assign_folds(labels(np.tile([0, 1], 8)), "classification", "hash", 4, 1, by)


# ------------------------------------------------------------------------- what cannot be split


@pytest.mark.parametrize(
    ("target", "split", "test_size", "by", "sentence"),
    [
        (
            ["a", "a", "a", "b"],
            "stratified",
            0.5,
            None,
            "split: the class 'b' of 'y' has a single row, which a stratified split cannot put on both sides; "
            "leave the class out by query, or set split=random.",
        ),
        (
            [0, 0, 0, 2],
            "stratified",
            0.5,
            None,
            "split: the class 2 of 'y' has a single row, which a stratified split cannot put on both sides; "
            "leave the class out by query, or set split=random.",
        ),
        (
            [0, 1] * 4,
            "group",
            0.2,
            [1] * 8,
            "split_column: 'by' has one group only; choose a column with several.",
        ),
        (
            [0, 1] * 4,
            "group",
            0.2,
            ["a", None, "b", "c"] * 2,
            "split_column: 'by' has 2 missing cells, and a row without one belongs to neither side; "
            "fill or leave them out by query.",
        ),
        (
            [0, 1] * 4,
            "time",
            0.2,
            [1.0, 2.0, np.nan, 4.0] * 2,
            "split_column: 'by' has 2 missing cells, and a row without one belongs to neither side; "
            "fill or leave them out by query.",
        ),
        (
            [0, 1] * 3,
            "time",
            0.2,
            [1, 2, 3, 3, 3, 3],
            "split: time by 'by' leaves 6 training and 0 test rows of 6; "
            "give more rows, another column or another test_size.",
        ),
        (
            [0, 1] * 3,
            "hash",
            0.0001,
            [1] * 6,
            "split: hash by 'by' leaves 6 training and 0 test rows of 6; "
            "give more rows, another column or another test_size.",
        ),
    ],
    ids=["text class", "number class", "one group", "no group", "no time", "one time", "one key"],
)
def test_a_split_that_cannot_be_is_refused(
    target: list, split: str, test_size: float, by: list | None, sentence: str, refused: Callable
):
    with refused(sentence):
        split_rows(labels(target), split, test_size, 1, None if by is None else column(by))


@pytest.mark.parametrize(
    ("target", "split", "test_size"),
    [([0, 1] * 5, "stratified", 0.05), ([0, 1] * 5, "stratified", 0.95), ([0.5], "random", 0.5)],
)
def test_a_share_that_cannot_be_is_refused_in_one_sentence(target: list, split: str, test_size: float):
    with pytest.raises(UserError, match=f"^test_size: {test_size:g} of {len(target)} rows cannot be split {split}: "):
        split_rows(labels(target), split, test_size, 1)


def test_the_refused_share_reads_as_one_sentence():
    """What a library says of it does not end in the middle of ours."""
    with pytest.raises(
        UserError, match=r"^test_size: 0.9 of 1 rows [^;]*[^.;]; give more rows or another test_size\.$"
    ):
        split_rows(labels([0.5]), "random", 0.9, 1)


@pytest.mark.parametrize(("groups", "test_size"), [(2, 0.6), (5, 0.9), (3, 0.95)])
def test_groups_too_few_for_the_share_are_refused(groups: int, test_size: float, refused: Callable):
    """The test side would take every group."""
    by = column([row % groups for row in range(30)])
    with refused(
        f"test_size: {test_size:g} of the {groups} groups in 'by' leaves one side empty; "
        "give another test_size or a column with more groups."
    ):
        split_rows(labels([0, 1] * 15), "group", test_size, 1, by)


# ------------------------------------------------------------------------------------------ folds


@given(table=tables(), folds=st.integers(2, 5), seed=seeds)
def test_stratified_folds_have_every_class_alike(table: tuple, folds: int, seed: int):
    target, _ = table
    places = assign_folds(target, "classification", "stratified", folds, seed)
    counts = pd.crosstab(places, target.to_numpy())
    assert counts.index.tolist() == list(range(folds))
    assert int((counts.max() - counts.min()).max()) <= 1


@given(rows=st.integers(10, 60), folds=st.integers(2, 5), seed=seeds)
def test_folds_of_a_quantity_are_of_one_size(rows: int, folds: int, seed: int):
    places = assign_folds(labels(np.linspace(0, 1, rows)), "regression", "random", folds, seed)
    counts = np.bincount(places, minlength=folds)
    assert len(counts) == folds
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_folds_are_shuffled_by_the_seed_alone(task: str):
    target = labels([0, 1] * 20)
    one = assign_folds(target, task, "random", 4, 1)
    np.testing.assert_array_equal(assign_folds(target, task, "random", 4, 1), one)
    assert (assign_folds(target, task, "random", 4, 2) != one).any()
    # Not in blocks: neighbours are apart.
    assert len(np.unique(one[:10])) > 1


@pytest.mark.parametrize("task", ["classification", "regression"])
@given(table=tables(), folds=st.integers(2, 4), seed=seeds)
def test_groups_are_whole_within_folds(task: str, table: tuple, folds: int, seed: int):
    target, by = table
    values = target if task == "classification" else labels(range(len(target)))
    assume(by.nunique() >= folds)
    places = assign_folds(values, task, "group", folds, seed, by)
    assert sorted(set(places.tolist())) == list(range(folds))
    assert int(pd.Series(places).groupby(by).nunique().max()) == 1


@pytest.mark.parametrize(
    ("times", "folds", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], 3, [0, 0, 1, 1, 2, 2]),
        ([6, 5, 4, 3, 2, 1], 3, [2, 2, 1, 1, 0, 0]),
        ([3, 1, 2, 4, 5], 2, [0, 0, 0, 1, 1]),
        ([1, 1, 1, 1, 2, 2], 2, [0, 0, 0, 0, 1, 1]),
        (pd.to_datetime(["2021-02", "2021-01", "2021-04", "2021-03"], format="%Y-%m"), 2, [0, 0, 1, 1]),
    ],
)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_time_folds_are_blocks_in_order(times: Any, folds: int, expected: list, task: str):
    by = pd.Series(times, name="by")
    places = assign_folds(labels([0, 1, 1, 0, 1, 0][: len(by)]), task, "time", folds, 9, by)
    assert places.tolist() == expected
    assert places.dtype == np.int64


@given(times=st.lists(st.integers(0, 20), min_size=8, max_size=40), folds=st.integers(2, 4))
def test_a_later_block_holds_later_times(times: list, folds: int):
    by = column(times)
    try:
        places = assign_folds(labels(np.arange(len(by))), "regression", "time", folds, 0, by)
    except UserError:
        assume(False)
    assert sorted(set(places.tolist())) == list(range(folds))
    for fold in range(1, folds):
        assert by[places < fold].max() < by[places == fold].min()


@pytest.mark.parametrize(
    ("target", "task", "split", "folds", "by", "sentence"),
    [
        (
            [0.5] * 9,
            "regression",
            "random",
            5,
            None,
            "folds: 9 training rows are too few for 5 folds of at least two; give fewer folds or more rows.",
        ),
        (
            ["a"] * 10 + ["b"] * 2,
            "classification",
            "random",
            3,
            None,
            "folds: the class 'b' of 'y' has 2 training rows, fewer than 3 folds; "
            "give fewer folds, more rows, or leave the class out by query.",
        ),
        (
            [0] * 10 + [1] * 2,
            "classification",
            "group",
            3,
            [1, 2, 3] * 4,
            "folds: the class 1 of 'y' has 2 training rows, fewer than 3 folds; "
            "give fewer folds, more rows, or leave the class out by query.",
        ),
        (
            [0.5] * 12,
            "regression",
            "group",
            4,
            [1, 2, 3] * 4,
            "folds: 'by' has 3 groups in training, fewer than 4 folds; give fewer folds.",
        ),
        (
            [0.5] * 12,
            "regression",
            "time",
            3,
            [1, 2] * 6,
            "folds: the times in 'by' are too few for 3 blocks in order; give fewer folds.",
        ),
    ],
    ids=["rows", "text class", "number class", "groups", "times"],
)
def test_folds_that_cannot_be_are_refused(
    target: list, task: str, split: str, folds: int, by: list | None, sentence: str, refused: Callable
):
    with refused(sentence):
        assign_folds(labels(target), task, split, folds, 1, None if by is None else column(by))


def test_as_many_folds_as_rows_of_a_class_will_do():
    assert sorted(assign_folds(labels([0, 0, 0, 1, 1, 1]), "classification", "random", 3, 1)) == [0, 0, 1, 1, 2, 2]

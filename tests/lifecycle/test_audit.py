"""The leak audit: what it finds, with which figure, and what it leaves in peace."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from frames import made
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from lifecycle.audit import Finding, as_frame, giveaways, permuted_area, said, separable
from lifecycle.contract import Column, Contract
from lifecycle.settings import TableSettings, parse_roles

NAN = np.nan


def contract_of(classes: tuple, *columns: Column) -> Contract:
    task = "classification" if classes else "regression"
    return Contract("y", task, classes, classes[-1] if len(classes) == 2 else None, "random", columns=columns)


def found(frame: pd.DataFrame, test: pd.DataFrame | None = None, **settings: object) -> list[Finding]:
    """Prepare a frame and give the findings."""
    with made(frame, TableSettings("t.csv", "y", **settings), test) as table:  # type: ignore[arg-type]
        return table.findings


def honest(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Make a table without a leak: a number and a category that tell a little of the target."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=rows)
    y = np.where(x + chance.normal(size=rows) > 0, "yes", "no")
    return pd.DataFrame({"x": x, "c": chance.choice(list("abc"), rows), "y": y})


@pytest.mark.parametrize("seed", range(5))
def test_an_honest_table_has_no_finding(seed: int):
    assert found(honest(seed=seed), seed=seed) == []


def test_the_quick_audit_of_a_small_table_looks_at_nothing_it_cannot_judge():
    assert found(honest(24), folds=2) == []


# ------------------------------------------------------------------------------------------- twins


def test_twins_are_counted_with_their_share():
    """Every row stands four times, so nearly every test row has a twin in training."""
    frame = pd.concat([honest(50)] * 4, ignore_index=True)
    [finding] = found(frame)
    assert finding.code == "twins"
    assert finding.share == finding.count / 40
    assert finding.count >= 38
    assert f"{finding.count} of 40 test rows ({finding.share:.1%}) have an exact twin" in finding.message
    assert found(frame, split="hash") == []


def test_rows_that_differ_in_an_id_alone_are_twins():
    frame = pd.concat([honest(50)] * 4, ignore_index=True).assign(id=range(200))
    assert [finding.code for finding in found(frame)] == ["twins"]


# --------------------------------------------------------------------------------------- giveaways


@pytest.mark.parametrize(
    ("copy", "role"),
    [
        (lambda y: (y == "yes").astype(int), "numeric"),
        (lambda y: np.where(y == "yes", "left", "stayed"), "categorical"),
        (lambda y: y == "yes", "categorical"),
    ],
    ids=["number", "word", "boolean"],
)
def test_a_code_of_the_target_is_its_copy(copy: Callable, role: str):
    frame = honest()
    [finding] = found(frame.assign(z=copy(frame["y"].to_numpy())))
    assert (finding.code, finding.column, finding.score) == ("copy", "z", 1.0)
    assert finding.message == (
        "'z' is the target under another name: each value goes with one value of 'y'; leave it out by drop."
    )


def test_a_linear_copy_of_a_quantity_is_its_copy():
    chance = np.random.default_rng(0)
    y = chance.normal(100, 20, 300)
    frame = pd.DataFrame({"x": chance.normal(size=300), "fahrenheit": 1.8 * y + 32, "y": y})
    assert [(finding.code, finding.column) for finding in found(frame)] == [("copy", "fahrenheit")]


def test_a_column_that_predicts_alone_gives_the_target_away():
    frame = honest()
    paid = np.where(frame["y"] == "yes", 1.0, np.where(np.arange(400) % 100 == 0, 1.0, 0.0)) + frame["x"] / 100
    [finding] = found(frame.assign(refund=paid))
    assert (finding.code, finding.column) == ("giveaway", "refund")
    assert 0.98 <= finding.score < 1
    assert f"'refund' alone predicts 'y' with a balanced accuracy of {finding.score:.3f}" in finding.message
    # Left out, there is nothing to find.
    assert found(frame.assign(refund=paid), roles=parse_roles("refund=drop")) == []


def test_levels_give_away_what_an_order_would_not():
    """Every second level is of one class: a tree that cuts an order of them would need them all."""
    chance = np.random.default_rng(1)
    code = chance.integers(0, 60, 1_200)
    labels = pd.Series(np.where((code % 2 == 0) ^ (chance.random(1_200) < 0.005), "a", "b"))
    rows = pd.DataFrame({"c": [f"level{c}" for c in code]})
    [finding] = giveaways(rows, labels, contract_of(("a", "b"), Column("c", "categorical", "VARCHAR")), 0)
    assert (finding.code, finding.column) == ("giveaway", "c")


def test_a_strong_but_honest_column_is_no_giveaway():
    """Petal widths tell the kinds of iris with a balanced accuracy of about 0.96."""
    from sklearn.datasets import load_iris

    frame = load_iris(as_frame=True).frame.rename(columns={"target": "y"})
    assert {finding.code for finding in found(frame)} <= {"twins"}


# --------------------------------------------------------------------------------- groups and times


def test_entities_on_both_sides_of_a_random_split_are_told():
    frame = honest(600).assign(customer_id=np.arange(600) // 4 * 7919 % 100_003)
    findings = {finding.code: finding for finding in found(frame)}
    crosses = findings["group_crosses"]
    assert crosses.column == "customer_id"
    assert 0.9 < crosses.share <= 1
    assert "split=group with split_column='customer_id' keeps them apart" in crosses.message
    apart = found(frame, split="group", split_column="customer_id")
    assert "group_crosses" not in {finding.code for finding in apart}


def test_a_category_named_like_an_id_is_no_entity():
    frame = honest(600).assign(region_id=np.arange(600) % 5)
    assert "group_crosses" not in {finding.code for finding in found(frame)}


def test_training_rows_later_than_test_rows_are_told():
    frame = honest().assign(day=pd.date_range("2021-01-01", periods=400))
    [finding] = [finding for finding in found(frame) if finding.code == "time_crosses"]
    assert (finding.column, finding.count) == ("day", 80)
    assert "split=time with split_column='day' keeps them apart" in finding.message
    in_time = found(frame, split="time", split_column="day")
    assert "time_crosses" not in {finding.code for finding in in_time}


def test_a_second_table_that_is_not_later_is_told():
    first = honest().assign(day=pd.date_range("2021-01-01", periods=400))
    second = honest(100, seed=1).assign(day=pd.date_range("2022-01-25", periods=100))
    findings = found(first, second, test_data="b.csv", split="time", split_column="day")
    [finding] = [finding for finding in findings if finding.code == "time_crosses"]
    # 25 January to 4 February 2022 is within the first table.
    assert finding.count == 11
    assert "give a test table whose times are others" in finding.message


# --------------------------------------------------------------------------------------- separable


def test_a_second_table_of_another_kind_is_told_apart():
    second = honest(seed=1)
    second["x"] += 1
    [finding] = found(honest(), second, test_data="b.csv")
    assert (finding.code, finding.column) == ("separable", "x")
    assert finding.score > 0.6


def test_the_column_of_a_time_split_does_not_tell_its_sides_apart():
    """That it does was asked for; what else moves with time is still found."""
    frame = honest()
    frame["day"] = pd.date_range("2021-01-01", periods=len(frame)).strftime("%Y-%m-%d")
    assert found(frame, split="time", split_column="day") == []
    frame.loc[320:, "x"] += 2
    [finding] = found(frame, split="time", split_column="day")
    assert (finding.code, finding.column) == ("separable", "x")


def test_the_area_and_its_p_by_hand():
    """Of the six orders of two among four, the observed one is the best and one of six."""
    area, p = permuted_area(rankdata([1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 1, 1]), np.random.default_rng(0))
    assert area == 1.0
    assert p == pytest.approx(1 / 6, abs=0.02)


def test_the_area_is_that_of_the_roc_curve():
    chance = np.random.default_rng(3)
    scores, side = chance.normal(size=200).round(1), chance.integers(0, 2, 200)
    area, p = permuted_area(rankdata(scores), side, chance)
    assert area == pytest.approx(roc_auc_score(side, scores))
    assert 0 < p <= 1


def test_honest_splits_are_seldom_told_apart():
    """By chance p is below 0.001 in one of 1,000; rows in pairs of twins too."""
    columns = (Column("x", "numeric", "DOUBLE"), Column("c", "categorical", "VARCHAR"))
    told = 0
    for seed in range(40):
        rows = pd.concat([honest(150, seed)] * 2, ignore_index=True).sample(frac=1, random_state=seed)
        told += len(separable(rows[:240], rows[240:], contract_of(("no", "yes"), *columns), seed))
    assert told <= 1


def test_new_levels_by_themselves_do_not_tell_an_honest_split_apart():
    """Nearly every row has a level of its own, so that the test rows' are new."""
    frame = honest(1_000)
    frame["c"] = [f"c{c}" for c in np.random.default_rng(0).integers(0, 480, 1_000)]
    assert "separable" not in {finding.code for finding in found(frame)}


# ----------------------------------------------------------------------------------------- as told


def test_findings_are_a_table_and_a_line():
    findings = [
        Finding("twins", "", 30, 0.25, math.nan, "A sentence."),
        Finding("copy", "z", 100, 1.0, 1.0, "Another."),
    ]
    frame = as_frame(findings)
    assert frame.columns.tolist() == ["code", "level", "column", "count", "share", "score", "message"]
    assert frame["level"].tolist() == ["medium", "high"]
    assert said(findings) == "twins 25.0%; copy z 100.0%"
    assert as_frame([]).columns.tolist() == frame.columns.tolist()
    assert said([]) == ""

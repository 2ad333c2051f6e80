"""Coefficients: in the columns' own units and standardised, by the right names and with the right sign."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from lifecycle.coefficients import as_metrics, coefficients, metric_name
from lifecycle.contract import Column, Contract
from lifecycle.models import pipeline, preprocessor

NAN = np.nan
COLUMNS = (
    Column("colour", "categorical", "object"),
    Column("age", "numeric", "float64"),
    Column("size", "ordinal", "object", levels=("S", "M", "L")),
    Column("km", "numeric", "float64"),
)
ROWS = 60
RNG = np.random.default_rng(2)
RAW = pd.DataFrame(
    {
        "age": RNG.normal(40, 12, ROWS),
        "km": RNG.normal(5, 0.5, ROWS),
        "size": RNG.choice(["S", "M", "L"], ROWS),
        "colour": RNG.choice(["red", "green", "blue"], ROWS),
    }
)
# The design by hand, in own units: what the coefficients multiply.
DESIGN = pd.DataFrame(
    {
        "age": RAW["age"],
        "km": RAW["km"],
        "size": RAW["size"].map({"S": 0.0, "M": 1.0, "L": 2.0}),
        "colour_green": (RAW["colour"] == "green") * 1.0,
        "colour_red": (RAW["colour"] == "red") * 1.0,
    }
)
NAMES = [*DESIGN.columns, "const"]
VALUE = DESIGN.to_numpy() @ [0.1, -2.0, 0.5, 1.0, -1.0] + RNG.normal(0, 0.2, ROWS) + 12
MIDDLE = np.median(VALUE)
YES_NO = np.where(VALUE > MIDDLE, "yes", "no")


def contract(task: str, classes: tuple = (), positive: Any = None, columns: tuple = COLUMNS) -> Contract:
    """Make the contract of the rows above."""
    return Contract("y", task, classes, positive, "random", columns=columns)


def read(one: Contract, estimator: Any, labels: Any, rows: pd.DataFrame = RAW) -> tuple[pd.DataFrame, Pipeline]:
    """Fit a whole model and read its coefficients."""
    model = pipeline(one, estimator).fit(rows, labels)
    return coefficients(model, one, model[:-1].transform(rows)), model


def test_a_regressions_coefficients_are_least_squares_in_own_units():
    frame, _ = read(contract("regression"), LinearRegression(), VALUE)
    expected, *_ = np.linalg.lstsq(np.column_stack([DESIGN, np.ones(ROWS)]), VALUE, rcond=None)
    assert frame["column"].tolist() == NAMES
    np.testing.assert_allclose(frame["coef"], expected, rtol=1e-9)
    # Standardised: the change for one standard deviation of the column over the rows.
    np.testing.assert_allclose(frame["std_coef"][:-1], expected[:-1] * DESIGN.std(ddof=0), rtol=1e-9)
    assert np.isnan(frame["std_coef"].iloc[-1])
    assert frame["class"].isna().all()


def test_coefficients_are_of_the_imputed_column():
    """A missing number is the median, so the line through the rows that are there is another one."""
    only = (Column("age", "numeric", "float64"),)
    rows = pd.DataFrame({"age": [0.0, 1.0, 2.0, 10.0, NAN]})
    frame, _ = read(contract("regression", columns=only), LinearRegression(), [0.0, 1.0, 2.0, 10.0, 9.5], rows)
    slope, constant = np.polyfit([0.0, 1.0, 2.0, 10.0, 1.5], [0.0, 1.0, 2.0, 10.0, 9.5], 1)
    assert frame["coef"].tolist() == pytest.approx([slope, constant])


def test_dates_and_text_stand_behind_the_others_in_their_own_units():
    """The prediction is their sum, days are days, and a text's numbers are told apart by their place."""
    columns = (
        Column("title", "text", "object"),
        Column("sold", "datetime", "datetime64[us]", origin="2021-01-01"),
        *COLUMNS,
    )
    rows = RAW.assign(
        title=RNG.choice(["new cup", "old cup", "new pot", "old pot"], ROWS),
        sold=pd.Timestamp("2021-03-01") + pd.to_timedelta(RNG.permutation(ROWS) * 7, unit="D"),
    )
    one = contract("regression", columns=columns)
    elapsed = (rows["sold"] - pd.Timestamp("2021-01-01")).dt.days
    frame, model = read(one, LinearRegression(), VALUE + 0.25 * elapsed, rows)
    names = frame["column"].tolist()
    assert names[:6] == [*DESIGN.columns, "sold_days"]
    # Always the same weekday, never a time of day.
    assert names[6:9] == ["sold_year_sin", "sold_year_cos", "title_text_1"]
    coef = dict(zip(names, frame["coef"], strict=True))
    assert coef["sold_days"] == pytest.approx(0.25, abs=0.01)
    assert coef["km"] == pytest.approx(-2.0, abs=0.15)
    design = pd.DataFrame(preprocessor(one, scale=False).fit_transform(rows), columns=names[:-1])
    np.testing.assert_allclose(design @ frame["coef"][:-1].to_numpy() + coef["const"], model.predict(rows), rtol=1e-6)


def test_the_sum_of_the_coefficients_is_the_log_odds_of_the_positive_class():
    for positive, sign in (("yes", 1), ("no", -1)):
        frame, model = read(contract("classification", ("no", "yes"), positive), LogisticRegression(), YES_NO)
        found = np.column_stack([DESIGN, np.ones(ROWS)]) @ frame["coef"].to_numpy()
        np.testing.assert_allclose(found, sign * model.decision_function(RAW), rtol=1e-8, atol=1e-8)
        assert frame["class"].tolist() == [positive] * 6


def test_the_sign_speaks_for_the_positive_class():
    """The older, the more often yes; so the less often no."""
    only = (Column("age", "numeric", "float64"),)
    rows = pd.DataFrame({"age": np.arange(10.0)})
    labels = ["no"] * 5 + ["yes"] * 5
    for positive, sign in (("yes", 1), ("no", -1)):
        one = contract("classification", ("no", "yes"), positive, only)
        frame, _ = read(one, LogisticRegression(solver="liblinear"), labels, rows)
        assert np.sign(frame["coef"].tolist()).tolist() == [sign, -sign]
        assert np.sign(frame["std_coef"].iloc[0]) == sign


def test_three_classes_have_their_coefficients_each():
    labels = np.digitize(VALUE, np.quantile(VALUE, [0.3, 0.6]))
    frame, model = read(contract("classification", (0, 1, 2)), LogisticRegression(), labels)
    assert frame["class"].tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert frame["column"].tolist() == NAMES * 3
    design = np.column_stack([DESIGN, np.ones(ROWS)])
    for label in range(3):
        found = design @ frame.loc[frame["class"] == label, "coef"].to_numpy()
        np.testing.assert_allclose(found, model.decision_function(RAW)[:, label], rtol=1e-8, atol=1e-8)
    assert as_metrics(frame) == {}


def test_a_linear_support_vector_machine_of_two_classes():
    frame, model = read(contract("classification", ("no", "yes"), "yes"), SVC(kernel="linear"), YES_NO)
    found = np.column_stack([DESIGN, np.ones(ROWS)]) @ frame["coef"].to_numpy()
    np.testing.assert_allclose(found, model.decision_function(RAW), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("classes", [3, 4, 5])
def test_a_linear_support_vector_machine_of_several_classes_has_pairs_and_not_classes(classes: int):
    """It separates each pair of classes: the figures of a pair bear both names, and speak for the first."""
    labels = np.digitize(VALUE, np.quantile(VALUE, np.arange(1, classes) / classes))
    machine = SVC(kernel="linear", decision_function_shape="ovo")
    frame, model = read(contract("classification", tuple(range(classes))), machine, labels)
    pairs = list(combinations(range(classes), 2))
    assert frame["class"].unique().tolist() == [f"{one} against {other}" for one, other in pairs]
    design = np.column_stack([DESIGN, np.ones(ROWS)])
    for place, (one, other) in enumerate(pairs):
        found = design @ frame.loc[frame["class"] == f"{one} against {other}", "coef"].to_numpy()
        np.testing.assert_allclose(found, model.decision_function(RAW)[:, place], rtol=1e-8, atol=1e-8)
        assert found[labels == one].mean() > 0 > found[labels == other].mean()
    assert as_metrics(frame) == {}


def test_a_linear_support_vector_machine_on_a_sparse_design():
    """Many one-hot columns make scikit-learn's design sparse, and with it the machine's coefficients."""
    columns = (Column("age", "numeric", "float64"), *(Column(c, "categorical", "object") for c in "cd"))
    rows = pd.DataFrame({"age": RAW["age"]})
    rows["c"] = [f"c{row % 12}" for row in range(ROWS)]
    rows["d"] = [f"d{row % 15}" for row in range(ROWS)]
    one = contract("classification", ("no", "yes"), "yes", columns)
    frame, model = read(one, SVC(kernel="linear"), YES_NO, rows)
    dummies = pd.get_dummies(rows, columns=["c", "d"], drop_first=True, dtype=float)
    weights = frame.set_index("column")["coef"]
    found = dummies @ weights[dummies.columns] + weights["const"]
    np.testing.assert_allclose(found, model.decision_function(rows), rtol=1e-8, atol=1e-8)


# ------------------------------------------------------------------------------------------ names


def test_a_level_that_spells_another_column_gets_a_number():
    """The column `size_L` beside the level L of `size`: both are there, under two names."""
    columns = (Column("size_L", "numeric", "float64"), Column("size", "categorical", "object"))
    rows = pd.DataFrame({"size_L": RAW["age"], "size": RAW["size"].replace({"S": "A"})})
    frame, _ = read(contract("regression", columns=columns), LinearRegression(), VALUE, rows)
    assert frame["column"].tolist() == ["size_L", "size_L_2", "size_M", "const"]
    metrics = as_metrics(frame)
    assert {"coef/size_L", "coef/size_L_2", "coef/size_M", "coef/const"} == {n for n in metrics if n.startswith("coef")}


def test_a_column_named_const_is_not_the_constant():
    columns = (Column("const", "numeric", "float64"), Column("km", "numeric", "float64"))
    rows = pd.DataFrame({"const": np.arange(10.0), "km": np.arange(10.0) ** 2})
    labels = 3 * rows["const"] - 2 * rows["km"] + 100
    frame, _ = read(contract("regression", columns=columns), LinearRegression(), labels, rows)
    assert frame["column"].tolist() == ["const_2", "km", "const"]
    values = sorted(round(value, 6) for name, value in as_metrics(frame).items() if name.startswith("coef/"))
    assert values == [-2.0, 3.0, 100.0]
    # The constant keeps its name, for it is there in every table.
    assert as_metrics(frame)["coef/const"] == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Time on App", "Time on App"),
        ("a_b-c.d e:f/g", "a_b-c.d e:f/g"),
        ("Größe (m²)", "Gr__e _m__"),
        ("a$b%", "a_b_"),
        ("price,€", "price__"),
        ("tab\there", "tab_here"),
    ],
)
def test_a_metrics_name_is_one_that_every_store_takes(raw: str, name: str):
    assert metric_name(raw) == name


def table(columns: list[str], coef: list[float], std_coef: list[float], labels: Any = None) -> pd.DataFrame:
    """Make a frame of coefficients."""
    return pd.DataFrame({"class": labels, "column": columns, "coef": coef, "std_coef": std_coef})


def test_coefficients_become_metrics_and_names_that_fall_together_get_numbers():
    frame = table(["a$", "a%", "a_", "b", "a__2", "const"], [1, 2, 3, 4, 5, 6], [0.1, 0.2, 0.3, NAN, 0.5, NAN])
    assert as_metrics(frame) == {
        "coef/a_": 1.0,
        "std_coef/a_": 0.1,
        "coef/a__2": 2.0,
        "std_coef/a__2": 0.2,
        "coef/a__3": 3.0,
        "std_coef/a__3": 0.3,
        "coef/b": 4.0,
        "coef/a__2_2": 5.0,
        "std_coef/a__2_2": 0.5,
        "coef/const": 6.0,
    }


def test_at_most_the_200_largest_standardised_ones_are_metrics():
    """By their size, whatever their sign; and the constant beside them."""
    sizes = np.arange(250.0) * np.where(np.arange(250) % 2, 1, -1)
    columns = [f"x{i}" for i in range(250)]
    found = as_metrics(table([*columns, "const"], [1.0] * 251, [*sizes, NAN]))
    assert {name for name in found if name.startswith("coef/")} == {
        "coef/const",
        *(f"coef/x{i}" for i in range(50, 250)),
    }
    assert found["std_coef/x249"] == 249.0
    assert found["std_coef/x248"] == -248.0
    assert len(found) == 401


def test_one_class_makes_metrics_and_several_make_none():
    """One name would stand for several numbers."""
    assert as_metrics(table(["a"], [1.0], [2.0], ["yes"])) == {"coef/a": 1.0, "std_coef/a": 2.0}
    assert as_metrics(table(["a", "a"], [1.0, 2.0], [2.0, 3.0], ["x", "y"])) == {}

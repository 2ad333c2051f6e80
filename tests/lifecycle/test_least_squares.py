"""Ordinary least squares and its inference, each figure by its definition."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from lifecycle.coefficients import as_metrics, coefficients
from lifecycle.contract import Column, Contract
from lifecycle.least_squares import (
    check_width,
    design_matrix,
    diagnostics,
    fitted_preprocessor,
    intervals,
    least_squares,
    left_out_for_width,
)
from lifecycle.models import pipeline

ROWS = 50
RNG = np.random.default_rng(4)
COLUMNS = (
    Column("km", "numeric", "float64"),
    Column("age", "numeric", "float64"),
    Column("colour", "categorical", "object"),
)
RAW = pd.DataFrame({"km": RNG.normal(5, 1, ROWS), "colour": RNG.choice(["red", "green", "blue"], ROWS)})
RAW["age"] = 20 + 3 * RAW["km"] + RNG.normal(0, 2, ROWS)
VALUE = pd.Series(2 * RAW["km"] - 0.3 * RAW["age"] + (RAW["colour"] == "red") + RNG.normal(0, 0.7, ROWS), name="y")


def contract(*columns: Column) -> Contract:
    """Make the contract of a regression table."""
    return Contract("y", "regression", (), None, "random", columns=columns or COLUMNS)


@pytest.fixture(scope="module")
def design() -> pd.DataFrame:
    return design_matrix(fitted_preprocessor(contract(), RAW), RAW)


@pytest.fixture(scope="module")
def results(design: pd.DataFrame) -> Any:
    return least_squares(VALUE, design).fit()


def test_the_design_matrix_is_in_own_units_the_constant_first():
    before = fitted_preprocessor(contract(), RAW)
    rows = pd.DataFrame(
        {"colour": ["red", "blue", None], "age": [30, 31, 32], "km": [1.5, None, 2.5]}, index=["a", "b", "c"]
    )
    rows["colour"] = ["red", "blue", "green"]
    expected = pd.DataFrame(
        {
            "const": 1.0,
            "km": [1.5, RAW["km"].median(), 2.5],
            "age": [30.0, 31.0, 32.0],
            "colour_green": [0.0, 0.0, 1.0],
            "colour_red": [1.0, 0.0, 0.0],
        },
        index=["a", "b", "c"],
    )
    pd.testing.assert_frame_equal(design_matrix(before, rows), expected)


def test_a_sparse_design_is_written_out():
    rows = RAW.assign(colour=[f"c{row % 25:02d}" for row in range(ROWS)])
    found = design_matrix(fitted_preprocessor(contract(COLUMNS[2]), rows), rows)
    dummies = pd.get_dummies(rows["colour"], prefix="colour", drop_first=True, dtype=float)
    pd.testing.assert_frame_equal(found, dummies.assign(const=1.0)[["const", *dummies.columns]])


def test_a_column_named_const_does_not_break_the_design():
    rows = pd.DataFrame({"const": RAW["km"]})
    one = contract(Column("const", "numeric", "float64"))
    found = design_matrix(fitted_preprocessor(one, rows), rows)
    assert found.shape == (ROWS, 2)
    assert found.columns.is_unique
    np.testing.assert_array_equal(found.iloc[:, 0], 1.0)


def test_the_coefficients_are_scikit_learns(design: pd.DataFrame, results: Any):
    model = pipeline(contract(), LinearRegression()).fit(RAW, VALUE)
    theirs = coefficients(model, contract(), model[:-1].transform(RAW)).set_index("column")
    ours = intervals(results, design).set_index("column")
    assert ours.index.tolist() == ["const", "km", "age", "colour_green", "colour_red"]
    np.testing.assert_allclose(ours["coef"], theirs.loc[ours.index, "coef"], atol=1e-6)
    np.testing.assert_allclose(ours["std_coef"].iloc[1:], theirs.loc[ours.index[1:], "std_coef"], atol=1e-6)
    assert np.isnan(ours.loc["const", "std_coef"])
    np.testing.assert_allclose(results.predict(design), model.predict(RAW), atol=1e-6)


def test_the_inference_by_its_formulas(design: pd.DataFrame, results: Any):
    """Errors from the residuals' variance with n - 5 degrees of freedom, t and p from them, 95 % intervals."""
    x, y = design.to_numpy(), VALUE.to_numpy()
    coef, *_ = np.linalg.lstsq(x, y, rcond=None)
    left = ROWS - 5
    errors = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * np.sum((y - x @ coef) ** 2) / left)
    found = intervals(results, design)
    assert found.columns.tolist() == ["column", "coef", "std_coef", "std_err", "t", "p", "lower", "upper"]
    np.testing.assert_allclose(found["std_err"], errors, rtol=1e-9)
    np.testing.assert_allclose(found["t"], coef / errors, rtol=1e-8)
    np.testing.assert_allclose(found["p"], 2 * stats.t.sf(np.abs(coef / errors), left), rtol=1e-6, atol=1e-300)
    half = stats.t.ppf(0.975, left) * errors
    np.testing.assert_allclose(found["lower"], coef - half, rtol=1e-8)
    np.testing.assert_allclose(found["upper"], coef + half, rtol=1e-8)


def test_the_inference_becomes_metrics_as_other_coefficients_do(design: pd.DataFrame, results: Any):
    found = intervals(results, design)
    metrics = as_metrics(found.assign(**{"class": None}))
    assert metrics["coef/const"] == found["coef"].iloc[0]
    assert metrics["std_coef/km"] == found["std_coef"].iloc[1]
    assert "std_coef/const" not in metrics


def r2(x: np.ndarray, y: np.ndarray) -> float:
    """Give the share of the variance that a least squares fit with a constant explains."""
    full = np.column_stack([np.ones(len(y)), x])
    residuals = y - full @ np.linalg.lstsq(full, y, rcond=None)[0]
    return 1 - np.sum(residuals**2) / np.sum((y - y.mean()) ** 2)


def test_the_diagnostics_by_their_definitions(design: pd.DataFrame, results: Any):
    found = diagnostics(results, design)
    x, slopes = design.to_numpy(), design.drop(columns="const")
    e = VALUE.to_numpy() - x @ np.linalg.lstsq(x, VALUE.to_numpy(), rcond=None)[0]
    # Variance inflation: how well the other columns explain this one.
    for name in slopes:
        expected = 1 / (1 - r2(slopes.drop(columns=name).to_numpy(), slopes[name].to_numpy()))
        assert found[f"vif/{name}"] == pytest.approx(expected, rel=1e-6)
    assert "vif/const" not in found
    assert found["vif/km"] > 2
    assert found["durbin_watson"] == pytest.approx(np.sum(np.diff(e) ** 2) / np.sum(e**2))
    # Breusch and Pagan, by Koenker: n times R2 of the squared residuals on the columns.
    statistic = ROWS * r2(slopes.to_numpy(), e**2)
    assert found["breusch_pagan"] == pytest.approx(statistic)
    assert found["breusch_pagan_p"] == pytest.approx(stats.chi2.sf(statistic, 4))
    skew, kurtosis = stats.skew(e), stats.kurtosis(e, fisher=False)
    assert found["jarque_bera_p"] == pytest.approx(
        stats.chi2.sf(ROWS / 6 * (skew**2 + (kurtosis - 3) ** 2 / 4), 2), rel=1e-6
    )
    assert found["condition_number"] == pytest.approx(np.linalg.cond(x), rel=1e-6)
    leverage = np.diag(x @ np.linalg.inv(x.T @ x) @ x.T)
    assert found["leverage_max"] == pytest.approx(leverage.max())
    cook = e**2 / (5 * np.sum(e**2) / (ROWS - 5)) * leverage / (1 - leverage) ** 2
    assert found["cooks_distance_max"] == pytest.approx(cook.max())
    assert found["influential_rows"] == np.sum(cook > 4 / ROWS)
    assert found["influential_rows"] > 0
    assert all(type(value) is float for value in found.values())


def test_columns_whose_names_fall_together_have_their_inflation_each():
    """As coefficients have: the second gets _2."""
    rows = pd.DataFrame({"a$": RAW["km"], "a%": RAW["age"], "b": RNG.normal(size=ROWS)})
    one = contract(*(Column(name, "numeric", "float64") for name in rows))
    design = design_matrix(fitted_preprocessor(one, rows), rows)
    found = diagnostics(least_squares(VALUE, design).fit(), design)
    assert {name for name in found if name.startswith("vif/")} == {"vif/a_", "vif/a__2", "vif/b"}


def places(levels: int) -> Contract:
    """Make the contract of a table of two numbers and a text with many levels, so levels + 1 design columns."""
    return contract(*COLUMNS[:2], Column("place", "categorical", "object", levels=tuple(map(str, range(levels)))))


def test_a_table_is_too_wide_over_1_000_design_columns(refused: Callable):
    assert left_out_for_width(places(999)) == ""
    check_width(places(999))
    assert left_out_for_width(places(1_000)) == "1,001 design columns, of which it takes at most 1,000"
    with refused(
        "drop: regress_statsmodels writes the design out, and the table has 13,221 design columns, of which it takes "
        "at most 1,000; drop='place' leaves out its 13,220 levels, or use regress_sklearn, which takes them all."
    ):
        check_width(places(13_220))


def test_numbers_alone_can_be_too_many(refused: Callable):
    numbers = contract(*(Column(f"x{i}", "numeric", "float64") for i in range(1_200)))
    with refused(
        "drop: regress_statsmodels writes the design out, and the table has 1,200 design columns, of which it takes "
        "at most 1,000; leave columns out, or use regress_sklearn, which takes them all."
    ):
        check_width(numbers)

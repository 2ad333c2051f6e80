"""Ordinary least squares with its inference: what a linear regression says beside its predictions."""

from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from sklearn.pipeline import Pipeline
from statsmodels.stats.diagnostic import het_breuschpagan
from statsmodels.stats.outliers_influence import OLSInfluence
from statsmodels.stats.stattools import durbin_watson, jarque_bera

from lifecycle.coefficients import CONST, design_names, metric_name, numbered
from lifecycle.contract import CATEGORICAL, Contract
from lifecycle.errors import UserError
from lifecycle.models import design_columns, preprocessor

LEVEL = 0.95
# statsmodels writes the design out, more than once; docs/large.md has the seconds and the memory.
MOST_COLUMNS = 1_000


def left_out_for_width(contract: Contract) -> str:
    """Tell why ordinary least squares is left out for a table.

    Returns
    -------
    str
        Such as ``13,220 design columns, of which it takes at most 1,000``; empty where it is not.
    """
    columns = design_columns(contract)
    return f"{columns:,} design columns, of which it takes at most {MOST_COLUMNS:,}" if columns > MOST_COLUMNS else ""


def check_width(contract: Contract) -> None:
    """Refuse a table that is too wide for ordinary least squares.

    Parameters
    ----------
    contract : Contract
        Of the table.

    Raises
    ------
    UserError
        Naming the column with the most levels.
    """
    reason = left_out_for_width(contract)
    if reason:
        widest = max(contract.columns, key=lambda column: len(column.levels) if column.role == CATEGORICAL else 0)
        mend = (
            f"drop={widest.name!r} leaves out its {len(widest.levels):,} levels"
            if widest.role == CATEGORICAL
            else "leave columns out"
        )
        raise UserError(
            f"drop: regress_statsmodels writes the design out, and the table has {reason}; {mend}, or "
            "use regress_sklearn, which takes them all."
        )


def design_matrix(before: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """Turn raw rows into the design matrix, in the columns' own units, the constant first.

    Parameters
    ----------
    before : Pipeline
        Fitted, as `fitted_preprocessor` gives it.
    rows : DataFrame
        Raw columns.

    Returns
    -------
    DataFrame of float64
        ``const`` and the design columns, with the rows' index.
    """
    values = before.transform(rows)
    dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    frame = pd.DataFrame(dense, columns=design_names(before), index=rows.index, dtype="float64")
    frame.insert(0, CONST, 1.0)
    return frame


def fitted_preprocessor(contract: Contract, rows: pd.DataFrame) -> Pipeline:
    """Fit the preprocessing of a table without scaling, so that coefficients are in the columns' own units."""
    return preprocessor(contract, scale=False).fit(rows)


def intervals(results: Any, design: pd.DataFrame) -> pd.DataFrame:
    """Return the coefficients with their inference.

    Parameters
    ----------
    results : statsmodels RegressionResults
        Fitted, with its data.
    design : DataFrame
        The design matrix that it was fitted on, the constant first.

    Returns
    -------
    DataFrame
        ``column``, ``coef``, ``std_coef`` (for one standard deviation of the column), ``std_err``,
        ``t``, ``p``, ``lower`` and ``upper`` (95 % confidence), the constant first.
    """
    deviations = design.std(ddof=0).replace(0, np.nan).to_numpy()
    bounds = results.conf_int(alpha=1 - LEVEL)
    return pd.DataFrame(
        {
            "column": results.params.index,
            "coef": results.params.to_numpy(),
            "std_coef": results.params.to_numpy() * deviations,
            "std_err": results.bse.to_numpy(),
            "t": results.tvalues.to_numpy(),
            "p": results.pvalues.to_numpy(),
            "lower": bounds[0].to_numpy(),
            "upper": bounds[1].to_numpy(),
        }
    )


def inflation(columns: "np.ndarray[Any, np.dtype[np.float64]]") -> list[float]:
    """Variance inflation factors of all columns at once: the diagonal of the inverse of their correlations.

    The same as one regression of each column on the others, without doing them one by one.

    Parameters
    ----------
    columns : array of float64, shape (n, columns)
        Without the constant.

    Returns
    -------
    list of float
        Infinite for all where a column is a sum of others, or constant.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.atleast_2d(np.corrcoef(columns, rowvar=False))
    if not np.isfinite(correlations).all() or np.linalg.cond(correlations) > 1 / np.finfo(float).eps:
        return [float("inf")] * columns.shape[1]
    return [float(factor) for factor in np.diag(np.linalg.inv(correlations))]


def diagnostics(results: Any, design: pd.DataFrame) -> dict[str, float]:
    """Run the usual diagnostics of a least squares fit, by statsmodels' functions.

    Parameters
    ----------
    results : statsmodels RegressionResults
        Fitted, with its data.
    design : DataFrame
        The design matrix of the training rows, the constant first.

    Returns
    -------
    dict of str to float
        ``vif/<column>``: variance inflation factor, above 10 the column is nearly a sum of others.
        ``breusch_pagan``, ``breusch_pagan_p``: small p, the residuals' spread depends on the columns.
        ``durbin_watson``: near 2 where neighbouring residuals do not depend on each other.
        ``jarque_bera_p``: small p, the residuals are not normal.
        ``condition_number``: of the design matrix.
        ``cooks_distance_max``, ``leverage_max``, ``influential_rows``: influence of single rows; a row is influential
        where Cook's distance is above 4 / n.
    """
    values = design.to_numpy()
    found: dict[str, float] = {
        f"vif/{name}": factor
        for name, factor in zip(
            numbered(metric_name(str(column)) for column in design.columns[1:]), inflation(values[:, 1:]), strict=True
        )
    }
    residuals = results.resid.to_numpy()
    statistic, p, _, _ = het_breuschpagan(residuals, values)
    influence = OLSInfluence(results)
    # A row that alone decides a coefficient, such as the only one of a level, has no distance.
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = influence.cooks_distance[0]
    distances = np.asarray(distances)[np.isfinite(distances)]
    return found | {
        "breusch_pagan": float(statistic),
        "breusch_pagan_p": float(p),
        "durbin_watson": float(durbin_watson(residuals)),
        "jarque_bera_p": float(jarque_bera(residuals)[1]),
        "condition_number": float(results.condition_number),
        "cooks_distance_max": float(np.max(distances, initial=0.0)),
        "leverage_max": float(np.max(influence.hat_matrix_diag)),
        "influential_rows": float(np.sum(distances > 4 / len(residuals))),
    }


def least_squares(labels: "pd.Series[Any]", design: pd.DataFrame) -> Any:
    """Return the unfitted model of statsmodels."""
    return sm.OLS(labels, design)

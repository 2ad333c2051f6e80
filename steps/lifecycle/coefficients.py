"""Coefficients of linear models, by the names of the design columns, standardised and in the columns' own units."""

import re
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from lifecycle.contract import Contract
from lifecycle.models import estimator_of

MOST_TRACKED = 200
CONST = "const"


def numbered(names: Iterable[str]) -> list[str]:
    """Make names differ: of those that fall together the second gets ``_2``, the third ``_3``."""
    given: list[str] = []
    taken: set[str] = set()
    for name in names:
        own, number = name, 1
        while own in taken:
            number += 1
            own = f"{name}_{number}"
        given.append(own)
        taken.add(own)
    return given


def design_names(preprocess: Pipeline) -> list[str]:
    """Name the design columns of a fitted preprocessor.

    One-hot columns are ``<column>_<level>``, the numbers of a time ``<column>_days``, ``<column>_week_sin`` and the
    like, those of a text ``<column>_text_1`` and on. A name that another column has already, or the constant, gets a
    number.
    """
    names = [CONST]
    for branch, steps, columns in preprocess.named_steps["columns"].transformers_:
        several = branch in ("onehot", "datetime", "text")
        names.extend(steps.named_steps["encode"].get_feature_names_out(columns) if several else columns)
    return numbered(str(name) for name in names)[1:]


def coefficients(model: Pipeline, contract: Contract, design: Any) -> pd.DataFrame:
    """Read the coefficients of a fitted linear pipeline.

    Parameters
    ----------
    model : Pipeline
        As `lifecycle.models.pipeline` builds it, with a linear estimator, with or without a threshold.
    contract : Contract
        Of the table.
    design : array or sparse matrix, shape (n, columns)
        The training rows after the model's preprocessing.

    Returns
    -------
    DataFrame
        A row for each design column (and class, for more than two): ``class``, ``column``, ``coef`` (change of the
        prediction, or of the log-odds, for one unit of the column) and ``std_coef`` (for one standard deviation of
        the column over the training rows); the constant is the column ``const``, without ``std_coef``. A support
        vector machine of several classes separates pairs: its ``class`` is such as ``a against b``.
    """
    estimator = estimator_of(model)
    columns = model.named_steps["columns"]
    names = design_names(model)
    scales, means = np.ones(len(names)), np.zeros(len(names))
    for branch, steps, _ in columns.transformers_:
        if "scale" in steps.named_steps:
            place, scaler = columns.output_indices_[branch], steps.named_steps["scale"]
            scales[place], means[place] = scaler.scale_, scaler.mean_
    deviations = np.sqrt(StandardScaler(with_mean=False).fit(design).var_)
    weights = estimator.coef_
    rows = np.atleast_2d(weights.toarray() if hasattr(weights, "toarray") else weights)
    constants = np.atleast_1d(np.asarray(estimator.intercept_, dtype=float))
    several = len(rows) > 1
    spoken_for: list[Any] = list(contract.classes) if several else [contract.positive]
    if isinstance(estimator, SVC) and several:
        spoken_for = [f"{one} against {other}" for one, other in combinations(contract.classes, 2)]
    # scikit-learn's coefficients speak for the later of two classes.
    sign = -1.0 if not several and contract.classes and contract.positive == contract.classes[0] else 1.0
    frames = []
    for index, (row, constant) in enumerate(zip(sign * rows, sign * constants, strict=True)):
        own = row / scales
        frame = pd.DataFrame(
            {
                "column": [*names, CONST],
                "coef": [*own, constant - (own * means).sum()],
                "std_coef": [*(row * deviations), np.nan],
            }
        )
        frame.insert(0, "class", spoken_for[index])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def metric_name(text: str) -> str:
    """Write a column's name so that every tracking store takes it in a metric's name.

    Each character outside letters, digits and ``_-. :/`` becomes ``_``.
    """
    return re.sub(r"[^A-Za-z0-9_\-. :/]", "_", text)


def as_metrics(frame: pd.DataFrame) -> dict[str, float]:
    """Name coefficients as metrics.

    Parameters
    ----------
    frame : DataFrame
        As `coefficients` gives it, of one class or none; with several classes nothing is tracked, since one name
        would stand for several numbers: the artifact has them all.

    Returns
    -------
    dict of str to float
        ``coef/<column>`` and ``std_coef/<column>`` of the 200 largest standardised ones, and ``coef/const``; of names
        that fall together after `metric_name` the second gets ``_2``, the third ``_3``.
    """
    if frame["class"].nunique(dropna=False) > 1:
        return {}
    constant = (frame["column"] == CONST) & frame["std_coef"].isna()
    slopes = frame[~constant]
    slopes = slopes.loc[slopes.index.isin(slopes["std_coef"].abs().fillna(0).nlargest(MOST_TRACKED).index)]
    kept = pd.concat([frame[constant], slopes])
    found: dict[str, float] = {}
    names = numbered(metric_name(str(name)) for name in kept["column"])
    for name, coef, std_coef in zip(names, kept["coef"], kept["std_coef"], strict=True):
        found[f"coef/{name}"] = float(coef)
        if np.isfinite(std_coef):
            found[f"std_coef/{name}"] = float(std_coef)
    return found

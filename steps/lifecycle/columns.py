"""The transformer of our own that stands first in every model: raw columns in, typed columns out.

This module travels with each saved model under a package name that bears its digest, so that models saved by
different versions of it load side by side in one process. It must therefore import nothing else of ours.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted


def level_of(value: Any) -> Any:
    """Write one cell as the text of its level; missing stays missing (NaN).

    Whole numbers have no decimal point, whatever type they came in: 3, 3.0 and "3" are the same level, as a CSV
    read twice or a JSON request would have it.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return np.nan
    if isinstance(value, (float, np.floating)):
        if np.isnan(value):
            return np.nan
        return str(int(value)) if float(value).is_integer() else str(value)
    return str(value)


def levels_of(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Write a column as the texts of its levels.

    Parameters
    ----------
    column : Series of any dtype
        Text, booleans, numbers (nullable or not), categoricals or objects.

    Returns
    -------
    Series of dtype object
        Same index; text where there was a value, NaN where it was missing.
    """
    # Writing each distinct value once is what makes this cheap on a long column of few levels.
    cells = column.astype(object)
    try:
        codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    except TypeError:
        # Lists and the like cannot be told apart by hash.
        return pd.Series([level_of(cell) for cell in cells], index=column.index, name=column.name, dtype=object)
    texts = np.array([level_of(value) for value in distinct] + [np.nan], dtype=object)
    return pd.Series(texts[codes], index=column.index, name=column.name, dtype=object)


def numbers_of(column: "pd.Series[Any]") -> "pd.Series[float]":
    """Turn a column into float64; missing of any kind becomes NaN.

    Raises
    ------
    ValueError
        Where a value is no number, naming the column and the value.
    """
    if column.dtype.kind in "mM":
        present = column.dropna()
        if len(present):
            # pandas would count nanoseconds.
            raise ValueError(f"column {column.name!r} is numeric, but holds {str(present.iloc[0])!r}")
        column = pd.Series(np.nan, index=column.index, name=column.name, dtype="float64")
    try:
        numbers = pd.to_numeric(column)
    except (ValueError, TypeError) as error:
        found = next((repr(value) for value in column.dropna() if not _is_number(value)), str(error))
        raise ValueError(f"column {column.name!r} is numeric, but holds {found}") from error
    return pd.Series(numbers.to_numpy(dtype="float64", na_value=np.nan), index=column.index, name=column.name)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


class CastColumns(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Select a model's columns by name and give each the type that the model was trained on.

    Columns that the model does not use are left out, their order does not matter.

    Parameters
    ----------
    numeric : list of str
        Columns that become float64, missing as NaN. Integers, nullable integers, objects and texts of numbers are
        taken.
    categorical : list of str
        Columns that become text (dtype object), missing as NaN.
    """

    def __init__(self, numeric: list[str], categorical: list[str]) -> None:
        self.numeric = numeric
        self.categorical = categorical

    def fit(self, X: pd.DataFrame, y: Any = None) -> "CastColumns":
        """Remember nothing but the columns: the types are parameters."""
        self.feature_names_in_ = np.array([*self.numeric, *self.categorical], dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the columns, the numeric ones first.

        Parameters
        ----------
        X : DataFrame
            Raw rows, with at least the columns of the model.

        Returns
        -------
        DataFrame
            float64 and object columns, same index.

        Raises
        ------
        ValueError
            Where a column is absent or a numeric one holds text.
        """
        check_is_fitted(self)
        absent = [name for name in self.feature_names_in_ if name not in X.columns]
        if absent:
            raise ValueError(f"the model needs the columns {absent}, which the table does not have")
        cast = {name: numbers_of(X[name]) for name in self.numeric}
        cast |= {name: levels_of(X[name]) for name in self.categorical}
        return pd.DataFrame(cast, index=X.index)

    def get_feature_names_out(self, input_features: Any = None) -> "np.ndarray[Any, np.dtype[Any]]":
        """Return the columns' names in the order of the output."""
        return self.feature_names_in_

"""The transformers of our own that stand first in every model: raw columns in, numbers out.

This module travels with each saved model under a package name that bears its digest, so that models saved by
different versions of it load side by side in one process. It must therefore import nothing else of ours.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

DECIMAL_COMMA, THOUSANDS = "decimal comma", "thousands"
# Groups of three between separators, the same one throughout: a number that does not fit was written in another way.
GROUPED = {
    DECIMAL_COMMA: re.compile(
        r"[+-]?(?:\d{1,3}(?:([. '\u00a0\u202f])\d{3}(?:\1\d{3})*)|\d+)?(?:,\d*)?(?:[eE][+-]?\d+)?"
    ),
    THOUSANDS: re.compile(r"[+-]?(?:\d{1,3}(?:([, '\u00a0\u202f])\d{3}(?:\1\d{3})*)|\d+)?(?:\.\d*)?(?:[eE][+-]?\d+)?"),
}
SEPARATORS = {
    DECIMAL_COMMA: str.maketrans({",": ".", **dict.fromkeys(". '\u00a0\u202f")}),
    THOUSANDS: str.maketrans(dict.fromkeys(", '\u00a0\u202f")),
}
# pandas takes these words for the time at which they are read.
MOVING_TIMES = ("now", "today")
NO_TIME = np.datetime64("NaT", "us")


def _missing(value: Any) -> bool:
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, (float, np.floating)) and value != value)
    )


def _by_value(column: "pd.Series[Any]", write: Callable[[Any], Any], missing: Any, dtype: Any) -> npt.NDArray[Any]:
    """Write each distinct cell once, which is what makes a long column of few values cheap."""
    cells = column.astype(object)
    try:
        codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    except TypeError:
        # Lists and the like cannot be told apart by hash.
        codes, distinct = np.arange(len(cells)), pd.Index(cells)
    # Code -1, of a missing cell, is the last place.
    return np.array([*(write(value) for value in distinct), missing], dtype=dtype)[codes]


def level_of(value: Any) -> Any:
    """Write one cell as the text of its level; missing and blank cells stay missing (NaN).

    Whole numbers have no decimal point, whatever type they came in: 3, 3.0 and "3" are the same level, as a CSV
    read twice or a JSON request would have it. So are True, "true" and "TRUE". Blanks around a text are no part
    of it.
    """
    if _missing(value):
        return np.nan
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else str(value)
    text = str(value).strip()
    if text.casefold() in ("true", "false"):
        return text.capitalize()
    return text or np.nan


def levels_of(column: "pd.Series[Any]", missing_words: Sequence[str] = ()) -> "pd.Series[Any]":
    """Write a column as the texts of its levels.

    Parameters
    ----------
    column : Series of any dtype
        Text, booleans, numbers (nullable or not), categoricals or objects.
    missing_words : sequence of str
        Texts that stand for a missing cell, in this very case; blank ones always do.

    Returns
    -------
    Series of dtype object
        Same index; text where there was a value, NaN where it was missing.
    """
    words = {word.strip() for word in missing_words}

    def write(value: Any) -> Any:
        level = level_of(value)
        return np.nan if level in words else level

    return pd.Series(_by_value(column, write, np.nan, object), index=column.index, name=column.name, dtype=object)


def number_of(value: Any, format: str = "") -> float:
    """Read one cell as a number; missing and blank cells are NaN.

    Parameters
    ----------
    value : object
        A number, a boolean or a text.
    format : str
        How a text is written: plainly if empty; ``decimal comma`` for 1.234,5 and ``thousands`` for 1,234.5, where
        blanks and apostrophes may part the groups too.

    Raises
    ------
    ValueError, TypeError
        For what is no number, or is not written so.
    """
    if _missing(value):
        return np.nan
    if not isinstance(value, str):
        return float(value)
    text = value.strip()
    if not text:
        return np.nan
    if format and any(character.isdigit() for character in text):
        if not GROUPED[format].fullmatch(text):
            raise ValueError(f"{text!r} is not written with {format}")
        text = text.translate(SEPARATORS[format])
    if "_" in text:
        raise ValueError("Python's own way to part groups is nobody else's")
    return float(text)


def numbers_of(column: "pd.Series[Any]", format: str = "", missing_words: Sequence[str] = ()) -> "pd.Series[float]":
    """Turn a column into float64; missing of any kind becomes NaN.

    Parameters
    ----------
    column : Series of any dtype
        Numbers, booleans, texts of numbers or objects.
    format : str
        How its texts are written, as `number_of` takes it.
    missing_words : sequence of str
        Texts that stand for a missing cell, in this very case. A word that is a number, such as -999, stands for
        one where it comes as a number too.

    Returns
    -------
    Series of float64
        Same index.

    Raises
    ------
    ValueError
        Where a value is no number, naming the column and the value.
    """
    words = {word.strip() for word in missing_words}

    def read(value: Any) -> float:
        if isinstance(value, str) and value.strip() in words:
            return np.nan
        try:
            return number_of(value, format)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"column {column.name!r} is numeric, but holds {value!r}") from error

    values: npt.NDArray[np.float64]
    if column.dtype.kind in "mM":
        # pandas would count nanoseconds.
        _refuse(column, "numeric")
        values = np.full(len(column), np.nan)
    elif column.dtype.kind in "biuf":
        values = column.to_numpy(dtype="float64", na_value=np.nan)
    elif format or (plain := _plain_numbers(column)) is None:
        values = _by_value(column, read, np.nan, "float64")
    else:
        values = plain
    sentinels = [number for word in words if (number := _number_or_nan(word, format)) == number]
    if sentinels:
        values = np.where(np.isin(values, sentinels), np.nan, values)
    return pd.Series(values, index=column.index, name=column.name)


def _plain_numbers(column: "pd.Series[Any]") -> npt.NDArray[np.float64] | None:
    """Read a column all at once, if pandas can."""
    try:
        return pd.to_numeric(column).to_numpy(dtype="float64", na_value=np.nan)
    except (ValueError, TypeError):
        return None


def _number_or_nan(word: str, format: str) -> float:
    try:
        return number_of(word, format)
    except ValueError:
        return np.nan


def _refuse(column: "pd.Series[Any]", what: str) -> None:
    """Refuse a column that has any cell at all; a batch without one may come in any dtype."""
    present = column.dropna()
    if len(present):
        raise ValueError(f"column {column.name!r} is {what}, but holds {str(present.iloc[0])!r}")


def time_of(value: Any, format: str = "") -> np.datetime64:
    """Read one cell as a time; missing and blank cells are NaT.

    A number is never taken for a time since some epoch. It is read as a text by a declared format, such as 20210131
    by ``%Y%m%d``.

    Parameters
    ----------
    value : object
        A time, a date or a text.
    format : str
        The strptime format of texts. What does not fit it, and everything where it is empty, is read as ISO 8601.

    Returns
    -------
    numpy.datetime64
        In microseconds; of a time with a zone the one in UTC.

    Raises
    ------
    ValueError
        For what is no time.
    """
    if _missing(value):
        return NO_TIME
    if isinstance(value, np.datetime64):
        moment: np.datetime64 = value.astype("datetime64[us]")
        return moment
    if not isinstance(value, date):
        text = level_of(value)
        if not isinstance(value, str) and not (format and isinstance(value, (int, float, np.number))):
            raise ValueError(f"{text!r} is no time")
        if _missing(text):
            return NO_TIME
        try:
            value = datetime.strptime(text, format) if format else datetime.fromisoformat(text)
        except ValueError:
            if not format:
                raise
            value = datetime.fromisoformat(text)
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value, "us")


def times_of(column: "pd.Series[Any]", format: str = "", missing_words: Sequence[str] = ()) -> "pd.Series[Any]":
    """Turn a column into times; missing of any kind becomes NaT.

    Parameters
    ----------
    column : Series of any dtype
        Times, dates, or texts of them.
    format : str
        The strptime format of its texts, as `time_of` takes it.
    missing_words : sequence of str
        Texts that stand for a missing cell, in this very case. A word that is a time, such as 9999-12-31, stands
        for one where it comes as a time too.

    Returns
    -------
    Series of datetime64[us]
        Same index, without a zone: times that had one are in UTC.

    Raises
    ------
    ValueError
        Where a value is no time, naming the column and the value.
    """
    words = {word.strip() for word in missing_words}

    def read(value: Any) -> np.datetime64:
        if isinstance(level := level_of(value), str) and level in words:
            return NO_TIME
        try:
            return time_of(value, format)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"column {column.name!r} holds times, but also {value!r}") from error

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if column.dtype.kind == "M":
        values = column.to_numpy(dtype="datetime64[us]")
    elif column.dtype.kind in "bm" or (column.dtype.kind in "iuf" and not format):
        _refuse(column, "a time")
        values = np.full(len(column), NO_TIME)
    else:
        cells = column.astype(object)
        values = _plain_times(cells, format)
        rest = np.isnat(values) & cells.notna().to_numpy()
        if rest.any():
            values[rest] = _by_value(cells[rest], read, NO_TIME, "datetime64[us]")
    sentinels = [time for word in words if not np.isnat(time := _time_or_nat(word, format))]
    if sentinels:
        values = np.where(np.isin(values, sentinels), NO_TIME, values)
    return pd.Series(values, index=column.index, name=column.name)


def _plain_times(cells: "pd.Series[Any]", format: str) -> npt.NDArray[np.datetime64]:
    """Read what pandas can all at once; the rest, which is to be looked at singly, is NaT."""
    try:
        times = pd.to_datetime(cells, format=format or "ISO8601", utc=True, errors="coerce")
        times = times.mask(cells.isin(MOVING_TIMES))
    except (TypeError, ValueError, OverflowError):
        return np.full(len(cells), NO_TIME)
    return times.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")


def _time_or_nat(word: str, format: str) -> np.datetime64:
    try:
        return time_of(word, format)
    except ValueError:
        return NO_TIME


class CastColumns(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Select a model's columns by name and give each the type that the model was trained on.

    Columns that the model does not use are left out, their order does not matter.

    Parameters
    ----------
    numeric : list of str
        Columns that become float64, missing as NaN. Integers, nullable integers, objects and texts of numbers are
        taken.
    categorical : list of str
        Columns that become text (dtype object), missing as NaN: levels, and free text too.
    datetime : list of str
        Columns that become datetime64[us], missing as NaT. Times with a zone become those of UTC; dates and texts
        are taken, numbers only by a declared format.
    formats : dict of str to str, optional
        How texts are written, by column: ``decimal comma`` or ``thousands`` of a numeric one, a strptime format of a
        datetime one. Others are plain numbers and ISO 8601.
    missing_words : list of str
        Texts that stand for a missing cell in every column; blank ones always do.
    """

    def __init__(
        self,
        numeric: list[str],
        categorical: list[str],
        datetime: Sequence[str] = (),
        formats: Mapping[str, str] | None = None,
        missing_words: Sequence[str] = (),
    ) -> None:
        self.numeric = numeric
        self.categorical = categorical
        self.datetime = datetime
        self.formats = formats
        self.missing_words = missing_words

    def fit(self, X: pd.DataFrame, y: Any = None) -> "CastColumns":
        """Remember nothing but the columns: the types are parameters."""
        self.feature_names_in_ = np.array([*self.numeric, *self.categorical, *self.datetime], dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the columns: the numeric ones first, then text, then times.

        Parameters
        ----------
        X : DataFrame
            Raw rows, with at least the columns of the model.

        Returns
        -------
        DataFrame
            float64, object and datetime64[us] columns, same index.

        Raises
        ------
        ValueError
            Where a column is absent, a numeric one holds text, or a datetime one what is no time.
        """
        check_is_fitted(self)
        absent = [name for name in self.feature_names_in_ if name not in X.columns]
        if absent:
            raise ValueError(f"the model needs the columns {absent}, which the table does not have")
        formats, words = self.formats or {}, self.missing_words
        cast = {name: numbers_of(X[name], formats.get(name, ""), words) for name in self.numeric}
        cast |= {name: levels_of(X[name], words) for name in self.categorical}
        cast |= {name: times_of(X[name], formats.get(name, ""), words) for name in self.datetime}
        return pd.DataFrame(cast, index=X.index)

    def get_feature_names_out(self, input_features: Any = None) -> "np.ndarray[Any, np.dtype[Any]]":
        """Return the columns' names in the order of the output."""
        return self.feature_names_in_

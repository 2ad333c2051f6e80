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
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

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
# A time of day that ends with a zone, in ISO 8601.
ZONED = re.compile(r"\d[T ]\d.*[Zz+-]")
NO_TIME = np.datetime64("NaT", "us")
# The cycles that a time stands in, and the waves that each is told by. A day has two peaks where people drive to work
# and back, which takes a second wave.
CYCLES = {"year": 1, "week": 1, "day": 2}
EPOCH = "1970-01-01"
# Groups of characters are counted in this many buckets, and each column of text becomes at most this many numbers.
BUCKETS, PARTS = 2**13, 30
# More rows hardly turn the directions that are learned from them.
MOST_TEXTS_LEARNED_FROM = 20_000
# Directions weaker than this share of the strongest are rounding errors of single precision.
FAINTEST = 1e-4


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
        numbers = pd.to_numeric(column).to_numpy(dtype="float64", na_value=np.nan)
        # pandas knows what is a number, but reads the last digit of long ones wrong.
        return numbers if column.dtype.kind != "O" else column.to_numpy(dtype=object).astype("float64")
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
        # As pandas writes a missing time in JSON and CSV.
        if _missing(text) or text == "NaT":
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
        values = plain_times(cells, format)
        rest = np.isnat(values) & cells.notna().to_numpy()
        if rest.any():
            values[rest] = _by_value(cells[rest], read, NO_TIME, "datetime64[us]")
    sentinels = [time for word in words if not np.isnat(time := _time_or_nat(word, format))]
    if sentinels:
        values = np.where(np.isin(values, sentinels), NO_TIME, values)
    return pd.Series(values, index=column.index, name=column.name)


def plain_times(cells: "pd.Series[Any]", format: str) -> npt.NDArray[np.datetime64]:
    """Read what pandas can all at once; the rest, which is to be looked at singly, is NaT.

    Parameters
    ----------
    cells : Series of dtype object
        Times, dates, or texts of them.
    format : str
        The strptime format of its texts; empty for ISO 8601.

    Returns
    -------
    array of datetime64[us]
        In UTC.
    """
    values = np.full(len(cells), NO_TIME)
    # pandas lends the zone of one text to the next one that has none, so the two kinds are read apart.
    texts = not format and pd.api.types.infer_dtype(cells, skipna=True) in ("string", "mixed")
    zoned = cells.str.contains(ZONED, na=False).to_numpy(dtype=bool) if texts else np.zeros(len(cells), dtype=bool)
    for part in (zoned, ~zoned):
        if not part.any():
            continue
        try:
            times = pd.to_datetime(cells[part], format=format or "ISO8601", utc=True, errors="coerce")
            times = times.mask(cells[part].isin(MOVING_TIMES))
        except (TypeError, ValueError, OverflowError):
            continue
        values[part] = times.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    return values


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


class EncodeTimes(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Write times as numbers: days since an origin, and the places in the year, the week and the day as waves.

    A place in a cycle (the month, the day of the week, the time of day) is a sine and a cosine, so that December
    stands beside January and 23:00 beside midnight; in the day also a wave of twelve hours. A cycle in which all
    training rows stand at one place is left out: nothing can be learned of it, and dates without a time of day have
    no place in the day.

    Parameters
    ----------
    origins : dict of str to str, optional
        The time from which elapsed days are counted, in ISO 8601, by column; else 1970.
    """

    def __init__(self, origins: Mapping[str, str] | None = None) -> None:
        self.origins = origins

    def fit(self, X: pd.DataFrame, y: Any = None) -> "EncodeTimes":
        """Find the cycles of each column that the rows tell something of."""
        self.feature_names_in_ = np.array(X.columns, dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        self.cycles_: dict[str, list[str]] = {}
        for name in self.feature_names_in_:
            self.cycles_[name] = [cycle for cycle in CYCLES if _place(X[name], cycle).nunique() > 1]
        return self

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the numbers of each column in turn.

        Parameters
        ----------
        X : DataFrame of datetime64
            The columns that it was fitted on.

        Returns
        -------
        array of float64
            For each column the elapsed days, then its waves between -1 and 1; a missing time is NaN in all of them.
        """
        check_is_fitted(self)
        made = []
        for name in self.feature_names_in_:
            origin = time_of((self.origins or {}).get(name, "") or EPOCH)
            made.append((X[name].to_numpy(dtype="datetime64[us]") - origin) / np.timedelta64(1, "D"))
            for cycle in self.cycles_[name]:
                angle = 2 * np.pi * _place(X[name], cycle).to_numpy(dtype="float64")
                for wave in range(1, CYCLES[cycle] + 1):
                    made += [np.sin(wave * angle), np.cos(wave * angle)]
        return np.column_stack(made)

    def get_feature_names_out(self, input_features: Any = None) -> "np.ndarray[Any, np.dtype[Any]]":
        """Return names such as ``sold_days``, ``sold_week_sin`` and ``sold_day_cos2``."""
        names = []
        for name in self.feature_names_in_:
            names.append(f"{name}_days")
            for cycle in self.cycles_[name]:
                for wave in range(1, CYCLES[cycle] + 1):
                    names += [f"{name}_{cycle}_{side}{wave if wave > 1 else ''}" for side in ("sin", "cos")]
        return np.array(names, dtype=object)


def _place(times: "pd.Series[Any]", cycle: str) -> "pd.Series[Any]":
    """Say how far into its cycle each time is, from 0 up to 1; NaN where there is none."""
    if cycle == "year":
        place: pd.Series[Any] = (times.dt.month - 1) / 12
    elif cycle == "week":
        place = times.dt.dayofweek / 7
    else:
        place = (times - times.dt.normalize()) / pd.Timedelta(days=1)
    return place


class EncodeText(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Write each column of text as at most thirty numbers, such that texts alike in their letters are near each other.

    Groups of three and four characters within words, in lower case, are counted in a fixed number of buckets, weighed
    by how rare they are (TF-IDF), and projected on the directions in which the training rows differ most (latent
    semantic analysis). It looks at no target, so nothing of it leaks, and is the same for the same rows: the one
    source of chance has a fixed seed. The numbers of a column together weigh as much as one standardised number; a
    missing text, and one in which nothing is known, is zero in all of them.
    """

    def fit(self, X: pd.DataFrame, y: Any = None) -> "EncodeText":
        """Learn the weights and directions of each column from at most 20,000 rows, evenly spread."""
        self.feature_names_in_ = np.array(X.columns, dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        self.weights_: dict[str, npt.NDArray[np.float32]] = {}
        self.directions_: dict[str, npt.NDArray[np.float32]] = {}
        places = np.unique(np.linspace(0, len(X) - 1, min(len(X), MOST_TEXTS_LEARNED_FROM)).astype(int))
        for name in self.feature_names_in_:
            counts = _counts(X[name].iloc[places].fillna(""))
            self.weights_[name] = TfidfTransformer().fit(counts).idf_.astype(np.float32)
            weighed = self._weighed(counts, name)
            if not weighed.nnz:
                self.directions_[name] = np.zeros((BUCKETS, 1), dtype=np.float32)
                continue
            # The matrices are too thin to gain by threads, which would also add up in another order each time.
            with threadpool_limits(1):
                _, strengths, found = randomized_svd(weighed, min(PARTS, *weighed.shape), random_state=0)
            kept = strengths > FAINTEST * strengths[0]
            # The mean of the rows' squared lengths becomes one.
            scale = np.sqrt((strengths[kept] ** 2).sum() / weighed.shape[0])
            self.directions_[name] = np.ascontiguousarray(found[kept].T / scale, dtype=np.float32)
        return self

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the numbers of each column in turn.

        Parameters
        ----------
        X : DataFrame of object
            Texts, missing as NaN, of the columns that it was fitted on.

        Returns
        -------
        array of float64
            At most 30 columns for each of X's.
        """
        check_is_fitted(self)
        made = []
        for name in self.feature_names_in_:
            codes, distinct = pd.factorize(X[name].fillna(""))
            made.append((self._weighed(_counts(distinct), name) @ self.directions_[name])[codes])
        return np.hstack(made).astype(np.float64)

    def _weighed(self, counts: Any, name: str) -> Any:
        return normalize(counts.multiply(self.weights_[name]).tocsr(), copy=False)

    def get_feature_names_out(self, input_features: Any = None) -> "np.ndarray[Any, np.dtype[Any]]":
        """Return names such as ``title_text_1``."""
        widths = {name: directions.shape[1] for name, directions in self.directions_.items()}
        names = [f"{name}_text_{part}" for name in self.feature_names_in_ for part in range(1, widths[name] + 1)]
        return np.array(names, dtype=object)


def _counts(texts: Any) -> Any:
    """Count the groups of characters of each text in buckets; it learns nothing, so there is nothing to save."""
    count = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=(3, 4),
        n_features=BUCKETS,
        norm=None,
        alternate_sign=False,
        dtype=np.float32,
    )
    return count.transform(texts)

"""The page of a prepared table, in two halves: frames of the numbers, and one HTML document drawn from them.

The document is whole in itself: style and pictures stand in it, it runs no script and names no address. Each
column's cells are put into groups (bins or levels), and every figure of a column is drawn over the same groups.
What relates a column to the target is counted on training rows alone, as every choice is.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from lifecycle.columns import level_of, levels_of
from lifecycle.contract import ORDINAL, TEXT, Column, Contract

MOST_BINS = 30
MOST_LEVELS = 12
MOST_CLASSES = 6
FEWEST_ROWS = 20  # of a group whose target is summarised, where bins can be joined
LEAST_SHARE = 0.02
# A column's train and test rows are called different from here on, in shares of rows and in times of chance.
APART, TIMES_CHANCE = 0.05, 3.0
RARE = 0.02  # share below which the most frequent number of a column is not shown

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Cells: TypeAlias = "pd.Series[Any]"

# --------------------------------------------------------------------------------------------------
# Numbers: the groups of a column, and what is counted over them.


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups that a column's cells are put into.

    Attributes
    ----------
    labels : tuple of str
        One a group, in the order drawn.
    train, test : array of int64
        The group of each row.
    scale : str
        ``levels``; or ``linear``, ``log`` or ``time`` for bins side by side.
    low, high : array of float64
        Of bins: where each begins (included) and ends (excluded), in the column's units, for times in seconds since
        1970; infinite where open. Empty for levels.
    missing : bool
        Whether the last group is that of the missing cells; it has no low and high.
    whole : bool
        Whether the cells are whole numbers.
    rest : int
        How many levels the group after the named ones stands for; 0 where there is none.
    note : str
        What a reader must know to read the groups, or empty.
    """

    labels: tuple[str, ...]
    train: Ints
    test: Ints
    scale: str = "levels"
    low: Floats = field(default_factory=lambda: np.empty(0))
    high: Floats = field(default_factory=lambda: np.empty(0))
    missing: bool = False
    whole: bool = False
    rest: int = 0
    note: str = ""

    @property
    def named(self) -> "NDArray[np.bool_]":
        """Whether a group stands for itself: a bin, a level or the missing cells, and not for all other levels."""
        named = np.ones(len(self.labels), dtype=bool)
        if self.rest:
            named[-2 if self.missing else -1] = False
        return named

    @property
    def counts(self) -> tuple[Ints, Ints]:
        """Rows of each group, of train and of test."""
        size = len(self.labels)
        return np.bincount(self.train, minlength=size), np.bincount(self.test, minlength=size)


def groups_of(train: Cells, test: Cells, column: Column | None = None) -> Groups:
    """Put a column's cells into groups.

    Parameters
    ----------
    train, test : Series
        The cells: datetime64, numbers, or objects; missing as NaN or NaT. Infinite ones must not be there.
    column : Column, optional
        Of the contract; an ordinal's levels keep their order, a text without frequent values is grouped by length.

    Returns
    -------
    Groups
        Numbers of at most 12 distinct values, one group a value; else at most about 30 bins with round edges, in
        equal ratios where the numbers are positive and very skewed, with open bins at the ends where a few far
        numbers would squash the rest. Times: equal spans. Other cells: the 12 levels most frequent in training, then
        the rest. Missing cells, if any, last.
    """
    both = pd.concat([train, test], ignore_index=True)
    if types.is_datetime64_any_dtype(both):
        # Not by nanoseconds, which end in 2262.
        moments = both.dt.tz_localize(None).to_numpy().astype("M8[ms]")
        return _binned(np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1000), len(train), "time")
    if types.is_numeric_dtype(both) and not types.is_bool_dtype(both):
        values = both.to_numpy(dtype="float64", na_value=np.nan)
        distinct = np.unique(values[~np.isnan(values)])
        if len(distinct) > MOST_LEVELS:
            return _binned(values, len(train), "linear")
        codes = np.where(np.isnan(values), -1, np.searchsorted(distinct, values))
        return _split(codes, [f"{value:,.6g}".replace("-", "−") for value in distinct], len(train))
    levels = levels_of(both)
    codes, names = pd.factorize(levels)
    present = codes >= 0
    counts = np.bincount(codes[present], minlength=len(names))
    of_train = np.bincount(codes[: len(train)][present[: len(train)]], minlength=len(names))
    frequent = sorted(range(len(names)), key=lambda place: (-of_train[place], -counts[place], str(names[place])))
    if column is not None and column.role == TEXT and counts[frequent[:MOST_LEVELS]].sum() < 0.5 * counts.sum():
        lengths = levels.str.len().to_numpy(dtype="float64", na_value=np.nan)
        found = groups_of(pd.Series(lengths[: len(train)]), pd.Series(lengths[len(train) :]))
        return Groups(**{**vars(found), "note": "length in characters"})
    # One level more is shown by its name: "1 more" would take the same room.
    kept = frequent if len(names) <= MOST_LEVELS + 1 else frequent[:MOST_LEVELS]
    if column is not None and column.role == ORDINAL:
        order = {level: place for place, level in enumerate(column.levels)}
        kept = sorted(kept, key=lambda place: order.get(str(names[place]), len(order)))
    place_of = np.full(len(names) + 1, len(kept))
    place_of[kept] = np.arange(len(kept))
    place_of[-1] = -1
    rest = len(names) - len(kept)
    labels = [str(names[place]) for place in kept] + ([f"{rest:,} more"] if rest else [])
    return _split(place_of[codes], labels, len(train), rest=rest)


def _split(codes: NDArray[Any], labels: Sequence[str], rows: int, **more: Any) -> Groups:
    """Make groups of codes, -1 being a missing cell; the first ``rows`` are training rows."""
    missing = bool((codes < 0).any())
    names = (*labels, "missing") if missing else tuple(labels)
    places = np.where(codes < 0, len(labels), codes).astype(np.int64)
    return Groups(names, places[:rows], places[rows:], missing=missing, **more)


def _binned(values: Floats, rows: int, scale: str) -> Groups:
    present = values[~np.isnan(values)]
    if not len(present):
        return _split(np.full(len(values), -1), [], rows)
    whole = scale == "linear" and bool((present == np.floor(present)).all())
    scale, edges = _edges(present, scale, whole)
    places = np.searchsorted(edges, values, side="right")
    low = np.concatenate([[0.0 if scale == "log" else -np.inf], edges])
    high = np.concatenate([edges, [np.inf]])
    inside = places[~np.isnan(values)]
    first, last = int(inside.min()), int(inside.max())
    low, high = low[first : last + 1], high[first : last + 1]
    codes = np.where(np.isnan(values), -1, places - first)
    labels = [_span(a, b, scale, whole) for a, b in zip(low, high, strict=True)]
    return _split(codes, labels, rows, scale=scale, low=low, high=high, whole=whole)


def _edges(present: Floats, scale: str, whole: bool) -> tuple[str, Floats]:
    """Choose the scale, and ascending edges that hold nearly all of the numbers."""
    # Rice's rule, so that few rows make few bins.
    most = int(np.clip(2 * len(present) ** (1 / 3), 8, MOST_BINS))
    low, high = float(present.min()), float(present.max())
    if scale == "linear" and low >= 0:
        above = present[present > 0]
        if len(above) > 0.5 * len(present):
            start, middle, end = np.quantile(above, [0.005, 0.5, 0.995])
            if end > 100 * start and end - middle > 10 * (middle - start):
                return "log", _ratios(float(start), float(end), most)
    start, end = (float(value) for value in np.quantile(present, [0.005, 0.995]))
    if end > start and high / 3 - low / 3 > end - start:
        low, high = start, end
    step = _nice(high / most - low / most, scale == "time", (1, 2, 5) if whole else (1, 2, 2.5, 5))
    if whole:
        step = max(step, 1.0)
    if high > low and np.isfinite(step) and step > 0 and high / step < 1e15 and low / step > -1e15:
        first = np.floor(low / step)
        edges = np.arange(first, np.floor(high / step) + 2) * step
        # Without the dust of multiplying: 0.30000000000000004 is 0.3.
        edges = np.round(edges, max(0, 2 - int(np.floor(np.log10(step))))) if 1e-12 < step < 10 else edges
    else:
        edges = np.linspace(low, high, most + 1)
    return scale, np.unique(edges)


def _ratios(low: float, high: float, most: int) -> Floats:
    """Give edges in equal ratios, a whole number of them a decade, or of decades an edge."""
    start, end = np.log10(low), np.log10(high)
    a_decade = min(int(most // (end - start)), 10)
    step = 1 / a_decade if a_decade >= 1 else float(np.ceil((end - start) / most))
    places = np.arange(np.floor(start / step), np.ceil(end / step) + 1) * step
    return np.unique(10.0 ** np.clip(places, -307, 308))


SECONDS = np.array(
    [1, 5, 15, 30, *np.array([1, 5, 15, 30, 60, 180, 360, 720]) * 60, *np.array([1, 2, 7, 14, 28]) * 86_400]
)


def _nice(step: float, time: bool = False, multiples: Sequence[float] = (1, 2, 5)) -> float:
    """Round a step up to a multiple of a power of ten; of seconds, to a usual span of time."""
    if time and step <= SECONDS[-1]:
        return float(SECONDS[np.searchsorted(SECONDS, step)])
    unit = 86_400.0 if time else 1.0
    if step < 1e-300:
        return 0.0
    power = 10.0 ** np.floor(np.log10(step / unit))
    return float(next((m for m in multiples if m * power * unit >= step), 10) * power * unit)


def _span(low: float, high: float, scale: str, whole: bool) -> str:
    """Name a bin by its ends."""
    show = _moment if scale == "time" else number
    if np.isinf(high):
        return f"{show(low)} and {'later' if scale == 'time' else 'more'}" if np.isfinite(low) else "all"
    if np.isinf(low):
        return f"before {show(high)}" if scale == "time" else f"below {show(high)}"
    if whole and scale == "linear":
        first, last = np.ceil(low), np.ceil(high) - 1
        return show(first) if first >= last else f"{show(first)} to {show(last)}"
    return f"{show(low)} to {show(high)}"


def _moment(seconds: float) -> str:
    text = str(np.datetime64(int(seconds), "s")).replace("T", " ")
    return text.removesuffix(":00").removesuffix(" 00:00")


def distribution_frame(groups: Groups) -> pd.DataFrame:
    """Count the rows of each group.

    Parameters
    ----------
    groups : Groups
        Of one column.

    Returns
    -------
    DataFrame
        A row a group: ``group`` (its label), ``train_rows`` and ``test_rows`` (int64), ``train_share`` and
        ``test_share`` (float64, of all rows of train and of test, 0 to 1; NaN where there are none).
    """
    data: dict[str, Any] = {"group": list(groups.labels)}
    for name, rows in zip(("train", "test"), groups.counts, strict=True):
        data[f"{name}_rows"] = rows
        data[f"{name}_share"] = rows / rows.sum() if rows.sum() else np.full(len(rows), np.nan)
    order = ["group", "train_rows", "test_rows", "train_share", "test_share"]
    return pd.DataFrame(data, columns=order)


def target_frame(groups: Groups, target: Cells, contract: Contract) -> pd.DataFrame:
    """Summarise the target over the groups of a column, on training rows.

    Neighbouring bins are joined until each has at least 20 rows and 2 % of all; levels and missing cells stay alone.

    Parameters
    ----------
    groups : Groups
        Of the column.
    target : Series
        Of the training rows, in the order of ``groups.train``.
    contract : Contract
        Of the table.

    Returns
    -------
    DataFrame
        ``first`` and ``last`` (int64, positions of the joined groups), ``group`` (label), ``train_rows`` and
        ``test_rows`` (int64), ``class`` (object), ``value``, ``low`` and ``high`` (float64). Of two classes, ``value``
        is the share of the positive one; of more, there is a row for each of the six most frequent and one for the
        rest; ``low`` and ``high`` are Wilson's 95 % interval. For regression ``class`` is empty, and ``low``,
        ``value`` and ``high`` are the quartiles of the target. NaN where a group has no training row.
    """
    rows, test_rows = groups.counts
    spans = _joined(groups, rows)
    place = np.zeros(len(groups.labels), dtype=np.int64)
    for number_, (first, last) in enumerate(spans):
        place[first : last + 1] = number_
    codes = place[groups.train]
    base: dict[str, NDArray[Any]] = {
        "first": np.array([first for first, _ in spans], dtype=np.int64),
        "last": np.array([last for _, last in spans], dtype=np.int64),
        "group": np.array(
            [
                groups.labels[a] if a == b else _span(groups.low[a], groups.high[b], groups.scale, groups.whole)
                for a, b in spans
            ],
            dtype=object,
        ),
        "train_rows": np.array([rows[a : b + 1].sum() for a, b in spans], dtype=np.int64),
        "test_rows": np.array([test_rows[a : b + 1].sum() for a, b in spans], dtype=np.int64),
    }
    parts = []
    if contract.task == "regression":
        quartiles = np.full((len(spans), 3), np.nan)
        values = target.to_numpy(dtype="float64", na_value=np.nan)
        order = np.argsort(codes, kind="stable")
        for here in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(order) else []:
            quartiles[codes[here[0]]] = np.nanquantile(values[here], [0.25, 0.5, 0.75])
        parts.append(("", quartiles[:, 1], quartiles[:, 0], quartiles[:, 2]))
    else:
        names, labels = _classes(target, contract)
        table = np.bincount(codes * len(names) + labels, minlength=len(spans) * len(names))
        table = table.reshape(len(spans), len(names))
        for position, name in enumerate(names):
            if contract.positive is None or name == _text(contract.positive):
                parts.append((name, *_wilson(table[:, position], table.sum(axis=1))))
    names_of, values, lows, highs = zip(*parts, strict=True)
    data = {column: np.tile(cells, len(parts)) for column, cells in base.items()}
    data["class"] = np.repeat(np.array(names_of, dtype=object), len(spans))
    for column, arrays in (("value", values), ("low", lows), ("high", highs)):
        data[column] = np.concatenate(arrays)
    return pd.DataFrame(data)


def _joined(groups: Groups, rows: Ints) -> list[tuple[int, int]]:
    """Join neighbouring bins of few training rows: the first and last position of each span."""
    if groups.scale == "levels":
        return [(place, place) for place in range(len(rows))]
    least = max(FEWEST_ROWS, LEAST_SHARE * rows.sum())
    spans, first, seen = [], 0, 0
    bins = len(groups.low)
    for place in range(bins):
        seen += int(rows[place])
        if seen >= least:
            spans.append((first, place))
            first, seen = place + 1, 0
    if first < bins:
        start = spans.pop()[0] if spans else 0
        spans.append((start, bins - 1))
    return spans + ([(bins, bins)] if groups.missing else [])


def _text(label: Any) -> str:
    return str(level_of(label))


def _classes(target: Cells, contract: Contract) -> tuple[list[str], Ints]:
    """Name the classes to show, the most frequent first if there are many, and give each row's position among them."""
    names = [_text(label) for label in contract.classes]
    codes = pd.Index(names, dtype=object).get_indexer(pd.Index(levels_of(target), dtype=object))
    if len(names) <= MOST_CLASSES + 1:
        return names, np.asarray(codes, dtype=np.int64)
    counts = np.bincount(codes, minlength=len(names))
    kept = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    place = np.full(len(names), MOST_CLASSES)
    place[kept] = np.arange(MOST_CLASSES)
    return [*(names[position] for position in kept), f"{len(names) - MOST_CLASSES} more"], place[codes]


def _wilson(count: Ints, rows: Ints) -> tuple[Floats, Floats, Floats]:
    """Give a share and its 95 % interval by Wilson; NaN where there are no rows."""
    of = np.where(rows > 0, rows, np.nan)
    share = count / of
    squared = 1.959964**2 / of
    middle = (share + squared / 2) / (1 + squared)
    half = np.sqrt(share * (1 - share) * squared + squared**2 / 4) / (1 + squared)
    return share, np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def difference(groups: Groups) -> tuple[float, float]:
    """Measure how far test rows are from training rows over the groups of a column.

    Parameters
    ----------
    groups : Groups
        Of the column.

    Returns
    -------
    apart : float
        The share of test rows that would have to change their group for the shares to agree (total variation
        distance), 0 to 1; NaN where train or test is empty.
    chance : float
        What is to be expected of it if both were drawn from the same rows, by the normal approximation.
    """
    train, test = groups.counts
    of_train, of_test = int(train.sum()), int(test.sum())
    if not of_train or not of_test:
        return np.nan, np.nan
    apart = 0.5 * float(np.abs(train / of_train - test / of_test).sum())
    pooled = (train + test) / (of_train + of_test)
    spread = pooled * (1 - pooled) * (1 / of_train + 1 / of_test)
    return apart, 0.5 * float(np.sqrt(2 / np.pi * spread).sum())


def explained(groups: Groups, target: Cells, contract: Contract) -> float:
    """Measure how much of the target the groups of one column explain by themselves, on training rows.

    Parameters
    ----------
    groups : Groups
        Of the column.
    target : Series
        Of the training rows, in the order of ``groups.train``.
    contract : Contract
        Of the table.

    Returns
    -------
    float
        The share of variance between the groups, less what chance alone gives (adjusted as R2 is), 0 to 1: of the
        target's ranks for regression, over all classes for classification (Goodman and Kruskal's tau). NaN where the
        target does not vary or there are no more rows than groups.
    """
    rows, _ = groups.counts
    held = rows > 0
    of_all, size = int(rows.sum()), int(held.sum())
    if of_all <= size:
        return np.nan
    if contract.task == "regression":
        ranks = target.rank().to_numpy(dtype="float64")
        ranks = ranks - ranks.mean()
        sums = np.bincount(groups.train, weights=ranks, minlength=len(rows))
        between, total = float((sums[held] ** 2 / rows[held]).sum()), float((ranks**2).sum())
    else:
        labels = pd.factorize(levels_of(target))[0]
        classes = int(labels.max()) + 1
        table = np.bincount(groups.train * classes + labels, minlength=len(rows) * classes).reshape(len(rows), classes)
        overall = float(((table.sum(axis=0) / of_all) ** 2).sum())
        between = float((table[held] ** 2 / rows[held, None]).sum()) / of_all - overall
        total = 1 - overall
    if total <= 1e-12:
        return np.nan
    return max(0.0, 1 - (1 - between / total) * (of_all - 1) / (of_all - size))


# --------------------------------------------------------------------------------------------------
# Words: whatever a user's table may hold, written so that HTML takes it for text.

EMPTY = "(empty)"
# What no reader can see, what turns the direction of a line, and halves of characters that UTF-8 cannot write.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def short(text: object, width: int = 80) -> str:
    """Write a text on one line, its middle left out where it is long.

    Parameters
    ----------
    text : object
        Shown by ``str``.
    width : int
        Most characters.

    Returns
    -------
    str
        Not escaped.
    """
    # A very long text is cut before it is searched; blanks are few enough not to matter.
    line = str(text)
    if len(line) > 20 * width:
        line = line[: 10 * width] + line[-10 * width :]
    line = " ".join(_UNSEEN.sub("\ufffd", line).split())
    if len(line) <= width:
        return line
    tail = (width - 1) // 3
    return f"{line[: width - 1 - tail]}…{line[len(line) - tail :]}"


def number(value: float) -> str:
    """Write a number for the eye.

    Parameters
    ----------
    value : float
        Any, NaN for none.

    Returns
    -------
    str
        Four significant digits, whole numbers whole, thousands separated, a true minus; powers of ten from 1e9 on
        and below 0.0001; a dash for NaN.
    """
    value = float(value)
    if np.isnan(value):
        return "–"
    size = abs(value)
    if not size:
        return "0"
    if size >= 1e9 or size < 1e-4:
        digits, power = f"{value:.2e}".split("e")
        text = f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    elif value == np.floor(value):
        text = f"{value:,.0f}"
    else:
        text = f"{value:,.{max(0, 3 - int(np.floor(np.log10(size))))}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def percent(share: float) -> str:
    """Write a share (0 to 1) in percent: 0 % and 100 % only where they are exact; a dash for NaN."""
    if np.isnan(share):
        return "–"
    if not share:
        return "0%"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 < share < 1:
        return ">99.9%"
    return f"{100 * share:.1f}".removesuffix(".0") + "%"


def _e(text: object, width: int = 80) -> str:
    """Cut and escape a text of the user's."""
    return escape(short(text, width))


def _named(name: object, width: int = 80) -> str:
    """Cut and escape a name, which may be of blanks alone."""
    return _e(name, width) or EMPTY


def _cell(value: Any, width: int = 40) -> str:
    """Write one cell of the profile, escaped."""
    if value is None or value is pd.NaT or value is pd.NA:
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return str(value)
    if isinstance(value, (int, float, np.number)):
        return number(float(value))
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    return _e(value, width)


def _number_of(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, (int, float, np.number)) else np.nan


# --------------------------------------------------------------------------------------------------
# Drawing: SVG whose colours are the document's, in user units that are pixels on a phone.

WIDTH, VALUES, LINE = 360.0, 48.0, 20.0
TALL, LEFT, FOOT, MISSING = 168.0, 38.0, 20.0, 52.0
MOST_LETTERS, LETTER = 18, 6.1


@dataclass(frozen=True, eq=False)
class Panel:
    """Where groups and values lie in a picture.

    Attributes
    ----------
    upright : bool
        Bins side by side with values upwards; else levels below each other with values to the right.
    start, end : array of float64
        The ends of each group across the values.
    bounds : tuple of float
        The lowest and the highest value.
    height : float
        Of the picture.
    left : float
        Where the values begin, beside the labels.
    """

    upright: bool
    start: Floats
    end: Floats
    bounds: tuple[float, float]
    height: float
    left: float

    def at(self, value: float) -> float:
        """Give the place of a value."""
        low, high = self.bounds
        part = (min(max(value, low), high) / 2 - low / 2) / (high / 2 - low / 2)
        if self.upright:
            return self.height - FOOT - part * (self.height - FOOT - 8)
        return self.left + part * (WIDTH - self.left - VALUES)

    def _corners(self, first: int, last: int, low: float, high: float) -> tuple[float, float, float, float]:
        a, b = float(self.start[first]), float(self.end[last])
        v, w = sorted((self.at(low), self.at(high)))
        return (a, v, b - a, w - v) if self.upright else (v, a, w - v, b - a)

    def box(self, first: int, last: int, low: float, high: float, kind: str, title: str) -> str:
        """Draw a box over groups between two values; ``title`` is what a pointer shows."""
        x, y, width, height = self._corners(first, last, low, high)
        return (
            f'<rect class={kind} x="{x:.4g}" y="{y:.4g}" width="{width:.4g}" height="{height:.4g}">'
            f"<title>{escape(title)}</title></rect>"
        )

    def outline(self, first: int, last: int, low: float, high: float) -> str:
        """Draw the same box as a part of a path."""
        x, y, width, height = self._corners(first, last, low, high)
        return f"M{x:.4g} {y:.4g}h{width:.4g}v{height:.4g}h{-width:.4g}z"

    def stroke(self, first: int, last: int, value: float) -> str:
        """Draw a stroke over groups at a value, as a part of a path."""
        a, b, v = self.start[first], self.end[last], self.at(value)
        return f"M{a:.4g} {v:.4g}H{b:.4g}" if self.upright else f"M{v:.4g} {a:.4g}V{b:.4g}"


def _panel(groups: Groups, bounds: tuple[float, float]) -> Panel:
    size = len(groups.labels)
    if groups.scale == "levels":
        start = 4 + LINE * np.arange(size, dtype=np.float64)
        longest = max((len(short(label, MOST_LETTERS)) for label in groups.labels), default=0)
        left = 12 + LETTER * max(longest, 3)
        return Panel(False, start + 3, start + LINE - 3, bounds, 8 + LINE * max(size, 1), left)
    bins = len(groups.low)
    step = (WIDTH - LEFT - 4 - (MISSING if groups.missing else 0)) / bins
    start = LEFT + step * np.arange(bins, dtype=np.float64)
    end = start + step - min(1.0, step / 8)
    if groups.missing:
        start, end = np.append(start, WIDTH - MISSING + 16), np.append(end, WIDTH - 20)
    return Panel(True, start, end, bounds, TALL, LEFT)


def _label(x: float, y: float, text: str, kind: str = "", whole: str = "") -> str:
    """Write a text; ``whole`` is what a pointer shows."""
    marked = f' class="{kind}"' if kind else ""
    said = f"<title>{_e(whole, 80)}</title>" if whole else ""
    return f'<text{marked} x="{x:.4g}" y="{y:.4g}">{said}{escape(text)}</text>'


def _ground(panel: Panel, groups: Groups, ticks: Sequence[tuple[float, str]]) -> str:
    """Draw what every picture stands on: labels of the groups, and a grid of values."""
    drawn = []
    if not panel.upright:
        for place, label in enumerate(groups.labels):
            shown = short(label, MOST_LETTERS) or EMPTY
            # A level may be named like the groups of our own, which are slanted.
            ours = not groups.named[place] or (groups.missing and place == len(groups.labels) - 1)
            kind = "e o" if ours else "e"
            drawn.append(_label(panel.left - 8, panel.end[place] - 3, shown, kind, label if shown != label else ""))
        return "".join(drawn)
    right = WIDTH - 4
    for value, text in ticks:
        y = panel.at(value)
        drawn.append(f'<path class="g" d="M{LEFT:.4g} {y:.4g}H{right:.4g}"/>{_label(LEFT - 5, y + 3.5, text, "e")}')
    limit = WIDTH - 30
    if groups.missing:
        limit = WIDTH - MISSING - 14
        drawn.append(_label(panel.start[-1] + 8, TALL - 5, "missing", "m"))
    taken = -np.inf
    for x, text in _axis(groups, panel):
        half = 3.1 * len(text)
        if x - half > taken and (x <= limit or not groups.missing and x <= WIDTH - half + 2):
            drawn.append(_label(min(max(x, half), WIDTH - half), TALL - 5, text, "m"))
            taken = x + half + 6
    return "".join(drawn)


def _axis(groups: Groups, panel: Panel) -> list[tuple[float, str]]:
    """Choose round values along the bins, and where they lie."""
    bins = len(groups.low)
    edges = np.append(groups.low, groups.high[-1:])
    places = np.append(panel.start[:bins], panel.end[bins - 1])
    closed = np.isfinite(edges) & ~((groups.scale == "log") & (edges <= 0))
    edges, places = edges[closed], places[closed]
    if not len(edges):
        return []
    if groups.scale == "log":
        powers = np.arange(np.ceil(np.log10(edges[0]) - 1e-9), np.floor(np.log10(edges[-1]) + 1e-9) + 1)
        marks = powers[:: int(np.ceil(len(powers) / 6)) or 1]
        return [(float(np.interp(p, np.log10(edges), places)), number(10.0**p)) for p in marks]
    if groups.scale == "time":
        return [(float(np.interp(at, edges, places)), text) for at, text in _calendar(edges[0], edges[-1])]
    # A bin of a single whole number has its name in the middle.
    single = groups.whole and len(edges) > 1 and edges[1] - edges[0] == 1
    shift = (places[1] - places[0]) / 2 if single else 0.0
    shown = _ticks(edges[0], edges[-1], 5)
    return [(float(np.interp(v, edges, places)) + shift, t) for v, t in shown if not single or v < edges[-1]]


def _ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Give at most about ``most`` round values between two, with their texts."""
    step = _nice(high / most - low / most)
    if not step or not np.isfinite(step) or max(abs(low), abs(high)) / step > 1e12:
        return [(low, number(low))]
    values = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
    return [(float(value), _compact(value, step)) for value in values]


def _compact(value: float, step: float) -> str:
    """Write a round value of an axis, thousands as k and millions as M."""
    top = abs(value)
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if step >= size / 10 and size <= top < 1e9 and top >= (1e6 if letter == "M" else 1e4):
            return number(round(value / size, 3)) + letter
    return number(round(value, max(0, 1 - int(np.floor(np.log10(step))))) if step > 1e-12 else value)


CALENDAR = (
    ("m", 1), ("m", 5), ("m", 15), ("h", 1), ("h", 3), ("h", 6), ("h", 12), ("D", 1), ("D", 2), ("D", 7), ("D", 14),
    ("M", 1), ("M", 3), ("M", 6), ("Y", 1), ("Y", 2), ("Y", 5), ("Y", 10), ("Y", 20), ("Y", 50), ("Y", 200),
    ("Y", 1000), ("Y", 5000),
)  # fmt: skip


def _calendar(low: float, high: float) -> list[tuple[float, str]]:
    """Give at most five usual moments between two, in seconds since 1970, with their texts."""
    for unit, step in CALENDAR:
        kind = cast(Any, f"M8[{unit}]")
        ends = [int(np.datetime64(int(end), "s").astype(kind).astype(np.int64)) for end in (low, high)]
        if (ends[1] - ends[0]) // step > 5:
            continue
        moments = np.arange(-(-ends[0] // step) * step, ends[1] + 1, step).astype(kind)
        texts = [str(m.astype("M8[m]"))[5:].replace("T", " ") if unit in "mh" else str(m) for m in moments]
        places = moments.astype("M8[s]").astype(np.int64)
        return [(float(at), text) for at, text in zip(places, texts, strict=True) if low <= at <= high]
    return []


def _svg(panel: Panel, said: str, drawn: str) -> str:
    height = f"{panel.height:.4g}"
    return f'<svg viewBox="0 0 {WIDTH:.4g} {height}" role="img" aria-label="{_e(said, 300)}">{drawn}</svg>'


def _figure(caption: str, picture: str) -> str:
    return f"<figure><figcaption>{caption}</figcaption>{picture}</figure>"


def draw_distribution(groups: Groups, frame: pd.DataFrame, name: str) -> str:
    """Draw :func:`distribution_frame`: training rows as bars, test rows as strokes.

    Parameters
    ----------
    groups : Groups
        Of the column.
    frame : DataFrame
        Its distribution.
    name : str
        The column's, for those who hear the page.

    Returns
    -------
    str
        A ``figure`` element.
    """
    train, test = frame["train_share"].to_numpy(), frame["test_share"].to_numpy()
    named = groups.named
    top = float(np.nanmax(np.concatenate([train[named], test[named], [1e-9]])))
    panel = _panel(groups, (0.0, top))
    drawn = [_ground(panel, groups, [(v, percent(v)) for v, _ in _ticks(0.0, top, 3)])]
    strokes = []
    for place, label in enumerate(groups.labels):
        title = f"{short(label, 60)}: train {percent(train[place])}, test {percent(test[place])}"
        if named[place] and (train[place] > 0 or not panel.upright):
            drawn.append(panel.box(place, place, 0.0, np.nan_to_num(train[place]), "a", title))
        # All other levels together would dwarf those that have a name: their shares are written, not drawn.
        if named[place] and test[place] >= 0 and (train[place] > 0 or test[place] > 0):
            strokes.append(panel.stroke(place, place, test[place]))
        if not panel.upright:
            drawn.append(_label(WIDTH - 2, panel.end[place] - 3, percent(train[place]), "e"))
    drawn.append(f'<path class="b" d="{"".join(strokes)}"/>')
    note = f" <small>by {groups.note}</small>" if groups.note else ""
    note += " <small>log scale</small>" if groups.scale == "log" else ""
    for place in np.flatnonzero(np.isinf(groups.low) | np.isinf(groups.high)).tolist():
        note += f" <small>{escape(groups.labels[place])}: {percent(train[place])}</small>"
    most = int(np.nanargmax(np.where(named, train, -1.0))) if np.isfinite(train).any() else -1
    said = f"Distribution of {short(name, 80)} in training and test rows"
    said += f"; most rows in {short(groups.labels[most], 60)}, {percent(train[most])}" if most >= 0 else ""
    return _figure(
        f'Rows{note}<span class="key"><i class="ka"></i>train<i class="kb"></i>test</span>',
        _svg(panel, said, "".join(drawn)),
    )


def draw_target(groups: Groups, frame: pd.DataFrame, whole: pd.DataFrame, name: str, contract: Contract) -> str:
    """Draw :func:`target_frame`: a stroke in its band for each group, or the classes stacked.

    Parameters
    ----------
    groups : Groups
        Of the column.
    frame : DataFrame
        The target over them.
    whole : DataFrame
        The target over all training rows, as one group.
    name : str
        The column's, for those who hear the page.
    contract : Contract
        Of the table.

    Returns
    -------
    str
        A ``figure`` element.
    """
    said = f"Target {short(contract.target, 60)} by {short(name, 60)}, training rows"
    if contract.task == "classification" and contract.positive is None:
        return _stacked(groups, frame, said, contract)
    share = contract.task == "classification"
    show = percent if share else number
    usual = float(whole["value"].iloc[0])
    ends = np.concatenate([frame["low"], frame["high"], [usual]])
    ends = ends[np.isfinite(ends)]
    low, high = (float(ends.min()), float(ends.max())) if len(ends) else (0.0, 1.0)
    room = high * 0.04 - low * 0.04
    low, high = (0.0, max(high, 1e-3)) if share else (low - room, high + room)
    if not high / 2 > low / 2:
        low, high = low - abs(low) * 0.05 - 0.5, high + abs(high) * 0.05 + 0.5
    panel = _panel(groups, (low, high))
    ticks = [(v, percent(v) if share else text) for v, text in _ticks(low, high, 4)]
    drawn, strokes = [_ground(panel, groups, ticks)], []
    of_all = panel.at(usual)
    where = f"M{LEFT:.4g} {of_all:.4g}H{WIDTH - 4:.4g}"
    if not panel.upright:
        where = f"M{of_all:.4g} 2V{panel.height - 2:.4g}"
    drawn.append(f'<path class="u" d="{where}"/>')
    for row in frame.itertuples():
        first, last, value = int(cast(int, row.first)), int(cast(int, row.last)), float(cast(float, row.value))
        if np.isnan(value):
            continue
        least, most = float(cast(float, row.low)), float(cast(float, row.high))
        title = f"{short(row.group, 60)}: {show(value)} ({show(least)} to {show(most)}), {row.train_rows:,} rows"
        drawn.append(panel.box(first, last, least, most, "c", title))
        strokes.append(panel.stroke(first, last, value))
        if not panel.upright:
            drawn.append(_label(WIDTH - 2, panel.end[first] - 3, show(value), "e"))
    drawn.append(f'<path class="d" d="{"".join(strokes)}"/>')
    what = f"Share of {_e(contract.positive, 30)}" if share else f"Median of {_e(contract.target, 30)}"
    band = "95% interval" if share else "quartiles"
    key = f'<span class="key"><i class="kc"></i>{band}<i class="ku"></i>all {show(usual)}</span>'
    return _figure(f"{what}{key}", _svg(panel, said, "".join(drawn)))


def _stacked(groups: Groups, frame: pd.DataFrame, said: str, contract: Contract) -> str:
    panel = _panel(groups, (0.0, 1.0))
    names = list(dict.fromkeys(frame["class"]))
    drawn = [_ground(panel, groups, [(0.0, "0%"), (0.5, "50%"), (1.0, "100%")])]
    boxes: list[list[str]] = [[] for _ in names]
    shares = frame["value"].to_numpy().reshape(len(names), -1)
    part = frame.iloc[: shares.shape[1]]
    for place, (first, last) in enumerate(zip(part["first"], part["last"], strict=True)):
        below = 0.0
        for position, share in enumerate(shares[:, place]):
            if share > 0:
                boxes[position].append(panel.outline(first, last, below, below + share))
                below += share
        if not panel.upright:
            drawn.append(_label(WIDTH - 2, panel.end[first] - 3, f"{int(part['train_rows'].iloc[place]):,}", "e"))
    # One shape a class: a hundred columns of seven classes must stay a small page.
    drawn += [
        f'<path class="k k{position}" d="{"".join(d)}"><title>{_e(names[position], 40)}</title></path>'
        for position, d in enumerate(boxes)
        if d
    ]
    key = "".join(f'<i class="k{position}"></i>{_named(name, 16)}' for position, name in enumerate(names))
    return _figure(
        f'Classes of {_e(contract.target, 30)}<span class="key">{key}</span>', _svg(panel, said, "".join(drawn))
    )


def _spark(train: Floats) -> str:
    """Draw a distribution in the size of a word."""
    top = float(np.nanmax(np.append(train, 1e-9)))
    step = 72 / max(len(train), 6)
    bars = "".join(
        f"M{step * place:.3g} 20v{-max(18 * share / top, 1):.3g}h{step * 0.85:.3g}V20z"
        for place, share in enumerate(train)
        if share > 0
    )
    return f'<svg class="s" viewBox="0 0 72 20" aria-hidden="true"><path class="a" d="{bars}"/></svg>'


# --------------------------------------------------------------------------------------------------
# The document.

STYLE = """
:root{color-scheme:light dark;--paper:#f6f7f9;--card:#fff;--ink:#1d2126;--soft:#59616b;--line:#e1e5ea;--grid:#e9ecf0;
--bar:#5a9bc8;--test:#c04a00;--band:#b3d3ea;--mid:#005f96;--link:#005f96;--bad:#a82a00;--warn:#7a5200;--chip:#eef1f5;
--k0:#0072b2;--k1:#d55e00;--k2:#009e73;--k3:#cc79a7;--k4:#e69f00;--k5:#56b4e9;--k6:#6a6a6a}
@media screen and (prefers-color-scheme:dark){:root{--paper:#121417;
--card:#1b1e23;--ink:#e8eaed;--soft:#a4acb6;--line:#2d3239;
--grid:#2a2f36;--bar:#3f7fa8;--test:#f5a742;--band:#23465e;--mid:#7cc8f2;--link:#7cc8f2;--bad:#ff9470;--warn:#f0c04f;
--chip:#282d34;--k0:#2f8fcb;--k1:#e8792b;--k2:#17b387;--k6:#9a9a9a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
-webkit-text-size-adjust:100%}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:28px;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere;letter-spacing:-.01em}
h2{font-size:19px;margin:36px 0 10px}
h3{font-size:17px;margin:0;overflow-wrap:anywhere;unicode-bidi:isolate}
p{margin:4px 0}a{color:var(--link);text-decoration:none;overflow-wrap:anywhere}a:hover{text-decoration:underline}
small,.soft,figcaption{color:var(--soft);font-size:13px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin:0 0 14px}
dl{display:flex;flex-wrap:wrap;gap:8px 26px;margin:12px 0 0}dl div{min-width:0}
dt{color:var(--soft);font-size:12px}dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.facts{gap:10px 32px;margin:0}
.facts div{max-width:100%}.facts dd{white-space:pre-wrap;max-height:12em;overflow:auto}
.chip{display:inline-block;background:var(--chip);color:var(--soft);border-radius:99px;padding:1px 9px;font-size:12px;
white-space:nowrap}
.bad{color:var(--bad);font-weight:600}.warn{color:var(--warn);font-weight:600}
.head{display:flex;flex-wrap:wrap;align-items:center;gap:4px 10px}
.wide{overflow-x:auto;padding:4px 0}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{font-weight:500;color:var(--soft);font-size:12px;text-align:left;white-space:nowrap}
th,td{padding:5px 12px;border-top:1px solid var(--line);vertical-align:middle}thead tr:first-child th{border-top:0}
td.n,th.n{text-align:right;white-space:nowrap}
td:first-child{min-width:8em;max-width:280px;overflow-wrap:anywhere;unicode-bidi:isolate}
ul{list-style:none;margin:0;padding:0}li{padding:7px 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
li:first-child{border-top:0}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr));gap:8px 32px;margin-top:12px}
figure{margin:0;min-width:0}figcaption{max-width:480px;display:flex;flex-wrap:wrap;gap:0 14px;margin-bottom:2px;
overflow-wrap:anywhere}
.key{margin-left:auto}.key i{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 5px 0 11px;
vertical-align:-1px}
.ka{background:var(--bar)}.key .kb{background:var(--test);height:3px;vertical-align:3px}.kc{background:var(--band)}
.key .ku{height:0;border-top:2px dashed var(--soft);border-radius:0;vertical-align:3px}
svg{display:block;width:100%;max-width:480px;height:auto}svg.s{width:72px;height:20px}
text{font-size:11px;fill:var(--ink)}.e{text-anchor:end}.o{font-style:italic}.m{text-anchor:middle}
.a{fill:var(--bar)}.b{fill:none;stroke:var(--test);stroke-width:2.5}.c{fill:var(--band)}
.d{fill:none;stroke:var(--mid);stroke-width:2.5}.u{fill:none;stroke:var(--soft);stroke-dasharray:4 3}
.g{stroke:var(--grid)}.k{stroke:var(--card);stroke-width:.7}
.k0{fill:var(--k0);background:var(--k0)}.k1{fill:var(--k1);background:var(--k1)}.k2{fill:var(--k2);background:var(--k2)}
.k3{fill:var(--k3);background:var(--k3)}.k4{fill:var(--k4);background:var(--k4)}.k5{fill:var(--k5);background:var(--k5)}
.k6{fill:var(--k6);background:var(--k6)}
details{margin-top:10px}summary{color:var(--soft);font-size:13px;cursor:pointer}
@media(max-width:600px){main{padding:18px 12px 40px}.card{padding:12px}h1{font-size:23px}th,td{padding:5px 8px}}
@media print{:root{color-scheme:light;--paper:#fff}body{font-size:12px}main{max-width:none;padding:0}
.card{break-inside:avoid;border-radius:0}.two{grid-template-columns:1fr 1fr}h2{break-after:avoid}
svg,.key i{print-color-adjust:exact;-webkit-print-color-adjust:exact}summary{display:none}}
"""

WHY = {
    "constant": "the same in every training row, so there is nothing to learn from it",
    "id": "text that differs in nearly every row: a name, an address, an identifier",
    "datetime": "a time, which no model reads here",
    "nested": "each cell holds a list, a record or bytes",
    "drop": "left out by the option drop",
    "group": "its groups make the split, and those of the test rows are new by design",
}
LEVELS = {"error": "bad", "critical": "bad", "high": "bad", "warning": "warn", "medium": "warn"}


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A column that models read, with all that is counted of it."""

    column: Column
    anchor: str
    groups: Groups
    shares: pd.DataFrame
    apart: float
    chance: float
    explained: float

    @property
    def differs(self) -> bool:
        return self.apart > APART and self.apart > TIMES_CHANCE * self.chance


def page(
    title: str,
    contract: Contract,
    profile: pd.DataFrame,
    train: pd.DataFrame,
    test: pd.DataFrame,
    findings: pd.DataFrame,
    facts: Mapping[str, str],
) -> str:
    """Write the page of a prepared table.

    Parameters
    ----------
    title : str
        The heading.
    contract : Contract
        Of the table.
    profile : DataFrame
        A row a column, of all rows: ``column``, ``role``, ``missing`` (share, 0 to 1), ``distinct``, ``mean``,
        ``std``, ``low``, ``median``, ``high`` (in the column's units), ``most_frequent``, ``share`` (of the most
        frequent value, 0 to 1); NaN where it has no meaning.
    train, test : DataFrame
        Prepared rows, or a sample of them, with the contract's features (float64, text as object with NaN for missing,
        or datetime64) and the target. Everything drawn is counted over these rows, all of them.
    findings : DataFrame
        What an audit found: ``code``, ``level``, ``column``, ``count``, ``share``, ``score``, ``message``; may be
        empty. Errors are shown first, then warnings, then the others.
    facts : mapping of str to str
        Label to text, for the head of the page, in this order.

    Returns
    -------
    str
        One HTML document.
    """
    # What is drawn must not hang on how often a row's label stands in the index.
    train, test = train.reset_index(drop=True), test.reset_index(drop=True)
    target = train[contract.target]
    rows = {str(row["column"]): row for row in cast("list[dict[str, Any]]", profile.to_dict("records"))}
    by_name = {column.name: column for column in contract.columns}
    drawn = []
    for position, name in enumerate(contract.features):
        groups = groups_of(train[name], test[name], by_name[name])
        drawn.append(
            _Drawn(
                by_name[name],
                f"c{position}",
                groups,
                distribution_frame(groups),
                *difference(groups),
                explained(groups, target, contract),
            )
        )
    anchors = {contract.target: "target"} | {one.column.name: one.anchor for one in drawn}
    found = _findings(findings)
    every = Groups(("all",), np.zeros(len(target), np.int64), np.zeros(0, np.int64))
    whole = target_frame(every, target, contract)
    cards = (
        _card(one, rows.get(one.column.name, {}), contract, target, whole, _of(found, one.column.name)) for one in drawn
    )
    parts = [
        _head(title, contract, facts, drawn),
        _found(found, anchors),
        _contents(contract, rows, drawn, train, test),
        _target(contract, rows, train, test, _of(found, contract.target)),
        "<h2>Columns</h2>",
        "<p class=soft>The target over a column is counted on training rows alone.</p>" if drawn else "",
        *cards,
        _left_out(contract, rows),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_e(title)}</title><style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(title: str, contract: Contract, facts: Mapping[str, str], drawn: Sequence[_Drawn]) -> str:
    about = f"{contract.task.capitalize()} of <b>{_e(contract.target)}</b>"
    if contract.positive is not None:
        about += f", positive class <b>{_e(contract.positive)}</b>"
    elif contract.task == "classification":
        about += f", {len(contract.classes)} class{'es' * (len(contract.classes) != 1)}"
    count = f"{len(drawn)} column{'s' * (len(drawn) != 1)} read by models"
    lines = "".join(
        f"<div><dt>{_e(label)}</dt><dd>{escape(_UNSEEN.sub(chr(0xFFFD), str(text)))}</dd></div>"
        for label, text in facts.items()
    )
    strong = sorted((one for one in drawn if one.explained >= 0.005), key=lambda one: -one.explained)[:5]
    moved = sorted((one for one in drawn if one.differs), key=lambda one: -one.apart)
    best = ", ".join(f"{_link(one)} {percent(one.explained)}" for one in strong)
    far = ", ".join(f"{_link(one)} {percent(one.apart)}" for one in moved[:5])
    far += f" and {len(moved) - 5} more" if len(moved) > 5 else ""
    first = f"<p><span class=soft>Explain most of the target, each alone:</span> {best}</p>" if best else ""
    first += f"<p><span class=soft>Differ between train and test:</span> {far}</p>" if far else ""
    return (
        f"<header><h1>{_e(title)}</h1><p>{about}, {_e(contract.split)} split, {count}.</p></header>"
        f'<div class=card style="margin-top:16px"><dl class=facts>{lines}</dl></div>{first}'
    )


def _link(one: _Drawn) -> str:
    return f'<a href="#{one.anchor}">{_named(one.column.name, 40)}</a>'


def _findings(findings: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the findings as rows, the gravest first, otherwise in their order."""
    order = {"bad": 0, "warn": 1, "": 2}
    rows = cast("list[dict[str, Any]]", findings.to_dict("records"))
    return sorted(rows, key=lambda row: order[_kind(row)])


def _kind(finding: Mapping[str, Any]) -> str:
    return LEVELS.get(str(finding["level"]).lower(), "")


def _of(found: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [finding for finding in found if str(finding["column"]) == name]


def _found(found: Sequence[Mapping[str, Any]], anchors: Mapping[str, str]) -> str:
    lines = "".join(f"<li>{_finding(finding, anchors)}</li>" for finding in found)
    inner = f"<ul>{lines}</ul>" if found else "<p>None found.</p>"
    return f'<h2 id="findings">Findings</h2><div class=card>{inner}</div>'


def _finding(finding: Mapping[str, Any], anchors: Mapping[str, str]) -> str:
    column = finding["column"]
    name = "" if column is None or column is pd.NA or column != column else str(column)
    where = ""
    if name:
        where = (
            f'<a href="#{anchors[name]}">{_named(name, 60)}</a>: ' if name in anchors else f"<b>{_e(name, 60)}</b>: "
        )
    count = _number_of(finding, "count")
    said = [
        f"{number(count)} row{'s' * (count != 1)}" if np.isfinite(count) else "",
        percent(_number_of(finding, "share")) if np.isfinite(_number_of(finding, "share")) else "",
        f"score {number(_number_of(finding, 'score'))}" if np.isfinite(_number_of(finding, "score")) else "",
    ]
    kind = f"<span class={_kind(finding)}>" if _kind(finding) else "<span class=soft>"
    more = ", ".join(filter(None, [_e(finding["code"], 40), *said]))
    return f"{kind}{_e(finding['level'], 20)}</span> {where}{_e(finding['message'], 600)} <small>({more})</small>"


def _contents(
    contract: Contract,
    rows: Mapping[str, Mapping[str, Any]],
    drawn: Sequence[_Drawn],
    train: pd.DataFrame,
    test: pd.DataFrame,
) -> str:
    of_target = groups_of(train[contract.target], test[contract.target])
    apart, chance = difference(of_target)
    whole = _Drawn(
        Column(contract.target, "target", str(train[contract.target].dtype)),
        "target",
        of_target,
        distribution_frame(of_target),
        apart,
        chance,
        np.nan,
    )
    lines = []
    for one in (whole, *drawn):
        row = rows.get(one.column.name, {})
        shares = one.shares["train_share"].to_numpy()[one.groups.named]
        moved = f'<span class=warn title="more than chance">{percent(one.apart)}</span>'
        lines.append(
            f"<tr><td>{_link(one)}<td><span class=chip>{_e(one.column.role, 20)}</span><td>{_spark(shares)}"
            f"<td class=n>{percent(_number_of(row, 'missing'))}<td class=n>{number(_number_of(row, 'distinct'))}"
            f"<td class=n>{percent(one.explained)}<td class=n>{moved if one.differs else percent(one.apart)}"
            f"<td>{_e(one.column.type, 20)}"
        )
    return (
        '<h2 id="contents">Contents</h2><div class="card wide"><table><thead><tr><th>column<th>role'
        "<th>distribution<th class=n>missing<th class=n>distinct<th class=n>explains<th class=n>shift<th>type"
        f"<tbody>{''.join(lines)}</table></div>"
        "<p class=soft>explains: the share of the target"
        f"{'’s ranks' if contract.task == 'regression' else ''} that the column’s groups explain alone, chance taken "
        "off. shift: the share of test rows that would have to move to another group for the two to agree; "
        f"marked where it is over {percent(APART)} and over {number(TIMES_CHANCE)} times what chance gives.</p>"
    )


def _stats(row: Mapping[str, Any], more: Sequence[tuple[str, str]] = ()) -> str:
    """List what the profile has of a column."""
    said = [("missing", percent(_number_of(row, "missing"))), ("distinct", number(_number_of(row, "distinct")))]
    said += [(name, _cell(row.get(name))) for name in ("mean", "std", "low", "median", "high")]
    # Of measured quantities the most frequent one says nothing.
    frequent = _number_of(row, "share") >= RARE or np.isnan(_number_of(row, "mean"))
    if frequent and (shown := _cell(row.get("most_frequent"))) != "–":
        said.append(("most frequent", f"{shown} ({percent(_number_of(row, 'share'))})"))
    said += more
    return (
        "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in said if text != "–") + "</dl>"
    )


def _heading(name: str, role: str, kind: str, found: Sequence[Mapping[str, Any]]) -> str:
    notes = "".join(f"<p>{_finding({**finding, 'column': ''}, {})}</p>" for finding in found)
    title = f' title="{_e(name, 300)}"' if short(name) != name else ""
    return (
        f"<div class=head><h3{title}>{_named(name)}</h3><span class=chip>{_e(role, 20)}</span>"
        f"<small>{_e(kind, 20)}</small></div>{notes}"
    )


def _target(
    contract: Contract,
    rows: Mapping[str, Mapping[str, Any]],
    train: pd.DataFrame,
    test: pd.DataFrame,
    found: Sequence[Mapping[str, Any]],
) -> str:
    cells = train[contract.target]
    groups = groups_of(cells, test[contract.target])
    frame = distribution_frame(groups)
    row = rows.get(contract.target, {})
    return (
        f'<h2>Target</h2><section class=card id="target">{_heading(contract.target, "target", str(cells.dtype), found)}'
        f"{_stats(row)}<div class=two>{draw_distribution(groups, frame, contract.target)}</div></section>"
    )


def _card(
    one: _Drawn,
    row: Mapping[str, Any],
    contract: Contract,
    target: Cells,
    whole: pd.DataFrame,
    found: Sequence[Mapping[str, Any]],
) -> str:
    name = one.column.name
    frame = target_frame(one.groups, target, contract)
    marked = f"<span class=warn>{percent(one.apart)}</span>" if one.differs else percent(one.apart)
    more = [
        ("explains alone", percent(one.explained)),
        ("shift train to test", f"{marked} (chance {percent(one.chance)})" if np.isfinite(one.apart) else "–"),
    ]
    return (
        f'<section class=card id="{one.anchor}">{_heading(name, one.column.role, one.column.type, found)}'
        f"{_stats(row, more)}<div class=two>{draw_distribution(one.groups, one.shares, name)}"
        f"{draw_target(one.groups, frame, whole, name, contract)}</div>{_numbers(frame, contract)}</section>"
    )


def _numbers(frame: pd.DataFrame, contract: Contract) -> str:
    """Write the target over a column as a table, for those who read rather than look."""
    show: Callable[[float], str] = number if contract.task == "regression" else percent
    names = list(dict.fromkeys(frame["class"]))
    values = [frame[column].to_numpy().reshape(len(names), -1) for column in ("value", "low", "high")]
    size = values[0].shape[1]
    if contract.task == "regression":
        heads, columns = ["lower quartile", "median", "upper quartile"], [values[1], values[0], values[2]]
    elif len(names) == 1:
        heads, columns = [_e(f"share of {names[0]}", 40), "from", "to"], values
    else:
        heads, columns = [_e(name, 20) for name in names], [values[0][[i]] for i in range(len(names))]
    head = "".join(f"<th class=n>{text}" for text in ("training rows", "test rows", *heads))
    part = frame.iloc[:size]
    lines = "".join(
        f"<tr><td>{_named(label, 40)}<td class=n>{rows:,}<td class=n>{tests:,}"
        + "".join(f"<td class=n>{show(column[0, place])}" for column in columns)
        for place, (label, rows, tests) in enumerate(
            zip(part["group"], part["train_rows"], part["test_rows"], strict=True)
        )
    )
    return (
        f"<details><summary>Numbers</summary><div class=wide><table><thead><tr><th>group{head}<tbody>{lines}</table>"
        "</div></details>"
    )


def _left_out(contract: Contract, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """List the columns that no model reads, those that only the profile knows too."""
    read = {contract.target, *contract.features}
    columns = [(column.name, column.role, column.type) for column in contract.left_out]
    known = read | {name for name, _, _ in columns}
    columns += [(name, str(row.get("role", "")), "") for name, row in rows.items() if name not in known]
    if not columns:
        return "<h2>Left out</h2><div class=card><p>No column was left out.</p></div>"
    lines = []
    for name, role, kind in columns:
        row = rows.get(name, {})
        lines.append(
            f"<tr><td>{_named(name)}<td><span class=chip>{_e(role, 20)}</span><td>{_e(kind, 20)}"
            f"<td class=n>{percent(_number_of(row, 'missing'))}<td class=n>{number(_number_of(row, 'distinct'))}"
            f"<td>{escape(WHY.get(role, 'no model reads a column of this role'))}"
        )
    return (
        '<h2>Left out</h2><div class="card wide"><table><thead><tr><th>column<th>role<th>type<th class=n>missing'
        f"<th class=n>distinct<th>why<tbody>{''.join(lines)}</table></div>"
    )

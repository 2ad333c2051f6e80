"""Figures in two halves: a frame of the numbers that are drawn, and a drawing of that frame.

Every ``*_frame`` function returns a tidy :class:`pandas.DataFrame`, every ``draw_*`` function takes one
and returns a :class:`matplotlib.figure.Figure` with an Agg canvas. Nothing is shown, written or
remembered: pyplot and ``rcParams`` are left alone, and the same frame gives the same pixels.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

NOT_DEFINED = "not defined: one class only"
MANY_ROWS = 5_000
MOST_COEFFICIENTS = 30
MOST_LEGEND_ENTRIES = 12
FINISHED = frozenset({"ok", "finished"})
# Trials that did not fail, and yet cannot win.
LOST = {"pruned": "ended early", "infeasible": "over a limit"}
LOWER_IS_BETTER = frozenset(
    {"rmse", "mae", "mse", "mape", "medae", "max_error", "log_loss", "brier", "brier_score", "loss"}
)

Floats = NDArray[np.float64]

# --------------------------------------------------------------------------------------------------
# Style: one place for fonts, colours and spines.

FONT = "DejaVu Sans"  # comes with matplotlib, so the same on every machine
TITLE, TEXT, SMALL = 13.0, 10.0, 9.0
DPI = 120

INK = "#222222"
MUTED = "#666666"
GRID = "#E4E4E4"
ACCENT = "#0072B2"
WARM = "#D55E00"
BAND = "#E8F1F8"
# Okabe and Ito's colours, safe for the colour-blind, without the yellow that vanishes on white.
PALETTE = (ACCENT, WARM, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":")

_SHARES = LinearSegmentedColormap.from_list("shares", ["#F5F8FB", "#9CC4E0", ACCENT, "#00466F"])
_COUNTS = LinearSegmentedColormap.from_list("counts", ["#C6DDEE", ACCENT, "#002B45"])


def _figure(width: float, height: float, title: str, subtitle: str = "", *, below: float = 0.0) -> Figure:
    """Return an empty figure (inches) with its header; ``below`` inches stay free at the bottom."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    top = 0.14
    for text, size, colour, weight in (
        (title, TITLE, INK, "bold"),
        (subtitle, TEXT, MUTED, "normal"),
    ):
        if not text:
            continue
        letters = max(20, int((width - 0.3) / (size * (0.68 if weight == "bold" else 0.56) / 72)))
        lines = textwrap.wrap(" ".join(text.split()), letters) or [""]
        figure.text(
            0.14 / width,
            1 - top / height,
            "\n".join(lines),
            size=size,
            color=colour,
            weight=weight,
            va="top",
            linespacing=1.25,
        )
        top += len(lines) * size * 1.25 / 72 + 0.06
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(  # type: ignore[call-arg]
            rect=(0.0, below / height, 1.0, 1 - (top + 0.04 + below) / height), w_pad=0.14, h_pad=0.06
        )
    return figure


def _style(axes: Axes, *, grid: Literal["both", "x", "y"] | None = "both") -> Axes:
    """Give axes the module's spines, ticks and light grid."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#999999")
        spine.set_linewidth(0.8)
    axes.tick_params(colors=INK, labelsize=SMALL, color="#999999", length=3, width=0.8)
    axes.set_axisbelow(True)
    axes.grid(False)
    if grid:
        axes.grid(True, axis=grid, color=GRID, linewidth=0.8)
    return axes


def _labels(axes: Axes, x: str = "", y: str = "") -> None:
    axes.set_xlabel(x, size=TEXT, color=INK)
    axes.set_ylabel(y, size=TEXT, color=INK)


def _legend(axes: Axes, handles: Sequence[Any]) -> None:
    """Put a legend to the right of the axes, where it can cover nothing."""
    left_out = len(handles) - MOST_LEGEND_ENTRIES
    shown = list(handles)
    if left_out > 1:
        shown = [*handles[:MOST_LEGEND_ENTRIES], Patch(alpha=0, label=f"and {left_out} more")]
    axes.legend(
        handles=shown,
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
        alignment="left",
        borderaxespad=0.0,
        handlelength=2.4,
        labelspacing=0.65,
    )


def _say(axes: Axes, message: str, height: float = 0.5) -> None:
    """Write a message where the drawing would be."""
    place = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, height, message, size=TEXT + 1, color=MUTED, **cast(Any, place))


def _finish(figure: Figure) -> Figure:
    """Set the font everywhere, and take every ``$`` in a name for what it is."""
    for text in figure.findobj(Text):
        text.set_fontfamily(FONT)
        text.set_parse_math(False)
    return figure


def _short(name: object, width: int = 28) -> str:
    """Return a name on one line and at most `width` letters long, its middle left out."""
    text = " ".join(str(name).split())
    if len(text) <= width:
        return text
    tail = (width - 1) // 3
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def _decimals(values: ArrayLike) -> int:
    """Return how many decimals serve numbers of this size (0 to 3)."""
    sizes = np.abs(_finite(values))
    sizes = sizes[sizes > 0]
    if not sizes.size:
        return 3
    typical = float(np.median(sizes))
    return 3 if typical <= 1.5 else 2 if typical < 100 else 1 if typical < 1_000 else 0


def _number(value: float, decimals: int = 3) -> str:
    """Return a number for the eye: thousands separated, a true minus, a dash for a missing one."""
    if not np.isfinite(value):
        return "–" if np.isnan(value) else ("∞" if value > 0 else "−∞")
    if value != 0 and (abs(value) >= 1e7 or abs(value) < 0.5 * 10.0**-decimals):
        text = f"{value:.3g}"
    else:
        text = f"{value:,.{decimals}f}"
    return text.replace("-", "−")


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]


def _whole(value: float, _: object = None) -> str:
    return f"{value:,.0f}".replace("-", "−")


def _separate_thousands(axes: Axes, *which: Literal["x", "y"]) -> None:
    """Print the ticks of large numbers as 250,000 instead of 2.5 under an offset of 1e5."""
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        low, high = axes.get_xlim() if name == "x" else axes.get_ylim()
        if 1e4 <= max(abs(low), abs(high)) < 1e9 and abs(high - low) > 50:
            axis.set_major_formatter(FuncFormatter(_whole))


def _view(values: ArrayLike, keep: ArrayLike, *, greater_is_better: bool) -> tuple[float, float]:
    """Return the range to show: all of `keep`, and all values but those that would squash the rest.

    A value is left outside when it is worse than the median by more than ten times the distance from the
    best to the median.
    """
    kept = _finite(keep)
    scores = _finite(values)
    if scores.size:
        best = float(scores.max() if greater_is_better else scores.min())
        median = float(np.median(scores))
        worst = median + 10 * (median - best)
        if median != best:
            scores = scores[scores >= worst] if greater_is_better else scores[scores <= worst]
    shown = np.concatenate([scores, kept])
    if not shown.size:
        return 0.0, 1.0
    low, high = float(shown.min()), float(shown.max())
    room = (high - low) * 0.06 or abs(high) * 0.05 or 0.5
    return low - room, high + room


def _classes_of(frame: pd.DataFrame) -> list[object]:
    """Return the classes of a frame, those without a row too where the column is categorical."""
    column = frame["class"]
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.cat.categories)
    return list(column.unique())


def _curve_style(position: int) -> dict[str, Any]:
    return {
        "color": PALETTE[position % len(PALETTE)],
        "linestyle": DASHES[position // len(PALETTE) % len(DASHES)],
        "linewidth": 1.8,
    }


def _undefined(name: object) -> Patch:
    return Patch(alpha=0, label=f"{_short(name)}: not defined, no rows")


# --------------------------------------------------------------------------------------------------
# Classification.


def _one_vs_rest(
    y_true: ArrayLike, scores: ArrayLike, classes: Sequence[object], positive: object
) -> list[tuple[object, NDArray[np.int64], Floats]]:
    """Return (class, 1 where a row is of it, its score) for each curve to draw."""
    actual = np.asarray(y_true, dtype=object)
    values = np.asarray(scores, dtype=np.float64)
    labels = list(classes)
    if positive is not None and positive not in labels:
        raise ValueError(f"positive must be one of the classes {labels!r}, got {positive!r}")
    if values.ndim == 1:
        if len(labels) != 2:
            raise ValueError(f"scores of shape (n,) go with two classes, got {len(labels)}: {labels!r}")
        columns = [(labels[-1] if positive is None else positive, values)]
    elif values.ndim == 2 and values.shape[1] == len(labels):
        columns = [(label, values[:, place]) for place, label in enumerate(labels)]
        if positive is not None:
            columns = [columns[labels.index(positive)]]
    else:
        raise ValueError(
            f"scores must have the shape (n,) or (n, {len(labels)}) for the classes {labels!r}, got {values.shape}"
        )
    if len(values) != len(actual):
        raise ValueError(f"scores must have one row for each of the {len(actual)} labels, got {len(values)}")
    wrong = int((~np.isfinite(values)).sum())
    if wrong:
        raise ValueError(f"scores must be finite, {wrong} of {values.size} are not")
    return [(label, np.asarray(actual == label).astype(np.int64), column) for label, column in columns]


Part = tuple[object, Mapping[str, ArrayLike]]


def _by_class(parts: Sequence[Part], columns: Sequence[str]) -> pd.DataFrame:
    """Stack the parts under a categorical column ``class`` that also knows the classes without rows."""
    labels = [label for label, _ in parts]
    sizes = [len(np.asarray(part[columns[0]])) if part else 0 for _, part in parts]
    codes = np.repeat(np.arange(len(parts)), sizes)
    data: dict[str, Any] = {
        "class": pd.Categorical.from_codes(codes, categories=pd.Index(labels, dtype=_index_dtype(labels)))
    }
    for name in columns:
        stacked = [np.asarray(part[name]) for _, part in parts if part]
        data[name] = np.concatenate(stacked) if stacked else np.empty(0)
    return pd.DataFrame(data)


def _index_dtype(labels: Sequence[object]) -> Any:
    """Keep labels as they are: pandas would make 1.0 of the 1 in [1, 0.5] and of True in [True, 2]."""
    return None if len({type(label) for label in labels}) == 1 else object


def roc_frame(y_true: ArrayLike, scores: ArrayLike, classes: Sequence[object], positive: object = None) -> pd.DataFrame:
    """Return the ROC curve of the positive class, or of each class against the rest.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        The actual labels.
    scores : array-like of float, shape (n,) or (n, k)
        Greater means more likely. One column: the score of `positive`, with two classes. A column for
        each class: one curve for each, or for `positive` alone where it is given.
    classes : sequence of k labels
        In the order of the columns of `scores`.
    positive : label, optional
        With scores of shape (n,) the last class by default.

    Returns
    -------
    DataFrame
        ``class`` (category: every class asked for), ``fpr`` and ``tpr`` (float, 0 to 1), ``threshold``
        (float, the score from which a row counts as the class; inf at the first point of a curve). From
        the highest threshold down; points on a straight line between others are left out. A class that
        none or all of the rows have gives no rows.

    Raises
    ------
    ValueError
        For scores that are not finite or whose shape does not fit, or an unknown `positive`.
    """
    parts: list[Part] = []
    for label, is_class, score in _one_vs_rest(y_true, scores, classes, positive):
        part: dict[str, ArrayLike] = {}
        if 0 < is_class.sum() < len(is_class):
            part["fpr"], part["tpr"], part["threshold"] = roc_curve(is_class, score)
        parts.append((label, part))
    return _by_class(parts, ("fpr", "tpr", "threshold"))


def draw_roc(frame: pd.DataFrame, title: str) -> Figure:
    """Draw :func:`roc_frame`: the curves, the diagonal of guessing, the area under each curve.

    Parameters
    ----------
    frame : DataFrame
        As from :func:`roc_frame`.
    title : str

    Returns
    -------
    Figure
        8 x 5.6 inches, 7 for a single curve.
    """
    labels = _classes_of(frame)
    width = 7.0 if len(labels) == 1 else 8.0
    figure = _figure(width, 5.6, title, "share of the class found against share of the others taken for it")
    axes = _square(figure, "false positive rate", "true positive rate")
    if frame.empty:
        _say(axes, NOT_DEFINED)
        return _finish(figure)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    handles: list[Any] = []
    for place, label in enumerate(labels):
        curve = frame[frame["class"] == label]
        if curve.empty:
            handles.append(_undefined(label))
            continue
        area = float(np.trapezoid(curve["tpr"], curve["fpr"]))
        text = f"{_short(label)}: AUC {area:.3f}"
        handles += axes.plot(curve["fpr"], curve["tpr"], label=text, **_curve_style(place))
    guess = Line2D([], [], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="guessing: AUC 0.500")
    _legend(axes, [guess, *handles])
    return _finish(figure)


def _square(figure: Figure, x: str, y: str) -> Axes:
    """Return square axes from 0 to 1 both ways, at the left of the figure."""
    axes = _style(figure.add_subplot())
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), anchor="W")
    axes.set_box_aspect(1)
    _labels(axes, x, y)
    return axes


def precision_recall_frame(
    y_true: ArrayLike, scores: ArrayLike, classes: Sequence[object], positive: object = None
) -> pd.DataFrame:
    """Return the precision-recall curve of the positive class, or of each class against the rest.

    Parameters
    ----------
    y_true, scores, classes, positive
        As for :func:`roc_frame`.

    Returns
    -------
    DataFrame
        ``class`` (category: every class asked for), ``recall`` and ``precision`` (float, 0 to 1),
        ``threshold`` (float; NaN at the first point, recall 0, which no threshold gives), ``prevalence``
        (float, the share of rows of the class: the precision of guessing). From the highest threshold
        down. A class that none or all of the rows have gives no rows.

    Raises
    ------
    ValueError
        For scores that are not finite or whose shape does not fit, or an unknown `positive`.
    """
    parts: list[Part] = []
    for label, is_class, score in _one_vs_rest(y_true, scores, classes, positive):
        part: dict[str, ArrayLike] = {}
        if 0 < is_class.sum() < len(is_class):
            precision, recall, threshold = precision_recall_curve(is_class, score, drop_intermediate=True)
            part["recall"], part["precision"] = recall[::-1], precision[::-1]
            part["threshold"] = np.concatenate([[np.nan], np.asarray(threshold, dtype=np.float64)[::-1]])
            part["prevalence"] = np.full(len(recall), is_class.mean())
        parts.append((label, part))
    return _by_class(parts, ("recall", "precision", "threshold", "prevalence"))


def draw_precision_recall(frame: pd.DataFrame, title: str) -> Figure:
    """Draw :func:`precision_recall_frame`: steps, average precision, and the line of no skill.

    Parameters
    ----------
    frame : DataFrame
        As from :func:`precision_recall_frame`.
    title : str

    Returns
    -------
    Figure
        8.6 x 5.6 inches, 7.6 for a single curve. AP is the mean precision over the steps of recall.
    """
    labels = _classes_of(frame)
    width = 7.6 if len(labels) == 1 else 8.6
    figure = _figure(width, 5.6, title, "share of the rows taken for the class that are of it, as more are found")
    axes = _square(figure, "recall", "precision")
    if frame.empty:
        _say(axes, NOT_DEFINED)
        return _finish(figure)
    handles: list[Any] = []
    for place, label in enumerate(labels):
        curve = frame[frame["class"] == label]
        if curve.empty:
            handles.append(_undefined(label))
            continue
        style = _curve_style(place)
        recall, precision = curve["recall"].to_numpy(), curve["precision"].to_numpy()
        average = float(np.sum(np.diff(recall) * precision[1:]))
        prevalence = float(curve["prevalence"].iloc[0])
        text = f"{_short(label, 22)}: AP {average:.3f} ({prevalence:.3f})"
        handles += axes.plot(recall, precision, drawstyle="steps-pre", label=text, **style)
        axes.axhline(prevalence, color=style["color"], linewidth=1, linestyle=(0, (4, 3)))
    text = "no skill: the prevalence, in ( )"
    skill = Line2D([], [], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label=text)
    _legend(axes, [skill, *handles])
    return _finish(figure)


def confusion_frame(y_true: ArrayLike, y_pred: ArrayLike, classes: Sequence[object]) -> pd.DataFrame:
    """Count rows by actual and predicted class.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels.
    classes : sequence of labels
        Their order is the frame's. Labels of the rows that are missing here follow, so that every row
        is counted.

    Returns
    -------
    DataFrame
        One row for each pair: ``actual``, ``predicted``, ``rows`` (int64), ``share`` (float, of the rows
        of the actual class; NaN where there is none).

    Raises
    ------
    ValueError
        For labels and predictions of different length.
    """
    actual, predicted = (list(np.asarray(labels, dtype=object)) for labels in (y_true, y_pred))
    if len(actual) != len(predicted):
        raise ValueError(f"y_pred must have one row for each of the {len(actual)} labels, got {len(predicted)}")
    known = list(classes)
    known += sorted({label for label in actual + predicted if label not in known}, key=str)
    counts = np.zeros((len(known), len(known)), dtype=np.int64)
    place = {label: position for position, label in enumerate(known)}
    for one, other in zip(actual, predicted, strict=True):
        counts[place[one], place[other]] += 1
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    pairs = [(one, other) for one in known for other in known]
    return pd.DataFrame(
        {
            "actual": pd.Series([one for one, _ in pairs], dtype=_index_dtype(known)),
            "predicted": pd.Series([other for _, other in pairs], dtype=_index_dtype(known)),
            "rows": counts.ravel(),
            "share": share.ravel(),
        }
    )


def draw_confusion(frame: pd.DataFrame, title: str) -> Figure:
    """Draw :func:`confusion_frame` with counts and percent of the actual class in the cells.

    Parameters
    ----------
    frame : DataFrame
        As from :func:`confusion_frame`.
    title : str

    Returns
    -------
    Figure
        5.6 to 14 inches wide by the number of classes. More than 12 classes show whole percents only, more
        than 24 colours only.
    """
    labels = list(frame["actual"].unique())
    size = len(labels)
    counts = frame["rows"].to_numpy(dtype=np.int64).reshape(size, size)
    shares = frame["share"].to_numpy(dtype=np.float64).reshape(size, size)
    names = [_short(label, 18) for label in labels]
    longest = max((len(name) for name in names), default=0)
    cell = 1.7 if size <= 2 else 1.2 if size <= 4 else 0.8 if size <= 12 else 0.55 if size <= 24 else 0.3
    slant = longest * SMALL * 0.62 / 72 > cell * 0.95
    side = size * cell
    width = float(np.clip(side + longest * 0.08 + 0.9, 5.6, 14.0))
    height = float(np.clip(side + (longest * 0.065 if slant else 0.1) + 1.45, 4.2, 14.0))
    subtitle = f"{_number(float(counts.sum()), 0)} rows; percent of each actual class"
    figure = _figure(width, height, title, subtitle)
    axes = _style(figure.add_subplot(), grid=None)
    if not size:
        _say(axes, "no rows")
        return _finish(figure)
    edges = np.arange(size + 1) - 0.5
    axes.pcolormesh(
        edges, edges, np.nan_to_num(shares), cmap=_SHARES, vmin=0, vmax=1, edgecolors="white", linewidth=1.5
    )
    if size <= 24:
        for row, column in np.ndindex(size, size):
            share, rows = float(shares[row, column]), int(counts[row, column])
            percent = f"{share:.0%}" if share in (0, 1) or size > 12 else f"{share:.1%}"
            percent = "–" if np.isnan(share) else percent
            axes.text(
                column,
                row,
                percent if size > 12 else f"{rows:,}\n{percent}",
                ha="center",
                va="center",
                size=SMALL if size > 6 else TEXT + 1 if size <= 4 else TEXT,
                color="white" if share > 0.5 else MUTED if rows == 0 else INK,
                weight="bold" if row == column and rows else "normal",
                linespacing=1.3,
            )
    axes.set_xticks(range(size), names, rotation=40 if slant else 0, ha="right" if slant else "center")
    if slant:
        for text in axes.get_xticklabels():
            text.set_rotation_mode("anchor")
    axes.set_yticks(range(size), names)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal", anchor="W")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _labels(axes, "predicted", "actual")
    return _finish(figure)


def calibration_frame(
    y_true: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[object],
    positive: object = None,
    bins: int = 10,
) -> pd.DataFrame:
    """Compare predicted probabilities with observed shares, in bins of about as many rows each.

    Parameters
    ----------
    y_true, classes, positive
        As for :func:`roc_frame`.
    probabilities : array-like of float, shape (n,) or (n, k)
        From 0 to 1.
    bins : int, default 10
        Quantile bins. Equal probabilities share a bin, so there may be fewer.

    Returns
    -------
    DataFrame
        ``class`` (category: every class asked for), ``predicted`` (float, the mean probability of the
        bin), ``observed`` (float, the share of its rows that are of the class), ``rows`` (int64), by
        rising probability. A class that none or all of the rows have gives no rows.

    Raises
    ------
    ValueError
        For fewer than one bin, probabilities that are not finite or whose shape does not fit, or an
        unknown `positive`.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    parts: list[Part] = []
    for label, is_class, probability in _one_vs_rest(y_true, probabilities, classes, positive):
        part: dict[str, ArrayLike] = {}
        if 0 < is_class.sum() < len(is_class):
            inner = np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1])
            place = np.searchsorted(inner, probability, side="left")
            rows = np.bincount(place, minlength=bins)
            used = rows > 0
            part["predicted"] = np.bincount(place, weights=probability, minlength=bins)[used] / rows[used]
            part["observed"] = np.bincount(place, weights=is_class, minlength=bins)[used] / rows[used]
            part["rows"] = rows[used]
        parts.append((label, part))
    frame = _by_class(parts, ("predicted", "observed", "rows"))
    return frame.astype({"rows": np.int64})


def draw_calibration(frame: pd.DataFrame, title: str) -> Figure:
    """Draw :func:`calibration_frame`: observed against predicted, with the rows of each bin below.

    Parameters
    ----------
    frame : DataFrame
        As from :func:`calibration_frame`.
    title : str

    Returns
    -------
    Figure
        8 x 6 inches. A single curve has Wilson's 95 % intervals, for bins are often small.
    """
    labels = _classes_of(frame)
    alone = len(labels) == 1
    subtitle = "quantile bins" + ("; bars: 95 % interval of the observed share" if alone else "")
    figure = _figure(8.0, 6.0, title, subtitle)
    grid = figure.add_gridspec(2, 1, height_ratios=(4.5, 1))
    axes = _style(figure.add_subplot(grid[0]))
    below = _style(figure.add_subplot(grid[1]), grid="y")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    below.set_xlim(-0.02, 1.02)
    axes.tick_params(labelbottom=False)
    _labels(axes, "", "observed share")
    _labels(below, "predicted probability", "rows")
    figure.align_ylabels([axes, below])
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    if frame.empty:
        _say(axes, NOT_DEFINED)
        below.set_yticks([])
        return _finish(figure)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    handles: list[Any] = [Line2D([], [], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")]
    for place, label in enumerate(labels):
        curve = frame[frame["class"] == label]
        if curve.empty:
            handles.append(_undefined(label))
            continue
        style = _curve_style(place)
        predicted, observed = curve["predicted"].to_numpy(), curve["observed"].to_numpy()
        rows = curve["rows"].to_numpy()
        if alone:
            low, high = _wilson(observed, rows)
            axes.vlines(predicted, low, high, color=style["color"], linewidth=1.2, alpha=0.5)
        handles += axes.plot(predicted, observed, marker="o", markersize=5, label=_short(label), **style)
        below.vlines(predicted, 0, rows, color=style["color"], linewidth=2 if alone else 1.2)
        below.plot(predicted, rows, "o", color=style["color"], markersize=3.5)
    below.set_ylim(0, float(frame["rows"].max()) * 1.2)
    below.yaxis.set_major_formatter(FuncFormatter(_whole))
    _legend(axes, handles)
    return _finish(figure)


def _wilson(share: Floats, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return Wilson's 95 % interval of a share of so many rows."""
    z2 = 1.959964**2
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = np.sqrt(z2 * (share * (1 - share) / rows + z2 / (4 * rows**2))) / (1 + z2 / rows)
    return middle - half, middle + half


# --------------------------------------------------------------------------------------------------
# Regression.


def predicted_frame(y_true: ArrayLike, y_pred: ArrayLike) -> pd.DataFrame:
    """Put predictions beside the actual values.

    Parameters
    ----------
    y_true, y_pred : array-like of float, shape (n,)
        In the target's units.

    Returns
    -------
    DataFrame
        ``actual``, ``predicted`` and ``residual`` (actual minus predicted), float64, in the order of the
        rows.

    Raises
    ------
    ValueError
        For arrays of different length.
    """
    actual, predicted = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    if actual.shape != predicted.shape or actual.ndim != 1:
        raise ValueError(f"y_true and y_pred must be of one shape (n,), got {actual.shape} and {predicted.shape}")
    return pd.DataFrame({"actual": actual, "predicted": predicted, "residual": actual - predicted})


def draw_predicted(frame: pd.DataFrame, title: str, target: str) -> Figure:
    """Draw :func:`predicted_frame`: predicted against actual, with the line where both agree.

    Parameters
    ----------
    frame : DataFrame
        As from :func:`predicted_frame`. Rows with a value that is not finite are counted, not drawn.
    title : str
    target : str
        The target's name, for the axes.

    Returns
    -------
    Figure
        6.6 x 6.4 inches; above 5,000 rows hexagons and 7.4 inches.
    """
    rows = _drawable(frame)
    residual = rows["residual"].to_numpy()
    width = 6.6 if len(rows) <= MANY_ROWS else 7.4
    figure = _figure(width, 6.4, title, _regression_subtitle(frame, rows))
    axes = _style(figure.add_subplot())
    axes.set_anchor("W")
    axes.set_box_aspect(1)
    _labels(axes, f"actual {_short(target)}", f"predicted {_short(target)}")
    if not residual.size:
        _say(axes, "no rows with a prediction")
        return _finish(figure)
    actual, predicted = rows["actual"].to_numpy(), rows["predicted"].to_numpy()
    limits = _padded(np.concatenate([actual, predicted]))
    _cloud([axes], actual, predicted, limits, limits)
    axes.axline((limits[0], limits[0]), slope=1, color=WARM, linewidth=1.4)
    line = Line2D([], [], color=WARM, linewidth=1.4, label="predicted = actual")
    axes.legend(handles=[line], loc="upper left", frameon=False, fontsize=SMALL, labelcolor=INK)
    _separate_thousands(axes, "x", "y")
    return _finish(figure)


def draw_residuals(frame: pd.DataFrame, title: str, target: str) -> Figure:
    """Draw :func:`predicted_frame`: residuals against predictions, and how they are distributed.

    Parameters
    ----------
    frame : DataFrame
        As from :func:`predicted_frame`. Rows with a value that is not finite are counted, not drawn.
    title : str
    target : str
        The target's name, for the axes.

    Returns
    -------
    Figure
        9 x 5.4 inches; hexagons above 5,000 rows.
    """
    rows = _drawable(frame)
    residual, predicted = rows["residual"].to_numpy(), rows["predicted"].to_numpy()
    figure = _figure(9.0, 5.4, title, _regression_subtitle(frame, rows))
    grid = figure.add_gridspec(1, 2, width_ratios=(4.5, 1))
    axes = _style(figure.add_subplot(grid[0]))
    beside = _style(figure.add_subplot(grid[1]), grid="y")
    _labels(axes, f"predicted {_short(target)}", "residual (actual − predicted)")
    _labels(beside, "rows")
    if not residual.size:
        _say(axes, "no rows with a prediction")
        beside.set_visible(False)
        return _finish(figure)
    limits = _padded(np.append(residual, 0.0))
    _cloud([axes, beside], predicted, residual, _padded(predicted), limits)
    edges = np.linspace(*limits, int(np.clip(2 * np.sqrt(len(residual)), 12, 40)) + 1).tolist()
    beside.hist(residual, bins=edges, orientation="horizontal", color=ACCENT, alpha=0.75, linewidth=0)
    beside.set_ylim(limits)
    beside.tick_params(labelleft=False)
    beside.xaxis.set_major_locator(MaxNLocator(2, integer=True))
    beside.xaxis.set_major_formatter(FuncFormatter(_whole))
    for panel in (axes, beside):
        panel.axhline(0, color=WARM, linewidth=1.4)
    _separate_thousands(axes, "x", "y")
    return _finish(figure)


def _drawable(frame: pd.DataFrame) -> pd.DataFrame:
    values = frame[["actual", "predicted", "residual"]].to_numpy(dtype=np.float64)
    return frame[pd.Series(np.isfinite(values).all(axis=1), index=frame.index)]


def _regression_subtitle(frame: pd.DataFrame, rows: pd.DataFrame) -> str:
    missing = len(frame) - len(rows)
    parts = [f"{len(rows):,} rows"]
    if len(rows):
        residual = rows["residual"].to_numpy()
        rmse, mae, bias = np.sqrt(np.mean(residual**2)), np.mean(np.abs(residual)), np.mean(residual)
        decimals = _decimals([rmse])
        parts += [
            f"RMSE {_number(float(rmse), decimals)}",
            f"MAE {_number(float(mae), decimals)}",
            f"mean residual {_number(float(bias), decimals)}",
        ]
    if missing:
        parts.append(f"not drawn: {missing:,} without a prediction")
    return "; ".join(parts)


def _padded(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = (high - low) * 0.04 or abs(high) * 0.05 or 0.5
    return low - room, high + room


def _cloud(
    panels: list[Axes], x: Floats, y: Floats, x_limits: tuple[float, float], y_limits: tuple[float, float]
) -> None:
    """Draw rows on the first panel: dots, or hexagons by count where dots would be a blot in a large file.

    The scale of the counts goes to the right of all panels.
    """
    axes = panels[0]
    axes.set(xlim=x_limits, ylim=y_limits)
    if len(x) <= MANY_ROWS:
        alpha = 0.75 if len(x) <= 300 else 0.45 if len(x) <= 1_500 else 0.25
        axes.scatter(x, y, s=20 if len(x) <= 1_500 else 12, color=ACCENT, alpha=alpha, linewidths=0)
        return
    hexagons = axes.hexbin(x, y, gridsize=48, mincnt=1, cmap=_COUNTS, linewidths=0.1, extent=(*x_limits, *y_limits))
    most = max(float(np.max(np.asarray(hexagons.get_array()))), 2.0)
    hexagons.set_norm(LogNorm(1, most))
    bar = cast(Figure, axes.get_figure()).colorbar(hexagons, ax=panels, aspect=32, pad=0.02, shrink=0.75, panchor=False)
    bar.set_label("rows in a hexagon", size=SMALL, color=MUTED)
    cast(Any, bar.outline).set_visible(False)
    bar.ax.yaxis.set_major_locator(LogLocator(10, subs=(1.0,) if most > 300 else (1.0, 2.0, 5.0)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(_whole))
    bar.ax.tick_params(labelsize=SMALL, length=0, labelcolor=INK)


def coefficient_frame(
    names: Sequence[str],
    estimates: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
) -> pd.DataFrame:
    """Put coefficients and their intervals in order of size.

    Parameters
    ----------
    names : sequence of str, length k
    estimates : array-like of float, shape (k,)
    lower, upper : array-like of float, shape (k,), optional
        Ends of the intervals. Without them, NaN.

    Returns
    -------
    DataFrame
        ``column`` (str), ``estimate``, ``lower``, ``upper`` (float64), the greatest absolute estimate
        first, equal ones in the order given, NaN last.

    Raises
    ------
    ValueError
        For arrays of different length.
    """
    columns: dict[str, Floats] = {}
    for key, values in (("estimate", estimates), ("lower", lower), ("upper", upper)):
        array = np.full(len(names), np.nan) if values is None else np.asarray(values, dtype=np.float64)
        if array.shape != (len(names),):
            raise ValueError(f"{key} must have the shape ({len(names)},), one for each name, got {array.shape}")
        columns[key] = array
    frame = pd.DataFrame({"column": [str(name) for name in names], **columns})
    order = np.argsort(-np.abs(columns["estimate"]), kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def draw_coefficients(frame: pd.DataFrame, title: str, level: float = 0.95) -> Figure:
    """Draw :func:`coefficient_frame`: a dot and a bar for each of the 30 greatest coefficients.

    Parameters
    ----------
    frame : DataFrame
        As from :func:`coefficient_frame`.
    title : str
    level : float, default 0.95
        The confidence level of the intervals, for the words.

    Returns
    -------
    Figure
        9 inches wide, its height by the number of coefficients. A hollow dot: the interval holds zero.
    """
    shown = frame.head(MOST_COEFFICIENTS)
    left_out = len(frame) - len(shown)
    columns = ("estimate", "lower", "upper")
    estimate, lower, upper = (shown[name].to_numpy(dtype=np.float64) for name in columns)
    bounded = np.isfinite(lower) & np.isfinite(upper) & np.isfinite(estimate)
    words = []
    if bounded.any():
        words.append(f"bars: {level * 100:g} % interval; hollow where it holds zero")
    if left_out:
        words.append(f"the {len(shown)} largest of {len(frame)}, {left_out} smaller ones left out")
    height = max(2.6, 1.45 + 0.27 * len(shown))
    figure = _figure(9.0, height, title, "; ".join(words))
    axes = _style(figure.add_subplot(), grid="x")
    _labels(axes, "coefficient")
    if shown.empty:
        _say(axes, "no coefficients")
        axes.set_yticks([])
        return _finish(figure)
    places = np.arange(len(shown))
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.hlines(places[bounded], lower[bounded], upper[bounded], color=ACCENT, linewidth=2, alpha=0.55)
    hollow = bounded & (lower <= 0) & (upper >= 0)
    for chosen, fill in ((~hollow, ACCENT), (hollow, "white")):
        axes.plot(
            estimate[chosen],
            places[chosen],
            "o",
            markersize=6,
            markerfacecolor=fill,
            markeredgecolor=ACCENT,
            markeredgewidth=1.4,
            linestyle="none",
        )
    for place, value in zip(places, estimate, strict=True):
        axes.annotate(
            _number(value, 0) if abs(value) >= 1e4 or np.isnan(value) else f"{value:#.4g}".replace("-", "−"),
            (1, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(66, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            size=SMALL,
            color=INK,
            annotation_clip=False,
        )
    axes.set_yticks(places, [_short(name, 38) for name in shown["column"]])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    # An interval of a near-singular fit may be a thousand times the estimate: it is cut at the edge.
    reach = 4 * max(float(np.abs(_finite(estimate)).max(initial=0.0)), 1e-12)
    ends = np.clip(np.concatenate([lower[bounded], upper[bounded]]), -reach, reach)
    axes.set_xlim(_padded(np.concatenate([_finite(estimate), ends, [0.0]])))
    _separate_thousands(axes, "x")
    return _finish(figure)


# --------------------------------------------------------------------------------------------------
# Searches and whole runs.


def search_frame(trials: pd.DataFrame, *, greater_is_better: bool) -> pd.DataFrame:
    """Add to the trials of a search the best score so far.

    Parameters
    ----------
    trials : DataFrame
        ``trial`` (int), ``model`` (str), ``score`` (float, in the metric's own direction; NaN where
        there is none), ``status`` (str; "ok" or "finished" in any case, all else has failed or, if
        "infeasible", is over a limit, or, if "pruned", was ended early).
    greater_is_better : bool

    Returns
    -------
    DataFrame
        By trial: ``trial``, ``model``, ``score``, ``status``, ``failed`` (bool: cannot win, by its status or
        for want of a finite score), ``best`` (float, over the trials up to this one that have not failed;
        NaN before the first).
    """
    frame = trials[["trial", "model", "score", "status"]].sort_values("trial", kind="stable")
    frame = frame.reset_index(drop=True).astype({"score": np.float64})
    finished = frame["status"].astype(str).str.lower().isin(FINISHED) & np.isfinite(frame["score"])
    frame["failed"] = ~finished
    score = frame["score"].where(finished)
    frame["best"] = (score.cummax() if greater_is_better else score.cummin()).ffill()
    return frame


def draw_search(
    frame: pd.DataFrame,
    title: str,
    metric: str,
    baseline: float | None = None,
    *,
    baseline_name: str = "dummy",
) -> Figure:
    """Draw :func:`search_frame`: a dot for each trial, the best so far, the failed ones, the baseline.

    Parameters
    ----------
    frame : DataFrame
        As from :func:`search_frame`.
    title : str
    metric : str
        The name of the score, for the axis.
    baseline : float, optional
        The score to beat; None or NaN draws none.
    baseline_name : str, default "dummy"

    Returns
    -------
    Figure
        9.5 x 5 inches. Failed trials are crosses at the bottom edge, scores far worse than the rest
        triangles at the edge they lie beyond.
    """
    good = frame[~frame["failed"].astype(bool)]
    failed = frame[frame["failed"].astype(bool)]
    scores = good["score"].to_numpy(dtype=np.float64)
    final = float(frame["best"].iloc[-1]) if len(frame) else np.nan
    known = bool(len(scores)) and float(scores.min()) != float(scores.max())
    greater = not known or final == float(scores.max())
    dummy = np.nan if baseline is None else float(baseline)
    decimals = _decimals([*scores, dummy])

    words = f"{len(frame):,} trials"
    reasons = {LOST.get(status, "failed") for status in failed["status"].astype(str).str.lower()}
    lost_words = " or ".join(words for words in ("failed", *LOST.values()) if words in reasons)
    if len(failed):
        words += f", {len(failed):,} {lost_words}"
    figure = _figure(9.5, 5.0, title, words)
    axes = _style(figure.add_subplot())
    direction = f" ({'higher' if greater else 'lower'} is better)" if known else ""
    _labels(axes, "trial", f"{metric}{direction}")
    low, high = _view(scores, [dummy, final], greater_is_better=greater)
    if len(failed):
        low -= 0.07 * (high - low)
    first, last = (float(frame["trial"].min()), float(frame["trial"].max())) if len(frame) else (0.0, 1.0)
    room = max(0.6, 0.02 * (last - first))
    axes.set(xlim=(first - room, last + room), ylim=(low, high))
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True, min_n_ticks=1))

    lines: list[Any] = []
    dots_of_models: list[Line2D] = []
    best = frame.dropna(subset=["best"])
    if len(best):
        at = int(good["trial"].iloc[int(np.argmax(scores if greater else -scores))])
        text = f"best so far: {_number(final, decimals)} (trial {at})"
        x = np.append(best["trial"].to_numpy(dtype=np.float64), last + room)
        y = np.append(best["best"].to_numpy(dtype=np.float64), final)
        lines += axes.plot(x, y, drawstyle="steps-post", color=INK, linewidth=1.4, label=text)
    else:
        _say(axes, "no trial has a score", 0.65)
        if np.isnan(dummy):
            axes.set_yticks([])
    if np.isfinite(dummy):
        text = f"{baseline_name}: {_number(dummy, decimals)}"
        lines.append(axes.axhline(dummy, color=MUTED, linewidth=1.3, linestyle=(0, (5, 3)), label=text))

    edge, marker = (low, "v") if greater else (high, "^")
    beyond = 0
    models = frame["model"].astype(str)
    for place, model in enumerate(sorted(models.unique())):
        colour = PALETTE[place % len(PALETTE)]
        shape = MARKERS[place // len(PALETTE) % len(MARKERS)]
        mine = good[models[good.index] == model]
        score = mine["score"].to_numpy(dtype=np.float64)
        inside = (score >= low) & (score <= high)
        beyond += int((~inside).sum())
        dots: dict[str, Any] = {"linewidths": 0.6, "edgecolors": "white", "color": colour, "zorder": 3}
        axes.scatter(mine["trial"][inside], score[inside], s=42, marker=shape, **dots)
        outside = mine["trial"][~inside]
        axes.scatter(outside, np.full(len(outside), edge), s=48, marker=marker, clip_on=False, **dots)
        lost = failed["trial"][models[failed.index] == model]
        axes.scatter(
            lost,
            np.full(len(lost), 0.025),
            s=40,
            marker="x",
            color=colour,
            linewidths=1.6,
            transform=axes.get_xaxis_transform(),
            zorder=3,
        )
        dots_of_models.append(_dot(colour, shape, f"{_short(model, 24)} ({int((models == model).sum()):,})"))
    if len(failed):
        lines.append(_dot(MUTED, "x", f"{lost_words} ({len(failed):,})"))
    if beyond:
        lines.append(_dot(MUTED, marker, f"beyond the axis ({beyond:,})"))
    _legend(axes, [*lines, *dots_of_models])
    _separate_thousands(axes, "y")
    return _finish(figure)


def draw_contour(frame: pd.DataFrame, title: str, score: str) -> Figure:
    """Draw a sweep of two hyperparameters: the score as height, a dot for each trial, the best marked.

    Parameters
    ----------
    frame : DataFrame
        A column for each of the two hyperparameters, the first to the right, the second up, and ``score`` (float; NaN
        of a trial that failed): one row for each pair of their values.
    title : str
    score : str
        What the height is, for the scale; more is better.

    Returns
    -------
    Figure
        8.5 x 5 inches. Where fewer than two values of either are known, or all scores are one, there are dots alone.
    """
    across, up = (name for name in frame.columns if name != "score")
    grid = frame.pivot(index=up, columns=across, values="score")
    heights = grid.to_numpy(dtype=np.float64)
    known = frame[np.isfinite(frame["score"].to_numpy(dtype=np.float64))]
    failed = len(frame) - len(known)
    words = f"{len(frame):,} trials" + (f", {failed:,} failed" if failed else "")
    figure = _figure(8.5, 5.0, title, words)
    axes = _style(figure.add_subplot(), grid=None)
    _labels(axes, across, up)
    axes.set_xticks(grid.columns.to_numpy())
    axes.set_yticks(grid.index.to_numpy())
    if not len(known):
        _say(axes, "no trial has a score")
        return _finish(figure)
    low, high = float(known["score"].min()), float(known["score"].max())
    decimals = 3
    if min(heights.shape) > 1 and high > low:
        levels = np.linspace(low, high, 9)
        filled = axes.contourf(grid.columns, grid.index, heights, levels=levels, cmap=_SHARES)
        axes.contour(grid.columns, grid.index, heights, levels=levels, colors="white", linewidths=0.7)
        scale = figure.colorbar(filled, ax=axes, ticks=levels[::2], pad=0.03)
        scale.set_label(score, size=TEXT, color=INK)
        scale.ax.set_yticklabels([_number(level, decimals) for level in levels[::2]])
        scale.ax.tick_params(labelsize=SMALL, colors=INK, length=0)
        scale.outline.set_visible(False)
    best = known["score"] == high
    for chosen, colour, size in ((~best, INK, 22), (best, WARM, 64)):
        axes.scatter(
            known[across][chosen], known[up][chosen], s=size, color=colour, edgecolors="white", linewidths=0.8,
            zorder=3, clip_on=False,
        )  # fmt: skip
    handles = [_dot(WARM, "o", f"best: {_number(high, decimals)} ({int(best.sum())})")]
    if not best.all():
        handles.append(_dot(INK, "o", f"others, from {_number(low, decimals)}"))
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False, fontsize=SMALL,
        labelcolor=INK, borderaxespad=0.2,
    )  # fmt: skip
    return _finish(figure)


def _dot(colour: str, marker: str, label: str) -> Line2D:
    return Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        markersize=6,
        markeredgewidth=1.4 if marker == "x" else 0.5,
        linestyle="none",
        label=label,
    )


SCOREBOARD_SUBTITLE = "Ranked by the cross-validated score on training rows. Test rows judge; they do not choose."
SCOREBOARD_COLUMNS = (
    "table",
    "step",
    "model",
    "metric",
    "greater_is_better",
    "cv",
    "cv_std",
    "test",
    "dummy",
    "chosen",
)


def scoreboard_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the candidates of a run, table by table, the best cross-validated score first.

    Parameters
    ----------
    rows : sequence of mappings
        ``table``, ``step``, ``model``, ``metric`` (str), ``cv`` and ``cv_std`` (float, mean and standard
        deviation over the folds), ``test`` (float), ``dummy`` (float, the best constant's score),
        ``chosen`` (bool). A missing or None number becomes NaN. ``greater_is_better`` (bool) is taken
        where it is given, else known by the metric's name: RMSE, MAE and the like are better low.

    Returns
    -------
    DataFrame
        One row for each candidate with those columns; tables in the order they first come.

    Raises
    ------
    ValueError
        For a row without ``table``, ``step``, ``model`` or ``metric``.
    """
    records: list[dict[str, Any]] = []
    for row in rows:
        record: dict[str, Any] = {}
        for key in ("table", "step", "model", "metric"):
            if row.get(key) is None:
                raise ValueError(f"each row of the scoreboard needs {key!r}, got only {sorted(row)}")
            record[key] = str(row[key])
        given = row.get("greater_is_better")
        low = record["metric"].lower() in LOWER_IS_BETTER
        record["greater_is_better"] = not low if given is None else bool(given)
        for key in ("cv", "cv_std", "test", "dummy"):
            record[key] = np.nan if row.get(key) is None else float(row[key])
        record["chosen"] = bool(row.get("chosen", False))
        records.append(record)
    frame = pd.DataFrame(records, columns=list(SCOREBOARD_COLUMNS))
    if frame.empty:
        return frame
    order = pd.DataFrame(
        {
            "table": pd.factorize(frame["table"])[0],
            "metric": pd.factorize(frame["metric"])[0],
            "badness": frame["cv"].where(~frame["greater_is_better"], -frame["cv"]),
        }
    ).sort_values(["table", "metric", "badness"], kind="stable")
    return frame.loc[order.index].reset_index(drop=True)


def draw_scoreboard(
    frame: pd.DataFrame,
    title: str = "Every candidate beside the best constant",
    subtitle: str = SCOREBOARD_SUBTITLE,
) -> Figure:
    """Draw :func:`scoreboard_frame`: a panel for each table, a row for each candidate.

    Parameters
    ----------
    frame : DataFrame
        As from :func:`scoreboard_frame`.
    title, subtitle : str

    Returns
    -------
    Figure
        10 inches wide, its height by the number of candidates. A dot and a bar: mean and one standard
        deviation over the folds; a hollow diamond: the test score; the dashed line: the dummy.
    """
    panels = [part for _, part in frame.groupby(["table", "metric"], sort=False)] if len(frame) else []
    row, around, foot = 0.4, 1.05, 0.42
    height = 0.75 + foot + sum(around + row * len(part) for part in panels) if panels else 2.6
    figure = _figure(10.0, height, title, subtitle, below=foot if panels else 0.0)
    if not panels:
        axes = _style(figure.add_subplot(), grid=None)
        axes.set_axis_off()
        _say(axes, "no candidates")
        return _finish(figure)
    grid = figure.add_gridspec(len(panels), 1, height_ratios=[0.25 + row * len(part) for part in panels])
    for place, part in enumerate(panels):
        _scoreboard_panel(figure.add_subplot(grid[place]), part)
    spread = "cross-validated mean ± 1 std"
    hollow: dict[str, Any] = {
        "marker": "D",
        "markersize": 7.5,
        "markerfacecolor": "none",
        "markeredgewidth": 1.5,
    }
    figure.legend(
        handles=[
            Line2D([], [], color=MUTED, marker="o", markersize=7, linewidth=2, label=spread),
            Line2D([], [], color=MUTED, linestyle="none", label="test rows", **hollow),
            Line2D([], [], color=WARM, linewidth=1.4, linestyle=(0, (4, 3)), label="dummy: the best constant"),
            Patch(facecolor=ACCENT, label="chosen"),
        ],
        loc="lower left",
        bbox_to_anchor=(0.004, 0.06 / height),
        ncols=4,
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
        columnspacing=2.0,
    )
    return _finish(figure)


def _scoreboard_panel(axes: Axes, part: pd.DataFrame) -> None:
    """Draw the candidates of one table and metric."""
    _style(axes, grid="x")
    metric, greater = str(part["metric"].iloc[0]), bool(part["greater_is_better"].iloc[0])
    cv, spread, test = (part[name].to_numpy(dtype=np.float64) for name in ("cv", "cv_std", "test"))
    dummies = np.unique(_finite(part["dummy"].to_numpy(dtype=np.float64)))
    chosen = part["chosen"].to_numpy(dtype=bool)
    decimals = _decimals([*cv, *test, *dummies])
    scores = np.concatenate([cv, test])
    around = np.concatenate([cv - spread, cv + spread])
    low, high = _view(scores, dummies, greater_is_better=greater)
    reach = (high - low) * 0.6
    near = _finite(around)
    low, high = _padded(np.concatenate([[low, high], near[(near > low - reach) & (near < high + reach)]]))
    size = len(part)
    axes.set(xlim=(low, high), ylim=(size - 0.45, -0.6))
    axes.spines["left"].set_visible(False)
    if _finite(scores).size or dummies.size:
        axes.xaxis.set_major_locator(MaxNLocator(4 if decimals == 0 else 8, steps=[1, 2, 5, 10]))
        _separate_thousands(axes, "x")
    else:
        axes.set_xticks([])
        _say(axes, "no score")

    for value in dummies:
        axes.axvline(value, color=WARM, linewidth=1.4, linestyle=(0, (4, 3)), zorder=1.5)
        where = (value - low) / (high - low)
        axes.annotate(
            f"dummy {_number(float(value), decimals)}",
            (value, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="left" if where < 0.1 else "right" if where > 0.9 else "center",
            va="bottom",
            size=SMALL,
            color=WARM,
            annotation_clip=False,
        )

    def beside(text: str, y: float, right: float, *, top: bool = False, **words: Any) -> None:
        axes.annotate(
            text,
            (1, y),
            xycoords=axes.transAxes if top else axes.get_yaxis_transform(),
            xytext=(right, 3 if top else 0),
            textcoords="offset points",
            va="bottom" if top else "center",
            annotation_clip=False,
            **{"size": SMALL, "color": INK, "ha": "right", **words},
        )

    beside("cross-validated", 1, 108, top=True, color=MUTED)
    beside("test", 1, 164, top=True, color=MUTED)
    beside("chosen", 1, 176, top=True, ha="left", color="none")  # keeps the column as wide in all panels
    for place in range(size):
        colour = ACCENT if chosen[place] else MUTED
        if chosen[place]:
            axes.axhspan(place - 0.45, place + 0.45, color=BAND, linewidth=0, zorder=0)
        weight = "bold" if chosen[place] else "normal"
        if np.isfinite(cv[place]) and np.isfinite(spread[place]):
            ends = (cv[place] - spread[place], cv[place] + spread[place])
            axes.hlines(place, *ends, color=colour, linewidth=2.2, alpha=0.55, zorder=2)
        for value, marker in ((cv[place], "o"), (test[place], "D")):
            if not np.isfinite(value):
                continue
            shape = marker if low <= value <= high else "<" if value < low else ">"
            axes.plot(
                [min(max(value, low), high)],
                [place],
                marker=shape,
                markersize=7.5 if marker == "o" else 8,
                markerfacecolor=colour if marker == "o" else "none",
                markeredgecolor=colour,
                markeredgewidth=0.0 if marker == "o" else 1.5,
                linestyle="none",
                clip_on=shape == marker,
                zorder=3,
            )
        mean = _number(float(cv[place]), decimals)
        if np.isfinite(spread[place]):
            mean += f" ± {_number(float(spread[place]), decimals)}"
        beside(mean, place, 108, weight=weight)
        beside(_number(float(test[place]), decimals), place, 164, weight=weight)
        if chosen[place]:
            box = {"boxstyle": "round,pad=0.3", "facecolor": ACCENT, "edgecolor": "none"}
            beside("chosen", place, 178, ha="left", color="white", weight="bold", bbox=box)

    names = [
        f"{_short(model, 26)}  ·  {_short(step, 20)}" for model, step in zip(part["model"], part["step"], strict=True)
    ]
    axes.set_yticks(range(size), names)
    axes.tick_params(axis="y", length=0, pad=6)
    for text, is_chosen in zip(axes.get_yticklabels(), chosen, strict=True):
        text.set_fontsize(TEXT)
        text.set_fontweight("bold" if is_chosen else "normal")
        text.set_color(ACCENT if is_chosen else INK)
    table = _short(part["table"].iloc[0], 60)
    axes.set_title(table, loc="left", size=TEXT + 1.5, weight="bold", color=INK, pad=19)
    _labels(axes, f"{metric}: higher is better →" if greater else f"← {metric}: lower is better")

"""The charts that benchmarks draw into docs/: of numbers that their tables have too, in the project's own style."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from lifecycle.figures import DASHES, DPI, FONT, INK, MUTED, PALETTE, SMALL, TEXT, TITLE


def _sheet(width: float, height: float, title: str, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure (inches) with a title at its left edge, and its axes in reading order."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, size=TITLE, color=INK, weight="bold", x=0.01, ha="left")
    axes = [one for row in figure.subplots(rows, columns, squeeze=False) for one in row]
    for one in axes:
        for side, spine in one.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color("#999999")
        one.tick_params(colors=INK, labelsize=SMALL, color="#999999", length=3)
        one.set_axisbelow(True)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    for text in figure.findobj(Text):
        text.set_fontfamily(FONT)
    figure.savefig(path, metadata={"Software": None})


def draw_bars(path: Path, title: str, unit: str, sizes: Mapping[str, Mapping[str, float]]) -> None:
    """Draw, for each way, a mark for each size on a logarithmic scale.

    Parameters
    ----------
    path : Path
        Of the picture.
    title, unit : str
        Over it, and under its axis.
    sizes : mapping of str to mapping of str to float
        By the way, by the size's name, what it took; above 0.
    """
    figure, [axes] = _sheet(9, 1.2 + 0.42 * len(sizes), title)
    names = list(sizes)
    labels = list(dict.fromkeys(name for found in sizes.values() for name in found))
    for place, name in enumerate(names):
        axes.axhline(place, color="#E4E4E4", linewidth=0.8, zorder=0)
        for label, value in sizes[name].items():
            order = labels.index(label)
            shown = max(value, 1e-3)
            axes.plot(shown, place, "osD^"[order % 4], color=PALETTE[order], label=label, markersize=7)
            # Sizes take turns above, below and beside their mark, since marks may lie close together.
            axes.annotate(
                f"{value:.2g}",
                (shown, place),
                xytext=((0, 6), (0, -13), (14, -3))[order % 3],
                textcoords="offset points",
                ha=("center", "center", "left")[order % 3],
                size=SMALL - 1,
                color=MUTED,
            )
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.set_xlabel(unit, size=TEXT, color=INK)
    seen = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(
        seen.values(), seen.keys(), frameon=False, fontsize=SMALL, loc="center left", bbox_to_anchor=(1.01, 0.5)
    )
    _save(figure, path)


def draw_stacks(path: Path, title: str, unit: str, stacks: Mapping[str, Mapping[str, float]], bound: float) -> None:
    """Draw a stacked bar for each name, and a line at a bound.

    Parameters
    ----------
    path : Path
        Of the picture.
    title, unit : str
        Over it, and under its axis.
    stacks : mapping of str to mapping of str to float
        By the bar's name, by the part's name, its size.
    bound : float
        What no bar is to pass.
    """
    figure, [axes] = _sheet(9, 1.4 + 0.5 * len(stacks), title)
    parts = list(dict.fromkeys(part for found in stacks.values() for part in found))
    left = np.zeros(len(stacks))
    for order, part in enumerate(parts):
        values = np.array([found.get(part, 0.0) for found in stacks.values()])
        axes.barh(range(len(stacks)), values, left=left, color=PALETTE[order], label=part, height=0.6)
        left += values
    for place, whole in enumerate(left):
        axes.annotate(
            f"{whole:.3g}", (whole, place), xytext=(4, 0), textcoords="offset points", va="center", size=SMALL
        )
    axes.axvline(bound, color=INK, linestyle=":", label="not to be passed")
    axes.set_yticks(range(len(stacks)), list(stacks))
    axes.invert_yaxis()
    axes.set_xlabel(unit, size=TEXT, color=INK)
    axes.legend(frameon=False, fontsize=SMALL, loc="center left", bbox_to_anchor=(1.05, 0.5))
    _save(figure, path)


def draw_courses(
    path: Path, title: str, panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]]
) -> None:
    """Draw how the best score grew with the seconds, a panel for each table and a line for each way.

    Parameters
    ----------
    path : Path
        Of the picture.
    title : str
        Over it.
    panels : mapping
        By the panel's title, by the way, points of seconds, median, and first and third quartile over the seeds.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = _sheet(4 * columns, 0.8 + 2.7 * rows, title, rows, columns)
    ways = list(dict.fromkeys(way for found in panels.values() for way in found))
    for one, (name, found) in zip(axes, panels.items(), strict=False):
        for way, points in found.items():
            order = ways.index(way)
            seconds, middle, low, high = (np.array(part) for part in zip(*points, strict=True))
            one.plot(seconds, middle, color=PALETTE[order], linestyle=DASHES[order % len(DASHES)], label=way)
            one.fill_between(seconds, low, high, color=PALETTE[order], alpha=0.12, linewidth=0)
        # The first seconds, when a way has little, would press all the rest into a line.
        later = np.array([point[1:] for points in found.values() for point in points[len(points) // 5 :]])
        margin = 0.1 * max(float(np.ptp(later)), 1e-6)
        one.set_ylim(float(later.min()) - margin, float(later.max()) + margin)
        one.grid(True, color="#E4E4E4", linewidth=0.8)
        one.set_title(name, size=TEXT, color=INK, loc="left")
        one.set_xlabel("seconds of search", size=SMALL, color=INK)
    for one in axes[len(panels) :]:
        one.set_visible(False)
    handles: dict[str, Any] = {}
    for one in axes[: len(panels)]:
        handles |= dict(zip(*reversed(one.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=SMALL)
    _save(figure, path)


def draw_intervals(
    path: Path, title: str, unit: str, found: Mapping[str, tuple[float, float, float]], bound: float
) -> None:
    """Draw differences with their intervals, and a line at the bound that they are to lie above.

    Parameters
    ----------
    path : Path
        Of the picture.
    title, unit : str
        Over it, and under its axis.
    found : mapping of str to (float, float, float)
        By name: the mean difference and the ends of its interval.
    bound : float
        Where no interval is to reach.
    """
    figure, [axes] = _sheet(9, 1.2 + 0.4 * len(found), title)
    for place, (mean, low, high) in enumerate(found.values()):
        good = low > bound
        axes.plot([low, high], [place, place], color=PALETTE[0] if good else PALETTE[1], linewidth=2)
        axes.plot(mean, place, "o", color=PALETTE[0] if good else PALETTE[1])
    axes.axvline(bound, color=INK, linestyle=":", linewidth=1)
    axes.axvline(0, color="#999999", linewidth=0.8)
    axes.set_yticks(range(len(found)), list(found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel(unit, size=TEXT, color=INK)
    _save(figure, path)

"""When cross-validation ends early: a trial whose first folds leave it no way to win is not fitted on the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Fewer finished trials say too little of how much a fold can differ.
FEWEST = 8


@dataclass(frozen=True)
class Bar:
    """What a trial must reach: the best trial's losses, and by how much any trial has beaten it on a fold.

    Attributes
    ----------
    losses : tuple of float
        Of the best finished trial, fold by fold, in the metric's units, smaller for better.
    gain : float
        The most by which any finished trial was better than the best one on one fold; at least 0.
    error : float
        One standard error of the best trial's mean. The winner is chosen among those within it, so a trial that
        may still come so near is not given up.
    """

    losses: tuple[float, ...]
    gain: float
    error: float

    def rules_out(self, losses: Sequence[float]) -> bool:
        """Tell whether a trial cannot win.

        Parameters
        ----------
        losses : sequence of float
            Its own on the first folds.

        Returns
        -------
        bool
            True where it would stay behind by more than one standard error, even if on each fold that is left it were
            as much better than the best trial as any trial has been on any fold.
        """
        done, folds = len(losses), len(self.losses)
        if not 0 < done < folds:
            return False
        behind = float(np.sum(np.asarray(losses) - self.losses[:done]))
        return behind - self.gain * (folds - done) > self.error * folds

    def estimate(self, losses: Sequence[float]) -> float:
        """Return the loss of a trial that was ruled out: the best one's mean and what it is behind, fold for fold."""
        behind = float(np.mean(np.asarray(losses) - self.losses[: len(losses)]))
        return float(np.mean(self.losses)) + max(behind, 0.0)


def bar_of(losses: Sequence[Sequence[float]]) -> Bar | None:
    """Set the bar by finished trials.

    Parameters
    ----------
    losses : sequence of sequence of float
        Of each finished trial that the one to come may know of, fold by fold; smaller for better.

    Returns
    -------
    Bar or None
        None where there are fewer than `FEWEST`.
    """
    if len(losses) < FEWEST:
        return None
    table = np.asarray(losses, dtype=np.float64)
    best = table[int(np.argmin(table.mean(axis=1)))]
    error = float(np.std(best, ddof=1) / np.sqrt(len(best)))
    return Bar(tuple(best.tolist()), float(max((best - table).max(), 0.0)), error)

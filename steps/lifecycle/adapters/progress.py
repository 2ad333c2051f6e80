"""How far a search is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time

from tqdm import tqdm

from lifecycle.metrics import Metric, score_text
from lifecycle.trials import FINISHED, TrialRecord

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Trials done, the best score so far, and the time left.

    Parameters
    ----------
    title : str
        What is searched, such as ``tune_lr churn``.
    total : int
        Number of trials.
    metric : Metric
        Whose best is shown.
    selected : str
        The metric's tracked name, such as ``cv_f1``.
    """

    def __init__(self, title: str, total: int, metric: Metric, selected: str) -> None:
        self.title, self.metric, self.selected = title, metric, selected
        self.best = float("nan")
        self.failed = 0
        self._told = time.monotonic()
        # Steps of a whole run write side by side; a bar would be torn to pieces there.
        self._bar = tqdm(total=total, desc=title, unit="trial", disable=None, file=sys.stderr, leave=True)
        self._done, self._total, self._began = 0, total, time.monotonic()

    def trial(self, record: TrialRecord) -> None:
        """Count a trial."""
        self._done += 1
        if record.status != FINISHED:
            self.failed += 1
        elif not self.metric.better(self.best, record.score) and self.best != record.score:
            self.best = record.score
        note = f"best {self.selected} {score_text(self.best)}" + (f", {self.failed} failed" if self.failed else "")
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update()
        now = time.monotonic()
        if self._bar.disable and (now - self._told > SECONDS_BETWEEN_LINES or self._done == self._total):
            left = (now - self._began) / self._done * (self._total - self._done)
            print(
                f"{self.title}: {self._done} of {self._total} trials, {note}, {left:.0f} s left",
                file=sys.stderr,
            )
            self._told = now

    def close(self) -> None:
        """Finish the bar."""
        self._bar.close()

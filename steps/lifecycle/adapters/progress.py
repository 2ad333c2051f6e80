"""How far a search is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from lifecycle.metrics import Metric, score_text
from lifecycle.trials import FAILED, FINISHED, TrialRecord

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
    past : sequence of TrialRecord
        Trials that are done already.
    """

    def __init__(self, title: str, total: int, metric: Metric, selected: str, past: Sequence[TrialRecord] = ()) -> None:
        self.title, self.metric, self.selected = title, metric, selected
        self.best = float("nan")
        self.failed = 0
        self._told = time.monotonic()
        # Steps of a whole run write side by side; a bar would be torn to pieces there.
        self._bar = tqdm(total=total, desc=title, unit="trial", disable=None, file=sys.stderr, leave=True)
        self._done, self._past, self._total, self._began = len(past), len(past), total, time.monotonic()
        self._bar.update(len(past))
        for record in past:
            self._know(record)

    def _know(self, record: TrialRecord) -> None:
        if record.status == FAILED:
            self.failed += 1
        elif (
            record.status == FINISHED and not self.metric.better(self.best, record.score) and self.best != record.score
        ):
            self.best = record.score

    def trial(self, record: TrialRecord) -> None:
        """Count a trial."""
        self._done += 1
        self._know(record)
        best = "none in the running yet" if self.best != self.best else f"best {self.selected} {score_text(self.best)}"
        note = best + (f", {self.failed} failed" if self.failed else "")
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update()
        now = time.monotonic()
        if self._bar.disable and (now - self._told > SECONDS_BETWEEN_LINES or self._done == self._total):
            left = (now - self._began) / (self._done - self._past) * (self._total - self._done)
            print(
                f"{self.title}: {self._done} of {self._total} trials, {note}, {left:.0f} s left",
                file=sys.stderr,
            )
            self._told = now

    def close(self) -> None:
        """Finish the bar."""
        self._bar.close()

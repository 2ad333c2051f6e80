"""Which candidate becomes the champion: chosen by cross-validation, judged by the test rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lifecycle.errors import UserError
from lifecycle.metrics import Metric, score_text
from lifecycle.search import best_of


@dataclass(frozen=True)
class Candidate:
    """A finished run whose model may be registered.

    Attributes
    ----------
    run_id : str
        The step's run.
    step : str
        Its entry point.
    model : str
        The estimator's name.
    rank : int
        The estimator's simplicity; the smaller wins a tie.
    started : int
        Milliseconds since 1970; the earlier wins a tie of equal ranks.
    scores : dict of str to float
        The run's metrics.
    """

    run_id: str
    step: str
    model: str
    rank: int
    started: int
    scores: dict[str, float]


def choose(candidates: Sequence[Candidate], metric: Metric) -> Candidate:
    """Choose the candidate with the best ``cv_<metric>``; ties go to the simpler model, then the earlier run.

    Raises
    ------
    UserError
        Where no candidate has the metric.
    """
    scored = sorted(
        (c for c in candidates if math.isfinite(c.scores.get(f"cv_{metric.name}", math.nan))),
        key=lambda c: (c.started, c.run_id),
    )
    if not scored:
        raise UserError(f"metric: no candidate of this table has tracked cv_{metric.name}; run a step that does.")
    scores = [candidate.scores[f"cv_{metric.name}"] for candidate in scored]
    return scored[best_of(scores, [candidate.rank for candidate in scored], metric)]


def judge(candidate: Candidate, metric: Metric) -> str:
    """Let the test rows judge the chosen one: it must beat the dummy.

    Returns
    -------
    str
        The verdict in one sentence, for the version's page.

    Raises
    ------
    UserError
        Where the model does not beat the best constant on the test rows, or was never scored on them.
    """
    test, dummy = (
        candidate.scores.get(f"test_{metric.name}"),
        candidate.scores.get(f"dummy_test_{metric.name}"),
    )
    if test is None or dummy is None:
        raise UserError(
            f"metric: run {candidate.run_id} has no test_{metric.name} beside a dummy's to be judged by; "
            "choose another metric, or another run_id."
        )
    reached, least = score_text(test), score_text(dummy)
    if not metric.better(test, dummy):
        raise UserError(
            f"run_id: the best candidate ({candidate.model} of {candidate.step}, run {candidate.run_id}) has "
            f"{metric.label} {reached} on the test rows, and the best constant prediction has {least}: it is not "
            "registered; search longer, or give better columns."
        )
    return f"{metric.label} {reached} on the test rows, against {least} for the best constant prediction."

"""What a search is worth: its winner beside the defaults and the best constant, and its score corrected for the choice.

All is computed after the choice, and changes nothing about it.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from lifecycle import honest
from lifecycle.adapters.predictions import validated_rows
from lifecycle.adapters.steps import Step
from lifecycle.honest import Compared, Corrected, Interval, Predictions, truth_of
from lifecycle.metrics import Metric, best_constant
from lifecycle.search import simplicity, standard_errors
from lifecycle.table import TestRows
from lifecycle.trials import FAILED, FINISHED, INFEASIBLE, Objective, Task, TrialRecord, said_by

WINNER, DEFAULT, DUMMY = "winner", "default", "dummy"
COMPARISON = "comparison.csv"


def log(
    step: Step,
    metric: Metric,
    objective: Objective,
    records: list[TrialRecord],
    best: TrialRecord,
    defaults: TrialRecord,
    model: Pipeline,
    test: TestRows,
) -> None:
    """Compare a search's winner on the test rows, correct its score, track both, and say them in one sentence.

    Parameters
    ----------
    step : Step
        The search.
    metric : Metric
        What it chose by.
    objective : Objective
        Fits the model at its defaults on all training rows.
    records : list of TrialRecord
        All of the search; those that finished bear their out-of-fold predictions, or the ten best do.
    best : TrialRecord
        The winner's.
    defaults : TrialRecord
        Of the winner's estimator at its defaults; one that failed is left out of the comparison.
    model : Pipeline
        The winner, fitted on all training rows.
    test : TestRows
        Handed out for the winner.
    """
    said = _predictions(step, metric, objective, defaults, model, test)
    truth = truth_of(step.contract, test.labels)
    compared = honest.compared(step.contract, metric, truth, list(said.values()), objective.seed)
    beside = dict(zip(said, compared, strict=True))
    name = metric.name
    found = _bounds(f"test_{name}", beside[WINNER].score)
    if DEFAULT in beside:
        found[f"default_test_{name}"] = beside[DEFAULT].score.value
    if objective.test is None:
        if defaults.status != FAILED:
            found[f"default_cv_{name}"] = defaults.score
        found["test_gap"] = metric.loss(beside[WINNER].score.value) - metric.loss(best.score)
    for other in (DEFAULT, DUMMY):
        if other in beside:
            found |= {f"diff_{other}_{name}": beside[other].difference.value}
            found |= _bounds(f"diff_{other}_{name}", beside[other].difference)
    corrected = _corrected(step, metric, objective, records, best)
    if corrected is not None:
        less = metric.loss(corrected.corrected.value) - metric.loss(corrected.pooled)
        found |= {f"bbc_{name}": corrected.corrected.value, f"pooled_{name}": corrected.pooled, "optimism": less}
        found |= _bounds(f"bbc_{name}", corrected.corrected)
    step.run.log(metrics=found)
    step.run.frame(COMPARISON, comparison_frame(beside, metric))
    print(f"{step.name}: {sentence(metric, records, best, beside, corrected)}")


def _predictions(
    step: Step, metric: Metric, objective: Objective, defaults: TrialRecord, model: Pipeline, test: TestRows
) -> dict[str, Predictions]:
    """Return what the winner, the model at its defaults and the best constant say of the test rows."""
    contract = step.contract
    said = {WINNER: said_by(contract, model, test.rows)}
    if defaults.status != FAILED:
        plain = objective.refit(defaults.values, defaults.threshold)
        said[DEFAULT] = said_by(contract, plain, test.rows)
    said[DUMMY] = constant(step, metric, len(test.labels))
    return said


def constant(step: Step, metric: Metric, rows: int) -> Predictions:
    """Return the predictions of the best constant of the training rows."""
    contract = step.contract
    value = best_constant(contract, metric, step.table.labels)
    if not contract.classes:
        return Predictions(np.full(rows, float(value)))
    classes = len(contract.classes)
    place = np.full(rows, contract.classes.index(value), dtype=np.int16)
    return Predictions(place, np.zeros(rows) if classes == 2 else np.zeros((rows, classes)))


def _corrected(
    step: Step, metric: Metric, objective: Objective, records: list[TrialRecord], best: TrialRecord
) -> Corrected | None:
    """Correct the winner's score; None where there are no out-of-fold predictions of it, as under select_on=test."""
    if best.out_of_fold is None and objective.test is None:
        # The simplest within one standard error need not be among a large table's ten best.
        best.out_of_fold = objective(best.number, Task(best.values)).out_of_fold
    known = [record for record in records if record.status == FINISHED and record.out_of_fold is not None]
    winner = [place for place, record in enumerate(known) if record is best]
    if not winner:
        return None
    return honest.corrected(
        step.contract,
        metric,
        truth_of(step.contract, step.table.labels.iloc[validated_rows(step.table)]),
        [record.out_of_fold for record in known if record.out_of_fold is not None],
        winner[0],
        standard_errors(known, metric),
        simplicity(known, step.contract.task),
        objective.seed,
    )


def _bounds(name: str, interval: Interval) -> dict[str, float]:
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}


def comparison_frame(beside: dict[str, Compared], metric: Metric) -> pd.DataFrame:
    """Lay out a comparison as a table.

    Returns
    -------
    DataFrame
        ``model`` (winner, default, dummy), ``metric``, ``greater_is_better`` (bool), ``score``, ``low``, ``high``,
        and ``difference``, ``difference_low``, ``difference_high``: the winner's score less this one's.
    """
    rows: list[dict[str, Any]] = [
        {
            "model": model,
            "metric": metric.name,
            "greater_is_better": metric.greater_is_better,
            "score": one.score.value,
            "low": one.score.low,
            "high": one.score.high,
            "difference": one.difference.value,
            "difference_low": one.difference.low,
            "difference_high": one.difference.high,
        }
        for model, one in beside.items()
    ]
    return pd.DataFrame(rows)


def sentence(
    metric: Metric,
    records: list[TrialRecord],
    best: TrialRecord,
    beside: dict[str, Compared],
    corrected: Corrected | None,
) -> str:
    """Say in one sentence what a search's winner is worth."""
    finished = [record for record in records if record.status == FINISHED]
    top = min(finished, key=lambda record: metric.loss(record.score))
    rows = "test" if f"test_{metric.name}" in best.metrics else "cv"
    parts = [f"{rows} {metric.label} {best.score:.3g} was the best of {len(records)}"]
    if metric.better(top.score, best.score):
        parts = [
            f"{rows} {metric.label} {best.score:.3g} is the simplest within one standard error of the best of "
            f"{len(records)}, {top.score:.3g}"
        ]
    infeasible = sum(record.status == INFEASIBLE for record in records)
    if infeasible:
        parts[0] += f" ({infeasible} infeasible)"
    if corrected is not None:
        parts.append(f"corrected for the choice {corrected.corrected.value:.3g}")
    mine = beside[WINNER].score
    if np.isnan(mine.value):
        # As an area under the curve of rows that lack a class.
        return "; ".join([*parts, f"on the test rows {metric.label} is not defined"]) + "."
    text = f"on the test rows {mine.value:.3g} ({_ends(mine)})"
    against = []
    if DEFAULT in beside:
        other = beside[DEFAULT]
        if other.difference.low == other.difference.high == 0:
            text += ", the same as the defaults"
        else:
            against.append(
                f"{other.score.value:.3g} for the defaults (difference {other.difference.value:.2g}, "
                f"{_ends(other.difference, 2)})"
            )
    against.append(f"{beside[DUMMY].score.value:.3g} for the best constant")
    return "; ".join([*parts, f"{text}, against {' and '.join(against)}"]) + "."


def _ends(interval: Interval, digits: int = 3) -> str:
    return f"{interval.low:.{digits}g} to {interval.high:.{digits}g}"

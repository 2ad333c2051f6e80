"""The one final model of a step: scored once on the test rows, beside the dummy, and logged with its pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from lifecycle import figures
from lifecycle.adapters.flavors import log_pipeline
from lifecycle.adapters.steps import Step
from lifecycle.adapters.tracking import StepRun
from lifecycle.coefficients import as_metrics, coefficients
from lifecycle.contract import Contract
from lifecycle.metrics import adjusted_r2, dummy_scores, prefixed, resolve_metric, score_text
from lifecycle.models import PLAIN, PLAIN_RANK, estimator_of, pipeline, plain_estimator, scores_of
from lifecycle.table import TestRows
from lifecycle.trials import Folds, score_model, summed_up, without_twins


def log_plain(step: Step, fit: Callable[[Pipeline], Pipeline]) -> None:
    """Cross-validate, fit, score and log the plain linear model of a table's task.

    Parameters
    ----------
    step : Step
        ``baseline`` or ``regress_sklearn``.
    fit : callable
        Fits the whole pipeline on all training rows.
    """
    contract, seed = step.contract, step.identity.settings.seed
    # As trials run: on busy cores the threads of BLAS wait for one another, and lsqr takes 20 times as long.
    with threadpool_limits(1):
        folds = list(Folds(step.table).evaluate(lambda: plain_estimator(contract.task, seed)))
        metrics, threshold, _ = summed_up(contract, folds, bool(step.options["threshold"]))
        known = metrics | {
            "fit_seconds": sum(fold.fit_seconds for fold in folds),
            "score_seconds": sum(fold.score_seconds for fold in folds),
        }
        model = fit(pipeline(contract, plain_estimator(contract.task, seed), threshold))
    log_final(step, model, PLAIN[contract.task], PLAIN_RANK, known, step.test_rows())


def log_final(step: Step, model: Pipeline, label: str, rank: int, known: dict[str, float], test: TestRows) -> None:
    """Score, draw and log the final model of a step.

    Parameters
    ----------
    step : Step
        At work.
    model : Pipeline
        Fitted on all training rows.
    label : str
        What people call the estimator.
    rank : int
        Its simplicity, for ties.
    known : dict of str to float
        Metrics known already: the cross-validated ones, seconds.
    test : TestRows
        Handed out for this model.
    """
    contract, table, run = step.contract, step.table, step.run
    train_scores = score_model(contract, model, table.rows, table.labels)
    found = (
        known | prefixed("train", train_scores) | prefixed("test", score_model(contract, model, test.rows, test.labels))
    )
    if test.twins.any():
        found |= prefixed("test", without_twins(contract, model, test))
    last = model.named_steps["model"]
    if isinstance(last, FixedThresholdClassifier):
        found["threshold"] = float(last.threshold)
    design = model[:-1].transform(table.rows)
    if contract.task == "regression":
        found["train_r2_adj"] = adjusted_r2(train_scores["r2"], *design.shape)
    found |= dummy_scores(contract, table.labels, table.fold_pairs, test.labels)
    estimator = estimator_of(model)
    if hasattr(estimator, "coef_") and getattr(estimator, "kernel", "linear") == "linear":
        frame = coefficients(model, contract, design)
        found |= as_metrics(frame)
        run.frame("coefficients.csv", frame)
    run.log(metrics=found, tags={"lifecycle.model": label, "lifecycle.rank": str(rank)})
    draw(run, contract, model, test, label)
    log_pipeline(run, model, contract, table.rows, step.identity.key)
    say(step, label, found)


def draw(run: StepRun, contract: Contract, model: Pipeline, test: TestRows, label: str) -> None:
    """Draw a model's predictions for the test rows as PNG artifacts under ``figures/``."""
    title = f"{label}, {len(test.labels)} test rows"
    predicted = model.predict(test.rows)
    if contract.task == "regression":
        draw_regression(run, contract, test, predicted, title)
        return
    truth, classes, positive = test.labels.to_numpy(), list(contract.classes), contract.positive
    scores = scores_of(model, test.rows, len(classes))
    if scores is not None:
        columns = np.column_stack([-scores, scores]) if scores.ndim == 1 else scores
        roc = figures.roc_frame(truth, columns, classes, positive)
        run.figure("figures/roc.png", figures.draw_roc(roc, f"ROC: {title}"))
        curve = figures.precision_recall_frame(truth, columns, classes, positive)
        run.figure(
            "figures/precision_recall.png", figures.draw_precision_recall(curve, f"Precision and recall: {title}")
        )
    if hasattr(model, "predict_proba"):
        calibration = figures.calibration_frame(truth, model.predict_proba(test.rows), classes, positive)
        run.figure("figures/calibration.png", figures.draw_calibration(calibration, f"Calibration: {title}"))
    confusion = figures.confusion_frame(truth, predicted, classes)
    run.figure("figures/confusion.png", figures.draw_confusion(confusion, f"Confusion: {title}"))


def draw_regression(run: StepRun, contract: Contract, test: TestRows, predicted: Any, title: str) -> None:
    """Draw predicted against actual values, and the residuals."""
    frame = figures.predicted_frame(test.labels.to_numpy(), predicted)
    run.figure("figures/predicted.png", figures.draw_predicted(frame, f"Predicted: {title}", contract.target))
    run.figure("figures/residuals.png", figures.draw_residuals(frame, f"Residuals: {title}", contract.target))


def say(step: Step, label: str, found: dict[str, float]) -> None:
    """Print the scores of a step's final model, by its task's first metric, beside the dummy's."""
    metric = resolve_metric(step.options.get("metric", ""), step.contract)
    shown = [
        f"{name} {score_text(found[name])}"
        for name in (f"cv_{metric.name}", f"test_{metric.name}", f"dummy_test_{metric.name}")
        if name in found
    ]
    print(f"{step.name}: {label}, {', '.join(shown)}.")

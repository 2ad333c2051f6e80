"""The step of statsmodels: the fit under autologging, its inference as artifacts, its pickled model."""

import tempfile
import time
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from lifecycle import figures, least_squares
from lifecycle.adapters.code import pinned
from lifecycle.adapters.finals import draw_regression, say
from lifecycle.adapters.flavors import EXAMPLE_ROWS, MODEL, PREDICTIONS, extra_files, metadata_of, predictions_text
from lifecycle.adapters.steps import Step
from lifecycle.coefficients import CONST, as_metrics
from lifecycle.metrics import adjusted_r2, dummy_scores, prefixed, score_all

PACKAGES = ["mlflow", "statsmodels", "numpy", "pandas", "scipy"]
LABEL = "ordinary least squares"


def log_least_squares(step: Step) -> None:
    """Fit, infer, score once and log ordinary least squares.

    The statsmodels flavor can only pickle and takes the design matrix, so the run is tagged ``pickle`` and is no
    candidate unless it is named.

    Parameters
    ----------
    step : Step
        At work, on a regression table.

    Raises
    ------
    UserError
        Where the table is too wide.
    """
    contract, table, run = step.contract, step.table, step.run
    least_squares.check_width(contract)
    before = least_squares.fitted_preprocessor(contract, table.rows)
    design = least_squares.design_matrix(before, table.rows)
    began = time.perf_counter()
    mlflow.statsmodels.autolog(log_models=False, log_datasets=False, silent=True)
    try:
        results = least_squares.least_squares(table.labels, design).fit()
    finally:
        mlflow.statsmodels.autolog(disable=True, silent=True)
    fit_seconds = time.perf_counter() - began
    train = score_all(contract, table.labels, results.predict(design).to_numpy(), None)
    test = step.test_rows()
    predicted = results.predict(least_squares.design_matrix(before, test.rows)).to_numpy()
    found = prefixed("train", train) | prefixed("test", score_all(contract, test.labels, predicted, None))
    alone = ~test.twins
    if not alone.all() and alone.sum() > 1:
        scores = score_all(contract, test.labels[alone], predicted[alone], None)
        found |= prefixed("test", {f"{name}_without_twins": score for name, score in scores.items()})
    found["fit_seconds"] = fit_seconds
    found["train_r2_adj"] = adjusted_r2(train["r2"], len(design), design.shape[1] - 1)
    found |= dummy_scores(contract, table.labels, table.fold_pairs, test.labels)
    found |= least_squares.diagnostics(results, design)
    inference = least_squares.intervals(results, design)
    found |= as_metrics(inference.assign(**{"class": None}))
    run.log(metrics=found, tags={"pickle": "true", "lifecycle.model": LABEL, "lifecycle.rank": "0"})
    run.text("summary.txt", str(results.summary()))
    run.frame("coefficients.csv", inference)
    slopes = inference[inference["column"] != CONST]
    frame = figures.coefficient_frame(
        slopes["column"].astype(str).tolist(), slopes["coef"], slopes["lower"], slopes["upper"]
    )
    run.figure("figures/coefficients.png", figures.draw_coefficients(frame, f"Least squares for {contract.target}"))
    draw_regression(run, contract, test, predicted, f"{LABEL}, {len(test.labels)} test rows")
    # Last, because it takes the training rows out of the results, and the statistics with them.
    results.remove_data()
    example = design.head(EXAMPLE_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        mlflow.statsmodels.log_model(
            results,
            name=MODEL,
            signature=ModelSignature(
                Schema([ColSpec(DataType.double, name) for name in design.columns]),
                Schema([ColSpec(DataType.double)]),
            ),
            input_example=example,
            pip_requirements=pinned(PACKAGES),
            extra_files=extra_files(contract, Path(folder)),
            metadata=metadata_of(contract, step.identity.key),
        )
    run.text(PREDICTIONS, predictions_text(np.asarray(results.predict(example))))
    say(step, LABEL, found)

"""What benchmarks share: a table prepared, a command with a store of its own, what a search has tracked there."""

import os
import subprocess
from pathlib import Path
from typing import Any


def prepared(settings: Any, folder: Path) -> tuple[Any, Any]:
    """Prepare a table as the entry points do; return its training rows and its test rows."""
    import pandas as pd

    from lifecycle.adapters import preparation, sources
    from lifecycle.settings import TWIN_COLUMN
    from lifecycle.table import TestRows, read_prepared

    with preparation.workplace(folder) as connection:
        [raw] = preparation.opened(connection, [sources.locate("data", settings.data)], settings, folder)
        made = preparation.make(raw, settings, None, folder)
        contract = made.prepared.contract
        held = pd.read_parquet(made.test)
        rows = TestRows(held[contract.features], held[contract.target], held[TWIN_COLUMN].to_numpy(dtype=bool))
        return read_prepared(pd.read_parquet(made.train), contract), rows


def cancer(folder: Path) -> str:
    """Write scikit-learn's table of breast cancer into a folder; its target is the column ``target``."""
    from sklearn.datasets import load_breast_cancer

    path = folder / "cancer.csv"
    load_breast_cancer(as_frame=True).frame.to_csv(path, index=False)
    return str(path)


def run_in(folder: Path, command: list[str]) -> str:
    """Run a command in a folder with a store of its own; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, cwd=folder, env=kept | own, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def tracked(folder: Path) -> tuple[Any, list[Any]]:
    """Return the run of the one `tune_multi` of a folder's store, and its trials' runs."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    [run] = client.search_runs(["0"], "tags.`lifecycle.step` = 'tune_multi'")
    children, page = [], None
    while page != "":
        some = client.search_runs(["0"], "tags.`lifecycle.step` = 'trial'", max_results=1000, page_token=page)
        children += some
        page = some.token or ""
    return run, children


def drawn_by_optuna(trial: Any, label: str, one: Any) -> Any:
    """Let Optuna draw a hyperparameter from one of our ranges."""
    from lifecycle.spaces import Choice, LogNormal, LogUniform, Steps, Uniform

    if isinstance(one, Choice):
        return trial.suggest_categorical(label, one.options)
    if isinstance(one, Steps):
        return trial.suggest_int(label, one.low, one.high, step=one.step)
    if isinstance(one, LogNormal):
        # Optuna has no lognormal: 95 % of its mass.
        return trial.suggest_float(label, 0.14, 7.1, log=True)
    assert isinstance(one, (LogUniform, Uniform))
    return trial.suggest_float(label, one.low, one.high, log=isinstance(one, LogUniform))

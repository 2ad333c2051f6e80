"""What the lifecycle costs beside fitting models: a search done the usual way and ours, and the whole main job.

Run in the project's environment, in any folder: ``python benchmarks/overhead.py [--data FILE] [--write]``. Everything
is timed in one run on one machine; ``--write`` puts the table into docs/overhead.md.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pages import write_between

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "overhead.md"
TRIALS = 32
MARKS = ("<!-- table: begin -->", "<!-- table: end -->")


def usual_way(data: str, trials: int = TRIALS) -> None:
    """Search as a tutorial would: a nested run a trial, every model by log_model, requirements left to mlflow."""
    warnings.filterwarnings("ignore")
    import mlflow
    import numpy as np
    import pandas as pd
    from hyperopt import STATUS_OK, Trials, fmin, hp, tpe
    from hyperopt.pyll import scope
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    mlflow.set_tracking_uri("sqlite:///usual.db")
    table = pd.read_csv(data)
    columns, target = table.drop(columns="Target"), table["Target"]
    rows, held, labels, held_labels = train_test_split(columns, target, test_size=0.2, random_state=124)
    kinds = {
        "svm": SVC,
        "rf": RandomForestClassifier,
        "logreg": LogisticRegression,
        "dtc": DecisionTreeClassifier,
    }
    weights = [None, "balanced"]
    space = hp.choice(
        "kind",
        [
            {
                "kind": "svm",
                "C": hp.lognormal("svm_C", 0, 1),
                "kernel": hp.choice("kernel", ["linear", "rbf"]),
                "class_weight": hp.choice("svm_weight", weights),
            },
            {
                "kind": "rf",
                "n_estimators": scope.int(hp.quniform("n_estimators", 100, 500, 50)),
                "max_depth": scope.int(hp.quniform("rf_max_depth", 2, 12, 1)),
                "min_samples_leaf": scope.int(hp.quniform("min_samples_leaf", 1, 5, 1)),
                "min_samples_split": scope.int(hp.quniform("min_samples_split", 2, 6, 1)),
                "class_weight": hp.choice("rf_weight", weights),
            },
            {
                "kind": "logreg",
                "C": hp.lognormal("lr_C", 0, 1),
                "solver": hp.choice("s", ["liblinear", "lbfgs"]),
                "class_weight": hp.choice("lr_weight", weights),
            },
            {
                "kind": "dtc",
                "criterion": hp.choice("criterion", ["gini", "entropy"]),
                "max_depth": scope.int(hp.quniform("dtc_max_depth", 2, 12, 1)),
                "max_features": scope.int(hp.quniform("max_features", 1, 6, 1)),
                "class_weight": hp.choice("dtc_weight", weights),
            },
        ],
    )
    fitting = scoring = 0.0

    def objective(point: dict[str, Any]) -> dict[str, Any]:
        nonlocal fitting, scoring
        values = dict(point)
        with mlflow.start_run(nested=True):
            estimator = kinds[values.pop("kind")](**values)
            encode = ColumnTransformer(
                [
                    (
                        "order",
                        OrdinalEncoder(categories=[["Low Income", "Middle Income", "High Income"]]),
                        ["AnnualIncomeClass"],
                    ),
                    (
                        "onehot",
                        OneHotEncoder(drop="first"),
                        ["FrequentFlyer", "AccountSyncedToSocialMedia", "BookedHotelOrNot"],
                    ),
                    ("scale", StandardScaler(), ["Age", "ServicesOpted"]),
                ]
            )
            began = time.perf_counter()
            model = make_pipeline(encode, estimator).fit(rows, labels)
            fitted = time.perf_counter()
            guess = model.predict(held)
            scores = {
                "train_accuracy": accuracy_score(labels, model.predict(rows)),
                "test_accuracy": accuracy_score(held_labels, guess),
                "test_precision": precision_score(held_labels, guess, zero_division=0),
                "test_recall": recall_score(held_labels, guess),
                "test_f1": f1_score(held_labels, guess),
            }
            fitting, scoring = fitting + fitted - began, scoring + time.perf_counter() - fitted
            mlflow.log_params(estimator.get_params())
            mlflow.log_metrics(scores)
            mlflow.sklearn.log_model(model, name="model", serialization_format="cloudpickle")
        return {"loss": -scores["test_f1"], "status": STATUS_OK}

    mlflow.set_experiment("usual")
    began = time.perf_counter()
    with mlflow.start_run():
        fmin(
            objective,
            space,
            algo=tpe.suggest,
            max_evals=trials,
            trials=Trials(),
            rstate=np.random.default_rng(42),
            show_progressbar=False,
        )
    print(json.dumps({"search": time.perf_counter() - began, "fit": fitting, "score": scoring}))


def environment(folder: str) -> dict[str, str]:
    """Return an environment with a store of its own, and bytecode as every user's second run has it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_") and k != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return kept | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "PATH": path}


def timed(command: list[str], folder: str) -> tuple[float, str]:
    """Run a command in a folder; return its wall seconds and what it printed."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return time.perf_counter() - began, done.stdout


def newest(folder: str, entry_point: str) -> dict[str, float]:
    """Return the metrics of the newest run of an entry point in a folder's store."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    [run] = client.search_runs(ids, f"tags.`lifecycle.step` = '{entry_point}'", max_results=1)
    return dict(run.data.metrics)


def search(name: str, data: str, log_models: str, workers: int, select_on: str) -> dict[str, Any]:
    """Time one search in a fresh folder and store."""
    with tempfile.TemporaryDirectory() as folder:
        if log_models == "usual":
            wall, printed = timed([sys.executable, __file__, "--usual", "--data", data], folder)
            found = json.loads(printed.splitlines()[-1])
        else:
            step = [sys.executable, str(ROOT / "steps" / "tune_multi.py"), "--data", data, "--target", "Target"]
            step += ["--ordinal", "AnnualIncomeClass:Low Income<Middle Income<High Income", "--split", "random"]
            step += ["--seed", "124", "--select_on", select_on, "--parallelism", str(workers)]
            step += ["--models", "svm,rf,logreg,dtc", "--log_models", log_models]
            wall, _ = timed([*step, "--max_evals", str(TRIALS)], folder)
            metrics = newest(folder, "tune_multi")
            assert metrics["trials"] == TRIALS and metrics["failed_trials"] == 0
            found = {
                "search": metrics["search_seconds"],
                "fit": metrics["trials_fit_seconds"],
                "score": metrics["trials_score_seconds"],
            }
    return found | {"name": name, "wall": wall}


def median(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run with the median search time: its figures belong together."""
    middle = statistics.median_low(row["search"] for row in rows)
    return next(row for row in rows if row["search"] == middle)


def whole(folder: str) -> tuple[float, dict[str, float]]:
    """Time `mlflow run` of main on both samples."""
    wall, _ = timed(["mlflow", "run", str(ROOT), "--env-manager", "local"], folder)
    return wall, newest(folder, "main")


def machine() -> str:
    """Describe the machine: cores, memory, versions, date."""
    import mlflow
    import sklearn

    memory = ""
    if hasattr(os, "sysconf"):
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    return (
        f"{os.cpu_count()} cores{memory}, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, "
        f"mlflow {mlflow.__version__}, scikit-learn {sklearn.__version__}, {datetime.now(UTC):%Y-%m-%d}"
    )


def table_of(searches: list[dict[str, Any]], first: Any, second: Any, repeats: int, data: str) -> str:
    """Write the figures as Markdown."""
    usual = searches[0]
    lines = [
        f"Machine: {machine()}. Table: `{Path(data).name}`. Medians of {repeats} runs, in turn.",
        "",
        f"| {TRIALS} trials | command, s | search, s | fit, s | score, s | search over fit and score, s a trial "
        "| search: times as fast | command: times as fast |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in searches:
        over = (row["search"] - (row["fit"] + row["score"]) / (2 if "two workers" in row["name"] else 1)) / TRIALS
        lines.append(
            f"| {row['name']} | {row['wall']:.1f} | {row['search']:.1f} | {row['fit']:.1f} | {row['score']:.1f} "
            f"| {over:.3f} | {usual['search'] / row['search']:.1f} | {usual['wall'] / row['wall']:.1f} |"
        )
    share = first[1]["fit_seconds"] / first[0]
    lines += [
        "",
        "| `mlflow run .` on both samples | wall, s | of it fitting (all workers together), s | fitting / wall |",
        "|---|---|---|---|",
        f"| first time, fresh store | {first[0]:.1f} | {first[1]['fit_seconds']:.1f} | {share:.2f} |",
        f"| again, {second[1]['steps_reused']:.0f} steps reused | {second[0]:.1f} | {second[1]['fit_seconds']:.1f} "
        f"| {second[0] / first[0]:.2f} of the first |",
    ]
    return "\n".join(lines)


@click.command()
@click.option("--data", default=str(ROOT / "data" / "churn.csv"), help="The churn table: the sample or the original.")
@click.option("--repeats", default=3, show_default=True, help="Runs of each search; the median is shown.")
@click.option("--write", is_flag=True, help="Write the table into docs/overhead.md.")
@click.option("--usual", is_flag=True, hidden=True)
def main(data: str, repeats: int, write: bool, usual: bool) -> None:
    """Measure, print, and with --write record."""
    data = str(Path(data).resolve())
    if usual:
        usual_way(data)
        return
    ways = {
        "the usual way, one fit": ("usual", 1, "test"),
        "ours, one fit, one worker, best model logged": ("best", 1, "test"),
        "ours, one fit, one worker, all models in skops": ("all", 1, "test"),
        "ours, five folds, two workers, best model logged": ("best", 2, "cv"),
        "ours, five folds, two workers, all models in skops": ("all", 2, "cv"),
    }
    # In turn, so that a machine whose speed drifts drifts for all of them.
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            rows[name].append(search(name, data, *way))
            print(rows[name][-1], file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        first, second = whole(folder), whole(folder)
    table = table_of([median(found) for found in rows.values()], first, second, repeats, data)
    print(table)
    if write:
        write_between(PAGE, MARKS, table)


if __name__ == "__main__":
    main()

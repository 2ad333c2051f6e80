"""What a search costs beside fitting and scoring: ours beside hyperopt, SparkTrials, and Optuna's two ways to MLflow.

Run in the project's environment, in any folder: ``python benchmarks/tax.py [--trials N,N] [--write]``. Every way is a
fresh process with a store of its own; the ways take turns. The yardstick S is measured in the same run: the very points
of our search, one after another in one process with one thread. Java is needed for the ways of Spark, the packages
optuna and optuna-integration for Optuna's; a way whose needs are absent is left out and said.
"""

import importlib.util
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pages import write_between
from runs import drawn_by_optuna, prepared, run_in, tracked

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "steps"))
PAGE = ROOT / "docs" / "tax.md"
MARKS = ("<!-- tax: begin -->", "<!-- tax: end -->")
WAYS = {
    "best": "ours, two workers, the winner's model",
    "all": "ours, two workers, all models in skops",
    "spark": "ours on Spark, two at once, the winner's model",
    "usual": "the course's way: one fit a trial, each with a run and log_model, one process",
    "fmin": "hyperopt's fmin, one process, nothing tracked",
    "sparktrials": "hyperopt's SparkTrials, two at once, nothing tracked",
    "callback": "Optuna, one process, its MLflow callback",
    "storage": "Optuna, one process, MLflow's storage for it",
}
# Ways that take long are not repeated at the larger sizes.
SMALL_ONLY = ("usual", "sparktrials", "storage")
# Beyond this many trials only ours is asked whether what a trial costs grows.
LARGEST_FOR_ALL = 320
ONE_PROCESS = ("usual", "fmin", "callback", "storage")
OPTIONS = ("--data", "churn", "--models", "svm,rf,logreg,dtc")


def objective_of() -> tuple[Any, Any, Any]:
    """Prepare the sample, and return its objective, the space and the metric."""
    from lifecycle.metrics import resolve_metric
    from lifecycle.models import space_for
    from lifecycle.settings import TableSettings
    from lifecycle.trials import Objective

    with tempfile.TemporaryDirectory() as name:
        table, _ = prepared(TableSettings("churn", "Target"), Path(name))
    metric = resolve_metric("", table.contract)
    return Objective(table, metric, 42), space_for(("svm", "rf", "logreg", "dtc"), table.contract), metric


def serial(points: list[dict[str, Any]]) -> dict[str, float]:
    """Evaluate points one after another: the yardstick."""
    from threadpoolctl import threadpool_limits

    objective, _, _ = objective_of()
    from lifecycle.trials import Task

    with threadpool_limits(1):
        # The folds' designs are made once for all points, and before the first.
        objective.make_ready(20_000_000)
        records = [objective(number, Task(values)) for number, values in enumerate(points)]
    return {"work": sum(record.fit_seconds + record.score_seconds for record in records)}


def by_hyperopt(trials: int, spark: bool) -> dict[str, float]:
    """Search by fmin, with Trials or with SparkTrials."""
    import numpy as np
    from hyperopt import STATUS_OK, SparkTrials, Trials, fmin, tpe
    from threadpoolctl import threadpool_limits

    objective, space, metric = objective_of()
    from lifecycle.spaces import compile_space
    from lifecycle.trials import Task

    work: list[float] = []

    def evaluated(point: dict[str, Any]) -> dict[str, Any]:
        model = point["model"]
        values = {name: one.value(point[name]) for name, one in space[model].items()}
        record = objective(0, Task({"model": model, **values}))
        work.append(record.fit_seconds + record.score_seconds)
        return {"loss": metric.loss(record.score), "status": STATUS_OK, "work": work[-1]}

    if spark:
        # As it comes, but for executors that find our package and this Python.
        os.environ |= {
            "PYTHONPATH": str(ROOT / "steps"),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        from pyspark.sql import SparkSession

        session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
        session.sparkContext.setLogLevel("OFF")
    found = SparkTrials(parallelism=2) if spark else Trials()
    began = time.perf_counter()
    with threadpool_limits(1):
        fmin(evaluated, compile_space(space), tpe.suggest, trials, trials=found, rstate=np.random.default_rng(1),
             show_progressbar=False)  # fmt: skip
    seconds = time.perf_counter() - began
    return {"search": seconds, "work": sum(one["result"]["work"] for one in found.trials)}


def by_optuna(trials: int, storage: bool) -> dict[str, float]:
    """Search by Optuna, tracked by its MLflow callback or by MLflow's storage."""
    import mlflow
    import optuna
    from threadpoolctl import threadpool_limits

    objective, space, metric = objective_of()
    from lifecycle.trials import Task

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    work = 0.0

    def evaluated(trial: Any) -> float:
        nonlocal work
        model = trial.suggest_categorical("model", list(space))
        values = {name: drawn_by_optuna(trial, f"{model}.{name}", one) for name, one in space[model].items()}
        record = objective(0, Task({"model": model, **values}))
        work += record.fit_seconds + record.score_seconds
        return float(record.score)

    mlflow.set_experiment("optuna")
    callbacks: list[Any] = []
    kept = None
    if storage:
        from mlflow.optuna.storage import MlflowStorage

        kept = MlflowStorage(experiment_id=mlflow.get_experiment_by_name("optuna").experiment_id)
    else:
        from optuna_integration.mlflow import MLflowCallback

        callbacks = [MLflowCallback(tracking_uri=mlflow.get_tracking_uri(), metric_name=metric.name)]
    study = optuna.create_study(direction="maximize", storage=kept, sampler=optuna.samplers.TPESampler(seed=1))
    began = time.perf_counter()
    with threadpool_limits(1):
        study.optimize(evaluated, n_trials=trials, callbacks=callbacks)
    return {"search": time.perf_counter() - began, "work": work}


def ours(way: str, trials: int, folder: Path) -> dict[str, Any]:
    """Run the entry point, and read what its run has tracked."""
    command = [sys.executable, str(ROOT / "steps" / "tune_multi.py"), *OPTIONS, "--max_evals", str(trials)]
    command += ["--parallelism", "2", "--timeout", "36000", "--log_models", "all" if way == "all" else "best"]
    command += ["--engine", "spark" if way == "spark" else "local"]
    began = time.perf_counter()
    run_in(folder, command)
    wall = time.perf_counter() - began
    run, children = tracked(folder)
    records = [json.loads(child.data.tags["lifecycle.record"]) for child in children]
    metrics = run.data.metrics
    begun, ended = min(child.info.start_time for child in children), max(child.info.end_time for child in children)
    return {
        # A session of Spark's is started before, and before SparkTrials is timed too.
        "search": (ended - begun) / 1000 if way == "spark" else metrics["search_seconds"],
        "command": wall,
        "own work": metrics["trials_fit_seconds"] + metrics["trials_score_seconds"],
        "points": [one["values"] for one in sorted(records, key=lambda one: one["number"])],
        "folds": {one["number"]: one["folds_done"] for one in records},
    }


def measured(way: str, trials: int) -> dict[str, Any]:
    """Measure one way in a fresh folder; ours with the yardstick of the same points at once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        this = [sys.executable, __file__, "--trials", str(trials)]
        if way in ("best", "all", "spark"):
            found = ours(way, trials, folder)
            (folder / "points.json").write_text(json.dumps(found.pop("points")), encoding="utf-8")
            del found["folds"]
            return found | json.loads(run_in(folder, [*this, "--way", "serial"]).splitlines()[-1])
        found = json.loads(run_in(folder, [*this, "--way", way]).splitlines()[-1])
        return found if "work" in found else {"search": found["search"], "work": found["fit"] + found["score"]}


def missing(way: str) -> str:
    """Say what a way needs that is not there; empty where all is."""
    if way in ("spark", "sparktrials") and not shutil.which("java"):
        return "Java"
    if way in ("callback", "storage") and not importlib.util.find_spec("optuna"):
        return "optuna"
    if way == "callback" and not importlib.util.find_spec("optuna_integration"):
        return "optuna-integration"
    return ""


def text_of(found: dict[int, dict[str, list[dict[str, Any]]]], left_out: dict[str, str]) -> str:
    """Write the figures as Markdown."""
    lines = [
        f"Machine: {os.cpu_count()} cores, load at the end {os.getloadavg()[0]:.1f}, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}. Sample churn, five "
        "folds, four kinds of model. Medians of runs in turn. S: fit and score seconds of the same points one after "
        "another in one process with one thread; for the ways of others of their own points. On Spark the session is "
        "there before the search.",
        "",
        "| trials | way | runs | command, s | search, s | own work, s | S, s | search over half of S, times "
        "| above it, s a trial | above own work, s a trial |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for trials, ways in found.items():
        for way, runs in ways.items():
            middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            workers = 1 if way in ONE_PROCESS else 2
            due = middle["work"] / workers
            command = f"{middle['command']:.1f}" if "command" in middle else ""
            own = f"{middle['own work']:.1f}" if "own work" in middle else ""
            above = statistics.median(above_own(way, run) for run in runs) / trials
            share = f"{middle['search'] / due:.2f}" + ("" if workers == 2 else " (over S)")
            lines.append(
                f"| {trials:,} | {WAYS[way]} | {len(runs)} | {command} | {middle['search']:.1f} | {own} "
                f"| {middle['work']:.1f} "
                f"| {share} | {(middle['search'] - due) / trials:.3f} | {above:.3f} |"
            )
    lines += ["", *(f"Left out: {WAYS[way]}, without {what}." for way, what in left_out.items())]
    return "\n".join(lines).rstrip()


def above_own(way: str, run: dict[str, Any]) -> float:
    """Return the seconds of a search above what it itself fitted and scored, shared among its workers."""
    return float(run["search"] - run.get("own work", run["work"]) / (1 if way in ONE_PROCESS else 2))


def draw(found: dict[int, dict[str, list[dict[str, Any]]]]) -> None:
    """Draw what a trial costs above its fit and score, by way and number of trials."""
    from charts import draw_bars

    sizes: dict[str, dict[str, float]] = {}
    for trials, ways in found.items():
        for way, runs in ways.items():
            above = statistics.median(above_own(way, run) for run in runs)
            sizes.setdefault(WAYS[way], {})[f"{trials:,} trials"] = above / trials
    draw_bars(PAGE.with_name("tax.png"), "What a trial costs above its fit and score", "seconds a trial", sizes)


@click.command()
@click.option("--trials", default="32,320,2000", show_default=True, help="Sizes, separated by commas.")
@click.option("--ways", default=",".join(WAYS), show_default=True, help="Separated by commas.")
@click.option("--repeats", default=3, show_default=True, help="Runs of each way at up to 32 trials; one beyond.")
@click.option("--write", is_flag=True, help="Write the table into docs/tax.md.")
@click.option("--way", hidden=True)
def main(trials: str, ways: str, repeats: int, write: bool, way: str | None) -> None:
    """Measure, print, and with --write record."""
    if way == "serial":
        print(json.dumps(serial(json.loads(Path("points.json").read_text(encoding="utf-8")))))
        return
    if way:
        number = int(trials)
        if way == "usual":
            from overhead import usual_way

            usual_way(str(ROOT / "data" / "churn.csv"), number)
            return
        by = by_optuna if way in ("callback", "storage") else by_hyperopt
        print(json.dumps(by(number, way in ("storage", "sparktrials"))))
        return
    asked = {name: missing(name) for name in ways.split(",")}
    found: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for number in map(int, trials.split(",")):
        left = () if number <= 32 else SMALL_ONLY if number <= LARGEST_FOR_ALL else set(WAYS) - {"best"}
        used = [name for name, what in asked.items() if not what and name not in left]
        found[number] = {name: [] for name in used}
        for _ in range(repeats if number <= 32 else 1):
            for name in used:
                found[number][name].append(measured(name, number))
                print(number, name, found[number][name][-1], file=sys.stderr)
    text = text_of(found, {name: what for name, what in asked.items() if what})
    print(text)
    if write:
        write_between(PAGE, MARKS, text)
        draw(found)


if __name__ == "__main__":
    main()

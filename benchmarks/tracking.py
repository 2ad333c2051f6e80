"""What tracking one trial costs: a child run started and ended as a search does it, and as mlflow's own client does.

Run in the project's environment, in any folder: ``python benchmarks/tracking.py [--write]``. Nothing is fitted. The
ways take turns, each in a process and a store of its own; ``--write`` puts the table into docs/stores.md.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from pages import write_between

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "stores.md"
MARKS = ("<!-- table: begin -->", "<!-- table: end -->")
COUNTS = (32, 320, 2000)
WAYS = {"usual": "mlflow's client on its own new store", "ours": "ours"}


def one(way: str, trials: int) -> None:
    """Track trials in this process; print the milliseconds that each took."""
    sys.path.insert(0, str(ROOT / "steps"))
    from lifecycle.adapters import memory, tracking
    from lifecycle.trials import FINISHED, TrialRecord

    metrics = {f"{part}_{name}": 0.5 for part in ("cv", "train", "test") for name in ("f1", "precision", "recall")}
    values = {"model": "logreg", "C": 1.5, "solver": "lbfgs", "class_weight": "balanced"}
    times = []
    if way == "ours":
        tracking.connect()
        step = tracking.start("benchmark")
        for number in range(trials):
            record = TrialRecord(number=number, values=values, params=values, status=FINISHED, metrics=dict(metrics))
            began = time.perf_counter()
            child = step.child(f"{number:03d}", {"lifecycle.step": "trial"})
            step.end_trial(child, record, memory.record_tags(record, {}))
            times.append(time.perf_counter() - began)
        step.end("FINISHED")
    else:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        client = MlflowClient()
        parent = client.create_run("0").info.run_id
        for number in range(trials):
            began = time.perf_counter()
            tags = {"mlflow.parentRunId": parent, "lifecycle.step": "trial"}
            child = client.create_run("0", run_name=f"{number:03d}", tags=tags).info.run_id
            found = [Metric(name, value, 1, 0) for name, value in (metrics | {"fit_seconds": 0.1}).items()]
            client.log_batch(child, found, [Param(name, str(value)) for name, value in values.items()])
            client.set_terminated(child)
            times.append(time.perf_counter() - began)
    print(json.dumps([1000 * seconds for seconds in times]))


def measured(way: str, trials: int) -> list[float]:
    """Run one way in a fresh process and store; return the milliseconds of each trial."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        own = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
        command = [sys.executable, __file__, "--way", way, "--trials", str(trials)]
        done = subprocess.run(command, cwd=folder, env=kept | own, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return list(json.loads(done.stdout.splitlines()[-1]))


@click.command()
@click.option("--repeats", default=3, show_default=True, help="Runs of each way and number of trials, in turn.")
@click.option("--most", default=COUNTS[-1], show_default=True, help="Leave out larger numbers of trials.")
@click.option("--write", is_flag=True, help="Write the table into docs/stores.md.")
@click.option("--way", hidden=True, type=click.Choice(list(WAYS)))
@click.option("--trials", hidden=True, type=int, default=COUNTS[0])
def main(repeats: int, most: int, write: bool, way: str | None, trials: int) -> None:
    """Measure, print, and with --write record."""
    if way:
        one(way, trials)
        return
    counts = [count for count in COUNTS if count <= most]
    found: dict[tuple[str, int], list[list[float]]] = {}
    for count in counts:
        # The large numbers once: they tell of growth, which one run shows within itself.
        for _ in range(repeats if count < COUNTS[-1] else 1):
            for name in WAYS:
                found.setdefault((name, count), []).append(measured(name, count))
                print(name, count, statistics.median(found[name, count][-1]), file=sys.stderr)
    told = f"{repeats} runs in turn, of {COUNTS[-1]:,} trials one"
    lines = [
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"SQLite, {datetime.now(UTC):%Y-%m-%d}; {told}. Milliseconds a trial.",
        "",
        "| trials | way | mean (median of runs) | median trial | last 30 trials / first 30 |",
        "|---|---|---|---|---|",
    ]
    for count in counts:
        for name, label in WAYS.items():
            runs = found[name, count]
            mean = statistics.median(statistics.fmean(run) for run in runs)
            middle = statistics.median(statistics.median(run) for run in runs)
            growth = statistics.median(statistics.median(run[-30:]) / statistics.median(run[:30]) for run in runs)
            lines.append(f"| {count:,} | {label} | {mean:.1f} | {middle:.1f} | {growth:.2f} |")
    table = "\n".join(lines)
    print(table)
    if write:
        write_between(PAGE, MARKS, table)


if __name__ == "__main__":
    main()

"""What `tune_mllib` takes on a table of one million and of ten million rows, from its start to its logged model.

Run in the project's environment, in any folder: ``python benchmarks/mllib.py [--rows N,N] [--write]``. Each figure is
of one run of the entry point in `local[2]` on a store of its own; ``--write`` puts the table into docs/mllib.md. The
largest table takes a gigabyte of Parquet in the temporary folder, and Spark some more beside it. Linux only.
"""

import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from large import TARGET, columns
from pages import write_between
from runs import run_in

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "mllib.md"
MARKS = ("<!-- mllib table: begin -->", "<!-- mllib table: end -->")
# Row numbers, digests, and a column of 20,000 levels, which no tree takes.
WITHOUT = ("id", "account", "customer_id", "place")
CORES = 2


def write_table(path: Path, rows: int) -> None:
    """Write the Parquet file: the same rows and the same seed, the same table."""
    import duckdb

    asked = ", ".join(f"{cell} AS {name}" for name, cell in columns().items() if name not in WITHOUT)
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"COPY (SELECT {asked} FROM range({rows}) AS t(i)) TO '{path}' (FORMAT parquet)")


def searched(folder: Path, table: Path, models: str, trials: int) -> dict[str, float]:
    """Run a search; return its whole seconds, and those of its parts."""
    import mlflow

    command = [sys.executable, str(ROOT / "steps" / "tune_mllib.py"), "--data", str(table), "--target", TARGET]
    command += ["--sweep", "false", "--models", models, "--max_evals", str(trials), "--folds", "3"]
    command += ["--parallelism", "1", "--timeout", "36000"]
    began = time.perf_counter()
    run_in(folder, command)
    seconds = time.perf_counter() - began
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    [run] = client.search_runs(["0"], "tags.`lifecycle.step` = 'tune_mllib'")
    found: dict[str, Any] = run.data.metrics
    kept = ("search_seconds", "trials_fit_seconds", "trials_score_seconds", "cv_f1", "dummy_cv_f1", "test_f1")
    return {"seconds": seconds} | {name: found[name] for name in kept}


def table_of(found: dict[int, dict[str, float]], models: str, trials: int) -> str:
    """Write the figures as Markdown."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"Machine: {os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load at the end {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%Y-%m-%d}. "
        f"{trials} trials over {models.replace(',', ', ')}, one at a time, three folds each; one run of each size.",
        "",
        "| rows | whole, s | of it the search | of it fits | scores | preparing, refit, logging, start "
        "| cv F1, the constant's | test F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rows, one in found.items():
        rest = one["seconds"] - one["search_seconds"]
        lines.append(
            f"| {rows:,} | {one['seconds']:.0f} | {one['search_seconds']:.0f} | {one['trials_fit_seconds']:.0f} "
            f"| {one['trials_score_seconds']:.0f} | {rest:.0f} | {one['cv_f1']:.3f}, {one['dummy_cv_f1']:.3f} "
            f"| {one['test_f1']:.3f} |"
        )
    sizes = list(found)
    for one, other in zip(sizes, sizes[1:], strict=False):
        whole = found[other]["seconds"] / found[one]["seconds"]
        search = found[other]["search_seconds"] / found[one]["search_seconds"]
        lines += ["", f"{other / one:g} times the rows take {whole:.1f} times as long, the search {search:.1f} times."]
    return "\n".join(lines)


@click.command()
@click.option("--rows", default="1000000,10000000", show_default=True, help="Sizes, separated by commas.")
@click.option("--models", default="logreg,dtc", show_default=True, help="Estimators to search over.")
@click.option("--trials", default=4, show_default=True, help="Trials of each search.")
@click.option("--write", is_flag=True, help="Write the table into docs/mllib.md.")
def main(rows: str, models: str, trials: int, write: bool) -> None:
    """Measure, print, and with --write record."""
    # Of the machine, as many cores as the table says.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    found: dict[int, dict[str, float]] = {}
    for number in map(int, rows.split(",")):
        with tempfile.TemporaryDirectory(prefix="mllib-") as place:
            table = Path(place) / "x.parquet"
            write_table(table, number)
            found[number] = searched(Path(place), table, models, trials)
            print(number, found[number], file=sys.stderr)
    text = table_of(found, models, trials)
    print(text)
    if write:
        write_between(PAGE, MARKS, text)


if __name__ == "__main__":
    main()

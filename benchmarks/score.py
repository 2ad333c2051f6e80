"""What scoring a large table costs beside bare scikit-learn on arrays that are in memory already.

Run in the project's environment, in any folder: ``python benchmarks/score.py [--rows N] [--write]``. The model is the
champion of the sample churn, which `main` registers in a store of its own; the rows are the sample's, drawn with
replacement. Each figure is of a fresh process, the ways in turn; ``--write`` puts the table into docs/score.md.
"""

import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pages import write_between
from runs import run_in

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "score.md"
MARKS = ("<!-- score table: begin -->", "<!-- score table: end -->")
SEED = 42
MODEL = "models:/churn@champion"
LIMIT = "bare `predict` on the design, two processes"
BARE = {
    "bare `predict` on the design, one process": ("design", 1),
    LIMIT: ("design", 2),
    "the pipeline's `predict` on a frame, one process": ("frame", 1),
    "the pipeline's `predict` on a frame, two processes": ("frame", 2),
}
OURS = {
    "`score`, one process": ["--parallelism", "1"],
    "`score`, two processes": ["--parallelism", "2"],
    "`score` on Spark, two cores": ["--engine", "spark", "--parallelism", "2"],
}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def sample() -> Any:
    """Return the sample's rows."""
    import pandas as pd

    return pd.read_csv(ROOT / "data" / "churn.csv")


def drawn(rows: int) -> Any:
    """Return which rows of the sample are drawn."""
    import numpy as np

    return np.random.default_rng(SEED).integers(0, len(sample()), rows)


def write_table(path: Path, rows: int) -> None:
    """Write the drawn rows as one Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pandas(sample(), preserve_index=False)
    places = drawn(rows)
    with parquet.ParquetWriter(path, table.schema) as writer:
        for begin in range(0, rows, 1_000_000):
            writer.write_table(table.take(pa.array(places[begin : begin + 1_000_000])))


def bare(what: str, model: str, rows: int, part: int, parts: int) -> None:
    """Predict a part of the rows from memory when told to, and print when that began and when it ended."""
    import mlflow

    frame = sample()
    pipeline = mlflow.sklearn.load_model(model)
    places = drawn(rows)[part * rows // parts : (part + 1) * rows // parts]
    if what == "design":
        predictor, given = pipeline[-1], pipeline[:-1].transform(frame)[places]
    else:
        predictor, given = pipeline, frame.iloc[places].reset_index(drop=True)
    predictor.predict(given[:1000])
    print("ready", flush=True)
    sys.stdin.readline()
    began, busy = time.time(), time.process_time()
    predicted = predictor.predict(given)
    busy = time.process_time() - busy
    print(json.dumps({"began": began, "ended": time.time(), "busy": busy, "sum": float(predicted.sum())}), flush=True)


def limit(what: str, parts: int, model: str, rows: int) -> dict[str, float]:
    """Let some processes predict at once, each its part; return the seconds from the first start to the last end."""
    command = [sys.executable, __file__, "--way", what, "--model", model, "--rows", str(rows), "--parts", str(parts)]
    started = [
        subprocess.Popen(
            [*command, "--part", str(part)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | ONE_THREAD,
        )
        for part in range(parts)
    ]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    found = [json.loads(process.communicate()[0]) for process in started]
    return {
        "seconds": max(one["ended"] for one in found) - min(one["began"] for one in found),
        "busy": sum(one["busy"] for one in found),
        "sum": sum(one["sum"] for one in found),
    }


def ours(options: list[str], folder: Path, store: Path, rows: int) -> dict[str, float]:
    """Score the table by the entry point; return what it tracked, and the command's own seconds."""
    import pandas as pd

    output = folder / "scored.parquet"
    command = [sys.executable, str(ROOT / "steps" / "score.py"), "--model", MODEL, "--overwrite", "true"]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    said = run_in(store, [*command, "--data", str(folder / "rows.parquet"), "--output", str(output), *options])
    whole, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    [seconds] = re.findall(r" in ([0-9.]+) s \(", said)
    predicted = pd.read_parquet(output, columns=["prediction"])["prediction"]
    assert len(predicted) == rows
    found = {"seconds": float(seconds), "whole": whole, "sum": float(predicted.sum())}
    if "spark" not in options:
        # Spark's JVM ends by itself, when nobody counts any more.
        found["busy"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found


def machine() -> str:
    """Describe the machine: cores, versions, load, date."""
    import sklearn

    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"scikit-learn {sklearn.__version__}, load at the end {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%Y-%m-%d}"
    )


def table_of(found: dict[str, list[dict[str, float]]], rows: int, what: str) -> str:
    """Write the figures as Markdown."""
    repeats = min(len(runs) for runs in found.values())
    runs_said = "one run each" if repeats == 1 else f"medians of {repeats} runs, the ways in turn"
    lines = [
        f"Machine: {machine()}. {rows:,} rows, the champion is {what}; {runs_said}. Processor seconds are those of "
        "`predict` alone in bare ways, of the whole command in ours.",
        "",
        "| way | seconds | rows a second | of the limit for two processes | processor seconds | the whole command, s |",
        "|---|---|---|---|---|---|",
    ]
    middle = {way: statistics.median(run["seconds"] for run in runs) for way, runs in found.items()}
    for way, runs in found.items():
        whole, busy = (
            f"{statistics.median(run[figure] for run in runs):.1f}" if figure in runs[0] else ""
            for figure in ("whole", "busy")
        )
        share = middle[LIMIT] / middle[way]
        lines.append(f"| {way} | {middle[way]:.1f} | {rows / middle[way]:,.0f} | {share:.2f} | {busy} | {whole} |")
    return "\n".join(lines)


@click.command()
@click.option("--rows", default=10_000_000, show_default=True, help="Rows to score.")
@click.option("--repeats", default=3, show_default=True, help="Runs of each way; medians are shown.")
@click.option("--store", help="Folder whose store has the champion [default: a new one, filled by `main`].")
@click.option("--write", is_flag=True, help="Write the table into docs/score.md.")
@click.option("--way", hidden=True)
@click.option("--model", hidden=True)
@click.option("--part", type=int, hidden=True)
@click.option("--parts", type=int, hidden=True)
def main(
    rows: int,
    repeats: int,
    store: str | None,
    write: bool,
    way: str | None,
    model: str | None,
    part: int | None,
    parts: int | None,
) -> None:
    """Measure, print, and with --write record."""
    if way and model and part is not None and parts:
        bare(way, model, rows, part, parts)
        return
    with tempfile.TemporaryDirectory(prefix="score-") as name:
        folder = Path(name)
        if store is None:
            run_in(folder, [sys.executable, str(ROOT / "steps" / "main.py"), "--data", "churn"])
        place = Path(store or folder)
        write_table(folder / "rows.parquet", rows)
        what, model_folder = champion(place)
        found: dict[str, list[dict[str, float]]] = {one: [] for one in (*BARE, *OURS)}
        # In turn, so that a machine whose speed drifts drifts for all.
        for _ in range(repeats):
            for one, (kind, processes) in BARE.items():
                found[one].append(limit(kind, processes, model_folder, rows))
                print(one, found[one][-1], file=sys.stderr)
            for one, options in OURS.items():
                found[one].append(ours(options, folder, place, rows))
                print(one, found[one][-1], file=sys.stderr)
        # The same work: every way has predicted as many of the positive class.
        assert len({run["sum"] for runs in found.values() for run in runs}) == 1
    text = table_of(found, rows, what)
    print(text)
    if write:
        write_between(PAGE, MARKS, text)


def champion(folder: Path) -> tuple[str, str]:
    """Return what the champion of a folder's store is, and where it lies."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    version = client.get_model_version_by_alias("churn", "champion")
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    return str(version.description).partition(" of ")[0], str(model.artifact_location)


if __name__ == "__main__":
    main()

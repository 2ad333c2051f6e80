"""What preparing a large table costs beside duckdb's bare copy of the same file to Parquet.

Run in the project's environment, in any folder: ``python benchmarks/large.py [--rows N,N] [--write]``. Each figure is
of a fresh process, the two in turn; ``--write`` puts the tables into docs/large.md. The largest table takes 2 GB of CSV
in the temporary folder, and as much again while it is prepared.
"""

import json
import os
import platform
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

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "large.md"
MARKS = ("<!-- large table: begin -->", "<!-- large table: end -->")
SEED, THREADS = 42, 2
TARGET = "churned"
PARTS = ("digest", "open_table", "make", "profile")


def draw(number: int) -> str:
    """Return the SQL of a number from 0 to 1 that follows from the row and the seed alone."""
    return f"(hash(i * 64 + {number} + {SEED} * 1000003) / 18446744073709551616.0)"


def columns() -> dict[str, str]:
    """Return the table's twenty columns as SQL of the row's number ``i``."""
    words = "['slow', 'kind', 'late', 'fine', 'cold', 'lost', 'good', 'dear', 'new', 'old', 'open', 'paid', 'back']"
    word = " || ' ' || ".join(f"{words}[1 + CAST(floor({draw(k)} * 13) AS INTEGER)]" for k in range(30, 36))
    gone = f"WHEN {draw(25)} < "
    return {
        "id": "i",
        "account": "md5(CAST(i AS VARCHAR))",
        "customer_id": f"CAST(floor({draw(1)} * 900000) AS BIGINT)",
        "age": f"18 + CAST(floor({draw(2)} * 70) AS BIGINT)",
        "visits": f"CASE {gone}0.1 THEN NULL ELSE CAST(floor(-ln({draw(3)} + 1e-12) * 9) AS BIGINT) END",
        "flag": f"CAST({draw(4)} < 0.3 AS BIGINT)",
        "balance": f"round(({draw(5)} - 0.4) * 90000, 2)",
        "income": f"CASE WHEN {draw(6)} < 0.2 THEN NULL ELSE round(exp(8 + 2 * {draw(7)}), 2) END",
        "share": draw(8),
        "length": f"round(sqrt({draw(9)}) * 300, 3)",
        "weight": f"round({draw(10)} + {draw(11)} + {draw(12)}, 4)",
        "rate": f"CASE WHEN {draw(13)} < 0.05 THEN NULL ELSE {draw(14)} / 7 END",
        "plan": f"['basic', 'plus', 'pro', 'trial'][1 + CAST(floor({draw(15)} * 4) AS INTEGER)]",
        "region": f"CASE WHEN {draw(16)} < 0.05 THEN '?' ELSE 'R' || CAST(floor({draw(17)} * 40) AS BIGINT) END",
        "answer": f"['Yes', 'No', NULL][1 + CAST(floor({draw(18)} * 3) AS INTEGER)]",
        "place": f"'place ' || CAST(floor(pow({draw(19)}, 3) * 20000) AS BIGINT)",
        "remark": f"CASE WHEN {draw(20)} < 0.3 THEN NULL ELSE {word} END",
        "joined": f"DATE '2015-01-01' + CAST(floor({draw(21)} * 2000) AS INTEGER)",
        "seen": f"TIMESTAMP '2021-01-01 00:00:00' + to_seconds(CAST(floor({draw(22)} * 31536000) AS BIGINT))",
        TARGET: f"CASE WHEN {draw(23)} < 0.01 THEN NULL WHEN {draw(24)} + ({draw(5)} - 0.4) / 3 < 0.2 THEN 'yes' "
        "ELSE 'no' END",
    }


def write_table(path: Path, rows: int) -> None:
    """Write the CSV: the same rows and the same seed, the same bytes."""
    import duckdb

    asked = ", ".join(f"{cell} AS {name}" for name, cell in columns().items())
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"COPY (SELECT {asked} FROM range({rows}) AS t(i)) TO '{path}' (HEADER)")


def bare(path: Path, folder: Path) -> dict[str, float]:
    """Copy the file as duckdb does it by itself."""
    import duckdb

    began = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {THREADS}")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"COPY (FROM '{path}') TO '{folder / 'bare.parquet'}'")
    return {"seconds": time.perf_counter() - began}


def ours(path: Path, folder: Path) -> dict[str, float]:
    """Do what the step `prepare` does between the start and the end of its run, tracking left out."""
    sys.path.insert(0, str(ROOT / "steps"))
    from lifecycle.adapters import preparation, sources
    from lifecycle.audit import as_frame, said
    from lifecycle.settings import TableSettings
    from lifecycle.table import profile

    settings = TableSettings(str(path), TARGET)
    marks = [time.perf_counter()]
    found = sources.locate("data", str(path))
    sources.inputs_digest([found])
    marks.append(time.perf_counter())
    with preparation.workplace(folder) as connection:
        connection.execute(f"SET threads = {THREADS}")
        [table] = preparation.opened(connection, [found], settings, folder)
        marks.append(time.perf_counter())
        made = preparation.make(table, settings, None, folder)
        marks.append(time.perf_counter())
        profile(made.prepared, made.train_sample).to_csv(folder / "profile.csv")
        as_frame(made.findings).to_csv(folder / "findings.csv")
        said(made.findings)
        (folder / "profile.html").write_text(preparation.page_of(made, settings, "0" * 64), encoding="utf-8")
        (folder / "contract.json").write_text(made.prepared.contract.to_json(), encoding="utf-8")
        marks.append(time.perf_counter())
    parts = {part: after - before for part, before, after in zip(PARTS, marks, marks[1:], strict=False)}
    return parts | {"seconds": marks[-1] - marks[0]}


def measured(way: str, path: Path) -> dict[str, float]:
    """Do one of the two in a fresh process; return its seconds, and its peak memory in GB."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, __file__, "--way", way, "--path", str(path), "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the run with the median seconds, whose parts belong together, and the largest peak of all."""
    middle = statistics.median_low(run["seconds"] for run in runs)
    chosen = next(run for run in runs if run["seconds"] == middle)
    return chosen | {"peak": max(run["peak"] for run in runs)}


def machine() -> str:
    """Describe the machine: cores, memory, versions, date."""
    import duckdb

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    busy = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, duckdb {duckdb.__version__}, load at the end {busy:.1f}, "
        f"{datetime.now(UTC):%Y-%m-%d}"
    )


def tables_of(found: dict[int, dict[str, list[dict[str, float]]]], sizes: dict[int, int]) -> str:
    """Write the figures as Markdown."""
    repeats = sorted({len(runs) for ways in found.values() for runs in ways.values()})
    lines = [
        f"Machine: {machine()}. Medians of {' or '.join(map(str, repeats))} runs in turn, {THREADS} threads, peaks the "
        "largest.",
        "",
        "| rows | CSV, MB | bare COPY, s | prepare, s | of it digest | open_table | make | profile, page, findings "
        "| ratio (of runs in turn) | peak of prepare, GB | of COPY |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    before: tuple[int, dict[str, float], dict[str, float]] | None = None
    growth = ["| from, to rows | bare COPY, times | prepare, times | peak of prepare, times |", "|---|---|---|---|"]
    for rows, ways in found.items():
        copy, work = median(ways["bare"]), median(ways["ours"])
        ratios = [
            mine["seconds"] / its["seconds"] for mine, its in zip(ways["ours"], ways["bare"], strict=True)
        ]  # fmt: skip
        parts = " | ".join(f"{work[part]:.2f}" for part in PARTS)
        lines.append(
            f"| {rows:,} | {sizes[rows] / 1e6:,.0f} | {copy['seconds']:.2f} | {work['seconds']:.2f} | {parts} "
            f"| {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) | {work['peak']:.2f} "
            f"| {copy['peak']:.2f} |"
        )
        if before:
            growth.append(
                f"| {before[0]:,}, {rows:,} | {copy['seconds'] / before[1]['seconds']:.1f} "
                f"| {work['seconds'] / before[2]['seconds']:.1f} | {work['peak'] / before[2]['peak']:.1f} |"
            )
        before = rows, copy, work
    return "\n".join([*lines, "", *growth] if len(found) > 1 else lines)


@click.command()
@click.option("--rows", default="100000,1000000,10000000", show_default=True, help="Sizes, separated by commas.")
@click.option(
    "--repeats",
    default=3,
    show_default=True,
    help="Runs of each way and size, two at most over a million rows; medians are shown.",
)
@click.option("--write", is_flag=True, help="Write the tables into docs/large.md.")
@click.option("--way", hidden=True)
@click.option("--path", hidden=True)
@click.option("--folder", hidden=True)
def main(rows: str, repeats: int, write: bool, way: str | None, path: str | None, folder: str | None) -> None:
    """Measure, print, and with --write record."""
    if way and path and folder:
        found: dict[str, Any] = {"bare": bare, "ours": ours}[way](Path(path), Path(folder))
        # Linux counts in kilobytes, macOS in bytes.
        unit = 1e9 if sys.platform == "darwin" else 1e6
        print(json.dumps(found | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}))
        return
    every: dict[int, dict[str, list[dict[str, float]]]] = {}
    sizes: dict[int, int] = {}
    for number in map(int, rows.split(",")):
        with tempfile.TemporaryDirectory(prefix="large-") as place:
            table = Path(place) / "x.csv"
            write_table(table, number)
            sizes[number] = table.stat().st_size
            every[number] = {"bare": [], "ours": []}
            # In turn, so that a machine whose speed drifts drifts for both.
            for _ in range(repeats if number <= 1_000_000 else min(repeats, 2)):
                for one in ("bare", "ours"):
                    every[number][one].append(measured(one, table))
                    print(number, one, every[number][one][-1], file=sys.stderr)
    text = tables_of(every, sizes)
    print(text)
    if write:
        write_between(PAGE, MARKS, text)


if __name__ == "__main__":
    main()

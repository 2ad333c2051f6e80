"""What a search on a large table takes of memory: the whole process tree, with one worker and with two.

Run in the project's environment, in any folder: ``python benchmarks/memory.py [--rows N] [--write]``. Memory is counted
by proportional set size, in which a page that several processes share counts once; it is sampled from outside.
``--write`` puts the table into docs/engines.md. Linux only.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from large import TARGET, write_table
from pages import write_between

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "steps"))
PAGE = ROOT / "docs" / "engines.md"
MARKS = ("<!-- memory table: begin -->", "<!-- memory table: end -->")
SECONDS_BETWEEN = 0.2
GB = 1e6  # kilobytes
# What memory holds is data and designs, whatever is fitted on them; shallow trees are done soonest.
SPACE = """
dtc:
  max_depth: {uniformint: [1, 4]}
  max_features: {uniformint: [1, 4]}
  criterion: {choice: [gini, entropy]}
  class_weight: {choice: [balanced, null]}
"""


def tree(root: int) -> dict[int, int]:
    """Return the parents of a process and of all its descendants, by process."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {root: parents.get(root, 0)}
    while more := {pid: parent for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return found


def sizes(pid: int) -> tuple[int, int]:
    """Return a process's proportional and its whole resident set, in kilobytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("Pss:", "Rss:"))}
    return found.get("Pss", 0), found.get("Rss", 0)


def role(pid: int, root: int, parents: dict[int, int]) -> str:
    """Name what a process of the tree is there for: workers are the nursery's children, the nursery the search's."""
    if pid == root:
        return "search"
    if "nursery.main" in Path(f"/proc/{pid}/cmdline").read_text():
        return "worker" if parents[pid] != root else "nursery"
    return "other"


def searched(folder: Path, options: list[str]) -> dict[str, float]:
    """Run a search; return the peaks in GB: of the tree, of each role at the tree's peak, and of one worker whole."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    began = time.perf_counter()
    with open(folder / "log.txt", "w") as log:
        process = subprocess.Popen(
            [sys.executable, *options],
            cwd=folder,
            env=kept | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
            stdout=log,
            stderr=log,
        )
        peak: dict[str, float] = {"tree": 0.0}
        worker = 0.0
        while process.poll() is None:
            now = dict.fromkeys(("tree", "search", "nursery", "worker", "other"), 0.0)
            parents = tree(process.pid)
            for pid in parents:
                try:
                    pss, rss = sizes(pid)
                    name = role(pid, process.pid, parents)
                except OSError:
                    continue
                now["tree"] += pss / GB
                now[name] += pss / GB
                if name == "worker":
                    worker = max(worker, rss / GB)
            if now["tree"] > peak["tree"]:
                peak = now | {"at": time.perf_counter() - began}
            time.sleep(SECONDS_BETWEEN)
    if process.returncode:
        raise SystemExit(f"{options} failed:\n{(folder / 'log.txt').read_text()[-3000:]}")
    return peak | {"one": worker, "seconds": time.perf_counter() - began}


def table_of(found: dict[int, dict[str, float]], rows: int, trials: int) -> str:
    """Write the figures as Markdown."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    one = found[1]
    lines = [
        f"Machine: {os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load at the end {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%Y-%m-%d}. "
        f"{rows:,} rows of 20 columns, {trials} trials of shallow trees, peaks in GB.",
        "",
        "| workers | tree | of it search | nursery | workers | one worker with all that it shares "
        "| tree / one worker of one | tree / tree of one | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for workers, row in found.items():
        lines.append(
            f"| {workers} | {row['tree']:.2f} | {row['search']:.2f} | {row['nursery']:.2f} | {row['worker']:.2f} "
            f"| {row['one']:.2f} | {row['tree'] / one['one']:.2f} | {row['tree'] / one['tree']:.2f} "
            f"| {row['seconds']:.0f} |"
        )
    return "\n".join(lines)


def draw(found: dict[int, dict[str, float]]) -> None:
    """Draw the tree's peak with one worker and with two, by what the processes are there for."""
    from charts import draw_stacks

    parts = ("search", "nursery", "worker", "other")
    stacks = {
        f"{workers} worker{'s' if workers > 1 else ''}": {part: row[part] for part in parts if row[part] > 0.005}
        for workers, row in found.items()
    }
    title = "Memory of a search's processes at its peak"
    draw_stacks(PAGE.with_name("memory.png"), title, "GB, shared pages counted once", stacks, 2.2 * found[1]["tree"])


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Of the table.")
@click.option("--trials", default=32, show_default=True, help="Of each search.")
@click.option("--write", is_flag=True, help="Write the table into docs/engines.md.")
def main(rows: int, trials: int, write: bool) -> None:
    """Measure, print, and with --write record."""
    found: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        folder = Path(name)
        write_table(folder / "x.csv", rows)
        (folder / "space.yaml").write_text(SPACE, encoding="utf-8")
        given = ["--data", str(folder / "x.csv"), "--target", TARGET]
        # The table is prepared before, by a process that is not of the tree.
        searched(folder, [str(ROOT / "steps" / "prepare.py"), *given])
        for workers in (1, 2):
            search = [str(ROOT / "steps" / "tune_multi.py"), *given, "--max_evals", str(trials)]
            search += [
                "--space",
                str(folder / "space.yaml"),
                "--parallelism",
                str(workers),
                "--timeout",
                "100000",
                "--fresh",
                "true",
                # Of the trees at their defaults, which are beside the point and grow for minutes.
                "--trial_timeout",
                "60",
            ]
            found[workers] = searched(folder, search)
            print(workers, found[workers], file=sys.stderr)
    text = table_of(found, rows, trials)
    print(text)
    if write:
        write_between(PAGE, MARKS, text)
        draw(found)


if __name__ == "__main__":
    main()

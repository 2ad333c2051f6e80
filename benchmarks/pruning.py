"""What ending hopeless trials early saves, and what it costs: the same searches with the rule and without it.

Run in the project's environment: ``python benchmarks/pruning.py [--write]``. Samples in data/ and a table of
scikit-learn's, searched over all models of their task; no tracking. Fits are counted, which no other work on the
machine changes; ``--write`` puts the table into docs/memory.md.
"""

import os
import platform
import statistics
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pages import write_between
from runs import cancer, prepared

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "memory.md"
MARKS = ("<!-- pruning: begin -->", "<!-- pruning: end -->")
sys.path.insert(0, str(ROOT / "steps"))
TABLES = {"churn": "Target", "iris": "species", "diabetes": "progression", "breast cancer": "target"}


def table_of(name: str, folder: Path) -> tuple[Any, Any]:
    """Prepare a table, and return its training rows and its test rows."""
    from lifecycle.settings import TableSettings

    data = cancer(folder) if name == "breast cancer" else name
    return prepared(TableSettings(data, TABLES[name]), folder)


class Without:
    """An engine that tells its trials of no bar."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.workers = engine, engine.workers

    def submit(self, number: int, task: Any) -> Any:
        """Hand a trial on."""
        return self.engine.submit(number, replace(task, bar=None))


def searched(table: Any, metric: Any, trials: int, seed: int, prunes: bool) -> list[Any]:
    """Search a table over all of its models."""
    from lifecycle.adapters import local
    from lifecycle.models import choose_models, first_points, space_for
    from lifecycle.search import Suggester, run_search
    from lifecycle.settings import SearchSettings
    from lifecycle.trials import Objective

    models = choose_models((), table.contract, table.contract.rows)
    settings = SearchSettings(models=models, metric=metric.name, max_evals=trials, seed=seed, timeout=3600)
    space = space_for(models, table.contract)
    suggester = Suggester(space, "tpe", metric, seed, first_points(space, table.contract.task))
    with local.engine(Objective(table, metric, 42), 2) as engine:
        used = engine if prunes else Without(engine)
        return run_search(settings, suggester, used, lambda *_: None, lambda _: None)


def compared(name: str, trials: int, seeds: int) -> list[dict[str, float]]:
    """Search one table with the rule and without, by each seed."""
    from lifecycle.metrics import resolve_metric
    from lifecycle.search import best_record
    from lifecycle.trials import PRUNED, Objective, score_model

    found = []
    with tempfile.TemporaryDirectory() as folder:
        table, test = table_of(name, Path(folder))
        metric = resolve_metric("", table.contract)
        for seed in range(seeds):
            row: dict[str, float] = {}
            for way, prunes in (("with", True), ("without", False)):
                records = searched(table, metric, trials, seed, prunes)
                best = best_record(records, metric, table.contract.task)
                model = Objective(table, metric, 42).refit(best.values)
                row |= {
                    f"pruned {way}": sum(record.status == PRUNED for record in records) / trials,
                    f"fits {way}": sum(record.folds_done for record in records),
                    f"seconds {way}": sum(record.fit_seconds for record in records),
                    f"cv {way}": best.score,
                    f"test {way}": score_model(table.contract, model, test.rows, test.labels)[metric.name],
                }
            found.append(row)
            print(name, seed, row, file=sys.stderr)
    return found


def text_of(found: dict[str, list[dict[str, float]]], trials: int) -> str:
    """Write the table as Markdown."""
    seeds = len(next(iter(found.values())))
    lines = [
        f"Machine: {os.cpu_count()} cores, load at the end {os.getloadavg()[0]:.1f}, Python "
        f"{platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}. {trials} trials over all models of the task, "
        f"medians of {seeds} seeds; scores of the winner, F1 (macro for iris) or RMSE.",
        "",
        "| table | trials ended early | fits saved | fit seconds saved | cv with, without | test with, without |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in found.items():
        middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        saved = statistics.median(1 - row["fits with"] / row["fits without"] for row in rows)
        seconds = statistics.median(1 - row["seconds with"] / row["seconds without"] for row in rows)
        lines.append(
            f"| {name} | {middle['pruned with']:.0%} | {saved:.0%} | {seconds:.0%} | {middle['cv with']:.4g}, "
            f"{middle['cv without']:.4g} | {middle['test with']:.4g}, {middle['test without']:.4g} |"
        )
    return "\n".join(lines)


@click.command()
@click.option("--tables", default=",".join(TABLES), show_default=True, help="Separated by commas.")
@click.option("--trials", default=64, show_default=True)
@click.option("--seeds", default=5, show_default=True)
@click.option("--write", is_flag=True, help="Write the table into docs/memory.md.")
def main(tables: str, trials: int, seeds: int, write: bool) -> None:
    """Measure, print, and with --write record."""
    text = text_of({name: compared(name, trials, seeds) for name in tables.split(",")}, trials)
    print(text)
    if write:
        write_between(PAGE, MARKS, text)


if __name__ == "__main__":
    main()

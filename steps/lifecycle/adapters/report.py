"""The end of a whole run: a table of steps, seconds and scores, one picture, and what to do next."""

import math

from lifecycle import figures
from lifecycle.adapters.catalog import short_name
from lifecycle.adapters.chain import Outcome, TableOutcome
from lifecycle.adapters.tracking import StepRun
from lifecycle.metrics import score_text


def tell(run: StepRun, tables: list[TableOutcome], seconds: float) -> None:
    """Print the table, and write it and the picture into the run of ``main``.

    Parameters
    ----------
    run : StepRun
        Of ``main``.
    tables : list of TableOutcome
        What became of each table.
    seconds : float
        Wall seconds of the whole, since the script began.
    """
    board = [row for table in tables for row in _rows(table)]
    frame = figures.scoreboard_frame(board)
    run.frame("scoreboard.csv", frame)
    run.figure("scoreboard.png", figures.draw_scoreboard(frame))
    everything = [outcome for table in tables for outcome in table.steps]
    fitting = sum(
        o.metrics.get("trials_fit_seconds", o.metrics.get("fit_seconds", 0)) for o in everything if not o.reused
    )
    run.log(
        metrics={
            "seconds": seconds,
            "fit_seconds": fitting,
            "steps_reused": sum(o.reused for o in everything),
        }
    )
    text = "\n\n".join(_text(table) for table in tables)
    run.text("summary.txt", text)
    print(f"\n{text}\n\n{seconds:.0f} s, of which {fitting:.0f} s fitting models (all workers together).")
    print("Next: `mlflow ui` shows the runs; the picture is the artifact scoreboard.png of this run.")
    for registered in filter(None, (_registered(table).partition("/")[0] for table in tables)):
        print(f"      mlflow models serve -m models:/{registered}@champion --env-manager local --port 5001")


def _registered(table: TableOutcome) -> str:
    return table.steps[-1].tags.get("lifecycle.registered", "")


def _rows(table: TableOutcome) -> list[dict[str, object]]:
    """Return a row of the scoreboard for each step that tracked a score."""
    name = table.metric.name
    champion = table.steps[-1].tags.get("lifecycle.champion_run", "")
    rows: list[dict[str, object]] = []
    for outcome in table.steps:
        if outcome.step == "register":
            continue
        if f"test_{name}" not in outcome.metrics:
            continue
        source = outcome.tags.get("lifecycle.reused", outcome.run_id)
        rows.append(
            {
                "table": short_name(table.table),
                "step": outcome.step,
                "model": outcome.tags.get("lifecycle.model", ""),
                "metric": table.metric.label,
                "greater_is_better": table.metric.greater_is_better,
                "cv": outcome.metrics.get(f"cv_{name}", math.nan),
                "cv_std": outcome.metrics.get(f"cv_{name}_std", math.nan),
                "test": outcome.metrics[f"test_{name}"],
                "dummy": outcome.metrics.get(f"dummy_cv_{name}", math.nan),
                "chosen": source == champion,
            }
        )
    return rows


def _text(table: TableOutcome) -> str:
    """Write the steps of a table as lines of text."""
    name = table.metric.name
    direction = "larger" if table.metric.greater_is_better else "smaller"
    header = ("step", "seconds", f"cv_{name}", f"test_{name}", "dummy_test", "model")
    lines = [header, *(_line(outcome, name) for outcome in table.steps)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    shown = [
        "  ".join(
            cell.ljust(width) if i in (0, len(header) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    contract = table.contract
    metric = f"{table.metric.label}, {direction} is better"
    about = f"{short_name(table.table)}: {contract.task} of {contract.target!r}, {metric}"
    verdict = table.steps[-1].tags.get("lifecycle.verdict", "")
    end = f"registered models:/{_registered(table)} @champion: {verdict}"
    return "\n".join([about, *shown, "nothing registered" if table.refusal else end])


def _line(outcome: Outcome, name: str) -> tuple[str, ...]:
    def score(key: str) -> str:
        return score_text(outcome.metrics[key]) if key in outcome.metrics else ""

    seconds = "reused" if outcome.reused else f"{outcome.seconds:.1f}"
    scores = (score(f"cv_{name}"), score(f"test_{name}"), score(f"dummy_test_{name}"))
    what = outcome.tags.get("lifecycle.model", outcome.tags.get("lifecycle.registered", ""))
    return (outcome.step, seconds, *scores, what)

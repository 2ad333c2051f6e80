"""What searches find with an equal number of trials, and in equal seconds: ours, random, Optuna's TPE, FLAML.

Run in the project's environment: ``python benchmarks/quality.py [--churn FILE] [--taxi FILE] [--optuna PYTHON]
[--flaml PYTHON] [--into FILE] [--write]``. Optuna and FLAML live in environments of their own, named by their Python:
this project's with optuna added, and one with flaml[automl]; without one, its ways are left out. Every cell (a way on
a table under a seed) is a fresh process, ours and the random search the entry point with all its tracking. Cells go
into ``--into`` one by one, and those that stand there are not run again, so a benchmark that is ended goes on.

A seed parts each table into training rows and outer test rows and seeds the search. All ways have the same training
rows and the same five folds; the outer test rows score each way's final model, once.
"""

import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pages import write_between
from runs import cancer, drawn_by_optuna, prepared, run_in, tracked
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "steps"))
PAGE = ROOT / "docs" / "quality.md"
MARKS = ("<!-- quality: begin -->", "<!-- quality: end -->")
BUDGETS = (8, 16, 32, 64)
WAYS = {
    "ours": "ours",
    "random": "ours, `algo=rand`",
    "optuna": "Optuna's TPE on our space",
    "flaml": "FLAML on the same folds",
    "flaml_own": "FLAML as it comes",
    "ours_threshold": "ours, `threshold=best_f1`",
}
# Hundredths of F1, or percents of RMSE, by which ours may be worse than FLAML at most.
BOUND = -1.0
# FLAML's names of our default metrics.
METRICS = {"f1": "f1", "f1_macro": "macro_f1", "rmse": "rmse"}


@dataclass(frozen=True)
class Table:
    """A table to search on: the options that a user would type, and the seconds of a search.

    ``rows`` of a file are drawn by the seed where it has more.
    """

    options: dict[str, str]
    seconds: float
    rows: int = 0


def tables(churn: str, taxi: str) -> dict[str, Table]:
    """Return the tables by name."""
    from lifecycle.adapters.catalog import catalog

    order, query = catalog()["churn"]["ordinal"], catalog()["taxi"]["query"]
    travel = {"data": churn, "target": "Target", "ordinal": order}
    return {
        "churn": Table(travel, 10),
        "churn, twins in one fold": Table(travel | {"split": "hash"}, 10),
        "iris": Table({"data": "iris"}, 10),
        "breast cancer": Table({"data": "cancer.csv", "target": "target"}, 10),
        "diabetes": Table({"data": "diabetes"}, 10),
        "taxi": Table({"data": taxi, "target": "duration", "query": query}, 60, 12_000),
    }


def options_of(table: Table, seed: int, folder: Path) -> dict[str, str]:
    """Return the options of the entry points for a seed; the table's file is written where it is drawn or made."""
    import pandas as pd

    options = table.options | {"test_size": "0.25", "seed": str(seed)}
    if options["data"] == "cancer.csv":
        options["data"] = cancer(folder)
    elif table.rows and options["data"].endswith(".parquet"):
        whole = pd.read_parquet(options["data"])
        whole.sample(min(table.rows, len(whole)), random_state=seed).to_parquet(folder / "some.parquet")
        options["data"] = str(folder / "some.parquet")
    return options


def sides(options: dict[str, str], folder: Path) -> tuple[Any, Any]:
    """Prepare the table that the options name; return the training rows and the outer test rows."""
    from lifecycle.adapters import catalog

    untyped = dict.fromkeys("target query test_data split split_column positive drop ordinal roles read".split(), "")
    numbers = {"test_size": float(options["test_size"]), "seed": int(options["seed"]), "folds": 5}
    settings = catalog.settings_for(untyped | {"task": "auto", "strict": False} | options | numbers)
    return prepared(settings, folder)


def ours(way: str, options: dict[str, str], seconds: float, most: int, folder: Path) -> dict[str, Any]:
    """Run the entry point, and read what it has tracked."""
    typed = options | {
        "parallelism": "2",
        "algo": "rand" if way == "random" else "tpe",
        "threshold": "best_f1" if way == "ours_threshold" else "",
        "max_evals": str(most or 100_000),
        "timeout": str(seconds),
    }
    step = [sys.executable, str(ROOT / "steps" / "tune_multi.py")]
    run_in(folder, step + [part for name, value in typed.items() for part in (f"--{name}", value)])
    run, children = tracked(folder)
    began = min(child.info.start_time for child in children)
    # A child whose time had come before a worker was free has none.
    tag = "lifecycle.record"
    records = [(child, json.loads(child.data.tags[tag])) for child in children if tag in child.data.tags]
    records.sort(key=lambda one: int(one[1]["number"]))
    metrics = run.data.metrics
    name = next(name[3:] for name in metrics if name in ("cv_f1", "cv_f1_macro", "cv_rmse"))
    return {
        "times": [(child.info.end_time - began) / 1000 for child, _ in records],
        "scores": [record["score"] if record["status"] == "finished" else None for _, record in records],
        "winner": run.data.params["best_model"],
        "cv": metrics[f"cv_{name}"],
        "test": metrics[f"test_{name}"],
        "search": metrics["search_seconds"],
    }


def by_optuna(options: dict[str, str], seconds: float, most: int, folder: Path) -> dict[str, Any]:
    """Search our space on our objective by Optuna's TPE, as two processes that share a journal; nothing is tracked."""
    import multiprocessing

    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from threadpoolctl import threadpool_limits

    from lifecycle.metrics import resolve_metric, score_all
    from lifecycle.models import choose_models, space_for
    from lifecycle.trials import FINISHED, Objective, Task

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table, held = sides(options, folder)
    metric = resolve_metric("", table.contract)
    objective = Objective(table, metric, int(options["seed"]))
    objective.make_ready(500_000_000)
    space = space_for(choose_models((), table.contract, table.contract.rows), table.contract)

    def evaluated(trial: Any) -> float:
        model = trial.suggest_categorical("model", list(space))
        values = {name: drawn_by_optuna(trial, f"{model}.{name}", one) for name, one in space[model].items()}
        record = objective(trial.number, Task({"model": model, **values}))
        if record.status != FINISHED:
            raise optuna.TrialPruned(record.error)
        trial.set_user_attr("values", {"model": model, **values})
        return float(record.score)

    direction = "maximize" if metric.greater_is_better else "minimize"
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    optuna.create_study(study_name="one", storage=storage, direction=direction)

    def searched(worker: int) -> None:
        sampler = optuna.samplers.TPESampler(seed=1_000 * worker + int(options["seed"]))
        own = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
        study = optuna.load_study(study_name="one", storage=own, sampler=sampler)
        enough = optuna.study.MaxTrialsCallback(most, states=None) if most else None
        with threadpool_limits(1):
            study.optimize(evaluated, timeout=seconds, callbacks=[enough] if enough else [])

    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=searched, args=(number,)) for number in (0, 1)]
    began = time.time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    study = optuna.load_study(study_name="one", storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))))
    trials = [trial for trial in study.trials if trial.datetime_complete is not None]
    with threadpool_limits(1):
        model = objective.refit(study.best_trial.user_attrs["values"], None)
        scores = score_all(table.contract, held.labels, model.predict(held.rows), None)
    return {
        "times": [trial.datetime_complete.timestamp() - began for trial in trials],
        "scores": [trial.value for trial in trials],
        "winner": study.best_trial.params["model"],
        "cv": study.best_value,
        "test": scores[metric.name],
        "search": time.time() - began,
    }


def by_flaml(way: str, python: str, options: dict[str, str], seconds: float, most: int, folder: Path) -> dict[str, Any]:
    """Let FLAML search, in its own environment, on the same rows and folds; score its predictions by our metric."""
    import pandas as pd

    from lifecycle.metrics import resolve_metric, score_all

    table, held = sides(options, folder)
    contract, metric = table.contract, resolve_metric("", table.contract)
    table.rows.assign(__label__=table.labels.to_numpy(), __fold__=table.folds).to_parquet(folder / "train.parquet")
    held.rows.to_parquet(folder / "test.parquet")
    ask = {"task": contract.task, "metric": METRICS[metric.name], "seed": int(options["seed"])}
    (folder / "ask.json").write_text(json.dumps(ask), encoding="utf-8")
    part = str(Path(__file__).with_name("flaml_way.py"))
    run_in(folder, [python, part, str(folder), str(seconds), str(most), "1" if way == "flaml_own" else "0"])
    said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    predicted = pd.read_parquet(folder / "predicted.parquet")["predicted"].to_numpy()
    scores = [1 - loss if metric.greater_is_better else loss for loss in said["losses"]]
    return {
        "times": said["times"],
        "scores": scores,
        "winner": said["winner"],
        "cv": max(scores) if metric.greater_is_better else min(scores),
        "test": score_all(contract, held.labels, predicted, None)[metric.name],
        "search": said["wall"],
    }


def cell(way: str, table: Table, seed: int, most: int, pythons: dict[str, str]) -> dict[str, Any]:
    """Run one way on one table under one seed, in a fresh process and a fresh folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = options_of(table, seed, folder)
        # Where trials are counted, seconds must not end the search before.
        seconds = 3_600.0 if most else table.seconds
        if way.startswith("flaml"):
            return by_flaml(way, pythons["flaml"], options, seconds, most, folder)
        if way == "optuna":
            ask = {"options": options, "seconds": seconds, "most": most}
            (folder / "optuna.json").write_text(json.dumps(ask), encoding="utf-8")
            run_in(folder, [pythons["optuna"], __file__, "--as-optuna"])
            return dict(json.loads((folder / "optuna_said.json").read_text(encoding="utf-8")))
        return ours(way, options, seconds, most, folder)


def best_after(one: dict[str, Any], trials: int, smaller: bool) -> float:
    """Return the best score among the first trials, or NaN where there were not so many."""
    if len(one["scores"]) < trials:
        return math.nan
    known = [score for score in one["scores"][:trials] if score is not None and math.isfinite(score)]
    return math.nan if not known else min(known) if smaller else max(known)


def spread(values: list[float]) -> str:
    """Write the median and the quartiles of some scores."""
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return ""
    low, middle, high = statistics.quantiles(known, n=4, method="inclusive")
    few = f" ({len(known)} seeds)" if len(known) < len(values) else ""
    return f"{middle:.4g} ({low:.4g} to {high:.4g}){few}"


def interval(differences: list[float]) -> tuple[float, float, float]:
    """Return the mean of paired differences and its 95 % interval by Student's t."""
    mean, error = statistics.mean(differences), statistics.stdev(differences) / math.sqrt(len(differences))
    reach = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    return mean, mean - reach, mean + reach


def differences(cells: list[dict[str, Any]], name: str, way: str) -> list[float]:
    """Return ours less a way on the outer test rows, seed by seed, above 0 where ours is better.

    Of F1 in hundredths; of RMSE in percents of the way's.
    """
    found = {one["seed"]: one["test"] for one in cells if (one["table"], one["way"], one["most"]) == (name, way, 0)}
    ours = {one["seed"]: one["test"] for one in cells if (one["table"], one["way"], one["most"]) == (name, "ours", 0)}
    smaller = any(one["metric"] == "rmse" for one in cells if one["table"] == name)
    return [
        (1 - ours[seed] / found[seed]) * 100 if smaller else (ours[seed] - found[seed]) * 100
        for seed in sorted(set(ours) & set(found))
    ]


def course(of_way: list[dict[str, Any]], budget: float, smaller: bool) -> list[tuple[float, float, float, float]]:
    """Return how the best score of the folds grew: seconds, and the median and quartiles over the seeds."""
    points = []
    for second in [budget * part / 40 for part in range(2, 41)]:
        best = []
        for one in of_way:
            known = [
                score
                for at, score in zip(one["times"], one["scores"], strict=True)
                if at <= second and score is not None and math.isfinite(score)
            ]
            best += [min(known) if smaller else max(known)] if known else []
        if len(best) > len(of_way) / 2 and len(best) > 1:
            low, middle, high = statistics.quantiles(best, n=4, method="inclusive")
            points.append((second, middle, low, high))
    return points


def draw(cells: list[dict[str, Any]]) -> None:
    """Draw the courses of the searches, and the differences on the outer test rows."""
    from charts import draw_courses, draw_intervals

    panels: dict[str, dict[str, list[tuple[float, float, float, float]]]] = {}
    intervals = {}
    for name in dict.fromkeys(one["table"] for one in cells):
        of_table = [one for one in cells if one["table"] == name and not one["most"]]
        metric, budget = of_table[0]["metric"], of_table[0]["budget"]
        title = f"{name}, {'RMSE' if metric == 'rmse' else 'F1'} of the folds"
        for way in ("ours", "random", "optuna", "flaml"):
            points = course([one for one in of_table if one["way"] == way], budget, metric == "rmse")
            if points:
                panels.setdefault(title, {})[WAYS[way]] = points
        found = differences(cells, name, "flaml")
        if len(found) > 1:
            intervals[name] = interval(found)
    draw_courses(PAGE.with_name("quality.png"), "Best score of the folds by seconds: median and quartiles", panels)
    draw_intervals(
        PAGE.with_name("quality_difference.png"),
        "Ours less FLAML in equal seconds, outer test rows",
        "hundredths of F1, or % of RMSE; to the right ours is better; dotted: no interval is to reach it",
        intervals,
        BOUND,
    )


def text_of(cells: list[dict[str, Any]]) -> str:
    """Write the figures as Markdown."""
    names = list(dict.fromkeys(one["table"] for one in cells))
    lines = [
        f"Machine: {os.cpu_count()} cores, load at the end {os.getloadavg()[0]:.1f}, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}. Two cores for "
        "each way.",
        "",
        "| table, metric | way | best of folds after " + " | ".join(f"{number} trials" for number in BUDGETS) + " |",
        "|---" * (2 + len(BUDGETS)) + "|",
    ]
    for name in names:
        of_table = [one for one in cells if one["table"] == name]
        smaller = of_table[0]["metric"] == "rmse"
        for way in WAYS:
            # The cell that counts trials where there is one.
            of_way = {one["seed"]: one for one in of_table if one["way"] == way and not one["most"]}
            of_way |= {one["seed"]: one for one in of_table if one["way"] == way and one["most"]}
            if of_way:
                after = [spread([best_after(one, number, smaller) for one in of_way.values()]) for number in BUDGETS]
                lines.append(f"| {name}, {of_table[0]['metric']} | {WAYS[way]} | " + " | ".join(after) + " |")
    lines += [
        "",
        "| table | seconds | way | seeds | trials | best of folds | outer test rows, mean "
        "| ours less this, hundredths of F1 or % of RMSE | most frequent winner |",
        "|---" * 9 + "|",
    ]
    for name in names:
        of_table = [one for one in cells if one["table"] == name and not one["most"]]
        smaller = of_table[0]["metric"] == "rmse"
        for way in WAYS:
            of_way = {one["seed"]: one for one in of_table if one["way"] == way}
            if not of_way:
                continue
            tests = [one["test"] for one in of_way.values()]
            found = differences(cells, name, way) if way != "ours" else []
            said = ""
            if len(found) > 1:
                mean, low, high = interval(found)
                said = f"{mean:+.2f} ({low:+.2f} to {high:+.2f}){' %' if smaller else ''}"
            winner, times = statistics.mode(one["winner"] for one in of_way.values()), len(of_way)
            wins = sum(one["winner"] == winner for one in of_way.values())
            count = statistics.median(len(one["scores"]) for one in of_way.values())
            best = spread([best_after(one, len(one["scores"]), smaller) for one in of_way.values()])
            lines.append(
                f"| {name} | {of_table[0]['budget']:g} | {WAYS[way]} | {times} | {count:g} | {best} "
                f"| {statistics.mean(tests):.4g} | {said} | {winner} ({wins} of {times}) |"
            )
    return "\n".join(lines)


def run_cells(
    asked: list[tuple[str, Table, int, str]],
    into: Path,
    known: list[dict[str, Any]],
    pythons: dict[str, str],
    counted: bool,
) -> list[dict[str, Any]]:
    """Run the cells that are not known, and keep each as it is done; counted, also searches of 64 trials."""
    metrics = {"iris": "f1_macro", "diabetes": "rmse", "taxi": "rmse"}

    def once(name: str, table: Table, seed: int, way: str, most: int) -> dict[str, Any]:
        key = {"table": name, "seed": seed, "way": way, "most": most, "budget": table.seconds}
        for one in known:
            if all(one[part] == value for part, value in key.items()):
                return one
        found = key | {"metric": metrics.get(name, "f1")} | cell(way, table, seed, most, pythons)
        with into.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        print(f"{name} {seed} {way} {most}: test {found['test']:.4g}, {len(found['scores'])} trials", file=sys.stderr)
        return found

    cells = []
    for name, table, seed, way in asked:
        cells.append(once(name, table, seed, way, 0))
        if counted and len(cells[-1]["scores"]) < max(BUDGETS) and way in ("ours", "random", "optuna", "flaml"):
            cells.append(once(name, table, seed, way, max(BUDGETS)))
    return cells


@click.command()
@click.option("--churn", default="churn", show_default=True, help="The travel agency's table: a sample or a file.")
@click.option("--taxi", default="taxi", show_default=True, help="The taxi trips: a sample or a file.")
@click.option("--tables", "chosen", default="", help="Names, separated by semicolons; empty for all.")
@click.option("--ways", default=",".join(WAYS), show_default=True, help="Separated by commas.")
@click.option("--seeds", default=10, show_default=True, help="Seeds 1 to this.")
@click.option("--optuna", default="", help="Python of this project's environment with optuna added.")
@click.option("--flaml", default="", help="Python of an environment with flaml[automl].")
@click.option("--counted/--no-counted", default=True, help="Run searches of 64 trials where the seconds gave fewer.")
@click.option("--into", type=click.Path(path_type=Path), default=Path("quality.jsonl"), show_default=True)
@click.option("--write", is_flag=True, help="Write the tables into docs/quality.md.")
@click.option("--as-optuna", is_flag=True, hidden=True)
def main(
    churn: str, taxi: str, chosen: str, ways: str, seeds: int, optuna: str, flaml: str, counted: bool, into: Path,
    write: bool,
    as_optuna: bool,
) -> None:  # fmt: skip
    """Measure, print, and with --write record."""
    if as_optuna:
        ask = json.loads(Path("optuna.json").read_text(encoding="utf-8"))
        said = by_optuna(ask["options"], ask["seconds"], ask["most"], Path())
        Path("optuna_said.json").write_text(json.dumps(said), encoding="utf-8")
        return
    typed = (str(Path(one).resolve()) if Path(one).is_file() else one for one in (churn, taxi))
    all_tables = tables(*typed)
    pythons = {"optuna": optuna, "flaml": flaml}
    names = [name.strip() for name in chosen.split(";") if name.strip()] or list(all_tables)
    used = [way for way in ways.split(",") if pythons.get(way.split("_")[0], "there")]
    classes = ("churn", "churn, twins in one fold", "breast cancer")
    # Seed by seed, so that whatever else the machine does falls on all ways alike.
    asked = [
        (name, all_tables[name], seed, way)
        for name in names
        for seed in range(1, seeds + 1)
        for way in used
        if way != "ours_threshold" or name in classes
    ]
    known = [json.loads(line) for line in into.read_text(encoding="utf-8").splitlines()] if into.exists() else []
    cells = run_cells(asked, into, known, pythons, counted)
    text = text_of(cells)
    print(text)
    if write:
        write_between(PAGE, MARKS, text)
        draw(cells)


if __name__ == "__main__":
    main()

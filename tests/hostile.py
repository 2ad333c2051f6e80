"""Objectives that do to their worker whatever an estimator may do, and one that is good.

Processes import this module by its name; what the tests of engines share stands here, too.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lifecycle.contract import Column, Contract
from lifecycle.metrics import BINARY
from lifecycle.spaces import Values
from lifecycle.table import PreparedTable
from lifecycle.trials import Objective, Task, TrialRecord

# Points of the good objective: all kinds of estimator, with every kind of randomness of theirs.
POINTS: list[Values] = [
    {"model": "logreg", "C": 0.3, "solver": "liblinear", "class_weight": None},
    {"model": "logreg", "C": 3.0, "solver": "lbfgs", "class_weight": "balanced"},
    {"model": "dtc", "criterion": "gini", "max_depth": 3, "max_features": 1, "class_weight": None},
    {"model": "svm", "C": 1.0, "kernel": "rbf", "class_weight": "balanced"},
    {"model": "rf", "n_estimators": 10, "max_depth": 3, "min_samples_leaf": 1, "min_samples_split": 2},
    {"model": "dtc", "criterion": "gini", "max_depth": -1},
]

CLOCKS = {"fit_seconds", "score_seconds", "started", "ended", "latency_ms"}
WELL: Values = {"model": "well"}
ENDLESS: Values = {"model": "endless"}


def facts(record: TrialRecord) -> dict[str, Any]:
    """Give all of a record that is not a time, as text: NaN is itself."""
    return {one.name: repr(getattr(record, one.name)) for one in fields(record) if one.name not in CLOCKS}


def records_of(engine: Any, points: list[Values]) -> list[TrialRecord]:
    """Evaluate points, all handed in at once."""
    futures = [engine.submit(number, Task(values)) for number, values in enumerate(points)]
    return [future.result(60) for future in futures]


def eventually(holds: Callable[[], bool], seconds: float = 30) -> bool:
    """Wait until something holds, or the time is over."""
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    return holds()


def lives(pid: int) -> bool:
    """Tell whether a process is there and at work; a zombie only waits to be counted."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def appeared(path: Path) -> int:
    """Wait for a file that holds a number, and give it."""
    assert eventually(lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())


def parent_of(pid: int) -> int:
    """Give a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def table(rows: int = 200) -> PreparedTable:
    """Make a table of numbers and texts with gaps, and three folds."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=rows), "z": rng.normal(size=rows)})
    frame["colour"] = rng.choice(["red", "green", "blue"], rows).astype(object)
    labels = np.where(frame["x"] + (frame["colour"] == "red") + rng.normal(0, 0.5, rows) > 0.3, "Yes", "No")
    frame.loc[::5, "x"] = np.nan
    frame.loc[::7, "colour"] = None
    columns = (Column("x", "numeric", "DOUBLE"), Column("z", "numeric", "DOUBLE"))
    columns += (Column("colour", "categorical", "VARCHAR", levels=("blue", "green", "red"), missing=True),)
    contract = Contract("y", "classification", ("No", "Yes"), "Yes", "random", columns=columns, rows=rows)
    return PreparedTable(contract, frame, pd.Series(labels.astype(object), name="y"), np.arange(rows) % 3)


def good(keep_models: bool = False) -> Objective:
    """Make an objective of that table."""
    return Objective(table(), BINARY["f1"], 7, keep_models=keep_models)


class Unreadable(Exception):
    """An exception that pickles, and cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class NotToBePickled:
    """An estimator that says so."""

    def __reduce__(self) -> Any:
        raise TypeError("not this one")


class Hostile(Objective):
    """Does what the values say; a score of 1 tells that it came to an end."""

    def __init__(self) -> None:
        super().__init__(table(20), BINARY["f1"], 7)

    def __call__(self, number: int, task: Task) -> TrialRecord:
        values = task.values
        record = TrialRecord(number, values, score=1.0, started=time.time())
        record.params = {"pid": os.getpid(), "parent": os.getppid()}
        getattr(self, str(values["model"]))(values, record)
        record.ended = time.time()
        return record

    def well(self, values: Values, record: TrialRecord) -> None:
        pass

    def exits(self, values: Values, record: TrialRecord) -> None:
        os._exit(int(values["code"]))

    def killed(self, values: Values, record: TrialRecord) -> None:
        os.kill(os.getpid(), int(values["signal"]))

    def segfault(self, values: Values, record: TrialRecord) -> None:
        import ctypes

        ctypes.string_at(0)

    def endless(self, values: Values, record: TrialRecord) -> None:
        if "file" in values:
            with open(values["file"], "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
        while True:
            pass

    def deaf(self, values: Values, record: TrialRecord) -> None:
        """Hold the interpreter's lock, as some C code does: no thread of Python runs, no handler of signals."""
        import ctypes

        ctypes.PyDLL(None).sleep(600)

    def unreadable(self, values: Values, record: TrialRecord) -> None:
        record.params["error"] = Unreadable(1, 2)

    def unpicklable(self, values: Values, record: TrialRecord) -> None:
        record.params["model"] = NotToBePickled()

    def huge(self, values: Values, record: TrialRecord) -> None:
        record.params["array"] = np.arange(int(values["cells"]), dtype=np.float64)

    def forks(self, values: Values, record: TrialRecord) -> None:
        """Leave a process behind that holds all that this one had open, and die."""
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        with open(values["file"], "w", encoding="ascii") as file:
            file.write(str(child))
        os.kill(os.getpid(), signal.SIGKILL)

    def environment(self, values: Values, record: TrialRecord) -> None:
        from threadpoolctl import threadpool_info

        record.params["variables"] = {name: value for name, value in os.environ.items() if name.endswith("_THREADS")}
        record.params["threads"] = sorted({pool["num_threads"] for pool in threadpool_info()})

    def command(self, values: Values, record: TrialRecord) -> None:
        subprocess.run([sys.executable, "-c", "print(1)"], check=True, capture_output=True)


class Preparing(Hostile):
    """Dies while it gets ready."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def make_ready(self, most_cells: int) -> None:
        if self.what == "raise":
            raise ValueError("no design")
        os.kill(os.getpid(), getattr(signal, self.what))


class Wide(Hostile):
    """Reads all of every design, and tells how large they are and how much memory is this process's own."""

    def __init__(self) -> None:
        Objective.__init__(self, table(1_200_000), BINARY["f1"], 7)

    def well(self, values: Values, record: TrialRecord) -> None:
        designs = [part for made in self._folds._kept or () for part in (made[0], made[2])]
        assert sum(float(part.sum()) for part in designs)
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:
            kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in file if line.startswith("Private")}
        record.params["private_bytes"] = sum(kilobytes.values()) * 1024
        record.params["design_bytes"] = sum(part.nbytes for part in designs)

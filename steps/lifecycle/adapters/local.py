"""The local engine: trials in this process, or in worker processes that have the data once."""

import multiprocessing
import os
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from threadpoolctl import threadpool_limits

from lifecycle.spaces import Values
from lifecycle.trials import Objective, TrialRecord

_objective: Objective | None = None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class InProcess:
    """One trial at a time, in this process, with one thread of BLAS and OpenMP as everywhere.

    Parameters
    ----------
    objective : Objective
        What to evaluate.
    """

    workers = 1

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def __enter__(self) -> "InProcess":
        self._limits = threadpool_limits(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._limits.unregister()

    def submit(self, number: int, values: Values) -> "Future[TrialRecord]":
        """Evaluate a point now; the future is done when this returns."""
        future: Future[TrialRecord] = Future()
        future.set_result(self._objective(number, values))
        return future


class Pool:
    """Worker processes, each of which gets the objective with its data when it starts, not with every trial.

    Parameters
    ----------
    objective : Objective
        What to evaluate.
    workers : int
        How many.
    """

    def __init__(self, objective: Objective, workers: int) -> None:
        self.workers = workers
        # A fork server has imported everything once and has no threads: its forks start in milliseconds and
        # cannot inherit a lock in mid-air, as forks of this process with mlflow's threads could.
        kind = "forkserver" if sys.platform != "win32" else "spawn"
        context = multiprocessing.get_context(kind)
        if kind == "forkserver":
            context.set_forkserver_preload(["lifecycle.trials", "lifecycle.adapters.local"])
        self._pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(objective,))

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, number: int, values: Values) -> "Future[TrialRecord]":
        """Queue a point for the next free worker."""
        return self._pool.submit(_evaluate, number, values)


def _begin(objective: Objective) -> None:
    global _objective
    # Two trials on two cores must not fight for them.
    threadpool_limits(1)
    _objective = objective
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that wants its results is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _evaluate(number: int, values: Values) -> TrialRecord:
    assert _objective is not None
    return _objective(number, values)


def engine(objective: Objective, parallelism: int) -> Any:
    """Choose the engine for a number of trials at once; enter it as a context."""
    return InProcess(objective) if parallelism == 1 else Pool(objective, parallelism)

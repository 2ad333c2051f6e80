"""The local engine: trials in worker processes that share one copy of the data, or in this process."""

import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from threadpoolctl import threadpool_limits

from lifecycle.adapters import nursery
from lifecycle.adapters.stored import free_bytes
from lifecycle.errors import UserError
from lifecycle.trials import MOST_CACHED_CELLS, Objective, Task, TrialRecord, lost, unpacked

# Read by the libraries when they are loaded, so they must be set before a worker's python begins.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)
# Arrow's allocator would start a thread, and only a process with one thread forks safely.
NO_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
# A cell of a sparse design: its number and its column. Of the memory that is free half may hold designs.
CELL_BYTES, SHARE = 12, 0.5
SECONDS_TO_END = 5
Job = tuple[int, Task, "Future[TrialRecord]"]


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

    def submit(self, number: int, task: Task) -> "Future[TrialRecord]":
        """Evaluate a point now; the future is done when this returns."""
        future: Future[TrialRecord] = Future()
        future.set_result(self._objective(number, task))
        return future


class Worker:
    """A forked process and this side of its socket.

    Attributes
    ----------
    parent : Nursery
        What it was forked off.
    tasks : socket
        Takes points, gives records.
    ended : Future of int
        Its exit code, negative for a signal; None where nobody is left to tell.
    """

    def __init__(self, parent: "Nursery", tasks: socket.socket) -> None:
        self.parent = parent
        self.tasks = tasks
        self.ended: Future[int | None] = Future()

    def end(self, code: int | None) -> None:
        """Note that the process has ended; whoever waits for its record is woken, also where a child of it lives on."""
        self.ended.set_result(code)
        with suppress(OSError):
            self.tasks.shutdown(socket.SHUT_RDWR)


class Nursery:
    """A nursery as its parent sees it: the process in which `lifecycle.adapters.nursery` runs.

    It must be made in a thread that lives as long as it is needed: Linux ends it with that thread.
    """

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        data, pipe = os.pipe()
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from lifecycle.adapters import nursery; "
            f"nursery.main({theirs.fileno()}, {data}, {os.getpid()})"
        )
        try:
            # In a session of its own: Ctrl-C is for the parent, which ends the others in its own time.
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                env={**os.environ, **ONE_THREAD, **NO_THREAD},
                pass_fds=(theirs.fileno(), data),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            theirs.close()
            os.close(data)
        self._data = os.fdopen(pipe, "wb")
        self._lock = threading.Lock()
        self._workers: dict[int, Worker] = {}
        self._forked = nursery.READY
        self.ready, self.gone = threading.Event(), threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def hold(self, objective: Objective) -> None:
        """Give it the objective, which every worker will share."""
        free = free_bytes()
        cells = MOST_CACHED_CELLS if free is None else max(MOST_CACHED_CELLS, int(free * SHARE / CELL_BYTES))
        # Where it has died, whoever asks it for a worker is told.
        with suppress(BrokenPipeError), self._data:
            pickle.dump((objective, cells), self._data, protocol=5)

    def fork(self) -> Worker | None:
        """Ask for a worker; None where the nursery is gone."""
        ours, theirs = socket.socketpair()
        worker = Worker(self, ours)
        with theirs, self._lock:
            if not self.gone.is_set():
                self._forked += 1
                self._workers[self._forked] = worker
                try:
                    socket.send_fds(self._control, [nursery.ASKED.pack(self._forked)], [theirs.fileno()])
                    return worker
                except OSError:
                    del self._workers[self._forked]
        ours.close()
        return None

    def exit_code(self) -> int:
        """Wait until it has ended; negative for a signal."""
        return self._process.wait()

    def close(self) -> None:
        """End it and all its workers, whatever they are doing, and wait until they are gone."""
        with suppress(BrokenPipeError):
            self._data.close()
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        if not self.ready.is_set():
            # It is loading, and would not hear.
            self._process.kill()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # A worker that was forked as the nursery was killed may hold the other end for a moment.
        self._listener.join(SECONDS_TO_END)
        self._control.close()

    def _listen(self) -> None:
        try:
            while True:
                number, code = nursery.ENDED.unpack(nursery.exactly(self._control, nursery.ENDED.size))
                if number == nursery.READY:
                    self.ready.set()
                    continue
                with self._lock:
                    worker = self._workers.pop(number)
                worker.end(code)
        except (EOFError, OSError):
            with self._lock:
                self.gone.set()
                left, self._workers = list(self._workers.values()), {}
            for worker in left:
                worker.end(None)


_early: Nursery | None = None


def start_early() -> None:
    """Start the nursery of the engine to come: it imports its libraries while this process does other things."""
    global _early
    if hasattr(os, "fork") and _early is None:
        _early = Nursery()


def _taken() -> Nursery:
    global _early
    found, _early = _early, None
    return found or Nursery()


class Pool:
    """Worker processes, forked off one nursery that has the objective with its data.

    A worker that dies, and one that is at a trial for longer than it may, fails that trial alone; a fresh one takes its
    place.

    Parameters
    ----------
    objective : Objective
        What to evaluate.
    workers : int
        How many.
    trial_timeout : float
        Seconds that a trial may take; 0 for no limit.
    """

    def __init__(self, objective: Objective, workers: int, trial_timeout: float = 0) -> None:
        self.workers = workers
        self._objective = objective
        self._seconds = trial_timeout
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closing = False

    def __enter__(self) -> "Pool":
        self._nursery = _taken()
        try:
            self._nursery.hold(self._objective)
        except BaseException:
            self._nursery.close()
            raise
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers; of a trial under way nothing is kept."""
        with self._lock:
            self._closing = True
            self._nursery.close()
        for _thread in self._threads:
            self._jobs.put(None)
        for one in self._threads:
            one.join()

    def submit(self, number: int, task: Task) -> "Future[TrialRecord]":
        """Queue a point for the next free worker."""
        future: Future[TrialRecord] = Future()
        self._jobs.put((number, task, future))
        return future

    def _serve(self) -> None:
        """Hand points to one worker at a time, as long as there are any."""
        worker = self._nursery.fork()
        while (job := self._jobs.get()) is not None:
            number, task, future = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                worker, record = self._evaluate(worker, number, task)
            except BaseException as error:  # noqa: BLE001 - the search's thread raises it
                future.set_exception(error)
            else:
                future.set_result(record)
        if worker is not None:
            worker.tasks.close()

    def _evaluate(self, worker: Worker | None, number: int, task: Task) -> tuple[Worker | None, TrialRecord]:
        """Return the record of a trial, and the worker if it still lives."""
        packet = pickle.dumps((number, task, self._seconds))
        started = time.time()
        if worker is not None and worker.ended.done():
            # It died idle, which costs no trial.
            worker.tasks.close()
            worker = None
        worker = worker or self._fresh()
        try:
            nursery.send(worker.tasks, packet)
            data = nursery.receive(worker.tasks)
        except (EOFError, OSError):
            code = worker.ended.result()
            worker.tasks.close()
            if code is None and not worker.parent.ready.is_set() and not self._closing:
                raise unready(worker.parent) from None
            return None, lost(number, task, started, self._reason(code))
        return worker, unpacked(data, number, task, started)

    def _fresh(self) -> Worker:
        """Return a new worker; of a nursery that has died a new one, with the objective anew."""
        with self._lock:
            while (worker := self._nursery.fork()) is None:
                if self._closing:
                    raise InterruptedError("the search has ended")
                if not self._nursery.ready.is_set():
                    raise unready(self._nursery)
                self._nursery.close()
                self._nursery = Nursery()
                self._nursery.hold(self._objective)
            return worker

    def _reason(self, code: int | None) -> str:
        if self._closing:
            return "the search ended before the trial did"
        if code is None:
            return "the process that forks workers died, and its workers with it"
        return nursery.reason(code, self._seconds)


def unready(parent: Nursery) -> Exception:
    """Say why a nursery ended before it could fork a worker."""
    code = parent.exit_code()
    if code == -signal.SIGKILL:
        return UserError(
            "max_rows: the process that holds the training rows for the workers was killed before the first trial, "
            "as when memory runs out; set max_rows, which draws a sample."
        )
    return RuntimeError(f"the process that forks workers ended with {code} before the first trial")


def engine(objective: Objective, parallelism: int, trial_timeout: float = 0) -> Any:
    """Make the engine for a number of trials at once; enter it as a context.

    One trial at a time has a worker process too: what kills it must not kill the search. Where processes cannot fork,
    as on Windows, trials run one after another in this process, without a limit of time.
    """
    return Pool(objective, parallelism, trial_timeout) if hasattr(os, "fork") else InProcess(objective)

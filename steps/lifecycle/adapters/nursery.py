"""The nursery: a process with one thread that holds the objective with its data and forks workers off itself.

A forked worker shares the nursery's memory until one of them writes to it, and nobody writes to a table or a design:
the data stands in memory once, however many workers there are, and a worker that takes a dead one's place is there in
milliseconds. The process that wants the results never forks, since the threads of its libraries may hold locks.

Only the standard library is imported here, so that the nursery is bound to its parent before anything slow begins.
"""

import gc
import os
import pickle
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

ASKED = struct.Struct("!I")
ENDED = struct.Struct("!Ii")
LENGTH = struct.Struct("!Q")
READY = 0
# Three years, the most that every kernel's clock takes.
LONGEST_SECONDS = 1e8
PR_SET_PDEATHSIG = 1
# Read by the kernel when memory runs out: a worker goes before what it was forked from, and before its parent.
FIRST_TO_GO = 500


def send(to: socket.socket, data: bytes) -> None:
    """Send a message, its length before it."""
    to.sendall(LENGTH.pack(len(data)))
    to.sendall(data)


def receive(of: socket.socket) -> bytearray:
    """Receive a message that `send` sent.

    Raises
    ------
    EOFError
        Where the other side is gone before all of it has come.
    """
    [length] = LENGTH.unpack(exactly(of, LENGTH.size))
    return exactly(of, length)


def exactly(of: socket.socket, length: int) -> bytearray:
    """Receive a number of bytes.

    Raises
    ------
    EOFError
        Where the other side is gone before.
    """
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = of.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


def main(control: int, data: int, parent: int) -> None:
    """Load the objective, then fork a worker for each request, until the parent is gone.

    Parameters
    ----------
    control : int
        File descriptor of a socket: requests come, each a number with the worker's end of a socket, and the end of each
        worker goes back, its number and its exit code, negative for a signal.
    data : int
        File descriptor of a pipe: the objective and how many cells it may keep, pickled.
    parent : int
        Process that must live for this one to live.
    """
    _end_with(parent)
    from threadpoolctl import threadpool_limits

    # Whoever unpickles an objective needs it; imported now, it is there when the objective comes.
    import lifecycle.trials  # noqa: F401

    # The environment says so too, for libraries that are loaded later.
    threadpool_limits(1)
    try:
        with os.fdopen(data, "rb") as pipe:
            objective, most_cells = pickle.load(pipe)
    except (EOFError, pickle.UnpicklingError):
        # The parent has gone, or thought better of it.
        return
    # What it raises, each trial meets again, and fails with the reason.
    with suppress(Exception):
        objective.make_ready(most_cells)
    gc.collect()
    # What is there now is never looked at by a worker's collector, which would write to its pages.
    gc.freeze()
    _serve(socket.socket(fileno=control), objective)


def _end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, where it can; elsewhere a closed socket tells."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _serve(control: socket.socket, objective: Any) -> None:
    wake, woken = socket.socketpair()
    wake.setblocking(False)
    woken.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    workers: dict[int, int] = {}
    try:
        control.sendall(ENDED.pack(READY, 0))
        while True:
            ready, _, _ = select.select([control, wake], [], [])
            if wake in ready:
                wake.recv(4096)
                for pid, code in _dead(list(workers)):
                    control.sendall(ENDED.pack(workers.pop(pid), code))
            if control in ready:
                asked, [*given], _, _ = socket.recv_fds(control, ASKED.size, 1)
                if not asked:
                    break
                nursery = os.getpid()
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for one in (control, wake, woken):
                        one.close()
                    _work(socket.socket(fileno=given[0]), objective, nursery)
                _make_group(pid)
                os.close(given[0])
                [workers[pid]] = ASKED.unpack(asked)
    except ConnectionError:
        # The parent is gone, and cannot be told.
        pass
    for pid in workers:
        _kill_group(pid)
    for pid in workers:
        os.waitpid(pid, 0)


def _dead(workers: list[int]) -> list[tuple[int, int]]:
    """Return process and exit code of the workers that have ended, and end whatever they had started."""
    found = []
    for worker in workers:
        pid, status = os.waitpid(worker, os.WNOHANG)
        if pid:
            _kill_group(pid)
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def _make_group(pid: int) -> None:
    """Make a worker's own process group; parent and child both ask, so that none goes on before it is there."""
    with suppress(OSError):
        os.setpgid(pid, pid)


def _kill_group(pid: int) -> None:
    """Kill a worker with all that it has started, which is its process group."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def evaluated_apart(objective: Any, number: int, task: Any, seconds: float) -> tuple[bytearray, int]:
    """Evaluate a point in a process forked off this one for it, and wait for it.

    Parameters
    ----------
    objective : Objective
        What to evaluate; the child has it by being forked.
    number : int
        The trial's place in the search.
    task : Task
        ``model`` and its hyperparameters.
    seconds : float
        How long it may take; 0 for no limit.

    Returns
    -------
    record : bytearray
        Pickled; empty where the child gave none.
    code : int
        The child's exit code, negative for a signal.
    """
    from lifecycle.trials import packed

    ours, theirs = socket.socketpair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _make_group(0)
            _end_with(parent)
            _go_first()
            for number_of_signal in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
                signal.signal(number_of_signal, signal.SIG_DFL)
            send(theirs, timed(packed, objective, number, task, seconds))
            code = 0
        finally:
            os._exit(code)
    theirs.close()
    _make_group(pid)
    data = bytearray()
    with ours:
        # A process that the child has left behind may hold its end open, so its own end is looked for too.
        watched: list[Any] = [ours]
        if hasattr(os, "pidfd_open"):
            watched.append(os.pidfd_open(pid))
        select.select(watched, [], [])
        if len(watched) > 1:
            if ours not in select.select([ours], [], [], 0)[0]:
                _kill_group(pid)
            os.close(watched[1])
        with suppress(EOFError, OSError):
            data = receive(ours)
    # It has nothing more to do, nor has anything that it started.
    _kill_group(pid)
    _, status = os.waitpid(pid, 0)
    return data, os.waitstatus_to_exitcode(status)


def timed(work: Any, objective: Any, number: int, task: Any, seconds: float) -> bytes:
    """Do a trial's work while the kernel's clock runs, which ends this process when the time is over."""
    signal.setitimer(signal.ITIMER_REAL, min(seconds, LONGEST_SECONDS))
    record: bytes = work(objective, number, task)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return record


def reason(code: int, seconds: float) -> str:
    """Say why a worker ended in mid-trial.

    Parameters
    ----------
    code : int
        Its exit code, negative for a signal.
    seconds : float
        How long the trial might take; 0 for no limit.
    """
    if code == -signal.SIGALRM and seconds:
        return timed_out(seconds)
    if code >= 0:
        return f"the worker ended itself (exit code {code})"
    memory = ", as when memory runs out" if code == -signal.SIGKILL else ""
    return f"the worker died (signal {-code}, {signal.Signals(-code).name}{memory})"


def timed_out(seconds: float) -> str:
    """Say that a trial took longer than it may."""
    return f"trial_timeout: the trial was ended after {seconds:g} seconds"


def _work(tasks: socket.socket, objective: Any, nursery: int) -> None:
    """Evaluate points until there are no more; this is all that a worker does."""
    from lifecycle.trials import packed

    code = 1
    try:
        _make_group(0)
        _end_with(nursery)
        _go_first()
        while True:
            number, task, seconds = pickle.loads(receive(tasks))
            send(tasks, timed(packed, objective, number, task, seconds))
    except (EOFError, OSError):
        code = 0
    finally:
        os._exit(code)


def _go_first() -> None:
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(FIRST_TO_GO))

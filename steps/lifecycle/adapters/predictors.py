"""Models at work: in this process, or in several that each hold a copy and predict one batch of rows after another.

A process of its own speaks through its standard input and output, so that it ends when its parent does, however that
ends. One that dies costs time and no rows: its batch is tried once more in a fresh one.
"""

import json
import os
import queue
import struct
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from lifecycle.adapters.local import ONE_THREAD
from lifecycle.adapters.nursery import reason
from lifecycle.adapters.predicting import Predictor, Unfit
from lifecycle.errors import UserError

LENGTH = struct.Struct("!Q")
DONE, REFUSED = b"\x00", b"\x01"
TRIES = 2
SECONDS_TO_END = 5


# The other side.


def main() -> None:
    """Load the model that the first message names, then answer each batch, until there are no more."""
    given, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What libraries print is no answer.
    os.dup2(2, 1)
    pa.set_cpu_count(1)
    predictor: Predictor | None = None
    refusal = ""
    with suppress(EOFError, BrokenPipeError):
        asked = json.loads(receive(given))
        try:
            predictor = Predictor(Path(asked["folder"]), asked["quiet"])
        except Unfit as error:
            refusal = str(error)
        while True:
            message = receive(given)
            try:
                if predictor is None:
                    raise Unfit(refusal)
                [batch] = unpacked(message)
                predicted = pa.record_batch([predictor(batch.to_pandas())], names=["prediction"])
                send(answers, DONE, packed(predicted))
            except Unfit as error:
                send(answers, REFUSED, str(error).encode())


def packed(batch: pa.RecordBatch) -> pa.Buffer:
    """Write a batch with its schema as bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue()


def unpacked(data: bytes) -> list[pa.RecordBatch]:
    """Read what `packed` wrote."""
    with pa.ipc.open_stream(data) as stream:
        return list(stream)


def send(to: IO[bytes], *parts: Any) -> None:
    """Send a message, its length before it."""
    views = [memoryview(part) for part in parts]
    to.write(LENGTH.pack(sum(view.nbytes for view in views)))
    for view in views:
        to.write(view)
    to.flush()


def receive(of: IO[bytes]) -> bytes:
    """Receive a message that `send` sent.

    Raises
    ------
    EOFError
        Where the other side is gone before all of it has come.
    """
    return exactly(of, LENGTH.unpack(exactly(of, LENGTH.size))[0])


def exactly(of: IO[bytes], length: int) -> bytes:
    """Receive a number of bytes.

    Raises
    ------
    EOFError
        Where the other side is gone before.
    """
    data = of.read(length)
    if len(data) < length:
        raise EOFError
    return data


# This side.


class Process:
    """A python that holds a model.

    Parameters
    ----------
    folder : Path
        Where the model lies.
    quiet : bool
        Whether what mlflow thinks of the environment is left unsaid.
    """

    def __init__(self, folder: Path, quiet: bool) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from lifecycle.adapters import predictors; predictors.main()"
        # In a session of its own: Ctrl-C is for the parent, which ends the others in its own time.
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._given, self._answers = self._process.stdin, self._process.stdout
        with suppress(BrokenPipeError):
            send(self._given, json.dumps({"folder": str(folder), "quiet": quiet}).encode())

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def predict(self, batch: pa.RecordBatch) -> pa.Array:
        """Have a batch predicted.

        Raises
        ------
        Unfit
            As the model says.
        EOFError, OSError
            Where the process has died.
        """
        send(self._given, packed(batch))
        answer = receive(self._answers)
        if answer[:1] == REFUSED:
            raise Unfit(answer[1:].decode())
        return unpacked(answer[1:])[0].column(0)

    def kill(self) -> None:
        """End it whatever it is at; whoever waits for its answer is told that it died."""
        self._process.kill()

    def end(self) -> int:
        """Let it end, and return its exit code, negative for a signal."""
        with suppress(OSError):
            self._given.close()
        try:
            code = self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._answers.close()
        return code


class InProcess:
    """The model in this process, for a few rows: starting another python takes longer than they do."""

    workers = 1

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> "InProcess":
        self._predictor = Predictor(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing to be done."""

    def submit(self, batch: pa.RecordBatch) -> "Future[pa.Array]":
        """Predict a batch now; the future is done when this returns."""
        future: Future[pa.Array] = Future()
        future.set_result(self._predictor(batch.to_pandas()))
        return future


class Pool:
    """Several processes, each with its own copy of the model and one thread of BLAS and OpenMP.

    Parameters
    ----------
    folder : Path
        Where the model lies.
    workers : int
        Their number.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self.workers = workers
        self._folder = folder
        self._jobs: queue.SimpleQueue[tuple[pa.RecordBatch, Future[pa.Array]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._processes: set[Process] = set()
        self._closing = False

    def __enter__(self) -> "Pool":
        first = [self._started(quiet=number > 0) for number in range(self.workers)]
        self._threads = [threading.Thread(target=self._serve, args=[process], daemon=True) for process in first]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End all processes; where something went wrong at once, whatever they are at."""
        with self._lock:
            self._closing = True
            if kind is not None:
                for process in self._processes:
                    process.kill()
        for _thread in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    @property
    def pids(self) -> list[int]:
        """The numbers of the processes that are there now."""
        with self._lock:
            return [process.pid for process in self._processes]

    def submit(self, batch: pa.RecordBatch) -> "Future[pa.Array]":
        """Queue a batch for the next free process."""
        future: Future[pa.Array] = Future()
        self._jobs.put((batch, future))
        return future

    def _serve(self, first: Process) -> None:
        """Hand batches to one process, as long as there are any; a dead one is replaced."""
        process: Process | None = first
        while (job := self._jobs.get()) is not None:
            batch, future = job
            try:
                for left in reversed(range(TRIES)):
                    process = process or self._started(quiet=True)
                    try:
                        future.set_result(process.predict(batch))
                        break
                    except (EOFError, OSError):
                        code = self._ended(process)
                        process = None
                        if not left or self._closing:
                            raise died(code) from None
            except BaseException as error:  # noqa: BLE001 - whoever waits for the batch raises it
                future.set_exception(error)
        if process is not None:
            self._ended(process)

    def _started(self, quiet: bool) -> Process:
        with self._lock:
            if self._closing:
                raise InterruptedError("the scoring has ended")
            process = Process(self._folder, quiet)
            self._processes.add(process)
        return process

    def _ended(self, process: Process) -> int:
        code = process.end()
        with self._lock:
            self._processes.discard(process)
        return code


def died(code: int) -> UserError:
    """Say that a process died over a batch, and over the same batch again."""
    return UserError(
        f"parallelism: the same rows ended two processes, of the second {reason(code, 0)}; nothing is written, so give "
        "fewer processes at once, or look at the model."
    )


def engine(folder: Path, workers: int, one_batch: bool) -> InProcess | Pool:
    """Make what predicts; enter it as a context."""
    return InProcess(folder) if one_batch else Pool(folder, workers)

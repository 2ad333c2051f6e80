"""A tracking store that goes away: waited for, then what it should have got is kept in a file.

Every call of the store's client passes through `Patient`, every record of a run through `Outbox`, so that the rest
of the code knows nothing of it.
"""

import base64
import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lifecycle.errors import StoreAwayError, UserError

BOUND = "LIFECYCLE_STORE_SECONDS"
BOUND_SECONDS = 120.0
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 4.0
# Of each run that is made; by it a run is found whose making was not answered.
TOKEN = "lifecycle.token"
# What a second call would do a second time, or refuse. mlflow's own short patience is all that these get.
ONCE = frozenset({"create_registered_model", "create_model_version", "create_experiment", "create_logged_model"})
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
BUSY = ("locked", "busy", "unable to open", "disk i/o")

Write = dict[str, Any]
_MAKING = threading.Lock()


def is_away(error: BaseException) -> bool:
    """Tell a store that does not answer, for now, from one that refuses.

    Parameters
    ----------
    error : BaseException
        What a call of the store has raised.

    Returns
    -------
    bool
        True for a broken or refused connection, a server's status of 500 and above, a lost or locked database.
    """
    from mlflow.exceptions import MlflowException, RestException

    if isinstance(error, MlflowException):
        inner = error.__cause__ or error.__context__
        # A server's own fault may be its database's absence; a fault within this process is ours.
        lowest = 500 if isinstance(error, RestException) else 501
        return bool(error.get_http_status_code() >= lowest or (inner is not None and is_away(inner)))
    import requests
    import sqlalchemy.exc
    import urllib3.exceptions

    if isinstance(error, sqlalchemy.exc.DBAPIError):
        inner = error.orig
        if isinstance(inner, sqlite3.Error):
            return is_away(inner)
        return error.connection_invalidated or isinstance(
            error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
        )
    if isinstance(error, sqlite3.OperationalError):
        return any(word in str(error).lower() for word in BUSY)
    return isinstance(
        error,
        (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.RetryError,
            requests.exceptions.ChunkedEncodingError,
            urllib3.exceptions.HTTPError,
            ConnectionError,
            sqlalchemy.exc.TimeoutError,
        ),
    )


class Waiting:
    """How long a store is waited for, and whether it has been given up.

    Parameters
    ----------
    store : str
        Its address as it may be shown.
    """

    def __init__(self, store: str) -> None:
        self.store = store
        self.given_up = False
        self._file: Path | None = None
        self._lock = threading.Lock()

    def hold(self, call: Callable[[], Any]) -> Any:
        """Call until the store answers.

        Parameters
        ----------
        call : callable
            May be called again after any failure that `is_away` tells.

        Returns
        -------
        object
            What the call returns.

        Raises
        ------
        StoreAwayError
            Where it does not answer within the bound, or has been given up before.
        """
        if self.given_up:
            raise self.error()
        pause, told, began = FIRST_PAUSE, False, time.monotonic()
        while True:
            try:
                answer = call()
            except Exception as error:
                if not is_away(error):
                    raise
                waited = time.monotonic() - began
                if waited >= bound():
                    raise self.give_up() from error
                if not told:
                    print(
                        f"The tracking store {self.store} does not answer; it is waited for, {bound():.0f} s at most.",
                        file=sys.stderr,
                    )
                    told = True
                time.sleep(min(pause, max(bound() - waited, 0)))
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                if told:
                    print(f"It answers again, after {time.monotonic() - began:.0f} s.", file=sys.stderr)
                return answer

    def give_up(self) -> StoreAwayError:
        """Wait no more, for any call, and return what to raise."""
        self.given_up = True
        # Nobody is to wait for it again, mlflow's own closing of the run neither.
        os.environ[RETRIES] = "0"
        return self.error()

    def error(self) -> StoreAwayError:
        """Say that the store stays away, where the records are, and how they are sent."""
        return StoreAwayError(
            f"MLFLOW_TRACKING_URI: the tracking store {self.store} has not answered for {bound():.0f} s; what it "
            f"should have got is kept, and `mlflow run . -e upload -P file={self.file}` sends it when it answers again."
        )

    @property
    def file(self) -> Path:
        """The file of what could not be sent: in the current folder, or where that cannot be written, elsewhere."""
        with self._lock:
            if self._file is None:
                folder = Path.cwd() if os.access(Path.cwd(), os.W_OK) else Path(tempfile.gettempdir())
                self._file = folder / f"lifecycle-unsent-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.jsonl"
            return self._file

    def keep(self, write: Write) -> None:
        """Append a write to the file."""
        line = json.dumps(lasting(write), ensure_ascii=False, default=str)
        file = self.file
        with self._lock, file.open("a", encoding="utf-8") as out:
            out.write(f"{line}\n")
            out.flush()
            os.fsync(out.fileno())


def bound() -> float:
    """Return for how many seconds a store is waited for."""
    return float(os.environ.get(BOUND) or BOUND_SECONDS)


class Patient:
    """The client of a store, each of whose calls waits for the store.

    Parameters
    ----------
    client : MlflowClient
        Whose methods are called.
    waiting : Waiting
        How long.
    """

    def __init__(self, client: Any, waiting: Waiting) -> None:
        self.impatient, self.waiting = client, waiting

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.impatient, name)
        if name.startswith("_") or name in ONCE or not callable(method):
            return method

        def called(*args: Any, **named: Any) -> Any:
            return self.waiting.hold(lambda: method(*args, **named))

        # Looked up once: a search makes thousands of calls of the same few.
        setattr(self, name, called)
        return called

    def create_run(
        self, experiment_id: str, start_time: int | None = None, tags: Mapping[str, str] | None = None, **named: Any
    ) -> Any:
        """Make a run once, also where the store went away between making it and saying so.

        Returns
        -------
        Run
            The new one; its tag ``lifecycle.token`` is its own.
        """
        own = {TOKEN: uuid.uuid4().hex} | dict(tags or {})
        tried = False

        def made() -> Any:
            nonlocal tried
            if tried:
                found = self.impatient.search_runs([experiment_id], f"tags.`{TOKEN}` = '{own[TOKEN]}'", max_results=1)
                if found:
                    return found[0]
            tried = True
            with _asked_once():
                return self.impatient.create_run(experiment_id, start_time=start_time, tags=own, **named)

        return self.waiting.hold(made)


@contextmanager
def _asked_once() -> Iterator[None]:
    """Keep mlflow from sending a request again by itself: a run would be made a second time, and stay open for ever.

    mlflow reads the variable with each request, and has no other way to say it. A call beside this one that is cut
    short is waited for by `Waiting.hold`.
    """
    with _MAKING:
        before = os.environ.get(RETRIES)
        os.environ[RETRIES] = "0"
        try:
            yield
        finally:
            if before is None:
                del os.environ[RETRIES]
            else:
                os.environ[RETRIES] = before


class Outbox:
    """What runs are to bear, sent to the store, or kept in a file once the store has been given up.

    Each write is a plain dict that JSON can hold, and may be sent twice without harm: metrics bear their time, and
    the store keeps one of equal name, time, step and value; parameters and tags are what they are; files and ends
    are overwritten by the same.

    Parameters
    ----------
    client : Patient
        Of the store.
    """

    def __init__(self, client: Patient) -> None:
        self.client, self.waiting = client, client.waiting

    def put(self, *writes: Write) -> None:
        """Send writes in order.

        Parameters
        ----------
        *writes : dict
            Made by `batch`, `end` and `file`.

        Raises
        ------
        StoreAwayError
            Where the store stays away, from the first write that it misses; that one and those of later calls are
            kept in the file, and later calls raise nothing: whoever ends a run need not know.
        """
        for place, write in enumerate(writes):
            before = self.waiting.given_up
            try:
                if not before:
                    send(self.client, write)
                    continue
            except StoreAwayError:
                for rest in writes[place:]:
                    self.waiting.keep(rest)
                raise
            self.waiting.keep(write)


def batch(
    run_id: str, metrics: Mapping[str, float], params: Mapping[str, str], tags: Mapping[str, str], now: int = 0
) -> Write:
    """Write down metrics (all at one time, milliseconds since 1970), parameters and tags of a run."""
    return {
        "do": "batch",
        "run_id": run_id,
        "time": now or int(time.time() * 1000),
        "metrics": dict(metrics),
        "params": dict(params),
        "tags": dict(tags),
    }


def end(run_id: str, status: str) -> Write:
    """Write down that a run ends now."""
    return {"do": "end", "run_id": run_id, "time": int(time.time() * 1000), "status": status}


def file(run_id: str, path: Path, folder: str = "") -> Write:
    """Write down an artifact, which lies in a file for as long as it takes to send it."""
    return {"do": "file", "run_id": run_id, "folder": folder, "name": path.name, "path": str(path)}


def lasting(write: Write) -> Write:
    """Return a write with an artifact's bytes instead of its place, which will be gone."""
    if "path" not in write:
        return write
    content = base64.b64encode(Path(write["path"]).read_bytes()).decode("ascii")
    return {name: value for name, value in write.items() if name != "path"} | {"content": content}


def send(client: Any, write: Write) -> None:
    """Send one write to the store.

    Parameters
    ----------
    client : MlflowClient or Patient
        Of the store.
    write : dict
        As kept.
    """
    from mlflow.entities import Metric, Param, RunTag

    run_id = write["run_id"]
    if write["do"] == "batch":
        metrics = [Metric(name, float(value), write["time"], 0) for name, value in write["metrics"].items()]
        params = [Param(name, value) for name, value in write["params"].items()]
        client.log_batch(run_id, metrics, params, [RunTag(name, value) for name, value in write["tags"].items()])
    elif write["do"] == "end":
        client.set_terminated(run_id, write["status"], write["time"])
    elif "path" in write:
        client.log_artifact(run_id, write["path"], write["folder"] or None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / write["name"]
            path.write_bytes(base64.b64decode(write["content"]))
            client.log_artifact(run_id, str(path), write["folder"] or None)


def kept(path: Path) -> Iterator[Write]:
    """Read the writes that a file keeps.

    Parameters
    ----------
    path : Path
        As `Waiting.error` has named it.

    Yields
    ------
    dict
        In order. A last line that was cut off by the end of its process is left out.

    Raises
    ------
    UserError
        Where there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise UserError(f"file: there is no {str(path)!r}; give the file that the broken run has named.")
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            write = json.loads(line) if line else None
            if write is not None and (write["do"] not in ("batch", "end", "file") or not write["run_id"]):
                raise ValueError(line)
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):
                return
            raise UserError(
                f"file: line {number} of {str(path)!r} is no record of a run; give the file that the broken run "
                "has named, as it is."
            ) from error
        if write is not None:
            yield write

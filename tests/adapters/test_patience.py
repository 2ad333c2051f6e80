"""A store that goes away: what is waited for, what is refused at once, what is kept, and that nothing comes twice."""

import json
import os
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import sqlalchemy.exc
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException

from lifecycle.adapters import patience, tracking
from lifecycle.errors import StoreAwayError, UserError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv(patience.BOUND, "0.05")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.chdir(tmp_path)


def wrapped(inner: Exception, message: str = "failed") -> MlflowException:
    """As mlflow raises: its own error while handling another's."""
    try:
        try:
            raise inner
        except Exception:
            raise MlflowException(message)  # noqa: B904
    except MlflowException as error:
        return error


def rest(code: str) -> RestException:
    return RestException({"error_code": code, "message": "no"})


LOCKED = sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (wrapped(requests.ConnectionError("refused")), True),
        (wrapped(requests.Timeout("slow")), True),
        (wrapped(LOCKED), True),
        (LOCKED, True),
        (sqlite3.OperationalError("database is locked"), True),
        (rest("TEMPORARILY_UNAVAILABLE"), True),
        (rest("INTERNAL_ERROR"), True),
        (rest("INVALID_PARAMETER_VALUE"), False),
        (rest("PERMISSION_DENIED"), False),
        (rest("RESOURCE_DOES_NOT_EXIST"), False),
        (MlflowException("a fault of ours"), False),
        (wrapped(ValueError("no number")), False),
        (sqlalchemy.exc.IntegrityError("INSERT", {}, sqlite3.IntegrityError("twice")), False),
        (sqlite3.OperationalError("attempt to write a readonly database"), False),
        (ConnectionRefusedError(), True),
        (KeyError("x"), False),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_away_is_told_from_refusal(error: Exception, away: bool) -> None:
    assert patience.is_away(error) == away


def test_a_store_that_comes_back_is_waited_for_and_it_is_said_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(patience.BOUND, "60")
    failures = [ConnectionRefusedError()] * 4

    def call() -> str:
        if failures:
            raise failures.pop()
        return "answer"

    assert patience.Waiting("here").hold(call) == "answer"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0] == "The tracking store here does not answer; it is waited for, 60 s at most."
    assert said[1].startswith("It answers again, after ")


def test_a_refusal_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise rest("PERMISSION_DENIED")

    with pytest.raises(RestException, match="PERMISSION_DENIED"):
        patience.Waiting("here").hold(call)
    assert len(calls) == 1 and capsys.readouterr().err == ""


class Store:
    """mlflow's client of a real store, which can be cut off before or after a call takes effect."""

    def __init__(self, folder: Path) -> None:
        self.client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        self.cut: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def called(*args: Any, **named: Any) -> Any:
            when = self.cut.pop(0) if self.cut else ""
            if when == "before":
                raise ConnectionRefusedError()
            answer = method(*args, **named)
            if when == "after":
                raise ConnectionResetError()
            return answer

        return called


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def outbox(store: Store) -> patience.Outbox:
    return patience.Outbox(patience.Patient(store, patience.Waiting("here")))


def test_a_run_whose_making_was_not_answered_is_made_once(
    store: Store, outbox: patience.Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(patience.BOUND, "60")
    store.cut = ["after", "before", "before"]
    run = outbox.client.create_run("0", tags={"lifecycle.step": "trial"}, run_name="000")
    [found] = store.client.search_runs(["0"])
    assert run.info.run_id == found.info.run_id
    store.cut = ["before", "before"]
    second = outbox.client.create_run("0", tags={}, run_name="001")
    assert {one.info.run_id for one in store.client.search_runs(["0"])} == {run.info.run_id, second.info.run_id}


def test_a_server_that_makes_a_run_and_is_gone_is_not_asked_to_make_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mlflow by itself sends every request again that was not answered, four times as we let it."""
    made: list[dict[str, Any]] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("runs/create"):
                made.append({"info": {"run_id": f"{len(made):032}", "status": "RUNNING"}, "data": {}})
                self.close_connection = True
                return
            assert asked["filter"].startswith("tags.`lifecycle.token` = ")
            answer = json.dumps({"runs": made}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        client = patience.Patient(MlflowClient(f"http://127.0.0.1:{server.server_port}"), patience.Waiting("here"))
        run = client.create_run("0", tags={}, run_name="000")
        server.shutdown()
    assert run.info.run_id == made[0]["info"]["run_id"] and len(made) == 1
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "4"


def test_a_batch_that_was_not_answered_stands_once(
    store: Store, outbox: patience.Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(patience.BOUND, "60")
    run_id = store.client.create_run("0").info.run_id
    store.cut = ["after", "after", "before"]
    outbox.put(
        patience.batch(run_id, {"cv_f1": 0.5, "b": 1.0}, {"C": "1.5"}, {"t": "v"}), patience.end(run_id, "FINISHED")
    )
    run = store.client.get_run(run_id)
    assert run.info.status == "FINISHED" and run.data.params == {"C": "1.5"} and run.data.tags["t"] == "v"
    assert [metric.value for metric in store.client.get_metric_history(run_id, "cv_f1")] == [0.5]


def test_what_a_store_misses_is_kept_and_uploaded_once_however_often(
    store: Store, outbox: patience.Outbox, tmp_path: Path
) -> None:
    run_id = store.client.create_run("0").info.run_id
    note = tmp_path / "note.txt"
    note.write_bytes(b"\xff\x00 kept")
    store.cut = ["before"] * 10_000
    with pytest.raises(
        StoreAwayError, match=r"^MLFLOW_TRACKING_URI: the tracking store here has not .* -P file="
    ) as said:
        outbox.put(patience.batch(run_id, {"cv_f1": 0.5}, {"C": "1.5"}, {}), patience.file(run_id, note, "notes"))
    # Whoever ends the run need not know.
    outbox.put(patience.end(run_id, "FAILED"))
    with pytest.raises(StoreAwayError, match="has not answered"):
        outbox.client.create_run("0")
    note.unlink()
    [file] = tmp_path.glob("lifecycle-unsent-*.jsonl")
    assert f"file={file}`" in str(said.value)
    store.cut = []
    for _ in range(2):
        for write in patience.kept(file):
            patience.send(store, write)
    run = store.client.get_run(run_id)
    assert run.info.status == "FAILED" and run.data.metrics == {"cv_f1": 0.5} and run.data.params == {"C": "1.5"}
    assert len(store.client.get_metric_history(run_id, "cv_f1")) == 1
    copy = store.client.download_artifacts(run_id, "notes/note.txt", str(tmp_path))
    assert Path(copy).read_bytes() == b"\xff\x00 kept"
    assert [write["do"] for write in patience.kept(file)] == ["batch", "file", "end"]


def test_a_file_whose_last_line_was_cut_off_is_read(tmp_path: Path) -> None:
    file = tmp_path / "kept.jsonl"
    whole = json.dumps(patience.end("a" * 32, "KILLED"))
    file.write_text(f'{whole}\n{{"do": "ba')
    assert [write["status"] for write in patience.kept(file)] == ["KILLED"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, r"there is no '.*'; give the file that the broken run has named"),
        ("a,b\n1,2\n", r"line 1 of '.*' is no record of a run; give the file .*"),
        ('{"do": "drop", "run_id": "x"}\n', r"line 1 of '.*' is no record of a run; .*"),
        ("[]\n", r"line 1 of '.*' is no record of a run; .*"),
    ],
)
def test_what_is_no_such_file_is_told(tmp_path: Path, text: str | None, sentence: str) -> None:
    file = tmp_path / "some.jsonl"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=rf"^file: {sentence}\.$"):
        list(patience.kept(file))


def test_what_a_second_call_would_do_twice_is_called_once() -> None:
    def create_model_version() -> None:
        raise ConnectionResetError("gone")

    client = patience.Patient(SimpleNamespace(create_model_version=create_model_version), patience.Waiting("here"))
    with pytest.raises(ConnectionResetError, match="gone"):
        client.create_model_version()


def test_a_store_that_goes_away_during_an_upload_leaves_the_file_that_was_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def log_batch(*_: object) -> None:
        raise requests.ConnectionError("refused")

    client = patience.Patient(SimpleNamespace(log_batch=log_batch), patience.Waiting("here"))
    monkeypatch.setattr(tracking, "outbox", lambda: patience.Outbox(client))
    file = tmp_path / "lifecycle-unsent-1.jsonl"
    with pytest.raises(
        UserError, match=rf"^file: the tracking store here has .* still in {file}, so send it once more"
    ):
        tracking.send_kept([patience.batch("a" * 32, {}, {}, {"t": "v"})], file)
    assert list(tmp_path.iterdir()) == []

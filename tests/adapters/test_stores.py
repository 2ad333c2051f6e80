"""Tracking stores for real on loopback: made by many at once, written to by many, gone and back, behind a password."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lifecycle.adapters import stores

STEPS = Path(__file__).parents[2] / "steps"
CONNECT = "from lifecycle.adapters import tracking; tracking.connect(); print(tracking.start('prepare').run_id)"
MANY = 8
TRIALS = 8


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("postgresql+psycopg://me:s3cr3t@host:5/runs?password=s3cr3t", "postgresql+psycopg://host:5/runs"),
        ("http://me:s3cr3t@host:5000", "http://host:5000"),
        ("postgresql://me:p/w@d@host/runs", "postgresql://host/runs"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    assert stores.shown(uri) == shown


def test_only_sqlite_has_a_file() -> None:
    assert stores.file_of("sqlite:////home/me/mlflow.db") == Path("/home/me/mlflow.db")
    for uri in ("sqlite://", "sqlite:///:memory:", "postgresql://host/db", "http://127.0.0.1:5000", "databricks"):
        assert stores.file_of(uri) is None
        stores.settle(uri)


def test_a_store_that_stands_is_not_locked(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript("CREATE TABLE experiments (experiment_id); INSERT INTO experiments VALUES (0)")
    with closing(sqlite3.connect(tmp_path / "mlflow.db.lock", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with stores.making(f"sqlite:///{path}"):
            pass
    with closing(sqlite3.connect(path)) as made:
        assert made.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def together(store: Any, commands: list[list[str]], **variables: str) -> list[tuple[int, str]]:
    """Run commands at the same time; return each one's exit code and all that it wrote."""
    running = [
        subprocess.Popen(
            command,
            cwd=store.folder,
            env=store.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    said = [one.communicate(timeout=500)[0] for one in running]
    return [(one.returncode, text) for one, text in zip(running, said, strict=True)]


@contextmanager
def database(postgres: Any, dialect: str = "postgresql") -> Iterator[tuple[str, dict[str, str]]]:
    """Give the address of an empty database, and the variable that holds the password."""
    name = f"runs_{uuid.uuid4().hex[:8]}"
    postgres.execute(f"CREATE DATABASE {name}")
    yield f"{dialect}://{postgres.user}@127.0.0.1:{postgres.port}/{name}", {"PGPASSWORD": postgres.password}
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, new_store: Callable[[], Any]) -> Iterator[tuple[Any, str, dict[str, str]]]:
    """A folder, and the address of a store in it or of a database that nobody has opened."""
    store = new_store()
    if request.param == "sqlite":
        yield store, store.uri, {}
    else:
        with database(request.getfixturevalue("postgres")) as (uri, secret):
            yield store, uri, secret


def reader(uri: str, secret: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    from mlflow import MlflowClient

    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    return MlflowClient(uri)


@pytest.mark.whole
def test_a_store_is_made_once_by_many_at_once(empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, uri, secret = empty
    here = {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(STEPS)} | secret
    ended = together(store, [[sys.executable, "-c", CONNECT]] * MANY, **here)
    assert [code for code, _ in ended] == [0] * MANY, ended
    ids = {said.strip() for _, said in ended}
    assert all(len(one) == 32 for one in ids), ended
    monkeypatch.chdir(store.folder)
    found = reader(uri, secret, monkeypatch).search_runs(["0"])
    assert {run.info.run_id for run in found} == ids and len(ids) == MANY
    assert not (store.folder / "mlflow.db.lock").exists()


@pytest.mark.whole
def test_searches_at_once_lose_nothing_and_say_nothing(empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, uri, secret = empty
    here = {"MLFLOW_TRACKING_URI": uri} | secret
    store.script("prepare", **here).well()
    options = ["--max_evals", str(TRIALS), "--parallelism", "1", "--max_rows", "200", "--fresh", "true"]
    ended = together(store, [[sys.executable, str(STEPS / "tune_lr.py"), *options]] * MANY, **here)
    for code, said in ended:
        assert code == 0, said
        for word in ("Traceback", "locked", "Error", "does not answer"):
            assert word not in said
    monkeypatch.chdir(store.folder)
    client = reader(uri, secret, monkeypatch)
    searches = client.search_runs(["0"], "tags.`lifecycle.step` = 'tune_lr'")
    assert [run.info.status for run in searches] == ["FINISHED"] * MANY
    for search in searches:
        trials = client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{search.info.run_id}'")
        assert len(trials) == TRIALS
        for trial in trials:
            assert trial.info.status == "FINISHED" and trial.data.params["model"] == "logreg"
            assert {"cv_f1", "cv_f1_std", "fit_seconds", "score_seconds"} <= set(trial.data.metrics)


@pytest.mark.whole
def test_both_names_of_the_postgresql_driver_serve_and_a_wrong_password_is_told(
    postgres: Any, new_store: Callable[[], Any]
) -> None:
    store = new_store()
    with database(postgres, "postgresql+psycopg") as (uri, secret):
        here = {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(STEPS)}
        store.run(sys.executable, "-c", CONNECT, **here, **secret).well()
        wrong = store.script("prepare", **here, PGPASSWORD="wr0ng-w0rd")
    assert wrong.code == 2 and len(wrong.errors) == 1
    assert "MLFLOW_TRACKING_URI: the tracking store 'postgresql+psycopg://127.0.0.1:" in wrong.errors[0]
    assert "password authentication failed" in wrong.errors[0] and "PGPASSWORD" in wrong.errors[0]
    assert "Traceback" not in wrong.err and "wr0ng-w0rd" not in wrong.out + wrong.err


@pytest.fixture
def server(
    new_store: Callable[[], Any], free_port: Callable[[], int], serving: Callable[..., Any]
) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """A folder, an address, and what starts `mlflow server` there as often as one likes."""
    store, port = new_store(), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store.uri, "--artifacts-destination", str(store.folder / "artifacts")]

    def started(*options: str, **variables: str) -> Any:
        # The server's own jobs are for what is not here, and half of what it takes to start.
        own = store.environment(
            MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", **variables
        )
        return serving([*command, *options], port, 120, cwd=store.folder, env=own, stderr=subprocess.DEVNULL)

    yield store, f"http://127.0.0.1:{port}", started


@pytest.mark.whole
def test_a_server_behind_a_password_serves_and_refuses_in_one_sentence(server: Any) -> None:
    pytest.importorskip("flask_wtf")
    store, uri, started = server
    auth = store.folder / "auth.ini"
    auth.write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = keeper\nadmin_password = l0ng-s3cr3t-w0rd\n"
        f"database_uri = sqlite:///{store.folder}/auth.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    own = {"MLFLOW_AUTH_CONFIG_PATH": str(auth), "MLFLOW_FLASK_SERVER_SECRET_KEY": "k3y"}
    with started("--app-name", "basic-auth", **own):
        here = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_USERNAME": "keeper"}
        options = ["--max_evals", "2", "--parallelism", "1"]
        done = store.script("tune_lr", *options, **here, MLFLOW_TRACKING_PASSWORD="l0ng-s3cr3t-w0rd").well()
        assert "Traceback" not in done.err and "View run" not in done.out
        for variables in ({**here, "MLFLOW_TRACKING_PASSWORD": "wr0ng-w0rd"}, {"MLFLOW_TRACKING_URI": uri}):
            wrong = store.script("tune_lr", *options, **variables)
            assert wrong.code == 2 and len(wrong.err.splitlines()) == 1, wrong.err
            assert wrong.errors[0].startswith(f"Error: MLFLOW_TRACKING_URI: the tracking store '{uri}' refuses: ")
            assert "MLFLOW_TRACKING_PASSWORD" in wrong.errors[0] and "wr0ng-w0rd" not in wrong.errors[0]
    [search] = store.steps("tune_lr")
    trials = [run for run in store.children(search.info.run_id) if run.data.tags["lifecycle.step"] == "trial"]
    assert [trial.info.status for trial in trials] == ["FINISHED"] * 2


def searching(store: Any, uri: str, trials: int, **variables: str) -> Any:
    """Start a search, and return it when its store has some of its trials."""
    options = ["--max_evals", str(trials), "--parallelism", "1", "--folds", "10"]
    search = subprocess.Popen(
        [sys.executable, str(STEPS / "tune_lr.py"), *options],
        cwd=store.folder,
        env=store.environment(MLFLOW_TRACKING_URI=uri, **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 240
    while time.monotonic() < until and search.poll() is None:
        if sum(run.data.tags.get("lifecycle.step") == "trial" for run in store.runs()) >= 4:
            return search
        time.sleep(0.2)
    search.kill()
    raise AssertionError(f"no trials came: {search.communicate()}")


@pytest.mark.whole
def test_a_store_that_goes_away_for_twenty_seconds_loses_nothing(server: Any) -> None:
    store, uri, started = server
    with ExitStack() as up:
        up.enter_context(started())
        search = searching(store, uri, 60, MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
        up.close()
        time.sleep(20)
        up.enter_context(started())
        out, err = search.communicate(timeout=300)
    assert search.returncode == 0, err
    assert err.count(f"The tracking store {uri} does not answer; it is waited for, 120 s at most.") == 1
    assert "It answers again" in err and "Traceback" not in err
    [found] = store.steps("tune_lr")
    trials = [run for run in store.children(found.info.run_id) if run.data.tags["lifecycle.step"] == "trial"]
    assert len(trials) == 60 == found.data.metrics["trials"]
    assert {run.info.status for run in trials} == {"FINISHED"}
    for run in trials:
        assert len(store.client.get_metric_history(run.info.run_id, "fit_seconds")) == 1


@pytest.mark.whole
def test_a_store_that_stays_away_ends_the_run_and_gets_its_records_later(server: Any) -> None:
    store, uri, started = server
    short = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "LIFECYCLE_STORE_SECONDS": "2"}
    with started():
        search = searching(store, uri, 60, **short)
    out, err = search.communicate(timeout=120)
    assert search.returncode == 2 and "Traceback" not in err, err
    [file] = store.folder.glob("lifecycle-unsent-*.jsonl")
    sentences = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(sentences) == 1 and f"-P file={file}`" in sentences[0]
    [found] = store.steps("tune_lr")
    assert found.info.status == "RUNNING"
    with started():
        for _ in range(2):
            done = store.script("upload", "--file", file, MLFLOW_TRACKING_URI=uri).well()
            assert "records" in done.out
    [found] = store.steps("tune_lr")
    assert found.info.status == "FAILED" and "has not answered for 2 s" in found.data.tags["lifecycle.error"]
    trials = [run for run in store.children(found.info.run_id) if run.data.tags["lifecycle.step"] == "trial"]
    assert len(trials) >= 4 and {run.info.status for run in trials} <= {"FINISHED", "KILLED"}
    for run in trials:
        once = store.client.get_metric_history(run.info.run_id, "fit_seconds")
        assert len(once) == (run.info.status == "FINISHED")


@pytest.mark.whole
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_of_a_store_whose_making_was_broken_off_nothing_is_left(new_store: Callable[[], Any]) -> None:
    """Killed between two migrations; mlflow cannot go on with what it has half made."""
    store = new_store()
    code = (
        "import os, signal\n"
        "import alembic.operations.base as base\n"
        "made = base.BatchOperations.__init__\n"
        "def broken(self, *given, **named):\n"
        "    made(self, *given, **named)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "base.BatchOperations.__init__ = broken\n"
    )
    here = {"MLFLOW_TRACKING_URI": store.uri, "PYTHONPATH": str(STEPS)}
    assert store.run(sys.executable, "-c", code + CONNECT, **here).code == -9
    assert not (store.folder / "mlflow.db").exists()
    store.run(sys.executable, "-c", CONNECT, **here, timeout=60).well()
    assert sorted(file.name for file in store.folder.glob("mlflow.db*") if file.suffix == ".new") == []


@pytest.mark.whole
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_process_that_is_killed_while_it_makes_a_store_holds_nobody_up(new_store: Callable[[], Any]) -> None:
    store = new_store()
    code = (
        "import os, signal, sys; from lifecycle.adapters import stores\n"
        "with stores.making(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = store.run(sys.executable, "-c", code, store.uri, PYTHONPATH=str(STEPS))
    assert killed.code == -9 and (store.folder / "mlflow.db.lock").exists()
    here = {"MLFLOW_TRACKING_URI": store.uri, "PYTHONPATH": str(STEPS)}
    store.run(sys.executable, "-c", CONNECT, **here, timeout=60).well()


class Elsewhere(BaseHTTPRequestHandler):
    """A server that is well, and no tracking store."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


def test_a_store_that_refuses_is_told_without_the_password_in_its_address(new_store: Callable[[], Any]) -> None:
    """Also where mlflow's own words hold the address; and such an address is asked after its health."""
    store = new_store()
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for scheme, place in (("http", f"127.0.0.1:{server.server_port}"), ("oracle", "127.0.0.1/runs")):
            done = store.script("clean", MLFLOW_TRACKING_URI=f"{scheme}://me:s3cr3t-w0rd@{place}")
            assert done.code == 2 and "s3cr3t-w0rd" not in done.err + done.out
            begins = f"Error: MLFLOW_TRACKING_URI: the tracking store '{scheme}://{place}' refuses: "
            assert done.errors[0].startswith(begins), done.err
        server.shutdown()


def test_a_copy_of_a_remote_artifact_goes_with_the_process(tmp_path: Path, project: Path) -> None:
    """Left to itself mlflow makes a folder for each, which nobody removes."""
    script = """
import sys
from types import SimpleNamespace
from mlflow.store.artifact import artifact_repository_registry
from lifecycle.adapters import tracking

class Remote:
    def download_artifacts(self, name, folder):
        with open(f"{folder}/{name}", "w") as file:
            file.write("far")
        return f"{folder}/{name}"

artifact_repository_registry.get_artifact_repository = lambda uri: Remote()
info = SimpleNamespace(artifact_uri="s3://bucket/run/artifacts")
tracking.client = lambda: SimpleNamespace(get_run=lambda run_id: SimpleNamespace(info=info))
copies = [tracking.artifact(run, "settings.json") for run in ("one", "other")]
assert len(set(copies)) == 2 and [copy.read_text() for copy in copies] == ["far", "far"]
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(project / "steps")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("settings.json"))

"""Fixtures that all tests share."""

import atexit
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What tools leave in a working folder, and what belongs to no fact about the project.
CACHES = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__"}
LONGEST = 300
# The modules that take minutes, the longest first: one that is begun last is waited for alone.
FIRST = ("test_bad_input", "test_stores", "test_mllib", "test_memory", "test_databricks", "test_entry_points")
# Sessions of Spark's live for seconds here: compiling their code for speed takes longer than it saves, a fifth of the
# processor time of `tune_mllib`. The JVMs of drivers, executors, masters and workers read these.
JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
os.environ.setdefault("SPARK_SUBMIT_OPTS", f'{JVM} "-Dspark.executor.extraJavaOptions={JVM}"')
os.environ.setdefault("SPARK_DAEMON_JAVA_OPTS", JVM)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that start real processes, so that no long one is left to the end."""
    slow = {item.path for item in items if item.get_closest_marker("whole")}
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: (places.get(item.path.stem, len(FIRST)), item.path not in slow))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep in one process what shares a module's fixtures or the whole run, each of which is made once.

    pytest-xdist 3.8 can do so by marks or by files; its marks do nothing under pytest 9.2, and files know no fixtures.
    """
    from xdist.scheduler import LoadScopeScheduling

    asking = {
        path for path in Path(__file__).parent.rglob("test_*.py") if re.search(r"\bwhole: ", path.read_text("utf-8"))
    }
    sharing = {path.relative_to(config.rootpath).as_posix() for path in asking}

    class ByFixtures(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split("::")[0]
            return "whole" if module in sharing else module

    return ByFixtures(config, log)


@pytest.fixture(scope="session")
def project() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def originals() -> Path:
    """The course's own tables, which lie beside the repository and are never copied into it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the original tables are not at {folder}; data/README.md says where they are found")
    return folder


@dataclass(frozen=True)
class Done:
    """A process that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def errors(self) -> list[str]:
        """The lines by which a script tells a mistake."""
        return [line for line in self.err.splitlines() if line.startswith("Error: ")]

    def well(self) -> "Done":
        """Return itself if it ended well; else fail with all that it wrote."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


class Store:
    """A tracking store of its own, made where a user stands: mlflow.db and mlruns in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder}/mlflow.db"

    def environment(self, **variables: str) -> dict[str, str]:
        """Return this process's environment without what would name another store, run or Python."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_", "DATABRICKS_", "LIFECYCLE_", "PYTHON", "GIT_"))
        }
        kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
        return kept | variables

    def run(self, *command: str | Path, timeout: float = LONGEST, folder: Path | None = None, **variables: str) -> Done:
        """Run a command in the store's folder or another one, and wait for it."""
        began = time.monotonic()
        ended = subprocess.run(
            [str(part) for part in command],
            cwd=folder or self.folder,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Done(ended.returncode, ended.stdout, ended.stderr, time.monotonic() - began)

    def script(self, step: str, *options: str | Path, of: Path = ROOT, **variables: str) -> Done:
        """Run an entry point by hand, as `python steps/<step>.py`."""
        return self.run(sys.executable, of / "steps" / f"{step}.py", *options, **variables)

    def mlflow_run(self, uri: str | Path, *arguments: str, **variables: str) -> Done:
        """Run the real `mlflow run` command in the environment that the tests run in."""
        mlflow = Path(sys.executable).parent / "mlflow"
        return self.run(mlflow, "run", uri, "--env-manager", "local", *arguments, **variables)

    @cached_property
    def client(self) -> Any:
        from mlflow import MlflowClient

        client = MlflowClient(self.uri)
        if not (self.folder / "mlflow.db").exists():
            blank_store(self.folder)
        # With its first call mlflow makes a folder mlruns where this process stands.
        with chdir(self.folder):
            client.search_experiments(max_results=1)
        return client

    def runs(self) -> list[Any]:
        """Return every run of every experiment, the oldest first."""
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        found, page = [], None
        while page != "":
            some = self.client.search_runs(experiments, max_results=1000, page_token=page)
            found += some
            page = some.token or ""
        return sorted(found, key=lambda run: run.info.start_time)

    def children(self, run_id: str) -> list[Any]:
        """Return the runs that name a run as their parent, the oldest first."""
        return [run for run in self.runs() if run.data.tags.get("mlflow.parentRunId") == run_id]

    def steps(self, name: str) -> list[Any]:
        """Return the runs of an entry point, the oldest first."""
        return [run for run in self.runs() if run.data.tags.get("lifecycle.step") == name]

    def artifacts(self, run: Any) -> Path:
        """Return the folder of a run's artifacts."""
        return local_path(run.info.artifact_uri)

    def models(self, run_id: str) -> list[Any]:
        """Return the models that a run logged."""
        experiment = self.client.get_run(run_id).info.experiment_id
        return [model for model in self.client.search_logged_models([experiment]) if model.source_run_id == run_id]

    def versions(self, name: str) -> dict[str, Any]:
        """Return a registered model's versions by number."""
        return {str(version.version): version for version in self.client.search_model_versions(f"name = '{name}'")}


@cache
def blank() -> Path:
    """Let mlflow make a store; it takes a second, so that each process does it once."""
    from mlflow import MlflowClient

    folder = Path(tempfile.mkdtemp(prefix="blank-"))
    atexit.register(shutil.rmtree, folder)
    with chdir(folder):
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments(max_results=1)
    return folder


def blank_store(folder: Path) -> None:
    """Put a store into a folder as mlflow would make it there, for a client that comes before any run."""
    shutil.copyfile(blank() / "mlflow.db", folder / "mlflow.db")
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", (f"{folder}/mlruns/0",))


def local_path(uri: str) -> Path:
    """Return where a `file:` URI or a plain path points."""
    return Path(unquote(urlparse(uri).path) if uri.startswith("file:") else uri)


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Store]:
    """Give stores, each in a folder of its own."""
    return lambda: Store(tmp_path_factory.mktemp("user"))


def files_of(folder: Path) -> set[str]:
    """Return what lies in a folder, without the caches of tools."""
    found: set[str] = set()
    for name, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if one not in CACHES]
        # In a further work tree of a repository .git is a file: its copy would be that very work tree to git.
        found |= {str(Path(name, one).relative_to(folder)) for one in files if one not in CACHES}
    return found


def in_git(folder: Path, *arguments: str) -> str:
    """Return what a git command says about a folder."""
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=LONGEST
    ).stdout.strip()


@pytest.fixture(scope="session")
def git() -> Callable[..., str]:
    return in_git


@dataclass(frozen=True)
class Whole:
    """One whole run, and what the project's folder and git said before and after it."""

    store: Store
    done: Done
    files: tuple[set[str], set[str]]
    status: tuple[str, str]
    commit: str

    @cached_property
    def runs(self) -> list[Any]:
        """The runs of this whole run alone: others may have been added to the store since."""
        every = self.store.runs()
        [root] = [run for run in every if run.info.run_id == self.root_id]
        steps = [run for run in every if run.data.tags.get("mlflow.parentRunId") == self.root_id]
        ids = {run.info.run_id for run in steps}
        return [root, *steps, *(run for run in every if run.data.tags.get("mlflow.parentRunId") in ids)]

    @cached_property
    def root_id(self) -> str:
        return str(min(self.store.runs(), key=lambda run: run.info.start_time).info.run_id)

    def step(self, table: str, name: str) -> Any:
        """Return the run of one step of one table."""
        found = [
            run
            for run in self.runs
            if run.data.tags.get("lifecycle.step") == name and run.data.params.get("data") == table
        ]
        assert len(found) == 1, f"{name} of {table} ran {len(found)} times"
        return found[0]


@pytest.fixture(scope="session")
def whole(project: Path, new_store: Callable[[], Store]) -> Whole:
    """One run of `main` with no parameter by the real `mlflow run`, from a folder that is not the project's."""
    versioned = (project / ".git").exists()

    def status() -> str:
        return in_git(project, "status", "--porcelain") if versioned else ""

    store = new_store()
    files, said = files_of(project), status()
    done = store.mlflow_run(project)
    commit = in_git(project, "rev-parse", "HEAD") if versioned else ""
    return Whole(store, done.well(), (files, files_of(project)), (said, status()), commit)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Give ports on loopback that nobody listens at."""

    def free() -> int:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            return int(one.getsockname()[1])

    return free


@pytest.fixture(scope="session")
def serving() -> Callable[..., Any]:
    """Give a context in which a server runs; it and whatever it started is ended by its process group."""

    @contextmanager
    def served(command: list[str], port: int, seconds: float = 60, **options: Any) -> Iterator[None]:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True, **options
        )
        try:
            until = time.monotonic() + seconds
            while True:
                assert server.poll() is None, f"{command} ended with {server.returncode}"
                assert time.monotonic() < until, f"{command} does not answer at {port} after {seconds} s"
                with socket.socket() as one:
                    one.settimeout(1)
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield
        finally:
            # The group lives as long as one of its processes does, so its number cannot be another's.
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)

    return served


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server on loopback with one user, whose password stands in the address."""

    port: int
    user: str = "shopkeeper"
    password: str = "s3cr3t-w0rd"

    def uri(self, table: str, password: str = "") -> str:
        return f"postgresql://{self.user}:{password or self.password}@127.0.0.1:{self.port}/postgres?table={table}"

    def execute(self, *statements: str) -> None:
        import psycopg

        address = {"host": "127.0.0.1", "port": self.port, "user": self.user, "password": self.password}
        with psycopg.connect(dbname="postgres", autocommit=True, **address) as connection:  # type: ignore[arg-type]
            for statement in statements:
                connection.execute(statement)


@pytest.fixture(scope="session")
def postgres(free_port: Callable[[], int], serving: Callable[..., Any]) -> Iterator[Postgres]:
    """A server of its own in a temporary folder; as root it runs as the package's user, since it refuses root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        pytest.skip("there is no PostgreSQL server (Debian's package postgresql) here")
    server, as_user = Postgres(free_port()), {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        (folder / "password").write_text(server.password, encoding="utf-8")
        if as_user:
            shutil.chown(folder, "postgres")
            shutil.chown(folder / "password", "postgres")
        subprocess.run(
            [initdb, "-D", folder / "data", "-U", server.user, "-A", "scram-sha-256", "--pwfile", folder / "password"]
            + ["--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd=folder,
            timeout=LONGEST,
            **as_user,  # type: ignore[call-overload]
        )
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        options = [part for setting in settings.items() for part in ("-c", "=".join(setting))]
        command = [str(Path(initdb).parent / "postgres"), "-D", str(folder / "data"), "-p", str(server.port), *options]
        with serving(command, server.port, cwd=folder, stderr=subprocess.DEVNULL, **as_user):
            yield server


@pytest.fixture(scope="session")
def scratch(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project as it stands, committed or not, in a git repository of its own."""
    folder = tmp_path_factory.mktemp("scratch") / "lifecycle"
    folder.mkdir()
    for name in sorted(files_of(project)):
        if name.startswith(("mlruns/", "mlartifacts/")) or name == "mlflow.db":
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((project / name).read_bytes())
    in_git(folder, "init", "-q", "-b", "main")
    in_git(folder, "add", "-A")
    in_git(folder, "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-q", "-m", "As it stands")
    return folder

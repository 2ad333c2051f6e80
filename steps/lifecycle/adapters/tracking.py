"""The tracking store: the only memory. Runs, their children, and what is found again by key.

This is the one module that imports mlflow's tracking; the others ask it for a client.
"""

import json
import logging
import os
import socket
import sqlite3
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlparse

import numpy as np
import pandas as pd

from lifecycle.adapters import patience, stores
from lifecycle.adapters.catalog import short_name
from lifecycle.errors import StoreAwayError, UserError
from lifecycle.roles import BOOLEAN, INTEGER, REAL, TIME, kind_of
from lifecycle.settings import TWIN_COLUMN
from lifecycle.table import TestRows
from lifecycle.trials import FAILED, INFEASIBLE, PRUNED, TrialRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Run

CONNECT_SECONDS = 5.0
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
INHERITED_TAGS = (
    "mlflow.user",
    "mlflow.source.name",
    "mlflow.source.type",
    "mlflow.source.git.commit",
    "mlflow.source.git.repoURL",
    "mlflow.source.git.branch",
    "mlflow.gitRepoURL",
    "lifecycle.table",
    "lifecycle.data",
)
# What tells mlflow in which experiment a run is.
WHERE = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "DATABRICKS_RUNTIME_VERSION")
ENDED = ("FINISHED", "FAILED", "KILLED")
LONGEST_PARAM = 6000
LONGEST_SCHEMA = 1_048_575
SHOWN_TYPES = {INTEGER: "long", REAL: "double", BOOLEAN: "boolean", TIME: "datetime"}
SETTINGS = "settings.json"


def connect() -> None:
    """Make sure that the tracking store answers, in seconds, before mlflow begins to try again and again.

    Raises
    ------
    UserError
        Where nobody listens at the store's address, the store refuses, or its relative path lies elsewhere.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    parsed = urlparse(uri)
    scheme = parsed.scheme.split("+")[0]
    if scheme in PORTS and parsed.hostname:
        address = (parsed.hostname, PORTS[scheme])
        try:
            address = (parsed.hostname, parsed.port or PORTS[scheme])
            socket.create_connection(address, timeout=CONNECT_SECONDS).close()
            if scheme.startswith("http"):
                # urllib would take a password in the address for a part of the host's name.
                _ask_after_health(parsed._replace(netloc=parsed.netloc.rpartition("@")[2]).geturl())
        except (OSError, ValueError, OverflowError) as error:
            raise UserError(
                f"MLFLOW_TRACKING_URI: no tracking store answers at {parsed.netloc.rpartition('@')[2]} ({error}); "
                "start it, or set the variable to one that runs."
            ) from error
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////") and "MLFLOW_RUN_ID" in os.environ:
        # The run was made by a process in another folder, where the same relative path means another file.
        path = Path(uri.removeprefix("sqlite:///"))
        if not path.is_absolute() and not path.exists():
            raise UserError(
                f"MLFLOW_TRACKING_URI: the relative path in {uri!r} means another file here, where the project runs; "
                "set it with the absolute path, such as sqlite:////home/me/mlflow.db."
            )
    # mlflow would tell a server on the internet of its calls; it looks when it is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow
    import sqlalchemy
    from mlflow.exceptions import MlflowException

    _quieten()
    _leave_spark_alone()
    try:
        with stores.making(mlflow.get_tracking_uri()) as place:
            mlflow.MlflowClient(place).search_experiments(max_results=1)
        _impatient().search_experiments(max_results=1)
    except (MlflowException, ImportError, OSError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError) as error:
        address = mlflow.get_tracking_uri()
        # The error's own words may hold the whole address.
        said = _refusal(error).replace(address, stores.shown(address))
        raise UserError(
            f"MLFLOW_TRACKING_URI: the tracking store {stores.shown(address)!r} refuses: {said}; mend the address, the "
            "rights or the credentials (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN, "
            "for PostgreSQL PGPASSWORD)."
        ) from error


def _ask_after_health(uri: str) -> None:
    """Ask a server whether it is well; whatever it says below 500 is an answer, also that it wants a password.

    Raises
    ------
    OSError
        Where it does not answer in time, or is not well.
    """
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=CONNECT_SECONDS).close()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise OSError(f"it answers with status {error.code}") from error


def _refusal(error: BaseException) -> str:
    """Return a store's own words, without the class that a driver's words begin with."""
    import sqlalchemy

    wrapped = isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None
    return first_line(error.orig if wrapped else error)  # type: ignore[attr-defined]


def _quieten() -> None:
    """Keep from the user what mlflow tells its own developers.

    Schema migrations, a bar for each small download, that an environment without pip has no pip version, hints on
    integer columns (our signatures have none): none of it is about the user's table.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Two lines, and a question to the server, for every trial that ends.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # Four: 28 s. What is beyond is waited for by `patience`, which says so.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    for noisy in ("alembic", "mlflow.projects"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # A line for every step that is started, of workspaces that share an address.
    logging.getLogger("mlflow.utils.databricks_utils").setLevel(logging.WARNING)
    for noisy in ("mlflow.utils.environment", "urllib3.connectionpool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # It writes a traceback for what is tried again.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.(data|types)\.")
    # By design: a level that training did not have is no level.
    warnings.filterwarnings("ignore", message="Found unknown categories", category=UserWarning)


def _leave_spark_alone() -> None:
    """Keep mlflow from starting a Spark session on a Databricks cluster.

    It looks for the id of a notebook there, to name temporary folders by, and where it looks last is a session that it
    starts itself, in any process that has none.
    """
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        from mlflow.utils import databricks_utils

        databricks_utils.get_repl_id = lambda: None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, for a sentence."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


@cache
def _impatient() -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient()


@cache
def outbox() -> patience.Outbox:
    """Return what sends records to the store that the environment names, or keeps them where it stays away."""
    import mlflow

    waiting = patience.Waiting(stores.shown(mlflow.get_tracking_uri()))
    return patience.Outbox(patience.Patient(_impatient(), waiting))


def client() -> "MlflowClient":
    """Return the client of the store that the environment names; its calls wait for a store that is away."""
    return cast("MlflowClient", outbox().client)


@contextmanager
def once() -> Iterator[None]:
    """Give the store up where it is away during mlflow's own calls in the block, which nobody may repeat.

    Raises
    ------
    StoreAwayError
        Where it is.
    """
    try:
        yield
    except Exception as error:
        if patience.is_away(error) or (error.__cause__ is not None and patience.is_away(error.__cause__)):
            raise outbox().waiting.give_up() from error
        raise


def _batch(
    run_id: str,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> patience.Write:
    """Write down a run's metrics that are finite, its parameters, cut where the store would refuse, and tags."""
    finite = {name: float(value) for name, value in (metrics or {}).items() if np.isfinite(value)}
    texts = {name: str(value)[:LONGEST_PARAM] for name, value in (params or {}).items()}
    return patience.batch(run_id, finite, texts, tags or {})


def _settle() -> None:
    """Have all that was written on the disk, where the store is a file of this machine."""
    import mlflow

    stores.settle(mlflow.get_tracking_uri())


@dataclass
class StepRun:
    """The run of one step: what it writes goes through here.

    Attributes
    ----------
    run_id, experiment_id : str
        Of the run.
    step : str
        The entry point's name.
    inherited : dict
        Tags that its children bear too: commit, source, user, data digest.
    """

    run_id: str
    experiment_id: str
    step: str
    inherited: dict[str, str] = field(default_factory=dict)

    def log(
        self,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write metrics, parameters and tags in one call; metrics that are not finite are left out."""
        outbox().put(_batch(self.run_id, metrics, params, tags))
        self.inherited |= {name: value for name, value in (tags or {}).items() if name in INHERITED_TAGS}

    def beat(self, tags: Mapping[str, str]) -> None:
        """Write tags that may be lost: where the store is away nothing waits, and nothing is kept."""
        if outbox().waiting.given_up:
            return
        with suppress(Exception):
            # Without patience: the next beat comes soon, and a thread that waited would outlive its search.
            patience.send(_impatient(), _batch(self.run_id, tags=tags))

    def text(self, name: str, text: str) -> None:
        """Write an artifact of text."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            path.write_text(text, encoding="utf-8", newline="\n")
            self._file(name, path)

    def _file(self, name: str, path: Path) -> None:
        outbox().put(patience.file(self.run_id, path, name.rpartition("/")[0]))

    def settings(self, values: Mapping[str, Any]) -> None:
        """Write the resolved settings, whole: keys, resuming and repeating read these."""
        self.text(SETTINGS, json.dumps(values, indent=1, ensure_ascii=False, default=str))

    def figure(self, name: str, figure: "Figure") -> None:
        """Write a figure as a PNG artifact."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            figure.savefig(path, dpi=120)
            self._file(name, path)

    def files(self, folder: str, *paths: Path) -> None:
        """Write files as artifacts into a folder."""
        for path in paths:
            client().log_artifact(self.run_id, str(path), folder)

    def frame(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table as a CSV or Parquet artifact, by the name's ending."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            if path.suffix == ".parquet":
                frame.to_parquet(path, index=False)
            else:
                frame.to_csv(path, index=False)
            self._file(name, path)

    def child(self, name: str, tags: Mapping[str, str]) -> str:
        """Start a child run through the client, which an inherited MLFLOW_RUN_ID cannot mislead.

        Returns
        -------
        str
            Its run id; its status is RUNNING.
        """
        every = self.inherited | dict(tags) | {"mlflow.parentRunId": self.run_id}
        run = client().create_run(self.experiment_id, run_name=name, tags=every)
        return str(run.info.run_id)

    def end_trial(self, run_id: str, record: TrialRecord, more: Mapping[str, str]) -> None:
        """Write a trial's record into its child run, with further tags, and end it."""
        seconds = {"fit_seconds": record.fit_seconds, "score_seconds": record.score_seconds}
        cost = {"latency_ms": record.latency_ms, "size_mb": record.size_mb}
        good = record.status != FAILED
        tags = dict(more) if good else dict(more) | {"lifecycle.error": record.error[:LONGEST_PARAM]}
        if record.status in (INFEASIBLE, PRUNED):
            tags |= {"lifecycle.trial": record.status}
        if record.status == INFEASIBLE:
            tags |= {"lifecycle.reason": record.error[:LONGEST_PARAM]}
        if record.warnings:
            tags["lifecycle.warning"] = f"the estimator did not converge in {record.warnings} fits"
        params = {"model": record.values["model"]} | record.params
        outbox().put(
            _batch(run_id, record.metrics | seconds | cost, params, tags),
            patience.end(run_id, "FINISHED" if good else "FAILED"),
        )
        _settle()

    def child_file(self, run_id: str, path: Path) -> None:
        """Write a file as an artifact of a child run.

        Where runs lie side by side in one folder, as in every store but those that hand out leave run by run, all
        children are written through that folder: asking the store where each lies takes four times as long.
        """
        box, write = outbox(), patience.file(run_id, path)
        if box.waiting.given_up or self._folder is None:
            box.put(write)
            return
        try:
            box.waiting.hold(lambda: self._folder.log_artifact(str(path), f"{run_id}/artifacts"))
        except StoreAwayError:
            box.waiting.keep(write)
            raise

    def delete_child_file(self, run_id: str, name: str) -> None:
        """Delete an artifact of a child run."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        files = get_artifact_repository(client().get_run(run_id).info.artifact_uri)
        outbox().waiting.hold(lambda: files.delete_artifacts(name))

    @cached_property
    def _folder(self) -> Any:
        """The folder in which the artifacts of this experiment's runs lie; None where each run is by itself."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        uri = str(client().get_run(self.run_id).info.artifact_uri)
        ending = f"/{self.run_id}/artifacts"
        if not uri.endswith(ending) or uri.startswith("dbfs:"):
            return None
        return get_artifact_repository(uri.removesuffix(ending))

    @staticmethod
    def end_child(run_id: str, status: str) -> None:
        """End a child run."""
        outbox().put(patience.end(run_id, status))

    def end(self, status: str) -> None:
        """End the run."""
        outbox().put(patience.end(self.run_id, status))
        _settle()
        _forget(self.run_id, status)


def _forget(run_id: str, status: str) -> None:
    """Let mlflow know that the run of this process has ended: it would end it again when the interpreter ends."""
    import mlflow
    from mlflow.exceptions import MlflowException

    active = mlflow.active_run()
    if active is not None and active.info.run_id == run_id:
        with suppress(MlflowException):
            mlflow.end_run(status)


def send_kept(writes: Sequence[patience.Write], kept: Path) -> None:
    """Send records that were kept while the store was away, in order.

    Parameters
    ----------
    writes : sequence of dict
        What the file holds.
    kept : Path
        The file, for the sentence where the store goes away again.

    Raises
    ------
    UserError
        Where the store has no such run, or refuses a record, or stays away.
    """
    from mlflow.exceptions import MlflowException

    try:
        for write in writes:
            patience.send(client(), write)
    except StoreAwayError as error:
        raise UserError(
            f"file: the tracking store {outbox().waiting.store} has gone away again; all is still in {kept}, so send "
            "it once more when the store answers."
        ) from error
    except MlflowException as error:
        raise UserError(
            f"file: the tracking store {outbox().waiting.store} refuses a record of run {write['run_id']}: "
            f"{first_line(error)}; set MLFLOW_TRACKING_URI to the store that the run was in."
        ) from error
    _settle()


def start(step: str) -> StepRun:
    """Open the run of this process: the one that mlflow's runner made, or a new one for a script run by hand.

    Raises
    ------
    UserError
        Where the runner's run is not in the store, or the experiment has been deleted or not named.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    # On a cluster a job has one, and a notebook is one.
    if mlflow.get_tracking_uri().startswith("databricks") and not any(map(os.environ.get, WHERE)):
        raise UserError(
            "MLFLOW_EXPERIMENT_NAME: a Databricks workspace has no default experiment; set it to a path of the "
            "workspace, such as /Users/me@example.org/churn, or use mlflow run --experiment-name."
        )
    try:
        active = mlflow.start_run()
    except MlflowException as error:
        raise UserError(f"MLFLOW_TRACKING_URI: the run cannot be opened: {first_line(error)}.") from error
    tags = active.data.tags
    inherited = {name: tags[name] for name in INHERITED_TAGS if name in tags}
    return StepRun(active.info.run_id, active.info.experiment_id, step, inherited)


def close_run(sentence: str, status: str) -> None:
    """End the run of this process, if there is one, and let it bear the sentence as tag ``lifecycle.error``."""
    import mlflow
    from mlflow.exceptions import MlflowException

    active = mlflow.active_run()
    run_id = active.info.run_id if active else os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return
    try:
        if sentence:
            outbox().put(_batch(run_id, tags={"lifecycle.error": sentence}))
        outbox().put(patience.end(run_id, status))
    except (MlflowException, StoreAwayError):
        logging.getLogger(__name__).warning("run %s could not be marked as %s", run_id, status)
    _forget(run_id, status)


def runs_with(tags: Mapping[str, str], experiment_id: str) -> list["Run"]:
    """Find finished runs of an experiment by their tags, the newest first; reused ones are left out."""
    clauses = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
    found = _searched(" and ".join([*clauses, "attributes.status = 'FINISHED'"]), experiment_id)
    return [run for run in found if "lifecycle.reused" not in run.data.tags]


def _searched(query: str, experiment_id: str) -> list["Run"]:
    found: list[Run] = []
    page = None
    while True:
        runs = client().search_runs(
            [experiment_id], query, order_by=["attributes.start_time DESC"], page_token=page, max_results=1000
        )
        found += runs
        page = runs.token
        if not page:
            return found


def all_runs(tags: Mapping[str, str], experiment_id: str) -> list["Run"]:
    """Find runs of an experiment by their tags, whatever became of them, the newest first."""
    return _searched(" and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items()), experiment_id)


def children_of(run_id: str, experiment_id: str, tags: Mapping[str, str]) -> list["Run"]:
    """Find the children of a run that bear some tags, the newest first."""
    return all_runs({"mlflow.parentRunId": run_id, **tags}, experiment_id)


def run_of(run_id: str) -> "Run":
    """Return a run.

    Raises
    ------
    LookupError
        Where the store has none of that id, or it has been deleted.
    """
    from mlflow.exceptions import MlflowException

    try:
        run = client().get_run(run_id)
    except MlflowException as error:
        raise LookupError(first_line(error)) from error
    if run.info.lifecycle_stage == "deleted":
        raise LookupError(f"run {run_id} has been deleted")
    return run


def claim(run_id: str, name: str, value: str) -> str:
    """Write a parameter of a run that nobody may have written before, and return what it is then.

    A run's parameters can be written once, so of several who claim at the same time one is first, and all are told who.
    """
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):
        client().log_param(run_id, name, value)
    return str(client().get_run(run_id).data.params.get(name, ""))


@cache
def _copies() -> "tempfile.TemporaryDirectory[str]":
    """Make the folder of this process's copies, which goes with it."""
    return tempfile.TemporaryDirectory(prefix="lifecycle-")


def artifact(run_id: str, name: str) -> Path:
    """Return a local path of an artifact: the file itself where the store is local, else a copy for this process.

    Raises
    ------
    LookupError
        Where the run does not have it.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    try:
        files = get_artifact_repository(client().get_run(run_id).info.artifact_uri)
        # Left to itself mlflow makes a folder for each copy, which nobody removes.
        copies = None if isinstance(files, LocalArtifactRepository) else tempfile.mkdtemp(dir=_copies().name)
        return Path(files.download_artifacts(name, copies))
    except (MlflowException, OSError) as error:
        raise LookupError(f"run {run_id} has no artifact {name}") from error


def has_artifact(run_id: str, name: str) -> bool:
    """Tell whether a run has an artifact, without fetching it."""
    folder = name.rpartition("/")[0]
    return any(entry.path == name for entry in client().list_artifacts(run_id, folder or None))


def test_rows(run: StepRun, prepared_run_id: str, features: Sequence[str], target: str) -> TestRows:
    """Hand out the test rows, once in a run, as `claim_test_rows` has it."""
    claim_test_rows(run)
    frame = pd.read_parquet(artifact(prepared_run_id, "prepared/test.parquet"))
    return TestRows(frame[list(features)], frame[target], frame[TWIN_COLUMN].to_numpy(dtype=bool))


def claim_test_rows(run: StepRun) -> None:
    """Say on a run's page that its test rows are read now; a second call is refused, by whatever process.

    Raises
    ------
    RuntimeError
        Where this run has read them before: its choices would not be blind any more.
    """
    if "lifecycle.test_read" in client().get_run(run.run_id).data.tags:
        raise RuntimeError(f"run {run.run_id} has read the test rows before; a run reads them once, after its choices")
    run.log(tags={"lifecycle.test_read": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})


def copy_inputs(run: StepRun, from_run_id: str) -> None:
    """Give a run the datasets of another that has read the same table."""
    from mlflow.entities import DatasetInput

    inputs: list[DatasetInput] = client().get_run(from_run_id).inputs.dataset_inputs
    if inputs:
        client().log_inputs(run.run_id, inputs)


def log_dataset(
    run: StepRun,
    types: Mapping[str, str],
    rows: int,
    source: str,
    data: str,
    data_digest: str,
    context: str = "training",
) -> None:
    """Log the raw table as the run's input, with our digest: mlflow's own reads the first 10,000 rows only.

    Parameters
    ----------
    run : StepRun
        The run that read it.
    types : mapping of str to str
        The columns and their SQL types.
    rows : int
        Their number.
    source : str
        Where it lies, without secrets.
    data : str
        What was asked for, without secrets.
    data_digest : str
        SHA-256 of the bytes; mlflow keeps 36 characters of it, the tag ``lifecycle.data`` the whole.
    context : str
        What it was read for: ``training`` or ``scoring``.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # The forms that mlflow's pages show.
    columns = [
        {"name": name, "type": SHOWN_TYPES.get(kind_of(sql_type), "string"), "required": False}
        for name, sql_type in types.items()
    ]
    dataset = Dataset(
        name=short_name(data),
        digest=data_digest[:36],
        source_type="local",
        source=json.dumps({"uri": source}),
        schema=json.dumps({"mlflow_colspec": columns})[:LONGEST_SCHEMA],
        profile=json.dumps({"num_rows": rows, "num_elements": rows * len(types)}),
    )
    client().log_inputs(run.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])


def log_params(run_id: str, params: Mapping[str, Any]) -> None:
    """Write parameters into any run."""
    outbox().put(_batch(run_id, params=params))


def fetch_artifact(uri: str, folder: Path) -> Path:
    """Fetch ``runs:/<run id>/path``, a file or a folder, and return where it lies.

    Raises
    ------
    LookupError
        Where there is no such run or artifact, with the store's own words.
    """
    connect()
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        raise LookupError(first_line(error)) from error


def end_family(run_id: str, status: str) -> None:
    """End a run and all that hangs on it, children first, as far as they are open: nobody else will any more."""
    parents = [client().get_run(run_id)]
    every = list(parents)
    while parents:
        children = [
            child for parent in parents for child in children_of(parent.info.run_id, parent.info.experiment_id, {})
        ]
        every += children
        # Trials have none, and there may be thousands.
        parents = [child for child in children if child.data.tags.get("lifecycle.step") != "trial"]
    left_open = [run.info.run_id for run in reversed(every) if str(run.info.status) not in ENDED]
    outbox().put(*[patience.end(one, status) for one in left_open])


def tag_of(run_id: str, name: str) -> str:
    """Return a run's tag, or an empty text."""
    return str(client().get_run(run_id).data.tags.get(name, ""))

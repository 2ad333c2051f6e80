"""A job is followed through a workspace's absence, cancelled whole, and leaves no run open, whatever goes wrong."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import chdir
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from lifecycle.adapters import clusters, jobs, orders, patience, tracking
from lifecycle.adapters.workspaces import Workspace, WorkspaceAwayError
from lifecycle.errors import StoreAwayError, UserError

RUNNING = {"state": {"life_cycle_state": "RUNNING", "state_message": "In run"}}
DONE = {"state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}}
CANCELLED = {"state": {"life_cycle_state": "TERMINATED", "result_state": "CANCELED"}}
AWAY = WorkspaceAwayError("DATABRICKS_HOST: the workspace answers no more.")


class Told(Workspace):
    """A workspace that answers as it was told to, each endpoint in turn."""

    def __init__(self, **answers: list[Any]) -> None:
        super().__init__("databricks")
        self.answers, self.asked = answers, list[str]()

    def ask(self, method: str, endpoint: str, **values: Any) -> dict[str, Any]:
        what = endpoint.rpartition("/")[2]
        self.asked.append(what)
        answer = self.answers[what].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "FIRST_PAUSE", 0.001)


@pytest.fixture(scope="module")
def store(new_store: Callable[[], Any]) -> Iterator[Any]:
    """A store of its own, which this process writes to."""
    store = new_store()
    box = patience.Outbox(patience.Patient(store.client, patience.Waiting("of the tests")))
    with chdir(store.folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "outbox", lambda: box)
        yield store


def made(store: Any, parent: Any = None, step: str = "", status: str = "") -> Any:
    """Make a run, which is open unless a status is given."""
    tags = {"lifecycle.step": step} | ({"mlflow.parentRunId": parent.info.run_id} if parent else {})
    run = store.client.create_run("0", tags=tags)
    if status:
        store.client.set_terminated(run.info.run_id, status)
    return run


def status_of(store: Any, run: Any) -> str:
    return str(store.client.get_run(run.info.run_id).info.status)


def pressed(is_pressed: bool = True) -> "Future[None]":
    asked: Future[None] = Future()
    if is_pressed:
        asked.set_result(None)
    return asked


# Followed.


def test_a_job_is_followed_through_the_workspaces_absence(capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Told(get=[RUNNING, AWAY, AWAY, RUNNING, DONE])
    jobs.Job(workspace, "run", 7, "page").follow(pressed(False))
    assert workspace.asked == ["get"] * 5
    # Each line is told when it is news.
    assert capsys.readouterr().out.splitlines() == [
        "databricks: RUNNING: In run",
        f"databricks: asked again: {AWAY}",
        "databricks: RUNNING: In run",
        "databricks: TERMINATED",
    ]


def test_a_workspace_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "AWAY_SECONDS", 0.02)
    workspace = Told(get=[AWAY] * 1000)
    with pytest.raises(WorkspaceAwayError):
        jobs.Job(workspace, "run", 7, "page").follow(pressed(False))
    assert len(workspace.asked) > 1


def test_a_refusal_is_not_asked_for_again() -> None:
    workspace = Told(get=[UserError("DATABRICKS_HOST: Run 7 does not exist.")])
    with pytest.raises(UserError, match="Run 7 does not exist"):
        jobs.Job(workspace, "run", 7, "page").follow(pressed(False))


def test_what_is_cancelled_ends_with_all_that_hangs_on_it_once_its_processes_are_gone(store: Any) -> None:
    main = made(store, step="main")
    done, search = made(store, main, "prepare", "FINISHED"), made(store, main, "tune_lr")
    # Its process was killed, and nobody ended its trials.
    broken = made(store, main, "tune_multi", "FAILED")
    late: list[Any] = []

    class Slow(Told):
        def ask(self, method: str, endpoint: str, **values: Any) -> dict[str, Any]:
            if self.asked == ["cancel"]:
                late.append(made(store, search, "trial"))
            return super().ask(method, endpoint, **values)

    trials = [made(store, search, "trial"), made(store, broken, "trial"), made(store, search, "trial", "FINISHED")]
    beside = made(store, step="main")
    workspace = Slow(cancel=[{}], get=[RUNNING, RUNNING, CANCELLED])
    with pytest.raises(KeyboardInterrupt):
        jobs.Job(workspace, main.info.run_id, 7, "page").follow(pressed())
    assert workspace.asked == ["cancel", "get", "get", "get"]
    every = [main, done, search, broken, *trials, *late, beside]
    assert [status_of(store, run) for run in every] == [
        *("KILLED", "FINISHED", "KILLED", "FAILED", "KILLED", "KILLED", "FINISHED", "KILLED", "RUNNING")
    ]


# Submitted.


@pytest.fixture
def submitting(store: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Submit a job by a client of mlflow that makes the job's run, and then meets an error."""

    def submit(error: BaseException, workspace: Told) -> tuple[Any, Any]:
        mine, theirs = made(store, step="databricks"), list[Any]()

        def run(folder: str, **_: Any) -> None:
            assert (Path(folder) / "driver.py").exists()
            theirs.append(made(store, mine))
            # The job is named by the folder.
            for answer in workspace.answers["list"]:
                for one in answer.get("runs", []) if isinstance(answer, dict) else []:
                    one["run_name"] = one["run_name"].format(folder)
            raise error

        monkeypatch.setattr(mlflow, "run", run)
        parent = tracking.StepRun(mine.info.run_id, "0", "databricks", {"mlflow.user": "me"})
        order, cluster = orders.Order("prepare", {"data": "churn"}), clusters.Cluster({}, [])
        try:
            return jobs.submit(workspace, parent, order, cluster), theirs[0]
        except BaseException as raised:  # noqa: BLE001 - an interruption, too
            return raised, theirs[0]

    return submit


OTHERS = {"run_id": 6, "run_name": "MLflow Run for /tmp/other", "run_page_url": "their page"}
OURS = {"run_id": 7, "run_name": "MLflow Run for {}", "run_page_url": "page"}
REFUSED = MlflowException("Invalid spark version 16.4.x-SCALA.")


def test_a_job_that_is_refused_leaves_no_run_open(store: Any, submitting: Callable[..., Any]) -> None:
    raised, theirs = submitting(REFUSED, Told(list=[{"runs": [OTHERS]}]))
    assert isinstance(raised, UserError)
    assert str(raised) == (
        "cluster: the workspace refuses the job: Invalid spark version 16.4.x-SCALA; mend what it names."
    )
    assert status_of(store, theirs) == "FAILED"


def test_a_job_that_was_taken_is_followed_though_mlflow_could_not_ask_after_it(
    store: Any, submitting: Callable[..., Any]
) -> None:
    job, theirs = submitting(ConnectionError("reset by peer"), Told(list=[{"runs": [OTHERS, dict(OURS)]}]))
    assert (job.run_id, job.number, job.page) == (theirs.info.run_id, 7, "page")
    assert status_of(store, theirs) == "RUNNING"
    tags = store.client.get_run(theirs.info.run_id).data.tags
    assert (tags["mlflow.project.entryPoint"], tags["mlflow.databricks.runURL"], tags["mlflow.user"]) == (
        *("prepare", "page", "me"),
    )


def test_where_it_is_not_known_whether_a_job_was_taken_that_is_said(store: Any, submitting: Callable[..., Any]) -> None:
    raised, theirs = submitting(ConnectionError("reset by peer"), Told(list=[AWAY]))
    assert isinstance(raised, UserError)
    assert str(raised).startswith("DATABRICKS_HOST: whether the job has been taken is not known, since the workspace ")
    assert status_of(store, theirs) == "FAILED"


def test_an_interruption_on_the_way_ends_the_run_of_the_job(store: Any, submitting: Callable[..., Any]) -> None:
    raised, theirs = submitting(KeyboardInterrupt(), Told(list=[{"runs": [OTHERS]}]))
    assert isinstance(raised, KeyboardInterrupt) and status_of(store, theirs) == "KILLED"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), StoreAwayError("MLFLOW_TRACKING_URI: the tracking store is away.")]
)
def test_a_job_that_nobody_would_follow_is_cancelled(
    store: Any, submitting: Callable[..., Any], error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Told(list=[{"runs": [OTHERS, dict(OURS)]}], cancel=[{}])
    raised, _ = submitting(error, workspace)
    assert raised is error and workspace.asked == ["list", "cancel"]
    assert capsys.readouterr().err == "databricks: cancelled; page\n"
    raised, _ = submitting(error, Told(list=[AWAY]))
    assert raised is error
    assert "databricks: DATABRICKS_HOST: whether the job has been taken is not known" in capsys.readouterr().err

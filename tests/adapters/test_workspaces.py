"""A workspace is seen to answer before anything is sent, also where only a proxy can see it."""

import socket
from typing import Any

import pytest
from mlflow.utils import databricks_utils, rest_utils

from lifecycle.adapters import workspaces
from lifecycle.errors import UserError


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> workspaces.Workspace:
    """A workspace that answers by its client alone: nobody listens at its address."""

    def nobody(*_: Any) -> Any:
        raise ConnectionRefusedError("nobody listens")

    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "DATABRICKS_CONFIG_PROFILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABRICKS_HOST", "https://workspace.example.org")
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi")
    monkeypatch.setattr(socket, "create_connection", nobody)
    monkeypatch.setattr(workspaces.Workspace, "_check_credentials", lambda *_: None)
    monkeypatch.setattr(workspaces.Workspace, "_ask", lambda *_: (200, "{}"))
    return workspaces.Workspace("databricks")


def test_one_that_is_reached_by_a_proxy_is_not_knocked_at(
    workspace: workspaces.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = r"^DATABRICKS_HOST: no workspace answers at https://workspace\.example\.org \(nobody listens\); give the"
    with pytest.raises(UserError, match=nobody):
        workspace.knock()
    for name in ("https_proxy", "all_proxy"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "http://proxy.example.org:3128")
            workspace.knock()
            patch.setenv("no_proxy", ".example.org")
            with pytest.raises(UserError, match=nobody):
                workspace.knock()


@pytest.mark.parametrize(
    ("answer", "is_away"),
    [
        ((503, "Service Unavailable"), True),
        ((429, '{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "later"}'), True),
        (TimeoutError("timed out after 0:00:30"), True),
        # The client does not know the code, and turns the status into 500.
        ((500, '{"error_code": "UNAUTHENTICATED", "message": "who are you"}'), False),
        ((400, '{"error_code": "INVALID_PARAMETER_VALUE", "message": "Run 1 does not exist."}'), False),
    ],
)
def test_one_that_is_away_is_told_from_one_that_refuses(
    workspace: workspaces.Workspace, monkeypatch: pytest.MonkeyPatch, answer: Any, is_away: bool
) -> None:
    def answered(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(workspaces.Workspace, "_ask", answered)
    with pytest.raises(UserError, match=r"^DATABRICKS_HOST: the workspace answers jobs/runs/get .*\.$") as told:
        workspace.ask("GET", "jobs/runs/get", run_id=1)
    assert isinstance(told.value, workspaces.WorkspaceAwayError) == is_away


def test_one_that_is_away_is_given_up_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[Any]()
    monkeypatch.setattr(databricks_utils, "get_databricks_host_creds", lambda _: asked.append("credentials"))

    def answered(*_: Any, retry_timeout_seconds: int, **__: Any) -> Any:
        asked.append(retry_timeout_seconds)
        raise TimeoutError("timed out")

    monkeypatch.setattr(rest_utils, "http_request", answered)
    workspace = workspaces.Workspace("databricks")
    for _ in range(2):
        with pytest.raises(workspaces.WorkspaceAwayError, match=r"no more \(timed out\); a job that"):
            workspace.ask("GET", "jobs/runs/get", run_id=1)
    # Whoever makes credentials asks the workspace what it is, for minutes.
    assert asked == ["credentials", 30, 30]

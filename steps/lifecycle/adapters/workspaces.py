"""A Databricks workspace: found in the environment, seen to answer, asked by its REST interface."""

import json
import os
import socket
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from lifecycle.adapters import stores, tracking
from lifecycle.errors import UserError

CONNECT_SECONDS = 5.0
# For how long the client tries one request again; left to itself, five minutes.
ANSWER_SECONDS = 30
TOO_MANY, OWN_FAULT = 429, 500
UNKNOWN = ("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED")
KNOWN_BY = (
    "export DATABRICKS_HOST (the workspace's address) and DATABRICKS_TOKEN, or name a profile of ~/.databrickscfg by "
    "MLFLOW_TRACKING_URI=databricks://PROFILE"
)


class WorkspaceAwayError(UserError):
    """A workspace that does not answer for now, which says nothing of what it was asked."""


class Workspace:
    """A Databricks workspace, by its REST interface.

    Parameters
    ----------
    address : str
        As tracking addresses are written: ``databricks`` or ``databricks://PROFILE``.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    @classmethod
    def of_the_environment(cls) -> "Workspace":
        """Return the workspace that the environment names, having seen that it answers and takes the token.

        Raises
        ------
        UserError
            Where it names none, or the workspace does not answer, or refuses.
        """
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if uri != "databricks" and not uri.startswith("databricks://"):
            found = f"{stores.shown(uri)!r} is no workspace" if uri else "it is not set"
            raise UserError(
                f"MLFLOW_TRACKING_URI: {found}, and a job on Databricks cannot reach another store; set it to "
                "databricks, with DATABRICKS_HOST and DATABRICKS_TOKEN, or to databricks://PROFILE."
            )
        workspace = cls(uri)
        workspace.knock()
        return workspace

    def knock(self) -> None:
        """See that the workspace answers, and takes the token."""
        from mlflow.exceptions import MlflowException

        host = self._host()
        try:
            place = urlsplit(host if "://" in host else f"https://{host}")
            # Sooner than the client, which tries again where nobody listens.
            if not _is_behind_a_proxy(place):
                address = place.hostname or "", place.port or (80 if place.scheme == "http" else 443)
                socket.create_connection(address, CONNECT_SECONDS).close()
        except (OSError, ValueError) as error:
            raise _nobody(host, str(error)) from error
        self._check_credentials(host)
        try:
            status, said = self._ask("GET", "jobs/runs/list", {"limit": 1})
        except (MlflowException, OSError) as error:
            raise _nobody(host, tracking.first_line(error)) from error
        if status in (401, 403) or _code(said) in UNKNOWN:
            raise UserError(
                f"DATABRICKS_TOKEN: the workspace {host} refuses the token ({_message(said)}); make another one on its "
                "page Settings, Developer, or ask for the right to submit jobs."
            )
        if status >= 400:
            raise UserError(f"DATABRICKS_HOST: {host} answers with status {status}: {_message(said)}.")

    @property
    def _profile(self) -> str:
        return self.address.partition("://")[2] or os.environ.get("DATABRICKS_CONFIG_PROFILE", "")

    def _host(self) -> str:
        """Return the workspace's address, of the environment or of a profile.

        Raises
        ------
        UserError
            Where there is none.
        """
        named = os.environ.get("DATABRICKS_HOST", "")
        if named and not self._profile:
            return named
        file = os.environ.get("DATABRICKS_CONFIG_FILE") or "~/.databrickscfg"
        profiles = ConfigParser(interpolation=None)
        try:
            profiles.read(Path(file).expanduser(), encoding="utf-8")
        except (ConfigParserError, UnicodeDecodeError) as error:
            what = str(error).partition("\n")[0]
            raise UserError(f"DATABRICKS_HOST: {file} is no file of profiles ({what}); {KNOWN_BY}.") from error
        host = profiles.get(self._profile or "DEFAULT", "host", fallback="")
        if not host:
            found = f"{file} has no profile {self._profile!r} with a host" if self._profile else "not set"
            raise UserError(f"DATABRICKS_HOST: {found}; {KNOWN_BY}.")
        return host

    def _check_credentials(self, host: str) -> None:
        from databricks.sdk.config import Config

        try:
            Config(profile=self._profile or None)
        except ValueError as error:
            raise UserError(f"DATABRICKS_TOKEN: there is none for {host}; {KNOWN_BY}.") from error

    @cached_property
    def _credentials(self) -> Any:
        from mlflow.utils.databricks_utils import get_databricks_host_creds

        # Once, while the workspace answers: each time it is asked for what it is, for five minutes where it is away.
        return get_databricks_host_creds(self.address)

    def _ask(self, method: str, endpoint: str, values: dict[str, Any]) -> tuple[int, str]:
        from mlflow.utils.rest_utils import http_request

        how = {"params": values} if method == "GET" else {"json": values}
        path = f"/api/2.0/{endpoint}"
        answer = http_request(self._credentials, path, method, retry_timeout_seconds=ANSWER_SECONDS, **how)
        return int(answer.status_code), str(answer.text)

    def ask(self, method: str, endpoint: str, **values: Any) -> dict[str, Any]:
        """Call the REST interface.

        Raises
        ------
        UserError
            Where the workspace refuses, or, as a `WorkspaceAwayError`, does not answer.
        """
        from mlflow.exceptions import MlflowException

        try:
            status, said = self._ask(method, endpoint, values)
        except (MlflowException, OSError) as error:
            raise _away(endpoint, tracking.first_line(error)) from error
        if (status == TOO_MANY or status >= OWN_FAULT) and _code(said) not in UNKNOWN:
            raise _away(endpoint, f"status {status}: {_message(said)}")
        if status >= 400:
            raise UserError(
                f"DATABRICKS_HOST: the workspace answers {endpoint} with status {status}: {_message(said)}."
            )
        return dict(json.loads(said))

    def run_named(self, name: str) -> dict[str, Any] | None:
        """Return one of the workspace's latest runs of submitted jobs by its name, or None.

        Raises
        ------
        UserError
            As `ask` does.
        """
        runs = self.ask("GET", "jobs/runs/list", run_type="SUBMIT_RUN").get("runs", [])
        return next((run for run in runs if run.get("run_name") == name), None)


def _is_behind_a_proxy(place: SplitResult) -> bool:
    """Tell whether clients reach a host by way of a proxy, so that none of ours could be sure to reach it by itself."""
    return bool({place.scheme, "all"} & set(getproxies())) and not proxy_bypass(place.hostname or "")


def _nobody(host: str, why: str) -> UserError:
    return UserError(f"DATABRICKS_HOST: no workspace answers at {host} ({why}); give the address that its pages have.")


def _away(endpoint: str, why: str) -> WorkspaceAwayError:
    return WorkspaceAwayError(
        f"DATABRICKS_HOST: the workspace answers {endpoint} no more ({why}); a job that has been submitted goes on, "
        "see its page."
    )


def _code(said: str) -> str:
    """Return the code of an error: the client turns the status of those that it does not know into 500."""
    try:
        return str(json.loads(said)["error_code"])
    except (ValueError, LookupError, TypeError):
        return ""


def _message(said: str) -> str:
    """Return a workspace's own words, without what the client adds of its settings."""
    try:
        words = str(json.loads(said)["message"])
    except (ValueError, LookupError, TypeError):
        words = said
    return next(iter(words.partition(" Config: ")[0].strip().splitlines()), "no message").rstrip(".")

"""Jobs on Databricks: the project in the form that a Spark job takes, submitted through mlflow, followed to its end."""

import json
import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from lifecycle.adapters import driver, stores, tracking
from lifecycle.adapters.catalog import catalog, split_tables
from lifecycle.adapters.cli import OPTIONS
from lifecycle.adapters.clusters import Cluster
from lifecycle.adapters.code import ROOT
from lifecycle.adapters.places import parse_place
from lifecycle.errors import InnerStepError, UserError
from lifecycle.settings import one_of

# What entry points read; of a working copy there may be much more.
PARTS = ("MLproject", "python_env.yaml", "conda.yaml", "pyproject.toml", "requirements.txt", "steps", "data")
PROJECT = "project"
ON_THE_CLUSTER = ("/dbfs/", "/Volumes/", "/Workspace/")
PATHS = ("data", "test_data", "space", "file")
CONNECT_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
LAST_LINES = 20
UNKNOWN = ("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED")
KNOWN_BY = (
    "export DATABRICKS_HOST (the workspace's address) and DATABRICKS_TOKEN, or name a profile of ~/.databrickscfg by "
    "MLFLOW_TRACKING_URI=databricks://PROFILE"
)


@dataclass(frozen=True)
class Order:
    """What is to be run.

    Attributes
    ----------
    step : str
        The entry point.
    given : dict of str to str
        Its parameters as typed; all others take their defaults there.
    """

    step: str
    given: dict[str, str]

    def check(self) -> None:
        """Refuse what a cluster could not do.

        Raises
        ------
        UserError
            For an entry point that there is not, and for a file of this machine.
        """
        one_of("step", self.step, [name for name in OPTIONS if name != "databricks"])
        for name in PATHS:
            asked = self.given.get(name, "")
            if not asked or name.endswith("data") and all(one in catalog() for one in split_tables(asked)):
                continue
            place = parse_place(name, asked)
            if place.form == "path" and not place.path.startswith(ON_THE_CLUSTER) and not _is_uploaded(place.path):
                raise UserError(
                    f"{name}: {asked!r} lies on this machine, where the cluster cannot read it; copy it into a volume "
                    f"(`databricks fs cp {Path(place.path).name} dbfs:/Volumes/CATALOG/SCHEMA/VOLUME/`) and give "
                    f"/Volumes/CATALOG/SCHEMA/VOLUME/{Path(place.path).name}."
                )

    @property
    def arguments(self) -> list[str]:
        """The command line of the script on the cluster."""
        return [part for name, value in self.given.items() for part in (f"--{name}", value)]


def _is_uploaded(path: str) -> bool:
    """Tell whether a path means a file of the project: relative ones are the project's on the cluster, too."""
    return (
        not Path(path).is_absolute() and Path(path).parts[:1] in [(name,) for name in PARTS] and (ROOT / path).exists()
    )


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
        host = self._host()
        # Left to itself, the client tries an address where nobody listens for five minutes.
        try:
            place = urlsplit(host if "://" in host else f"https://{host}")
            address = place.hostname or "", place.port or (80 if place.scheme == "http" else 443)
            socket.create_connection(address, CONNECT_SECONDS).close()
        except (OSError, ValueError) as error:
            raise UserError(
                f"DATABRICKS_HOST: no workspace answers at {host} ({error}); give the address that its pages have."
            ) from error
        self._check_credentials(host)
        status, said = self._ask("GET", "jobs/runs/list", {"limit": 1})
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
        profiles.read(Path(file).expanduser(), encoding="utf-8")
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

    def _ask(self, method: str, endpoint: str, values: dict[str, Any]) -> tuple[int, str]:
        from mlflow.exceptions import MlflowException
        from mlflow.utils.databricks_utils import get_databricks_host_creds
        from mlflow.utils.rest_utils import http_request

        how = {"params": values} if method == "GET" else {"json": values}
        try:
            answer = http_request(get_databricks_host_creds(self.address), f"/api/2.0/{endpoint}", method, **how)
        except (MlflowException, OSError) as error:
            raise UserError(
                f"DATABRICKS_HOST: the workspace answers {endpoint} no more ({tracking.first_line(error)}); a job that "
                "has been submitted goes on, see its page."
            ) from error
        return int(answer.status_code), str(answer.text)

    def ask(self, method: str, endpoint: str, **values: Any) -> dict[str, Any]:
        """Call the REST interface.

        Raises
        ------
        UserError
            Where the workspace refuses, or does not answer.
        """
        status, said = self._ask(method, endpoint, values)
        if status >= 400:
            raise UserError(
                f"DATABRICKS_HOST: the workspace answers {endpoint} with status {status}: {_message(said)}."
            )
        return dict(json.loads(said))


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


@dataclass(frozen=True)
class Job:
    """A job that has been submitted.

    Attributes
    ----------
    workspace : Workspace
        Where.
    run_id : str
        The run that the entry point on the cluster writes.
    number : int
        Of the job's run, as the workspace counts.
    page : str
        Its page.
    """

    workspace: Workspace
    run_id: str
    number: int
    page: str

    def follow(self) -> None:
        """Tell the job's states until it ends; an interruption cancels it.

        Raises
        ------
        UserError, InnerStepError
            Where it did not end well: with the entry point's own sentence if it left one.
        """
        try:
            state = self._ended()
        except KeyboardInterrupt:
            self.workspace.ask("POST", "jobs/runs/cancel", run_id=self.number)
            tracking.StepRun.end_child(self.run_id, "KILLED")
            print(f"databricks: cancelled; {self.page}", file=sys.stderr)
            raise
        if state.get("result_state") == "SUCCESS":
            return
        print(f"databricks: {self.page}", file=sys.stderr)
        for line in self._last_words():
            print(f"  {line}", file=sys.stderr)
        if not tracking.has_ended(self.run_id):
            tracking.StepRun.end_child(self.run_id, "FAILED")
        sentence = tracking.tag_of(self.run_id, "lifecycle.error")
        if sentence:
            raise UserError(sentence)
        ended = state.get("result_state", state["life_cycle_state"])
        raise InnerStepError(f"databricks: the job ended as {ended} ({state.get('state_message', '').rstrip('.')}).")

    def _ended(self) -> dict[str, Any]:
        """Return the job's last state."""
        told, pause = "", FIRST_PAUSE
        while True:
            state: dict[str, Any] = self.workspace.ask("GET", "jobs/runs/get", run_id=self.number)["state"]
            line = ": ".join(filter(None, (state["life_cycle_state"], state.get("state_message", ""))))
            if line != told:
                print(f"databricks: {line}", flush=True)
                told = line
            if "result_state" in state or state["life_cycle_state"] in ("TERMINATED", "SKIPPED", "INTERNAL_ERROR"):
                return state
            time.sleep(pause)
            pause = min(pause * 1.2, LONGEST_PAUSE)

    def _last_words(self) -> list[str]:
        """Return the end of what the job wrote, and its error."""
        try:
            output = self.workspace.ask("GET", "jobs/runs/get-output", run_id=self.number)
        except UserError as error:
            return [str(error)]
        text = "\n".join(str(output[part]) for part in ("logs", "error_trace", "error") if output.get(part))
        return [line for line in text.splitlines() if line.strip()][-LAST_LINES:]


def submit(workspace: Workspace, run: tracking.StepRun, order: Order, cluster: Cluster) -> Job:
    """Make the project's form of a Spark job, and submit it through mlflow.

    Parameters
    ----------
    workspace : Workspace
        Where to.
    run : StepRun
        The run that submits, parent of the one on the cluster.
    order : Order
        What to run there.
    cluster : Cluster
        On what.

    Raises
    ------
    UserError
        Where the workspace refuses the upload or the job.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_DATABRICKS_RUN_URL, MLFLOW_DATABRICKS_SHELL_JOB_RUN_ID

    logging.getLogger("mlflow.projects").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), order, cluster.libraries)
        try:
            submitted = mlflow.run(
                folder,
                backend="databricks",
                backend_config=dict(cluster.specification),
                experiment_id=run.experiment_id,
                run_name=order.step,
                synchronous=False,
            )
        except MlflowException as error:
            raise UserError(
                f"cluster: the workspace refuses the job: {tracking.first_line(error)}; mend what it names."
            ) from error
    run_id = str(submitted.run_id)
    # The temporary folder has no commit, and is no name to find anything by.
    tracking.StepRun(run_id, run.experiment_id, order.step).log(
        tags=run.inherited | {"mlflow.project.entryPoint": order.step}
    )
    number, page = (
        tracking.tag_of(run_id, name) for name in (MLFLOW_DATABRICKS_SHELL_JOB_RUN_ID, MLFLOW_DATABRICKS_RUN_URL)
    )
    return Job(workspace, run_id, int(number), page)


def make(folder: Path, order: Order, libraries: list[str]) -> None:
    """Write the project as a Spark job takes it: no environment, no entry points, one Python file.

    The project itself lies whole in a folder within, so that the steps which `main` starts find their MLproject.

    Parameters
    ----------
    folder : Path
        Empty.
    order : Order
        What the file is to run.
    libraries : list of str
        What the cluster is to install first.
    """
    project = folder / PROJECT
    project.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(ROOT / name, project / name)
    shutil.copy(driver.__file__, folder / "driver.py")
    script = str(
        yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"][order.step]["command"]
    )
    form = {
        "name": "lifecycle",
        "databricks_spark_job": {
            "python_file": "driver.py",
            "parameters": [PROJECT, script.split()[1], *order.arguments],
            "python_libraries": libraries,
        },
    }
    (folder / "MLproject").write_text(yaml.safe_dump(form, sort_keys=False, allow_unicode=True), encoding="utf-8")

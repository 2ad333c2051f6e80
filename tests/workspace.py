"""A stand-in for a Databricks workspace, on loopback: what mlflow's clients ask of one, and jobs that really run.

It checks tokens and refuses what the Jobs API refuses. Runs, models and versions are kept by a real `mlflow server`
behind it, files in a folder. A job runs in a folder of its own, as processes that have a cluster's environment, not
the tester's; the paths that a cluster has at its root (/dbfs, /Volumes, /databricks/mlflow) are read as folders here.
"""

import http.client
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from packaging.requirements import InvalidRequirement, Requirement

TOKEN = "dapi-0123456789abcdef"
# Of the Clusters API, what a new cluster for a job may say.
CLUSTER = {
    "spark_version", "node_type_id", "driver_node_type_id", "num_workers", "autoscale", "instance_pool_id", "policy_id",
    "data_security_mode", "single_user_name", "spark_conf", "spark_env_vars", "custom_tags", "init_scripts",
    "cluster_log_conf", "aws_attributes", "azure_attributes", "gcp_attributes", "runtime_engine", "is_single_node",
    "kind", "enable_elastic_disk", "docker_image", "ssh_public_keys", "apply_policy_default_values",
}  # fmt: skip
LIBRARIES = {"pypi", "jar", "egg", "whl", "maven", "cran", "requirements"}
TASKS = {"spark_python_task", "shell_command_task", "notebook_task", "spark_jar_task", "python_wheel_task"}
# From this one on a project with an environment of its own cannot be a job.
NO_SHELL = 13
SECONDS = 300
# Of the runs of jobs, as many as an answer has.
LISTED = 20
PLACES = re.compile(r"(dbfs:/+|/dbfs/|/Volumes/|/databricks/mlflow\b)")
# A server keeps the files of logged models elsewhere than a workspace does.
MODELS = re.compile(rb"(dbfs:/databricks/mlflow-tracking/[^/\"]+)/models/(m-[0-9a-f]+)/artifacts")
MADE_OF = ("name", "source", "run_id", "description", "tags", "model_id", "version", "alias", "key", "value", "filter")

DRIVER = """
import json, runpy, sys
session, statements = None, json.loads(sys.argv[1])
if statements is not None:
    from pyspark.sql import SparkSession
    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    for statement in statements:
        session.sql(statement)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], init_globals={"spark": session}, run_name="__main__")
"""
RSYNC = """#!/bin/sh
# rsync -a -v --ignore-existing SOURCE FOLDER, as mlflow writes it.
[ "$1 $2 $3" = "-a -v --ignore-existing" ] && { [ -e "$5/$(basename "$4")" ] || cp "$4" "$5"; }
"""


class Refused(Exception):
    """What the workspace answers instead of doing it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class JobRun:
    """One run of a job.

    Attributes
    ----------
    number : int
        The workspace's.
    asked : dict
        As submitted.
    stray : set of str
        Keys of the cluster that the Clusters API does not have; a real workspace is believed to ignore them.
    state : dict
        As `jobs/runs/get` tells it.
    """

    number: int
    asked: dict[str, Any]
    stray: set[str]
    state: dict[str, str] = field(default_factory=lambda: {"life_cycle_state": "PENDING", "state_message": "Waiting"})
    out: str = ""
    process: "subprocess.Popen[str] | None" = None
    cancelled: bool = False


class Workspace:
    """The stand-in, which serves from when it is made until `close`.

    Parameters
    ----------
    folder : Path
        Where everything of it lies.
    behind : int
        The port of the mlflow server.
    """

    def __init__(self, folder: Path, behind: int) -> None:
        self.folder, self.behind = folder, behind
        self.dbfs, self.volumes, self.files = (folder / name for name in ("dbfs", "volumes", "files"))
        for part in (self.dbfs, self.volumes, self.files):
            part.mkdir(parents=True)
        self.runs: dict[int, JobRun] = {}
        # Statements for the session that a driver gets before its job; None for no session.
        self.session: list[str] | None = None
        # Questions after jobs that are refused from now on.
        self.deaf = 0
        self._numbers = itertools.count(1)
        workspace = self

        class Handler(_Handler):
            served = workspace

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Serve no more, and end the jobs that are at work."""
        self._server.shutdown()
        self._server.server_close()
        for run in self.runs.values():
            self._kill(run)

    @property
    def variables(self) -> dict[str, str]:
        """What a user exports."""
        return {"MLFLOW_TRACKING_URI": "databricks", "DATABRICKS_HOST": self.host, "DATABRICKS_TOKEN": TOKEN}

    # Jobs.

    def submit(self, asked: Any) -> dict[str, Any]:
        """Take a job, or refuse it, as `jobs/runs/submit` does."""
        cluster = checked(asked)
        run = JobRun(next(self._numbers), asked, set(cluster) - CLUSTER)
        self.runs[run.number] = run
        threading.Thread(target=self._work, args=(run,), daemon=True).start()
        return {"run_id": run.number}

    def cancel(self, run: JobRun) -> dict[str, Any]:
        run.cancelled = True
        self._kill(run)
        return {}

    @staticmethod
    def _kill(run: JobRun) -> None:
        if run.process is not None and run.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(run.process.pid, signal.SIGKILL)

    def _work(self, run: JobRun) -> None:
        time.sleep(0.2)
        try:
            install(run.asked.get("libraries", []))
        except LookupError as error:
            run.state = ended("FAILED", f"Library installation failed: {error}")
            return
        run.state = {"life_cycle_state": "RUNNING", "state_message": "In run"}
        try:
            code = self._executed(run)
        except Exception as error:  # noqa: BLE001 - or whoever follows would wait for ever
            run.out, code = f"{type(error).__name__}: {error}", 1
        if run.cancelled:
            run.state = ended("CANCELED", "Run cancelled by user")
        else:
            run.state = ended("FAILED", "Workload failed, see run output for details") if code else ended("SUCCESS", "")

    def _executed(self, run: JobRun) -> int:
        root = self.folder / "runs" / str(run.number)
        for name in ("home", "tmp", "bin", "databricks/mlflow"):
            (root / name).mkdir(parents=True)
        if shutil.which("rsync") is None:
            (root / "bin" / "rsync").write_text(RSYNC, encoding="utf-8")
            (root / "bin" / "rsync").chmod(0o755)
        cluster = run.asked["new_cluster"]
        environment = {
            "PATH": f"{root / 'bin'}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(root / "home"),
            "TMPDIR": str(root / "tmp"),
            "DATABRICKS_HOST": self.host,
            "DATABRICKS_TOKEN": TOKEN,
            "DATABRICKS_RUNTIME_VERSION": ".".join(cluster["spark_version"].split(".")[:2]),
            "SPARK_LOCAL_IP": "127.0.0.1",
            **{name: os.environ[name] for name in ("JAVA_HOME", "PYTHONDONTWRITEBYTECODE") if name in os.environ},
            **cluster.get("spark_env_vars", {}),
        }
        if "shell_command_task" in run.asked:
            task = run.asked["shell_command_task"]
            command = [self._here_on(root, part) for part in task["command"]]
            environment |= task["env_vars"]
        else:
            task = run.asked["spark_python_task"]
            job = root / "job.py"
            sent = Path(self._here_on(root, task["python_file"]))
            job.write_text(self._here_on(root, sent.read_text(encoding="utf-8")), encoding="utf-8")
            parameters = [self._here_on(root, part) for part in task["parameters"]]
            command = [sys.executable, "-c", DRIVER, json.dumps(self.session), str(job), *parameters]
        with (root / "out").open("w+", encoding="utf-8") as out:
            run.process = subprocess.Popen(
                command,
                cwd=root / "home",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
            try:
                code = run.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self._kill(run)
                code = run.process.wait()
            out.seek(0)
            run.out = out.read()
        return code

    def _here_on(self, root: Path, text: str) -> str:
        """Read a cluster's paths as this machine's."""
        places = {"/Volumes/": f"{self.volumes}/", "/databricks/mlflow": str(root / "databricks" / "mlflow")}
        return PLACES.sub(lambda found: places.get(found[0], f"{self.dbfs}/"), text)

    # What is kept behind.

    def behind_it(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Ask the mlflow server."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.behind, timeout=60)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, MODELS.sub(rb"\1/logged_models/\2", answer.read())

    def catalogued(self, method: str, what: str, values: dict[str, Any]) -> tuple[int, bytes]:
        """Answer for the registry in Unity Catalog, which the server behind keeps under the whole names."""
        if what.startswith("registered-models:is-databricks-sdk"):
            return 200, b'{"is_databricks_sdk_models_artifact_repository_enabled": true}'
        if what == "model-versions/emit-lineage":
            return 200, b"{}"
        if what == "model-versions/finalize":
            method, what = "GET", "model-versions/get"
        if "name" in values and len(str(values["name"]).split(".")) != 3:
            raise Refused(400, "INVALID_PARAMETER_VALUE", "Model name must specify all three levels of a name")
        if what.endswith("/search") and not re.fullmatch(r"name ?= ?'[^']+'", values.get("filter", "")):
            raise Refused(400, "INVALID_PARAMETER_VALUE", f"Unsupported filter {values.get('filter')!r}")
        known = {name: values[name] for name in (*MADE_OF, "max_results", "page_token") if name in values}
        path = f"/api/2.0/mlflow/{what}"
        if method == "GET":
            path, known = f"{path}?{urlencode(known)}", {}
        status, said = self.behind_it(method, path, json.dumps(known).encode() if known else b"")
        if status == 200:
            answer = json.loads(said or b"{}")
            for one in [answer.get("model_version", {}), *answer.get("model_versions", [])]:
                one["aliases"] = [{"alias": alias, "version": one["version"]} for alias in one.get("aliases", [])]
            said = json.dumps(answer).encode()
        return status, said


def ended(result: str, message: str) -> dict[str, str]:
    return {"life_cycle_state": "TERMINATED", "result_state": result, "state_message": message}


def checked(asked: Any) -> dict[str, Any]:
    """Refuse a job as the Jobs API does; return its cluster."""

    def refuse(message: str) -> Refused:
        return Refused(400, "INVALID_PARAMETER_VALUE", message)

    if not isinstance(asked, dict):
        raise Refused(400, "MALFORMED_REQUEST", "Could not parse request object")
    tasks = TASKS & set(asked)
    if len(tasks) != 1:
        raise refuse(f"Exactly one task must be specified, found {sorted(tasks)}.")
    if "new_cluster" not in asked:
        if "existing_cluster_id" in asked:
            raise refuse(f"Cluster {asked['existing_cluster_id']} does not exist")
        raise refuse("One of job_cluster_key, new_cluster, or existing_cluster_id must be specified.")
    cluster = asked["new_cluster"]
    if "existing_cluster_id" in asked or "existing_cluster_id" in cluster:
        raise refuse("Only one of new_cluster and existing_cluster_id may be specified.")
    if "spark_version" not in cluster:
        raise refuse("Missing required field: new_cluster.spark_version")
    runtime = re.fullmatch(r"(\d+)\.\d+\.x-[a-z0-9.-]+", str(cluster["spark_version"]))
    if not runtime:
        raise refuse(f"Invalid spark version {cluster['spark_version']}.")
    if not {"node_type_id", "instance_pool_id", "policy_id"} & set(cluster):
        raise refuse("Missing required field: new_cluster.node_type_id")
    if not {"num_workers", "autoscale", "is_single_node", "policy_id"} & set(cluster):
        raise refuse("Missing required field: new_cluster.size")
    if tasks == {"shell_command_task"} and int(runtime[1]) >= NO_SHELL:
        raise refuse(f"shell_command_task is not supported on {cluster['spark_version']}.")
    for library in asked.get("libraries", []):
        if not isinstance(library, dict) or len(library) != 1 or not LIBRARIES & set(library):
            raise refuse(f"Library {library} is malformed.")
        if "pypi" in library and not isinstance(library["pypi"].get("package"), str):
            raise refuse(f"Library {library} is malformed.")
    return dict(cluster)


def install(libraries: list[dict[str, Any]]) -> None:
    """See that what is to be installed is what is installed here.

    Raises
    ------
    LookupError
        For a package that is not here, or in another version: one that the lock does not name.
    """
    for library in libraries:
        try:
            wanted = Requirement(library["pypi"]["package"])
            found = version(wanted.name)
        except (KeyError, InvalidRequirement, PackageNotFoundError) as error:
            raise LookupError(f"{library} is not to be had") from error
        if not wanted.specifier.contains(found, prereleases=True):
            raise LookupError(f"{wanted} is asked for, and {found} is locked")


class _Handler(BaseHTTPRequestHandler):
    """The REST interface."""

    served: Workspace
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        with suppress(ConnectionError):
            super().handle_one_request()

    def _any(self) -> None:
        body = self._body()
        try:
            if self.path == "/.well-known/databricks-config":
                return self._send(200, json.dumps({"workspace_id": "1"}).encode(), "application/json")
            self._known()
            status, said, kind = self._answer(urlsplit(self.path), body)
        except Refused as refused:
            status, kind = refused.status, "application/json"
            said = json.dumps({"error_code": refused.code, "message": str(refused)}).encode()
        self._send(status, said, kind)

    def _send(self, status: int, said: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("X-Databricks-Org-Id", "1")
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _any

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _known(self) -> None:
        if not self.path.startswith(("/api/", "/dbfs/")):
            raise Refused(404, "ENDPOINT_NOT_FOUND", f"No API found for '{self.command} {self.path}'")
        given = self.headers.get("Authorization", "")
        if not given.startswith("Bearer "):
            raise Refused(401, "401", "Credential was not sent or was of an unsupported type for this API.")
        if given != f"Bearer {TOKEN}":
            raise Refused(403, "403", "Invalid access token.")

    def _answer(self, asked: Any, body: bytes) -> tuple[int, bytes, str]:
        path, json_kind = unquote(asked.path), "application/json"
        query = {name: values[-1] for name, values in parse_qs(asked.query).items()}
        if path.startswith("/dbfs/"):
            return self._dbfs(path.removeprefix("/dbfs/"), body)
        if path.startswith(("/api/2.0/fs/files/", "/api/2.0/fs/directories/")):
            kind, _, name = path.removeprefix("/api/2.0/fs/").partition("/")
            return self._files(kind, name, body)
        if path.startswith("/api/2.0/mlflow/unity-catalog/"):
            values = query | (json.loads(body) if body else {})
            what = path.removeprefix("/api/2.0/mlflow/unity-catalog/")
            return *self.served.catalogued(self.command, what, values), json_kind
        if path.startswith(("/api/2.0/mlflow/", "/api/3.0/mlflow/")):
            return *self.served.behind_it(self.command, self.path, body), json_kind
        if path == "/api/2.0/dbfs/get-status":
            name = str((query | (json.loads(body) if body else {}))["path"])
            found = self.served.dbfs / name.lstrip("/")
            if not found.exists():
                raise Refused(404, "RESOURCE_DOES_NOT_EXIST", f"No file or directory exists on path {name}.")
            answer = {"path": name, "is_dir": found.is_dir(), "file_size": found.stat().st_size}
            return 200, json.dumps(answer).encode(), json_kind
        if path.startswith("/api/2.0/jobs/runs/"):
            return 200, json.dumps(self._jobs(path.rpartition("/")[2], query, body)).encode(), json_kind
        raise Refused(404, "ENDPOINT_NOT_FOUND", f"No API found for '{self.command} {path}'")

    def _jobs(self, what: str, query: dict[str, str], body: bytes) -> dict[str, Any]:
        if what == "list":
            latest = sorted(self.served.runs.values(), key=lambda run: -run.number)[:LISTED]
            return {"runs": [self._about(run) for run in latest]}
        if what == "submit":
            try:
                return self.served.submit(json.loads(body))
            except ValueError as error:
                raise Refused(400, "MALFORMED_REQUEST", f"Could not parse request object: {error}") from error
        number = int((query | (json.loads(body) if body else {})).get("run_id", 0))
        if number not in self.served.runs:
            raise Refused(400, "INVALID_PARAMETER_VALUE", f"Run {number} does not exist.")
        run = self.served.runs[number]
        about = self._about(run)
        if what == "get":
            if self.served.deaf:
                self.served.deaf -= 1
                raise Refused(400, "BAD_REQUEST", "Not now.")
            return about
        if what == "cancel":
            return self.served.cancel(run)
        if what == "get-output":
            failed = run.state.get("result_state") == "FAILED"
            error = (run.out.strip().splitlines() or [run.state["state_message"]])[-1]
            return {"metadata": about, "logs": run.out} | ({"error": error} if failed else {})
        raise Refused(404, "ENDPOINT_NOT_FOUND", f"No API found for 'jobs/runs/{what}'")

    def _about(self, run: JobRun) -> dict[str, Any]:
        page = f"{self.served.host}/?o=1#job/{1000 + run.number}/run/{run.number}"
        named = {"run_id": run.number, "job_id": 1000 + run.number, "run_name": run.asked.get("run_name", "Untitled")}
        return named | {"state": run.state, "run_page_url": page}

    def _dbfs(self, name: str, body: bytes) -> tuple[int, bytes, str]:
        path = self.served.dbfs / name
        if self.command == "GET":
            if not path.is_file():
                raise Refused(404, "RESOURCE_DOES_NOT_EXIST", f"No file exists on path /{name}.")
            return 200, path.read_bytes(), "application/octet-stream"
        if path.exists():
            return 409, b"<title>Error 409</title> File already exists", "text/html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return 200, b"", "text/plain"

    def _files(self, kind: str, name: str, body: bytes) -> tuple[int, bytes, str]:
        path, plain = self.served.files / name, "application/octet-stream"
        if kind == "files":
            if self.command == "PUT":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)
                return 204, b"", plain
            if path.is_file():
                return 200, path.read_bytes(), plain
        elif path.is_dir():
            found = [
                {"path": f"/{name}/{one.name}", "name": one.name, "is_directory": one.is_dir()}
                | ({} if one.is_dir() else {"file_size": one.stat().st_size})
                for one in sorted(path.iterdir())
            ]
            return 200, json.dumps({"contents": found}).encode(), "application/json"
        raise Refused(404, "NOT_FOUND", f"The file or directory being accessed is not found: /{name}.")

"""On Databricks: jobs of both shapes, submitted by mlflow's own client to a stand-in for a workspace that runs them."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import requests
import yaml
from workspace import TOKEN, JobRun, Refused, Workspace, checked

from lifecycle.adapters import cli, clusters, driver, orders, outputs, places, registry, sources, spark, workspaces
from lifecycle.errors import UserError

ROOT = Path(__file__).parents[1]
# The runtime whose Python is this one, so that the lock's pins for it are those that are installed.
RUNTIME = "15.4.x-scala2.12" if sys.version_info < (3, 12) else "16.4.x-scala2.12"
CLUSTER = {"spark_version": RUNTIME, "node_type_id": "i3.xlarge", "num_workers": 1}
OLD_CLUSTER = CLUSTER | {"spark_version": "12.2.x-cpu-ml-scala2.12"}
LONGEST = 550
EXPERIMENT = "/Users/name/hptuning_churn_prediction_model"
FEW = {"models": "logreg,dtc"}
# What mlflow's client adds to a cluster in the Spark-job shape; in the other it stays beside `new_cluster`.
STRAY = {"ENV_MANAGER", "SYNCHRONOUS", "DOCKER_ARGS", "STORAGE_DIR", "build_image", "docker_auth"}


class Site:
    """A workspace, the server behind it, and a user's folder."""

    def __init__(self, workspace: Workspace, store: Any, behind: str) -> None:
        self.workspace, self.store = workspace, store
        store.uri = behind

    def run(self, *command: str | Path, **variables: str) -> Any:
        mine = {**self.workspace.variables, "MLFLOW_EXPERIMENT_NAME": EXPERIMENT, **variables}
        return self.store.run(*command, timeout=LONGEST, **mine)

    def run_to_the_end(self, *command: str | Path) -> Any:
        """Run a command, and wait for the job that mlflow says it has submitted: it does not wait itself."""
        done = self.run(*command)
        for number in re.findall(r"as Databricks job run with ID (\d+)", done.err):
            until = time.monotonic() + LONGEST
            while "result_state" not in self.workspace.runs[int(number)].state:
                assert time.monotonic() < until
                time.sleep(0.5)
        return done

    def script(self, *options: str, **variables: str) -> Any:
        return self.run(sys.executable, ROOT / "steps" / "on_databricks.py", *options, **variables)

    @cached_property
    def cluster(self) -> str:
        return self.written("cluster.json", CLUSTER)

    def written(self, name: str, content: Any) -> str:
        path = self.store.folder / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return str(path)

    def job_of(self, out: str) -> tuple[JobRun, Any, Any]:
        """Return the job that a command of ours has told of, the run that submitted it, and the run on the cluster."""
        [(run_id, number)] = re.findall(r"is run (\w+), job (\d+): ", out)
        theirs = self.store.client.get_run(run_id)
        mine = self.store.client.get_run(theirs.data.tags["mlflow.parentRunId"])
        return self.workspace.runs[int(number)], mine, theirs


@pytest.fixture(scope="module")
def site(
    new_store: Callable[[], Any],
    tmp_path_factory: pytest.TempPathFactory,
    serving: Callable[..., Any],
    free_port: Callable[[], int],
) -> Iterator[Site]:
    folder, port, store = tmp_path_factory.mktemp("workspace"), free_port(), new_store()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/behind.db", "--no-serve-artifacts"]
    command += ["--default-artifact-root", "dbfs:/databricks/mlflow-tracking"]
    quiet = {"stderr": subprocess.DEVNULL, "env": store.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")}
    with serving(command, port, cwd=folder, **quiet):
        workspace = Workspace(folder / "workspace", port)
        (workspace.dbfs / "FileStore").mkdir()
        shutil.copy(ROOT / "data" / "churn.csv", workspace.dbfs / "FileStore" / "customer_travel.csv")
        workspace.session = [
            "CREATE DATABASE shop",
            "CREATE TABLE shop.customers USING csv OPTIONS (header true, inferSchema true) "
            f"LOCATION '{workspace.dbfs}/FileStore/customer_travel.csv'",
        ]
        site = Site(workspace, store, f"http://127.0.0.1:{port}")
        # Two commands that begin at once would both make it, and the second be refused.
        store.client.create_experiment(EXPERIMENT)
        yield site
        workspace.close()


# The whole of main, in both shapes at once.


@pytest.fixture(scope="module")
def submitted(site: Site, scratch: Path) -> Iterator[Callable[[str], Any]]:
    """`mlflow run` of a whole main: as a Spark job on a catalog's table, and as a shell command on a file of DBFS."""
    mlflow = Path(sys.executable).parent / "mlflow"

    def given(**parameters: str) -> list[str]:
        return [part for name, value in (FEW | parameters).items() for part in ("-P", f"{name}={value}")]

    old = site.written("old.json", {"new_cluster": OLD_CLUSTER, "libraries": []})
    common = [mlflow, "run", scratch, "--env-manager", "local", "--experiment-name", EXPERIMENT]
    commands = {
        "spark": [*common, "-e", "databricks", "-P", f"cluster={site.cluster}", "-P", "engine=spark"]
        + given(
            data="spark_catalog.shop.customers", target="Target", name="main.shop.churn", parallelism="1", max_evals="2"
        ),
        "shell": [*common, "--backend", "databricks", "--backend-config", old]
        + given(data="dbfs:/FileStore/customer_travel.csv", target="Target", name="main.shop.churn_by_shell"),
    }
    started: dict[str, Future[Any]] = {}
    with ThreadPoolExecutor(2) as pool:
        for shape, command in commands.items():
            if shape == "spark" and shutil.which("java") is None:
                continue
            started[shape] = pool.submit(site.run_to_the_end, *command)
        yield lambda shape: started[shape].result() if shape in started else pytest.skip("Spark needs Java")


def job_in(site: Site, shape: str) -> JobRun:
    """Return the job of a shape that a whole main ran in."""
    task = {"spark": "spark_python_task", "shell": "shell_command_task"}[shape]
    return min((run for run in site.workspace.runs.values() if task in run.asked), key=lambda run: run.number)


SHAPES = {"spark": "main.shop.churn", "shell": "main.shop.churn_by_shell"}
# By default, and as many as show that Spark runs them.
TRIALS = {"shell": {"tune_lr": 16, "tune_multi": 32}, "spark": {"tune_lr": 2, "tune_multi": 2}}


@pytest.mark.whole
@pytest.mark.parametrize("shape", SHAPES)
def test_main_ends_in_a_registered_model(site: Site, submitted: Callable[[str], Any], shape: str) -> None:
    submitted(shape).well()
    assert job_in(site, shape).state["result_state"] == "SUCCESS", job_in(site, shape).out
    name = SHAPES[shape]
    [version] = site.store.versions(name).values()
    assert site.store.client.get_model_version_by_alias(name, "champion").version == version.version
    # Unity Catalog has no stages, and the step says so.
    assert version.current_stage == "None"
    assert "now @champion (Unity Catalog has no stages)" in job_in(site, shape).out
    files = site.workspace.files / "Models" / name.replace(".", "/") / str(version.version)
    assert {"MLmodel", "model.skops"} <= {path.name for path in files.iterdir()}


@pytest.mark.whole
@pytest.mark.parametrize("shape", SHAPES)
def test_runs_are_nested_as_they_are_at_home(site: Site, submitted: Callable[[str], Any], shape: str) -> None:
    submitted(shape).well()
    [version] = site.store.versions(SHAPES[shape]).values()
    every = {run.info.run_id: run for run in site.store.runs()}
    search = every[version.run_id]
    main = every[search.data.tags["mlflow.parentRunId"]]
    assert main.data.tags["lifecycle.step"] == "main"
    assert site.store.client.get_experiment(main.info.experiment_id).name == EXPERIMENT
    steps = site.store.children(main.info.run_id)
    assert sorted(run.data.tags["lifecycle.step"] for run in steps) == [
        *("baseline", "prepare", "register", "tune_lr", "tune_multi")
    ]
    assert {run.info.status for run in [main, *steps]} == {"FINISHED"}
    for step in steps:
        trials = site.store.children(step.info.run_id)
        assert len(trials) == TRIALS[shape].get(step.data.tags["lifecycle.step"], 0)
        assert {trial.info.status for trial in trials} <= {"FINISHED"}
    # As the Spark job it has a parent too: the run that submitted it.
    above = every.get(main.data.tags.get("mlflow.parentRunId", ""))
    assert (above.data.tags["lifecycle.step"] if above else None) == ("databricks" if shape == "spark" else None)
    if above:
        assert main.data.params["data"] == "spark_catalog.shop.customers"
        commits = {run.data.tags["mlflow.source.git.commit"] for run in (above, main, *steps)}
        assert len(commits) == 1


@pytest.mark.whole
def test_a_spark_job_installs_the_lock_and_leaves_mlflows_keys_in_its_cluster(
    site: Site, submitted: Callable[[str], Any]
) -> None:
    submitted("spark").well()
    job = job_in(site, "spark")
    asked = job.asked
    assert [one["pypi"]["package"] for one in asked["libraries"]] == clusters.read(site.cluster).libraries
    assert any(one["pypi"]["package"].startswith("hyperopt==") for one in asked["libraries"])
    assert job.stray == STRAY
    assert {name: asked["new_cluster"][name] for name in CLUSTER} == CLUSTER
    parameters = asked["spark_python_task"]["parameters"]
    assert parameters[:2] == ["project", "steps/main.py"]
    assert parameters[2 + parameters[2:].index("--data") + 1] == "spark_catalog.shop.customers"


@pytest.mark.whole
def test_a_shell_command_leaves_no_key_in_its_cluster(site: Site, submitted: Callable[[str], Any]) -> None:
    submitted("shell").well()
    job = job_in(site, "shell")
    assert (job.stray, job.asked["new_cluster"]) == (set(), OLD_CLUSTER)


@pytest.mark.whole
def test_trials_run_in_the_drivers_session_and_no_other_is_started(site: Site, submitted: Callable[[str], Any]) -> None:
    submitted("spark").well()
    # A JVM says this once, when its session begins.
    assert job_in(site, "spark").out.count("Setting default log level") == 1
    [version] = site.store.versions(SHAPES["spark"]).values()
    artifacts = site.workspace.files / "WorkspaceInternal" / "Mlflow" / "Artifacts"
    [settings] = artifacts.glob(f"*/Runs/{version.run_id}/artifacts/settings.json")
    assert json.loads(settings.read_text(encoding="utf-8"))["own"]["engine"] == "spark"


# Steps on what lies where a cluster keeps it.


@pytest.mark.whole
def test_score_reads_from_a_volume_and_writes_into_one(site: Site, submitted: Callable[[str], Any]) -> None:
    submitted("spark").well()
    shop = site.workspace.volumes / "main" / "shop"
    for name in ("raw", "scored"):
        (shop / name).mkdir(parents=True)
    rows = pd.read_csv(ROOT / "data" / "churn.csv").drop(columns="Target").head(300)
    rows.to_parquet(shop / "raw" / "new.parquet")
    places = ("--data", "/Volumes/main/shop/raw/new.parquet", "--output", "/Volumes/main/shop/scored/customers.parquet")
    model = ("--model", "models:/main.shop.churn@champion")
    done = site.script("--cluster", site.cluster, "--step", "score", *model, *places, "--engine", "spark").well()
    found = pd.read_parquet(shop / "scored" / "customers.parquet")
    model_files = site.workspace.files / "Models" / "main" / "shop" / "churn" / "1"
    own = mlflow.sklearn.load_model(str(model_files)).predict(rows)
    order = [*rows.columns, "prediction"]
    pd.testing.assert_frame_equal(
        found.sort_values(order, ignore_index=True),
        rows.assign(prediction=own).sort_values(order, ignore_index=True),
        check_dtype=False,
    )
    _, _, theirs = site.job_of(done.out)
    assert (theirs.info.status, theirs.data.metrics["rows"]) == ("FINISHED", 300)
    assert {path.name for path in (shop / "scored").iterdir()} == {"customers.parquet"}


@pytest.mark.whole
def test_tune_mllib_searches_a_table_of_the_catalog_in_the_drivers_session(site: Site) -> None:
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, and there is none on PATH")
    table = ("--data", "spark_catalog.shop.customers", "--target", "Target", "--split", "hash", "--folds", "2")
    search = ("--step", "tune_mllib", "--sweep", "false", "--models", "dtc", "--max_evals", "2")
    done = site.script("--cluster", site.cluster, *search, *table).well()
    job, _, theirs = site.job_of(done.out)
    assert job.out.count("Setting default log level") == 1
    assert (theirs.info.status, theirs.data.metrics["trials"]) == ("FINISHED", 2)
    assert len(site.store.children(theirs.info.run_id)) == 2
    [model] = site.store.models(theirs.info.run_id)
    kept = site.workspace.files / "WorkspaceInternal" / "Mlflow" / "Artifacts"
    [files] = kept.glob(f"*/LoggedModels/{model.model_id}/MLmodel")
    assert "mlflow.spark" in files.read_text(encoding="utf-8")


# What goes wrong on the cluster, and on the way to it.


@pytest.mark.whole
def test_a_job_that_fails_shows_its_page_its_last_lines_and_the_steps_sentence(site: Site) -> None:
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, and there is none on PATH")
    asked = ("--step", "prepare", "--data", "spark_catalog.shop.nothing", "--target", "y")
    done = site.script("--cluster", site.cluster, *asked)
    sentence = (
        "Error: data: the catalog has no table 'spark_catalog.shop.nothing'; give one as catalog.schema.table, as "
        "SHOW TABLES has it."
    )
    assert (done.code, done.errors) == (2, [sentence])
    job, mine, theirs = site.job_of(done.out)
    assert job.state["result_state"] == "FAILED"
    assert f"databricks: {site.workspace.host}/?o=1#job/{1000 + job.number}/run/{job.number}" in done.err
    assert "  RuntimeError: steps/prepare.py ended with exit code 2; its own words stand above" in done.err
    assert (mine.info.status, theirs.info.status) == ("FAILED", "FAILED")
    assert mine.data.tags["lifecycle.error"] == theirs.data.tags["lifecycle.error"] == sentence.removeprefix("Error: ")


@pytest.mark.whole
@pytest.mark.parametrize("deaf", [0, 1], ids=["told at once", "not told that it was taken"])
def test_a_cluster_that_lacks_a_library_is_no_user_s_sentence_and_leaves_no_run_open(site: Site, deaf: int) -> None:
    # mlflow asks first, as soon as it has submitted the job.
    site.workspace.deaf = deaf
    own = {"new_cluster": CLUSTER, "libraries": [{"pypi": {"package": "no-such-package==1.0"}}]}
    done = site.script("--step", "prepare", "--cluster", site.written("lacks.json", own))
    assert (done.code, site.workspace.deaf) == (1, 0)
    assert "databricks: the job ended as FAILED (Library installation failed: " in done.err
    _, mine, theirs = site.job_of(done.out)
    assert (mine.info.status, theirs.info.status) == ("FAILED", "FAILED")


@pytest.mark.whole
def test_a_job_that_the_workspace_refuses_is_a_sentence_and_leaves_no_run_open(site: Site) -> None:
    cluster = site.written("loud.json", CLUSTER | {"spark_version": RUNTIME.upper().replace("X-", "x-")})
    before = {run.info.run_id for run in site.store.runs()}
    done = site.script("--step", "prepare", "--cluster", cluster)
    [error] = done.errors
    assert done.code == 2 and error.startswith("Error: cluster: the workspace refuses the job: ")
    assert "Invalid spark version" in error
    made = [run for run in site.store.runs() if run.info.run_id not in before]
    assert [run.info.status for run in made] == ["FAILED", "FAILED"]


@pytest.mark.whole
def test_ctrl_c_cancels_the_job(site: Site) -> None:
    command = [sys.executable, ROOT / "steps" / "on_databricks.py", "--step", "prepare", "--cluster", site.cluster]
    session, site.workspace.session = site.workspace.session, None
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=site.store.folder,
        env=site.store.environment(**site.workspace.variables, MLFLOW_EXPERIMENT_NAME=EXPERIMENT),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told = ""
    while "RUNNING" not in told:
        told += process.stdout.readline()
    # As `mlflow run` hands it on.
    process.send_signal(signal.SIGINT)
    time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    site.workspace.session = session
    assert process.returncode == 130, err
    assert "databricks: cancelled; " in err and "Traceback" not in err
    job, mine, theirs = site.job_of(told)
    until = time.monotonic() + 30
    while "result_state" not in job.state:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert job.state["result_state"] == "CANCELED"
    assert (mine.info.status, theirs.info.status) == ("KILLED", "KILLED")


NO_CREDENTIALS = (
    "export DATABRICKS_HOST (the workspace's address) and DATABRICKS_TOKEN, or name a profile of ~/.databrickscfg by "
    "MLFLOW_TRACKING_URI=databricks://PROFILE."
)
TO_A_STORE = (
    "and a job on Databricks cannot reach another store; set it to databricks, with DATABRICKS_HOST and "
    "DATABRICKS_TOKEN, or to databricks://PROFILE."
)
WRONG = {
    "no token": ({"DATABRICKS_TOKEN": ""}, f"DATABRICKS_TOKEN: there is none for {{host}}; {NO_CREDENTIALS}"),
    "no workspace": (
        {"DATABRICKS_TOKEN": "", "DATABRICKS_HOST": ""},
        f"DATABRICKS_HOST: not set; {NO_CREDENTIALS}",
    ),
    "no such profile": (
        {"MLFLOW_TRACKING_URI": "databricks://work"},
        f"DATABRICKS_HOST: ~/.databrickscfg has no profile 'work' with a host; {NO_CREDENTIALS}",
    ),
    "a file that is none of profiles": (
        {"MLFLOW_TRACKING_URI": "databricks://work", "DATABRICKS_CONFIG_FILE": str(ROOT / "README.md")},
        f"DATABRICKS_HOST: {ROOT}/README.md is no file of profiles (File contains no section headers.); "
        f"{NO_CREDENTIALS}",
    ),
    "a wrong token": (
        {"DATABRICKS_TOKEN": "dapi-wrong"},
        "DATABRICKS_TOKEN: the workspace {host} refuses the token (Invalid access token); make another one on its page "
        "Settings, Developer, or ask for the right to submit jobs.",
    ),
    "nobody there": (
        {"DATABRICKS_HOST": "http://127.0.0.1:9"},
        "DATABRICKS_HOST: no workspace answers at http://127.0.0.1:9 ([Errno 111] Connection refused); give the "
        "address that its pages have.",
    ),
    "a local store": (
        {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
        f"MLFLOW_TRACKING_URI: 'sqlite:///mlflow.db' is no workspace, {TO_A_STORE}",
    ),
    "no store": ({"MLFLOW_TRACKING_URI": ""}, f"MLFLOW_TRACKING_URI: it is not set, {TO_A_STORE}"),
}


@pytest.mark.whole
@pytest.mark.parametrize("case", WRONG)
def test_a_workspace_that_cannot_be_had_is_a_sentence(
    site: Site, case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables, sentence = WRONG[case]
    for name, value in {**site.workspace.variables, "HOME": str(tmp_path), **variables}.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(UserError, match=f"^{re.escape(sentence.format(host=site.workspace.host))}$"):
        workspaces.Workspace.of_the_environment()
    # Their client tries for five minutes.
    assert time.monotonic() - began < 60


TYPED = {
    "a wrong token": ({"DATABRICKS_TOKEN": "dapi-wrong"}, [], r"DATABRICKS_TOKEN: the workspace .* refuses the token"),
    "a local store": (
        {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
        [],
        r"MLFLOW_TRACKING_URI: 'sqlite:///mlflow\.db'",
    ),
    "no experiment": (
        {"MLFLOW_EXPERIMENT_NAME": ""},
        [],
        r"MLFLOW_EXPERIMENT_NAME: a Databricks workspace has no default experiment; set it to a path of the workspace,",
    ),
    "another step's option": ({}, ["--step", "prepare", "--max_evals", "3"], r"No such option '--max_evals'"),
}


@pytest.mark.whole
@pytest.mark.parametrize("case", TYPED)
def test_mistakes_are_told_before_anything_is_sent(site: Site, case: str) -> None:
    variables, options, sentence = TYPED[case]
    before = len(site.workspace.runs), {path.name for path in site.workspace.dbfs.rglob("*")}
    done = site.script("--cluster", site.cluster, *options, **variables)
    assert done.code == 2 and "Traceback" not in done.err
    [error] = done.errors
    assert re.match(f"Error: {sentence}", error), error
    assert before == (len(site.workspace.runs), {path.name for path in site.workspace.dbfs.rglob("*")})


# The parts.


def test_a_step_s_options_are_handed_on_as_typed_and_no_others() -> None:
    assert cli.given("main", ["--data", "churn", "--max_evals", "", "--strict", "True", "--query", "SELECT 'a b'"]) == {
        "data": "churn",
        "max_evals": "",
        "strict": "True",
        "query": "SELECT 'a b'",
    }
    assert cli.given("prepare", []) == {}


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_of_a_step_is_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "some.py").write_text(
        "import pathlib, sys\nassert __name__ == '__main__'\n"
        f"pathlib.Path('seen').write_text(' '.join(sys.argv))\nsys.exit({code})\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    if code:
        with pytest.raises(RuntimeError, match=r"^steps/some\.py ended with exit code 3; its own words stand above$"):
            driver.run(str(tmp_path), "steps/some.py", "--a", "b c")
    else:
        driver.run(str(tmp_path), "steps/some.py", "--a", "b c")
    assert (tmp_path / "seen").read_text(encoding="utf-8") == "steps/some.py --a b c"


@pytest.mark.parametrize(
    ("typed", "form", "name"),
    [
        ("main.shop.orders", "catalog", "orders"),
        ("main.`my shop`.orders-2021", "catalog", "orders-2021"),
        ("shop.orders", "path", "shop.orders"),
        ("my.old.csv", "path", "my.old.csv"),
        ("my.old.csv.gz", "path", "my.old.csv.gz"),
        ("./main.shop.orders", "path", "main.shop.orders"),
    ],
)
def test_three_names_with_dots_are_a_table_of_the_catalog(typed: str, form: str, name: str) -> None:
    place = places.parse_place("data", typed)
    assert (place.form, place.name) == (form, name)


def test_a_file_of_that_very_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sources.place_of("data", "main.shop.orders").form == "catalog"
    (tmp_path / "main.shop.orders").mkdir()
    assert sources.place_of("data", "main.shop.orders").form == "path"


def test_without_a_session_a_table_of_the_catalog_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data: 'main\.shop\.orders' is no file here, .* by -e databricks, or give a"):
        spark.fetch_table("data", "main.shop.orders", tmp_path)


def test_on_a_cluster_no_session_of_our_own_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")
    with pytest.raises(UserError, match=r"^engine: this process has no session of the cluster's Spark, and a second"):
        spark.check()


@pytest.mark.parametrize(
    ("name", "tables", "sentence"),
    [
        ("churn", ["churn"], r"^name: 'churn' has not three parts, .* give -P name=CATALOG\.SCHEMA\.churn, or set"),
        ("shop.churn", ["churn"], r"^name: 'shop\.churn' has not three parts, .* -P name=CATALOG\.SCHEMA\.churn,"),
        ("", ["/Volumes/a/b/c/My Trips.csv"], r"^name: 'my_trips' has not .* give -P name=CATALOG\.SCHEMA\.my_trips,"),
        ("", ["churn", "iris"], r"^name: .* data names 2 tables \(churn, iris\); .* name=CATALOG\.SCHEMA\.churn\.$"),
    ],
)
def test_unity_catalog_wants_names_of_three_parts(
    monkeypatch: pytest.MonkeyPatch, name: str, tables: list[str], sentence: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    with pytest.raises(UserError, match=sentence):
        registry.check_name(name, tables)
    registry.check_name("main.shop.churn", tables[:1])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    registry.check_name(name, tables)


def test_a_workspaces_own_registry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "databricks")
    with pytest.raises(UserError, match=r"^MLFLOW_REGISTRY_URI: 'databricks' is a workspace's own .* no aliases;"):
        registry.check_name("churn", ["churn"])


# The stand-in itself.


JOB = {"new_cluster": CLUSTER, "libraries": [], "spark_python_task": {"python_file": "dbfs:/a.py", "parameters": []}}
SHELL = {"shell_command_task": {"command": ["true"], "env_vars": {}}}


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({**JOB, **SHELL}, "Exactly one task"),
        ({"new_cluster": CLUSTER}, "Exactly one task"),
        ({**SHELL, "new_cluster": CLUSTER}, "shell_command_task is not supported on"),
        ({name: value for name, value in JOB.items() if name != "new_cluster"}, "One of job_cluster_key, new_cluster"),
        ({**JOB, "existing_cluster_id": "1"}, "Only one of new_cluster and existing_cluster_id"),
        ({**JOB, "new_cluster": CLUSTER | {"existing_cluster_id": "1"}}, "Only one of"),
        ({**JOB, "new_cluster": {"spark_version": RUNTIME, "num_workers": 1}}, "node_type_id"),
        ({**JOB, "new_cluster": {"spark_version": RUNTIME, "node_type_id": "a"}}, "size"),
        ({**JOB, "new_cluster": {"node_type_id": "a", "num_workers": 1}}, "spark_version"),
        ({**JOB, "new_cluster": CLUSTER | {"spark_version": "newest"}}, "Invalid spark version newest"),
        ({**JOB, "libraries": ["hyperopt"]}, "malformed"),
        ({**JOB, "libraries": [{"pypi": {"name": "hyperopt"}}]}, "malformed"),
        ([JOB], "Could not parse"),
    ],
)
def test_the_stand_in_refuses_what_the_jobs_api_refuses(job: Any, message: str) -> None:
    with pytest.raises(Refused, match=message):
        checked(job)
    checked(JOB)


@pytest.mark.whole
def test_the_stand_in_keeps_what_is_there_and_lets_nobody_in_without_a_token(site: Site) -> None:
    address, known = f"{site.workspace.host}/dbfs/FileStore/customer_travel.csv", {"Authorization": f"Bearer {TOKEN}"}
    assert requests.post(address, data=b"other", timeout=10).status_code == 401
    assert requests.post(address, data=b"other", headers={"Authorization": "Bearer x"}, timeout=10).status_code == 403
    answer = requests.post(address, data=b"other", headers=known, timeout=10)
    assert (answer.status_code, "File already exists" in answer.text) == (409, True)
    assert requests.get(address, headers=known, timeout=10).content == (ROOT / "data" / "churn.csv").read_bytes()


# The bundle.

BUNDLE = yaml.safe_load((ROOT / "databricks.yml").read_text(encoding="utf-8"))
JOBS = BUNDLE["resources"]["jobs"]


def test_the_bundle_schedules_main_and_the_scoring() -> None:
    assert set(BUNDLE) == {"bundle", "variables", "sync", "resources", "targets"}
    assert set(JOBS) == {"lifecycle_main", "lifecycle_score"}
    for job in JOBS.values():
        # Quartz: six or seven fields, one of day of month and day of week being a question mark.
        fields = job["schedule"]["quartz_cron_expression"].split()
        assert len(fields) in (6, 7) and [fields[3], fields[5]].count("?") == 1
        assert all(re.fullmatch(r"[\d*?/,A-Z-]+", one) for one in fields)
        assert job["schedule"]["pause_status"] == "PAUSED"
        assert job["max_concurrent_runs"] == 1
    assert [name for name, target in BUNDLE["targets"].items() if target.get("default")] == ["dev"]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_of_the_bundle_is_one_that_the_api_takes_and_the_project_knows(name: str) -> None:
    [task] = JOBS[name]["tasks"]
    [cluster] = JOBS[name]["job_clusters"]
    assert task["job_cluster_key"] == cluster["job_cluster_key"]
    jobs_api = {part: task[part] for part in ("spark_python_task", "libraries")} | {
        "new_cluster": cluster["new_cluster"]
    }
    assert set(checked(jobs_api)) <= {*CLUSTER, "data_security_mode", "spark_env_vars"}
    [library] = task["libraries"]
    for path in (
        library["requirements"].removeprefix("${workspace.file_path}/"),
        task["spark_python_task"]["python_file"],
    ):
        assert (ROOT / path).is_file(), path
    project, script, *options = task["spark_python_task"]["parameters"]
    assert project == "${workspace.file_path}"
    step = Path(script).stem
    assert (ROOT / script).is_file()
    assert dict(zip(options[::2], options[1::2], strict=True)).keys() == {
        f"--{one}" for one in cli.given(step, options)
    }


def test_the_bundle_writes_scored_rows_where_scoring_can() -> None:
    assert Path(BUNDLE["variables"]["output"]["default"]).suffix in outputs.SUFFIXES


def test_every_variable_of_the_bundle_is_declared_and_used() -> None:
    used = set(re.findall(r"\$\{var\.(\w+)\}", (ROOT / "databricks.yml").read_text(encoding="utf-8")))
    assert used == set(BUNDLE["variables"])
    assert all(variable["description"].endswith(".") for variable in BUNDLE["variables"].values())


def test_what_the_jobs_need_is_uploaded() -> None:
    sent = BUNDLE["sync"]["include"]
    for name in (*orders.PARTS, "clusters"):
        if name != "conda.yaml":
            assert name in sent or f"{name}/**" in sent, name
    needed = [path for name in (*orders.PARTS, "clusters") for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    names = [path.relative_to(ROOT).as_posix() for path in needed if "__pycache__" not in path.parts]
    excluded = [name for name in [*names, "tests/test_databricks.py"] if _is_excluded(name)]
    assert excluded == ["tests/test_databricks.py"]


def _is_excluded(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in BUNDLE["sync"]["exclude"])

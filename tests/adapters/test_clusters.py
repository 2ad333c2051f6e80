"""A cluster's file: what is read from it, what is refused, what will be installed."""

import json
import re
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from lifecycle.adapters import clusters, code
from lifecycle.errors import UserError

GOOD = {"spark_version": "15.4.x-scala2.12", "node_type_id": "i3.xlarge", "num_workers": 2}


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(content: Any) -> str:
        path = tmp_path / "cluster.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(path)

    return write


def test_flat_and_nested_files_say_the_same(written: Any) -> None:
    flat = clusters.read(written(GOOD))
    nested = clusters.read(written({"new_cluster": GOOD}))
    assert flat == nested
    assert flat.specification == GOOD


def test_libraries_of_the_file_follow_the_locks(written: Any) -> None:
    own = clusters.read(written({"new_cluster": GOOD, "libraries": [{"pypi": {"package": "s3fs==2026.1.0"}}]}))
    assert own.libraries == [*clusters.read(written(GOOD)).libraries, "s3fs==2026.1.0"]


def test_libraries_are_the_locks_for_the_runtimes_python(written: Any) -> None:
    old, new = (
        {
            pin.split("==")[0]: pin.split("==")[1]
            for pin in clusters.read(written(GOOD | {"spark_version": v})).libraries
        }
        for v in ("15.4.x-scala2.12", "17.3.x-cpu-ml-scala2.13")
    )
    lock = (code.LOCK).read_text(encoding="utf-8")
    assert f"numpy=={old['numpy']} ; python_full_version < '3.12'" in lock
    assert f"numpy=={new['numpy']} ; python_full_version >= '3.12'" in lock
    assert old["numpy"] != new["numpy"]
    assert {"hyperopt", "mlflow", "duckdb", "scikit-learn", "xgboost-cpu"} <= set(old)
    # For other systems, and what a runtime brings.
    assert not {"pywin32", "colorama", "xgboost", "pyspark", "py4j"} & (set(old) | set(new))


def test_nothing_that_stays_needs_what_is_left_out(written: Any) -> None:
    for pin in clusters.read(written(GOOD)).libraries:
        needed = {Requirement(one).name for one in requires(pin.split("==")[0]) or [] if "extra ==" not in one}
        assert not needed & clusters.BROUGHT, pin


def test_the_list_for_scheduled_jobs_is_the_lock_without_what_a_runtime_brings() -> None:
    listed = (code.ROOT / "clusters" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    locked = [line.rstrip("\\ ") for line in code.LOCK.read_text(encoding="utf-8").splitlines() if line[:1].isalnum()]
    assert listed[1:] == [pin for pin in locked if pin.split("==")[0] not in clusters.BROUGHT]


def test_examples_are_of_the_shapes_that_they_are_for() -> None:
    assert clusters.read("clusters/spark-job.json").specification["spark_version"].startswith("16.4")
    shell = json.loads((code.ROOT / "clusters" / "shell-command.json").read_text(encoding="utf-8"))
    assert set(shell) == {"new_cluster", "libraries"}
    assert int(shell["new_cluster"]["spark_version"].split(".")[0]) < 13


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "{spark_version: 1}",
            "is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1);",
        ),
        ([GOOD], "holds a list; give an object that describes one cluster (see clusters/spark-job.json)."),
        ('"small"', 'holds only "small"; give an object'),
        (
            GOOD | {"existing_cluster_id": "0923-164208-meows279"},
            "asks for an existing cluster (0923-164208-meows279),",
        ),
        ({"existing_cluster_id": "0923-164208-meows279"}, "asks for an existing cluster (0923-164208-meows279),"),
        ({"new_cluster": GOOD, "existing_cluster_id": "0923"}, "asks for an existing cluster (0923),"),
        ({"new_cluster": "small"}, "is no object; describe the cluster in it"),
        ({"node_type_id": "i3.xlarge", "num_workers": 1}, "names no runtime; add spark_version"),
        (GOOD | {"spark_version": "latest"}, "spark_version 'latest' in"),
        (
            GOOD | {"spark_version": "12.2.x-scala2.12"},
            "is too old, its Python is below the lock's 3.11; give a runtime of 15.1 or later, such as "
            "'16.4.x-scala2.12'; up to 12, `mlflow run . --backend databricks` makes an environment instead.",
        ),
        (GOOD | {"spark_version": "14.3.x-scala2.12"}, "give a runtime of 15.1 or later, such as '16.4.x-scala2.12'."),
        ({"spark_version": "15.4.x-scala2.12", "num_workers": 1}, "names no machines; add node_type_id"),
        ({"spark_version": "15.4.x-scala2.12", "node_type_id": "i3.xlarge"}, "does not say how large it is;"),
        (
            GOOD | {"libraries": [{"pypi": {"package": "s3fs"}}]},
            "stand within the cluster, where nobody reads them; put them beside, as "
            '{"new_cluster": {...}, "libraries": [...]}.',
        ),
        (
            {"new_cluster": GOOD, "timeout_seconds": 60, "name": "a"},
            "name, timeout_seconds in ",
        ),
        ({"new_cluster": GOOD, "libraries": None}, "libraries in "),
        ({"new_cluster": GOOD, "libraries": {"pypi": {"package": "s3fs"}}}, "is no list; give one, or leave it out."),
    ],
)
def test_what_no_job_could_run_on_is_refused(written: Any, content: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^cluster: .*{re.escape(sentence)}") as refused:
        clusters.read(written(content))
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


INDEX_ALONE = (
    '; a project as a Spark job takes packages of the index alone, each as {"pypi": {"package": "s3fs"}} with nothing '
    "beside."
)


@pytest.mark.parametrize(
    ("library", "sentence"),
    [
        # It would come from the public index, where anybody may have put that name.
        ({"pypi": {"package": "mine==1.0", "repo": "https://s3cr3t@host/simple"}}, "has package, repo" + INDEX_ALONE),
        ({"pypi": {"package": "mine"}, "jar": "a.jar"}, "has pypi, jar" + INDEX_ALONE),
        ({"jar": "dbfs:/a.jar"}, "has jar" + INDEX_ALONE),
        ({"package": "s3fs"}, "has package" + INDEX_ALONE),
        ({"pypi": {"package": ["s3fs"]}}, "has package" + INDEX_ALONE),
        ({"pypi": None}, "has pypi" + INDEX_ALONE),
        ("s3fs", "is no object" + INDEX_ALONE),
        (
            {"pypi": {"package": "mine @ git+https://s3cr3t@host/me/mine@main"}},
            "has a password or a token in it, which would stay in the workspace's files; leave it out, and give it to "
            "pip by an init script of the cluster.",
        ),
    ],
)
def test_a_library_that_would_not_arrive_as_it_is_written_is_refused(written: Any, library: Any, sentence: str) -> None:
    content = {"new_cluster": GOOD, "libraries": [{"pypi": {"package": "s3fs"}}, library]}
    with pytest.raises(UserError, match=rf"^cluster: library 2 in '.*' {re.escape(sentence)}$") as refused:
        clusters.read(written(content))
    # The sentence becomes a tag.
    assert "s3cr3t" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, written: Any) -> None:
    for path in (tmp_path / "none.json", Path(written(GOOD)) / "below.json"):
        with pytest.raises(UserError, match=rf"^cluster: there is no file '{path}'; give the absolute path .*\.$"):
            clusters.read(str(path))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    turning = tmp_path / "turning.json"
    turning.symlink_to(turning)
    for asked in (str(turning), "a" * 300):
        with pytest.raises(UserError, match=rf"^cluster: '{asked}' cannot be read \(.+\); mend that, or give another"):
            clusters.read(asked)


@pytest.mark.parametrize("mode", ["USER_ISOLATION", "DATA_SECURITY_MODE_STANDARD"])
def test_for_spark_a_cluster_of_the_access_mode_standard_is_refused(written: Any, mode: str) -> None:
    cluster = clusters.read(written(GOOD | {"data_security_mode": mode}))
    with pytest.raises(UserError, match=rf"^cluster: data_security_mode {mode} is the access mode standard, .*\.$"):
        cluster.check_for_spark()
    for own in ({}, {"data_security_mode": "SINGLE_USER"}, {"data_security_mode": "DATA_SECURITY_MODE_DEDICATED"}):
        clusters.read(written(GOOD | own)).check_for_spark()


def test_a_policy_may_fill_in_the_machines(written: Any) -> None:
    given = {"spark_version": "15.4.x-scala2.12", "policy_id": "ABCDEF"}
    assert clusters.read(written(given)).specification == given


def test_what_is_logged_of_a_cluster_holds_no_secret(written: Any) -> None:
    secretive = {
        "spark_env_vars": {"PGPASSWORD": "s3cr3t"},
        "docker_image": {"url": "host/image", "basic_auth": {"username": "me", "password": "s3cr3t"}},
        "init_scripts": [{"s3": {"destination": "s3://a/b?token=s3cr3t"}}],
    }
    cluster = clusters.read(written(GOOD | secretive | {"custom_tags": {"team": "a"}}))
    assert cluster.specification["spark_env_vars"] == {"PGPASSWORD": "s3cr3t"}
    assert cluster.logged == GOOD | {
        "spark_env_vars": ["PGPASSWORD"],
        "docker_image": ["basic_auth", "url"],
        "init_scripts": "not shown",
        "custom_tags": {"team": "a"},
    }

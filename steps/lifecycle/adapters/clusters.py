"""A cluster to be made on Databricks: read from its JSON file, checked before anything is sent, with its libraries."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.adapters.code import ROOT, pins
from lifecycle.errors import UserError, listed

# Python of the runtimes, by Databricks' release notes: 13 and 14 have 3.10, 15.1 is the first with the lock's 3.11.
FIRST = (15, 1)
PYTHONS = {15: "3.11.0"}
LATER = "3.12.3"
# A runtime brings Spark of its own; another one beside it would hide the active session.
BROUGHT = frozenset({"pyspark", "py4j"})
LIKE = "16.4.x-scala2.12"
INSTEAD = "see clusters/spark-job.json"


@dataclass(frozen=True)
class Cluster:
    """A new cluster for one job.

    Attributes
    ----------
    specification : dict
        What the Jobs API calls `new_cluster`.
    libraries : list of str
        What is installed on it from the package index, as pip writes requirements: the lock's, then the file's own.
    """

    specification: dict[str, Any]
    libraries: list[str]

    @property
    def logged(self) -> dict[str, Any]:
        """The specification as a run's page may show it: of variables and Spark's settings the names alone."""
        hidden = {name: sorted(self.specification.get(name) or ()) for name in ("spark_env_vars", "spark_conf")}
        return self.specification | {name: names for name, names in hidden.items() if names}


def read(asked: str) -> Cluster:
    """Read a cluster's file: the specification itself, or one with `new_cluster` and `libraries` in it.

    Parameters
    ----------
    asked : str
        A path; a relative one is looked for here, then in the project.

    Raises
    ------
    UserError
        Where there is no such file, it is no JSON, or no job of this project could run on what it describes.
    """
    path = Path(asked).expanduser()
    if not path.is_absolute() and not path.exists():
        path = ROOT / asked
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(
            f'cluster: there is no file {asked!r}; give the absolute path of a JSON file, such as "$PWD/cluster.json" '
            f"({INSTEAD})."
        ) from error
    except ValueError as error:
        raise UserError(f"cluster: {asked!r} is not JSON: {str(error).rstrip('.')}; {INSTEAD}.") from error
    if not isinstance(found, dict):
        kind = "a list" if isinstance(found, list) else f"only {json.dumps(found)}"
        raise UserError(f"cluster: {asked!r} holds {kind}; give an object that describes one cluster ({INSTEAD}).")
    outer = found if "new_cluster" in found else {"new_cluster": found}
    specification = outer["new_cluster"]
    if not isinstance(specification, dict):
        raise UserError(f"cluster: new_cluster in {asked!r} is no object; describe the cluster in it ({INSTEAD}).")
    for place in (outer, specification):
        if "existing_cluster_id" in place:
            raise UserError(
                f"cluster: {asked!r} asks for an existing cluster ({place['existing_cluster_id']}), and mlflow runs "
                "projects on new ones alone; describe one by spark_version, node_type_id and num_workers."
            )
    python = _python(asked, specification)
    _check_size(asked, specification)
    return Cluster(specification, [*pins(_linux(python), BROUGHT), *_own(asked, outer.get("libraries", []))])


def _python(asked: str, specification: dict[str, Any]) -> str:
    """Return the Python of the runtime."""
    version = specification.get("spark_version")
    if not version:
        raise UserError(f"cluster: {asked!r} names no runtime; add spark_version, such as {LIKE!r}.")
    runtime = re.match(r"(\d+)\.(\d+)\.x-", str(version))
    if not runtime:
        raise UserError(f"cluster: spark_version {version!r} in {asked!r} is no runtime; give one such as {LIKE!r}.")
    number = int(runtime[1]), int(runtime[2])
    if number < FIRST:
        old = "; up to 12, `mlflow run . --backend databricks` makes an environment instead" if number[0] < 13 else ""
        raise UserError(
            f"cluster: spark_version {version!r} in {asked!r} is too old, its Python is below the lock's 3.11; give a "
            f"runtime of {FIRST[0]}.{FIRST[1]} or later, such as {LIKE!r}{old}."
        )
    return PYTHONS.get(number[0], LATER)


def _check_size(asked: str, specification: dict[str, Any]) -> None:
    # A policy may fill in what is left out.
    if "policy_id" in specification:
        return
    if not {"node_type_id", "instance_pool_id"} & set(specification):
        raise UserError(f"cluster: {asked!r} names no machines; add node_type_id (or instance_pool_id, policy_id).")
    if not {"num_workers", "autoscale", "is_single_node"} & set(specification):
        raise UserError(f"cluster: {asked!r} does not say how large it is; add num_workers, or autoscale.")


def _own(asked: str, libraries: Any) -> list[str]:
    """Return the packages that the file adds to the lock's."""
    try:
        names = [str(library["pypi"]["package"]) for library in libraries]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"cluster: libraries in {asked!r} are {listed([json.dumps(one) for one in libraries], 3)}; a project as a "
            'Spark job takes packages of the index alone, each as {"pypi": {"package": "s3fs"}}.'
        ) from error
    return names


def _linux(python: str) -> dict[str, str]:
    """Return what the lock's markers ask of a machine, for a runtime."""
    return {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
    }

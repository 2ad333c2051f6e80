"""A cluster to be made on Databricks: read from its JSON file, checked before anything is sent, with its libraries."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.adapters.code import ROOT, pins
from lifecycle.adapters.places import bears_secret
from lifecycle.errors import UserError, listed

# Python of the runtimes, by Databricks' release notes: 13 and 14 have 3.10, 15.1 is the first with the lock's 3.11.
FIRST = (15, 1)
PYTHONS = {15: "3.11.0"}
LATER = "3.12.3"
# A runtime brings Spark of its own; another one beside it would hide the active session.
BROUGHT = frozenset({"pyspark", "py4j"})
# Modes in which users are kept apart: Python speaks to Spark from afar, and there is no JVM to join.
STANDARD = ("USER_ISOLATION", "DATA_SECURITY_MODE_STANDARD")
# What a run's page may show; elsewhere in a specification passwords may stand.
SHOWN = frozenset(
    "spark_version runtime_engine node_type_id driver_node_type_id num_workers autoscale is_single_node kind "
    "instance_pool_id driver_instance_pool_id policy_id data_security_mode single_user_name custom_tags".split()
)
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
        """The specification as a run's page may show it: what is known to be harmless, of all else names alone."""
        return {
            name: value if name in SHOWN else sorted(value) if isinstance(value, dict) else "not shown"
            for name, value in self.specification.items()
        }

    def check_for_spark(self) -> None:
        """Refuse an access mode in which no step can speak to Spark.

        Raises
        ------
        UserError
            Naming the one that is needed.
        """
        mode = self.specification.get("data_security_mode")
        if mode in STANDARD:
            raise UserError(
                f"cluster: data_security_mode {mode} is the access mode standard, in which no step can join the "
                "cluster's Spark; make it SINGLE_USER, or use engine=local where the step has it."
            )


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
    found = _loaded(asked)
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
    if "libraries" in specification:
        raise UserError(
            f"cluster: libraries in {asked!r} stand within the cluster, where nobody reads them; put them beside, as "
            '{"new_cluster": {...}, "libraries": [...]}.'
        )
    lost = sorted(set(outer) - {"new_cluster", "libraries"})
    if lost:
        raise UserError(
            f"cluster: {listed(lost)} in {asked!r} would be lost, since new_cluster and libraries alone are handed on; "
            "leave it out."
        )
    python = _python(asked, specification)
    _check_size(asked, specification)
    return Cluster(specification, [*pins(_linux(python), BROUGHT), *_own(asked, outer.get("libraries", []))])


def _loaded(asked: str) -> dict[str, Any]:
    """Return the object that a file holds."""
    try:
        path = Path(asked).expanduser()
        if not path.is_absolute() and not path.exists():
            path = ROOT / asked
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UserError(
            f'cluster: there is no file {asked!r}; give the absolute path of a JSON file, such as "$PWD/cluster.json" '
            f"({INSTEAD})."
        ) from error
    except ValueError as error:
        raise UserError(f"cluster: {asked!r} is not JSON: {str(error).rstrip('.')}; {INSTEAD}.") from error
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise UserError(f"cluster: {asked!r} cannot be read ({why}); mend that, or give another file.") from error
    if not isinstance(found, dict):
        kind = "a list" if isinstance(found, list) else f"only {json.dumps(found)}"
        raise UserError(f"cluster: {asked!r} holds {kind}; give an object that describes one cluster ({INSTEAD}).")
    return found


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
    """Return the packages that the file adds to the lock's; no sentence shows what it holds, passwords perhaps."""
    if not isinstance(libraries, list):
        raise UserError(f"cluster: libraries in {asked!r} is no list; give one, or leave it out.")
    return [_package(f"library {number} in {asked!r}", library) for number, library in enumerate(libraries, 1)]


def _package(which: str, library: Any) -> str:
    match library:
        # What stands beside the name, such as another index to take it from, would be lost on the way.
        case {"pypi": {"package": str(name), **beside}, **others} if name and not beside and not others:
            if not bears_secret(name):
                return name
            raise UserError(
                f"cluster: {which} has a password or a token in it, which would stay in the workspace's files; leave "
                "it out, and give it to pip by an init script of the cluster."
            )
        case {"pypi": dict(inner), **others} if not others:
            has = f"has {listed(inner)}"
        case dict():
            has = f"has {listed(library)}"
        case _:
            has = "is no object"
    raise UserError(
        f"cluster: {which} {has}; a project as a Spark job takes packages of the index alone, each as "
        '{"pypi": {"package": "s3fs"}} with nothing beside.'
    )


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

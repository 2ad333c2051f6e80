"""What is to run on Databricks: an entry point with its parameters, and the project in the form of a Spark job."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from lifecycle.adapters import driver
from lifecycle.adapters.catalog import catalog, split_tables
from lifecycle.adapters.cli import OPTIONS
from lifecycle.adapters.code import ROOT
from lifecycle.adapters.places import bears_secret, parse_place, without_secrets
from lifecycle.errors import UserError
from lifecycle.settings import one_of, parse_names

# What entry points read; of a working copy there may be much more.
PARTS = ("MLproject", "python_env.yaml", "conda.yaml", "pyproject.toml", "requirements.txt", "steps", "data")
PROJECT = "project"
ON_THE_CLUSTER = ("/dbfs/", "/Volumes/", "/Workspace/")
VOLUME = "/Volumes/CATALOG/SCHEMA/VOLUME/"


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
        """Refuse what a cluster could not do, or all of the workspace could read.

        Raises
        ------
        UserError
            For an entry point that there is not, a file of this machine, an output that ends with the cluster, and a
            password.
        """
        one_of("step", self.step, [name for name in OPTIONS if name != "databricks"])
        checks: dict[str, Callable[[str, str], None]] = {
            "data": _check_table,
            "test_data": _check_table,
            "space": _check_path,
            "file": _check_path,
            "model": _check_model,
        }
        for name, check in checks.items():
            asked = self._given(name)
            if bears_secret(asked):
                raise UserError(
                    f"{name}: {without_secrets(asked)!r} has a password or a token in it, which would stay in the "
                    "workspace's files; name a variable instead, such as $PGPASSWORD, and set it in spark_env_vars of "
                    "the cluster, as {{secrets/SCOPE/KEY}}."
                )
            if asked:
                check(name, asked)
        if self._given("output"):
            self._check_output(self._given("output"))

    @property
    def on_spark(self) -> bool:
        """Whether the step speaks to the cluster's Spark itself."""
        return self.step == "tune_mllib" or self._given("engine") == "spark"

    @property
    def arguments(self) -> list[str]:
        """The command line of the script on the cluster."""
        return [part for name, value in self.given.items() for part in (f"--{name}", value)]

    def _given(self, name: str) -> str:
        return self.given.get(name, "").strip()

    def _check_output(self, asked: str) -> None:
        place = parse_place("output", asked)
        stays = place.form == "path" and place.path.startswith(ON_THE_CLUSTER)
        if not stays and not (place.form == "catalog" and self.on_spark):
            raise UserError(
                f"output: {place.shown!r} is no place that stays when the cluster ends; give a path in a volume, such "
                f"as {VOLUME}{place.name}, or with engine=spark a table as catalog.schema.table."
            )


def _check_table(option: str, asked: str) -> None:
    if all(one in catalog() for one in split_tables(asked)):
        return
    several = parse_names(asked)
    if len(several) > 1 and all(one in catalog() or parse_place(option, one).form == "catalog" for one in several):
        raise UserError(
            f"{option}: {asked!r} names {len(several)} tables, and only samples may be several; submit them one by "
            f"one, such as -P {option}={several[0]}."
        )
    place = parse_place(option, asked)
    if place.form == "path":
        _check_path(option, place.path)
    elif re.match("sqlite[+:]", asked, re.IGNORECASE):
        _check_path(option, asked.partition(":///")[2].partition("?")[0], f"sqlite:///{{}}?table={place.name}")


def _check_model(option: str, asked: str) -> None:
    address = urlsplit(asked)
    # mlflow itself says of another address whether it can be had.
    if address.scheme in ("", "file"):
        _check_path(option, unquote(address.path) if address.scheme else asked)


def _check_path(option: str, path: str, form: str = "{}") -> None:
    """Refuse a path that means another file on the cluster than here, or none; `form` is how one is typed."""
    if path.startswith(ON_THE_CLUSTER) or _is_uploaded(path):
        return
    name = Path(path).name
    is_folder = os.path.isdir(os.path.expanduser(path))
    copy = f"cp -r {name} dbfs:{VOLUME}{name}" if is_folder else f"cp {name} dbfs:{VOLUME}"
    raise UserError(
        f"{option}: {path!r} lies on this machine, where the cluster cannot read it; copy it into a volume "
        f"(`databricks fs {copy}`) and give {form.format(VOLUME + name)}."
    )


def _is_uploaded(path: str) -> bool:
    """Tell whether a path means a file of the project: relative ones are the project's on the cluster, too."""
    return (
        not Path(path).is_absolute() and Path(path).parts[:1] in [(name,) for name in PARTS] and (ROOT / path).exists()
    )


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

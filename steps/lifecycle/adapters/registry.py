"""The model registry: a version, its tags, its stage, its alias, in that order, each step safe to repeat."""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lifecycle.adapters import tracking
from lifecycle.adapters.catalog import model_name
from lifecycle.adapters.flavors import PREDICTIONS
from lifecycle.errors import UserError

CHAMPION, PRODUCTION, ARCHIVED, NO_STAGE = "champion", "Production", "Archived", "None"
PREDICT = """
import json, os, sys
import mlflow, numpy
if "DATABRICKS_RUNTIME_VERSION" in os.environ:
    # Else mlflow starts Spark there, in search of a notebook.
    mlflow.utils.databricks_utils.get_repl_id = lambda: None
model = mlflow.pyfunc.load_model(sys.argv[1])
print("\\n" + json.dumps(numpy.asarray(model.predict(model.input_example)).ravel().tolist()))
"""
CLOSE = 1e-9


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes
    ----------
    name, number : str
        Of the model and the version.
    created : bool
        False where the run had been registered before.
    former : str
        The version that was champion before, or empty.
    has_stages : bool
        False in Unity Catalog, where the alias alone says which version serves.
    """

    name: str
    number: str
    created: bool
    former: str
    has_stages: bool = True


def check_name(name: str, tables: Sequence[str]) -> None:
    """Refuse a name that the registry would not take, before anything is started.

    Parameters
    ----------
    name : str
        As typed; empty for the table's own.
    tables : sequence of str
        As given in ``data``: what is to be registered.

    Raises
    ------
    UserError
        Naming the characters, or the parts that are missing.
    """
    if "/" in name or ":" in name:
        raise UserError(
            f"name: {name!r} holds a slash or a colon, which no registered model may; use other characters."
        )
    if not in_unity_catalog():
        return
    if len(tables) > 1:
        raise UserError(
            f"name: Unity Catalog takes models as catalog.schema.model, and data names {len(tables)} tables "
            f"({', '.join(tables)}); run them one by one, such as -P data={tables[0]} -P "
            f"name=CATALOG.SCHEMA.{model_name(tables[0])}."
        )
    asked = name or model_name(tables[0])
    if len(asked.split(".")) != 3 or not all(part.strip() for part in asked.split(".")):
        raise UserError(
            f"name: {asked!r} has not three parts, and Unity Catalog takes models as catalog.schema.model; give "
            f"-P name=CATALOG.SCHEMA.{asked.split('.')[-1] or 'model'}, or set MLFLOW_REGISTRY_URI to another registry."
        )


def in_unity_catalog() -> bool:
    """Tell whether models are registered in Unity Catalog: mlflow's default where runs are tracked on Databricks.

    Raises
    ------
    UserError
        Where it is the registry of a workspace, which is older and has no aliases.
    """
    named = os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not named.startswith("databricks"):
        return False
    import mlflow

    scheme = str(mlflow.get_registry_uri()).partition(":")[0]
    if scheme == "databricks":
        raise UserError(
            f"MLFLOW_REGISTRY_URI: {named!r} is a workspace's own registry, which has no aliases; leave the variable "
            "out, or set it to databricks-uc, for the registry in Unity Catalog."
        )
    return scheme == "databricks-uc"


def model_of(run_id: str) -> str:
    """Return the id of the model that a run logged and that is there still, or an empty text."""
    run = tracking.client().get_run(run_id)
    if not (run.outputs and run.outputs.model_outputs):
        return ""
    found = tracking.client().search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'", max_results=1
    )
    return str(found[0].model_id) if found else ""


def champion_of(name: str) -> Any:
    """Return the version that bears the alias champion, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return tracking.client().get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def resolved(uri: str) -> str:
    """Return a model's address with the version that an alias, a stage or ``latest`` means now.

    Parameters
    ----------
    uri : str
        Anything that names a model; what is no name of a registered one is returned as it is.

    Raises
    ------
    LookupError
        Where there is no such version, with the store's own words.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    if not uri.startswith("models:/"):
        return uri
    try:
        with warnings.catch_warnings():
            # Of stages, as in `_stage`.
            warnings.simplefilter("ignore", FutureWarning)
            found = get_model_name_and_version(tracking.client(), uri)
    except MlflowException as error:
        raise LookupError(tracking.first_line(error)) from error
    return "models:/" + "/".join(map(str, found))


def promote(run_id: str, name: str, tags: Mapping[str, str], verdict: str) -> Version:
    """Register a run's model and make it champion and Production, having seen that it loads and predicts the same.

    Started again after a kill it completes what was half-done; a run that is registered is not registered again.

    Parameters
    ----------
    run_id : str
        The run whose model it is.
    name : str
        The registered model.
    tags : mapping
        For the version.
    verdict : str
        One sentence, the version's description.

    Returns
    -------
    Version
        The champion.

    Raises
    ------
    UserError
        Where a model as loaded does not predict what the run saved; alias and stage are as they were.
    """
    # A model of Spark brings a session with it, which is to listen to this machine alone.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    client = tracking.client()
    expected = json.loads(tracking.artifact(run_id, PREDICTIONS).read_text(encoding="utf-8"))
    number, created = _version(run_id, name)
    before = champion_of(name)
    former = str(before.version) if before is not None and str(before.version) != number else ""
    _compare(_predict_elsewhere(f"models:/{name}/{number}"), expected, name, number)
    for key, value in tags.items():
        client.set_model_version_tag(name, number, key, value)
    client.update_model_version(name, number, description=verdict)
    has_stages = not in_unity_catalog()
    staged = _in_production(name) if has_stages else []
    names = [f"models:/{name}@{CHAMPION}", *([f"models:/{name}/{PRODUCTION}"] if has_stages else [])]
    try:
        if has_stages:
            _stage(name, number, PRODUCTION)
        client.set_registered_model_alias(name, CHAMPION, number)
        for uri in names:
            _compare(_predict_here(uri), expected, name, number)
    except BaseException:
        _move_back(name, number, None if before is None else str(before.version), staged, has_stages)
        raise
    return Version(name, number, created, former, has_stages)


def _version(run_id: str, name: str) -> tuple[str, bool]:
    """Find the version of a run, or create it."""
    from mlflow.exceptions import MlflowException

    client = tracking.client()
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    # Unity Catalog searches by the name alone.
    known = [one for one in client.search_model_versions(f"name = '{name}'") if one.run_id == run_id]
    if known:
        return str(max(int(version.version) for version in known)), False
    model_id = model_of(run_id)
    version = client.create_model_version(name, f"models:/{model_id}", run_id, model_id=model_id)
    return str(version.version), True


def _in_production(name: str) -> list[str]:
    versions = tracking.client().search_model_versions(f"name = '{name}'")
    return [str(version.version) for version in versions if version.current_stage == PRODUCTION]


def _stage(name: str, number: str, stage: str) -> None:
    with warnings.catch_warnings():
        # Stages are deprecated for aliases; they are kept because whoever reads models:/NAME/Production relies on it.
        warnings.simplefilter("ignore", FutureWarning)
        tracking.client().transition_model_version_stage(
            name, number, stage, archive_existing_versions=stage == PRODUCTION
        )


def _move_back(name: str, number: str, champion: str | None, staged: list[str], has_stages: bool) -> None:
    client = tracking.client()
    if has_stages and number not in staged:
        _stage(name, number, NO_STAGE)
    for version in staged:
        if version != number:
            _stage(name, version, PRODUCTION)
    if champion is not None:
        client.set_registered_model_alias(name, CHAMPION, champion)
    else:
        client.delete_registered_model_alias(name, CHAMPION)


def _predict_here(uri: str) -> list[Any]:
    import mlflow

    model = mlflow.pyfunc.load_model(uri)
    return list(np.asarray(model.predict(model.input_example)).ravel().tolist())


def _predict_elsewhere(uri: str) -> list[Any]:
    """Load and predict in a fresh process, in an empty folder, without the repository on its path.

    Raises
    ------
    UserError
        Where the model cannot be loaded there.
    """
    import mlflow

    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_RUN_ID")}
    environment["MLFLOW_TRACKING_URI"] = mlflow.get_tracking_uri()
    if mlflow.get_tracking_uri().startswith("databricks"):
        # Of a cluster's first process others do not know the credentials.
        from mlflow.utils.databricks_utils import get_databricks_env_vars

        environment |= get_databricks_env_vars(mlflow.get_tracking_uri())
    with tempfile.TemporaryDirectory() as folder:
        # From a file: without one pyspark takes the process for a test of its own, and ends it.
        script = Path(folder) / "predict.py"
        script.write_text(PREDICT, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(script), uri], cwd=folder, env=environment, capture_output=True, text=True
        )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"run_id: {uri} does not load in a fresh process ({reason}); register another run.")
    return list(json.loads(done.stdout.splitlines()[-1]))


def _compare(found: list[Any], expected: list[Any], name: str, number: str) -> None:
    same = len(found) == len(expected) and all(
        bool(np.isclose(a, b, rtol=CLOSE, atol=0)) if isinstance(b, float) else a == b
        for a, b in zip(found, expected, strict=True)
    )
    if not same:
        raise UserError(
            f"run_id: version {number} of {name} predicts {found} for the input example, and the run saved {expected}; "
            "it is not promoted, train it again."
        )

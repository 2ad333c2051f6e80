"""A search, or any run, put away with all that hangs on it, and taken back: what `clean` does."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lifecycle.adapters import tracking
from lifecycle.adapters.memory import lives
from lifecycle.errors import UserError, listed

PAGE = 1000
# A run bears it while it is put away: when, and which of its descendants had been deleted before it.
PUT_AWAY = "lifecycle.deleted"
PARENT = "mlflow.parentRunId"

GC_AGE = "30d"
GC_DAYS = 30
SHORT_TAG = 5000


@dataclass(frozen=True)
class Family:
    """A run, its descendants, and the models that they logged.

    Attributes
    ----------
    root : Run
        The run that was asked for.
    runs : tuple of Run
        The root first, each parent before its children, deleted ones too.
    models : tuple of LoggedModel
        Theirs.
    """

    root: Any
    runs: tuple[Any, ...]
    models: tuple[Any, ...]

    @property
    def ids(self) -> set[str]:
        """Of all runs."""
        return {run.info.run_id for run in self.runs}

    @property
    def active(self) -> list[Any]:
        """The runs that are not deleted."""
        return [run for run in self.runs if run.info.lifecycle_stage == "active"]


def family(run_id: str) -> Family:
    """Gather a run, deleted or not, with its descendants in whatever experiment, and their models.

    Raises
    ------
    UserError
        Where the store has no such run, or it is not one of this project's.
    """
    from mlflow.exceptions import MlflowException

    try:
        root = tracking.client().get_run(run_id)
    except MlflowException as error:
        raise UserError(
            f"run_id: the tracking store has no run {run_id!r}; give the id of a run as its page shows it."
        ) from error
    if "lifecycle.step" not in root.data.tags and root.data.tags.get("mlflow.project.entryPoint") != "main":
        raise UserError(
            f"run_id: run {run_id} is not one of this project's steps; give one that bears the tag lifecycle.step."
        )
    experiments = _experiments()
    runs, parents = [root], [root]
    while parents:
        children = [
            run for parent in parents for run in _runs(experiments, f"tags.`{PARENT}` = '{parent.info.run_id}'")
        ]
        known = {run.info.run_id for run in runs}
        children = [run for run in children if run.info.run_id not in known]
        runs += children
        # Trials have no children, and there may be thousands.
        parents = [run for run in children if run.data.tags.get("lifecycle.step") != "trial"]
    ids = {run.info.run_id for run in runs}
    own = tuple(model for model in _models(experiments) if model.source_run_id in ids)
    return Family(root, tuple(runs), own)


def _experiments() -> list[str]:
    from mlflow.entities import ViewType

    found, page = [], None
    while page != "":
        some = tracking.client().search_experiments(ViewType.ALL, max_results=PAGE, page_token=page)
        found += [experiment.experiment_id for experiment in some]
        page = some.token or ""
    return found


def _runs(experiments: list[str], query: str, deleted_only: bool = False) -> Iterator[Any]:
    from mlflow.entities import ViewType

    view, page = ViewType.DELETED_ONLY if deleted_only else ViewType.ALL, None
    while page != "":
        some = tracking.client().search_runs(experiments, query, view, PAGE, page_token=page)
        yield from some
        page = some.token or ""


def _models(experiments: list[str]) -> Iterator[Any]:
    page = None
    while page != "":
        some = tracking.client().search_logged_models(experiments, max_results=PAGE, page_token=page)
        yield from some
        page = some.token or ""


def check(found: Family) -> None:
    """Refuse to put away what is at work, or what others rely on.

    Raises
    ------
    UserError
        For a search that lives, a run whose model is registered, or one that another search has gone on from.
    """
    root = found.root.info.run_id
    for run in found.active:
        if lives(run):
            raise UserError(
                f"run_id: {_named(run)} is at work; end it by Ctrl-C, or wait until it ends, and try again."
            )
    versions, page = [], None
    while page != "":
        some = tracking.client().search_model_versions(max_results=PAGE, page_token=page)
        versions += [one for one in some if one.run_id in found.ids]
        page = some.token or ""
    if versions:
        names = listed([f"{one.name}/{one.version}" for one in versions])
        raise UserError(
            f"run_id: run {root} holds what is registered as {names}; delete those versions first, or keep the run."
        )
    # The other way round is harmless: who goes on from a search counts its trials, not it the other's.
    queries = [
        f"tags.`lifecycle.resumes` = '{run.info.run_id}'" for run in found.runs if "lifecycle.key" in run.data.tags
    ]
    for query in queries:
        others = [run for run in _runs(_experiments(), query) if run.info.run_id not in found.ids]
        others = [run for run in others if run.info.lifecycle_stage == "active"]
        if others:
            raise UserError(
                f"run_id: {_named(others[0])} has gone on from run {root} and counts its trials; clean that one first."
            )


def put_away(found: Family) -> None:
    """Delete all runs of a family, the root last: what was interrupted can be repeated.

    The models stay as they are and are marked: mlflow has no way to take a deleted one back.
    """
    client, root = tracking.client(), found.root.info.run_id
    before = [run.info.run_id for run in found.runs if run.info.lifecycle_stage != "active"]
    mark = json.loads(found.root.data.tags.get(PUT_AWAY, "null"))
    # A first, interrupted try has said what was deleted before it.
    if mark is None:
        mark = {"time": int(time.time()), "before": before}
        text = json.dumps(mark)
        if len(text) > SHORT_TAG:
            raise UserError(
                f"run_id: {len(before)} of the runs below {root} have been deleted one by one, too many to remember "
                "for restoring; purge or restore those first."
            )
        client.set_tag(root, PUT_AWAY, text)
    for model in found.models:
        client.set_logged_model_tags(model.model_id, {PUT_AWAY: root})
    for run in reversed(found.active):
        client.delete_run(run.info.run_id)


def take_back(found: Family) -> int:
    """Restore all runs of a family that were put away with it, the root last.

    Returns
    -------
    int
        How many.

    Raises
    ------
    UserError
        Where the run has not been put away, or only with another one.
    """
    client, root = tracking.client(), found.root.info.run_id
    mark = json.loads(found.root.data.tags.get(PUT_AWAY, "null"))
    if mark is None:
        raise UserError(
            f"run_id: run {root} has not been put away by clean; -e clean without run_id lists what has been."
        )
    back = [
        run
        for run in reversed(found.runs)
        if run.info.lifecycle_stage != "active" and run.info.run_id not in mark["before"]
    ]
    for run in back:
        client.restore_run(run.info.run_id)
    for model in found.models:
        if model.tags.get(PUT_AWAY) == root:
            client.delete_logged_model_tag(model.model_id, PUT_AWAY)
    client.delete_tag(root, PUT_AWAY)
    return len(back)


def away() -> list[Any]:
    """Find the runs that have been put away, without those that went with them; the last one first."""
    found = [run for run in _runs(_experiments(), "", deleted_only=True) if PUT_AWAY in run.data.tags]
    return sorted(found, key=lambda run: -int(json.loads(run.data.tags[PUT_AWAY])["time"]))


def left_behind() -> list[Any]:
    """Find the models that were put away with runs which have been purged since."""
    from mlflow.exceptions import MlflowException

    found = []
    for model in _models(_experiments()):
        if PUT_AWAY in model.tags:
            try:
                tracking.client().get_run(model.source_run_id)
            except MlflowException as error:
                # Any other refusal says nothing of the run, and what is found here is deleted for good.
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                found.append(model)
    return found


def delete_models(models: Iterable[Any]) -> None:
    """Delete models for good; their files go with the next ``mlflow gc``."""
    for model in models:
        tracking.client().delete_logged_model(model.model_id)


def described(found: Family, runs: list[Any]) -> list[str]:
    """List what would go: runs by kind, models, and the size of their files.

    Returns
    -------
    list of str
        Lines.
    """
    kinds: dict[str, int] = {}
    for run in runs:
        step = run.data.tags.get("lifecycle.step") or run.data.tags.get("mlflow.project.entryPoint", "other")
        kinds[step] = kinds.get(step, 0) + 1
    own = sum(_size(run.info.artifact_uri, run.info.run_id, tracking.client().list_artifacts) for run in runs)
    of_models = sum(
        _size(model.artifact_location, model.model_id, tracking.client().list_logged_model_artifacts)
        for model in found.models
    )
    return [
        f"{_named(found.root)}: {len(runs)} runs ({', '.join(f'{count} {kind}' for kind, count in kinds.items())}), "
        f"artifacts {_mb(own)}",
        f"logged models: {len(found.models)}, {_mb(of_models)}",
    ]


def purge_note(run: Any) -> str:
    """Say since when a run has been put away, and from when on ``mlflow gc`` would purge it."""
    since = datetime.fromtimestamp(json.loads(run.data.tags[PUT_AWAY])["time"], UTC)
    return (
        f"{_named(run)}: put away {since:%Y-%m-%d %H:%M} UTC; `mlflow gc --older-than {GC_AGE}` purges it from "
        f"{since + timedelta(days=GC_DAYS):%Y-%m-%d} on"
    )


def _named(run: Any) -> str:
    step = run.data.tags.get("lifecycle.step") or "run"
    return f"{step} {run.info.run_name} ({run.info.run_id})"


def _size(uri: str, owner: str, entries: Any) -> int:
    """Add up the bytes of a folder of artifacts: on this machine by its files, else by asking the store."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        folder = Path(unquote(parts.path))
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    folders, total = [""], 0
    while folders:
        for entry in entries(owner, folders.pop() or None):
            if entry.is_dir:
                folders.append(entry.path)
            else:
                total += entry.file_size or 0
    return total


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"

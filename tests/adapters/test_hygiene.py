"""A search is put away with all that hangs on it, taken back, and nothing else is touched."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_DOES_NOT_EXIST

from lifecycle.adapters import hygiene, memory, tracking
from lifecycle.errors import UserError


@pytest.fixture
def store(new_store: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store of its own, which this process's client is made to be the client of."""
    store = new_store()
    with chdir(store.folder):
        monkeypatch.setattr(tracking, "client", lambda: store.client)
        yield store


def run(store: Any, step: str, parent: Any = None, **tags: str) -> Any:
    own = {"lifecycle.step": step} | {f"lifecycle.{name}": value for name, value in tags.items()}
    if parent is not None:
        own["mlflow.parentRunId"] = parent.info.run_id
    made = store.client.create_run("0", tags=own, run_name=step)
    if "heartbeat" not in tags:
        store.client.set_terminated(made.info.run_id)
    return made


def model(store: Any, of: Any) -> str:
    made = store.client.create_logged_model("0", name="model", source_run_id=of.info.run_id)
    return str(made.model_id)


def stages(store: Any) -> dict[str, str]:
    runs = store.client.search_runs(["0"], run_view_type=ViewType.ALL, max_results=5000)
    return {one.info.run_id: one.info.lifecycle_stage for one in runs}


@pytest.fixture
def two(store: Any) -> dict[str, Any]:
    """Two whole runs, each with a search of three trials and a model."""
    found: dict[str, Any] = {}
    for name in ("one", "other"):
        main = found[name] = run(store, "main")
        found[f"{name}_search"] = search = run(store, "tune_lr", main, key=name)
        for _ in range(3):
            run(store, "trial", search)
        found[f"{name}_model"] = model(store, search)
    return found


@pytest.mark.parametrize(("asked", "runs"), [("one", 5), ("one_search", 4)])
def test_all_that_hangs_on_a_run_goes_and_comes_back_and_nothing_else(
    store: Any, two: dict[str, Any], asked: str, runs: int
) -> None:
    before = stages(store)
    root = two[asked].info.run_id
    found = hygiene.family(root)
    assert len(found.runs) == runs and [one.model_id for one in found.models] == [two["one_model"]]
    hygiene.check(found)
    assert stages(store) == before
    hygiene.put_away(found)
    assert {one for one, stage in stages(store).items() if stage == "deleted"} == found.ids
    assert [one.info.run_id for one in hygiene.away()] == [root]
    assert hygiene.take_back(hygiene.family(root)) == runs
    assert stages(store) == before and hygiene.away() == []
    assert all(hygiene.PUT_AWAY not in one.tags for one in store.client.search_logged_models(["0"]))
    assert hygiene.PUT_AWAY not in store.client.get_run(root).data.tags


def test_what_was_deleted_before_stays_deleted(store: Any, two: dict[str, Any]) -> None:
    root = two["one_search"].info.run_id
    gone = store.children(root)[0].info.run_id
    store.client.delete_run(gone)
    before = stages(store)
    hygiene.put_away(hygiene.family(root))
    assert hygiene.take_back(hygiene.family(root)) == 3
    assert stages(store) == before and before[gone] == "deleted"


def test_an_interrupted_deletion_is_finished_and_taken_back_whole(
    store: Any, two: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stages(store)
    root = two["one_search"].info.run_id
    delete, calls = store.client.delete_run, []

    def broken(run_id: str) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(run_id)
        delete(run_id)

    monkeypatch.setattr(store.client, "delete_run", broken)
    with pytest.raises(KeyboardInterrupt, match="^$"):
        hygiene.put_away(hygiene.family(root))
    assert stages(store)[root] == "active"
    monkeypatch.setattr(store.client, "delete_run", delete)
    hygiene.put_away(hygiene.family(root))
    assert hygiene.take_back(hygiene.family(root)) == 4
    assert stages(store) == before


def test_more_trials_than_a_page_holds(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hygiene, "PAGE", 7)
    search = run(store, "tune_lr")
    for _ in range(30):
        run(store, "trial", search)
    found = hygiene.family(search.info.run_id)
    assert len(found.runs) == 31
    hygiene.put_away(found)
    assert set(stages(store).values()) == {"deleted"}
    assert [one.info.run_id for one in hygiene.away()] == [search.info.run_id]


def test_it_is_said_what_would_go(store: Any, two: dict[str, Any]) -> None:
    search = two["one_search"]
    folder = store.artifacts(search)
    folder.mkdir(parents=True)
    (folder / "trials.csv").write_bytes(b"x" * 2_500_000)
    found = hygiene.family(two["one"].info.run_id)
    root = two["one"].info.run_id
    assert hygiene.described(found, found.active) == [
        f"main main ({root}): 5 runs (1 main, 1 tune_lr, 3 trial), artifacts 2.5 MB",
        "logged models: 1, 0.0 MB",
    ]


def test_it_is_said_when_it_can_be_purged(store: Any, two: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp())
    hygiene.put_away(hygiene.family(two["one_search"].info.run_id))
    [away] = hygiene.away()
    assert hygiene.purge_note(away) == (
        f"tune_lr tune_lr ({away.info.run_id}): put away 2026-01-31 12:00 UTC; "
        "`mlflow gc --older-than 30d` purges it from 2026-03-02 on"
    )


def test_a_model_is_left_behind_where_its_run_is_purged_and_not_where_the_store_refuses(
    store: Any, two: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hygiene.put_away(hygiene.family(two["one_search"].info.run_id))
    assert hygiene.left_behind() == []
    get_run = store.client.get_run

    def purged(run_id: str, code: int) -> Any:
        if run_id == two["one_search"].info.run_id:
            raise MlflowException("no", code)
        return get_run(run_id)

    monkeypatch.setattr(store.client, "get_run", lambda run_id: purged(run_id, PERMISSION_DENIED))
    with pytest.raises(MlflowException, match=r"^no$"):
        hygiene.left_behind()
    monkeypatch.setattr(store.client, "get_run", lambda run_id: purged(run_id, RESOURCE_DOES_NOT_EXIST))
    assert [one.model_id for one in hygiene.left_behind()] == [two["one_model"]]


OTHER = json.dumps({"host": "elsewhere", "pid": 1, "started": 0, "token": "t"})
HERE = json.dumps(memory.owner())
DEAD = json.dumps(memory.owner() | {"pid": 2**22 + 1})
# Its number has been given to another process since.
REPLACED = json.dumps(memory.owner() | {"started": "1"})


@pytest.mark.parametrize(
    ("owner", "age", "alive"),
    [(OTHER, 1, True), (OTHER, 61, False), (HERE, 500, True), (DEAD, 1, False), (REPLACED, 1, False), ("{", 500, True)],
)
def test_a_search_at_work_is_refused(
    store: Any, owner: str, age: float, alive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LISTEN_SECONDS", 0.0)
    main = run(store, "main")
    search = run(store, "tune_lr", main, owner=owner, heartbeat=str(time.time() - age))
    if not alive:
        hygiene.check(hygiene.family(main.info.run_id))
        return
    with pytest.raises(UserError, match=rf"^run_id: tune_lr tune_lr \({search.info.run_id}\) is at work; end it .*\.$"):
        hygiene.check(hygiene.family(main.info.run_id))


def test_a_search_that_has_ended_is_not_at_work(store: Any) -> None:
    search = run(store, "tune_lr", owner=HERE, heartbeat=str(time.time()))
    store.client.set_terminated(search.info.run_id)
    hygiene.check(hygiene.family(search.info.run_id))


def test_what_is_registered_is_refused(store: Any, two: dict[str, Any]) -> None:
    store.client.create_registered_model("churn")
    store.client.create_model_version("churn", str(store.folder), two["one_search"].info.run_id)
    with pytest.raises(UserError, match=r"^run_id: run \w+ holds what is registered as churn/1; delete those .*\.$"):
        hygiene.check(hygiene.family(two["one"].info.run_id))
    hygiene.check(hygiene.family(two["other"].info.run_id))


def test_what_another_search_has_gone_on_from_is_refused(store: Any, two: dict[str, Any]) -> None:
    first = two["one_search"].info.run_id
    second = run(store, "tune_lr", resumes=first, key="one")
    with pytest.raises(UserError, match=rf"^run_id: .*\({second.info.run_id}\) has gone on from run .*; clean that .*"):
        hygiene.check(hygiene.family(first))
    hygiene.check(hygiene.family(second.info.run_id))
    hygiene.put_away(hygiene.family(second.info.run_id))
    hygiene.check(hygiene.family(first))


def test_mistakes_are_told(store: Any, two: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^run_id: the tracking store has no run 'nothing'; .*\.$"):
        hygiene.family("nothing")
    foreign = store.client.create_run("0").info.run_id
    with pytest.raises(UserError, match=rf"^run_id: run {foreign} is not one of this project's steps; .*\.$"):
        hygiene.family(foreign)
    with pytest.raises(UserError, match=r"^run_id: run \w+ has not been put away by clean; .*\.$"):
        hygiene.take_back(hygiene.family(two["one"].info.run_id))


@pytest.mark.whole
def test_as_a_user_types_it(new_store: Callable[[], Any]) -> None:
    """A dry run, a deletion, the list, a purge by mlflow itself, and the models that it leaves."""
    store = new_store()
    with chdir(store.folder):
        search, other = run(store, "tune_lr"), run(store, "tune_lr")
        trial = run(store, "trial", search)
        gone, kept = model(store, search), model(store, other)
    root = search.info.run_id
    here = {"MLFLOW_TRACKING_URI": store.uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    before = stages(store)
    dry = store.script("clean", "--run_id", root, **here).well().out
    assert "2 runs (1 tune_lr, 1 trial)" in dry and "Nothing has been deleted" in dry
    assert stages(store) == before
    store.script("clean", "--run_id", root, "--confirm", "true", **here).well()
    assert {one for one, stage in stages(store).items() if stage == "deleted"} == {root, trial.info.run_id}
    again = store.script("clean", "--run_id", root, **here)
    assert again.code == 2 and again.errors == [
        f"Error: run_id: run {root} is deleted already; -P restore=true takes it back."
    ]
    listed = store.script("clean", **here).well().out
    assert f"({root}): put away" in listed and "`mlflow gc --older-than 30d`" in listed
    gc = [Path(sys.executable).parent / "mlflow", "gc", "--backend-store-uri", store.uri]
    store.run(*gc, **here).well()
    assert set(stages(store)) == {other.info.run_id}
    behind = store.script("clean", **here).well().out
    assert behind.startswith("Nothing is put away.") and gone in behind and kept not in behind
    store.script("clean", "--confirm", "true", **here).well()
    assert [one.model_id for one in store.client.search_logged_models(["0"])] == [kept]
    bare = store.script("clean", "--restore", "true", **here)
    assert bare.code == 2 and bare.errors[0].startswith("Error: run_id: restore needs the run to take back;")

"""The store as a search's memory: who lives, who goes on, and that nothing is lost or done twice."""

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lifecycle.adapters import memory, steps, tracking
from lifecycle.errors import UserError
from lifecycle.metrics import REGRESSION
from lifecycle.trials import FAILED, PRUNED, TrialRecord

NOW = 1_700_000_000.0
CHURN = ("--data", "churn", "--models", "logreg,dtc", "--parallelism", "2")


def run_of(status: str = "RUNNING", began: float = NOW, **tags: Any) -> Any:
    info = SimpleNamespace(status=status, start_time=int(began * 1000), run_id="r")
    return SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, params={}))


ELSEWHERE = {"host": "elsewhere", "pid": os.getpid(), "started": "1", "token": "t"}


@pytest.mark.parametrize(
    ("owner", "age", "alive"),
    [
        (memory.owner(), 500, True),
        (memory.owner() | {"pid": 2**22 + 1}, 0, False),
        (memory.owner() | {"started": "another process"}, 0, False),
        (ELSEWHERE, 59, True),
        (ELSEWHERE, 61, False),
    ],
    ids=["here", "gone", "another of its number", "elsewhere", "silent elsewhere"],
)
def test_who_lives(owner: dict, age: float, alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    tags = {memory.OWNER: json.dumps(owner), memory.HEARTBEAT: f"{NOW - age:.0f}"}
    monkeypatch.setattr(tracking, "run_of", lambda _: run_of(**tags))
    assert memory.lives(run_of(**tags)) is alive
    assert memory.lives(run_of("KILLED", **tags)) is False


def test_who_is_heard_again_lives_whatever_the_clocks_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other machine's is five minutes behind; a heartbeat comes every five seconds."""
    clock = [NOW]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))

    def seen(_: str = "r") -> Any:
        beat = (clock[0] - 300) // memory.BEAT_SECONDS * memory.BEAT_SECONDS
        return run_of(**{memory.OWNER: json.dumps(ELSEWHERE), memory.HEARTBEAT: f"{beat:.0f}"})

    monkeypatch.setattr(tracking, "run_of", seen)
    assert memory.lives(seen()) is True


def test_one_that_has_just_begun_lives_though_it_has_not_said_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    assert memory.lives(run_of(began=NOW - 59)) is True
    assert memory.lives(run_of(began=NOW - 61)) is False


def test_a_process_that_has_ended_and_waits_for_its_parent_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert memory.started(child.pid) == ""
    child.wait()
    assert memory.started(os.getpid()) != ""


@pytest.fixture
def store(new_store: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    store = new_store()
    with chdir(store.folder):
        monkeypatch.setattr(tracking, "client", lambda: store.client)
        monkeypatch.setattr(tracking.StepRun, "log", _logged(store))
        monkeypatch.setattr(
            tracking.StepRun, "end_child", staticmethod(lambda run, status: store.client.set_terminated(run, status))
        )
        yield store


def _logged(store: Any) -> Callable[..., None]:
    def log(self: Any, metrics: Any = None, params: Any = None, tags: Any = None) -> None:
        for name, value in (tags or {}).items():
            store.client.set_tag(self.run_id, name, value)

    return log


def begun(store: Any, **tags: str) -> tracking.StepRun:
    every = {"lifecycle.step": "tune_lr", "lifecycle.key": "k"} | {
        f"lifecycle.{name}": tag for name, tag in tags.items()
    }
    made = store.client.create_run("0", tags=every)
    return tracking.StepRun(made.info.run_id, "0", "tune_lr")


def child(store: Any, parent: tracking.StepRun, record: TrialRecord | None, status: str = "RUNNING") -> str:
    tags = {"lifecycle.step": "trial", "mlflow.parentRunId": parent.run_id}
    if record is not None:
        tags |= memory.record_tags(record, {0: "zero"})
    made = store.client.create_run("0", tags=tags)
    if record is not None:
        for name, value in record.metrics.items():
            store.client.log_metric(made.info.run_id, name, value)
        store.client.log_metric(made.info.run_id, "fit_seconds", record.fit_seconds)
    if status != "RUNNING":
        store.client.set_terminated(made.info.run_id, status)
    return str(made.info.run_id)


DEAD = json.dumps(memory.owner() | {"pid": 2**22 + 1})


def test_a_record_comes_back_as_it_was(store: Any) -> None:
    values = {"model": "logreg", "C": 0.1 + 0.2, "solver": "lbfgs", "class_weight": None, "n": 3, "b": True}
    done = TrialRecord(
        7, values, score=0.1 + 0.7, metrics={"cv_f1": 0.1 + 0.7, "cv_f1_std": 0.05}, fit_seconds=0.25, folds_done=2,
        fold_scores=(1 / 3, 2 / 3), threshold=0.4, warnings=1,
    )  # fmt: skip
    failed = TrialRecord(8, values, FAILED, error="ValueError: no")
    pruned = TrialRecord(9, values, PRUNED, score=0.5, metrics={"cv_partial_f1": 0.4}, folds_done=1)
    again = TrialRecord(10, values, score=0.8, metrics={"cv_f1": 0.8}, repeat_of=0)
    earlier = begun(store, owner=DEAD)
    for record, status in ((done, "FINISHED"), (failed, "FAILED"), (pruned, "FINISHED"), (again, "FINISHED")):
        child(store, earlier, record, status)
    past = memory.take(begun(store), earlier.run_id)
    assert [record.number for record in past.records] == [7, 8, 9, 10]
    one, other, third, fourth = past.records
    assert (one.values, one.score, one.fold_scores) == (values, 0.1 + 0.7, (1 / 3, 2 / 3))
    assert (one.threshold, one.warnings, one.folds_done, one.fit_seconds) == (0.4, 1, 2, 0.25)
    assert one.metrics == done.metrics
    assert (other.status, other.error, other.score != other.score) == (FAILED, "ValueError: no", True)
    assert (third.status, third.score, third.metrics) == (PRUNED, 0.5, {"cv_partial_f1": 0.4})
    assert fourth.repeat_of == 0
    [told] = [run for run in store.children(earlier.run_id) if memory.REPEAT_OF in run.data.tags]
    assert told.data.tags[memory.REPEAT_OF] == "zero"


def test_a_record_longer_than_a_tag_comes_back_whole(store: Any) -> None:
    scores = tuple(1 / (3 + fold) for fold in range(1_000))
    done = TrialRecord(0, {"model": "rf"}, FAILED, folds_done=1_000, fold_scores=scores, error="\U0001f600" * 1_000)
    # As many characters as a store takes.
    assert max(map(len, memory.record_tags(done, {}).values())) <= 8_000
    parent = begun(store, owner=DEAD)
    child(store, parent, done, "FAILED")
    [back] = memory.take(begun(store), parent.run_id).records
    assert (back.fold_scores, back.error, back.folds_done) == (scores, done.error, 1_000)


def test_what_was_under_way_is_marked_killed_and_what_was_done_as_done(store: Any) -> None:
    """Also where who did it had no time to say that it had ended, or was told that it was killed."""
    values = {"model": "logreg", "C": 1.0, "solver": "lbfgs"}
    earlier = begun(store, owner=DEAD)
    ids = [
        child(store, earlier, None),
        child(store, earlier, TrialRecord(1, values, score=0.5)),
        child(store, earlier, TrialRecord(2, values, FAILED, error="no")),
        child(store, earlier, TrialRecord(3, values, score=0.5), "KILLED"),
    ]
    past = memory.take(begun(store), earlier.run_id)
    assert [store.client.get_run(one).info.status for one in ids] == ["KILLED", "FINISHED", "FAILED", "FINISHED"]
    assert [record.number for record in past.records] == [1, 2, 3]
    assert store.client.get_run(earlier.run_id).info.status == "KILLED"


def test_of_two_who_go_on_with_one_search_one_does(store: Any) -> None:
    earlier = begun(store, owner=DEAD)
    open_one = child(store, earlier, None)
    first, second = begun(store), begun(store)
    assert memory.take(first, earlier.run_id).run_id == earlier.run_id
    store.client.create_run("0")
    assert memory.take(second, earlier.run_id) == memory.Past()
    assert memory.RESUMES not in store.client.get_run(second.run_id).data.tags
    assert store.client.get_run(open_one).info.status == "KILLED"


def test_by_key_the_newest_that_has_ended_and_nobody_has_gone_on_with_is_found(store: Any) -> None:
    living, me = json.dumps(memory.owner()), begun(store)
    assert memory.find(me, "k") == ""
    begun(store, owner=DEAD, key="another")
    begun(store, owner=living)
    begun(store, owner=DEAD, reused="x")
    assert memory.find(me, "k") == ""
    dead = begun(store, owner=DEAD)
    child(store, dead, None)
    assert memory.find(me, "k") == dead.run_id
    memory.take(me, dead.run_id)
    assert memory.find(begun(store), "k") == ""


def test_one_that_died_before_it_did_anything_hides_nobody(store: Any) -> None:
    """Killed before its claim, though it had said with whom it would go on; or just after it, which counts."""
    dead = begun(store, owner=DEAD)
    child(store, dead, TrialRecord(0, {"model": "logreg", "C": 1.0, "solver": "lbfgs"}, score=0.5), "FINISHED")
    idle, early = begun(store, owner=DEAD), begun(store, owner=DEAD, resumes=dead.run_id)
    assert memory.find(begun(store, key="mine"), "k") == dead.run_id
    assert {store.client.get_run(run.run_id).info.status for run in (idle, early)} == {"KILLED"}
    late = begun(store, owner=DEAD)
    memory.take(late, dead.run_id)
    me = begun(store, key="mine")
    assert memory.find(me, "k") == late.run_id
    assert [record.number for record in memory.take(me, late.run_id).records] == [0]


def test_a_chain_is_read_whole_each_trial_once(store: Any) -> None:
    values = {"model": "logreg", "C": 1.0, "solver": "lbfgs"}
    one = begun(store, owner=DEAD)
    child(store, one, TrialRecord(0, values, score=0.1), "FINISHED")
    other = begun(store, owner=DEAD)
    memory.take(other, one.run_id)
    child(store, other, TrialRecord(1, values, score=0.2), "FINISHED")
    past = memory.take(begun(store), other.run_id)
    assert [(record.number, record.score) for record in past.records] == [(0, 0.1), (1, 0.2)]


CONTRACT = {"target": "y", "task": "regression", "classes": (), "columns": [{"name": "x", "role": "numeric"}]}


def artifacts_of(tmp_path: Path, **contents: Any) -> Callable[[str, str], Path]:
    """Stand for the artifacts that a search and what prepared its table have."""
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return lambda run_id, name: tmp_path / Path(name).name


def test_a_warm_start_goes_by_the_metric_of_the_search_that_begins(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier one went by RMSE, of which less is better; the later one wants the greatest R2."""
    monkeypatch.setattr(
        tracking, "artifact", artifacts_of(tmp_path, settings={"prepared_run_id": "p"}, contract=CONTRACT)
    )
    earlier = begun(store)
    for number, r2 in enumerate((0.1, 0.9, 0.5)):
        metrics = {"cv_rmse": 1 - r2, "cv_r2": r2}
        child(store, earlier, TrialRecord(number, {"n": number}, score=1 - r2, metrics=metrics), "FINISHED")
    asked = (begun(store), earlier.run_id, memory.same_contract(CONTRACT), REGRESSION["r2"], False)
    with pytest.raises(
        UserError,
        match=r"^warm_start: the search \w+ is alive \(it has just begun\), and has not tried all yet; wait for it, or "
        r"end it first\.$",
    ):
        memory.points_of(*asked)
    store.client.set_terminated(earlier.run_id)
    assert memory.points_of(*asked) == [{"n": 1}, {"n": 2}, {"n": 0}]


def test_points_that_know_the_test_rows_begin_no_search_that_these_are_to_judge(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tracking, "artifact", artifacts_of(tmp_path, settings={"prepared_run_id": "p"}, contract=CONTRACT)
    )
    earlier, metric = begun(store), REGRESSION["rmse"]
    store.client.set_tag(earlier.run_id, "optimistic", "true")
    for number in range(3):
        metrics = {"test_rmse": 9.0 - number}
        child(store, earlier, TrialRecord(number, {"n": number}, score=9.0 - number, metrics=metrics), "FINISHED")
    store.client.set_terminated(earlier.run_id)
    with pytest.raises(
        UserError,
        match=r"^warm_start: \w+ went by the test rows \(select_on=test\), which could then not judge this search; "
        r"begin with a search over folds, or without\.$",
    ):
        memory.points_of(begun(store), earlier.run_id, memory.same_contract(CONTRACT), metric, False)
    found = memory.points_of(begun(store), earlier.run_id, memory.same_contract(CONTRACT), metric, True)
    assert found == [{"n": 2}, {"n": 1}, {"n": 0}]


def test_of_two_spaces_or_contracts_the_parts_that_differ_are_told(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are long, and alike at their beginning."""
    ranges = {"logreg": {"C": {"loguniform": [0.001, 100.0]}, "class_weight": {"choice": ["balanced", None]}}}
    both = [ranges | {"rf": {"max_depth": {"quniform": [2, most, 1]}}} for most in (9, 12)]
    then, now = (
        {"table": {"seed": 1}, "data_sha256": "d", "code_sha256": "c", "own": {"space": json.dumps(one)}}
        for one in both
    )
    with pytest.raises(
        UserError,
        match=r"^resume: r tried other points \(space rf max_depth quniform was \[2, 9, 1\] and is \[2, 12, 1\]\); "
        r"give the same options\.$",
    ):
        memory._check_same("r", then, now)
    memory._check_same("r", then, then)
    wide = [{"name": f"column {place}", "role": "numeric"} for place in range(20)]
    other = CONTRACT | {"columns": [*wide[:-1], {"name": "column 19", "role": "text"}]}
    monkeypatch.setattr(
        tracking,
        "artifact",
        artifacts_of(tmp_path, settings={"prepared_run_id": "p"}, contract=CONTRACT | {"columns": wide}),
    )
    earlier = begun(store)
    store.client.set_terminated(earlier.run_id)
    with pytest.raises(
        UserError,
        match=r'^warm_start: \w+ searched a table of another contract \(columns column 19 was "numeric" and is '
        r'"text"\); ',
    ):
        memory.points_of(begun(store), earlier.run_id, memory.same_contract(other), REGRESSION["r2"], False)
    none = CONTRACT | {"columns": [{"name": "column 0", "role": "numeric"}]}
    with pytest.raises(UserError, match=r'\(columns column 1 was "numeric" and is null; .*; and 14 more\); '):
        memory.points_of(begun(store), earlier.run_id, memory.same_contract(none), REGRESSION["r2"], False)


def test_a_search_whose_past_was_deleted_goes_on_with_its_own_trials(store: Any) -> None:
    values = {"model": "logreg", "C": 1.0, "solver": "lbfgs"}
    one, other = begun(store, owner=DEAD), begun(store, owner=DEAD)
    child(store, one, TrialRecord(0, values, score=0.1), "FINISHED")
    memory.take(other, one.run_id)
    child(store, other, TrialRecord(1, values, score=0.2), "FINISHED")
    store.client.delete_run(one.run_id)
    me = begun(store, key="mine")
    assert memory.find(me, "k") == other.run_id
    assert [record.number for record in memory.take(me, other.run_id).records] == [1]


def test_trials_without_their_models_are_not_gone_on_with_where_all_are_asked_for(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = begun(store, owner=DEAD)
    child(store, one, None)
    for kept, found in (("best", ""), ("all", one.run_id)):
        then = SAME | {"own": {"log_models": kept}}
        monkeypatch.setattr(memory, "_settings_of", lambda *_, then=then: then)
        assert memory.find(begun(store, key="mine"), "k", models=True) == found
        assert memory.find(begun(store, key="mine"), "k") == one.run_id
    monkeypatch.setattr(memory, "_settings_of", lambda *_: SAME | {"own": {"log_models": "best"}})
    with pytest.raises(
        UserError, match=rf"^resume: {one.run_id} kept no models of its trials, and log_models=all .*\.$"
    ):
        memory.asked_for(one.run_id, begun(store, key="mine"), SAME | {"own": {"log_models": "all"}})


SAME = {"table": {}, "own": {}, "data_sha256": "d", "code_sha256": "c"}


def test_what_a_deleted_search_has_gone_on_with_is_refused(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_settings_of", lambda *_: SAME)
    one, other = begun(store, owner=DEAD), begun(store, owner=DEAD)
    memory.take(other, one.run_id)
    store.client.delete_run(other.run_id)
    sentence = (
        rf"^resume: the trials of {one.run_id} are counted by run {other.run_id}, which is not in the store any .*"
    )
    with pytest.raises(UserError, match=sentence):
        memory.asked_for(one.run_id, begun(store), SAME)


def test_of_a_run_that_took_another_over_the_other_is_gone_on_with(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the other's metrics, and no trials."""
    monkeypatch.setattr(memory, "_settings_of", lambda *_: SAME)
    one, later = begun(store, owner=DEAD), begun(store, owner=DEAD)
    copy = begun(store, owner=DEAD, reused=one.run_id)
    assert memory.asked_for(copy.run_id, later, SAME) == one.run_id
    memory.take(later, one.run_id)
    store.client.set_terminated(later.run_id)
    assert memory.asked_for(copy.run_id, begun(store), SAME) == later.run_id


def test_a_search_lives_while_its_table_is_prepared(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """That may take longer than a run is waited for that has not said whose it is."""
    run, now, alive = begun(store), time.time(), []

    def prepared(*_: Any) -> str:
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda: now + 100)
            alive.append(memory.lives(store.client.get_run(run.run_id)))
        raise KeyError("as far as that")

    settings = SimpleNamespace(task="classification")
    monkeypatch.setattr(steps, "identify", lambda _: SimpleNamespace(settings=settings, key="t", data_digest="d"))
    monkeypatch.setattr(steps, "prepared_table", prepared)
    monkeypatch.setattr(tracking, "connect", lambda: None)
    monkeypatch.setattr(tracking, "start", lambda _: run)
    with pytest.raises(KeyError, match="as far as that"), steps.opened("tune_lr", {"threshold": "", "max_rows": 0}):
        pass
    assert alive == [True]


# As a user types it.


@pytest.fixture(scope="module")
def searched(new_store: Callable[[], Any]) -> Any:
    """A store with one finished search of eight trials."""
    store = new_store()
    store.script("tune_multi", *CHURN, "--max_evals", "8").well()
    return store


def trials_of(store: Any, search: Any) -> list[Any]:
    """The children of a search but for the run that prepared its table."""
    return [run for run in store.children(search.info.run_id) if run.data.tags["lifecycle.step"] == "trial"]


@pytest.mark.whole
def test_a_search_that_is_asked_for_more_trials_goes_on(searched: Any) -> None:
    [first] = searched.steps("tune_multi")
    done = searched.script("tune_multi", *CHURN, "--max_evals", "12").well()
    assert f"goes on with run {first.info.run_id}, 8 trials are done." in done.out
    last = searched.steps("tune_multi")[-1]
    assert last.data.tags["lifecycle.resumes"] == first.info.run_id
    assert last.data.metrics["trials"] == 12
    kept = [run.data.tags[memory.RECORD] for run in trials_of(searched, last)]
    assert sorted(json.loads(text)["number"] for text in kept) == [8, 9, 10, 11]


@pytest.mark.whole
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--resume", "nonsense"),
            r"resume: there is no run 'nonsense' in this store; give the id of a search's run\.",
        ),
        (
            ("--resume", "PREPARE"),
            r"resume: \w+ is a run of prepare, not a search; give the id of a run of tune_lr, .*",
        ),
        (("--resume", "FIRST", "--seed", "1"), r"resume: \w+ searched another table \(seed was 42 and is 1\); give .*"),
        (("--resume", "FIRST", "--data", "iris"), r"resume: \w+ searched another table \(data was churn and is iris.*"),
        (("--resume", "FIRST", "--algo", "rand"), r'resume: \w+ tried other points \(algo was "tpe" and is .*'),
        (("--resume", "FIRST", "--models", "dtc"), r"resume: \w+ tried other points \(models was .*"),
        (
            ("--warm_start", "FIRST", "--data", "iris"),
            r"warm_start: \w+ searched a table of another contract \(target.*",
        ),
        (
            ("--warm_start", "FIRST", "--models", "knn"),
            r"warm_start: none of the points that \w+ has tried lies in .*\.",
        ),
        (("--warm_start", "PREPARE"), r"warm_start: \w+ is a run of prepare, not a search; give the id of a run of .*"),
    ],
)
def test_what_cannot_be_gone_on_with_is_refused_in_one_sentence(searched: Any, options: tuple, sentence: str) -> None:
    first, [prepare, *_] = searched.steps("tune_multi")[0], searched.steps("prepare")
    ids = {"FIRST": first.info.run_id, "PREPARE": prepare.info.run_id}
    given = [ids.get(option, option) for option in options]
    done = searched.script("tune_multi", *CHURN, "--max_evals", "99", *given)
    assert done.code == 2
    [error] = done.errors
    assert re.fullmatch(rf"Error: {sentence}", error), error
    assert "Traceback" not in done.err


@pytest.mark.whole
def test_what_cannot_be_gone_on_with_is_refused_also_where_all_is_done(searched: Any) -> None:
    [prepare, *_] = searched.steps("prepare")
    done = searched.script("tune_multi", *CHURN, "--max_evals", "8", "--resume", prepare.info.run_id)
    assert (done.code, len(done.errors)) == (2, 1)
    assert done.errors[0].startswith(f"Error: resume: {prepare.info.run_id} is a run of prepare, not a search;")
    assert "taken over" not in done.out


@pytest.mark.whole
def test_a_warm_start_begins_with_the_best_points_of_an_earlier_search(searched: Any) -> None:
    first = searched.steps("tune_multi")[0]
    records = [json.loads(run.data.tags[memory.RECORD]) for run in trials_of(searched, first)]
    finished = [record for record in records if record["status"] == "finished"]
    best = sorted(finished, key=lambda record: (-record["score"], record["number"]))
    asked = ("--warm_start", first.info.run_id, "--max_evals", "8")
    done = searched.script("tune_multi", *CHURN, "--seed", "5", *asked).well()
    assert f"tune_multi: begins with the 4 best points of run {first.info.run_id}.\n" in done.out
    last = searched.steps("tune_multi")[-1]
    warm = [json.loads(run.data.tags[memory.RECORD]) for run in trials_of(searched, last)]
    by_number = {record["number"]: record["values"] for record in warm}
    # Half of the trials at most.
    assert [by_number[number] for number in range(4)] == [record["values"] for record in best[:4]]


@pytest.mark.whole
def test_ctrl_c_ends_a_search_cleanly_and_says_how_it_goes_on(new_store: Callable[[], Any], project: Path) -> None:
    store = new_store()
    store.script("prepare", "--data", "churn").well()
    process = _started(store, project, "200")
    _until(store, 5, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    [run] = store.steps("tune_multi")
    assert run.info.status == "KILLED"
    said = r"tune_multi: interrupted after \d+ of 200 trials; the best so far has cv_f1 0\.\d+ \(model=\w+, .*\)\. "
    assert re.search(said + rf"The same command goes on, and so does it with -P resume={run.info.run_id}\.", out), out
    assert "Traceback" not in err
    assert {child.info.status for child in store.children(run.info.run_id)} <= {"FINISHED", "KILLED"}
    assert run.data.params["best_model"] in ("logreg", "dtc")


@pytest.mark.whole
@pytest.mark.parametrize("moment", [0.6, 1.2, 2.0, 3.5])
def test_ctrl_c_before_the_search_begins_is_no_traceback_and_leaves_no_run_open(
    new_store: Callable[[], Any], project: Path, moment: float
) -> None:
    """While libraries are imported, the store is made, the table is prepared; told twice, as mlflow's runner does."""
    store = new_store()
    process = _started(store, project, "200")
    time.sleep(moment)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    if (store.folder / "mlflow.db").exists():
        assert "RUNNING" not in {run.info.status for run in store.runs()}


@pytest.mark.whole
@pytest.mark.parametrize(
    ("options", "ended"),
    [(("--timeout", "0.5"), r"timeout=0\.5"), (("--patience", "2", "--algo", "rand"), "patience=2")],
)
def test_what_ended_a_search_before_its_trials_were_done_is_said(
    new_store: Callable[[], Any], options: tuple[str, ...], ended: str
) -> None:
    store = new_store()
    command = ("tune_lr", "--data", "iris", "--max_evals", "500", *options)
    done = store.script(*command).well()
    assert re.search(
        rf"^tune_lr: {ended} ended the search after \d+ of 500 trials; the same command goes on if it gives more\.$",
        done.out,
        flags=re.MULTILINE,
    ), done.out
    if "--patience" in options:
        # With as much patience it would end as early.
        [search] = store.steps("tune_lr")
        again = store.script(*command).well()
        assert again.out.startswith(f"tune_lr: done before in run {search.info.run_id}, taken over;"), again.out


def _started(store: Any, project: Path, trials: str, uri: str = "", **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(project / "steps" / "tune_multi.py"), *CHURN, "--max_evals", trials],
        cwd=store.folder,
        env=store.environment(**({"MLFLOW_TRACKING_URI": uri} if uri else {}), **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _records(store: Any) -> int:
    with closing(sqlite3.connect(store.folder / "mlflow.db", timeout=30)) as connection:
        asked = "SELECT count(*) FROM tags WHERE key = 'lifecycle.record'"
        return int(connection.execute(asked).fetchone()[0])


def _until(store: Any, records: int, process: "subprocess.Popen[str]") -> bool:
    """Wait until so many records are written, and tell whether the process still runs."""
    while process.poll() is None and _records(store) < records:
        time.sleep(0.02)
    return process.poll() is None


def _settled(store: Any) -> None:
    """Wait until the server has written what a search that is gone had sent it: that is no sign of the next one."""
    known = -1
    while (found := _records(store)) != known:
        known = found
        time.sleep(0.5)


def _workers(process: "subprocess.Popen[str]") -> list[int]:
    """The workers of a search: children of its nursery, which is its child."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    nurseries = [pid for pid, parent in parents.items() if parent == process.pid]
    return [pid for pid, parent in parents.items() if parent in nurseries]


@pytest.mark.whole
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the workers are found in /proc")
def test_of_a_search_that_is_killed_twenty_times_nothing_is_lost(
    new_store: Callable[[], Any], project: Path, free_port: Callable[[], int]
) -> None:
    """Its process, its workers and its store's server, by kill -9, at moments drawn by chance."""
    store, chance, trials = new_store(), random.Random(7), 300
    store.script("prepare", "--data", "churn").well()
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store.uri, "--default-artifact-root", str(store.folder / "mlruns" / "0")]

    def served() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            cwd=store.folder,
            env=store.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    kills = [*["process"] * 7, *["worker"] * 9, *["store"] * 4]
    chance.shuffle(kills)
    done: Counter[str] = Counter()
    server, process = served(), None
    out = err = ""
    try:
        _answers(port, server)
        while process is None or process.returncode != 0:
            _settled(store)
            process = _started(store, project, str(trials), uri)
            while _until(store, _records(store) + 1, process) and kills:
                time.sleep(chance.uniform(0, 0.2))
                kind = kills.pop()
                if kind == "worker":
                    workers = _workers(process)
                    if workers:
                        os.kill(chance.choice(workers), signal.SIGKILL)
                elif kind == "store":
                    os.killpg(server.pid, signal.SIGKILL)
                    server.wait()
                    server = served()
                else:
                    process.kill()
                done[kind] += 1
                if kind == "process":
                    break
            out, err = process.communicate(timeout=240)
            assert process.returncode in (0, -signal.SIGKILL), err
            assert "Traceback" not in err
    finally:
        if process is not None and process.poll() is None:
            process.kill()
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert done == {"process": 7, "worker": 9, "store": 4}
    runs = store.steps("tune_multi")
    assert Counter(run.info.status for run in runs) == {"KILLED": len(runs) - 1, "FINISHED": 1}
    chain = [runs[-1]]
    while "lifecycle.resumes" in chain[-1].data.tags:
        chain.append(store.client.get_run(chain[-1].data.tags["lifecycle.resumes"]))
    # Those that were killed before they could begin are not in the chain.
    idle = {run.info.run_id for run in runs} - {run.info.run_id for run in chain}
    assert not [run_id for run_id in idle if store.children(run_id)]
    assert len(runs) == 8
    children = [child for run in runs for child in store.children(run.info.run_id)]
    kept = [json.loads(child.data.tags[memory.RECORD]) for child in children if memory.RECORD in child.data.tags]
    assert sorted(record["number"] for record in kept) == list(range(trials))
    fitted = [json.dumps(record["values"], sort_keys=True) for record in kept if record["repeat_of"] is None]
    assert len(set(fitted)) == len(fitted)
    for child in children:
        status = "KILLED"
        if memory.RECORD in child.data.tags:
            status = "FAILED" if json.loads(child.data.tags[memory.RECORD])["status"] == "failed" else "FINISHED"
        assert child.info.status == status
    last = runs[-1].data
    assert last.metrics["trials"] == trials
    best = max(record["score"] for record in kept if record["status"] == "finished")
    winner = next(record for record in kept if record["number"] == int(last.tags["lifecycle.best_trial"]))
    assert last.metrics["cv_f1"] == winner["score"]
    assert f"best of {trials}" in out
    assert f"{best:.3g}" in out


def _answers(port: int, server: "subprocess.Popen[bytes]") -> None:
    import socket

    until = time.monotonic() + 60
    while True:
        assert server.poll() is None
        assert time.monotonic() < until
        with socket.socket() as one:
            one.settimeout(1)
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def test_a_sentence_names_who_lives(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    living = begun(store, owner=json.dumps(memory.owner()))
    monkeypatch.setattr(memory, "_settings_of", lambda run_id, option: {"table": {}, "own": {}, "data_sha256": "",
        "code_sha256": ""})  # fmt: skip
    now = {"table": {}, "own": {}, "data_sha256": "", "code_sha256": ""}
    with pytest.raises(
        UserError, match=rf"^resume: the search {living.run_id} is alive \(process {os.getpid()} on .*\)"
    ):
        memory.asked_for(living.run_id, begun(store), now)

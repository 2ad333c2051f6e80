"""The local engine: the same records on any number of workers, and nothing that a trial does harms another one."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile
import pytest
from hostile import ENDLESS, WELL, appeared, eventually, facts, lives, parent_of, records_of

from lifecycle.adapters import local
from lifecycle.errors import UserError
from lifecycle.spaces import Values
from lifecycle.trials import FAILED, FINISHED, Task


@pytest.fixture(scope="module")
def pool() -> Iterator[local.Pool]:
    """Two workers of a hostile objective, whose trials may take a second."""
    with local.Pool(hostile.Hostile(), 2, trial_timeout=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def expected() -> list[dict[str, Any]]:
    """The records of one process."""
    with local.InProcess(hostile.good()) as engine:
        return [facts(record) for record in records_of(engine, hostile.POINTS)]


def test_records_in_one_process_are_scores_and_a_reason(expected: list[dict[str, Any]]) -> None:
    assert [found["status"] for found in expected] == [repr(FINISHED)] * 5 + [repr(FAILED)]
    assert len({found["score"] for found in expected[:5]}) == 5
    assert "max_depth" in expected[5]["error"]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_records(workers: int, expected: list[dict[str, Any]]) -> None:
    with local.engine(hostile.good(), workers) as engine:
        assert engine.workers == workers
        assert [facts(record) for record in records_of(engine, hostile.POINTS)] == expected


def test_a_record_brings_its_model() -> None:
    with local.engine(hostile.good(keep_models=True), 1) as engine:
        [record] = records_of(engine, hostile.POINTS[:1])
    again = hostile.good().refit(hostile.POINTS[0])
    rows = hostile.table().rows
    assert record.model.predict(rows).tolist() == again.predict(rows).tolist()


# ------------------------------------------------------------------------------ a trial that kills


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"model": "exits", "code": 3}, "the worker ended itself (exit code 3)"),
        ({"model": "exits", "code": 0}, "the worker ended itself (exit code 0)"),
        (
            {"model": "killed", "signal": signal.SIGKILL},
            "the worker died (signal 9, SIGKILL, as when memory runs out)",
        ),
        ({"model": "killed", "signal": signal.SIGTERM}, "the worker died (signal 15, SIGTERM)"),
        ({"model": "segfault"}, "the worker died (signal 11, SIGSEGV)"),
        (ENDLESS, "trial_timeout: the trial was ended after 1 seconds"),
        ({"model": "deaf"}, "trial_timeout: the trial was ended after 1 seconds"),
        (
            {"model": "unreadable"},
            "the result cannot be read: TypeError: Unreadable.__init__() missing 1 required positional argument: 'two'",
        ),
        ({"model": "unpicklable"}, "the result cannot be sent: TypeError: not this one"),
    ],
    ids=lambda given: given["model"] if isinstance(given, dict) else "",
)
def test_it_fails_alone_with_the_reason(pool: local.Pool, values: Values, error: str) -> None:
    before, bad, *after = records_of(pool, [WELL, values, WELL, WELL])
    assert (bad.status, bad.error, bad.number, bad.values) == (FAILED, error, 1, values)
    assert bad.score != bad.score
    assert bad.params == {name: value for name, value in values.items() if name != "model"}
    assert 0 < bad.started <= bad.ended
    assert [record.score for record in (before, *after)] == [1.0, 1.0, 1.0]


def test_points_that_kill_are_tried_once_each_and_every_one_has_its_record(pool: local.Pool) -> None:
    points = [WELL if number % 3 else {"model": "killed", "signal": 9} for number in range(30)]
    records = records_of(pool, points)
    assert [record.number for record in records] == list(range(30))
    assert [record.status for record in records] == [FINISHED if number % 3 else FAILED for number in range(30)]


def test_a_trial_within_its_time_is_not_ended_in_a_later_one() -> None:
    """The clock is set for each trial anew, and stops when none runs."""
    with local.Pool(hostile.Hostile(), 1, trial_timeout=0.4) as engine:
        [first] = records_of(engine, [WELL])
        time.sleep(0.6)
        [second] = records_of(engine, [WELL])
    assert first.params["pid"] == second.params["pid"]


@pytest.mark.parametrize("seconds", [1e10, float("inf")])
def test_all_the_time_there_is_is_a_limit_too(seconds: float) -> None:
    with local.Pool(hostile.Hostile(), 1, trial_timeout=seconds) as engine:
        [ended] = records_of(engine, [WELL])
    assert (ended.status, ended.error) == (FINISHED, "")


def test_without_a_limit_nothing_is_ended() -> None:
    with local.Pool(hostile.Hostile(), 1) as engine:
        [ended] = records_of(engine, [{"model": "killed", "signal": signal.SIGALRM}])
    assert ended.error == "the worker died (signal 14, SIGALRM)"


def test_a_large_result_arrives_whole(pool: local.Pool) -> None:
    [record] = records_of(pool, [{"model": "huge", "cells": 5_000_000}])
    assert record.params["array"].sum() == 5_000_000 * 4_999_999 / 2


def test_what_a_worker_had_started_ends_with_it(pool: local.Pool, tmp_path: Path) -> None:
    """Though it holds the worker's end of the socket."""
    [record] = records_of(pool, [{"model": "forks", "file": str(tmp_path / "child")}])
    assert record.error == "the worker died (signal 9, SIGKILL, as when memory runs out)"
    child = appeared(tmp_path / "child")
    assert eventually(lambda: not lives(child))


def test_a_worker_may_start_processes(pool: local.Pool) -> None:
    assert records_of(pool, [{"model": "command"}])[0].status == FINISHED


def test_a_worker_killed_while_idle_costs_no_trial() -> None:
    with local.Pool(hostile.Hostile(), 1) as engine:
        [first] = records_of(engine, [WELL])
        os.kill(first.params["pid"], signal.SIGKILL)
        assert eventually(lambda: not Path(f"/proc/{first.params['pid']}").exists())
        [second] = records_of(engine, [WELL])
    assert second.status == FINISHED
    assert second.params["pid"] != first.params["pid"]


def test_a_worker_killed_at_work_costs_its_trial(tmp_path: Path) -> None:
    with local.Pool(hostile.Hostile(), 1) as engine:
        futures = [engine.submit(0, Task(ENDLESS | {"file": str(tmp_path / "pid")})), engine.submit(1, Task(WELL))]
        os.kill(appeared(tmp_path / "pid"), signal.SIGKILL)
        first, second = (future.result(30) for future in futures)
    assert first.error == "the worker died (signal 9, SIGKILL, as when memory runs out)"
    assert second.status == FINISHED


def test_a_nursery_killed_costs_the_trials_under_way(tmp_path: Path) -> None:
    with local.Pool(hostile.Hostile(), 1) as engine:
        future = engine.submit(0, Task(ENDLESS | {"file": str(tmp_path / "pid")}))
        worker = appeared(tmp_path / "pid")
        os.kill(parent_of(worker), signal.SIGKILL)
        assert future.result(30).error == "the process that forks workers died, and its workers with it"
        [after] = records_of(engine, [WELL])
    assert after.status == FINISHED
    assert eventually(lambda: not lives(worker))


# ------------------------------------------------------------------------------ getting ready


def test_what_getting_ready_raises_the_trials_tell() -> None:
    with local.Pool(hostile.Preparing("raise"), 1) as engine:
        assert records_of(engine, [WELL])[0].status == FINISHED


def test_memory_that_ends_before_the_first_trial_is_a_sentence() -> None:
    with (
        local.Pool(hostile.Preparing("SIGKILL"), 2) as engine,
        pytest.raises(UserError, match=r"^max_rows: the process .* was killed before the first trial, .*a sample\.$"),
    ):
        records_of(engine, [WELL])


def test_a_nursery_that_breaks_is_a_fault_of_ours() -> None:
    with (
        local.Pool(hostile.Preparing("SIGSEGV"), 1) as engine,
        pytest.raises(RuntimeError, match=r"^the process that forks workers ended with -11 before the first trial$"),
    ):
        records_of(engine, [WELL])


def test_a_nursery_started_early_is_used_once() -> None:
    local.start_early()
    early = local._early
    assert early is not None
    local.start_early()
    assert local._early is early
    with local.Pool(hostile.Hostile(), 1) as engine:
        assert engine._nursery is early
        assert local._early is None
        assert records_of(engine, [WELL])[0].status == FINISHED


def test_workers_have_one_thread_of_every_kind(pool: local.Pool) -> None:
    [record] = records_of(pool, [{"model": "environment"}])
    assert record.params["threads"] == [1]
    assert record.params["variables"].items() >= local.ONE_THREAD.items()


def test_the_nursery_forks_while_it_has_one_thread(pool: local.Pool) -> None:
    [record] = records_of(pool, [WELL])
    assert len(list(Path(f"/proc/{parent_of(record.params['pid'])}/task").iterdir())) == 1


def test_the_designs_stand_in_memory_once() -> None:
    """What two workers map of them is shared: neither's own memory has room for a copy."""
    with local.Pool(hostile.Wide(), 2) as engine:
        first, second = engine.submit(0, Task(WELL)), engine.submit(1, Task(WELL))
        owned = [future.result(60).params for future in (first, second)]
    size = owned[0]["design_bytes"]
    assert size > 100e6
    assert [found["private_bytes"] < size / 4 for found in owned] == [True, True]


# ------------------------------------------------------------------------------ ending


def test_leaving_ends_a_trial_under_way_and_leaves_no_process(tmp_path: Path) -> None:
    with local.Pool(hostile.Hostile(), 2) as engine:
        future = engine.submit(0, Task(ENDLESS | {"file": str(tmp_path / "pid")}))
        queued = [engine.submit(number, Task(ENDLESS)) for number in (1, 2, 3)]
        worker = appeared(tmp_path / "pid")
        nursery = parent_of(worker)
    assert future.result(0).error == "the search ended before the trial did"
    assert all(one.done() for one in queued)
    assert not lives(worker)
    assert not lives(nursery)


SEARCH = """
import signal, sys, time
sys.path[:0] = [{steps!r}, {tests!r}]
import hostile
# Who was started in the background has been told to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from lifecycle.adapters import local
with local.Pool(hostile.Hostile(), 2) as engine:
    values = [{{"model": kind, "file": {folder!r} + "/" + str(n)}} for n, kind in enumerate({kinds})]
    futures = [engine.submit(n, hostile.Task(one)) for n, one in enumerate(values)]
    print("begun", flush=True)
    futures[0].result()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_workers_end_when_their_parent_ends(project: Path, tmp_path: Path, number: signal.Signals) -> None:
    code = SEARCH.format(
        steps=str(project / "steps"), tests=str(project / "tests"), folder=str(tmp_path), kinds=["endless", "endless"]
    )
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.DEVNULL)
    try:
        workers = [appeared(tmp_path / name) for name in ("0", "1")]
        nursery = parent_of(workers[0])
        parent.send_signal(number)
        assert parent.wait(30) != 0
    finally:
        parent.kill()
        parent.wait()
    assert eventually(lambda: not any(map(lives, [nursery, *workers])), seconds=2)


def test_a_nursery_that_loads_ends_when_its_parent_ends(project: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(project / 'steps')!r}]; from lifecycle.adapters import local; "
        "local.start_early(); print(local._early._process.pid, flush=True); import time; time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        nursery = int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.communicate()
    assert eventually(lambda: not lives(nursery), seconds=2)


def test_where_nothing_forks_trials_run_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    with local.engine(hostile.Hostile(), 2) as engine:
        assert engine.workers == 1
        assert records_of(engine, [WELL])[0].params["pid"] == os.getpid()

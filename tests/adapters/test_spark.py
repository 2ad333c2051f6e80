"""The Spark engine on a session of its own: the records of one process, and nothing that a trial does harms another."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hostile
import pytest
from hostile import ENDLESS, WELL, appeared, eventually, facts, lives, parent_of, records_of

from lifecycle.adapters import local, spark
from lifecycle.spaces import Values
from lifecycle.trials import FAILED, FINISHED, Task

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("at_home")]
OUTSIDE = "the worker died (an executor's python was ended from outside)"


def test_records_are_those_of_one_process() -> None:
    with local.InProcess(hostile.good()) as engine:
        expected = [facts(record) for record in records_of(engine, hostile.POINTS)]
    with spark.SparkEngine(hostile.good(), 2) as engine:
        assert engine.workers == 2
        assert [facts(record) for record in records_of(engine, hostile.POINTS)] == expected


def test_leaving_ends_a_trial_under_way(tmp_path: Path) -> None:
    with spark.SparkEngine(hostile.Hostile(), 1) as engine:
        future = engine.submit(0, Task(ENDLESS | {"file": str(tmp_path / "pid")}))
        trial = appeared(tmp_path / "pid")
        python = parent_of(trial)
    assert future.result(0).error == "the search ended before the trial did"
    assert eventually(lambda: not lives(trial) and not lives(python))


@pytest.fixture(scope="module")
def own(at_home: None) -> Iterator[spark.SparkEngine]:
    """An engine with a session of its own, whose trials may take three seconds."""
    with spark.SparkEngine(hostile.Hostile(), 2, trial_timeout=3) as engine:
        yield engine


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"model": "exits", "code": 3}, "the worker ended itself (exit code 3)"),
        (
            {"model": "killed", "signal": signal.SIGKILL},
            "the worker died (signal 9, SIGKILL, as when memory runs out)",
        ),
        ({"model": "segfault"}, "the worker died (signal 11, SIGSEGV)"),
        (ENDLESS, "trial_timeout: the trial was ended after 3 seconds"),
        ({"model": "deaf"}, "trial_timeout: the trial was ended after 3 seconds"),
        (
            {"model": "unreadable"},
            "the result cannot be read: TypeError: Unreadable.__init__() missing 1 required positional argument: 'two'",
        ),
        ({"model": "unpicklable"}, "the result cannot be sent: TypeError: not this one"),
    ],
    ids=lambda given: given["model"] if isinstance(given, dict) else "",
)
def test_a_trial_that_kills_fails_alone_and_costs_no_python(own: spark.SparkEngine, values: Values, error: str) -> None:
    before, bad, *after = records_of(own, [WELL, values, WELL, WELL])
    assert (bad.status, bad.error, bad.number, bad.values) == (FAILED, error, 1, values)
    assert bad.score != bad.score
    assert [record.score for record in (before, *after)] == [1.0, 1.0, 1.0]


def test_pythons_are_used_again(own: spark.SparkEngine) -> None:
    """Two at a time, so two serve them all; each trial has a process of its own, which ends with it."""
    records = records_of(own, [WELL] * 12)
    assert len({record.params["pid"] for record in records}) == 12
    assert len({record.params["parent"] for record in records}) <= 2
    assert not any(lives(record.params["pid"]) for record in records)


def test_a_trial_has_one_thread_of_every_kind(own: spark.SparkEngine) -> None:
    [record] = records_of(own, [{"model": "environment"}])
    assert record.params["threads"] == [1]
    assert record.params["variables"].items() >= local.ONE_THREAD.items()


def test_what_a_trial_had_started_ends_with_it(own: spark.SparkEngine, tmp_path: Path) -> None:
    [record] = records_of(own, [{"model": "forks", "file": str(tmp_path / "child")}])
    assert record.error == "the worker died (signal 9, SIGKILL, as when memory runs out)"
    child = appeared(tmp_path / "child")
    assert eventually(lambda: not lives(child))


def test_a_large_result_arrives_whole(own: spark.SparkEngine) -> None:
    [record] = records_of(own, [{"model": "huge", "cells": 2_000_000}])
    assert record.params["array"].sum() == 2_000_000 * 1_999_999 / 2


def test_a_python_killed_from_outside_costs_its_trial(own: spark.SparkEngine, tmp_path: Path) -> None:
    futures = [own.submit(0, Task(ENDLESS | {"file": str(tmp_path / "pid")})), own.submit(1, Task(WELL))]
    trial = appeared(tmp_path / "pid")
    os.kill(parent_of(trial), signal.SIGKILL)
    bad, good = (future.result(60) for future in futures)
    assert (bad.status, bad.error, good.status) == (FAILED, OUTSIDE, FINISHED)
    assert eventually(lambda: not lives(trial), seconds=2)
    assert records_of(own, [WELL])[0].status == FINISHED

"""The Spark engine on a session that is there already, and on a standalone cluster whose executors die."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import guests
import hostile
import numpy as np
import pandas as pd
import pyspark
import pytest
import standalone
from hostile import ENDLESS, WELL, appeared, eventually, facts, lives, parent_of, records_of

from lifecycle.adapters import local, mllib, outputs, scoring, spark
from lifecycle.errors import UserError
from lifecycle.reading import ReadOptions
from lifecycle.trials import FAILED, FINISHED, Task

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("at_home")]


def test_a_session_that_is_there_is_used_and_left_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It tries tasks four times; a trial that lost its python is not tried again for all that."""
    session = pyspark.sql.SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        with spark.SparkEngine(hostile.Hostile(), 8) as engine:
            assert capsys.readouterr().out == "parallelism: 8 trials at once, Spark offers 2: 2 are used.\n"
            assert engine.workers == 2
            future = engine.submit(0, Task(ENDLESS | {"file": str(tmp_path / "pid")}))
            os.kill(parent_of(appeared(tmp_path / "pid")), signal.SIGKILL)
            bad = future.result(60)
            [good] = records_of(engine, [WELL])
        assert (bad.status, bad.error) == (FAILED, "the worker died, and the trial is not tried again")
        assert good.status == FINISHED
        assert session.sparkContext.parallelize(range(5), 2).sum() == 10
    finally:
        session.stop()


@pytest.fixture
def start(
    serving: Callable[..., Any], free_port: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int], str]]:
    """Start a cluster with some workers; give its address."""
    monkeypatch.setenv("PYSPARK_PYTHON", standalone.OWN_PYTHON)
    with ExitStack() as stack:
        yield lambda workers: stack.enter_context(standalone.cluster(tmp_path, workers, serving, free_port))


def executor_of(trial: int) -> int:
    """Give the Java process that runs a trial: above its python and the daemon that started that."""
    return parent_of(parent_of(parent_of(trial)))


def test_a_cluster_gives_the_same_records_and_an_executor_or_worker_that_dies_costs_its_trial(
    start: Callable[[int], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MASTER", start(2))
    with local.InProcess(hostile.good()) as engine:
        expected = [facts(record) for record in records_of(engine, hostile.POINTS)]
    with spark.SparkEngine(hostile.good(), 2) as engine:
        assert (engine.workers, capsys.readouterr().out) == (2, "")
        assert [facts(record) for record in records_of(engine, hostile.POINTS)] == expected
    with spark.SparkEngine(hostile.Hostile(), 2) as engine:
        futures = [engine.submit(0, Task(ENDLESS | {"file": str(tmp_path / "pid")}))]
        futures += [engine.submit(number, Task(WELL)) for number in range(1, 7)]
        trial = appeared(tmp_path / "pid")
        executor = executor_of(trial)
        os.kill(executor, signal.SIGKILL)
        records = [future.result(120) for future in futures]
        after = records_of(engine, [WELL] * 4)
        # A worker that dies takes its executor along, and there is no other to begin one.
        futures = [engine.submit(0, Task(ENDLESS | {"file": str(tmp_path / "pid2")}))]
        futures += [engine.submit(number, Task(WELL)) for number in range(1, 5)]
        os.kill(parent_of(executor_of(appeared(tmp_path / "pid2"))), signal.SIGKILL)
        last = [future.result(120) for future in futures]
    assert (last[0].status, [record.status for record in last[1:]]) == (FAILED, [FINISHED] * 4)
    # Spark would try it again, if the trial let it: a worker's end is not counted as the task's failure.
    assert last[0].error.startswith(("the worker died, and the trial is not tried again", "the executor was lost ("))
    assert records[0].status == FAILED
    assert records[0].error.startswith("the executor was lost (")
    assert [record.status for record in [*records[1:], *after]] == [FINISHED] * 10
    assert eventually(lambda: not lives(trial) and not lives(executor), seconds=2)


def test_searches_one_after_another_in_one_application_share_the_package_as_do_executors_that_come_later(
    start: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not so in `local[N]`, where Spark sends no files."""
    monkeypatch.setenv("MASTER", start(1))
    with local.InProcess(hostile.good()) as engine:
        expected = [facts(record) for record in records_of(engine, hostile.POINTS)]
    session = spark.own_session(1, attempts=4)
    try:
        with spark.SparkEngine(hostile.good(), 1) as engine:
            assert [facts(record) for record in records_of(engine, hostile.POINTS)] == expected
        daemon = session.sparkContext.parallelize([0], 1).map(lambda _: os.getppid()).first()
        os.kill(parent_of(daemon), signal.SIGKILL)
        with spark.SparkEngine(hostile.good(), 1) as engine:
            assert [facts(record) for record in records_of(engine, hostile.POINTS)] == expected
    finally:
        session.stop()


def test_a_worker_that_dies_in_mid_scoring_costs_no_row_and_doubles_none(
    start: Callable[[int], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Both workers are at it; of the one that dies, all that it had scored is scored again, by the other."""
    monkeypatch.setenv("MASTER", start(2))
    data, seen, place = tmp_path / "rows", tmp_path / "seen", tmp_path / "here" / "scored.parquet"
    for folder in (data, seen, place.parent):
        folder.mkdir()
    for part in range(4):
        frame = pd.DataFrame({"x": np.arange(part * 60_000, (part + 1) * 60_000)})
        frame.to_parquet(data / f"{part}.parquet")
    body = f"(Path({str(seen)!r}) / str(os.getpid())).touch()\ntime.sleep(1)\nreturn rows.x * 2.5"
    model = scoring.Model("models:/guest/1", guests.save(tmp_path / "guest", body), None, ("x",), (), "double")
    output = outputs.parse_output(str(place), "spark", False)
    asked = scoring.Asked("", str(data), ReadOptions(), "", output, "spark", 2)

    def score() -> None:
        work = tmp_path_factory.mktemp("work")
        with scoring.opened(asked, model, work) as rows:
            rows.score(model, work)

    with ThreadPoolExecutor(1) as thread:
        scored = thread.submit(score)
        assert eventually(lambda: scored.done() or len(list(seen.iterdir())) == 2, seconds=120)
        assert not scored.done(), scored.exception()
        python, _ = sorted(int(file.name) for file in seen.iterdir())
        executor = parent_of(parent_of(python))
        os.kill(parent_of(executor), signal.SIGKILL)
        assert eventually(lambda: not lives(executor))
        assert not scored.done() and not place.exists()
        scored.result(120)
    found = pd.read_parquet(place).sort_values("x")
    assert found["x"].tolist() == list(range(240_000))
    assert (found["prediction"] == found["x"] * 2.5).all()
    assert (place / "_SUCCESS").exists()
    assert os.listdir(place.parent) == [place.name]


def test_a_cluster_that_gives_nothing_is_a_sentence(
    start: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTER", start(0))
    monkeypatch.setattr(spark, "SECONDS_TO_BEGIN", 2)
    with (
        pytest.raises(
            UserError,
            match=r"^engine: Spark at spark://127\.0\.0\.1:\d+ has started no executor in 2 seconds; "
            r"give it free cores, or use engine=local\.$",
        ),
        spark.SparkEngine(hostile.good(), 2),
    ):
        pass
    with (
        pytest.raises(
            UserError,
            match=r"^MASTER: Spark at spark://127\.0\.0\.1:\d+ has started no executor in 2 seconds; "
            r"give it free cores, or unset it, and Spark runs on this machine\.$",
        ),
        mllib.session_for(2),
    ):
        pass


def test_a_search_over_mllib_takes_all_the_cores_of_a_cluster(
    start: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever this machine has, and however many trials it runs at once: a trial alone is many tasks."""
    monkeypatch.setenv("MASTER", start(2))
    monkeypatch.setattr(local, "cores", lambda: 1)
    with mllib.session_for(1) as session:
        assert eventually(lambda: spark.slots(session.sparkContext) == 2)


# pyspark leaves the pipe to the JVM that ended open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_master_that_is_none_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER", "nonsense")
    with pytest.raises(UserError, match=r"^engine: Spark cannot be started at nonsense, as the variable MASTER says; "):
        spark.own_session(1)
    with (
        pytest.raises(
            UserError,
            match=r"^MASTER: Spark cannot be started at nonsense, as the variable MASTER says; mend it, or unset it, ",
        ),
        mllib.session_for(1),
    ):
        pass

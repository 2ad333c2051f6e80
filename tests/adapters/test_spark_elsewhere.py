"""The Spark engine on a session that is there already, and on a standalone cluster whose executors die."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hostile
import pyspark
import pytest
from hostile import ENDLESS, WELL, appeared, eventually, facts, lives, parent_of, records_of

from lifecycle.adapters import local, spark
from lifecycle.errors import UserError
from lifecycle.trials import FAILED, FINISHED, Task

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("at_home")]
SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"


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
def start(serving: Callable[..., Any], free_port: Callable[[], int], tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start a cluster with some workers of one core each; give its address."""
    with ExitStack() as stack:

        def cluster(workers: int) -> str:
            port, page = free_port(), free_port()
            command = [str(SPARK_CLASS), "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1"]
            stack.enter_context(
                serving([*command, "--port", str(port), "--webui-port", str(page)], port, stderr=subprocess.DEVNULL)
            )
            address = f"spark://127.0.0.1:{port}"
            for number in range(workers):
                own = free_port()
                command = [str(SPARK_CLASS), "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1"]
                command += ["--port", str(own), "--webui-port", str(free_port()), "--cores", "1", "--memory", "1g"]
                command += ["--work-dir", str(tmp_path / f"worker{number}"), address]
                stack.enter_context(serving(command, own, stderr=subprocess.DEVNULL))
            return address

        yield cluster


def executor_of(trial: int) -> int:
    """Give the Java process that runs a trial: above its python and the daemon that started that."""
    return parent_of(parent_of(parent_of(trial)))


def test_a_cluster_gives_the_same_records_and_an_executor_that_dies_costs_its_trial(
    start: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    assert records[0].status == FAILED
    assert records[0].error.startswith("the executor was lost (")
    assert [record.status for record in [*records[1:], *after]] == [FINISHED] * 10
    assert eventually(lambda: not lives(trial) and not lives(executor), seconds=2)


def test_a_cluster_that_gives_nothing_is_a_sentence(start: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
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


# pyspark leaves the pipe to the JVM that ended open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_master_that_is_none_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER", "nonsense")
    with pytest.raises(UserError, match=r"^engine: Spark cannot be started at nonsense, as the variable MASTER says; "):
        spark.own_session(1)

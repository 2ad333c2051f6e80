"""The Spark engine: the same objective, a trial a task, on a local, standalone or Databricks session."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os import environ
from pathlib import Path
from typing import Any

from lifecycle.errors import UserError
from lifecycle.spaces import Values
from lifecycle.trials import Objective, TrialRecord

JAVA = 17
QUIET = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}


def check_java() -> None:
    """Make sure that there is a Java that this Spark runs on.

    Raises
    ------
    UserError
        Where there is none, or it is older than 17.
    """
    home = environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    advice = f"install a full Java {JAVA} or later (such as openjdk-{JAVA}-jre-headless), or use engine=local"
    if java is None or not shutil.which(java):
        raise UserError(f"engine: spark needs Java, and none was found on PATH or in JAVA_HOME; {advice}.")
    modules = subprocess.run([java, "--list-modules"], capture_output=True, text=True)
    if "jdk.incubator.vector" not in modules.stdout:
        found = subprocess.run([java, "-version"], capture_output=True, text=True).stderr.splitlines() or ["unknown"]
        raise UserError(f"engine: spark needs Java {JAVA} with jdk.incubator.vector, and found {found[0]}; {advice}.")


class SparkEngine:
    """Trials as Spark jobs of one task each, as many at once as asked.

    The objective with its data is broadcast once. The package `lifecycle` is shipped to the executors.

    Parameters
    ----------
    objective : Objective
        What to evaluate.
    workers : int
        Trials at once.
    """

    def __init__(self, objective: Objective, workers: int) -> None:
        self._objective = objective
        self.workers = workers

    def __enter__(self) -> "SparkEngine":
        check_java()
        # Executors would take the system's python, which has none of our packages.
        environ.setdefault("PYSPARK_PYTHON", sys.executable)
        from pyspark.sql import SparkSession

        self._own = SparkSession.getActiveSession() is None
        builder = SparkSession.builder.appName("lifecycle")
        if self._own and "MASTER" not in environ:
            # A session of our own on this machine listens to this machine alone.
            environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            builder = builder.master(f"local[{self.workers}]")
        for name, value in QUIET.items():
            builder = builder.config(name, value)
        self._session = builder.getOrCreate()
        context = self._session.sparkContext
        self._folder = tempfile.TemporaryDirectory()
        package = Path(__file__).resolve().parents[1]
        archive = shutil.make_archive(str(Path(self._folder.name) / "lifecycle"), "zip", package.parent, package.name)
        context.addPyFile(archive)
        self._broadcast = context.broadcast(self._objective)
        self._threads = ThreadPoolExecutor(self.workers)
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._own:
            self._session.stop()
        self._folder.cleanup()

    def submit(self, number: int, values: Values) -> "Future[TrialRecord]":
        """Start a job for a trial; the future holds its record."""
        return self._threads.submit(self._job, number, values)

    def _job(self, number: int, values: Values) -> TrialRecord:
        shipped = self._broadcast

        def task(rows: Iterable[tuple[int, Values]]) -> Iterator[TrialRecord]:
            # A task that leaves its partition unread costs its Python worker, and the next task starts another one,
            # which imports everything again.
            for place, point in list(rows):
                yield shipped.value(place, point)

        rows: Any = self._session.sparkContext.parallelize([(number, values)], 1).mapPartitions(task)
        record: TrialRecord = rows.collect()[0]
        return record

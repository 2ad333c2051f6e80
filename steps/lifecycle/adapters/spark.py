"""The Spark engine: the same objective, a trial a task, on a local, standalone or Databricks session."""

import hashlib
import importlib.util
import io
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from os import environ
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from threadpoolctl import threadpool_limits

from lifecycle.adapters.local import ONE_THREAD
from lifecycle.adapters.nursery import evaluated_apart, timed_out
from lifecycle.adapters.nursery import reason as died
from lifecycle.errors import UserError, listed
from lifecycle.trials import MOST_CACHED_CELLS, Objective, Task, TrialRecord, lost, unpacked

JAVA = 17
OWN = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    # A python that does not end when its task is ended is killed after this.
    "spark.python.task.killTimeout": "200ms",
    # The first job waits for all cores that were asked for, and then goes on with those that are there.
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "10s",
}
APP = "lifecycle"
# Spark's own number, of tasks that may be done again: an executor that dies costs each of its tasks one attempt.
ATTEMPTS = 4
SECONDS_TO_BEGIN = 60
# Seconds beyond a trial's own clock after which its job is ended from here.
GRACE = 10
# For the processes that a driver starts: where its JVM listens, and what it is told to be believed.
GATEWAY = "LIFECYCLE_SPARK"
LOST = "the worker died, and the trial is not tried again"
ENDED = "the search ended before the trial did"


def check_java(option: str = "engine", instead: str = "use engine=local") -> None:
    """Make sure that there is a Java that this Spark runs on.

    Parameters
    ----------
    option : str
        The option that asks for Spark, for the sentence.
    instead : str
        What does without.

    Raises
    ------
    UserError
        Where there is none, or it is older than 17.
    """
    home = environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    advice = f"install a full Java {JAVA} or later (such as openjdk-{JAVA}-jre-headless), or {instead}"
    if java is None or not shutil.which(java):
        raise UserError(f"{option}: spark needs Java, and none was found on PATH or in JAVA_HOME; {advice}.")
    modules = subprocess.run([java, "--list-modules"], capture_output=True, text=True)
    if "jdk.incubator.vector" not in modules.stdout:
        found = subprocess.run([java, "-version"], capture_output=True, text=True).stderr.splitlines() or ["unknown"]
        raise UserError(f"{option}: spark needs Java {JAVA} with jdk.incubator.vector, and found {found[0]}; {advice}.")


def evaluated(rows: Iterable[tuple[int, Task]], shipped: Any, seconds: float) -> Iterator[tuple[bytearray | None, int]]:
    """Evaluate a task's points, each in a process of its own beside an executor's python.

    So that what kills a trial does not kill the python, which would take seconds to import everything again, nor make
    Spark try the trial another time.

    Parameters
    ----------
    rows : iterable of (number, task)
        One trial. It is read before anything else: a task that leaves its partition unread costs its python, too.
    shipped : Broadcast of Objective
        What to evaluate.
    seconds : float
        How long a trial may take; 0 for no limit.

    Yields
    ------
    (bytearray or None, int)
        The pickled record, empty where there is none, and the exit code of its process. None where an earlier attempt
        at this task was lost: sessions of others try a task several times, and what killed one executor might kill
        the next.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    for number, task in list(rows):
        if context is not None and context.attemptNumber():
            yield None, 0
            continue
        with threadpool_limits(1):
            yield evaluated_apart(shipped.value, number, task, seconds)


def prepared(rows: Iterable[int], shipped: Any) -> Iterator[int]:
    """Import the libraries and make what all trials read, in an executor's python, before there are trials."""
    for row in list(rows):
        with threadpool_limits(1), suppress(Exception):
            shipped.value.make_ready(MOST_CACHED_CELLS)
        yield row


class SparkEngine:
    """Trials as Spark jobs of one task each, as many at once as asked and as Spark offers.

    The objective with its data is broadcast once. The package `lifecycle` is shipped to the executors. A trial that
    kills its python or its executor, and one that is at work for longer than it may, fails alone.

    Parameters
    ----------
    objective : Objective
        What to evaluate.
    parallelism : int
        Trials at once.
    trial_timeout : float
        Seconds that a trial may take; 0 for no limit.
    """

    def __init__(self, objective: Objective, parallelism: int, trial_timeout: float = 0) -> None:
        self._objective = objective
        self.workers = parallelism
        self._seconds = trial_timeout
        self._under_way: set[int] = set()
        self._lock = threading.Lock()
        self._closing = False

    def __enter__(self) -> "SparkEngine":
        active = active_session()
        self._own = active is None
        if active is None:
            check()
        self._session = active or own_session(self.workers)
        self._context = self._session.sparkContext
        # Of this engine alone, so that whoever shares the session is left alone.
        self._group = f"lifecycle-{id(self)}-{time.time_ns()}"
        try:
            ship(self._context)
            self._broadcast = self._context.broadcast(self._objective)
            self._prepare()
        except BaseException:
            self._end()
            raise
        offered = slots(self._context)
        if offered < self.workers:
            print(f"parallelism: {self.workers} trials at once, Spark offers {offered}: {offered} are used.")
            self.workers = offered
        self._threads = ThreadPoolExecutor(self.workers)
        return self

    def __exit__(self, *_: object) -> None:
        """End all jobs; of a trial under way nothing is kept."""
        with self._lock:
            self._closing = True
            under_way = list(self._under_way)
        for number in under_way:
            self._cancel(number)
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._end()

    def submit(self, number: int, task: Task) -> "Future[TrialRecord]":
        """Start a job for a trial; the future holds its record."""
        return self._threads.submit(self._job, number, task)

    def _end(self) -> None:
        if self._own:
            self._session.stop()

    def _prepare(self) -> None:
        """Start the executors' pythons, and wait until there are any.

        Raises
        ------
        UserError
            Where Spark has started none after a minute.
        """
        shipped, count, context = self._broadcast, self.workers, self._context

        def begin() -> None:
            context.parallelize(range(count), count).mapPartitions(lambda rows: prepared(rows, shipped)).collect()

        first_job(context, f"{self._group}-begin", begin)
        # Whatever else went wrong, each trial meets it again, and fails with the reason.

    def _job(self, number: int, task: Task) -> TrialRecord:
        started = time.time()
        with self._lock:
            if self._closing:
                return lost(number, task, started, ENDED)
            self._under_way.add(number)
        shipped, seconds = self._broadcast, self._seconds
        # The trial's own clock is in its python. This one is for an executor that does not answer at all.
        clock = threading.Timer(seconds + GRACE, self._cancel, [number])
        clock.daemon = True
        if seconds:
            clock.start()
        try:
            self._context.setJobGroup(f"{self._group}-{number}", f"lifecycle: trial {number}", interruptOnCancel=True)
            rows: Any = self._context.parallelize([(number, task)], 1)
            [(data, code)] = rows.mapPartitions(lambda some: evaluated(some, shipped, seconds)).collect()
            why = LOST if data is None else died(code, seconds)
        except Exception as error:  # noqa: BLE001 - Spark says by many types that a task was lost
            data, why = None, said(error)
            if seconds and time.time() - started >= seconds + GRACE:
                why = timed_out(seconds)
        finally:
            clock.cancel()
            with self._lock:
                self._under_way.discard(number)
        if data:
            return unpacked(data, number, task, started)
        return lost(number, task, started, ENDED if self._closing else why)

    def _cancel(self, number: int) -> None:
        """End a trial's job. Spark interrupts its task, and kills the python that does not end at once."""
        with suppress(Exception):
            self._context.cancelJobGroup(f"{self._group}-{number}")


def ship(context: Any) -> None:
    """Send the package `lifecycle` to the executors, once for an application, whoever asks for it.

    The archive is named by its content and lies in Spark's own folder of the application, which all processes that
    joined it share: Spark refuses a second file of one name from another place, and executors that come later fetch
    theirs as long as the application runs.
    """
    from pyspark import SparkFiles

    package, data = Path(__file__).resolve().parents[1], io.BytesIO()
    with ZipFile(data, "w", ZIP_DEFLATED) as file:
        for path in sorted(package.rglob("*.py")):
            # Without its time: the same package is the same archive.
            file.writestr(ZipInfo(str(path.relative_to(package.parent))), path.read_bytes(), ZIP_DEFLATED)
    digest = hashlib.sha256(data.getvalue()).hexdigest()[:12]
    archive = Path(SparkFiles.getRootDirectory()) / "shipped" / f"lifecycle-{digest}.zip"
    archive.parent.mkdir(exist_ok=True)
    if not archive.exists():
        unfinished = archive.with_name(f"{archive.name}.{uuid.uuid4().hex}")
        unfinished.write_bytes(data.getvalue())
        unfinished.replace(archive)
    context.addPyFile(str(archive))


def active_session() -> Any:
    """Return the session that this process has, or joins: that of the process which started it; None without one.

    On Databricks the driver's first process alone is given the cluster's session. The steps that it starts are told
    where its JVM listens, and join the application that runs there, for a second one is not allowed.
    """
    if not available():
        return None
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    # A session by Spark Connect has no context, which everything here works through.
    if not hasattr(active, "sparkContext"):
        active = _joined(*environ[GATEWAY].split(":", 1)) if GATEWAY in environ else None
    return active


def _joined(port: str, secret: str) -> Any:
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    # With these it starts no JVM and connects to one. Our own are not theirs: others may have been set for the driver.
    before = {name: environ.get(name) for name in ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET")}
    environ.update(PYSPARK_GATEWAY_PORT=port, PYSPARK_GATEWAY_SECRET=secret)
    try:
        gateway = launch_gateway()
    finally:
        for name, value in before.items():
            environ.pop(name)
            environ.update({name: value} if value is not None else {})
    running = gateway.jvm.org.apache.spark.SparkContext.getOrCreate()
    jsc = gateway.jvm.org.apache.spark.api.java.JavaSparkContext.fromSparkContext(running)
    SparkContext(gateway=gateway, jsc=jsc, conf=SparkConf(_jconf=running.conf()))
    return SparkSession.builder.getOrCreate()


def hand_on() -> None:
    """Let the processes that this one starts join its session, where it has one with a JVM that can be spoken to."""
    if "DATABRICKS_RUNTIME_VERSION" not in environ or not available():
        return
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is None:
        return
    # Not where the session is a remote one, by Spark Connect.
    with suppress(Exception):
        where = active.sparkContext._gateway.gateway_parameters
        environ[GATEWAY] = f"{where.port}:{where.auth_token}"


def available() -> bool:
    """Tell whether there is a pyspark: the project's own, or that of a runtime."""
    return importlib.util.find_spec("pyspark") is not None


def check() -> None:
    """Make sure that trials can run on Spark: on a Databricks cluster in its session, elsewhere in one of our own.

    Raises
    ------
    UserError
        Saying what would do.
    """
    if "DATABRICKS_RUNTIME_VERSION" not in environ:
        check_java()
    elif active_session() is None:
        raise UserError(
            "engine: this process has no session of the cluster's Spark, and a second one is not allowed there; submit "
            "the step by -e databricks to a cluster of access mode dedicated (SINGLE_USER), or use engine=local."
        )


def fetch_table(option: str, name: str, folder: Path) -> Path:
    """Copy a table of Unity Catalog, or of another catalog of the active session, to a Parquet file.

    Parameters
    ----------
    option : str
        ``data`` or ``test_data``.
    name : str
        ``catalog.schema.table``.
    folder : Path
        Where the file goes. Decimals become doubles, moments are in UTC.

    Raises
    ------
    UserError
        Where this process has no session, the catalog has no such table, or it may not be read.
    """
    session = active_session()
    if session is None:
        raise UserError(
            f"{option}: {name!r} is no file here, and a table of Unity Catalog is read through a cluster's Spark "
            "session, which this process has not; run the step there by -e databricks, or give a path."
        )
    from pyarrow import Table, parquet
    from pyspark.errors import PySparkException
    from pyspark.sql import functions, types

    try:
        frame = session.table(name)
        for field in frame.schema.fields:
            if isinstance(field.dataType, types.DecimalType):
                frame = frame.withColumn(field.name, functions.col(f"`{field.name}`").cast("double"))
        # Spark 3.5, as runtime 15 has it, knows the way through pandas alone.
        rows = frame.toArrow() if hasattr(frame, "toArrow") else Table.from_pandas(frame.toPandas())
    except PySparkException as error:
        if "TABLE_OR_VIEW_NOT_FOUND" in str(error) or "SCHEMA_NOT_FOUND" in str(error):
            raise UserError(
                f"{option}: the catalog has no table {name!r}; give one as catalog.schema.table, as SHOW TABLES has it."
            ) from error
        words = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise UserError(f"{option}: the table {name!r} cannot be read: {words}.") from error
    path = folder / "rows.parquet"
    parquet.write_table(rows, path)
    return path


def first_job(
    context: Any, group: str, job: Callable[[], Any], option: str = "engine", instead: str = "use engine=local"
) -> "Future[Any]":
    """Run the first job of a session to its end, and see that somebody begins it.

    Parameters
    ----------
    context : SparkContext
        Of the session.
    group : str
        A name for the job that no other has.
    job : callable
        The job.
    option, instead : str
        For the sentence, as of `check_java`.

    Returns
    -------
    Future
        Done: what the job returned, or raised.

    Raises
    ------
    UserError
        Where Spark has started no executor after a minute.
    """

    def begin() -> Any:
        context.setJobGroup(group, "lifecycle: begin", interruptOnCancel=True)
        return job()

    with ThreadPoolExecutor(1) as thread:
        begun = thread.submit(begin)
        wait([begun], SECONDS_TO_BEGIN)
        # A large table may take longer: what counts is that somebody is at it.
        if not begun.done() and not active_tasks(context, group):
            context.cancelJobGroup(group)
            raise UserError(
                f"{option}: Spark at {context.master} has started no executor in {SECONDS_TO_BEGIN} seconds; "
                f"give it free cores, or {instead}."
            )
    return begun


def check_pythons(context: Any, packages: Sequence[str], option: str = "engine") -> None:
    """Make sure that the executors' pythons are as new as this one and have some packages.

    Parameters
    ----------
    context : SparkContext
        Of the session.
    packages : sequence of str
        As they are imported.
    option : str
        For the sentence.

    Raises
    ------
    UserError
        Naming the python and what it lacks, or that there is none; and where Spark has started no executor.
    """

    # Within this function, so that it is sent as it is: an executor that lacks packages cannot import this module.
    def look(rows: Iterable[int]) -> Iterator[tuple[str, list[str]]]:
        import sys
        from importlib.util import find_spec

        list(rows)
        yield sys.executable, [name for name in packages if find_spec(name) is None]

    advice = "install requirements.txt there, or set PYSPARK_PYTHON to a python that has it"
    count = slots(context)
    job = first_job(
        context,
        f"lifecycle-pythons-{time.time_ns()}",
        context.parallelize(range(count), count).mapPartitions(look).collect,
    )
    try:
        found = sorted(job.result())
    except Exception as error:
        text = str(error)
        versions = re.search(r"PYTHON_VERSION_MISMATCH\].*", text)
        absent = re.search(r'Cannot run program "([^"]*)"', text)
        if not versions and not absent:
            raise
        why = f"have another version ({versions[0]})" if versions else f"are not there: {absent[1] if absent else ''}"
        raise UserError(f"{option}: the executors' pythons {why.rstrip('.')}; {advice}.") from error
    for python, missing in found:
        if missing:
            raise UserError(f"{option}: the executors' python, {python}, has no {listed(missing)}; {advice}.")


@contextmanager
def session(workers: int, attempts: int) -> Iterator[Any]:
    """Give the active session, or one of our own, which ends with the block.

    Parameters
    ----------
    workers : int
        Tasks at once of a session of our own.
    attempts : int
        How often its tasks are tried.

    Raises
    ------
    UserError
        Where there is no Java, or no Spark where MASTER says.
    """
    active = active_session()
    if active is None:
        check()
    found = active or own_session(workers, attempts)
    try:
        yield found
    finally:
        if active is None:
            found.stop()


@contextmanager
def configured(session: Any, settings: Mapping[str, str]) -> Iterator[None]:
    """Set some of a session's settings for as long as the block lasts."""
    before = {name: session.conf.get(name, None) for name in settings}
    for name, value in settings.items():
        session.conf.set(name, value)
    try:
        yield
    finally:
        for name, former in before.items():
            if former is None:
                session.conf.unset(name)
            else:
                session.conf.set(name, former)


def columns_of(names: Sequence[str]) -> list[Any]:
    """Return the columns of some names, which may hold dots."""
    from pyspark.sql import functions

    return [functions.col(f"`{name.replace('`', '``')}`") for name in names]


def struct_of(names: Sequence[str]) -> Any:
    """Return the columns of some names as one."""
    from pyspark.sql import functions

    return functions.struct(*columns_of(names))


def own_session(
    workers: int,
    attempts: int = 1,
    more: Mapping[str, str] = MappingProxyType({}),
    option: str = "engine",
    instead: str = "use engine=local",
) -> Any:
    """Start a session of our own: on this machine, or where the variable MASTER says.

    Parameters
    ----------
    workers : int
        Tasks at once; 0 for all the cores that there are.
    attempts : int
        How often a task is tried; what kills the worker of a trial is not tried again.
    more : mapping of str to str, optional
        Further settings of Spark.
    option, instead : str
        For the sentence, as of `check_java`.

    Raises
    ------
    UserError
        Where MASTER says what Spark cannot use.
    """
    # Executors would take the system's python, which has none of our packages.
    environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(APP)
    master = environ.get("MASTER", "")
    if not master:
        # A session on this machine listens to this machine alone.
        environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        master = f"local[{workers or '*'},{attempts}]"
    settings = (
        OWN
        | {"spark.task.maxFailures": str(attempts)}
        | ({"spark.cores.max": str(workers)} if workers else {})
        | dict(more)
        | {f"spark.executorEnv.{k}": v for k, v in ONE_THREAD.items()}
    )
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        return builder.master(master).getOrCreate()
    except Exception as error:
        if "MASTER" not in environ:
            raise
        # Spark's own words stand above.
        raise UserError(
            f"{option}: Spark cannot be started at {master}, as the variable MASTER says; mend it, or {instead}."
        ) from error


def slots(context: Any) -> int:
    """Count the tasks that Spark runs at once: the cores of its executors, by the cores of a task."""
    try:
        executors = context._jsc.sc().statusStore().executorList(True)
        cores = sum(executors.apply(place).totalCores() for place in range(executors.size()))
    except Exception:  # noqa: BLE001 - a session may keep its JVM to itself
        cores = context.defaultParallelism
    return max(int(cores) // int(context.getConf().get("spark.task.cpus", "1")), 1)


def active_tasks(context: Any, group: str) -> bool:
    """Tell whether a task of a job group is at work."""
    status = context.statusTracker()
    jobs = [status.getJobInfo(job) for job in status.getJobIdsForGroup(group)]
    stages = [status.getStageInfo(stage) for job in jobs if job is not None for stage in job.stageIds]
    return any(stage is not None and stage.numActiveTasks > 0 for stage in stages)


def said(error: Exception, what: str = "trial") -> str:
    """Say in a sentence why a job failed, from what Spark says in a hundred lines."""
    text = str(error)
    if "ExecutorLostFailure" in text:
        found = re.search(r"ExecutorLostFailure \(([^)]*)\)", text)
        return f"the executor was lost ({found[1] if found else 'Spark does not say how'})"
    if "Python worker exited unexpectedly" in text:
        return "the worker died (an executor's python was ended from outside)"
    said = re.search(r"Caused by: (.*)|Job aborted due to stage failure: (.*)", text)
    line = next(filter(None, said.groups()), "") if said else text.strip().splitlines()[0] if text.strip() else ""
    return f"Spark ended the {what}: {type(error).__name__}: {line}"

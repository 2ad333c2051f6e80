"""A search in Spark on a session of others: what it sets and keeps there, and how it tells what fails there."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyspark
import pytest
from typed import defaults

from lifecycle.adapters import mllib, spark_table
from lifecycle.errors import UserError

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("at_home")]
OPTIONS = defaults("tune_mllib")
ZONE = "spark.sql.session.timeZone"


@pytest.fixture(scope="module")
def theirs(at_home: None) -> Iterator[Any]:
    """A session whose owners live in New York."""
    settings = {"spark.ui.enabled": "false", ZONE: "America/New_York", **mllib.OVER_FEW_ROWS}
    session = pyspark.sql.SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def iris(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> spark_table.SparkPrepared:
    identity = spark_table.identify(OPTIONS)
    return spark_table.prepare(theirs, identity, tmp_path_factory.mktemp("iris"))


@pytest.fixture
def kept(theirs: Any) -> Callable[[], int]:
    """Count what the session keeps."""
    return lambda: int(theirs.sparkContext._jsc.getPersistentRDDs().size())


def test_times_are_told_in_utc_and_then_as_before(theirs: Any) -> None:
    moment = "SELECT CAST(timestamp_seconds(0) AS STRING) AS told"
    with mllib.session_for(2) as session:
        assert session.sparkContext is theirs.sparkContext
        assert session.sql(moment).collect()[0].told == "1970-01-01 00:00:00"
    assert theirs.sql(moment).collect()[0].told == "1969-12-31 19:00:00"


def test_a_python_without_the_packages_is_told_before_rows_are_read(theirs: Any) -> None:
    with (
        pytest.raises(
            UserError,
            match=r"^split_column: the executors' python, .*, has no no_such_package; install requirements\.txt ",
        ),
        mllib.session_for(2, ["numpy", "no_such_package"]),
    ):
        pass


def test_executors_that_are_lost_one_after_the_other_are_a_sentence(theirs: Any) -> None:
    with (
        pytest.raises(
            UserError,
            match=r"^data: the executor was lost \(executor 3 exited\), and so were those that Spark tried after it; "
            r"give executors more memory by spark\.executor\.memory\.$",
        ),
        mllib.session_for(2) as session,
    ):
        session.range(1).collect()
        raise RuntimeError("Job aborted due to stage failure: Lost task 0.3: ExecutorLostFailure (executor 3 exited)")


def test_every_row_is_kept_once(iris: spark_table.SparkPrepared) -> None:
    """The table as it was read is let go when both sides are kept."""
    assert sum(frame.count() for frame in iris.kept if frame.storageLevel.useMemory) == 150


@pytest.mark.parametrize(("before", "rows", "after"), [(1, 40, 3), (9, 1_000, 1)])
def test_vectors_stand_in_as_many_parts_as_there_are_tasks_in_them(
    iris: spark_table.SparkPrepared, monkeypatch: pytest.MonkeyPatch, before: int, rows: int, after: int
) -> None:
    """117 training rows, in one part as of a packed file, or in many as of a folder."""
    monkeypatch.setattr(mllib, "ROWS_OF_A_TASK", rows)
    train = spark_table.SparkRows(iris.train.frame.repartition(before), iris.train.names, (), len(iris.train))
    design = mllib.Design(replace(iris, train=train))
    assert (design.train.rdd.getNumPartitions(), design.train.count()) == (after, 117)
    design.let_go()


def test_vectors_that_cannot_be_made_leave_nothing_behind(
    iris: spark_table.SparkPrepared, kept: Callable[[], int]
) -> None:
    before = kept()
    broken = iris.train.frame.withColumn(mllib.PLACE, spark_table.expression("CAST(raise_error('no more') AS DOUBLE)"))
    train = spark_table.SparkRows(broken, iris.train.names, (), len(iris.train))
    # Not an example of five rows, nor medians: none of these reads the target.
    with pytest.raises(pyspark.errors.PySparkException, match="no more"):
        mllib.Design(replace(iris, train=train))
    assert kept() == before


def test_a_search_that_breaks_off_before_its_first_trial_leaves_nothing_behind(
    theirs: Any,
    iris: spark_table.SparkPrepared,
    kept: Callable[[], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(run: Any) -> None:
        raise KeyboardInterrupt

    before = kept()
    monkeypatch.setattr(mllib.tracking, "claim_test_rows", broken)
    options = OPTIONS | {"models": "dtc", "sweep": False, "select_on": "test"}
    step: Any = SimpleNamespace(options=options, contract=iris.contract, run=None)
    with pytest.raises(KeyboardInterrupt):
        mllib._search(step, mllib.settings_for(options, iris.contract), theirs, replace(iris, kept=()), tmp_path)
    assert kept() == before

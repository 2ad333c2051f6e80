"""A search in Spark over a table of the session's catalog, and the registration of its winner, in one driver."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.whole
TABLE = "spark_catalog.default.flowers"
# As a cluster's driver has them: a session and a table, before the steps begin, each of which takes both as they are.
DRIVER = """
import runpy, sys
from pyspark.sql import SparkSession

root, table, csv = sys.argv[1:]
sys.path.insert(0, f"{root}/steps")
session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
session.read.csv(csv, header=True, inferSchema=True).write.saveAsTable(table)
common = ["--data", table, "--target", "species", "--split", "hash"]
few = ["--sweep", "false", "--models", "dtc", "--max_evals", "2", "--folds", "3"]
for step, options in (("tune_mllib", few), ("register", ["--folds", "3", "--name", "flowers"])):
    sys.argv = [f"{root}/steps/{step}.py", *common, *options]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
session.stop()
"""


def test_the_winner_over_a_table_of_a_catalog_is_registered_and_its_rows_are_not_fetched(
    new_store: Callable[[], Any], project: Path
) -> None:
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, and there is none on PATH")
    store = new_store()
    done = store.run(sys.executable, "-c", DRIVER, project, TABLE, project / "data" / "iris.csv").well()
    [search], [register] = store.steps("tune_mllib"), store.steps("register")
    assert register.data.tags["lifecycle.table"] == search.data.tags["lifecycle.table"]
    [version] = store.versions("flowers").values()
    assert version.tags["lifecycle.run"] == search.info.run_id
    assert "of tune_mllib registered as models:/flowers/1, now @champion" in done.out
    # What prepares a table fetches its rows.
    assert not store.steps("prepare")

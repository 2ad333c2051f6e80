"""Lays out the classes that Spark loads as a file that later JVMs map: they start in half the time.

`python tests/class_archive.py FILE`, with the options of those JVMs in SPARK_SUBMIT_OPTS. Java's name for it is class
data sharing (JEP 350). The file appears when it is whole; a JVM that does not find it starts without.
"""

import os
import sys
import tempfile
from pathlib import Path


def make(file: Path) -> None:
    """Do a little of what tests do, and let the JVM write what it has loaded as it ends."""
    from pyspark import SparkContext
    from pyspark.ml.classification import DecisionTreeClassifier
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import SparkSession

    unfinished = file.with_suffix(".new")
    os.environ["SPARK_SUBMIT_OPTS"] += f" -XX:ArchiveClassesAtExit={unfinished}"
    builder: SparkSession.Builder = SparkSession.builder
    session = builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    with tempfile.TemporaryDirectory() as folder:
        rows = session.range(60).selectExpr("id % 2 AS label", "id * 1.5 AS x", "CAST(id % 3 AS STRING) AS word")
        rows.write.parquet(f"{folder}/rows")
        rows = session.read.parquet(f"{folder}/rows")
        rows.groupBy("word").agg({"x": "avg"}).collect()
        rows = VectorAssembler(inputCols=["x"], outputCol="features").transform(rows)
        DecisionTreeClassifier().fit(rows).transform(rows).selectExpr("avg(prediction)").collect()
    session.stop()
    jvm = SparkContext._gateway.proc  # type: ignore[union-attr]
    jvm.stdin.close()
    jvm.wait()
    unfinished.rename(file)


if __name__ == "__main__":
    make(Path(sys.argv[1]))

"""A table counted in parts, where they lie: executors of Spark import this module, and little beside it."""

import pickle
from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa

from lifecycle.adapters.relation import Relation
from lifecycle.contract import Contract


def observed(batches: Iterator[pa.RecordBatch], names: Sequence[str], contract: Contract) -> Iterator[pa.RecordBatch]:
    """Count what a contract's check needs of each batch.

    Parameters
    ----------
    batches : iterator of RecordBatch
        Rows, their columns in the order of the names.
    names : sequence of str
        The columns' own names.
    contract : Contract
        What they are counted for.

    Yields
    ------
    RecordBatch
        One cell, ``part``: an `Observed`, pickled.
    """
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        for batch in batches:
            connection.register("batch", pa.Table.from_batches([batch.rename_columns(list(names))]))
            part = pickle.dumps(Relation(connection, "batch").observe(contract))
            yield pa.record_batch([pa.array([part], pa.binary())], names=["part"])

"""Frames in, frames out: the prepared table of a raw one that stands in memory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from lifecycle.adapters.preparation import Made, make, workplace
from lifecycle.adapters.relation import Relation
from lifecycle.contract import Contract
from lifecycle.settings import MISSING_WORDS, TWIN_COLUMN, TableSettings
from lifecycle.table import PreparedTable, TestRows, read_prepared


@contextmanager
def made(frame: pd.DataFrame, settings: TableSettings, test: pd.DataFrame | None = None) -> Iterator[Made]:
    """Prepare frames in a folder that stands as long as the block."""
    with tempfile.TemporaryDirectory() as folder, workplace(Path(folder)) as connection:
        raw = relation_of(frame, connection, "data")
        held = None if test is None else relation_of(test, connection, "test_data")
        yield make(raw, settings, held, Path(folder))


def relation_of(frame: pd.DataFrame, connection: duckdb.DuckDBPyConnection, view: str = "data") -> Relation:
    """Put a frame into duckdb."""
    # A copy lies in memory as duckdb wants it; a reversed frame does not.
    connection.register("frame", frame.copy())
    # A table, which every cursor sees.
    connection.execute(f"CREATE OR REPLACE TABLE {view} AS FROM frame")
    connection.unregister("frame")
    return Relation(connection, view, MISSING_WORDS)


def prepare(
    frame: pd.DataFrame, settings: TableSettings, test: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, Contract]:
    """Return the training rows, the test rows (without the flag of twins), and the contract."""
    with made(frame, settings, test) as table:
        train, held = (pd.read_parquet(path) for path in (table.train, table.test))
        # A missing text comes as None from Parquet; pandas does not want the two compared.
        return train.fillna(np.nan), held.drop(columns=TWIN_COLUMN).fillna(np.nan), table.prepared.contract


def prepared(
    frame: pd.DataFrame, settings: TableSettings, test: pd.DataFrame | None = None
) -> tuple[PreparedTable, TestRows]:
    """Return what a step trains on, and the test rows as a run hands them out."""
    with made(frame, settings, test) as table:
        train, held = pd.read_parquet(table.train), pd.read_parquet(table.test)
        contract = table.prepared.contract
        rows = TestRows(held[contract.features], held[contract.target], held[TWIN_COLUMN].to_numpy(dtype=bool))
        return read_prepared(train, contract), rows

"""Prepared rows read back: all of them, or the sample that a step trains on, if the memory holds them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lifecycle.contract import DATETIME, NUMERIC, Contract
from lifecycle.errors import UserError
from lifecycle.settings import FOLD_COLUMN
from lifecycle.table import PreparedTable, read_prepared, sampled

# Bytes of a cell in a frame, and how often a table stands in memory while a model is fitted: as a frame, as a design,
# as the folds' designs.
NUMBER_BYTES, TEXT_BYTES, COPIES = 8, 64, 3
BATCH_ROWS = 100_000


def read_training(path: Path, contract: Contract, rows: int, seed: int) -> PreparedTable:
    """Read the training rows.

    Parameters
    ----------
    path : Path
        The prepared file.
    contract : Contract
        Of the table.
    rows : int
        How many to draw; 0 for all.
    seed : int
        Of the draw.

    Raises
    ------
    UserError
        Where they do not fit into the memory that is free, or too few were asked for.
    """
    check_memory(rows or contract.rows, contract)
    if not rows:
        return read_prepared(pd.read_parquet(path), contract)
    file = pq.ParquetFile(path)
    known = file.read(columns=[contract.target, FOLD_COLUMN]).to_pandas()
    folds = known[FOLD_COLUMN].to_numpy(dtype=np.int64)
    drawn = sampled(known[contract.target], folds, contract, rows, seed)
    parts, begin = [], 0
    for batch in file.iter_batches(BATCH_ROWS):
        here = drawn[(drawn >= begin) & (drawn < begin + len(batch))] - begin
        parts.append(batch.take(pa.array(here)))
        begin += len(batch)
    return read_prepared(pa.Table.from_batches(parts).to_pandas(), contract)


def check_memory(rows: int, contract: Contract) -> None:
    """Refuse rows that would not fit into the memory that is free.

    Raises
    ------
    UserError
        With the bytes needed and free.
    """
    numbers = len([column for column in contract.columns if column.role in (NUMERIC, DATETIME)])
    words = len(contract.features) - numbers
    needed = rows * (NUMBER_BYTES * numbers + TEXT_BYTES * words) * COPIES
    free = free_bytes()
    if free is not None and needed > free:
        most = max(int(rows * free / needed), 1)
        # Rounded down to one digit.
        scale = 10 ** (len(str(most)) - 1)
        raise UserError(
            f"max_rows: {rows:,} training rows of {len(contract.features)} columns need about {needed / 1e9:.1f} GB to "
            f"train on, and {free / 1e9:.1f} GB are free; set max_rows={most // scale * scale}, which draws a sample."
        )


def free_bytes() -> int | None:
    """Return the memory that is free for this process, by the kernel and by the container's limit; None elsewhere."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            found.append(int(limit) - int((group / "memory.current").read_text(encoding="ascii")))
    except OSError:
        pass
    return min(found) if found else None

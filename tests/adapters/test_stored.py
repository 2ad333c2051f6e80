"""Prepared rows read back: whole, as a sample, or refused where the memory does not hold them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frames import made
from pandas.testing import assert_frame_equal

from lifecycle.adapters import stored
from lifecycle.contract import Contract
from lifecycle.errors import UserError
from lifecycle.settings import TableSettings

ROWS = 1_000


@pytest.fixture(scope="module")
def table() -> Iterator[tuple[Path, Contract]]:
    frame = pd.DataFrame(
        {"x": np.arange(ROWS) * 1.5, "c": ["a", "b"] * (ROWS // 2), "y": ["yes", "no", "no", "no"] * (ROWS // 4)}
    )
    with made(frame, TableSettings("t.csv", "y")) as prepared:
        yield prepared.train, prepared.prepared.contract


def test_all_rows_are_read_as_they_were_written(table: tuple):
    path, contract = table
    found, written = stored.read_training(path, contract, 0, 42), pd.read_parquet(path)
    assert_frame_equal(found.rows, written[["x", "c"]])
    assert found.labels.tolist() == written["y"].tolist()


@pytest.mark.parametrize("batch", [7, 100_000])
def test_a_sample_is_drawn_by_the_seed_with_the_classes_shares(
    table: tuple, batch: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stored, "BATCH_ROWS", batch)
    path, contract = table
    found = stored.read_training(path, contract, 200, 42)
    assert len(found.rows) == len(found.labels) == len(found.folds) == 200
    assert (found.labels == "yes").sum() == 50
    # Rows stay whole: each row's number names its label and its fold.
    written = pd.read_parquet(path).set_index("x")
    known = written.loc[found.rows["x"]]
    assert known["y"].tolist() == found.labels.tolist()
    assert known["__fold__"].tolist() == found.folds.tolist()
    assert known["c"].tolist() == found.rows["c"].tolist()
    again, other = (stored.read_training(path, contract, 200, seed).rows["x"].tolist() for seed in (42, 43))
    assert again == found.rows["x"].tolist() != other


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_fold_is_in_a_sample_about_as_it_is_in_the_table(seed: int, task: str):
    """Folds are shuffled by the seed; a sample drawn by the same permutation would be of some folds alone."""
    target = np.arange(ROWS) % 2 if task == "classification" else np.arange(ROWS) / 7
    with made(pd.DataFrame({"x": range(ROWS, 2 * ROWS), "n": 1.5 * (np.arange(ROWS) % 13), "y": target}),
              TableSettings("t.csv", "y", seed=seed)) as prepared:  # fmt: skip
        found = stored.read_training(prepared.train, prepared.prepared.contract, 400, seed)
    counts = np.bincount(found.folds)
    assert len(counts) == 5
    assert counts.min() > 50


@pytest.mark.parametrize(("rows", "why"), [(1, "are too few for the classes"), (2, "leave a fold empty")])
def test_too_few_rows_are_refused(table: tuple, rows: int, why: str):
    with pytest.raises(UserError, match=rf"^max_rows: {rows} of 800 rows {why}; give more\.$"):
        stored.read_training(*table, rows, 42)


def test_a_table_that_the_memory_does_not_hold_is_refused(table: tuple, monkeypatch: pytest.MonkeyPatch):
    _, contract = table
    monkeypatch.setattr(stored, "free_bytes", lambda: 1_000_000_000)
    stored.check_memory(1_000_000, contract)
    # A number of 8 bytes and a text of 64, three times over.
    with pytest.raises(
        UserError,
        match=r"^max_rows: 8,000,000 training rows of 2 columns need about 1\.7 GB to train on, and 1\.0 GB are free; "
        r"set max_rows=4000000, which draws a sample\.$",
    ):
        stored.check_memory(8_000_000, replace(contract, rows=8_000_000))
    monkeypatch.setattr(stored, "free_bytes", lambda: None)
    stored.check_memory(8_000_000, contract)


def test_free_memory_is_less_than_what_the_machine_has():
    free = stored.free_bytes()
    assert free is None or 0 < free < 2**50

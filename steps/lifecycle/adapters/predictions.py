"""Out-of-fold predictions as the artifact ``oof.parquet`` of the trials' child runs."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lifecycle.adapters import tracking
from lifecycle.adapters.tracking import StepRun
from lifecycle.honest import Predictions, places_of
from lifecycle.metrics import Metric
from lifecycle.table import PreparedTable
from lifecycle.trials import FINISHED, TrialRecord

OOF = "oof.parquet"
# Training rows up to which every finished trial keeps its predictions, and how many trials do above.
MOST_ROWS, KEPT = 100_000, 10


class Keeper:
    """Keep the out-of-fold predictions of a search: of every finished trial, or of a large table's ten best so far.

    They are written as a trial ends, so that a search that is killed has them; its record keeps what the search's
    metric is counted from. Where a better trial takes the place of
    one of the ten, that one's are deleted, from its record and from its run.

    Parameters
    ----------
    run : StepRun
        The search's.
    table : PreparedTable
        Says which rows the predictions are of.
    metric : Metric
        What is best.
    """

    def __init__(self, run: StepRun, table: PreparedTable, metric: Metric) -> None:
        self._run, self._table, self._metric = run, table, metric
        self._kept: list[tuple[float, int, str, TrialRecord]] = []

    def past(self, records: Sequence[TrialRecord]) -> None:
        """Count the trials of a search that is gone on with, whose runs keep predictions, among the best so far."""
        if len(self._table.labels) > MOST_ROWS:
            kept = [one for one in records if one.status == FINISHED and tracking.has_artifact(one.run_id, OOF)]
            self._kept += [(self._metric.loss(one.score), one.number, one.run_id, one) for one in kept]

    def trial(self, child: str, record: TrialRecord) -> None:
        """Write a trial's predictions into its child run, before the run ends."""
        if record.out_of_fold is None or record.status != FINISHED:
            record.out_of_fold = None
            return
        if len(self._table.labels) > MOST_ROWS:
            self._kept.append((self._metric.loss(record.score), record.number, child, record))
            self._kept.sort(key=lambda one: one[:2])
            if len(self._kept) > KEPT:
                _, _, other, worst = self._kept.pop()
                worst.out_of_fold = None
                if worst is record:
                    return
                self._run.delete_child_file(other, OOF)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / OOF
            pq.write_table(pa.table(columns_of(record.out_of_fold, self._table)), path)
            self._run.child_file(child, path)
        if not self._metric.name.startswith("roc"):
            # Thousands of trials would fill the memory with responses that the correction does not ask for.
            record.out_of_fold = Predictions(record.out_of_fold.predicted)


def columns_of(said: Predictions, table: PreparedTable) -> "dict[str, pa.Array]":
    """Lay out predictions as columns.

    Returns
    -------
    dict of str to array
        ``row`` (int32, its position among the training rows used), ``fold`` (int16), ``predicted`` (the target's own
        label or unit), and for labels ``response`` (float64, of the positive class) or ``response_<place>`` for each
        class of the contract in order.
    """
    rows = validated_rows(table)
    columns = {"row": pa.array(rows.astype(np.int32)), "fold": pa.array(table.folds[rows].astype(np.int16))}
    classes = table.contract.classes
    if not classes:
        return columns | {"predicted": pa.array(said.predicted)}
    labels = pa.array(list(classes))
    columns["predicted"] = labels.take(pa.array(said.predicted))
    if said.response is not None and said.response.ndim == 1:
        columns["response"] = pa.array(said.response)
    elif said.response is not None:
        columns |= {f"response_{place}": pa.array(said.response[:, place]) for place in range(len(classes))}
    return columns


def validated_rows(table: PreparedTable) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the positions of the rows that folds validate, fold after fold: what out-of-fold predictions are of."""
    return np.concatenate([validated for _, validated in table.fold_pairs])


def of_child(run_id: str, table: PreparedTable) -> Predictions | None:
    """Read the out-of-fold predictions that a finished trial's run keeps.

    Parameters
    ----------
    run_id : str
        The child run.
    table : PreparedTable
        The same as it was made from.

    Returns
    -------
    Predictions or None
        None where the run keeps none, or they are of other rows.
    """
    try:
        frame = pd.read_parquet(tracking.artifact(run_id, OOF))
    except LookupError:
        return None
    return of_frame(frame, table)


def of_frame(frame: pd.DataFrame, table: PreparedTable) -> Predictions | None:
    """Turn the columns of ``oof.parquet`` back into predictions; None where they are of other rows."""
    if not np.array_equal(frame["row"].to_numpy(), validated_rows(table)):
        return None
    contract = table.contract
    if not contract.classes:
        return Predictions(frame["predicted"].to_numpy(np.float64))
    if not set(frame["predicted"].unique().tolist()) <= set(contract.classes):
        return None
    names: Sequence[str] = [name for name in frame.columns if str(name).startswith("response")]
    response = frame[names].to_numpy(np.float64) if names else None
    if response is not None and len(contract.classes) == 2:
        response = response[:, 0]
    return Predictions(places_of(contract, frame["predicted"]), response)

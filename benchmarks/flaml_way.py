"""FLAML's part of the quality benchmark, run by the Python of an environment of its own: it needs flaml[automl] alone.

``python flaml_way.py FOLDER SECONDS MOST OWN``: FOLDER holds ``train.parquet`` with the columns ``__label__`` and
``__fold__``, ``test.parquet``, and ``ask.json`` with the task, the metric by FLAML's name and the seed. With OWN=1
FLAML validates as it comes, else on the folds given. It leaves ``said.json``: the scores of its trials and their
seconds; and ``predicted.parquet``.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from flaml import AutoML


class GivenFolds:
    """The benchmark's own folds, as FLAML asks for them."""

    shuffle = False

    def __init__(self, folds: Any, rows: pd.DataFrame) -> None:
        self.folds, self.first = folds, rows.iloc[:, 0].to_numpy()

    def get_n_splits(self, *_: Any) -> int:
        """Return how many there are."""
        return len(np.unique(self.folds))

    def split(self, rows: pd.DataFrame, *_: Any) -> Iterator[tuple[Any, Any]]:
        """Give the positions fitted on and validated on."""
        if len(rows) != len(self.folds):
            raise ValueError(f"{len(rows)} rows for {len(self.folds)} folds")
        for fold in np.unique(self.folds):
            yield np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)


def main(folder: Path, seconds: float, most: int, own: bool) -> None:
    """Search, and write down what was found."""
    ask = json.loads((folder / "ask.json").read_text(encoding="utf-8"))
    train, test = pd.read_parquet(folder / "train.parquet"), pd.read_parquet(folder / "test.parquet")
    labels, folds = train.pop("__label__").to_numpy(), train.pop("__fold__").to_numpy()
    log = folder / "flaml.log"
    kept = {} if own else {"eval_method": "cv", "split_type": GivenFolds(folds, train), "n_splits": len(set(folds))}
    automl = AutoML()
    began = time.perf_counter()
    automl.fit(
        train, labels, task=ask["task"], metric=ask["metric"], seed=ask["seed"], n_jobs=2, verbose=0,
        time_budget=seconds, log_file_name=str(log), log_type="all", **kept, **({"max_iter": most} if most else {}),
    )  # fmt: skip
    wall = time.perf_counter() - began
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    trials = [(one["wall_clock_time"], one["validation_loss"], one["learner"]) for one in lines if "learner" in one]
    said = {"wall": wall, "times": [one[0] for one in trials], "losses": [one[1] for one in trials]}
    said |= {"winner": automl.best_estimator, "config": automl.best_config}
    (folder / "said.json").write_text(json.dumps(said, default=float), encoding="utf-8")
    predicted = np.asarray(automl.predict(test)).ravel()
    pd.DataFrame({"predicted": predicted}).to_parquet(folder / "predicted.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1")

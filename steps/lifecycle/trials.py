"""Trial records, and the objective that makes them: a plain function of a prepared table and a point's values."""

import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from lifecycle.contract import Contract
from lifecycle.honest import Predictions, places_of
from lifecycle.metrics import Metric, over_folds, prefixed, score_all
from lifecycle.models import make_estimator, pipeline, preprocessor, response_of, scores_of, toward
from lifecycle.pruning import Bar
from lifecycle.spaces import Values
from lifecycle.table import PreparedTable, TestRows
from lifecycle.thresholds import FoldScores, cross_fitted, pooled_threshold

FINISHED, FAILED, INFEASIBLE, PRUNED = "finished", "failed", "infeasible", "pruned"
MOST_CACHED_CELLS = 20_000_000


@dataclass(frozen=True)
class Task:
    """What a worker is told of a trial.

    Attributes
    ----------
    values : dict
        ``model`` and its hyperparameters.
    bar : Bar or None
        What it must reach on its first folds to be fitted on the others.
    """

    values: Values
    bar: Bar | None = None


@dataclass
class TrialRecord:
    """What is known of one trial.

    Attributes
    ----------
    number : int
        Its place in the search, from 0.
    values : dict
        ``model`` and its hyperparameters.
    status : str
        ``finished``, ``failed``, ``infeasible``: scored, but over a limit of the search, so that it cannot win, or
        ``pruned``: ended after its first folds, because it could not win.
    score : float
        By the search's metric; NaN for a failed one, for a pruned one an estimate that is not above the best.
    metrics : dict of str to float
        As tracked: ``cv_<metric>`` and its ``_std``, or under ``select_on=test`` ``train_`` and ``test_<metric>``.
    params : dict
        Every parameter of the estimator, its defaults too.
    fit_seconds, score_seconds : float
        Wall seconds of ``fit`` alone over all folds, and of preprocessing and scoring, in the worker.
    started, ended : float
        Wall clock, seconds since 1970.
    error : str
        Why it failed, or which limit it is over.
    warnings : int
        How often the estimator warned that it had not converged.
    folds_done : int
        How many folds were scored.
    model : Pipeline or None
        The fitted pipeline, where it was asked for.
    threshold : float or None
        At which the positive class is predicted, chosen on out-of-fold predictions; None for the estimator's own.
    latency_ms : float
        Milliseconds to predict 1,000 raw rows, from the fastest of the folds' predictions.
    size_mb : float
        Megabytes (10**6 bytes) of the largest fold's model, pickled.
    fold_scores : tuple of float
        By the search's metric, of the folds done; empty where there are none.
    repeat_of : int or None
        The trial that had the same values, whose record this is.
    run_id : str
        Its child run, once there is one.
    out_of_fold : Predictions or None
        Of the validated rows, fold after fold; None where it was scored on the test rows, or is not kept.
    """

    number: int
    values: Values
    status: str = FINISHED
    score: float = float("nan")
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    error: str = ""
    warnings: int = 0
    folds_done: int = 0
    model: Pipeline | None = None
    threshold: float | None = None
    latency_ms: float = float("nan")
    size_mb: float = float("nan")
    fold_scores: tuple[float, ...] = ()
    repeat_of: int | None = None
    run_id: str = field(default="", compare=False)
    out_of_fold: Predictions | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Limits:
    """What a trial's model may take; 0 for no limit.

    Attributes
    ----------
    max_latency_ms : float
        Milliseconds to predict 1,000 raw rows.
    max_size_mb : float
        Megabytes.
    """

    max_latency_ms: float = 0.0
    max_size_mb: float = 0.0

    def broken(self, record: TrialRecord) -> dict[str, tuple[float, float]]:
        """Return what a trial has and what it may have, by the option that it breaks."""
        have = {"max_latency_ms": record.latency_ms, "max_size_mb": record.size_mb}
        return {name: (value, getattr(self, name)) for name, value in have.items() if 0 < getattr(self, name) < value}


class Counted:
    """A file that keeps nothing but the number of bytes written to it."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: Any) -> int:
        """Count some bytes."""
        size = memoryview(data).nbytes
        self.bytes += size
        return size


class Sized(pickle.Pickler):
    """A pickler to which equal texts, and equal dtypes, are one.

    Whether they are one object in a model hangs on the process that fitted it (a table that came by a pickle brings
    texts of its own), and a pickle holds an object once.

    Attributes
    ----------
    references : int
        Texts and dtypes met. Each adds one byte to the stream that a usual pickle does not have.
    """

    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=5)
        self.references = 0
        self._first: dict[Any, Any] = {}

    def persistent_id(self, one: Any) -> Any:
        """Return the first text or dtype that is equal; ``None`` of all else, which is pickled as it is."""
        if not isinstance(one, str | np.dtype):
            return None
        self.references += 1
        # By its type, too: a dtype is equal to its name.
        return self._first.setdefault((type(one), one), one)


def megabytes(model: Any) -> float:
    """Return how large a model is when it is pickled, in units of 10**6 bytes; nothing is kept of the pickle."""
    counted = Counted()
    sized = Sized(counted)
    sized.dump(model)
    return (counted.bytes - sized.references) / 1e6


def lost(number: int, task: Task, started: float, why: str) -> TrialRecord:
    """Return the failed record of a trial whose worker gave none.

    Parameters
    ----------
    number : int
        Its place in the search.
    task : Task
        Whose values, with no estimator to ask, are its ``params``.
    started : float
        Wall clock, seconds since 1970.
    why : str
        What became of it.
    """
    params = {name: value for name, value in task.values.items() if name != "model"}
    return TrialRecord(number, task.values, FAILED, params=params, started=started, ended=time.time(), error=why)


def packed(objective: Callable[[int, Task], TrialRecord], number: int, task: Task) -> bytes:
    """Evaluate a point where the record must go to another process.

    Returns
    -------
    bytes
        The record, pickled; where it cannot be, because of what an estimator put into it, a failed one that says so.
    """
    started = time.time()
    record = objective(number, task)
    try:
        return pickle.dumps(record, protocol=5)
    except Exception as error:  # noqa: BLE001 - whatever an estimator's own pickling raises is a failed trial
        why = f"the result cannot be sent: {type(error).__name__}: {error}"
        return pickle.dumps(lost(number, task, started, why), protocol=5)


def unpacked(data: bytes | bytearray, number: int, task: Task, started: float) -> TrialRecord:
    """Return the record that `packed` gave; where it cannot be read, a failed one that says so."""
    try:
        record: TrialRecord = pickle.loads(data)
    except Exception as error:  # noqa: BLE001 - whatever an estimator's own unpickling raises is a failed trial
        return lost(number, task, started, f"the result cannot be read: {type(error).__name__}: {error}")
    return record


@dataclass(frozen=True)
class FoldResult:
    """What one fold gave.

    Attributes
    ----------
    scores : dict of str to float
        By metric, at the estimator's own threshold.
    fit_seconds, score_seconds : float
        Wall seconds of ``fit``, and of everything around it.
    said : FoldScores or None
        The response to each validated row, for two classes.
    default : float
        The threshold that the estimator itself takes.
    predicted : Predictions or None
        What was said of the validated rows, in order.
    latency_ms : float
        Milliseconds for 1,000 raw rows, preprocessing and prediction.
    size_mb : float
        Megabytes of preprocessing and estimator.
    """

    scores: dict[str, float]
    fit_seconds: float
    score_seconds: float
    said: FoldScores | None = None
    default: float = 0.5
    predicted: Predictions | None = None
    latency_ms: float = float("nan")
    size_mb: float = float("nan")


def summed_up(
    contract: Contract, folds: Sequence[FoldResult], choose_threshold: bool
) -> tuple[dict[str, float], float | None, Predictions | None]:
    """Bring the results of all folds together.

    Parameters
    ----------
    contract : Contract
        Of the table.
    folds : sequence of FoldResult
        In order.
    choose_threshold : bool
        Whether the decision threshold is chosen on these folds: then each is scored at the threshold that the others
        choose, and the model's own is chosen on all.

    Returns
    -------
    metrics : dict of str to float
        ``cv_<metric>`` and ``cv_<metric>_std``.
    threshold : float or None
        The chosen one.
    out_of_fold : Predictions or None
        Of all folds, one after the other, at the thresholds that they are scored at; None for no folds.
    """
    said = [fold.said for fold in folds if fold.said is not None]
    parts = [fold.predicted for fold in folds if fold.predicted is not None]
    if not choose_threshold or len(said) < len(folds):
        return over_folds([fold.scores for fold in folds]), None, joined(parts)
    default = folds[0].default
    labels, scores = cross_fitted(said, contract, default)
    parts = [Predictions(places_of(contract, mine), one.scores) for one, mine in zip(said, labels, strict=True)]
    return over_folds(scores), pooled_threshold(said, contract, default), joined(parts)


def joined(parts: Sequence[Predictions]) -> Predictions | None:
    """Put predictions one after the other; None for none."""
    if not parts:
        return None
    responses = [part.response for part in parts if part.response is not None]
    return Predictions(
        np.concatenate([part.predicted for part in parts]),
        np.concatenate(responses) if len(responses) == len(parts) else None,
    )


def said_by(contract: Contract, model: Any, rows: Any) -> Predictions:
    """Return what a fitted model says of rows.

    Parameters
    ----------
    contract : Contract
        Of the table.
    model : fitted estimator or pipeline
        Of the target's own labels or units.
    rows : array or DataFrame, shape (n, columns)
        What it takes.
    """
    predicted = model.predict(rows)
    if not contract.classes:
        return Predictions(np.asarray(predicted, np.float64))
    binary = len(contract.classes) == 2
    response = response_of(contract, model, rows)[0] if binary else scores_of(model, rows, len(contract.classes))
    return Predictions(places_of(contract, predicted), response)


class Folds:
    """The folds of a table, preprocessed.

    Preprocessing has no hyperparameters, so each fold's design is made once and kept for the estimators that follow.
    The result is the same as fitting the whole pipeline on every fold.

    Parameters
    ----------
    table : PreparedTable
        What to train on.
    """

    def __init__(self, table: PreparedTable) -> None:
        self.table = table
        self._labels = table.labels.to_numpy()
        self._most_cells = MOST_CACHED_CELLS

    def make_ready(self, most_cells: int) -> None:
        """Make the designs that are kept, up to a number of cells."""
        self._most_cells = most_cells
        _ = self._kept

    @cached_property
    def _kept(self) -> list[tuple[Any, Any, Any, Any, float, float]] | None:
        """Every fold's design; None where they would fill the memory."""
        kept, cells = [], 0
        for index in range(len(self.table.fold_pairs)):
            made = self._make(index)
            cells += sum(part.nnz if hasattr(part, "nnz") else part.size for part in (made[0], made[2]))
            if cells > self._most_cells:
                return None
            kept.append(made)
        return kept

    def _make(self, index: int) -> tuple[Any, Any, Any, Any, float, float]:
        """Preprocess a fold; the seconds that its held rows took, and the megabytes of the preprocessor, stand last."""
        fit, validate = self.table.fold_pairs[index]
        before, rows = preprocessor(self.table.contract), self.table.rows
        one, held = before.fit_transform(rows.iloc[fit]), rows.iloc[validate]
        began = time.perf_counter()
        other = before.transform(held)
        seconds = time.perf_counter() - began
        return one, self._labels[fit], other, self._labels[validate], seconds, megabytes(before)

    def evaluate(self, make: Callable[[], BaseEstimator]) -> Iterator[FoldResult]:
        """Fit and score an estimator on each fold in turn.

        Parameters
        ----------
        make : callable
            Gives an unfitted estimator.

        Yields
        ------
        FoldResult
            As the fold is done.
        """
        contract = self.table.contract
        for index in range(len(self.table.fold_pairs)):
            before = time.perf_counter()
            made = self._make(index) if self._kept is None else self._kept[index]
            rows, labels, held_rows, held_labels, seconds, size = made
            estimator = make()
            began = time.perf_counter()
            estimator.fit(rows, labels)
            fitted = time.perf_counter()
            predicted = estimator.predict(held_rows)
            latency = (time.perf_counter() - fitted + seconds) / len(held_labels) * 1e6
            ranks = toward(contract, scores_of(estimator, held_rows, len(contract.classes)))
            scores = score_all(contract, held_labels, predicted, ranks)
            said, default, response = None, 0.5, ranks
            if ranks is not None and len(contract.classes) == 2:
                response, default = response_of(contract, estimator, held_rows)
                said = FoldScores(held_labels, response)
            places = places_of(contract, predicted) if contract.classes else np.asarray(predicted, np.float64)
            whole = Predictions(places, response)
            size += megabytes(estimator)
            spent = time.perf_counter() - fitted + began - before
            yield FoldResult(scores, fitted - began, spent, said, default, whole, latency, size)


def score_model(contract: Contract, model: Pipeline, rows: pd.DataFrame, labels: "pd.Series[Any]") -> dict[str, float]:
    """Score a fitted pipeline on rows by every metric of the table."""
    ranks = toward(contract, scores_of(model, rows, len(contract.classes)))
    return score_all(contract, labels, model.predict(rows), ranks)


def without_twins(contract: Contract, model: Pipeline, test: TestRows) -> dict[str, float]:
    """Score a fitted pipeline on the test rows that have no twin among the training rows.

    Returns
    -------
    dict of str to float
        ``<metric>_without_twins``; empty where fewer than two such rows are left, or none of some class.
    """
    rows, labels = test.rows[~test.twins], test.labels[~test.twins]
    if len(rows) < 2 or set(contract.classes) - set(labels.unique().tolist()):
        return {}
    return {f"{name}_without_twins": score for name, score in score_model(contract, model, rows, labels).items()}


class Objective:
    """The objective of a search: `__call__` turns values into a trial record, and nothing else happens.

    Parameters
    ----------
    table : PreparedTable
        What to train on.
    metric : Metric
        What to select by.
    seed : int
        Of the estimators.
    test : TestRows or None
        Given only under ``select_on=test``: one fit on all training rows, scored on these.
    keep_models : bool
        Whether each record bears its model, fitted on all training rows.
    choose_threshold : bool
        Whether each point's decision threshold is chosen on its out-of-fold predictions.
    limits : Limits
        What a model may take; a point over one is infeasible.
    """

    def __init__(
        self,
        table: PreparedTable,
        metric: Metric,
        seed: int,
        test: TestRows | None = None,
        keep_models: bool = False,
        choose_threshold: bool = False,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.limits = limits
        self.table = table
        self._folds = Folds(table)
        self._task = table.contract.task
        self.metric = metric
        self.seed = seed
        self.test = test
        self.keep_models = keep_models
        self.choose_threshold = choose_threshold

    def make_ready(self, most_cells: int) -> None:
        """Make what all trials read, before there is more than one process to read it.

        Parameters
        ----------
        most_cells : int
            Cells of designs that may be kept.
        """
        if self.test is None or self.choose_threshold:
            self._folds.make_ready(most_cells)

    def __call__(self, number: int, task: Task) -> TrialRecord:
        """Evaluate a point.

        Parameters
        ----------
        number : int
            The trial's place in the search.
        task : Task
            Its values, and what it must reach.

        Returns
        -------
        TrialRecord
            Whatever the estimator raises, and a score that is no number, makes a failed record with the reason.
        """
        values = task.values
        record = TrialRecord(number, values, started=time.time())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", ConvergenceWarning)
            try:
                estimator = make_estimator(self._task, values, self.seed)
                record.params = estimator.get_params()
                if self.test is None:
                    self._cross_validate(record, task.bar)
                else:
                    self._score_on_test(record, self.test)
                if not np.isfinite(record.score):
                    raise ArithmeticError(f"{self.metric.name} came out as {record.score}")
                over = self.limits.broken(record)
                if over:
                    record.status, record.model = INFEASIBLE, None
                    record.error = "; ".join(f"{name}: {has:.4g} is over {may:g}" for name, (has, may) in over.items())
                elif self.keep_models and self.test is None and record.status == FINISHED:
                    record.model = self.refit(values, record.threshold)
            except Exception as error:  # noqa: BLE001 - any failure of an estimator is a failed trial, not the search's
                record.status, record.score, record.model = FAILED, float("nan"), None
                record.out_of_fold = None
                record.error = f"{type(error).__name__}: {error}"
        record.warnings = sum(issubclass(w.category, ConvergenceWarning) for w in caught)
        record.ended = time.time()
        return record

    def _cross_validate(self, record: TrialRecord, bar: Bar | None = None) -> None:
        folds: list[FoldResult] = []
        losses: list[float] = []
        name = self.metric.name
        for fold in self._folds.evaluate(lambda: make_estimator(self._task, record.values, self.seed)):
            folds.append(fold)
            record.fit_seconds += fold.fit_seconds
            record.score_seconds += fold.score_seconds
            record.folds_done += 1
            losses.append(self.metric.loss(fold.scores.get(name, float("nan"))))
            # A threshold is chosen on all folds, so until then nothing is known of the scores at it.
            if bar is not None and not self.choose_threshold and bar.rules_out(losses):
                self._prune(record, folds, bar.estimate(losses))
                return
        if not self.choose_threshold:
            record.fold_scores = tuple(fold.scores.get(name, float("nan")) for fold in folds)
        found = summed_up(self.table.contract, folds, self.choose_threshold)
        record.metrics, record.threshold, record.out_of_fold = found
        # Other work on the machine can only make a prediction slower.
        record.latency_ms = min((fold.latency_ms for fold in folds), default=float("nan"))
        record.size_mb = max((fold.size_mb for fold in folds), default=float("nan"))
        record.score = record.metrics.get(f"cv_{name}", float("nan"))

    def _prune(self, record: TrialRecord, folds: Sequence[FoldResult], loss: float) -> None:
        """Make the record of a trial that cannot win; what was seen of it is tracked as partial."""
        record.status = PRUNED
        # A fold without some class has no area under the curve.
        names = [name for name in folds[0].scores if all(name in fold.scores for fold in folds)]
        record.metrics = {f"cv_partial_{name}": float(np.mean([fold.scores[name] for fold in folds])) for name in names}
        record.score = -loss if self.metric.greater_is_better else loss

    def _score_on_test(self, record: TrialRecord, test: TestRows) -> None:
        contract, table = self.table.contract, self.table
        if self.choose_threshold:
            # Never on the test rows, also where the values are.
            self._cross_validate(record)
        began = time.perf_counter()
        model = self.refit(record.values, record.threshold)
        fitted = time.perf_counter()
        record.metrics = prefixed("train", score_model(contract, model, table.rows, table.labels))
        scored = time.perf_counter()
        model.predict(test.rows)
        record.latency_ms = (time.perf_counter() - scored) / len(test.labels) * 1e6
        record.size_mb, record.out_of_fold = megabytes(model), None
        record.metrics |= prefixed("test", score_model(contract, model, test.rows, test.labels))
        record.fit_seconds += fitted - began
        record.score_seconds += time.perf_counter() - fitted
        record.score = record.metrics.get(f"test_{self.metric.name}", float("nan"))
        if self.keep_models:
            record.model = model

    def refit(self, values: Values, threshold: float | None = None) -> Pipeline:
        """Fit the whole pipeline of a point on all training rows."""
        model = pipeline(self.table.contract, make_estimator(self._task, values, self.seed), threshold)
        return model.fit(self.table.rows, self.table.labels.to_numpy())

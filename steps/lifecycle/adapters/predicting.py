"""A model at work: rows in, one value a row out, or in a few words why not.

This module travels: executors of Spark get it with the model. So it imports nothing of ours.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

# Of mlflow's types, which Spark names alike, what a model of this project predicts.
ARROW_TYPES = {"string": pa.string(), "long": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}
MARK = "="


class Unfit(Exception):
    """Why a model cannot be loaded, or cannot predict some rows, in a few words."""


class Predictor:
    """A model in this process.

    Parameters
    ----------
    folder : Path
        Where the model lies.
    quiet : bool
        Whether what mlflow thinks of the environment is left unsaid.

    Raises
    ------
    Unfit
        Where it cannot be loaded.
    """

    def __init__(self, folder: Path, quiet: bool = False) -> None:
        import mlflow

        if quiet:
            logging.getLogger("mlflow").setLevel(logging.ERROR)
        try:
            self._model = mlflow.pyfunc.load_model(str(folder))
        except Exception as error:
            raise Unfit(f"cannot be loaded: {said(error)}") from error

    def __call__(self, rows: pd.DataFrame) -> pa.Array:
        """Predict rows.

        Parameters
        ----------
        rows : DataFrame
            The columns that the model reads, as the table has them.

        Returns
        -------
        Array
            One prediction a row.

        Raises
        ------
        Unfit
            Where the model refuses the rows, or gives something else than one value for each.
        """
        try:
            predicted = self._model.predict(rows)
        except Exception as error:
            raise Unfit(f"refuses the rows: {said(error)}") from error
        return one_a_row(predicted, len(rows))


def one_a_row(predicted: Any, rows: int) -> pa.Array:
    """Turn what a model predicts into a column; missing ones are null.

    Raises
    ------
    Unfit
        Where it is not one value a row, or they are of no one type.
    """
    if isinstance(predicted, pd.DataFrame) and predicted.shape[1] != 1:
        names = ", ".join(map(str, predicted.columns[:5]))
        raise Unfit(f"predicts {predicted.shape[1]} columns ({names}), where one is needed")
    values = np.asarray(predicted)
    values = values.ravel() if values.ndim == 2 and values.shape[1] == 1 else values
    if values.shape != (rows,):
        raise Unfit(f"predicts an array of shape {values.shape} for {rows} rows, where one value a row is needed")
    try:
        return pa.array(values, from_pandas=True)
    except pa.ArrowException as error:
        raise Unfit(f"predicts what makes no column: {said(error)}") from error


def as_kind(predicted: pa.Array, kind: pa.DataType) -> pa.Array:
    """Turn predictions into those of one type, which all parts of a table share.

    Raises
    ------
    Unfit
        Where one is none of it.
    """
    try:
        return predicted.cast(kind)
    except pa.ArrowException as error:
        raise Unfit(f"predicts what is no {kind}: {said(error)}") from error


def kind_of(predicted: pa.Array) -> str:
    """Tell which of `ARROW_TYPES` holds predictions, by its name.

    Raises
    ------
    Unfit
        Where none does.
    """
    if pa.types.is_integer(predicted.type):
        return "long"
    if pa.types.is_floating(predicted.type):
        return "double"
    names = [name for name, kind in ARROW_TYPES.items() if kind == predicted.type]
    if not names:
        raise Unfit(f"predicts cells of the type {predicted.type}, which Spark is not given; use engine=local")
    return names[0]


def said(error: BaseException) -> str:
    """Say an exception in one line."""
    words = first_words(str(error))
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def first_words(text: str) -> str:
    """Return the line of an error's text that says what is wrong: mlflow shows the rows first, whatever they are."""
    head, _, after = text.partition(" Error: ")
    lines = (after if "Failed to enforce schema" in head else text).strip().splitlines()
    return lines[0].rstrip(".") if lines else ""


# In executors, where mlflow's function for Spark loads a model that is made of this module and of the one to be asked.


class ForSpark:
    """What mlflow's function for Spark asks for predictions: `Predictor`, with its answers in a form that survives.

    That function writes every cell of a column of texts by ``str``, a missing one as any other. So texts come with a
    mark before them, and missing ones as an empty text.

    Parameters
    ----------
    folder : Path
        Where the model lies.
    kind : str
        One of `ARROW_TYPES`.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._predictor, self._kind = Predictor(folder, quiet=True), kind

    def predict(self, rows: pd.DataFrame) -> "pd.Series[Any]":
        """Predict rows, one value each."""
        predicted = as_kind(self._predictor(rows), ARROW_TYPES[self._kind])
        if self._kind == "string":
            return pd.Series(["" if cell is None else MARK + cell for cell in predicted.to_pylist()], dtype=object)
        numbers: pd.Series[Any] = predicted.to_pandas()
        return numbers


def _load_pyfunc(path: str, model_config: Mapping[str, Any]) -> ForSpark:
    """Load the model as mlflow wants it of the module that a model names."""
    return ForSpark(Path(path), model_config["kind"])


def for_spark(folder: Path, kind: str, into: Path) -> None:
    """Save a model around another one, for mlflow's function for Spark.

    Parameters
    ----------
    folder : Path
        Where the other one lies.
    kind : str
        What it predicts: one of `ARROW_TYPES`.
    into : Path
        An empty folder.
    """
    import mlflow

    mlflow.pyfunc.save_model(
        into,
        loader_module=Path(__file__).stem,
        data_path=str(folder),
        code_paths=[__file__],
        pip_requirements=[],
        model_config={"kind": kind},
    )


def unmarked(column: str) -> str:
    """Return the SQL of a column of texts as `ForSpark` gives them, without their mark."""
    return f"substr(nullif({column}, ''), {len(MARK) + 1})"

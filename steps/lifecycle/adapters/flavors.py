"""Models on disk: safe formats, whole signatures, requirements from the lock."""

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from lifecycle.adapters import tracking
from lifecycle.adapters.code import pinned
from lifecycle.adapters.tracking import StepRun
from lifecycle.contract import Contract
from lifecycle.models import BOOSTING, BOOSTING_SOURCE, COLUMNS, COLUMNS_SOURCE, estimator_of
from lifecycle.table import PreparedTable

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

# The types beyond skops' own that our models are made of. skops' list inside a model is the author's word and no
# protection; this one is ours, and a type outside it is refused when the model is saved, before anyone loads it.
ALLOWED_TYPES = (
    "numpy.dtype",
    "scipy.sparse._csr.csr_matrix",
    "sklearn.tree._tree.Tree",
    # Ours hold names, texts and arrays alone, and open, import and call nothing that a saved model could choose.
    f"{COLUMNS.__name__}.CastColumns",
    f"{COLUMNS.__name__}.EncodeText",
    f"{COLUMNS.__name__}.EncodeTimes",
    f"{BOOSTING.__name__}.DenseLinearDiscriminantAnalysis",
    # Boosted trees: arrays of nodes in scikit-learn's, xgboost's own bytes in the others.
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    f"{BOOSTING.__name__}.DenseHistGradientBoostingClassifier",
    f"{BOOSTING.__name__}.DenseHistGradientBoostingRegressor",
    f"{BOOSTING.__name__}.XGBoostClassifier",
    f"{BOOSTING.__name__}.XGBoostRegressor",
)
# What a saved model imports.
PACKAGES = ["mlflow", "scikit-learn", "skops", "numpy", "pandas", "scipy"]
# The build without graphics cards has no wheel for macOS, where the other has none of their libraries either.
XGBOOST = "xgboost" if sys.platform == "darwin" else "xgboost-cpu"
MODEL = "model"
EXAMPLE_ROWS = 5
PREDICTIONS = "example_predictions.json"
# mlflow puts a model's further files into a folder of this name, and names them in MLmodel.
CONTRACT = "extra_files/contract.json"


def signature_of(contract: Contract) -> "ModelSignature":
    """Describe a model's raw columns and its output.

    Inputs are of mlflow's AnyType: a ``double`` would refuse integers, a ``long`` missing values, a ``string`` a
    batch in which every cell of the column is missing. The model's first step casts them by name, and the contract
    says what each column is.

    Parameters
    ----------
    contract : Contract
        Of the table.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    inputs = [ColSpec(AnyType(), name) for name in contract.features]
    label = contract.classes[0] if contract.classes else 0.0
    kinds = {bool: DataType.boolean, int: DataType.long, str: DataType.string, float: DataType.double}
    return ModelSignature(Schema(inputs), Schema([ColSpec(kinds[type(label)])]))


def log_pipeline(
    run: StepRun, model: Pipeline, contract: Contract, rows: pd.DataFrame, table_key: str, run_id: str = ""
) -> None:
    """Log a pipeline in skops format, with signature, input example, pins of the lock, our own code and the contract.

    The contract is a file of the model's own, so that it goes wherever the model goes. The predictions for the input
    example are written beside the model, to compare with what a loaded one says.

    Parameters
    ----------
    run : StepRun
        The step's run.
    model : Pipeline
        Fitted.
    contract : Contract
        Of the table; `contract_of` reads it back.
    rows : DataFrame
        Training rows; the first five are the input example.
    table_key : str
        The prepared table's digest, for the metadata.
    run_id : str, optional
        A child run to log into instead of the step's.

    Raises
    ------
    TypeError
        Where the model holds a type outside `ALLOWED_TYPES`, which is named.
    StoreAwayError
        Where the store does not answer for as long as mlflow waits: a second try might log the model twice.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    example = rows.head(EXAMPLE_ROWS)
    target = run_id or run.run_id
    with tempfile.TemporaryDirectory() as folder, tracking.once():
        code = []
        for name, source in _code_of(model).items():
            code.append(Path(folder) / f"{name}.py")
            code[-1].write_text(source, encoding="utf-8", newline="\n")
        with _inside(run_id):
            try:
                mlflow.sklearn.log_model(
                    model,
                    name=MODEL,
                    serialization_format="skops",
                    skops_trusted_types=list(ALLOWED_TYPES),
                    signature=signature_of(contract),
                    input_example=example,
                    pip_requirements=pinned(_packages_of(model)),
                    code_paths=[str(path) for path in code],
                    extra_files=extra_files(contract, Path(folder)),
                    metadata=metadata_of(contract, table_key),
                )
            except MlflowException as error:
                raise TypeError(f"the model cannot be saved safely: {error}") from error
            mlflow.log_text(predictions_text(model.predict(example)), PREDICTIONS, run_id=target)


def _code_of(model: Pipeline) -> dict[str, str]:
    """Return the modules of ours that a model is made of, by name."""
    code = {COLUMNS.__name__: COLUMNS_SOURCE}
    if type(estimator_of(model)).__module__ == BOOSTING.__name__:
        code[BOOSTING.__name__] = BOOSTING_SOURCE
    return code


def _packages_of(model: Pipeline) -> list[str]:
    """Return the packages that a model imports."""
    boosted = isinstance(estimator_of(model), (BOOSTING.XGBoostClassifier, BOOSTING.XGBoostRegressor))
    return [*PACKAGES, XGBOOST] if boosted else PACKAGES


def metadata_of(contract: Contract, table_key: str) -> dict[str, Any]:
    """Return what a model says of its own making."""
    return {
        "lifecycle.table": table_key,
        "target": contract.target,
        "task": contract.task,
        "query": contract.query,
    }


def extra_files(contract: Contract, folder: Path) -> list[str]:
    """Write what stands beside every model of ours into a folder, and return the files for mlflow to take along."""
    written = folder / Path(CONTRACT).name
    written.write_text(contract.to_json(), encoding="utf-8", newline="\n")
    return [str(written)]


def contract_of(model_uri: str) -> Contract:
    """Read the contract that stands in a saved model.

    Parameters
    ----------
    model_uri : str
        Anything that names a model: ``models:/name/1``, ``models:/name@champion``, ``models:/m-...``,
        ``runs:/.../model``, or the folder of a model that has been downloaded.

    Returns
    -------
    Contract
        Of the table that the model was trained on.

    Raises
    ------
    LookupError
        Where there is no such model, or it holds no contract, as one that another project saved.
    UserError
        Where the contract has been edited and holds a rule that does not exist.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = tracking.fetch_artifact(f"{_place_of(model_uri)}/{CONTRACT}", Path(folder))
        except LookupError as error:
            raise LookupError(f"{model_uri} holds no contract: {error}") from error
        return Contract.from_json(path.read_text(encoding="utf-8"))


def _place_of(model_uri: str) -> str:
    """Return where a logged model lies: mlflow gives its files by name and version, not by its id."""
    from mlflow.exceptions import MlflowException

    place = model_uri.rstrip("/")
    if not re.fullmatch(r"models:/m-[^/@]+", place):
        return place
    tracking.connect()
    try:
        return str(tracking.client().get_logged_model(place.removeprefix("models:/")).artifact_location)
    except MlflowException as error:
        raise LookupError(tracking.first_line(error)) from error


def predictions_text(predicted: Any) -> str:
    """Write predictions as JSON: numbers, texts or booleans."""
    return json.dumps(np.asarray(predicted).tolist())


class _inside:
    """Make a child run the active one while a model is logged into it; nothing where there is no child."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def __enter__(self) -> None:
        import mlflow

        if self.run_id:
            mlflow.start_run(run_id=self.run_id, nested=True)

    def __exit__(self, *_: object) -> None:
        import mlflow

        if self.run_id:
            mlflow.end_run("RUNNING")


def fit_autologged(model: Pipeline, table: PreparedTable) -> Pipeline:
    """Fit a pipeline under ``mlflow.sklearn.autolog``, without its models and datasets: ours follow."""
    import mlflow

    mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
    try:
        return model.fit(table.rows, table.labels.to_numpy())
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)

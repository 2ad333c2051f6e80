"""The model that scores: fetched from wherever it is kept, with what it reads and what it predicts."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.adapters import flavors, registry, tracking
from lifecycle.contract import Contract
from lifecycle.errors import UserError, listed


@dataclass(frozen=True)
class Model:
    """A model that lies here.

    Attributes
    ----------
    uri : str
        Its address, with the version.
    folder : Path
        Where it lies.
    contract : Contract or None
        Of the table that it was trained on; None for a model of another project.
    reads : tuple of str
        Columns that the table must have; empty where neither contract nor signature says.
    also : tuple of str
        Columns that the model reads where the table has them.
    kind : str
        What it predicts, as its signature says: string, long, double, boolean or another; empty where it does not.
    """

    uri: str
    folder: Path
    contract: Contract | None
    reads: tuple[str, ...]
    also: tuple[str, ...] = ()
    kind: str = ""

    def inputs(self, names: Sequence[str]) -> list[str]:
        """Return the columns to hand to it, of those that a table has: all where it does not say."""
        read = {*self.reads, *self.also}
        return [name for name in (*self.reads, *self.also) if name in names] if read else list(names)


def fetched(uri: str, folder: Path) -> Model:
    """Fetch a model.

    Parameters
    ----------
    uri : str
        Anything that names one: ``models:/name@alias``, ``models:/name/3``, ``runs:/.../model``, a folder.
    folder : Path
        An existing folder for its files.

    Raises
    ------
    UserError
        Where there is no such model, or it cannot be applied to a table.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model as Saved

    # Some addresses give a folder's content, some the folder. By itself it can be handed on as a whole.
    apart = folder / "model"
    apart.mkdir(exist_ok=True)
    try:
        known = registry.resolved(uri)
        path = tracking.fetch_artifact(known, apart)
        saved = Saved.load(str(path))
    except (LookupError, MlflowException, OSError) as error:
        raise UserError(
            f"model: there is no model {uri!r} ({tracking.first_line(error)}); run -e register, which makes "
            f"models:/NAME@{registry.CHAMPION}, or name another."
        ) from error
    if "python_function" not in (saved.flavors or {}):
        raise UserError(
            f"model: {known} has no python_function flavor ({listed(saved.flavors or {})}), by which it could be "
            "loaded; name another."
        )
    try:
        contract = flavors.contract_of(str(path))
    except LookupError:
        contract = None
    inputs, result = saved.get_input_schema(), saved.get_output_schema()
    named = inputs is not None and inputs.has_input_names()
    if contract:
        taken = inputs.input_names() if named else []
        if taken != list(contract.features):
            raise UserError(
                f"model: {known} takes {listed(taken)}, which its training made of the table's columns, and cannot be "
                "handed the columns themselves; name a model that can, such as the one of regress_sklearn."
            )
        path = _without_inputs(saved, path, folder)
    reads = tuple(inputs.required_input_names()) if named else ()
    also = tuple(inputs.optional_input_names()) if named else ()
    kinds = [str(getattr(one, "type", "")).removeprefix("DataType.") for one in result.inputs] if result else []
    return Model(known, path, contract, reads, also, kinds[0] if len(kinds) == 1 else "")


def _without_inputs(saved: Any, path: Path, folder: Path) -> Path:
    """Take the inputs out of the signature of our copy of a model, and return where that lies.

    mlflow asks of each single cell whether it is of some type at all, which takes three times as long as a linear model
    does. By then the contract has asked more, in SQL.
    """
    from mlflow.models import ModelSignature

    if not path.is_relative_to(folder):
        path = Path(shutil.copytree(path, folder / "own-copy"))
    if saved.signature is not None:
        saved.signature = ModelSignature(outputs=saved.signature.outputs) if saved.signature.outputs else None
    saved.save(str(path / "MLmodel"))
    return path

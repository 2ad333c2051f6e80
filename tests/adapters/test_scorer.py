"""What a fetched model reads, and which ones cannot be handed a table."""

import re
import shutil
from pathlib import Path

import guests
import pytest
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType

from lifecycle.adapters import flavors, scorer
from lifecycle.contract import Column, Contract
from lifecycle.errors import UserError

CONTRACT = Contract("y", "regression", (), None, "random", columns=(Column("size", "numeric", "BIGINT"),))


@pytest.fixture(autouse=True)
def _without_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(uri: str, _: Path) -> Path:
        if not Path(uri).exists():
            raise LookupError(f"no {uri}")
        return Path(uri)

    monkeypatch.setattr(scorer.tracking, "fetch_artifact", found)


def saved(folder: Path, names: list[str], contract: Contract | None) -> Path:
    schema = Schema([ColSpec(AnyType(), name) for name in names])
    model = guests.save(folder, "return rows.iloc[:, 0]", ModelSignature(schema, Schema([ColSpec("double")])))
    if contract:
        file = model / flavors.CONTRACT
        file.parent.mkdir()
        file.write_text(contract.to_json(), encoding="utf-8")
    return model


def test_a_model_with_a_contract_reads_its_columns_and_is_not_asked_about_each_cell(tmp_path: Path) -> None:
    path = saved(tmp_path / "saved", ["size"], CONTRACT)
    model = scorer.fetched(str(path), tmp_path)
    assert (model.contract, model.reads, model.also, model.kind) == (CONTRACT, ("size",), (), "double")
    assert Model.load(str(model.folder)).get_input_schema() is None


def test_the_files_of_a_model_lie_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a registered model mlflow puts the content into the folder that it is given."""
    path, work = saved(tmp_path / "saved", ["size"], CONTRACT), tmp_path / "work"
    work.mkdir()

    def fetched(uri: str, folder: Path) -> Path:
        if uri.endswith(flavors.CONTRACT):
            return Path(uri)
        return Path(shutil.copytree(path, folder, dirs_exist_ok=True))

    monkeypatch.setattr(scorer.tracking, "fetch_artifact", fetched)
    model = scorer.fetched(str(path), work)
    assert list(work.iterdir()) == [model.folder]
    assert (model.folder / "MLmodel").exists()


def test_a_model_of_another_project_reads_what_its_signature_says(tmp_path: Path) -> None:
    path = saved(tmp_path / "saved", ["const", "size"], None)
    model = scorer.fetched(str(path), tmp_path)
    assert (model.contract, model.reads, model.kind) == (None, ("const", "size"), "double")


def test_a_model_that_takes_a_design_made_of_the_columns_is_refused(tmp_path: Path) -> None:
    """As statsmodels' does: where both have the same width, it would predict nonsense without a word."""
    path = saved(tmp_path / "saved", ["const", "size"], CONTRACT)
    sentence = (
        f"model: {path} takes const, size, which its training made of the table's columns, and cannot be handed the "
        "columns themselves; name a model that can, such as the one of regress_sklearn."
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        scorer.fetched(str(path), tmp_path)

"""What a saved model tells of the table that it was trained on, wherever it has gone."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.whole

LOGGED = """
import json, sys
import mlflow
import pandas as pd
from pathlib import Path
from lifecycle.adapters import flavors, tracking
from lifecycle.contract import Column, Contract
from lifecycle.models import pipeline, plain_estimator
levels = tuple(f"Straße {i:05d} \\U0001f6b2" for i in range(13_000))
columns = (
    Column("x", "numeric", "DOUBLE", low=0.0, high=39.0, missing_share=0.125),
    Column("pair", "categorical", "VARCHAR", levels=levels, missing_share=0.0),
)
contract = Contract(
    "y", "classification", ("no", "yes"), "yes", "random", "SELECT 1", rules={"new_level": "error"}, columns=columns
)
rows = pd.DataFrame({"x": range(40), "pair": levels[:40]}).astype({"x": "float64"})
model = pipeline(contract, plain_estimator("classification", 0)).fit(rows, ["no", "yes"] * 20)
tracking.connect()
run = tracking.start("baseline")
flavors.log_pipeline(run, model, contract, rows, "0" * 64)
client = tracking.client()
[logged] = client.search_logged_models([run.experiment_id])
client.create_registered_model("first")
client.create_model_version("first", f"models:/{logged.model_id}", run.run_id, model_id=logged.model_id)
client.set_registered_model_alias("first", "champion", "1")
client.copy_model_version("models:/first/1", "second")
run.end("FINISHED")
downloaded = mlflow.artifacts.download_artifacts("models:/second/1", dst_path="downloaded")
uris = {
    "the logged model": f"models:/{logged.model_id}",
    "the run": f"runs:/{run.run_id}/model",
    "the version": "models:/first/1",
    "the alias": "models:/first@champion",
    "the copy": "models:/second/1",
    "the downloaded folder": downloaded,
    "its address with a slash": downloaded + "/",
}
same = {name: flavors.contract_of(uri) == contract for name, uri in uris.items()}
info = mlflow.models.get_model_info("models:/second/1")
loaded = mlflow.pyfunc.load_model("models:/second/1").predict(rows.head(5)).tolist()
told = json.dumps([dict(client.get_run(run.run_id).data.tags), dict(logged.tags), dict(logged.params)])
absent = []
for uri in ("models:/third/1", "models:/m-0", f"runs:/{run.run_id}/other", "none"):
    try:
        flavors.contract_of(uri)
    except LookupError as error:
        absent.append(str(error))
text = Path(downloaded, "extra_files/contract.json").read_text(encoding="utf-8")
print("\\n" + json.dumps({
    "same": same,
    "loaded": loaded == model.predict(rows.head(5)).tolist(),
    "text": text == contract.to_json(),
    "named": info.flavors["sklearn"]["extra_files"],
    "metadata": info.metadata,
    "mlmodel": Path(downloaded, "MLmodel").stat().st_size,
    "tags": len(told),
    "absent": absent,
}))
"""


@pytest.fixture(scope="module")
def told(new_store: Callable[[], Any], project: Path) -> dict[str, Any]:
    """Log, register, copy and download a model whose contract has 13,000 levels, in a store of its own."""
    done = new_store().run(sys.executable, "-c", LOGGED, PYTHONPATH=str(project / "steps")).well()
    return dict(json.loads(done.out.strip().splitlines()[-1]))


def test_the_very_contract_is_found_wherever_the_model_goes(told: dict[str, Any]):
    assert told["same"] == dict.fromkeys(told["same"], True)
    assert len(told["same"]) == 7
    assert told["text"]
    assert told["loaded"]


def test_mlflow_names_the_file_and_nothing_of_the_store_swells(told: dict[str, Any]):
    assert told["named"] == [{"path": "extra_files/contract.json"}]
    assert told["metadata"] == {
        "lifecycle.table": "0" * 64,
        "target": "y",
        "task": "classification",
        "query": "SELECT 1",
    }
    assert told["mlmodel"] < 4_000
    assert told["tags"] < 4_000


def test_a_model_that_is_not_there_has_no_contract(told: dict[str, Any]):
    uris = ["models:/third/1 ", "models:/m-0 ", "runs:/", "none "]
    assert len(told["absent"]) == 4
    for uri, sentence in zip(uris, told["absent"], strict=True):
        assert sentence.startswith(uri)
        assert " holds no contract: " in sentence

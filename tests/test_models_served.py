"""What is registered can be used by somebody who has the store and nothing else of ours."""

import json
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.whole

# Five rows of churn in the forms in which people have them. Those of one group must be predicted alike.
FORMS = """
import numpy, pandas
plain = pandas.read_csv(CHURN, nrows=5).drop(columns="Target")
numbers = ["Age", "ServicesOpted"]
gaps = plain.astype({name: "float64" for name in numbers})
gaps.loc[1, "Age"] = numpy.nan
gaps.loc[2, "FrequentFlyer"] = None
gaps.loc[3, "AnnualIncomeClass"] = None
unseen = plain.assign(FrequentFlyer="Perhaps", AnnualIncomeClass="Huge Income")
FORMS = {
    "as read": {
        "integers": plain,
        "floats": plain.astype({name: "float64" for name in numbers}),
        "small integers": plain.astype({name: "int8" for name in numbers}),
        "nullable integers": plain.astype({name: "Int64" for name in numbers}),
        "objects": plain.astype(object),
        "texts of numbers": plain.astype({name: "str" for name in numbers}),
        "categoricals": plain.astype({"FrequentFlyer": "category", "AnnualIncomeClass": "category"}),
        "pandas' own strings": plain.convert_dtypes(),
        "extra columns": plain.assign(Target=1, remark="no column of the model"),
        "another order": plain[plain.columns[::-1]],
    },
    "with gaps": {
        "floats with gaps": gaps,
        "nullable integers with gaps": gaps.astype({name: "Int64" for name in numbers}),
        "objects with None": gaps.astype(object).where(gaps.notna(), None),
    },
    "a column all missing": {
        "floats": plain.assign(Age=numpy.nan, FrequentFlyer=None),
        "objects": plain.assign(Age=None, FrequentFlyer=numpy.nan),
        "nullable": plain.assign(Age=pandas.array([pandas.NA] * 5, dtype="Int64"), FrequentFlyer=pandas.NA),
    },
    "unseen levels": {"texts": unseen, "categoricals": unseen.astype({"FrequentFlyer": "category"})},
    "nothing known": {"missing": plain.assign(**{name: None for name in plain})},
    "one row": {"frame": plain.head(1)},
}
"""
PREDICT = """
import json, sys, warnings
import mlflow
import numpy as np
CHURN = sys.argv[2]
exec(sys.argv[3])
model = mlflow.pyfunc.load_model(sys.argv[1])
found = {}
for group, forms in FORMS.items():
    for form, frame in forms.items():
        predicted = np.asarray(model.predict(frame))
        found.setdefault(group, {})[form] = predicted.tolist()
ours = [name for name in sys.modules if name.partition(".")[0] == "lifecycle"]
print(json.dumps({"found": found, "ours": ours, "path": sys.path}))
"""


def forms_of(churn: Path) -> dict[str, dict[str, pd.DataFrame]]:
    names: dict[str, Any] = {"CHURN": churn}
    exec(FORMS, names)
    forms: dict[str, dict[str, pd.DataFrame]] = names["FORMS"]
    return forms


@pytest.fixture(scope="module")
def elsewhere(whole: Any, project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh process in another folder, with the store and without the repository, says of every form."""
    folder = tmp_path_factory.mktemp("elsewhere")
    churn = shutil.copy(project / "data" / "churn.csv", folder / "some.csv")
    done = whole.store.run(
        *(sys.executable, "-c", PREDICT, "models:/churn@champion", churn, FORMS),
        folder=folder,
        MLFLOW_TRACKING_URI=whole.store.uri,
    ).well()
    said: dict[str, Any] = json.loads(done.out.splitlines()[-1])
    assert not said["ours"] and not any(str(project) == path or "steps" in path for path in said["path"])
    return said["found"]


def test_champion_loads_elsewhere_and_takes_every_form(elsewhere: dict[str, Any], project: Path) -> None:
    for group, forms in forms_of(project / "data" / "churn.csv").items():
        for form, frame in forms.items():
            predicted = elsewhere[group][form]
            assert len(predicted) == len(frame), form
            # The target's own labels.
            assert set(predicted) <= {0, 1} and all(type(label) is int for label in predicted), form


def test_form_of_the_same_rows_does_not_matter(elsewhere: dict[str, Any]) -> None:
    for group, forms in elsewhere.items():
        assert len({tuple(predicted) for predicted in forms.values()}) == 1, (group, forms)
    assert elsewhere["one row"]["frame"] == elsewhere["as read"]["integers"][:1]


# Over HTTP.


@contextmanager
def server(serving: Callable[..., Any], port: int, store: Any, model: str, folder: Path) -> Iterator[str]:
    """Run `mlflow models serve` and give its address."""
    command = [str(Path(sys.executable).parent / "mlflow"), "models", "serve", "-m", model]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with serving(command, port, cwd=folder, env=store.environment(MLFLOW_TRACKING_URI=store.uri)):
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 30
        while asked(f"{address}/ping")[0] != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        yield address


@pytest.fixture(scope="module")
def url(
    whole: Any,
    serving: Callable[..., Any],
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of `mlflow models serve` for the champion."""
    folder = tmp_path_factory.mktemp("server")
    with server(serving, free_port(), whole.store, "models:/churn@champion", folder) as address:
        yield address


def asked(address: str, body: Any = None) -> tuple[int, str]:
    """Return the status and the text of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def as_json(frame: pd.DataFrame, orient: str) -> dict[str, Any]:
    """Write a frame as a client would: null for whatever is missing."""
    bare = frame.astype(object).where(frame.notna(), None)
    if orient == "dataframe_records":
        return {orient: bare.to_dict("records")}
    return {orient: {"columns": list(bare.columns), "data": bare.to_numpy().tolist()}}


@pytest.mark.parametrize("orient", ["dataframe_split", "dataframe_records"])
def test_server_answers_as_the_model_does(url: str, elsewhere: dict[str, Any], project: Path, orient: str) -> None:
    for group, forms in forms_of(project / "data" / "churn.csv").items():
        for form, frame in forms.items():
            status, text = asked(f"{url}/invocations", as_json(frame, orient))
            assert status == 200, (group, form, text)
            assert json.loads(text)["predictions"] == elsewhere[group][form], (group, form)


def test_server_takes_text_where_a_number_is_written_as_one(url: str, project: Path) -> None:
    plain = forms_of(project / "data" / "churn.csv")["as read"]["integers"]
    body = as_json(plain, "dataframe_records")
    mixed = [{**row, "Age": str(row["Age"]) if i % 2 else float(row["Age"])} for i, row in enumerate(body.popitem()[1])]
    status, text = asked(f"{url}/invocations", {"dataframe_records": mixed})
    assert (status, json.loads(text)) == (
        200,
        json.loads(asked(f"{url}/invocations", as_json(plain, "dataframe_split"))[1]),
    )


def test_server_names_a_column_that_is_absent_or_no_number(url: str, project: Path) -> None:
    plain = forms_of(project / "data" / "churn.csv")["as read"]["integers"]
    for frame in (plain.drop(columns="Age"), plain.assign(Age="young")):
        status, text = asked(f"{url}/invocations", as_json(frame, "dataframe_split"))
        assert status == 400
        assert "Age" in text


# What a model's folder holds.


@pytest.fixture(scope="module")
def folders(whole: Any) -> dict[tuple[str, str], Path]:
    """The folders of all models of the whole run but the pickled one."""
    found = {}
    for run in whole.runs:
        step = run.data.tags["lifecycle.step"]
        if step in ("trial", "regress_statsmodels"):
            continue
        for model in whole.store.models(run.info.run_id):
            found[run.data.params["data"], step] = Path(model.artifact_location.removeprefix("file://"))
    assert len(found) == 6
    return found


def test_models_are_skops_and_never_pickles(folders: dict[tuple[str, str], Path]) -> None:
    for folder in folders.values():
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert "model.skops" in names
        assert not [name for name in names if name.endswith((".pkl", ".pickle", ".cloudpickle", ".joblib"))]
        flavor = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]["sklearn"]
        assert flavor["serialization_format"] == "skops"
        # Loading a model from a local store leaves bytecode beside its code.
        code = sorted(Path(name).stem for name in names if re.fullmatch("code/[^/]+", name))
        assert [re.sub("[0-9a-f]{12}$", "", name) for name in code] in (
            ["lifecycle_columns_"],
            ["lifecycle_boosting_", "lifecycle_columns_"],
        )
        module = code[-1]
        [boosting] = {
            name.rpartition(".")[0] for name in flavor["skops_trusted_types"] if name.startswith("lifecycle_boosting_")
        }
        # Our own list, and short: what is on it could run code when a model is loaded.
        assert set(flavor["skops_trusted_types"]) == {
            "numpy.dtype",
            "scipy.sparse._csr.csr_matrix",
            "sklearn.tree._tree.Tree",
            "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
            *(f"{module}.{ours}" for ours in ("CastColumns", "EncodeText", "EncodeTimes")),
            *(f"{boosting}.DenseHistGradientBoosting{task}" for task in ("Classifier", "Regressor")),
            f"{boosting}.DenseLinearDiscriminantAnalysis",
            *(f"{boosting}.XGBoost{task}" for task in ("Classifier", "Regressor")),
        }


def test_models_are_pinned_to_the_lock(folders: dict[tuple[str, str], Path], project: Path) -> None:
    lock = (project / "requirements.txt").read_text(encoding="utf-8")
    locked = {line.split()[0] for line in lock.splitlines() if line[:1].isalnum()}
    for folder in folders.values():
        pins = (folder / "requirements.txt").read_text(encoding="utf-8").split()
        assert {pin.partition("==")[0] for pin in pins} - {"xgboost-cpu", "xgboost"} == {
            *("mlflow", "scikit-learn", "skops", "numpy", "pandas", "scipy"),
        }
        assert set(pins) <= locked
        assert not [pin for pin in pins if "--hash" in pin]


def test_models_say_what_they_are_made_of(whole: Any, folders: dict[tuple[str, str], Path]) -> None:
    for (table, step), folder in folders.items():
        said = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        run = whole.step(table, step)
        assert said["metadata"]["lifecycle.table"] == run.data.tags["lifecycle.table"]
        assert said["metadata"]["target"] == ("Target" if table == "churn" else "Yearly Amount Spent")
        assert said["metadata"]["query"] == ""
        assert said["run_id"] == run.info.run_id
        inputs, outputs = (json.loads(said["signature"][side]) for side in ("inputs", "outputs"))
        example = json.loads((folder / "input_example.json").read_text(encoding="utf-8"))
        assert [column["name"] for column in inputs] == example["columns"]
        assert {column["type"] for column in inputs} == {"any"}
        assert [column["type"] for column in outputs] == ["long" if table == "churn" else "double"]
        predictions = whole.store.artifacts(run) / "example_predictions.json"
        assert len(json.loads(predictions.read_text(encoding="utf-8"))) == len(example["data"]) == 5


def test_a_type_outside_the_list_is_refused_by_name(new_store: Callable[[], Any], project: Path) -> None:
    store = new_store()
    script = """
import pandas as pd
from sklearn.neighbors import KNeighborsClassifier
from lifecycle.adapters import flavors, tracking
from lifecycle.contract import Column, Contract
from lifecycle.models import pipeline
columns = (Column("x", "numeric", "float64"),)
contract = Contract("y", "classification", ("no", "yes"), "yes", "random", columns=columns)
rows = pd.DataFrame({"x": range(40)}, dtype="float64")
model = pipeline(contract, KNeighborsClassifier()).fit(rows, ["no", "yes"] * 20)
tracking.connect()
flavors.log_pipeline(tracking.start("baseline"), model, contract, rows, "0" * 64)
"""
    done = store.run(sys.executable, "-c", script, PYTHONPATH=str(project / "steps"))
    assert done.code == 1
    last = done.err.strip().splitlines()[-1]
    assert "the model cannot be saved safely" in done.err
    assert re.search(r"sklearn\.\w*(neighbors|metrics)\S*(KDTree|EuclideanDistance)", done.err), last
    [run] = store.runs()
    assert not store.models(run.info.run_id) or not list(store.folder.rglob("model.skops"))


# Boosted trees.

BOOSTED = """
import json, sys
import numpy as np
import pandas as pd
from lifecycle.adapters import flavors, tracking
from lifecycle.contract import Column, Contract
from lifecycle.models import make_estimator, pipeline
columns = (
    Column("x", "numeric", "DOUBLE"),
    Column("kind", "categorical", "VARCHAR", levels=("a", "b", "c")),
)
contract = Contract("y", "classification", ("no", "yes"), "yes", "random", columns=columns)
rows = pd.DataFrame({"x": np.arange(80) % 23, "kind": list("abca") * 20}).astype({"x": "float64"})
labels = np.where((rows["x"] > 11) ^ (rows["kind"] == "a"), "yes", "no")
tracking.connect()
said = {}
for name in ("xgboost", "hist_gradient_boosting", "knn"):
    run = tracking.start("baseline")
    model = pipeline(contract, make_estimator("classification", {"model": name}, 3), 0.4).fit(rows, labels)
    flavors.log_pipeline(run, model, contract, rows, "0" * 64)
    run.end("FINISHED")
    said[name] = [run.run_id, model.predict(rows).tolist()]
print("\\n" + json.dumps(said))
"""
ELSEWHERE = """
import json, sys
import mlflow, numpy as np, pandas as pd
rows = pd.DataFrame({"x": [str(i % 23) for i in range(80)], "kind": list("abca") * 20})
model = mlflow.pyfunc.load_model(f"runs:/{sys.argv[1]}/model")
ours = sorted(name for name in sys.modules if name.startswith("lifecycle_"))
print("\\n" + json.dumps([np.asarray(model.predict(rows)).tolist(), ours, "xgboost" in sys.modules]))
"""


@pytest.fixture(scope="module")
def boosted(new_store: Callable[[], Any], project: Path) -> tuple[Any, dict[str, Any]]:
    """Log boosted trees of both kinds, and neighbours; give the store, and by name the run and what the model said."""
    store = new_store()
    done = store.run(sys.executable, "-c", BOOSTED, PYTHONPATH=str(project / "steps")).well()
    return store, json.loads(done.out.strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "modules"),
    [("xgboost", ["boosting", "columns"]), ("hist_gradient_boosting", ["boosting", "columns"]), ("knn", ["columns"])],
)
def test_boosted_trees_load_elsewhere_with_the_code_and_the_pins_that_they_need(
    boosted: tuple[Any, dict[str, Any]], name: str, modules: list[str], tmp_path: Path
) -> None:
    store, said = boosted
    run_id, expected = said[name]
    assert set(expected) == {"no", "yes"}
    done = store.run(*(sys.executable, "-c", ELSEWHERE, run_id), folder=tmp_path, MLFLOW_TRACKING_URI=store.uri).well()
    predicted, ours, imported = json.loads(done.out.strip().splitlines()[-1])
    assert predicted == expected
    assert [one.split("_")[1] for one in ours] == modules
    assert imported == (name == "xgboost")
    [model] = store.models(run_id)
    folder = Path(model.artifact_location.removeprefix("file://"))
    pins = (folder / "requirements.txt").read_text(encoding="utf-8")
    assert ("xgboost" in pins) == (name == "xgboost")
    assert sorted(path.stem.split("_")[1] for path in (folder / "code").glob("*.py")) == modules


# Dates, text and numbers as people write them.

MESSY = """
import json
import numpy as np
import pandas as pd
from lifecycle.adapters import flavors, tracking
from lifecycle.contract import Column, Contract
from lifecycle.models import pipeline, plain_estimator
columns = (
    Column("price", "numeric", "object", format="decimal comma"),
    Column("sold", "datetime", "object", format="%d.%m.%Y", origin="2021-01-01"),
    Column("seen", "datetime", "datetime64[us]"),
    Column("title", "text", "object"),
    Column("member", "categorical", "bool"),
)
contract = Contract("y", "regression", (), None, "random", columns=columns, missing_words=("?",))
rows = pd.DataFrame({
    "price": np.arange(40) / 4,
    "sold": pd.date_range("2021-01-01", periods=40, freq="11D"),
    "seen": pd.date_range("2021-01-01", periods=40, freq="7h"),
    "title": [f"{'new' if i % 3 else 'old'} cup {i}" for i in range(40)],
    "member": np.where(np.arange(40) % 2, "True", "False"),
})
rows.loc[3, "sold"] = pd.NaT
rows.loc[4, "title"] = None
model = pipeline(contract, plain_estimator("regression", 0)).fit(rows, np.arange(40.0) ** 1.5)
tracking.connect()
run = tracking.start("baseline")
flavors.log_pipeline(run, model, contract, rows, "0" * 64)
print(json.dumps([run.run_id, model.predict(rows.head(5)).tolist()]))
"""
# The first five of those rows.
WRITTEN = pd.DataFrame(
    {
        "price": ["0", "0,25", " 0,5 ", "0,75", "1,0"],
        "sold": ["01.01.2021", "12.01.2021", "23.01.2021", "?", "14.02.2021"],
        "seen": [
            "2021-01-01",
            "2021-01-01T07:00:00Z",
            "2021-01-01 14:00",
            "2021-01-01 23:00+02:00",
            "2021-01-02T04:00",
        ],
        "title": ["old cup 0", "new cup 1", " new cup 2", "old cup 3", " "],
        "member": [False, True, False, True, False],
    }
)


def test_server_takes_dates_text_and_numbers_as_people_write_them(
    new_store: Callable[[], Any],
    project: Path,
    serving: Callable[..., Any],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """Together and a row alone; and what cannot be read is named."""
    store = new_store()
    done = store.run(sys.executable, "-c", MESSY, PYTHONPATH=str(project / "steps")).well()
    run_id, expected = json.loads(done.out.splitlines()[-1])
    [model] = store.models(run_id)
    with server(serving, free_port(), store, f"models:/{model.model_id}", tmp_path) as address:
        for orient in ("dataframe_split", "dataframe_records"):
            status, text = asked(f"{address}/invocations", as_json(WRITTEN, orient))
            assert status == 200, text
            assert json.loads(text)["predictions"] == pytest.approx(expected, rel=1e-6)
        for place in range(5):
            status, text = asked(f"{address}/invocations", as_json(WRITTEN.iloc[[place]], "dataframe_split"))
            assert json.loads(text)["predictions"] == pytest.approx(expected[place : place + 1], rel=1e-6)
        for column, value in (("price", "1.5"), ("sold", "30.02.2021"), ("seen", 1609459200)):
            status, text = asked(
                f"{address}/invocations", as_json(WRITTEN.head(1).assign(**{column: value}), "dataframe_split")
            )
            assert status == 400
            assert column in text and str(value) in text


# Two versions of our own code.

BOTH = """
import json, sys
import mlflow
import numpy as np
found = []
for uri in sys.argv[1:]:
    model = mlflow.pyfunc.load_model(uri)
    found.append(np.asarray(model.predict(model.input_example)).ravel().tolist())
modules = sorted(name for name in sys.modules if name.startswith("lifecycle_columns_"))
print(json.dumps([found, modules]))
"""


@pytest.fixture(scope="module")
def forked(whole: Any, scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model made in the same store by somebody whose copy of the columns module has another comment."""
    fork = tmp_path_factory.mktemp("fork") / "lifecycle"
    shutil.copytree(scratch, fork)
    module = fork / "steps" / "lifecycle" / "columns.py"
    module.write_text(module.read_text(encoding="utf-8") + "\n# Forked.\n", encoding="utf-8")
    query = "SELECT * FROM data WHERE Age > 27"
    whole.store.script("baseline", "--query", query, of=fork, MLFLOW_EXPERIMENT_NAME="fork").well()
    [experiment] = [one for one in whole.store.client.search_experiments() if one.name == "fork"]
    [run] = [
        run
        for run in whole.store.client.search_runs([experiment.experiment_id])
        if run.data.tags["lifecycle.step"] == "baseline"
    ]
    return run


def test_model_says_the_query_that_made_its_raw_rows(whole: Any, forked: Any) -> None:
    [model] = whole.store.models(forked.info.run_id)
    folder = Path(model.artifact_location.removeprefix("file://"))
    metadata = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["metadata"]
    assert metadata["query"] == "SELECT * FROM data WHERE Age > 27"


def test_models_of_two_versions_load_in_one_process(whole: Any, forked: Any, tmp_path: Path) -> None:
    runs = [whole.step("churn", "baseline"), forked]
    uris = [f"models:/{whole.store.models(run.info.run_id)[0].model_id}" for run in runs]
    done = whole.store.run(
        sys.executable, "-c", BOTH, *uris, folder=tmp_path, MLFLOW_TRACKING_URI=whole.store.uri
    ).well()
    found, modules = json.loads(done.out.splitlines()[-1])
    assert len(modules) == 2
    saved = [whole.store.artifacts(run) / "example_predictions.json" for run in runs]
    assert found == [json.loads(path.read_text(encoding="utf-8")) for path in saved]

"""Each entry point by itself: by hand, by `mlflow run` of a folder, and by `mlflow run` of a git URL."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.whole

# Without parameters, but for the number of trials: what 16 and 32 give is a fact of the whole run.
ALONE = {
    "register": (),
    "tune_multi": ("--max_evals", "4"),
    "tune_lr": ("--max_evals", "4"),
    "regress_sklearn": (),
    "regress_statsmodels": (),
    "prepare": (),
}


@pytest.fixture(scope="module")
def alone(new_store: Callable[[], Any]) -> Iterator[Callable[[str], tuple[Any, Any]]]:
    """Run each entry point by hand on a new store of its own; two at once, since most of it is starting Python."""
    started: dict[str, tuple[Any, Future[Any]]] = {}
    with ThreadPoolExecutor(2) as pool:
        for step, options in ALONE.items():
            store = new_store()
            started[step] = store, pool.submit(store.script, step, *options)
        yield lambda step: (started[step][0], started[step][1].result().well())
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("step", ALONE)
def test_runs_alone_on_a_new_store(alone: Callable[[str], tuple[Any, Any]], step: str) -> None:
    store, done = alone(step)
    assert "Traceback" not in done.err
    assert {run.info.status for run in store.runs()} == {"FINISHED"}
    [run] = store.steps(step)
    settings = json.loads((store.artifacts(run) / "settings.json").read_text(encoding="utf-8"))
    assert settings["step"] == step and settings["table"]["seed"] == 42
    # Beside a database that somebody reads, as these tests do, lie two files of its own.
    there = {path.name for path in store.folder.iterdir()} - {"mlflow.db-wal", "mlflow.db-shm"}
    assert there == {"mlflow.db", "mlruns"}


@pytest.mark.parametrize("step", ALONE)
def test_table_is_prepared_once_and_beneath_whoever_asked(alone: Callable[[str], tuple[Any, Any]], step: str) -> None:
    store, _ = alone(step)
    [run], [prepared] = store.steps(step), store.steps("prepare")
    if step != "prepare":
        assert prepared.data.tags["mlflow.parentRunId"] == run.info.run_id
        assert prepared.data.tags["lifecycle.table"] == run.data.tags["lifecycle.table"]
    assert {path.name for path in (store.artifacts(prepared) / "prepared").iterdir()} == {
        *("train.parquet", "test.parquet", "contract.json", "profile.csv", "profile.html", "findings.csv"),
        "breaches.csv",
    }


def test_prepared_table_parts_the_rows_and_says_each_fold(
    alone: Callable[[str], tuple[Any, Any]], project: Path
) -> None:
    store, _ = alone("prepare")
    [run] = store.steps("prepare")
    folder = store.artifacts(run) / "prepared"
    train, test = (pd.read_parquet(folder / f"{name}.parquet") for name in ("train", "test"))
    raw = pd.read_csv(project / "data" / "churn.csv")
    assert sorted(train["__fold__"].unique()) == [0, 1, 2, 3, 4]
    assert "__fold__" not in test
    assert list(train.columns) == [*raw.columns, "__fold__"] and list(test.columns) == [*raw.columns, "__twin__"]
    both = pd.concat([train.drop(columns="__fold__"), test.drop(columns="__twin__")])
    order = list(raw.columns)
    pd.testing.assert_frame_equal(
        both.sort_values(order).reset_index(drop=True),
        raw.sort_values(order).reset_index(drop=True),
        check_dtype=False,
    )
    assert len(test) == 191
    # Stratified: the positive share is the same in each fold, but for one row.
    positives = train.groupby("__fold__")["Target"].sum()
    assert positives.max() - positives.min() <= 1


def test_twins_are_found_flagged_and_scored_apart(alone: Callable[[str], tuple[Any, Any]]) -> None:
    store, _ = alone("tune_lr")
    [prepared], [run] = store.steps("prepare"), store.steps("tune_lr")
    folder = store.artifacts(prepared) / "prepared"
    train, test = (pd.read_parquet(folder / f"{name}.parquet") for name in ("train", "test"))
    known = set(train.drop(columns="__fold__").itertuples(index=False, name=None))
    twins = [row in known for row in test.drop(columns="__twin__").itertuples(index=False, name=None)]
    assert test["__twin__"].tolist() == twins
    [finding] = pd.read_csv(folder / "findings.csv").to_dict("records")
    assert (finding["code"], finding["count"], finding["share"]) == ("twins", sum(twins), sum(twins) / 191)
    assert prepared.data.tags["lifecycle.findings"] == f"twins {sum(twins) / 191:.1%}"
    assert 0 <= run.data.metrics["test_f1_without_twins"] <= 1
    assert run.data.metrics["test_f1_without_twins"] != run.data.metrics["test_f1"]


def test_the_profile_page_is_of_the_table(alone: Callable[[str], tuple[Any, Any]]) -> None:
    store, _ = alone("prepare")
    [run] = store.steps("prepare")
    page = (store.artifacts(run) / "prepared" / "profile.html").read_text(encoding="utf-8")
    assert "<title>Profile of churn</title>" in page
    assert "763 training and 191 test rows" in page
    assert run.data.tags["lifecycle.data"] in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


# The two regressions.


def test_regressions_find_the_same_coefficients(alone: Callable[[str], tuple[Any, Any]]) -> None:
    found = []
    for step in ("regress_sklearn", "regress_statsmodels"):
        store, _ = alone(step)
        [run] = store.steps(step)
        frame = pd.read_csv(store.artifacts(run) / "coefficients.csv").set_index("column")
        for column in frame.index:
            assert run.data.metrics[f"coef/{column}"] == pytest.approx(frame.loc[column, "coef"], rel=1e-12)
        found.append(frame)
    one, other = found
    assert set(one.index) == {"const", "Time on App", "Time on Website", "Length of Membership"} == set(other.index)
    pd.testing.assert_series_equal(one["coef"], other["coef"].reindex(one.index), rtol=0, atol=1e-6)
    pd.testing.assert_series_equal(one["std_coef"], other["std_coef"].reindex(one.index), rtol=0, atol=1e-6)


def test_regressions_find_the_same_scores(alone: Callable[[str], tuple[Any, Any]]) -> None:
    one, other = (alone(step)[0].steps(step)[0].data.metrics for step in ("regress_sklearn", "regress_statsmodels"))
    for name in ("train_r2", "train_r2_adj", "test_r2", "test_rmse", "test_mae", "dummy_test_rmse"):
        assert one[name] == pytest.approx(other[name], abs=1e-6), name
    assert other["rsquared_adj"] == pytest.approx(one["train_r2_adj"], abs=1e-9)


def test_sklearn_is_autologged_with_one_model_of_ours(alone: Callable[[str], tuple[Any, Any]]) -> None:
    store, _ = alone("regress_sklearn")
    [run] = store.steps("regress_sklearn")
    assert {"model__fit_intercept", "columns__numeric__impute__strategy", "steps"} <= set(run.data.params)
    assert run.data.tags["estimator_class"] == "sklearn.pipeline.Pipeline"
    assert "training_r2_score" in run.data.metrics
    [model] = store.models(run.info.run_id)
    assert model.name == "model"
    # Autologging adds no dataset of its own: one, with our digest.
    [dataset] = run.inputs.dataset_inputs
    assert dataset.dataset.name == "ecommerce"


def test_statsmodels_says_the_inference(alone: Callable[[str], tuple[Any, Any]]) -> None:
    store, _ = alone("regress_statsmodels")
    [run] = store.steps("regress_statsmodels")
    assert run.data.tags["pickle"] == "true"
    summary = (store.artifacts(run) / "summary.txt").read_text(encoding="utf-8")
    assert "OLS Regression Results" in summary and "Length of Membership" in summary
    frame = pd.read_csv(store.artifacts(run) / "coefficients.csv").set_index("column")
    assert (frame["lower"] < frame["coef"]).all() and (frame["coef"] < frame["upper"]).all()
    # Twice the standard error to each side, about: 95 % with some 400 rows.
    np.testing.assert_allclose((frame["upper"] - frame["lower"]) / frame["std_err"], 2 * 1.966, rtol=1e-3)
    assert frame.loc["Length of Membership", "p"] < 1e-10 < 0.05 < frame.loc["Time on Website", "p"]
    metrics = run.data.metrics
    assert {"breusch_pagan", "breusch_pagan_p", "durbin_watson", "cooks_distance_max", "influential_rows"} <= set(
        metrics
    )
    assert 1.5 < metrics["durbin_watson"] < 2.5
    for column in ("Time on App", "Time on Website", "Length of Membership"):
        assert 1 <= metrics[f"vif/{column}"] < 1.1
    assert (store.artifacts(run) / "figures" / "coefficients.png").stat().st_size > 5_000
    [model] = store.models(run.info.run_id)
    assert model.name == "model"
    # It takes the design matrix, so it cannot check raw rows; whoever makes that matrix can, by the contract.
    beside = Path(model.artifact_location.removeprefix("file://")) / "extra_files" / "contract.json"
    [prepared] = store.steps("prepare")
    assert beside.read_bytes() == (store.artifacts(prepared) / "prepared" / "contract.json").read_bytes()


def test_pickled_run_is_registered_only_where_it_is_trusted(alone: Callable[[str], tuple[Any, Any]]) -> None:
    store, _ = alone("regress_statsmodels")
    [run] = store.steps("regress_statsmodels")
    asked = ("register", "--data", "ecommerce", "--run_id", run.info.run_id, "--name", "revenue_prediction_model")
    done = store.script(*asked)
    assert done.code == 2
    [error] = done.errors
    assert re.search(rf"^Error: run_id: the model of run {run.info.run_id} is pickled, .*allow_pickle=true\.$", error)
    assert store.versions("revenue_prediction_model") == {}

    store.script(*asked, "--allow_pickle", "true").well()
    [version] = store.versions("revenue_prediction_model").values()
    assert (version.run_id, version.current_stage) == (run.info.run_id, "Production")
    assert store.client.get_model_version_by_alias("revenue_prediction_model", "champion").version == version.version


# Searches.


def test_spark_tries_the_same_points_with_the_same_scores(alone: Callable[[str], tuple[Any, Any]]) -> None:
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, and there is none on PATH")
    store, _ = alone("tune_lr")
    [local] = store.steps("tune_lr")
    # The engine is not in the step's key: without fresh the local search would be taken over.
    store.script("tune_lr", *ALONE["tune_lr"], "--engine", "spark", "--parallelism", "2", "--fresh", "true").well()
    _, spark = store.steps("tune_lr")
    trials = [
        [(trial.info.run_name, trial.data.params, scores_of(trial)) for trial in store.children(run.info.run_id)]
        for run in (local, spark)
    ]
    of_local = [trial for trial in trials[0] if trial[0] != "prepare"]
    assert len(of_local) == 4
    assert sorted(of_local, key=str) == sorted(trials[1], key=str)
    assert scores_of(local) == scores_of(spark)


def scores_of(run: Any) -> dict[str, float]:
    """The metrics that no clock has a part in."""
    return {name: value for name, value in run.data.metrics.items() if not name.endswith(("_seconds", "latency_ms"))}


# The registry, on the store of `register`: its baseline is champion when this begins.


@pytest.fixture(scope="module")
def shop(alone: Callable[[str], tuple[Any, Any]]) -> Any:
    return alone("register")[0]


def places(store: Any) -> dict[str, str]:
    """Return the stage of each version of churn, and which one the alias is on."""
    stages = {number: version.current_stage for number, version in store.versions("churn").items()}
    return stages | {"champion": str(store.client.get_model_version_by_alias("churn", "champion").version)}


def test_register_runs_the_baseline_where_there_is_no_candidate(shop: Any) -> None:
    [register], [baseline] = shop.steps("register"), shop.steps("baseline")
    assert baseline.data.tags["mlflow.parentRunId"] == register.info.run_id
    assert places(shop) == {"1": "Production", "champion": "1"}
    assert shop.versions("churn")["1"].run_id == baseline.info.run_id


def test_register_again_registers_nothing(shop: Any) -> None:
    [baseline] = shop.steps("baseline")
    taken = shop.script("register").well()
    assert "taken over" in taken.out
    assert shop.steps("register")[-1].data.tags["lifecycle.reused"] == shop.steps("register")[0].info.run_id
    named = shop.script("register", "--run_id", baseline.info.run_id, "--fresh", "true").well()
    assert "had been registered as models:/churn/1" in named.out
    assert places(shop) == {"1": "Production", "champion": "1"}
    assert len(shop.steps("baseline")) == 1


def test_select_on_test_is_optimistic_and_log_models_keeps_all(shop: Any) -> None:
    """The course's way: chosen on the test rows, every trial's model kept, and no candidate for it."""
    shop.script("tune_lr", "--select_on", "test", "--log_models", "all", "--max_evals", "3").well()
    [run] = shop.steps("tune_lr")
    assert run.data.tags["optimistic"] == "true"
    trials = shop.children(run.info.run_id)
    assert len(trials) == 3
    for trial in trials:
        assert {"train_f1", "test_f1", "test_accuracy"} <= set(trial.data.metrics)
        [model] = shop.models(trial.info.run_id)
        assert model.name == "model"
    assert run.data.metrics["test_f1"] == max(trial.data.metrics["test_f1"] for trial in trials)
    assert run.data.metrics["test_f1"] > shop.steps("baseline")[0].data.metrics["test_f1"]
    shop.script("register").well()
    assert places(shop) == {"1": "Production", "champion": "1"}


def test_register_completes_a_version_without_stage_and_alias(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the version was made. The better candidate also archives the former one."""
    shop.script("tune_lr", "--max_evals", "2").well()
    run = shop.steps("tune_lr")[-1]
    assert run.data.metrics["cv_f1"] > shop.steps("baseline")[0].data.metrics["cv_f1"]
    make_version(shop, run, monkeypatch)
    assert places(shop) == {"1": "Production", "2": "None", "champion": "1"}

    done = shop.script("register").well()
    assert "had been registered as models:/churn/2" in done.out
    assert "instead of version 1" in done.out
    assert places(shop) == {"1": "Archived", "2": "Production", "champion": "2"}
    assert shop.versions("churn")["2"].tags["lifecycle.run"] == run.info.run_id


def test_register_completes_a_version_whose_alias_had_not_moved(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two calls that move the stage and the alias."""
    shop.script("tune_multi", "--max_evals", "1", "--models", "rf").well()
    run = shop.steps("tune_multi")[-1]
    assert run.data.metrics["cv_f1"] > shop.steps("tune_lr")[-1].data.metrics["cv_f1"]
    number = make_version(shop, run, monkeypatch)
    with pytest.warns(FutureWarning, match="transition_model_version_stage"):
        shop.client.transition_model_version_stage("churn", number, "Production", archive_existing_versions=True)
    assert places(shop) == {"1": "Archived", "2": "Archived", "3": "Production", "champion": "2"}

    shop.script("register").well()
    assert places(shop) == {"1": "Archived", "2": "Archived", "3": "Production", "champion": "3"}


def test_model_that_predicts_otherwise_than_its_run_said_is_not_promoted(shop: Any) -> None:
    [baseline] = shop.steps("baseline")
    saved = shop.artifacts(baseline) / "example_predictions.json"
    right = saved.read_text(encoding="utf-8")
    saved.write_text(json.dumps([1 - label for label in json.loads(right)]), encoding="utf-8")
    before = places(shop)
    done = shop.script("register", "--run_id", baseline.info.run_id, "--fresh", "true")
    saved.write_text(right, encoding="utf-8")
    assert done.code == 2
    [error] = done.errors
    assert re.search(r"^Error: run_id: version 1 of churn predicts \[.*\] .* the run saved \[.*\]; .*\.$", error)
    assert places(shop) == before


def make_version(store: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Register a run's model by hand, as far as `register` had come when it was killed."""
    # mlflow looks a model's address up in the store that the environment names, whatever the client was made for.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    [model] = store.models(run.info.run_id)
    made = store.client.create_model_version(
        "churn", f"models:/{model.model_id}", run.info.run_id, model_id=model.model_id
    )
    return str(made.version)


# By `mlflow run`, from elsewhere.


def test_file_uri_leaves_everything_where_the_caller_stands(
    new_store: Callable[[], Any], project: Path, git: Callable[..., str]
) -> None:
    store = new_store()
    store.mlflow_run(project.as_uri(), "-e", "prepare").well()
    [run] = store.runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.project.entryPoint"] == "prepare"
    assert (store.artifacts(run) / "prepared" / "train.parquet").is_relative_to(store.folder)
    assert (store.artifacts(run) / "prepared" / "train.parquet").exists()
    if (project / ".git").exists():
        assert run.data.tags["mlflow.source.git.commit"] == git(project, "rev-parse", "HEAD")


def test_git_url_leaves_everything_where_the_caller_stands(
    new_store: Callable[[], Any],
    scratch: Path,
    git: Callable[..., str],
    serving: Callable[..., Any],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """The step that is asked for and the one that it starts: both in the clone, nothing of theirs left in it."""
    git(tmp_path, "clone", "-q", "--bare", str(scratch), "lifecycle.git")
    port, store = free_port(), new_store()
    command = ["git", "daemon", "--listen=127.0.0.1", f"--port={port}", f"--base-path={tmp_path}", "--export-all"]
    with serving(command, port):
        store.mlflow_run(f"git://127.0.0.1:{port}/lifecycle.git", "-e", "baseline").well()
    runs = store.runs()
    assert {(run.data.tags["lifecycle.step"], run.info.status) for run in runs} == {
        ("baseline", "FINISHED"),
        ("prepare", "FINISHED"),
    }
    for run in runs:
        assert store.artifacts(run).is_relative_to(store.folder / "mlruns")
        assert run.data.tags["mlflow.source.git.commit"] == git(scratch, "rev-parse", "HEAD")
    [baseline] = store.steps("baseline")
    assert (store.artifacts(baseline) / "figures" / "roc.png").exists()
    [model] = store.models(baseline.info.run_id)
    assert Path(model.artifact_location.removeprefix("file://"), "model.skops").is_relative_to(store.folder)
    assert Path(model.artifact_location.removeprefix("file://"), "model.skops").exists()

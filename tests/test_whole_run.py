"""One whole run of `main` by the real `mlflow run`, from another folder: what is in the store when it has ended."""

import hashlib
import json
import math
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from lifecycle.models import MODELS

pytestmark = pytest.mark.whole

STEPS = {
    "churn": ["prepare", "baseline", "tune_lr", "tune_multi", "register"],
    "ecommerce": ["prepare", "baseline", "regress_sklearn", "regress_statsmodels", "tune_multi", "register"],
}
TRIALS = {("churn", "tune_lr"): 16, ("churn", "tune_multi"): 32, ("ecommerce", "tune_multi"): 32}
EVERY = [(table, step) for table, steps in STEPS.items() for step in steps]
FINAL = [(table, step) for table, step in EVERY if step not in ("prepare", "register")]
METRICS = {"churn": ["accuracy", "precision", "recall", "f1", "roc_auc"], "ecommerce": ["rmse", "mae", "r2"]}
CLASS_FIGURES = {"roc", "precision_recall", "confusion", "calibration"}
QUANTITY_FIGURES = {"predicted", "residuals"}
FIGURES = {
    ("churn", "baseline"): CLASS_FIGURES,
    ("churn", "tune_lr"): CLASS_FIGURES | {"search"},
    # A support vector machine that wins has no probabilities to calibrate.
    ("churn", "tune_multi"): CLASS_FIGURES - {"calibration"} | {"search"},
    ("ecommerce", "baseline"): QUANTITY_FIGURES,
    ("ecommerce", "regress_sklearn"): QUANTITY_FIGURES,
    ("ecommerce", "regress_statsmodels"): QUANTITY_FIGURES | {"coefficients"},
    ("ecommerce", "tune_multi"): QUANTITY_FIGURES | {"search"},
}
TABLE_SETTINGS = [
    *("data", "target", "query", "task", "test_data", "split", "split_column", "test_size"),
    *("folds", "seed", "positive", "drop", "ordinal"),
]
SEARCH_SETTINGS = [
    *("models", "metric", "max_evals", "algo", "select_on", "engine", "parallelism", "timeout", "log_models", "seed"),
]


def digest_of(project: Path, table: str) -> str:
    return hashlib.sha256((project / "data" / f"{table}.csv").read_bytes()).hexdigest()


def test_main_ends_well_and_quietly(whole: Any) -> None:
    assert "Traceback" not in whole.done.err + whole.done.out
    assert "Error" not in whole.done.err
    assert "Warning" not in whole.done.err + whole.done.out


def test_store_and_artifacts_lie_where_the_caller_stands(whole: Any) -> None:
    store = whole.store
    # Beside a database that somebody reads, as these tests do, lie two files of its own.
    assert {path.name for path in store.folder.iterdir()} - {"mlflow.db-wal", "mlflow.db-shm"} == {
        "mlflow.db",
        "mlruns",
    }
    for run in whole.runs:
        assert store.artifacts(run).is_relative_to(store.folder / "mlruns"), run.info.run_name
    for version in (*store.versions("churn").values(), *store.versions("ecommerce").values()):
        [model] = store.models(version.run_id)
        assert (store.folder / "mlruns") in Path(model.artifact_location.removeprefix("file://")).parents


def test_nothing_new_lies_in_the_project(whole: Any) -> None:
    before, after = whole.files
    assert after - before == set()
    assert whole.status[0] == whole.status[1]


def test_one_tree_of_runs(whole: Any) -> None:
    """main, its steps, their trials; all finished, nothing beside it, nothing done twice."""
    root = whole.runs[0]
    assert root.data.tags["lifecycle.step"] == root.data.tags["mlflow.project.entryPoint"] == "main"
    assert "mlflow.parentRunId" not in root.data.tags
    assert Counter(run.info.status for run in whole.runs) == {"FINISHED": len(whole.runs)}
    assert len(whole.runs) == 1 + len(EVERY) + sum(TRIALS.values())

    steps = [run for run in whole.runs if run.data.tags.get("mlflow.parentRunId") == whole.root_id]
    tables = {run.data.params["data"] for run in steps}
    assert Counter((run.data.params["data"], run.data.tags["lifecycle.step"]) for run in steps) == Counter(EVERY)
    assert tables == set(STEPS)
    trials = Counter(run.data.tags["mlflow.parentRunId"] for run in whole.runs[1 + len(EVERY) :])
    assert trials == {whole.step(*step).info.run_id: number for step, number in TRIALS.items()}
    for run in whole.runs[1 + len(EVERY) :]:
        assert run.data.tags["lifecycle.step"] == "trial"


def test_no_step_is_a_reused_one_on_a_new_store(whole: Any) -> None:
    assert not [run.info.run_name for run in whole.runs if "lifecycle.reused" in run.data.tags]


@pytest.mark.parametrize(("table", "step"), EVERY)
def test_every_page_says_which_data_made_it(whole: Any, project: Path, table: str, step: str) -> None:
    digest, run = digest_of(project, table), whole.step(table, step)
    assert run.data.tags["lifecycle.data"] == digest
    [dataset] = [one.dataset for one in run.inputs.dataset_inputs]
    # mlflow keeps 36 characters of a dataset's digest.
    assert (dataset.name, dataset.digest) == (table, digest[:36])
    assert json.loads(dataset.source)["uri"].endswith(f"data/{table}.csv")
    for trial in whole.store.children(run.info.run_id):
        assert trial.data.tags["lifecycle.data"] == digest


def test_page_of_main_says_which_data_made_it(whole: Any, project: Path) -> None:
    datasets = {one.dataset.name: one.dataset.digest for one in whole.runs[0].inputs.dataset_inputs}
    assert datasets == {table: digest_of(project, table)[:36] for table in STEPS}


def test_every_page_says_which_commit_made_it(whole: Any) -> None:
    if not whole.commit:
        pytest.skip("the project is not in a git repository here, so there is no commit to say")
    assert {run.data.tags.get("mlflow.source.git.commit") for run in whole.runs} == {whole.commit}


@pytest.mark.parametrize(("table", "step"), EVERY)
def test_every_step_says_its_parameters(whole: Any, table: str, step: str) -> None:
    params = whole.step(table, step).data.params
    assert params["data"] == table
    assert {*TABLE_SETTINGS, "fresh"} <= set(params)
    assert (params["seed"], params["folds"], params["test_size"]) == ("42", "5", "0.2")
    if step.startswith("tune"):
        assert {"max_evals", "metric", "algo", "select_on", "models", "engine", "log_models"} <= set(params)


@pytest.mark.parametrize(("table", "step"), EVERY)
def test_settings_are_whole_and_resolved(whole: Any, project: Path, table: str, step: str) -> None:
    """What is needed to run it again, with no default left to be guessed."""
    run = whole.step(table, step)
    settings = json.loads((whole.store.artifacts(run) / "settings.json").read_text(encoding="utf-8"))
    assert settings["step"] == step
    assert set(TABLE_SETTINGS) <= set(settings["table"])
    assert settings["table"]["task"] == ("classification" if table == "churn" else "regression")
    assert settings["table"]["split"] == ("stratified" if table == "churn" else "random")
    assert settings["table"]["target"] == ("Target" if table == "churn" else "Yearly Amount Spent")
    assert settings["table"]["positive"] == (1 if table == "churn" else None)
    assert settings["data_sha256"] == digest_of(project, table)
    assert re.fullmatch("[0-9a-f]{64}", settings["code_sha256"])
    assert settings["lifecycle.table"] == run.data.tags["lifecycle.table"]
    assert settings["prepared_run_id"] == whole.step(table, "prepare").info.run_id
    if step.startswith("tune"):
        own = settings["own"]
        assert set(SEARCH_SETTINGS) <= set(own)
        assert (own["max_evals"], own["algo"], own["select_on"]) == (TRIALS[table, step], "tpe", "cv")
        assert own["metric"] == ("f1" if table == "churn" else "rmse") and own["models"] and own["parallelism"] >= 1


def test_settings_of_main_are_those_of_its_tables(whole: Any) -> None:
    settings = json.loads((whole.store.artifacts(whole.runs[0]) / "settings.json").read_text(encoding="utf-8"))
    assert settings["step"] == "main"
    targets = {table: resolved["target"] for table, resolved in settings["tables"].items()}
    assert targets == {"churn": "Target", "ecommerce": "Yearly Amount Spent"}


def test_steps_of_a_table_share_its_key_and_have_their_own(whole: Any) -> None:
    for table, steps in STEPS.items():
        tags = [whole.step(table, step).data.tags for step in steps]
        assert len({one["lifecycle.table"] for one in tags}) == 1
        assert len({one["lifecycle.key"] for one in tags}) == len(steps)


@pytest.mark.parametrize(("table", "step"), FINAL)
def test_metrics_have_the_promised_names(whole: Any, table: str, step: str) -> None:
    found = whole.step(table, step).data.metrics
    names = {f"{rows}_{name}" for rows in ("train", "test", "dummy_test", "dummy_cv") for name in METRICS[table]}
    if step != "regress_statsmodels":
        names |= {f"cv_{name}{std}" for name in METRICS[table] for std in ("", "_std")}
        names |= {"fit_seconds", "score_seconds"}
    if table == "ecommerce":
        names |= {"train_r2_adj"}
    if step == "baseline" or step.startswith("regress") or step == "tune_lr":
        columns = ["Age", "ServicesOpted", "FrequentFlyer_Yes", "FrequentFlyer_No Record", "AnnualIncomeClass"]
        if table == "ecommerce":
            columns = ["Time on App", "Time on Website", "Length of Membership"]
        names |= {f"{kind}/{column}" for kind in ("coef", "std_coef") for column in columns}
    assert names <= set(found)
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize(("table", "step"), TRIALS)
def test_trials_track_values_scores_and_seconds(whole: Any, table: str, step: str) -> None:
    run = whole.step(table, step)
    weights = {"None", "balanced"}
    choices = {
        "logreg": {"solver": {"liblinear", "lbfgs"}, "class_weight": weights},
        "svm": {"kernel": {"linear", "rbf"}, "class_weight": weights},
        "dtc": {"criterion": {"gini", "entropy"}, "class_weight": weights},
    }
    if table == "churn":
        choices["rf"] = {"class_weight": weights}
    for trial in whole.store.children(run.info.run_id):
        pruned = trial.data.tags.get("lifecycle.trial") == "pruned"
        of_folds = {name for name in trial.data.metrics if name.startswith("cv_") and not name.endswith("_std")}
        assert of_folds == {f"cv_{'partial_' if pruned else ''}{name}" for name in METRICS[table]}
        assert {"fit_seconds", "score_seconds"} <= set(trial.data.metrics)
        assert trial.data.metrics["fit_seconds"] > 0
        # The test rows are for the winner alone.
        assert not [name for name in trial.data.metrics if name.startswith("test_")]
        assert not trial.outputs.model_outputs
        params = trial.data.params
        if params["model"] not in ("ridge", "lasso", "elasticnet", "linear_svr", "knn", "lda"):
            assert params["random_state"] == "42"
        for name, known in choices.get(params["model"], {}).items():
            assert params[name] in known


@pytest.mark.parametrize(("table", "step"), TRIALS)
def test_no_point_is_tried_twice(whole: Any, table: str, step: str) -> None:
    """Every space here has far more points than there are trials, and a second fit of the same one tells nothing."""
    trials = whole.store.children(whole.step(table, step).info.run_id)
    points = Counter(tuple(sorted(trial.data.params.items())) for trial in trials)
    assert [dict(point) for point, times in points.items() if times > 1] == []


@pytest.mark.parametrize(("table", "step"), TRIALS)
def test_winner_is_the_simplest_within_one_standard_error_of_the_best(whole: Any, table: str, step: str) -> None:
    run = whole.step(table, step)
    trials = whole.store.children(run.info.run_id)
    name, sign, task = ("cv_f1", -1, "classification") if table == "churn" else ("cv_rmse", 1, "regression")
    scored = {trial.info.run_id: sign * trial.data.metrics[name] for trial in trials if name in trial.data.metrics}
    best = min(scored, key=scored.__getitem__)
    [spread] = [trial.data.metrics[f"{name}_std"] for trial in trials if trial.info.run_id == best]
    near = {run_id for run_id, loss in scored.items() if loss <= scored[best] + spread / math.sqrt(5 - 1)}
    ranks = {t.info.run_id: MODELS[task][t.data.params["model"]].rank for t in trials if t.info.run_id in near}
    [winner] = [t for t in trials if t.info.run_name.startswith(f"{int(run.data.tags['lifecycle.best_trial']):03d} ")]
    assert winner.info.run_id in near
    assert ranks[winner.info.run_id] == min(ranks.values())
    assert winner.data.metrics[name] == run.data.metrics[name]
    chosen = {key.removeprefix("best_"): value for key, value in run.data.params.items() if key.startswith("best_")}
    if chosen["model"] != "linear_svr":
        assert chosen.items() <= winner.data.params.items()
    board = pd.read_csv(whole.store.artifacts(run) / "trials.csv")
    assert len(board) == len(trials)


def test_multi_searches_try_several_kinds(whole: Any) -> None:
    for table, kinds in (("churn", {"svm", "rf", "logreg", "dtc"}), ("ecommerce", {"ridge", "lasso", "rf"})):
        trials = whole.store.children(whole.step(table, "tune_multi").info.run_id)
        assert kinds <= {trial.data.params["model"] for trial in trials}


def test_dummies_are_the_best_constants(whole: Any) -> None:
    """Always positive for F1, the majority for accuracy, the mean for RMSE, by the rows that prepare kept."""
    folder = whole.store.artifacts(whole.step("churn", "prepare")) / "prepared"
    labels = pd.read_parquet(folder / "test.parquet")["Target"]
    found = whole.step("churn", "baseline").data.metrics
    share = labels.mean()
    assert found["dummy_test_f1"] == pytest.approx(2 * share / (1 + share))
    assert found["dummy_test_accuracy"] == pytest.approx(1 - share)
    assert found["dummy_test_roc_auc"] == 0.5

    folder = whole.store.artifacts(whole.step("ecommerce", "prepare")) / "prepared"
    train, test = (pd.read_parquet(folder / f"{name}.parquet")["Yearly Amount Spent"] for name in ("train", "test"))
    found = whole.step("ecommerce", "baseline").data.metrics
    assert found["dummy_test_rmse"] == pytest.approx(((test - train.mean()) ** 2).mean() ** 0.5)
    assert found["dummy_test_mae"] == pytest.approx((test - train.median()).abs().mean())


@pytest.mark.parametrize(("table", "step"), FINAL)
def test_figures_are_pictures(whole: Any, table: str, step: str) -> None:
    folder = whole.store.artifacts(whole.step(table, step)) / "figures"
    assert {path.stem for path in folder.glob("*.png")} >= FIGURES[table, step]
    for path in folder.iterdir():
        assert_picture(path)


def test_board_of_main_is_a_picture_and_a_table(whole: Any) -> None:
    folder = whole.store.artifacts(whole.runs[0])
    assert_picture(folder / "scoreboard.png")
    board = pd.read_csv(folder / "scoreboard.csv")
    assert set(zip(board["table"], board["step"], strict=True)) == set(FINAL)
    assert board["chosen"].sum() == len(STEPS)


def assert_picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert 400 <= picture.width <= 4000 and 250 <= picture.height <= 4000, (path, picture.size)
        # Not a blank page: ink on it, in more than one tone.
        tones = picture.convert("L").getcolors() or []
        assert len(tones) > 10, path


@pytest.mark.parametrize(("table", "metric"), [("churn", "f1"), ("ecommerce", "rmse")])
def test_champion_is_in_production_and_says_where_it_is_from(
    whole: Any, project: Path, table: str, metric: str
) -> None:
    versions = whole.store.versions(table)
    assert list(versions) == ["1"]
    version = versions["1"]
    assert version.current_stage == "Production"
    assert whole.store.client.get_model_version_by_alias(table, "champion").version == version.version
    candidates = [whole.step(table, step) for step in STEPS[table] if step not in ("prepare", "register")]
    scored = [run for run in candidates if f"cv_{metric}" in run.data.metrics]
    best = (max if table == "churn" else min)(scored, key=lambda run: run.data.metrics[f"cv_{metric}"])
    assert version.run_id == version.tags["lifecycle.run"] == best.info.run_id
    assert version.tags["lifecycle.table"] == best.data.tags["lifecycle.table"]
    assert version.tags["lifecycle.data"] == digest_of(project, table)
    assert version.tags["lifecycle.metric"] == metric
    for rows in ("cv", "test", "dummy_test"):
        name = f"{rows}_{metric}"
        assert float(version.tags[name]) == pytest.approx(best.data.metrics[name], rel=1e-5)
    registered = whole.step(table, "register").data
    assert registered.tags["lifecycle.registered"] == f"{table}/1"
    assert registered.metrics[f"cv_{metric}"] == best.data.metrics[f"cv_{metric}"]


def test_nothing_else_is_registered(whole: Any) -> None:
    names = {model.name for model in whole.store.client.search_registered_models()}
    assert {"churn", "ecommerce"} <= names <= {"churn", "ecommerce", "diabetes"}


@pytest.mark.parametrize(("table", "step"), EVERY)
def test_test_rows_are_read_once_by_a_step_with_a_model(whole: Any, table: str, step: str) -> None:
    run = whole.step(table, step)
    read = [one for one in (run, *whole.store.children(run.info.run_id)) if "lifecycle.test_read" in one.data.tags]
    assert [one.info.run_id for one in read] == ([run.info.run_id] if (table, step) in FINAL else [])
    if read:
        # After every choice: the last trial had ended.
        when = pd.Timestamp(run.data.tags["lifecycle.test_read"]).timestamp()
        trials = whole.store.children(run.info.run_id)
        assert all(trial.info.end_time / 1000 < when + 1 for trial in trials)


@pytest.mark.parametrize(("table", "step"), FINAL)
def test_a_step_logs_one_model(whole: Any, table: str, step: str) -> None:
    assert len(whole.store.models(whole.step(table, step).info.run_id)) == 1


@pytest.mark.parametrize(("table", "step"), EVERY)
def test_printed_table_has_a_line_for_each_step(whole: Any, table: str, step: str) -> None:
    block = whole.done.out.partition(f"\n{table}: ")[2].partition("\n\n")[0]
    [line] = [line for line in block.splitlines() if line.startswith(f"{step} ")]
    assert float(line.split()[1]) > 0
    metric = "f1" if table == "churn" else "rmse"
    for name in (f"cv_{metric}", f"test_{metric}", f"dummy_test_{metric}"):
        value = whole.step(table, step).data.metrics.get(name)
        assert value is None or f"{value:.4g}" in line


def test_print_ends_with_what_to_do_next(whole: Any) -> None:
    end = whole.done.out.rpartition("Next: ")[2]
    assert "mlflow ui" in end
    for table in STEPS:
        assert f"models:/{table}@champion" in end


def test_test_rows_are_refused_a_second_time(whole: Any, project: Path) -> None:
    run, prepared = whole.step("churn", "baseline"), whole.step("churn", "prepare")
    script = """
import sys
from lifecycle.adapters import tracking

run_id, prepared_run_id = sys.argv[1:]
tracking.connect()
tracking.test_rows(tracking.StepRun(run_id, "0", "baseline"), prepared_run_id, ["Age"], "Target")
"""
    ids = (run.info.run_id, prepared.info.run_id)
    done = whole.store.run(sys.executable, "-c", script, *ids, PYTHONPATH=str(project / "steps"))
    assert done.code == 1
    assert f"RuntimeError: run {ids[0]} has read the test rows before" in done.err


# What follows adds runs to the same store; the facts above are about the first run of it alone.


@pytest.fixture(scope="module")
def again(whole: Any) -> Any:
    """The same command in the same place, by hand."""
    before = {run.info.run_id for run in whole.store.runs()}
    done = whole.store.script("main").well()
    return done, [run for run in whole.store.runs() if run.info.run_id not in before]


def test_second_run_takes_everything_over(whole: Any, again: Any) -> None:
    done, runs = again
    [root] = [run for run in runs if run.data.tags["lifecycle.step"] == "main"]
    steps = [run for run in runs if run is not root]
    assert len(steps) == len(EVERY)
    first = {run.info.run_id: run for run in whole.runs}
    taken = [run.data.tags["lifecycle.reused"] for run in steps]
    assert sorted(taken) == sorted(whole.step(*step).info.run_id for step in EVERY)
    for run in steps:
        source = first[run.data.tags["lifecycle.reused"]]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == root.info.run_id
        assert run.data.tags["mlflow.project.entryPoint"] == source.data.tags["lifecycle.step"]
        assert run.data.tags["lifecycle.step"] == source.data.tags["lifecycle.step"]
        assert run.data.tags["lifecycle.data"] == source.data.tags["lifecycle.data"]
        assert run.data.metrics == source.data.metrics
        assert not run.outputs.model_outputs
        assert not whole.store.models(run.info.run_id)
        assert "lifecycle.test_read" not in run.data.tags


def test_second_run_starts_no_process(again: Any) -> None:
    """A step's process says what it did; here only the table of `main` is said, and `reused` on each line of it."""
    done, _ = again
    assert not re.search(r"^(prepare|baseline|tune_\w+|regress_\w+|register): ", done.out, re.MULTILINE)
    for _, step in EVERY:
        assert re.search(rf"^{step} +reused", done.out, re.MULTILINE)
    assert done.out.count(" reused") == len(EVERY)


def test_second_run_registers_nothing(whole: Any, again: Any) -> None:
    for table in STEPS:
        assert list(whole.store.versions(table)) == ["1"]


def test_taken_over_page_says_all_that_made_it(whole: Any, again: Any, project: Path) -> None:
    for run in again[1]:
        if "lifecycle.reused" in run.data.tags:
            params = run.data.params
            assert params["data"] in STEPS and {*TABLE_SETTINGS, "fresh"} <= set(params)
            [dataset] = [one.dataset for one in run.inputs.dataset_inputs]
            assert dataset.digest == digest_of(project, params["data"])[:36]
            source = whole.store.client.get_run(run.data.tags["lifecycle.reused"])
            one, other = (whole.store.artifacts(each) / "settings.json" for each in (run, source))
            assert one.read_text(encoding="utf-8") == other.read_text(encoding="utf-8")


def test_fresh_runs_a_finished_step_again_and_finds_the_same(whole: Any, again: Any) -> None:
    first = whole.step("churn", "baseline")
    before = {run.info.run_id for run in whole.store.runs()}
    whole.store.script("baseline", "--fresh", "true").well()
    [run] = [run for run in whole.store.runs() if run.info.run_id not in before]
    assert "lifecycle.reused" not in run.data.tags
    assert len(whole.store.models(run.info.run_id)) == 1
    assert run.data.tags["lifecycle.key"] == first.data.tags["lifecycle.key"]
    seconds = {"fit_seconds", "score_seconds"}
    assert {k: v for k, v in run.data.metrics.items() if k not in seconds} == {
        k: v for k, v in first.data.metrics.items() if k not in seconds
    }


def test_a_changed_byte_makes_another_table(whole: Any, project: Path, tmp_path: Path) -> None:
    text = (project / "data" / "churn.csv").read_text(encoding="utf-8")
    other = tmp_path / "churn.csv"
    other.write_text(text.replace("31,No,", "32,No,", 1), encoding="utf-8")
    order = "AnnualIncomeClass:Low Income<Middle Income<High Income"
    before = {run.info.run_id for run in whole.store.runs()}
    whole.store.script("prepare", "--data", other, "--target", "Target", "--ordinal", order).well()
    [run] = [run for run in whole.store.runs() if run.info.run_id not in before]
    first = whole.step("churn", "prepare")
    assert run.data.tags["lifecycle.data"] == hashlib.sha256(other.read_bytes()).hexdigest()
    assert run.data.tags["lifecycle.table"] != first.data.tags["lifecycle.table"]
    assert "lifecycle.reused" not in run.data.tags

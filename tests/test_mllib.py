"""The sweep of iris by the real entry point, as a run and as a registered model."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import standalone
from hostile import eventually

from lifecycle.adapters import memory

pytestmark = pytest.mark.whole
# Of them the search that is interrupted tries so many.
FEW = 5
STEPS = Path(__file__).resolve().parents[1] / "steps"
POINTS = [(bins, depth) for bins in (5, 7, 9, 11, 13, 15) for depth in (2, 3, 4)]


@pytest.fixture(scope="module")
def swept(new_store: Callable[[], Any]) -> Any:
    """One run of `tune_mllib` with no parameter, on a new store."""
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, and there is none on PATH")
    store = new_store()
    done = store.script("tune_mllib").well()
    assert "Traceback" not in done.err
    assert "tune_mllib: classification, target 'species', 117 training and 33 test rows (hash), 4 features" in done.out
    return store


def trials_of(store: Any, run: Any = None) -> list[Any]:
    [run] = [run] if run else store.steps("tune_mllib")
    return sorted(store.children(run.info.run_id), key=lambda trial: trial.info.run_name)


def test_each_combination_is_a_child_run_with_its_scores(swept: Any) -> None:
    trials = trials_of(swept)
    assert [(int(t.data.params["maxBins"]), int(t.data.params["maxDepth"])) for t in trials] == POINTS
    for trial in trials:
        assert trial.info.status == "FINISHED"
        assert {"cv_accuracy", "cv_accuracy_std", "cv_f1_macro", "cv_f1_macro_std", "fit_seconds"} <= set(
            trial.data.metrics
        )
        # The test rows are the winner's alone.
        assert not [name for name in trial.data.metrics if name.startswith("test")]
        assert trial.data.params["impurity"] == "gini"
    assert max(trial.data.metrics["cv_accuracy"] for trial in trials) >= 0.95


def test_the_winner_is_the_simplest_within_one_standard_error(swept: Any) -> None:
    [run] = swept.steps("tune_mllib")
    trials = [trial.data.metrics for trial in trials_of(swept)]
    best = max(trials, key=lambda trial: trial["cv_f1_macro"])
    # Of five folds: the deviation has the divisor n, the error wants n - 1.
    bound = best["cv_f1_macro"] - best["cv_f1_macro_std"] / np.sqrt(4)
    octaves = {
        number: (round(np.log2(trial["size_mb"] * 1e6)), -trial["cv_f1_macro"], number)
        for number, trial in enumerate(trials)
        if trial["cv_f1_macro"] >= bound
    }
    winner = min(octaves, key=lambda number: octaves[number])
    assert run.data.tags["lifecycle.best_trial"] == str(winner)
    assert (run.data.params["best_maxBins"], run.data.params["best_maxDepth"]) == tuple(map(str, POINTS[winner]))
    assert run.data.metrics["cv_f1_macro"] == trials[winner]["cv_f1_macro"]


def test_the_run_says_what_it_is_worth(swept: Any) -> None:
    [run] = swept.steps("tune_mllib")
    metrics, tags = run.data.metrics, run.data.tags
    assert metrics["trials"] == 18 and metrics["failed_trials"] == 0
    for name in ("accuracy", "f1_macro", "precision_macro", "recall_macro", "roc_auc_ovr"):
        assert metrics[f"test_{name}"] > metrics[f"dummy_test_{name}"], name
    assert metrics["test_accuracy"] == pytest.approx(31 / 33)
    assert metrics["dummy_cv_accuracy"] < 0.5 and metrics["dummy_test_roc_auc_ovr"] == 0.5
    assert "lifecycle.test_read" in tags and "optimistic" not in tags
    settings = json.loads((swept.artifacts(run) / "settings.json").read_text(encoding="utf-8"))
    assert settings["own"]["sweep"] is True and settings["table"]["split"] == "hash"


def test_the_contour_is_of_the_trials(swept: Any) -> None:
    [run] = swept.steps("tune_mllib")
    frame = pd.read_csv(swept.artifacts(run) / "contour.csv")
    assert list(zip(frame["maxBins"], frame["maxDepth"], strict=True)) == POINTS
    expected = [trial.data.metrics["cv_accuracy"] for trial in trials_of(swept)]
    np.testing.assert_allclose(frame["score"], expected)
    assert (swept.artifacts(run) / "figures" / "contour.png").stat().st_size > 10_000


def test_nothing_lies_beside_the_store(swept: Any) -> None:
    there = {path.name for path in swept.folder.iterdir()} - {"mlflow.db-wal", "mlflow.db-shm"}
    assert there == {"mlflow.db", "mlruns"}
    [run] = swept.steps("tune_mllib")
    assert {path.name for path in (swept.artifacts(run) / "prepared").iterdir()} == {
        *("contract.json", "profile.csv", "findings.csv", "breaches.csv")
    }
    profile = pd.read_csv(swept.artifacts(run) / "prepared" / "profile.csv")
    assert profile.iloc[-1][["column", "role", "distinct"]].tolist() == ["species", "target", 3]


def test_done_before_it_is_taken_over_without_spark(swept: Any) -> None:
    done = swept.script("tune_mllib").well()
    assert "tune_mllib: done before in run" in done.out
    assert "Spark" not in done.err
    swept.client.delete_run(max(swept.steps("tune_mllib"), key=lambda run: run.info.start_time).info.run_id)


def test_the_winner_is_registered_and_says_the_flowers_names(swept: Any, project: Path) -> None:
    [run] = swept.steps("tune_mllib")
    done = swept.script("register", "--data", "iris", "--split", "hash").well()
    assert "decision tree of Spark of tune_mllib registered as models:/iris/1" in done.out
    [version] = swept.versions("iris").values()
    assert (version.run_id, version.current_stage) == (run.info.run_id, "Production")
    [model] = swept.models(run.info.run_id)
    folder = Path(model.artifact_location.removeprefix("file://"))
    contract = json.loads((folder / "extra_files" / "contract.json").read_text(encoding="utf-8"))
    assert contract["classes"] == ["setosa", "versicolor", "virginica"]
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").split()
    assert {line.partition("==")[0] for line in lines} >= {"mlflow", "pyspark"}
    rows = pd.read_csv(project / "data" / "iris.csv")
    script = swept.folder.parent / f"{swept.folder.name}.py"
    script.write_text(
        "import sys, json, mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model('models:/iris@champion')\n"
        "rows = pandas.read_csv(sys.argv[1]).drop(columns='species')\n"
        "rows.loc[0, 'petal_length'] = None\n"
        "print('\\n' + json.dumps(list(model.predict(rows))))\n"
    )
    said = swept.run(
        sys.executable, script, project / "data" / "iris.csv", MLFLOW_TRACKING_URI=swept.uri, SPARK_LOCAL_IP="127.0.0.1"
    ).well()
    predicted = json.loads(said.out.splitlines()[-1])
    assert np.mean(np.array(predicted) == rows["species"]) >= 0.95


def test_the_registered_winner_scores_a_table(swept: Any, project: Path) -> None:
    """Each row once, in its order; as many are right as the run's figures say."""
    done = swept.script("score", "--data", "iris").well()
    assert "score: 150 rows by models:/iris/1 in " in done.out
    [run] = swept.steps("score")
    found = pd.read_parquet(swept.artifacts(run) / "predictions.parquet")
    rows = pd.read_csv(project / "data" / "iris.csv")
    pd.testing.assert_frame_equal(found.drop(columns="prediction"), rows)
    [winner] = swept.steps("tune_mllib")
    figures = winner.data.metrics
    right = 117 * figures["train_accuracy"] + 33 * figures["test_accuracy"]
    assert (found["prediction"] == rows["species"]).sum() == round(right)


# A search that is interrupted.


def test_ctrl_c_says_the_best_so_far_and_how_it_goes_on(new_store: Callable[[], Any]) -> None:
    """Of estimators that only Spark has; and Spark does not tell what was cancelled."""
    store = new_store()
    command = [sys.executable, str(STEPS / "tune_mllib.py"), "--data", "diabetes", "--sweep", "false"]
    pipe, environment = subprocess.PIPE, store.environment(PYTHONUNBUFFERED="1")
    with subprocess.Popen(
        command, cwd=store.folder, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    ) as search:
        assert any("training and" in line for line in search.stdout or ())
        came = eventually(
            lambda: search.poll() is not None or any(memory.RECORD in run.data.tags for run in store.runs()),
            seconds=300,
        )
        search.send_signal(signal.SIGINT)
        out, err = search.communicate(timeout=60)
    assert came and search.returncode == 130, err
    [run] = store.steps("tune_mllib")
    said = r"tune_mllib: interrupted after \d of 16 trials; the best so far has cv_rmse \d.* \(model=\w+, .*\)\. "
    assert re.search(said + rf"The same command goes on, and so does it with -P resume={run.info.run_id}\.", out), out
    assert run.info.status == "KILLED"
    assert "Traceback" not in err and "\tat " not in err, err


@dataclass(frozen=True)
class Interrupted:
    """A search that was killed, and what became of it.

    Attributes
    ----------
    store : Store
        With both of its runs.
    left : list of Run
        The trials that were in it when it had been killed, the finished ones.
    done : str
        What the one that went on with it printed.
    """

    store: Any
    left: list[Any]
    done: str


@pytest.fixture(scope="module")
def interrupted(
    swept: Any,
    new_store: Callable[[], Any],
    serving: Callable[..., Any],
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Interrupted:
    """The sweep's first points, killed by -9 on this machine, and gone on with where the executors are killed, too."""
    store, folder = new_store(), tmp_path_factory.mktemp("cluster")

    def started(**variables: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(STEPS / "tune_mllib.py"), "--max_evals", str(FEW)]
        pipe, environment = subprocess.PIPE, store.environment(**variables)
        search = subprocess.Popen(
            command, cwd=store.folder, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        )
        stack.callback(search.kill)
        return search

    def trials(status: str) -> dict[str, Any]:
        every = [run for run in store.runs() if run.data.tags.get("lifecycle.step") == "trial"]
        return {run.info.run_id: run for run in every if run.info.status == status}

    with ExitStack() as stack:
        search = started(PYTHONUNBUFFERED="1")
        # By then it has made its store: asked earlier, mlflow would make it here at the same time.
        assert any("training and" in line for line in search.stdout or ())
        came = eventually(lambda: search.poll() is not None or len(trials("FINISHED")) >= 1, seconds=300)
        search.kill()
        _, err = search.communicate(timeout=60)
        assert came and search.returncode == -signal.SIGKILL, err
        left = trials("FINISHED")
        master = stack.enter_context(standalone.cluster(folder, 2, serving, free_port))
        # Executors need no python, unless rows are split by a column.
        search = started(MASTER=master, PYSPARK_PYTHON="no-such-python", MLFLOW_DFS_TMP=str(folder / "models"))
        came = eventually(lambda: search.poll() is not None or len(trials("FINISHED")) > len(left), seconds=300)
        executors = standalone.executors(folder)
        # So that whatever they are given stays with them until they die.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for executor in executors:
                os.kill(executor, number)
            time.sleep(2)
        out, err = search.communicate(timeout=240)
        assert came and executors and search.returncode == 0, err
    return Interrupted(store, [*left.values()], out)


def test_after_a_kill_finished_trials_stay_and_are_not_fitted_again(interrupted: Interrupted) -> None:
    store, left = interrupted.store, interrupted.left
    killed, on = store.steps("tune_mllib")
    assert f"tune_mllib: goes on with run {killed.info.run_id}, {len(left)} trials are done." in interrupted.done
    assert (killed.info.status, on.info.status) == ("KILLED", "FINISHED")
    before = {trial.info.run_id: trial for trial in trials_of(store, killed)}
    for trial in left:
        now = before[trial.info.run_id]
        assert (now.info.status, now.info.end_time) == ("FINISHED", trial.info.end_time)
        assert now.data.metrics == trial.data.metrics
    names = [trial.info.run_name for trial in trials_of(store, on)]
    assert sorted(names + [trial.info.run_name for trial in left]) == [f"{number:03d} dtc" for number in range(FEW)]


def test_a_cluster_whose_executors_die_gives_what_this_machine_does(swept: Any, interrupted: Interrupted) -> None:
    """To the last figure, since trees count rows; and its model is logged."""
    _, there = interrupted.store.steps("tune_mllib")
    found = sorted(interrupted.left + trials_of(interrupted.store, there), key=lambda trial: trial.info.run_name)
    for one, other in zip(trials_of(swept)[:FEW], found, strict=True):
        assert other.info.status == "FINISHED", other.data.tags
        assert other.data.params == one.data.params
        assert untimed(other) == untimed(one)
    assert there.data.metrics["failed_trials"] == 0
    [model] = interrupted.store.models(there.info.run_id)
    assert (Path(model.artifact_location.removeprefix("file://")) / "sparkml" / "metadata").is_dir()


def untimed(run: Any) -> dict[str, float]:
    """Return a run's metrics that are no times."""
    return {name: value for name, value in run.data.metrics.items() if "seconds" not in name}

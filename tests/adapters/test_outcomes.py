"""What a search tells of its result: predictions kept, limits held, a comparison and a sentence."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lifecycle.adapters import outcomes, predictions, tracking
from lifecycle.adapters.predictions import Keeper, columns_of, of_frame
from lifecycle.contract import Column, Contract
from lifecycle.honest import Compared, Corrected, Interval, Predictions
from lifecycle.metrics import BINARY, REGRESSION, Metric
from lifecycle.table import PreparedTable
from lifecycle.trials import FAILED, INFEASIBLE, Task, TrialRecord

F1, RMSE = BINARY["f1"], REGRESSION["rmse"]
COLUMN = (Column("x", "numeric", "float64"),)
TWO = Contract("y", "classification", ("no", "yes"), "yes", "random", columns=COLUMN)
THREE = Contract("y", "classification", (1, 2, 3), None, "time", columns=COLUMN)
QUANTITY = Contract("y", "regression", (), None, "random", columns=COLUMN)


def table(contract: Contract, labels: list[Any]) -> PreparedTable:
    """Make a table of six rows in three folds."""
    rows = pd.DataFrame({"x": np.arange(6.0)})
    return PreparedTable(contract, rows, pd.Series(labels), np.array([2, 1, 0, 0, 1, 2]))


LABELS = table(TWO, ["no", "yes"] * 3)


class Written:
    """A run that remembers what is written into its children."""

    def __init__(self) -> None:
        self.files: dict[str, pd.DataFrame] = {}

    def child_file(self, run_id: str, path: Path) -> None:
        assert path.name == "oof.parquet"
        self.files[run_id] = pd.read_parquet(path)

    def delete_child_file(self, run_id: str, name: str) -> None:
        assert name == "oof.parquet"
        del self.files[run_id]


def record(number: int, score: float, **more: Any) -> TrialRecord:
    return TrialRecord(number, {"model": "rf"}, score=score, out_of_fold=said(number), **more)


def said(number: int = 0) -> Predictions:
    return Predictions(np.array([0, 1, 0, 1, 1, 1], np.int16), np.arange(6.0) + number)


# ------------------------------------------------------------------------------------- predictions


def test_predictions_stand_beside_their_row_and_fold() -> None:
    found = pd.DataFrame({name: column.to_pylist() for name, column in columns_of(said(), LABELS).items()})
    assert found.to_dict("list") == {
        "row": [2, 3, 1, 4, 0, 5],
        "fold": [0, 0, 1, 1, 2, 2],
        "predicted": ["no", "yes", "no", "yes", "yes", "yes"],
        "response": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    }


@pytest.mark.parametrize(
    ("one", "kept"),
    [
        (LABELS, said()),
        # Of a time split the first block is validated by none.
        (
            table(THREE, [1, 2, 3] * 2),
            Predictions(np.array([0, 1, 2, 0], np.int16), np.arange(12.0).reshape(4, 3)),
        ),
        (table(QUANTITY, [1.5] * 6), Predictions(np.arange(6.0))),
    ],
    ids=["two classes", "three classes in time", "a quantity"],
)
def test_predictions_are_read_as_they_were_written(one: PreparedTable, kept: Predictions, tmp_path: Path) -> None:
    run = Written()
    trial = TrialRecord(0, {"model": "rf"}, score=0.5, out_of_fold=kept)
    Keeper(run, one, F1).trial("a", trial)  # type: ignore[arg-type]
    back = of_frame(run.files["a"], one)
    assert back is not None
    assert back.predicted.tolist() == kept.predicted.tolist()
    assert back.predicted.dtype == kept.predicted.dtype
    assert (back.response is None) == (kept.response is None)
    if kept.response is not None and back.response is not None:
        assert back.response.tolist() == kept.response.tolist()


def test_predictions_of_other_rows_or_labels_are_not_taken() -> None:
    frame = pd.DataFrame({name: column.to_pylist() for name, column in columns_of(said(), LABELS).items()})
    assert of_frame(frame.iloc[:5], LABELS) is None
    assert of_frame(frame.assign(row=frame["row"][::-1].to_numpy()), LABELS) is None
    assert of_frame(frame.assign(predicted="perhaps"), LABELS) is None


def test_of_a_large_table_the_ten_best_so_far_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MOST_ROWS", 5)
    for metric, best in ((F1, range(15, 25)), (RMSE, range(10))):
        run, records = Written(), [record(number, float(number)) for number in range(25)]
        keeper = Keeper(run, LABELS, metric)  # type: ignore[arg-type]
        for one in records:
            keeper.trial(str(one.number), one)
        assert set(run.files) == {str(number) for number in best}
        assert [one.number for one in records if one.out_of_fold is not None] == list(best)


def test_of_a_large_table_the_ten_best_are_those_of_a_search_and_of_what_it_goes_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predictions, "MOST_ROWS", 5)
    run, records = Written(), [record(number, float(number)) for number in range(16)]
    earlier = Keeper(run, LABELS, F1)  # type: ignore[arg-type]
    for one in records[:12]:
        one.run_id = str(one.number)
        earlier.trial(one.run_id, one)
    monkeypatch.setattr(tracking, "has_artifact", lambda run_id, name: run_id in run.files and name == "oof.parquet")
    later = Keeper(run, LABELS, F1)  # type: ignore[arg-type]
    later.past(records[:12])
    for one in records[12:]:
        later.trial(str(one.number), one)
    assert set(run.files) == {str(number) for number in range(6, 16)}


def test_of_a_small_table_every_finished_trial_keeps_its_own() -> None:
    run = Written()
    records = [record(0, 0.1), record(1, math.nan, status=FAILED), record(2, 0.9, status=INFEASIBLE), record(3, 0.2)]
    for one in records:
        Keeper(run, LABELS, F1).trial(str(one.number), one)  # type: ignore[arg-type]
    assert set(run.files) == {"0", "3"}
    assert [one.out_of_fold is None for one in records] == [False, True, True, False]


@pytest.mark.parametrize(("metric", "kept"), [(F1, False), (BINARY["roc_auc"], True)])
def test_a_record_keeps_its_responses_only_where_the_metric_ranks(metric: Metric, kept: bool) -> None:
    run, one = Written(), record(0, 0.5)
    Keeper(run, LABELS, metric).trial("a", one)  # type: ignore[arg-type]
    assert one.out_of_fold is not None
    assert (one.out_of_fold.response is not None) == kept
    assert "response" in run.files["a"]


# ---------------------------------------------------------------------------------------- sentence

BESIDE = {
    "winner": Compared(Interval(0.7123, 0.62, 0.79), Interval(0.0, 0.0, 0.0)),
    "default": Compared(Interval(0.65, 0.5, 0.7), Interval(0.0623, 0.0123, 0.1234)),
    "dummy": Compared(Interval(0.3675, 0.3, 0.4), Interval(0.34, 0.2, 0.4)),
}
CORRECTED = Corrected(0.74, Interval(0.7311, 0.7, 0.76), 1000, 3)


def test_one_sentence_says_what_a_winner_is_worth() -> None:
    records = [record(0, 0.7461), record(1, 0.5), record(2, math.nan, status=FAILED)]
    assert outcomes.sentence(F1, records, records[0], BESIDE, CORRECTED) == (
        "cv F1 0.746 was the best of 3; corrected for the choice 0.731; on the test rows 0.712 (0.62 to 0.79), against "
        "0.65 for the defaults (difference 0.062, 0.012 to 0.12) and 0.367 for the best constant."
    )


def test_a_winner_that_predicts_what_its_defaults_do_is_told_as_such() -> None:
    records = [record(0, 0.7461)]
    same = BESIDE | {"default": Compared(BESIDE["winner"].score, Interval(0.0, 0.0, 0.0))}
    assert outcomes.sentence(F1, records, records[0], same, CORRECTED).endswith(
        "on the test rows 0.712 (0.62 to 0.79), the same as the defaults, against 0.367 for the best constant."
    )


def test_the_sentence_says_who_was_better_and_counts_the_infeasible() -> None:
    records = [record(0, 0.7461), record(1, 0.74), record(2, 0.9, status=INFEASIBLE)]
    found = outcomes.sentence(F1, records, records[1], BESIDE, CORRECTED)
    assert found.startswith(
        "cv F1 0.74 is the simplest within one standard error of the best of 3, 0.746 (1 infeasible); corrected"
    )


def test_without_folds_nothing_is_corrected_and_without_defaults_they_are_not_named() -> None:
    only = {name: one for name, one in BESIDE.items() if name != "default"}
    for metrics, rows in (({"train_f1": 0.9, "test_f1": 0.7123}, "test"), ({"cv_f1": 0.7123}, "cv")):
        best = record(0, 0.7123, metrics=metrics)
        assert outcomes.sentence(F1, [best], best, only, None) == (
            f"{rows} F1 0.712 was the best of 1; on the test rows 0.712 (0.62 to 0.79), against 0.367 for the best "
            "constant."
        )


def test_what_the_test_rows_do_not_define_is_not_told_as_a_number() -> None:
    nan = Interval(math.nan, math.nan, math.nan)
    undefined = dict.fromkeys(BESIDE, Compared(nan, nan))
    best = record(0, 0.7123)
    assert outcomes.sentence(BINARY["roc_auc"], [best], best, undefined, CORRECTED) == (
        "cv ROC AUC 0.712 was the best of 1; corrected for the choice 0.731; on the test rows ROC AUC is not defined."
    )


def test_a_winner_that_is_not_among_the_ten_best_is_corrected_too() -> None:
    """Its predictions are made again; the rule takes the simplest, which of a large table may have kept none."""
    records = [record(number, 0.9, metrics={"cv_f1": 0.9, "cv_f1_std": 0.1}, folds_done=3) for number in range(3)]
    best = replace(records[0], number=3, values={"model": "logreg", "C": 2.0}, out_of_fold=None)

    class Again:
        test, seed = None, 1

        def __call__(self, number: int, task: Task) -> TrialRecord:
            assert (number, task) == (3, Task({"model": "logreg", "C": 2.0}))
            return record(3, 0.9)

    step = SimpleNamespace(contract=TWO, table=LABELS)
    found = outcomes._corrected(step, F1, Again(), [*records, best], best)  # type: ignore[arg-type]
    assert found is not None
    # By hand: four rows are guessed yes, three are, fold after fold.
    truth = np.array([0, 1, 1, 0, 0, 1])
    hits = int(((said(3).predicted == 1) & (truth == 1)).sum())
    assert (found.trials, found.pooled) == (4, pytest.approx(2 * hits / (4 + 3)))
    Again.test = object()  # type: ignore[assignment]
    best.out_of_fold = None
    assert outcomes._corrected(step, F1, Again(), [*records, best], best) is None  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def searched(new_store: Callable[[], Any]) -> tuple[Any, Any]:
    """A search typed as a user would, over two kinds of model, of which the forests are too large."""
    store = new_store()
    options = ("--data", "iris", "--models", "logreg,rf", "--max_evals", "8", "--max_size_mb", "0.05")
    return store, store.script("tune_multi", *options).well()


@pytest.mark.whole
def test_a_search_tracks_what_its_winner_is_worth(searched: tuple[Any, Any]) -> None:
    store, done = searched
    [run] = store.steps("tune_multi")
    found = run.data.metrics
    name = "f1_macro"
    assert found[f"bbc_{name}_low"] < found[f"bbc_{name}"] < found[f"bbc_{name}_high"]
    assert found["optimism"] == pytest.approx(found[f"pooled_{name}"] - found[f"bbc_{name}"])
    assert found["test_gap"] == pytest.approx(found[f"cv_{name}"] - found[f"test_{name}"])
    assert found[f"test_{name}_low"] <= found[f"test_{name}"] <= found[f"test_{name}_high"]
    for other in ("default", "dummy"):
        difference = found[f"test_{name}"] - found[f"{other}_test_{name}"]
        assert found[f"diff_{other}_{name}"] == pytest.approx(difference)
        assert found[f"diff_{other}_{name}_low"] <= difference <= found[f"diff_{other}_{name}_high"]
    assert 0 < found[f"default_cv_{name}"] <= 1
    frame = pd.read_csv(store.artifacts(run) / "comparison.csv")
    assert frame["model"].tolist() == ["winner", "default", "dummy"]
    assert frame["score"].tolist() == pytest.approx([found[f"{of}test_{name}"] for of in ("", "default_", "dummy_")])
    [said] = [line for line in done.out.splitlines() if "corrected for the choice" in line]
    assert re.match(
        r"tune_multi: cv macro F1 0\.\d+ .* of 8.* \(\d infeasible\); corrected for the choice 0\.\d+; ", said
    )


@pytest.mark.whole
def test_every_trial_tracks_its_cost_and_the_infeasible_never_win(searched: tuple[Any, Any]) -> None:
    store, _ = searched
    [run] = store.steps("tune_multi")
    trials = [one for one in store.children(run.info.run_id) if one.data.tags["lifecycle.step"] == "trial"]
    assert {one.info.status for one in trials} == {"FINISHED"}
    over = [one for one in trials if one.data.tags.get("lifecycle.trial") == "infeasible"]
    assert {one.data.params["model"] for one in over} == {"rf"}
    assert run.data.metrics["infeasible_trials"] == len(over)
    assert run.data.params["best_model"] == "logreg"
    for one in trials:
        assert one.data.metrics["latency_ms"] > 0
        assert (one.data.metrics["size_mb"] > 0.05) == (one in over)
        assert (store.artifacts(one) / "oof.parquet").exists() == (one not in over)
    size = over[0].data.metrics["size_mb"]
    assert over[0].data.tags["lifecycle.reason"] == f"max_size_mb: {size:.4g} is over 0.05"


@pytest.mark.whole
def test_kept_predictions_give_the_tracked_score(searched: tuple[Any, Any]) -> None:
    """By scikit-learn, from the two artifacts alone."""
    from sklearn.metrics import f1_score

    store, _ = searched
    [run], [prepared] = store.steps("tune_multi"), store.steps("prepare")
    train = pd.read_parquet(store.artifacts(prepared) / "prepared" / "train.parquet")
    number = run.data.tags["lifecycle.best_trial"]
    [best] = [one for one in store.children(run.info.run_id) if one.info.run_name.startswith(f"{int(number):03d} ")]
    kept = pd.read_parquet(store.artifacts(best) / "oof.parquet")
    truth = train["species"].to_numpy()[kept["row"]]
    assert (train["__fold__"].to_numpy()[kept["row"]] == kept["fold"]).all()
    scores = [
        f1_score(truth[kept["fold"] == fold], kept["predicted"][kept["fold"] == fold], average="macro")
        for fold in range(5)
    ]
    assert best.data.metrics["cv_f1_macro"] == pytest.approx(np.mean(scores))
    assert run.data.metrics["pooled_f1_macro"] == pytest.approx(f1_score(truth, kept["predicted"], average="macro"))


@pytest.mark.whole
def test_where_no_trial_keeps_within_a_limit_one_sentence_says_the_least(new_store: Callable[[], Any]) -> None:
    store = new_store()
    done = store.script("tune_lr", "--data", "iris", "--max_evals", "2", "--max_size_mb", "0.0001")
    assert done.code == 2
    [said] = done.errors
    least = min(
        one.data.metrics["size_mb"] for one in store.runs() if one.data.tags.get("lifecycle.trial") == "infeasible"
    )
    assert said == (
        f"Error: max_size_mb: none of 2 trials keeps within 0.0001 MB, the least found is {least:.3g}; give more than "
        "that, name smaller or faster models, or search longer."
    )
    assert "Traceback" not in done.err


@pytest.mark.whole
def test_on_test_rows_there_is_a_comparison_and_no_correction(new_store: Callable[[], Any]) -> None:
    store = new_store()
    options = ("--data", "diabetes", "--models", "ridge,lasso", "--max_evals", "3", "--select_on", "test")
    store.script("tune_multi", *options).well()
    [run] = store.steps("tune_multi")
    found = run.data.metrics
    assert {"diff_default_rmse", "diff_dummy_rmse", "test_rmse_low"} <= set(found)
    assert not {"bbc_rmse", "optimism", "test_gap", "default_cv_rmse"} & set(found)
    assert found["diff_dummy_rmse_high"] < 0
    trials = [one for one in store.children(run.info.run_id) if one.data.tags["lifecycle.step"] == "trial"]
    assert all(one.data.metrics["size_mb"] > 0 for one in trials)
    assert not [one for one in trials if (store.artifacts(one) / "oof.parquet").exists()]
    assert json.loads((store.artifacts(run) / "settings.json").read_text(encoding="utf-8"))


@pytest.mark.whole
def test_defaults_that_take_too_long_are_left_out_and_the_search_ends_well(
    new_store: Callable[[], Any], tmp_path: Path
) -> None:
    """The declared forest is one stump; at its defaults a hundred grown trees take far longer than allowed."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(8_000, 12)), columns=[f"x{number}" for number in range(12)])
    rows.assign(y=np.where(rng.random(8_000) < 0.5, "yes", "no")).to_csv(tmp_path / "noise.csv", index=False)
    (tmp_path / "space.yaml").write_text("rf: {n_estimators: 1, max_depth: 1}\n")
    store = new_store()
    store.script(
        "tune_multi",
        *("--data", tmp_path / "noise.csv", "--target", "y", "--space", tmp_path / "space.yaml"),
        *("--max_evals", "1", "--trial_timeout", "2"),
    ).well()
    [search] = store.steps("tune_multi")
    found = search.data.metrics
    assert search.info.status == "FINISHED"
    assert {"test_f1_low", "diff_dummy_f1", "test_gap", "bbc_f1"} <= set(found)
    assert not {name for name in found if "default" in name}

"""A search's settings for one table: which models, which rows, which threshold."""

import os
import re
import signal
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow.sklearn
import pandas as pd
import pytest
import requests
from mlflow.exceptions import MlflowException
from typed import options

from lifecycle import mllib
from lifecycle.adapters import cli, flavors, memory, patience, searches, steps, tracking
from lifecycle.contract import Column, Contract
from lifecycle.errors import StoreAwayError, UserError
from lifecycle.metrics import BINARY, REGRESSION
from lifecycle.models import MODELS, make_estimator, pipeline, space_for
from lifecycle.search import Suggester, best_record
from lifecycle.settings import SearchSettings
from lifecycle.spaces import Space, Values
from lifecycle.trials import TrialRecord

LARGE = Contract(
    "y", "classification", ("no", "yes"), "yes", "stratified", columns=(Column("x", "numeric", "DOUBLE"),), rows=30_000
)
REST = ("logreg", "lda", "dtc", "rf", "extra_trees", "hist_gradient_boosting", "xgboost")
QUANTITY = replace(LARGE, task="regression", classes=(), positive=None)


def test_a_model_that_the_table_is_too_large_for_is_left_out() -> None:
    assert searches.settings_for("tune_multi", options(), LARGE).models == REST


def test_a_sample_that_is_small_enough_brings_it_back() -> None:
    found = searches.settings_for("tune_multi", options(max_rows=20_000), LARGE)
    assert found.models == tuple(MODELS["classification"])
    assert found.max_rows == 20_000


def test_asked_for_by_name_it_is_refused_with_what_would_do() -> None:
    with pytest.raises(
        UserError,
        match=r"^models: the table has 30,000 training rows, of which it takes at most 20,000 \(svm\); "
        r"set max_rows=20000, or use one of logreg, lda, dtc, rf, extra_trees, hist_gradient_boosting, xgboost\.$",
    ):
        searches.settings_for("tune_multi", options(models="svm"), LARGE)
    assert searches.settings_for("tune_multi", options(models="svm", max_rows=9_000), LARGE).models == ("svm",)


@pytest.mark.parametrize(("asked", "used"), [(0, 0), (29_999, 29_999), (30_000, 0), (10**9, 0)])
def test_a_sample_of_all_rows_is_no_sample(asked: int, used: int) -> None:
    """So that it is the same work, found again by its key."""
    assert steps.training_settings(options(max_rows=asked), LARGE)["max_rows"] == used


def test_a_threshold_needs_two_classes() -> None:
    assert searches.settings_for("tune_lr", options(threshold="best_f1"), LARGE).threshold == "best_f1"
    with pytest.raises(UserError, match=r"^threshold: 'best_f1' needs a target of two classes, but 'y' is a quantity;"):
        searches.settings_for("tune_multi", options(threshold="best_f1"), QUANTITY)


@pytest.mark.parametrize("name", ["timeout", "trial_timeout"])
@pytest.mark.parametrize("seconds", [float("inf"), 1e11])
def test_seconds_that_no_clock_takes_are_refused(name: str, seconds: float) -> None:
    with pytest.raises(
        UserError, match=rf"^{name}: {re.escape(f'{seconds:g}')} seconds are more than .* give at most 1000000000, .*"
    ):
        searches.check(options(**{name: seconds}))
    searches.check(options(**{name: 1e9}))


def test_java_is_asked_for_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"^engine: spark needs Java, and none was found on PATH or in JAVA_HOME; .*"):
        searches.check(options(engine="spark"))
    searches.check(options(engine="local"))


@pytest.mark.parametrize("engine", ["local", "spark"])
def test_no_more_workers_than_trials_are_handed_to_at_once(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = options(max_evals=1000, parallelism=64, engine=engine)
    settings = searches.settings_for("tune_multi", asked, LARGE)
    assert searches._engine(settings, None).workers == 8
    assert capsys.readouterr().out == "parallelism: 64 trials at once, a search has points for 8: 8 are used.\n"
    assert searches._engine(replace(settings, max_evals=3, parallelism=8), None).workers == 3
    assert not capsys.readouterr().out


def test_the_record_is_kept_where_the_store_goes_away_as_its_model_is_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def log_model(*_: object, **named: object) -> None:
        raise MlflowException("no answer") from requests.ConnectionError("refused")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    outbox = patience.Outbox(patience.Patient(None, patience.Waiting("here")))
    monkeypatch.setattr(tracking, "outbox", lambda: outbox)
    monkeypatch.setattr(mlflow.sklearn, "log_model", log_model)
    monkeypatch.setattr(flavors, "_inside", lambda _: nullcontext())
    rows = pd.DataFrame({"x": [0.0, 1.0]})
    model = pipeline(LARGE, make_estimator("classification", {"model": "logreg"}, 0)).fit(rows, ["no", "yes"])
    run = tracking.StepRun("search", "0", "tune_lr")
    step = SimpleNamespace(run=run)
    record = TrialRecord(0, {"model": "logreg"}, run_id="child")
    plan = SimpleNamespace(keep=lambda one: flavors.log_pipeline(run, model, LARGE, rows, "k", one.run_id))
    with pytest.raises(StoreAwayError, match=r"^MLFLOW_TRACKING_URI: the tracking store here has not answered"):
        searches._keep(step, plan, record, {})
    [file] = tmp_path.glob("lifecycle-unsent-*.jsonl")
    assert [(write["do"], write["run_id"]) for write in patience.kept(file)] == [("batch", "child"), ("end", "child")]


def test_ctrl_c_that_nobody_looked_at_interrupts_when_the_block_ends() -> None:
    with pytest.raises(KeyboardInterrupt, match="^$"), cli.Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)


def test_ctrl_c_after_the_last_trial_says_how_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    done = [TrialRecord(number, {"model": "logreg", "C": 1.0}, score=0.5) for number in range(4)]
    monkeypatch.setattr(searches, "Objective", lambda *_: None)
    monkeypatch.setattr(searches, "Keeper", lambda *_: SimpleNamespace(past=lambda records: None))
    monkeypatch.setattr(searches, "past_of", lambda *_: memory.Past())
    monkeypatch.setattr(searches, "trials", lambda *_: (done, done[0], done[0]))
    monkeypatch.setattr(searches, "_draw", interrupted)
    run = SimpleNamespace(run_id="r1", log=lambda **_: None)
    asked = options(models="logreg", fresh=False)
    step = SimpleNamespace(name="tune_multi", options=asked, contract=LARGE, table=None, run=run, begin=lambda _: False)
    with pytest.raises(KeyboardInterrupt, match="^$"):
        searches.run(step)
    said = capsys.readouterr().out
    assert "interrupted after 4 of 4 trials; the best so far has cv_f1 0.5 (model=logreg, C=1.0)." in said
    assert "-P resume=r1." in said


def test_an_interrupted_search_over_other_models_says_how_it_goes_on_and_anew_it_would_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The estimators of Spark have ranks of their own."""
    metric, ranks = REGRESSION["rmse"], mllib.ranks_of("regression")
    done = [TrialRecord(number, {"model": model}, score=2.0 - number) for number, model in enumerate(("dtr", "linreg"))]
    plan = SimpleNamespace(best=lambda records: best_record(records, metric, "regression", ranks=ranks))
    run = SimpleNamespace(run_id="r1", log=lambda **_: None)
    step = SimpleNamespace(name="tune_mllib", options=options(fresh=True), contract=QUANTITY, run=run)
    settings = SearchSettings(("dtr", "linreg"), "rmse", 8)
    with pytest.raises(KeyboardInterrupt), searches.told_if_interrupted(step, settings, metric, plan, done):
        raise KeyboardInterrupt
    assert capsys.readouterr().out == (
        "tune_mllib: interrupted after 2 of 8 trials; the best so far has cv_rmse 1 (model=linreg). It goes on with "
        "-P resume=r1.\n"
    )


@pytest.mark.parametrize(("begun", "points"), [(None, 8), (4, 4)])
def test_a_search_that_is_gone_on_with_keeps_the_warm_points_that_it_began_with(
    monkeypatch: pytest.MonkeyPatch, begun: int | None, points: int
) -> None:
    """For half of 8 trials it began with 4; asked for 16, the fifth point would take the place of one tried since."""
    space, written = space_for(("logreg",), LARGE), dict[str, str]()
    values = suggested(space, 20)
    monkeypatch.setattr(memory, "points_of", lambda *_: values)
    data = SimpleNamespace(tags={"lifecycle.warm_points": str(begun)})
    monkeypatch.setattr(tracking, "run_of", lambda run_id: SimpleNamespace(data=data))
    run = SimpleNamespace(run_id="r2", log=lambda tags: written.update(tags))
    step = SimpleNamespace(name="tune_lr", contract=LARGE, run=run)
    settings = SearchSettings(("logreg",), "f1", 16, warm_start="r0")
    past = memory.Past("r1") if begun else memory.Past()
    assert searches._warm(step, settings, BINARY["f1"], space, past) == values[:points]
    assert written == {"lifecycle.warm_points": str(points)}


def suggested(space: Space, many: int) -> list[Values]:
    suggester = Suggester(space, "rand", BINARY["f1"], 1, [])
    return [suggester.ask(number) for number in range(many)]

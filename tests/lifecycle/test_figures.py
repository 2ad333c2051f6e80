"""The frames by their numbers, worked out by hand; the drawings by being drawn."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from pandas.testing import assert_frame_equal

from lifecycle import figures

NAN, INF = np.nan, np.inf
LABELS = ["no", "no", "yes", "yes"]
SCORES = [0.1, 0.4, 0.35, 0.8]


def png(figure: Figure) -> bytes:
    """Draw a figure, any warning being an error in this suite."""
    memory = io.BytesIO()
    figure.savefig(memory, format="png")
    return memory.getvalue()


def words(figure: Figure) -> str:
    """Return all that is written in a figure, once it has been drawn."""
    png(figure)
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


def category(values: list, categories: list) -> pd.Categorical:
    """Make a column ``class`` of the frames."""
    return pd.Categorical(values, categories=categories)


SWEEP = pd.DataFrame(
    {"bins": [5, 7, 9] * 2, "depth": [2] * 3 + [3] * 3, "score": [0.5, 0.6, 0.7, 0.8, 0.9, 0.9]},
)


def test_contour_marks_the_best_and_says_how_many():
    text = words(figures.draw_contour(SWEEP, "sweep", "accuracy, 5 folds"))
    for said in ("6 trials", "bins", "depth", "best: 0.900 (2)", "others, from 0.500", "accuracy, 5 folds"):
        assert said in text
    lost = SWEEP.assign(score=[NAN, *SWEEP["score"].iloc[1:]])
    assert "6 trials, 1 failed" in words(figures.draw_contour(lost, "sweep", "accuracy"))


@pytest.mark.parametrize("rows", [1, 2])
def test_contour_of_too_few_trials_has_dots_alone(rows: int):
    assert f"best: {SWEEP['score'].iloc[rows - 1]:.3f} (1)" in words(
        figures.draw_contour(SWEEP.head(rows), "sweep", "accuracy")
    )
    assert "no trial has a score" in words(figures.draw_contour(SWEEP.assign(score=NAN), "sweep", "accuracy"))


# ---------------------------------------------------------------------------------------- curves


def test_roc_of_the_positive_class():
    """Four rows: each threshold lets in one row more."""
    expected = pd.DataFrame(
        {
            "class": category(["yes"] * 5, ["yes"]),
            "fpr": [0.0, 0.0, 0.5, 0.5, 1.0],
            "tpr": [0.0, 0.5, 0.5, 1.0, 1.0],
            "threshold": [INF, 0.8, 0.4, 0.35, 0.1],
        }
    )
    assert_frame_equal(figures.roc_frame(LABELS, SCORES, ["no", "yes"], "yes"), expected)
    assert_frame_equal(figures.roc_frame(LABELS, SCORES, ["no", "yes"]), expected)


def test_roc_where_the_positive_class_comes_first():
    """The scores are those of `positive`, wherever it stands among the classes."""
    frame = figures.roc_frame(LABELS, [0.9, 0.8, 0.2, 0.1], ["no", "yes"], positive="no")
    assert list(frame["class"].unique()) == ["no"]
    assert frame["tpr"].tolist() == [0.0, 0.5, 1.0, 1.0]
    assert frame["fpr"].tolist() == [0.0, 0.0, 0.0, 1.0]


THREE = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]])


def test_roc_of_each_class_against_the_rest():
    """Class 1 and 2 are found first; class 3's row comes first too, for its column alone counts."""
    frame = figures.roc_frame([1, 2, 3], THREE, [1, 2, 3])
    expected = pd.DataFrame(
        {
            "class": category([1] * 3 + [2] * 3 + [3] * 3, [1, 2, 3]),
            "fpr": [0.0, 0.0, 1.0] * 3,
            "tpr": [0.0, 1.0, 1.0] * 3,
            "threshold": [INF, 0.8, 0.2, INF, 0.5, 0.1, INF, 0.4, 0.1],
        }
    )
    assert_frame_equal(frame, expected)
    assert_frame_equal(
        figures.roc_frame([1, 2, 3], THREE, [1, 2, 3], positive=2),
        expected[3:6].assign(**{"class": category([2] * 3, [2])}).reset_index(drop=True),
    )


def test_precision_and_recall_of_the_positive_class():
    """From the best score down: 1/1, 1/2, 2/3 and 2/4 of the rows let in are positive."""
    expected = pd.DataFrame(
        {
            "class": category(["yes"] * 5, ["yes"]),
            "recall": [0.0, 0.5, 0.5, 1.0, 1.0],
            "precision": [1.0, 1.0, 0.5, 2 / 3, 0.5],
            "threshold": [NAN, 0.8, 0.4, 0.35, 0.1],
            "prevalence": [0.5] * 5,
        }
    )
    assert_frame_equal(figures.precision_recall_frame(LABELS, SCORES, ["no", "yes"], "yes"), expected)


def test_areas_in_the_legends():
    """AUC: 3 of 4 pairs in order. AP: half the recall at precision 1, half at 2/3."""
    roc = figures.draw_roc(figures.roc_frame(LABELS, SCORES, ["no", "yes"]), "ROC")
    assert "yes: AUC 0.750" in words(roc)
    curve = figures.draw_precision_recall(
        figures.precision_recall_frame(LABELS, SCORES, ["no", "yes"]), "precision and recall"
    )
    assert "yes: AP 0.833 (0.500)" in words(curve)


FRAMES = [
    (figures.roc_frame, figures.draw_roc),
    (figures.precision_recall_frame, figures.draw_precision_recall),
    (figures.calibration_frame, figures.draw_calibration),
]
both = pytest.mark.parametrize(("frame_of", "draw"), FRAMES)


@both
def test_one_class_only_is_said(frame_of: Callable, draw: Callable):
    """A test table without positives gives no curve and no crash."""
    frame = frame_of(["no", "no"], [0.2, 0.3], ["no", "yes"], "yes")
    assert frame.empty
    assert list(frame["class"].cat.categories) == ["yes"]
    assert "not defined: one class only" in words(draw(frame, "one class"))
    everything = frame_of([1, 1, 1], THREE, [1, 2, 3])
    assert everything.empty
    assert "not defined: one class only" in words(draw(everything, "one class"))


@both
def test_a_class_without_rows_is_named(frame_of: Callable, draw: Callable):
    """The other classes keep their curves."""
    frame = frame_of([1, 2, 2], THREE, [1, 2, 3])
    assert list(frame["class"].unique()) == [1, 2]
    assert "3: not defined, no rows" in words(draw(frame, "no row of class 3"))


@both
def test_scores_that_do_not_fit_are_refused(frame_of: Callable, draw: Callable):
    """One sentence each, with the values."""
    with pytest.raises(ValueError, match=r"positive must be one of the classes \['no', 'yes'\], got 'maybe'"):
        frame_of(LABELS, SCORES, ["no", "yes"], "maybe")
    with pytest.raises(ValueError, match=r"go with two classes, got 3"):
        frame_of(LABELS, SCORES, ["no", "yes", "maybe"])
    with pytest.raises(ValueError, match=r"shape \(n,\) or \(n, 2\) .* got \(3, 3\)"):
        frame_of([1, 2, 3], THREE, [1, 2])
    with pytest.raises(ValueError, match=r"one row for each of the 4 labels, got 2"):
        frame_of(LABELS, [0.1, 0.2], ["no", "yes"])
    with pytest.raises(ValueError, match=r"must be finite, 1 of 4 are not"):
        frame_of(LABELS, [0.1, NAN, 0.2, 0.3], ["no", "yes"])


@pytest.mark.parametrize("labels", [[0, 1], [False, True], ["a", "b"], [0.5, 1.5]])
def test_labels_keep_their_type(labels: list):
    """Whatever a table uses for its classes."""
    frame = figures.roc_frame([labels[0], labels[1]], [0.1, 0.9], labels)
    assert frame["class"].tolist() == [labels[1]] * len(frame)


# ------------------------------------------------------------------------------------- confusion


def test_confusion_counts_and_shares():
    """Three rows are a, one of them taken for b; the one b is taken for a; no row is c."""
    expected = pd.DataFrame(
        {
            "actual": list("aaabbbccc"),
            "predicted": list("abcabcabc"),
            "rows": [2, 1, 0, 1, 0, 0, 0, 0, 0],
            "share": [2 / 3, 1 / 3, 0.0, 1.0, 0.0, 0.0, NAN, NAN, NAN],
        }
    )
    assert_frame_equal(figures.confusion_frame(list("aaab"), list("aaba"), list("abc")), expected)


def test_confusion_loses_no_row():
    """Labels that the model does not know come last."""
    frame = figures.confusion_frame([1, 9], [1, 1], [1, 2])
    assert frame["actual"].unique().tolist() == [1, 2, 9]
    assert frame["rows"].sum() == 2
    with pytest.raises(ValueError, match=r"each of the 2 labels, got 1"):
        figures.confusion_frame([1, 2], [1], [1, 2])


@pytest.mark.parametrize("size", [1, 2, 3, 10, 13, 25])
def test_confusion_draws(size: int):
    """Cells hold count and percent as long as there is room."""
    names = [f"a class of a rather long name {place}" for place in range(size)]
    figure = figures.draw_confusion(figures.confusion_frame(names * 3, names * 3, names), "confusion")
    assert 5_000 < len(png(figure)) < 500_000
    assert ("3\n100%" in words(figure)) == (size <= 12)


# ----------------------------------------------------------------------------------- calibration


def test_calibration_by_quantile_bins():
    """Two bins of four rows: a quarter and three quarters, predicted and observed."""
    probabilities = [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]
    actual = ["n", "n", "y", "n", "y", "y", "n", "y"]
    expected = pd.DataFrame(
        {
            "class": category(["y", "y"], ["y"]),
            "predicted": [0.25, 0.75],
            "observed": [0.25, 0.75],
            "rows": [4, 4],
        }
    )
    assert_frame_equal(figures.calibration_frame(actual, probabilities, ["n", "y"], "y", bins=2), expected)


def test_calibration_keeps_equal_probabilities_together():
    """A tree that says 0 or 1 has two bins, however many are asked for."""
    frame = figures.calibration_frame([0, 0, 1, 1, 1], [0.0, 0.0, 0.0, 1.0, 1.0], [0, 1])
    assert frame["predicted"].tolist() == [0.0, 1.0]
    assert frame["observed"].tolist() == pytest.approx([1 / 3, 1.0])
    assert frame["rows"].tolist() == [3, 2]
    with pytest.raises(ValueError, match=r"bins must be at least 1, got 0"):
        figures.calibration_frame([0, 1], [0.0, 1.0], [0, 1], bins=0)


# ------------------------------------------------------------------------------------ regression


def test_residual_is_actual_minus_predicted():
    """In the order of the rows, as floats."""
    expected = pd.DataFrame({"actual": [3.0, 5.0], "predicted": [2.5, 7.0], "residual": [0.5, -2.0]})
    assert_frame_equal(figures.predicted_frame([3, 5], [2.5, 7]), expected)
    with pytest.raises(ValueError, match=r"one shape \(n,\), got \(2,\) and \(3,\)"):
        figures.predicted_frame([3, 5], [1, 2, 3])


@pytest.mark.parametrize("draw", [figures.draw_predicted, figures.draw_residuals])
def test_regression_says_its_numbers(draw: Callable):
    """Residuals 3 and -1: RMSE the root of 5, MAE 2, mean 1; the row without a prediction is counted."""
    frame = figures.predicted_frame([10.0, 5.0, 1.0], [7.0, 6.0, NAN])
    text = " ".join(words(draw(frame, "two rows", "price")).split())
    assert "2 rows; RMSE 2.24; MAE 2.00; mean residual 1.00; not drawn: 1 without a prediction" in text


@pytest.mark.parametrize("draw", [figures.draw_predicted, figures.draw_residuals])
@pytest.mark.parametrize("rows", [0, 1, 2, 5_000, 60_000])
def test_regression_draws_any_number_of_rows(draw: Callable, rows: int):
    """The file of many rows stays small."""
    values = np.random.default_rng(0).normal(50_000, 9_000, rows)
    figure = draw(figures.predicted_frame(values, values * 0.9), "many rows", "price")
    assert 5_000 < len(png(figure)) < 250_000


@pytest.mark.parametrize("draw", [figures.draw_predicted, figures.draw_residuals])
def test_constant_predictions_draw(draw: Callable):
    """No range, no crash."""
    assert png(draw(figures.predicted_frame([2.0] * 6_000, [2.0] * 6_000), "constant", "price"))


def test_coefficients_by_size():
    """The greatest absolute estimate first, one that is missing last, ties as given."""
    frame = figures.coefficient_frame(["a", "b", "c", "d"], [1, -3, NAN, -1], [0, -4, NAN, -2], [2, -2, NAN, 0])
    expected = pd.DataFrame(
        {
            "column": ["b", "a", "d", "c"],
            "estimate": [-3.0, 1.0, -1.0, NAN],
            "lower": [-4.0, 0.0, -2.0, NAN],
            "upper": [-2.0, 2.0, 0.0, NAN],
        }
    )
    assert_frame_equal(frame, expected)
    assert figures.coefficient_frame(["a"], [1.0])["lower"].isna().all()
    with pytest.raises(ValueError, match=r"upper must have the shape \(1,\), one for each name, got \(2,\)"):
        figures.coefficient_frame(["a"], [1.0], [0.0], [1.0, 2.0])


def test_coefficients_say_how_many_are_left_out():
    """Thirty are drawn."""
    names = [f"column {place}" for place in range(34)]
    text = words(figures.draw_coefficients(figures.coefficient_frame(names, np.arange(34.0)), "coefficients"))
    assert "the 30 largest of 34, 4 smaller ones left out" in text
    assert "column 4" in text
    assert "column 3\n" not in text
    assert "interval" not in text


@pytest.mark.parametrize("estimates", [[], [0.0], [NAN], [INF, 1.0], [2e12, -3e-9]])
def test_odd_coefficients_draw(estimates: list[float]):
    """Near-singular fits give such numbers."""
    frame = figures.coefficient_frame([f"c{k}" for k in range(len(estimates))], estimates, estimates, estimates)
    figure = figures.draw_coefficients(frame, "odd", level=0.9)
    assert len(png(figure)) > 5_000


# -------------------------------------------------------------------------------------- searches

TRIALS = pd.DataFrame(
    {
        "trial": [0, 1, 2, 3, 5, 4],
        "model": ["rf", "svm", "rf", "rf", "svm", "svm"],
        "score": [NAN, 0.4, 0.3, 0.9, 0.6, 0.5],
        "status": ["fail", "ok", "ok", "fail", "OK", "FINISHED"],
    }
)


def test_the_best_so_far_knows_its_direction():
    """Trials in order; trial 3 failed after a score, which does not count."""
    up = figures.search_frame(TRIALS, greater_is_better=True)
    assert list(up.columns) == ["trial", "model", "score", "status", "failed", "best"]
    assert up["trial"].tolist() == [0, 1, 2, 3, 4, 5]
    assert up["failed"].tolist() == [True, False, False, True, False, False]
    np.testing.assert_array_equal(up["best"], [NAN, 0.4, 0.4, 0.4, 0.5, 0.6])
    down = figures.search_frame(TRIALS, greater_is_better=False)
    np.testing.assert_array_equal(down["best"], [NAN, 0.4, 0.3, 0.3, 0.3, 0.3])


def test_search_says_best_direction_and_baseline():
    """A number has a name, a direction and a baseline beside it."""
    frame = figures.search_frame(TRIALS, greater_is_better=True)
    text = words(figures.draw_search(frame, "search", "f1", baseline=0.25))
    for said in (
        "6 trials, 2 failed",
        "f1 (higher is better)",
        "best so far: 0.600 (trial 5)",
        "dummy: 0.250",
    ):
        assert said in text
    frame = figures.search_frame(TRIALS, greater_is_better=False)
    text = words(figures.draw_search(frame, "search", "rmse", baseline=0.25, baseline_name="mean"))
    for said in ("rmse (lower is better)", "best so far: 0.300 (trial 2)", "mean: 0.250"):
        assert said in text


@pytest.mark.parametrize("baseline", [None, NAN, 0.3])
@pytest.mark.parametrize("rows", [0, 1, 6])
def test_a_search_that_failed_draws(baseline: float | None, rows: int):
    """No winner, and the picture says so."""
    lost = TRIALS.head(rows).assign(score=NAN, status="fail")
    frame = figures.search_frame(lost, greater_is_better=True)
    assert frame["best"].isna().all()
    assert "no trial has a score" in words(figures.draw_search(frame, "lost", "f1", baseline))


def test_trials_that_were_ended_early_are_not_called_failed():
    status = ["pruned", "finished", "finished", "pruned", "finished", "finished"]
    scored = TRIALS.assign(score=[0.5, 0.6, 0.7, 0.4, 0.65, 0.7])
    frame = figures.search_frame(scored.assign(status=status), greater_is_better=True)
    text = words(figures.draw_search(frame, "search", "f1"))
    assert "6 trials, 2 ended early" in text
    assert "ended early (2)" in text
    mixed = scored.assign(status=["pruned", "infeasible", "failed", *status[3:]])
    frame = figures.search_frame(mixed, greater_is_better=True)
    assert "failed or ended early or over a limit (4)" in words(figures.draw_search(frame, "search", "f1"))


def test_a_trial_over_a_limit_is_not_called_failed_alone():
    trials = TRIALS.assign(status=["infeasible", *TRIALS["status"].iloc[1:]])
    frame = figures.search_frame(trials, greater_is_better=True)
    text = words(figures.draw_search(frame, "search", "f1"))
    lost = int(frame["failed"].sum())
    assert f"6 trials, {lost} failed or over a limit" in text
    assert f"failed or over a limit ({lost})" in text


def test_a_wild_score_does_not_squash_the_rest():
    """It is marked at the edge, and counted."""
    trials = pd.DataFrame(
        {
            "trial": range(9),
            "model": "ridge",
            "score": [7.5, 7.6, 7.7, 7.4, 7.6, 7.5, 7.8, 1e9, 7.6],
            "status": "ok",
        }
    )
    figure = figures.draw_search(figures.search_frame(trials, greater_is_better=False), "wild", "rmse", 9.9)
    assert "beyond the axis (1)" in words(figure)
    assert figure.axes[0].get_ylim()[1] < 12


# ------------------------------------------------------------------------------------ scoreboard

ROWS = [
    {"table": "trips", "step": "baseline", "model": "linear", "metric": "rmse", "cv": 7.5, "cv_std": 0.1,
     "test": 7.6, "dummy": 9.9, "chosen": False},
    {"table": "churn", "step": "tune_lr", "model": "logreg", "metric": "f1", "cv": None, "dummy": 0.38},
    {"table": "trips", "step": "tune_multi", "model": "rf", "metric": "rmse", "cv": 6.25, "cv_std": 0.2,
     "test": 6.5, "dummy": 9.9, "chosen": True},
    {"table": "churn", "step": "baseline", "model": "logreg", "metric": "f1", "cv": 0.29, "cv_std": 0.05,
     "test": 0.27, "dummy": 0.38, "chosen": False},
]  # fmt: skip


def test_scoreboard_ranks_within_each_table():
    """Low RMSE first, a missing score last, tables as they come."""
    expected = pd.DataFrame(
        {
            "table": ["trips", "trips", "churn", "churn"],
            "step": ["tune_multi", "baseline", "baseline", "tune_lr"],
            "model": ["rf", "linear", "logreg", "logreg"],
            "metric": ["rmse", "rmse", "f1", "f1"],
            "greater_is_better": [False, False, True, True],
            "cv": [6.25, 7.5, 0.29, NAN],
            "cv_std": [0.2, 0.1, 0.05, NAN],
            "test": [6.5, 7.6, 0.27, NAN],
            "dummy": [9.9, 9.9, 0.38, 0.38],
            "chosen": [True, False, False, False],
        }
    )
    assert_frame_equal(figures.scoreboard_frame(ROWS), expected)


def test_scoreboard_takes_the_direction_it_is_given():
    """For metrics whose name says nothing."""
    rows = [
        {"table": "t", "step": "s", "model": name, "metric": "cost", "greater_is_better": False, "cv": cv}
        for name, cv in (("a", 2.0), ("b", 1.0))
    ]
    assert figures.scoreboard_frame(rows)["model"].tolist() == ["b", "a"]
    with pytest.raises(ValueError, match=r"needs 'model', got only \['step', 'table'\]"):
        figures.scoreboard_frame([{"table": "t", "step": "s"}])


def test_scoreboard_prints_every_value():
    """Score, spread, test, dummy, direction, and who was chosen."""
    figure = figures.draw_scoreboard(figures.scoreboard_frame(ROWS))
    text = words(figure)
    for said in (
        "trips",
        "rf  ·  tune_multi",
        "6.25 ± 0.20",
        "6.50",
        "dummy 9.90",
        "dummy 0.380",
        "0.290 ± 0.050",
    ):
        assert said in text.split("\n")
    assert "← rmse: lower is better" in text
    assert "f1: higher is better →" in text
    assert 8 <= figure.get_figwidth() <= 11
    assert figure.dpi == 120
    assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 9


@pytest.mark.parametrize("rows", [[], ROWS[1:2], [{**ROWS[0], "cv": INF, "test": NAN, "dummy": NAN}]])
def test_an_empty_scoreboard_draws(rows: list):
    """Nothing scored, nothing to draw, no crash."""
    assert len(png(figures.draw_scoreboard(figures.scoreboard_frame(rows)))) > 5_000


# --------------------------------------------------------------------------------- every drawing


def every_drawing() -> dict[str, Figure]:
    """One figure of each kind."""
    rng = np.random.default_rng(1)
    classes = ["$5", "$10 & more", "none_"]
    actual = rng.choice(classes, 120)
    shares = rng.dirichlet([1, 1, 1], 120)
    pairs = figures.predicted_frame(rng.normal(size=80), rng.normal(size=80))
    return {
        "roc": figures.draw_roc(figures.roc_frame(actual, shares, classes), "ROC"),
        "precision_recall": figures.draw_precision_recall(
            figures.precision_recall_frame(actual, shares, classes), "precision and recall"
        ),
        "confusion": figures.draw_confusion(figures.confusion_frame(actual, actual[::-1], classes), "confusion"),
        "calibration": figures.draw_calibration(figures.calibration_frame(actual, shares, classes), "calibration"),
        "predicted": figures.draw_predicted(pairs, "predicted", "price in $ and $"),
        "residuals": figures.draw_residuals(pairs, "residuals", "price in $ and $"),
        "coefficients": figures.draw_coefficients(
            figures.coefficient_frame(["$a$", "b"], [1, 2], [0, 1], [2, 3]), "coefficients"
        ),
        "search": figures.draw_search(figures.search_frame(TRIALS, greater_is_better=True), "search", "f1", 0.3),
        "scoreboard": figures.draw_scoreboard(figures.scoreboard_frame(ROWS)),
    }


@pytest.mark.parametrize("name", sorted(every_drawing()))
def test_drawings_are_repeatable(name: str):
    """The same frame gives the same bytes, under whatever settings of matplotlib's fonts."""
    first = png(every_drawing()[name])
    assert first.startswith(b"\x89PNG")
    assert 5_000 < len(first) < 250_000
    with mpl.rc_context({"font.family": "serif"}):
        assert png(every_drawing()[name]) == first


def test_dollars_in_names_stay_dollars():
    """Matplotlib would read two of them as mathematics."""
    drawings = every_drawing()
    assert all(not text.get_parse_math() for text in drawings["confusion"].findobj(Text))
    assert "actual price in $ and $" in words(drawings["predicted"])


def test_nothing_global_is_touched():
    """Importing and drawing load no pyplot."""
    steps = Path(figures.__file__).parents[1]
    code = (
        "import sys; from lifecycle import figures as f; "
        "f.draw_roc(f.roc_frame([0, 1], [0.1, 0.9], [0, 1]), 't').canvas.draw(); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(steps)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == "False"

"""The benchmark of quality: what its tables and pictures say of given cells."""

import math
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
NAN = float("nan")


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import quality

    return quality


def cell(way: str, seed: int, test: float, scores: list[float | None], table: str = "churn") -> dict[str, Any]:
    metric = "rmse" if table == "taxi" else "f1"
    return {
        "table": table,
        "seed": seed,
        "way": way,
        "most": 0,
        "budget": 10.0,
        "metric": metric,
        "times": [float(place + 1) for place in range(len(scores))],
        "scores": scores,
        "winner": "rf",
        "cv": 0.5,
        "test": test,
        "search": 10.0,
    }


def test_the_best_after_some_trials_passes_over_what_has_no_score(quality: Any) -> None:
    one = cell("ours", 1, 0.7, [0.5, None, 0.7, NAN, 0.6])
    assert [quality.best_after(one, trials, smaller=False) for trials in (1, 2, 5)] == [0.5, 0.5, 0.7]
    assert quality.best_after(one, 5, smaller=True) == 0.5
    assert math.isnan(quality.best_after(one, 6, smaller=False))


def test_the_interval_is_students(quality: Any) -> None:
    """Of 1, 2, 3: mean 2, standard error 1 / sqrt(3), and 4.303 of them on each side (two degrees of freedom)."""
    assert quality.interval([1.0, 2.0, 3.0]) == pytest.approx((2, 2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), rel=1e-5)


def test_differences_are_paired_by_seed_and_above_zero_where_ours_is_better(quality: Any) -> None:
    churn = [cell("ours", 1, 0.7, []), cell("ours", 2, 0.8, []), cell("flaml", 2, 0.75, []), cell("flaml", 3, 0.9, [])]
    assert quality.differences(churn, "churn", "flaml") == pytest.approx([5])
    taxi = [cell("ours", 1, 6.0, [], "taxi"), cell("flaml", 1, 8.0, [], "taxi")]
    assert quality.differences(taxi, "taxi", "flaml") == pytest.approx([25])
    # Cells that count trials have no say in what equal seconds give.
    counted = [one | {"most": 64} for one in churn]
    assert quality.differences(counted, "churn", "flaml") == []


def test_the_course_is_of_the_seeds_that_have_a_score_by_then(quality: Any) -> None:
    cells = [cell("ours", seed, 0, [0.5 + seed / 10, None, 0.9]) for seed in (1, 2, 3)]
    found = quality.course(cells, 4, smaller=False)
    assert found[0] == pytest.approx((1.0, 0.7, 0.65, 0.75))
    assert found[-1] == pytest.approx((4.0, 0.9, 0.9, 0.9))


def test_tables_and_pictures_are_made_of_cells(quality: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [
        cell(way, seed, 0.7 + seed / 100, [0.5 + place / 100 for place in range(64)], table)
        for table in ("churn", "taxi")
        for way in ("ours", "flaml")
        for seed in (1, 2, 3)
    ]
    text = quality.text_of(cells)
    assert "| churn, f1 | ours | 0.57 (0.57 to 0.57) | 0.65 (0.65 to 0.65) |" in text
    assert "| taxi, rmse | FLAML on the same folds | 0.5 (0.5 to 0.5) |" in text
    assert "| +0.00 (+0.00 to +0.00) | rf (3 of 3) |" in text
    monkeypatch.setattr(quality, "PAGE", tmp_path / "quality.md")
    quality.draw(cells)
    assert {path.name for path in tmp_path.iterdir()} == {"quality.png", "quality_difference.png"}

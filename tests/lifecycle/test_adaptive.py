"""hyperopt's adaptive TPE: repeatable, and a sentence where it cannot run."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from hyperopt import Trials
from hyperopt.base import Domain

from lifecycle import adaptive
from lifecycle.metrics import BINARY
from lifecycle.search import Suggester
from lifecycle.spaces import (
    Choice,
    Integers,
    LogNormal,
    LogUniform,
    Normal,
    Range,
    Rounded,
    Steps,
    Uniform,
    Values,
    compile_space,
    point_for,
    values_of,
)
from lifecycle.trials import FAILED, FINISHED, TrialRecord

SPACE: dict[str, dict[str, Range]] = {
    "a": {"x": LogUniform(0.01, 10), "n": Steps(1, 9)},
    "b": {"w": Choice((None, "balanced"))},
}


def searched(seed: int) -> list[Values]:
    """Ask for some points, each told before the next."""
    suggester = Suggester(SPACE, "atpe", BINARY["accuracy"], seed)
    values = []
    for number in range(4):
        values.append(suggester.ask(number))
        suggester.tell(TrialRecord(number, values[-1], score=0.5 + number / 10))
    return values


def test_a_seed_gives_the_same_points_and_leaves_chance_as_it_was():
    pytest.importorskip("lightgbm")
    random.seed(1)
    np.random.seed(1)
    expected = (random.random(), np.random.random())
    random.seed(1)
    np.random.seed(1)
    one = searched(3)
    assert (random.random(), np.random.random()) == expected
    assert searched(3) == one
    assert searched(4) != one
    for values in one:
        assert values_of(SPACE, point_for(SPACE, values)) == values


def test_trials_that_failed_do_not_end_the_search():
    """At first all of them; a failed one counts as the worst that was scored."""
    pytest.importorskip("lightgbm")
    suggester = Suggester(SPACE, "atpe", BINARY["accuracy"], 3)
    for number in range(4):
        values = suggester.ask(number)
        failed = number != 2
        suggester.tell(TrialRecord(number, values, FAILED if failed else FINISHED, float("nan") if failed else 0.7))
    told = adaptive._with_losses(suggester._trials.trials)
    assert [document["result"]["loss"] for document in told] == [-0.7] * 4
    assert suggester._trials.statuses() == ["fail", "fail", "ok", "fail"]


@pytest.mark.parametrize(
    ("name", "one"),
    [
        ("pchoice", Choice((1, 2), (0.5, 0.5))),
        ("qnormal", Rounded(Normal(9, 1), 1)),
        ("qlognormal", Rounded(LogNormal(2, 1), 1)),
    ],
)
def test_ranges_that_it_does_not_know_are_refused(name: str, one: Range, refused: Callable):
    with refused(
        f"algo: atpe does not know {name} (x of m); declare another distribution, or use one of tpe, rand, anneal."
    ):
        adaptive.check_space(SPACE | {"m": {"y": Choice((1, 2)), "x": one}})


def test_ranges_that_it_knows_are_searched():
    """All that can be declared but those; every model's own are among them."""
    pytest.importorskip("lightgbm")
    known: dict[str, Range] = {
        "choice": Choice((None, 1)),
        "uniform": Uniform(2, 3),
        "normal": Normal(0, 1),
        "lognormal": LogNormal(0, 1),
        "randint": Integers(3, 9),
        "qloguniform": Rounded(LogUniform(10, 1000), 10),
    }
    space = SPACE | {"m": known}
    adaptive.check_space(space)
    suggester = Suggester(space, "atpe", BINARY["accuracy"], 3)
    for number in range(3):
        values = suggester.ask(number)
        suggester.tell(TrialRecord(number, values, score=number / 10))
        assert values_of(space, point_for(space, values)) == values


def test_without_lightgbm_it_is_refused(monkeypatch: pytest.MonkeyPatch, refused: Callable):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with refused(
        "algo: atpe needs lightgbm, which is not installed; install it by "
        "`uv pip install lightgbm -c requirements.txt`, or use one of tpe, rand, anneal."
    ):
        adaptive.check_installed()


def test_the_space_is_compiled_as_for_the_others():
    pytest.importorskip("lightgbm")
    [document] = adaptive.suggest([0], Domain(lambda point: 0.0, compile_space(SPACE)), Trials(), 7)
    point = {label: drawn[0] for label, drawn in document["misc"]["vals"].items() if len(drawn)}
    assert values_of(SPACE, point)["model"] in SPACE

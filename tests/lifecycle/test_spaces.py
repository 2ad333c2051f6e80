"""Ranges: they check themselves, and what hyperopt draws from them is within them and of the right type."""

import json
from typing import Any

import numpy as np
import pytest
from hyperopt import Trials, rand
from hyperopt.base import Domain
from hypothesis import given
from hypothesis import strategies as st
from ranges import spaces

from lifecycle.contract import Column, Contract
from lifecycle.models import MODELS
from lifecycle.spaces import (
    Choice,
    Integers,
    LogNormal,
    LogUniform,
    Normal,
    Range,
    Rounded,
    Space,
    Steps,
    Uniform,
    Values,
    compile_space,
    point_for,
    point_of,
    values_of,
)


class Drawer:
    """Draws points of a space by hyperopt's random search."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.domain = Domain(lambda point: 0.0, compile_space(space))

    def point(self, seed: int) -> dict[str, Any]:
        [document] = rand.suggest([0], self.domain, Trials(), seed)
        return {label: drawn[0] for label, drawn in document["misc"]["vals"].items() if len(drawn)}

    def values(self, seed: int) -> Values:
        return values_of(self.space, self.point(seed))


def draws(one: Range, times: int) -> list:
    """Draw from a range many times."""
    drawer = Drawer({"m": {"h": one}})
    return [drawer.values(seed)["h"] for seed in range(times)]


seeds = st.integers(0, 2**31 - 1)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Choice(()), "a choice needs at least one option"),
        (lambda: LogNormal(0, 0), "a lognormal range needs sigma above 0, got 0"),
        (lambda: LogNormal(0, -1), "a lognormal range needs sigma above 0, got -1"),
        (lambda: LogNormal(0, float("nan")), "a lognormal range needs sigma above 0, got nan"),
        (lambda: LogUniform(0, 1), "a loguniform range needs 0 < low < high, got 0 and 1"),
        (lambda: LogUniform(2, 2), "a loguniform range needs 0 < low < high, got 2 and 2"),
        (lambda: LogUniform(-1, 2), "a loguniform range needs 0 < low < high, got -1 and 2"),
        (lambda: Uniform(1, 1), "a uniform range needs low < high, got 1 and 1"),
        (lambda: Uniform(2, 1), "a uniform range needs low < high, got 2 and 1"),
        (lambda: Steps(3, 3), r"steps need low < high and a step above 0, got Steps\(low=3, high=3, step=1\)"),
        (lambda: Steps(1, 3, 0), "steps need low < high and a step above 0, got .*step=0"),
        (lambda: Steps(1, 9, 3), "steps from low must reach high, got .*step=3"),
        (lambda: Choice(("1", 1)), "a choice needs options that differ, got 1 twice"),
        (lambda: Choice(("a", "b"), (0.5, 0.4)), "a choice needs a probability above 0 for each option, 1 together"),
        (lambda: Choice(("a", "b"), (1.0,)), "a choice needs a probability above 0 for each option, 1 together"),
        (lambda: Choice(("a", "b"), (1.0, 0.0)), "a choice needs a probability above 0 for each option, 1 together"),
        (lambda: Normal(0, -1), "a normal range needs sigma above 0, got -1"),
        (lambda: Normal(float("inf"), 1), "a normal range needs finite numbers, got inf and 1"),
        (lambda: Uniform(0, float("inf")), "a uniform range needs finite numbers, got 0 and inf"),
        (lambda: LogUniform(1, float("inf")), "a loguniform range needs finite numbers, got 1 and inf"),
        (lambda: Integers(3, 3), "a randint range needs low < high, got 3 and 3"),
        (lambda: Rounded(Normal(0, 1), 0), "a rounded range needs a step above 0, got 0"),
        (lambda: Rounded(LogUniform(1, 100), 10), "a rounded range needs ends that are multiples of 10, got 1"),
        # What neither hyperopt nor a double can hold.
        (lambda: Uniform(0, 10**400), r"a uniform range needs numbers up to 1e\+100, got 0 and 1000"),
        (lambda: Uniform(0, 1.7e308), r"a uniform range needs numbers up to 1e\+100, got 0 and 1.7e\+308"),
        (lambda: LogNormal(1000, 1), "a lognormal range needs mu and sigma of the logarithm, got 1000 and 1, whose"),
        (lambda: Steps(1, 10**400), r"a range in steps needs numbers up to 1e\+100, got 1"),
        (
            lambda: Steps(0.0, 1e20, 1e-10),
            r"a range in steps needs at most 1e\+15 multiples of the step, got one of 1e",
        ),
        (lambda: Rounded(LogUniform(1.0, 1e20), 1e-10), r"a rounded range needs at most 1e\+15 multiples of the step"),
        (lambda: Rounded(Normal(0, 1), 5e-324), "a rounded range needs a step of at least 1e-100, got 5e-324"),
        (lambda: Integers(0, 10**9), "a randint range needs at most 1,000,000 numbers, got 1,000,000,000"),
        (lambda: Integers(0, 10**400), r"a randint range needs numbers up to 1e\+100, got 0 and 1000"),
    ],
)
def test_a_range_checks_itself(make: Any, sentence: str):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        make()


def test_whole_ends_may_be_larger_than_numpys_whole_numbers():
    for one in (LogUniform(1, 10**25), Rounded(LogUniform(10**12, 10**25), 10**12)):
        assert compile_space({"m": {"x": one}}) is not None


@given(
    low=st.floats(-100, 100), width=st.floats(0.01, 50), positive=st.floats(1e-4, 10), times=st.floats(1.1, 1e4),
    mean=st.floats(-2, 2), sigma=st.floats(0.1, 2), seed=seeds,
)  # fmt: skip
def test_numbers_are_drawn_within_their_range(
    low: float, width: float, positive: float, times: float, mean: float, sigma: float, seed: int
):
    space = {
        "m": {
            "uniform": Uniform(low, low + width),
            "loguniform": LogUniform(positive, positive * times),
            "lognormal": LogNormal(mean, sigma),
        }
    }
    values = Drawer(space).values(seed)
    assert low <= values["uniform"] <= low + width
    # The ends pass through a logarithm and back.
    assert positive * (1 - 1e-12) <= values["loguniform"] <= positive * times * (1 + 1e-12)
    assert values["lognormal"] > 0
    assert [type(value) for value in values.values()] == [str, float, float, float]


@given(low=st.integers(0, 20), steps=st.integers(1, 20), step=st.integers(1, 60), seed=seeds)
def test_steps_are_drawn_on_their_places(low: int, steps: int, step: int, seed: int):
    """From multiples of the step, as all of ours are."""
    one = Steps(low * step, (low + steps) * step, step)
    value = Drawer({"m": {"h": one}}).values(seed)["h"]
    assert value in range(one.low, one.high + 1, one.step)
    assert type(value) is int


@pytest.mark.parametrize(("low", "high", "step"), [(1, 10, 3), (5, 25, 10)])
def test_steps_start_at_their_low_end(low: int, high: int, step: int):
    """Also where it is no multiple of the step; a range that cannot be stepped through may be refused."""
    try:
        one = Steps(low, high, step)
    except ValueError:
        return
    assert set(draws(one, 150)) <= set(range(low, high + 1, step))


@pytest.mark.parametrize("one", [Steps(1, 3), Steps(100, 500, 50), Steps(2, 12), Steps(0, 1)])
def test_both_ends_of_steps_come_up_as_often_as_the_rest(one: Steps):
    places = range(one.low, one.high + 1, one.step)
    found = draws(one, 100 * len(places))
    # Each is expected 100 times, with a standard deviation below 10.
    assert all(60 < found.count(place) < 140 for place in places)


def test_a_choice_gives_the_value_and_not_its_place():
    options = ("balanced", None, 0, 7.5, ("a", 1))
    found = draws(Choice(options), 200)
    assert set(found) == set(options)
    assert draws(Choice(("only",)), 3) == ["only"] * 3


def test_lognormal_and_loguniform_have_their_middle():
    """Half of the draws are below e of a lognormal of mean 1, and below 1 of a loguniform of 0.01 to 100."""
    logs = np.log(draws(LogNormal(1, 0.5), 600))
    assert np.mean(logs) == pytest.approx(1, abs=0.08)
    assert np.std(logs) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.array(draws(LogUniform(0.01, 100), 600)) < 1) == pytest.approx(0.5, abs=0.08)


# ------------------------------------------------------------------------------ there and back


@given(space=spaces, seed=seeds)
def test_a_point_is_found_again_from_its_values_and_from_the_record_of_them(space: Space, seed: int):
    """To the last bit and of the very type: otherwise a search that is resumed would not know its own points."""
    drawer = Drawer(space)
    point = drawer.point(seed)
    values = values_of(space, point)
    again = point_for(space, values)
    assert set(again) == set(point)
    assert repr(values_of(space, again)) == repr(values)
    recorded = json.loads(json.dumps(values))
    assert repr(recorded) == repr(values)
    assert point_for(space, recorded) == again
    for label, number in again.items():
        assert number == pytest.approx(point[label], rel=1e-9)


def test_a_point_holds_what_hyperopt_would():
    space = {"svm": {"C": LogNormal(0, 1)}, "rf": {"depth": Steps(2, 12, 2), "weight": Choice((None, "balanced"))}}
    assert point_for(space, {"model": "svm", "C": 2.5}) == {"model": 0, "svm.C": 2.5}
    found = point_for(space, {"model": "rf", "depth": 8, "weight": "balanced"})
    assert found == {"model": 1, "rf.depth": 3.0, "rf.weight": 1}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"model": "tree"}, "the space has no 'tree'"),
        ({"model": "m", "a": 1}, "m is searched over other hyperparameters: b differ"),
        ({"model": "m", "a": 1, "b": 2.0, "c": 1}, "m is searched over other hyperparameters: c differ"),
        ({"model": "m", "a": 4, "b": 2.0}, r"a of m: 4 is not in Steps\(low=1, high=3, step=1\)"),
        ({"model": "m", "a": True, "b": 2.0}, "a of m: True is not in Steps"),
        ({"model": "m", "a": 1, "b": 2.5}, r"b of m: 2.5 is not in Uniform\(low=1.0, high=2.0\)"),
        ({"model": "m", "a": 1, "b": "2"}, "b of m: '2' is not in Uniform"),
    ],
)
def test_values_that_the_space_does_not_hold_are_told(values: Values, sentence: str):
    space = {"m": {"a": Steps(1, 3), "b": Uniform(1.0, 2.0)}}
    with pytest.raises(ValueError, match=f"^{sentence}"):
        point_for(space, values)


def test_an_option_is_not_another_that_equals_it():
    space = {"m": {"a": Choice((1, "x"))}}
    for other in (True, 1.0, "1"):
        with pytest.raises(ValueError, match=r"^a of m: .* is none of \[1, 'x'\]"):
            point_for(space, {"model": "m", "a": other})


@pytest.mark.parametrize(
    ("one", "value"),
    [(Steps(0.1, 0.5, 0.1), 0.3), (Rounded(LogUniform(0.1, 0.5), 0.1), 0.3), (Rounded(LogUniform(10, 500), 10), 30)],
)
def test_steps_that_are_no_binary_fractions_are_written_as_people_do(one: Range, value: float):
    found = draws(one, 200)
    assert value in found
    assert {len(str(number)) for number in found} <= {2, 3}


def test_probabilities_that_are_rounded_will_do():
    space = {"m": {"k": Choice(("a", "b", "c"), (0.5000003, 0.5000003, 1e-8))}}
    [document] = rand.suggest([0], Domain(lambda point: 0.0, compile_space(space)), Trials(), 1)
    assert document["misc"]["vals"]["m.k"][0] in (0, 1, 2)


def test_options_come_up_as_often_as_their_probability_says():
    found = draws(Choice(("a", None), (0.9, 0.1)), 400)
    assert 330 < found.count("a") < 390


def test_whole_numbers_without_an_order_are_below_their_upper_end():
    assert set(draws(Integers(2, 5), 100)) == {2, 3, 4}


# ----------------------------------------------------------------------------------- whole spaces


def contract(task: str, classes: tuple = (), features: int = 4) -> Contract:
    """Make a contract of some numeric columns."""
    columns = tuple(Column(f"x{i}", "numeric", "float64", low=0.0, high=1.0) for i in range(features))
    return Contract("y", task, classes, None, "random", columns=columns)


WHOLE = {
    "two classes": contract("classification", (0, 1)),
    "three classes": contract("classification", ("a", "b", "c")),
    "quantity": contract("regression"),
    "one column": contract("classification", (0, 1), features=1),
}


def holds(one: Range, value: Any) -> bool:
    """Tell whether a value is of a range, by what the range says of itself."""
    if isinstance(one, Choice):
        return any(value is option or (type(value) is type(option) and value == option) for option in one.options)
    if isinstance(one, Steps):
        return type(value) is int and value in range(one.low, one.high + 1, one.step)
    if isinstance(one, LogNormal):
        return type(value) is float and value > 0
    return type(value) is float and one.low * (1 - 1e-12) <= value <= one.high * (1 + 1e-12)


@pytest.mark.parametrize("what", WHOLE)
def test_points_of_every_model_become_its_values(what: str):
    """Each model comes up, with its own hyperparameters alone, each within its range."""
    table = WHOLE[what]
    space = {name: model.space(table) for name, model in MODELS[table.task].items()}
    drawer = Drawer(space)
    seen = set()
    for seed in range(120):
        point = drawer.point(seed)
        values = values_of(space, point)
        model = values.pop("model")
        seen.add(model)
        assert set(values) == set(space[model])
        # Nothing is drawn for the other models.
        assert len(point) == 1 + len(values)
        for name, value in values.items():
            assert holds(space[model][name], value), (model, name, value)
    assert seen == set(space)


def test_equal_points_are_told_and_others_told_apart():
    one = {"model": "a", "C": 1.0, "kernel": None}
    assert point_of(one) == point_of({"kernel": None, "C": 1.0, "model": "a"})
    assert point_of(one) != point_of(one | {"C": 1.0000000001})
    assert point_of(one) != point_of(one | {"kernel": "None"})
    assert point_of(one) != point_of(one | {"model": "b"})


def test_two_models_may_share_the_name_of_a_hyperparameter():
    drawer = Drawer({"a": {"n": Steps(1, 3)}, "b": {"n": Steps(10, 13)}})
    found = {(values["model"], values["n"] >= 10) for values in map(drawer.values, range(60))}
    assert found == {("a", False), ("b", True)}

"""Spaces that are declared: what they become, and the sentence for what cannot be searched over."""

import json
import re
from typing import Any

import pytest
import yaml
from hyperopt import Trials, rand, tpe
from hyperopt.base import JOB_STATE_DONE, Domain
from hypothesis import given
from ranges import spaces

from lifecycle.contract import Column, Contract
from lifecycle.declared import DISTRIBUTIONS, declared_space, space_of, space_text
from lifecycle.errors import UserError
from lifecycle.models import MODEL_NAMES, MODELS
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
    compile_space,
    point_for,
    values_of,
)

NUMBERS = "logreg: {C: {loguniform: [0.001, 100]}}"


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"choice": ["balanced", None]}, Choice(("balanced", None))),
        ({"pchoice": [[0.75, "balanced"], [0.25, None]]}, Choice(("balanced", None), (0.75, 0.25))),
        ("balanced", Choice(("balanced",))),
        (None, Choice((None,))),
    ],
)
def test_options_become_a_choice(declared: Any, expected: Range):
    assert declared_space({"logreg": {"class_weight": declared}}) == {"logreg": {"class_weight": expected}}


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"uniform": [0.5, 2]}, Uniform(0.5, 2)),
        ({"uniform": {"high": 2, "low": 0.5}}, Uniform(0.5, 2)),
        ({"loguniform": [0.001, 100]}, LogUniform(0.001, 100)),
        ({"quniform": [0.5, 2.0, 0.25]}, Steps(0.5, 2.0, 0.25)),
        ({"qloguniform": [10, 1000, 10]}, Rounded(LogUniform(10, 1000), 10)),
        ({"normal": {"mu": 5, "sigma": 1}}, Normal(5, 1)),
        ({"qnormal": [50, 2, 0.5]}, Rounded(Normal(50, 2), 0.5)),
        ({"lognormal": [0, 1]}, LogNormal(0, 1)),
        ({"qlognormal": [5, 0.5, 1]}, Rounded(LogNormal(5, 0.5), 1)),
        (3, Choice((3,))),
    ],
)
def test_numbers_become_a_range(declared: Any, expected: Range):
    assert declared_space({"logreg": {"C": declared}}, "classification") == {"logreg": {"C": expected}}


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"uniformint": [2, 9]}, Steps(2, 9)),
        ({"uniformint": {"low": 2, "high": 9}}, Steps(2, 9)),
        ({"quniform": [2, 8, 2]}, Steps(2, 8, 2)),
        ({"randint": [2, 9]}, Integers(2, 9)),
        ({"choice": [2, None]}, Choice((2, None))),
    ],
)
def test_whole_numbers_become_a_range_of_them(declared: Any, expected: Range):
    assert declared_space({"rf": {"max_depth": declared}}) == {"rf": {"max_depth": expected}}


@pytest.mark.parametrize("declared", [{"randint": 4}, {"randint": [4]}, {"randint": [0, 4]}])
def test_an_upper_end_alone_will_do_for_randint(declared: Any):
    assert declared_space({"rf": {"verbose": declared}}) == {"rf": {"verbose": Integers(0, 4)}}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_example_of_every_distribution_is_one(name: str):
    assert name in yaml.safe_load(DISTRIBUTIONS[name].example)
    parameter = {"choice": "penalty", "pchoice": "penalty", "randint": "verbose"}.get(name, "C")
    assert set(declared_space({"logreg": {parameter: yaml.safe_load(DISTRIBUTIONS[name].example)}})) == {"logreg"}


@given(space=spaces)
def test_a_space_is_the_same_when_it_is_written_and_read(space: Space):
    text = space_text(space)
    assert {model: dict(ranges) for model, ranges in space.items()} == space_of(text)
    assert space_text(space_of(text)) == text


def test_the_text_follows_what_is_declared_and_not_how():
    one = declared_space({"rf": {"max_depth": {"uniformint": [2, 9]}}, "logreg": {"C": {"uniform": [1, 2]}}})
    other = declared_space(
        {"logreg": {"C": {"uniform": {"high": 2, "low": 1}}}, "rf": {"max_depth": {"quniform": [2, 9, 1]}}}
    )
    assert space_text(one) == space_text(other)
    assert json.loads(space_text(one)) == {
        "logreg": {"C": {"uniform": [1, 2]}},
        "rf": {"max_depth": {"quniform": [2, 9, 1]}},
    }
    assert space_text(one) != space_text(declared_space({"logreg": {"C": {"uniform": [1, 2.5]}}}))


def test_every_models_own_space_can_be_declared():
    """What is offered without a file lies within what a file may say, to the last value."""
    columns = tuple(Column(f"x{i}", "numeric", "float64") for i in range(4))
    for task, classes in (("classification", (0, 1)), ("classification", ("a", "b", "c")), ("regression", ())):
        table = Contract("y", task, classes, None, "random", columns=columns)
        space = {name: model.space(table) for name, model in MODELS[table.task].items()}
        written = json.loads(space_text(space))
        assert declared_space(written, table.task) == {name: space[name] for name in sorted(space)}


def test_hyperopt_searches_every_distribution():
    """Past its random beginning too: every point that it draws is one of the space."""
    declared = {
        "choice": [1, "a", None], "pchoice": [[0.5, "a"], [0.5, "b"]], "uniform": [0, 1], "quniform": [50, 500, 50],
        "uniformint": [1, 30], "loguniform": [0.001, 100], "qloguniform": [10, 1000, 10], "normal": [0.5, 0.1],
        "qnormal": [100, 20, 10], "lognormal": [0, 1], "qlognormal": [3, 0.5, 1], "randint": [0, 10],
    }  # fmt: skip
    assert set(declared) == set(DISTRIBUTIONS)
    space = space_of(json.dumps({"m": {name: {name: numbers} for name, numbers in declared.items()}}))
    domain, trials = Domain(lambda point: 0.0, compile_space(space)), Trials()
    for number in range(30):
        suggest = rand.suggest if number < 20 else tpe.suggest
        [document] = suggest([number], domain, trials, number)
        values = values_of(space, {label: drawn[0] for label, drawn in document["misc"]["vals"].items() if len(drawn)})
        assert repr(values_of(space, point_for(space, values))) == repr(values)
        document |= {"state": JOB_STATE_DONE, "result": {"status": "ok", "loss": float(values["uniform"])}}
        trials.insert_trial_doc(document)
        trials.refresh()


BAD = {
    "nothing": (None, f"the file declares no model; give ranges by model and hyperparameter, such as {NUMBERS}."),
    "a list": (["rf"], f"the file declares no model; give ranges by model and hyperparameter, such as {NUMBERS}."),
    "an unknown model": (
        {"logref": {}},
        f"'logref' is no model; use one of {', '.join(MODEL_NAMES)}. Did you mean logreg?",
    ),
    "a model of the other task": (
        {"ridge": {}},
        f"'ridge' is no model for classification; use one of {', '.join(MODELS['classification'])}.",
    ),
    "a model without hyperparameters": (
        {"rf": None},
        "rf holds None, which names no hyperparameters; give them by name, or {} for the estimator's defaults.",
    ),
    "an unknown distribution": (
        {"logreg": {"C": {"lognorm": [0, 1]}}},
        f"'lognorm' is no distribution (C of logreg); use one of {', '.join(DISTRIBUTIONS)}. Did you mean lognormal?",
    ),
    "two distributions": (
        {"logreg": {"C": {"uniform": [0, 1], "normal": [0, 1]}}},
        "C of logreg is {'uniform': [0, 1], 'normal': [0, 1]}, which is not one distribution; give one by its name, "
        "such as C: {loguniform: [0.001, 100]}.",
    ),
    "a bare list": (
        {"logreg": {"C": [0.1, 1]}},
        "C of logreg is [0.1, 1], which is not one distribution; give one by its name, "
        "such as C: {loguniform: [0.001, 100]}.",
    ),
    "too few numbers": (
        {"logreg": {"C": {"quniform": [1, 10]}}},
        "C of logreg is quniform: [1, 10]; it takes low, high and q, such as quniform: [50, 500, 50].",
    ),
    "a text for a number": (
        {"logreg": {"C": {"uniform": ["low", 10]}}},
        "C of logreg is uniform: ['low', 10]; it takes low and high, such as uniform: [0.1, 1].",
    ),
    "a wrong name": (
        {"logreg": {"C": {"uniform": {"min": 1, "max": 10}}}},
        "C of logreg is uniform: {'min': 1, 'max': 10}; it takes low and high, such as uniform: [0.1, 1].",
    ),
    "no options": (
        {"logreg": {"C": {"choice": []}}},
        "C of logreg is choice: []; give texts, numbers, true, false or null, such as choice: [l1, l2].",
    ),
    "options without a probability": (
        {"logreg": {"C": {"pchoice": [1, 2]}}},
        "C of logreg is pchoice: [1, 2]; give texts, numbers, true, false or null, such as "
        "pchoice: [[0.9, l1], [0.1, l2]].",
    ),
    "bounds in the wrong order": (
        {"logreg": {"C": {"uniform": [10, 1]}}},
        "C of logreg is uniform: [10, 1], but a uniform range needs low < high, got 10 and 1.",
    ),
    "hyperopt's logarithms": (
        {"logreg": {"C": {"loguniform": [-3, 2]}}},
        "C of logreg is loguniform: [-3, 2], but a loguniform range needs 0 < low < high, got -3 and 2; the ends are "
        "the numbers themselves, for hyperopt's logarithms [-3, 2] write [0.04979, 7.389].",
    ),
    "steps that do not reach the end": (
        {"rf": {"n_estimators": {"quniform": [50, 510, 50]}}},
        "n_estimators of rf is quniform: [50, 510, 50], but steps from low must reach high, got Steps(low=50, high=510,"
        " step=50), such as quniform: [50, 500, 50].",
    ),
    "halves of whole numbers": (
        {"rf": {"max_depth": {"uniformint": [1, 2.5]}}},
        "max_depth of rf is uniformint: [1, 2.5]; its ends are whole, such as uniformint: [1, 30].",
    ),
    "no spread": (
        {"logreg": {"C": {"lognormal": [0, 0]}}},
        "C of logreg is lognormal: [0, 0], but a lognormal range needs sigma above 0, got 0.",
    ),
    "an unknown hyperparameter": (
        {"rf": {"n_estimator": {"uniformint": [1, 5]}}},
        "'n_estimator' is no hyperparameter of rf; use one of ... Did you mean n_estimators?",
    ),
    "the seed": (
        {"rf": {"random_state": {"randint": 9}}},
        "random_state of rf is not searched over; set it by seed.",
    ),
    "the workers": ({"rf": {"n_jobs": 2}}, "n_jobs of rf is not searched over; set it by parallelism."),
    "a value that the estimator refuses": (
        {"logreg": {"C": {"uniform": [-1, 1]}}},
        "C of logreg may become -1.0, but the 'C' parameter of LogisticRegression must be ... Got -1.0 instead.",
    ),
    "an option that the estimator refuses": (
        {"svm": {"kernel": {"choice": ["rbf", "radial"]}}},
        "kernel of svm may become 'radial', but the 'kernel' parameter of SVC must be ... Got 'radial' instead.",
    ),
    "fractions for a whole number": (
        {"rf": {"max_depth": {"quniform": [2.0, 8.0, 1.0]}}},
        "max_depth of rf may become 2.0, but the 'max_depth' parameter of RandomForestClassifier must be ... "
        "Got 2.0 instead.",
    ),
    "a normal range that falls below nought": (
        {"logreg": {"C": {"normal": [1, 1]}}},
        "C of logreg may become -2, but the 'C' parameter of LogisticRegression must be ... Got -2 instead.",
    ),
    "a value that xgboost refuses": (
        {"xgboost": {"subsample": {"uniform": [0.5, 1.5]}}},
        "subsample of xgboost may become 1.5, but the 'subsample' parameter of XGBoostClassifier must be ... "
        "Got 1.5 instead.",
    ),
}


def told(sentence: str) -> Any:
    """Expect a user's mistake, told in this sentence, where three dots stand for anything."""
    pattern = ".*".join(map(re.escape, sentence.split("...")))
    return pytest.raises(UserError, match=f"^{pattern}$")


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_searched_over_is_told_in_a_sentence(what: str):
    document, sentence = BAD[what]
    with told(f"space: {sentence}"):
        declared_space(document, "classification")


def test_where_the_task_is_not_known_one_that_takes_the_space_will_do():
    squared = {"rf": {"criterion": {"choice": ["squared_error"]}}}
    assert declared_space(squared) == declared_space(squared, "regression")
    with told("space: criterion of rf may become 'squared_error', but the 'criterion' parameter of ..."):
        declared_space(squared, "classification")
    with told("space: C of linear_svr may become -1.0, but the 'C' parameter of LinearSVR must be ..."):
        declared_space({"linear_svr": {"C": {"uniform": [-1, 1]}}})

"""A space that the user declares: hyperopt's distributions by name, checked against the estimators before any work.

A declared space is written as canonical JSON, which stands in a search's settings: two files that say the same are
the same work, wherever they lie and however they are laid out.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor

from lifecycle.errors import UserError, listed
from lifecycle.models import MODEL_NAMES, MODELS, importable
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
)

# A normal range has no ends; these many standard deviations out lies one draw in 370.
FAR = 3
OTHERWISE_SET = {"random_state": "seed", "n_jobs": "parallelism"}


@dataclass(frozen=True)
class Distribution:
    """One of hyperopt's.

    Attributes
    ----------
    names : tuple of str
        What it is told by, in order; empty for a list of options.
    make : callable
        Gives the range of its numbers.
    example : str
        As it is written in a file.
    """

    names: tuple[str, ...]
    make: Callable[..., Range]
    example: str


DISTRIBUTIONS = {
    "choice": Distribution((), lambda *options: Choice(options), "choice: [l1, l2]"),
    "pchoice": Distribution(
        (),
        lambda *pairs: Choice(tuple(pair[1] for pair in pairs), tuple(float(pair[0]) for pair in pairs)),
        "pchoice: [[0.9, l1], [0.1, l2]]",
    ),
    "uniform": Distribution(("low", "high"), Uniform, "uniform: [0.1, 1]"),
    "quniform": Distribution(("low", "high", "q"), Steps, "quniform: [50, 500, 50]"),
    "uniformint": Distribution(("low", "high"), Steps, "uniformint: [1, 30]"),
    "loguniform": Distribution(("low", "high"), LogUniform, "loguniform: [0.001, 100]"),
    "qloguniform": Distribution(
        ("low", "high", "q"), lambda low, high, q: Rounded(LogUniform(low, high), q), "qloguniform: [10, 1000, 10]"
    ),
    "normal": Distribution(("mu", "sigma"), Normal, "normal: [0.5, 0.1]"),
    "qnormal": Distribution(
        ("mu", "sigma", "q"), lambda mu, sigma, q: Rounded(Normal(mu, sigma), q), "qnormal: [100, 20, 10]"
    ),
    "lognormal": Distribution(("mu", "sigma"), LogNormal, "lognormal: [0, 1]"),
    "qlognormal": Distribution(
        ("mu", "sigma", "q"), lambda mu, sigma, q: Rounded(LogNormal(mu, sigma), q), "qlognormal: [3, 0.5, 1]"
    ),
    "randint": Distribution(("low", "high"), Integers, "randint: [0, 10]"),
}


def declared_space(document: Any, task: str = "") -> dict[str, dict[str, Range]]:
    """Turn what a space file says into a space, and check all of it.

    Parameters
    ----------
    document : object
        As YAML gives it: model, hyperparameter, distribution, its numbers. ``{"logreg": {"C": {"loguniform":
        [0.001, 100]}}}``; a bare value in place of a distribution is that value.
    task : str
        ``classification`` or ``regression``; empty where it is not known yet: then each model must do for one of them.

    Returns
    -------
    dict of dict of Range
        By model and hyperparameter, in the order of their names.

    Raises
    ------
    UserError
        For the first thing that cannot be searched over: a model, hyperparameter or distribution that is not known,
        bounds that are none, or a value that the estimator refuses.
    """
    if not isinstance(document, Mapping) or not document:
        raise UserError(
            "space: the file declares no model; give ranges by model and hyperparameter, such as "
            "logreg: {C: {loguniform: [0.001, 100]}}."
        )
    space = {}
    for model in sorted(document, key=str):
        _known("model", model, MODEL_NAMES)
        if task:
            _known(f"model for {task}", model, MODELS[task])
        declared = document[model]
        if not isinstance(declared, Mapping):
            raise UserError(
                f"space: {model} holds {declared!r}, which names no hyperparameters; give them by name, or {{}} for "
                "the estimator's defaults."
            )
        tasks = [task] if task else [one for one in MODELS if model in MODELS[one]]
        space[model] = {str(name): _range(model, name, declared[name]) for name in sorted(declared, key=str)}
        refusals = [_refusal(one, model, space[model]) for one in tasks]
        if all(refusals):
            raise UserError(refusals[0])
    return space


def space_text(space: Space) -> str:
    """Write a declared space as canonical JSON, from which `space_of` reads it again."""
    written = {model: {name: _written(one) for name, one in ranges.items()} for model, ranges in space.items()}
    return json.dumps(written, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def space_of(text: str) -> dict[str, dict[str, Range]]:
    """Read what `space_text` wrote; its values have been checked then.

    Parameters
    ----------
    text : str
        Canonical JSON.

    Returns
    -------
    dict of dict of Range
        By model and hyperparameter.
    """
    return {
        model: {name: _range(model, name, one) for name, one in ranges.items()}
        for model, ranges in json.loads(text).items()
    }


def _written(one: Range) -> dict[str, list[Any]]:
    match one:
        case Choice(options, ()):
            return {"choice": list(options)}
        case Choice(options, weights):
            return {"pchoice": [[weight, option] for weight, option in zip(weights, options, strict=True)]}
        case Uniform(low, high):
            return {"uniform": [low, high]}
        case Steps(low, high, step):
            return {"quniform": [low, high, step]}
        case LogUniform(low, high):
            return {"loguniform": [low, high]}
        case Normal(mean, sigma):
            return {"normal": [mean, sigma]}
        case LogNormal(mean, sigma):
            return {"lognormal": [mean, sigma]}
        case Integers(low, high):
            return {"randint": [low, high]}
        case Rounded(inner, step):
            [(name, numbers)] = _written(inner).items()
            return {f"q{name}": [*numbers, step]}


def _known(what: str, name: Any, names: Iterable[str], rest: str = "") -> None:
    every = list(names)
    if name not in every:
        near = get_close_matches(str(name), every, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(f"space: {name!r} is no {what}{rest}; use one of {listed(every, most=40)}.{hint}")


def _range(model: Any, name: Any, declared: Any) -> Range:
    """Build one range.

    Raises
    ------
    UserError
        Where it is none.
    """
    where = f"{name} of {model}"
    if not isinstance(declared, (Mapping, list)):
        return _made(where, "choice", [declared])
    if not isinstance(declared, Mapping) or len(declared) != 1:
        raise UserError(
            f"space: {where} is {declared!r}, which is not one distribution; give one by its name, such as "
            f"{name}: {{{DISTRIBUTIONS['loguniform'].example}}}."
        )
    [(distribution, numbers)] = declared.items()
    _known("distribution", distribution, DISTRIBUTIONS, f" ({where})")
    return _made(where, distribution, _in_order(where, distribution, numbers))


def _in_order(where: str, distribution: str, given: Any) -> list[Any]:
    """Bring named numbers into order, and check that none is absent.

    Raises
    ------
    UserError
        Where the numbers are not those of the distribution.
    """
    known = DISTRIBUTIONS[distribution]
    names = known.names
    if distribution == "randint" and not isinstance(given, Mapping):
        given = [0, *given] if isinstance(given, list) and len(given) == 1 else [0, given] if _whole(given) else given
    if isinstance(given, Mapping) and names and set(given) == set(names):
        given = [given[name] for name in names]
    if not names and isinstance(given, list):
        scalars = [pair[1] if distribution == "pchoice" and _is_pair(pair) else pair for pair in given]
        if (
            given
            and all(_is_scalar(one) for one in scalars)
            and (distribution == "choice" or all(map(_is_pair, given)))
        ):
            return given
        raise UserError(
            f"space: {where} is {distribution}: {given!r}; give texts, numbers, true, false or null, such as "
            f"{known.example}."
        )
    numbers = [_number(one) for one in given] if isinstance(given, list) else []
    if not names or len(numbers) != len(names) or None in numbers:
        what = " and ".join([", ".join(names[:-1]), names[-1]]) if names else "a list of options"
        raise UserError(f"space: {where} is {distribution}: {given!r}; it takes {what}, such as {known.example}.")
    if distribution in ("uniformint", "randint") and not all(_whole(one) for one in numbers):
        raise UserError(f"space: {where} is {distribution}: {given!r}; its ends are whole, such as {known.example}.")
    return numbers


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and _number(pair[0]) is not None


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (str, bool, int))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _made(where: str, distribution: str, numbers: list[Any]) -> Range:
    try:
        return DISTRIBUTIONS[distribution].make(*numbers)
    except ValueError as error:
        hint = ""
        if distribution in ("loguniform", "qloguniform") and numbers[0] < numbers[1] < 700:
            ends = ", ".join(f"{math.exp(end):.4g}" for end in numbers[:2])
            hint = f"; the ends are the numbers themselves, for hyperopt's logarithms {numbers[:2]} write [{ends}]"
        elif distribution in ("quniform", "qnormal"):
            hint = f", such as {DISTRIBUTIONS[distribution].example}"
        raise UserError(f"space: {where} is {distribution}: {numbers}, but {error}{hint}.") from error


def _refusal(task: str, model: str, ranges: Mapping[str, Range]) -> str:
    """Return the sentence for the first hyperparameter or value that the estimator refuses; empty where none."""
    offered = MODELS[task][model]
    if not importable(offered.needs):
        return ""
    known = _searched(offered.make(0))
    names = [name for name in known.get_params(deep=False) if name not in OTHERWISE_SET]
    for name, one in ranges.items():
        if name in OTHERWISE_SET:
            return f"space: {name} of {model} is not searched over; set it by {OTHERWISE_SET[name]}."
        try:
            _known(f"hyperparameter of {model}", name, names)
        except UserError as error:
            return str(error)
        for value in _extremes(one):
            try:
                _searched(offered.make(0, **{name: value}))._validate_params()
            except ValueError as error:
                told = " ".join(str(error).split()).rstrip(".")
                return f"space: {name} of {model} may become {value!r}, but {told[:1].lower() + told[1:]}."
    return ""


def _searched(estimator: BaseEstimator) -> Any:
    """Return the estimator whose hyperparameters are searched over."""
    return estimator.regressor if isinstance(estimator, TransformedTargetRegressor) else estimator


def _extremes(one: Range) -> list[Any]:
    """Return the values that an estimator refuses first: every option, and the ends."""
    match one:
        case Choice(options):
            return list(options)
        case Uniform(low, high) | LogUniform(low, high):
            return [float(low), float(high)]
        case Steps():
            return [one.value(0), one.value(one.most)]
        case Integers(low, high):
            return [low, high - 1]
        case Normal(mean, sigma):
            return [mean - FAR * sigma, mean + FAR * sigma]
        case LogNormal(mean, sigma):
            return [math.exp(mean - FAR * sigma), math.exp(mean + FAR * sigma)]
        case Rounded(inner, _):
            return [one.value(end) for end in _extremes(inner)]

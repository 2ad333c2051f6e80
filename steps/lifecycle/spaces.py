"""Ranges of hyperparameters as data: they check themselves when built and are compiled for hyperopt once.

Each range goes both ways, from what hyperopt draws to the value that an estimator gets and back to hyperopt's point, so
that a search can be taken up again from its runs alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from hyperopt import hp

Number = int | float

# Squares of what is drawn, and of its spread, are doubles still.
LARGEST = 1e100
# Up to here every whole number is a double, which is what hyperopt draws.
MOST_STEPS = 10**15
# hyperopt holds a probability for each number of which neighbours tell nothing of each other.
MOST_INTEGERS = 1_000_000
# So many standard deviations out nothing is drawn.
OUT_OF_REACH = 8


def _number_of_steps(steps: int, step: Number, low: Number = 0) -> Number:
    """Return the number so many steps from ``low``, written as people write it: three steps of 0.1 are 0.3."""
    if isinstance(step, int) and isinstance(low, int):
        return low + steps * step
    return float(Decimal(repr(low)) + steps * Decimal(repr(step)))


def _finite(what: str, *numbers: Number) -> None:
    if not all(abs(number) <= LARGEST for number in numbers):
        least = "finite numbers" if math.inf in map(abs, numbers) else f"numbers up to {LARGEST:g}"
        raise ValueError(f"{what} needs {least}, got {' and '.join(str(number) for number in numbers)}")


def _countable(what: str, wide: Number, step: Number) -> None:
    if wide / step > MOST_STEPS:
        raise ValueError(f"{what} needs at most {MOST_STEPS:g} multiples of the step, got one of {step}")


@dataclass(frozen=True)
class Choice:
    """One of a few values; the value itself is what a trial records, never its place.

    Attributes
    ----------
    options : tuple
        Texts, numbers, booleans or None, no two of which are written alike.
    weights : tuple of float
        How likely each is, 1 together; empty for all alike.
    """

    options: tuple[Any, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be chosen from.

        Raises
        ------
        ValueError
            Where there are no options, two are written alike, or the weights are not one for each and 1 together.
        """
        if not self.options:
            raise ValueError("a choice needs at least one option")
        texts = [str(option) for option in self.options]
        if alike := next((text for text in texts if texts.count(text) > 1), None):
            raise ValueError(f"a choice needs options that differ, got {alike} twice")
        if self.weights and (
            len(self.weights) != len(self.options)
            or not all(weight > 0 for weight in self.weights)
            or not math.isclose(sum(self.weights), 1, abs_tol=1e-6)
        ):
            raise ValueError(
                f"a choice needs a probability above 0 for each option, 1 together, got {list(self.weights)}"
            )

    def compile(self, label: str) -> Any:
        """Return hyperopt's node, whose point is the option's index."""
        if self.weights:
            # Rounded probabilities, 1 together but for the last places, are none to NumPy where they are over 1.
            total = sum(self.weights)
            return hp.pchoice(label, [(weight / total, place) for place, weight in enumerate(self.weights)])
        return hp.choice(label, list(range(len(self.options))))

    def value(self, point: Any) -> Any:
        """Turn the drawn index into the option."""
        return self.options[int(point)]

    def point(self, value: Any) -> int:
        """Return the option's index; 1, 1.0, True and "1" are four options.

        Raises
        ------
        ValueError
            For what is none of them.
        """
        for place, option in enumerate(self.options):
            if repr(option) == repr(value):
                return place
        raise ValueError(f"{value!r} is none of {list(self.options)}")


@dataclass(frozen=True)
class Continuous:
    """What ranges of real numbers share: the number drawn is the value."""

    def value(self, point: Any) -> float:
        """Return the number drawn."""
        return float(point)

    def point(self, value: Any) -> float:
        """Return the value as hyperopt holds it.

        Raises
        ------
        ValueError
            For what is no number, or lies outside.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.holds(value):
            raise ValueError(f"{value!r} is not in {self}")
        return float(value)

    def holds(self, value: float) -> bool:
        """Tell whether a number lies in the range."""
        return math.isfinite(value)


# A logarithm and back turn the ends by a few units in the last place.
SLACK = 1e-12


@dataclass(frozen=True)
class Normal(Continuous):
    """A number that is normal around ``mean``."""

    mean: float
    sigma: float

    def __post_init__(self) -> None:
        """Check the spread.

        Raises
        ------
        ValueError
            Where sigma is not positive.
        """
        if not self.sigma > 0:
            raise ValueError(f"a normal range needs sigma above 0, got {self.sigma}")
        _finite("a normal range", self.mean, self.sigma)

    def compile(self, label: str) -> Any:
        """Return hyperopt's node."""
        return hp.normal(label, self.mean, self.sigma)


@dataclass(frozen=True)
class LogNormal(Continuous):
    """A positive number whose natural logarithm is normal."""

    mean: float
    sigma: float

    def __post_init__(self) -> None:
        """Check the spread.

        Raises
        ------
        ValueError
            Where sigma is not positive, or what is drawn would be too large.
        """
        if not self.sigma > 0:
            raise ValueError(f"a lognormal range needs sigma above 0, got {self.sigma}")
        _finite("a lognormal range", self.mean, self.sigma)
        if self.mean + OUT_OF_REACH * self.sigma > math.log(LARGEST):
            raise ValueError(
                f"a lognormal range needs mu and sigma of the logarithm, got {self.mean} and {self.sigma}, whose "
                f"exponential lies over {LARGEST:g}"
            )

    def compile(self, label: str) -> Any:
        """Return hyperopt's node."""
        return hp.lognormal(label, self.mean, self.sigma)

    def holds(self, value: float) -> bool:
        """Tell whether a number is positive."""
        return 0 < value < math.inf


@dataclass(frozen=True)
class LogUniform(Continuous):
    """A positive number whose logarithm is uniform between ``low`` and ``high`` (the numbers themselves)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises
        ------
        ValueError
            Where not 0 < low < high.
        """
        if not 0 < self.low < self.high:
            raise ValueError(f"a loguniform range needs 0 < low < high, got {self.low} and {self.high}")
        _finite("a loguniform range", self.low, self.high)

    def compile(self, label: str) -> Any:
        """Return hyperopt's node."""
        return hp.loguniform(label, *_logarithms(self))

    def holds(self, value: float) -> bool:
        """Tell whether a number lies between the ends."""
        return self.low * (1 - SLACK) <= value <= self.high * (1 + SLACK)


def _logarithms(one: LogUniform) -> tuple[float, float]:
    # NumPy takes no logarithm of a whole number that is too large for it.
    return float(np.log(float(one.low))), float(np.log(float(one.high)))


@dataclass(frozen=True)
class Uniform(Continuous):
    """A number between ``low`` and ``high``, all alike."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises
        ------
        ValueError
            Where not low < high.
        """
        if not self.low < self.high:
            raise ValueError(f"a uniform range needs low < high, got {self.low} and {self.high}")
        _finite("a uniform range", self.low, self.high)

    def compile(self, label: str) -> Any:
        """Return hyperopt's node."""
        return hp.uniform(label, self.low, self.high)

    def holds(self, value: float) -> bool:
        """Tell whether a number lies between the ends."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Steps:
    """A number from ``low`` to ``high`` in steps, both ends possible; whole where all three are whole."""

    low: Number
    high: Number
    step: Number = 1

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises
        ------
        ValueError
            Where not low < high, the step is not positive, or steps from low do not reach high or are too many.
        """
        if not (self.low < self.high and self.step > 0):
            raise ValueError(f"steps need low < high and a step above 0, got {self}")
        _finite("a range in steps", self.low, self.high, self.step)
        _countable("a range in steps", self.high - self.low, self.step)
        if (Decimal(repr(self.high)) - Decimal(repr(self.low))) % Decimal(repr(self.step)):
            raise ValueError(f"steps from low must reach high, got {self}")

    @property
    def most(self) -> int:
        """How many steps lead from low to high."""
        return round((Decimal(repr(self.high)) - Decimal(repr(self.low))) / Decimal(repr(self.step)))

    def compile(self, label: str) -> Any:
        """Return hyperopt's node, whose point is the number of steps from ``low``.

        Its ends reach half a step out, so that both come up as often as the rest.
        """
        return hp.quniform(label, -0.4999, self.most + 0.4999, 1)

    def value(self, point: Any) -> Number:
        """Return the number that many steps from ``low``."""
        return _number_of_steps(min(max(round(float(point)), 0), self.most), self.step, self.low)

    def point(self, value: Any) -> float:
        """Return how many steps lead from ``low`` to the value.

        Raises
        ------
        ValueError
            Where none do.
        """
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high:
            steps = round((value - self.low) / self.step)
            if self.value(steps) == value:
                return float(steps)
        raise ValueError(f"{value!r} is not in {self}")


@dataclass(frozen=True)
class Integers:
    """A whole number from ``low`` up to, but not, ``high``, of which neighbours tell nothing of each other."""

    low: int
    high: int

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises
        ------
        ValueError
            Where not low < high, or there are too many numbers.
        """
        if not self.low < self.high:
            raise ValueError(f"a randint range needs low < high, got {self.low} and {self.high}")
        _finite("a randint range", self.low, self.high)
        if self.high - self.low > MOST_INTEGERS:
            raise ValueError(f"a randint range needs at most {MOST_INTEGERS:,} numbers, got {self.high - self.low:,}")

    def compile(self, label: str) -> Any:
        """Return hyperopt's node."""
        return hp.randint(label, self.low, self.high)

    def value(self, point: Any) -> int:
        """Return the number drawn."""
        return int(point)

    def point(self, value: Any) -> int:
        """Return the number as hyperopt holds it.

        Raises
        ------
        ValueError
            For what is no whole number, or lies outside.
        """
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value < self.high:
            raise ValueError(f"{value!r} is not in {self}")
        return value


@dataclass(frozen=True)
class Rounded:
    """A number of another range, rounded to the nearest multiple of ``step``; whole where the step is."""

    range: Normal | LogNormal | LogUniform
    step: Number

    def __post_init__(self) -> None:
        """Check the step.

        Raises
        ------
        ValueError
            Where it is not positive or too small, or an end of the range is no multiple of it, so that rounding would
            lead outside.
        """
        if not self.step > 0:
            raise ValueError(f"a rounded range needs a step above 0, got {self.step}")
        _finite("a rounded range", self.step)
        if self.step < 1 / LARGEST:
            raise ValueError(f"a rounded range needs a step of at least {1 / LARGEST:g}, got {self.step}")
        if isinstance(self.range, LogUniform):
            _countable("a rounded range", self.range.high, self.step)
            for end in (self.range.low, self.range.high):
                if Decimal(repr(end)) % Decimal(repr(self.step)):
                    raise ValueError(f"a rounded range needs ends that are multiples of {self.step}, got {end}")

    def compile(self, label: str) -> Any:
        """Return hyperopt's node, whose point is the rounded number."""
        if isinstance(self.range, LogUniform):
            return hp.qloguniform(label, *_logarithms(self.range), self.step)
        node = hp.qnormal if isinstance(self.range, Normal) else hp.qlognormal
        return node(label, self.range.mean, self.range.sigma, self.step)

    def value(self, point: Any) -> Number:
        """Return the multiple that was drawn."""
        return _number_of_steps(round(float(point) / self.step), self.step)

    def point(self, value: Any) -> float:
        """Return the value as hyperopt holds it.

        Raises
        ------
        ValueError
            For what is no multiple of the step.
        """
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            # A lognormal number may be rounded to 0, which itself has no logarithm.
            inside = value == 0 if isinstance(self.range, LogNormal) else False
            if (inside or self.range.holds(value)) and self.value(value) == value:
                return float(value)
        raise ValueError(f"{value!r} is not in {self}")


Range = Choice | Normal | LogNormal | LogUniform | Uniform | Steps | Integers | Rounded
Space = Mapping[str, Mapping[str, Range]]
Values = dict[str, Any]


def label_of(model: str, name: str) -> str:
    """Name a hyperparameter uniquely over all models of a space, as hyperopt wants it."""
    return f"{model}.{name}"


def compile_space(space: Space) -> Any:
    """Build hyperopt's conditional space.

    Parameters
    ----------
    space : mapping of model name to its ranges by hyperparameter
        At least one model.

    Returns
    -------
    hyperopt expression
        A choice of model, and under each model its own ranges alone.
    """
    branches = [
        {"model": model, **{name: r.compile(label_of(model, name)) for name, r in ranges.items()}}
        for model, ranges in space.items()
    ]
    return hp.choice("model", branches)


def values_of(space: Space, point: Mapping[str, Any]) -> Values:
    """Turn a point of hyperopt into values.

    Parameters
    ----------
    space : mapping
        As compiled.
    point : mapping of label to number
        Drawn by hyperopt: the labels that are active at this point.

    Returns
    -------
    dict
        ``model`` and its hyperparameters: the values themselves, never an index.
    """
    model = list(space)[int(point["model"])]
    return {"model": model} | {name: r.value(point[label_of(model, name)]) for name, r in space[model].items()}


def point_for(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn values into the point of hyperopt that stands for them: the inverse of `values_of`.

    Parameters
    ----------
    space : mapping
        As compiled.
    values : mapping
        ``model`` and exactly its hyperparameters.

    Returns
    -------
    dict of label to number
        What a document of hyperopt's trials holds for the labels that are active; all others have none.

    Raises
    ------
    ValueError
        Where the space does not hold the values: it lacks the model, knows other hyperparameters, or a value lies
        outside its range. The sentence says which.
    """
    model = values["model"]
    if model not in space:
        raise ValueError(f"the space has no {model!r}")
    ranges = space[model]
    if different := set(ranges) ^ (set(values) - {"model"}):
        raise ValueError(f"{model} is searched over other hyperparameters: {', '.join(sorted(different))} differ")
    point: dict[str, Any] = {"model": list(space).index(model)}
    for name, one in ranges.items():
        try:
            point[label_of(model, name)] = one.point(values[name])
        except ValueError as error:
            raise ValueError(f"{name} of {model}: {error}") from error
    return point


def holds(space: Space, values: Mapping[str, Any]) -> bool:
    """Tell whether a space holds some values: the model, its hyperparameters and no others, each within its range."""
    try:
        point_for(space, values)
    except ValueError:
        return False
    return True


def nearest(one: Range, wanted: Any) -> Any:
    """Return a wanted value if a range holds it, else the middle of the range.

    Parameters
    ----------
    one : Range
        Any.
    wanted : object
        None may be an option, and stands for no wish elsewhere.

    Returns
    -------
    object
        A value of the range: of options the likeliest or the first, of logarithms the geometric middle.
    """
    try:
        return one.value(one.point(wanted))
    except ValueError:
        return _middle(one)


def _middle(one: Range) -> Any:
    match one:
        case Choice(options, weights):
            return options[weights.index(max(weights))] if weights else options[0]
        case Steps():
            return one.value(one.most // 2)
        case Uniform(low, high):
            return (low + high) / 2
        case LogUniform(low, high):
            return math.sqrt(low) * math.sqrt(high)
        case Normal(mean, _):
            return float(mean)
        case LogNormal(mean, _):
            return math.exp(mean)
        case Integers(low, high):
            return (low + high) // 2
        case Rounded(inner, _):
            return one.value(_middle(inner))


def point_of(values: Values) -> str:
    """Name a point so that equal ones are told: the model and its values, as text."""
    return repr(sorted(values.items()))

"""Ranges of hyperparameters as data: they check themselves when built and are compiled for hyperopt once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hyperopt import hp


@dataclass(frozen=True)
class Choice:
    """One of a few values; the value itself is what a trial records, never its place."""

    options: tuple[Any, ...]

    def __post_init__(self) -> None:
        """Refuse an empty choice.

        Raises
        ------
        ValueError
            Where there are no options.
        """
        if not self.options:
            raise ValueError("a choice needs at least one option")

    def compile(self, label: str) -> Any:
        """Return hyperopt's node, whose point is the option's index."""
        return hp.choice(label, list(range(len(self.options))))

    def value(self, point: Any) -> Any:
        """Turn the drawn index into the option."""
        return self.options[int(point)]


@dataclass(frozen=True)
class LogNormal:
    """A positive number whose natural logarithm is normal."""

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
            raise ValueError(f"a lognormal range needs sigma above 0, got {self.sigma}")

    def compile(self, label: str) -> Any:
        """Return hyperopt's node."""
        return hp.lognormal(label, self.mean, self.sigma)

    def value(self, point: Any) -> float:
        """Return the number drawn."""
        return float(point)


@dataclass(frozen=True)
class LogUniform:
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

    def compile(self, label: str) -> Any:
        """Return hyperopt's node."""
        return hp.loguniform(label, float(np.log(self.low)), float(np.log(self.high)))

    def value(self, point: Any) -> float:
        """Return the number drawn."""
        return float(point)


@dataclass(frozen=True)
class Uniform:
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

    def compile(self, label: str) -> Any:
        """Return hyperopt's node."""
        return hp.uniform(label, self.low, self.high)

    def value(self, point: Any) -> float:
        """Return the number drawn."""
        return float(point)


@dataclass(frozen=True)
class Steps:
    """A whole number from ``low`` to ``high`` in steps, both ends possible."""

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises
        ------
        ValueError
            Where not low < high, the step is not positive, or steps from low do not reach high.
        """
        if not self.low < self.high or self.step < 1:
            raise ValueError(f"steps need low < high and a step of at least 1, got {self}")
        if (self.high - self.low) % self.step:
            raise ValueError(f"steps from low must reach high, got {self}")

    def compile(self, label: str) -> Any:
        """Return hyperopt's node, whose point is the number of steps from ``low``.

        Its ends reach half a step out, so that both come up as often as the rest.
        """
        return hp.quniform(label, -0.4999, (self.high - self.low) // self.step + 0.4999, 1)

    def value(self, point: Any) -> int:
        """Return the number that many steps from ``low``."""
        return self.low + self.step * min(max(round(float(point)), 0), (self.high - self.low) // self.step)


Range = Choice | LogNormal | LogUniform | Uniform | Steps
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


def point_of(values: Values) -> str:
    """Name a point so that equal ones are told: the model and its values, as text."""
    return repr(sorted(values.items()))

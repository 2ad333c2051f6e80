"""hyperopt's TPE, asked many times of one space: the points of ``hyperopt.tpe.suggest``, in a fraction of the time.

For each point hyperopt compiles its model of the space anew, gathers the values of all earlier trials anew, walks its
graph node by node, and adds up quantised ranges one observation at a time. Here the graph is laid out once as a list of
calls, what depends on the history alone is kept until the next trial is told, and the sums are NumPy's. The model, the
sampling and its order are hyperopt's, so its points come out to the last bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hyperopt import pyll, rand, tpe
from hyperopt.base import miscs_update_idxs_vals
from hyperopt.pyll.stochastic import categorical
from scipy.special import erf

Floats = npt.NDArray[np.float64]


def split_trials(
    places: npt.NDArray[Any],
    values: npt.NDArray[Any],
    numbers: npt.NDArray[np.int64],
    losses: Floats,
    gamma: float,
    most: int = tpe.DEFAULT_LF,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Split a label's values into those of the best trials and the others, as ``hyperopt.tpe.ap_split_trials`` does.

    Parameters
    ----------
    places, values : ndarray of shape (n_values,)
        Trials that drew the label, and what they drew.
    numbers, losses : ndarray of shape (n_trials,)
        All trials.
    gamma : float
        The best are this times the root of the number of trials, rounded up.
    most : int
        But no more than these.

    Returns
    -------
    tuple of ndarray
        Values of the best, values of the others, each in the order given.
    """
    best = min(int(np.ceil(gamma * np.sqrt(len(losses)))), most)
    among = np.isin(places, numbers[np.argsort(losses)[:best]])
    return values[among], values[~among]


def mixture_lpdf(
    samples: Any, weights: Any, mus: Any, sigmas: Any, low: Any = None, high: Any = None, q: Any = None
) -> Any:
    """Return the log density of a normal mixture at samples, as ``hyperopt.tpe.GMM1_lpdf`` does.

    Without ``q`` that function is asked itself, which has no loop.
    """
    if q is None or not np.size(samples):
        return tpe.GMM1_lpdf(samples, weights, mus, sigmas, low=low, high=high, q=q)
    return _at_steps(samples, (weights, mus, sigmas), low, high, q, is_log=False)


def log_mixture_lpdf(
    samples: Any, weights: Any, mus: Any, sigmas: Any, low: Any = None, high: Any = None, q: Any = None
) -> Any:
    """Return the log density of a lognormal mixture at samples, as ``hyperopt.tpe.LGMM1_lpdf`` does.

    The bounds are those of the logarithm. Without ``q`` that function is asked itself, which has no loop.
    """
    if q is None or not np.size(samples):
        return tpe.LGMM1_lpdf(samples, weights, mus, sigmas, low=low, high=high, q=q)
    return _at_steps(samples, (weights, mus, sigmas), low, high, q, is_log=True)


def _at_steps(samples: Any, mixture: tuple[Any, Any, Any], low: Any, high: Any, q: float, is_log: bool) -> Floats:
    """Return the log of what a mixture, cut at the bounds, has within half a step of each sample."""
    weights, mus, sigmas = (np.asarray(one)[:, None] for one in mixture)
    # Few of the candidates of a small range differ.
    known, where = np.unique(np.ravel(samples), return_inverse=True)
    above, below = known + q / 2, known - q / 2
    if low is not None:
        first, last = (np.exp(low), np.exp(high)) if is_log else (low, high)
        above, below = np.minimum(above, last), np.maximum(below, first)
    if is_log:
        above, below = np.log(np.maximum(above, tpe.EPS)), np.log(np.maximum(below, tpe.EPS))
    shares = weights * _normal_cdf(above, mus, sigmas)
    shares -= weights * _normal_cdf(below, mus, sigmas)
    # One observation after another, as hyperopt adds them: NumPy's own sum of a single column takes them by pairs.
    total = np.add.accumulate(shares, axis=0)[-1]
    if low is None:
        accepted = np.float64(1)
    else:
        inside = _normal_cdf(high, mus, sigmas) - _normal_cdf(low, mus, sigmas)
        accepted = np.sum((weights * inside).ravel())
    found: Floats = (np.log(total) - np.log(accepted))[where].reshape(np.shape(samples))
    return found


def _normal_cdf(x: Any, mus: Floats, sigmas: Floats) -> Any:
    return 0.5 * (1 + erf((x - mus) / np.maximum(np.sqrt(2) * sigmas, tpe.EPS)))


OURS: dict[str, Callable[..., Any]] = {
    "ap_split_trials": split_trials,
    "GMM1_lpdf": mixture_lpdf,
    "LGMM1_lpdf": log_mixture_lpdf,
    # hyperopt's returns a node of the graph that asks this.
    "randint_via_categorical": categorical,
}


@dataclass(frozen=True)
class _Call:
    """One node of hyperopt's graph: a function, and the places of its arguments and of its value."""

    function: Callable[..., Any]
    arguments: tuple[int, ...]
    named: tuple[tuple[str, int], ...]
    place: int

    def make(self, values: list[Any]) -> None:
        """Put the value of the call at its place."""
        named = {name: values[place] for name, place in self.named}
        values[self.place] = self.function(*[values[place] for place in self.arguments], **named)


class _Program:
    """A graph of hyperopt's as a list of calls, in the order in which ``pyll.rec_eval`` makes them.

    Parameters
    ----------
    top : pyll.Apply
        What is wanted; without branches.
    told : sequence of pyll.Apply
        Nodes whose values are given by `tell`.
    asked : sequence of pyll.Apply
        Nodes whose values are given by `run`.
    """

    def __init__(self, top: Any, told: list[Any], asked: list[Any]) -> None:
        self._places: dict[Any, int] = {}
        self._values: list[Any] = []
        for node in (*told, *asked):
            self._place(node, None)
        fresh = {self._places[node] for node in asked}
        self._told, self._asked = [self._places[node] for node in told], [self._places[node] for node in asked]
        self._known: list[_Call] = []
        self._drawn: list[_Call] = []
        # The order tells which draw takes which of the generator's numbers.
        todo = [top]
        while todo:
            node = todo.pop()
            if node in self._places:
                continue
            if isinstance(node, pyll.Literal):
                self._place(node, node.obj)
            elif waiting := [one for one in node.inputs() if one not in self._places]:
                todo += [node, *waiting]
            else:
                call = self._call(node)
                if fresh.isdisjoint((*call.arguments, *(place for _, place in call.named))):
                    self._known.append(call)
                else:
                    fresh.add(call.place)
                    self._drawn.append(call)
        self._top = self._places[top]

    def _place(self, node: Any, value: Any) -> int:
        self._places[node] = len(self._values)
        self._values.append(value)
        return self._places[node]

    def _call(self, node: Any) -> _Call:
        arguments = tuple(self._places[one] for one in node.pos_args)
        named = tuple((name, self._places[one]) for name, one in node.named_args)
        function = OURS.get(node.name) or pyll.scope._impls[node.name]
        return _Call(function, arguments, named, self._place(node, None))

    def tell(self, *given: Any) -> None:
        """Evaluate all that no draw changes."""
        for place, value in zip(self._told, given, strict=True):
            self._values[place] = value
        for call in self._known:
            call.make(self._values)

    def run(self, *given: Any) -> Any:
        """Evaluate the rest, and return the value of what is wanted."""
        values = self._values.copy()
        for place, value in zip(self._asked, given, strict=True):
            values[place] = value
        for call in self._drawn:
            call.make(values)
        return values[self._top]


class Parzen:
    """The tree of Parzen estimators over one space.

    Parameters
    ----------
    domain : hyperopt.base.Domain
        The space.
    """

    def __init__(self, domain: Any) -> None:
        self._domain = domain
        observed, losses, posterior = tpe.build_posterior_wrapper(domain, tpe._default_prior_weight, tpe._default_gamma)
        told = [observed["idxs"], observed["vals"], losses["idxs"], losses["vals"]]
        self._program = _Program(pyll.as_apply(posterior), told, [domain.s_new_ids, domain.s_rng])
        self._is_new = True
        self._numbers: list[int] = []
        self._losses: list[float] = []
        self._places: dict[str, list[int]] = {label: [] for label in domain.params}
        self._values: dict[str, list[Any]] = {label: [] for label in domain.params}

    def tell(self, document: dict[str, Any]) -> None:
        """Know a trial that is done, by its document; they are told in the order of their numbers.

        A trial without a loss counts as infinitely bad.
        """
        loss = document["result"].get("loss")
        self._numbers.append(document["tid"])
        self._losses.append(float("inf") if loss is None else float(loss))
        for label in self._places:
            self._places[label] += document["misc"]["idxs"][label]
            self._values[label] += document["misc"]["vals"][label]
        self._is_new = True

    def suggest(self, new_ids: list[int], domain: Any, trials: Any, seed: int) -> list[dict[str, Any]]:
        """Suggest a point, as ``hyperopt.tpe.suggest`` does after the same trials.

        Parameters
        ----------
        new_ids : list of int
            Of one trial.
        domain : hyperopt.base.Domain
            The space that this was made for.
        trials : hyperopt.Trials
            Makes the document; what it knows is not read again.
        seed : int
            Of the draw.

        Returns
        -------
        list of dict
            One document.
        """
        [number] = new_ids
        if len(self._numbers) < tpe._default_n_startup_jobs:
            return list(rand.suggest(new_ids, domain, trials, seed))
        if self._is_new:
            places = {label: np.asarray(one) for label, one in self._places.items()}
            values = {label: np.asarray(one) for label, one in self._values.items()}
            self._program.tell(places, values, np.asarray(self._numbers), np.asarray(self._losses))
            self._is_new = False
        first = max(self._numbers[-1], number) + 2
        candidates = list(range(first, first + tpe._default_n_EI_candidates))
        drawn_places, drawn = self._program.run(candidates, np.random.default_rng(seed))
        for label, parameter in domain.params.items():
            # A randint from elsewhere than zero is sampled from zero.
            if parameter.name == "randint" and len(parameter.pos_args) == 2:
                drawn[label] = [value + parameter.pos_args[0].obj for value in drawn[label]]
        miscs = [{"tid": number, "cmd": domain.cmd, "workdir": domain.workdir}]
        miscs_update_idxs_vals(miscs, drawn_places, drawn, idxs_map={first: number}, assert_all_vals_used=False)
        return list(trials.new_trial_docs(new_ids, [None], [domain.new_result()], miscs))

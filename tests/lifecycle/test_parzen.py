"""TPE asked many times gives what hyperopt's own gives."""

from typing import Any

import numpy as np
import pytest
from hyperopt import STATUS_FAIL, STATUS_OK, Trials, hp, tpe
from hyperopt.base import JOB_STATE_DONE, Domain

from lifecycle.parzen import Parzen, log_mixture_lpdf, mixture_lpdf
from lifecycle.spaces import Choice, Integers, LogNormal, LogUniform, Space, Steps, Uniform, compile_space

SPACE: Space = {
    "one": {"c": LogNormal(0, 1), "k": Choice(("a", "b", None)), "n": Steps(2, 12)},
    "other": {"u": Uniform(-1, 1), "l": LogUniform(1e-3, 10), "i": Integers(3, 9), "k": Choice((1, 2))},
}


# Every distribution that hyperopt has, steps that have many observations in one place, and a choice within a choice.
EVERY = hp.pchoice(
    "kind",
    [
        (
            0.7,
            {
                "uniform": hp.uniform("uniform", -1, 1),
                "quniform": hp.quniform("quniform", 2, 12, 1),
                "uniformint": hp.uniformint("uniformint", 1, 5),
                "loguniform": hp.loguniform("loguniform", -7, 2),
                "qloguniform": hp.qloguniform("qloguniform", 0, 4, 2),
                "below": hp.qloguniform("below", -3, 2, 1),
                "randint": hp.randint("randint", 6),
                "choice": hp.choice("choice", [0, hp.quniform("inner", 0, 1, 0.1)]),
            },
        ),
        (
            0.3,
            {
                "normal": hp.normal("normal", 1, 2),
                "qnormal": hp.qnormal("qnormal", 0, 3, 0.5),
                "lognormal": hp.lognormal("lognormal", 0, 1),
                "qlognormal": hp.qlognormal("qlognormal", 1, 1, 1),
                "from": hp.randint("from", 3, 9),
            },
        ),
    ],
)


@pytest.mark.parametrize(("space", "seed", "most"), [(SPACE, 0, 50), (SPACE, 1, 50), (EVERY, 0, 160), (EVERY, 1, 90)])
def test_the_points_are_those_of_hyperopt(space: Any, seed: int, most: int):
    """To the last bit; some trials fail, some losses are alike, and each is suggested twice with other seeds."""
    compiled = compile_space(SPACE) if space is SPACE else space
    domain, trials, chance = Domain(lambda point: 0.0, compiled), Trials(), np.random.default_rng(seed)
    ours = Parzen(domain)
    for number in range(most):
        drawn = int(chance.integers(2**31))
        for again in (drawn + 1, drawn):
            [expected] = tpe.suggest([number], domain, trials, again)
            [found] = ours.suggest([number], domain, trials, again)
            assert found["misc"]["vals"] == expected["misc"]["vals"]
            assert found["misc"]["idxs"] == expected["misc"]["idxs"]
        loss = round(float(chance.normal()), 1)
        expected["state"] = JOB_STATE_DONE
        expected["result"] = {"status": STATUS_FAIL} if number % 7 == 3 else {"status": STATUS_OK, "loss": loss}
        trials.insert_trial_doc(expected)
        trials.refresh()
        ours.tell(expected)


@pytest.mark.parametrize("bounds", [(None, None), (-1.0, 6.0)])
@pytest.mark.parametrize("q", [None, 0.5, 1])
@pytest.mark.parametrize("ours, theirs", [(mixture_lpdf, tpe.GMM1_lpdf), (log_mixture_lpdf, tpe.LGMM1_lpdf)])
def test_a_mixtures_density_is_that_of_hyperopt(ours: Any, theirs: Any, q: float | None, bounds: Any):
    """To the last bit, whether one sample or many, and of thousands of observations."""
    chance = np.random.default_rng(3)
    for observations, samples in ((1, 24), (7, 1), (3000, 24), (3000, 1)):
        weights = chance.random(observations)
        weights /= weights.sum()
        given = weights, chance.normal(2, 2, observations), chance.random(observations) + 1e-3
        at = np.round(chance.uniform(0.6, 6.4, samples))
        kept = {"low": bounds[0], "high": bounds[1], "q": q}
        # Of one observation far away nothing is left.
        with np.errstate(divide="ignore"):
            assert np.array_equal(ours(at, *given, **kept), theirs(at, *given, **kept))
    assert ours(np.array([]), *given, **kept).shape == (0,)

"""TPE asked many times gives what hyperopt's own gives."""

import numpy as np
import pytest
from hyperopt import STATUS_FAIL, STATUS_OK, Trials, tpe
from hyperopt.base import JOB_STATE_DONE, Domain

from lifecycle.parzen import Parzen
from lifecycle.spaces import Choice, Integers, LogNormal, LogUniform, Space, Steps, Uniform, compile_space

SPACE: Space = {
    "one": {"c": LogNormal(0, 1), "k": Choice(("a", "b", None)), "n": Steps(2, 12)},
    "other": {"u": Uniform(-1, 1), "l": LogUniform(1e-3, 10), "i": Integers(3, 9), "k": Choice((1, 2))},
}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_points_are_those_of_hyperopt(seed: int):
    """Fifty trials, of which some fail and some are suggested again with another seed."""
    domain, trials, chance = Domain(lambda point: 0.0, compile_space(SPACE)), Trials(), np.random.default_rng(seed)
    ours = Parzen(domain)
    for number in range(50):
        drawn = int(chance.integers(2**31))
        for again in (drawn + 1, drawn):
            [expected] = tpe.suggest([number], domain, trials, again)
            [found] = ours.suggest([number], domain, trials, again)
            assert found["misc"]["vals"] == expected["misc"]["vals"]
            assert found["misc"]["idxs"] == expected["misc"]["idxs"]
        expected["state"] = JOB_STATE_DONE
        expected["result"] = (
            {"status": STATUS_FAIL} if number % 7 == 3 else {"status": STATUS_OK, "loss": float(chance.normal())}
        )
        trials.insert_trial_doc(expected)
        trials.refresh()
        ours.tell(expected)

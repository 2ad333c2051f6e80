"""hyperopt's adaptive TPE as the other algorithms are: it takes a seed, and trials as they are told.

By itself it draws from Python's and NumPy's global generators whatever seed it is given, and subtracts times that
trials told by hand do not have.
"""

import importlib.util
import random
from datetime import datetime
from typing import Any

import numpy as np
from hyperopt import STATUS_OK, trials_from_docs

from lifecycle.errors import UserError
from lifecycle.spaces import Choice, LogNormal, Normal, Rounded, Space

NO_TIME = datetime(2000, 1, 1)


def check_installed() -> None:
    """Refuse the algorithm where the package that it predicts its own settings with is absent.

    Raises
    ------
    UserError
        With the command that installs it.
    """
    if importlib.util.find_spec("lightgbm") is None:
        raise UserError(
            "algo: atpe needs lightgbm, which is not installed; install it by "
            "`uv pip install lightgbm -c requirements.txt`, or use one of tpe, rand, anneal."
        )


def check_space(space: Space) -> None:
    """Refuse ranges that it does not know, all of which only a user declares.

    Raises
    ------
    UserError
        For the first of them.
    """
    for model, ranges in space.items():
        for name, one in ranges.items():
            match one:
                case Choice(_, weights) if weights:
                    unknown = "pchoice"
                case Rounded(Normal(), _):
                    unknown = "qnormal"
                case Rounded(LogNormal(), _):
                    unknown = "qlognormal"
                case _:
                    continue
            raise UserError(
                f"algo: atpe does not know {unknown} ({name} of {model}); declare another distribution, or use one of "
                "tpe, rand, anneal."
            )


def suggest(new_ids: list[int], domain: Any, trials: Any, seed: int) -> list[dict[str, Any]]:
    """Suggest points, as ``hyperopt.tpe.suggest`` does.

    Parameters
    ----------
    new_ids : list of int
        Of the trials to suggest points for.
    domain : hyperopt.base.Domain
        The space.
    trials : hyperopt.Trials
        What is known so far.
    seed : int
        Below 2**32. The same seed and trials give the same points; the global generators are left as they were.

    Returns
    -------
    list of dict
        Documents of trials.
    """
    from hyperopt import atpe

    known = trials_from_docs(_with_losses(trials.trials), validate=False)
    before, numpy_before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        documents: list[dict[str, Any]] = atpe.suggest(new_ids, domain, known, seed)
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)
    return documents


def _with_losses(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give times to trials, and those that failed the worst loss of any: ATPE asks all for both."""
    losses = [document["result"]["loss"] for document in documents if "loss" in document["result"]]
    if not losses:
        return []
    failed = {"status": STATUS_OK, "loss": max(losses)}
    times = {"book_time": NO_TIME, "refresh_time": NO_TIME}
    return [one | times | {"result": one["result"] if "loss" in one["result"] else failed} for one in documents]

"""hyperopt's adaptive TPE as the other algorithms are: it takes a seed, and trials as they are told.

By itself it draws from Python's and NumPy's global generators whatever seed it is given, and subtracts times that
trials told by hand do not have.
"""

import importlib.util
import random
from datetime import datetime
from typing import Any

import numpy as np

from lifecycle.errors import UserError

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

    for trial in trials.trials:
        for name in ("book_time", "refresh_time"):
            trial[name] = trial[name] or NO_TIME
    before, numpy_before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        documents: list[dict[str, Any]] = atpe.suggest(new_ids, domain, trials, seed)
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)
    return documents

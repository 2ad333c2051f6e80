"""Steps that start other steps, through ``mlflow.run``."""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifecycle.adapters import spark, tracking
from lifecycle.adapters.cli import INNER
from lifecycle.adapters.code import ROOT
from lifecycle.adapters.sources import handed_on, logged
from lifecycle.errors import InnerStepError, UserError


def typed(options: Mapping[str, Any]) -> dict[str, str]:
    """Write options as a user would type them after ``-P``."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in options.items()}


def run_step(parent: tracking.StepRun, entry_point: str, options: Mapping[str, Any]) -> str:
    """Run an entry point of this project as a child of a run, in a process of its own, and wait for it.

    The child run is made through the client, so that it nests whatever thread asks, and its page bears the
    parameters as given.

    Parameters
    ----------
    parent : StepRun
        The run that asks.
    entry_point : str
        What to run.
    options : mapping
        Its parameters; those not given take the project's defaults.

    Returns
    -------
    str
        The child's run id.

    Raises
    ------
    UserError
        With the child's own sentence, where it ended by a user's mistake.
    InnerStepError
        Where it broke by a fault of ours; its traceback has been printed.
    """
    import mlflow
    from mlflow.exceptions import ExecutionException

    logging.getLogger("mlflow.projects").setLevel(logging.WARNING)
    os.environ[INNER] = "1"
    _put_this_python_first()
    spark.hand_on()
    parameters = typed(handed_on(options))
    run_id = parent.child(entry_point, {"mlflow.project.entryPoint": entry_point, "mlflow.project.backend": "local"})
    tracking.log_params(run_id, typed(logged(handed_on(options))))
    try:
        # Without env_manager="local" mlflow would look for pyenv: this process runs in the environment already.
        mlflow.run(
            str(ROOT),
            entry_point,
            parameters=parameters,
            experiment_id=parent.experiment_id,
            env_manager="local",
            run_id=run_id,
        )
    except ExecutionException as error:
        sentence = tracking.tag_of(run_id, "lifecycle.error")
        if sentence:
            raise UserError(sentence) from error
        raise InnerStepError(f"the step {entry_point} failed (run {run_id}); its traceback stands above") from error
    return run_id


def _put_this_python_first() -> None:
    """Let ``python`` in the entry points' commands be this interpreter, also where no environment is activated."""
    own = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", "")
    if path.split(os.pathsep)[0] != own:
        os.environ["PATH"] = os.pathsep.join([own, path])

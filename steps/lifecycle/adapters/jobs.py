"""Jobs on Databricks: submitted through mlflow, followed to their end, cancelled by Ctrl-C, with no run left open."""

import logging
import sys
import tempfile
import time
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.adapters import orders, tracking
from lifecycle.adapters.clusters import Cluster
from lifecycle.adapters.workspaces import Workspace, WorkspaceAwayError
from lifecycle.errors import InnerStepError, UserError

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
# A job of hours is not given up for a minute in which nobody answers.
AWAY_SECONDS = 600.0
CANCEL_SECONDS = 30.0
LAST_LINES = 20


@dataclass(frozen=True)
class Job:
    """A job that has been submitted.

    Attributes
    ----------
    workspace : Workspace
        Where.
    run_id : str
        The run that the entry point on the cluster writes.
    number : int
        Of the job's run, as the workspace counts.
    page : str
        Its page.
    """

    workspace: Workspace
    run_id: str
    number: int
    page: str

    def follow(self, asked: "Future[None]") -> None:
        """Tell the job's states until it ends, or is cancelled because an end was asked for.

        Parameters
        ----------
        asked : Future
            Done when the user wants an end.

        Raises
        ------
        UserError, InnerStepError
            Where it did not end well: with the entry point's own sentence if it left one; and where the workspace
            stays away.
        KeyboardInterrupt
            Where it has been cancelled.
        """
        state = self._ended(asked)
        if state is None:
            self._cancel()
            raise KeyboardInterrupt
        if state.get("result_state") == "SUCCESS":
            return
        print(f"databricks: {self.page}", file=sys.stderr)
        for line in self._last_words():
            print(f"  {line}", file=sys.stderr)
        tracking.end_family(self.run_id, "FAILED")
        sentence = tracking.tag_of(self.run_id, "lifecycle.error")
        if sentence:
            raise UserError(sentence)
        ended = state.get("result_state", state["life_cycle_state"])
        raise InnerStepError(f"databricks: the job ended as {ended} ({state.get('state_message', '').rstrip('.')}).")

    def _ended(self, asked: "Future[None]") -> dict[str, Any] | None:
        """Return the job's last state, or None where an end is asked for before."""
        told, pause, heard = "", FIRST_PAUSE, time.monotonic()
        while not asked.done():
            try:
                state = self._state()
            except WorkspaceAwayError as error:
                if time.monotonic() - heard > AWAY_SECONDS:
                    raise
                state, line = {}, f"asked again: {error}"
            else:
                heard = time.monotonic()
                line = ": ".join(filter(None, (state["life_cycle_state"], state.get("state_message", ""))))
            if line != told:
                print(f"databricks: {line}", flush=True)
                told = line
            if _is_over(state):
                return state
            wait([asked], pause)
            pause = min(pause * 1.2, LONGEST_PAUSE)
        return None

    def _state(self) -> dict[str, Any]:
        return dict(self.workspace.ask("GET", "jobs/runs/get", run_id=self.number)["state"])

    def _cancel(self) -> None:
        self.workspace.ask("POST", "jobs/runs/cancel", run_id=self.number)
        print(f"databricks: cancelled; {self.page}", file=sys.stderr)
        until = time.monotonic() + CANCEL_SECONDS
        try:
            # As long as its processes live they make runs.
            with suppress(UserError):
                while not _is_over(self._state()) and time.monotonic() < until:
                    time.sleep(FIRST_PAUSE)
        finally:
            # Also where the user insists.
            tracking.end_family(self.run_id, "KILLED")

    def _last_words(self) -> list[str]:
        """Return the end of what the job wrote, and its error."""
        try:
            output = self.workspace.ask("GET", "jobs/runs/get-output", run_id=self.number)
        except UserError as error:
            return [str(error)]
        text = "\n".join(str(output[part]) for part in ("logs", "error_trace", "error") if output.get(part))
        return [line for line in text.splitlines() if line.strip()][-LAST_LINES:]


def _is_over(state: dict[str, Any]) -> bool:
    return "result_state" in state or state.get("life_cycle_state") in ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")


def submit(workspace: Workspace, run: tracking.StepRun, order: orders.Order, cluster: Cluster) -> Job:
    """Make the project's form of a Spark job, and submit it through mlflow.

    Parameters
    ----------
    workspace : Workspace
        Where to.
    run : StepRun
        The run that submits, parent of the one on the cluster.
    order : Order
        What to run there.
    cluster : Cluster
        On what.

    Raises
    ------
    UserError
        Where the workspace refuses the upload or the job. No run is left open then.
    """
    from mlflow.utils.mlflow_tags import MLFLOW_DATABRICKS_RUN_URL, MLFLOW_DATABRICKS_SHELL_JOB_RUN_ID

    try:
        job = _submitted(workspace, run, order, cluster)
    except BaseException as error:
        # mlflow makes the run of the job before it sends anything.
        for made in tracking.children_of(run.run_id, run.experiment_id, {}):
            tracking.end_family(made.info.run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    # Before anything else: whatever becomes of this process, the job goes on.
    print(f"databricks: {order.step} is run {job.run_id}, job {job.number}: {job.page}", flush=True)
    # The temporary folder has no commit, and is no name to find anything by.
    known_by = {
        "mlflow.project.entryPoint": order.step,
        MLFLOW_DATABRICKS_SHELL_JOB_RUN_ID: str(job.number),
        MLFLOW_DATABRICKS_RUN_URL: job.page,
    }
    tracking.StepRun(job.run_id, run.experiment_id, order.step).log(tags=run.inherited | known_by)
    return job


def _submitted(workspace: Workspace, run: tracking.StepRun, order: orders.Order, cluster: Cluster) -> Job:
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_DATABRICKS_RUN_URL, MLFLOW_DATABRICKS_SHELL_JOB_RUN_ID

    logging.getLogger("mlflow.projects").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        orders.make(Path(folder), order, cluster.libraries)
        name = f"MLflow Run for {folder}"
        try:
            submitted = mlflow.run(
                folder,
                backend="databricks",
                backend_config=dict(cluster.specification),
                experiment_id=run.experiment_id,
                run_name=order.step,
                synchronous=False,
            )
            run_id = str(submitted.run_id)
            number, page = (
                tracking.tag_of(run_id, tag) for tag in (MLFLOW_DATABRICKS_SHELL_JOB_RUN_ID, MLFLOW_DATABRICKS_RUN_URL)
            )
            return Job(workspace, run_id, int(number), page)
        except (MlflowException, OSError) as error:
            # It asks after a job that has just been taken, and no answer to that is no refusal.
            taken = _taken(workspace, name)
            if taken is None:
                raise UserError(
                    f"cluster: the workspace refuses the job: {tracking.first_line(error)}; mend what it names."
                ) from error
            [made] = tracking.children_of(run.run_id, run.experiment_id, {})
            return Job(workspace, made.info.run_id, int(taken["run_id"]), str(taken.get("run_page_url", "")))
        except BaseException:
            # An end was asked for, or the store is given up: nobody would follow a job that has been taken.
            _cancel_taken(workspace, name)
            raise


def _cancel_taken(workspace: Workspace, name: str) -> None:
    """Cancel a job that mlflow may have submitted; what keeps from it is told."""
    try:
        taken = _taken(workspace, name)
        if taken is not None:
            workspace.ask("POST", "jobs/runs/cancel", run_id=int(taken["run_id"]))
            print(f"databricks: cancelled; {taken.get('run_page_url', '')}", file=sys.stderr)
    except UserError as error:
        print(f"databricks: {error}", file=sys.stderr)


def _taken(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """Return the workspace's run of a job that mlflow may have submitted, by the name that it gives it, or None."""
    try:
        return workspace.run_named(name)
    except UserError as error:
        raise UserError(
            f"DATABRICKS_HOST: whether the job has been taken is not known, since the workspace has ceased to answer; "
            f"look for {name!r} among its job runs before you submit it again."
        ) from error

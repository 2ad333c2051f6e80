"""The store as a search's memory: who runs it, whether he lives, and how another goes on where he ended."""

import json
import os
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count, takewhile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lifecycle.adapters import tracking
from lifecycle.adapters.tracking import StepRun
from lifecycle.errors import UserError, listed
from lifecycle.metrics import Metric
from lifecycle.settings import NOT_IN_THE_KEY
from lifecycle.trials import FAILED, FINISHED, TrialRecord

if TYPE_CHECKING:
    from mlflow.entities import Run

OWNER, HEARTBEAT = "lifecycle.owner", "lifecycle.heartbeat"
RESUMES, RESUMED_BY = "lifecycle.resumes", "lifecycle.resumed_by"
RECORD, REPEAT_OF = "lifecycle.record", "lifecycle.repeat_of"
# A longer tag would be cut, and half a record is none: folds by the hundred have a score each.
LONGEST_TAG = 8_000
BEAT_SECONDS, DEAD_SECONDS = 5.0, 60.0
# An old heartbeat is looked at again after this, by when who lives has written another.
LISTEN_SECONDS = 1.5 * BEAT_SECONDS
SEARCHES = ("tune_lr", "tune_multi", "tune_mllib")
# A search may have been gone on with many times; a circle of claims, which cannot be, must not hang the start.
LONGEST_CHAIN = 1_000
MOST_TOLD = 5


@cache
def place() -> str:
    """Name this machine so that another of the same name is told apart, and a container's processes from its host's."""
    parts = [socket.gethostname()]
    boot, processes = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts.append(boot.read_text().strip() if boot.exists() else f"{uuid.getnode():x}")
    if processes.exists():
        parts.append(str(processes.stat().st_ino))
    return "/".join(parts)


def started(pid: int) -> str:
    """Say when a process began, in whatever words; empty where there is none, or it has ended and waits for its parent.

    A number alone is no process: it is given to another one when the first has ended.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name before these may hold blanks and brackets.
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if words[0] in "ZX" else words[19]
    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return told.stdout.strip()


def owner() -> dict[str, Any]:
    """Describe this process, as the owner of a search."""
    pid = os.getpid()
    return {"host": place(), "pid": pid, "started": started(pid), "token": uuid.uuid4().hex}


def lives(run: "Run") -> bool:
    """Tell whether somebody is at work on a run.

    Parameters
    ----------
    run : Run
        With its tags.

    Returns
    -------
    bool
        False where the run has ended; where its owner's process on this machine is gone; where its heartbeat, of
        another machine, is older than 60 s and stays as it is. True also where it has not said whose it is within 60 s
        of its start.
    """
    if run.info.status != "RUNNING":
        return False
    tags = run.data.tags
    if OWNER not in tags:
        return bool(time.time() - run.info.start_time / 1000 < DEAD_SECONDS)
    try:
        whose = json.loads(tags[OWNER])
        if whose["host"] == place():
            return bool(started(whose["pid"]) == whose["started"] != "")
        beat = tags.get(HEARTBEAT, "0")
        if time.time() - float(beat) < DEAD_SECONDS:
            return True
    except (ValueError, KeyError, TypeError):
        # Written by somebody else: it is not ours to end.
        return True
    # The other machine's clock may be behind, or the store has been away: who lives is heard again.
    time.sleep(LISTEN_SECONDS)
    return bool(tracking.run_of(run.info.run_id).data.tags.get(HEARTBEAT, "0") != beat)


class Heartbeat:
    """Say every five seconds that a search lives, from a thread of its own.

    Parameters
    ----------
    run : StepRun
        The search's.
    """

    def __init__(self, run: StepRun) -> None:
        self._run = run
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Heartbeat":
        whose = json.dumps(owner())
        self._run.log(tags={OWNER: whose, HEARTBEAT: _now()})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            self._run.beat({HEARTBEAT: _now()})


def _now() -> str:
    return f"{time.time():.0f}"


@dataclass
class Past:
    """What earlier runs of the same search have done.

    Attributes
    ----------
    run_id : str
        The last of them; empty where there is none.
    records : list of TrialRecord
        By number, each once; their ``run_id`` is the child run that bears them.
    """

    run_id: str = ""
    records: list[TrialRecord] = field(default_factory=list)


def record_tags(record: TrialRecord, child_of: Mapping[int, str]) -> dict[str, str]:
    """Write down what a trial's child run must bear beside its metrics for the record to be made again.

    Parameters
    ----------
    record : TrialRecord
        Done.
    child_of : mapping of int to str
        The child run of each trial by number.
    """
    kept = {
        "number": record.number,
        "values": record.values,
        "status": record.status,
        "score": record.score if record.score == record.score else None,
        "folds_done": record.folds_done,
        "fold_scores": record.fold_scores,
        "threshold": record.threshold,
        "warnings": record.warnings,
        "repeat_of": record.repeat_of,
        "error": record.error[:1000],
    }
    text = json.dumps(kept)
    parts = [text[begin : begin + LONGEST_TAG] for begin in range(0, len(text), LONGEST_TAG)]
    tags = {_part(place): part for place, part in enumerate(parts)}
    if record.repeat_of is not None:
        tags[REPEAT_OF] = child_of[record.repeat_of]
    return tags


def _part(place: int) -> str:
    return f"{RECORD}.{place}" if place else RECORD


def _record_of(child: "Run") -> TrialRecord:
    tags, metrics = child.data.tags, dict(child.data.metrics)
    kept = json.loads("".join(tags[part] for part in takewhile(tags.__contains__, map(_part, count()))))
    own = {name: metrics.pop(name, float("nan")) for name in ("fit_seconds", "score_seconds", "latency_ms", "size_mb")}
    params = {name: value for name, value in child.data.params.items() if name != "model"}
    return TrialRecord(
        kept["number"],
        kept["values"],
        kept["status"],
        float("nan") if kept["score"] is None else kept["score"],
        metrics,
        params,
        started=child.info.start_time / 1000,
        ended=(child.info.end_time or child.info.start_time) / 1000,
        error=kept["error"],
        warnings=kept["warnings"],
        folds_done=kept["folds_done"],
        threshold=kept["threshold"],
        fold_scores=tuple(kept["fold_scores"]),
        repeat_of=kept["repeat_of"],
        run_id=child.info.run_id,
        **own,
    )


def find(run: StepRun, key: str, models: bool = False) -> str:
    """Find the newest search of a key that ended before its time, or that may go further; empty where there is none.

    With ``models`` one whose trials kept none of theirs is passed over.

    One that died before it had begun a trial or gone on with another is passed over, and marked KILLED: the search that
    it would have gone on with is older.
    """
    for one in tracking.all_runs({"lifecycle.step": run.step, "lifecycle.key": key}, run.experiment_id):
        run_id = str(one.info.run_id)
        # Where somebody has gone on with it already, his run is in the list as well.
        taken = "lifecycle.reused" in one.data.tags or RESUMED_BY in one.data.params
        if run_id == run.run_id or taken or lives(one):
            continue
        if _goes_on_with(one) or tracking.children_of(run_id, run.experiment_id, {"lifecycle.step": "trial"}):
            if models and not _kept_models(_settings_of(run_id, "resume")):
                continue
            return run_id
        if one.info.status == "RUNNING":
            run.end_child(run_id, "KILLED")
    return ""


def _goes_on_with(run: "Run") -> str:
    """Return the search that a run goes on with; it said so before it claimed it, and may not have been first."""
    past_id = run.data.tags.get(RESUMES, "")
    try:
        claimed = past_id and tracking.run_of(past_id).data.params.get(RESUMED_BY) == run.info.run_id
    except LookupError:
        # Somebody has deleted it, and its trials with it.
        return ""
    return str(past_id) if claimed else ""


def _chain(run_id: str) -> Iterator[tuple["Run", list["Run"]]]:
    """Give a search, and those that it goes on with, the last first, each with its trials' runs."""
    for _ in range(LONGEST_CHAIN):
        run = tracking.run_of(run_id)
        yield run, tracking.children_of(run_id, run.info.experiment_id, {"lifecycle.step": "trial"})
        run_id = _goes_on_with(run)
        if not run_id:
            return


def named(run_id: str, run: StepRun, settings: Mapping[str, Any]) -> "Run":
    """Return the run that the user has named to go on with, which is a search like this one.

    Parameters
    ----------
    run_id : str
        The option ``resume``.
    run : StepRun
        Of the search that is to go on.
    settings : mapping
        Its ``settings.json``.

    Raises
    ------
    UserError
        Where the run is no search of this step, is of another table, or tried other points.
    """
    found = _search_of(run_id, run.step, "resume")
    _check_same(run_id, _settings_of(run_id, "resume"), settings)
    return found


def asked_for(run_id: str, run: StepRun, settings: Mapping[str, Any]) -> str:
    """Return the run to go on with where the user has named one: it, or the last that has gone on with it.

    Parameters
    ----------
    run_id, run, settings
        As of `named`.

    Raises
    ------
    UserError
        As `named`; and where the run is alive, or the one that has gone on with it has been deleted.
    """
    found = named(run_id, run, settings)
    for _ in range(LONGEST_CHAIN):
        # One that was taken over has no trials of its own: they are where it took its metrics from.
        following = found.data.tags.get("lifecycle.reused") or found.data.params.get(RESUMED_BY)
        if not following:
            break
        try:
            found = tracking.run_of(following)
        except LookupError as error:
            raise UserError(
                f"resume: the trials of {run_id} are counted by run {following}, which is not in the store any more; "
                "take that one back by -e clean, or start a search anew."
            ) from error
    if lives(found):
        raise UserError(
            f"resume: the search {found.info.run_id} is alive ({_whose(found)}); wait for it, or end it first."
        )
    return str(found.info.run_id)


def _whose(found: "Run") -> str:
    tag = found.data.tags.get(OWNER)
    if tag is None:
        return "it has just begun"
    whose = json.loads(tag)
    return f"process {whose['pid']} on {whose['host'].partition('/')[0]}"


def _search_of(run_id: str, step: str, option: str) -> "Run":
    try:
        found = tracking.run_of(run_id)
    except LookupError as error:
        sentence = f"{option}: there is no run {run_id!r} in this store; give the id of a search's run."
        raise UserError(sentence) from error
    other = found.data.tags.get("lifecycle.step", "")
    if other not in SEARCHES:
        what = f"a run of {other}" if other else "no run of this project"
        raise UserError(f"{option}: {run_id} is {what}, not a search; give the id of a run of {listed(SEARCHES)}.")
    if option == "resume" and other != step:
        raise UserError(f"resume: {run_id} is a search of {other}; go on with it by -e {other}.")
    return found


def _settings_of(run_id: str, option: str) -> dict[str, Any]:
    try:
        path = tracking.artifact(run_id, tracking.SETTINGS)
    except LookupError as error:
        raise UserError(f"{option}: {run_id} ended before it wrote its settings; start a search anew.") from error
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _check_same(run_id: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a search that another table, other settings or other code would continue."""
    # As they are written, so that they can be compared with what was.
    now = json.loads(json.dumps(now, default=str))
    differ = [
        one
        for name, value in now["table"].items()
        if name not in ("data", "test_data")
        for one in _differences(name, then["table"].get(name), value)
    ]
    if then["data_sha256"] != now["data_sha256"]:
        differ.insert(0, f"data was {then['table'].get('data')} and is {now['table'].get('data')}, with other bytes")
    if differ:
        raise UserError(f"resume: {run_id} searched another table ({_told(differ)}); give the same options.")
    differ = [
        one
        for name, value in now["own"].items()
        if name not in NOT_IN_THE_KEY
        for one in _differences(name, _opened(name, then["own"].get(name)), _opened(name, value))
    ]
    if differ:
        raise UserError(f"resume: {run_id} tried other points ({_told(differ)}); give the same options.")
    if _kept_models(now) and not _kept_models(then):
        raise UserError(
            f"resume: {run_id} kept no models of its trials, and log_models=all asks for them; leave log_models out, "
            "or start a search anew."
        )
    if then["code_sha256"] != now["code_sha256"]:
        raise UserError(
            f"resume: steps/ or the lock has changed since {run_id}, so its scores are of other code; start anew."
        )


def _opened(name: str, value: Any) -> Any:
    """Return a setting for comparison; a declared space is a text of many parts."""
    return json.loads(value) if name == "space" and value else value


def _differences(name: str, then: Any, now: Any) -> list[str]:
    """Say what has become another value; of what holds others by name, such as a space, say which of them."""
    if isinstance(then, Mapping) and isinstance(now, Mapping) and set(then) & set(now):
        parts = dict.fromkeys([*now, *then])
        return [one for part in parts for one in _differences(f"{name} {part}", then.get(part), now.get(part))]
    return [] if then == now else [f"{name} was {_short(then)} and is {_short(now)}"]


def _told(differ: Sequence[str]) -> str:
    more = f"; and {len(differ) - MOST_TOLD} more" if len(differ) > MOST_TOLD else ""
    return "; ".join(differ[:MOST_TOLD]) + more


def _kept_models(settings: Mapping[str, Any]) -> bool:
    """Tell whether every trial of a search has its model, by what `settings.json` has."""
    return bool(settings["own"].get("log_models") == "all")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def take(run: StepRun, past_id: str) -> Past:
    """Go on with a search: claim it, end what it left open, and read what it has done.

    A parameter of a run can be written once: of two who claim one search the store refuses the second, and each reads
    back whose it is before anything else is written.

    Parameters
    ----------
    run : StepRun
        Who goes on.
    past_id : str
        The run that ended.

    Returns
    -------
    Past
        Empty where another was first.
    """
    # Said first: who dies between the two has claimed nothing, and who dies after it is found by what he has claimed.
    run.log(tags={RESUMES: past_id})
    if tracking.claim(past_id, RESUMED_BY, run.run_id) != run.run_id:
        tracking.client().delete_tag(run.run_id, RESUMES)
        return Past()
    records: dict[int, TrialRecord] = {}
    for parent, children in _chain(past_id):
        for child in children:
            if RECORD in child.data.tags:
                record = _record_of(child)
                records.setdefault(record.number, record)
                # The record is written first, in one batch; who was killed after it had no time to say so.
                status = "FAILED" if record.status == FAILED else "FINISHED"
                if child.info.status != status:
                    run.end_child(child.info.run_id, status)
            elif child.info.status == "RUNNING":
                run.end_child(child.info.run_id, "KILLED")
        if parent.info.status == "RUNNING":
            run.end_child(parent.info.run_id, "KILLED")
    return Past(past_id, [records[number] for number in sorted(records)])


def points_of(
    run: StepRun, run_id: str, contract: Mapping[str, Any], metric: Metric, on_test: bool
) -> list[dict[str, Any]]:
    """Return the values of an earlier search's finished trials, the best first.

    The earlier search may have gone by another metric; its trials track every metric of the task.

    Parameters
    ----------
    run : StepRun
        Of the search that is to begin with them.
    run_id : str
        The option ``warm_start``.
    contract : mapping
        What must agree, as `same_contract` gives it.
    metric : Metric
        What is best.
    on_test : bool
        Whether the search that is to begin selects on the test rows too.

    Raises
    ------
    UserError
        Where the run is no search, is alive, went by test rows that are to judge this one, or its table has another
        contract; says what differs.
    """
    found = _search_of(run_id, run.step, "warm_start")
    if lives(found):
        raise UserError(
            f"warm_start: the search {run_id} is alive ({_whose(found)}), and has not tried all yet; wait for it, or "
            "end it first."
        )
    if "optimistic" in found.data.tags and not on_test:
        raise UserError(
            f"warm_start: {run_id} went by the test rows (select_on=test), which could then not judge this search; "
            "begin with a search over folds, or without."
        )
    prepared = _settings_of(run_id, "warm_start")["prepared_run_id"]
    then = json.loads(tracking.artifact(prepared, "prepared/contract.json").read_text(encoding="utf-8"))
    other = same_contract(then)
    differ = [one for name, value in contract.items() for one in _differences(name, other[name], value)]
    if differ:
        raise UserError(
            f"warm_start: {run_id} searched a table of another contract ({_told(differ)}); "
            "begin with a search over the same columns, or without."
        )
    records: dict[int, TrialRecord] = {}
    for _, children in _chain(run_id):
        for child in children:
            if RECORD in child.data.tags and child.info.status == "FINISHED":
                record = _record_of(child)
                if record.status == FINISHED and record.repeat_of is None:
                    records.setdefault(record.number, record)
    if not records:
        raise UserError(f"warm_start: {run_id} has no finished trial to begin with; name another search.")
    losses = {number: _loss(record, metric) for number, record in records.items()}
    return [records[number].values for number in sorted(records, key=lambda number: (losses[number], number))]


def _loss(record: TrialRecord, metric: Metric) -> float:
    """Return what a trial lost by a metric, which need not be the one that its search went by; infinite if unknown."""
    scores = [record.metrics[name] for rows in ("cv", "test") if (name := f"{rows}_{metric.name}") in record.metrics]
    return metric.loss(scores[0]) if scores else float("inf")


def same_contract(contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two tables must share for points of the one to mean the same for the other: target, task, columns."""
    return {
        "target": contract["target"],
        "task": contract["task"],
        "classes": list(contract["classes"]),
        "columns": {column["name"]: column["role"] for column in contract["columns"]},
    }

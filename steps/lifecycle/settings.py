"""What a user may set, checked when it is built, and the two keys by which finished work is found again.

A run's settings are whole: every default is resolved before they are written to ``settings.json``, and the
keys are taken from them, never from the parameters that mlflow's runner logged.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

from lifecycle.errors import UserError, listed

TASKS = ("classification", "regression")
SPLITS = ("random", "stratified", "group", "time", "hash")
ALGORITHMS = ("tpe", "rand", "anneal", "atpe")
SELECT_ON = ("cv", "test")
ENGINES = ("local", "spark")
LOG_MODELS = ("best", "all")
ROLES = ("numeric", "categorical", "datetime", "text", "id", "drop")
THRESHOLDS = ("best_f1",)
# Timers and waits of the system take no more.
LONGEST_SECONDS = 1_000_000_000
# The dialect of a query that Spark runs.
SPARK = "spark"
FOLD_COLUMN, TWIN_COLUMN = "__fold__", "__twin__"
# `unknown`, `none` and `-` are levels as often as not; who wants them missing says so by read="nullstr=...".
MISSING_WORDS = ("?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null")

# A search's settings that change how long it takes or how far it goes, not what its trials are: two searches
# that differ in nothing else continue one another.
NOT_IN_THE_KEY = frozenset(
    {
        "max_evals",
        "timeout",
        "trial_timeout",
        "patience",
        "parallelism",
        "engine",
        "log_models",
        "fresh",
        "resume",
    }
)


@dataclass(frozen=True)
class Ordinal:
    """A column whose levels have an order, the lowest first."""

    column: str
    levels: tuple[str, ...]


def parse_ordinal(text: str) -> tuple[Ordinal, ...]:
    """Read ``Column:low<middle<high``, several separated by semicolons.

    Parameters
    ----------
    text : str
        As typed; empty for none. A column's name may itself hold a colon: the last one counts.

    Returns
    -------
    tuple of Ordinal
        In the order typed.

    Raises
    ------
    UserError
        Where a part has no colon, fewer than two levels, a level twice, or names a column again.
    """
    orders: list[Ordinal] = []
    for part in (p.strip() for p in text.split(";")):
        if not part:
            continue
        column, colon, order = part.rpartition(":")
        levels = tuple(level.strip() for level in order.split("<"))
        if not colon or not column.strip() or len(levels) < 2 or not all(levels):
            raise UserError(
                f"ordinal: {part!r} is not of the form Column:low<middle<high; "
                "give at least two levels, lowest first, and separate columns by a semicolon."
            )
        if len(set(levels)) < len(levels):
            raise UserError(f"ordinal: {part!r} names a level twice; name each level once, lowest first.")
        if any(column.strip() == known.column for known in orders):
            raise UserError(f"ordinal: the column {column.strip()!r} stands twice; give it one order.")
        orders.append(Ordinal(column.strip(), levels))
    return tuple(orders)


def parse_roles(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``column=role``, several separated by semicolons.

    Parameters
    ----------
    text : str
        As typed; empty for none. A column's name may itself hold an equals sign: the last one counts.

    Returns
    -------
    tuple of (column, role)
        In the order typed; `ROLES` are the roles.

    Raises
    ------
    UserError
        Where a part has no equals sign, names no known role, or names a column again.
    """
    roles: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        column, equals, role = (piece.strip() for piece in part.rpartition("="))
        if not equals or not column:
            raise UserError(f"roles: {part!r} is not of the form column=role; separate several by a semicolon.")
        if role == "ordinal":
            raise UserError(
                f"roles: {column!r} cannot be made ordinal without its order; "
                f"give it by ordinal, such as -P ordinal={shlex.quote(f'{column}:low<middle<high')}."
            )
        if column in roles:
            raise UserError(f"roles: the column {column!r} stands twice; give it one role.")
        roles[column] = one_of("roles", role, ROLES)
    return tuple(roles.items())


def parse_names(text: str) -> tuple[str, ...]:
    """Split a list typed with commas; blanks around a name do not count, empty parts are left out."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def one_of(option: str, value: str, known: Iterable[str]) -> str:
    """Return ``value`` if it is known, else refuse it with the known ones and the nearest of them.

    Raises
    ------
    UserError
        Naming the option, the value, the known values and, if there is one, the nearest.
    """
    names = list(known)
    if value in names:
        return value
    near = get_close_matches(value, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UserError(f"{option}: {value!r} is not known; use one of {listed(names, most=40)}.{hint}")


@dataclass(frozen=True)
class TableSettings:
    """The table parameters of a run, with the sample's own defaults filled in.

    ``task`` and ``split`` may still be ``auto``: they are settled by the target when the table is read, and the
    contract says what they became. ``dialect`` is ``spark`` where the query is Spark's SQL, and empty where it is
    duckdb's or there is none.
    """

    data: str
    target: str
    query: str = ""
    task: str = "auto"
    test_data: str = ""
    split: str = "auto"
    split_column: str = ""
    test_size: float = 0.2
    folds: int = 5
    seed: int = 42
    positive: str = ""
    drop: tuple[str, ...] = ()
    ordinal: tuple[Ordinal, ...] = ()
    roles: tuple[tuple[str, str], ...] = ()
    read: str = ""
    strict: bool = False
    dialect: str = ""
    # Of `read`, which is what a run's page shows.
    nullstr: tuple[str, ...] = ()
    # Options that nobody typed: a query may have taken their columns away.
    of_the_sample: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every value that can be checked without the table.

        Raises
        ------
        UserError
            For the first setting that cannot be right.
        """
        one_of("task", self.task, ("auto", *TASKS))
        one_of("split", self.split, ("auto", *SPLITS))
        if not 0 < self.test_size < 1:
            raise UserError(f"test_size: {self.test_size:g} is outside 0 to 1; give the test rows' share, such as 0.2.")
        if self.folds < 2:
            raise UserError(f"folds: {self.folds} is too few for cross-validation; give 2 or more, such as 5.")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed: {self.seed} is outside 0 to 4294967295; give a whole number in that range.")
        if self.split in ("group", "time") and not self.split_column:
            raise UserError(
                f"split_column: a {self.split} split needs a column and none was given; "
                f"name the one that holds the {'groups' if self.split == 'group' else 'times'}."
            )
        if self.split_column and self.split not in ("group", "time", "hash"):
            raise UserError(
                f"split_column: {self.split_column!r} was given, but split={self.split} reads no column; "
                "set split to group, time or hash, or leave split_column out."
            )
        if not self.target:
            raise UserError(
                f"target: {self.data!r} is not a sample, so its target is not known; "
                "give the name of the column to predict."
            )
        if self.target in self.drop:
            raise UserError(f"drop: {self.target!r} is the target; leave it out of drop, or choose another target.")

    @property
    def missing_words(self) -> tuple[str, ...]:
        """Texts that stand for a missing cell, beside blank ones."""
        return (*MISSING_WORDS, *(word for word in self.nullstr if word not in MISSING_WORDS))

    def resolved(self) -> dict[str, Any]:
        """Return the parameters by name, as ``settings.json`` has them."""
        values = asdict(self)
        del values["of_the_sample"], values["nullstr"]
        return values


@dataclass(frozen=True)
class SearchSettings:
    """The settings of a search, resolved for one table: ``metric`` and ``models`` are names that fit its task."""

    models: tuple[str, ...]
    metric: str
    max_evals: int
    algo: str = "tpe"
    select_on: str = "cv"
    engine: str = "local"
    parallelism: int = 1
    timeout: float = 600.0
    log_models: str = "best"
    seed: int = 42
    max_rows: int = 0
    threshold: str = ""
    trial_timeout: float = 0.0
    patience: int = 0
    resume: str = ""
    warm_start: str = ""
    space: str = ""
    max_latency_ms: float = 0.0
    max_size_mb: float = 0.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        UserError
            For the first setting that cannot be right.
        """
        one_of("algo", self.algo, ALGORITHMS)
        one_of("select_on", self.select_on, SELECT_ON)
        one_of("engine", self.engine, ENGINES)
        one_of("log_models", self.log_models, LOG_MODELS)
        if self.threshold:
            one_of("threshold", self.threshold, THRESHOLDS)
        if self.max_evals < 1:
            raise UserError(f"max_evals: {self.max_evals} trials cannot find anything; give 1 or more, such as 16.")
        if self.parallelism < 1:
            raise UserError(f"parallelism: {self.parallelism} cannot run a trial; give 1 or more.")
        if not self.timeout > 0:
            raise UserError(f"timeout: {self.timeout:g} seconds leave no time; give more than 0, such as 600.")
        limits = ("trial_timeout", "patience", "max_latency_ms", "max_size_mb")
        for name in limits:
            if not getattr(self, name) >= 0:
                raise UserError(f"{name}: {getattr(self, name):g} is below 0; give more, or 0 for no limit.")
        for name in ("timeout", "trial_timeout"):
            if getattr(self, name) > LONGEST_SECONDS:
                raise UserError(
                    f"{name}: {getattr(self, name):g} seconds are more than a clock can be set to; give at most "
                    f"{LONGEST_SECONDS}, which is 30 years."
                )


def digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of a value written as canonical JSON.

    Parameters
    ----------
    value : JSON-like
        Nested dicts, lists, strings, numbers, booleans and None.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def table_key(data_digest: str, settings: TableSettings, code_digest: str) -> str:
    """Name a prepared table by all that decides what is in it.

    Parameters
    ----------
    data_digest : str
        SHA-256 of the bytes of the inputs. Where they lie is not part of the key: the same bytes under another
        name are the same table.
    settings : TableSettings
        The table parameters.
    code_digest : str
        SHA-256 of steps/ and of the lock.

    Returns
    -------
    str
        64 hexadecimal digits, the tag ``lifecycle.table``.
    """
    values = settings.resolved()
    del values["data"], values["test_data"]
    # Declared with a second table or without one is not the same split, though the bytes may agree.
    values["has_test_data"] = bool(settings.test_data)
    return digest([data_digest, values, code_digest])


def step_key(step: str, table: str, own: Mapping[str, Any]) -> str:
    """Name a step's work by the table that it works on and by the settings that decide its result.

    Parameters
    ----------
    step : str
        The entry point's name.
    table : str
        The prepared table's key.
    own : mapping
        The step's own resolved settings; those in `NOT_IN_THE_KEY` do not count.

    Returns
    -------
    str
        64 hexadecimal digits, the tag ``lifecycle.key``.
    """
    return digest([step, table, {k: v for k, v in own.items() if k not in NOT_IN_THE_KEY}])

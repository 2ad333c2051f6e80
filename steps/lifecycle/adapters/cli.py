"""The options of the entry points, and how a script ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import click

from lifecycle.errors import InnerStepError, StoreAwayError, UserError

USER_MISTAKE, OUR_FAULT, INTERRUPTED = 2, 1, 130
SECONDS_OF_ONE_SIGNAL = 3.0
INNER = "LIFECYCLE_INNER_STEP"
# Read once: a step that starts others sets the variable for them, and stays what it was.
_IS_INNER = INNER in os.environ

Options = dict[str, Any]
Decorator = Callable[[Any], Any]


def _text(name: str, default: str, text: str) -> Decorator:
    return click.option(f"--{name}", name, default=default, show_default=True, help=text)


def _data(default: str) -> Decorator:
    return _text(
        "data", default, "A sample's name in data/catalog.yaml, a path, a folder, or an address (docs/sources.md)."
    )


_TABLE = (
    _text("target", "", "Column to predict [default: the sample's]."),
    _text("query", "", "SQL over the raw table, which it names `data`: derive, filter, rename."),
    _text("task", "auto", "classification, regression, or auto: found from the target."),
    _text("test_data", "", "A second table that is the test table."),
    _text("split", "", "random, stratified, group, time or hash [default: stratified; for regression random]."),
    _text("split_column", "", "Column of the groups or times, or the key to hash."),
    click.option("--test_size", default=0.2, type=float, show_default=True, help="Share of the test rows."),
    click.option("--folds", default=5, type=int, show_default=True, help="Folds of the cross-validation."),
    click.option("--seed", default=42, type=int, show_default=True, help="Seed of split, folds, search, estimators."),
    _text(
        "positive",
        "",
        "Class that precision, recall, F1 and ROC are about [default: 1, true, yes; else the rarer].",
    ),
    _text("drop", "", "Columns to leave out, separated by commas [default: the sample's]."),
    _text("ordinal", "", "Column:low<middle<high, several separated by ; [default: the sample's]."),
    _text("roles", "", "Column=role, several separated by ; [default: found from the table]."),
    _text("read", "", "What a file's form cannot tell, such as skip=1; header=false; names=a,b; nullstr=?."),
    click.option("--strict", default=False, type=bool, show_default=True, help="Let findings fail the step."),
)
_FRESH = click.option("--fresh", default=False, type=bool, show_default=True, help="Run although it was done before.")
_TRAINING = (
    click.option(
        "--max_rows", default=0, type=int, show_default=True, help="Training rows to use, a seeded sample; 0: all."
    ),
    _text("threshold", "", "best_f1: the decision threshold is chosen on out-of-fold predictions."),
)
_METRIC = _text("metric", "", "What to choose by [default: f1; for regression rmse].")
_OF_ANY_SEARCH = (
    _text("algo", "tpe", "tpe, rand, anneal, or atpe where lightgbm is installed."),
    _text("select_on", "cv", "cv, or test as the course did, which tags the run optimistic."),
    _text("models", "", "Estimators to search over, separated by commas [default: all of the task]."),
    click.option(
        "--parallelism", default=0, type=int, show_default=True, help="Trials at once, eight at most; 0: one a core."
    ),
    click.option(
        "--timeout", default=600.0, type=float, show_default=True, help="Seconds after which no trial is begun."
    ),
    _text("log_models", "best", "best: the refitted winner's model; all: every trial's, as the course did."),
    click.option(
        "--patience", default=0, type=int, show_default=True, help="End after so many trials without a gain; 0: never."
    ),
    _text("resume", "", "Run of a search that ended early, to be gone on with."),
)
_SEARCH = (
    *_OF_ANY_SEARCH,
    _text("engine", "local", "Where trials run: local or spark."),
    click.option(
        "--trial_timeout",
        default=0.0,
        type=float,
        show_default=True,
        help="Seconds after which a trial fails; 0: none.",
    ),
    _text("warm_start", "", "Run of an earlier search, whose points are tried first."),
    _text("space", "", "YAML file of the ranges to search, instead of the models' own (docs/space.md)."),
    click.option(
        "--max_latency_ms",
        default=0.0,
        type=float,
        show_default=True,
        help="Milliseconds that predicting 1,000 rows may take; 0: any.",
    ),
    click.option(
        "--max_size_mb", default=0.0, type=float, show_default=True, help="Megabytes that a model may have; 0: any."
    ),
)
_REGISTER = (
    _text("run_id", "", "Run whose model to register [default: the best candidate's]."),
    _text("name", "", "Registered model [default: the sample's name, else the file's stem]."),
    click.option("--allow_pickle", default=False, type=bool, show_default=True, help="Take a model that is pickled."),
)


def _max_evals(default: int, text: str) -> Decorator:
    return click.option("--max_evals", default=default, type=int, show_default=True, help=text)


class _Count(click.ParamType[int]):
    """A whole number, or nothing for each step's own default, which is 0 in the options."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value in ("", 0):
            return 0
        number = int(click.INT.convert(value, param, ctx))
        if number < 1:
            raise UserError(f"max_evals: {number} trials cannot find anything; give 1 or more, such as 16.")
        return number


TRIALS = "Number of trials."
# By entry point, in the order of --help. The MLproject file declares the same, and a test compares the two.
OPTIONS: dict[str, tuple[Decorator, ...]] = {
    "prepare": (_data("churn"), *_TABLE, _FRESH),
    "baseline": (_data("churn"), *_TABLE, *_TRAINING, _FRESH),
    "tune_lr": (_data("churn"), *_TABLE, *_TRAINING, _max_evals(16, TRIALS), _METRIC, *_SEARCH, _FRESH),
    "tune_multi": (_data("churn"), *_TABLE, *_TRAINING, _max_evals(32, TRIALS), _METRIC, *_SEARCH, _FRESH),
    "tune_mllib": (
        _data("iris"),
        *_TABLE,
        click.option(
            "--max_evals",
            default=0,
            type=int,
            show_default=True,
            help="Number of trials; 0: all 18 of the sweep, or 16.",
        ),
        _METRIC,
        click.option(
            "--sweep",
            default=True,
            type=bool,
            show_default=True,
            help="A decision tree's bins and depth; false: hyperopt.",
        ),
        *_OF_ANY_SEARCH,
        _FRESH,
    ),
    "regress_sklearn": (_data("ecommerce"), *_TABLE, *_TRAINING, _FRESH),
    "regress_statsmodels": (_data("ecommerce"), *_TABLE, *_TRAINING, _FRESH),
    "register": (_data("churn"), *_TABLE, *_TRAINING, _METRIC, *_REGISTER, _FRESH),
    "main": (
        _data("churn,ecommerce"),
        *_TABLE,
        *_TRAINING,
        click.option(
            "--max_evals", default=0, type=_Count(), help="Number of trials of each search [default: 16 and 32]."
        ),
        _METRIC,
        *_SEARCH,
        *_REGISTER,
        _FRESH,
    ),
    "score": (
        _text("model", "", "Any model's address [default: models:/<name of the data>@champion]."),
        _data("churn"),
        _text("query", "", "SQL over the raw table, which it names `data`: derive, filter, rename."),
        _text("read", "", "What a file's form cannot tell, such as skip=1; header=false; names=a,b; nullstr=?."),
        _text("output", "", "File to write, .parquet or .delta [default: the artifact predictions.parquet]."),
        _text("engine", "local", "Where rows are scored: local or spark."),
        click.option("--parallelism", default=0, type=int, show_default=True, help="Processes at once; 0: one a core."),
        click.option("--overwrite", default=False, type=bool, show_default=True, help="Replace what is at the output."),
    ),
    "clean": (
        _text("run_id", "", "Search, or any run, to put away with all that hangs on it [default: list them]."),
        click.option("--confirm", default=False, type=bool, show_default=True, help="Do it, instead of telling it."),
        click.option("--restore", default=False, type=bool, show_default=True, help="Take it back instead."),
    ),
    "upload": (_text("file", "", "File of records that a run kept while the tracking store was away."),),
    "databricks": (
        _text("step", "main", "Entry point to run on Databricks; its own parameters are given beside these."),
        _text("cluster", "clusters/spark-job.json", "JSON file that describes the cluster to be made."),
        click.option("--wait", default=True, type=bool, show_default=True, help="Follow the job until it ends."),
    ),
}


def given(step: str, arguments: Sequence[str]) -> dict[str, str]:
    """Check a command line of an entry point, and return the options that were typed, as they were.

    Parameters
    ----------
    step : str
        The entry point's name; of an unknown one nothing can be checked, and nothing is returned.
    arguments : sequence of str
        Such as ``["--data", "churn"]``.

    Raises
    ------
    click.UsageError
        For an option that it does not have, or a value that is none of its kind.
    """

    def nothing(**options: Any) -> None: ...

    for option in reversed(OPTIONS.get(step, ())):
        nothing = option(nothing)
    script = click.command(step)(nothing)
    script.make_context(step, list(arguments)).close()
    texts = click.Command(step, params=[click.Option([f"--{one.name}", str(one.name)]) for one in script.params])
    with texts.make_context(step, list(arguments)) as context:
        return {name: value for name, value in context.params.items() if value is not None}


def command(step: str, others: bool = False) -> Callable[[Callable[[Options], None]], Callable[[], None]]:
    """Turn a function of the options into the script of an entry point.

    Parameters
    ----------
    step : str
        The entry point's name.
    others : bool
        Whether it takes options of other entry points beside its own, as the list ``others``.

    Returns
    -------
    decorator
        The decorated function parses the command line, calls the function with all options by name, and exits:
        0 when done, 2 with one sentence for a user's mistake, 1 with a traceback for a fault of ours.
    """

    def decorate(work: Callable[[Options], None]) -> Callable[[], None]:
        def parsed(**options: Any) -> None:
            options |= {"others": click.get_current_context().args} if others else {}
            work({name: value.strip() if isinstance(value, str) else value for name, value in options.items()})

        for option in reversed(OPTIONS[step]):
            parsed = option(parsed)
        settings = {"max_content_width": 110, "ignore_unknown_options": others, "allow_extra_args": others}
        script = click.command(step, help=work.__doc__, context_settings=settings)(parsed)

        def run() -> None:
            sys.exit(_ended(script))

        run.script = script  # type: ignore[attr-defined]
        return run

    return decorate


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class Interruption:
    """Ctrl-C, and a request to end, as something to wait for.

    An exception that comes out of nowhere, in mid-write to the store or under a lock, leaves the one half-written and
    the other taken. In the block the first signal is noted and `asked` is done; those that follow within three seconds
    are the same one told twice, as by mlflow's runner; a later one interrupts at once, for a store that is silent.

    Attributes
    ----------
    asked : Future
        Done when the user wants an end.
    """

    def __init__(self) -> None:
        self.asked: Future[None] = Future()
        self._first = 0.0

    def __enter__(self) -> "Interruption":
        self._read, self._write = os.pipe()
        # Not the handler but a thread tells: the handler may have interrupted the very code that waits.
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()
        self._before = {one: signal.signal(one, self._note) for one in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._write)
        self._thread.join()
        os.close(self._read)
        if self._first and kind is None:
            # Nobody has looked at `asked` since it came.
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        now = time.monotonic()
        if not self._first:
            self._first = now
            os.write(self._write, b"!")
        elif now - self._first > SECONDS_OF_ONE_SIGNAL:
            raise KeyboardInterrupt

    def _tell(self) -> None:
        if os.read(self._read, 1):
            self.asked.set_result(None)


def _ended(script: click.Command) -> int:
    # A polite end is an interruption: the run is closed as KILLED and workers are ended.
    signal.signal(signal.SIGTERM, _interrupt)
    told = not _IS_INNER
    try:
        return int(script.main(standalone_mode=False) or 0)
    except click.UsageError as error:
        sentence = f"{error.format_message().rstrip('.')}; see {sys.argv[0]} --help."
    except click.Abort:
        # mlflow's runner tells the same interruption again.
        began = time.monotonic()
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, lambda *_: _give_up(began))
        try:
            _close_run("", "KILLED")
        except Exception:  # noqa: BLE001 - of libraries whose import was interrupted nothing is left that works
            _close_run_apart()
        for one in (signal.SIGINT, signal.SIGTERM):
            # Python hands them back to the kernel as it ends, but for those that are ignored.
            signal.signal(one, signal.SIG_IGN)
        return INTERRUPTED
    except InnerStepError as error:
        print(error, file=sys.stderr)
        _close_run("", "FAILED")
        return OUR_FAULT
    except UserError as error:
        sentence = str(error)
        # The step that started this one cannot read the sentence from a store that is away.
        told = not _IS_INNER or isinstance(error, StoreAwayError)
    except BaseException:
        # Without this, mlflow would close the run as FINISHED when the interpreter ends.
        _close_run("", "FAILED")
        raise
    _close_run(sentence, "FAILED")
    if told:
        # A step that another one started leaves the word to it, so that the sentence is read once.
        print(f"Error: {sentence}", file=sys.stderr)
    return USER_MISTAKE


def _give_up(began: float) -> None:
    """Leave at once where the user insists, as when the store is silent while the run is closed."""
    if time.monotonic() - began > SECONDS_OF_ONE_SIGNAL:
        os._exit(INTERRUPTED)


def _close_run_apart() -> None:
    """End the run that mlflow's runner has made as KILLED, in a process of its own; no other can be open yet."""
    if "MLFLOW_RUN_ID" in os.environ:
        closing = "from lifecycle.adapters import tracking; tracking.connect(); tracking.close_run('', 'KILLED')"
        path = os.pathsep.join(part for part in (sys.path[0], os.environ.get("PYTHONPATH", "")) if part)
        subprocess.run(
            [sys.executable, "-c", closing], env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=False
        )


def _close_run(sentence: str, status: str) -> None:
    """End the run, if there is one, with the sentence as its tag; a store out of reach is what it is about."""
    if "MLFLOW_RUN_ID" not in os.environ and "mlflow" not in sys.modules:
        return
    from lifecycle.adapters import tracking

    try:
        if "mlflow" not in sys.modules:
            tracking.connect()
        tracking.close_run(sentence, status)
    except UserError:
        pass

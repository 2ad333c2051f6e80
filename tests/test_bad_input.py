"""A user's mistake ends in one sentence, exit code 2, and nothing half-done; a fault of ours in a traceback."""

import http.server
import os
import re
import resource
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.whole

HEADER = "size,kind,weight,churned\n"
ROWS = [(i % 7, "ab"[i % 2], i * 37 % 11, i % 2) for i in range(60)]
BODY = "".join(f"{size},{kind},{weight},{churned}\n" for size, kind, weight, churned in ROWS)
SAMPLES = "churn, ecommerce, iris, diabetes, taxi"
READABLE = "CSV, Parquet, JSON lines or Arrow"
METRICS = "f1, accuracy, precision, recall, roc_auc"
# Mistakes that need not have mlflow imported are told in seconds; those of the table need it read; a step's own need it
# prepared. Of tables that a case makes itself, {tables} is the folder; `...` stands for anything.


class Case(NamedTuple):
    step: str
    options: list[str]
    sentence: str


def table(name: str, *options: str, step: str = "prepare", target: str = "churned") -> tuple[str, list[str]]:
    return step, ["--data", f"{{tables}}/{name}", "--target", target, *options]


AT_ONCE = {
    "no such file": Case(
        *table("nowhere_at_all.csv"),
        f"data: there is no file '{{tables}}/nowhere_at_all.csv'; give the path of a {READABLE} file.",
    ),
    "no such second file": Case(
        *table("good.csv", "--test_data", "{tables}/nowhere_at_all.csv"),
        f"test_data: there is no file '{{tables}}/nowhere_at_all.csv'; give the path of a {READABLE} file.",
    ),
    "relative path": Case(
        "prepare",
        ["--data", "./sub/none.csv", "--target", "y"],
        "data: there is no file './sub/none.csv' in '{here}', where the project runs; "
        'give the absolute path, such as -P data="$PWD/sub/none.csv".',
    ),
    "a folder": Case(
        *table(""),
        "data: '{tables}/' holds files of several kinds, CSV (...), Parquet (broken.parquet); give those "
        "of one, such as *.csv.",
    ),
    "wrong suffix": Case(
        *table("good.xlsx"),
        "data: '{tables}/good.xlsx' ends in '.xlsx'; give a file that ends in one of .csv, .tsv, .txt, .parquet, .pq, "
        ".jsonl, .ndjson, .json, .arrow, .feather, .ipc.",
    ),
    "an unknown role": Case(
        *table("good.csv", "--roles", "size=categoricl"),
        "roles: 'categoricl' is not known; use one of numeric, categorical, datetime, text, id, drop. "
        "Did you mean categorical?",
    ),
    "an order that is asked for as a role": Case(
        *table("good.csv", "--roles", "size=ordinal"),
        "roles: 'size' cannot be made ordinal without its order; give it by ordinal, such as "
        "-P ordinal='size:low<middle<high'.",
    ),
    "an unknown threshold": Case(
        "baseline", ["--threshold", "best"], "threshold: 'best' is not known; use one of best_f1. Did you mean best_f1?"
    ),
    "fewer rows than none": Case(
        "main", ["--max_rows", "-5"], "max_rows: -5 rows cannot train anything; give a number of rows, or 0 for all."
    ),
    "an unknown word in read": Case(
        *table("good.csv", "--read", "skp=1"),
        "read: 'skp' is not known; use one of sep, ... Did you mean skip?",
    ),
    "an unknown engine for scoring": Case(
        "score", ["--engine", "sparc"], "engine: 'sparc' is not known; use one of local, spark. Did you mean spark?"
    ),
    "fewer processes than none": Case(
        "score",
        ["--parallelism", "-1"],
        "parallelism: -1 processes cannot score anything; give 1 or more, or 0 for one a core.",
    ),
    "a folder to write into that is not there": Case(
        "score",
        ["--output", "{tables}/nowhere/x.parquet"],
        "output: there is no folder '{tables}/nowhere'; make it, or give another path.",
    ),
    "Spark without a place to write to": Case(
        "score",
        ["--engine", "spark"],
        "output: engine=spark writes part files into a folder that its executors see; give one, such as -P "
        'output="$PWD/scored.parquet".',
    ),
    "an address of an unknown kind": Case(
        "prepare",
        ["--data", "ftp://me:secret@host/x.csv", "--target", "y"],
        "data: 'ftp://host/x.csv' is a ftp address, which cannot be read; give a path, or an address that begins with "
        "one of ...",
    ),
    "a database without a table": Case(
        "prepare",
        ["--data", "postgresql://me:secret@host/shop", "--target", "y"],
        "data: 'postgresql://host/shop' names no table; add it, such as postgresql://host/shop?table=orders.",
    ),
    "unknown sample": Case(
        "baseline",
        ["--data", "chrn"],
        f"data: 'chrn' is neither a sample ({SAMPLES}) nor a file, near it is 'churn'; name a sample or give a path.",
    ),
    "no target for a file": Case(
        "main",
        ["--data", "{tables}/good.csv"],
        "target: '{tables}/good.csv' is not a sample, so its target is not known; "
        "give the name of the column to predict.",
    ),
    "unknown metric": Case(
        "tune_lr",
        ["--metric", "f2"],
        f"metric: 'f2' is not known; use one of {METRICS}, f1_macro, precision_macro, recall_macro, roc_auc_ovr, "
        "rmse, mae, r2.",
    ),
    "unknown algorithm": Case(
        "tune_lr",
        ["--algo", "tpee"],
        "algo: 'tpee' is not known; use one of tpe, rand, anneal, atpe. Did you mean tpe?",
    ),
    "unknown estimator": Case(
        "tune_multi",
        ["--models", "logreg,svmm"],
        "models: 'svmm' is not known; use one of logreg, lda, dtc, svm, knn, rf, extra_trees, "
        "hist_gradient_boosting, xgboost, ridge, lasso, elasticnet, linear_svr, gradient_boosting. Did you mean svm?",
    ),
    "a space file that is not there": Case(
        "tune_multi",
        ["--space", "{tables}/none.yaml"],
        "space: there is no file '{tables}/none.yaml'; give the path of a YAML file.",
    ),
    "a space file that is a table": Case(
        "main",
        ["--data", "churn", "--space", "{tables}/good.csv"],
        "space: the file declares no model; give ranges ...",
    ),
    "unknown split": Case(
        "prepare",
        ["--split", "stratifed"],
        "split: 'stratifed' is not known; use one of ...random, stratified, group, time, hash. "
        "Did you mean stratified?",
    ),
    "no trials": Case(
        "tune_lr",
        ["--max_evals", "0"],
        "max_evals: 0 trials cannot find anything; give 1 or more, such as 16.",
    ),
    "a word for a number": Case(
        "tune_lr",
        ["--max_evals", "many"],
        "Invalid value for '--max_evals': 'many' is not a valid integer; see ... --help.",
    ),
    "unknown option": Case(
        "tune_lr", ["--max_eval", "3"], "No such option '--max_eval'...'--max_evals'...; see ... --help."
    ),
    **{
        f"test_size {size}": Case(
            "prepare",
            ["--test_size", size],
            f"test_size: {size} is outside 0 to 1; give the test rows' share, such as 0.2.",
        )
        for size in ("0", "1", "1.5")
    },
    **{
        f"{name} of several tables": Case(
            "main",
            [f"--{name}", "x"],
            f"{name}: 'x' fits one table, and data names 2 (churn, ecommerce); run them one by one, each with its own.",
        )
        for name in (
            "target",
            "query",
            "test_data",
            "drop",
            "ordinal",
            "positive",
            "metric",
            "models",
            "name",
            "threshold",
        )
    },
    "the wrong step for a sample of numbers": Case(
        "tune_lr",
        ["--data", "ecommerce"],
        "tune_lr: it is for classification, and 'Yearly Amount Spent' of 'ecommerce' makes a table of regression; "
        "run -e tune_multi instead.",
    ),
    **{
        f"{step} for classes": Case(
            step,
            ["--data", "churn"],
            f"{step}: it is for regression, and 'Target' of 'churn' makes a table of classification; "
            "run -e baseline instead.",
        )
        for step in ("regress_sklearn", "regress_statsmodels")
    },
}
# In a run that mlflow's runner has made. Nothing is prepared.
WITH_A_RUN = {
    "no such file": AT_ONCE["no such file"],
    "a word for a number": AT_ONCE["a word for a number"],
    "an empty table": Case(
        *table("empty.csv"), "data: '{tables}/empty.csv' is empty; give a table with a header and rows."
    ),
    "a header only": Case(
        *table("header.csv"), "data: '{tables}/header.csv' has a header but no rows; give a table with rows."
    ),
    "no such target": Case(
        *table("good.csv", target="churn"),
        "target: there is no column 'churn' in '{tables}/good.csv'; near it are churned.",
    ),
    "a constant target": Case(
        *table("constant.csv"), "target: 'churned' is constant, every row has 1; choose a column that varies."
    ),
    "a target all missing": Case(
        *table("missing.csv"), "target: every cell of 'churned' is missing; choose a column that holds values."
    ),
    "fewer rows of a class than folds": Case(
        *table("rare.csv"),
        "folds: the class 1 of 'churned' has 3 training rows, fewer than 5 folds; "
        "give fewer folds, more rows, or leave the class out by query.",
    ),
    "a column twice": Case(
        *table("twice.csv"), "data: the column 'size' stands twice in '{tables}/twice.csv'; rename one of them."
    ),
    "the fold column": Case(
        *table("fold.csv"),
        "data: '{tables}/fold.csv' has a column named '__fold__', which the prepared table keeps for the folds; "
        "rename it, for example by query.",
    ),
    "a role for no column": Case(
        *table("good.csv", "--roles", "siz=drop"),
        "roles: there is no column 'siz' in '{tables}/good.csv'; near it are size.",
    ),
    "a role that the cells cannot have": Case(
        *table("good.csv", "--roles", "kind=numeric"),
        "roles: 'kind' cannot be numeric, it holds 'a'; give another role, name words for missing cells by "
        "read='nullstr=...', or mend the cells by query.",
    ),
    "findings under strict": Case(
        *table("copy.csv", "--strict", "true"),
        "strict: there are findings (...copy left 100.0%...); ....",
    ),
    "text in a numeric order": Case(
        *table("text.csv", "--ordinal", "size:0<1<2<3<4<5<6"),
        "ordinal: the column 'size' holds 'three', text in a numeric order 0<1<2<3<4<5<6; "
        "add the level to the order, lowest first, or mend the cell by query.",
    ),
    "a level not in the order": Case(
        *table("good.csv", "--ordinal", "kind:b<c"),
        "ordinal: the column 'kind' holds 'a', not in its order b<c; "
        "add the level to the order, lowest first, or mend the cell by query.",
    ),
    "a broken file": Case(*table("broken.parquet"), "data: '{tables}/broken.parquet' cannot be read: ..."),
    "a failing query": Case(
        *table("good.csv", "--query", "SELECT nothing FROM data"),
        'query: it fails with ..."nothing" not found...; the table `data` has the columns size, kind, weight, churned.',
    ),
    "an inner step's mistake": Case(
        *table("missing.csv", step="tune_multi"),
        "target: every cell of 'churned' is missing; choose a column that holds values.",
    ),
}
# In such a run too, on tables that may be prepared: no trial begins, no model is made or registered.
BEFORE_ANY_TRIAL = {
    "the wrong step for a target of numbers": Case(
        *table("good.csv", "--task", "regression", step="tune_lr", target="weight"),
        "tune_lr: it is for classification, and 'weight' of '{tables}/good.csv' makes a table of regression; "
        "run -e tune_multi instead.",
    ),
    "another task's metric": Case(
        "tune_lr", ["--metric", "rmse"], f"metric...: 'rmse' is not known; use one of {METRICS}."
    ),
    "another task's estimator among others": Case(
        "main",
        ["--data", "churn", "--models", "logreg,ridge", "--max_evals", "2"],
        "models: 'ridge' is not for classification; use one of logreg, lda, dtc, svm, knn, rf, extra_trees, "
        "hist_gradient_boosting, xgboost.",
    ),
    "a threshold for three classes": Case(
        "baseline",
        ["--data", "iris", "--threshold", "best_f1"],
        "threshold: 'best_f1' needs a target of two classes, but 'species' has 3 classes; leave it out.",
    ),
    "a threshold for a quantity": Case(
        "main",
        ["--data", "diabetes", "--threshold", "best_f1"],
        "threshold: 'best_f1' needs a target of two classes, but 'progression' is a quantity; leave it out.",
    ),
    "too small a sample": Case(
        "baseline", ["--max_rows", "2"], "max_rows: 2 of 763 rows leave a fold empty; give more."
    ),
    "no such run": Case(
        "register",
        ["--run_id", "0123456789abcdef0123456789abcdef"],
        "run_id: there is no run '0123456789abcdef0123456789abcdef' in this tracking store; "
        "copy the id from a run's page.",
    ),
    "no such run under main": Case(
        "main",
        ["--data", "churn", "--max_evals", "2", "--run_id", "0123456789abcdef0123456789abcdef"],
        "run_id: there is no run '0123456789abcdef0123456789abcdef' in this tracking store; "
        "copy the id from a run's page.",
    ),
    "a deleted run": Case(
        "register",
        ["--run_id", "{deleted}"],
        "run_id: run {deleted} is deleted; restore it, or name another run.",
    ),
    "a run without a model": Case(
        "register",
        ["--run_id", "{without_model}"],
        "run_id: run {without_model} has no model; name a run that logged one.",
    ),
    "a run of another table": Case(
        "register",
        ["--run_id", "{other_table}"],
        "run_id: run {other_table} is of another table (lifecycle.table ..., this one is ...); "
        "give the table parameters that it was made with, or name another run.",
    ),
    "a run that took over another": Case(
        "register",
        ["--run_id", "{reused}"],
        "run_id: run {reused} took over the work of another and has no model; name that one, {candidate}.",
    ),
    "a name that no registry takes under main": Case(
        "main", ["--data", "churn", "--max_evals", "2", "--name", "a:b"], "name: 'a:b'..."
    ),
    "a model no better than a constant": Case(
        *table("noise.csv", step="register"),
        "run_id: the best candidate (logistic regression of baseline, run ...) has F1 ... on the test rows, and the "
        "best constant prediction has ...: it is not registered; search longer, or give better columns.",
    ),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tables, each wrong in one way, and one that is good."""
    folder = tmp_path_factory.mktemp("tables")
    texts = {
        "good.csv": HEADER + BODY,
        "good.xlsx": HEADER + BODY,
        "empty.csv": "",
        "header.csv": HEADER,
        "constant.csv": HEADER + re.sub(r",\d$", ",1", BODY, flags=re.MULTILINE),
        "missing.csv": HEADER + re.sub(r",\d$", ",", BODY, flags=re.MULTILINE),
        "rare.csv": HEADER + with_ones(4),
        "twice.csv": HEADER.replace("weight", "size") + BODY,
        "fold.csv": HEADER.replace("weight", "__fold__") + BODY,
        "copy.csv": HEADER.replace("size", "left") + "".join(f"{y},{k},{w},{y}\n" for _, k, w, y in ROWS),
        "text.csv": HEADER + BODY + "three,a,4,1\n",
        "broken.parquet": "PAR1 and no more",
        # The target has nothing to do with the columns.
        "noise.csv": HEADER + "".join(f"{i * 7919 % 101},{'ab'[i % 2]},{i % 10},{i // 3 % 2}\n" for i in range(200)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def with_ones(number: int) -> str:
    """Return the rows with so many of the positive class."""
    return "".join(f"{s},{k},{w},{int(i < number)}\n" for i, (s, k, w, _) in enumerate(ROWS))


@pytest.fixture(scope="module")
def shop(whole: Any) -> tuple[Any, dict[str, str]]:
    """The store of the whole run, whose facts are of its own runs alone, and runs that cannot be candidates."""
    client = whole.store.client
    deleted = client.create_run("0").info.run_id
    client.delete_run(deleted)
    candidate = whole.step("churn", "baseline")
    tags = {"lifecycle.reused": candidate.info.run_id, "lifecycle.table": candidate.data.tags["lifecycle.table"]}
    reused = client.create_run("0", tags=tags).info.run_id
    client.set_terminated(reused)
    return whole.store, {
        "deleted": deleted,
        "candidate": candidate.info.run_id,
        "other_table": whole.step("ecommerce", "regress_sklearn").info.run_id,
        "reused": reused,
        "without_model": whole.step("churn", "prepare").info.run_id,
    }


class Ended(NamedTuple):
    """A case that has ended: where it ran, in which run, what the process left, and what it should have said."""

    store: Any
    run_id: str
    done: Any
    sentence: str


Cases = Callable[[dict[str, Case], str], Ended]


@contextmanager
def side_by_side(
    request: pytest.FixtureRequest, groups: list[dict[str, Case]], start: Callable[[Case], Callable[[], Ended]]
) -> Iterator[Cases]:
    """Run the selected cases of some groups, two at once: nearly all of the time is the start of Python."""
    selected = [
        (item.callspec.params["group"], item.callspec.params["name"])
        for item in request.session.items
        if item.path == request.path and "group" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    with ThreadPoolExecutor(2) as pool:
        futures = {
            (id(group), name): pool.submit(start(group[name]))
            for group, name in selected
            if any(group is one for one in groups)
        }
        yield lambda group, name: futures[id(group), name].result()
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def at_once(request: pytest.FixtureRequest, tables: Path, new_store: Callable[[], Any]) -> Iterator[Cases]:
    """Each case by hand, in an empty folder."""

    def start(case: Case) -> Callable[[], Ended]:
        store = new_store()
        return lambda: run_case(case, store, "", {"tables": str(tables), "here": str(store.folder)})

    with side_by_side(request, [AT_ONCE], start) as cases:
        yield cases


@pytest.fixture(scope="module")
def in_runs(request: pytest.FixtureRequest, tables: Path, shop: tuple[Any, dict[str, str]]) -> Iterator[Cases]:
    """Each case in a run that has been made for it, all in one store."""
    store, ids = shop

    def start(case: Case) -> Callable[[], Ended]:
        run_id = store.client.create_run("0").info.run_id
        return lambda: run_case(case, store, run_id, {"tables": str(tables), **ids})

    with side_by_side(request, [WITH_A_RUN, BEFORE_ANY_TRIAL], start) as cases:
        yield cases


def run_case(case: Case, store: Any, run_id: str, words: dict[str, str]) -> Ended:
    # As mlflow's runner does for the process of an entry point.
    runner = {"MLFLOW_RUN_ID": run_id, "MLFLOW_EXPERIMENT_ID": "0", "MLFLOW_TRACKING_URI": store.uri}
    options = [option.format(**words) for option in case.options]
    done = store.script(case.step, *options, **(runner if run_id else {}))
    return Ended(store, run_id, done, case.sentence.format(**words))


def like(sentence: str) -> str:
    """Return the pattern of a whole sentence, in which `...` stands for anything."""
    return re.escape(sentence).replace(re.escape("..."), ".*")


def assert_told_once(ended: Ended) -> None:
    """One line, one sentence, no traceback, and the exit code of a user's mistake."""
    done = ended.done
    assert "Traceback" not in done.err + done.out, done.err
    assert len(done.errors) == 1, done.err
    assert re.fullmatch(like(f"Error: {ended.sentence}"), done.errors[0]), done.errors[0]
    assert (done.out + done.err).count(done.errors[0].removeprefix("Error: ")) == 1
    assert done.code == 2
    # A word of numpy's is no word of the user's table.
    assert "np." not in done.errors[0]


def tree(store: Any, run_id: str) -> list[Any]:
    """Return a run and all below it."""
    found = [store.client.get_run(run_id)]
    for run in found:
        found += store.children(run.info.run_id)
    return found


def all_of(group: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("group", "name"), [pytest.param(group, name, id=name) for name in group])


@all_of(AT_ONCE)
def test_mistake_is_told_at_once(at_once: Cases, group: dict[str, Case], name: str) -> None:
    """Before mlflow is imported: no store is made, and nothing is printed but the sentence."""
    case = at_once(group, name)
    assert_told_once(case)
    assert case.done.err.count("\n") == 1 and not case.done.out
    assert list(case.store.folder.iterdir()) == []


@all_of(WITH_A_RUN)
def test_mistake_is_told_and_its_run_bears_it(in_runs: Cases, group: dict[str, Case], name: str) -> None:
    case = in_runs(group, name)
    assert_told_once(case)
    for run in tree(case.store, case.run_id):
        assert run.info.status == "FAILED"
        assert run.data.tags["lifecycle.error"] == case.done.errors[0].removeprefix("Error: ")
        # What the audit found may be read; there is no prepared table.
        there = {path.name for path in (case.store.artifacts(run) / "prepared").glob("*")}
        assert there == (
            {"findings.csv", "breaches.csv"} if "strict" in name and run.info.run_id == case.run_id else set()
        )
        assert run.data.tags.get("lifecycle.step") in (None, "prepare", "main", "tune_multi")


@all_of(BEFORE_ANY_TRIAL)
def test_mistake_is_told_before_any_trial(in_runs: Cases, group: dict[str, Case], name: str) -> None:
    case = in_runs(group, name)
    assert_told_once(case)
    run, *others = tree(case.store, case.run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["lifecycle.error"] == case.done.errors[0].removeprefix("Error: ")
    assert not case.store.models(case.run_id)
    assert {other.info.status for other in others} <= {"FINISHED", "FAILED"}
    assert not [other.info.run_name for other in others if other.data.tags.get("lifecycle.step") == "trial"]
    # What the whole run registered, and no more.
    assert {model.name for model in case.store.client.search_registered_models()} == {"churn", "ecommerce"}
    assert list(case.store.versions("churn")) == ["1"]


def test_mlflow_run_shows_the_inner_sentence_once(tables: Path, new_store: Callable[[], Any], project: Path) -> None:
    """Three processes, one sentence; mlflow's own exit code is 1 for every failure."""
    store = new_store()
    done = store.mlflow_run(project, "-P", f"data={tables / 'constant.csv'}", "-P", "target=churned")
    sentence = "target: 'churned' is constant, every row has 1; choose a column that varies."
    assert done.code == 1
    assert done.errors == [f"Error: {sentence}"]
    assert "Traceback" not in done.err
    assert {(r.data.tags["lifecycle.step"], r.info.status, r.data.tags["lifecycle.error"]) for r in store.runs()} == {
        ("main", "FAILED", sentence),
        ("prepare", "FAILED", sentence),
    }


def test_fault_of_ours_shows_its_traceback(new_store: Callable[[], Any], scratch: Path, tmp_path: Path) -> None:
    """In a copy whose inner step breaks: exit code 1 and the traceback, once; no run is left as if it were well."""
    broken, store = tmp_path / "lifecycle", new_store()
    shutil.copytree(scratch, broken)
    module = broken / "steps" / "lifecycle" / "table.py"
    text = module.read_text(encoding="utf-8")
    module.write_text(text.replace("    check_header(", "    1 / 0\n    check_header(", 1), encoding="utf-8")
    done = store.script("baseline", of=broken)
    assert done.code == 1
    assert done.err.count("ZeroDivisionError") == 1
    assert done.err.count("Traceback") == 1
    assert not done.errors
    assert {(run.data.tags["lifecycle.step"], run.info.status) for run in store.runs()} == {
        ("baseline", "FAILED"),
        ("prepare", "FAILED"),
    }


# A store that cannot be reached.


@pytest.fixture
def unwell() -> Iterator[int]:
    """The port of a server that answers every request by 503, as what stands before a tracking store does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(503)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *words: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class Silent:
    """A server that takes connections and never answers; it knows for how many seconds the last waited for it."""

    def __init__(self, server: socket.socket) -> None:
        self.port, self.waited = int(server.getsockname()[1]), 0.0
        self._server = server

    def listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                began = time.monotonic()
                while connection.recv(4096):
                    pass
                connection.close()
                self.waited = time.monotonic() - began


@pytest.fixture
def silent() -> Iterator[Silent]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = Silent(server)
        thread = threading.Thread(target=one.listen)
        thread.start()
        yield one
        # Closing alone would leave a thread in accept().
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def assert_out_of_reach(store: Any, step: str, silent: Silent | None = None, **variables: str) -> None:
    """What else runs here may take the cores for seconds: of three one has to be in time, and waiting is told apart."""
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = store.script(step, timeout=60, **variables)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if (worked + silent.waited if silent else done.seconds) < 10:
            break
    else:
        pytest.fail(f"{step} has not ended 10 s after its start, three times")
    assert done.code == 2
    assert "Traceback" not in done.err
    [error] = done.errors
    assert error.startswith("Error: MLFLOW_TRACKING_URI: ")


@pytest.mark.parametrize(("step", "run_id"), [("baseline", ""), ("main", "0123456789abcdef0123456789abcdef")])
def test_store_where_nobody_listens_is_told_within_ten_seconds(
    new_store: Callable[[], Any], free_port: Callable[[], int], step: str, run_id: str
) -> None:
    """By hand, and in the run of a runner that has reached it a moment ago."""
    run = {"MLFLOW_RUN_ID": run_id} if run_id else {}
    assert_out_of_reach(new_store(), step, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}", **run)


def test_store_that_is_unwell_is_told_within_ten_seconds(new_store: Callable[[], Any], unwell: int) -> None:
    assert_out_of_reach(new_store(), "baseline", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{unwell}")


def test_store_that_never_answers_is_told_within_ten_seconds(new_store: Callable[[], Any], silent: Silent) -> None:
    assert_out_of_reach(new_store(), "baseline", silent, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{silent.port}")
    assert silent.waited > 1


def test_store_that_is_no_database_is_told_within_ten_seconds(new_store: Callable[[], Any]) -> None:
    store = new_store()
    other = store.folder / "notes.db"
    other.write_text("no database " * 1000, encoding="utf-8")
    assert_out_of_reach(store, "prepare", MLFLOW_TRACKING_URI=f"sqlite:///{other}")
    assert os.listdir(store.folder) == ["notes.db"]

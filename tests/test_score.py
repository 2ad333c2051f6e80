"""`score` on the store of the whole run: the same predictions by every engine, tracked, and nothing for bad tables."""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.whole
# More than one batch of rows, so that processes take turns.
TIMES = 70


def many(project: Path) -> pd.DataFrame:
    """The churn sample seventy times, its rows numbered."""
    rows = pd.concat([pd.read_csv(project / "data" / "churn.csv")] * TIMES, ignore_index=True)
    return rows.assign(row_id=np.arange(len(rows)))


@pytest.fixture(scope="module")
def tables(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    rows = many(project)
    rows.to_parquet(folder / "many.parquet")
    few = rows.head(20).drop(columns="row_id")
    few.assign(BookedHotelOrNot="Perhaps", Age=99).to_csv(folder / "odd.csv", index=False)
    few.assign(Age="old").to_csv(folder / "words.csv", index=False)
    few.drop(columns=["Age", "Target"]).to_csv(folder / "lacking.csv", index=False)
    few.to_csv(folder / "few.csv", index=False)
    (folder / "taken.parquet").write_text("what was there", encoding="utf-8")
    return folder


CHURN = ["--model", "models:/churn@champion"]
# What is run, two at once: most of it is starting Python.
COMMANDS = {
    "one": ["--data", "{tables}/many.parquet", *CHURN, "--output", "{tables}/one.parquet", "--parallelism", "1"],
    "two": ["--data", "{tables}/many.parquet", *CHURN, "--output", "{tables}/two.parquet", "--parallelism", "2"],
    "spark": ["--data", "{tables}/many.parquet", *CHURN, "--output", "{tables}/spark.parquet", "--parallelism", "2"]
    + ["--engine", "spark"],
    "regression": ["--data", "ecommerce"],
    "odd": ["--data", "{tables}/odd.csv", *CHURN],
    "taken": ["--data", "{tables}/few.csv", *CHURN, "--output", "{tables}/taken.parquet"],
    "no model": ["--data", "{tables}/few.csv"],
    "no version": ["--model", "models:/churn/99"],
    "words": ["--data", "{tables}/words.csv", *CHURN, "--output", "{tables}/words.parquet"],
    "lacking": ["--data", "{tables}/lacking.csv", *CHURN],
}


@pytest.fixture(scope="module")
def score(whole: Any, tables: Path) -> Iterator[Callable[[str], Any]]:
    """Give how each of the commands ended."""
    started: dict[str, Future[Any]] = {}
    with ThreadPoolExecutor(2) as pool:
        for name, options in COMMANDS.items():
            typed = [option.format(tables=tables) for option in options]
            started[name] = pool.submit(whole.store.script, "score", *typed)
        yield lambda name: started[name].result()
        pool.shutdown(cancel_futures=True)


def run_of(store: Any, **own: Any) -> Any:
    """Return the one scoring whose own settings hold some values."""
    [run] = [run for run in store.steps("score") if own.items() <= settings_of(store, run).items()]
    return run


def settings_of(store: Any, run: Any) -> dict[str, Any]:
    path = store.artifacts(run) / "settings.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["own"] if path.exists() else {}
    return found


@pytest.fixture(scope="module")
def expected(whole: Any, project: Path) -> Any:
    """What scikit-learn says itself, of the model as its file holds it."""
    return own_predictions(whole.store, "churn", many(project))


def own_predictions(store: Any, name: str, rows: pd.DataFrame) -> Any:
    version = store.client.get_model_version_by_alias(name, "champion")
    [model] = store.models(version.run_id)
    return mlflow.sklearn.load_model(model.artifact_location).predict(rows)


@pytest.mark.parametrize("way", ["one", "two"])
def test_processes_predict_what_scikit_learn_does_in_the_tables_order(
    score: Callable[[str], Any], tables: Path, expected: Any, project: Path, way: str
) -> None:
    score(way).well()
    found = pd.read_parquet(tables / f"{way}.parquet")
    pd.testing.assert_frame_equal(found, many(project).assign(prediction=expected), check_dtype=False)
    assert set(found["prediction"]) == {0, 1}


def test_spark_predicts_the_same_of_every_row_once(
    score: Callable[[str], Any], tables: Path, expected: Any, project: Path
) -> None:
    score("spark").well()
    found = pd.read_parquet(tables / "spark.parquet").sort_values("row_id", ignore_index=True)
    pd.testing.assert_frame_equal(found, many(project).assign(prediction=expected), check_dtype=False)
    assert (tables / "spark.parquet" / "_SUCCESS").exists()


def test_a_sample_alone_is_enough_and_its_rows_go_with_the_run(
    score: Callable[[str], Any], whole: Any, project: Path
) -> None:
    """A regression, by the champion that bears the sample's name."""
    done = score("regression").well()
    assert "score: 500 rows by models:/ecommerce/1 in " in done.out
    assert done.out.rstrip().endswith("written to predictions.parquet of the run.")
    run = run_of(whole.store, data=str(project / "data" / "ecommerce.csv"))
    rows = pd.read_csv(project / "data" / "ecommerce.csv")
    found = pd.read_parquet(whole.store.artifacts(run) / "predictions.parquet")
    pd.testing.assert_frame_equal(
        found, rows.assign(prediction=own_predictions(whole.store, "ecommerce", rows)), check_dtype=False, rtol=1e-12
    )


def test_the_run_says_what_was_scored_by_what(
    score: Callable[[str], Any], whole: Any, tables: Path, project: Path
) -> None:
    score("one").well()
    run = run_of(whole.store, output=str(tables / "one.parquet"))
    assert run.info.status == "FINISHED"
    digest = hashlib.sha256((tables / "many.parquet").read_bytes()).hexdigest()
    tags = run.data.tags
    assert (tags["lifecycle.step"], tags["lifecycle.model"], tags["lifecycle.data"]) == (
        "score",
        "models:/churn/1",
        digest,
    )
    metrics = run.data.metrics
    assert metrics["rows"] == TIMES * 954
    assert metrics["rows_per_second"] == pytest.approx(metrics["rows"] / metrics["seconds"])
    [dataset] = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("many.parquet", digest[:36])
    assert [(tag.key, tag.value) for tag in dataset.tags] == [("mlflow.data.context", "scoring")]
    own = settings_of(whole.store, run)
    assert (own["model"], own["engine"], own["parallelism"]) == ("models:/churn/1", "local", 1)
    assert pd.read_csv(whole.store.artifacts(run) / "breaches.csv").empty


def test_warnings_of_the_contract_are_told_and_kept(score: Callable[[str], Any], whole: Any, tables: Path) -> None:
    done = score("odd").well()
    assert (
        "score: warning new_level: the column 'BookedHotelOrNot' holds 1 level that training does not have" in done.out
    )
    assert "score: warning above: the column 'Age' is over" in done.out
    run = run_of(whole.store, data=str(tables / "odd.csv"))
    breaches = pd.read_csv(whole.store.artifacts(run) / "breaches.csv")
    assert sorted(zip(breaches["code"], breaches["count"], strict=True)) == [("above", 20), ("new_level", 20)]
    assert len(pd.read_parquet(whole.store.artifacts(run) / "predictions.parquet")) == 20


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        (
            "taken",
            "output: '{tables}/taken.parquet' exists; give another path, or -P overwrite=true, which replaces it.",
        ),
        (
            "no model",
            "model: there is no model 'models:/few@champion' (Registered Model with name=few not found); run -e "
            "register, which makes models:/NAME@champion, or name another.",
        ),
        (
            "no version",
            "model: there is no model 'models:/churn/99' (Model Version (name=churn, version=99) not found); run -e "
            "register, which makes models:/NAME@champion, or name another.",
        ),
        (
            "words",
            "data: the table breaks the contract of the training table: the column 'Age' is numeric, but holds what is "
            "not a number in 20 of 20 rows (100.0%), such as 'old'; mend it, for example by query.",
        ),
        (
            "lacking",
            "data: the table breaks the contract of the training table: the column 'Age' is absent; mend it, for "
            "example by query.",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    score: Callable[[str], Any], tables: Path, case: str, sentence: str
) -> None:
    done = score(case)
    assert (done.code, done.errors) == (2, [f"Error: {sentence.format(tables=tables)}"])
    assert "Traceback" not in done.err and not done.out
    assert (tables / "taken.parquet").read_text(encoding="utf-8") == "what was there"
    assert not (tables / "words.parquet").exists()
    # Others are being written meanwhile.
    assert not [*tables.glob(".taken*"), *tables.glob(".words*")]

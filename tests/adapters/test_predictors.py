"""Processes that hold a model: the same predictions as in this one, and what one that dies costs."""

import os
import signal
from concurrent.futures import Future
from pathlib import Path

import guests
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hostile import appeared, lives

from lifecycle.adapters import predicting, predictors
from lifecycle.errors import UserError

pytestmark = pytest.mark.whole
FOREVER = "Path({file!r}).write_text(str(os.getpid()))\ntime.sleep(600)"


def batch(*numbers: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array(numbers)], names=["x"])


def results(futures: "list[Future[pa.Array]]") -> list[list[object]]:
    return [future.result(60).to_pylist() for future in futures]


def test_processes_predict_as_this_one_does_each_on_one_thread(tmp_path: Path) -> None:
    model = guests.save(tmp_path, 'return [os.environ.get("OMP_NUM_THREADS", "") + f":{x}" for x in rows.x]')
    with predictors.InProcess(model) as here:
        assert results([here.submit(batch(1, 2))]) == [[":1", ":2"]]
    with predictors.Pool(model, 2) as pool:
        assert results([pool.submit(batch(n)) for n in range(20)]) == [[f"1:{n}"] for n in range(20)]
        pids = pool.pids
        assert len(pids) == 2 and os.getpid() not in pids
    assert not any(lives(pid) for pid in pids)


HOSTILE = """
x, file = rows.x[0], Path({file!r})
if x == 5 and not file.exists():
    file.write_text(str(os.getpid()))
    time.sleep(600)
if x == 7:
    os.kill(os.getpid(), signal.SIGSEGV)
if x == 9:
    print("noise")
    raise KeyError("no such colour")
return rows.x * 2
"""


def test_a_batch_whose_process_dies_is_tried_once_more(tmp_path: Path) -> None:
    """One is killed from outside in mid-batch, one kills each process that it comes to, one is refused."""
    file = tmp_path / "pid"
    model = guests.save(tmp_path / "guest", HOSTILE.format(file=str(file)))
    with predictors.Pool(model, 1) as pool:
        refused, *good = (pool.submit(batch(n, n + 1)) for n in (9, 4, 5, 6))
        killing, after = pool.submit(batch(7)), pool.submit(batch(8))
        with pytest.raises(predicting.Unfit, match=r"^refuses the rows: KeyError: 'no such colour'$"):
            refused.result(60)
        os.kill(appeared(file), signal.SIGKILL)
        assert results(good) == [[8, 10], [10, 12], [12, 14]]
        with pytest.raises(
            UserError,
            match=r"^parallelism: the same rows ended two processes, of the second the worker died \(signal 11, "
            r"SIGSEGV\); nothing is written, so give fewer processes at once, or look at the model\.$",
        ):
            killing.result(60)
        assert results([after]) == [[16]]


def test_a_model_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    model = guests.save(tmp_path, "return rows.x")
    (model / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    with (
        predictors.Pool(model, 1) as pool,
        pytest.raises(predicting.Unfit, match="^cannot be loaded: MlflowException: "),
    ):
        pool.submit(batch(1)).result(60)
    with pytest.raises(predicting.Unfit, match="^cannot be loaded: MlflowException: "), predictors.InProcess(model):
        pass


def test_leaving_in_trouble_ends_what_is_under_way(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    model = guests.save(tmp_path / "guest", FOREVER.format(file=str(file)))
    with pytest.raises(KeyboardInterrupt, match="^asked$"), predictors.Pool(model, 1) as pool:
        future = pool.submit(batch(1))
        process = appeared(file)
        raise KeyboardInterrupt("asked")
    assert future.exception(0) is not None
    assert not lives(process)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array(["a", "b"], dtype=object), ["a", "b"]),
        (np.array([[1.5], [2.5]]), [1.5, 2.5]),
        (pd.DataFrame({"y": [True, False]}), [True, False]),
        (pd.Series([1.0, np.nan]), [1.0, None]),
        ([3, 4], [3, 4]),
    ],
    ids=["texts", "objects", "one column", "a frame", "a missing one", "a list"],
)
def test_one_value_a_row_is_taken_however_it_comes(predicted: object, expected: list[object]) -> None:
    assert predicting.one_a_row(predicted, 2).to_pylist() == expected


@pytest.mark.parametrize(
    ("predicted", "sentence"),
    [
        (pd.DataFrame({"a": [1, 2], "b": [3, 4]}), r"predicts 2 columns \(a, b\), where one is needed"),
        (np.zeros((2, 3)), r"predicts an array of shape \(2, 3\) for 2 rows, where one value a row is needed"),
        (np.zeros(3), r"predicts an array of shape \(3,\) for 2 rows, where one value a row is needed"),
        (np.float64(1), r"predicts an array of shape \(\) for 2 rows, where one value a row is needed"),
        ([{"a": 1}, "b"], r"predicts what makes no column: ArrowInvalid: .*"),
    ],
    ids=["two columns", "probabilities", "too many", "one for all", "this and that"],
)
def test_anything_else_is_refused(predicted: object, sentence: str) -> None:
    with pytest.raises(predicting.Unfit, match=f"^{sentence}$"):
        predicting.one_a_row(predicted, 2)

"""Properties of the whole of `make`: no row lost or doubled, and the same table whatever it is read from or by."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames import relation_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecycle.adapters import sources
from lifecycle.adapters.preparation import Made, make, opened, workplace
from lifecycle.audit import AUDITED_ROWS
from lifecycle.contract import Contract
from lifecycle.models import pipeline, plain_estimator
from lifecycle.reading import parse_read
from lifecycle.settings import TableSettings
from lifecycle.table import read_prepared

# Some 60 ms each, and the first imports scikit-learn.
few = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SPLITS = {
    "random": {"split": "random"},
    "stratified": {"split": "stratified"},
    "group": {"split": "group", "split_column": "shop"},
    "time": {"split": "time", "split_column": "day"},
    "hash": {"split": "hash"},
    "hash of a column": {"split": "hash", "split_column": "shop"},
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Tables of every kind of column; ``tag`` tells the rows apart and is a number that models read."""
    count, chance = draw(st.integers(60, 120)), np.random.default_rng(draw(st.integers(0, 2**16)))
    frame = pd.DataFrame(
        {
            "tag": chance.permutation(count) * 1000 + 0.5,
            "size": chance.integers(0, 5, count),
            "word": chance.choice(["a", "b ", "A", "true", "TRUE", "é", "?", ""], count),
            "price": chance.choice(["1,50", "2,25", "1.000,00", "7"], count),
            "shop": chance.choice([f"s{i}" for i in range(12)], count),
            "day": pd.Timestamp("2021-03-01") + pd.to_timedelta(chance.integers(0, 40, count), unit="D"),
            "y": chance.permutation(np.resize(["no", "yes", "no"], count)),
        }
    )
    frame["size"] = frame["size"].astype("Int64").mask(chance.random(count) < 0.2)
    if draw(st.booleans()):
        frame["y"] = frame["y"].mask(chance.random(count) < 0.1)
    return frame


def asked(split: str, **more: Any) -> TableSettings:
    return TableSettings("t.csv", "y", folds=3, **{"test_size": 0.3, **SPLITS[split], **more})


@contextmanager
def made(frame: pd.DataFrame, settings: TableSettings, threads: int = 2) -> Iterator[Made]:
    with tempfile.TemporaryDirectory() as folder, workplace(Path(folder)) as connection:
        connection.execute(f"SET threads = {threads}")
        yield make(relation_of(frame, connection), settings, None, Path(folder))


def sides(table: Made) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_parquet(table.train), pd.read_parquet(table.test)


# ------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize("split", SPLITS)
@few
@given(frame=frames(), seed=st.integers(0, 99))
def test_no_split_loses_or_doubles_a_row(split: str, frame: pd.DataFrame, seed: int):
    """Every row with a target stands on one side, once, with its own cells."""
    with made(frame, asked(split, seed=seed)) as table:
        train, test = sides(table)
        contract = table.prepared.contract
    present = frame[frame["y"].notna()].set_index("tag")
    both = pd.concat([train, test])
    assert sorted(both["tag"]) == sorted(present.index)
    assert contract.rows_without_target == int(frame["y"].isna().sum())
    theirs = present.loc[both["tag"]]
    assert both["y"].tolist() == theirs["y"].tolist()
    np.testing.assert_array_equal(both["size"].to_numpy(float), theirs["size"].astype("float64").to_numpy(float))
    words = theirs["word"].str.strip().replace({"true": "True", "TRUE": "True", "?": None, "": None})
    assert both["word"].fillna("-").tolist() == words.fillna("-").tolist()
    prices = theirs["price"].map({"1,50": 1.5, "2,25": 2.25, "1.000,00": 1000.0, "7": 7.0})
    assert both["price"].tolist() == prices.tolist()
    assert sorted(train["__fold__"].unique()) == [0, 1, 2]


@few
@given(frame=frames(), further=frames())
def test_a_second_table_loses_no_row_either(frame: pd.DataFrame, further: pd.DataFrame):
    further = further.assign(tag=further["tag"] + 0.25)
    with tempfile.TemporaryDirectory() as folder, workplace(Path(folder)) as connection:
        raw, second = relation_of(frame, connection), relation_of(further, connection, "test_data")
        train, test = sides(make(raw, asked("random", test_data="u.csv"), second, Path(folder)))
    assert train["tag"].tolist() == frame.loc[frame["y"].notna(), "tag"].tolist()
    assert test["tag"].tolist() == further.loc[further["y"].notna(), "tag"].tolist()


@few
@given(frame=frames(), seed=st.integers(0, 99))
def test_groups_are_whole_on_both_sides_and_in_the_folds(frame: pd.DataFrame, seed: int):
    with made(frame, asked("group", seed=seed)) as table:
        train, test = sides(table)
    shops = frame.set_index("tag")["shop"]
    assert not set(shops[train["tag"]]) & set(shops[test["tag"]])
    assert train["__fold__"].groupby(shops[train["tag"]].to_numpy()).nunique().max() == 1


@few
@given(frame=frames())
def test_times_are_in_order_over_both_sides_and_the_folds(frame: pd.DataFrame):
    with made(frame, asked("time")) as table:
        train, test = sides(table)
    assert train["day"].max() < test["day"].min()
    assert train["day"].is_monotonic_increasing
    ends = train.groupby("__fold__")["day"].agg(["min", "max"])
    assert (ends["max"].to_numpy()[:-1] < ends["min"].to_numpy()[1:]).all()


@pytest.mark.parametrize("split", ["hash", "hash of a column"])
@few
@given(frame=frames(), further=frames(), seed=st.integers(0, 99))
def test_rows_keep_their_side_when_the_table_grows(split: str, frame: pd.DataFrame, further: pd.DataFrame, seed: int):
    """Also where the new rows change what a column is read as."""
    grown = pd.concat([frame, further.assign(tag=further["tag"] + 0.25, size=further["size"] + 0.5)])
    with made(frame, asked(split, seed=seed)) as table:
        before = [set(side["tag"]) for side in sides(table)]
    with made(grown, asked(split, seed=seed)) as table:
        after = [set(side["tag"]) for side in sides(table)]
    assert before[0] <= after[0]
    assert before[1] <= after[1]


@few
@given(frame=frames(), seed=st.integers(0, 99))
def test_equal_rows_stay_together_by_hash(frame: pd.DataFrame, seed: int):
    twice = pd.concat([frame, frame, frame.sample(frac=0.5, random_state=seed)])
    with made(twice, asked("hash", seed=seed)) as table:
        train, test = sides(table)
        codes = [finding.code for finding in table.findings]
    assert not set(train["tag"]) & set(test["tag"])
    assert not test["__twin__"].any()
    assert "twins" not in codes


# ------------------------------------------------------------------------------------- sameness


def digests(table: Made) -> list[str]:
    """SHA-256 of the two files and of the contract."""
    content = [table.train.read_bytes(), table.test.read_bytes(), table.prepared.contract.to_json().encode()]
    return [hashlib.sha256(one).hexdigest() for one in content]


@pytest.mark.parametrize("split", SPLITS)
@few
@given(frame=frames())
def test_preparing_twice_gives_the_same_bytes_by_any_number_of_threads(split: str, frame: pd.DataFrame):
    found = []
    for threads in (2, 1, 5):
        with made(frame, asked(split), threads) as table:
            found.append(digests(table))
    assert found == found[:1] * 3


@pytest.mark.parametrize("split", ["stratified", "hash", "time"])
def test_a_table_of_many_row_groups_has_the_same_bytes_by_any_number_of_threads(split: str, tmp_path: Path):
    rows, chance = 300_000, np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "tag": chance.permutation(rows) / 8,
            "word": chance.choice([f"w{i}" for i in range(3000)], rows),
            "note": [f"{a} of {b}" for a, b in chance.integers(0, 5000, (rows, 2))],
            "shop": chance.choice(["n", "s"], rows),
            "day": pd.Timestamp("2021-03-01") + pd.to_timedelta(chance.integers(0, 9999, rows), unit="h"),
            "y": chance.choice(["no", "yes"], rows),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=20_000)
    label, found = frame.set_index("tag")["y"], []
    for threads in (1, 2, 4):
        with from_file(tmp_path / "t.parquet", asked(split), threads) as table:
            found.append(digests(table))
            assert len(table.prepared.train) + len(table.prepared.test) == rows
            both = pd.concat(sides(table))
            assert both["y"].tolist() == label.loc[both["tag"]].tolist()
    assert found == found[:1] * 3


@contextmanager
def from_file(path: Path, settings: TableSettings, threads: int = 2) -> Iterator[Made]:
    with tempfile.TemporaryDirectory() as folder, workplace(Path(folder)) as connection:
        connection.execute(f"SET threads = {threads}")
        [raw] = opened(connection, [sources.locate("data", str(path))], settings, Path(folder))
        yield make(raw, settings, None, Path(folder))


WRITERS: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "t.csv": lambda frame, path: frame.to_csv(path, index=False),
    "t.csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "t.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "t.feather": lambda frame, path: frame.to_feather(path),
}


def without_types(contract: Contract) -> Contract:
    """Leave out what each form may say otherwise of the same cells, such as DATE and TIMESTAMP."""
    return replace(contract, columns=tuple(replace(column, type="") for column in contract.columns))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("split", SPLITS)
@settings(few, max_examples=2)
@given(frame=frames())
def test_every_form_of_a_table_is_prepared_alike(name: str, split: str, frame: pd.DataFrame, tmp_path: Path):
    frame.to_parquet(tmp_path / "t.parquet")
    WRITERS[name](frame, tmp_path / name)
    with from_file(tmp_path / "t.parquet", asked(split)) as table:
        expected, contract = sides(table), table.prepared.contract
    with from_file(tmp_path / name, asked(split)) as table:
        found = sides(table)
        assert without_types(table.prepared.contract) == without_types(contract)
    for one, other in zip(expected, found, strict=True):
        pd.testing.assert_frame_equal(one, other)


# ------------------------------------------------------------------------------------- order


@pytest.mark.parametrize("split", SPLITS)
@few
@given(frame=frames(), order=st.permutations(["tag", "size", "word", "price", "shop", "day", "y"]))
def test_the_order_of_columns_changes_their_order_alone(split: str, frame: pd.DataFrame, order: list[str]):
    with made(frame, asked(split)) as table:
        expected, contract = sides(table), table.prepared.contract
    with made(frame[order], asked(split)) as table:
        found, other = sides(table), table.prepared.contract
    inputs = [name for name in order if name != "y"]
    assert [column.name for column in other.columns] == inputs
    assert {column.name: column for column in other.columns} == {column.name: column for column in contract.columns}
    for one, two in zip(expected, found, strict=True):
        pd.testing.assert_frame_equal(one, two[one.columns])


@few
@given(frame=frames(), seed=st.integers(0, 99))
def test_the_order_of_rows_changes_no_column_and_by_hash_no_side(frame: pd.DataFrame, seed: int):
    """By hash the training rows are the same ones, so all that is said of the columns is the same too."""
    shuffled = frame.sample(frac=1, random_state=seed)
    with made(frame, asked("hash")) as table:
        expected, contract = sides(table), table.prepared.contract
    with made(shuffled, asked("hash")) as table:
        found, other = sides(table), table.prepared.contract
    assert other == contract
    for one, two in zip(expected, found, strict=True):
        assert set(one["tag"]) == set(two["tag"])


@few
@given(frame=frames(), seed=st.integers(0, 99))
def test_the_order_of_rows_changes_no_role_whatever_the_split(frame: pd.DataFrame, seed: int):
    """With a second table all rows train: roles, levels and ranges are of the rows, not of their order."""
    found = []
    for table in (frame, frame.sample(frac=1, random_state=seed)):
        with tempfile.TemporaryDirectory() as folder, workplace(Path(folder)) as connection:
            raw, second = relation_of(table, connection), relation_of(frame, connection, "test_data")
            found.append(make(raw, asked("random", test_data="u.csv"), second, Path(folder)).prepared.contract)
    assert found[0] == found[1]


def test_days_written_as_one_number_may_be_asked_for_as_dates(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("booked,x,y\n" + "".join(f"202101{1 + i % 28:02d},{i % 7},{i % 2}\n" for i in range(60)))
    found = TableSettings(str(path), "y", roles=(("booked", "datetime"),))
    with workplace(tmp_path) as connection:
        tables = opened(connection, [sources.locate("data", str(path))], found, tmp_path)
        contract = make(tables[0], found, None, tmp_path).prepared.contract
    [booked] = [column for column in contract.columns if column.name == "booked"]
    assert (booked.role, booked.format, booked.origin) == ("datetime", "%Y%m%d", "2021-01-01 00:00:00")


def test_a_column_may_bear_the_name_that_duckdb_numbers_rows_by() -> None:
    """The audit draws from so many rows; it draws the same whatever the columns' names are."""
    chance, rows = np.random.default_rng(0), 40_000
    frame = pd.DataFrame({"number": chance.normal(size=rows), "y": chance.choice(["no", "yes"], rows)})
    samples = []
    for name in ("number", "file_row_number"):
        with tempfile.TemporaryDirectory() as folder, workplace(Path(folder)) as connection:
            table = relation_of(frame.rename(columns={"number": name}), connection)
            samples.append(make(table, asked("random"), None, Path(folder)).train_sample)
    assert len(samples[0]) == AUDITED_ROWS
    pd.testing.assert_frame_equal(samples[1].rename(columns={"file_row_number": "number"}), samples[0])


def test_models_read_served_dates_in_the_form_that_the_user_has_declared(tmp_path: Path) -> None:
    rows = "".join(f"{day:02d}/{month:02d}/2021,{month * 31 + day}\n" for month in range(1, 13) for day in (2, 7, 19))
    path = tmp_path / "days.csv"
    path.write_text("seen,y\n" + rows, encoding="utf-8")
    read = "dateformat=%d/%m/%Y"
    found = TableSettings(str(path), "y", read=read)
    with workplace(tmp_path) as connection:
        source = sources.locate("data", str(path), parse_read(read))
        [table] = opened(connection, [source], found, tmp_path)
        done = make(table, found, None, tmp_path)
        train = read_prepared(pd.read_parquet(done.train), done.prepared.contract)
    model = pipeline(train.contract, plain_estimator("regression", 0)).fit(train.rows, train.labels)
    served = pd.DataFrame({"seen": ["02/03/2021", "19/07/2021"]})
    known = pd.DataFrame({"seen": pd.to_datetime(["2021-03-02", "2021-07-19"])})
    np.testing.assert_array_equal(model.predict(served), model.predict(known))

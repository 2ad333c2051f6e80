"""Tables of databases and of Delta Lake: their types, their digest, and what is said where they cannot be read."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pandas as pd
import pytest

from lifecycle.adapters import catalog, readers, sources
from lifecycle.errors import UserError

ROWS = [
    (2, 0.5, "12.50", "2021-01-31", "2021-01-31 12:30:00", True, "Yes"),
    (1, None, None, None, None, None, None),
    (9007199254740993, 2.0, "0.01", "1969-07-20", "1969-07-20 20:17:40", False, "größer"),
]
COLUMNS = (
    "id bigint, x double precision, price numeric(10, 2), day date, moment timestamp, paid boolean, word varchar(20)"
)
NAMES = ["id", "x", "price", "day", "moment", "paid", "word"]
TYPES = ["BIGINT", "DOUBLE", "DOUBLE", "DATE", "TIMESTAMP", "BOOLEAN", "VARCHAR"]


@pytest.fixture(autouse=True)
def nothing_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sources.FETCHED, raising=False)


def literal(value: Any) -> str:
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def inserts(rows: list[Any], table: str = "orders") -> list[str]:
    return [f"INSERT INTO {table} VALUES ({', '.join(map(literal, row))})" for row in rows]


def shop(path: Path, rows: list[Any] = ROWS) -> str:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE orders ({COLUMNS})")
        for statement in inserts(rows):
            connection.execute(statement)
        connection.execute(
            "CREATE VIEW totals AS SELECT id % 10 + 1 AS n, price * 2 AS twice, word || '!' AS w FROM orders"
        )
    return f"sqlite:///{path}?table=orders"


@pytest.fixture(scope="module")
def server(postgres: Any) -> Any:
    postgres.execute(
        f"CREATE TABLE orders ({COLUMNS})",
        *inserts(ROWS),
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.orders AS SELECT id, word FROM orders WHERE id < 3",
        "CREATE TABLE odd (k uuid, j jsonb, a int[], t timestamptz, i smallint, nothing int)",
        "INSERT INTO odd VALUES ('00000000-0000-0000-0000-000000000001', '{\"b\": 1, \"a\": 2}', '{1,2}', "
        "'2021-01-31 12:30:00+02', 7, NULL)",
    )
    return postgres


def opened(asked: str, folder: Path) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    with duckdb.connect() as connection:
        readers.open_table(connection, sources.locate("data", asked), "raw", folder)
        types = {row[0]: row[1] for row in connection.execute("DESCRIBE raw").fetchall()}
        return types, connection.execute("FROM raw").fetchall()


def digest(asked: str) -> str:
    return sources.inputs_digest([sources.locate("data", asked)])


def assert_the_orders(asked: str, folder: Path) -> None:
    types, rows = opened(asked, folder)
    assert types == dict(zip(NAMES, TYPES, strict=True))
    assert [row[0] for row in rows] == [1, 2, 9007199254740993]
    assert rows[0][1:] == (None,) * 6
    first = rows[1]
    assert first[:3] == (2, 0.5, 12.5) and first[5:] == (True, "Yes")
    assert (str(first[3]), str(first[4])) == ("2021-01-31", "2021-01-31 12:30:00")


def test_sqlite_table_has_its_declared_types(tmp_path: Path) -> None:
    assert_the_orders(shop(tmp_path / "shop.db"), tmp_path)


def test_postgresql_table_has_its_declared_types(server: Any, tmp_path: Path) -> None:
    assert_the_orders(server.uri("orders"), tmp_path)


def test_same_rows_are_the_same_table_wherever_they_lie_and_in_any_order(server: Any, tmp_path: Path) -> None:
    there, here = digest(server.uri("orders")), digest(shop(tmp_path / "a.db"))
    backwards = digest(shop(tmp_path / "b.db", ROWS[::-1]))
    other = digest(shop(tmp_path / "c.db", ROWS[1:]))
    assert there == here == backwards != other


def test_many_rows_have_a_digest_that_follows_from_them(tmp_path: Path) -> None:
    """More than a chunk and than a row group."""
    rows = [(i, i / 7, None, None, None, None, f"word {i % 91}") for i in range(150_000)]
    paths = [tmp_path / "up.db", tmp_path / "down.db"]
    for path, some in zip(paths, (rows, rows[::-1]), strict=True):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"CREATE TABLE orders ({COLUMNS})")
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", some)
    one, other = (digest(f"sqlite:///{path}?table=orders") for path in paths)
    assert one == other


def test_views_and_columns_without_a_type_are_read_by_what_is_stored(tmp_path: Path) -> None:
    asked = shop(tmp_path / "shop.db").replace("table=orders", "table=totals")
    types, _ = opened(asked, tmp_path)
    assert types == {"n": "BIGINT", "twice": "DOUBLE", "w": "VARCHAR"}


def test_schema_qualifies_a_table(server: Any, tmp_path: Path) -> None:
    types, rows = opened(server.uri("sales.orders"), tmp_path)
    assert list(types) == ["id", "word"] and len(rows) == 2
    assert catalog.model_name(server.uri("sales.orders")) == "orders"


def test_types_beyond_the_plain_ones_become_text_or_utc(server: Any, tmp_path: Path) -> None:
    types, [row] = opened(server.uri("odd"), tmp_path)
    assert list(types.values()) == ["VARCHAR"] * 3 + ["TIMESTAMP", "BIGINT", "BIGINT"]
    assert row[:3] == ("00000000-0000-0000-0000-000000000001", '{"a": 2, "b": 1}', "[1, 2]")
    assert str(row[3]) == "2021-01-31 10:30:00" and row[4:] == (7, None)


def test_password_may_come_from_the_environment(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = server.uri("orders", "$SHOP_PASSWORD")
    with pytest.raises(UserError, match=r"^data: the address names the variable \$SHOP_PASSWORD, which is not set"):
        sources.locate("data", asked)
    monkeypatch.setenv("SHOP_PASSWORD", server.password)
    assert sources.locate("data", asked).files[0].name == "orders.parquet"
    monkeypatch.delenv(sources.FETCHED)
    monkeypatch.setenv("PGPASSWORD", server.password)
    assert sources.locate("data", asked.replace(":$SHOP_PASSWORD", "")).files[0].name == "orders.parquet"


def test_no_secret_is_shown(server: Any) -> None:
    asked = server.uri("orders")
    source = sources.locate("data", asked)
    shown = [source.shown, source.origin, catalog.short_name(asked), catalog.model_name(asked)]
    shown += [str(sources.logged({"data": asked, "test_data": asked})), os.environ[sources.FETCHED]]
    assert not any(server.password in text or server.user in text for text in shown)
    assert source.shown == f"postgresql://127.0.0.1:{server.port}/postgres?table=orders"


def test_a_table_is_read_once_in_a_run(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that this one starts finds the rows that were read, also when the server has others by now."""
    before = sources.locate("data", server.uri("orders"))
    server.execute("INSERT INTO orders (id) VALUES (77)")
    try:
        code = "from lifecycle.adapters import sources; import sys; print(sources.locate('data', sys.argv[1]).path)"
        steps = Path(__file__).parents[2] / "steps"
        done = subprocess.run(
            [sys.executable, "-c", code, server.uri("orders")],
            env=os.environ | {"PYTHONPATH": str(steps)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == str(before.path) and before.path.exists()
        monkeypatch.delenv(sources.FETCHED)
        assert digest(server.uri("orders")) != sources.inputs_digest([before])
    finally:
        server.execute("DELETE FROM orders WHERE id = 77")


def test_what_was_fetched_is_removed_when_the_process_ends(tmp_path: Path) -> None:
    code = (
        "from lifecycle.adapters import cli, sources; import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, cli._interrupt)\n"
        "print(sources.locate('data', sys.argv[1]).path, flush=True)\n"
        "if sys.argv[2] == 'killed': os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    for end in ("well", "killed"):
        done = subprocess.run(
            [sys.executable, "-c", code, shop(tmp_path / f"{end}.db"), end],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "steps"), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip().endswith("orders.parquet")
        assert (done.returncode == 0) == (end == "well")
        assert not list(tmp_path.glob("lifecycle-*"))


# What is wrong.


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("table=orders", "table=order"), r"there is no table 'order' in '.*'; near it are orders\."),
        (("table=orders", "table=nowhere.orders"), r"there is no table 'nowhere.orders' in '.*'; there are none\."),
        (("/postgres?", "/shop?"), r"there is no database 'shop' at 127\.0\.0\.1:\d+; create it or name another\."),
        (("s3cr3t-w0rd", "wr0ng-w0rd"), r"the server of '.*' refuses user and password; give the right ones, .*\."),
        (("?table=orders", ""), r"'.*' names no table; add it, such as .*\?table=orders\."),
    ],
)
def test_what_postgresql_refuses_is_said_without_a_secret(server: Any, change: tuple[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^data: {sentence}$") as caught:
        sources.locate("data", server.uri("orders").replace(*change))
    for secret in (server.user, server.password, "wr0ng-w0rd"):
        assert secret not in str(caught.value)
    assert sources.FETCHED not in os.environ


@pytest.mark.parametrize("dialect", ["postgresql", "mysql", "mysql+pymysql"])
def test_nobody_who_listens_is_told(free_port: Any, dialect: str) -> None:
    port = free_port()
    with pytest.raises(UserError, match=rf"^data: no database server answers at 127\.0\.0\.1:{port} for '.*'; .*\.$"):
        sources.locate("data", f"{dialect}://user:s3cr3t@127.0.0.1:{port}/shop?table=orders")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.db", None, r"there is no SQLite file '.*none\.db'; give its absolute path, .*"),
        ("notes.db", "no database " * 100, r"'.*notes\.db' is no SQLite database; give one that is"),
    ],
)
def test_what_is_no_sqlite_database_is_told(tmp_path: Path, name: str, content: str | None, sentence: str) -> None:
    if content:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=rf"^data: {sentence}\.$"):
        sources.locate("data", f"sqlite:///{tmp_path / name}?table=orders")
    assert (tmp_path / name).exists() == bool(content)


def test_a_cell_of_another_type_than_its_column_is_told(tmp_path: Path) -> None:
    asked = shop(tmp_path / "shop.db", [("three", None, None, None, None, None, None)])
    with pytest.raises(
        UserError, match=r"^data: '.*' has a cell that is not of its column's type \(column 'id': .*\.$"
    ):
        sources.locate("data", asked)


def test_a_driver_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(UserError, match=r"^data: '.*' needs the package pymysql, .*`pip install 'pymysql'`.*\.$"):
        sources.locate("data", "mysql://user@127.0.0.1/shop?table=orders")


# Delta Lake.


@pytest.fixture
def lake(tmp_path: Path) -> str:
    path = str(tmp_path / "trips")
    deltalake.write_deltalake(path, pd.DataFrame({"n": [3, 1, 2], "k": ["x", "y", None]}))
    deltalake.write_deltalake(path, pd.DataFrame({"n": [0], "k": ["z"]}), mode="append")
    return path


def test_delta_table_is_read_in_any_version(lake: str, tmp_path: Path) -> None:
    for suffix, numbers in {"": [0, 1, 2, 3], "?version=1": [0, 1, 2, 3], "?version=0": [1, 2, 3]}.items():
        types, rows = opened(lake + suffix, tmp_path)
        assert types == {"n": "BIGINT", "k": "VARCHAR"} and [row[0] for row in rows] == numbers
    assert digest(lake) == digest(f"{lake}?version=1") != digest(f"{lake}?version=0")
    assert catalog.model_name(f"{lake}?version=0") == "trips"


def test_rewriting_a_delta_tables_files_makes_no_other_table(lake: str) -> None:
    before = digest(lake)
    deltalake.DeltaTable(lake).optimize.compact()
    os.environ.pop(sources.FETCHED)
    assert digest(lake) == before


def test_delta_mistakes_are_told(lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^data: '.*' asks for version 9, and the newest is 1; give one of 0 to it\.$"):
        sources.locate("data", f"{lake}?version=9")
    (tmp_path / "plain").mkdir()
    with pytest.raises(UserError, match=r"^data: '.*' is no Delta table, so it has no versions; .*\.$"):
        sources.locate("data", f"{tmp_path / 'plain'}?version=1")
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(UserError, match=r"^data: '.*' needs the package deltalake, .*\.$"):
        sources.locate("data", lake)


# As a user types it.


@pytest.mark.whole
def test_a_table_of_postgresql_becomes_a_model(server: Any, new_store: Any, project: Path) -> None:
    """The password is in the environment: no page, no artifact and no printed line holds it."""
    server.execute("CREATE TABLE customers (size int, kind text, churned int)")
    server.execute(*inserts([(i % 7, "ab"[i % 2], int(i % 7 > 3)) for i in range(120)], "customers"))
    store = new_store()
    asked = server.uri("customers", "$SHOP_PASSWORD")
    done = store.mlflow_run(
        project, "-e", "baseline", "-P", f"data={asked}", "-P", "target=churned", SHOP_PASSWORD=server.password
    ).well()
    [prepared], [baseline] = store.steps("prepare"), store.steps("baseline")
    assert prepared.data.metrics["train_rows"] == 96
    assert prepared.data.tags["lifecycle.table"] == baseline.data.tags["lifecycle.table"]
    settings = json.loads((store.artifacts(baseline) / "settings.json").read_text(encoding="utf-8"))
    assert settings["table"]["data"] == f"postgresql://127.0.0.1:{server.port}/postgres?table=customers"
    everything = done.out + done.err + "".join(str(run.to_dictionary()) for run in store.runs())
    assert server.password not in everything
    for file in store.folder.rglob("*"):
        assert not file.is_file() or server.password.encode() not in file.read_bytes(), file

"""What may be ordered on Databricks: what a cluster can read and keep, without secrets, and the form that is sent."""

import re
from pathlib import Path

import pytest
import yaml

from lifecycle.adapters import orders
from lifecycle.adapters.code import ROOT
from lifecycle.errors import UserError

VOLUME = "/Volumes/CATALOG/SCHEMA/VOLUME"


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(UserError, match=r"^step: 'mian' is not known; use one of prepare, .* Did you mean main\?$"):
        orders.Order("mian", {}).check()
    with pytest.raises(UserError, match=r"^step: 'databricks' is not known; "):
        orders.Order("databricks", {}).check()


def test_the_form_of_a_spark_job_holds_the_project_whole(tmp_path: Path) -> None:
    orders.make(tmp_path, orders.Order("tune_lr", {"data": "churn", "query": ""}), ["hyperopt==0.3.0"])
    form = yaml.safe_load((tmp_path / "MLproject").read_text(encoding="utf-8"))
    assert form == {
        "name": "lifecycle",
        "databricks_spark_job": {
            "python_file": "driver.py",
            "parameters": ["project", "steps/tune_lr.py", "--data", "churn", "--query", ""],
            "python_libraries": ["hyperopt==0.3.0"],
        },
    }
    for name in ("MLproject", "requirements.txt", "data/catalog.yaml", "steps/lifecycle/adapters/cli.py"):
        assert (tmp_path / "project" / name).read_bytes() == (ROOT / name).read_bytes()
    assert not list(tmp_path.rglob("__pycache__")) and not (tmp_path / "project" / "tests").exists()


@pytest.mark.parametrize(
    ("step", "given"),
    [
        *(
            ("main", {"data": data})
            for data in (
                *("churn", "churn,ecommerce", "data/iris.csv", "dbfs:/a.csv", "/Volumes/a/b/c/d.csv", "/dbfs/a.csv"),
                *("main.shop.orders", "s3://a/b.csv", "https://a/b.csv", "/Volumes/a/b/c/d,e.csv", "runs:/1/a.csv"),
                *("sqlite:////Volumes/a/b/c/shop.db?table=orders", "https://$USER:$PASSWORD@host/a.csv?sig=$SIG"),
                *("postgresql://me:$PGPASSWORD@host/shop?table=orders", "mysql+pymysql://me@host/shop?table=orders"),
            )
        ),
        ("score", {"output": "/Volumes/a/b/c/scored.parquet"}),
        ("score", {"output": "dbfs:/scored.delta"}),
        ("score", {"output": "main.shop.scored", "engine": "spark"}),
        *(
            ("score", {"model": model})
            for model in ("models:/main.shop.churn@champion", "runs:/1/model", "/Volumes/a/b/c/model", "dbfs:/model")
        ),
        ("tune_multi", {"space": "/Workspace/Users/me/space.yaml"}),
    ],
)
def test_what_a_cluster_can_read_and_keep_is_handed_on(step: str, given: dict[str, str]) -> None:
    orders.Order(step, given).check()


HERE = "lies on this machine, where the cluster cannot read it; copy it into a volume (`databricks fs cp"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"data": "/home/me/my.csv"},
            f"data: '/home/me/my.csv' {HERE} my.csv dbfs:{VOLUME}/`) and give {VOLUME}/my.csv.",
        ),
        ({"test_data": "my.csv"}, f"test_data: 'my.csv' {HERE} my.csv "),
        (
            {"data": "sqlite:////home/me/shop.db?table=orders"},
            f"data: '/home/me/shop.db' {HERE} shop.db dbfs:{VOLUME}/`) and give sqlite:///{VOLUME}/shop.db?table=orders.",
        ),
        ({"model": "/home/me/model"}, f"model: '/home/me/model' {HERE} model "),
        ({"model": "file:///home/me/model"}, f"model: '/home/me/model' {HERE} model "),
        ({"model": "/tmp"}, f"model: '/tmp' {HERE} -r tmp dbfs:{VOLUME}/tmp`) and give {VOLUME}/tmp."),
        # It is opened as it is typed.
        ({"space": "dbfs:/space.yaml"}, f"space: 'dbfs:/space.yaml' {HERE} space.yaml "),
    ],
)
def test_a_file_of_this_machine_is_refused(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
        orders.Order("score", given).check()


@pytest.mark.parametrize(
    ("output", "engine", "name"),
    [
        ("/tmp/scored.parquet", "local", "scored.parquet"),
        ("scored.parquet", "spark", "scored.parquet"),
        # Only a path of the project that is read is the same there.
        ("data/scored.parquet", "local", "scored.parquet"),
        ("s3://bucket/scored.parquet", "local", "scored.parquet"),
        ("main.shop.scored", "local", "scored"),
    ],
)
def test_an_output_that_would_end_with_the_cluster_is_refused(output: str, engine: str, name: str) -> None:
    sentence = (
        f"output: '{output}' is no place that stays when the cluster ends; give a path in a volume, such as "
        f"{VOLUME}/{name}, or with engine=spark a table as catalog.schema.table."
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        orders.Order("score", {"output": output, "engine": engine}).check()


def test_several_tables_of_a_catalog_are_told_to_be_given_one_by_one() -> None:
    sentence = "data: 'main.a.b,main.a.c' names 2 tables, and only samples may be several; submit them one by one, such"
    with pytest.raises(UserError, match=f"^{re.escape(sentence)} as -P data=main\\.a\\.b\\.$"):
        orders.Order("main", {"data": "main.a.b,main.a.c"}).check()


@pytest.mark.parametrize(
    ("name", "asked", "shown"),
    [
        ("data", "postgresql://me:s3cr3t@host/shop?table=orders", "postgresql://host/shop?table=orders"),
        ("test_data", "https://me:s3cr3t@host/a.csv", "https://host/a.csv"),
        ("data", "https://host/a.csv?sv=2021&sig=s3cr3t", "https://host/a.csv"),
        ("model", "https://s3cr3t@host/model", "https://host/model"),
    ],
)
def test_a_password_does_not_leave_this_machine(name: str, asked: str, shown: str) -> None:
    sentence = (
        f"{name}: '{shown}' has a password or a token in it, which would stay in the workspace's files; name a "
        "variable instead, such as $PGPASSWORD, and set it in spark_env_vars of the cluster, as {{secrets/SCOPE/KEY}}."
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        orders.Order("score", {name: asked}).check()


def test_some_steps_need_spark() -> None:
    assert orders.Order("tune_mllib", {}).on_spark
    assert orders.Order("main", {"engine": "spark"}).on_spark
    assert not orders.Order("main", {"engine": "local"}).on_spark and not orders.Order("score", {}).on_spark

"""The line between the data decisions and the outside world, held by reading the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

STEPS = Path(__file__).resolve().parents[2] / "steps"
CORE = sorted((STEPS / "lifecycle").glob("*.py"))
ADAPTERS = sorted((STEPS / "lifecycle" / "adapters").glob("*.py"))
SCRIPTS = sorted(STEPS.glob("*.py"))
EVERY = [*CORE, *ADAPTERS, *SCRIPTS]

# What only adapters and scripts may import: tracking, the command line, Spark, and whatever reaches out.
OUTSIDE = {
    "mlflow", "click", "pyspark", "duckdb", "os", "pathlib", "io", "shutil", "subprocess", "tempfile", "socket",
    "urllib", "http", "requests", "yaml", "glob", "fileinput", "multiprocessing", "dotenv",
}  # fmt: skip
READERS = {"open", "read_text", "write_text", "read_bytes", "write_bytes", "getenv", "mkdir", "unlink", "savefig"}


def name_of(path: Path) -> str:
    """Give a file's name from steps/ on."""
    return path.relative_to(STEPS).as_posix()


def imported(tree: ast.AST) -> Iterator[str]:
    """Give every module imported anywhere in a file, and every name imported from one, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A relative import is written in full here, as if from the package of the data decisions.
            module = ".".join(part for part in ("lifecycle" if node.level else "", node.module or "") if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("__import__", "import_module"):
            yield from (str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant))


def called(node: ast.Call) -> str:
    """Give the last name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def crossings(source: str) -> set[str]:
    """Give all that a module of the data decisions must not do."""
    tree = ast.parse(source)
    found = {
        name
        for name in imported(tree)
        if name.split(".")[0] in OUTSIDE or name == "lifecycle.adapters" or name.startswith("lifecycle.adapters.")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = called(node)
            reads = name in READERS or (name.startswith(("read_", "to_")) and name in TABLE_FILES)
            found |= {name} if reads else set()
        elif isinstance(node, ast.Attribute) and node.attr == "environ":
            found.add("environ")
    return found


# pandas' doors to files.
TABLE_FILES = {
    f"{way}_{kind}" for way in ("read", "to") for kind in ("csv", "parquet", "pickle", "excel", "feather", "hdf", "sql")
}


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_a_data_decision_knows_nothing_of_the_outside_world(path: Path):
    assert crossings(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("source", "crossing"),
    [
        ("import mlflow.sklearn", "mlflow.sklearn"),
        ("def f():\n    from mlflow import MlflowClient", "mlflow"),
        ("import importlib\nimportlib.import_module('pyspark')", "pyspark"),
        ("from lifecycle.adapters import cli", "lifecycle.adapters"),
        ("from lifecycle import adapters", "lifecycle.adapters"),
        ("from .adapters.cli import Options", "lifecycle.adapters.cli"),
        ("import click as c", "click"),
        ("import os\nos.environ['A']", "environ"),
        ("open('x')", "open"),
        ("path.read_text()", "read_text"),
        ("frame.to_parquet('x')", "to_parquet"),
        ("pd.read_csv('x')", "read_csv"),
    ],
)
def test_a_crossing_would_be_seen(source: str, crossing: str):
    assert crossing in crossings(source)


def test_there_is_something_to_read():
    assert {"settings.py", "columns.py", "contract.py", "split.py", "table.py", "metrics.py", "spaces.py", "models.py",
            "trials.py", "search.py", "selection.py", "coefficients.py", "least_squares.py", "figures.py"} <= {
        path.name for path in CORE
    }  # fmt: skip
    assert {"tracking.py", "spark.py", "cli.py"} <= {path.name for path in ADAPTERS}
    assert {"prepare.py", "baseline.py", "tune_lr.py", "tune_multi.py", "register.py", "main.py"} <= {
        path.name for path in SCRIPTS
    }


def imports_of(path: Path) -> set[str]:
    """Give all that a file imports."""
    return set(imported(ast.parse(path.read_text(encoding="utf-8"))))


def test_one_module_imports_mlflows_tracking():
    """A client comes from it alone; importing mlflow's fluent API elsewhere does not make one."""
    found = {
        name_of(path)
        for path in EVERY
        for name in imports_of(path)
        if name.split(".")[-1] == "MlflowClient" or name == "mlflow.tracking" or name.startswith("mlflow.tracking.")
    }
    assert found == {"lifecycle/adapters/tracking.py"}


def test_no_other_module_makes_a_client():
    found = {
        name_of(path)
        for path in EVERY
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and (node.attr == "MlflowClient" or ast.unparse(node) == "mlflow.tracking")
    }
    assert found <= {"lifecycle/adapters/tracking.py"}


def test_only_spark_s_own_adapters_import_pyspark():
    found = {name_of(path) for path in EVERY for name in imports_of(path) if name.split(".")[0] == "pyspark"}
    own = ("spark", "spark_reading", "spark_rows", "spark_table", "mllib")
    assert found == {f"lifecycle/adapters/{name}.py" for name in own}


@pytest.mark.parametrize("name", ["columns.py", "adapters/predicting.py"])
def test_what_travels_with_a_model_imports_nothing_of_ours(name: str):
    found = imports_of(STEPS / "lifecycle" / name)
    assert not {name for name in found if name.split(".")[0] == "lifecycle"}
    assert found


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_script_is_short_and_imports_no_other(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    scripts = {other.stem for other in SCRIPTS}
    assert not {name.split(".")[0] for name in imports_of(path)} & scripts


@pytest.mark.parametrize("path", [*CORE, *ADAPTERS], ids=name_of)
def test_nothing_below_imports_a_script(path: Path):
    assert not {name.split(".")[0] for name in imports_of(path)} & {script.stem for script in SCRIPTS}


def test_every_module_has_a_name_that_says_something():
    assert not {path.stem for path in EVERY} & {"utils", "util", "common", "helpers", "helper", "misc", "tools"}

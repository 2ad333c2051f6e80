"""The image of the project, and that of a registered model: what can be told without an engine."""

import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each with what follows it."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    joined = text.replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def of(lines: list[tuple[str, str]], instruction: str) -> list[str]:
    return [rest for name, rest in lines if name == instruction]


def test_the_dockerfile_is_linted() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert hadolint, "hadolint is in tests/requirements.txt"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_python_is_that_of_the_environments(lines: list[tuple[str, str]]) -> None:
    python = yaml.safe_load((ROOT / "python_env.yaml").read_text(encoding="utf-8"))["python"]
    assert of(lines, "FROM") == [f"python:{python}-slim-bookworm"]


def test_the_environment_is_the_lock_with_its_hashes(lines: list[tuple[str, str]]) -> None:
    [install] = [line for line in of(lines, "RUN") if "pip install" in line]
    assert "--require-hashes" in install and "-r /opt/lifecycle/requirements.txt" in install
    assert "--no-compile" not in install


def test_the_java_is_one_that_spark_runs_on_and_no_lists_are_left(lines: list[tuple[str, str]]) -> None:
    """What `check_java` advises, which CI installs too."""
    from lifecycle.adapters.spark import JAVA

    [install] = [line for line in of(lines, "RUN") if "apt-get" in line]
    assert f'"openjdk-{JAVA}-jre-headless={JAVA}.*"' in install
    assert install.rstrip().endswith("rm -rf /var/lib/apt/lists/*")
    assert f"openjdk-{JAVA}-jre-headless" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_it_runs_as_nobody_in_particular(lines: list[tuple[str, str]]) -> None:
    names = [name for name, _ in lines]
    [user] = of(lines, "USER")
    assert user.isdigit() and int(user) > 0
    assert any(f"useradd --uid {user}" in line for line in of(lines, "RUN"))
    assert not {"RUN", "COPY", "ADD"} & set(names[names.index("USER") :])


def test_what_it_copies_is_there_and_let_in_and_enough_to_run(lines: list[tuple[str, str]]) -> None:
    copied = [name for line in of(lines, "COPY") for name in line.split()[:-1]]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in ignored if line and line[0] not in "#!"] == ["*", "**/__pycache__"]
    assert sorted(line[1:] for line in ignored if line.startswith("!")) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)
    project = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
    assert {project["python_env"], "MLproject", "requirements.txt", "steps", "data"} <= set(copied)


def test_it_runs_the_project_where_it_lies(lines: list[tuple[str, str]]) -> None:
    [command] = of(lines, "CMD")
    assert yaml.safe_load(command) == ["mlflow", "run", "/opt/lifecycle", "--env-manager", "local"]
    assert not of(lines, "ENTRYPOINT")
    assert all(line.split()[-1].startswith("/opt/lifecycle") for line in of(lines, "COPY"))


def test_the_page_shows_commands_that_mlflow_has() -> None:
    from click.testing import CliRunner

    with warnings.catch_warnings():
        # Of mlflow's own types, when they are imported.
        warnings.simplefilter("ignore")
        from mlflow.cli import cli

    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    assert re.search(r"docker_env:\n\s+image: lifecycle\n", page)
    shown = re.findall(r"mlflow (?:run|models \S+)[^`\n]*", page)
    assert len(shown) >= 4
    for line in shown:
        words = [word for word in shlex.split(line)[1:] if word != "..."]
        command = words[:2] if words[0] == "models" else words[:1]
        usage = CliRunner().invoke(cli, [*command, "--help"]).output
        for option in (word for word in words if word.startswith("--")):
            assert option in usage, f"{option} of {line}"


@pytest.mark.whole
def test_a_registered_model_becomes_an_image_of_the_locks_pins(whole: Any, tmp_path: Path) -> None:
    mlflow = Path(sys.executable).parent / "mlflow"
    command = ["models", "generate-dockerfile", "-m", "models:/churn@champion", "-d", tmp_path / "image"]
    whole.store.run(mlflow, *command, MLFLOW_TRACKING_URI=whole.store.uri).well()
    made = (tmp_path / "image" / "Dockerfile").read_text(encoding="utf-8")
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    [pin] = re.findall(r"^mlflow==\S+", lock, re.MULTILINE)
    assert f"pip install {pin}\n" in made
    assert "COPY model_dir /opt/ml/model" in made
    model = tmp_path / "image" / "model_dir"
    pins = (model / "requirements.txt").read_text(encoding="utf-8").split()
    assert pin in pins and any(one.startswith("scikit-learn==") for one in pins)
    for one in pins:
        assert re.search(rf"^{re.escape(one)}[ ;\\]", lock, re.MULTILINE), one
    assert (model / "model.skops").exists() and (model / "extra_files" / "contract.json").exists()

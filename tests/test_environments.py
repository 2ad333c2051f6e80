"""The environment managers of `mlflow run` build what the lock says, and a step runs in it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROBE = "import json, importlib.metadata as m, sys; print(json.dumps({d.name: d.version for d in m.distributions()}))"


def pins(lock: Path) -> dict[str, str]:
    lines = [line.split(" ")[0] for line in lock.read_text(encoding="utf-8").splitlines() if line[:1].isalnum()]
    return dict(line.split("==") for line in lines)


@pytest.mark.whole
@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_a_step_runs_in_an_environment_built_from_the_lock(manager: str, project: Path, tmp_path: Path) -> None:
    if manager == "uv" and shutil.which("uv") is None:
        pytest.skip("uv is not on PATH")
    if manager == "virtualenv":
        pyenv = shutil.which("pyenv")
        versions = subprocess.run([pyenv, "versions"], capture_output=True, text=True).stdout if pyenv else ""
        if "3.11.7" not in versions:
            pytest.skip("mlflow's virtualenv manager asks pyenv for Python 3.11.7, which is not installed here")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    command = ["mlflow", "run", str(project), "-e", "prepare", "--env-manager", manager]
    done = subprocess.run(
        command, cwd=tmp_path, env=kept | {"MLFLOW_ENV_ROOT": str(tmp_path / "envs")}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "763 training and 191 test rows" in done.stdout
    [environment] = (tmp_path / "envs").glob("mlflow-*")
    listed = subprocess.run([environment / "bin" / "python", "-c", PROBE], capture_output=True, text=True, check=True)
    installed = {name.lower().replace("_", "-").replace(".", "-"): v for name, v in json.loads(listed.stdout).items()}
    for name in ("mlflow", "scikit-learn", "hyperopt", "pandas", "pyspark", "duckdb", "skops", "statsmodels", "click"):
        assert installed[name] == pins(project / "requirements.txt")[name]

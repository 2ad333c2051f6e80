"""What is said in two places agrees: MLproject, the scripts' options, the README, the environments, the lock."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lifecycle.adapters import cli

ROOT = Path(__file__).parents[1]
MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
ENTRY_POINTS = MLPROJECT["entry_points"]


# A file databricks.py in steps/, which is on the path of every script, would hide the package of that name.
FILES = {step: step if step != "databricks" else "on_databricks" for step in ENTRY_POINTS}


def script_of(step: str) -> click.Command:
    """Give the click command of a script in steps/, which is a file and no package."""
    spec = importlib.util.spec_from_file_location(f"step_{step}", ROOT / "steps" / f"{FILES[step]}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main.script


def options_of(step: str) -> dict[str, click.Option]:
    return {option.name: option for option in script_of(step).params}


def test_every_entry_point_is_a_script_and_every_script_an_entry_point() -> None:
    scripts = {path.stem for path in (ROOT / "steps").glob("*.py")}
    assert set(ENTRY_POINTS) == set(cli.OPTIONS)
    assert set(FILES.values()) == scripts
    for step, entry in ENTRY_POINTS.items():
        assert entry["command"].startswith(f"python steps/{FILES[step]}.py ")


@pytest.mark.parametrize("step", ENTRY_POINTS)
def test_parameters_are_the_scripts_options(step: str) -> None:
    """The same names, and the same value where nothing is typed."""
    declared, options = ENTRY_POINTS[step]["parameters"], options_of(step)
    assert set(declared) == set(options)
    for name, parameter in declared.items():
        option = options[name]
        assert option.opts == [f"--{name}"]
        typed = str(parameter["default"])
        assert option.type.convert(typed, option, None) == option.default, name
        # A number that is declared as a text would be taken, and one declared as a path resolved elsewhere.
        # An empty default, which means each step's own, can be declared as a text alone.
        numeric = isinstance(option.default, (int, float)) and not isinstance(option.default, bool) and typed != ""
        assert parameter["type"] == ("float" if numeric else "string"), name


@pytest.mark.parametrize("step", ENTRY_POINTS)
def test_command_hands_every_parameter_on_once(step: str) -> None:
    entry = ENTRY_POINTS[step]
    handed = re.findall(r"--(\w+) \{(\w+)\}", entry["command"])
    assert all(option == parameter for option, parameter in handed)
    assert Counter(option for option, _ in handed) == Counter(list(entry["parameters"]))
    assert len(re.findall(r"--", entry["command"])) == len(handed)


def test_the_same_name_means_the_same_everywhere() -> None:
    """A parameter's default differs between entry points only where the design says so: the data, the trials."""
    for name in {name for entry in ENTRY_POINTS.values() for name in entry["parameters"]} - {"data", "max_evals"}:
        assert len({str(e["parameters"][name]) for e in ENTRY_POINTS.values() if name in e["parameters"]}) == 1, name
    of_tables = {step: entry for step, entry in ENTRY_POINTS.items() if "data" in entry["parameters"]}
    assert set(ENTRY_POINTS) - set(of_tables) == {"clean", "upload", "databricks"}
    defaults = {step: entry["parameters"]["data"]["default"] for step, entry in of_tables.items()}
    assert {step for step, data in defaults.items() if data == "ecommerce"} == {
        "regress_sklearn",
        "regress_statsmodels",
    }
    assert defaults["main"] == "churn,ecommerce"
    trials = {step: e["parameters"]["max_evals"]["default"] for step, e in ENTRY_POINTS.items() if "tune" in step}
    assert trials == {"tune_lr": 16, "tune_multi": 32, "tune_mllib": 0}


def test_main_takes_the_parameters_of_all_its_steps() -> None:
    apart = {"main", "clean", "upload", "databricks", "score", "tune_mllib"}
    chained = {step: entry for step, entry in ENTRY_POINTS.items() if step not in apart}
    of_steps = {name for entry in chained.values() for name in entry["parameters"]}
    assert set(ENTRY_POINTS["main"]["parameters"]) == of_steps


@pytest.mark.parametrize("step", ENTRY_POINTS)
def test_every_option_has_help(step: str) -> None:
    script = script_of(step)
    assert script.help and script.help.strip().endswith(".")
    for option in script.params:
        assert option.help and len(option.help) > 8, option.name


def test_help_is_shown() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "steps" / "tune_multi.py", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Search over several kinds of estimators" in done.stdout
    for name in ENTRY_POINTS["tune_multi"]["parameters"]:
        assert f"--{name} " in done.stdout
    assert "[default: 32]" in done.stdout


def test_readme_names_every_entry_point_and_parameter() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("README.md is not written yet")
    text = readme.read_text(encoding="utf-8")
    for step, entry in ENTRY_POINTS.items():
        assert re.search(rf"`{step}`|-e {step}\b", text), step
        for name in entry["parameters"]:
            assert re.search(rf"`{name}`|\b{name}=", text), name


def test_readme_shows_no_parameter_that_is_not_there() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("README.md is not written yet")
    known = {name for entry in ENTRY_POINTS.values() for name in entry["parameters"]}
    text = readme.read_text(encoding="utf-8")
    assert set(re.findall(r"-P (\w+)=", text)) <= known
    assert set(re.findall(r"(?<!\w)-e ([a-z]\w+)", text)) <= set(ENTRY_POINTS)


def test_mlproject_names_the_environment_of_uv_and_virtualenv() -> None:
    assert MLPROJECT["python_env"] == "python_env.yaml"
    # mlflow refuses a file that names two.
    assert not {"conda_env", "docker_env"} & set(MLPROJECT)


def test_both_environments_read_the_one_lock_with_the_same_python() -> None:
    virtual = yaml.safe_load((ROOT / "python_env.yaml").read_text(encoding="utf-8"))
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text(encoding="utf-8"))
    assert virtual["dependencies"] == ["-r requirements.txt"]
    [inner] = [one["pip"] for one in conda["dependencies"] if isinstance(one, dict)]
    assert inner == ["-r requirements.txt"]
    assert f"python={virtual['python']}" in conda["dependencies"]
    # Whole, so that `mlflow run .` without uv finds that very version in pyenv.
    assert re.fullmatch(r"3\.\d+\.\d+", virtual["python"])
    others = [one for one in conda["dependencies"] if isinstance(one, str)]
    assert sorted(others) == ["pip", f"python={virtual['python']}"]


def locked(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Read a lock: each package's requirement and its hashes."""
    found: dict[str, tuple[Requirement, list[str]]] = {}
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        stated, *hashes = re.split(r"\s+--hash=", line.strip())
        requirement = Requirement(stated)
        assert canonicalize_name(requirement.name) not in found or requirement.marker is not None
        found[canonicalize_name(requirement.name)] = (requirement, hashes)
    return found


@pytest.mark.parametrize("name", ["requirements.txt", "tests/requirements.txt"])
def test_lock_pins_every_package_by_hash_without_an_index(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"--(extra-)?index-url|--find-links|https?://|^-[a-z]", text, re.MULTILINE)
    packages = locked(name)
    assert packages
    for package, (requirement, hashes) in packages.items():
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), package
        assert hashes and all(re.fullmatch("sha256:[0-9a-f]{64}", one.split()[0]) for one in hashes), package


def test_lock_satisfies_the_direct_dependencies() -> None:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = locked("requirements.txt")
    for text in settings["project"]["dependencies"]:
        asked = Requirement(text)
        pinned, _ = packages[canonicalize_name(asked.name)]
        [version] = [one.version for one in pinned.specifier]
        assert asked.specifier.contains(version), f"{asked} is pinned to {version}"
    python = yaml.safe_load((ROOT / "python_env.yaml").read_text(encoding="utf-8"))["python"]
    assert Requirement(f"python{settings['project']['requires-python']}").specifier.contains(python)


def test_test_lock_pins_the_test_dependencies_and_agrees_with_the_other() -> None:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages, main = locked("tests/requirements.txt"), locked("requirements.txt")
    for text in settings["dependency-groups"]["test"]:
        assert canonicalize_name(Requirement(text).name) in packages | main, text
    for name in set(packages) & set(main):
        assert packages[name][0].specifier == main[name][0].specifier, name


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=["lint", "format", "types"],
)
def test_code_passes(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr

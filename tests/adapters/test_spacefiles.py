"""The space file: where it lies, what YAML makes of it, and what a search's settings hold of it."""

import json
import re
from pathlib import Path

import pytest
from typed import options

from lifecycle.adapters import searches, sources, spacefiles
from lifecycle.contract import Column, Contract
from lifecycle.errors import UserError
from lifecycle.models import space_for
from lifecycle.spaces import LogUniform

CONTRACT = Contract(
    "y", "classification", ("no", "yes"), "yes", "stratified", columns=(Column("x", "numeric", "DOUBLE"),), rows=900
)
SPACE = "logreg: {C: {loguniform: [1e-3, 1E+2]}, penalty: {choice: [l1, l2]}}\nrf: {max_depth: {uniformint: [2, 9]}}\n"
WRITTEN = (
    '{"logreg":{"C":{"loguniform":[0.001,100.0]},"penalty":{"choice":["l1","l2"]}},'
    '"rf":{"max_depth":{"quniform":[2,9,1]}}}'
)


@pytest.fixture
def space(tmp_path: Path) -> str:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE, encoding="utf-8")
    return str(path)


def test_a_file_becomes_the_text_that_settings_hold(space: str) -> None:
    assert spacefiles.read(space) == WRITTEN
    assert spacefiles.read("") == ""


def test_the_settings_hold_what_the_file_says_and_not_where_it_lies(space: str, tmp_path: Path) -> None:
    found = searches.settings_for("tune_multi", options(space=space), CONTRACT)
    assert (found.models, found.space) == (("logreg", "rf"), WRITTEN)
    other = tmp_path / "other.yml"
    other.write_text("# again\nrf:\n  max_depth:\n    uniformint: {high: 9, low: 2}\n" + SPACE.splitlines()[0])
    assert searches.settings_for("tune_multi", options(space=str(other)), CONTRACT) == found
    assert searches.settings_for("tune_multi", options(), CONTRACT).space == ""


def test_only_the_models_asked_for_are_taken(space: str) -> None:
    found = searches.settings_for("tune_multi", options(space=space, models="rf"), CONTRACT)
    assert (found.models, json.loads(found.space)) == (("rf",), {"rf": {"max_depth": {"quniform": [2, 9, 1]}}})
    assert searches.settings_for("tune_lr", options(space=space), CONTRACT).models == ("logreg",)
    with pytest.raises(
        UserError,
        match=r"^models: 'svm' is not in the space file, which declares logreg, rf; "
        r"name models of the file, or declare it there\.$",
    ):
        searches.check(options(space=space, models="rf,svm"))


def test_what_adaptive_tpe_does_not_know_is_refused_before_anything_starts(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    path = tmp_path / "space.yaml"
    path.write_text("logreg: {penalty: {pchoice: [[0.5, l1], [0.5, l2]]}}\n")
    searches.check(options(space=str(path)))
    with pytest.raises(UserError, match=r"^algo: atpe does not know pchoice \(penalty of logreg\); "):
        searches.check(options(space=str(path), algo="atpe"))


def test_which_models_were_asked_for_is_told_by_the_file_too(space: str) -> None:
    assert searches.models_asked(options(space=space)) == ("logreg", "rf")
    assert searches.models_asked(options(space=space, models="rf")) == ("rf",)
    assert searches.models_asked(options()) == ()


def test_a_relative_path_is_handed_on_as_an_absolute_one(space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(space).parent)
    assert spacefiles.read("space.yaml") == WRITTEN
    assert sources.handed_on({"space": "space.yaml", "data": "churn"}) == {"space": space, "data": "churn"}


def test_without_a_file_the_models_own_ranges_are_searched() -> None:
    assert space_for(("svm",), CONTRACT)["svm"]["C"] != LogUniform(0.001, 100)


def test_ranges_of_one_model_may_be_taken_over_into_another(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("logreg: &same {C: 2.0, class_weight: balanced}\nsvm: {<<: *same, C: 3.0}\n")
    assert json.loads(spacefiles.read(str(path)))["svm"] == {
        "C": {"choice": [3.0]},
        "class_weight": {"choice": ["balanced"]},
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "space: the file declares no model; give ranges by model and hyperparameter, such as logreg: {.*}."),
        ("# nothing\n", "space: the file declares no model; .*"),
        ("logreg: {C: [1, 2}\n", "space: '{path}', line 1 is no YAML that can be read: .*"),
        ("rf: {}\nlogreg:\n  C: {uniform: [1, 2]}\n C: 3\n", "space: '{path}', line 4 is no YAML that can be read: .*"),
        (
            "rf: {}\nlogreg: {}\nrf: {}\n",
            "space: '{path}', line 3 is no YAML that can be read: 'rf' stands twice.",
        ),
        ("logreg: !!python/object/apply:os.getcwd []\n", "space: '{path}', line 1 is no YAML that can be read: .*"),
        (
            "rf: {}\nlogreg: {C: 2020-13-45}\n",
            "space: '{path}', line 2 is no YAML that can be read: '2020-13-45' is no .*",
        ),
        ("logreg: {C: !!int many}\n", "space: '{path}', line 1 is no YAML that can be read: 'many' is no int."),
        (f"rf: {'[' * 3000}", "space: '{path}' is no YAML that can be read: it is nested too deep."),
        ("logreg: \x00\n", "space: '{path}' is no YAML that can be read: .*"),
        ("logreg: {C: {unifrom: [1, 2]}}\n", "space: 'unifrom' is no distribution .* Did you mean uniform?"),
    ],
)
def test_a_file_that_declares_no_space_is_told_with_its_line(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text, encoding="utf-8")
    pattern = re.escape(sentence.replace("{path}", str(path))).replace(r"\.\*", ".*")
    with pytest.raises(UserError, match=f"^{pattern}$"):
        searches.check(options(space=str(path)))


def test_a_file_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = re.escape(str(tmp_path))
    with pytest.raises(UserError, match=f"^space: there is no file '{here}/a.yaml'; give the path of a YAML file\\.$"):
        spacefiles.read(f"{tmp_path}/a.yaml")
    with pytest.raises(
        UserError,
        match=f"^space: there is no file './a.yaml' in '{here}', where the project runs; "
        r'give the absolute path, such as -P space="\$PWD/a\.yaml"\.$',
    ):
        spacefiles.read("./a.yaml")
    with pytest.raises(UserError, match=f"^space: '{here}' is a folder; give the path of a YAML file\\.$"):
        spacefiles.read(str(tmp_path))
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"^space: 'b\.yaml' is no text in UTF-8; give a YAML file\.$"):
        spacefiles.read("b.yaml")

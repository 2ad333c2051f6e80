"""What the golden tables give today: `python tests/golden/walk.py [NAME ...]` shows where it differs.

It prints the differences to the expected files, and writes what was found into a folder that is not theirs; whoever
means the change looks at it and copies the file.
"""

import difflib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "steps"))

from lifecycle.adapters import catalog, cli, preparation, sources  # noqa: E402
from lifecycle.errors import UserError  # noqa: E402
from lifecycle.reading import parse_read  # noqa: E402

# What may stand beside a table, by the name of its case.
CONTRACT, FINDINGS, ERROR = "contract.json", "findings.txt", "error.txt"


@dataclass(frozen=True)
class Case:
    """A table with its options, and where both lie.

    Attributes
    ----------
    name : str
        Of the case, and of the expected files.
    folder : Path
        ``good`` or ``bad``: the options' paths are relative to it.
    options : dict of str to str
        As they are typed.
    """

    name: str
    folder: Path
    options: dict[str, str]

    def expected(self) -> dict[str, str]:
        """Return the expected files by what they are."""
        paths = {kind: self.folder / f"{self.name}.{kind}" for kind in (CONTRACT, FINDINGS, ERROR)}
        return {kind: path.read_text(encoding="utf-8") for kind, path in paths.items() if path.exists()}


def cases() -> list[Case]:
    """Read the index of all cases."""
    index = yaml.safe_load((HERE / "tables.yaml").read_text(encoding="utf-8"))
    return [
        Case(name, HERE / kind, {"folds": "2", **{option: str(value) for option, value in (options or {}).items()}})
        for kind in ("good", "bad")
        for name, options in index[kind].items()
    ]


def found(case: Case) -> dict[str, str]:
    """Prepare a case's table the whole way, from the typed options on; return files as `Case.expected` does."""
    command = click.Command("prepare")
    for option in cli.OPTIONS["prepare"]:
        option(command)
    typed = [word for option, value in case.options.items() for word in (f"--{option}", value)]
    with _inside(case.folder), tempfile.TemporaryDirectory() as folder:
        try:
            options = command.make_context("prepare", typed).params
            settings, read = catalog.settings_for(options), parse_read(options["read"])
            asked = [name for name in ("data", "test_data") if options[name]]
            located = [sources.locate(name, options[name], read) for name in asked]
            with preparation.workplace(Path(folder)) as connection:
                tables = preparation.opened(connection, located, settings, Path(folder))
                made = preparation.make(tables[0], settings, (*tables, None)[1], Path(folder))
        except UserError as error:
            return {ERROR: f"{error}\n".replace(str(case.folder), "{folder}")}
    said = "".join(f"{finding.code} {finding.column}".strip() + "\n" for finding in made.findings)
    return {CONTRACT: made.prepared.contract.to_json() + "\n", **({FINDINGS: said} if said else {})}


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def difference(case: Case, given: dict[str, str]) -> str:
    """Compare expected files with those given, as a unified diff; empty where they agree."""
    expected = case.expected()
    lines: list[str] = []
    for kind in (CONTRACT, FINDINGS, ERROR):
        sides = [side.get(kind, "").splitlines(keepends=True) for side in (expected, given)]
        label = f"{case.folder.name}/{case.name}.{kind}"
        lines += difflib.unified_diff(*sides, f"expected {label}", f"found {label}")
    return "".join(lines)


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Show where golden tables, all or those of some NAMES, give something else than is expected."""
    folder = Path(tempfile.mkdtemp(prefix="golden-"))
    differ = 0
    for case in cases():
        if names and case.name not in names:
            continue
        given = found(case)
        shown = difference(case, given)
        if shown:
            differ += 1
            print(shown)
            (folder / case.folder.name).mkdir(exist_ok=True)
            for kind, text in given.items():
                (folder / case.folder.name / f"{case.name}.{kind}").write_text(text, encoding="utf-8")
    print(f"{differ} differ; what was found lies in {folder}" if differ else "none differs")
    raise SystemExit(bool(differ))


if __name__ == "__main__":
    main()

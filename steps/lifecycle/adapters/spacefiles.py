"""The file of a declared space: found, parsed, checked, and turned into the text that a search's settings hold."""

import re
from pathlib import Path
from typing import Any

import yaml

from lifecycle.declared import declared_space, space_text
from lifecycle.errors import UserError


class _Loader(yaml.SafeLoader):
    """YAML as people write numbers, 1e-3 among them, and no name twice in one place."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value.

        Raises
        ------
        ConstructorError
            Where it looks like a number or a date and is none: PyYAML lets Python's own errors through.
        """
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError) as error:
            what = f"{str(node.value)[:40]!r} is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping.

        Raises
        ------
        ConstructorError
            Where a name stands twice: YAML would keep the last without a word.
        """
        # What `<<` brings in may stand twice: it is there to be overridden.
        keys = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        names = [self.construct_object(key, deep=True) for key in keys]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} stands twice", keys[place].start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read(asked: str, task: str = "", models: tuple[str, ...] = ()) -> str:
    """Read a space file as canonical JSON.

    Parameters
    ----------
    asked : str
        As typed: the path of a YAML file; empty for none.
    task : str
        Of the table; empty where it is not known yet.
    models : tuple of str
        The only models of the file to take; empty for all.

    Returns
    -------
    str
        As `lifecycle.declared.space_of` reads it; empty where no file was asked for.

    Raises
    ------
    UserError
        Where there is no such file, it is no YAML, or declares what cannot be searched over.
    """
    if not asked:
        return ""
    space = declared_space(_parsed(asked, _found(asked)), task)
    for model in models:
        if model not in space:
            raise UserError(
                f"models: {model!r} is not in the space file, which declares {', '.join(space)}; "
                "name models of the file, or declare it there."
            )
    return space_text({name: ranges for name, ranges in space.items() if not models or name in models})


def _found(asked: str) -> Path:
    path = Path(asked).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"space: {asked!r} is a folder; give the path of a YAML file.")
    if path.is_absolute():
        raise UserError(f"space: there is no file {asked!r}; give the path of a YAML file.")
    raise UserError(
        f"space: there is no file {asked!r} in {str(Path.cwd())!r}, where the project runs; "
        f'give the absolute path, such as -P space="$PWD/{asked.removeprefix("./")}".'
    )


def _parsed(asked: str, path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise UserError(f"space: {asked!r} is no text in UTF-8; give a YAML file.") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"space: {asked!r}{line} is no YAML that can be read: {error.problem}.") from error
    except RecursionError as error:
        raise UserError(f"space: {asked!r} is no YAML that can be read: it is nested too deep.") from error
    except yaml.YAMLError as error:
        told = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"space: {asked!r} is no YAML that can be read: {told}.") from error

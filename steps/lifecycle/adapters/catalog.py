"""The catalog of samples: what ``-P data=NAME`` stands for, a table's settings, and its names for people."""

from typing import Any

import yaml

from lifecycle.adapters.code import ROOT
from lifecycle.adapters.places import parse_place, stem_of, without_secrets
from lifecycle.reading import parse_read
from lifecycle.settings import TableSettings, parse_names, parse_ordinal, parse_roles

CATALOG = ROOT / "data" / "catalog.yaml"


def catalog() -> dict[str, dict[str, Any]]:
    """Return the samples: by name, the file and the defaults that go with it."""
    entries: dict[str, dict[str, Any]] = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
    return entries


def split_tables(data: str) -> list[str]:
    """Split ``data`` at commas if every part is a sample's name; a path may hold commas."""
    parts = parse_names(data)
    return list(parts) if len(parts) > 1 and all(part in catalog() for part in parts) else [data]


def short_name(data: str) -> str:
    """Name a table for people: the sample's name, else the file's, or a database's table."""
    return data if data in catalog() else parse_place("data", data).name


def model_name(data: str) -> str:
    """Name the registered model of a table: the sample's name, else the file's stem or a database's table.

    In lower case, every other character ``_``; of a glob the marks are left out at both ends.
    """
    stem = data if data in catalog() else stem_of(parse_place("data", data).name)
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in stem.lower())
    return (name.strip("_") or "table") if "*" in stem or "?" in stem else name


def settings_for(options: dict[str, Any]) -> TableSettings:
    """Resolve the table options of a step: what was not typed comes from the sample's catalog entry.

    The sample's query makes its own target; where another one is typed, the table is read as it is.

    Parameters
    ----------
    options : dict
        By the options' names, as click gives them; empty text for what was not typed.

    Raises
    ------
    UserError
        For anything that is wrong without reading the table.
    """
    entry = catalog().get(options["data"], {})
    ordinal = options["ordinal"] or entry.get("ordinal", "")
    target = options["target"] or entry.get("target", "")
    own_drop = tuple(name for name in entry.get("drop", ()) if name != target)
    drop = parse_names(options["drop"]) or own_drop
    task = options["task"]
    if task == "auto" and entry and options["target"] in ("", entry["target"]):
        task = entry["task"]
    return TableSettings(
        data=without_secrets(options["data"]),
        target=target,
        query=options["query"] or (entry.get("query", "") if target == entry.get("target") else ""),
        task=task,
        test_data=without_secrets(options["test_data"]),
        split=options["split"] or "auto",
        split_column=options["split_column"],
        test_size=options["test_size"],
        folds=options["folds"],
        seed=options["seed"],
        positive=options["positive"],
        drop=drop,
        ordinal=parse_ordinal(ordinal),
        roles=parse_roles(options["roles"] or entry.get("roles", "")),
        read=options["read"],
        strict=options["strict"],
        nullstr=parse_read(options["read"]).nullstr,
        of_the_sample=tuple(name for name in ("drop", "ordinal", "roles") if not options[name] and name in entry),
    )

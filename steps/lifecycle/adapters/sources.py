"""Tables from outside: the catalog of samples, CSV and Parquet files, and the digests of what was read."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import yaml

from lifecycle.errors import UserError, listed
from lifecycle.reading import ReadOptions
from lifecycle.settings import TableSettings, parse_names, parse_ordinal, parse_roles

ROOT = Path(__file__).resolve().parents[3]
CATALOG = ROOT / "data" / "catalog.yaml"
LOCK = ROOT / "requirements.txt"
KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}
KIND_NAMES = {"csv": "CSV", "parquet": "Parquet", "json": "JSON", "arrow": "Arrow"}
PACKED = (".gz", ".zst")


@dataclass(frozen=True)
class Source:
    """A table before it is read.

    Attributes
    ----------
    option : str
        ``data`` or ``test_data``, for the errors.
    asked : str
        As typed.
    path : Path
        The file.
    read : ReadOptions
        How it is to be read.
    """

    option: str
    asked: str
    path: Path
    read: ReadOptions = field(default_factory=ReadOptions)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files to read, in order."""
        return (self.path,)

    @property
    def kind(self) -> str:
        """One of csv, parquet, json and arrow."""
        return kind_of(self.files[0])

    @property
    def kind_name(self) -> str:
        """The kind as people write it."""
        return KIND_NAMES[self.kind]

    @property
    def shown(self) -> str:
        """As typed, for sentences."""
        return self.asked


def kind_of(path: Path) -> str:
    """Tell by a file's name what it holds; empty where the name does not tell. CSV and JSON may be packed."""
    suffix = path.suffix.lower()
    if suffix in PACKED:
        kind = KINDS.get(Path(path.stem).suffix.lower(), "")
        return kind if kind in ("csv", "json") else ""
    return KINDS.get(suffix, "")


def catalog() -> dict[str, dict[str, Any]]:
    """Return the samples: by name, the file and the defaults that go with it."""
    entries: dict[str, dict[str, Any]] = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
    return entries


def split_tables(data: str) -> list[str]:
    """Split ``data`` at commas if every part is a sample's name; a path may hold commas."""
    parts = parse_names(data)
    return list(parts) if len(parts) > 1 and all(part in catalog() for part in parts) else [data]


def locate(option: str, asked: str) -> Source:
    """Find the file that ``data`` or ``test_data`` means.

    Parameters
    ----------
    option : str
        The option's name.
    asked : str
        A sample's name, a path, or a ``file://`` URI.

    Raises
    ------
    UserError
        Where there is no such sample or file, or it is not one that can be read.
    """
    samples = catalog()
    if not asked.strip():
        raise UserError(f"{option}: nothing was given; name a sample ({listed(samples)}) or give a path.")
    if asked in samples:
        return Source(option, asked, CATALOG.parent / samples[asked]["file"])
    parsed = urlparse(asked)
    if len(parsed.scheme) > 1 and parsed.scheme != "file":
        raise UserError(
            f"{option}: {asked!r} is a {parsed.scheme} address, which cannot be read; "
            "give the path of a CSV or Parquet file."
        )
    path = Path(unquote(parsed.path) if parsed.scheme == "file" else asked).expanduser()
    if not path.exists():
        looks_like_name = not path.suffix and len(path.parts) == 1
        if looks_like_name:
            raise UserError(
                f"{option}: {asked!r} is neither a sample ({listed(samples)}) nor a file; name a sample or give a path."
            )
        if path.is_absolute():
            raise UserError(f"{option}: there is no file {str(path)!r}; give the path of a CSV or Parquet file.")
        raise UserError(
            f"{option}: there is no file {asked!r} in {str(Path.cwd())!r}, where the project runs; "
            f'give the absolute path, such as -P {option}="$PWD/{asked.removeprefix("./")}".'
        )
    if path.is_dir():
        raise UserError(f"{option}: {asked!r} is a folder; give the path of a CSV or Parquet file in it.")
    if not kind_of(path):
        raise UserError(
            f"{option}: {asked!r} ends in {path.suffix or 'no suffix'!r}; "
            f"give a file that ends in one of {listed(KINDS)}."
        )
    return Source(option, asked, path)


def handed_on(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options for a step that runs in the project's folder: paths relative to this one become absolute."""
    paths = {
        name: str(Path(options[name]).absolute())
        for name in ("data", "test_data")
        if options.get(name) and options[name] not in catalog() and Path(options[name]).exists()
    }
    return {**options, **paths}


def short_name(data: str) -> str:
    """Name a table for people: the sample's name, else the file's."""
    return data if data in catalog() else Path(urlparse(data).path if "://" in data else data).name


def settings_for(options: dict[str, Any]) -> TableSettings:
    """Resolve the table options of a step: what was not typed comes from the sample's catalog entry.

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
    if not entry:
        locate("data", options["data"])
    ordinal = options["ordinal"] or entry.get("ordinal", "")
    target = options["target"] or entry.get("target", "")
    own_drop = tuple(name for name in entry.get("drop", ()) if name != target)
    drop = parse_names(options["drop"]) or own_drop
    task = options["task"]
    if task == "auto" and entry and options["target"] in ("", entry["target"]):
        task = entry["task"]
    return TableSettings(
        data=options["data"],
        target=target,
        query=options["query"],
        task=task,
        test_data=options["test_data"],
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
        of_the_sample=tuple(name for name in ("drop", "ordinal", "roles") if not options[name] and name in entry),
    )


def model_name(data: str) -> str:
    """Name the registered model of a table: the sample's name, else the file's stem, lower case, others ``_``."""
    stem = data if data in catalog() else Path(urlparse(data).path if "://" in data else data).stem
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in stem.lower())


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def inputs_digest(sources: list[Source]) -> str:
    """SHA-256 of the bytes of the inputs: of one file its own, of several the digest of their digests."""
    digests = [file_digest(source.path) for source in sources]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def code_digest() -> str:
    """SHA-256 of the code in steps/ and of the lock: what a result depends on beside data and settings."""
    total = hashlib.sha256()
    for path in [*_code_files(), LOCK]:
        total.update(f"{path.relative_to(ROOT).as_posix()}\0".encode())
        total.update(path.read_bytes().replace(b"\r\n", b"\n"))
        total.update(b"\0")
    return total.hexdigest()


def _code_files() -> Iterator[Path]:
    yield from sorted((ROOT / "steps").rglob("*.py"))


def pinned(packages: list[str]) -> list[str]:
    """Return the lock's pins of some packages, without hashes, as requirements of a saved model.

    Raises
    ------
    LookupError
        Where the lock does not pin one.
    """
    from packaging.requirements import Requirement

    pins: dict[str, str] = {}
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():
            requirement = Requirement(line.rstrip("\\").strip())
            if requirement.marker is None or requirement.marker.evaluate():
                pins[requirement.name] = f"{requirement.name}{requirement.specifier}"
    return [pins[package] for package in packages]

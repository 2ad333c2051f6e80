"""From what was typed to files here: located, fetched once where they lie elsewhere, known by their digest."""

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from glob import escape, glob, has_magic
from pathlib import Path
from typing import Any

from lifecycle.adapters.catalog import CATALOG, catalog
from lifecycle.adapters.places import (
    KIND_NAMES,
    KINDS,
    READABLE,
    Place,
    is_beside,
    kind_of,
    parse_place,
    without_secrets,
)
from lifecycle.errors import UserError, listed
from lifecycle.reading import ReadOptions

# What a process has fetched, for those that it starts: by the digest of what was asked, where it lies.
FETCHED = "LIFECYCLE_FETCHED"
_LOCK = threading.RLock()


@dataclass(frozen=True)
class Source:
    """A table before it is read.

    Attributes
    ----------
    option : str
        ``data`` or ``test_data``, for the errors.
    asked : str
        As typed, without secrets.
    path : Path
        The file or folder here.
    read : ReadOptions
        How it is to be read.
    files : tuple of Path
        The files to read, in order; empty for the path itself.
    fetched : bool
        Whether they are a copy that this process, or the one that started it, has made of what lies elsewhere.
    """

    option: str
    asked: str
    path: Path
    read: ReadOptions = field(default_factory=ReadOptions)
    files: tuple[Path, ...] = ()
    fetched: bool = False

    def __post_init__(self) -> None:
        """Let a path stand for its only file."""
        if not self.files:
            object.__setattr__(self, "files", (self.path,))

    @property
    def kind(self) -> str:
        """One of csv, parquet, json and arrow."""
        return kind_of(self.files[0].name)

    @property
    def kind_name(self) -> str:
        """The kind as people write it."""
        return KIND_NAMES[self.kind]

    @property
    def origin(self) -> str:
        """Where it lies, for a run's page: the path here, or the address without secrets."""
        place = place_of(self.option, self.asked)
        return self.asked if place.is_remote else str(self.path)

    @property
    def shown(self) -> str:
        """For sentences."""
        return self.asked


def locate(option: str, asked: str, read: ReadOptions | None = None) -> Source:
    """Find the files that ``data`` or ``test_data`` means; what lies elsewhere is fetched, once in a run.

    Parameters
    ----------
    option : str
        The option's name.
    asked : str
        A sample's name, a path, a folder, a glob or an address.
    read : ReadOptions, optional
        How it is to be read.

    Raises
    ------
    UserError
        Where there is no such sample or file, or it is not one that can be read.
    """
    read = read or ReadOptions()
    samples = catalog()
    if not asked.strip():
        raise UserError(f"{option}: nothing was given; name a sample ({listed(samples)}) or give a path.")
    if asked in samples:
        return Source(option, asked, CATALOG.parent / samples[asked]["file"], read)
    place = place_of(option, asked)
    path = Path(place.path).expanduser()
    fetched = place.is_remote or is_delta(place)
    if fetched:
        path = _fetched(option, absolute(asked), place)
    elif place.version is not None and path.exists():
        raise UserError(f"{option}: {asked!r} is no Delta table, so it has no versions; leave ?version= out.")
    elif has_magic(place.path) and not path.exists():
        files = [Path(name) for name in sorted(glob(str(path))) if Path(name).is_file()]
        return Source(option, place.shown, path, read, _of_one_kind(option, place.shown, files, "matches"))
    if not path.exists():
        raise _missing(option, asked, path)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not is_beside(file.name))
        return Source(option, place.shown, path, read, _of_one_kind(option, place.shown, files, "holds"), fetched)
    if not kind_of(path.name):
        raise UserError(
            f"{option}: {place.shown!r} ends in {path.suffix or 'no suffix'!r}; "
            f"give a file that ends in one of {listed(KINDS, 20)}."
        )
    return Source(option, place.shown, path, read, fetched=fetched)


def place_of(option: str, asked: str) -> Place:
    """Tell what ``data`` or ``test_data`` points at: a file that is there goes before a catalog's table."""
    place = parse_place(option, asked)
    if place.form == "catalog" and Path(asked).exists():
        return Place("path", asked, asked, Path(asked).name)
    return place


def is_delta(place: Place) -> bool:
    """Tell whether a place is the folder of a Delta table here."""
    return place.form == "path" and (Path(place.path).expanduser() / "_delta_log").is_dir()


def is_cataloged(asked: str) -> bool:
    """Tell whether what was typed names a table of a catalog, as ``catalog.schema.table``, and no file here."""
    return place_of("data", asked).form == "catalog"


def check(option: str, asked: str) -> None:
    """Refuse what cannot be found, without fetching anything.

    Raises
    ------
    UserError
        As `locate` does for what lies here.
    """
    place = place_of(option, asked)
    if not place.is_remote and not is_delta(place):
        locate(option, asked)


def _missing(option: str, asked: str, path: Path) -> UserError:
    if not path.suffix and len(path.parts) == 1:
        near = get_close_matches(asked, sorted(catalog()), n=1)
        found = f", near it is {near[0]!r}" if near else ""
        return UserError(
            f"{option}: {asked!r} is neither a sample ({listed(catalog())}) nor a file{found}; name a sample or give a "
            "path."
        )
    if path.is_absolute():
        beside = sorted(Path(other).name for other in glob(f"{escape(str(path.parent))}/*"))
        near = get_close_matches(path.name, beside, n=1, cutoff=0.8)
        found = f", near it is {near[0]!r}" if near else ""
        return UserError(f"{option}: there is no file {str(path)!r}{found}; give the path of a {READABLE} file.")
    return UserError(
        f"{option}: there is no file {asked!r} in {str(Path.cwd())!r}, where the project runs; "
        f'give the absolute path, such as -P {option}="$PWD/{asked.removeprefix("./")}".'
    )


def _of_one_kind(option: str, shown: str, files: Sequence[Path], verb: str) -> tuple[Path, ...]:
    """Keep the tables among some files.

    Raises
    ------
    UserError
        Where there are none, or tables of several kinds.
    """
    tables = tuple(file for file in files if kind_of(file.name))
    if not tables:
        beside = f", only {listed([file.name for file in files], 3)}" if files else ""
        raise UserError(f"{option}: {shown!r} {verb} no table{beside}; give one or more {READABLE} files.")
    kinds = {kind_of(file.name): file.name for file in reversed(tables)}
    if len(kinds) > 1:
        found = listed(f"{KIND_NAMES[kind]} ({name})" for kind, name in sorted(kinds.items()))
        raise UserError(
            f"{option}: {shown!r} {verb} files of several kinds, {found}; give those of one, such as *.csv."
        )
    return tables


# What lies elsewhere.


def _fetched(option: str, asked: str, place: Place) -> Path:
    """Return where a remote table lies here; it is fetched unless this process or the one that started it has."""
    name = hashlib.sha256(asked.encode()).hexdigest()
    with _LOCK:
        known: dict[str, str] = json.loads(os.environ.get(FETCHED, "{}"))
        if name in known and Path(known[name]).exists():
            return Path(known[name])
        folder = Path(tempfile.mkdtemp(prefix="fetched-", dir=_folder()))
        try:
            path = _fetch(option, asked, place, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        os.environ[FETCHED] = json.dumps(known | {name: str(path)})
        return path


def _fetch(option: str, asked: str, place: Place, folder: Path) -> Path:
    # Imported late: SQLAlchemy and the clients of object stores take a while, and most tables are files.
    if place.form == "database":
        from lifecycle.adapters import databases

        return databases.fetch(option, asked, folder)
    if place.form == "path":
        from lifecycle.adapters import databases

        return databases.fetch_delta(option, place, folder)
    if place.form == "catalog":
        from lifecycle.adapters import databases, spark

        return databases.in_order(spark.fetch_table(option, asked, folder), folder / f"{place.name}.parquet")
    from lifecycle.adapters import remote

    return remote.fetch(option, asked, place, folder)


_own: list[tuple[int, str]] = []


def _folder() -> str:
    """Return this process's temporary folder, made at its first use and removed when the process ends."""
    if not _own or _own[0][0] != os.getpid():
        _own[:] = [(os.getpid(), tempfile.mkdtemp(prefix="lifecycle-"))]
        atexit.register(_remove, *_own[0])
    return _own[0][1]


def _remove(owner: int, folder: str) -> None:
    # A worker that was forked has the registration too, and the folder is not its own.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


# For steps that run elsewhere.


def absolute(asked: str) -> str:
    """Return what was typed as a process in another folder must be told it: relative paths become absolute."""
    head, mark, rest = asked.partition(":///")
    if mark and head.lower().split("+")[0] == "sqlite":
        return asked if rest.startswith("/") else f"{head}:///{Path(rest).absolute()}"
    place = place_of("data", asked)
    if place.is_remote or asked in catalog() or asked.startswith(("file:", "dbfs:")):
        return asked
    path = Path(place.path).expanduser()
    if not path.exists() and not has_magic(place.path):
        return asked
    return str(path.absolute()) + ("" if place.version is None else f"?version={place.version}")


def handed_on(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options for a step that runs in the project's folder: paths relative to this one become absolute."""
    paths = {name: absolute(options[name]) for name in ("data", "test_data", "space") if options.get(name)}
    return {**options, **paths}


def logged(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as a run's page may show them: without user and password in an address."""
    shown = {name: without_secrets(options[name]) for name in ("data", "test_data") if options.get(name)}
    return {**options, **shown}


# Digests.


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def inputs_digest(sources: Sequence[Source]) -> str:
    """SHA-256 of the bytes of the inputs: of one file its own, of several the digest of their digests.

    The order of a folder's files follows from their names, which do not count beyond that.
    """
    digests = [_together([file_digest(file) for file in source.files]) for source in sources]
    return _together(digests)


def _together(digests: list[str]) -> str:
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

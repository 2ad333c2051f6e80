"""Tables from outside: the catalog of samples, CSV and Parquet files, and the digests of what was read."""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import yaml

from lifecycle.contract import check_twins
from lifecycle.errors import UserError, listed
from lifecycle.settings import TableSettings, parse_names, parse_ordinal, parse_roles

ROOT = Path(__file__).resolve().parents[3]
CATALOG = ROOT / "data" / "catalog.yaml"
LOCK = ROOT / "requirements.txt"
KINDS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet"}


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
    """

    option: str
    asked: str
    path: Path


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
    if path.suffix.lower() not in KINDS:
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


def read_table(source: Source, query: str) -> Any:
    """Read a table whole, through the query if there is one.

    Text stays text: a column of Yes and No is not read as booleans. An empty cell is missing.

    Parameters
    ----------
    source : Source
        What to read.
    query : str
        SQL that names the raw table ``data``; empty for the table as it is.

    Returns
    -------
    pandas.DataFrame
        Integers with missing cells come as float64, dates as datetime64.

    Raises
    ------
    UserError
        Where the file is empty, cannot be read, or the query fails.
    """
    import duckdb

    if source.path.stat().st_size == 0:
        raise UserError(f"{source.option}: {source.asked!r} is empty; give a table with a header and rows.")
    kind = KINDS[source.path.suffix.lower()]
    name = str(source.path)
    with duckdb.connect() as connection:
        connection.execute("SET autoinstall_known_extensions = false")
        try:
            if kind == "csv":
                sniffed = connection.execute("SELECT Delimiter, Quote FROM sniff_csv(?)", [name]).fetchall()
                header = _header(source, *sniffed[0])
                check_twins(source.option, source.asked, header)
                table = connection.read_csv(
                    name,
                    header=True,
                    auto_type_candidates=["BIGINT", "DOUBLE", "DATE", "TIMESTAMP", "VARCHAR"],
                    sample_size=-1,
                    encoding="utf-8",
                )
                if len(header) == 1 and any(mark in header[0] for mark in ",;\t|"):
                    # duckdb takes the whole line for one column where no separator cuts every row alike.
                    raise UserError(
                        f"{source.option}: {source.asked!r} has rows of different widths, so it cannot be told what "
                        f"separates the names in {header[0]!r}; give every row as many cells as there are names."
                    )
                if len(table.columns) != len(header):
                    raise UserError(
                        f"{source.option}: {source.asked!r} has {len(header)} names in its first line, and rows of "
                        f"{len(table.columns)} cells; give every row as many cells as there are names."
                    )
            else:
                nodes = connection.execute("SELECT name, num_children FROM parquet_schema(?)", [name]).fetchall()
                check_twins(source.option, source.asked, _top_level(nodes))
                table = connection.read_parquet(name)
            columns = table.columns
            if not query:
                return _without_nullable(table.df())
            table.create("data")
        except duckdb.Error as error:
            raise UserError(f"{source.option}: {source.asked!r} cannot be read: {_first_line(error)}") from error
        # The result must follow from the table alone: no other file, no variable of ours, one order of rows.
        connection.execute("SET threads = 1; SET python_enable_replacements = false; SELECT setseed(0.5)").fetchall()
        connection.execute("SET enable_external_access = false")
        try:
            result = connection.sql(query)
            if result is None:
                raise UserError("query: the statement returns no table; give a SELECT over the table `data`.")
            frame = result.df()
        except duckdb.Error as error:
            raise UserError(
                f"query: it fails with {_first_line(error)!r}; the table `data` has the columns {listed(columns)}."
            ) from error
    if not len(frame):
        raise UserError("query: it returns no rows; give a query that keeps some.")
    return _without_nullable(frame)


def _without_nullable(frame: Any) -> Any:
    """Turn integers with missing cells, which duckdb gives as nullable ones, into float64 with NaN."""
    return frame.astype(
        {name: "float64" for name, dtype in frame.dtypes.items() if str(dtype).lstrip("U")[:3] == "Int"}
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _top_level(nodes: list[tuple[str, int | None]]) -> list[str]:
    """Return the columns of a Parquet file's schema, which lists each nested column's parts after it."""
    names, inside = [], 0
    for name, children in nodes[1:]:
        if not inside:
            names.append(name)
        inside = max(inside - 1, 0) + (children or 0)
    return names


def _header(source: Source, separator: str, quote: str) -> list[str]:
    """Read the names in a CSV's first record, which may be of several lines.

    Separator and quote are duckdb's, which writes ``(empty)`` for none.
    """
    if len(quote) != 1:
        quote = '"'
    if len(separator) != 1:
        separator = ","
    with source.path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        return next(csv.reader(stream, delimiter=separator, quotechar=quote), [])

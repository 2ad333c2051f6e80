"""Where a table may lie, told from the text alone: a path, a table of a database or catalog, an address."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from lifecycle.errors import UserError, listed

DATABASES = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")
STORES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfss": "adlfs", "abfs": "adlfs", "az": "adlfs"}
KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}
KIND_NAMES = {"csv": "CSV", "parquet": "Parquet", "json": "JSON", "arrow": "Arrow"}
PACKED = (".gz", ".zst")
# catalog.schema.table, each part plain or between backquotes.
CATALOGED = r"(?:(`[^`]+`|\w[\w-]*)\.)(?:(`[^`]+`|\w[\w-]*)\.)(`[^`]+`|\w[\w-]*)"
# A part of an address that is the name of an environment variable, and names in a query whose values let somebody in.
VARIABLE = re.compile(r"\$(\{\w+\}|[A-Za-z_]\w*)")
SECRETIVE = re.compile("pass|pwd|secret|token|key|sig|auth|credential", re.IGNORECASE)
READABLE = "CSV, Parquet, JSON lines or Arrow"


@dataclass(frozen=True)
class Place:
    """Where a table lies.

    Attributes
    ----------
    form : str
        ``path``, ``database``, ``http``, ``store`` (an object store), ``run`` (an artifact of one) or ``catalog`` (a
        table by its name of three parts; a file of that very name goes before it).
    shown : str
        As typed, without what may be secret: user and password, and the query of an http address.
    path : str
        Of a path: itself, with ``dbfs:`` and ``file:`` resolved; else as typed.
    name : str
        The last part: of a database the table's name without its schema, else the file's or folder's.
    version : int or None
        Of a Delta table, as ``?version=3`` says.
    """

    form: str
    shown: str
    path: str
    name: str
    version: int | None = None

    @property
    def is_remote(self) -> bool:
        """Whether the table must be fetched before it is read."""
        return self.form != "path"


def parse_place(option: str, asked: str) -> Place:
    """Tell what ``data`` or ``test_data`` points at, by its text alone.

    Parameters
    ----------
    option : str
        The option's name.
    asked : str
        As typed; a sample's name is a path here.

    Raises
    ------
    UserError
        Where the address is of a kind that cannot be read, or a database's names no table.
    """
    head, colon, _ = asked.partition(":")
    scheme = head.lower()
    # One letter is a drive, as in C:/data.
    if not colon or len(scheme) < 2 or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        named = re.fullmatch(CATALOGED, asked)
        if named and not kind_of(asked) and not asked.lower().endswith(PACKED):
            return Place("catalog", asked, asked, named[3].strip("`"))
        return _path(asked, asked)
    base = scheme.split("+")[0]
    if base in DATABASES:
        return _database(option, asked)
    parts = urlsplit(asked)
    if scheme == "file":
        return _path(asked, unquote(parts.path))
    if scheme == "dbfs":
        return _path(asked, "/dbfs/" + asked.partition(":")[2].lstrip("/").removeprefix("dbfs/"))
    if scheme in ("http", "https"):
        shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        return Place("http", shown, asked, _last(unquote(parts.path)) or parts.netloc.rpartition("@")[2])
    if scheme in STORES:
        return Place("store", asked, asked, _last(asked.partition("://")[2]))
    if scheme == "runs":
        return Place("run", asked, asked, _last(asked))
    if "://" not in asked:
        return _path(asked, asked)
    raise UserError(
        f"{option}: {without_secrets(asked)!r} is a {scheme} address, which cannot be read; give a path, or an address "
        f"that begins with one of {listed([*DATABASES[:2], 'mysql', 'http', 'https', *STORES, 'runs:', 'dbfs:'], 20)}."
    )


def without_secrets(asked: str) -> str:
    """Return what was typed without what may be secret in it."""
    head, colon, rest = asked.partition("://")
    if not colon or head.lower() in STORES:
        return asked
    if head.lower() in ("http", "https"):
        parts = urlsplit(asked)
        return f"{head}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    # A password may hold a slash or a question mark that should have been written as %2F or %3F, and so may the query.
    table = re.search(r"[?&]table=([^&]*)", rest)
    return f"{head}://{rest.rpartition('@')[2].partition('?')[0]}" + (f"?table={table[1]}" if table else "")


def bears_secret(asked: str) -> bool:
    """Tell whether an address holds a password, a token or a signature itself, not the name of a variable.

    Parameters
    ----------
    asked : str
        As typed; of a requirement as pip takes it, the address behind the ``@``.
    """
    head, colon, rest = asked.partition("://")
    scheme = (head.split() or [""])[-1].lower()
    if not colon or scheme in STORES:
        return False
    # A database's password may hold a slash that should have been written as %2F.
    who = (rest if scheme.split("+")[0] in DATABASES else re.split(r"[/?#]", rest)[0]).rpartition("@")[0]
    user, colon, password = who.partition(":")
    # What stands alone before the @ of a web address is a token as often as not.
    typed = [password if colon else user if scheme.endswith(("http", "https")) else ""]
    query = parse_qs(rest.partition("?")[2])
    typed += [value for name, values in query.items() if SECRETIVE.search(name) for value in values]
    return any(one and not VARIABLE.fullmatch(one) for one in typed)


def is_beside(name: str) -> bool:
    """Tell whether a file of a folder of tables is none of them: hidden, a mark of a writer, or a note to readers."""
    return name[0] in "._" or name.casefold().startswith(("readme", "license"))


def kind_of(name: str) -> str:
    """Tell by a file's name what it holds: csv, parquet, json or arrow; empty where the name does not tell.

    CSV and JSON may be packed by gzip or zstd.
    """
    stem, dot, suffix = name.lower().rpartition(".")
    if dot + suffix in PACKED:
        stem, dot, suffix = stem.rpartition(".")
        kind = KINDS.get(dot + suffix, "")
        return kind if kind in ("csv", "json") else ""
    return KINDS.get(dot + suffix, "")


def stem_of(name: str) -> str:
    """Return a file's name without the endings that tell its kind."""
    while True:
        stem, dot, suffix = name.rpartition(".")
        if not stem or dot + suffix.lower() not in (*KINDS, *PACKED):
            return name
        name = stem


def _path(asked: str, path: str) -> Place:
    found = re.fullmatch(r"(.+)\?version=(\d+)", path, re.DOTALL)
    version = int(found[2]) if found else None
    path = found[1] if found else path
    return Place("path", asked, path, _last(path), version)


def _database(option: str, asked: str) -> Place:
    shown = without_secrets(asked)
    tables = parse_qs(asked.rpartition("?")[2]).get("table", []) if "?" in asked else []
    if not tables or not tables[0]:
        raise UserError(f"{option}: {shown!r} names no table; add it, such as {shown.split('?')[0]}?table=orders.")
    return Place("database", shown, asked, tables[0].rpartition(".")[2])


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]

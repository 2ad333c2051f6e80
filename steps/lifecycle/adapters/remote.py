"""Files that lie elsewhere, fetched to a folder here: over http, from object stores, from a run's artifacts."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lifecycle.adapters.databases import absent, expanded
from lifecycle.adapters.places import PACKED, STORES, Place, is_beside, kind_of
from lifecycle.errors import UserError, listed

SECONDS = 60
BLOCK = 1 << 20
# Where an address does not end in a file's name, the server may say what it sends.
SENT = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/x-ndjson": ".jsonl",
    "application/json": ".json",
    "application/vnd.apache.parquet": ".parquet",
}


def fetch(option: str, asked: str, place: Place, folder: Path) -> Path:
    """Fetch a table's files.

    Parameters
    ----------
    option : str
        ``data`` or ``test_data``.
    asked : str
        As typed.
    place : Place
        What that means.
    folder : Path
        An empty folder to put them into.

    Returns
    -------
    Path
        Of the file, or of a folder of several.

    Raises
    ------
    UserError
        Where it cannot be reached, is not there, or may not be read.
    """
    address = expanded(option, asked)
    if place.form == "http":
        return _http(option, address, place, folder)
    if place.form == "store":
        return _store(option, address, place, folder)
    from lifecycle.adapters import tracking

    try:
        return tracking.fetch_artifact(asked, folder)
    except LookupError as error:
        raise UserError(
            f"{option}: {place.shown!r} is not to be had: {error.args[0]}; give runs:/<run id>/<path of an artifact>, "
            "as the run's page shows them."
        ) from error


def _http(option: str, address: str, place: Place, folder: Path) -> Path:
    import requests

    try:
        with requests.get(address, stream=True, timeout=SECONDS) as answer:
            if answer.status_code >= 400:
                raise UserError(f"{option}: {place.shown!r} answers with status {answer.status_code}; {_mend(answer)}.")
            name = place.name
            if not kind_of(name):
                name += SENT.get(answer.headers.get("Content-Type", "").partition(";")[0].strip().lower(), "")
            # A server that packs on the way has it unpacked here, whatever the name says.
            stem, dot, packing = name.rpartition(".")
            if dot + packing in PACKED and answer.headers.get("Content-Encoding", "identity") != "identity":
                name = stem
            target = folder / name
            with target.open("wb") as file:
                for block in answer.iter_content(BLOCK):
                    file.write(block)
    except requests.RequestException as error:
        # The error's own text may hold the whole address.
        raise UserError(
            f"{option}: {place.shown!r} cannot be fetched from {urlsplit(address).hostname} "
            f"({type(error).__name__}); start the server, mend the address, or try again."
        ) from error
    return target


def _mend(answer: Any) -> str:
    if answer.status_code in (401, 403):
        return "give user and password in the address, such as https://$USER:$PASSWORD@host/table.csv"
    return "mend the address" if answer.status_code < 500 else "the server is unwell, so try again later"


def _store(option: str, address: str, place: Place, folder: Path) -> Path:
    scheme = address.partition("://")[0].lower()
    with _said(option, place, STORES[scheme]):
        import fsspec

        # By name: fsspec does not know every scheme of a client that is absent.
        importlib.import_module(STORES[scheme])
        files, path = fsspec.core.url_to_fs(address)
        if any(mark in path for mark in "*?["):
            found = sorted(files.glob(path))
        elif files.isfile(path):
            target = folder / place.name
            files.get_file(path, str(target))
            return target
        else:
            found = sorted(file for file in files.ls(path, detail=False) if file.rstrip("/") != path.rstrip("/"))
        tables = [file for file in found if kind_of(file) and not is_beside(Path(file).name)]
        if not tables:
            beside = listed([Path(file).name for file in found], 3)
            raise UserError(f"{option}: {place.shown!r} holds no table ({beside}); give a table's address.")
        for file in tables:
            files.get_file(file, str(folder / Path(unquote(file)).name))
    return folder


@contextmanager
def _said(option: str, place: Place, package: str) -> Iterator[None]:
    """Turn what an object store's client raises into a sentence."""
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise absent(option, place.shown, package) from error
    except FileNotFoundError as error:
        raise UserError(
            f"{option}: there is no {place.shown!r}: no such bucket, container or key; mend the address."
        ) from error
    except PermissionError as error:
        raise UserError(
            f"{option}: {place.shown!r} may not be read with these credentials; give others, as docs/sources.md shows."
        ) from error
    except Exception as error:
        # Each client has errors of its own, and some wrap others.
        said = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        if "credential" in f"{type(error).__name__} {said}".lower():
            raise UserError(
                f"{option}: {place.shown!r} needs credentials, and none were found; set the store's own variables, "
                "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            ) from error
        raise UserError(f"{option}: {place.shown!r} cannot be fetched: {said.rstrip('.')}.") from error

"""The project's own code and lock: where they lie, the digest of both, the pins of a saved model."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "requirements.txt"


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
    every = dict(_pins({}))
    return [every[package] for package in packages]


def pins(environment: Mapping[str, str], without: Collection[str] = ()) -> list[str]:
    """Return the lock's pins for another machine, without hashes, in the lock's order.

    Parameters
    ----------
    environment : mapping
        What packaging's markers ask of a machine, such as ``sys_platform``; what is not given is this machine's.
    without : collection of str
        Packages to leave out.
    """
    return [pin for name, pin in _pins(environment) if name not in without]


def _pins(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    from packaging.requirements import Requirement

    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():
            requirement = Requirement(line.rstrip("\\").strip())
            if requirement.marker is None or requirement.marker.evaluate(dict(environment)):
                yield requirement.name, f"{requirement.name}{requirement.specifier}"

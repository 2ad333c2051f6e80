"""How a file is to be read where its form cannot tell: the option ``read``, checked before anything is opened."""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifecycle.errors import UserError
from lifecycle.settings import one_of, parse_names

# How separators are typed where a shell or the option's own form stands in the way.
SEPARATORS = {"": ";", "\\t": "\t", "tab": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
EXAMPLE = 'such as read="skip=1; header=false; names=a,b; nullstr=?"'


@dataclass(frozen=True)
class ReadOptions:
    """What the option ``read`` says of a file.

    Attributes
    ----------
    sep, quote, escape, comment : str or None
        One character each; None to find it, and for a comment there is none. An empty ``quote`` quotes nothing.
    skip : int
        Lines before the header, or before the first row.
    header : bool or None
        Whether the first line holds the names; None for yes, unless it looks like numbers, which is refused.
    names : tuple of str
        The columns' names, instead of the header's.
    nullstr : tuple of str
        Cells that are missing, beside the empty ones.
    decimal : str
        ``.`` or ``,``.
    encoding : str
        Of the text, a codec that Python knows; empty for UTF-8, or UTF-16 where a byte-order mark says so.
    dateformat, timestampformat : str
        As strftime writes them; empty to find them.
    """

    sep: str | None = None
    quote: str | None = None
    escape: str | None = None
    skip: int = 0
    header: bool | None = None
    names: tuple[str, ...] = ()
    nullstr: tuple[str, ...] = ()
    decimal: str = "."
    encoding: str = ""
    comment: str | None = None
    dateformat: str = ""
    timestampformat: str = ""

    def typed(self) -> tuple[str, ...]:
        """Return the names of the options that differ from their defaults."""
        plain = ReadOptions()
        return tuple(name for name in PARSERS if getattr(self, name) != getattr(plain, name))


def parse_read(text: str) -> ReadOptions:
    """Read ``name=value``, several separated by semicolons.

    Parameters
    ----------
    text : str
        As typed; empty for none. A semicolon belongs to a value where no further ``name=`` follows it, so that
        ``sep=;`` can be typed.

    Returns
    -------
    ReadOptions
        Checked.

    Raises
    ------
    UserError
        For an unknown name, a name given twice, or a value that cannot be right.
    """
    values: dict[str, Any] = {}
    for part in re.split(r";\s*(?=[a-z_]+\s*=|$)", text.strip()):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals:
            raise UserError(
                f"read: {part.strip()!r} is not of the form name=value; separate several by a semicolon, {EXAMPLE}."
            )
        one_of("read", name, PARSERS)
        if name in values:
            raise UserError(f"read: {name} stands twice; give it one value.")
        # A blank can be a separator itself; elsewhere it is the typist's.
        values[name] = PARSERS[name](name, value if value == " " else value.strip())
    options = ReadOptions(**values)
    if options.sep is not None and options.sep == options.decimal:
        raise UserError(f"read: sep and decimal are both {options.sep!r}; a cell cannot end where its fraction begins.")
    return options


def _character(name: str, value: str) -> str:
    if len(value) != 1:
        raise UserError(f"read: {name} is {value!r}; give one character, such as {name}=#.")
    return value


def _separator(name: str, value: str) -> str:
    value = SEPARATORS.get(value, value)
    if len(value) != 1:
        raise UserError(f"read: {name} is {value!r}; give one character, or tab, space, comma, semicolon or pipe.")
    return value


def _quote(name: str, value: str) -> str:
    return value if not value else _character(name, value)


def _count(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise UserError(f"read: {name} is {value!r}; give a number of lines, such as {name}=1.")
    return int(value)


def _truth(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise UserError(f"read: {name} is {value!r}; give true or false.")
    return value.lower() == "true"


def _names(name: str, value: str) -> tuple[str, ...]:
    names = parse_names(value)
    if not names:
        raise UserError(f"read: {name} is empty; give the names separated by commas, such as {name}=a,b.")
    for one in names:
        if sum(one.casefold() == other.casefold() for other in names) > 1 and name == "names":
            raise UserError(f"read: the name {one!r} stands twice in names; give each column its own.")
    return names


def _decimal(name: str, value: str) -> str:
    if value not in (".", ","):
        raise UserError(f"read: {name} is {value!r}; give . or , as the mark before the fraction.")
    return value


def _encoding(name: str, value: str) -> str:
    try:
        # Codecs from bytes to bytes, such as zlib, have no place here either.
        "".encode(value)
        return codecs.lookup(value).name
    except (LookupError, TypeError, ValueError):
        raise UserError(
            f"read: {name} is {value!r}, which is not known; give one such as utf-8, cp1252, latin-1 or utf-16."
        ) from None


def _format(name: str, value: str) -> str:
    if "%" not in value:
        raise UserError(f"read: {name} is {value!r}; write it with strftime's letters, such as {name}=%d.%m.%Y.")
    return value


PARSERS: dict[str, Callable[[str, str], Any]] = {
    "sep": _separator,
    "quote": _quote,
    "escape": _character,
    "skip": _count,
    "header": _truth,
    "names": _names,
    "nullstr": _names,
    "decimal": _decimal,
    "encoding": _encoding,
    "comment": _character,
    "dateformat": _format,
    "timestampformat": _format,
}

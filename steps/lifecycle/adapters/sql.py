"""Names and texts as SQL writes them."""

from collections.abc import Iterable


def quoted(name: str) -> str:
    """Write a name as SQL does."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Write a text as SQL does."""
    return "'" + text.replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    """Write a list of texts as duckdb's SQL does."""
    return "[" + ", ".join(map(literal, texts)) + "]"

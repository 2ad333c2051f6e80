"""Names, texts and files as SQL writes them."""

from collections.abc import Iterable

# How rows are copied. A dictionary of many values takes longer than it spares.
AS_PARQUET = "(FORMAT parquet, COMPRESSION lz4_raw, DICTIONARY_SIZE_LIMIT 5000)"


def quoted(name: str) -> str:
    """Write a name as SQL does."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Write a text as SQL does."""
    return "'" + text.replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    """Write a list of texts as duckdb's SQL does."""
    return "[" + ", ".join(map(literal, texts)) + "]"

"""The tables that benchmarks write into the pages of docs/."""

from pathlib import Path


def write_between(page: Path, marks: tuple[str, str], text: str) -> None:
    """Put a text between two marks of a page, in the place of what stands there."""
    whole = page.read_text(encoding="utf-8")
    before, after = whole.split(marks[0])[0], whole.split(marks[1])[1]
    page.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after}", encoding="utf-8")

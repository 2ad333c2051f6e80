"""The benchmark of large tables runs: on a small one, without a word on its time."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "large.py"


@pytest.mark.whole
def test_the_benchmark_of_large_tables_runs() -> None:
    page = BENCHMARK.parents[1] / "docs" / "large.md"
    before = hashlib.sha256(page.read_bytes()).hexdigest()
    command = [sys.executable, str(BENCHMARK), "--rows", "2000,5000", "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| ([\d,]+) \|", done.stdout, flags=re.MULTILINE)
    assert rows == ["2,000", "5,000"]
    assert "| 2,000, 5,000 |" in done.stdout
    assert hashlib.sha256(page.read_bytes()).hexdigest() == before


def test_its_table_follows_from_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    import large

    for name, rows in (("a", 500), ("b", 500), ("c", 300)):
        large.write_table(tmp_path / name, rows)
    a, b, c = ((tmp_path / name).read_text().splitlines() for name in "abc")
    assert a == b
    assert a[:301] == c
    assert len(a[0].split(",")) == 20

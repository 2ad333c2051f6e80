"""What the tests of adapters share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import hostile
import pytest


@pytest.fixture(scope="module")
def at_home() -> Iterator[None]:
    """Let Spark listen to this machine alone, and its pythons be this one and find the hostile objective."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYTHONPATH", str(Path(hostile.__file__).parent))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.delenv("MASTER", raising=False)
        yield

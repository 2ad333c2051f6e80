"""What the tests of the data decisions share."""

import re
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from scipy import sparse

from lifecycle.errors import UserError

# The same examples every time, on machines of any speed.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=50)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def refused() -> Callable[[str], Any]:
    """Expect a user's mistake, told in exactly this sentence."""
    return lambda sentence: pytest.raises(UserError, match=f"^{re.escape(sentence)}$")


@pytest.fixture
def kept_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no wide matrix be written out; coefficients, which are one row, and a column a class may be."""

    def guarded(kind: type, way: str) -> None:
        own = getattr(kind, way)

        def narrow_alone(matrix: Any, *arguments: Any, **options: Any) -> Any:
            assert min(matrix.shape) <= 10, f"a sparse matrix of shape {matrix.shape} was written out"
            return own(matrix, *arguments, **options)

        monkeypatch.setattr(kind, way, narrow_alone)

    for kind in (sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array):
        guarded(kind, "toarray")
        guarded(kind, "todense")

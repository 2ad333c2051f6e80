"""What the tests of the data decisions share."""

import re
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest

from lifecycle.errors import UserError

# The same examples every time, on machines of any speed.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=50)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def refused() -> Callable[[str], Any]:
    """Expect a user's mistake, told in exactly this sentence."""
    return lambda sentence: pytest.raises(UserError, match=f"^{re.escape(sentence)}$")

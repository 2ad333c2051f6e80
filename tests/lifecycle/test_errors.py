"""How names and cells are written into a sentence."""

from typing import Any

import numpy as np
import pytest

from lifecycle.errors import listed, shown


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], "none"),
        (["a"], "a"),
        (["b", "a", 3], "b, a, 3"),
        (list("abcdefghijkl"), "a, b, c, d, e, f, g, h, i, j, k, l"),
        (list("abcdefghijklm"), "a, b, c, d, e, f, g, h, i, j, k, l and 1 more"),
        ({"x": 1, "y": 2}, "x, y"),
    ],
)
def test_names_are_listed_in_their_order_and_many_are_cut(names: Any, text: str):
    assert listed(names) == text
    assert listed(iter(names)) == text


def test_how_many_names_are_listed_may_be_chosen():
    assert listed(range(5), most=2) == "0, 1 and 3 more"
    assert listed(range(2), most=2) == "0, 1"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("a", "'a'"),
        (7, "7"),
        (np.int64(7), "7"),
        (np.float64(0.5), "0.5"),
        (np.bool_(True), "True"),
        (np.str_("a"), "'a'"),
        (None, "None"),
    ],
)
def test_a_cell_is_shown_as_the_table_has_it(cell: Any, text: str):
    assert shown(cell) == text

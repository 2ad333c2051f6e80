"""Ranges and spaces of every kind, for tests of their properties."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from lifecycle.spaces import Choice, Integers, LogNormal, LogUniform, Normal, Rounded, Steps, Uniform

finite = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-9, 1e6)
spread = st.floats(1e-3, 50)
step_sizes = st.one_of(st.integers(1, 50), st.sampled_from([0.1, 0.25, 0.05, 2.5, 1e-3]))
options = st.lists(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 99), st.floats(-9, 9), st.text("abl1 ", max_size=5)),
    min_size=1,
    max_size=6,
    unique_by=str,
)


@st.composite
def steps_of_any_size(draw: Any) -> Steps:
    """Draw a range in steps, whole or not."""
    step, low, many = draw(step_sizes), draw(st.integers(-20, 20)), draw(st.integers(1, 30))
    ends = [float(Decimal(repr(step)) * place) for place in (low, low + many)]
    return Steps(*(int(end) if isinstance(step, int) else end for end in ends), step)


@st.composite
def rounded(draw: Any) -> Rounded:
    """Draw a range that is rounded."""
    step = draw(step_sizes)
    low, many = draw(st.integers(1, 20)), draw(st.integers(1, 100))
    bounded = LogUniform(*(float(Decimal(repr(step)) * place) for place in (low, low + many)))
    unbounded = (Normal(draw(finite), draw(spread)), LogNormal(draw(st.floats(-2, 5)), draw(st.floats(0.1, 2))))
    return Rounded(draw(st.sampled_from([bounded, *unbounded])), step)


@st.composite
def weighted(draw: Any) -> Choice:
    """Draw a choice whose options are not alike."""
    chosen = tuple(draw(options))
    shares = draw(st.lists(st.integers(1, 9), min_size=len(chosen), max_size=len(chosen)))
    return Choice(chosen, tuple(share / sum(shares) for share in shares))


ranges = st.one_of(
    options.map(lambda chosen: Choice(tuple(chosen))),
    weighted(),
    st.builds(Normal, finite, spread),
    st.builds(LogNormal, st.floats(-5, 5), st.floats(0.1, 3)),
    st.builds(lambda low, times: LogUniform(low, low * times), positive, st.floats(1.01, 1e6)),
    st.builds(lambda low, width: Uniform(low, low + width), finite, spread),
    steps_of_any_size(),
    st.builds(lambda low, width: Integers(low, low + width), st.integers(-50, 50), st.integers(1, 99)),
    rounded(),
)
spaces = st.dictionaries(
    st.sampled_from(["rf", "knn", "logreg"]),
    st.dictionaries(st.sampled_from(["C", "depth", "weights", "n_jobs_"]), ranges, max_size=4),
    min_size=1,
)

"""The two ways a step can end badly: by the user's mistake, or by a fault of ours."""

from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can mend, told in one sentence.

    The sentence names the option, says what was found and what would do. A script that meets one prints the
    sentence, tags its run with it and exits with code 2; every other exception is a fault of ours and shows
    its traceback.
    """


class StoreAwayError(UserError):
    """A tracking store that stays away for longer than it is waited for; what it misses has been kept in a file."""


class InnerStepError(Exception):
    """A step that this one started broke by a fault of ours; its traceback has been printed by itself."""


def shown(value: object) -> str:
    """Write one cell as the table has it, not as NumPy does: 7 and 'a', not np.int64(7)."""
    return repr(value.item() if hasattr(value, "item") else value)


def listed(names: Iterable[object], most: int = 12) -> str:
    """Join names for a sentence, in the order given, cut after ``most``.

    Parameters
    ----------
    names : iterable
        What to list; each is shown by ``str``.
    most : int
        How many to show before the rest is counted.

    Returns
    -------
    str
        For example ``"a, b, c and 4 more"``; ``"none"`` when there is nothing to list.
    """
    every = [str(name) for name in names]
    if not every:
        return "none"
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest} more" if rest > 0 else "")

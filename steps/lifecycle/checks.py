"""What a later table does against the contract of the training table, judged by the contract's own rules.

Whoever holds the rows counts; here the counts are judged, so that ten million rows are judged as cheaply as ten.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches

import pandas as pd

from lifecycle.cells import Cells, Counts, Observed
from lifecycle.columns import level_of
from lifecycle.contract import ERROR, IGNORE, NUMERIC, ORDINAL, Column, Contract
from lifecycle.errors import UserError, listed
from lifecycle.roles import looks_like_id

MOST_SAID = 5
MOST_SAID_OF_A_CODE = 3


@dataclass(frozen=True)
class Breach:
    """One thing that a later table does against its contract.

    Attributes
    ----------
    code : str
        One of `lifecycle.contract.RULES`.
    column : str
        What it is about; empty for the table as a whole.
    rule : str
        ``error`` or ``warning``, as the contract has it.
    count : int
        Rows concerned.
    share : float
        Of all rows, 0 to 1.
    example : str
        A cell, a level or a number; empty where there is none.
    message : str
        One sentence: what was found.
    """

    code: str
    column: str
    rule: str
    count: int
    share: float
    example: str
    message: str


COLUMNS = [one.name for one in fields(Breach)]


def judge(contract: Contract, observed: Observed) -> list[Breach]:
    """Judge what was counted in a table by the rules of its contract.

    Columns that are left out of models may be absent or hold what they will, the target may be absent, and a column
    that the contract does not know is no breach where its name is that of an identifier.

    Parameters
    ----------
    contract : Contract
        Of the training table.
    observed : Observed
        Of the later one.

    Returns
    -------
    list of Breach
        The table as a whole first, then column by column in the contract's order, then the columns that it does not
        know; what the rules ignore is left out.
    """
    found = [*_of_the_table(contract, observed)]
    for column in contract.columns:
        if column.name in observed.columns:
            counts = observed.columns[column.name]
            found += [*_of_a_column(column, counts, observed.rows, contract.missing_margin)]
    known = {contract.target, *(column.name for column in contract.columns)}
    for name in observed.names:
        if name not in known and not looks_like_id(name):
            message = f"the column {name!r} is new, and models do not read it"
            found.append(("extra_column", name, Cells(observed.rows), message))
    breaches = []
    for code, name, cells, message in found:
        if contract.rules[code] != IGNORE:
            share = cells.count / observed.rows if observed.rows else 1.0
            breaches.append(Breach(code, name, contract.rules[code], cells.count, share, cells.example, f"{message}."))
    return breaches


# A code, the column, the cells concerned, and what is said of them without the full stop.
_Found = tuple[str, str, Cells, str]


def _of_the_table(contract: Contract, observed: Observed) -> Iterator[_Found]:
    if not observed.rows:
        yield "empty", "", Cells(), "the table has no rows"
    absent = [name for name in contract.features if name not in observed.names]
    strangers = [name for name in observed.names if name not in {column.name for column in contract.columns}]
    for name in absent:
        folded = [other for other in strangers if other.casefold() == name.casefold()]
        near = folded or get_close_matches(name, strangers, n=1, cutoff=0.8)
        message = f"the column {name!r} is absent"
        yield "missing_column", name, Cells(observed.rows), message + (f", near it is {near[0]!r}" if near else "")


def _of_a_column(column: Column, counts: Counts, rows: int, margin: float) -> Iterator[_Found]:
    name = column.name

    def of(count: int) -> str:
        return f"{count} of {rows} rows ({count / rows:.1%})"

    if (cells := counts.unread).count:
        what = "a number" if column.role == NUMERIC else "a time"
        holds = f"holds what is not {what} in {of(cells.count)}, such as {cells.example!r}"
        yield "unreadable", name, cells, f"the column {name!r} is {column.role}, but {holds}"
    if (cells := counts.infinite).count:
        yield "infinite", name, cells, f"the column {name!r} is infinite in {of(cells.count)}, such as {cells.example}"
    if (cells := counts.below).count:
        ends = f"under {level_of(column.low)}, the least of training, in {of(cells.count)}, down to {cells.example}"
        yield "below", name, cells, f"the column {name!r} is {ends}"
    if (cells := counts.above).count:
        ends = f"over {level_of(column.high)}, the most of training, in {of(cells.count)}, up to {cells.example}"
        yield "above", name, cells, f"the column {name!r} is {ends}"
    if (cells := counts.new).count:
        code, known = ("not_in_order", "its order") if column.role == ORDINAL else ("new_level", "training")
        levels = "1 level" if cells.distinct == 1 else f"{cells.distinct} levels"
        holds = f"{levels} that {known} does not have, in {of(cells.count)}, such as {cells.example!r}"
        yield code, name, cells, f"the column {name!r} holds {holds}"
    share = counts.missing / rows if rows else 0.0
    if column.missing_share is not None and share > column.missing_share + margin:
        message = f"the column {name!r} is missing in {of(counts.missing)}, in training in {column.missing_share:.1%}"
        yield "more_missing", name, Cells(counts.missing), message


def errors_of(breaches: Iterable[Breach]) -> list[Breach]:
    """Return the breaches that are errors."""
    return [breach for breach in breaches if breach.rule == ERROR]


def refuse(breaches: Iterable[Breach], option: str) -> None:
    """Refuse a table whose breaches are errors by its contract.

    Parameters
    ----------
    breaches : iterable of Breach
        As `judge` returns them; warnings pass.
    option : str
        The option that names the table.

    Raises
    ------
    UserError
        Naming the errors.
    """
    errors = [breach.message.rstrip(".") for breach in errors_of(breaches)]
    if errors:
        more = f"; and {len(errors) - MOST_SAID} more" if len(errors) > MOST_SAID else ""
        raise UserError(
            f"{option}: the table breaks the contract of the training table: {'; '.join(errors[:MOST_SAID])}{more}; "
            "mend it, for example by query."
        )


def told(breaches: Iterable[Breach], file: str = "prepared/breaches.csv") -> list[str]:
    """Tell breaches in a few sentences: of each code the columns with most rows, then how many more there are.

    Parameters
    ----------
    breaches : iterable of Breach
        As `judge` returns them.
    file : str
        The artifact that holds them all.

    Returns
    -------
    list of str
        Each begins with the rule and the code; the codes are in the order of their first breach.
    """
    codes: dict[tuple[str, str], list[Breach]] = {}
    for breach in breaches:
        codes.setdefault((breach.rule, breach.code), []).append(breach)
    sentences = []
    for (rule, code), group in codes.items():
        worst = sorted(group, key=lambda breach: -breach.count)
        sentences += [f"{rule} {code}: {breach.message}" for breach in worst[:MOST_SAID_OF_A_CODE]]
        if (rest := len(worst) - MOST_SAID_OF_A_CODE) > 0:
            which = "1 more column does so" if rest == 1 else f"{rest} more columns do so"
            sentences.append(f"{rule} {code}: {which}, see {file}.")
    return sentences


def as_frame(breaches: Iterable[Breach]) -> pd.DataFrame:
    """Write breaches as a table, one a row."""
    return pd.DataFrame([asdict(breach) for breach in breaches], columns=COLUMNS)


def said(breaches: Iterable[Breach]) -> str:
    """Name breaches in one line: code, column, share; ``none`` where there are none."""
    return listed(
        " ".join(part for part in (breach.code, breach.column, f"{breach.share:.1%}") if part) for breach in breaches
    )

"""The contract of a table: what each column is, and what the model may expect of it.

It is found once, on the table as prepared, and written as a small JSON beside it. Everything after reads the
contract instead of guessing again.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from lifecycle.errors import UserError, listed, shown
from lifecycle.settings import FOLD_COLUMN, TWIN_COLUMN, Ordinal, TableSettings

NUMERIC, CATEGORICAL, ORDINAL, DATETIME, TEXT = "numeric", "categorical", "ordinal", "datetime", "text"
LEFT_OUT = ("constant", "id", "nested", "drop")
# A categorical column of more levels would make the contract, and each model's design, larger than they are worth.
MOST_LEVELS = 50_000
MOST_CLASSES_OF_NUMBERS = 10
MOST_CLASSES = 100
POSITIVE_WORDS = ("1", "true", "yes")
ERROR, WARNING, IGNORE = "error", "warning", "ignore"
# What a later table may do against its contract, and what follows unless the contract itself says otherwise.
RULES = {
    "empty": ERROR,
    "missing_column": ERROR,
    "extra_column": WARNING,
    "unreadable": ERROR,
    "infinite": ERROR,
    "not_in_order": ERROR,
    "new_level": WARNING,
    "below": WARNING,
    "above": WARNING,
    "more_missing": WARNING,
}
MISSING_MARGIN = 0.05


@dataclass(frozen=True)
class Column:
    """One column of the raw table.

    Attributes
    ----------
    name : str
        As the table has it.
    role : str
        ``numeric``, ``categorical``, ``ordinal``, ``datetime`` or ``text`` for what a model reads; ``constant``,
        ``id``, ``nested`` or ``drop`` (as the user asked) for what is left out.
    type : str
        The SQL type that the table was read with.
    levels : tuple of str
        Of a categorical, sorted; of an ordinal, lowest first.
    low, high : float or None
        The range of a numeric column.
    missing : bool
        Whether cells are missing in it.
    missing_share : float or None
        Their share of the training rows, 0 to 1; None where a contract was written before it was kept.
    format : str
        How its texts are written: of a numeric column ``decimal comma`` or ``thousands``, of a datetime one its
        strptime format; empty for columns that are no text, and for plain numbers and ISO 8601.
    origin : str
        Of a datetime column, the earliest time in training, from which elapsed days are counted, in ISO 8601.
    last : str
        The latest one.
    """

    name: str
    role: str
    type: str
    levels: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    missing: bool = False
    missing_share: float | None = None
    format: str = ""
    origin: str = ""
    last: str = ""


@dataclass(frozen=True)
class Contract:
    """What a table is, to everything that reads it.

    Attributes
    ----------
    target : str
        The column to predict.
    task : str
        ``classification`` or ``regression``.
    classes : tuple
        The target's own labels (str, int or bool) sorted; empty for regression.
    positive : str, int, bool or None
        Of two classes, the one that precision, recall, F1 and ROC are about.
    split : str
        How the rows were split.
    query : str
        The SQL that made raw rows, or empty.
    rules : dict of str to str
        What follows from each kind of breach, by its code: ``error``, ``warning`` or ``ignore``. Codes that are not
        named keep the rule of `RULES`.
    missing_margin : float
        How far the share of missing cells may lie above training's, 0 to 1.
    columns : tuple of Column
        Every column but the target, in the table's order.
    rows_without_target : int
        Rows left out because their target is missing.
    rows : int
        Training rows.
    missing_words : tuple of str
        Texts that stand for a missing cell; blank ones always do.
    dialect : str
        ``spark`` where the query is Spark's SQL; empty where it is duckdb's.

    Raises
    ------
    UserError
        For a rule that does not exist, as only a contract edited by hand can hold.
    """

    target: str
    task: str
    classes: tuple[Any, ...]
    positive: Any
    split: str
    query: str = ""
    rules: dict[str, str] = field(default_factory=dict)
    missing_margin: float = MISSING_MARGIN
    columns: tuple[Column, ...] = field(default=())
    rows_without_target: int = 0
    rows: int = 0
    missing_words: tuple[str, ...] = ()
    dialect: str = ""

    def __post_init__(self) -> None:
        """Complete the rules by their defaults, and check them."""
        if not isinstance(self.rules, dict):
            raise UserError(
                f"contract: rules is {self.rules!r}; give an object of codes and their rules, such as "
                '{"new_level": "error"}.'
            )
        for code, rule in self.rules.items():
            if code not in RULES:
                near = get_close_matches(code, RULES, n=1)
                codes = f"it may mean {near[0]}" if near else f"the codes are {listed(RULES)}"
                raise UserError(f"contract: there is no code {code!r} for a rule; {codes}.")
            if rule not in (ERROR, WARNING, IGNORE):
                raise UserError(f"contract: the rule of {code} is {rule!r}; set it to error, warning or ignore.")
        margin = self.missing_margin
        if isinstance(margin, bool) or not isinstance(margin, (int, float)) or not 0 <= margin <= 1:
            raise UserError(f"contract: missing_margin is {margin!r}; give a share from 0 to 1, such as 0.05.")
        object.__setattr__(self, "rules", RULES | self.rules)

    def of_role(self, role: str) -> list[str]:
        """Names of the columns of one role, in the table's order."""
        return [column.name for column in self.columns if column.role == role]

    @property
    def features(self) -> list[str]:
        """Names of the columns that a model reads, in the table's order."""
        return [column.name for column in self.columns if column.role not in LEFT_OUT]

    @property
    def left_out(self) -> list[Column]:
        """The columns that no model reads."""
        return [column for column in self.columns if column.role in LEFT_OUT]

    @property
    def orders(self) -> dict[str, tuple[str, ...]]:
        """The levels of each ordinal column, lowest first."""
        return {column.name: column.levels for column in self.columns if column.role == ORDINAL}

    def to_json(self) -> str:
        """Write the contract as indented JSON; the dialect only where it is not duckdb's."""
        values = asdict(self)
        if not self.dialect:
            del values["dialect"]
        return json.dumps(values, indent=1, ensure_ascii=False, default=lambda value: value.item())

    @classmethod
    def from_json(cls, text: str) -> "Contract":
        """Read what `to_json` wrote, now or before there were rules.

        Raises
        ------
        UserError
            Where an edited contract is no JSON, or holds a rule that does not exist.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"contract: it is no JSON ({error}); mend it, or prepare the table again.") from error
        columns = tuple(Column(**{**c, "levels": tuple(c["levels"])}) for c in values.pop("columns"))
        tuples = {name: tuple(values[name]) for name in ("classes", "missing_words")}
        return cls(**{**values, **tuples}, columns=columns)


def check_twins(option: str, asked: str, names: Sequence[str]) -> None:
    """Refuse a table that names a column twice.

    Names that differ in case alone count as one: SQL does not tell such columns apart, and duckdb renames the second.

    Parameters
    ----------
    option, asked : str
        The option that names the table, and its value, for the sentence.
    names : sequence of str
        As the table has them; empty ones do not count.

    Raises
    ------
    UserError
        Naming the column.
    """
    seen: dict[str, str] = {}
    for name in filter(None, names):
        if name.casefold() in seen:
            other = seen[name.casefold()]
            apart = "" if other == name else f" (as {other!r}: case does not tell columns apart)"
            raise UserError(f"{option}: the column {name!r} stands twice in {asked!r}{apart}; rename one of them.")
        seen[name.casefold()] = name


def check_header(names: Sequence[str], settings: TableSettings, rows: int) -> None:
    """Refuse a table whose columns cannot be worked with.

    Parameters
    ----------
    names : sequence of str
        The columns' names as the table has them.
    settings : TableSettings
        What was asked.
    rows : int
        Number of rows.

    Raises
    ------
    UserError
        For a column that stands twice or bears our own fold column's name, no rows, no such target, or a name in
        drop, ordinal or split_column that the table does not have.
    """
    check_twins("data", settings.data, names)
    for own, what in ((FOLD_COLUMN, "the folds"), (TWIN_COLUMN, "what the audit found")):
        if own in names:
            raise UserError(
                f"data: {settings.data!r} has a column named {own!r}, which the prepared table keeps for {what}; "
                "rename it, for example by query."
            )
    where = "the query's result" if settings.query else repr(settings.data)
    if settings.target not in names:
        near = get_close_matches(settings.target, names, n=3, cutoff=0.4)
        folded = [name for name in names if name.casefold() == settings.target.casefold()]
        shown = f"near it are {listed(near)}" if near else f"the columns are {listed(names)}"
        if folded:
            shown = f"names are told apart by case, there is {folded[0]!r}"
        raise UserError(f"target: there is no column {settings.target!r} in {where}; {shown}.")
    if rows == 0:
        raise UserError(f"data: {settings.data!r} has a header but no rows; give a table with rows.")
    asked = [("drop", name) for name in settings.drop] + [("ordinal", o.column) for o in settings.ordinal]
    asked += [("roles", name) for name, _ in settings.roles]
    if settings.split_column:
        asked.append(("split_column", settings.split_column))
    for option, name in asked:
        if name not in names and option not in settings.of_the_sample:
            near = get_close_matches(name, names, n=3, cutoff=0.4)
            raise UserError(
                f"{option}: there is no column {name!r} in {where}; "
                f"{'near it are ' + listed(near) if near else 'the columns are ' + listed(names)}."
            )


def find_task(target: "pd.Series[Any]", asked: str) -> str:
    """Tell classification from regression by the target.

    Parameters
    ----------
    target : Series
        Without missing cells.
    asked : str
        ``auto``, or the task, which is then returned.

    Returns
    -------
    str
        ``classification`` for text and booleans, and for whole numbers of at most 10 distinct values, else
        ``regression``.
    """
    if asked != "auto":
        return asked
    if types.is_bool_dtype(target) or not types.is_numeric_dtype(target):
        return "classification"
    whole = bool((target % 1 == 0).all())
    return "classification" if whole and target.nunique() <= MOST_CLASSES_OF_NUMBERS else "regression"


def labels_of(target: "pd.Series[Any]", task: str, name: str) -> "pd.Series[Any]":
    """Give the target the dtype that models predict in.

    Parameters
    ----------
    target : Series
        Without missing cells.
    task : str
        The task, settled.
    name : str
        The target's name, for the errors.

    Returns
    -------
    Series
        float64 for regression; for classification bool, int64 (whole numbers, also where read as floats because
        cells were missing) or text.

    Raises
    ------
    UserError
        For a regression on text, a constant target, or too many classes.
    """
    if len(target) == 0:
        raise UserError(f"target: every cell of {name!r} is missing; choose a column that holds values.")
    if len(target) == 1:
        raise UserError(f"target: {name!r} holds a value in one row only; give a table with more rows.")
    if target.nunique() == 1:
        raise UserError(
            f"target: {name!r} is constant, every row has {shown(target.iloc[0])}; choose a column that varies."
        )
    if task == "regression":
        if types.is_bool_dtype(target) or not types.is_numeric_dtype(target):
            # Among numbers one word is enough, and it is the one to show.
            words = target[pd.to_numeric(target.astype(str), errors="coerce").isna()]
            held = shown(words.iloc[0] if len(words) else target.iloc[0])
            raise UserError(
                f"task: regression needs numbers, but {name!r} holds {held}; "
                "set task=classification or choose a numeric target."
            )
        return target.astype("float64")
    if target.nunique() > MOST_CLASSES:
        raise UserError(
            f"target: {name!r} has {target.nunique()} distinct values, too many for classes (at most "
            f"{MOST_CLASSES}); set task=regression if it is a quantity, or choose another target."
        )
    if types.is_bool_dtype(target):
        return target.astype(bool)
    if types.is_numeric_dtype(target):
        if bool((target % 1 == 0).all()):
            return target.astype("int64")
        fraction = shown(target[target % 1 != 0].iloc[0])
        raise UserError(
            f"task: classification needs labels, but {name!r} holds the fraction {fraction}; set task=regression."
        )
    if isinstance(target.dtype, pd.CategoricalDtype):
        # Few texts for millions of rows: they stay the numbers that they are kept as.
        return target.cat.rename_categories(str)
    return target.astype(str).astype(object)


def find_positive(target: "pd.Series[Any]", asked: str) -> Any:
    """Choose the class that precision, recall, F1 and ROC are about.

    Parameters
    ----------
    target : Series
        The labels.
    asked : str
        The option ``positive`` as typed, or empty.

    Returns
    -------
    str, int, bool or None
        None for more than two classes. Else the one asked for; or ``1``, ``true`` or ``yes`` in any case; or the
        rarer class (of equals the later in order).

    Raises
    ------
    UserError
        Where the class asked for is not among the labels, or there are more than two.
    """
    classes = sorted(target.unique().tolist())
    named = {str(label).casefold(): label for label in classes}
    if asked:
        exact = {str(label): label for label in classes}
        if asked.casefold() not in named:
            raise UserError(f"positive: {asked!r} is no class of the target; the classes are {listed(classes)}.")
        if len(classes) > 2:
            raise UserError(
                f"positive: {asked!r} was given, but the target has {len(classes)} classes, whose metrics are macro "
                "averages; leave positive out."
            )
        return exact.get(asked, named[asked.casefold()])
    if len(classes) > 2:
        return None
    for word in POSITIVE_WORDS:
        if word in named:
            return named[word]
    counts = target.value_counts()
    return min(reversed(classes), key=lambda label: int(counts[label]))


def check_order(levels: Iterable[str], order: Ordinal) -> None:
    """Refuse a column that holds a level which its declared order does not have.

    Parameters
    ----------
    levels : iterable of str
        All that the column holds.
    order : Ordinal
        The declared order.

    Raises
    ------
    UserError
        Naming the level.
    """
    known = set(order.levels)
    for level in levels:
        if level not in known:
            in_numbers = all(is_number(known_level) for known_level in order.levels) and not is_number(level)
            what = "text in a numeric order" if in_numbers else "not in its order"
            raise UserError(
                f"ordinal: the column {order.column!r} holds {level!r}, {what} {'<'.join(order.levels)}; "
                "add the level to the order, lowest first, or mend the cell by query."
            )


def check_finite(column: "pd.Series[Any]", option: str) -> None:
    """Refuse a column of numbers that holds an infinite one, which no estimator takes.

    Raises
    ------
    UserError
        Naming the column and the option whose table holds it.
    """
    if types.is_float_dtype(column):
        values = column.to_numpy(dtype="float64", na_value=np.nan)
        if np.isinf(values).any():
            raise infinite(option, str(column.name), float(values[np.isinf(values)][0]))


def infinite(option: str, name: str, value: float) -> UserError:
    """Return the error of a column that holds an infinite number."""
    return UserError(f"{option}: the column {name!r} holds {value}; replace infinite numbers, for example by query.")


def is_number(text: str) -> bool:
    """Tell whether Python reads a text as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True

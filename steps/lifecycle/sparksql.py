"""Spark's SQL for cells, said as models read them: the same text prepares rows, trains, and stands in the saved model.

The expressions ask for no type: a column may be of numbers in the table, of texts in a request, and of nothing at all
where every cell of a batch is missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lifecycle.cells import plain_pattern, sentinels
from lifecycle.columns import CYCLES, EPOCH, level_of
from lifecycle.contract import CATEGORICAL, DATETIME, NUMERIC, ORDINAL, Column, Contract
from lifecycle.roles import INTEGER, ISO, ISO_ZONED, REAL, TIME, WORDS, Reading
from lifecycle.split import FINER_BITS, GOLDEN

# All that Python takes for blank.
BLANKS = (
    " \t\n\r\f\v\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
# Names of duckdb, which the contract has, by those of Spark.
TYPES = {
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "timestamp_ntz": "TIMESTAMP",
    "binary": "BLOB",
    "void": '"NULL"',
}
# How Java writes what strftime writes.
LETTERS = {"%d": "d", "%m": "M", "%Y": "yyyy", "%H": "H", "%M": "m", "%S": "s", "%b": "MMM"}
NOT_A_WORD = "[^\\\\p{L}\\\\p{N}]+"
SECONDS_OF_A_DAY = 86_400
TWO_TO_64 = 2.0**64


def quoted(name: str) -> str:
    """Quote a name."""
    return "`" + name.replace("`", "``") + "`"


def literal(value: Any) -> str:
    """Write a text, a number or a truth value as SQL does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value}L"
    if isinstance(value, float):
        return f"{value!r}D"
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def sql_type(spark_type: str) -> str:
    """Return the name that the contract has for a type of Spark, as `lifecycle.roles.kind_of` sorts it."""
    if spark_type.startswith("decimal"):
        return spark_type.upper()
    if spark_type.startswith(("varchar(", "char(")):
        return "VARCHAR"
    return TYPES.get(spark_type, spark_type.upper())


def text_of(name: str, missing_words: Sequence[str]) -> str:
    """Return the SQL of a cell as text without the blanks around it; NULL where it is missing."""
    whole = f"CAST({quoted(name)} AS STRING)"
    # Trimming takes longer than all else, and most texts begin and end with a visible character of ASCII.
    ends = f"ascii({whole}) BETWEEN 33 AND 126 AND ascii(substr({whole}, -1, 1)) BETWEEN 33 AND 126"
    text = f"CASE WHEN {ends} THEN {whole} ELSE btrim({whole}, {literal(BLANKS)}) END"
    words = ", ".join(literal(word) for word in ("", *missing_words))
    return f"CASE WHEN {text} NOT IN ({words}) THEN {text} END"


def number_of(name: str, form: str, missing_words: Sequence[str]) -> str:
    """Return the SQL of a cell read as a number (DOUBLE); NULL where it is missing or none."""
    if form:
        text = text_of(name, missing_words)
        text = f"replace({text}, ',', '')" if form == "thousands" else f"replace(replace({text}, '.', ''), ',', '.')"
        value = f"try_cast({text} AS DOUBLE)"
    else:
        value = f"try_cast({quoted(name)} AS DOUBLE)"
    value = f"nanvl({value}, CAST(NULL AS DOUBLE))"
    absent = sorted(sentinels(Column(name, NUMERIC, "", format=form), missing_words))
    if not absent:
        return value
    return f"CASE WHEN {value} NOT IN ({', '.join(literal(float(one)) for one in absent)}) THEN {value} END"


def moment_of(name: str, form: str, missing_words: Sequence[str]) -> str:
    """Return the SQL of a cell read as a time without a zone (TIMESTAMP_NTZ); moments with one are told in UTC."""
    text = text_of(name, missing_words)
    if form:
        return f"CAST(try_to_timestamp({text}, {literal(java_form(form))}) AS TIMESTAMP_NTZ)"
    zoned = f"to_utc_timestamp(try_cast({text} AS TIMESTAMP), current_timezone())"
    return (
        f"CASE WHEN {text} RLIKE {literal(_whole(ISO_ZONED))} THEN CAST({zoned} AS TIMESTAMP_NTZ) "
        f"ELSE try_cast({text} AS TIMESTAMP_NTZ) END"
    )


def java_form(form: str) -> str:
    """Write a strptime format with Java's letters."""
    for ours, its in LETTERS.items():
        form = form.replace(ours, its)
    return form


def level_sql(name: str, missing_words: Sequence[str], kind: str = "") -> str:
    """Return the SQL of a cell as the text of its level, as `lifecycle.columns.level_of` writes it.

    Parameters
    ----------
    name : str
        Of the column.
    missing_words : sequence of str
        Texts that stand for a missing cell.
    kind : str, optional
        What the cells are of, as `lifecycle.roles.kind_of` says, where it is known; it saves time.
    """
    text, cell = text_of(name, missing_words), quoted(name)
    if kind == REAL:
        return _real_level(f"CAST({cell} AS DOUBLE)", missing_words)
    if kind == TIME:
        # A date among them, which is a time at midnight.
        return _unless(f"CAST(CAST({cell} AS TIMESTAMP_NTZ) AS STRING)", missing_words)
    words = f"CASE lower({text}) WHEN 'true' THEN 'True' WHEN 'false' THEN 'False' ELSE {text} END"
    if kind:
        return words
    # Not every type can be cast to a number, but every one to a text.
    string = f"CAST({cell} AS STRING)"
    # A float has more digits as a double than its own text shows.
    double = (
        f"CASE WHEN typeof({cell}) = 'float' THEN CAST(try_cast({string} AS FLOAT) AS DOUBLE) "
        f"ELSE try_cast({string} AS DOUBLE) END"
    )
    day = _unless(f"concat({string}, ' 00:00:00')", missing_words)
    # The type is known when the query is planned, so that one of the three is all that is ever computed.
    return (
        f"CASE WHEN typeof({cell}) IN ('double', 'float') OR typeof({cell}) LIKE 'decimal%' "
        f"THEN {_real_level(double, missing_words)} WHEN typeof({cell}) = 'date' THEN {day} ELSE {words} END"
    )


def _real_level(double: str, missing_words: Sequence[str]) -> str:
    """Return the SQL of the level of a number that has a fraction, a DOUBLE."""
    number = f"nanvl({double}, CAST(NULL AS DOUBLE))"
    plain = f"{number} = rint({number}) AND abs({number}) < 1e37"
    # A decimal is made of the digits that are shown, of which 2**53 and more have too few.
    whole = f"CAST(coalesce(try_cast({number} AS BIGINT), try_cast({number} AS DECIMAL(38, 0))) AS STRING)"
    return _unless(f"CASE WHEN {plain} THEN {whole} ELSE {_python_real(number)} END", missing_words)


def _unless(level: str, missing_words: Sequence[str]) -> str:
    """Return the SQL of the level of a number or a time; NULL where it is a word for a missing cell."""
    absent = ", ".join(literal(word) for word in missing_words if word[:1] in "+-.0123456789")
    return f"CASE WHEN {level} NOT IN ({absent}) THEN {level} END" if absent else level


def _python_real(number: str) -> str:
    """Return the SQL of a fraction as Python and duckdb write it: Java has exponents sooner, and writes them apart."""
    text = f"CAST({number} AS STRING)"
    # 1.5E-7 becomes 1.5e-07, 1.0E-7 becomes 1e-07.
    exponent = f"regexp_replace(regexp_replace(lower({text}), '\\\\.0e', 'e'), 'e-([0-9])$', 'e-0$1')"
    # 1.5E-4 and 1.25E7 become 0.00015 and 12500000: all digits, and no more.
    digits = f"regexp_replace(CAST(try_cast({text} AS DECIMAL(38, 20)) AS STRING), '0+$', '')"
    plain = f"replace({text}, 'Infinity', 'inf')"
    return f"CASE WHEN instr({text}, 'E') = 0 THEN {plain} WHEN abs({number}) < 1e-4 THEN {exponent} ELSE {digits} END"


def value_sql(name: str, kind: str, reading: Reading | None, missing_words: Sequence[str]) -> str:
    """Return the SQL of a cell of a kind, read as something else where a reading is given; NULL where missing."""
    if reading is not None:
        form = reading.format
        read = number_of if reading.role == NUMERIC else moment_of
        return read(name, form, missing_words)
    if kind in (INTEGER, REAL):
        value = number_of(name, "", missing_words)
        return f"CASE WHEN {value} IS NOT NULL THEN {quoted(name)} END" if kind == INTEGER else value
    if kind == TIME:
        return moment_of(name, "", missing_words)
    if kind == WORDS:
        return text_of(name, missing_words)
    return quoted(name)


def feature_sql(column: Column, missing_words: Sequence[str]) -> str:
    """Return the SQL of a cell as models read it: a number, a time, or the text of a level or of words.

    Raises
    ------
    ValueError
        For a column that no model reads.
    """
    if column.role == NUMERIC:
        return number_of(column.name, column.format, missing_words)
    if column.role == DATETIME:
        return moment_of(column.name, column.format, missing_words)
    if column.role in (CATEGORICAL, ORDINAL):
        return level_sql(column.name, missing_words)
    if column.role == "text":
        return text_of(column.name, missing_words)
    raise ValueError(f"models do not read the column {column.name!r}")


def unread_sql(column: Column, kind: str, missing_words: Sequence[str]) -> str:
    """Return the SQL of whether a present cell cannot be read as the column's role is written.

    Parameters
    ----------
    column : Column
        Of role ``numeric`` or ``datetime``.
    kind : str
        What the cells are of, as `lifecycle.roles.kind_of` says.
    missing_words : sequence of str
        Texts that stand for a missing cell.
    """
    text, value = text_of(column.name, missing_words), feature_sql(column, missing_words)
    if kind != WORDS:
        # A missing number may be NaN, which has a text.
        return f"({text} IS NOT NULL AND {value} IS NULL AND lower({text}) <> 'nan')"
    pattern = ISO if column.role == DATETIME and not column.format else plain_pattern(column)
    wrong = f"NOT {text} RLIKE {literal(_whole(pattern))} OR {value} IS NULL"
    absent = sentinels(column, missing_words)
    if column.role == NUMERIC and absent:
        # A number that stands for a missing cell is no number, and yet can be read.
        bare = number_of(column.name, column.format, ())
        known = ", ".join(literal(float(one)) for one in sorted(absent))
        wrong = f"({wrong}) AND coalesce({bare} NOT IN ({known}), true)"
    return f"({text} IS NOT NULL AND ({wrong}))"


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def times_of(contract: Contract) -> dict[str, str]:
    """Return the SQL of every column of times, by the name that `numbers_of` reads it under.

    Read once: a text that is written out in each of nine numbers takes longer to plan than to compute.
    """
    times = [column for column in contract.columns if column.role == DATETIME]
    return {f"__time_{place}__": feature_sql(column, contract.missing_words) for place, column in enumerate(times)}


def numbers_of(contract: Contract) -> dict[str, str]:
    """Return the SQL of every number that a design has beside one-hot columns and words, by name; NULL where missing.

    Of a numeric column itself; of an ordinal one its place in the order, from 0; of a datetime one the days since the
    contract's origin and the waves of its places in the year, the week and the day.
    """
    words = contract.missing_words
    found: dict[str, str] = {}
    times = iter(times_of(contract))
    for column in contract.columns:
        if column.role == NUMERIC:
            found[column.name] = feature_sql(column, words)
        elif column.role == ORDINAL:
            levels = ", ".join(literal(level_of(level)) for level in column.levels)
            place = f"nullif(array_position(array({levels}), {feature_sql(column, words)}), 0)"
            found[column.name] = f"CAST({place} - 1 AS DOUBLE)"
        elif column.role == DATETIME:
            found |= {f"{column.name}_{name}": sql for name, sql in _time_numbers(column, next(times)).items()}
    return found


def _time_numbers(column: Column, time: str) -> dict[str, str]:
    origin = f"TIMESTAMP_NTZ {literal(column.origin or EPOCH)}"
    micros = f"timestampdiff(MICROSECOND, {origin}, {time})"
    seconds = f"(hour({time}) * 3600 + minute({time}) * 60 + second({time}))"
    places = {
        "year": f"(month({time}) - 1) / 12D",
        "week": f"weekday({time}) / 7D",
        "day": f"{seconds} / {SECONDS_OF_A_DAY}D",
    }
    found = {"days": f"{micros} / {SECONDS_OF_A_DAY * 1e6!r}D"}
    for cycle, waves in CYCLES.items():
        for wave in range(1, waves + 1):
            angle = f"2 * pi() * {wave} * {places[cycle]}"
            ending = wave if wave > 1 else ""
            found |= {f"{cycle}_sin{ending}": f"sin({angle})", f"{cycle}_cos{ending}": f"cos({angle})"}
    return found


def words_sql(column: Column, missing_words: Sequence[str]) -> str:
    """Return the SQL of the words of a text, in lower case; none where it is missing."""
    text = f"lower(coalesce({feature_sql(column, missing_words)}, ''))"
    return f"filter(split({text}, '{NOT_A_WORD}'), word -> word <> '')"


def label_sql(column: str, classes: Sequence[Any]) -> str:
    """Return the SQL that turns a place among the classes, a DOUBLE, into the target's own label."""
    if isinstance(classes[0], (bool, int)):
        labels = ", ".join(literal(label) for label in classes)
    else:
        labels = ", ".join(literal(str(label)) for label in classes)
    return f"element_at(array({labels}), CAST({quoted(column)} AS INT) + 1)"


def place_sql(name: str, classes: Sequence[Any], missing_words: Sequence[str]) -> str:
    """Return the SQL of a label's place among the classes (DOUBLE); NULL for one that is none of them."""
    labels = ", ".join(literal(level_of(label)) for label in classes)
    return f"CAST(nullif(array_position(array({labels}), {level_sql(name, missing_words)}), 0) - 1 AS DOUBLE)"


def content_sql(kinds: Mapping[str, str], missing_words: Sequence[str]) -> str:
    """Return the SQL of a digest of a row's content, a STRING of 32 hexadecimal digits; equal rows have equal ones.

    Of the columns by name, so that their order does not count.

    Parameters
    ----------
    kinds : mapping of str to str
        The columns, and what their cells are of.
    missing_words : sequence of str
        Texts that stand for a missing cell.
    """
    cells = ", ".join(f"coalesce({level_sql(name, missing_words, kinds[name])}, '\\0')" for name in sorted(kinds))
    return f"md5(encode(concat_ws('\x1f', {cells}), 'UTF-8'))"


def half_sql(digest: str) -> str:
    """Return the SQL of the second half of a digest in hexadecimal as a BIGINT, its bytes the other way round."""
    pairs = ", ".join(f"substr({quoted(digest)}, {place}, 2)" for place in range(31, 16, -2))
    return f"CAST(conv(concat({pairs}), 16, -10) AS BIGINT)"


def hash_sqls(column: str, seed: int) -> list[str]:
    """Return the SQL of the hash by a seed of 64 bits, a BIGINT, in steps that each take the place of the column.

    The same as `pandas.util.hash_array` gives: the finaliser of splitmix64 (Steele, Lea and Flood, 2014). Its products
    wrap around. In steps, since functions that would name what is in between are not compiled.
    """
    cell = quoted(column)
    steps = [f"{cell} ^ {_signed((seed + 1) * GOLDEN % 2**64)}"]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        steps.append(f"({cell} ^ shiftrightunsigned({cell}, {shift})) * {_signed(factor)}")
    return [*steps, f"{cell} ^ shiftrightunsigned({cell}, 31)"]


def _signed(number: int) -> str:
    value = number - 2**64 if number >= 2**63 else number
    return f"CAST({value} AS BIGINT)"


def fraction_sql(column: str) -> str:
    """Return the SQL of 64 bits, a BIGINT, as a number from 0 up to 1."""
    value = f"CAST({quoted(column)} AS DOUBLE)"
    return f"(CASE WHEN {quoted(column)} < 0 THEN {value} + {TWO_TO_64!r}D ELSE {value} END / {TWO_TO_64!r}D)"


def fold_sql(column: str, folds: int) -> str:
    """Return the SQL of the fold that 64 bits, a BIGINT, fall into."""
    return f"CAST(shiftrightunsigned({quoted(column)}, {FINER_BITS}) % {folds} AS INT)"


def row_sql(contract: Contract) -> str:
    """Return the SQL of a digest (BIGINT) of what models read of a row and of its target: twins have equal ones."""
    words = contract.missing_words
    cells = [feature_sql(column, words) for column in contract.columns if column.name in contract.features]
    return cells_sql([*cells, level_sql(contract.target, words)])


def cells_sql(cells: Sequence[str]) -> str:
    """Return the SQL of a digest (BIGINT) of some cells, which tells where one is missing.

    The hash passes over a NULL as if it were not there; that of one cell does not, as it is a number then too.
    """
    return f"xxhash64({', '.join(f'xxhash64({cell})' for cell in cells)})"

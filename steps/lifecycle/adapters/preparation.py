"""The prepared table made: decided on, written as two Parquet files, audited."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from lifecycle.adapters.catalog import short_name
from lifecycle.adapters.readers import open_table, run_query
from lifecycle.adapters.relation import Relation
from lifecycle.adapters.sources import Source
from lifecycle.adapters.sql import literal
from lifecycle.audit import AUDITED_ROWS, Finding, as_frame, crossing, giveaways, separable, twins
from lifecycle.contract import CATEGORICAL, DATETIME, TEXT
from lifecycle.page import page
from lifecycle.roles import Reading, looks_like_id
from lifecycle.settings import FOLD_COLUMN, TWIN_COLUMN, TableSettings
from lifecycle.summaries import EXACT_ROWS
from lifecycle.table import Prepared, prepare, profile

MEMORY = "1500MB"


@dataclass(frozen=True)
class Made:
    """A prepared table on disk.

    Attributes
    ----------
    prepared : Prepared
        What was decided.
    train, test : Path
        Parquet files: features, target, and the fold or the twin's flag.
    train_sample, test_sample : DataFrame
        At most 20,000 rows of each, drawn by the seed: what the audit by models and the profile's pictures see.
    findings : list of Finding
        Of the leak audit.
    """

    prepared: Prepared
    train: Path
    test: Path
    train_sample: pd.DataFrame
    test_sample: pd.DataFrame
    findings: list[Finding]


@contextmanager
def workplace(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a duckdb that keeps to its memory, spills into a folder, and loads nothing from outside."""
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute(f"SET temp_directory = {literal(str(folder / 'spilled'))}")
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET enable_progress_bar = false")
        yield connection


def opened(
    connection: duckdb.DuckDBPyConnection, found: Sequence[Source], settings: TableSettings, folder: Path
) -> list[Relation]:
    """Open the sources of a table, each after the query."""
    tables = []
    # What is asked for as words must not lose its leading zeros by being read as numbers, nor 20210131 its days.
    texts = [name for name, role in settings.roles if role in (CATEGORICAL, DATETIME, TEXT, "id")]
    for source, name in zip(found, ("data", "test_data"), strict=False):
        open_table(connection, source, name, folder, texts)
        view = name
        if settings.query:
            view = f"{name}_after_query"
            run_query(connection, settings.query, name, view, folder)
        tables.append(Relation(connection, view, settings.missing_words))
    return tables


def make(raw: Relation, settings: TableSettings, raw_test: Relation | None, folder: Path) -> Made:
    """Prepare a table.

    Parameters
    ----------
    raw : Relation
        After the query.
    settings : TableSettings
        What was asked.
    raw_test : Relation, optional
        The second table, after the query.
    folder : Path
        Where the files go.

    Raises
    ------
    UserError
        For whatever makes the table unfit.
    """
    # While rows are split, which duckdb has no part in.
    with ThreadPoolExecutor(1) as beside:
        looked = beside.submit(raw.elsewhere().look_at_texts, settings.target) if len(raw) > EXACT_ROWS else None
        prepared = prepare(raw, settings, raw_test)
        if looked:
            looked.result()
    contract = prepared.contract
    train, test = folder / "train.parquet", folder / "test.parquet"
    tested = raw_test or raw
    with_folds = {contract.target: prepared.train_labels, FOLD_COLUMN: prepared.folds}
    if len(raw) > EXACT_ROWS:
        with ThreadPoolExecutor(1) as beside:
            written = beside.submit(raw.elsewhere().write, train, contract, prepared.train, with_folds)
            alike, crossings = _test_side(raw, tested, prepared, settings, test)
            written.result()
    else:
        raw.write(train, contract, prepared.train, with_folds)
        alike, crossings = _test_side(raw, tested, prepared, settings, test)
    sample, held = (_sample(raw.connection, path, settings.seed) for path in (train, test))
    findings = [
        *prepared.findings,
        *twins(int(alike.sum()), len(prepared.test)),
        *crossings,
        *giveaways(sample, sample[contract.target], contract, settings.seed),
        *separable(sample, held, contract, settings.seed, settings.split_column if contract.split == "time" else ""),
    ]
    return Made(prepared, train, test, sample, held, findings)


def _test_side(
    raw: Relation, tested: Relation, prepared: Prepared, settings: TableSettings, path: Path
) -> tuple[npt.NDArray[np.bool_], list[Finding]]:
    """Write the test rows; return which of them are twins of training rows, and what crosses."""
    contract = prepared.contract
    # By digests and not by a join in SQL, which would return the rows in another order each time.
    known = raw.digests(contract)
    digests = known if tested is raw else tested.digests(contract)
    alike = among(digests[prepared.test], known[prepared.train])
    tested.write(path, contract, prepared.test, {contract.target: prepared.test_labels, TWIN_COLUMN: alike})
    sides = raw.take(np.sort(prepared.train)), tested.take(np.sort(prepared.test))
    return alike, _crossings(*sides, prepared, settings)


def among(digests: npt.NDArray[np.uint64], known: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Tell which digests are among the known ones.

    Both are sorted first: numpy's own way hashes them, which takes six times as long for millions.
    """
    known, order = np.sort(known), np.argsort(digests)
    places = np.minimum(np.searchsorted(known, digests[order]), len(known) - 1)
    found = np.empty(len(digests), dtype=bool)
    found[order] = known[places] == digests[order]
    return found


def page_of(made: Made, settings: TableSettings, data_digest: str) -> str:
    """Draw the profile page of a prepared table, one self-contained HTML document."""
    prepared, contract = made.prepared, made.prepared.contract
    rows, held = len(prepared.train), len(prepared.test)
    how = f"the test table is {short_name(settings.test_data)}" if settings.test_data else contract.split
    facts = {
        "Table": short_name(settings.data),
        "SHA-256": data_digest,
        "Split": f"{how}, {rows:,} training and {held:,} test rows, seed {settings.seed}",
        "Rows without a target": f"{contract.rows_without_target:,}",
    }
    if settings.query:
        facts["Query"] = settings.query
    if max(rows, held) > AUDITED_ROWS:
        facts["Pictures"] = (
            f"of at most {AUDITED_ROWS:,} rows of each side, drawn by the seed; the table's figures of all"
        )
    table = profile(prepared, made.train_sample)
    title = f"Profile of {short_name(settings.data)}"
    return page(title, contract, table, made.train_sample, made.test_sample, as_frame(made.findings), facts)


def _file(path: Path) -> str:
    return f"read_parquet({literal(str(path))})"


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])


def _sample(connection: duckdb.DuckDBPyConnection, path: Path, seed: int) -> pd.DataFrame:
    """Read at most `AUDITED_ROWS` rows of a file, drawn by the seed, in the file's order."""
    rows = _count(connection, f"SELECT count(*) FROM {_file(path)}")
    if rows <= AUDITED_ROWS:
        return pd.DataFrame(connection.sql(f"FROM {_file(path)}").df())
    chosen = np.sort(np.random.default_rng(seed).choice(rows, AUDITED_ROWS, replace=False))
    names = connection.execute(f"DESCRIBE FROM {_file(path)}").fetchall()
    if any(name.casefold() == "file_row_number" for name, *_ in names):
        # duckdb's own number would bear the name of the table's column; this way takes longer.
        connection.register("drawn", pd.DataFrame({"drawn": np.isin(np.arange(rows), chosen)}))
        beside = f"FROM {_file(path)} AS side POSITIONAL JOIN drawn AS chosen"
        return pd.DataFrame(connection.sql(f"SELECT side.* {beside} WHERE chosen.drawn").df())
    connection.register("drawn", pd.DataFrame({"row": chosen}))
    numbered = f"read_parquet({literal(str(path))}, file_row_number = true)"
    query = f"SELECT * FROM {numbered} WHERE file_row_number IN (SELECT row FROM drawn) ORDER BY file_row_number"
    return pd.DataFrame(connection.sql(query).df()).drop(columns="file_row_number")


def _crossings(one: Relation, other: Relation, prepared: Prepared, settings: TableSettings) -> list[Finding]:
    """Count test rows whose group or whose time is in training too, by the columns that say so."""
    split = prepared.contract.split
    found = []
    for column in prepared.contract.columns:
        name, summary = column.name, prepared.train_summaries[column.name]
        asked = name == settings.split_column
        times = split == "time" if asked else column.role == DATETIME
        # Entities have a few rows each; what has many is a category.
        entities = looks_like_id(name) and summary.rows / 50 <= summary.distinct <= 0.95 * summary.rows
        if name not in other.types or not (times or (asked and split == "group") or (split != "time" and entities)):
            continue
        reading = Reading(DATETIME, column.format) if column.role == DATETIME else None
        trained, tested = one.cells(name, reading), other.cells(name, reading)
        known = f"<= (SELECT max(cell) FROM {trained})" if times else f"IN (SELECT cell FROM {trained})"
        count = _count(one.connection, f"SELECT count(*) FROM {tested} WHERE cell {known}")
        found += crossing(split, name, count, len(prepared.test), times)
    return found

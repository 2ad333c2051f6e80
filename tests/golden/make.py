"""Write the golden tables that are no text of UTF-8: `python tests/golden/make.py [FOLDER]`.

The texts beside them are written by hand. Everything here follows from one seed.
"""

import datetime
import gzip
import random
import sqlite3
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from pyarrow import feather
from pyarrow import parquet as pq

SEED = 11
STREETS = "Abbey Birch Castle Dock Elm Forge Garden Harbour Iron Juniper King Linden Mill North Oak Park".split()
ENDINGS = "Avenue Close Court Lane Road Row Street Way".split()


def addresses(chance: random.Random) -> bytes:
    """2,400 rows, each with another address."""
    numbers = chance.sample(range(1, 10_000), 2_400)
    lines = ["address,house,sold"]
    for number in numbers:
        street = f"{number} {chance.choice(STREETS)} {chance.choice(ENDINGS)}"
        lines.append(f"{street},{chance.choice(['flat', 'house'])},{chance.choice(['yes', 'no'])}")
    return ("\n".join(lines) + "\n").encode()


def packed(content: bytes) -> bytes:
    """Frame bytes as zstd."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def flats(chance: random.Random) -> str:
    """Names with letters beyond ASCII."""
    towns = ["Zürich", "Genève", "Bern"]
    rows = [f"{chance.choice(towns)};{chance.randrange(20, 90)};{'ja' if i % 2 else 'nein'}" for i in range(20)]
    return "\n".join(["Stadt;Größe;möbliert", *rows]) + "\n"


def kinds(chance: random.Random) -> pa.Table:
    """What a Parquet file may hold that a CSV cannot."""
    rows = range(24)
    day = datetime.date(2021, 3, 27)
    moment = datetime.datetime(2021, 3, 27, 23, 30)
    words = pa.array([None if i % 7 == 4 else "SML"[i % 3] for i in rows])
    return pa.table(
        {
            "whole": pa.array([None if i % 5 == 2 else chance.randrange(100) for i in rows], pa.int32()),
            "small": pa.array([chance.randrange(200) for _ in rows], pa.uint8()),
            "price": pa.array([Decimal(chance.randrange(10_000)) / 100 for _ in rows], pa.decimal128(12, 2)),
            "ratio": pa.array([float("nan") if i % 6 == 1 else chance.randrange(64) / 64 for i in rows], pa.float32()),
            "day": pa.array([None if i % 8 == 3 else day + datetime.timedelta(days=i) for i in rows], pa.date32()),
            "moment": pa.array([moment + datetime.timedelta(hours=i) for i in rows], pa.timestamp("us")),
            "zoned": pa.array(
                [moment + datetime.timedelta(hours=i) for i in rows], pa.timestamp("us", "Europe/Berlin")
            ),
            "clock": pa.array([datetime.time(i, 30) for i in rows], pa.time64("us")),
            "size": words.dictionary_encode(),
            "agreed": pa.array([None if i % 4 == 2 else bool(i % 3) for i in rows], pa.bool_()),
            "raw": pa.array([bytes([i]) for i in rows], pa.binary()),
            "bought": pa.array([bool(chance.randrange(2)) for _ in rows], pa.bool_()),
        }
    )


def nested(chance: random.Random) -> pa.Table:
    """Lists and structs beside one plain column."""
    rows = range(20)
    return pa.table(
        {
            "tags": pa.array([["new"] * (i % 3) for i in rows], pa.list_(pa.string())),
            "place": pa.array([{"x": i, "y": -i} for i in rows]),
            "size": pa.array([chance.randrange(90) / 8 for _ in rows], pa.float64()),
            "kind": pa.array(["ab"[i % 2] for i in rows], pa.string()),
        }
    )


def orders(chance: random.Random, path: Path) -> None:
    """Write a database of two tables."""
    rows = [(i, chance.choice(["web", "shop", None]), chance.randrange(9_000) / 100, i % 2) for i in range(70)]
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE orders (id INTEGER, channel TEXT, total REAL, returned INTEGER)")
        database.execute("CREATE TABLE visits (day TEXT)")
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    database.close()


def main(folder: Path) -> list[Path]:
    """Write the tables into a folder that has the folders ``good`` and ``bad``; return what was written."""
    chance = random.Random(SEED)
    good, bad = folder / "good", folder / "bad"
    pq.write_table(kinds(chance), good / "kinds.parquet", compression="zstd")
    pq.write_table(nested(chance), good / "nested.parquet", compression="zstd")
    feather.write_feather(kinds(chance).select(["whole", "price", "size", "bought"]), str(good / "kinds.arrow"))
    orders(chance, good / "shop.db")
    content = {
        good / "addresses.csv.gz": gzip.compress(addresses(chance), mtime=0),
        good / "flats.csv.zst": packed(flats(chance).encode()),
        good / "flats_cp1252.csv": flats(chance).encode("cp1252"),
        good / "flats_utf16.csv": flats(chance).replace(";", "\t").encode("utf-16"),
        bad / "flats_latin1.csv": flats(chance).encode("latin-1"),
        bad / "cut_short.csv.gz": gzip.compress(addresses(chance), mtime=0)[:5_000],
        bad / "no_parquet.parquet": b"PAR1 is how it begins, and this is all.",
    }
    for path, written in content.items():
        path.write_bytes(written)
    return [*content, good / "kinds.parquet", good / "nested.parquet", good / "kinds.arrow", good / "shop.db"]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

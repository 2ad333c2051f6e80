"""Spark's SQL as text; what it gives is compared with the other engine in the tests of the adapters."""

import pytest

from lifecycle import sparksql
from lifecycle.roles import BOOLEAN, INTEGER, NESTED, REAL, TIME, WORDS, kind_of


@pytest.mark.parametrize(
    ("name", "said"), [("age", "`age`"), ("a`b", "`a``b`"), ("two words.and a dot", "`two words.and a dot`")]
)
def test_names_are_quoted(name: str, said: str) -> None:
    assert sparksql.quoted(name) == said


@pytest.mark.parametrize(
    ("value", "said"), [("it's", r"'it\'s'"), ("a\\b", r"'a\\b'"), (3, "3L"), (True, "true"), (0.5, "0.5D")]
)
def test_values_are_written_as_sql_does(value: object, said: str) -> None:
    assert sparksql.literal(value) == said


@pytest.mark.parametrize(
    ("spark", "kind"),
    [
        ("int", INTEGER), ("bigint", INTEGER), ("double", REAL), ("decimal(10,2)", REAL), ("string", WORDS),
        ("varchar(5)", WORDS), ("boolean", BOOLEAN), ("date", TIME), ("timestamp", TIME), ("timestamp_ntz", TIME),
        ("array<int>", NESTED), ("struct<a:int>", NESTED), ("binary", NESTED), ("void", WORDS),
    ],
)  # fmt: skip
def test_types_of_spark_are_of_the_kinds_that_roles_know(spark: str, kind: str) -> None:
    assert kind_of(sparksql.sql_type(spark)) == kind


def test_formats_of_dates_are_written_with_javas_letters() -> None:
    assert sparksql.java_form("%d.%m.%Y %H:%M:%S") == "d.M.yyyy H:m:s"
    assert sparksql.java_form("%b %d, %Y") == "MMM d, yyyy"

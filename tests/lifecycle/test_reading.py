"""The option ``read``: what it takes, and what it refuses before anything is opened."""

import pytest

from lifecycle.errors import UserError
from lifecycle.reading import ReadOptions, parse_read


def test_nothing_typed_is_nothing_said() -> None:
    assert parse_read("") == parse_read("  ") == ReadOptions()
    assert ReadOptions().typed() == ()


def test_every_option_is_taken() -> None:
    text = (
        "sep=;; quote='; escape=\\; skip=2; header=FALSE; names=a, b ,c; nullstr=?,NA; decimal=,; encoding=CP1252; "
        "comment=#; dateformat=%d.%m.%Y; timestampformat=%d.%m.%Y %H:%M"
    )
    assert parse_read(text) == ReadOptions(
        sep=";",
        quote="'",
        escape="\\",
        skip=2,
        header=False,
        names=("a", "b", "c"),
        nullstr=("?", "NA"),
        decimal=",",
        encoding="cp1252",
        comment="#",
        dateformat="%d.%m.%Y",
        timestampformat="%d.%m.%Y %H:%M",
    )


@pytest.mark.parametrize(
    ("text", "sep"),
    [("sep=;", ";"), ("sep=tab", "\t"), ("sep=\\t", "\t"), ("sep=|", "|"), ("sep=space", " ")],
)
@pytest.mark.parametrize("form", ["skip=1; {}", "{}; skip=1"])
def test_a_separator_can_be_typed_where_it_has_a_meaning_of_its_own(text: str, sep: str, form: str) -> None:
    read = parse_read(form.format(text))
    assert (read.sep, read.skip) == (sep, 1)


def test_typed_names_what_differs_from_the_defaults() -> None:
    assert parse_read("skip=0; header=true; nullstr=?").typed() == ("header", "nullstr")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("skp=1", r"^read: 'skp' is not known; use one of sep, .* Did you mean skip\?$"),
        ("header", r"^read: 'header' is not of the form name=value; .*\.$"),
        ("skip=1; skip=2", r"^read: skip stands twice; give it one value\.$"),
        ("skip=-1", r"^read: skip is '-1'; give a number of lines, such as skip=1\.$"),
        ("header=no", r"^read: header is 'no'; give true or false\.$"),
        ("names=", r"^read: names is empty; .*\.$"),
        ("names=a,B,b", r"^read: the name 'B' stands twice in names; .*\.$"),
        ("sep=ab", r"^read: sep is 'ab'; give one character, .*\.$"),
        ("comment=//", r"^read: comment is '//'; give one character, .*\.$"),
        ("decimal=;", r"^read: decimal is .*; give \. or , .*\.$"),
        ("sep=comma; decimal=,", r"^read: sep and decimal are both ','; .*\.$"),
        ("encoding=utf-99", r"^read: encoding is 'utf-99', which is not known; .*\.$"),
        ("encoding=zlib", r"^read: encoding is 'zlib', which is not known; .*\.$"),
        ("dateformat=dd.mm", r"^read: dateformat is 'dd.mm'; .* such as dateformat=%d\.%m\.%Y\.$"),
    ],
)
def test_what_cannot_be_right_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse_read(text)

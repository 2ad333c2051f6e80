"""The frames by their numbers, worked out by hand; the document by what a reader and a parser find in it."""

import dataclasses
import re
import time
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from lifecycle import page as pages
from lifecycle.contract import Column, Contract

NAN = np.nan
NO_FINDINGS = pd.DataFrame(columns=["code", "level", "column", "count", "share", "score", "message"])
CHURN = Contract("left", "classification", (0, 1), 1, "stratified")
PRICE = Contract("price", "regression", (), None, "random")


def series(*cells: Any, dtype: Any = None) -> "pd.Series[Any]":
    return pd.Series(list(cells), dtype=dtype)


def text(*cells: Any) -> "pd.Series[Any]":
    return pd.Series(list(cells), dtype=object)


# ------------------------------------------------------------------------------------------- groups


def test_levels_come_by_frequency_then_the_missing_cells():
    groups = pages.groups_of(text("b", "a", "a", NAN), text("c", "b", "a"))
    assert groups.labels == ("a", "b", "c", "missing")
    assert groups.train.tolist() == [1, 0, 0, 3]
    assert groups.test.tolist() == [2, 1, 0]
    assert (groups.scale, groups.missing, groups.rest) == ("levels", True, 0)


def test_many_levels_are_twelve_and_the_rest():
    """Of 20, the 12 of two rows have names; 8 of one row share the last group."""
    cells = [f"often {place:02}" for place in range(12)] * 2 + [f"rare {place}" for place in range(8)]
    groups = pages.groups_of(text(*cells), text("rare 3", NAN))
    assert groups.labels == (*(f"often {place:02}" for place in range(12)), "8 more", "missing")
    assert groups.counts[0].tolist() == [2] * 12 + [8, 0]
    assert groups.counts[1].tolist() == [0] * 12 + [1, 1]
    assert groups.named.tolist() == [True] * 12 + [False, True]


def test_thirteen_levels_all_have_names():
    """As "1 more" takes the room of a name."""
    groups = pages.groups_of(text(*"abcdefghijklm"), text("a"))
    assert groups.labels == tuple("abcdefghijklm")
    assert groups.named.all()


def test_ordinal_levels_keep_their_order():
    column = Column("size", "ordinal", "object", levels=("small", "large"))
    assert pages.groups_of(text("large", "large", "small"), text("small"), column).labels == ("small", "large")


def test_numbers_of_few_values_are_levels_in_their_order():
    groups = pages.groups_of(series(10.0, -2.75, NAN, 10.0), series(0.5))
    assert groups.labels == ("−2.75", "0.5", "10", "missing")
    assert groups.train.tolist() == [2, 0, 3, 2]


def test_bins_have_round_edges_with_their_beginning_included():
    """0, 0.1, ... 9.9: Rice's rule gives 9 bins at most, so a step of 2."""
    groups = pages.groups_of(pd.Series(np.arange(100) / 10), series(2.0, NAN))
    assert groups.scale == "linear"
    assert groups.low.tolist() == [0, 2, 4, 6, 8]
    assert groups.high.tolist() == [2, 4, 6, 8, 10]
    assert groups.labels == ("0 to 2", "2 to 4", "4 to 6", "6 to 8", "8 to 10", "missing")
    assert groups.counts[0].tolist() == [20, 20, 20, 20, 20, 0]
    assert groups.test.tolist() == [1, 5]


def test_bins_of_whole_numbers_name_the_last_one_in_them():
    groups = pages.groups_of(pd.Series(np.arange(100.0)), series(5.0))
    assert groups.labels == ("0 to 19", "20 to 39", "40 to 59", "60 to 79", "80 to 99")
    one_by_one = pages.groups_of(pd.Series(np.tile(np.arange(13.0), 300)), series(5.0))
    assert one_by_one.labels == tuple(str(value) for value in range(13))


def test_a_far_number_does_not_squash_the_rest():
    """It stands in an open bin at the end."""
    values = np.append(np.tile(np.arange(100.0), 100), 1e9)
    groups = pages.groups_of(pd.Series(values), series(-1e9))
    assert groups.labels[0].startswith("below ")
    assert groups.labels[-1].endswith(" and more")
    assert groups.low[0] == -np.inf
    assert groups.high[-1] == np.inf
    assert (groups.test.tolist(), groups.train[-1]) == ([0], len(groups.labels) - 1)
    assert groups.high[-2] - groups.low[1] <= 110


def test_skewed_positive_numbers_have_bins_in_equal_ratios():
    values = np.concatenate([10.0 ** np.linspace(0, 6, 2000), np.zeros(10)])
    groups = pages.groups_of(pd.Series(values), series(1.0))
    assert groups.scale == "log"
    assert groups.low[0] == 0
    ratios = groups.high[1:-1] / groups.low[1:-1]
    assert ratios == pytest.approx(np.full(len(ratios), ratios[0]))
    assert 1e3 in np.round(groups.low, 6)


def test_times_are_in_equal_spans():
    hours = pd.Series(pd.date_range("2021-01-01", periods=240, freq="h"))
    groups = pages.groups_of(hours, series(pd.NaT, dtype="datetime64[ns]"))
    assert groups.scale == "time"
    assert groups.labels[0] == "2021-01-01 to 2021-01-01 12:00" or groups.labels[0] == "2021-01-01 to 2021-01-02"
    assert groups.counts[0].sum() == 240
    assert groups.labels[-1] == "missing"
    spans = groups.high[:-1] - groups.low[:-1]
    assert len(set(spans[np.isfinite(spans)])) == 1


def test_text_without_frequent_values_is_grouped_by_length():
    column = Column("note", "text", "object")
    cells = text(*(("a" * (place % 3 + 1)) + f"{place:04}" for place in range(300)), NAN)
    groups = pages.groups_of(cells, text("bb"), column)
    assert groups.note == "length in characters"
    assert groups.labels == ("2", "5", "6", "7", "missing")
    assert groups.counts[0].tolist() == [0, 100, 100, 100, 1]
    frequent = pages.groups_of(text(*["yes"] * 80, *(str(place) for place in range(20))), text(), column)
    assert (frequent.note, frequent.labels[0]) == ("", "yes")


@pytest.mark.parametrize(
    "cells", [text(NAN, NAN), series(NAN, NAN), series(pd.NaT, pd.NaT, dtype="datetime64[ns]")], ids=str
)
def test_a_column_of_missing_cells_is_one_group(cells: "pd.Series[Any]"):
    groups = pages.groups_of(cells, cells)
    assert groups.labels == ("missing",)
    assert groups.counts[0].tolist() == [2]


@pytest.mark.parametrize(
    "values",
    [
        np.arange(40) * 5e-324,
        1e300 * np.arange(-20, 20),
        1e16 + 2 * np.arange(40),
        np.arange(40) + 0.1,
        -(10.0 ** np.arange(-20, 20)),
        10.0 ** np.arange(-150, 150),
    ],
    ids=["denormal", "huge", "beyond whole floats", "shifted", "negative and skewed", "300 decades"],
)
def test_every_number_has_a_group_that_holds_it(values: np.ndarray):
    groups = pages.groups_of(pd.Series(values), pd.Series(values[::-1]))
    assert ((groups.low[groups.train] <= values) & (values < groups.high[groups.train])).all()
    assert 2 <= len(groups.labels) <= 40
    assert (groups.low[1:] == groups.high[:-1]).all()


def test_dates_beyond_nanoseconds_have_groups():
    cells = pd.Series(np.array(["0001-01-01", "9999-12-31", "2021-06-01", "NaT"], dtype="M8[s]"))
    groups = pages.groups_of(cells, cells)
    assert groups.labels[-1] == "missing"
    assert groups.train[0] < groups.train[2] < groups.train[1] < groups.train[3]


def test_times_with_a_zone_are_read_by_its_clock():
    cells = pd.Series(pd.date_range("2021-06-01", periods=48, freq="h", tz="Europe/Berlin"))
    groups = pages.groups_of(cells, cells.iloc[:0])
    assert groups.labels[0].startswith("2021-06-01 to ")


# ------------------------------------------------------------------------------------------- frames


def test_distribution_is_of_all_rows():
    groups = pages.groups_of(text("a", "a", "b", NAN), text("b", "b"))
    expected = pd.DataFrame(
        {
            "group": ["a", "b", "missing"],
            "train_rows": [2, 1, 1],
            "test_rows": [0, 2, 0],
            "train_share": [0.5, 0.25, 0.25],
            "test_share": [0.0, 1.0, 0.0],
        }
    )
    assert_frame_equal(pages.distribution_frame(groups), expected)


def test_no_test_rows_have_no_shares():
    frame = pages.distribution_frame(pages.groups_of(text("a"), text()))
    assert frame["test_rows"].tolist() == [0]
    assert frame["test_share"].isna().all()


def test_target_of_two_classes_is_the_share_of_the_positive_one():
    """Of four rows of a, one left; Wilson's interval of 1 in 4 is 0.0456 to 0.6994. Level c has no training row."""
    groups = pages.groups_of(text("a", "a", "a", "a", "b"), text("c"))
    frame = pages.target_frame(groups, series(0, 1, 0, 0, 1), CHURN)
    expected = pd.DataFrame(
        {
            "first": [0, 1, 2],
            "last": [0, 1, 2],
            "group": ["a", "b", "c"],
            "train_rows": [4, 1, 0],
            "test_rows": [0, 0, 1],
            "class": ["1", "1", "1"],
            "value": [0.25, 1.0, NAN],
            "low": [0.0456, 0.2065, NAN],
            "high": [0.6994, 1.0, NAN],
        }
    )
    assert_frame_equal(frame, expected, atol=1e-4)


def test_target_of_a_regression_is_its_quartiles():
    groups = pages.groups_of(text(*"aaaaab", NAN), text())
    frame = pages.target_frame(groups, series(1.0, 2.0, 3.0, 4.0, 100.0, 7.0, 8.0), PRICE)
    assert frame["group"].tolist() == ["a", "b", "missing"]
    assert frame["low"].tolist() == [2, 7, 8]
    assert frame["value"].tolist() == [3, 7, 8]
    assert frame["high"].tolist() == [4, 7, 8]
    assert set(frame["class"]) == {""}


def test_bins_of_few_rows_are_joined_for_the_target():
    """Until each has 20 training rows; the last joins the one before; missing cells stay alone."""
    cells = pd.Series([*np.repeat(np.arange(13.0), 10), 13.0, NAN])
    groups = pages.groups_of(cells, series(0.0))
    assert groups.counts[0].tolist() == [20, 20, 20, 20, 20, 20, 11, 1]
    frame = pages.target_frame(groups, pd.Series(np.arange(132) % 2), CHURN)
    assert frame["train_rows"].tolist() == [20, 20, 20, 20, 20, 31, 1]
    assert frame["group"].tolist() == ["0 to 1", "2 to 3", "4 to 5", "6 to 7", "8 to 9", "10 to 13", "missing"]
    assert frame["first"].tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert frame["last"].tolist() == [0, 1, 2, 3, 4, 6, 7]


def test_of_many_classes_six_have_names():
    labels = [*("a" * 9), *("b" * 8), *("c" * 7), *("d" * 6), *("e" * 5), *("f" * 4), "g", "h"]
    contract = Contract("kind", "classification", tuple("abcdefgh"), None, "stratified")
    frame = pages.target_frame(pages.groups_of(text(*["x"] * 41), text()), text(*labels), contract)
    assert frame["class"].tolist() == ["a", "b", "c", "d", "e", "f", "2 more"]
    assert frame["value"].tolist() == pytest.approx([9 / 41, 8 / 41, 7 / 41, 6 / 41, 5 / 41, 4 / 41, 2 / 41])


@pytest.mark.parametrize("labels", [(False, True), (0, 1), ("0", "1")])
def test_classes_of_any_type_are_found(labels: tuple[Any, Any]):
    contract = dataclasses.replace(CHURN, classes=labels, positive=labels[1])
    target = pd.Series([labels[1], labels[0]])
    assert pages.target_frame(pages.groups_of(text("a", "b"), text()), target, contract)["value"].tolist() == [1, 0]


def test_difference_is_the_share_that_would_have_to_move():
    """Half and half against three quarters: a quarter moves; chance by sqrt(2 / pi * p (1 - p) (1 / n + 1 / m))."""
    apart, chance = pages.difference(pages.groups_of(text(*"aabb"), text(*"aaab")))
    assert apart == pytest.approx(0.25)
    assert chance == pytest.approx(np.sqrt(2 / np.pi * 0.625 * 0.375 * 0.5))
    assert np.isnan(pages.difference(pages.groups_of(text("a"), text()))).all()


def test_chance_is_what_samples_of_the_same_rows_give():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(300):
        groups = pages.groups_of(text(*rng.choice(list("abcde"), 200)), text(*rng.choice(list("abcde"), 50)))
        found.append(pages.difference(groups))
    apart, chance = np.mean(found, axis=0)
    assert chance == pytest.approx(apart, rel=0.08)


def test_explained_is_the_adjusted_share_of_variance():
    """Classes 1, 1, 1, 0 against 0, 0, 0, 1: 1/4 explained, adjusted by 7/6. Ranks 1 to 4 by halves: 4/5, by 3/2."""
    groups = pages.groups_of(text(*"aaaabbbb"), text())
    assert pages.explained(groups, series(1, 1, 1, 0, 0, 0, 0, 1), CHURN) == pytest.approx(1 - 0.75 * 7 / 6)
    halves = pages.groups_of(text(*"aabb"), text())
    assert pages.explained(halves, series(1.0, 2.0, 3.0, 1e6), PRICE) == pytest.approx(1 - 0.2 * 3 / 2)
    perfect = series(0, 0, 0, 0, 1, 1, 1, 1)
    assert pages.explained(groups, perfect, CHURN) == pytest.approx(1.0)


def test_chance_explains_nothing():
    rng = np.random.default_rng(5)
    groups = pages.groups_of(text(*rng.choice(list("abcdefghij"), 400)), text())
    assert pages.explained(groups, pd.Series(rng.integers(0, 2, 400)), CHURN) < 0.03
    assert pages.explained(groups, pd.Series(rng.normal(size=400)), PRICE) < 0.03


def test_explained_is_not_defined_where_nothing_varies():
    groups = pages.groups_of(text(*"aabb"), text())
    assert np.isnan(pages.explained(groups, series(1, 1, 1, 1), CHURN))
    assert np.isnan(pages.explained(groups, series(2.0, 2.0, 2.0, 2.0), PRICE))
    each_its_own = pages.groups_of(text(*"ab"), text())
    assert np.isnan(pages.explained(each_its_own, series(0, 1), CHURN))


# -------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"), (-0.0, "0"), (NAN, "–"), (3.0, "3"), (-3.0, "−3"), (1234567.0, "1,234,567"), (1234.5678, "1,235"),
        (12.3456, "12.35"), (0.5, "0.5"), (0.000123456, "0.0001235"), (0.0000123, "1.23e−5"), (-2e12, "−2e12"),
        (999.99, "1,000"), (16.80, "16.8"),
    ],
)  # fmt: skip
def test_numbers_are_readable(value: float, shown: str):
    assert pages.number(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0%"), (-0.0, "0%"), (1, "100%"), (0.5, "50%"), (0.2348, "23.5%"), (0.0001, "<0.1%"), (0.9999, ">99.9%"),
     (NAN, "–")],
)  # fmt: skip
def test_shares_are_nought_or_whole_only_where_they_are(share: float, shown: str):
    assert pages.percent(share) == shown


def test_long_texts_lose_their_middle():
    assert pages.short("a\n b\t\r\nc") == "a b c"
    assert pages.short("begin" + "x" * 10_000 + "end", 12) == "beginxxx…end"
    assert pages.short("a\x00b\u202ec\ud800") == "a�b�c�"


# ----------------------------------------------------------------------------------------- document

VOID = {"meta"}
# Elements that HTML ends by itself.
OPEN = {"tr", "td", "th", "thead", "tbody"}


class Reader(HTMLParser):
    """What a browser finds: texts, elements, attributes; whatever is left open or closed wrongly is an error."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.feed(source)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID | OPEN:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in OPEN:
            assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def words(self) -> str:
        """All that is written, on one line."""
        return " ".join(" ".join(self.texts).split())

    def attributes(self, name: str) -> list[str]:
        """The values of one attribute, wherever it stands."""
        return [str(attributes[name]) for _, attributes in self.found if name in attributes]


def profile_of(train: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """A profile of the training rows."""
    roles = {column.name: column.role for column in contract.columns} | {contract.target: "target"}
    rows = []
    for name in train.columns:
        cells = train[name]
        counts = cells.value_counts()
        row = {"column": name, "role": roles[name], "missing": cells.isna().mean(), "distinct": cells.nunique()}
        if pd.api.types.is_float_dtype(cells) and cells.notna().any():
            row |= {"mean": cells.mean(), "std": cells.std(), "low": cells.min(), "median": cells.median()}
            row |= {"high": cells.max()}
        row |= {"most_frequent": counts.index[0], "share": counts.iloc[0] / len(cells)} if len(counts) else {}
        rows.append(row)
    every = ["column", "role", "missing", "distinct", "mean", "std", "low", "median", "high", "most_frequent", "share"]
    return pd.DataFrame(rows, columns=every)


def table(columns: dict[str, Any], target: Any, contract: Contract, left_out: tuple[Column, ...] = ()) -> dict:
    """The arguments of a page, half of the rows for training."""
    kinds = {"f": "numeric", "M": "datetime"}
    frame = pd.DataFrame(columns)
    described = tuple(
        Column(name, kinds.get(frame[name].dtype.kind, "categorical"), str(frame[name].dtype)) for name in frame
    )
    frame[contract.target] = target
    contract = dataclasses.replace(contract, columns=(*described, *left_out))
    # Times are read by models only where the contract says so; what is drawn is what it names as features.
    half = len(frame) // 2
    return {
        "title": "a table",
        "contract": contract,
        "profile": profile_of(frame, contract),
        "train": frame.iloc[:half],
        "test": frame.iloc[half:],
        "findings": NO_FINDINGS,
        "facts": {"rows": "100"},
    }


def small(**changes: Any) -> dict:
    rng = np.random.default_rng(0)
    columns = {"age": rng.normal(40, 9, 400), "plan": rng.choice(np.array(["basic", "full"], dtype=object), 400)}
    return table(columns, rng.integers(0, 2, 400), CHURN) | changes


def test_the_page_says_what_the_table_is():
    out = (Column("id", "id", "object"), Column("tags", "nested", "object"))
    arguments = small()
    arguments["contract"] = dataclasses.replace(arguments["contract"], columns=(*arguments["contract"].columns, *out))
    arguments["facts"] = {"rows": "763 and 191", "query": "SELECT 1 < 2"}
    words = Reader(pages.page(**arguments)).words
    for said in (
        "a table",
        "Classification of left , positive class 1 , stratified split, 2 columns read by models.",
        "rows 763 and 191",
        "query SELECT 1 < 2",
        "Findings None found.",
        "id id object – – text that differs in nearly every row",
        "tags nested object – – each cell holds a list, a record or bytes",
    ):
        assert said in words


def test_findings_come_by_their_weight_and_lead_to_their_column():
    findings = pd.DataFrame(
        [
            ("note_it", "note", "elsewhere", NAN, NAN, NAN, "Look here."),
            ("twin_rows", "warning", None, 126.0, 0.6597, NAN, "Twins <b>everywhere</b>."),
            ("tells", "error", "age", NAN, NAN, 0.98765, "It tells the target."),
        ],
        columns=NO_FINDINGS.columns,
    )
    page = pages.page(**small(findings=findings))
    words = Reader(page).words
    first, second, third = (
        words.index(said)
        for said in (
            "error age : It tells the target. (tells, score 0.9877)",
            "warning Twins <b>everywhere</b>. (twin_rows, 126 rows, 66%)",
            "note elsewhere : Look here. (note_it)",
        )
    )
    assert first < second < third < words.index("Contents")
    # Once in the list, once beside the column.
    assert words.count("It tells the target.") == 2
    assert "None found" not in words
    assert '<a href="#c0">age</a>: It tells' in page


def test_links_lead_somewhere():
    reader = Reader(pages.page(**small()))
    ids = reader.attributes("id")
    assert len(ids) == len(set(ids))
    links = reader.attributes("href")
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert {"#target", "#c0", "#c1"} <= set(links)


def test_the_page_is_whole_in_itself():
    """No script, no address, nothing to fetch; both themes, paper and phones are thought of."""
    page = pages.page(**small())
    reader = Reader(page)
    assert not re.search(r"https?:|//|@import|url\(|<script|<img|<link|<iframe|javascript", page)
    assert not [name for _, attributes in reader.found for name in attributes if name.startswith("on")]
    for rule in ("prefers-color-scheme:dark", "@media print", "@media(max-width"):
        assert rule in page
    assert '<meta charset="utf-8">' in page
    assert "width=device-width" in page
    assert page == pages.page(**small())


def test_every_picture_has_a_name():
    reader = Reader(pages.page(**small()))
    pictures = [attributes for tag, attributes in reader.found if tag == "svg"]
    named = [attributes["aria-label"] for attributes in pictures if attributes.get("role") == "img"]
    assert "Distribution of age in training and test rows" in str(named)
    assert "Target left by plan, training rows" in str(named)
    assert len(named) == 5
    assert all(attributes.get("aria-hidden") == "true" for attributes in pictures if "role" not in attributes)


def light(colour: str) -> float:
    """The relative luminance of a colour, by the WCAG's formula."""
    full = "".join(digit * 2 for digit in colour[1:]) if len(colour) == 4 else colour[1:]
    parts = np.array([int(full[place : place + 2], 16) / 255 for place in (0, 2, 4)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stand_out_in_both_themes(theme: str):
    """Words by 4.5 to 1 on what they stand on, what is drawn by 3 to 1, the test strokes from the bars by hue too."""
    screen = pages.STYLE.partition("@media print")[0]
    first, second = (dict(re.findall(r"--(\w+):(#\w+)", part)) for part in re.split("@media screen", screen))
    colours = first if theme == "light" else first | second

    def contrast(one: str, other: str) -> float:
        dark, bright = sorted((light(colours[one]), light(colours[other])))
        return (bright + 0.05) / (dark + 0.05)

    for word in ("ink", "soft", "link", "bad", "warn"):
        assert contrast(word, "card") >= 4.5, word
        assert contrast(word, "paper") >= 4.5, word
    assert contrast("soft", "chip") >= 4.5
    for drawn in ("bar", "test", "mid", "soft"):
        assert contrast(drawn, "card") >= 3, drawn
    assert contrast("mid", "band") >= 3
    assert contrast("test", "bar") >= 1.5


def test_all_other_levels_are_written_and_not_drawn():
    """Their 90 % would dwarf each level that has a name."""
    cells = np.array([f"often {place % 13}" if place % 10 == 0 else f"rare {place}" for place in range(2600)], object)
    page = pages.page(**table({"word": cells}, np.arange(2600) % 2, CHURN))
    figure = page[page.index('aria-label="Distribution of word') :]
    figure = figure[: figure.index("</svg>")]
    assert len(re.findall("<rect class=a ", figure)) == 12
    assert "most rows in often 0" in figure
    assert ">2,341 more</text>" in figure
    assert max(float(width) for width in re.findall('width="([0-9.]+)"', figure)) > 100


def test_a_level_named_like_a_group_of_ours_is_told_apart():
    cells = np.tile(np.array(["missing", "a", NAN, "a"], dtype=object), 100)
    page = pages.page(**table({"word": cells}, np.arange(400) % 2, CHURN))
    assert re.findall('<text class="(e|e o)" [^>]*>missing</text>', page) == ["e", "e o", "e", "e o"]


def test_columns_that_differ_are_marked():
    arguments = small()
    arguments["test"] = arguments["test"].assign(plan="full")
    words = Reader(pages.page(**arguments)).words
    assert "Differ between train and test: plan" in words
    assert "Differ between" not in Reader(pages.page(**small())).words


def test_the_most_frequent_number_is_shown_where_it_is_frequent():
    rng = np.random.default_rng(8)
    often = np.where(rng.random(400) < 0.5, 0.0, rng.normal(size=400))
    assert "most frequent 0 (" in Reader(pages.page(**table({"x": often}, np.arange(400) % 2, CHURN))).words
    rarely = Reader(pages.page(**table({"x": rng.normal(size=400)}, rng.normal(size=400), PRICE))).words
    assert "most frequent" not in rarely


def test_what_a_figure_shows_stands_in_a_table_too():
    """Of 100 rows of a, 25 are positive; of 100 of b, all."""
    cells = np.repeat(np.array(["a", "b"], dtype=object), 100)
    arguments = table({"plan": np.tile(cells, 2)}, np.tile([*[1] * 25, *[0] * 75, *[1] * 100], 2), CHURN)
    words = Reader(pages.page(**arguments)).words
    assert (
        "group training rows test rows share of 1 from to a 100 100 25% 17.5% 34.3% b 100 100 100% 96.3% 100%" in words
    )


NASTY = [
    "<script>alert(1)</script>",
    "a&b;&lt;",
    "\"quoted\" 'too'",
    "line\nbreak\r\n\ttab",
    "🦄 emoji 👩‍👩‍👧",
    "</title></style></svg>",
    "x" * 10_000,
    " ",
    "\x00\x1b\u202enul",
    "half \ud83d of a pair",
    "javascript:void(0)",
    "{curly} %s {0}",
]


def test_whatever_a_name_or_level_holds_is_text():
    rng = np.random.default_rng(2)
    levels = np.array(NASTY, dtype=object)
    columns = {name: rng.choice(levels, 400) for name in NASTY}
    target = rng.choice(levels[:5], 400)
    contract = Contract("<i>target</i>", "classification", tuple(sorted(NASTY[:5])), None, "<u>")
    arguments = table(columns, target, contract, (Column("<b>out", "id", "<object>"),))
    arguments["title"] = "</title><script>"
    arguments["facts"] = {name: name for name in NASTY}
    arguments["findings"] = pd.DataFrame(
        [(name, name, name, 1.0, 0.5, 0.5, name) for name in NASTY], columns=NO_FINDINGS.columns
    )
    page = pages.page(**arguments)
    page.encode("utf-8")
    reader = Reader(page)
    expected = {
        "html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "h3", "p", "b", "div", "dl",
        "dt", "dd", "span", "a", "ul", "li", "small", "table", "thead", "tbody", "tr", "th", "td", "section", "figure",
        "figcaption", "i", "svg", "rect", "path", "text", "details", "summary",
    }  # fmt: skip
    assert {tag for tag, _ in reader.found} == expected
    assert "<script>alert(1)</script>" in reader.words
    assert "a&b;&lt;" in reader.words
    # The fact of 10,000 letters stands whole, all else is cut.
    assert page.count("x" * 1_000) == 10
    assert not re.search("[\x00-\x08\x0e-\x1f\u202e]", page)
    assert "nan" not in page.lower().replace("nano", "")


@pytest.mark.parametrize("task", ["two", "three", "hundred", "one", "regression"])
def test_every_kind_of_column_is_drawn_for_every_kind_of_target(task: str, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(4)
    size = 600
    columns: dict[str, Any] = {
        "normal": rng.normal(size=size),
        "lognormal": rng.lognormal(0, 3, size),
        "with gaps": np.where(rng.random(size) < 0.3, NAN, rng.normal(size=size)),
        "few": rng.integers(0, 4, size).astype("float64"),
        "all missing": np.full(size, NAN),
        "one value": np.full(size, 7.0),
        "no words": np.full(size, NAN, dtype=object),
        "one word": np.full(size, "same", dtype=object),
        "words": rng.choice(np.array([f"word {place}" for place in range(60)], dtype=object), size),
        "when": pd.date_range("2021-01-30", periods=size, freq="7h"),
        "far": np.append(rng.normal(size=size - 1), 1e12),
    }
    targets: dict[str, tuple[Any, Contract]] = {
        "two": (rng.integers(0, 2, size), CHURN),
        "three": (rng.integers(0, 3, size), dataclasses.replace(CHURN, classes=(0, 1, 2), positive=None)),
        "hundred": (
            np.arange(size) % 100,
            dataclasses.replace(CHURN, classes=tuple(range(100)), positive=None),
        ),
        "one": (np.zeros(size, dtype=int), dataclasses.replace(CHURN, classes=(0,), positive=None)),
        "regression": (rng.normal(1e6, 1e5, size), PRICE),
    }
    # A contract names what models read; times are among it where it says so.
    monkeypatch.setattr(Contract, "features", property(lambda self: [column.name for column in self.columns]))
    reader = Reader(pages.page(**table(columns, *targets[task])))
    assert len([1 for tag, _ in reader.found if tag == "section"]) == len(columns) + 1
    numbers = [
        float(value)
        for name in ("x", "y", "width", "height")
        for tag, attributes in reader.found
        if tag in ("rect", "text") and (value := attributes.get(name)) is not None
    ]
    assert np.isfinite(numbers).all()
    assert min(numbers) >= 0
    assert not [d for d in reader.attributes("d") if "nan" in d or "inf" in d]
    assert "nan" not in reader.words.replace("nano", "")


def test_rows_without_a_test_table_are_drawn():
    arguments = small()
    arguments["test"] = arguments["test"].iloc[:0]
    assert "nan" not in Reader(pages.page(**arguments)).words


def test_a_wide_table_is_a_moderate_page_and_a_usual_one_is_quick():
    """Sizes are in bytes of UTF-8; the time leaves room for a busy machine."""
    rng = np.random.default_rng(6)

    def wide(width: int, rows: int, kinds: int) -> dict:
        words = np.array([f"a level {place}" for place in range(30)], dtype=object)
        columns = {
            f"column number {place}": (
                rng.choice(words, rows)
                if place % 3 == 0
                else np.where(rng.random(rows) < 0.1, NAN, rng.normal(size=rows))
            )
            for place in range(width)
        }
        contract = dataclasses.replace(CHURN, classes=tuple(range(kinds)), positive=1 if kinds == 2 else None)
        return table(columns, np.arange(rows) % kinds, contract)

    usual = wide(20, 40_000, 2)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        page = pages.page(**usual)
        seconds.append(time.perf_counter() - began)
    assert len(page.encode()) < 300_000
    assert min(seconds) < 3
    for kinds in (2, 100):
        assert len(pages.page(**wide(300, 2_000, kinds)).encode()) < 3_000_000

"""The sample tables: written by their generator, and like the tables they stand for."""

import importlib.util
import io
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from lifecycle.adapters import catalog, readers, sources

DATA = Path(__file__).parents[1] / "data"
ORIGINALS = {"churn": "customer_travel.csv", "ecommerce": "ecommerce_customers.csv"}
TARGETS = {
    "churn": "Target",
    "ecommerce": "Yearly Amount Spent",
    "iris": "species",
    "diabetes": "progression",
    "taxi": "duration",
}
# Letters: i integer, f float, s text, t time.
COLUMNS = {
    "churn": {
        "Age": "i",
        "FrequentFlyer": "s",
        "AnnualIncomeClass": "s",
        "ServicesOpted": "i",
        "AccountSyncedToSocialMedia": "s",
        "BookedHotelOrNot": "s",
        "Target": "i",
    },
    "ecommerce": {
        "Email": "s",
        "Address": "s",
        "Avatar": "s",
        "Avg. Session Length": "f",
        "Time on App": "f",
        "Time on Website": "f",
        "Length of Membership": "f",
        "Yearly Amount Spent": "f",
    },
    "iris": dict.fromkeys(["sepal_length", "sepal_width", "petal_length", "petal_width"], "f") | {"species": "s"},
    "diabetes": dict.fromkeys("age sex bmi bp s1 s2 s3 s4 s5 s6 progression".split(), "f"),
    "taxi": {
        "VendorID": "i",
        "lpep_pickup_datetime": "t",
        "lpep_dropoff_datetime": "t",
        "store_and_fwd_flag": "s",
        "RatecodeID": "f",
        "PULocationID": "i",
        "DOLocationID": "i",
        **dict.fromkeys(["passenger_count", "trip_distance", "fare_amount", "extra", "mta_tax", "tip_amount"], "f"),
        "tolls_amount": "f",
        "ehail_fee": "s",
        **dict.fromkeys(["improvement_surcharge", "total_amount", "payment_type", "trip_type"], "f"),
        "congestion_surcharge": "f",
    },
}
ROWS = {"churn": 954, "ecommerce": 500, "iris": 150, "diabetes": 442, "taxi": 4000}
HABITS = ["Avg. Session Length", "Time on App", "Time on Website", "Length of Membership"]

# How far a sample may be from its original. Both are draws of a few hundred rows, so they differ by chance.
SHARE = 0.04  # of the rows that have a level
RATE = 0.10  # of the positive target within a level,
ROWS_FOR_A_RATE = 60  # where the original has so many rows: with fewer, chance alone exceeds it
MEAN = 0.15  # standard deviations
STD = 0.10  # of the original's
CORRELATION = 0.15


@pytest.fixture(scope="module")
def make_samples() -> ModuleType:
    """Give the generator, which is a script and no package."""
    spec = importlib.util.spec_from_file_location("make_samples", DATA / "make_samples.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sample(name: str) -> pd.DataFrame:
    """Read a committed sample."""
    return pd.read_parquet(DATA / "taxi.parquet") if name == "taxi" else pd.read_csv(DATA / f"{name}.csv")


def kind(column: pd.Series) -> str:
    """Name a column's type by one letter, the same for every pandas."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return "t"
    if pd.api.types.is_integer_dtype(column):
        return "i"
    return "f" if pd.api.types.is_float_dtype(column) else "s"


def test_committed_files_are_what_the_generator_writes(make_samples: ModuleType, tmp_path: Path) -> None:
    """Nobody edits a sample by hand, and the seed still gives it."""
    make_samples.write_all(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # Parquet's bytes also hang on the version that wrote them.
    taxi = written.pop("taxi.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(taxi)), sample("taxi"))
    assert written == {f"{name}.csv": (DATA / f"{name}.csv").read_bytes() for name in TARGETS if name != "taxi"}
    assert all(b"\r" not in content and content.endswith(b"\n") for content in written.values())


@pytest.mark.parametrize("name", ["churn", "ecommerce", "taxi"])
def test_seed_decides_the_rows(make_samples: ModuleType, name: str) -> None:
    """The same seed repeats the table, another gives other rows of the same shape."""
    make = getattr(make_samples, name)
    first, again, other = make(7), make(7), make(8)
    pd.testing.assert_frame_equal(first, again)
    assert other.shape == first.shape and not other.equals(first)
    if name == "churn":
        assert first["Target"].sum() == other["Target"].sum() == 224


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_types_and_size(make_samples: ModuleType, name: str) -> None:
    """Columns, order, types and rows are as promised, on disk and in memory, with no empty cell."""
    for table in (sample(name), getattr(make_samples, name)()):
        assert [(column, kind(table[column])) for column in table] == list(COLUMNS[name].items())
        assert len(table) == ROWS[name]
        assert name == "taxi" or not table.isna().any(axis=None)


def test_catalog_fits_the_files() -> None:
    """Every entry, a fork's own too, names a file here, columns of it, and the levels that it has."""
    catalog = yaml.safe_load((DATA / "catalog.yaml").read_text(encoding="utf-8"))
    assert {name: catalog[name]["target"] for name in TARGETS} == TARGETS
    needed, optional = {"file", "target", "task", "source"}, {"ordinal", "drop", "query"}
    for name, entry in catalog.items():
        assert needed <= set(entry) <= needed | optional, name
        read = pd.read_parquet if entry["file"].endswith(".parquet") else pd.read_csv
        table = read(DATA / entry["file"])
        if "query" in entry:
            table = readers.read_table(sources.locate("data", name), entry["query"])
        assert entry["task"] in {"classification", "regression"}, name
        assert {entry["target"], *entry.get("drop", [])} <= set(table), name
        assert entry["target"] not in entry.get("drop", []), name
        for part in entry["ordinal"].split(";") if "ordinal" in entry else []:
            column, levels = part.split(":")
            assert sorted(levels.split("<")) == sorted(table[column].unique()), name


def test_churn_separates_the_models() -> None:
    """A line clearly beats the dummy, and a tree clearly beats the line."""
    table = sample("churn")
    assert table["Target"].sum() == 224
    features, target = table.drop(columns="Target"), table["Target"]
    train, test, train_target, test_target = train_test_split(
        features, target, test_size=0.2, random_state=42, stratify=target
    )
    columns = make_column_transformer(
        (StandardScaler(), ["Age", "ServicesOpted"]),
        (OrdinalEncoder(categories=[["Low Income", "Middle Income", "High Income"]]), ["AnnualIncomeClass"]),
        (OneHotEncoder(drop="first"), ["FrequentFlyer", "AccountSyncedToSocialMedia", "BookedHotelOrNot"]),
    )
    line = make_pipeline(columns, LogisticRegression())
    tree = make_pipeline(columns, DecisionTreeClassifier(random_state=42))
    folds = StratifiedKFold(5, shuffle=True, random_state=42)

    dummy = f1_score(test_target, np.ones_like(test_target))
    assert dummy == pytest.approx(0.381, abs=0.001)
    assert 0.45 < f1_score(test_target, line.fit(train, train_target).predict(test)) < 0.55
    line_cv, tree_cv = (
        cross_val_score(model, train, train_target, cv=folds, scoring="f1").mean() for model in (line, tree)
    )
    assert tree_cv > 0.68
    assert tree_cv - line_cv > 0.15


def test_ecommerce_has_the_coefficients_of_the_course() -> None:
    """App and membership count, the website does not, and the dropped session length would."""
    table = sample("ecommerce")
    train, _ = train_test_split(table, test_size=0.2, random_state=42)
    spent = train["Yearly Amount Spent"]

    three = LinearRegression().fit(train[HABITS[1:]], spent)
    np.testing.assert_allclose(three.coef_, [38, 0, 62], atol=2)
    r2_adjusted = 1 - (1 - three.score(train[HABITS[1:]], spent)) * (len(train) - 1) / (len(train) - 4)
    assert 0.86 < r2_adjusted < 0.90

    four = LinearRegression().fit(train[HABITS], spent)
    assert four.coef_[0] == pytest.approx(25, abs=2)
    assert four.score(train[HABITS], spent) > 0.97


def test_taxi_trips_behave_as_trips_do() -> None:
    """Duration grows with the distance, pairs of places repeat, few of them often."""
    made = readers.read_table(sources.locate("data", "taxi"), catalog.catalog()["taxi"]["query"])
    assert list(made.columns) == ["PU_DO", "trip_distance", "duration"]
    assert made["duration"].between(1, 60).all() and 0.9 < len(made) / 4000 < 0.99
    assert 0.7 < np.corrcoef(made["trip_distance"], made["duration"])[0, 1] < 0.95
    assert made["duration"].mean() == pytest.approx(16.9, abs=3)
    assert made["trip_distance"].median() == pytest.approx(2.6, abs=1.2)
    pairs = made["PU_DO"].value_counts()
    assert pairs.median() <= 4 and pairs.iloc[0] > 30 and pairs.iloc[: len(pairs) // 10].sum() > len(made) / 3
    train, test = train_test_split(made, test_size=0.2, random_state=42)
    model = make_pipeline(
        make_column_transformer(
            (StandardScaler(), ["trip_distance"]), (OneHotEncoder(handle_unknown="ignore"), ["PU_DO"])
        ),
        LinearRegression(),
    ).fit(train, train["duration"])
    error = np.sqrt(np.mean((model.predict(test) - test["duration"]) ** 2))
    assert error < 0.75 * test["duration"].std()


@pytest.mark.parametrize(
    ("typed", "query"),
    [({}, True), ({"target": "duration"}, True), ({"target": "fare_amount"}, False), ({"query": "FROM data"}, None)],
)
def test_taxis_query_makes_its_own_target_alone(typed: dict[str, str], query: bool | None) -> None:
    """A target of the raw table is looked for there, and a query that was typed wins."""
    texts = ("target", "query", "test_data", "split", "split_column", "positive", "drop", "ordinal", "roles", "read")
    options = {**dict.fromkeys(texts, ""), "data": "taxi", "task": "auto", "test_size": 0.2, "folds": 5, "seed": 42}
    settings = catalog.settings_for(options | {"strict": False} | typed)
    own = catalog.catalog()["taxi"]["query"]
    assert settings.query == {True: own, False: "", None: "FROM data"}[query]
    assert settings.target == typed.get("target", "duration")


def test_taxis_columns_are_the_originals(originals: Path) -> None:
    theirs = pd.read_parquet(originals / "green_tripdata_2021-01.parquet")
    assert [(name, kind(column)) for name, column in theirs.items()] == list(COLUMNS["taxi"].items())


def test_ecommerce_texts_are_made_up() -> None:
    """Mail goes to reserved domains, an address has two lines."""
    table = sample("ecommerce")
    assert table["Email"].is_unique
    assert table["Email"].str.fullmatch(r"[a-z]+\d*@example\.(com|org|net)").all()
    assert table["Address"].str.fullmatch(r"[^\n]+\n[^\n]+ [A-Z]{2} \d{5}(-\d{4})?").all()
    assert table["Avatar"].str.fullmatch(r"([A-Z][a-z]+)+").all()


@pytest.mark.parametrize("name", ORIGINALS)
def test_columns_are_the_originals(originals: Path, name: str) -> None:
    """The real file drops in: same columns, order, types and number of rows."""
    ours, theirs = sample(name), pd.read_csv(originals / ORIGINALS[name])
    pd.testing.assert_series_equal(ours.dtypes, theirs.dtypes)
    assert ours.shape == theirs.shape


def test_churn_is_like_the_original(originals: Path) -> None:
    """Levels, their shares, and how the target depends on them agree within the stated tolerances."""
    ours, theirs = sample("churn"), pd.read_csv(originals / ORIGINALS["churn"])
    assert ours["Target"].sum() == theirs["Target"].sum()
    for column in theirs:
        shares = ours[column].value_counts(normalize=True).sort_index()
        their_shares = theirs[column].value_counts(normalize=True).sort_index()
        assert list(shares.index) == list(their_shares.index)
        np.testing.assert_allclose(shares, their_shares, rtol=0, atol=SHARE, err_msg=column)
    for columns in [*([column] for column in theirs.columns[:-1]), ["FrequentFlyer", "AnnualIncomeClass"]]:
        groups = theirs.groupby(columns)["Target"]
        rates = groups.mean()[groups.size() >= ROWS_FOR_A_RATE]
        our_rates = ours.groupby(columns)["Target"].mean().reindex(rates.index)
        np.testing.assert_allclose(our_rates, rates, rtol=0, atol=RATE, err_msg=str(columns))
    assert ours.duplicated().mean() == pytest.approx(theirs.duplicated().mean(), abs=0.05)


@pytest.mark.parametrize("name", ORIGINALS)
def test_numbers_are_like_the_originals(originals: Path, name: str) -> None:
    """Means, standard deviations and correlations of the numbers agree within the stated tolerances."""
    columns = [column for column, letter in COLUMNS[name].items() if letter != "s"]
    ours, theirs = sample(name)[columns], pd.read_csv(originals / ORIGINALS[name])[columns]
    assert ((ours.mean() - theirs.mean()).abs() / theirs.std() < MEAN).all()
    assert ((ours.std() / theirs.std() - 1).abs() < STD).all()
    assert ((ours.corr() - theirs.corr()).abs() < CORRELATION).all(axis=None)


def test_ecommerce_repeats_as_the_original(originals: Path) -> None:
    """No row is repeated and the avatars have about as many colours."""
    ours, theirs = sample("ecommerce"), pd.read_csv(originals / ORIGINALS["ecommerce"])
    assert not ours.duplicated().any() and not theirs.duplicated().any()
    assert ours["Avatar"].nunique() == pytest.approx(theirs["Avatar"].nunique(), abs=10)
    known = ours["Avatar"].isin(theirs["Avatar"].unique())
    assert known.mean() > 0.95, ours.loc[~known, "Avatar"].unique()


def test_no_rows_are_taken_from_the_originals(originals: Path) -> None:
    """Free text and numbers never coincide; rows of churn only as often as chance brings it."""
    ours, theirs = sample("ecommerce"), pd.read_csv(originals / ORIGINALS["ecommerce"])
    for column in ["Email", "Address", *HABITS, "Yearly Amount Spent"]:
        assert ours[column].isin(theirs[column]).mean() <= 0.01, column

    ours, theirs = sample("churn"), pd.read_csv(originals / ORIGINALS["churn"])
    assert (ours == theirs).all(axis=1).mean() < 0.02  # in the same place
    # In any place: independent draws have about 0.6 in common, a shuffled copy 1.
    rows, their_rows = (Counter(table.itertuples(index=False, name=None)) for table in (ours, theirs))
    assert (rows & their_rows).total() / len(ours) < 0.7

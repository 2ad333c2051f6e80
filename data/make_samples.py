"""Write the sample tables of this folder: `python data/make_samples.py`.

`churn`, `ecommerce` and `taxi` are synthetic. Each is drawn from the small model that stands here as constants:
rounded figures that describe a real table of the same columns (data/README.md says which), so that the real
file can take its place. No row of a real table is used. `iris` and `diabetes` come with scikit-learn. The
same numpy and the same seed write the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes, load_iris

# With so few rows the seed decides much, and a sample should show the usual case. Over the seeds 0 to 24 the
# test F1 of the plain logistic regression on churn lies between 0.29 and 0.63, median 0.52; at 0 it is 0.52.
SEED = 0

CHURN_ROWS = 954
CHURNED = 224

AGES = {
    27: 0.065, 28: 0.075, 29: 0.075, 30: 0.245, 31: 0.11, 33: 0.03,
    34: 0.11, 35: 0.055, 36: 0.07, 37: 0.13, 38: 0.035,
}  # fmt: skip

# (income class, frequent flyer): share of the customers. All with a high income fly often, nobody with a
# middle one does.
SEGMENTS = {
    ("Low Income", "No"): 0.25,
    ("Low Income", "No Record"): 0.02,
    ("Low Income", "Yes"): 0.135,
    ("Middle Income", "No"): 0.39,
    ("Middle Income", "No Record"): 0.04,
    ("High Income", "Yes"): 0.165,
}

# (income class, flies often): the shares of 1 to 6 services.
SERVICES = {
    ("Low Income", False): (0.47, 0.30, 0.04, 0.11, 0.07, 0.01),
    ("Low Income", True): (0.66, 0.08, 0.08, 0.09, 0.06, 0.03),
    ("Middle Income", False): (0.20, 0.23, 0.25, 0.14, 0.08, 0.10),
    ("High Income", True): (0.72, 0.0, 0.0, 0.12, 0.06, 0.10),
}

# Income class: share of those who synced their account (nobody with six services did) and who booked a hotel
# (where the services do not decide it).
SYNCED = {"Low Income": 0.50, "Middle Income": 0.37, "High Income": 0.20}
BOOKED = {"Low Income": 0.37, "Middle Income": 0.42, "High Income": 0.12}
BOOKED_WITH_TWO_SERVICES = 0.14

ECOMMERCE_ROWS = 500

# column: (mean, coefficient). Each column is normal with standard deviation 1, independent of the others.
HABITS = {
    "Avg. Session Length": (33.05, 25.5),
    "Time on App": (12.05, 38.5),
    "Time on Website": (37.05, 0.4),
    "Length of Membership": (3.53, 61.5),
}
INTERCEPT = -1040.0
NOISE = 10.0
SHORTEST_MEMBERSHIP = 0.1  # years; the normal distribution has a tail below 0

FIRST_NAMES = """
    Ada Alba Amir Anna Ben Carla Cora Dana Dario Edith Elif Emil Fatima Felix Grace Hana Hugo Ines Ivan
    Jonas Kira Lars Leila Lena Luis Mara Milo Nadia Nora Omar Otto Paula Rafael Rosa Samir Sofia Tessa Tomas
    Vera Yara
""".split()
LAST_NAMES = """
    Abbott Acosta Barlow Becker Berg Castillo Conti Dahl Dupont Ellery Farrow Fischer Gallo Greene Haddad
    Holm Ito Jansen Kaya Keller Larsen Lindgren Marsh Mehta Moreau Nilsen Novak Okafor Olsen Pereira Petrov
    Quist Reyes Rossi Sato Silva Thorne Ueda Vance Vogel Walsh Winter Yilmaz Zeller
""".split()
STREETS = "Avenue Bend Bridge Court Drive Garden Heights Hill Lane Mews Park Road Row Street Way".split()
CITY_STARTS = "East Lake New North Port South West".split()
CITY_ENDS = "berg borough chester field ford mouth stad ton ville".split()
STATES = """
    AK AL AR AZ CA CO CT DE FL GA HI IA ID IL IN KS KY LA MA MD ME MI MN MO MS MT NC ND NE NH NJ NM NV NY OH
    OK OR PA RI SC SD TN TX UT VA VT WA WI WV WY
""".split()
MAIL_DOMAINS = "example.com example.org example.net".split()  # reserved: no mail reaches anybody
COLOURS = """
    AliceBlue AntiqueWhite Aqua Aquamarine Azure Beige Bisque Black BlanchedAlmond Blue BlueViolet Brown
    BurlyWood CadetBlue Chartreuse Chocolate Coral CornflowerBlue Cornsilk Crimson Cyan DarkBlue DarkCyan
    DarkGoldenRod DarkGray DarkGreen DarkKhaki DarkMagenta DarkOliveGreen DarkOrange DarkOrchid DarkRed
    DarkSalmon DarkSeaGreen DarkSlateBlue DarkSlateGray DarkTurquoise DarkViolet DeepPink DeepSkyBlue
    DimGray DodgerBlue FireBrick FloralWhite ForestGreen Fuchsia Gainsboro GhostWhite Gold GoldenRod Gray
    Green GreenYellow HoneyDew HotPink IndianRed Indigo Ivory Khaki Lavender LavenderBlush LawnGreen
    LemonChiffon LightBlue LightCoral LightCyan LightGoldenRodYellow LightGray LightGreen LightPink
    LightSalmon LightSeaGreen LightSkyBlue LightSlateGray LightSteelBlue LightYellow Lime LimeGreen Linen
    Magenta Maroon MediumAquaMarine MediumBlue MediumOrchid MediumPurple MediumSeaGreen MediumSlateBlue
    MediumSpringGreen MediumTurquoise MediumVioletRed MidnightBlue MintCream MistyRose Moccasin NavajoWhite
    Navy OldLace Olive OliveDrab Orange OrangeRed Orchid PaleGoldenRod PaleGreen PaleTurquoise PaleVioletRed
    PapayaWhip PeachPuff Peru Pink Plum PowderBlue Purple Red RosyBrown RoyalBlue SaddleBrown Salmon
    SandyBrown SeaGreen SeaShell Sienna Silver SkyBlue SlateBlue SlateGray Snow SpringGreen SteelBlue Tan
    Teal Thistle Tomato Turquoise Violet Wheat White WhiteSmoke Yellow YellowGreen
""".split()


TAXI_TRIPS = 4_000
PLACES = 60
# As many trips fall to the place of rank r as to r to the power of minus this one.
POPULARITY = 1.1
MONTH = np.datetime64("2021-01-01T00:00:00", "s")
HIGHEST_PLACE = 265
# Trips in each hour of the day, from midnight on, in per mille.
HOURS = (12, 8, 6, 5, 6, 10, 26, 45, 56, 55, 54, 55, 57, 58, 63, 70, 72, 76, 72, 58, 45, 36, 31, 24)
MINUTES_BEFORE_MOVING = 3.5
MINUTES_PER_MILE = 2.9
STANDING_STILL = 0.02  # share of the trips on which the meter ran for seconds or for hours
WITHOUT_DETAILS = 0.45  # share of the trips of which one vendor tells the fare alone


def churn(seed: int = SEED) -> pd.DataFrame:
    """Draw the customers of a travel agency, of whom some left.

    Parameters
    ----------
    seed : int
        Seed of the generator (PCG64).

    Returns
    -------
    pandas.DataFrame
        954 rows. Age (int64, years), FrequentFlyer, AnnualIncomeClass (str), ServicesOpted (int64, 1 to 6),
        AccountSyncedToSocialMedia, BookedHotelOrNot (str, Yes or No), Target (int64, 1 in the 224 rows
        of those who left, else 0). No nulls.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    segment = rng.choice(len(SEGMENTS), CHURN_ROWS, p=list(SEGMENTS.values()))
    income, flyer = np.array(list(SEGMENTS), dtype=object)[segment].T
    flies = flyer == "Yes"
    age = rng.choice(list(AGES), CHURN_ROWS, p=list(AGES.values()))

    services = np.zeros(CHURN_ROWS, dtype=np.int64)
    for (level, often), shares in SERVICES.items():
        rows = (income == level) & (flies == often)
        services[rows] = 1 + rng.choice(6, rows.sum(), p=shares)

    synced = (rng.random(CHURN_ROWS) < [SYNCED[level] for level in income]) & (services < 6)
    booked_share = np.select(
        [(services == 6) | ((income == "Middle Income") & (services == 1)), services == 2],
        [1.0, BOOKED_WITH_TWO_SERVICES],
        [BOOKED[level] for level in income],
    )
    booked = rng.random(CHURN_ROWS) < booked_share

    # Narrow rules over several columns decide nearly all. A tree finds them and a straight line does not.
    low, middle, high = (income == level for level in SYNCED)
    young = age <= 28
    rules = [
        (flies & young, 0.98),
        (~flies & young & (services == 2), 0.98),
        (~flies & young & (services >= 4), 0.35),
        (~flies & low & synced & (services == 2), 0.95),
        (~flies & low & synced & (services > 2), 0.30),
        (middle & (age >= 35) & (services == 5), 0.98),
        (flies & synced & (services <= 2), 0.55),
        (flies & synced, 0.90),
        (high & (services == 6), 0.98),
        (high & ~booked, 0.50),
    ]  # the first that fits gives the probability of leaving; where none fits, 0.01
    leaving = np.select([rows for rows, _ in rules], [share for _, share in rules], 0.01)
    # With logistic noise a score above 0 has just that probability. The 224 highest are taken instead of all
    # above 0, so that the number of those who left does not depend on the seed.
    score = np.log(leaving / (1 - leaving)) + rng.logistic(size=CHURN_ROWS)
    left = np.zeros(CHURN_ROWS, dtype=np.int64)
    left[np.argsort(-score, kind="stable")[:CHURNED]] = 1

    return pd.DataFrame(
        {
            "Age": age,
            "FrequentFlyer": flyer,
            "AnnualIncomeClass": income,
            "ServicesOpted": services,
            "AccountSyncedToSocialMedia": np.where(synced, "Yes", "No"),
            "BookedHotelOrNot": np.where(booked, "Yes", "No"),
            "Target": left,
        }
    )


def ecommerce(seed: int = SEED) -> pd.DataFrame:
    """Draw the customers of a clothes shop and what each spends in a year.

    Parameters
    ----------
    seed : int
        Seed of the generator (PCG64).

    Returns
    -------
    pandas.DataFrame
        500 rows. Email (str, unique), Address (str, two lines), Avatar (str, a web colour), Avg. Session
        Length, Time on App, Time on Website (float64, minutes), Length of Membership (float64, years), Yearly
        Amount Spent (float64, dollars). No nulls.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    numbers = {column: rng.normal(mean, 1.0, ECOMMERCE_ROWS) for column, (mean, _) in HABITS.items()}
    numbers["Length of Membership"] = np.maximum(numbers["Length of Membership"], SHORTEST_MEMBERSHIP)
    # Summed column by column: a matrix product may round differently from machine to machine.
    spent = INTERCEPT + rng.normal(0.0, NOISE, ECOMMERCE_ROWS)
    for column, (_, coefficient) in HABITS.items():
        spent = spent + coefficient * numbers[column]

    emails: dict[str, None] = {}  # keeps the order and holds each address once
    while len(emails) < ECOMMERCE_ROWS:
        emails[_email(rng)] = None
    return pd.DataFrame(
        {
            "Email": list(emails),
            "Address": [_address(rng) for _ in range(ECOMMERCE_ROWS)],
            "Avatar": [_pick(rng, COLOURS) for _ in range(ECOMMERCE_ROWS)],
            **numbers,
            "Yearly Amount Spent": spent,
        }
    )


def taxi(seed: int = SEED) -> pd.DataFrame:
    """Draw a month of trips by green taxis, with the columns of New York's records.

    Parameters
    ----------
    seed : int
        Seed of the generator (PCG64).

    Returns
    -------
    pandas.DataFrame
        4000 rows in the order of the pick-ups. VendorID, PULocationID, DOLocationID (int64),
        lpep_pickup_datetime, lpep_dropoff_datetime (datetime64[us]), store_and_fwd_flag (str, N or Y), ehail_fee (all
        missing), the others float64: trip_distance in miles, amounts in dollars. The details of a trip
        (store_and_fwd_flag, RatecodeID, passenger_count, payment_type, trip_type, congestion_surcharge) are missing
        together.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    share = np.arange(1, PLACES + 1) ** -POPULARITY
    places = np.sort(rng.permutation(np.arange(1, HIGHEST_PLACE + 1))[:PLACES])
    names = rng.permutation(places)
    where = rng.uniform(0, 7, (PLACES, 2))  # miles
    start = rng.choice(PLACES, TAXI_TRIPS, p=share / share.sum())
    # People go where many go, and seldom far.
    apart = np.sqrt(((where[:, None, :] - where[None, :, :]) ** 2).sum(axis=2))
    wanted = share * np.exp(-apart / 2.5)
    reach = (wanted / wanted.sum(axis=1, keepdims=True)).cumsum(axis=1)
    end = np.minimum((rng.random(TAXI_TRIPS)[:, None] > reach[start]).sum(axis=1), PLACES - 1)

    miles = (0.6 + 1.25 * apart[start, end]) * rng.lognormal(0, 0.18, TAXI_TRIPS)
    hour = rng.choice(24, TAXI_TRIPS, p=np.array(HOURS) / sum(HOURS))
    day = rng.integers(31, size=TAXI_TRIPS)
    second = day * 86_400 + hour * 3_600 + rng.integers(3_600, size=TAXI_TRIPS)
    busy = np.where((hour >= 8) & (hour <= 18), 1.15, 0.85)
    slow = rng.uniform(0.85, 1.2, PLACES)[start]
    minutes = (MINUTES_BEFORE_MOVING + MINUTES_PER_MILE * miles * busy * slow) * rng.lognormal(0, 0.22, TAXI_TRIPS)
    still = rng.random(TAXI_TRIPS) < STANDING_STILL
    minutes = np.where(still, rng.choice([0.3, 0.8, 95.0, 1_400.0], TAXI_TRIPS), minutes)

    fare = np.round((2.5 + 2.1 * miles + 0.35 * minutes.clip(0, 60)) * 2) / 2
    extra = np.where((hour >= 16) & (hour < 20), 1.0, np.where((hour >= 20) | (hour < 6), 0.5, 0.0))
    tip = np.where(rng.random(TAXI_TRIPS) < 0.4, np.round(fare * rng.uniform(0.1, 0.25, TAXI_TRIPS), 2), 0.0)
    tolls = np.where(rng.random(TAXI_TRIPS) < 0.03, 6.12, 0.0)
    known = rng.random(TAXI_TRIPS) >= WITHOUT_DETAILS
    congestion = np.where(rng.random(TAXI_TRIPS) < 0.2, 2.75, 0.0)
    passengers = rng.choice([1.0, 2.0, 3.0, 5.0], TAXI_TRIPS, p=[0.9, 0.06, 0.02, 0.02])
    picked_up = MONTH + second.astype("timedelta64[s]")
    table = pd.DataFrame(
        {
            "VendorID": 1 + (rng.random(TAXI_TRIPS) < 0.9).astype(np.int64),
            "lpep_pickup_datetime": picked_up.astype("datetime64[us]"),
            "lpep_dropoff_datetime": (picked_up + np.round(minutes * 60).astype("timedelta64[s]")).astype(
                "datetime64[us]"
            ),
            "store_and_fwd_flag": np.where(known, np.where(rng.random(TAXI_TRIPS) < 0.01, "Y", "N"), None),
            "RatecodeID": np.where(known, np.where(rng.random(TAXI_TRIPS) < 0.03, 5.0, 1.0), np.nan),
            "PULocationID": names[start].astype(np.int64),
            "DOLocationID": names[end].astype(np.int64),
            "passenger_count": np.where(known, passengers, np.nan),
            "trip_distance": np.round(miles, 2),
            "fare_amount": fare,
            "extra": extra,
            "mta_tax": 0.5,
            "tip_amount": tip,
            "tolls_amount": tolls,
            "ehail_fee": None,
            "improvement_surcharge": 0.3,
            "total_amount": np.round(fare + extra + 0.8 + tip + tolls + np.where(known, congestion, 0.0), 2),
            "payment_type": np.where(known, np.where(tip > 0, 1.0, 2.0), np.nan),
            "trip_type": np.where(known, 1.0, np.nan),
            "congestion_surcharge": np.where(known, congestion, np.nan),
        }
    )
    return table.sort_values("lpep_pickup_datetime", kind="stable", ignore_index=True)


def iris() -> pd.DataFrame:
    """Export scikit-learn's iris table.

    Returns
    -------
    pandas.DataFrame
        150 rows. sepal_length, sepal_width, petal_length, petal_width (float64, cm), species (str). No nulls.
    """
    bunch = load_iris()
    table = pd.DataFrame(bunch.data, columns=["sepal_length", "sepal_width", "petal_length", "petal_width"])
    return table.assign(species=bunch.target_names[bunch.target])


def diabetes() -> pd.DataFrame:
    """Export scikit-learn's diabetes table in the units it was measured in.

    Returns
    -------
    pandas.DataFrame
        442 rows. age, sex, bmi, bp, s1 to s6, progression (float64). No nulls.
    """
    bunch = load_diabetes(scaled=False)
    return pd.DataFrame(bunch.data, columns=bunch.feature_names).assign(progression=bunch.target)


def write_all(folder: Path) -> None:
    """Write the tables, named like their functions, into a folder that exists: `taxi` as Parquet, the others as CSV.

    Parameters
    ----------
    folder : pathlib.Path
        Files of the same names in it are replaced.
    """
    for make in (churn, ecommerce, iris, diabetes):
        make().to_csv(folder / f"{make.__name__}.csv", index=False, encoding="utf-8", lineterminator="\n")
    taxi().to_parquet(folder / "taxi.parquet", index=False, compression="zstd")


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _digits(rng: np.random.Generator, count: int) -> str:
    return f"{rng.integers(10**count):0{count}d}"


def _email(rng: np.random.Generator) -> str:
    first, last = _pick(rng, FIRST_NAMES).lower(), _pick(rng, LAST_NAMES).lower()
    name = _pick(rng, [first + last, last + first, first[0] + last, first + _digits(rng, 2)])
    return f"{name}@{_pick(rng, MAIL_DOMAINS)}"


def _address(rng: np.random.Generator) -> str:
    code = _digits(rng, 5) + _pick(rng, ["", "-" + _digits(rng, 4)])
    if rng.random() < 0.09:  # a military post office, whose address has another shape
        return f"PSC {_digits(rng, 4)}, Box {_digits(rng, 4)}\nAPO {_pick(rng, ['AA', 'AE', 'AP'])} {code}"
    unit = _pick(rng, ["", "", f" Apt. {_digits(rng, 3)}", f" Suite {_digits(rng, 3)}"])
    street = f"{_digits(rng, int(rng.integers(3, 6)))} {_pick(rng, LAST_NAMES)} {_pick(rng, STREETS)}{unit}"
    name = _pick(rng, LAST_NAMES)
    city = _pick(rng, [f"{_pick(rng, CITY_STARTS)} {_pick(rng, FIRST_NAMES)}", name + _pick(rng, CITY_ENDS)])
    return f"{street}\n{city}, {_pick(rng, STATES)} {code}"


if __name__ == "__main__":
    write_all(Path(__file__).parent)

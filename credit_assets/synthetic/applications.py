"""Draws the application table of a chunk of synthetic applicants, and the traits that their histories depend on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_assets.synthetic import vocabulary as v
from credit_assets.synthetic.draws import Categorical, blend, curve, on_grid, pick, pick_by, pick_names, sigmoid
from credit_assets.synthetic.risk import INFLATION, Traits, draw_outcomes, draw_traits

Columns = dict[str, np.ndarray | Categorical]
Numbers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Applicants:
    """A chunk of applicants: their ids, hidden traits and what their histories depend on."""

    ids: np.ndarray
    traits: Traits
    income: np.ndarray
    has_bureau: np.ndarray
    target: np.ndarray


def draw_applicants(
    streams: tuple[np.random.Generator, np.random.Generator], ids: np.ndarray, scenario: str | None
) -> tuple[Applicants, Columns]:
    """Draw applicants and their application columns, in the source's order, including TARGET.

    The first stream draws the applicants, the second only their outcomes, so that changing how outcomes are drawn
    leaves all inputs the same.
    """
    rng, outcome_rng = streams
    traits = draw_traits(rng, len(ids), scenario)
    person, terms = _person(rng, traits)
    loan, loan_terms = _loan(rng, traits, person, scenario)
    terms = terms + loan_terms
    has_bureau = rng.random(len(ids)) < np.where(traits.channel, 0.45, sigmoid(1.85 + 0.35 * traits.age))
    scores, score_2 = _external_scores(rng, traits, terms, has_bureau)
    rest = _contacts(rng, traits) | _building(rng, terms) | _enquiries(rng, traits, has_bureau)
    target = draw_outcomes(outcome_rng, traits, terms, score_2, scenario)
    columns = {"SK_ID_CURR": ids, "TARGET": target} | person | loan | scores | rest
    applicants = Applicants(ids, traits, np.asarray(columns["AMT_INCOME_TOTAL"]), has_bureau, target)
    return applicants, {name: columns[name] for name in APPLICATION_COLUMNS}


def _person(rng: np.random.Generator, traits: Traits) -> tuple[Columns, np.ndarray]:
    """Columns that describe the applicant, and their log-odds of default."""
    size, male = len(traits.age), traits.male
    age_days = np.round(curve(traits.age, v.AGE_DAYS))
    band = np.searchsorted(v.AGE_BANDS, age_days / 365.25, side="right")
    income_type = pick_by(rng, band, v.INCOME_TYPE_SHARES)
    idle = np.isin(income_type, (v.INCOME_TYPES.index("Pensioner"), v.INCOME_TYPES.index("Unemployed")))
    education = pick_by(rng, np.searchsorted((1, 3, 6), band, side="right"), v.EDUCATION_SHARES)
    family = pick_by(rng, band, v.FAMILY_STATUS_SHARES)
    children = pick_by(rng, band, v.CHILDREN_SHARES).astype(np.int64)
    housing = pick_by(rng, np.searchsorted((1, 2, 4), band, side="right"), v.HOUSING_SHARES)
    occupation = pick_by(rng, male.astype(np.int8), v.OCCUPATION_SHARES)
    known = ~idle & (rng.random(size) > 0.158)
    organization = pick_by(rng, male.astype(np.int8), list(zip(*v.ORGANIZATIONS.values(), strict=True)))
    own_car = rng.random(size) < np.where(male, 0.57, 0.22) * np.where(band < 1, 0.6, 1.03) * np.where(band > 7, 0.6, 1)
    employment, employed = _employment(rng, traits, age_days)
    place, rating, with_city, population = _region(rng, size)
    works_away, away_from_home = _away_from_home(rng, idle, band)
    income = _income(rng, traits, education, occupation, idle, place)
    registration, publish, phone = _days_of_changes(rng, traits, age_days)
    car_age = np.round(curve(blend(-np.log(income / 150_000) * 1.4, rng, 0.3), v.CAR_AGE))
    risk = (
        np.take(v.INCOME_TYPE_RISK, income_type)
        + np.take(v.EDUCATION_RISK, education)
        + np.take(v.HOUSING_RISK, housing)
        + np.where(known, np.take(v.OCCUPATION_RISK, occupation), -0.05)
        + np.where(idle, 0.0, _organization_risk(organization) - 0.24 * employment)
        + np.where(own_car, -0.12, 0.04)
        + 0.26 * (rating - 2)
        + 0.13 * works_away
        + 0.20 * traits.channel
    )
    columns: Columns = {
        "CODE_GENDER": Categorical(np.where(rng.random(size) < 0.000013, 2, male).astype(np.int8), ("F", "M", "XNA")),
        "FLAG_OWN_CAR": Categorical(own_car.astype(np.int8), ("N", "Y")),
        "FLAG_OWN_REALTY": pick_names(rng, size, {"N": 0.306, "Y": 0.694}),
        "CNT_CHILDREN": children,
        "AMT_INCOME_TOTAL": income,
        "NAME_INCOME_TYPE": Categorical(income_type, v.INCOME_TYPES),
        "NAME_EDUCATION_TYPE": Categorical(education, v.EDUCATION),
        "NAME_FAMILY_STATUS": Categorical(family, v.FAMILY_STATUS),
        "NAME_HOUSING_TYPE": Categorical(housing, v.HOUSING),
        "REGION_POPULATION_RELATIVE": population,
        "DAYS_BIRTH": -age_days.astype(np.int64),
        "DAYS_EMPLOYED": np.where(idle, 365243, -np.maximum(employed, 1)).astype(np.int64),
        "DAYS_REGISTRATION": -np.round(registration),
        "DAYS_ID_PUBLISH": -np.round(np.minimum(publish, age_days - 5000)).astype(np.int64),
        "OWN_CAR_AGE": np.where(own_car, car_age, np.nan),
        "FLAG_EMP_PHONE": (~idle).astype(np.int8),
        "FLAG_WORK_PHONE": (~idle & (rng.random(size) < 0.243)).astype(np.int8),
        "OCCUPATION_TYPE": Categorical(np.where(known, occupation, -1).astype(np.int8), v.OCCUPATIONS),
        "CNT_FAM_MEMBERS": np.where(rng.random(size) < 0.000007, np.nan, children + 2.0 - np.isin(family, (1, 3, 4))),
        "REGION_RATING_CLIENT": rating,
        "REGION_RATING_CLIENT_W_CITY": with_city,
        **away_from_home,
        "ORGANIZATION_TYPE": Categorical(np.where(idle, len(v.ORGANIZATIONS), organization), (*v.ORGANIZATIONS, "XNA")),
        "DAYS_LAST_PHONE_CHANGE": np.where(rng.random(size) < 0.000003, np.nan, -np.round(phone)),
    }
    return columns, risk


def _employment(rng: np.random.Generator, traits: Traits, age_days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The length of employment: as a standard normal, and in days."""
    employment = blend(0.75 * traits.age - 0.5 * traits.channel, rng, 0.55)
    return employment, np.minimum(np.round(curve(employment, v.DAYS_EMPLOYED_BY_AGE)), age_days - 6200)


def _days_of_changes(
    rng: np.random.Generator, traits: Traits, age_days: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Days since the registration, the identity document and the telephone number changed."""
    registration = np.minimum(curve(blend(traits.age, rng, 0.30), v.DAYS_REGISTRATION), age_days - 1)
    publish = curve(blend(0.9 * traits.age - 0.35 * traits.ability, rng, 0.28), v.DAYS_ID_PUBLISH)
    phone_age = blend(0.2 * traits.age - 0.5 * traits.ability, rng, 0.25)
    recent = rng.random(len(age_days)) < 0.123 + 0.1 * traits.channel
    return registration, publish, np.where(recent, 0, curve(phone_age, v.DAYS_PHONE_CHANGE))


def _organization_risk(organization: np.ndarray) -> np.ndarray:
    """The employer type's contribution to the log-odds of default."""
    return np.array([v.RISKY_ORGANIZATIONS.get(word, 0.0) for word in v.ORGANIZATIONS])[organization]


def _region(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The region: its prosperity (standard normal), its rating, its rating with the city, and its relative
    population."""
    from scipy.special import ndtr, ndtri

    place = rng.standard_normal(size)
    rating = 1 + np.searchsorted((-1.01, 1.25), -place, side="right")
    with_city = np.where(rng.random(size) < 0.02, np.clip(rating - 1, 1, 3), rating)
    level = np.floor(ndtr(blend(place, rng, 0.55)) * v.POPULATION_LEVELS).astype(int)
    levels = ndtri((np.arange(v.POPULATION_LEVELS) + 0.5) / v.POPULATION_LEVELS)
    return place, rating, with_city, np.round(curve(levels, v.POPULATION_RELATIVE), 6)[level]


def _away_from_home(rng: np.random.Generator, idle: np.ndarray, band: np.ndarray) -> tuple[np.ndarray, Columns]:
    """Who works in another city, and flags for living or working in another region or city than the registered one."""
    size = len(idle)
    region_live = rng.random(size) < 0.015
    region_work = ~idle & (rng.random(size) < 0.048)
    moved = rng.random(size) < np.where(band < 3, 0.115, 0.062)
    away = ~idle & (rng.random(size) < np.where(band < 3, 0.28, 0.25))
    works_away = ~idle & ((away & (rng.random(size) < 0.93)) | (moved & (rng.random(size) < 0.6)))
    return works_away, {
        "REG_REGION_NOT_LIVE_REGION": region_live.astype(np.int8),
        "REG_REGION_NOT_WORK_REGION": (region_work | (region_live & ~idle)).astype(np.int8),
        "LIVE_REGION_NOT_WORK_REGION": (region_work & ~region_live).astype(np.int8),
        "REG_CITY_NOT_LIVE_CITY": moved.astype(np.int8),
        "REG_CITY_NOT_WORK_CITY": works_away.astype(np.int8),
        "LIVE_CITY_NOT_WORK_CITY": (away & works_away).astype(np.int8),
    }


def _income(
    rng: np.random.Generator, traits: Traits, education: np.ndarray, occupation: np.ndarray, idle: np.ndarray,
    place: np.ndarray,
) -> np.ndarray:  # fmt: skip
    size = len(education)
    manager = v.OCCUPATIONS.index("Managers")
    location = (
        11.74
        + 0.22 * np.isin(education, (1, 4))
        + 0.20 * traits.male
        + 0.22 * (~idle & (occupation == manager))
        - 0.17 * idle
        + 0.10 * place
        - 0.05 * traits.ability
    )
    income = np.exp(location + 0.45 * rng.standard_normal(size))
    step = np.take((22_500.0, 4_500.0, 450.0), pick(rng, size, (0.55, 0.37, 0.08)))
    return np.clip(on_grid(income, step), 25_650.0, 9_000_000.0)


def _loan(
    rng: np.random.Generator, traits: Traits, person: Columns, scenario: str | None
) -> tuple[Columns, np.ndarray]:
    """Columns of the requested loan, and the log-odds of default of its terms."""
    size, income = len(traits.age), np.asarray(person["AMT_INCOME_TOTAL"])
    revolving = rng.random(size) < np.where(traits.channel, 0.30, 0.095)
    appetite = rng.standard_normal(size)
    wanted = np.exp(13.06 + 0.55 * np.log(income / 150_000) + 0.63 * appetite - 0.75 * traits.channel)
    step = np.take((225_000.0, 45_000.0, 4_500.0), pick(rng, size, (0.30, 0.32, 0.38)))
    goods = np.clip(on_grid(np.where(revolving, 0.62 * wanted, wanted), step), 45_000.0, 4_050_000.0)
    insurance = np.where(rng.random(size) < 0.33, 0.0, np.clip(0.19 + 0.1 * rng.standard_normal(size), 0.02, 0.6))
    credit = np.where(revolving, goods, on_grid(goods * (1.0 + insurance), 4.5))
    months = np.take((12.0, 18.0, 24.0, 30.0, 36.0, 48.0, 60.0), pick_by(
        rng, (goods > 300_000).astype(int) + (goods > 700_000),
        ((0.38, 0.25, 0.19, 0.08, 0.06, 0.03, 0.01), (0.06, 0.20, 0.28, 0.18, 0.18, 0.07, 0.03),
         (0.01, 0.05, 0.18, 0.22, 0.32, 0.14, 0.08)),
    ))  # fmt: skip
    rate = np.clip(0.0145 + 0.005 * rng.standard_normal(size), 0.002, 0.04)
    annuity = np.where(revolving, 0.05 * credit, credit * rate / (1.0 - (1.0 + rate) ** -months))
    risk = np.where(revolving, -0.55, 1.1 * (insurance - 0.12) + 7.0 * (rate - 0.0145)) + 0.16 * (
        np.log(annuity / income) + 1.8
    ).clip(-2.0, 2.0)
    if scenario == "income_inflation":
        person["AMT_INCOME_TOTAL"] = income * INFLATION
        goods, credit, annuity = goods * INFLATION, credit * INFLATION, annuity * INFLATION
    day = pick(rng, size, v.WEEKDAY_SHARES)
    hour = np.clip(np.round(12.06 + 3.26 * rng.standard_normal(size) + 5.0 * traits.channel), 0, 23)
    main = np.where(revolving, 0, pick(rng, size, v.MAIN_DOCUMENT_SHARES))
    columns: Columns = {
        "NAME_CONTRACT_TYPE": Categorical(revolving.astype(np.int8), ("Cash loans", "Revolving loans")),
        "AMT_CREDIT": on_grid(credit, 4.5),
        "AMT_ANNUITY": np.where(rng.random(size) < 0.00004, np.nan, on_grid(annuity, 4.5)),
        "AMT_GOODS_PRICE": np.where(revolving & (rng.random(size) < 0.009), np.nan, goods),
        "NAME_TYPE_SUITE": _missing(pick_names(rng, size, v.TYPE_SUITE), rng.random(size) < 0.0042),
        "WEEKDAY_APPR_PROCESS_START": Categorical(day, v.WEEKDAYS),
        "HOUR_APPR_PROCESS_START": hour.astype(np.int64),
    }
    for number in range(2, 22):
        flag = main == number - 1 if number < 10 else rng.random(size) < v.EXTRA_DOCUMENT_SHARES[number]
        columns[f"FLAG_DOCUMENT_{number}"] = flag.astype(np.int8)
    return columns, risk


def _external_scores(
    rng: np.random.Generator, traits: Traits, terms: np.ndarray, has_bureau: np.ndarray
) -> tuple[Columns, np.ndarray]:
    """The three external scores, and the standard normal behind the second one."""
    size = len(terms)
    standing = -(1.05 * traits.ability + terms + 0.25 * traits.debt)
    standing = (standing + 0.07) / 1.24
    score_1 = 0.55 * standing + 0.45 * traits.age + 0.68 * rng.standard_normal(size)
    score_2 = 0.66 * standing + 0.75 * rng.standard_normal(size)
    score_3 = 0.63 * standing - 0.12 * traits.discipline + 0.76 * rng.standard_normal(size)
    gap_1 = rng.random(size) < np.where(traits.channel, 0.80, sigmoid(0.27 + 0.45 * traits.age))
    gap_3 = rng.random(size) < np.where(has_bureau, 0.105, 0.75)
    columns: Columns = {
        "EXT_SOURCE_1": np.where(gap_1, np.nan, curve(score_1, v.EXT_SOURCE_1)),
        "EXT_SOURCE_2": np.where(rng.random(size) < 0.0021, np.nan, curve(score_2, v.EXT_SOURCE_2)),
        "EXT_SOURCE_3": np.where(gap_3, np.nan, curve(score_3, v.EXT_SOURCE_3)),
    }
    return columns, score_2


def _contacts(rng: np.random.Generator, traits: Traits) -> Columns:
    size = len(traits.age)
    observed = rng.poisson(1.42 * rng.gamma(0.47, 1 / 0.47, size))
    late_30 = rng.binomial(observed, np.clip(0.095 * np.exp(0.25 * traits.ability), 0, 0.8))
    observed_60 = observed - (rng.random(size) < 0.015 * observed)
    late_60 = np.minimum(rng.binomial(late_30, 0.69), observed_60)
    unknown = rng.random(size) < 0.0033
    circle = {
        "OBS_30_CNT_SOCIAL_CIRCLE": observed,
        "DEF_30_CNT_SOCIAL_CIRCLE": late_30,
        "OBS_60_CNT_SOCIAL_CIRCLE": observed_60,
        "DEF_60_CNT_SOCIAL_CIRCLE": late_60,
    }
    return {
        "FLAG_MOBIL": np.ones(size, dtype=np.int8),
        "FLAG_CONT_MOBILE": (rng.random(size) < 0.998).astype(np.int8),
        "FLAG_PHONE": (rng.random(size) < 0.281 - 0.02 * traits.ability).astype(np.int8),
        "FLAG_EMAIL": (rng.random(size) < np.where(traits.channel, 0.6, 0.057)).astype(np.int8),
        **{name: np.where(unknown, np.nan, count) for name, count in circle.items()},
    }


def _enquiries(rng: np.random.Generator, traits: Traits, has_bureau: np.ndarray) -> Columns:
    """Credit bureau enquiries in the last hour, day, week, month, quarter and year; all missing together."""
    size = len(traits.age)
    unknown = rng.random(size) < np.where(has_bureau, 0.045, 0.66)
    drive = np.exp(0.22 * traits.debt)
    means = {"HOUR": 0.0064, "DAY": 0.007, "WEEK": 0.034, "MON": 0.267, "QRT": 0.265, "YEAR": 1.9}
    unevenness = {"MON": 0.25, "QRT": 0.8, "YEAR": 2.2}
    columns: Columns = {}
    for period, mean in means.items():
        shape = unevenness.get(period, 1.0)
        number = rng.poisson(mean * drive * rng.gamma(shape, 1.0 / shape, size))
        columns[f"AMT_REQ_CREDIT_BUREAU_{period}"] = np.where(unknown, np.nan, np.minimum(number, 27))
    return columns


def _building(rng: np.random.Generator, terms: np.ndarray) -> Columns:
    """Normalised facts about the applicant's building: missing together, and correlated through its size."""
    from scipy.special import ndtri

    size = len(terms)
    building = blend(-terms, rng, 0.2)
    described = rng.standard_normal(size)
    columns: Columns = {}

    def gap(share: float) -> np.ndarray:
        return 0.95 * described + 0.31 * rng.standard_normal(size) < ndtri(share)

    for name, (share, quantiles) in v.BUILDING.items():
        missing = gap(share)
        base = curve(blend(building, rng, 0.75), quantiles)
        for suffix, spread in (("AVG", 0.0), ("MODE", 0.06), ("MEDI", 0.02)):
            # Years are close to 1; their distance to 1 varies.
            near = 1.0 - base if name.startswith("YEARS") else base
            near = near * (1.0 + spread * rng.standard_normal(size))
            value = 1.0 - near if name.startswith("YEARS") else near
            columns[f"{name}_{suffix}"] = np.where(missing, np.nan, np.round(np.clip(value, 0.0, 1.0), 4))
    share, quantiles = v.TOTALAREA
    columns["TOTALAREA_MODE"] = np.where(gap(share), np.nan, np.round(curve(blend(building, rng, 0.85), quantiles), 4))
    for column, (share, shares) in {
        "FONDKAPREMONT_MODE": v.FONDKAPREMONT, "HOUSETYPE_MODE": v.HOUSETYPE, "WALLSMATERIAL_MODE": v.WALLS,
        "EMERGENCYSTATE_MODE": v.EMERGENCY,
    }.items():  # fmt: skip
        columns[column] = _missing(pick_names(rng, size, shares), gap(share))
    return columns


def _missing(column: Categorical, rows: np.ndarray) -> Categorical:
    return Categorical(np.where(rows, -1, column.codes).astype(np.int8), column.names)


APPLICATION_COLUMNS = (
    "SK_ID_CURR", "TARGET", "NAME_CONTRACT_TYPE", "CODE_GENDER", "FLAG_OWN_CAR", "FLAG_OWN_REALTY",
    "CNT_CHILDREN", "AMT_INCOME_TOTAL", "AMT_CREDIT", "AMT_ANNUITY", "AMT_GOODS_PRICE", "NAME_TYPE_SUITE",
    "NAME_INCOME_TYPE", "NAME_EDUCATION_TYPE", "NAME_FAMILY_STATUS", "NAME_HOUSING_TYPE",
    "REGION_POPULATION_RELATIVE", "DAYS_BIRTH", "DAYS_EMPLOYED", "DAYS_REGISTRATION", "DAYS_ID_PUBLISH",
    "OWN_CAR_AGE", "FLAG_MOBIL", "FLAG_EMP_PHONE", "FLAG_WORK_PHONE", "FLAG_CONT_MOBILE", "FLAG_PHONE",
    "FLAG_EMAIL", "OCCUPATION_TYPE", "CNT_FAM_MEMBERS", "REGION_RATING_CLIENT", "REGION_RATING_CLIENT_W_CITY",
    "WEEKDAY_APPR_PROCESS_START", "HOUR_APPR_PROCESS_START", "REG_REGION_NOT_LIVE_REGION",
    "REG_REGION_NOT_WORK_REGION", "LIVE_REGION_NOT_WORK_REGION", "REG_CITY_NOT_LIVE_CITY",
    "REG_CITY_NOT_WORK_CITY", "LIVE_CITY_NOT_WORK_CITY", "ORGANIZATION_TYPE", "EXT_SOURCE_1", "EXT_SOURCE_2",
    "EXT_SOURCE_3", *(f"{name}_{suffix}" for suffix in ("AVG", "MODE", "MEDI") for name in v.BUILDING),
    "FONDKAPREMONT_MODE", "HOUSETYPE_MODE", "TOTALAREA_MODE", "WALLSMATERIAL_MODE", "EMERGENCYSTATE_MODE",
    "OBS_30_CNT_SOCIAL_CIRCLE", "DEF_30_CNT_SOCIAL_CIRCLE", "OBS_60_CNT_SOCIAL_CIRCLE",
    "DEF_60_CNT_SOCIAL_CIRCLE", "DAYS_LAST_PHONE_CHANGE",
    *(f"FLAG_DOCUMENT_{number}" for number in range(2, 22)),
    *(f"AMT_REQ_CREDIT_BUREAU_{period}" for period in ("HOUR", "DAY", "WEEK", "MON", "QRT", "YEAR")),
)  # fmt: skip

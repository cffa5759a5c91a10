"""Draws the applicants' earlier applications with the lender: previous_application, and the contracts that were
granted, from which point-of-sale, instalment and card histories are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_assets.synthetic import vocabulary as v
from credit_assets.synthetic.applications import Applicants, Columns, Numbers
from credit_assets.synthetic.draws import Categorical, counts, curve, on_grid, pick, pick_by, sigmoid, spread

NEVER = 365243.0
CASH, CONSUMER, REVOLVING, UNKNOWN = range(4)
CONTRACT_TYPES = ("Cash loans", "Consumer loans", "Revolving loans", "XNA")
APPROVED, CANCELED, REFUSED, UNUSED = range(4)
STATUSES = ("Approved", "Canceled", "Refused", "Unused offer")
# Shares of (approved, cancelled, unused) among applications that are not refused, and the refused share, by type.
NOT_REFUSED_SHARES = ((0.535, 0.464, 0.001), (0.955, 0.0018, 0.0432), (0.73, 0.27, 0.0), (0.0, 1.0, 0.0))
REFUSED_SHARE = np.array((0.205, 0.105, 0.235, 0.0))
DAYS_DECISION = (
    (2, 10, 60, 200, 385, 830, 2050, 2650, 2922),
    (2, 30, 155, 530, 1090, 1950, 2690, 2880, 2922),
    (2, 15, 110, 310, 690, 1900, 2750, 2880, 2922),
    (2, 30, 100, 300, 480, 560, 800, 900, 1000),
)
MONTHS = (6, 12, 18, 24, 30, 36, 48, 60, 10, 8, 4, 14)
MONTH_SHARES = (
    (0.115, 0.40, 0.19, 0.165, 0.036, 0.05, 0.03, 0.014, 0.0, 0.0, 0.0, 0.0),
    (0.245, 0.32, 0.034, 0.080, 0.002, 0.006, 0.0, 0.0, 0.197, 0.044, 0.038, 0.034),
    (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.05, 0.08, 0.215, 0.036, 0.26, 0.19, 0.169, 0.0, 0.0, 0.0, 0.0),  # cash loans above LARGE_CASH
)
LARGE_CASH = 300_000.0
REJECT_REASONS = ("XAP", "HC", "LIMIT", "SCO", "CLIENT", "SCOFR", "XNA", "VERIF", "SYSTEM")
REJECT_SHARES = (
    (0.0, 0.722, 0.131, 0.075, 0.0, 0.045, 0.007, 0.019, 0.001),
    (0.0, 0.309, 0.396, 0.243, 0.0, 0.0085, 0.032, 0.011, 0.0),
    (0.0, 0.703, 0.089, 0.056, 0.0, 0.114, 0.028, 0.001, 0.008),
)
PURPOSES = {
    "Repairs": 0.27, "Other": 0.18, "Urgent needs": 0.10, "Buying a used car": 0.034,
    "Building a house or an annex": 0.032, "Everyday expenses": 0.029, "Medicine": 0.026,
    "Payments on other loans": 0.023, "Education": 0.019, "Journey": 0.015,
    "Purchase of electronic equipment": 0.0127, "Buying a new car": 0.012, "Wedding / gift / holiday": 0.0115,
    "Buying a home": 0.0103, "Car repairs": 0.0095, "Furniture": 0.0089,
    "Buying a holiday home / land": 0.0064, "Business development": 0.0051,
    "Gasification / water supply": 0.0036, "Buying a garage": 0.0016, "Hobby": 0.0007,
    "Money for a third person": 0.0003, "Refusal to name the goal": 0.0002,
}  # fmt: skip
GOODS = {  # share among consumer loans, seller industry
    "Mobile": (0.308, "Connectivity"), "Consumer Electronics": (0.167, "Consumer electronics"),
    "Computers": (0.145, "Consumer electronics"), "Audio/Video": (0.137, "Consumer electronics"),
    "Furniture": (0.0737, "Furniture"), "Photo / Cinema Equipment": (0.0344, "Consumer electronics"),
    "Construction Materials": (0.0343, "Construction"), "Clothing and Accessories": (0.0323, "Clothing"),
    "Auto Accessories": (0.0101, "Auto technology"), "Jewelry": (0.0086, "Jewelry"),
    "Homewares": (0.0069, "Construction"), "Medical Supplies": (0.0053, "Industry"),
    "Vehicles": (0.0046, "Auto technology"), "Sport and Leisure": (0.0041, "Industry"),
    "Gardening": (0.0037, "Industry"), "Other": (0.0035, "Industry"),
    "Office Appliances": (0.0032, "Industry"), "Tourism": (0.0023, "Tourism"),
    "Medicine": (0.0021, "Industry"), "Direct Sales": (0.0006, "MLM partners"),
    "Fitness": (0.0003, "Industry"), "Additional Service": (0.0002, "Industry"),
    "Education": (0.0001, "Industry"), "Weapon": (0.0001, "Industry"), "Insurance": (0.0001, "Industry"),
    "Animals": (0.00001, "Industry"), "House Construction": (0.00001, "Construction"),
}  # fmt: skip
INDUSTRIES = (
    "XNA", "Consumer electronics", "Connectivity", "Furniture", "Construction", "Clothing", "Industry",
    "Auto technology", "Jewelry", "MLM partners", "Tourism",
)  # fmt: skip
CHANNELS = (
    "Credit and cash offices", "Country-wide", "Stone", "Regional / Local", "Contact center",
    "AP+ (Cash loan)", "Channel of corporate sales", "Car dealer",
)  # fmt: skip
CHANNEL_SHARES = (
    (0.795, 0.055, 0.003, 0.003, 0.090, 0.051, 0.006, 0.0),
    (0.001, 0.595, 0.268, 0.132, 0.0, 0.0, 0.0, 0.0004),
    (0.675, 0.140, 0.019, 0.032, 0.055, 0.075, 0.007, 0.0),
    (0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
)
YIELDS = ("XNA", "high", "middle", "low_normal", "low_action")
YIELD_SHARES = ((0.0, 0.28, 0.42, 0.27, 0.03), (0.0, 0.34, 0.31, 0.254, 0.096), (1.0, 0.0, 0.0, 0.0, 0.0))
MONTHLY_RATES = np.array((0.0, 0.042, 0.027, 0.014, 0.006))
PAYMENTS = (
    "Cash through the bank", "XNA", "Non-cash from your account", "Cashless from the account of the employer",
)  # fmt: skip
PAYMENT_SHARES = (  # granted or refused cash loans, abandoned ones, cards, consumer loans
    (0.84, 0.155, 0.004, 0.001), (0.02, 0.98, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.866, 0.126, 0.0075, 0.0004),
)  # fmt: skip
CLIENT_TYPES = ("Repeater", "New", "Refreshed", "XNA")
PRODUCTS = (
    "Cash", "Cash X-Sell: high", "Cash X-Sell: middle", "Cash X-Sell: low", "Cash Street: high",
    "Cash Street: middle", "Cash Street: low", "POS mobile with interest", "POS mobile without interest",
    "POS household with interest", "POS household without interest", "POS industry with interest",
    "POS industry without interest", "POS other with interest", "POS others without interest", "Card Street",
    "Card X-Sell",
)  # fmt: skip
MISSING_SUITE = (0.34, 0.35, 0.56, 1.0)
SUITE_SHARES = (0.608, 0.245, 0.077, 0.0355, 0.0214, 0.0105, 0.0026)
SUITES = ("Unaccompanied", "Family", "Spouse, partner", "Children", "Other_B", "Other_A", "Group of people")


@dataclass(frozen=True)
class Contracts:
    """Granted contracts, one row each; `owner` indexes the chunk's applicants.

    Days count from the current application. `start` is the due day of a loan's first instalment or the day of a card's
    first drawing (0: never). `months` is the agreed number of instalments, `paid_off` the number after which the client
    pays it off (both 0 for a card). From instalment `lapsed` on (counted from 0; most contracts never reach it) nothing
    is paid.
    """

    ids: np.ndarray
    owner: np.ndarray
    decision: np.ndarray
    start: np.ndarray
    months: np.ndarray
    paid_off: np.ndarray
    lapsed: np.ndarray
    annuity: np.ndarray
    credit: np.ndarray


def draw_previous(rng: np.random.Generator, people: Applicants, first_id: int) -> tuple[Columns, Contracts, Contracts]:
    """Draw previous_application of a chunk (SK_ID_PREV counts up from `first_id`), its loans and its cards."""
    traits, size = people.traits, len(people.ids)
    has = rng.random(size) < np.where(traits.channel, 0.55, 0.951)
    mean = 3.93 * np.exp(0.13 * traits.debt - 0.008) * np.where(traits.channel, 0.35, 1.0)
    owner, position = spread(np.where(has, 1 + counts(rng, mean, 1.07, 76), 0))
    size = len(owner)
    kind = np.where(
        position == 0,
        pick(rng, size, (0.07, 0.91, 0.02, 0.0)),
        pick(rng, size, (0.535, 0.323, 0.140, 0.0003)),
    )
    recent = rng.standard_normal(size) - 0.12 * traits.debt[owner]
    days = np.empty(size)
    for index, quantiles in enumerate(DAYS_DECISION):
        rows = kind == index
        days[rows] = np.round(curve(recent[rows], quantiles))
    order = np.lexsort((-days, owner))
    days, kind = days[order], kind[order]  # rows are sorted within their owner, so `owner` stays the same
    ids = np.arange(first_id, first_id + size)
    status = _status(rng, kind, position, traits.ability[owner], traits.debt[owner])
    blank = (status == CANCELED) | (status == UNUSED) | ((status == REFUSED) & (rng.random(size) < 0.165))
    money, price = _money(rng, people.income[owner], kind, status, blank)
    dates, loans, cards = _contracts(rng, people, ids, owner, kind, status, days, money)
    categories = _categories(rng, kind, status, blank, position, price)
    days_columns = {"DAYS_DECISION": -days.astype(np.int64)}
    flags = {
        "SK_ID_PREV": ids,
        "SK_ID_CURR": people.ids[owner],
        "WEEKDAY_APPR_PROCESS_START": Categorical(pick(rng, size, (1, 1, 1, 1, 1, 0.95, 0.65)), v.WEEKDAYS),
        "HOUR_APPR_PROCESS_START": np.clip(np.round(12.5 + 3.3 * rng.standard_normal(size)), 0, 23).astype(np.int64),
        "NFLAG_LAST_APPL_IN_DAY": (rng.random(size) < 0.9965).astype(np.int64),
        "FLAG_LAST_APPL_PER_CONTRACT": Categorical(
            ((kind != REVOLVING) | (status != REFUSED) | (rng.random(size) < 0.87)).astype(np.int8),
            ("N", "Y"),
        ),
    }
    columns = money | categories | dates | days_columns | flags
    return {name: columns[name] for name in PREVIOUS_COLUMNS}, loans, cards


def _status(
    rng: np.random.Generator, kind: np.ndarray, position: np.ndarray, ability: np.ndarray, debt: np.ndarray
) -> np.ndarray:
    base = REFUSED_SHARE[kind]
    with np.errstate(divide="ignore"):
        odds = np.log(base / (1.0 - base))
    odds = odds + 0.45 * ability + 0.65 * debt - 1.5 * (position == 0)
    refused = rng.random(len(kind)) < sigmoid(odds)
    other = np.take((APPROVED, CANCELED, UNUSED), pick_by(rng, kind, NOT_REFUSED_SHARES))
    return np.where(refused, REFUSED, other)


def _money(
    rng: np.random.Generator, income: np.ndarray, kind: np.ndarray, status: np.ndarray, blank: np.ndarray
) -> tuple[Numbers, np.ndarray]:
    """Amounts and terms of each application, and its price class (index of YIELDS).

    `blank` marks applications that were abandoned before these were set.
    """
    size = len(kind)
    wish = 0.45 * np.log(income / 150_000) + 0.12 * (status == REFUSED)
    location = np.take((12.42, 11.12, 11.95, 11.0), kind)
    width = np.take((0.85, 0.80, 0.80, 0.5), kind)
    goods = on_grid(
        np.exp(location + wish + width * rng.standard_normal(size)),
        np.take((22_500.0, 4.5, 45_000.0, 4.5), kind),
    )
    least, most = (
        np.take((22_500.0, 5_800.5, 45_000.0, 5_800.5), kind),
        np.take((4.05e6, 3e6, 9e5, 9e5), kind),
    )
    goods = np.clip(goods, least, most)
    down_rate = np.where(rng.random(size) < 0.47, 0.0, np.clip(rng.gamma(1.8, 0.065, size), 0.0, 0.9))
    with_down = (kind == CONSUMER) & (rng.random(size) < 0.985) | (kind == CASH) & (rng.random(size) < 0.10) & ~blank
    down = np.where(with_down & (kind == CONSUMER), np.round(goods * down_rate / 4.5) * 4.5, 0.0)
    insured = rng.random(size) < 0.33 + 0.2 * (kind == CASH)
    credit = np.where(kind == REVOLVING, goods, (goods - down) * np.where(insured, 1.13 + 0.05 * rng.random(size), 1.0))
    credit = on_grid(credit, 4.5)
    length = np.where((kind == CASH) & (goods > LARGE_CASH), 3, np.minimum(kind, REVOLVING))
    months = np.take(MONTHS, pick_by(rng, length, MONTH_SHARES)).astype(float)
    price = pick_by(rng, np.minimum(kind, REVOLVING), YIELD_SHARES)
    rate = np.maximum(MONTHLY_RATES[price], 0.001) * np.exp(0.1 * rng.standard_normal(size))
    annuity = np.where(kind == REVOLVING, 0.05 * credit, credit * rate / (1.0 - (1.0 + rate) ** -months))
    no_ask = (kind == REVOLVING) & (status == APPROVED) & (rng.random(size) < 0.42)
    cards_price = np.where((kind == REVOLVING) & no_ask, np.nan, goods)
    unset = blank & ~((kind == CONSUMER) & (status == UNUSED)) & ~((kind == CONSUMER) & (status == REFUSED))
    columns = {
        "AMT_ANNUITY": np.where(blank, np.nan, np.round(on_grid(annuity, 0.045), 3)),
        "AMT_APPLICATION": np.where(unset | no_ask, 0.0, goods),
        "AMT_CREDIT": np.where(unset, 0.0, credit),
        "AMT_DOWN_PAYMENT": np.where(with_down & ~unset, down, np.nan),
        "AMT_GOODS_PRICE": np.where(unset, np.nan, cards_price),
        "RATE_DOWN_PAYMENT": np.where(with_down & ~unset, 1.089 * down / np.maximum(down + credit, 1.0), np.nan),
        "CNT_PAYMENT": np.where(blank, np.nan, np.where(kind == REVOLVING, 0.0, months)),
    }
    return columns, np.where(blank, 0, price)


def _contracts(
    rng: np.random.Generator, people: Applicants, ids: np.ndarray, owner: np.ndarray, kind: np.ndarray,
    status: np.ndarray, days: np.ndarray, money: Numbers,
) -> tuple[Columns, Contracts, Contracts]:  # fmt: skip
    """The dates of granted contracts (missing if nothing was drawn), and the loans and cards among them."""
    size = len(kind)
    granted = (status == APPROVED) & (rng.random(size) < np.take((0.925, 0.98, 0.955, 0.0), kind))
    card = granted & (kind == REVOLVING)
    months = np.where(kind == REVOLVING, 0.0, np.nan_to_num(money["CNT_PAYMENT"]))
    first_due = -days + 30.0 + np.take((0, 0, 1, 2, 3, 8), pick(rng, size, (0.4, 0.2, 0.2, 0.1, 0.06, 0.04)))
    early = rng.random(size) < 0.38 + 0.10 * (months > 18)
    paid_off = np.where(early & (months > 2), np.ceil(months * rng.uniform(0.25, 0.95, size)), months)
    lapses = rng.random(size) < 0.004 * np.exp(0.9 * people.traits.discipline[owner])
    lapsed = np.where(lapses, np.floor(months * rng.uniform(0.15, 0.95, size)), NEVER).astype(np.int32)
    paid_off = np.where(lapses, months, paid_off)
    planned = first_due + 30.0 * (months - 1)
    last_due = first_due + 30.0 * (paid_off - 1)
    ended = (last_due < -1) & ~lapses
    closed = np.minimum(last_due + np.ceil(rng.gamma(2.0, 3.0, size)), -1.0)
    drawn = card & (rng.random(size) < np.where(days > 700, 0.88, 0.55))
    drawing = np.minimum(-days + np.ceil(rng.exponential(60.0, size)), -1.0)
    card_ended = drawn & (rng.random(size) < 0.2)
    insured = rng.random(size) < np.where(kind == CASH, 0.46, np.where(kind == CONSUMER, 0.29, 0.0))

    def dates(values: np.ndarray) -> np.ndarray:
        return np.where(granted, values, np.nan)

    card_ended &= days > 120
    card_due = np.where(drawn & (drawing < -32), drawing + 31, NEVER)
    card_last = np.where(card_ended, -np.ceil(days * 0.15), NEVER)
    card_closed = np.where(card_ended & (rng.random(size) < 0.7), -np.ceil(days * 0.14), NEVER)
    columns: Columns = {
        "DAYS_FIRST_DRAWING": dates(np.where(drawn, drawing, NEVER)),
        "DAYS_FIRST_DUE": dates(np.where(card, card_due, np.where(first_due < 0, first_due, NEVER))),
        "DAYS_LAST_DUE_1ST_VERSION": dates(np.where(card, NEVER, planned)),
        "DAYS_LAST_DUE": dates(np.where(card, card_last, np.where(ended, last_due, NEVER))),
        "DAYS_TERMINATION": dates(np.where(card, card_closed, np.where(ended, closed, NEVER))),
        "NFLAG_INSURED_ON_APPROVAL": dates(insured.astype(float)),
    }

    def contracts(rows: np.ndarray, start: np.ndarray) -> Contracts:
        return Contracts(
            ids=ids[rows],
            owner=owner[rows],
            decision=-days[rows],
            start=start[rows],
            months=months[rows].astype(np.int32),
            paid_off=paid_off[rows].astype(np.int32),
            lapsed=lapsed[rows],
            annuity=money["AMT_ANNUITY"][rows],
            credit=money["AMT_CREDIT"][rows],
        )

    loans = contracts(np.flatnonzero(granted & ~card & (first_due < 0)), first_due)
    return columns, loans, contracts(np.flatnonzero(card), np.where(drawn, drawing, 0.0))


def _categories(
    rng: np.random.Generator, kind: np.ndarray, status: np.ndarray, blank: np.ndarray, position: np.ndarray,
    price: np.ndarray,
) -> Columns:  # fmt: skip
    """Category columns, which depend on the contract type and the application's result."""
    size = len(kind)
    reason = np.zeros(size, dtype=np.int8)
    refused = status == REFUSED
    reason[refused] = pick_by(rng, np.minimum(kind, REVOLVING)[refused], REJECT_SHARES)
    reason[status == UNUSED] = REJECT_REASONS.index("CLIENT")
    named = (kind == CASH) & (rng.random(size) < np.where(refused, 0.24, 0.09)) & ~(status == CANCELED)
    purpose = np.where(kind == CASH, np.where(named, 2 + pick(rng, size, list(PURPOSES.values())), 1), 0)
    goods = np.where(
        (kind == CONSUMER) & (status != CANCELED) & ~(refused & (rng.random(size) < 0.09)),
        1 + pick(rng, size, [share for share, _ in GOODS.values()]), 0,
    )  # fmt: skip
    of_goods = np.array([0] + [INDUSTRIES.index(industry) for _, industry in GOODS.values()])
    shop = (kind != CONSUMER) & (rng.random(size) < np.take((0.065, 0.0, 0.19, 0.0), kind))
    industry = np.where(shop, np.where(rng.random(size) < 0.6, 1, 2), of_goods[goods])
    channel = pick_by(rng, kind, CHANNEL_SHARES)
    area = np.where(
        kind == CONSUMER,
        np.round(np.exp(np.where(industry == 1, 6.2, 3.7) + 1.1 * rng.standard_normal(size))),
        np.where(shop, np.round(np.exp(4.5 + 1.5 * rng.standard_normal(size))), -1),
    )
    product_type, product = _product(rng, kind, refused, blank, price, industry)
    portfolio = np.where(blank | (kind == UNKNOWN), 3, np.take((1, 0, 2, 3), kind))
    portfolio = np.where((portfolio == 0) & (rng.random(size) < 0.0005), 4, portfolio)
    client, payment, suite = _client(rng, kind, status, blank, position)
    special = (kind == CONSUMER) & (status == APPROVED) & (rng.random(size) < 0.0093)
    primary = np.clip(0.185 + 0.05 * rng.standard_normal(size), 0.035, 1.0)
    privileged = np.clip(0.80 + 0.09 * rng.standard_normal(size), 0.37, 1.0)
    return {
        "NAME_CONTRACT_TYPE": Categorical(kind.astype(np.int8), CONTRACT_TYPES),
        "RATE_INTEREST_PRIMARY": np.where(special, primary, np.nan),
        "RATE_INTEREST_PRIVILEGED": np.where(special, privileged, np.nan),
        "NAME_CASH_LOAN_PURPOSE": Categorical(purpose, ("XAP", "XNA", *PURPOSES)),
        "NAME_CONTRACT_STATUS": Categorical(status.astype(np.int8), STATUSES),
        "NAME_PAYMENT_TYPE": Categorical(payment, PAYMENTS),
        "CODE_REJECT_REASON": Categorical(reason, REJECT_REASONS),
        "NAME_TYPE_SUITE": Categorical(suite, SUITES),
        "NAME_CLIENT_TYPE": Categorical(client, CLIENT_TYPES),
        "NAME_GOODS_CATEGORY": Categorical(goods, ("XNA", *GOODS)),
        "NAME_PORTFOLIO": Categorical(portfolio, ("POS", "Cash", "Cards", "XNA", "Cars")),
        "NAME_PRODUCT_TYPE": Categorical(product_type, ("XNA", "x-sell", "walk-in")),
        "CHANNEL_TYPE": Categorical(channel, CHANNELS),
        "SELLERPLACE_AREA": np.clip(area, -1, 4_000_000).astype(np.int64),
        "NAME_SELLER_INDUSTRY": Categorical(industry, INDUSTRIES),
        "NAME_YIELD_GROUP": Categorical(price, YIELDS),
        "PRODUCT_COMBINATION": Categorical(product, PRODUCTS),
    }  # fmt: skip


def _product(
    rng: np.random.Generator, kind: np.ndarray, refused: np.ndarray, blank: np.ndarray, price: np.ndarray,
    industry: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Whether a cash loan or card was cross-sold, and the product, as category codes."""
    size = len(kind)
    crossed = rng.random(size) < np.where(kind == CASH, np.where(refused, 0.61, 0.857), np.where(refused, 0.53, 0.715))
    product_type = np.where((kind == CONSUMER) | (kind == UNKNOWN) | blank, 0, np.where(crossed, 1, 2))
    level = np.take((0, 0, 1, 2, 2), price)
    free = (rng.random(size) < np.where(industry == 1, 0.22, 0.11)).astype(int)
    shelf = np.take((13, 9, 7, 11, 11, 11, 11, 11, 13, 13, 13), industry)
    product = np.select(
        [kind == UNKNOWN, kind == REVOLVING, kind == CONSUMER, blank],
        [-1, np.where(product_type == 1, 16, 15), shelf + free, 0],
        np.where(product_type == 1, 1, 4) + level,
    )
    return product_type, product


def _client(
    rng: np.random.Generator, kind: np.ndarray, status: np.ndarray, blank: np.ndarray, position: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether the client is new, the payment method, and the client's company, as category codes."""
    size = len(kind)
    client = np.where(
        position == 0,
        pick(rng, size, (0.17, 0.75, 0.08, 0.001)),
        pick(rng, size, (0.885, 0.035, 0.079, 0.001)),
    )
    payment = pick_by(
        rng,
        np.where((kind == REVOLVING) | (kind == UNKNOWN), 2, np.where(kind == CASH, np.where(blank, 1, 0), 3)),
        PAYMENT_SHARES,
    )
    suite = np.where(
        rng.random(size) < np.where(status == CANCELED, 0.97, np.take(MISSING_SUITE, kind)),
        -1,
        pick(rng, size, SUITE_SHARES),
    )
    return client, payment, suite


PREVIOUS_COLUMNS = (
    "SK_ID_PREV", "SK_ID_CURR", "NAME_CONTRACT_TYPE", "AMT_ANNUITY", "AMT_APPLICATION", "AMT_CREDIT",
    "AMT_DOWN_PAYMENT", "AMT_GOODS_PRICE", "WEEKDAY_APPR_PROCESS_START", "HOUR_APPR_PROCESS_START",
    "FLAG_LAST_APPL_PER_CONTRACT", "NFLAG_LAST_APPL_IN_DAY", "RATE_DOWN_PAYMENT", "RATE_INTEREST_PRIMARY",
    "RATE_INTEREST_PRIVILEGED", "NAME_CASH_LOAN_PURPOSE", "NAME_CONTRACT_STATUS", "DAYS_DECISION",
    "NAME_PAYMENT_TYPE", "CODE_REJECT_REASON", "NAME_TYPE_SUITE", "NAME_CLIENT_TYPE", "NAME_GOODS_CATEGORY",
    "NAME_PORTFOLIO", "NAME_PRODUCT_TYPE", "CHANNEL_TYPE", "SELLERPLACE_AREA", "NAME_SELLER_INDUSTRY",
    "CNT_PAYMENT", "NAME_YIELD_GROUP", "PRODUCT_COMBINATION", "DAYS_FIRST_DRAWING", "DAYS_FIRST_DUE",
    "DAYS_LAST_DUE_1ST_VERSION", "DAYS_LAST_DUE", "DAYS_TERMINATION", "NFLAG_INSURED_ON_APPROVAL",
)  # fmt: skip

"""Draws credits from other lenders, as a credit bureau reports them: bureau and bureau_balance."""

from __future__ import annotations

import numpy as np

from credit_assets.synthetic.applications import Applicants, Columns
from credit_assets.synthetic.draws import Categorical, counts, curve, on_grid, pick, sigmoid, spread

STATES = ("Closed", "Active", "Sold", "Bad debt")
CREDIT_TYPES = {  # share, probability of still running, typical log amount, length in days
    "Consumer credit": (0.729, 0.25, 11.55, 500),
    "Credit card": (0.234, 0.69, 11.75, 1100),
    "Car loan": (0.0162, 0.40, 14.1, 1500),
    "Mortgage": (0.0107, 0.72, 15.0, 5500),
    "Microloan": (0.0072, 0.30, 10.1, 60),
    "Loan for business development": (0.00115, 0.27, 13.3, 1200),
    "Another type of loan": (0.0006, 0.35, 11.8, 800),
    "Unknown type of loan": (0.0003, 0.1, 11.0, 700),
    "Loan for working capital replenishment": (0.00027, 0.3, 13.5, 700),
    "Cash loan (non-earmarked)": (0.00003, 0.5, 12.5, 900),
    "Real estate loan": (0.00002, 0.6, 14.5, 3000),
    "Loan for the purchase of equipment": (0.00001, 0.4, 13.0, 900),
}
CARD, MORTGAGE = 1, 3
DAYS_ACTIVE = (1, 17, 65, 235, 480, 920, 2050, 2700, 2922)
DAYS_CLOSED = (20, 110, 330, 800, 1330, 1980, 2740, 2890, 2922)
STATUS_CODES = ("C", "0", "X", "1", "2", "3", "4", "5")
LATE_SHARES = (0.80, 0.07, 0.02, 0.015, 0.095)  # statuses 1 to 5 among late months


def draw_bureau(rng: np.random.Generator, people: Applicants, first_id: int) -> tuple[Columns, Columns]:
    """Draw bureau and bureau_balance for a chunk of applicants; SK_ID_BUREAU counts up from `first_id`."""
    traits = people.traits
    mean = 4.62 * np.exp(0.10 * traits.debt + 0.05 * traits.age - 0.006) * np.where(traits.channel, 0.35, 1.0)
    owner, _ = spread(np.where(people.has_bureau, 1 + counts(rng, mean, 1.42, 115), 0))
    size = len(owner)
    discipline, debt = traits.discipline[owner], traits.debt[owner]
    ids = np.arange(first_id, first_id + size)
    kinds = np.array(list(CREDIT_TYPES.values()))
    kind = pick(rng, size, kinds[:, 0])
    open_chance = kinds[kind, 1]
    active = rng.random(size) < sigmoid(np.log(open_chance / (1 - open_chance)) + 0.55 * debt)
    recent = rng.standard_normal(size) - 0.40 * debt
    days = np.round(np.where(active, curve(recent, DAYS_ACTIVE), curve(recent, DAYS_CLOSED)))
    length = kinds[kind, 3] * np.exp(0.55 * rng.standard_normal(size))
    planned = np.round(np.where(active, np.maximum(length, days * 0.75), length) - days)
    # A card without an end date has one eighty years ahead.
    planned = np.where((kind == CARD) & (rng.random(size) < 0.12), 31_000 - np.round(0.1 * days), planned)
    left = days - length * rng.uniform(0.4, 1.05, size)
    ended = np.ceil(np.where(left > 3, left, days * rng.uniform(0.02, 0.7, size)))
    state = _state(rng, active, discipline)
    amount = _amounts(rng, kind, active, kinds[kind, 2])
    used = sigmoid(0.35 + 0.85 * debt + 0.9 * rng.standard_normal(size) + np.where(kind == CARD, -0.7, 0.0))
    owed = np.where(active & (rng.random(size) < np.where(kind == CARD, 0.63, 0.85)), used * amount, 0.0)
    overdue_days, overdue_sum, worst = _arrears(rng, active, discipline)
    limit = np.where((kind == CARD) & active & (rng.random(size) < 0.27), np.maximum(amount - owed, 0.0), 0.0)
    lag = 4 + np.floor(25 * rng.exponential(1.0, size))
    reported = np.where(active, np.minimum(days, lag), np.maximum(np.floor(ended * rng.uniform(0.3, 1.0, size)), 1))
    with_annuity = (rng.random(len(people.ids)) < 0.33)[owner] & (rng.random(size) < 0.86)
    annuity = np.where(active & (rng.random(size) < 0.85), amount * np.exp(-3.2 + 0.5 * rng.standard_normal(size)), 0.0)

    def gap(values: np.ndarray, share: np.ndarray | float) -> np.ndarray:
        return np.where(rng.random(size) < share, np.nan, values)

    bureau: Columns = {
        "SK_ID_CURR": people.ids[owner],
        "SK_ID_BUREAU": ids,
        "CREDIT_ACTIVE": Categorical(state.astype(np.int8), STATES),
        "CREDIT_CURRENCY": Categorical(
            pick(rng, size, (0.9992, 0.0007, 0.0001, 0.00001)), tuple(f"currency {i}" for i in range(1, 5))
        ),
        "DAYS_CREDIT": -days.astype(np.int64),
        "CREDIT_DAY_OVERDUE": np.minimum(overdue_days, days).astype(np.int64),
        "DAYS_CREDIT_ENDDATE": gap(np.minimum(planned, 31_199), np.where(kind == CARD, 0.21, 0.012)),
        "DAYS_ENDDATE_FACT": np.where(state == 0, -ended, np.nan),
        "AMT_CREDIT_MAX_OVERDUE": gap(np.round(worst, 3), 0.655),
        "CNT_CREDIT_PROLONG": np.where(
            rng.random(size) < 0.0055 * np.exp(0.3 * debt), 1 + pick(rng, size, (0.84, 0.13, 0.03)), 0
        ).astype(np.int64),
        "AMT_CREDIT_SUM": amount,
        "AMT_CREDIT_SUM_DEBT": gap(np.round(owed, 2), np.where(active, 0.11, 0.17)),
        "AMT_CREDIT_SUM_LIMIT": gap(np.round(limit, 3), np.where(active, 0.28, 0.38)),
        "AMT_CREDIT_SUM_OVERDUE": np.round(overdue_sum, 2),
        "CREDIT_TYPE": Categorical(kind, tuple(CREDIT_TYPES)),
        "DAYS_CREDIT_UPDATE": -reported.astype(np.int64),
        "AMT_ANNUITY": np.where(with_annuity, np.round(annuity, 2), np.nan),
    }
    return bureau, _balance(rng, people, owner, ids, days, np.where(state == 0, ended, -1.0))


def _state(rng: np.random.Generator, active: np.ndarray, discipline: np.ndarray) -> np.ndarray:
    """The state of each credit, as an index of `STATES`."""
    chance = rng.random(len(active))
    state = np.where(chance < 0.0038 * np.exp(0.6 * discipline), 2, np.where(active, 1, 0))
    return np.where(chance < 0.00001 * np.exp(0.6 * discipline), 3, state)


def _amounts(rng: np.random.Generator, kind: np.ndarray, active: np.ndarray, location: np.ndarray) -> np.ndarray:
    """The amount of each credit; `location` is the logarithm of the typical amount of its type."""
    size = len(kind)
    amount = on_grid(np.exp(location + 1.1 * active * (kind == 0) + 1.05 * rng.standard_normal(size)), 4.5)
    amount = np.minimum(amount, 40_000_000.0)
    round_sum = rng.random(size) < 0.45
    amount = np.where(round_sum, on_grid(amount, 4_500.0), amount)
    amount = np.where((kind == CARD) & (rng.random(size) < 0.155), 0.0, amount)
    return np.where(rng.random(size) < 0.00001, np.nan, amount)


def _arrears(
    rng: np.random.Generator, active: np.ndarray, discipline: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Days and amount overdue today, and the largest amount ever overdue."""
    size = len(active)
    overdue_now = rng.random(size) < np.where(active, 0.0042, 0.0008) * np.exp(0.9 * discipline)
    overdue_days = np.where(overdue_now, np.ceil(np.exp(2.6 + 1.4 * rng.standard_normal(size))), 0)
    overdue_sum = np.where(overdue_now, np.exp(7.0 + 1.8 * rng.standard_normal(size)), 0.0)
    ever_late = rng.random(size) < sigmoid(-1.75 + 0.85 * discipline)
    worst = np.where(ever_late, np.exp(8.65 + 1.15 * rng.standard_normal(size) + 0.2 * discipline), 0.0)
    return overdue_days, overdue_sum, np.maximum(worst, overdue_sum)


def _balance(
    rng: np.random.Generator, people: Applicants, owner: np.ndarray, ids: np.ndarray, days: np.ndarray,
    ended: np.ndarray,
) -> Columns:  # fmt: skip
    """Monthly statuses back from month 0, for applicants whose bureau reports them."""
    reported = (rng.random(len(people.ids)) < 0.448)[owner]
    rows = np.flatnonzero(reported)
    last = np.where(rng.random(len(rows)) < 0.85, 0, (rng.random(len(rows)) * days[rows] / 31).astype(int))
    first = np.minimum(days[rows] / 30.44, 96).astype(int)
    bureau, position = spread(first - last + 1)
    month = position + last.astype(np.int32)[bureau]
    # Months older than a credit's `dark` are reported as unknown (X); most credits report all.
    dark = np.where(rng.random(len(rows)) < 0.28, 200, rng.random(len(rows)) * 1.2 * first).astype(np.int16)
    closed = np.where(ended[rows] > 0, ended[rows] / 30.44, -1).astype(np.int16)
    status = np.full(len(month), 1, dtype=np.int8)
    status[month > dark[bureau]] = 2
    chance = np.clip(0.019 * np.exp(0.75 * people.traits.discipline[owner[rows]]), 0, 0.5).astype(np.float32)
    late = np.flatnonzero(rng.random(len(month), dtype=np.float32) < chance[bureau])
    status[late] = 3 + pick(rng, len(late), LATE_SHARES)
    status[month < closed[bureau]] = 0
    return {
        "SK_ID_BUREAU": ids[rows].astype(np.int32)[bureau],
        "MONTHS_BALANCE": -month,
        "STATUS": Categorical(status, STATUS_CODES),
    }

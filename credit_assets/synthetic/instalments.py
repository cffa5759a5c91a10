"""Draws the repayment of granted loans: POS_CASH_balance and the loans' rows of installments_payments. Both show the
same late payments."""

from __future__ import annotations

import numpy as np

from credit_assets.synthetic.applications import Applicants, Columns, Numbers
from credit_assets.synthetic.draws import Categorical, pick, sigmoid, spread
from credit_assets.synthetic.previous import Contracts

DAYS_A_MONTH = 30.4375
FURTHEST_MONTH = -96
FORGOTTEN = 100_000.0  # delay in days of an instalment that is never paid
POS_STATUSES = ("Active", "Completed", "Signed", "Returned to the store", "Approved", "Demand")
INSTALMENT_COLUMNS = (
    "SK_ID_PREV", "SK_ID_CURR", "NUM_INSTALMENT_VERSION", "NUM_INSTALMENT_NUMBER", "DAYS_INSTALMENT",
    "DAYS_ENTRY_PAYMENT", "AMT_INSTALMENT", "AMT_PAYMENT",
)  # fmt: skip


def draw_delays(rng: np.random.Generator, discipline: np.ndarray) -> np.ndarray:
    """Days between due date and payment (float32, negative = early), one per value of `discipline`."""
    size = len(discipline)
    discipline = discipline.astype(np.float32)
    late = rng.random(size, dtype=np.float32) < sigmoid(np.float32(-2.95) + np.float32(0.95) * discipline)
    scale = np.where(late, 6.0 * np.exp(0.45 * discipline), 11.5 * np.exp(-0.25 * discipline)).astype(np.float32)
    length = rng.standard_exponential(size, dtype=np.float32) * scale
    on_time = rng.random(size, dtype=np.float32) < np.float32(0.15)
    # A few late ones are delayed by months.
    length[late & (rng.random(size, dtype=np.float32) < np.float32(0.02))] += 45.0
    return np.where(late, np.ceil(length), np.where(on_time, np.float32(0.0), -np.floor(length)))


def draw_loans(rng: np.random.Generator, people: Applicants, loans: Contracts) -> tuple[Columns, Numbers]:
    """Draw POS_CASH_balance and the loans' instalments."""
    ids, client = loans.ids.astype(np.int32), people.ids[loans.owner].astype(np.int32)
    temper = people.traits.discipline[loans.owner] + 0.4 * rng.standard_normal(len(ids))
    elapsed = np.floor((-1 - loans.start) / 30.0).astype(np.int32) + 1
    # A lapsed contract is called in: it has no later instalments, but months until the application.
    due_so_far = np.minimum(np.minimum(loans.paid_off, elapsed), loans.lapsed + 1)
    loan, position = spread(due_so_far)
    delay = draw_delays(rng, temper.astype(np.float32)[loan])
    due = loans.start.astype(np.float32)[loan] + np.float32(30.0) * position
    delay[position == loans.lapsed[loan]] = FORGOTTEN
    balance = _pos_cash(rng, loans, ids, client, due_so_far, elapsed, delay)
    payoff = (position == loans.paid_off[loan] - 1) & (loans.paid_off < loans.months)[loan]
    left = (loans.months - loans.paid_off + 1) * loans.annuity * 0.9
    amount = np.where(payoff, left[loan], loans.annuity[loan])
    instalments = {
        "SK_ID_PREV": ids[loan],
        "SK_ID_CURR": client[loan],
        "NUM_INSTALMENT_VERSION": np.where(payoff, 2.0, 1.0),
        "NUM_INSTALMENT_NUMBER": position + 1,
        "DAYS_INSTALMENT": due,
        "DAYS_ENTRY_PAYMENT": due + delay,
        "AMT_INSTALMENT": np.round(amount, 3),
    }
    return balance, with_payments(rng, instalments, temper.astype(np.float32)[loan], further=0.09)


def with_payments(rng: np.random.Generator, rows: Numbers, discipline: np.ndarray, further: float) -> Numbers:
    """Add AMT_PAYMENT: an instalment may be paid in parts (a row each); payments not made yet are missing.

    `further` is the mean number of additional parts, each some days after the one before.
    """
    parts = 1 + rng.poisson(further * np.exp(np.float32(0.5) * discipline))
    source, part = spread(parts)
    taken = {name: values[source] for name, values in rows.items()}
    amount = taken["AMT_INSTALMENT"]
    # The cumulative share paid with each part; the last part pays the rest.
    settled = np.where(part + 1 == parts[source], 1.0, (part + rng.random(len(part))) / parts[source])
    paid_so_far = np.round(amount * settled, 3)
    paid = np.round(paid_so_far - np.where(part == 0, 0.0, np.roll(paid_so_far, 1)), 3)
    extra = part * np.ceil(6.0 * rng.standard_exponential(len(part), dtype=np.float32))
    entry = taken["DAYS_ENTRY_PAYMENT"] + extra
    # The file ends the day before the application: later payments are unknown.
    unknown = entry > -1
    short = (rng.random(len(part), dtype=np.float32) < 0.0015) & ~unknown
    taken["DAYS_ENTRY_PAYMENT"] = np.where(unknown, np.nan, entry)
    taken["AMT_PAYMENT"] = np.where(unknown, np.nan, np.where(short, np.round(paid * 0.6, 3), paid))
    return {name: taken[name] for name in INSTALMENT_COLUMNS}


def _pos_cash(
    rng: np.random.Generator, loans: Contracts, ids: np.ndarray, client: np.ndarray, due_so_far: np.ndarray,
    elapsed: np.ndarray, delay: np.ndarray,
) -> Columns:  # fmt: skip
    """One row per month from the signing; days past due are those of the instalment due in that month."""
    first_month = np.floor(loans.start / DAYS_A_MONTH).astype(np.int32) - 1
    lapsed = loans.lapsed < due_so_far
    months = np.minimum(np.where(lapsed, elapsed, due_so_far) + 1, -first_month)
    loan, position = spread(months)
    starts = np.cumsum(due_so_far) - due_so_far
    snapshot = rng.integers(1, 28, len(ids)).astype(np.float32)
    lateness = np.zeros(len(loan), dtype=np.float32)
    rows = np.flatnonzero((position > 0) & (position <= due_so_far[loan]))
    lateness[rows] = delay[starts[loan[rows]] + position[rows] - 1] - snapshot[loan[rows]]
    unpaid = position - loans.lapsed[loan]
    lateness = np.where(unpaid > 0, 30 * unpaid - snapshot[loan], lateness)
    overdue = np.maximum(lateness, 0.0).astype(np.int32)
    ended = (position == loans.paid_off[loan]) & (position > 0) & ~lapsed[loan]
    future = np.where(ended, 0, np.maximum(loans.months[loan] - position, 0))
    status = np.where(ended, 1, 0).astype(np.int8)
    start = np.flatnonzero(position == 0)
    status[start] = np.take((0, 2, 3, 4), pick(rng, len(start), (0.898, 0.093, 0.006, 0.003)))
    status[(overdue > 60) & (rng.random(len(loan), dtype=np.float32) < 0.15)] = 5
    gap = rng.random(len(loan), dtype=np.float32) < 0.0026
    counted = rng.random(len(loan), dtype=np.float32) < 0.38
    keep = first_month[loan] + position >= FURTHEST_MONTH
    columns: Columns = {
        "SK_ID_PREV": ids[loan],
        "SK_ID_CURR": client[loan],
        "MONTHS_BALANCE": first_month[loan] + position,
        "CNT_INSTALMENT": np.where(gap, np.nan, loans.months[loan]),
        "CNT_INSTALMENT_FUTURE": np.where(gap, np.nan, future),
        "NAME_CONTRACT_STATUS": Categorical(status, POS_STATUSES),
        "SK_DPD": overdue,
        "SK_DPD_DEF": np.where(counted, overdue, 0),
    }
    return {name: column[keep] for name, column in columns.items()}

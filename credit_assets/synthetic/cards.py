"""Draws months of the lender's credit cards: credit_card_balance and the cards' rows of installments_payments."""

from __future__ import annotations

import numpy as np

from credit_assets.synthetic.applications import Applicants, Columns, Numbers
from credit_assets.synthetic.draws import Categorical, sigmoid, spread
from credit_assets.synthetic.instalments import DAYS_A_MONTH, draw_delays, with_payments
from credit_assets.synthetic.previous import Contracts

CARD_STATUSES = ("Active", "Completed", "Signed", "Sent proposal", "Demand", "Refused", "Approved")
MONTHLY_INTEREST = 0.022
PLACES = ("ATM_CURRENT", "CURRENT", "OTHER_CURRENT", "POS_CURRENT")
DRAWN_SUMS = [f"AMT_DRAWINGS_{place}" for place in PLACES]
DRAWING_COUNTS = [f"CNT_DRAWINGS_{place}" for place in PLACES]


def draw_cards(rng: np.random.Generator, people: Applicants, cards: Contracts) -> tuple[Columns, Numbers]:
    """Draw credit_card_balance and the cards' instalments."""
    size = len(cards.ids)
    traits = people.traits
    ids, client = cards.ids.astype(np.int32), people.ids[cards.owner].astype(np.int32)
    age = np.clip(np.floor(-cards.decision / DAYS_A_MONTH), 1, 96).astype(np.int32)
    card, position = spread(age)
    month = position - age[card]
    limit = np.maximum(cards.credit, 45_000.0)[card]
    drawn_from = np.where(cards.start < 0, age + np.floor(cards.start / DAYS_A_MONTH), 1_000).astype(np.int32)
    closed = np.where(rng.random(size) < 0.38, age * rng.uniform(0.3, 1.0, size), 1_000).astype(np.int32)
    principal = _principal(rng, card, position, traits.debt[cards.owner], limit, drawn_from, closed)
    before = np.where(position > 0, np.concatenate(([0.0], principal[:-1])), 0.0)
    interest = np.round(before * MONTHLY_INTEREST, 2)
    minimum = np.where(before > 0, np.maximum(np.round(before * 0.05 / 225) * 225, 2250.0), 0.0)
    temper = (traits.discipline[cards.owner] + 0.45 * rng.standard_normal(size)).astype(np.float32)[card]
    missed = (minimum > 0) & (rng.random(len(card), dtype=np.float32) < sigmoid(-2.75 + 0.95 * temper))
    change = principal - before
    payment = np.where(missed, 0.0, np.maximum(minimum, np.maximum(-change, 0.0)))
    payment = np.where(missed & (change < 0), -change, payment)
    drawings = np.maximum(change + payment, 0.0)
    silent = (cards.start >= 0)[card]
    drawing_columns = _drawings(rng, size, card, drawings, silent)
    balance = np.where(principal > 0, principal + interest, 0.0)
    overdue = np.where(missed, np.ceil(11 * rng.standard_exponential(len(card), dtype=np.float32)), 0).astype(np.int64)
    young = position < rng.integers(0, 5, size)[card]
    mature = _instalments_so_far(minimum > 0, age, card)
    status = _status(rng, card, position, closed)
    balances: Columns = {
        "SK_ID_PREV": ids[card],
        "SK_ID_CURR": client[card],
        "MONTHS_BALANCE": month,
        "AMT_BALANCE": np.round(balance, 3),
        "AMT_CREDIT_LIMIT_ACTUAL": np.where(position >= closed[card], 0, limit).astype(np.int64),
        **{column: drawing_columns[column] for column in DRAWN_SUMS},
        "AMT_INST_MIN_REGULARITY": np.where(young, np.nan, minimum),
        "AMT_PAYMENT_CURRENT": np.where(silent, np.nan, payment),
        "AMT_PAYMENT_TOTAL_CURRENT": payment,
        "AMT_RECEIVABLE_PRINCIPAL": principal,
        "AMT_RECIVABLE": np.round(balance, 3),
        "AMT_TOTAL_RECEIVABLE": np.round(balance, 3),
        **{column: drawing_columns[column] for column in DRAWING_COUNTS},
        "CNT_INSTALMENT_MATURE_CUM": np.where(young, np.nan, mature),
        "NAME_CONTRACT_STATUS": Categorical(status.astype(np.int8), CARD_STATUSES),
        "SK_DPD": overdue,
        "SK_DPD_DEF": np.where(rng.random(len(card), dtype=np.float32) < 0.6, np.minimum(overdue, 30), 0),
    }
    owed = np.flatnonzero(minimum > 0)
    due = np.floor(month[owed] * DAYS_A_MONTH).astype(np.float32)
    instalments = {
        "SK_ID_PREV": ids[card[owed]],
        "SK_ID_CURR": client[card[owed]],
        "NUM_INSTALMENT_VERSION": np.zeros(len(owed)),
        "NUM_INSTALMENT_NUMBER": mature[owed],
        "DAYS_INSTALMENT": due,
        "DAYS_ENTRY_PAYMENT": due + _delays(rng, missed[owed], overdue[owed], temper[owed]),
        "AMT_INSTALMENT": np.where(missed, minimum, payment)[owed],
    }
    return balances, with_payments(rng, instalments, temper[owed], further=1.05)


def _instalments_so_far(due: np.ndarray, age: np.ndarray, card: np.ndarray) -> np.ndarray:
    """The number of instalments due up to each month, per card."""
    total = np.cumsum(due)
    return total - np.concatenate(([0], total))[(np.cumsum(age) - age)[card]]


def _delays(rng: np.random.Generator, missed: np.ndarray, overdue: np.ndarray, temper: np.ndarray) -> np.ndarray:
    """Days from the due date to the payment."""
    return np.where(missed, overdue, np.minimum(draw_delays(rng, temper), 20))


def _status(rng: np.random.Generator, card: np.ndarray, position: np.ndarray, closed: np.ndarray) -> np.ndarray:
    """The status of each month, as an index of `CARD_STATUSES`. Most closed cards continue with a limit of zero."""
    settled = np.where(rng.random(len(closed)) < 0.25, closed, 1_000)
    status = np.where(position >= settled[card], 1, 0)
    return np.where((position == 0) & (rng.random(len(card)) < 0.05), 2, status)


def _drawings(
    rng: np.random.Generator, size: int, card: np.ndarray, drawings: np.ndarray, silent: np.ndarray
) -> Numbers:
    """Amounts and numbers of drawings at cash machines, in shops and elsewhere, by month of the `size` cards."""
    cash = np.where(rng.random(size) < 0.6, rng.uniform(0.5, 1.0, size), 0.1)[card]
    at_cash_machine = np.round(drawings * cash / 2250) * 2250
    at_cash_machine = np.minimum(at_cash_machine, drawings)
    in_shops = drawings - at_cash_machine
    other = (rng.random(len(card), dtype=np.float32) < 0.004) & (in_shops > 0)
    elsewhere, in_shops = np.where(other, in_shops, 0.0), np.where(other, 0.0, in_shops)
    number_cash = np.ceil(at_cash_machine / 22_500)
    number_shops = np.where(in_shops > 0, np.minimum(1 + np.floor(in_shops / 2_700), 165), 0)
    return {
        "AMT_DRAWINGS_ATM_CURRENT": np.where(silent, np.nan, at_cash_machine),
        "AMT_DRAWINGS_CURRENT": drawings,
        "AMT_DRAWINGS_OTHER_CURRENT": np.where(silent, np.nan, elsewhere),
        "AMT_DRAWINGS_POS_CURRENT": np.where(silent, np.nan, in_shops),
        "CNT_DRAWINGS_ATM_CURRENT": np.where(silent, np.nan, number_cash),
        "CNT_DRAWINGS_CURRENT": (number_cash + number_shops + other).astype(np.int64),
        "CNT_DRAWINGS_OTHER_CURRENT": np.where(silent, np.nan, other),
        "CNT_DRAWINGS_POS_CURRENT": np.where(silent, np.nan, number_shops),
    }


def _principal(
    rng: np.random.Generator, card: np.ndarray, position: np.ndarray, debt: np.ndarray, limit: np.ndarray,
    drawn_from: np.ndarray, closed: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The balance owed at the end of each month: a random walk around the holder's level of debt while the card is
    used."""
    running = (position >= drawn_from[card]) & (position < closed[card])
    base = sigmoid(0.1 + 1.0 * debt + 1.1 * rng.standard_normal(len(debt)))
    level = base[card] + _walk(rng, card, position, 0.10)
    level = np.where(running & (position < drawn_from[card] + (18 + 75 * base).astype(np.int32)[card]), level, 0.0)
    principal = np.where(level < 0.03, 0.0, np.minimum(level, 1.05)) * limit
    return np.round(principal / 4.5) * 4.5


def _walk(rng: np.random.Generator, card: np.ndarray, position: np.ndarray, step: float) -> np.ndarray:
    """A random walk over the months of each card, from its first month."""
    total = np.cumsum(step * rng.standard_normal(len(card)))
    start = np.maximum.accumulate(np.where(position == 0, np.arange(len(card)), 0)) if len(card) else position
    return total - total[start]

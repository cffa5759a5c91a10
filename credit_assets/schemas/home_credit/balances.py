"""The contracts of repayments of earlier Home Credit loans: monthly balances and single instalments."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from credit_assets.schemas.home_credit.columns import (
    LARGEST_LOAN,
    amount,
    category,
    count,
    days,
    days_late,
    key,
    month,
)
from credit_assets.schemas.table import Relation, Table

# Kaggle's files hold histories of loans (37,422 POS, 11,372 card, 38,847 instalment) that
# previous_application.csv lacks.
OF_APPLICANT = Relation("SK_ID_CURR", "applications", "SK_ID_CURR")
OF_PREVIOUS = Relation("SK_ID_PREV", "previous_applications", "SK_ID_PREV", enforced=False)

POS_STATUSES = (
    "Active",
    "Completed",
    "Signed",
    "Demand",
    "Returned to the store",
    "Approved",
    "Amortized debt",
    "Canceled",
    "XNA",
)
CARD_STATUSES = ("Active", "Completed", "Signed", "Demand", "Sent proposal", "Refused", "Approved")


class PosCashBalance(Table):
    """Monthly balances of earlier point-of-sale and cash loans: one row per loan and month."""

    SK_ID_PREV: np.int64 = key("Number of the earlier application")
    SK_ID_CURR: np.int64 = key("Number of the application")
    MONTHS_BALANCE: np.int16 = month("Month of the balance")
    CNT_INSTALMENT: float = count("Term of the loan, which may have changed", most=1200, nullable=True, unit="months")
    CNT_INSTALMENT_FUTURE: float = count("Instalments left to pay", most=1200, nullable=True)
    NAME_CONTRACT_STATUS: str = category("Status of the contract in the month", POS_STATUSES)
    SK_DPD: np.int32 = days_late("Days past due in the month")
    SK_DPD_DEF: np.int32 = days_late("Days past due in the month, small debts left out")

    relations = (OF_APPLICANT, OF_PREVIOUS)

    class Config:
        unique: ClassVar[list[str]] = ["SK_ID_PREV", "MONTHS_BALANCE"]


class CreditCardBalance(Table):
    """Monthly balances of earlier credit cards: one row per card and month.

    Balances are negative if more was paid than owed; a few drawings are negative in the source.
    """

    SK_ID_PREV: np.int64 = key("Number of the earlier application")
    SK_ID_CURR: np.int64 = key("Number of the application")
    MONTHS_BALANCE: np.int16 = month("Month of the balance")
    AMT_BALANCE: float = amount("Balance in the month", least=-LARGEST_LOAN)
    AMT_CREDIT_LIMIT_ACTUAL: np.int32 = count(
        "Limit of the card in the month", most=int(LARGEST_LOAN), unit="currency units"
    )
    AMT_DRAWINGS_ATM_CURRENT: float = amount("Drawn at machines in the month", least=-LARGEST_LOAN, nullable=True)
    AMT_DRAWINGS_CURRENT: float = amount("Drawn in the month", least=-LARGEST_LOAN)
    AMT_DRAWINGS_OTHER_CURRENT: float = amount("Drawn in other ways in the month", nullable=True)
    AMT_DRAWINGS_POS_CURRENT: float = amount("Drawn buying goods in the month", nullable=True)
    AMT_INST_MIN_REGULARITY: float = amount("Smallest instalment due in the month", nullable=True)
    AMT_PAYMENT_CURRENT: float = amount("Paid in the month", nullable=True)
    AMT_PAYMENT_TOTAL_CURRENT: float = amount("Paid in the month in total")
    AMT_RECEIVABLE_PRINCIPAL: float = amount("Principal owed", least=-LARGEST_LOAN)
    AMT_RECIVABLE: float = amount("Amount owed", least=-LARGEST_LOAN)
    AMT_TOTAL_RECEIVABLE: float = amount("Amount owed in total", least=-LARGEST_LOAN)
    CNT_DRAWINGS_ATM_CURRENT: float = count("Drawings at machines in the month", most=10_000, nullable=True)
    CNT_DRAWINGS_CURRENT: np.int16 = count("Drawings in the month", most=10_000)
    CNT_DRAWINGS_OTHER_CURRENT: float = count("Other drawings in the month", most=10_000, nullable=True)
    CNT_DRAWINGS_POS_CURRENT: float = count("Drawings for goods in the month", most=10_000, nullable=True)
    CNT_INSTALMENT_MATURE_CUM: float = count("Instalments paid so far", most=1200, nullable=True)
    NAME_CONTRACT_STATUS: str = category("Status of the contract in the month", CARD_STATUSES)
    SK_DPD: np.int32 = days_late("Days past due in the month")
    SK_DPD_DEF: np.int32 = days_late("Days past due in the month, small debts left out")

    relations = (OF_APPLICANT, OF_PREVIOUS)

    class Config:
        unique: ClassVar[list[str]] = ["SK_ID_PREV", "MONTHS_BALANCE"]


class InstallmentsPayments(Table):
    """Instalments of earlier loans, due and paid: one row per payment, or per unpaid instalment.

    No columns identify a row: an instalment paid in parts has several rows, some of them identical.
    """

    SK_ID_PREV: np.int64 = key("Number of the earlier application")
    SK_ID_CURR: np.int64 = key("Number of the application")
    NUM_INSTALMENT_VERSION: float = count(
        "Version of the instalment plan, 0 for a credit card; it changes with the terms", most=10_000
    )
    NUM_INSTALMENT_NUMBER: np.int16 = count("Which instalment of the loan", least=1, most=10_000)
    DAYS_INSTALMENT: float = days("When the instalment was due")
    DAYS_ENTRY_PAYMENT: float = days("Day of the payment; null if not paid", nullable=True)
    AMT_INSTALMENT: float = amount("Instalment due")
    AMT_PAYMENT: float = amount("Amount paid; null if nothing was paid", nullable=True)

    relations = (OF_APPLICANT, OF_PREVIOUS)

"""The contracts of the credit bureau's data: loans at other lenders and their monthly statuses."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandera.pandas as pa

from credit_assets.schemas.home_credit.columns import (
    CENTURY,
    LARGEST_BUREAU_AMOUNT,
    amount,
    category,
    count,
    days,
    days_late,
    key,
    month,
)
from credit_assets.schemas.table import Relation, Table

# A few end dates lie 115 years back (-42060).
EARLIEST_END = -50_000

CREDIT_TYPES = (
    "Consumer credit",
    "Credit card",
    "Car loan",
    "Mortgage",
    "Microloan",
    "Loan for business development",
    "Another type of loan",
    "Unknown type of loan",
    "Loan for working capital replenishment",
    "Cash loan (non-earmarked)",
    "Real estate loan",
    "Loan for the purchase of equipment",
    "Loan for purchase of shares (margin lending)",
    "Interbank credit",
    "Mobile operator loan",
)


class Bureau(Table):
    """The applicants' loans at other lenders, as the credit bureau reports them: one row per loan."""

    SK_ID_CURR: np.int64 = key("Number of the application")
    SK_ID_BUREAU: np.int64 = key("Number of the loan at the bureau")
    CREDIT_ACTIVE: str = category("Status of the loan", ("Active", "Closed", "Sold", "Bad debt"))
    CREDIT_CURRENCY: str = category("Currency, recoded", [f"currency {number}" for number in range(1, 5)])
    DAYS_CREDIT: np.int32 = days("When the applicant applied for the bureau loan")
    CREDIT_DAY_OVERDUE: np.int32 = days_late("Days the loan is past due at the time of the application")
    DAYS_CREDIT_ENDDATE: float = days(
        "Agreed end of the loan; positive if in the future",
        latest=CENTURY,
        earliest=EARLIEST_END,
        nullable=True,
    )
    DAYS_ENDDATE_FACT: float = days("When the loan ended, for closed ones", earliest=EARLIEST_END, nullable=True)
    AMT_CREDIT_MAX_OVERDUE: float = amount(
        "Largest amount ever overdue on the loan", most=LARGEST_BUREAU_AMOUNT, nullable=True
    )
    CNT_CREDIT_PROLONG: np.int16 = count("How often the loan was prolonged", most=1000)
    AMT_CREDIT_SUM: float = amount("Amount of the loan", most=LARGEST_BUREAU_AMOUNT, nullable=True)
    AMT_CREDIT_SUM_DEBT: float = amount(
        "Debt outstanding on the loan; negative if more was paid than owed",
        most=LARGEST_BUREAU_AMOUNT,
        least=-LARGEST_BUREAU_AMOUNT,
        nullable=True,
    )
    AMT_CREDIT_SUM_LIMIT: float = amount(
        "Limit of a credit card; negative in a few rows of the source",
        most=LARGEST_BUREAU_AMOUNT,
        least=-LARGEST_BUREAU_AMOUNT,
        nullable=True,
    )
    AMT_CREDIT_SUM_OVERDUE: float = amount("Amount overdue now", most=LARGEST_BUREAU_AMOUNT)
    CREDIT_TYPE: str = category("Type of loan", CREDIT_TYPES)
    DAYS_CREDIT_UPDATE: np.int32 = days(
        "When the bureau's record was last updated; after the application in a few rows",
        latest=1000,
        earliest=EARLIEST_END,
    )
    AMT_ANNUITY: float = amount("Instalment of the loan", most=LARGEST_BUREAU_AMOUNT, nullable=True)

    relations = (Relation("SK_ID_CURR", "applications", "SK_ID_CURR"),)

    class Config:
        unique: ClassVar[list[str]] = ["SK_ID_BUREAU"]


class BureauBalance(Table):
    """Monthly statuses of the bureau's loans: one row per loan and month."""

    SK_ID_BUREAU: np.int64 = key("Number of the loan at the bureau")
    MONTHS_BALANCE: np.int16 = month("Month of the status")
    STATUS: str = pa.Field(
        isin=["C", "X", "0", "1", "2", "3", "4", "5"],
        description="Status in the month: C closed, X unknown, 0 not late, 1 late by up to 30 days, "
        "2 by 31 to 60, 3 by 61 to 90, 4 by 91 to 120, 5 by more than 120 days, sold or written off",
    )

    # Kaggle's file has the months of 43,041 loans that bureau.csv lacks.
    relations = (Relation("SK_ID_BUREAU", "bureau", "SK_ID_BUREAU", enforced=False),)

    class Config:
        unique: ClassVar[list[str]] = ["SK_ID_BUREAU", "MONTHS_BALANCE"]

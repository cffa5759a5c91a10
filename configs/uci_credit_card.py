"""The contract of UCI's file of credit card clients: one row per client, with the last six months as columns."""

import pandera.pandas as pa

from credit_assets.schemas.table import Table

DEFAULT = "default payment next month"
# A thousand times the largest limit; the bank's bills reach 1.7 million.
LARGEST = 1_000_000_000
AMOUNT = {"le": LARGEST, "metadata": {"unit": "NT$"}}


def status(month: str) -> pa.Field:
    words = f"Repayment status in {month}: -2 card not used, -1 paid in full, 0 revolving, else months of delay"
    return pa.Field(ge=-2, le=9, description=words)


def bill(month: str) -> pa.Field:
    return pa.Field(ge=-LARGEST, description=f"Bill of {month}; below 0: paid too much", **AMOUNT)


def paid(month: str) -> pa.Field:
    return pa.Field(ge=0, description=f"Paid in {month}, on the bill of the month before", **AMOUNT)


class Applications(Table):
    """A card holder: the credit limit, personal data, and six months of repayment status, bills and payments."""

    ID: int = pa.Field(unique=True, description="The client")
    LIMIT_BAL: int = pa.Field(gt=0, description="Credit limit, with the family's cards", **AMOUNT)
    SEX: int = pa.Field(isin=[1, 2], description="1 male, 2 female")
    EDUCATION: int = pa.Field(ge=0, le=6, description="1 graduate school, 2 university, 3 high school, 4 other")
    MARRIAGE: int = pa.Field(ge=0, le=3, description="1 married, 2 single, 3 other")
    AGE: int = pa.Field(ge=18, le=120, description="Age", metadata={"unit": "years"})
    PAY_0: int = status("September 2005")
    PAY_2: int = status("August")
    PAY_3: int = status("July")
    PAY_4: int = status("June")
    PAY_5: int = status("May")
    PAY_6: int = status("April")
    BILL_AMT1: int = bill("September 2005")
    BILL_AMT2: int = bill("August")
    BILL_AMT3: int = bill("July")
    BILL_AMT4: int = bill("June")
    BILL_AMT5: int = bill("May")
    BILL_AMT6: int = bill("April")
    PAY_AMT1: int = paid("September 2005")
    PAY_AMT2: int = paid("August")
    PAY_AMT3: int = paid("July")
    PAY_AMT4: int = paid("June")
    PAY_AMT5: int = paid("May")
    PAY_AMT6: int = paid("April")
    default: float | None = pa.Field(alias=DEFAULT, isin=[0, 1], nullable=True, description="1: defaulted in October")


TABLES = {"applications": Applications}

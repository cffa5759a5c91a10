"""The contracts of the Home Credit portfolio: one Pandera model per raw table.

Features are in `sql/home_credit`; files are read in `ingest`.
"""

from __future__ import annotations

from credit_assets.schemas.home_credit.applications import Applications, Outcomes
from credit_assets.schemas.home_credit.balances import (
    CreditCardBalance,
    InstallmentsPayments,
    PosCashBalance,
)
from credit_assets.schemas.home_credit.bureau import Bureau, BureauBalance
from credit_assets.schemas.home_credit.previous_applications import PreviousApplications
from credit_assets.schemas.table import Table

# Parents before children.
TABLES: dict[str, type[Table]] = {
    "applications": Applications,
    "bureau": Bureau,
    "bureau_balance": BureauBalance,
    "previous_applications": PreviousApplications,
    "pos_cash_balance": PosCashBalance,
    "credit_card_balance": CreditCardBalance,
    "installments_payments": InstallmentsPayments,
    "outcomes": Outcomes,
}

__all__ = [
    "TABLES",
    "Applications",
    "Bureau",
    "BureauBalance",
    "CreditCardBalance",
    "InstallmentsPayments",
    "Outcomes",
    "PosCashBalance",
    "PreviousApplications",
]

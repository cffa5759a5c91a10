"""The contract of the applicants' earlier applications at Home Credit."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandera.pandas as pa

from credit_assets.schemas.home_credit.columns import (
    CENTURY,
    COMPANIONS,
    WEEKDAYS,
    amount,
    category,
    count,
    days,
    days_or_none,
    flag,
    key,
    share,
)
from credit_assets.schemas.table import Relation, Table

CONTRACT_TYPES = ("Cash loans", "Consumer loans", "Revolving loans", "XNA")
CONTRACT_STATUSES = ("Approved", "Canceled", "Refused", "Unused offer")
LOAN_PURPOSES = (
    "XAP",
    "XNA",
    "Building a house or an annex",
    "Business development",
    "Buying a garage",
    "Buying a holiday home / land",
    "Buying a home",
    "Buying a new car",
    "Buying a used car",
    "Car repairs",
    "Education",
    "Everyday expenses",
    "Furniture",
    "Gasification / water supply",
    "Hobby",
    "Journey",
    "Medicine",
    "Money for a third person",
    "Other",
    "Payments on other loans",
    "Purchase of electronic equipment",
    "Refusal to name the goal",
    "Repairs",
    "Urgent needs",
    "Wedding / gift / holiday",
)
PAYMENT_TYPES = (
    "Cash through the bank",
    "Cashless from the account of the employer",
    "Non-cash from your account",
    "XNA",
)
REJECT_REASONS = ("XAP", "HC", "LIMIT", "SCO", "CLIENT", "SCOFR", "XNA", "VERIF", "SYSTEM")
CLIENT_TYPES = ("New", "Refreshed", "Repeater", "XNA")
GOODS_CATEGORIES = (
    "Additional Service",
    "Animals",
    "Audio/Video",
    "Auto Accessories",
    "Clothing and Accessories",
    "Computers",
    "Construction Materials",
    "Consumer Electronics",
    "Direct Sales",
    "Education",
    "Fitness",
    "Furniture",
    "Gardening",
    "Homewares",
    "House Construction",
    "Insurance",
    "Jewelry",
    "Medical Supplies",
    "Medicine",
    "Mobile",
    "Office Appliances",
    "Other",
    "Photo / Cinema Equipment",
    "Sport and Leisure",
    "Tourism",
    "Vehicles",
    "Weapon",
    "XNA",
)
PORTFOLIOS = ("POS", "Cash", "Cards", "Cars", "XNA")
PRODUCT_TYPES = ("x-sell", "walk-in", "XNA")
CHANNELS = (
    "AP+ (Cash loan)",
    "Car dealer",
    "Channel of corporate sales",
    "Contact center",
    "Country-wide",
    "Credit and cash offices",
    "Regional / Local",
    "Stone",
)
SELLER_INDUSTRIES = (
    "Auto technology",
    "Clothing",
    "Connectivity",
    "Construction",
    "Consumer electronics",
    "Furniture",
    "Industry",
    "Jewelry",
    "MLM partners",
    "Tourism",
    "XNA",
)
YIELD_GROUPS = ("low_action", "low_normal", "middle", "high", "XNA")
PRODUCT_COMBINATIONS = (
    "Card Street",
    "Card X-Sell",
    "Cash",
    "Cash Street: high",
    "Cash Street: low",
    "Cash Street: middle",
    "Cash X-Sell: high",
    "Cash X-Sell: low",
    "Cash X-Sell: middle",
    "POS household with interest",
    "POS household without interest",
    "POS industry with interest",
    "POS industry without interest",
    "POS mobile with interest",
    "POS mobile without interest",
    "POS other with interest",
    "POS others without interest",
)


class PreviousApplications(Table):
    """The applicants' earlier applications at Home Credit: one row per application.

    XAP means that a column does not apply, XNA that it is not known.
    """

    SK_ID_PREV: np.int64 = key("Number of the earlier application")
    SK_ID_CURR: np.int64 = key("Number of the application")
    NAME_CONTRACT_TYPE: str = category("Type of the loan requested then", CONTRACT_TYPES)
    AMT_ANNUITY: float = amount("Instalment of the earlier loan", nullable=True)
    AMT_APPLICATION: float = amount("Amount that the applicant requested")
    AMT_CREDIT: float = amount("Amount granted in the end", nullable=True)
    # The smallest down payment of the source is -0.9, its rate -0.000015: rounding, not money.
    AMT_DOWN_PAYMENT: float = amount("Down payment", least=-1.0, nullable=True)
    AMT_GOODS_PRICE: float = amount("Price of the financed goods", nullable=True)
    WEEKDAY_APPR_PROCESS_START: str = category("Day of the week of the earlier application", WEEKDAYS)
    HOUR_APPR_PROCESS_START: np.int8 = count(
        "Hour of the day of the earlier application", most=23, unit="hour, 0 to 23"
    )
    FLAG_LAST_APPL_PER_CONTRACT: str = category("Whether it was the last application for its contract", ("Y", "N"))
    NFLAG_LAST_APPL_IN_DAY: np.int8 = flag("It was the applicant's last application of the day")
    RATE_DOWN_PAYMENT: float = pa.Field(
        ge=-0.01,
        le=1.01,
        nullable=True,
        description="Down payment in proportion to the loan, scaled",
        metadata={"unit": "0 to 1"},
    )
    RATE_INTEREST_PRIMARY: float = share("Interest rate, scaled; nearly always null")
    RATE_INTEREST_PRIVILEGED: float = share("Privileged interest rate, scaled; nearly always null")
    NAME_CASH_LOAN_PURPOSE: str = category("Purpose of the cash loan", LOAN_PURPOSES)
    NAME_CONTRACT_STATUS: str = category("Decision on the application", CONTRACT_STATUSES)
    DAYS_DECISION: np.int32 = days("When the earlier application was decided")
    NAME_PAYMENT_TYPE: str = category("Payment method chosen by the applicant", PAYMENT_TYPES)
    CODE_REJECT_REASON: str = category("Reason of a refusal; XAP if not refused", REJECT_REASONS)
    NAME_TYPE_SUITE: str = category("Who accompanied the applicant", COMPANIONS, nullable=True)
    NAME_CLIENT_TYPE: str = category("Whether the applicant was a new or known client", CLIENT_TYPES)
    NAME_GOODS_CATEGORY: str = category("Category of the financed goods", GOODS_CATEGORIES)
    NAME_PORTFOLIO: str = category("Portfolio of the loan", PORTFOLIOS)
    NAME_PRODUCT_TYPE: str = category("Whether offered to a customer (cross-sell) or requested", PRODUCT_TYPES)
    CHANNEL_TYPE: str = category("Channel of the application", CHANNELS)
    SELLERPLACE_AREA: np.int32 = pa.Field(
        ge=-1, le=100_000_000, description="Sales area of the seller; -1 if there is none"
    )
    NAME_SELLER_INDUSTRY: str = category("Industry of the seller", SELLER_INDUSTRIES)
    CNT_PAYMENT: float = count("Term of the earlier loan", most=1200, nullable=True, unit="months")
    NAME_YIELD_GROUP: str = category("Interest rate group", YIELD_GROUPS)
    PRODUCT_COMBINATION: str = category("Product in detail", PRODUCT_COMBINATIONS, nullable=True)
    DAYS_FIRST_DRAWING: float = days_or_none("First payout of the earlier loan", nullable=True)
    DAYS_FIRST_DUE: float = days_or_none("First instalment due", nullable=True)
    DAYS_LAST_DUE_1ST_VERSION: float = days_or_none(
        "Last instalment due as first agreed; positive if in the future", latest=CENTURY, nullable=True
    )
    DAYS_LAST_DUE: float = days_or_none("Last instalment due", nullable=True)
    DAYS_TERMINATION: float = days_or_none("Expected end of the earlier loan", nullable=True)
    NFLAG_INSURED_ON_APPROVAL: float = flag("Insurance was requested", nullable=True)

    relations = (Relation("SK_ID_CURR", "applications", "SK_ID_CURR"),)

    class Config:
        unique: ClassVar[list[str]] = ["SK_ID_PREV"]

"""The kinds of columns in Home Credit's tables, as Pandera fields.

The neighbouring modules define the tables. Limits are the extremes of Kaggle's full data, rounded outward: they reject
infinities, wrong signs and wrong units, but no row of the source.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandera.pandas as pa

# The source's code for a missing date (a thousand years after the application).
NO_DATE = 365243
CENTURY = 36525
FROM_APPLICATION = "days from the application, negative before it"

# The maxima in the source: 6.9 million for Home Credit's own loans, 117 million for incomes, 585 million elsewhere.
LARGEST_LOAN = 50_000_000.0
LARGEST_INCOME = 500_000_000.0
LARGEST_BUREAU_AMOUNT = 2_000_000_000.0

WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
COMPANIONS = (
    "Unaccompanied",
    "Family",
    "Spouse, partner",
    "Children",
    "Other_A",
    "Other_B",
    "Group of people",
)


def key(description: str) -> Any:
    """An identifying number; never null."""
    return pa.Field(ge=1, description=description)


def flag(description: str, nullable: bool = False) -> Any:
    """1 for yes, 0 for no."""
    return pa.Field(isin=[0, 1], nullable=nullable, description=description)


def category(description: str, values: Iterable[str], nullable: bool = False) -> Any:
    """One of the source's categories, including rare ones."""
    return pa.Field(isin=list(values), nullable=nullable, description=description)


def count(description: str, most: int, least: int = 0, nullable: bool = False, unit: str | None = None) -> Any:
    """A count between `least` and `most`."""
    return pa.Field(ge=least, le=most, nullable=nullable, description=description, metadata=_unit(unit))


def amount(description: str, most: float = LARGEST_LOAN, least: float = 0.0, nullable: bool = False) -> Any:
    """An amount of money in the source's currency, which is not named."""
    return pa.Field(ge=least, le=most, nullable=nullable, description=description, metadata=_unit("currency units"))


def positive_amount(description: str, most: float = LARGEST_LOAN, nullable: bool = False) -> Any:
    """An amount of money of at least one currency unit."""
    return pa.Field(ge=1.0, le=most, nullable=nullable, description=description, metadata=_unit("currency units"))


def share(description: str, nullable: bool = True) -> Any:
    """A figure that the source scaled to the range from 0 to 1."""
    return pa.Field(ge=0.0, le=1.0, nullable=nullable, description=description, metadata=_unit("0 to 1"))


def days(description: str, latest: int = 0, earliest: int = -CENTURY, nullable: bool = False) -> Any:
    """A date as days from the application: negative before it, positive after it."""
    return pa.Field(
        ge=earliest, le=latest, nullable=nullable, description=description, metadata=_unit(FROM_APPLICATION)
    )


def days_or_none(description: str, latest: int = 0, nullable: bool = False) -> Any:
    """As `days`, but the source also writes 365243 for a missing date."""
    return pa.Field(
        in_range_or_sentinel={"min_value": -CENTURY, "max_value": latest, "sentinel": NO_DATE},
        nullable=nullable,
        description=f"{description}; {NO_DATE} means none",
        metadata=_unit(FROM_APPLICATION),
    )


def month(description: str) -> Any:
    """A month as months from the application: 0 is the application's month, -1 the one before."""
    return pa.Field(
        ge=-600, le=0, description=description, metadata=_unit("months from the application, 0 or negative")
    )


def days_late(description: str) -> Any:
    """Days past due; 0 if nothing is late."""
    return pa.Field(ge=0, le=CENTURY, description=description, metadata=_unit("days past due"))


def _unit(unit: str | None) -> dict[str, Any] | None:
    return {"unit": unit} if unit else None

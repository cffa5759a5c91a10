"""The four-fifths rule as asset checks: one per protected attribute and intersection, or one warning if there is
none."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import dagster as dg
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.evaluation.four_fifths import four_fifths, four_fifths_name
from credit_assets.schemas.evidence import NOTHING_AUDITED
from credit_assets.settings.fairness import FairnessConfig
from credit_assets.settings.portfolio import Portfolio
from credit_assets.verdicts.checks import check_result
from credit_assets.verdicts.verdict import Verdict


def audited(portfolio: Portfolio) -> list[str]:
    """The names of the audited attributes and of each intersection of two."""
    return [*portfolio.protected, *(" x ".join(pair) for pair in combinations(portfolio.protected, 2))]


def check_specs(book: Book) -> list[dg.AssetCheckSpec]:
    """One check per attribute and intersection, or the check that there are any."""
    asset = dg.AssetKey([book.name, "fairness_audit"])
    specs = [four_fifths_spec(asset, name, book.portfolio.fairness) for name in audited(book.portfolio)]
    return specs or [groups_seen_spec(asset)]


def four_fifths_spec(asset: dg.AssetKey, attribute: str, config: FairnessConfig) -> dg.AssetCheckSpec:
    """The check of one attribute. It does not block; the promotion gate decides what stops a candidate."""
    return dg.AssetCheckSpec(
        four_fifths_name(attribute),
        asset=asset,
        description=(
            f"The lowest approval rate of a group of {attribute} is at least {config.min_air:g} of the "
            "reference group's, or not significantly lower."
        ),
    )


def four_fifths_result(asset: dg.AssetKey, row: Mapping[str, Any]) -> dg.AssetCheckResult:
    """The check result for one row of the audit's verdicts. Only the gate takes the champion's figures into account."""
    row = {name: value for name, value in row.items() if name != "champion_air"}
    [verdict] = four_fifths(pd.DataFrame([row]))
    return check_result(verdict, asset)


def groups_seen_spec(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check of a portfolio without configured protected attributes, which always warns."""
    return dg.AssetCheckSpec(
        "groups_seen",
        asset=asset,
        description="The configuration names protected attributes, so that unequal treatment can be detected.",
    )


def groups_not_seen(asset: dg.AssetKey) -> dg.AssetCheckResult:
    """The warning that no protected attribute is configured, so nothing was audited."""
    return check_result(Verdict("groups_seen", False, NOTHING_AUDITED, severity="warning"), asset)

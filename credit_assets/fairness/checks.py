"""The four-fifths rule as asset checks, one a protected attribute and crossing; or that none is configured."""

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
    """The names of what is audited: each protected attribute, and each intersection of two."""
    return [*portfolio.protected, *(" x ".join(pair) for pair in combinations(portfolio.protected, 2))]


def check_specs(book: Book) -> list[dg.AssetCheckSpec]:
    """The checks of the audit: one of each attribute and crossing, or that there is none."""
    asset = dg.AssetKey([book.name, "fairness_audit"])
    specs = [four_fifths_spec(asset, name, book.portfolio.fairness) for name in audited(book.portfolio)]
    return specs or [groups_seen_spec(asset)]


def four_fifths_spec(asset: dg.AssetKey, attribute: str, config: FairnessConfig) -> dg.AssetCheckSpec:
    """The check of one attribute. It informs; what it stops is the promotion gate's to say."""
    return dg.AssetCheckSpec(
        four_fifths_name(attribute),
        asset=asset,
        description=(
            f"The least-approved group of {attribute} is approved at {config.min_air:g} or more of the "
            "reference group's rate, or the difference may be chance."
        ),
    )


def four_fifths_result(asset: dg.AssetKey, row: Mapping[str, Any]) -> dg.AssetCheckResult:
    """The result for one row of the audit's verdicts, whatever the champion shows: that is for the gate to weigh."""
    row = {name: value for name, value in row.items() if name != "champion_air"}
    [verdict] = four_fifths(pd.DataFrame([row]))
    return check_result(verdict, asset)


def groups_seen_spec(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check of a portfolio whose configuration names no protected attribute: it always warns that none is seen."""
    return dg.AssetCheckSpec(
        "groups_seen",
        asset=asset,
        description="The configuration names protected attributes, so that unequal treatment of groups can be seen.",
    )


def groups_not_seen(asset: dg.AssetKey) -> dg.AssetCheckResult:
    return check_result(Verdict("groups_seen", False, NOTHING_AUDITED, severity="warning"), asset)

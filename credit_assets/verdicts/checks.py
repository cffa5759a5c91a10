"""A verdict as the result of a Dagster check."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from credit_assets.verdicts.verdict import Verdict

SEVERITIES = {"error": dg.AssetCheckSeverity.ERROR, "warning": dg.AssetCheckSeverity.WARN}


def check_result(
    verdict: Verdict, asset: dg.AssetKey | None = None, details: Mapping[str, Any] | None = None
) -> dg.AssetCheckResult:
    """The result of the check with the verdict's name, with the figures as metadata. `details` are further metadata,
    such as tables, and take precedence over figures of the same name. `asset` is required if a step checks several
    assets."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=verdict.name,
        passed=verdict.passed,
        severity=SEVERITIES[verdict.severity],
        description=verdict.message,
        metadata={**verdict.figures, **(details or {})},
    )

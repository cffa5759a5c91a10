"""The promotion gate as asset checks, one a demand. What each demands is judged in `gate.py`."""

from collections.abc import Sequence

import dagster as dg

from credit_assets.evaluation.gate import Verdict, four_fifths_name

DEMANDS = {
    "discrimination": "The candidate's AUC reaches the minimum, and is above chance.",
    "calibration": "PDs match default rates, in level and shape, as far as the test rows can tell.",
    "not_worse_than_champion": "On the same rows the AUC is not below the champion's beyond margin and chance.",
    "stability": "PDs of the test rows are spread as those of the training rows are.",
}


def gate_specs(asset: dg.AssetKey, blocking: Sequence[str]) -> list[dg.AssetCheckSpec]:
    """The checks that the champion waits for. Attributes that only warn are checked on the audit itself."""
    demands = DEMANDS | {
        four_fifths_name(name): f"No group of {name} is approved at too low a share of another's rate, beyond chance."
        for name in blocking
    }
    return [dg.AssetCheckSpec(name, asset=asset, blocking=True, description=words) for name, words in demands.items()]


def gate_result(asset: dg.AssetKey, verdict: Verdict) -> dg.AssetCheckResult:
    """A verdict as the result of its check, with its numbers."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=verdict.name,
        passed=verdict.passed,
        description=verdict.words,
        metadata=verdict.numbers,
    )

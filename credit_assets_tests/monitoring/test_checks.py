"""The words of checks that may have hundreds of features to tell of."""

from __future__ import annotations

import dagster as dg
import pytest

from credit_assets.monitoring.checks import LISTED, features_usable, missingness_stable

ASSET = dg.AssetKey(["book", "feature_drift"])
AGAINST = {"batch": "2026-03", "model_version": 1}


@pytest.mark.parametrize("check", [features_usable, missingness_stable])
@pytest.mark.parametrize("number", [1, LISTED, LISTED + 1, 300])
def test_the_first_features_are_named_and_the_others_counted(check, number: int) -> None:
    result = check(ASSET, {f"feature_{n}": "missing 5% -> 30%" for n in range(number)}, AGAINST)
    words = str(result.description)
    assert words.count("missing 5% -> 30%") == min(number, LISTED)
    assert ("and 292 more, in the drift table" in words) is (number == 300)
    assert ("more" in words) is (number > LISTED)
    assert not result.passed

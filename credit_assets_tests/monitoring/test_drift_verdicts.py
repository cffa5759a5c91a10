"""Verdicts on drift: features are listed up to a limit, and drift of what the version was made from fails nothing."""

from __future__ import annotations

import pandas as pd
import pytest

from credit_assets.monitoring.batch_standing import Standing
from credit_assets.monitoring.drift_summary import DriftSummary
from credit_assets.monitoring.drift_verdicts import (
    LISTED,
    features_drifted,
    features_usable,
    missingness_stable,
    no_new_categories,
    scores_drifted,
)

NEW = Standing("new")


@pytest.mark.parametrize("check", [features_usable, missingness_stable])
@pytest.mark.parametrize("number", [1, LISTED, LISTED + 1, 300])
def test_first_features_are_named_and_the_others_counted(check, number: int) -> None:
    verdict = check({f"feature_{n}": "missing 5% -> 30%" for n in range(number)}, NEW)
    assert verdict.message.count("missing 5% -> 30%") == min(number, LISTED)
    assert ("and 292 more, in the drift table" in verdict.message) is (number == 300)
    assert ("more" in verdict.message) is (number > LISTED)
    assert not verdict.passed


@pytest.mark.parametrize("kind", ["learned", "tested", "older", "new"])
def test_only_drift_of_a_new_batch_fails_and_each_shift_is_described(kind) -> None:
    standing = Standing(kind, "" if kind == "new" else "No alarm is raised: for a reason.")
    drift = DriftSummary("shifted", (), 2, 1, 0, 0.5, None, None, None, None, 100, 100, "Shifted: everything.")
    score = pd.DataFrame([{"verdict": "shifted", "psi": 0.4, "ks": 0.3, "change": "median 0.1 -> 0.2"}])
    moved = {"income": "missing 5% -> 30%"}
    verdicts = [
        features_drifted(drift, standing),
        scores_drifted(score, standing),
        missingness_stable(moved, standing),
        no_new_categories(moved, standing),
    ]
    for verdict in verdicts:
        assert verdict.passed is (kind != "new")
        assert verdict.message.startswith(standing.description)
        assert verdict.message.endswith(".")
    assert features_usable(moved, standing).passed is (kind == "learned"), (
        "the model learned what a missing value means only from what it learned from"
    )

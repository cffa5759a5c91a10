"""The contract of the drift table."""

from __future__ import annotations

import pandas as pd
import pandera.errors
import pytest

from credit_assets.schemas.drift import Drift

ROW = {
    "feature": "annuity_to_income",
    "role": "feature",
    "kind": "numeric",
    "psi": 0.31,
    "psi_noise": 0.02,
    "ks": 0.2,
    "ks_noise": 0.05,
    "missing_reference": 0.0,
    "missing_batch": 0.1,
    "new_category_share": 0.0,
    "new_category_noise": 0.01,
    "became_constant": False,
    "rows_reference": 1000,
    "rows_batch": 100,
    "change": "missing 0.0% -> 10.0%",
    "verdict": "shifted",
}


def test_measured_row_meets_the_contract() -> None:
    Drift.validate(
        pd.DataFrame([ROW, ROW | {"feature": "channel", "ks": None, "ks_noise": None}]).astype({"ks": float})
    )


@pytest.mark.parametrize(
    "broken",
    [{"psi": -0.1}, {"psi": float("inf")}, {"missing_batch": 1.2}, {"verdict": "drifted"}, {"rows_batch": 0}],
)
def test_impossible_values_violate_the_contract(broken: dict[str, object]) -> None:
    with pytest.raises(pandera.errors.SchemaError):
        Drift.validate(pd.DataFrame([ROW | broken]))


def test_feature_has_one_row() -> None:
    with pytest.raises(pandera.errors.SchemaError):
        Drift.validate(pd.DataFrame([ROW, ROW]))

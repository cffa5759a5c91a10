"""The contract of the performance table."""

from __future__ import annotations

import pandas as pd
import pandera.errors
import pytest

from credit_assets.schemas.performance import Performance

ROW = {
    "segment": "all",
    "metric": "auc",
    "value": 0.74,
    "low": 0.71,
    "high": 0.77,
    "expected": 0.75,
    "basis": "outcomes",
    "applicants": 2000,
    "outcomes": 1500,
    "defaults": 120,
    "model_version": 3,
}


def test_measured_rows_meet_the_contract() -> None:
    gap = ROW | {"metric": "calibration_gap", "value": -0.01, "low": -0.02, "high": 0.0, "expected": None}
    Performance.validate(pd.DataFrame([ROW, gap]))


def test_batch_that_was_learned_from_has_no_rows() -> None:
    Performance.validate(pd.DataFrame([ROW]).head(0))


@pytest.mark.parametrize(
    "broken", [{"metric": "accuracy"}, {"value": None}, {"basis": "guess"}, {"applicants": 0}, {"model_version": 0}]
)
def test_impossible_values_violate_the_contract(broken: dict[str, object]) -> None:
    with pytest.raises(pandera.errors.SchemaError):
        Performance.validate(pd.DataFrame([ROW | broken]))


def test_metric_of_a_segment_has_one_row() -> None:
    Performance.validate(pd.DataFrame([ROW, ROW | {"segment": "A"}]))
    with pytest.raises(pandera.errors.SchemaError):
        Performance.validate(pd.DataFrame([ROW, ROW]))

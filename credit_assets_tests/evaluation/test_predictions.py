"""PDs of the test rows: stored as one row per model and applicant, compared as one column per model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from credit_assets.evaluation.predictions import (
    MODELS,
    OtherTestRows,
    by_model,
    candidate_of,
    predicted_by_both,
    predictions_of,
)
from credit_assets.schemas.evidence import Predictions


@pytest.fixture
def tested() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "applicant": [7, 3, 3],
            "batch": ["2026-01", "2026-02", "2026-01"],
            "target": [0, 1, 0],
            "candidate_version": 4,
            "candidate": [0.1, 0.2, 0.3],
            "baseline": [0.0, 0.25, 1.0],
            "champion": [0.5, np.nan, 0.7],
        }
    )


def kept(tested: pd.DataFrame) -> pd.DataFrame:
    return predictions_of(tested.drop(columns=list(MODELS)), {model: tested[model] for model in MODELS})


def test_each_model_has_a_row_per_applicant_it_scored(tested: pd.DataFrame) -> None:
    rows = kept(tested)
    assert rows["model"].value_counts().to_dict() == {"candidate": 3, "baseline": 3, "champion": 2}
    assert Predictions.to_schema().validate(rows)["pd"].notna().all()
    assert candidate_of(rows) == 4


@pytest.mark.parametrize("shuffled", [False, True])
def test_stored_predictions_are_read_as_one_column_per_model(tested: pd.DataFrame, shuffled: bool) -> None:
    rows = kept(tested)
    found = by_model(rows.sample(frac=1, random_state=1) if shuffled else rows)
    order = ["applicant", "batch"]
    pd.testing.assert_frame_equal(
        found.sort_values(order, ignore_index=True)[list(tested.columns)], tested.sort_values(order, ignore_index=True)
    )


def test_champion_column_is_empty_without_a_champion(tested: pd.DataFrame) -> None:
    assert by_model(kept(tested.assign(champion=np.nan)))["champion"].isna().all()


def test_rows_scored_by_another_model_only_are_refused(tested: pd.DataFrame) -> None:
    rows = kept(tested)
    others = rows[(rows["model"] != "candidate") | (rows["applicant"] != 7)]
    with pytest.raises(ValueError, match="The baseline has PDs of rows that the candidate does not have"):
        by_model(others)


def predicted(fold_of_last: str) -> pd.DataFrame:
    """The candidate's predictions for three applicants, the first of which is in its training part."""
    return pd.DataFrame(
        {
            "applicant": [1, 2, 3],
            "batch": "2026-01",
            "fold": ["train", "test", fold_of_last],
            "pd": [0.1, 0.2, 0.3],
            "model_version": 4,
        }
    )


def test_candidate_and_baseline_are_joined_on_the_test_rows() -> None:
    baseline = pd.DataFrame({"applicant": [3, 2], "batch": "2026-01", "pd": [0.6, 0.5]})
    rows = predicted_by_both(predicted("test"), baseline)
    assert rows["applicant"].tolist() == [2, 3]
    assert rows["candidate"].tolist() == [0.2, 0.3]
    assert rows["baseline"].tolist() == [0.5, 0.6]
    assert rows["candidate_version"].tolist() == [4, 4]


def test_test_rows_without_a_baseline_pd_are_refused() -> None:
    baseline = pd.DataFrame({"applicant": [2], "batch": "2026-01", "pd": [0.5]})
    assert len(predicted_by_both(predicted("valid"), baseline)) == 1
    with pytest.raises(OtherTestRows, match=r"tested on different rows \(2 for the candidate\)") as refused:
        predicted_by_both(predicted("test"), baseline)
    assert refused.value.rows == 2

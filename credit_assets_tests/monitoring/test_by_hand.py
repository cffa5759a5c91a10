"""Assets that are materialized by hand, one by one, in another order than the jobs make them in."""

from __future__ import annotations

import dagster as dg
import pandas as pd
import pytest

from credit_assets.monitoring.assets import refuse_other_applicants


def test_scores_of_other_rows_than_the_batch_has_now_are_refused_with_what_to_make_again() -> None:
    scored = pd.Series([1, 2, 3])
    refuse_other_applicants(scored, pd.Series([3, 2, 1, 4]), "features", "2026-01")
    with pytest.raises(dg.Failure, match="2 applicants scored in 2026-01 are not in features") as refused:
        refuse_other_applicants(scored, pd.Series([3, 4]), "features", "2026-01")
    assert "Run the job `score` for 2026-01" in str(refused.value.description)
    with pytest.raises(dg.Failure, match="1 applicant scored in 2026-01 is not in applications"):
        refuse_other_applicants(scored, pd.Series([2, 1]), "applications", "2026-01")

"""The result of the gate holds in any run, not only in the one that produced it."""

import dagster as dg
import pandas as pd
import pytest

from credit_assets.evaluation.checks import cleared

PREDICTIONS = pd.DataFrame({"candidate_version": [4, 4]})


def gate(passed: bool = True, blocking: bool = True, version: int = 4) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "verdict": ["discrimination", "stability"],
            "passed": [True, passed],
            "blocking": [True, blocking],
            "words": ["AUC 0.75 reaches 0.65.", "PSI 0.4 is above 0.25."],
            "candidate_version": version,
        }
    )


def test_candidate_that_passed_every_blocking_verdict_is_cleared():
    assert cleared(gate(), PREDICTIONS) == 4
    assert cleared(gate(passed=False, blocking=False), PREDICTIONS) == 4


def test_candidate_that_failed_a_blocking_verdict_is_refused_with_its_message():
    with pytest.raises(dg.Failure) as stopped:
        cleared(gate(passed=False), PREDICTIONS)
    assert "Candidate 4 did not pass the promotion gate. PSI 0.4 is above 0.25." in stopped.value.description


def test_gate_result_of_another_candidate_clears_none():
    with pytest.raises(dg.Failure) as stopped:
        cleared(gate(version=3), PREDICTIONS)
    assert "examined candidate 3, but the newest is 4" in stopped.value.description

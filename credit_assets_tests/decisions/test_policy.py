"""The policy's cut-off and decisions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.decisions.policy import decide
from credit_assets.settings.policy import PolicyConfig
from credit_assets.statistics.cut_off import AtCutOff, cut_off
from credit_assets.statistics.metrics import evaluate

PDS = st.lists(st.floats(0.001, 0.999), min_size=1, max_size=50).map(np.array)


def test_fixed_cut_off_is_kept() -> None:
    assert cut_off(PolicyConfig(max_pd=0.12), np.array([0.5, 0.9])) == 0.12


def test_target_rate_approves_four_of_five() -> None:
    pds = np.array([0.3, 0.1, 0.5, 0.2, 0.4])
    highest = cut_off(PolicyConfig(target_approval_rate=0.8), pds)
    assert highest == 0.4
    assert decide(pds, highest).tolist() == ["approve", "approve", "decline", "approve", "approve"]


@given(PDS, st.floats(0.01, 0.99))
def test_cut_off_is_the_lowest_that_approves_the_target_rate(pds: np.ndarray, target: float) -> None:
    highest = cut_off(PolicyConfig(target_approval_rate=target), pds)
    assert highest in pds
    assert (pds <= highest).mean() >= target - 1e-12
    assert (pds < highest).mean() < target


@pytest.mark.slow
@given(PDS, st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_stricter_cut_off_approves_no_additional_applicant(pds: np.ndarray, one: float, other: float) -> None:
    strict, lenient = sorted([one, other])
    approved = decide(pds, strict) == "approve"
    assert (decide(pds, lenient)[approved] == "approve").all()


def test_evaluation_declines_the_same_applicants_as_the_policy() -> None:
    pds = np.array([0.1, 0.2, 0.3, 0.2, 0.9])
    confusion = evaluate(np.array([0, 1, 0, 0, 1]), pds, cut_off=0.2, n_bootstrap=1).confusion
    assert confusion.declined_goods + confusion.declined_bads == (decide(pds, 0.2) == "decline").sum()


def test_ties_at_the_cut_off_are_counted_with_the_approval_rate_on_either_side() -> None:
    pds = np.array([0.1] * 3 + [0.2] * 4 + [0.3] * 2 + [0.4])
    at = AtCutOff.of(pds, 0.2)
    assert (at.highest_approved, at.sharing, at.lowest_declined, at.next_sharing) == (0.2, 4, 0.3, 2)
    assert (at.approval_rate_without, at.approval_rate, at.approval_rate_with_next) == (0.3, 0.7, 0.9)
    # The same holds between two PDs: what matters is who is decided together.
    assert AtCutOff.of(pds, 0.25) == at
    assert str(at) == (
        "The highest PD approved, 20.0000%, is that of 4 of 10 applicants: 70.0% are approved, with a cut-off below it "
        "30.0%. The lowest PD declined, 30.0000%, is that of 2: with a cut-off there 90.0% would be approved."
    )
    assert at.figures() == {
        "applicants_at_cut_off": 4.0,
        "approval_rate_without_them": 0.3,
        "applicants_above_cut_off": 2.0,
        "approval_rate_with_those_above": 0.9,
    }


def test_approval_rate_is_missing_on_the_side_without_applicants() -> None:
    everybody, nobody = AtCutOff.of(np.array([0.1, 0.2, 0.2]), 0.5), AtCutOff.of(np.array([0.1, 0.2, 0.2]), 0.05)
    assert (everybody.sharing, everybody.next_sharing, everybody.approval_rate_with_next) == (2, 0, 1.0)
    assert (nobody.sharing, nobody.next_sharing, nobody.approval_rate_without) == (0, 1, 0.0)
    assert "declined" not in str(everybody) and "highest" not in str(nobody)


@given(PDS, st.floats(0.001, 0.999))
def test_rates_on_either_side_are_those_of_neighbouring_cut_offs(pds: np.ndarray, at: float) -> None:
    found = AtCutOff.of(pds, at)

    def approved(cut_off: float) -> float:
        return float(np.mean(decide(pds, cut_off) == "approve"))

    assert found.approval_rate == approved(at)
    if found.sharing:
        assert found.approval_rate_without == approved(np.nextafter(found.highest_approved, 0))
    if found.next_sharing:
        assert found.approval_rate_with_next == approved(found.lowest_declined)


@pytest.mark.parametrize("rules", [{}, {"max_pd": 0.1, "target_approval_rate": 0.8}])
def test_policy_has_exactly_one_rule(rules: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly one of"):
        PolicyConfig(**rules)


def test_decision_without_a_pd_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 applicants have no PD"):
        decide(np.array([0.1, np.nan]), 0.2)
    with pytest.raises(ValueError, match="1 of them missing"):
        cut_off(PolicyConfig(target_approval_rate=0.8), np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match="no cut-off from 0 PDs"):
        cut_off(PolicyConfig(target_approval_rate=0.8), np.array([]))

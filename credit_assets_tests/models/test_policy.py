"""The policy's cut-off and decisions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.evaluation.metrics import evaluate
from credit_assets.models.policy import PolicyConfig, cut_off, decide

PDS = st.lists(st.floats(0.001, 0.999), min_size=1, max_size=50).map(np.array)


def test_a_fixed_cut_off_stays_what_it_is() -> None:
    assert cut_off(PolicyConfig(max_pd=0.12), np.array([0.5, 0.9])) == 0.12


def test_four_of_five_are_approved_by_hand() -> None:
    pds = np.array([0.3, 0.1, 0.5, 0.2, 0.4])
    highest = cut_off(PolicyConfig(target_approval_rate=0.8), pds)
    assert highest == 0.4
    assert decide(pds, highest).tolist() == ["approve", "approve", "decline", "approve", "approve"]


@given(PDS, st.floats(0.01, 0.99))
def test_the_cut_off_is_the_lowest_that_approves_the_target(pds: np.ndarray, target: float) -> None:
    highest = cut_off(PolicyConfig(target_approval_rate=target), pds)
    assert highest in pds
    assert (pds <= highest).mean() >= target - 1e-12
    assert (pds < highest).mean() < target


@given(PDS, st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_a_stricter_cut_off_approves_nobody_new(pds: np.ndarray, one: float, other: float) -> None:
    strict, lenient = sorted([one, other])
    approved = decide(pds, strict) == "approve"
    assert (decide(pds, lenient)[approved] == "approve").all()


def test_the_evaluation_declines_whom_the_policy_declines() -> None:
    pds = np.array([0.1, 0.2, 0.3, 0.2, 0.9])
    confusion = evaluate(np.array([0, 1, 0, 0, 1]), pds, cut_off=0.2, n_bootstrap=1).confusion
    assert confusion.declined_goods + confusion.declined_bads == (decide(pds, 0.2) == "decline").sum()


@pytest.mark.parametrize("rules", [{}, {"max_pd": 0.1, "target_approval_rate": 0.8}])
def test_a_policy_is_one_rule(rules: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly one of"):
        PolicyConfig(**rules)


def test_no_decision_without_a_pd() -> None:
    with pytest.raises(ValueError, match="1 of 2 applicants have no PD"):
        decide(np.array([0.1, np.nan]), 0.2)
    with pytest.raises(ValueError, match="1 of them missing"):
        cut_off(PolicyConfig(target_approval_rate=0.8), np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match="no cut-off from 0 PDs"):
        cut_off(PolicyConfig(target_approval_rate=0.8), np.array([]))

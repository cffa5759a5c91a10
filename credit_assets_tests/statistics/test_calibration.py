"""Tests of the default rate against SciPy, brute force and simulation: for one batch, and for a year of batches."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from credit_assets.monitoring.performance import calibrated_in_segments, holds, tolerance
from credit_assets.settings.performance import PerformanceConfig
from credit_assets.statistics.calibration import SHIFTS, Segment, anytime_p_value, p_value, segments, significantly_off

CONFIG = PerformanceConfig()
# A book's shares and PDs by band; its mean PD is 14.4%, that of the riskiest band 18.0%.
BANDS = {"A": (0.2, 0.078), "B": (0.4, 0.141), "C": (0.4, 0.18)}


def quarter(
    rng: np.random.Generator, rows: int, factor: float = 1.0, of_bands: dict[str, float] | None = None
) -> pd.DataFrame:
    """Evidence whose defaults are `factor` times the PDs, or this many times in a band."""
    names = rng.choice(list(BANDS), rows, p=[share for share, _ in BANDS.values()])
    pds = np.array([BANDS[name][1] for name in names]) * rng.uniform(0.9, 1.1, rows)
    wrong = np.array([(of_bands or {}).get(name, factor) for name in names])
    return pd.DataFrame(
        {
            "applicant": np.arange(rows),
            "pd": pds,
            "band": names,
            "outcome": (rng.random(rows) < wrong * pds).astype(float),
        }
    )


# A single test


@given(outcomes=st.integers(1, 3000), share=st.floats(0, 1), mean_pd=st.floats(0.001, 0.999))
def test_test_without_a_margin_equals_the_two_tails_of_the_binomial_test(
    outcomes: int, share: float, mean_pd: float
) -> None:
    defaults = round(share * outcomes)
    tails = (stats.binomtest(defaults, outcomes, mean_pd, alternative=side).pvalue for side in ("less", "greater"))
    assert p_value(defaults, outcomes, mean_pd, 0.0) == pytest.approx(min(1.0, 2 * min(tails)), rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("truth", [0.095, 0.1, 0.105])
def test_correct_pds_reach_a_p_value_no_more_often_than_it_states(truth: float) -> None:
    """By the exact distribution of 800 outcomes, the probability of each p-value or a smaller one is at most that
    value.
    """
    chances = stats.binom.pmf(np.arange(801), 800, truth)
    found = np.array([p_value(defaults, 800, 0.1, 0.005) for defaults in range(801)])
    for alpha in (0.001, 0.01, 0.05, 0.2):
        assert chances[found <= alpha].sum() <= alpha


def test_holm_procedure_stops_at_the_first_step_not_reached() -> None:
    def found(*p_values: float, beyond: bool = True) -> list[str]:
        judged = [Segment(str(place), 100, 20, 0.1, p, beyond) for place, p in enumerate(p_values)]
        return [segment.name for segment in significantly_off(judged, 0.05)]

    assert found(0.04) == ["0"]
    # 0.05 / 3, 0.05 / 2, 0.05 / 1
    assert found(0.03, 0.01, 0.02) == ["1", "2", "0"]
    assert found(0.02, 0.03, 0.04) == []
    assert found(0.01, 0.03, 0.04) == ["0"]
    assert found(0.001, beyond=False) == []


# Repeated tests


def test_e_value_is_the_mean_of_likelihood_ratios() -> None:
    pds, outcomes = np.array([0.1, 0.2, 0.4]), np.array([1, 1, 0])

    def likelihood(shift: float) -> float:
        odds = pds / (1 - pds) * np.exp(shift)
        shifted = odds / (1 + odds)
        return float(np.prod(np.where(outcomes == 1, shifted, 1 - shifted)))

    e_value = np.mean([likelihood(sign * shift) / likelihood(0) for sign in (1, -1) for shift in SHIFTS])
    assert e_value > 1
    assert anytime_p_value(pds, 2, 0.0) == pytest.approx(1 / e_value)


@pytest.mark.parametrize("margin", [0.0, 0.01])
def test_e_value_of_correct_pds_has_mean_one_and_less_within_the_margin(margin: float) -> None:
    """Over all 2 ** 8 outcomes of eight applicants, before the p-value is capped at one."""
    pds = np.array([0.05, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.5])
    mean = 0.0
    for outcomes in itertools.product([0, 1], repeat=len(pds)):
        chance = np.prod(np.where(np.array(outcomes) == 1, pds, 1 - pds))
        mean += chance / max(anytime_p_value(pds, sum(outcomes), margin), 1e-12)
    # 1 / p is the larger of the e-value and 1, so it exceeds the e-value's mean by what lies below 1.
    assert mean >= 1
    below = sum(
        np.prod(np.where(np.array(outcomes) == 1, pds, 1 - pds))
        for outcomes in itertools.product([0, 1], repeat=len(pds))
        if anytime_p_value(pds, sum(outcomes), margin) == 1
    )
    assert mean - below <= 1


def test_correct_pds_fail_over_a_year_no_more_often_than_configured() -> None:
    """Twelve batches, tested after each; the PDs are off by as much as the margin allows."""
    rng, alpha, alarms = np.random.default_rng(1), 0.05, 0
    for _ in range(200):
        pds = rng.beta(2, 20, 12 * 300)
        outcomes = rng.random(len(pds)) < pds + 0.005
        looks = (anytime_p_value(pds[:end], int(outcomes[:end].sum()), 0.005) for end in range(300, len(pds) + 1, 300))
        alarms += any(look <= alpha for look in looks)
    # Of 200 at 0.05, 20 or more would occur once in 300 times.
    assert alarms < 20


# The verdict


def test_book_with_16_percent_defaults_at_a_pd_of_14_is_found() -> None:
    judged = holds(quarter(np.random.default_rng(2), 6000, 16.4 / 14.4), CONFIG)
    assert not judged.passed
    assert judged.message.startswith(
        "The default rate deviates significantly from the mean PD, beyond the tolerance (p = "
    )
    assert judged.message.endswith(".")


def test_riskiest_band_with_21_percent_defaults_at_a_pd_of_18_is_found_over_four_quarters() -> None:
    rng = np.random.default_rng(9)
    quarters = [quarter(rng, 5000, of_bands={"A": 0.95, "B": 0.95, "C": 21.1 / 18.0}) for _ in range(4)]
    assert holds(quarters[-1], CONFIG).passed, "the last quarter does not show it by itself"
    judged = holds(quarters[-1], CONFIG, pd.concat(quarters[:-1]))
    assert not judged.passed
    assert judged.message.startswith(
        "Since its promotion, the default rate deviates significantly from the mean PD in band C: "
    )


def test_many_batches_too_small_alone_are_judged_together() -> None:
    rng = np.random.default_rng(4)
    small = [quarter(rng, 300, 1.5) for _ in range(12)]
    alone = holds(small[-1], CONFIG)
    assert alone.passed and alone.message.startswith("No verdict")
    judged = holds(small[-1], CONFIG, pd.concat(small[:-1]))
    assert not judged.passed and "all batches: " in judged.message
    right = [quarter(rng, 300) for _ in range(12)]
    assert holds(right[-1], CONFIG, pd.concat(right[:-1])).passed


def test_correct_pds_pass_together_with_all_earlier_batches() -> None:
    rng = np.random.default_rng(5)
    judged = holds(quarter(rng, 6000), CONFIG, pd.concat([quarter(rng, 6000) for _ in range(8)]))
    assert judged.passed and judged.message.startswith("Performance is as expected.")


@pytest.mark.parametrize(("level", "off", "found"), [(0.14, 0.01, False), (0.02, 0.004, True), (0.02, 0.002, False)])
def test_tolerance_of_a_book_with_few_defaults_is_a_share_of_its_pds(level: float, off: float, found: bool) -> None:
    rows, defaults = 60_000, round(60_000 * (level + off))
    known = pd.DataFrame({"pd": level, "outcome": np.repeat([1.0, 0.0], [defaults, rows - defaults])})
    judged = segments(known, pd.Series("all", index=known.index), tolerance(CONFIG))
    assert bool(significantly_off(judged, 0.002)) is found


# Segments


def test_segment_with_more_defaults_is_named_and_false_alarms_over_all_are_rare() -> None:
    rng = np.random.default_rng(6)
    known = quarter(rng, 12_000)
    age = pd.Series(np.where(np.arange(len(known)) % 3 == 0, "below 25", "25 and above"), index=known.index)
    young = (age == "below 25").to_numpy()
    known.loc[young, "outcome"] = (rng.random(young.sum()) < 1.4 * known.loc[young, "pd"]).astype(float)
    by = pd.DataFrame({"age": age, "income": rng.choice(["up to 1", "above 1", None], len(known))}, index=known.index)
    judged = calibrated_in_segments(known, by, CONFIG)
    assert not judged.passed
    assert judged.message.startswith(
        "The default rate deviates significantly from the mean PD in 1 of 4 segments: age below 25: "
    )
    right = [
        calibrated_in_segments(
            quarter(rng, 5000), pd.DataFrame({f"f{n}": rng.choice(list("abc"), 5000) for n in range(5)}), CONFIG
        )
        for _ in range(40)
    ]
    assert sum(not judged.passed for judged in right) <= 1


def test_segments_with_few_outcomes_are_not_judged() -> None:
    known = quarter(np.random.default_rng(7), 900, 3.0)
    by = pd.DataFrame({"town": np.arange(900) % 3}, index=known.index)
    judged = calibrated_in_segments(known, by, CONFIG)
    assert judged.passed and judged.message == "No verdict: no segment has 500 known outcomes."

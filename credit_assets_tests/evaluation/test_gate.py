"""The gate fails on evidence and not on noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from credit_assets.evaluation.four_fifths import four_fifths
from credit_assets.evaluation.gate import (
    Verdict,
    against_baseline,
    against_champion,
    calibration,
    discrimination,
    gate_summary,
    plausible,
    promotable,
    significant_gains,
    stability,
    verdicts,
)
from credit_assets.settings.evaluation import EvaluationConfig, GateConfig
from credit_assets.statistics.comparison import Comparison, compare
from credit_assets.statistics.metrics import Evaluation, Interval, evaluate

THRESHOLDS = GateConfig()


def drawn(n: int, seed: int, log_odds_off: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-2.75, 1.1, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)
    return y, 1 / (1 + np.exp(-log_odds - log_odds_off))


def evaluated(n: int, seed: int, log_odds_off: float = 0.0) -> Evaluation:
    return evaluate(*drawn(n, seed, log_odds_off), cut_off=0.1, n_bootstrap=200, seed=seed)


def fairness(**changes: object) -> pd.DataFrame:
    row = {
        "attribute": "gender",
        "four_fifths": "pass",
        "on_failure": "block",
        "reference": "F",
        "worst_group": "M",
        "air": 0.93,
        "air_low": 0.9,
        "air_high": 0.96,
        "min_air": 0.8,
        "p_value": 0.001,
        "significant": True,
    }
    return pd.DataFrame([row | changes])


def test_sound_candidate_passes_every_gate() -> None:
    y, pds = drawn(5000, seed=1)
    evaluation = evaluate(y, pds, 0.1, 200)
    found = verdicts(evaluation, evaluation, compare(y, pds, pds), fairness(), 0.01, 0.02, 0.01, THRESHOLDS)
    assert [verdict.name for verdict in found] == [
        "discrimination",
        "calibration",
        "not_worse_than_champion",
        "stability",
        "four_fifths_gender",
    ]
    assert all(verdict.passed for verdict in found)
    assert promotable(found)
    assert all(isinstance(number, float) for verdict in found for number in verdict.figures.values())


def test_calibrated_pds_on_880_rows_are_rarely_refused() -> None:
    stopped = sum(not calibration(evaluated(880, seed), None, THRESHOLDS).passed for seed in range(40))
    assert stopped <= 5


def test_pds_twice_too_high_are_refused_even_on_880_rows() -> None:
    found = [calibration(evaluated(880, seed, log_odds_off=np.log(2)), None, THRESHOLDS) for seed in range(10)]
    assert not any(verdict.passed for verdict in found)
    assert "significantly beyond" in found[0].message


def test_pds_off_after_a_shift_pass_if_the_champion_is_no_closer() -> None:
    off, further = (evaluated(5000, seed=4, log_odds_off=np.log(times)) for times in (1.6, 2))
    assert not calibration(off, None, THRESHOLDS).passed
    verdict = calibration(off, further, THRESHOLDS)
    assert verdict.passed
    assert verdict.message.endswith("the candidate is not significantly worse, so this does not stop it.")
    assert verdict.figures["champion_ece"] == further.metrics["ece"].value
    assert not calibration(further, off, THRESHOLDS).passed


def test_discrimination_must_reach_the_minimum() -> None:
    evaluation = evaluated(5000, seed=2)
    assert discrimination(evaluation, THRESHOLDS).passed
    assert not discrimination(evaluation, GateConfig(min_auc=0.9)).passed


def test_lucky_auc_on_a_handful_of_rows_does_not_pass() -> None:
    y = np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0])
    pds = np.array([0.1, 0.3, 0.2, 0.25, 0.15, 0.05, 0.12, 0.11, 0.13, 0.14])
    verdict = discrimination(evaluate(y, pds, 0.2, 200), THRESHOLDS)
    assert verdict.figures["auc"] > THRESHOLDS.min_auc
    assert not verdict.passed
    assert "2 defaults or non-defaults are fewer than the 20" in verdict.message


def test_auc_that_chance_could_explain_does_not_pass() -> None:
    rng = np.random.default_rng(1)
    y, pds = np.repeat([0, 1], [60, 20]), rng.uniform(0.1, 0.3, 80)
    verdict = discrimination(evaluate(y, pds, 0.2, 200), GateConfig(min_auc=0.51))
    assert verdict.figures["auc_low"] < 0.5
    assert not verdict.passed


def test_candidate_passes_comparison_without_a_champion() -> None:
    assert against_champion(None, THRESHOLDS).passed


def test_message_says_why_a_champion_is_not_compared_and_on_which_rows_it_is() -> None:
    verdict = against_champion(None, THRESHOLDS, 1000, "The champion, version 1, cannot be compared.")
    assert verdict.passed
    assert verdict.message == "The champion, version 1, cannot be compared."
    comparison = worse(150, noise=0.3)
    assert "on 150 of 1000 test rows: the champion learned from the others." in (
        against_champion(comparison, THRESHOLDS, 1000).message
    )
    assert "learned" not in against_champion(comparison, THRESHOLDS, 150).message


def worse(n: int, noise: float) -> Comparison:
    y, pds = drawn(n, seed=3)
    noisy = np.clip(pds * np.exp(np.random.default_rng(0).normal(0, noise, n)), 0, 0.99)
    return compare(y, noisy, pds)


def test_significantly_worse_candidate_is_refused() -> None:
    stopped = against_champion(worse(20_000, noise=1.0), THRESHOLDS)
    assert not stopped.passed
    assert stopped.message.startswith("Significantly worse than the champion")
    unsure = against_champion(worse(150, noise=0.3), THRESHOLDS)
    assert unsure.passed
    assert "Not significantly worse than the champion" in unsure.message


def test_stability_allows_for_chance() -> None:
    assert stability(0.2, 0.03, None, THRESHOLDS).passed
    assert not stability(0.3, 0.03, None, THRESHOLDS).passed
    assert stability(0.3, 0.4, None, THRESHOLDS).passed


def test_candidate_passes_stability_if_the_champion_is_no_more_stable() -> None:
    assert stability(0.3, 0.03, 0.31, THRESHOLDS).passed
    assert not stability(0.3, 0.03, 0.29, THRESHOLDS).passed
    assert stability(0.3, 0.03, 0.24, THRESHOLDS, Interval(0.06, -0.01, 0.13)).passed
    assert not stability(0.3, 0.03, 0.24, THRESHOLDS, Interval(0.06, 0.02, 0.1)).passed
    assert not stability(0.9, 0.03, 0.3, THRESHOLDS, Interval(0.6, 0.5, 0.7)).passed


def two_models(seed: int, off: float, off_champion: float, n: int = 21_721) -> tuple[np.ndarray, ...]:
    """Outcomes, a candidate, and a champion with less information; each underestimates the log-odds by an offset."""
    rng = np.random.default_rng(seed)
    seen, hidden = rng.normal(size=n), rng.normal(size=n)
    y = (rng.random(n) < expit(-1.95 + 0.75 * seen + 0.45 * hidden)).astype(int)
    return y, expit(-1.95 - off + 0.75 * seen + 0.45 * hidden), expit(-1.95 - off_champion + 0.72 * seen)


def calibration_verdict(seed: int, off: float, off_champion: float) -> Verdict:
    y, candidate, champion = two_models(seed, off, off_champion)
    own, other = (evaluate(y, pds, 0.2, n_bootstrap=200) for pds in (candidate, champion))
    assert not calibration(own, None, THRESHOLDS).passed
    return calibration(own, other, THRESHOLDS, compare(y, candidate, champion))


@pytest.mark.parametrize("seed", range(6))
def test_better_candidate_is_not_refused_for_a_level_that_the_champion_misses_too(seed: int) -> None:
    verdict = calibration_verdict(seed, off=0.19, off_champion=0.09)
    assert verdict.passed
    assert "The champion does not significantly meet this either" in verdict.message


@pytest.mark.parametrize("seed", range(6))
def test_less_calibrated_candidate_passes_if_a_proper_score_is_significantly_better(seed: int) -> None:
    verdict = calibration_verdict(seed, off=0.32, off_champion=0.15)
    assert verdict.passed
    assert "significantly better by a proper score (Brier score -0." in verdict.message


@pytest.mark.parametrize("seed", range(6))
def test_significantly_less_calibrated_candidate_is_refused_without_a_better_score(seed: int) -> None:
    verdict = calibration_verdict(seed, off=0.6, off_champion=0.08)
    assert not verdict.passed
    assert "The candidate is significantly worse than the champion in this" in verdict.message


def test_candidate_must_meet_the_calibration_that_the_champion_meets() -> None:
    y, candidate, champion = two_models(1, off=0.25, off_champion=-0.08)
    own, other = (evaluate(y, pds, 0.2, n_bootstrap=200) for pds in (candidate, champion))
    assert significant_gains(compare(y, candidate, champion))
    verdict = calibration(own, other, THRESHOLDS, compare(y, candidate, champion))
    assert not verdict.passed
    assert "The champion significantly meets this" in verdict.message


def test_candidate_below_minimum_auc_passes_if_the_champion_is_as_low() -> None:
    y, candidate, champion = two_models(2, off=0, off_champion=0)
    strict = GateConfig(min_auc=0.75)
    own, other = (evaluate(y, pds, 0.2, n_bootstrap=200) for pds in (candidate, champion))
    assert not discrimination(own, strict).passed
    better = discrimination(own, strict, other, compare(y, candidate, champion))
    assert better.passed and "is not significantly worse" in better.message
    worse = discrimination(other, strict, own, compare(y, champion, candidate))
    assert not worse.passed and "significantly worse than the champion" in worse.message


def test_too_few_defaults_are_refused_whatever_the_champion_shows() -> None:
    y, candidate, champion = two_models(3, off=0, off_champion=0, n=70)
    own, other = (evaluate(y, pds, 0.2, n_bootstrap=200) for pds in (candidate, champion))
    assert own.defaults < 20
    assert not discrimination(own, THRESHOLDS, other, compare(y, candidate, champion)).passed


CHAMPION_S = {"champion_group": "M", "champion_air": 0.7, "champion_air_low": 0.66, "champion_air_high": 0.75}


@pytest.mark.parametrize(
    ("champion", "passed"),
    [
        (CHAMPION_S | {"air_ratio": 1.0, "air_ratio_low": 0.97, "air_ratio_high": 1.03}, True),
        (CHAMPION_S | {"air_ratio": 1.2, "air_ratio_low": 1.1, "air_ratio_high": 1.3}, True),
        (CHAMPION_S | {"air_ratio": 0.9, "air_ratio_low": 0.85, "air_ratio_high": 0.95}, False),
        (
            CHAMPION_S
            | {"champion_air": 0.9, "champion_air_low": 0.86}
            | {"air_ratio": 0.9, "air_ratio_low": 0.7, "air_ratio_high": 1.1},
            False,
        ),
    ],
)
def test_approval_ratio_no_lower_than_the_champion_s_does_not_block(champion: dict, passed: bool) -> None:
    [verdict] = four_fifths(fairness(four_fifths="fail", air=0.7, **champion))
    assert verdict.passed is passed
    assert "On the same applicants the champion approves M" in verdict.message


def test_implausibly_high_auc_requires_a_named_confirmation() -> None:
    evaluation = evaluated(5000, seed=2)
    auc = evaluation.metrics["auc"].value
    assert plausible(evaluation, 0.95, [], THRESHOLDS).passed
    verdict = plausible(evaluation, auc - 0.01, ["days_late", "calls"], THRESHOLDS)
    assert verdict.blocking and not verdict.passed
    assert "starting with days_late, calls" in verdict.message
    assert f"{{up_to: {auc + 0.005:.2f}, by: YOUR NAME, why: ...}}" in verdict.message

    def confirmed(up_to: float) -> Verdict:
        who = {"up_to": up_to, "by": "Ann Smith", "why": "Arrears at the application explain it."}
        return plausible(evaluation, auc - 0.01, [], GateConfig.model_validate({"confirmed_auc": [who]}))

    assert confirmed(auc + 0.001).passed
    assert "Ann Smith confirmed" in confirmed(auc + 0.001).message
    assert not confirmed(auc - 0.001).passed
    with pytest.raises(ValueError, match="by"):
        GateConfig.model_validate({"confirmed_auc": [{"up_to": 0.99, "by": "", "why": "so"}]})


def test_candidate_no_better_than_the_baseline_is_reported_and_blocked_if_configured() -> None:
    y, candidate, baseline = two_models(4, off=0, off_champion=0)
    better = against_baseline(compare(y, candidate, baseline), THRESHOLDS)
    assert better.passed and better.message.startswith("Significantly better than the baseline (AUC +0.0")
    level = against_baseline(compare(y, candidate, candidate), THRESHOLDS)
    assert not level.passed and not level.blocking
    assert "Not significantly better than the baseline" in level.message
    assert against_baseline(compare(y, candidate, candidate), GateConfig(beats_baseline="block")).blocking


def test_every_verdict_consists_of_whole_sentences() -> None:
    y, candidate, champion = two_models(5, off=0.3, off_champion=0.2)
    own, other = (evaluate(y, pds, 0.2, n_bootstrap=200) for pds in (candidate, champion))
    for with_champion in (True, False):
        found = verdicts(
            own,
            other if with_champion else None,
            compare(y, candidate, champion) if with_champion else None,
            fairness(four_fifths="fail", air=0.7),
            0.5,
            0.03,
            0.4 if with_champion else None,
            THRESHOLDS,
            baseline=compare(y, candidate, champion),
            max_auc=0.6,
        )
        assert len({verdict.name for verdict in found}) == len(found) == 7
        for verdict in found:
            assert verdict.message[0].isupper()
            assert verdict.message.endswith(".") and not verdict.message.endswith("..")
        assert gate_summary(found).startswith("It was refused by the gate. plausible_auc: AUC 0.")


@pytest.mark.parametrize(
    ("changes", "passed", "blocking"),
    [
        ({}, True, True),
        ({"four_fifths": "fail", "air": 0.7}, False, True),
        ({"four_fifths": "fail", "air": 0.7, "on_failure": "warn"}, False, False),
        ({"four_fifths": "fail", "air": 0.78, "significant": False}, True, True),
        (
            {"four_fifths": "not enough data", "air": np.nan, "p_value": np.nan, "worst_group": None},
            True,
            True,
        ),
    ],
)
def test_four_fifths_blocks_as_configured_and_only_beyond_chance(
    changes: dict[str, object], passed: bool, blocking: bool
) -> None:
    (verdict,) = four_fifths(fairness(**changes))
    assert (verdict.passed, verdict.blocking) == (passed, blocking)
    assert promotable([verdict]) is (passed or not blocking)


def test_verdict_of_crossed_attributes_has_a_valid_check_name() -> None:
    (verdict,) = four_fifths(fairness(attribute="gender x marital_status"))
    assert verdict.name == "four_fifths_gender_x_marital_status"


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="min_acu"):
        EvaluationConfig.model_validate({"gate": {"min_acu": 0.7}})

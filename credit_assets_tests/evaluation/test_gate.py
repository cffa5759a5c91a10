"""The gate fails on evidence and not on noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from credit_assets.evaluation.comparison import Comparison, compare
from credit_assets.evaluation.config import EvaluationConfig, GateConfig
from credit_assets.evaluation.gate import (
    against_champion,
    calibration,
    discrimination,
    four_fifths,
    promotable,
    stability,
    verdicts,
)
from credit_assets.evaluation.metrics import Evaluation, evaluate

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


def test_a_sound_candidate_passes_every_gate() -> None:
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
    assert all(isinstance(number, float) for verdict in found for number in verdict.numbers.values())


def test_right_pds_on_880_rows_are_rarely_stopped_for_calibration() -> None:
    stopped = sum(not calibration(evaluated(880, seed), None, THRESHOLDS).passed for seed in range(40))
    assert stopped <= 5


def test_pds_twice_too_high_are_stopped_even_on_880_rows() -> None:
    found = [calibration(evaluated(880, seed, log_odds_off=np.log(2)), None, THRESHOLDS) for seed in range(10)]
    assert not any(verdict.passed for verdict in found)
    assert "surely beyond" in found[0].words


def test_pds_off_after_a_shift_pass_where_the_champion_s_are_no_nearer() -> None:
    off, further = (evaluated(5000, seed=4, log_odds_off=np.log(times)) for times in (1.6, 2))
    assert not calibration(off, None, THRESHOLDS).passed
    verdict = calibration(off, further, THRESHOLDS)
    assert verdict.passed
    assert verdict.words.endswith("the champion is no nearer on these rows")
    assert verdict.numbers["champion_ece"] == further.metrics["ece"].value
    assert not calibration(further, off, THRESHOLDS).passed


def test_discrimination_must_reach_the_minimum() -> None:
    evaluation = evaluated(5000, seed=2)
    assert discrimination(evaluation, THRESHOLDS).passed
    assert not discrimination(evaluation, GateConfig(min_auc=0.9)).passed


def test_a_lucky_auc_on_a_handful_of_rows_does_not_pass() -> None:
    y = np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0])
    pds = np.array([0.1, 0.3, 0.2, 0.25, 0.15, 0.05, 0.12, 0.11, 0.13, 0.14])
    verdict = discrimination(evaluate(y, pds, 0.2, 200), THRESHOLDS)
    assert verdict.numbers["auc"] > THRESHOLDS.min_auc
    assert not verdict.passed
    assert "2 defaults or others are fewer than the 20" in verdict.words


def test_an_auc_that_chance_could_explain_does_not_pass() -> None:
    rng = np.random.default_rng(1)
    y, pds = np.repeat([0, 1], [60, 20]), rng.uniform(0.1, 0.3, 80)
    verdict = discrimination(evaluate(y, pds, 0.2, 200), GateConfig(min_auc=0.51))
    assert verdict.numbers["auc_low"] < 0.5
    assert not verdict.passed


def test_without_a_champion_there_is_nothing_to_be_worse_than() -> None:
    assert against_champion(None, THRESHOLDS).passed


def worse(n: int, noise: float) -> Comparison:
    y, pds = drawn(n, seed=3)
    noisy = np.clip(pds * np.exp(np.random.default_rng(0).normal(0, noise, n)), 0, 0.99)
    return compare(y, noisy, pds)


def test_a_worse_candidate_is_stopped_where_the_rows_show_it() -> None:
    stopped = against_champion(worse(20_000, noise=1.0), THRESHOLDS)
    assert not stopped.passed
    assert stopped.words.startswith("worse than the champion")
    unsure = against_champion(worse(150, noise=0.3), THRESHOLDS)
    assert unsure.passed
    assert "as far as these rows can tell" in unsure.words


def test_stability_allows_for_chance() -> None:
    assert stability(0.2, 0.03, None, THRESHOLDS).passed
    assert not stability(0.3, 0.03, None, THRESHOLDS).passed
    assert stability(0.3, 0.4, None, THRESHOLDS).passed


def test_a_candidate_is_stable_enough_where_the_champion_is_no_more_so() -> None:
    assert stability(0.3, 0.03, 0.31, THRESHOLDS).passed
    assert not stability(0.3, 0.03, 0.29, THRESHOLDS).passed


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


def test_a_crossing_has_a_name_that_a_check_can_bear() -> None:
    (verdict,) = four_fifths(fairness(attribute="gender x marital_status"))
    assert verdict.name == "four_fifths_gender_x_marital_status"


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="min_acu"):
        EvaluationConfig.model_validate({"gate": {"min_acu": 0.7}})

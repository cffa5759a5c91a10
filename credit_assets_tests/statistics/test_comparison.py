"""DeLong's test against its definition by brute force and against the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from credit_assets.statistics.comparison import Comparison, auc_interval, compare, not_worse, shown_not_worse
from credit_assets.statistics.metrics import Interval


def brute_force(y: np.ndarray, scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and covariance by the structural components of DeLong et al. (1988), pair by pair."""
    by_bad, by_good = [], []
    for score in scores:
        bads, goods = score[y == 1], score[y == 0]
        wins = [[1.0 if bad > good else 0.5 if bad == good else 0.0 for good in goods] for bad in bads]
        by_bad.append(np.mean(wins, axis=1))
        by_good.append(np.mean(wins, axis=0))
    aucs = np.array([component.mean() for component in by_bad])
    covariance = np.zeros((len(scores), len(scores)))
    for i in range(len(scores)):
        for j in range(len(scores)):
            for components in (by_bad, by_good):
                a, b = components[i] - aucs[i], components[j] - aucs[j]
                covariance[i, j] += (a * b).sum() / (a.size - 1) / a.size
    return aucs, covariance


@st.composite
def two_models(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = draw(st.integers(4, 25))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    y[:4] = 0, 0, 1, 1
    one, other = (np.array(draw(st.lists(st.integers(1, 12), min_size=n, max_size=n))) / 13 for _ in ("one", "other"))
    return y, one, other


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(two_models())
def test_delong_equals_its_definition(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    from scipy.stats import norm

    y, candidate, champion = rows
    aucs, covariance = brute_force(y, [candidate, champion])
    error = np.sqrt(max(0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    found = compare(y, candidate, champion)
    difference = found.auc_difference
    assert (found.auc_candidate, found.auc_champion) == pytest.approx(tuple(aucs))
    assert difference.value == pytest.approx(aucs[0] - aucs[1])
    assert difference.high - difference.low == pytest.approx(2 * norm.ppf(0.975) * error, abs=1e-7)
    if error > 1e-7:
        assert found.p_value == pytest.approx(2 * norm.sf(abs(difference.value) / error))


@settings(max_examples=40, deadline=None)
@given(two_models())
def test_swapped_comparison_has_the_opposite_difference(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    y, one, other = rows
    there, back = compare(y, one, other), compare(y, other, one)
    assert back.auc_difference.value == pytest.approx(-there.auc_difference.value)
    assert back.auc_difference.low == pytest.approx(-there.auc_difference.high)
    assert back.brier_difference.value == pytest.approx(-there.brier_difference.value)


def drawn(n: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-2.5, 1, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)
    return y, 1 / (1 + np.exp(-log_odds)), 1 / (1 + np.exp(-log_odds - rng.normal(0, noise, n)))


def test_interval_of_the_difference_agrees_with_the_paired_bootstrap() -> None:
    from sklearn.metrics import roc_auc_score

    y, candidate, champion = drawn(800, noise=0.8, seed=4)
    rng = np.random.default_rng(1)
    differences = []
    for _ in range(200):
        rows = rng.integers(0, y.size, y.size)
        differences.append(roc_auc_score(y[rows], candidate[rows]) - roc_auc_score(y[rows], champion[rows]))
    found = compare(y, candidate, champion)
    half = (found.auc_difference.high - found.auc_difference.low) / 2
    assert half == pytest.approx(1.96 * np.std(differences), rel=0.2)
    squared = (candidate - y) ** 2 - (champion - y) ** 2
    assert found.brier_difference.value == pytest.approx(squared.mean())


def test_model_compared_with_itself_has_no_difference() -> None:
    y, candidate, _ = drawn(300, noise=1, seed=5)
    found = compare(y, candidate, candidate)
    assert found.auc_difference == Interval(0, 0, 0)
    assert found.p_value == 1
    assert not_worse(found, margin=0)
    assert shown_not_worse(found, margin=0)


def test_perfect_against_perfectly_wrong_has_no_variance() -> None:
    y = np.array([0, 0, 1, 1])
    found = compare(y, np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.9, 0.8, 0.2, 0.1]))
    assert found.auc_difference.value == 1
    assert found.p_value == 0


def compared(difference: float, half: float) -> Comparison:
    interval = Interval(difference, difference - half, difference + half)
    return Comparison(1000, 80, 0.95, 0.7 + difference, 0.7, interval, 0.5, 0.07, 0.07, *[Interval(0, 0, 0)] * 4)


@pytest.mark.parametrize(
    ("difference", "half", "passes", "shown"),
    [
        (-0.03, 0.01, False, False),  # clearly worse
        (-0.03, 0.05, True, False),  # worse, but with so few rows that chance explains it
        (-0.002, 0.001, True, True),  # significantly worse, but by a negligible amount
        (0.02, 0.03, True, True),  # better: even the pessimistic bound is within the margin
        (0.0, 0.03, True, False),  # equal, and uncertain
    ],
)
def test_not_worse_fails_only_for_a_relevant_loss_beyond_chance(
    difference: float, half: float, passes: bool, shown: bool
) -> None:
    assert not_worse(compared(difference, half), margin=0.01) is passes
    assert shown_not_worse(compared(difference, half), margin=0.01) is shown


def test_auc_interval_stays_within_zero_and_one_and_matches_the_normal_one_in_the_middle() -> None:
    y, pds, _ = drawn(4000, noise=1, seed=6)
    _, covariance = brute_force(y[:600], [pds[:600]])
    found = auc_interval(y[:600], pds[:600])
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(covariance[0, 0]), rel=0.05)
    few = auc_interval(np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.7, 0.9]))
    assert 0 < few.low < few.value < few.high < 1
    assert auc_interval(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])) == Interval(1, 1, 1)


def test_single_default_gives_no_variance_estimate() -> None:
    with pytest.raises(ValueError, match="1 defaults and 3 others"):
        compare(np.array([0, 0, 0, 1]), np.full(4, 0.1), np.full(4, 0.1))


def test_models_on_different_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="not rows of one set"):
        compare(np.array([0, 1, 0, 1]), np.full(4, 0.1), np.full(3, 0.1))


def paired(seed: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes and the PDs of two models: the first has information that the second lacks; both PDs are too low."""
    rng = np.random.default_rng(seed)
    seen, hidden = rng.normal(size=n), rng.normal(size=n)
    y = (rng.random(n) < expit(-1.95 + 0.75 * seen + 0.45 * hidden)).astype(int)
    return y, expit(-2.15 + 0.75 * seen + 0.45 * hidden), expit(-2.05 + 0.9 * seen)


def test_differences_in_log_loss_ece_and_gap_equal_those_of_the_evaluations() -> None:
    from credit_assets.statistics.metrics import evaluate

    y, candidate, champion = paired(1)
    found = compare(y, candidate, champion)
    own, other = (evaluate(y, pds, 0.2, n_bootstrap=1).metrics for pds in (candidate, champion))
    assert found.log_loss_difference.value == pytest.approx(own["log_loss"].value - other["log_loss"].value)
    assert found.brier_difference.value == pytest.approx(own["brier"].value - other["brier"].value)
    assert found.ece_difference.value == pytest.approx(own["ece"].value - other["ece"].value)
    gaps = [abs(metrics["calibration_gap"].value) for metrics in (own, other)]
    assert found.gap_difference.value == pytest.approx(gaps[0] - gaps[1])


def test_intervals_of_the_differences_agree_with_paired_resampling() -> None:
    from credit_assets.statistics.metrics import evaluate

    y, candidate, champion = paired(2)
    found, rng, drawn = compare(y, candidate, champion), np.random.default_rng(0), []
    for _ in range(300):
        rows = rng.integers(0, y.size, y.size)
        own, other = (evaluate(y[rows], pds[rows], 0.2, n_bootstrap=1).metrics for pds in (candidate, champion))
        drawn.append(
            [
                own["log_loss"].value - other["log_loss"].value,
                own["ece"].value - other["ece"].value,
                abs(own["calibration_gap"].value) - abs(other["calibration_gap"].value),
            ]
        )
    resampled = np.std(drawn, axis=0)
    for interval, error in zip(
        (found.log_loss_difference, found.ece_difference, found.gap_difference), resampled, strict=True
    ):
        # The interval of an ECE is slightly too wide: if the sign of a bin is in doubt, the sum varies less.
        assert 0.85 * error < (interval.high - interval.low) / 2 / 1.96 < 1.4 * error


def test_row_order_changes_no_bit_of_a_comparison() -> None:
    y, candidate, champion = paired(3, n=1500)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(y.size)
        assert compare(y[order], candidate[order], champion[order]) == compare(y, candidate, champion)
        assert auc_interval(y[order], candidate[order]) == auc_interval(y, candidate)


def test_identical_models_differ_in_no_metric() -> None:
    y, candidate, _ = paired(4)
    found = compare(y, candidate, candidate)
    for interval in (found.brier_difference, found.log_loss_difference, found.ece_difference, found.gap_difference):
        assert interval == Interval(0, 0, 0)

"""Metrics against examples by hand, scikit-learn and SciPy, and the identities that they must satisfy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.statistics.metrics import Confusion, decile_of, evaluate, mean, wilson

Y = np.array([0, 0, 1, 0, 1, 0, 0, 1, 0, 0])
PDS = np.array([0.05, 0.1, 0.1, 0.2, 0.6, 0.3, 0.05, 0.4, 0.4, 0.02])


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of both classes, with PDs that are often tied."""
    n = draw(st.integers(2, 60))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    y[0], y[1] = 0, 1
    grid = draw(st.integers(1, 40))
    pds = np.array(draw(st.lists(st.integers(0, grid), min_size=n, max_size=n))) / (grid + 1) + 0.01
    return y, pds


def values(y: np.ndarray, pds: np.ndarray) -> dict[str, float]:
    return {name: interval.value for name, interval in evaluate(y, pds, 0.5, n_bootstrap=1).metrics.items()}


def test_metrics_equal_an_example_by_hand() -> None:
    # Goods below each bad: 0.1 -> 3 and half of one tie; 0.6 -> 7; 0.4 -> 6 and half of one tie. Of 21 pairs.
    found = values(Y, PDS)
    assert found["auc"] == pytest.approx((3.5 + 7 + 6.5) / 21)
    assert found["gini"] == pytest.approx(2 * 17 / 21 - 1)
    # 2 of 3 bads and 1 of 7 goods are above 0.3.
    assert found["ks"] == pytest.approx(2 / 3 - 1 / 7)
    # Precision where each bad is reached: 1/1, 2/3 (a tie), 3/7 (0.6, two 0.4, 0.3, 0.2, two 0.1).
    assert found["pr_auc"] == pytest.approx((1 + 2 / 3 + 3 / 7) / 3)
    assert found["calibration_gap"] == pytest.approx(0.3 - PDS.mean())


@settings(max_examples=60, deadline=None)
@given(scored())
def test_metrics_equal_those_of_scikit_learn_and_scipy(rows: tuple[np.ndarray, np.ndarray]) -> None:
    from scipy.stats import ks_2samp
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    y, pds = rows
    found = values(y, pds)
    assert found["auc"] == pytest.approx(roc_auc_score(y, pds))
    assert found["pr_auc"] == pytest.approx(average_precision_score(y, pds))
    assert found["brier"] == pytest.approx(brier_score_loss(y, pds))
    assert found["log_loss"] == pytest.approx(log_loss(y, pds))
    assert found["ks"] == pytest.approx(ks_2samp(pds[y == 0], pds[y == 1]).statistic)


@settings(max_examples=60, deadline=None)
@given(scored())
def test_ranking_metrics_depend_on_the_order_of_pds_only(rows: tuple[np.ndarray, np.ndarray]) -> None:
    y, pds = rows
    found, squared, reversed_ = values(y, pds), values(y, pds**2), values(y, 1 - pds)
    for name in ("auc", "gini", "ks", "pr_auc"):
        assert squared[name] == pytest.approx(found[name])
    assert reversed_["auc"] == pytest.approx(1 - found["auc"])
    assert reversed_["ks"] == pytest.approx(found["ks"])


@settings(max_examples=60, deadline=None)
@given(scored(), st.integers(0, 2**32 - 1))
def test_row_order_does_not_matter(rows: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    y, pds = rows
    order = np.random.default_rng(seed).permutation(y.size)
    assert values(y[order], pds[order]) == pytest.approx(values(y, pds))


@settings(max_examples=60, deadline=None)
@given(scored())
def test_deciles_count_every_row_and_never_split_a_tie(rows: tuple[np.ndarray, np.ndarray]) -> None:
    y, pds = rows
    deciles = evaluate(y, pds, 0.5, n_bootstrap=1).deciles
    assert deciles["applicants"].sum() == y.size
    assert deciles["defaults"].sum() == y.sum()
    assert deciles["decile"].is_monotonic_increasing
    assert deciles["decile"].between(1, 10).all()
    assert (deciles["pd_from"].to_numpy()[:-1] > deciles["pd_to"].to_numpy()[1:]).all()
    assert deciles["cumulative_defaults"].iloc[-1] == deciles["cumulative_lift"].iloc[-1] == 1
    assert (deciles["applicants"] * deciles["mean_pd"]).sum() == pytest.approx(pds.sum())


@settings(max_examples=60, deadline=None)
@given(scored())
def test_decile_of_a_pd_is_the_one_that_counts_it_in_the_table(rows: tuple[np.ndarray, np.ndarray]) -> None:
    y, pds = rows
    deciles = evaluate(y, pds, 0.5, n_bootstrap=1).deciles
    counted = pd.Series(10 - decile_of(pds)).value_counts()
    assert counted.to_dict() == dict(zip(deciles["decile"], deciles["applicants"], strict=True))


def test_deciles_of_a_hundred_distinct_pds_hold_ten_each() -> None:
    pds = np.linspace(0.01, 0.99, 100)
    y = (np.arange(100) >= 90).astype(int)
    evaluation = evaluate(y, pds, 0.5, n_bootstrap=1)
    assert evaluation.deciles["applicants"].tolist() == [10] * 10
    assert evaluation.deciles["lift"].tolist() == [10.0] + [0.0] * 9
    by_hand = np.abs(y.reshape(10, 10).mean(axis=1) - pds.reshape(10, 10).mean(axis=1)).mean()
    assert evaluation.metrics["ece"].value == pytest.approx(by_hand)


def test_confusion_matrix_counts_declines_above_the_cut_off_only() -> None:
    confusion = evaluate(Y, PDS, 0.3, n_bootstrap=1).confusion
    assert confusion == Confusion(approved_goods=6, approved_bads=1, declined_goods=1, declined_bads=2)
    assert confusion.approval_rate == pytest.approx(0.7)
    assert confusion.approved_default_rate == pytest.approx(1 / 7)
    assert confusion.declined_default_rate == pytest.approx(2 / 3)
    assert confusion.bads_declined == pytest.approx(2 / 3)
    assert confusion.goods_approved == pytest.approx(6 / 7)


def test_cut_off_above_all_pds_declines_nobody_and_leaves_every_figure_defined() -> None:
    evaluation = evaluate(Y, PDS, 0.99, n_bootstrap=10)
    assert np.isnan(evaluation.confusion.declined_default_rate)
    assert "declined_default_rate" not in evaluation.figures()
    assert all(np.isfinite(list(evaluation.figures().values())))


@settings(max_examples=60, deadline=None)
@given(scored(), st.integers(0, 2**32 - 1))
def test_intervals_contain_their_estimates_and_do_not_depend_on_row_order(
    rows: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    y, pds = rows
    order = np.random.default_rng(seed).permutation(y.size)
    found, again = evaluate(y, pds, 0.3, 40, seed), evaluate(y[order], pds[order], 0.3, 40, seed)
    assert again.metrics == found.metrics
    assert again.ece_by_chance == found.ece_by_chance
    pd.testing.assert_frame_equal(again.deciles, found.deciles, check_exact=True)
    for interval in found.metrics.values():
        assert interval.low <= interval.value <= interval.high


def test_reflected_interval_of_a_small_ece_contains_it() -> None:
    """Reflected at the estimate, the interval of 0.0025 would end below it."""
    for seed in range(40):
        y, pds = calibrated(5000, seed)
        ece = evaluate(y, pds, 0.1, 100).metrics["ece"]
        assert ece.low <= ece.value <= ece.high


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_mean_is_the_same_in_any_order(values: list[float], random: Any) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert mean(np.array(shuffled)) == mean(np.array(values)) == pytest.approx(np.mean(values))


def calibrated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pds = 1 / (1 + np.exp(2.8 - rng.normal(size=n)))
    return (rng.random(n) < pds).astype(int), pds


def test_intervals_are_reproducible_by_seed_and_contain_the_estimate() -> None:
    y, pds = calibrated(2000, seed=1)
    first, again, other = (evaluate(y, pds, 0.1, n_bootstrap=200, seed=seed) for seed in (5, 5, 6))
    assert first.metrics == again.metrics
    assert first.ece_by_chance == again.ece_by_chance
    assert first.metrics != other.metrics
    for interval in first.metrics.values():
        assert interval.low <= interval.value <= interval.high


def test_auc_interval_agrees_with_resampling_by_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    y, pds = calibrated(800, seed=2)
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, y.size, y.size) for _ in range(400)]
    low, high = np.quantile([roc_auc_score(y[rows], pds[rows]) for rows in draws], [0.025, 0.975])
    found = evaluate(y, pds, 0.1, n_bootstrap=400, seed=9).metrics["auc"]
    assert found.low == pytest.approx(low, abs=0.015)
    assert found.high == pytest.approx(high, abs=0.015)


def test_single_default_is_enough_to_resample() -> None:
    y = np.array([1] + [0] * 19)
    interval = evaluate(y, np.linspace(0.9, 0.1, 20), 0.5, n_bootstrap=100).metrics["auc"]
    assert (interval.value, interval.low, interval.high) == (1.0, 1.0, 1.0)


def test_ece_interval_distinguishes_chance_from_miscalibration() -> None:
    y, pds = calibrated(3000, seed=3)
    right, doubled = evaluate(y, pds, 0.1, 100), evaluate(y, np.clip(2 * pds, 0, 0.99), 0.1, 100)
    assert right.metrics["ece"].value <= right.ece_by_chance
    assert right.metrics["ece"].low == 0
    assert doubled.metrics["ece"].value > doubled.ece_by_chance
    assert doubled.metrics["ece"].low > 0
    assert doubled.metrics["calibration_gap"].high < 0


def test_wilson_interval_equals_that_of_scipy() -> None:
    from scipy.stats import binomtest

    for successes, trials in ((0, 7), (3, 7), (7, 7), (70, 880)):
        low, high = wilson(successes, trials)
        expected = binomtest(successes, trials).proportion_ci(method="wilson")
        assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert np.isnan(wilson(0, 0)).all()


@pytest.mark.parametrize(
    ("y", "pds", "words"),
    [
        ([], [], "no labelled rows"),
        ([0, 0], [0.1, 0.2], "0 defaults among 2"),
        ([1, 1], [0.1, 0.2], "2 defaults among 2"),
        ([0, 2], [0.1, 0.2], "1 of 2 are not"),
        ([0.0, np.nan], [0.1, 0.2], "1 of 2 are not"),
        ([0, 1], [0.1, np.nan], "1 of 2 PDs are missing or outside"),
        ([0, 1], [0.1, 1.2], "1 of 2 PDs are missing or outside"),
        ([0, 1], [0.1], "not rows of one set"),
    ],
)
def test_invalid_input_is_refused(y: list[float], pds: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        evaluate(np.array(y), np.array(pds), 0.5)

"""PSI against counts by hand, its noise against simulation, and the stability of a candidate's PDs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.evaluation.stability import score_stability
from credit_assets.statistics.metrics import Interval
from credit_assets.statistics.psi import psi_noise, psi_terms

COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12).filter(
    lambda bins: sum(a for a, _ in bins) and sum(b for _, b in bins)
)


def psi(reference: list[int], batch: list[int]) -> float:
    return float(psi_terms(np.array(reference), np.array(batch)).sum())


def test_psi_equals_the_textbook_formula_if_every_bin_is_filled():
    by_hand = (0.5 - 0.25) * math.log(0.5 / 0.25) + (0.5 - 0.75) * math.log(0.5 / 0.75)
    assert psi([50, 50], [25, 75]) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.2747, abs=1e-4)


def test_bin_empty_in_the_batch_counts_as_half_a_row():
    by_hand = (0.5 - 0.005) * math.log(0.5 / 0.005) + (0.5 - 1) * math.log(0.5 / 1)
    assert psi([50, 50], [0, 100]) == pytest.approx(by_hand)


def test_bin_empty_on_both_sides_counts_nothing():
    assert psi([50, 0, 50], [25, 0, 75]) == psi([50, 50], [25, 75])


@given(COUNTS)
def test_psi_is_never_negative_and_zero_for_equal_distributions(bins):
    reference, batch = map(list, zip(*bins, strict=True))
    assert psi(reference, batch) >= -1e-12
    assert psi(reference, reference) == 0
    assert psi(reference, [10 * count for count in reference]) == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
@given(COUNTS)
def test_psi_is_symmetric_and_independent_of_bin_order(bins):
    reference, batch = map(list, zip(*bins, strict=True))
    assert psi(reference, batch) == pytest.approx(psi(batch, reference))
    assert psi(reference[::-1], batch[::-1]) == pytest.approx(psi(reference, batch))


def test_noise_bound_is_the_quantile_of_simulated_psi():
    rng = np.random.default_rng(5)
    shares = np.full(10, 0.1)
    found = [psi(rng.multinomial(4000, shares), rng.multinomial(1500, shares)) for _ in range(4000)]
    assert psi_noise(10, 4000, 1500, 0.05) == pytest.approx(np.quantile(found, 0.95), rel=0.1)


def test_single_bin_has_no_noise():
    assert psi_noise(1, 100, 100, 0.001) == 0


def scored_by_folds(
    scores: np.ndarray, test: np.ndarray, models: int = 3, coarse: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """The predictions of a candidate with one model per fold, whose PDs of the same score differ slightly. `coarse`
    rounds the scores, which limits the number of distinct PDs.
    """
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"fold": np.repeat(["train", "test"], [len(scores), len(test)])})
    score = np.concatenate([scores, test])
    if coarse:
        score = np.floor(score * coarse / 3) / coarse * 3
    rows["fold_model"] = rng.integers(0, models, len(rows))
    slopes = rng.normal(1, 0.05, models)
    rows["fold_pd"] = 1 / (1 + np.exp(3 - slopes[rows["fold_model"]] * score - rows["fold_model"] / 50))
    return rows.assign(applicant=np.arange(len(rows)), batch="1", pd=rows["fold_pd"])


@pytest.mark.parametrize("coarse", [2, 5, 12, 40, None])
def test_stable_model_passes_with_few_and_many_distinct_pds(coarse: int | None) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        found = score_stability(scored_by_folds(rng.normal(size=4000), rng.normal(size=1400), coarse=coarse, seed=seed))
        assert found.psi <= found.noise < 0.05


@pytest.mark.parametrize("coarse", [5, 12, 40, None])
def test_shifted_test_fails_with_few_and_many_distinct_pds(coarse: int | None) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        found = score_stability(
            scored_by_folds(rng.normal(size=4000), 0.8 + rng.normal(size=1400), coarse=coarse, seed=seed)
        )
        assert found.psi > max(0.25, found.noise)


def test_fold_models_with_unequal_shares_of_the_test_are_no_shift() -> None:
    rng = np.random.default_rng(1)
    rows = scored_by_folds(rng.normal(size=6000), rng.normal(size=3000), coarse=3)
    fewer = rows.drop(rows[(rows["fold"] == "test") & (rows["fold_model"] == 0)].index[100:])
    assert score_stability(fewer).psi < 0.02


def test_constant_pds_never_shift() -> None:
    rows = scored_by_folds(np.zeros(200), np.zeros(200)).assign(fold_pd=0.08)
    found = score_stability(rows)
    assert (found.psi, found.noise) == (0.0, 0.0)


def test_champion_is_compared_on_the_same_rows_and_a_model_equals_itself() -> None:
    rng = np.random.default_rng(2)
    rows = scored_by_folds(rng.normal(size=4000), 0.8 + rng.normal(size=1500), models=1)
    found = score_stability(rows, rows, draws=200)
    assert found.champion_psi == found.psi
    assert found.difference == Interval(0, 0, 0)


def test_interval_of_the_difference_separates_less_stable_from_equal_candidates() -> None:
    rng = np.random.default_rng(3)
    train, test = rng.normal(size=4000), rng.normal(size=1500)
    moved = scored_by_folds(train, test + 0.8, models=1)
    little = scored_by_folds(train, test + 0.2, models=1)
    other = scored_by_folds(train + rng.normal(0, 0.1, 4000), test + 0.8 + rng.normal(0, 0.1, 1500), models=1)
    worse, alike = (score_stability(moved, champion, draws=300).difference for champion in (little, other))
    assert worse is not None and worse.low > 0
    assert alike is not None and alike.low < 0 < alike.high
    order = rng.permutation(len(moved))
    assert score_stability(moved.iloc[order], little, draws=300).difference == worse


@pytest.mark.parametrize("coarse", [3, None])
def test_row_order_does_not_change_a_bit(coarse: int | None) -> None:
    rng = np.random.default_rng(4)
    rows = scored_by_folds(rng.normal(size=1000), rng.normal(size=300), coarse=coarse)
    found = score_stability(rows, rows, draws=100)
    for _ in range(5):
        assert score_stability(rows.iloc[rng.permutation(len(rows))], rows, draws=100) == found

"""PSI against hand-made counts, its noise against simulation, and the stability of a candidate's PDs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.evaluation.stability import psi_noise, psi_terms, score_stability

COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12).filter(
    lambda bins: sum(a for a, _ in bins) and sum(b for _, b in bins)
)


def psi(reference: list[int], batch: list[int]) -> float:
    return float(psi_terms(np.array(reference), np.array(batch)).sum())


def test_psi_is_the_textbook_s_where_every_bin_is_filled():
    by_hand = (0.5 - 0.25) * math.log(0.5 / 0.25) + (0.5 - 0.75) * math.log(0.5 / 0.75)
    assert psi([50, 50], [25, 75]) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.2747, abs=1e-4)


def test_a_bin_that_the_batch_left_empty_counts_as_half_a_row():
    by_hand = (0.5 - 0.005) * math.log(0.5 / 0.005) + (0.5 - 1) * math.log(0.5 / 1)
    assert psi([50, 50], [0, 100]) == pytest.approx(by_hand)


def test_a_bin_empty_on_both_sides_counts_nothing():
    assert psi([50, 0, 50], [25, 0, 75]) == psi([50, 50], [25, 75])


@given(COUNTS)
def test_psi_is_never_negative_and_none_of_a_distribution_with_itself(bins):
    reference, batch = map(list, zip(*bins, strict=True))
    assert psi(reference, batch) >= -1e-12
    assert psi(reference, reference) == 0
    assert psi(reference, [10 * count for count in reference]) == pytest.approx(0, abs=1e-12)


@given(COUNTS)
def test_psi_takes_no_side_and_no_order(bins):
    reference, batch = map(list, zip(*bins, strict=True))
    assert psi(reference, batch) == pytest.approx(psi(batch, reference))
    assert psi(reference[::-1], batch[::-1]) == pytest.approx(psi(reference, batch))


def test_the_noise_is_what_samples_of_one_distribution_stay_below():
    rng = np.random.default_rng(5)
    shares = np.full(10, 0.1)
    found = [psi(rng.multinomial(4000, shares), rng.multinomial(1500, shares)) for _ in range(4000)]
    assert psi_noise(10, 4000, 1500, 0.05) == pytest.approx(np.quantile(found, 0.95), rel=0.1)


def test_one_bin_has_no_noise():
    assert psi_noise(1, 100, 100, 0.001) == 0


def candidate(train: np.ndarray, test: np.ndarray) -> pd.DataFrame:
    folds = np.repeat(["train", "valid", "test"], [len(train) - 10, 10, len(test)])
    return pd.DataFrame({"fold": folds, "pd": np.concatenate([train, test])})


def test_pds_spread_alike_are_stable_and_pds_that_rose_are_not():
    rng = np.random.default_rng(6)
    learned = rng.beta(2, 20, 3000)
    stable, noise = score_stability(candidate(learned, rng.beta(2, 20, 1500)))
    shifted, _ = score_stability(candidate(learned, rng.beta(2, 20, 1500) + 0.05))
    assert stable < noise < 0.05
    assert shifted > 0.25


def test_pds_that_fall_together_make_fewer_bins():
    """A model that gives all training rows one PD has one bin, and nothing can move."""
    same = np.full(200, 0.08)
    assert score_stability(candidate(same, same)) == (0.0, pytest.approx(psi_noise(2, 200, 200, 0.001)))

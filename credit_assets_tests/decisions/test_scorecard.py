"""Points against Siddiqi's example, the inverse of the scaling, and the bands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.decisions.scorecard import band, pd_of, points
from credit_assets.settings.scorecard import Band, ScorecardConfig

BANDS = (Band(name="A", from_points=640), Band(name="B", from_points=600), Band(name="C"))
CARD = ScorecardConfig(base_points=600, base_odds=30, points_to_double_odds=20, bands=BANDS)


def test_scaling_equals_the_textbook_example() -> None:
    # Siddiqi 2006: odds of 30:1 at 600 points and a PDO of 20 give factor 28.8539 and offset 501.8622.
    assert CARD.factor == pytest.approx(28.8539, abs=1e-4)
    assert CARD.offset == pytest.approx(501.8622, abs=1e-4)


def test_doubled_odds_add_twenty_points() -> None:
    odds = np.array([15, 30, 60, 120, 1])
    assert points(1 / (1 + odds), CARD).tolist() == [580, 600, 620, 640, 502]


@given(st.lists(st.floats(1e-6, 1 - 1e-6), min_size=2, max_size=30))
def test_points_never_rise_with_pd_and_inverse_is_within_half_a_point(pds: list[float]) -> None:
    ordered = np.sort(pds)
    found = points(ordered, CARD)
    assert (np.diff(found) <= 0).all()
    half = 0.5 + 1e-6
    assert (pd_of(found + half, CARD) <= ordered).all()
    assert (ordered <= pd_of(found - half, CARD)).all()


@given(st.integers(300, 850))
def test_inverse_returns_the_same_points(whole: int) -> None:
    assert points(pd_of(np.array([whole]), CARD), CARD).tolist() == [whole]


def test_lower_bound_belongs_to_its_band() -> None:
    assert band(np.array([700, 640, 639, 600, 599, -50]), CARD).tolist() == ["A", "A", "B", "B", "C", "C"]


def test_single_band_holds_every_applicant() -> None:
    assert band(np.array([0, 999]), ScorecardConfig(bands=(Band(name="all"),))).tolist() == ["all", "all"]


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        ((Band(name="A", from_points=600), Band(name="B", from_points=500)), "the last band, and only it"),
        ((Band(name="A"), Band(name="B")), "the last band, and only it"),
        ((Band(name="A", from_points=1), Band(name="B", from_points=2), Band(name="C")), "must descend"),
        ((Band(name="A", from_points=600), Band(name="A")), "must differ"),
    ],
)
def test_bands_with_gap_or_overlap_are_refused(bands: tuple[Band, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ScorecardConfig(bands=bands)


@pytest.mark.parametrize("pd", [0.0, 1.0, -0.1, np.nan])
def test_points_require_a_pd_strictly_between_zero_and_one(pd: float) -> None:
    with pytest.raises(ValueError, match="1 of 2 PDs"):
        points(np.array([0.5, pd]), CARD)

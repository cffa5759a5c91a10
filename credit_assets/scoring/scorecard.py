"""Scorecard points and bands of a PD. Who is approved is decided on the PD, in `policy.py`.

Formulas: N. Siddiqi, Credit Risk Scorecards (2006), "Scorecard scaling".
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator


class Band(BaseModel):
    """A named range of points: from `from_points` up to the band above it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    from_points: int | None = None
    """None for the lowest band, which has no lower bound."""


class ScorecardConfig(BaseModel):
    """`base_points` at good:bad odds of `base_odds`; `points_to_double_odds` (PDO) more at twice the odds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_points: float = 600
    base_odds: float = Field(default=30, gt=0)
    points_to_double_odds: float = Field(default=20, gt=0)
    bands: tuple[Band, ...] = Field(
        default=(
            Band(name="A", from_points=620),
            Band(name="B", from_points=600),
            Band(name="C", from_points=580),
            Band(name="D", from_points=560),
            Band(name="E"),
        ),
        min_length=1,
    )
    """From the best to the worst."""

    @field_validator("bands")
    @classmethod
    def _descend(cls, bands: tuple[Band, ...]) -> tuple[Band, ...]:
        *bounded, lowest = bands
        bounds = [band.from_points for band in bounded if band.from_points is not None]
        if lowest.from_points is not None or len(bounds) < len(bounded):
            raise ValueError("the last band, and only it, has no from_points")
        if bounds != sorted(set(bounds), reverse=True):
            raise ValueError(f"bands must descend from the best to the worst: {bounds}")
        if len({band.name for band in bands}) < len(bands):
            raise ValueError(f"band names must differ: {[band.name for band in bands]}")
        return bands

    @property
    def factor(self) -> float:
        """Points a unit of log-odds: PDO / ln 2."""
        return self.points_to_double_odds / math.log(2)

    @property
    def offset(self) -> float:
        """Points at even odds: base points - factor * ln(base odds)."""
        return self.base_points - self.factor * math.log(self.base_odds)


def points(pds: np.ndarray, scorecard: ScorecardConfig) -> np.ndarray:
    """Points (n,) int64: offset + factor * ln((1 - pd) / pd), to the nearest whole, halves to even.

    Raises ValueError for a PD that is missing or not strictly between 0 and 1.
    """
    pds = np.asarray(pds, dtype=np.float64)
    if not ((pds > 0) & (pds < 1)).all():
        outside = int((~((pds > 0) & (pds < 1))).sum())
        raise ValueError(f"{outside} of {pds.size} PDs are missing or not strictly between 0 and 1")
    return np.rint(scorecard.offset + scorecard.factor * (np.log1p(-pds) - np.log(pds))).astype(np.int64)


def pd_of(points: np.ndarray, scorecard: ScorecardConfig) -> np.ndarray:
    """The PD (n,) at which the card gives these points, before rounding: the inverse of `points`."""
    log_odds = (np.asarray(points, dtype=np.float64) - scorecard.offset) / scorecard.factor
    return 1 / (1 + np.exp(log_odds))


def band(points: np.ndarray, scorecard: ScorecardConfig) -> np.ndarray:
    """The band's name (n,) for whole points, so that points and band never disagree in a record."""
    ascending = scorecard.bands[::-1]
    bounds = np.array([entry.from_points for entry in ascending[1:]], dtype=np.int64)
    names = np.array([entry.name for entry in ascending], dtype=object)
    return names[np.searchsorted(bounds, points, side="right")]

"""The `scorecard:` section of a portfolio: how points scale with the odds, and the bands of points."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Band(BaseModel):
    """A named range of points: from `from_points` up to the band above it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="the name that scores show")
    from_points: int | None = Field(default=None, description="none for the lowest band, which has no lower bound")


class ScorecardConfig(BaseModel):
    """Points as a linear function of the log-odds, and the bands of points."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_points: float = Field(default=600, description="points at good:bad odds of `base_odds`")
    base_odds: float = Field(default=30, gt=0, description="goods per bad at `base_points`")
    points_to_double_odds: float = Field(default=20, gt=0, description="additional points at twice the odds (PDO)")
    bands: tuple[Band, ...] = Field(
        default=(
            Band(name="A", from_points=620),
            Band(name="B", from_points=600),
            Band(name="C", from_points=580),
            Band(name="D", from_points=560),
            Band(name="E"),
        ),
        min_length=1,
        description="from the best to the worst",
    )

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
        """Points per unit of log-odds: PDO / ln 2."""
        return self.points_to_double_odds / math.log(2)

    @property
    def offset(self) -> float:
        """Points at even odds: base points - factor * ln(base odds)."""
        return self.base_points - self.factor * math.log(self.base_odds)

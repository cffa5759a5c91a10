"""A judgement on a batch, as `drift.py` and `performance.py` give it and a check tells it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Judgement:
    """Whether a demand is met, in words and numbers; met where it could not be judged, and the words say so."""

    passed: bool
    words: str
    numbers: dict[str, float]

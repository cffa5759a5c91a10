"""Vectorised random draws shared by all tables of the synthetic lender: categories, quantile curves, ragged histories.
They are independent of credit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CURVE_PROBABILITIES = np.array([0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0])


@dataclass(frozen=True)
class Categorical:
    """A category column: `codes` index into `names`; a code of -1 is a missing value."""

    codes: np.ndarray
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: np.ndarray) -> Categorical:
        return Categorical(self.codes[rows], self.names)


def generator(*key: int) -> np.random.Generator:
    """An independent stream of random numbers for a key of non-negative integers."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))


def pick(rng: np.random.Generator, size: int, weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """`size` category codes (int8) drawn with the given weights, which are normalised."""
    cumulative = np.cumsum(weights) / np.sum(weights)
    return np.searchsorted(cumulative[:-1], rng.random(size), side="right").astype(np.int8)


def pick_by(rng: np.random.Generator, group: np.ndarray, weights: Sequence[Sequence[float]]) -> np.ndarray:
    """Category codes (int8), where row i is drawn with the weights of `weights[group[i]]`."""
    cumulative = np.cumsum(np.asarray(weights, dtype=float), axis=1)
    cumulative /= cumulative[:, -1:]
    codes = np.empty(len(group), dtype=np.int8)
    uniform = rng.random(len(group))
    for index in range(len(cumulative)):
        rows = group == index
        codes[rows] = np.searchsorted(cumulative[index, :-1], uniform[rows], side="right")
    return codes


def pick_names(rng: np.random.Generator, size: int, shares: dict[str, float]) -> Categorical:
    return Categorical(pick(rng, size, list(shares.values())), tuple(shares))


def curve(normal: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Transform standard normal draws to a variable with the given quantiles (at CURVE_PROBABILITIES)."""
    from scipy.special import ndtr

    return np.interp(ndtr(normal), CURVE_PROBABILITIES, np.asarray(quantiles, dtype=float))


def blend(signal: np.ndarray, rng: np.random.Generator, correlation: float) -> np.ndarray:
    """A standard normal variable with the given correlation to `signal`, which is roughly standard normal."""
    noise = rng.standard_normal(len(signal))
    return correlation * signal + np.sqrt(1.0 - correlation**2) * noise


def on_grid(values: np.ndarray, step: float | np.ndarray) -> np.ndarray:
    """Values rounded to whole multiples of `step`, at least one step."""
    return np.maximum(np.round(values / step), 1.0) * step


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-values))


def counts(rng: np.random.Generator, mean: np.ndarray, shape: float, most: int) -> np.ndarray:
    """Negative binomial counts with the given means and gamma shape (small = uneven), capped at `most`."""
    return np.minimum(rng.poisson(mean * rng.gamma(shape, 1.0 / shape, len(mean))), most)


def spread(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For groups of the given sizes, each row's group and its position within the group from 0 (both int32)."""
    group = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    starts = np.cumsum(sizes) - sizes
    position = np.arange(len(group), dtype=np.int32) - np.repeat(starts.astype(np.int32), sizes)
    return group, position

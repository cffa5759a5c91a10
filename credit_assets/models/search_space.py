"""The ranges in which XGBoost's parameters are searched, and the configurations that are always tried.

The search is in `tuning.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from credit_assets.models.design_matrix import FEW_CELLS

MIN_SAMPLED = 20
"""The minimum number of features sampled for a tree: with fewer, most trees would miss all important ones."""

BINS: dict[int, tuple[int, ...]] = {1_500: (16, 32, 64), 3_000: (32, 64, 128), 16_000: (64, 128, 256)}
"""Candidate numbers of bins for fewer rows than the key: on few rows a trial spends most of its time on bins, each with
few rows."""

MOST_BINS: tuple[int, ...] = (128, 256, 512, 1024)
"""Candidate numbers of bins with more rows."""

MANY_FEATURES = 200
"""The number of features beyond which the largest number of bins is left out, because trials would take twice as
long."""

PENALTIES = ("reg_lambda", "reg_alpha", "gamma")
"""Penalties, searched on a logarithmic scale, whose lowest value means no penalty."""

NATURAL_ENDS = {
    ("subsample", "high"),
    ("colsample_bytree", "high"),
    ("max_depth", "low"),
    ("max_depth", "high"),
    ("learning_rate", "low"),
    ("min_child_weight", "low"),
    *((name, "low") for name in PENALTIES),
}
"""Ends of ranges beyond which no values exist, or none worth their time (at the largest depth, `max_leaves` is the
limit; the smallest leaf weight is below that of one row)."""


@dataclass(frozen=True)
class Space:
    """The search space for the given features and rows, and the configurations that are always tried first."""

    searched: dict[str, Any]
    first: list[dict[str, Any]]
    fixed: dict[str, Any]

    @classmethod
    def of(cls, features: int, weight: float, rows: int, learning_rate: float | None = None) -> Space:
        """The space for this number of features and rows of total `weight` (the sum of second derivatives,
        rows * p * (1 - p)).

        The ranges are wide: trees from stumps to 256 leaves, penalties from none to strong. The minimum leaf weight is
        a share of the total that leaves room for splits: on a small book, the usual 20 would allow none. The share of
        features sampled for a tree starts at MIN_SAMPLED of them, or at a fifth if that is less.

        The first configurations are strongly regularised trees that are rarely far off on application data, a common
        choice without a search, the defaults of LightGBM and XGBoost, and trees of one split, which add up features
        without interactions.
        """
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        least = min(max(0.05, MIN_SAMPLED / features), 0.2)
        row = weight / rows
        bins = next((numbers for below, numbers in BINS.items() if rows < below), MOST_BINS)
        if features > MANY_FEATURES:
            bins = bins[:-1]
        searched: dict[str, Any] = {
            "learning_rate": FloatDistribution(0.02 if features * rows < FEW_CELLS / 3 else 0.04, 0.5, log=True),
            "max_depth": IntDistribution(1, 12, log=True),
            "max_leaves": IntDistribution(4, 256, log=True),
            "min_child_weight": FloatDistribution(row / 2, min(200.0, weight / 2.5), log=True),
            "subsample": FloatDistribution(0.3, 1),
            "colsample_bytree": FloatDistribution(least, 1, log=True),
            "reg_lambda": FloatDistribution(0.1, 1000, log=True),
            "reg_alpha": FloatDistribution(0.01, 30, log=True),
            "gamma": FloatDistribution(0.005, 5, log=True),
            "max_bin": CategoricalDistribution(bins),
        }
        plain = {"subsample": 1, "colsample_bytree": 1, "reg_lambda": 1, "reg_alpha": 0, "gamma": 0, "max_bin": 256}
        first: list[dict[str, Any]] = [
            {
                "learning_rate": 0.07,
                "max_depth": 3,
                "max_leaves": 256,
                "min_child_weight": min(20.0, weight / 5),
                "subsample": 0.8,
                "colsample_bytree": min(0.4, 3 * least),
                "reg_lambda": 30.0,
                "reg_alpha": 1.0,
                "gamma": 0.01,
                "max_bin": bins[1],
            },
            # A common choice without a search: a low rate, trees of depth 4 (the trial finds the number of rounds).
            plain | {"learning_rate": 0.03, "max_depth": 4, "max_leaves": 256, "min_child_weight": 1},
            # LightGBM's defaults: leaf-wise growth to 31 leaves of at least 20 rows, without penalties.
            plain
            | {"learning_rate": 0.1, "max_depth": 12, "max_leaves": 31, "min_child_weight": 20 * row, "reg_lambda": 0},
            # XGBoost's defaults.
            plain | {"learning_rate": 0.3, "max_depth": 6, "max_leaves": 256, "min_child_weight": 1},
        ]
        first.append(first[0] | {"learning_rate": 0.15, "max_depth": 1, "reg_lambda": 3.0, "reg_alpha": 0, "gamma": 0})
        fixed = {}
        if learning_rate is not None:
            del searched["learning_rate"]
            fixed["learning_rate"] = learning_rate
        return cls(searched, [_within(searched, configuration) for configuration in first], fixed)

    def params(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """XGBoost's parameters from the values of a trial."""
        params = {**self.fixed, **values}
        for name in PENALTIES:
            if params[name] <= self.searched[name].low:
                params[name] = 0.0
        if 2 ** params["max_depth"] <= params["max_leaves"]:
            # The limit on leaves does not apply: level-wise growth yields the same trees, faster.
            del params["max_leaves"]
        else:
            params["grow_policy"] = "lossguide"
        return params

    def edges(self, values: Mapping[str, Any]) -> list[str]:
        """The values of a trial at an end of their range that is not a natural end, such as `max_depth 12`."""
        params, found = self.params(values), []
        for name in sorted(params.keys() & self.searched.keys()):
            distribution, value = self.searched[name], values[name]
            if name == "max_bin":
                continue
            low, high, at = (
                math.log(x) if distribution.log else x for x in (distribution.low, distribution.high, value)
            )
            share = (at - low) / (high - low)
            if (share < 0.02 and (name, "low") not in NATURAL_ENDS) or (
                share > 0.98 and (name, "high") not in NATURAL_ENDS
            ):
                found.append(f"{name} {value:.3g}")
        return found


def _within(searched: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration's searched parameters, clipped to their ranges."""
    moved = {}
    for name, distribution in searched.items():
        value = configuration[name]
        if name == "max_bin":
            value = min(value, max(distribution.choices))
        else:
            value = type(distribution.low)(min(max(value, distribution.low), distribution.high))
        moved[name] = value
    return moved

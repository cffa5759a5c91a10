"""How large a miscalibration `performance_holds` detects, after how many outcomes.

    python benchmarks/calibration_power.py --books 100

Books are made up: PDs are spread like a scorecard's and banded by the default scorecard, and either all applicants or
those of the riskiest quarter default more often than their PDs by a factor. Each book is judged on its first batch, and
on the fourth and the twelfth together with those before. The lines of factor 1.00 are of correct PDs.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from credit_assets.decisions.scorecard import band, points
from credit_assets.monitoring.performance import holds
from credit_assets.settings.performance import PerformanceConfig
from credit_assets.settings.scorecard import ScorecardConfig

CONFIG = PerformanceConfig()
LOOKS = (1, 4, 12)


def book(rng: np.random.Generator, rows: int, level: float, times: float, riskiest: bool) -> pd.DataFrame:
    """Evidence of `rows` applicants with a mean PD of about `level`, who default `times` as often as their PDs."""
    centre = {0.03: 3.85, 0.08: 2.75, 0.144: 2.05}[level]
    pds = 1 / (1 + np.exp(centre - 0.8 * rng.normal(size=rows)))
    wrong = pds > np.quantile(pds, 0.75) if riskiest else np.full(rows, True)
    truth = np.where(wrong, np.minimum(times * pds, 0.95), pds)
    return pd.DataFrame(
        {
            "applicant": np.arange(rows),
            "pd": pds,
            "band": band(points(pds, ScorecardConfig()), ScorecardConfig()),
            "outcome": (rng.random(rows) < truth).astype(float),
        }
    )


def found(rng: np.random.Generator, books: int, rows: int, level: float, times: float, riskiest: bool) -> list[float]:
    """The share of books that fail at each of the LOOKS."""
    failed = np.zeros(len(LOOKS))
    for _ in range(books):
        batches = [book(rng, rows, level, times, riskiest) for _ in range(max(LOOKS))]
        for place, look in enumerate(LOOKS):
            earlier = pd.concat(batches[: look - 1]) if look > 1 else None
            failed[place] += not holds(batches[look - 1], CONFIG, earlier).passed
    return list(failed / books)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--books", type=int, default=100, help="of each kind")
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 2_000, 5_000], help="outcomes of a batch")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.03, 0.08, 0.144], help="mean PDs")
    parser.add_argument("--seed", type=int, default=29)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    looks = " | ".join(f"after {look}" for look in LOOKS)
    print(f"| mean PD | defaults | outcomes of a batch | {looks} |\n|{'---|' * (3 + len(LOOKS))}")
    for level in asked.levels:
        for times, riskiest in [(1.0, False), (1.1, False), (1.15, False), (1.25, False), (1.2, True), (1.4, True)]:
            for rows in asked.rows:
                shares = " | ".join(f"{share:.0%}" for share in found(rng, asked.books, rows, level, times, riskiest))
                of = " in the riskiest quarter" if riskiest else ""
                print(f"| {level:.1%} | {times:.2f} times{of} | {rows:,} | {shares} |", flush=True)


if __name__ == "__main__":
    main()

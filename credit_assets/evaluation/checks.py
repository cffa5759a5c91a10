"""The promotion gate as asset checks, one per requirement. `gate.py` gives the verdicts."""

import dagster as dg
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.evaluation.four_fifths import four_fifths_name
from credit_assets.evaluation.gate import BASELINE, PLAUSIBLE
from credit_assets.evaluation.predictions import candidate_of
from credit_assets.verdicts.checks import check_result
from credit_assets.verdicts.verdict import Verdict

SURELY_BETTER = "surely_better_than_champion"
"""Metadata of the checks on a candidate that is refused although it is."""

DEMANDS = {
    "discrimination": "The candidate's AUC reaches the minimum, and is above chance.",
    PLAUSIBLE: "The AUC is not too good to be true, or somebody has confirmed it by name.",
    "calibration": "PDs match default rates, in level and shape, as far as the test rows can tell.",
    "not_worse_than_champion": "On the same rows the AUC is not below the champion's beyond margin and chance.",
    BASELINE: "On the same rows the candidate is surely better than the baseline.",
    "stability": "PDs of the test rows are spread as those of the training rows are.",
}


def check_specs(book: Book) -> list[dg.AssetCheckSpec]:
    """The checks that the champion waits for, and the one on the baseline, which it waits for if configured. Attributes
    that only warn are checked on the audit itself."""
    asset, config = dg.AssetKey([book.name, "promotion_gate"]), book.portfolio.evaluation.gate
    demands = DEMANDS | {
        four_fifths_name(name): f"No group of {name} is approved at too low a share of another's rate, beyond chance."
        for name in book.portfolio.fairness.blocking
    }
    warns = {BASELINE} if config.beats_baseline == "warn" else set()
    return [
        dg.AssetCheckSpec(name, asset=asset, blocking=name not in warns, description=words)
        for name, words in demands.items()
    ]


def cleared(gate: pd.DataFrame, predictions: pd.DataFrame) -> int:
    """The candidate's version, if it passed the gate.

    Raises Failure if a blocking requirement is not met, or if the gate was about another candidate. Blocking checks
    stop what is downstream only in their own run; this holds in any run.
    """
    version = candidate_of(predictions)
    missed = gate[gate["blocking"] & ~gate["passed"]]
    if len(missed):
        raise dg.Failure(
            f"Candidate {version} did not pass the promotion gate. {' '.join(missed['words'])}", allow_retries=False
        )
    if (judged := int(gate["candidate_version"].iloc[0])) != version:
        raise dg.Failure(
            f"The promotion gate judged candidate {judged}, the newest is {version}; run the job train.",
            allow_retries=False,
        )
    return version


def gate_result(asset: dg.AssetKey, verdict: Verdict, version: int, better: str) -> dg.AssetCheckResult:
    """A verdict on a version as the result of its check, with its figures; and, if the version is refused, in what it
    is significantly `better` than the champion (empty: in nothing)."""
    details = {"candidate_version": int(version), **({SURELY_BETTER: better} if better else {})}
    return check_result(verdict, asset, details)

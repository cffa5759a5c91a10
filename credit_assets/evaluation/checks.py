"""The promotion gate as asset checks, one per requirement. `gate.py` defines the verdicts."""

import dagster as dg
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.evaluation.four_fifths import four_fifths_name
from credit_assets.evaluation.gate import BASELINE, PLAUSIBLE
from credit_assets.evaluation.predictions import candidate_of
from credit_assets.verdicts.checks import check_result
from credit_assets.verdicts.verdict import Verdict

BETTER_THAN_CHAMPION = "surely_better_than_champion"
"""Metadata of the checks on a candidate that is refused although it is significantly better than the champion."""

REQUIREMENTS = {
    "discrimination": "The AUC of the candidate reaches the minimum and is significantly above chance.",
    PLAUSIBLE: "The AUC is not too good to be true, or a person has confirmed it by name.",
    "calibration": "PDs match default rates in level and shape; only significant deviations fail.",
    "not_worse_than_champion": "The AUC is not significantly, and by more than the margin, below the champion's.",
    BASELINE: "On the same rows, the candidate is significantly better than the baseline.",
    "stability": "The PDs of the test rows are distributed like those of the training rows.",
}


def check_specs(book: Book) -> list[dg.AssetCheckSpec]:
    """The blocking checks of the gate, and the comparison with the baseline, which blocks if configured. Protected
    attributes that only warn are checked on the fairness audit."""
    asset, config = dg.AssetKey([book.name, "promotion_gate"]), book.portfolio.evaluation.gate
    requirements = REQUIREMENTS | {
        four_fifths_name(
            name
        ): f"No group of {name} has a significantly too low approval rate relative to the reference group."
        for name in book.portfolio.fairness.blocking
    }
    warns = {BASELINE} if config.beats_baseline == "warn" else set()
    return [
        dg.AssetCheckSpec(name, asset=asset, blocking=name not in warns, description=text)
        for name, text in requirements.items()
    ]


def cleared(gate: pd.DataFrame, predictions: pd.DataFrame) -> int:
    """The version of the candidate, if it passed the gate.

    Raises Failure if a blocking requirement is not met, or if the gate examined another candidate. Blocking checks stop
    downstream assets only in their own run; this function stops them in every run.
    """
    version = candidate_of(predictions)
    missed = gate[gate["blocking"] & ~gate["passed"]]
    if len(missed):
        raise dg.Failure(
            f"Candidate {version} did not pass the promotion gate. {' '.join(missed['words'])}", allow_retries=False
        )
    if (examined := int(gate["candidate_version"].iloc[0])) != version:
        raise dg.Failure(
            f"The promotion gate examined candidate {examined}, but the newest is {version}. Run the job `train`.",
            allow_retries=False,
        )
    return version


def gate_result(asset: dg.AssetKey, verdict: Verdict, version: int, better: str) -> dg.AssetCheckResult:
    """A verdict on a version as the result of its check, with its figures. `better` states in which metrics a refused
    version is significantly better than the champion (empty: in none)."""
    details = {"candidate_version": int(version), **({BETTER_THAN_CHAMPION: better} if better else {})}
    return check_result(verdict, asset, details)

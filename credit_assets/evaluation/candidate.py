"""A candidate with all its results, the verdicts of the gate on it, and what is stored of them with the version.
`gate.py` defines the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import Logger
from pathlib import Path

import duckdb
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.evaluation.champion_on_test import champion_on, reason_not_compared
from credit_assets.evaluation.gate import gate_summary, promotable, verdicts
from credit_assets.evaluation.predictions import by_model, candidate_of
from credit_assets.evaluation.report import html_report, write_page
from credit_assets.evaluation.stability import score_stability
from credit_assets.evaluation.test_results import Evidence, evaluate_models, pictures
from credit_assets.evaluation.vintages import performance_by_batch
from credit_assets.lake.tables import Lake
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import ModelVersion
from credit_assets.verdicts.verdict import Verdict

LEADING = 3
"""Features that are named if an AUC is too good to be true."""


@dataclass(frozen=True)
class Candidate:
    """A candidate and its results: its `CandidatePredictions` (`pds`), the PDs of the test rows with a column per model
    (`tested`), the evaluations and comparisons of these (`evidence`), and its figures by batch."""

    version: ModelVersion
    pds: pd.DataFrame
    training_set: duckdb.DuckDBPyRelation
    tested: pd.DataFrame
    evidence: Evidence
    by_batch: pd.DataFrame

    @classmethod
    def of(
        cls, book: Book, predictions: pd.DataFrame, pds: pd.DataFrame, training_set: duckdb.DuckDBPyRelation
    ) -> Candidate:
        """The candidate whose `Predictions` these are. Raises RegistryError if it is no longer registered."""
        config, seed = book.portfolio.evaluation, book.portfolio.training.seed
        version, tested = book.registry.get(candidate_of(predictions)), by_model(predictions)
        known = training_set.project("batch, fold, target").df()
        return cls(
            version,
            pds,
            training_set,
            tested,
            evaluate_models(tested, version.decline_above, config, seed),
            performance_by_batch(pds, known, config.confidence),
        )


def verdicts_on(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    book: Book,
    candidate: Candidate,
    compared: ModelVersion | None,
    audit: pd.DataFrame,
    log: Logger,
) -> list[Verdict]:
    """Every verdict of the gate on the candidate, compared with the champion (`compared`) on the same rows. `audit` has
    the verdicts of the fairness audit. If the champion cannot be loaded, a warning is logged."""
    config, training = book.portfolio.evaluation, book.portfolio.training
    evidence, tested = candidate.evidence, candidate.tested
    champion = evidence.models.get("champion")
    by_champion = champion_on(con, lake, book, compared, tested, candidate.training_set, log) if champion else None
    stable = score_stability(candidate.pds, by_champion, config.n_bootstrap, training.seed, config.confidence)
    return verdicts(
        evidence.candidate,
        champion,
        evidence.comparisons.get("champion"),
        audit,
        stable.psi,
        stable.noise,
        stable.champion_psi,
        config.gate,
        psi_difference=stable.difference,
        baseline=evidence.comparisons["baseline"],
        max_auc=training.max_single_feature_auc,
        leading=leading(book.registry, candidate.version),
        not_compared="" if champion else reason_not_compared(book, compared, candidate.training_set.columns),
    )


def leading(registry: Registry, version: ModelVersion) -> list[str]:
    """The names of the LEADING most important features of the version."""
    shares = registry.importance(version)
    return sorted(shares, key=shares.__getitem__, reverse=True)[:LEADING]


def gate_table(verdicts: Sequence[Verdict], number: int) -> pd.DataFrame:
    """The `Gate` table: one row per verdict on the version of this number."""
    return pd.DataFrame(
        [{"verdict": v.name, "passed": v.passed, "blocking": v.blocking, "words": v.message} for v in verdicts]
    ).assign(candidate_version=number)


def write_report(
    report: Path,
    book: Book,
    candidate: Candidate,
    verdicts: Sequence[Verdict],
    *,
    groups: pd.DataFrame,
    audit: pd.DataFrame,
    curves: pd.DataFrame | None,
    versions: Mapping[str, str],
    synthetic: bool,
) -> None:
    """Write the report, and log it with the version. `groups` and `audit` are the tables of the fairness audit,
    `curves` the vintage curves (if there are any), and `versions` those of the tables that the report is made from."""
    evidence = candidate.evidence
    page = html_report(
        title=f"{book.portfolio.title}: candidate {candidate.version.number}",
        models=evidence.models,
        comparisons=evidence.comparisons,
        gate=verdicts,
        fairness_groups=groups,
        fairness_verdicts=audit,
        plots=pictures(candidate.tested, evidence.candidate, candidate.by_batch, curves),
        by_batch=candidate.by_batch,
        versions=versions,
        synthetic=synthetic,
    )
    write_page(report, page)
    book.registry.log(candidate.version, {}, {"report": report})


def log_verdicts(
    registry: Registry, version: ModelVersion, verdicts: Sequence[Verdict], champion: ModelVersion | None, better: str
) -> None:
    """Log the result of the gate with the version. `better` states in which metrics a refused version is significantly
    better than the champion (empty: in none)."""
    registry.log_gate(
        version.number,
        gate_summary(verdicts),
        passed=promotable(verdicts),
        better_than=champion.number if champion else None,
        better=better,
    )

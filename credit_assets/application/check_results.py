"""The latest result of every check of a portfolio, from Dagster's instance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from pydantic import BaseModel, ConfigDict

from credit_assets.application.json_times import JsonTime
from credit_assets.book.book import Book
from credit_assets.dagster_private import COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as EVALUATED
from credit_assets.dagster_private import PARTITION_NAME_TAG, AssetCheckExecutionRecord
from credit_assets.evaluation import checks as evaluation
from credit_assets.fairness import checks as fairness
from credit_assets.features import checks as features
from credit_assets.ingest import checks as ingest
from credit_assets.monitoring import checks as monitoring
from credit_assets.scoring import checks as scoring

WITHDRAWN = "withdrawn"
"""Metadata key of the evaluations with which a withdrawal resolves failed checks."""
ROOMS = (ingest, features, evaluation, fairness, scoring, monitoring)
"""The modules with a function `check_specs`."""
PAGE = 200
"""Evaluations of a check that are read at a time."""


class CheckResult(BaseModel):
    """The latest result of a check; `candidate_version` if it is about a candidate."""

    model_config = ConfigDict(frozen=True)

    asset: str
    check: str
    batch: str | None
    candidate_version: int | None
    passed: bool
    severity: str
    description: str | None
    at: JsonTime


def check_keys(book: Book) -> list[dg.AssetCheckKey]:
    """The keys of all checks of the portfolio, sorted. Does not build the definitions, which would take longer."""
    return sorted(spec.key for room in ROOMS for spec in room.check_specs(book))


def check_results(instance: dg.DagsterInstance, book: Book) -> list[CheckResult]:
    """The latest evaluation of every check that has been evaluated."""
    found = []
    for key in check_keys(book):
        record = latest_evaluation(instance, key)
        if record and record.event and (evaluation := record.evaluation):
            run = instance.get_run_by_id(record.run_id)
            candidate = evaluation.metadata.get("candidate_version")
            found.append(
                CheckResult(
                    asset=key.asset_key.path[-1],
                    check=key.name,
                    batch=run.tags.get(PARTITION_NAME_TAG) if run else None,
                    candidate_version=int(str(candidate.value)) if candidate else None,
                    passed=evaluation.passed,
                    severity=evaluation.severity.value,
                    description=evaluation.description,
                    at=datetime.fromtimestamp(record.event.timestamp, UTC),
                )
            )
    return found


def latest_evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> AssetCheckExecutionRecord | None:
    """The latest evaluation of the check. Evaluations of withdrawn batches are ignored if there are others."""
    # Only completed evaluations: a run that fails before a check leaves a planned evaluation.
    newest: AssetCheckExecutionRecord | None = None
    withdrawn: set[str] = set()
    for record in evaluations(instance, key):
        newest = newest or record
        if not withdrawn and not _is_withdrawal(record):
            return record
        of = _batches_of(instance, record)
        if _is_withdrawal(record):
            withdrawn |= of
        elif withdrawn.isdisjoint(of):
            return record
    return newest


def evaluations(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> Iterator[AssetCheckExecutionRecord]:
    """All evaluations of the check, newest first, read in pages. The first page has one record."""
    cursor, limit = None, 1
    while page := instance.event_log_storage.get_asset_check_execution_history(
        key, limit=limit, cursor=cursor, status=EVALUATED
    ):
        yield from page
        cursor, limit = page[-1].id, PAGE


def reported_batch(evaluation: dg.AssetCheckEvaluation) -> str | None:
    """The batch that the result of the check names; None if it names none."""
    reported = evaluation.metadata.get("batch")
    return None if reported is None else str(reported.value)


def _is_withdrawal(record: AssetCheckExecutionRecord) -> bool:
    return record.evaluation is not None and WITHDRAWN in record.evaluation.metadata


def _batches_of(instance: dg.DagsterInstance, record: AssetCheckExecutionRecord) -> set[str]:
    """The batch of the evaluation, according to its run and to its result."""
    run, evaluation = instance.get_run_by_id(record.run_id), record.evaluation
    named = (run.tags.get(PARTITION_NAME_TAG) if run else None, evaluation and reported_batch(evaluation))
    return {batch for batch in named if batch}

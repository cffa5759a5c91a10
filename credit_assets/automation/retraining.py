"""Whether a failed check requires a training or a rollback, and why not yet.

It is determined at every poll from the event log, the registry and the lake, and nothing else is stored, so that a
restart neither forgets nor repeats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import dagster as dg

from credit_assets.automation.active_runs import batches_at_work, runs_at_work
from credit_assets.automation.due import (
    BatchesActive,
    BetterCandidate,
    CoolDown,
    Due,
    FailedCheck,
    FeaturesOfOtherSql,
    NeverPassed,
    NoChampion,
    NoFailedCheck,
    NoOutcomes,
    NoPredecessor,
    NotWorse,
    Outcome,
    Refused,
    RollbackFirst,
    RollbackStarted,
    TooFewOutcomes,
    TrainingActive,
    TrainingRequested,
    Trigger,
    Waiting,
    WeeklyChallenger,
    WorseThanPredecessor,
)
from credit_assets.automation.pending import new_outcomes, to_make_again, training_key
from credit_assets.book.book import Book
from credit_assets.book.queries import FeatureQuery, load
from credit_assets.dagster_private import AssetCheckExecutionRecord, AssetCheckExecutionRecordStatus
from credit_assets.features.training_rows import TRAINING_SET
from credit_assets.lake.tables import Lake
from credit_assets.monitoring.check_names import FEATURES_DRIFTED, NOT_WORSE, PERFORMANCE_HOLDS, SCORES_DRIFTED
from credit_assets.registry.registry import Registry
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets.settings.run_tags import KEY_TAG, PORTFOLIO_TAG, TRAINING_TAG

RETRAINS = (
    ("feature_drift", FEATURES_DRIFTED),
    ("score_drift", SCORES_DRIFTED),
    ("performance", PERFORMANCE_HOLDS),
)
ROLLS_BACK = (("performance", NOT_WORSE),)
LOOK_BACK = 50
"""Failed evaluations looked at a check, newest first; those before them are of champions long gone."""


def failures(
    instance: dg.DagsterInstance, portfolio: Portfolio, checks: Iterable[tuple[str, str]], champion: int
) -> list[FailedCheck]:
    """The batches whose latest evaluation of one of the checks, against this champion, failed with severity ERROR;
    oldest first."""
    told = [
        (record.event.timestamp, evaluation)
        for asset, check in checks
        for record in _evaluations(instance, dg.AssetCheckKey(dg.AssetKey([portfolio.name, asset]), check))
        if record.event and (evaluation := record.evaluation) and _said(evaluation, "model_version") == champion
    ]
    latest: dict[tuple[str, str], FailedCheck | None] = {}
    # By the time of the evaluation: a record is numbered when its run starts.
    for at, evaluation in sorted(told, key=lambda each: each[0]):
        check, batch = evaluation.check_name, str(_said(evaluation, "batch"))
        serious = not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
        found = FailedCheck(check, batch, datetime.fromtimestamp(at, UTC), evaluation.description or "")
        latest[check, batch] = found if serious else None
    return sorted((failure for failure in latest.values() if failure), key=lambda failure: failure.at)


def _evaluations(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> list[AssetCheckExecutionRecord]:
    """The newest failures, and what passed since the oldest of them; empty if none failed."""

    def newest(status: AssetCheckExecutionRecordStatus, limit: int) -> list[AssetCheckExecutionRecord]:
        found = instance.event_log_storage.get_asset_check_execution_history(check, limit=limit, status={status})
        return list(found)

    failed, limit = newest(AssetCheckExecutionRecordStatus.FAILED, LOOK_BACK), LOOK_BACK
    if not failed:
        return []
    passed = newest(AssetCheckExecutionRecordStatus.SUCCEEDED, limit)
    while len(passed) == limit and passed[-1].id > failed[-1].id:
        limit *= 4
        passed = newest(AssetCheckExecutionRecordStatus.SUCCEEDED, limit)
    return failed + passed


def _said(evaluation: dg.AssetCheckEvaluation, name: str) -> object:
    """The figure of that name in the result of a check (`monitoring/drift_verdicts.py`)."""
    found = evaluation.metadata.get(name)
    return found.value if found else None


def rollback(instance: dg.DagsterInstance, portfolio: Portfolio, registry: Registry) -> Outcome:
    """The rollback that is due because the champion did worse than its predecessor, or the reason why none is."""
    found = registry.champion()
    if found is None:
        return Waiting(NoChampion())
    champion = found.number
    failed = failures(instance, portfolio, ROLLS_BACK, champion)
    if not failed:
        return Waiting(NotWorse(champion))
    asked_by = (failed[0],)
    before = registry.predecessor()
    if before is None:
        return Refused(NoPredecessor(), asked_by)
    if not registry.has_reference(registry.get(before)):
        return Refused(NeverPassed(before), asked_by)
    # A version that a person brings back may have to go again.
    moves = len(registry.history())
    key = f"rollback:{champion}.{moves}"
    for run in instance.get_runs(dg.RunsFilter(tags={PORTFOLIO_TAG: portfolio.name, KEY_TAG: key}), limit=1):
        return Waiting(RollbackStarted(run.run_id), asked_by)
    return Due("rollback", None, WorseThanPredecessor(champion, before, failed[0]), key=key, champion=champion)


def training(instance: dg.DagsterInstance, book: Book, lake: Lake, now: datetime) -> Outcome:
    """The training that is due, or the reason why there is none (yet): the first, and later those that failed checks
    request, or a newest candidate that the gate refused although it is significantly better than the champion.

    Each failed evaluation is answered by one training, the first that starts after it and makes a candidate, whatever
    started that. Until enough outcomes are known that the newest candidate has not learned from, a training would make
    the same candidate again, so the failure waits for them.
    """
    portfolio, project, registry = book.portfolio, book.project, book.registry
    found, known = registry.champion(), trainings(instance, portfolio, registry)
    asked_by: tuple[Trigger, ...]
    if found is None:
        asked_by = (NoChampion(),)
        if not new_outcomes(portfolio, lake, None):
            return Waiting(NoOutcomes())
        if active := batches_at_work(instance, portfolio):
            return Waiting(BatchesActive(tuple(sorted(active))), asked_by)
    else:
        failed = failures(instance, portfolio, RETRAINS, found.number)
        failed = [failure for failure in failed if known.answered is None or failure.at > known.answered]
        asked_by = (*failed, *_better(registry, found.number))
        if not asked_by:
            return Waiting(NoFailedCheck(found.number))
        if isinstance(rollback(instance, portfolio, registry), Due):
            return Waiting(RollbackFirst(), asked_by)
    if known.at_work:
        return Waiting(TrainingActive(known.at_work), asked_by)
    cool_down = portfolio.automation.cool_down_hours
    hours = (now - known.began).total_seconds() / 3600 if known.began else None
    if hours is not None and hours < cool_down:
        return Refused(CoolDown(hours, cool_down), asked_by)
    new, version = outcomes_since_newest(portfolio, registry, lake)
    if version and new < portfolio.automation.min_new_outcomes:
        return Refused(TooFewOutcomes(new, version, portfolio.automation.min_new_outcomes), asked_by)
    if stale := to_make_again(portfolio, lake, _queries(project.sql(portfolio.name), _written(project, portfolio))):
        return Refused(FeaturesOfOtherSql(portfolio.name, tuple(str(each.batch) for each in stale)), asked_by)
    return Due("train", None, TrainingRequested(asked_by, new), key=known.key(portfolio, lake))


def challenger(instance: dg.DagsterInstance, portfolio: Portfolio, registry: Registry, lake: Lake) -> Outcome:
    """The challenger that the schedule requests, which needs only enough new outcomes, or the reason why there is
    none."""
    known = trainings(instance, portfolio, registry)
    new, version = outcomes_since_newest(portfolio, registry, lake)
    if known.at_work:
        return Waiting(TrainingActive(known.at_work))
    if new < portfolio.automation.min_new_outcomes:
        return Refused(TooFewOutcomes(new, version, portfolio.automation.min_new_outcomes))
    return Due("train", None, TrainingRequested((WeeklyChallenger(),), new), key=known.key(portfolio, lake))


def _better(registry: Registry, champion: int) -> list[BetterCandidate]:
    """Whether the gate refused the newest candidate although it is significantly better than the champion, as a
    trigger; empty if not. A training that it requests makes a newer one."""
    newest = registry.newest()
    if newest is None or (better := newest.refused_though_better(champion)) is None:
        return []
    return [BetterCandidate(newest.number, champion, better)]


@lru_cache(maxsize=8)
def _queries(folder: Path, written: tuple[tuple[str, int], ...]) -> dict[str, FeatureQuery]:
    """The current queries: read again only when a file has been written, because hundreds of features take a second."""
    return load(folder)


def _written(project: Project, portfolio: Portfolio) -> tuple[tuple[str, int], ...]:
    files = sorted(project.sql(portfolio.name).glob("*.sql"))
    return tuple((file.name, file.stat().st_mtime_ns) for file in files)


def outcomes_since_newest(portfolio: Portfolio, registry: Registry, lake: Lake) -> tuple[int, int | None]:
    """How many outcomes the newest candidate has not learned from, and its version; all outcomes, if there is none."""
    newest = registry.newest()
    if newest is None:
        return new_outcomes(portfolio, lake, None), None
    learned = newest.last_made_from(portfolio.table(TRAINING_SET))
    return new_outcomes(portfolio, lake, learned), newest.number


@dataclass(frozen=True)
class Trainings:
    """The newest training of a portfolio: its run, and when it `began`, whatever became of it; the run of one that is
    `at_work`; and when the newest began that is at work, made a candidate, or made an earlier version again, and so has
    `answered` what was asked.
    """

    run: str | None
    began: datetime | None
    at_work: str | None
    answered: datetime | None

    def key(self, portfolio: Portfolio, lake: Lake) -> str:
        """The same for the next training, as long as it would learn from the same rows."""
        return f"{training_key(portfolio, lake)}:{self.run or 'first'}"


def trainings(instance: dg.DagsterInstance, portfolio: Portfolio, registry: Registry) -> Trainings:
    """Read off the instance and, where its run is purged, the newest candidate."""
    newest = registry.newest()
    made = None
    if newest:
        run_id, at = newest.latest_training
        record = instance.get_run_record_by_id(run_id or "")
        made = record.create_timestamp if record else at
    records = instance.get_run_records(dg.RunsFilter(tags={TRAINING_TAG: portfolio.name}), limit=1)
    at_work = runs_at_work(instance, portfolio, **{TRAINING_TAG: portfolio.name})
    began = records[0].create_timestamp if records else made
    return Trainings(
        run=records[0].dagster_run.run_id if records else None,
        began=began,
        at_work=at_work[0].run_id if at_work else None,
        answered=began if at_work else made,
    )

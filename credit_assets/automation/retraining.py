"""Whether a training or a rollback is due after a failed check, or the reason why not.

Every poll determines it from the event log, the registry and the lake. No other state is stored, so a restart neither
loses nor repeats a training.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from credit_assets.automation.active_runs import active_batches, active_runs
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
from credit_assets.automation.pending import new_outcomes, stale_features, training_key
from credit_assets.book.book import Book
from credit_assets.book.queries import FeatureQuery, load
from credit_assets.dagster_private import (
    AssetCheckExecutionRecordStatus,
    AssetCheckExecutionsTable,
    SqlEventLogStorage,
)
from credit_assets.features.training_rows import TRAINING_SET
from credit_assets.lake.tables import Lake
from credit_assets.monitoring.check_names import FEATURES_DRIFTED, NOT_WORSE, PERFORMANCE_HOLDS, SCORES_DRIFTED
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import ModelVersion
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets.settings.run_tags import KEY_TAG, PORTFOLIO_TAG, TRAINING_TAG

RETRAINING_CHECKS = (
    ("feature_drift", FEATURES_DRIFTED),
    ("score_drift", SCORES_DRIFTED),
    ("performance", PERFORMANCE_HOLDS),
)
ROLLBACK_CHECKS = (("performance", NOT_WORSE),)
BY_A_PERSON = ("hand", "override")
"""Changes of the champion that only later evaluations undo: whoever restores a version knows the earlier ones."""
CLOCK_SKEW = timedelta(hours=1)
"""How far the clock of a model registry on another machine may be ahead of the clock of a run."""


def failed_checks(
    instance: dg.DagsterInstance, portfolio: Portfolio, checks: Iterable[tuple[str, str]], champion: ModelVersion
) -> list[FailedCheck]:
    """The latest evaluations of the checks, by check and batch, that failed with severity ERROR on this champion;
    oldest first."""
    latest: dict[tuple[str, str], FailedCheck | None] = {}
    for at, evaluation in _evaluations(instance, portfolio, checks, champion.created - CLOCK_SKEW):
        if _metadata_value(evaluation, "model_version") != champion.number:
            continue
        check, batch = evaluation.check_name, str(_metadata_value(evaluation, "batch"))
        serious = not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
        latest[check, batch] = FailedCheck(check, batch, at, evaluation.description or "") if serious else None
    return sorted((failure for failure in latest.values() if failure), key=lambda failure: failure.at)


def _evaluations(
    instance: dg.DagsterInstance, portfolio: Portfolio, checks: Iterable[tuple[str, str]], since: datetime
) -> list[tuple[datetime, dg.AssetCheckEvaluation]]:
    """The failed evaluations of the checks since then, and those that passed since the first of them, with their times;
    oldest first. Empty if none failed.

    Selects by the time of the evaluation, which Dagster's own methods cannot: they number records when their run
    starts.
    """
    events, column = instance.event_log_storage, AssetCheckExecutionsTable.c
    assert isinstance(events, SqlEventLogStorage)
    keys = [(dg.AssetKey([portfolio.name, asset]).to_string(), check) for asset, check in checks]
    failed = AssetCheckExecutionRecordStatus.FAILED.value
    at = column.evaluation_event_timestamp
    of_checks = sa.and_(
        sa.tuple_(column.asset_key, column.check_name).in_(keys), at >= since.astimezone(UTC).replace(tzinfo=None)
    )
    first = sa.select(sa.func.min(at)).where(of_checks, column.execution_status == failed)
    query = (
        sa.select(column.evaluation_event)
        .where(
            of_checks,
            column.execution_status.in_([failed, AssetCheckExecutionRecordStatus.SUCCEEDED.value]),
            at >= first.scalar_subquery(),
        )
        .order_by(at, column.id)
    )
    with events.index_connection() as connection:
        stored = [row.evaluation_event for row in connection.execute(query)]
    found = []
    for entry in (dg.deserialize_value(event, dg.EventLogEntry) for event in stored):
        evaluation = entry.dagster_event and entry.dagster_event.event_specific_data
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            found.append((datetime.fromtimestamp(entry.timestamp, UTC), evaluation))
    return found


def _metadata_value(evaluation: dg.AssetCheckEvaluation, name: str) -> object:
    """The figure of that name in the result of a check (`monitoring/drift_verdicts.py`)."""
    found = evaluation.metadata.get(name)
    return found.value if found else None


def rollback(instance: dg.DagsterInstance, portfolio: Portfolio, registry: Registry) -> Outcome:
    """The rollback that is due because the champion performed worse than its predecessor, or the reason why none is."""
    found = registry.champion()
    if found is None:
        return Waiting(NoChampion())
    champion, history = found.number, registry.history()
    failed = failed_checks(instance, portfolio, ROLLBACK_CHECKS, found)
    if history[-1].by in BY_A_PERSON:
        failed = [failure for failure in failed if failure.at > history[-1].at]
    if not failed:
        return Waiting(NotWorse(champion))
    requested_by = (failed[0],)
    before = registry.predecessor()
    if before is None:
        return Refused(NoPredecessor(), requested_by)
    if not registry.has_reference(registry.get(before)):
        return Refused(NeverPassed(before), requested_by)
    # The number of moves is part of the key: a person may promote the version again, which may need another rollback.
    key = f"rollback:{champion}.{len(history)}"
    for run in instance.get_runs(dg.RunsFilter(tags={PORTFOLIO_TAG: portfolio.name, KEY_TAG: key}), limit=1):
        return Waiting(RollbackStarted(run.run_id), requested_by)
    return Due("rollback", None, WorseThanPredecessor(champion, before, failed[0]), key=key, champion=champion)


def training(instance: dg.DagsterInstance, book: Book, lake: Lake, now: datetime) -> Outcome:
    """The training that is due, or the reason why none is.

    The first training is due once there are outcomes. Later ones are requested by failed checks, or by a newest
    candidate that the gate refused although it is significantly better than the champion.

    Each failed evaluation leads to one training: the first that starts after it and makes a candidate, whoever started
    it. While too few outcomes are known that the newest candidate has not learned from, a training would make the same
    candidate again, so it waits.
    """
    portfolio, project, registry = book.portfolio, book.project, book.registry
    found, latest = registry.champion(), latest_training(instance, portfolio, registry)
    requested_by: tuple[Trigger, ...]
    if found is None:
        requested_by = (NoChampion(),)
        if not new_outcomes(portfolio, lake, None):
            return Waiting(NoOutcomes())
        if active := active_batches(instance, portfolio):
            return Waiting(BatchesActive(tuple(sorted(active))), requested_by)
    else:
        failed = failed_checks(instance, portfolio, RETRAINING_CHECKS, found)
        failed = [failure for failure in failed if latest.effective is None or failure.at > latest.effective]
        requested_by = (*failed, *_better_candidates(registry, found.number))
        if not requested_by:
            return Waiting(NoFailedCheck(found.number))
        if isinstance(rollback(instance, portfolio, registry), Due):
            return Waiting(RollbackFirst(), requested_by)
    if latest.active:
        return Waiting(TrainingActive(latest.active), requested_by)
    cool_down = portfolio.automation.cool_down_hours
    hours = (now - latest.began).total_seconds() / 3600 if latest.began else None
    if hours is not None and hours < cool_down:
        return Refused(CoolDown(hours, cool_down), requested_by)
    new, version = outcomes_since_newest_version(portfolio, registry, lake)
    if version and new < portfolio.automation.min_new_outcomes:
        return Refused(TooFewOutcomes(new, version, portfolio.automation.min_new_outcomes), requested_by)
    if stale := stale_features(
        portfolio, lake, _queries(project.sql(portfolio.name), _modification_times(project, portfolio))
    ):
        return Refused(FeaturesOfOtherSql(portfolio.name, tuple(str(each.batch) for each in stale)), requested_by)
    return Due("train", None, TrainingRequested(requested_by, new), key=latest.key(portfolio, lake))


def challenger(instance: dg.DagsterInstance, portfolio: Portfolio, registry: Registry, lake: Lake) -> Outcome:
    """The training of a challenger that the schedule requests, which is due once enough outcomes are new; or the reason
    why it is not."""
    latest = latest_training(instance, portfolio, registry)
    new, version = outcomes_since_newest_version(portfolio, registry, lake)
    if latest.active:
        return Waiting(TrainingActive(latest.active))
    if new < portfolio.automation.min_new_outcomes:
        return Refused(TooFewOutcomes(new, version, portfolio.automation.min_new_outcomes))
    return Due("train", None, TrainingRequested((WeeklyChallenger(),), new), key=latest.key(portfolio, lake))


def _better_candidates(registry: Registry, champion: int) -> list[BetterCandidate]:
    """The newest candidate, if the gate refused it although it is significantly better than the champion; else empty.
    The training that it triggers makes a newer candidate."""
    newest = registry.newest()
    if newest is None or (better := newest.refused_though_better(champion)) is None:
        return []
    return [BetterCandidate(newest.number, champion, better)]


@lru_cache(maxsize=8)
def _queries(folder: Path, modified: tuple[tuple[str, int], ...]) -> dict[str, FeatureQuery]:
    """The current queries, cached until a file changes, because reading hundreds of features takes a second."""
    return load(folder)


def _modification_times(project: Project, portfolio: Portfolio) -> tuple[tuple[str, int], ...]:
    files = sorted(project.sql(portfolio.name).glob("*.sql"))
    return tuple((file.name, file.stat().st_mtime_ns) for file in files)


def outcomes_since_newest_version(portfolio: Portfolio, registry: Registry, lake: Lake) -> tuple[int, int | None]:
    """The number of known outcomes that the newest version has not learned from, and that version (None if there is
    none)."""
    newest = registry.newest()
    if newest is None:
        return new_outcomes(portfolio, lake, None), None
    learned = newest.last_made_from(portfolio.table(TRAINING_SET))
    return new_outcomes(portfolio, lake, learned), newest.number


@dataclass(frozen=True)
class LatestTraining:
    """The newest training of a portfolio.

    `run` and `began`: the newest one, whatever its result. `active`: the run of an active one. `effective`: the start
    of the newest one that is active, made a candidate, or reproduced an earlier version; it satisfies all
    earlier requests.
    """

    run: str | None
    began: datetime | None
    active: str | None
    effective: datetime | None

    def key(self, portfolio: Portfolio, lake: Lake) -> str:
        """A key that is equal for all trainings that would start after this one and learn from the same rows."""
        return f"{training_key(portfolio, lake)}:{self.run or 'first'}"


def latest_training(instance: dg.DagsterInstance, portfolio: Portfolio, registry: Registry) -> LatestTraining:
    """The newest training according to the instance or, if its run was deleted, according to the newest candidate."""
    newest = registry.newest()
    made = None
    if newest:
        run_id, at = newest.latest_training
        record = instance.get_run_record_by_id(run_id or "")
        made = record.create_timestamp if record else at
    records = instance.get_run_records(dg.RunsFilter(tags={TRAINING_TAG: portfolio.name}), limit=1)
    active = active_runs(instance, portfolio, **{TRAINING_TAG: portfolio.name})
    began = records[0].create_timestamp if records else made
    return LatestTraining(
        run=records[0].dagster_run.run_id if records else None,
        began=began,
        active=active[0].run_id if active else None,
        effective=began if active else made,
    )

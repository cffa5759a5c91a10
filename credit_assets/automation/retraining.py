"""Whether a failed check has to be answered, by a training or by a rollback, and why not yet.

Asked anew at every look, of the event log, the registry and the lake: nothing is remembered beside them, so that
a restart neither forgets nor repeats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import shorten

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from credit_assets.automation.jobs import TRAINING_TAG
from credit_assets.automation.outstanding import Outstanding, new_outcomes, training_key
from credit_assets.lake.tables import Lake
from credit_assets.models import registry
from credit_assets.monitoring.checks import FEATURES_DRIFTED, NOT_WORSE, PERFORMANCE_HOLDS, SCORES_DRIFTED
from credit_assets.portfolio import Portfolio
from credit_assets.project import Project

RETRAINS = (
    ("feature_drift", FEATURES_DRIFTED),
    ("score_drift", SCORES_DRIFTED),
    ("performance", PERFORMANCE_HOLDS),
)
ROLLS_BACK = (("performance", NOT_WORSE),)
LOOK_BACK = 50
"""Failed evaluations looked at a check, newest first; those before them are of champions long gone."""
WORDS = 120
"""Characters of a check's words that a reason repeats; the check says the rest."""


@dataclass(frozen=True)
class Failure:
    """A failed evaluation of a check on a batch."""

    check: str
    batch: str
    at: datetime
    words: str

    def __str__(self) -> str:
        return f"{self.check} failed on {self.batch} ({self.words})"


def failures(
    instance: dg.DagsterInstance, portfolio: Portfolio, checks: Iterable[tuple[str, str]], champion: int
) -> list[Failure]:
    """The batches whose latest evaluation of one of the checks, against this champion, failed with severity ERROR;
    oldest first."""
    told = [
        (record.event.timestamp, evaluation)
        for asset, check in checks
        for record in _evaluations(instance, dg.AssetCheckKey(dg.AssetKey([portfolio.name, asset]), check))
        if record.event and (evaluation := record.evaluation) and _said(evaluation, "model_version") == champion
    ]
    latest: dict[tuple[str, str], Failure | None] = {}
    # By the time of the evaluation: a record is numbered when its run starts.
    for at, evaluation in sorted(told, key=lambda each: each[0]):
        check, batch = evaluation.check_name, str(_said(evaluation, "batch"))
        serious = not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
        words = shorten(evaluation.description or "", WORDS, placeholder=" ...").rstrip(".")
        latest[check, batch] = Failure(check, batch, datetime.fromtimestamp(at, UTC), words) if serious else None
    return sorted((failure for failure in latest.values() if failure), key=lambda failure: failure.at)


def _evaluations(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> list[AssetCheckExecutionRecord]:
    """The newest of each outcome; none where none failed."""

    def newest(status: AssetCheckExecutionRecordStatus) -> list[AssetCheckExecutionRecord]:
        found = instance.event_log_storage.get_asset_check_execution_history(check, limit=LOOK_BACK, status={status})
        return list(found)

    failed = newest(AssetCheckExecutionRecordStatus.FAILED)
    return failed and failed + newest(AssetCheckExecutionRecordStatus.SUCCEEDED)


def _said(evaluation: dg.AssetCheckEvaluation, name: str) -> object:
    """What `monitoring/checks.py` put beside the result."""
    found = evaluation.metadata.get(name)
    return found.value if found else None


def rollback(instance: dg.DagsterInstance, portfolio: Portfolio, project: Project) -> Outstanding | str:
    """The rollback that is due because the champion did worse than the one before it, or why none is."""
    found = registry.champion(project.tracking_uri, portfolio.name)
    if found is None:
        return "There is no champion."
    champion = int(found.version)
    failed = failures(instance, portfolio, ROLLS_BACK, champion)
    if not failed:
        return f"Version {champion} has not done worse than the champion before it."
    before = registry.predecessor(project.tracking_uri, portfolio.name)
    if before is None:
        return f"{failed[0]}; there is no earlier champion to go back to."
    why = f"version {champion} gives way to version {before}: {failed[0]}"
    # A version that a person brings back may have to go again.
    moves = len(registry.history(project.tracking_uri, portfolio.name))
    return Outstanding("rollback", None, why, key=f"rollback:{champion}.{moves}", champion=champion)


def retraining(
    instance: dg.DagsterInstance, portfolio: Portfolio, project: Project, lake: Lake, now: datetime
) -> Outstanding | str:
    """The training that failed checks ask for, or why there is none (yet).

    Each failed evaluation is answered by one training, the first that starts after it, whatever started that.
    Until enough outcomes are known that the newest candidate has not learned from, a training would make the
    same candidate again: the failure waits for them.
    """
    settings = portfolio.automation
    found = registry.champion(project.tracking_uri, portfolio.name)
    if found is None:
        return "There is no champion that a check could have failed on."
    champion = int(found.version)
    trained = last_training(instance, portfolio, project)
    failed = [f for f in failures(instance, portfolio, RETRAINS, champion) if trained is None or f.at > trained]
    if not failed:
        return f"No check of a batch has failed on version {champion} since the last training."
    asked = "; ".join(map(str, failed))
    if isinstance(rollback(instance, portfolio, project), Outstanding):
        return f"Asked for by: {asked}. The rollback comes first."
    if instance.get_runs(dg.RunsFilter(tags={TRAINING_TAG: portfolio.name}, statuses=NOT_FINISHED_STATUSES), limit=1):
        return f"Asked for by: {asked}. Waits: a training is at work."
    cooled = (now - trained).total_seconds() / 3600 if trained else None
    if cooled is not None and cooled < settings.cool_down_hours:
        return (
            f"Asked for by: {asked}. Refused for now: the last training began {cooled:.1f} hours ago, and "
            f"automation.cool_down_hours is {settings.cool_down_hours:g}."
        )
    new, version = outcomes_since_newest(portfolio, project, lake)
    if new < settings.min_new_outcomes:
        return (
            f"Asked for by: {asked}. Refused for now: {too_few(portfolio, new, version)}. Without more, training would "
            "make the same model again."
        )
    return Outstanding("train", None, f"{asked}; {new:,} new outcomes", key=training_key(portfolio, lake))


def outcomes_since_newest(portfolio: Portfolio, project: Project, lake: Lake) -> tuple[int, int | None]:
    """How many outcomes the newest candidate has not learned from, and its version; all, where there is none."""
    newest = registry.newest(project.tracking_uri, portfolio.name)
    if newest is None:
        return new_outcomes(portfolio, lake, None), None
    learned = int(newest.tags[f"table.{portfolio.table('training_set')}"])
    return new_outcomes(portfolio, lake, learned), int(newest.version)


def too_few(portfolio: Portfolio, new: int, version: int | None) -> str:
    """That so many new outcomes do not suffice, in words."""
    learned = f"version {version} has not" if version else "no candidate has"
    return (
        f"{new:,} outcomes are known that {learned} learned from, fewer than the "
        f"{portfolio.automation.min_new_outcomes:,} of automation.min_new_outcomes"
    )


def last_training(instance: dg.DagsterInstance, portfolio: Portfolio, project: Project) -> datetime | None:
    """When the newest training was asked for: its run's beginning or, where that is purged, its candidate's."""
    began = [
        record.create_timestamp
        for record in instance.get_run_records(dg.RunsFilter(tags={TRAINING_TAG: portfolio.name}), limit=1)
    ]
    if newest := registry.newest(project.tracking_uri, portfolio.name):
        began.append(datetime.fromtimestamp(newest.creation_timestamp / 1000, UTC))
    return max(began, default=None)

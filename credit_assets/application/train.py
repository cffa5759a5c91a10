"""Train a candidate by hand."""

from __future__ import annotations

import uuid

from credit_assets.application.champion import report_champion
from credit_assets.application.work import Report, work
from credit_assets.automation.due import Due, RequestedByHand
from credit_assets.automation.pending import stale_features
from credit_assets.automation.runs import RunOutcome
from credit_assets.features.versions import FEATURES
from credit_assets.lake.tables import TableMissing
from credit_assets.registry.registry import Registry
from credit_assets.settings.project import AlreadyRunning, Project


def train(project: Project, name: str, report: Report) -> list[RunOutcome]:
    """Train on all known outcomes, whatever was learned before. First the features that other SQL made are recomputed,
    for the training batches and newer ones; at the end open batches are scored. It stops at the first run that fails.
    Raises AlreadyRunning if another run is active on the same work, TableMissing if there are no features yet."""
    registry = Registry.of(project, name)
    with registry.answering(), work(project, name, report) as active:
        if not active.lake.batches(active.portfolio.table(FEATURES)):
            raise TableMissing(f"Nothing of {name} is ingested yet: `credit-assets deliver`, then `credit-assets run`.")
        stale = stale_features(active.portfolio, active.lake, active.book.queries)
        for due in [*stale, Due("train", None, RequestedByHand(), key=f"by_hand:{uuid.uuid4()}")]:
            if run := active.run(due):
                raise AlreadyRunning(f"Run {run} is active on {due.batch or 'a training'}. Train once it has ended.")
            if not active.outcomes[-1].success:
                return active.outcomes
        report_champion(registry, report)
        active.score()
    return active.outcomes

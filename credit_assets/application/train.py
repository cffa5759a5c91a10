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
    """Train a candidate on all known outcomes, even if none of them is new.

    Features made by other SQL are recomputed first, for the training batches and newer ones; open batches are scored
    at the end. The first run that fails ends the command. Raises AlreadyRunning if another run is active on the same
    work, and TableMissing if there are no features yet.
    """
    registry = Registry.of(project, name)
    with registry.answering(), work(project, name, report) as active:
        if not active.lake.batches(active.portfolio.table(FEATURES)):
            raise TableMissing(
                f"No batch of {name} is ingested yet. Run `credit-assets deliver`, then `credit-assets run`."
            )
        stale = stale_features(active.portfolio, active.lake, active.book.queries)
        for due in [*stale, Due("train", None, RequestedByHand(), key=f"by_hand:{uuid.uuid4()}")]:
            if run := active.run(due):
                raise AlreadyRunning(
                    f"Run {run} is still active ({due.batch or 'training'}). Train again when it has ended."
                )
            if not active.outcomes[-1].success:
                return active.outcomes
        report_champion(registry, report)
        active.score()
    return active.outcomes

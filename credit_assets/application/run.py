"""Run everything that is due."""

from __future__ import annotations

from datetime import UTC, datetime

from credit_assets.application.work import Report, work
from credit_assets.automation.due import Due
from credit_assets.automation.messages import text
from credit_assets.automation.pending import batches_to_ingest, first_training
from credit_assets.automation.refusals import refusal
from credit_assets.automation.retraining import rollback, training
from credit_assets.automation.runs import RunOutcome
from credit_assets.ingest.inbox import Inbox
from credit_assets.settings.project import Project

RETRY_CONDITION = "It is not retried until its files, the configuration, contracts, SQL or the release change."


def run_due(project: Project, name: str, report: Report) -> list[RunOutcome]:
    """Run everything that is due for the portfolio: ingest batches, train a champion if there is none, score, and roll
    back or train if failed checks request it.

    A failed run does not stop runs that do not depend on it. Batches are ingested even if the model registry does not
    answer; RegistryUnavailable is raised after that.
    """
    with work(project, name, report) as active:
        portfolio, instance, lake = active.portfolio, active.instance, active.lake
        tried: set[str] = set()
        Inbox(project.inbox).tidy(name)
        # Repeated, because a batch may contain what an earlier one needs, such as its outcomes.
        while new := [due for due in batches_to_ingest(portfolio, Inbox(project.inbox), lake) if due.key not in tried]:
            for due in new:
                tried.add(due.key)
                if refused := refusal(instance, portfolio, due):
                    report(f"{due.job} {due.batch}: {text(refused)} {RETRY_CONDITION}")
                else:
                    active.run(due)
        registry = active.book.registry
        with registry.answering():
            for due in first_training(portfolio, lake, registry.champion() is not None):
                active.run(due)
            active.score()
            for determine in (
                lambda: rollback(instance, portfolio, registry),
                lambda: training(instance, active.book, lake, datetime.now(UTC)),
            ):
                found = determine()
                if isinstance(found, Due):
                    active.run(found)
                    active.score()
    return active.outcomes

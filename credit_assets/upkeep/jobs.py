"""The job `maintenance`: it keeps the lake and the instance within the portfolio's `retention:`."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from credit_assets.automation.pending import SCORES
from credit_assets.book.book import Book
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.maintenance import maintain
from credit_assets.lake.tables import Lake
from credit_assets.plurals import number_of
from credit_assets.settings.run_tags import PORTFOLIO_TAG
from credit_assets.upkeep.retention import purge


def maintenance(book: Book) -> dg.JobDefinition:
    """Two ops without data; their outputs' metadata show what each removed and kept."""
    portfolio, project = book.portfolio, book.project
    lake, registry, retention = Lake(project.lake), book.registry, portfolio.retention

    @dg.op(
        out=dg.Out(dg.Nothing),
        description="Merges and checkpoints the tables, and removes what no kept version of a table consists of; "
        "removes from the inbox what killed processes left there.",
    )
    def tend_lake(context: dg.OpExecutionContext) -> None:
        Inbox(project.inbox).tidy(portfolio.name)
        referred = registry.table_versions()
        done = maintain(lake, portfolio.name, portfolio.table(SCORES), referred, retention, datetime.now(UTC))
        for table in done.tables:
            if removed := len(table.superseded) + len(table.orphans):
                context.log.info(f"{table.table}: {number_of(removed, 'file')}, {table.bytes_freed:,} bytes, removed")
        context.add_output_metadata(
            {
                "files_removed": done.files_removed,
                "bytes_freed": done.bytes_freed,
                "tables": len(done.tables),
                **{f"versions_kept_{reason}": count for reason, count in done.versions_kept().items()},
            }
        )

    @dg.op(
        ins={"tended": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        description="Removes old runs that neither made what is current nor are named by a model or a promotion.",
    )
    def purge_runs(context: dg.OpExecutionContext) -> None:
        before = datetime.now(UTC) - timedelta(days=retention.runs_days)
        done = purge(context.instance, portfolio.name, _runs_of(lake) | registry.dagster_runs_of_all_models(), before)
        context.add_output_metadata(
            {"runs_deleted": done.deleted, "old_runs_kept": done.kept, "bytes_freed": done.bytes_freed}
        )

    @dg.job(
        name="maintenance",
        description="Upkeep: the lake compacted and vacuumed, old runs purged; never what a registered model or "
        "a decision refers to.",
        tags={PORTFOLIO_TAG: portfolio.name, "dagster/retry_strategy": "ALL_STEPS"},
    )
    def job() -> None:
        purge_runs(tend_lake())

    return job


def _runs_of(lake: Lake) -> set[str]:
    """The runs that made the current rows of any table."""
    commits = (commit for table in lake.tables() for commit in (*lake.batches(table).values(), lake.history(table)[0]))
    return {run_id for commit in commits if (run_id := commit.provenance.run_id)}

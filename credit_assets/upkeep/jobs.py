"""The job `maintenance`, which applies the portfolio's `retention:` to the lake and to Dagster's instance."""

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
    """The job `maintenance`. The output metadata of its two ops state what they removed and kept."""
    portfolio, project = book.portfolio, book.project
    lake, registry, retention = Lake(project.lake), book.registry, portfolio.retention

    @dg.op(
        out=dg.Out(dg.Nothing),
        description="Compacts and checkpoints the tables, deletes files that belong to no kept version of a table, and "
        "removes the remains of killed processes from the inbox.",
    )
    def maintain_lake(context: dg.OpExecutionContext) -> None:
        Inbox(project.inbox).tidy(portfolio.name)
        referred = registry.table_versions()
        done = maintain(lake, portfolio.name, portfolio.table(SCORES), referred, retention, datetime.now(UTC))
        for table in done.tables:
            if removed := len(table.superseded) + len(table.orphans):
                context.log.info(f"{table.table}: deleted {number_of(removed, 'file')} ({table.bytes_freed:,} bytes)")
        context.add_output_metadata(
            {
                "files_removed": done.files_removed,
                "bytes_freed": done.bytes_freed,
                "tables": len(done.tables),
                **{f"versions_kept_{reason}": count for reason, count in done.versions_kept().items()},
            }
        )

    @dg.op(
        ins={"lake_maintained": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        description="Deletes old runs, except those that made current data or that a model or promotion refers to.",
    )
    def purge_runs(context: dg.OpExecutionContext) -> None:
        before = datetime.now(UTC) - timedelta(days=retention.runs_days)
        done = purge(context.instance, portfolio.name, _runs_of(lake) | registry.dagster_runs_of_all_models(), before)
        context.add_output_metadata(
            {"runs_deleted": done.deleted, "old_runs_kept": done.kept, "bytes_freed": done.bytes_freed}
        )

    @dg.job(
        name="maintenance",
        description="Compacts and vacuums the lake, and deletes old runs. Whatever a registered model or a decision "
        "refers to is kept.",
        tags={PORTFOLIO_TAG: portfolio.name, "dagster/retry_strategy": "ALL_STEPS"},
    )
    def job() -> None:
        purge_runs(maintain_lake())

    return job


def _runs_of(lake: Lake) -> set[str]:
    """The runs that made the current rows of any table."""
    commits = (commit for table in lake.tables() for commit in (*lake.batches(table).values(), lake.history(table)[0]))
    return {run_id for commit in commits if (run_id := commit.provenance.run_id)}

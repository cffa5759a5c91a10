"""The raw tables as assets: one asset per table, partitioned by batch, read from the delivered files into the lake."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg

from credit_assets.book.book import Book
from credit_assets.ingest.bad_delivery import BadDelivery, UnreadableNow
from credit_assets.ingest.checks import compares_keys, keys_check, quarantine_check, table_specs
from credit_assets.ingest.file_names import MARKER, Matched, match_files
from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.repeats import other_batches, repeated_keys
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import Ingested, ingest
from credit_assets.lake.io_managers import column_schema, contract, violations_table
from credit_assets.lake.resources import LakeResource, batches
from credit_assets.settings.portfolio import Portfolio

SOURCE_SHA256 = "source_sha256"
"""Metadata key of a raw table: the SHA-256 of each file that it was read from."""


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """The portfolio's raw tables, parents before children."""
    return [_raw_table(book, table) for table in book.contracts]


def _raw_table(book: Book, table: str) -> dg.AssetsDefinition:
    portfolio, model = book.portfolio, book.contracts[table]
    inbox = Inbox(book.project.inbox)
    key = dg.AssetKey([portfolio.name, table])
    applications = portfolio.table(portfolio.application_table)

    @dg.asset(
        key=key,
        deps=[dg.AssetKey([portfolio.name, parent]) for parent in book.parents(table)],
        partitions_def=batches(portfolio.name),
        dagster_type=contract(model),
        io_manager_key="lake_io",
        group_name="raw",
        kinds={"duckdb", "deltalake", "pandera"},
        owners=portfolio.owners,
        description=model.__doc__,
        metadata={"dagster/column_schema": column_schema(model), "files": ", ".join(portfolio.tables[table].files)},
        check_specs=table_specs(book, table),
    )
    def raw_table(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        batch = context.partition_key
        failure: dg.Failure | None = None
        try:
            files = _matched_files(portfolio, inbox.files(portfolio.name, batch))
            others = other_batches(lake.lake, applications, batch)
            result = _ingest(context, lake, book, inbox, table, files.tables[table], others)
            try:
                _refuse_mixed_deliveries(context, book, inbox)
            except UnreadableNow:
                lake.lake.discard(result.staged)
                raise
        except UnreadableNow:
            # Not a refusal: a refused delivery is not read again until its files change.
            raise
        except BadDelivery as error:
            failure = _failure(error)
        if failure is not None:
            # Raised outside the except block: Dagster would store the error, including delivered values, as the cause.
            raise failure
        _store_fingerprints(inbox, portfolio, batch, result)
        _log(context, portfolio, files, result)
        # A delivery with this file is synthetic, and so is everything derived from it.
        synthetic = any(file.name == MARKER for file in files.companions)
        results = [quarantine_check(result)]
        if compares_keys(book, table):
            repeated = repeated_keys(lake.connection, result.staged.query(), portfolio.entity_key, others)
            results.append(keys_check(repeated, result.rows_kept))
        return dg.MaterializeResult(value=result.staged, metadata=_metadata(result, synthetic), check_results=results)

    return raw_table


def _matched_files(portfolio: Portfolio, files: Sequence[Path]) -> Matched:
    names = {name: config.files for name, config in portfolio.tables.items()}
    optional = {name for name, config in portfolio.tables.items() if config.optional}
    return match_files(files, names, optional, portfolio.outcomes_table)


def _ingest(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    book: Book,
    inbox: Inbox,
    table: str,
    files: Sequence[Path],
    others: str | None,
) -> Ingested:
    """Stage the batch's files as the table; `others` is the SELECT of applications in other batches, if any."""
    portfolio, batch = book.portfolio, context.partition_key
    has_outcomes = table == portfolio.outcomes_table
    return ingest(
        lake.connection,
        lake.lake,
        files,
        Target(
            portfolio.table(table),
            book.contracts[table],
            {parent: lake.select(context, portfolio.table(parent), [batch]) for parent in book.parents(table)},
            batch,
            later_file_supersedes=has_outcomes,
            numbered=portfolio.tables[table].numbered,
            elsewhere={portfolio.application_table: others} if has_outcomes and others else {},
        ),
        max_bad_share=portfolio.delivery.max_bad_share,
        quarantine_folder=inbox.quarantine(portfolio.name, batch),
        scratch=lake.scratch,
        notes=portfolio.tables[table].notes,
    )


def _refuse_mixed_deliveries(context: dg.AssetExecutionContext, book: Book, inbox: Inbox) -> None:
    """Raise UnreadableNow if this run, or one that it re-executes in part, read another table from files that have been
    replaced since: features would combine two deliveries."""
    # A run that re-executes all steps reads every table itself.
    earlier = ("parent", "root") if context.run.step_keys_to_execute else ()
    batch, repeated = context.partition_key, (context.run.tags.get(f"dagster/{of}_run_id") for of in earlier)
    current: Mapping[str, str] | None = None
    for run_id in dict.fromkeys([context.run_id, *filter(None, repeated)]):
        for entry in context.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
            made = entry.asset_materialization
            read = made.metadata.get(SOURCE_SHA256) if made and made.asset_key.path[-1] in book.contracts else None
            if made is None or read is None:
                continue
            current = inbox.fingerprint(book.name, batch) if current is None else current
            if any(current.get(name) != sha256 for name, sha256 in dict(read.value).items()):
                raise UnreadableNow(
                    f"The delivery of {batch} was replaced while it was read: {made.asset_key.path[-1]} was made from "
                    "files that are no longer in it. The next run reads all of it."
                )


def _store_fingerprints(inbox: Inbox, portfolio: Portfolio, batch: str, result: Ingested) -> None:
    """Store the fingerprints of the ingested files, so that later comparisons need not read them."""
    seen = {
        name: {"status": status, "sha256": result.source_sha256[name]} for name, status in result.source_status.items()
    }
    inbox.remember(portfolio.name, batch, seen)


def _log(context: dg.AssetExecutionContext, portfolio: Portfolio, files: Matched, result: Ingested) -> None:
    """Log the columns and files that were left out."""
    for name, index in result.indexes.items():
        context.log.info(f"{name}: the column {index or 'without a name'} numbers the rows and is left out.")
    for name, reason in result.refused.items():
        context.log.warning(f"{name} is refused and superseded by a later file: {reason}.")
    for file in files.unknown:
        context.log.warning(f"{file} belongs to no table of {portfolio.name} and is ignored.")


def _metadata(result: Ingested, synthetic: bool) -> Mapping[str, dg.MetadataValue | int | bool]:
    metadata: dict[str, dg.MetadataValue | int | bool] = {
        "rows_in": result.rows_in,
        "rows_kept": result.rows_kept,
        "rows_quarantined": result.rows_quarantined,
        "rows_superseded": result.rows_superseded,
        "rows_passed_over": sum(result.notes.values()),
        "synthetic": synthetic,
        SOURCE_SHA256: dg.MetadataValue.json(dict(result.source_sha256)),
    }
    if result.notes:
        metadata["lines_passed_over"] = dg.MetadataValue.json(dict(result.notes))
    if result.indexes:
        metadata["indexes_left_out"] = dg.MetadataValue.json(dict(result.indexes))
    if result.refused:
        metadata["files_refused"] = dg.MetadataValue.json(dict(result.refused))
    if result.violations:
        metadata["violations"] = violations_table(result.violations)
    if result.orphans:
        metadata["orphans_kept"] = violations_table(result.orphans)
    if result.quarantine:
        metadata["quarantine"] = dg.MetadataValue.path(str(result.quarantine))
    return metadata


def _failure(error: BadDelivery) -> dg.Failure:
    """The failure to store: the location of the faults, without values of rows."""
    metadata: dict[str, dg.MetadataValue] = {}
    if len(error.examples):
        records = error.examples.drop(columns="value").astype(str).to_dict("records")
        metadata["examples"] = dg.MetadataValue.table(
            [dg.TableRecord({str(key): value for key, value in record.items()}) for record in records]
        )
    if error.quarantine:
        metadata["quarantine"] = dg.MetadataValue.path(str(error.quarantine))
    return dg.Failure(error.without_values, metadata=metadata, allow_retries=False)

"""Raw tables as assets: one a table, partitioned by batch, from the delivered files straight to the lake."""

from collections.abc import Mapping

import dagster as dg

from credit_assets.book.book import Book
from credit_assets.ingest.bad_delivery import BadDelivery, UnreadableNow
from credit_assets.ingest.file_names import MARKER, match_files
from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.repeats import Repeated, other_batches, repeated_keys
from credit_assets.ingest.typed_read import Ingested, ingest
from credit_assets.lake.contracts import Violation
from credit_assets.lake.io_managers import column_schema, contract, violations_table
from credit_assets.lake.resources import LakeResource, batches
from credit_assets.plurals import are, number_of
from credit_assets.verdicts.checks import check_result
from credit_assets.verdicts.verdict import Verdict

BATCHES_NAMED = 5


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """The portfolio's raw tables, parents before children."""
    return [_raw_table(book, table) for table in book.contracts]


def _raw_table(book: Book, table: str) -> dg.AssetsDefinition:
    portfolio, model = book.portfolio, book.contracts[table]
    parents = book.parents(table)
    inbox = Inbox(book.project.inbox)
    stems = {name: config.files for name, config in portfolio.tables.items()}
    optional = {name for name, config in portfolio.tables.items() if config.optional}
    key = dg.AssetKey([portfolio.name, table])
    applications = portfolio.table(portfolio.application_table)
    checks = [
        dg.AssetCheckSpec(
            "no_rows_quarantined",
            asset=key,
            description="Every delivered row keeps the table's contract; none was set aside.",
        )
    ]
    # Names that the platform gives hold the batch's own.
    compare_keys = table == portfolio.application_table and not portfolio.tables[table].numbered
    if compare_keys:
        checks.append(
            dg.AssetCheckSpec(
                "keys_are_new",
                asset=key,
                description="No applicant of the batch is in another batch too, by the key: one who is has two "
                "decisions, and counts twice where a model learns.",
            )
        )

    @dg.asset(
        key=key,
        deps=[dg.AssetKey([portfolio.name, parent]) for parent in parents],
        partitions_def=batches(portfolio.name),
        dagster_type=contract(model),
        io_manager_key="lake_io",
        group_name="raw",
        kinds={"duckdb", "deltalake", "pandera"},
        owners=portfolio.owners,
        description=model.__doc__,
        metadata={"dagster/column_schema": column_schema(model), "files": ", ".join(stems[table])},
        check_specs=checks,
    )
    def raw_table(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        batch = context.partition_key
        failure: dg.Failure | None = None
        try:
            files = match_files(inbox.files(portfolio.name, batch), stems, optional, portfolio.outcomes_table)
            others = other_batches(lake.lake, applications, batch)
            result = ingest(
                lake.connection,
                lake.lake,
                files.tables[table],
                portfolio.table(table),
                model,
                batch,
                parents={parent: lake.select(context, portfolio.table(parent), [batch]) for parent in parents},
                max_bad_share=portfolio.delivery.max_bad_share,
                quarantine_folder=inbox.quarantine(portfolio.name, batch),
                scratch=lake.scratch,
                later_file_stands=table == portfolio.outcomes_table,
                notes=portfolio.tables[table].notes,
                numbered=portfolio.tables[table].numbered,
                elsewhere={portfolio.application_table: others} if table == portfolio.outcomes_table and others else {},
            )
        except UnreadableNow:
            # No refusal, which would wait for other files.
            raise
        except BadDelivery as error:
            failure = _failure(error)
        if failure is not None:
            # Not within the except: Dagster would store the error, with the values in it, as the cause.
            raise failure
        # So that whoever asks next whether these files are ingested need not read them.
        inbox.remember(
            portfolio.name,
            batch,
            {
                name: {"status": status, "sha256": result.source_sha256[name]}
                for name, status in result.source_status.items()
            },
        )
        # A delivery that holds this file was generated; whatever is made from it says so.
        synthetic = any(file.name == MARKER for file in files.companions)
        for name, index in result.indexes.items():
            context.log.info(f"{name}: the column {index or 'without a name'} numbers the rows; it is left out.")
        for name, reason in result.refused.items():
            context.log.warning(f"{name} is refused, and gives way to the file that came after it: {reason}.")
        for file in files.unknown:
            context.log.warning(f"{file} belongs to no table of {portfolio.name} and was passed over.")
        results = [_quarantine_check(result)]
        if compare_keys:
            repeated = repeated_keys(lake.connection, result.staged.query(), portfolio.entity_key, others)
            results.append(_keys_check(repeated, result.rows_kept))
        return dg.MaterializeResult(value=result.staged, metadata=_metadata(result, synthetic), check_results=results)

    return raw_table


def _metadata(result: Ingested, synthetic: bool) -> Mapping[str, dg.MetadataValue | int | bool]:
    metadata: dict[str, dg.MetadataValue | int | bool] = {
        "rows_in": result.rows_in,
        "rows_kept": result.rows_kept,
        "rows_quarantined": result.rows_quarantined,
        "rows_superseded": result.rows_superseded,
        "rows_passed_over": sum(result.notes.values()),
        "synthetic": synthetic,
        "source_sha256": dg.MetadataValue.json(dict(result.source_sha256)),
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


def _quarantine_check(result: Ingested) -> dg.AssetCheckResult:
    if not result.rows_quarantined:
        return check_result(Verdict("no_rows_quarantined", True, "Every delivered row is kept.", severity="warning"))
    first: Violation = result.violations[0]
    bad, delivered = result.rows_quarantined, number_of(result.rows_in, "row")
    counted = f"{bad} of {delivered} {are(bad)} in {result.quarantine}"
    verdict = Verdict("no_rows_quarantined", False, f"{counted}; first {first.without_values}", severity="warning")
    return check_result(verdict, details={"violations": violations_table(result.violations)})


def _keys_check(repeated: Repeated, rows: int) -> dg.AssetCheckResult:
    if not repeated.applicants:
        message = "No applicant is in another batch too."
        return check_result(Verdict("keys_are_new", True, message, {"applicants_repeated": 0}, "warning"))
    named = [f"{batch} ({count:,})" for batch, count in list(repeated.batches.items())[:BATCHES_NAMED]]
    if more := len(repeated.batches) - len(named):
        named.append(f"and {more} more")
    message = (
        f"{repeated.applicants:,} of {number_of(rows, 'applicant')} {are(repeated.applicants)} in other batches too, "
        f"by their key: {', '.join(named)}. The first keys, masked: {', '.join(repeated.examples)}."
    )
    verdict = Verdict("keys_are_new", False, message, {"applicants_repeated": repeated.applicants}, "warning")
    return check_result(verdict, details={"batches": dg.MetadataValue.json(dict(repeated.batches))})


def _failure(error: BadDelivery) -> dg.Failure:
    """The refusal as it is stored: where the faults are, and no value of a row."""
    metadata: dict[str, dg.MetadataValue] = {}
    if len(error.examples):
        records = error.examples.drop(columns="value").astype(str).to_dict("records")
        metadata["examples"] = dg.MetadataValue.table(
            [dg.TableRecord({str(key): value for key, value in record.items()}) for record in records]
        )
    if error.quarantine:
        metadata["quarantine"] = dg.MetadataValue.path(str(error.quarantine))
    return dg.Failure(error.without_values, metadata=metadata, allow_retries=False)

"""The checks of raw tables: rows that violate the contract, and applicants who are in another batch too."""

import dagster as dg

from credit_assets.book.book import Book
from credit_assets.ingest.repeats import RepeatedKeys
from credit_assets.ingest.typed_read import Ingested
from credit_assets.lake.io_managers import violations_table
from credit_assets.plurals import are, number_of
from credit_assets.verdicts.checks import check_result
from credit_assets.verdicts.verdict import Verdict

NO_ROWS_QUARANTINED, KEYS_ARE_NEW = "no_rows_quarantined", "keys_are_new"
BATCHES_NAMED = 5


def compares_keys(book: Book, table: str) -> bool:
    """Whether the table's keys are compared with those of other batches. Generated keys contain the batch's name, so
    they are not."""
    portfolio = book.portfolio
    return table == portfolio.application_table and not portfolio.tables[table].numbered


def check_specs(book: Book) -> list[dg.AssetCheckSpec]:
    """The checks of all raw tables."""
    return [spec for table in book.portfolio.tables for spec in table_specs(book, table)]


def table_specs(book: Book, table: str) -> list[dg.AssetCheckSpec]:
    """The checks of one raw table."""
    key = dg.AssetKey([book.name, table])
    specs = [
        dg.AssetCheckSpec(
            NO_ROWS_QUARANTINED,
            asset=key,
            description="Every delivered row satisfies the table's contract; none was quarantined.",
        )
    ]
    if compares_keys(book, table):
        specs.append(
            dg.AssetCheckSpec(
                KEYS_ARE_NEW,
                asset=key,
                description="No applicant of the batch is in another batch too, by key. Such an applicant has two "
                "decisions and counts twice in training.",
            )
        )
    return specs


def quarantine_check(result: Ingested) -> dg.AssetCheckResult:
    """Passes if every delivered row was kept; otherwise reports how many were quarantined, and where."""
    if not result.rows_quarantined:
        return check_result(Verdict(NO_ROWS_QUARANTINED, True, "Every delivered row is kept.", severity="warning"))
    first = result.violations[0]
    bad, delivered = result.rows_quarantined, number_of(result.rows_in, "row")
    counted = f"{bad} of {delivered} {are(bad)} in {result.quarantine}"
    verdict = Verdict(NO_ROWS_QUARANTINED, False, f"{counted}; first {first.without_values}", severity="warning")
    return check_result(verdict, details={"violations": violations_table(result.violations)})


def keys_check(repeated: RepeatedKeys, rows: int) -> dg.AssetCheckResult:
    """Passes if none of the batch's `rows` applicants is in another batch too."""
    if not repeated.applicants:
        message = "No applicant is in another batch too."
        return check_result(Verdict(KEYS_ARE_NEW, True, message, {"applicants_repeated": 0}, "warning"))
    named = [f"{batch} ({count:,})" for batch, count in list(repeated.batches.items())[:BATCHES_NAMED]]
    if more := len(repeated.batches) - len(named):
        named.append(f"and {more} more")
    message = (
        f"{repeated.applicants:,} of {number_of(rows, 'applicant')} {are(repeated.applicants)} in other batches too, "
        f"by their key: {', '.join(named)}. The first keys, masked: {', '.join(repeated.examples)}."
    )
    verdict = Verdict(KEYS_ARE_NEW, False, message, {"applicants_repeated": repeated.applicants}, "warning")
    return check_result(verdict, details={"batches": dg.MetadataValue.json(dict(repeated.batches))})

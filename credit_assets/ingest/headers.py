"""Checks file names and headers before a delivery, so that files a run would refuse never enter the inbox.

Rows are checked in `typed_read.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from credit_assets.book.book import Book
from credit_assets.ingest.bad_delivery import BadDelivery, MissingFile
from credit_assets.ingest.file_names import is_companion, is_outcomes, match_files
from credit_assets.ingest.sources import refuse_header


def check_files(files: Sequence[Path], book: Book, source: Path, *, whole: bool = True) -> list[str]:
    """The names of the files that belong to no table and that a run ignores.

    Raises BadDelivery with every fault found if a run would refuse the files: a table without a file, columns other
    than the contract's, or an unreadable file. Outcomes may be delivered alone; without `whole`, any table may be
    missing.
    """
    portfolio = book.portfolio
    stems = {table: config.files for table, config in portfolio.tables.items()}
    optional = {table for table, config in portfolio.tables.items() if config.optional}
    alone = all(is_outcomes(file) for file in files if not is_companion(file))
    missing: str | None = None
    try:
        match_files(files, stems, optional if whole and not alone else stems, portfolio.outcomes_table, source)
    except MissingFile as error:
        missing = str(error)
    # Raises for files that match two tables or occur twice; that fault is reported alone.
    matched = match_files(files, stems, stems, portfolio.outcomes_table, source)
    if missing and source.is_file() and [source] == list(matched.unknown):
        known = "; ".join(f"{', '.join(names)} (table {table})" for table, names in stems.items())
        missing = (
            f"The name of the file {source} matches none of the patterns of {portfolio.name}: {known}. Rename the "
            f"file, or change `files:` of its table in configs/{portfolio.name}.yaml."
        )
    faults = [missing] if missing else []
    for table, of_table in matched.tables.items():
        config = portfolio.tables[table]
        for file in of_table:
            try:
                refuse_header(file, table, book.contracts[table], config.notes, config.numbered)
            except BadDelivery as error:
                faults.append(str(error))
    if faults:
        raise BadDelivery("\n".join(["Nothing was delivered: a run would refuse these files.", *faults]))
    return [file.name for file in matched.unknown]

"""Deliver files to the inbox, as one batch or split into batches by a date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from credit_assets.book.book import Book
from credit_assets.ingest.headers import check_files
from credit_assets.ingest.inbox import Delivery, Inbox
from credit_assets.ingest.split_by_date import split_source


def deliver_batch(book: Book, source: Path, batch: str) -> tuple[Delivery, list[str]]:
    """Deliver a file, folder or zip as one batch. Returns the delivery and the names of files that belong to no table.

    Raises BadDelivery if a run would refuse the files.
    """
    unread: list[str] = []
    done = Inbox(book.project.inbox).deliver(
        source, book.name, batch, lambda files: unread.extend(check_files(files, book, source))
    )
    return done, unread


def deliver_by_date(
    book: Book, source: Path, column: str, delivered: Callable[[Delivery, int], None]
) -> Mapping[str, int]:
    """Split the files into batches by the date in the column, and deliver each. `delivered` is called with each
    delivery and its number of rows.

    Returns the number of skipped lines, by the pattern of `notes` that they match or by another reason (`EMPTY` and
    `HEADER` of `csv_rows.py`). Raises BadDelivery if a row has no date.
    """
    inbox = Inbox(book.project.inbox)
    with split_source(source, book, column, inbox) as parts:
        for part in parts.batches:
            delivered(inbox.deliver(part.folder, book.name, part.batch), part.rows)
    return parts.notes

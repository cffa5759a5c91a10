"""The origin of a feature, and the features made from a raw column."""

from __future__ import annotations

from dataclasses import dataclass

from credit_assets.book.book import Book
from credit_assets.features.versions import FEATURES


@dataclass(frozen=True)
class Origin:
    """A feature, its description, and the raw columns behind it, as TABLE.COLUMN."""

    feature: str
    description: str
    columns: tuple[str, ...]


def origin(book: Book, feature: str) -> Origin | None:
    """The origin of the feature; None if the book has no such feature."""
    descriptions = book.queries[FEATURES].descriptions
    if feature not in descriptions:
        return None
    columns = tuple(f"{table}.{column}" for table, column in book.raw_lineage[FEATURES][feature])
    return Origin(feature, descriptions[feature], columns)


def made_from(book: Book, column: str) -> list[Origin]:
    """The features that are made from the raw column (TABLE.COLUMN)."""
    found = (origin(book, feature) for feature in book.queries[FEATURES].descriptions)
    return [each for each in found if each and column in each.columns]

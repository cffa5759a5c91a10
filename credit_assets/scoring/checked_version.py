"""The model version that a batch's features were checked against. Only this version may score the batch."""

from __future__ import annotations

from collections.abc import Collection

from credit_assets.book.book import Book
from credit_assets.features.versions import FEATURES, read_at
from credit_assets.lake.tables import Lake

FEATURE_DRIFT = "feature_drift"
"""The table whose commits record which version a batch's features were checked against."""


class NotChecked(ValueError):
    """The current features of a batch were not checked against the version that would score them."""


def version_checked(lake: Lake, book: Book, batch: str) -> int:
    """The version of the latest check of the batch's features. Raises NotChecked if it names none."""
    checked = lake.batches(book.portfolio.table(FEATURE_DRIFT))[batch]
    if checked.provenance.model_version is None:
        raise NotChecked(
            "feature_drift records no model version because an earlier release made it. Materialize it again."
        )
    return checked.provenance.model_version


def checked_against(lake: Lake, book: Book, batch: str, features_version: int, runs: Collection[str]) -> int:
    """The version that the batch's features (in this version of their table) were checked against by one of these runs;
    by another run only if that version is still champion. Raises NotChecked."""
    table = book.portfolio.table(FEATURES)
    checked = lake.batches(book.portfolio.table(FEATURE_DRIFT))[batch]
    advice = f"Run the job `score` for {batch}, or materialize feature_drift and scores together."
    features = read_at(lake.writes, table, batch, features_version)
    if features and checked.provenance.inputs[table] < features.version:
        raise NotChecked(f"The features of {batch} were computed again after their check. {advice}")
    version = version_checked(lake, book, batch)
    if checked.provenance.run_id not in runs:
        decides = book.registry.champion()
        if decides is None or decides.number != version:
            raise NotChecked(
                f"The features of {batch} were checked against version {version}, but "
                f"{f'version {decides.number}' if decides else 'no version'} is the champion now. {advice}"
            )
    return version

"""The model version that a batch's features were checked against, which alone may score it."""

from __future__ import annotations

from collections.abc import Collection

from credit_assets.book.book import Book
from credit_assets.features.versions import FEATURES, read_at
from credit_assets.lake.tables import Lake

FEATURE_DRIFT = "feature_drift"
"""The table whose commits say which version a batch's features were checked against."""


class NotChecked(ValueError):
    """The current features of a batch have not been checked against the version that is to score them."""


def version_checked(lake: Lake, book: Book, batch: str) -> int:
    """The version of the latest check of the batch's features. Raises NotChecked if it names none."""
    checked = lake.batches(book.portfolio.table(FEATURE_DRIFT))[batch]
    if checked.provenance.model_version is None:
        raise NotChecked("feature_drift names no model version: an earlier release made it. Materialize it again.")
    return checked.provenance.model_version


def checked_against(lake: Lake, book: Book, batch: str, features_version: int, runs: Collection[str]) -> int:
    """The version that the batch's features (in this version of their table) were checked against by one of these runs;
    by another run only if that version is still champion. Raises NotChecked."""
    table = book.portfolio.table(FEATURES)
    checked = lake.batches(book.portfolio.table(FEATURE_DRIFT))[batch]
    advice = f"Run the job `score` for {batch}, or materialize feature_drift and scores together."
    features = read_at(lake.writings, table, batch, features_version)
    if features and checked.provenance.inputs[table] < features.version:
        raise NotChecked(f"The features of {batch} were made again since they were checked. {advice}")
    version = version_checked(lake, book, batch)
    if checked.provenance.run_id not in runs:
        decides = book.registry.champion()
        if decides is None or decides.number != version:
            raise NotChecked(
                f"The features of {batch} were checked against version {version}, and "
                f"{f'version {decides.number}' if decides else 'no version'} is champion now. {advice}"
            )
    return version

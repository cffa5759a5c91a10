"""Deliveries that cannot be accepted, as errors with what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


class BadDelivery(Exception):
    """Delivered files that cannot be accepted as they are; nothing of them was committed.

    `examples` holds the first faults (file, row, column, value, rule), empty where the fault is not in
    single rows; `quarantine` is the file with all offending rows, if there is one. Where the message quotes
    what stands in the files, `without_values` is one that does not.
    """

    def __init__(
        self,
        message: str,
        examples: pd.DataFrame | None = None,
        quarantine: Path | None = None,
        without_values: str | None = None,
    ) -> None:
        super().__init__(message)
        self.without_values = message if without_values is None else without_values
        self.examples = pd.DataFrame() if examples is None else examples
        self.quarantine = quarantine


class MissingFile(BadDelivery):
    """A table that must have a file has none (yet)."""


class UnreadableNow(BadDelivery):
    """Files that cannot be read for a reason outside of them, such as permissions or a full disk: the same files may
    be read later."""

"""Errors for deliveries that cannot be accepted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


class BadDelivery(Exception):
    """Delivered files that cannot be accepted; nothing of them was committed.

    `examples` holds the first faults (file, row, column, value, rule); it is empty if the fault is not in single rows.
    `quarantine` is the file with all bad rows, if there is one. `without_values` is the message without quoted values.
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
    """A required table has no file (yet)."""


class UnreadableNow(BadDelivery):
    """Files that cannot be read for an external reason, such as permissions or a full disk: the same files may be
    readable later."""

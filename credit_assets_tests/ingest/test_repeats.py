"""Applicants whose keys are in several batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_assets.ingest.repeats import RepeatedKeys, masked, other_batches, repeated_keys
from credit_assets.lake.connections import connect
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake

TABLE = "book/loans"


def test_keys_of_other_batches_are_counted_by_batch_and_shown_masked(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with connect() as con:
        for batch, keys in {"01": [100001, 100002], "02": [100002, 100003], "03": [100009]}.items():
            lake.replace(con, f"SELECT unnest({keys}) AS ID", TABLE, batch, Provenance())
        found = repeated_keys(con, "SELECT unnest([100001, 100002, 7]) AS ID", "ID", other_batches(lake, TABLE, "04"))
        assert found == RepeatedKeys(2, {"02": 1, "01": 2}, ("****01", "****02"))
        # A redelivery of the batch itself does not count.
        again = repeated_keys(con, "SELECT 100009 AS ID", "ID", other_batches(lake, TABLE, "03"))
        assert again == RepeatedKeys()


def test_first_batch_repeats_no_key(tmp_path: Path) -> None:
    assert other_batches(Lake(tmp_path), TABLE, "01") is None
    with connect() as con:
        assert repeated_keys(con, "SELECT 1 AS ID", "ID", None) == RepeatedKeys()


@pytest.mark.parametrize(
    ("key", "shown"), [("2026-01-17", "********17"), ("12345", "***45"), ("1234", "****"), ("", "")]
)
def test_masked_key_shows_its_last_characters(key: str, shown: str) -> None:
    assert masked(key) == shown

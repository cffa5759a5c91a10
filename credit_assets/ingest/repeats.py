"""Applicants whose key is in several batches. What a row must be by itself is the contracts' business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from credit_assets.lake.provenance import BATCH
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake

EXAMPLES = 3
SHOWN_OF_KEY = 2


@dataclass(frozen=True)
class Repeated:
    """How many applicants of a batch are in others too, how many in each of these (the newest first), and the keys of
    a few, masked."""

    applicants: int = 0
    batches: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()


def other_batches(lake: Lake, table: str, batch: str) -> str | None:
    """The SELECT of the table's rows in all other batches; None if there are none."""
    others = [name for name in lake.batches(table) if name != batch]
    return lake.query(table, others) if others else None


def repeated_keys(con: duckdb.DuckDBPyConnection, rows: str, entity_key: str, others: str | None) -> Repeated:
    """Which keys of the `rows` (a SELECT) are in the rows of other batches too, a SELECT with the column `batch`."""
    if others is None:
        return Repeated()
    key = identifier(entity_key)
    there = f"SELECT {key} AS k, {BATCH} FROM ({others}) WHERE {key} IN (SELECT {key} FROM ({rows}))"
    found = con.execute(
        f"WITH there AS MATERIALIZED ({there}), keys AS (SELECT DISTINCT k FROM there) "
        f"SELECT (SELECT count(*) FROM keys), (SELECT min(CAST(k AS VARCHAR), {EXAMPLES}) FROM keys), "
        f"{BATCH}, count(*) FROM there GROUP BY {BATCH} ORDER BY {BATCH} DESC"
    ).fetchall()
    if not found:
        return Repeated()
    applicants, examples, *_ = found[0]
    return Repeated(applicants, {batch: count for *_, batch, count in found}, tuple(map(masked, examples)))


def masked(key: str) -> str:
    """The key with all but its last signs hidden, and all of a short one."""
    shown = SHOWN_OF_KEY if len(key) > 2 * SHOWN_OF_KEY else 0
    return "*" * (len(key) - shown) + key[len(key) - shown :]

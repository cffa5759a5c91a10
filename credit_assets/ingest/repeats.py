"""Applicants whose key is in several batches. Rules for single rows are in the contracts."""

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
class RepeatedKeys:
    """How many applicants of a batch are in other batches too: in all, by batch (newest first), and a few masked keys
    as examples."""

    applicants: int = 0
    batches: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()


def other_batches(lake: Lake, table: str, batch: str) -> str | None:
    """The SELECT of the table's rows in all other batches; None if there are none."""
    others = [name for name in lake.batches(table) if name != batch]
    return lake.query(table, others) if others else None


def repeated_keys(con: duckdb.DuckDBPyConnection, rows: str, entity_key: str, others: str | None) -> RepeatedKeys:
    """The keys of `rows` (a SELECT) that are also in `others`, a SELECT of other batches' rows with column `batch`."""
    if others is None:
        return RepeatedKeys()
    key = identifier(entity_key)
    there = f"SELECT {key} AS k, {BATCH} FROM ({others}) WHERE {key} IN (SELECT {key} FROM ({rows}))"
    found = con.execute(
        f"WITH there AS MATERIALIZED ({there}), keys AS (SELECT DISTINCT k FROM there) "
        f"SELECT (SELECT count(*) FROM keys), (SELECT min(CAST(k AS VARCHAR), {EXAMPLES}) FROM keys), "
        f"{BATCH}, count(*) FROM there GROUP BY {BATCH} ORDER BY {BATCH} DESC"
    ).fetchall()
    if not found:
        return RepeatedKeys()
    applicants, examples, *_ = found[0]
    return RepeatedKeys(applicants, {batch: count for *_, batch, count in found}, tuple(map(masked, examples)))


def masked(key: str) -> str:
    """The key with all but its last characters replaced by `*`; short keys are masked entirely."""
    shown = SHOWN_OF_KEY if len(key) > 2 * SHOWN_OF_KEY else 0
    return "*" * (len(key) - shown) + key[len(key) - shown :]

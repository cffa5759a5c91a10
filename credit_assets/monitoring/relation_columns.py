"""Reads the columns of a relation in groups that fit into memory: numbers sorted, texts counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from duckdb import DuckDBPyRelation
from numpy.typing import NDArray

from credit_assets.lake.sql import identifier

CELLS_AT_ONCE = 2**24
"""Values in memory at a time (128 MiB of doubles), which determines how many columns are read together."""

NUMERIC_TYPES = frozenset(
    [
        "boolean",
        "tinyint",
        "smallint",
        "integer",
        "bigint",
        "hugeint",
        "utinyint",
        "usmallint",
        "uinteger",
        "ubigint",
        "uhugeint",
        "float",
        "double",
        "decimal",
    ]
)

CATEGORY_TYPES = frozenset(["varchar", "enum"])

Floats = NDArray[np.float64]


def by_kind(relation: DuckDBPyRelation, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The numeric and the categorical columns among these, by their DuckDB types. Raises ValueError for other
    columns."""
    types = dict(zip(relation.columns, relation.types, strict=True))
    absent = [name for name in names if name not in types]
    if absent:
        raise ValueError(f"The rows have no column {', '.join(absent)}.")
    neither = [f"{name} ({types[name]})" for name in names if types[name].id not in NUMERIC_TYPES | CATEGORY_TYPES]
    if neither:
        raise ValueError(f"Drift is measured for numbers and text only, not for {', '.join(neither)}.")
    return (
        [name for name in names if types[name].id in NUMERIC_TYPES],
        [name for name in names if types[name].id in CATEGORY_TYPES],
    )


def sorted_values(relation: DuckDBPyRelation, names: Sequence[str]) -> Iterator[tuple[str, Floats, int]]:
    """Yield the name, the sorted non-missing values (without negative zeros) and the number of rows of each numeric
    column. One group of columns is in memory at a time."""
    if not names:
        return
    rows = _row_count(relation)
    group = max(1, CELLS_AT_ONCE // rows)
    for start in range(0, len(names), group):
        some = names[start : start + group]
        columns = relation.project(", ".join(f"cast({identifier(name)} as double)" for name in some)).fetchnumpy()
        for name, column in zip(some, columns.values(), strict=True):
            values = np.ma.compressed(column)
            # Adding zero turns -0.0 into 0.0; their order among equal values would depend on the order of the rows.
            values = values[~np.isnan(values)] + 0.0
            values.sort()
            yield name, values, rows


def category_counts(relation: DuckDBPyRelation, names: Sequence[str]) -> Iterator[tuple[str, dict[str | None, int]]]:
    """Yield the name and the number of rows per category (`None` for missing) of each categorical column, in one
    pass."""
    if not names:
        return
    rows = _row_count(relation)
    histograms = ", ".join(f"histogram(cast({identifier(name)} as varchar))" for name in names)
    for name, present in zip(names, relation.aggregate(histograms).fetchall()[0], strict=True):
        counts: dict[str | None, int] = present or {}
        missing = rows - sum(counts.values())
        yield name, counts | ({None: missing} if missing else {})


def _row_count(relation: DuckDBPyRelation) -> int:
    rows = relation.aggregate("count(*)").fetchall()[0][0]
    if not rows:
        raise ValueError("Drift cannot be measured without rows.")
    return int(rows)

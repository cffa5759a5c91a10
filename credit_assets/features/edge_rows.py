"""Rows at the edges of raw contracts: extreme, empty, missing and unusual values that a contract allows.

`totality.py` runs features on them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import duckdb
import pandera.pandas as pa
import pyarrow

from credit_assets.features.matching_texts import texts_that_match
from credit_assets.lake.connections import connect
from credit_assets.lake.contracts import keys, rules
from credit_assets.lake.sql import identifier
from credit_assets.schemas.duckdb_types import FLOATS, NUMBERS, column_types
from credit_assets.schemas.table import Relation, Table

APPLICANTS = 120
"""The number of drawn applicants: enough for each value of a column to meet most values of every other column."""

MAX_CHILD_ROWS = 40
"""The child rows of the applicants with the most. The others have none to three for each parent."""

SMALLEST = 1e-9
"""The smallest fraction drawn: smaller ones are rounding noise, not values of a file."""

LARGEST = 1e15
"""The largest fraction drawn if a contract has no bound: more than any amount of money."""

LONG_TEXT = 5000
INTEGER_BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}
ARROW_TYPES = {
    "TINYINT": pyarrow.int8(),
    "SMALLINT": pyarrow.int16(),
    "INTEGER": pyarrow.int32(),
    "BIGINT": pyarrow.int64(),
    "UTINYINT": pyarrow.uint8(),
    "USMALLINT": pyarrow.uint16(),
    "UINTEGER": pyarrow.uint32(),
    "FLOAT": pyarrow.float32(),
    "DOUBLE": pyarrow.float64(),
    "VARCHAR": pyarrow.string(),
    "BOOLEAN": pyarrow.bool_(),
    "TIMESTAMP": pyarrow.timestamp("us"),
    "TIMESTAMP WITH TIME ZONE": pyarrow.timestamp("us", "UTC"),
    "DATE": pyarrow.date32(),
}
TEXTS = (
    *("", " ", "a", "Z", "0", "-1", "1,5", "12.5%", "$1,234", "1e309", "nan", "inf", "n/a", "%", "'", '"', "\\", "\n"),
    *("2011-02-30", "0000-00-00", "9999-12-31", "Feb-2011", "31/12/2011", "20110230", "Äß\u0301\u20ac\U0001f600"),
    *("9" * 40, "9" * 400, "x" * LONG_TEXT),
)
MOMENTS = tuple(datetime(year, month, day) for year, month, day in ((1678, 1, 1), (1970, 1, 1), (2000, 2, 29)))
MOMENTS += (datetime(2261, 12, 31, 23, 59, 59),)


@dataclass(frozen=True)
class EdgeTable:
    """Drawn rows of one raw table, and the applicant of each row (its position among the drawn applicants)."""

    rows: pyarrow.Table
    applicants: tuple[int, ...]


def edge_tables(
    models: Mapping[str, type[Table]], application_table: str, key: str, seed: int = 1
) -> dict[str, EdgeTable]:
    """Drawn rows for every raw table, equal for equal seeds, all of which satisfy its contract and its relations.

    They include applicants without child rows and with many; rows with all columns at their smallest value, at their
    largest, or empty if that is allowed; and most pairs of values of two columns.
    """
    draw = random.Random(seed)
    drawn: dict[str, EdgeTable] = {}
    with connect() as con:
        for table, model in models.items():
            values = edge_values(con, model)
            if table == application_table:
                applicants = _distinct(con, model, key, APPLICANTS)
                rows = list(_rows(values, len(applicants), draw))
                for row, value in zip(rows, applicants, strict=True):
                    row[key] = value
                owners = list(range(len(rows)))
            else:
                rows, owners = _child_rows(model, values, drawn, draw)
            rows, owners = _with_unique_keys(con, model, rows, owners, key if table == application_table else None)
            drawn[table] = EdgeTable(arrow(model, rows), tuple(owners))
    return drawn


def edge_values(con: duckdb.DuckDBPyConnection, model: type[Table]) -> dict[str, list[Any]]:
    """For each column, the values at the edges of what the contract allows, ascending if they have an order, with
    `None` last if it may be empty."""
    schema, row_rules = model.to_schema(), rules(model)
    found: dict[str, list[Any]] = {}
    for name, kind in column_types(model).items():
        column = schema.columns[name]
        wanted = list(dict.fromkeys(_candidates(kind, column.checks)))
        allowed = " AND ".join(rule.good for rule in row_rules if rule.column == name) or "TRUE"
        found[name] = _allowed(con, name, kind, wanted, allowed)
        if column.nullable or not column.required:
            found[name].append(None)
    return found


def arrow(model: type[Table], rows: Sequence[Mapping[str, Any]]) -> pyarrow.Table:
    """The rows as an Arrow table of the contract's types."""
    kinds = column_types(model)
    return pyarrow.table(
        {name: pyarrow.array([row[name] for row in rows], ARROW_TYPES[kind]) for name, kind in kinds.items()}
    )


def _candidates(kind: str, checks: Iterable[pa.Check]) -> Iterator[Any]:
    parameters: list[Any] = []
    for check in checks:
        for value in (check.statistics or {}).values():
            parameters += list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if kind == "VARCHAR":
        yield from (value for value in parameters if isinstance(value, str))
        yield from TEXTS
        yield from (size * "x" for size in parameters if isinstance(size, int) and 0 < size <= LONG_TEXT)
        for pattern in _patterns(checks):
            yield from texts_that_match(pattern)
    elif kind == "BOOLEAN":
        yield from (False, True)
    elif kind in NUMBERS:
        bounds = [value for value in parameters if isinstance(value, int | float) and math.isfinite(value)]
        yield from _numbers(kind, bounds)
    else:
        days = [value for value in parameters if isinstance(value, date)]
        moments = [value if isinstance(value, datetime) else datetime(*value.timetuple()[:3]) for value in days]
        yield from (moment.date() if kind == "DATE" else moment for moment in (*moments, *MOMENTS))


def _patterns(checks: Iterable[pa.Check]) -> Iterator[str]:
    for check in checks:
        if check.name in ("str_matches", "str_contains"):
            pattern = (check.statistics or {})["pattern"]
            yield str(getattr(pattern, "pattern", pattern))


def _numbers(kind: str, bounds: Sequence[float]) -> Iterator[Any]:
    near = [bound + step for bound in bounds for step in (0, -1, 1)]
    if kind in FLOATS:
        yield from (float(value) for value in near)
        for bound in bounds:
            yield from (float(bound) - SMALLEST, float(bound) + SMALLEST, float(bound) / 3)
        yield from (0.0, -0.0, SMALLEST, -SMALLEST, 0.1, 0.5, 1 / 3, 1.0, -1.0, 7.0, 365.0, -365.0)
        yield from (-LARGEST, LARGEST)
    else:
        bits = INTEGER_BITS.get(kind.removeprefix("U"), 64)
        least, greatest = (0, 2**bits - 1) if kind.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        for value in (*(math.floor(bound) for bound in near), 0, 1, -1, 2, 7, 365, -365, least, greatest):
            if least <= value <= greatest:
                yield value


def _allowed(con: duckdb.DuckDBPyConnection, name: str, kind: str, values: Sequence[Any], allowed: str) -> list[Any]:
    """The values for which `allowed`, an SQL condition on column `name`, holds, ascending."""
    column, place = identifier(name), identifier(f"{name} place")
    drawn = {name: pyarrow.array(values, ARROW_TYPES[kind]), f"{name} place": list(range(len(values)))}
    con.register("candidates", pyarrow.table(drawn))
    found = con.execute(
        f"SELECT {place} FROM candidates WHERE {column} IS NOT NULL AND {allowed} ORDER BY {column}, {place}"
    ).fetchall()
    con.unregister("candidates")
    return [values[n] for (n,) in found]


def _rows(values: Mapping[str, Sequence[Any]], count: int, draw: random.Random) -> Iterator[dict[str, Any]]:
    """`count` rows: first the uniform ones, then rows that take each column's values in a random order."""

    def at(options: Sequence[Any]) -> Sequence[Any]:
        return [value for value in options if value is not None] or [None]

    uniform: list[dict[str, Any]] = [
        {name: at(options)[0] for name, options in values.items()},
        {name: at(options)[-1] for name, options in values.items()},
        {name: options[-1] if options else None for name, options in values.items()},
        {name: next((value for value in options if value == 0), at(options)[0]) for name, options in values.items()},
        {name: at(options)[-(n % 2)] for n, (name, options) in enumerate(values.items())},
        {name: at(options)[-((n + 1) % 2)] for n, (name, options) in enumerate(values.items())},
    ]
    yield from uniform[:count]
    turns: dict[str, list[Any]] = {name: [] for name in values}
    for _ in range(count - len(uniform)):
        row = {}
        for name, options in values.items():
            if not turns[name]:
                turns[name] = draw.sample(list(options) or [None], len(options) or 1)
            row[name] = turns[name].pop()
        yield row


def _child_rows(
    model: type[Table],
    values: Mapping[str, Sequence[Any]],
    drawn: Mapping[str, EdgeTable],
    draw: random.Random,
) -> tuple[list[dict[str, Any]], list[int]]:
    """Rows of a child table: none to three for each parent, and many for some."""
    relations = [relation for relation in model.relations if relation.parent in drawn]
    if not relations:
        rows = list(_rows(values, APPLICANTS, draw))
        return rows, [0] * len(rows)
    first = relations[0]
    parents = drawn[first.parent]
    keys_of_parents = parents.rows.column(first.parent_column).to_pylist()
    owners: list[int] = []
    linked: list[Any] = []
    for place, (value, owner) in enumerate(zip(keys_of_parents, parents.applicants, strict=True)):
        if value is not None:
            times = MAX_CHILD_ROWS if place in (1, len(keys_of_parents) // 2) else place % 4
            owners += [owner] * times
            linked += [value] * times
    rows = list(_rows(values, len(owners), draw))
    # Shuffled so that the first parents get uniform rows too, not only the second parent.
    order = draw.sample(range(len(owners)), len(owners))
    for row, place in zip(rows, order, strict=True):
        row[first.column] = linked[place]
    owners = [owners[place] for place in order]
    for relation in relations[1:]:
        _link(rows, owners, relation, drawn[relation.parent], draw)
    whole = [place for place, row in enumerate(rows) if _ABSENT not in row.values()]
    return [rows[place] for place in whole], [owners[place] for place in whole]


_ABSENT = object()
"""A required parent that the applicant has no row of."""


def _link(
    rows: Sequence[dict[str, Any]], owners: Sequence[int], relation: Relation, parent: EdgeTable, draw: random.Random
) -> None:
    """Set a parent of the same applicant in each row; in some rows none, if a parent is not required."""
    of_owner: dict[int, list[Any]] = {}
    for value, owner in zip(parent.rows.column(relation.parent_column).to_pylist(), parent.applicants, strict=True):
        of_owner.setdefault(owner, []).append(value)
    for row, owner in zip(rows, owners, strict=True):
        known = of_owner.get(owner, [])
        if known and (relation.enforced or draw.random() < 0.8):
            row[relation.column] = draw.choice(known)
        elif relation.enforced:
            row[relation.column] = _ABSENT
        elif isinstance(row[relation.column], int):
            # No parent, and no other applicant's row, has this number.
            row[relation.column] = 10**9 + owner


def _distinct(con: duckdb.DuckDBPyConnection, model: type[Table], name: str, count: int) -> list[Any]:
    """Up to `count` distinct values of a key, as many as the contract allows."""
    kind = column_types(model)[name]
    allowed = " AND ".join(rule.good for rule in rules(model) if rule.column == name) or "TRUE"
    checks = model.to_schema().columns[name].checks
    if kind in NUMBERS:
        starts = [int(value) for value in _candidates(kind, checks) if abs(value) < 2**53]
        least = min(_allowed(con, name, kind, starts, f"{allowed} AND {identifier(name)} >= 0") or starts)
        wanted: list[Any] = [least + step for step in range(count - 1)]
        wanted += [value for value in _candidates(kind, checks) if value not in wanted][-1:]
        wanted = [float(value) if kind in FLOATS else value for value in wanted]
    elif kind == "VARCHAR":
        drawn = [text for pattern in _patterns(checks) for text in texts_that_match(pattern, 2 * count)]
        shapes = ("{}", "{:04d}", "{:06d}", "{:08d}", "{:010d}", "A{}", "A{:06d}", "AB{:06d}", "a-{}")
        wanted = [*(shape.format(n) for shape in shapes for n in range(1, count)), *drawn]
    else:
        wanted = list(_candidates(kind, checks))
    return _allowed(con, name, kind, list(dict.fromkeys(wanted)), allowed)[:count]


def _with_unique_keys(
    con: duckdb.DuckDBPyConnection,
    model: type[Table],
    rows: list[dict[str, Any]],
    owners: list[int],
    given: str | None,
) -> tuple[list[dict[str, Any]], list[int]]:
    """The rows with the contract's keys made unique: columns that are a key alone get new values; for other keys, the
    first row of each value is kept. `given` is a column whose values are unique already."""
    relations = {relation.column for relation in model.relations}
    for key in keys(model):
        if len(key) == 1 and key[0] != given and key[0] not in relations:
            values = _distinct(con, model, key[0], len(rows))
            rows, owners = rows[: len(values)], owners[: len(values)]
            for row, value in zip(rows, values, strict=False):
                row[key[0]] = value
        seen: set[tuple[Any, ...]] = set()
        kept = []
        for place, row in enumerate(rows):
            value = tuple(row[name] for name in key)
            if value not in seen:
                seen.add(value)
                kept.append(place)
        rows, owners = [rows[place] for place in kept], [owners[place] for place in kept]
    return rows, owners

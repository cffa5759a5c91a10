"""Checks that feature SQL yields a finite number or null, and one row per applicant, for all rows that the raw
contracts allow. `edge_rows.py` draws the rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow
import sqlglot
from pyarrow import compute
from sqlglot import exp

from credit_assets.book.lineage import Lineage
from credit_assets.book.queries import DIALECT, FeatureQuery
from credit_assets.features.compute import finite
from credit_assets.features.edge_rows import EdgeTable, edge_tables, edge_values
from credit_assets.features.versions import FEATURES
from credit_assets.lake.connections import connect
from credit_assets.lake.contracts import keys, shorten
from credit_assets.lake.sql import identifier
from credit_assets.plurals import number_of
from credit_assets.schemas.table import Table

Tables = Mapping[str, EdgeTable]
Fault = Callable[[FeatureQuery, Tables, str | None], str | None]
"""A function that returns what is wrong with a query, or with one feature of it, on some rows; None if nothing is."""

FEATURES_SHOWN = 3

VALUES_SHOWN = 6


@dataclass(frozen=True)
class Failure:
    """A failure of a query on rows that the contracts allow: the feature (None for the whole query), the reason, and
    the values that cause it, as far as they could be narrowed down."""

    query: str
    feature: str | None
    reason: str
    values: str


def failures(
    queries: Mapping[str, FeatureQuery],
    models: Mapping[str, type[Table]],
    application_table: str,
    key: str,
    direct: Lineage,
    seconds: float = 10.0,
    seed: int = 1,
) -> list[Failure]:
    """The failures of the queries, each after its inputs, on the edge rows of the contracts and on empty tables.

    `direct` has each column's immediate inputs. Queries that read a query failing as a whole are not tested. Narrowing
    down stops after `seconds`: failures found later name no values. Another `seed` draws other rows.
    """
    drawn: dict[str, EdgeTable] = edge_tables(models, application_table, key, seed)
    applicants = drawn[application_table].rows.column(key).to_pylist()
    found: list[Failure] = []
    with connect() as con:
        trial = _Trial(con, key, applicants, _plain_rows(con, models), time.monotonic() + seconds)
        for query in queries.values():
            if any(table not in drawn for table in query.inputs):
                continue
            inputs = {table: drawn[table] for table in query.inputs}
            found += trial.failures(query, inputs, direct.get(query.name, {}))
            if (rows := trial.result(query, inputs)) is not None:
                # Values that are not finite are stored as null.
                kept = finite(con.from_arrow(rows)).to_arrow_table()
                drawn[query.name] = _made(kept, query.key, applicants)
    return found


def _plain_rows(con: duckdb.DuckDBPyConnection, models: Mapping[str, type[Table]]) -> dict[str, dict[str, Any]]:
    """For each table and column that is not a key, a value from the middle of the allowed ones."""
    plain = {}
    for table, model in models.items():
        linked = {name for key in keys(model) for name in key} | {relation.column for relation in model.relations}
        plain[table] = {
            name: values[(len(values) - 1) // 2]
            for name, values in edge_values(con, model).items()
            if values and name not in linked
        }
    return plain


@dataclass(frozen=True)
class _Trial:
    """Runs queries on chosen rows."""

    con: duckdb.DuckDBPyConnection
    key: str
    applicants: Sequence[Any]
    plain: Mapping[str, Mapping[str, Any]]
    until: float

    def failures(
        self, query: FeatureQuery, inputs: Tables, origins: Mapping[str, Sequence[tuple[str, str]]]
    ) -> Iterator[Failure]:
        """The query's failures: errors, numbers that are not finite, and lost or duplicated rows."""
        if error := self.error(query, _none_of(inputs)):
            yield Failure(query.name, None, f"fails on tables without rows: {error}", "")
            return
        rows = self.result(query, inputs)
        if rows is None:
            # DuckDB computes shared subqueries as a whole; inlined, only the features that use a fault fail.
            query = replace(query, sql=_inlined(query.sql))
            raising = self.raising(query, inputs, tuple(query.descriptions))
            yield from self.each_narrowed(query, inputs, raising or [None], origins, self.error)
            return
        yield from self.each_narrowed(query, inputs, _not_finite(rows), origins, self.infinite)
        if reason := self.lost(query, rows):
            yield Failure(query.name, None, reason, "")

    def result(self, query: FeatureQuery, inputs: Tables) -> pyarrow.Table | None:
        """The query's result on the rows; None if it fails."""
        self.register(inputs)
        try:
            return self.con.query(query.sql).to_arrow_table()
        except duckdb.Error:
            return None

    def register(self, inputs: Tables) -> None:
        for table, drawn in inputs.items():
            self.con.register(table, drawn.rows)

    def error(self, query: FeatureQuery, inputs: Tables, feature: str | None = None) -> str | None:
        """The error of the query (or of one feature) on these rows; None if it succeeds."""
        self.register(inputs)
        columns = "*" if feature is None else f"{identifier(query.key)}, {identifier(feature)}"
        try:
            self.con.execute(f"SELECT {columns} FROM ({query.sql})").fetchall()
        except duckdb.Error as error:
            # Without DuckDB's hints and the SQL, whose line numbers differ here.
            return str(error).split("\n")[0].split(". You might want")[0].strip().rstrip("!")
        return None

    def raising(self, query: FeatureQuery, inputs: Tables, features: Sequence[str]) -> list[str]:
        """The features that fail, found by bisection: testing hundreds one by one would take too long."""
        columns = ", ".join(map(identifier, (query.key, *features)))
        if not self.error(replace(query, sql=f"SELECT {columns} FROM ({query.sql})"), inputs):
            return []
        if len(features) == 1:
            return list(features)
        middle = len(features) // 2
        return [
            feature for half in (features[:middle], features[middle:]) for feature in self.raising(query, inputs, half)
        ]

    def infinite(self, query: FeatureQuery, inputs: Tables, feature: str | None = None) -> str | None:
        """The reason if a feature is not a finite number on these rows; None if it is."""
        assert feature is not None
        self.register(inputs)
        name = identifier(feature)
        try:
            values = self.con.execute(
                f"SELECT CAST({name} AS VARCHAR) FROM ({query.sql}) WHERE NOT isfinite({name}) ORDER BY 1 LIMIT 1"
            ).fetchall()
        except duckdb.Error:
            return None
        return f"is {values[0][0]}" if values else None

    def lost(self, query: FeatureQuery, rows: pyarrow.Table) -> str | None:
        """The reason if applicants have more than one row or (in the table `features`) none; None otherwise."""
        values = rows.column(query.key).to_pylist()
        known = set(self.applicants)
        if not set(values) <= known:
            return (
                f"returns rows that belong to no applicant. Its first column must be a {self.key} from its input rows"
            )
        if doubled := len(values) - len(set(values)):
            return (
                f"returns more than one row for {doubled} of {number_of(len(known), 'applicant')}. Group by {self.key}"
            )
        if query.name == FEATURES and (missing := len(known) - len(set(values))):
            lost = f"loses {missing} of {number_of(len(known), 'applicant')}"
            return f"{lost}. Those without rows in a table need a left join"
        return None

    # -- narrowing down ----------------------------------------------------------------------------------

    def each_narrowed(
        self,
        query: FeatureQuery,
        inputs: Tables,
        features: Sequence[str | None],
        origins: Mapping[str, Sequence[tuple[str, str]]],
        fault: Fault,
    ) -> Iterator[Failure]:
        """The narrowed-down failures of the first features, and the number of further ones."""
        for feature in features[:FEATURES_SHOWN]:
            failure = self.narrowed(query, inputs, feature, origins, fault)
            others = len(features) - FEATURES_SHOWN
            if others > 0 and feature == features[FEATURES_SHOWN - 1]:
                failure = replace(failure, reason=f"{failure.reason} (and so for {number_of(others, 'other')})")
            yield failure

    def narrowed(
        self,
        query: FeatureQuery,
        inputs: Tables,
        feature: str | None,
        origins: Mapping[str, Sequence[tuple[str, str]]],
        fault: Fault,
    ) -> Failure:
        """The failure on the fewest rows and values that still cause it."""

        def fails(tried: Tables) -> bool:
            return time.monotonic() < self.until and fault(query, tried, feature) is not None

        applicants = _smallest_failing(
            range(-1, len(self.applicants)), lambda some: fails(_of_applicants(inputs, set(some)))
        )
        rows: Tables = _of_applicants(inputs, set(applicants))
        for table in inputs:
            rows = _with_fewer_rows(rows, table, fails)
        read = origins.get(feature, ()) if feature else [origin for each in origins.values() for origin in each]
        needed, others = [], []
        for table, column in dict.fromkeys(read):
            if column != self.key and rows[table].rows.num_rows == 1:
                plainer = self.with_plain(rows, table, column)
                if plainer is not None and fails(plainer):
                    rows = plainer
                    others.append((table, column))
                else:
                    needed.append((table, column))
        shown = [
            f"{table}.{column} = {_shown(rows[table].rows.column(column)[0].as_py())}"
            for table, column in [*needed, *others]
        ]
        reason = fault(query, rows, feature) or fault(query, inputs, feature) or "fails"
        more = f" and {len(shown) - VALUES_SHOWN} more" if len(shown) > VALUES_SHOWN else ""
        return Failure(query.name, feature, reason, ", ".join(shown[:VALUES_SHOWN]) + more)

    def with_plain(self, rows: Tables, table: str, column: str) -> Tables | None:
        """The rows with an ordinary value in a column, if it has one."""
        plain = self.plain.get(table, {})
        if column not in plain:
            return None
        drawn = rows[table]
        place = drawn.rows.schema.get_field_index(column)
        field = drawn.rows.schema.field(place)
        changed = drawn.rows.set_column(place, field, pyarrow.array([plain[column]], field.type))
        return {**rows, table: replace(drawn, rows=changed)}


def _inlined(sql: str) -> str:
    """The SQL with every common table expression computed where it is used."""
    tree = sqlglot.parse_one(sql, dialect=DIALECT)
    for shared in tree.find_all(exp.CTE):
        shared.set("materialized", False)
    return tree.sql(DIALECT)


def _made(rows: pyarrow.Table, key: str, applicants: Sequence[Any]) -> EdgeTable:
    """A query's result as the input of other queries."""
    place_of = {value: place for place, value in enumerate(applicants)}
    return EdgeTable(rows, tuple(place_of.get(value, -1) for value in rows.column(key).to_pylist()))


def _not_finite(rows: pyarrow.Table) -> list[str]:
    floats = [
        name for name, kind in zip(rows.column_names, rows.schema.types, strict=True) if pyarrow.types.is_floating(kind)
    ]
    return [name for name in floats if compute.all(compute.is_finite(rows.column(name))).as_py() is False]


def _none_of(inputs: Tables) -> Tables:
    return {table: EdgeTable(drawn.rows.slice(0, 0), ()) for table, drawn in inputs.items()}


def _of_applicants(inputs: Tables, applicants: Collection[int]) -> dict[str, EdgeTable]:
    return {
        table: _taken(drawn, [n for n, owner in enumerate(drawn.applicants) if owner in applicants])
        for table, drawn in inputs.items()
    }


def _taken(drawn: EdgeTable, places: Sequence[int]) -> EdgeTable:
    return EdgeTable(
        drawn.rows.take(pyarrow.array(places, pyarrow.int64())), tuple(drawn.applicants[n] for n in places)
    )


def _with_fewer_rows(rows: Tables, table: str, fails: Callable[[Tables], bool]) -> Tables:
    drawn = rows[table]
    places = _smallest_failing(range(drawn.rows.num_rows), lambda some: fails({**rows, table: _taken(drawn, some)}))
    return {**rows, table: _taken(drawn, places)}


def _smallest_failing(items: Sequence[int], fails: Callable[[Sequence[int]], bool]) -> Sequence[int]:
    """A part of the items that still fails, halved as long as one half fails on its own."""
    while len(items) > 1:
        middle = len(items) // 2
        half = next((part for part in (items[:middle], items[middle:]) if fails(part)), None)
        if half is None:
            return items
        items = half
    return items


def _shown(value: Any) -> str:
    return "null" if value is None else shorten(repr(value))

"""The origin of feature columns, traced column by column through the SQL to the tables that it reads. `queries.py`
defines queries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import cast

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope
from sqlglot.schema import MappingSchema

from credit_assets.book.queries import DIALECT, FeatureQuery, FeatureQueryError, statements_of, text_of

Origin = tuple[str, str]
"""A table and one of its columns."""


Lineage = dict[str, dict[str, tuple[Origin, ...]]]
"""For each query and output column, the columns that it comes from, sorted."""


def lineage(
    queries: Mapping[str, FeatureQuery], raw_schemas: Mapping[str, Mapping[str, str]], of_rows: bool = True
) -> Lineage:
    """For each query and output column, the columns of its inputs that determine its value.

    `raw_schemas` has the columns and types of every raw table that the queries read. Columns that select, group or
    match rows on the way (WHERE, FILTER, GROUP BY, joins, windows) are included like those in expressions; keys that
    only match the entity's own rows are left out if other columns remain. Without `of_rows`, only the columns in the
    expression of each output count, through every query: none for `count(*)`. Raises FeatureQueryError for a table
    without a schema or a column that its table does not have.
    """
    schemas = {table: dict(columns) for table, columns in raw_schemas.items()}
    result: Lineage = {}
    for query in queries.values():
        missing = [table for table in query.inputs if table not in schemas]
        if missing:
            raise FeatureQueryError(f"no schema for table {', '.join(missing)}", f"{query.name}.sql")
        result[query.name] = _query_lineage(query, {table: schemas[table] for table in query.inputs}, of_rows)
        schemas[query.name] = dict.fromkeys(query.columns, "DOUBLE")
    return result


def raw_lineage(direct: Lineage) -> Lineage:
    """The `lineage` followed through all queries, each after its inputs, back to columns of raw tables."""
    result: Lineage = {}
    for name, columns in direct.items():
        result[name] = {
            column: tuple(
                sorted(
                    {
                        root
                        for table, source in origins
                        for root in (result[table][source] if table in result else ((table, source),))
                    }
                )
            )
            for column, origins in columns.items()
        }
    return result


def _query_lineage(
    query: FeatureQuery, schemas: Mapping[str, Mapping[str, str]], of_rows: bool
) -> dict[str, tuple[Origin, ...]]:
    # DuckDB ignores the case of (ASCII) names, and sqlglot lowers them: map them back to the original spelling.
    written = {
        (_folded(table), _folded(column)): (table, column) for table, columns in schemas.items() for column in columns
    }
    known = tuple(
        (_folded(table), tuple((_folded(column), kind) for column, kind in columns.items()))
        for table, columns in schemas.items()
    )
    result: dict[str, tuple[Origin, ...]] = {}
    try:
        walk = _Walk(_qualified(query.sql, known), of_rows)
        for column in query.columns:
            origins = {written[origin] for origin in walk.origins(walk.root, _folded(column))}
            values = {origin for origin in origins if origin[1].lower() != query.key.lower()}
            result[column] = tuple(sorted((values or origins) if of_rows else values))
    except SqlglotError as error:
        raise FeatureQueryError(str(error), f"{query.name}.sql") from error
    return result


@lru_cache(maxsize=64)
def _qualified(sql: str, schemas: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]) -> Scope:
    """The SELECT with every column qualified by its table. Cached, because this takes most of the time."""
    schema: dict[str, object] = {table: dict(columns) for table, columns in schemas}
    tree = qualify(
        cast(exp.Query, statements_of(sql)[0]),
        dialect=DIALECT,
        # Not normalized: it would read a name such as `@0` as SQL.
        schema=MappingSchema(schema, dialect=DIALECT, normalize=False),
        quote_identifiers=False,
    )
    return traverse_scope(tree)[-1]


def _folded(name: str) -> str:
    """The name as DuckDB compares it: ignoring the case of ASCII letters."""
    return re.sub("[A-Z]+", lambda found: found[0].lower(), name)


class _Walk:
    """Follows columns of a qualified SELECT through its scopes (CTEs, subqueries) down to tables.

    sqlglot's own `lineage` builds a new graph for each column; one walk with a cache traces hundreds of columns within
    a second. Without `of_rows`, columns that only select rows are left out.
    """

    def __init__(self, root: Scope, of_rows: bool) -> None:
        self.root, self.of_rows = root, of_rows
        self.owner = {column: scope for scope in root.traverse() for column in scope.column_index}
        self.seen: dict[tuple[int, str], frozenset[Origin]] = {}
        self.rows_seen: dict[int, frozenset[Origin]] = {}
        self.positions: dict[int, dict[str, int]] = {}

    def origins(self, scope: Scope, column: str) -> frozenset[Origin]:
        """The table columns that determine output `column` of `scope`."""
        key = (id(scope), column)
        if key not in self.seen:
            found = set(self.rows(scope))
            position = self.position(scope, column)
            for part in _parts(scope):
                found |= self.within(_query(part).selects[position])
            self.seen[key] = frozenset(found)
        return self.seen[key]

    def position(self, scope: Scope, column: str) -> int:
        """The position of the output column, cached because naming all columns of a wide SELECT each time is slow."""
        if id(scope) not in self.positions:
            names = _query(scope).named_selects
            self.positions[id(scope)] = {name: place for place, name in reversed(list(enumerate(names)))}
        return self.positions[id(scope)][column]

    def rows(self, scope: Scope) -> frozenset[Origin]:
        """The table columns that determine which rows `scope` has.

        The condition of a left join determines the columns from its right side, not the rows.
        """
        if not self.of_rows:
            return frozenset()
        if id(scope) not in self.rows_seen:
            found: set[Origin] = set()
            for part in _parts(scope):
                select = _query(part)
                left = _left_joins(select)
                clauses = [select.args.get(name) for name in ("where", "group", "having", "qualify", "order")]
                clauses += select.args.get("windows") or []
                clauses += [join for join in select.args.get("joins") or [] if join.alias_or_name not in left]
                for clause in clauses:
                    if clause is not None:
                        found |= self.within(clause)
                for name, source in part.sources.items():
                    if isinstance(source, Scope) and name not in left and name in part.selected_sources:
                        found |= self.rows(source)
            self.rows_seen[id(scope)] = frozenset(found)
        return self.rows_seen[id(scope)]

    def within(self, node: exp.Expr) -> set[Origin]:
        """The table columns that all columns within `node` come from."""
        found: set[Origin] = set()
        for column in node.find_all(exp.Column):
            scope: Scope | None = self.owner[id(column)]
            # a correlated subquery names tables of the query around it
            while scope is not None and column.table not in scope.sources:
                scope = scope.parent
            if scope is None:
                continue  # a lambda's parameter
            source = scope.sources[column.table]
            if isinstance(source, exp.Table):
                found.add((source.name, column.name))
            else:
                found |= self.origins(source, column.name)
            join = _left_joins(scope.expression).get(column.table)
            if self.of_rows and join is not None and not any(parent is join for parent in _ancestors(column)):
                found |= self.within(join)
        return found


def _parts(scope: Scope) -> list[Scope]:
    """The SELECTs of a scope: itself, or the branches of its UNION."""
    if scope.set_operation_scopes:
        return [part for branch in scope.set_operation_scopes for part in _parts(branch)]
    return [scope]


def _query(scope: Scope) -> exp.Query:
    if not isinstance(scope.expression, exp.Query):
        raise SqlglotError(f"columns cannot be followed through {text_of(scope.expression)}")
    return scope.expression


def _left_joins(select: exp.Expr) -> dict[str, exp.Join]:
    return {join.alias_or_name: join for join in select.args.get("joins") or [] if join.side == "LEFT"}


def _ancestors(node: exp.Expr) -> Iterator[exp.Expr]:
    while node.parent is not None:
        node = node.parent
        yield node

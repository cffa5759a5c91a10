"""Features computed from relations, for the assets, the checks and everything else that needs features.

Dagster and the lake are not known here: tables are tables or views of a DuckDB connection.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import duckdb

from credit_assets.book.queries import FeatureQuery
from credit_assets.features.versions import FEATURES
from credit_assets.lake.sql import identifier
from credit_assets.schemas.duckdb_types import FLOATS


def compute_query(con: duckdb.DuckDBPyConnection, query: FeatureQuery) -> duckdb.DuckDBPyRelation:
    """The rows of one query, lazily, from the connection's tables or views with the names that it reads."""
    return finite(con.sql(query.sql))


def compute_features(
    con: duckdb.DuckDBPyConnection, queries: Mapping[str, FeatureQuery], keys: Collection[Any] | None = None
) -> duckdb.DuckDBPyRelation:
    """The features, one row per applicant, lazily; of the applicants with these entity keys, or of all.

    The connection has the raw tables as tables or views, with their names and the types of their contracts. It gets a
    view with each query's name. `queries` are those of a book, each after those it reads. A key that is not among the
    applicants has no row.
    """
    for name, query in queries.items():
        compute_query(con, query).create_view(name, replace=True)
    features = con.view(FEATURES)
    if keys is None:
        return features
    if not keys:
        return features.limit(0)
    wanted = [duckdb.ConstantExpression(key) for key in keys]
    return features.filter(duckdb.ColumnExpression(queries[FEATURES].key).isin(*wanted))


def finite(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The relation with nulls instead of infinities and NaN, which no model can read."""
    floats = [name for name, kind in zip(relation.columns, relation.types, strict=True) if str(kind).upper() in FLOATS]
    if not floats:
        return relation
    guarded = ", ".join(f"CASE WHEN isfinite({name}) THEN {name} END AS {name}" for name in map(identifier, floats))
    return relation.project(f"* REPLACE ({guarded})")

"""Features computed from relations, for the assets, the checks and everything else that needs features.

Tables are tables or views of a DuckDB connection; this module needs neither Dagster nor the lake.
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
    """The rows of one query, as a lazy relation; the connection has the query's inputs as tables or views."""
    # A star takes columns of other queries, which are finite; to guard them again takes long in a wide table.
    starred = {column.lower() for column in query.descriptions.keys() - query.lines.keys()}
    relation = con.sql(query.sql)
    return finite(relation, [column for column in relation.columns if column.lower() not in starred])


def compute_features(
    con: duckdb.DuckDBPyConnection, queries: Mapping[str, FeatureQuery], keys: Collection[Any] | None = None
) -> duckdb.DuckDBPyRelation:
    """The features, one row per applicant, as a lazy relation: of the applicants with these entity keys, or of all.

    The connection has the raw tables as tables or views, under their names and with the types of their contracts. A
    view is created for each query. `queries` are a book's, each after its inputs. A key without an applicant has no
    row.
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


def finite(relation: duckdb.DuckDBPyRelation, columns: Collection[str] | None = None) -> duckdb.DuckDBPyRelation:
    """The relation with nulls instead of infinities and NaN, which models cannot read, in these columns or in all."""
    kinds = dict(zip(relation.columns, relation.types, strict=True))
    floats = [name for name in (kinds if columns is None else columns) if str(kinds[name]).upper() in FLOATS]
    if not floats:
        return relation
    guarded = ", ".join(f"CASE WHEN isfinite({name}) THEN {name} END AS {name}" for name in map(identifier, floats))
    return relation.project(f"* REPLACE ({guarded})")

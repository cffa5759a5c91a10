"""The contracts of feature tables, derived from their SQL: one row per applicant, and a description of each column."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa

from credit_assets.book.queries import FeatureQuery
from credit_assets.features.training_set import TEST, TRAIN, VALID
from credit_assets.lake.connections import connect
from credit_assets.lake.sql import identifier
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.schemas.scores import Scores
from credit_assets.schemas.table import Table

DTYPES: dict[str, Any] = {
    "DOUBLE": float,
    "FLOAT": float,
    "VARCHAR": str,
    "TINYINT": pd.Int8Dtype,
    "SMALLINT": pd.Int16Dtype,
    "INTEGER": pd.Int32Dtype,
    "BIGINT": pd.Int64Dtype,
}


RESERVED = tuple(dict.fromkeys(("batch", "target", "fold", "outcome", *Scores.to_schema().columns)))
"""Names that features must not have: columns that the platform adds beside the features (batch, outcome, fold, and the
columns of a score), so that no table, join or dictionary has two of one name."""

KEY_MAY_BE = "applicant"
"""The reserved name that an entity key may have, because it means the same."""


class FeatureError(ValueError):
    """A feature query does not match the tables it reads, or a setting does not match the features.

    `where` is the SQL file or the setting, `line` the line of the SQL and `column` the feature, if they are known.
    """

    def __init__(self, reason: str, where: str, *, line: int | None = None, column: str | None = None) -> None:
        super().__init__(f"{where}: {reason}")
        self.reason, self.where, self.line, self.column = reason, where, line, column


def feature_contracts(
    queries: Mapping[str, FeatureQuery], raw: Mapping[str, type[Table]], entity_key: str
) -> dict[str, type[Table]]:
    """For each query, the contract of its result.

    Each query is bound (not run) against empty tables of the raw contracts, so that a missing column, or a result
    without the entity key, raises FeatureError here rather than in a scheduled run.
    """
    contracts: dict[str, type[Table]] = {}
    con = connect()
    try:
        for table, model in raw.items():
            columns = ", ".join(f"{identifier(name)} {kind}" for name, kind in column_types(model).items())
            con.execute(f"CREATE TABLE {identifier(table)} ({columns})")
        for name, query in queries.items():
            try:
                con.execute(f"CREATE VIEW {identifier(name)} AS {query.sql}")
                described = con.execute(f"DESCRIBE {identifier(name)}").fetchall()
            except duckdb.Error as error:
                line = re.search(r"LINE (\d+):", str(error))
                raise FeatureError(str(error), f"{name}.sql", line=int(line[1]) if line else None) from error
            types = {column: kind for column, kind, *_ in described}
            contracts[name] = _contract(query, types, entity_key)
    finally:
        con.close()
    return contracts


def training_set_contract(
    query: FeatureQuery, features: type[Table], entity_key: str, left_out: Collection[str]
) -> type[Table]:
    """The contract of the training set: the features of the contract `features` except those `left_out`, and the
    outcome of each row."""
    kept = {column: kind for column, kind in column_types(features).items() if column not in left_out}
    if set(kept) == {entity_key}:
        raise FeatureError("no feature is left to learn from.", "left_out")
    body: dict[str, Any] = {
        "__doc__": "Features of applicants with a known outcome, each in its fold.",
        "__module__": __name__,
        "__annotations__": {"batch": str, "target": np.int8, "fold": str},
        "Config": type("Config", (), {"unique": [entity_key, "batch"]}),
        "batch": pa.Field(description="The delivery that the application is in"),
        "target": pa.Field(isin=[0, 1], description="1: defaulted"),
        "fold": pa.Field(isin=[TRAIN, VALID, TEST], description="Models learn from train and valid, not from test"),
    }
    return type("TrainingSet", (_contract(query, kept, entity_key),), body)


def check_encodings(features: type[Table], encodings: Collection[str]) -> None:
    """Raise FeatureError if a feature with a configured encoding does not exist, or is a number already."""
    types = column_types(features)
    for feature in encodings:
        if types.get(feature) != "VARCHAR":
            why = "is a number already" if feature in types else "is not a feature"
            raise FeatureError(f"{feature} {why}.", "training.encodings")


def _key_dtype(kind: str) -> type:
    """The type of a column that is never null."""
    return str if kind == "VARCHAR" else int


def _contract(query: FeatureQuery, types: Mapping[str, str], entity_key: str) -> type[Table]:
    if entity_key not in types:
        raise FeatureError(f"the result has no column {entity_key}.", f"{query.name}.sql")
    free = {entity_key} if entity_key.lower() == KEY_MAY_BE else set()
    if taken := next((column for column in types if column.lower() in RESERVED and column not in free), None):
        raise FeatureError(
            f"column {taken} has a name that is reserved for a column of the platform; rename it, for "
            f"example to {taken}_2.",
            f"{query.name}.sql",
            column=taken,
        )
    if odd := {column: kind for column, kind in types.items() if kind not in DTYPES}:
        column, kind = next(iter(odd.items()))
        raise FeatureError(
            f"column {column} is {kind}; cast it to DOUBLE, an integer type or VARCHAR.",
            f"{query.name}.sql",
            column=column,
        )
    body: dict[str, Any] = {
        "__doc__": query.description,
        "__module__": __name__,
        "__annotations__": {
            column: _key_dtype(kind) if column == entity_key else DTYPES[kind] for column, kind in types.items()
        },
        "Config": type("Config", (), {"unique": [entity_key]}),
    }
    for column in types:
        description = "the applicant" if column == entity_key else query.descriptions[column]
        body[column] = pa.Field(nullable=column != entity_key, description=description)
    return type(query.name.title().replace("_", ""), (Table,), body)

"""The DuckDB type of each column of a contract."""

from __future__ import annotations

import pandera.pandas as pa

from credit_assets.schemas.table import Table

DUCKDB_TYPES = {
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint8": "UTINYINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "str": "VARCHAR",
    "string": "VARCHAR",
    "string[python]": "VARCHAR",
    "string[pyarrow]": "VARCHAR",
    "bool": "BOOLEAN",
    "boolean": "BOOLEAN",
    "datetime64[ns]": "TIMESTAMP",
    "datetime64[us]": "TIMESTAMP",
    "datetime64[ns, utc]": "TIMESTAMP WITH TIME ZONE",
    "datetime64[us, utc]": "TIMESTAMP WITH TIME ZONE",
    "date": "DATE",
}


FLOATS = {"FLOAT", "DOUBLE"}


NUMBERS = FLOATS | {kind for kind in DUCKDB_TYPES.values() if kind.endswith(("INT", "INTEGER"))}


def column_types(model: type[Table]) -> dict[str, str]:
    """Each column's DuckDB type, in the model's order. Raises TypeError for a type without a counterpart."""
    types = {}
    for name, column in model.to_schema().columns.items():
        if column.regex:
            raise TypeError(f"{model.__name__}.{name}: columns named by a pattern have no counterpart in SQL")
        kind = DUCKDB_TYPES.get(str(column.dtype).lower())
        if kind is None:
            raise TypeError(f"{model.__name__}.{name}: the type {column.dtype} has no counterpart in DuckDB")
        types[name] = kind
    return types


def is_text(column: pa.Column) -> bool:
    """Whether the values of a contract's column are text."""
    return DUCKDB_TYPES.get(str(column.dtype).lower()) == "VARCHAR"

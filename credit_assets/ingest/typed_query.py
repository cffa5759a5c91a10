"""The SELECT that reads a delivered file with the types of its table's contract.

`typed_read.py` and `few_bad_rows.py` execute it; `typed_values.py` converts single values.
"""

from __future__ import annotations

from pathlib import Path

from credit_assets.ingest.repeated_headers import header_row
from credit_assets.ingest.sources import CsvSource, ParquetSource, Source, Target, has_value
from credit_assets.ingest.typed_values import TIME_TYPES, typed_or_error, typed_or_marked
from credit_assets.lake.sql import identifier, sql_path, sql_text
from credit_assets.schemas.duckdb_types import FLOATS, NUMBERS

# The kinds of values read from CSV; a BOOLEAN needs no conversion.
_KIND_READ = {"VARCHAR": "text"} | dict.fromkeys(FLOATS, "fraction")

REJECTS, SCANS = "_rejects", "_scans"
"""The temporary tables in which DuckDB stores the lines that `tolerant_query` cannot read, and their files."""


def strict_query(source: Source, target: Target) -> str:
    """A SELECT of the model's columns that fails at the first value of a wrong type."""
    where = ""
    if isinstance(source, ParquetSource):
        kinds = source.columns
        number, rows = f"_nth + {source.before}", source.relation
    else:
        read = _types_read(target)
        kinds, number = _kinds(source, target), "_nth"
        rows = _read_csv(source, source.copy or source.delivered.plain, target)
        if not source.copy:
            where = f" WHERE ({has_value(kinds)})"
            if again := header_row({name: read[name] for name in kinds}):
                where += f" AND ({again}) IS NOT TRUE"
    raw = target.with_row_names({name: identifier(name) for name in kinds}, number)
    values = typed_or_error(raw, dict.fromkeys(raw, "text") | kinds, target.types)
    return f"SELECT {values} FROM {rows}{where}"


def tolerant_query(source: CsvSource, path: Path, target: Target, marker: str) -> str:
    """A SELECT of the model's columns from the lines of `path`, a copy of the file or the file itself. Lines that
    DuckDB cannot read are stored in the table REJECTS. The column `marker` is null in a row with a value of a wrong
    type."""
    kinds = _kinds(source, target)
    values = typed_or_marked({name: identifier(name) for name in kinds}, kinds, target.types, marker)
    return f"SELECT {values} FROM {_read_csv(source, path, target, tolerant=True)}"


def no_rows(target: Target) -> str:
    """A SELECT of the model's columns without rows."""
    nulls = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in target.types.items())
    return f"SELECT {nulls} WHERE false"


def _types_read(target: Target) -> dict[str, str]:
    """The types in which DuckDB reads the columns of a CSV file."""
    # Whole numbers are read as DOUBLE, since DuckDB would round 1.5 to 2.
    read = {name: "DOUBLE" if kind in NUMBERS - FLOATS else kind for name, kind in target.types.items()}
    # Times are read as text, since DuckDB would ignore their zone.
    return read | {name: "VARCHAR" for name, kind in target.types.items() if kind in TIME_TYPES}


def _kinds(source: CsvSource, target: Target) -> dict[str, str]:
    """The kind of value read for each column of the file that belongs to the table."""
    delivered, read = source.delivered, _types_read(target)
    return {name: _KIND_READ.get(read[name], "same") for name in delivered.columns[delivered.has_index :]}


def _read_csv(source: CsvSource, path: Path, target: Target, tolerant: bool = False) -> str:
    """SQL of the file's rows, in the types read."""
    delivered, read = source.delivered, _types_read(target)
    columns = {"_nth": "BIGINT"} if source.copy else {}
    columns |= {"_index": "VARCHAR"} if delivered.has_index else {}
    columns |= {name: read[name] for name in _kinds(source, target)}
    types = ", ".join(f"{sql_text(name)}: '{kind}'" for name, kind in columns.items())
    return (
        f"read_csv({sql_path(path)}, auto_detect = false, header = true, columns = {{{types}}}, "
        f"delim = {sql_text(delivered.separator)}, quote = '\"', escape = '\"', nullstr = '', "
        # Without `new_line` DuckDB detects the line endings; with '\r\n' it finds no rows.
        "strict_mode = true, null_padding = false, "
        + (
            f"store_rejects = true, rejects_limit = 0, rejects_table = '{REJECTS}', rejects_scan = '{SCANS}')"
            if tolerant
            else "ignore_errors = false)"
        )
    )

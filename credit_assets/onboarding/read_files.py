"""Reads a lender's CSV and Parquet files into DuckDB views, before any contract of them exists.

Their columns are profiled in `column_profiles.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.delivered_files import delivered_files, is_archive, unpack
from credit_assets.ingest.file_names import ENDINGS
from credit_assets.ingest.sources import PARQUET_INDEX, has_value
from credit_assets.lake.connections import one_row
from credit_assets.lake.provenance import BATCH
from credit_assets.lake.sql import identifier, sql_path
from credit_assets.onboarding.column_profiles import profile_columns
from credit_assets.onboarding.files import BOOLEAN, EMPTY, FRACTION, TEXT, TIME, WHOLE, BookError, Files, Part
from credit_assets.onboarding.number_columns import INEXACT_FROM
from credit_assets.onboarding.sheets import sheet_of, write_rows
from credit_assets.onboarding.wording import count_as
from credit_assets.plurals import number_of


def read_files(con: duckdb.DuckDBPyConnection, given: Sequence[Path], workspace: Path) -> list[Files]:
    """Profile each set of files with the same columns, in the order given. A folder or zip stands for the files in it.

    Raises BookError for files that the platform could not read as a delivery."""
    groups: dict[frozenset[str], list[Part]] = {}
    stems: dict[str, Path] = {}
    errors: list[str] = []
    for n, path in enumerate(_data_files(given, workspace)):
        if path.name.lower() in stems:
            raise BookError(f"{path} and {stems[path.name.lower()]} have the same name. Give only one of them.")
        stems[path.name.lower()] = path
        try:
            part = (
                _read_parquet(con, path)
                if path.name.lower().endswith(".parquet")
                else _read_csv(con, path, workspace / f"{n}.parquet")
            )
        except BookError as error:
            errors.append(str(error))
            continue
        groups.setdefault(frozenset(part.kinds), []).append(part)
    if errors:
        raise BookError("\n".join(errors))
    return [as_one_table(con, parts) for parts in groups.values()]


def as_one_table(con: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> Files:
    """The files as one table; a column that one of them lacks is null in its rows."""
    view = f"profiled_{one_row(con, 'SELECT count(*) FROM duckdb_views() WHERE NOT internal')[0]}"
    con.execute(f"CREATE VIEW {view} AS {' UNION ALL BY NAME '.join(f'SELECT * FROM {part.source}' for part in parts)}")
    names = ", ".join(part.path.name for part in parts)
    columns = dict.fromkeys(name for part in parts for name in part.kinds)
    try:
        rows, found = profile_columns(con, view, {name: _common_kind(name, parts) for name in columns})
    except duckdb.OutOfMemoryException as error:
        raise BookError(f"{names}: there is not enough memory to compare all values. Give fewer rows.") from error
    except duckdb.Error as error:
        raise BookError(
            f"{names}: the values cannot be read to the end. Is a file damaged, or still being copied?"
        ) from error
    if not rows:
        raise BookError(f"{names} has no rows.")
    return Files(tuple(parts), view, rows, found)


def _data_files(given: Sequence[Path], workspace: Path) -> Iterator[Path]:
    """The data files in the given files, folders and archives, by the rules for deliveries."""
    for n, source in enumerate(given):
        if not source.exists():
            raise BookError(f"{source} does not exist.")
        try:
            folder = workspace / f"unpacked-{n}" if is_archive(source) else source
            if folder is not source:
                folder.mkdir()
                unpack(source, folder)
            yield from (file for file in delivered_files(folder, source) if file.name.lower().endswith(ENDINGS))
        except BadDelivery as error:
            raise BookError(str(error)) from error


def _read_csv(con: duckdb.DuckDBPyConnection, path: Path, text: Path) -> Part:
    """Copy the file's rows, as text, into the Parquet file `text`."""
    try:
        sheet = sheet_of(path, text.with_suffix(".plain"))
        _check_names(path, sheet.columns)
        notes, remarks = write_rows(con, sheet, text)
    except BadDelivery as error:
        raise BookError(str(error)) from error
    return Part(path, f"read_parquet({sql_path(text)})", dict.fromkeys(sheet.columns, ""), remarks, notes)


def _read_parquet(con: duckdb.DuckDBPyConnection, path: Path) -> Part:
    """Read the file so that NaN and infinity are null, and a negative zero is zero."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise BookError(f"{path} is not a complete Parquet file: {error}") from error
    columns = [column for column in schema if column.name != PARQUET_INDEX or not pa.types.is_integer(column.type)]
    _check_names(path, [column.name for column in columns])
    kinds = {column.name: _kind_of_type(column.type) for column in columns}
    if unknown := [f"{column.name} ({column.type})" for column in columns if kinds[column.name] is None]:
        raise BookError(
            f"{path}: {', '.join(unknown)} holds neither numbers, text, booleans nor dates. Write it as one of these, "
            "or leave it out of the file."
        )
    source = f"read_parquet({sql_path(path)}, hive_partitioning = false)"
    known = {name: kind for name, kind in kinds.items() if kind is not None}
    try:
        filled = has_value(known)
        [empty] = one_row(con, f"SELECT count(*) FROM {source} WHERE ({filled}) IS NOT TRUE")
        values, known, remarks = _select_list(con, path, source, columns, known)
    except duckdb.Error as error:
        raise BookError(f"{path} is damaged, or still being copied: its values cannot be read.") from error
    if empty:
        remarks = (*remarks, f"{path.name}: {number_of(empty, 'row')} without any value, skipped.")
    return Part(path, f"(SELECT {values} FROM {source} WHERE {filled})", known, remarks)


def _select_list(
    con: duckdb.DuckDBPyConnection, path: Path, source: str, columns: Sequence[pa.Field], kinds: dict[str, str]
) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """The SELECT list of a Parquet file, the kind of each column, and remarks about infinite values."""
    values, remarks = [], []
    for column in columns:
        name, kind = identifier(column.name), column.type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        value = name
        if pa.types.is_floating(kind):
            value = f"CASE WHEN isfinite({name}) THEN CASE WHEN {name} = 0 THEN 0 ELSE {name} END END"
            [infinite] = one_row(con, f"SELECT count(*) FROM {source} WHERE isinf({name})")
            if infinite:
                rows = number_of(infinite, "row")
                remarks.append(
                    f"{path.name}: {column.name} is infinite in {rows}, which {count_as(infinite)} not known"
                )
        elif pa.types.is_decimal(kind) or pa.types.is_uint64(kind):
            value, kinds[column.name] = _exact_number(con, source, name, kinds[column.name])
        elif kinds[column.name] == TEXT:
            value = f"CAST({name} AS varchar)"
        values.append(f"{value} AS {name}")
    return ", ".join(values), kinds, tuple(remarks)


def _exact_number(con: duckdb.DuckDBPyConnection, source: str, name: str, kind: str) -> tuple[str, str]:
    """SQL and kind of a number that may not fit into 64 bits. Whole numbers that fit stay whole; longer ones are
    identifiers (text) if all are different; the rest are fractions."""
    whole, largest, unique = one_row(
        con,
        f"SELECT bool_and({name} = trunc({name})), max(abs(CAST({name} AS double))), "
        f"count(DISTINCT {name}) = count(*) FROM {source}",
    )
    if whole and largest < 2**63 and (kind == WHOLE or largest >= INEXACT_FROM):
        return f"CAST({name} AS bigint)", WHOLE
    if whole and unique and largest >= INEXACT_FROM:
        return f"regexp_replace(CAST({name} AS varchar), '[.]0*$', '')", TEXT
    return f"CAST({name} AS double)", FRACTION


def _kind_of_type(kind: pa.DataType) -> str | None:
    if pa.types.is_dictionary(kind):
        return _kind_of_type(kind.value_type)
    if pa.types.is_decimal(kind):
        return WHOLE if kind.scale <= 0 else FRACTION
    tests = {
        WHOLE: (pa.types.is_integer,),
        FRACTION: (pa.types.is_floating,),
        TEXT: (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, _is_uuid),
        BOOLEAN: (pa.types.is_boolean,),
        TIME: (pa.types.is_timestamp, pa.types.is_date),
        EMPTY: (pa.types.is_null,),
    }
    return next((found for found, of_kind in tests.items() if any(test(kind) for test in of_kind)), None)


def _is_uuid(kind: pa.DataType) -> bool:
    return bool(getattr(kind, "extension_name", None) == "arrow.uuid")


def _common_kind(name: str, parts: Sequence[Part]) -> str:
    kinds = {part.kinds[name] for part in parts if name in part.kinds} - {EMPTY}
    if len(kinds) > 1 and kinds != {WHOLE, FRACTION}:
        files = ", ".join(part.path.name for part in parts)
        raise BookError(f"Column {name} has different types in {files}. Use one type in all, or write all as CSV.")
    return FRACTION if len(kinds) > 1 else next(iter(kinds), EMPTY)


def _check_names(path: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for nth, name in enumerate(names, start=1):
        if not name.strip() or "\x00" in name:
            raise BookError(f"{path}: column {nth} has no name. Give it one in the file, or leave it out.")
        if '"' in name:
            raise BookError(f"{path}: column {nth} has a quotation mark in its name. Rename it in the file.")
        if name.lower() in seen:
            raise BookError(f"{path}: two columns are called {name} (case is ignored). Rename one.")
        if name.lower() == BATCH:
            raise BookError(f"{path}: {name} is reserved for the name of a delivery. Rename the column.")
        seen.add(name.lower())

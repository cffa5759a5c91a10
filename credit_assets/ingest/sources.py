"""Inspects delivered files: whether each can be read as its table, its columns and rows, and lines that are not rows.

Types and contracts are checked in `typed_read.py` and `row_by_row.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.csv_rows import (
    EMPTY,
    HEADER,
    CsvFile,
    columns_of,
    copy_rows,
    field_patterns,
    has_index,
    inspect_csv,
    rows_of,
)
from credit_assets.ingest.repeated_headers import header_row
from credit_assets.lake.sql import identifier, sql_path, sql_text
from credit_assets.schemas.duckdb_types import NUMBERS, column_types
from credit_assets.schemas.table import Table

# The name of the index column that pandas writes to Parquet.
PARQUET_INDEX = "__index_level_0__"


@dataclass(frozen=True)
class CsvSource:
    """A delivered CSV file. If it has lines that are not rows, or its rows are numbered, `copy` holds the rows alone,
    each with its number, counted from `before` + 1; `counted` then has the number of rows, and of other lines by
    pattern."""

    delivered: CsvFile
    copy: Path | None = None
    before: int = 0
    counted: tuple[int, Counter[str]] | None = None

    @property
    def file(self) -> Path:
        return self.delivered.file

    @property
    def rows(self) -> int:
        """The number of rows. Reads the file, unless they are counted."""
        return self.counted[0] if self.counted else self.delivered.rows

    @property
    def skipped(self) -> Counter[str]:
        """The number of lines that are not rows, by pattern. Reads the file, unless they are counted."""
        return self.counted[1] if self.counted else self.delivered.skipped

    @property
    def most_rows(self) -> int:
        """An upper bound on the number of rows, known without reading the file."""
        return self.counted[0] if self.counted else self.delivered.lines

    @property
    def index(self) -> str | None:
        """The name (perhaps empty) of an index column that numbers the rows and is not part of the table, if any."""
        return self.delivered.columns[0] if self.delivered.has_index else None


@dataclass(frozen=True)
class ParquetSource:
    """A delivered Parquet file. `columns` are the columns with any value and their kinds. Rows are numbered by position
    among the `rows`, from `before` + 1; `skipped` counts what is not a row: rows without values, and repeated
    headers. `index` is a column that numbers the rows and is not part of the table."""

    file: Path
    columns: dict[str, str]
    rows: int
    before: int
    skipped: Counter[str] = field(default_factory=Counter)
    index: str | None = None

    @property
    def most_rows(self) -> int:
        return self.rows

    @property
    def relation(self) -> str:
        """SQL of the rows, each with its position in the file (`file_row_number`, from 0) and its number (`_nth`)."""
        rows = f"read_parquet({sql_path(self.file)}, hive_partitioning = false, file_row_number = true)"
        if not self.skipped:
            return f"(SELECT *, file_row_number + 1 AS _nth FROM {rows})"
        return (
            f"(SELECT *, row_number() OVER (ORDER BY file_row_number) AS _nth FROM {rows} "
            f"WHERE ({has_value(self.columns)}) AND ({self.header}) IS NOT TRUE)"
        )

    @property
    def header(self) -> str:
        """SQL: TRUE for a row that repeats the header. Only a file with text columns alone can have one."""
        texts = dict.fromkeys(self.columns, "VARCHAR") if set(self.columns.values()) == {"text"} else {}
        return header_row(texts) or "false"


Source = CsvSource | ParquetSource


@dataclass(frozen=True)
class Target:
    """The table and batch that the rows are read into.

    With `later_file_supersedes`, rows of one key in several `files` (names) are no fault: the one in the last file is
    kept, the others are superseded. `parents` has the SELECT or view of each table that the model's relations refer to,
    `elsewhere` that of its rows in other batches: rows whose parent is only there are not part of this batch.

    `numbered` is a text key column that files may lack or leave empty: a row is then named `<batch>-<n>`, where n is
    its position among all rows of `files`, in their order, from 1. Bad rows count; the header, notes and empty lines do
    not, so the same rows get the same names from a CSV file, a Parquet file, or one with another footer. A correction
    that inserts or removes a row renames those after it, so data that refers to these names, such as outcomes, must be
    delivered again with the whole file.
    """

    table: str
    model: type[Table]
    parents: Mapping[str, str] = field(default_factory=dict)
    batch: str | None = None
    files: tuple[str, ...] = ()
    later_file_supersedes: bool = False
    numbered: str | None = None
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The table's name in messages."""
        return self.table.rsplit("/", 1)[-1]

    @cached_property
    def types(self) -> Mapping[str, str]:
        """The columns' types in DuckDB."""
        return column_types(self.model)

    @property
    def layers(self) -> tuple[str, ...]:
        """The files, if later ones supersede rows of earlier ones; otherwise empty."""
        return self.files if self.later_file_supersedes and len(self.files) > 1 else ()

    @property
    def columns(self) -> str:
        return ", ".join(identifier(name) for name in self.types)

    def with_row_names(self, values: Mapping[str, str], number: str) -> dict[str, str]:
        """The columns' values (SQL), with the `numbered` column filled if it is absent or empty."""
        if not self.numbered:
            return dict(values)
        prefix = f"{self.batch}-" if self.batch else ""
        name = f"{sql_text(prefix)} || CAST({number} AS VARCHAR)"
        given = values.get(self.numbered)
        return {**values, self.numbered: f"coalesce(nullif(CAST({given} AS VARCHAR), ''), {name})" if given else name}


def refuse_header(file: Path, table: str, model: type[Table], notes: Sequence[str], numbered: str | None) -> None:
    """Raise BadDelivery if the file cannot be read as the table, by its name, its header and the types of a Parquet
    file."""
    target = Target(table, model, {}, numbered=numbered)
    where = message_name(file, target)
    if file.name.lower().endswith(".parquet"):
        _inspect_parquet(file, target, where, 0)
    else:
        _compare_columns(columns_of(file, where, notes), target, where)


def inspect_source(
    con: duckdb.DuckDBPyConnection,
    file: Path,
    target: Target,
    workspace: Path,
    notes: Sequence[str],
    before: Sequence[Source],
) -> Source:
    """The file's columns and rows. The rows of the `before` files precede its own in numbering. Raises BadDelivery if
    it cannot be read as the table."""
    where = message_name(file, target)
    rows_before = sum(source.rows for source in before) if target.numbered else 0
    if file.name.lower().endswith(".parquet"):
        found = _inspect_parquet(file, target, where, rows_before)
        skipped = _skipped(con, found)
        return replace(found, rows=found.rows - skipped.total(), skipped=skipped)
    source = inspect_csv(file, where, workspace, notes, target.types)
    _compare_columns(source.columns, target, where)
    if source.has_index:
        _require_index(con, source, where)
    if not notes and not target.numbered:
        return CsvSource(source)
    copy = workspace.with_suffix(".rows")
    return CsvSource(source, copy, rows_before, copy_rows(source, copy, rows_before + 1))


def message_name(file: Path, target: Target) -> str:
    """The file's name in messages. Raises BadDelivery if the file is empty."""
    where = f"{file.name} (table {target.name})"
    if file.stat().st_size == 0:
        raise BadDelivery(f"{where} is empty: not even a header. Deliver it again.")
    return where


def _require_index(con: duckdb.DuckDBPyConnection, source: CsvFile, where: str) -> None:
    """Raise BadDelivery if the unnamed first column does not number the rows."""
    between, _ = field_patterns(source.separator)
    number = sql_text(rf'^ *"?([0-9]{{1,18}})"? *{between}')
    con.execute("CREATE OR REPLACE TEMP TABLE _index (_row BIGINT, number BIGINT)")
    try:
        for rows in rows_of(source):
            con.register("_rows", rows)
            con.execute(
                f"INSERT INTO _index SELECT _row, TRY_CAST(regexp_extract(_line, {number}, 1) AS BIGINT) FROM _rows"
            )
            con.unregister("_rows")
        [(row,)] = con.execute("SELECT min(_row) FILTER (number IS NULL) FROM _index").fetchall()
        if row is not None:
            raise BadDelivery(f"{where}, row {row}: {_NO_INDEX}")
        if con.execute("SELECT number FROM _index GROUP BY number HAVING count(*) > 1 LIMIT 1").fetchall():
            raise BadDelivery(f"{where}: {_NO_INDEX}")
    finally:
        con.execute("DROP TABLE _index")


_NO_INDEX = (
    "the first column has no name and does not number the rows, so it is not an index to leave out. "
    "Give it its name in the contract, or remove it."
)


def _skipped(con: duckdb.DuckDBPyConnection, source: ParquetSource) -> Counter[str]:
    """The number of rows without any value, and of repeated headers. Reads rows only if there can be any: if the
    statistics show no column that is always filled, or all columns are text."""
    metadata = pq.read_metadata(source.file)
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    filled = all(any(_always_filled(group.column(n), source) for n in range(group.num_columns)) for group in groups)
    if filled and source.header == "false":
        return Counter()
    empty = f"({has_value(source.columns)}) IS NOT TRUE"
    try:
        [(blank, again)] = con.execute(
            f"SELECT count(*) FILTER (WHERE {empty}), count(*) FILTER (WHERE {source.header}) "
            f"FROM read_parquet({sql_path(source.file)}, hive_partitioning = false)"
        ).fetchall()
    except duckdb.Error:
        # The file is damaged; the error is reported when it is read in full.
        return Counter()
    return +Counter({EMPTY: blank, HEADER: again})


def _always_filled(column: pq.ColumnChunkMetaData, source: ParquetSource) -> bool:
    """Whether the row group's statistics show that no value of the column is missing or blank."""
    kind, seen = source.columns.get(column.path_in_schema), column.statistics
    if kind is None or seen is None or not seen.has_null_count or seen.null_count:
        return False
    if kind == "text":
        return bool(seen.has_min_max and str(seen.min).strip())
    # A fraction may be NaN.
    return kind != "fraction"


def has_value(columns: Mapping[str, str]) -> str:
    """SQL: TRUE if a column (name to kind) has a value that is not null, NaN or blank."""
    tests = []
    for name, kind in columns.items():
        column = identifier(name)
        text, number = f"CAST({column} AS VARCHAR)", f"CAST({column} AS DOUBLE)"
        filled = {"text": f"trim({text}, ' ' || chr(9)) <> ''", "fraction": f"NOT isnan({number})"}
        tests.append(filled.get(kind, f"{column} IS NOT NULL"))
    return " OR ".join(tests) or "false"


def skipped_in(rows: int, sources: Sequence[Source]) -> Counter[str]:
    """The number of lines that are not rows, by pattern, if the files have `rows` rows in all. Files without such lines
    are not read again."""
    others = rows < sum(source.most_rows for source in sources)
    skipped: Counter[str] = Counter()
    for source in sources:
        if others or isinstance(source, ParquetSource) or source.counted:
            skipped.update(source.skipped)
    return skipped


def _inspect_parquet(file: Path, target: Target, where: str, before: int) -> ParquetSource:
    try:
        metadata = pq.read_metadata(file)
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        raise BadDelivery(f"{where} is not a complete Parquet file ({error}). Deliver it again.") from error
    _compare_columns(schema.names, target, where)
    index = next((name for name in schema.names if name not in target.types), None)
    if index is not None and _parquet_kind(schema.field(index).type) != "integer":
        raise BadDelivery(f"{where}: {_NO_INDEX}")
    kinds = {column.name: _parquet_kind(column.type) for column in schema if column.name != index}
    for name, kind in kinds.items():
        wanted = target.types[name]
        fits = _NUMBER_KINDS if wanted in NUMBERS else {_KIND.get(wanted, "time")}
        # Some programs write text of digits alone, such as ids of 20 digits, as whole numbers.
        fits = fits | {"integer"} if wanted == "VARCHAR" else fits
        if kind != "nothing" and kind not in fits:
            raise BadDelivery(
                f"{where}, column {name}: the file has {schema.field(name).type}, the contract "
                f"{target.model.__name__} requires {wanted}. Write the column with its own type, or as CSV."
            )
    columns = {name: kind for name, kind in kinds.items() if kind != "nothing"}
    return ParquetSource(file, columns, metadata.num_rows, before, index=index)


_KIND = {"VARCHAR": "text", "BOOLEAN": "boolean"}


_NUMBER_KINDS = {"integer", "decimal", "fraction"}


def _parquet_kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _parquet_kind(kind.value_type)
    if getattr(kind, "extension_name", None) == "arrow.uuid":
        return "text"
    if pa.types.is_decimal(kind):
        return "decimal" if kind.scale > 0 else "integer"
    for name, tests in {
        "nothing": (pa.types.is_null,),
        "integer": (pa.types.is_integer,),
        "fraction": (pa.types.is_floating,),
        "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        "boolean": (pa.types.is_boolean,),
        "time": (pa.types.is_timestamp, pa.types.is_date),
    }.items():
        if any(test(kind) for test in tests):
            return name
    return str(kind)


def _compare_columns(found: Sequence[str], target: Target, where: str) -> None:
    """Raise BadDelivery if the columns, in any order, are not the contract's."""
    schema = target.model.to_schema()
    needed = {name for name, column in schema.columns.items() if column.required} - {target.numbered}
    missing = [name for name in schema.columns if name in needed and name not in found]
    extra = [name for name in found if name not in target.types]
    if has_index(found, target.types) or extra == [PARQUET_INDEX]:
        extra = extra[1:]
    twice = sorted({name for name in found if found.count(name) > 1})
    contract = target.model.__name__
    if twice:
        raise BadDelivery(
            f"{where} names the column {_listed(twice)} more than once. Keep one of each.",
            # In a file without a header, the names are values.
            without_values=f"{where} names {len(twice)} of its columns more than once. Keep one of each.",
        )
    if missing:
        lacks = f"{where} lacks the column {_listed(missing)} of the contract {contract}"
        advice = "Column names are case-sensitive. Deliver the file with the column."
        also = f"; it has {_listed(extra)}, not in the contract" if extra else ""
        many = f"; it has {len(extra)} that are not in the contract" if extra else ""
        if len(found) == 1 < len(missing):
            advice = "Its header is one column: separate the columns by commas, semicolons, tabs or bars."
        raise BadDelivery(f"{lacks}{also}. {advice}", without_values=f"{lacks}{many}. {advice}")
    if extra:
        raise BadDelivery(
            f"{where} has the column {_listed(extra)}, which is not in the contract {contract}. "
            f"Remove it from the file, or add it to {contract} with its type and description."
        )


def refuse_damaged(sources: Sequence[Source], target: Target) -> None:
    """Raise BadDelivery if a Parquet file cannot be read to its end, so that its rows need no second read."""
    for source in sources:
        if isinstance(source, ParquetSource):
            try:
                for _ in pq.ParquetFile(source.file).iter_batches():
                    pass
            except (pa.ArrowException, OSError) as error:
                raise BadDelivery(
                    f"{source.file.name} (table {target.name}) is damaged ({error}). Deliver it again."
                ) from error


def count_rows(con: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(con.execute(f"SELECT count(*) FROM ({query})").fetchall()[0][0])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) if not name.strip() else name for name in names)

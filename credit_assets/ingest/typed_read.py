"""Delivered files to staged tables: read by DuckDB with the contract's types, bad rows set aside.

A clean file is read once, typed, and judged where it was staged. Only when that fails is it read again as
lines, to tell the bad rows from the good ones. Where files lie is `inbox.py`'s, which of their lines are rows
`csv_rows.py`'s, what a good row is `lake/contracts.py`'s.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from credit_assets.ingest.csv_rows import (
    EMPTY,
    ROWS,
    CsvFile,
    columns_of,
    copy_rows,
    field_patterns,
    fields_of,
    has_index,
    look_over,
    rows_of,
)
from credit_assets.ingest.inbox import BadDelivery, UnreadableNow, file_status, sha256_of
from credit_assets.lake.contracts import (
    EXAMPLES,
    FAULTS_TYPE,
    Violation,
    check,
    fault,
    faults,
    identifier,
    keys,
    orphans,
    relation_rules,
    rules,
    shorten,
    table_expression,
)
from credit_assets.lake.tables import Lake, Staged, sql_path, sql_text
from credit_assets.plurals import are, number_of
from credit_assets.rounding import percent_apart
from credit_assets.schemas.duckdb_types import FLOATS, NUMBERS, column_types
from credit_assets.schemas.table import Table

BAD_QUOTES = "quotes do not pair up"
STRAY_RETURN = "a carriage return inside the line"
SHOWN = 10
OTHERS = "rows of other batches"
"""What rows that belong to other batches are counted as, beside `EMPTY` and the patterns of notes."""
# The column of an index that pandas writes to Parquet.
PARQUET_INDEX = "__index_level_0__"
MOMENTS = {"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DATE"}
# A time with its zone: `02:00:00Z`, `02:00:00+05:30`, `02:00:00 Europe/Paris`.
ZONED = r"[0-9]:[0-9.]+ *([+-]|[A-Za-z]).*"
# Above this, a DOUBLE is not every whole number. Larger ones in CSV are read from their digits.
EXACT = 2**53


@dataclass(frozen=True)
class Ingested:
    """What became of the delivered rows of one table:
    `rows_in == rows_kept + rows_quarantined + rows_superseded`.

    `staged` is yet to be committed. `violations` tell why rows were quarantined, `orphans` count rows
    kept although a relation that is not enforced finds them no parent; superseded rows gave way to those of
    a later file. `notes` counts what was passed over as no rows, by pattern, and as `EMPTY` where no field has a value.
    `indexes` are the columns that number the rows and were left out, by file. `refused` are the files that gave way to
    a later one as a whole, with the reason; the rows of those that could be read are superseded. `source_status` is
    each file's status before it was read.
    """

    staged: Staged
    rows_in: int
    rows_kept: int
    rows_quarantined: int
    rows_superseded: int
    violations: tuple[Violation, ...]
    orphans: tuple[Violation, ...]
    notes: Mapping[str, int]
    indexes: Mapping[str, str]
    refused: Mapping[str, str]
    quarantine: Path | None
    source_sha256: Mapping[str, str]
    source_status: Mapping[str, list[int]]


@dataclass(frozen=True)
class _Copied:
    """The rows of a delivered CSV file in a copy, from which DuckDB reads them: each with its number, which is its
    place in the file and `before`, and without notes."""

    source: CsvFile
    copy: Path
    rows: int
    before: int
    passed_over: Counter[str]

    @property
    def file(self) -> Path:
        return self.source.file


@dataclass(frozen=True)
class _Parquet:
    """A delivered Parquet file; `columns` are those that hold anything at all, each with its kind. The number of a
    row is its position among the `rows`, from 1, and `before`; beside them the file has `empty` ones, without any
    value. `index`: the column that numbers its rows and is none of the table's."""

    file: Path
    columns: dict[str, str]
    rows: int
    before: int
    empty: int = 0
    index: str | None = None

    @property
    def passed_over(self) -> Counter[str]:
        return Counter({EMPTY: self.empty} if self.empty else {})

    @property
    def relation(self) -> str:
        """SQL: its rows, each with its place in the file (`file_row_number`, from 0) and among the rows (`_nth`)."""
        rows = f"read_parquet({sql_path(self.file)}, hive_partitioning = false, file_row_number = true)"
        if not self.empty:
            return f"(SELECT *, file_row_number + 1 AS _nth FROM {rows})"
        return (
            f"(SELECT *, row_number() OVER (ORDER BY file_row_number) AS _nth FROM {rows} "
            f"WHERE {has_value(self.columns)})"
        )


_Source = CsvFile | _Copied | _Parquet


@dataclass(frozen=True)
class _Target:
    """What the rows are to become; `name` is the table's, as messages give it. Of rows with one key in several
    of the `layers`, which are names of files, the last one's stand; without layers all files are one. `numbered` is
    the column that names a row by `prefix` and its number where the file does not."""

    name: str
    model: type[Table]
    types: Mapping[str, str]
    parents: Mapping[str, str]
    layers: tuple[str, ...] = ()
    numbered: str | None = None
    prefix: str = ""
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> str:
        return ", ".join(identifier(name) for name in self.types)

    def named(self, values: Mapping[str, str], number: str) -> dict[str, str]:
        """The columns' values (SQL), the `numbered` one filled where it is absent or empty."""
        if not self.numbered:
            return dict(values)
        name = f"{sql_text(self.prefix)} || CAST({number} AS VARCHAR)"
        given = values.get(self.numbered)
        return {**values, self.numbered: f"coalesce(nullif(CAST({given} AS VARCHAR), ''), {name})" if given else name}


def ingest(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    files: Sequence[Path],
    table: str,
    model: type[Table],
    batch: str | None,
    *,
    parents: Mapping[str, str],
    max_bad_share: float,
    quarantine_folder: Path,
    scratch: Path,
    later_file_stands: bool = False,
    notes: Sequence[str] = (),
    numbered: str | None = None,
    elsewhere: Mapping[str, str] | None = None,
) -> Ingested:
    """Stage the rows of the files (CSV, also in gzip or zip; Parquet; their union) as a batch of the table.

    Every row that keeps the model's contract is staged, with the model's columns, types and order; a
    whole number may be written `5` or `5.0`, and is never rounded. Every other row is written, with its
    file, line and faults, to `quarantine_folder/<table>.parquet`, which is removed when there is none.
    Of rows with one key, all but the first are quarantined if they are equal throughout, else all of
    them, as nobody can tell which is right; but with `later_file_stands` good rows of one key in several
    files are no fault: the file's that comes last in `files` is kept, the others are superseded. A file that is
    refused as a whole, and is not the last, is superseded too: what came after it is its correction. No files at
    all are zero rows. `parents` gives the SELECT or view of every table that the model's relations point to,
    `elsewhere` the same for the rows that such a table has in other batches: rows that belong to one of them, and to
    none of this batch, are passed over and counted. `scratch` is a folder for large temporary files.

    Lines of a CSV file that one of the `notes` names (`Total *`) are no rows; they are counted.

    `numbered` is a text column that files may lack or leave empty: a row is then named `<batch>-<n>`, n being its
    place among all rows of `files`, in their order, from 1. Bad rows count; the header, notes and empty lines do
    not, so that the same rows have the same names from a CSV file, a Parquet file, or one with another footer. A
    correction that inserts or removes a row names those after it anew: what is known by these names, outcomes
    above all, comes with the whole file.

    Raises BadDelivery, with nothing staged, where a file cannot be read as this table, where more than
    `max_bad_share` of the rows are bad (the quarantine file is written all the same), or where a table
    that no relation ties to a parent has no rows.
    """
    layers = tuple(file.name for file in files) if later_file_stands and len(files) > 1 else ()
    prefix = f"{batch}-" if batch else ""
    name = table.rsplit("/", 1)[-1]
    target = _Target(name, model, column_types(model), parents, layers, numbered, prefix, elsewhere or {})
    lacking = {relation.parent for relation in model.relations} - set(parents)
    if lacking:
        raise ValueError(f"Table {target.name} relates to {', '.join(sorted(lacking))}: give them as parents")
    if layers and len(keys(model)) != 1:
        raise ValueError(f"Table {target.name} has {len(keys(model))} keys: no later row can stand for an earlier one")
    if numbered and target.types.get(numbered) != "VARCHAR":
        raise ValueError(f"Table {target.name}: {numbered} is no text column of {model.__name__} to be numbered")
    quarantine = quarantine_folder / f"{target.name}.parquet"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"ingest-{target.name}-", dir=scratch) as workspace:
        before = {file.name: _status(file, target) for file in files}
        sha256 = {file.name: sha256_of(file) for file in files}
        sources: list[_Source] = []
        refused: dict[str, str] = {}
        for n, file in enumerate(files):
            try:
                source = _look_over(con, file, target, Path(workspace) / str(n), notes, sources)
                if layers:
                    _refuse_damaged([source], target)
            except UnreadableNow:
                raise
            except BadDelivery as error:
                if not layers or file == files[-1]:
                    raise
                refused[file.name] = error.without_values
            else:
                sources.append(source)
        violations: tuple[Violation, ...] = ()
        quarantined = superseded = 0
        clean = None if layers else _stage_clean(con, lake, table, batch, target, sources)
        if clean:
            staged, rows_in = clean, clean.rows
            passed_over = _passed_over(rows_in, sources)
        else:
            rows = Path(workspace) / "rows.parquet"
            while True:
                rows_in, passed_over = _judge(con, sources, target, rows)
                quarantined = _quarantine(con, rows, target, quarantine)
                # Divided, not multiplied: 29 of 100 are then the 0.29 that a configuration says.
                if not quarantined or quarantined / rows_in <= max_bad_share:
                    break
                too_bad = _files_too_bad(con, rows, quarantine, max_bad_share, layers[:-1])
                if not too_bad:
                    raise _too_many(con, quarantine, target, rows_in, quarantined, max_bad_share, later_file_stands)
                for file_name, (bad, of_file) in too_bad.items():
                    refused[file_name] = f"{bad} of {number_of(of_file, 'row')} {are(bad)} bad"
                    superseded += of_file
                sources = [source for source in sources if source.file.name not in too_bad]
            if passed_over[OTHERS] and not rows_in:
                raise BadDelivery(
                    f"Table {target.name}: every row of {_names(files)} is of another batch than {batch}. "
                    "Deliver the file for the batch that it belongs to."
                )
            rows_in += superseded
            if quarantined:
                violations = _violations(con, quarantine)
            good = _good(rows, target, quarantine if quarantined else None)
            if layers:
                superseded += _count(con, f"SELECT * FROM ({good}) WHERE NOT _stands")
            staged = lake.stage(con, f"SELECT {target.columns} FROM ({good}) WHERE _stands", table, batch)
        try:
            if rows_in != staged.rows + quarantined + superseded:
                raise RuntimeError(
                    f"{table}: {number_of(rows_in, 'row')} in, {staged.rows} kept, {quarantined} bad, "
                    f"{superseded} superseded"
                )
            if not model.relations and not rows_in:
                raise BadDelivery(f"Table {target.name}: no rows in {_names(files)}. Deliver some.")
            if not clean and check(con, staged.query(), model, parents):
                raise RuntimeError(f"{table}: kept rows break the contract that they were judged by")
            if before != {file.name: _status(file, target) for file in files}:
                raise BadDelivery(
                    f"Table {target.name}: {_names(files)} changed while being read. Put deliveries in place "
                    "in one move (`credit-assets deliver` does), then ingest again."
                )
            kept_orphans = tuple(orphans(con, staged.query(), model, parents))
        except BaseException:
            lake.discard(staged)
            raise
    if not quarantined:
        quarantine.unlink(missing_ok=True)
    return Ingested(
        staged=staged,
        rows_in=rows_in,
        rows_kept=staged.rows,
        rows_quarantined=quarantined,
        rows_superseded=superseded,
        violations=violations,
        orphans=kept_orphans,
        notes=dict(passed_over),
        indexes={source.file.name: index for source in sources if (index := _index_of(source)) is not None},
        refused=refused,
        quarantine=quarantine if quarantined else None,
        source_sha256=sha256,
        source_status=before,
    )


def refuse_header(file: Path, table: str, model: type[Table], notes: Sequence[str], numbered: str | None) -> None:
    """BadDelivery where the file's beginning shows that it cannot be read as the table: by its name and header, and
    by the types of a Parquet file."""
    target = _Target(table, model, column_types(model), {}, numbered=numbered)
    where = _where(file, target)
    if file.name.lower().endswith(".parquet"):
        _look_over_parquet(file, target, where, 0)
    else:
        _compare_columns(columns_of(file, where, notes), target, where)


# -- looking a file over: what is wrong with all of it ---------------------------------------------


def _look_over(
    con: duckdb.DuckDBPyConnection,
    file: Path,
    target: _Target,
    workspace: Path,
    notes: Sequence[str],
    before: Sequence[_Source],
) -> _Source:
    """The file's columns and rows, if it can be read as the table; `before` are the files whose rows are numbered
    before its own."""
    where = _where(file, target)
    rows_before = sum(source.rows for source in before) if target.numbered else 0
    if file.name.lower().endswith(".parquet"):
        found = _look_over_parquet(file, target, where, rows_before)
        empty = _empty_rows(con, found)
        return replace(found, rows=found.rows - empty, empty=empty)
    source = look_over(file, where, workspace, notes, target.types)
    _compare_columns(source.columns, target, where)
    if source.has_index:
        _refuse_no_index(con, source, where)
    if not notes and not target.numbered:
        return source
    copy = workspace.with_suffix(".rows")
    rows, passed_over = copy_rows(source, copy, rows_before + 1)
    return _Copied(source, copy, rows, rows_before, passed_over)


def _where(file: Path, target: _Target) -> str:
    """What messages call the file. BadDelivery where it is empty."""
    where = f"{file.name} (table {target.name})"
    if file.stat().st_size == 0:
        raise BadDelivery(f"{where} is empty: not even a header. Deliver it again.")
    return where


def _refuse_no_index(con: duckdb.DuckDBPyConnection, source: CsvFile, where: str) -> None:
    """BadDelivery where the first column, which no contract knows, does not number the rows."""
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
    "the first column has no name, and does not number the rows, so that it is no index to be left out. "
    "Give it the name that the contract knows, or remove it."
)


def _index_of(source: _Source) -> str | None:
    """The name of the file's index, which may be empty, if it has one."""
    if isinstance(source, _Parquet):
        return source.index
    delivered = source.source if isinstance(source, _Copied) else source
    return delivered.columns[0] if delivered.has_index else None


def _empty_rows(con: duckdb.DuckDBPyConnection, source: _Parquet) -> int:
    """How many rows hold no value. Columns are read only where the file does not say that one is always filled."""
    metadata = pq.read_metadata(source.file)
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    if all(any(_always_filled(group.column(n), source) for n in range(group.num_columns)) for group in groups):
        return 0
    rows = f"read_parquet({sql_path(source.file)}, hive_partitioning = false)"
    try:
        return _count(con, f"SELECT 1 FROM {rows} WHERE ({has_value(source.columns)}) IS NOT TRUE")
    except duckdb.Error:
        # Damaged: who reads it whole says where.
        return 0


def _always_filled(column: pq.ColumnChunkMetaData, source: _Parquet) -> bool:
    """Whether the part of the file says that none of the column's values is missing or blank."""
    kind, seen = source.columns.get(column.path_in_schema), column.statistics
    if kind is None or seen is None or not seen.has_null_count or seen.null_count:
        return False
    if kind == "text":
        return bool(seen.has_min_max and str(seen.min).strip())
    # A fraction may be NaN.
    return kind != "fraction"


def has_value(columns: Mapping[str, str]) -> str:
    """SQL: TRUE where one of the columns, each with its kind, has a value: neither null nor NaN, nor blanks alone."""
    tests = []
    for name, kind in columns.items():
        column = identifier(name)
        text, number = f"CAST({column} AS VARCHAR)", f"CAST({column} AS DOUBLE)"
        filled = {"text": f"trim({text}, ' ' || chr(9)) <> ''", "fraction": f"NOT isnan({number})"}
        tests.append(filled.get(kind, f"{column} IS NOT NULL"))
    return " OR ".join(tests) or "false"


def _passed_over(rows: int, sources: Sequence[_Source]) -> Counter[str]:
    """What is no row, by pattern, where the files have `rows` rows in all. Files without such lines are not read for
    it."""
    most = sum(source.lines if isinstance(source, CsvFile) else source.rows for source in sources)
    counted: Counter[str] = Counter()
    for source in sources:
        if rows < most or not isinstance(source, CsvFile):
            counted.update(source.passed_over)
    return counted


def _look_over_parquet(file: Path, target: _Target, where: str, before: int) -> _Parquet:
    try:
        metadata = pq.read_metadata(file)
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        raise BadDelivery(f"{where} is not a whole Parquet file ({error}). Deliver it again.") from error
    _compare_columns(schema.names, target, where)
    index = next((name for name in schema.names if name not in target.types), None)
    if index is not None and _parquet_kind(schema.field(index).type) != "integer":
        raise BadDelivery(f"{where}: {_NO_INDEX}")
    kinds = {column.name: _parquet_kind(column.type) for column in schema if column.name != index}
    for name, kind in kinds.items():
        wanted = target.types[name]
        fits = _NUMBER_KINDS if wanted in NUMBERS else {_KIND.get(wanted, "time")}
        # Names of digits alone, such as ids of 20 digits, are whole numbers to some programs.
        fits = fits | {"integer"} if wanted == "VARCHAR" else fits
        if kind != "nothing" and kind not in fits:
            raise BadDelivery(
                f"{where}, column {name}: the file holds {schema.field(name).type}, the contract "
                f"{target.model.__name__} says {wanted}. Write the column with its own type, or as CSV."
            )
    held = {name: kind for name, kind in kinds.items() if kind != "nothing"}
    return _Parquet(file, held, metadata.num_rows, before, index=index)


_KIND = {"VARCHAR": "text", "BOOLEAN": "boolean"}
_NUMBER_KINDS = {"integer", "decimal", "fraction"}
# Of what is read from CSV; a BOOLEAN is what it is.
_KIND_READ = {"VARCHAR": "text"} | dict.fromkeys(FLOATS, "fraction")


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


def _compare_columns(found: Sequence[str], target: _Target, where: str) -> None:
    """BadDelivery where the columns, in whatever order, are not the contract's."""
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
        mend = "Names are compared as they are written, upper and lower case too. Deliver the file with the column."
        also = f"; it has {_listed(extra)}, unknown to the contract" if extra else ""
        many = f"; it has {len(extra)} that the contract does not know" if extra else ""
        if len(found) == 1 < len(missing):
            mend = "Its header is one column: separate the columns by commas, semicolons, tabs or bars."
        raise BadDelivery(f"{lacks}{also}. {mend}", without_values=f"{lacks}{many}. {mend}")
    if extra:
        raise BadDelivery(
            f"{where} has the column {_listed(extra)}, which the contract {contract} does not know. "
            f"Remove it from the file, or add it to {contract} with its type and description."
        )


# -- the way of a clean file: one typed read --------------------------------------------------------


def _stage_clean(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    table: str,
    batch: str | None,
    target: _Target,
    sources: Sequence[_Source],
) -> Staged | None:
    """The rows staged, if every one of them is good; otherwise None, and nothing is staged."""
    query = " UNION ALL ".join(_strict(source, target) for source in sources) or _no_rows(target)
    try:
        staged = lake.stage(con, query, table, batch)
    except duckdb.Error as error:
        _refuse_damaged(sources, target)
        if isinstance(error, duckdb.ConversionException | duckdb.InvalidInputException):
            return None
        raise
    try:
        if _all_read(staged.rows, sources) and not check(con, staged.query(), target.model, target.parents):
            return staged
    except BaseException:
        lake.discard(staged)
        raise
    lake.discard(staged)
    return None


def _all_read(rows: int, sources: Sequence[_Source]) -> bool:
    """Whether these are all rows: DuckDB takes any line breaks between quotes for part of a value, also where a quote
    was left open. Rows are counted only where there are other lines too."""
    most = sum(source.lines if isinstance(source, CsvFile) else source.rows for source in sources)
    return rows == most or (rows < most and rows == sum(source.rows for source in sources))


def _refuse_damaged(sources: Sequence[_Source], target: _Target) -> None:
    """BadDelivery where a Parquet file cannot be read to its end, so that its rows need no second look."""
    for source in sources:
        if isinstance(source, _Parquet):
            try:
                for _ in pq.ParquetFile(source.file).iter_batches():
                    pass
            except (pa.ArrowException, OSError) as error:
                raise BadDelivery(
                    f"{source.file.name} (table {target.name}) is damaged ({error}). Deliver it again."
                ) from error


def _strict(source: _Source, target: _Target) -> str:
    """A SELECT of the model's columns which fails at the first value of the wrong type."""
    where = ""
    if isinstance(source, _Parquet):
        kinds = source.columns
        number, rows = f"_nth + {source.before}", source.relation
    else:
        delivered = source.source if isinstance(source, _Copied) else source
        # Whole numbers are read as DOUBLE, since DuckDB would round 1.5 to 2.
        read = {name: "DOUBLE" if kind in NUMBERS - FLOATS else kind for name, kind in target.types.items()}
        # Moments are read as text, since DuckDB would pass over their zone.
        read |= {name: "VARCHAR" for name, kind in target.types.items() if kind in MOMENTS}
        index = {"_index": "VARCHAR"} if delivered.has_index else {}
        kinds = {name: _KIND_READ.get(read[name], "same") for name in delivered.columns[len(index) :]}
        columns = index | {name: read[name] for name in kinds}
        path, number = delivered.plain, "_nth"
        if isinstance(source, _Copied):
            path, columns = source.copy, {"_nth": "BIGINT"} | columns
        else:
            where = f" WHERE {has_value(kinds)}"
        types = ", ".join(f"{sql_text(name)}: '{kind}'" for name, kind in columns.items())
        rows = (
            f"read_csv({sql_path(path)}, auto_detect = false, header = true, columns = {{{types}}}, "
            f"delim = {sql_text(delivered.separator)}, quote = '\"', escape = '\"', nullstr = '', "
            # Not told the ends of lines, it finds them; told '\r\n', it finds no rows.
            "strict_mode = true, null_padding = false, ignore_errors = false)"
        )
    raw = target.named({name: identifier(name) for name in kinds}, number)
    values = [
        f"{_strictly(raw[name], kinds.get(name, 'text'), kind) if name in raw else f'CAST(NULL AS {kind})'} "
        f"AS {identifier(name)}"
        for name, kind in target.types.items()
    ]
    return f"SELECT {', '.join(values)} FROM {rows}{where}"


def _strictly(raw: str, kind: str, wanted: str) -> str:
    value = _typed(raw, kind, wanted)
    if wanted in NUMBERS - FLOATS or (kind == "text" and wanted in MOMENTS):
        return f"CASE WHEN {raw} IS NULL OR {value} IS NOT NULL THEN {value} ELSE error('wrong type') END"
    return value


def _typed(raw: str, kind: str, wanted: str) -> str:
    """SQL: the raw value (of kind text, integer, fraction, ...) as the wanted type, null if it is none."""
    if wanted in FLOATS:
        number = f"TRY_CAST({raw} AS {wanted})"
        return f"CASE WHEN isfinite({number}) THEN {number} END"
    if kind == "text" and wanted in MOMENTS:
        return f"CASE WHEN {_is_zoned(raw)} THEN {_in_utc(raw, wanted)} ELSE TRY_CAST({raw} AS {wanted}) END"
    if wanted not in NUMBERS or kind == "integer":
        return f"TRY_CAST({raw} AS {wanted})"
    number = f"TRY_CAST({raw} AS DOUBLE)" if kind == "text" else raw
    whole = f"{number} = trunc({number})"
    if kind != "decimal":
        whole += f" AND abs({number}) < {EXACT}"
    exact = f"CASE WHEN {whole} THEN TRY_CAST({number} AS {wanted})"
    if kind != "text":
        return f"{exact} END"
    digits = f"regexp_full_match({raw}, '\\s*[+-]?[0-9]+([.]0*)?\\s*')"
    return f"{exact} WHEN {digits} THEN TRY_CAST({raw} AS {wanted}) END"


def _is_zoned(raw: str) -> str:
    return f"regexp_matches({raw}, {sql_text(ZONED)})"


def _in_utc(raw: str, wanted: str) -> str:
    """SQL: the moment with a zone, written as text, in UTC; null if it is none. DuckDB wants seconds, and no blank
    before an offset."""
    seconds = f"regexp_replace({raw}, '([ T][0-9]{{1,2}}:[0-9]{{2}})( *[+-]| *[A-Za-z])', '\\1:00\\2')"
    joined = f"regexp_replace({seconds}, ' +([+-][0-9:]+)$', '\\1')"
    return f"CAST(TRY_CAST({joined} AS TIMESTAMP WITH TIME ZONE) AS {wanted})"


def _no_rows(target: _Target) -> str:
    nulls = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in target.types.items())
    return f"SELECT {nulls} WHERE false"


# -- the way of a file with bad rows: line by line --------------------------------------------------


def _judge(
    con: duckdb.DuckDBPyConnection, sources: Sequence[_Source], target: _Target, rows: Path
) -> tuple[int, Counter[str]]:
    """Write all delivered rows to the Parquet file `rows`, each with its faults; how many there are, and how many
    lines were passed over as no rows.

    Beside the model's columns it has `_file`, `_row` (the line in a CSV file, the header being 1; the
    position in a Parquet file, from 1), `_line` (as delivered; as JSON from Parquet) and `_faults`.
    """
    judged = rules(target.model) + relation_rules(target.model, target.parents)
    views, split = [], []
    passed_over: Counter[str] = Counter()
    delivered_rows: Counter[str] = Counter()
    try:
        for n, source in enumerate(sources):
            if isinstance(source, _Parquet):
                split.append(_split_parquet(source, target))
                passed_over.update(source.passed_over)
                delivered_rows[source.file.name] = source.rows
            else:
                delivered, before = (source.source, source.before) if isinstance(source, _Copied) else (source, 0)
                view = f"_delivered_lines_{n}"
                con.register(
                    view, pa.RecordBatchReader.from_batches(ROWS, _counted(delivered, passed_over, delivered_rows))
                )
                views.append(view)
                split.append(_split_lines(delivered, view, target, before))
        copied = con.execute(
            f"COPY (SELECT _file, _row, _line, {target.columns}, "
            f"CASE WHEN len(_faults) > 0 THEN _faults ELSE {faults(judged)} END AS _faults "
            f"FROM ({' UNION ALL '.join(split)}) WHERE {_of_this_batch(target)}) "
            f"TO {sql_text(str(rows))} (FORMAT parquet)"
        ).fetchall()[0][0]
        if others := delivered_rows.total() - copied:
            passed_over[OTHERS] = others
        return copied, passed_over
    finally:
        for view in views:
            con.unregister(view)


def _counted(source: CsvFile, passed_over: Counter[str], rows: Counter[str]) -> Iterator[pa.RecordBatch]:
    """The file's rows, which are counted as they are read."""
    for batch in rows_of(source, passed_over):
        rows[source.file.name] += batch.num_rows
        yield batch


def _of_this_batch(target: _Target) -> str:
    """SQL: FALSE for a row that belongs to a parent's row of another batch, and to none of this one."""
    tests = ["true"]
    for relation in target.model.relations:
        if relation.parent in target.elsewhere:
            column, key = identifier(relation.column), identifier(relation.parent_column)
            here, there = (
                f"{column} IN (SELECT {key} FROM {table_expression(rows)} WHERE {key} IS NOT NULL)"
                for rows in (target.parents[relation.parent], target.elsewhere[relation.parent])
            )
            tests.append(f"(({there}) IS NOT TRUE OR {here})")
    return " AND ".join(tests)


def _split_lines(source: CsvFile, lines: str, target: _Target, before: int) -> str:
    """A SELECT of the lines as typed columns, with the faults of structure and type; `before` rows are numbered
    before them."""
    width = len(source.columns)
    fields = fields_of(source.separator)
    # Empty fields after the last column are what spreadsheets add; DuckDB passes over them too.
    count = "len(_fields) || ' fields'"
    wrong_width = f"len(_fields) < {width} OR array_to_string(_fields[{width + 1}:], '') <> ''"
    fields_by_name = {name: f"nullif(_fields[{n}], '')" for n, name in enumerate(source.columns, start=1)}
    if source.has_index:
        del fields_by_name[source.columns[0]]
    raw = target.named(fields_by_name, f"_nth + {before}")
    kinds = dict.fromkeys(raw, "text")
    # A line break between quotes may be a carriage return too.
    stray = "contains(replace(_line, chr(13) || chr(10), ''), chr(13))"
    return (
        f"SELECT {sql_text(source.file.name)} AS _file, _row, _line, CASE "
        f"WHEN {stray} THEN [{_of_row('left(_line, 200)', STRAY_RETURN)}] "
        f"WHEN _fields IS NULL THEN [{_of_row('left(_line, 200)', BAD_QUOTES)}] "
        f"WHEN {wrong_width} THEN [{_of_row(count, f'must have {width} fields')}] "
        f"ELSE {_wrong_types(raw, kinds, target)} END AS _faults, {_typed_columns(raw, kinds, target)} "
        f"FROM (SELECT *, {fields} AS _fields FROM {lines})"
    )


def _split_parquet(source: _Parquet, target: _Target) -> str:
    held = {name: identifier(name) for name in source.columns}
    whole = ", ".join(f"{sql_text(name)}: {column}" for name, column in held.items())
    raw = target.named(held, f"_nth + {source.before}")
    kinds = dict.fromkeys(raw, "text") | source.columns
    wrong = _wrong_types(raw, kinds, target)
    return (
        f"SELECT {sql_text(source.file.name)} AS _file, file_row_number + 1 AS _row, "
        f"CAST(to_json({{{whole}}}) AS VARCHAR) AS _line, {wrong} AS _faults, "
        f"{_typed_columns(raw, kinds, target)} "
        f"FROM {source.relation}"
    )


def _typed_columns(raw: Mapping[str, str], kinds: Mapping[str, str], target: _Target) -> str:
    return ", ".join(
        (_typed(raw[name], kinds[name], kind) if name in raw else f"CAST(NULL AS {kind})") + f" AS {identifier(name)}"
        for name, kind in target.types.items()
    )


def _wrong_types(raw: Mapping[str, str], kinds: Mapping[str, str], target: _Target) -> str:
    """SQL: the list of faults of values that are not of their column's type."""
    found = []
    for name, value in raw.items():
        wanted = target.types[name]
        # NaN and infinity are read as null: they are no fault of type.
        typed = f"TRY_CAST({value} AS {wanted})" if wanted in FLOATS else _typed(value, kinds[name], wanted)
        told = fault(name, f"CAST({value} AS VARCHAR)", f"must be {_WORDS.get(wanted, wanted)}")
        found.append(f"CASE WHEN {value} IS NOT NULL AND {typed} IS NULL THEN {told} END")
    return f"CAST(list_filter([{', '.join(found)}], lambda f: f IS NOT NULL) AS {FAULTS_TYPE})"


_WORDS = {
    "TINYINT": "a whole number from -128 to 127",
    "SMALLINT": "a whole number from -32768 to 32767",
    "INTEGER": "a whole number (32 bit)",
    "BIGINT": "a whole number",
    "DOUBLE": "a number",
    "FLOAT": "a number",
    "BOOLEAN": "true or false",
    "TIMESTAMP": "a date and time",
    "DATE": "a date",
}


def _of_row(value: str, words: str) -> str:
    return fault("(row)", value, words)


def _quarantine(con: duckdb.DuckDBPyConnection, rows: Path, target: _Target, quarantine: Path) -> int:
    """Write all bad rows (file, row, faults, line) to the quarantine file; how many there are."""
    judged = f"read_parquet({sql_path(rows)}, hive_partitioning = false)"
    repeated = " UNION ALL ".join(_repeated(judged, key, target) for key in keys(target.model))
    bad = f"SELECT _file, _row, _faults, _line FROM {judged} WHERE len(_faults) > 0"
    if repeated:
        bad += f" UNION ALL SELECT _file, _row, list(_fault), any_value(_line) FROM ({repeated}) GROUP BY _file, _row"
    quarantine.parent.mkdir(parents=True, exist_ok=True)
    partial = quarantine.with_name(f".{quarantine.name}.{os.getpid()}")
    try:
        count = con.execute(
            f"COPY (SELECT _file AS file, _row AS row, _faults AS faults, _line AS line FROM ({bad}) "
            f"ORDER BY file, row) TO {sql_text(str(partial))} (FORMAT parquet)"
        ).fetchall()[0][0]
        if count:
            partial.replace(quarantine)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _files_too_bad(
    con: duckdb.DuckDBPyConnection, rows: Path, quarantine: Path, max_bad_share: float, among: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """The files among these of whose rows, by themselves, too many are bad: how many are, and of how many."""
    judged, bad_rows = (f"read_parquet({sql_path(file)}, hive_partitioning = false)" for file in (rows, quarantine))
    found = con.execute(
        f"SELECT file, n, of_file FROM (SELECT file, count(*) AS n FROM {bad_rows} GROUP BY file) "
        f"JOIN (SELECT _file AS file, count(*) AS of_file FROM {judged} GROUP BY _file) USING (file)"
    ).fetchall()
    return {file: (bad, of_file) for file, bad, of_file in found if file in among and bad / of_file > max_bad_share}


def _repeated(judged: str, key: Sequence[str], target: _Target) -> str:
    """A SELECT of the otherwise good rows that may not stay as others (of the same layer) have their key, with
    the fault."""
    among = [*map(identifier, key), *(["_file"] if target.layers else [])]
    names = ", ".join(among)
    same_key = " AND ".join(f"r.{name} IS NOT DISTINCT FROM g.{name}" for name in among)
    shown = f"concat_ws(', ', {', '.join(f'CAST({identifier(name)} AS VARCHAR)' for name in key)})"
    whole = f"row({target.columns})"
    repeats = fault(", ".join(key), shown, "repeats an earlier row")
    differs = fault(", ".join(key), shown, "must be unique; the rows with this key differ")
    return (
        f"SELECT _file, _row, _line, "
        f"CASE WHEN _least = _most THEN {repeats} ELSE {differs} END AS _fault FROM ("
        f"SELECT *, min({whole}) OVER same AS _least, max({whole}) OVER same AS _most, "
        "row_number() OVER (same ORDER BY _file, _row) AS _nth FROM ("
        f"SELECT g.* FROM {judged} AS g JOIN (SELECT {names} FROM {judged} WHERE len(_faults) = 0 "
        f"GROUP BY {names} HAVING count(*) > 1) AS r ON {same_key} WHERE len(g._faults) = 0) "
        f"WINDOW same AS (PARTITION BY {names})) WHERE _nth > 1 OR _least <> _most"
    )


def _good(rows: Path, target: _Target, quarantine: Path | None) -> str:
    """A SELECT of the rows that were not quarantined, and whether each stands (`_stands`) or is superseded."""
    stands = "true"
    if target.layers:
        layer = f"list_position([{', '.join(map(sql_text, target.layers))}], _file)"
        [key] = keys(target.model)
        stands = f"{layer} = max({layer}) OVER (PARTITION BY {', '.join(map(identifier, key))})"
    query = (
        f"SELECT {target.columns}, {stands} AS _stands "
        f"FROM read_parquet({sql_path(rows)}, hive_partitioning = false) AS r"
    )
    if quarantine:
        query += (
            f" WHERE len(r._faults) = 0 AND NOT EXISTS (SELECT 1 FROM read_parquet({sql_path(quarantine)}, "
            "hive_partitioning = false) AS q WHERE q.file = r._file AND q.row = r._row)"
        )
    return query


# -- telling ---------------------------------------------------------------------------------------


def _told(quarantine: Path) -> str:
    """A SELECT of the quarantine file with one row a fault."""
    return (
        'SELECT file, row, fault."column" AS "column", fault.value AS value, fault.rule AS rule '
        f"FROM (SELECT file, row, unnest(faults) AS fault FROM read_parquet({sql_path(quarantine)}, "
        "hive_partitioning = false))"
    )


def _violations(con: duckdb.DuckDBPyConnection, quarantine: Path) -> tuple[Violation, ...]:
    told = con.execute(
        f'SELECT "column", rule, count(*), min(value, {EXAMPLES}) FROM ({_told(quarantine)}) '
        "GROUP BY ALL ORDER BY count(*) DESC, 1, 2"
    ).fetchall()
    return tuple(
        Violation(column, rule, count, tuple(dict.fromkeys(shorten(value) for value in values or ())))
        for column, rule, count, values in told
    )


def _too_many(
    con: duckdb.DuckDBPyConnection,
    quarantine: Path,
    target: _Target,
    rows_in: int,
    quarantined: int,
    max_bad_share: float,
    later_file_stands: bool,
) -> BadDelivery:
    examples = con.execute(f"{_told(quarantine)} ORDER BY file, row LIMIT {SHOWN}").df()
    examples["value"] = [None if value is None else shorten(value) for value in examples["value"]]

    mend = (
        "Correct the file and deliver it the same way: it takes the place of this one"
        if later_file_stands
        else "Correct them and deliver the batch again"
    )

    share, allowed = (f"{100 * part:.3g}%" for part in (quarantined / rows_in, max_bad_share))
    if share == allowed:
        share, allowed = percent_apart(quarantined / rows_in, max_bad_share)

    def words(value_of: Callable[[str | None], str]) -> str:
        first = "; ".join(
            f"{example.file} row {example.row}, column {example.column}: {value_of(example.value)}{example.rule}"
            for example in examples.head(EXAMPLES).itertuples()
        )
        return (
            f"Table {target.name}: {quarantined} of {number_of(rows_in, 'row')} "
            f"({share}) {are(quarantined)} bad, {allowed} are allowed. First: {first}. All are in {quarantine}. "
            f"{mend}, or allow a larger share by delivery.max_bad_share in the configuration."
        )

    shown = words(lambda value: "empty " if pd.isna(value) else f"{value!r} ")
    return BadDelivery(shown, examples, quarantine, without_values=words(lambda _: ""))


def _count(con: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(con.execute(f"SELECT count(*) FROM ({query})").fetchall()[0][0])


def _status(file: Path, target: _Target) -> list[int]:
    try:
        return file_status(file)
    except FileNotFoundError as error:
        raise BadDelivery(f"Table {target.name}: there is no file {file}.") from error


def _names(files: Sequence[Path]) -> str:
    return ", ".join(file.name for file in files) or "the delivery"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) if not name.strip() else name for name in names)

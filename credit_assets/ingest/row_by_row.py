"""Reads deliveries with bad rows: checks every row against the contract and writes the bad ones to quarantine.

`few_bad_rows.py` has it check some lines of CSV files; other files with bad rows are read a second time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.csv_rows import ROWS, CsvFile, fields_of, rows_of
from credit_assets.ingest.sources import ParquetSource, Source, Target
from credit_assets.ingest.typed_values import typed_columns, wrong_types
from credit_assets.lake.contracts import EXAMPLES, Violation, fault, faults, keys, relation_rules, rules, shorten
from credit_assets.lake.sql import identifier, sql_path, sql_text, table_expression
from credit_assets.lake.tables import Staged
from credit_assets.plurals import are, number_of
from credit_assets.rounding import percent_apart

BAD_QUOTES = "quotes do not pair up"
STRAY_RETURN = "a carriage return inside the line"
SHOWN = 10
OTHER_BATCHES = "rows of other batches"
"""The key under which rows of other batches are counted, besides `EMPTY` and the patterns of notes."""


@dataclass(frozen=True)
class Read:
    """The staged rows of the `sources`, and the counts of the other rows. `refused` are files that a later file
    supersedes, because they cannot be read or have too many bad rows, by name, with the reason. `checked_whole`: the
    staged rows were checked against the contract."""

    sources: Sequence[Source]
    staged: Staged
    rows_in: int
    skipped: Counter[str]
    quarantined: int = 0
    superseded: int = 0
    violations: tuple[Violation, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    checked_whole: bool = False


def check_rows(
    con: duckdb.DuckDBPyConnection,
    sources: Sequence[Source],
    target: Target,
    rows: Path,
    read: Callable[[CsvFile, Counter[str]], Iterator[pa.RecordBatch]] = rows_of,
) -> tuple[int, Counter[str]]:
    """Write all delivered rows with their faults to the Parquet file `rows`. Returns the number of rows, and the number
    of lines that are not rows, by pattern. `read` reads the rows of a CSV file.

    Besides the model's columns, the file has `_file`, `_row` (the line in a CSV file, counting the header as line 1;
    the position in a Parquet file, from 1), `_line` (as delivered; JSON for Parquet) and `_faults`.
    """
    checked = rules(target.model) + relation_rules(target.model, target.parents)
    views, split = [], []
    skipped: Counter[str] = Counter()
    delivered_rows: Counter[str] = Counter()
    try:
        for n, source in enumerate(sources):
            if isinstance(source, ParquetSource):
                split.append(_split_parquet(source, target))
                skipped.update(source.skipped)
                delivered_rows[source.file.name] = source.rows
            else:
                delivered = source.delivered
                view = f"_delivered_lines_{n}"
                con.register(
                    view, pa.RecordBatchReader.from_batches(ROWS, _counted(delivered, skipped, delivered_rows, read))
                )
                views.append(view)
                split.append(_split_lines(delivered, view, target, source.before))
        copied = con.execute(
            f"COPY (SELECT _file, _row, _line, {target.columns}, "
            f"CASE WHEN len(_faults) > 0 THEN _faults ELSE {faults(checked)} END AS _faults "
            f"FROM ({' UNION ALL '.join(split)}) WHERE {_of_this_batch(target)}) "
            f"TO {sql_text(str(rows))} (FORMAT parquet)"
        ).fetchall()[0][0]
        if others := delivered_rows.total() - copied:
            skipped[OTHER_BATCHES] = others
        return copied, skipped
    finally:
        for view in views:
            con.unregister(view)


def _counted(
    source: CsvFile,
    skipped: Counter[str],
    rows: Counter[str],
    read: Callable[[CsvFile, Counter[str]], Iterator[pa.RecordBatch]],
) -> Iterator[pa.RecordBatch]:
    """The file's rows, counted while they are read."""
    for batch in read(source, skipped):
        rows[source.file.name] += batch.num_rows
        yield batch


def _of_this_batch(target: Target) -> str:
    """SQL: FALSE for a row whose parent is in another batch and not in this one."""
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


def _split_lines(source: CsvFile, lines: str, target: Target, before: int) -> str:
    """A SELECT of the lines as typed columns, with faults of structure and type; `before` rows precede them in
    numbering."""
    width = len(source.columns)
    fields = fields_of(source.separator)
    # Spreadsheets add empty fields after the last column; DuckDB ignores them too.
    count = "len(_fields) || ' fields'"
    wrong_width = f"len(_fields) < {width} OR array_to_string(_fields[{width + 1}:], '') <> ''"
    fields_by_name = {name: f"nullif(_fields[{n}], '')" for n, name in enumerate(source.columns, start=1)}
    if source.has_index:
        del fields_by_name[source.columns[0]]
    raw = target.with_row_names(fields_by_name, f"_nth + {before}")
    kinds = dict.fromkeys(raw, "text")
    # A line break inside quotes may include a carriage return.
    stray = "contains(replace(_line, chr(13) || chr(10), ''), chr(13))"
    return (
        f"SELECT {sql_text(source.file.name)} AS _file, _row, _line, CASE "
        f"WHEN {stray} THEN [{_row_fault('left(_line, 200)', STRAY_RETURN)}] "
        f"WHEN _fields IS NULL THEN [{_row_fault('left(_line, 200)', BAD_QUOTES)}] "
        f"WHEN {wrong_width} THEN [{_row_fault(count, f'must have {width} fields')}] "
        f"ELSE {wrong_types(raw, kinds, target.types)} END AS _faults, {typed_columns(raw, kinds, target.types)} "
        f"FROM (SELECT *, {fields} AS _fields FROM {lines})"
    )


def _split_parquet(source: ParquetSource, target: Target) -> str:
    columns = {name: identifier(name) for name in source.columns}
    whole = ", ".join(f"{sql_text(name)}: {column}" for name, column in columns.items())
    raw = target.with_row_names(columns, f"_nth + {source.before}")
    kinds = dict.fromkeys(raw, "text") | source.columns
    wrong = wrong_types(raw, kinds, target.types)
    return (
        f"SELECT {sql_text(source.file.name)} AS _file, file_row_number + 1 AS _row, "
        f"CAST(to_json({{{whole}}}) AS VARCHAR) AS _line, {wrong} AS _faults, "
        f"{typed_columns(raw, kinds, target.types)} "
        f"FROM {source.relation}"
    )


def refuse_other_batches(skipped: Counter[str], rows_in: int, target: Target) -> None:
    """Raise BadDelivery if there are only rows of other batches."""
    if skipped[OTHER_BATCHES] and not rows_in:
        raise BadDelivery(
            f"Table {target.name}: every row of {', '.join(target.files)} belongs to a batch other than "
            f"{target.batch}. Deliver the file for the batch that it belongs to."
        )


def _row_fault(value: str, rule: str) -> str:
    return fault("(row)", value, rule)


def quarantine_rows(con: duckdb.DuckDBPyConnection, rows: Path, target: Target, quarantine: Path) -> int:
    """Write all bad rows (file, row, faults, line) to the quarantine file. Returns their number."""
    checked = f"read_parquet({sql_path(rows)}, hive_partitioning = false)"
    repeated = " UNION ALL ".join(_repeated(checked, key, target) for key in keys(target.model))
    bad = f"SELECT _file, _row, _faults, _line FROM {checked} WHERE len(_faults) > 0"
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


def files_too_bad(
    con: duckdb.DuckDBPyConnection, rows: Path, quarantine: Path, max_bad_share: float, among: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """The files of `among` in which, taken alone, too many rows are bad: their numbers of bad rows and of all rows."""
    checked, bad_rows = (f"read_parquet({sql_path(file)}, hive_partitioning = false)" for file in (rows, quarantine))
    found = con.execute(
        f"SELECT file, n, of_file FROM (SELECT file, count(*) AS n FROM {bad_rows} GROUP BY file) "
        f"JOIN (SELECT _file AS file, count(*) AS of_file FROM {checked} GROUP BY _file) USING (file)"
    ).fetchall()
    return {file: (bad, of_file) for file, bad, of_file in found if file in among and bad / of_file > max_bad_share}


def _repeated(checked: str, key: Sequence[str], target: Target) -> str:
    """A SELECT, with the fault, of the otherwise good rows that cannot be kept because other rows (of the same layer)
    have the same key."""
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
        f"SELECT g.* FROM {checked} AS g JOIN (SELECT {names} FROM {checked} WHERE len(_faults) = 0 "
        f"GROUP BY {names} HAVING count(*) > 1) AS r ON {same_key} WHERE len(g._faults) = 0) "
        f"WINDOW same AS (PARTITION BY {names})) WHERE _nth > 1 OR _least <> _most"
    )


def good_rows(rows: Path, target: Target, quarantine: Path | None) -> str:
    """A SELECT of the rows that were not quarantined; `_current` is false for rows superseded by a later file."""
    current = "true"
    if target.layers:
        layer = f"list_position([{', '.join(map(sql_text, target.layers))}], _file)"
        [key] = keys(target.model)
        current = f"{layer} = max({layer}) OVER (PARTITION BY {', '.join(map(identifier, key))})"
    query = (
        f"SELECT {target.columns}, {current} AS _current "
        f"FROM read_parquet({sql_path(rows)}, hive_partitioning = false) AS r"
    )
    if quarantine:
        query += (
            f" WHERE len(r._faults) = 0 AND NOT EXISTS (SELECT 1 FROM read_parquet({sql_path(quarantine)}, "
            "hive_partitioning = false) AS q WHERE q.file = r._file AND q.row = r._row)"
        )
    return query


def _faults_query(quarantine: Path) -> str:
    """A SELECT of the quarantine file with a row for each fault."""
    return (
        'SELECT file, row, fault."column" AS "column", fault.value AS value, fault.rule AS rule '
        f"FROM (SELECT file, row, unnest(faults) AS fault FROM read_parquet({sql_path(quarantine)}, "
        "hive_partitioning = false))"
    )


def violations_in(con: duckdb.DuckDBPyConnection, quarantine: Path) -> tuple[Violation, ...]:
    found = con.execute(
        f'SELECT "column", rule, count(*), min(value, {EXAMPLES}) FROM ({_faults_query(quarantine)}) '
        "GROUP BY ALL ORDER BY count(*) DESC, 1, 2"
    ).fetchall()
    return tuple(
        Violation(column, rule, count, tuple(dict.fromkeys(shorten(value) for value in values or ())))
        for column, rule, count, values in found
    )


def too_many_bad_rows(
    con: duckdb.DuckDBPyConnection,
    quarantine: Path,
    target: Target,
    rows_in: int,
    quarantined: int,
    max_bad_share: float,
) -> BadDelivery:
    """The error for a larger share of bad rows than is allowed."""
    examples = con.execute(f"{_faults_query(quarantine)} ORDER BY file, row LIMIT {SHOWN}").df()
    examples["value"] = [None if value is None else shorten(value) for value in examples["value"]]

    advice = (
        "Correct the file and deliver it the same way: it replaces this one"
        if target.later_file_supersedes
        else "Correct them and deliver the batch again"
    )

    share, allowed = (f"{100 * part:.3g}%" for part in (quarantined / rows_in, max_bad_share))
    if share == allowed:
        share, allowed = percent_apart(quarantined / rows_in, max_bad_share)

    def message(value_of: Callable[[str | None], str]) -> str:
        first = "; ".join(
            f"{example.file} row {example.row}, column {example.column}: {value_of(example.value)}{example.rule}"
            for example in examples.head(EXAMPLES).itertuples()
        )
        return (
            f"Table {target.name}: {quarantined} of {number_of(rows_in, 'row')} "
            f"({share}) {are(quarantined)} bad, {allowed} are allowed. First: {first}. All are in {quarantine}. "
            f"{advice}, or allow a larger share by delivery.max_bad_share in the configuration."
        )

    shown = message(lambda value: "empty " if pd.isna(value) else f"{value!r} ")
    return BadDelivery(shown, examples, quarantine, without_values=message(lambda _: ""))

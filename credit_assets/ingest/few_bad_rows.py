"""Stages CSV files in one typed read; only the lines that it cannot use are read row by row.

DuckDB reads every line with the types of the contract and stores those that it cannot read in a table of rejects. The
rows are staged in the order of the file, so the position of a bad row leads to its line. `regular_lines.py` keeps from
DuckDB the lines that would make it read other rows than those of the file. `row_by_row.py` reads the lines found, and
all lines of the files that this does not apply to: Parquet, numbered rows, and several files of outcomes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from credit_assets.ingest.csv_rows import CsvFile, lines_of, rows_among, text_of
from credit_assets.ingest.regular_lines import RegularLines, are_empty, write_sample
from credit_assets.ingest.repeated_headers import header_row
from credit_assets.ingest.row_by_row import (
    Read,
    check_rows,
    good_rows,
    quarantine_rows,
    refuse_other_batches,
    too_many_bad_rows,
    violations_in,
)
from credit_assets.ingest.sources import CsvSource, Source, Target, count_rows
from credit_assets.ingest.typed_query import REJECTS, SCANS, tolerant_query
from credit_assets.lake.contracts import keys, relation_rules, rules, unique_by_bitmap
from credit_assets.lake.sql import identifier, sql_files
from credit_assets.lake.tables import Lake, Staged

TYPED = "_typed"
"""The temporary table of the typed rows, if some are expected to be bad."""
SAMPLED = 64 * 2**20
"""The size in bytes from which on a sample of a file is read first."""
HASHES = 8_000_000
"""The largest number of hashes of keys that are sorted at once."""


def marker_of(sources: Sequence[Source], target: Target) -> str | None:
    """A column that no row may leave empty: it marks rows with a value of a wrong type. None if `TypedRead` does not
    apply to the files."""
    delivered = [source.delivered for source in sources if isinstance(source, CsvSource) and not source.copy]
    if target.layers or not sources or len(delivered) < len(sources):
        return None
    if any(len(file.columns) - file.has_index < 2 for file in delivered):
        # DuckDB reads an empty line of a single column as a row.
        return None
    columns = target.model.to_schema().columns
    filled = (name for name, column in columns.items() if column.required and not column.nullable)
    return next((name for name in filled if all(name in file.columns for file in delivered)), None)


@dataclass(frozen=True)
class _Typed:
    """The rows that DuckDB can read: their number, and the relation of them with their position (`file_row_number`,
    from 0). If they are `staged`, they can be committed as they are; otherwise they are in a temporary table."""

    rows: int
    relation: str
    staged: Staged | None = None


@dataclass
class TypedRead:
    """The typed read of the `sources`, plain CSV files of the target. `marker` is the column from `marker_of`."""

    con: duckdb.DuckDBPyConnection
    lake: Lake
    target: Target
    sources: Sequence[CsvSource]
    marker: str

    def stage(self, workspace: Path, quarantine: Path, max_bad_share: float) -> Read | None:
        """Stage the good rows and write the bad ones to `quarantine`. None, with nothing staged, if the lines found do
        not account for all rows, so that each has to be read by itself. Raises BadDelivery if too many are bad."""
        files = [RegularLines(each.delivered, workspace / f"{n}.regular") for n, each in enumerate(self.sources)]
        done: Read | None = None
        try:
            expects_bad = any(file.is_copied for file in files) or self._sample_is_bad(files, workspace / "sample.csv")
            typed, rejected = self._read_typed(files, as_table=expects_bad)
            try:
                bad = self._bad_positions(typed)
                if typed.staged and not len(bad) and typed.rows == sum(source.most_rows for source in self.sources):
                    done = Read(self.sources, typed.staged, typed.rows, Counter(), checked_whole=True)
                else:
                    unused = _UnusedLines(files, rejected, bad)
                    done = self._replace_bad_rows(typed, unused, workspace / "rows.parquet", quarantine, max_bad_share)
            finally:
                if typed.staged and (done is None or done.staged is not typed.staged):
                    self.lake.discard(typed.staged)
        except (duckdb.ConversionException, duckdb.InvalidInputException):
            return None
        finally:
            self.con.execute(f"DROP TABLE IF EXISTS {TYPED}")
        return done

    def _sample_is_bad(self, files: Sequence[RegularLines], sample: Path) -> bool:
        """Whether a sample of the large files has bad rows. Rows are then not staged before the bad ones are known, as
        they would have to be staged twice."""
        good = " AND ".join(rule.good for rule in rules(self.target.model))
        for source, file in zip(self.sources, files, strict=True):
            if file.regular.plain.stat().st_size < SAMPLED:
                continue
            write_sample(file.regular.plain, sample)
            try:
                read = tolerant_query(source, sample, self.target, self.marker)
                bad = count_rows(self.con, f"SELECT 1 FROM ({read}) WHERE NOT ({good})")
                if bad or count_rows(self.con, f"FROM {REJECTS}"):
                    return True
            finally:
                self._drop_rejects()
        return False

    def _read_typed(self, files: Sequence[RegularLines], as_table: bool) -> tuple[_Typed, list[np.ndarray]]:
        """All rows that DuckDB can read, in the order of the files, and the lines of each that it cannot read."""
        query = " UNION ALL ".join(
            tolerant_query(source, file.regular.plain, self.target, self.marker)
            for source, file in zip(self.sources, files, strict=True)
        )
        with _in_order(self.con):
            try:
                if as_table:
                    self.con.execute(f"CREATE TEMP TABLE {TYPED} AS {query}")
                    rows = count_rows(self.con, f"FROM {TYPED}")
                    typed = _Typed(rows, f"(SELECT *, rowid AS file_row_number FROM {TYPED})")
                else:
                    staged = self.lake.stage(self.con, query, self.target.table, self.target.batch)
                    read = f"read_parquet({sql_files([*staged.files.values()])}, hive_partitioning = false"
                    typed = _Typed(staged.rows, f"{read}, file_row_number = true)", staged)
                found = self.con.execute(
                    f"SELECT file_path, line FROM {REJECTS} JOIN {SCANS} USING (scan_id, file_id)"
                ).fetchnumpy()
            finally:
                self._drop_rejects()
        lines = np.asarray(found["line"], np.int64)
        return typed, [np.unique(lines[found["file_path"] == str(file.regular.plain)]) for file in files]

    def _drop_rejects(self) -> None:
        self.con.execute(f"DROP TABLE IF EXISTS {REJECTS}; DROP TABLE IF EXISTS {SCANS}")

    def _bad_positions(self, typed: _Typed) -> np.ndarray:
        """The positions of the staged rows that may break the contract, sorted."""
        model, rows = self.target.model, typed.relation
        good = [rule.good for rule in rules(model) + relation_rules(model, self.target.parents)]
        headers = {header_row({n: self.target.types[n] for n in _columns(source)}) for source in self.sources}
        good += [f"({header}) IS NOT TRUE" for header in headers if header]
        found = [_positions(self.con, f"{rows} WHERE NOT ({' AND '.join(good)})")]
        columns = model.to_schema().columns
        for key in keys(model):
            # Rows without a value that the contract requires are found above.
            filled = [f"{identifier(name)} IS NOT NULL" for name in key if not columns[name].nullable]
            keyed = f"(SELECT * FROM {rows} WHERE {' AND '.join(filled) or 'true'})"
            if not unique_by_bitmap(self.con, keyed, key, self.target.types):
                found.append(_repeated(self.con, keyed, key, typed.rows))
        return np.unique(np.concatenate(found))

    def _replace_bad_rows(
        self, typed: _Typed, unused: _UnusedLines, rows: Path, quarantine: Path, max_bad_share: float
    ) -> Read | None:
        """Read the unused lines row by row, and stage the rows that are good: those among them, and the typed ones."""
        con, target = self.con, self.target
        read, skipped = check_rows(con, self.sources, target, rows, unused.rows)
        if unused.position != typed.rows:
            return None
        rows_in = typed.rows - len(unused.bad) + read
        refuse_other_batches(skipped, rows_in, target)
        quarantined = quarantine_rows(con, rows, target, quarantine)
        if quarantined and quarantined / rows_in > max_bad_share:
            raise too_many_bad_rows(con, quarantine, target, rows_in, quarantined, max_bad_share)
        good = f"SELECT {target.columns} FROM ({good_rows(rows, target, quarantine if quarantined else None)})"
        with _registered(con, "_bad", pa.table({"position": unused.bad})):
            kept = f"SELECT {target.columns} FROM {typed.relation} ANTI JOIN _bad ON file_row_number = position"
            if self._share_a_key(good, kept):
                return None
            staged = self.lake.stage(con, f"{kept} UNION ALL {good}", target.table, target.batch)
        violations = violations_in(con, quarantine) if quarantined else ()
        return Read(self.sources, staged, rows_in, skipped, quarantined, 0, violations, checked_whole=True)

    def _share_a_key(self, some: str, others: str) -> bool:
        """Whether a row of `some`, a SELECT of few rows, has the key of one of the `others`."""
        for key in keys(self.target.model):
            same = " AND ".join(f"s.{name} IS NOT DISTINCT FROM o.{name}" for name in map(identifier, key))
            if count_rows(self.con, f"SELECT 1 FROM ({others}) AS o SEMI JOIN ({some}) AS s ON {same}"):
                return True
        return False


class _UnusedLines:
    """The lines to be read row by row: those that DuckDB did not read or rejected (by file), and those of the rows at
    the `bad` positions. `position` is the number of rows that it has read, as far as the lines have been passed."""

    def __init__(self, files: Sequence[RegularLines], rejected: Sequence[np.ndarray], bad: np.ndarray) -> None:
        self.bad = bad
        self.position = 0
        self._files: Mapping[Path, tuple[RegularLines, np.ndarray]] = {
            file.delivered.file: (file, of_file) for file, of_file in zip(files, rejected, strict=True)
        }

    def rows(self, source: CsvFile, skipped: Counter[str]) -> Iterator[pa.RecordBatch]:
        """The rows among the unused lines of the file."""
        file, rejected = self._files[source.file]
        yield from file.irregular_rows(skipped)
        if file.rows is not None and not len(rejected) and not len(self.bad):
            self.position += file.rows
            return
        for begins, data, ends in lines_of(file.regular):
            lines = begins[:-1]
            empty = are_empty(data, ends)
            used = (lines > 1) & ~empty & ~_among(lines, rejected)
            positions = self.position + np.cumsum(used) - 1
            self.position += int(used.sum())
            chosen = (lines > 1) & ~empty & ~used | used & _among(positions, self.bad)
            if chosen.any():
                yield rows_among(source, file.delivered_lines(lines[chosen]), text_of(data, ends, chosen), skipped)


def _among(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Which of the values, in ascending order, are `of` the sorted array: of equal values, the first."""
    near = of[np.searchsorted(of, values[0]) : np.searchsorted(of, values[-1], "right")]
    places = np.searchsorted(values, near)
    found = np.zeros(len(values), bool)
    found[places[values[places] == near]] = True
    return found


def _repeated(con: duckdb.DuckDBPyConnection, rows: str, key: Sequence[str], count: int) -> np.ndarray:
    """The positions of the rows whose key, or its hash, is that of another row. To sort hashes takes a quarter of the
    time of GROUP BY."""
    hashed, parts, found = f"hash({', '.join(map(identifier, key))})", 1 + count // HASHES, []
    for part in range(parts):
        query = f"SELECT {hashed} AS hashed FROM {rows} WHERE {hashed} % {parts} = {part}"
        hashes = np.sort(np.asarray(con.execute(query).fetchnumpy()["hashed"]))
        found.append(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]))
    with _registered(con, "_hashes", pa.table({"hashed": np.concatenate(found)})):
        return _positions(con, f"(SELECT *, {hashed} AS _hashed FROM {rows}) SEMI JOIN _hashes ON _hashed = hashed")


def _positions(con: duckdb.DuckDBPyConnection, rows: str) -> np.ndarray:
    found = con.execute(f"SELECT file_row_number FROM {rows}").fetchnumpy()["file_row_number"]
    return np.asarray(found, np.int64)


def _columns(source: CsvSource) -> list[str]:
    """The file's columns that belong to the table."""
    return source.delivered.columns[source.delivered.has_index :]


@contextmanager
def _registered(con: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> Iterator[None]:
    con.register(name, table)
    try:
        yield
    finally:
        con.unregister(name)


@contextmanager
def _in_order(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let DuckDB return rows in the order of their files."""
    [(before,)] = con.execute("SELECT current_setting('preserve_insertion_order')").fetchall()
    con.execute("SET preserve_insertion_order = true")
    try:
        yield
    finally:
        con.execute(f"SET preserve_insertion_order = {before}")

"""Stages CSV files in one typed read; only the lines that it cannot use are read row by row.

DuckDB reads every line with the types of the contract and stores those that it cannot read in a table of rejects. The
rows are staged in the order of the file, so the position of a bad row leads to its line. `row_by_row.py` reads these
lines, and all lines of the files that this does not apply to: Parquet, numbered rows, and several files of outcomes.
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
import pyarrow.compute as pc

from credit_assets.ingest.csv_rows import CsvFile, as_bytes, rows_of, texts_of
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
        lines = [_UnusedLines(each.delivered, workspace / f"{n}.regular") for n, each in enumerate(self.sources)]
        try:
            typed = self._stage_typed(lines)
        except (duckdb.ConversionException, duckdb.InvalidInputException):
            return None
        done: Read | None = None
        try:
            bad = self._bad_positions(typed)
            if not len(bad) and typed.rows == sum(source.most_rows for source in self.sources):
                done = Read(self.sources, typed, typed.rows, Counter(), checked_whole=True)
            else:
                done = self._replace_bad_rows(typed, bad, lines, workspace / "rows.parquet", quarantine, max_bad_share)
        finally:
            if done is None or done.staged is not typed:
                self.lake.discard(typed)
        return done

    def _stage_typed(self, lines: Sequence[_UnusedLines]) -> Staged:
        """All rows that DuckDB can read, in the order of the files. The `lines` learn which it rejected."""
        queries = [
            tolerant_query(source, of_file.read_from, self.target, self.marker)
            for source, of_file in zip(self.sources, lines, strict=True)
        ]
        with _in_order(self.con):
            try:
                typed = self.lake.stage(self.con, " UNION ALL ".join(queries), self.target.table, self.target.batch)
                found = self.con.execute(
                    f"SELECT file_path, line FROM {REJECTS} JOIN {SCANS} USING (scan_id, file_id)"
                ).fetchnumpy()
            finally:
                self.con.execute(f"DROP TABLE IF EXISTS {REJECTS}; DROP TABLE IF EXISTS {SCANS}")
        for of_file in lines:
            of_file.rejected = np.unique(found["line"][found["file_path"] == str(of_file.read_from)].astype(np.int64))
        return typed

    def _bad_positions(self, typed: Staged) -> np.ndarray:
        """The positions of the staged rows that may break the contract, sorted."""
        model, rows = self.target.model, _positioned(typed)
        good = [rule.good for rule in rules(model) + relation_rules(model, self.target.parents)]
        headers = {header_row({n: self.target.types[n] for n in _columns(source)}) for source in self.sources}
        good += [f"({header}) IS NOT TRUE" for header in headers if header]
        queries = [f"SELECT file_row_number FROM {rows} WHERE NOT ({' AND '.join(good)})"]
        columns = model.to_schema().columns
        for key in keys(model):
            names = ", ".join(map(identifier, key))
            # Rows without a value that the contract requires are found above.
            filled = [f"{identifier(name)} IS NOT NULL" for name in key if not columns[name].nullable]
            keyed = f"FROM {rows} WHERE {' AND '.join(filled) or 'true'}"
            if not unique_by_bitmap(self.con, f"(SELECT {names} {keyed})", key, self.target.types):
                same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM g.{name}" for name in map(identifier, key))
                repeated = f"SELECT {names} {keyed} GROUP BY {names} HAVING count(*) > 1"
                queries.append(f"SELECT file_row_number FROM {rows} AS r JOIN ({repeated}) AS g ON {same}")
        found = [self.con.execute(query).fetchnumpy()["file_row_number"] for query in queries]
        return np.unique(np.concatenate(found).astype(np.int64))

    def _replace_bad_rows(
        self,
        typed: Staged,
        bad: np.ndarray,
        lines: Sequence[_UnusedLines],
        rows: Path,
        quarantine: Path,
        max_bad_share: float,
    ) -> Read | None:
        """Read the unused lines row by row, and stage the rows that are good: those among them, and the typed ones."""
        con, target = self.con, self.target
        unused = _Unused(lines, bad)
        read, skipped = check_rows(con, self.sources, target, rows, unused.rows)
        if unused.position != typed.rows:
            return None
        rows_in = typed.rows - len(bad) + read
        refuse_other_batches(skipped, rows_in, target)
        quarantined = quarantine_rows(con, rows, target, quarantine)
        if quarantined and quarantined / rows_in > max_bad_share:
            raise too_many_bad_rows(con, quarantine, target, rows_in, quarantined, max_bad_share)
        good = f"SELECT {target.columns} FROM ({good_rows(rows, target, quarantine if quarantined else None)})"
        con.register("_bad", pa.table({"position": bad}))
        try:
            kept = f"SELECT {target.columns} FROM {_positioned(typed)} ANTI JOIN _bad ON file_row_number = position"
            if self._share_a_key(good, kept):
                return None
            staged = self.lake.stage(con, f"{kept} UNION ALL {good}", target.table, target.batch)
        finally:
            con.unregister("_bad")
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
    """The lines of a file that the typed read does not use.

    DuckDB reads the file itself, or a copy of it in `regular`, if a quote without its pair, a carriage return or the
    header's position would make it read other rows than those of the file: the copy has only the lines that are a row
    by themselves. `rejected` are the lines, of the file that it reads, that DuckDB rejects; sorted.
    """

    def __init__(self, delivered: CsvFile, regular: Path) -> None:
        self.delivered = delivered
        self.rejected = np.empty(0, np.int64)
        self.copied = delivered.irregular or (delivered.header_begin, delivered.header_end) != (1, 1)
        self.read_from = regular if self.copied else delivered.plain
        self.line = 1
        """The last line of the copy that is accounted for."""
        if self.copied:
            with regular.open("wb") as writing:
                writing.write(f"{delivered.header_text}\n".encode())
                for begins, text in texts_of(delivered):
                    writing.write(as_bytes(text.filter(self._regular(begins, text))))

    def numbers(self, begins: np.ndarray, text: pa.StringArray) -> np.ndarray:
        """For each line of a block, its number in the file that DuckDB reads; 0 if it is not in it."""
        if not self.copied:
            return np.where(begins > 1, begins, 0)
        read = self._regular(begins, text)
        numbers = np.where(read, self.line + np.cumsum(read), 0)
        self.line += int(read.sum())
        return numbers

    def _regular(self, begins: np.ndarray, text: pa.StringArray) -> np.ndarray:
        odd = pc.bit_wise_and(pc.count_substring(text, '"'), 1).to_numpy(zero_copy_only=False) == 1
        regular = (begins > self.delivered.header_end) & ~odd
        for ending in "\r\n":
            regular &= ~pc.match_substring(text, ending).to_numpy(zero_copy_only=False)
        return regular


class _Unused:
    """Selects the lines to be read row by row: those that DuckDB did not read, and those of the `bad` positions.
    `position` is the number of rows read so far, over all files."""

    def __init__(self, lines: Sequence[_UnusedLines], bad: np.ndarray) -> None:
        self.of_file: Mapping[Path, _UnusedLines] = {each.delivered.file: each for each in lines}
        self.bad = bad
        self.position = 0

    def rows(self, source: CsvFile, skipped: Counter[str]) -> Iterator[pa.RecordBatch]:
        of_file = self.of_file[source.file]

        def unused(begins: np.ndarray, text: pa.StringArray) -> np.ndarray:
            numbers = of_file.numbers(begins, text)
            empty = pc.equal(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
            used = (numbers > 0) & ~empty & ~_among(numbers, of_file.rejected)
            positions = self.position + np.cumsum(used) - 1
            self.position += int(used.sum())
            header = (begins >= source.header_begin) & (begins <= source.header_end)
            return ~used & ~empty & ~header | used & _among(positions, self.bad)

        return rows_of(source, skipped, unused)


def _among(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Which values are `of` the sorted array."""
    if not len(values):
        return np.zeros(0, bool)
    near = of[np.searchsorted(of, values.min()) : np.searchsorted(of, values.max(), "right")]
    return np.isin(values, near)


def _columns(source: CsvSource) -> list[str]:
    """The file's columns that belong to the table."""
    return source.delivered.columns[source.delivered.has_index :]


def _positioned(staged: Staged) -> str:
    """The staged rows with their position (`file_row_number`, from 0)."""
    return f"read_parquet({sql_files([*staged.files.values()])}, hive_partitioning = false, file_row_number = true)"


@contextmanager
def _in_order(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let DuckDB return rows in the order of their files."""
    [(before,)] = con.execute("SELECT current_setting('preserve_insertion_order')").fetchall()
    con.execute("SET preserve_insertion_order = true")
    try:
        yield
    finally:
        con.execute(f"SET preserve_insertion_order = {before}")

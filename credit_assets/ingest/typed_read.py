"""Reads delivered files into staged tables: DuckDB reads them with the contract's types; bad rows are quarantined.

CSV files are read once, and their few bad rows by themselves (`few_bad_rows.py`). Other files are read once, staged and
checked; if that fails, they are read again row by row (`row_by_row.py`) to separate the bad rows from the good ones.
`inbox.py` finds the files, `sources.py` inspects them, and
`lake/contracts.py` defines a good row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from credit_assets.ingest.bad_delivery import BadDelivery, UnreadableNow
from credit_assets.ingest.few_bad_rows import TypedRead, marker_of
from credit_assets.ingest.row_by_row import (
    Read,
    check_rows,
    files_too_bad,
    good_rows,
    quarantine_rows,
    refuse_other_batches,
    too_many_bad_rows,
    violations_in,
)
from credit_assets.ingest.snapshots import file_status, sha256_of
from credit_assets.ingest.sources import (
    CsvSource,
    Source,
    Target,
    count_rows,
    inspect_source,
    refuse_damaged,
    skipped_in,
)
from credit_assets.ingest.typed_query import no_rows, strict_query
from credit_assets.lake.contracts import Violation, check, keys, orphans
from credit_assets.lake.tables import Lake, Staged
from credit_assets.plurals import are, number_of


@dataclass(frozen=True)
class Ingested:
    """The result of ingesting the delivered rows of one table:
    `rows_in == rows_kept + rows_quarantined + rows_superseded`.

    `staged` is not committed yet. `violations` are the reasons for quarantined rows; `orphans` count rows kept although
    a relation that is not enforced finds no parent. Superseded rows are those replaced by a later file. `notes` counts
    lines that are not rows, by pattern, and as `EMPTY` if no field has a value. `indexes` are the columns that number
    the rows and were left out, by file. `refused` are the files superseded as a whole by a later one, with the reason;
    their readable rows count as superseded. `source_status` is each file's status before it was read.
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


def ingest(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    files: Sequence[Path],
    target: Target,
    *,
    max_bad_share: float,
    quarantine_folder: Path,
    scratch: Path,
    notes: Sequence[str] = (),
) -> Ingested:
    """Stage the rows of the files (CSV, plain, gzip or zip; Parquet; their union) as the target, whose `files` are set
    to them.

    Rows that satisfy the model's contract are staged with the model's columns, types and order; a whole number may be
    written `5` or `5.0`, and is never rounded. All other rows are written, with file, line and faults, to
    `quarantine_folder/<table>.parquet`, which is removed if there are none. Of rows with the same key, all but the
    first are quarantined if they are identical, and all of them otherwise, since the right one is unknown. With
    `target.later_file_supersedes`, a file that is refused as a whole is superseded unless it is the last. No files at
    all mean zero rows. Lines of a CSV file that match one of the `notes` (`Total *`) are counted, not read as rows.
    `scratch` is a folder for large temporary files.

    Raises BadDelivery, with nothing staged, if a file cannot be read as this table, if more than `max_bad_share` of the
    rows are bad (the quarantine file is written nevertheless), or if a table without a parent has no rows.
    """
    target = replace(target, files=tuple(file.name for file in files))
    _refuse_contradictions(target)
    quarantine = quarantine_folder / f"{target.name}.parquet"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"ingest-{target.name}-", dir=scratch) as workspace:
        before = {file.name: _status(file, target) for file in files}
        sha256 = {file.name: sha256_of(file) for file in files}
        done = _staged(con, lake, files, target, Path(workspace), notes, quarantine, max_bad_share)
        try:
            _verify(con, done, target)
            _refuse_changed(files, before, target)
            kept_orphans = tuple(orphans(con, done.staged.query(), target.model, target.parents))
        except BaseException:
            lake.discard(done.staged)
            raise
    if not done.quarantined:
        quarantine.unlink(missing_ok=True)
    return _ingested(done, kept_orphans, quarantine, sha256, before)


def _ingested(
    done: Read,
    kept_orphans: tuple[Violation, ...],
    quarantine: Path,
    sha256: Mapping[str, str],
    status: Mapping[str, list[int]],
) -> Ingested:
    """The result of the read rows, with the hashes and status of their files."""
    return Ingested(
        staged=done.staged,
        rows_in=done.rows_in,
        rows_kept=done.staged.rows,
        rows_quarantined=done.quarantined,
        rows_superseded=done.superseded,
        violations=done.violations,
        orphans=kept_orphans,
        notes=dict(done.skipped),
        indexes={source.file.name: source.index for source in done.sources if source.index is not None},
        refused=done.refused,
        quarantine=quarantine if done.quarantined else None,
        source_sha256=sha256,
        source_status=status,
    )


def _staged(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    files: Sequence[Path],
    target: Target,
    workspace: Path,
    notes: Sequence[str],
    quarantine: Path,
    max_bad_share: float,
) -> Read:
    """Stage the files' rows: all at once if every row is good, otherwise row by row."""
    sources, refused = _inspect_all(con, files, target, workspace, notes)
    if marker := marker_of(sources, target):
        plain = [source for source in sources if isinstance(source, CsvSource)]
        if found := TypedRead(con, lake, target, plain, marker).stage(workspace, quarantine, max_bad_share):
            return found
    elif not target.layers and (clean := _stage_clean(con, lake, target, sources)):
        return Read(sources, clean, clean.rows, skipped_in(clean.rows, sources), checked_whole=True)
    done = _stage_good(con, lake, target, sources, workspace / "rows.parquet", quarantine, max_bad_share)
    return replace(done, refused={**refused, **done.refused})


def _refuse_contradictions(target: Target) -> None:
    """Raise ValueError if parts of the target contradict each other."""
    model = target.model
    lacking = {relation.parent for relation in model.relations} - set(target.parents)
    if lacking:
        raise ValueError(f"Table {target.name} relates to {', '.join(sorted(lacking))}: pass them as parents")
    if target.layers and len(keys(model)) != 1:
        raise ValueError(f"Table {target.name} has {len(keys(model))} keys: later rows can supersede with one key only")
    if target.numbered and target.types.get(target.numbered) != "VARCHAR":
        raise ValueError(f"Table {target.name}: {target.numbered} is not a text column of {model.__name__}")


def _inspect_all(
    con: duckdb.DuckDBPyConnection, files: Sequence[Path], target: Target, workspace: Path, notes: Sequence[str]
) -> tuple[list[Source], dict[str, str]]:
    """The files that can be read as the table, and those superseded by a later one, by name, with the reason."""
    sources: list[Source] = []
    refused: dict[str, str] = {}
    for n, file in enumerate(files):
        try:
            source = inspect_source(con, file, target, workspace / str(n), notes, sources)
            if target.layers:
                refuse_damaged([source], target)
        except UnreadableNow:
            raise
        except BadDelivery as error:
            if not target.layers or file == files[-1]:
                raise
            refused[file.name] = error.without_values
        else:
            sources.append(source)
    return sources, refused


def _stage_good(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    target: Target,
    sources: Sequence[Source],
    rows: Path,
    quarantine: Path,
    max_bad_share: float,
) -> Read:
    """Stage the good rows and write the bad ones to `quarantine`. `rows` is a temporary file for all checked rows.
    Raises BadDelivery if too many are bad."""
    refused: dict[str, str] = {}
    superseded = 0
    while True:
        rows_in, skipped = check_rows(con, sources, target, rows)
        quarantined = quarantine_rows(con, rows, target, quarantine)
        # Divided, not multiplied: 29 of 100 is then exactly the configured 0.29.
        if not quarantined or quarantined / rows_in <= max_bad_share:
            break
        too_bad = files_too_bad(con, rows, quarantine, max_bad_share, target.layers[:-1])
        if not too_bad:
            raise too_many_bad_rows(con, quarantine, target, rows_in, quarantined, max_bad_share)
        for file_name, (bad, of_file) in too_bad.items():
            refused[file_name] = f"{bad} of {number_of(of_file, 'row')} {are(bad)} bad"
            superseded += of_file
        sources = [source for source in sources if source.file.name not in too_bad]
    refuse_other_batches(skipped, rows_in, target)
    violations = violations_in(con, quarantine) if quarantined else ()
    good = good_rows(rows, target, quarantine if quarantined else None)
    rows_in += superseded
    if target.layers:
        superseded += count_rows(con, f"SELECT * FROM ({good}) WHERE NOT _current")
    staged = lake.stage(con, f"SELECT {target.columns} FROM ({good}) WHERE _current", target.table, target.batch)
    return Read(sources, staged, rows_in, skipped, quarantined, superseded, violations, refused)


def _refuse_changed(files: Sequence[Path], before: Mapping[str, list[int]], target: Target) -> None:
    """Raise BadDelivery if a file has changed since its status `before`."""
    if before != {file.name: _status(file, target) for file in files}:
        raise BadDelivery(
            f"Table {target.name}: {_names(target.files)} changed while being read. Put deliveries in place "
            "in one move (`credit-assets deliver` does), then ingest again."
        )


def _verify(con: duckdb.DuckDBPyConnection, done: Read, target: Target) -> None:
    """Raise RuntimeError if rows are lost or kept rows violate the contract; BadDelivery if there are no rows."""
    kept, bad, superseded = done.staged.rows, done.quarantined, done.superseded
    if done.rows_in != kept + bad + superseded:
        raise RuntimeError(
            f"{target.table}: {number_of(done.rows_in, 'row')} in, {kept} kept, {bad} bad, {superseded} superseded"
        )
    if not target.model.relations and not done.rows_in:
        raise BadDelivery(f"Table {target.name}: no rows in {_names(target.files)}. Deliver a file with rows.")
    if not done.checked_whole and check(con, done.staged.query(), target.model, target.parents):
        raise RuntimeError(f"{target.table}: kept rows violate the contract that they were checked against")


def _stage_clean(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    target: Target,
    sources: Sequence[Source],
) -> Staged | None:
    """Stage the rows if all of them are good; otherwise stage nothing and return None."""
    query = " UNION ALL ".join(strict_query(source, target) for source in sources) or no_rows(target)
    try:
        staged = lake.stage(con, query, target.table, target.batch)
    except duckdb.Error as error:
        refuse_damaged(sources, target)
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


def _all_read(rows: int, sources: Sequence[Source]) -> bool:
    """Whether `rows` is the number of all rows. DuckDB reads line breaks after an unclosed quote as part of a value, so
    rows are counted if the files have further lines."""
    most = sum(source.most_rows for source in sources)
    return rows == most or (rows < most and rows == sum(source.rows for source in sources))


def _status(file: Path, target: Target) -> list[int]:
    try:
        return file_status(file)
    except FileNotFoundError as error:
        raise BadDelivery(f"Table {target.name}: there is no file {file}.") from error


def _names(files: Sequence[str]) -> str:
    return ", ".join(files) or "the delivery"

"""Delivered files to staged tables: read by DuckDB with the contract's types, bad rows set aside.

A clean file is read once, typed, and judged where it was staged. Only when that fails is it read again, row by row
(`row_by_row.py`), to tell the bad rows from the good ones. Where files lie is `inbox.py`'s, what they hold
`sources.py`'s, what a good row is `lake/contracts.py`'s.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from credit_assets.ingest.bad_delivery import BadDelivery, UnreadableNow
from credit_assets.ingest.looks import file_status, sha256_of
from credit_assets.ingest.row_by_row import (
    OTHERS,
    files_too_bad,
    good_rows,
    judge,
    set_aside,
    too_many,
    violations_in,
)
from credit_assets.ingest.sources import (
    ParquetSource,
    Source,
    Target,
    count_rows,
    has_value,
    look_over_source,
    passed_over_in,
    refuse_damaged,
)
from credit_assets.ingest.typed_values import MOMENTS, strictly
from credit_assets.lake.contracts import Violation, check, keys, orphans
from credit_assets.lake.sql import identifier, sql_path, sql_text
from credit_assets.lake.tables import Lake, Staged
from credit_assets.plurals import are, number_of
from credit_assets.schemas.duckdb_types import FLOATS, NUMBERS
from credit_assets.schemas.table import Table

# Of what is read from CSV; a BOOLEAN is what it is.
_KIND_READ = {"VARCHAR": "text"} | dict.fromkeys(FLOATS, "fraction")


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
    names = tuple(file.name for file in files)
    target = Target(table, model, parents, batch, names, later_file_stands, numbered, elsewhere or {})
    _refuse_contradictions(target)
    quarantine = quarantine_folder / f"{target.name}.parquet"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"ingest-{target.name}-", dir=scratch) as workspace:
        before = {file.name: _status(file, target) for file in files}
        sha256 = {file.name: sha256_of(file) for file in files}
        sources, refused = _look_over_all(con, files, target, Path(workspace), notes)
        clean = None if target.layers else _stage_clean(con, lake, target, sources)
        if clean:
            done = _Read(sources, clean, clean.rows, passed_over_in(clean.rows, sources))
        else:
            done = _stage_good(con, lake, target, sources, Path(workspace) / "rows.parquet", quarantine, max_bad_share)
            refused |= done.refused
        try:
            _verify(con, done, target, judged_before=not clean)
            _refuse_changed(files, before, target)
            kept_orphans = tuple(orphans(con, done.staged.query(), model, parents))
        except BaseException:
            lake.discard(done.staged)
            raise
    if not done.quarantined:
        quarantine.unlink(missing_ok=True)
    return Ingested(
        staged=done.staged,
        rows_in=done.rows_in,
        rows_kept=done.staged.rows,
        rows_quarantined=done.quarantined,
        rows_superseded=done.superseded,
        violations=done.violations,
        orphans=kept_orphans,
        notes=dict(done.passed_over),
        indexes={source.file.name: source.index for source in done.sources if source.index is not None},
        refused=refused,
        quarantine=quarantine if done.quarantined else None,
        source_sha256=sha256,
        source_status=before,
    )


@dataclass(frozen=True)
class _Read:
    """The rows of the `sources` as they were staged, and what became of the others. `refused` are further files, of
    which too many rows were bad, by name, with the reason."""

    sources: Sequence[Source]
    staged: Staged
    rows_in: int
    passed_over: Counter[str]
    quarantined: int = 0
    superseded: int = 0
    violations: tuple[Violation, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def _refuse_contradictions(target: Target) -> None:
    """ValueError where parts of the target do not go together."""
    model = target.model
    lacking = {relation.parent for relation in model.relations} - set(target.parents)
    if lacking:
        raise ValueError(f"Table {target.name} relates to {', '.join(sorted(lacking))}: give them as parents")
    if target.layers and len(keys(model)) != 1:
        raise ValueError(f"Table {target.name} has {len(keys(model))} keys: no later row can stand for an earlier one")
    if target.numbered and target.types.get(target.numbered) != "VARCHAR":
        raise ValueError(f"Table {target.name}: {target.numbered} is no text column of {model.__name__} to be numbered")


def _look_over_all(
    con: duckdb.DuckDBPyConnection, files: Sequence[Path], target: Target, workspace: Path, notes: Sequence[str]
) -> tuple[list[Source], dict[str, str]]:
    """The files that can be read as the table, and those that gave way to a later one, by name, with the reason."""
    sources: list[Source] = []
    refused: dict[str, str] = {}
    for n, file in enumerate(files):
        try:
            source = look_over_source(con, file, target, workspace / str(n), notes, sources)
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
) -> _Read:
    """The good rows staged, the bad ones written to `quarantine`. `rows` is where to write them all for that.
    BadDelivery where too many are bad."""
    refused: dict[str, str] = {}
    superseded = 0
    while True:
        rows_in, passed_over = judge(con, sources, target, rows)
        quarantined = set_aside(con, rows, target, quarantine)
        # Divided, not multiplied: 29 of 100 are then the 0.29 that a configuration says.
        if not quarantined or quarantined / rows_in <= max_bad_share:
            break
        too_bad = files_too_bad(con, rows, quarantine, max_bad_share, target.layers[:-1])
        if not too_bad:
            raise too_many(con, quarantine, target, rows_in, quarantined, max_bad_share)
        for file_name, (bad, of_file) in too_bad.items():
            refused[file_name] = f"{bad} of {number_of(of_file, 'row')} {are(bad)} bad"
            superseded += of_file
        sources = [source for source in sources if source.file.name not in too_bad]
    if passed_over[OTHERS] and not rows_in:
        raise BadDelivery(
            f"Table {target.name}: every row of {_names(target.files)} is of another batch than {target.batch}. "
            "Deliver the file for the batch that it belongs to."
        )
    violations = violations_in(con, quarantine) if quarantined else ()
    good = good_rows(rows, target, quarantine if quarantined else None)
    rows_in += superseded
    if target.layers:
        superseded += count_rows(con, f"SELECT * FROM ({good}) WHERE NOT _stands")
    staged = lake.stage(con, f"SELECT {target.columns} FROM ({good}) WHERE _stands", target.table, target.batch)
    return _Read(sources, staged, rows_in, passed_over, quarantined, superseded, violations, refused)


def _refuse_changed(files: Sequence[Path], before: Mapping[str, list[int]], target: Target) -> None:
    """BadDelivery where a file is another one than `before` it was read."""
    if before != {file.name: _status(file, target) for file in files}:
        raise BadDelivery(
            f"Table {target.name}: {_names(target.files)} changed while being read. Put deliveries in place "
            "in one move (`credit-assets deliver` does), then ingest again."
        )


def _verify(
    con: duckdb.DuckDBPyConnection,
    done: _Read,
    target: Target,
    judged_before: bool,
) -> None:
    """RuntimeError where rows are lost, or some that were kept break the contract; BadDelivery where there are none."""
    kept, bad, superseded = done.staged.rows, done.quarantined, done.superseded
    if done.rows_in != kept + bad + superseded:
        raise RuntimeError(
            f"{target.table}: {number_of(done.rows_in, 'row')} in, {kept} kept, {bad} bad, {superseded} superseded"
        )
    if not target.model.relations and not done.rows_in:
        raise BadDelivery(f"Table {target.name}: no rows in {_names(target.files)}. Deliver some.")
    if judged_before and check(con, done.staged.query(), target.model, target.parents):
        raise RuntimeError(f"{target.table}: kept rows break the contract that they were judged by")


def _stage_clean(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    target: Target,
    sources: Sequence[Source],
) -> Staged | None:
    """The rows staged, if every one of them is good; otherwise None, and nothing is staged."""
    query = " UNION ALL ".join(_strict(source, target) for source in sources) or _no_rows(target)
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
    """Whether these are all rows: DuckDB takes any line breaks between quotes for part of a value, also where a quote
    was left open. Rows are counted only where there are other lines too."""
    most = sum(source.most_rows for source in sources)
    return rows == most or (rows < most and rows == sum(source.rows for source in sources))


def _strict(source: Source, target: Target) -> str:
    """A SELECT of the model's columns which fails at the first value of the wrong type."""
    where = ""
    if isinstance(source, ParquetSource):
        kinds = source.columns
        number, rows = f"_nth + {source.before}", source.relation
    else:
        delivered = source.delivered
        # Whole numbers are read as DOUBLE, since DuckDB would round 1.5 to 2.
        read = {name: "DOUBLE" if kind in NUMBERS - FLOATS else kind for name, kind in target.types.items()}
        # Moments are read as text, since DuckDB would pass over their zone.
        read |= {name: "VARCHAR" for name, kind in target.types.items() if kind in MOMENTS}
        index = {"_index": "VARCHAR"} if delivered.has_index else {}
        kinds = {name: _KIND_READ.get(read[name], "same") for name in delivered.columns[len(index) :]}
        columns = index | {name: read[name] for name in kinds}
        path, number = delivered.plain, "_nth"
        if source.copy:
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
        f"{strictly(raw[name], kinds.get(name, 'text'), kind) if name in raw else f'CAST(NULL AS {kind})'} "
        f"AS {identifier(name)}"
        for name, kind in target.types.items()
    ]
    return f"SELECT {', '.join(values)} FROM {rows}{where}"


def _no_rows(target: Target) -> str:
    nulls = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in target.types.items())
    return f"SELECT {nulls} WHERE false"


def _status(file: Path, target: Target) -> list[int]:
    try:
        return file_status(file)
    except FileNotFoundError as error:
        raise BadDelivery(f"Table {target.name}: there is no file {file}.") from error


def _names(files: Sequence[str]) -> str:
    return ", ".join(files) or "the delivery"

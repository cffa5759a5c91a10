"""Compares two projects to the last bit: lake tables, checks, registered versions, and every model's parameters,
metrics and files.

Nothing of the platform is imported, so that projects of any release can be read. `equality.py` runs the releases.
"""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

EXPECTED = {
    "*/timeline.at": "time of running",
    "*/timeline.run": "run id, drawn at random",
    "*/champion_history.decided_from": "time of running",
    "*/champion_history.decided_until": "time of running",
    "*/champion_history.run": "run id, drawn at random",
    "scores.model_run_id": "run id, drawn at random",
    "trials.csv.seconds": "time of running",
    "*/timeline.words": "a sentence for readers, whose wording may change",
    "*/champion_history.why": "a sentence for readers, whose wording may change",
    "promotion_gate.words": "a sentence for readers, whose wording may change",
}
"""Columns (`table.column`, or a pattern of them) that may differ between equal releases, and why."""

RENAMED: dict[str, str] = {"xgboost": "candidate"}
"""Tables by their names in older releases, and what they are called since. Used where only NEW has the new name."""

RESHAPED: dict[str, str] = {
    "predictions": "SELECT * FROM (UNPIVOT old ON candidate, baseline, champion INTO NAME model VALUE pd)"
}
"""Tables whose columns changed, by today's name: the SELECT from `old` that gives today's columns. Used where OLD's
columns are not those of NEW."""


@dataclass(frozen=True)
class Difference:
    """A column that differs: the number of rows, the largest difference (numbers only), and the first two values."""

    column: str
    rows: int
    at_most: float | None
    example: str
    expected: str | None

    def __str__(self) -> str:
        most = "" if self.at_most is None else f", by {self.at_most:.3g} at most"
        return f"{self.column} in {self.rows:,} rows{most} (first: {self.example})"


@dataclass(frozen=True)
class Compared:
    """Two compared tables: `faults` are about their shape, `differences` about their values."""

    name: str
    rows: int
    key: tuple[str, ...]
    faults: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        return not self.faults and all(difference.expected for difference in self.differences)

    def __str__(self) -> str:
        found = [*self.faults, *(str(d) for d in self.differences if not d.expected)]
        allowed = [f"{d.column}: {d.expected}" for d in self.differences if d.expected]
        line = f"{self.name}: " + ("; ".join(["DIFFERS", *found]) if found else f"equal, {self.rows:,} rows")
        return line + (f" (differs as expected: {'; '.join(allowed)})" if allowed else "")


# -- comparing two tables --------------------------------------------------------------------------


def compare_tables(name: str, old: pa.Table, new: pa.Table) -> Compared:
    """Compare two tables column by column and bit by bit, in any order of rows."""
    faults = [
        f"columns only in {side}: {', '.join(only)}"
        for side, only in (
            ("OLD", [c for c in old.column_names if c not in new.column_names]),
            ("NEW", [c for c in new.column_names if c not in old.column_names]),
        )
        if only
    ]
    shared = [column for column in old.column_names if column in new.column_names]
    types = [c for c in shared if _type(old, c) != _type(new, c)]
    faults += [f"{column} has type {_type(old, column)} in OLD, {_type(new, column)} in NEW" for column in types]
    codes = {c: _codes(old.column(c), new.column(c)) for c in shared if c not in types}
    key, ids = _row_ids(name, old, codes)
    _, at_old, at_new = np.intersect1d(ids[: len(old)], ids[len(old) :], assume_unique=True, return_indices=True)
    for side, rows in (("OLD", len(old) - len(at_old)), ("NEW", len(new) - len(at_new))):
        if rows:
            faults.append(f"{rows:,} rows only in {side} (by {', '.join(key) or 'all columns'})")
    differences = []
    for column, code in codes.items():
        differs = np.flatnonzero(code[at_old] != code[len(old) :][at_new])
        if len(differs):
            ours, theirs = old.column(column).take(at_old[differs]), new.column(column).take(at_new[differs])
            example = f"{_shown(ours[0])} and {_shown(theirs[0])}"
            expected = _expected(f"{name}.{column}")
            differences.append(Difference(column, len(differs), _at_most(ours, theirs), example, expected))
    return Compared(name, len(old), key, tuple(faults), tuple(differences))


def _type(table: pa.Table, column: str) -> str:
    """The column's type; text is one type, whatever Arrow stores it as."""
    kind = table.schema.field(column).type
    return "string" if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else str(kind)


def _expected(column: str) -> str | None:
    return next((why for pattern, why in EXPECTED.items() if fnmatch(column, pattern)), None)


def _codes(old: pa.ChunkedArray, new: pa.ChunkedArray) -> np.ndarray:
    """A number for each value of both columns, equal for equal bits; null is a value of its own."""
    kind = pa.string() if _is_text(old.type) else old.type
    values = pa.chunked_array([*old.cast(kind).chunks, *new.cast(kind).chunks], kind).combine_chunks()
    if pa.types.is_floating(values.type):
        filled = pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False).astype(np.float64)
        filled[np.isnan(filled)] = np.nan
        values = pa.array(filled.view(np.int64), mask=pc.is_null(values).to_numpy(zero_copy_only=False))
    elif pa.types.is_nested(values.type):
        values = pa.array([json.dumps(value.as_py(), default=str) for value in values], pa.string())
    encoded = values.dictionary_encode()
    return pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _row_ids(name: str, old: pa.Table, codes: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], np.ndarray]:
    """The key of the rows, and a number for each row of OLD and then of NEW, equal for equal keys.

    The key is the first column, or the shortest run of first columns, that is unique on each side. Floats and columns
    that may differ are never part of it. Rows with equal keys are distinguished by the order of their other values.
    """
    some = next(iter(codes.values()), np.zeros(0, np.int64))
    ids, key = np.zeros(len(some), np.int64), ()
    fit = [c for c in codes if not pa.types.is_floating(old.schema.field(c).type) and not _expected(f"{name}.{c}")]
    fit = sorted(fit, key=lambda column: column != "batch")
    alone = (c for c in fit if c != "batch" and _distinct(codes[c], len(old)))
    tried: Iterable[str] = [first] if (first := next(alone, None)) else fit
    for column in tried:
        finer = _together(ids, codes[column])
        if finer.max(initial=0) > ids.max(initial=0):
            ids, key = finer, (*key, column)
        if _distinct(ids, len(old)):
            return key, ids
    others = [code for column, code in codes.items() if column not in key and not _expected(f"{name}.{column}")]
    number = np.zeros(len(ids), np.int64)
    for side in (slice(0, len(old)), slice(len(old), None)):
        order = np.lexsort([*(code[side] for code in others), ids[side]])
        of_row = ids[side][order]
        begins = np.r_[True, of_row[1:] != of_row[:-1]] if len(order) else np.zeros(0, bool)
        firsts = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        number[side][order] = np.arange(len(order)) - firsts
    return key, _together(ids, number)


def _together(ids: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Numbers for the pairs."""
    pairs = ids * (more.max(initial=0) + 2) + more + 1
    return np.unique(pairs, return_inverse=True)[1].astype(np.int64)


def _distinct(ids: np.ndarray, old_rows: int) -> bool:
    return all(len(np.unique(side)) == len(side) for side in (ids[:old_rows], ids[old_rows:]))


def _at_most(old: pa.ChunkedArray, new: pa.ChunkedArray) -> float | None:
    """The largest absolute difference of numbers; None for other types, or if one side has no number."""
    if not (pa.types.is_floating(old.type) or pa.types.is_integer(old.type)):
        return None
    sides = (pc.fill_null(side.cast(pa.float64()), np.nan).to_numpy() for side in (old, new))
    apart = np.abs(np.subtract(*sides))
    return float(np.nanmax(apart)) if not np.isnan(apart).all() else None


def _shown(value: pa.Scalar) -> str:
    text = repr(value.as_py())
    return text if len(text) <= 60 else text[:57] + "..."


# -- contents of a project -------------------------------------------------------------------------


def lake_tables(project: Path, portfolio: str) -> dict[str, pa.Table]:
    """The portfolio's tables by name, without the portfolio's prefix."""
    root = project / "data" / "lake" / portfolio
    folders = [log.parent for log in sorted(root.rglob("_delta_log"))]
    return {str(folder.relative_to(root)): DeltaTable(str(folder)).to_pyarrow_table() for folder in folders}


def checks(project: Path) -> pa.Table:
    """The newest result of each check of each batch."""
    index = project / "data" / "dagster" / "storage" / "history" / "runs" / "index.db"
    newest: dict[tuple[str, str, str], dict[str, Any]] = {}
    query = "SELECT asset_key, check_name, partition, evaluation_event FROM asset_check_executions ORDER BY id"
    for key, name, partition, event in _rows(index, query):
        asset = "/".join(json.loads(key)[1:])
        found = json.loads(event)["dagster_event"]["event_specific_data"] if event else {}
        severity = found.get("severity", {}).get("__enum__", "").removeprefix("AssetCheckSeverity.")
        passed = found.get("success")
        # A check that passes has no severity that anybody sees.
        newest[(asset, name, partition or "")] = {"passed": passed, "severity": "" if passed else severity}
    keys = ("asset", "check", "batch")
    return pa.Table.from_pylist([dict(zip(keys, key, strict=True)) | row for key, row in newest.items()])


def model_runs(project: Path) -> dict[str, str]:
    """Each fitted model (`xgboost 1`, `logistic_regression 1`, `xgboost 2`, ...) with the run that it was logged in."""
    query = (
        "SELECT name || ' ' || row_number() OVER (PARTITION BY name ORDER BY start_time), run_uuid "
        "FROM runs JOIN tags USING (run_uuid) WHERE tags.key = 'mlflow.parentRunId' ORDER BY start_time"
    )
    return dict(_rows(_tracking(project), query))


def figures(project: Path) -> pa.Table:
    """Parameters and metrics of each model, numbers as the shortest text that gives the same bits."""
    query = (
        "SELECT 'metric', key, value FROM latest_metrics WHERE run_uuid = ? "
        "UNION ALL SELECT 'parameter', key, value FROM params WHERE run_uuid = ?"
    )
    rows = [
        {"model": model, "kind": kind, "name": name, "value": repr(value) if isinstance(value, float) else str(value)}
        for model, run in model_runs(project).items()
        for kind, name, value in _rows(_tracking(project), query, run, run)
    ]
    return pa.Table.from_pylist(rows)


def versions(project: Path) -> pa.Table:
    """The registered versions: the model of each, and its aliases."""
    models = {run: model for model, run in model_runs(project).items()}
    query = (
        "SELECT version, run_id, (SELECT group_concat(alias) FROM (SELECT alias FROM registered_model_aliases a "
        "WHERE a.name = v.name AND a.version = v.version ORDER BY alias)) FROM model_versions v"
    )
    found = _rows(_tracking(project), query)
    return pa.Table.from_pylist([{"version": v, "model": models[run], "aliases": a or ""} for v, run, a in found])


def model_files(project: Path) -> dict[str, Path]:
    """The files of each model and of its evaluation, by model and name."""
    files = {}
    for model, run in model_runs(project).items():
        (run_folder,) = _rows(_tracking(project), "SELECT artifact_uri FROM runs WHERE run_uuid = ?", run)
        logged = _rows(_tracking(project), "SELECT artifact_location FROM logged_models WHERE source_run_id = ?", run)
        for (address,) in (run_folder, *logged):
            folder = Path(unquote(urlparse(address).path))
            for file in sorted(folder.rglob("*")):
                if file.parent.name == "model" or file.name in JUDGED_BY:
                    files[f"{model}: {file.name}"] = file
    return files


JUDGED_BY = ("importance.json", "drift_reference.parquet", "population.parquet", "trials.csv")
"""Files beside a model that its batches are judged by, or that show how it was found."""


def _tracking(project: Path) -> Path:
    return project / "data" / "mlflow" / "mlflow.db"


def _rows(database: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as con:
        return con.execute(query, values).fetchall()


# -- comparing two projects ------------------------------------------------------------------------


def compare_projects(old: Path, new: Path, portfolio: str) -> list[str]:
    """A line for each compared item; lines of differing items contain `DIFFERS`."""
    ours, theirs = lake_tables(old, portfolio), lake_tables(new, portfolio)
    lines = []
    for before, now in RENAMED.items():
        if before in ours and before not in theirs and now in theirs:
            lines.append(f"{before} of OLD is compared with {now} of NEW")
            ours[now] = ours.pop(before)
    for name in sorted({*ours, *theirs}):
        if (file := name.rpartition(" ")[2]) in GONE and name not in theirs:
            lines.append(f"{name}: expected to be gone ({GONE[file]})")
            continue
        if name not in ours or name not in theirs:
            lines.append(f"{name}: DIFFERS; only {'OLD' if name in ours else 'NEW'} has this table")
            continue
        if name in RESHAPED and set(ours[name].column_names) != set(theirs[name].column_names):
            lines.append(f"{name} of OLD is brought into the columns of NEW by RESHAPED")
            ours[name] = duckdb.connect().register("old", ours[name]).sql(RESHAPED[name]).to_arrow_table()
        lines.append(str(compare_tables(name, ours[name], theirs[name])))
    for what in (checks, versions, figures):
        lines.append(str(compare_tables(what.__name__, what(old), what(new))))
    return lines + compare_files(model_files(old), model_files(new))


ADDED = {"model.json": {"kind", "means", "inverse_penalty", "weights", "intercept"}}
"""Entries of JSON files that older releases did not write."""

GONE = {"regression.skops": "its figures stand in model.json"}
"""Files that are no longer written, and why."""


def compare_files(ours: Mapping[str, Path], theirs: Mapping[str, Path]) -> list[str]:
    """A line for each file: tables are compared by their values, other files by their bytes."""
    lines = []
    for name in sorted({*ours, *theirs}):
        if (file := name.rpartition(" ")[2]) in GONE and name not in theirs:
            lines.append(f"{name}: expected to be gone ({GONE[file]})")
            continue
        if name not in ours or name not in theirs:
            lines.append(f"{name}: DIFFERS; only {'OLD' if name in ours else 'NEW'} has this file")
            continue
        sides = ours[name], theirs[name]
        if _content(sides[0]) == _content(sides[1]):
            lines.append(f"{name}: equal, {sides[0].stat().st_size:,} bytes")
        elif file in ADDED and _entries(sides[0]) == {
            name: value for name, value in _entries(sides[1]).items() if name not in ADDED[file] - {*_entries(sides[0])}
        }:
            lines.append(f"{name}: equal but for entries that are new")
        elif sides[0].suffix in (".parquet", ".csv"):
            compared = compare_tables(sides[0].name, *(_table(side) for side in sides))
            lines.append(str(compared).replace(sides[0].name, name, 1))
        else:
            lines.append(f"{name}: DIFFERS; its bytes")
    return lines


def _content(file: Path) -> object:
    """The file's bytes; for a skops file, which contains memory addresses, its content without them."""
    if file.suffix != ".skops":
        return file.read_bytes()
    with zipfile.ZipFile(file) as parts:

        def without_addresses(node: Any) -> Any:
            if isinstance(node, list):
                return [without_addresses(item) for item in node]
            if not isinstance(node, dict):
                return node
            kept = {name: without_addresses(value) for name, value in node.items() if name != "__id__"}
            return kept | ({"file": parts.read(node["file"])} if isinstance(node.get("file"), str) else {})

        return without_addresses(json.loads(parts.read("schema.json")))


def _entries(file: Path) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(file.read_text())
    return entries


def _table(file: Path) -> pa.Table:
    if file.suffix == ".parquet":
        return pq.read_table(file)
    return duckdb.connect().read_csv(str(file)).to_arrow_table()

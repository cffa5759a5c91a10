"""What the benchmark of the line measures, on a tiny delivery; the figures themselves are not asserted."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import bare_time
from benchmarks.growth import exponent
from benchmarks.line import Step, as_json, as_table
from benchmarks.line_steps import compute_tables, copy_files, delivered_files, ingest_tables, scan_tables
from benchmarks.measure import measured
from credit_assets.book.book import Book
from credit_assets.features.contract import feature_contracts
from credit_assets.lake.resources import lake_resource
from credit_assets.settings.project import Project
from credit_assets.synthetic.lender import generate
from credit_assets_tests.small_project import BOOK, FEW_FEATURES, make_project

APPLICANTS = 50


@pytest.mark.slow
def test_every_delivered_row_is_ingested_copied_and_scanned(tmp_path: Path):
    book = Book.load(make_project(tmp_path / "project", sql=FEW_FEATURES), BOOK)
    resource = lake_resource(Project(tmp_path))
    [folder] = generate(tmp_path / "delivery", APPLICANTS, 1, unlabelled=0)
    lines = {file.name: file.read_bytes().count(b"\n") - 1 for file in folder.glob("*.csv")}
    copies = tmp_path / "copies"
    copies.mkdir()

    copy_files(delivered_files(book, folder), copies, threads=1)
    ingested = {table: result.rows_kept for table, result in ingest_tables(book, resource, folder, tmp_path)}
    contracts = feature_contracts(book.queries, book.contracts, book.portfolio.entity_key)
    [(query, features)] = compute_tables(book, contracts, resource)

    assert {copy.stem: pq.read_metadata(copy).num_rows for copy in copies.iterdir()} == lines
    assert sum(ingested.values()) == sum(lines.values())
    assert list(ingested) == list(book.contracts)
    assert (query.name, features.rows) == ("features", APPLICANTS)
    assert scan_tables(book, resource, threads=1) == {table: rows for table, rows in ingested.items() if rows}


def test_the_figures_are_those_of_the_steps():
    steps = {
        "copy": Step(10.0, 0.5, 5.0, 1.5, {}),
        "ingest": Step(17.0, 2.0, 9.0, 1.0, {"rows": 58_000_000}),
        "scan": Step(4.0, 0.5, 2.0, 3.0, {}),
        "features": Step(36.0, 2.0, 20.0, 2.0, {"applicants": 356_255, "features": 477}),
    }

    assert as_json(steps) == {
        "ingest_cpu_s": 17.0,
        "features_cpu_s": 36.0,
        "copy_cpu_s": 10.0,
        "scan_cpu_s": 4.0,
        "wall_s": 29.0,
        "peak_gb": 2.0,
        "rows": 58_000_000,
        "features": 477,
    }
    ratios = [line.split()[3] for line in as_table(steps).splitlines()[2:]]
    assert ratios == ["1.70", "9.00", "3.79"]


def test_a_command_is_measured_in_its_own_process():
    done = measured([sys.executable, "-S", "-c", "held = bytearray(200 << 20); print(len(held))"])

    assert done.output == f"{200 << 20}\n"
    assert 0.19 < done.peak_gb < 2
    assert 0 < done.cpu_s < 10


def test_a_command_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match="failed with exit code 3"):
        measured([sys.executable, "-S", "-c", "raise SystemExit(3)"])


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.05])
def test_the_exponent_is_that_of_the_power_that_made_the_seconds(slope: float):
    rows = [3_677_766, 14_600_000, 58_413_000]

    assert exponent(rows, [2e-6 * count**slope for count in rows]) == pytest.approx(slope)


def test_a_function_is_timed_and_a_call_within_it_counts_once(monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    monkeypatch.setattr(bare_time.time, "process_time", lambda: now)

    def work(seconds: float) -> str:
        nonlocal now
        now += seconds
        return "done"

    clock = bare_time.Clock()
    inner = clock.of(work)

    @clock.of
    def outer() -> str:
        work(1)
        return inner(2)

    @clock.of
    def steps():
        work(4)
        yield "first"
        work(8)
        yield "second"

    assert outer() == "done"
    for _ in steps():
        work(100)

    assert clock.seconds == 1 + 2 + 4 + 8

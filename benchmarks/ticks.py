"""Cost of the sensors' ticks, and of their queries, on a book with many batches.

    python -m benchmarks.ticks --batches 500

An inbox of small files and a lake of one-row tables are created in a temporary folder; each table has one commit per
batch. "first" is a fresh process, "again" the same process one tick later. Both are also given in milliseconds of
processor time, which other work on the machine affects least. The real sensors run on a real instance (SQLite) with
three finished runs and three failed checks per batch, and a registry with a champion.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
import duckdb

from credit_assets.alerts.run_alerts import RUNS_PER_POLL
from credit_assets.alerts.sensor import alert_sensor
from credit_assets.automation.jobs import jobs
from credit_assets.automation.pending import arrivals, batches_to_ingest, batches_to_score
from credit_assets.automation.retraining import RETRAINING_CHECKS
from credit_assets.automation.sensors import sensors
from credit_assets.book.book import Book
from credit_assets.dagster_private import make_new_run_id
from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.snapshots import file_status, sha256_of
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.registry.registry import Registry
from credit_assets.settings.project import Project
from credit_assets.settings.run_tags import KEY_TAG, PORTFOLIO_TAG
from credit_assets_tests.bare_versions import register_bare

PROJECT = Project(Path(__file__).parents[1])
COMPILED = Book.load(PROJECT, "home_credit")
PORTFOLIO = COMPILED.portfolio
Cost = tuple[float, float]
"""Milliseconds on the clock, and of the processor."""
LINE = {
    "feature_drift": ["features"],
    "scores": ["features"],
    "score_drift": ["scores"],
    "performance": ["scores", PORTFOLIO.application_table, PORTFOLIO.outcomes_table],
}


def made_from() -> dict[str, list[str]]:
    """Every table of a batch, with its input tables."""
    raw = {table: list(COMPILED.parents(table)) for table in COMPILED.contracts}
    return raw | {name: list(query.inputs) for name, query in COMPILED.queries.items()} | LINE


def fill_inbox(inbox: Inbox, batches: list[str]) -> dict[str, str]:
    """Write a file per raw table, and one that belongs to no table, for every batch; each file's SHA-256."""
    stems = {table: config.files[0] for table, config in PORTFOLIO.tables.items()}
    for batch in batches:
        folder = inbox.root / PORTFOLIO.name / batch
        folder.mkdir(parents=True)
        for stem in (*stems.values(), "notes"):
            (folder / f"{stem}.csv").write_text(f"{stem}\n")
        sha256 = {file.name: sha256_of(file) for file in folder.iterdir()}
        seen = {name: {"status": file_status(folder / name), "sha256": held} for name, held in sha256.items()}
        (folder.parent / ".fingerprints").mkdir(exist_ok=True)
        inbox.remember(PORTFOLIO.name, batch, seen)
    return sha256


def fill_lake(lake: Lake, batches: list[str], sha256: Mapping[str, str]) -> None:
    """Two commits by the lake; those of other batches are copies of the second, as each write takes 50 ms."""
    for table, sources in made_from().items():
        name = PORTFOLIO.table(table)
        files = [f"{stem}.csv" for stem in PORTFOLIO.tables[table].files] if table in PORTFOLIO.tables else []
        provenance = Provenance(run_id="0" * 36, code_version="0" * 40, synthetic=True)
        if files:
            read = {file: sha256[file] for file in files if file in sha256}
            provenance = provenance.model_copy(update={"source_sha256": read})
        if table in LINE:
            provenance = provenance.model_copy(update={"model_version": 1})
        with duckdb.connect() as con:
            for version, batch in enumerate(batches[:2]):
                made = provenance.model_copy(update={"inputs": inputs(sources, version)})
                lake.replace(con, "SELECT 1 AS x", name, batch, made)
        folder = Path(lake.address(name))
        log = folder / "_delta_log"
        told, *_, added = [json.loads(line) for line in (log / f"{1:020}.json").read_text().splitlines()]
        [rows] = folder.glob(f"batch={batches[1]}/*.parquet")
        for version, batch in list(enumerate(batches))[2:]:
            copy = folder / f"batch={batch}" / rows.name
            copy.parent.mkdir()
            os.link(rows, copy)
            told["commitInfo"] |= {"batch": batch, "inputs": json.dumps(inputs(sources, version))}
            added["add"] |= {"path": f"batch={batch}/{rows.name}", "partitionValues": {"batch": batch}}
            (log / f"{version:020}.json").write_text(f"{json.dumps(told)}\n{json.dumps(added)}\n")


def inputs(sources: list[str], version: int) -> dict[str, int]:
    return {PORTFOLIO.table(source): version for source in sources}


def measure(root: Path, settled: Mapping[str, str]) -> dict[str, list[Cost]]:
    """The cost of each part in this process: the first time, and the best of five repetitions."""
    inbox, lake = Inbox(Project(root).inbox), Lake(Project(root).lake)
    parts: dict[str, Callable[[], object]] = {
        "the inbox looked over": lambda: inbox.snapshots(PORTFOLIO.name),
        "the lake's commits read": lambda: [lake.batches(PORTFOLIO.table(table)) for table in made_from_tables],
        "arrivals: what was delivered": lambda: arrivals(PORTFOLIO, inbox, lake, settled),
        "batches_to_score: what is to be scored": lambda: batches_to_score(PORTFOLIO, lake, 1),
        "batches_to_ingest: what the command would do": lambda: batches_to_ingest(PORTFOLIO, inbox, lake),
        "a tick: arrivals and batches_to_score": lambda: (
            arrivals(PORTFOLIO, inbox, lake, settled),
            batches_to_score(PORTFOLIO, lake, 1),
        ),
    }
    made_from_tables = list(made_from())
    return {part: [timed(work), min(timed(work) for _ in range(5))] for part, work in parts.items()}


def measure_first(root: Path, settled: Mapping[str, str]) -> Cost:
    """The cost of the first tick in a fresh process."""
    inbox, lake = Inbox(Project(root).inbox), Lake(Project(root).lake)
    return timed(lambda: (arrivals(PORTFOLIO, inbox, lake, settled), batches_to_score(PORTFOLIO, lake, 1)))


def fill_instance(instance: dg.DagsterInstance, project: Project, batches: list[str]) -> None:
    """Register the batches, with three runs and three failed checks each, and a champion that learned from all."""
    name, registry = PORTFOLIO.name, Registry.of(project, PORTFOLIO.name)
    with duckdb.connect() as con:
        sources = (PORTFOLIO.application_table, PORTFOLIO.outcomes_table)
        read = {PORTFOLIO.table(table): Lake(project.lake).version(PORTFOLIO.table(table)) for table in sources}
        table = PORTFOLIO.table("training_set")
        Lake(project.lake).replace(con, "SELECT 1 AS x", table, None, Provenance(inputs=read))
    number = register_bare(registry, tables={table: 0})
    registry.promote(number, by="gate", why="a benchmark")
    instance.add_dynamic_partitions(f"{name}_batches", batches)
    for batch in batches:
        for job in ("batch", "outcomes", "score"):
            tags = {PORTFOLIO_TAG: name, "dagster/partition": batch, KEY_TAG: f"{job}:{batch}"}
            instance.run_storage.add_run(
                dg.DagsterRun(job_name=job, tags=tags, status=dg.DagsterRunStatus.SUCCESS, run_id=make_new_run_id())
            )
        for asset, check in RETRAINING_CHECKS:
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey([name, asset]),
                    check_name=check,
                    passed=False,
                    description="Shifted.",
                    metadata={"batch": dg.TextMetadataValue(batch), "model_version": dg.IntMetadataValue(1)},
                )
            )


def measure_ticks(root: Path) -> dict[str, list[Cost]]:
    """A tick of each sensor in this process when nothing is due: the first, and the best of five repetitions."""
    project = Project(root)
    made: dict[str, list[Cost]] = {}
    with dg.DagsterInstance.local_temp(str(root / "instance")) as instance:
        book = Book(project, PORTFOLIO)
        for sensor in [*sensors(book, jobs(PORTFOLIO)), alert_sensor(book)]:
            # A sensor with a cursor continues from its previous tick.
            cursor: list[str | None] = [None]

            def tick(sensor: dg.SensorDefinition = sensor, cursor: list[str | None] = cursor) -> None:
                told = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor[0]))
                assert told.skip_message and not told.run_requests, told
                cursor[0] = told.cursor

            made[f"tick of {sensor.name}"] = [timed(tick)]
            if sensor.name == "alerts":
                # All runs are new to it; it reads a limited number per tick.
                for _ in range(instance.get_runs_count() // RUNS_PER_POLL):
                    tick()
            made[f"tick of {sensor.name}"].append(min(timed(tick) for _ in range(5)))
    return made


def timed(work: Callable[[], object]) -> Cost:
    start, busy = time.perf_counter(), time.process_time()
    work()
    return 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - busy)


def report(what: str, root: Path, settled: Mapping[str, str]) -> None:
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as fresh:
        first = fresh.submit(measure_first, root, settled).result()
    with ProcessPoolExecutor(1, mp_context=spawn) as fresh:
        parts = fresh.submit(measure, root, settled).result()
    parts["a tick: arrivals and batches_to_score"][0] = first
    show(what, parts)


def show(what: str, parts: Mapping[str, list[Cost]]) -> None:
    print(f"\n{what:46}{'first':>8}{'again':>8}{'first, processor':>19}{'again, processor':>19}")
    for part, (once, again) in parts.items():
        print(f"{part:46}{once[0]:8.0f}{again[0]:8.0f}{once[1]:19.0f}{again[1]:19.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batches", type=int, default=500)
    names = [f"{2000 + n // 12}-{n % 12 + 1:02}" for n in range(parser.parse_args().batches)]
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        inbox, lake = Inbox(project.inbox), Lake(project.lake)
        sha256 = fill_inbox(inbox, names)
        tables = made_from()
        print(f"{len(names)} batches of {len(sha256)} files, {len(tables)} tables of {len(names)} commits")
        everything = {look.batch: look.signature for look in inbox.snapshots(PORTFOLIO.name)}
        report("all delivered, nothing ingested", Path(folder), everything)
        fill_lake(lake, names, sha256)
        assert not arrivals(PORTFOLIO, inbox, lake, {}).signatures
        assert not batches_to_score(PORTFOLIO, lake, None)
        report("all ingested and scored", Path(folder), {})
        (project.root / "instance").mkdir()
        with dg.DagsterInstance.local_temp(str(project.root / "instance")) as instance:
            fill_instance(instance, project, names)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            show("all ingested and scored", fresh.submit(measure_ticks, project.root).result())
        for name in names:
            with (inbox.root / PORTFOLIO.name / name / "bureau.csv").open("a") as bureau:
                bureau.write("corrected\n")
        everything = {look.batch: look.signature for look in inbox.snapshots(PORTFOLIO.name)}
        assert len(arrivals(PORTFOLIO, inbox, lake, everything).due) == len(names)
        report("all corrected", Path(folder), everything)


if __name__ == "__main__":
    main()

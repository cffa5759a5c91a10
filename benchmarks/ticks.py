"""What a look at a book with many batches costs: a sensor's tick, less what Dagster itself adds.

    python benchmarks/ticks.py --batches 500

An inbox of small files and a lake of one-row tables are made up in a temporary folder; each table has one commit a
batch. "first" is a fresh process, "again" the same process a tick later, both also in milliseconds of processor, which
other work on the machine changes least.
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

import duckdb

from credit_assets.automation.outstanding import arrivals, to_ingest, to_score
from credit_assets.features.queries import load
from credit_assets.lake.io_managers import MODEL_VERSION, SOURCE
from credit_assets.lake.tables import Lake
from credit_assets.portfolio import Portfolio
from credit_assets.project import Project
from credit_assets.raw.delivery import Inbox, file_status, sha256_of

PROJECT = Project(Path(__file__).parents[1])
PORTFOLIO = Portfolio.load(PROJECT, "home_credit")
Cost = tuple[float, float]
"""Milliseconds on the clock, and of the processor."""
LINE = {
    "feature_drift": ["features"],
    "scores": ["features"],
    "score_drift": ["scores"],
    "performance": ["scores", PORTFOLIO.application_table, PORTFOLIO.outcomes_table],
}


def made_from() -> dict[str, list[str]]:
    """Every table of a batch, and the tables that it is made from."""
    raw = {table: list(PORTFOLIO.parents(table)) for table in PORTFOLIO.models}
    queries = load(PROJECT.root / "sql" / PORTFOLIO.name, PORTFOLIO.models)
    return raw | {name: list(query.inputs) for name, query in queries.items()} | LINE


def fill_inbox(inbox: Inbox, batches: list[str]) -> dict[str, str]:
    """A file a raw table and one that belongs to none, for every batch; each file's SHA-256."""
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
    """Two commits by the lake itself; the other batches' are copies of the second, as writing takes 50 ms each."""
    for table, sources in made_from().items():
        name = PORTFOLIO.table(table)
        files = [f"{stem}.csv" for stem in PORTFOLIO.tables[table].files] if table in PORTFOLIO.tables else []
        facts: dict[str, str] = {"run_id": "0" * 36, "code_version": "0" * 40, "synthetic": "true"}
        facts |= {SOURCE: json.dumps({file: sha256[file] for file in files if file in sha256})} if files else {}
        facts |= {MODEL_VERSION: "1"} if table in LINE else {}
        with duckdb.connect() as con:
            for version, batch in enumerate(batches[:2]):
                lake.replace(con, "SELECT 1 AS x", name, batch, facts | {"inputs": inputs(sources, version)})
        log = lake.path(name) / "_delta_log"
        told, *_, added = [json.loads(line) for line in (log / f"{1:020}.json").read_text().splitlines()]
        [rows] = lake.path(name).glob(f"batch={batches[1]}/*.parquet")
        for version, batch in list(enumerate(batches))[2:]:
            copy = lake.path(name) / f"batch={batch}" / rows.name
            copy.parent.mkdir()
            os.link(rows, copy)
            told["commitInfo"] |= {"batch": batch, "inputs": inputs(sources, version)}
            added["add"] |= {"path": f"batch={batch}/{rows.name}", "partitionValues": {"batch": batch}}
            (log / f"{version:020}.json").write_text(f"{json.dumps(told)}\n{json.dumps(added)}\n")


def inputs(sources: list[str], version: int) -> str:
    return json.dumps({PORTFOLIO.table(source): version for source in sources})


def measure(root: Path, settled: Mapping[str, str]) -> dict[str, list[Cost]]:
    """What each part costs in this process: the first time, and the best of five more."""
    inbox, lake = Inbox(root / "inbox"), Lake(root / "lake")
    parts: dict[str, Callable[[], object]] = {
        "the inbox looked over": lambda: inbox.looks(PORTFOLIO.name),
        "the lake's commits read": lambda: [lake.batches(PORTFOLIO.table(table)) for table in made_from_tables],
        "arrivals: what was delivered": lambda: arrivals(PORTFOLIO, inbox, lake, settled),
        "to_score: what is to be scored": lambda: to_score(PORTFOLIO, lake, 1),
        "to_ingest: what the command would do": lambda: to_ingest(PORTFOLIO, inbox, lake),
        "a tick: arrivals and to_score": lambda: (
            arrivals(PORTFOLIO, inbox, lake, settled),
            to_score(PORTFOLIO, lake, 1),
        ),
    }
    made_from_tables = list(made_from())
    return {part: [timed(work), min(timed(work) for _ in range(5))] for part, work in parts.items()}


def measure_first(root: Path, settled: Mapping[str, str]) -> Cost:
    """What the first tick of a process costs."""
    inbox, lake = Inbox(root / "inbox"), Lake(root / "lake")
    return timed(lambda: (arrivals(PORTFOLIO, inbox, lake, settled), to_score(PORTFOLIO, lake, 1)))


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
    parts["a tick: arrivals and to_score"][0] = first
    print(f"\n{what:46}{'first':>8}{'again':>8}{'first, processor':>19}{'again, processor':>19}")
    for part, (once, again) in parts.items():
        print(f"{part:46}{once[0]:8.0f}{again[0]:8.0f}{once[1]:19.0f}{again[1]:19.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batches", type=int, default=500)
    names = [f"{2000 + n // 12}-{n % 12 + 1:02}" for n in range(parser.parse_args().batches)]
    with tempfile.TemporaryDirectory() as folder:
        inbox, lake = Inbox(Path(folder) / "inbox"), Lake(Path(folder) / "lake")
        sha256 = fill_inbox(inbox, names)
        tables = made_from()
        print(f"{len(names)} batches of {len(sha256)} files, {len(tables)} tables of {len(names)} commits")
        everything = {look.batch: look.signature for look in inbox.looks(PORTFOLIO.name)}
        report("all delivered, nothing ingested", Path(folder), everything)
        fill_lake(lake, names, sha256)
        assert not arrivals(PORTFOLIO, inbox, lake, {}).looks
        assert not to_score(PORTFOLIO, lake, None)
        report("all ingested and scored", Path(folder), {})
        for name in names:
            with (inbox.root / PORTFOLIO.name / name / "bureau.csv").open("a") as bureau:
                bureau.write("corrected\n")
        everything = {look.batch: look.signature for look in inbox.looks(PORTFOLIO.name)}
        assert len(arrivals(PORTFOLIO, inbox, lake, everything).due) == len(names)
        report("all corrected", Path(folder), everything)


if __name__ == "__main__":
    main()

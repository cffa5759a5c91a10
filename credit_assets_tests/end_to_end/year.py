"""Fourteen months of a lender operated by the daemon alone: what is delivered when, and the results.

Expected results, and repeated kills, are in the tests.
"""

from __future__ import annotations

import itertools
import math
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import psutil
from dagster import DagsterRun, RunRecord

from credit_assets.dagster_private import AUTO_RETRY_RUN_ID_TAG
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.settings.project import Project
from credit_assets.synthetic.lender import batch_names, generate
from credit_assets_tests.alerts.receivers import http_sink
from credit_assets_tests.end_to_end.daemon import Daemon, prepare
from credit_assets_tests.small_project import BOOK, QUICK, make_short_project

MONTHS = batch_names("2026-01", 14)
APPLICANTS = 5_000
DEAR = MONTHS[5:]
"""All amounts are half as large again."""
REVERSED = MONTHS[10:]
"""A high external score 2 goes with default."""
BAD, MENDED_IN = MONTHS[3], MONTHS[4]
"""Delivered with a column missing; delivered as it should be, in that month."""
CORRECTED, CORRECTED_IN = MONTHS[1], MONTHS[4]
"""Delivered again with another income, in that month."""

IN_HALVES, REST = MONTHS[7], "-rest"
OUTCOMES = {month: [before] for before, month in itertools.pairwise(MONTHS[1:])} | {
    MENDED_IN: [],
    MONTHS[5]: [BAD, MENDED_IN],
    MONTHS[9]: [IN_HALVES + REST, MONTHS[8]],
}
"""Which batches' outcomes arrive in a month, and the rest of those that came in halves. The first batch has its own."""

TRAINED_LATER = (MONTHS[9], MONTHS[13])
"""There the batch comes first, and then the outcomes that make training worth its while."""
LONGEST_RUN_S = 5.0
FILES = ("application_train", "application_test", "bureau.", "outcomes")
AMOUNTS = ["AMT_INCOME_TOTAL", "AMT_CREDIT", "AMT_ANNUITY", "AMT_GOODS_PRICE"]
SQL = """-- A few strong features.
select
    SK_ID_CURR,
    EXT_SOURCE_1 as external_score_1, -- the external credit score 1
    EXT_SOURCE_2 as external_score_2, -- the external credit score 2
    EXT_SOURCE_3 as external_score_3, -- the external credit score 3
    AMT_INCOME_TOTAL as income, -- the income stated in the application
    AMT_CREDIT as credit, -- the amount applied for
    AMT_ANNUITY as annuity, -- what is to be paid back a year
    debts -- the loans at other lenders
from applications
left join (select SK_ID_CURR, count(*) as debts from bureau group by SK_ID_CURR) as loans using (SK_ID_CURR)
"""
SETTINGS = QUICK | {
    "training": {
        "trials": 1, "learning_rate": 0.2, "max_rounds": 60, "early_stopping_rounds": 10, "window_batches": 2,
        "cv_below_rows": 0, "cv_below_defaults": 0, "threads": 1,
    },
    "drift": {"report_columns": 0},
    "performance": {"draws": 100},
    # Evaluated continuously; four newly matured months justify a training.
    "automation": {"interval_s": 2, "cool_down_hours": 0, "min_new_outcomes": 4 * APPLICANTS},
    "alerts": {"webhook": {}, "per_hour": 1000, "disk_free_gb": 0, "memory_free_share": 0},
}  # fmt: skip


def make_deliveries(root: Path) -> Path:
    """The folders of all months, and additional files of some months under `outcomes/`, `bad/` and `corrected/`."""
    scenario = {batch: "concept_change" if batch in REVERSED else "income_inflation" for batch in DEAR}
    draw(root, len(MONTHS), scenario)
    for batch in REVERSED:
        with Changed(root / batch / "application_test.csv") as rows:
            rows[AMOUNTS] *= 1.5
    shutil.copytree(root / BAD, root / "bad" / BAD)
    with Changed(root / "bad" / BAD / "application_test.csv") as rows:
        del rows["EXT_SOURCE_2"]
    shutil.copytree(root / CORRECTED, root / "corrected" / CORRECTED)
    with Changed(root / "corrected" / CORRECTED / "application_test.csv") as rows:
        rows.loc[0, "AMT_INCOME_TOTAL"] += 90_000
    outcomes = root / "outcomes" / IN_HALVES / "outcomes.csv"
    rows = pd.read_csv(outcomes)
    half = len(rows) // 2
    rows[:half].to_csv(outcomes, index=False)
    (root / "outcomes" / (IN_HALVES + REST)).mkdir()
    rows[half:].to_csv(root / "outcomes" / (IN_HALVES + REST) / "outcomes.csv", index=False)
    return root


def draw(root: Path, months: int, scenario: dict[str, str] | None = None) -> None:
    """Deliveries of the synthetic lender with the files that the book reads, the first with its outcomes."""
    generate(root, APPLICANTS * months, months, scenario=scenario, unlabelled=months - 1)
    for file in root.glob("*/*.csv"):
        if not file.name.startswith(FILES):
            file.unlink()


class Changed:
    """The rows of a CSV file, written back on exit."""

    def __init__(self, file: Path) -> None:
        self.file, self.rows = file, pd.read_csv(file)

    def __enter__(self) -> pd.DataFrame:
        return self.rows

    def __exit__(self, *exception: object) -> None:
        self.rows.to_csv(self.file, index=False)


def make_book(root: Path, storage: dict[str, Any] | None = None, **settings: int) -> Project:
    """The lender's project: three tables, few features, quick searches, sensors that poll every other second."""
    project = make_short_project(root, SETTINGS, SQL)
    prepare(project, storage, **settings)
    return project


def deliver(project: Project, made: Path, month: str) -> Iterator[None]:
    """The month's deliveries: its batch, a correction, the outcomes of earlier batches.

    It pauses after each `yield`: only once if everything arrives together, separately if outcomes produce a champion
    that must not process the batch on its first pass.
    """
    inbox = Inbox(project.inbox)
    if month == MENDED_IN:
        inbox.deliver(made / BAD, BOOK, BAD)
    if month == CORRECTED_IN:
        inbox.deliver(made / "corrected" / CORRECTED, BOOK, CORRECTED)
    inbox.deliver(made / "bad" / BAD if month == BAD else made / month, BOOK, month)
    if month in TRAINED_LATER:
        yield
    for outcomes in OUTCOMES.get(month, []):
        inbox.deliver(made / "outcomes" / outcomes, BOOK, outcomes.removesuffix(REST))
    yield


@dataclass(frozen=True)
class YearResult:
    """The results of a year: the project, its runs (oldest first), the alerts sent, and the start of each month.
    `killed` counts the killed processes by kind.
    """

    project: Project
    runs: list[RunRecord]
    alerts: list[dict[str, Any]]
    began: dict[str, float]
    killed: Counter[str]

    def month(self, moment: float) -> str:
        """The month that contains the moment (seconds since 1970)."""
        return max(month for month, began in self.began.items() if began <= moment)

    def months(self) -> dict[str, list[DagsterRun]]:
        """The runs by the month in which they were created; of a retried run, its last attempt."""
        found: dict[str, list[DagsterRun]] = {month: [] for month in MONTHS}
        for record in self.runs:
            if AUTO_RETRY_RUN_ID_TAG not in record.dagster_run.tags:
                found[self.month(record.create_timestamp.timestamp())].append(record.dagster_run)
        return found

    def table(self, name: str, batch: str | None = None, version: int | None = None) -> pd.DataFrame:
        """The rows of a table (of one batch, as in a version), in a fixed order."""
        with duckdb.connect() as con:
            query = Lake(self.project.lake).query(f"{BOOK}/{name}", [batch] if batch else None, version)
            frame = con.sql(query).df()
        return frame.sort_values(list(frame.columns), kind="stable", ignore_index=True)


def run_year(root: Path, made: Path, killer: Killer | None = None) -> YearResult:
    """Run all months in turn, each until nothing is left to do."""
    # A run that was killed before its process started waits for the timeout.
    project = make_book(root, start_timeout_s=60) if killer else make_book(root)
    began: dict[str, float] = {}
    with http_sink() as sink, Daemon(project, CREDIT_ASSETS_WEBHOOK_URL=sink.url) as daemon:
        for month in MONTHS:
            began[month] = time.time()
            for _ in deliver(project, made, month):
                if killer:
                    killer.visit(daemon, month)
                daemon.until_quiet()
            daemon.stop_schedules()
        runs = list(daemon.instance.get_run_records(ascending=True))
    return YearResult(project, runs, sink.posted, began, killer.killed if killer else Counter())


class Killer:
    """Kills (SIGKILL) daemons and run processes, `kills` times over the year: one process, or all processes of the
    instance as in a power cut; at random moments while runs are active, or an idle daemon if a month had too few kills.
    A killed daemon is restarted at once, which takes longer than most runs.
    """

    def __init__(self, seed: int, kills: int) -> None:
        self.random = random.Random(seed)
        self.kills = kills
        self.kinds: list[str] = []
        self.strikes = 0
        self.killed: Counter[str] = Counter()

    def visit(self, daemon: Daemon, month: str) -> None:
        """Kill until the month's share is reached, or nothing is left for the daemon to do."""
        quota = math.ceil(self.kills * (MONTHS.index(month) + 1) / len(MONTHS))
        self.at = math.inf
        daemon.until_quiet(lambda: self._watch(daemon), enough=lambda: self.strikes >= quota)
        while self.strikes < quota:
            time.sleep(self.random.uniform(0, LONGEST_RUN_S))
            self._strike(daemon, [])

    def _watch(self, daemon: Daemon) -> None:
        workers = daemon.workers()
        if not workers:
            self.at = math.inf
        elif self.at == math.inf:
            self.at = time.monotonic() + self.random.uniform(0, LONGEST_RUN_S)
        elif time.monotonic() >= self.at:
            self._strike(daemon, workers)
            self.at = math.inf

    def _strike(self, daemon: Daemon, workers: list[psutil.Process]) -> None:
        if not self.kinds:
            self.kinds = self.random.sample(["worker", "daemon", "machine"], 5, counts=[3, 1, 1])
        kind = self.kinds.pop()
        self.strikes += 1
        if kind == "worker" and workers:
            self.killed["worker"] += Daemon.kill([self.random.choice(workers)])
            return
        if kind == "machine":
            self.killed["worker"] += len(workers)
            Daemon.kill(daemon.processes())
        else:
            Daemon.kill(daemon.daemon)
        self.killed["daemon"] += 1
        daemon.start()

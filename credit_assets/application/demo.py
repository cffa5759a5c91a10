"""The demo: run the whole platform on a portfolio and return the results."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from credit_assets.application.run import run_due
from credit_assets.application.status import Status, status
from credit_assets.application.work import Report
from credit_assets.automation.runs import RunOutcome
from credit_assets.book.book import Book
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.file_names import MARKER
from credit_assets.ingest.inbox import Inbox
from credit_assets.settings.project import Project
from credit_assets.synthetic.lender import generate

SYNTHETIC_BOOK = "home_credit"
APPLICANTS = 10_000
BATCHES = 3
SHIFTED = "2026-03"
SCENARIO = "younger_channel"
REAL_DATA = "CREDIT_ASSETS_REAL_DATA"


@dataclass(frozen=True)
class Demo:
    """The results: the runs, the status of the portfolio after them, and the seconds of each stage."""

    outcomes: list[RunOutcome]
    status: Status
    seconds: dict[str, float]


def demo(project: Project, name: str, deliver: Callable[[], None], report: Report) -> Demo:
    """Deliver, run what is due, and read the status of the portfolio."""
    began = time.monotonic()
    deliver()
    seconds = {"deliveries": time.monotonic() - began}
    outcomes = run_due(project, name, report)
    for outcome in outcomes:
        seconds[outcome.job] = seconds.get(outcome.job, 0.0) + outcome.seconds
    return Demo(outcomes, status(project, name), seconds)


def deliver_synthetic(book: Book, report: Report) -> None:
    """Deliver the synthetic lender's batches, into an inbox without others; raises BadDelivery if it has others."""
    inbox = Inbox(book.project.inbox)
    if real := [b for b in inbox.batches(book.name) if not (inbox.folder(book.name, b) / MARKER).exists()]:
        raise BadDelivery(
            f"The inbox contains deliveries that are not synthetic: {', '.join(real)}. Use an empty project."
        )
    report(f"Generating {APPLICANTS:,} synthetic applicants in {BATCHES} monthly batches")
    for path in generate(sample(book.project), APPLICANTS, BATCHES, scenario={SHIFTED: SCENARIO}):
        inbox.deliver(path, book.name, path.name)
        shutil.rmtree(path)


def sample(project: Project) -> Path:
    """The folder that the files of the synthetic lender are written to. Its later outcomes stay there."""
    return project.data / "sample"


def own_files(book: Book, given: Path | None) -> Path:
    """The path of the portfolio's own files, which do not come with the platform: `given`, or the folder of the
    portfolio in the folder that CREDIT_ASSETS_REAL_DATA names. Raises FileNotFoundError, which names their source."""
    if given and not given.exists():
        raise FileNotFoundError(f"There is no {given}.")
    if given is None and (folder := os.environ.get(REAL_DATA)):
        given = Path(folder) / book.name
    if given is None or not given.exists():
        where = f" Their source: {book.portfolio.source}." if book.portfolio.source else ""
        raise FileNotFoundError(
            f"The demo of {book.name} needs the portfolio's own files, which do not come with the platform.{where} "
            f"Pass them with --files, or put them into a folder {book.name} in the folder that ${REAL_DATA} names."
        )
    return given

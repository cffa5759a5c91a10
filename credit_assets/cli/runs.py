"""Commands that run a portfolio's jobs."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from credit_assets.cli.deliveries import deliver_batch, deliver_by_date
from credit_assets.cli.status_text import print_status
from credit_assets.cli.terminal import PortfolioName, app, console, in_project, progress, stop_if_failed
from credit_assets.registry.registry import Registry

if TYPE_CHECKING:
    from credit_assets.book.book import Book

FIRST_BATCH = "1"
"""The batch of files that are not split by date. It sorts before later batches, which are named after their dates."""


@app.command()
def run(portfolio: PortfolioName) -> None:
    """Run everything that is due: ingest batches, train a model if there is none, score."""
    with in_project() as project:
        from credit_assets.application.run import run_due

        outcomes = run_due(project, portfolio, progress)
        if not outcomes:
            console.print("Nothing is due.")
        stop_if_failed(outcomes)


@app.command()
def train(portfolio: PortfolioName) -> None:
    """Train a candidate on all known outcomes, recomputing features whose SQL has changed. The gate then decides."""
    with in_project() as project:
        Registry.of(project, portfolio).require()
        from credit_assets.application.train import train as make_candidate

        stop_if_failed(make_candidate(project, portfolio, progress))


@app.command()
def demo(
    portfolio: PortfolioName = "home_credit",
    source: Annotated[
        Path | None,
        typer.Option(
            "--files", help="The portfolio's files. The default is the folder $CREDIT_ASSETS_REAL_DATA/<portfolio>."
        ),
    ] = None,
) -> None:
    """Run the whole platform, on a synthetic lender or on a portfolio's own files, and print the results."""
    from credit_assets.book.book import Book

    source = source.resolve() if source else None
    with in_project() as project:
        from credit_assets.application import demo as stages

        book = Book.load(project, portfolio)
        synthetic = portfolio == stages.SYNTHETIC_BOOK and source is None

        def deliver() -> None:
            if synthetic:
                stages.deliver_synthetic(book, progress)
            else:
                deliver_own(book, stages.own_files(book, source))

        done = stages.demo(project, portfolio, deliver, progress)
        print_status(done.status)
        _print_stages(done.seconds)
        console.print("\nNext:\n  make dev\n      shows the results in the Dagster UI, at http://localhost:3000")
        if synthetic:
            later = stages.sample(project) / "outcomes" / stages.SHIFTED
            command, outcomes_folder = (shlex.quote(os.path.relpath(path)) for path in (sys.argv[0], later))
            console.print(
                f"  {command} deliver {outcomes_folder} --portfolio {portfolio} --batch {stages.SHIFTED}\n"
                "      delivers the outcomes of the newest batch, as they would arrive later; then `run` again",
            )
        stop_if_failed(done.outcomes)


def deliver_own(book: Book, source: Path) -> None:
    """Deliver the portfolio's own files, split by the date that its configuration names, or as one batch."""
    if split_by := book.portfolio.delivery.split_by:
        deliver_by_date(book, source, split_by)
    else:
        deliver_batch(book, source, FIRST_BATCH)


def _print_stages(stages: dict[str, float]) -> None:
    table = Table(title="Time per stage", title_justify="left")
    for name in (*stages, "total"):
        table.add_column(name, justify="right")
    table.add_row(*(f"{seconds:.1f} s" for seconds in (*stages.values(), sum(stages.values()))))
    console.print(table, soft_wrap=False)

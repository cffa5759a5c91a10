"""Commands that deliver files to the inbox, and withdraw them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from credit_assets.cli.terminal import PortfolioName, app, console, in_project, progress, refusals_in_one_line, stop
from credit_assets.plurals import number_of
from credit_assets.synthetic.scenarios import FIRST_APPLICANT, SCENARIOS

if TYPE_CHECKING:
    from credit_assets.book.book import Book
    from credit_assets.ingest.inbox import Delivery


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="The folder for the deliveries, one subfolder per batch.")],
    applicants: Annotated[int, typer.Option(help="The total number of applicants.")] = 10_000,
    batches: Annotated[int, typer.Option(help="The number of monthly deliveries.")] = 3,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files, byte for byte.")] = 7,
    unlabelled: Annotated[
        int, typer.Option(help="The number of newest batches whose outcomes are delivered later.")
    ] = 1,
    test_share: Annotated[
        float, typer.Option(help="The share of each batch without outcomes, as in Kaggle's test file.")
    ] = 0,
    first_batch: Annotated[str, typer.Option(help="The first month.")] = "2026-01",
    first_applicant: Annotated[
        int, typer.Option(help="The first SK_ID_CURR; a higher one continues an earlier sample.")
    ] = FIRST_APPLICANT,
    scenario: Annotated[
        list[str] | None, typer.Option(help=f"Drift in a batch, as 2026-03=NAME. NAME: {', '.join(SCENARIOS)}.")
    ] = None,
) -> None:
    """Write deliveries of a synthetic lender, in the format of Kaggle's Home Credit files."""
    from credit_assets.synthetic.lender import generate

    if odd := [item for item in scenario or [] if "=" not in item]:
        stop(f"--scenario must be BATCH=NAME, not {odd[0]}.")
    drift = dict(item.split("=", 1) for item in scenario or [])
    with refusals_in_one_line():
        try:
            made = generate(
                folder,
                applicants,
                batches,
                seed=seed,
                scenario=drift,
                first_batch=first_batch,
                unlabelled=unlabelled,
                test_share=test_share,
                first_applicant=first_applicant,
                progress=console.print,
            )
        except ValueError as error:
            stop(str(error))
    for path in made:
        console.print(f"{path}")


@app.command()
def deliver(
    source: Annotated[
        Path, typer.Argument(help="A file, or a folder or zip of files. Later outcomes are delivered in the same way.")
    ],
    portfolio: PortfolioName,
    batch: Annotated[str | None, typer.Option(help="The name of the batch; batches sort by name.")] = None,
    split_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Instead of --batch: split the files into batches by the date in this column."
        ),
    ] = None,
) -> None:
    """Deliver files to the inbox, as one batch or split into batches by a date."""
    from credit_assets.book.book import Book

    source = source.resolve()
    with in_project() as project:
        book = Book.load(project, portfolio)
        by = book.portfolio.delivery.split_by if batch is None and split_by is None else split_by
        if batch is not None and by is None:
            deliver_batch(book, source, batch)
        elif by is not None and batch is None:
            deliver_by_date(book, source, by)
        else:
            stop("Give either --batch NAME, or --split-by COLUMN to split the files by the date in that column.")


def deliver_batch(book: Book, source: Path, batch: str) -> None:
    """Deliver the files as one batch, and print the result."""
    from credit_assets.application import deliver

    done, unread = deliver.deliver_batch(book, source, batch)
    console.print(f"{_delivered(done)}: {number_of(len(done.files), 'file')} in {done.folder}")
    if unread:
        console.print(f"Ignored, because they belong to no table: {', '.join(unread)}", style="yellow")


def deliver_by_date(book: Book, source: Path, column: str) -> None:
    """Deliver the files split into batches by the date in the column, and print the results."""
    from credit_assets.application import deliver

    notes = deliver.deliver_by_date(
        book, source, column, lambda done, rows: console.print(f"{_delivered(done)}: {number_of(rows, 'row')}")
    )
    for reason, lines in notes.items():
        console.print(_skipped(reason, lines))


def _skipped(reason: str, lines: int) -> str:
    from credit_assets.ingest.csv_rows import EMPTY, HEADER

    skipped = f"Skipped {number_of(lines, 'line')}"
    if reason in (EMPTY, HEADER):
        return f"{skipped}: {reason}"
    return f"{skipped} that {'matches' if lines == 1 else 'match'} the pattern of notes {reason!r}"


def _delivered(done: Delivery) -> str:
    results = {
        "new": "is delivered",
        "replaced": "has replaced the earlier delivery",
        "added": "has received these outcomes",
        "unchanged": "was already delivered, with the same files",
    }
    return f"{done.portfolio} {done.batch} {results[done.change]}"


@app.command()
def withdraw(
    portfolio: PortfolioName,
    batch: Annotated[str, typer.Option(help="The batch to withdraw.")],
    outcomes: Annotated[
        bool, typer.Option("--outcomes", help="Withdraw only the newest outcomes file of the batch.")
    ] = False,
    why: Annotated[str, typer.Option(help="The reason, for the timeline.")] = "no reason given",
    force: Annotated[
        bool, typer.Option("--force", help="Withdraw even if the champion learned from the data.")
    ] = False,
) -> None:
    """Withdraw a delivery: remove its files from the inbox, and its rows from every table."""
    with in_project() as project:
        from credit_assets.application import withdrawal

        withdraw_data = withdrawal.withdraw_outcomes if outcomes else withdrawal.withdraw
        champion = withdraw_data(project, portfolio, batch, why=why, force=force, report=progress)
        console.print(f"{portfolio} {batch}{': the newest outcomes are' if outcomes else ' is'} withdrawn.")
        run_next = [f"  credit-assets run --portfolio {portfolio}"] if outcomes else []
        if champion is not None:
            console.print(f"The champion, version {champion}, learned from {'them' if outcomes else 'it'}.")
            run_next.append(f"  credit-assets train --portfolio {portfolio}")
        if run_next:
            console.print("\n".join(["\nNext:", *run_next]))

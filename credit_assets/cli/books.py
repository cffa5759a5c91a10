"""Commands about a portfolio's files: draft it, check it, and see where its features come from."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from credit_assets.cli.terminal import PortfolioName, app, console, in_project, stop
from credit_assets.plurals import are, number_of

if TYPE_CHECKING:
    from credit_assets.onboarding.guesses import GuessedBook


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The portfolio's name: lower-case letters, digits and _.")],
    files: Annotated[list[Path], typer.Argument(help="Its files: CSV, gzipped CSV, Parquet, zip, or folders of them.")],
    key: Annotated[
        str | None, typer.Option(help="The column that identifies an applicant, if it is not detected.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The column with the outcome of a loan, if it is not detected.")
    ] = None,
) -> None:
    """Read a lender's files and draft a portfolio from them, with each guess marked for confirmation."""
    from credit_assets.onboarding.new import new as draft

    paths = [file.resolve() for file in files]
    with in_project() as project:
        drafted = draft(project, name, paths, key, target)
        for path in drafted.files:
            console.print(f"Wrote {path.relative_to(project.root)}")
        console.print(f"Added {name} to workspace.yaml; {number_of(drafted.features, 'feature')}")
        for remark in drafted.book.remarks:
            console.print(remark, style="bold yellow")
        for unused in drafted.book.unused:
            console.print(f"NOT used: {unused.names} (rows cannot be joined to an applicant)", style="bold yellow")
        for table in drafted.book.without_features:
            message = f"NOT used: {table.files.names} (rows belong to {table.parent}; it only has a contract)"
            console.print(message, style="bold yellow")
        console.print("\nTo confirm: correct each line, then delete its mark.")
        for finding in drafted.to_confirm:
            console.print(f"  {finding}")
        if drafted.to_write:
            texts = number_of(len(drafted.to_write), "text")
            first = f" (`credit-assets check {name}` lists them). The first" if drafted.to_write[1:] else ""
            console.print(f"\nTo write: {texts} that a declined applicant may be given as a reason{first}:")
            console.print(f"  {drafted.to_write[0]}")
        console.print(f"\nNext:\n  credit-assets check {name}")
        for what, how in _deliveries(drafted.book, files):
            console.print(f"  credit-assets deliver {what} --portfolio {name} {how}")
        console.print(f"  credit-assets run --portfolio {name}")


def _deliveries(book: GuessedBook, given: Sequence[Path]) -> list[tuple[str, str]]:
    """The paths to deliver after `new`, each with the option for its batch: if the files of a single table are named
    after dates, each file is a batch; otherwise the one file or folder that contains all files, if there is one."""
    from credit_assets.ingest.file_names import is_hidden
    from credit_assets.onboarding.file_names import batches_of
    from credit_assets.onboarding.files import stem

    one_table = not book.children and not book.outcomes
    names = {part.path.name for table in (book.applications, *book.children) for part in table.files.parts}
    names |= {part.path.name for part in book.outcomes.parts} if book.outcomes else set()
    used = [file for file in given if file.name in names]
    batches = batches_of([stem(file) for file in used]) if {file.name for file in used} == names else None
    if one_table and len(used) > 1 and batches:
        return [(shlex.quote(str(file)), f"--batch {batch}") for batch, file in sorted(zip(batches, used, strict=True))]
    # Child tables have no date of the decision to split by.
    how = f"--split-by {shlex.quote(book.decided)}" if book.decided and not book.children else "--batch 2026-01"
    if len(given) == 1 or len(names) == len(used) == 1:
        return [(shlex.quote(str((used or given)[0])), how)]
    folder = used[0].parent if used else None
    if folder and {file.name for file in folder.iterdir() if not is_hidden(PurePath(file.name))} == names:
        return [(shlex.quote(str(folder)), how)]
    return [("FOLDER_OF_THESE_FILES", f"{how} # put these files, and no others, into one folder")]


@app.command()
def check(name: Annotated[str, typer.Argument(help="The portfolio: a file in configs/.")]) -> None:
    """Check a portfolio before it runs, and list every problem by file and line."""
    from credit_assets.onboarding.check import check as check_portfolio

    with in_project() as project:
        checked = check_portfolio(project, name)
        for finding in checked.findings:
            style = "red" if finding.error else "yellow"
            console.print(str(finding), style=style)
        if checked.errors:
            stop(f"{name} cannot run: fix {number_of(len(checked.errors), 'error')}.")
        guesses = (
            f"; {number_of(n, 'guess')} {are(n)} not confirmed: correct each line, then delete its mark"
            if (n := len(checked.guesses))
            else ""
        )
        book = f"configs/{name}.yaml, sql/{name}: {number_of(checked.features, 'feature')}"
        if checked.ready:
            console.print(f"{book}, ready{guesses}")
        else:
            effect = "nothing is scored until they are written" if checked.withheld else "a trial run is possible"
            texts = number_of(len(checked.drafts), "text")
            stop(f"{book}, not ready: write {texts} for declined applicants ({effect}){guesses}")


@app.command()
def lineage(
    column: Annotated[str, typer.Argument(help="A feature, or a raw column such as bureau.AMT_CREDIT_SUM.")],
    portfolio: PortfolioName,
) -> None:
    """List the raw columns behind a feature, or the features made from a raw column."""
    from credit_assets.application.lineage import made_from, origin
    from credit_assets.book.book import Book

    with in_project() as project:
        book = Book.load(project, portfolio)
        if found := origin(book, column):
            console.print(f"{found.feature}: {found.description}")
            for source in found.columns:
                console.print(f"  {source}")
            return
        features = made_from(book, column)
        if not features:
            stop(f"{column} is neither a feature of {portfolio} nor a raw column (TABLE.COLUMN) behind one.")
        for each in features:
            console.print(f"{each.feature}: {each.description}")

"""The `credit-assets` command: arguments in, words out. What it does is done elsewhere; dagster is loaded only
by the commands that need it."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, nullcontext, suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer
from dotenv import load_dotenv
from rich.console import Console
from rich.table import Table

from credit_assets.lake.disk import fault, readable
from credit_assets.models.availability import RegistryUnavailable, require
from credit_assets.plurals import are, number_of
from credit_assets.settings.portfolio import ConfigError, Portfolio
from credit_assets.settings.project import AlreadyRunning, Project
from credit_assets.synthetic.scenarios import FIRST_APPLICANT, SCENARIOS

if TYPE_CHECKING:
    from credit_assets.automation.runs import RunOutcome
    from credit_assets.book.book import Book
    from credit_assets.ingest.inbox import Delivery
    from credit_assets.onboarding.guesses import GuessedBook

DEMO_APPLICANTS = 10_000
DEMO_BATCHES = 3
DEMO_SHIFTED = "2026-03"
DEMO_SCENARIO = "younger_channel"
DEMO_BATCH = "1"
"""Of files that are not cut into vintages. Batches sort by name: those that come later are called for their dates."""
SYNTHETIC_BOOK = "home_credit"
REAL_DATA = "CREDIT_ASSETS_REAL_DATA"
ALERTS_SHOWN = 20
REFUSED_BY_GATE = 3
"""Exit code of a command whose candidate the promotion gate refused; 1 is a failure."""
SYNTHETIC = "SYNTHETIC DATA: these figures say nothing about real lending."

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
# One line a sentence, whatever the terminal's width, and square brackets as they are.
console = Console(highlight=False, markup=False, soft_wrap=True)

PortfolioName = Annotated[str, typer.Option("--portfolio", "-p", help="The portfolio: a file in configs/.")]


def main() -> None:
    """The command's entry: libraries' own chatter is kept from its terminal."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        app()
    except SystemExit as ended:
        if fault(ended, Path.cwd()) is None:
            raise
        # What libraries write at exit would fail as well, each with a traceback.
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(1)


@contextmanager
def in_project(reading: bool = False) -> Iterator[Project]:
    """The project around the working folder, with its .env read; what is wrong is printed in one line.

    A command that is only `reading` needs no right to write there.
    """
    with _users_to_mend():
        project = Project.find()
        load_dotenv(project.root / ".env")
        with readable(project) if reading else nullcontext(project) as at_hand, chdir(at_hand.root):
            # dagster.yaml names folders relative to the project, which is the working folder therefore.
            os.environ["DAGSTER_HOME"] = str(at_hand.root)
            yield at_hand


@contextmanager
def _users_to_mend() -> Iterator[None]:
    """Print what its user can mend in one line, and end the command."""
    try:
        yield
    except typer.Exit:
        raise
    except (AlreadyRunning, ConfigError, FileExistsError, FileNotFoundError, RegistryUnavailable) as error:
        _stop(fault(error, Path.cwd()) or str(error))
    except Exception as error:
        if _can_be_mended(error):
            _stop(fault(error, Path.cwd()) or str(error))
        if (words := fault(error, Path.cwd() / "data")) is None:
            raise
        _stop(words)


def _can_be_mended(error: Exception) -> bool:
    """Whether the user can mend it; anything else is a defect and shows where. Imported once something failed."""
    from credit_assets.book.queries import FeatureQueryError
    from credit_assets.features.contract import FeatureError
    from credit_assets.ingest.inbox import BadDelivery
    from credit_assets.lake.tables import TableMissing
    from credit_assets.onboarding.files import BookError
    from credit_assets.upkeep.backup import BackupError

    return isinstance(error, BackupError | BadDelivery | BookError | FeatureError | FeatureQueryError | TableMissing)


def _stop(words: str) -> None:
    console.print(words, style="red")
    raise typer.Exit(1)


def _stop_where_failed(outcomes: Sequence[RunOutcome]) -> None:
    refused = [outcome for outcome in outcomes if outcome.refused_by_gate]
    for outcome in refused:
        console.print(
            f"The candidate was not promoted: the promotion gate refused it. {'; '.join(outcome.errors)} The champion, "
            "if there is one, goes on deciding. Nothing failed: read the evaluation report. The next outcomes bring "
            "another candidate, and `credit-assets promote` overrides the gate.",
            style="yellow",
        )
    if failed := [outcome for outcome in outcomes if not outcome.success and not outcome.refused_by_gate]:
        _stop("\n".join(f"{_name(o)} failed: {'; '.join(o.errors) or f'see run {o.run_id}'}" for o in failed))
    if refused:
        raise typer.Exit(REFUSED_BY_GATE)


def _name(outcome: RunOutcome) -> str:
    return f"{outcome.job} {outcome.batch}" if outcome.batch else outcome.job


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Where the deliveries are written, a folder a batch.")],
    applicants: Annotated[int, typer.Option(help="Over all batches.")] = DEMO_APPLICANTS,
    batches: Annotated[int, typer.Option(help="Monthly deliveries.")] = DEMO_BATCHES,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files, byte for byte.")] = 7,
    unlabelled: Annotated[int, typer.Option(help="Newest batches whose outcomes are delivered later.")] = 1,
    test_share: Annotated[float, typer.Option(help="Share of a batch without outcomes, as in Kaggle's files.")] = 0,
    first_batch: Annotated[str, typer.Option(help="The first month.")] = "2026-01",
    first_applicant: Annotated[
        int, typer.Option(help="The first SK_ID_CURR; give a higher one to go on from an earlier sample.")
    ] = FIRST_APPLICANT,
    scenario: Annotated[
        list[str] | None, typer.Option(help=f"Drift in a batch, as 2026-03=NAME; NAME is {', '.join(SCENARIOS)}.")
    ] = None,
) -> None:
    """Write deliveries of a synthetic lender, in the format of Kaggle's Home Credit files."""
    from credit_assets.synthetic.lender import generate

    if odd := [item for item in scenario or [] if "=" not in item]:
        _stop(f"--scenario must be BATCH=NAME, not {odd[0]}")
    drift = dict(item.split("=", 1) for item in scenario or [])
    with _users_to_mend():
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
            _stop(str(error))
    for path in made:
        console.print(f"{path}")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The portfolio's name: small letters, digits and _.")],
    files: Annotated[list[Path], typer.Argument(help="Its files: CSV, gzipped CSV, Parquet, zip, or folders of them.")],
    key: Annotated[str | None, typer.Option(help="The column that names an applicant, where it is not found.")] = None,
    target: Annotated[str | None, typer.Option(help="The column that tells how a loan went, likewise.")] = None,
) -> None:
    """Read a lender's files and draft a portfolio from them, each guess marked to confirm."""
    from credit_assets.onboarding.new import new as draft

    there = [file.resolve() for file in files]
    with in_project() as project:
        drafted = draft(project, name, there, key, target)
        for path in drafted.files:
            console.print(f"{path.relative_to(project.root)} is written")
        console.print(f"workspace.yaml lists {name}; {number_of(drafted.features, 'feature')}")
        for remark in drafted.book.remarks:
            console.print(remark, style="bold yellow")
        for unused in drafted.book.unused:
            console.print(f"NOT used: {unused.names}, which nothing ties to an applicant", style="bold yellow")
        for table in drafted.book.idle:
            words = f"NOT used: {table.files.names}, whose rows belong to {table.parent} (it has a contract alone)"
            console.print(words, style="bold yellow")
        console.print("\nTo confirm: make each line right, then delete its mark.")
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
    """What to deliver after `new`, and the option that says as which batch: of files of one table that are named after
    dates, each as a batch; else the one file or folder that holds all, if there is one."""
    from credit_assets.ingest.inbox import is_hidden
    from credit_assets.onboarding.file_names import batches_of
    from credit_assets.onboarding.files import stem

    one_table = not book.children and not book.outcomes
    names = {part.path.name for table in (book.applications, *book.children) for part in table.files.parts}
    names |= {part.path.name for part in book.outcomes.parts} if book.outcomes else set()
    used = [file for file in given if file.name in names]
    batches = batches_of([stem(file) for file in used]) if {file.name for file in used} == names else None
    if one_table and len(used) > 1 and batches:
        return [(shlex.quote(str(file)), f"--batch {batch}") for batch, file in sorted(zip(batches, used, strict=True))]
    # Child tables hold no date of the decision to be cut by.
    how = f"--split-by {shlex.quote(book.decided)}" if book.decided and not book.children else "--batch 2026-01"
    if len(given) == 1 or len(names) == len(used) == 1:
        return [(shlex.quote(str((used or given)[0])), how)]
    folder = used[0].parent if used else None
    if folder and {file.name for file in folder.iterdir() if not is_hidden(PurePath(file.name))} == names:
        return [(shlex.quote(str(folder)), how)]
    return [("FOLDER_OF_THESE_FILES", f"{how} # put these files, and no others, into one folder")]


@app.command()
def check(name: Annotated[str, typer.Argument(help="The portfolio: a file in configs/.")]) -> None:
    """List all that is wrong with a portfolio, by file and line, before anything of it runs."""
    from credit_assets.onboarding.check import check as look_over

    with in_project() as project:
        checked = look_over(project, name)
        for finding in checked.findings:
            style = "red" if finding.error else "yellow"
            console.print(str(finding), style=style)
        if checked.errors:
            _stop(f"{len(checked.errors)} to mend before {name} can run.")
        guesses = (
            f"; {number_of(n, 'guess')} {are(n)} not confirmed: make each right, then delete its mark"
            if (n := len(checked.guesses))
            else ""
        )
        book = f"configs/{name}.yaml, sql/{name}: {number_of(checked.features, 'feature')}"
        if checked.ready:
            console.print(f"{book}, ready{guesses}")
        else:
            effect = "no scores are given until they are written" if checked.withheld else "a trial run can be made"
            texts = number_of(len(checked.drafts), "text")
            _stop(f"{book}, not ready: {texts} for declined applicants to write ({effect}){guesses}")


@app.command()
def deliver(
    source: Annotated[Path, typer.Argument(help="A file, or a folder or zip of files; or later outcomes.")],
    portfolio: PortfolioName,
    batch: Annotated[str | None, typer.Option(help="The batch's name; batches sort by it.")] = None,
    split_by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Instead: cut the files into batches by this column's date.")
    ] = None,
) -> None:
    """Put files into the inbox as a batch, whole or not at all; or, by a date in them, as many batches."""
    from credit_assets.book.book import Book

    source = source.resolve()
    with in_project() as project:
        book = Book.load(project, portfolio)
        by = book.portfolio.delivery.split_by if batch is None and split_by is None else split_by
        if batch is not None and by is None:
            _deliver_batch(project, book, source, batch)
        elif by is not None and batch is None:
            _deliver_vintages(project, book, source, by)
        else:
            _stop("Give either --batch NAME, or --split-by COLUMN with a date to cut the files by.")


def _deliver_batch(project: Project, book: Book, source: Path, batch: str) -> None:
    from credit_assets.ingest.headers import check_files
    from credit_assets.ingest.inbox import Inbox

    unknown: list[str] = []
    done = Inbox(project.inbox).deliver(
        source, book.name, batch, lambda files: unknown.extend(check_files(files, book, source))
    )
    console.print(f"{_delivered(done)}: {number_of(len(done.files), 'file')} in {done.folder}")
    if unknown:
        console.print(f"Not read, as of no table: {', '.join(unknown)}", style="yellow")


def _deliver_vintages(project: Project, book: Book, source: Path, split_by: str) -> None:
    from credit_assets.ingest.inbox import Inbox
    from credit_assets.ingest.split_by_date import cut_up

    inbox = Inbox(project.inbox)
    with cut_up(source, book, split_by, inbox) as parts:
        for part in parts.vintages:
            done = inbox.deliver(part.folder, book.name, part.batch)
            console.print(f"{_delivered(done)}: {number_of(part.rows, 'row')}")
    for pattern, lines in parts.notes.items():
        console.print(f"Passed over as no rows: {lines:,} x {pattern}")


def _delivered(done: Delivery) -> str:
    words = {
        "new": "is there",
        "replaced": "has replaced the earlier delivery",
        "added": "has these outcomes beside what it had",
        "unchanged": "was there already",
    }
    return f"{done.portfolio} {done.batch} {words[done.change]}"


@app.command()
def withdraw(
    portfolio: PortfolioName,
    batch: Annotated[str, typer.Option(help="The batch that was a mistake.")],
    outcomes: Annotated[
        bool, typer.Option("--outcomes", help="Take back only the file of outcomes that came last for the batch.")
    ] = False,
    why: Annotated[str, typer.Option(help="The reason, for the timeline.")] = "no reason given",
    force: Annotated[
        bool, typer.Option("--force", help="Even if the champion learned from what is withdrawn.")
    ] = False,
) -> None:
    """Take a delivery back that was a mistake: from the inbox, and its rows from every table."""
    with in_project() as project:
        from credit_assets.application import withdrawal

        take_back = withdrawal.withdraw_outcomes if outcomes else withdrawal.withdraw
        champion = take_back(project, portfolio, batch, why=why, force=force, report=_progress)
        console.print(f"{portfolio} {batch}{': its last outcomes are' if outcomes else ' is'} withdrawn.")
        run_next = [f"  credit-assets run --portfolio {portfolio}"] if outcomes else []
        if champion is not None:
            console.print(f"Version {champion}, the champion, learned from {'them' if outcomes else 'it'}.")
            run_next.append(f"  credit-assets train --portfolio {portfolio}")
        if run_next:
            console.print("\n".join(["\nNext:", *run_next]))


@app.command()
def run(portfolio: PortfolioName) -> None:
    """Make everything that is due: batches not ingested, a model where there is none, scores."""
    with in_project() as project:
        from credit_assets.application.commands import run_outstanding

        outcomes = run_outstanding(project, portfolio, _progress)
        if not outcomes:
            console.print("Nothing is due.")
        _stop_where_failed(outcomes)


@app.command()
def train(portfolio: PortfolioName) -> None:
    """Train on all known outcomes, on features made again where their SQL has changed; the gate decides."""
    with in_project() as project:
        require(project.tracking_uri)
        from credit_assets.application.commands import train as make_candidate

        _stop_where_failed(make_candidate(project, portfolio, _progress))


@app.command()
def rollback(
    portfolio: PortfolioName,
    to: Annotated[int | None, typer.Option(min=1, help="The version; by itself, the one that decided before.")] = None,
    why: Annotated[str, typer.Option(help="The reason, for the history of champions.")] = "",
) -> None:
    """Make an earlier champion decide again. Scores already given do not change."""
    with in_project() as project:
        Portfolio.load(project, portfolio)
        require(project.tracking_uri)
        from credit_assets.application.commands import roll_back

        _stop_where_failed([roll_back(project, portfolio, to, why, _progress)])


@app.command()
def promote(
    portfolio: PortfolioName,
    version: Annotated[int, typer.Option(min=1, help="Any registered version.")],
    why: Annotated[str, typer.Option(help="The reason, for the history of champions and the alerts.")],
    by: Annotated[str, typer.Option(metavar="NAME", help="Who approves; by itself, the user of this machine.")] = "",
) -> None:
    """Promote a version by hand, whatever the gate said of it: an override, approved as `promotion.approvals` asks."""
    with in_project() as project:
        Portfolio.load(project, portfolio)
        require(project.tracking_uri)
        from credit_assets.application.commands import promote as promote_by_hand
        from credit_assets.models.registry import PromotionRefused, RegistryError

        try:
            outcome = promote_by_hand(project, portfolio, version, by or getpass.getuser(), why, _progress)
        except (PromotionRefused, RegistryError) as error:
            _stop(str(error))
        else:
            _stop_where_failed([outcome] if outcome else [])


@app.command()
def status(
    portfolio: PortfolioName,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show the batches and their rows, the champion and its metrics, and the latest check results."""
    with in_project(reading=True) as project:
        require(project.tracking_uri)
        from credit_assets.application.commands import status as how_it_stands

        told = how_it_stands(project, portfolio)
        if as_json:
            print(json.dumps(told, indent=2))
        else:
            _print_status(told)


@app.command()
def backup(archive: Annotated[Path, typer.Argument(help="The file to write, outside of data/.")]) -> None:
    """Save data, configuration and SQL in one archive, while services run. Secrets (.env) are not in it."""
    from credit_assets.upkeep.backup import backup as save

    archive = archive.absolute()
    with in_project() as project:
        done = save(project, archive)
        console.print(f"{done.archive} holds {number_of(done.files, 'file')}, {done.size / 1e6:,.1f} MB")
        _print_left_out(done.left_out)


@app.command()
def restore(
    archive: Annotated[Path, typer.Argument(help="What `backup` wrote.")],
    folder: Annotated[Path, typer.Argument(help="The project's folder, here or elsewhere: new, or empty.")],
) -> None:
    """Put a saved project in place, every file held against its checksum."""
    from credit_assets.upkeep.backup import restore as put_back

    with _users_to_mend():
        done = put_back(archive, folder)
    console.print(
        f"{done.project.root} is the project as of {done.made_at}, saved by release {done.code_version}: "
        f"{number_of(done.files, 'file')}. Next: make its .env (see .env.example), then start its services.",
    )
    _print_left_out(done.left_out)


def _print_left_out(left_out: Sequence[str]) -> None:
    for words in left_out:
        console.print(f"NOT in it: {words}", style="bold yellow")


@app.command()
def alerts(
    portfolio: PortfolioName,
    test: Annotated[bool, typer.Option("--test", help="Send a test alert over every configured channel.")] = False,
) -> None:
    """List recent alerts and their delivery status by channel."""
    with in_project(reading=True) as project:
        from credit_assets.alerts.channels import try_each
        from credit_assets.alerts.outbox import Outbox

        config = Portfolio.load(project, portfolio).alerts
        if not config.channels:
            console.print("No channel is configured under `alerts:`; nothing is sent.")
        if test:
            came_of_it = try_each(portfolio, config, os.environ, time.time())
            for channel, words in came_of_it.items():
                console.print(f"{channel}: {words}")
            if any(not words.startswith("sent") for words in came_of_it.values()):
                raise typer.Exit(1)
            return
        with Outbox(project, portfolio, config) as outbox:
            entries = outbox.newest(ALERTS_SHOWN)
        for entry in entries:
            alert, became = entry.alert, "; ".join(f"{name} {words}" for name, words in entry.deliveries.items())
            console.print(
                f"{alert.since:%Y-%m-%d %H:%M} {alert.severity:<7} {alert.title} ({alert.where}) {alert.link}\n"
                f"    {became or ('told before' if entry.repeats else 'not sent')}",
            )
        if not entries:
            console.print("No alerts.")


@app.command()
def lineage(
    column: Annotated[str, typer.Argument(help="A feature, or a raw column such as bureau.AMT_CREDIT_SUM.")],
    portfolio: PortfolioName,
) -> None:
    """List the raw columns that a feature comes from, or the features that a raw column goes into."""
    from credit_assets.book.book import Book

    with in_project() as project:
        book = Book.load(project, portfolio)
        origins, words = book.raw_lineage["features"], book.queries["features"].words
        if column in words:
            console.print(f"{column}: {words[column]}")
            for table, name in origins[column]:
                console.print(f"  {table}.{name}")
            return
        made = [feature for feature in words if column in {f"{t}.{n}" for t, n in origins[feature]}]
        if not made:
            _stop(f"{column} is neither a feature of {portfolio} nor a raw column (TABLE.COLUMN) behind one.")
        for feature in made:
            console.print(f"{feature}: {words[feature]}")


@app.command()
def demo(
    portfolio: PortfolioName = SYNTHETIC_BOOK,
    source: Annotated[
        Path | None,
        typer.Option("--files", help=f"A file or folder of the book's own; by itself ${REAL_DATA}/<portfolio>."),
    ] = None,
) -> None:
    """Run the whole platform on a book, and tell what came out: on a synthetic lender, or on a book's own files."""
    from credit_assets.book.book import Book

    source = source.resolve() if source else None
    with in_project() as project:
        from credit_assets.application.commands import run_outstanding
        from credit_assets.application.commands import status as how_it_stands

        book = Book.load(project, portfolio)
        began = time.monotonic()
        if synthetic := portfolio == SYNTHETIC_BOOK and source is None:
            _deliver_synthetic(project, book)
        else:
            _deliver_own(project, book, source)
        stages = {"deliveries": time.monotonic() - began}
        outcomes = run_outstanding(project, portfolio, _progress)
        for outcome in outcomes:
            stages[outcome.job] = stages.get(outcome.job, 0.0) + outcome.seconds
        _print_status(how_it_stands(project, portfolio))
        _print_stages(stages)
        console.print("\nNext:\n  make dev\n      the same in the Dagster UI, on http://localhost:3000")
        if synthetic:
            later = project.data / "sample" / "outcomes" / DEMO_SHIFTED
            command, outcomes_folder = (shlex.quote(os.path.relpath(path)) for path in (sys.argv[0], later))
            console.print(
                f"  {command} deliver {outcomes_folder} --portfolio {portfolio} --batch {DEMO_SHIFTED}\n"
                "      the outcomes of the newest batch, as they would arrive later; then `run` again",
            )
        _stop_where_failed(outcomes)


def _deliver_synthetic(project: Project, book: Book) -> None:
    """The synthetic lender's batches, into an inbox that holds no others."""
    from credit_assets.ingest.inbox import MARKER, Inbox
    from credit_assets.synthetic.lender import generate

    inbox = Inbox(project.inbox)
    if real := [b for b in inbox.batches(book.name) if not (inbox.folder(book.name, b) / MARKER).exists()]:
        _stop(f"The inbox holds deliveries that are not synthetic ({', '.join(real)}); demo in an empty project.")
    folder = project.data / "sample"
    console.print(f"Generating {DEMO_APPLICANTS:,} synthetic applicants in {DEMO_BATCHES} monthly batches")
    for path in generate(folder, DEMO_APPLICANTS, DEMO_BATCHES, scenario={DEMO_SHIFTED: DEMO_SCENARIO}):
        inbox.deliver(path, book.name, path.name)
        shutil.rmtree(path)


def _deliver_own(project: Project, book: Book, source: Path | None) -> None:
    """The book's files, as the vintages that its configuration cuts them into, or as one batch."""
    if source and not source.exists():
        _stop(f"There is no {source}.")
    if source is None and (folder := os.environ.get(REAL_DATA)):
        source = Path(folder) / book.name
    if source is None or not source.exists():
        where = f" Where they come from: {book.portfolio.source}." if book.portfolio.source else ""
        _stop(
            f"The demo of {book.name} runs on the book's own files, which do not come with the platform.{where} "
            f"Give them by --files, or as the folder {book.name} of a folder that ${REAL_DATA} names."
        )
    assert source is not None
    if split_by := book.portfolio.delivery.split_by:
        _deliver_vintages(project, book, source, split_by)
    else:
        _deliver_batch(project, book, source, DEMO_BATCH)


def _progress(line: str) -> None:
    console.print(line)


def _batches_table(told: dict[str, Any]) -> Table:
    """The batches, a line each. On a narrow terminal headers and texts wrap; batch names and figures stay whole."""
    lines = [
        {
            "batch": batch["batch"],
            "applicants": _count(batch["applicants"]),
            "outcomes": _count(batch["outcomes_known"]),
            "approved": _share(batch["approval_rate"]),
            "mean PD": _share(batch["mean_pd"]),
            "default rate": _share(batch["default_rate"]) + (" early" if batch["early"] else ""),
            "AUC": _decimals(batch["auc"]),
            "score drift": f"{batch['score_drift'] or ''} {_decimals(batch['score_psi'])}".strip(),
            "feature drift": _with_standing(batch["feature_drift"], batch["standing"]),
        }
        for batch in told["batches"]
    ]
    table = Table(title=f"{told['title']} ({told['portfolio']})", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for column in lines[0] if lines else ():
        text = column.endswith("drift")
        # A text may wrap at each of its words, a figure nowhere.
        whole = [
            *column.split(),
            *(part for line in lines for part in (line[column].split() if text else [line[column]])),
        ]
        table.add_column(
            column,
            justify="left" if text or column == "batch" else "right",
            min_width=max(map(len, whole)),
            header_style="bold underline",
        )
    for line in lines:
        table.add_row(*line.values())
    return table


def _print_status(told: dict[str, Any]) -> None:
    """The status as tables: batches, champion, checks, what is due."""
    if any(batch["synthetic"] for batch in told["batches"]):
        console.print(f"\n{SYNTHETIC}", style="bold yellow")
    console.print(_batches_table(told), soft_wrap=False)
    champion = told["champion"]
    if champion and "auc" not in champion["metrics"]:
        console.print(f"Champion: version {champion['version']}, not evaluated, cut-off {champion['cut_off']:.1%}")
    elif champion:
        metrics = champion["metrics"]
        airs = [f"{name.replace('_', ' ')} {air:.2f}" for name, air in champion["air"].items() if "_x_" not in name]
        if airs:
            fairness = f"AIR {', '.join(airs)}"
        elif champion["protected"]:
            fairness = "AIR not known: of no protected attribute two groups are large enough"
        else:
            fairness = "no protected attribute is named in the configuration, so that fairness was not audited"
        console.print(
            f"Champion: version {champion['version']}, AUC {metrics['auc']:.3f} "
            f"({metrics['auc_low']:.3f} to {metrics['auc_high']:.3f}) "
            f"on {number_of(int(metrics['applicants']), 'test row')}, "
            f"KS {metrics['ks']:.3f}, ECE {metrics['ece']:.4f}, cut-off {champion['cut_off']:.1%}; " + fairness,
        )
    else:
        console.print("No champion yet.")
    if failed := [check for check in told["checks"] if not check["passed"]]:
        console.print(f"{number_of(len(told['checks']), 'check')}, of which failed when last evaluated:")
        for check in failed:
            batch = f" {check['batch']}" if check["batch"] else ""
            of = f" of version {check['candidate_version']}" if check["candidate_version"] else ""
            console.print(f"  {check['severity']:<5} {check['asset']}.{check['check']}{batch}{of}: {check['words']}")
    else:
        console.print(f"{number_of(len(told['checks']), 'check')}; none failed when last evaluated.")
    for due in told["outstanding"]:
        failure = f"; {due['failure']}" if due["failure"] else ""
        state = "Refused until it changes" if due["refused"] else "Due"
        console.print(f"{state}: {due['job']} {due['batch'] or ''} ({due['why']}){failure}")
    if other := told["features_of_other_sql"]:
        console.print(
            f"SQL has changed since the features of {', '.join(sorted(other))} were made ({other[max(other)]}). "
            f"`credit-assets train --portfolio {told['portfolio']}` makes them again and trains.",
        )


def _print_stages(stages: dict[str, float]) -> None:
    table = Table(title="Time a stage", title_justify="left")
    for name in (*stages, "all"):
        table.add_column(name, justify="right")
    table.add_row(*(f"{seconds:.1f} s" for seconds in (*stages.values(), sum(stages.values()))))
    console.print(table, soft_wrap=False)


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _decimals(number: float | None) -> str:
    return "" if number is None else f"{number:.3f}"


def _with_standing(verdict: str | None, standing: str | None) -> str:
    """The verdict, and why it raises no alarm where that is so."""
    why = {"learned": "learned from", "tested": "tested on", "older": "older than the training"}
    return f"{verdict or ''}, {why[standing]}" if standing in why and verdict == "shifted" else verdict or ""


def _share(number: float | None) -> str:
    return "" if number is None else f"{number:.1%}"

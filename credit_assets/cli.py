"""The `credit-assets` command: arguments in, words out. What it does is done elsewhere; dagster is loaded only
by the commands that need it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from dotenv import load_dotenv
from rich.console import Console
from rich.table import Table

from credit_assets.backup import BackupError
from credit_assets.backup import backup as save
from credit_assets.backup import restore as put_back
from credit_assets.features.contract import FeatureError
from credit_assets.features.queries import FeatureQueryError, load, raw_lineage
from credit_assets.features.queries import lineage as lineage_of
from credit_assets.lake.contracts import column_types
from credit_assets.lake.tables import TableMissing
from credit_assets.portfolio import ConfigError, Portfolio
from credit_assets.project import AlreadyRunning, Project
from credit_assets.raw.delivery import BadDelivery, Inbox
from credit_assets.raw.sample import FIRST_APPLICANT, MARKER, SCENARIOS, generate

if TYPE_CHECKING:
    from credit_assets.automation.runs import RunOutcome

DEMO_APPLICANTS = 10_000
DEMO_BATCHES = 3
DEMO_SCENARIO = "younger_channel"
ALERTS_SHOWN = 20
SYNTHETIC = "SYNTHETIC DATA: these figures say nothing about real lending."

# What its user can mend, said in a line; anything else is a defect and shows where.
USERS_TO_MEND = (
    AlreadyRunning,
    BackupError,
    BadDelivery,
    ConfigError,
    FeatureError,
    FeatureQueryError,
    FileExistsError,
    FileNotFoundError,
    TableMissing,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False)

PortfolioName = Annotated[str, typer.Option("--portfolio", "-p", help="The portfolio: a file in configs/.")]


def main() -> None:
    """The command's entry: libraries' own chatter is kept from its terminal."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    app()


@contextmanager
def in_project() -> Iterator[Project]:
    """The project around the working folder, with its .env read; what is wrong is said in one line."""
    try:
        project = Project.find()
        load_dotenv(project.root / ".env")
        os.environ["DAGSTER_HOME"] = str(project.root)
        # dagster.yaml names folders relative to the project.
        os.chdir(project.root)
        yield project
    except USERS_TO_MEND as error:
        _stop(str(error))


def _stop(words: str) -> None:
    console.print(words, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)


def _stop_where_failed(outcomes: Sequence[RunOutcome]) -> None:
    if failed := [outcome for outcome in outcomes if not outcome.success]:
        _stop("\n".join(f"{o.job} {o.batch or ''} failed: {'; '.join(o.errors) or 'see the run'}" for o in failed))


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
    if odd := [item for item in scenario or [] if "=" not in item]:
        _stop(f"--scenario must be BATCH=NAME, not {odd[0]}")
    try:
        drift = dict(item.split("=", 1) for item in scenario or [])
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
    except (ValueError, FileExistsError) as error:
        _stop(str(error))
    for path in made:
        console.print(f"{path}")


@app.command()
def deliver(
    folder: Annotated[Path, typer.Argument(help="A folder or zip with the files of one batch, or later outcomes.")],
    portfolio: PortfolioName,
    batch: Annotated[str, typer.Option(help="The batch's name; batches sort by it.")],
) -> None:
    """Put a folder of files into the inbox, whole or not at all."""
    folder = folder.resolve()
    with in_project() as project:
        Portfolio.load(project, portfolio)
        done = Inbox(project.inbox).deliver(folder, portfolio, batch)
        words = {
            "new": "is there",
            "replaced": "has replaced the earlier delivery",
            "added": "has these outcomes beside what it had",
            "unchanged": "was there already",
        }
        console.print(f"{portfolio} {batch} {words[done.change]}: {len(done.files)} files in {done.folder}")


@app.command()
def run(portfolio: PortfolioName) -> None:
    """Make everything that is due: batches not ingested, a model where there is none, scores."""
    with in_project() as project:
        from credit_assets.automation.commands import run_outstanding

        outcomes = run_outstanding(project, portfolio, _progress)
        if not outcomes:
            console.print("Nothing is due.")
        _stop_where_failed(outcomes)


@app.command()
def rollback(
    portfolio: PortfolioName,
    to: Annotated[int | None, typer.Option(min=1, help="The version; by itself, the one that decided before.")] = None,
    why: Annotated[str, typer.Option(help="The reason, for the history of champions.")] = "",
) -> None:
    """Have an earlier champion decide again. Scores that were given stay as they are."""
    with in_project() as project:
        Portfolio.load(project, portfolio)
        from credit_assets.automation.commands import roll_back

        _stop_where_failed([roll_back(project, portfolio, to, why, _progress)])


@app.command()
def status(
    portfolio: PortfolioName,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Tell the batches and their rows, the champion and its metrics, and the latest checks."""
    with in_project() as project:
        from credit_assets.automation.commands import status as how_it_stands

        told = how_it_stands(project, portfolio)
        if as_json:
            print(json.dumps(told, indent=2))
        else:
            _print_status(told)


@app.command()
def backup(archive: Annotated[Path, typer.Argument(help="The file to write, outside of data/.")]) -> None:
    """Save data, configuration and SQL in one archive, while services run. Secrets (.env) are not in it."""
    archive = archive.absolute()
    with in_project() as project:
        done = save(project, archive)
        console.print(f"{done.archive} holds {done.files:,} files, {done.size / 1e6:,.1f} MB", soft_wrap=True)
        _print_left_out(done.left_out)


@app.command()
def restore(
    archive: Annotated[Path, typer.Argument(help="What `backup` wrote.")],
    folder: Annotated[Path, typer.Argument(help="The project's folder, here or elsewhere: new, or empty.")],
) -> None:
    """Put a saved project in place, every file held against its checksum."""
    try:
        done = put_back(archive, folder)
    except BackupError as error:
        _stop(str(error))
    console.print(
        f"{done.project.root} is the project as of {done.made_at}, saved by release {done.code_version}: "
        f"{done.files:,} files. Next: make its .env (see .env.example), then start its services.",
        soft_wrap=True,
    )
    _print_left_out(done.left_out)


def _print_left_out(left_out: Sequence[str]) -> None:
    for words in left_out:
        console.print(f"NOT in it: {words}", style="bold yellow", markup=False, soft_wrap=True)


@app.command()
def alerts(
    portfolio: PortfolioName,
    test: Annotated[bool, typer.Option("--test", help="Send a test alert over every configured channel.")] = False,
) -> None:
    """Tell the newest alerts and what became of each by channel."""
    with in_project() as project:
        from credit_assets.automation.channels import try_each
        from credit_assets.automation.outbox import Outbox

        config = Portfolio.load(project, portfolio).alerts
        if not config.channels:
            console.print("No channel is configured under `alerts:`; nothing is sent.")
        if test:
            came_of_it = try_each(portfolio, config, os.environ, time.time())
            for channel, words in came_of_it.items():
                console.print(f"{channel}: {words}", markup=False, soft_wrap=True)
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
                markup=False,
                soft_wrap=True,
            )
        if not entries:
            console.print("No alerts.")


@app.command()
def lineage(
    column: Annotated[str, typer.Argument(help="A feature, or a raw column such as bureau.AMT_CREDIT_SUM.")],
    portfolio: PortfolioName,
) -> None:
    """Tell which raw columns a feature comes from, or which features a raw column goes into."""
    with in_project() as project:
        book = Portfolio.load(project, portfolio)
        queries = load(project.sql(portfolio), book.models)
        schemas = {table: column_types(model) for table, model in book.models.items()}
        roots = raw_lineage(lineage_of(queries, schemas))
        origins, words = roots["features"], queries["features"].words
        if column in words:
            console.print(f"{column}: {words[column]}", soft_wrap=True)
            for table, name in origins[column]:
                console.print(f"  {table}.{name}")
            return
        made = [feature for feature in words if column in {f"{t}.{n}" for t, n in origins[feature]}]
        if not made:
            _stop(f"{column} is neither a feature of {portfolio} nor a raw column (TABLE.COLUMN) behind one.")
        for feature in made:
            console.print(f"{feature}: {words[feature]}", soft_wrap=True)


@app.command()
def demo(portfolio: PortfolioName = "home_credit") -> None:
    """Generate a synthetic lender, run the whole platform on it, and tell what came out."""
    with in_project() as project:
        from credit_assets.automation.commands import run_outstanding
        from credit_assets.automation.commands import status as how_it_stands

        if portfolio != "home_credit":
            _stop("The synthetic lender is a home_credit book; the demo runs on that portfolio.")
        inbox = Inbox(project.inbox)
        if real := [b for b in inbox.batches(portfolio) if not (inbox.folder(portfolio, b) / MARKER).exists()]:
            _stop(f"The inbox holds deliveries that are not synthetic ({', '.join(real)}); demo in an empty project.")
        folder = project.data / "sample"
        began = time.monotonic()
        console.print(f"Generating {DEMO_APPLICANTS:,} synthetic applicants in {DEMO_BATCHES} monthly batches")
        paths = generate(folder, DEMO_APPLICANTS, DEMO_BATCHES, scenario={"2026-03": DEMO_SCENARIO})
        for path in paths:
            inbox.deliver(path, portfolio, path.name)
            shutil.rmtree(path)
        stages = {"sample": time.monotonic() - began}
        outcomes = run_outstanding(project, portfolio, _progress)
        for outcome in outcomes:
            stages[outcome.job] = stages.get(outcome.job, 0.0) + outcome.seconds
        _print_status(how_it_stands(project, portfolio))
        _print_stages(stages)
        command = os.path.relpath(sys.argv[0])
        console.print("\nNext:\n  make dev\n      the same in the Dagster UI, on http://localhost:3000", soft_wrap=True)
        console.print(
            f"  {command} deliver {os.path.relpath(folder)}/outcomes/2026-03 --portfolio {portfolio} --batch 2026-03\n"
            "      the outcomes of the newest batch, as they would arrive later; then `run` again",
            soft_wrap=True,
        )
        _stop_where_failed(outcomes)


def _progress(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _print_status(told: dict[str, Any]) -> None:
    """The status as tables: batches, champion, checks, what is due."""
    if any(batch["synthetic"] for batch in told["batches"]):
        console.print(f"\n{SYNTHETIC}", style="bold yellow")
    table = Table(title=f"{told['title']} ({told['portfolio']})", title_justify="left")
    for column in ("batch", "applicants", "rows", "outcomes", "approved", "score PSI", "score drift"):
        table.add_column(column, justify="left" if column in ("batch", "score drift") else "right")
    for batch in told["batches"]:
        table.add_row(
            batch["batch"],
            _count(batch["applicants"]),
            _count(sum(batch["raw_rows"].values())),
            _count(batch["outcomes_known"]),
            _share(batch["approval_rate"]),
            "" if batch["score_psi"] is None else f"{batch['score_psi']:.3f}",
            batch["drift"] or "",
        )
    console.print(table)
    champion = told["champion"]
    if champion and "auc" not in champion["metrics"]:
        console.print(f"Champion: version {champion['version']}, not evaluated, cut-off {champion['cut_off']:.1%}")
    elif champion:
        metrics = champion["metrics"]
        console.print(
            f"Champion: version {champion['version']}, AUC {metrics['auc']:.3f} "
            f"({metrics['auc_low']:.3f} to {metrics['auc_high']:.3f}) on {metrics['applicants']:,.0f} test rows, "
            f"KS {metrics['ks']:.3f}, ECE {metrics['ece']:.4f}, cut-off {champion['cut_off']:.1%}; "
            + "AIR "
            + ", ".join(
                f"{name.replace('_', ' ')} {air:.2f}" for name, air in champion["air"].items() if "_x_" not in name
            ),
            soft_wrap=True,
        )
    else:
        console.print("No champion yet.")
    if failed := [check for check in told["checks"] if not check["passed"]]:
        console.print(f"{len(told['checks'])} checks, of which failed at their latest look:")
        for check in failed:
            batch = f" {check['batch']}" if check["batch"] else ""
            console.print(
                f"  {check['severity']:<5} {check['asset']}.{check['check']}{batch}: {check['words']}",
                markup=False,
                soft_wrap=True,
            )
    else:
        console.print(f"{len(told['checks'])} checks, none failed at its latest look.")
    for due in told["outstanding"]:
        console.print(f"Due: {due['job']} {due['batch'] or ''} ({due['why']})", soft_wrap=True)


def _print_stages(stages: dict[str, float]) -> None:
    table = Table(title="Time a stage", title_justify="left")
    for name in (*stages, "all"):
        table.add_column(name, justify="right")
    table.add_row(*(f"{seconds:.1f} s" for seconds in (*stages.values(), sum(stages.values()))))
    console.print(table)


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _share(number: float | None) -> str:
    return "" if number is None else f"{number:.1%}"

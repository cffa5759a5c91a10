"""What every command shares: the terminal, the project around the working folder, and how an error ends a command."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from dotenv import load_dotenv
from rich.console import Console

from credit_assets.lake.disk import fault, readable
from credit_assets.registry.availability import RegistryUnavailable
from credit_assets.settings.portfolio import ConfigError
from credit_assets.settings.project import AlreadyRunning, Project

if TYPE_CHECKING:
    from credit_assets.automation.runs import RunOutcome

REFUSED_BY_GATE = 3
"""Exit code of a command whose candidate the promotion gate refused; 1 is a failure."""

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
    finally:
        # Else Python looks for garbage once more among all that was imported, which takes a second.
        gc.freeze()


@contextmanager
def in_project(reading: bool = False) -> Iterator[Project]:
    """The project around the working folder, with its .env read; what is wrong is printed in one line.

    A command that is only `reading` needs no right to write there, and ends before there is garbage worth a collection.
    """
    with _without_collections() if reading else nullcontext(), refusals_in_one_line():
        project = Project.find()
        load_dotenv(project.root / ".env")
        with readable(project) if reading else nullcontext(project) as at_hand, chdir(at_hand.root):
            # dagster.yaml names folders relative to the project, which is the working folder therefore.
            os.environ["DAGSTER_HOME"] = str(at_hand.root)
            yield at_hand


@contextmanager
def _without_collections() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def refusals_in_one_line() -> Iterator[None]:
    """Print an error that the user can mend in one line, and end the command."""
    try:
        yield
    except typer.Exit:
        raise
    except (AlreadyRunning, ConfigError, FileExistsError, FileNotFoundError, RegistryUnavailable) as error:
        stop(fault(error, Path.cwd()) or str(error))
    except Exception as error:
        if _can_be_mended(error):
            stop(fault(error, Path.cwd()) or str(error))
        if (words := fault(error, Path.cwd() / "data")) is None:
            raise
        stop(words)


def _can_be_mended(error: Exception) -> bool:
    """Whether the user can mend it; anything else is a defect and shows where. Imported once something failed."""
    from credit_assets.book.queries import FeatureQueryError
    from credit_assets.features.contract import FeatureError
    from credit_assets.ingest.bad_delivery import BadDelivery
    from credit_assets.lake.tables import TableMissing
    from credit_assets.onboarding.files import BookError
    from credit_assets.upkeep.backup import BackupError

    return isinstance(error, BackupError | BadDelivery | BookError | FeatureError | FeatureQueryError | TableMissing)


def stop(message: str) -> NoReturn:
    """Print the message and end the command with exit code 1."""
    console.print(message, style="red")
    raise typer.Exit(1)


def stop_where_failed(outcomes: Sequence[RunOutcome]) -> None:
    """End the command where a run failed (exit code 1), or where the gate refused the candidate (3)."""
    refused = [outcome for outcome in outcomes if outcome.refused_by_gate]
    for outcome in refused:
        console.print(
            f"The candidate was not promoted: the promotion gate refused it. {'; '.join(outcome.errors)} The champion, "
            "if there is one, goes on deciding. Nothing failed: read the evaluation report. The next outcomes bring "
            "another candidate, and `credit-assets promote` overrides the gate.",
            style="yellow",
        )
    if failed := [outcome for outcome in outcomes if not outcome.success and not outcome.refused_by_gate]:
        stop("\n".join(f"{_name(o)} failed: {'; '.join(o.errors) or f'see run {o.run_id}'}" for o in failed))
    if refused:
        raise typer.Exit(REFUSED_BY_GATE)


def _name(outcome: RunOutcome) -> str:
    return f"{outcome.job} {outcome.batch}" if outcome.batch else outcome.job


def progress(line: str) -> None:
    """Print a line about what a command is doing."""
    console.print(line)

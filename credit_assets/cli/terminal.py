"""Shared by all commands: the terminal, the project of the working directory, and how an error ends a command."""

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
"""Exit code if the promotion gate refused the candidate. A failure has exit code 1."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
# Lines are not wrapped at the width of the terminal, and square brackets are not markup.
console = Console(highlight=False, markup=False, soft_wrap=True)

PortfolioName = Annotated[str, typer.Option("--portfolio", "-p", help="The portfolio: a file in configs/.")]


def main() -> None:
    """The entry point of the command. Suppresses log messages and warnings of libraries."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        app()
    except SystemExit as ended:
        if fault(ended, Path.cwd()) is None:
            raise
        # Exits at once, because the exit handlers of libraries would fail as well and print tracebacks.
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(1)
    finally:
        # Saves a second: otherwise Python collects garbage among all imported modules at exit.
        gc.freeze()


@contextmanager
def in_project(reading: bool = False) -> Iterator[Project]:
    """The project that contains the working directory, with its .env loaded. Errors of the user are printed in one
    line.

    A command that is only `reading` needs no write permission. It runs without garbage collection, which saves time.
    """
    with _without_collections() if reading else nullcontext(), refusals_in_one_line():
        project = Project.find()
        load_dotenv(project.root / ".env")
        with readable(project) if reading else nullcontext(project) as at_hand, chdir(at_hand.root):
            # The project is the working directory, because the paths in dagster.yaml are relative to it.
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
    """Print an error that the user can fix in one line, and end the command."""
    try:
        yield
    except typer.Exit:
        raise
    except (AlreadyRunning, ConfigError, FileExistsError, FileNotFoundError, RegistryUnavailable) as error:
        stop(fault(error, Path.cwd()) or str(error))
    except Exception as error:
        if _can_be_fixed_by_user(error):
            stop(fault(error, Path.cwd()) or str(error))
        if (message := fault(error, Path.cwd() / "data")) is None:
            raise
        stop(message)


def _can_be_fixed_by_user(error: Exception) -> bool:
    """Whether the user can fix the error. Any other error is a defect and is shown with its traceback."""
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


def stop_if_failed(outcomes: Sequence[RunOutcome]) -> None:
    """End the command if a run failed (exit code 1) or the gate refused the candidate (exit code 3)."""
    refused = [outcome for outcome in outcomes if outcome.refused_by_gate]
    for outcome in refused:
        console.print(
            f"The candidate was not promoted: the promotion gate refused it. {'; '.join(outcome.errors)} The champion "
            "does not change. This is not an error: read the evaluation report. Another candidate is trained once "
            "enough new outcomes are known; `credit-assets promote` overrides the gate.",
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

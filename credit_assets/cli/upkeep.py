"""Commands that back up and restore a project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from credit_assets.cli.terminal import app, console, in_project, refusals_in_one_line
from credit_assets.plurals import number_of


@app.command()
def backup(archive: Annotated[Path, typer.Argument(help="The file to write, outside data/.")]) -> None:
    """Back up data, configuration and SQL to one archive, while services run. It contains no secrets (.env)."""
    from credit_assets.upkeep.backup import backup as save

    archive = archive.absolute()
    with in_project() as project:
        done = save(project, archive)
        console.print(f"{done.archive} holds {number_of(done.files, 'file')}, {done.size / 1e6:,.1f} MB")
        _print_left_out(done.left_out)


@app.command()
def restore(
    archive: Annotated[Path, typer.Argument(help="The archive that `backup` wrote.")],
    folder: Annotated[Path, typer.Argument(help="The new project folder: one that does not exist, or is empty.")],
) -> None:
    """Restore a project from an archive, verifying the checksum of every file."""
    from credit_assets.upkeep.backup import restore as put_back

    with refusals_in_one_line():
        done = put_back(archive, folder)
    console.print(
        f"{done.project.root} is the project as of {done.made_at}, saved by release {done.code_version}: "
        f"{number_of(done.files, 'file')}. Next: make its .env (see .env.example), then start its services.",
    )
    _print_left_out(done.left_out)


def _print_left_out(left_out: Sequence[str]) -> None:
    for words in left_out:
        console.print(f"NOT in it: {words}", style="bold yellow")

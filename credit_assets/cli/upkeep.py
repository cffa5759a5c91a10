"""Commands that back up and restore a project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from credit_assets.cli.terminal import app, console, in_project, refusals_in_one_line
from credit_assets.plurals import number_of


@app.command()
def backup(archive: Annotated[Path, typer.Argument(help="The archive to write, outside data/.")]) -> None:
    """Back up data, configuration and SQL to one archive, while services run. Secrets (.env) are not included."""
    from credit_assets.upkeep.backup import backup as save

    archive = archive.absolute()
    with in_project() as project:
        done = save(project, archive)
        console.print(f"Wrote {done.archive}: {number_of(done.files, 'file')}, {done.size / 1e6:,.1f} MB")
        _print_left_out(done.left_out)


@app.command()
def restore(
    archive: Annotated[Path, typer.Argument(help="The archive that `backup` wrote.")],
    folder: Annotated[Path, typer.Argument(help="The new project folder, which must not exist or must be empty.")],
) -> None:
    """Restore a project from an archive, verifying the checksum of every file."""
    from credit_assets.upkeep.backup import restore as restore_project

    with refusals_in_one_line():
        done = restore_project(archive, folder)
    console.print(
        f"Restored {number_of(done.files, 'file')} to {done.project.root}, as of {done.made_at}, saved by release "
        f"{done.code_version}. Next: create its .env (see .env.example), then start its services.",
    )
    _print_left_out(done.left_out)


def _print_left_out(left_out: Sequence[str]) -> None:
    for message in left_out:
        console.print(f"NOT included: {message}", style="bold yellow")

"""Commands that change the champion by hand."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from credit_assets.cli.terminal import PortfolioName, app, in_project, progress, stop, stop_if_failed
from credit_assets.registry.registry import Registry
from credit_assets.settings.portfolio import Portfolio


@app.command()
def rollback(
    portfolio: PortfolioName,
    to: Annotated[
        int | None, typer.Option(min=1, help="The version to restore. The default is the previous champion.")
    ] = None,
    why: Annotated[str, typer.Option(help="The reason, for the history of champions.")] = "",
) -> None:
    """Make an earlier version the champion again. Existing scores do not change."""
    with in_project() as project:
        Portfolio.load(project, portfolio)
        Registry.of(project, portfolio).require()
        from credit_assets.application.champion import roll_back

        stop_if_failed([roll_back(project, portfolio, to, why, progress)])


@app.command()
def promote(
    portfolio: PortfolioName,
    version: Annotated[int, typer.Option(min=1, help="Any registered version.")],
    why: Annotated[str, typer.Option(help="The reason, for the history of champions and the alerts.")],
    by: Annotated[
        str, typer.Option(metavar="NAME", help="The name of the approver. The default is the user of this machine.")
    ] = "",
) -> None:
    """Promote a version by hand, whatever the gate's verdict. It needs `promotion.approvals` approvals."""
    with in_project() as project:
        Portfolio.load(project, portfolio)
        Registry.of(project, portfolio).require()
        from credit_assets.application.champion import promote as promote_by_hand
        from credit_assets.registry.errors import PromotionRefused, RegistryError

        try:
            outcome = promote_by_hand(project, portfolio, version, by or getpass.getuser(), why, progress)
        except (PromotionRefused, RegistryError) as error:
            stop(str(error))
        else:
            stop_if_failed([outcome] if outcome else [])

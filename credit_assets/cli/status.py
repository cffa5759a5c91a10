"""Commands that show the status of a portfolio, and its alerts."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from credit_assets.cli.status_text import print_status
from credit_assets.cli.terminal import PortfolioName, app, console, in_project
from credit_assets.registry.registry import Registry
from credit_assets.settings.portfolio import Portfolio

ALERTS_SHOWN = 20


@app.command("status")
def show_status(
    portfolio: PortfolioName,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show the batches and their rows, the champion and its metrics, and the latest check results."""
    with in_project(reading=True) as project:
        Registry.of(project, portfolio).require()
        from credit_assets.application.status import status

        found = status(project, portfolio)
        if as_json:
            print(found.model_dump_json(indent=2))
        else:
            print_status(found)


@app.command()
def alerts(
    portfolio: PortfolioName,
    test: Annotated[bool, typer.Option("--test", help="Send a test alert over every configured channel.")] = False,
) -> None:
    """List recent alerts and their delivery status by channel."""
    with in_project(reading=True) as project:
        from credit_assets.alerts.channels import send_test_alerts
        from credit_assets.alerts.outbox import Outbox

        config = Portfolio.load(project, portfolio).alerts
        if not config.channels:
            console.print("No channel is configured under `alerts:`, so nothing is sent.")
        if test:
            tried = send_test_alerts(portfolio, config, os.environ, time.time())
            for channel, result in tried.items():
                answer = f"sent ({result.answer})" if result.answer else "sent"
                console.print(f"{channel}: {answer if result.sent else f'not sent: {result.answer}'}")
            if not all(result.sent for result in tried.values()):
                raise typer.Exit(1)
            return
        with Outbox(project, portfolio, config) as outbox:
            entries = outbox.newest(ALERTS_SHOWN)
        for entry in entries:
            alert, statuses = entry.alert, "; ".join(f"{name} {status}" for name, status in entry.deliveries.items())
            console.print(
                f"{alert.since:%Y-%m-%d %H:%M} {alert.severity:<7} {alert.title} ({alert.where}) {alert.link}\n"
                f"    {statuses or ('not sent: a repetition' if entry.repeats else 'not sent')}",
            )
        if not entries:
            console.print("No alerts.")

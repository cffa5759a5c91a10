"""The `credit-assets` command: arguments and output, one file per group of commands. `application/` does the work; only
commands that need Dagster import it."""

from credit_assets.cli import books, champions, deliveries, runs, status, upkeep
from credit_assets.cli.terminal import app, main

__all__ = ["app", "books", "champions", "deliveries", "main", "runs", "status", "upkeep"]

"""The `credit-assets` command: arguments in, text out, one file per group of commands. What a command does is in
`application/`; only the commands that need Dagster load it."""

from credit_assets.cli import books, champions, deliveries, runs, standing, upkeep
from credit_assets.cli.terminal import app, main

__all__ = ["app", "books", "champions", "deliveries", "main", "runs", "standing", "upkeep"]

"""The `credit-assets` command: arguments in, text out, a file a group of commands. What a command does is in
`application/`; dagster is loaded only by the commands that need it."""

from credit_assets.cli import books, champions, deliveries, runs, standing, upkeep
from credit_assets.cli.terminal import app, main

__all__ = ["app", "books", "champions", "deliveries", "main", "runs", "standing", "upkeep"]

"""The runs that a command executes for a portfolio, one after the other, and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg

from credit_assets.automation.active_runs import active_runs, tags_of_same_work
from credit_assets.automation.due import Due
from credit_assets.automation.messages import text
from credit_assets.automation.pending import batches_to_score
from credit_assets.automation.runs import RunOutcome, execute, instance_for_commands
from credit_assets.automation.sensors import request
from credit_assets.book.book import Book
from credit_assets.definitions import definitions_of
from credit_assets.lake.tables import Lake
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project

Report = Callable[[str], None]
"""A function that receives lines about the progress of a command."""


@dataclass(frozen=True)
class Work:
    """The runs of one command. `outcomes` contains their results so far."""

    book: Book
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    report: Report
    outcomes: list[RunOutcome] = field(default_factory=list)

    @property
    def project(self) -> Project:
        return self.book.project

    @property
    def portfolio(self) -> Portfolio:
        return self.book.portfolio

    @property
    def lake(self) -> Lake:
        return Lake(self.project.lake)

    def run(self, due: Due) -> str | None:
        """Run what is due. If another run is active on the same work, do nothing and return its id."""
        self.report(f"{due.job}{f' {due.batch}' if due.batch else ''}: {text(due)}")
        name = self.portfolio.name
        # Such runs were started by the daemon; those of commands have ended.
        if active := active_runs(self.instance, self.portfolio, **tags_of_same_work(self.portfolio, due)):
            self.report(f"  waits: run {active[0].run_id} is active")
            return active[0].run_id
        if due.batch:
            self.instance.add_dynamic_partitions(f"{name}_batches", [due.batch])
        requested = request(self.portfolio, due)
        self.outcomes.append(
            execute(
                self.instance,
                self.definitions,
                name,
                due.job,
                due.batch,
                self.report,
                due.tables,
                requested.tags,
                requested.run_config,
            )
        )
        return None

    def score(self) -> None:
        """Run the scoring that is due, if there is a champion."""
        if champion := self.book.registry.champion():
            for due in batches_to_score(self.portfolio, self.lake, champion.number):
                self.run(due)


@contextmanager
def work(project: Project, name: str, report: Report) -> Iterator[Work]:
    """The work of a command on the portfolio, with a lock against other commands."""
    book = Book.load(project, name)
    with instance_for_commands(project, name) as instance:
        yield Work(book, instance, definitions_of(book), report)

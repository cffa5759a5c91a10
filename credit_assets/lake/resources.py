"""The resources of assets: the lake with its DuckDB connection, and the partitions. `settings/project.py` defines the
folders, `schemas` the tables' contents."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import psutil
from dagster_duckdb import DuckDBResource
from pydantic import PrivateAttr

from credit_assets.lake.connections import use_utc
from credit_assets.lake.provenance import BATCH
from credit_assets.lake.sql import sql_text
from credit_assets.lake.tables import Lake
from credit_assets.settings.project import Project


@dataclass(frozen=True)
class Read:
    """What a step read of a table: its version, and whether any of the rows were synthetic."""

    version: int
    synthetic: bool


class LakeResource(dg.ConfigurableResource):
    """The lake and one in-memory DuckDB connection, open as long as the run (or step process) lives."""

    root: str
    spill: str
    database: dg.ResourceDependency[DuckDBResource]

    _stack: ExitStack = PrivateAttr(default_factory=ExitStack)
    _connection: duckdb.DuckDBPyConnection | None = PrivateAttr(default=None)
    _scratch: Path | None = PrivateAttr(default=None)
    _reads: dict[str, dict[str, Read]] = PrivateAttr(default_factory=dict)

    @property
    def lake(self) -> Lake:
        return Lake(Path(self.root))

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection; opened at first use."""
        if self._connection is None:
            self._connection = self._stack.enter_context(self.database.get_connection())
            use_utc(self._connection)
            self._connection.execute(f"SET temp_directory = {sql_text(str(self.scratch))}")
        return self._connection

    @property
    def scratch(self) -> Path:
        """A folder for large temporary files, private to this process, removed when the run ends."""
        if self._scratch is None:
            Path(self.spill).mkdir(parents=True, exist_ok=True)
            _remove_abandoned(Path(self.spill))
            self._scratch = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self.spill))
            self._stack.callback(shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        self._stack.close()
        self._connection = self._scratch = None

    def select(
        self, context: dg.AssetExecutionContext | dg.InputContext, table: str, batches: Sequence[str] | None
    ) -> str:
        """The SELECT over the table's current version (of some batches), recorded as read by this step.

        The rows of a single batch have no `batch` column.
        """
        version = self.lake.version(table)
        written = self.lake.batches(table)
        if batches:
            commits = [written[batch] for batch in batches if batch in written]
        else:
            # The newest commit wrote all of a table without batches.
            commits = list(written.values()) or self.lake.history(table)[:1]
        step = self._reads.setdefault(_step_key(context), {})
        step[table] = Read(version, any(commit.provenance.synthetic for commit in commits))
        query = self.lake.query(table, batches, version)
        return f"SELECT * EXCLUDE ({BATCH}) FROM ({query})" if batches and len(batches) == 1 else query

    def reads(self, context: dg.AssetExecutionContext | dg.OutputContext) -> dict[str, Read]:
        """For each table that this step has read so far, its version."""
        return dict(self._reads.get(_step_key(context), {}))

    def synthetic(self, context: dg.AssetExecutionContext | dg.OutputContext) -> bool:
        """Whether anything that this step has read was made from synthetic data."""
        return any(read.synthetic for read in self.reads(context).values())


def _remove_abandoned(spill: Path) -> None:
    """Remove the scratch folders of killed processes."""
    for folder in spill.iterdir():
        owner = folder.name.partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def batches(portfolio: str) -> dg.DynamicPartitionsDefinition:
    """The portfolio's batches, one partition per delivery."""
    return dg.DynamicPartitionsDefinition(name=f"{portfolio}_batches")


def _step_key(context: dg.AssetExecutionContext | dg.InputContext | dg.OutputContext) -> str:
    if isinstance(context, dg.OutputContext):
        return context.step_key
    if isinstance(context, dg.InputContext):
        return context.step_context.step.key
    return context.op_execution_context.get_step_execution_context().step.key


def lake_resource(project: Project) -> LakeResource:
    """The default resource: Delta tables under data/lake, queried by an in-memory DuckDB."""
    config: dict[str, Any] = {
        "memory_limit": os.environ.get("CREDIT_ASSETS_MEMORY_LIMIT") or "2GB",
        "preserve_insertion_order": False,
        # No network access on its own.
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if threads := os.environ.get("CREDIT_ASSETS_THREADS"):
        config["threads"] = int(threads)
    return LakeResource(
        root=str(project.lake),
        spill=str(project.spill),
        database=DuckDBResource(database=":memory:", connection_config=config),
    )

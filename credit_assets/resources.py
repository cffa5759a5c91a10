"""What assets are given to work with: the lake with its DuckDB connection, MLflow, and their partitions.

Where things lie is `project.py`'s; what a table holds is the schemas'.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from filelock import FileLock
from pydantic import PrivateAttr

from credit_assets.lake.connections import use_utc
from credit_assets.lake.tables import BATCH, Lake, sql_text
from credit_assets.project import Project

WHY_TAG, AUTOMATIC_TAG = "credit_assets/why", "credit_assets/automatic"
"""Tags of a run: why it was started, in words; and that no person started it."""


@dataclass(frozen=True)
class Read:
    """What a step read of a table: its version, and whether generated data were among the rows."""

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
        """A folder for large temporary files, this process's alone, gone when the run ends."""
        if self._scratch is None:
            Path(self.spill).mkdir(parents=True, exist_ok=True)
            _sweep(Path(self.spill))
            self._scratch = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self.spill))
            self._stack.callback(shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        self._stack.close()
        self._connection = self._scratch = None

    def select(
        self, context: dg.AssetExecutionContext | dg.InputContext, table: str, batches: Sequence[str] | None
    ) -> str:
        """The SELECT over the table's current version (of some batches), noted as read by this step.

        The rows of a single batch come without their `batch` column.
        """
        version = self.lake.version(table)
        written = self.lake.batches(table)
        if batches:
            commits = [written[batch] for batch in batches if batch in written]
        else:
            # A table without batches was written as a whole by its newest commit.
            commits = list(written.values()) or self.lake.history(table)[:1]
        step = self._reads.setdefault(_step_key(context), {})
        step[table] = Read(version, any(commit.metadata.get("synthetic") == "true" for commit in commits))
        query = self.lake.query(table, batches, version)
        return f"SELECT * EXCLUDE ({BATCH}) FROM ({query})" if batches and len(batches) == 1 else query

    def reads(self, context: dg.AssetExecutionContext | dg.OutputContext) -> dict[str, Read]:
        """Table to what this step has read of it so far."""
        return dict(self._reads.get(_step_key(context), {}))

    def synthetic(self, context: dg.AssetExecutionContext | dg.OutputContext) -> bool:
        """Whether anything this step has read was made from generated data."""
        return any(read.synthetic for read in self.reads(context).values())


def _sweep(spill: Path) -> None:
    """Remove the scratch folders of processes that were killed before they could."""
    for folder in spill.iterdir():
        owner = folder.name.partition("-")[0]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def batches(portfolio: str) -> dg.DynamicPartitionsDefinition:
    """The portfolio's batches, one partition a delivery."""
    return dg.DynamicPartitionsDefinition(name=f"{portfolio}_batches")


def _step_key(context: dg.AssetExecutionContext | dg.InputContext | dg.OutputContext) -> str:
    if isinstance(context, dg.OutputContext):
        return context.step_key
    if isinstance(context, dg.InputContext):
        return context.step_context.step.key
    return context.op_execution_context.get_step_execution_context().step.key


def lake_resource(project: Project) -> LakeResource:
    """The embedded default: Delta tables under data/lake, computed on by DuckDB in memory."""
    config: dict[str, Any] = {
        "memory_limit": os.environ.get("CREDIT_ASSETS_MEMORY_LIMIT") or "2GB",
        "preserve_insertion_order": False,
        # Nothing may reach for the network by itself.
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


def mlflow_resource(project: Project, portfolio: str) -> dg.ResourceDefinition:
    """dagster-mlflow's tracking of one Dagster run as one MLflow run, with what it lacks.

    - The MLflow run is looked up or made under a lock, and never mistaken for one of its children, so
      that steps in several processes share it.
    - It ends FAILED when a step of the Dagster run failed (the library ends every run FINISHED).
    - Runs whose process was killed before they could end are ended with the first training after.
    """

    @dg.resource(description="MLflow: one run a Dagster run, one child run a model.")
    def tracking(context: dg.InitResourceContext) -> Iterator[Any]:
        import mlflow
        from dagster_mlflow.resources import MlFlow

        from credit_assets.models import registry

        experiment_id = registry.experiment(project.tracking_uri, portfolio, project.artifacts)
        assert context.instance and context.run_id and context.dagster_run
        with FileLock(project.data / "mlflow" / "runs.lock"):
            _end_abandoned(context.instance, experiment_id)
            settings: dict[str, Any] = {
                "experiment_name": portfolio,
                # None: it is set already, and this would put it into the environment.
                "mlflow_tracking_uri": None,
                "mlflow_run_id": _run_of(context.run_id, context.dagster_run.job_name, experiment_id),
                "env": {},
                "extra_tags": {},
            }
            tracked = MlFlow(context.replace_config(settings))
        yield tracked
        failed = context.instance.get_records_for_run(
            context.run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1
        ).records
        mlflow.end_run("FAILED" if failed else "FINISHED")

    return tracking


def _run_of(dagster_run_id: str, job: str, experiment_id: str) -> str:
    """The id of the MLflow run of a Dagster run; made where it is missing."""
    import mlflow
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client = mlflow.MlflowClient()
    for run in client.search_runs([experiment_id], f"tags.dagster_run_id = '{dagster_run_id}'"):
        if MLFLOW_PARENT_RUN_ID not in run.data.tags:
            return run.info.run_id
    tags = {"dagster_run_id": dagster_run_id}
    return client.create_run(experiment_id, tags=tags, run_name=job).info.run_id


def _end_abandoned(instance: dg.DagsterInstance, experiment_id: str) -> None:
    """Mark FAILED the MLflow runs that still read RUNNING although their Dagster run has ended."""
    import mlflow

    client = mlflow.MlflowClient()
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        dagster_run = instance.get_run_by_id(run.data.tags.get("dagster_run_id", ""))
        # Runs that this instance does not know are somebody else's: a notebook's, another deployment's.
        if dagster_run is not None and dagster_run.is_finished:
            client.set_terminated(run.info.run_id, "FAILED")

"""Names that the platform uses from Dagster's private modules. No other module imports `dagster._`: if a Dagster
release moves these names, only this file changes."""

from typing import Any

from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.instance import RUNLESS_RUN_ID, InstanceRef
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, TickStatus
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES, NOT_FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorageWatchdog
from dagster._core.storage.runs import SqliteRunStorage, SqlRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.storage.tags import (
    AUTO_RETRY_RUN_ID_TAG,
    GRPC_INFO_TAG,
    MAX_RETRIES_TAG,
    PARTITION_NAME_TAG,
    ROOT_RUN_ID_TAG,
    RUN_FAILURE_REASON_TAG,
    SENSOR_NAME_TAG,
    WILL_RETRY_TAG,
)
from dagster._core.utils import make_new_run_id
from dagster._daemon.auto_run_reexecution.event_log_consumer import _create_cursor_key as daemon_cursor_key
from dagster._serdes import ConfigurableClassData
from dagster._utils.error import SerializableErrorInfo  # type: ignore[attr-defined]

__all__ = [
    "AUTO_RETRY_RUN_ID_TAG",
    "COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES",
    "FINISHED_STATUSES",
    "GRPC_INFO_TAG",
    "MAX_RETRIES_TAG",
    "NOT_FINISHED_STATUSES",
    "PARTITION_NAME_TAG",
    "ROOT_RUN_ID_TAG",
    "RUNLESS_RUN_ID",
    "RUN_FAILURE_REASON_TAG",
    "SENSOR_NAME_TAG",
    "WILL_RETRY_TAG",
    "AssetCheckExecutionRecord",
    "AssetCheckExecutionRecordStatus",
    "AssetCheckExecutionsTable",
    "CheckRunHealthResult",
    "ConfigurableClassData",
    "DagsterAssetCheckFailedError",
    "DagsterSqliteStorage",
    "InstanceRef",
    "InstigatorState",
    "InstigatorTick",
    "InstigatorType",
    "ManagedGrpcPythonEnvCodeLocationOrigin",
    "SerializableErrorInfo",
    "SqlEventLogStorage",
    "SqlEventLogStorageTable",
    "SqlRunStorage",
    "SqlScheduleStorage",
    "SqliteEventLogStorage",
    "SqliteEventLogStorageWatchdog",
    "SqliteRunStorage",
    "SqliteScheduleStorage",
    "TickStatus",
    "UnresolvedAssetJobDefinition",
    "WorkerStatus",
    "daemon_cursor_key",
    "make_new_run_id",
    "proxy_server_manager",
]


def proxy_server_manager() -> Any:
    """The class with which `dagster dev` starts code servers. Its module is imported by `dagster dev` only."""
    from dagster._cli.proxy_server_manager import ProxyServerManager

    return ProxyServerManager

"""For processes with this folder on their path: processes that would be spawned are forked from one that has imported
everything. A daemon's runs then start at once; importing takes longer than most of them.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext

import credit_assets_tests.unsynced.sitecustomize  # noqa: F401

IMPORTED = [
    "credit_assets.definitions",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.sqlite_storage",
    "dagster_mlflow.resources",
    "matplotlib.backends.backend_agg",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "optuna",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "xgboost",
    "credit_assets_tests.end_to_end.quick.frozen",
]

_named = multiprocessing.get_context


def get_context(method: str | None = None) -> BaseContext:
    if method != "spawn":
        return _named(method)
    context = _named("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


multiprocessing.get_context = get_context  # type: ignore[assignment]

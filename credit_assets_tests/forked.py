"""Processes that start at once: they are forked from a server that has imported the large libraries.

Importing these takes seconds, longer than what most processes of tests do. The server has no threads and has opened
nothing, unlike the process of the tests. Nothing is asserted here.
"""

from __future__ import annotations

import multiprocessing

IMPORTED = [
    "credit_assets.definitions",
    "credit_assets.lake.tables",
    "credit_assets.registry.mlflow_store",
    "credit_assets.registry.resources",
    "dagster_mlflow.resources",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "optuna",
    "xgboost",
]

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(IMPORTED)

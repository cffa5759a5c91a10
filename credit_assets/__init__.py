"""Credit Assets: turns loan-application files into decisions that a lender can defend, as Dagster assets."""

import os

# Read by libraries on import: no telemetry unless the user enables it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

"""Credit Assets: loan-application files to decisions a lender can defend, as Dagster assets."""

import os

# Libraries read these when they are imported; nothing is sent anywhere unless its user asks for it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

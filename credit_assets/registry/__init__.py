"""The model registry, the only access to MLflow: versions, the champion and its history, files, and tracking of runs.
Models and their training are in `models`."""

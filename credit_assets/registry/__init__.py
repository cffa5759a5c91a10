"""The model registry, the only door to MLflow: versions, the champion and its history, artifacts, and tracking of runs.
What a model is and how it is fitted is in `models`."""

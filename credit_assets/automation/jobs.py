"""The jobs of a portfolio: which assets are made together, by a person, a schedule or a sensor."""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from credit_assets.portfolio import Portfolio

TRAINING_TAG = "credit_assets/training"


def jobs(portfolio: Portfolio) -> dict[str, UnresolvedAssetJobDefinition]:
    """`ingest` and `score` make one batch; `train` makes a candidate and asks the gate."""
    groups = dg.AssetSelection.groups
    made = [
        dg.define_asset_job(
            "ingest",
            groups("raw", "features"),
            description="One delivered batch: its files to validated tables and features.",
        ),
        dg.define_asset_job(
            "train",
            groups("training", "evaluation", "fairness", "champion"),
            description="A candidate from all known outcomes; evaluated, audited and, if it passes, promoted.",
            # The run queue lets one training of a portfolio through at a time (dagster.yaml).
            tags={TRAINING_TAG: portfolio.name},
        ),
        dg.define_asset_job(
            "score",
            groups("scoring", "monitoring"),
            description="One batch judged by the champion: drift of its features, scores, drift of its scores.",
        ),
    ]
    return {job.name: job for job in made}

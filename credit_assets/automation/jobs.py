"""The jobs of a portfolio: which assets are made together, by a person, a schedule or a sensor."""

from __future__ import annotations

from typing import Any

import dagster as dg

from credit_assets.dagster_private import UnresolvedAssetJobDefinition
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.run_tags import PORTFOLIO_TAG, TRAINING_TAG


def jobs(portfolio: Portfolio) -> dict[str, UnresolvedAssetJobDefinition]:
    """The jobs by name.

    `batch` makes all assets of one batch, `ingest` and `score` the first and the second half of them, `outcomes` those
    that later outcomes change. `train` makes a candidate and runs the promotion gate, `rollback` restores the previous
    champion, `promote` makes any version the champion by hand.
    """
    name = portfolio.name
    groups, timeline = dg.AssetSelection.groups, dg.AssetSelection.assets([name, "operations", "timeline"])

    # A killed run is launched again with all its steps, so that one run contains all results.
    tags = {PORTFOLIO_TAG: name, "dagster/retry_strategy": "ALL_STEPS"}

    made = [
        dg.define_asset_job(
            "batch",
            groups("raw", "features", "scoring", "monitoring") | timeline,
            description="Everything for one delivered batch: validated tables, features, drift, scores, performance.",
            tags=tags,
        ),
        dg.define_asset_job(
            "ingest",
            groups("raw", "features"),
            description="Reads the files of one delivered batch into validated tables, and computes the features.",
            tags=tags,
        ),
        dg.define_asset_job(
            "score",
            groups("scoring", "monitoring") | timeline,
            description="Scores one batch with the champion: drift of its features, scores, drift of its scores, "
            "performance.",
            tags=tags,
        ),
        dg.define_asset_job(
            "outcomes",
            dg.AssetSelection.assets([name, portfolio.outcomes_table], [name, "performance"]) | timeline,
            description="Reads outcomes that were delivered later for a batch, and measures the performance of its "
            "scores.",
            tags=tags,
        ),
        dg.define_asset_job(
            "train",
            groups("training", "evaluation", "fairness", "champion", "operations"),
            description="Trains a candidate on all known outcomes, evaluates it, and promotes it if it passes.",
            # The run queue starts one training of a portfolio at a time (dagster.yaml).
            tags=tags | {TRAINING_TAG: name},
        ),
        dg.define_asset_job(
            "rollback",
            dg.AssetSelection.assets([name, "champion"]) | groups("operations"),
            description="Restores the previous champion (or `to_version`, in the champion's run config).",
            config=champion_config(name, roll_back=True),
            tags=tags,
        ),
        dg.define_asset_job(
            "promote",
            dg.AssetSelection.assets([name, "drift_reference"], [name, "champion"]) | groups("operations"),
            description="Makes any version the champion by hand, whatever the gate's verdict: set `version` in the run "
            "config of drift_reference, and `promote_version`, `by` and `why` in that of champion.",
            tags=tags,
        ),
    ]
    return {job.name: job for job in made}


def promotion_config(portfolio: str, version: int, by: str, why: str) -> dict[str, Any]:
    """Run config of the job `promote`."""
    champion = champion_config(portfolio, promote_version=version, by=by, why=why)["ops"]
    return {"ops": champion | {f"{portfolio}__drift_reference": {"config": {"version": version}}}}


def champion_config(portfolio: str, **values: Any) -> dict[str, Any]:
    """Run config of the asset `champion`."""
    return {"ops": {f"{portfolio}__champion": {"config": values}}}

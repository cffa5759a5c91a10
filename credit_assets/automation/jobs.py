"""The jobs of a portfolio: which assets are made together, by a person, a schedule or a sensor."""

from __future__ import annotations

from typing import Any

import dagster as dg

from credit_assets.dagster_private import UnresolvedAssetJobDefinition
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.run_tags import PORTFOLIO_TAG, TRAINING_TAG


def jobs(portfolio: Portfolio) -> dict[str, UnresolvedAssetJobDefinition]:
    """`batch` makes all of one batch, `ingest` and `score` its halves, `outcomes` what later outcomes change;
    `train` makes a candidate and asks the gate, `rollback` takes the champion back, `promote` makes any version the
    champion by hand."""
    name = portfolio.name
    groups, story = dg.AssetSelection.groups, dg.AssetSelection.assets([name, "operations", "timeline"])

    # A run that was killed is launched again as a whole: one run holds the whole evidence.
    tags = {PORTFOLIO_TAG: name, "dagster/retry_strategy": "ALL_STEPS"}

    made = [
        dg.define_asset_job(
            "batch",
            groups("raw", "features", "scoring", "monitoring") | story,
            description="One delivered batch, whole: validated tables, features, drift, scores, performance.",
            tags=tags,
        ),
        dg.define_asset_job(
            "ingest",
            groups("raw", "features"),
            description="One delivered batch: its files to validated tables and features.",
            tags=tags,
        ),
        dg.define_asset_job(
            "score",
            groups("scoring", "monitoring") | story,
            description="One batch judged by the champion: drift of its features, scores, drift of its scores, "
            "performance.",
            tags=tags,
        ),
        dg.define_asset_job(
            "outcomes",
            dg.AssetSelection.assets([name, portfolio.outcomes_table], [name, "performance"]) | story,
            description="Outcomes that came later for a batch, and how its scores did on them.",
            tags=tags,
        ),
        dg.define_asset_job(
            "train",
            groups("training", "evaluation", "fairness", "champion", "operations"),
            description="A candidate from all known outcomes; evaluated, audited and, if it passes, promoted.",
            # The run queue lets one training of a portfolio through at a time (dagster.yaml).
            tags=tags | {TRAINING_TAG: name},
        ),
        dg.define_asset_job(
            "rollback",
            dg.AssetSelection.assets([name, "champion"]) | groups("operations"),
            description="The champion before decides again (or `to_version`, in the champion's run config).",
            config=champion_config(name, roll_back=True),
            tags=tags,
        ),
        dg.define_asset_job(
            "promote",
            dg.AssetSelection.assets([name, "drift_reference"], [name, "champion"]) | groups("operations"),
            description="Any version becomes the champion by hand, whatever the gate said of it: `version` in the run "
            "config of drift_reference, and `promote_version`, `by` and `why` in the champion's.",
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

"""Schedules of a portfolio: a new challenger every week, whether or not anything has drifted."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from credit_assets.portfolio import Portfolio


def schedules(portfolio: Portfolio, train: UnresolvedAssetJobDefinition) -> list[dg.ScheduleDefinition]:
    """Monday at three: a challenger from the outcomes known by then. The gate says whether it decides."""
    return [
        dg.ScheduleDefinition(
            name="weekly_challenger",
            job=train,
            cron_schedule="0 3 * * 1",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"A challenger for {portfolio.title} from all outcomes known by then.",
        )
    ]

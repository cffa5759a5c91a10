"""Links from the alerts of a portfolio to the pages of its code location in the UI."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from credit_assets.settings.run_tags import PORTFOLIO_TAG


@dataclass(frozen=True)
class PortfolioLinks:
    """A portfolio, the name of its code location, and the address of the UI. Builds links, and recognises its runs."""

    portfolio: str
    location: str
    ui: str

    def owns(self, run: dg.DagsterRun) -> bool:
        """Whether the run belongs to this portfolio: by its job or, for a run from the UI, by its code location."""
        origin = run.remote_job_origin
        return run.tags.get(PORTFOLIO_TAG) == self.portfolio or (
            origin is not None and origin.repository_origin.code_location_origin.location_name == self.location
        )

    def run_url(self, run_id: str) -> str:
        return f"{self.ui}/runs/{run_id}"

    def asset_url(self, name: str) -> str:
        return f"{self.ui}/assets/{self.portfolio}/{name}"

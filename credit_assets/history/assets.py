"""The history of a portfolio as assets: the champions over time, and the timeline of events."""

from typing import Any

import dagster as dg
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.history import plots
from credit_assets.history.timeline import champion_history as moves
from credit_assets.history.timeline import timeline as facts
from credit_assets.lake.io_managers import column_schema, contract, frame_table, picture
from credit_assets.lake.resources import LakeResource
from credit_assets.schemas.history import KINDS, ChampionHistory, Timeline
from credit_assets.schemas.table import Table

SHOWN = 50
"""Newest rows shown in the UI; the table holds all."""


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """`operations/champion_history` and `operations/timeline`."""
    portfolio, registry, name = book.portfolio, book.registry, book.name

    def settings(asset: str, model: type[Table]) -> dict[str, Any]:
        return {
            "key": [name, "operations", asset],
            "dagster_type": contract(model),
            "metadata": {"dagster/column_schema": column_schema(model)},
            "io_manager_key": "lake_io",
            "group_name": "operations",
            "owners": portfolio.owners,
        }

    @dg.asset(
        deps=[dg.AssetKey([name, "champion"])],
        kinds={"mlflow", "deltalake"},
        **settings("champion_history", ChampionHistory),
    )
    def champion_history() -> dg.MaterializeResult:
        """The champion at any time: the row whose `decided_from` and `decided_until` (UTC) enclose the time. The row
        also shows who made the version champion, why, and in which run."""
        table = moves(registry)
        return dg.MaterializeResult(
            value=table,
            metadata={
                "champions": picture(plots.champions(table, f"Champions of {portfolio.title}")),
                "history": _newest(table.drop(columns=["number", "synthetic"])),
                "moves": len(table),
                "rollbacks": int((table["version"] < table["replaced"]).sum()),
                "synthetic": bool(table["synthetic"].any()),
            },
        )

    @dg.asset(
        # A run makes these assets, if it includes them, before the timeline.
        deps=[
            dg.AssetKey([name, asset]) for asset in (portfolio.outcomes_table, "champion", "score_drift", "performance")
        ],
        kinds={"duckdb", "mlflow", "deltalake"},
        **settings("timeline", Timeline),
    )
    def timeline(lake: LakeResource) -> dg.MaterializeResult:
        """The history of the portfolio: deliveries and corrections, outcomes, drift, trainings, champions and their
        performance, each with its run. It is recomputed from the lake and the registry each time."""
        table = facts(portfolio, lake.lake, registry)
        counts = table["kind"].value_counts()
        return dg.MaterializeResult(
            value=table,
            metadata={
                "story": picture(plots.timeline_plot(table, portfolio.title)),
                "newest": _newest(table[["at", "kind", "batch", "model_version", "words", "run"]]),
                "synthetic": bool(table["synthetic"].any()),
                **{f"{kind.replace('-', '_')}_rows": int(counts.get(kind, 0)) for kind in KINDS},
            },
        )

    return [champion_history, timeline]


def _newest(table: pd.DataFrame) -> dg.TableMetadataValue:
    """The newest rows, latest first; times to the second, and blanks for missing values."""
    shown = table.iloc[::-1].head(SHOWN).copy()
    for column in shown:
        if shown[column].dtype.kind == "M":
            shown[column] = shown[column].dt.strftime("%Y-%m-%d %H:%M:%S")
        if shown[column].dtype.kind != "f":
            shown[column] = shown[column].astype(object).where(shown[column].notna(), None)
    return frame_table(shown)

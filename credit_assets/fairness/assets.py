"""The fairness audit as assets: the candidate's decisions by protected attributes, which no model receives."""

from collections.abc import Iterator

import dagster as dg
import duckdb
import numpy as np
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.decisions.policy import APPROVE, decide
from credit_assets.evaluation.champion_on_test import compared_champion
from credit_assets.evaluation.predictions import by_model, candidate_of
from credit_assets.fairness.attributes import groups
from credit_assets.fairness.audit import audit
from credit_assets.fairness.checks import audited, check_specs, four_fifths_result, groups_not_seen
from credit_assets.lake.io_managers import column_schema, contract, frame_table
from credit_assets.lake.resources import LakeResource
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.schemas.evidence import NOTHING_AUDITED, FairnessGroups, FairnessVerdicts, Predictions
from credit_assets.settings.portfolio import Portfolio

SHOWN = [
    "group",
    "applicants",
    "defaults",
    "approval_rate",
    "air",
    "air_low",
    "air_high",
    "tpr",
    "fpr",
    "mean_pd",
    "default_rate",
    "calibration_gap",
    "judged",
]


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """The assets `fairness_groups` and `fairness_audit`, made together. Both are empty if no attribute is
    configured."""
    portfolio, registry = book.portfolio, book.registry
    verdicts_key = dg.AssetKey([portfolio.name, "fairness_audit"])
    nothing = "" if audited(portfolio) else f" {NOTHING_AUDITED}"

    def out(name: str, model: type[FairnessGroups] | type[FairnessVerdicts]) -> dg.AssetOut:
        return dg.AssetOut(
            key=[portfolio.name, name],
            dagster_type=contract(model),
            io_manager_key="lake_io",
            description=f"{model.__doc__}{nothing}",
            metadata={"dagster/column_schema": column_schema(model)},
            owners=portfolio.owners,
            kinds={"pandas", "deltalake"},
        )

    @dg.multi_asset(
        name="fairness",
        outs={"groups": out("fairness_groups", FairnessGroups), "verdicts": out("fairness_audit", FairnessVerdicts)},
        ins={
            "predictions": dg.AssetIn(
                key=[portfolio.name, "predictions"], dagster_type=contract(book.keyed(Predictions))
            ),
            "applications": dg.AssetIn(key=[portfolio.name, portfolio.application_table]),
        },
        check_specs=check_specs(book),
        group_name="fairness",
    )
    def fairness(
        lake: LakeResource, predictions: pd.DataFrame, applications: duckdb.DuckDBPyRelation
    ) -> Iterator[dg.Output | dg.AssetCheckResult]:
        version, tested = registry.get(candidate_of(predictions)), by_model(predictions)
        found = audit(
            _attributes(tested, applications, portfolio),
            decide(tested["candidate"].to_numpy(), version.decline_above) == APPROVE,
            tested["candidate"].to_numpy(),
            tested["target"].to_numpy(dtype=float),
            portfolio.fairness,
            {name: attribute.not_judged for name, attribute in portfolio.protected.items()},
            _by_champion(tested, lake.lake, book),
        )
        shown = [name for name in SHOWN if name in found.groups.columns]
        yield dg.Output(
            found.groups,
            output_name="groups",
            metadata={
                attribute: frame_table(rows[shown]) for attribute, rows in found.groups.groupby("attribute", sort=False)
            },
        )
        figures = {
            f"air_{row.attribute}".replace(" ", "_"): float(row.air)
            for row in found.verdicts.itertuples()
            if pd.notna(row.air)
        }
        registry.log(version, figures)
        yield dg.Output(
            found.verdicts,
            output_name="verdicts",
            metadata={**figures, "verdicts": frame_table(found.verdicts), "candidate_version": version.number},
        )
        for row in found.verdicts.to_dict("records"):
            yield four_fifths_result(verdicts_key, row)
        if nothing:
            yield groups_not_seen(verdicts_key)

    return [fairness]


def _by_champion(tested: pd.DataFrame, lake: Lake, book: Book) -> np.ndarray | None:
    """The champion's decisions on the same applicants by its own cut-off: 1 if approved, 0 if declined, nan without a
    PD. None if there is no champion."""
    champion, pds = compared_champion(lake, book), tested["champion"].to_numpy(dtype=float)
    if champion is None or np.isnan(pds).all():
        return None
    approved, has_pd = np.full(len(pds), np.nan), ~np.isnan(pds)
    approved[has_pd] = decide(pds[has_pd], champion.decline_above) == APPROVE
    return approved


def _attributes(tested: pd.DataFrame, applications: duckdb.DuckDBPyRelation, portfolio: Portfolio) -> pd.DataFrame:
    """The protected attributes of the tested applicants, in the order of their rows."""
    columns = sorted({identifier(attribute.column) for attribute in portfolio.protected.values()})
    raw = applications.project(", ".join([f"{identifier(portfolio.entity_key)} AS applicant", "batch", *columns])).df()
    return groups(tested[["applicant", "batch"]].merge(raw, how="left", on=["applicant", "batch"]), portfolio.protected)

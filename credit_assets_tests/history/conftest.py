"""A lake and an in-memory registry whose contents are written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from credit_assets.history.timeline import timeline
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.registry.memory import Memory
from credit_assets.registry.registry import Registry
from credit_assets.schemas.history import Timeline
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.bare_versions import register_bare
from credit_assets_tests.small_project import BOOK, FEW_FEATURES, make_project


@dataclass
class Book:
    """A project without deliveries, with methods that write its history."""

    project: Project
    portfolio: Portfolio
    lake: Lake
    registry: Registry
    con: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)

    def write(self, table: str, batch: str, rows: pd.DataFrame, **facts: Any) -> int:
        self.con.register("_rows", rows)
        provenance = Provenance(**{"run_id": f"run of {table}", "synthetic": True, **facts})
        return self.lake.replace(self.con, "SELECT * FROM _rows", f"{BOOK}/{table}", batch, provenance)

    def raw(self, table: str, batch: str, rows: int, files: Mapping[str, str], run: str = "ingest") -> None:
        self.write(table, batch, pd.DataFrame({"key": range(rows)}), run_id=run, source_sha256=files)

    def drift(self, batch: str, verdicts: str, **facts: Any) -> None:
        """Features with these verdicts: s(table), m(oderate) or x (shifted)."""
        kinds = {"s": ("stable", 0.01), "m": ("moderate", 0.15), "x": ("shifted", 0.4)}
        features = [
            {"feature": f"f{place}", "role": "feature", "verdict": kinds[kind][0], "psi": kinds[kind][1]}
            for place, kind in enumerate(verdicts)
        ]
        common = {"psi_noise": 0.02, "ks": 0.1, "change": "1 -> 2", "rows_reference": 900, "rows_batch": 500}
        self.write("feature_drift", batch, pd.DataFrame(features).assign(**common), **facts)

    def score_drift(self, batch: str, psi: float, verdict: str) -> None:
        row = {"feature": "pd", "role": "score", "verdict": verdict, "psi": psi, "ks": 0.1, "change": "up"}
        self.write("score_drift", batch, pd.DataFrame([row]))

    def scores(self, batch: str, decisions: list[str], version: int) -> int:
        rows = pd.DataFrame({"decision": decisions, "pd": 0.25, "model_version": version})
        return self.write("scores", batch, rows, model_version=version)

    def performance(self, batch: str, auc: float, basis: str) -> None:
        row = {"segment": "all", "metric": "auc", "value": auc, "low": auc - 0.05, "high": auc + 0.05, "basis": basis}
        row |= {"applicants": 500, "outcomes": 450, "defaults": 40, "model_version": 1}
        of_a_band = row | {"segment": "A", "metric": "default_rate", "value": 0.1}
        self.write("performance", batch, pd.DataFrame([row, of_a_band]), model_version=1)

    def register(self, auc: float | None, importance: Mapping[str, float], **origin: str) -> int:
        figures = {"auc": auc, "auc_low": auc - 0.02, "auc_high": auc + 0.02} if auc else {}
        return register_bare(self.registry, importance=importance, metrics=figures, **origin)

    def promote(self, number: int, why: str = "better") -> None:
        self.registry.promote(number, by="gate", why=why, dagster_run="train")

    def told(self) -> pd.DataFrame:
        found = timeline(self.portfolio, self.lake, self.registry)
        return Timeline.to_schema().validate(found)

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        told = self.told()
        return told[told["kind"].isin(kinds)].to_dict("records")


@pytest.fixture
def book(tmp_path: Path) -> Book:
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    return Book(project, Portfolio.load(project, BOOK), Lake(project.lake), Memory().registry(BOOK))

"""A lake and a registry to write facts into, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import mlflow
import pandas as pd
import pytest

from credit_assets.history.timeline import timeline
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.models import registry
from credit_assets.schemas.history import Timeline
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.small_project import BOOK, copy_of


@dataclass
class Book:
    """A project without a delivery, and what it takes to write facts into it."""

    project: Project
    portfolio: Portfolio
    lake: Lake
    uri: str
    experiment: str
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

    def register(self, auc: float | None, importance: Mapping[str, float], **tags: str) -> int:
        client = mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        run = client.create_run(self.experiment).info.run_id
        client.log_dict(run, dict(importance), registry.IMPORTANCE)
        client.log_text(run, "", registry.DRIFT_REFERENCE)
        if auc:
            registry.log_evidence(self.uri, run, {"auc": auc, "auc_low": auc - 0.02, "auc_high": auc + 0.02})
        if not client.search_registered_models(f"name = '{BOOK}'"):
            client.create_registered_model(BOOK)
        version = client.create_model_version(BOOK, "nowhere", run, tags={"synthetic": "true", **tags})
        return int(version.version)

    def promote(self, number: int, why: str = "better") -> None:
        registry.promote(self.uri, BOOK, number, by="gate", why=why, dagster_run_id="train")

    def told(self) -> pd.DataFrame:
        found = timeline(self.portfolio, self.lake, self.uri)
        return Timeline.to_schema().validate(found)

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        told = self.told()
        return told[told["kind"].isin(kinds)].to_dict("records")


@pytest.fixture
def book(empty: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = copy_of(empty, tmp_path / "project")
    experiment = registry.experiment(project.tracking_uri, BOOK, project.artifacts)
    return Book(project, Portfolio.load(project, BOOK), Lake(project.lake), project.tracking_uri, experiment)

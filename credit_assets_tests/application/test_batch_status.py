"""The status of one batch, computed from tables written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from credit_assets.application.batch_status import TABLES, BatchStatus, batch_status
from credit_assets.application.status import Status
from credit_assets.cli.status_text import print_status
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.registry.version import ModelVersion
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.registry.versions import version_made_from

PORTFOLIO = Portfolio.load(Project(PROJECT), "home_credit")
BATCH = "2026-02"
DRIFT = {
    "role": "feature",
    "psi": 0.01,
    "psi_noise": 0.005,
    "ks": 0.01,
    "ks_noise": 0.005,
    "rows_reference": 1000,
    "rows_batch": 4,
    "verdict": "stable",
    "change": "median 1 -> 2",
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Four applicants, three with an outcome. One of two features has shifted, the score has not."""
    lake = Lake(tmp_path / "lake")

    def write(name: str, rows: list[dict[str, Any]], batch: str | None = BATCH, **facts: Any) -> int:
        with duckdb.connect() as con:
            con.register("_rows", pd.DataFrame(rows))
            return lake.replace(con, "FROM _rows", PORTFOLIO.table(name), batch, Provenance(**facts))

    keys = range(1, 5)
    write("applications", [{"SK_ID_CURR": key, "TARGET": 0 if key == 1 else None} for key in keys])
    write("outcomes", [{"SK_ID_CURR": 2, "TARGET": 1}, {"SK_ID_CURR": 3, "TARGET": 0}])
    features = write("features", [{"SK_ID_CURR": key} for key in keys])
    decided = zip(keys, [0.1, 0.4, 0.1, 0.9], ["approve", "approve", "approve", "decline"], strict=True)
    write("scores", [{"applicant": key, "pd": pd_, "decision": decision} for key, pd_, decision in decided])
    moved = DRIFT | {"feature": "income", "psi": 0.4, "verdict": "shifted"}
    write("feature_drift", [DRIFT | {"feature": "age"}, moved], model_version=3)
    write("score_drift", [DRIFT | {"feature": "pd", "role": "score", "psi": 0.02}], model_version=3)
    write("performance", [{"metric": "auc", "segment": "all", "basis": "outcomes", "value": 0.71}])
    learned = [{"batch": batch, "fold": "train"} for batch in ("2026-01", BATCH)]
    write("training_set", learned, batch=None, inputs=json.dumps({PORTFOLIO.table("features"): features}))
    return lake


def status_of(lake: Lake, versions: dict[int, ModelVersion], batch: str = BATCH) -> BatchStatus:
    written = {table: lake.batches(PORTFOLIO.table(table)) for table in (*PORTFOLIO.tables, *TABLES)}
    return batch_status(PORTFOLIO, lake, versions, lambda number: {"age": 0.5, "income": 0.5}, batch, True, written)


def status_with(*batches: BatchStatus) -> Status:
    """The status of a portfolio with only these batches."""
    return Status(
        portfolio="home_credit",
        title="A book",
        batches=list(batches),
        champion=None,
        checks=[],
        due=[],
        features_of_other_sql={},
    )


def register_version() -> dict[int, ModelVersion]:
    return {3: version_made_from({PORTFOLIO.table("training_set"): 0}, number=3)}


def test_features_and_score_have_verdicts_and_outcomes_have_figures(lake: Lake) -> None:
    found = status_of(lake, register_version())
    assert (found.feature_drift, found.score_drift, found.score_psi) == ("shifted", "stable", 0.02)
    assert found.standing == "learned"
    assert found.outcomes_known == 3
    assert found.default_rate == pytest.approx(1 / 3) and found.mean_pd == pytest.approx(0.2)
    assert found.auc == 0.71 and found.approval_rate == 0.75


def test_verdict_of_a_deleted_version_uses_the_features_alone(lake: Lake) -> None:
    found = status_of(lake, {})
    assert (found.feature_drift, found.standing) == ("shifted", None)


def test_figures_of_an_unscored_batch_are_empty(lake: Lake) -> None:
    found = status_of(lake, register_version(), "2026-09")
    assert {found.feature_drift, found.score_drift, found.auc, found.default_rate, found.mean_pd} == {None}


def test_table_shows_both_verdicts_and_why_a_shift_raises_no_alarm(
    lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credit_assets.cli.terminal.console.width", 200)
    print_status(status_with(status_of(lake, register_version())))
    said = capsys.readouterr().out
    assert all(name in said for name in ("score drift", "feature drift", "default rate", "mean PD", "AUC"))
    row = next(line for line in said.splitlines() if BATCH in line)
    figures, drift = row.split()[1:7], row.split(maxsplit=7)[7]
    assert figures == ["4", "3", "75.0%", "20.0%", "33.3%", "0.710"]
    assert " ".join(drift.split()) == "stable 0.020 shifted, learned from"


def test_narrow_terminal_shows_batches_and_figures_in_full(
    lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credit_assets.cli.terminal.console.width", 80)
    large = {"applicants": 300_333, "outcomes_known": 300_333}
    print_status(status_with(status_of(lake, register_version()).model_copy(update=large)))
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if BATCH in line)
    assert row.split()[:7] == [BATCH, "300,333", "300,333", "75.0%", "20.0%", "33.3%", "0.710"]
    assert "…" not in said


def test_batch_without_outcomes_has_mean_pd_of_all_scored_applicants(lake: Lake) -> None:
    with duckdb.connect() as con:
        con.register("_rows", pd.DataFrame([{"SK_ID_CURR": 9, "TARGET": 1}]))
        lake.replace(con, "FROM _rows", PORTFOLIO.table("outcomes"), BATCH, Provenance())
        con.register("_rows", pd.DataFrame([{"SK_ID_CURR": key, "TARGET": None} for key in range(1, 5)]))
        rows = "SELECT SK_ID_CURR, TARGET::INTEGER AS TARGET FROM _rows"
        lake.replace(con, rows, PORTFOLIO.table("applications"), BATCH, Provenance())
    found = status_of(lake, register_version())
    assert (found.default_rate, found.mean_pd) == (None, pytest.approx(0.375))


def test_default_rate_of_an_immature_batch_is_marked_as_early(lake: Lake) -> None:
    assert status_of(lake, register_version()).early is False
    with duckdb.connect() as con:
        con.register("_rows", pd.DataFrame({"SK_ID_CURR": [2], "TARGET": [1]}))
        lake.replace(con, "FROM _rows", PORTFOLIO.table("outcomes"), BATCH, Provenance())
        con.register("_rows", pd.DataFrame({"SK_ID_CURR": range(1, 5), "TARGET": pd.array([None] * 4, dtype="Int64")}))
        lake.replace(con, "FROM _rows", PORTFOLIO.table("applications"), BATCH, Provenance())
    found = status_of(lake, register_version())
    assert (found.outcomes_known, found.default_rate, found.early) == (1, 1.0, True)

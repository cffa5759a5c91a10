"""Drift and performance of the small project after a complete run, and after a worse champion was promoted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest

from credit_assets.automation.retraining import RETRAINING_CHECKS, failed_checks
from credit_assets.automation.runs import execute
from credit_assets.definitions import build
from credit_assets.ingest.inbox import Inbox
from credit_assets.models.registered import load_model
from credit_assets.monitoring.check_names import (
    AS_LEARNED,
    CALIBRATED_IN_SEGMENTS,
    FEATURES_DRIFTED,
    FEATURES_USABLE,
    MISSINGNESS,
    NEW_CATEGORIES,
    NOT_WORSE,
    PERFORMANCE_HOLDS,
    SCORES_DRIFTED,
    VOLUME,
)
from credit_assets.monitoring.reference import Reference
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import DRIFT_REFERENCE, POPULATION
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets.statistics.metrics import evaluate
from credit_assets_tests.bare_versions import delete
from credit_assets_tests.conftest import Line
from credit_assets_tests.small_project import (
    APPLICANTS,
    BATCHES,
    BOOK,
    configure,
    inside,
    instance_of,
    register_again,
    run_job,
    table,
)

# The tests are steps of one story.
pytestmark = pytest.mark.story

LEARNED, TESTED, OPEN = BATCHES


@dataclass(frozen=True)
class PerformanceReport:
    """The performance of a batch as reported by a run: the asset's metadata and all its checks by name."""

    metadata: dict[str, Any]
    checks: dict[str, dg.AssetCheckEvaluation]


def performance_report(project: Project, run_id: str) -> PerformanceReport:
    with instance_of(project) as instance:
        events = [record.event_log_entry.dagster_event for record in instance.get_records_for_run(run_id).records]
    made = [
        event.step_materialization_data.materialization for event in events if event and event.is_step_materialization
    ]
    [performance] = [asset for asset in made if asset.asset_key == dg.AssetKey([BOOK, "performance"])]
    return PerformanceReport(
        {name: value.value for name, value in performance.metadata.items()}, checks_of(project, run_id)
    )


def checks_of(project: Project, run_id: str) -> dict[str, dg.AssetCheckEvaluation]:
    with instance_of(project) as instance:
        entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    checks = [entry.dagster_event.asset_check_evaluation_data for entry in entries if entry.dagster_event]
    return {check.check_name: check for check in checks}


def scoring(short_line: Line, batch: str) -> PerformanceReport:
    [run_id] = [outcome.run_id for outcome in short_line.outcomes if (outcome.job, outcome.batch) == ("score", batch)]
    return performance_report(short_line.project, run_id)


def later_outcomes(project: Project) -> pd.Series:
    """The later outcomes of the open batch, by applicant."""
    return pd.read_csv(project.root / "sample" / "outcomes" / OPEN / "outcomes.csv").set_index("SK_ID_CURR")["TARGET"]


def test_every_check_of_a_batch_names_the_version_it_used(short_line: Line) -> None:
    of_batch = scoring(short_line, OPEN).checks
    # How the batch was scored is checked by the scores themselves.
    checks = {name: check for name, check in of_batch.items() if check.asset_key.path[-1] != "scores"}
    assert {name: check.metadata["model_version"].value for name, check in checks.items()} == (
        dict.fromkeys(
            [
                *(FEATURES_DRIFTED, FEATURES_USABLE, MISSINGNESS, NEW_CATEGORIES, VOLUME),
                *(SCORES_DRIFTED, PERFORMANCE_HOLDS, NOT_WORSE),
                AS_LEARNED,
                CALIBRATED_IN_SEGMENTS,
            ],
            1,
        )
    )
    warnings = {name for name, check in checks.items() if check.severity == dg.AssetCheckSeverity.WARN}
    assert warnings == {AS_LEARNED, CALIBRATED_IN_SEGMENTS, MISSINGNESS, NEW_CATEGORIES, VOLUME}
    assert all(check.passed for check in checks.values())
    assert checks[VOLUME].metadata["applicants"].value == APPLICANTS // 3
    assert "2 earlier batches" in (checks[VOLUME].description or "")


def test_nothing_is_judged_on_a_batch_that_the_champion_learned_from(short_line: Line) -> None:
    assert table(short_line.project, "performance", LEARNED).empty
    found = scoring(short_line, LEARNED)
    assert "learned from every applicant" in (found.checks[PERFORMANCE_HOLDS].description or "")
    assert found.metadata["applicants"] == 0 and found.metadata["model_version"] == 1


def test_test_batch_is_measured_on_its_outcomes(short_line: Line) -> None:
    scores = table(short_line.project, "scores", TESTED)
    delivered = Inbox(short_line.project.inbox).folder(BOOK, TESTED)
    outcomes = pd.concat(pd.read_csv(file) for file in delivered.glob("application_*.csv")).set_index("SK_ID_CURR")
    target = outcomes["TARGET"].reindex(scores["applicant"]).to_numpy()
    expected = evaluate(target, scores["pd"].to_numpy(), 0.5, n_bootstrap=10)

    rows = table(short_line.project, "performance", TESTED).set_index(["segment", "metric"])

    assert set(rows["basis"]) == {"outcomes"}
    for metric in ("auc", "ks", "brier", "ece"):
        assert rows.loc[("all", metric), "value"] == pytest.approx(expected.metrics[metric].value)
    assert rows.loc[("all", "default_rate"), "value"] == expected.default_rate
    by_band = pd.Series(target).groupby(scores["band"]).mean()
    assert rows["value"].drop("all").droplevel("metric").to_dict() == pytest.approx(by_band.to_dict())
    metadata = scoring(short_line, TESTED).metadata
    assert metadata["basis"] == "outcomes" and metadata["outcomes"] == len(scores)
    assert metadata["auc"] == pytest.approx(expected.metrics["auc"].value)
    assert metadata["mean_pd"] == pytest.approx(scores["pd"].mean())
    assert metadata["default rate by band"].startswith("![](data:image/png")


def test_open_batch_is_estimated_and_later_outcomes_lie_within(short_line: Line) -> None:
    rows = table(short_line.project, "performance", OPEN)
    assert set(rows["basis"]) == {"estimate"} and set(rows["outcomes"]) == {0}
    scores = table(short_line.project, "scores", OPEN)
    truth = later_outcomes(short_line.project).reindex(scores["applicant"]).to_numpy()
    later = {name: found.value for name, found in evaluate(truth, scores["pd"].to_numpy(), 0.5, 10).metrics.items()}
    later["default_rate"] = truth.mean()
    for row in rows[rows["segment"] == "all"].to_dict("records"):
        assert row["low"] <= later[row["metric"]] <= row["high"], row


def test_first_champion_has_no_known_shift(short_line: Line) -> None:
    registry = Registry.of(short_line.project, BOOK)
    assert not registry.has_file(registry.get(1), POPULATION)


@pytest.fixture(scope="module")
def project(short_line: Line, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy with another champion: only the first tree of the previous one."""
    project = short_line.copy(tmp_path_factory.mktemp("worse") / "project")
    Inbox(project.inbox).deliver(project.root / "sample" / "outcomes" / OPEN, BOOK, OPEN)
    second = register_again(project, trees=1)
    with inside(project):
        Registry.of(project, BOOK).promote(second, by="hand", why="to see it rolled back")
    return project


@pytest.fixture(scope="module")
def with_outcomes(project: Project) -> PerformanceReport:
    """The open batch's outcomes arrive; its scores are still those of the first champion."""
    outcome = run_job(project, "outcomes", OPEN)
    assert outcome.success, outcome.errors
    return performance_report(project, outcome.run_id)


@pytest.fixture(scope="module")
def scored_again(project: Project, with_outcomes: PerformanceReport) -> PerformanceReport:
    """The batch is scored by the champion with one tree."""
    outcome = run_job(project, "score", OPEN)
    assert outcome.success, outcome.errors
    return performance_report(project, outcome.run_id)


def test_late_outcomes_turn_the_estimate_into_a_measurement_of_the_given_scores(
    project: Project, with_outcomes: PerformanceReport
) -> None:
    assert with_outcomes.metadata["basis"] == "outcomes"
    assert with_outcomes.metadata["defaults"] == later_outcomes(project).sum()
    assert with_outcomes.metadata["model_version"] == 1
    held, rival = with_outcomes.checks[PERFORMANCE_HOLDS], with_outcomes.checks[NOT_WORSE]
    assert held.passed and (held.description or "").startswith("Performance is as expected.")
    assert rival.passed and "version 1 scored the batch, but version 2 is the champion now" in (rival.description or "")


def test_champion_worse_than_its_predecessor_fails_and_names_both(
    project: Project, scored_again: PerformanceReport
) -> None:
    rival = scored_again.checks[NOT_WORSE]
    assert not rival.passed and rival.severity == dg.AssetCheckSeverity.ERROR
    assert rival.metadata["model_version"].value == 2
    assert rival.metadata["predecessor"].value == 1
    truth, scores = later_outcomes(project), table(project, "scores", OPEN)
    with inside(project):
        registry = Registry.of(project, BOOK)
        before = load_model(registry, registry.get(1))
    features = table(project, "features", OPEN)
    expected = evaluate(truth.reindex(features["SK_ID_CURR"]).to_numpy(), before.pd(features), 0.5, 10)
    assert rival.metadata["auc_champion"].value == pytest.approx(expected.metrics["auc"].value)
    worse = evaluate(truth.reindex(scores["applicant"]).to_numpy(), scores["pd"].to_numpy(), 0.5, 10)
    assert rival.metadata["auc_candidate"].value == pytest.approx(worse.metrics["auc"].value)


def test_no_drift_page_is_drawn_without_columns(project: Project, scored_again: PerformanceReport) -> None:
    with instance_of(project) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey([BOOK, "score_drift"]))
    assert event and event.asset_materialization and "report" not in event.asset_materialization.metadata
    assert not (project.reports / BOOK / f"drift-{OPEN}.html").exists()


def run_assets(project: Project, *tables: str, batch: str = OPEN) -> tuple[str, tuple[str, ...]]:
    """The job `score` for the open batch with some of its assets only: the run, and its errors."""
    with inside(project), instance_of(project) as instance:
        outcome = execute(instance, build(BOOK, project), BOOK, "score", batch, lambda line: None, tables)
    return outcome.run_id, outcome.errors


@pytest.fixture(scope="module")
def promoted_on_shift(project: Project, scored_again: PerformanceReport) -> PerformanceReport:
    """The batch when the champion with one tree had learned from batches with half the amounts and shares and nothing
    missing, and was promoted on data like this batch.
    """
    config = Portfolio.load(project, BOOK).drift
    now, pds = table(project, "features", OPEN), table(project, "scores", OPEN)[["pd"]]
    numbers = now.select_dtypes("number").columns
    then = now.assign(**now[numbers].fillna(0) / 2)
    with inside(project), duckdb.connect() as con:
        registry = Registry.of(project, BOOK)
        second = registry.get(2)
        model = load_model(registry, second)
        population = Reference.build(con.from_df(now), model.features, config, "pd", con.from_df(pds))
        learned = Reference.build(con.from_df(then), model.features, config, "pd", con.from_df(pds / 2))
        folder = project.root / "in_charge"
        folder.mkdir()
        learned.save(folder / DRIFT_REFERENCE)
        dataclasses.replace(population, batch=OPEN).save(folder / POPULATION)
        registry.log(second, {}, {"": folder})
    configure(project, {"drift": {"missing_rise": 0.999}})
    outcome = run_job(project, "score", OPEN)
    assert outcome.success, outcome.errors
    return performance_report(project, outcome.run_id)


def test_shift_present_at_the_promotion_does_not_fail_again(
    project: Project, promoted_on_shift: PerformanceReport
) -> None:
    drift = pd.concat([table(project, name, OPEN) for name in ("feature_drift", "score_drift")]).set_index("feature")
    assert drift.loc["pd", "psi"] > 0.25 < drift.loc["external_score_2", "psi"]
    assert set(drift["verdict"]) == {"stable"}
    ending = "; stable against 2026-03, when version 2 was promoted"
    assert drift.loc["external_score_2", "change"].endswith(ending)
    assert (promoted_on_shift.checks[SCORES_DRIFTED].description or "").endswith(f"{ending}.")
    drift_checks = (FEATURES_DRIFTED, FEATURES_USABLE, MISSINGNESS, NEW_CATEGORIES, SCORES_DRIFTED)
    assert all(promoted_on_shift.checks[name].passed for name in drift_checks)


def test_important_feature_missing_at_the_promotion_still_blocks_the_scores(
    project: Project, promoted_on_shift: PerformanceReport
) -> None:
    configure(project, {"drift": {"missing_rise": 0.3}})
    run_id, _ = run_assets(project, "feature_drift")
    checks = checks_of(project, run_id)
    assert not checks[FEATURES_USABLE].passed
    assert checks[FEATURES_DRIFTED].passed and checks[MISSINGNESS].passed


def test_scores_are_compared_with_the_version_that_made_them(
    project: Project, promoted_on_shift: PerformanceReport
) -> None:
    with inside(project):
        Registry.of(project, BOOK).promote(1, by="hand", why="to see whose scores are looked at")
    run_id, _ = run_assets(project, "score_drift")
    stable = checks_of(project, run_id)[SCORES_DRIFTED]
    assert stable.metadata["model_version"].value == 2
    assert stable.passed and "when version 2 was promoted" in (stable.description or "")


@pytest.fixture(scope="module")
def deleted(project: Project, promoted_on_shift: PerformanceReport) -> PerformanceReport:
    """The version that scored the open batch is deleted, then its outcomes are evaluated again."""
    with inside(project):
        Registry.of(project, BOOK).promote(1, by="hand", why="the other is deleted")
        delete(Registry.of(project, BOOK), 2)
    outcome = run_job(project, "outcomes", OPEN)
    assert outcome.success, outcome.errors
    return performance_report(project, outcome.run_id)


def test_scores_of_a_deleted_version_are_no_longer_judged(project: Project, deleted: PerformanceReport) -> None:
    assert table(project, "performance", OPEN).empty
    for name in (PERFORMANCE_HOLDS, CALIBRATED_IN_SEGMENTS, NOT_WORSE):
        assert deleted.checks[name].passed
        assert deleted.checks[name].description == "No verdict: version 2 is no longer registered."
    _, errors = run_assets(project, "score_drift")
    assert errors[0].startswith("Version 2 of home_credit, which scored 2026-03, is no longer registered")


def test_only_batches_unknown_to_the_champion_request_a_training(
    project: Project, deleted: PerformanceReport, tmp_path: Path
) -> None:
    """The champion's reference says that all amounts and shares were half as large, so every batch has shifted."""
    third = register_again(project, trees=1)
    config, portfolio = Portfolio.load(project, BOOK).drift, Portfolio.load(project, BOOK)
    now, pds = table(project, "features", OPEN), table(project, "scores", OPEN)[["pd"]]
    then = now.assign(**now[now.select_dtypes("number").columns].fillna(0) / 2)
    with inside(project), duckdb.connect() as con:
        registry = Registry.of(project, BOOK)
        version = registry.get(third)
        model = load_model(registry, version)
        reference = Reference.build(con.from_df(then), model.features, config, "pd", con.from_df(pds / 2))
        reference.save(tmp_path / DRIFT_REFERENCE)
        registry.log(version, {}, {"": tmp_path})
        registry.promote(third, by="hand", why="to see what asks for a training")
    configure(project, {"drift": {"missing_rise": 0.999}})
    checks = {
        batch: checks_of(project, run_assets(project, "feature_drift", batch=batch)[0]) for batch in (LEARNED, OPEN)
    }
    assert {batch: check[FEATURES_DRIFTED].passed for batch, check in checks.items()} == {
        LEARNED: True,
        OPEN: False,
    }
    assert all(check[FEATURES_DRIFTED].metadata["shifted"].value > 0 for check in checks.values())
    learned = str(checks[LEARNED][FEATURES_DRIFTED].description)
    assert learned.startswith("Not an alarm: before its promotion, version 3 learned from 1,")
    assert " Shifted: " in learned
    with instance_of(project) as instance:
        failed = failed_checks(instance, portfolio, RETRAINING_CHECKS, registry.get(third))
    assert [(failure.check, failure.batch) for failure in failed] == [(FEATURES_DRIFTED, OPEN)]

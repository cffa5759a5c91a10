"""The timeline of a small lake and a registry, both written by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from credit_assets.history.timeline import champion_history, timeline
from credit_assets.lake.tables import Lake
from credit_assets.registry.champions import decided_at
from credit_assets.registry.registry import Registry
from credit_assets.schemas.history import ChampionHistory
from credit_assets.settings.portfolio import Portfolio
from credit_assets_tests.conftest import Line
from credit_assets_tests.history.conftest import Book
from credit_assets_tests.small_project import BATCHES, BOOK
from credit_assets_tests.small_project import table as rows_of

FILES = {"application.csv": "aa"}


def test_timeline_is_empty_if_nothing_happened(book: Book) -> None:
    assert book.told().empty
    assert champion_history(book.registry).empty


def test_batch_is_delivered_once_and_corrected_when_its_files_differ(book: Book) -> None:
    book.raw("applications", "2026-01", 3, FILES, run="first")
    book.raw("bureau", "2026-01", 2, {"bureau.csv": "bb"}, run="first")
    # The same files again: nothing happened.
    book.raw("applications", "2026-01", 3, FILES, run="again")
    for table, files in (("applications", {"application.csv": "cc"}), ("bureau", {"bureau.csv": "dd"})):
        book.raw(table, "2026-01", 4, files, run="corrected")
    book.raw("applications", "2026-02", 5, {"application.csv": "ee"})
    told = book.told()
    assert told["kind"].tolist() == ["delivery", "correction", "delivery"]
    assert told["batch"].tolist() == ["2026-01", "2026-01", "2026-02"]
    assert told["run"].tolist() == ["first", "corrected", "ingest"]
    assert told["value"].tolist()[::2] == [3, 5]
    assert "applications, bureau" in told["words"][1]
    assert told["synthetic"].all()


def test_delivery_half_ingested_by_a_killed_run_is_listed_once(book: Book) -> None:
    book.raw("applications", "2026-01", 3, FILES, run="killed")
    book.raw("applications", "2026-01", 3, FILES, run="next")
    book.raw("bureau", "2026-01", 3, {"bureau.csv": "bb"}, run="next")
    assert book.told()["kind"].tolist() == ["delivery"]


def test_outcomes_are_listed_each_time_they_differ(book: Book) -> None:
    book.raw("applications", "2026-01", 3, FILES)
    book.raw("outcomes", "2026-01", 0, {})
    book.raw("outcomes", "2026-01", 2, {"outcomes.csv": "aa"})
    book.raw("outcomes", "2026-01", 2, {"outcomes.csv": "aa"})
    book.raw("outcomes", "2026-01", 3, {"outcomes.csv": "aa", "outcomes_2.csv": "bb"})
    told = book.of_kind("outcomes")
    assert [fact["value"] for fact in told] == [2, 3]
    assert told[1]["words"] == "3 outcomes known"
    assert book.of_kind("correction") == []


def test_drift_is_judged_with_the_importance_of_the_model_of_that_time(book: Book) -> None:
    """One of twenty features has shifted, which is too few; but the second version relies on it."""
    verdicts = "x" + 19 * "s"
    book.promote(book.register(0.7, {f"f{place}": 1.0 for place in range(20)}))
    book.drift("2026-01", verdicts)
    book.register(0.71, {"f0": 1.0})
    book.drift("2026-01", verdicts, model_version=2)
    book.score_drift("2026-01", 0.3, "shifted")
    before, after, score = book.of_kind("drift")
    assert (before["model_version"], before["value"], before["verdict"]) == (1, 1.0, "moderate")
    assert (after["model_version"], after["value"], after["verdict"]) == (2, 1.0, "shifted")
    assert "100.0% of the model's importance" in after["words"]
    assert (score["measure"], score["value"], score["verdict"]) == ("score PSI", 0.3, "shifted")


def test_check_whose_rows_were_purged_is_listed_without_figures(book: Book) -> None:
    book.promote(book.register(0.7, {"f0": 1.0}))
    book.drift("2026-01", "xx")
    [gone] = (Path(book.lake.address(f"{BOOK}/feature_drift")) / "batch=2026-01").iterdir()
    book.drift("2026-01", "ss")
    gone.unlink()
    before, after = book.of_kind("drift")
    assert pd.isna(before["value"])
    assert before["verdict"] is None
    assert before["words"] == "features: the figures are no longer available"
    assert after["verdict"] == "stable"


def test_scores_of_another_champion_are_a_separate_event(book: Book) -> None:
    book.scores("2026-01", ["approve", "approve", "approve", "decline"], 1)
    book.scores("2026-01", ["approve", "decline", "decline", "decline"], 2)
    first, second = book.of_kind("scored", "re-scored")
    assert [(fact["kind"], fact["model_version"], fact["value"]) for fact in (first, second)] == [
        ("scored", 1, 0.75),
        ("re-scored", 2, 0.25),
    ]
    assert first["words"] == "4 applicants: 75.0% approved, mean PD 25.0%"


def test_commit_without_a_model_version_belongs_to_the_champion_of_its_time(book: Book) -> None:
    book.promote(book.register(0.7, {"f0": 1.0}))
    book.drift("2026-01", "ss")
    book.promote(book.register(0.7, {"f0": 1.0}))
    book.drift("2026-02", "ss")
    assert [fact["model_version"] for fact in book.of_kind("drift")] == [1, 2]


def test_measured_performance_is_distinguished_from_its_estimate(book: Book) -> None:
    book.performance("2026-01", 0.74, "estimate")
    book.performance("2026-01", 0.70, "outcomes")
    estimated, measured = book.of_kind("estimate", "performance")
    assert (estimated["kind"], estimated["value"], measured["kind"], measured["value"]) == (
        "estimate",
        0.74,
        "performance",
        0.7,
    )
    assert measured["words"] == "AUC 0.700 (0.650 to 0.750) on 450 outcomes"
    assert "500 applicants" in estimated["words"]


def test_candidates_are_listed_with_their_triggers_and_gate_results(book: Book) -> None:
    first = book.register(0.7, {}, why="there is no champion", dagster_run="train")
    book.promote(first)
    refused = book.register(0.6, {})
    book.registry.log_gate(refused, "refused by the gate: AUC 0.6 is below 0.65", passed=False)
    book.register(None, {})
    told = book.of_kind("training")
    assert [fact["words"] for fact in told] == [
        "candidate 1, AUC 0.700 (0.680 to 0.720); there is no champion",
        "candidate 2, AUC 0.600 (0.580 to 0.620); refused by the gate: AUC 0.6 is below 0.65",
        "candidate 3; not promoted",
    ]
    assert told[0]["run"] == "train"
    assert told[0]["low"] == pytest.approx(0.68)


def test_rollback_is_distinguished_from_a_promotion(book: Book) -> None:
    for _ in range(2):
        book.promote(book.register(0.7, {}))
    book.registry.roll_back(by="rollback", why="AUC fell", dagster_runs=["back"])
    moves = book.of_kind("promotion", "rollback")
    assert [(fact["kind"], fact["model_version"], fact["run"]) for fact in moves] == [
        ("promotion", 1, "train"),
        ("promotion", 2, "train"),
        ("rollback", 1, "back"),
    ]
    assert moves[1]["words"] == "version 2 became champion, replacing version 1, by the gate: better"
    assert moves[2]["words"] == "version 1 became champion, replacing version 2, automatically: AUC fell"


def test_events_are_sorted_by_time(book: Book) -> None:
    book.raw("applications", "2026-02", 3, FILES)
    book.raw("applications", "2026-01", 3, FILES)
    book.promote(book.register(0.7, {"f0": 1.0}))
    book.drift("2026-02", "ss")
    book.scores("2026-02", ["approve"], 1)
    told = book.told()
    assert told["kind"].tolist() == ["delivery", "delivery", "training", "promotion", "drift", "scored"]
    assert told["at"].is_monotonic_increasing
    assert abs(told["at"].iloc[-1] - datetime.now(UTC).replace(tzinfo=None)) < pd.Timedelta(minutes=1)


def test_history_names_the_version_that_decided_at_a_time(book: Book) -> None:
    for auc in (0.7, None):
        book.promote(book.register(auc, {}))
    book.registry.roll_back(by="hand", why="AUC fell")
    table = ChampionHistory.to_schema().validate(champion_history(book.registry))
    assert table["version"].tolist() == [1, 2, 1]
    assert table["replaced"].tolist() == [pd.NA, 1, 2]
    assert table["by"].tolist() == ["gate", "gate", "hand"]
    assert table["decided_until"].tolist() == [*table["decided_from"][1:], pd.NaT]
    assert table["auc"].tolist() == pytest.approx([0.7, float("nan"), 0.7], nan_ok=True)
    assert table["synthetic"].all()
    for event in book.registry.history():
        when = pd.Timestamp(event.at).tz_localize(None)
        held = table[(table["decided_from"] <= when) & ~(table["decided_until"] <= when)]
        assert held["version"].tolist() == [decided_at(book.registry.history(), event.at)]


def test_timeline_of_a_real_project_agrees_with_its_runs_and_tables(line: Line) -> None:
    portfolio, lake = Portfolio.load(line.project, BOOK), Lake(line.project.lake)
    told = timeline(portfolio, lake, Registry.of(line.project, BOOK))
    runs = {(outcome.job, outcome.batch): outcome.run_id for outcome in line.outcomes}
    of_kind = {kind: facts.set_index("batch") for kind, facts in told.groupby("kind")}
    assert of_kind["delivery"].index.tolist() == list(BATCHES)
    assert of_kind["training"]["run"].tolist() == of_kind["promotion"]["run"].tolist() == [runs["train", None]]
    assert of_kind["promotion"]["words"].iloc[0].startswith("version 1 became champion, by the gate: ")
    for batch in BATCHES:
        assert of_kind["delivery"].loc[batch, "value"] == len(rows_of(line.project, "applications", batch))
        scores = rows_of(line.project, "scores", batch)
        assert of_kind["scored"].loc[batch, "value"] == pytest.approx((scores["decision"] == "approve").mean())
        drift = of_kind["drift"].loc[batch].set_index("measure")
        assert drift.loc["score PSI", "value"] == rows_of(line.project, "score_drift", batch)["psi"].iloc[0]
        shifted = rows_of(line.project, "feature_drift", batch)["verdict"] == "shifted"
        assert drift.loc["features shifted", "value"] == shifted.sum()
        assert set(drift["run"]) == {of_kind["scored"].loc[batch, "run"]} == {runs["score", batch]}
    assert told["synthetic"].all()

"""A year with the real daemon: what ran, which alerts were sent, and what was learned from two shifts; and that the
same year, with daemons and run processes killed at random, ends the same way.

In short: the first batch brings its outcomes and produces the first champion. From the sixth month on all amounts are
half as large again; the drift is detected at once and answered by a new champion, and is not reported afterwards. This
champion has not learned the shift yet, which shows in the outcomes and is corrected once enough of them are known. From
the eleventh month on a high external score goes with default; that shows in the outcomes only.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest

from credit_assets.dagster_private import (
    AUTO_RETRY_RUN_ID_TAG,
    RUN_FAILURE_REASON_TAG,
    InstigatorTick,
    InstigatorType,
    TickStatus,
)
from credit_assets.lake.maintenance import committed_files, log_files, maintain
from credit_assets.lake.tables import Lake
from credit_assets.registry.registry import Registry
from credit_assets.settings.retention import RetentionConfig
from credit_assets.settings.run_tags import CORRECTION_TAG, WHY_TAG
from credit_assets.statistics.comparison import compare
from credit_assets_tests.end_to_end.year import (
    APPLICANTS,
    BAD,
    CORRECTED,
    DEAR,
    MONTHS,
    Killer,
    YearResult,
    make_deliveries,
    run_year,
)
from credit_assets_tests.small_project import BOOK

# The tests are steps of one story.
pytestmark = pytest.mark.story

JAN, FEB, MAR, APR, MAY, JUN, JUL, AUG, SEP, OCT, NOV, DEC, JAN2, FEB2 = MONTHS


# The runs by month, as job and batch; `batch` processes a whole batch.
RUNS = {
    JAN: ["ingest 2026-01", "train", "score 2026-01"],
    FEB: ["batch 2026-02"],
    MAR: ["batch 2026-03", "outcomes 2026-02"],
    APR: ["batch 2026-04 failed", "outcomes 2026-03"],
    MAY: ["batch 2026-05", "batch 2026-04", "batch 2026-02"],
    # The shift: a champion from newer outcomes, although none of the shifted batches has outcomes yet.
    JUN: ["batch 2026-06", "outcomes 2026-04", "outcomes 2026-05", "train", "score 2026-06"],
    JUL: ["batch 2026-07", "outcomes 2026-06"],
    AUG: ["batch 2026-08", "outcomes 2026-07"],
    SEP: ["batch 2026-09", "outcomes 2026-08"],
    # Outcomes of four shifted months are known: the champion learns the shift.
    OCT: ["batch 2026-10", "outcomes 2026-08", "outcomes 2026-09", "train", "score 2026-10"],
    NOV: ["batch 2026-11", "outcomes 2026-10"],
    DEC: ["batch 2026-12", "outcomes 2026-11"],
    JAN2: ["batch 2027-01", "outcomes 2026-12"],
    # And the reversed effect of the external score.
    FEB2: ["batch 2027-02", "outcomes 2027-01", "train", "score 2027-02"],
}

# Alerts of a training: its start, a group's approval rate, its promotion.
TRAINED = ["retraining", "check_warning", "promotion"]
ALERTS = {
    JAN: TRAINED,
    FEB: [],
    MAR: [],
    APR: ["run_failed 2026-04"],
    MAY: ["correction 2026-02"],
    # Reported against the former champion, and not again against the new one, whose reference includes such batches.
    JUN: ["check_failed 2026-06", *TRAINED],
    # The default rate, once it is known: large loans are taken for risky, or for safe, ones.
    JUL: ["check_failed 2026-06"],
    AUG: ["check_failed 2026-07"],
    # Half of August's outcomes, judged together with those of June and July, are enough.
    SEP: ["check_failed 2026-08"],
    OCT: ["check_failed 2026-08", "check_failed 2026-09", *TRAINED],
    NOV: [],
    DEC: ["check_failed 2026-11"],
    JAN2: ["check_failed 2026-12"],
    FEB2: ["check_failed 2027-01", *TRAINED],
}


KILLS, SEED = 10, 20
# Columns that differ between projects: the run that made a model, and the numbers of earlier versions and commits.
OF_THE_PROJECT = ["model_run_id", "model_version", "features_checked_against", "feature_table_version"]


@dataclass(frozen=True)
class Years:
    made: Path
    ordinary: YearResult
    killed: YearResult


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> Years:
    """One undisturbed year and one with kills, run at the same time."""
    folder = tmp_path_factory.mktemp("years")
    made = make_deliveries(folder / "made")
    with ThreadPoolExecutor(2) as both:
        ordinary = both.submit(run_year, folder / "ordinary", made)
        killed = both.submit(run_year, folder / "killed", made, Killer(SEED, KILLS))
        return Years(made, ordinary.result(), killed.result())


@pytest.fixture(scope="module")
def year(years: Years) -> YearResult:
    return years.ordinary


@pytest.fixture(scope="module")
def killed(years: Years) -> YearResult:
    return years.killed


@pytest.fixture(scope="module")
def ticks(year: YearResult) -> list[InstigatorTick]:
    """The ticks of the sensor `retrain`, oldest first."""
    with dg.DagsterInstance.from_config(str(year.project.root)) as instance:
        [sensor] = [
            state
            for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
            if state.instigator_name == "retrain"
        ]
        return list(reversed(instance.get_ticks(sensor.instigator_origin_id, sensor.selector_id)))


def told(run: dg.DagsterRun) -> str:
    words = [run.job_name, run.tags.get("dagster/partition"), "failed" if run.is_failure else None]
    return " ".join(word for word in words if word)


@pytest.mark.parametrize("month", MONTHS)
def test_each_month_runs_what_is_due_and_nothing_twice(year, month):
    assert Counter(told(run) for run in year.months()[month]) == Counter(RUNS[month])


@pytest.mark.parametrize("month", MONTHS)
def test_each_month_sends_its_alerts_and_none_twice(year, month):
    told = [
        f"{alert['kind']} {alert['batch'] or ''}".strip()
        for alert in year.alerts
        if year.month(pd.Timestamp(alert["since"]).timestamp() + 1) == month
    ]
    assert Counter(told) == Counter(ALERTS[month])


def test_no_alert_is_sent_twice(year):
    assert max(Counter(alert["id"] for alert in year.alerts).values()) == 1


def test_every_run_states_its_reason_and_corrections_are_tagged(year):
    runs = [record.dagster_run for record in year.runs]
    assert all(run.tags.get(WHY_TAG) for run in runs)
    [corrected] = [run for run in runs if CORRECTION_TAG in run.tags]
    assert told(corrected) == f"batch {CORRECTED}"


def test_invalid_delivery_reports_its_error(year):
    [alert] = [alert for alert in year.alerts if alert["kind"] == "run_failed"]
    assert alert["batch"] == BAD
    assert "lacks the column EXT_SOURCE_2" in alert["details"]


def test_failed_checks_retrain_only_when_enough_new_outcomes_are_known(year, ticks):
    """In between, the ticks state what was requested and why it is refused."""
    by_month: dict[str, list[InstigatorTick]] = {month: [] for month in MONTHS}
    for tick in ticks:
        by_month[year.month(tick.timestamp)].append(tick)
    for month in (JUL, AUG, SEP):
        assert all(tick.status == TickStatus.SKIPPED for tick in by_month[month])
        skipped = by_month[month][-1].skip_reason
        assert "performance_holds failed on 2026-06" in skipped
        assert "features_stable" not in skipped and "scores_stable" not in skipped
        assert "Refused for now: " in skipped
    trained = [run.tags[WHY_TAG] for runs in year.months().values() for run in runs if run.job_name == "train"]
    assert [f"{4 * APPLICANTS:,} new outcomes" in why for why in trained] == [False, True, True, True]


def failed_checks(year: YearResult, asset: str, batch: str) -> list[set[str]]:
    """The failed checks of each materialization of the batch's asset, oldest first."""
    with dg.DagsterInstance.from_config(str(year.project.root)) as instance:
        made = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey([BOOK, asset]), asset_partitions=[batch]), limit=10, ascending=True
        ).records
        runs = [instance.all_logs(each.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION) for each in made]
    evaluations = [[entry.dagster_event.asset_check_evaluation_data for entry in entries] for entries in runs]
    return [
        {each.check_name for each in told if not each.passed and each.asset_key.path[-1] == asset}
        for told in evaluations
    ]


def test_shift_is_not_reported_again_after_the_promotion_that_answered_it(year):
    first, again = failed_checks(year, "feature_drift", JUN)
    assert "features_stable" in first and not again
    later = [failed_checks(year, asset, batch) for asset in ("feature_drift", "score_drift") for batch in DEAR[1:]]
    assert not any(failed for made in later for failed in made)
    drift = year.table("feature_drift", JUL).set_index("feature")
    assert drift.loc["income", "verdict"] == "stable"
    assert drift.loc["income", "change"].endswith("; stable against 2026-06, when version 2 was promoted")


def test_challenger_after_the_concept_shift_beats_the_old_champion_on_the_next_batch(years, year):
    """The newest batch was scored by the old champion on arrival, then by the new one; its outcomes follow later."""
    batch = MONTHS[-1]
    lake = Lake(year.project.lake)
    new, old, *_ = lake.writes(f"{BOOK}/scores")[batch]
    outcomes = pd.read_csv(years.made / "outcomes" / batch / "outcomes.csv").set_index("SK_ID_CURR")["TARGET"]
    pds = [
        year.table("scores", batch, commit.version).set_index("applicant")["pd"].reindex(outcomes.index)
        for commit in (new, old)
    ]
    told = compare(outcomes.to_numpy(), *pds)
    assert told.auc_candidate > 0.6 > told.auc_champion
    assert told.auc_difference.low > 0
    assert told.p_value < 0.001


def test_every_training_was_promoted_by_the_gate(year):
    events = Registry.of(year.project, BOOK).history()
    assert [(event.version, event.by) for event in events] == [(1, "gate"), (2, "gate"), (3, "gate"), (4, "gate")]
    assert [event.replaced for event in events] == [None, 1, 2, 3]


def test_earlier_decisions_stay_readable_after_a_batch_was_rescored(year):
    lake = Lake(year.project.lake)
    new, old = lake.writes(f"{BOOK}/scores")[JUN][:2]
    versions = [year.table("scores", JUN, commit.version)["model_version"].unique().tolist() for commit in (old, new)]
    assert versions == [[1], [2]]


@pytest.mark.parametrize("batch", MONTHS)
def test_every_batch_is_scored_completely(year, batch):
    assert len(year.table("scores", batch)) == APPLICANTS


# -- the year with kills -----------------------------------------------------------------------------


def test_year_with_kills_had_enough_kills(killed):
    assert killed.killed.total() >= KILLS
    assert killed.killed["worker"] >= 4 <= killed.killed["daemon"]


def test_every_run_has_ended(killed):
    assert {record.dagster_run.status for record in killed.runs} == {
        dg.DagsterRunStatus.SUCCESS,
        dg.DagsterRunStatus.FAILURE,
    }


def test_killed_runs_are_failed_with_the_reason_and_retried_unchanged(killed):
    runs = {record.dagster_run.run_id: record.dagster_run for record in killed.runs}
    crashed = [run for run in runs.values() if run.is_failure and RUN_FAILURE_REASON_TAG not in run.tags]
    assert crashed
    with dg.DagsterInstance.from_config(str(killed.project.root)) as instance:
        for run in crashed:
            words = " ".join(entry.message for entry in instance.all_logs(run.run_id))
            # The last one belongs to a run that was about to be retried when the code server was killed.
            reasons = ("no longer exists", "terminated by signal 9", "while dequeuing the run")
            assert any(reason in words for reason in reasons), words
            again = runs[run.tags[AUTO_RETRY_RUN_ID_TAG]]
            assert again.job_name == run.job_name
            assert again.run_config == run.run_config
            assert again.asset_selection == run.asset_selection
            ours = {name: value for name, value in run.tags.items() if name.startswith("credit_assets/")}
            assert ours.items() <= again.tags.items()
            assert again.tags.get("dagster/partition") == run.tags.get("dagster/partition")


def test_only_the_invalid_delivery_failed_permanently(killed):
    failed = [run for runs in killed.months().values() for run in runs if run.is_failure]
    assert [run.tags["dagster/partition"] for run in failed] == [BAD]


def test_alerts_equal_those_of_the_undisturbed_year(years, killed):
    """Each alert counts once by its id: a sender killed before it knew that a message had arrived sends it again."""
    ordinary, disturbed = (
        Counter((alert["kind"], alert["batch"]) for alert in {a["id"]: a for a in year.alerts}.values())
        for year in (years.ordinary, killed)
    )
    assert ordinary == disturbed


def test_champions_and_their_reasons_equal_those_of_the_undisturbed_year(years, killed):
    ordinary, disturbed = (
        [(event.by, event.version, event.replaced) for event in Registry.of(year.project, BOOK).history()]
        for year in (years.ordinary, killed)
    )
    assert ordinary == disturbed


def test_no_additional_version_was_registered(years, killed):
    ordinary, disturbed = (
        [version.number for version in Registry.of(year.project, BOOK).versions()] for year in (years.ordinary, killed)
    )
    assert ordinary == disturbed


@pytest.mark.parametrize("batch", MONTHS)
def test_scores_equal_those_of_the_undisturbed_year_byte_for_byte(years, killed, batch):
    ordinary, disturbed = (
        year.table("scores", batch).drop(columns=OF_THE_PROJECT) for year in (years.ordinary, killed)
    )
    pd.testing.assert_frame_equal(ordinary, disturbed, check_exact=True)
    assert ordinary["pd"].to_numpy().tobytes() == disturbed["pd"].to_numpy().tobytes()


@pytest.mark.parametrize("name", ["applications", "bureau", "outcomes", "features", "feature_drift", "score_drift"])
def test_tables_equal_those_of_the_undisturbed_year_byte_for_byte(years, killed, name):
    ordinary, disturbed = (year.table(name) for year in (years.ordinary, killed))
    pd.testing.assert_frame_equal(ordinary, disturbed, check_exact=True)


def test_every_version_of_every_table_is_readable(killed):
    lake = Lake(killed.project.lake)
    tables = lake.tables(BOOK)
    made = ("scores", "features", "applications", "training_set", "performance", "operations/timeline")
    assert {f"{BOOK}/{name}" for name in made} <= set(tables)
    with duckdb.connect() as con:
        for name in tables:
            for commit in lake.history(name):
                # Counting opens every file of the version; their rows are read once below.
                [rows] = con.sql(f"SELECT count(*) FROM ({lake.query(name, version=commit.version)})").fetchall()[0]
                assert rows >= commit.provenance.rows
            files = [lake.address(key) for key in committed_files(lake, name)]
            con.read_parquet(files, union_by_name=True).to_table("read")
            con.execute("DROP TABLE read")


def test_partial_writes_of_killed_runs_are_in_no_table_and_removed_by_maintenance(killed):
    lake = Lake(killed.project.lake)

    def orphans() -> set[str]:
        written = {str(file) for file in killed.project.lake.rglob("*.parquet") if "_delta_log" not in file.parts}
        return written - {lake.address(key) for table in log_files(lake) for key in committed_files(lake, table)}

    left = orphans()
    later = datetime.now(UTC) + timedelta(days=2)
    done = maintain(lake, BOOK, f"{BOOK}/scores", [], RetentionConfig(), later)
    assert sum(len(table.orphans) for table in done.tables) == len(left)
    assert orphans() == set()

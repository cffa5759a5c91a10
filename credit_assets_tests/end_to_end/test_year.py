"""A year by the real daemon, undisturbed: what ran, what was told, and what was learned from two shifts.

The story in short: the first batch brings its outcomes and makes the first champion. From the sixth month on all
amounts are half as large again; the drift is seen at once, answered by a champion, and no news from then on. That
this one has learned nothing of it yet shows in the outcomes, and is mended once enough of them are known. From the
eleventh on a high external score goes with default; that shows in outcomes alone.
"""

from __future__ import annotations

from collections import Counter

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus

from credit_assets.automation.jobs import CORRECTION_TAG
from credit_assets.evaluation.comparison import compare
from credit_assets.lake.tables import Lake
from credit_assets.models import registry
from credit_assets.resources import WHY_TAG
from credit_assets_tests.end_to_end.conftest import Years
from credit_assets_tests.end_to_end.year import APPLICANTS, BAD, CORRECTED, DEAR, MONTHS, Lived
from credit_assets_tests.small_project import BOOK

JAN, FEB, MAR, APR, MAY, JUN, JUL, AUG, SEP, OCT, NOV, DEC, JAN2, FEB2 = MONTHS


# By month the runs, as job and batch; `batch` makes all of one.
RUNS = {
    JAN: ["ingest 2026-01", "train", "score 2026-01"],
    FEB: ["batch 2026-02"],
    MAR: ["batch 2026-03", "outcomes 2026-02"],
    APR: ["batch 2026-04 failed", "outcomes 2026-03"],
    MAY: ["batch 2026-05", "batch 2026-04", "batch 2026-02"],
    # The shift: a champion from newer outcomes, though none of the shifted ones are known yet.
    JUN: ["batch 2026-06", "outcomes 2026-04", "outcomes 2026-05", "train", "score 2026-06"],
    JUL: ["batch 2026-07", "outcomes 2026-06"],
    AUG: ["batch 2026-08", "outcomes 2026-07"],
    SEP: ["batch 2026-09", "outcomes 2026-08"],
    # Outcomes of four shifted months are known: the champion learns the shift.
    OCT: ["batch 2026-10", "outcomes 2026-08", "outcomes 2026-09", "train", "score 2026-10"],
    NOV: ["batch 2026-11", "outcomes 2026-10"],
    DEC: ["batch 2026-12", "outcomes 2026-11"],
    JAN2: ["batch 2027-01", "outcomes 2026-12"],
    # And the other way that defaults come about.
    FEB2: ["batch 2027-02", "outcomes 2027-01", "train", "score 2027-02"],
}

# Of a training: that it began, of some group's approvals, that it was promoted.
TRAINED = ["retraining", "check_warning", "promotion"]
ALERTS = {
    JAN: TRAINED,
    FEB: [],
    MAR: [],
    APR: ["run_failed 2026-04"],
    MAY: ["correction 2026-02"],
    # Against the champion before; not again against the new one, which is put in charge of such batches.
    JUN: ["check_failed 2026-06", *TRAINED],
    # The default rate, once it is known: dear loans are taken for risky, or safe, ones.
    JUL: ["check_failed 2026-06"],
    AUG: ["check_failed 2026-07"],
    # Half of the outcomes are too few to be sure of August's.
    SEP: [],
    OCT: ["check_failed 2026-08", "check_failed 2026-09", *TRAINED],
    NOV: [],
    DEC: ["check_failed 2026-11"],
    JAN2: ["check_failed 2026-12"],
    FEB2: ["check_failed 2027-01", *TRAINED],
}


@pytest.fixture(scope="module")
def year(years: Years) -> Lived:
    return years.ordinary


@pytest.fixture(scope="module")
def ticks(year: Lived) -> list[InstigatorTick]:
    """Of the sensor `retrain`, oldest first."""
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
def test_each_month_is_told_what_happened_and_nothing_twice(year, month):
    told = [
        f"{alert['kind']} {alert['batch'] or ''}".strip()
        for alert in year.alerts
        if year.month(pd.Timestamp(alert["since"]).timestamp() + 1) == month
    ]
    assert Counter(told) == Counter(ALERTS[month])


def test_no_alert_is_sent_twice(year):
    assert max(Counter(alert["id"] for alert in year.alerts).values()) == 1


def test_every_run_says_why_and_the_correction_that_it_is_one(year):
    runs = [record.dagster_run for record in year.runs]
    assert all(run.tags.get(WHY_TAG) for run in runs)
    [corrected] = [run for run in runs if CORRECTION_TAG in run.tags]
    assert told(corrected) == f"batch {CORRECTED}"


def test_the_bad_delivery_says_what_is_wrong_with_it(year):
    [alert] = [alert for alert in year.alerts if alert["kind"] == "run_failed"]
    assert alert["batch"] == BAD
    assert "lacks the column EXT_SOURCE_2" in alert["details"]


def test_failed_checks_train_again_only_when_enough_new_outcomes_are_known(year, ticks):
    """In between, the ticks say what was asked for and why it is refused."""
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


def failed_checks(year: Lived, asset: str, batch: str) -> list[set[str]]:
    """The checks that failed each time that the batch's asset was made, oldest first."""
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


def test_the_same_shift_does_not_fire_again_after_the_promotion_that_answered_it(year):
    first, again = failed_checks(year, "feature_drift", JUN)
    assert "features_stable" in first and not again
    later = [failed_checks(year, asset, batch) for asset in ("feature_drift", "score_drift") for batch in DEAR[1:]]
    assert not any(failed for made in later for failed in made)
    drift = year.table("feature_drift", JUL).set_index("feature")
    assert drift.loc["income", "verdict"] == "stable"
    assert drift.loc["income", "change"].endswith("; stable against 2026-06, when version 2 was promoted")


def test_the_challenger_after_the_concept_shift_beats_the_old_champion_on_the_next_batch(years, year):
    """The newest batch was scored by the old champion when it came, and by the new one; its outcomes come later."""
    batch = MONTHS[-1]
    lake = Lake(year.project.lake)
    new, old, *_ = lake.writings(f"{BOOK}/scores")[batch]
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
    events = registry.history(year.project.tracking_uri, BOOK)
    assert [(event.version, event.by) for event in events] == [(1, "gate"), (2, "gate"), (3, "gate"), (4, "gate")]
    assert [event.replaced for event in events] == [None, 1, 2, 3]


def test_decisions_given_are_readable_after_a_batch_was_scored_again(year):
    lake = Lake(year.project.lake)
    new, old = lake.writings(f"{BOOK}/scores")[JUN][:2]
    versions = [year.table("scores", JUN, commit.version)["model_version"].unique().tolist() for commit in (old, new)]
    assert versions == [[1], [2]]


@pytest.mark.parametrize("batch", MONTHS)
def test_every_batch_is_scored_whole(year, batch):
    assert len(year.table("scores", batch)) == APPLICANTS

"""What the schedules start and when: asked as the daemon asks them."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from credit_assets.automation.pending import training_key
from credit_assets.automation.runs import execute
from credit_assets.automation.schedules import schedules
from credit_assets.dagster_private import PARTITION_NAME_TAG
from credit_assets.definitions import build
from credit_assets.settings.run_tags import AUTOMATIC_TAG, CHAMPION_TAG, KEY_TAG, PORTFOLIO_TAG, WHY_TAG
from credit_assets_tests.automation.loop import BOOK, FILES, OUTCOMES, Asked, Loop
from credit_assets_tests.small_project import FEW_FEATURES, inside, make_project

MONDAY, TUESDAY = datetime(2026, 6, 1, 5, tzinfo=UTC), datetime(2026, 6, 2, 5, tzinfo=UTC)


def only(asked: Asked) -> dg.RunRequest:
    [request] = asked
    assert isinstance(request, dg.RunRequest)
    return request


def sweep(loop: Loop, at: datetime = MONDAY) -> Asked:
    return loop.due("daily_sweep", at)


def parts(loop: Loop, job: str) -> set[dg.AssetKey]:
    return set(loop.repository.get_job(job).asset_layer.executable_asset_keys)


# -- when -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "job", "times"),
    [
        ("weekly_challenger", "train", ["Mon 05 Jan 03:00", "Mon 12 Jan 03:00"]),
        ("daily_sweep", "batch", ["Thu 01 Jan 05:00", "Fri 02 Jan 05:00"]),
        ("weekly_maintenance", "maintenance", ["Sun 04 Jan 04:00", "Sun 11 Jan 04:00"]),
    ],
)
def test_each_schedule_is_at_work_by_itself_at_its_time(loop, name, job, times):
    made = {schedule.name: schedule for schedule in schedules(loop.book, {})}
    assert len(made) == 3
    assert made[name].job_name == job
    assert made[name].default_status == dg.DefaultScheduleStatus.RUNNING
    new_year = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    ticks = schedule_execution_time_iterator(new_year, made[name].cron_schedule, made[name].execution_timezone)
    assert [f"{next(ticks):%a %d %b %H:%M}" for _ in times] == times


# -- the weekly challenger --------------------------------------------------------------------------


def with_outcomes(loop: Loop, batch: str) -> None:
    loop.copy(batch)
    loop.copy(batch, OUTCOMES)
    loop.ingest(batch)


def test_no_challenger_is_trained_while_too_little_is_new(loop):
    loop.automated(min_new_outcomes=3)
    assert loop.due("weekly_challenger", MONDAY) == (
        "0 outcomes are known that no candidate has learned from, fewer than the 3 of automation.min_new_outcomes."
    )
    with_outcomes(loop, "2026-01")
    loop.crown()
    with_outcomes(loop, "2026-02")
    assert loop.due("weekly_challenger", MONDAY) == (
        "2 outcomes are known that version 1 has not learned from, fewer than the 3 of automation.min_new_outcomes. "
        "Without more, training would make the same model again."
    )


def test_a_challenger_is_trained_once_enough_is_new(loop):
    loop.automated(min_new_outcomes=2)
    with_outcomes(loop, "2026-01")
    loop.crown()
    with_outcomes(loop, "2026-02")
    request = only(loop.due("weekly_challenger", MONDAY))
    assert (request.job_name, request.partition_key, request.asset_selection) == ("train", None, None)
    assert request.run_key == request.tags[KEY_TAG] == f"{training_key(loop.portfolio, loop.lake)}:first"
    assert request.tags[WHY_TAG] == "The weekly challenger. 2 new outcomes are known."
    assert request.tags[AUTOMATIC_TAG] == "true"
    loop.start(request, dg.DagsterRunStatus.SUCCESS)
    loop.learn()
    assert "0 outcomes are known that version 2" in str(loop.due("weekly_challenger", MONDAY))


# -- the daily sweep --------------------------------------------------------------------------------


def test_where_all_is_done_nothing_was_missed(loop):
    assert sweep(loop) == "Nothing was missed."
    version = loop.crown()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version)
    assert sweep(loop) == "Nothing was missed."


def test_a_delivery_that_no_sensor_looked_at_is_ingested(loop):
    loop.crown()
    loop.copy("2026-01")
    loop.copy("2026-02", "bureau.csv.part")
    request = only(sweep(loop))
    assert (request.job_name, request.partition_key) == ("batch", "2026-01")
    assert set(request.asset_selection) == parts(loop, "ingest") != parts(loop, "batch")
    assert request.run_key == f"{request.tags[KEY_TAG]}:2026-06-01"
    assert request.tags[WHY_TAG] == "delivered, not ingested yet"
    assert request.tags[AUTOMATIC_TAG] == "true"
    assert request.tags[PARTITION_NAME_TAG] == "2026-01"
    assert loop.instance.get_dynamic_partitions(f"{BOOK}_batches") == ["2026-01"]
    assert loop.start(request).asset_selection == parts(loop, "ingest")


def test_what_a_killed_run_left_is_swept_up_each_day_until_it_is_done(loop):
    loop.copy("2026-01")
    loop.look()
    asked = only(loop.look())
    loop.kill(asked)
    assert "did not do it" in str(loop.look())
    monday = only(sweep(loop))
    assert monday.tags[KEY_TAG] == asked.tags[KEY_TAG]
    loop.kill(monday)
    tuesday = only(sweep(loop, TUESDAY))
    assert (monday.run_key, tuesday.run_key) == (f"{asked.run_key}:2026-06-01", f"{asked.run_key}:2026-06-02")
    loop.ingest("2026-01")
    assert sweep(loop, TUESDAY) == "Nothing was missed."


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_what_is_at_work_is_not_swept_up(loop, status):
    loop.copy("2026-01")
    loop.copy("2026-02")
    loop.start(only([request for request in loop.settled() if request.partition_key == "2026-01"]), status)
    assert only(sweep(loop)).partition_key == "2026-02"
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert only(sweep(loop)).partition_key == "2026-02"


def test_what_somebody_is_copying_just_now_is_not_swept_up(loop):
    """Nor a folder that lacks a file, however long it has lain there."""
    loop.copy("2026-01")
    (loop.copy("2026-02") / "bureau.csv").unlink()
    assert loop.due("daily_sweep", MONDAY, later=30) == "Nothing was missed."
    assert only(sweep(loop)).partition_key == "2026-01"


def test_another_portfolios_run_for_a_work_of_that_key_says_nothing(loop):
    loop.copy("2026-01")
    run = loop.fail(only(loop.settled()))
    assert sweep(loop) == "Nothing was missed."
    loop.instance.add_run_tags(run, {PORTFOLIO_TAG: "other"})
    assert only(sweep(loop)).partition_key == "2026-01"


def test_a_challenger_waits_for_a_training_that_is_at_work(loop):
    loop.automated(min_new_outcomes=2)
    loop.copy("2026-01", *FILES, OUTCOMES)
    loop.ingest("2026-01")
    request = only(loop.due("weekly_challenger", MONDAY))
    run = loop.start(request)
    assert loop.due("weekly_challenger", MONDAY) == f"A training is active, run {run.run_id}."


def test_what_failed_in_a_step_waits_for_other_files(loop):
    loop.copy("2026-01")
    loop.fail(only(loop.settled()))
    assert sweep(loop) == "Nothing was missed."
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert only(sweep(loop)).tags[WHY_TAG] == "delivered, not ingested yet"


def test_a_run_that_really_failed_in_a_step_is_known_for_it(loop, tmp_path):
    """What the tests above write down as a failure is what Dagster does."""
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    loop.project = project
    loop.copy("2026-01")
    request = only(loop.settled())
    with inside(project):
        outcome = execute(
            loop.instance, build(BOOK, project), BOOK, "ingest", "2026-01", lambda _: None, (), request.tags
        )
    assert not outcome.success
    assert sweep(loop) == "Nothing was missed."


def test_features_without_scores_are_scored_by_the_champion(loop):
    version = loop.crown()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.copy("2026-02")
    loop.ingest("2026-02")
    loop.score("2026-02", version, "scores")
    asked = sweep(loop)
    assert isinstance(asked, list)
    first, second = sorted(asked, key=lambda request: str(request.partition_key))
    assert (first.job_name, set(first.asset_selection or [])) == ("batch", parts(loop, "score"))
    assert (second.job_name, second.asset_selection) == ("batch", [dg.AssetKey([BOOK, "score_drift"])])
    for request in asked:
        assert request.tags[CHAMPION_TAG] == str(version)
        loop.start(request)


def test_later_outcomes_that_no_sensor_looked_at_are_held_against_the_scores(loop):
    version = loop.crown()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version)
    loop.copy("2026-01", OUTCOMES)
    request = only(sweep(loop))
    assert (request.job_name, set(request.asset_selection)) == ("batch", parts(loop, "outcomes"))
    loop.start(request)


def test_of_a_batch_its_new_files_come_first(loop):
    """The scores of what is made of them come after."""
    loop.crown()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert only(sweep(loop)).tags[WHY_TAG] == "its files differ from what was ingested: bureau"


def test_a_batch_whose_one_run_failed_at_its_scores_waits_for_another_champion(loop):
    loop.crown()
    loop.copy("2026-01")
    failed = loop.fail(only(loop.settled()))
    loop.ingest("2026-01", run_id=failed)
    assert sweep(loop) == "Nothing was missed."
    loop.crown()
    assert set(only(sweep(loop)).asset_selection) == parts(loop, "score")


def test_a_batch_whose_one_run_was_killed_at_its_scores_is_scored(loop):
    loop.crown()
    loop.copy("2026-01")
    killed = loop.kill(only(loop.settled()))
    loop.ingest("2026-01", run_id=killed)
    assert set(only(sweep(loop)).asset_selection) == parts(loop, "score")


# -- the weekly maintenance -------------------------------------------------------------------------


def test_the_maintenance_is_one_run_a_week(loop):
    first, again = (only(loop.due("weekly_maintenance", MONDAY)) for _ in range(2))
    assert first.run_key == again.run_key == "2026-06-01T05:00:00+00:00"
    assert only(loop.due("weekly_maintenance", TUESDAY)).run_key != first.run_key

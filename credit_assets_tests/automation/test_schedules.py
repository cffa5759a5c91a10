"""What the schedules start and when, evaluated as the daemon evaluates them."""

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

pytestmark = pytest.mark.slow

MONDAY, TUESDAY = datetime(2026, 6, 1, 5, tzinfo=UTC), datetime(2026, 6, 2, 5, tzinfo=UTC)


def only(asked: Asked) -> dg.RunRequest:
    [request] = asked
    assert isinstance(request, dg.RunRequest)
    return request


def sweep(loop: Loop, at: datetime = MONDAY) -> Asked:
    return loop.due("daily_sweep", at)


def parts(loop: Loop, job: str) -> set[dg.AssetKey]:
    return set(loop.repository.get_job(job).asset_layer.executable_asset_keys)


# -- times ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "job", "times"),
    [
        ("weekly_challenger", "train", ["Mon 05 Jan 03:00", "Mon 12 Jan 03:00"]),
        ("daily_sweep", "batch", ["Thu 01 Jan 05:00", "Fri 02 Jan 05:00"]),
        ("weekly_maintenance", "maintenance", ["Sun 04 Jan 04:00", "Sun 11 Jan 04:00"]),
    ],
)
def test_schedules_run_by_default_at_their_times(loop, name, job, times):
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


def test_no_challenger_is_trained_while_too_few_outcomes_are_new(loop):
    loop.automated(min_new_outcomes=3)
    assert loop.due("weekly_challenger", MONDAY) == (
        "0 outcomes are known that no candidate has learned from, but automation.min_new_outcomes requires 3."
    )
    with_outcomes(loop, "2026-01")
    loop.register_champion()
    with_outcomes(loop, "2026-02")
    assert loop.due("weekly_challenger", MONDAY) == (
        "2 outcomes are known that version 1 has not learned from, but automation.min_new_outcomes requires 3. "
        "Without more outcomes, training would produce the same model again."
    )


def test_challenger_is_trained_once_enough_outcomes_are_new(loop):
    loop.automated(min_new_outcomes=2)
    with_outcomes(loop, "2026-01")
    loop.register_champion()
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


def test_sweep_finds_nothing_when_everything_is_done(loop):
    assert sweep(loop) == "Nothing was missed."
    version = loop.register_champion()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version)
    assert sweep(loop) == "Nothing was missed."


def test_sweep_ingests_a_delivery_that_no_sensor_saw(loop):
    loop.register_champion()
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


def test_sweep_restarts_killed_work_each_day_until_it_is_done(loop):
    loop.copy("2026-01")
    loop.poll()
    asked = only(loop.poll())
    loop.kill(asked)
    assert "did not complete it; changed files" in str(loop.poll())
    monday = only(sweep(loop))
    assert monday.tags[KEY_TAG] == asked.tags[KEY_TAG]
    loop.kill(monday)
    tuesday = only(sweep(loop, TUESDAY))
    assert (monday.run_key, tuesday.run_key) == (f"{asked.run_key}:2026-06-01", f"{asked.run_key}:2026-06-02")
    loop.ingest("2026-01")
    assert sweep(loop, TUESDAY) == "Nothing was missed."


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_sweep_leaves_active_work_alone(loop, status):
    loop.copy("2026-01")
    loop.copy("2026-02")
    loop.start(only([request for request in loop.poll_twice() if request.partition_key == "2026-01"]), status)
    assert only(sweep(loop)).partition_key == "2026-02"
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert only(sweep(loop)).partition_key == "2026-02"


def test_sweep_leaves_incomplete_copies_alone(loop):
    """This includes a folder that lacks a file, however old it is."""
    loop.copy("2026-01")
    (loop.copy("2026-02") / "bureau.csv").unlink()
    assert loop.due("daily_sweep", MONDAY, later=30) == "Nothing was missed."
    assert only(sweep(loop)).partition_key == "2026-01"


def test_sweep_ignores_a_run_of_another_portfolio_with_the_same_key(loop):
    loop.copy("2026-01")
    run = loop.fail(only(loop.poll_twice()))
    assert sweep(loop) == "Nothing was missed."
    loop.instance.add_run_tags(run, {PORTFOLIO_TAG: "other"})
    assert only(sweep(loop)).partition_key == "2026-01"


def test_challenger_waits_for_an_active_training(loop):
    loop.automated(min_new_outcomes=2)
    loop.copy("2026-01", *FILES, OUTCOMES)
    loop.ingest("2026-01")
    request = only(loop.due("weekly_challenger", MONDAY))
    run = loop.start(request)
    assert loop.due("weekly_challenger", MONDAY) == f"A training is active (run {run.run_id})."


def test_work_that_failed_in_a_step_waits_for_other_files(loop):
    loop.copy("2026-01")
    loop.fail(only(loop.poll_twice()))
    assert sweep(loop) == "Nothing was missed."
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert only(sweep(loop)).tags[WHY_TAG] == "delivered, not ingested yet"


def test_run_that_really_failed_in_a_step_is_recognised(loop, tmp_path):
    """The failure that the tests above write by hand is the one that Dagster writes."""
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    loop.project = project
    loop.copy("2026-01")
    request = only(loop.poll_twice())
    with inside(project):
        outcome = execute(
            loop.instance, build(BOOK, project), BOOK, "ingest", "2026-01", lambda _: None, (), request.tags
        )
    assert not outcome.success
    assert sweep(loop) == "Nothing was missed."


def test_sweep_scores_features_without_scores_by_the_champion(loop):
    version = loop.register_champion()
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


def test_sweep_ingests_later_outcomes_that_no_sensor_saw(loop):
    version = loop.register_champion()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version)
    loop.copy("2026-01", OUTCOMES)
    request = only(sweep(loop))
    assert (request.job_name, set(request.asset_selection)) == ("batch", parts(loop, "outcomes"))
    loop.start(request)


def test_new_files_of_a_batch_are_processed_before_its_scores(loop):
    """The scores that follow from them come afterwards."""
    loop.register_champion()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert only(sweep(loop)).tags[WHY_TAG] == "its files differ from what was ingested: bureau"


def test_sweep_leaves_failed_scores_until_another_champion(loop):
    loop.register_champion()
    loop.copy("2026-01")
    failed = loop.fail(only(loop.poll_twice()))
    loop.ingest("2026-01", run_id=failed)
    assert sweep(loop) == "Nothing was missed."
    loop.register_champion()
    assert set(only(sweep(loop)).asset_selection) == parts(loop, "score")


def test_sweep_scores_a_batch_whose_run_was_killed_at_its_scores(loop):
    loop.register_champion()
    loop.copy("2026-01")
    killed = loop.kill(only(loop.poll_twice()))
    loop.ingest("2026-01", run_id=killed)
    assert set(only(sweep(loop)).asset_selection) == parts(loop, "score")


# -- the weekly maintenance -------------------------------------------------------------------------


def test_weekly_maintenance_is_one_run(loop):
    first, again = (only(loop.due("weekly_maintenance", MONDAY)) for _ in range(2))
    assert first.run_key == again.run_key == "2026-06-01T05:00:00+00:00"
    assert only(loop.due("weekly_maintenance", TUESDAY)).run_key != first.run_key

"""What the sensors start, and what they say of what they do not: asked as the daemon asks them, look after look.

When a batch is due is `test_pending.py`'s, when a failed check is answered `test_retraining.py`'s.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from credit_assets.automation import sensors as module
from credit_assets.automation.due import Due
from credit_assets.automation.jobs import jobs
from credit_assets.automation.pending import to_score, training_key
from credit_assets.automation.sensors import sensors
from credit_assets.dagster_private import PARTITION_NAME_TAG
from credit_assets.monitoring.check_names import FEATURES_DRIFTED, NOT_WORSE
from credit_assets.registry.registry import Registry
from credit_assets.settings.run_tags import AUTOMATIC_TAG, CHAMPION_TAG, CORRECTION_TAG, KEY_TAG, PORTFOLIO_TAG, WHY_TAG
from credit_assets_tests.automation.loop import BOOK, FILES, OUTCOMES, Asked, Loop
from credit_assets_tests.automation.test_retraining import evaluated

FIRST = "first seen as it is now; it is taken if the next poll finds it the same"
NOTHING = "Every delivery is ingested and scored."


def runs(asked: Asked) -> list[tuple[str, str | None]]:
    """The job and the batch of each run that is asked for."""
    assert isinstance(asked, list), asked
    return [(str(request.job_name), request.partition_key) for request in asked]


def only(asked: Asked) -> dg.RunRequest:
    [request] = asked
    assert isinstance(request, dg.RunRequest)
    return request


def parts(request: dg.RunRequest) -> list[str]:
    return [key.path[-1] for key in request.asset_selection or []]


# -- deliveries -------------------------------------------------------------------------------------


def test_without_a_delivery_there_is_nothing_to_do(loop):
    assert loop.look() == NOTHING


def test_a_folder_that_is_still_being_copied_starts_nothing_and_says_what_it_waits_for(loop):
    folder = loop.copy("2026-01", *FILES[:3])
    (folder / f"{FILES[3]}.part").touch()
    for _ in range(3):
        assert loop.look() == f"2026-01: {FILES[3]}.part: still being written, by its name"
    (folder / f"{FILES[3]}.part").rename(folder / FILES[3])
    for _ in range(3):
        assert str(loop.look()).startswith("2026-01: Table pos_cash_balance: no file POS_CASH_balance (.csv.gz, .csv,")
    loop.copy("2026-01", *FILES[4:])
    assert loop.look() == f"2026-01: {FIRST}"
    assert runs(loop.look()) == [("ingest", "2026-01")]


def test_a_file_that_grows_between_the_looks_starts_nothing(loop):
    folder = loop.copy("2026-01")
    loop.look()
    for _ in range(2):
        with (folder / FILES[0]).open("a") as growing:
            growing.write("2\n")
        assert loop.look() == "2026-01: its files have changed since the last poll"
    assert runs(loop.look()) == [("ingest", "2026-01")]


def test_what_is_waited_for_is_told_of_each_folder(loop):
    loop.copy("May 2026")
    loop.copy("2026-01", FILES[0])
    loop.copy("2026-02")
    words = str(loop.look())
    assert words.startswith("2026-01: Table bureau: no file bureau")
    assert f"; 2026-02: {FIRST}; May 2026: 'May 2026' cannot be a batch's name" in words


def test_without_a_champion_a_delivery_is_ingested(loop):
    loop.copy("2026-01")
    request = only(loop.settled())
    assert (request.job_name, request.partition_key, parts(request)) == ("ingest", "2026-01", [])
    assert request.tags[KEY_TAG] == request.run_key
    assert request.tags[WHY_TAG] == "delivered, not ingested yet"
    assert request.tags[AUTOMATIC_TAG] == "true"
    assert request.tags[PARTITION_NAME_TAG] == "2026-01"
    assert CHAMPION_TAG not in request.tags
    assert CORRECTION_TAG not in request.tags
    assert loop.start(request).tags[PORTFOLIO_TAG] == BOOK


def test_without_the_registry_deliveries_are_ingested_and_every_tick_names_it(loop, monkeypatch):
    loop.crown()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    loop.registry = Registry.of(loop.project, BOOK)
    away = "The model registry at http://127.0.0.1:9 (MLFLOW_TRACKING_URI) does not answer: Connection refused."
    loop.copy("2026-01")
    assert loop.look() == f"{away} 2026-01: {FIRST}"
    assert runs(loop.look()) == [("ingest", "2026-01")]
    loop.ingest("2026-01")
    assert loop.look() == f"{away} Every delivery is ingested."
    assert (loop.look("retrain"), loop.look("roll_back")) == (away, away)
    now = datetime.now(UTC)
    assert (loop.due("weekly_challenger", now), loop.due("daily_sweep", now)) == (away, away)


def test_with_a_champion_a_delivery_is_made_whole_in_one_run(loop):
    loop.crown()
    version = loop.crown()
    loop.copy("2026-01")
    request = only(loop.settled())
    assert (request.job_name, request.partition_key, parts(request)) == ("batch", "2026-01", [])
    assert request.tags[CHAMPION_TAG] == str(version) == "2"
    assert loop.start(request).job_name == "batch"


def test_a_batch_that_is_asked_for_is_a_partition_by_then(loop):
    loop.copy("2026-01")
    loop.look()
    assert loop.instance.get_dynamic_partitions(f"{BOOK}_batches") == []
    loop.copy("2026-02")
    loop.look()
    assert loop.instance.get_dynamic_partitions(f"{BOOK}_batches") == ["2026-01"]
    loop.look()
    assert set(loop.instance.get_dynamic_partitions(f"{BOOK}_batches")) == {"2026-01", "2026-02"}


def test_what_is_ingested_and_scored_is_left_alone(loop):
    version = loop.crown()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version)
    assert loop.look() == NOTHING


def test_the_same_content_again_starts_nothing(loop):
    folder = loop.copy("2026-01")
    loop.ingest("2026-01")
    for name in FILES:
        (folder / name).write_bytes((folder / name).read_bytes())
    assert loop.look() == f"2026-01: {FIRST}"
    for _ in range(2):
        assert loop.look() == NOTHING


def test_a_correction_is_one_whole_run_that_says_so(loop):
    version = loop.crown()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version)
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    request = only(loop.settled())
    assert (request.job_name, parts(request)) == ("batch", [])
    assert request.tags[CORRECTION_TAG] == "true"
    assert request.tags[WHY_TAG] == "its files differ from what was ingested: bureau"


def test_later_outcomes_of_a_scored_batch_are_held_against_its_scores(loop):
    version = loop.crown()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version)
    loop.copy("2026-01", OUTCOMES)
    request = only(loop.settled())
    assert (request.job_name, request.partition_key, parts(request)) == ("outcomes", "2026-01", [])
    assert request.tags[WHY_TAG] == "outcomes were delivered"
    assert CORRECTION_TAG not in request.tags
    assert loop.start(request).job_name == "outcomes"


@pytest.mark.parametrize("with_champion", [False, True])
def test_later_outcomes_of_a_batch_without_scores_are_read_alone(loop, with_champion):
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.copy("2026-01", OUTCOMES)
    if with_champion:
        loop.crown()
    request = only(loop.settled())
    assert (request.job_name, parts(request)) == ("ingest", ["outcomes"])
    assert loop.start(request).asset_selection == {dg.AssetKey([BOOK, "outcomes"])}
    loop.ingest("2026-01", "outcomes")
    loop.instance.delete_run(loop.instance.get_runs()[0].run_id)
    if with_champion:
        assert runs(loop.look()) == [("score", "2026-01")]
    else:
        assert loop.look() == NOTHING


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_a_batch_waits_for_the_run_that_is_at_work_on_it_and_no_other_batch_does(loop, status):
    loop.copy("2026-01")
    at_work = loop.start(only(loop.settled()), status)
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert loop.look() == "2026-01: its files have changed since the last poll"
    assert loop.look() == "2026-01: a run of it is active; then: delivered, not ingested yet"
    loop.copy("2026-02")
    assert runs(loop.settled()) == [("ingest", "2026-02")]
    loop.instance.report_run_failed(at_work)
    assert runs(loop.look()) == [("ingest", "2026-01"), ("ingest", "2026-02")]


def test_a_run_that_ends_while_the_lake_is_read_is_not_followed_by_another(loop, monkeypatch):
    loop.crown()
    loop.copy("2026-01")
    at_work = loop.start(only(loop.settled()), dg.DagsterRunStatus.STARTED)
    loop.ingest("2026-01", run_id=at_work.run_id)

    def as_it_ends(*read: Any) -> list[Due]:
        due = to_score(*read)
        loop.instance.report_run_failed(at_work)
        return due

    monkeypatch.setattr(module, "to_score", as_it_ends)
    assert str(loop.look()).startswith("2026-01: a run of it is active")


def test_what_was_started_and_failed_is_not_asked_for_again_until_its_files_change(loop):
    loop.copy("2026-01")
    request = only(loop.settled())
    failed = loop.fail(request)
    for _ in range(2):
        assert loop.look() == (
            f"2026-01: delivered, not ingested yet, but run {failed} did not do it; "
            "other files or the sweep start another"
        )
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert only(loop.settled()).run_key != request.run_key


def test_a_run_of_the_same_work_by_a_schedule_or_a_person_hinders_none(loop):
    """Dagster, too, keeps each sensor's keys apart from the others'."""
    loop.copy("2026-01")
    request = only(loop.settled())
    by_hand = {tag: value for tag, value in request.tags.items() if tag != "dagster/sensor_name"}
    loop.fail(request.with_replaced_attrs(tags=by_hand))
    assert only(loop.look()).run_key == request.run_key


def test_a_look_starts_so_many_runs_and_the_next_one_the_others(loop):
    loop.automated(batches_a_look=2)
    for batch in ("2026-01", "2026-02", "2026-03"):
        loop.copy(batch)
    asked = loop.settled()
    assert runs(asked) == [("ingest", "2026-01"), ("ingest", "2026-02")]
    for request in asked:
        loop.start(request)
    assert runs(loop.look()) == [("ingest", "2026-03")]


def test_what_failed_or_is_at_work_takes_no_others_turn(loop):
    loop.automated(batches_a_look=1)
    for batch in ("2026-01", "2026-02", "2026-03"):
        loop.copy(batch)
    loop.fail(only(loop.settled()))
    loop.start(only(loop.look()))
    assert runs(loop.look()) == [("ingest", "2026-03")]


def test_a_new_champion_scores_what_was_not_scored(loop):
    for batch in ("2026-01", "2026-02"):
        loop.copy(batch)
        loop.ingest(batch)
    assert loop.look() == NOTHING
    version = loop.crown()
    asked = loop.look()
    assert runs(asked) == [("score", "2026-01"), ("score", "2026-02")]
    for request in asked:
        assert request.tags[WHY_TAG] == "not scored yet"
        assert request.tags[CHAMPION_TAG] == str(version)
        loop.start(request)


def test_scores_that_were_not_looked_over_are_looked_over_alone(loop):
    version = loop.crown()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version, "scores")
    request = only(loop.look())
    assert (request.job_name, parts(request)) == ("score", ["score_drift"])
    assert loop.start(request).asset_selection == {dg.AssetKey([BOOK, "score_drift"])}


def test_a_scoring_that_failed_waits_for_another_champion(loop):
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.crown()
    failed = loop.fail(only(loop.look()))
    assert loop.look() == (
        f"2026-01: not scored yet, but run {failed} did not do it; other files or the sweep start another"
    )
    loop.crown()
    assert only(loop.look()).tags[CHAMPION_TAG] == "2"


def test_a_batch_whose_one_run_failed_at_its_scores_is_not_scored_again_by_the_same_champion(loop):
    loop.crown()
    loop.copy("2026-01")
    failed = loop.fail(only(loop.settled()))
    loop.ingest("2026-01", run_id=failed)
    assert loop.look() == f"2026-01: its run {failed} failed; it is scored once its files, or the champion, change"
    loop.crown()
    assert runs(loop.look()) == [("score", "2026-01")]


def test_a_batch_whose_one_run_failed_at_its_scores_is_made_again_of_other_files(loop):
    loop.crown()
    loop.copy("2026-01")
    failed = loop.fail(only(loop.settled()))
    loop.ingest("2026-01", run_id=failed)
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert "its files have changed" in str(loop.look())
    assert runs(loop.look()) == [("batch", "2026-01")]


def test_features_that_a_finished_run_made_are_scored(loop):
    """Of one that began before there was a champion, that a person cancelled, or that is no longer remembered."""
    loop.copy("2026-01")
    first = loop.start(only(loop.settled()), dg.DagsterRunStatus.SUCCESS)
    loop.ingest("2026-01", run_id=first.run_id)
    loop.crown()
    assert runs(loop.look()) == [("score", "2026-01")]
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    cancelled = loop.start(only([loop.look(), loop.look()][1]), dg.DagsterRunStatus.CANCELED)
    loop.ingest("2026-01", run_id=cancelled.run_id)
    assert runs(loop.look()) == [("score", "2026-01")]
    loop.instance.delete_run(cancelled.run_id)
    assert runs(loop.look()) == [("score", "2026-01")]


def test_outcomes_that_were_refused_stop_no_other_batch(loop):
    """All but the outcomes of the batch was made, up to its scores."""
    version = loop.crown()
    loop.copy("2026-01")
    loop.copy("2026-01", OUTCOMES)
    failed = loop.fail(only(loop.settled()))
    loop.ingest("2026-01", *(set(loop.portfolio.tables) - {"outcomes"}), "features", run_id=failed)
    loop.score("2026-01", version, "scores", "score_drift")
    loop.copy("2026-02")
    assert runs(loop.settled()) == [("batch", "2026-02")]


def test_a_restart_neither_forgets_nor_repeats(loop):
    loop.copy("2026-01")
    loop.look()
    assert json.loads(str(loop.cursor)).keys() == {"2026-01"}
    with dg.DagsterInstance.local_temp(loop.instance.root_directory) as restarted:
        again = replace(loop, instance=restarted)
        again.fail(only(again.look()))
    assert "did not do it" in str(loop.look())


# -- trainings and rollbacks ------------------------------------------------------------------------


def with_outcomes(loop: Loop, batch: str) -> None:
    loop.copy(batch)
    loop.copy(batch, OUTCOMES)
    loop.ingest(batch)


def test_without_outcomes_nothing_is_trained(loop):
    nothing = "There is no champion, and no outcome of a matured batch to learn from."
    assert loop.look("retrain") == nothing
    loop.copy("2026-01")
    loop.ingest("2026-01")
    assert loop.look("retrain") == nothing


def test_the_first_outcomes_start_the_first_training(loop):
    with_outcomes(loop, "2026-01")
    request = only(loop.look("retrain"))
    assert (request.job_name, request.partition_key, request.asset_selection) == ("train", None, None)
    assert request.tags[WHY_TAG] == "There is no champion. 2 new outcomes are known."
    assert request.tags[KEY_TAG] == request.run_key == f"{training_key(loop.portfolio, loop.lake)}:first"
    assert loop.look("retrain") == [request], "the same key, of which Dagster starts one run"
    with_outcomes(loop, "2026-02")
    assert only(loop.look("retrain")).run_key != request.run_key


def test_a_failed_check_starts_a_training_once_enough_is_new(loop):
    loop.automated(min_new_outcomes=2, cool_down_hours=0)
    with_outcomes(loop, "2026-01")
    loop.crown()
    assert loop.look("retrain") == "No check of a batch has failed on version 1 since the last training."
    evaluated(loop.instance, FEATURES_DRIFTED, batch="2026-01")
    assert f"{FEATURES_DRIFTED} failed on 2026-01 (Words). Refused for now: 0 outcomes" in str(loop.look("retrain"))
    with_outcomes(loop, "2026-02")
    request = only(loop.look("retrain"))
    assert request.tags[WHY_TAG] == f"{FEATURES_DRIFTED} failed on 2026-01 (Words). 2 new outcomes are known."
    assert request.run_key == f"{training_key(loop.portfolio, loop.lake)}:first"


def test_a_champion_that_does_worse_than_the_one_before_is_taken_back(loop):
    assert loop.look("roll_back") == "There is no champion."
    loop.crown()
    loop.crown()
    assert loop.look("roll_back") == "Version 2 has not done worse than the champion before it."
    evaluated(loop.instance, NOT_WORSE, batch="2026-01", version=2)
    request = only(loop.look("roll_back"))
    assert request.tags[WHY_TAG] == f"version 2 gives way to version 1: {NOT_WORSE} failed on 2026-01 (Words)"
    assert request.tags[CHAMPION_TAG] == "2"
    asked = {"roll_back": True, "from_version": 2, "why": request.tags[WHY_TAG]}
    assert request.run_config == {"ops": {f"{BOOK}__champion": {"config": asked}}}
    assert loop.start(request).job_name == "rollback"
    loop.promote(1)
    assert loop.look("roll_back") == "Version 1 has not done worse than the champion before it."


def test_without_a_champion_before_it_a_worse_one_stays(loop):
    loop.crown()
    evaluated(loop.instance, NOT_WORSE, batch="2026-01", version=1)
    assert "there is no earlier champion to go back to" in str(loop.look("roll_back"))


# -- as they are defined ----------------------------------------------------------------------------


def test_the_sensors_look_by_themselves_as_often_as_is_configured(loop):
    loop.automated(interval_s=7)
    made = sensors(loop.book, jobs(loop.portfolio))
    assert {sensor.name: [target.job_name for target in sensor.targets] for sensor in made} == {
        "deliveries": ["batch", "ingest", "score", "outcomes"],
        "retrain": ["train"],
        "roll_back": ["rollback"],
    }
    for sensor in made:
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
        assert sensor.minimum_interval_seconds == 7

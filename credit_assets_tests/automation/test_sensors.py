"""What the sensors start, and what they report about the rest: evaluated as the daemon evaluates them, poll after poll.

`test_pending.py` tests when a batch is due, `test_retraining.py` when a failed check leads to a training.
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
from credit_assets.automation.pending import batches_to_score, training_key
from credit_assets.automation.sensors import sensors
from credit_assets.dagster_private import PARTITION_NAME_TAG
from credit_assets.monitoring.check_names import FEATURES_DRIFTED, NOT_WORSE
from credit_assets.registry.registry import Registry
from credit_assets.settings.run_tags import AUTOMATIC_TAG, CHAMPION_TAG, CORRECTION_TAG, KEY_TAG, PORTFOLIO_TAG, WHY_TAG
from credit_assets_tests.automation.loop import BOOK, FILES, OUTCOMES, Asked, Loop
from credit_assets_tests.automation.test_retraining import record_check

pytestmark = pytest.mark.slow

FIRST = "first seen in its present state; it is ingested if the next poll finds it unchanged"
NOTHING = "Every delivery is ingested and scored."


def runs(asked: Asked) -> list[tuple[str, str | None]]:
    """The job and batch of each requested run."""
    assert isinstance(asked, list), asked
    return [(str(request.job_name), request.partition_key) for request in asked]


def only(asked: Asked) -> dg.RunRequest:
    [request] = asked
    assert isinstance(request, dg.RunRequest)
    return request


def parts(request: dg.RunRequest) -> list[str]:
    return [key.path[-1] for key in request.asset_selection or []]


# -- deliveries -------------------------------------------------------------------------------------


def test_sensor_skips_without_a_delivery(loop):
    assert loop.poll() == NOTHING


def test_folder_that_is_being_copied_starts_nothing_and_states_what_is_missing(loop):
    folder = loop.copy("2026-01", *FILES[:3])
    (folder / f"{FILES[3]}.part").touch()
    for _ in range(3):
        assert loop.poll() == f"2026-01: {FILES[3]}.part: still being written, according to the name"
    (folder / f"{FILES[3]}.part").rename(folder / FILES[3])
    for _ in range(3):
        assert str(loop.poll()).startswith("2026-01: Table pos_cash_balance: no file POS_CASH_balance (.csv.gz, .csv,")
    loop.copy("2026-01", *FILES[4:])
    assert loop.poll() == f"2026-01: {FIRST}"
    assert runs(loop.poll()) == [("ingest", "2026-01")]


def test_file_that_grows_between_polls_starts_nothing(loop):
    folder = loop.copy("2026-01")
    loop.poll()
    for _ in range(2):
        with (folder / FILES[0]).open("a") as growing:
            growing.write("2\n")
        assert loop.poll() == "2026-01: its files have changed since the last poll"
    assert runs(loop.poll()) == [("ingest", "2026-01")]


def test_skip_message_names_each_waiting_folder(loop):
    loop.copy("May 2026")
    loop.copy("2026-01", FILES[0])
    loop.copy("2026-02")
    words = str(loop.poll())
    assert words.startswith("2026-01: Table bureau: no file bureau")
    assert f"; 2026-02: {FIRST}; May 2026: 'May 2026' cannot be a batch's name" in words


def test_delivery_is_only_ingested_without_a_champion(loop):
    loop.copy("2026-01")
    request = only(loop.poll_twice())
    assert (request.job_name, request.partition_key, parts(request)) == ("ingest", "2026-01", [])
    assert request.tags[KEY_TAG] == request.run_key
    assert request.tags[WHY_TAG] == "delivered, not ingested yet"
    assert request.tags[AUTOMATIC_TAG] == "true"
    assert request.tags[PARTITION_NAME_TAG] == "2026-01"
    assert CHAMPION_TAG not in request.tags
    assert CORRECTION_TAG not in request.tags
    assert loop.start(request).tags[PORTFOLIO_TAG] == BOOK


def test_deliveries_are_ingested_while_registry_is_unavailable_and_every_tick_names_it(loop, monkeypatch):
    loop.register_champion()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    loop.registry = Registry.of(loop.project, BOOK)
    away = "The model registry at http://127.0.0.1:9 (MLFLOW_TRACKING_URI) does not answer: Connection refused."
    loop.copy("2026-01")
    assert loop.poll() == f"{away} 2026-01: {FIRST}"
    assert runs(loop.poll()) == [("ingest", "2026-01")]
    loop.ingest("2026-01")
    assert loop.poll() == f"{away} Every delivery is ingested."
    assert (loop.poll("retrain"), loop.poll("roll_back")) == (away, away)
    now = datetime.now(UTC)
    assert (loop.due("weekly_challenger", now), loop.due("daily_sweep", now)) == (away, away)


def test_delivery_is_ingested_and_scored_in_one_run_with_a_champion(loop):
    loop.register_champion()
    version = loop.register_champion()
    loop.copy("2026-01")
    request = only(loop.poll_twice())
    assert (request.job_name, request.partition_key, parts(request)) == ("batch", "2026-01", [])
    assert request.tags[CHAMPION_TAG] == str(version) == "2"
    assert loop.start(request).job_name == "batch"


def test_requested_batch_is_registered_as_a_partition(loop):
    loop.copy("2026-01")
    loop.poll()
    assert loop.instance.get_dynamic_partitions(f"{BOOK}_batches") == []
    loop.copy("2026-02")
    loop.poll()
    assert loop.instance.get_dynamic_partitions(f"{BOOK}_batches") == ["2026-01"]
    loop.poll()
    assert set(loop.instance.get_dynamic_partitions(f"{BOOK}_batches")) == {"2026-01", "2026-02"}


def test_ingested_and_scored_batch_starts_nothing(loop):
    version = loop.register_champion()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version)
    assert loop.poll() == NOTHING


def test_redelivery_of_the_same_content_starts_nothing(loop):
    folder = loop.copy("2026-01")
    loop.ingest("2026-01")
    for name in FILES:
        (folder / name).write_bytes((folder / name).read_bytes())
    assert loop.poll() == f"2026-01: {FIRST}"
    for _ in range(2):
        assert loop.poll() == NOTHING


def test_correction_is_one_full_run_tagged_as_correction(loop):
    version = loop.register_champion()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version)
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    request = only(loop.poll_twice())
    assert (request.job_name, parts(request)) == ("batch", [])
    assert request.tags[CORRECTION_TAG] == "true"
    assert request.tags[WHY_TAG] == "its files differ from what was ingested: bureau"


def test_later_outcomes_of_a_scored_batch_update_its_performance(loop):
    version = loop.register_champion()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version)
    loop.copy("2026-01", OUTCOMES)
    request = only(loop.poll_twice())
    assert (request.job_name, request.partition_key, parts(request)) == ("outcomes", "2026-01", [])
    assert request.tags[WHY_TAG] == "outcomes were delivered"
    assert CORRECTION_TAG not in request.tags
    assert loop.start(request).job_name == "outcomes"


@pytest.mark.parametrize("with_champion", [False, True])
def test_later_outcomes_of_an_unscored_batch_are_ingested_alone(loop, with_champion):
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.copy("2026-01", OUTCOMES)
    if with_champion:
        loop.register_champion()
    request = only(loop.poll_twice())
    assert (request.job_name, parts(request)) == ("ingest", ["outcomes"])
    assert loop.start(request).asset_selection == {dg.AssetKey([BOOK, "outcomes"])}
    loop.ingest("2026-01", "outcomes")
    loop.instance.delete_run(loop.instance.get_runs()[0].run_id)
    if with_champion:
        assert runs(loop.poll()) == [("score", "2026-01")]
    else:
        assert loop.poll() == NOTHING


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_batch_waits_for_its_active_run_and_other_batches_do_not(loop, status):
    loop.copy("2026-01")
    at_work = loop.start(only(loop.poll_twice()), status)
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert loop.poll() == "2026-01: its files have changed since the last poll"
    assert loop.poll() == "2026-01: a run of the batch is active; it is due afterwards: delivered, not ingested yet"
    loop.copy("2026-02")
    assert runs(loop.poll_twice()) == [("ingest", "2026-02")]
    loop.instance.report_run_failed(at_work)
    assert runs(loop.poll()) == [("ingest", "2026-01"), ("ingest", "2026-02")]


def test_run_that_ends_while_the_lake_is_read_is_not_started_again(loop, monkeypatch):
    loop.register_champion()
    loop.copy("2026-01")
    at_work = loop.start(only(loop.poll_twice()), dg.DagsterRunStatus.STARTED)
    loop.ingest("2026-01", run_id=at_work.run_id)

    def as_it_ends(*read: Any) -> list[Due]:
        due = batches_to_score(*read)
        loop.instance.report_run_failed(at_work)
        return due

    monkeypatch.setattr(module, "batches_to_score", as_it_ends)
    assert str(loop.poll()).startswith("2026-01: a run of the batch is active")


def test_failed_run_is_not_repeated_until_its_files_change(loop):
    loop.copy("2026-01")
    request = only(loop.poll_twice())
    failed = loop.fail(request)
    for _ in range(2):
        assert loop.poll() == (
            f"2026-01: delivered, not ingested yet, but run {failed} did not complete it; "
            "changed files or the daily sweep start another"
        )
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert only(loop.poll_twice()).run_key != request.run_key


def test_runs_by_schedules_or_people_do_not_block_the_sensor(loop):
    """Dagster, too, keeps the run keys of each sensor separate."""
    loop.copy("2026-01")
    request = only(loop.poll_twice())
    by_hand = {tag: value for tag, value in request.tags.items() if tag != "dagster/sensor_name"}
    loop.fail(request.with_replaced_attrs(tags=by_hand))
    assert only(loop.poll()).run_key == request.run_key


def test_poll_starts_a_limited_number_of_runs_and_the_next_one_the_rest(loop):
    loop.automated(batches_a_look=2)
    for batch in ("2026-01", "2026-02", "2026-03"):
        loop.copy(batch)
    asked = loop.poll_twice()
    assert runs(asked) == [("ingest", "2026-01"), ("ingest", "2026-02")]
    for request in asked:
        loop.start(request)
    assert runs(loop.poll()) == [("ingest", "2026-03")]


def test_failed_and_active_batches_do_not_use_up_the_limit(loop):
    loop.automated(batches_a_look=1)
    for batch in ("2026-01", "2026-02", "2026-03"):
        loop.copy(batch)
    loop.fail(only(loop.poll_twice()))
    loop.start(only(loop.poll()))
    assert runs(loop.poll()) == [("ingest", "2026-03")]


def test_new_champion_scores_unscored_batches(loop):
    for batch in ("2026-01", "2026-02"):
        loop.copy(batch)
        loop.ingest(batch)
    assert loop.poll() == NOTHING
    version = loop.register_champion()
    asked = loop.poll()
    assert runs(asked) == [("score", "2026-01"), ("score", "2026-02")]
    for request in asked:
        assert request.tags[WHY_TAG] == "not scored yet"
        assert request.tags[CHAMPION_TAG] == str(version)
        loop.start(request)


def test_scores_without_drift_are_checked_without_rescoring(loop):
    version = loop.register_champion()
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.score("2026-01", version, "scores")
    request = only(loop.poll())
    assert (request.job_name, parts(request)) == ("score", ["score_drift"])
    assert loop.start(request).asset_selection == {dg.AssetKey([BOOK, "score_drift"])}


def test_failed_scoring_waits_for_another_champion(loop):
    loop.copy("2026-01")
    loop.ingest("2026-01")
    loop.register_champion()
    failed = loop.fail(only(loop.poll()))
    assert loop.poll() == (
        f"2026-01: not scored yet, but run {failed} did not complete it; changed files or the daily sweep start another"
    )
    loop.register_champion()
    assert only(loop.poll()).tags[CHAMPION_TAG] == "2"


def test_batch_whose_run_failed_at_its_scores_is_not_rescored_by_the_same_champion(loop):
    loop.register_champion()
    loop.copy("2026-01")
    failed = loop.fail(only(loop.poll_twice()))
    loop.ingest("2026-01", run_id=failed)
    assert loop.poll() == f"2026-01: its run {failed} failed; it is scored once its files or the champion change"
    loop.register_champion()
    assert runs(loop.poll()) == [("score", "2026-01")]


def test_batch_whose_run_failed_at_its_scores_is_processed_again_with_other_files(loop):
    loop.register_champion()
    loop.copy("2026-01")
    failed = loop.fail(only(loop.poll_twice()))
    loop.ingest("2026-01", run_id=failed)
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    assert "its files have changed" in str(loop.poll())
    assert runs(loop.poll()) == [("batch", "2026-01")]


def test_features_of_a_finished_run_are_scored(loop):
    """The run started before there was a champion, or was cancelled by a person, or has been purged."""
    loop.copy("2026-01")
    first = loop.start(only(loop.poll_twice()), dg.DagsterRunStatus.SUCCESS)
    loop.ingest("2026-01", run_id=first.run_id)
    loop.register_champion()
    assert runs(loop.poll()) == [("score", "2026-01")]
    loop.copy("2026-01", "bureau.csv", content="A\n2\n")
    cancelled = loop.start(only([loop.poll(), loop.poll()][1]), dg.DagsterRunStatus.CANCELED)
    loop.ingest("2026-01", run_id=cancelled.run_id)
    assert runs(loop.poll()) == [("score", "2026-01")]
    loop.instance.delete_run(cancelled.run_id)
    assert runs(loop.poll()) == [("score", "2026-01")]


def test_refused_outcomes_do_not_block_other_batches(loop):
    """Everything but the outcomes of the batch was materialized, up to its scores."""
    version = loop.register_champion()
    loop.copy("2026-01")
    loop.copy("2026-01", OUTCOMES)
    failed = loop.fail(only(loop.poll_twice()))
    loop.ingest("2026-01", *(set(loop.portfolio.tables) - {"outcomes"}), "features", run_id=failed)
    loop.score("2026-01", version, "scores", "score_drift")
    loop.copy("2026-02")
    assert runs(loop.poll_twice()) == [("batch", "2026-02")]


def test_restart_neither_loses_nor_repeats_runs(loop):
    loop.copy("2026-01")
    loop.poll()
    assert json.loads(str(loop.cursor)).keys() == {"2026-01"}
    with dg.DagsterInstance.local_temp(loop.instance.root_directory) as restarted:
        again = replace(loop, instance=restarted)
        again.fail(only(again.poll()))
    assert "did not complete it; changed files" in str(loop.poll())


# -- trainings and rollbacks ------------------------------------------------------------------------


def with_outcomes(loop: Loop, batch: str) -> None:
    loop.copy(batch)
    loop.copy(batch, OUTCOMES)
    loop.ingest(batch)


def test_nothing_is_trained_without_outcomes(loop):
    nothing = "There is no champion, and no matured batch with outcomes to learn from."
    assert loop.poll("retrain") == nothing
    loop.copy("2026-01")
    loop.ingest("2026-01")
    assert loop.poll("retrain") == nothing


def test_first_outcomes_start_the_first_training(loop):
    with_outcomes(loop, "2026-01")
    request = only(loop.poll("retrain"))
    assert (request.job_name, request.partition_key, request.asset_selection) == ("train", None, None)
    assert request.tags[WHY_TAG] == "There is no champion. 2 new outcomes are known."
    assert request.tags[KEY_TAG] == request.run_key == f"{training_key(loop.portfolio, loop.lake)}:first"
    assert loop.poll("retrain") == [request], "the same key, of which Dagster starts one run"
    with_outcomes(loop, "2026-02")
    assert only(loop.poll("retrain")).run_key != request.run_key


def test_failed_check_starts_a_training_once_enough_outcomes_are_new(loop):
    loop.automated(min_new_outcomes=2, cool_down_hours=0)
    with_outcomes(loop, "2026-01")
    loop.register_champion()
    assert loop.poll("retrain") == "No check of a batch has failed on version 1 since the last training."
    record_check(loop.instance, FEATURES_DRIFTED, batch="2026-01")
    assert f"{FEATURES_DRIFTED} failed on 2026-01 (Words). Refused for now: 0 outcomes" in str(loop.poll("retrain"))
    with_outcomes(loop, "2026-02")
    request = only(loop.poll("retrain"))
    assert request.tags[WHY_TAG] == f"{FEATURES_DRIFTED} failed on 2026-01 (Words). 2 new outcomes are known."
    assert request.run_key == f"{training_key(loop.portfolio, loop.lake)}:first"


def test_champion_that_performs_worse_than_its_predecessor_is_rolled_back(loop):
    assert loop.poll("roll_back") == "There is no champion."
    loop.register_champion()
    loop.register_champion()
    assert loop.poll("roll_back") == "Version 2 has not performed worse than its predecessor since it became champion."
    record_check(loop.instance, NOT_WORSE, batch="2026-01", version=2)
    request = only(loop.poll("roll_back"))
    assert request.tags[WHY_TAG] == f"version 1 replaces version 2: {NOT_WORSE} failed on 2026-01 (Words)"
    assert request.tags[CHAMPION_TAG] == "2"
    asked = {"roll_back": True, "from_version": 2, "why": request.tags[WHY_TAG]}
    assert request.run_config == {"ops": {f"{BOOK}__champion": {"config": asked}}}
    assert loop.start(request).job_name == "rollback"
    loop.promote(1)
    assert loop.poll("roll_back") == "Version 1 has not performed worse than its predecessor since it became champion."


def test_worse_champion_without_a_predecessor_stays(loop):
    loop.register_champion()
    record_check(loop.instance, NOT_WORSE, batch="2026-01", version=1)
    assert "there is no previous champion to restore" in str(loop.poll("roll_back"))


# -- definitions ------------------------------------------------------------------------------------


def test_sensors_run_by_default_at_the_configured_interval(loop):
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

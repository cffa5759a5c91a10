"""What is at work, and failures that Dagster's daemon read and did nothing about."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from credit_assets.automation.active_runs import FAILURES_READ, batches_at_work, requeue_missed_failures
from credit_assets.automation.claims import Claims
from credit_assets.automation.sensors import MISSED_FAILURES
from credit_assets.dagster_private import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG
from credit_assets.settings.run_tags import PORTFOLIO_TAG
from credit_assets_tests.automation.loop import Loop
from credit_assets_tests.automation.test_sensors import only


@pytest.fixture
def bare_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """One that launches crashed runs again, as the project's."""
    (tmp_path / "instance").mkdir()
    overrides = {"run_retries": {"enabled": True, "max_retries": 3}}
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance"), overrides=overrides) as instance:
        yield instance


@pytest.fixture
def crashed(loop: Loop) -> str:
    """The run of a delivery, whose process was killed."""
    loop.copy("2026-01")
    return loop.kill(only(loop.settled()))


def read_to(loop: Loop, event: int) -> None:
    loop.instance.daemon_cursor_storage.set_cursor_values({FAILURES_READ: str(event)})


def newest_event(loop: Loop) -> int:
    return loop.instance.event_log_storage.get_maximum_record_id()


def to_read(loop: Loop) -> set[str]:
    """The runs whose failures Dagster's daemon reads next."""
    cursor = loop.instance.daemon_cursor_storage.get_cursor_values({FAILURES_READ})[FAILURES_READ]
    events = loop.instance.event_log_storage.get_logs_for_all_runs_by_log_id(
        after_cursor=int(cursor), dagster_event_type={dg.DagsterEventType.RUN_FAILURE}
    )
    return {event.run_id for event in events.values()}


def test_a_failure_that_was_read_and_passed_over_is_read_again(loop, crashed):
    read_to(loop, newest_event(loop))
    assert to_read(loop) == set()
    assert requeue_missed_failures(loop.instance) == [crashed]
    assert to_read(loop) == {crashed}


def test_each_look_at_the_deliveries_sees_to_it(loop, crashed):
    read_to(loop, newest_event(loop))
    assert "a run of it is active" in loop.look()
    assert to_read(loop) == {crashed}


def test_one_that_is_yet_to_be_read_is_waited_for(loop, crashed):
    read_to(loop, 0)
    assert requeue_missed_failures(loop.instance) == []
    assert loop.instance.daemon_cursor_storage.get_cursor_values({FAILURES_READ}) == {FAILURES_READ: "0"}


@pytest.mark.parametrize("tags", [{AUTO_RETRY_RUN_ID_TAG: "another"}, {WILL_RETRY_TAG: "false"}])
def test_what_was_decided_stays_so(loop, crashed, tags):
    loop.instance.add_run_tags(crashed, tags)
    read_to(loop, newest_event(loop))
    assert requeue_missed_failures(loop.instance) == []
    assert batches_at_work(loop.instance, loop.portfolio) == set()


def test_the_failures_of_all_portfolios_are_requeued_at_once(loop, crashed):
    loop.instance.add_run_tags(crashed, {PORTFOLIO_TAG: "lending_club"})
    read_to(loop, newest_event(loop))
    assert requeue_missed_failures(loop.instance) == [crashed]


def test_a_portfolio_leaves_the_failures_to_the_one_that_has_claimed_them(loop, crashed):
    claims = Claims(loop.project, "lending_club", interval_s=30)
    assert claims.claim(MISSED_FAILURES, time.time(), rank=1)
    read_to(loop, newest_event(loop))
    loop.look()
    assert to_read(loop) == set()
    claims.release(MISSED_FAILURES)
    loop.look()
    assert to_read(loop) == {crashed}


def test_without_a_daemon_there_is_nothing_to_correct(loop, crashed):
    assert requeue_missed_failures(loop.instance) == []

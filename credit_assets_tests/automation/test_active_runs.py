"""Active runs, and failures that Dagster's daemon read but did not act on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from credit_assets.automation.active_runs import DAEMON_CURSOR, active_batches, requeue_missed_failures
from credit_assets.automation.claims import Claims
from credit_assets.automation.sensors import MISSED_FAILURES
from credit_assets.dagster_private import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG
from credit_assets.settings.run_tags import PORTFOLIO_TAG
from credit_assets_tests.automation.loop import Loop
from credit_assets_tests.automation.test_sensors import only

pytestmark = pytest.mark.slow


@pytest.fixture
def bare_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that retries crashed runs, like the project's."""
    (tmp_path / "instance").mkdir()
    overrides = {"run_retries": {"enabled": True, "max_retries": 3}}
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance"), overrides=overrides) as instance:
        yield instance


@pytest.fixture
def crashed(loop: Loop) -> str:
    """A run of a delivery whose process was killed."""
    loop.copy("2026-01")
    return loop.kill(only(loop.poll_twice()))


def set_daemon_cursor(loop: Loop, event: int) -> None:
    loop.instance.daemon_cursor_storage.set_cursor_values({DAEMON_CURSOR: str(event)})


def newest_event(loop: Loop) -> int:
    return loop.instance.event_log_storage.get_maximum_record_id()


def failures_to_read(loop: Loop) -> set[str]:
    """The runs whose failures Dagster's daemon reads next."""
    cursor = loop.instance.daemon_cursor_storage.get_cursor_values({DAEMON_CURSOR})[DAEMON_CURSOR]
    events = loop.instance.event_log_storage.get_logs_for_all_runs_by_log_id(
        after_cursor=int(cursor), dagster_event_type={dg.DagsterEventType.RUN_FAILURE}
    )
    return {event.run_id for event in events.values()}


def test_missed_failure_is_requeued(loop, crashed):
    set_daemon_cursor(loop, newest_event(loop))
    assert failures_to_read(loop) == set()
    assert requeue_missed_failures(loop.instance) == [crashed]
    assert failures_to_read(loop) == {crashed}


def test_each_poll_of_deliveries_requeues_missed_failures(loop, crashed):
    set_daemon_cursor(loop, newest_event(loop))
    assert "a run of the batch is active" in loop.poll()
    assert failures_to_read(loop) == {crashed}


def test_failure_that_the_daemon_has_not_read_yet_is_not_requeued(loop, crashed):
    set_daemon_cursor(loop, 0)
    assert requeue_missed_failures(loop.instance) == []
    assert loop.instance.daemon_cursor_storage.get_cursor_values({DAEMON_CURSOR}) == {DAEMON_CURSOR: "0"}


@pytest.mark.parametrize("tags", [{AUTO_RETRY_RUN_ID_TAG: "another"}, {WILL_RETRY_TAG: "false"}])
def test_failure_whose_retry_is_decided_is_not_requeued(loop, crashed, tags):
    loop.instance.add_run_tags(crashed, tags)
    set_daemon_cursor(loop, newest_event(loop))
    assert requeue_missed_failures(loop.instance) == []
    assert active_batches(loop.instance, loop.portfolio) == set()


def test_failures_of_all_portfolios_are_requeued_at_once(loop, crashed):
    loop.instance.add_run_tags(crashed, {PORTFOLIO_TAG: "lending_club"})
    set_daemon_cursor(loop, newest_event(loop))
    assert requeue_missed_failures(loop.instance) == [crashed]


def test_portfolio_leaves_failures_to_the_one_that_claimed_them(loop, crashed):
    claims = Claims(loop.project, "lending_club", interval_s=30)
    assert claims.claim(MISSED_FAILURES, time.time(), rank=1)
    set_daemon_cursor(loop, newest_event(loop))
    loop.poll()
    assert failures_to_read(loop) == set()
    claims.release(MISSED_FAILURES)
    loop.poll()
    assert failures_to_read(loop) == {crashed}


def test_nothing_is_requeued_without_a_daemon(loop, crashed):
    assert requeue_missed_failures(loop.instance) == []

"""Alerts in the outbox: sent once across restarts and kills, retried, bundled, given up with a report, purged."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from credit_assets.alerts.notifications import Alert, at
from credit_assets.alerts.outbox import DAY, HOUR, LEASE_S, Outbox
from credit_assets.settings.alerts import AlertsConfig, ChannelConfig, EmailConfig
from credit_assets.settings.project import Project
from credit_assets_tests.alerts.receivers import Sink, free_port, http_sink
from credit_assets_tests.alerts.test_notifications import ALERT

NOW = 1_772_000_000.0
CONFIG = AlertsConfig(webhook=ChannelConfig(), per_hour=30)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with http_sink() as sink:
        yield sink


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def outbox(project: Project, config: AlertsConfig = CONFIG) -> Outbox:
    return Outbox(project, "home_credit", config)


def record(box: Outbox, *alerts: Alert, now: float = NOW) -> list[bool]:
    with box.writing():
        return [box.record(alert, now) for alert in alerts]


def deliver(box: Outbox, sink: Sink, now: float = NOW) -> list[str]:
    return box.deliver({"CREDIT_ASSETS_WEBHOOK_URL": sink.url}, lambda: now)


def alert(number: int, **changes: object) -> Alert:
    return replace(ALERT, key=f"run_failed/{number}", title=f"alert {number}", **changes)


# -- sent once --------------------------------------------------------------------------------------


def test_fact_is_sent_once_across_restarts(project, sink):
    with outbox(project) as box:
        assert record(box, ALERT) == [True]
        assert deliver(box, sink) == ["1 sent by webhook"]
        assert deliver(box, sink) == []
    with outbox(project) as box:
        assert record(box, replace(ALERT, title="the same in other words")) == [False]
        assert deliver(box, sink) == []
    assert sink.titles == ["ingest of 2026-03 failed"]


def test_recorded_alert_is_sent_after_a_restart(project, sink):
    with outbox(project) as box:
        record(box, ALERT)
    with outbox(project) as box:
        deliver(box, sink)
    assert sink.titles == ["ingest of 2026-03 failed"]


def test_interrupted_transaction_records_nothing(project):
    with outbox(project) as box:
        with pytest.raises(KeyboardInterrupt), box.writing():
            box.record(ALERT, NOW)
            raise KeyboardInterrupt
        assert box.newest(10) == []


def test_killed_sender_repeats_message_with_the_same_id(project, sink):
    with outbox(project) as box:
        record(box, ALERT)
    sender = f"""
from pathlib import Path
from credit_assets.alerts.outbox import Outbox
from credit_assets.settings.alerts import AlertsConfig
from credit_assets.settings.project import Project

with Outbox(Project(Path({str(project.root)!r})), "home_credit", AlertsConfig(webhook={{}})) as box:
    print("ready", flush=True)
    input()
    box.deliver({{"CREDIT_ASSETS_WEBHOOK_URL": {sink.url!r}}}, lambda: {NOW})
"""
    with subprocess.Popen([sys.executable, "-c", sender], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        sink.before_answer = lambda: os.kill(process.pid, signal.SIGKILL)
        assert process.stdout and process.stdin
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"go\n")
        process.stdin.flush()
        process.wait(timeout=300)
    assert process.returncode == -signal.SIGKILL
    sink.before_answer = lambda: None
    with outbox(project) as box:
        assert deliver(box, sink, NOW + LEASE_S / 2) == []
        assert deliver(box, sink, NOW + LEASE_S + 1) == ["1 sent by webhook"]
        assert deliver(box, sink, NOW + 10 * LEASE_S) == []
    assert [headers["Idempotency-Key"] for headers in sink.headers] == [ALERT.id, ALERT.id]


def test_concurrent_processes_do_not_send_the_same_alert_twice(project, sink):
    others: list[list[str]] = []

    def deliver_in_parallel() -> None:
        with outbox(project) as box:
            others.append(deliver(box, sink))

    sink.before_answer = deliver_in_parallel
    with outbox(project) as box:
        record(box, ALERT)
        assert deliver(box, sink) == ["1 sent by webhook"]
    assert others == [[]]
    assert len(sink.posted) == 1


# -- recipients ------------------------------------------------------------------------------------


def test_channel_receives_alerts_from_its_least_severity_up(project, sink):
    config = AlertsConfig(webhook=ChannelConfig(least="warning"), slack=ChannelConfig(least="error"))
    with outbox(project, config) as box:
        record(box, alert(1, severity="info"), alert(2, severity="warning"), alert(3, severity="error"))
        deliver(box, sink)
        assert [sorted(entry.deliveries) for entry in box.newest(3)] == [["slack", "webhook"], ["webhook"], []]
    assert sink.titles == ["alert 2", "alert 3"]


def test_alerts_are_kept_unsent_without_a_channel(project):
    with outbox(project, AlertsConfig()) as box:
        assert record(box, ALERT) == [True]
        assert box.deliver({}, lambda: NOW) == []
        assert box.waiting() == 0
        [entry] = box.newest(10)
    assert entry.alert == ALERT and entry.deliveries == {}


def test_repeated_finding_is_suppressed_then_sent_with_its_count(project, sink):
    first = alert(1, topic="checks/2026-03", finding="psi 0.3")
    with outbox(project) as box:
        assert record(box, first) == [True]
        assert record(box, replace(first, key="2"), now=NOW + HOUR) == [False]
        assert record(box, replace(first, key="3"), now=NOW + 2 * HOUR) == [False]
        assert record(box, replace(first, key="4", finding="psi 0.4"), now=NOW + 2 * HOUR) == [True]
        assert record(box, replace(first, key="5", topic="checks/2026-04"), now=NOW + 2 * HOUR) == [True]
        assert [entry.repeats for entry in box.newest(9)] == [None, None, first.key, first.key, None]
        assert record(box, replace(first, key="6"), now=NOW + DAY) == [True]
        deliver(box, sink, NOW + DAY)
    assert sink.posted[-1]["details"].endswith(
        "It occurred 2 more times since it was reported on 2026-02-25 06:13 UTC."
    )


def test_settled_finding_is_sent_again(project):
    failed = alert(1, topic="runs/ingest/2026-03", finding="no file")
    with outbox(project) as box:
        record(box, failed)
        with box.writing():
            box.mark_resolved("runs/ingest/2026-03")
        assert record(box, replace(failed, key="2"), now=NOW + HOUR) == [True]


# -- retries ---------------------------------------------------------------------------------------


def test_failed_delivery_is_retried_after_doubling_waits(project, sink):
    sink.answers = [500] * 4
    tried = []
    with outbox(project) as box:
        record(box, ALERT)
        now = NOW
        while not sink.posted:
            assert now < NOW + HOUR, "it is not retried any more"
            if said := deliver(box, sink, now):
                tried.append(now - NOW)
                assert said in (["webhook: the server answered 500"], ["1 sent by webhook"])
            now += 1
        assert box.newest(1)[0].deliveries["webhook"].startswith("sent 2026-02-25 06:")
        assert "after 5 attempts" in box.newest(1)[0].deliveries["webhook"]
    waits = [later - earlier for earlier, later in pairwise(tried)]
    for wait, longest in zip(waits, [30, 60, 120, 240], strict=True):
        assert longest / 2 <= wait <= longest + 1
    assert sink.titles == ["ingest of 2026-03 failed"]


def test_retry_after_of_server_is_respected(project, sink):
    sink.answers, sink.answer_headers = [429], {"Retry-After": "600"}
    with outbox(project) as box:
        record(box, ALERT)
        deliver(box, sink)
        assert deliver(box, sink, NOW + 599) == []
        assert deliver(box, sink, NOW + 601) == ["1 sent by webhook"]


def test_failing_channel_does_not_delay_another(project, sink):
    both = AlertsConfig(slack=ChannelConfig(), webhook=ChannelConfig())
    environ = {
        "CREDIT_ASSETS_SLACK_URL": f"http://127.0.0.1:{free_port()}/SECRET",
        "CREDIT_ASSETS_WEBHOOK_URL": sink.url,
    }
    with outbox(project, both) as box:
        record(box, alert(1), alert(2))
        said = box.deliver(environ, lambda: NOW)
        assert said == ["slack: ConnectionError: Connection refused", "2 sent by webhook"]
        assert box.waiting() == 2
        assert box.newest(2)[1].deliveries["slack"] == "waiting (ConnectionError: Connection refused)"


def test_unexpected_error_in_one_channel_does_not_delay_another(project, sink):
    both = AlertsConfig(email=EmailConfig(to=["a@example.com"], sender="b@example.com"), webhook=ChannelConfig())
    no_domain = f"smtp://user:SECRET@{'x' * 64}.example.com"
    with outbox(project, both) as box:
        record(box, ALERT)
        said = box.deliver({"CREDIT_ASSETS_SMTP_URL": no_domain, "CREDIT_ASSETS_WEBHOOK_URL": sink.url}, lambda: NOW)
        assert said == ["email: UnicodeError", "1 sent by webhook"]
        assert box.newest(1)[0].deliveries["email"] == "waiting (UnicodeError)"


def test_alert_that_is_always_refused_does_not_block_the_next(project, sink):
    with outbox(project) as box:
        record(box, alert(1))
        sink.answers = [400]
        deliver(box, sink)
        record(box, alert(2))
        assert deliver(box, sink, NOW + 1) == ["1 sent by webhook"]
    assert sink.titles == ["alert 2"]


def test_missing_variable_is_reported_at_each_try_and_alert_stays_pending(project, sink):
    with outbox(project) as box:
        record(box, ALERT)
        assert box.deliver({}, lambda: NOW) == ["webhook: CREDIT_ASSETS_WEBHOOK_URL is not set"]
        assert box.waiting() == 1
        assert deliver(box, sink, NOW + 60) == ["1 sent by webhook"]


def test_delivery_that_fails_for_a_day_is_given_up_and_reported_elsewhere_once(project, sink):
    both = AlertsConfig(slack=ChannelConfig(), webhook=ChannelConfig())
    environ = {"CREDIT_ASSETS_WEBHOOK_URL": sink.url}
    with outbox(project, both) as box:
        record(box, alert(1), alert(2))
        for minutes in range(0, 3 * 24 * 60, 10):
            box.deliver(environ, partial(float, NOW + minutes * 60))
        given_up = {entry.alert.title: entry.deliveries.get("slack", "") for entry in box.newest(9)}
        assert box.waiting() == 0
    undelivered = [body for body in sink.posted if body["kind"] == "undelivered"]
    assert [body["title"] for body in undelivered] == ["alerts could not be delivered by slack"]
    assert "CREDIT_ASSETS_SLACK_URL" in undelivered[0]["what_to_do"]
    assert given_up["alert 1"].startswith("given up") and given_up["alert 2"].startswith("given up")
    assert given_up["alerts could not be delivered by slack"] == ""


# -- limits ----------------------------------------------------------------------------------------


def test_alerts_beyond_hourly_limit_are_bundled_without_loss(project, sink):
    config = AlertsConfig(webhook=ChannelConfig(), per_hour=3)
    with outbox(project, config) as box:
        record(box, *(alert(n) for n in range(7)))
        assert deliver(box, sink) == ["7 sent by webhook"]
        assert len(sink.posted) == 3
        assert sink.titles == ["alert 0", "alert 1"]
        assert [inner["title"] for inner in sink.posted[2]["alerts"]] == [f"alert {n}" for n in range(2, 7)]
        record(box, alert(7), alert(8), now=NOW + 60)
        assert deliver(box, sink, NOW + 60) == []
        assert box.waiting() == 2
        deliver(box, sink, NOW + HOUR + 61)
    assert sink.titles == ["alert 0", "alert 1", "alert 7", "alert 8"]


def test_failed_bundle_is_resent_unchanged(project, sink):
    config = AlertsConfig(webhook=ChannelConfig(), per_hour=1)
    with outbox(project, config) as box:
        record(box, alert(1), alert(2))
        sink.answers = [500]
        deliver(box, sink)
        record(box, alert(3), now=NOW + 1)
        sink.answers = [500]
        deliver(box, sink, NOW + 31)
        now = NOW + 31
        while box.waiting():
            deliver(box, sink, now)
            now += 30
    assert [inner["title"] for body in sink.posted if "alerts" in body for inner in body["alerts"]] == [
        "alert 1",
        "alert 2",
    ]
    assert sorted(sink.titles) == ["alert 3"]


def test_old_alerts_are_purged(project, sink):
    with outbox(project) as box:
        record(box, alert(1), now=NOW - 91 * DAY)
        record(box, alert(2))
        deliver(box, sink)
        assert [entry.alert.title for entry in box.newest(9)] == ["alert 2"]
    with sqlite3.connect(box.path) as con:
        assert con.execute("SELECT count(*) FROM deliveries").fetchone() == (1,)


def test_outbox_file_holds_no_secret(project, sink):
    both = AlertsConfig(slack=ChannelConfig(), webhook=ChannelConfig())
    environ = {
        "CREDIT_ASSETS_SLACK_URL": f"http://127.0.0.1:{free_port()}/SECRET",
        "CREDIT_ASSETS_WEBHOOK_URL": sink.url,
        "CREDIT_ASSETS_WEBHOOK_TOKEN": "SECRET-token",
    }
    with outbox(project, both) as box:
        record(box, ALERT)
        said = box.deliver(environ, lambda: NOW)
    assert "SECRET" not in str(said)
    assert b"SECRET" not in (project.data / "alerts" / "home_credit.sqlite").read_bytes()


# -- lasting conditions ----------------------------------------------------------------------------


def disk_full_alert(now: float) -> Alert:
    return replace(ALERT, key=f"capacity/disk/{int(now)}", kind="capacity", title="the disk is full", since=at(now))


def poll(box: Outbox, found: bool, now: float, lasting_s: float = 300) -> None:
    with box.writing():
        box.watch("disk", disk_full_alert(now) if found else None, now, lasting_s)


def titles(box: Outbox) -> list[str]:
    return [entry.alert.title for entry in reversed(box.newest(50))]


def test_short_condition_is_not_reported(project):
    with outbox(project) as box:
        poll(box, True, NOW)
        poll(box, True, NOW + 299)
        poll(box, False, NOW + 300)
        poll(box, True, NOW + 301)
        assert titles(box) == []


def test_lasting_condition_is_reported_once_with_daily_reminders_and_its_end(project):
    with outbox(project) as box:
        for hour in range(50):
            poll(box, True, NOW + hour * HOUR)
        assert titles(box) == ["the disk is full", "ongoing: the disk is full", "ongoing: the disk is full"]
        assert {entry.alert.since for entry in box.newest(9)} == {at(NOW)}
        poll(box, False, NOW + 51 * HOUR)
        poll(box, False, NOW + 52 * HOUR)
        assert titles(box)[3:] == ["resolved: the disk is full"]
        assert box.newest(1)[0].alert.severity == "info"


def test_recurring_condition_is_reported_again(project):
    with outbox(project) as box:
        for hour in (0, 1, 3, 4):
            poll(box, True, NOW + hour * HOUR)
            if hour == 1:
                poll(box, False, NOW + 2 * HOUR)
        assert titles(box) == ["the disk is full", "resolved: the disk is full", "the disk is full"]


def test_restart_does_not_repeat_a_lasting_condition(project):
    with outbox(project) as box:
        poll(box, True, NOW, lasting_s=0)
    with outbox(project) as box:
        poll(box, True, NOW + 60, lasting_s=0)
        assert titles(box) == ["the disk is full"]

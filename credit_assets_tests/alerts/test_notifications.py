"""The content of an alert, and the configurations that are refused."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from credit_assets.alerts.notifications import Alert, format_time, is_at_least
from credit_assets.settings.alerts import AlertsConfig

ALERT = Alert(
    key="run_failed/abc",
    kind="run_failed",
    severity="error",
    portfolio="home_credit",
    title="ingest of 2026-03 failed",
    details="bureau: row 7 has no amount",
    since=datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
    what_was_done="The previous version stays.",
    what_to_do="Deliver it corrected.",
    link="http://localhost:3000/runs/abc",
    batch="2026-03",
    parts=("bureau", "no_rows_quarantined"),
)


def test_default_configuration_has_no_channels():
    assert AlertsConfig().channels == {}


def test_alert_survives_round_trip_through_json():
    assert Alert.from_json(ALERT.to_json()) == ALERT


def test_alert_names_portfolio_batch_and_parts():
    assert ALERT.where == "home_credit, batch 2026-03, bureau, no_rows_quarantined"
    assert replace(ALERT, batch=None, parts=()).where == "home_credit"


def test_alert_id_depends_on_key_and_portfolio_only():
    assert replace(ALERT, title="other words").id == ALERT.id
    assert replace(ALERT, key="run_failed/def").id != ALERT.id
    assert replace(ALERT, portfolio="lending_club").id != ALERT.id


def test_kept_alert_has_truncated_details_and_one_line_title():
    kept = replace(ALERT, title="one\r\nBcc: other@example.com", details="x" * 5000).truncated()
    assert kept.title == "one Bcc: other@example.com"
    assert len(kept.details) == 1200 and kept.details.endswith("…")


@pytest.mark.parametrize(
    ("severity", "least", "told"),
    [("info", "info", True), ("info", "warning", False), ("warning", "error", False), ("error", "warning", True)],
)
def test_channel_receives_alerts_from_its_least_severity_up(severity, least, told):
    assert is_at_least(severity, least) is told


def test_times_are_shown_in_utc():
    assert format_time(ALERT.since) == "2026-03-01 09:30 UTC"


@pytest.mark.parametrize(
    "wrong",
    [
        {"slack": {"url": "https://hooks.example.com/SECRET"}},
        {"email": {"to": [], "sender": "a@example.com"}},
        {"email": {"to": ["two addresses@example.com"], "sender": "a@example.com"}},
        {"email": {"to": ["a@example.com\nBcc: b@example.com"], "sender": "a@example.com"}},
        {"webhook": {"least": "loud"}},
        {"ui": "localhost:3000"},
        {"per_hour": 0},
        {"pager": {}},
    ],
    ids=str,
)
def test_invalid_configuration_is_refused(wrong):
    with pytest.raises(ValidationError):
        AlertsConfig.model_validate(wrong)

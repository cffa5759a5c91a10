"""The format of an alert in e-mail, Slack and JSON, and how it is sent. One attempt; `outbox.py` retries.

Addresses and passwords are read from the environment when they are needed, and appear in no error.
"""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import requests

from credit_assets.alerts.notifications import Alert, at, format_time, shortened, stable_id
from credit_assets.settings.alerts import AlertsConfig, EmailConfig

SMTP_URL = "CREDIT_ASSETS_SMTP_URL"
SLACK_URL = "CREDIT_ASSETS_SLACK_URL"
WEBHOOK_URL = "CREDIT_ASSETS_WEBHOOK_URL"
WEBHOOK_TOKEN = "CREDIT_ASSETS_WEBHOOK_TOKEN"
VARIABLES = {"email": SMTP_URL, "slack": SLACK_URL, "webhook": WEBHOOK_URL}

TIMEOUT_S = 10
SLACK_SECTION = 2900
"""Characters per section of a Slack message. Slack refuses sections of 3,000 characters."""
SIGNS = {"info": "INFO", "warning": "WARNING", "error": "ERROR"}


class NotDelivered(Exception):
    """A delivery failed; the message contains no secret. `wait_s`: how many seconds the receiver asked to wait."""

    def __init__(self, message: str, wait_s: float = 0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def send(
    channel: str, config: AlertsConfig, environ: Mapping[str, str], alerts: Sequence[Alert], message_id: str
) -> str:
    """Send one alert, or several in one message, over the channel. Returns the server's answer, empty if it is a plain
    OK.

    Raises only NotDelivered: if the channel's variable is missing, or if the server cannot be reached, refuses the
    message or does not answer in time.
    """
    try:
        return _send(channel, config, environ, alerts, message_id)
    except NotDelivered:
        raise
    except Exception as error:
        # One channel must not stop the others. Only the class of the error is kept: its text may contain a secret.
        raise NotDelivered(type(error).__name__) from None


def _send(
    channel: str, config: AlertsConfig, environ: Mapping[str, str], alerts: Sequence[Alert], message_id: str
) -> str:
    variable = VARIABLES[channel]
    if not (url := environ.get(variable, "").strip()):
        raise NotDelivered(f"{variable} is not set")
    if channel == "email":
        assert config.email is not None
        return _send_email(config.email, url, email(config.email, alerts, message_id))
    if channel == "slack":
        return _post(variable, url, slack(alerts), {})
    headers = {"Idempotency-Key": message_id}
    if token := environ.get(WEBHOOK_TOKEN, "").strip():
        headers["Authorization"] = f"Bearer {token}"
    return _post(variable, url, webhook(alerts, message_id), headers)


@dataclass(frozen=True)
class ChannelTest:
    """Whether a test alert was sent, and the answer of the server or the reason of the failure."""

    sent: bool
    answer: str


def send_test_alerts(
    portfolio: str, config: AlertsConfig, environ: Mapping[str, str], now: float
) -> dict[str, ChannelTest]:
    """Send a test alert over every configured channel; returns the result by channel."""
    alert = Alert(
        key=f"test/{now}",
        kind="test",
        severity="info",
        portfolio=portfolio,
        title="test of the alerts",
        details="It was sent by `credit-assets alerts --test`.",
        since=at(now),
        what_was_done="",
        what_to_do="Nothing.",
        link=config.ui,
    )
    tested = {}
    for channel in config.channels:
        try:
            tested[channel] = ChannelTest(True, send(channel, config, environ, [alert], alert.id))
        except NotDelivered as error:
            tested[channel] = ChannelTest(False, str(error))
    return tested


# -- formats -----------------------------------------------------------------------------------------


def text(alert: Alert) -> str:
    """The alert as plain lines."""
    lines = [
        ("What", alert.title),
        ("", alert.details),
        ("Where", alert.where),
        ("Since", format_time(alert.since)),
        ("Done", alert.what_was_done),
        ("To do", alert.what_to_do),
        ("Link", alert.link),
    ]
    return "\n".join(f"{name + ':' if name else '':<7}{content}" for name, content in lines if content)


def subject(alerts: Sequence[Alert]) -> str:
    """The subject line of a message with these alerts."""
    if len(alerts) == 1:
        [alert] = alerts
        return f"{SIGNS[alert.severity]} {alert.portfolio}: {alert.title}"
    worst = max(alerts, key=lambda alert: list(SIGNS).index(alert.severity))
    return f"{SIGNS[worst.severity]} {worst.portfolio}: {len(alerts)} alerts in one message"


def email(config: EmailConfig, alerts: Sequence[Alert], message_id: str) -> EmailMessage:
    """A plain-text message; the same alerts have the same Message-ID."""
    message = EmailMessage()
    message["Subject"] = f"[credit-assets] {subject(alerts)}"
    message["From"] = config.sender
    message["To"] = ", ".join(config.to)
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{message_id}@credit-assets>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(("\n\n" + "-" * 60 + "\n\n").join(text(alert) for alert in alerts) + "\n")
    return message


def slack(alerts: Sequence[Alert]) -> dict[str, Any]:
    """A Slack message: the full text of a single alert, or one line per alert."""
    if len(alerts) == 1:
        [alert] = alerts
        sections = [shortened(f"*{_escaped(subject(alerts))}*\n{_escaped(text(alert))}", SLACK_SECTION)]
    else:
        sections = [f"*{_escaped(subject(alerts))}*"]
        for alert in alerts:
            line = shortened(_escaped(f"{SIGNS[alert.severity]} {alert.title} ({alert.where}) {alert.link}"), 600)
            if len(sections[-1]) + len(line) < SLACK_SECTION:
                sections[-1] += f"\n{line}"
            else:
                sections.append(line)
    return {
        "text": _escaped(subject(alerts)),
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": section}} for section in sections],
    }


def webhook(alerts: Sequence[Alert], message_id: str) -> dict[str, Any]:
    """The alert as JSON; several as `{"id", "kind": "digest", "alerts": [...]}`, each with its own id."""
    bodies = [
        {
            "id": alert.id,
            "key": alert.key,
            "kind": alert.kind,
            "severity": alert.severity,
            "title": alert.title,
            "details": alert.details,
            "portfolio": alert.portfolio,
            "batch": alert.batch,
            "parts": list(alert.parts),
            "since": alert.since.isoformat(timespec="seconds"),
            "what_was_done": alert.what_was_done,
            "what_to_do": alert.what_to_do,
            "link": alert.link,
        }
        for alert in alerts
    ]
    return bodies[0] if len(bodies) == 1 else {"id": message_id, "kind": "digest", "alerts": bodies}


def message_id(alerts: Sequence[Alert]) -> str:
    """The alert's id; for several alerts, an id derived from theirs."""
    return alerts[0].id if len(alerts) == 1 else stable_id("digest", *sorted(alert.id for alert in alerts))


def _escaped(plain: str) -> str:
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# -- transport ---------------------------------------------------------------------------------------


def _send_email(config: EmailConfig, url: str, message: EmailMessage) -> str:
    try:
        where = urlsplit(url)
        if where.scheme not in ("smtp", "smtps") or not where.hostname:
            raise ValueError
        port = where.port or (465 if where.scheme == "smtps" else 587)
    except ValueError:
        raise NotDelivered(f"{SMTP_URL} is not of the form smtp[s]://user:password@host:port") from None
    try:
        with _connected(where, port) as server:
            refused = server.send_message(message, config.sender, config.to)
    except smtplib.SMTPResponseException as error:
        raise NotDelivered(f"the mail server answered {error.smtp_code} ({type(error).__name__})") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({str(code) for code, _ in error.recipients.values()})
        raise NotDelivered(f"the mail server refused every recipient ({', '.join(codes)})") from None
    except (OSError, smtplib.SMTPException) as error:
        raise NotDelivered(_cause(error)) from None
    return f"the mail server refused {', '.join(sorted(refused))}" if refused else ""


def _connected(where: SplitResult, port: int) -> smtplib.SMTP:
    """A session, encrypted if the server supports it. Raises NotDelivered rather than send a password unencrypted."""
    assert where.hostname is not None
    trusted = ssl.create_default_context()
    server: smtplib.SMTP
    if where.scheme == "smtps":
        server = smtplib.SMTP_SSL(where.hostname, port, timeout=TIMEOUT_S, context=trusted)
    else:
        server = smtplib.SMTP(where.hostname, port, timeout=TIMEOUT_S)
    try:
        server.ehlo()
        encrypted = where.scheme == "smtps"
        if not encrypted and server.has_extn("starttls"):
            server.starttls(context=trusted)
            encrypted = True
        if where.username:
            if not encrypted:
                raise NotDelivered("the mail server offers no encryption, so the password was not sent")
            user, password = unquote(where.username), unquote(where.password or "")
            if not f"{user}{password}".isascii():
                # smtplib supports ASCII only.
                raise NotDelivered(
                    f"the user or password in {SMTP_URL} contains characters outside ASCII, which cannot be sent"
                )
            server.login(user, password)
    except BaseException:
        server.close()
        raise
    return server


def _post(variable: str, url: str, payload: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    try:
        # An explicit `auth` prevents requests from reading a password from .netrc. Redirects lead to addresses that
        # nobody has configured, so they are not followed.
        answer = requests.post(
            url,
            json=payload,
            headers=dict(headers),
            timeout=TIMEOUT_S,
            allow_redirects=False,
            auth=lambda request: request,
        )
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
        raise NotDelivered(f"{variable} is not a valid URL") from None
    except (requests.RequestException, OSError, ValueError) as error:
        # Not the error's text: it contains the address, which is secret.
        raise NotDelivered(_cause(error)) from None
    if not 200 <= answer.status_code < 300:
        wait = answer.headers.get("Retry-After", "")
        raise NotDelivered(f"the server answered {answer.status_code}", float(wait) if wait.isdigit() else 0)
    return ""


def _cause(error: BaseException) -> str:
    """The class of the error and the operating system's message, without any text that may contain an address."""
    name, seen = type(error).__name__, error
    while True:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"{name}: {seen.verify_message}"
        if isinstance(seen, socket.gaierror):
            return f"{name}: unknown host name"
        if isinstance(seen, OSError) and seen.errno:
            return f"{name}: {os.strerror(seen.errno)}"
        # requests wraps urllib3's error, which wraps the system's as argument or reason.
        within = (*seen.args, getattr(seen, "reason", None), seen.__cause__, seen.__context__)
        deeper = next((item for item in within if isinstance(item, BaseException)), None)
        if deeper is None:
            return name
        seen = deeper

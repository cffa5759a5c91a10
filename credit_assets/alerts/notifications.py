"""The content of an alert, and how it is shortened and identified.

`*_alerts.py` are the sources of alerts; `outbox.py` and `channels.py` store and deliver them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from credit_assets.settings.alerts import SEVERITIES, Severity

Kind = Literal[
    "run_failed",
    "check_failed",
    "check_warning",
    "quarantine",
    "late_delivery",
    "correction",
    "retraining",
    "promotion_refused",
    "promotion",
    "rollback",
    "capacity",
    "tick_failed",
    "registry_unavailable",
    "undelivered",
    "test",
]


@dataclass(frozen=True)
class Alert:
    """One fact to report: what happened, where, since when, what the platform did about it, and what to do.

    `key` identifies the fact, which is reported once. `topic` is its subject and `finding` identifies what was found
    there: the same finding on the same topic soon after is a repetition.
    """

    key: str
    kind: Kind
    severity: Severity
    portfolio: str
    title: str
    details: str
    since: datetime
    what_was_done: str
    what_to_do: str
    link: str
    batch: str | None = None
    parts: tuple[str, ...] = ()
    topic: str = ""
    finding: str = ""

    @property
    def id(self) -> str:
        """An id that is the same in every delivery of the alert, so that receivers recognise duplicates."""
        return stable_id(self.portfolio, self.key)

    @property
    def where(self) -> str:
        """Portfolio, batch, and tables or checks."""
        return ", ".join([self.portfolio, *([f"batch {self.batch}"] if self.batch else []), *self.parts])

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"since": self.since.isoformat()})

    @staticmethod
    def from_json(text: str) -> Alert:
        values = json.loads(text)
        return Alert(
            **values | {"since": datetime.fromisoformat(values["since"]), "parts": tuple(values["parts"])},
        )

    def truncated(self) -> Alert:
        """The alert with a one-line title, and texts shortened to fit a section of Slack."""
        return replace(
            self,
            title=shortened(" ".join(self.title.split()), 200),
            details=shortened(self.details, 1200),
            what_was_done=shortened(self.what_was_done, 400),
            what_to_do=shortened(self.what_to_do, 400),
        )


def stable_id(*parts: str) -> str:
    """An id that depends only on these parts."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def shortened(long: str, length: int) -> str:
    """The text, cut to this many characters with an ellipsis if it is longer."""
    return long if len(long) <= length else f"{long[: length - 1]}…"


def is_at_least(severity: Severity, least: Severity) -> bool:
    """Whether the severity is at least `least`, the lowest that a channel receives."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)


def at(seconds: float) -> datetime:
    """A time given in seconds since 1970, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def format_time(when: datetime) -> str:
    """`2026-03-01 14:05 UTC`."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"

"""The content of an alert, and who receives which.

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
    """One fact worth reporting: what, where, since when, what was done about it and what to do.

    `key` is the fact's identity: the same fact has the same key, and is reported once. `topic` is its subject and
    `finding` what was found there: the same finding on the same topic soon after is a repetition.
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
        """The same for every delivery of the alert, so that a receiver recognises a repeated one."""
        return identity(self.portfolio, self.key)

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

    def kept(self) -> Alert:
        """The alert with a title of one line, shortened to fit a section of Slack; the link leads to the rest."""
        return replace(
            self,
            title=shortened(" ".join(self.title.split()), 200),
            details=shortened(self.details, 1200),
            what_was_done=shortened(self.what_was_done, 400),
            what_to_do=shortened(self.what_to_do, 400),
        )


def identity(*words: str) -> str:
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:32]


def shortened(words: str, length: int) -> str:
    return words if len(words) <= length else f"{words[: length - 1]}…"


def told_at(severity: Severity, least: Severity) -> bool:
    """Whether a channel with the lowest severity `least` receives this severity."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)


def at(seconds: float) -> datetime:
    """A time given in seconds since 1970, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def clock(when: datetime) -> str:
    """`2026-03-01 14:05 UTC`."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"

"""The outbox: stores the alerts of a portfolio in a SQLite file, so that each is reported once across restarts.

Delivery is at least once: if a process is killed between sending an alert and recording that, the alert is sent again
with the same id. `notifications.py` defines an alert, `channels.py` sends it.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from credit_assets.alerts import channels
from credit_assets.alerts.channels import NotDelivered
from credit_assets.alerts.notifications import Alert, at, format_time, is_at_least
from credit_assets.plurals import number_of
from credit_assets.settings.alerts import AlertsConfig
from credit_assets.settings.project import Project

HOUR, DAY = 3600.0, 86_400.0
FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, HOUR
GIVEN_UP_AFTER_S = DAY
"""Seconds from the first failed attempt."""
LEASE_S = 120.0
"""Seconds that an attempt may last. One without a result (a killed process) is repeated after that time."""
RETENTION_S = 90 * DAY
REPORTED_WITHIN_S = 30 * DAY
"""Older facts are not reported. Less than RETENTION_S, so that no reported fact is taken for a new one."""
LARGEST_BUNDLE = 100
DELIVERY_TIME_S = 20.0
"""Seconds after which a call starts no further delivery; the remaining alerts wait for the next call."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    key TEXT PRIMARY KEY, recorded REAL NOT NULL, topic TEXT NOT NULL, finding TEXT NOT NULL,
    repeats TEXT, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS alerts_by_topic ON alerts (topic, finding, recorded);
CREATE TABLE IF NOT EXISTS deliveries (
    key TEXT NOT NULL, channel TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, not_before REAL NOT NULL,
    first_failed REAL, sent REAL, bundle TEXT, words TEXT NOT NULL,
    PRIMARY KEY (key, channel)
);
CREATE INDEX IF NOT EXISTS deliveries_by_state ON deliveries (channel, state, not_before);
CREATE TABLE IF NOT EXISTS conditions (
    name TEXT PRIMARY KEY, seen REAL NOT NULL, told REAL, reminders INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS looked (run_id TEXT PRIMARY KEY, updated REAL NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (
    one INTEGER PRIMARY KEY CHECK (one = 1), born REAL NOT NULL, until REAL NOT NULL
);
"""


@dataclass(frozen=True)
class Entry:
    """A stored alert: when it was recorded, the key of the alert that it repeats, and its delivery status by
    channel."""

    alert: Alert
    recorded: float
    repeats: str | None
    deliveries: Mapping[str, str]


class Outbox:
    """The file and its content. `now` is seconds since 1970 everywhere.

    Used as a context manager; safe for several processes at once.
    """

    def __init__(self, project: Project, portfolio: str, config: AlertsConfig) -> None:
        self.path = project.data / "alerts" / f"{portfolio}.sqlite"
        self.portfolio, self.config = portfolio, config

    def __enter__(self) -> Outbox:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._con = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        self._con.executescript(SCHEMA)
        return self

    def __exit__(self, *_: object) -> None:
        self._con.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Everything written within is stored, or nothing."""
        self._con.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._con.execute("ROLLBACK")
            raise
        self._con.execute("COMMIT")

    # -- recording -----------------------------------------------------------------------------------

    def record(self, alert: Alert, now: float, spare: str | None = None) -> bool:
        """Store the alert for delivery over every channel that receives its severity, except `spare`.

        An alert whose key is known is ignored. The same finding on the same topic within `remind_after_hours` is stored
        as a repetition and not sent. Returns whether the alert will be sent.
        """
        if self._one("SELECT 1 FROM alerts WHERE key = ?", alert.key):
            return False
        alert = alert.truncated()
        earlier = self._all(
            "SELECT key, recorded, repeats FROM alerts WHERE topic = ? AND finding = ? AND topic <> '' "
            "ORDER BY rowid DESC",
            alert.topic,
            alert.finding,
        )
        sent = next((row for row in earlier if row["repeats"] is None), None)
        repeated = sent is not None and now - sent["recorded"] < self.config.remind_after_hours * HOUR
        if sent and not repeated and (unsent := [row for row in earlier if row["recorded"] > sent["recorded"]]):
            count = number_of(len(unsent), "more time")
            repetitions = f"It occurred {count} since it was reported on {format_time(at(sent['recorded']))}."
            alert = replace(alert, details=f"{alert.details} {repetitions}".strip())
        self._con.execute(
            "INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?)",
            (alert.key, now, alert.topic, alert.finding, sent["key"] if sent and repeated else None, alert.to_json()),
        )
        if repeated:
            return False
        for channel, wants in self.config.channels.items():
            if is_at_least(alert.severity, wants.least) and channel != spare:
                self._con.execute(
                    "INSERT INTO deliveries VALUES (?, ?, 'waiting', 0, ?, NULL, NULL, NULL, '')",
                    (alert.key, channel, now),
                )
        return True

    def mark_resolved(self, topic: str) -> None:
        """The topic is resolved: if the same finding comes back, it is a new alert and not a repetition."""
        self._con.execute("UPDATE alerts SET topic = '' WHERE topic = ?", (topic,))

    def watch(self, name: str, found: Alert | None, now: float, lasting_s: float) -> None:
        """Update a lasting condition: `found` is its alert while it holds, and None when it does not.

        It is reported once it has held for `lasting_s`, again every `remind_after_hours`, and when it has ended. All
        reports have the key and the start time of the first alert that was found.
        """
        row = self._one("SELECT * FROM conditions WHERE name = ?", name)
        if found is None:
            if row and row["told"] is not None:
                self.record(_resolved(Alert.from_json(row["body"]), now), now)
            self._con.execute("DELETE FROM conditions WHERE name = ?", (name,))
            return
        if row is None:
            self._con.execute("INSERT INTO conditions VALUES (?, ?, NULL, 0, ?)", (name, now, found.to_json()))
            row = self._one("SELECT * FROM conditions WHERE name = ?", name)
        first, reported_at, reminders = Alert.from_json(row["body"]), row["told"], row["reminders"]
        if reported_at is None and now - row["seen"] >= lasting_s:
            self.record(replace(found, key=first.key, since=first.since), now)
            self._con.execute("UPDATE conditions SET told = ? WHERE name = ?", (now, name))
        elif reported_at is not None and now - reported_at >= self.config.remind_after_hours * HOUR:
            key, title = f"{first.key}/still/{reminders + 1}", f"ongoing: {found.title}"
            self.record(replace(found, key=key, since=first.since, title=title), now)
            self._con.execute(
                "UPDATE conditions SET told = ?, reminders = ? WHERE name = ?", (now, reminders + 1, name)
            )

    def forget(self, name: str) -> None:
        """Stop watching the condition without reporting its end, because another portfolio reports it."""
        self._con.execute("DELETE FROM conditions WHERE name = ?", (name,))

    def watched(self, prefix: str) -> list[str]:
        """The names, beginning with `prefix`, of conditions that held at the last poll."""
        rows = self._all("SELECT name FROM conditions WHERE substr(name, 1, ?) = ?", len(prefix), prefix)
        return [row["name"] for row in rows]

    def newest(self, count: int) -> list[Entry]:
        """The alerts that were recorded last, newest first."""
        rows = self._all("SELECT * FROM alerts ORDER BY rowid DESC LIMIT ?", count)
        return [
            Entry(Alert.from_json(row["body"]), row["recorded"], row["repeats"], self._delivery_status(row["key"]))
            for row in rows
        ]

    def _delivery_status(self, key: str) -> dict[str, str]:
        status = {}
        for row in self._all("SELECT * FROM deliveries WHERE key = ? ORDER BY channel", key):
            answer = f" ({row['words']})" if row["words"] else ""
            when = f" {format_time(at(row['sent']))}" if row["sent"] else ""
            tries = f" after {row['attempts']} attempts" if row["attempts"] > 1 else ""
            status[row["channel"]] = f"{row['state']}{when}{tries}{answer}"
        return status

    # -- how far runs have been read -----------------------------------------------------------------

    def cursor(self, now: float) -> tuple[float, float]:
        """Two times: facts before the first are not reported; runs that were last updated before the second have been
        read. A new file starts one day back.
        """
        self._con.execute("INSERT OR IGNORE INTO cursor VALUES (1, ?, ?)", (now, now - DAY))
        row = self._one("SELECT born, until FROM cursor")
        return max(row["born"] - DAY, now - REPORTED_WITHIN_S), row["until"]

    def mark_read(self, updated: Mapping[str, float], until: float, forget_before: float) -> None:
        """Record that these runs (id and time of their update) and all runs updated before `until` have been read."""
        self._con.execute("UPDATE cursor SET until = ?", (until,))
        self._con.executemany("INSERT OR REPLACE INTO looked VALUES (?, ?)", list(updated.items()))
        self._con.execute("DELETE FROM looked WHERE updated < ?", (forget_before,))

    def runs_read(self) -> dict[str, float]:
        """The runs that have been read, each with the time of its update."""
        return {row["run_id"]: row["updated"] for row in self._all("SELECT * FROM looked")}

    # -- delivery ------------------------------------------------------------------------------------

    def deliver(self, environ: Mapping[str, str], now: Callable[[], float] = time.time) -> list[str]:
        """Send the alerts that are due, and delete old ones. Returns lines about what was sent and what failed.

        The last of the `per_hour` messages of a channel contains everything that is due; further alerts wait for the
        next hour. If an attempt fails, the channel is skipped for this call, and the alert is retried after a wait that
        doubles up to an hour. After a day it is given up, which is reported over the other channels.
        """
        began, lines = now(), []
        for channel in self.config.channels:
            sent = 0
            while now() - began < DELIVERY_TIME_S and (claimed := self._claim(channel, now())):
                message, alerts, attempt = claimed
                try:
                    answer = channels.send(channel, self.config, environ, alerts, message)
                except NotDelivered as error:
                    self._failed(channel, alerts, attempt, error, now())
                    lines.append(f"{channel}: {error}")
                    break
                self._sent(channel, alerts, answer, now())
                sent += len(alerts)
            if sent:
                lines.append(f"{sent} sent by {channel}")
        self._purge(now())
        return lines

    def waiting(self) -> int:
        """The number of alerts that have not reached every configured channel."""
        row = self._one(
            f"SELECT count(DISTINCT key) AS found FROM deliveries WHERE state = 'waiting' AND channel IN "
            f"({', '.join('?' * len(self.config.channels))})",
            *self.config.channels,
        )
        return row["found"]

    def _claim(self, channel: str, now: float) -> tuple[str, list[Alert], int] | None:
        """Claim the next message for LEASE_S: its id, its alerts, and the number of this attempt. None if none is
        due."""
        due_first = (
            "SELECT key, body, bundle, attempts FROM deliveries JOIN alerts USING (key) "
            "WHERE channel = ? AND state = 'waiting' AND {} ORDER BY alerts.rowid LIMIT ?"
        )
        with self.writing():
            due = self._all(due_first.format("not_before <= ?"), channel, now, LARGEST_BUNDLE)
            sent = self._one(
                "SELECT count(DISTINCT coalesce(bundle, key)) AS messages FROM deliveries "
                "WHERE channel = ? AND state = 'sent' AND sent > ?",
                channel,
                now - HOUR,
            )
            room = self.config.per_hour - sent["messages"]
            if not due or room <= 0:
                return None
            if bundle := due[0]["bundle"]:
                # A bundle that failed is sent again unchanged, with the same id.
                chosen = self._all(due_first.format("bundle = ?"), channel, bundle, LARGEST_BUNDLE)
            else:
                single = [row for row in due if row["bundle"] is None]
                chosen = single if room == 1 else single[:1]
            alerts = [Alert.from_json(row["body"]) for row in chosen]
            message = channels.message_id(alerts)
            self._con.executemany(
                "UPDATE deliveries SET bundle = ?, attempts = attempts + 1, not_before = ? "
                "WHERE key = ? AND channel = ?",
                [(message if len(chosen) > 1 else None, now + LEASE_S, row["key"], channel) for row in chosen],
            )
        return message, alerts, max(row["attempts"] for row in chosen) + 1

    def _sent(self, channel: str, alerts: Sequence[Alert], answer: str, now: float) -> None:
        with self.writing():
            self._con.executemany(
                "UPDATE deliveries SET state = 'sent', sent = ?, words = ? WHERE key = ? AND channel = ?",
                [(now, answer, alert.key, channel) for alert in alerts],
            )

    def _failed(self, channel: str, alerts: Sequence[Alert], attempt: int, error: NotDelivered, now: float) -> None:
        wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt - 1, 20)) * random.uniform(0.5, 1)
        with self.writing():
            self._con.executemany(
                "UPDATE deliveries SET not_before = ?, words = ?, first_failed = coalesce(first_failed, ?) "
                "WHERE key = ? AND channel = ?",
                [(now + max(wait, error.wait_s), str(error), now, alert.key, channel) for alert in alerts],
            )
            given_up = self._con.execute(
                "UPDATE deliveries SET state = 'given up' "
                "WHERE channel = ? AND state = 'waiting' AND first_failed <= ? RETURNING key",
                (channel, now - GIVEN_UP_AFTER_S),
            ).fetchall()
            lost = [key for (key,) in given_up if not key.startswith("undelivered/")]
            if lost:
                self.record(_undelivered(self.portfolio, self.config, channel, lost, error, now), now, spare=channel)

    def _purge(self, now: float) -> None:
        with self.writing():
            self._con.execute("DELETE FROM alerts WHERE recorded < ?", (now - RETENTION_S,))
            self._con.execute("DELETE FROM deliveries WHERE key NOT IN (SELECT key FROM alerts)")

    def _all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        found = self._con.execute(query, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def _one(self, query: str, *values: Any) -> Any:
        return next(iter(self._all(query, *values)), None)


def _resolved(reported: Alert, now: float) -> Alert:
    return replace(
        reported,
        key=f"{reported.key}/over",
        severity="info",
        title=f"resolved: {reported.title}",
        details=f"It had ended by {format_time(at(now))}.",
        what_was_done="",
        what_to_do="",
    )


def _undelivered(
    portfolio: str, config: AlertsConfig, channel: str, lost: Sequence[str], error: NotDelivered, now: float
) -> Alert:
    return Alert(
        # One alert per day and channel, however many alerts are lost.
        key=f"undelivered/{channel}/{int(now // DAY)}",
        kind="undelivered",
        severity="error",
        portfolio=portfolio,
        title=f"alerts could not be delivered by {channel}",
        details=f"{number_of(len(lost), 'alert')} given up; the last attempt failed with: {error}.",
        since=at(now - GIVEN_UP_AFTER_S),
        what_was_done="They were retried for a day and are no longer retried.",
        what_to_do=f"Correct {channels.VARIABLES[channel]} or repair the server behind it, and test it with "
        f"`credit-assets alerts --portfolio {portfolio} --test`. Without --test, the command lists the alerts that "
        "were not delivered.",
        link=config.ui,
        parts=(channel,),
    )

"""The alerts of a portfolio, stored in a SQLite file until every channel has them: reported once, across restarts.

At least once: a process killed between sending and recording sends again, with the same id. `notifications.py` defines
an alert, `channels.py` sends it.
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
from credit_assets.alerts.notifications import Alert, at, clock, told_at
from credit_assets.plurals import number_of
from credit_assets.settings.alerts import AlertsConfig
from credit_assets.settings.project import Project

HOUR, DAY = 3600.0, 86_400.0
FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, HOUR
GIVEN_UP_AFTER_S = DAY
"""From the first try that failed."""
LEASE_S = 120.0
"""That a try may last; one that ended without a word (killed) is repeated after it."""
KEPT_S = 90 * DAY
REMEMBERED_S = 30 * DAY
"""Facts older than this are not told; less than what is kept, so that none is taken for new."""
LARGEST_BUNDLE = 100
A_TICK_S = 20.0
"""That one call delivers; what is left waits for the next."""

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
    """An alert as it stands: when it was recorded, of which alert it is a repetition (a key), and by channel what
    became of it in words."""

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

    # -- what is told --------------------------------------------------------------------------------

    def record(self, alert: Alert, now: float, spare: str | None = None) -> bool:
        """Store the alert, and have it delivered over every channel that receives its severity, except `spare`.

        Nothing happens if its key is known. The same finding on the same topic within `remind_after_hours` is stored as
        a repetition and not sent. Returns whether it will be sent.
        """
        if self._one("SELECT 1 FROM alerts WHERE key = ?", alert.key):
            return False
        alert = alert.kept()
        earlier = self._all(
            "SELECT key, recorded, repeats FROM alerts WHERE topic = ? AND finding = ? AND topic <> '' "
            "ORDER BY rowid DESC",
            alert.topic,
            alert.finding,
        )
        told = next((row for row in earlier if row["repeats"] is None), None)
        repeated = told is not None and now - told["recorded"] < self.config.remind_after_hours * HOUR
        if told and not repeated and (unsaid := [row for row in earlier if row["recorded"] > told["recorded"]]):
            words = (
                f"It was met {number_of(len(unsaid), 'more time')} since it was told on {clock(at(told['recorded']))}."
            )
            alert = replace(alert, details=f"{alert.details} {words}".strip())
        self._con.execute(
            "INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?)",
            (alert.key, now, alert.topic, alert.finding, told["key"] if told and repeated else None, alert.to_json()),
        )
        if repeated:
            return False
        for channel, wants in self.config.channels.items():
            if told_at(alert.severity, wants.least) and channel != spare:
                self._con.execute(
                    "INSERT INTO deliveries VALUES (?, ?, 'waiting', 0, ?, NULL, NULL, NULL, '')",
                    (alert.key, channel, now),
                )
        return True

    def settled(self, topic: str) -> None:
        """What was found on the topic is over: if the same finding comes again, it is reported again."""
        self._con.execute("UPDATE alerts SET topic = '' WHERE topic = ?", (topic,))

    def watch(self, name: str, found: Alert | None, now: float, lasting_s: float) -> None:
        """Report a lasting condition: `found` while it holds, None when it does not.

        It is reported once it has held for `lasting_s`, again every `remind_after_hours`, and when it is over. `found`
        is keyed by its beginning; the alert of its first poll counts.
        """
        row = self._one("SELECT * FROM conditions WHERE name = ?", name)
        if found is None:
            if row and row["told"] is not None:
                self.record(_over(Alert.from_json(row["body"]), now), now)
            self._con.execute("DELETE FROM conditions WHERE name = ?", (name,))
            return
        if row is None:
            self._con.execute("INSERT INTO conditions VALUES (?, ?, NULL, 0, ?)", (name, now, found.to_json()))
            row = self._one("SELECT * FROM conditions WHERE name = ?", name)
        first, told, reminders = Alert.from_json(row["body"]), row["told"], row["reminders"]
        if told is None and now - row["seen"] >= lasting_s:
            self.record(replace(found, key=first.key, since=first.since), now)
            self._con.execute("UPDATE conditions SET told = ? WHERE name = ?", (now, name))
        elif told is not None and now - told >= self.config.remind_after_hours * HOUR:
            key, title = f"{first.key}/still/{reminders + 1}", f"still: {found.title}"
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
            Entry(Alert.from_json(row["body"]), row["recorded"], row["repeats"], self._stand(row["key"]))
            for row in rows
        ]

    def _stand(self, key: str) -> dict[str, str]:
        stand = {}
        for row in self._all("SELECT * FROM deliveries WHERE key = ? ORDER BY channel", key):
            words = f" ({row['words']})" if row["words"] else ""
            when = f" {clock(at(row['sent']))}" if row["sent"] else ""
            tries = f" after {row['attempts']} tries" if row["attempts"] > 1 else ""
            stand[row["channel"]] = f"{row['state']}{when}{tries}{words}"
        return stand

    # -- how far facts were looked at ----------------------------------------------------------------

    def since(self, now: float) -> tuple[float, float]:
        """Facts before the first time are not reported; runs last updated before the second have been read.

        A new file begins one day back: older facts of the instance are not reported.
        """
        self._con.execute("INSERT OR IGNORE INTO cursor VALUES (1, ?, ?)", (now, now - DAY))
        row = self._one("SELECT born, until FROM cursor")
        return max(row["born"] - DAY, now - REMEMBERED_S), row["until"]

    def looked(self, updated: Mapping[str, float], until: float, forget_before: float) -> None:
        """Record that these runs (id and time of their update) have been read, and all that were updated before
        `until`."""
        self._con.execute("UPDATE cursor SET until = ?", (until,))
        self._con.executemany("INSERT OR REPLACE INTO looked VALUES (?, ?)", list(updated.items()))
        self._con.execute("DELETE FROM looked WHERE updated < ?", (forget_before,))

    def looked_at(self) -> dict[str, float]:
        return {row["run_id"]: row["updated"] for row in self._all("SELECT * FROM looked")}

    # -- delivering ----------------------------------------------------------------------------------

    def deliver(self, environ: Mapping[str, str], now: Callable[[], float] = time.time) -> list[str]:
        """Send what is due, for at most A_TICK_S, and delete what is old; returns, as text, what was sent and what
        failed.

        Beyond `per_hour` messages of a channel, everything due goes in one message, and further alerts wait for the
        next hour. A failing channel is skipped for this call; its alert is tried again after a wait that doubles up to
        an hour, and given up after a day, which is reported over other channels.
        """
        began, said = now(), []
        for channel in self.config.channels:
            sent = 0
            while now() - began < A_TICK_S and (claimed := self._claim(channel, now())):
                message, alerts, attempt = claimed
                try:
                    words = channels.send(channel, self.config, environ, alerts, message)
                except NotDelivered as error:
                    self._failed(channel, alerts, attempt, error, now())
                    said.append(f"{channel}: {error}")
                    break
                self._sent(channel, alerts, words, now())
                sent += len(alerts)
            if sent:
                said.append(f"{sent} sent by {channel}")
        self._purge(now())
        return said

    def waiting(self) -> int:
        """Alerts that have not reached every configured channel yet."""
        row = self._one(
            f"SELECT count(DISTINCT key) AS found FROM deliveries WHERE state = 'waiting' AND channel IN "
            f"({', '.join('?' * len(self.config.channels))})",
            *self.config.channels,
        )
        return row["found"]

    def _claim(self, channel: str, now: float) -> tuple[str, list[Alert], int] | None:
        """The next message: its id, its alerts, and the number of this attempt. Others leave it alone for LEASE_S."""
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
                # A bundle that was tried before is tried again as it was, under its id.
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

    def _sent(self, channel: str, alerts: Sequence[Alert], words: str, now: float) -> None:
        with self.writing():
            self._con.executemany(
                "UPDATE deliveries SET state = 'sent', sent = ?, words = ? WHERE key = ? AND channel = ?",
                [(now, words, alert.key, channel) for alert in alerts],
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
            self._con.execute("DELETE FROM alerts WHERE recorded < ?", (now - KEPT_S,))
            self._con.execute("DELETE FROM deliveries WHERE key NOT IN (SELECT key FROM alerts)")

    def _all(self, question: str, *values: Any) -> list[dict[str, Any]]:
        asked = self._con.execute(question, values)
        names = [column[0] for column in asked.description]
        return [dict(zip(names, row, strict=True)) for row in asked.fetchall()]

    def _one(self, question: str, *values: Any) -> Any:
        return next(iter(self._all(question, *values)), None)


def _over(told: Alert, now: float) -> Alert:
    return replace(
        told,
        key=f"{told.key}/over",
        severity="info",
        title=f"over: {told.title}",
        details=f"It ended by {clock(at(now))}.",
        what_was_done="",
        what_to_do="",
    )


def _undelivered(
    portfolio: str, config: AlertsConfig, channel: str, lost: Sequence[str], error: NotDelivered, now: float
) -> Alert:
    return Alert(
        # Once a day and channel, however many alerts are lost.
        key=f"undelivered/{channel}/{int(now // DAY)}",
        kind="undelivered",
        severity="error",
        portfolio=portfolio,
        title=f"alerts could not be delivered by {channel}",
        details=f"{len(lost)} given up now; the last try said: {error}.",
        since=at(now - GIVEN_UP_AFTER_S),
        what_was_done="They were tried for a day, and are no longer.",
        what_to_do=f"Mend {channels.VARIABLES[channel]} or the server behind it; `credit-assets alerts --test` tries "
        "it. What was not delivered is listed by `credit-assets alerts`.",
        link=config.ui,
        parts=(channel,),
    )

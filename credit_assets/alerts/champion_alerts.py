"""Alerts from the history of champions: promotions, overrides of the gate, and rollbacks."""

from __future__ import annotations

from collections.abc import Iterable

from credit_assets.alerts.notifications import Alert
from credit_assets.alerts.outbox import Outbox
from credit_assets.alerts.place import Place
from credit_assets.registry.champions import ChampionEvent


def report_champions(outbox: Outbox, place: Place, history: Iterable[ChampionEvent], now: float) -> None:
    """Record promotions and rollbacks."""
    floor, _ = outbox.since(now)
    with outbox.writing():
        for event in history:
            if event.at.timestamp() >= floor:
                outbox.record(_champion(place, event), now)


def _champion(place: Place, event: ChampionEvent) -> Alert:
    before = f"version {event.replaced}" if event.replaced else "no champion"
    back, override = event.by == "rollback" or event.back, event.by == "override"
    if back:
        what_to_do = "Find out why the version after it did worse."
    elif override:
        what_to_do = "Make sure that the override was meant. Its evaluation report shows what the gate found."
    else:
        what_to_do = "Nothing."
    return Alert(
        key=f"champion/{event.number}",
        kind="rollback" if back else "promotion",
        severity="warning" if back or override else "info",
        portfolio=place.portfolio,
        title=f"version {event.version} decides {'again' if back else 'now'}, after {before}"
        + (": an override of the gate" if override else ""),
        details=f"By {event.by}. Why: {event.why}",
        since=event.at,
        what_was_done="New batches are scored by it. Decisions already given stay as they are.",
        what_to_do=what_to_do,
        link=place.run(event.run_id) if event.run_id else place.asset("champion"),
        parts=("champion",),
    )

"""Alerts from the history of champions: promotions, overrides of the gate, and rollbacks."""

from __future__ import annotations

from collections.abc import Iterable

from credit_assets.alerts.notifications import Alert
from credit_assets.alerts.outbox import Outbox
from credit_assets.alerts.portfolio_links import PortfolioLinks
from credit_assets.registry.champions import ChampionEvent


def report_champions(outbox: Outbox, links: PortfolioLinks, history: Iterable[ChampionEvent], now: float) -> None:
    """Record an alert for each promotion, override and rollback."""
    not_before, _ = outbox.cursor(now)
    with outbox.writing():
        for event in history:
            if event.at.timestamp() >= not_before:
                outbox.record(_champion_alert(links, event), now)


def _champion_alert(links: PortfolioLinks, event: ChampionEvent) -> Alert:
    before = f"replaces version {event.replaced}" if event.replaced else "there was no champion"
    back, override = event.by == "rollback" or event.is_rollback, event.by == "override"
    if back:
        what_to_do = "Find out why the later version performed worse."
    elif override:
        what_to_do = "Make sure that the override was intended. Its evaluation report shows the verdicts of the gate."
    else:
        what_to_do = "Nothing."
    return Alert(
        key=f"champion/{event.number}",
        kind="rollback" if back else "promotion",
        severity="warning" if back or override else "info",
        portfolio=links.portfolio,
        title=f"version {event.version} is the champion{' again' if back else ''} ({before})"
        + (", by an override of the gate" if override else ""),
        details=f"By {event.by}. Why: {event.why}",
        since=event.at,
        what_was_done="It scores new batches. Existing decisions do not change.",
        what_to_do=what_to_do,
        link=links.run_url(event.run_id) if event.run_id else links.asset_url("champion"),
        parts=("champion",),
    )

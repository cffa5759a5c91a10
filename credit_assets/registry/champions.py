"""The history of champions and approvals as values, and what follows from it. `moves.py` stores it."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

ChangedBy = Literal["gate", "rollback", "hand", "override"]
"""Who moved the alias: the gate, an automatic rollback, a person who rolled back (or moved it in MLflow), or people
who promoted a version by hand regardless of the gate."""


@dataclass(frozen=True)
class ChampionEvent:
    """A change of the champion to `version`: when (UTC), by whom, why, in which Dagster run, and the version `replaced`
    (None for the first)."""

    number: int
    version: int
    at: datetime
    by: ChangedBy
    why: str
    run_id: str | None
    replaced: int | None

    @property
    def is_rollback(self) -> bool:
        """Whether this was a rollback: an earlier version replaced the champion."""
        return self.by in ("rollback", "hand") and self.replaced is not None and self.version < self.replaced


@dataclass(frozen=True)
class Approval:
    """A person's approval of promoting a version by hand, the reason, and the number of champion changes before it."""

    version: int
    by: str
    why: str
    moves: int


@dataclass(frozen=True)
class Override:
    """A promotion by hand: the approvals in order, and how many people still have to approve (0: it is done)."""

    version: int
    approvals: tuple[Approval, ...]
    missing: int

    def __str__(self) -> str:
        who = " and ".join(approval.by for approval in self.approvals)
        if not self.missing:
            return f"Version {self.version} is promoted by hand{f', approved by {who}' if who else ''}."
        others = "one other person approves" if self.missing == 1 else f"{self.missing} other people approve"
        return (
            f"Version {self.version} is approved by {who}. It is promoted once {others} too, while the champion "
            "stays the same."
        )


def person(name: str) -> str:
    """A normalised name, equal for spellings that look the same: letter case, whitespace, composed or decomposed
    accents and invisible characters are ignored."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    shown = "".join(sign for sign in folded if unicodedata.category(sign) != "Cf")
    return " ".join(shown.split())


def decided_at(events: Sequence[ChampionEvent], when: datetime) -> int | None:
    """The version that was champion at a time (timezone-aware); None before the first champion."""
    return next((event.version for event in reversed(events) if event.at <= when), None)


def predecessor_of(events: Sequence[ChampionEvent], registered: Collection[int]) -> int | None:
    """The latest champion before the current one's first promotion that was not rolled back and is still registered.
    Repeated rollbacks therefore end, and never return to a version known to be worse."""
    if not events:
        return None
    first = next(index for index, event in enumerate(events) if event.version == events[-1].version)
    candidates = set(registered) - set(rolled_back(events))
    return next((event.version for event in reversed(events[:first]) if event.version in candidates), None)


def rolled_back(events: Sequence[ChampionEvent]) -> dict[int, ChampionEvent]:
    """The versions that were rolled back, with the event, unless they became champion again."""
    undone: dict[int, ChampionEvent] = {}
    for event in events:
        undone.pop(event.version, None)
        if event.is_rollback:
            assert event.replaced is not None
            undone[event.replaced] = event
    return undone


def overridden(events: Sequence[ChampionEvent]) -> dict[int, ChampionEvent]:
    """The versions that a promotion by hand replaced, with the event, unless they became champion again."""
    replaced: dict[int, ChampionEvent] = {}
    for event in events:
        replaced.pop(event.version, None)
        if event.by == "override" and event.replaced is not None:
            replaced[event.replaced] = event
    return replaced


def blocked(events: Sequence[ChampionEvent]) -> dict[int, ChampionEvent]:
    """The versions that the gate must not promote again: rolled back or replaced by hand, with the event."""
    return {**overridden(events), **rolled_back(events)}

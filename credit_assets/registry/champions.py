"""The history of champions and approvals as values, and what follows from a history. It is kept by `moves.py`."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

By = Literal["gate", "rollback", "hand", "override"]
"""Who moved the alias: the gate, an automatic rollback, a person who rolled back (or moved it in MLflow), or persons
who promoted a version by hand, whatever the gate said of it."""


@dataclass(frozen=True)
class ChampionEvent:
    """One change of the champion: to `version`, at a time (UTC), by whom and why, in which Dagster run, from the
    version `replaced` (None for the first)."""

    number: int
    version: int
    at: datetime
    by: By
    why: str
    run_id: str | None
    replaced: int | None

    @property
    def back(self) -> bool:
        """Whether the version replaced was found wanting, and not just followed by a newer one."""
        return self.by in ("rollback", "hand") and self.replaced is not None and self.version < self.replaced


@dataclass(frozen=True)
class Approval:
    """That a person approves of the promotion of a version by hand, why, and after how many changes of the champion."""

    version: int
    by: str
    why: str
    moves: int


@dataclass(frozen=True)
class Override:
    """A promotion by hand: who has approved, in order, and how many other persons have yet to (0: it is done)."""

    version: int
    approvals: tuple[Approval, ...]
    missing: int

    def __str__(self) -> str:
        who = " and ".join(approval.by for approval in self.approvals)
        if not self.missing:
            return f"Version {self.version} is promoted by hand{f', approved by {who}' if who else ''}."
        others = "one other person" if self.missing == 1 else f"{self.missing} other persons"
        return (
            f"Version {self.version} is approved by {who}. It is promoted once {others} approved too, while the same "
            "champion decides."
        )


def person(name: str) -> str:
    """The same text for all spellings of a name that look the same or differ in case: other spaces, letters composed or
    with their accents apart, signs that do not show."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    shown = "".join(sign for sign in folded if unicodedata.category(sign) != "Cf")
    return " ".join(shown.split())


def decided_at(events: Sequence[ChampionEvent], when: datetime) -> int | None:
    """The version that decided at a time (with its zone); None before the first champion."""
    return next((event.version for event in reversed(events) if event.at <= when), None)


def predecessor_of(events: Sequence[ChampionEvent], registered: Collection[int]) -> int | None:
    """The version that decided before the champion was first promoted, was not rolled back from itself and is still
    registered: repeated rollbacks come to an end, and never return to a version known to be worse."""
    if not events:
        return None
    first = next(index for index, event in enumerate(events) if event.version == events[-1].version)
    candidates = set(registered) - set(rolled_back(events))
    return next((event.version for event in reversed(events[:first]) if event.version in candidates), None)


def rolled_back(events: Sequence[ChampionEvent]) -> dict[int, ChampionEvent]:
    """The versions that were rolled back from, with the event that did it; not those brought back since."""
    undone: dict[int, ChampionEvent] = {}
    for event in events:
        undone.pop(event.version, None)
        if event.back:
            assert event.replaced is not None
            undone[event.replaced] = event
    return undone


def overridden(events: Sequence[ChampionEvent]) -> dict[int, ChampionEvent]:
    """The versions that a promotion by hand replaced, with that event; not those that became champion since."""
    replaced: dict[int, ChampionEvent] = {}
    for event in events:
        replaced.pop(event.version, None)
        if event.by == "override" and event.replaced is not None:
            replaced[event.replaced] = event
    return replaced


def set_aside(events: Sequence[ChampionEvent]) -> dict[int, ChampionEvent]:
    """The versions that the gate does not promote: those rolled back from or replaced by hand, with that event."""
    return {**overridden(events), **rolled_back(events)}

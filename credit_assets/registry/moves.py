"""Stores the history of champions beside the alias, and keeps both consistent if a process is killed between writes.
`registry.py` decides which changes are allowed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from credit_assets.registry.champions import Approval, ChampionEvent, ChangedBy, person
from credit_assets.registry.errors import RegistryError
from credit_assets.registry.store import Store, StoredModel
from credit_assets.registry.tags import CHALLENGER, CHAMPION, PREVIOUS, WHY_LENGTH

EVENT = "champion."
"""Prefix of tags of the registered model (`champion.0001`, ...): each change of the champion as JSON."""

APPROVAL = "approval."
"""Prefix of tags of the registered model: a person's approval of promoting a version by hand, as JSON."""

MOVING = "champion_moving"
"""Tag of the registered model while the alias is moved: the event to record afterwards, as JSON."""

FOUND_THERE = (
    "It was already the champion when the history began. The time is that of its registration, the earliest possible."
)
FOUND_MOVED = "The alias was moved in MLflow itself, outside of the platform, at some time since the previous change."


class Moves:
    """The history of champions of one model. The caller of a method that writes holds the store's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self) -> list[ChampionEvent]:
        """The history, oldest first, after repairing a difference from the alias."""
        model = self._store.model()
        if model is None:
            return []
        events, current = _events(model), model.aliases.get(CHAMPION)
        if MOVING not in model.tags and (current is None or (events and events[-1].version == current)):
            return events
        with self._store.lock():
            return self.repaired()[0]

    def repaired(self) -> tuple[list[ChampionEvent], int | None]:
        """The history, repaired to agree with the alias, and the champion's number."""
        model = self._store.model()
        if model is None:
            return [], None
        events, current = _events(model), model.aliases.get(CHAMPION)
        if MOVING in model.tags:
            intended = _from_json(model.tags[MOVING])
            # The process was killed after moving the alias. If it was killed before, the move did not happen.
            if intended.version == current and intended.number > len(events):
                self._store.set_tag(_tag(intended), _as_json(intended))
                events.append(intended)
            self._store.set_tag(MOVING, None)
        if current is not None and (not events or events[-1].version != current):
            if events:
                found = _next_event(events, current, "hand", FOUND_MOVED, None, events[-1].version)
            else:
                version = self._store.version(current)
                if version is None:
                    raise RegistryError(f"Model {self._store.name} has no version {current}.")
                found = ChampionEvent(1, current, version.created, "hand", FOUND_THERE, None, None)
            self._store.set_tag(_tag(found), _as_json(found))
            events.append(found)
        return events, current

    def make(
        self,
        events: list[ChampionEvent],
        current: int | None,
        wanted: int,
        by: ChangedBy,
        why: str,
        dagster_run: str | None,
    ) -> None:
        """Move the alias and record the event. If the process is killed in between, `repaired` completes the record."""
        store = self._store
        if current != wanted:
            event = _next_event(events, wanted, by, why, dagster_run, current)
            store.set_tag(MOVING, _as_json(event))
            store.set_alias(CHAMPION, wanted)
            store.set_tag(_tag(event), _as_json(event))
            store.set_tag(MOVING, None)
            events = [*events, event]
        if (replaced := events[-1].replaced) is not None:
            store.set_alias(PREVIOUS, replaced)
        if (waiting := store.aliased(CHALLENGER)) and waiting.number == wanted:
            store.set_alias(CHALLENGER, None)

    def approvals(self, version: int, moves: int) -> list[Approval]:
        """The approvals of promoting the version by hand, given after this number of champion changes."""
        model = self._store.model()
        tags = model.tags if model else {}
        found = [Approval(**json.loads(text)) for tag, text in tags.items() if tag.startswith(APPROVAL)]
        return sorted(
            (each for each in found if (each.version, each.moves) == (version, moves)), key=lambda each: each.by
        )

    def approve(self, approval: Approval) -> None:
        """Store an approval; a person's later one for the same version replaces it."""
        person_hash = hashlib.sha256(person(approval.by).encode()).hexdigest()[:12]
        text = _dumps(asdict(approval) | {"why": approval.why[:WHY_LENGTH]})
        self._store.set_tag(f"{APPROVAL}{approval.version:04d}.{person_hash}", text)


def runs_of(model: StoredModel) -> set[str]:
    """The Dagster runs that changed the model's champion."""
    return {event.run_id for event in _events(model) if event.run_id}


def _next_event(
    events: Sequence[ChampionEvent], number: int, by: ChangedBy, why: str, dagster_run: str | None, replaced: int | None
) -> ChampionEvent:
    now = datetime.now(UTC)
    # A clock that was set back must not reorder the history.
    at = max(now, events[-1].at) if events else now
    return ChampionEvent(len(events) + 1, number, at, by, " ".join(why.split())[:WHY_LENGTH], dagster_run, replaced)


def _events(model: StoredModel) -> list[ChampionEvent]:
    events = [_from_json(text) for tag, text in model.tags.items() if tag.startswith(EVENT)]
    return sorted(events, key=lambda event: event.number)


def _tag(event: ChampionEvent) -> str:
    return f"{EVENT}{event.number:04d}"


def _as_json(event: ChampionEvent) -> str:
    return _dumps(asdict(event) | {"at": event.at.isoformat()})


def _from_json(text: str) -> ChampionEvent:
    stored = json.loads(text)
    return ChampionEvent(**stored | {"at": datetime.fromisoformat(stored["at"])})


def _dumps(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)

"""How the history of champions is kept beside the alias, so that a process killed anywhere leaves the two in
agreement. Which changes are allowed is decided in `registry.py`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from credit_assets.registry.champions import Approval, By, ChampionEvent, person
from credit_assets.registry.errors import RegistryError
from credit_assets.registry.store import Store, StoredModel
from credit_assets.registry.tags import CHALLENGER, CHAMPION, PREVIOUS, WHY_LENGTH

EVENT = "champion."
"""Tags of the registered model, `champion.0001` and on: each change of the champion as JSON."""

APPROVAL = "approval."
"""Tags of the registered model, one a version and person: that they approve of its promotion by hand, as JSON."""

MOVING = "champion_moving"
"""Tag of the registered model while the alias is moved: the event that is to be noted once it has been."""

FOUND_THERE = (
    "Champion already when the history began; at the earliest since it was registered, which is the time given."
)
FOUND_MOVED = "Found moved: in MLflow itself, outside of the platform, at some time since the move before."


class Moves:
    """The history of champions of one model. All methods that write are called while the store's lock is held."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self) -> list[ChampionEvent]:
        """The history, oldest first, made to agree with the alias where it does not."""
        model = self._store.model()
        if model is None:
            return []
        events, current = _events(model), model.aliases.get(CHAMPION)
        if MOVING not in model.tags and (current is None or (events and events[-1].version == current)):
            return events
        with self._store.lock():
            return self.settled()[0]

    def settled(self) -> tuple[list[ChampionEvent], int | None]:
        """The history, made to agree with the alias, and the champion's number."""
        model = self._store.model()
        if model is None:
            return [], None
        events, current = _events(model), model.aliases.get(CHAMPION)
        if MOVING in model.tags:
            meant = _from_json(model.tags[MOVING])
            # Cut short after the alias was moved; before that, the move did not happen.
            if meant.version == current and meant.number > len(events):
                self._store.set_tag(_tag(meant), _as_json(meant))
                events.append(meant)
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
        by: By,
        why: str,
        dagster_run: str | None,
    ) -> None:
        """Move the alias and note it. Killed anywhere in between, it is finished by the next (`settled`)."""
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
        """Who approves of the version's promotion by hand while the champion has changed so many times."""
        model = self._store.model()
        tags = model.tags if model else {}
        found = [Approval(**json.loads(text)) for tag, text in tags.items() if tag.startswith(APPROVAL)]
        return sorted(
            (each for each in found if (each.version, each.moves) == (version, moves)), key=lambda each: each.by
        )

    def approve(self, approval: Approval) -> None:
        """Note an approval, one a version and person."""
        whose = hashlib.sha256(person(approval.by).encode()).hexdigest()[:12]
        text = _dumps(asdict(approval) | {"why": approval.why[:WHY_LENGTH]})
        self._store.set_tag(f"{APPROVAL}{approval.version:04d}.{whose}", text)


def runs_of(model: StoredModel) -> set[str]:
    """The Dagster runs that changed the model's champion."""
    return {event.run_id for event in _events(model) if event.run_id}


def _next_event(
    events: Sequence[ChampionEvent], number: int, by: By, why: str, dagster_run: str | None, replaced: int | None
) -> ChampionEvent:
    now = datetime.now(UTC)
    # A clock that was set back does not turn the history around.
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
    noted = json.loads(text)
    return ChampionEvent(**noted | {"at": datetime.fromisoformat(noted["at"])})


def _dumps(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)

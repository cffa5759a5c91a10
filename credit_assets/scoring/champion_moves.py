"""Changes of the champion: to a candidate that passed the gate, or to a version that people promote by hand. The
registry does rollbacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from credit_assets.book.book import Book
from credit_assets.evaluation.report import mark_override
from credit_assets.registry.champions import Override
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import ModelVersion


class NoChampionYet(ValueError):
    """A promotion by hand needs more approvals, and there is no champion yet."""

    def __init__(self, override: Override) -> None:
        super().__init__(f"{override} Until then there is no champion.")
        self.override = override


@dataclass(frozen=True)
class KeptChampion:
    """The champion stays although a training has reproduced `candidate`; `message` states why."""

    champion: ModelVersion
    candidate: int
    message: str


def promote_by_hand(book: Book, number: int, by: str, why: str, runs: Sequence[str]) -> tuple[ModelVersion, Override]:
    """Record a person's approval of this version, and promote it once it has enough. Returns the champion after that,
    and the approvals so far. The evaluation report of a version that is promoted in this way gets a banner. `runs` are
    the requesting run and those that it repeats.

    Raises NoChampionYet, and the errors of `Registry.override`.
    """
    registry = book.registry
    done = registry.override(number, by=by, why=why, approvals=book.portfolio.promotion.approvals, dagster_runs=runs)
    decides = registry.champion()
    if decides is None:
        raise NoChampionYet(done)
    if not done.missing:
        page = book.project.reports / book.name / f"evaluation-v{done.version}.html"
        if mark_override(page, registry.history()[-1].why):
            registry.log(decides, {}, {"report": page})
    return decides, done


def kept_champion(registry: Registry, candidate: int, runs: Sequence[str]) -> KeptChampion | None:
    """The champion that stays because one of these runs reproduced a version that had been rolled back or replaced by
    hand; None if there is no such case, or no champion."""
    version = registry.find(candidate)
    undone = version and registry.blocked_before(version, runs)
    decides = registry.champion() if undone else None
    if not undone or decides is None:
        return None
    what = "rolled back" if undone.is_rollback else "replaced by hand"
    message = (
        f"The training reproduced version {candidate}, which was {what} at {undone.at:%Y-%m-%d %H:%M} UTC. "
        f"Version {decides.number} stays the champion."
    )
    return KeptChampion(decides, candidate, message)


def reasons_of_promotion(gate: pd.DataFrame, requested: str) -> str:
    """The reasons for promoting the candidate of this `Gate` table, as text for the history: why its training was
    requested (may be empty), and the verdicts of the gate."""
    shown = gate.set_index("verdict")["words"]
    reasons = [requested, "It passed the gate.", shown["discrimination"], shown["not_worse_than_champion"]]
    return " ".join(reason if reason.endswith(".") else f"{reason}." for reason in reasons if reason)

"""The registry of one portfolio's model: its versions and their files, which of them decides, and who changed that.

What is kept where is `store.py`'s; nothing is cached here, so that every answer is as fresh as the store.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from credit_assets.registry import moves, tags, tracking
from credit_assets.registry.champions import (
    Approval,
    By,
    ChampionEvent,
    Override,
    person,
    predecessor_of,
    set_aside,
)
from credit_assets.registry.errors import PromotionRefused, RegistryError, VersionDamaged
from credit_assets.registry.mlflow_store import MlflowStore
from credit_assets.registry.sqlite_store import SqliteStore
from credit_assets.registry.store import Saveable, Servable, Store, StoredVersion
from credit_assets.registry.version import DRIFT_REFERENCE, IMPORTANCE, ModelVersion, Origin, Repeat
from credit_assets.settings.project import Project


class Registry:
    """The versions of one model, named after its portfolio, and the history of its champions.

    A `ModelVersion` is as it was when it was read. All methods but `require` and `answering` raise RegistryUnavailable
    where the store does not answer.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._moves = moves.Moves(store)

    @classmethod
    def of(cls, project: Project, portfolio: str) -> Registry:
        """The project's registry in MLflow, for the portfolio of this name."""
        return cls(MlflowStore(project.tracking_uri, portfolio, project.artifacts))

    @classmethod
    def reading(cls, project: Project, portfolio: str) -> Registry:
        """The same for a command that only reads: from the SQLite file itself, if there is one, without MLflow."""
        store = SqliteStore if tracking.database_of(project.tracking_uri) else MlflowStore
        return cls(store(project.tracking_uri, portfolio, project.artifacts))

    @property
    def name(self) -> str:
        """The model's, which is the portfolio's."""
        return self.store.name

    def require(self) -> None:
        """Raise RegistryUnavailable, with address and reason, where the registry does not answer."""
        self.store.require()

    def answering(self) -> AbstractContextManager[None]:
        """A context that requires the registry, and raises RegistryUnavailable too where it goes away in the middle."""
        return self.store.answering()

    # -- versions

    def versions(self) -> list[ModelVersion]:
        """All registered versions, oldest first."""
        return [tags.version_of(self.name, stored) for stored in self.store.versions()]

    def find(self, number: int) -> ModelVersion | None:
        """The version of this number; None where it was deleted or never registered."""
        return self._value(self.store.version(number))

    def get(self, number: int) -> ModelVersion:
        """The version of this number. Raises RegistryError where it was deleted or never registered."""
        if (found := self.find(number)) is None:
            raise RegistryError(f"Model {self.name} has no version {number}.")
        return found

    def newest(self) -> ModelVersion | None:
        """The version that the latest training made, or made again, whatever became of it; None where there is none."""
        return max(self.versions(), key=lambda version: (version.latest_training[1], version.number), default=None)

    def champion(self) -> ModelVersion | None:
        """The version whose scores decide; None where none has been promoted."""
        return self._value(self.store.aliased(tags.CHAMPION))

    def challenger(self) -> ModelVersion | None:
        """The newest version that has not become champion; None where there is none."""
        return self._value(self.store.aliased(tags.CHALLENGER))

    def table_versions(self) -> set[tuple[str, int]]:
        """The versions of tables that any registered version was made from, at first and the last time."""
        return {made_from for version in self.versions() for made_from in version.table_versions}

    def dagster_runs_of_all_models(self) -> set[str]:
        """The Dagster runs that made a registered version, at first or again, or changed the champion, of any model."""
        found: set[str | None] = set()
        for name, model in self.store.models().items():
            found |= moves.runs_of(model)
            for stored in self.store.versions(name):
                version = tags.version_of(name, stored)
                found |= {version.dagster_run, *(repeat.run_id for repeat in version.repeats)}
        return {run for run in found if run}

    def _value(self, stored: StoredVersion | None) -> ModelVersion | None:
        return None if stored is None else tags.version_of(self.name, stored)

    # -- registration

    def register(
        self,
        model: Servable,
        origin: Origin,
        *,
        run_name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        artifacts: Mapping[str, Path] | None = None,
        parent_run: str | None = None,
    ) -> ModelVersion:
        """Log the model in an MLflow run of its own and register it as the challenger.

        The run is FINISHED when this returns and FAILED when it raises, and a child of `parent_run` where that is
        given. `artifacts` maps a folder in the run ("" for its top) to a local file or folder.
        """
        stored = self.store.register(
            model,
            run_name=run_name,
            params=params,
            metrics=metrics,
            tags=tags.origin_tags(self.name, origin),
            artifacts=artifacts or {},
            parent_run=parent_run,
        )
        self.store.set_alias(tags.CHALLENGER, stored.number)
        return tags.version_of(self.name, stored)

    def registered_before(self, fingerprint: str) -> ModelVersion | None:
        """The version of this fingerprint: an earlier training made it, or an attempt at this one that was killed. None
        where there is none. It is the challenger where it is not the champion."""
        found = self.store.tagged(tags.FINGERPRINT, fingerprint)
        if found is None:
            return None
        self.store.finish(found.run_id)
        if (current := self.champion()) is None or current.number != found.number:
            self.store.set_alias(tags.CHALLENGER, found.number)
        return tags.version_of(self.name, found)

    def note_repeat(self, version: ModelVersion, repeat: Repeat) -> bool:
        """Keep with the version that a later training made it again; False for attempts at a training that is known."""
        if repeat.root_run in {version.root_run, *(each.root_run for each in version.repeats)}:
            return False
        self.store.set_version_tag(version.number, *tags.repeat_tag(len(version.repeats) + 1, repeat))
        return True

    def set_aside_before(self, version: ModelVersion, runs: Collection[str]) -> ChampionEvent | None:
        """The event by which the version was set aside, where one of these runs has made it again; None otherwise."""
        again = any(repeat.root_run in runs for repeat in version.repeats)
        return set_aside(self.history()).get(version.number) if again else None

    def log_model(
        self,
        model: Saveable,
        origin: Origin,
        *,
        run_name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        parent_run: str | None = None,
    ) -> str:
        """Log a model that is not registered in an MLflow run of its own, whose id is returned."""
        return self.store.log_model(
            model,
            run_name=run_name,
            params=params,
            metrics=metrics,
            tags=tags.origin_tags(self.name, origin),
            parent_run=parent_run,
        )

    # -- figures and files

    def log(
        self, version: ModelVersion, metrics: Mapping[str, float], artifacts: Mapping[str, Path] | None = None
    ) -> None:
        """Add what is found out about a version later (evaluation, fairness) to its figures and files."""
        self.store.log(version.run_id, metrics, artifacts or {})

    def log_gate(
        self, number: int, text: str, *, passed: bool, better_than: int | None = None, better: str = ""
    ) -> None:
        """Keep with a version what the gate said of it, and whether it passed; and, of a refused one, by how much it is
        surely `better` than the champion `better_than`."""
        self.store.set_version_tag(number, tags.GATE, text[: tags.GATE_LENGTH])
        self.store.set_version_tag(number, tags.PASSED, str(passed).lower())
        if better_than is not None and better:
            self.store.set_version_tag(number, tags.BETTER, f"{better_than} {better}"[: tags.WHY_LENGTH])
        elif self.get(number).better is not None:
            self.store.set_version_tag(number, tags.BETTER, None)

    def metrics(self, version: ModelVersion) -> dict[str, float]:
        """The latest value of every figure of the version."""
        return self.store.metrics(version.run_id)

    def importance(self, version: ModelVersion) -> dict[str, float]:
        """How much the version relies on each feature. Raises VersionDamaged where that is gone."""
        with self.file(version, IMPORTANCE) as path:
            return json.loads(path.read_text())

    @contextmanager
    def file(self, version: ModelVersion, path: str) -> Iterator[Path]:
        """A file of the version, for as long as the context lasts. Raises VersionDamaged where it is gone."""
        if not self.has_file(version, path):
            raise VersionDamaged(self.name, version.number, path)
        with self.store.file(version.run_id, path) as found:
            yield found

    def has_file(self, version: ModelVersion, path: str) -> bool:
        """Whether the version has a file of this name."""
        return self.store.has_file(version.run_id, path)

    def model_files(self, version: ModelVersion) -> AbstractContextManager[Path]:
        """The folder that the version's model was saved to, for as long as the context lasts."""
        return self.store.model_files(version.number)

    def has_reference(self, version: ModelVersion) -> bool:
        """Whether batches can be compared with the version: it has passed the gate, or was promoted by hand."""
        return self.has_file(version, DRIFT_REFERENCE)

    # -- champions

    def history(self) -> list[ChampionEvent]:
        """Every change of the champion, oldest first; empty for a model without one.

        A change of which the history knows nothing (made in MLflow itself, or before there was a history) is noted
        when it is found, with a reason that says so.
        """
        return self._moves.read()

    def predecessor(self) -> int | None:
        """The version a rollback would go to; None where there is none."""
        return self._predecessor(self.history())

    def _predecessor(self, events: Sequence[ChampionEvent]) -> int | None:
        return predecessor_of(events, {version.number for version in self.store.versions()})

    def promote(self, number: int, *, by: By, why: str, dagster_run: str | None = None) -> ModelVersion:
        """Make a version the champion and note it; nothing is noted where it is the champion already.

        The champion before gets the alias `previous_champion`; a promoted challenger is one no longer. Raises
        RegistryError where there is no such version, and PromotionRefused where the gate would bring back one
        that was rolled back from or replaced by hand, which a person alone may do.
        """
        self.get(number)
        with self.store.lock():
            events, current = self._moves.settled()
            if by == "gate" and (undone := set_aside(events).get(number)):
                what = "rolled back from" if undone.back else "replaced by hand"
                raise PromotionRefused(
                    f"Version {number} of {self.name} was {what} at {undone.at:%Y-%m-%d %H:%M} UTC ({undone.why}). "
                    "Train a new candidate, or bring it back by hand."
                )
            self._moves.make(events, current, number, by, why, dagster_run)
        return self.get(number)

    def override(self, number: int, *, by: str, why: str, approvals: int, dagster_runs: Sequence[str] = ()) -> Override:
        """Note that a person approves of a version's promotion by hand and, where so many different persons do by now,
        make it the champion, with all of their reasons.

        One person has one approval, however the name is spelled (`person`). An approval counts until the champion
        changes. `dagster_runs` is the run that asks, and those that it repeats: where one of them promoted it already,
        nothing is done. Raises RegistryError where there is no such version, and PromotionRefused without a name or a
        reason, where the version is the champion already, or, for the last approval, where no batch could be compared
        with it.
        """
        version = self.get(number)
        with self.store.lock():
            events, current = self._moves.settled()
            if number == current and events[-1].run_id in dagster_runs:
                return Override(number, (), 0)
            given = self._approvals(number, by, " ".join(why.split()), len(events), current)
            missing = max(0, approvals - len(given))
            if not missing and not self.has_reference(version):
                raise PromotionRefused(
                    f"Version {number} of {self.name} has no {DRIFT_REFERENCE}, so no batch could be held against it. "
                    "Promote it by the job promote, which makes one."
                )
            self._moves.approve(given[-1])
            if not missing:
                reasons = "; ".join(f"{approval.by}: {approval.why.rstrip('.')}" for approval in given)
                gate = self.get(number).gate or "The gate did not judge it."
                run = dagster_runs[0] if dagster_runs else None
                why = f"Promoted by hand. {reasons}. {gate}"
                self._moves.make(events, current, number, "override", why, run)
        return Override(number, tuple(given), missing)

    def approvals_with(self, number: int, by: str) -> list[str]:
        """Who approves of the version's promotion by hand, if this person does too."""
        self.get(number)
        events = self.history()
        current = events[-1].version if events else None
        return [approval.by for approval in self._approvals(number, by, "so", len(events), current)]

    def _approvals(self, number: int, by: str, why: str, changes: int, current: int | None) -> list[Approval]:
        """The approvals that count, one a person, by name, the one that is given now last."""
        by = " ".join(by.split())
        if not person(by) or not why:
            raise PromotionRefused("A promotion by hand needs the name of who approves (by) and the reason (why).")
        if number == current:
            raise PromotionRefused(f"Version {number} of {self.name} is the champion already.")
        found = self._moves.approvals(number, changes)
        others = [each for each in found if person(each.by) != person(by)]
        return [*others, Approval(number, by, why, changes)]

    def roll_back(
        self,
        *,
        by: By,
        why: str,
        to_version: int | None = None,
        from_version: int | None = None,
        dagster_runs: Sequence[str] = (),
    ) -> ModelVersion:
        """Make the champion's predecessor, or `to_version`, the champion, and note it; the champion then.

        `dagster_runs` is the run that asks, and those that it repeats. Nothing is changed where it has been done:
        where another version than `from_version` decides, or one of these runs made the latest change. Raises
        PromotionRefused where there is nothing to go back to, or nothing that a batch could be compared with.
        """
        with self.store.lock():
            events, current = self._moves.settled()
            if current is None:
                raise PromotionRefused(f"Model {self.name} has no champion to roll back from.")
            if from_version in (None, current) and events[-1].run_id not in dagster_runs:
                wanted = to_version or self._predecessor(events)
                if wanted is None:
                    raise PromotionRefused(
                        f"Version {current} of {self.name} has no predecessor that was not rolled back from itself. "
                        "Name a version, or train a new candidate."
                    )
                self._refuse_ungated(self.get(wanted), events)
                self._moves.make(events, current, wanted, by, why, dagster_runs[0] if dagster_runs else None)
                current = wanted
        return self.get(current)

    def _refuse_ungated(self, version: ModelVersion, events: Sequence[ChampionEvent]) -> None:
        """Raise PromotionRefused where the version never passed the gate and nobody has promoted it by hand. Its
        reference may be there before the last approval of such a promotion."""
        refused = version.gate_passed is False and all(event.version != version.number for event in events)
        referenced = self.has_reference(version)
        if referenced and not refused:
            return
        lacks = "" if referenced else f": its run has no {DRIFT_REFERENCE}, and no batch could be held against it"
        raise PromotionRefused(
            f"Version {version.number} of {self.name} never passed the gate{lacks}. To make it the champion all the "
            f'same: `credit-assets promote --portfolio {self.name} --version {version.number} --why "..."`.'
        )

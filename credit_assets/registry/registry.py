"""The registry of a portfolio's model: its versions and their files, the champion, and the history of champions.

`store.py` defines the storage. Nothing is cached here, so every result is as current as the store.
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
    ChampionEvent,
    ChangedBy,
    Override,
    blocked,
    person,
    predecessor_of,
)
from credit_assets.registry.errors import PromotionRefused, RegistryError, VersionDamaged
from credit_assets.registry.mlflow_store import MlflowStore
from credit_assets.registry.sqlite_store import SqliteStore
from credit_assets.registry.store import Saveable, Servable, Store, StoredVersion
from credit_assets.registry.version import DRIFT_REFERENCE, IMPORTANCE, ModelVersion, Origin, Repeat
from credit_assets.settings.project import Project


class Registry:
    """The versions of one model, named after its portfolio, and the history of its champions.

    A `ModelVersion` is a snapshot taken when it was read. All methods but `require` and `answering` raise
    RegistryUnavailable if the store does not respond.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._moves = moves.Moves(store)

    @classmethod
    def of(cls, project: Project, portfolio: str) -> Registry:
        """The project's registry in MLflow for a portfolio."""
        return cls(MlflowStore(project.tracking_uri, portfolio, project.artifacts))

    @classmethod
    def reading(cls, project: Project, portfolio: str) -> Registry:
        """A registry for read-only commands: it reads MLflow's SQLite file directly, if there is one."""
        store = SqliteStore if tracking.database_of(project.tracking_uri) else MlflowStore
        return cls(store(project.tracking_uri, portfolio, project.artifacts))

    @property
    def name(self) -> str:
        """The name of the model and of its portfolio."""
        return self.store.name

    def require(self) -> None:
        """Raise RegistryUnavailable, with address and reason, if the registry does not respond."""
        self.store.require()

    def answering(self) -> AbstractContextManager[None]:
        """A context that requires the registry, and raises RegistryUnavailable if it fails in between."""
        return self.store.answering()

    # -- versions

    def versions(self) -> list[ModelVersion]:
        """All registered versions, oldest first."""
        return [tags.version_of(self.name, stored) for stored in self.store.versions()]

    def find(self, number: int) -> ModelVersion | None:
        """The version of this number; None if it was deleted or never registered."""
        return self._value(self.store.version(number))

    def get(self, number: int) -> ModelVersion:
        """The version of this number. Raises RegistryError if it was deleted or never registered."""
        if (found := self.find(number)) is None:
            raise RegistryError(f"Model {self.name} has no version {number}.")
        return found

    def newest(self) -> ModelVersion | None:
        """The version that the latest training created or reproduced, in any state; None if there is none."""
        return max(self.versions(), key=lambda version: (version.latest_training[1], version.number), default=None)

    def champion(self) -> ModelVersion | None:
        """The version whose scores decide; None if none has been promoted."""
        return self._value(self.store.aliased(tags.CHAMPION))

    def challenger(self) -> ModelVersion | None:
        """The newest version that has not become champion; None if there is none."""
        return self._value(self.store.aliased(tags.CHALLENGER))

    def table_versions(self) -> set[tuple[str, int]]:
        """The table versions that registered versions were trained from, in their first and latest training."""
        return {made_from for version in self.versions() for made_from in version.table_versions}

    def dagster_runs_of_all_models(self) -> set[str]:
        """The Dagster runs that created or reproduced a version or changed the champion, of any model."""
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
        """Log the model in a new MLflow run and register it as the challenger.

        The run is FINISHED when this returns and FAILED when it raises, and a child of `parent_run`, if given.
        `artifacts` maps a folder in the run ("" for its top) to a local file or folder.
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
        """The version with this fingerprint, from an earlier training or a killed attempt at this one; None if there is
        none. Sets the challenger alias to it unless it is the champion."""
        found = self.store.tagged(tags.FINGERPRINT, fingerprint)
        if found is None:
            return None
        self.store.finish(found.run_id)
        if (current := self.champion()) is None or current.number != found.number:
            self.store.set_alias(tags.CHALLENGER, found.number)
        return tags.version_of(self.name, found)

    def add_repeat(self, version: ModelVersion, repeat: Repeat) -> bool:
        """Store with the version that a later training reproduced it. False if that training is recorded already."""
        if repeat.root_run in {version.root_run, *(each.root_run for each in version.repeats)}:
            return False
        self.store.set_version_tag(version.number, *tags.repeat_tag(len(version.repeats) + 1, repeat))
        return True

    def blocked_before(self, version: ModelVersion, runs: Collection[str]) -> ChampionEvent | None:
        """The event that blocked the version, if one of these runs has reproduced it; None otherwise."""
        again = any(repeat.root_run in runs for repeat in version.repeats)
        return blocked(self.history()).get(version.number) if again else None

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
        """Log a model in a new MLflow run without registering it. Returns the run's id."""
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
        """Add metrics and files of a later step (evaluation, fairness) to a version."""
        self.store.log(version.run_id, metrics, artifacts or {})

    def log_gate(
        self, number: int, text: str, *, passed: bool, better_than: int | None = None, better: str = ""
    ) -> None:
        """Store the gate's message and result with a version and, for a refused one, by how much it is significantly
        `better` than the champion `better_than`."""
        self.store.set_version_tag(number, tags.GATE, text[: tags.GATE_LENGTH])
        self.store.set_version_tag(number, tags.PASSED, str(passed).lower())
        if better_than is not None and better:
            self.store.set_version_tag(number, tags.BETTER, f"{better_than} {better}"[: tags.WHY_LENGTH])
        elif self.get(number).better is not None:
            self.store.set_version_tag(number, tags.BETTER, None)

    def metrics(self, version: ModelVersion) -> dict[str, float]:
        """The latest value of each metric of the version."""
        return self.store.metrics(version.run_id)

    def importance(self, version: ModelVersion) -> dict[str, float]:
        """The importance of each feature for the version. Raises VersionDamaged if its file is missing."""
        with self.file(version, IMPORTANCE) as path:
            return json.loads(path.read_text())

    @contextmanager
    def file(self, version: ModelVersion, path: str) -> Iterator[Path]:
        """A file of the version, which exists as long as the context. Raises VersionDamaged if it is missing."""
        if not self.has_file(version, path):
            raise VersionDamaged(self.name, version.number, path)
        with self.store.file(version.run_id, path) as found:
            yield found

    def has_file(self, version: ModelVersion, path: str) -> bool:
        """Whether the version has a file of this name."""
        return self.store.has_file(version.run_id, path)

    def model_files(self, version: ModelVersion) -> AbstractContextManager[Path]:
        """The folder of the version's saved model, which exists as long as the context."""
        return self.store.model_files(version.number)

    def has_reference(self, version: ModelVersion) -> bool:
        """Whether batches can be compared with the version: it passed the gate or was promoted by hand."""
        return self.has_file(version, DRIFT_REFERENCE)

    # -- champions

    def history(self) -> list[ChampionEvent]:
        """Every change of the champion, oldest first; empty for a model without one.

        A change missing from the history (made in MLflow itself, or before the history began) is added when it is
        found, with a reason that says so.
        """
        return self._moves.read()

    def predecessor(self) -> int | None:
        """The version that a rollback would restore; None if there is none."""
        return self._predecessor(self.history())

    def _predecessor(self, events: Sequence[ChampionEvent]) -> int | None:
        return predecessor_of(events, {version.number for version in self.store.versions()})

    def promote(
        self, number: int, *, by: ChangedBy, why: str, dagster_run: str | None = None, compared_with: int | None = None
    ) -> ModelVersion:
        """Make a version the champion and record it; nothing is recorded if it is the champion already.

        The previous champion gets the alias `previous_champion`; a promoted challenger loses its alias. Raises
        RegistryError if there is no such version, and PromotionRefused if the gate would restore a version that was
        rolled back or replaced by hand, which only a person may do, or if the champion is not the one that the gate
        compared the version with (`compared_with`, 0 without a champion; None if not known).
        """
        self.get(number)
        with self.store.lock():
            events, current = self._moves.repaired()
            if by == "gate" and (undone := blocked(events).get(number)):
                what = "rolled back from" if undone.is_rollback else "replaced by hand"
                raise PromotionRefused(
                    f"Version {number} of {self.name} was {what} at {undone.at:%Y-%m-%d %H:%M} UTC ({undone.why}). "
                    "Train a new candidate, or bring it back by hand."
                )
            if compared_with is not None and current not in (None, number, compared_with):
                before = f"version {compared_with}" if compared_with else "no champion"
                raise PromotionRefused(
                    f"Version {number} of {self.name} was compared with {before}, but version {current} has become the "
                    "champion since. Train again to compare the two, or promote the version by hand."
                )
            self._moves.make(events, current, number, by, why, dagster_run)
        return self.get(number)

    def override(self, number: int, *, by: str, why: str, approvals: int, dagster_runs: Sequence[str] = ()) -> Override:
        """Record a person's approval of promoting a version by hand, and promote it, with all reasons, once `approvals`
        different people approve.

        A person has one approval, however the name is spelled (`person`). Approvals expire when the champion changes.
        `dagster_runs` is the calling run and those that it retries; nothing happens if one of them promoted the version
        already. Raises RegistryError if there is no such version, and PromotionRefused without a name or a reason, if
        the version is the champion already, or, for the last approval, if batches cannot be compared with it.
        """
        version = self.get(number)
        with self.store.lock():
            events, current = self._moves.repaired()
            if number == current and events[-1].run_id in dagster_runs:
                return Override(number, (), 0)
            given = self._approvals(number, by, " ".join(why.split()), len(events), current)
            missing = max(0, approvals - len(given))
            if not missing and not self.has_reference(version):
                raise PromotionRefused(
                    f"Version {number} of {self.name} has no {DRIFT_REFERENCE}, so no batch could be compared with it. "
                    "Promote it by the job promote, which creates the file."
                )
            self._moves.approve(given[-1])
            if not missing:
                reasons = "; ".join(f"{approval.by}: {approval.why.rstrip('.')}" for approval in given)
                gate = self.get(number).gate or "The gate did not evaluate it."
                run = dagster_runs[0] if dagster_runs else None
                why = f"Promoted by hand. {reasons}. {gate}"
                self._moves.make(events, current, number, "override", why, run)
        return Override(number, tuple(given), missing)

    def approvals_with(self, number: int, by: str) -> list[str]:
        """The people who would approve of promoting the version by hand, including this one."""
        self.get(number)
        events = self.history()
        current = events[-1].version if events else None
        return [approval.by for approval in self._approvals(number, by, "so", len(events), current)]

    def _approvals(self, number: int, by: str, why: str, changes: int, current: int | None) -> list[Approval]:
        """The valid approvals, one per person, with the new one last."""
        by = " ".join(by.split())
        if not person(by) or not why:
            raise PromotionRefused("A promotion by hand needs the name of the approver (by) and the reason (why).")
        if number == current:
            raise PromotionRefused(f"Version {number} of {self.name} is the champion already.")
        found = self._moves.approvals(number, changes)
        others = [each for each in found if person(each.by) != person(by)]
        return [*others, Approval(number, by, why, changes)]

    def roll_back(
        self,
        *,
        by: ChangedBy,
        why: str,
        to_version: int | None = None,
        from_version: int | None = None,
        dagster_runs: Sequence[str] = (),
    ) -> ModelVersion:
        """Make the champion's predecessor, or `to_version`, the champion and record it. Returns the champion.

        `dagster_runs` is the calling run and those that it retries. Nothing changes if the rollback has been done
        already: if the champion is not `from_version`, or one of these runs made the latest change. Raises
        PromotionRefused if there is no version to restore, or batches could not be compared with it.
        """
        with self.store.lock():
            events, current = self._moves.repaired()
            if current is None:
                raise PromotionRefused(f"Model {self.name} has no champion to roll back from.")
            if from_version in (None, current) and events[-1].run_id not in dagster_runs:
                wanted = to_version or self._predecessor(events)
                if wanted is None:
                    raise PromotionRefused(
                        f"Version {current} of {self.name} has no predecessor that has not been rolled back itself. "
                        "Name a version, or train a new candidate."
                    )
                self._refuse_ungated(self.get(wanted), events)
                self._moves.make(events, current, wanted, by, why, dagster_runs[0] if dagster_runs else None)
                current = wanted
        return self.get(current)

    def _refuse_ungated(self, version: ModelVersion, events: Sequence[ChampionEvent]) -> None:
        """Raise PromotionRefused if the version never passed the gate and was never promoted by hand. Its drift
        reference may exist before the last approval of such a promotion."""
        refused = version.gate_passed is False and all(event.version != version.number for event in events)
        referenced = self.has_reference(version)
        if referenced and not refused:
            return
        lacks = "" if referenced else f": its run has no {DRIFT_REFERENCE}, and no batch could be compared with it"
        raise PromotionRefused(
            f"Version {version.number} of {self.name} never passed the gate{lacks}. To make it the champion "
            f'regardless: `credit-assets promote --portfolio {self.name} --version {version.number} --why "..."`.'
        )

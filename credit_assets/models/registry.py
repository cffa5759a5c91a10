"""Models in MLflow: logged, versioned, aliased as champion and challenger, and loaded again; and the history of
champions, which is kept beside the alias.

What a model is and how it is fitted is in `estimators.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from credit_assets.models.availability import require
from credit_assets.models.baseline import LogisticBaseline
from credit_assets.models.estimators import PDModel
from credit_assets.settings.project import code_version, git_commit

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CUT_OFF = "cut_off"
"""Tag of a version: the PD it declines above."""

TABLE = "table."
"""Tags of a version, one a table that it was made from: that table's version."""

LIBRARY = "library."
"""Tags of a version, one a library that trained it: its version."""

WHY, GATE, BETTER = "why", "gate", "refused_though_better"
"""Tags of a version: why it was trained; what the promotion gate said of it, in words; and, where it was refused though
surely better than a champion, that version and in what."""

IMPORTANCE = "importance.json"
"""Artifact of a run: the weight of each feature."""

DRIFT_REFERENCE = "drift_reference.parquet"
"""Artifact of a run: what batches are held against. A version without it neither passed the gate nor was promoted by
hand."""

POPULATION = "population.parquet"
"""Artifact of a run: the newest batch when the version was to be promoted, where it had not learned from it."""

ROOT_RUN, LEARNED_FROM = "dagster_root_run_id", "learned_from"
"""Tags of a version: the first attempt at the Dagster run that trained it, and a hash of the rows it learned from."""

FINGERPRINT, REPEAT = "fingerprint", "repeat."
"""Tags of a version: its fingerprint (`fingerprint.py`); and `repeat.0001` and on, each later training that made the
same version again, as JSON."""

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous_champion"

EVENT = "champion."
"""Tags of the registered model, `champion.0001` and on: each move of the alias as JSON."""

APPROVAL = "approval."
"""Tags of the registered model, one a version and person: that they approve of its promotion by hand, as JSON."""

MOVING = "champion_moving"
"""Tag of the registered model while the alias is moved: the event that is to be noted once it has been."""

WHY_LENGTH, GATE_LENGTH = 1000, 4000
"""Characters kept of a reason, and of what the gate said; a tag's value must stay below 5000."""

FOUND_THERE = (
    "Champion already when the history began; at the earliest since it was registered, which is the time given."
)
FOUND_MOVED = "Found moved: in MLflow itself, outside of the platform, at some time since the move before."

By = Literal["gate", "rollback", "hand", "override"]
"""Who moved the alias: the gate, a rollback by itself, a person who rolled back (or moved it in MLflow), or persons
who promoted a version by hand, whatever the gate said of it."""

LIBRARIES = ("xgboost", "numpy", "pandas", "scikit-learn", "duckdb", "optuna", "mlflow")
"""Whose versions are kept with every model: a score that is to be repeated needs the same."""

SERVING_LIBRARIES = ("xgboost", "numpy", "pandas", "scipy", "pydantic", "mlflow")
"""What loading and predicting imports. Given explicitly: MLflow's own inference takes 12 s a model."""


class RegistryError(LookupError):
    """A model, version or alias that is not in the registry."""


class PromotionRefused(ValueError):
    """The alias `champion` is not moved: to a version that was rolled back from, or one that may not decide."""


@dataclass(frozen=True)
class ChampionEvent:
    """One move of the alias `champion`: to `version`, at a time (UTC), by whom and why, in which Dagster run,
    from the version `replaced` (None for the first)."""

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
class Repeat:
    """A later training that made the same version again: when (UTC), in which Dagster run and as an attempt at which,
    why it was started, and the versions of the tables that it read."""

    at: datetime
    run_id: str
    root_run: str
    why: str
    tables: Mapping[str, int]


@dataclass(frozen=True)
class Approval:
    """That a person approves of the promotion of a version by hand, why, and after how many moves of the champion."""

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


def prepare(tracking_uri: str) -> None:
    """Make the tracking database where it is a SQLite file that does not exist yet.

    Safe in any number of processes at once (MLflow's own creation is not: "table experiments already
    exists"), and a killed one leaves no half-made database: it is made beside its place and moved there.
    A server, and an older database (`mlflow db upgrade` is its owner's decision), are left as they are.
    """
    import filelock

    if not tracking_uri.startswith("sqlite:///"):
        return
    database = Path(tracking_uri.removeprefix("sqlite:///"))
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{database}.lock"):
        if database.exists():
            return
        from mlflow.db import upgrade

        being_made = database.with_name(f"{database.name}.new")
        being_made.unlink(missing_ok=True)
        assert upgrade.callback is not None
        upgrade.callback(f"sqlite:///{being_made}")
        being_made.replace(database)


def experiment(tracking_uri: str, name: str, artifacts: Path) -> str:
    """The id of the experiment, made where it is missing, with its artifacts under `artifacts`.

    On a server the artifacts go where the server puts them.
    """
    import filelock

    client = _client(tracking_uri)
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    artifacts.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(artifacts / ".lock"):
        if found := client.get_experiment_by_name(name):
            return found.experiment_id
        local = tracking_uri.startswith("sqlite:///")
        return client.create_experiment(name, (artifacts / name).resolve().as_uri() if local else None)


def log_and_register(
    model: PDModel,
    *,
    tracking_uri: str,
    experiment_id: str,
    name: str,
    run_name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    parent_run_id: str | None = None,
    artifacts: Mapping[str, Path] | None = None,
) -> ModelVersion:
    """Log the model in an MLflow run of its own and register it under `name` as the challenger.

    The run is FINISHED when this returns and FAILED when it raises, and a child of `parent_run_id`
    where given. `artifacts` maps a folder in the run ("" for its top) to a local file or folder. `tags`
    (see `provenance_tags`) are put on the run and on the version. The version's signature is the
    model's features: numbers as double and words as string, both of which may be missing.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs: list[Any] = [
        ColSpec("string" if feature in model.text else "double", feature, required=False) for feature in model.features
    ]
    signature = ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double", "pd")]))
    with _child_run(tracking_uri, experiment_id, run_name, parent_run_id, tags) as run:
        _log(params, metrics, artifacts)
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model")
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("mlflow_model.py")),
                artifacts={"model": str(Path(folder) / "model")},
                signature=signature,
                pip_requirements=[f"{library}=={version(library)}" for library in SERVING_LIBRARIES],
            )
        client = _client(tracking_uri)
        registered = mlflow.register_model(logged.model_uri, name, tags={**tags, "run_id": run.info.run_id})
        client.set_registered_model_alias(name, CHALLENGER, registered.version)
    return client.get_model_version(name, registered.version)


def registered_before(tracking_uri: str, name: str, fingerprint: str) -> ModelVersion | None:
    """The version of this fingerprint: an earlier training made it, or an attempt at this one that was killed. None
    where there is none. It is the challenger where it is not the champion."""
    client = _client(tracking_uri)
    found = client.search_model_versions(
        f"name = '{name}' AND tag.`{FINGERPRINT}` = '{fingerprint}'", max_results=1, order_by=["version_number ASC"]
    )
    if not found:
        return None
    [version] = found
    if client.get_run(version.run_id).info.status != "FINISHED":
        client.set_terminated(version.run_id, "FINISHED")
    if (current := champion(tracking_uri, name)) is None or int(current.version) != int(version.version):
        client.set_registered_model_alias(name, CHALLENGER, version.version)
    return client.get_model_version(name, version.version)


def note_repeat(tracking_uri: str, version: ModelVersion, repeat: Repeat) -> bool:
    """Keep with the version that a later training made it again; False for attempts at a training that is known."""
    known = repeats(version)
    if repeat.root_run in {version.tags.get(ROOT_RUN), *(each.root_run for each in known)}:
        return False
    facts = asdict(repeat) | {"at": repeat.at.isoformat(), "why": repeat.why[:WHY_LENGTH]}
    _client(tracking_uri).set_model_version_tag(
        version.name, str(version.version), f"{REPEAT}{len(known) + 1:04d}", json.dumps(facts, ensure_ascii=False)
    )
    return True


def repeats(version: ModelVersion) -> list[Repeat]:
    """The later trainings that made the version again, oldest first."""
    kept = [json.loads(text) for tag, text in sorted(version.tags.items()) if tag.startswith(REPEAT)]
    return [Repeat(**facts | {"at": datetime.fromisoformat(facts["at"])}) for facts in kept]


def set_aside_before(
    version: ModelVersion, events: Sequence[ChampionEvent], runs: Collection[str]
) -> ChampionEvent | None:
    """The move by which the version was set aside, where one of these runs has made it again; None otherwise."""
    again = any(repeat.root_run in runs for repeat in repeats(version))
    return set_aside(events).get(int(version.version)) if again else None


def latest_training(version: ModelVersion) -> tuple[str | None, datetime]:
    """The Dagster run of the latest training that made the version, and when it did."""
    if known := repeats(version):
        return known[-1].run_id, known[-1].at
    return version.tags.get("dagster_run_id"), datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)


def log_baseline(
    model: LogisticBaseline,
    *,
    tracking_uri: str,
    experiment_id: str,
    run_name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    parent_run_id: str | None = None,
) -> str:
    """Log the baseline in an MLflow run of its own, whose id is returned. It is never registered."""
    import mlflow

    with _child_run(tracking_uri, experiment_id, run_name, parent_run_id, tags) as run:
        _log(params, metrics, None)
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model")
            mlflow.log_artifact(str(Path(folder) / "model"))
        return run.info.run_id


def log_evidence(
    tracking_uri: str, run_id: str, metrics: Mapping[str, float], artifacts: Mapping[str, Path] | None = None
) -> None:
    """Add what is found out about a model later (evaluation, fairness) to the run that made it."""
    client = _client(tracking_uri)
    for key, value in metrics.items():
        client.log_metric(run_id, key, float(value))
    for folder, path in (artifacts or {}).items():
        log = client.log_artifacts if path.is_dir() else client.log_artifact
        log(run_id, str(path), folder or None)


def log_judgement(
    tracking_uri: str, name: str, number: str | int, words: str, better_than: int | None = None, better: str = ""
) -> None:
    """Keep with a version what the gate said of it; and, of a refused one, in what it is surely `better` than the
    champion `better_than`."""
    client = _client(tracking_uri)
    client.set_model_version_tag(name, str(number), GATE, words[:GATE_LENGTH])
    if better_than is not None and better:
        client.set_model_version_tag(name, str(number), BETTER, f"{better_than} {better}"[:WHY_LENGTH])
    elif BETTER in _version(tracking_uri, name, number).tags:
        client.delete_model_version_tag(name, str(number), BETTER)


def refused_though_better(version: ModelVersion, champion: int) -> str | None:
    """In what the version is surely better than this champion although the gate refused it; None where it is not."""
    than, _, better = version.tags.get(BETTER, "").partition(" ")
    return better if than == str(champion) else None


def champion(tracking_uri: str, name: str) -> ModelVersion | None:
    """The version whose scores decide; None where none has been promoted."""
    return _by_alias(tracking_uri, name, CHAMPION)


def challenger(tracking_uri: str, name: str) -> ModelVersion | None:
    """The newest version that has not become champion; None where there is none."""
    return _by_alias(tracking_uri, name, CHALLENGER)


def newest(tracking_uri: str, name: str) -> ModelVersion | None:
    """The version that the latest training made, or made again, whatever became of it; None where there is none."""
    return max(
        versions(tracking_uri, name),
        key=lambda version: (latest_training(version)[1], int(version.version)),
        default=None,
    )


def table_versions(tracking_uri: str, name: str) -> set[tuple[str, int]]:
    """The versions of tables that any registered version was made from, at first and the last time."""
    found: set[tuple[str, int]] = set()
    for each in versions(tracking_uri, name):
        found |= {(tag.removeprefix(TABLE), int(number)) for tag, number in each.tags.items() if tag.startswith(TABLE)}
        if known := repeats(each):
            found |= set(known[-1].tables.items())
    return found


def learned_from(version: ModelVersion, training_set: str) -> int:
    """The version of the training set (its table's name in the lake) that the model was made from."""
    return int(version.tags[f"{TABLE}{training_set}"])


def last_learned_from(version: ModelVersion, training_set: str) -> int:
    """The version of the training set that the latest training read to make the model: it has the same rows."""
    known = repeats(version)
    return known[-1].tables[training_set] if known else learned_from(version, training_set)


def runs_named(tracking_uri: str) -> set[str]:
    """The Dagster runs that registered versions of any model, their repeats, and moves of its champion name."""
    models = _client(tracking_uri).search_registered_models(max_results=1000)
    found = {event.run_id for model in models for event in _events(model)}
    for model in models:
        for each in versions(tracking_uri, model.name):
            found |= {each.tags.get("dagster_run_id"), *(repeat.run_id for repeat in repeats(each))}
    return {run_id for run_id in found if run_id}


def promote(
    tracking_uri: str,
    name: str,
    number: str | int,
    *,
    by: By,
    why: str,
    dagster_run_id: str | None = None,
) -> ModelVersion:
    """Make a version the champion and note the move; nothing is noted where it is the champion already.

    The champion before gets the alias `previous_champion`; a promoted challenger is one no longer. Raises
    RegistryError where there is no such version, and PromotionRefused where the gate would bring back one
    that was rolled back from or replaced by hand, which a person alone may do.
    """
    wanted = int(_version(tracking_uri, name, number).version)
    with _moves(tracking_uri):
        events, current = _settled(tracking_uri, name)
        if by == "gate" and (undone := set_aside(events).get(wanted)):
            what = "rolled back from" if undone.back else "replaced by hand"
            raise PromotionRefused(
                f"Version {wanted} of {name} was {what} at {undone.at:%Y-%m-%d %H:%M} UTC ({undone.why}). "
                "Train a new candidate, or bring it back by hand."
            )
        _move(tracking_uri, name, events, current, wanted, by, why, dagster_run_id)
    return _version(tracking_uri, name, wanted)


def override(
    tracking_uri: str,
    name: str,
    number: int,
    *,
    by: str,
    why: str,
    approvals: int,
    dagster_runs: Sequence[str] = (),
) -> Override:
    """Note that a person approves of a version's promotion by hand and, where so many different persons do by now,
    make it the champion, with all of their reasons.

    Names differ by more than case and spaces. An approval counts until the champion changes. `dagster_runs` is the
    run that asks, and those that it repeats: where one of them promoted it already, nothing is done. Raises
    RegistryError where there is no such version, and PromotionRefused without a name or a reason, where the version is
    the champion already, or, for the last approval, where no batch could be held against it.
    """
    by, why = " ".join(by.split()), " ".join(why.split())
    wanted = int(_version(tracking_uri, name, number).version)
    with _moves(tracking_uri):
        events, current = _settled(tracking_uri, name)
        if wanted == current and events[-1].run_id in dagster_runs:
            return Override(wanted, (), 0)
        given = _approvals(tracking_uri, name, wanted, by, why, events, current)
        missing = max(0, approvals - len(given))
        if not missing and not has_reference(tracking_uri, name, wanted):
            raise PromotionRefused(
                f"Version {wanted} of {name} has no {DRIFT_REFERENCE}, so no batch could be held against it. Promote "
                "it by the job promote, which makes one."
            )
        _client(tracking_uri).set_registered_model_tag(name, _approval_tag(given[-1]), _approval_as_json(given[-1]))
        if not missing:
            reasons = "; ".join(f"{approval.by}: {approval.why.rstrip('.')}" for approval in given)
            gate = _version(tracking_uri, name, wanted).tags.get(GATE, "The gate did not judge it.")
            _move(
                tracking_uri,
                name,
                events,
                current,
                wanted,
                "override",
                f"Promoted by hand. {reasons}. {gate}",
                dagster_runs[0] if dagster_runs else None,
            )
    return Override(wanted, tuple(given), missing)


def approvals_with(tracking_uri: str, name: str, number: int, by: str) -> list[str]:
    """Who approves of the version's promotion by hand, if this person does too."""
    wanted = int(_version(tracking_uri, name, number).version)
    events = history(tracking_uri, name)
    current = events[-1].version if events else None
    return [approval.by for approval in _approvals(tracking_uri, name, wanted, by, "so", events, current)]


def _approvals(
    tracking_uri: str,
    name: str,
    wanted: int,
    by: str,
    why: str,
    events: Sequence[ChampionEvent],
    current: int | None,
) -> list[Approval]:
    """The approvals that count, one a person, by name, the one that is given now last."""
    by = " ".join(by.split())
    if not by or not why:
        raise PromotionRefused("A promotion by hand needs the name of who approves (by) and the reason (why).")
    if wanted == current:
        raise PromotionRefused(f"Version {wanted} of {name} is the champion already.")
    model = _model(tracking_uri, name)
    tags = model.tags if model else {}
    found = [Approval(**json.loads(text)) for tag, text in tags.items() if tag.startswith(APPROVAL)]
    found = [each for each in found if (each.version, each.moves) == (wanted, len(events))]
    found = [each for each in found if each.by.casefold() != by.casefold()]
    return [*sorted(found, key=lambda each: each.by), Approval(wanted, by, why, len(events))]


def _approval_tag(approval: Approval) -> str:
    person = hashlib.sha256(approval.by.casefold().encode()).hexdigest()[:12]
    return f"{APPROVAL}{approval.version:04d}.{person}"


def _approval_as_json(approval: Approval) -> str:
    return json.dumps(asdict(approval) | {"why": approval.why[:WHY_LENGTH]}, ensure_ascii=False)


def roll_back(
    tracking_uri: str,
    name: str,
    *,
    by: By,
    why: str,
    to_version: int | None = None,
    from_version: int | None = None,
    dagster_runs: Sequence[str] = (),
) -> ModelVersion:
    """Make the champion's predecessor, or `to_version`, the champion, and note the move; the champion then.

    `dagster_runs` is the run that asks, and those that it repeats. Nothing is moved where it has been done:
    where another version than `from_version` decides, or one of these runs made the latest move. Raises
    PromotionRefused where there is nothing to go back to, or nothing that a batch could be held against.
    """
    with _moves(tracking_uri):
        events, current = _settled(tracking_uri, name)
        if current is None:
            raise PromotionRefused(f"Model {name} has no champion to roll back from.")
        if from_version in (None, current) and events[-1].run_id not in dagster_runs:
            wanted = to_version or _predecessor(tracking_uri, name, events)
            if wanted is None:
                raise PromotionRefused(
                    f"Version {current} of {name} has no predecessor that was not rolled back from itself. "
                    "Name a version, or train a new candidate."
                )
            referenced = has_reference(tracking_uri, name, wanted)
            if not referenced or _was_refused(tracking_uri, name, wanted, events):
                lacks = (
                    "" if referenced else f": its run has no {DRIFT_REFERENCE}, and no batch could be held against it"
                )
                raise PromotionRefused(
                    f"Version {wanted} of {name} never passed the gate{lacks}. To make it the champion all the same: "
                    f'`credit-assets promote --portfolio {name} --version {wanted} --why "..."`.'
                )
            _move(tracking_uri, name, events, current, wanted, by, why, dagster_runs[0] if dagster_runs else None)
            current = wanted
    return _version(tracking_uri, name, current)


def _was_refused(tracking_uri: str, name: str, number: int, events: Sequence[ChampionEvent]) -> bool:
    """Whether the gate refused the version and nobody has promoted it: its reference may be there before the last
    approval of a promotion by hand."""
    said = _version(tracking_uri, name, number).tags.get(GATE, "")
    return "refused by the gate" in said and all(event.version != number for event in events)


def history(tracking_uri: str, name: str) -> list[ChampionEvent]:
    """Every move of the alias `champion`, oldest first; empty for a model without one.

    A move of which the history knows nothing (made in MLflow itself, or before there was a history) is
    noted when it is found, with words that say so.
    """
    model = _model(tracking_uri, name)
    if model is None:
        return []
    events, current = _events(model), _current(model)
    if MOVING not in model.tags and (current is None or (events and events[-1].version == current)):
        return events
    with _moves(tracking_uri):
        return _settled(tracking_uri, name)[0]


def champion_at(tracking_uri: str, name: str, when: datetime) -> int | None:
    """The version that decided at a time (with its zone); None before the first champion."""
    return decided_at(history(tracking_uri, name), when)


def decided_at(events: Sequence[ChampionEvent], when: datetime) -> int | None:
    """`champion_at`, by a history that was read before."""
    return next((event.version for event in reversed(events) if event.at <= when), None)


def predecessor(tracking_uri: str, name: str) -> int | None:
    """The version a rollback would go to; None where there is none."""
    return _predecessor(tracking_uri, name, history(tracking_uri, name))


def _predecessor(tracking_uri: str, name: str, events: Sequence[ChampionEvent]) -> int | None:
    return predecessor_of(events, {int(version.version) for version in versions(tracking_uri, name)})


def has_reference(tracking_uri: str, name: str, number: int) -> bool:
    """Whether batches can be held against the version: it has passed the gate, or was promoted by hand."""
    return has_artifact(tracking_uri, run_of(tracking_uri, name, number), DRIFT_REFERENCE)


def predecessor_of(events: Sequence[ChampionEvent], registered: Collection[int]) -> int | None:
    """What decided before the champion was first promoted, was not rolled back from itself and is still registered:
    going back again and again comes to an end, and never to a version known to be worse."""
    if not events:
        return None
    first = next(index for index, event in enumerate(events) if event.version == events[-1].version)
    undone = rolled_back(events)
    return next(
        (event.version for event in reversed(events[:first]) if event.version in set(registered) - set(undone)), None
    )


def rolled_back(events: Sequence[ChampionEvent]) -> dict[int, ChampionEvent]:
    """The versions that were rolled back from, with the move that did it; not those brought back since."""
    undone: dict[int, ChampionEvent] = {}
    for event in events:
        undone.pop(event.version, None)
        if event.back:
            assert event.replaced is not None
            undone[event.replaced] = event
    return undone


def overridden(events: Sequence[ChampionEvent]) -> dict[int, ChampionEvent]:
    """The versions that a promotion by hand replaced, with that move; not those that became champion since."""
    replaced: dict[int, ChampionEvent] = {}
    for event in events:
        replaced.pop(event.version, None)
        if event.by == "override" and event.replaced is not None:
            replaced[event.replaced] = event
    return replaced


def set_aside(events: Sequence[ChampionEvent]) -> dict[int, ChampionEvent]:
    """The versions that the gate does not promote: those rolled back from or replaced by hand, with that move."""
    return {**overridden(events), **rolled_back(events)}


def versions(tracking_uri: str, name: str) -> list[ModelVersion]:
    """All registered versions, oldest first."""
    found = _client(tracking_uri).search_model_versions(f"name = '{name}'", max_results=10_000)
    return sorted(found, key=lambda version: int(version.version))


def registered(tracking_uri: str, name: str, number: int) -> ModelVersion | None:
    """The version of this number; None where it was deleted or never registered."""
    try:
        return _version(tracking_uri, name, number)
    except RegistryError:
        return None


def load(tracking_uri: str, name: str, which: str | int) -> tuple[PDModel, ModelVersion]:
    """The model under an alias (`champion`) or a version number (`3`), and its version.

    Raises RegistryError where there is none.
    """
    import mlflow

    which = str(which)
    found = _version(tracking_uri, name, which) if which.isdigit() else _by_alias(tracking_uri, name, which)
    if found is None:
        raise RegistryError(f"No version of model {name} is its {which}.")
    with tempfile.TemporaryDirectory() as folder:
        logged = mlflow.artifacts.download_artifacts(found.source, dst_path=folder, tracking_uri=tracking_uri)
        return PDModel.load(Path(logged) / "artifacts" / "model"), found


def cut_off(tracking_uri: str, name: str, number: str | int) -> float:
    """The highest PD that the version approves, as it was set when it was trained."""
    return float(_version(tracking_uri, name, number).tags[CUT_OFF])


def run_of(tracking_uri: str, name: str, number: str | int) -> str:
    """The id of the run that trained the version."""
    return str(_version(tracking_uri, name, number).run_id)


def metrics(tracking_uri: str, run_id: str) -> dict[str, float]:
    """The latest value of every metric of a run."""
    return dict(_client(tracking_uri).get_run(run_id).data.metrics)


def importance(tracking_uri: str, run_id: str) -> dict[str, float]:
    """How much the run's model relies on each feature (`importance.py`)."""
    with artifact(tracking_uri, run_id, IMPORTANCE) as path:
        return json.loads(path.read_text())


@contextmanager
def artifact(tracking_uri: str, run_id: str, name: str) -> Iterator[Path]:
    """A file that was logged with a run, for as long as the context lasts."""
    import mlflow

    _client(tracking_uri)
    with tempfile.TemporaryDirectory() as folder:
        yield Path(
            mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=name, dst_path=folder, tracking_uri=tracking_uri
            )
        )


def has_artifact(tracking_uri: str, run_id: str, name: str) -> bool:
    """Whether a file of this name was logged with a run."""
    return any(file.path == name for file in _client(tracking_uri).list_artifacts(run_id))


def provenance_tags(
    *, portfolio: str, tables: Mapping[str, int], synthetic: bool, dagster_run_id: str | None = None
) -> dict[str, str]:
    """What a model was made from and by: table versions, code, libraries, whether the data are synthetic."""
    tags = {
        "portfolio": portfolio,
        "synthetic": str(synthetic).lower(),
        "git_commit": git_commit(),
        "code_version": code_version(),
        "python": platform.python_version(),
    }
    tags |= {f"{TABLE}{table}": str(number) for table, number in sorted(tables.items())}
    tags |= {f"{LIBRARY}{library}": version(library) for library in LIBRARIES}
    return tags | ({"dagster_run_id": dagster_run_id} if dagster_run_id else {})


def _client(tracking_uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # A server that goes away in the middle is waited for half a minute, where MLflow waits for ten.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow

    require(tracking_uri)
    prepare(tracking_uri)
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    # MLflow puts the address into the environment, where it would read as its user's choice for any project.
    if configured is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = configured
    return mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _child_run(
    tracking_uri: str, experiment_id: str, run_name: str, parent_run_id: str | None, tags: Mapping[str, str]
) -> Any:
    import mlflow

    _client(tracking_uri)
    return mlflow.start_run(
        experiment_id=experiment_id,
        run_name=run_name,
        nested=mlflow.active_run() is not None,
        parent_run_id=parent_run_id,
        tags=dict(tags),
    )


def _log(params: Mapping[str, Any], metrics: Mapping[str, float], artifacts: Mapping[str, Path] | None) -> None:
    import mlflow

    mlflow.log_params(dict(params))
    mlflow.log_metrics({key: float(value) for key, value in metrics.items()})
    for folder, path in (artifacts or {}).items():
        log = mlflow.log_artifacts if path.is_dir() else mlflow.log_artifact
        log(str(path), folder or None)


def _by_alias(tracking_uri: str, name: str, alias: str) -> ModelVersion | None:
    from mlflow.exceptions import MlflowException

    try:
        return _client(tracking_uri).get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def _version(tracking_uri: str, name: str, number: str | int) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    try:
        return _client(tracking_uri).get_model_version(name, str(number))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise RegistryError(f"Model {name} has no version {number}.") from None
        raise


def _moves(tracking_uri: str) -> AbstractContextManager[Any]:
    """Held while the alias and the history are changed: by one process at a time, where the store is a local file."""
    import filelock

    if not tracking_uri.startswith("sqlite:///"):
        # A server's clients may be anywhere; there, the run queue lets one training through at a time.
        return nullcontext()
    return filelock.FileLock(f"{tracking_uri.removeprefix('sqlite:///')}.champion.lock")


def _move(
    tracking_uri: str,
    name: str,
    events: list[ChampionEvent],
    current: int | None,
    wanted: int,
    by: By,
    why: str,
    dagster_run_id: str | None,
) -> None:
    """Move the alias and note it. Killed anywhere in between, it is finished by the next (`_settled`)."""
    client = _client(tracking_uri)
    if current != wanted:
        event = _next_event(events, wanted, by, why, dagster_run_id, current)
        client.set_registered_model_tag(name, MOVING, _as_json(event))
        client.set_registered_model_alias(name, CHAMPION, str(wanted))
        client.set_registered_model_tag(name, _tag(event), _as_json(event))
        client.delete_registered_model_tag(name, MOVING)
        events = [*events, event]
    if (replaced := events[-1].replaced) is not None:
        client.set_registered_model_alias(name, PREVIOUS, str(replaced))
    if (waiting := challenger(tracking_uri, name)) and int(waiting.version) == wanted:
        client.delete_registered_model_alias(name, CHALLENGER)


def _settled(tracking_uri: str, name: str) -> tuple[list[ChampionEvent], int | None]:
    """The history, made to agree with the alias, and the champion's number. Within `_moves` only."""
    client, model = _client(tracking_uri), _model(tracking_uri, name)
    if model is None:
        return [], None
    events, current = _events(model), _current(model)
    if MOVING in model.tags:
        meant = _from_json(model.tags[MOVING])
        # Cut short after the alias was moved; before that, the move did not happen.
        if meant.version == current and meant.number > len(events):
            client.set_registered_model_tag(name, _tag(meant), _as_json(meant))
            events.append(meant)
        client.delete_registered_model_tag(name, MOVING)
    if current is not None and (not events or events[-1].version != current):
        if events:
            found = _next_event(events, current, "hand", FOUND_MOVED, None, events[-1].version)
        else:
            registered = _version(tracking_uri, name, current).creation_timestamp
            at = datetime.fromtimestamp(registered / 1000, UTC)
            found = ChampionEvent(1, current, at, "hand", FOUND_THERE, None, None)
        client.set_registered_model_tag(name, _tag(found), _as_json(found))
        events.append(found)
    return events, current


def _next_event(
    events: Sequence[ChampionEvent], number: int, by: By, why: str, dagster_run_id: str | None, replaced: int | None
) -> ChampionEvent:
    now = datetime.now(UTC)
    # A clock that was set back does not turn the history around.
    at = max(now, events[-1].at) if events else now
    return ChampionEvent(len(events) + 1, number, at, by, " ".join(why.split())[:WHY_LENGTH], dagster_run_id, replaced)


def _tag(event: ChampionEvent) -> str:
    return f"{EVENT}{event.number:04d}"


def _as_json(event: ChampionEvent) -> str:
    return json.dumps(asdict(event) | {"at": event.at.isoformat()}, ensure_ascii=False)


def _from_json(text: str) -> ChampionEvent:
    told = json.loads(text)
    return ChampionEvent(**told | {"at": datetime.fromisoformat(told["at"])})


def _events(model: RegisteredModel) -> list[ChampionEvent]:
    events = [_from_json(text) for tag, text in model.tags.items() if tag.startswith(EVENT)]
    return sorted(events, key=lambda event: event.number)


def _current(model: RegisteredModel) -> int | None:
    number = model.aliases.get(CHAMPION)
    return None if number is None else int(number)


def _model(tracking_uri: str, name: str) -> RegisteredModel | None:
    from mlflow.exceptions import MlflowException

    try:
        return _client(tracking_uri).get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise

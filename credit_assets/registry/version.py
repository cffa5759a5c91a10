"""A registered model version and its origin, as frozen values. `tags.py` converts them to MLflow's tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version

from credit_assets.registry.errors import RegistryError

IMPORTANCE = "importance.json"
"""A version's file with the importance of each feature."""

DRIFT_REFERENCE = "drift_reference.parquet"
"""A version's file with the reference that batches are compared with. A version without it neither passed the gate nor
was promoted by hand."""

POPULATION = "population.parquet"
"""A version's file with the newest batch at its promotion, if it was not trained on that batch."""


LIBRARIES = ("xgboost", "numpy", "pandas", "scikit-learn", "duckdb", "optuna", "mlflow")
"""Libraries whose versions are stored with every model: reproducing a score needs the same versions."""


def library_versions() -> dict[str, str]:
    """The installed versions of LIBRARIES."""
    return {library: version(library) for library in LIBRARIES}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a model was trained from, by which run and why.

    `tables` maps each table that was read to its version; `dagster_run` is the run that trained it and `root_run` the
    first attempt at that run; `content` is a hash of the training rows, and `fingerprint` a hash that is equal for
    equal versions; `cut_off` is the PD above which it declines. All but `synthetic` may be missing in versions from
    earlier releases or other programs.
    """

    synthetic: bool
    """Whether any of the data are synthetic."""
    tables: Mapping[str, int] = field(default_factory=dict)
    dagster_run: str | None = None
    root_run: str | None = None
    content: str | None = None
    fingerprint: str | None = None
    cut_off: float | None = None
    why: str | None = None


@dataclass(frozen=True)
class Repeat:
    """A later training that reproduced the version: when (UTC), in which Dagster run, the first attempt at that run,
    the reason, and the versions of the tables that it read."""

    at: datetime
    run_id: str
    root_run: str
    why: str
    tables: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Origin):
    """A registered version, as it was when it was read.

    `run_id` is the MLflow run that holds its metrics and files, and `created` the time of its registration (UTC).
    `gate` is the promotion gate's message, and `gate_passed` its result (None: not evaluated). If the gate refused the
    version although it is significantly better than the champion `better_than`, `better` says by how much. `repeats`
    are the later trainings that reproduced it, oldest first.
    """

    model: str
    number: int
    run_id: str
    created: datetime
    gate: str | None = None
    gate_passed: bool | None = None
    better_than: int | None = None
    better: str | None = None
    repeats: tuple[Repeat, ...] = ()

    @property
    def decline_above(self) -> float:
        """The highest PD that the version approves. Raises RegistryError if it has no cut-off."""
        if self.cut_off is None:
            raise RegistryError(f"Version {self.number} of {self.model} has no cut-off.")
        return self.cut_off

    def made_from(self, table: str) -> int:
        """The version of the table that the model was trained from. Raises RegistryError if it does not name one."""
        if table not in self.tables:
            raise RegistryError(f"Version {self.number} of {self.model} does not name a version of {table}.")
        return self.tables[table]

    def last_made_from(self, table: str) -> int:
        """The version of the table that the latest training of this model read: it has the same rows."""
        return self.repeats[-1].tables[table] if self.repeats else self.made_from(table)

    @property
    def latest_training(self) -> tuple[str | None, datetime]:
        """The Dagster run of the latest training that created or reproduced the version, and its time."""
        if self.repeats:
            return self.repeats[-1].run_id, self.repeats[-1].at
        return self.dagster_run, self.created

    @property
    def table_versions(self) -> set[tuple[str, int]]:
        """The table versions of its first and its latest training."""
        return {*self.tables.items(), *(self.repeats[-1].tables.items() if self.repeats else ())}

    def refused_though_better(self, champion: int) -> str | None:
        """By how much the version is significantly better than this champion although the gate refused it; None
        otherwise."""
        return self.better if self.better_than == champion else None

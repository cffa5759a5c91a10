"""A registered model version and its origin, as frozen values. How MLflow keeps them is in `tags.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version

from credit_assets.registry.errors import RegistryError

IMPORTANCE = "importance.json"
"""File of a version: the weight of each feature."""

DRIFT_REFERENCE = "drift_reference.parquet"
"""File of a version: what batches are compared with. A version without it neither passed the gate nor was promoted by
hand."""

POPULATION = "population.parquet"
"""File of a version: the newest batch when the version was to be promoted, where it had not learned from it."""


LIBRARIES = ("xgboost", "numpy", "pandas", "scikit-learn", "duckdb", "optuna", "mlflow")
"""Their versions are kept with every model: to repeat a score takes the same ones."""


def library_versions() -> dict[str, str]:
    """The installed versions of LIBRARIES."""
    return {library: version(library) for library in LIBRARIES}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a model was made from, by which run and why.

    `tables` maps each table that was read to its version; `dagster_run` is the run that trained it and `root_run` the
    first attempt at that run; `content` is a hash of the rows it learned from, and `fingerprint` one of everything that
    makes two versions the same; `cut_off` is the PD it declines above. All but `synthetic` can be missing in versions
    of earlier releases, and in those registered by other programs.
    """

    synthetic: bool
    """Whether any of the data were generated."""
    tables: Mapping[str, int] = field(default_factory=dict)
    dagster_run: str | None = None
    root_run: str | None = None
    content: str | None = None
    fingerprint: str | None = None
    cut_off: float | None = None
    why: str | None = None


@dataclass(frozen=True)
class Repeat:
    """A later training that made the same version again: when (UTC), in which Dagster run and as an attempt at which,
    why it was started, and the versions of the tables that it read."""

    at: datetime
    run_id: str
    root_run: str
    why: str
    tables: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Origin):
    """A registered version as it was when it was read.

    `run_id` is the MLflow run that holds its figures and files, and `created` the time of its registration (UTC).
    `gate` is what the promotion gate said of it, and `gate_passed` whether it passed (None: the gate did not judge it).
    A version that the gate refused although it is surely better than the
    champion `better_than` says in `better` by how much. `repeats` are the later trainings that made it again, oldest
    first.
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
        """The highest PD that the version approves. Raises RegistryError where it has none."""
        if self.cut_off is None:
            raise RegistryError(f"Version {self.number} of {self.model} has no cut-off.")
        return self.cut_off

    def made_from(self, table: str) -> int:
        """The version of the table that the model was made from. Raises RegistryError where it was not made from it."""
        if table not in self.tables:
            raise RegistryError(f"Version {self.number} of {self.model} does not name a version of {table}.")
        return self.tables[table]

    def last_made_from(self, table: str) -> int:
        """The version of the table that the latest training read to make the model: it has the same rows."""
        return self.repeats[-1].tables[table] if self.repeats else self.made_from(table)

    @property
    def latest_training(self) -> tuple[str | None, datetime]:
        """The Dagster run of the latest training that made the version, and when it did."""
        if self.repeats:
            return self.repeats[-1].run_id, self.repeats[-1].at
        return self.dagster_run, self.created

    @property
    def table_versions(self) -> set[tuple[str, int]]:
        """The versions of tables that it was made from, at first and the last time."""
        return {*self.tables.items(), *(self.repeats[-1].tables.items() if self.repeats else ())}

    def refused_though_better(self, champion: int) -> str | None:
        """By how much the version is surely better than this champion although the gate refused it; None where it is
        not."""
        return self.better if self.better_than == champion else None

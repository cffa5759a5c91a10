"""A portfolio: configs/<name>.yaml as a validated object, with its table contracts.

Rooms define their own part of the configuration; here they are put together and read, once.
"""

from __future__ import annotations

import importlib
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from credit_assets.automation.config import AutomationConfig
from credit_assets.automation.notifications import AlertsConfig
from credit_assets.evaluation.config import EvaluationConfig
from credit_assets.fairness.attributes import ProtectedAttribute
from credit_assets.fairness.audit import FairnessConfig
from credit_assets.lake.maintenance import RetentionConfig
from credit_assets.models.config import TrainingConfig
from credit_assets.models.policy import PolicyConfig
from credit_assets.monitoring.drift import DriftConfig
from credit_assets.monitoring.performance import PerformanceConfig
from credit_assets.project import Project
from credit_assets.schemas.table import Table
from credit_assets.scoring.scorecard import ScorecardConfig

Share = Annotated[float, Field(ge=0, le=1)]


class ConfigError(ValueError):
    """A portfolio's configuration cannot be used; the message names file, key and what is wrong."""


class TableConfig(BaseModel):
    """Where a raw table comes from: the stems of its files, one or more, and whether it may be missing."""

    model_config = ConfigDict(extra="forbid")

    files: list[str] = Field(min_length=1)
    optional: bool = False


class DeliveryConfig(BaseModel):
    """What a delivery may look like: the share of its rows that may be quarantined."""

    model_config = ConfigDict(extra="forbid")

    max_bad_share: Share


class Portfolio(BaseModel):
    """One loan book: its tables, who is judged, what is learned and how it is decided."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    title: str
    owners: list[str] = Field(min_length=1)
    contracts: str
    entity_key: str
    application_table: str
    outcomes_table: str
    target: str
    tables: dict[str, TableConfig]
    delivery: DeliveryConfig
    protected: dict[str, ProtectedAttribute]
    post_decision: dict[str, str] = {}
    training: TrainingConfig
    evaluation: EvaluationConfig
    fairness: FairnessConfig
    scorecard: ScorecardConfig
    policy: PolicyConfig
    drift: DriftConfig
    performance: PerformanceConfig = PerformanceConfig()
    automation: AutomationConfig = AutomationConfig()
    alerts: AlertsConfig = AlertsConfig()
    retention: RetentionConfig = RetentionConfig()

    @classmethod
    def load(cls, project: Project, name: str) -> Portfolio:
        """Read configs/<name>.yaml. Raises ConfigError with file, key and reason."""
        path = project.config(name)
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
            raise ConfigError(f"No portfolio {name!r}: {path} does not exist. Known portfolios: {known}.")
        try:
            portfolio = cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, ValidationError) as error:
            raise ConfigError(f"{path}: {_words(error)}") from error
        if portfolio.name != name:
            raise ConfigError(f"{path}: name: is {portfolio.name!r}, but the file is called {name}.yaml.")
        return portfolio

    @model_validator(mode="after")
    def _tables_have_contracts(self) -> Portfolio:
        try:
            models = self.models
        except (ImportError, AttributeError) as error:
            raise ValueError(f"contracts: {self.contracts} is no module with TABLES ({error})") from error
        if missing := sorted(set(self.tables) ^ set(models)):
            raise ValueError(f"tables and contracts in {self.contracts} differ in {', '.join(missing)}")
        for key in ("application_table", "outcomes_table"):
            if getattr(self, key) not in models:
                raise ValueError(f"{key}: {getattr(self, key)} is none of the tables {', '.join(models)}")
        columns = set(models[self.application_table].to_schema().columns)
        needed = {self.entity_key, self.target, *(item.column for item in self.protected.values())}
        if absent := sorted(needed - columns):
            raise ValueError(f"table {self.application_table} has no column {', '.join(absent)}")
        return self

    @property
    def models(self) -> dict[str, type[Table]]:
        """Raw table name to its contract, parents before children."""
        return importlib.import_module(self.contracts).TABLES

    @property
    def protected_columns(self) -> set[str]:
        return {item.column for item in self.protected.values()}

    def table(self, name: str) -> str:
        """The lake's name of one of this portfolio's tables."""
        return f"{self.name}/{name}"

    def parents(self, table: str) -> tuple[str, ...]:
        """The raw tables that the table's rows refer to."""
        return tuple(dict.fromkeys(relation.parent for relation in self.models[table].relations))


def _words(error: yaml.YAMLError | ValidationError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
    return str(error)

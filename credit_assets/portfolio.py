"""A portfolio: configs/<name>.yaml as a validated object, with its table contracts.

Rooms define their own part of the configuration; here they are put together and read, once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from credit_assets.automation.config import AutomationConfig
from credit_assets.automation.notifications import AlertsConfig
from credit_assets.evaluation.config import EvaluationConfig
from credit_assets.explanations.config import ReasonsConfig
from credit_assets.fairness.attributes import ProtectedAttribute
from credit_assets.fairness.audit import FairnessConfig
from credit_assets.features.target import Target
from credit_assets.lake.maintenance import RetentionConfig
from credit_assets.models.config import PromotionConfig, TrainingConfig
from credit_assets.models.policy import PolicyConfig
from credit_assets.monitoring.drift import DriftConfig
from credit_assets.monitoring.performance import PerformanceConfig
from credit_assets.project import Project
from credit_assets.schemas.table import Table, outcomes_of, with_text_key
from credit_assets.scoring.scorecard import ScorecardConfig

OUTCOMES = "outcomes"
TAKEN = frozenset(
    [
        "alert_sensor",
        "build",
        "column_types",
        "dg",
        "evaluation",
        "fairness",
        "features",
        "jobs",
        "lake_io_manager",
        "lake_resource",
        "lineage",
        "load",
        "maintenance",
        "mlflow_resource",
        "models",
        "monitoring",
        "operations",
        "raw",
        "raw_lineage",
        "reason_texts",
        "schedules",
        "scoring",
        "sensors",
    ]
)
"""What `definitions.py`, where portfolios are found by name, has of its own."""

Share = Annotated[float, Field(ge=0, le=1)]


class ConfigError(ValueError):
    """A portfolio's configuration cannot be used; the message names file, key and what is wrong."""


class TableConfig(BaseModel):
    """Where a raw table comes from: the names of its files without ending, one or more (`LoanStats*` for all that
    begin so), and whether it may be missing."""

    model_config = ConfigDict(extra="forbid")

    files: list[str] = Field(min_length=1)
    optional: bool = False
    notes: list[str] = Field(default=[], description="lines of a CSV file that are no rows, by pattern: `Total *`")
    numbered: str | None = Field(
        default=None, description="the text column that names a row <batch>-<row> where the file does not"
    )


class DeliveryConfig(BaseModel):
    """What a delivery may look like: the share of a table's rows that may be quarantined; and the column of dates by
    which `deliver` cuts big files into batches, a batch for `every` of these, unless told otherwise."""

    model_config = ConfigDict(extra="forbid")

    max_bad_share: Share = 0.001
    split_by: str | None = None
    every: Literal["month", "quarter", "year"] = "quarter"
    date_formats: dict[str, list[str]] = Field(
        default={},
        description="column to the formats its dates are written in, where `deliver --split-by` is not to "
        "find them from the values: `%m/%d/%Y` is month first",
    )


class Portfolio(BaseModel):
    """One loan book: its tables, who is judged, what is learned and how it is decided."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    title: str
    owners: list[str] = Field(min_length=1)
    source: str = Field(default="", description="where the files come from, in a sentence, for who has none yet")
    contracts: str
    entity_key: str
    application_table: str = "applications"
    outcomes_table: str = OUTCOMES
    target: Target
    tables: dict[str, TableConfig]
    delivery: DeliveryConfig = DeliveryConfig()
    protected: dict[str, ProtectedAttribute] = {}
    post_decision: dict[str, str] = {}
    left_out: dict[str, str] = {}
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    promotion: PromotionConfig = PromotionConfig()
    fairness: FairnessConfig = FairnessConfig()
    scorecard: ScorecardConfig = ScorecardConfig()
    policy: PolicyConfig
    reasons: ReasonsConfig = ReasonsConfig()
    drift: DriftConfig = DriftConfig.model_validate({})
    performance: PerformanceConfig = PerformanceConfig()
    automation: AutomationConfig = AutomationConfig()
    alerts: AlertsConfig = AlertsConfig()
    retention: RetentionConfig = RetentionConfig()

    _models: dict[str, type[Table]] = PrivateAttr()
    _fingerprint: str = PrivateAttr(default="")

    @classmethod
    def load(cls, project: Project, name: str) -> Portfolio:
        """Read configs/<name>.yaml. Raises ConfigError with file, key and reason."""
        path = project.config(name)
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
            raise ConfigError(f"No portfolio {name!r}: {path} does not exist. Known portfolios: {known}.")
        text, fingerprint = path.read_text(encoding="utf-8"), settings_fingerprint(project, name)
        try:
            portfolio = cls.model_validate(yaml.safe_load(text), context={"folder": path.parent})
        except (yaml.YAMLError, ValidationError) as error:
            raise ConfigError(f"{path}: {_words(error, text)}") from error
        except Exception as error:
            # The file of contracts is its writer's: anything may go wrong in it.
            raise ConfigError(f"{path}: contracts: {type(error).__name__}: {error}") from error
        if portfolio.name != name:
            raise ConfigError(f"{path}: name: is {portfolio.name!r}, but the file is called {name}.yaml.")
        portfolio._fingerprint = fingerprint
        return portfolio

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name in TAKEN:
            raise ValueError(f"{name} is a name of the platform's own; call the portfolio otherwise")
        return name

    @model_validator(mode="after")
    def _tables_have_contracts(self, info: ValidationInfo) -> Portfolio:
        try:
            self._models = dict(_tables(self.contracts, (info.context or {}).get("folder")))
        except (ImportError, AttributeError, OSError, SyntaxError) as error:
            raise ValueError(f"contracts: {self.contracts} is no module or file with TABLES ({error})") from error
        models = self._models
        for key in ("application_table", "outcomes_table"):
            table = getattr(self, key)
            # Outcomes need no contract of their own, but a name that somebody chose must be one.
            if table not in models and table != OUTCOMES:
                raise ValueError(f"{key}: {table} is none of the tables {', '.join(models)}")
        columns = set(models[self.application_table].to_schema().columns)
        needed = {self.entity_key, self.target.column, *(item.column for item in self.protected.values())}
        if absent := sorted(needed - columns):
            raise ValueError(f"table {self.application_table} has no column {', '.join(absent)}")
        if self.outcomes_table not in models:
            models[OUTCOMES] = outcomes_of(
                self.application_table, models[self.application_table], self.entity_key, self.target.column
            )
            self.tables.setdefault(OUTCOMES, TableConfig(files=[OUTCOMES], optional=True))
        if missing := sorted(set(self.tables) ^ set(models)):
            raise ValueError(f"tables and contracts in {self.contracts} differ in {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Portfolio:
        raw = {column for model in self.models.values() for column in model.to_schema().columns}
        for key in ("post_decision", "left_out"):
            if unknown := sorted(set(getattr(self, key)) - raw):
                raise ValueError(f"{key}: no table has a column {', '.join(unknown)}")
        for key in ("blocking", "reference"):
            if unknown := sorted(set(getattr(self.fairness, key)) - set(self.protected)):
                raise ValueError(f"fairness.{key}: {', '.join(unknown)} is not under `protected`")
        for name, table in self.tables.items():
            column = self.models[name].to_schema().columns.get(table.numbered) if table.numbered else None
            if table.numbered and (column is None or str(column.dtype) != "str"):
                raise ValueError(f"tables.{name}.numbered: {table.numbered} is no text column of the table")
        return self

    @property
    def fingerprint(self) -> str:
        """The `settings_fingerprint` of the files that this was loaded from."""
        return self._fingerprint

    @property
    def models(self) -> dict[str, type[Table]]:
        """Raw table name to its contract, parents before children."""
        return self._models

    def keyed(self, model: type[Table]) -> type[Table]:
        """A contract with a column `applicant`, in the type of this portfolio's entity key."""
        key = self.models[self.application_table].to_schema().columns[self.entity_key]
        return with_text_key(model) if str(key.dtype) == "str" else model

    @property
    def protected_columns(self) -> set[str]:
        return {item.column for item in self.protected.values()}

    def table(self, name: str) -> str:
        """The lake's name of one of this portfolio's tables."""
        return f"{self.name}/{name}"

    def parents(self, table: str) -> tuple[str, ...]:
        """The raw tables that the table's rows refer to."""
        return tuple(dict.fromkeys(relation.parent for relation in self.models[table].relations))


def settings_fingerprint(project: Project, name: str) -> str:
    """The same as long as the portfolio's configuration, contracts and SQL are, as files. Nothing of them is run."""
    digest = hashlib.sha256()
    for file in [
        project.config(name),
        *_contract_files(project.config(name)),
        *sorted(project.sql(name).glob("*.sql")),
    ]:
        digest.update(f"{file.name}\n".encode())
        # A file that is gone, or cannot be read, is another state too.
        with contextlib.suppress(OSError):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _contract_files(config: Path) -> list[Path]:
    """The Python files of the contracts that the configuration names; none where it cannot be read."""
    try:
        contracts = str(yaml.safe_load(config.read_text(encoding="utf-8"))["contracts"])
        if contracts.endswith(".py"):
            return [config.parent / contracts]
        spec = importlib.util.find_spec(contracts)
    except (OSError, ValueError, ImportError, yaml.YAMLError, TypeError, KeyError):
        return []
    folders = (spec and spec.submodule_search_locations) or []
    inside = sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    return inside or ([Path(spec.origin)] if spec and spec.origin else [])


def _tables(contracts: str, folder: Path | None) -> dict[str, type[Table]]:
    """The TABLES of an importable module or, where the name ends in .py, of a file (beside the configuration)."""
    if not contracts.endswith(".py"):
        return importlib.import_module(contracts).TABLES
    file = (folder or Path.cwd()) / contracts
    # Under a name that no module has: two projects may each have a file of this name.
    spec = importlib.util.spec_from_file_location(f"contracts_of_{hash(file.resolve()):x}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Pandera looks annotations up in it.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.TABLES


def line_of(root: yaml.Node | None, keys: Sequence[str | int]) -> int:
    """The line of a setting, by the keys that lead to it; of the nearest above it where it is not there."""
    line, node = 1, root
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = next(((name, value) for name, value in node.value if name.value == str(key)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            found = (node.value[key], node.value[key])
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _words(error: yaml.YAMLError | ValidationError, text: str) -> str:
    if isinstance(error, ValidationError):
        root = yaml.compose(text)
        return "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}"
            + (f" (line {line_of(root, e['loc'])})" if e["loc"] else "")
            for e in error.errors()
        )
    return str(error)

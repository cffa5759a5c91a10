"""A portfolio: configs/<name>.yaml as a validated object.

Its sections are the neighbouring files; its table contracts and SQL belong to the `Book`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from credit_assets.settings.alerts import AlertsConfig
from credit_assets.settings.automation import AutomationConfig
from credit_assets.settings.drift import DriftConfig
from credit_assets.settings.evaluation import EvaluationConfig
from credit_assets.settings.fairness import FairnessConfig, ProtectedAttribute
from credit_assets.settings.performance import PerformanceConfig
from credit_assets.settings.policy import PolicyConfig
from credit_assets.settings.project import Project
from credit_assets.settings.reasons import ReasonsConfig
from credit_assets.settings.retention import RetentionConfig
from credit_assets.settings.scorecard import ScorecardConfig
from credit_assets.settings.target import Target
from credit_assets.settings.training import PromotionConfig, TrainingConfig

OUTCOMES = "outcomes"


class ConfigError(ValueError):
    """A portfolio's configuration cannot be used; the message names file, key and what is wrong."""


class UnknownPortfolio(ConfigError, AttributeError):
    """No configuration has this name. It is an AttributeError for modules with portfolios as attributes, because some
    libraries look for a name in every imported module."""


class TableConfig(BaseModel):
    """Where a raw table comes from: the names of its files without ending, one or more (`LoanStats*` for all that
    begin with it), and whether it may be missing."""

    model_config = ConfigDict(extra="forbid")

    files: list[str] = Field(min_length=1, description="names of its files, without ending; `*` stands for anything")
    optional: bool = Field(default=False, description="whether a delivery may lack it")
    notes: list[str] = Field(default=[], description="patterns of lines of a CSV file that are not rows: `Total *`")
    numbered: str | None = Field(
        default=None, description="the text column that gets <batch>-<row> if the file names no row"
    )


class DeliveryConfig(BaseModel):
    """What a delivery may contain: the share of a table's rows that may be quarantined; and the date column by which
    `deliver` splits big files into batches, one per `every`, unless its options say otherwise."""

    model_config = ConfigDict(extra="forbid")

    max_bad_share: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="share of a table's rows that may be quarantined; with more it is refused",
    )
    split_by: str | None = Field(default=None, description="date column by which `deliver` splits big files")
    every: Literal["month", "quarter", "year"] = Field(default="quarter", description="period of each of these batches")
    date_formats: dict[str, list[str]] = Field(
        default={},
        description="column to the formats of its dates, if `deliver --split-by` should not infer them from the "
        "values: `%m/%d/%Y` is month first, `Excel 1900` an Excel serial date",
    )


class Portfolio(BaseModel):
    """One loan book: its tables and applicants, what models learn from, how decisions are made."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: str = Field(pattern="^[a-z][a-z0-9_]*$", description="the name of the file and of the SQL folder")
    title: str = Field(description="the name that is displayed")
    owners: list[str] = Field(min_length=1, description="shown beside every asset in the UI")
    source: str = Field(default="", description="where to get the files, in a sentence")
    contracts: str = Field(description="the file beside the configuration, or the module, with the raw tables' models")
    entity_key: str = Field(description="the column that identifies one application")
    application_table: str = Field(default="applications", description="the raw table with a row per application")
    outcomes_table: str = Field(default=OUTCOMES, description="the raw table of outcomes that are delivered later")
    target: Target
    tables: dict[str, TableConfig] = Field(description="the raw tables by name")
    delivery: DeliveryConfig = DeliveryConfig()
    protected: dict[str, ProtectedAttribute] = Field(
        default={}, description="attributes that are audited; no feature is made from their columns"
    )
    post_decision: dict[str, str] = Field(
        default={}, description="raw columns that are known only after the decision, with the reason"
    )
    left_out: dict[str, str] = Field(
        default={}, description="raw columns whose features stay out of the models, with the reason"
    )
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

    _fingerprint: str = PrivateAttr(default="")

    @classmethod
    def load(cls, project: Project, name: str) -> Portfolio:
        """Read configs/<name>.yaml. Raises ConfigError with file, key and reason; UnknownPortfolio for no such file."""
        path = project.config(name)
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
            raise UnknownPortfolio(f"No portfolio {name!r}: {path} does not exist. Known portfolios: {known}.")
        text, fingerprint = path.read_text(encoding="utf-8"), settings_fingerprint(project, name)
        try:
            portfolio = cls.model_validate(yaml.safe_load(text))
        except (yaml.YAMLError, ValidationError) as error:
            raise ConfigError(f"{path}: {_described(error, text)}") from error
        if portfolio.name != name:
            raise ConfigError(f"{path}: name: is {portfolio.name!r}, but the file is called {name}.yaml.")
        portfolio._fingerprint = fingerprint
        return portfolio

    @model_validator(mode="after")
    def _outcomes_may_come_alone(self) -> Portfolio:
        if self.outcomes_table == OUTCOMES:
            self.tables.setdefault(OUTCOMES, TableConfig(files=[OUTCOMES], optional=True))
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Portfolio:
        for key in ("application_table", "outcomes_table"):
            if (table := getattr(self, key)) not in self.tables:
                known = ", ".join(self.tables)
                if key not in self.model_fields_set:
                    raise _wrong(["tables"], f"{table} is not one of the tables {known}; {key} can name another")
                raise _wrong([key], f"{table} is not one of the tables {known}")
        for key in ("blocking", "reference"):
            if unknown := sorted(set(getattr(self.fairness, key)) - set(self.protected)):
                raise _wrong(["fairness", key], f"{', '.join(unknown)} is not under `protected`")
        return self

    @property
    def fingerprint(self) -> str:
        """The `settings_fingerprint` of the files that this was loaded from."""
        return self._fingerprint

    @property
    def protected_columns(self) -> set[str]:
        return {item.column for item in self.protected.values()}

    def table(self, name: str) -> str:
        """The lake's name of one of this portfolio's tables."""
        return f"{self.name}/{name}"


def settings_fingerprint(project: Project, name: str) -> str:
    """A hash of the files of the portfolio's configuration, contracts and SQL, none of which is executed."""
    digest = hashlib.sha256()
    for file in [
        project.config(name),
        *_contract_files(project.config(name)),
        *sorted(project.sql(name).glob("*.sql")),
    ]:
        digest.update(f"{file.name}\n".encode())
        # A missing or unreadable file changes the fingerprint too.
        with contextlib.suppress(OSError):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _contract_files(config: Path) -> list[Path]:
    """The Python files of the contracts that the configuration names; none if it cannot be read."""
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


def _wrong(keys: list[str | int], message: str) -> PydanticCustomError:
    """A mistake found when the whole portfolio is validated, at the keys of the wrong setting."""
    return PydanticCustomError("portfolio", "{message}", {"keys": keys, "message": message})


def line_of(root: yaml.Node | None, keys: Sequence[str | int]) -> int:
    """The line of a setting, by its path of keys; if it is missing, the line of its nearest parent."""
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


def mistake(error: ErrorDetails) -> tuple[list[str | int], str]:
    """The path of keys to a wrong setting (empty for the whole file), and the reason."""
    context = error.get("ctx", {})
    keys = error["loc"] or context.get("keys", ())
    return list(keys), str(context["error"]) if isinstance(context.get("error"), Exception) else error["msg"]


def _described(error: yaml.YAMLError | ValidationError, text: str) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    root = yaml.compose(text)
    described = []
    for keys, message in map(mistake, error.errors()):
        line = f" (line {line_of(root, keys)})" if keys else ""
        described.append(f"{'.'.join(map(str, keys)) or 'file'}: {message}{line}")
    return "; ".join(described)

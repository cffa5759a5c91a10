"""The `evaluation:` section of a portfolio: how figures are estimated, and the requirements of the promotion gate."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ConfirmedAUC(BaseModel):
    """A person's confirmation that an implausibly high AUC is no leak."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    up_to: float = Field(gt=0.5, le=1, description="the highest test AUC that is confirmed")
    by: str = Field(min_length=1, description="the name of the person who confirms it")
    why: str = Field(min_length=1, description="how they know that no input reveals the outcome")


class GateConfig(BaseModel):
    """Thresholds of the promotion gate, which `gate.py` applies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_defaults: int = Field(
        default=20,
        ge=2,
        description="defaults, and non-defaults, below which an AUC and its interval prove nothing",
    )
    min_auc: float = Field(default=0.65, gt=0.5, lt=1, description="AUC that a candidate must reach")
    max_ece: float = Field(
        default=0.02, gt=0, lt=1, description="ECE above which the PDs are miscalibrated, if it is above chance too"
    )
    max_calibration_gap: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="difference between default rate and mean PD that must not be exceeded significantly",
    )
    champion_margin: float = Field(
        default=0.005, ge=0, lt=0.5, description="loss of AUC against the champion that is tolerated"
    )
    max_score_psi: float = Field(
        default=0.25, gt=0, description="PSI of the PDs between training and test rows, if it is above chance too"
    )
    beats_baseline: Literal["warn", "block"] = Field(
        default="warn", description="what happens to a candidate that is not significantly better than the baseline"
    )
    confirmed_auc: tuple[ConfirmedAUC, ...] = Field(
        default=(),
        description="test AUCs above training.max_single_feature_auc that somebody confirms by name; the gate "
        "refuses others",
    )


class VintageConfig(BaseModel):
    """The dates that vintage curves are drawn from: columns of the application table, as dates or as text such as
    2011-12-01 or Dec-2011. They serve the curves only; a feature may not be made from a date after the decision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    opened: str = Field(description="when the loan was opened")
    defaulted: str = Field(description="when a defaulted loan defaulted, or was last paid")


class EvaluationConfig(BaseModel):
    """How a model is evaluated, and the requirements that it must meet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_bootstrap: int = Field(default=1000, ge=100, description="resamples behind the intervals")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="confidence of every interval")
    vintage: VintageConfig | None = Field(default=None, description="draw vintage curves from these dates")
    gate: GateConfig = GateConfig()

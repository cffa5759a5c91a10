"""What a portfolio's `evaluation:` section may say: how figures are estimated and what is demanded."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ConfirmedAUC(BaseModel):
    """That an AUC which looks too good to be true has been looked into, and by whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    up_to: float = Field(gt=0.5, le=1, description="the greatest test AUC that is confirmed")
    by: str = Field(min_length=1, description="the name of the person who confirms it")
    why: str = Field(min_length=1, description="how they know that no input gives the outcome away")


class GateConfig(BaseModel):
    """Thresholds of the promotion gate. What each means is judged in `gate.py`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_defaults: int = Field(
        default=20,
        ge=2,
        description="defaults, and others, below which an AUC and its interval prove nothing",
    )
    min_auc: float = Field(default=0.65, gt=0.5, lt=1, description="AUC that a candidate must reach")
    max_ece: float = Field(
        default=0.02, gt=0, lt=1, description="ECE above which, and above chance, the PDs are miscalibrated"
    )
    max_calibration_gap: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="distance of default rate and mean PD that must not be exceeded for sure",
    )
    champion_margin: float = Field(
        default=0.005, ge=0, lt=0.5, description="loss of AUC against the champion that is tolerated"
    )
    max_score_psi: float = Field(
        default=0.25, gt=0, description="PSI of the PDs between training and test rows, chance allowed for"
    )
    beats_baseline: Literal["warn", "block"] = Field(
        default="warn", description="what a candidate gets that is not surely better than the baseline"
    )
    confirmed_auc: tuple[ConfirmedAUC, ...] = Field(
        default=(),
        description="test AUCs above training.max_single_feature_auc that somebody confirms by name: no promotion "
        "by the gate otherwise",
    )


class VintageConfig(BaseModel):
    """The dates that vintage curves are drawn from: columns of the application table, as dates or as text such as
    2011-12-01 or Dec-2011. They are looked at here only; a feature may not be made from a date after the decision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    opened: str = Field(description="when the loan was opened")
    defaulted: str = Field(description="when a loan that defaulted did so, or was last paid")


class EvaluationConfig(BaseModel):
    """How a model is evaluated and judged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_bootstrap: int = Field(default=1000, ge=100, description="resamples behind the intervals")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="confidence of every interval")
    vintage: VintageConfig | None = Field(default=None, description="draw vintage curves from these dates")
    gate: GateConfig = GateConfig()

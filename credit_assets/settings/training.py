"""What `training:` of a portfolio may say (split, encodings, tuning budget, guard), and `promotion:`. No defaults live
elsewhere."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["target", "frequency", "category"]
"""How a text feature becomes an input: its values' mean outcome, their share of the rows, or as a category."""


class PromotionConfig(BaseModel):
    """What it takes to promote a version by hand, whatever the gate said of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approvals: int = Field(
        default=1, ge=1, le=10, description="different persons who must approve; 2 for the four-eyes principle"
    )


class TrainingConfig(BaseModel):
    """How a portfolio's models are trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=20, ge=0, description="of the split, the search and the model")
    window_batches: int = Field(
        default=24, ge=1, description="newest matured batches, the test among them, that are learned from"
    )
    test_batches: int = Field(
        default=1, ge=1, description="newest of them that are the out-of-time test; half of the window at most"
    )
    matured_share: float = Field(
        default=0.5, gt=0, le=1, description="share of a batch's applicants whose outcomes must be known to use them"
    )
    holdout_share: float = Field(
        default=0.25, gt=0, lt=0.9, description="share of applicants tested on where one batch has outcomes"
    )
    valid_share: float = Field(
        default=0.2,
        gt=0,
        lt=0.9,
        description="share of the training part held out to choose and to calibrate",
    )
    cv: Literal["applicants", "batches"] = Field(
        default="applicants",
        description="what folds are made of: applicants, whenever they came; or batches, each judged by models that "
        "learned from earlier ones alone",
    )
    cv_folds: int | None = Field(
        default=None,
        ge=2,
        description="folds of the training part where it is small, or where folds are of batches; by default 3, and "
        "of applicants 10 where the rarer outcome has fewer than 500 rows, 5 where it has fewer than 2,000; not in "
        "tables of more than a million values",
    )
    cv_below_rows: int = Field(
        default=20_000,
        ge=0,
        description="training rows below which folds of applicants take the validation part's place",
    )
    cv_below_defaults: int = Field(
        default=1_000,
        ge=0,
        description="likewise with fewer training rows of the rarer outcome, however many rows there are",
    )
    encodings: dict[str, Kind] = Field(
        default={},
        description="text features that are learned from as a number: a word's mean outcome (target) or its share "
        "of the rows (frequency); or as words (category). Those not named are target with more than 20 words, else "
        "category",
    )
    trials: int = Field(default=300, ge=1, description="trials of the search at most, finished or pruned")
    patience: int = Field(
        default=20, ge=1, description="trials without a sure improvement after which the search has converged"
    )
    budget_s: float = Field(
        default=60,
        gt=0,
        description="no new trial begins after so many seconds of work of one processor core, but at least 12 do. Work "
        "is estimated from rows, features, bins, rounds and leaves, so that the search ends alike on every machine",
    )
    timeout_s: float = Field(
        default=1800,
        gt=0,
        description="no new trial begins after so many seconds by the clock; what it cuts short "
        "depends on the machine's speed, so leave room where runs must repeat bit for bit",
    )
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="of boosting; searched where it is not given"
    )
    max_rounds: int = Field(
        default=5_000,
        ge=1,
        description="boosting rounds that a trial is expected to end within. Where the loss still falls there, the "
        "limit is doubled for this trial and the log says so",
    )
    early_stopping_rounds: int = Field(
        default=40,
        ge=1,
        description="rounds without a lower log loss that end a fit at a learning rate of 0.05; in proportion more at "
        "a lower rate, and fewer at a higher one, 10 at least",
    )
    threads: int = Field(default=0, ge=0, description="of XGBoost; 0 takes every core. Changes no bit of the model")
    max_single_feature_auc: float = Field(
        default=0.95,
        gt=0.5,
        le=1,
        description="a feature that alone ranks better than this is taken for a leak",
    )

    @model_validator(mode="after")
    def _window_holds_the_test(self) -> TrainingConfig:
        if self.test_batches > max(1, self.window_batches // 2):
            raise ValueError(
                f"test_batches: {self.test_batches} are more than half of the {self.window_batches} window_batches"
            )
        return self

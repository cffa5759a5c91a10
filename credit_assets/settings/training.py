"""The `training:` section of a portfolio (split, encodings, tuning budget, guard), and `promotion:`. All defaults are
here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["target", "frequency", "category"]
"""How a text feature becomes an input: its values' mean outcome, their share of the rows, or as a category."""


class PromotionConfig(BaseModel):
    """What a promotion by hand needs, whatever the gate's verdict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approvals: int = Field(
        default=1, ge=1, le=10, description="different people who must approve; 2 for the four-eyes principle"
    )


class TrainingConfig(BaseModel):
    """How a portfolio's models are trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        default="xgboost",
        pattern="^[a-z][a-z0-9_]*$",
        description="kind of the candidate: xgboost or logistic_regression",
    )
    seed: int = Field(default=20, ge=0, description="seed of the split, the search and the model")
    window_batches: int = Field(
        default=24, ge=1, description="newest matured batches that are used, including those of the test"
    )
    test_batches: int = Field(
        default=1, ge=1, description="newest of them that are the out-of-time test; at most half of the window"
    )
    matured_share: float = Field(
        default=0.5, gt=0, le=1, description="share of a batch's applicants whose outcomes must be known to use them"
    )
    holdout_share: float = Field(
        default=0.25, gt=0, lt=0.9, description="share of applicants in the test if a single batch has outcomes"
    )
    valid_share: float = Field(
        default=0.2,
        gt=0,
        lt=0.9,
        description="share of the training part held out for selection and calibration",
    )
    cv: Literal["applicants", "batches"] = Field(
        default="applicants",
        description="what folds are made of: applicants of any batch; or batches, each predicted by models that "
        "learned from earlier ones only",
    )
    cv_folds: int | None = Field(
        default=None,
        ge=2,
        description="folds of the training part, if it is small or if folds are of batches; the default is 3, but 10 "
        "folds of applicants if the rarer outcome has fewer than 500 rows, and 5 if it has fewer than 2,000 (not in "
        "tables of more than a million values)",
    )
    cv_below_rows: int = Field(
        default=20_000,
        ge=0,
        description="training rows below which folds of applicants replace the validation part",
    )
    cv_below_defaults: int = Field(
        default=1_000,
        ge=0,
        description="training rows of the rarer outcome below which they do too, however many rows there are",
    )
    encodings: dict[str, Kind] = Field(
        default={},
        description="how text features become inputs: the mean outcome of a category (target), its share of the rows "
        "(frequency), or the categories themselves (category). The default is target with more than 20 categories, "
        "else category",
    )
    trials: int = Field(default=300, ge=1, description="maximum number of trials of the search, finished or pruned")
    patience: int = Field(
        default=20, ge=1, description="trials without a significant improvement after which the search has converged"
    )
    budget_s: float = Field(
        default=60,
        gt=0,
        description="after the first 12 trials, no new one starts beyond this many seconds of work of one core. It is "
        "estimated from rows, features, bins, rounds and leaves, so that the search ends alike on every machine",
    )
    timeout_s: float = Field(
        default=1800,
        gt=0,
        description="no new trial starts after this many seconds by the clock. Where that ends a search depends on the "
        "machine's speed, so leave a margin if runs must repeat bit for bit",
    )
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="learning rate of boosting; searched if it is not given"
    )
    max_rounds: int = Field(
        default=5_000,
        ge=1,
        description="boosting rounds within which a trial is expected to end. If the loss is still falling there, the "
        "limit is doubled for this trial, and the log says so",
    )
    early_stopping_rounds: int = Field(
        default=40,
        ge=1,
        description="rounds without a lower log loss that end a fit at a learning rate of 0.05; proportionally more at "
        "a lower rate and fewer at a higher one, but at least 10",
    )
    threads: int = Field(default=0, ge=0, description="threads of XGBoost; 0: one per core. Does not change the model")
    device: Literal["auto", "cpu"] = Field(
        default="auto",
        description="what XGBoost trains on: auto is a GPU if there is one, otherwise the CPU. A GPU adds in another "
        "order, so its model differs from that of a CPU; each repeats bit for bit",
    )
    max_single_feature_auc: float = Field(
        default=0.95,
        gt=0.5,
        le=1,
        description="a feature that alone ranks better than this is refused as a leak",
    )

    @model_validator(mode="after")
    def _window_holds_the_test(self) -> TrainingConfig:
        if self.test_batches > max(1, self.window_batches // 2):
            raise ValueError(
                f"test_batches: {self.test_batches} are more than half of the {self.window_batches} window_batches"
            )
        return self

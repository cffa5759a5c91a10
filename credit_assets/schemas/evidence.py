"""The contracts of the evidence about a candidate: its predictions, metrics, audit and gate.

The figures are computed in `evaluation/` and `fairness/`.
"""

from __future__ import annotations

from typing import ClassVar

import pandera.pandas as pa

from credit_assets.schemas.table import Table

INFINITE = float("inf")


NOTHING_AUDITED = (
    "No protected attribute (sex, race, age, ...) is named in the configuration, so nothing was audited. "
    "This is no evidence that the data has none, or that groups are treated equally: unequal treatment would not be "
    "noticed. Name the columns under `protected`."
)
"""The audit's message if the configuration names no protected attribute."""


class BaselinePredictions(Table):
    """PDs of the test rows by the logistic regression."""

    applicant: int = pa.Field(description="The applicant: the portfolio's entity key")
    batch: str = pa.Field(description="The delivery that the application is in")
    pd: float = pa.Field(ge=0, le=1, description="PD by the logistic regression")

    class Config:
        unique: ClassVar[list[str]] = ["applicant", "batch"]


class CandidatePredictions(Table):
    """PDs of applicants with known outcomes by the newest candidate, none for a row it was trained on: test rows by the
    model itself, training rows by the cross-validation models that held them out."""

    applicant: int = pa.Field(description="The applicant: the portfolio's entity key")
    batch: str = pa.Field(description="The delivery that the application is in")
    fold: str = pa.Field(isin=["train", "valid", "test"], description="Its fold of the training set")
    target: int = pa.Field(isin=[0, 1], description="1: defaulted")
    pd: float = pa.Field(gt=0, lt=1, description="PD by the candidate")
    fold_pd: float = pa.Field(gt=0, lt=1, description="PD by a cross-validation model, for test rows too")
    fold_model: int = pa.Field(ge=0, description="The number of that model, which was not trained on the row")
    model_version: int = pa.Field(ge=1, description="The candidate's registered version")

    class Config:
        unique: ClassVar[list[str]] = ["applicant", "batch"]


class Predictions(Table):
    """PDs of the test rows, one row per model and applicant: the input of the evaluation, the audit and the gate. The
    champion has no PDs of rows that it was trained on."""

    applicant: int = pa.Field(description="The applicant: the portfolio's entity key")
    batch: str = pa.Field(description="The delivery that the application is in")
    model: str = pa.Field(isin=["candidate", "baseline", "champion"], description="The model of the PD")
    target: int = pa.Field(isin=[0, 1], description="1: defaulted")
    pd: float = pa.Field(ge=0, le=1, description="The model's probability of default")
    candidate_version: int = pa.Field(ge=1, description="The candidate's registered version")

    class Config:
        unique: ClassVar[list[str]] = ["applicant", "batch", "model"]


class CandidateVersion(Table):
    """The candidate version of `Predictions`, the only column of them that a promotion reads, in every release."""

    candidate_version: int = pa.Field(ge=1, description="The candidate's registered version")


class Metrics(Table):
    """How well the candidate, the baseline and the champion rank and match outcomes on the test rows."""

    model: str = pa.Field(isin=["candidate", "baseline", "champion"], description="The model of the PDs")
    metric: str = pa.Field(description="auc, gini, ks, pr_auc, brier, log_loss, ece or calibration_gap")
    value: float = pa.Field(gt=-INFINITE, lt=INFINITE, description="The figure")
    low: float = pa.Field(gt=-INFINITE, lt=INFINITE, description="Lower bound of its interval")
    high: float = pa.Field(gt=-INFINITE, lt=INFINITE, description="Upper bound of its interval")

    class Config:
        unique: ClassVar[list[str]] = ["model", "metric"]


class FairnessGroups(Table):
    """How the candidate's decisions and PDs treat each group of a protected attribute, and each intersection of two
    attributes; every figure with its interval."""

    attribute: str = pa.Field(description="Protected attribute, or an intersection such as gender x age")
    group: str = pa.Field(description="The group")
    applicants: int = pa.Field(ge=1, description="Applicants of the group")
    defaults: int = pa.Field(ge=0, description="Defaults among them")
    approval_rate: float = pa.Field(ge=0, le=1, description="Share approved")
    air: float = pa.Field(
        ge=0, nullable=True, description="Adverse impact ratio: approval rate over the reference group's"
    )
    judged: bool = pa.Field(description="Whether the group gets a verdict: it is large enough, and a real group")

    class Config:
        # Further columns of the audit (intervals, TPR, FPR, calibration, AUC) are stored unchecked.
        strict = False
        unique: ClassVar[list[str]] = ["attribute", "group"]


class FairnessVerdicts(Table):
    """For each protected attribute and intersection: the worst-treated group, and the four-fifths rule."""

    attribute: str = pa.Field(unique=True, description="Protected attribute, or an intersection")
    four_fifths: str = pa.Field(isin=["pass", "fail", "not enough data"], description="Verdict by the four-fifths rule")
    on_failure: str = pa.Field(isin=["block", "warn"], description="Whether a failure stops a promotion")
    air: float = pa.Field(ge=0, nullable=True, description="The lowest adverse impact ratio")
    significant: bool = pa.Field(description="Whether the difference is beyond chance")

    class Config:
        strict = False


class Gate(Table):
    """The requirements on the candidate: whether each is met, and whether failing it stops the promotion."""

    verdict: str = pa.Field(unique=True, description="The requirement")
    passed: bool = pa.Field(description="Whether it is met")
    blocking: bool = pa.Field(description="Whether failing it stops the promotion")
    words: str = pa.Field(description="The verdict as text, with its figures")
    candidate_version: int = pa.Field(ge=1, description="The candidate's registered version")

"""PDs of the test rows by several models: stored in long form (a row per model and applicant), compared in wide form (a
column per model). `test_results.py` evaluates them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from credit_assets.features.training_set import TEST
from credit_assets.schemas.evidence import Predictions

MODELS = ("candidate", "baseline", "champion")
"""The models that can have PDs, the candidate first."""

ROW = ["applicant", "batch"]


class OtherTestRows(ValueError):
    """The candidate and the baseline were tested on different rows."""

    def __init__(self, rows: int) -> None:
        super().__init__(
            f"The candidate and the baseline were tested on different rows ({rows} for the candidate): they come from "
            "different training sets. Materialize candidate and logistic_regression together."
        )
        self.rows = rows


def predicted_by_both(candidate: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """The candidate's test rows, in its order, with its PDs (`candidate`), its version (`candidate_version`) and the
    PDs of the baseline (`baseline`). Raises OtherTestRows if the baseline was tested on other rows."""
    test = candidate[candidate["fold"] == TEST].rename(
        columns={"pd": "candidate", "model_version": "candidate_version"}
    )
    rows = test.merge(baseline.rename(columns={"pd": "baseline"}), on=["applicant", "batch"], validate="1:1")
    if len(rows) != len(test):
        raise OtherTestRows(len(test))
    return rows


def predictions_of(rows: pd.DataFrame, pds: Mapping[str, pd.Series]) -> pd.DataFrame:
    """The `Predictions` table for the rows (applicant, batch, target, candidate_version). `pds` has the PDs of each
    model in the order of the rows, nan for rows without a PD, which are omitted for that model."""
    parts = [rows.assign(model=model, pd=pds[model].to_numpy()).dropna(subset="pd") for model in MODELS if model in pds]
    return pd.concat(parts, ignore_index=True)[list(Predictions.to_schema().columns)]


def by_model(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per applicant of the test, in the candidate's order: `applicant`, `batch`, `target`, `candidate_version`,
    and a column with the PDs of each of MODELS, nan if it has none.

    Raises ValueError if a model has PDs of rows that the candidate does not have.
    """
    of_model = dict(tuple(predictions.groupby("model", sort=False)))
    wide = of_model["candidate"].drop(columns="model").rename(columns={"pd": "candidate"})
    for model in MODELS[1:]:
        others = of_model.get(model, predictions.head(0))[[*ROW, "pd"]].rename(columns={"pd": model})
        wide = wide.merge(others, how="left", on=ROW, validate="1:1")
        if wide[model].notna().sum() != len(others):
            raise ValueError(f"The {model} has PDs of rows that the candidate does not have.")
    return wide


def candidate_of(predictions: pd.DataFrame) -> int:
    """The registered version of the candidate whose `Predictions` these are."""
    return int(predictions["candidate_version"].iloc[0])

"""From a batch's features to its scores: one row per applicant, by the model that decides.

`models/` computes PDs; points, policy and reasons are modules of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from credit_assets.decisions.policy import DECLINE, decide
from credit_assets.decisions.scorecard import band, points
from credit_assets.explanations.reasons import adverse_action_reasons
from credit_assets.explanations.texts import ReasonTexts
from credit_assets.models.model import Model
from credit_assets.schemas.scores import Scores
from credit_assets.settings.scorecard import ScorecardConfig


@dataclass(frozen=True)
class Provenance:
    """The inputs of a score: the model version and the version of its features."""

    model_name: str
    model_version: int
    model_run_id: str
    features_checked_against: int
    feature_table_version: int
    synthetic: bool


def score(
    parts: Iterable[pd.DataFrame],
    entity_key: str,
    model: Model,
    cut_off: float,
    scorecard: ScorecardConfig,
    texts: ReasonTexts,
    provenance: Provenance,
) -> pd.DataFrame:
    """The `Scores` of a batch that comes in parts. Each part is a frame with `entity_key`, the model's features and all
    features of the history files of `texts`, which show who has no row there.

    Rows are in the order of the applicants, whatever the order of the parts. Reasons are computed for declined
    applicants only, because explaining a PD takes many times as long as computing it.
    """
    scored = [_score_part(part, entity_key, model, cut_off, scorecard, texts) for part in parts]
    # Not pd.concat, which tests each cell of columns without values.
    columns = {name: np.concatenate([part[name].to_numpy() for part in scored]) for name in scored[0].columns}
    scores = pd.DataFrame(columns).sort_values("applicant", ignore_index=True)
    scores["cut_off"] = cut_off
    for name, value in vars(provenance).items():
        scores[name] = value
    return scores[list(Scores.to_schema().columns)]


def _score_part(
    part: pd.DataFrame,
    entity_key: str,
    model: Model,
    cut_off: float,
    scorecard: ScorecardConfig,
    texts: ReasonTexts,
) -> pd.DataFrame:
    pds = model.pd(part)
    rounded = points(pds, scorecard)
    scores = pd.DataFrame(
        {
            "applicant": part[entity_key].to_numpy(),
            "pd": pds,
            "points": rounded,
            "band": band(rounded, scorecard),
            "decision": decide(pds, cut_off),
        }
    )
    declined = np.flatnonzero(scores["decision"] == DECLINE)
    rows = part.iloc[declined]
    contributions = model.contributions(rows)[:, :-1]
    reasons = adverse_action_reasons(contributions, model.features, rows, texts, _unseen(rows, model))
    return scores.join(reasons.set_index(declined))


def _unseen(part: pd.DataFrame, model: Model) -> dict[str, np.ndarray]:
    """For each text feature, a mask (n,) of the rows with a category that the model was not trained on."""
    return {
        feature: (part[feature].notna() & ~part[feature].isin(list(texts))).to_numpy()
        for feature, texts in model.learned_texts.items()
        if feature in model.features
    }

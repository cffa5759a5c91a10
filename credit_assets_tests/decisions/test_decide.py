"""From a batch's features to one row per applicant: independent of how the batch is split, with reasons for declined
applicants only.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from credit_assets.decisions.decide import Provenance, score
from credit_assets.explanations.reasons import Factors
from credit_assets.explanations.texts import ReasonTexts
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.xgboost import XGBoostModel, fit_xgboost
from credit_assets.models.folds import Folds
from credit_assets.schemas.scores import Scores
from credit_assets.settings.scorecard import Band, ScorecardConfig
from credit_assets.settings.training import TrainingConfig
from credit_assets_tests.models.conftest import FEATURES, make_training_set

KEY = "SK_ID_CURR"
WORDS = {feature: f"the {feature} of the applicant" for feature in FEATURES}
TEXTS = ReasonTexts(WORDS, {feature: feature for feature in FEATURES})
SCORECARD = ScorecardConfig(bands=(Band(name="good", from_points=560), Band(name="bad")))
MADE_BY = Provenance("book", 3, "run-1", 3, 7, True)


@pytest.fixture(scope="module")
def model() -> XGBoostModel:
    return fitted(make_training_set())


def fitted(training_set: pd.DataFrame) -> XGBoostModel:
    design = DesignMatrix.of(training_set, FEATURES, KEY)
    config = TrainingConfig(threads=1)
    params = {"max_depth": 3, "learning_rate": 0.1}
    return fit_xgboost(design, Folds(design, design.validation(config), config), params, 20, config)[0]


@pytest.fixture(scope="module")
def applicants() -> pd.DataFrame:
    return make_training_set(rows=60, seed=4)[[KEY, *FEATURES]]


def scored(model: XGBoostModel, *parts: pd.DataFrame, cut_off: float = 0.25) -> pd.DataFrame:
    return score(parts, KEY, model, cut_off, SCORECARD, TEXTS, MADE_BY)


def test_scores_meet_their_contract_and_name_their_inputs(model, applicants):
    scores = scored(model, applicants)
    Scores.to_schema().validate(scores)
    assert scores["applicant"].tolist() == sorted(applicants[KEY])
    for name, value in vars(MADE_BY).items():
        assert set(scores[name]) == {value}
    assert set(scores["cut_off"]) == {0.25}


def test_applicant_gets_the_pd_of_the_model_and_the_decision_of_the_policy(model, applicants):
    scores = scored(model, applicants)
    np.testing.assert_array_equal(scores["pd"], model.pd(applicants))
    assert scores["decision"].tolist() == ["approve" if pd <= 0.25 else "decline" for pd in scores["pd"]]
    assert set(scores["decision"]) == {"approve", "decline"}


def test_first_reason_of_a_declined_applicant_is_the_largest_contribution(model, applicants):
    scores = scored(model, applicants)
    declined = np.flatnonzero(scores["decision"] == "decline")
    contributions = model.contributions(applicants)[:, :-1]
    strongest = [FEATURES[position] for position in contributions[declined].argmax(axis=1)]
    assert scores["reason_feature_1"].iloc[declined].tolist() == strongest
    assert scores["reason_1"].iloc[declined].tolist() == [WORDS[feature] for feature in strongest]
    assert scores.drop(declined)["reason_1"].isna().all()


@pytest.mark.parametrize("size", [1, 7, 60])
def test_splitting_a_batch_into_parts_changes_nothing(model, applicants, size):
    shuffled = applicants.sample(frac=1, random_state=1)
    parts = [shuffled.iloc[start : start + size] for start in range(0, len(shuffled), size)]
    pd.testing.assert_frame_equal(scored(model, *parts), scored(model, applicants), check_exact=True)


@pytest.mark.parametrize(("cut_off", "decision"), [(0.999, "approve"), (0.0001, "decline")])
def test_batch_may_be_approved_or_declined_entirely(model, applicants, cut_off, decision):
    scores = scored(model, applicants, cut_off=cut_off)
    Scores.to_schema().validate(scores)
    assert set(scores["decision"]) == {decision}
    assert scores["reason_1"].notna().all() == (decision == "decline")


def test_reason_mentions_missing_value_and_unknown_category(applicants):
    learned = make_training_set()
    unknown = learned["overdue"].isna() | learned["employer"].isna()
    model = fitted(learned.assign(target=np.where(unknown, 1, learned["target"]).astype(np.int8)))
    scores = scored(model, applicants.assign(overdue=np.nan, employer="circus"))
    reasons = scores.melt("applicant", [f"reason_{rank}" for rank in range(1, 5)])["value"].dropna()
    spoken = {text for text in reasons if "overdue" in text or "employer" in text}
    assert spoken == {"the overdue of the applicant: not known", "the employer of the applicant: not recognised"}


def test_family_sums_and_base_value_add_up_to_the_log_odds_of_the_pd(model, applicants):
    families = {"income": "amounts", "credit": "amounts", "employer": "job", "overdue": "overdue", "noise": "noise"}
    texts = ReasonTexts(WORDS, families)
    contributions = model.contributions(applicants)
    frame = applicants[list(model.features)]
    factors = Factors.find(frame, model.features, texts, frame.isna().to_numpy())
    sums = factors.sums(contributions[:, :-1])
    assert factors.names == ("amounts", "job", "overdue", "noise")
    # The same numbers, summed by family and by feature.
    np.testing.assert_allclose(sums.sum(axis=1), contributions[:, :-1].sum(axis=1), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(sums[:, 0], contributions[:, 0] + contributions[:, 1])
    # XGBoost computes the PD in single precision.
    np.testing.assert_allclose(sums.sum(axis=1) + contributions[:, -1], logit(model.pd(applicants)), atol=2e-6)
    scores = score([applicants], KEY, model, 0.0001, SCORECARD, texts, MADE_BY)
    for row, of_row in zip(scores.to_dict("records"), sums, strict=True):
        given = {row[f"reason_family_{rank}"]: row[f"reason_log_odds_{rank}"] for rank in range(1, 5)}
        assert all(value == of_row[factors.names.index(name)] for name, value in given.items() if name)

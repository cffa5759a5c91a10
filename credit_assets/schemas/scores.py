"""The contract of the score table: a decision, and its inputs."""

from __future__ import annotations

import pandera.pandas as pa
from pandas import DataFrame, Series

from credit_assets.schemas.table import Table


class Scores(Table):
    """One row per delivered applicant: PD, points, band, decision, the reasons of a decline, and the versions of
    everything that the score was made from, so that it can be reproduced."""

    applicant: int = pa.Field(unique=True, description="The applicant: the portfolio's entity key")
    pd: float = pa.Field(gt=0, lt=1, description="Calibrated probability of default")
    points: int = pa.Field(description="Scorecard points: more points mean less risk", metadata={"unit": "points"})
    band: str = pa.Field(description="Band of the points")
    decision: str = pa.Field(
        isin=["approve", "decline"],
        description="approve if the PD is at or below the cut-off, else decline",
    )
    cut_off: float = pa.Field(gt=0, lt=1, description="The highest approved PD, stored with the model")
    reason_1: str = pa.Field(
        nullable=True, description="The factor that raised this PD most; only for declined applicants"
    )
    reason_2: str = pa.Field(nullable=True, description="The factor that raised it second most, if there is one")
    reason_3: str = pa.Field(nullable=True, description="The factor that raised it third most, if there is one")
    reason_4: str = pa.Field(nullable=True, description="The factor that raised it fourth most, if there is one")
    reason_feature_1: str = pa.Field(nullable=True, description="The strongest feature behind reason_1")
    reason_feature_2: str = pa.Field(nullable=True, description="The strongest feature behind reason_2")
    reason_feature_3: str = pa.Field(nullable=True, description="The strongest feature behind reason_3")
    reason_feature_4: str = pa.Field(nullable=True, description="The strongest feature behind reason_4")
    reason_family_1: str = pa.Field(nullable=True, description="The family of features behind reason_1")
    reason_family_2: str = pa.Field(nullable=True, description="The family of features behind reason_2")
    reason_family_3: str = pa.Field(nullable=True, description="The family of features behind reason_3")
    reason_family_4: str = pa.Field(nullable=True, description="The family of features behind reason_4")
    reason_log_odds_1: float = pa.Field(
        nullable=True, description="The contribution of the first family to the log-odds of the PD"
    )
    reason_log_odds_2: float = pa.Field(
        nullable=True, description="The contribution of the second family to the log-odds of the PD"
    )
    reason_log_odds_3: float = pa.Field(
        nullable=True, description="The contribution of the third family to the log-odds of the PD"
    )
    reason_log_odds_4: float = pa.Field(
        nullable=True, description="The contribution of the fourth family to the log-odds of the PD"
    )
    reason_basis: str = pa.Field(
        nullable=True,
        isin=["raised the PD", "lowered the PD least"],
        description="Whether the reasons raised the PD or, if nothing did, lowered it least",
    )
    model_name: str = pa.Field(description="Registered model that made the PD")
    model_version: int = pa.Field(ge=1, description="Its registered version: the champion at the time of scoring")
    model_run_id: str = pa.Field(description="The tracking run that trained it")
    features_checked_against: int = pa.Field(ge=1, description="Version that the batch's features were checked against")
    feature_table_version: int = pa.Field(ge=0, description="Version of the feature table that was read")
    synthetic: bool = pa.Field(description="Whether the applicant, or the model's training data, are synthetic")

    class Config:
        strict = True
        coerce = False

    @pa.dataframe_check(name="decision_follows_cut_off")
    def decision_follows_cut_off(cls, scores: DataFrame) -> Series:
        return (scores["pd"] <= scores["cut_off"]) == (scores["decision"] == "approve")

    @pa.dataframe_check(name="scored_by_the_version_checked")
    def scored_by_the_version_checked(cls, scores: DataFrame) -> Series:
        return scores["model_version"] == scores["features_checked_against"]

    @pa.dataframe_check(name="declined_have_a_reason_and_approved_none")
    def declined_have_a_reason_and_approved_none(cls, scores: DataFrame) -> Series:
        declined = scores["decision"] == "decline"
        return (scores["reason_1"].notna() == declined) & (scores["reason_basis"].notna() == declined)

    @pa.dataframe_check(name="reasons_have_no_gaps")
    def reasons_have_no_gaps(cls, scores: DataFrame) -> Series:
        """A later reason needs the one before it, and every reason has its feature."""
        without_gaps = Series(True, index=scores.index)
        for rank in range(1, 5):
            given = scores[f"reason_{rank}"].notna()
            without_gaps &= given == scores[f"reason_feature_{rank}"].notna()
            if rank > 1:
                without_gaps &= ~given | scores[f"reason_{rank - 1}"].notna()
        return without_gaps

    @pa.dataframe_check(name="reasons_are_in_the_order_of_their_families")
    def reasons_are_in_the_order_of_their_families(cls, scores: DataFrame) -> Series:
        """Each family has a sum and a reason, and no larger sum than the one before. Scores of earlier releases have no
        families."""
        in_order = Series(True, index=scores.index)
        for rank in range(1, 5):
            family, log_odds = scores[f"reason_family_{rank}"], scores[f"reason_log_odds_{rank}"]
            in_order &= family.notna() == log_odds.notna()
            in_order &= family.isna() | scores[f"reason_{rank}"].notna()
            if rank > 1:
                in_order &= log_odds.isna() | (scores[f"reason_log_odds_{rank - 1}"] >= log_odds)
        return in_order

"""The contract of the scores: no decision contradicts its own row."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import pandera.errors
import pytest

from credit_assets.decisions.policy import APPROVE, DECLINE
from credit_assets.explanations.reasons import LEAST_FAVOURABLE, RAISED
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.schemas.scores import Scores

APPROVED = {
    "applicant": 1,
    "pd": 0.05,
    "points": 587,
    "band": "B",
    "decision": APPROVE,
    "cut_off": 0.1,
    **dict.fromkeys((f"reason_{rank}" for rank in range(1, 5)), None),
    **dict.fromkeys((f"reason_feature_{rank}" for rank in range(1, 5)), None),
    **dict.fromkeys((f"reason_family_{rank}" for rank in range(1, 5)), None),
    **dict.fromkeys((f"reason_log_odds_{rank}" for rank in range(1, 5)), float("nan")),
    "reason_basis": None,
    "model_name": "home_credit",
    "model_version": 3,
    "model_run_id": "abc",
    "features_checked_against": 3,
    "feature_table_version": 12,
    "synthetic": True,
}
DECLINED = APPROVED | {
    "applicant": 2,
    "pd": 0.3,
    "points": 526,
    "decision": DECLINE,
    "reason_1": "debt in relation to income",
    "reason_feature_1": "debt_to_income",
    "reason_family_1": "debts",
    "reason_log_odds_1": 0.4,
    "reason_basis": RAISED,
}


def validated(*rows: dict[str, object]) -> pd.DataFrame:
    return Scores.validate(pd.DataFrame(rows, columns=list(APPROVED)), lazy=True)


def test_approval_and_decline_are_valid() -> None:
    assert len(validated(APPROVED, DECLINED)) == 2
    assert len(validated(APPROVED)) == 1
    # from before families were introduced
    assert len(validated(DECLINED | {"reason_family_1": None, "reason_log_odds_1": float("nan")})) == 1
    assert len(validated(DECLINED | {"reason_basis": LEAST_FAVOURABLE})) == 1


@pytest.mark.parametrize(
    ("row", "check"),
    [
        (DECLINED | {"reason_family_1": None}, "reasons_are_in_the_order_of_their_families"),
        (
            DECLINED
            | {"reason_2": "age of the car", "reason_feature_2": "car_age"}
            | {"reason_family_2": "car_age", "reason_log_odds_2": 0.5},
            "reasons_are_in_the_order_of_their_families",
        ),
        (DECLINED | {"reason_1": None, "reason_feature_1": None}, "declined_have_a_reason_and_approved_none"),
        (DECLINED | {"reason_basis": None}, "declined_have_a_reason_and_approved_none"),
        (
            APPROVED | {"reason_1": "income", "reason_feature_1": "income", "reason_basis": RAISED},
            "declined_have_a_reason_and_approved_none",
        ),
        (DECLINED | {"reason_feature_1": None}, "reasons_have_no_gaps"),
        (DECLINED | {"reason_3": "income", "reason_feature_3": "income"}, "reasons_have_no_gaps"),
        (APPROVED | {"pd": 0.2}, "decision_follows_cut_off"),
        (DECLINED | {"pd": 0.1}, "decision_follows_cut_off"),
        (APPROVED | {"pd": 0.0}, "greater_than(0)"),
        (APPROVED | {"decision": "refer"}, "isin"),
        (APPROVED | {"features_checked_against": 2}, "scored_by_the_version_checked"),
        (APPROVED | {"model_version": 0}, "greater_than_or_equal_to(1)"),
        (APPROVED | {"band": None}, "not_nullable"),
    ],
)
def test_contradictory_row_is_refused(row: dict[str, object], check: str) -> None:
    with pytest.raises(pandera.errors.SchemaErrors) as refused:
        validated(APPROVED | {"applicant": 9}, row)
    assert refused.value.failure_cases["check"].astype(str).str.contains(check, regex=False).any()


def test_applicant_has_one_row() -> None:
    with pytest.raises(pandera.errors.SchemaErrors):
        validated(APPROVED, DECLINED | {"applicant": 1})


def test_every_column_has_a_description() -> None:
    assert all(Scores.descriptions().values())


def test_scores_from_before_families_stay_readable_beside_newer_ones(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    types = column_types(Scores)
    older = [name for name in types if "family" not in name and "log_odds" not in name]
    with duckdb.connect() as con:
        for batch, columns, rows in (
            ("2026-01", older, [APPROVED, DECLINED]),
            ("2026-02", list(types), [DECLINED | {"applicant": 3}]),
        ):
            con.register("_rows", pd.DataFrame(rows, columns=columns))
            typed = ", ".join(f"CAST({name} AS {types[name]}) AS {name}" for name in columns)
            lake.replace(con, f"SELECT {typed} FROM _rows", "book/scores", batch, Provenance())
        old = con.sql(lake.query("book/scores", ["2026-01"])).df()
        both = con.sql(f"SELECT {', '.join(types)} FROM ({lake.query('book/scores')}) ORDER BY applicant").df()
    assert old["reason_1"].dropna().tolist() == ["debt in relation to income"]
    assert both["reason_family_1"].fillna("").tolist() == ["", "", "debts"]
    assert len(Scores.validate(both, lazy=True)) == 3

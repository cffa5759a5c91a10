"""Reasons are the applicant's own largest contributions, one per family, worded for the actual value, and never made
up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.explanations.reasons import (
    LEAST_FAVOURABLE,
    RAISED,
    Factors,
    adverse_action_reasons,
    check_descriptions,
)
from credit_assets.explanations.texts import History, ReasonTexts

FEATURES = ["late", "debt", "income", "refusals", "enquiries"]
DESCRIPTIONS = {
    "late": "payments made late in the last year",
    "debt": "debt in relation to income",
    "income": "income",
    "refusals": "earlier applications refused",
    "enquiries": "recent credit enquiries",
}
ALONE = {feature: feature for feature in FEATURES}
NO_LOAN = "no earlier loan from us"


def texts(families: dict[str, str] | None = None, **more: Any) -> ReasonTexts:
    return ReasonTexts(DESCRIPTIONS, ALONE | (families or {}), **more)


def reasons(
    *rows: list[float], of: ReasonTexts | None = None, frame: pd.DataFrame | None = None, **more: Any
) -> pd.DataFrame:
    """The reasons of applicants with these contributions; their values are known unless given."""
    frame = pd.DataFrame(1.0, index=range(len(rows)), columns=FEATURES) if frame is None else frame
    return adverse_action_reasons(np.array(rows), FEATURES, frame, of or texts(), **more)


def nonempty(found: pd.DataFrame, what: str, row: int = 0) -> list[Any]:
    """The non-empty entries of reason_1 to reason_4, or of their features, families or log-odds."""
    values = [found.loc[row, f"{what}_{rank}"] for rank in (1, 2, 3, 4) if f"{what}_{rank}" in found]
    return [value for value in values if pd.notna(value)]


def test_largest_contributions_come_first_and_protective_features_are_omitted() -> None:
    found = reasons([0.2, 0.9, -1.5, 0.4, 0.0])
    assert found.loc[0, ["reason_1", "reason_2", "reason_3", "reason_4"]].tolist() == [
        "debt in relation to income",
        "earlier applications refused",
        "payments made late in the last year",
        None,
    ]
    assert found.loc[0, "reason_feature_1"] == "debt"
    assert found.loc[0, "reason_feature_4"] is None and found.loc[0, "reason_family_4"] is None
    assert nonempty(found, "reason_log_odds") == [0.9, 0.4, 0.2] and math.isnan(found.loc[0, "reason_log_odds_4"])
    assert found.loc[0, "reason_basis"] == RAISED


def test_at_most_four_reasons_are_given() -> None:
    assert nonempty(reasons([5, 4, 3, 2, 1]), "reason_feature") == ["late", "debt", "income", "refusals"]
    assert nonempty(reasons([5, 4, 3, 2, 1], max_reasons=2), "reason_feature") == ["late", "debt"]
    with pytest.raises(ValueError, match="between 1 and 4"):
        reasons([5, 4, 3, 2, 1], max_reasons=5)


def test_equal_contributions_keep_the_order_of_the_features() -> None:
    assert nonempty(reasons([0.1, 0.3, 0.3, 0.1, 0.3]), "reason_feature") == ["debt", "income", "enquiries", "late"]


def test_family_counts_by_its_sum_and_is_represented_by_its_strongest_member() -> None:
    found = reasons([0.3, 0.5, 0.1, 0.25, -1.0], of=texts({"late": "past", "refusals": "past"}))
    assert nonempty(found, "reason_family") == ["past", "debt", "income"]
    assert nonempty(found, "reason_feature") == ["late", "debt", "income"]
    assert nonempty(found, "reason_log_odds") == [0.55, 0.5, 0.1]


def test_family_that_lowers_the_pd_is_no_reason_even_if_a_member_raises_it() -> None:
    found = reasons([0.6, 0.1, 0.0, -0.7, 0.0], of=texts({"late": "past", "refusals": "past"}))
    assert nonempty(found, "reason_feature") == ["debt"]
    # and one that raises it is represented by the member that raised it, not by the largest in absolute value
    found = reasons([0.4, 0.5, 0.3, -0.6, 0.0], of=texts({"late": "past", "income": "past", "refusals": "past"}))
    assert nonempty(found, "reason_feature") == ["debt", "late"]
    np.testing.assert_allclose(nonempty(found, "reason_log_odds"), [0.5, 0.1])


def test_least_protective_feature_is_given_and_marked_if_nothing_raised_the_pd() -> None:
    found = reasons([-0.5, -0.1, 0.0, -0.2, -0.9])
    assert found.loc[0, "reason_feature_1"] == "debt"
    assert found.loc[0, "reason_feature_2"] is None
    assert found.loc[0, "reason_log_odds_1"] == -0.1
    assert found.loc[0, "reason_basis"] == LEAST_FAVOURABLE
    # for families, the one whose sum is closest to zero
    found = reasons([-0.05, -0.1, -0.3, -0.2, -0.9], of=texts({"late": "past", "refusals": "past", "debt": "debts"}))
    assert (found.loc[0, "reason_family_1"], found.loc[0, "reason_family_2"]) == ("debts", None)


def test_missing_value_is_reported_with_its_own_or_the_default_message() -> None:
    frame = pd.DataFrame([[np.nan, np.nan, 1, 1, 1], [1, np.nan, np.nan, 1, 1]], columns=FEATURES)
    own = texts(missing={"debt": "no debts stated"})
    found = reasons([0.5, 0.4, 0.3, 0, 0], [0.5, 0.4, 0.3, 0, 0], of=own, frame=frame)
    assert nonempty(found, "reason", 0) == [
        "payments made late in the last year: not known",
        "no debts stated",
        "income",
    ]
    assert nonempty(found, "reason", 1) == [
        "payments made late in the last year",
        "no debts stated",
        "income: not known",
    ]
    assert nonempty(found, "reason_feature", 0) == nonempty(found, "reason_feature", 1)


def test_missing_member_represents_a_family_if_it_is_the_strongest() -> None:
    frame = pd.DataFrame([[np.nan, 1, 1, 1, 1]], columns=FEATURES)
    family = texts({"late": "past", "refusals": "past"})
    assert nonempty(reasons([0.5, 0, 0, 0.1, 0], of=family, frame=frame), "reason") == [
        "payments made late in the last year: not known"
    ]
    assert nonempty(reasons([0.1, 0, 0, 0.5, 0], of=family, frame=frame), "reason") == ["earlier applications refused"]


def test_category_unknown_to_the_model_is_reported_as_not_recognised() -> None:
    frame = pd.DataFrame([["a", 1, 1, 1, 1], [None, 1, 1, 1, 1]], columns=FEATURES)
    found = reasons([1, 0, 0, 0, 0], [1, 0, 0, 0, 0], frame=frame, unseen={"late": np.array([True, False])})
    assert found["reason_1"].tolist() == [
        "payments made late in the last year: not recognised",
        "payments made late in the last year: not known",
    ]


def test_applicant_without_rows_in_a_history_gets_that_as_one_reason() -> None:
    history = {"loans": History(NO_LOAN, ("late", "refusals", "loans"))}
    frame = pd.DataFrame(
        # The last applicant has a row, as the number of loans shows, which the model does not use.
        [[np.nan, 1, 1, np.nan, 1, np.nan], [2, 1, 1, np.nan, 1, np.nan], [np.nan, 1, 1, np.nan, 1, 0]],
        columns=[*FEATURES, "loans"],
    )
    row = [0.3, 0.45, 0.1, 0.2, 0]
    found = reasons(row, row, row, of=texts(histories=history), frame=frame)
    assert nonempty(found, "reason", 0) == [NO_LOAN, "debt in relation to income", "income"]
    assert nonempty(found, "reason_family", 0)[0] == f"missing: {NO_LOAN}"
    assert nonempty(found, "reason_feature", 0)[0] == "late"
    np.testing.assert_allclose(nonempty(found, "reason_log_odds", 0), [0.5, 0.45, 0.1])
    assert nonempty(found, "reason", 1) == [
        "debt in relation to income",
        "payments made late in the last year",
        "earlier applications refused: none on record",
        "income",
    ]
    assert nonempty(found, "reason", 2)[1] == "payments made late in the last year: none on record"


def test_history_absent_from_the_frame_gives_no_reason() -> None:
    history = {"loans": History(NO_LOAN, ("loans",))}
    assert nonempty(reasons([1, 0, 0, 0, 0], of=texts(histories=history)), "reason") == [DESCRIPTIONS["late"]]


def test_message_shared_by_two_histories_or_families_is_given_once() -> None:
    frame = pd.DataFrame([[np.nan, np.nan, 1, np.nan, np.nan]], columns=FEATURES)
    histories = {"loans": History(NO_LOAN, ("late",)), "cards": History(NO_LOAN, ("refusals",))}
    found = reasons([0.1, 0.2, 0.3, 0.4, 0.25], of=texts(histories=histories), frame=frame)
    assert nonempty(found, "reason")[0] == NO_LOAN and nonempty(found, "reason_log_odds")[0] == 0.5
    assert nonempty(found, "reason").count(NO_LOAN) == 1

    missing = {"debt": "no credit report", "enquiries": "No credit report", "late": "no credit report"}
    found = reasons([0.1, 0.2, 0.3, 0.4, 0.25], of=texts({"late": "debt"}, missing=missing), frame=frame)
    assert nonempty(found, "reason") == ["no credit report", "earlier applications refused: not known", "income"]
    assert math.isclose(nonempty(found, "reason_log_odds")[0], 0.55)


def test_decline_without_any_reason_is_an_error() -> None:
    with pytest.raises(ValueError, match="PD of 1 declined applicants"):
        reasons([1.0, 0, 0, 0, 0], [0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="1 applicants' contributions are not finite"):
        reasons([1.0, np.nan, 0, 0, 0])
    with pytest.raises(ValueError, match="for 2 applicants, 5 features"):
        adverse_action_reasons(np.ones((2, 4)), FEATURES, pd.DataFrame(1.0, index=range(2), columns=FEATURES), texts())


def test_features_without_a_description_are_named() -> None:
    with pytest.raises(ValueError, match="2 of 5 features have no description: debt, enquiries"):
        check_descriptions(FEATURES, DESCRIPTIONS | {"debt": " "} | {"enquiries": ""})
    with pytest.raises(ValueError, match="1 of 1 features have no description: novel"):
        adverse_action_reasons(np.ones((1, 1)), ["novel"], pd.DataFrame({"novel": [1]}), texts())


def test_no_declined_applicants_give_an_empty_table_with_the_same_columns() -> None:
    found = adverse_action_reasons(np.empty((0, 5)), FEATURES, pd.DataFrame(columns=FEATURES), texts())
    assert len(found) == 0
    assert list(found.columns) == list(reasons([1, 1, 1, 1, 1]).columns)


TENTHS = st.integers(-3, 3).map(lambda tenth: tenth / 8)
ROWS = st.lists(
    st.tuples(st.lists(TENTHS, min_size=5, max_size=5), st.lists(st.booleans(), min_size=5, max_size=5)),
    min_size=1,
    max_size=8,
)
FAMILIES = st.fixed_dictionaries({feature: st.sampled_from(["f", "g", feature]) for feature in FEATURES})
MISSING = st.dictionaries(st.sampled_from(FEATURES), st.sampled_from(["not stated", NO_LOAN]))


def factors_by_hand(row: list[float], gone: list[bool], texts_used: ReasonTexts) -> dict[str, list[int]]:
    """Factor to the positions of its features, in the order used for equal sums."""
    found: dict[str, list[int]] = {texts_used.families[feature]: [] for feature in FEATURES}
    history = texts_used.histories["loans"].features
    no_row = all(gone[FEATURES.index(feature)] for feature in history)
    for place, feature in enumerate(FEATURES):
        message = texts_used.missing.get(feature) if gone[place] else None
        others = {
            texts_used.families[other] for other in FEATURES if message and texts_used.missing.get(other) == message
        }
        if no_row and feature in history:
            found.setdefault(f"missing: {NO_LOAN}", []).append(place)
        elif message and (len(others) > 1 or message == NO_LOAN):
            found.setdefault(f"missing: {message}", []).append(place)
        else:
            found[texts_used.families[feature]].append(place)
    return found


@given(ROWS, FAMILIES, MISSING)
def test_reasons_equal_a_plain_count_per_row(rows, families, missing) -> None:
    texts_used = texts(families, missing=missing, histories={"loans": History(NO_LOAN, ("late", "refusals"))})
    # Sums of zero give no reason.
    by_hand = [factors_by_hand(row, gone, texts_used) for row, gone in rows]
    sums = [
        {name: sum(row[place] for place in places) for name, places in found.items()}
        for (row, _), found in zip(rows, by_hand, strict=True)
    ]
    kept = [number for number, found in enumerate(sums) if any(found.values())]
    frame = pd.DataFrame([[None if gone else 1.0 for gone in rows[number][1]] for number in kept], columns=FEATURES)
    found = adverse_action_reasons(
        np.array([rows[number][0] for number in kept]).reshape(-1, 5), FEATURES, frame, texts_used
    ).to_dict("records")
    for number, reason in zip(kept, found, strict=True):
        (row, gone), factors = rows[number], sums[number]
        raised = {name: value for name, value in factors.items() if value > 0}
        if not raised:
            assert factors[reason["reason_family_1"]] == max(value for value in factors.values() if value)
            assert reason["reason_basis"] == LEAST_FAVOURABLE and reason["reason_2"] is None
            continue
        given_ = [reason[f"reason_family_{rank}"] for rank in (1, 2, 3, 4) if reason[f"reason_family_{rank}"]]
        assert [factors[name] for name in given_] == sorted(raised.values(), reverse=True)[:4]
        said_to_applicant = [reason[f"reason_{rank}"] for rank in range(1, len(given_) + 1)]
        assert len(set(said_to_applicant)) == len(given_) == len(set(given_))
        for rank, name in enumerate(given_, start=1):
            strongest = max(by_hand[number][name], key=lambda place: row[place])
            feature = reason[f"reason_feature_{rank}"]
            assert row[FEATURES.index(feature)] == row[strongest] > 0
            expected = texts_used.missing_text(feature) if gone[FEATURES.index(feature)] else DESCRIPTIONS[feature]
            assert reason[f"reason_{rank}"] == (name.removeprefix("missing: ") if ":" in name else expected)


@given(ROWS, FAMILIES, MISSING)
def test_factors_distribute_all_contributions(rows, families, missing) -> None:
    texts_used = texts(families, missing=missing, histories={"loans": History(NO_LOAN, ("late", "refusals"))})
    frame = pd.DataFrame([[None if gone else 1.0 for gone in of] for _, of in rows], columns=FEATURES)
    contributions = np.array([row for row, _ in rows])
    factors = Factors.find(frame, FEATURES, texts_used, frame.isna().to_numpy())
    # Eighths add up without rounding.
    np.testing.assert_array_equal(factors.sums(contributions).sum(axis=1), contributions.sum(axis=1))

"""Reasons are the applicant's own largest pushes, one a family, said of a value as it is, and never made up."""

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
    """The reasons of applicants with these contributions, whose values are all known if not given."""
    frame = pd.DataFrame(1.0, index=range(len(rows)), columns=FEATURES) if frame is None else frame
    return adverse_action_reasons(np.array(rows), FEATURES, frame, of or texts(), **more)


def given_in(found: pd.DataFrame, what: str, row: int = 0) -> list[Any]:
    """What is not empty of reason_1 to reason_4, or of their features, families or log-odds."""
    values = [found.loc[row, f"{what}_{rank}"] for rank in (1, 2, 3, 4) if f"{what}_{rank}" in found]
    return [value for value in values if pd.notna(value)]


def test_the_largest_pushes_come_first_and_protective_features_not_at_all() -> None:
    found = reasons([0.2, 0.9, -1.5, 0.4, 0.0])
    assert found.loc[0, ["reason_1", "reason_2", "reason_3", "reason_4"]].tolist() == [
        "debt in relation to income",
        "earlier applications refused",
        "payments made late in the last year",
        None,
    ]
    assert found.loc[0, "reason_feature_1"] == "debt"
    assert found.loc[0, "reason_feature_4"] is None and found.loc[0, "reason_family_4"] is None
    assert given_in(found, "reason_log_odds") == [0.9, 0.4, 0.2] and math.isnan(found.loc[0, "reason_log_odds_4"])
    assert found.loc[0, "reason_basis"] == RAISED


def test_no_more_than_four() -> None:
    assert given_in(reasons([5, 4, 3, 2, 1]), "reason_feature") == ["late", "debt", "income", "refusals"]
    assert given_in(reasons([5, 4, 3, 2, 1], max_reasons=2), "reason_feature") == ["late", "debt"]
    with pytest.raises(ValueError, match="between 1 and 4"):
        reasons([5, 4, 3, 2, 1], max_reasons=5)


def test_equal_pushes_keep_the_order_of_the_features() -> None:
    assert given_in(reasons([0.1, 0.3, 0.3, 0.1, 0.3]), "reason_feature") == ["debt", "income", "enquiries", "late"]


def test_a_family_gives_one_reason_of_its_strongest_member_and_counts_by_its_sum() -> None:
    found = reasons([0.3, 0.5, 0.1, 0.25, -1.0], of=texts({"late": "past", "refusals": "past"}))
    assert given_in(found, "reason_family") == ["past", "debt", "income"]
    assert given_in(found, "reason_feature") == ["late", "debt", "income"]
    assert given_in(found, "reason_log_odds") == [0.55, 0.5, 0.1]


def test_a_family_that_lowered_the_pd_in_all_is_no_reason_even_where_one_member_raised_it() -> None:
    found = reasons([0.6, 0.1, 0.0, -0.7, 0.0], of=texts({"late": "past", "refusals": "past"}))
    assert given_in(found, "reason_feature") == ["debt"]
    # and one that raised it in all is spoken for by the member that raised it, not by the largest in size
    found = reasons([0.4, 0.5, 0.3, -0.6, 0.0], of=texts({"late": "past", "income": "past", "refusals": "past"}))
    assert given_in(found, "reason_feature") == ["debt", "late"]
    np.testing.assert_allclose(given_in(found, "reason_log_odds"), [0.5, 0.1])


def test_where_nothing_pushed_up_the_least_protective_is_given_and_said_to_be() -> None:
    found = reasons([-0.5, -0.1, 0.0, -0.2, -0.9])
    assert found.loc[0, "reason_feature_1"] == "debt"
    assert found.loc[0, "reason_feature_2"] is None
    assert found.loc[0, "reason_log_odds_1"] == -0.1
    assert found.loc[0, "reason_basis"] == LEAST_FAVOURABLE
    # of families, the one whose sum is least below zero
    found = reasons([-0.05, -0.1, -0.3, -0.2, -0.9], of=texts({"late": "past", "refusals": "past", "debt": "debts"}))
    assert (found.loc[0, "reason_family_1"], found.loc[0, "reason_family_2"]) == ("debts", None)


def test_a_missing_value_is_said_to_be_missing_in_its_own_message_or_by_default() -> None:
    frame = pd.DataFrame([[np.nan, np.nan, 1, 1, 1], [1, np.nan, np.nan, 1, 1]], columns=FEATURES)
    own = texts(missing={"debt": "no debts stated"})
    found = reasons([0.5, 0.4, 0.3, 0, 0], [0.5, 0.4, 0.3, 0, 0], of=own, frame=frame)
    assert given_in(found, "reason", 0) == [
        "payments made late in the last year: not known",
        "no debts stated",
        "income",
    ]
    assert given_in(found, "reason", 1) == [
        "payments made late in the last year",
        "no debts stated",
        "income: not known",
    ]
    assert given_in(found, "reason_feature", 0) == given_in(found, "reason_feature", 1)


def test_of_a_family_the_missing_member_speaks_where_it_is_the_strongest() -> None:
    frame = pd.DataFrame([[np.nan, 1, 1, 1, 1]], columns=FEATURES)
    family = texts({"late": "past", "refusals": "past"})
    assert given_in(reasons([0.5, 0, 0, 0.1, 0], of=family, frame=frame), "reason") == [
        "payments made late in the last year: not known"
    ]
    assert given_in(reasons([0.1, 0, 0, 0.5, 0], of=family, frame=frame), "reason") == ["earlier applications refused"]


def test_a_word_that_the_model_has_not_learned_is_not_recognised() -> None:
    frame = pd.DataFrame([["a", 1, 1, 1, 1], [None, 1, 1, 1, 1]], columns=FEATURES)
    found = reasons([1, 0, 0, 0, 0], [1, 0, 0, 0, 0], frame=frame, unseen={"late": np.array([True, False])})
    assert found["reason_1"].tolist() == [
        "payments made late in the last year: not recognised",
        "payments made late in the last year: not known",
    ]


def test_who_has_no_row_in_a_history_is_given_that_as_one_reason() -> None:
    history = {"loans": History(NO_LOAN, ("late", "refusals", "loans"))}
    frame = pd.DataFrame(
        # The last has a row, as its number of loans shows, which the model does not use.
        [[np.nan, 1, 1, np.nan, 1, np.nan], [2, 1, 1, np.nan, 1, np.nan], [np.nan, 1, 1, np.nan, 1, 0]],
        columns=[*FEATURES, "loans"],
    )
    row = [0.3, 0.45, 0.1, 0.2, 0]
    found = reasons(row, row, row, of=texts(histories=history), frame=frame)
    assert given_in(found, "reason", 0) == [NO_LOAN, "debt in relation to income", "income"]
    assert given_in(found, "reason_family", 0)[0] == f"missing: {NO_LOAN}"
    assert given_in(found, "reason_feature", 0)[0] == "late"
    np.testing.assert_allclose(given_in(found, "reason_log_odds", 0), [0.5, 0.45, 0.1])
    assert given_in(found, "reason", 1) == [
        "debt in relation to income",
        "payments made late in the last year",
        "earlier applications refused: none on record",
        "income",
    ]
    assert given_in(found, "reason", 2)[1] == "payments made late in the last year: none on record"


def test_a_history_of_which_the_frame_has_nothing_says_nothing() -> None:
    history = {"loans": History(NO_LOAN, ("loans",))}
    assert given_in(reasons([1, 0, 0, 0, 0], of=texts(histories=history)), "reason") == [DESCRIPTIONS["late"]]


def test_one_message_of_two_histories_or_families_is_given_once() -> None:
    frame = pd.DataFrame([[np.nan, np.nan, 1, np.nan, np.nan]], columns=FEATURES)
    histories = {"loans": History(NO_LOAN, ("late",)), "cards": History(NO_LOAN, ("refusals",))}
    found = reasons([0.1, 0.2, 0.3, 0.4, 0.25], of=texts(histories=histories), frame=frame)
    assert given_in(found, "reason")[0] == NO_LOAN and given_in(found, "reason_log_odds")[0] == 0.5
    assert given_in(found, "reason").count(NO_LOAN) == 1

    missing = {"debt": "no credit report", "enquiries": "No credit report", "late": "no credit report"}
    found = reasons([0.1, 0.2, 0.3, 0.4, 0.25], of=texts({"late": "debt"}, missing=missing), frame=frame)
    assert given_in(found, "reason") == ["no credit report", "earlier applications refused: not known", "income"]
    assert math.isclose(given_in(found, "reason_log_odds")[0], 0.55)


def test_a_decline_that_nothing_explains_is_an_error_and_not_a_reason() -> None:
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


def test_nobody_declined_gives_an_empty_table_of_the_same_columns() -> None:
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


def factors_by_hand(row: list[float], gone: list[bool], said: ReasonTexts) -> dict[str, list[int]]:
    """Factor to the places of its features, in the order that equal sums are given in."""
    found: dict[str, list[int]] = {said.families[feature]: [] for feature in FEATURES}
    history = said.histories["loans"].features
    no_row = all(gone[FEATURES.index(feature)] for feature in history)
    for place, feature in enumerate(FEATURES):
        message = said.missing.get(feature) if gone[place] else None
        others = {said.families[other] for other in FEATURES if message and said.missing.get(other) == message}
        if no_row and feature in history:
            found.setdefault(f"missing: {NO_LOAN}", []).append(place)
        elif message and (len(others) > 1 or message == NO_LOAN):
            found.setdefault(f"missing: {message}", []).append(place)
        else:
            found[said.families[feature]].append(place)
    return found


@given(ROWS, FAMILIES, MISSING)
def test_reasons_are_what_a_plain_count_of_each_row_gives(rows, families, missing) -> None:
    said = texts(families, missing=missing, histories={"loans": History(NO_LOAN, ("late", "refusals"))})
    # Sums that are zero leave nothing to say.
    by_hand = [factors_by_hand(row, gone, said) for row, gone in rows]
    sums = [
        {name: sum(row[place] for place in places) for name, places in found.items()}
        for (row, _), found in zip(rows, by_hand, strict=True)
    ]
    kept = [number for number, found in enumerate(sums) if any(found.values())]
    frame = pd.DataFrame([[None if gone else 1.0 for gone in rows[number][1]] for number in kept], columns=FEATURES)
    found = adverse_action_reasons(
        np.array([rows[number][0] for number in kept]).reshape(-1, 5), FEATURES, frame, said
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
            expected = said.missing_text(feature) if gone[FEATURES.index(feature)] else DESCRIPTIONS[feature]
            assert reason[f"reason_{rank}"] == (name.removeprefix("missing: ") if ":" in name else expected)


@given(ROWS, FAMILIES, MISSING)
def test_factors_share_the_contributions_out_without_a_rest(rows, families, missing) -> None:
    said = texts(families, missing=missing, histories={"loans": History(NO_LOAN, ("late", "refusals"))})
    frame = pd.DataFrame([[None if gone else 1.0 for gone in of] for _, of in rows], columns=FEATURES)
    contributions = np.array([row for row, _ in rows])
    factors = Factors.find(frame, FEATURES, said, frame.isna().to_numpy())
    # Eighths add up without rounding.
    np.testing.assert_array_equal(factors.sums(contributions).sum(axis=1), contributions.sum(axis=1))

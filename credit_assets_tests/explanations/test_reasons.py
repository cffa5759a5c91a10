"""Reasons are the applicant's own largest pushes, in words, and never made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.explanations.reasons import (
    LEAST_FAVOURABLE,
    RAISED,
    adverse_action_reasons,
    check_words,
)

FEATURES = ["late", "debt", "income", "refusals", "enquiries"]
WORDS = {
    "late": "payments made late in the last year",
    "debt": "debt in relation to income",
    "income": "income",
    "refusals": "earlier applications refused",
    "enquiries": "recent credit enquiries",
}


def features_given(row: list[float], max_reasons: int = 4) -> list[str]:
    found = adverse_action_reasons(np.array([row]), FEATURES, WORDS, max_reasons)
    columns = [f"reason_feature_{rank}" for rank in range(1, max_reasons + 1)]
    return [feature for feature in found.loc[0, columns] if feature is not None]


def test_the_largest_pushes_come_first_and_protective_features_not_at_all() -> None:
    found = adverse_action_reasons(np.array([[0.2, 0.9, -1.5, 0.4, 0.0]]), FEATURES, WORDS)
    assert found.loc[0, ["reason_1", "reason_2", "reason_3", "reason_4"]].tolist() == [
        "debt in relation to income",
        "earlier applications refused",
        "payments made late in the last year",
        None,
    ]
    assert found.loc[0, "reason_feature_1"] == "debt"
    assert found.loc[0, "reason_feature_4"] is None
    assert found.loc[0, "reason_basis"] == RAISED


def test_no_more_than_four() -> None:
    assert features_given([5, 4, 3, 2, 1]) == ["late", "debt", "income", "refusals"]
    assert features_given([5, 4, 3, 2, 1], max_reasons=2) == ["late", "debt"]
    with pytest.raises(ValueError, match="between 1 and 4"):
        features_given([5, 4, 3, 2, 1], max_reasons=5)


def test_equal_pushes_keep_the_order_of_the_features() -> None:
    assert features_given([0.1, 0.3, 0.3, 0.1, 0.3]) == ["debt", "income", "enquiries", "late"]


def test_features_that_say_the_same_are_said_once_by_the_strongest() -> None:
    words = WORDS | {"refusals": WORDS["late"]}
    found = adverse_action_reasons(np.array([[0.2, 0.1, 0.15, 0.9, -1]]), FEATURES, words)
    assert found.loc[0, ["reason_feature_1", "reason_feature_2", "reason_feature_3"]].tolist() == [
        "refusals",
        "income",
        "debt",
    ]
    assert found.loc[0, "reason_feature_4"] is None


def test_where_nothing_pushed_up_the_least_protective_is_given_and_said_to_be() -> None:
    found = adverse_action_reasons(np.array([[-0.5, -0.1, 0.0, -0.2, -0.9]]), FEATURES, WORDS)
    assert found.loc[0, "reason_feature_1"] == "debt"
    assert found.loc[0, "reason_feature_2"] is None
    assert found.loc[0, "reason_basis"] == LEAST_FAVOURABLE


def test_a_decline_that_nothing_explains_is_an_error_and_not_a_reason() -> None:
    with pytest.raises(ValueError, match="PD of 1 declined applicants"):
        adverse_action_reasons(np.array([[1.0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]), FEATURES, WORDS)
    with pytest.raises(ValueError, match="1 applicants' contributions are not finite"):
        adverse_action_reasons(np.array([[1.0, np.nan, 0, 0, 0]]), FEATURES, WORDS)
    with pytest.raises(ValueError, match="for 5 features"):
        adverse_action_reasons(np.ones((2, 4)), FEATURES, WORDS)


def test_features_without_words_are_named() -> None:
    with pytest.raises(ValueError, match="2 of 5 features have no words: debt, enquiries"):
        check_words(FEATURES, WORDS | {"debt": " "} | {"enquiries": ""})
    with pytest.raises(ValueError, match="1 of 1 features have no words: novel"):
        adverse_action_reasons(np.ones((1, 1)), ["novel"], WORDS)


def test_nobody_declined_gives_an_empty_table_of_the_same_columns() -> None:
    found = adverse_action_reasons(np.empty((0, 5)), FEATURES, WORDS)
    assert len(found) == 0
    assert list(found.columns) == list(adverse_action_reasons(np.ones((1, 5)), FEATURES, WORDS).columns)


@given(
    st.lists(
        st.lists(st.integers(-3, 3).map(lambda tenth: tenth / 10), min_size=5, max_size=5).filter(any),
        min_size=1,
        max_size=8,
    )
)
def test_each_applicants_reasons_are_a_plain_sort_of_their_own_row(rows: list[list[float]]) -> None:
    found = adverse_action_reasons(np.array(rows), FEATURES, WORDS)
    for given_, row in zip(found.to_dict("records"), rows, strict=True):
        pushes = sorted((-value, place) for place, value in enumerate(row) if value > 0)[:4]
        expected = [FEATURES[place] for _, place in pushes]
        chosen = [given_[f"reason_feature_{rank}"] for rank in (1, 2, 3, 4)]
        if expected:
            assert chosen == expected + [None] * (4 - len(expected))
        else:
            assert row[FEATURES.index(chosen[0])] == max(value for value in row if value)
        assert [given_[f"reason_{rank}"] for rank in (1, 2, 3, 4)] == [WORDS.get(name) for name in chosen]

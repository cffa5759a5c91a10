"""Protected attributes in groups: words as they are, days in bands of years."""

from __future__ import annotations

import pandas as pd
import pytest
from pydantic import ValidationError

from credit_assets.fairness.attributes import ProtectedAttribute, groups

YEAR = 365.25
GENDER = ProtectedAttribute(column="CODE_GENDER", not_judged=["XNA"])
AGE = ProtectedAttribute(column="DAYS_BIRTH", kind="days_before", bands=[25, 35])


def test_words_are_groups_and_what_is_missing_is_none():
    found = groups(pd.DataFrame({"CODE_GENDER": ["F", "M", None, "XNA"]}), {"gender": GENDER})
    assert found["gender"].tolist()[:2] == ["F", "M"]
    assert found["gender"].isna().tolist() == [False, False, True, False]


def test_days_before_the_application_are_bands_of_years():
    days = [-24.9 * YEAR, -25.1 * YEAR, -34.9 * YEAR, -35.1 * YEAR, -80 * YEAR]
    found = groups(pd.DataFrame({"DAYS_BIRTH": days}), {"age": AGE})
    assert found["age"].nunique() == 3
    assert found["age"].iloc[1] == found["age"].iloc[2] == "25-34"
    assert found["age"].iloc[3] == found["age"].iloc[4] != found["age"].iloc[0]


def test_rows_keep_their_order_and_index():
    rows = pd.DataFrame({"CODE_GENDER": ["M", "F"], "DAYS_BIRTH": [-30 * YEAR, -50 * YEAR]}, index=[7, 3])
    found = groups(rows, {"gender": GENDER, "age": AGE})
    assert found.index.tolist() == [7, 3]
    assert list(found.columns) == ["gender", "age"]
    assert found["gender"].tolist() == ["M", "F"]


@pytest.mark.parametrize("settings", [{"kind": "days_before"}, {"bands": [25]}, {"kind": "words", "bands": [25]}])
def test_bands_go_with_days_and_only_with_them(settings):
    with pytest.raises(ValidationError, match="bands"):
        ProtectedAttribute(column="DAYS_BIRTH", **settings)

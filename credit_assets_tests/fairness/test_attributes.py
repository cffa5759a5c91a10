"""Groups of protected attributes: text as it is, codes by their labels, ages and days in bands of years."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from credit_assets.fairness.attributes import groups, groups_of
from credit_assets.settings.fairness import ProtectedAttribute

YEAR = 365.25
GENDER = ProtectedAttribute(column="CODE_GENDER", not_judged=["XNA"])
AGE = ProtectedAttribute(column="DAYS_BIRTH", kind="days_before", bands=[25, 35])


def test_texts_are_groups_and_missing_values_are_missing():
    found = groups(pd.DataFrame({"CODE_GENDER": ["F", "M", None, "XNA"]}), {"gender": GENDER})
    assert found["gender"].tolist()[:2] == ["F", "M"]
    assert found["gender"].isna().tolist() == [False, False, True, False]


def test_days_before_the_application_become_bands_of_years():
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


@pytest.mark.parametrize(
    "codes", [[1, 2, 2, None], [1.0, 2.0, 2.0, float("nan")], ["1", "2", "2", None], pd.array([1, 2, 2, None], "Int8")]
)
def test_codes_are_labelled_whatever_type_the_source_uses(codes):
    sex = ProtectedAttribute.model_validate({"column": "SEX", "words": {1: "male", 2: "female"}})
    found = groups(pd.DataFrame({"SEX": codes}), {"sex": sex})["sex"]
    assert found.astype(object).where(found.notna(), None).tolist() == ["male", "female", "female", None]


def test_code_without_a_label_is_a_group_listed_after_the_others():
    education = ProtectedAttribute.model_validate(
        {"column": "EDUCATION", "words": {2: "university", 1: "graduate school"}, "not_judged": [0, 5]}
    )
    found = groups(pd.DataFrame({"EDUCATION": [1, 5, 0, 2]}), {"education": education})["education"]
    assert found.tolist() == ["graduate school", "5", "0", "university"]
    assert list(found.cat.categories) == ["university", "graduate school", "0", "5"]
    assert education.not_judged == ["0", "5"]


def test_column_of_several_attributes_is_read_once_per_attribute():
    # German credit has sex and marital status in one code.
    status = pd.DataFrame(
        {
            "status_and_sex": [
                "male : single",
                "female : divorced/separated/married",
                "male : married/widowed",
                "male : divorced/separated",
            ]
        }
    )
    sex = {
        "male : single": "male",
        "male : married/widowed": "male",
        "male : divorced/separated": "male",
        "female : divorced/separated/married": "female",
        "female : single": "female",
    }
    single = {code: "single" if code.endswith(": single") else "married or divorced" for code in sex}
    found = groups(
        status,
        {
            name: ProtectedAttribute.model_validate({"column": "status_and_sex", "words": words})
            for name, words in (("sex", sex), ("status", single))
        },
    )
    assert found["sex"].tolist() == ["male", "female", "male", "male"]
    assert found["status"].tolist() == ["single", *["married or divorced"] * 3]


def test_booleans_are_named_as_in_sql():
    foreign = ProtectedAttribute.model_validate({"column": "foreign", "words": {"true": "foreign", "false": "local"}})
    found = groups(pd.DataFrame({"foreign": [True, False]}), {"foreign": foreign})["foreign"]
    assert found.tolist() == ["foreign", "local"]


def test_ages_become_bands_of_years():
    age = ProtectedAttribute(column="AGE", kind="years", bands=[25, 35])
    found = groups(pd.DataFrame({"AGE": [24, 25, 34, 35, None]}), {"age": age})["age"]
    assert found.tolist()[:4] == ["under 25", "25-34", "25-34", "35 and over"]
    assert found.isna().tolist() == [False] * 4 + [True]


@pytest.mark.parametrize(
    "settings", [{"kind": "days_before"}, {"kind": "years"}, {"bands": [25]}, {"kind": "words", "bands": [25]}]
)
def test_bands_require_days_or_years(settings):
    with pytest.raises(ValidationError, match="bands"):
        ProtectedAttribute(column="DAYS_BIRTH", **settings)


def test_labels_are_refused_for_years():
    with pytest.raises(ValidationError, match="words are only allowed for kind: words"):
        ProtectedAttribute.model_validate({"column": "AGE", "kind": "years", "bands": [25], "words": {25: "young"}})


def test_unquoted_yaml_boolean_as_a_code_is_refused():
    with pytest.raises(ValidationError, match="quote the code"):
        ProtectedAttribute.model_validate({"column": "foreign", "words": yaml.safe_load("{yes: foreign, no: local}")})


def test_code_without_a_label_is_the_same_with_and_without_gaps() -> None:
    marriage = ProtectedAttribute(column="MARRIAGE", not_judged=[0])  # type: ignore[list-item]
    for codes in (pd.Series([0, 1, 2]), pd.Series([0, 1, None])):
        assert set(groups_of(marriage, codes).dropna()) - {"2"} == {"0", "1"}
    assert marriage.not_judged == ["0"]


def test_labelled_code_is_excluded_by_its_label() -> None:
    with pytest.raises(ValueError, match="not_judged: 0 is a code; name the group that it belongs to"):
        ProtectedAttribute(column="MARRIAGE", words={"0": "unknown"}, not_judged=["0"])

"""Segments of applicants: groups as they are, quartiles and categories of the model's training data."""

from __future__ import annotations

import duckdb
import pandas as pd

from credit_assets.monitoring.reference import Reference
from credit_assets.monitoring.segments import leading_features, segment_columns
from credit_assets.settings.drift import DriftConfig


def test_leading_features_are_the_three_most_important_that_are_present() -> None:
    importance = {"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.2, "gone": 0.9}
    assert leading_features(importance, ["a", "b", "c", "d"]) == ["b", "c", "d"]


def test_numbers_are_cut_at_the_training_quartiles_and_rare_categories_are_merged() -> None:
    learned = pd.DataFrame({"income": [*range(1, 101), None], "purpose": ["car"] * 60 + ["home"] * 40 + ["boat"]})
    with duckdb.connect() as con:
        reference = Reference.build(con.from_df(learned), ["income", "purpose"], DriftConfig(rare_category=0.05))
    values = pd.DataFrame(
        {"income": [-5, 25, 26, 75, 76, 1e9, None], "purpose": ["car", "home", "boat", "ship", None, "car", "car"]}
    )
    groups = pd.DataFrame({"age": pd.Categorical(["below 25", None, *["25 and above"] * 5])}, index=range(10, 17))
    found = segment_columns(groups, values, reference)
    assert found.index.tolist() == list(range(10, 17))
    assert found["income"].tolist() == [
        *("up to 25", "up to 25", "above 25 to 50", "above 50 to 75", "above 75", "above 75", "missing")
    ]
    other = "another value"
    assert found["purpose"].tolist() == ["car", "home", other, other, "missing", "car", "car"]
    assert found["age"].tolist() == ["below 25", None, *["25 and above"] * 5]


def test_feature_that_training_never_saw_is_one_segment() -> None:
    learned = pd.DataFrame({"income": pd.Series([None, None], dtype="float64")})
    with duckdb.connect() as con:
        reference = Reference.build(con.from_df(learned), ["income"], DriftConfig())
    found = segment_columns(pd.DataFrame(index=[0, 1]), pd.DataFrame({"income": [1.0, None]}), reference)
    assert found["income"].tolist() == ["any", "missing"]

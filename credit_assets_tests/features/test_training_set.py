"""The split: who is tested, who is learned from, and that nobody changes sides."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.features.training_set import (
    TrainingSetError,
    hash_share,
    hash_share_sql,
    known_outcomes_sql,
    split_summary,
    training_set_sql,
)
from credit_assets.settings.target import Target


def applications(batch: str, keys: range | list[int], target: list[float] | float = np.nan) -> pd.DataFrame:
    return pd.DataFrame({"SK_ID_CURR": list(keys), "batch": batch, "TARGET": target})


def split(
    frame: pd.DataFrame, outcomes: pd.DataFrame | None = None, without_features: str = "", **changes: float
) -> pd.DataFrame:
    """The training set of these applications (optionally one batch without features), with their key as the only
    feature.
    """
    knobs = {"seed": 20, "holdout_share": 0.25, "valid_share": 0.2, "window_batches": 24, "test_batches": 1} | changes
    matured_share = knobs.pop("matured_share", 0.01)
    if outcomes is None:
        outcomes = applications("2026-01", [])
    with duckdb.connect() as connection:
        connection.register("applications", frame)
        features = frame.assign(income=frame["SK_ID_CURR"] * 10.0).drop(columns="TARGET")
        connection.register("features", features[features["batch"] != without_features])
        connection.register("outcomes", outcomes)
        known = known_outcomes_sql(
            applications="applications",
            outcomes="outcomes",
            entity_key="SK_ID_CURR",
            target=Target(column="TARGET"),
            matured_share=matured_share,
        )
        connection.sql(known).create_view("known")
        sql = training_set_sql(features="features", known_outcomes="known", entity_key="SK_ID_CURR", **knobs)
        return connection.sql(sql).df()


def alternating(rows: int) -> list[float]:
    return [float(row % 2) for row in range(rows)]


def folds(training_set: pd.DataFrame) -> dict[int, str]:
    return dict(zip(training_set["SK_ID_CURR"], training_set["fold"], strict=True))


def test_newest_batch_with_outcomes_is_the_test() -> None:
    frame = pd.concat(
        [
            applications("2026-01", range(100), alternating(100)),
            applications("2026-02", range(100, 200), alternating(100)),
            applications("2026-03", range(200, 300)),
        ]
    )
    training_set = split(frame)
    by_batch = training_set.groupby("batch")["fold"].unique()
    assert list(by_batch.index) == ["2026-01", "2026-02"]
    assert set(by_batch["2026-01"]) == {"train", "valid"}
    assert set(by_batch["2026-02"]) == {"test"}
    assert list(training_set.columns) == ["SK_ID_CURR", "batch", "income", "target", "fold"]
    assert (training_set["income"] == training_set["SK_ID_CURR"] * 10).all()


def test_batch_whose_first_outcomes_are_all_good_is_not_the_test_yet() -> None:
    frame = pd.concat(
        [
            applications("2026-01", range(100), alternating(100)),
            applications("2026-02", range(100, 200), alternating(100)),
            applications("2026-03", range(200, 203), 0.0),
        ]
    )
    assert set(split(frame)["batch"]) == {"2026-01", "2026-02"}


def test_batch_with_few_known_outcomes_is_neither_learned_from_nor_tested() -> None:
    known = [1.0, 0.0, 1.0, 0.0] + [np.nan] * 6
    frame = pd.concat(
        [
            applications("2026-01", range(100), alternating(100)),
            applications("2026-02", range(100, 200), alternating(100)),
            applications("2026-03", range(200, 210), known),
        ]
    )
    assert set(split(frame, matured_share=0.5)["batch"]) == {"2026-01", "2026-02"}
    assert set(split(frame, matured_share=0.4)["batch"]) == {"2026-01", "2026-02", "2026-03"}


def test_outcomes_of_both_tables_count_towards_maturity() -> None:
    frame = pd.concat(
        [applications("a", range(50), alternating(50)), applications("b", range(60, 64), [1, np.nan, np.nan, np.nan])]
    )
    outcomes = pd.DataFrame({"SK_ID_CURR": [61], "batch": "b", "TARGET": [0]})
    assert set(split(frame, matured_share=0.5)["batch"]) == {"a"}
    assert set(split(frame, outcomes, matured_share=0.5)["batch"]) == {"a", "b"}


def test_training_window_ends_with_the_newest_matured_batches() -> None:
    frame = pd.concat(
        [applications(f"2026-0{n}", range(n * 100, n * 100 + 100), alternating(100)) for n in range(1, 6)]
    )
    training_set = split(frame, window_batches=3)
    assert sorted(training_set["batch"].unique()) == ["2026-03", "2026-04", "2026-05"]
    assert set(training_set.loc[training_set["batch"] == "2026-05", "fold"]) == {"test"}
    alone = split(frame, window_batches=1)
    assert set(alone["batch"]) == {"2026-05"}
    assert set(alone["fold"]) == {"train", "valid", "test"}


def quarters(count: int, rows: int = 40) -> list[pd.DataFrame]:
    return [applications(f"q{n:02}", range(n * 100, n * 100 + rows), alternating(rows)) for n in range(count)]


def batches_of_the_test(training_set: pd.DataFrame) -> list[str]:
    by_batch = training_set.groupby("batch")["fold"].agg(lambda folds: set(folds) == {"test"})
    assert set(training_set.loc[training_set["batch"].isin(by_batch.index[~by_batch]), "fold"]) <= {"train", "valid"}
    return list(by_batch.index[by_batch])


def test_several_newest_batches_may_be_the_test() -> None:
    frame = pd.concat([*quarters(6), applications("q99", range(9900, 9910))])
    assert batches_of_the_test(split(frame, test_batches=2)) == ["q04", "q05"]
    assert batches_of_the_test(split(frame, test_batches=2, window_batches=4)) == ["q04", "q05"]
    assert set(split(frame, test_batches=2, window_batches=4)["batch"]) == {"q02", "q03", "q04", "q05"}


@pytest.mark.parametrize(("batches", "newest"), [(2, 1), (3, 1), (5, 2), (9, 4)])
def test_young_book_tests_on_at_most_half_of_its_batches(batches: int, newest: int) -> None:
    training_set = split(pd.concat(quarters(batches)), test_batches=4)
    assert batches_of_the_test(training_set) == [f"q{n:02}" for n in range(batches - newest, batches)]


def test_single_class_batch_is_tested_between_tested_ones_and_learned_from_before_them() -> None:
    parts = quarters(6)
    parts[2], parts[4] = (part.assign(TARGET=0.0) for part in (parts[2], parts[4]))
    training_set = split(pd.concat(parts), test_batches=2)
    assert batches_of_the_test(training_set) == ["q03", "q04", "q05"]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), min_size=12, max_size=80, unique=True),
    st.integers(1, 3),
)
def test_nobody_in_the_test_is_learned_from_and_the_test_is_newer_than_the_training_part(
    rows: list[tuple[int, int]], test_batches: int
) -> None:
    frame = pd.DataFrame(
        {
            "SK_ID_CURR": [key for key, _ in rows],
            "batch": [f"q{batch}" for _, batch in rows],
            "TARGET": [float((key + batch) % 3 == 0) for key, batch in rows],
        }
    )
    training_set = split(frame, test_batches=test_batches)
    test = training_set["fold"] == "test"
    assert not set(training_set.loc[test, "SK_ID_CURR"]) & set(training_set.loc[~test, "SK_ID_CURR"])
    if training_set["batch"].nunique() > 1 and test.any() and not test.all():
        assert training_set.loc[test, "batch"].min() > training_set.loc[~test, "batch"].max()


def test_batch_without_features_is_not_the_newest() -> None:
    frame = pd.concat(
        [applications(f"2026-0{n}", range(n * 100, n * 100 + 100), alternating(100)) for n in range(1, 4)]
    )
    training_set = split(frame, without_features="2026-03")
    assert set(training_set.loc[training_set["fold"] == "test", "batch"]) == {"2026-02"}


def test_later_outcome_overrides_the_one_of_the_application() -> None:
    frame = pd.concat([applications("a", range(50), alternating(50)), applications("b", [60, 61, 62], [0, 1, np.nan])])
    outcomes = pd.DataFrame({"SK_ID_CURR": [61, 62], "batch": "b", "TARGET": [0, 1]})
    target = split(frame, outcomes).set_index("SK_ID_CURR")["target"]
    assert target[[60, 61, 62]].tolist() == [0, 0, 1]


def test_single_batch_is_held_out_by_applicant_with_similar_default_rates() -> None:
    target = [float(row % 12 == 0) for row in range(6000)]
    training_set = split(applications("2026-01", range(6000), target))
    shares = training_set["fold"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.25, abs=0.02)
    assert shares["valid"] == pytest.approx(0.75 * 0.2, abs=0.02)
    rates = training_set.groupby("fold")["target"].mean()
    assert rates.max() - rates.min() < 0.02


def test_later_rows_and_batches_move_nobody_between_train_and_valid() -> None:
    first = applications("2026-01", range(500), alternating(500))
    more = applications("2026-01", range(500, 700), alternating(200))
    test = applications("2026-02", range(1000, 1100), alternating(100))
    newer = applications("2026-03", range(2000, 2100), alternating(100))
    before = folds(split(pd.concat([first, test])))
    after = folds(split(pd.concat([newer, more, test, first])))
    assert all(after[key] == before[key] for key in range(500))
    assert folds(split(first))[7] == folds(split(pd.concat([first, more])))[7]


def test_applicant_in_the_test_is_not_learned_from() -> None:
    frame = pd.concat(
        [applications("a", range(100), alternating(100)), applications("b", range(90, 120), alternating(30))]
    )
    training_set = split(frame)
    assert not training_set["SK_ID_CURR"].duplicated().any()
    assert set(training_set.loc[training_set["SK_ID_CURR"] >= 90, "fold"]) == {"test"}


def test_another_seed_gives_another_split() -> None:
    frame = applications("a", range(200), alternating(200))
    assert folds(split(frame)) != folds(split(frame, seed=21))


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.integers(0, 2**62) | st.integers(100_000, 460_000), min_size=1, max_size=20))
def test_hash_is_the_same_in_sql_and_numpy(keys: list[int]) -> None:
    frame = pd.DataFrame({"key": keys})
    with duckdb.connect() as connection:
        connection.register("frame", frame)
        shares = connection.sql(f"SELECT {hash_share_sql('key', '20:valid')} AS share FROM frame").df()["share"]
    assert shares.tolist() == hash_share(frame["key"].to_numpy(), "20:valid").tolist()


def test_hash_of_a_text_key_is_the_same_in_sql_and_numpy() -> None:
    shares = duckdb.sql(f"SELECT {hash_share_sql('key', '1')} FROM (VALUES ('LC-17'), ('ä')) t(key)").fetchall()
    assert [share for (share,) in shares] == hash_share(np.array(["LC-17", "ä"]), "1").tolist()


def test_summary_counts_rows_and_defaults() -> None:
    frame = pd.DataFrame(
        {
            "fold": ["train", "train", "train", "valid", "valid", "test", "test"],
            "batch": ["a", "a", "b", "a", "a", "c", "c"],
            "target": [1, 0, 0, 1, 0, 1, 0],
        }
    )
    summary = split_summary(frame).set_index(["fold", "batch"])
    assert summary.loc[("train", "a")].tolist() == [2, 1, 0.5]
    assert summary["rows"].sum() == 7


def test_fold_without_defaults_is_named() -> None:
    frame = pd.DataFrame({"fold": ["train", "train", "valid", "test", "test"], "batch": "a", "target": [1, 0, 0, 1, 0]})
    with pytest.raises(TrainingSetError, match=r"valid fold .* 0 defaults among 1 row "):
        split_summary(frame)

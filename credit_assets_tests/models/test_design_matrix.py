"""The input of a model: order, codes, gaps, folds, and errors that contain no value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.features.training_set import TrainingSetError
from credit_assets.models.design_matrix import MAX_CATEGORIES, DesignMatrix, encode, fold_table, is_text
from credit_assets.settings.training import TrainingConfig
from credit_assets_tests.models.conftest import FEATURES


def small() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "SK_ID_CURR": [3, 1, 2],
            "batch": ["b", "b", "a"],
            "word": ["x", "only in test", None],
            "number": [1.5, np.inf, np.nan],
            "flag": pd.Series([True, None, False], dtype=object),
            "target": [1, 0, 0],
            "fold": ["train", "test", "valid"],
        }
    )


def test_rows_are_sorted_by_batch_and_key_and_text_is_coded_from_the_training_part() -> None:
    design = DesignMatrix.of(small(), ["word", "number", "flag"], "SK_ID_CURR")
    assert design.keys.tolist() == [2, 1, 3]
    assert design.categories == {"word": ("x",)}
    assert design.target.tolist() == [0, 0, 1]
    assert design.training.tolist() == [True, False, True]
    np.testing.assert_array_equal(design.values, [[np.nan, np.nan, 0], [np.nan, np.nan, np.nan], [0, 1.5, 1]])


def test_matrix_does_not_depend_on_row_order(training_set: pd.DataFrame, design: DesignMatrix) -> None:
    shuffled = DesignMatrix.of(training_set.sample(frac=1, random_state=1), FEATURES, "SK_ID_CURR")
    np.testing.assert_array_equal(shuffled.values, design.values)
    np.testing.assert_array_equal(shuffled.fold, design.fold)


def test_folds_partition_the_training_rows_and_hold_no_test_row(design: DesignMatrix) -> None:
    pairs = design.validation(TrainingConfig(cv_folds=4)).pairs
    held_out = np.sum([rows for _, rows in pairs], axis=0)
    assert len(pairs) == 4
    np.testing.assert_array_equal(held_out, design.training.astype(int))
    for learned, rows in pairs:
        np.testing.assert_array_equal(learned | rows, design.training)
        assert not (learned & rows).any()


def test_large_training_part_is_held_out_from_once(design: DesignMatrix) -> None:
    [(learned, held_out)] = design.validation(TrainingConfig(cv_below_rows=100, cv_below_defaults=100)).pairs
    assert set(design.fold[learned]) == {"train"}
    assert set(design.fold[held_out]) == {"valid"}


def test_few_defaults_are_cross_validated_whatever_the_number_of_rows(design: DesignMatrix) -> None:
    defaults = int(design.target[design.training].sum())
    many_rows = TrainingConfig(cv_below_rows=100, cv_below_defaults=defaults)
    assert len(design.validation(many_rows).pairs) == 1
    assert len(design.validation(many_rows.model_copy(update={"cv_below_defaults": defaults + 1})).pairs) >= 5


def test_fold_without_defaults_is_refused(training_set: pd.DataFrame) -> None:
    few = training_set.assign(target=(np.arange(len(training_set)) == 0).astype(np.int8))
    with pytest.raises(TrainingSetError, match="0 defaults among"):
        DesignMatrix.of(few, FEATURES, "SK_ID_CURR").validation(TrainingConfig())


def vintages(sizes: dict[str, int], again: int = 0) -> DesignMatrix:
    """Batches of these sizes, the last one the test; the first `again` applicants of each batch return in the next."""
    frames, first = [], 0
    for batch, rows in sizes.items():
        keys = np.arange(first, first + rows)
        frames.append(pd.DataFrame({"SK_ID_CURR": keys, "batch": batch, "number": keys * 1.0}))
        first += rows - again
    frame = pd.concat(frames, ignore_index=True)
    frame["target"] = (frame.index % 4 == 0).astype(np.int8)
    frame["fold"] = np.where(frame["batch"] == list(sizes)[-1], "test", "train")
    return DesignMatrix.of(frame, ["number"], "SK_ID_CURR")


BY_BATCHES = TrainingConfig(cv="batches", cv_folds=3)


def test_expanding_window_holds_out_later_batches_in_blocks_of_similar_size() -> None:
    design = vintages({"07Q2": 8, "07Q3": 90, "07Q4": 200, "08Q1": 100, "08Q2": 60, "08Q3": 50, "08Q4": 90, "09Q1": 9})
    validation = design.validation(BY_BATCHES)
    table = fold_table(design, validation)
    assert validation.by == "batches"
    assert table["learned_from"].tolist() == ["07Q2 to 07Q4", "07Q2 to 08Q1", "07Q2 to 08Q3"]
    assert table["held_out"].tolist() == ["08Q1", "08Q2 to 08Q3", "08Q4"]
    assert table["learned_from_rows"].tolist() == [298, 398, 508]
    assert table["held_out_rows"].tolist() == [100, 110, 90]


def test_huge_batch_leaves_a_block_for_each_fold() -> None:
    table = fold_table(design := vintages({"a": 900, "b": 8, "c": 8, "d": 8, "e": 8}), design.validation(BY_BATCHES))
    assert table["held_out"].tolist() == ["b", "c", "d"]


def test_too_few_batches_are_split_by_applicant_with_a_message() -> None:
    design = vintages({"a": 60, "b": 60, "c": 60, "d": 60})
    validation = design.validation(BY_BATCHES)
    assert validation.by == "applicants, since 3 batches are too few for 3 folds of later ones"
    for pair, other in zip(validation.pairs, design.validation(TrainingConfig(cv_folds=3)).pairs, strict=True):
        np.testing.assert_array_equal(pair, other)


@pytest.mark.parametrize(
    ("rows", "defaults", "features", "folds"),
    [
        (2000, 300, 1, 10),
        (2000, 35, 1, 3),
        (9000, 1200, 1, 5),
        (9000, 3000, 1, 3),
        (2000, 300, 600, 3),
    ],
)
def test_number_of_folds_grows_with_few_defaults_and_few_features(
    rows: int, defaults: int, features: int, folds: int
) -> None:
    frame = pd.DataFrame({"id": np.arange(rows), "batch": "a", "fold": "train"}).assign(
        target=(np.random.default_rng(1).permutation(rows) < defaults).astype(np.int8),
        **dict.fromkeys((f"x{number}" for number in range(features)), np.float32(1)),
    )
    design = DesignMatrix.of(frame, [f"x{number}" for number in range(features)], "id")
    assert len(design.validation(TrainingConfig()).pairs) == folds
    assert len(design.validation(TrainingConfig(cv_folds=4)).pairs) == 4


def test_text_feature_with_many_categories_is_encoded_unless_configured_as_category() -> None:
    words = np.array([f"employer {number}" for number in range(MAX_CATEGORIES + 1)], dtype=object)
    frame = pd.DataFrame({"id": np.arange(210), "batch": "a", "fold": "train", "employer": np.tile(words, 10)}).assign(
        few=np.tile(words[:-1], 11)[:210], target=(np.arange(210) % 3 == 0).astype(np.int8)
    )
    design = DesignMatrix.of(frame, ["employer", "few"], "id")
    assert design.encodings == {"employer": "target"} and set(design.native) == {"few"}
    named = DesignMatrix.of(frame, ["employer", "few"], "id", {"employer": "category", "few": "frequency"})
    assert named.encodings == {"few": "frequency"} and set(named.native) == {"employer"}


def test_held_out_applicant_is_not_learned_from_in_an_earlier_batch() -> None:
    design = vintages(dict.fromkeys("abcdefg", 40), again=7)
    for learned, held_out in design.validation(BY_BATCHES).pairs:
        assert not set(design.keys[learned]) & set(design.keys[held_out])
        assert design.batch[learned].max() < design.batch[held_out].min()
        # Only returning applicants are missing.
        assert (design.batch < design.batch[held_out].min()).sum() - learned.sum() == 7


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(8, 60), min_size=6, max_size=12), st.integers(2, 4))
def test_no_batch_is_evaluated_by_a_model_of_later_ones_and_each_row_at_most_once(sizes: list[int], folds: int) -> None:
    design = vintages({f"b{place:02}": rows for place, rows in enumerate(sizes)})
    pairs = design.validation(TrainingConfig(cv="batches", cv_folds=folds)).pairs
    held_out = np.sum([rows for _, rows in pairs], axis=0)
    assert len(pairs) == folds
    assert held_out.max() == 1
    assert not held_out[~design.training].any()
    for learned, rows in pairs:
        assert design.batch[learned].max() < design.batch[rows].min()
    # All but the first block, which is only learned from.
    np.testing.assert_array_equal(held_out.astype(bool), design.training & ~pairs[0][0])


def test_missing_features_are_named() -> None:
    with pytest.raises(ValueError, match="1 of 2 features are absent: debt"):
        encode(small(), ["number", "debt"], {})


def test_text_in_a_number_is_an_error_that_does_not_show_it() -> None:
    frame = pd.DataFrame({"income": [1.0, "Jane Doe"]})
    with pytest.raises(ValueError, match="feature income is not a number") as error:
        encode(frame, ["income"], {})
    assert "Jane" not in str(error.value)
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pd.Series(["a", None]), True),
        (pd.Series([None, None], dtype=object), True),
        (pd.Series(["a"], dtype="category"), True),
        (pd.Series([True, None], dtype=object), False),
        (pd.Series([1, None], dtype="Int64"), False),
        (pd.Series([np.nan, np.nan]), False),
    ],
)
def test_text_is_distinguished_from_numbers(column: pd.Series, text: bool) -> None:
    assert is_text(column) is text

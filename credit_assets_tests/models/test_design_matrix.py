"""What a model sees: order, codes, gaps, folds, and errors without a value in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from credit_assets.features.training_set import TrainingSetError
from credit_assets.models.config import TrainingConfig
from credit_assets.models.design_matrix import DesignMatrix, encode, is_text
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


def test_rows_are_sorted_by_batch_and_key_and_words_become_codes_of_the_training_part() -> None:
    design = DesignMatrix.of(small(), ["word", "number", "flag"], "SK_ID_CURR")
    assert design.keys.tolist() == [2, 1, 3]
    assert design.categories == {"word": ("x",)}
    assert design.target.tolist() == [0, 0, 1]
    assert design.training.tolist() == [True, False, True]
    np.testing.assert_array_equal(design.values, [[np.nan, np.nan, 0], [np.nan, np.nan, np.nan], [0, 1.5, 1]])


def test_the_matrix_does_not_depend_on_the_order_of_rows(training_set: pd.DataFrame, design: DesignMatrix) -> None:
    shuffled = DesignMatrix.of(training_set.sample(frac=1, random_state=1), FEATURES, "SK_ID_CURR")
    np.testing.assert_array_equal(shuffled.values, design.values)
    np.testing.assert_array_equal(shuffled.fold, design.fold)


def test_folds_part_the_training_rows_and_never_hold_a_test_row(design: DesignMatrix) -> None:
    pairs = design.validation_pairs(TrainingConfig(cv_folds=4))
    held_out = np.sum([rows for _, rows in pairs], axis=0)
    assert len(pairs) == 4
    np.testing.assert_array_equal(held_out, design.training.astype(int))
    for learned, rows in pairs:
        np.testing.assert_array_equal(learned | rows, design.training)
        assert not (learned & rows).any()


def test_a_large_training_part_is_held_out_from_once(design: DesignMatrix) -> None:
    [(learned, held_out)] = design.validation_pairs(TrainingConfig(cv_below_rows=100))
    assert set(design.fold[learned]) == {"train"}
    assert set(design.fold[held_out]) == {"valid"}


def test_a_fold_without_defaults_is_refused(training_set: pd.DataFrame) -> None:
    few = training_set.assign(target=(np.arange(len(training_set)) == 0).astype(np.int8))
    with pytest.raises(TrainingSetError, match="0 defaults among"):
        DesignMatrix.of(few, FEATURES, "SK_ID_CURR").validation_pairs(TrainingConfig())


def test_absent_features_are_named() -> None:
    with pytest.raises(ValueError, match="1 of 2 features are absent: debt"):
        encode(small(), ["number", "debt"], {})


def test_a_word_in_a_number_is_an_error_that_does_not_show_the_word() -> None:
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
def test_words_are_told_from_numbers(column: pd.Series, text: bool) -> None:
    assert is_text(column) is text

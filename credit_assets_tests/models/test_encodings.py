"""Text encoded as numbers: the formula by hand, and that no row is encoded by its own outcome."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.features.training_set import hash_share
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.encodings import Coded, Encoding


def coded(words: list[str | None], target: list[int]) -> Coded:
    codes, known = pd.factorize(pd.Series(words), sort=True)
    return Coded(codes, list(known), np.array(target), np.arange(len(words)))


def test_frequency_encoding_is_the_share_of_the_rows() -> None:
    encoding, learned = coded(["a", "b", "a", None], [0, 1, 0, 1]).fit("frequency")
    assert (encoding.numbers, encoding.other) == ({"a": 0.5, "b": 0.25}, 0.0)
    np.testing.assert_array_equal(learned, [0.5, 0.25, 0.5, np.nan])


def test_target_encoding_is_the_mean_shrunk_towards_the_overall_rate() -> None:
    # a: 10 of 40 bad, b: 30 of 60. Within: (40 * .25 * .75 + 60 * .5 * .5) / 98 = 22.5 / 98.
    # Between: (40 * .15^2 + 60 * .1^2 - 22.5 / 98) / (100 - (40^2 + 60^2) / 100).
    words, target = ["a"] * 40 + ["b"] * 60, [1] * 10 + [0] * 30 + [1] * 30 + [0] * 30
    encoding, _ = coded(words, target).fit("target")
    within = 22.5 / 98
    k = within / ((0.9 + 0.6 - within) / 48)
    assert encoding.other == pytest.approx(0.4)
    assert encoding.numbers == pytest.approx({"a": (10 + 0.4 * k) / (40 + k), "b": (30 + 0.4 * k) / (60 + k)})


def test_categories_that_differ_only_by_chance_all_get_the_overall_rate() -> None:
    words, target = ["a", "a", "b", "b", "c", "c"] * 20, [0, 1] * 60
    encoding, learned = coded(words, target).fit("target")
    assert set(encoding.numbers.values()) == {0.5}
    assert set(learned) == {0.5}


def test_categories_that_occur_once_carry_no_information() -> None:
    encoding, learned = coded([f"street {row}" for row in range(50)], [0, 1] * 25).fit("target")
    assert set(encoding.numbers.values()) == {0.5} == set(learned)


def test_unseen_category_gets_the_overall_rate_and_a_missing_one_stays_missing() -> None:
    encoding = Encoding("target", {"a": 0.25}, 0.5)
    np.testing.assert_array_equal(encoding.of(pd.Series(["moon base", None, "a"])), [0.5, np.nan, 0.25])
    assert Encoding.from_json(json.loads(json.dumps(encoding.as_json()))) == encoding


rows = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=12, max_size=60)


def training_set(given: list[tuple[str, bool]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "SK_ID_CURR": np.arange(len(given)),
            "batch": "2026-01",
            "word": [word for word, _ in given],
            "target": np.array([bad for _, bad in given], dtype=np.int8),
            "fold": "train",
        }
    )


@settings(max_examples=50, deadline=None)
@given(rows)
def test_encoding_does_not_depend_on_held_out_outcomes_or_row_order(
    given: list[tuple[str, bool]],
) -> None:
    frame = training_set(given)
    held_out = frame.index.to_numpy() % 3 == 0
    other = frame.assign(target=np.where(held_out, 1 - frame["target"], frame["target"]).astype(np.int8))
    seen = []
    for rows in (frame, other, frame.sample(frac=1, random_state=1)):
        design = DesignMatrix.of(rows, ["word"], "SK_ID_CURR", {"word": "target"})
        learned, encodings = design.learned(~held_out)
        seen.append((learned.tolist(), design.held_out(held_out, encodings).tolist(), encodings))
    assert seen[0] == seen[1] == seen[2]


def test_training_row_is_encoded_by_the_outcomes_of_other_parts() -> None:
    generator = np.random.default_rng(2)
    words = generator.choice(["a", "b", "c"], 300)
    target = (generator.random(300) < pd.Series(words).map({"a": 0.1, "b": 0.3, "c": 0.6})).astype(int).to_numpy()
    frame = pd.DataFrame(
        {"word": words, "target": target, "part": np.floor(hash_share(np.arange(300), "encoding") * 5)}
    )
    encoding, learned = coded(list(words), list(target)).fit("target")
    rate = target.mean()
    # The encoding of a, solved for K.
    of_a = frame[frame["word"] == "a"]["target"]
    k = (of_a.sum() - len(of_a) * encoding.numbers["a"]) / (encoding.numbers["a"] - rate)
    for row in (0, 7, 299):
        others = frame[(frame["word"] == words[row]) & (frame["part"] != frame["part"][row])]["target"]
        assert learned[row] == pytest.approx((others.sum() + k * rate) / (len(others) + k), rel=1e-4)

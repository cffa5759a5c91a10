"""The guard refuses each kind of leak by name, and passes honest features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from credit_assets.features.guard import LeakageError, check_inputs
from credit_assets.statistics.column_auc import single_feature_auc

ROWS = 2000
TARGET = np.arange(ROWS) % 10 == 3


def checked(columns: dict[str, Any], roots: dict[str, list[str]] | None = None, limit: float = 0.95) -> pd.Series:
    frame = pd.DataFrame({**columns, "target": TARGET.astype(np.int8)})
    return check_inputs(
        frame,
        target="target",
        features=list(columns),
        roots={name: [f"applications.{name.upper()}"] for name in columns} if roots is None else roots,
        target_columns={"TARGET"},
        protected={"CODE_GENDER", "DAYS_BIRTH"},
        post_decision={"RECOVERIES": "written at collection"},
        max_single_auc=limit,
    )


def noise(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=ROWS)


def test_honest_features_pass_with_their_auc() -> None:
    informative = noise() + TARGET
    aucs = checked({"noise": noise(2), "informative": informative})
    assert list(aucs.index) == ["informative", "noise"]
    assert aucs["informative"] == pytest.approx(roc_auc_score(TARGET, informative))
    assert aucs["noise"] < 0.56


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("applications.CODE_GENDER", "is made from applications.CODE_GENDER, a protected attribute"),
        ("applications.days_birth", "a protected attribute"),
        ("outcomes.TARGET", "is made from outcomes.TARGET, the outcome itself"),
        ("loans.recoveries", "known only after the decision (written at collection)"),
    ],
)
def test_feature_made_from_a_forbidden_column_is_refused(root: str, said: str) -> None:
    with pytest.raises(LeakageError) as refusal:
        checked({"ratio": noise()}, roots={"ratio": ["applications.AMT_CREDIT", root]})
    assert refusal.value.findings[0].feature == "ratio"
    assert said in str(refusal.value)


def test_forbidden_column_itself_is_refused() -> None:
    with pytest.raises(LeakageError, match="code_gender is a protected attribute"):
        checked({"code_gender": noise()})


def test_feature_of_unknown_origin_is_refused() -> None:
    with pytest.raises(LeakageError, match="mystery has unknown origins"):
        checked({"mystery": noise()}, roots={})


@pytest.mark.parametrize(
    "copy",
    [
        TARGET,
        TARGET.astype(float),
        1 - TARGET.astype(float),
        TARGET * -250.5 + 17,
        np.where(TARGET, "yes", "no"),
        np.where(TARGET, "1", "0"),
        pd.Categorical(np.where(TARGET, "bad", "good")),
        np.where(TARGET, 5.0, np.nan),
        np.where(TARGET, None, "paid"),
        np.where(np.arange(ROWS) % 3 == 0, np.nan, TARGET.astype(float)),
    ],
    ids=["bool", "float", "inverted", "scaled", "words", "digits", "category", "null", "null words", "gaps"],
)
def test_copy_of_the_target_is_refused(copy: Any) -> None:
    with pytest.raises(LeakageError, match="leak is a copy of the target") as refusal:
        checked({"fine": noise(), "leak": copy}, limit=1)
    assert [finding.feature for finding in refusal.value.findings] == ["leak"]


@pytest.mark.parametrize(
    "leak",
    [
        TARGET * 4 + noise(),
        -(TARGET * 4 + noise()),
        np.where(TARGET, 0, np.where(noise() > 0, 6, -6)) + noise(3),
        np.where(TARGET & (np.arange(ROWS) % 500 != 3), np.nan, noise()),
        np.where(TARGET, 7, np.arange(ROWS) % 5 + 5.0 + (np.arange(ROWS) % 5 > 1)),
        np.where(TARGET, "c", np.where(noise() > 0, "a", "b")),
    ],
    ids=["rank", "inverse rank", "between", "missing", "code", "words"],
)
def test_feature_that_ranks_too_well_is_refused(leak: Any) -> None:
    with pytest.raises(LeakageError, match=r"leak alone ranks the outcomes with AUC (0\.9|1\.0)"):
        checked({"leak": leak})


def test_every_refusal_is_named_at_once() -> None:
    with pytest.raises(LeakageError) as refusal:
        checked({"code_gender": noise(), "fine": noise(), "copy": TARGET.astype(float)})
    assert [finding.feature for finding in refusal.value.findings] == ["code_gender", "copy"]


def test_text_feature_with_many_categories_is_no_leak() -> None:
    identity = np.array([f"employer {row}" for row in range(ROWS)])
    towns = np.random.default_rng(5).integers(0, 400, ROWS).astype(str)
    assert checked({"identity": identity, "towns": towns}).max() < 0.6


def test_few_known_rows_that_agree_by_chance_are_no_leak() -> None:
    rare = np.full(ROWS, np.nan)
    rare[:20] = TARGET[:20]
    assert checked({"rare": rare, "never known": np.full(ROWS, np.nan)}).max() < 0.6


@given(st.lists(st.integers(-40, 40), min_size=200, max_size=300), st.randoms(use_true_random=False))
def test_rank_auc_equals_that_of_scikit_learn(values: list[int], random: Any) -> None:
    outcome = np.array([index % 3 == 0 for index in range(len(values))])
    random.shuffle(values)
    numbers = np.array(values, dtype=float)
    oracle = roc_auc_score(outcome, numbers)
    auc, _ = single_feature_auc(pd.Series(numbers), outcome)
    assert auc >= max(oracle, 1 - oracle) - 1e-12


def test_infinite_numbers_rank_highest() -> None:
    auc, _ = single_feature_auc(pd.Series(np.where(TARGET, np.inf, noise())), TARGET)
    assert auc == 1

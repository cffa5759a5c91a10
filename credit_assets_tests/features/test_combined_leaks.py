"""Leaks that only several columns together reveal, by sum, difference, product or ratio; honest books pass."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from credit_assets.features.combined_leaks import _rank_aucs, leading_pairs, reproduced_columns
from credit_assets.features.guard import LeakageError, check_inputs
from credit_assets.statistics.column_auc import single_feature_auc

ROWS = 1500


def book(seed: int, rows: int = ROWS, columns: int = 6) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Weakly predictive amounts, the outcomes, and a column that gives them away: days paid before the loan ended."""
    rng = np.random.default_rng(seed)
    bad = rng.random(rows) < 0.2
    amounts = pd.DataFrame({f"amount_{n}": np.round(rng.lognormal(9, 0.7, rows)) for n in range(columns)})
    return amounts, bad, np.where(bad, rng.integers(0, 900, rows), rng.integers(800, 2600, rows)).astype(float)


HIDING = {
    "sum": lambda leak, a: leak + a,
    "difference": lambda leak, a: a - leak,
    "product": lambda leak, a: (leak + 1) * a,
    "ratio": lambda leak, a: a / (leak + 1),
}


@pytest.mark.parametrize("how", HIDING)
@pytest.mark.parametrize("seed", range(3))
def test_leak_hidden_in_another_column_is_refused_with_both_names(how: str, seed: int) -> None:
    columns, bad, leak = book(seed)
    columns["xx"] = HIDING[how](leak, columns["amount_2"])
    assert single_feature_auc(columns["xx"], bad)[0] < 0.93
    [found] = leading_pairs(columns, bad, 0.95)
    assert set(found.features) == {"xx", "amount_2"}
    assert found.auc > 0.95


@pytest.mark.parametrize("how", HIDING)
def test_column_known_only_after_the_decision_is_found_in_the_others(how: str) -> None:
    columns, bad, leak = book(1)
    columns["xx"] = HIDING[how](leak, columns["amount_2"])
    # The product and the ratio contain the days plus one.
    hidden = pd.DataFrame({"days": leak if how in ("sum", "difference") else leak + 1})
    [found] = reproduced_columns(hidden, columns, bad)
    assert set(found.features) == {"xx", "amount_2"}
    assert (found.reproduces, found.r_squared) == ("days", pytest.approx(1))


def test_column_is_found_in_three_others_and_in_scaled_ones() -> None:
    columns, bad, leak = book(2, columns=8)
    columns["paid"] = leak + columns["amount_1"] - columns["amount_3"]
    columns["years"] = (leak + columns["amount_4"]) / 365
    hidden = pd.DataFrame({"days": leak, "per_day": columns["amount_5"] / columns["amount_6"] * columns["amount_7"]})
    days, per_day = reproduced_columns(hidden, columns, bad)
    # Two columns are enough for the days: years and an amount.
    assert set(days.features) == {"years", "amount_4"}
    assert per_day.formula in ("amount_5 * amount_7 / amount_6", "amount_7 * amount_5 / amount_6")
    [three] = reproduced_columns(hidden[["days"]], columns.drop(columns="years"), bad)
    assert set(three.features) == {"paid", "amount_1", "amount_3"}
    assert three.auc == single_feature_auc(pd.Series(leak), bad)[0]


def test_gaps_and_zeros_do_not_hide_a_leak() -> None:
    columns, bad, leak = book(3)
    columns["xx"] = leak + columns["amount_2"]
    rng = np.random.default_rng(0)
    for name in ("xx", "amount_2", "amount_4"):
        columns.loc[rng.random(ROWS) < 0.2, name] = np.nan
    columns.loc[rng.random(ROWS) < 0.3, "amount_5"] = 0.0
    [found] = reproduced_columns(pd.DataFrame({"days": leak}), columns, bad)
    assert set(found.features) == {"xx", "amount_2"}
    assert set(leading_pairs(columns, bad, 0.95)[0].features) == {"xx", "amount_2"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_honest_book_has_no_such_pair_even_with_strong_columns_and_few_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bad = rng.random(500) < 0.25
    columns = pd.DataFrame({f"f{n}": rng.normal(size=500) + 1.4 * bad for n in range(3)})
    columns = columns.assign(**{f"noise{n}": rng.normal(size=500) for n in range(40)})
    assert leading_pairs(columns, bad, 0.97) == []
    hidden = pd.DataFrame({"later": rng.normal(size=500) + 2 * bad})
    assert reproduced_columns(hidden, columns, bad) == []


def test_strong_column_does_not_implicate_its_neighbours() -> None:
    columns, bad, leak = book(4)
    columns["strong"] = leak + np.random.default_rng(1).normal(0, 500, ROWS)
    alone = single_feature_auc(columns["strong"], bad)[0]
    assert leading_pairs(columns, bad, alone - 0.01) == []


@pytest.mark.parametrize("seed", range(3))
def test_row_order_changes_nothing(seed: int) -> None:
    columns, bad, leak = book(seed, rows=5000)
    columns["xx"] = leak + columns["amount_2"]
    order = np.random.default_rng(seed).permutation(5000)
    assert leading_pairs(columns.iloc[order], bad[order], 0.95) == leading_pairs(columns, bad, 0.95)
    hidden = pd.DataFrame({"days": leak})
    [found], [again] = (
        reproduced_columns(hidden, columns, bad),
        reproduced_columns(hidden.iloc[order], columns.iloc[order], bad[order]),
    )
    assert (found.features, found.formula, found.auc) == (again.features, again.formula, again.auc)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_auc_of_a_single_column_does_not_depend_on_row_order(data: st.DataObject) -> None:
    values = data.draw(st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.5, 40.0, np.nan]), min_size=80, max_size=120))
    column, bad = np.array(values), np.arange(len(values)) % 3 == 0
    order = np.random.default_rng(data.draw(st.integers(0, 1000))).permutation(len(values))
    for kind in (column, np.array([None if np.isnan(value) else f"word {value}" for value in values], dtype=object)):
        there, back = single_feature_auc(pd.Series(kind), bad), single_feature_auc(pd.Series(kind[order]), bad[order])
        assert there == back


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=100, max_size=150))
def test_aucs_of_many_columns_equal_those_of_scikit_learn(values: list[int | None]) -> None:
    column = np.array([np.nan if value is None else value for value in values], dtype=float)
    bad = np.arange(len(values)) % 3 == 0
    known = ~np.isnan(column)
    [found] = _rank_aucs(column[:, np.newaxis], bad)
    if min(bad[known].sum(), (~bad)[known].sum()) < 30:
        assert found == 0.5
    else:
        oracle = roc_auc_score(bad[known], column[known])
        assert found == pytest.approx(max(oracle, 1 - oracle))


def test_hundreds_of_columns_are_searched_in_seconds() -> None:
    columns, bad, leak = book(5, rows=4000, columns=300)
    columns["xx"] = leak + columns["amount_2"]
    began = time.process_time()
    assert set(leading_pairs(columns, bad, 0.95)[0].features) == {"xx", "amount_2"}
    assert reproduced_columns(pd.DataFrame({"days": leak}), columns, bad)[0].reproduces == "days"
    assert time.process_time() - began < 20


def test_guard_names_the_columns_that_reproduce_a_refused_one() -> None:
    columns, bad, leak = book(6)
    columns["days_to_end"] = leak
    columns["xx"] = leak + columns["amount_2"]
    with pytest.raises(LeakageError) as refusal:
        check_inputs(
            columns.assign(target=bad.astype(np.int8)),
            target="target",
            features=list(columns),
            roots={name: [f"applications.{name.upper()}"] for name in columns},
            target_columns={"TARGET"},
            protected=set(),
            post_decision={},
            max_single_auc=0.95,
        )
    said = str(refusal.value)
    assert "days_to_end alone ranks the outcomes" in said
    assert "xx and amount_2 together are a leak: xx - amount_2 reproduces days_to_end (R squared 1.000)" in said


def test_few_rows_per_class_missing_columns_and_text_are_no_leak() -> None:
    columns, bad, leak = book(7, rows=90)
    columns["xx"] = leak + columns["amount_2"]
    assert leading_pairs(columns, bad, 0.95) == []
    words = pd.DataFrame({"town": ["a", "b"] * 45})
    assert leading_pairs(words, bad, 0.95) == []
    assert reproduced_columns(pd.DataFrame({"days": leak}), words, bad) == []
    assert reproduced_columns(words, columns, bad) == []
    assert leading_pairs(columns.iloc[:0], bad[:0], 0.95) == []

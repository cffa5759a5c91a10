"""PSI, KS and their verdicts against numbers by hand, SciPy, and properties that hold for any data."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from credit_assets.monitoring.drift import in_both_warnings, known_at_promotion, ks_noise, measure, psi_noise, psi_terms
from credit_assets.monitoring.drift_summary import (
    _share_interval,
    missing_moved,
    new_categories,
    summary,
    unusable,
    volume,
)
from credit_assets.monitoring.reference import GRID, CategorySketch, NumericSketch, Reference
from credit_assets.schemas.drift import VERDICTS, Drift
from credit_assets.settings.drift import DriftConfig

CONFIG = DriftConfig()


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def table_of(con: duckdb.DuckDBPyConnection, frame: pd.DataFrame) -> duckdb.DuckDBPyRelation:
    return con.from_arrow(pa.Table.from_pandas(frame, preserve_index=False))


def drift_of(
    con: duckdb.DuckDBPyConnection, then: pd.DataFrame, now: pd.DataFrame, config: DriftConfig = CONFIG
) -> pd.DataFrame:
    """The drift table, by feature, of a batch against a reference with the same columns and no score."""
    reference = Reference.build(table_of(con, then), list(then.columns), config)
    return measure(reference, table_of(con, now), config).set_index("feature")


def textbook_psi(then: Sequence[Any], now: Sequence[Any], bin_of: Callable[[Any], Any]) -> float:
    """PSI in plain Python over the bins of both sides; an empty bin counts as half a row, or as the other's share."""
    total = 0.0
    first, second = [bin_of(value) for value in then], [bin_of(value) for value in now]
    for name in set(first) | set(second):
        p, q = first.count(name) / len(first), second.count(name) / len(second)
        p, q = p or min(0.5 / len(first), q), q or min(0.5 / len(second), p)
        total += (p - q) * math.log(p / q)
    return total


def lender(rng: np.random.Generator, rows: int, features: int) -> pd.DataFrame:
    """Correlated features of the difficult kinds that loan data has, and a score; always of the same population."""
    risk = rng.normal(size=rows)
    columns: dict[str, object] = {"pd": 1 / (1 + np.exp(2 - risk))}
    for i in range(0, features, 6):
        own = 0.6 * risk + 0.8 * rng.normal(size=rows)
        missing = rng.random(rows) < [0.001, 0.5, 0.98, 0.9995][i // 6 % 4]
        columns |= {
            f"normal_{i}": own,
            f"amount_{i}": np.exp(2 * own),
            f"rare_count_{i}": rng.poisson(0.03, rows),
            f"mostly_zero_{i}": np.where(rng.random(rows) < 0.9, 0, np.abs(own)),
            f"missing_{i}": np.where(missing, np.nan, own),
            f"category_{i}": np.minimum(rng.zipf(1.6, rows), 70).astype(str),
        }
    return pd.DataFrame(columns)


# PSI


def test_psi_equals_an_example_by_hand() -> None:
    terms = psi_terms(np.array([50, 30, 20]), np.array([20, 30, 50]))
    assert terms == pytest.approx([0.3 * math.log(2.5), 0, 0.3 * math.log(2.5)])


def test_bin_empty_on_one_side_counts_as_half_a_row_there() -> None:
    terms = psi_terms(np.array([90, 10]), np.array([200, 0]))
    assert terms[1] == pytest.approx((0.1 - 0.0025) * math.log(0.1 / 0.0025))


def test_absence_of_a_category_too_rare_to_expect_counts_nothing() -> None:
    assert psi_terms(np.array([99_999, 1, 0]), np.array([100, 0, 0]))[1:].tolist() == [0, 0]


counts = st.lists(st.integers(0, 1000), min_size=1, max_size=12).filter(any)


@given(st.data(), counts)
def test_psi_is_never_negative_symmetric_and_zero_for_equal_shares(data: st.DataObject, first: list[int]) -> None:
    second = data.draw(st.lists(st.integers(0, 1000), min_size=len(first), max_size=len(first)).filter(any))
    a, b = np.array(first), np.array(second)
    assert (psi_terms(a, b) >= 0).all()
    assert psi_terms(a, b) == pytest.approx(psi_terms(b, a))
    assert psi_terms(a, 7 * a) == pytest.approx(0, abs=1e-12)


numbers = st.one_of(
    st.none(),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0]),
    st.integers(-5, 5).map(float),
    st.floats(-9, 9),
)
words = st.one_of(st.none(), st.sampled_from("abcdefgh"))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    then=st.lists(st.tuples(numbers, words), min_size=1, max_size=50),
    now=st.lists(st.tuples(numbers, words), min_size=1, max_size=50),
    order=st.randoms(use_true_random=False),
)
def test_any_batch_has_a_valid_drift_table_that_ignores_row_order(
    con: duckdb.DuckDBPyConnection,
    then: list[tuple[float | None, str | None]],
    now: list[tuple[float | None, str | None]],
    order: random.Random,
) -> None:
    def table(rows: list[tuple[float | None, str | None]]) -> duckdb.DuckDBPyRelation:
        values, labels = zip(*rows, strict=True)
        return con.from_arrow(pa.table({"x": pa.array(values, pa.float64()), "word": pa.array(labels, pa.string())}))

    reference = Reference.build(table(then), ["x", "word"], CONFIG)
    drift = measure(reference, table(now), CONFIG)
    Drift.validate(drift)
    shuffled = now.copy()
    order.shuffle(shuffled)
    pd.testing.assert_frame_equal(drift, measure(reference, table(shuffled), CONFIG))
    same = measure(reference, table(then), CONFIG)
    assert (same["psi"] == 0).all() and not same["ks"].gt(0).any()
    assert (same["verdict"] == "stable").all()


@pytest.mark.parametrize("now", [[0.0, -0.0, -1.0, 1.0], [-0.0, 0.0, 1.0, -1.0], [-0.0] * 4])
@pytest.mark.parametrize("then", [[0.0, -0.0, 0.0], [-0.0, 0.0, -0.0]])
def test_negative_zero_is_zero_in_sketches_and_messages(
    con: duckdb.DuckDBPyConnection, then: list[float], now: list[float]
) -> None:
    sketch = Reference.build(table_of(con, pd.DataFrame({"x": then})), ["x"], CONFIG).sketches["x"]
    assert isinstance(sketch, NumericSketch)
    assert not np.signbit([*sketch.cuts, *sketch.grid]).any()
    change = drift_of(con, pd.DataFrame({"x": then}), pd.DataFrame({"x": now})).loc["x", "change"]
    assert change.startswith("median 0 -> 0; ")
    # A reference saved by an earlier release may contain one.
    old = dataclasses.replace(sketch, cuts=-0.0 * sketch.cuts, grid=-0.0 * sketch.grid)
    assert old.bin_names() == ["up to 0", "above 0", "missing"]


def test_psi_of_numbers_equals_a_plain_count_over_the_deciles(con: duckdb.DuckDBPyConnection) -> None:
    rng = np.random.default_rng(1)
    then = [None if rng.random() < 0.1 else float(x) for x in rng.normal(size=900)]
    now = [None if rng.random() < 0.2 else float(x) for x in rng.normal(0.4, 1.2, size=500)]
    present = sorted(value for value in then if value is not None)
    deciles = [present[math.ceil(len(present) * k / 10) - 1] for k in range(1, 10)]

    expected = textbook_psi(then, now, lambda x: "missing" if x is None else sum(x > cut for cut in deciles))

    drift = drift_of(con, pd.DataFrame({"x": then}), pd.DataFrame({"x": now}))
    assert drift.loc["x", "psi"] == pytest.approx(expected)


def test_psi_of_categories_merges_rare_and_separates_unseen_ones(con: duckdb.DuckDBPyConnection) -> None:
    then = ["cash"] * 700 + ["revolving"] * 285 + ["tiny"] * 5 + ["small"] * 5 + [None] * 5
    now = ["cash"] * 50 + ["revolving"] * 30 + ["small"] * 5 + ["new"] * 10 + ["newer"] * 3 + [None] * 2
    bins = {"cash": 1, "revolving": 2, "tiny": 3, "small": 3, None: 4}

    expected = textbook_psi(then, now, lambda word: bins.get(word, 5))

    row = drift_of(con, pd.DataFrame({"x": then}), pd.DataFrame({"x": now})).loc["x"]
    assert row["psi"] == pytest.approx(expected)
    assert row["new_category_share"] == pytest.approx(0.13)
    assert row["missing_batch"] == pytest.approx(0.02)
    assert math.isnan(row["ks"])


def test_tied_deciles_share_a_bin() -> None:
    values = np.array([0.0] * 85 + [1.0] * 10 + [2.0] * 5)
    with duckdb.connect() as con:
        sketch = Reference.build(table_of(con, pd.DataFrame({"x": values})), ["x"], CONFIG).sketches["x"]
    assert sketch.cuts.tolist() == [0, 1]  # type: ignore[union-attr]
    assert sketch.counts.tolist() == [85, 10, 5, 0]


def test_rarity_is_judged_by_the_share_of_all_rows() -> None:
    sketch = CategorySketch.of({"a": 970, None: 20, "b": 10, "c": 9}, rare=0.01)
    assert sketch.categories == ("a", "b", "c")
    assert sketch.kept == 1


# KS


@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("values", ["continuous", "tied"])
def test_ks_equals_scipy_within_the_grid(con: duckdb.DuckDBPyConnection, shift: float, values: str) -> None:
    rng = np.random.default_rng(3)
    then, now = rng.normal(size=5000), rng.normal(shift, 1, size=1500)
    if values == "tied":
        then, now = np.round(then), np.round(now)

    exact = stats.ks_2samp(then, now).statistic

    measured = drift_of(con, pd.DataFrame({"x": then}), pd.DataFrame({"x": now})).loc["x", "ks"]
    assert exact - 1 / GRID <= measured <= exact + 1e-12


def test_ks_ignores_missing_values(con: duckdb.DuckDBPyConnection) -> None:
    then, now = pd.DataFrame({"x": [1.0, 2.0, 3.0]}), pd.DataFrame({"x": [1.0, None, 2.0, 3.0, None]})
    assert drift_of(con, then, now).loc["x", "ks"] == 0


def test_ks_detects_a_move_within_one_bin(con: duckdb.DuckDBPyConnection) -> None:
    then, now = pd.DataFrame({"x": np.zeros(1000)}), pd.DataFrame({"x": -np.ones(1000)})
    row = drift_of(con, then, now).loc["x"]
    assert (row["psi"], row["ks"], row["verdict"]) == (0, 1, "shifted")


# Noise


def test_psi_without_drift_has_the_mean_and_tail_of_the_noise_bound() -> None:
    rng = np.random.default_rng(5)
    shares, rows_then, rows_now = np.full(10, 0.1), 4000, 1000
    psi = np.array(
        [psi_terms(rng.multinomial(rows_then, shares), rng.multinomial(rows_now, shares)).sum() for _ in range(4000)]
    )
    assert psi.mean() == pytest.approx(9 * (1 / rows_then + 1 / rows_now), rel=0.03)
    assert (psi > psi_noise(10, rows_then, rows_now, chance=0.02)).mean() == pytest.approx(0.02, abs=0.006)


def test_noise_bound_of_ks_is_smirnov_s_quantile() -> None:
    assert ks_noise(900, 400, chance=0.01) == pytest.approx(
        stats.kstwobign.isf(0.01) / math.sqrt(900 * 400 / 1300), rel=0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "batches"), [(60, 20), (500, 20), (2000, 10)])
def test_batches_without_drift_are_stable(con: duckdb.DuckDBPyConnection, rows: int, batches: int) -> None:
    rng = np.random.default_rng(7)
    then = lender(rng, 20_000, features=100)
    reference = Reference.build(table_of(con, then), list(then.columns[1:]), CONFIG, score="pd")
    for _ in range(batches):
        drift = measure(reference, table_of(con, lender(rng, rows, features=100)), CONFIG)
        assert summary(drift, CONFIG).verdict == "stable", drift.head().to_string()
        assert not unusable(drift, CONFIG)
        assert not missing_moved(drift, CONFIG) and not new_categories(drift, CONFIG)


@pytest.mark.parametrize("rows", [2000, 20_000])
def test_real_shifts_are_detected_from_two_thousand_rows(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    rng = np.random.default_rng(11)

    def batch(n: int) -> pd.DataFrame:
        filler = {f"still_{i}": rng.normal(size=n) for i in range(50)}
        moving = {
            "mean": rng.normal(size=n),
            "missing": rng.normal(size=n),
            "channel": rng.choice(["a", "b"], n),
        }
        return pd.DataFrame(moving | filler)

    now = batch(rows)
    now["mean"] += 0.3
    now.loc[rng.random(rows) < 0.2, "missing"] = None
    now.loc[rng.random(rows) < 0.1, "channel"] = "online"

    drift = drift_of(con, batch(50_000), now)

    assert drift["verdict"].to_dict() | {"mean": "moderate", "missing": "shifted", "channel": "shifted"} == (
        drift["verdict"].to_dict()
    )
    assert (drift.drop(["mean", "missing", "channel"])["verdict"] == "stable").all()
    assert drift.index[:3].tolist() == ["missing", "channel", "mean"]
    assert drift.loc["channel", "change"].startswith("never seen before, most often 'online', 0.0% -> ")
    assert drift.loc["missing", "change"].endswith(f"missing 0.0% -> {now['missing'].isna().mean():.1%}")


def test_figure_that_so_few_rows_could_show_by_chance_is_stable(con: duckdb.DuckDBPyConnection) -> None:
    then, now = pd.DataFrame({"x": np.arange(1000.0)}), pd.DataFrame({"x": [100.0, 250, 450, 900, 950, 960]})
    row = drift_of(con, then, now).loc["x"]
    assert row["psi"] > CONFIG.psi_shifted
    assert row["verdict"] == "stable"


# Verdicts on the batch


def table(verdicts: dict[str, str], score: str = "stable") -> pd.DataFrame:
    """A drift table with these verdicts of features and score."""
    rows = [{"feature": name, "role": "feature", "verdict": verdict} for name, verdict in verdicts.items()]
    rows.append({"feature": "pd", "role": "score", "verdict": score})
    same = {
        "kind": "numeric",
        "psi": 0.3,
        "psi_noise": 0.01,
        "ks": 0.2,
        "rows_reference": 900,
        "rows_batch": 500,
    }
    return pd.DataFrame(rows).assign(**same, change="median 1 -> 2", missing_reference=0.0, missing_batch=0.0)


STILL = {f"still_{i}": "stable" for i in range(19)}


@pytest.mark.parametrize(
    ("drift", "importance", "verdict"),
    [
        (table(STILL), None, "stable"),
        (table(STILL | {"x": "moderate"}), None, "stable"),
        (table(STILL | {"x": "shifted"}), None, "moderate"),
        (table(STILL | {"x": "shifted", "y": "shifted", "z": "shifted"}), None, "shifted"),
        (table(STILL | {"x": "moderate", "y": "moderate", "z": "moderate"}), None, "moderate"),
        (table(STILL | {"x": "shifted"}), {"x": 3.0, "still_0": 7.0}, "shifted"),
        (table(STILL | {"x": "moderate"}), {"x": 3.0, "still_0": 7.0}, "moderate"),
        (table(STILL | {"x": "shifted"}), {"x": 1.0, "still_0": 9.0}, "moderate"),
        (table(STILL, score="moderate"), None, "moderate"),
        (table(STILL, score="shifted"), None, "shifted"),
    ],
)
def test_batch_fails_by_its_score_its_share_of_features_or_their_importance(
    drift: pd.DataFrame, importance: dict[str, float] | None, verdict: str
) -> None:
    judged = summary(drift, CONFIG, importance)
    assert judged.verdict == verdict
    assert bool(judged.failures) == (verdict == "shifted")


def test_summary_states_each_shift_with_values_before_and_after(con: duckdb.DuckDBPyConnection) -> None:
    rng = np.random.default_rng(13)
    then = pd.DataFrame({"income": rng.normal(10, 1, 4000), "age": rng.normal(size=4000), "pd": rng.random(4000)})
    now = then.assign(income=then["income"] + 2, pd=np.sqrt(then["pd"]))
    reference = Reference.build(table_of(con, then), ["income", "age"], CONFIG, score="pd")

    judged = summary(measure(reference, table_of(con, now), CONFIG), CONFIG, {"income": 1.0, "age": 3.0})

    assert judged.shifted == 1 and judged.shifted_share == 0.5 and judged.shifted_importance == 0.25
    assert judged.score_psi is not None and judged.score_psi > 0.25 and judged.score_verdict == "shifted"
    assert "4,000 rows against 4,000" in judged.message
    assert "income (median 10.03" in judged.message and "-> 12.03" in judged.message


def test_summary_states_that_rows_are_too_few(con: duckdb.DuckDBPyConnection) -> None:
    then = pd.DataFrame({"x": np.arange(1000.0)})
    few = measure(Reference.build(table_of(con, then), ["x"], CONFIG), table_of(con, then.head(30)[::3]), CONFIG)
    assert "may be chance" in summary(few, CONFIG).message


# Shifts present at the promotion

JUNE = "2026-06, when version 2 was promoted"


def drift_row(con: duckdb.DuckDBPyConnection, learned: float, promoted: float, batch: float) -> dict[str, Any]:
    """The row of a feature whose values lay around these numbers in training, at the promotion and in the batch."""
    values = np.random.default_rng(37).normal(size=4000)
    now = table_of(con, pd.DataFrame({"income": values[:2000] + batch}))
    drift, since = (
        measure(
            Reference.build(table_of(con, pd.DataFrame({"income": values + mean})), ["income"], CONFIG), now, CONFIG
        )
        for mean in (learned, promoted)
    )
    [row] = known_at_promotion(drift, since, JUNE).to_dict("records")
    assert row["psi"] == drift["psi"].iloc[0]
    return row


@pytest.mark.parametrize(
    ("learned", "promoted", "batch", "verdict", "told"),
    [
        # As at the promotion, and slightly beyond it.
        (10, 12, 12, "stable", "; stable against 2026-06, when version 2 was promoted"),
        (10, 12, 12.4, "moderate", "; moderate against 2026-06, when version 2 was promoted"),
        # It moves on, returns beyond training, or returns to it.
        (10, 12, 14, "shifted", ""),
        (10, 12, 8, "shifted", ""),
        (10, 12, 10, "stable", ""),
        # Nothing had moved at the promotion.
        (10, 10, 12, "shifted", ""),
    ],
)
def test_shift_present_at_the_promotion_is_not_reported_but_another_is(
    con: duckdb.DuckDBPyConnection, learned: float, promoted: float, batch: float, verdict: str, told: str
) -> None:
    row = drift_row(con, learned, promoted, batch)
    assert row["verdict"] == verdict
    assert row["change"].endswith(told) and (JUNE in row["change"]) == bool(told)


@given(st.lists(st.tuples(st.sampled_from(VERDICTS), st.sampled_from(VERDICTS)), min_size=1, max_size=8))
def test_population_at_the_promotion_worsens_no_verdict_and_training_data_change_none(
    verdicts: list[tuple[str, str]],
) -> None:
    names = [f"x{place}" for place in range(len(verdicts))]
    by_size = sorted(zip(names, verdicts, strict=True), key=lambda each: -VERDICTS.index(each[1][0]))
    drift = table({name: first for name, (first, _) in by_size})
    since = table({name: second for name, (_, second) in reversed(by_size)})

    known = known_at_promotion(drift, since, JUNE)

    found = known.set_index("feature")["verdict"].map(VERDICTS.index)
    assert found.to_dict() == {"pd": 0} | {
        name: min(VERDICTS.index(first), VERDICTS.index(second)) for name, (first, second) in by_size
    }
    assert found.is_monotonic_decreasing
    pd.testing.assert_frame_equal(known_at_promotion(drift, drift, JUNE), drift)


def test_missing_values_and_new_categories_are_reported_unless_present_at_the_promotion(
    con: duckdb.DuckDBPyConnection,
) -> None:
    learned = pd.DataFrame({"debts": [1.0, 2.0] * 2500, "income": [3.0] * 5000, "channel": ["branch"] * 5000})
    promoted = learned.assign(channel=["branch", "phone"] * 2500)
    promoted.loc[:999, "debts"] = None
    now = promoted.copy()
    now.loc[:999, "income"] = None
    newer = now.assign(channel=["branch", "app"] * 2500)

    def told(batch: pd.DataFrame, warned: Callable[[pd.DataFrame, DriftConfig], dict[str, str]]) -> dict[str, str]:
        learned_, promoted_ = (drift_of(con, then, batch).reset_index() for then in (learned, promoted))
        return in_both_warnings(warned(learned_, CONFIG), warned(promoted_, CONFIG))

    assert told(now, missing_moved) == {"income": "missing 0.0% -> 20.0%"}
    assert told(now, new_categories) == {}
    assert told(newer, new_categories) == {"channel": "50.0% of the rows"}


# Unusable features


def test_feature_that_became_missing_or_constant_is_unusable_if_important(
    con: duckdb.DuckDBPyConnection,
) -> None:
    rng = np.random.default_rng(17)
    names = ["gone", "half_gone", "a_little_gone", "stuck", "minor"]
    then = pd.DataFrame({name: rng.normal(size=1000) for name in names})
    now = then.assign(gone=None, stuck=1.0, minor=None).astype(float)
    now.loc[:599, "half_gone"] = None
    now.loc[:299, "a_little_gone"] = None
    drift = drift_of(con, then, now).reset_index()

    assert unusable(drift, CONFIG, dict.fromkeys(names, 1.0) | {"minor": 0.001}) == {
        "gone": "missing 0.0% -> 100.0%",
        "half_gone": "missing 0.0% -> 60.0%",
        "stuck": "became constant",
    }
    assert "minor" in unusable(drift, CONFIG)


def test_mostly_missing_feature_that_lost_its_last_values_is_unusable(
    con: duckdb.DuckDBPyConnection,
) -> None:
    then = pd.DataFrame({"x": [1.0, 2.0] * 200 + [None] * 600})
    now = pd.DataFrame({"x": [None] * 500}, dtype=float)
    assert unusable(drift_of(con, then, now).reset_index(), CONFIG) == {"x": "all values missing"}


def test_rare_flag_that_does_not_occur_is_not_constant(con: duckdb.DuckDBPyConnection) -> None:
    then, now = pd.DataFrame({"flag": [0] * 995 + [1] * 5}), pd.DataFrame({"flag": [0] * 500})
    assert not drift_of(con, then, now).loc["flag", "became_constant"]


# Warnings


def test_missing_share_that_moved_either_way_is_reported_with_both_values(con: duckdb.DuckDBPyConnection) -> None:
    rng = np.random.default_rng(29)
    then = pd.DataFrame({name: rng.normal(size=5000) for name in ("rose", "fell", "steady", "a_little")})
    then.loc[:2499, "fell"] = None
    now = then.sample(2000, random_state=1).reset_index(drop=True)
    now.loc[:399, "rose"] = None
    now["fell"] = now["fell"].fillna(0.0)
    now.loc[:99, "a_little"] = None

    moved = missing_moved(drift_of(con, then, now).reset_index(), CONFIG)

    assert moved == {"rose": "missing 0.0% -> 20.0%", "fell": "missing 50.0% -> 0.0%"}


@pytest.mark.parametrize(("missing", "told"), [(1, False), (5, True)])
def test_few_missing_values_in_few_rows_are_reported_only_beyond_chance(
    con: duckdb.DuckDBPyConnection, missing: int, told: bool
) -> None:
    then = pd.DataFrame({"x": [None] * 10 + [1.0, 2.0] * 2495})
    now = pd.DataFrame({"x": [None] * missing + [1.0] * (6 - missing)})
    assert bool(missing_moved(drift_of(con, then, now).reset_index(), CONFIG)) == told


def test_new_categories_are_reported_beyond_a_share_of_the_rows(con: duckdb.DuckDBPyConnection) -> None:
    then = pd.DataFrame({"channel": ["branch"] * 3000 + ["online"] * 2000, "kind": ["cash"] * 5000})
    now = pd.DataFrame(
        {"channel": ["branch"] * 960 + ["phone"] * 30 + ["app"] * 10, "kind": ["cash"] * 995 + ["x"] * 5}
    )
    assert new_categories(drift_of(con, then, now).reset_index(), CONFIG) == {"channel": "4.0% of the rows"}


def test_unseen_values_of_a_column_of_rare_categories_are_no_new_categories(con: duckdb.DuckDBPyConnection) -> None:
    rng = np.random.default_rng(31)
    then, now = (pd.DataFrame({"employer": rng.zipf(1.3, rows).astype(str)}) for rows in (20_000, 2000))
    drift = drift_of(con, then, now)
    assert drift.loc["employer", "new_category_share"] > CONFIG.new_categories
    assert not new_categories(drift.reset_index(), CONFIG)


def test_one_new_category_in_few_rows_is_not_reported(con: duckdb.DuckDBPyConnection) -> None:
    then = pd.DataFrame({"x": ["a", "b"] * 500})
    few, many = (pd.DataFrame({"x": ["a"] * (20 - new) + ["c"] * new}) for new in (1, 8))
    assert not new_categories(drift_of(con, then, few).reset_index(), CONFIG)
    assert new_categories(drift_of(con, then, many).reset_index(), CONFIG)


@pytest.mark.parametrize(
    ("rows", "earlier", "as_usual"),
    [
        (5000, [4800, 5100, 5000], True),
        (2501, [5000, 5000, 5000], True),
        (2499, [5000, 5000, 5000], False),
        (10_001, [5000, 5000, 5000], False),
        # One unusual earlier batch does not change what is usual.
        (5000, [5000, 5000, 5000, 50], True),
        # Batches that vary fourfold anyway.
        (12_000, [1000, 4000, 16_000, 2000, 8000], True),
    ],
)
def test_volume_is_usual_within_a_ratio_to_the_median_or_the_usual_variation(
    rows: int, earlier: list[int], as_usual: bool
) -> None:
    judged = volume(rows, earlier, CONFIG)
    assert judged.passed == as_usual
    assert judged.figures == {"applicants": rows, "ratio": pytest.approx(rows / np.exp(np.median(np.log(earlier))))}


def test_two_earlier_batches_define_no_usual_volume() -> None:
    judged = volume(1, [5000, 5000], CONFIG)
    assert judged.passed and judged.message.startswith("No verdict")


# Reference


@pytest.mark.parametrize("batch", [None, "2026-06"])
def test_saved_reference_measures_the_same(con: duckdb.DuckDBPyConnection, tmp_path: Path, batch: str | None) -> None:
    rng = np.random.default_rng(19)
    then, now = lender(rng, 1500, features=12), lender(rng, 700, features=12)
    then["empty"], now["empty"] = None, 1.0
    features = [name for name in then.columns if name != "pd"]
    reference = Reference.build(table_of(con, then.astype({"empty": float})), features, CONFIG, score="pd")
    reference = dataclasses.replace(reference, batch=batch)

    reference.save(tmp_path / "reference.parquet")
    loaded = Reference.load(tmp_path / "reference.parquet")

    assert (loaded.score, loaded.features, loaded.batch) == ("pd", features, batch)
    pd.testing.assert_frame_equal(
        measure(loaded, table_of(con, now), CONFIG), measure(reference, table_of(con, now), CONFIG)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["reference.parquet"]


def test_other_file_is_not_accepted_as_a_reference(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="not a drift reference"):
        Reference.load(tmp_path / "other.parquet")


def test_scores_may_come_from_other_rows_than_the_features(con: duckdb.DuckDBPyConnection) -> None:
    training, holdout = pd.DataFrame({"x": np.arange(100.0)}), pd.DataFrame({"pd": np.linspace(0, 1, 40)})
    reference = Reference.build(table_of(con, training), ["x"], CONFIG, score="pd", scores=table_of(con, holdout))
    drift = measure(reference, table_of(con, training.assign(pd=0.5)), CONFIG).set_index("feature")
    assert drift["rows_reference"].to_dict() == {"x": 100, "pd": 40}
    assert drift["role"].to_dict() == {"x": "feature", "pd": "score"}


def test_features_can_be_measured_before_there_are_scores(con: duckdb.DuckDBPyConnection) -> None:
    then = pd.DataFrame({"x": np.arange(100.0), "pd": np.linspace(0, 1, 100)})
    reference = Reference.build(table_of(con, then), ["x"], CONFIG, score="pd")
    drift = measure(reference, table_of(con, then[["x"]]), CONFIG, columns=reference.features)
    assert drift["feature"].tolist() == ["x"]
    assert summary(drift, CONFIG).score_psi is None


def test_every_number_type_and_enums_are_measured(con: duckdb.DuckDBPyConnection) -> None:
    rows = con.sql(
        """select i % 2 = 0 as flag, i::tinyint as tiny, i::hugeint as huge, (i / 3)::decimal(18, 3) as money,
        (case when i % 2 = 0 then 'yes' else 'no' end)::enum('yes', 'no') as answer from range(100) t(i)"""
    )
    drift = measure(Reference.build(rows, rows.columns, CONFIG), rows, CONFIG).set_index("feature")
    assert drift["kind"].to_dict() == dict.fromkeys(rows.columns, "numeric") | {"answer": "categorical"}
    assert (drift["psi"] == 0).all()


def test_unsupported_columns_are_named(con: duckdb.DuckDBPyConnection) -> None:
    rows = con.sql("select 1.5 as x, 'a' as word, date '2026-01-01' as day")
    reference = Reference.build(rows, ["x", "word"], CONFIG)
    with pytest.raises(ValueError, match=r"day \(DATE\)"):
        Reference.build(rows, ["day"], CONFIG)
    with pytest.raises(ValueError, match=r"The rows have no column y\."):
        Reference.build(rows, ["y"], CONFIG)
    with pytest.raises(ValueError, match="no column word"):
        measure(reference, con.sql("select 1.5 as x"), CONFIG)
    with pytest.raises(ValueError, match="the reverse: x"):
        measure(reference, con.sql("select '1.5' as x, 'a' as word"), CONFIG)
    with pytest.raises(ValueError, match="without rows"):
        measure(reference, rows.filter("x > 2"), CONFIG)
    with pytest.raises(ValueError, match="drift reference does not contain y"):
        measure(reference, rows, CONFIG, columns=["y"])


def test_reading_columns_in_groups_gives_the_same_result(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(23)
    then, now = pd.DataFrame(rng.normal(size=(300, 7))), pd.DataFrame(rng.normal(0.2, 1, size=(100, 7)))
    then.columns = now.columns = [f"x {i}" for i in range(7)]
    together = drift_of(con, then, now)
    monkeypatch.setattr("credit_assets.monitoring.relation_columns.CELLS_AT_ONCE", 250)
    pd.testing.assert_frame_equal(drift_of(con, then, now), together)


def test_bounds_must_increase_and_options_must_be_known() -> None:
    with pytest.raises(ValidationError, match="must be below"):
        DriftConfig(psi_moderate=0.3)
    with pytest.raises(ValidationError, match="extra"):
        DriftConfig(psi=0.3)  # type: ignore[call-arg]


def test_halves_of_one_real_book_are_stable_and_vintages_are_not(
    con: duckdb.DuckDBPyConnection, real_data: Path
) -> None:
    features = [
        "loan_amnt",
        "int_rate",
        "installment",
        "annual_inc",
        "dti",
        "revol_bal",
        "home_ownership",
        "purpose",
    ]
    con.execute(
        f"""create temp table loans as select year(issue_d) as issued, md5(id::varchar) < '8' as half,
        {", ".join(features)} from read_csv('{real_data}/lending_club/loans_2007_2010.csv.gz')"""
    )
    loans = con.table("loans")

    halves = measure(Reference.build(loans.filter("half"), features, CONFIG), loans.filter("not half"), CONFIG)
    vintages = measure(
        Reference.build(loans.filter("issued < 2009"), features, CONFIG),
        loans.filter("issued = 2010"),
        CONFIG,
    )

    assert (halves["verdict"] == "stable").all()
    assert (vintages["verdict"] != "stable").any()


# Missing shares


def test_interval_of_a_missing_share_equals_scipy_s_exact_one() -> None:
    counts, rows = np.array([0, 1, 7, 400, 1000]), np.array([50, 1, 9, 1000, 1000])
    low, high = _share_interval(counts, rows, 0.01)
    exact = [stats.binomtest(n, of).proportion_ci(0.99, method="exact") for n, of in zip(counts, rows, strict=True)]
    np.testing.assert_allclose(low, [interval.low for interval in exact], rtol=1e-9)
    np.testing.assert_allclose(high, [interval.high for interval in exact], rtol=1e-9)

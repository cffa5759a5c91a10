"""Measured and estimated performance: against counts by hand, simulated outcomes and SciPy; and what fails."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from credit_assets.monitoring.performance import (
    enough,
    estimate,
    expected_auc,
    holds,
    measure,
    not_worse,
    performance_table,
    rows_to_evaluate,
)
from credit_assets.schemas.performance import Performance
from credit_assets.settings.performance import PerformanceConfig
from credit_assets.statistics.metrics import evaluate

CONFIG = PerformanceConfig()
FEW = PerformanceConfig(min_outcomes=4, min_defaults=2, draws=200)
NOBODY = np.array([], dtype=np.int64)


def pds_of(rng: np.random.Generator, rows: int) -> np.ndarray:
    """PDs like a scorecard's: 8% on average, and an AUC of about 0.75 if they are correct."""
    return 1 / (1 + np.exp(2.9 - rng.normal(size=rows)))


def book(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """Evidence of a model whose PDs are correct."""
    pds = pds_of(rng, rows)
    return pd.DataFrame(
        {
            "applicant": np.arange(rows),
            "pd": pds,
            "band": np.where(pds > 0.1, "C", np.where(pds > 0.04, "B", "A")),
            "outcome": (rng.random(rows) < pds).astype(float),
        }
    )


def auc_of(y: np.ndarray, pds: np.ndarray) -> float:
    return stats.mannwhitneyu(pds[y == 1], pds[y == 0]).statistic / (y.sum() * (1 - y).sum())


# Evidence


def test_evidence_excludes_training_applicants_and_prefers_later_outcomes() -> None:
    scores = pd.DataFrame({"applicant": [1, 2, 3, 4], "pd": [0.1, 0.2, 0.3, 0.4], "band": list("AABB")})
    applications = pd.DataFrame({"SK_ID_CURR": [4, 3, 2, 1], "TARGET": [None, 0, 0, 1]})
    outcomes = pd.DataFrame({"SK_ID_CURR": [3], "TARGET": [1]})

    rows = rows_to_evaluate(scores, applications, outcomes, np.array([1]))

    assert rows["applicant"].tolist() == [2, 3, 4]
    assert rows["outcome"].tolist()[:2] == [0, 1] and np.isnan(rows["outcome"][2])
    assert rows["band"].tolist() == ["A", "B", "B"]


def test_all_outcomes_are_unknown_without_any() -> None:
    scores = pd.DataFrame({"applicant": [1, 2], "pd": [0.1, 0.2], "band": ["A", "A"]})
    none = pd.DataFrame({"SK_ID_CURR": [1, 2], "TARGET": [None, None]})
    assert rows_to_evaluate(scores, none, none.head(0), NOBODY)["outcome"].isna().all()


# Estimates from the PDs


@given(st.lists(st.sampled_from([0.01, 0.1, 0.25, 0.25, 0.5, 0.9]), min_size=2, max_size=12))
def test_expected_auc_is_the_expected_share_of_ordered_pairs(pds: list[float]) -> None:
    ordered = pairs = 0.0
    for first, second in itertools.permutations(pds, 2):
        pairs += first * (1 - second)
        ordered += first * (1 - second) * (1.0 if first > second else 0.5 if first == second else 0.0)
    assert expected_auc(np.array(pds)) == pytest.approx(ordered / pairs)


def test_estimates_match_simulated_outcomes_on_average_and_cover_nearly_all() -> None:
    rng = np.random.default_rng(1)
    pds = pds_of(rng, 600)
    figures = []
    for _ in range(400):
        y = (rng.random(len(pds)) < pds).astype(int)
        figures.append(
            {
                "auc": auc_of(y, pds),
                "ks": stats.ks_2samp(pds[y == 1], pds[y == 0]).statistic,
                "brier": ((pds - y) ** 2).mean(),
                "default_rate": y.mean(),
            }
        )
    shown = pd.DataFrame(figures)

    estimated = estimate(pds, CONFIG)

    assert set(estimated) == set(shown)
    for name, figure in estimated.items():
        error = shown[name].std() / np.sqrt(len(shown))
        # KS is itself the mean of 500 draws.
        assert figure.value == pytest.approx(shown[name].mean(), abs=5 * error)
        assert shown[name].between(figure.low, figure.high).mean() == pytest.approx(0.95, abs=0.035)


def test_equal_pds_rank_nobody() -> None:
    estimated = estimate(np.full(500, 0.1), FEW)
    assert (estimated["auc"].value, estimated["auc"].low, estimated["auc"].high) == (0.5, 0.5, 0.5)
    assert estimated["ks"].value == 0


def test_single_applicant_has_an_expected_default_rate_but_no_rank() -> None:
    assert set(estimate(np.array([0.2]), FEW)) == {"brier", "default_rate"}


# Measurements


def test_measured_figures_equal_an_evaluation_with_delong_and_wilson_intervals() -> None:
    known = book(np.random.default_rng(2), 900)
    y, pds = known["outcome"].to_numpy(), known["pd"].to_numpy()

    measured = measure(known, FEW)

    whole = evaluate(y, pds, 0.5, n_bootstrap=10).metrics
    assert {name: figure.value for name, figure in measured.items() if name != "default_rate"} == pytest.approx(
        {name: whole[name].value for name in ("auc", "ks", "brier", "ece", "calibration_gap")}
    )
    wilson = stats.binomtest(int(y.sum()), len(y)).proportion_ci(0.95, method="wilson")
    rate = measured["default_rate"]
    assert (rate.value, rate.low, rate.high) == pytest.approx((y.mean(), wilson.low, wilson.high))
    assert measured["auc"].low < measured["auc"].value < measured["auc"].high


def test_table_lists_the_total_and_each_band_safest_first() -> None:
    rows = book(np.random.default_rng(3), 3000)
    rows.loc[:999, "outcome"] = np.nan

    table = performance_table(rows, 7, CONFIG)

    Performance.validate(table)
    assert set(table["basis"]) == {"outcomes"} and set(table["model_version"]) == {7}
    assert table["segment"].tolist() == ["all"] * 6 + ["A", "B", "C"]
    known = rows[rows["outcome"].notna()]
    for line in table[table["segment"] != "all"].to_dict("records"):
        own = known[known["band"] == line["segment"]]
        assert line["value"] == own["outcome"].mean()
        assert line["expected"] == own["pd"].mean()
        assert line["applicants"] == (rows["band"] == line["segment"]).sum()
        assert (line["outcomes"], line["defaults"]) == (len(own), own["outcome"].sum())
    whole = table[table["segment"] == "all"].set_index("metric")
    assert whole.loc["auc", "expected"] == expected_auc(known["pd"].to_numpy())
    assert whole.loc["default_rate", "expected"] == pytest.approx(known["pd"].mean())
    assert whole["expected"].isna().to_dict() == {name: name in ("ece", "calibration_gap") for name in whole.index}


def test_table_holds_estimates_of_all_applicants_while_outcomes_are_few() -> None:
    rows = book(np.random.default_rng(4), 3000)
    rows.loc[100:, "outcome"] = np.nan

    table = performance_table(rows, 7, CONFIG)

    Performance.validate(table)
    assert set(table["basis"]) == {"estimate"}
    assert set(table["metric"]) == {"auc", "ks", "brier", "default_rate"}
    assert (table["value"] == table["expected"]).all()
    assert table.set_index("segment").loc["A", "outcomes"] == (rows.head(100)["band"] == "A").sum()


def test_estimated_default_rate_of_a_band_has_a_binomial_interval() -> None:
    rows = book(np.random.default_rng(5), 400).assign(outcome=np.nan, pd=0.08, band="B")
    [band] = performance_table(rows, 1, FEW).query("segment == 'B'").to_dict("records")
    assert (band["low"], band["high"]) == tuple(stats.binom.ppf([0.025, 0.975], 400, 0.08) / 400)


def test_batch_that_the_model_learned_from_has_an_empty_table_and_is_not_judged() -> None:
    rows = book(np.random.default_rng(6), 10).head(0)
    Performance.validate(performance_table(rows, 1, CONFIG))
    judged = holds(rows, CONFIG)
    assert judged.passed and "learned from every applicant" in judged.message


# Verdicts


def test_correct_pds_pass() -> None:
    judged = holds(book(np.random.default_rng(7), 5000), CONFIG)
    assert judged.passed and judged.message.startswith("Performance is as expected.")
    assert judged.figures["expected_auc"] == pytest.approx(judged.figures["auc"], abs=0.03)


def test_lost_discrimination_fails() -> None:
    rows = book(np.random.default_rng(8), 5000)
    rows["outcome"] = rows["outcome"].sample(frac=1, random_state=1).to_numpy()
    judged = holds(rows, CONFIG)
    assert not judged.passed
    assert (
        "a concept change" in judged.message and "deviates significantly from the mean PD, beyond" not in judged.message
    )


@pytest.mark.parametrize("factor", [0.5, 1.6])
def test_default_rate_significantly_off_the_mean_pd_fails(factor: float) -> None:
    rng = np.random.default_rng(9)
    rows = book(rng, 8000)
    rows["outcome"] = (rng.random(len(rows)) < factor * rows["pd"]).astype(float)
    judged = holds(rows, CONFIG)
    assert not judged.passed
    assert (
        "deviates significantly from the mean PD, beyond" in judged.message and "a concept change" not in judged.message
    )


def test_gap_within_the_bound_passes_whatever_the_number_of_rows() -> None:
    rng = np.random.default_rng(10)
    rows = book(rng, 200_000)
    rows["outcome"] = (rng.random(len(rows)) < 1.08 * rows["pd"]).astype(float)
    judged = holds(rows, CONFIG)
    assert 0.004 < judged.figures["default_rate"] - judged.figures["mean_pd"] < CONFIG.max_calibration_gap
    assert judged.passed


def test_outcomes_of_approved_applicants_are_compared_with_their_own_pds() -> None:
    rows = book(np.random.default_rng(11), 20_000)
    everyone = expected_auc(rows["pd"].to_numpy())
    rows.loc[rows["pd"] > 0.08, "outcome"] = np.nan
    judged = holds(rows, CONFIG)
    assert judged.figures["auc"] < everyone - 0.05
    assert judged.passed


def test_few_outcomes_or_few_defaults_are_not_judged() -> None:
    rows = book(np.random.default_rng(12), 5000)
    wrong = rows.assign(outcome=1.0 - rows["outcome"])
    for known in (wrong.head(400), rows[rows["outcome"] == 0], rows[rows["outcome"] == 1]):
        few = wrong.assign(outcome=np.nan)
        few.loc[known.index, "outcome"] = known["outcome"]
        judged = holds(few, CONFIG)
        assert judged.passed and judged.message.startswith("No verdict")
        assert "The PDs imply an AUC of 0." in judged.message
    assert enough(rows, CONFIG)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [500, 4000])
def test_correct_pds_fail_no_more_often_than_configured(rows: int) -> None:
    strict = PerformanceConfig(auc_margin=0, max_calibration_gap=0, false_alarms=0.05)
    rng = np.random.default_rng(13)
    batches = [holds(book(rng, rows), strict) for _ in range(400)]
    judged = [batch for batch in batches if not batch.message.startswith("No verdict")]
    failed = sum(not batch.passed for batch in judged)
    # Of 400 at 0.05 or below, 34 or more would occur once in 1,000 times.
    assert len(judged) > 300 and failed < 34


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "batches"), [(2000, 200), (20_000, 60)])
def test_pds_with_the_error_of_few_training_defaults_raise_no_false_alarm(rows: int, batches: int) -> None:
    rng = np.random.default_rng(18)
    failures = 0
    for _ in range(batches):
        batch = book(rng, rows)
        odds = np.log(batch["pd"] / (1 - batch["pd"]))
        # An AUC 0.01 too high, and a default rate half a point too low.
        failures += not holds(batch.assign(pd=1 / (1 + np.exp(-(1.08 * odds + 0.08)))), CONFIG).passed
    assert failures <= batches // 100


def with_defaults_first(seed: int, goods_known: float, rows: int = 8000) -> pd.DataFrame:
    """Evidence of correct PDs when all defaults are known, and this share of the others."""
    rng = np.random.default_rng(seed)
    batch = book(rng, rows)
    unknown = (batch["outcome"] == 0) & (rng.random(rows) >= goods_known)
    return batch.assign(outcome=batch["outcome"].mask(unknown))


@pytest.mark.parametrize("goods_known", [0.05, 0.2, 0.4])
def test_early_outcomes_dominated_by_defaults_fail_neither_level_nor_bands(goods_known: float) -> None:
    rows = with_defaults_first(20, goods_known)
    judged = holds(rows, CONFIG, matured_share=0.95)
    assert judged.passed and judged.message.startswith(
        "The ranking is as expected. The default rate has no verdict yet: "
    )
    assert judged.figures["known_share"] == rows["outcome"].notna().mean() < 0.95
    assert judged.figures["matured"] == 0 and judged.figures["default_rate"] > 1.5 * judged.figures["mean_pd"]
    # Their default rate is so wrong that the same outcomes of a matured batch would fail.
    assert not holds(rows, CONFIG, matured_share=0.01).passed
    # Nor do they count together with earlier ones.
    assert holds(rows, CONFIG, book(np.random.default_rng(21), 3000), matured_share=0.95).passed


def test_lost_discrimination_fails_on_early_outcomes_too() -> None:
    rows = with_defaults_first(22, 0.3)
    rows["pd"] = rows["pd"].sample(frac=1, random_state=1).to_numpy()
    judged = holds(rows, CONFIG, matured_share=0.95)
    assert not judged.passed
    assert "a concept change" in judged.message and "The default rate has no verdict yet" in judged.message


def test_table_marks_early_outcomes() -> None:
    rows = with_defaults_first(23, 0.2)
    for share, basis in ((0.95, "early outcomes"), (0.1, "outcomes")):
        table = performance_table(rows, 7, CONFIG, share)
        Performance.validate(table)
        assert set(table["basis"]) == {basis}


# Comparison with the predecessor


def rivals(rng: np.random.Generator, rows: int, noise: float) -> tuple[pd.DataFrame, pd.Series]:
    """Evidence of correct PDs, and those PDs with noise in their log-odds."""
    known = book(rng, rows)
    odds = np.log(known["pd"] / (1 - known["pd"])) + rng.normal(0, noise, rows)
    return known, pd.Series(1 / (1 + np.exp(-odds)).to_numpy(), index=known["applicant"])


def test_champion_that_ranks_worse_than_its_predecessor_is_reported() -> None:
    known, noisy = rivals(np.random.default_rng(14), 6000, noise=1.0)
    better = known.set_index("applicant")["pd"]
    worse = known.assign(pd=known["applicant"].map(noisy))

    judged = not_worse(worse, better, CONFIG)

    assert not judged.passed and judged.message.startswith("Worse than the predecessor")
    assert judged.figures["auc_champion"] == pytest.approx(auc_of(known["outcome"].to_numpy(), better.to_numpy()))
    assert not_worse(known, noisy, CONFIG).passed


def test_predecessor_is_matched_by_applicant_not_by_order() -> None:
    known, noisy = rivals(np.random.default_rng(15), 3000, noise=1.0)
    shuffled = noisy.sample(frac=1, random_state=1)
    assert not_worse(known, shuffled, CONFIG).figures == not_worse(known, noisy, CONFIG).figures


def test_difference_within_the_margin_or_chance_is_not_worse() -> None:
    known, _ = rivals(np.random.default_rng(16), 6000, noise=0)
    pds = known.set_index("applicant")["pd"]
    assert not_worse(known, pds, CONFIG).passed
    few, noisy = rivals(np.random.default_rng(17), 600, noise=0.5)
    assert not_worse(few.assign(pd=few["applicant"].map(noisy)), few.set_index("applicant")["pd"], CONFIG).passed
    wide = PerformanceConfig(predecessor_margin=0.3)
    known, noisy = rivals(np.random.default_rng(14), 6000, noise=1.0)
    assert not_worse(known.assign(pd=known["applicant"].map(noisy)), pds, wide).passed


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        PerformanceConfig(margin=0.1)  # type: ignore[call-arg]


def test_evidence_and_expectations_do_not_depend_on_row_order():
    rng = np.random.default_rng(8)
    pds = rng.beta(1, 9, 3000)
    scores = pd.DataFrame({"applicant": np.arange(3000), "pd": pds, "band": "A"})
    told = pd.DataFrame({"ID": np.arange(3000), "BAD": (rng.random(3000) < pds).astype(float)})
    rows = rows_to_evaluate(scores, told, told.head(0), NOBODY)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(3000)
        again = rows_to_evaluate(scores.iloc[order], told.iloc[order[::-1]], told.head(0), NOBODY)
        pd.testing.assert_frame_equal(again, rows, check_exact=True)
        assert estimate(pds[order], FEW) == estimate(pds, FEW)
    for figure in estimate(pds, FEW).values():
        assert figure.low <= figure.value <= figure.high

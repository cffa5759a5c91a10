"""The audit against examples by hand, fairlearn, SciPy and published intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.evaluation.four_fifths import four_fifths
from credit_assets.fairness.audit import Audit, audit, bands_of_years, years_before
from credit_assets.schemas.evidence import FairnessGroups, FairnessVerdicts
from credit_assets.settings.fairness import FairnessConfig
from credit_assets.statistics.comparison import auc_interval

EVERY_SIZE = FairnessConfig(min_group_size=1)


def by_gender(
    gender: list[object], approved: list[int], y: list[float], config: FairnessConfig = EVERY_SIZE
) -> tuple[pd.DataFrame, pd.Series]:
    """Groups by name and the one verdict."""
    pds = np.where(np.array(approved, dtype=bool), 0.05, 0.4)
    found = audit(pd.DataFrame({"gender": gender}), np.array(approved, dtype=bool), pds, np.array(y), config)
    return found.groups.set_index("group"), found.verdicts.loc[0]


def audit_of_counts(
    groups: dict[str, tuple[int, int]], config: FairnessConfig = EVERY_SIZE
) -> tuple[pd.DataFrame, pd.Series]:
    """Groups with these numbers of approved and declined applicants, without outcomes."""
    gender = [name for name, (yes, no) in groups.items() for _ in range(yes + no)]
    approved = [int(k < yes) for yes, no in groups.values() for k in range(yes + no)]
    return by_gender(gender, approved, [np.nan] * len(gender), config)


def test_audit_equals_an_example_by_hand() -> None:
    # F: 4 of 5 approved; goods 3 of 3, bads 1 of 2. M: 2 of 4; goods 1 of 2, bads 0 of 1, one unknown.
    groups, verdict = by_gender(
        ["F", "F", "F", "F", "F", "M", "M", "M", "M"],
        [1, 1, 1, 1, 0, 1, 0, 0, 1],
        [0, 0, 0, 1, 1, 0, 0, 1, np.nan],
    )
    women, men = groups.loc["F"], groups.loc["M"]
    assert (women.applicants, women.labelled, women.defaults) == (5, 5, 2)
    assert (men.applicants, men.labelled, men.defaults) == (4, 3, 1)
    assert (women.approval_rate, men.approval_rate) == (0.8, 0.5)
    assert women.is_reference
    assert men.air == pytest.approx(0.625)
    assert (women.tpr, men.tpr, men.tpr_difference) == (1.0, 0.5, -0.5)
    assert (women.fpr, men.fpr, men.fpr_difference) == (0.5, 0.0, -0.5)
    assert men.mean_pd == pytest.approx((0.05 + 0.4 + 0.4) / 3)
    assert men.calibration_gap == pytest.approx(1 / 3 - men.mean_pd)
    assert (verdict.reference, verdict.worst_group, verdict.four_fifths) == ("F", "M", "fail")
    assert not verdict.significant


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_ratio_and_odds_equal_those_of_fairlearn(seed: int, n_groups: int) -> None:
    from fairlearn.metrics import demographic_parity_ratio, equalized_odds_difference

    rng = np.random.default_rng(seed)
    group = np.concatenate([np.repeat(list("abcd")[:n_groups], 4), rng.choice(list("abcd")[:n_groups], 60)])
    y = np.concatenate([np.tile([0, 0, 1, 1], n_groups), rng.integers(0, 2, 60)])
    approved = np.concatenate([np.tile([1, 0, 1, 0], n_groups), rng.integers(0, 2, 60)]).astype(bool)
    # No group's difference is significant here, so the worst group is the one with the lowest ratio.
    config = FairnessConfig(min_group_size=1, confidence=0.999999999)
    found = audit(pd.DataFrame({"group": group}), approved, np.full(y.size, 0.1), y, config).verdicts.loc[0]
    good = 1 - y
    assert found.air == pytest.approx(demographic_parity_ratio(good, approved, sensitive_features=group))
    assert found.equalized_odds_difference == pytest.approx(
        equalized_odds_difference(good, approved, sensitive_features=group)
    )


@pytest.mark.parametrize(
    ("men", "verdict", "significant"),
    [
        ((160, 40), "pass", False),  # 0.8 against 0.8
        ((128, 72), "pass", True),  # exactly four fifths of 0.8
        ((127, 73), "fail", True),
        ((6, 4), "fail", False),  # 0.6 with ten applicants: fails, but not beyond chance
    ],
)
def test_four_fifths_rule_passes_fails_or_lacks_data(men: tuple[int, int], verdict: str, significant: bool) -> None:
    _, found = audit_of_counts({"F": (160, 40), "M": men})
    assert (found.four_fifths, found.significant) == (verdict, significant)


def test_katz_interval_equals_a_published_example() -> None:
    # 10 of 20 against 5 of 20: a risk ratio of 2.0, ln(RR) with standard error sqrt(1/10-1/20+1/5-1/20).
    groups, _ = audit_of_counts(
        {"F": (10, 10), "M": (5, 15)}, FairnessConfig(min_group_size=1, reference={"gender": "M"})
    )
    error = np.sqrt(1 / 10 - 1 / 20 + 1 / 5 - 1 / 20)
    found = groups.loc["F"]
    assert found.air == pytest.approx(2)
    assert (found.air_low, found.air_high) == pytest.approx(
        (2 * np.exp(-1.959964 * error), 2 * np.exp(1.959964 * error))
    )


def test_intervals_and_p_values_equal_those_of_scipy() -> None:
    from scipy.stats import chi2_contingency, fisher_exact
    from scipy.stats.contingency import relative_risk

    groups, _ = audit_of_counts({"F": (160, 40), "M": (120, 60), "X": (3, 3)})
    men, few = groups.loc["M"], groups.loc["X"]
    expected = relative_risk(120, 180, 160, 200).confidence_interval(0.95)
    assert (men.air_low, men.air_high) == pytest.approx((expected.low, expected.high))
    assert men.p_value == pytest.approx(chi2_contingency([[120, 60], [160, 40]], correction=False).pvalue)
    assert few.p_value == pytest.approx(fisher_exact([[3, 3], [160, 40]]).pvalue)


def test_newcombe_interval_equals_a_published_example() -> None:
    # Newcombe 1998, table II: 56/70 against 48/80, method 10: 0.0524 to 0.3339.
    gender = ["F"] * 70 + ["M"] * 80
    approved = [1] * 56 + [0] * 14 + [1] * 48 + [0] * 32
    config = FairnessConfig(min_group_size=1, reference={"gender": "M"})
    groups, _ = by_gender(gender, approved, [0] * 150, config)
    found = groups.loc["F"]
    assert found.tpr_difference == pytest.approx(0.2)
    assert (found.tpr_difference_low, found.tpr_difference_high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_small_groups_are_shown_but_not_judged() -> None:
    groups, verdict = audit_of_counts({"F": (90, 10), "M": (85, 15), "X": (1, 9)}, FairnessConfig(min_group_size=50))
    assert groups.loc["X"].air == pytest.approx(0.1 / 0.9)
    assert not groups.loc["X"].judged
    assert (verdict.worst_group, verdict.four_fifths, verdict.groups, verdict.groups_judged) == (
        "M",
        "pass",
        3,
        2,
    )


def test_missing_values_and_excluded_groups_are_shown_but_not_judged() -> None:
    attributes = pd.DataFrame({"gender": ["F", "F", "M", "M", None, "XNA"]})
    approved = np.array([1, 1, 1, 1, 0, 0], dtype=bool)
    found = audit(attributes, approved, np.full(6, 0.1), np.full(6, np.nan), EVERY_SIZE, {"gender": ["XNA"]})
    judged = found.groups.set_index("group")["judged"]
    assert judged.to_dict() == {"F": True, "M": True, "XNA": False, "not given": False}
    assert found.verdicts.loc[0, "four_fifths"] == "pass"


@pytest.mark.parametrize(
    ("groups", "reference"),
    [
        ({"F": (9, 1)}, {}),  # no group to compare with
        ({"F": (0, 10), "M": (0, 10)}, {}),  # no approvals
        ({"F": (9, 1), "M": (5, 5)}, {"gender": "X"}),  # the reference group is absent
    ],
)
def test_audit_without_a_comparison_has_no_verdict(
    groups: dict[str, tuple[int, int]], reference: dict[str, str]
) -> None:
    _, verdict = audit_of_counts(groups, FairnessConfig(min_group_size=1, reference=reference))
    assert verdict.four_fifths == "not enough data"
    assert not verdict.significant
    assert np.isnan(verdict.air)


def test_large_group_that_surely_fails_precedes_a_small_one_that_may() -> None:
    _, verdict = audit_of_counts({"F": (900, 100), "M": (600, 400), "X": (1, 1)})
    assert (verdict.worst_group, verdict.significant) == ("M", True)


def random_applicants(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pds = rng.uniform(0.01, 0.4, n)
    y = np.where(rng.random(n) < 0.7, (rng.random(n) < pds).astype(float), np.nan)
    attributes = pd.DataFrame(
        {
            "gender": rng.choice(["F", "M"], n),
            "age": rng.choice(["young", "old"], n),
            "status": rng.choice(list("xyz"), n),
        }
    )
    return attributes, pds <= 0.3, pds, y


def audited(seed: int = 0) -> Audit:
    return audit(*random_applicants(600, seed), FairnessConfig(min_group_size=20, blocking=("gender",)))


def test_every_attribute_and_every_pair_of_attributes_is_audited() -> None:
    found = audited()
    assert found.verdicts["attribute"].tolist() == [
        "gender",
        "age",
        "status",
        "gender x age",
        "gender x status",
        "age x status",
    ]
    assert found.verdicts["on_failure"].tolist() == ["block"] + ["warn"] * 5
    sizes = found.groups.groupby("attribute")["applicants"].agg(["size", "sum"])
    assert sizes["sum"].eq(600).all()
    assert sizes.loc["gender x status", "size"] == 6
    assert found.groups["group"].isin(["F, z"]).any()


def test_auc_of_a_group_uses_its_labelled_rows_and_bounds_contain_their_figures() -> None:
    attributes, approved, pds, y = random_applicants(600, 1)
    groups = audit(attributes, approved, pds, y, EVERY_SIZE).groups
    for figure in ("approval_rate", "tpr", "fpr", "default_rate", "auc"):
        assert (groups[f"{figure}_low"] <= groups[figure]).all()
        assert (groups[figure] <= groups[f"{figure}_high"]).all()
    women = ((attributes["gender"] == "F") & ~np.isnan(y)).to_numpy()
    expected = auc_interval(y[women], pds[women])
    found = groups[(groups["attribute"] == "gender") & (groups["group"] == "F")].iloc[0]
    assert (found.auc, found.auc_low, found.auc_high) == pytest.approx((expected.value, expected.low, expected.high))


def test_applicant_order_does_not_matter() -> None:
    attributes, approved, pds, y = random_applicants(300, 2)
    order = np.random.default_rng(0).permutation(300)
    straight = audit(attributes, approved, pds, y, EVERY_SIZE)
    shuffled = audit(attributes.iloc[order], approved[order], pds[order], y[order], EVERY_SIZE)
    pd.testing.assert_frame_equal(straight.groups, shuffled.groups)
    pd.testing.assert_frame_equal(straight.verdicts, shuffled.verdicts)


def test_impossible_ages_are_missing() -> None:
    found = bands_of_years(pd.Series([-1, -0.1, 0, 120.5, 121, 999]), [25])
    assert found.astype(object).where(found.notna(), None).tolist() == [
        None,
        None,
        "under 25",
        "25 and over",
        None,
        None,
    ]


def test_ages_are_grouped_into_bands_of_years() -> None:
    found = bands_of_years(pd.Series([20, 24.9993, 25.0021, 25, 35, 70, np.nan]), [25, 35, 65])
    assert found.astype(object).where(found.notna(), None).tolist() == [
        "under 25",
        "under 25",
        "25-34",
        "25-34",
        "35-64",
        "65 and over",
        None,
    ]
    assert found.cat.ordered


def test_negative_days_are_converted_to_years() -> None:
    found = years_before(pd.Series([-7305, -9131, -9132, np.nan]))
    assert found.iloc[0] == 20
    assert found.iloc[1] < 25 < found.iloc[2]
    assert np.isnan(found.iloc[3])


def test_bands_are_listed_in_their_order() -> None:
    attributes = pd.DataFrame({"age": bands_of_years(pd.Series([30, 20, 70, 50, 22]), [25, 35, 65])})
    groups = audit(attributes, np.ones(5, dtype=bool), np.full(5, 0.1), np.zeros(5), EVERY_SIZE).groups
    assert groups["group"].tolist() == ["under 25", "25-34", "35-64", "65 and over"]


@pytest.mark.parametrize(
    ("years", "edges", "words"),
    [
        (25.0, [35, 25], "must ascend"),
        (25.0, [], "must ascend"),
    ],
)
def test_invalid_bands_are_refused(years: float, edges: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bands_of_years(pd.Series([years], name="AGE"), edges)


def test_audit_without_attributes_is_empty_and_meets_its_contracts() -> None:
    found = audit(pd.DataFrame(index=range(2)), np.array([True, False]), np.array([0.1, 0.2]), np.zeros(2), EVERY_SIZE)
    assert len(FairnessGroups.validate(found.groups)) == len(FairnessVerdicts.validate(found.verdicts)) == 0
    assert four_fifths(found.verdicts) == []


def test_invalid_input_is_refused() -> None:
    attributes = pd.DataFrame({"gender": ["F", "M"]})
    with pytest.raises(ValueError, match="2 applicants, 1 decisions"):
        audit(attributes, np.array([True]), np.array([0.1, 0.2]), np.array([0, 1]), EVERY_SIZE)
    with pytest.raises(ValueError, match="no attribute sex"):
        audit(
            attributes,
            np.array([True, True]),
            np.array([0.1, 0.2]),
            np.array([0, 1]),
            FairnessConfig(blocking=("sex",)),
        )


def decisions_of_two_models(
    seed: int, n: int, men: float, women: float, champion_men: float, champion_women: float
) -> tuple:
    """Gender, and decisions of two models that mostly agree, with these approval rates per group."""
    rng = np.random.default_rng(seed)
    gender = np.where(rng.random(n) < 0.5, "M", "F")
    luck, own = rng.random(n), rng.random(n) * 0.1
    one, other = (
        luck + noise < np.where(gender == "M", of_men, of_women)
        for noise, of_men, of_women in ((own, men, women), (0, champion_men, champion_women))
    )
    return pd.DataFrame({"gender": gender}), one, other


def audited_with_champion(seed: int, n: int = 6000, **shares: float) -> pd.Series:
    attributes, approved, champion = decisions_of_two_models(seed, n, **shares)
    found = audit(attributes, approved, np.full(n, 0.1), np.full(n, np.nan), FairnessConfig(), None, champion)
    return found.verdicts.loc[0]


def test_failing_group_is_compared_with_the_champion_s_decisions_on_the_same_applicants():
    shares = {"men": 0.9, "women": 0.65, "champion_men": 0.85, "champion_women": 0.6}
    for seed in range(5):
        row = audited_with_champion(seed, **shares)
        assert (row["four_fifths"], row["champion_group"]) == ("fail", "F")
        attributes, _, champion = decisions_of_two_models(seed, 6000, **shares)
        rates = pd.Series(champion).groupby(attributes["gender"]).mean()
        assert row["champion_air"] == pytest.approx(rates["F"] / rates["M"])
        assert row["champion_air_low"] < row["champion_air"] < row["champion_air_high"]
        assert row["air_ratio"] == pytest.approx(row["air"] / row["champion_air"], rel=0.001)
        assert row["air_ratio_low"] < 1 < row["air_ratio_high"]
        [verdict] = four_fifths(pd.DataFrame([row]))
        assert verdict.passed
        [fell] = four_fifths(pd.DataFrame([audited_with_champion(seed, **shares | {"women": 0.5})]))
        assert not fell.passed
        [fair] = four_fifths(pd.DataFrame([audited_with_champion(seed, **shares | {"champion_women": 0.84})]))
        assert not fair.passed


def test_applicants_without_a_champion_decision_are_excluded_from_the_comparison_only():
    attributes, approved, champion = decisions_of_two_models(
        0, 6000, men=0.9, women=0.65, champion_men=0.85, champion_women=0.6
    )
    new = np.arange(6000) % 3 > 0
    config, no_outcomes = FairnessConfig(), np.full(6000, np.nan)

    def verdict(rows: np.ndarray, by_champion: np.ndarray | None) -> pd.Series:
        of_champion = None if by_champion is None else by_champion[rows]
        found = audit(
            attributes[rows], approved[rows], np.full(rows.sum(), 0.1), no_outcomes[rows], config, None, of_champion
        )
        return found.verdicts.loc[0]

    everyone = np.ones(6000, dtype=bool)
    part = verdict(everyone, np.where(new, champion, np.nan))
    assert part["air"] == verdict(everyone, None)["air"]
    compared = ["champion_group", "champion_air", "champion_air_low", "champion_air_high"]
    compared += ["air_ratio", "air_ratio_low", "air_ratio_high"]
    assert part[compared].tolist() == verdict(new, champion)[compared].tolist()
    men_alone = np.where(attributes["gender"] == "M", champion, np.nan)
    assert "champion_air" not in verdict(everyone, men_alone)


def test_paired_interval_of_two_airs_equals_that_of_resampled_applicants():
    attributes, approved, champion = decisions_of_two_models(
        1, 3000, men=0.9, women=0.65, champion_men=0.85, champion_women=0.6
    )
    row = audited_with_champion(1, 3000, men=0.9, women=0.65, champion_men=0.85, champion_women=0.6)
    gender, rng, drawn = attributes["gender"].to_numpy(), np.random.default_rng(0), []
    for _ in range(2000):
        rows = rng.integers(0, 3000, 3000)
        women = gender[rows] == "F"
        airs = [of[rows][women].mean() / of[rows][~women].mean() for of in (approved, champion)]
        drawn.append(np.log(airs[0] / airs[1]))
    half = np.log(row["air_ratio_high"] / row["air_ratio"])
    assert half == pytest.approx(1.96 * np.std(drawn), rel=0.1)


def test_audit_with_a_champion_does_not_depend_on_row_order():
    attributes, approved, champion = decisions_of_two_models(
        2, 2000, men=0.9, women=0.6, champion_men=0.85, champion_women=0.6
    )
    pds = np.random.default_rng(3).beta(1, 9, 2000)
    y = (np.random.default_rng(4).random(2000) < pds).astype(float)
    order = np.random.default_rng(5).permutation(2000)
    there = audit(attributes, approved, pds, y, FairnessConfig(), None, champion)
    back = audit(attributes.iloc[order], approved[order], pds[order], y[order], FairnessConfig(), None, champion[order])
    pd.testing.assert_frame_equal(there.verdicts, back.verdicts, check_exact=True)
    pd.testing.assert_frame_equal(there.groups, back.groups, check_exact=True)

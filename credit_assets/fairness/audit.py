"""The fairness audit: approval rates, errors and PDs by group. The promotion gate decides whether they stop a model.

Protected attributes come from the raw tables; they are never inputs of a model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from credit_assets.schemas.evidence import FairnessGroups, FairnessVerdicts
from credit_assets.settings.fairness import FairnessConfig
from credit_assets.statistics.comparison import auc_interval
from credit_assets.statistics.metrics import mean, wilson

NOT_GIVEN = "not given"
DAYS_IN_A_YEAR = 365.25


@dataclass(frozen=True)
class Audit:
    """`groups`: one row per group of an attribute or intersection. `verdicts`: one row for each of these.

    For each group, `groups` has
    - applicants, labelled, defaults; approval_rate with its Wilson interval;
    - air, its approval rate over the reference group's, with the interval of Katz et al. (1978), and the
      p_value of the difference: two-proportion z-test, or Fisher's exact test if a cell expects fewer than 5;
    - tpr, the share of its goods approved, and fpr, the share of its bads approved, with Wilson intervals;
      tpr_difference and fpr_difference from the reference with Newcombe's (1998, method 10);
    - mean_pd of its labelled applicants, default_rate with its Wilson interval, and calibration_gap, default
      rate minus mean PD; auc with DeLong's interval;
    - judged, and is_reference. Figures that cannot be computed are nan.

    For each attribute, `verdicts` has reference, worst_group (the judged one with the lowest air; if some fail
    significantly, the lowest of those), its air and p_value, significant, and four_fifths: "fail" if that air is below
    `min_air`, "pass" if it is not, "not enough data" without a reference group and another judged group. tpr_difference
    and fpr_difference are the largest between judged groups, equalized_odds_difference is the larger of them, and
    calibration_gap the largest of a judged group in absolute value. With the champion's decisions on the same
    applicants (`champion_approved`, n; nan for applicants without one, who are left out of the comparison), a failing
    attribute also has `champion_group`, champion_air with its interval, and air_ratio, the group's air over its air by
    the champion, with the interval of paired decisions: for the failing group whose air fell most significantly.
    """

    groups: pd.DataFrame
    verdicts: pd.DataFrame


OLDEST = 120
"""The highest valid age in years."""


def years_before(days_before: pd.Series) -> pd.Series:
    """Convert days before the application to years with fractions (-7305 is 20 years).

    Examples:
        >>> years_before(pd.Series([-7305])).tolist()
        [20.0]
    """
    return -days_before.astype("float64") / DAYS_IN_A_YEAR


def bands_of_years(years: pd.Series, edges: Sequence[int]) -> pd.Series:
    """The age band of each number of years, which is rounded down.

    Edges 25, 35 give the ordered categories "under 25", "25-34" and "35 and over". Missing values and invalid ages
    (below 0 or above 120, such as 999 for "unknown") are missing. Raises ValueError if the edges do not ascend.

    Examples:
        >>> bands_of_years(pd.Series([24.9, 25.0, 61.0, 999.0]), [25, 35]).tolist()
        ['under 25', '25-34', '35 and over', nan]
    """
    if not edges or list(edges) != sorted(set(edges)):
        raise ValueError(f"The edges of age bands must ascend: {list(edges)}.")
    whole = np.floor(years.astype("float64"))
    whole = whole.where(whole.between(0, OLDEST))
    labels = [f"under {edges[0]}"]
    labels += [f"{low}-{high - 1}" if high - low > 1 else f"{low}" for low, high in itertools.pairwise(edges)]
    labels += [f"{edges[-1]} and over"]
    return pd.cut(whole, [-math.inf, *edges, math.inf], right=False, labels=labels)


def audit(
    attributes: pd.DataFrame,
    approved: np.ndarray,
    pds: np.ndarray,
    y: np.ndarray,
    config: FairnessConfig,
    not_judged: Mapping[str, Sequence[str]] | None = None,
    champion_approved: np.ndarray | None = None,
) -> Audit:
    """Audit decisions (n,) and PDs (n,) by each column of `attributes` (n rows) and each intersection of two.

    `y` (n,) is 1 for a default, 0 for none, nan if unknown. Approval rates include every applicant; figures that need
    the outcome include the labelled ones. `not_judged` lists values of an attribute that are shown without a verdict,
    as missing values and groups below `min_group_size` are. `champion_approved` (n,) are the champion's decisions, nan
    if it has none.

    `Audit` describes the figures. Without attributes both tables are empty.

    Raises ValueError if the inputs differ in length, have no rows, or name an unknown attribute.

    Examples:
        Of 200 women 120 are approved, of 200 men 180. The outcomes are not known yet.

        >>> sex = pd.DataFrame({"sex": ["female"] * 200 + ["male"] * 200})
        >>> approved = np.array([True] * 120 + [False] * 80 + [True] * 180 + [False] * 20)
        >>> audited = audit(sex, approved, np.full(400, 0.1), np.full(400, np.nan), FairnessConfig())
        >>> verdict = audited.verdicts.iloc[0]
        >>> verdict["worst_group"], round(float(verdict["air"]), 3), verdict["four_fifths"]
        ('female', 0.667, 'fail')
    """
    n = len(attributes)
    if not n == len(approved) == len(pds) == len(y) or n == 0:
        raise ValueError(
            f"The audit has {n} applicants, {len(approved)} decisions, {len(pds)} PDs and {len(y)} outcomes; it needs "
            "one or more applicants, and as many of each."
        )
    not_judged = not_judged or {}
    unknown = {*config.reference, *config.blocking, *not_judged} - set(attributes.columns)
    if unknown:
        raise ValueError(f"The audit has no attribute {', '.join(sorted(unknown))}.")
    if not len(attributes.columns):
        return Audit(FairnessGroups.empty(), FairnessVerdicts.empty())
    applicants = pd.DataFrame(
        {
            "approved": np.asarray(approved, dtype=bool),
            "pd": np.asarray(pds, dtype=np.float64),
            "y": np.asarray(y, dtype=np.float64),
        }
    )
    values = attributes.reset_index(drop=True).apply(_as_categories)
    groups, verdicts = [], []
    for columns in (*((name,) for name in values), *itertools.combinations(values, 2)):
        table, verdict = _audit_attribute(values[list(columns)], applicants, config, not_judged, champion_approved)
        groups.append(table)
        verdicts.append(verdict)
    tidy = pd.concat(groups, ignore_index=True)
    return Audit(tidy[["attribute", *tidy.columns.drop("attribute")]], pd.DataFrame(verdicts))


def _audit_attribute(
    values: pd.DataFrame,
    applicants: pd.DataFrame,
    config: FairnessConfig,
    not_judged: Mapping[str, Sequence[str]],
    champion_approved: np.ndarray | None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of `groups` and `verdicts` for one attribute, or the intersection of the columns of `values`."""
    attribute = " x ".join(values.columns)
    table = _group_figures(values, applicants, config)
    left_out = [{NOT_GIVEN, *not_judged.get(column, ())} for column in values]
    nameable = [not any(v in out for v, out in zip(key, left_out, strict=True)) for key in table.index]
    table["judged"] = np.array(nameable) & (table["applicants"] >= config.min_group_size)
    table.index = pd.Index([", ".join(key) for key in table.index], name="group")
    reference = _reference(table, config.reference.get(attribute))
    table = _relative_to_reference(table, reference, config)
    verdict = _verdict(attribute, table, reference, config)
    if champion_approved is not None and verdict["four_fifths"] == "fail" and verdict["significant"]:
        labels = np.array([", ".join(key) for key in zip(*(values[column] for column in values), strict=True)])
        by_champion = np.asarray(champion_approved, dtype=np.float64)
        both = ~np.isnan(by_champion)
        decided = applicants["approved"].to_numpy()[both], by_champion[both]
        verdict |= _champion_figures(table, labels[both], *decided, config, attribute)
    return table.reset_index().assign(attribute=attribute), verdict


def _as_categories(values: pd.Series) -> pd.Series:
    """The values as ordered categories (sorted if they have no order), the last of them for missing values."""
    categorical = values.astype("category")
    categories = [str(value) for value in categorical.cat.categories if value != NOT_GIVEN]
    texts = categorical.astype(object).where(categorical.notna(), NOT_GIVEN).astype(str)
    return texts.astype(pd.CategoricalDtype([*categories, NOT_GIVEN], ordered=True))


def _group_figures(keys: pd.DataFrame, applicants: pd.DataFrame, config: FairnessConfig) -> pd.DataFrame:
    """The figures of each group that need no reference group, indexed by its tuple of values."""
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for key, members in applicants.groupby([keys[column] for column in keys], observed=True):
        labelled = members[members["y"].notna()]
        goods, bads = labelled[labelled["y"] == 0], labelled[labelled["y"] == 1]
        auc = (math.nan,) * 3
        if min(len(goods), len(bads)) >= 2:
            interval = auc_interval(labelled["y"].to_numpy(), labelled["pd"].to_numpy(), config.confidence)
            auc = (interval.value, interval.low, interval.high)
        rows[key] = {
            "applicants": len(members),
            "labelled": len(labelled),
            "defaults": len(bads),
            "approved": int(members["approved"].sum()),
            "goods_approved": int(goods["approved"].sum()),
            "bads_approved": int(bads["approved"].sum()),
            "mean_pd": mean(labelled["pd"].to_numpy()),
            "auc": auc[0],
            "auc_low": auc[1],
            "auc_high": auc[2],
        }
    counts = pd.DataFrame.from_dict(rows, orient="index")
    counts.index = pd.Index(list(rows), tupleize_cols=False)
    figures = counts[["applicants", "labelled", "defaults"]].copy()
    for name, successes, trials in (
        ("approval_rate", counts["approved"], counts["applicants"]),
        ("tpr", counts["goods_approved"], counts["labelled"] - counts["defaults"]),
        ("fpr", counts["bads_approved"], counts["defaults"]),
        ("default_rate", counts["defaults"], counts["labelled"]),
    ):
        figures[name] = (successes / trials.where(trials > 0)).astype(float)
        figures[f"{name}_low"], figures[f"{name}_high"] = wilson(successes, trials, config.confidence)
    figures["mean_pd"] = counts["mean_pd"].astype(float)
    figures["calibration_gap"] = figures["default_rate"] - figures["mean_pd"]
    figures[["auc", "auc_low", "auc_high"]] = counts[["auc", "auc_low", "auc_high"]]
    return figures


def _reference(table: pd.DataFrame, configured: str | None) -> str | None:
    """The group that the others are compared with; None if it is too small or has no approvals."""
    judged = table[table["judged"] & (table["approval_rate"] > 0)]
    if configured is not None:
        return configured if configured in judged.index else None
    return str(judged["approval_rate"].idxmax()) if len(judged) else None


def _relative_to_reference(table: pd.DataFrame, reference: str | None, config: FairnessConfig) -> pd.DataFrame:
    """The table with the figures of each group relative to the reference group."""
    table = table.assign(is_reference=table.index == reference)
    if reference is None:
        nothing = ["air", "air_low", "air_high", "p_value"]
        nothing += [f"{rate}_difference{end}" for rate in ("tpr", "fpr") for end in ("", "_low", "_high")]
        return table.assign(**dict.fromkeys(nothing, math.nan))
    other = table.loc[reference]
    z = NormalDist().inv_cdf((1 + config.confidence) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        air = table["approval_rate"] / other["approval_rate"]
        approved = table["approval_rate"] * table["applicants"]
        error = np.sqrt(
            (1 - table["approval_rate"]) / approved
            + (1 - other["approval_rate"]) / (other["approval_rate"] * other["applicants"])
        )
        low, high = air * np.exp(-z * error), air * np.exp(z * error)
    compared = ~table["is_reference"]
    table["air"] = air
    # The log-normal interval does not exist for a group without approvals.
    table["air_low"], table["air_high"] = low.where(compared & (air > 0)), high.where(compared & (air > 0))
    table["p_value"] = [
        _p_value(row.approval_rate, row.applicants, other["approval_rate"], other["applicants"])
        if not row.is_reference
        else math.nan
        for row in table.itertuples()
    ]
    for rate in ("tpr", "fpr"):
        difference = table[rate] - other[rate]
        below = np.hypot(table[rate] - table[f"{rate}_low"], other[f"{rate}_high"] - other[rate])
        above = np.hypot(table[f"{rate}_high"] - table[rate], other[rate] - other[f"{rate}_low"])
        table[f"{rate}_difference"] = difference
        table[f"{rate}_difference_low"] = (difference - below).where(compared)
        table[f"{rate}_difference_high"] = (difference + above).where(compared)
    return table


def _p_value(rate: float, n: int, other_rate: float, other_n: int) -> float:
    """The two-sided p-value of the hypothesis that two groups have the same approval rate."""
    approved, other_approved = round(rate * n), round(other_rate * other_n)
    pooled = (approved + other_approved) / (n + other_n)
    if min(n, other_n) * min(pooled, 1 - pooled) < 5:
        from scipy.stats import fisher_exact

        table = [[approved, n - approved], [other_approved, other_n - other_approved]]
        return float(fisher_exact(table).pvalue)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / other_n))
    return math.erfc(abs(rate - other_rate) / error / math.sqrt(2))


def _verdict(attribute: str, table: pd.DataFrame, reference: str | None, config: FairnessConfig) -> dict[str, object]:
    judged = table[table["judged"]]
    compared = judged[~judged["is_reference"]]
    enough = reference is not None and len(compared) > 0
    significant = compared["p_value"] < 1 - config.confidence
    # Tolerates rounding errors: 0.64 / 0.8 is slightly below 0.8 in floating point.
    bound = config.min_air * (1 - 1e-9)
    failing = compared[significant & (compared["air"] < bound)]
    worst = (failing if len(failing) else compared)["air"].idxmin() if enough else None
    figures = compared.loc[worst] if enough else pd.Series(math.nan, index=table.columns)
    four_fifths = "not enough data"
    if enough:
        four_fifths = "fail" if figures["air"] < bound else "pass"
    spread = {rate: float(judged[rate].max() - judged[rate].min()) for rate in ("tpr", "fpr")}
    return {
        "attribute": attribute,
        "four_fifths": four_fifths,
        "on_failure": "block" if attribute in config.blocking else "warn",
        "reference": reference,
        "worst_group": worst,
        "air": float(figures["air"]),
        "air_low": float(figures["air_low"]),
        "air_high": float(figures["air_high"]),
        "min_air": config.min_air,
        "p_value": float(figures["p_value"]),
        "significant": enough and bool(significant[worst]),
        "tpr_difference": spread["tpr"],
        "fpr_difference": spread["fpr"],
        "equalized_odds_difference": float(np.fmax(spread["tpr"], spread["fpr"])),
        "calibration_gap": float(judged["calibration_gap"].abs().max()),
        "groups": len(table),
        "groups_judged": len(judged),
    }


def _champion_figures(
    table: pd.DataFrame,
    labels: np.ndarray,
    approved: np.ndarray,
    by_champion: np.ndarray,
    config: FairnessConfig,
    attribute: str,
) -> dict[str, object]:
    """The champion's figures for the failing group whose AIR fell most significantly; empty if too few applicants of
    the failing groups have a decision by the champion."""
    counts = pd.Series(by_champion).groupby(labels).agg(["size", "sum"]).reindex(table.index).dropna()
    other = pd.DataFrame({"applicants": counts["size"], "approval_rate": counts["sum"] / counts["size"]})
    other["judged"] = table["judged"].reindex(other.index) & (other["applicants"] >= config.min_group_size)
    for rate in ("tpr", "fpr"):
        other[[rate, f"{rate}_low", f"{rate}_high"]] = math.nan
    reference = _reference(other, config.reference.get(attribute))
    if reference is None:
        return {}
    other = _relative_to_reference(other, reference, config)
    # The interval of the reference group, and of a group without approvals, has width 0.
    bounds = other["air"].where(other["is_reference"], 0.0)
    other["air_low"], other["air_high"] = other["air_low"].fillna(bounds), other["air_high"].fillna(bounds)
    [own_reference] = table.index[table["is_reference"]]
    failing = table[
        table.index.isin(other.index[other["judged"]])
        & ~table["is_reference"]
        & (table["p_value"] < 1 - config.confidence)
        & (table["air"] < config.min_air * (1 - 1e-9))
    ]
    found = {
        group: _air_ratio(labels, approved, by_champion, (str(group), str(own_reference), reference), config.confidence)
        for group in failing.index
    }
    if not found or own_reference not in other.index[other["judged"]]:
        return {}
    group = min(found, key=lambda each: (other.loc[each, "air_low"] < config.min_air, found[each][2]))
    ratio, low, high = found[group]
    return {
        "champion_group": group,
        "champion_air": float(other.loc[group, "air"]),
        "champion_air_low": float(other.loc[group, "air_low"]),
        "champion_air_high": float(other.loc[group, "air_high"]),
        "air_ratio": ratio,
        "air_ratio_low": low,
        "air_ratio_high": high,
    }


def _air_ratio(
    labels: np.ndarray,
    approved: np.ndarray,
    by_champion: np.ndarray,
    groups: tuple[str, str, str],
    confidence: float,
) -> tuple[float, float, float]:
    """A group's AIR over its AIR by the champion, with a log-normal interval for decisions on the same applicants.

    `groups` are the group, the reference group, and the champion's reference group. The standard error comes from the
    delta method, as in Katz et al. (1978): it sums the squared contributions of all applicants to the logarithm of the
    ratio. Half an approval is added to each count, so that none is zero.
    """
    group, reference, other_reference = groups
    log_ratio, parts = 0.0, np.zeros(len(labels))
    for members, decided, sign in (
        (group, approved, 1),
        (reference, approved, -1),
        (group, by_champion, -1),
        (other_reference, by_champion, 1),
    ):
        rows = labels == members
        n, yes = int(rows.sum()), int(decided[rows].sum())
        share = (yes + 0.5) / (n + 1)
        log_ratio += sign * math.log(share)
        parts[rows] += sign * (decided[rows] - yes / n) / (n * share)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(math.fsum(parts**2))
    return math.exp(log_ratio), math.exp(log_ratio - half), math.exp(log_ratio + half)

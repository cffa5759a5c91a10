"""The guard before training: inputs that a model must not see.

Whether what it may see treats groups alike is judged in `fairness/`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

BINS = 32
"""Quantile bins that a number is cut into to find a ranking that is not monotone; nulls are one more."""

FEW_WORDS = 32
"""Distinct values up to which each value of a number is a bin of its own."""

MIN_OF_A_CLASS = 30
"""Goods and bads among a column's non-null rows below which their AUC alone is chance."""


class LeakageError(ValueError):
    """Columns among a model's inputs that give the outcome away or that the law forbids."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        listed = "; ".join(f"{finding.feature} {finding.reason}" for finding in findings[:20])
        more = f"; and {len(findings) - 20} more" if len(findings) > 20 else ""
        super().__init__(f"{len(findings)} of the model's inputs cannot be trained on: {listed}{more}.")


@dataclass(frozen=True)
class Finding:
    """One input and why it is refused; reads as a sentence."""

    feature: str
    reason: str


def check_inputs(
    training_set: pd.DataFrame,
    *,
    target: str,
    features: Sequence[str],
    roots: Mapping[str, Collection[str]],
    target_columns: Collection[str],
    protected: Collection[str],
    post_decision: Mapping[str, str],
    max_single_auc: float,
) -> pd.Series:
    """The AUC that each feature reaches alone, by feature, greatest first; raises LeakageError on any leak.

    Refused is a feature that is, or is made from (`roots`: feature to the raw `table.COLUMN`s behind
    it), a protected column, the outcome (`target_columns`) or a column known only after the decision
    (`post_decision`: column to why); one whose roots are unknown; a copy of the target, in whatever
    scale, direction or words; and one that alone ranks better than `max_single_auc`. `target` is the
    column of 0/1 outcomes in `training_set`.
    """
    findings = [
        finding
        for feature in features
        for finding in _by_origin(feature, roots.get(feature), {target, *target_columns}, protected, post_decision)
    ]
    outcome = training_set[target].to_numpy(dtype=bool)
    aucs = {}
    for feature in features:
        if feature == target:
            continue
        auc, copies = single_feature_auc(training_set[feature], outcome)
        aucs[feature] = auc
        if copies:
            findings.append(Finding(feature, "is a copy of the target"))
        elif auc > max_single_auc:
            findings.append(Finding(feature, f"alone ranks the outcomes with AUC {auc:.3f} (limit {max_single_auc:g})"))
    if findings:
        raise LeakageError(findings)
    return pd.Series(aucs, name="auc", dtype=float).sort_values(ascending=False, kind="stable")


def single_feature_auc(column: pd.Series, outcome: np.ndarray) -> tuple[float, bool]:
    """(AUC, at least 0.5, and whether the column is a copy of the outcome), of a column used alone.

    The greatest of: a number's rank AUC, in either direction, among its non-null rows; and the AUC of
    the bad rate by value or quantile bin, nulls being one (missingness, U shapes and codes rank too).
    Bad rates are learned on one half of the rows and judged on the other, so that a column with many
    words is not taken for a leak. The halves follow the order of the rows: have them in a fixed one.
    """
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        known = ~np.isnan(numbers)
        ranked = np.sort(numbers[known])
        values = np.append(ranked[:1], ranked[1:][ranked[1:] != ranked[:-1]])
        by_rank = _rank_auc(numbers[known & outcome], numbers[known & ~outcome])
        if len(values) > FEW_WORDS:
            values = np.unique(ranked[np.linspace(0, len(ranked) - 1, BINS + 1).astype(int)])
        codes = np.where(known, np.searchsorted(values, numbers, side="right"), 0)
        width = len(values) + 1
    else:
        codes, words = pd.factorize(column)
        codes = codes + 1
        known = codes > 0
        by_rank, width = 0.5, len(words) + 1
    enough = known.all() or min(outcome[known].sum(), (~outcome[known]).sum()) >= MIN_OF_A_CLASS
    copies = (enough and _is_copy(codes[known], outcome[known], width)) or _is_copy(known * 1, outcome, 2)
    return max(by_rank, 1 - by_rank, _rate_auc(codes, outcome, width)), copies


def _by_origin(
    feature: str,
    raw: Collection[str] | None,
    outcomes: Collection[str],
    protected: Collection[str],
    post_decision: Mapping[str, str],
) -> list[Finding]:
    if raw is None:
        return [Finding(feature, "has unknown origins: no raw columns are recorded for it")]
    origins = {column.rpartition(".")[2].upper(): column for column in (*raw, feature)}
    findings = []
    for name, column in origins.items():
        is_or_made_from = "is" if column == feature else f"is made from {column},"
        if name in _upper(protected):
            findings.append(Finding(feature, f"{is_or_made_from} a protected attribute"))
        if name in _upper(outcomes):
            findings.append(Finding(feature, f"{is_or_made_from} the outcome itself"))
        for late, why in post_decision.items():
            if name == late.upper():
                findings.append(Finding(feature, f"{is_or_made_from} known only after the decision ({why})"))
    return findings


def _upper(names: Collection[str]) -> set[str]:
    return {name.upper() for name in names}


def _rank_auc(bads: np.ndarray, goods: np.ndarray) -> float:
    """Mann and Whitney's: the share of (bad, good) pairs where the bad's value is greater, ties half."""
    if min(len(bads), len(goods)) < MIN_OF_A_CLASS:
        return 0.5
    bads, goods = np.sort(bads), np.sort(goods)
    below = np.searchsorted(goods, bads, side="left").sum(dtype=np.float64)
    not_above = np.searchsorted(goods, bads, side="right").sum(dtype=np.float64)
    return float((below + not_above) / 2 / (len(bads) * len(goods)))


def _rate_auc(codes: np.ndarray, outcome: np.ndarray, width: int) -> float:
    """The AUC of the bad rate by code, learned on every other bad and good, judged on the rest, both ways."""
    half = np.where(outcome, np.cumsum(outcome), np.cumsum(~outcome)) % 2 == 0
    aucs = []
    for learned, judged in ((half, ~half), (~half, half)):
        rows = np.bincount(codes[learned], minlength=width)
        bads = np.bincount(codes[learned], weights=outcome[learned], minlength=width)
        # A code not seen, or hardly, stands near the overall rate.
        rate = (bads + outcome[learned].mean()) / (rows + 1)
        order = np.argsort(rate, kind="stable")
        counts = np.bincount(codes[judged], minlength=width)[order].astype(np.float64)
        bads = np.bincount(codes[judged], weights=outcome[judged], minlength=width)[order]
        starts = np.flatnonzero(np.diff(rate[order], prepend=-1.0) != 0)
        bads, goods = np.add.reduceat(bads, starts), np.add.reduceat(counts, starts)
        goods = goods - bads
        pairs = bads.sum() * goods.sum()
        if pairs:
            aucs.append(float(((np.cumsum(goods) - goods / 2) * bads).sum() / pairs))
    return float(np.mean(aucs)) if aucs else 0.5


def _is_copy(codes: np.ndarray, outcome: np.ndarray, width: int) -> bool:
    """Whether the code tells the outcome without exception, and the outcome the code."""
    bads = np.bincount(codes, weights=outcome, minlength=width)
    rows = np.bincount(codes, minlength=width)
    used = rows > 0
    pure = bool(((bads == rows) | (bads == 0))[used].all())
    return pure and used.sum() == 2 and 0 < outcome.sum() < len(outcome) and min(rows[used]) >= 2

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

FEW_VALUES = 32
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


def made_from(roots: Mapping[str, Collection[tuple[str, str]]], left_out: Mapping[str, str]) -> dict[str, str]:
    """Feature to the reason why it is left out, for each that one of the columns `left_out` (raw column, of whatever
    table, to why) is behind. `roots` has the tables and raw columns behind a feature."""
    why = {column.upper(): words for column, words in left_out.items()}
    return {
        feature: "; ".join(
            f"{table}.{column}: {why[column.upper()]}" for table, column in columns if column.upper() in why
        )
        for feature, columns in roots.items()
        if any(column.upper() in why for _, column in columns)
    }


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
        numbers = column.to_numpy()
        if numbers.dtype.kind != "f":
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        known = ~np.isnan(numbers)
        bads, goods = np.sort(numbers[known & outcome]), np.sort(numbers[known & ~outcome])
        by_rank = _rank_auc(bads, goods)
        edges = _edges(bads, goods)
        codes = np.where(known, np.searchsorted(edges, numbers, side="right"), 0)
        width = len(edges) + 1
    else:
        codes, words = pd.factorize(column)
        codes, by_rank, width = codes + 1, 0.5, len(words) + 1
    counts = _counts(codes, outcome, width)
    return max(by_rank, 1 - by_rank, _rate_auc(counts)), _is_copy(counts.sum(axis=2))


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
    below = np.searchsorted(goods, bads, side="left").sum(dtype=np.float64)
    not_above = np.searchsorted(goods, bads, side="right").sum(dtype=np.float64)
    return float((below + not_above) / 2 / (len(bads) * len(goods)))


def _edges(bads: np.ndarray, goods: np.ndarray) -> np.ndarray:
    """Where to cut: at each value where there are few, else at quantiles of the bads and of the goods."""
    cuts = []
    for ranked in (bads, goods):
        values = np.append(ranked[:1], ranked[1:][ranked[1:] != ranked[:-1]])
        many = len(values) > FEW_VALUES
        cuts.append(ranked[np.linspace(0, len(ranked) - 1, BINS + 1).astype(int)] if many else values)
    return np.unique(np.concatenate(cuts))


def _counts(codes: np.ndarray, outcome: np.ndarray, width: int) -> np.ndarray:
    """Rows by code, outcome and half, (width, 2, 2); every other bad and every other good is in a half."""
    half = np.where(outcome, np.cumsum(outcome), np.cumsum(~outcome)) % 2
    return np.bincount(codes * 4 + outcome * 2 + half, minlength=4 * width).reshape(width, 2, 2).astype(float)


def _rate_auc(counts: np.ndarray) -> float:
    """The AUC of the bad rate by code, learned on one half and judged on the other, both ways."""
    aucs = []
    for learned, judged in ((0, 1), (1, 0)):
        rows = counts[:, :, learned].sum(axis=1)
        # A code not seen, or hardly, stands near the overall rate.
        rate = (counts[:, 1, learned] + counts[:, 1, learned].sum() / rows.sum()) / (rows + 1)
        order = np.argsort(rate, kind="stable")
        ties = np.flatnonzero(np.diff(rate[order], prepend=-1.0) != 0)
        goods, bads = np.add.reduceat(counts[order, :, judged], ties).T
        if pairs := goods.sum() * bads.sum():
            aucs.append(float(((np.cumsum(goods) - goods / 2) * bads).sum() / pairs))
    return float(np.mean(aucs)) if aucs else 0.5


def _is_copy(counts: np.ndarray) -> bool:
    """Whether codes tell the outcome without exception and the outcome the code, of (codes, outcomes) counts.

    Code 0 is null: either it is one of the two codes, or the non-null rows are a copy among themselves,
    and too many for chance.
    """
    known = counts[1:]
    tells = [_tells(counts)] if counts[0].any() else []
    if known.sum(axis=0).min() >= MIN_OF_A_CLASS or not counts[0].any():
        tells.append(_tells(known))
    return any(tells)


def _tells(counts: np.ndarray) -> bool:
    used = counts[counts.sum(axis=1) > 0]
    return len(used) == 2 and bool((np.diag(used) == 0).all() or (np.diag(used[::-1]) == 0).all())

"""How well a single column ranks the outcomes, and whether it is a copy of them. `guard.py` decides what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd

BINS = 32
"""Quantile bins of a number, to find a ranking that is not monotone; nulls are one more."""

FEW_VALUES = 32
"""The number of distinct values up to which each value is a bin."""

MIN_OF_A_CLASS = 30
"""The goods, or bads, among a column's non-null rows below which the AUC is mostly chance."""

SEED = 0
"""Seed of the halves that the rows are divided into."""


def single_feature_auc(column: pd.Series, outcome: np.ndarray) -> tuple[float, bool]:
    """The AUC (at least 0.5) of a column on its own, and whether it is a copy of the outcome.

    The AUC is the larger of two: a number's rank AUC in either direction among its non-null rows, and the AUC of the
    bad rate by value or quantile bin with nulls as one bin (missingness, U shapes and codes rank too). Bad rates are
    learned on one half of the rows and measured on the other, so that a column with many categories does not look like
    a leak. The halves are drawn from the counts, so the order of the rows does not matter.
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
        codes, categories = pd.factorize(column)
        # In the order of the categories, not of their first rows; the code of a null, -1, remains the last.
        place = np.append(
            np.argsort(np.argsort(np.array([str(category) for category in categories]), kind="stable")), -1
        )
        codes, by_rank, width = place.astype(int)[codes] + 1, 0.5, len(categories) + 1
    counts = _counts(codes, outcome, width)
    return max(by_rank, 1 - by_rank, _rate_auc(counts)), _is_copy(counts.sum(axis=2))


def _rank_auc(bads: np.ndarray, goods: np.ndarray) -> float:
    """The Mann-Whitney statistic: the share of (bad, good) pairs in which the bad is greater; ties count half."""
    if min(len(bads), len(goods)) < MIN_OF_A_CLASS:
        return 0.5
    below = np.searchsorted(goods, bads, side="left").sum(dtype=np.float64)
    not_above = np.searchsorted(goods, bads, side="right").sum(dtype=np.float64)
    return float((below + not_above) / 2 / (len(bads) * len(goods)))


def _edges(bads: np.ndarray, goods: np.ndarray) -> np.ndarray:
    """Bin edges: each value if there are few, else quantiles of the bads and of the goods."""
    cuts = []
    for ranked in (bads, goods):
        values = np.append(ranked[:1], ranked[1:][ranked[1:] != ranked[:-1]])
        many = len(values) > FEW_VALUES
        cuts.append(ranked[np.linspace(0, len(ranked) - 1, BINS + 1).astype(int)] if many else values)
    return np.unique(np.concatenate(cuts))


def _counts(codes: np.ndarray, outcome: np.ndarray, width: int) -> np.ndarray:
    """Rows by code, outcome and half, (width, 2, 2); each half has half of the bads and half of the goods.

    The halves are drawn. Of equal rows only the number in a half matters, and these numbers are multivariate
    hypergeometric.
    """
    rows = np.bincount(codes * 2 + outcome, minlength=2 * width).reshape(width, 2)
    rng = np.random.default_rng(SEED)
    first = np.column_stack(
        [rng.multivariate_hypergeometric(of_class, int(of_class.sum()) // 2, method="marginals") for of_class in rows.T]
    )
    return np.stack([first, rows - first], axis=2).astype(float)


def _rate_auc(counts: np.ndarray) -> float:
    """The AUC of the bad rate by code, learned on one half and measured on the other, averaged over both directions."""
    aucs = []
    for learned, measured in ((0, 1), (1, 0)):
        rows = counts[:, :, learned].sum(axis=1)
        # The rate of an unseen or rare code is close to the overall rate.
        rate = (counts[:, 1, learned] + counts[:, 1, learned].sum() / rows.sum()) / (rows + 1)
        order = np.argsort(rate, kind="stable")
        ties = np.flatnonzero(np.diff(rate[order], prepend=-1.0) != 0)
        goods, bads = np.add.reduceat(counts[order, :, measured], ties).T
        if pairs := goods.sum() * bads.sum():
            aucs.append(float(((np.cumsum(goods) - goods / 2) * bads).sum() / pairs))
    return float(np.mean(aucs)) if aucs else 0.5


def _is_copy(counts: np.ndarray) -> bool:
    """Whether codes determine the outcome without exception and the outcome the code, from (codes, outcomes) counts.

    Code 0 is null: either it is one of the two codes, or the non-null rows alone are a copy, and too many for chance.
    """
    known = counts[1:]
    copies = [_is_one_to_one(counts)] if counts[0].any() else []
    if known.sum(axis=0).min() >= MIN_OF_A_CLASS or not counts[0].any():
        copies.append(_is_one_to_one(known))
    return any(copies)


def _is_one_to_one(counts: np.ndarray) -> bool:
    """Whether two codes occur, each with one outcome only and a different one."""
    used = counts[counts.sum(axis=1) > 0]
    return len(used) == 2 and bool((np.diag(used) == 0).all() or (np.diag(used[::-1]) == 0).all())

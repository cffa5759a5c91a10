"""Leaks that no single column shows: two or three inputs that together reveal the outcome, or a column that is hidden
from the model. `guard.py` checks single inputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from credit_assets.statistics.column_auc import MIN_OF_A_CLASS, single_feature_auc

Floats = NDArray[np.float64]

SAMPLE = 2000
"""The maximum number of rows used in the search for a hidden column."""

SEARCHED_OF_A_CLASS = 300
"""The maximum number of goods, and of bads, used in the search for pairs; the other rows confirm what is found."""

MOST_PAIRS = 2000
"""The maximum number of pairs whose sum, difference, ratio and product are ranked; the best separating pairs if there
are more."""

MOST_IN_THREES = 150
"""The maximum number of inputs that are tried in threes."""

MIN_ROWS, MIN_VALUES = 50, 5
"""The minimum numbers of rows and distinct values of a hidden column: with fewer, many combinations would reproduce it
by chance."""

MIN_GAIN = 0.02
"""The AUC that a pair must gain over the better of its two inputs."""

REPRODUCED_FROM = 0.98
"""R squared, and rank correlation, from which a hidden column counts as reproduced."""

TARGET = "_hidden"
"""The name of the hidden column among the others."""

CANDIDATES = 30
"""The combinations found by the search that are measured exactly."""


@dataclass(frozen=True)
class Combination:
    """Inputs that together reveal what none reveals alone, with the formula, such as `total - disbursed`.

    `auc` is that of the formula's value, at least 0.5. `reproduces` is the hidden column that it equals up to scale and
    offset, if one was searched for; then `r_squared` measures how closely.
    """

    features: tuple[str, ...]
    formula: str
    auc: float
    reproduces: str | None = None
    r_squared: float | None = None

    def __str__(self) -> str:
        ranks = f"ranks the outcomes with AUC {self.auc:.3f}"
        if self.reproduces is None:
            return f"{self.formula} {ranks}"
        return f"{self.formula} reproduces {self.reproduces} (R squared {self.r_squared:.3f}) and {ranks}"


def leading_pairs(columns: pd.DataFrame, outcome: np.ndarray, max_auc: float) -> list[Combination]:
    """The pairs of numeric columns whose sum, difference, ratio or product ranks the outcomes above `max_auc`, and
    clearly better than either alone; the best first, each column once.

    Pairs are searched on a sample of the rows and confirmed on the others, so that luck among thousands of pairs does
    not look like a leak. The result does not depend on the order of the rows.
    """
    outcome = np.asarray(outcome, dtype=bool)
    names = _numeric(columns)
    searched, confirmed = _two_parts(_by_content(columns[names], outcome), outcome)
    if len(names) < 2 or min(_rarer(outcome[searched]), _rarer(outcome[confirmed])) < MIN_OF_A_CLASS:
        return []
    sample = _numbers(columns[names].iloc[searched])
    pairs = _pairs_to_try(sample, outcome[searched])
    leading: list[Combination] = []
    taken: set[int] = set()
    for name, i, j in _best_of(pairs, sample, outcome[searched], max_auc - MIN_GAIN):
        both = _numbers(columns[[names[i], names[j]]])
        values = FORMULAS[name](both[:, 0], both[:, 1])
        if taken & {i, j} or _rank_aucs(values[confirmed, np.newaxis], outcome[confirmed])[0] <= max_auc:
            continue
        auc, alone = single_feature_auc(pd.Series(values), outcome)[0], _better_alone(both, outcome)
        if auc > max(max_auc, alone + MIN_GAIN):
            leading.append(Combination((names[i], names[j]), name.format(names[i], names[j]), auc))
            taken |= {i, j}
    return leading


def reproduced_columns(
    hidden: pd.DataFrame, columns: pd.DataFrame, outcome: np.ndarray, in_threes: bool = True
) -> list[Combination]:
    """For each numeric column of `hidden` that up to three of `columns` (same rows) reproduce, the smallest such set.

    Weighted sums (thus sums and differences) and weighted sums of logarithms (thus products and ratios) are tried. A
    hidden column counts as reproduced if the combination equals it, up to scale and offset, except for 2% of its
    variance, and in rank. The result does not depend on the order of the rows.
    """
    outcome = np.asarray(outcome, dtype=bool)
    names, found = _numeric(columns), []
    for name in _numeric(hidden):
        target = _numbers(hidden[[name]])[:, 0]
        known = np.flatnonzero(~np.isnan(target))
        if len(known) < MIN_ROWS or len(np.unique(target[known])) < MIN_VALUES or not names:
            continue
        rows = columns[names].iloc[known].assign(**{TARGET: target[known]})
        sampled = known[_by_content(rows, outcome[known])[:SAMPLE]]
        combination = _smallest_set(target[sampled], _numbers(columns[names].iloc[sampled]), in_threes)
        if combination is None:
            continue
        used, formula, r_squared = combination
        shown = tuple(names[column] for column in used)
        auc = single_feature_auc(pd.Series(formula.value(_numbers(columns[list(shown)]))), outcome)[0]
        found.append(Combination(shown, formula.text(shown), auc, name, r_squared))
    return found


def _quotient(a: Floats, b: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = a / b
    return np.where(np.isfinite(quotient), quotient, np.nan)


FORMULAS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "{} - {}": np.subtract,
    "{} + {}": np.add,
    "{} / {}": _quotient,
    "{} * {}": np.multiply,
}


def _numeric(columns: pd.DataFrame) -> list[str]:
    return [
        name
        for name, kind in columns.dtypes.items()
        if pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)
    ]


def _numbers(columns: pd.DataFrame) -> Floats:
    """The values of numeric columns, (rows, columns); infinity is missing, and -0 is 0."""
    values = columns.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0
    return np.where(np.isfinite(values), values, np.nan)


def _by_content(columns: pd.DataFrame, outcome: np.ndarray) -> NDArray[np.int64]:
    """The rows in a pseudo-random order that depends only on their content, as positions."""
    hashed = outcome.astype(np.uint64)
    for name in columns.columns:
        # A column at a time: a copy of all would take gigabytes.
        hashed = hashed * np.uint64(1000003) ^ pd.util.hash_array(_numbers(columns[[name]])[:, 0])
    return np.argsort(pd.util.hash_array(hashed), kind="stable")


def _better_alone(both: Floats, outcome: np.ndarray) -> float:
    return max(single_feature_auc(pd.Series(column), outcome)[0] for column in both.T)


def _two_parts(order: NDArray[np.int64], outcome: np.ndarray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that are searched, with as many bads as goods if there are enough, and those that confirm; at most half
    of each class is searched."""
    searched, confirmed = [], []
    for of_class in (order[outcome[order]], order[~outcome[order]]):
        half = min(len(of_class) // 2, SEARCHED_OF_A_CLASS)
        searched.append(of_class[:half])
        confirmed.append(of_class[half:])
    return np.concatenate(searched), np.concatenate(confirmed)


def _rarer(outcome: np.ndarray) -> int:
    return int(min(outcome.sum(), (~outcome).sum()))


def _pairs_to_try(numbers: Floats, outcome: np.ndarray) -> NDArray[np.int64]:
    """(pairs, 2) positions of columns: all, or those whose weighted sum, plain or of logarithms, separates best."""
    width = numbers.shape[1]
    first, second = np.triu_indices(width, 1)
    if len(first) > MOST_PAIRS:
        scores = np.zeros((width, width))
        for values in (numbers, _logs(numbers)):
            scores = np.maximum(scores, _pair_r_squared(_correlations(outcome.astype(np.float64), values)))
        best = np.argsort(-scores[first, second], kind="stable")[:MOST_PAIRS]
        first, second = first[best], second[best]
    return np.column_stack([first, second])


def _best_of(
    pairs: NDArray[np.int64], numbers: Floats, outcome: np.ndarray, above: float
) -> list[tuple[str, int, int]]:
    """(formula, column, column) of the best pairs above an AUC, greatest first."""
    found: list[tuple[float, str, int, int]] = []
    for part in np.array_split(pairs, max(1, len(pairs) // 250)):
        for name, formula in FORMULAS.items():
            aucs = _rank_aucs(formula(numbers[:, part[:, 0]], numbers[:, part[:, 1]]), outcome)
            for at in np.flatnonzero(aucs > above):
                found.append((float(aucs[at]), name, int(part[at, 0]), int(part[at, 1])))
    return [each[1:] for each in sorted(found, key=lambda each: -each[0])[:CANDIDATES]]


def _rank_aucs(values: Floats, outcome: np.ndarray) -> Floats:
    """The Mann-Whitney AUC of each column of (rows, columns) among its known rows, in the better direction; 0.5 if too
    few are known."""
    from scipy.stats import rankdata

    known = ~np.isnan(values)
    bads, goods = known[outcome].sum(axis=0), known[~outcome].sum(axis=0)
    ranks = rankdata(values, axis=0, nan_policy="omit")
    below = np.nansum(ranks[outcome], axis=0) - bads * (bads + 1) / 2
    enough = np.minimum(bads, goods) >= MIN_OF_A_CLASS
    auc = np.where(enough, below / np.where(enough, bads * goods, 1), 0.5)
    return np.maximum(auc, 1 - auc)


@dataclass(frozen=True)
class _Formula:
    """A weighted sum of columns, or of their logarithms."""

    weights: tuple[float, ...]
    of_logs: bool

    def value(self, columns: Floats) -> Floats:
        return ((_logs(columns) if self.of_logs else columns) * np.array(self.weights)).sum(axis=1)

    def text(self, names: Sequence[str]) -> str:
        """`a - b`, `a / b`, or with weights that are not approximately 1."""
        written = ""
        for name, weight in zip(names, self.weights, strict=True):
            size = "" if abs(abs(weight) - 1) < 0.02 else f"{abs(weight):.3g}"
            if self.of_logs:
                term = f"{name}^{size}" if size else name
                joined = (" * " if weight > 0 else " / ") if written else ("" if weight > 0 else "1 / ")
            else:
                term = f"{size} {name}" if size else name
                joined = (" + " if weight > 0 else " - ") if written else ("" if weight > 0 else "-")
            written += joined + term
        return written


def _logs(numbers: Floats) -> Floats:
    """The logarithms of absolute values; missing if the number is zero."""
    return np.log(np.abs(np.where(numbers == 0, np.nan, numbers)))


def _smallest_set(target: Floats, numbers: Floats, in_threes: bool) -> tuple[list[int], _Formula, float] | None:
    """The smallest set of columns that reproduces the target, with its formula and R squared; None if there is none."""
    for size in (1, 2, 3) if in_threes else (1, 2):
        for of_logs in (False, True):
            values, aim = (_logs(numbers), _logs(target)) if of_logs else (numbers, target)
            correlations = _correlations(np.where(np.isnan(aim), np.nanmean(aim), aim), values)
            for used in _candidates(correlations, size):
                if fitted := _fit(aim, values[:, used]):
                    weights, r_squared = fitted
                    # What is added goes first: `a - b` is read more easily than `-b + a`.
                    order = np.argsort(weights < 0, kind="stable")
                    scaled = weights[order] / abs(weights[order[0]])
                    # Rounding errors of least squares would distinguish equal values.
                    whole = np.round(scaled)
                    scaled = np.where(np.isclose(scaled, whole, rtol=0, atol=1e-6) & (whole != 0), whole, scaled)
                    return [used[at] for at in order], _Formula(tuple(scaled.tolist()), of_logs), r_squared
    return None


def _correlations(target: Floats, numbers: Floats) -> Floats:
    """Correlations (columns + 1, columns + 1), the target last; a missing value counts as its column's mean."""
    centred = np.column_stack([numbers, target])
    known = ~np.isnan(centred)
    rows = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, centred - np.where(known, centred, 0).sum(axis=0) / rows, 0.0)
    # Scaled twice: squares of very large numbers overflow.
    centred /= np.maximum(np.abs(centred).max(axis=0, initial=0), np.finfo(np.float64).tiny)
    lengths = np.sqrt((centred**2).sum(axis=0))
    centred /= np.where(lengths > 0, lengths, 1)
    return centred.T @ centred


def _pair_r_squared(correlations: Floats) -> Floats:
    """(columns, columns) R squared of the target, which is last, by each pair of columns."""
    between, own = correlations[:-1, :-1], correlations[:-1, -1]
    rest = 1 - between**2
    explained = own[:, np.newaxis] ** 2 + own**2 - 2 * own[:, np.newaxis] * own * between
    return np.where(rest > 1e-13, np.clip(explained / np.where(rest > 1e-13, rest, 1), 0, 1), 0.0)


def _candidates(correlations: Floats, size: int) -> Iterator[list[int]]:
    """The sets of this many columns that explain most of the target, best first."""
    own = correlations[:-1, -1] ** 2
    if size == 1:
        yield from ([int(column)] for column in np.argsort(-own, kind="stable")[:CANDIDATES])
        return
    pairs = _pair_r_squared(correlations)
    if size == 2:
        yield from _best_sets({(): pairs})
        return
    kept = np.sort(np.argsort(-np.maximum(pairs.max(axis=1, initial=0), own), kind="stable")[:MOST_IN_THREES])
    inner = correlations[np.ix_([*kept, -1], [*kept, -1])]
    by_first: dict[tuple[int, ...], Floats] = {}
    for column in range(len(kept)):
        left = inner - np.outer(inner[:, column], inner[column])
        variances = np.diag(left).copy()
        usable = variances > 1e-10
        scale = np.where(usable, np.sqrt(np.where(usable, variances, 1)), np.inf)
        if usable[-1]:
            of_rest = _pair_r_squared(left / np.outer(scale, scale))
            by_first[(column,)] = 1 - (1 - of_rest) * variances[-1]
    for used in _best_sets(by_first):
        yield [int(kept[column]) for column in used]


def _best_sets(by_first: Mapping[tuple[int, ...], Floats]) -> Iterator[list[int]]:
    """The sets with the greatest R squared: each key with each pair of its matrix."""
    found = []
    for key, pairs in by_first.items():
        first, second = np.triu_indices(len(pairs), 1)
        values = pairs[first, second]
        best = np.argsort(-values, kind="stable")[:CANDIDATES]
        found += [(float(values[at]), tuple(sorted({*key, int(first[at]), int(second[at])}))) for at in best]
    size = len(next(iter(by_first), ())) + 2
    ranked = sorted({each for each in found if len(each[1]) == size}, key=lambda each: (-each[0], each[1]))
    seen = dict.fromkeys(used for _, used in ranked)
    yield from map(list, itertools.islice(seen, CANDIDATES))


def _fit(target: Floats, columns: Floats) -> tuple[Floats, float] | None:
    """(weights, R squared) by least squares on rows with all values known; None if the result does not equal the
    target."""
    from scipy.stats import spearmanr

    known = ~np.isnan(target) & ~np.isnan(columns).any(axis=1)
    if known.sum() < MIN_ROWS or known.sum() < len(target) / 4:
        return None
    y, x = target[known], columns[known]
    spread, scale = y.std(), x.std(axis=0)
    if not spread or not scale.all():
        return None
    standard = (x - x.mean(axis=0)) / scale
    weights = np.linalg.lstsq(standard, (y - y.mean()) / spread, rcond=1e-12)[0]
    fitted = standard @ weights
    r_squared = 1 - float(((y - y.mean()) / spread - fitted).var())
    if not np.all(weights) or r_squared < REPRODUCED_FROM or spearmanr(fitted, y).statistic < REPRODUCED_FROM:
        return None
    return weights / scale, r_squared

"""The drift of a batch from its reference: PSI and KS of every feature and of the score, with bounds for chance alone.
`drift_summary.py` summarises it; `drift_report.py` plots it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from duckdb import DuckDBPyRelation
from numpy.typing import NDArray

from credit_assets.monitoring.reference import (
    CategorySketch,
    Counts,
    NumericSketch,
    Reference,
    Sketch,
    bin_counts,
    number_text,
)
from credit_assets.monitoring.relation_columns import by_kind, category_counts, sorted_values
from credit_assets.schemas.drift import VERDICTS, Drift
from credit_assets.settings.drift import DriftConfig
from credit_assets.statistics.psi import psi_noise, psi_terms

Floats = NDArray[np.float64]


def ks_noise(rows_reference: int, rows_batch: int, chance: float) -> float:
    """The KS distance that two samples of one distribution exceed with probability `chance` at most.

    Smirnov's asymptotic tail 2 * exp(-2 * D**2 * n * m / (n + m)), which has the form and constant of the
    Dvoretzky-Kiefer-Wolfowitz bound (Massart 1990); conservative for values with ties.
    """
    return float(np.sqrt(-np.log(chance / 2) / 2 * (1 / rows_reference + 1 / rows_batch)))


def measure(
    reference: Reference,
    relation: DuckDBPyRelation,
    config: DriftConfig,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The drift table (`schemas.drift.Drift`) of a batch, the largest shift first.

    Measures `columns`, by default all in the reference; before scoring pass `reference.features`. A verdict is the
    worse of PSI's and KS's. Each has to exceed its limit, which is an effect size, and what sampling alone could reach
    (`psi_noise`, `ks_noise`, with a probability of `config.false_alarms` over all the columns together, after Sidak),
    which matters only for small batches. The figures themselves stay the conventional ones; nothing is subtracted from
    them. Raises ValueError for an empty batch and for columns that are absent or of a different kind than in training.
    """
    names = list(reference.sketches) if columns is None else list(columns)
    unknown = [name for name in names if name not in reference.sketches]
    if unknown:
        raise ValueError(f"The drift reference does not contain {', '.join(unknown)}.")
    numeric, categorical = by_kind(relation, names)
    sketches = {name: reference.sketches[name] for name in names}
    of_numbers = {name: sketch for name, sketch in sketches.items() if isinstance(sketch, NumericSketch)}
    of_categories = {name: sketch for name, sketch in sketches.items() if isinstance(sketch, CategorySketch)}
    if other_kind := sorted(set(numeric) ^ set(of_numbers)):
        raise ValueError(
            f"Columns are numeric in training and text in the batch, or the reverse: {', '.join(other_kind)}."
        )
    chance = chance_each(config, len(names))
    measured = {
        name: _measure_numeric(of_numbers[name], values, rows, chance)
        for name, values, rows in sorted_values(relation, numeric)
    } | {
        name: _measure_categories(of_categories[name], counts, chance)
        for name, counts in category_counts(relation, categorical)
    }
    drift = pd.DataFrame([{"feature": name} | measured[name] for name in names])
    drift["role"] = np.where(drift["feature"] == reference.score, "score", "feature")
    size = np.fmax(
        _effect(drift["psi"], drift["psi_noise"], config.psi_moderate, config.psi_shifted),
        _effect(drift["ks"], drift["ks_noise"], config.ks_moderate, config.ks_shifted),
    )
    drift["verdict"] = np.array(VERDICTS, dtype=object)[size]
    furthest = np.fmax(drift["psi"] / config.psi_shifted, drift["ks"] / config.ks_shifted)
    order = pd.DataFrame({"size": size, "furthest": furthest, "feature": drift["feature"]})
    order = order.sort_values(["size", "furthest", "feature"], ascending=[False, False, True])
    return drift.loc[order.index, list(Drift.to_schema().columns)].reset_index(drop=True)


def known_at_promotion(drift: pd.DataFrame, since: pd.DataFrame, promotion: str) -> pd.DataFrame:
    """The drift table of a batch, with the milder of two verdicts for each column: against the champion's training data
    (`drift`), and against the population at its promotion (`since`), for the same batch and columns.

    Shifts that were already present at the promotion are not reported again; later or larger ones are. The figures
    remain those against training. If a verdict changes, `change` states it with the text `promotion`.
    """
    size = {verdict: place for place, verdict in enumerate(VERDICTS)}
    then = drift["feature"].map(since.set_index("feature")["verdict"])
    known = then.map(size) < drift["verdict"].map(size)
    combined = drift.assign(
        verdict=drift["verdict"].mask(known, then),
        change=drift["change"].mask(known, drift["change"] + "; " + then + f" against {promotion}"),
    )
    order = combined["verdict"].map(size).sort_values(ascending=False, kind="stable")
    return combined.loc[order.index].reset_index(drop=True)


def in_both_warnings(learned: Mapping[str, str], since: Mapping[str, str]) -> dict[str, str]:
    """The entries of a warning against training whose features are also in the warning against the population at
    promotion."""
    return {feature: reason for feature, reason in learned.items() if feature in since}


def chance_each(config: DriftConfig, columns: int) -> float:
    """The probability of a false alarm for each of this many columns, after Sidak."""
    return -float(np.expm1(np.log1p(-config.false_alarms) / columns))


def _unseen_share_noise(counts: Counts, rows_reference: int, rows_batch: int, chance: float) -> float:
    """The share of a batch in categories never seen in training that is exceeded with probability `chance` at most.

    The share of what the training data missed is about that of the categories seen once there (Good 1953). Their number
    is taken at the upper bound of a Poisson count, and the batch's rows with that share at a binomial's.
    """
    from scipy.special import bdtrik, chdtri

    once = int((counts == 1).sum())
    unseen = min(1.0, float(chdtri(2 * (once + 1), chance / 2)) / 2 / rows_reference)
    return float(np.ceil(bdtrik(1 - chance / 2, rows_batch, unseen))) / rows_batch


def _effect(figure: pd.Series, noise: pd.Series, moderate: float, shifted: float) -> NDArray[np.int64]:
    """0 stable, 1 moderate, 2 shifted; null figures are stable."""
    beyond_chance = (figure > noise).to_numpy()
    return ((figure >= moderate).to_numpy() + (figure > shifted).to_numpy().astype(int)) * beyond_chance


def _measure_numeric(sketch: NumericSketch, values: Floats, rows: int, chance: float) -> dict[str, object]:
    present_then, present_now = sketch.rows - sketch.missing, len(values)
    measured = _measure_bins(sketch.counts, bin_counts(values, rows, sketch.cuts), sketch.bin_names(), chance)
    ks = noise = float("nan")
    if present_then and present_now:
        right = sketch.at_most / present_then - np.searchsorted(values, sketch.grid, "right") / present_now
        left = sketch.below / present_then - np.searchsorted(values, sketch.grid, "left") / present_now
        ks = float(max(np.abs(right).max(), np.abs(left).max()))
        noise = ks_noise(present_then, present_now, chance)
        now = number_text(values[(present_now - 1) // 2])
        measured["change"] = f"median {number_text(sketch.median())} -> {now}; {measured['change']}"
    one_value = present_now > 0 and bool(values[0] == values[-1])
    return measured | {
        "kind": "numeric",
        "ks": ks,
        "ks_noise": noise,
        "new_category_share": 0.0,
        "new_category_noise": 0.0,
        "became_constant": _became_constant(sketch, present_now, rows, one_value, chance),
    }


def _measure_categories(sketch: CategorySketch, batch: Mapping[str | None, int], chance: float) -> dict[str, object]:
    rows, missing = sum(batch.values()), batch.get(None, 0)
    now = np.array([batch.get(category, 0) for category in sketch.categories], dtype=np.int64)
    new = {
        category: n for category, n in batch.items() if category is not None and category not in set(sketch.categories)
    }
    kept = sketch.kept
    measured = _measure_bins(
        np.array([*sketch.counts[:kept], sketch.counts[kept:].sum(), 0, sketch.missing], dtype=np.int64),
        np.array([*now[:kept], now[kept:].sum(), sum(new.values()), missing], dtype=np.int64),
        [
            *(repr(category) for category in sketch.categories[:kept]),
            "rare categories",
            f"never seen before, most often {min(new, key=lambda category: (-new[category], category), default='')!r},",
            "missing",
        ],
        chance,
    )
    one_value = sum(category is not None for category in batch) == 1
    return measured | {
        "kind": "categorical",
        "ks": float("nan"),
        "ks_noise": float("nan"),
        "new_category_share": sum(new.values()) / rows,
        "new_category_noise": _unseen_share_noise(sketch.counts, sketch.rows, rows, chance),
        "became_constant": _became_constant(sketch, rows - missing, rows, one_value, chance),
    }


def _measure_bins(then: Counts, now: Counts, labels: Sequence[str], chance: float) -> dict[str, object]:
    """The figures that depend only on the bins. The last bin contains the missing values."""
    rows_then, rows_now = int(then.sum()), int(now.sum())
    most = int(np.abs(then / rows_then - now / rows_now).argmax())
    return {
        "psi": float(psi_terms(then, now).sum()),
        "psi_noise": psi_noise(int(((then > 0) | (now > 0)).sum()), rows_then, rows_now, chance),
        "missing_reference": float(then[-1] / rows_then),
        "missing_batch": float(now[-1] / rows_now),
        "rows_reference": rows_then,
        "rows_batch": rows_now,
        "change": f"{labels[most]} {then[most] / rows_then:.1%} -> {now[most] / rows_now:.1%}",
    }


def _became_constant(sketch: Sketch, present: int, rows: int, one_value: bool, chance: float) -> bool:
    """Whether a column that varied has become constant, with a probability below `chance` without drift.

    The probability that all of n rows repeat the first is at most commonest ** (n - 1).
    """
    if not present:
        return sketch.missing < sketch.rows and (sketch.missing / sketch.rows) ** rows < chance
    return one_value and 0 < sketch.commonest < 1 and sketch.commonest ** (present - 1) < chance

"""The summary of a drift table: whether the batch has shifted, and which features are unusable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from credit_assets.monitoring.check_names import VOLUME
from credit_assets.monitoring.drift import chance_each
from credit_assets.monitoring.reference import Counts
from credit_assets.plurals import number_of
from credit_assets.rounding import percent_apart
from credit_assets.settings.drift import DriftConfig
from credit_assets.verdicts.verdict import Verdict

LOG_SPREADS = 3
"""Robust standard deviations of the logarithm of earlier volumes within which a volume is as usual."""

EARLIER_BATCHES = 3
"""The minimum number of earlier batches that define a usual volume."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DriftSummary:
    """The drift of a batch as a few figures and a message.

    `failures` are the reasons why the drift check fails, empty unless `verdict` is shifted. Shares are of the
    features; `*_importance` are shares of the model's importance, None if no importance was given.
    """

    verdict: str
    failures: tuple[str, ...]
    features: int
    shifted: int
    moderate: int
    shifted_share: float
    shifted_importance: float | None
    score_psi: float | None
    score_ks: float | None
    score_verdict: str | None
    rows_reference: int
    rows_batch: int
    message: str


def summary(drift: pd.DataFrame, config: DriftConfig, importance: Mapping[str, float] | None = None) -> DriftSummary:
    """Summarise a batch's drift table, weighted by feature importance if it is given.

    Shifted, and so failed: the score shifted, or at least `config.shifted_features` of the features did, or the shifted
    ones carry at least `config.shifted_importance` of the model's importance. Moderate: any feature shifted, the score
    moved, or as many features as above moved. `importance` is any non-negative weight per feature (mean absolute SHAP,
    gain); absent features have none.
    """
    own = drift[drift["role"] == "feature"]
    scores = drift[drift["role"] == "score"].to_dict("records")
    score = scores[0] if scores else None
    shifted, moved = own["verdict"] == "shifted", own["verdict"] != "stable"
    weight = _importance_shares(own, importance)
    failures = []
    if score is not None and score["verdict"] == "shifted":
        failures.append(f"the score shifted ({_figures(score)})")
    if shifted.any() and shifted.mean() >= config.shifted_features:
        share, bound = percent_apart(shifted.mean(), config.shifted_features)
        failures.append(f"{share} of the features shifted, bound {bound}")
    if weight is not None and weight[shifted].sum() >= config.shifted_importance:
        share, bound = percent_apart(weight[shifted].sum(), config.shifted_importance)
        failures.append(f"shifted features carry {share} of the model's importance, bound {bound}")
    moderate = (
        shifted.any()
        or (moved.any() and moved.mean() >= config.shifted_features)
        or (weight is not None and weight[moved].sum() >= config.shifted_importance)
        or (score is not None and score["verdict"] == "moderate")
    )
    verdict = "shifted" if failures else "moderate" if moderate else "stable"
    rows_reference, rows_batch = int(own["rows_reference"].iloc[0]), int(own["rows_batch"].iloc[0])
    partly = int(moved.sum() - shifted.sum())
    sentences = [
        f"{verdict.capitalize()}{': ' + '; '.join(failures) if failures else ''}.",
        f"The batch has {number_of(rows_batch, 'row')} against {rows_reference:,} of the reference.",
        *([f"The score is {score['verdict']}: {_figures(score)}."] if score is not None else []),
        f"Of {number_of(len(own), 'feature')} {int(shifted.sum())} shifted and {partly} moved moderately.",
    ]
    top = drift[drift["verdict"] != "stable"].head(5).to_dict("records")
    if top:
        sentences.append("Moved most: " + "; ".join(f"{row['feature']} ({row['change']})" for row in top) + ".")
    if (noise := float(own["psi_noise"].median())) > config.psi_moderate:
        sentences.append(f"With so few rows, a PSI below {noise:.2f} may be chance.")
    return DriftSummary(
        verdict=verdict,
        failures=tuple(failures),
        features=len(own),
        shifted=int(shifted.sum()),
        moderate=partly,
        shifted_share=float(shifted.mean()),
        shifted_importance=None if weight is None else float(weight[shifted].sum()),
        score_psi=None if score is None else score["psi"],
        score_ks=None if score is None or np.isnan(score["ks"]) else score["ks"],
        score_verdict=None if score is None else score["verdict"],
        rows_reference=rows_reference,
        rows_batch=rows_batch,
        message=" ".join(sentences),
    )


def unusable(drift: pd.DataFrame, config: DriftConfig, importance: Mapping[str, float] | None = None) -> dict[str, str]:
    """The important features that are unusable, each with the reason. A batch with any is not scored.

    A feature is important from `config.important_feature` of the model's importance (all are, if none is given). It is
    unusable if its missing share rose by more than `config.missing_rise`, or it became constant, neither of which
    happens in a small batch by chance.
    """
    own = drift[drift["role"] == "feature"]
    weight = _importance_shares(own, importance)
    if weight is not None:
        own = own[weight >= config.important_feature]
    why: dict[str, str] = {}
    for row in own.to_dict("records"):
        rise = row["missing_batch"] - row["missing_reference"]
        if rise > config.missing_rise and row["verdict"] == "shifted":
            why[row["feature"]] = "missing {} -> {}".format(
                *percent_apart(row["missing_reference"], row["missing_batch"])
            )
        elif row["became_constant"]:
            why[row["feature"]] = "all values missing" if row["missing_batch"] == 1 else "became constant"
    return why


def missing_moved(drift: pd.DataFrame, config: DriftConfig) -> dict[str, str]:
    """The features whose missing share changed by more than `config.missing_moved`, and beyond chance, each with both
    shares.

    Beyond chance: the exact intervals of both shares (Clopper & Pearson 1934) do not overlap, at a probability of
    `config.false_alarms` over all the features together.
    """
    own = drift[drift["role"] == "feature"]
    shares = own[["missing_reference", "missing_batch"]].to_numpy().T
    rows = own[["rows_reference", "rows_batch"]].to_numpy().T
    low, high = _share_interval(np.round(shares * rows), rows, chance_each(config, len(own)))
    apart = (low[1] > high[0]) | (low[0] > high[1])
    moved = own[apart & (np.abs(shares[1] - shares[0]) > config.missing_moved)]
    return {
        row["feature"]: "missing {} -> {}".format(*percent_apart(row["missing_reference"], row["missing_batch"]))
        for row in moved.to_dict("records")
    }


def new_categories(drift: pd.DataFrame, config: DriftConfig) -> dict[str, str]:
    """The features with more than `config.new_categories` of the batch in categories never seen in training, and beyond
    chance (`new_category_noise`), each with the share."""
    share = drift["new_category_share"]
    found = drift[
        (drift["role"] == "feature") & (share > np.maximum(config.new_categories, drift["new_category_noise"]))
    ]
    return {row["feature"]: f"{row['new_category_share']:.1%} of the rows" for row in found.to_dict("records")}


def volume(rows: int, earlier: Sequence[int], config: DriftConfig) -> Verdict:
    """The verdict on the number of `rows` of a batch, compared with the numbers of `earlier` batches.

    Unusual: more than `config.volume_ratio` times the median of the earlier ones, or less than the median divided by
    it, and beyond their own variation (LOG_SPREADS times the median absolute deviation, scaled to a standard deviation,
    of their logarithms). With fewer than EARLIER_BATCHES batches, no volume is usual.
    """
    if len(earlier) < EARLIER_BATCHES:
        before = number_of(len(earlier), "earlier batch")
        message = f"No verdict: {number_of(rows, 'applicant')} and {before}, but {EARLIER_BATCHES} are required."
        return Verdict(VOLUME, True, message, {"applicants": rows}, "warning")
    logs = np.log(np.maximum(earlier, 1))
    usual = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - usual)))
    bound = max(float(np.log(config.volume_ratio)), LOG_SPREADS * spread)
    lowest, highest = np.exp([usual - bound, usual + bound])
    ratio = rows / float(np.exp(usual))
    return Verdict(
        VOLUME,
        bool(lowest <= rows <= highest),
        f"{number_of(rows, 'applicant')}, {ratio:.2f} times the median of {len(earlier)} earlier batches; "
        f"{np.ceil(lowest):,.0f} to {np.floor(highest):,.0f} are usual.",
        {"applicants": rows, "ratio": ratio},
        "warning",
    )


def _share_interval(counts: Floats, rows: Counts, chance: float) -> tuple[Floats, Floats]:
    """The exact two-sided interval of shares: the probability of one outside is at most `chance`."""
    from scipy.special import betaincinv

    low = betaincinv(np.maximum(counts, 1), rows - counts + 1, chance / 2)
    high = betaincinv(counts + 1, np.maximum(rows - counts, 1), 1 - chance / 2)
    return np.where(counts == 0, 0.0, low), np.where(counts == rows, 1.0, high)


def _importance_shares(own: pd.DataFrame, importance: Mapping[str, float] | None) -> pd.Series | None:
    """Each row's share of the model's importance; None if there is none to divide."""
    total = sum(importance.values()) if importance else 0
    if not importance or not total:
        return None
    return own["feature"].map(lambda name: importance.get(name, 0) / total)


def _figures(row: Mapping[str, Any]) -> str:
    return f"PSI {row['psi']:.3f}" + ("" if np.isnan(row["ks"]) else f", KS {row['ks']:.3f}")

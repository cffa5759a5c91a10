"""How well the scores of a batch performed, on outcomes if they are known and from the PDs alone if not; and whether
this is still what the model predicted.

`statistics/metrics.py` evaluates one model, `statistics/comparison.py` compares two; Dagster's assets and checks are
beside this file, the plot in `plots.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from credit_assets.monitoring.check_names import CALIBRATED_IN_SEGMENTS, NOT_WORSE, PERFORMANCE_HOLDS
from credit_assets.plurals import are, number_of
from credit_assets.rounding import digits_apart, percent_apart
from credit_assets.schemas.performance import ALL, EARLY, ESTIMATE, OUTCOMES, Performance
from credit_assets.settings.performance import PerformanceConfig
from credit_assets.statistics.calibration import Segment, Tolerance, segments, significantly_off
from credit_assets.statistics.comparison import auc_interval, compare
from credit_assets.statistics.metrics import Interval, evaluate, wilson
from credit_assets.verdicts.verdict import Verdict, not_judged

Floats = NDArray[np.float64]

SEED = 0
EVERYONE_KNOWN = "the model learned from every applicant of the batch, or was tested on them."
NO_CUT_OFF = 0.5
"""`evaluate` wants one for its confusion, which is not looked at: decisions are not judged here."""


def tolerance(config: PerformanceConfig) -> Tolerance:
    """How far the overall default rate may deviate from the mean PD."""
    return Tolerance(lambda pd: _gap(config, pd), right_within=0.25)


def tolerance_of_segments(config: PerformanceConfig, mean_pd: float, *, cumulative: bool = False) -> Tolerance:
    """How far the default rates of bands or other segments may deviate, given the overall mean PD.

    Training leaves a larger error in a segment's PDs than in the overall PDs; the cumulative test, which fails more
    slowly, allows for less of it.
    """
    of_all = _gap(config, mean_pd)
    return Tolerance(
        lambda pd: max(of_all, config.max_calibration_share_of_band * pd), right_within=0.35 if cumulative else 0.5
    )


def _gap(config: PerformanceConfig, mean_pd: float) -> float:
    return min(config.max_calibration_gap, config.max_calibration_share * mean_pd)


def evidence(
    scores: pd.DataFrame, applications: pd.DataFrame, outcomes: pd.DataFrame, learned_from: NDArray[np.int64]
) -> pd.DataFrame:
    """The scored applicants that the model did not learn from: `applicant`, `pd`, `band`, `outcome` (nan: not known
    yet).

    `scores` has the first three; `applications` and `outcomes` have the entity key and the outcome, in this order. An
    outcome in `outcomes` takes precedence over the application's. `learned_from` are applicants in the training or
    validation part of the model's training set: that a model knows their outcomes proves nothing.
    """
    told, later = (frame.set_index(frame.columns[0]).iloc[:, 0].astype("float64") for frame in (applications, outcomes))
    known = later.combine_first(told)
    unseen = scores[~scores["applicant"].isin(learned_from)]
    # In an order of their own: sums of PDs depend on it in the last bits.
    ordered = unseen.sort_values("applicant", kind="stable", ignore_index=True)
    return ordered.assign(outcome=ordered["applicant"].map(known))


def estimate(pds: Floats, config: PerformanceConfig) -> dict[str, Interval]:
    """The figures that calibrated PDs (n,) let expect: auc, ks, brier, default_rate of outcomes that are not known yet.

    Confidence-based performance estimation (CBPE; NannyML's documentation, "How it works: Estimation of performance of
    the monitored model"): a row with PD p is p of a default and 1 - p of a repaid loan, so that expected confusions,
    and with them expected metrics, need no outcome. AUC is the expected share of correctly ordered pairs
    (`expected_auc`), Brier the mean of p * (1 - p), the default rate the mean PD. KS, a maximum, is larger on outcomes
    than on their expectation: it is the mean of KS over outcomes drawn from the PDs.

    The interval contains the figure in `config.confidence` of such draws: what will be measured if the PDs are correct.
    That they are is assumed, not tested: a concept change does not show here. AUC and KS are omitted if the rows are so
    few that no draw had both outcomes.
    """
    pds = np.sort(pds)
    draws = pd.DataFrame(_drawn(pds, config.draws))
    tail = (1 - config.confidence) / 2
    expected = {
        "auc": expected_auc(pds),
        "ks": float(draws["ks"].mean()),
        "brier": float((pds * (1 - pds)).mean()),
        "default_rate": float(pds.mean()),
    }
    low, high = draws.quantile(tail), draws.quantile(1 - tail)
    return {
        name: Interval(value, min(value, float(low[name])), max(value, float(high[name])))
        for name, value in expected.items()
        if draws[name].notna().any()
    }


def expected_auc(pds: Floats) -> float:
    """The expected AUC of outcomes drawn from the PDs (n,); nan for a single row.

    The sum over pairs of different rows i, j of p_i * (1 - p_j), where p_i is the larger (half of it if they are
    equal), over the sum for all pairs. A row is no pair with itself, which it would be in a confusion matrix of
    expectations; that matters with few rows.
    """
    distinct, rows = np.unique(pds, return_counts=True)
    bads, goods = rows * distinct, rows * (1 - distinct)
    itself = float((bads * (1 - distinct)).sum())
    ordered = float((bads * (np.cumsum(goods) - goods / 2)).sum())
    pairs = float(goods.sum() * bads.sum()) - itself
    return (ordered - itself / 2) / pairs if pairs else np.nan


def measure(known: pd.DataFrame, config: PerformanceConfig) -> dict[str, Interval]:
    """auc (DeLong's interval), ks, brier, ece, calibration_gap and default_rate (Wilson's) of rows with outcomes.

    Formulas and the other intervals are those of `evaluation.metrics.evaluate`; raises as it does.
    """
    y, pds = _arrays(known)
    figures = evaluate(y, pds, NO_CUT_OFF, config.draws, SEED, config.confidence).metrics
    return {
        "auc": auc_interval(y, pds, config.confidence),
        **{name: figures[name] for name in ("ks", "brier", "ece", "calibration_gap")},
        "default_rate": _default_rate(known, config.confidence),
    }


def enough(known: pd.DataFrame, config: PerformanceConfig) -> bool:
    """Whether rows with outcomes are enough to measure performance and give a verdict."""
    defaults = int(known["outcome"].sum())
    return len(known) >= config.min_outcomes and min(defaults, len(known) - defaults) >= config.min_defaults


def too_few(name: str, known: pd.DataFrame, config: PerformanceConfig) -> Verdict:
    """The verdict with this name on rows with outcomes that are not `enough`."""
    defaults = int(known["outcome"].sum())
    message = (
        f"Not judged: {number_of(len(known), 'outcome')} that can be judged by "
        f"{are(len(known))} known, {defaults:,} of them {_defaults(defaults)}; "
        f"{config.min_outcomes:,} with {config.min_defaults:,} are needed."
    )
    return Verdict(name, True, message, {"outcomes": len(known), "defaults": defaults})


def is_matured(rows: pd.DataFrame, matured_share: float) -> bool:
    """Whether at least this share of the scored applicants have a known outcome (`outcome`, nan: not known yet). The
    first outcomes of a batch are mostly defaults, so their default rate is no evidence about the PDs."""
    return bool(rows["outcome"].notna().mean() >= matured_share)


def performance_table(
    rows: pd.DataFrame, model_version: int, config: PerformanceConfig, matured_share: float = 0.0
) -> pd.DataFrame:
    """The `Performance` table of `evidence` rows: measured if `enough` outcomes are known, else estimated. Figures
    measured before the batch is matured have the basis EARLY.

    Bands are in the order of their mean PD, lowest first; a measured band without outcomes is left out. Empty if there
    are no rows.
    """
    known = rows[rows["outcome"].notna()]
    measured = enough(known, config)
    judged = known if measured else rows
    lines = []
    if len(judged):
        estimated = estimate(judged["pd"].to_numpy(), config)
        figures = measure(known, config) if measured else estimated
        expected = {metric: figure.value for metric, figure in estimated.items()}
        lines = [
            {"segment": ALL, "metric": metric, "expected": expected.get(metric), **vars(figure), **_counts(rows)}
            for metric, figure in figures.items()
        ]
    for band in judged.groupby("band")["pd"].mean().sort_values().index:
        own = judged[judged["band"] == band]
        figure = (_default_rate if measured else _expected_rate)(own, config.confidence)
        lines.append(
            {"segment": band, "metric": "default_rate", "expected": own["pd"].mean()}
            | vars(figure)
            | _counts(rows[rows["band"] == band])
        )
    basis = (OUTCOMES if is_matured(rows, matured_share) else EARLY) if measured else ESTIMATE
    columns = Performance.to_schema().columns
    table = pd.DataFrame(lines, columns=list(columns)).assign(basis=basis, model_version=model_version)
    numbers = {name: str(column.dtype) for name, column in columns.items() if str(column.dtype) != "str"}
    return table.astype(numbers)


def holds(
    rows: pd.DataFrame,
    config: PerformanceConfig,
    earlier: pd.DataFrame | None = None,
    matured_share: float = 0.0,
) -> Verdict:
    """Whether the outcomes of `evidence` rows are what the PDs promised: in rank, and in level.

    Not in rank: the AUC surely lies more than `config.auc_margin` below the one that the PDs let expect on the very
    same rows (`expected_auc`), so that neither the batch's mix nor the choice of those whose outcomes are known (the
    approved, the early) makes it fail. Surely: the whole DeLong interval does. Not in level: the default rate of all,
    or of a band, is off the mean PD by more than a tolerance, and beyond chance (`calibration.significantly_off`). Of
    `config.false_alarms` the level of all has three quarters, rank and bands an eighth each. Nor over the whole time:
    so is the default rate of the batch together with `earlier`, the known outcomes (`pd`, `band`, `outcome`) of the
    batches before that the same version scored. Half of `config.cumulative_false_alarms` is the level's of all, half
    the bands', and holds for however many batches come (`calibration.anytime_p_value`). Without `earlier` it is not
    judged. Until a batch is matured (`is_matured`) only its rank is judged: defaults are known first, which moves the
    default rate of the known outcomes and hardly their AUC. Where not `enough` outcomes are known nothing is judged,
    and so nothing fails.
    """
    known = rows[rows["outcome"].notna()]
    if not len(rows):
        return not_judged(PERFORMANCE_HOLDS, EVERYONE_KNOWN)
    matured = is_matured(rows, matured_share)
    failures = [] if earlier is None or not matured else _off_since_promotion(known, earlier, config)
    if not enough(known, config):
        few = too_few(PERFORMANCE_HOLDS, known, config)
        return replace(few, passed=not failures, message=" ".join([*failures, few.message, _expectation(rows)]))
    y, pds = _arrays(known)
    # All of its chance is on one side.
    auc, expected_from_pds = auc_interval(y, pds, 1 - config.false_alarms / 4), expected_auc(pds)
    [level] = segments(known, _everyone(known), tolerance(config))
    own = [] if auc.high >= expected_from_pds - config.auc_margin else [_rank_off(config)]
    if matured:
        own += _off_in_batch(known, level, config)
    shown = _default_rate(known, config.confidence)
    early = "" if matured else f" {immature(rows, matured_share)}"
    promised = "As promised." if matured else "The rank is as promised."
    return Verdict(
        PERFORMANCE_HOLDS,
        not own and not failures,
        f"{' '.join([*own, *failures]) or promised}{early} Of {number_of(len(known), 'outcome')} "
        f"{int(y.sum()):,} {are(y.sum())} {_defaults(y.sum())}: AUC {_words(auc, '.3f')}, by the PDs "
        f"{expected_from_pds:.3f}; default rate {_words(shown, '.1%')}, mean PD {level.mean_pd:.1%}.",
        {
            "outcomes": len(known),
            "auc": auc.value,
            "auc_high": auc.high,
            "expected_auc": expected_from_pds,
            "default_rate": shown.value,
            "mean_pd": level.mean_pd,
            "calibration_p_value": level.p_value,
            "known_share": float(rows["outcome"].notna().mean()),
            "matured": float(matured),
        },
    )


def _rank_off(config: PerformanceConfig) -> str:
    return f"The AUC is surely more than {config.auc_margin:g} below the expected one: what leads to default changed."


def _expectation(rows: pd.DataFrame) -> str:
    """What the PDs let expect of the outcomes that are not known yet; a single row has no rank."""
    auc, mean_pd = expected_auc(rows["pd"].to_numpy()), rows["pd"].mean()
    of_rank = "" if np.isnan(auc) else f"an AUC of {auc:.3f} and "
    return f"The PDs let expect {of_rank}a default rate of {mean_pd:.1%}."


def _off_in_batch(known: pd.DataFrame, level: Segment, config: PerformanceConfig) -> list[str]:
    """The failures of the batch's default rates: overall (`level`), and of its bands."""
    eighth = config.false_alarms / 8
    off = []
    if significantly_off([level], 6 * eighth):
        off.append(f"The default rate is off the mean PD beyond tolerance and chance (p = {level.p_value:.2g}).")
    bands = segments(known, "band " + known["band"], tolerance_of_segments(config, known["pd"].mean()))
    if bands_off := significantly_off(bands, eighth):
        off.append(f"Other shares defaulted than were promised in {_listed(bands_off)}.")
    return off


def immature(rows: pd.DataFrame, matured_share: float) -> str:
    """The sentence that says that the batch is not matured, and why its default rate has no verdict."""
    known, needed = percent_apart(rows["outcome"].notna().mean(), matured_share)
    return (
        f"The default rate is not judged yet: {known} of the applicants have a known outcome, less than "
        f"training.matured_share ({needed}), and defaults are known first."
    )


def calibrated_in_segments(known: pd.DataFrame, by: pd.DataFrame, config: PerformanceConfig) -> Verdict:
    """Whether the default rate is what the PDs promised in each segment, for a warning.

    `known` are `evidence` rows with outcomes, `by` their segments in the same order: a column for each attribute or
    feature, null where a row is in none. All segments with at least `config.min_outcomes` outcomes are judged
    together, at a chance of `config.false_alarms`, by the tolerance of bands.
    """
    judged = [
        segment
        for name in by.columns
        for segment in segments(
            known,
            name + " " + by[name].astype("str").where(by[name].notna()),
            tolerance_of_segments(config, known["pd"].mean()),
        )
        if segment.outcomes >= config.min_outcomes
    ]
    if not judged:
        message = f"Not judged: no segment has {number_of(config.min_outcomes, 'known outcome')}."
        return Verdict(CALIBRATED_IN_SEGMENTS, True, message, {"segments": 0, "segments_off": 0}, "warning")
    off = significantly_off(judged, config.false_alarms)
    return Verdict(
        CALIBRATED_IN_SEGMENTS,
        not off,
        f"Other shares defaulted than were promised in {len(off)} of {number_of(len(judged), 'segment')}: "
        f"{_listed(off)}."
        if off
        else f"The default rate is as promised in {number_of(len(judged), 'segment')}.",
        {"segments": len(judged), "segments_off": len(off)},
        "warning",
    )


def _off_since_promotion(known: pd.DataFrame, earlier: pd.DataFrame, config: PerformanceConfig) -> list[str]:
    """The failures of the batch's outcomes together with earlier ones."""
    columns = ["pd", "band", "outcome"]
    pooled = pd.concat([earlier[columns], known[columns]], ignore_index=True)
    if not len(earlier) or not enough(pooled, config):
        return []
    half = config.cumulative_false_alarms / 2
    level = segments(pooled, _everyone(pooled), tolerance(config), cumulative=True)
    bands = segments(
        pooled,
        "band " + pooled["band"],
        tolerance_of_segments(config, pooled["pd"].mean(), cumulative=True),
        cumulative=True,
    )
    off = [*significantly_off(level, half), *significantly_off(bands, half)]
    return [f"Since its promotion other shares defaulted than were promised in {_listed(off)}."] if off else []


def _everyone(rows: pd.DataFrame) -> pd.Series:
    return pd.Series("all batches", index=rows.index)


def _listed(segments: Sequence[Segment]) -> str:
    return "; ".join(map(str, segments))


def not_worse(known: pd.DataFrame, predecessor: pd.Series, config: PerformanceConfig) -> Verdict:
    """Whether the champion ranks these rows no worse than its predecessor.

    `known` are `evidence` rows of the champion's scores with outcomes, `predecessor` the other's PDs of them by
    applicant. Worse: an AUC lower by more than `config.predecessor_margin`, and lower beyond chance (DeLong's paired
    test, one-sided at `config.false_alarms`). Raises ValueError as `compare` does.
    """
    y, pds = _arrays(known)
    others = known["applicant"].map(predecessor).to_numpy(dtype=np.float64)
    compared = compare(y, pds, others, 1 - 2 * config.false_alarms)
    difference = compared.auc_difference
    worse = difference.value < -config.predecessor_margin and difference.high < 0
    digits = digits_apart(3, (difference.value, -config.predecessor_margin), (difference.high, 0))
    return Verdict(
        NOT_WORSE,
        not worse,
        f"{'Worse' if worse else 'Not worse'} than the champion before: on "
        f"{number_of(len(known), 'outcome')} that neither "
        f"learned from the AUC is {compared.auc_candidate:.{digits}f} against {compared.auc_champion:.{digits}f}, a "
        f"difference of {_words(difference, f'+.{digits}f')} at a chance of {config.false_alarms:g}; "
        f"{config.predecessor_margin:g} is tolerated.",
        {"outcomes": len(known), **compared.figures()},
    )


def _defaults(number: int) -> str:
    return "a default" if number == 1 else "defaults"


def _arrays(known: pd.DataFrame) -> tuple[NDArray[np.int8], Floats]:
    return known["outcome"].to_numpy(dtype=np.int8), known["pd"].to_numpy(dtype=np.float64)


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "applicants": len(rows),
        "outcomes": int(rows["outcome"].notna().sum()),
        "defaults": int(rows["outcome"].sum()),
    }


def _default_rate(known: pd.DataFrame, confidence: float) -> Interval:
    low, high = wilson(known["outcome"].sum(), len(known), confidence)
    return Interval(float(known["outcome"].mean()), float(low), float(high))


def _expected_rate(rows: pd.DataFrame, confidence: float) -> Interval:
    """The mean PD, and where the default rate of such rows will lie: a binomial's bounds, a little too wide as the
    PDs are spread."""
    from scipy.special import bdtrik

    mean, tail = float(rows["pd"].mean()), (1 - confidence) / 2
    low, high = (float(np.ceil(bdtrik(share, len(rows), mean))) / len(rows) for share in (tail, 1 - tail))
    return Interval(mean, min(low, mean), max(high, mean))


def _drawn(pds: Floats, times: int) -> Iterator[dict[str, float]]:
    """The metrics of outcomes drawn from the PDs; AUC and KS are nan where all are alike."""
    rng = np.random.default_rng(SEED)
    ordered = np.sort(pds)
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    rows = np.diff(np.append(starts, ordered.size))
    squares = float((ordered**2).sum())
    for _ in range(times):
        defaulted = rng.random(ordered.size) < ordered
        bads = np.add.reduceat(defaulted.astype(np.int64), starts)
        goods = rows - bads
        bads_up_to, goods_up_to = np.cumsum(bads), np.cumsum(goods)
        n_bads, n_goods = int(bads_up_to[-1]), int(goods_up_to[-1])
        both = n_bads > 0 and n_goods > 0
        yield {
            "auc": float((bads * (goods_up_to - goods / 2)).sum()) / (n_bads * n_goods) if both else np.nan,
            "ks": float(np.abs(goods_up_to / n_goods - bads_up_to / n_bads).max()) if both else np.nan,
            # A default costs (1 - p)^2 in the place of p^2: 1 - 2p more.
            "brier": (squares + float((1 - 2 * ordered[defaulted]).sum())) / ordered.size,
            "default_rate": n_bads / ordered.size,
        }


def _words(interval: Interval, form: str) -> str:
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"

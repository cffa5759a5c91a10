"""The performance of a batch's scores, measured on outcomes or estimated from the PDs, and the verdicts on whether it
is as the PDs predict.

`statistics/metrics.py` evaluates one model, `statistics/comparison.py` compares two. `plots.py` plots the result.
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
from credit_assets.verdicts.verdict import Verdict, no_verdict

Floats = NDArray[np.float64]

SEED = 0
NO_UNSEEN_APPLICANT = "the model learned from every applicant of the batch, or was tested on them."
ANY_CUT_OFF = 0.5
"""`evaluate` requires a cut-off for its confusion matrix, which is not used here."""


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


def rows_to_evaluate(
    scores: pd.DataFrame, applications: pd.DataFrame, outcomes: pd.DataFrame, learned_from: NDArray[np.int64]
) -> pd.DataFrame:
    """The scored applicants that the model did not learn from, with the columns `applicant`, `pd`, `band` and `outcome`
    (nan if unknown), sorted by applicant.

    `scores` has the first three columns; `applications` and `outcomes` have the entity key and the outcome, in this
    order. An outcome in `outcomes` takes precedence over the one in `applications`. `learned_from` are the applicants
    in the training or validation part of the model's training set.
    """
    initial, later = (
        frame.set_index(frame.columns[0]).iloc[:, 0].astype("float64") for frame in (applications, outcomes)
    )
    known = later.combine_first(initial)
    unseen = scores[~scores["applicant"].isin(learned_from)]
    # Sorted, because sums of PDs depend on the order in the last bits.
    ordered = unseen.sort_values("applicant", kind="stable", ignore_index=True)
    return ordered.assign(outcome=ordered["applicant"].map(known))


def estimate(pds: Floats, config: PerformanceConfig) -> dict[str, Interval]:
    """The expected auc, ks, brier and default_rate of unknown outcomes, assuming that the PDs (n,) are calibrated.

    Confidence-based performance estimation (CBPE; NannyML's documentation, "How it works: Estimation of performance of
    the monitored model"): a row with PD p counts as p defaults and 1 - p repaid loans. AUC is the expected share of
    correctly ordered pairs (`expected_auc`), Brier the mean of p * (1 - p), the default rate the mean PD. KS is the
    mean over outcomes drawn from the PDs, because as a maximum it is larger on outcomes than on their expectation.

    The interval contains the figure in a share of `config.confidence` of such draws. It assumes that the PDs are
    correct and cannot show a concept change. AUC and KS are omitted if no draw had both outcomes, which happens with
    few rows.
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
    equal), over the sum for all pairs. Unlike in a confusion matrix of expectations, a row is not paired with itself,
    which matters with few rows.
    """
    distinct, rows = np.unique(pds, return_counts=True)
    bads, goods = rows * distinct, rows * (1 - distinct)
    itself = float((bads * (1 - distinct)).sum())
    ordered = float((bads * (np.cumsum(goods) - goods / 2)).sum())
    pairs = float(goods.sum() * bads.sum()) - itself
    return (ordered - itself / 2) / pairs if pairs else np.nan


def measure(known: pd.DataFrame, config: PerformanceConfig) -> dict[str, Interval]:
    """auc (DeLong's interval), ks, brier, ece, calibration_gap and default_rate (Wilson's interval) of rows with
    outcomes.

    `statistics.metrics.evaluate` defines the formulas, the other intervals and the errors.
    """
    y, pds = _arrays(known)
    figures = evaluate(y, pds, ANY_CUT_OFF, config.draws, SEED, config.confidence).metrics
    return {
        "auc": auc_interval(y, pds, config.confidence),
        **{name: figures[name] for name in ("ks", "brier", "ece", "calibration_gap")},
        "default_rate": _default_rate(known, config.confidence),
    }


def enough(known: pd.DataFrame, config: PerformanceConfig) -> bool:
    """Whether there are enough rows with outcomes to measure performance and to give a verdict."""
    defaults = int(known["outcome"].sum())
    return len(known) >= config.min_outcomes and min(defaults, len(known) - defaults) >= config.min_defaults


def too_few(name: str, known: pd.DataFrame, config: PerformanceConfig) -> Verdict:
    """The passing verdict with this name if there are not `enough` rows with outcomes."""
    defaults = int(known["outcome"].sum())
    message = (
        f"No verdict: {number_of(len(known), 'usable outcome')} {are(len(known))} known, {defaults:,} of them "
        f"{_defaults(defaults)}; {config.min_outcomes:,} outcomes with {config.min_defaults:,} defaults are required."
    )
    return Verdict(name, True, message, {"outcomes": len(known), "defaults": defaults})


def is_matured(rows: pd.DataFrame, matured_share: float) -> bool:
    """Whether at least this share of the scored applicants have a known outcome (`outcome`, nan if unknown). Before
    that, defaults are over-represented, so the default rate does not test the PDs."""
    return bool(rows["outcome"].notna().mean() >= matured_share)


def performance_table(
    rows: pd.DataFrame, model_version: int, config: PerformanceConfig, matured_share: float = 0.0
) -> pd.DataFrame:
    """The `Performance` table of `rows_to_evaluate`: measured if `enough` outcomes are known, else estimated. Figures
    that are measured before the batch has matured have the basis EARLY.

    Bands are ordered by their mean PD, lowest first; bands without outcomes are omitted if figures are measured. The
    table is empty if there are no rows.
    """
    known = rows[rows["outcome"].notna()]
    measured = enough(known, config)
    evaluated = known if measured else rows
    lines = []
    if len(evaluated):
        estimated = estimate(evaluated["pd"].to_numpy(), config)
        figures = measure(known, config) if measured else estimated
        expected = {metric: figure.value for metric, figure in estimated.items()}
        lines = [
            {"segment": ALL, "metric": metric, "expected": expected.get(metric), **vars(figure), **_counts(rows)}
            for metric, figure in figures.items()
        ]
    for band in evaluated.groupby("band")["pd"].mean().sort_values().index:
        own = evaluated[evaluated["band"] == band]
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
    rows: pd.DataFrame, config: PerformanceConfig, earlier: pd.DataFrame | None = None, matured_share: float = 0.0
) -> Verdict:
    """The verdict on whether the outcomes of `rows_to_evaluate` agree with the PDs, in ranking and in level.

    Ranking fails if the AUC, with its whole DeLong interval, is more than `config.auc_margin` below the AUC that the
    PDs of the same rows imply (`expected_auc`). The mix of the batch, and the selection of applicants whose outcomes
    are known (approved ones, early ones), therefore do not make it fail.

    Level fails if the default rate of all rows, or of a band, deviates from the mean PD by more than a tolerance and
    significantly (`calibration.significantly_off`). Of `config.false_alarms`, three quarters are spent on all rows, and
    an eighth each on ranking and on bands.

    Level since the promotion fails likewise for the batch together with `earlier`, the known outcomes (`pd`, `band`,
    `outcome`) of earlier batches that the same version scored. Half of `config.cumulative_false_alarms` is spent on all
    rows and half on bands, over any number of batches (`calibration.anytime_p_value`). It is omitted without `earlier`.

    Before the batch has matured (`is_matured`), only ranking is tested: defaults become known first, which changes the
    default rate of the known outcomes but hardly their AUC. If not `enough` outcomes are known, nothing is tested and
    the verdict passes.
    """
    known = rows[rows["outcome"].notna()]
    if not len(rows):
        return no_verdict(PERFORMANCE_HOLDS, NO_UNSEEN_APPLICANT)
    matured = is_matured(rows, matured_share)
    failures = [] if earlier is None or not matured else _off_since_promotion(known, earlier, config)
    if not enough(known, config):
        few = too_few(PERFORMANCE_HOLDS, known, config)
        return replace(few, passed=not failures, message=" ".join([*failures, few.message, _expectation(rows)]))
    y, pds = _arrays(known)
    # One-sided: a confidence of 1 - 2 * (false_alarms / 8).
    auc, expected_from_pds = auc_interval(y, pds, 1 - config.false_alarms / 4), expected_auc(pds)
    [level] = segments(known, _everyone(known), tolerance(config))
    own = [] if auc.high >= expected_from_pds - config.auc_margin else [_rank_off(config)]
    if matured:
        own += _off_in_batch(known, level, config)
    shown = _default_rate(known, config.confidence)
    early = "" if matured else f" {immature(rows, matured_share)}"
    passed = "Performance is as expected." if matured else "The ranking is as expected."
    return Verdict(
        PERFORMANCE_HOLDS,
        not own and not failures,
        f"{' '.join([*own, *failures]) or passed}{early} Of {number_of(len(known), 'outcome')} "
        f"{int(y.sum()):,} {are(y.sum())} {_defaults(y.sum())}: AUC {_interval_text(auc, '.3f')}, expected from "
        f"the PDs {expected_from_pds:.3f}; default rate {_interval_text(shown, '.1%')}, mean PD {level.mean_pd:.1%}.",
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
    return f"The AUC is significantly more than {config.auc_margin:g} below the expected one: a concept change."


def _expectation(rows: pd.DataFrame) -> str:
    """The AUC (unless there is a single row) and the default rate that the PDs imply, as text."""
    auc, mean_pd = expected_auc(rows["pd"].to_numpy()), rows["pd"].mean()
    of_rank = "" if np.isnan(auc) else f"an AUC of {auc:.3f} and "
    return f"The PDs imply {of_rank}a default rate of {mean_pd:.1%}."


def _off_in_batch(known: pd.DataFrame, level: Segment, config: PerformanceConfig) -> list[str]:
    """The failures of the batch's default rates: overall (`level`), and of its bands."""
    eighth = config.false_alarms / 8
    off = []
    if significantly_off([level], 6 * eighth):
        off.append(
            f"The default rate deviates significantly from the mean PD, beyond the tolerance (p = {level.p_value:.2g})."
        )
    bands = segments(known, "band " + known["band"], tolerance_of_segments(config, known["pd"].mean()))
    if bands_off := significantly_off(bands, eighth):
        off.append(f"The default rate deviates significantly from the mean PD in {_listed(bands_off)}.")
    return off


def immature(rows: pd.DataFrame, matured_share: float) -> str:
    """The message that the batch has not matured, and that its default rate therefore has no verdict."""
    known, needed = percent_apart(rows["outcome"].notna().mean(), matured_share)
    return (
        f"The default rate has no verdict yet: {known} of the applicants have a known outcome, less than "
        f"training.matured_share ({needed}), and defaults become known first."
    )


def calibrated_in_segments(known: pd.DataFrame, by: pd.DataFrame, config: PerformanceConfig) -> Verdict:
    """The verdict, a warning, on whether the default rate agrees with the mean PD in each segment.

    `known` are `rows_to_evaluate` with outcomes, `by` their segments in the same order: a column per attribute or
    feature, null for a row in no segment. All segments with at least `config.min_outcomes` outcomes are tested
    together, with a probability of a false alarm of `config.false_alarms` and the tolerance of bands.
    """
    tested = [
        segment
        for name in by.columns
        for segment in segments(
            known,
            name + " " + by[name].astype("str").where(by[name].notna()),
            tolerance_of_segments(config, known["pd"].mean()),
        )
        if segment.outcomes >= config.min_outcomes
    ]
    if not tested:
        message = f"No verdict: no segment has {number_of(config.min_outcomes, 'known outcome')}."
        return Verdict(CALIBRATED_IN_SEGMENTS, True, message, {"segments": 0, "segments_off": 0}, "warning")
    off = significantly_off(tested, config.false_alarms)
    return Verdict(
        CALIBRATED_IN_SEGMENTS,
        not off,
        f"The default rate deviates significantly from the mean PD in {len(off)} of "
        f"{number_of(len(tested), 'segment')}: "
        f"{_listed(off)}."
        if off
        else f"The default rate is as expected in {number_of(len(tested), 'segment')}.",
        {"segments": len(tested), "segments_off": len(off)},
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
    return (
        [f"Since its promotion, the default rate deviates significantly from the mean PD in {_listed(off)}."]
        if off
        else []
    )


def _everyone(rows: pd.DataFrame) -> pd.Series:
    return pd.Series("all batches", index=rows.index)


def _listed(segments: Sequence[Segment]) -> str:
    return "; ".join(map(str, segments))


def not_worse(known: pd.DataFrame, predecessor: pd.Series, config: PerformanceConfig) -> Verdict:
    """The verdict on whether the champion ranks these rows no worse than its predecessor.

    `known` are `rows_to_evaluate` of the champion's scores with outcomes, `predecessor` the predecessor's PDs of them
    by applicant. The champion is worse if its AUC is lower by more than `config.predecessor_margin` and significantly
    (DeLong's paired test, one-sided at `config.false_alarms`). Raises ValueError as `compare` does.
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
        f"{'Worse' if worse else 'Not worse'} than the predecessor: on "
        f"{number_of(len(known), 'outcome')} that neither "
        f"learned from, the AUC is {compared.auc_candidate:.{digits}f} against {compared.auc_champion:.{digits}f}, a "
        f"difference of {_interval_text(difference, f'+.{digits}f')} at a level of {config.false_alarms:g}; "
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
    """The mean PD with the interval of the default rate: that of a binomial, slightly too wide because the PDs
    differ."""
    from scipy.special import bdtrik

    mean, tail = float(rows["pd"].mean()), (1 - confidence) / 2
    low, high = (float(np.ceil(bdtrik(share, len(rows), mean))) / len(rows) for share in (tail, 1 - tail))
    return Interval(mean, min(low, mean), max(high, mean))


def _drawn(pds: Floats, times: int) -> Iterator[dict[str, float]]:
    """Draw outcomes from the PDs, and yield the metrics of each draw; AUC and KS are nan if all outcomes are equal."""
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
            # A default contributes (1 - p)^2 instead of p^2, which is 1 - 2p more.
            "brier": (squares + float((1 - 2 * ordered[defaulted]).sum())) / ordered.size,
            "default_rate": n_bads / ordered.size,
        }


def _interval_text(interval: Interval, form: str) -> str:
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"

"""The promotion gate: verdicts on the requirements that a candidate must meet. The registry changes the champion.

A verdict fails only on significant evidence, taken from confidence intervals, so that chance in a small test set does
not stop a model; only discrimination has to be demonstrated. If there is a champion, the choice is between the two: a
requirement that the champion does not significantly meet on the same rows stops a candidate only if the candidate is
significantly worse in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

import pandas as pd

from credit_assets.evaluation.four_fifths import four_fifths
from credit_assets.evaluation.interval_text import interval_text, signed_text
from credit_assets.plurals import number_of
from credit_assets.rounding import digits_apart
from credit_assets.settings.evaluation import GateConfig
from credit_assets.statistics.comparison import Comparison, not_worse, shown_not_worse
from credit_assets.statistics.metrics import Evaluation, Interval
from credit_assets.verdicts.verdict import Verdict

BASELINE, PLAUSIBLE = "beats_baseline", "plausible_auc"
"""Names of the verdicts on the gain over the baseline, and on an AUC that is too good to be true."""

NO_CHAMPION = "There is no champion to compare with."


def gate_summary(verdicts: Sequence[Verdict]) -> str:
    """The result of the gate as text: that the candidate passed, or the requirements that it does not meet."""
    failed = [verdict for verdict in verdicts if verdict.blocking and not verdict.passed]
    if not failed:
        return "It passed the gate."
    return "It was refused by the gate. " + " ".join(f"{verdict.name}: {verdict.message}" for verdict in failed)


def verdicts(
    evaluation: Evaluation,
    champion: Evaluation | None,
    comparison: Comparison | None,
    fairness: pd.DataFrame,
    score_psi: float,
    score_psi_noise: float,
    champion_psi: float | None,
    thresholds: GateConfig,
    *,
    psi_difference: Interval | None = None,
    baseline: Comparison | None = None,
    max_auc: float | None = None,
    leading: Sequence[str] = (),
    not_compared: str = NO_CHAMPION,
) -> list[Verdict]:
    """All verdicts on a candidate, always with the same names and in the same order.

    `champion` and `comparison` refer to the same rows. They are None if there is no champion, or if it cannot be
    compared on these rows; `not_compared` states why. `fairness` has the verdicts of the audit, one row per attribute
    or intersection. `score_psi` is the PSI between the candidate's PDs of training and test rows, `champion_psi` that
    of the champion on the same rows, `psi_difference` the first minus the second, and `score_psi_noise` the PSI that
    chance alone does not exceed. `baseline` compares the candidate with the baseline. An AUC above `max_auc` has to be
    confirmed; `leading` names its most important features. Without `baseline` or `max_auc`, the verdict on it is
    omitted. Leaks of single inputs are not examined here, because the training set refuses them.
    """
    return [
        discrimination(evaluation, thresholds, champion, comparison),
        *([] if max_auc is None else [plausible(evaluation, max_auc, leading, thresholds)]),
        calibration(evaluation, champion, thresholds, comparison),
        against_champion(comparison, thresholds, evaluation.applicants, not_compared),
        *([] if baseline is None else [against_baseline(baseline, thresholds)]),
        stability(score_psi, score_psi_noise, champion_psi, thresholds, psi_difference, comparison),
        *four_fifths(fairness),
    ]


def promotable(verdicts: Sequence[Verdict]) -> bool:
    """Whether every blocking verdict passed."""
    return all(verdict.passed for verdict in verdicts if verdict.blocking)


def significant_gains(comparison: Comparison | None) -> str:
    """The metrics (AUC, Brier score, log loss) in which the candidate is significantly better than the other model on
    the same rows, with their differences, as text. Significant means that the whole interval of the difference is on
    the better side. Empty if there is none, or if one of the three is significantly worse."""
    if comparison is None:
        return ""
    gains = {
        "AUC": comparison.auc_difference,
        "Brier score": _negative(comparison.brier_difference),
        "log loss": _negative(comparison.log_loss_difference),
    }
    if any(gain.high < 0 for gain in gains.values()):
        return ""
    return ", ".join(
        f"{name} {signed_text(gain if name == 'AUC' else _negative(gain), digits_apart(4, (gain.low, 0)))}"
        for name, gain in gains.items()
        if gain.low > 0
    )


def _negative(difference: Interval) -> Interval:
    return Interval(-difference.value, -difference.high, -difference.low)


def _proper_score_gain(comparison: Comparison | None) -> str:
    """The proper score (Brier score or log loss) in which the candidate is significantly better, with its difference,
    as text. Empty if there is none, or if the other score is significantly worse."""
    if comparison is None:
        return ""
    scores = {"Brier score": comparison.brier_difference, "log loss": comparison.log_loss_difference}
    if any(difference.low > 0 for difference in scores.values()):
        return ""
    return next(
        (
            f"{name} {signed_text(found, digits_apart(5, (found.high, 0)))}"
            for name, found in scores.items()
            if found.high < 0
        ),
        "",
    )


@dataclass(frozen=True)
class _Exemption:
    """Whether a missed requirement is waived because the champion does not meet it either, with the explanation."""

    holds: bool
    explanation: str


def _relative_to_champion(
    measure: str, champion_meets: bool, worse: Interval | None, material: bool, comparison: Comparison | None
) -> _Exemption:
    """Whether a missed requirement stops the candidate if there is a champion. It does not if the champion does not
    significantly meet it either (`champion_meets`), and the candidate is not significantly worse in it or significantly
    better by a proper score.

    `worse` is by how much the candidate is worse, with its paired interval. A significant difference that is not
    `material`, because it lies within the candidate's own interval, does not count.
    """
    if champion_meets:
        return _Exemption(False, f" The champion significantly meets this on the same rows ({measure}).")
    significantly_worse = worse is not None and worse.low > 0 and material
    difference = f", candidate minus champion {signed_text(worse, 4)}" if worse is not None else ""
    if not significantly_worse:
        return _Exemption(
            True,
            f" The champion does not significantly meet this either ({measure}{difference}), and the candidate is not "
            "significantly worse, so this does not stop it.",
        )
    if better := _proper_score_gain(comparison):
        return _Exemption(
            True,
            f" The champion does not significantly meet this either ({measure}{difference}), and the candidate is "
            f"significantly better by a proper score ({better}), so this does not stop it.",
        )
    return _Exemption(
        False, f" The candidate is significantly worse than the champion in this ({measure}{difference})."
    )


def discrimination(
    evaluation: Evaluation,
    thresholds: GateConfig,
    champion: Evaluation | None = None,
    comparison: Comparison | None = None,
) -> Verdict:
    """Passes if there are enough defaults, the AUC reaches its minimum, and its whole interval is above 0.5. Otherwise
    it passes if the champion's AUC does not significantly reach the minimum and is not significantly higher."""
    auc = evaluation.metrics["auc"]
    rarer = min(evaluation.defaults, evaluation.applicants - evaluation.defaults)
    reached, beyond_chance = auc.value >= thresholds.min_auc, auc.low > 0.5
    enough = rarer >= thresholds.min_defaults
    doubts = "" if beyond_chance else ", and it is not significantly above chance"
    if not enough:
        doubts += f", but {rarer} defaults or non-defaults are fewer than the {thresholds.min_defaults} required"
    passed, note = reached and beyond_chance and enough, ""
    if champion is not None and comparison is not None and enough and not passed:
        other = champion.metrics["auc"]
        least = max(thresholds.min_auc, 0.5)
        exemption = _relative_to_champion(
            f"AUC {interval_text(other, digits_apart(3, (other.low, least)))}",
            other.low >= least,
            _negative(comparison.auc_difference),
            True,
            comparison,
        )
        passed, note = exemption.holds, exemption.explanation
    digits = digits_apart(3, (auc.value, thresholds.min_auc), (auc.low, 0.5))
    return Verdict(
        name="discrimination",
        passed=passed,
        message=(
            f"AUC {interval_text(auc, digits)} {'reaches' if reached else 'is below'} {thresholds.min_auc:.{digits}f}"
            f"{doubts}.{note}"
        ),
        figures={
            "auc": auc.value,
            "auc_low": auc.low,
            "auc_high": auc.high,
            "min_auc": thresholds.min_auc,
            "defaults": float(evaluation.defaults),
        },
    )


def plausible(evaluation: Evaluation, max_auc: float, leading: Sequence[str], thresholds: GateConfig) -> Verdict:
    """Passes if the AUC is not above the limit, beyond which a leak is more likely than skill, or if a person has
    confirmed it by name in the configuration."""
    auc = evaluation.metrics["auc"].value
    confirmed = next((each for each in thresholds.confirmed_auc if auc <= each.up_to), None)
    shown = f"{auc:.{digits_apart(3, (auc, max_auc), *((auc, each.up_to) for each in thresholds.confirmed_auc))}f}"
    if auc <= max_auc:
        message = f"AUC {shown} is not above {max_auc:g}, so it is plausible."
    elif confirmed is not None:
        message = (
            f"AUC {shown} is above {max_auc:g} (training.max_single_feature_auc); {confirmed.by} confirmed an AUC "
            f"of up to {confirmed.up_to:g}: {confirmed.why.rstrip('.')}."
        )
    else:
        most = f", starting with {', '.join(leading)}" if leading else ""
        message = (
            f"AUC {shown} is above {max_auc:g} (training.max_single_feature_auc). An AUC this high is more often a "
            f"leak than skill. Check whether any input is known only after the decision{most}. If none is, enter "
            f"{{up_to: {_rounded_up(auc):.2f}, by: YOUR NAME, why: ...}} under evaluation.gate.confirmed_auc and "
            "train again, or promote the version by hand."
        )
    met = auc <= max_auc or confirmed is not None
    return Verdict(PLAUSIBLE, met, message, {"auc": auc, "max_single_feature_auc": max_auc})


def _rounded_up(auc: float) -> float:
    """The AUC rounded up to two decimals."""
    return float(Decimal(repr(float(auc))).quantize(Decimal("0.01"), ROUND_CEILING))


def calibration(
    evaluation: Evaluation, champion: Evaluation | None, thresholds: GateConfig, comparison: Comparison | None = None
) -> Verdict:
    """Passes if the ECE is not above both its maximum and the ECE by chance, and the calibration gap is not
    significantly beyond its limit. Otherwise it passes if the champion does not significantly meet the same limits and
    the candidate is not significantly worse."""
    ece, gap, most = evaluation.metrics["ece"], evaluation.metrics["calibration_gap"], thresholds.max_calibration_gap
    shape = ece.value <= max(thresholds.max_ece, evaluation.ece_by_chance)
    level = gap.low <= most and gap.high >= -most
    passed, note, of_champion = shape and level, "", {}
    if champion is not None:
        own, other = champion.metrics["ece"], champion.metrics["calibration_gap"]
        of_champion = {"champion_ece": own.value, "champion_calibration_gap": other.value}
        exemptions = []
        if not shape:
            worse = comparison.ece_difference if comparison else _without_interval(ece.value - own.value)
            meets = own.high <= thresholds.max_ece
            measure = f"ECE {interval_text(own, digits_apart(4, (own.high, thresholds.max_ece)))}"
            exemptions.append(_relative_to_champion(measure, meets, worse, own.value < ece.low, comparison))
        if not level:
            worse = comparison.gap_difference if comparison else _without_interval(abs(gap.value) - abs(other.value))
            meets = -most <= other.low and other.high <= most
            nearest = max(gap.low, -gap.high, 0.0)
            of_level = digits_apart(4, (other.low, -most), (other.high, most))
            exemptions.append(
                _relative_to_champion(
                    f"default rate minus mean PD {signed_text(other, of_level)}",
                    meets,
                    worse,
                    abs(other.value) < nearest,
                    comparison,
                )
            )
        passed = all(exemption.holds for exemption in exemptions)
        note = "".join(dict.fromkeys(exemption.explanation for exemption in exemptions))
    digits = digits_apart(4, (ece.value, thresholds.max_ece), (ece.value, evaluation.ece_by_chance))
    of_gap = digits_apart(4, (gap.low, most), (gap.high, -most))
    return Verdict(
        name="calibration",
        passed=passed,
        message=(
            f"ECE {ece.value:.{digits}f} is {'within' if shape else 'above'} {thresholds.max_ece:.{digits}f} or the "
            f"{evaluation.ece_by_chance:.{digits}f} that chance allows on {number_of(evaluation.applicants, 'row')}; "
            f"default rate minus mean PD {signed_text(gap, of_gap)} is "
            f"{'not significantly' if level else 'significantly'} beyond {most:.{of_gap}f}.{note}"
        ),
        figures={
            "ece": ece.value,
            "ece_by_chance": evaluation.ece_by_chance,
            "max_ece": thresholds.max_ece,
            "calibration_gap": gap.value,
            "calibration_gap_low": gap.low,
            "calibration_gap_high": gap.high,
            "max_calibration_gap": most,
            **of_champion,
        },
    )


def _without_interval(difference: float) -> Interval:
    """A difference without a paired interval, as an interval of width 0."""
    return Interval(difference, difference, difference)


def against_champion(
    comparison: Comparison | None,
    thresholds: GateConfig,
    test_rows: int | None = None,
    not_compared: str = NO_CHAMPION,
) -> Verdict:
    """Fails if the candidate's AUC is below the champion's on the same rows by more than the margin and significantly.
    A better proper score does not compensate for a lower AUC, because approvals depend on the ranking. Without a
    comparison it passes, and the message is `not_compared`."""
    if comparison is None:
        return Verdict("not_worse_than_champion", True, not_compared)
    margin = thresholds.champion_margin
    passed = not_worse(comparison, margin)
    if not passed:
        result = "Significantly worse than the champion"
    elif shown_not_worse(comparison, margin):
        result = "Shown to be no worse than the champion"
    else:
        result = "Not significantly worse than the champion"
    part = ""
    if test_rows is not None and comparison.applicants < test_rows:
        part = (
            f" They are compared on {comparison.applicants} of {test_rows} test rows: "
            "the champion learned from the others."
        )
    difference = comparison.auc_difference
    digits = digits_apart(4, (difference.value, -margin), (difference.low, -margin), (difference.high, 0))
    return Verdict(
        name="not_worse_than_champion",
        passed=passed,
        message=(
            f"{result}: AUC {comparison.auc_candidate:.{digits}f} against {comparison.auc_champion:.{digits}f}, "
            f"difference {signed_text(difference, digits)}, p = {comparison.p_value:.3g}, tolerated loss "
            f"{margin:.{digits}f}.{part}"
        ),
        figures=comparison.figures() | {"champion_margin": margin},
    )


def against_baseline(comparison: Comparison, thresholds: GateConfig) -> Verdict:
    """Passes if the candidate is significantly better than the baseline on the same rows, by AUC or a proper score.
    Otherwise the simpler model would do. Blocks a promotion if configured."""
    better = significant_gains(comparison)
    auc = (
        f"AUC {comparison.auc_candidate:.4f} against {comparison.auc_champion:.4f}, difference "
        f"{signed_text(comparison.auc_difference, 4)}"
    )
    return Verdict(
        name=BASELINE,
        passed=bool(better),
        severity="error" if thresholds.beats_baseline == "block" else "warning",
        message=(
            f"Significantly better than the baseline ({better}): {auc}."
            if better
            else f"Not significantly better than the baseline, a logistic regression: {auc}; difference in Brier score "
            f"{signed_text(comparison.brier_difference, 5)}. On these rows the simpler model does as well."
        ),
        figures={
            "auc_baseline": comparison.auc_champion,
            "auc_difference_to_baseline": comparison.auc_difference.value,
            "auc_difference_to_baseline_low": comparison.auc_difference.low,
            "auc_difference_to_baseline_high": comparison.auc_difference.high,
        },
    )


def stability(
    score_psi: float,
    score_psi_noise: float,
    champion_psi: float | None,
    thresholds: GateConfig,
    difference: Interval | None = None,
    comparison: Comparison | None = None,
) -> Verdict:
    """Passes if the PDs of the test rows are distributed like those of the training rows. Otherwise it passes if those
    of the champion are not either and the candidate's PSI is not significantly higher."""
    bound = max(thresholds.max_score_psi, score_psi_noise)
    passed, note = score_psi <= bound, ""
    if champion_psi is not None and not passed:
        worse = difference or _without_interval(score_psi - champion_psi)
        # The champion's PSI has no interval, so it counts as within only if the difference is significant.
        meets = champion_psi <= bound and worse.low > 0
        measure = f"PSI {champion_psi:.{digits_apart(4, (champion_psi, bound))}f}"
        exemption = _relative_to_champion(measure, meets, worse, True, comparison)
        passed, note = exemption.holds, exemption.explanation
    elif champion_psi is not None:
        note = f" The champion's PSI is {champion_psi:.4f} on the same rows."
    digits = digits_apart(4, (score_psi, bound))
    return Verdict(
        name="stability",
        passed=passed,
        message=(
            f"PSI {score_psi:.{digits}f} of the PDs between training and test is "
            f"{'within' if score_psi <= bound else 'above'} {bound:.{digits}f}.{note}"
        ),
        figures={
            "score_psi": score_psi,
            "score_psi_noise": score_psi_noise,
            "max_score_psi": thresholds.max_score_psi,
            **({"champion_psi": champion_psi} if champion_psi is not None else {}),
        },
    )

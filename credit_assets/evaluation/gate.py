"""The promotion gate: which requirements a candidate meets. The registry changes the champion.

A verdict fails on evidence of harm, read from intervals, so that a small test set neither passes nor stops a model by
luck; only discrimination has to be demonstrated. With a champion in place the choice is between the two: a requirement
that the champion does not clearly meet on the same rows stops a candidate only if it is significantly worse in it.
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
"""Verdicts on what the candidate adds to the baseline, and on whether it is too good to be true."""


def in_words(judged: Sequence[Verdict]) -> str:
    """The gate's result as text: the candidate passed, or the requirements that it does not meet."""
    failed = [verdict for verdict in judged if verdict.blocking and not verdict.passed]
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
    champion_learned: bool = False,
) -> list[Verdict]:
    """Every verdict on a candidate, always with the same names and in the same order.

    `champion` and `comparison` are of the same rows, and None if there is no champion yet, or none to compare with
    because it learned from these rows (`champion_learned`). `fairness` are the audit's verdicts, one row per attribute
    or intersection. `score_psi` compares the candidate's PDs of training and test rows, `champion_psi` the champion's
    of the same; `score_psi_noise` is what chance alone could cause, and `psi_difference` the candidate's PSI minus the
    champion's. `baseline` compares the candidate with the baseline; an AUC above `max_auc` has to be confirmed, and
    `leading` names the features behind it. Without these two there is no verdict on them. Leaks of single inputs are
    not examined here: the training set refuses them.
    """
    return [
        discrimination(evaluation, thresholds, champion, comparison),
        *([] if max_auc is None else [plausible(evaluation, max_auc, leading, thresholds)]),
        calibration(evaluation, champion, thresholds, comparison),
        against_champion(comparison, thresholds, evaluation.applicants, champion_learned),
        *([] if baseline is None else [against_baseline(baseline, thresholds)]),
        stability(score_psi, score_psi_noise, champion_psi, thresholds, psi_difference, comparison),
        *four_fifths(fairness),
    ]


def promotable(verdicts: Sequence[Verdict]) -> bool:
    """Whether every blocking verdict passed."""
    return all(verdict.passed for verdict in verdicts if verdict.blocking)


def surely_better(comparison: Comparison | None) -> str:
    """In what the candidate is significantly better than the other model on the same rows: AUC or a proper score with
    the whole interval of the difference on the better side; empty if in nothing, or if another of the three is
    significantly worse."""
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


def _better_by_a_proper_score(comparison: Comparison | None) -> str:
    """The proper score by which the candidate is significantly better, with its difference; empty if by none, or if the
    other is significantly worse."""
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
class _Excuse:
    """Whether a missed requirement does not stop the candidate because of the champion, with the sentence that says
    so."""

    holds: bool
    words: str


def _beside_champion(
    measure: str, champion_meets: bool, worse: Interval | None, material: bool, comparison: Comparison | None
) -> _Excuse:
    """For a missed requirement, with a champion in place: it does not stop the candidate if the champion does not
    clearly meet it either (`champion_meets`), and the candidate is not significantly worse in it, or significantly
    better by a proper score.

    `worse` is the candidate's excess over the champion with its paired interval. A significant difference that is not
    `material`, because it is within the candidate's own interval, does not count as worse.
    """
    if champion_meets:
        return _Excuse(False, f" The champion surely meets this on the same rows ({measure}).")
    surely_worse = worse is not None and worse.low > 0 and material
    difference = f", candidate less champion {signed_text(worse, 4)}" if worse is not None else ""
    if not surely_worse:
        return _Excuse(
            True,
            f" The champion is not sure to meet this either ({measure}{difference}), and the candidate is not surely "
            "worse, so this does not stop it.",
        )
    if better := _better_by_a_proper_score(comparison):
        return _Excuse(
            True,
            f" The champion is not sure to meet this either ({measure}{difference}), and the candidate is surely "
            f"better by a proper score ({better}), so this does not stop it.",
        )
    return _Excuse(False, f" The candidate is surely worse than the champion in this ({measure}{difference}).")


def discrimination(
    evaluation: Evaluation,
    thresholds: GateConfig,
    champion: Evaluation | None = None,
    comparison: Comparison | None = None,
) -> Verdict:
    """With enough defaults the AUC reaches its minimum, and its whole interval is above 0.5; or the champion's does not
    clearly do so, and is not significantly higher."""
    auc = evaluation.metrics["auc"]
    rarer = min(evaluation.defaults, evaluation.applicants - evaluation.defaults)
    reached, beyond_chance = auc.value >= thresholds.min_auc, auc.low > 0.5
    enough = rarer >= thresholds.min_defaults
    doubts = "" if beyond_chance else ", and chance alone could explain it"
    if not enough:
        doubts += f", but {rarer} defaults or others are fewer than the {thresholds.min_defaults} it takes to judge"
    passed, beside = reached and beyond_chance and enough, ""
    if champion is not None and comparison is not None and enough and not passed:
        other = champion.metrics["auc"]
        least = max(thresholds.min_auc, 0.5)
        excuse = _beside_champion(
            f"AUC {interval_text(other, digits_apart(3, (other.low, least)))}",
            other.low >= least,
            _negative(comparison.auc_difference),
            True,
            comparison,
        )
        passed, beside = excuse.holds, excuse.words
    digits = digits_apart(3, (auc.value, thresholds.min_auc), (auc.low, 0.5))
    return Verdict(
        name="discrimination",
        passed=passed,
        message=(
            f"AUC {interval_text(auc, digits)} {'reaches' if reached else 'is below'} {thresholds.min_auc:.{digits}f}"
            f"{doubts}.{beside}"
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
    """The AUC is not above the limit for a single input, which is a leak more often than skill; or somebody has
    confirmed it by name in the configuration."""
    auc = evaluation.metrics["auc"].value
    confirmed = next((each for each in thresholds.confirmed_auc if auc <= each.up_to), None)
    shown = f"{auc:.{digits_apart(3, (auc, max_auc), *((auc, each.up_to) for each in thresholds.confirmed_auc))}f}"
    if auc <= max_auc:
        words = f"AUC {shown} is not above {max_auc:g}, so it is plausible."
    elif confirmed is not None:
        words = (
            f"AUC {shown} is above {max_auc:g} (training.max_single_feature_auc); {confirmed.by} confirmed an AUC "
            f"of up to {confirmed.up_to:g}: {confirmed.why.rstrip('.')}."
        )
    else:
        most = f", above all at {', '.join(leading)}" if leading else ""
        words = (
            f"AUC {shown} is above {max_auc:g} (training.max_single_feature_auc): so good a rank is a leak more "
            f"often than skill. Check each input for what is known only after the decision{most}. If all are right, "
            f"enter {{up_to: {_up(auc):.2f}, by: YOUR NAME, why: ...}} under evaluation.gate.confirmed_auc and train "
            "again, or promote the version by hand."
        )
    met = auc <= max_auc or confirmed is not None
    return Verdict(PLAUSIBLE, met, words, {"auc": auc, "max_single_feature_auc": max_auc})


def _up(auc: float) -> float:
    """The AUC rounded up to two decimals."""
    return float(Decimal(repr(float(auc))).quantize(Decimal("0.01"), ROUND_CEILING))


def calibration(
    evaluation: Evaluation,
    champion: Evaluation | None,
    thresholds: GateConfig,
    comparison: Comparison | None = None,
) -> Verdict:
    """Neither is the ECE above its maximum and above chance, nor the overall level significantly off; or the champion
    is not clearly closer on the same rows, and the candidate not significantly further off."""
    ece, gap, most = evaluation.metrics["ece"], evaluation.metrics["calibration_gap"], thresholds.max_calibration_gap
    shape = ece.value <= max(thresholds.max_ece, evaluation.ece_by_chance)
    level = gap.low <= most and gap.high >= -most
    passed, beside, of_champion = shape and level, "", {}
    if champion is not None:
        own, other = champion.metrics["ece"], champion.metrics["calibration_gap"]
        of_champion = {"champion_ece": own.value, "champion_calibration_gap": other.value}
        excuses = []
        if not shape:
            worse = comparison.ece_difference if comparison else _apart(ece.value - own.value)
            meets = own.high <= thresholds.max_ece
            measure = f"ECE {interval_text(own, digits_apart(4, (own.high, thresholds.max_ece)))}"
            excuses.append(_beside_champion(measure, meets, worse, own.value < ece.low, comparison))
        if not level:
            worse = comparison.gap_difference if comparison else _apart(abs(gap.value) - abs(other.value))
            meets = -most <= other.low and other.high <= most
            nearest = max(gap.low, -gap.high, 0.0)
            of_level = digits_apart(4, (other.low, -most), (other.high, most))
            excuses.append(
                _beside_champion(
                    f"default rate minus mean PD {signed_text(other, of_level)}",
                    meets,
                    worse,
                    abs(other.value) < nearest,
                    comparison,
                )
            )
        passed = all(excuse.holds for excuse in excuses)
        beside = "".join(dict.fromkeys(excuse.words for excuse in excuses))
    digits = digits_apart(4, (ece.value, thresholds.max_ece), (ece.value, evaluation.ece_by_chance))
    of_gap = digits_apart(4, (gap.low, most), (gap.high, -most))
    return Verdict(
        name="calibration",
        passed=passed,
        message=(
            f"ECE {ece.value:.{digits}f} is {'within' if shape else 'above'} {thresholds.max_ece:.{digits}f} or the "
            f"{evaluation.ece_by_chance:.{digits}f} that chance allows on {number_of(evaluation.applicants, 'row')}; "
            f"default rate minus mean PD {signed_text(gap, of_gap)} is "
            f"{'not shown to be' if level else 'surely'} beyond {most:.{of_gap}f}.{beside}"
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


def _apart(difference: float) -> Interval:
    """A difference without a paired interval."""
    return Interval(difference, difference, difference)


def against_champion(
    comparison: Comparison | None, thresholds: GateConfig, test_rows: int | None = None, learned: bool = False
) -> Verdict:
    """On the same rows the candidate's AUC is not lower than the champion's beyond margin and chance. If it is, a
    proper score does not compensate for it, because approvals depend on the ranking. `learned` says that there is no
    comparison because the champion learned from too many of the `test_rows`."""
    if comparison is None:
        why = "There is no champion to compare with."
        if learned:
            why = (
                "The champion learned from these test rows, all or too many of them, so that it cannot be compared on "
                "them; the other demands hold as without a champion."
            )
        return Verdict("not_worse_than_champion", True, why)
    margin = thresholds.champion_margin
    passed = not_worse(comparison, margin)
    if not passed:
        judgement = "Worse than the champion"
    elif shown_not_worse(comparison, margin):
        judgement = "Shown not to be worse than the champion"
    else:
        judgement = "Not worse than the champion as far as these rows can show"
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
            f"{judgement}: AUC {comparison.auc_candidate:.{digits}f} against {comparison.auc_champion:.{digits}f}, "
            f"difference {signed_text(difference, digits)}, p = {comparison.p_value:.3g}, tolerated loss "
            f"{margin:.{digits}f}.{part}"
        ),
        figures=comparison.figures() | {"champion_margin": margin},
    )


def against_baseline(comparison: Comparison, thresholds: GateConfig) -> Verdict:
    """On the same rows the candidate is significantly better than the baseline, by AUC or a proper score; otherwise the
    simpler model would do. It stops a promotion if configured."""
    better = surely_better(comparison)
    auc = (
        f"AUC {comparison.auc_candidate:.4f} against {comparison.auc_champion:.4f}, difference "
        f"{signed_text(comparison.auc_difference, 4)}"
    )
    return Verdict(
        name=BASELINE,
        passed=bool(better),
        severity="error" if thresholds.beats_baseline == "block" else "warning",
        message=(
            f"Surely better than the baseline ({better}): {auc}."
            if better
            else f"Not surely better than the baseline, a logistic regression: {auc}; Brier score "
            f"{signed_text(comparison.brier_difference, 5)}. The simpler model would do as well, as far as these rows "
            "show."
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
    """The PDs of test rows are distributed like those of training rows; or the champion's are not, and the candidate's
    not significantly less so."""
    bound = max(thresholds.max_score_psi, score_psi_noise)
    passed, beside = score_psi <= bound, ""
    if champion_psi is not None and not passed:
        worse = difference or _apart(score_psi - champion_psi)
        # Without an interval of its own, a champion's PSI is sure to be within only if the difference is sure.
        meets = champion_psi <= bound and worse.low > 0
        measure = f"PSI {champion_psi:.{digits_apart(4, (champion_psi, bound))}f}"
        excuse = _beside_champion(measure, meets, worse, True, comparison)
        passed, beside = excuse.holds, excuse.words
    elif champion_psi is not None:
        beside = f" The champion's PSI is {champion_psi:.4f} on the same rows."
    digits = digits_apart(4, (score_psi, bound))
    return Verdict(
        name="stability",
        passed=passed,
        message=(
            f"PSI {score_psi:.{digits}f} of the PDs between training and test is "
            f"{'within' if score_psi <= bound else 'above'} {bound:.{digits}f}.{beside}"
        ),
        figures={
            "score_psi": score_psi,
            "score_psi_noise": score_psi_noise,
            "max_score_psi": thresholds.max_score_psi,
            **({"champion_psi": champion_psi} if champion_psi is not None else {}),
        },
    )

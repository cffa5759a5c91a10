"""The promotion gate: which demands a candidate meets. The alias itself is moved by `models/registry.py`.

A verdict fails on evidence of harm, judged by intervals, so that a small test set neither passes nor stops a
model by luck; only discrimination must be shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from credit_assets.evaluation.comparison import Comparison, not_worse, shown_not_worse
from credit_assets.evaluation.config import GateConfig
from credit_assets.evaluation.metrics import Evaluation


@dataclass(frozen=True)
class Verdict:
    """One demand on a candidate: met or not, in words and with the numbers it rests on.

    Only verdicts with `blocking` stop a promotion.
    """

    name: str
    passed: bool
    blocking: bool
    words: str
    numbers: dict[str, float]


def in_words(judged: Sequence[Verdict]) -> str:
    """What the gate says of a candidate: that it passed, or the demands that it does not meet."""
    failed = [verdict for verdict in judged if verdict.blocking and not verdict.passed]
    if not failed:
        return "passed the gate"
    return "refused by the gate: " + "; ".join(f"{verdict.name}: {verdict.words}" for verdict in failed)


def verdicts(
    evaluation: Evaluation,
    champion: Evaluation | None,
    comparison: Comparison | None,
    fairness: pd.DataFrame,
    score_psi: float,
    score_psi_noise: float,
    champion_psi: float | None,
    thresholds: GateConfig,
) -> list[Verdict]:
    """Every verdict on a candidate, always under the same names and in the same order.

    `champion` and `comparison` are of the same rows, None where there is no champion yet. `fairness` is the
    audit's verdicts, one row an attribute or crossing. `score_psi` compares the candidate's PDs of training
    rows (cross-fitted) and test rows, `champion_psi` the champion's of the same; `score_psi_noise` is what
    chance alone could make of it. Leaks are not judged here: the training set refuses them.

    Calibration and stability demand a fixed measure or, where a champion decides already, no less than it
    shows on the same rows: after a shift both may be off, and the choice is between the two.
    """
    return [
        discrimination(evaluation, thresholds),
        calibration(evaluation, champion, thresholds),
        against_champion(comparison, thresholds),
        stability(score_psi, score_psi_noise, champion_psi, thresholds),
        *four_fifths(fairness),
    ]


def promotable(verdicts: Sequence[Verdict]) -> bool:
    """Whether every blocking verdict passed."""
    return all(verdict.passed for verdict in verdicts if verdict.blocking)


def discrimination(evaluation: Evaluation, thresholds: GateConfig) -> Verdict:
    """On enough defaults the AUC reaches its minimum, and its whole interval lies above a coin's 0.5."""
    auc = evaluation.metrics["auc"]
    rarer = min(evaluation.defaults, evaluation.applicants - evaluation.defaults)
    reached = auc.value >= thresholds.min_auc
    doubts = "" if auc.low > 0.5 else ", and chance alone could explain it"
    if rarer < thresholds.min_defaults:
        doubts += f", but {rarer} defaults or others are fewer than the {thresholds.min_defaults} it takes to tell"
    return Verdict(
        name="discrimination",
        passed=reached and not doubts,
        blocking=True,
        words=(
            f"AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) "
            f"{'reaches' if reached else 'is below'} {thresholds.min_auc:.3f}{doubts}"
        ),
        numbers={
            "auc": auc.value,
            "auc_low": auc.low,
            "auc_high": auc.high,
            "min_auc": thresholds.min_auc,
            "defaults": float(evaluation.defaults),
        },
    )


def calibration(evaluation: Evaluation, champion: Evaluation | None, thresholds: GateConfig) -> Verdict:
    """Neither is the ECE above its maximum and above chance, nor surely the overall level off by too much;
    or the champion's is on the same rows, and no less."""
    ece, gap = evaluation.metrics["ece"], evaluation.metrics["calibration_gap"]
    shape = ece.value <= max(thresholds.max_ece, evaluation.ece_by_chance)
    level = gap.low <= thresholds.max_calibration_gap and gap.high >= -thresholds.max_calibration_gap
    of_champion = {
        f"champion_{name}": champion.metrics[name].value for name in ("ece", "calibration_gap") if champion is not None
    }
    like_champion = bool(of_champion) and (
        (shape or ece.value <= of_champion["champion_ece"])
        and (level or abs(gap.value) <= abs(of_champion["champion_calibration_gap"]))
    )
    return Verdict(
        name="calibration",
        passed=(shape and level) or like_champion,
        blocking=True,
        words=(
            f"ECE {ece.value:.4f} is {'within' if shape else 'above'} {thresholds.max_ece:.4f} or the "
            f"{evaluation.ece_by_chance:.4f} that chance allows on {evaluation.applicants:,} rows; "
            f"default rate minus mean PD {gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}) is "
            f"{'not shown to be' if level else 'surely'} beyond {thresholds.max_calibration_gap:.4f}"
            + ("" if (shape and level) or not like_champion else "; the champion is no nearer on these rows")
        ),
        numbers={
            "ece": ece.value,
            "ece_by_chance": evaluation.ece_by_chance,
            "max_ece": thresholds.max_ece,
            "calibration_gap": gap.value,
            "calibration_gap_low": gap.low,
            "calibration_gap_high": gap.high,
            "max_calibration_gap": thresholds.max_calibration_gap,
            **of_champion,
        },
    )


def against_champion(comparison: Comparison | None, thresholds: GateConfig) -> Verdict:
    """On the same rows the candidate's AUC is not lower than the champion's beyond margin and chance."""
    if comparison is None:
        return Verdict("not_worse_than_champion", True, True, "there is no champion that could be compared with", {})
    margin = thresholds.champion_margin
    passed = not_worse(comparison, margin)
    if not passed:
        judgement = "worse than the champion"
    elif shown_not_worse(comparison, margin):
        judgement = "shown not to be worse than the champion"
    else:
        judgement = "not worse than the champion as far as these rows can tell"
    difference = comparison.auc_difference
    return Verdict(
        name="not_worse_than_champion",
        passed=passed,
        blocking=True,
        words=(
            f"{judgement}: AUC {comparison.auc_candidate:.4f} against {comparison.auc_champion:.4f}, "
            f"difference {difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}, "
            f"p = {comparison.p_value:.3g}), tolerated loss {margin:.4f}"
        ),
        numbers=comparison.figures() | {"champion_margin": margin},
    )


def stability(score_psi: float, score_psi_noise: float, champion_psi: float | None, thresholds: GateConfig) -> Verdict:
    """The PDs of test rows are spread as those of training rows are, or the champion's are no more alike."""
    bound = max(thresholds.max_score_psi, score_psi_noise)
    passed = score_psi <= max(bound, champion_psi or 0)
    return Verdict(
        name="stability",
        passed=passed,
        blocking=True,
        words=(
            f"PSI {score_psi:.4f} of the PDs between training and test is "
            f"{'within' if score_psi <= bound else 'above'} {bound:.4f}"
            + (f"; the champion's is {champion_psi:.4f} on the same rows" if champion_psi is not None else "")
        ),
        numbers={
            "score_psi": score_psi,
            "score_psi_noise": score_psi_noise,
            "max_score_psi": thresholds.max_score_psi,
            **({"champion_psi": champion_psi} if champion_psi is not None else {}),
        },
    )


def four_fifths_name(attribute: str) -> str:
    """The name of the verdict on an attribute or crossing."""
    return "four_fifths_" + re.sub(r"\W+", "_", attribute)


def four_fifths(fairness: pd.DataFrame) -> list[Verdict]:
    """One verdict an attribute or crossing, by the four-fifths rule.

    Fails where the lowest adverse impact ratio is below the bound and chance cannot explain it (29 CFR
    1607.4(D)); blocking where the configuration says so.
    """
    found: list[Verdict] = []
    for row in fairness.to_dict("records"):
        below = row["four_fifths"] == "fail"
        passed = not (below and row["significant"])
        if row["four_fifths"] == "not enough data":
            words = f"{row['attribute']}: too few applicants to judge"
        else:
            words = (
                f"{row['attribute']}: {row['worst_group']} approved at {row['air']:.3f} "
                f"({row['air_low']:.3f} to {row['air_high']:.3f}) of the rate of {row['reference']}, "
                f"{'below' if below else 'not below'} {row['min_air']:g}"
                f"{', on so few that chance could explain it' if below and passed else ''}"
            )
        numbers = {key: float(row[key]) for key in ("air", "air_low", "air_high", "p_value") if pd.notna(row[key])}
        found.append(
            Verdict(
                name=four_fifths_name(row["attribute"]),
                passed=passed,
                blocking=row["on_failure"] == "block",
                words=words,
                numbers=numbers,
            )
        )
    return found

"""The four-fifths rule as verdicts: for the audit, and for a candidate compared with the champion."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from credit_assets.evaluation.interval_text import interval_text
from credit_assets.rounding import digits_apart
from credit_assets.statistics.metrics import Interval
from credit_assets.verdicts.verdict import Verdict


def four_fifths_name(attribute: str) -> str:
    """The name of the verdict on an attribute or intersection."""
    return "four_fifths_" + re.sub(r"\W+", "_", attribute)


def four_fifths(fairness: pd.DataFrame) -> list[Verdict]:
    """One verdict per attribute or intersection, by the four-fifths rule.

    It fails if the lowest adverse impact ratio is below the limit and chance cannot explain it (29 CFR 1607.4(D)); it
    blocks if configured. If the audit has the champion's ratio on the same applicants, it does not fail
    if the champion does not clearly reach the limit either and the candidate's ratio is not significantly lower. A
    better Brier score or log loss does not compensate for a lower ratio.
    """
    found: list[Verdict] = []
    for row in fairness.to_dict("records"):
        below = row["four_fifths"] == "fail"
        passed, note = not (below and row["significant"]), ""
        if not passed and pd.notna(row.get("champion_air")):
            ratio = Interval(*(float(row[name]) for name in ("air_ratio", "air_ratio_low", "air_ratio_high")))
            passed = bool(row["champion_air_low"] < row["min_air"]) and ratio.high >= 1
            note = (
                f" On the same applicants the champion approves {row['champion_group']} at "
                f"{_air(row, 'champion_air', row['champion_air_low'])}; candidate over champion "
                f"{interval_text(ratio, digits_apart(3, (ratio.high, 1)))}"
                + (", so the candidate is not significantly worse, and this does not stop it." if passed else ".")
            )
        if row["four_fifths"] == "not enough data":
            message = f"By {row['attribute']}, there are too few applicants for a verdict."
        else:
            message = (
                f"By {row['attribute']}, {row['worst_group']} is approved at "
                f"{_air(row, 'air', row['air'] if below else row['min_air'])} of the rate of {row['reference']}, "
                f"{'below' if below else 'not below'} {row['min_air']:g}"
                f"{', but not significantly' if below and not row['significant'] else ''}.{note}"
            )
        numbers = {
            key: float(row[key])
            for key in ("air", "air_low", "air_high", "p_value", "champion_air")
            if pd.notna(row.get(key))
        }
        found.append(
            Verdict(
                name=four_fifths_name(row["attribute"]),
                passed=passed,
                severity="error" if row["on_failure"] == "block" else "warning",
                message=message,
                figures=numbers,
            )
        )
    return found


def _air(row: Mapping[Hashable, Any], name: str, compared: float) -> str:
    """An adverse impact ratio with its interval, with enough decimals to show on which side of `min_air` the figure
    `compared` is. The log-normal interval does not exist for a ratio of 0 and for the reference group."""
    ratio = Interval(*(float(row[f"{name}{end}"]) for end in ("", "_low", "_high")))
    digits = digits_apart(3, (compared, row["min_air"]))
    if ratio.value == 0:
        return f"{0:.{digits}f} (none is approved)"
    bounded = ratio.low < ratio.high
    return interval_text(ratio, digits) if bounded else f"{ratio.value:.{digits}f}"

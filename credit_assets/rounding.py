"""Rounding for comparisons in messages: a rounded figure never seems to be on the other side of its bound."""

from __future__ import annotations

import math

MOST_DIGITS = 15


def digits_apart(least: int, *pairs: tuple[float, float]) -> int:
    """The number of decimals, at least `least`, at which the rounded figures of each pair keep their order.

    Pairs that are equal (up to rounding errors), infinite or nan need no more decimals.

    Examples:
        >>> digits_apart(3, (0.64996, 0.65))
        5
    """
    finite = (pair for pair in pairs if math.isfinite(pair[0] - pair[1]))
    unequal = [pair for pair in finite if not math.isclose(*pair, rel_tol=1e-12, abs_tol=1e-14)]
    for digits in range(least, MOST_DIGITS):
        if all(round(low, digits) < round(high, digits) for low, high in map(sorted, unequal)):
            return digits
    return MOST_DIGITS if unequal else least


def percent_apart(value: float, bound: float) -> tuple[str, str]:
    """Two shares in percent, with enough decimals to show which is larger.

    Examples:
        >>> percent_apart(0.4996, 0.5)
        ('49.96%', '50.00%')
    """
    digits = digits_apart(3, (value, bound)) - 2
    return f"{value:.{digits}%}", f"{bound:.{digits}%}"

"""Rounding for messages that compare: a figure never reads as if it met a bound that it misses, or the reverse."""

from __future__ import annotations

import math

MOST_DIGITS = 15


def digits_apart(least: int, *pairs: tuple[float, float]) -> int:
    """The decimals, `least` or more, at which the rounded figures of each pair stand in the order of the figures.

    Pairs that are equal (or differ by rounding errors alone), infinite or nan ask for no more decimals.

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
    """Two shares in percent, with as many decimals as show which is larger.

    Examples:
        >>> percent_apart(0.4996, 0.5)
        ('49.96%', '50.00%')
    """
    digits = digits_apart(3, (value, bound)) - 2
    return f"{value:.{digits}%}", f"{bound:.{digits}%}"

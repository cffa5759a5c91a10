"""Figures beside a bound are rounded so that the text agrees with the comparison."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from credit_assets.rounding import digits_apart, percent_apart

figures = st.floats(0, 1).map(lambda figure: round(figure, 9))


@given(figures, figures, st.integers(1, 5))
def test_rounded_figures_keep_the_order_of_the_figures(value: float, bound: float, least: int) -> None:
    digits = digits_apart(least, (value, bound))
    shown, shown_bound = float(f"{value:.{digits}f}"), float(f"{bound:.{digits}f}")
    assert digits >= least
    assert (shown < shown_bound, shown > shown_bound) == (value < bound, value > bound)


def test_no_more_decimals_than_necessary_are_shown() -> None:
    assert digits_apart(3, (0.7, 0.65)) == 3
    assert digits_apart(3, (0.64996, 0.65)) == 5
    assert digits_apart(3, (0.65, 0.65), (float("nan"), 0.5), (float("inf"), 0.5)) == 3
    assert digits_apart(3, (0.1 + 0.2, 0.3)) == 3
    assert percent_apart(0.4996, 0.5) == ("49.96%", "50.00%")
    assert percent_apart(0.25, 0.5) == ("25.0%", "50.0%")

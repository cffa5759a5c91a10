"""Figures with their intervals, as messages show them."""

from credit_assets.statistics.metrics import Interval


def interval_text(figure: Interval, digits: int) -> str:
    """The figure and, in brackets, its interval, in so many decimals."""
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def signed_text(figure: Interval, digits: int) -> str:
    """The same of a difference, each number with its sign."""
    return f"{figure.value:+.{digits}f} ({figure.low:+.{digits}f} to {figure.high:+.{digits}f})"

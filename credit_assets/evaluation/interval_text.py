"""Figures and their intervals as text, for messages."""

from credit_assets.statistics.metrics import Interval


def interval_text(figure: Interval, digits: int) -> str:
    """The figure with its interval in brackets, with this number of decimals."""
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def signed_text(figure: Interval, digits: int) -> str:
    """The same for a difference: every number has a sign."""
    return f"{figure.value:+.{digits}f} ({figure.low:+.{digits}f} to {figure.high:+.{digits}f})"

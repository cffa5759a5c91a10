"""The plot of a batch's performance, a small PNG for the UI. `drift_report.py` plots drift."""

from __future__ import annotations

import pandas as pd

from credit_assets.evaluation.plots import png
from credit_assets.schemas.performance import ALL, EARLY, ESTIMATE

MEASURED, EXPECTED, FAINT = "#1d4ed8", "#d97706", "#9ca3af"


def default_rate_by_band(performance: pd.DataFrame) -> bytes:
    """Plot the default rate of each band with its interval and its mean PD, from a `Performance` table."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    bands = performance[performance["segment"] != ALL]
    measured, early = bool((bands["basis"] != ESTIMATE).all()), bool((bands["basis"] == EARLY).any())
    at, rates = list(range(len(bands))), bands["value"].to_numpy()
    # No pyplot: its global state is shared by the threads of a process.
    figure = Figure(figsize=(5, 3), dpi=90, layout="constrained")
    axes = figure.add_subplot()
    axes.errorbar(
        at,
        rates,
        yerr=[rates - bands["low"].to_numpy(), bands["high"].to_numpy() - rates],
        fmt="o",
        capsize=3,
        color=MEASURED if measured else FAINT,
        label=("default rate of early outcomes" if early else "default rate") if measured else "expected default rate",
    )
    axes.plot(at, bands["expected"].to_numpy(), "_", markersize=18, color=EXPECTED, label="mean PD")
    axes.set_xticks(at, [f"{row.segment}\n{row.applicants:,}" for row in bands.itertuples()], fontsize=8)
    axes.set_title("Default rate by band", fontsize=10, loc="left", fontweight="bold")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return png(figure)

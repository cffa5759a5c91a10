"""The plots of an evaluation: PNGs small enough for an event log. `metrics.py` computes the figures.

Each function returns the bytes of a PNG of 500 x 380 pixels.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from credit_assets.evaluation.vintages import HELD_OUT, LEARNED
from credit_assets.features.training_set import TEST
from credit_assets.statistics.metrics import labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#1f4e79", "#c0561a", "#6b7280", "#4d8f5c")
GOODS, BADS, FAINT = "#4d8f5c", "#c0392b", "#9ca3af"
POINTS_PER_LINE = 400
"""More points could not be distinguished in a plot of this size."""

BATCHES_NAMED, LINES = 16, 16
LOANS_DRAWN = 100
"""Batches with fewer loans are not drawn, because their curves are mostly chance."""


def roc(y: np.ndarray, pds: Mapping[str, np.ndarray]) -> bytes:
    """ROC curves of models by name on outcomes (n,), each on the rows that it has PDs of.

    Raises ValueError as `evaluate` does.
    """
    figure, axes = _canvas("ROC", "Share of goods declined", "Share of bads declined")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
    for colour, (name, scores) in zip(COLOURS, pds.items(), strict=False):
        goods, bads = _declined_by_cut_off(y, scores)
        shares = np.concatenate([[0], goods / goods[-1]]), np.concatenate([[0], bads / bads[-1]])
        auc = float(np.trapezoid(shares[1], shares[0]))
        axes.plot(*_downsampled(*shares), color=colour, linewidth=1.8, label=f"{name}  AUC {auc:.3f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.005))
    axes.legend(loc="lower right")
    return png(figure)


def precision_recall(y: np.ndarray, pds: Mapping[str, np.ndarray]) -> bytes:
    """Precision-recall curves of models by name on outcomes (n,). Rows and errors as for `roc`."""
    figure, axes = _canvas(
        "Precision and recall", "Share of bads declined (recall)", "Bads among those declined (precision)"
    )
    highest = default_rate = float(np.mean(y))
    axes.axhline(default_rate, color=FAINT, linewidth=1, linestyle=":")
    axes.annotate(
        "default rate",
        (1, default_rate),
        (-3, -11),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="#6b7280",
    )
    for colour, (name, scores) in zip(COLOURS, pds.items(), strict=False):
        goods, bads = _declined_by_cut_off(y, scores)
        precision, recall = bads / (goods + bads), bads / bads[-1]
        average = float((np.diff(recall, prepend=0) * precision).sum())
        # The first few applicants have an erratic precision that would set the scale of the plot.
        stable = recall >= 0.01
        highest = max(highest, float(precision[stable].max()))
        axes.plot(
            *_downsampled(recall[stable], precision[stable]),
            color=colour,
            linewidth=1.6,
            label=f"{name}  PR-AUC {average:.3f}",
        )
    axes.set(xlim=(0, 1), ylim=(0, min(1.02, 1.15 * highest)))
    axes.legend(loc="upper right")
    return png(figure)


def calibration(deciles: pd.DataFrame) -> bytes:
    """Default rate with its interval against mean PD, from an evaluation's deciles."""
    figure, axes = _canvas("Calibration", "Mean PD of the decile", "Default rate, with interval")
    rate = deciles["default_rate"].to_numpy()
    reach = 1.08 * max(deciles["mean_pd"].max(), deciles["default_rate_high"].max())
    axes.plot([0, reach], [0, reach], color=FAINT, linewidth=1, linestyle=":")
    bounds = np.clip([rate - deciles["default_rate_low"], deciles["default_rate_high"] - rate], 0, None)
    axes.errorbar(
        deciles["mean_pd"],
        rate,
        yerr=bounds,
        color=COLOURS[0],
        marker="o",
        markersize=5,
        linewidth=1.2,
        elinewidth=1,
        capsize=2.5,
    )
    axes.set(xlim=(0, reach), ylim=(0, reach))
    axes.xaxis.set_major_formatter(_percent)
    axes.yaxis.set_major_formatter(_percent)
    return png(figure)


def score_distribution(y: np.ndarray, pds: np.ndarray, cut_off: float) -> bytes:
    """Histograms of the PDs of goods and of bads on a log-odds scale, each normalised to 1, with the cut-off."""
    y, pds = labelled(y, pds)
    figure, axes = _canvas("PDs of goods and bads", "PD (log-odds scale)", "Share")
    log_odds = _log_odds(pds)
    low, high = np.quantile(log_odds, [0.001, 0.999])
    if low == high:
        low, high = low - 1, high + 1
    # Rice's rule for the rarer outcome, because narrow bins with few bads show no shape.
    bins = int(np.clip(2 * np.cbrt(min(y.sum(), y.size - y.sum())), 8, 40))
    edges = np.linspace(low, high, bins + 1)
    for label, colour, outcome in (("goods", GOODS, 0), ("bads", BADS, 1)):
        of_outcome = log_odds[y == outcome]
        shares = np.full(of_outcome.size, 1 / of_outcome.size)
        axes.hist(
            of_outcome,
            bins=edges.tolist(),
            weights=shares,
            color=colour,
            alpha=0.45,
            label=label,
            histtype="stepfilled",
        )
    at = float(_log_odds(np.array([cut_off]))[0])
    if edges[0] <= at <= edges[-1]:
        axes.axvline(at, color="#111827", linewidth=1.2, linestyle="--", label=f"cut-off {cut_off:.1%}")
    ticks = np.array([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95])
    ticks = ticks[(_log_odds(ticks) >= edges[0]) & (_log_odds(ticks) <= edges[-1])]
    axes.set_xticks(_log_odds(ticks), [_percent(tick) for tick in ticks])
    axes.set_yticks([])
    axes.legend(loc="upper right")
    return png(figure)


def gains(deciles: pd.DataFrame) -> bytes:
    """The cumulative share of bads among the riskiest applicants, from an evaluation's deciles."""
    figure, axes = _canvas("Gains", "Riskiest share of applicants", "Share of bads among them")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
    shares = [np.append(0, deciles[f"cumulative_{of}"].to_numpy()) for of in ("applicants", "defaults")]
    axes.plot(*shares, color=COLOURS[0], marker="o", markersize=4.5, linewidth=1.8)
    for applicants, defaults, lift in zip(
        deciles["cumulative_applicants"][:3],
        deciles["cumulative_defaults"][:3],
        deciles["cumulative_lift"][:3],
        strict=True,
    ):
        axes.annotate(f"lift {lift:.1f}", (applicants, defaults), (8, -10), textcoords="offset points", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.xaxis.set_major_formatter(_percent)
    axes.yaxis.set_major_formatter(_percent)
    return png(figure)


def default_rate_by_batch(by_batch: pd.DataFrame) -> bytes:
    """Default rates with their intervals and mean PDs by batch, from `vintages.performance_by_batch`."""
    figure, axes = _canvas("Default rate by batch", "Batch", "Default rate, with interval")
    at = np.arange(len(by_batch))
    rate = by_batch["default_rate"].to_numpy()
    bounds = np.clip([rate - by_batch["default_rate_low"], by_batch["default_rate_high"] - rate], 0, None)
    for colour, fold in ((FAINT, LEARNED), (COLOURS[0], HELD_OUT), (COLOURS[1], TEST)):
        of_fold = (by_batch["fold"] == fold).to_numpy()
        if of_fold.any():
            axes.errorbar(
                at[of_fold],
                rate[of_fold],
                yerr=bounds[:, of_fold],
                color=colour,
                marker="o",
                markersize=4.5,
                linestyle="none",
                elinewidth=1,
                capsize=2.5,
                label=f"observed, {fold}",
            )
    axes.plot(at, by_batch["mean_pd"], color="#111827", linewidth=1.4, marker="_", markersize=7, label="mean PD")
    step = -(-len(at) // BATCHES_NAMED)
    turned = len(at) > 6
    axes.set_xticks(
        at[::step], by_batch["batch"][::step], rotation=50 if turned else 0, ha="right" if turned else "center"
    )
    # The wide interval of a small batch must not determine the scale.
    reach = np.nanmax([rate.max(), by_batch["mean_pd"].max(), np.quantile(by_batch["default_rate_high"], 0.9)])
    axes.set_ylim(0, min(1.0, 1.35 * reach))
    axes.yaxis.set_major_formatter(_percent)
    axes.legend(loc="upper right", ncols=2)
    return png(figure)


def vintage_curves(curves: pd.DataFrame) -> bytes:
    """The share defaulted by months on book, one line per batch, older ones darker, from `vintages.vintage_curves`.

    Batches with fewer than LOANS_DRAWN loans are omitted, and at most LINES batches are drawn, evenly spaced.
    """
    from matplotlib import colormaps

    figure, axes = _canvas("Vintage curves", "Months on book", "Share of the loans defaulted")
    large = curves[curves["loans"] >= LOANS_DRAWN]
    names = sorted((large if len(large) else curves)["batch"].unique())
    names = [names[place] for place in np.unique(np.linspace(0, len(names) - 1, LINES).astype(int))]
    for place, name in enumerate(names):
        curve = curves[curves["batch"] == name]
        colour = colormaps["viridis"](0.92 * place / max(len(names) - 1, 1))
        axes.plot(curve["months_on_book"], curve["defaulted"], color=colour, linewidth=1.5, label=name)
    axes.set_xlim(0, None)
    axes.set_ylim(0, None)
    axes.yaxis.set_major_formatter(_percent)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2)
    return png(figure)


def _declined_by_cut_off(y: np.ndarray, pds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Goods and bads declined as the cut-off falls through the distinct PDs; rows without a PD are left out."""
    from sklearn.metrics import confusion_matrix_at_thresholds

    has_pd = ~np.isnan(pds)
    _, goods, _, bads, _ = confusion_matrix_at_thresholds(*labelled(y[has_pd], pds[has_pd]))
    return goods, bads


def _downsampled(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if x.size <= POINTS_PER_LINE:
        return x, y
    # Evenly along the x axis: evenly by rank would leave few points for the steep start of a curve.
    at = np.unique(np.searchsorted(x, np.linspace(x[0], x[-1], POINTS_PER_LINE)).clip(0, x.size - 1))
    return x[at], y[at]


def _log_odds(pds: np.ndarray) -> np.ndarray:
    bounded = np.clip(pds, 1e-6, 1 - 1e-6)
    return np.log(bounded / (1 - bounded))


def _percent(value: float, _: float = 0) -> str:
    return f"{100 * value:g}%"


def _canvas(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    # No pyplot: its global state is shared by the threads of a process.
    figure = Figure(figsize=(5, 3.8), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10, loc="left", fontweight="bold")
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.tick_params(labelsize=8, length=3, color=FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.grid(color="#e5e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The figure as a small PNG, with its legend in small type and without a frame."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    legend = figure.axes[0].get_legend()
    if legend:
        legend.set_frame_on(False)
        for text in legend.get_texts():
            text.set_fontsize(8)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    # Sixty-four colours are enough for lines and text, at a third of the size.
    file = io.BytesIO()
    picture.quantize(64, dither=Image.Dither.NONE).save(file, format="png", optimize=True)
    return file.getvalue()

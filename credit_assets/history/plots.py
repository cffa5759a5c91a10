"""Plots of a portfolio's history, as PNGs small enough for an event log. `timeline.py` collects the facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from credit_assets.evaluation.plots import png
from credit_assets.schemas.drift import VERDICTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERDICT_COLOURS = dict(zip(VERDICTS, ("#8cbf9a", "#e8b04a", "#c0392b"), strict=True))
BLUE, RED, GREEN, PALE, FAINT, GRID = "#1f4e79", "#c0392b", "#4d8f5c", "#cbd5e1", "#9ca3af", "#e5e7eb"
LINES: dict[str, Any] = {
    "promotion": {"color": BLUE, "linestyle": "-"},
    "rollback": {"color": RED, "linestyle": "--"},
    "training": {"color": FAINT, "linestyle": ":"},
}
BATCHES_NAMED = 16
"""The maximum number of batch names on an axis, so that they do not overlap."""
SHORTEST_AXIS = 5
"""An axis has room for at least this many batches."""


def timeline_plot(timeline: pd.DataFrame, title: str) -> bytes:
    """Plot a `Timeline` table by batch: applicants with corrections and outcomes, drift, AUC, and changes of models.

    A batch that was checked several times, for example for another champion, has one cell of drift per check, the
    earliest on the left. A promotion or rollback (labelled with the new champion) and a candidate that was not promoted
    are shown after the batches that had been delivered by then.
    """
    from matplotlib.figure import Figure

    delivered = timeline[timeline["kind"] == "delivery"]
    # Sorted by name, because batches that arrived together may have been ingested in any order.
    places = {batch: place for place, batch in enumerate(sorted(delivered["batch"]))}
    # No pyplot: its global state is shared by the threads of a process.
    figure = Figure(figsize=(11, 5), dpi=90, layout="constrained")
    volume, drift, auc = figure.subplots(3, 1, sharex=True, height_ratios=[1.1, 0.7, 2])
    _draw_volume(volume, timeline, places)
    _draw_drift(drift, timeline, places)
    _draw_auc(auc, timeline, places)
    _draw_models([volume, drift, auc], timeline, delivered["at"])
    for axes in (volume, drift, auc):
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), frameon=False, fontsize=8)
    named = list(places)[:: max(1, int(np.ceil(len(places) / BATCHES_NAMED)))]
    auc.set_xticks([places[batch] for batch in named], named, fontsize=8)
    auc.set_xlim(-0.7, max(len(places), SHORTEST_AXIS) - 0.3)
    _entitle(volume, title, timeline, pad=16)
    return png(figure)


def champions(history: pd.DataFrame, title: str) -> bytes:
    """Plot the champion over time from a `ChampionHistory` table. A step down is a rollback."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(5, 2.6), dpi=90, layout="constrained")
    axes = figure.add_subplot()
    _plain(axes, "version")
    if len(history):
        times = history["decided_from"]
        axes.step(times, history["version"], where="post", color=BLUE, linewidth=1.6)
        room = max(0.05 * (times.max() - times.min()), pd.Timedelta(hours=1))
        axes.set_xlim(times.min() - room, times.max() + room)
        axes.set_ylim(history["version"].min() - 0.5, history["version"].max() + 0.5)
    for back, colour in ((False, BLUE), (True, RED)):
        moves = history[(history["version"] < history["replaced"]).fillna(False).astype(bool) == back]
        axes.plot(moves["decided_from"], moves["version"], "o", color=colour, markersize=5)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _entitle(axes, title, history, pad=6)
    return png(figure)


def _draw_volume(axes: Axes, timeline: pd.DataFrame, places: dict[str, int]) -> None:
    _plain(axes, "applicants")
    delivered = timeline[timeline["kind"] == "delivery"]
    axes.bar(delivered["batch"].map(places), delivered["value"], width=0.8, color=PALE)
    highest = delivered["value"].max() if len(delivered) else 1.0
    for kind, marker, colour, height in (("correction", "^", RED, 0.75), ("outcomes", "o", GREEN, 0.3)):
        events = timeline[(timeline["kind"] == kind) & timeline["batch"].isin(places)]
        places_of = events["batch"].map(places).unique()
        axes.plot(places_of, [height * highest] * len(places_of), marker, color=colour, markersize=4, label=kind)


def _draw_drift(axes: Axes, timeline: pd.DataFrame, places: dict[str, int]) -> None:
    _plain(axes, "drift")
    axes.grid(visible=False)
    checks = timeline[(timeline["kind"] == "drift") & timeline["batch"].isin(places)]
    rows = {"features shifted": 1, "score PSI": 0}
    for (batch, measure), of_batch in checks.groupby(["batch", "measure"], sort=False):
        width = 0.9 / len(of_batch)
        for place, verdict in enumerate(of_batch["verdict"]):
            axes.bar(
                places[batch] - 0.45 + place * width,
                0.8,
                width,
                rows[measure] - 0.4,
                align="edge",
                color=VERDICT_COLOURS.get(verdict, FAINT),
            )
    for verdict, colour in VERDICT_COLOURS.items():
        axes.bar(0, 0, color=colour, label=verdict)
    axes.set_yticks([0, 1], ["score", "features"], fontsize=8)
    axes.set_ylim(-0.5, 1.5)


def _draw_auc(axes: Axes, timeline: pd.DataFrame, places: dict[str, int]) -> None:
    """The latest AUC of each batch, measured on outcomes or expected from its PDs."""
    _plain(axes, "AUC of the scores")
    figures = timeline[timeline["kind"].isin(["performance", "estimate"]) & timeline["batch"].isin(places)]
    latest = figures.drop_duplicates("batch", keep="last")
    if latest.empty:
        axes.set_ylim(0.5, 1)
    for kind, face, label in (("performance", BLUE, "on outcomes"), ("estimate", "white", "estimated")):
        of_kind = latest[latest["kind"] == kind]
        axes.errorbar(
            of_kind["batch"].map(places),
            of_kind["value"],
            # As an array, because Matplotlib takes a pair of one-row Series for scalars.
            yerr=np.array([of_kind["value"] - of_kind["low"], of_kind["high"] - of_kind["value"]]),
            fmt="o",
            color=BLUE,
            markerfacecolor=face,
            markersize=4.5,
            elinewidth=0.9,
            capsize=0,
            label=label,
        )


def _draw_models(lanes: list[Axes], timeline: pd.DataFrame, deliveries: pd.Series) -> None:
    moves = timeline[timeline["kind"].isin(["promotion", "rollback"])]
    trained = timeline[(timeline["kind"] == "training") & ~timeline["model_version"].isin(moves["model_version"])]
    events = pd.concat([moves, trained]).sort_values("at", kind="stable")
    after = np.searchsorted(deliveries.to_numpy(), events["at"].to_numpy(), side="right")
    for gap in np.unique(after):
        # Events after the same batch share the space before the next one.
        of_gap = events[after == gap].to_dict("records")
        for place, fact in enumerate(of_gap):
            at, line = gap - 1 + (place + 1) / (len(of_gap) + 1), LINES[fact["kind"]]
            for axes in lanes:
                axes.axvline(at, linewidth=1.1, **line)
            if fact["kind"] != "training":
                lanes[0].annotate(
                    f"v{fact['model_version']}",
                    (at, 1),
                    (0, 3),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                    color=line["color"],
                )
    for kind, label in (("promotion", "promoted"), ("rollback", "rolled back"), ("training", "trained only")):
        lanes[-1].plot([], [], linewidth=1.1, label=label, **LINES[kind])


def _entitle(axes: Axes, title: str, table: pd.DataFrame, pad: float) -> None:
    axes.set_title(title, fontsize=10, loc="left", fontweight="bold", pad=pad)
    if table["synthetic"].any():
        axes.set_title("SYNTHETIC", fontsize=9, loc="right", fontweight="bold", color=RED, pad=pad)


def _plain(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, fontsize=8)
    axes.tick_params(labelsize=8, length=3, color=FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)

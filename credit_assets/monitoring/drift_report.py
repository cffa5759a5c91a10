"""The drift report: an HTML page with the figures of `drift.py` and Evidently's plots of the columns that moved most.

The page plots samples, and repeats the figures and verdicts of the drift table. It adds no verdict.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from duckdb import DuckDBPyRelation

from credit_assets.evaluation.report import write_page
from credit_assets.lake.sql import identifier
from credit_assets.settings.drift import DriftConfig

SAMPLE_ROWS = 20_000
"""Rows per sample. More rows would not change the plots, but Evidently's time grows with them."""

PLOTTED_CATEGORIES = 20
"""Categories plotted per column. Rarer ones are merged."""

PRESENT = "(present)"
ABSENT = "(missing or infinite)"
MISSING = "(missing)"
OTHER = "(other)"

# The page is self-contained. With this policy the browser blocks any access to the network.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)


def sample(relation: DuckDBPyRelation, columns: list[str], key: str, rows: int = SAMPLE_ROWS) -> pd.DataFrame:
    """A sample of `rows` rows of these columns, chosen by the hash of the key, so that it does not depend on row
    order."""
    chosen = relation.order(f"md5(cast({identifier(key)} as varchar)), {identifier(key)}").limit(rows)
    return chosen.project(", ".join(identifier(name) for name in columns)).df()


def plotted_columns(drift: pd.DataFrame, config: DriftConfig) -> list[str]:
    """The columns to plot: the score, then the features with the largest shifts (the order of `drift`)."""
    score_first = drift.sort_values("role", ascending=False, kind="stable")
    return score_first["feature"].head(config.report_columns).tolist()


def is_worth_plotting(drift: pd.DataFrame, config: DriftConfig) -> bool:
    """Whether a report on this drift table is informative: something moved, or there are enough rows to show that
    nothing did.

    A report takes seconds, however few the rows. The plots of a batch in which even a moderate shift could be chance,
    such as one of a few applicants, would show nothing.
    """
    enough = float(drift["psi_noise"].median()) <= config.psi_moderate
    return config.report_columns > 0 and (enough or bool((drift["verdict"] != "stable").any()))


def write_report(
    reference_sample: pd.DataFrame,
    batch_sample: pd.DataFrame,
    drift: pd.DataFrame,
    path: Path,
    title: str,
    message: str,
    config: DriftConfig,
    synthetic: bool,
) -> None:
    """Write the HTML report on a batch's drift table (the result of `measure`) to `path`, atomically.

    The samples have the columns of `plotted_columns`. The page is large: 7 MB for 40 columns. All figures and verdicts
    on the page come from the drift table and refer to all rows, because Evidently's PSI omits missing values and uses
    bins of equal width. `message` is the summary at the top; `synthetic` adds a banner. The page loads
    nothing from the network, and contains aggregates, not rows.
    """
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently import DataDefinition, Dataset, Report

    rows = drift.set_index("feature").loc[plotted_columns(drift, config)]
    reference, batch = {}, {}
    numbers, categories = [], []
    for name, kind in rows["kind"].items():
        then, now = reference_sample[name], batch_sample[name]
        if kind == "numeric":
            then, now = _finite(then), _finite(now)
        if kind == "numeric" and then.notna().any() and now.notna().any():
            reference[name], batch[name] = _within_common_range(then, now)
            numbers.append(name)
        else:
            # A column without values would abort Evidently's report, so its missing share is plotted instead.
            if kind == "numeric":
                then, now = (side.notna().map({True: PRESENT, False: ABSENT}) for side in (then, now))
            reference[name], batch[name] = _common_categories(then, now)
            categories.append(name)
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    methods, thresholds = _register_methods(rows, config, path)

    preset = _table_of_columns(columns=list(rows.index), per_column_method=methods, per_column_threshold=thresholds)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # correlations of constant columns, which the page does not show
        snapshot = Report([preset]).run(
            Dataset.from_pandas(pd.DataFrame(batch), definition),
            Dataset.from_pandas(pd.DataFrame(reference), definition),
        )
        page = snapshot.get_html_str(as_iframe=False)
    head = f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">'
    page = page.replace("<head>", f"<head>{head}<title>{escape(title)}</title>", 1)
    page = page.replace("<body>", f"<body>{_header(rows, title, message, synthetic, len(reference_sample))}", 1)
    write_page(path, page)


def _table_of_columns(**settings: Any) -> Any:
    """Evidently's preset of a drift page, reduced to its table of columns."""
    from evidently.presets import DataDriftPreset

    class Columns(DataDriftPreset):
        """Omits Evidently's overall verdict, which would refer to the plotted columns only, and the preset's metrics:
        its page does not show them, but Evidently plots each of them as well."""

        def generate_metrics(self, context: Any) -> list[Any]:
            return []

        def render(self, context: Any, child_widgets: Any = None) -> list[Any]:
            return list(super().render(context, child_widgets))[1:]

    return Columns(**settings)


def _finite(values: pd.Series) -> pd.Series:
    return values.astype("float64").replace([np.inf, -np.inf], np.nan)


def _within_common_range(then: pd.Series, now: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Both samples clipped to the middle 99% of their union, so that outliers do not flatten the plot."""
    low, high = np.nanquantile(np.concatenate([then, now]), [0.005, 0.995])
    return then.clip(low, high), now.clip(low, high)


def _common_categories(then: pd.Series, now: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Both samples with missing values as a category, and all but the most frequent categories merged."""
    then, now = (side.astype(object).where(side.notna(), MISSING).astype(str) for side in (then, now))
    shares = pd.concat([then.value_counts(normalize=True), now.value_counts(normalize=True)], axis=1).max(axis=1)
    drawn = shares.sort_index().sort_values(ascending=False, kind="stable").index[:PLOTTED_CATEGORIES]
    then, now = (side.where(side.isin(drawn), OTHER) for side in (then, now))
    return then, now


def _bounds(rows: pd.DataFrame, config: DriftConfig) -> pd.DataFrame:
    """The PSI and KS above which each row of the drift table is not stable."""
    return pd.DataFrame(
        {
            "psi": np.maximum(rows["psi_noise"], config.psi_moderate),
            "ks": np.fmax(rows["ks_noise"], config.ks_moderate),
        }
    )


def _register_methods(rows: pd.DataFrame, config: DriftConfig, path: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Register methods with Evidently that return the figures of the drift table. Returns, by column, the method (PSI
    or KS, whichever is further from its bound) and the bound.

    Evidently looks up methods by name in a global registry, so the names contain the path of the page.
    """
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    bounds = _bounds(rows, config)
    by_ks = rows["ks"] / bounds["ks"] > rows["psi"] / bounds["psi"]
    figures = rows["psi"].where(~by_ks, rows["ks"]).to_dict()
    moved = (rows["verdict"] != "stable").to_dict()

    def from_table(reference: pd.Series, batch: pd.Series, kind: Any, threshold: float) -> tuple[float, bool]:
        return figures[batch.name], moved[batch.name]

    names = {figure: f"{figure} {path}" for figure in ("PSI", "KS")}
    for figure, name in names.items():
        method = StatTest(
            name=name,
            display_name=f"{figure} of all rows",
            allowed_feature_types=[ColumnType.Numerical, ColumnType.Categorical],
        )
        register_stattest(method, from_table)
    return (
        {column: names["KS" if ks else "PSI"] for column, ks in by_ks.items()},
        bounds["psi"].where(~by_ks, bounds["ks"]).to_dict(),
    )


def _header(rows: pd.DataFrame, title: str, message: str, synthetic: bool, sample_rows: int) -> str:
    """The top of the page as HTML: banner, title, message and the drift table of the plotted columns."""
    banner = (
        '<p class="synthetic">SYNTHETIC DATA: these figures describe generated applicants, not people</p>'
        if synthetic
        else ""
    )
    shown: dict[str, tuple[str, Callable[[Any], str]]] = {
        "verdict": ("verdict", str),
        "psi": ("PSI", "{:.3f}".format),
        "ks": ("KS", lambda ks: "" if np.isnan(ks) else f"{ks:.3f}"),
        "missing_reference": ("missing in training", "{:.1%}".format),
        "missing_batch": ("missing in batch", "{:.1%}".format),
        "new_category_share": ("new categories", "{:.1%}".format),
        "change": ("largest change", str),
    }
    heads = "".join(f"<th>{head}</th>" for head, _ in shown.values())
    lines = "".join(
        f'<tr class="{row["verdict"]}"><td>{escape(str(name))}</td>'
        + "".join(f"<td>{escape(form(row[column]))}</td>" for column, (_, form) in shown.items())
        + "</tr>"
        for name, row in rows.iterrows()
    )
    return f"""{STYLE}<div class="opening">{banner}<h1>{escape(title)}</h1><p>{escape(message)}</p>
<table><tr><th>column</th>{heads}</tr>{lines}</table>
<p>These are the {len(rows)} columns with the largest shifts. All figures and verdicts refer to all rows, including
missing values. The plots below show samples of up to {sample_rows:,} rows: numbers without missing and infinite values,
clipped to the middle 99% of both samples; all but the {PLOTTED_CATEGORIES} most frequent categories are merged.</p>
</div>"""


STYLE = """<style>
.opening { font: 14px/1.45 sans-serif; margin: 24px; color: #222 }
.opening h1 { font-size: 22px }
.opening p { max-width: 110ch }
.opening table { border-collapse: collapse }
.opening th, .opening td { padding: 3px 12px; text-align: left; border-bottom: 1px solid #ddd }
.opening .shifted td:nth-child(2) { background: #f5b7b1 }
.opening .moderate td:nth-child(2) { background: #fdebd0 }
.opening .synthetic { background: #7d3c98; color: white; padding: 8px 16px; max-width: none }
</style>"""

"""The drift page to read: Evidently's plots of the columns that moved most, under the figures of `drift.py`.

Nothing is decided here: the page draws two samples and repeats the drift table's figures and verdicts.
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
"""Rows a side that the page draws: more changes no plot and costs Evidently time in proportion."""

DRAWN_CATEGORIES = 20
"""Categories drawn of a column; the rarer ones are drawn as one."""

PRESENT = "(present)"
ABSENT = "(missing or infinite)"
MISSING = "(missing)"
OTHER = "(other)"

# The page needs only what is written in it. This makes the browser hold it to that.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)


def sample(relation: DuckDBPyRelation, columns: list[str], key: str, rows: int = SAMPLE_ROWS) -> pd.DataFrame:
    """These columns of `rows` rows chosen by the hash of their key: the same rows whatever their order."""
    chosen = relation.order(f"md5(cast({identifier(key)} as varchar)), {identifier(key)}").limit(rows)
    return chosen.project(", ".join(identifier(name) for name in columns)).df()


def drawn_columns(drift: pd.DataFrame, config: DriftConfig) -> list[str]:
    """The score and the features that moved most, as many as the page draws; `drift` is ordered by that."""
    score_first = drift.sort_values("role", ascending=False, kind="stable")
    return score_first["feature"].head(config.report_columns).tolist()


def worth_drawing(drift: pd.DataFrame, config: DriftConfig) -> bool:
    """Whether the page of a drift table says anything: something moved, or the rows are enough to show that none did.

    Drawing takes seconds, whatever the rows. Of a batch in which even a moderate shift would be lost in chance, such as
    one of a few applicants, the plots would show nothing but that.
    """
    enough = float(drift["psi_noise"].median()) <= config.psi_moderate
    return config.report_columns > 0 and (enough or bool((drift["verdict"] != "stable").any()))


def write_report(
    reference_sample: pd.DataFrame,
    batch_sample: pd.DataFrame,
    drift: pd.DataFrame,
    path: Path,
    title: str,
    words: str,
    config: DriftConfig,
    synthetic: bool,
) -> None:
    """Write the HTML page of a batch's drift table (`measure`) to `path`, at once or not at all.

    The samples hold the columns of `drawn_columns` (about 8 s and 7 MB for 40 columns of 20,000 rows). Every
    score and verdict on the page is the drift table's, of all rows: Evidently's own PSI leaves missing values
    out and bins by equal widths. `words` (the summary's) stand above it all, a banner where the data is
    `synthetic`. The page loads nothing from the network and holds aggregates, no rows.
    """
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    rows = drift.set_index("feature").loc[drawn_columns(drift, config)]
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
            # An all-missing column would abort Evidently's report; its missing share is all there is to draw.
            if kind == "numeric":
                then, now = (side.notna().map({True: PRESENT, False: ABSENT}) for side in (then, now))
            reference[name], batch[name] = _common_categories(then, now)
            categories.append(name)
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    methods, thresholds = _register_methods(rows, config, path)

    class Columns(DataDriftPreset):
        """Without Evidently's verdict on the whole, which would speak of the drawn columns only."""

        def render(self, context: Any, child_widgets: Any = None) -> list[Any]:
            return list(super().render(context, child_widgets))[1:]

    preset = Columns(columns=list(rows.index), per_column_method=methods, per_column_threshold=thresholds)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # correlations of constant columns, which the page does not show
        snapshot = Report([preset]).run(
            Dataset.from_pandas(pd.DataFrame(batch), definition),
            Dataset.from_pandas(pd.DataFrame(reference), definition),
        )
        page = snapshot.get_html_str(as_iframe=False)
    head = f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">'
    page = page.replace("<head>", f"<head>{head}<title>{escape(title)}</title>", 1)
    page = page.replace("<body>", f"<body>{_opening(rows, title, words, synthetic, len(reference_sample))}", 1)
    write_page(path, page)


def _finite(values: pd.Series) -> pd.Series:
    return values.astype("float64").replace([np.inf, -np.inf], np.nan)


def _within_common_range(then: pd.Series, now: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Both within the middle 99% of the two together, so that single far values do not flatten the plot."""
    low, high = np.nanquantile(np.concatenate([then, now]), [0.005, 0.995])
    return then.clip(low, high), now.clip(low, high)


def _common_categories(then: pd.Series, now: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Both with missing as a category, and those beyond the most frequent ones of either merged."""
    then, now = (side.astype(object).where(side.notna(), MISSING).astype(str) for side in (then, now))
    shares = pd.concat([then.value_counts(normalize=True), now.value_counts(normalize=True)], axis=1).max(axis=1)
    drawn = shares.sort_index().sort_values(ascending=False, kind="stable").index[:DRAWN_CATEGORIES]
    then, now = (side.where(side.isin(drawn), OTHER) for side in (then, now))
    return then, now


def _bounds(rows: pd.DataFrame, config: DriftConfig) -> pd.DataFrame:
    """The PSI and KS from which each row of the drift table is no longer stable."""
    return pd.DataFrame(
        {
            "psi": np.maximum(rows["psi_noise"], config.psi_moderate),
            "ks": np.fmax(rows["ks_noise"], config.ks_moderate),
        }
    )


def _register_methods(rows: pd.DataFrame, config: DriftConfig, path: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Teach Evidently the drift table's figures: each column's method, of the two that decides, and its
    bound.

    Evidently finds methods by name in one registry of the process, so the names carry the page's path.
    """
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    bounds = _bounds(rows, config)
    by_ks = rows["ks"] / bounds["ks"] > rows["psi"] / bounds["psi"]
    figures = rows["psi"].where(~by_ks, rows["ks"]).to_dict()
    moved = (rows["verdict"] != "stable").to_dict()

    def from_table(reference: pd.Series, batch: pd.Series, kind: Any, threshold: float) -> tuple[float, bool]:
        return figures[batch.name], moved[batch.name]

    names = {words: f"{words} {path}" for words in ("PSI", "KS")}
    for words, name in names.items():
        method = StatTest(
            name=name,
            display_name=f"{words} of all rows",
            allowed_feature_types=[ColumnType.Numerical, ColumnType.Categorical],
        )
        register_stattest(method, from_table)
    return (
        {column: names["KS" if ks else "PSI"] for column, ks in by_ks.items()},
        bounds["psi"].where(~by_ks, bounds["ks"]).to_dict(),
    )


def _opening(rows: pd.DataFrame, title: str, words: str, synthetic: bool, drawn_rows: int) -> str:
    """The page's head in HTML: banner, title, words and the drift table of the columns drawn."""
    banner = '<p class="synthetic">SYNTHETIC DATA: made up, of no real lender or applicant</p>' if synthetic else ""
    shown: dict[str, tuple[str, Callable[[Any], str]]] = {
        "verdict": ("verdict", str),
        "psi": ("PSI", "{:.3f}".format),
        "ks": ("KS", lambda ks: "" if np.isnan(ks) else f"{ks:.3f}"),
        "missing_reference": ("missing in training", "{:.1%}".format),
        "missing_batch": ("missing in batch", "{:.1%}".format),
        "new_category_share": ("new categories", "{:.1%}".format),
        "change": ("what moved most", str),
    }
    heads = "".join(f"<th>{head}</th>" for head, _ in shown.values())
    lines = "".join(
        f'<tr class="{row["verdict"]}"><td>{escape(str(name))}</td>'
        + "".join(f"<td>{escape(form(row[column]))}</td>" for column, (_, form) in shown.items())
        + "</tr>"
        for name, row in rows.iterrows()
    )
    return f"""{STYLE}<div class="opening">{banner}<h1>{escape(title)}</h1><p>{escape(words)}</p>
<table><tr><th>column</th>{heads}</tr>{lines}</table>
<p>These are the {len(rows)} columns that moved most. Figures and verdicts, here and below, are of all rows,
missing values counted. The plots below draw samples of up to {drawn_rows:,} rows: numbers without missing and
infinite values and within the middle 99% of both samples, categories beyond the {DRAWN_CATEGORIES} most
frequent as one.</p>
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

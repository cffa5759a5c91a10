"""The evaluation as one self-contained HTML page: no scripts, no other files, no network.

The figures come from `metrics.py`, `comparison.py`, `gate.py` and the fairness audit, the layout from report.html.j2.
"""

from __future__ import annotations

import base64
import html
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from credit_assets.evaluation.gate import promotable
from credit_assets.schemas.evidence import NOTHING_AUDITED
from credit_assets.statistics.comparison import Comparison
from credit_assets.statistics.metrics import Evaluation
from credit_assets.verdicts.verdict import Verdict

METRIC_NAMES = {
    "auc": "AUC",
    "gini": "Gini",
    "ks": "KS",
    "pr_auc": "PR-AUC",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "ece": "Expected calibration error",
    "calibration_gap": "Default rate minus mean PD",
}
FINE = frozenset({"brier", "log_loss", "ece", "calibration_gap"})
"""Metrics that are shown with four decimals."""


def html_report(
    title: str,
    models: Mapping[str, Evaluation],
    comparisons: Mapping[str, Comparison],
    gate: Sequence[Verdict],
    fairness_groups: pd.DataFrame,
    fairness_verdicts: pd.DataFrame,
    plots: Mapping[str, bytes],
    by_batch: pd.DataFrame,
    versions: Mapping[str, str],
    synthetic: bool,
) -> str:
    """The page as HTML. `models` are evaluations on the test rows by name, the candidate first; `comparisons` compare
    the candidate with each other model, by its name; `plots` are PNGs by title; `by_batch` is the result of
    `vintages.performance_by_batch`; `versions` are those of the tables behind the page. `synthetic` adds a banner. All
    text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("credit_assets.evaluation", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "figure": _figure,
        "percent": _percent,
        "p": _p,
        "promotable": promotable,
        "base64": lambda png: base64.b64encode(png).decode("ascii"),
    }
    environment.tests["present"] = pd.notna
    candidate = next(iter(models.values()))
    by_attribute = fairness_groups.groupby("attribute", sort=False)
    return environment.get_template("report.html.j2").render(
        title=title,
        evaluation=candidate,
        models=models,
        metric_names=METRIC_NAMES,
        fine=FINE,
        comparisons=comparisons,
        gate=gate,
        deciles=candidate.deciles.to_dict("records"),
        fairness_verdicts=fairness_verdicts.to_dict("records"),
        nothing_audited=NOTHING_AUDITED,
        fairness_groups={name: rows.to_dict("records") for name, rows in by_attribute},
        plots=plots,
        by_batch=by_batch.to_dict("records"),
        versions=versions,
        synthetic=synthetic,
    )


def _figure(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}%" if math.isfinite(value) else "–"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else _figure(value, 3)


def write_page(path: Path, page: str) -> None:
    """Write the page atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)


def mark_override(path: Path, why: str) -> bool:
    """Add a banner to the top of the page: the version was promoted by hand, with the reason. Returns whether the page
    exists."""
    if not path.is_file():
        return False
    page = path.read_text(encoding="utf-8")
    before, heading, rest = page.partition("<h1>")
    banner = f'<div class="override">OVERRIDE OF THE GATE: {html.escape(why)}</div>\n'
    if banner not in page:
        write_page(path, f"{before}{banner}{heading}{rest}")
    return True

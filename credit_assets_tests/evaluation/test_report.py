"""The report is self-contained, marks synthetic data, and never turns text into markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from credit_assets.evaluation.report import html_report
from credit_assets.statistics.comparison import compare
from credit_assets.statistics.metrics import evaluate
from credit_assets.verdicts.verdict import Verdict


def report(synthetic: bool = True, title: str = "Candidate 7", group: str = "M", gate_passes: bool = True) -> str:
    rng = np.random.default_rng(0)
    pds = rng.uniform(0.01, 0.4, 500)
    y = (rng.random(500) < pds).astype(int)
    models = {"candidate": evaluate(y, pds, 0.3, 50), "baseline": evaluate(y, pds[::-1].copy(), 0.3, 50)}
    figure = {"approval_rate": 0.8, "air": 0.9, "tpr": 0.9, "fpr": np.nan, "default_rate": 0.1, "auc": 0.7}
    bounds = {f"{name}_{end}": value for name, value in figure.items() for end in ("low", "high")}
    row = {
        "attribute": "gender",
        "group": group,
        "applicants": 250,
        "defaults": 25,
        "mean_pd": 0.1,
        "judged": True,
    }
    verdict = {
        "attribute": "gender",
        "four_fifths": "pass",
        "on_failure": "block",
        "significant": False,
        "worst_group": group,
        "reference": "F",
        "air": 0.9,
        "air_low": 0.8,
        "air_high": 1.0,
        "p_value": 0.2,
        "tpr_difference": 0.02,
        "fpr_difference": np.nan,
    }
    return html_report(
        title=title,
        models=models,
        comparisons={"baseline": compare(y, pds, pds[::-1])},
        gate=[Verdict("discrimination", gate_passes, "AUC 0.7 reaches 0.65")],
        fairness_groups=pd.DataFrame([row | figure | bounds | {"is_reference": False}]),
        fairness_verdicts=pd.DataFrame([verdict]),
        plots={"roc": b"\x89PNG"},
        by_batch=pd.DataFrame(
            [
                {"batch": "2007-Q2", "fold": "learned from", "rows": 24, "defaults": 3, "mean_pd": np.nan}
                | {"default_rate": 0.125, "default_rate_low": 0.04, "default_rate_high": 0.31}
                | {"auc": np.nan, "auc_low": np.nan, "auc_high": np.nan},
                {"batch": "2010-Q4", "fold": "test", "rows": 3791, "defaults": 525, "mean_pd": 0.143}
                | {"default_rate": 0.1385, "default_rate_low": 0.128, "default_rate_high": 0.15}
                | {"auc": 0.679, "auc_low": 0.655, "auc_high": 0.702},
            ]
        ),
        versions={"features": "version 12"},
        synthetic=synthetic,
    )


class Tags(HTMLParser):
    """Checks that the tags of a page are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_and_loads_nothing() -> None:
    page = report()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not {"script", "link", "iframe"} & set(tags.seen)
    assert not re.search(r"https?://|url\(|@import", page)
    assert 'src="data:image/png;base64,iVBORw=="' in page


def test_page_shows_its_inputs() -> None:
    page = report()
    for words in (
        "Candidate 7",
        "PR-AUC",
        "Deciles",
        "version 12",
        "AUC 0.7 reaches 0.65",
        "baseline",
        "p (DeLong)",
        "By batch",
        "0.655 to 0.702",
    ):
        assert words in page


@pytest.mark.parametrize("synthetic", [True, False])
def test_banner_is_shown_for_synthetic_data_only(synthetic: bool) -> None:
    assert ("SYNTHETIC DATA" in report(synthetic=synthetic)) is synthetic


def test_failed_gate_is_reported_first() -> None:
    assert "refused" in report(gate_passes=False)
    assert "stopped" not in report(gate_passes=True)


def test_text_is_escaped() -> None:
    page = report(title="<script>alert(1)</script>", group="<b>M</b>")
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;M&lt;/b&gt;" in page


def test_page_shows_ties_at_the_cut_off_and_the_approval_rates_on_either_side() -> None:
    assert re.search(
        r"The highest PD approved, [\d.]+%, is that of 1 of 500 applicants: 7\d\.\d% are approved, with a cut-off",
        report(),
    )

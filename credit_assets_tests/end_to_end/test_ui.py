"""What a user sees: Dagster's own pages of the small project, rendered by a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from credit_assets_tests.conftest import Line
from credit_assets_tests.end_to_end.webserver import serving
from credit_assets_tests.small_project import BOOK, write_workspace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def server(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a dagster-webserver of the project."""
    project = line.copy(tmp_path_factory.mktemp("ui") / "project")
    write_workspace(project, BOOK)
    with serving(project) as address:
        yield address


def page_text(address: str, profile: Path) -> str:
    """The text of a page after its scripts have run."""
    assert CHROMIUM
    page = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            "--window-size=1600,6000",
            "--virtual-time-budget=30000",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    ).stdout
    return unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL))


def test_lineage_page_shows_every_stage(server: str, tmp_path: Path) -> None:
    page = page_text(f"{server}/asset-groups", tmp_path)
    for group in ("raw", "features", "training", "evaluation", "fairness", "champion", "scoring", "monitoring"):
        assert group in page


def test_evaluation_page_shows_owner_kind_figures_and_plots(server: str, tmp_path: Path) -> None:
    page = page_text(f"{server}/assets/{BOOK}/evaluation?view=overview", tmp_path)
    for words in (
        "The performance of the candidate on outcomes",
        "credit-risk",
        "Scikit Learn",
        "auc_low",
        "Calibration",
    ):
        assert words in page


def test_raw_table_page_shows_columns_with_descriptions_and_limits(server: str, tmp_path: Path) -> None:
    page = page_text(f"{server}/assets/{BOOK}/applications?view=overview", tmp_path)
    for words in ("SK_ID_CURR", "AMT_INCOME_TOTAL", "non-nullable", "rows_quarantined"):
        assert words in page


def test_gate_page_shows_its_checks(server: str, tmp_path: Path) -> None:
    page = page_text(f"{server}/assets/{BOOK}/promotion_gate?view=checks", tmp_path)
    for check in ("discrimination", "calibration", "not_worse_than_champion", "stability", "four_fifths_gender"):
        assert check in page

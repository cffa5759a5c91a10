"""What a person sees: Dagster's own pages over the small project, drawn by a real browser."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from credit_assets_tests.conftest import Line
from credit_assets_tests.small_project import BOOK, HOME

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def server(line: Line) -> Iterator[str]:
    """dagster-webserver over the project, as workspace.yaml starts it; its address."""
    shutil.copy(HOME / "workspace.yaml", line.project.root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_webserver", "--host", "127.0.0.1", "--port", str(port)],
        cwd=line.project.root,
        env=os.environ | {"DAGSTER_HOME": str(line.project.root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert process.poll() is None, "dagster-webserver ended"
            try:
                urllib.request.urlopen(f"{address}/server_info", timeout=1).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                process_wait(process)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def process_wait(process: subprocess.Popen[bytes]) -> None:
    """A tenth of a second, or less where the server has ended."""
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return


def seen(address: str, profile: Path) -> str:
    """The words on a page after its scripts have run."""
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


def test_the_lineage_shows_every_stage(server: str, tmp_path: Path) -> None:
    page = seen(f"{server}/asset-groups", tmp_path)
    for group in ("raw", "features", "training", "evaluation", "fairness", "champion", "scoring", "monitoring"):
        assert group in page


def test_an_evaluation_shows_owner_kind_figures_and_plots(server: str, tmp_path: Path) -> None:
    page = seen(f"{server}/assets/{BOOK}/evaluation?view=overview", tmp_path)
    for words in ("How well the candidate ranks", "credit-risk", "Scikit Learn", "auc_low", "Calibration"):
        assert words in page


def test_a_raw_table_shows_its_columns_with_words_and_limits(server: str, tmp_path: Path) -> None:
    page = seen(f"{server}/assets/{BOOK}/applications?view=overview", tmp_path)
    for words in ("SK_ID_CURR", "AMT_INCOME_TOTAL", "non-nullable", "rows_quarantined"):
        assert words in page


def test_the_gate_shows_its_checks(server: str, tmp_path: Path) -> None:
    page = seen(f"{server}/assets/{BOOK}/promotion_gate?view=checks", tmp_path)
    for check in ("discrimination", "calibration", "not_worse_than_champion", "stability", "four_fifths_gender"):
        assert check in page

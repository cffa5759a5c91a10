"""The drift page repeats the drift table, survives difficult columns and loads nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from credit_assets.monitoring.drift import measure
from credit_assets.monitoring.drift_report import is_worth_plotting, plotted_columns, sample, write_report
from credit_assets.monitoring.drift_summary import summary
from credit_assets.monitoring.reference import Reference
from credit_assets.settings.drift import DriftConfig

pytestmark = pytest.mark.slow

CONFIG = DriftConfig()


def training(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "SK_ID_CURR": np.arange(rows),
            "income": rng.normal(size=rows),
            "steady": rng.normal(size=rows),
            "within_a_bin": 0.0,
            "gone": rng.normal(size=rows),
            "never_there": np.full(rows, np.nan),
            "infinite": np.full(rows, np.inf),
            "channel": rng.choice(["branch", "online"], rows),
            "employer": [f"employer {i % 90}" for i in range(rows)],
            "pd": rng.random(rows),
        }
    )


def batch() -> pd.DataFrame:
    frame = training().sample(frac=0.9, random_state=1)
    return frame.assign(income=frame["income"] + 2, gone=np.nan, channel=None, within_a_bin=-1.0)


@pytest.fixture(scope="module")
def drift() -> pd.DataFrame:
    with duckdb.connect() as con:
        then = con.from_arrow(pa.Table.from_pandas(training()))
        now = con.from_arrow(pa.Table.from_pandas(batch().astype({"channel": "string"}), preserve_index=False))
        reference = Reference.build(then, list(training().columns[1:-1]), CONFIG, score="pd")
        return measure(reference, now, CONFIG)


@pytest.fixture(scope="module")
def page(drift: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "drift.html"
    words = summary(drift, CONFIG).message
    write_report(training(), batch(), drift, path, "Drift of <home>, 2026-03", words, CONFIG, synthetic=True)
    assert [entry.name for entry in path.parent.iterdir()] == ["drift.html"]
    return path.read_text(encoding="utf-8")


def test_page_repeats_figures_and_verdicts_of_the_drift_table(drift: pd.DataFrame, page: str) -> None:
    for row in drift.to_dict("records"):
        assert f'<tr class="{row["verdict"]}"><td>{row["feature"]}</td><td>{row["verdict"]}</td>' in page
    # Evidently's own table: each column with one of the two figures, and Detected if it is not stable.
    own = {
        name: (score, found)
        for name, found, score in re.findall(
            r'"column_name": "(\w+)".*?"data_drift": "([A-Za-z ]+)", "drift_score": ([\d.e+-]+)', page
        )
    }
    for row in drift.to_dict("records"):
        score, found = own[row["feature"]]
        assert float(score) in [pytest.approx(row["psi"], abs=1e-6), pytest.approx(row["ks"], abs=1e-6)]
        assert found == ("Not Detected" if row["verdict"] == "stable" else "Detected")
    assert "Dataset Drift is" not in page


def test_page_starts_with_banner_title_and_summary(page: str) -> None:
    opening = page[page.index("<body>") : page.index("<body>") + 2000]
    assert "SYNTHETIC" in opening
    assert "Drift of &lt;home&gt;, 2026-03" in opening
    assert "Moved most: " in opening


def test_page_loads_nothing(page: str) -> None:
    assert "default-src 'none'" in page[:1000]
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?(https?:)?//", page)


def test_writing_a_page_does_not_access_the_network(tmp_path: Path) -> None:
    program = f"""
import sys
sys.addaudithook(lambda event, args: sys.exit("network: " + event) if event in
    ("socket.connect", "socket.getaddrinfo", "subprocess.Popen") else None)
import pandas as pd
from pathlib import Path
from credit_assets.settings.drift import DriftConfig
from credit_assets.monitoring.drift_report import write_report
drift = pd.DataFrame([dict(feature="x", role="feature", kind="numeric", psi=0.3, psi_noise=0.0, ks=0.1,
    ks_noise=0.0, missing_reference=0.0, missing_batch=0.0, new_category_share=0.0, change="up",
    verdict="shifted")])
rows = pd.DataFrame({{"x": [1.0, 2.0, 3.0]}})
path = Path({str(tmp_path / "page.html")!r})
write_report(rows, rows + 1, drift, path, "t", "w", DriftConfig(), synthetic=False)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert "SYNTHETIC" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_second_page_of_a_process_has_its_own_figures(drift: pd.DataFrame, page: str, tmp_path: Path) -> None:
    other = drift[drift["feature"] == "steady"].assign(psi=0.7654321, verdict="shifted")
    write_report(training(), batch(), other, tmp_path / "drift.html", "t", "w", CONFIG, synthetic=False)
    assert '"drift_score": 0.765432' in (tmp_path / "drift.html").read_text(encoding="utf-8")


def test_score_and_largest_shifts_are_drawn() -> None:
    moved = [{"feature": f"x{i}", "role": "feature"} for i in range(60)] + [{"feature": "pd", "role": "score"}]
    drawn = plotted_columns(pd.DataFrame(moved), DriftConfig(report_columns=12))
    assert drawn == ["pd", *(f"x{i}" for i in range(11))]


def test_sample_does_not_depend_on_row_order() -> None:
    with duckdb.connect() as con:
        ahead = con.sql("select i as id, i * i as square from range(1000) t(i)")
        back = con.sql("select 999 - i as id, (999 - i) ** 2 as square from range(1000) t(i)")
        first, second = sample(ahead, ["square"], "id", rows=50), sample(back, ["square"], "id", rows=50)
    assert first["square"].tolist() == second["square"].tolist()
    assert len(set(first["square"])) == 50
    assert list(first.columns) == ["square"]


def test_page_is_drawn_for_enough_rows_or_a_shift_but_not_for_few_applicants() -> None:
    few = pd.DataFrame({"psi_noise": [30.0, 30.0, 0.02], "verdict": ["stable"] * 3})
    assert not is_worth_plotting(few, CONFIG)
    assert is_worth_plotting(few.assign(verdict=["stable", "shifted", "stable"]), CONFIG)
    assert is_worth_plotting(few.assign(psi_noise=0.02), CONFIG)
    assert not is_worth_plotting(few.assign(psi_noise=0.02), DriftConfig(report_columns=0))


@pytest.mark.parametrize(("rows", "drawn"), [(1, False), (20, False), (4000, True)])
def test_no_page_is_drawn_for_a_batch_of_one_applicant(rows: int, drawn: bool) -> None:
    then = pd.DataFrame(np.random.default_rng(3).normal(size=(4000, 5)), columns=list("abcde"))
    with duckdb.connect() as con:
        reference = Reference.build(con.from_df(then), list("abcde"), CONFIG)
        measured = measure(reference, con.from_df(then.head(rows)), CONFIG)
    assert is_worth_plotting(measured, CONFIG) is drawn

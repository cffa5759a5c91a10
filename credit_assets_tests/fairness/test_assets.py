"""The audit as assets: a book without protected attributes is processed completely, and reports what it cannot see."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import yaml

from credit_assets.application.run import run_due
from credit_assets.application.status import status
from credit_assets.fairness import assets
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.registry.memory import Memory
from credit_assets.schemas.evidence import NOTHING_AUDITED
from credit_assets.settings.project import Project
from credit_assets_tests.bare_versions import register_bare
from credit_assets_tests.small_project import HOME, inside

BOOK = "unseen"

CONTRACTS = '''"""Two columns and an outcome."""

import pandera.pandas as pa

from credit_assets.schemas.table import Table


class Applications(Table):
    """A borrower."""

    ID: int = pa.Field(unique=True)
    DEBT: float = pa.Field(ge=0, lt=float("inf"))
    INCOME: float = pa.Field(gt=0, lt=float("inf"))
    BAD: float | None = pa.Field(isin=[0, 1], nullable=True)


TABLES = {"applications": Applications}
'''

SQL = """-- What is owed against what is earned.
select
    ID,
    DEBT as debt, -- what is owed
    DEBT / INCOME as debt_to_income -- what is owed against what is earned
from applications
"""

CONFIG = {
    "name": BOOK,
    "title": "A book that tells nothing of groups",
    "owners": ["team:credit-risk"],
    "contracts": f"{BOOK}.py",
    "entity_key": "ID",
    "target": "BAD",
    "tables": {"applications": {"files": ["loans"]}},
    "policy": {"target_approval_rate": 0.8},
    "training": {"trials": 1, "max_rounds": 30},
    # The gates are wide because the test is small.
    "evaluation": {"n_bootstrap": 100, "gate": {"max_ece": 0.1, "max_calibration_gap": 0.1, "max_score_psi": 1}},
    "drift": {"report_columns": 0},
}


def loans(n: int) -> pd.DataFrame:
    """Borrowers, of whom those with much debt for their income default more often."""
    rng = np.random.default_rng(3)
    debt, income = rng.lognormal(0, 1, n), rng.lognormal(0, 0.5, n)
    bad = rng.random(n) < 1 / (1 + np.exp(2.5 - 1.5 * np.log(debt / income)))
    return pd.DataFrame({"ID": np.arange(n), "DEBT": debt, "INCOME": income, "BAD": bad.astype(int)})


def make_book_without_attributes(root: Path) -> Project:
    (root / "configs").mkdir(parents=True)
    (root / "configs" / f"{BOOK}.yaml").write_text(yaml.safe_dump(CONFIG))
    (root / "configs" / f"{BOOK}.py").write_text(CONTRACTS)
    (root / "sql" / BOOK).mkdir(parents=True)
    (root / "sql" / BOOK / "features.sql").write_text(SQL)
    shutil.copy(HOME / "dagster.yaml", root)
    (root / "delivery").mkdir()
    loans(3000).to_csv(root / "delivery" / "loans.csv", index=False)
    Inbox(root / "data" / "inbox").deliver(root / "delivery", BOOK, "2026-01")
    return Project(root)


def test_book_without_protected_attributes_is_processed_and_reports_the_gap(tmp_path: Path) -> None:
    project = make_book_without_attributes(tmp_path)
    with inside(project):
        outcomes = run_due(project, BOOK, lambda line: None)
        told = status(project, BOOK)
    assert [(outcome.job, outcome.success) for outcome in outcomes] == [
        ("ingest", True),
        ("train", True),
        ("score", True),
    ]
    assert told.champion.version == 1
    [check] = [check for check in told.checks if check.asset == "fairness_audit"]
    assert (check.check, check.passed, check.severity) == ("groups_seen", False, "WARN")
    assert check.description == NOTHING_AUDITED
    assert told.batches[0].approval_rate > 0
    with duckdb.connect() as con:
        assert len(con.sql(Lake(project.lake).query(f"{BOOK}/fairness_groups", None))) == 0
    page = (project.reports / BOOK / "evaluation-v1.html").read_text()
    assert "that groups are treated equally" in page


def test_compared_champion_decides_on_the_rows_with_its_pds(tmp_path: Path) -> None:
    registry, lake = Memory().registry(BOOK), Lake(tmp_path)
    compared, later = (register_bare(registry, cut_off=cut_off) for cut_off in (0.2, 0.5))
    registry.promote(later, by="hand", why="while the candidate was evaluated")
    with duckdb.connect() as con:
        made = Provenance(champion_version=compared)
        lake.replace(con, "SELECT 1 AS applicant", f"{BOOK}/predictions", None, made)
    book = SimpleNamespace(registry=registry, portfolio=SimpleNamespace(table=lambda name: f"{BOOK}/{name}"))

    def decided(pds: list[float]) -> np.ndarray | None:
        return assets._by_champion(pd.DataFrame({"champion": pds}), lake, book)

    np.testing.assert_array_equal(decided([0.1, np.nan, 0.3]), [1, np.nan, 0])
    assert decided([np.nan, np.nan]) is None

"""Columns that models must not use: if the inputs reproduce one, the training set is refused or a check warns."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

from credit_assets.application.run import run_due
from credit_assets.application.status import status
from credit_assets.features.checks import hidden_columns_verdict
from credit_assets.features.combined_leaks import reproduced_columns
from credit_assets.features.hidden_columns import hidden_columns
from credit_assets.ingest.inbox import Inbox
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.small_project import HOME, inside

BOOK = "hidden"

CONTRACTS = '''"""A loan, with what became of it."""

import pandera.pandas as pa

from credit_assets.schemas.table import Table


class Applications(Table):
    """A borrower."""

    ID: int = pa.Field(unique=True)
    AMOUNT: float = pa.Field(gt=0, lt=float("inf"))
    PAID_OUT: float = pa.Field(gt=0, lt=float("inf"))
    CODE: float = pa.Field(lt=float("inf"))
    DAYS: int = pa.Field(ge=0)
    FEE: float = pa.Field(ge=0, lt=float("inf"))
    INVOICED: float = pa.Field(gt=0, lt=float("inf"))
    TOWN: str
    BAD: float | None = pa.Field(isin=[0, 1], nullable=True)


TABLES = {"applications": Applications}
'''

SQL = """-- The loan.
select
    ID,
    AMOUNT as amount, -- the amount
    PAID_OUT as paid_out, -- what was paid out
    CODE as code, -- a code
    INVOICED as invoiced -- what was invoiced
from applications
"""


def loans(n: int = 1200) -> pd.DataFrame:
    """The days that a loan ran reveal its outcome, and the code combines the amount paid out with the days."""
    rng = np.random.default_rng(1)
    bad = rng.random(n) < 0.25
    made = pd.DataFrame({"ID": np.arange(n), "AMOUNT": np.round(rng.lognormal(9, 0.6, n))})
    made["PAID_OUT"] = np.round(rng.lognormal(9, 0.5, n))
    made["DAYS"] = np.where(bad, rng.integers(10, 900, n), rng.integers(850, 2500, n))
    made["CODE"] = made["PAID_OUT"] + made["DAYS"]
    made["FEE"] = np.round(rng.gamma(2, 50, n) + 40 * bad)
    return made.assign(INVOICED=made["AMOUNT"] + made["FEE"], TOWN="Ulm", BAD=bad.astype(int))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    config = {
        "name": BOOK,
        "title": "A book with a hidden leak",
        "owners": ["team:credit-risk"],
        "contracts": f"{BOOK}.py",
        "entity_key": "ID",
        "target": "BAD",
        "tables": {"applications": {"files": ["loans"]}},
        "post_decision": {"DAYS": "counted when the loan has ended", "FEE": "charged later", "TOWN": "asked later"},
        "policy": {"target_approval_rate": 0.8},
    }
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / f"{BOOK}.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "configs" / f"{BOOK}.py").write_text(CONTRACTS)
    (tmp_path / "sql" / BOOK).mkdir(parents=True)
    (tmp_path / "sql" / BOOK / "features.sql").write_text(SQL)
    shutil.copy(HOME / "dagster.yaml", tmp_path)
    return Project(tmp_path)


@pytest.mark.slow
def test_training_set_whose_inputs_reproduce_a_later_column_is_refused_by_name(project: Project) -> None:
    (project.root / "delivery").mkdir()
    loans().to_csv(project.root / "delivery" / "loans.csv", index=False)
    Inbox(project.inbox).deliver(project.root / "delivery", BOOK, "2026-01")
    with inside(project):
        outcomes = run_due(project, BOOK, lambda line: None)
        checks = {check.check: check for check in status(project, BOOK).checks}
    assert [(outcome.job, outcome.success) for outcome in outcomes][:2] == [("ingest", True), ("train", False)]
    said = str(checks["no_leakage"].description)
    assert "code and paid_out together are a leak: code - paid_out reproduces DAYS (R squared 1.000)" in said
    # The fee says little about the outcome, so reproducing it is no reason to refuse.
    assert "FEE" not in said


def test_reproduced_column_that_is_no_leak_itself_is_a_warning(project: Project) -> None:
    portfolio = Portfolio.load(project, BOOK)
    made = loans().assign(batch="2026-01")
    learned = made.rename(
        columns={"AMOUNT": "amount", "PAID_OUT": "paid_out", "INVOICED": "invoiced", "BAD": "target"}
    ).sample(frac=0.8, random_state=1)
    with duckdb.connect() as con:
        con.register("made", made)
        kept = hidden_columns(portfolio, learned, con.sql("SELECT * FROM made"), con.sql("SELECT 1"), {})
    assert list(kept.columns) == ["DAYS", "FEE"]
    assert kept["FEE"].tolist() == learned["FEE"].tolist()
    back = reproduced_columns(kept, learned[["amount", "paid_out", "invoiced"]], learned["target"].to_numpy(dtype=bool))
    result = hidden_columns_verdict(kept, back)
    assert not result.passed and result.severity == "warning"
    assert result.message.startswith("invoiced - amount reproduces FEE (R squared 1.000) and ranks the outcomes")
    assert hidden_columns_verdict(kept, []).passed
    assert hidden_columns_verdict(kept, [replace(found, auc=0.55) for found in back]).passed


def test_excluded_features_that_rank_like_a_leak_are_searched_for(project: Project) -> None:
    portfolio = Portfolio.load(project, BOOK)
    made = loans().assign(batch="2026-01", fold="train")
    learned = made.rename(columns={"BAD": "target"}).drop(columns=["DAYS"])
    outside = made.rename(columns={"DAYS": "days"})[["ID", "batch", "days", "FEE"]]
    with duckdb.connect() as con:
        con.register("made", made.drop(columns=["DAYS", "FEE"]))
        con.register("outside", outside.rename(columns={"FEE": "fee"}).sample(frac=1, random_state=2))
        kept = hidden_columns(
            portfolio,
            learned,
            con.sql("SELECT * FROM made"),
            con.sql("SELECT * FROM outside"),
            {"days": "left out", "fee": "left out"},
        )
    assert list(kept.columns) == ["days"]
    assert kept["days"].tolist() == made["DAYS"].tolist()

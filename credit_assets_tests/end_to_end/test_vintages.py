"""A small book with vintages, through Dagster: tested on its newest batches, tuned on an expanding window, with one
feature left out and one encoded, and its vintages plotted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from credit_assets.automation.runs import execute, instance_for_commands
from credit_assets.definitions import build
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.models.registered import load_model
from credit_assets.registry.registry import Registry
from credit_assets.settings.project import Project
from credit_assets_tests.small_project import inside, latest_metadata, make_project

# The tests are steps of one story.
pytestmark = pytest.mark.story

BOOK = "quarters"
QUARTERS = ["2008-Q1", "2008-Q2", "2008-Q3", "2008-Q4", "2009-Q1", "2009-Q2"]
LOANS = 400

CONTRACTS = '''
import pandera.pandas as pa
from credit_assets.schemas.table import Table

class Applications(Table):
    """Loans."""
    id: str = pa.Field(unique=True)
    income: float
    score: float = pa.Field(nullable=True)
    purpose: str
    grade: str
    status: str
    opened: str
    last_paid: str = pa.Field(nullable=True)

TABLES = {"applications": Applications}
'''

SQL = """-- Features of a loan.
select
    id,
    income, -- the income
    score, -- the score
    purpose, -- what the loan is for
    case grade when 'A' then 1 when 'B' then 2 else 3 end as grade_order -- the lender's grade
from applications
"""

CONFIG: dict[str, Any] = {
    "name": BOOK,
    "title": "Loans by quarter",
    "owners": ["team:credit-risk"],
    "contracts": f"{BOOK}.py",
    "entity_key": "id",
    "target": {"column": "status", "bad": ["Charged Off"], "good": ["Fully Paid"]},
    "tables": {"applications": {"files": ["loans"]}},
    "post_decision": {"last_paid": "the last payment comes after the decision"},
    "left_out": {"grade": "the lender's own estimate"},
    "policy": {"target_approval_rate": 0.8},
    "training": {
        "trials": 1,
        "max_rounds": 60,
        "test_batches": 2,
        "cv": "batches",
        "cv_folds": 2,
        "encodings": {"purpose": "target"},
    },
    "evaluation": {
        "n_bootstrap": 100,
        "vintage": {"opened": "opened", "defaulted": "last_paid"},
        "gate": {"min_auc": 0.6, "max_ece": 0.2, "max_calibration_gap": 0.1},
    },
    "drift": {"report_columns": 0},
}


def loans(quarter: str) -> pd.DataFrame:
    generator = np.random.default_rng(QUARTERS.index(quarter))
    opened = pd.Period(quarter.replace("-", ""), "Q").asfreq("M", "start") + generator.integers(0, 3, LOANS)
    score = generator.normal(size=LOANS)
    purpose = generator.choice(["car", "house", "wedding"], LOANS)
    bad = generator.random(LOANS) < 1 / (1 + np.exp(1.2 + score - (purpose == "wedding")))
    return pd.DataFrame(
        {
            "id": [f"{quarter}-{row}" for row in range(LOANS)],
            "income": generator.lognormal(10, 0.4, LOANS),
            "score": score,
            "purpose": purpose,
            "grade": np.where(bad, "C", "A"),
            "status": np.where(bad, "Charged Off", "Fully Paid"),
            "opened": [month.strftime("%b-%Y") for month in opened],
            "last_paid": [(month + 12).strftime("%b-%Y") for month in opened],
        }
    )


def run_job(project: Project, job: str, batch: str | None = None) -> None:
    with inside(project), instance_for_commands(project, BOOK) as instance:
        if batch:
            instance.add_dynamic_partitions(f"{BOOK}_batches", [batch])
        done = execute(instance, build(BOOK, project), BOOK, job, batch, lambda line: None)
    assert done.success, done.errors


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("quarters")
    project = make_project(root / "project")
    project.config(BOOK).write_text(yaml.safe_dump(CONFIG))
    project.config(BOOK).with_suffix(".py").write_text(CONTRACTS)
    project.sql(BOOK).mkdir()
    (project.sql(BOOK) / "features.sql").write_text(SQL)
    for quarter in QUARTERS:
        made = root / quarter
        made.mkdir()
        loans(quarter).to_csv(made / "loans.csv", index=False)
        Inbox(project.inbox).deliver(made, BOOK, quarter)
        run_job(project, "ingest", quarter)
    run_job(project, "train")
    return project


def rows(project: Project, name: str) -> pd.DataFrame:
    import duckdb

    return duckdb.sql(Lake(project.lake).query(f"{BOOK}/{name}")).df()


def records(table: Any) -> pd.DataFrame:
    return pd.DataFrame([record.data for record in table.records])


def test_excluded_feature_is_computed_but_not_learned_from(project: Project) -> None:
    assert "grade_order" in rows(project, "features")
    assert list(rows(project, "training_set").columns) == [
        *("id", "batch", "income", "score", "purpose", "target", "fold"),
    ]
    left_out = records(latest_metadata(project, "training_set", BOOK)["left_out"])
    assert left_out.to_dict("records") == [
        {
            "feature": "grade_order",
            "words": "the lender's grade",
            "why": "applications.grade: the lender's own estimate",
        }
    ]
    registry = Registry.of(project, BOOK)
    model = load_model(registry, registry.get(1))
    assert model.features == ("income", "score", "purpose")


def test_newest_batches_are_the_test_and_later_ones_are_held_out(project: Project) -> None:
    predictions = rows(project, "candidate")
    assert sorted(predictions[predictions["fold"] == "test"]["batch"].unique()) == QUARTERS[-2:]
    # The first half of the training part is only learned from.
    assert sorted(predictions[predictions["fold"] != "test"]["batch"].unique()) == QUARTERS[2:4]
    about = latest_metadata(project, "candidate", BOOK)
    assert about["folds_of"] == "batches"
    folds = records(about["folds"])
    assert folds["learned_from"].tolist() == ["2008-Q1 to 2008-Q2", "2008-Q1 to 2008-Q3"]
    assert folds["held_out"].tolist() == ["2008-Q3", "2008-Q4"]


def test_evaluation_covers_every_batch_and_plots_vintages(project: Project) -> None:
    about = latest_metadata(project, "evaluation", BOOK)
    by_batch = records(about["performance_by_batch"])
    assert by_batch["batch"].tolist() == QUARTERS
    assert by_batch["fold"].tolist() == [*["learned from"] * 2, *["held out"] * 2, *["test"] * 2]
    by_age = records(about["defaulted_by_age"])
    assert by_age["6 months"].tolist() == [0.0] * 6
    for quarter, share in zip(by_age["batch"], by_age["12 months"], strict=True):
        assert share == pytest.approx((loans(quarter)["status"] == "Charged Off").mean(), abs=1e-4)
    assert {"Default rate by batch", "Vintage curves"} <= about.keys()
    report = Path(latest_metadata(project, "promotion_gate", BOOK)["report"]).read_text()
    assert "By batch" in report and 'alt="Vintage curves"' in report


def test_batch_is_scored_with_the_learned_encodings(project: Project) -> None:
    run_job(project, "score", QUARTERS[-1])
    scores = rows(project, "scores").set_index("applicant")["pd"]
    registry = Registry.of(project, BOOK)
    model = load_model(registry, registry.champion())
    assert set(model.encodings["purpose"].numbers) == {"car", "house", "wedding"}
    features = rows(project, "features").query(f"batch == '{QUARTERS[-1]}'")
    np.testing.assert_array_equal(scores[features["id"]].to_numpy(), model.pd(features))

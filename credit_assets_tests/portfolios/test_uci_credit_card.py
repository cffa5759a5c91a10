"""The smallest complete portfolio: short, its features correct by hand and by a naive count, its bar reached."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.book.book import Book
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import Ingested, ingest
from credit_assets.lake.tables import Lake
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.settings.project import Project

HOME = Path(__file__).parents[2]
COMPILED = Book.load(Project(HOME), "uci_credit_card")
BOOK = COMPILED.portfolio
QUERIES = COMPILED.queries
APPLICATIONS = COMPILED.contracts["applications"]
PAY, BILLS, PAID = (
    [f"PAY_{month}" for month in (0, 2, 3, 4, 5, 6)],
    [f"BILL_AMT{month}" for month in range(1, 7)],
    [f"PAY_AMT{month}" for month in range(1, 7)],
)


def clients(
    status: Sequence[Sequence[int]], bill: Sequence[int] = (0,) * 6, paid: Sequence[int] = (0,) * 6, limit: int = 1000
) -> pd.DataFrame:
    """Features of clients with these statuses, newest month first, all with the same bills and payments."""
    rows = pd.DataFrame(
        [[number, limit, *months, *bill, *paid] for number, months in enumerate(status)],
        columns=["ID", "LIMIT_BAL", *PAY, *BILLS, *PAID],
    )
    with duckdb.connect() as con:
        con.register("given", rows)
        columns = ", ".join(f'"{name}" {kind}' for name, kind in column_types(APPLICATIONS).items())
        con.execute(f"create table applications ({columns})")
        con.execute("insert into applications by name from given")
        return con.sql(QUERIES["features"].sql).df().set_index("ID").sort_index()


def test_book_has_at_most_150_lines() -> None:
    files = [*(HOME / "configs").glob(f"{BOOK.name}.*"), *(HOME / "sql" / BOOK.name).iterdir()]
    assert {file.suffix for file in files} == {".yaml", ".py", ".sql"}
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= 150


def test_no_feature_uses_a_protected_column() -> None:
    roots = COMPILED.raw_lineage["features"]
    assert BOOK.protected_columns == {"SEX", "EDUCATION", "MARRIAGE", "AGE"}
    used = {column for origins in roots.values() for _, column in origins}
    assert used == {"ID", "LIMIT_BAL", *PAY, *BILLS, *PAID}


def test_features_of_a_client_equal_an_example_by_hand() -> None:
    # Two months late now, one month late four months ago; 400 of the last bill of 800 paid, nothing before that.
    found = clients(
        [[2, 0, -1, 1, -2, 0]], bill=[900, 800, 200, 100, 0, -50], paid=[400, 0, 0, 0, 0, 60], limit=1000
    ).loc[0]
    assert (found.months_late, found.last_late, found.last_late_2, found.delay_max) == (2, 1, 1, 2)
    assert (found.late_now, found.late_streak) == (1, 1)
    assert found.delay_recent == 2 * 6 + 1 * 3
    assert (found.months_revolving, found.months_paid_in_full, found.months_unpaid) == (2, 1, 4)
    assert (found.used_1, found.used_2, found.used_max, found.used_min) == pytest.approx((0.9, 0.8, 0.9, -0.05))
    assert (found.limit_left, found.bill_max) == (100, 900)
    assert found.paid_share_1 == 0.5
    # Nothing was billed five or six months ago, so no share of it was paid.
    assert (found.paid_share_2, found.paid_share_3) == (0, 0)
    assert np.isnan([found.paid_share_4, found.paid_share_5]).all()
    assert found.paid_to_billed == pytest.approx(460 / (800 + 200 + 100))
    assert (found.spent_1, found.spent_2) == pytest.approx(((900 - 800 + 400) / 1000, (800 - 200) / 1000))
    assert found.spent_sum == pytest.approx((900 - -50 + 400) / 1000)


def test_trends_are_the_slope_of_a_straight_line() -> None:
    bill, paid, status = [600, 500, 300, 300, 100, 90], [10, 90, 0, 40, 70, 20], [3, 2, 2, 0, -1, -2]
    found = clients([status], bill, paid).loc[0]
    months = -np.arange(6)
    assert found.used_trend == pytest.approx(np.polyfit(months, np.array(bill) / 1000, 1)[0])
    assert found.paid_trend == pytest.approx(np.polyfit(months, np.array(paid) / 1000, 1)[0])
    assert found.status_trend == pytest.approx(np.polyfit(months, status, 1)[0])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(-2, 8), min_size=6, max_size=6), min_size=1, max_size=30))
def test_streaks_equal_a_naive_count(statuses: list[list[int]]) -> None:
    found = clients(statuses)
    for number, months in enumerate(statuses):
        runs = [(late, len(list(run))) for late, run in groupby(months, key=lambda status: status > 0)]
        longest = max((length for late, length in runs if late), default=0)
        now = runs[0][1] if runs[0][0] else 0
        assert (found.late_streak[number], found.late_now[number]) == (longest, now)


@pytest.fixture(scope="module")
def delivered(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ingested, pd.DataFrame]:
    """The real file, read like a delivery: the ingestion result, and its features with the outcome."""
    folder = tmp_path_factory.mktemp("uci")
    with duckdb.connect() as con:
        result = ingest(
            con,
            Lake(folder / "lake"),
            sorted((real_data / BOOK.name).glob("*.csv.gz")),
            Target(BOOK.table("applications"), APPLICATIONS, batch="2005-09"),
            max_bad_share=0,
            quarantine_folder=folder / "quarantine",
            scratch=folder / "scratch",
        )
        con.execute(f"create view applications as {result.staged.query()}")
        features = con.sql(QUERIES["features"].sql)
        outcomes = con.sql(f'select ID, "{BOOK.target.column}" as outcome from applications')
        return result, features.join(outcomes, "ID").order("ID").df()


def test_every_client_of_the_real_file_meets_the_contract(delivered: tuple[Ingested, pd.DataFrame]) -> None:
    result, features = delivered
    assert (result.rows_in, result.rows_kept, result.rows_quarantined) == (30_000, 30_000, 0)
    assert len(features) == 30_000


@pytest.mark.slow
def test_auc_over_five_folds_without_protected_attributes_is_at_least_0_785(
    delivered: tuple[Ingested, pd.DataFrame],
) -> None:
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from xgboost import XGBClassifier

    _, table = delivered
    model = XGBClassifier(
        n_estimators=300,
        learning_rate=0.07,
        max_depth=3,
        min_child_weight=20,
        subsample=0.8,
        colsample_bytree=0.15,
        reg_lambda=30,
        # Several threads wait for each other if the machine is busy.
        n_jobs=1,
        random_state=0,
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    aucs = cross_val_score(
        model, table[list(QUERIES["features"].descriptions)], table["outcome"], scoring="roc_auc", cv=folds
    )
    assert aucs.mean() >= 0.785

"""The role of a batch for a model version, read from the training set of the version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.monitoring.batch_standing import Standing, standing
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.registry.versions import version_made_from

PORTFOLIO = Portfolio.load(Project(PROJECT), "home_credit")
FEATURES, APPLICATIONS, TRAINING_SET = map(PORTFOLIO.table, ("features", "applications", "training_set"))


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def lake(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> Lake:
    """Five batches of ten applicants: the second and third are learned from, the fourth is the test. Only six outcomes
    of the third were known.
    """
    lake = Lake(tmp_path / "lake")
    for number in range(1, 6):
        deliver(lake, con, f"2026-0{number}")
    folds = [("2026-02", "train", 8), ("2026-02", "valid", 2), ("2026-03", "train", 6), ("2026-04", "test", 10)]
    rows = " UNION ALL ".join(
        f"SELECT '{batch}' AS batch, '{fold}' AS fold FROM range({n})" for batch, fold, n in folds
    )
    lake.replace(con, rows, TRAINING_SET, None, Provenance(inputs={FEATURES: lake.version(FEATURES)}))
    return lake


def deliver(lake: Lake, con: duckdb.DuckDBPyConnection, batch: str, content: str = "first", rows: int = 10) -> None:
    """The batch's applications, and its features made from them."""
    source = Provenance(source_sha256={"applications.csv": content})
    made = lake.replace(con, f"FROM range({rows})", APPLICATIONS, batch, source)
    lake.replace(con, f"FROM range({rows})", FEATURES, batch, Provenance(inputs={APPLICATIONS: made}))


def standing_of(lake: Lake, con: duckdb.DuckDBPyConnection, batch: str) -> Standing:
    return standing(con, lake, PORTFOLIO, version_made_from({TRAINING_SET: 0}, number=7), batch)


@pytest.mark.parametrize(
    ("batch", "kind", "description"),
    [
        (
            "2026-01",
            "older",
            "Not an alarm: the batch is older than 2026-02, the oldest in the training set of version 7.",
        ),
        (
            "2026-02",
            "learned",
            "Not an alarm: before its promotion, version 7 learned from 10 of the batch's 10 applicants, and was "
            "tested on 0.",
        ),
        (
            "2026-03",
            "learned",
            "Not an alarm: before its promotion, version 7 learned from 6 of the batch's 10 applicants, and was "
            "tested on 0.",
        ),
        (
            "2026-04",
            "tested",
            "Not an alarm: before its promotion, version 7 learned from 0 of the batch's 10 applicants, and was "
            "tested on 10.",
        ),
        ("2026-05", "new", ""),
    ],
)
def test_each_batch_has_its_role(lake, con, batch, kind, description) -> None:
    assert standing_of(lake, con, batch) == Standing(kind, description)


def test_unused_batch_within_the_window_is_new(lake, con) -> None:
    deliver(lake, con, "2026-03b")
    assert standing_of(lake, con, "2026-03b").kind == "new"


def test_reingested_identical_files_keep_their_role(lake, con) -> None:
    deliver(lake, con, "2026-02")
    assert standing_of(lake, con, "2026-02").kind == "learned"


def test_identical_redelivery_after_a_withdrawal_keeps_its_role(lake, con) -> None:
    for table in (FEATURES, APPLICATIONS):
        lake.withdraw(table, "2026-02", "a mistake")
    deliver(lake, con, "2026-02")
    assert standing_of(lake, con, "2026-02").kind == "learned"


@pytest.mark.parametrize(("batch", "made"), [("2026-02", "learned from"), ("2026-04", "was tested on")])
def test_corrected_delivery_is_new_and_states_why(lake, con, batch, made) -> None:
    deliver(lake, con, batch, content="corrected")
    assert standing_of(lake, con, batch) == Standing("new", f"The batch was delivered again after version 7 {made} it.")
    deliver(lake, con, batch)
    assert standing_of(lake, con, batch).kind != "new", "the first files are back"


def test_corrected_delivery_of_an_older_batch_is_not_new_to_the_version(lake, con) -> None:
    deliver(lake, con, "2026-01", content="corrected")
    assert standing_of(lake, con, "2026-01").kind == "older"

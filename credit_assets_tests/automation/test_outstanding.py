"""What is due, told from an inbox of small files and a lake of one-row tables."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from credit_assets.automation.outstanding import to_ingest, to_score, to_train
from credit_assets.lake.io_managers import SOURCE
from credit_assets.lake.tables import Lake
from credit_assets.portfolio import Portfolio
from credit_assets.project import Project
from credit_assets.raw.delivery import Inbox
from credit_assets_tests.conftest import PROJECT

BOOK, BATCH = "home_credit", "2026-01"
PORTFOLIO = Portfolio.load(Project(PROJECT), BOOK)
STEMS = {name: config.files[0] for name, config in PORTFOLIO.tables.items() if not config.optional}


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def deliver(inbox: Inbox, folder: Path, **files: str) -> None:
    folder.mkdir()
    for stem, content in (dict.fromkeys(STEMS.values(), "A\n1\n") | files).items():
        (folder / f"{stem}.csv").write_text(content)
    inbox.deliver(folder, BOOK, BATCH)


def write(lake: Lake, name: str, batch: str = BATCH, **metadata: object) -> int:
    facts = {key: json.dumps(value) for key, value in metadata.items()}
    with duckdb.connect() as con:
        return lake.replace(con, "SELECT 1 AS x", f"{BOOK}/{name}", batch, facts)


# Raw tables and features of a made-up book: the features see the bureau through another table, and no balance.
MADE_FROM = {
    "bureau": ["applications"],
    "bureau_balance": ["bureau"],
    "outcomes": ["applications"],
    "bureau_features": ["bureau"],
    "features": ["applications", "bureau_features"],
}
ALL = ("applications", *(set(PORTFOLIO.models) - {"applications"}), "bureau_features", "features")


def ingest(inbox: Inbox, lake: Lake, *tables: str) -> None:
    """Write the tables (by default all) as the delivered files would make them."""
    delivered = inbox.fingerprint(BOOK, BATCH)
    for name in sorted(tables or ALL, key=lambda name: (len(lineage(name)), name)):
        stems = PORTFOLIO.tables[name].files if name in PORTFOLIO.tables else []
        sources = {file: sha256 for file, sha256 in delivered.items() if file.removesuffix(".csv") in stems}
        inputs = {f"{BOOK}/{source}": lake.version(f"{BOOK}/{source}") for source in MADE_FROM.get(name, [])}
        write(lake, name, **{SOURCE: sources, "inputs": inputs})


def lineage(name: str) -> list[str]:
    """All that the table is made from, however far back."""
    return [found for source in MADE_FROM.get(name, []) for found in (source, *lineage(source))]


def score(lake: Lake) -> None:
    made_from = lake.version(f"{BOOK}/features")
    made = write(lake, "scores", inputs={f"{BOOK}/features": made_from})
    write(lake, "score_drift", inputs={f"{BOOK}/scores": made})


def due(inbox: Inbox, lake: Lake) -> list[tuple[str | None, str, tuple[str, ...]]]:
    return [(found.batch, found.why, found.tables) for found in to_ingest(PORTFOLIO, inbox, lake)]


def test_an_empty_inbox_has_nothing_to_ingest(inbox, lake):
    assert due(inbox, lake) == []


def test_a_new_delivery_is_ingested_until_its_features_are_made(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    assert due(inbox, lake) == [(BATCH, "delivered, not ingested yet", ())]
    ingest(inbox, lake, *PORTFOLIO.models)
    assert due(inbox, lake) == [(BATCH, "its features are older than its raw tables", ())]
    ingest(inbox, lake, "bureau_features", "features")
    assert due(inbox, lake) == []


@pytest.mark.parametrize("name", ["applications", "bureau", "bureau_features"])
def test_features_are_late_where_what_they_were_made_from_was_made_again(inbox, lake, tmp_path, name):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    ingest(inbox, lake, name)
    assert due(inbox, lake) == [(BATCH, "its features are older than its raw tables", ())]


@pytest.mark.parametrize("name", ["bureau_balance", "pos_cash_balance", "outcomes"])
def test_a_table_that_no_feature_reads_makes_none_late(inbox, lake, tmp_path, name):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    ingest(inbox, lake, name)
    assert due(inbox, lake) == []


def test_an_ingestion_that_was_cut_off_is_due_again(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake, *(set(PORTFOLIO.models) - {"bureau_balance", "outcomes"}))
    assert due(inbox, lake) == [(BATCH, "its files differ from what was ingested: bureau_balance, outcomes", ())]


def test_a_corrected_file_is_due_and_named(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    deliver(inbox, tmp_path / "corrected", bureau="A\n2\n")
    assert due(inbox, lake) == [(BATCH, "its files differ from what was ingested: bureau", ())]


def test_outcomes_that_come_later_are_due_alone(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    deliver(inbox, tmp_path / "with_outcomes", outcomes="A\n1\n")
    assert due(inbox, lake) == [(BATCH, "outcomes were delivered", ("outcomes",))]
    ingest(inbox, lake, "outcomes")
    assert due(inbox, lake) == []


def test_outcomes_are_not_due_alone_where_the_features_are_late_too(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    ingest(inbox, lake, "applications")
    deliver(inbox, tmp_path / "with_outcomes", outcomes="A\n1\n")
    assert due(inbox, lake) == [(BATCH, "its files differ from what was ingested: outcomes", ())]


def test_a_delivery_that_cannot_be_read_is_due_so_that_a_run_says_why(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    (inbox.folder(BOOK, BATCH) / "bureau.csv").unlink()
    [(batch, _, tables)] = due(inbox, lake)
    assert (batch, tables) == (BATCH, ())


def test_a_model_is_trained_where_there_are_features_and_no_champion(lake):
    assert to_train(PORTFOLIO, lake, has_champion=False) == []
    write(lake, "features")
    assert [found.job for found in to_train(PORTFOLIO, lake, has_champion=False)] == ["train"]
    assert to_train(PORTFOLIO, lake, has_champion=True) == []


def test_a_batch_is_scored_once_for_each_time_its_features_are_made(lake):
    write(lake, "features")
    assert [found.why for found in to_score(PORTFOLIO, lake)] == ["not scored yet"]
    score(lake)
    assert to_score(PORTFOLIO, lake) == []
    write(lake, "features", batch="2026-02")
    assert [(found.batch, found.why) for found in to_score(PORTFOLIO, lake)] == [("2026-02", "not scored yet")]
    write(lake, "features")
    whys = {found.batch: found.why for found in to_score(PORTFOLIO, lake)}
    assert whys[BATCH] == "its features were made again since it was scored"


def test_scores_whose_run_was_killed_before_their_drift_are_looked_over(lake):
    write(lake, "features")
    score(lake)
    write(lake, "scores", inputs={f"{BOOK}/features": 0})
    [found] = to_score(PORTFOLIO, lake)
    assert (found.batch, found.tables) == (BATCH, ("score_drift",))

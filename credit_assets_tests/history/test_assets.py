"""The history as assets: the tables in the lake, and what the UI shows."""

from __future__ import annotations

from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest

from credit_assets.book.book import Book as CompiledBook
from credit_assets.history.assets import SHOWN, assets
from credit_assets.lake.io_managers import lake_io_manager
from credit_assets.lake.resources import lake_resource
from credit_assets_tests.history.conftest import Book
from credit_assets_tests.small_project import BOOK


def made(book: Book) -> dict[str, dict[str, Any]]:
    """The metadata of each asset."""
    result = dg.materialize(
        assets(CompiledBook(book.project, book.portfolio, registry=book.registry)),
        resources={"lake": lake_resource(book.project), "lake_io": lake_io_manager},
        instance=dg.DagsterInstance.ephemeral(),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    return {
        event.materialization.asset_key.path[-1]: dict(event.materialization.metadata)
        for event in result.get_asset_materialization_events()
    }


def kept(book: Book, table: str, by: str) -> pd.DataFrame:
    with duckdb.connect() as con:
        return con.sql(f'SELECT * FROM ({book.lake.query(f"{BOOK}/operations/{table}")}) ORDER BY "{by}"').df()


def test_portfolio_without_history_has_empty_tables_and_plots(book):
    told = made(book)
    assert told["timeline"]["delivery_rows"].value == told["champion_history"]["moves"].value == 0
    assert kept(book, "timeline", by="at").empty
    assert kept(book, "champion_history", by="number").empty


@pytest.mark.slow
def test_history_is_stored_in_the_lake_and_its_newest_rows_are_shown(book):
    for number in range(SHOWN + 5):
        book.raw("applications", f"2026-{number:03}", 10, {"application.csv": str(number)})
    for _ in range(2):
        book.promote(book.register(0.7, {}))
    book.registry.roll_back(by="hand", why="AUC fell", dagster_runs=["back"])
    told = made(book)
    timeline, history = told["timeline"], told["champion_history"]
    assert timeline["story"].value.startswith("![](data:image/png;base64,")
    counts = {kind: timeline[f"{kind}_rows"].value for kind in ("delivery", "training", "promotion", "rollback")}
    assert counts == {"delivery": SHOWN + 5, "training": 2, "promotion": 2, "rollback": 1}
    newest = [dict(record.data) for record in timeline["newest"].records]
    assert len(newest) == SHOWN
    assert (newest[0]["kind"], newest[0]["run"], newest[0]["batch"]) == ("rollback", "back", None)
    pd.testing.assert_frame_equal(kept(book, "timeline", by="at"), book.told(), check_dtype=False)
    assert (history["moves"].value, history["rollbacks"].value) == (3, 1)
    decides = dict(history["history"].records[0].data)
    assert (decides["version"], decides["decided_until"], decides["replaced"]) == (1, None, 2)
    assert kept(book, "champion_history", by="number")["version"].tolist() == [1, 2, 1]


def test_history_of_synthetic_data_is_marked(book):
    book.raw("applications", "2026-01", 10, {"application.csv": "aa"})
    told = made(book)
    assert told["timeline"]["synthetic"].value is True
    [commit] = book.lake.history(f"{BOOK}/operations/timeline")
    assert commit.provenance.synthetic

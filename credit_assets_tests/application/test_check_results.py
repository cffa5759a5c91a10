"""The checks of a portfolio."""

from __future__ import annotations

import dagster as dg
import pytest

from credit_assets.application.check_results import check_keys
from credit_assets.book.book import Book
from credit_assets.definitions import definitions_of
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.small_project import BOOK


def test_check_keys_of_the_rooms_match_the_definitions(built: dg.Definitions) -> None:
    assert set(check_keys(Book.load(Project(PROJECT), BOOK))) == built.resolve_asset_graph().asset_check_keys


@pytest.mark.parametrize("name", ["lending_club", "uci_credit_card"])
def test_check_keys_match_the_definitions_of_other_portfolios(name: str) -> None:
    book = Book.load(Project(PROJECT), name)
    assert set(check_keys(book)) == definitions_of(book).resolve_asset_graph().asset_check_keys

"""The books that come with the platform are configuration, contracts and SQL; the platform knows none of them."""

from __future__ import annotations

import pytest
import yaml

from credit_assets_tests.conftest import PROJECT

BOOKS = sorted(path.stem for path in (PROJECT / "configs").glob("*.yaml"))
# Home Credit's contracts and synthetic lender are in the package, and the demo runs on them.
OTHERS = [book for book in BOOKS if book != "home_credit"]


def test_there_are_three():
    assert BOOKS == ["home_credit", "lending_club", "uci_credit_card"]


@pytest.mark.parametrize("book", OTHERS)
def test_no_module_of_the_platform_names_it(book):
    assert [path for path in (PROJECT / "credit_assets").rglob("*.*") if book in path.name] == []
    sources = [path for kind in ("*.py", "*.j2") for path in (PROJECT / "credit_assets").rglob(kind)]
    assert [path for path in sources if book in path.read_text()] == []


@pytest.mark.parametrize("book", OTHERS)
def test_it_is_a_configuration_contracts_sql_and_one_code_location(book):
    assert {path.name for path in (PROJECT / "configs").glob(f"{book}*")} == {f"{book}.yaml", f"{book}.py"}
    assert {path.suffix for path in (PROJECT / "sql" / book).iterdir()} == {".sql"}
    locations = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
    assert [location["python_module"]["attribute"] for location in locations].count(book) == 1

"""The included books are configuration, contracts and SQL; the platform contains no special code for them."""

from __future__ import annotations

import pytest
import yaml

from credit_assets.book.book import Book
from credit_assets.book.lineage import lineage, raw_lineage
from credit_assets.book.queries import load
from credit_assets.explanations.texts import ReasonTexts, reason_texts
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT

BOOKS = sorted(path.stem for path in (PROJECT / "configs").glob("*.yaml"))
# Home Credit's contracts and synthetic lender are in the package, because the demo uses them.
OTHERS = [book for book in BOOKS if book != "home_credit"]


def test_three_books_are_included():
    assert BOOKS == ["home_credit", "lending_club", "uci_credit_card"]


@pytest.mark.parametrize("book", OTHERS)
def test_no_module_of_the_platform_names_a_book(book):
    assert [path for path in (PROJECT / "credit_assets").rglob("*.*") if book in path.name] == []
    sources = [path for kind in ("*.py", "*.j2") for path in (PROJECT / "credit_assets").rglob(kind)]
    assert [path for path in sources if book in path.read_text()] == []


@pytest.mark.parametrize("book", OTHERS)
def test_book_is_a_configuration_contracts_sql_and_one_code_location(book):
    assert {path.name for path in (PROJECT / "configs").glob(f"{book}*")} == {f"{book}.yaml", f"{book}.py"}
    assert {path.suffix for path in (PROJECT / "sql" / book).iterdir()} == {".sql"}
    locations = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
    assert [location["python_module"]["attribute"] for location in locations].count(book) == 1


def texts_of(book: str) -> ReasonTexts:
    project = Project(PROJECT)
    models = Book.load(project, book).contracts
    queries = load(project.sql(book), models)
    schemas = {table: column_types(model) for table, model in models.items()}
    values, roots = (raw_lineage(lineage(queries, schemas, of_rows)) for of_rows in (False, True))
    return reason_texts(queries, values["features"], roots["features"])


@pytest.mark.parametrize("book", BOOKS)
def test_texts_are_confirmed_and_messages_for_missing_values_are_not_descriptions(book):
    texts = texts_of(book)
    assert texts.drafts == {}
    assert len({text.casefold() for text in texts.descriptions.values()}) == len(texts.descriptions)
    assert not {texts.missing_text(feature) for feature in texts.descriptions} & set(texts.descriptions.values())


def test_external_ratings_of_home_credit_are_one_family_and_each_history_has_a_message():
    texts = texts_of("home_credit")
    ratings = [feature for feature in texts.descriptions if feature.startswith("external_score")]
    assert len(ratings) == 13
    assert {texts.families[feature] for feature in ratings} == {"external credit ratings"}
    assert {file: history.message for file, history in texts.histories.items()} == {
        "bureau_features": "no loan on file at the credit bureau",
        "previous_application_features": "no earlier application to us",
        "instalment_features": "no instalment of an earlier loan from us on record",
        "pos_features": "no earlier instalment loan from us",
        "card_features": "no credit card from us",
    }

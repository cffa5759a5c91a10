"""A portfolio's configuration: read from the project, refused with file, key and reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from credit_assets.book.book import Book
from credit_assets.lake.contracts import keys, rules
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.schemas.scores import Scores
from credit_assets.settings.portfolio import ConfigError, Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT

BOOK = "home_credit"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "configs").mkdir()
    return Project(tmp_path)


def configured(project: Project, change: dict[str, Any]) -> Project:
    """The project with Home Credit's configuration, with keys replaced or (None) left out."""
    config = yaml.safe_load(Project(PROJECT).config(BOOK).read_text()) | change
    project.config(BOOK).write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
    return project


def test_home_credit_is_read_with_its_contracts_parents_before_children():
    book = Book.load(Project(PROJECT), BOOK)
    portfolio, names = book.portfolio, list(book.contracts)
    assert names == list(portfolio.tables)
    for name in names:
        assert all(names.index(parent) < names.index(name) for parent in book.parents(name))
    assert book.parents("bureau_balance") == ("bureau",)
    assert book.parents("applications") == ()
    assert portfolio.table("bureau") == "home_credit/bureau"
    assert portfolio.protected_columns == {"CODE_GENDER", "DAYS_BIRTH", "NAME_FAMILY_STATUS"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": None}, "title: Field required"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"delivery": {"max_bad_share": 1.5}}, "delivery.max_bad_share: Input should be less than or equal to 1"),
        ({"training": {"trials": 0}}, "training.trials: Input should be greater than or equal to 1"),
        ({"policy": {}}, "policy: a policy needs exactly one of max_pd and target_approval_rate"),
        ({"name": "another"}, "name: is 'another', but the file is called home_credit.yaml."),
        ({"name": "Not A Name"}, "name: String should match pattern"),
        ({"entity_key": "SK_ID"}, "table applications has no column SK_ID"),
        (
            {"protected": {"faith": {"column": "RELIGION"}}, "fairness": {}},
            "protected.faith: table applications has no column RELIGION",
        ),
        (
            {"protected": {"age": {"column": "DAYS_BIRTH", "kind": "days_before"}}},
            "protected.age: bands (in years) are required for kind: years or days_before, and allowed for no other",
        ),
        ({"post_decision": {"RECOVERED": "later"}}, "post_decision.RECOVERED: no table has a column RECOVERED"),
        ({"left_out": {"RATE": "price"}}, "left_out.RATE: no table has a column RATE"),
        ({"fairness": {"blocking": ["faith"]}}, "fairness.blocking: faith is not under `protected`"),
        ({"fairness": {"reference": {"faith": "none"}}}, "fairness.reference: faith is not under `protected`"),
        ({"target": {"column": "TARGET", "bad": [1], "good": [0, 1]}}, "target: 1: both bad and good"),
        ({"target": {"column": "TARGET", "bad": [1], "good": ["1"]}}, "target: 1: both bad and good"),
        ({"target": {"column": "TARGET", "bad": [True]}}, "put the word in quotes"),
        ({"target": {"column": "TARGET", "bad": 1}}, "target.bad: Input should be a valid tuple"),
        ({"contracts": "nowhere.py"}, "contracts: nowhere.py is not a module or file with TABLES"),
        (
            {"contracts": "credit_assets.nowhere"},
            "contracts: credit_assets.nowhere is not a module or file with TABLES",
        ),
        ({"tables": {"applications": {"files": ["a"]}}}, "tables and contracts in credit_assets.schemas.home_credit"),
        ({"tables": {"applications": {"files": []}}}, "tables.applications.files: List should have at least 1 item"),
    ],
)
def test_error_is_reported_with_file_key_and_reason(project, change, said):
    with pytest.raises(ConfigError) as told:
        assert Book.load(configured(project, change), BOOK).contracts
    assert str(project.config(BOOK)) in str(told.value)
    assert said in str(told.value)


def test_several_errors_are_reported_at_once(project):
    with pytest.raises(ConfigError, match=r"owners: .*; entity_key: "):
        Book.load(configured(project, {"owners": [], "entity_key": None}), BOOK)


def test_invalid_yaml_is_reported_with_its_line(project):
    project.config(BOOK).write_text("name: [home_credit\ntitle: x\n")
    with pytest.raises(ConfigError, match=r"(?s)home_credit\.yaml: .*line 2"):
        Book.load(project, BOOK)


@pytest.mark.parametrize("content", ["", "- a list\n"])
def test_file_without_settings_is_reported(project, content):
    project.config(BOOK).write_text(content)
    with pytest.raises(ConfigError, match=r"home_credit\.yaml: file: "):
        Book.load(project, BOOK)


def test_contracts_that_cannot_be_imported_are_reported_as_an_error_of_the_file(project):
    with pytest.raises(ConfigError, match=r"home_credit\.yaml: .*contracts: no\.such\.module is not a module"):
        assert Book.load(configured(project, {"contracts": "no.such.module"}), BOOK).contracts


@pytest.mark.parametrize("key", ["application_table", "outcomes_table"])
def test_unknown_table_is_reported_with_the_known_ones(project, key):
    with pytest.raises(ConfigError, match=rf"home_credit\.yaml: .*{key}: people is not one of the tables applic"):
        assert Book.load(configured(project, {key: "people"}), BOOK).contracts


def test_unknown_portfolio_is_refused_with_the_known_ones(project):
    configured(project, {})
    with pytest.raises(ConfigError, match=r"No portfolio 'home': .*home\.yaml does not exist. Known .*: home_credit\."):
        Book.load(project, "home")


# -- a new book ---------------------------------------------------------------------------------------

CONTRACTS = '''
import pandera.pandas as pa

from credit_assets.schemas.table import Table


class Applications(Table):
    """A loan."""

    loan: str = pa.Field(unique=True, description="Name of the loan")
    amount: float = pa.Field(description="Amount lent")
    went: str = pa.Field(alias="how it went", nullable=True, description="What became of it")


TABLES = {"applications": Applications}
'''
SMALL = {
    "name": "small",
    "title": "A small book",
    "owners": ["team:risk"],
    "contracts": "small.py",
    "entity_key": "loan",
    "target": {"column": "how it went", "bad": ["lost"], "good": ["repaid"]},
    "tables": {"applications": {"files": ["loans"], "numbered": "loan"}},
    "policy": {"max_pd": 0.1},
}


def small(project: Project, **change: Any) -> Book:
    (project.root / "configs" / "small.py").write_text(CONTRACTS)
    project.config("small").write_text(yaml.safe_dump(SMALL | change))
    return Book.load(project, "small")


def test_small_book_needs_few_lines_and_has_its_contracts_beside_it(project):
    book = small(project)
    assert list(book.contracts) == ["applications", "outcomes"]
    assert book.contracts["applications"].descriptions() == {
        "loan": "Name of the loan",
        "amount": "Amount lent",
        "how it went": "What became of it",
    }
    assert book.portfolio.protected == {} and book.portfolio.protected_columns == set()


def test_later_outcomes_have_the_key_and_target_of_the_applications(project):
    book = small(project)
    assert column_types(book.contracts["outcomes"]) == {"loan": "VARCHAR", "how it went": "VARCHAR"}
    assert keys(book.contracts["outcomes"]) == [("loan",)]
    assert book.parents("outcomes") == ("applications",)
    assert book.portfolio.tables["outcomes"].optional and book.portfolio.tables["outcomes"].files == ["outcomes"]


def test_text_keys_of_applicants_are_text_in_every_table(project):
    assert column_types(small(project).keyed(Scores))["applicant"] == "VARCHAR"
    assert column_types(Book.load(Project(PROJECT), BOOK).keyed(Scores))["applicant"] == "BIGINT"


def test_only_a_text_column_can_be_numbered(project):
    with pytest.raises(ConfigError, match=r"tables\.applications\.numbered: amount is not a text column of the table"):
        assert small(project, tables={"applications": {"files": ["loans"], "numbered": "amount"}}).contracts


def test_values_forbidden_in_applications_are_missing_in_later_outcomes_too(project):
    (project.root / "configs" / "small.py").write_text(
        CONTRACTS.replace("nullable=True", 'isin=["lost", "repaid", "runs"], nullable=True')
    )
    project.config("small").write_text(yaml.safe_dump(SMALL))
    [rule] = [rule for rule in rules(Book.load(project, "small").contracts["outcomes"]) if "one of" in rule.text]
    assert rule.column == "how it went" and rule.text == "must be one of lost, repaid, runs"


def test_error_in_a_contracts_file_is_reported_in_one_line(project):
    (project.root / "configs" / "small.py").write_text("TABLES = {'applications': Applications}\n")
    project.config("small").write_text(yaml.safe_dump(SMALL))
    with pytest.raises(ConfigError, match=r"small\.yaml: contracts: NameError: name 'Applications' is not defined"):
        assert Book.load(project, "small").contracts


def test_two_projects_may_have_contracts_of_the_same_name(project, tmp_path):
    first = small(project)
    (tmp_path / "other" / "configs").mkdir(parents=True)
    other = Project(tmp_path / "other")
    second = small(other)
    assert first.contracts["applications"] is not second.contracts["applications"]


DIFFERENT = {("training", "budget_s"), ("fairness", "blocking")}
"""Settings of Home Credit that are not the default, which the comment then gives."""


def paths(values: Mapping[str, object], *section: str) -> set[tuple[str, ...]]:
    """The path to each setting that is not a section."""
    found: set[tuple[str, ...]] = set()
    for name, value in values.items():
        found |= paths(value, *section, name) if isinstance(value, dict) and value else {(*section, name)}
    return found


def test_home_credit_configuration_shows_every_setting_and_default() -> None:
    written = Project(PROJECT).config("home_credit").read_text()
    portfolio = Portfolio.load(Project(PROJECT), "home_credit")
    sections = {
        name: section
        for name, section in portfolio
        if name not in ("target", "policy") and isinstance(section, BaseModel)
    }
    settings = portfolio.model_dump(include={*sections})
    not_shown = paths(settings) - paths(yaml.safe_load(written))
    assert not_shown == {("alerts", "email"), ("alerts", "slack"), ("alerts", "webhook")}
    others = {
        (name, field)
        for name, section in sections.items()
        for field, value in section
        if value != getattr(type(section).model_validate({}), field)
    }
    assert others == DIFFERENT
    for _, field in DIFFERENT:
        assert re.search(rf"^  {field}: .* # default ", written, re.MULTILINE)


def test_every_setting_has_a_description_for_the_reference() -> None:
    schema = Portfolio.model_json_schema()
    models = {"Portfolio": schema, **schema["$defs"]}
    # A section is described by its own model.
    missing = {
        f"{model}.{name}"
        for model, of_model in models.items()
        for name, setting in of_model["properties"].items()
        if "description" not in setting and "$ref" not in setting
    }
    assert missing == set()

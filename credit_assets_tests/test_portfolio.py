"""A portfolio's configuration: read as it stands in the project, refused with file, key and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from credit_assets.portfolio import ConfigError, Portfolio
from credit_assets.project import Project
from credit_assets_tests.conftest import PROJECT

BOOK = "home_credit"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "configs").mkdir()
    return Project(tmp_path)


def configured(project: Project, change: dict[str, Any]) -> Project:
    """The project with Home Credit's configuration, keys replaced (by None: left out)."""
    config = yaml.safe_load(Project(PROJECT).config(BOOK).read_text()) | change
    project.config(BOOK).write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
    return project


def test_home_credit_is_read_with_its_contracts_parents_before_children():
    portfolio = Portfolio.load(Project(PROJECT), BOOK)
    names = list(portfolio.models)
    assert set(names) == set(portfolio.tables)
    for name in names:
        assert all(names.index(parent) < names.index(name) for parent in portfolio.parents(name))
    assert portfolio.parents("bureau_balance") == ("bureau",)
    assert portfolio.parents("applications") == ()
    assert portfolio.table("bureau") == "home_credit/bureau"
    assert portfolio.protected_columns == {"CODE_GENDER", "DAYS_BIRTH", "NAME_FAMILY_STATUS"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": None}, "title: Field required"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"delivery": {"max_bad_share": 1.5}}, "delivery.max_bad_share: Input should be less than or equal to 1"),
        ({"training": {"trials": 0}}, "training.trials: Input should be greater than or equal to 1"),
        ({"policy": {}}, "policy: Value error, a policy needs exactly one of max_pd and target_approval_rate"),
        ({"name": "another"}, "name: is 'another', but the file is called home_credit.yaml."),
        ({"name": "Not A Name"}, "name: String should match pattern"),
        ({"entity_key": "SK_ID"}, "table applications has no column SK_ID"),
        ({"protected": {"faith": {"column": "RELIGION"}}}, "table applications has no column RELIGION"),
        (
            {"protected": {"age": {"column": "DAYS_BIRTH", "kind": "days_before"}}},
            "protected.age: Value error, bands (in years) go with kind: days_before, and only with it",
        ),
        ({"tables": {"applications": {"files": ["a"]}}}, "tables and contracts in credit_assets.schemas.home_credit"),
        ({"tables": {"applications": {"files": []}}}, "tables.applications.files: List should have at least 1 item"),
    ],
)
def test_a_mistake_is_told_with_file_key_and_reason(project, change, said):
    with pytest.raises(ConfigError) as told:
        Portfolio.load(configured(project, change), BOOK)
    assert str(project.config(BOOK)) in str(told.value)
    assert said in str(told.value)


def test_several_mistakes_are_told_at_once(project):
    with pytest.raises(ConfigError, match=r"owners: .*; entity_key: "):
        Portfolio.load(configured(project, {"owners": [], "entity_key": None}), BOOK)


def test_a_file_that_is_no_yaml_is_told_with_its_line(project):
    project.config(BOOK).write_text("name: [home_credit\ntitle: x\n")
    with pytest.raises(ConfigError, match=r"(?s)home_credit\.yaml: .*line 2"):
        Portfolio.load(project, BOOK)


@pytest.mark.parametrize("content", ["", "- a list\n"])
def test_a_file_that_holds_no_settings_is_told(project, content):
    project.config(BOOK).write_text(content)
    with pytest.raises(ConfigError, match=r"home_credit\.yaml: file: "):
        Portfolio.load(project, BOOK)


def test_contracts_that_cannot_be_imported_are_told_as_a_mistake_of_the_file(project):
    with pytest.raises(ConfigError, match=r"home_credit\.yaml: .*contracts: no\.such\.module is no module"):
        Portfolio.load(configured(project, {"contracts": "no.such.module"}), BOOK)


@pytest.mark.parametrize("key", ["application_table", "outcomes_table"])
def test_a_table_that_the_contracts_do_not_know_is_told_with_those_they_do(project, key):
    with pytest.raises(ConfigError, match=rf"home_credit\.yaml: .*{key}: people is none of the tables applications, "):
        Portfolio.load(configured(project, {key: "people"}), BOOK)


def test_an_unknown_portfolio_is_refused_with_those_that_are_known(project):
    configured(project, {})
    with pytest.raises(ConfigError, match=r"No portfolio 'home': .*home\.yaml does not exist. Known .*: home_credit\."):
        Portfolio.load(project, "home")

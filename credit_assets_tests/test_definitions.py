"""The asset graph: its reviewed snapshot, the required description of every asset, and how it fails to load."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from credit_assets import definitions, locations
from credit_assets.book.queries import FeatureQueryError
from credit_assets.definitions import build
from credit_assets.settings.portfolio import ConfigError
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.small_project import BOOK, FEW_FEATURES, make_project

SNAPSHOT = Path(__file__).with_name("definitions_snapshot.json")


def summary(built: dg.Definitions) -> dict[str, Any]:
    """The reviewed content: for each asset its place in the graph, its owners and its checks."""
    graph = built.resolve_asset_graph()
    blocking = {spec.key: spec.blocking for assets in graph.assets_defs for spec in assets.check_specs}
    assets = {}
    for key in sorted(graph.materializable_asset_keys):
        node = graph.get(key)
        assets[key.to_user_string()] = {
            "deps": sorted(parent.path[-1] for parent in node.parent_keys),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "partitioned": node.is_partitioned,
            "checks": {
                check.name: "blocking" if blocking[check] else "informing"
                for check in sorted(blocking)
                if check.asset_key == key
            },
        }
    return {
        "assets": assets,
        "jobs": sorted(job.name for job in built.jobs or []),
        "schedules": sorted(schedule.name for schedule in built.schedules or []),
        "sensors": sorted(sensor.name for sensor in built.sensors or []),
        "resources": sorted(built.resources or {}),
    }


def test_graph_equals_the_reviewed_snapshot(built):
    found = summary(built)
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(SNAPSHOT.read_text()), (
        f"The assets differ from {SNAPSHOT.name}. Where that is meant, run this test with UPDATE_SNAPSHOT=1 "
        "and commit the file, so that the change of the graph is reviewed."
    )


def test_every_asset_has_a_description_an_owner_and_a_group(built):
    graph = built.resolve_asset_graph()
    assert len(graph.materializable_asset_keys) >= 20
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description and len(node.description) > 20, key
        assert node.owners == ["team:credit-risk"], key
        assert node.group_name != "default", key
        assert node.kinds, key


def test_every_check_has_a_description(built):
    for assets in built.resolve_asset_graph().assets_defs:
        for check in assets.check_specs:
            assert check.description and check.description.endswith("."), check.key


def test_tables_show_described_columns(built):
    graph = built.resolve_asset_graph()
    schema = graph.get(dg.AssetKey([BOOK, "bureau"])).metadata["dagster/column_schema"]
    assert all(column.description for column in schema.columns)
    wide = graph.get(dg.AssetKey([BOOK, "features"])).metadata["dagster/column_schema"]
    assert len(wide.columns) > 400


def test_everything_can_be_loaded_and_run(built):
    dg.Definitions.validate_loadable(built)


def test_workspace_names_portfolios_that_load(monkeypatch):
    monkeypatch.chdir(PROJECT)
    monkeypatch.delenv("CREDIT_ASSETS_HOME", raising=False)
    listed = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
    assert {location["python_module"]["attribute"] for location in listed} == {
        path.stem for path in (PROJECT / "configs").glob("*.yaml")
    }
    for location in listed:
        module = location["python_module"]
        assert module["module_name"] == locations.__name__
        assert module["location_name"] == module["attribute"]
        assert isinstance(getattr(locations, module["attribute"]), dg.Definitions)


def test_broken_portfolio_names_its_file_and_key_and_blocks_no_other(tmp_path, monkeypatch):
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    broken = project.config(BOOK).read_text().replace(f"name: {BOOK}", "name: other")
    project.config("other").write_text(broken.replace("target_approval_rate: 0.8", "target_approval_rate: high"))
    monkeypatch.setenv("CREDIT_ASSETS_HOME", str(project.root))
    with pytest.raises(ConfigError, match=r"configs/other\.yaml: policy\.target_approval_rate: .*valid number"):
        locations.other  # noqa: B018
    assert isinstance(getattr(locations, BOOK), dg.Definitions)


def test_unknown_portfolio_name_is_refused_with_the_known_ones(tmp_path, monkeypatch):
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    monkeypatch.setenv("CREDIT_ASSETS_HOME", str(project.root))
    with pytest.raises(ConfigError, match=rf"No portfolio 'elsewhere'.*Known portfolios: {BOOK}\."):
        locations.elsewhere  # noqa: B018
    with pytest.raises(AttributeError):
        locations._elsewhere  # noqa: B018


def test_feature_without_a_description_is_refused_with_file_and_line(tmp_path):
    sql = FEW_FEATURES.replace(" -- the external credit score 2", "")
    project = make_project(tmp_path / "project", sql=sql)
    with pytest.raises(FeatureQueryError, match=r"features\.sql, line 5: column external_score_2 has no description"):
        build(BOOK, project)


def test_feature_of_an_unknown_column_is_refused_by_name(tmp_path):
    project = make_project(tmp_path / "project", sql=FEW_FEATURES.replace("AMT_INCOME_TOTAL", "AMT_INCOME"))
    with pytest.raises(FeatureQueryError, match=r"features\.sql: Column 'amt_income' could not be resolved. Line: 4"):
        build(BOOK, project)


def test_libraries_may_look_up_any_name_in_the_portfolio_modules(tmp_path, monkeypatch):
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    monkeypatch.setenv("CREDIT_ASSETS_HOME", str(project.root))
    assert not hasattr(locations, "agm") and not hasattr(definitions, "agm")
    assert isinstance(getattr(definitions, BOOK), dg.Definitions)


@pytest.mark.parametrize("name", ["models", "build", "dg"])
def test_portfolio_may_have_the_name_of_a_room_or_function(tmp_path, monkeypatch, name):
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    project.config(name).write_text(project.config(BOOK).read_text().replace(f"name: {BOOK}", f"name: {name}"))
    shutil.copytree(project.sql(BOOK), project.sql(name))
    monkeypatch.setenv("CREDIT_ASSETS_HOME", str(project.root))
    assert isinstance(getattr(locations, name), dg.Definitions)

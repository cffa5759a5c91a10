"""Portfolios are independent: if the configuration or SQL of one is broken, the others still load and run."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from credit_assets.settings.project import Project
from credit_assets_tests.end_to_end.webserver import serving
from credit_assets_tests.small_project import (
    BOOK,
    FEW_FEATURES,
    HOME,
    deliver_sample,
    make_project,
    table,
    write_workspace,
)

# The tests are steps of one story.
pytestmark = pytest.mark.story

LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
    __typename ... on PythonError { message errorChain { error { message } } } } } } } }"""
PARTITION = """mutation { addDynamicPartition(
    repositorySelector: {repositoryLocationName: "home_credit", repositoryName: "__repository__"},
    partitionsDefName: "home_credit_batches", partitionKey: "2026-01") { __typename } }"""
LAUNCH = """mutation { launchRun(executionParams: {
    selector: {
        repositoryLocationName: "home_credit", repositoryName: "__repository__", jobName: "ingest"},
    executionMetadata: {tags: [{key: "dagster/partition", value: "2026-01"}]}, runConfigData: {}
    }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
BROKEN = ("broken_config", "broken_sql")
STATUS = """query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"""


@pytest.fixture(scope="module")
def ask_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A function that sends GraphQL queries to the server of one valid and two broken portfolios; and its project."""
    project = make_project(tmp_path_factory.mktemp("isolation"), sql=FEW_FEATURES)
    good = yaml.safe_load(project.config(BOOK).read_text())
    for name in BROKEN:
        project.config(name).write_text(yaml.safe_dump(good | {"name": name}))
        shutil.copytree(project.sql(BOOK), project.sql(name))
    project.config("broken_config").write_text("name: [broken_config")
    (project.sql("broken_sql") / "features.sql").write_text("-- Not SQL.\nselect SK_ID_CURR, from where")
    write_workspace(project, BOOK, *BROKEN)
    # Without a queue, because no daemon takes runs from it.
    settings = yaml.safe_load((HOME / "dagster.yaml").read_text())
    del settings["concurrency"]
    settings["run_coordinator"] = {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}
    (project.root / "dagster.yaml").write_text(yaml.safe_dump(settings))
    deliver_sample(project, applicants=300, batches=1)
    with serving(project) as address:

        def ask(query: str, **variables: str) -> Any:
            body = json.dumps({"query": query, "variables": variables}).encode()
            request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
            answer = json.load(urllib.request.urlopen(request, timeout=300))
            assert "errors" not in answer, answer
            return answer["data"]

        ask.project = project
        yield ask


def test_broken_portfolios_report_their_error_and_the_valid_one_loads(ask_server: Any) -> None:
    entries = ask_server(LOCATIONS)["workspaceOrError"]["locationEntries"]
    told = {entry["name"]: json.dumps(entry["locationOrLoadError"]) for entry in entries}
    assert '"__typename": "RepositoryLocation"' in told[BOOK]
    for name, words in {"broken_config": "broken_config.yaml", "broken_sql": "features.sql, line 2"}.items():
        assert '"__typename": "PythonError"' in told[name]
        assert words in told[name], told[name]


def test_valid_portfolio_runs_beside_broken_ones(ask_server: Any) -> None:
    project: Project = ask_server.project
    ask_server(PARTITION)
    launched = ask_server(LAUNCH)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    ended = time.monotonic() + 600
    while (status := ask_server(STATUS, run=launched["run"]["runId"])["runOrError"]["status"]) not in (
        "SUCCESS",
        "FAILURE",
    ):
        assert time.monotonic() < ended, status
        time.sleep(0.3)
    assert status == "SUCCESS"
    assert len(table(project, "features", "2026-01")) == 100

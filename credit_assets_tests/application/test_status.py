"""The `status` of incomplete projects. `end_to_end/test_line.py` tests it on a complete one."""

import json
import re

import dagster as dg
import pytest

from credit_assets.application.champion import promote, roll_back
from credit_assets.application.check_results import CheckResult
from credit_assets.application.run import run_due
from credit_assets.application.status import DueStatus, Status, status
from credit_assets.application.train import train
from credit_assets.dagster_private import make_new_run_id
from credit_assets.lake.tables import Lake
from credit_assets.registry.availability import RegistryUnavailable
from credit_assets.settings.run_tags import PORTFOLIO_TAG
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.small_project import BATCHES, BOOK, deliver_sample, inside, make_short_project


def test_empty_project_has_no_batches_and_nothing_due(tmp_path):
    project = make_short_project(tmp_path / "project")
    with inside(project):
        assert run_due(project, BOOK, print) == []
        told = status(project, BOOK)
    assert json.loads(told.model_dump_json()) == {
        "portfolio": BOOK,
        "title": "Home Credit consumer loans",
        "batches": [],
        "champion": None,
        "checks": [],
        "due": [],
        "features_of_other_sql": {},
    }


def test_documentation_lists_every_key_of_the_status():
    [section] = re.findall(r"### The status for programs\n(.*?)\n#", (PROJECT / "docs/operations.md").read_text(), re.S)
    first_cells = re.findall(r"^\| (`[^|]*) \|", section, re.M)
    assert re.findall(r"`(\w+)`", " ".join(first_cells)) == list(Status.model_fields)
    named = set(re.findall(r"`(\w+)`", section))
    assert {*CheckResult.model_fields, *DueStatus.model_fields} - {"candidate_version"} <= named


@pytest.mark.slow
def test_failed_training_is_reported_and_stays_due(tmp_path):
    """Forty applicants per batch are too few to train on. Their tables and checks exist nevertheless."""
    project = make_short_project(tmp_path / "project")
    deliver_sample(project, applicants=120, batches=2)
    with inside(project):
        outcomes = run_due(project, BOOK, print)
        told = status(project, BOOK)
    assert [(outcome.job, outcome.success) for outcome in outcomes] == [
        ("ingest", True),
        ("ingest", True),
        ("train", False),
    ]
    assert "fold of the training set has" in outcomes[-1].errors[0]
    assert told.champion is None
    assert [(due.job, due.batch) for due in told.due] == [
        ("train", None),
        ("score", BATCHES[0]),
        ("score", BATCHES[1]),
    ]
    assert [due.reason for due in told.due] == ["no_champion", "not_scored", "not_scored"]
    assert [(due.failed_run, due.failure) for due in told.due] == [
        (outcomes[-1].run_id, outcomes[-1].errors[0]),
        (None, None),
        (None, None),
    ], "what was not tried has not failed"
    assert {check.check for check in told.checks} == {"no_rows_quarantined", "keys_are_new"}
    assert all(check.passed and check.batch == BATCHES[1] for check in told.checks)


@pytest.mark.slow
def test_work_in_progress_by_the_daemon_is_left_to_it(tmp_path):
    project = make_short_project(tmp_path / "project")
    deliver_sample(project, applicants=120, batches=2)
    said: list[str] = []
    with inside(project):
        with dg.DagsterInstance.get() as instance:
            tags = {PORTFOLIO_TAG: BOOK, "dagster/partition": BATCHES[0]}
            theirs = dg.DagsterRun("ingest", make_new_run_id(), tags=tags, status=dg.DagsterRunStatus.STARTED)
            instance.add_run(theirs)
        outcomes = run_due(project, BOOK, said.append)
    assert [(outcome.job, outcome.batch) for outcome in outcomes if outcome.batch] == [("ingest", BATCHES[1])]
    assert f"  waits: run {theirs.run_id} is active" in said


@pytest.mark.slow
def test_command_ingests_deliveries_while_registry_is_unavailable_then_names_it(tmp_path, monkeypatch):
    project = make_short_project(tmp_path / "project")
    deliver_sample(project, applicants=120, batches=1)
    with inside(project):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        away = pytest.raises(
            RegistryUnavailable, match=r"at http://127.0.0.1:9 \(MLFLOW_TRACKING_URI\) does not answer"
        )
        with away:
            run_due(project, BOOK, print)
        assert set(Lake(project.lake).batches(f"{BOOK}/features")) == {BATCHES[0]}
        with away:
            status(project, BOOK)
        with away:
            train(project, BOOK, print)
        with away:
            roll_back(project, BOOK, None, "", print)
        with away:
            promote(project, BOOK, 1, "me", "", print)
        monkeypatch.delenv("MLFLOW_TRACKING_URI")

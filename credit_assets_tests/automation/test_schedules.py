"""The weekly challenger."""

import dagster as dg
import yaml

from credit_assets.automation.jobs import TRAINING_TAG
from credit_assets.definitions import build
from credit_assets.project import Project
from credit_assets_tests.conftest import PROJECT

BOOK = "home_credit"


def test_a_challenger_is_trained_every_monday_at_three():
    [schedule] = build(BOOK, Project(PROJECT)).schedules or []
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.job_name == "train"
    assert schedule.cron_schedule == "0 3 * * 1"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_a_training_waits_for_another_one_of_its_portfolio():
    assert build(BOOK, Project(PROJECT)).resolve_job_def("train").tags[TRAINING_TAG] == BOOK
    [limit] = yaml.safe_load((PROJECT / "dagster.yaml").read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
    assert limit == {"key": TRAINING_TAG, "limit": 1, "value": {"applyLimitPerUniqueValue": True}}

"""The weekly challenger."""

import dagster as dg
import yaml

from credit_assets.automation.jobs import TRAINING_TAG
from credit_assets_tests.conftest import PROJECT


def test_a_challenger_is_trained_every_monday_at_three(built):
    [schedule] = built.schedules
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.job_name == "train"
    assert schedule.cron_schedule == "0 3 * * 1"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_a_training_waits_for_another_one_of_its_portfolio(built):
    assert built.resolve_job_def("train").tags[TRAINING_TAG] == "home_credit"
    [limit] = yaml.safe_load((PROJECT / "dagster.yaml").read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
    assert limit == {"key": TRAINING_TAG, "limit": 1, "value": {"applyLimitPerUniqueValue": True}}

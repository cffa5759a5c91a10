"""The sensor that re-trains on drift, against real instances: once a batch, over restarts, none missed."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from credit_assets.automation.jobs import TRAINING_TAG, jobs
from credit_assets.automation.sensors import sensors
from credit_assets.monitoring.checks import FEATURES_DRIFTED, SCORES_DRIFTED
from credit_assets.portfolio import Portfolio
from credit_assets.project import Project
from credit_assets.resources import batches
from credit_assets_tests.conftest import PROJECT

BOOK = "home_credit"
CHECKS = {"feature_drift": FEATURES_DRIFTED, "score_drift": SCORES_DRIFTED}
PORTFOLIO = Portfolio.load(Project(PROJECT), BOOK)
[SENSOR] = sensors(PORTFOLIO, jobs(PORTFOLIO)["train"])


def drift(
    asset: str,
    passed: bool,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    meanwhile: Callable[[], None] = lambda: None,
) -> dg.AssetsDefinition:
    """The drift asset whose check comes out like this; `meanwhile` happens while it is made."""
    key = dg.AssetKey([BOOK, asset])

    @dg.asset(key=key, partitions_def=batches(BOOK), check_specs=[dg.AssetCheckSpec(name=CHECKS[asset], asset=key)])
    def measured() -> dg.MaterializeResult:
        meanwhile()
        return dg.MaterializeResult(
            check_results=[dg.AssetCheckResult(check_name=CHECKS[asset], passed=passed, severity=severity)]
        )

    return measured


def look_over(instance: dg.DagsterInstance, batch: str, *assets: dg.AssetsDefinition) -> None:
    instance.add_dynamic_partitions(f"{BOOK}_batches", [batch])
    assert dg.materialize(list(assets), instance=instance, partition_key=batch).success


def tick(instance: dg.DagsterInstance, cursor: str | None) -> tuple[list[dg.RunRequest], str | None]:
    """The runs asked for, and the cursor that Dagster would keep."""
    result = SENSOR(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests or []), result.cursor


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_a_batch_that_fails_both_checks_is_one_request(instance):
    look_over(instance, "2026-03", drift("feature_drift", passed=False), drift("score_drift", passed=False))
    [request], _ = tick(instance, None)
    assert request.run_key == "drift:2026-03"
    assert request.tags[TRAINING_TAG] == BOOK
    assert request.tags["credit_assets/drifted_batch"] == "2026-03"


def test_a_failure_is_answered_once(instance):
    look_over(instance, "2026-03", drift("feature_drift", passed=False))
    _, cursor = tick(instance, None)
    again, cursor = tick(instance, cursor)
    assert again == []
    assert tick(instance, cursor) == ([], cursor)


def test_a_batch_that_is_checked_again_has_the_key_that_it_had(instance):
    """Dagster makes one run a key: a re-training that checks drift again starts no other."""
    look_over(instance, "2026-03", drift("feature_drift", passed=False))
    [first], cursor = tick(instance, None)
    look_over(instance, "2026-03", drift("feature_drift", passed=False))
    [second], _ = tick(instance, cursor)
    assert second.run_key == first.run_key


@pytest.mark.parametrize(
    "harmless",
    [drift("score_drift", passed=True), drift("score_drift", passed=False, severity=dg.AssetCheckSeverity.WARN)],
    ids=["passed", "warned"],
)
def test_a_check_that_passed_or_only_warned_asks_for_nothing(instance, harmless):
    look_over(instance, "2026-03", harmless)
    requests, _ = tick(instance, None)
    assert requests == []


def test_each_drifted_batch_is_a_request(instance):
    look_over(instance, "2026-03", drift("feature_drift", passed=False))
    look_over(instance, "2026-04", drift("feature_drift", passed=True))
    look_over(instance, "2026-05", drift("score_drift", passed=False))
    requests, cursor = tick(instance, None)
    assert {request.run_key for request in requests} == {"drift:2026-03", "drift:2026-05"}
    look_over(instance, "2026-06", drift("feature_drift", passed=False))
    later, _ = tick(instance, cursor)
    assert [request.run_key for request in later] == ["drift:2026-06"]


def test_a_run_that_began_first_and_failed_last_is_not_missed(instance):
    seen = {}

    def another_batch_fails_and_is_seen() -> None:
        look_over(instance, "2026-04", drift("feature_drift", passed=False))
        seen["requests"], seen["cursor"] = tick(instance, None)

    look_over(instance, "2026-03", drift("feature_drift", passed=False, meanwhile=another_batch_fails_and_is_seen))
    assert [request.run_key for request in seen["requests"]] == ["drift:2026-04"]
    requests, _ = tick(instance, seen["cursor"])
    assert [request.run_key for request in requests] == ["drift:2026-03"]


def test_a_restart_neither_forgets_nor_repeats(tmp_path: Path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        look_over(instance, "2026-03", drift("feature_drift", passed=False))
        [_], cursor = tick(instance, None)
        look_over(instance, "2026-04", drift("score_drift", passed=False))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as restarted:
        requests, cursor = tick(restarted, cursor)
        assert [request.run_key for request in requests] == ["drift:2026-04"]
        assert tick(restarted, cursor)[0] == []


def test_the_sensor_watches_by_itself_and_starts_the_training():
    assert SENSOR.default_status == dg.DefaultSensorStatus.RUNNING
    assert SENSOR.job_name == "train"

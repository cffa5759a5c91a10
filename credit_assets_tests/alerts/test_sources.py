"""Alerts found in real Dagster instances: from runs of the portfolio, checks, champions and lasting conditions."""

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import psutil
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.selector import InstigatorSelector
from dagster._core.errors import SensorExecutionError, user_code_error_boundary
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorStatus, ScheduleInstigatorData, TickData
from dagster._core.storage.tags import PARENT_RUN_ID_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._utils.error import serializable_error_info_from_exc_info

from credit_assets.alerts.champion_alerts import report_champions
from credit_assets.alerts.lasting_alerts import watch_capacity, watch_deliveries, watch_registry, watch_ticks
from credit_assets.alerts.notifications import Alert
from credit_assets.alerts.outbox import DAY, HOUR, Outbox
from credit_assets.alerts.portfolio_links import PortfolioLinks
from credit_assets.alerts.run_alerts import RUNS_PER_POLL, report_runs
from credit_assets.automation.active_runs import RETRY_WINDOW_S
from credit_assets.automation.claims import Claims
from credit_assets.dagster_private import (
    AUTO_RETRY_RUN_ID_TAG,
    ROOT_RUN_ID_TAG,
    WILL_RETRY_TAG,
    InstigatorState,
    InstigatorType,
    TickStatus,
)
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.contracts import WITHOUT_VALUES
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.registry.champions import ChampionEvent
from credit_assets.settings.alerts import AlertsConfig
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets.settings.run_tags import CORRECTION_TAG, PORTFOLIO_TAG, TRAINING_TAG, WHY_TAG
from credit_assets_tests.conftest import PROJECT

BOOK = "home_credit"
PLACE = PortfolioLinks(BOOK, BOOK, "http://ui")
INTERVAL_S = 30.0


def claims_of(root: Path, portfolio: str = BOOK) -> Claims:
    return Claims(Project(root), portfolio, INTERVAL_S)


WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
DATED = {PORTFOLIO_TAG: BOOK, "dagster/partition": "2026-03"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(Project(tmp_path), BOOK, AlertsConfig()) as box:
        yield box


def asset(
    name: str,
    check: str | None = None,
    passed: bool = True,
    severity: dg.AssetCheckSeverity = ERROR,
    blocking: bool = False,
    error: Exception | None = None,
    **metadata: str,
) -> dg.AssetsDefinition:
    """An asset of the portfolio whose check has this result, or that fails with an error."""
    key = dg.AssetKey([BOOK, name])
    specs = [dg.AssetCheckSpec(check, asset=key, blocking=blocking)] if check else []

    @dg.asset(key=key, check_specs=specs)
    def made() -> dg.MaterializeResult:
        if error:
            raise error
        result = dg.AssetCheckResult(
            check_name=check, passed=passed, severity=severity, description=f"words of {check}", metadata=metadata
        )
        return dg.MaterializeResult(check_results=[result] if check else [])

    return made


def materialize_asset(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, **tags: str) -> str:
    result = dg.materialize(list(assets), instance=instance, tags=DATED | tags, raise_on_error=False)
    return result.run_id


def poll_runs(box: Outbox, instance: dg.DagsterInstance, now: float | None = None) -> list[Alert]:
    """The alerts recorded by one poll of the runs, in order."""
    before = {entry.alert.key for entry in box.newest(10_000)}
    report_runs(box, instance, PLACE, lambda failed: "THE ANSWER.", now or time.time())
    return [entry.alert for entry in reversed(box.newest(10_000)) if entry.alert.key not in before]


# -- runs and checks ---------------------------------------------------------------------------------


def test_failed_run_is_one_alert_with_the_message_of_our_error(box, instance):
    run_id = materialize_asset(instance, asset("bureau", error=dg.Failure("bureau.csv: row 7 has no amount")))
    [alert] = poll_runs(box, instance)
    assert (alert.kind, alert.severity) == ("run_failed", "error")
    assert alert.title == "a materialization by hand of 2026-03 failed"
    assert alert.details == "bureau: bureau.csv: row 7 has no amount"
    assert alert.where == "home_credit, batch 2026-03, bureau"
    assert alert.link == f"http://ui/runs/{run_id}"
    assert abs(alert.since.timestamp() - time.time()) < 60
    assert poll_runs(box, instance) == []


def test_unexpected_error_is_reported_by_its_kind_only(box, instance):
    materialize_asset(instance, asset("bureau", error=ValueError("income 12345 of applicant 100002; SECRET")))
    [alert] = poll_runs(box, instance)
    assert alert.details == "bureau: ValueError"
    assert "SECRET" not in alert.to_json() and "12345" not in alert.to_json()


def test_messages_that_quote_rows_are_reported_without_values(box, instance):
    words = {WITHOUT_VALUES: "1 of 9 rows; first AMT_CREDIT: must be a number"}
    materialize_asset(
        instance,
        asset("bureau", error=dg.Failure("AMT_CREDIT: 'SECRET' must be a number", metadata=words)),
        asset("applications", "no_rows_quarantined", passed=False, severity=WARN, **words),
    )
    failed, quarantine = poll_runs(box, instance)
    assert failed.details == "bureau: 1 of 9 rows; first AMT_CREDIT: must be a number"
    assert quarantine.details == "applications.no_rows_quarantined: 1 of 9 rows; first AMT_CREDIT: must be a number"
    assert "SECRET" not in failed.to_json()


def test_failed_blocking_check_is_reported_once(box, instance):
    materialize_asset(instance, asset("feature_drift", "features_usable", passed=False, blocking=True))
    [alert] = poll_runs(box, instance)
    assert alert.kind == "run_failed"
    assert alert.details == "feature_drift.features_usable: words of features_usable"
    assert alert.parts == ("feature_drift", "feature_drift.features_usable")


def test_failed_checks_of_a_run_that_continued_are_one_alert(box, instance):
    materialize_asset(
        instance,
        asset("feature_drift", "features_stable", passed=False),
        asset("score_drift", "scores_stable", passed=False),
        asset("features", "leak_free", passed=True),
    )
    [alert] = poll_runs(box, instance)
    assert (alert.kind, alert.severity) == ("check_failed", "error")
    assert alert.title == "features_stable, scores_stable failed on 2026-03"
    assert alert.parts == ("feature_drift.features_stable", "score_drift.scores_stable")
    assert alert.what_was_done == "The batch was scored nevertheless. THE ANSWER."


def test_failed_check_that_causes_a_rollback_says_so(box, instance):
    materialize_asset(instance, asset("performance", "not_worse_than_predecessor", passed=False))
    [alert] = poll_runs(box, instance)
    assert alert.what_was_done.startswith("The previous champion is restored")


def test_quarantined_rows_are_a_warning_beside_other_warnings(box, instance):
    materialize_asset(
        instance,
        asset("bureau", "no_rows_quarantined", passed=False, severity=WARN),
        asset("applications", "no_rows_quarantined", passed=False, severity=WARN),
        asset("audit", "four_fifths_age", passed=False, severity=WARN),
    )
    quarantine, warning = poll_runs(box, instance)
    assert (quarantine.kind, quarantine.severity) == ("quarantine", "warning")
    assert "bureau" in quarantine.title and "applications" in quarantine.title
    assert (warning.kind, warning.severity) == ("check_warning", "warning")
    assert warning.title == "four_fifths_age raised a warning on 2026-03"


def test_candidate_refused_by_the_gate_is_not_reported_as_failure(box, instance):
    materialize_asset(
        instance,
        asset("promotion_gate", "discrimination", passed=False, blocking=True),
        **{TRAINING_TAG: BOOK, WHY_TAG: "weekly"},
    )
    training, refused = poll_runs(box, instance)
    assert (training.kind, training.details) == ("retraining", "Reason: weekly.")
    assert (refused.kind, refused.severity) == ("promotion_refused", "warning")
    assert refused.details == "promotion_gate.discrimination: words of discrimination"
    assert refused.link == "http://ui/assets/home_credit/promotion_gate"


def test_refused_candidate_that_is_significantly_better_is_reported_at_once_with_advice(box, instance):
    shown = {"surely_better_than_champion": "AUC +0.0420 (+0.0361 to +0.0479)", "candidate_version": "7"}
    materialize_asset(
        instance,
        asset("promotion_gate", "calibration", passed=False, blocking=True, **shown),
        **{TRAINING_TAG: BOOK, WHY_TAG: "weekly"},
    )
    _, refused = poll_runs(box, instance)
    assert (refused.kind, refused.severity) == ("promotion_refused", "error")
    assert refused.title == "the candidate was not promoted, although it is significantly better than the champion"
    assert refused.details.startswith("Significantly better than the champion: AUC +0.0420 (+0.0361 to +0.0479).")
    assert "Another training starts once enough new outcomes are known." in refused.what_was_done
    assert '`credit-assets promote --portfolio home_credit --version 7 --why "..."`' in refused.what_to_do


@pytest.mark.slow
def test_training_that_raised_an_error_is_reported_as_failure(box, instance):
    materialize_asset(instance, asset("models", error=MemoryError()), **{TRAINING_TAG: BOOK})
    training, failed = poll_runs(box, instance)
    assert training.details == "Reason: it was started by hand."
    assert (failed.kind, failed.details) == ("run_failed", "models: MemoryError")


def test_corrected_delivery_is_reported_but_first_delivery_is_not(box, instance):
    materialize_asset(instance, asset("bureau"), **{WHY_TAG: "delivered"})
    assert poll_runs(box, instance) == []
    materialize_asset(instance, asset("bureau"), **{WHY_TAG: "its files differ", CORRECTION_TAG: "true"})
    [alert] = poll_runs(box, instance)
    assert (alert.kind, alert.severity, alert.batch) == ("correction", "info", "2026-03")
    assert alert.details == "Reason: its files differ."


def test_training_is_reported_at_its_start_only(box, instance):
    seen = []

    @dg.asset(key=[BOOK, "models"])
    def models() -> None:
        seen.extend(poll_runs(box, instance))

    materialize_asset(instance, models, **{TRAINING_TAG: BOOK})
    assert [alert.kind for alert in seen] == ["retraining"]
    assert poll_runs(box, instance) == []


def test_run_ended_from_outside_states_the_cause(box, instance):
    run = instance.create_run_for_job(dg.define_asset_job("train").resolve(asset_graph=_graph()), tags=DATED)
    instance.report_run_failed(run, "the run's process is gone")
    [alert] = poll_runs(box, instance)
    assert alert.title == "train of 2026-03 failed"
    assert alert.details == "the run's process is gone"


def _graph():
    return dg.Definitions(assets=[asset("bureau")]).resolve_asset_graph()


def test_cancelled_run_is_not_reported(box, instance):
    run = instance.create_run_for_job(dg.define_asset_job("train").resolve(asset_graph=_graph()), tags=DATED)
    instance.report_run_canceled(run)
    assert poll_runs(box, instance) == []


def test_repeated_failure_is_reported_once_until_a_run_succeeds(box, instance):
    broken = asset("bureau", error=dg.Failure("no file"))
    for _ in range(3):
        materialize_asset(instance, broken)
    poll_runs(box, instance)
    assert sorted(entry.repeats is None for entry in box.newest(9)) == [False, False, True]
    materialize_asset(instance, asset("bureau"))
    materialize_asset(instance, broken)
    materialize_asset(instance, broken)
    poll_runs(box, instance)
    assert [entry.repeats is None for entry in box.newest(2)] == [False, True]


# -- portfolios, and what was read already ---------------------------------------------------------


def test_runs_of_another_portfolio_are_not_reported(box, instance):
    broken = asset("bureau", error=dg.Failure("no"))
    dg.materialize([broken], instance=instance, tags={PORTFOLIO_TAG: "lending_club"}, raise_on_error=False)
    dg.materialize([broken], instance=instance, raise_on_error=False)
    assert poll_runs(box, instance) == []


def origin(location: str) -> RemoteJobOrigin:
    return RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__"), "train")


@pytest.mark.parametrize(("location", "ours"), [("home_credit", True), ("lending_club", False)])
def test_run_from_the_ui_is_identified_by_its_code_location(instance, location, ours):
    """Repositories and jobs of all portfolios have the same names."""
    run = create_run_for_test(instance, job_name="train", remote_job_origin=origin(location))
    assert PLACE.owns(run) is ours


def test_runs_from_before_the_outbox_are_not_reported(box, instance):
    materialize_asset(instance, asset("bureau", error=dg.Failure("no")))
    assert poll_runs(box, instance, now=time.time() + 2 * DAY) == []


def test_runs_of_weeks_without_a_poll_are_all_reported(box, instance):
    poll_runs(box, instance)
    materialize_asset(instance, asset("bureau", error=dg.Failure("no")))
    [alert] = poll_runs(box, instance, now=time.time() + 21 * DAY)
    assert alert.kind == "run_failed"


def test_run_that_started_first_and_failed_last_is_not_missed(box, instance):
    seen = []

    @dg.asset(key=[BOOK, "slow"])
    def slow() -> None:
        materialize_asset(instance, asset("bureau", error=dg.Failure("the other")))
        seen.extend(poll_runs(box, instance))
        raise dg.Failure("this one")

    materialize_asset(instance, slow)
    assert [alert.details for alert in seen] == ["bureau: the other"]
    assert [alert.details for alert in poll_runs(box, instance)] == ["slow: this one"]


def test_restart_neither_loses_nor_repeats_alerts(tmp_path):
    project = Project(tmp_path / "project")
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        job = dg.define_asset_job("train").resolve(asset_graph=_graph())
        instance.report_run_failed(instance.create_run_for_job(job, tags=DATED), "one")
        with Outbox(project, BOOK, AlertsConfig()) as box:
            assert [alert.details for alert in poll_runs(box, instance)] == ["one"]
        instance.report_run_failed(instance.create_run_for_job(job, tags=DATED), "two")
    with (
        dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance,
        Outbox(project, BOOK, AlertsConfig()) as box,
    ):
        assert [alert.details for alert in poll_runs(box, instance)] == ["two"]
        assert poll_runs(box, instance) == []


def test_many_runs_are_read_in_portions_without_loss(box, instance):
    job = dg.define_asset_job("train").resolve(asset_graph=_graph())
    for number in range(RUNS_PER_POLL + 20):
        instance.report_run_failed(instance.create_run_for_job(job, tags=DATED), f"failure {number}")
    assert len(poll_runs(box, instance)) == RUNS_PER_POLL
    assert len(poll_runs(box, instance)) == 20
    assert poll_runs(box, instance) == []


# -- runs that Dagster retries ---------------------------------------------------------------------


@dg.asset(key=[BOOK, "shaky"], check_specs=[dg.AssetCheckSpec("warns", asset=[BOOK, "shaky"])])
def shaky(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    result = dg.AssetCheckResult(check_name="warns", passed=False, severity=WARN, description="careful")
    return dg.MaterializeResult(check_results=[result])


@dg.asset(key=[BOOK, "breaks"], deps=[shaky])
def breaks(context: dg.AssetExecutionContext) -> None:
    raise dg.Failure(f"attempt {context.run.tags.get('attempt', '1')}")


def shaky_job() -> dg.JobDefinition:
    job = dg.define_asset_job("shaky", executor_def=dg.in_process_executor, tags=DATED)
    return dg.Definitions(assets=[shaky, breaks], jobs=[job]).resolve_job_def("shaky")


@pytest.fixture
def retrying(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that retries failed runs once; the test launches the retries, as there is no daemon."""
    (tmp_path / "instance").mkdir()
    overrides = {"run_retries": {"enabled": True, "max_retries": 1}}
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance"), overrides=overrides) as instance:
        yield instance


def attempt(instance: dg.DagsterInstance, of: str | None = None) -> str:
    """A run, or a retry of one, with the tags that Dagster's daemon would set."""
    tags = {"attempt": "2", PARENT_RUN_ID_TAG: of, ROOT_RUN_ID_TAG: of} if of else {}
    family = {"parent_run_id": of, "root_run_id": of} if of else {}
    run = instance.create_run_for_job(shaky_job(), tags=DATED | tags, remote_job_origin=origin(BOOK), **family)
    execute_run(InMemoryJob(shaky_job()), run, instance)
    return run.run_id


def test_retried_run_is_not_reported_but_its_last_attempt_is(box, retrying):
    first = attempt(retrying)
    assert retrying.get_run_by_id(first).tags[WILL_RETRY_TAG] == "true"
    assert poll_runs(box, retrying) == []
    second = attempt(retrying, of=first)
    retrying.add_run_tags(first, {AUTO_RETRY_RUN_ID_TAG: second})
    failed, warned = poll_runs(box, retrying)
    assert failed.details == "breaks: attempt 2"
    assert failed.what_was_done.endswith("It was tried 2 times.")
    assert failed.link == f"http://ui/runs/{second}"
    assert warned.title == "warns raised a warning on 2026-03"
    assert poll_runs(box, retrying) == []


def test_run_whose_retry_never_starts_is_reported_in_the_end(box, retrying):
    attempt(retrying)
    assert poll_runs(box, retrying) == []
    later = poll_runs(box, retrying, now=time.time() + RETRY_WINDOW_S + 60)
    assert [alert.kind for alert in later] == ["run_failed", "check_warning"]


def test_other_runs_are_reported_while_one_waits_for_its_retry(box, retrying):
    attempt(retrying)
    materialize_asset(retrying, asset("bureau", error=dg.Failure("at once")), **{"dagster/max_retries": "0"})
    assert [alert.details for alert in poll_runs(box, retrying)] == ["bureau: at once"]
    assert poll_runs(box, retrying) == []


def test_many_runs_that_wait_for_retries_do_not_delay_other_alerts(box):
    job = dg.define_asset_job("train").resolve(asset_graph=_graph())
    with dg.DagsterInstance.ephemeral(settings={"run_retries": {"enabled": True, "max_retries": 1}}) as instance:
        for number in range(RUNS_PER_POLL + 1):
            crashed = instance.create_run_for_job(job, tags=DATED, remote_job_origin=origin(BOOK))
            instance.report_run_failed(crashed, f"crash {number}")
        last = instance.create_run_for_job(job, tags=DATED | {"dagster/max_retries": "0"})
        instance.report_run_failed(last, "the other")
        assert [alert.details for alert in poll_runs(box, instance)] == ["the other"]


def test_poll_starts_after_the_runs_read_of_all_portfolios(box, instance):
    """Otherwise each poll of an idle portfolio would read all runs of a busy one."""
    box.cursor(time.time())
    dg.materialize([asset("bureau")], instance=instance, tags={PORTFOLIO_TAG: "lending_club"})
    poll_runs(box, instance)
    _, until = box.cursor(time.time())
    assert time.time() - until < HOUR


# -- champions and lasting conditions ----------------------------------------------------------------


def test_promotions_and_rollbacks_are_reported_once_each(box):
    now = datetime.now(UTC)
    first = ChampionEvent(1, 1, now - timedelta(days=5), "gate", "passed", "run-1", None)
    history = [
        first,
        replace(first, number=2, version=2, at=now, replaced=1),
        replace(first, number=3, version=1, at=now, by="rollback", why="worse on outcomes", run_id=None, replaced=2),
    ]
    for _ in range(2):
        report_champions(box, PLACE, history, now.timestamp())
    promoted, back = (entry.alert for entry in reversed(box.newest(9)))
    assert (promoted.kind, promoted.severity) == ("promotion", "info")
    assert promoted.title == "version 2 is the champion (replaces version 1)"
    assert promoted.link == "http://ui/runs/run-1"
    assert (back.kind, back.severity) == ("rollback", "warning")
    assert back.title == "version 1 is the champion again (replaces version 2)"
    assert "worse on outcomes" in back.details
    assert back.link == "http://ui/assets/home_credit/champion"


def test_override_of_the_gate_is_a_warning_that_says_so(box):
    now = datetime.now(UTC)
    why = "Promoted by hand. Ann: so. It was refused by the gate."
    report_champions(box, PLACE, [ChampionEvent(2, 1, now, "override", why, "run-1", 3)], now.timestamp())
    [alert] = [entry.alert for entry in box.newest(9)]
    assert (alert.kind, alert.severity) == ("promotion", "warning")
    assert alert.title == "version 1 is the champion (replaces version 3), by an override of the gate"
    assert why in alert.details
    assert "Make sure that the override was intended" in alert.what_to_do


PORTFOLIO = Portfolio.load(Project(PROJECT), BOOK)


def deliveries(box: Outbox, root: Path, after: float = 0) -> list[Alert]:
    """All alerts after a poll of the deliveries some time from now."""
    watch_deliveries(box, PLACE, PORTFOLIO, Inbox(root / "inbox"), Lake(root / "lake"), time.time() + after)
    return [entry.alert for entry in reversed(box.newest(9))]


def read(root: Path, batch: str) -> None:
    with duckdb.connect() as con:
        Lake(root / "lake").replace(con, "SELECT 1 AS a", f"{BOOK}/applications", batch, Provenance())


def test_delivery_is_overdue_after_the_configured_days_until_one_arrives(tmp_path):
    with Outbox(Project(tmp_path), BOOK, AlertsConfig()) as box:
        read(tmp_path, "2026-01")
        assert deliveries(box, tmp_path, 400 * DAY) == []
    with Outbox(Project(tmp_path), BOOK, AlertsConfig(late_after_days=35)) as box:
        assert deliveries(box, tmp_path, 34 * DAY) == []
        [late] = deliveries(box, tmp_path, 36 * DAY)
        assert (late.kind, late.title) == ("late_delivery", "no delivery for more than 35 days")
        assert deliveries(box, tmp_path, 36 * DAY + HOUR) == [late]
        read(tmp_path, "2026-02")
        assert deliveries(box, tmp_path)[1].title == "resolved: no delivery for more than 35 days"


def test_nothing_is_overdue_before_the_first_delivery(tmp_path):
    with Outbox(Project(tmp_path), BOOK, AlertsConfig(late_after_days=1)) as box:
        assert deliveries(box, tmp_path, 40 * DAY) == []


def test_unread_delivery_is_reported_with_the_reason_until_it_is_read(box, tmp_path):
    folder = tmp_path / "inbox" / BOOK / "2026-02"
    folder.mkdir(parents=True)
    (folder / "bureau.csv").write_text("SK_ID_CURR\n1\n")
    assert deliveries(box, tmp_path, 23 * HOUR) == []
    [unread] = deliveries(box, tmp_path, 25 * HOUR)
    assert (unread.kind, unread.batch) == ("late_delivery", "2026-02")
    assert unread.title == "2026-02 is in the inbox and has not been ingested"
    assert "application" in unread.details
    assert deliveries(box, tmp_path, 26 * HOUR) == [unread]
    read(tmp_path, "2026-02")
    assert (
        deliveries(box, tmp_path, 27 * HOUR)[1].title == "resolved: 2026-02 is in the inbox and has not been ingested"
    )


def record_tick(
    instance: dg.DagsterInstance,
    name: str,
    status: TickStatus,
    when: float,
    location: str = BOOK,
    kind: InstigatorType = InstigatorType.SENSOR,
    switched: InstigatorStatus = InstigatorStatus.DECLARED_IN_CODE,
) -> None:
    """The sensor or schedule as Dagster's daemon leaves it after a tick. A failed tick raised one of our errors."""
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__"), name
    )
    selector = InstigatorSelector(location_name=location, repository_name="__repository__", name=name).get_id()
    data = ScheduleInstigatorData("0 3 * * 1") if kind == InstigatorType.SCHEDULE else None
    state = InstigatorState(origin, kind, switched, data)
    if instance.get_instigator_state(origin.get_id(), selector):
        instance.update_instigator_state(state)
    else:
        instance.add_instigator_state(state)
    error = None
    if status == TickStatus.FAILURE:
        try:
            with user_code_error_boundary(SensorExecutionError, lambda: "Error occurred"):
                raise KeyError("SECRET of applicant 100002")
        except SensorExecutionError:
            error = serializable_error_info_from_exc_info(sys.exc_info())
    instance.create_tick(TickData(origin.get_id(), name, kind, status, when, error=error, selector_id=selector))


@pytest.fixture
def scheduling(bare_instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    """An instance that, unlike an ephemeral one, stores ticks."""
    yield bare_instance
    assert bare_instance.schedule_storage
    bare_instance.schedule_storage.wipe()


NAMES = {"deliveries", "retrain", "weekly_challenger"}
FAILED, SKIPPED, STARTED = TickStatus.FAILURE, TickStatus.SKIPPED, TickStatus.STARTED


def ticks(box: Outbox, instance: dg.DagsterInstance, now: float) -> list[Alert]:
    """All alerts after a poll of the ticks."""
    watch_ticks(box, PLACE, NAMES, instance, now)
    return [entry.alert for entry in reversed(box.newest(9))]


def test_failing_sensor_is_reported_once_it_lasts_with_reminders_and_its_end(box, scheduling):
    now = time.time()
    for minutes in (0, 4):
        record_tick(scheduling, "deliveries", FAILED, now + 60 * minutes)
        assert ticks(box, scheduling, now + 60 * minutes + 1) == []
    record_tick(scheduling, "deliveries", STARTED, now + 310)
    [told] = ticks(box, scheduling, now + 311)
    assert (told.kind, told.severity) == ("tick_failed", "error")
    assert told.title == "the sensor deliveries fails"
    assert told.details.endswith("UTC failed: KeyError.")
    assert "SECRET" not in told.to_json()
    assert told.since.timestamp() == pytest.approx(now)
    assert told.link == "http://ui/locations/__repository__@home_credit/sensors/deliveries"
    assert ticks(box, scheduling, now + HOUR) == [told]
    assert ticks(box, scheduling, now + 25 * HOUR)[1].title == "ongoing: the sensor deliveries fails"
    record_tick(scheduling, "deliveries", SKIPPED, now + 26 * HOUR)
    assert ticks(box, scheduling, now + 26 * HOUR)[2].title == "resolved: the sensor deliveries fails"
    assert len(ticks(box, scheduling, now + 27 * HOUR)) == 3


def test_failed_schedule_is_reported_although_its_next_tick_is_days_away(box, scheduling):
    now = time.time()
    record_tick(scheduling, "weekly_challenger", FAILED, now, kind=InstigatorType.SCHEDULE)
    ticks(box, scheduling, now + 30)
    [told] = ticks(box, scheduling, now + 331)
    assert told.title == "the schedule weekly_challenger fails"
    assert told.link.endswith("/schedules/weekly_challenger")


def test_ticks_of_other_locations_and_of_stopped_or_removed_sensors_are_not_reported(box, scheduling):
    now = time.time()
    record_tick(scheduling, "deliveries", FAILED, now, location="lending_club")
    record_tick(scheduling, "retrain", FAILED, now, switched=InstigatorStatus.STOPPED)
    record_tick(scheduling, "a_sensor_of_an_earlier_release", FAILED, now)
    for minutes in (0, 6):
        assert ticks(box, scheduling, now + 60 * minutes) == []


def test_full_machine_is_reported(tmp_path, instance):
    for book in (BOOK, BOOK, "lending_club"):
        create_run_for_test(
            instance, status=dg.DagsterRunStatus.QUEUED, tags={PORTFOLIO_TAG: book}, remote_job_origin=origin(book)
        )
    free = shutil.disk_usage(tmp_path).free / 1e9
    config = AlertsConfig(disk_free_gb=2 * free, memory_free_share=1, backlog_runs=1, lasting_minutes=0)
    with Outbox(Project(tmp_path), BOOK, config) as box:
        watch_capacity(box, PLACE, claims_of(tmp_path), tmp_path, instance, time.time())
        disk, memory, backlog = (entry.alert for entry in reversed(box.newest(9)))
    assert {alert.kind for alert in (disk, memory, backlog)} == {"capacity"}
    assert disk.title == "the disk is nearly full"
    assert float(disk.details.split(" GB")[0]) == pytest.approx(free, abs=5)
    assert f"of {psutil.virtual_memory().total / 1e9:.0f} GB" in memory.details
    assert backlog.details == "2 runs are queued; alerts.backlog_runs is 1."


def test_unavailable_registry_is_reported_once_it_lasts_and_when_it_is_back(tmp_path):
    reason = "The model registry at http://127.0.0.1:9 (MLFLOW_TRACKING_URI) does not answer: Connection refused."
    now = time.time()
    with Outbox(Project(tmp_path), BOOK, AlertsConfig()) as box:
        lasting = box.config.lasting_minutes * 60
        for later in (0, lasting / 2):
            watch_registry(box, PLACE, claims_of(tmp_path), reason, now + later)
        assert box.newest(9) == []
        watch_registry(box, PLACE, claims_of(tmp_path), reason, now + lasting)
        [entry] = box.newest(9)
        assert (entry.alert.kind, entry.alert.severity, entry.alert.details) == (
            "registry_unavailable",
            "error",
            reason,
        )
        watch_registry(box, PLACE, claims_of(tmp_path), None, now + lasting + 1)
        assert "resolved" in box.newest(9)[0].alert.title


@contextlib.contextmanager
def outboxes_of_all(root: Path, **portfolios: AlertsConfig) -> Iterator[dict[str, Outbox]]:
    with contextlib.ExitStack() as opened:
        yield {name: opened.enter_context(Outbox(Project(root), name, config)) for name, config in portfolios.items()}


def poll(root: Path, boxes: Mapping[str, Outbox], instance: dg.DagsterInstance, now: float, *names: str) -> None:
    for name in names or boxes:
        watch_capacity(boxes[name], replace(PLACE, portfolio=name), claims_of(root, name), root, instance, now)


def reported(boxes: Mapping[str, Outbox]) -> dict[str, list[str]]:
    return {name: [entry.alert.title for entry in reversed(box.newest(9))] for name, box in boxes.items()}


LIMITS = {"disk_free_gb": 1e9, "memory_free_share": 0, "lasting_minutes": 0}
FULL = AlertsConfig.model_validate(LIMITS)


def test_disk_is_reported_by_one_portfolio_for_all(tmp_path, instance):
    with outboxes_of_all(tmp_path, one=FULL, two=FULL) as boxes:
        for now in (0, 60):
            poll(tmp_path, boxes, instance, now)
        assert reported(boxes) == {"one": ["the disk is nearly full"], "two": []}
        # Once its sensor no longer polls, another portfolio reports it.
        poll(tmp_path, boxes, instance, 60 + 5 * INTERVAL_S, "two")
        assert reported(boxes)["two"] == ["the disk is nearly full"]
        poll(tmp_path, boxes, instance, 61 + 5 * INTERVAL_S, "one")
        assert reported(boxes)["one"] == ["the disk is nearly full"], "neither again, nor that it is over"


def test_disk_is_reported_by_a_portfolio_with_a_channel_for_it(tmp_path, instance):
    of_errors, of_warnings = (
        AlertsConfig.model_validate({**LIMITS, "webhook": {"least": least}}) for least in ("error", "warning")
    )
    with outboxes_of_all(tmp_path, one=of_errors, two=of_warnings) as boxes:
        for now in (0, 60):
            poll(tmp_path, boxes, instance, now)
        assert reported(boxes) == {"one": ["the disk is nearly full"], "two": ["the disk is nearly full"]}
        poll(tmp_path, boxes, instance, 90)
        assert {name: len(titles) for name, titles in reported(boxes).items()} == {"one": 1, "two": 1}


def test_disk_with_free_space_again_is_reported_and_its_claim_released(tmp_path, instance):
    with outboxes_of_all(tmp_path, one=FULL, two=FULL) as boxes:
        poll(tmp_path, boxes, instance, 0)
        boxes["one"].config = FULL.model_copy(update={"disk_free_gb": 0.0})
        poll(tmp_path, boxes, instance, 30)
        assert reported(boxes) == {
            "one": ["the disk is nearly full", "resolved: the disk is nearly full"],
            "two": ["the disk is nearly full"],
        }


def test_machine_with_free_space_is_not_reported(tmp_path, instance):
    config = AlertsConfig(disk_free_gb=0, memory_free_share=0, lasting_minutes=0)
    with Outbox(Project(tmp_path), BOOK, config) as box:
        watch_capacity(box, PLACE, claims_of(tmp_path), tmp_path, instance, time.time())
        assert box.newest(9) == []

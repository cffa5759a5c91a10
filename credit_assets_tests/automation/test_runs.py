"""Runs started by a command: what they report, and what happens to killed ones."""

import sqlite3

import dagster as dg
import duckdb
import pytest
from filelock import FileLock

from credit_assets.automation.runs import RunOutcome, execute, instance_for_commands
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.settings.project import AlreadyRunning, Project
from credit_assets.settings.run_tags import COMMAND_TAG
from credit_assets_tests.small_project import inside, make_project

BOOK = "book"


@pytest.fixture
def project(tmp_path):
    project = make_project(tmp_path / "project")
    with inside(project):
        yield project


def made(*assets: dg.AssetsDefinition) -> dg.Definitions:
    return dg.Definitions(assets=assets, jobs=[dg.define_asset_job("all")], executor=dg.in_process_executor)


def run(project: Project, *assets: dg.AssetsDefinition, tables: tuple[str, ...] = ()) -> tuple[RunOutcome, list[str]]:
    said: list[str] = []
    with instance_for_commands(project, BOOK) as instance:
        outcome = execute(instance, made(*assets), BOOK, "all", None, said.append, tables)
    return outcome, said


@dg.asset(key=[BOOK, "loans"])
def loans(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.info("counting the loans")
    context.log.debug("nobody asked for this")
    return dg.MaterializeResult(metadata={"dagster/row_count": 1234})


@dg.asset(key=[BOOK, "broken"])
def broken() -> None:
    try:
        raise KeyError("the first cause")
    except KeyError as error:
        raise ValueError("what came of it") from error


@dg.asset(key=[BOOK, "delivered"])
def delivered() -> None:
    raise BadDelivery("Batch 1 has no files.")


@dg.asset(key=[BOOK, "after"], deps=[delivered])
def after() -> None: ...


@dg.asset(key=[BOOK, "of_a_library"])
def of_a_library() -> None:
    duckdb.sql("SELEKT 1")


@dg.asset(key=[BOOK, "refused"])
def refused() -> None:
    raise dg.Failure("Table loans: row 7 is bad.", allow_retries=False)


@dg.asset(
    key=[BOOK, "judged"],
    check_specs=[
        dg.AssetCheckSpec("fair", asset=[BOOK, "judged"], blocking=True),
        dg.AssetCheckSpec("pretty", asset=[BOOK, "judged"]),
        dg.AssetCheckSpec("stable", asset=[BOOK, "judged"]),
    ],
)
def judged() -> dg.MaterializeResult:
    warned = dg.AssetCheckResult(
        check_name="pretty", passed=False, severity=dg.AssetCheckSeverity.WARN, description="hardly"
    )
    failed = dg.AssetCheckResult(check_name="fair", passed=False, description="AIR 0.5 is below 0.8")
    informed = dg.AssetCheckResult(check_name="stable", passed=False, description="PSI 0.4 is above 0.25")
    return dg.MaterializeResult(check_results=[warned, informed, failed])


def test_progress_is_reported_per_materialized_asset(project):
    outcome, said = run(project, loans)
    assert outcome.success
    assert outcome.errors == ()
    assert list(outcome.asset_seconds) == ["book__loans"]
    assert said[0] == "    counting the loans"
    assert said[1].split()[:3] == ["loans", "1,234", "rows"]
    assert len(said) == 2


def test_only_requested_tables_of_the_job_are_materialized(project):
    outcome, _ = run(project, loans, broken, tables=("loans",))
    assert outcome.success
    assert list(outcome.asset_seconds) == ["book__loans"]


def test_failure_is_reported_with_its_own_description(project):
    outcome, said = run(project, refused)
    assert not outcome.success
    assert outcome.errors == ("Table loans: row 7 is bad.",)
    assert said == ["  FAILED refused"], "why is for the caller to print, once"


def test_error_is_reported_by_its_first_cause(project):
    outcome, _ = run(project, broken)
    assert outcome.errors == ("KeyError: 'the first cause'",)


def test_our_own_error_is_reported_without_class_name_or_consequences(project):
    outcome, said = run(project, delivered, after)
    assert outcome.errors == ("Batch 1 has no files.",)
    assert said == ["  FAILED delivered"]


def test_error_class_of_a_library_is_named_without_its_module(project):
    outcome, _ = run(project, of_a_library)
    assert outcome.errors[0].startswith("ParserException: Parser Error: syntax error")


def test_failed_blocking_check_is_reported_with_its_description(project):
    outcome, said = run(project, judged)
    assert outcome.errors == ("judged.fair: AIR 0.5 is below 0.8",)
    assert not any("AIR" in line for line in said)
    assert "  check failed (WARN) judged.pretty: hardly" in said
    assert "  check failed (ERROR) judged.stable: PSI 0.4 is above 0.25" in said


def test_second_command_is_refused_while_the_first_is_active(project):
    with (
        instance_for_commands(project, BOOK),
        pytest.raises(AlreadyRunning, match="Another credit-assets command is running on book"),
        instance_for_commands(project, BOOK),
    ):
        pass


def test_command_of_another_portfolio_is_not_refused(project):
    with instance_for_commands(project, BOOK), instance_for_commands(project, "other"):
        pass


def test_lock_is_released_after_an_error(project):
    with pytest.raises(ZeroDivisionError), instance_for_commands(project, BOOK):
        raise ZeroDivisionError
    with FileLock(project.data / "dagster" / f"{BOOK}.lock", timeout=0):
        pass


@pytest.mark.slow
def test_run_of_a_killed_command_is_marked_failed_and_no_other(project):
    unfinished = {"status": dg.DagsterRunStatus.STARTED}
    job = made(loans).resolve_job_def("all")
    with instance_for_commands(project, BOOK) as instance:
        of_the_command = instance.create_run_for_job(job, tags={COMMAND_TAG: BOOK}, **unfinished)
        of_the_ui = instance.create_run_for_job(job, **unfinished)
        of_another = instance.create_run_for_job(job, tags={COMMAND_TAG: "other"}, **unfinished)
    with instance_for_commands(project, BOOK) as instance:
        found = {run.run_id: run.status for run in instance.get_runs()}
    assert found == {
        of_the_command.run_id: dg.DagsterRunStatus.FAILURE,
        of_the_ui.run_id: dg.DagsterRunStatus.STARTED,
        of_another.run_id: dg.DagsterRunStatus.STARTED,
    }


def test_events_that_cannot_be_logged_are_counted_in_one_line(project, monkeypatch, capsys):
    handle = dg.DagsterInstance.handle_new_event

    def full(self, event, **settings):
        if event.dagster_event is None and event.user_message == "counting the loans":
            raise sqlite3.OperationalError("database or disk is full")
        return handle(self, event, **settings)

    monkeypatch.setattr(dg.DagsterInstance, "handle_new_event", full)
    outcome, said = run(project, loans)
    assert outcome.success
    assert said[-1] == "  1 message could not be written to Dagster's event log"
    assert "event log" not in capsys.readouterr().err


def test_disk_full_error_of_duckdb_is_one_line(project):
    @dg.asset(key=[BOOK, "large"])
    def large(context: dg.AssetExecutionContext) -> None:
        raise duckdb.OutOfMemoryException(
            "failed to offload data block of size 256.0 KiB (2.5 MiB/2.6 MiB used).\nThis limit was set by the "
            "'max_temp_directory_size' setting.\nPossible solutions:\n* Reducing the number of threads"
        )

    outcome, _ = run(project, large)
    assert outcome.errors == (
        "data/spill cannot be used: No space left on device. DuckDB writes there what exceeds its memory.",
    )

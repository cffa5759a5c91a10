"""A mistaken delivery is withdrawn completely, even if the command is killed midway."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from credit_assets.application import check_results
from credit_assets.application.status import status
from credit_assets.application.withdrawal import withdraw, withdraw_outcomes
from credit_assets.automation.due import NotIngested, OutcomesDelivered
from credit_assets.automation.pending import batches_to_ingest
from credit_assets.automation.runs import execute
from credit_assets.dagster_private import PARTITION_NAME_TAG
from credit_assets.definitions import build
from credit_assets.history.timeline import timeline
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.connections import connect
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.registry.registry import Registry
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import AlreadyRunning, Project
from credit_assets.settings.run_tags import PORTFOLIO_TAG
from credit_assets_tests.bare_versions import register_bare
from credit_assets_tests.small_project import (
    BATCHES,
    BOOK,
    copy_of,
    deliver_sample,
    inside,
    instance_of,
    make_short_project,
    run_job,
    table,
)

MISTAKE = BATCHES[1]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two ingested batches of a hundred applicants. The second repeats keys of the first and so fails a check."""
    project = make_short_project(tmp_path_factory.mktemp("withdrawal") / "project")
    deliver_sample(project, applicants=300, batches=1)
    Inbox(project.inbox).deliver(Inbox(project.inbox).folder(BOOK, BATCHES[0]), BOOK, MISTAKE)
    for batch in BATCHES[:2]:
        assert run_job(project, "ingest", batch).success
    return project


@pytest.fixture
def project(ingested: Project, tmp_path: Path) -> Project:
    return copy_of(ingested, tmp_path / "project")


def withdraw_first_batch(project: Project, force: bool = False) -> tuple[int | None, list[str]]:
    lines: list[str] = []
    with inside(project):
        champion = withdraw(project, BOOK, MISTAKE, why="another lender's file", force=force, report=lines.append)
    return champion, lines


def tables_with(project: Project, batch: str) -> list[str]:
    lake = Lake(project.lake)
    return [table for table in lake.tables(BOOK) if batch in lake.batches(table)]


def register_champion(project: Project, *learned: str, outcomes: int | None = None) -> None:
    """Register a champion that learned from the batches, with this version of the outcomes."""
    with inside(project), connect() as con:
        table, registry = f"{BOOK}/training_set", Registry.of(project, BOOK)
        rows = f"SELECT unnest({list(learned)}) AS batch"
        inputs = {} if outcomes is None else {f"{BOOK}/outcomes": outcomes}
        version = Lake(project.lake).replace(con, rows, table, None, Provenance(inputs=inputs))
        number = register_bare(registry, synthetic=False, tables={table: version})
        registry.promote(number, by="gate", why="it is better")


def test_withdrawn_batch_is_in_no_table_and_its_earlier_versions_stay_readable(project: Project) -> None:
    lake, before = Lake(project.lake), tables_with(project, MISTAKE)
    versions = {table: lake.version(table) for table in before}
    others = {table: lake.batches(table)[BATCHES[0]] for table in before}
    champion, lines = withdraw_first_batch(project)
    assert champion is None
    assert "features" in {table.rsplit("/", 1)[-1] for table in before} and tables_with(project, MISTAKE) == []
    with connect() as con:
        for table, version in versions.items():
            where = f"WHERE batch = '{MISTAKE}'"
            assert con.sql(f"SELECT 1 FROM ({lake.query(table)}) {where}").fetchall() == []
            then = con.sql(f"SELECT count(*) FROM ({lake.query(table, [MISTAKE], version)})").fetchone()
            assert then == (lake.writes(table, withdrawn=True)[MISTAKE][0].provenance.rows,)
    # The other batch is unchanged.
    assert {table: lake.batches(table)[BATCHES[0]] for table in before} == others
    assert Inbox(project.inbox).batches(BOOK) == [BATCHES[0]]
    kept = project.inbox / BOOK / ".superseded" / MISTAKE / "1"
    assert (kept / "application_train.csv").exists() and str(kept) in lines[0]
    with instance_of(project) as instance:
        assert instance.get_dynamic_partitions(f"{BOOK}_batches") == [BATCHES[0]]


def test_withdrawn_batch_leaves_the_status_and_is_listed_in_the_timeline(project: Project) -> None:
    with inside(project):
        [failed] = [check for check in status(project, BOOK).checks if not check.passed]
    assert (failed.check, failed.batch) == ("keys_are_new", MISTAKE)
    with instance_of(project) as instance:
        of_another = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey([BOOK, "bureau"]),
            check_name="no_rows_quarantined",
            passed=False,
            metadata={"batch": BATCHES[0]},
        )
        instance.report_runless_asset_event(of_another)
    withdraw_first_batch(project)
    with inside(project):
        told = status(project, BOOK)
        facts = timeline(Portfolio.load(project, BOOK), Lake(project.lake), Registry.of(project, BOOK))
    assert [batch.batch for batch in told.batches] == [BATCHES[0]]
    assert [check.check for check in told.checks if not check.passed] == ["no_rows_quarantined"]
    assert all(due.batch != MISTAKE for due in told.due)
    last = facts.iloc[-1]
    assert (last["kind"], last["batch"], last["words"]) == (
        "withdrawal",
        MISTAKE,
        "withdrawn: another lender's file",
    )


def test_status_still_shows_failed_check_of_a_later_batch(project: Project) -> None:
    with instance_of(project) as instance:
        later = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey([BOOK, "applications"]),
            check_name="keys_are_new",
            passed=False,
            description="of another batch",
            metadata={"batch": BATCHES[0]},
        )
        instance.report_runless_asset_event(later)
    withdraw_first_batch(project)
    with inside(project):
        failed = [check for check in status(project, BOOK).checks if not check.passed]
    assert [(check.check, check.description) for check in failed] == [("keys_are_new", "of another batch")]


def test_batch_redelivered_after_withdrawal_is_new(project: Project) -> None:
    withdraw_first_batch(project)
    Inbox(project.inbox).deliver(project.inbox / BOOK / ".superseded" / MISTAKE / "1", BOOK, MISTAKE)
    portfolio, lake = Portfolio.load(project, BOOK), Lake(project.lake)
    [due] = batches_to_ingest(portfolio, Inbox(project.inbox), lake)
    assert (due.batch, due.reason, due.correction) == (MISTAKE, NotIngested(), False)
    assert run_job(project, "ingest", MISTAKE).success
    assert batches_to_ingest(portfolio, Inbox(project.inbox), lake) == []
    with inside(project):
        kinds = timeline(portfolio, lake, Registry.of(project, BOOK))["kind"].tolist()
    assert kinds == ["delivery", "delivery", "withdrawal", "delivery"]


def test_killed_withdrawal_is_completed_by_the_next(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    whole = Lake.withdraw

    def killed(lake: Lake, table: str, batch: str, why: str, file: str | None) -> int:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(table)
        return whole(lake, table, batch, why, file)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "withdraw", killed)
        with pytest.raises(KeyboardInterrupt):
            withdraw_first_batch(project)
    # Nothing ingests it again in the meantime.
    due = batches_to_ingest(Portfolio.load(project, BOOK), Inbox(project.inbox), Lake(project.lake))
    assert MISTAKE not in [item.batch for item in due]
    withdraw_first_batch(project)
    assert tables_with(project, MISTAKE) == []
    with pytest.raises(BadDelivery, match=f"has no batch {MISTAKE}, neither in the inbox nor in the lake"):
        withdraw_first_batch(project)


def test_withdrawal_waits_for_a_run_that_the_daemon_starts_meanwhile(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Inbox.withdraw

    def meanwhile(inbox: Inbox, portfolio: str, batch: str) -> Path | None:
        with instance_of(project) as instance:
            instance.add_run(
                dg.DagsterRun(
                    job_name="score",
                    run_id="meanwhile",
                    status=dg.DagsterRunStatus.STARTED,
                    tags={PORTFOLIO_TAG: BOOK, PARTITION_NAME_TAG: MISTAKE},
                )
            )
        return whole(inbox, portfolio, batch)

    before = tables_with(project, MISTAKE)
    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "withdraw", meanwhile)
        with pytest.raises(AlreadyRunning, match=f"Run meanwhile is active on {MISTAKE}"):
            withdraw_first_batch(project)
    assert tables_with(project, MISTAKE) == before
    with instance_of(project) as instance:
        instance.report_run_canceled(instance.get_run_by_id("meanwhile"))
    withdraw_first_batch(project)
    assert tables_with(project, MISTAKE) == []


def test_batch_that_the_champion_learned_from_is_withdrawn_only_with_force(project: Project) -> None:
    register_champion(project, *BATCHES[:2])
    with pytest.raises(BadDelivery, match=f"Version 1 of {BOOK}, the champion, learned from {MISTAKE}"):
        withdraw_first_batch(project)
    assert tables_with(project, MISTAKE) and MISTAKE in Inbox(project.inbox).batches(BOOK)
    assert withdraw_first_batch(project, force=True)[0] == 1
    assert tables_with(project, MISTAKE) == []


def test_batch_that_no_champion_learned_from_needs_no_force(project: Project) -> None:
    register_champion(project, BATCHES[0])
    assert withdraw_first_batch(project)[0] is None


def deliver_outcomes(project: Project, defaults: int) -> int:
    """Deliver and ingest outcomes of the first batch in a separate file; the version of the table that holds them."""
    keys = table(project, "applications", BATCHES[0])["SK_ID_CURR"]
    file = project.root / "outcomes.csv"
    rows = [f"{key},{int(place < defaults)}" for place, key in enumerate(keys)]
    file.write_text("\n".join(["SK_ID_CURR,TARGET", *rows]) + "\n")
    Inbox(project.inbox).deliver(file, BOOK, BATCHES[0])
    with inside(project), instance_of(project) as instance:
        job = execute(instance, build(BOOK, project), BOOK, "outcomes", BATCHES[0], lambda line: None, ("outcomes",))
    assert job.success, job.errors
    return Lake(project.lake).batches(f"{BOOK}/outcomes")[BATCHES[0]].version


def withdraw_later_outcomes(project: Project, force: bool = False) -> int | None:
    with inside(project):
        return withdraw_outcomes(
            project, BOOK, BATCHES[0], why="of another month", force=force, report=lambda line: None
        )


def test_withdrawn_outcomes_are_removed_with_the_reason_and_earlier_ones_restored(
    project: Project,
) -> None:
    lake = Lake(project.lake)
    deliver_outcomes(project, defaults=3)
    wrong = deliver_outcomes(project, defaults=90)
    register_champion(project, BATCHES[0], outcomes=wrong - 1)
    # The champion learned from the batch, but not from this file.
    assert withdraw_later_outcomes(project) is None
    assert BATCHES[0] not in lake.batches(f"{BOOK}/outcomes") and BATCHES[0] in lake.batches(f"{BOOK}/applications")
    portfolio = Portfolio.load(project, BOOK)
    [due] = [due for due in batches_to_ingest(portfolio, Inbox(project.inbox), lake) if due.batch == BATCHES[0]]
    assert due.reason == OutcomesDelivered()
    assert run_job(project, "ingest", BATCHES[0]).success
    assert table(project, "outcomes", BATCHES[0])["TARGET"].sum() == 3
    with inside(project):
        facts = timeline(portfolio, lake, Registry.of(project, BOOK))
    told = facts.loc[facts["kind"].isin(["outcomes", "withdrawal"]), "words"].tolist()
    assert told[-2:] == ["outcomes.2.csv withdrawn: of another month", told[-1]] and "known" in told[-1]


def test_outcomes_that_the_champion_learned_from_are_withdrawn_only_with_force(project: Project) -> None:
    register_champion(project, BATCHES[0], outcomes=deliver_outcomes(project, defaults=3))
    with pytest.raises(BadDelivery, match=r"Version 1 of home_credit, the champion, learned from outcomes in outcomes"):
        withdraw_later_outcomes(project)
    assert BATCHES[0] in Lake(project.lake).batches(f"{BOOK}/outcomes")
    assert withdraw_later_outcomes(project, force=True) == 1
    with pytest.raises(BadDelivery, match="has no outcomes in a separate file"):
        withdraw_later_outcomes(project)


def test_last_evaluation_of_a_batch_is_found_among_many_later_ones(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = dg.AssetCheckKey(dg.AssetKey([BOOK, "bureau"]), "no_rows_quarantined")
    monkeypatch.setattr(check_results, "PAGE", 3)

    def record_check(instance: dg.DagsterInstance, batch: str, passed: bool) -> None:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key.asset_key, check_name=key.name, passed=passed, metadata={"batch": batch}
            )
        )

    with instance_of(project) as instance:
        record_check(instance, MISTAKE, passed=False)
        for _ in range(8):
            record_check(instance, BATCHES[0], passed=True)
    withdraw_first_batch(project)
    with instance_of(project) as instance:
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert history[0].evaluation and history[0].evaluation.metadata["withdrawn"].value is True
        latest = check_results.latest_evaluation(instance, key)
        assert latest and latest.evaluation and latest.evaluation.metadata["batch"].value == BATCHES[0]

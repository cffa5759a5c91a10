"""When a failed check leads to a training or a rollback, when it waits, and that it does so once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import duckdb
import mlflow
import pytest

from credit_assets.automation.due import (
    BatchesActive,
    BetterCandidate,
    CoolDown,
    Due,
    FailedCheck,
    FeaturesOfOtherSql,
    NoChampion,
    NoFailedCheck,
    NoPredecessor,
    NotWorse,
    Outcome,
    Refused,
    RollbackFirst,
    RollbackStarted,
    TooFewOutcomes,
    TrainingActive,
    TrainingRequested,
    Trigger,
    Waiting,
    WorseThanPredecessor,
)
from credit_assets.automation.pending import new_outcomes
from credit_assets.automation.retraining import RETRAINING_CHECKS, failed_checks, rollback, training
from credit_assets.book.book import Book as CompiledBook
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.resources import batches
from credit_assets.lake.tables import Lake
from credit_assets.monitoring.check_names import FEATURES_DRIFTED, NOT_WORSE, PERFORMANCE_HOLDS, SCORES_DRIFTED
from credit_assets.registry.memory import Memory
from credit_assets.registry.registry import Registry
from credit_assets.registry.tags import CHAMPION
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets.settings.run_tags import KEY_TAG, PORTFOLIO_TAG, TRAINING_TAG
from credit_assets_tests.bare_versions import register_bare
from credit_assets_tests.small_project import BOOK, configure, copy_of, run_job

ASSETS = {
    FEATURES_DRIFTED: "feature_drift",
    SCORES_DRIFTED: "score_drift",
    PERFORMANCE_HOLDS: "performance",
    NOT_WORSE: "performance",
}


ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@dataclass(frozen=True)
class Book:
    """A copy of the small project, whose training is long past; `requested` is what its failed checks request."""

    project: Project

    @property
    def portfolio(self) -> Portfolio:
        return Portfolio.load(self.project, BOOK)

    @property
    def lake(self) -> Lake:
        return Lake(self.project.lake)

    @property
    def registry(self) -> Registry:
        return Registry.of(self.project, BOOK)

    def requested(self, instance: dg.DagsterInstance, later: timedelta = timedelta(days=2)) -> Outcome:
        book = CompiledBook(self.project, self.portfolio)
        return training(instance, book, self.lake, datetime.now(UTC) + later)

    def learn(self) -> int:
        """Register a candidate without a model that learned from all that is known now; its number."""
        table = self.portfolio.table("training_set")
        sources = [self.portfolio.table(name) for name in ("applications", "outcomes", "features")]
        read = Provenance(inputs={source: self.lake.version(source) for source in sources})
        with duckdb.connect() as con:
            version = self.lake.replace(con, self.lake.query(table), table, None, read)
        # Otherwise its files would be written into the folder of the shared project.
        return register_bare(self.registry, gated=False, tables={table: version})

    def rollback(self, instance: dg.DagsterInstance) -> Outcome:
        return rollback(instance, self.portfolio, self.registry)


@pytest.fixture
def book(short_line, tmp_path: Path) -> Book:
    return Book(short_line.copy(tmp_path / "project"))


@pytest.fixture(scope="module")
def with_outcomes(short_line, tmp_path_factory: pytest.TempPathFactory) -> Book:
    """The project after the outcomes of its newest batch arrived."""
    project = short_line.copy(tmp_path_factory.mktemp("outcomes") / "project")
    Inbox(project.inbox).deliver(project.root / "sample" / "outcomes" / "2026-03", BOOK, "2026-03")
    assert run_job(project, "outcomes", "2026-03").success
    return Book(project)


def record_check(
    instance: dg.DagsterInstance,
    check: str,
    batch: str = "2026-03",
    passed: bool = False,
    version: int = 1,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Record this check result for the batch; `meanwhile` is called while its asset is materialized."""
    key = dg.AssetKey([BOOK, ASSETS[check]])

    @dg.asset(key=key, partitions_def=batches(BOOK), check_specs=[dg.AssetCheckSpec(name=check, asset=key)])
    def measured() -> dg.MaterializeResult:
        meanwhile()
        return dg.MaterializeResult(
            check_results=[
                dg.AssetCheckResult(
                    check_name=check,
                    passed=passed,
                    severity=severity,
                    description="Words",
                    metadata={"batch": batch, "model_version": version},
                )
            ]
        )

    instance.add_dynamic_partitions(f"{BOOK}_batches", [batch])
    assert dg.materialize([measured], instance=instance, partition_key=batch).success


def report_checks(
    instance: dg.DagsterInstance, results: list[tuple[str, bool, dg.AssetCheckSeverity]], version: int = 1
) -> None:
    """Report results of the check of score drift, each for a batch, without runs."""
    for batch, passed, severity in results:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey([BOOK, ASSETS[SCORES_DRIFTED]]),
                check_name=SCORES_DRIFTED,
                passed=passed,
                severity=severity,
                metadata={"batch": batch, "model_version": version},
            )
        )


def failed(triggers: tuple[Trigger, ...]) -> list[tuple[str, str, str]]:
    """The failed checks among the triggers of a training."""
    return [(each.check, each.batch, each.description) for each in triggers if isinstance(each, FailedCheck)]


def test_training_on_features_of_two_sql_versions_is_not_started(with_outcomes, instance, tmp_path: Path):
    book = Book(copy_of(with_outcomes.project, tmp_path / "project"))
    record_check(instance, "features_stable")
    assert isinstance(book.requested(instance), Due)
    sql = book.project.sql(BOOK) / "features.sql"
    written = sql.read_text()
    sql.write_text(written.replace("-- the debt at other lenders", "-- what is owed to other lenders"))
    assert isinstance(book.requested(instance), Due), "other words make no other features"
    sql.write_text(written.replace("AMT_CREDIT as credit", "AMT_CREDIT + 1 as credit"))
    refusal = book.requested(instance)
    assert isinstance(refusal, Refused)
    assert refusal.reason == FeaturesOfOtherSql(BOOK, ("2026-01", "2026-02", "2026-03"))


def run_training(instance: dg.DagsterInstance, book: Book | None = None) -> str:
    """Run a training that, if a book is given, produces a candidate from the inputs of the newest one; its run."""

    @dg.job(tags={TRAINING_TAG: BOOK, PORTFOLIO_TAG: BOOK})
    def train() -> None: ...

    done = train.execute_in_process(instance=instance)
    if book:
        newest = book.registry.newest()
        assert newest
        # Otherwise its files would be written into the folder of the shared project.
        register_bare(book.registry, gated=False, tables=newest.tables, dagster_run=done.run_id)
    return done.run_id


def run_with_status(instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus, **tags: str) -> str:
    """A run of the job with this status."""

    @dg.job(name=job)
    def made() -> None: ...

    run = instance.create_run_for_job(made, status=status, tags={PORTFOLIO_TAG: BOOK, **tags})
    return run.run_id


def test_no_training_is_requested_without_a_failed_check(book, instance):
    record_check(instance, FEATURES_DRIFTED, passed=True)
    assert book.requested(instance) == Waiting(NoFailedCheck(1))


@pytest.mark.parametrize("check", [FEATURES_DRIFTED, SCORES_DRIFTED, PERFORMANCE_HOLDS])
def test_training_without_new_outcomes_is_refused_with_the_reason(book, instance, check):
    record_check(instance, check)
    requested = book.requested(instance)
    assert isinstance(requested, Refused)
    assert requested.reason == TooFewOutcomes(0, 1, 500)
    assert failed(requested.requested_by) == [(check, "2026-03", "Words")]


@pytest.mark.parametrize("check", [FEATURES_DRIFTED, SCORES_DRIFTED, PERFORMANCE_HOLDS])
def test_failed_check_with_new_outcomes_requests_a_training(with_outcomes, instance, check):
    record_check(instance, check)
    requested = with_outcomes.requested(instance)
    assert isinstance(requested, Due)
    assert (requested.job, requested.batch) == ("train", None)
    assert isinstance(requested.reason, TrainingRequested) and requested.reason.new_outcomes == 1400
    assert failed(requested.reason.by) == [(check, "2026-03", "Words")]
    assert with_outcomes.requested(instance) == requested


def test_outcomes_count_as_new_if_the_newest_candidate_did_not_learn_from_them(with_outcomes):
    portfolio, lake = with_outcomes.portfolio, with_outcomes.lake
    learned = with_outcomes.registry.newest().made_from(f"{BOOK}/training_set")
    assert new_outcomes(portfolio, lake, learned) == 1400
    assert new_outcomes(portfolio, lake, None) == 4200


def test_training_with_too_few_new_outcomes_is_refused(with_outcomes, instance, tmp_path):
    book = Book(copy_of(with_outcomes.project, tmp_path / "project"))
    configure(book.project, {"automation": {"min_new_outcomes": 1401}})
    record_check(instance, SCORES_DRIFTED)
    assert book.requested(instance).reason == TooFewOutcomes(1400, 1, 1401)


def test_failed_check_requests_no_second_training(with_outcomes, instance, tmp_path):
    book = Book(copy_of(with_outcomes.project, tmp_path / "project"))
    record_check(instance, SCORES_DRIFTED)
    run_training(instance, book)
    assert book.requested(instance) == Waiting(NoFailedCheck(1))


def test_failed_check_after_a_training_waits_for_the_cool_down(with_outcomes, instance):
    run_training(instance)
    record_check(instance, SCORES_DRIFTED)
    waits = with_outcomes.requested(instance, timedelta(hours=23)).reason
    assert isinstance(waits, CoolDown) and waits.cool_down_hours == 24
    assert waits.hours_since == pytest.approx(23, abs=0.1)
    assert isinstance(with_outcomes.requested(instance, timedelta(hours=25)), Due)


def test_training_without_a_candidate_does_not_answer_the_request(with_outcomes, instance):
    record_check(instance, SCORES_DRIFTED)
    before = with_outcomes.requested(instance)
    run_training(instance)
    again = with_outcomes.requested(instance)
    assert isinstance(before, Due) and isinstance(again, Due)
    assert again.key != before.key, "Dagster starts one run a key"


def test_no_training_is_requested_while_one_is_active(with_outcomes, instance):
    record_check(instance, SCORES_DRIFTED)
    run = run_with_status(instance, "train", dg.DagsterRunStatus.STARTED, **{TRAINING_TAG: BOOK})
    assert with_outcomes.requested(instance) == Waiting(NoFailedCheck(1))
    record_check(instance, FEATURES_DRIFTED)
    waits = with_outcomes.requested(instance)
    assert isinstance(waits, Waiting) and waits.reason == TrainingActive(run)


def test_first_training_waits_for_batches_that_are_being_ingested(with_outcomes, instance, tmp_path):
    """It also waits for the cool-down after a failed one."""
    book = Book(copy_of(with_outcomes.project, tmp_path / "project"))
    uri = book.project.tracking_uri
    mlflow.MlflowClient(uri, registry_uri=uri).delete_registered_model(BOOK)
    assert isinstance(book.requested(instance), Due)
    run = run_with_status(instance, "ingest", dg.DagsterRunStatus.NOT_STARTED, **{"dagster/partition": "2026-04"})
    assert book.requested(instance) == Waiting(BatchesActive(("2026-04",)), (NoChampion(),))
    instance.delete_run(run)
    run_training(instance)
    assert isinstance(book.requested(instance, timedelta(hours=23)).reason, CoolDown)
    assert isinstance(book.requested(instance, timedelta(hours=25)), Due)


def test_refused_candidate_is_not_retrained_on_the_same_data(with_outcomes, instance, tmp_path):
    book = Book(copy_of(with_outcomes.project, tmp_path / "project"))
    assert book.learn() == 2
    book.registry.store.set_alias(CHAMPION, None)
    assert book.requested(instance) == Refused(TooFewOutcomes(0, 2, 500), (NoChampion(),))


def test_refused_candidate_that_is_significantly_better_requests_training_on_new_outcomes(
    with_outcomes, book, instance, tmp_path
):
    better = "AUC +0.0420 (+0.0361 to +0.0479)"

    def refused(of: Book, than: int = 1) -> int:
        """Register a version that the gate refused although it is better."""
        run_training(instance, of)
        number = of.registry.newest().number
        of.registry.log_gate(number, "It was refused by the gate.", passed=False, better_than=than, better=better)
        return number

    waiting = Book(copy_of(book.project, tmp_path / "waiting"))
    number = refused(waiting)
    assert waiting.requested(instance) == Refused(TooFewOutcomes(0, 2, 500), (BetterCandidate(number, 1, better),))
    ready = Book(copy_of(with_outcomes.project, tmp_path / "ready"))
    refused(ready)
    assert isinstance(ready.requested(instance, timedelta(hours=1)).reason, CoolDown)
    requested = ready.requested(instance)
    assert isinstance(requested, Due)
    assert requested.reason == TrainingRequested((BetterCandidate(2, 1, better),), 1400)
    # Repeated, the request is the same, also after a restart. Once another candidate is made, there is none.
    assert Book(ready.project).requested(instance) == requested
    run_training(instance, ready)
    ready.registry.log_gate(ready.registry.newest().number, "It was refused by the gate.", passed=False)
    assert ready.requested(instance) == Waiting(NoFailedCheck(1))
    # Being better than a former champion is no reason.
    refused(ready, than=5)
    assert ready.requested(instance) == Waiting(NoFailedCheck(1))


def test_failed_checks_of_another_champion_are_ignored(with_outcomes, instance):
    record_check(instance, SCORES_DRIFTED, version=2)
    assert with_outcomes.requested(instance) == Waiting(NoFailedCheck(1))


def test_warning_requests_nothing(with_outcomes, instance):
    record_check(instance, SCORES_DRIFTED, severity=dg.AssetCheckSeverity.WARN)
    assert with_outcomes.requested(instance) == Waiting(NoFailedCheck(1))


def test_batch_that_passes_on_reevaluation_requests_nothing(with_outcomes, instance):
    record_check(instance, SCORES_DRIFTED)
    record_check(instance, SCORES_DRIFTED, batch="2026-02")
    record_check(instance, SCORES_DRIFTED, passed=True)
    requested = with_outcomes.requested(instance)
    assert isinstance(requested, Due)
    assert isinstance(requested.reason, TrainingRequested)
    assert failed(requested.reason.by) == [(SCORES_DRIFTED, "2026-02", "Words")]


def test_failure_counts_however_many_evaluations_followed(with_outcomes, instance):
    champion = with_outcomes.registry.champion()
    first, passed = "2026-01", "2026-02"
    report_checks(instance, [(first, False, ERROR), (passed, False, ERROR), (passed, True, ERROR)])
    others = [f"day-{day}" for day in range(60)]
    report_checks(instance, [(batch, False, WARN) for batch in others])
    report_checks(instance, [(batch, False, ERROR) for batch in others])
    report_checks(instance, [(batch, True, ERROR) for batch in others])
    found = failed_checks(instance, with_outcomes.portfolio, RETRAINING_CHECKS, champion)
    assert [failure.batch for failure in found] == [first]
    report_checks(instance, [(first, True, ERROR)])
    assert failed_checks(instance, with_outcomes.portfolio, RETRAINING_CHECKS, champion) == []


def test_evaluations_before_the_champion_was_registered_are_not_read(with_outcomes, instance):
    champion = with_outcomes.registry.champion()
    report_checks(instance, [("2026-01", False, ERROR)])
    later = replace(champion, created=datetime.now(UTC) + timedelta(hours=2))
    assert failed_checks(instance, with_outcomes.portfolio, RETRAINING_CHECKS, later) == []
    # The clock of the registry may be ahead.
    ahead = replace(champion, created=datetime.now(UTC) + timedelta(minutes=30))
    assert len(failed_checks(instance, with_outcomes.portfolio, RETRAINING_CHECKS, ahead)) == 1


def test_check_that_started_first_and_failed_last_counts_as_latest(with_outcomes, instance):
    record_check(instance, SCORES_DRIFTED, meanwhile=lambda: record_check(instance, SCORES_DRIFTED, passed=True))
    found = failed_checks(instance, with_outcomes.portfolio, RETRAINING_CHECKS, with_outcomes.registry.champion())
    assert [failure.batch for failure in found] == ["2026-03"]


def test_restart_neither_loses_nor_repeats_requests(with_outcomes, tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        record_check(instance, SCORES_DRIFTED)
        before = with_outcomes.requested(instance)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert with_outcomes.requested(instance) == before
        run_with_status(instance, "train", dg.DagsterRunStatus.NOT_STARTED, **{TRAINING_TAG: BOOK})
        assert with_outcomes.requested(instance) == Waiting(NoFailedCheck(1))


def test_rollback_is_refused_without_an_earlier_champion(book, instance):
    assert book.rollback(instance) == Waiting(NotWorse(1))
    record_check(instance, NOT_WORSE)
    found = book.rollback(instance)
    assert isinstance(found, Refused) and found.reason == NoPredecessor()
    assert failed(found.requested_by) == [(NOT_WORSE, "2026-03", "Words")]


def test_champion_that_performs_worse_is_rolled_back_once(with_outcomes, instance, tmp_path):
    book = Book(copy_of(with_outcomes.project, tmp_path / "project"))
    book.registry.promote(book.learn(), by="gate", why="a test")
    record_check(instance, NOT_WORSE, version=2)
    record_check(instance, PERFORMANCE_HOLDS, version=2)
    due = book.rollback(instance)
    assert isinstance(due, Due)
    assert due.job == "rollback"
    assert isinstance(due.reason, WorseThanPredecessor)
    assert (due.reason.champion, due.reason.predecessor, due.reason.failed.check) == (2, 1, NOT_WORSE)
    assert book.requested(instance).reason == RollbackFirst()
    run = run_with_status(instance, "rollback", dg.DagsterRunStatus.FAILURE, **{KEY_TAG: due.key})
    assert book.rollback(instance).reason == RollbackStarted(run)
    assert book.requested(instance).reason != RollbackFirst()
    book.registry.promote(1, by="rollback", why="a test")
    assert book.rollback(instance) == Waiting(NotWorse(1))


@pytest.mark.parametrize("by", ["hand", "override"])
def test_version_that_a_person_brings_back_is_rolled_back_only_after_a_later_evaluation(instance, by):
    portfolio, registry = SimpleNamespace(name=BOOK), Memory().registry(BOOK)
    for _ in range(2):
        registry.promote(register_bare(registry), by="gate", why="a test")
    record_check(instance, NOT_WORSE, version=2)
    assert isinstance(rollback(instance, portfolio, registry), Due)
    registry.promote(1, by="rollback", why="a test")
    registry.promote(2, by=by, why="a test")
    assert rollback(instance, portfolio, registry) == Waiting(NotWorse(2))
    record_check(instance, NOT_WORSE, batch="2026-04", version=2)
    due = rollback(instance, portfolio, registry)
    assert isinstance(due, Due) and due.reason.failed.batch == "2026-04"

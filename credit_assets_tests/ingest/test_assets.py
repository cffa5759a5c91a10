"""Raw tables as Dagster assets: the results of an invalid, a tolerable and an unusual delivery."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from credit_assets.automation.pending import batches_to_ingest
from credit_assets.automation.refusals import refusal_text
from credit_assets.automation.runs import RunOutcome, execute, instance_for_commands
from credit_assets.definitions import build
from credit_assets.ingest.file_names import MARKER
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.small_project import (
    BATCHES,
    BOOK,
    FEW_FEATURES,
    configure,
    copy_of,
    deliver_sample,
    inside,
    instance_of,
    make_project,
    run_job,
    table,
    version,
)

pytestmark = pytest.mark.slow

BATCH = BATCHES[0]
TABLES = ("applications", "bureau", "bureau_balance", "previous_applications", "features")


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two batches of a hundred applicants in their raw tables."""
    project = make_project(tmp_path_factory.mktemp("raw") / "project", sql=FEW_FEATURES)
    deliver_sample(project, applicants=300, batches=2)
    for batch in BATCHES[:2]:
        assert run_job(project, "ingest", batch).success
    return project


def redeliver(project: Project, change: Callable[[Path], None]) -> None:
    """Deliver the batch again with changed files."""
    folder = project.root / "again"
    shutil.copytree(Inbox(project.inbox).folder(BOOK, BATCH), folder)
    change(folder)
    Inbox(project.inbox).deliver(folder, BOOK, BATCH)


def text_in_credit_column(folder: Path) -> None:
    """Change the third applicant, who is on the file's fourth line."""
    file = folder / "application_train.csv"
    applications = pd.read_csv(file, dtype=str, keep_default_na=False)
    applications.loc[2, "AMT_CREDIT"] = "much"
    applications.to_csv(file, index=False)


def changed_income(folder: Path) -> None:
    file = folder / "application_train.csv"
    applications = pd.read_csv(file, dtype=str, keep_default_na=False)
    applications.loc[2, "AMT_INCOME_TOTAL"] = "987654.0"
    applications.to_csv(file, index=False)


def text_in_credit_column_and_notes(folder: Path) -> None:
    text_in_credit_column(folder)
    bureau = folder / "bureau.csv"
    bureau.write_text(f"Made by us\n{bureau.read_text()}\nSum of AMT_CREDIT_SUM: 4711\nSum of all: 4711\n")


def versions(project: Project) -> dict[tuple[str, str], int]:
    return {(name, batch): version(project, name, batch) for name in TABLES for batch in BATCHES[:2]}


def materialized(project: Project, outcome: RunOutcome) -> dict[str, dg.AssetMaterialization]:
    with instance_of(project) as instance:
        events = instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    made = [event.dagster_event.step_materialization_data.materialization for event in events if event.dagster_event]
    return {materialization.asset_key.path[-1]: materialization for materialization in made}


@pytest.fixture(scope="module")
def refused(ingested: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, RunOutcome]:
    project = copy_of(ingested, tmp_path_factory.mktemp("refused") / "project")
    redeliver(project, text_in_credit_column)
    return project, run_job(project, "ingest", BATCH)


@pytest.fixture(scope="module")
def tolerated(ingested: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, RunOutcome]:
    project = copy_of(ingested, tmp_path_factory.mktemp("tolerated") / "project")
    notes = {"files": ["bureau"], "notes": ["Sum of *", "Made by us"]}
    configure(project, {"delivery": {"max_bad_share": 0.25}, "tables": {"bureau": notes}})
    redeliver(project, text_in_credit_column_and_notes)
    return project, run_job(project, "ingest", BATCH)


def test_delivery_replaced_during_ingestion_leaves_no_mixture_of_two(ingested: Project, tmp_path: Path):
    project = copy_of(ingested, tmp_path / "project")

    def replaced(line: str) -> None:
        if line.split()[:1] == ["applications"]:
            redeliver(project, changed_income)

    with inside(project), instance_for_commands(project, BOOK) as instance:
        outcome = execute(instance, build(BOOK, project), BOOK, "ingest", BATCH, replaced)
    assert not outcome.success
    assert outcome.errors == (
        f"The delivery of {BATCH} was replaced while it was read: applications was made from files that are no longer "
        "in it. The next run reads all of it.",
    )
    for name in ("bureau", "previous_applications"):
        assert version(project, name, BATCH) == version(ingested, name, BATCH), name
    [due] = batches_to_ingest(Portfolio.load(project, BOOK), Inbox(project.inbox), Lake(project.lake))
    assert due.batch == BATCH


def test_invalid_delivery_fails_the_run_and_names_the_error(refused):
    _, outcome = refused
    assert not outcome.success
    [said] = outcome.errors
    for fact in ("application_train.csv", "applications", "AMT_CREDIT", "row 4", "much"):
        assert fact in said


def test_invalid_delivery_leaves_every_table_unchanged(ingested, refused):
    project, _ = refused
    assert versions(project) == versions(ingested)
    pd.testing.assert_frame_equal(
        table(project, "applications", BATCH), table(ingested, "applications", BATCH), check_exact=True
    )


def test_invalid_rows_are_kept_beside_the_delivery(refused):
    project, _ = refused
    [quarantined] = Inbox(project.inbox).quarantine(BOOK, BATCH).glob("*")
    assert quarantined.name == "applications.parquet"
    assert len(pd.read_parquet(quarantined)) == 1


def test_failure_shows_the_invalid_rows_in_the_ui(refused):
    project, outcome = refused
    with instance_of(project) as instance:
        [failure] = instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    assert failure.dagster_event is not None
    shown = failure.dagster_event.step_failure_data.user_failure_data.metadata
    assert Path(shown["quarantine"].value).is_file()
    [example] = shown["examples"].records
    assert (example.data["row"], example.data["column"]) == ("4", "AMT_CREDIT")


def test_stored_refusals_and_warnings_contain_no_value_of_a_row(refused, tolerated):
    for project, outcome in (refused, tolerated):
        with instance_of(project) as instance:
            stored = [dg.serialize_value(entry) for entry in instance.all_logs(outcome.run_id)]
            run = instance.get_run_by_id(outcome.run_id)
            said = refusal_text(instance, run)
        assert any("AMT_CREDIT" in text for text in stored)
        assert [text for text in stored if "much" in text] == []
        assert "much" not in str(run.tags) + said


def test_small_share_of_invalid_rows_is_quarantined_with_a_warning(tolerated):
    project, outcome = tolerated
    assert outcome.errors == ()
    assert outcome.success
    with instance_of(project) as instance:
        events = instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    checks = [event.dagster_event.asset_check_evaluation_data for event in events if event.dagster_event]
    # The applicant's rows in the child tables are quarantined too.
    applications = dg.AssetCheckKey(dg.AssetKey([BOOK, "applications"]), "no_rows_quarantined")
    [warned] = [check for check in checks if check.asset_check_key == applications]
    assert not warned.passed
    assert warned.severity == dg.AssetCheckSeverity.WARN
    assert "1 of 100 rows" in (warned.description or "")
    assert (warned.description or "").endswith("first AMT_CREDIT: must be a number (1 row)")


def test_delivered_rows_equal_kept_plus_quarantined_rows(tolerated):
    project, outcome = tolerated
    made = materialized(project, outcome)
    counted = {
        name: [made[name].metadata[f"rows_{fate}"].value for fate in ("in", "kept", "quarantined", "superseded")]
        for name in made
        if "rows_in" in made[name].metadata
    }
    assert len(counted) == 8
    assert counted["applications"] == [100, 99, 1, 0]
    for name, (rows_in, kept, quarantined, superseded) in counted.items():
        assert rows_in == kept + quarantined + superseded
        assert kept == len(table(project, name, BATCH)) == made[name].metadata["dagster/row_count"].value


def test_note_lines_are_counted_by_pattern(ingested, tolerated):
    made = materialized(*tolerated)
    assert made["bureau"].metadata["lines_passed_over"].value == {"Made by us": 1, "Sum of *": 2}
    assert "lines_passed_over" not in made["applications"].metadata
    assert made["bureau"].metadata["rows_in"].value == len(table(ingested, "bureau", BATCH))


def test_other_batches_are_unchanged_by_a_tolerated_delivery(ingested, tolerated):
    project, _ = tolerated
    before, after = versions(ingested), versions(project)
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {(name, BATCH) for name in TABLES}


def ingest_outcomes(project: Project) -> RunOutcome:
    """Ingest this table only, like later outcomes."""
    with inside(project), instance_for_commands(project, BOOK) as instance:
        return execute(instance, build(BOOK, project), BOOK, "ingest", BATCH, lambda line: None, ("outcomes",))


def test_partial_outcomes_are_combined_and_the_later_value_wins(ingested, tmp_path):
    project = copy_of(ingested, tmp_path / "project")
    inbox, lake = Inbox(project.inbox), Lake(project.lake)
    first, second = table(project, "applications", BATCH)["SK_ID_CURR"][:2]
    for part, rows in enumerate([[(first, 0)], [(first, 1), (second, 0)]]):
        (project.root / f"part-{part}").mkdir()
        (project.root / f"part-{part}" / "outcomes.csv").write_text(
            "".join(f"{applicant},{target}\n" for applicant, target in [("SK_ID_CURR", "TARGET"), *rows])
        )
        inbox.deliver(project.root / f"part-{part}", BOOK, BATCH)
    [due] = batches_to_ingest(Portfolio.load(project, BOOK), inbox, lake)
    assert due.tables == ("outcomes",)
    (inbox.root / BOOK / ".fingerprints" / f"{BATCH}.json").unlink()
    made = materialized(project, ingest_outcomes(project))
    assert list(made) == ["outcomes"]
    told = {fate: made["outcomes"].metadata[f"rows_{fate}"].value for fate in ("in", "kept", "superseded")}
    assert told == {"in": 3, "kept": 2, "superseded": 1}
    assert table(project, "outcomes", BATCH)[["SK_ID_CURR", "TARGET"]].values.tolist() == [[first, 1], [second, 0]]
    # The rows ingested then are counted without reading them again.
    [look] = [look for look in inbox.snapshots(BOOK) if look.batch == BATCH]
    sources = lake.batches(f"{BOOK}/outcomes")[BATCH].provenance.sources
    assert set(sources) == {"outcomes.csv", "outcomes.2.csv"}
    assert inbox.changed_files(BOOK, look, sources, read=False) == set()


def test_applicants_of_another_batch_are_reported(ingested, tmp_path):
    project = copy_of(ingested, tmp_path / "project")
    Inbox(project.inbox).deliver(Inbox(project.inbox).folder(BOOK, BATCH), BOOK, "2026-09")
    outcome = run_job(project, "ingest", "2026-09")
    assert outcome.success
    with instance_of(project) as instance:
        events = instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    checks = [event.dagster_event.asset_check_evaluation_data for event in events if event.dagster_event]
    [found] = [check for check in checks if check.check_name == "keys_are_new"]
    applicants = len(table(project, "applications", BATCH))
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.description.startswith(f"{applicants} of {applicants} applicants are in other batches too")
    assert f"{BATCH} ({applicants})" in found.description


def test_outcomes_of_unknown_applicants_are_refused(ingested, tmp_path):
    project = copy_of(ingested, tmp_path / "project")
    (project.root / "later").mkdir()
    (project.root / "later" / "outcomes.csv").write_text("SK_ID_CURR,TARGET\n77,1\n")
    Inbox(project.inbox).deliver(project.root / "later", BOOK, BATCH)
    outcome = ingest_outcomes(project)
    assert "row 2, column SK_ID_CURR holds '77'" in outcome.errors[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "bureau.csv").unlink(), "Table bureau: no file bureau (.csv.gz, .csv, .csv.zip"),
        (lambda folder: (folder / "application_train.csv").write_text(""), "application_train.csv"),
    ],
    ids=["missing file", "empty file"],
)
def test_unreadable_delivery_fails_before_anything_is_written(ingested, tmp_path, change, said):
    project = copy_of(ingested, tmp_path / "project")
    redeliver(project, change)
    outcome = run_job(project, "ingest", BATCH)
    assert not outcome.success
    assert said in outcome.errors[0]
    assert versions(project) == versions(ingested)


def test_generated_deliveries_are_recognised_by_the_generator_s_marker(ingested):
    assert Lake(ingested.lake).batches(f"{BOOK}/bureau")[BATCH].provenance.synthetic


def test_delivery_without_the_marker_is_not_called_synthetic(ingested, tmp_path):
    project = copy_of(ingested, tmp_path / "project")
    redeliver(project, lambda folder: (folder / MARKER).unlink())
    outcome = run_job(project, "ingest", BATCH)
    assert outcome.success
    assert not materialized(project, outcome)["applications"].metadata["synthetic"].value
    lake = Lake(project.lake)
    marks = {name: lake.batches(f"{BOOK}/{name}")[BATCH].provenance.synthetic for name in TABLES}
    assert marks == dict.fromkeys(TABLES, False)

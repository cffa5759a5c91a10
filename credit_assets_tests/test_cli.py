"""The command line: the output of each command, and its error messages."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import typer
import yaml
from filelock import FileLock
from typer.testing import CliRunner, Result

from credit_assets.application.status import Status
from credit_assets.book.book import Book
from credit_assets.cli import app
from credit_assets.cli.deliveries import _skipped
from credit_assets.cli.runs import deliver_own
from credit_assets.cli.terminal import stop_if_failed
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.csv_rows import EMPTY, HEADER
from credit_assets.ingest.inbox import Inbox
from credit_assets.registry.registry import Registry
from credit_assets.settings.project import Project
from credit_assets.synthetic.lender import generate
from credit_assets_tests.bare_versions import register_same_model
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.ingest.test_split_by_date import CONFIG, CONTRACTS
from credit_assets_tests.small_project import (
    BATCHES,
    BOOK,
    FEW_FEATURES,
    configure,
    inside,
    make_project,
    start,
    table,
)

OF_THE_BOOK = ("--portfolio", BOOK)


def run_command(project: Project, *arguments: str) -> Result:
    """Run the command in the project's folder."""
    with inside(project), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        return CliRunner().invoke(app, arguments)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project", sql=FEW_FEATURES)


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One batch of twenty synthetic applicants."""
    [folder] = generate(tmp_path_factory.mktemp("sample"), 20, unlabelled=0)
    return folder


def test_sample_writes_one_folder_per_batch_and_prints_its_path(tmp_path):
    drift = ("--scenario", "2026-02=income_inflation")
    done = CliRunner().invoke(app, ["sample", str(tmp_path / "out"), "--applicants", "40", "--batches", "2", *drift])
    assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["2026-01", "2026-02", "outcomes"]
    assert str(tmp_path / "out" / "2026-02") in done.output.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--first-batch", "spring"), "first_batch must be a month such as 2026-01, not 'spring'"),
        (("--batches", "0"), "cannot make 0 batches"),
        (("--scenario", "2026-02"), "--scenario must be BATCH=NAME, not 2026-02"),
        (("--scenario", "2026-02=war"), "war"),
    ],
)
def test_sample_reports_why_it_cannot_be_made(tmp_path, arguments, said):
    done = CliRunner().invoke(app, ["sample", str(tmp_path / "out"), "--applicants", "40", *arguments])
    assert done.exit_code == 1
    assert said in done.output
    assert not (tmp_path / "out").exists()


def test_delivery_is_placed_replaced_and_recognised(project, delivery, tmp_path):
    deliver = ("deliver", str(delivery), *OF_THE_BOOK, "--batch", "2026-01")
    assert "home_credit 2026-01 is delivered: 8 files in" in run_command(project, *deliver).output
    assert "home_credit 2026-01 was already delivered, with the same files" in run_command(project, *deliver).output
    again = tmp_path / "again"
    shutil.copytree(delivery, again)
    (again / "bureau.csv").write_text((again / "bureau.csv").read_text() + "\n")
    replaced = run_command(project, "deliver", str(again), *OF_THE_BOOK, "--batch", "2026-01")
    assert "home_credit 2026-01 has replaced the earlier delivery" in replaced.output
    assert sorted(path.name for path in (project.inbox / BOOK / "2026-01").iterdir()) == sorted(
        path.name for path in delivery.iterdir()
    )


@pytest.mark.parametrize(
    ("folder", "portfolio", "batch", "said"),
    [
        ("", BOOK, "../elsewhere", "'../elsewhere' cannot be a batch's name"),
        ("", BOOK, "", "'' cannot be a batch's name"),
        ("nowhere", BOOK, "2026-01", "There is no file or folder"),
        ("", "lending_clubs", "2026-01", "No portfolio 'lending_clubs'"),
        ("SYNTHETIC.md", BOOK, "2026-01", "SYNTHETIC.md is not a .csv.gz, .csv, .csv.zip, .parquet file"),
    ],
)
def test_invalid_delivery_is_refused_in_one_line(project, delivery, folder, portfolio, batch, said):
    done = run_command(project, "deliver", str(delivery / folder), "--portfolio", portfolio, "--batch", batch)
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output
    assert not list(project.data.rglob("*.csv"))


def test_empty_folder_is_refused(project, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run_command(project, "deliver", str(tmp_path / "empty"), *OF_THE_BOOK, "--batch", "2026-01")
    assert done.exit_code == 1
    assert "contains no .csv.gz, .csv, .csv.zip, .parquet file" in done.output


def test_delivery_that_a_run_would_refuse_stays_out_of_the_inbox(project, delivery):
    done = run_command(project, "deliver", str(delivery / "bureau.csv"), *OF_THE_BOOK, "--batch", "2026-01")
    assert done.exit_code == 1
    assert "a run would refuse these files.\nTable applications: no file application_train" in done.output
    assert Inbox(project.inbox).batches(BOOK) == []


LOANS = "Notes offered by us (see below)\nid,issue_d\n1,Dec-2010\n2,Jan-2011\n3,Mar-2011\n\nTotal: 3\nTotal: 4\n"
OF_LOANS = ("--portfolio", "loans")


@pytest.fixture
def dated(project: Project) -> Project:
    """A book of one table, whose files have notes and are split by quarter."""
    config = yaml.safe_load(CONFIG) | {"delivery": {"every": "quarter"}}
    config["tables"]["applications"]["notes"] = ["Notes offered by *", "Total: *"]
    project.config("loans").write_text(yaml.safe_dump(config))
    project.config("loans").with_suffix(".py").write_text(CONTRACTS)
    return project


def test_single_file_is_delivered_unchanged(dated, tmp_path):
    (tmp_path / "download").mkdir()
    delivered = tmp_path / "download" / "LoanStats3a.csv"
    delivered.write_text(LOANS)
    (tmp_path / "download" / "README.csv").write_text("no data")
    done = run_command(dated, "deliver", str(delivered), *OF_LOANS, "--batch", "2026-01")
    assert "loans 2026-01 is delivered: 1 file in" in done.output
    [file] = (dated.inbox / "loans" / "2026-01").iterdir()
    assert (file.name, file.read_bytes()) == ("LoanStats3a.csv", LOANS.encode())
    beside = run_command(dated, "deliver", str(tmp_path / "download"), *OF_LOANS, "--batch", "2026-02")
    assert "Ignored, because they belong to no table: README.csv" in beside.output


@pytest.mark.parametrize(
    ("reason", "lines", "message"),
    [
        (EMPTY, 1, "Skipped 1 line: rows with no values"),
        (HEADER, 2, "Skipped 2 lines: repeated headers"),
        ("Total: *", 2, "Skipped 2 lines that match the pattern of notes 'Total: *'"),
    ],
)
def test_skipped_lines_have_their_reason(reason, lines, message):
    assert _skipped(reason, lines) == message


def test_large_file_is_split_into_batches_and_recognised(dated, tmp_path):
    with zipfile.ZipFile(tmp_path / "LoanStats3a.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LoanStats3a.csv", LOANS)
    (tmp_path / "LoanStats3a.csv").write_text(LOANS)
    by_date = (*OF_LOANS, "--split-by", "issue_d")
    done = run_command(dated, "deliver", str(tmp_path / "LoanStats3a.csv.zip"), *by_date)
    assert done.output.splitlines() == [
        "loans 2010-Q4 is delivered: 1 row",
        "loans 2011-Q1 is delivered: 2 rows",
        "Skipped 1 line that matches the pattern of notes 'Notes offered by *'",
        "Skipped 2 lines that match the pattern of notes 'Total: *'",
    ]
    again = run_command(dated, "deliver", str(tmp_path / "LoanStats3a.csv"), *by_date)
    assert "2010-Q4 was already delivered, with the same files: 1 row" in again.output
    assert "2011-Q1 was already delivered, with the same files: 2 rows" in again.output
    [file] = (dated.inbox / "loans" / "2011-Q1").iterdir()
    assert gzip.decompress(file.read_bytes()).decode() == "id,issue_d\n2,Jan-2011\n3,Mar-2011\n"
    assert not list(dated.inbox.rglob(".cutting"))


def test_file_with_a_row_without_a_date_is_not_delivered_at_all(dated, tmp_path):
    (tmp_path / "LoanStats3a.csv").write_text(LOANS.replace("Mar-2011", "March"))
    done = run_command(dated, "deliver", str(tmp_path / "LoanStats3a.csv"), *OF_LOANS, "--split-by", "issue_d")
    assert done.exit_code == 1
    assert "LoanStats3a.csv, row 5, column issue_d: 'March' is not a date" in done.output
    assert Inbox(dated.inbox).batches("loans") == []


def test_book_may_configure_the_column_for_splitting(dated, tmp_path):
    config = yaml.safe_load(dated.config("loans").read_text())
    dated.config("loans").write_text(yaml.safe_dump(config | {"delivery": {"split_by": "issue_d"}}))
    (tmp_path / "LoanStats3a.csv").write_text(LOANS)
    delivered = str(tmp_path / "LoanStats3a.csv")
    assert "2010-Q4 is delivered" in run_command(dated, "deliver", delivered, *OF_LOANS).output
    assert "2011 is delivered: 1 file" in run_command(dated, "deliver", delivered, *OF_LOANS, "--batch", "2011").output


@pytest.mark.parametrize("options", [(), ("--batch", "2026-01", "--split-by", "issue_d")])
def test_delivery_is_either_one_batch_or_split_into_several(project, delivery, options):
    done = run_command(project, "deliver", str(delivery), *OF_THE_BOOK, *options)
    assert (done.exit_code, Inbox(project.inbox).batches(BOOK)) == (1, [])
    assert "Give either --batch NAME, or --split-by COLUMN" in done.output


@pytest.mark.parametrize("command", ["run", "status"])
def test_unknown_portfolio_is_refused_with_the_known_ones(project, command):
    done = run_command(project, command, "--portfolio", "mortgages")
    assert done.exit_code == 1
    assert f"Known portfolios: {BOOK}." in done.output


@pytest.mark.parametrize(
    "arguments",
    [("run",), ("status",), ("lineage", "x"), ("deliver", ".", "--batch", "1"), ("demo",)],
    ids=lambda a: a[0],
)
def test_every_command_outside_a_project_explains_what_a_project_is(tmp_path, arguments):
    done = run_command(Project(tmp_path), *arguments, *OF_THE_BOOK)
    assert done.exit_code == 1
    assert "No Credit Assets project at" in done.output
    assert list(tmp_path.iterdir()) == []


def test_run_reports_that_nothing_is_due(short_line, tmp_path):
    done = run_command(short_line.copy(tmp_path / "project"), "run", *OF_THE_BOOK)
    assert (done.exit_code, done.output) == (0, "Nothing is due.\n")


@pytest.mark.slow
def test_failing_run_reports_its_error_and_exits_with_one(project, delivery, tmp_path):
    folder = tmp_path / "bad"
    shutil.copytree(delivery, folder)
    applications = pd.read_csv(folder / "application_train.csv", dtype=str, keep_default_na=False)
    applications.loc[0, "AMT_CREDIT"] = "much"
    applications.to_csv(folder / "application_train.csv", index=False)
    assert run_command(project, "deliver", str(folder), *OF_THE_BOOK, "--batch", "2026-01").exit_code == 0
    done = run_command(project, "run", *OF_THE_BOOK)
    assert done.exit_code == 1
    assert "ingest 2026-01: delivered, not ingested yet" in done.output
    assert "ingest 2026-01 failed: " in done.output
    for fact in ("application_train.csv", "AMT_CREDIT", "much"):
        assert fact in done.output.split("failed: ")[-1]
    assert "Traceback" not in done.output


def test_run_waits_for_another_command(project):
    (project.data / "dagster").mkdir(parents=True)
    with FileLock(project.data / "dagster" / f"{BOOK}.lock"):
        done = run_command(project, "run", *OF_THE_BOOK)
    assert done.exit_code == 1
    assert f"Another credit-assets command is running on {BOOK}" in done.output


def test_status_shows_batches_champion_and_checks(short_line):
    said = run_command(short_line.project, "status", *OF_THE_BOOK).output
    assert "SYNTHETIC DATA" in said
    scores = table(short_line.project, "scores", BATCHES[0])
    row = next(text for text in said.splitlines() if BATCHES[0] in text)
    assert f"{(scores['decision'] == 'approve').mean():.1%}" in row
    assert f"{len(scores):,}" in row
    assert "Champion: version 1, AUC 0." in said
    assert "Due:" not in said


def test_json_status_prints_json_only(short_line):
    done = run_command(short_line.project, "status", *OF_THE_BOOK, "--json")
    found = Status.model_validate(json.loads(done.stdout))
    assert found.portfolio == BOOK
    assert [batch.batch for batch in found.batches] == list(BATCHES)


def test_status_of_an_empty_project_has_no_champion(project):
    done = run_command(project, "status", *OF_THE_BOOK)
    assert done.exit_code == 0
    assert "No champion yet." in done.output


def test_status_is_shown_without_complete_evidence(short_line, tmp_path):
    """A champion that was promoted by hand before its evaluation has no figures."""
    project = short_line.copy(tmp_path / "project")
    registry = Registry.of(project, BOOK)
    number = register_same_model(registry, 1)
    registry.promote(number, by="hand", why="a test")
    done = run_command(project, "status", *OF_THE_BOOK)
    assert done.exit_code == 0
    assert "Champion: version 2, not evaluated" in done.output


def test_rollback_without_an_earlier_champion_is_refused_with_a_message(short_line, tmp_path):
    done = run_command(short_line.copy(tmp_path / "project"), "rollback", *OF_THE_BOOK)
    assert done.exit_code == 1
    assert "has no predecessor" in done.output


def test_version_that_never_passed_the_gate_is_promoted_by_hand_with_four_eyes(short_line, tmp_path):
    project = short_line.copy(tmp_path / "project")
    configure(project, {"promotion": {"approvals": 2}})
    registry = Registry.of(project, BOOK)
    number = register_same_model(registry, 1)
    refused = run_command(project, "rollback", *OF_THE_BOOK, "--to", "2")
    assert "credit-assets promote --portfolio home_credit --version 2 --why" in refused.output
    asked = ("promote", *OF_THE_BOOK, "--version", "2")
    assert run_command(project, *asked, "--by", "Ann").exit_code == 2
    assert "the reason (why)" in run_command(project, *asked, "--why", " ").output
    first = run_command(project, *asked, "--why", "the test was odd", "--by", "Ann")
    assert first.exit_code == 0
    assert "Version 2 is approved by Ann. It is promoted once one other person approves too" in first.output
    assert not registry.has_reference(registry.get(number))
    second = run_command(project, *asked, "--why", "looked at it", "--by", "Bob")
    assert second.exit_code == 0, second.output
    assert "Promoted by hand. Ann: the test was odd; Bob: looked at it." in second.output
    assert [(event.version, event.by) for event in registry.history()] == [(1, "gate"), (2, "override")]
    assert registry.has_reference(registry.get(number))
    assert list(table(project, "operations/champion_history")["by"]) == ["gate", "override"]
    descriptions = table(project, "operations/timeline")["words"]
    assert any("became champion, replacing version 1, by override of the gate" in words for words in descriptions)
    assert "has no version 9" in run_command(project, *asked[:-1], "9", "--why", "so").output


def test_outcomes_that_join_a_delivery_are_reported(short_line, tmp_path):
    project = short_line.copy(tmp_path / "project")
    outcomes = project.root / "sample" / "outcomes" / BATCHES[-1]
    done = run_command(project, "deliver", str(outcomes), *OF_THE_BOOK, "--batch", BATCHES[-1])
    assert f"{BOOK} {BATCHES[-1]} has received these outcomes" in done.output


def test_lineage_of_a_feature_ends_at_raw_columns(project):
    done = run_command(project, "lineage", "income", *OF_THE_BOOK)
    assert done.output.splitlines() == [
        "income: the income stated in the application",
        "  applications.AMT_INCOME_TOTAL",
    ]


def test_lineage_of_a_raw_column_names_its_features(tmp_path):
    project = make_project(tmp_path / "project")
    said = run_command(project, "lineage", "bureau.AMT_CREDIT_SUM_DEBT", *OF_THE_BOOK).output.splitlines()
    assert len(said) > 3
    assert all(": " in text for text in said)


def test_unknown_column_is_refused(project):
    done = run_command(project, "lineage", "applications.CODE_GENDER", *OF_THE_BOOK)
    assert done.exit_code == 1
    assert "applications.CODE_GENDER is neither a feature of home_credit nor a raw column" in done.output


def test_demo_refuses_foreign_deliveries(project):
    folder = project.inbox / BOOK / "2026-02"
    folder.mkdir(parents=True)
    (folder / "bureau.csv").write_text("a lender's own")
    told = run_command(project, "demo")
    assert told.exit_code == 1
    assert "deliveries that are not synthetic: 2026-02" in told.output
    assert (folder / "bureau.csv").read_text() == "a lender's own"


def test_demo_of_another_book_requires_its_files_and_names_their_source(project, monkeypatch, tmp_path):
    other = yaml.safe_load(project.config(BOOK).read_text()) | {"name": "other", "source": "the other lender's site"}
    project.config("other").write_text(yaml.safe_dump(other))
    monkeypatch.setenv("CREDIT_ASSETS_REAL_DATA", str(tmp_path))
    done = run_command(project, "demo", "--portfolio", "other")
    assert done.exit_code == 1
    assert "Their source: the other lender's site. Pass them with --files" in done.output


def test_installed_command_lists_commands_and_refuses_unknown_ones(project):
    with start(project, "--help") as helped:
        said = helped.communicate()[0]
    assert helped.returncode == 0
    commands = (
        "sample",
        "deliver",
        "run",
        "rollback",
        "promote",
        "status",
        "backup",
        "restore",
        "alerts",
        "lineage",
        "demo",
    )
    assert all(name in said for name in commands)
    with start(project, "deliver", "nowhere", *OF_THE_BOOK, "--batch", "2026-01") as refused:
        said = refused.communicate()[0]
    assert refused.returncode == 1
    assert said == f"There is no file or folder {project.root}/nowhere to deliver.\n"


def test_message_is_one_line_of_any_length_and_keeps_its_brackets(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    folder = tmp_path / "a folder [of mine] with a name that is longer than the terminal is wide"
    folder.mkdir()
    monkeypatch.setenv("CREDIT_ASSETS_HOME", str(folder))
    done = CliRunner().invoke(app, ["status", *OF_THE_BOOK])
    assert done.exit_code == 1
    [line] = done.output.splitlines()
    assert line.startswith(f"No Credit Assets project at {folder} or above it")


def test_demo_with_own_files_refuses_what_deliver_refuses(tmp_path: Path) -> None:
    of_this_repository = Book.load(Project(PROJECT), "uci_credit_card")
    book = Book(Project(tmp_path / "project"), of_this_repository.portfolio, of_this_repository.contracts)
    source = tmp_path / "default_of_credit_card_clients.csv"
    source.write_text("ID,LIMIT_BAL\n1,2\n")
    with pytest.raises(BadDelivery, match=r"a run would refuse these files(.|\n)*lacks the column SEX"):
        deliver_own(book, source)
    assert Inbox(book.project.inbox).batches(book.name) == []


def test_refusal_by_the_gate_is_no_failure_and_has_its_own_exit_code(capsys):
    from credit_assets.automation.runs import RunOutcome

    refused = RunOutcome("1", "train", None, False, 1.0, ("promotion_gate.stability: PSI 4 is above 1.",), {}, True)
    with pytest.raises(typer.Exit) as ended:
        stop_if_failed([refused])
    said = capsys.readouterr().out
    assert ended.value.exit_code == 3 and "not promoted" in said and "stability" in said and "train failed" not in said
    with pytest.raises(typer.Exit) as failed:
        stop_if_failed([refused, RunOutcome("2", "score", "2026-01", False, 1.0, ("no space",))])
    assert failed.value.exit_code == 1

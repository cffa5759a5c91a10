"""The commands `new` and `check`: their output and exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from credit_assets.cli import app
from credit_assets.settings.project import Project
from credit_assets_tests.onboarding.lender import loans, write

pytestmark = pytest.mark.slow


def run_command(project: Project, *arguments: str) -> Result:
    """The command within the project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        patch.setenv("DAGSTER_HOME", str(project.root))
        patch.delenv("CREDIT_ASSETS_HOME", raising=False)
        return CliRunner().invoke(app, arguments)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Loans with dates, one column with an abbreviated name, and a file that cannot be joined to them."""
    columns = loans() | {"dti": [0.1, 0.2, 0.3, 0.4, 0.5] * 8, "issue_d": ["Jan-2020", "Feb-2020"] * 20}
    dated = write(tmp_path / "loans.csv", columns)
    return [str(dated), str(write(tmp_path / "weather.csv", {"day": ["sun", "rain"]}))]


def test_new_lists_written_files_guesses_to_confirm_and_next_steps(project, files):
    done = run_command(project, "new", "book", *files)
    assert done.exit_code == 0
    for line in (
        "Wrote configs/book.yaml",
        "Wrote configs/book.py",
        "Wrote sql/book/features.sql",
        "Added book to workspace.yaml; 4 features",
        "NOT used: weather.csv (rows cannot be joined to an applicant)",
        "  configs/book.yaml:8: entity_key: loan_id is a guess (unique, never empty and named like a key)",
        "  credit-assets check book",
        f"  credit-assets deliver {files[0]} --portfolio book --split-by issue_d",
        "  credit-assets run --portfolio book",
    ):
        assert line in done.output.splitlines(), done.output


def test_new_reports_an_error_in_one_line(project, files):
    assert run_command(project, "new", "book", *files).exit_code == 0
    again = run_command(project, "new", "book", *files)
    assert again.exit_code == 1 and "already exist, and no file is overwritten" in again.output
    other = run_command(project, "new", "other", files[1])
    assert other.exit_code == 1 and other.output.startswith("No column with the outcome of a loan was found")


def test_check_fails_before_the_texts_are_written_and_counts_guesses_and_errors(project, files):
    made = run_command(project, "new", "book", *files)
    assert "To write: 1 text that a declined applicant may be given as a reason:\n  sql/" in made.output
    drafted = run_command(project, "check", "book")
    assert drafted.exit_code == 1
    written = (
        "the text of dti is marked as a guess (drafted from the name dti; say what it means). Write what a declined"
    )
    assert sum(written in line for line in drafted.output.splitlines()) == 1
    last = drafted.output.splitlines()[-1]
    assert last.startswith("configs/book.yaml, sql/book: 4 features, not ready: write 1 text")
    assert re.search(r"; \d guesses are not confirmed: ", last)
    sql = project.sql("book") / "features.sql"
    sql.write_text(sql.read_text().replace(" -- CONFIRM: drafted from the name dti; say what it means", ""))
    good = run_command(project, "check", "book")
    assert good.exit_code == 0
    last = good.output.splitlines()[-1]
    assert re.match(r"configs/book.yaml, sql/book: 4 features, ready; \d guesses are not confirmed: ", last)
    config = project.config("book")
    config.write_text(config.read_text().replace("entity_key: loan_id", "entity_key: nobody"))
    bad = run_command(project, "check", "book")
    assert bad.exit_code == 1
    assert bad.output.startswith("configs/book.yaml:8: entity_key: table applications has no column nobody.\n")
    assert bad.output.splitlines()[-1] == "book cannot run: fix 1 error."


def test_printed_command_is_one_line_and_can_be_pasted(project, tmp_path):
    path = write(tmp_path / "a name of blanks, brackets [1] and the width of a terminal.csv", loans() | ISSUED)
    command = f"  credit-assets deliver '{path}' --portfolio book --split-by 'issue date'"
    assert command in run_command(project, "new", "book", str(path)).output.splitlines()


ISSUED = {"issue date": ["2019-05-31", "2019-06-30"] * 20}


def deliveries(done: Result) -> list[str]:
    return [line.strip() for line in done.output.splitlines() if line.startswith("  credit-assets deliver")]


def test_files_named_by_date_are_delivered_as_one_batch_each(project, tmp_path):
    tapes = [write(tmp_path / f"loans_2024_{month}.csv", renamed(month)) for month in ("02", "01")]
    done = run_command(project, "new", "book", *map(str, tapes))
    assert deliveries(done) == [
        f"credit-assets deliver {tapes[1]} --portfolio book --batch 2024-01",
        f"credit-assets deliver {tapes[0]} --portfolio book --batch 2024-02",
    ]
    for line in deliveries(done):
        assert run_command(project, *line.split()[1:]).exit_code == 0


def test_files_of_several_tables_are_delivered_as_their_folder_if_it_holds_nothing_else(project, tmp_path):
    folder = tmp_path / "files of may"
    folder.mkdir()
    payments = {"loan_id": loans()["loan_id"], "instalment": [10 + n % 7 for n in range(40)]}
    files = [str(write(folder / "loans.csv", loans())), str(write(folder / "payments.csv", payments))]
    assert deliveries(run_command(project, "new", "book", *files)) == [
        f"credit-assets deliver '{folder}' --portfolio book --batch 2026-01"
    ]
    (folder / "more.csv").write_text("a\n1\n")
    assert deliveries(run_command(project, "new", "other", *files)) == [
        "credit-assets deliver FOLDER_OF_THESE_FILES --portfolio other --batch 2026-01 "
        "# put these files, and no others, into one folder"
    ]


def renamed(month: str) -> dict[str, list[object]]:
    """The loans of one month."""
    return loans() | {"loan_id": [f"{month}-{n}" for n in range(40)]}

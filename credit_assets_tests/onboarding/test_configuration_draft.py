"""The drafted configuration: tables, keys, dates, and settings for the size of the book."""

from __future__ import annotations

import itertools

import pytest

from credit_assets.book.book import Book
from credit_assets.ingest.csv_rows import inspect_csv
from credit_assets.onboarding.new import new
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.onboarding.drafts import config, marks, of_features, sql
from credit_assets_tests.onboarding.lender import loans, write


def test_monthly_file_names_give_a_pattern_that_matches_the_next_month(project, tmp_path):
    months = [
        write(tmp_path / f"loans_2024_0{n}.csv", loans() | {"loan_id": [f"{n}-{k}" for k in range(40)]}) for n in (1, 2)
    ]
    payments = write(tmp_path / "payments_2024_02.csv", {"loan_id": [f"2-{k}" for k in range(40)], "sum": [1, 2] * 20})
    done = new(project, "book", [*months, payments])
    tables = Book.load(project, "book").portfolio.tables
    assert {name: table.files for name, table in tables.items() if name != "outcomes"} == {
        "applications": ["loans_20*"],
        "payments": ["payments_20*"],
    }
    assert sum("so that later deliveries match" in mark for mark in marks(done)) == 2


def test_draft_asks_for_protected_and_late_columns_if_none_were_recognised(project, drafted):
    asked = [mark for mark in marks(drafted()) if "?" in mark]
    assert len(asked) == 2
    assert "protected: {} is a guess (which columns are sex" in asked[0]
    assert "post_decision: {} is a guess (which columns are known only after the decision?" in asked[1]


def test_book_without_a_key_numbers_its_rows(project, drafted):
    drafted(loan_id=None)
    book = Book.load(project, "book")
    assert (book.portfolio.entity_key, book.portfolio.tables["applications"].numbered) == (
        "application_id",
        "application_id",
    )


def test_small_book_gets_settings_for_its_size_and_the_usual_gate(project, drafted):
    drafted()
    book = Book.load(project, "book")
    # The number of folds depends on the outcomes that training finds.
    assert (book.portfolio.training.cv_folds, book.portfolio.training.holdout_share) == (None, 0.4)
    assert (book.portfolio.performance.min_outcomes, book.portfolio.automation.min_new_outcomes) == (100, 100)
    assert "10 are too few to evaluate a model" in config(project)
    assert book.portfolio.evaluation == Portfolio.load(Project(PROJECT), "home_credit").evaluation


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "share"), [(40, 0.05), (160, 0.02), (1000, 0.003), (2999, 0.002), (3000, 0.001)])
def test_small_batch_may_have_a_few_invalid_rows(project, drafted, rows, share):
    drafted(
        **{name: list(itertools.islice(itertools.cycle(values), rows)) for name, values in loans().items()}
        | {"loan_id": [f"L{n:04d}" for n in range(rows)]}
    )
    assert Book.load(project, "book").portfolio.delivery.max_bad_share == share
    assert ("may be bad and are quarantined" in config(project)) == (share > 0.001)


def test_batches_split_by_date_count_as_small(project, drafted):
    drafted(issue_d=[f"{2016 + n // 4}-{1 + 3 * (n % 4):02d}-15" for n in range(40)])
    assert "# A batch has about 1 rows" in config(project)


def test_excel_days_and_foreign_months_are_dates_to_confirm(project, drafted):
    done = drafted(
        application_date=[45000, 45031.5] * 20,
        opened=["12. März 2019", "1. Mai 2018"] * 20,
    )
    assert Book.load(project, "book").portfolio.delivery.date_formats == {"application_date": ["Excel 1900"]}
    [line] = [line for line in config(project).splitlines() if line.startswith("delivery:")]
    assert "CONFIRM" in line and "45000 is read as 2023-03-15, which Excel stores as this number" in line
    assert any("the month names are taken to be German" in mark for mark in marks(done))
    assert of_features(project, "SELECT DISTINCT days_since_opened FROM features ORDER BY 1") == [(1464,), (1810,)]


def test_order_of_day_and_month_is_written_for_splitting_and_to_confirm_if_ambiguous(project, drafted):
    done = drafted(
        application_date=["04/05/2019", "06/07/2018"] * 20,
        opened=["05/14/55", "05/06/99", "01/02/05", "1/1/70", "3/4/88"] * 8,
    )
    assert Book.load(project, "book").portfolio.delivery.date_formats == {"application_date": ["%m/%d/%Y"]}
    [line] = [line for line in config(project).splitlines() if line.startswith("delivery:")]
    assert "CONFIRM" in line and "'04/05/2019' is read as 2019-04-05, which is month first" in line
    assert any("opened: '05/14/55' is read as 1955-05-14" in mark for mark in marks(done))
    assert "interval 100 year" in sql(project)
    contract = project.config("book").with_suffix(".py").read_text()
    assert 'str_matches="( *([0-9]{1,2}/[0-9]{1,2}/[0-9]{2}) *)$"' in contract


def test_dates_that_cannot_split_deliveries_are_not_proposed(drafted):
    assert drafted(application_date=["9999-12-31", "2018-01-31"] * 20).book.decided is None


def test_lines_that_are_no_rows_become_note_patterns_that_match_the_next_file(project, tmp_path):
    path = write(tmp_path / "loans.csv", loans())
    path.write_text(f"Loan tape as of 31 Dec 2025, internal\n\n{path.read_text()}\nTotal loans: 40\n")
    done = new(project, "book", [path])
    notes = Book.load(project, "book").portfolio.tables["applications"].notes
    assert notes == ["Loan tape as of *, internal", "Total loans: *"]
    assert any("lines like the `notes` are not rows" in mark for mark in marks(done))
    path.write_text(path.read_text().replace("31 Dec 2025", "28 Feb 2026").replace("Total loans: 40", "Total loans: 7"))
    source = inspect_csv(path, "loans.csv", tmp_path / "plain", notes)
    assert (source.rows, source.columns) == (40, list(loans()))

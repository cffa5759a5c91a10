"""Files from spreadsheets and exports: drafted, then read as a delivery with the drafted contract."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from credit_assets.book.book import Book
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import Ingested, ingest
from credit_assets.lake.connections import connect
from credit_assets.lake.tables import Lake
from credit_assets.onboarding.files import BookError
from credit_assets.onboarding.new import Drafted, new
from credit_assets.onboarding.sheets import sheet_of
from credit_assets.settings.project import Project
from credit_assets_tests.onboarding.drafts import config
from credit_assets_tests.onboarding.lender import loans

pytestmark = pytest.mark.slow


def lines(columns: Mapping[str, Sequence[Any]], separator: str = ",") -> list[str]:
    text = io.StringIO()
    rows = csv.writer(text, delimiter=separator, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().splitlines()


def drafted(project: Project, tmp_path: Path, text: Sequence[str] | str, name: str = "loans.csv") -> Drafted:
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else "\n".join([*text, ""]), encoding="utf-8", newline="")
    return new(project, "book", [path])


def delivered(project: Project, tmp_path: Path, name: str = "loans.csv", share: float = 0.0) -> Ingested:
    """The file as a run reads it."""
    book = Book.load(project, "book")
    with connect() as con:
        return ingest(
            con,
            Lake(tmp_path / "lake"),
            [tmp_path / name],
            Target("book/applications", book.contracts["applications"], batch="1"),
            quarantine_folder=tmp_path / "quarantine",
            scratch=tmp_path / "scratch",
            max_bad_share=share,
            notes=tuple(book.portfolio.tables["applications"].notes),
        )


ROWS = lines(loans())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "skipped"),
    [
        (["sep=;", *lines(loans(), ";")], {"sep=*": 1}),
        (['"sep=;"', *lines(loans(), ";")], {"sep=*": 1}),
        ([ROWS[0], ",EUR,%,,0/1", *ROWS[1:]], {",EUR,%,,0/1": 1}),
        ([ROWS[0], "text,[EUR],[%],text,int", *ROWS[1:]], {"text,[EUR],[%],text,int": 1}),
        ([*ROWS[:20], ROWS[0], *ROWS[20:]], {"repeated headers": 1}),
        ("\r\n".join([*ROWS, "\x1a"]), {"rows with no values": 1}),
        (["Stand: 12. März 2024", *ROWS], {"Stand: *": 1}),
    ],
    ids=["separator", "quoted separator", "units", "types", "header again", "end of a DOS file", "title"],
)
def test_lines_beside_header_and_rows_are_skipped_in_draft_and_delivery(project, tmp_path, text, skipped):
    done = drafted(project, tmp_path, text)
    assert (done.book.key, done.book.applications.files.rows) == ("loan_id", 40)
    found = delivered(project, tmp_path)
    assert (found.rows_kept, found.rows_quarantined, found.notes) == (40, 0, skipped)


def test_title_with_a_foreign_month_matches_in_the_next_month(project, tmp_path):
    drafted(project, tmp_path, ["Stand: 12. März 2024", *ROWS])
    (tmp_path / "later.csv").write_text("\n".join(["Stand: 9. Oktober 2024", *ROWS, ""]))
    assert delivered(project, tmp_path, "later.csv").rows_kept == 40


def test_rows_that_resemble_units_throughout_are_rows(tmp_path):
    codes = {"currency": [("EUR", "USD", "CHF")[n * n % 3] for n in range(40)], "type": ["text"] * 40}
    codes |= {"default": ["number" if n % 4 == 0 else "int" for n in range(40)]}
    path = tmp_path / "loans.csv"
    path.write_text("\n".join([*lines(codes), ""]))
    assert sheet_of(path, tmp_path / "plain").notes == {}


def test_nul_byte_is_reported_with_its_row(project, tmp_path):
    with pytest.raises(BookError, match=r"loans\.csv, row 3: a byte is zero"):
        drafted(project, tmp_path, [*ROWS[:2], f"{ROWS[2]}\0", *ROWS[3:]])


def test_codes_for_missing_in_other_languages_are_null(project, tmp_path):
    words = ["–", "k.A.", "s/d", "n.c.", "brak", "#NV", "Sin dato", "onbekend", "\\N"]
    columns = loans() | {"income": [words[n // 4 % 9] if n % 4 == 0 else 1000 + n for n in range(40)]}
    done = drafted(project, tmp_path, lines(columns))
    assert done.book.applications.columns["income"].number
    assert delivered(project, tmp_path).rows_kept == 40


def test_blanks_are_missing_values_however_many_there_are(project, tmp_path):
    columns = loans() | {"income": ["   " if n % 4 == 0 else 1000 + n for n in range(40)]}
    drafted(project, tmp_path, lines(columns))
    assert "income, -- Income" in (project.sql("book") / "features.sql").read_text()
    columns["income"] = [" " * (n % 3 + 1) if n % 4 == 0 else 1000 + n for n in range(40)]
    (tmp_path / "later.csv").write_text("\n".join([*lines(columns), ""]))
    assert delivered(project, tmp_path, "later.csv").rows_kept == 40


def test_duplicate_rows_do_not_hide_the_key(project, tmp_path):
    done = drafted(project, tmp_path, [*ROWS, ROWS[3]])
    assert (done.book.key, done.book.applications.files.rows) == ("loan_id", 40)
    assert "unique, never empty and named like a key; 1 duplicate row dropped" in config(project)
    found = delivered(project, tmp_path, share=0.05)
    assert (found.rows_kept, found.rows_quarantined) == (40, 1)


def test_nearly_unique_column_is_mentioned_as_a_possible_key(project, tmp_path):
    done = drafted(project, tmp_path, [*ROWS, ROWS[3].replace(",", ",9", 1)])
    assert done.book.numbered
    assert "(loan_id is not: it has 40 different values in 41 rows), so rows are identified by batch" in config(project)


def test_values_changed_by_a_spreadsheet_are_to_confirm(project, tmp_path):
    columns = loans() | {"account": [f"{n * 7 % 9 + 1}.234E+11" for n in range(40)]}
    columns["loan_id"] = [f'="00{1000 + n}"' for n in range(40)]
    drafted(project, tmp_path, lines(columns))
    assert "40 values such as '=\"001000\"', which is a formula of a spreadsheet" in config(project)
    assert (
        "account: 40 values such as '1.234E+11', which is how a spreadsheet saves a long number"
        in (project.sql("book") / "features.sql").read_text()
    )


def test_files_named_by_foreign_months_are_one_table(project, tmp_path):
    for name in ("Kredyty październik 2024", "Kredyty grudzień 2024"):
        (tmp_path / f"{name}.csv").write_text("\n".join([*[row.replace("L", name[8], 1) for row in ROWS], ""]))
    new(project, "book", sorted(tmp_path.glob("*.csv")))
    assert Book.load(project, "book").portfolio.tables["applications"].files == ["Kredyty *20*"]


def test_files_of_an_earlier_and_a_later_layout_are_one_table_to_confirm(project, tmp_path):
    earlier, later = loans(), loans() | {"income": [1000 + n * 3 % 70 for n in range(40)]}
    later["loan_id"] = [name.replace("L", "M") for name in later["loan_id"]]
    del later["rate"]
    for name, columns in {"loans_2024_01": earlier, "loans_2024_02": later}.items():
        (tmp_path / f"{name}.csv").write_text("\n".join([*lines(columns), ""]))
    done = new(project, "book", sorted(tmp_path.glob("*.csv")))
    assert (done.book.applications.files.rows, done.book.children) == (80, ())
    assert "not every file has rate, income; is this still one table?" in config(project)
    for name in ("loans_2024_01.csv", "loans_2024_02.csv"):
        assert delivered(project, tmp_path, name).rows_kept == 40


def test_excel_days_among_written_dates_are_dates_to_confirm(project, tmp_path):
    dates = [f"2024-01-{n % 28 + 1:02}" if n % 3 else str(45292 + n % 28) for n in range(40)]
    done = drafted(project, tmp_path, lines(loans() | {"issue_date": dates}))
    seen = done.book.applications.columns["issue_date"]
    assert (seen.formats, seen.years) == (("%Y-%m-%d", "Excel 1900"), (2024, 2024))
    assert seen.doubts == ("14 values such as '45292' are read as Excel serial dates, '45292' as 2024-01-01",)
    assert "date_formats: {issue_date: ['%Y-%m-%d', Excel 1900]}" in config(project)
    assert delivered(project, tmp_path).rows_kept == 40


def test_file_without_a_header_is_refused_with_advice(project, tmp_path):
    with pytest.raises(BookError, match=r"Is the first line of loans\.csv, which begins with L0000, 1000, a header\?"):
        drafted(project, tmp_path, ROWS[1:])

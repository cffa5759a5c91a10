"""Large files split into batches by a date: which row goes where, unchanged; and what cannot be split."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit_assets.book.book import Book
from credit_assets.ingest import split_by_date
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.split_by_date import Every, Split, split_files, split_source
from credit_assets.settings.project import Project

HEAD = "id,issue_d,note\n"

CONFIG = """name: loans
title: Loans
owners: ["team:risk"]
contracts: loans.py
entity_key: id
target: bad
tables:
  applications: {files: ["LoanStats*"], notes: ["Total*"]}
delivery: {every: year}
policy: {target_approval_rate: 0.8}
"""
CONTRACTS = '''"""For tests."""

import pandera.pandas as pa

from credit_assets.schemas.table import Table


class Loan(Table):
    """A loan."""

    id: str = pa.Field(unique=True, description="its number")
    issue_d: str = pa.Field(description="when it was given")
    bad: float | None = pa.Field(nullable=True, description="whether it went bad")
    note: str | None = pa.Field(nullable=True, description="anything")


TABLES = {"applications": Loan}
'''


def split_file(tmp_path: Path, content: str | bytes, every: Every = "quarter", name: str = "LoanStats3a.csv") -> Split:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    workspace = tmp_path / "parts"
    workspace.mkdir()
    return split_files({file: ["Total*"]}, "issue_d", every, workspace)


def written(parts: Split) -> dict[str, str]:
    """Batch to the text of its one file."""
    return {part.batch: gzip.decompress(file.read_bytes()).decode() for part in parts.batches for file in files(part)}


def files(part: split_by_date.SplitBatch) -> list[Path]:
    return sorted(part.folder.iterdir())


@pytest.mark.parametrize(
    ("every", "batches"),
    [
        ("month", {"2010-12": "1", "2011-01": "4", "2011-03": "3", "2011-04": "2"}),
        ("quarter", {"2010-Q4": "1", "2011-Q1": "34", "2011-Q2": "2"}),
        ("year", {"2010": "1", "2011": "234"}),
    ],
)
def test_row_goes_to_the_batch_of_its_date(tmp_path: Path, every: Every, batches: dict[str, str]) -> None:
    rows = {"1": "1,2010-12-31,\n", "2": "2,2011-04-01,\n", "3": "3,2011-03-31,\n", "4": "4,2011-01-01,\n"}
    parts = split_file(tmp_path, HEAD + "".join(rows.values()), every)
    assert written(parts) == {batch: HEAD + "".join(rows[row] for row in of_it) for batch, of_it in batches.items()}
    assert [(part.batch, part.rows) for part in parts.batches] == [(name, len(rows)) for name, rows in batches.items()]
    assert [file.name for part in parts.batches for file in files(part)] == ["LoanStats3a.csv.gz"] * len(batches)


@pytest.mark.parametrize(
    "date",
    ["Dec-2011", "Dec-11", "2011-12-01", "2011-12-01 00:00:00", '"Dec-2011"', ' "Dec-11" ', " 2011-12-01 ", "DEC-2011"],
)
def test_dates_are_read_in_common_formats(tmp_path: Path, date: str) -> None:
    text = f'{HEAD}1,{date},plain\n"a, ""b",{date},"two\nlines, 2010-01-01"\n'
    assert written(split_file(tmp_path, text, "month")) == {"2011-12": text}


@pytest.mark.parametrize("date", ["", '""', "soon", "2011-13-01", "Dec-011", "2211-01-01", "2011", "x,y"])
def test_row_without_a_readable_date_is_named_and_nothing_is_split(tmp_path: Path, date: str) -> None:
    with pytest.raises(BadDelivery) as error:
        split_file(tmp_path, f"{HEAD}1,Dec-2011,\n\n2,{date},\n3,Dec-2011,\n")
    for told in ["LoanStats3a.csv, row 4, column issue_d", "Nothing was delivered", "%b-%Y", "notes:"]:
        assert told in str(error.value)
    assert date.strip('"').split(",")[0] in str(error.value)


@pytest.mark.parametrize("row", ['1,"Dec-2011', '1"2,"3"4,Dec-2011', "1", '"1'])
def test_line_that_is_no_row_has_no_date(tmp_path: Path, row: str) -> None:
    with pytest.raises(
        BadDelivery, match=r"LoanStats3a\.csv, row 3, column issue_d: there is no date, such as the others"
    ):
        split_file(tmp_path, f"{HEAD}1,Dec-2011,\n{row}\n3,Dec-2011,\n")


def test_other_errors_of_a_row_are_left_to_ingestion(tmp_path: Path) -> None:
    text = HEAD + '1,Dec-2011,"open\n2,Dec-2011\n3,Dec-2011,a,b,c\n'
    assert written(split_file(tmp_path, text)) == {"2011-Q4": text}


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_fields_may_be_separated_by_other_characters_than_commas(tmp_path: Path, separator: str) -> None:
    content = (HEAD + '1,Dec-2011,a\n"2, or more","Mar-2011","b, c"\n').replace(",", separator)
    head, december, march = content.splitlines()
    assert written(split_file(tmp_path, content)) == {
        "2011-Q1": f"{head}\n{march}\n",
        "2011-Q4": f"{head}\n{december}\n",
    }


def test_notes_are_skipped_and_counted(tmp_path: Path) -> None:
    parts = split_file(tmp_path, f'Total of us\n{HEAD}1,Jan-2010,\n\n"Total: 1",,\n2,May-2010,\nTotal: 2\n')
    assert written(parts) == {"2010-Q1": HEAD + "1,Jan-2010,\n", "2010-Q2": HEAD + "2,May-2010,\n"}
    assert parts.notes == {"Total*": 3}


def test_same_rows_give_the_same_bytes_however_they_were_packed(tmp_path: Path) -> None:
    rows = HEAD + "".join(f"{n},{month}-2010,{'é' * (n % 7)}\n" for n in range(500) for month in ("Jan", "Jun"))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("any.csv", rows)
    seen = []
    for name, content in {
        "LoanStats3a.csv": rows.encode(),
        "LoanStats3a.csv.gz": gzip.compress(rows.encode()),
        "LoanStats3a.csv.zip": archive.getvalue(),
        "LoanStats3a.CSV": b"\xef\xbb\xbf" + rows.replace("\n", "\r\n").encode() + b"Total: 1",
    }.items():
        (tmp_path / name).mkdir()
        parts = split_file(tmp_path / name, content, name=name)
        seen.append([(part.batch, file.name, file.read_bytes()) for part in parts.batches for file in files(part)])
        assert not (tmp_path / name / "parts" / ".plain").exists()
    assert [entry[:2] for entry in seen[0]] == [("2010-Q1", "LoanStats3a.csv.gz"), ("2010-Q2", "LoanStats3a.csv.gz")]
    assert seen[0] == seen[1] == seen[2] == seen[3]


def test_rows_of_several_blocks_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credit_assets.ingest.csv_rows.BLOCK", 1000)
    rows = [(n, f"{n},20{n % 3 + 10}-01-01,{'x' * (n % 50)}\n") for n in range(600)]
    parts = split_file(tmp_path, HEAD + "".join(row for _, row in rows), "year")
    assert written(parts) == {
        f"20{year + 10}": HEAD + "".join(row for n, row in rows if n % 3 == year) for year in range(3)
    }


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        ("id,date\n1,Dec-2011\n", "a.csv", r"a\.csv has no column 'issue_d' to split by; it has id, date\."),
        (",".join(f"c{n}" for n in range(146)) + "\n", "a.csv", r"it has c0, .*, c7 and 138 more"),
        (HEAD, "a.csv", r"No rows in a\.csv: nothing to deliver"),
        ("PAR1", "a.parquet", r"a\.parquet is not a complete Parquet file"),
        (HEAD.encode() + b"1,Dec-2011,\xe9\n", "a.csv", r"a\.csv, row 2, column note: the byte 0xE9 is not UTF-8"),
    ],
)
def test_invalid_file_is_refused(tmp_path: Path, content: str | bytes, name: str, told: str) -> None:
    with pytest.raises(BadDelivery, match=told):
        split_file(tmp_path, content, name=name)


def test_column_with_too_many_dates_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_by_date, "MOST_BATCHES", 3)
    rows = [f"{n},20{n}-01-01,\n" for n in range(10, 14)]
    with pytest.raises(BadDelivery, match=r"more than 3 batches, by month of issue_d"):
        split_file(tmp_path, HEAD + "".join(rows), "month")


# -- configuration of a portfolio -----------------------------------------------------------------------


@pytest.fixture
def book(tmp_path: Path) -> Book:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "loans.yaml").write_text(CONFIG)
    (tmp_path / "configs" / "loans.py").write_text(CONTRACTS)
    return Book.load(Project(tmp_path), "loans")


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")


def test_files_of_a_folder_are_split_together(tmp_path: Path, book: Book, inbox: Inbox) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    (folder / "LoanStats3a.csv").write_text(f"{HEAD}1,Dec-2010,\n2,Jan-2011,\nTotal: 2\n")
    (folder / "LoanStats3b.csv").write_text("issue_d,id,bad\nJan-2011,3,1\n")
    (folder / "README.txt").write_text("not data")
    with split_source(folder, book, "issue_d", inbox) as parts:
        told = [(part.batch, part.rows, [file.name for file in files(part)]) for part in parts.batches]
        workspace = parts.batches[0].folder
    assert told == [("2010", 1, ["LoanStats3a.csv.gz"]), ("2011", 2, ["LoanStats3a.csv.gz", "LoanStats3b.csv.gz"])]
    assert parts.notes == {"Total*": 1}
    assert not workspace.exists()


@pytest.mark.parametrize("name", ["loans.csv", "payments.parquet"])
def test_file_of_no_table_is_refused(tmp_path: Path, book: Book, inbox: Inbox, name: str) -> None:
    (tmp_path / name).write_text(f"{HEAD}1,Dec-2010,\n")
    with pytest.raises(BadDelivery, match=rf"{name} belongs to no table of loans, .* called LoanStats\*, outcomes\."):
        split_source(tmp_path / name, book, "issue_d", inbox).__enter__()


def test_parts_of_a_killed_process_are_removed(tmp_path: Path, book: Book, inbox: Inbox) -> None:
    left = inbox.root / "loans" / ".cutting" / "parts" / "2010"
    left.mkdir(parents=True)
    (left / "LoanStats3a.csv.gz").write_text("half")
    (tmp_path / "LoanStats3a.csv").write_text(f"{HEAD}1,Dec-2010,\n")
    with split_source(tmp_path / "LoanStats3a.csv", book, "issue_d", inbox) as parts:
        assert written(parts) == {"2010": f"{HEAD}1,Dec-2010,\n"}
    assert inbox.batches("loans") == []


@pytest.mark.slow
def test_real_loans_are_split_into_vintages_without_loss(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "lending_club" / "loans_2007_2010.csv.gz"
    parts = split_files({source: []}, "issue_d", "quarter", tmp_path)
    head, *rows, end = gzip.decompress(source.read_bytes()).decode().split("\n")
    texts = written(parts)
    assert (len(texts), min(texts), max(texts), end) == (15, "2007-Q2", "2010-Q4", "")
    assert all(text.startswith(f"{head}\n") for text in texts.values())
    assert Counter(row for text in texts.values() for row in text.split("\n")[1:-1]) == Counter(rows)
    assert sum(part.rows for part in parts.batches) == len(rows) == 20_814
    for batch in ("2008-Q1", "2010-Q3"):
        dates = pd.read_csv(io.StringIO(texts[batch]), usecols=["issue_d"], parse_dates=["issue_d"])["issue_d"]
        assert set(dates.dt.to_period("Q").astype(str)) == {batch.replace("-", "")}


# The dates of three rows, in January, May and December, in formats that `credit-assets new` reads too.
WRITTEN = [
    ["01/31/2019", "05/04/2019", "12/12/2018"],
    ["31.01.2019", "04.05.2019", "12.12.2018"],
    ["31-Jan-19", "04-May-19", "12-Dec-18"],
    ["1/31/19 10:30", "5/4/19 9:00", "12/12/18 23:59"],
    ["20190131", "20190504", "20181212"],
    ["2019-01-31T23:30:00-05:00", "2019-05-04T10:00:00+00:00", "2018-12-12T10:00:00+00:00"],
    ["January 31, 2019", "May 4, 2019", "December 12, 2018"],
    ["201901", "201905", "201812"],
]


@pytest.mark.parametrize("dates", WRITTEN, ids=lambda dates: dates[0])
def test_every_readable_date_format_can_be_split_by(tmp_path: Path, dates: list[str]) -> None:
    rows = [f'{n},"{written_date}",\n' for n, written_date in enumerate(dates)]
    first = "2019-02" if "-05:00" in dates[0] else "2019-01"
    parts = written(split_file(tmp_path, HEAD + "".join(rows), "month"))
    assert parts == {batch: HEAD + row for batch, row in zip([first, "2019-05", "2018-12"], rows, strict=True)}


def test_ambiguous_order_of_day_and_month_is_refused_until_configured(tmp_path: Path) -> None:
    text = HEAD + "1,04/05/2019,\n2,06/07/2019,\n3,05/08/2019,\n"
    with pytest.raises(BadDelivery) as error:
        split_file(tmp_path, text, "month")
    for told in ["issue_d", "'04/05/2019'", "day first or month first", 'date_formats: {issue_d: ["%d/%m/%Y"]}']:
        assert told in str(error.value)
    file = tmp_path / "LoanStats3a.csv"
    for n, (form, batches) in enumerate({"%d/%m/%Y": ["05", "07", "08"], "%m/%d/%Y": ["04", "05", "06"]}.items()):
        (tmp_path / f"parts{n}").mkdir()
        parts = split_files({file: []}, "issue_d", "month", tmp_path / f"parts{n}", [form])
        assert [part.batch for part in parts.batches] == [f"2019-{month}" for month in batches]


def test_numbers_that_may_be_excel_days_are_refused_until_configured(tmp_path: Path) -> None:
    text = HEAD + "1,45000,\n2,45031.5,\n3,44961,\n"
    with pytest.raises(BadDelivery) as error:
        split_file(tmp_path, text, "month")
    for told in ["issue_d", "'44961' is then 2023-02-04", 'date_formats: {issue_d: ["Excel 1900"]}']:
        assert told in str(error.value)
    for form, batches in {"Excel 1900": ["02", "03", "04"], "Excel 1904": ["02", "03", "04"]}.items():
        folder = tmp_path / form
        folder.mkdir()
        parts = split_files({tmp_path / "LoanStats3a.csv": []}, "issue_d", "month", folder, [form])
        year = 2023 if form == "Excel 1900" else 2027
        assert [part.batch for part in parts.batches] == [f"{year}-{month}" for month in batches]


def test_months_in_another_language_can_be_split_by(tmp_path: Path) -> None:
    rows = ["1,12. März 2019,\n", "2,1. Mai 2019,\n", "3,3. Dez. 2018,\n"]
    parts = written(split_file(tmp_path, HEAD + "".join(rows), "month"))
    assert parts == {batch: HEAD + row for batch, row in zip(["2019-03", "2019-05", "2018-12"], rows, strict=True)}


def test_unknown_month_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match=r"row 3, column issue_d: '3\. Foo 2019' is not a date"):
        split_file(tmp_path, HEAD + "1,12. März 2019,\n2,3. Foo 2019,\n", "month")


def test_unknown_format_and_conflicting_orders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match="'13/05/2019' is written day first, '05/13/2019' month first"):
        split_file(tmp_path, HEAD + "1,13/05/2019,\n2,05/13/2019,\n3,14/05/2019,\n")
    with pytest.raises(BadDelivery, match=r"delivery\.date_formats of issue_d has 'dd/mm/yyyy', which is not"):
        split_files({tmp_path / "LoanStats3a.csv": []}, "issue_d", "month", tmp_path / "parts", ["dd/mm/yyyy"])


def test_two_digit_year_is_never_in_the_first_century(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "loans.csv").write_text(f"{HEAD}1,05/14/19,\n")
    with pytest.raises(BadDelivery, match="'05/14/19' is not a date, such as the others"):
        split_files({tmp_path / "loans.csv": []}, "issue_d", "month", tmp_path / "parts", ["%m/%d/%Y"])


DAYS = [date(2018, 12, 31), date(2019, 4, 1), date(2019, 3, 31), date(2018, 10, 1)]
NOONS = [datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in DAYS[1:]]


@pytest.mark.parametrize(
    "dates",
    [
        pa.array(DAYS),
        pa.array(DAYS, pa.date64()),
        pa.array(DAYS).cast(pa.timestamp("ns")),
        # In Moscow it is January by then.
        pa.array([datetime(2018, 12, 31, 22, tzinfo=UTC), *NOONS]).cast(pa.timestamp("us", tz="Europe/Moscow")),
        pa.array([20181231, 20190401, 20190331, 20181001]),
        pa.array([f"{day:%d.%m.%Y} " for day in DAYS]),
        pa.array([f"{day:%d.%m.%Y}" for day in DAYS]).dictionary_encode(),
    ],
    ids=lambda dates: str(dates.type),
)
def test_parquet_file_is_split_by_its_dates_and_keeps_its_types(tmp_path: Path, dates: pa.Array) -> None:
    table = pa.table({"id": pa.array([1, 2, 3, 4], pa.uint16()), "day": dates, "amount": [Decimal("1.10")] * 4})
    pq.write_table(table, tmp_path / "loans.parquet", row_group_size=2)
    (tmp_path / "parts").mkdir()
    parts = split_files({tmp_path / "loans.parquet": []}, "day", "quarter", tmp_path / "parts")
    seen = {part.batch: pq.read_table(file) for part in parts.batches for file in files(part)}
    assert {batch: rows["id"].to_pylist() for batch, rows in seen.items()} == {
        "2018-Q4": [1, 4],
        "2019-Q1": [3],
        "2019-Q2": [2],
    }
    assert [file.name for file in files(parts.batches[0])] == ["loans.parquet"]
    schema = pq.read_schema(tmp_path / "loans.parquet")
    assert all(rows.schema == schema for rows in seen.values())


@pytest.mark.parametrize(
    ("dates", "told"),
    [
        (pa.array([date(2019, 1, 1), None]), r"loans\.parquet, row 2, column day: there is no date"),
        (pa.array([date(2019, 1, 1), date(9999, 12, 31)]), r"row 2, column day: '9999-12-31' is not a date"),
        (pa.array([None, None]), r"row 1, column day: there is no date"),
        (pa.array([1.5, 2.5]), r"row 1, column day: '1\.5' is not a date"),
        (pa.array([45000.5, 45031.0]), r"may be Excel serial dates; '45000.5' is then 2023-03-15"),
        (pa.array([True, False]), r"column day: bool has no dates to split by"),
        (pa.array([[1], [2]]), r"column day: list<.*> has no dates"),
    ],
    ids=lambda it: str(getattr(it, "type", "")),
)
def test_parquet_row_without_a_date_is_named(tmp_path: Path, dates: pa.Array, told: str) -> None:
    pq.write_table(pa.table({"day": dates}), tmp_path / "loans.parquet")
    (tmp_path / "parts").mkdir()
    with pytest.raises(BadDelivery, match=told):
        split_files({tmp_path / "loans.parquet": []}, "day", "quarter", tmp_path / "parts")

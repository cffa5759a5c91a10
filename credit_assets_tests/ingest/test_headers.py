"""What `deliver` refuses by file names and headers, before anything is in the inbox."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from credit_assets.book.book import Book
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.headers import check_files
from credit_assets.ingest.inbox import Inbox
from credit_assets.schemas.table import Relation, Table
from credit_assets.settings.portfolio import Portfolio, TableConfig
from credit_assets.settings.project import Project


class Loans(Table):
    loan_id: np.int64 = pa.Field(unique=True)
    income: float = pa.Field(nullable=True)
    word: str = pa.Field(nullable=True)


class History(Table):
    loan_id: np.int64 = pa.Field()
    months: np.int64 = pa.Field()
    relations = (Relation("loan_id", "applications", "loan_id"),)


class Outcomes(Table):
    loan_id: np.int64 = pa.Field(unique=True)
    bad: np.int8 = pa.Field()
    relations = (Relation("loan_id", "applications", "loan_id"),)


GOOD = "loan_id,income,word\n1,2.5,x\n"
HISTORY = "loan_id,months\n1,3\n"


@pytest.fixture
def book(tmp_path: Path) -> Book:
    made = Portfolio.model_construct(
        name="book",
        application_table="applications",
        outcomes_table="outcomes",
        tables={
            "applications": TableConfig(files=["loans*"]),
            "history": TableConfig(files=["history"], notes=["Total *"]),
            "outcomes": TableConfig(files=["outcomes"], optional=True),
        },
    )
    compiled = Book(Project(tmp_path), made)
    compiled.__dict__["contracts"] = {"applications": Loans, "history": History, "outcomes": Outcomes}
    return compiled


@pytest.fixture
def check(book: Book, tmp_path: Path) -> Callable[..., list[str]]:
    def check(files: dict[str, str | bytes], whole: bool = True) -> list[str]:
        """The result of `check_files` for these files; if it raises, nothing may be in the inbox."""
        source = tmp_path / "my files"
        source.mkdir(exist_ok=True)
        for name, content in files.items():
            (source / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        unknown: list[str] = []
        inbox = Inbox(tmp_path / "inbox")
        try:
            inbox.deliver(
                source, "book", "1", lambda given: unknown.extend(check_files(given, book, source, whole=whole))
            )
        except BadDelivery:
            assert inbox.batches("book") == []
            raise
        return unknown

    return check


def parquet(frame: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.to_parquet(content)
    return content.getvalue()


def zipped(text: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("inside.csv", text)
    return content.getvalue()


FRAME = pd.DataFrame({"loan_id": [1], "income": [2.5], "word": ["x"]})


@pytest.mark.parametrize(
    "loans",
    [
        {"loans.csv": GOOD},
        {"LOANS_2024_01.csv": GOOD, "loans_2024_02.csv": GOOD},
        {"loans.csv": GOOD.replace(",", ";")},
        {"loans.csv": "\ufeff" + GOOD},
        {"loans.csv": "word,loan_id,income\nx,1,2\n"},
        {"loans.csv": ",loan_id,income,word\n0,1,2.5,x\n"},
        {"loans.csv.gz": gzip.compress(GOOD.encode())},
        {"loans.csv.zip": zipped(GOOD)},
        {"loans.parquet": parquet(FRAME)},
        {"loans.parquet": parquet(FRAME.set_index(pd.Index([7])))},
    ],
    ids=["plain", "pattern", "semicolons", "BOM", "other order", "index", "gzip", "zip", "Parquet", "Parquet's index"],
)
def test_delivery_that_a_run_would_accept_is_accepted(check, loans) -> None:
    assert check({**loans, "history.csv": "Total 3\n" + HISTORY, "notes.csv": "a\n"}) == ["notes.csv"]


REFUSED = {
    "missing table": ({"loans.csv": GOOD}, "Table history: no file history"),
    "unknown file instead": ({"loan.csv": GOOD, "history.csv": HISTORY}, "Unknown files there: loan.csv"),
    "renamed column": ({"loans.csv": GOOD.replace("income", "Income")}, "lacks the column income of the contract"),
    "extra column": ({"loans.csv": "loan_id,income,word,age\n1,2,x,3\n"}, "has the column age, which is not in the"),
    "column twice": ({"loans.csv": "loan_id,income,income,word\n"}, "names the column income more than once"),
    "another delimiter": ({"loans.csv": GOOD.replace(",", ":")}, "Its header is one column: separate the columns by"),
    "UTF-16": ({"loans.csv": GOOD.encode("utf-16")}, "is in UTF-16"),
    "Latin-1": ({"loans.csv": "loan_id,income,wörd\n".encode("latin-1")}, "the header is not UTF-8"),
    "empty": ({"loans.csv": ""}, "is empty: not even a header"),
    "no header": ({"loans.csv": "1,2.5,x\n"}, "lacks the column loan_id, income, word"),
    "cut off": ({"loans.csv.gz": gzip.compress(GOOD.encode())[:20]}, "is truncated or damaged"),
    "no archive": ({"loans.csv.zip": b"PK no archive"}, "is truncated or damaged"),
    "no Parquet": ({"loans.parquet": b"PAR1 and no more"}, "is not a complete Parquet file"),
    "another type": ({"loans.parquet": parquet(FRAME.assign(income="much"))}, "column income: the file has"),
    "no name": ({"loans.csv": "loan_id,,income,word\n1,0,2,x\n"}, "has the column ''"),
    "twice": ({"loans.csv": GOOD, "loans.csv.gz": gzip.compress(GOOD.encode())}, "are the same file twice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_delivery_that_a_run_would_refuse_stays_out_of_the_inbox(check, case) -> None:
    files, said = REFUSED[case]
    history = {} if case == "missing table" else {"history.csv": HISTORY}
    with pytest.raises(BadDelivery) as refused:
        check({**files, **history})
    assert said in str(refused.value)


def test_single_file_of_no_table_is_compared_with_the_patterns(book, tmp_path) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text(GOOD)
    with pytest.raises(BadDelivery) as refused:
        Inbox(tmp_path / "inbox").deliver(file, "book", "1", lambda given: check_files(given, book, file))
    said = str(refused.value).splitlines()[1]
    assert said.startswith(f"The name of the file {file} matches none of the patterns of book: ")
    assert "(table applications)" in said and "; history (table history)" in said
    assert said.endswith("Rename the file, or change `files:` of its table in configs/book.yaml.")


def test_all_errors_are_reported_at_once(check) -> None:
    with pytest.raises(BadDelivery) as refused:
        check({"loans.csv": "loan_id,word\n", "loans_2.csv": "loan_id\n"})
    assert [line.split()[0] for line in str(refused.value).splitlines()] == [
        "Nothing",
        "Table",
        "loans.csv",
        "loans_2.csv",
    ]


def test_outcomes_and_parts_of_a_book_may_be_delivered_alone(check) -> None:
    check({"loans.csv": GOOD, "history.csv": HISTORY})


@pytest.mark.parametrize(("header", "said"), [("loan_id,bad", None), ("loan_id,Bad", "lacks the column bad")])
def test_outcomes_delivered_alone_are_checked_by_their_contract(book, tmp_path, header, said) -> None:
    file = tmp_path / "outcomes_may.csv"
    file.write_text(f"{header}\n1,0\n")
    if said is None:
        assert check_files([file], book, file) == []
    else:
        with pytest.raises(BadDelivery, match=said):
            check_files([file], book, file)


def test_some_tables_are_enough_if_files_are_split_into_batches(book, tmp_path) -> None:
    file = tmp_path / "loans.csv"
    file.write_text(GOOD)
    assert check_files([file], book, file, whole=False) == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_column_name_may_span_two_lines(tmp_path, end) -> None:
    from credit_assets.ingest.csv_rows import columns_of, inspect_csv, rows_of

    file = tmp_path / "two.csv"
    file.write_text(f'a,"b{end}c"{end}1,2{end}', newline="")
    assert columns_of(file, "two.csv") == ["a", "b c"]
    source = inspect_csv(file, "two.csv", tmp_path / "plain")
    assert source.columns == ["a", "b c"]
    assert [batch.to_pylist() for batch in rows_of(source)] == [[{"_row": 3, "_nth": 1, "_line": "1,2"}]]

"""Delivered files in every condition, and what becomes of their rows."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pandera.typing
import pyarrow
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.csv_rows import EMPTY, HEADER
from credit_assets.ingest.row_by_row import OTHER_BATCHES
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import Ingested, ingest
from credit_assets.lake.connections import connect
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake, TableMissing
from credit_assets.schemas.table import Relation, Table

pytestmark = pytest.mark.slow

Ingest = Callable[..., Ingested]


def zipped(text: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("inside.csv", text)
    return content.getvalue()


class Loan(Table):
    ID: np.int32 = pa.Field(unique=True)
    TARGET: float | None = pa.Field(nullable=True, isin=[0, 1])
    GRADE: str = pa.Field(isin=["A", "B", "C, or worse"])
    AMOUNT: float = pa.Field(nullable=True, ge=0)
    NOTE: str = pa.Field(nullable=True)


class Payment(Table):
    ID: np.int64
    MONTH: np.int8 = pa.Field(le=0)
    AGENT: float = pa.Field(nullable=True)
    relations = (Relation("ID", "loans", "ID"), Relation("AGENT", "agents", "ID", enforced=False))

    class Config:
        unique: ClassVar = ["ID", "MONTH"]


LOANS = "ID,TARGET,GRADE,AMOUNT,NOTE\n"
THREE = LOANS + '1,0,A,10.5,\n2,1,"C, or worse",,"said ""no"""\n3,,B,0,x\n'
THREE_ROWS = [
    (1, 0.0, "A", 10.5, None),
    (2, 1.0, "C, or worse", None, 'said "no"'),
    (3, None, "B", 0.0, "x"),
]
PARENTS = {"loans": "SELECT unnest([1, 2, 3]) AS ID", "agents": "SELECT 7 AS ID"}


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect() as connection:
        yield connection


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def bring(con: duckdb.DuckDBPyConnection, lake: Lake, tmp_path: Path) -> Ingest:
    """Ingest files, given as name=text or bytes, as the batch 2026-01."""

    def bring(
        files: dict[str, str | bytes],
        model: type[Table] = Loan,
        share: float = 1.0,
        commit: bool = True,
        later_file_supersedes: bool = False,
        notes: Sequence[str] = (),
        numbered: str | None = None,
        elsewhere: dict[str, str] | None = None,
    ) -> Ingested:
        folder = tmp_path / "inbox"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        ingested = ingest(
            con,
            lake,
            [folder / name for name in files],
            Target(
                f"book/{model.__name__.lower()}s",
                model,
                PARENTS,
                "2026-01",
                later_file_supersedes=later_file_supersedes,
                numbered=numbered,
                elsewhere=elsewhere or {},
            ),
            max_bad_share=share,
            quarantine_folder=tmp_path / "quarantine",
            scratch=tmp_path / "scratch",
            notes=notes,
        )
        if commit:
            lake.commit(ingested.staged, Provenance())
        return ingested

    return bring


def rows(con: duckdb.DuckDBPyConnection, lake: Lake, table: str = "book/loans") -> list[tuple]:
    return con.sql(f"SELECT * EXCLUDE (batch) FROM ({lake.query(table)}) ORDER BY ALL").fetchall()


def faults(ingested: Ingested) -> list[tuple]:
    """(row, column, value, rule) of every fault in the quarantine file."""
    assert ingested.quarantine
    return [
        (entry["row"], told["column"], told["value"], told["rule"])
        for entry in pq.read_table(ingested.quarantine).to_pylist()
        for told in entry["faults"]
    ]


# -- accepted files ------------------------------------------------------------------------------------


def test_clean_file_becomes_the_batch_with_the_contract_s_types(bring: Ingest, con: Any, lake: Lake) -> None:
    ingested = bring({"loans.csv": THREE})
    assert (ingested.rows_in, ingested.rows_kept, ingested.rows_quarantined) == (3, 3, 0)
    assert ingested.quarantine is None
    assert rows(con, lake) == THREE_ROWS
    assert con.sql(lake.query("book/loans")).types[:4] == ["INTEGER", "DOUBLE", "VARCHAR", "DOUBLE"]
    assert list(ingested.source_sha256) == ["loans.csv"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + THREE.encode(),
        THREE.replace("\n", "\r\n").encode(),
        THREE.removesuffix("\n").encode(),
        THREE.replace("\n", "\n\n").encode(),
        THREE.replace("\n", "\n", 1).replace("3,,B", "3.0,nan,B").encode(),
        THREE.replace("x\n", "x,,\n").encode(),
        THREE.replace("1,0,A", '"1", 0 , "A" ').encode(),
        gzip.compress(THREE.encode(), mtime=0),
        zipped(THREE),
    ],
    ids=["BOM", "CRLF", "no end", "blank lines", "3.0 and nan", "empty fields after", "quoted", "gzip", "zip"],
)
def test_equivalent_spellings_give_the_same_rows(bring: Ingest, con: Any, lake: Lake, content: bytes) -> None:
    endings = {b"\x1f\x8b": ".gz", b"PK": ".zip"}
    bring({f"loans.csv{endings.get(content[:2], '')}": content})
    assert rows(con, lake) == THREE_ROWS


def test_columns_are_matched_by_name_in_any_order(bring: Ingest, con: Any, lake: Lake) -> None:
    bring({"loans.csv": "NOTE,AMOUNT,GRADE,ID,TARGET\n,10.5,A,1,0\nx,0,B,3,\n"})
    assert rows(con, lake) == [THREE_ROWS[0], THREE_ROWS[2]]


def test_two_files_are_one_table_and_an_optional_column_may_be_absent(bring: Ingest, con: Any, lake: Lake) -> None:
    train, test = LOANS + "1,0,A,10.5,\n", "ID,GRADE,AMOUNT,NOTE\n3,B,0,x\n"
    bring({"train.csv": train, "test.csv": test})
    assert rows(con, lake) == [THREE_ROWS[0], THREE_ROWS[2]]
    ingested = bring({"train.csv": train, "test.csv": test + "9,Z,0,x\n"})
    assert rows(con, lake) == [THREE_ROWS[0], THREE_ROWS[2]]
    assert faults(ingested) == [(3, "GRADE", "Z", "must be one of A, B, C, or worse")]


class Layouts(Table):
    """The columns of a source's early files, and those that its later ones have in addition."""

    id: str = pa.Field(unique=True)
    amount: float
    disbursed: str | None = pa.Field(nullable=True)
    hardship: float | None = pa.Field(nullable=True, ge=0)


def test_files_of_an_earlier_and_a_later_layout_are_one_table(bring: Ingest, con: Any, lake: Lake) -> None:
    early, late = "id,amount\n1,10\n2,20\n", "hardship,id,amount,disbursed\n,3,30,Cash\n5,4,40,\n"
    expected = [("1", 10.0, None, None), ("2", 20.0, None, None), ("3", 30.0, "Cash", None), ("4", 40.0, None, 5.0)]
    bring({"LoanStats3a.csv": early, "LoanStats_2016Q1.csv.zip": zipped(late)}, Layouts)
    assert rows(con, lake, "book/layoutss") == expected
    # An invalid row makes the reader go line by line.
    ingested = bring({"LoanStats3a.csv": early, "LoanStats_2016Q1.csv": late + "-1,5,50,Cash\n"}, Layouts)
    assert rows(con, lake, "book/layoutss") == expected
    assert faults(ingested) == [(4, "hardship", "-1.0", "must be at least 0")]
    with pytest.raises(BadDelivery, match=r"LoanStats3a\.csv .* lacks the column amount of the contract Layouts"):
        bring({"LoanStats3a.csv": "id\n1\n"}, Layouts)


# -- lines that are not rows, and rows of several lines -------------------------------------------------

NOTES = ["Notes offered by *", "Loans that *", "Total *"]
NOTED = "Notes offered by us (https://us)\n" + THREE.replace(
    "3,,B", '\n"Loans that do not meet the credit policy",,,,\n3,,B'
)
NOTED += '\n\n"Total amount funded in policy code 1: 471701350",,,,\nTotal amount funded in policy code 2: 0\n'


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_notes_are_skipped_and_counted(bring: Ingest, con: Any, lake: Lake, end: str) -> None:
    ingested = bring({"loans.csv": NOTED.replace("\n", end)}, notes=NOTES)
    assert rows(con, lake) == THREE_ROWS
    assert counts(ingested) == (3, 3, 0, 0)
    assert ingested.notes == dict(zip(NOTES, [1, 1, 2], strict=True))
    assert bring({"loans.csv": THREE}, notes=NOTES).notes == {}


def test_invalid_row_beside_notes_is_reported_by_its_line_in_the_file(bring: Ingest, con: Any, lake: Lake) -> None:
    ingested = bring({"loans.csv": NOTED.replace("3,,B", "9,,Q,0,x\n3,,B") + "Sum: 5\n"}, notes=NOTES)
    assert rows(con, lake) == THREE_ROWS
    assert counts(ingested) == (5, 3, 2, 0)
    assert faults(ingested) == [
        (7, "GRADE", "Q", "must be one of A, B, C, or worse"),
        (13, "(row)", "1 fields", "must have 5 fields"),
    ]
    assert ingested.notes["Total *"] == 2


def test_unconfigured_note_is_an_invalid_row_or_header(bring: Ingest) -> None:
    with pytest.raises(BadDelivery, match="lacks the column"):
        bring({"loans.csv": NOTED})
    assert len(faults(bring({"loans.csv": NOTED.split("\n", 1)[1]}))) == 3


BROKEN = LOANS + '1,0,A,10.5,"two\nlines, and\n\n""more"""\n3,,B,0,x\n'
BROKEN_ROWS = [(1, 0.0, "A", 10.5, 'two\nlines, and\n\n"more"'), THREE_ROWS[2]]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("notes", [[], NOTES])
def test_line_break_between_quotes_is_part_of_the_value(
    bring: Ingest, con: Any, lake: Lake, end: str, notes: list[str]
) -> None:
    expected = [(*row[:4], row[4].replace("\n", end)) for row in BROKEN_ROWS]
    assert counts(bring({"loans.csv": BROKEN.replace("\n", end)}, notes=notes)) == (2, 2, 0, 0)
    assert rows(con, lake) == expected
    ingested = bring({"loans.csv": (BROKEN + '9,0,Q,1,\n8,0,A,x,"a\nb"\n').replace("\n", end)}, notes=notes)
    assert counts(ingested) == (4, 2, 2, 0)
    assert rows(con, lake) == expected
    assert [told[:3] for told in faults(ingested)] == [(7, "GRADE", "Q"), (8, "AMOUNT", "x")]


# -- rows without a key --------------------------------------------------------------------------------


class Named(Table):
    id: str = pa.Field(unique=True)
    amount: float = pa.Field(nullable=True, ge=0)


def named(con: duckdb.DuckDBPyConnection, lake: Lake) -> list[tuple]:
    return con.sql(f"SELECT id, amount FROM ({lake.query('book/nameds')}) ORDER BY amount, id").fetchall()


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("amount\n10\n20\n30\n", ["2026-01-1", "2026-01-2", "2026-01-3"]),
        ("id,amount\n,10\n,20\n,30\n", ["2026-01-1", "2026-01-2", "2026-01-3"]),
        ("amount,id\n10,a\n20,\n30,c", ["a", "2026-01-2", "c"]),
        ("Total: 4\namount\n\n10\nTotal: 2\n20\n\n30\nTotal: 3\n", ["2026-01-1", "2026-01-2", "2026-01-3"]),
        ("amount\n10\n-1\n20\n\n30\nmany\n", ["2026-01-1", "2026-01-3", "2026-01-4"]),
        ("id,amount\nb,10\n,-1\n,20\n,30\n", ["b", "2026-01-3", "2026-01-4"]),
    ],
    ids=["no column", "empty", "some empty", "among notes", "among bad rows", "some empty, one bad"],
)
def test_row_without_a_key_is_numbered(bring: Ingest, con: Any, lake: Lake, content: str, names: list[str]) -> None:
    bring({"loans.csv": content}, Named, notes=["Total: *"], numbered="id")
    assert named(con, lake) == [(name, 10.0 * nth) for nth, name in enumerate(names, start=1)]


def test_numbering_continues_from_file_to_file(bring: Ingest, con: Any, lake: Lake) -> None:
    sink = io.BytesIO()
    pd.DataFrame({"amount": [30.0, 40.0]}).to_parquet(sink)
    files = {"a.csv": "amount\n10\n20\n", "b.parquet": sink.getvalue(), "c.csv": "id,amount\n,50\nx,60\n,70\n"}
    names = ["2026-01-1", "2026-01-2", "2026-01-3", "2026-01-4", "2026-01-5", "x", "2026-01-7"]
    expected = [(name, 10.0 * nth) for nth, name in enumerate(names, start=1)]
    bring(files, Named, numbered="id")
    assert named(con, lake) == expected
    # An invalid row makes the reader go line by line.
    ingested = bring(files | {"c.csv": files["c.csv"] + ",-1\n"}, Named, numbered="id")
    assert named(con, lake) == expected
    assert faults(ingested) == [(5, "amount", "-1.0", "must be at least 0")]


def test_numbers_of_many_rows_follow_the_order_of_the_file(bring: Ingest, con: Any, lake: Lake) -> None:
    con.execute("SET preserve_insertion_order = false")
    many = 60_000
    bring({"loans.csv": "amount\n" + "".join(f"{n}\n" for n in range(1, many + 1))}, Named, numbered="id")
    wrong = f"SELECT count(*) FROM ({lake.query('book/nameds')}) WHERE id <> '2026-01-' || amount::int"
    assert con.sql(f"SELECT count(*) FROM ({lake.query('book/nameds')})").fetchall() == [(many,)]
    assert con.sql(wrong).fetchall() == [(0,)]


def test_parquet_rows_get_the_same_numbers(bring: Ingest, con: Any, lake: Lake) -> None:
    for ids in ({}, {"id": [None, None, None]}, {"id": ["", None, ""]}):
        sink = io.BytesIO()
        pd.DataFrame({**ids, "amount": [10.0, -1.0, 20.0]}).to_parquet(sink)
        ingested = bring({"loans.parquet": sink.getvalue()}, Named, numbered="id")
        assert named(con, lake) == [("2026-01-1", 10.0), ("2026-01-3", 20.0)]
        assert faults(ingested) == [(2, "amount", "-1.0", "must be at least 0")]


def test_duplicate_key_from_numbering_is_a_fault(bring: Ingest) -> None:
    ingested = bring({"loans.csv": "id,amount\n2026-01-2,10\n,20\n"}, Named, numbered="id")
    assert {(told[1], told[3]) for told in faults(ingested)} == {
        ("id", "must be unique; the rows with this key differ")
    }


def test_only_a_text_column_can_be_numbered(bring: Ingest) -> None:
    for column in ("amount", "nothing"):
        with pytest.raises(ValueError, match=f"Table nameds: {column} is not a text column of Named"):
            bring({"loans.csv": "id,amount\n1,2\n"}, Named, numbered=column)


def test_parquet_columns_are_matched_by_name_too(bring: Ingest, con: Any, lake: Lake) -> None:
    table = pyarrow.table(
        {
            "NOTE": pyarrow.nulls(2),
            "GRADE": pyarrow.array(["A", "B"]).dictionary_encode(),
            "ID": [1.0, 3.0],
            "AMOUNT": pyarrow.array([10.5, float("nan")]),
            "TARGET": pyarrow.array([0, None], pyarrow.int64()),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    bring({"loans.parquet": sink.getvalue()})
    assert rows(con, lake) == [(1, 0.0, "A", 10.5, None), (3, None, "B", None, None)]


class Contact(Table):
    """Text columns only, whose rules a repeated header does not violate."""

    ID: str = pa.Field(unique=True)
    TOWN: str = pa.Field(nullable=True)
    HOME_PHONE: str = pa.Field(nullable=True, alias="HOME PHONE")


class Yearly(Table):
    """Columns named by year."""

    ID: str
    AMOUNT_2019: float = pa.Field(nullable=True, alias="2019")
    AMOUNT_2020: float = pa.Field(nullable=True, alias="2020")


CONTACTS = [("a", "Ulm", "1"), ("b", None, None), ("c", "Bonn", "3")]


def joined(header: str, again: str) -> str:
    """Two concatenated files, each with its header."""
    return f"{header}\na,Ulm,1\nb,,\n{again}\nc,Bonn,3\n"


@pytest.mark.parametrize(
    "again",
    [
        "ID,TOWN,HOME PHONE",
        '"ID","TOWN","HOME PHONE"',
        "id,Town,Home phone",
        "ID , TOWN, HOME  PHONE",
        "ID,TOWN,HOME PHONE,,",
        "\ufeffID,TOWN,HOME PHONE",
        'ID,TOWN,"HOME\nPHONE"',
        "ID,TOWN,HOME PHONE\r",
        "ID,TOWN,HOME PHONE\nID,TOWN,HOME PHONE",
    ],
    ids=["same", "quoted", "other case", "blanks", "further separators", "mark", "two lines", "DOS", "twice"],
)
@pytest.mark.parametrize("copied", [False, True], ids=["as it is", "with notes"])
def test_repeated_header_among_text_rows_is_counted_and_skipped(
    bring: Ingest, con: Any, lake: Lake, again: str, copied: bool
) -> None:
    ingested = bring({"contacts.csv": joined("ID,TOWN,HOME PHONE", again)}, Contact, notes=["Total*"] if copied else [])
    assert rows(con, lake, "book/contacts") == CONTACTS
    assert (ingested.rows_in, ingested.rows_kept, ingested.rows_quarantined) == (3, 3, 0)
    assert ingested.notes == {HEADER: 2 if again.count("TOWN") == 2 else 1}


def test_units_row_below_each_header_is_skipped_with_it(bring: Ingest, con: Any, lake: Lake) -> None:
    header = "ID,TOWN,HOME PHONE\n-,name,number"
    ingested = bring({"contacts.csv": joined(header, header)}, Contact, notes=["-,name,number"])
    assert rows(con, lake, "book/contacts") == CONTACTS
    assert (ingested.rows_in, ingested.notes) == (3, {HEADER: 1, "-,name,number": 2})


@pytest.mark.parametrize(
    "again", ["ID,TOWN,PHONE", "ID,TOWN,", "TOWN,ID,HOME PHONE"], ids=["renamed", "empty", "moved"]
)
def test_line_that_differs_from_the_header_is_a_row(bring: Ingest, con: Any, lake: Lake, again: str) -> None:
    ingested = bring({"contacts.csv": joined("ID,TOWN,HOME PHONE", again)}, Contact)
    assert (ingested.rows_in, ingested.rows_kept, ingested.notes) == (4, 4, {})
    assert tuple(name or None for name in again.split(",")) in rows(con, lake, "book/contacts")


def test_repeated_header_beside_invalid_rows_is_neither_kept_nor_quarantined(bring: Ingest) -> None:
    ingested = bring({"contacts.csv": joined("ID,TOWN,HOME PHONE", "ID,TOWN,HOME PHONE\na,Ulm,2")}, Contact)
    assert (ingested.rows_in, ingested.rows_kept, ingested.rows_quarantined, ingested.notes) == (4, 2, 2, {HEADER: 1})


def test_repeated_header_with_numeric_names_is_skipped(bring: Ingest, con: Any, lake: Lake) -> None:
    header = "ID,2019,2020\n"
    ingested = bring({"yearly.csv": f"{header}a,1,2\n{header}b,2019,2020\n"}, Yearly)
    assert rows(con, lake, "book/yearlys") == [("a", 1.0, 2.0), ("b", 2019.0, 2020.0)]
    assert (ingested.rows_in, ingested.notes) == (2, {HEADER: 1})


def test_repeated_header_with_an_index_column_is_skipped(bring: Ingest, con: Any, lake: Lake) -> None:
    header = ",ID,TOWN,HOME PHONE\n"
    ingested = bring({"contacts.csv": f"{header}0,a,Ulm,1\n1,b,,\n{header}2,c,Bonn,3\n"}, Contact)
    assert rows(con, lake, "book/contacts") == CONTACTS
    assert (ingested.rows_in, ingested.notes, ingested.indexes) == (3, {HEADER: 1}, {"contacts.csv": ""})


def test_repeated_header_in_a_parquet_file_is_skipped(bring: Ingest, con: Any, lake: Lake) -> None:
    again = ("ID", "TOWN", "HOME PHONE")
    frame = pd.DataFrame([*CONTACTS[:2], again, CONTACTS[2]], columns=list(again), dtype=object)
    sink = io.BytesIO()
    frame.to_parquet(sink)
    ingested = bring({"contacts.parquet": sink.getvalue()}, Contact)
    assert rows(con, lake, "book/contacts") == CONTACTS
    assert (ingested.rows_in, ingested.rows_kept, ingested.notes) == (3, 3, {HEADER: 1})


def test_name_of_a_single_column_may_be_a_value(bring: Ingest, con: Any, lake: Lake) -> None:
    class Town(Table):
        TOWN: str

    ingested = bring({"towns.csv": "TOWN\nUlm\nTOWN\n"}, Town)
    assert (rows(con, lake, "book/towns"), ingested.notes) == ([("TOWN",), ("Ulm",)], {})


def test_missing_file_and_bare_header_are_no_rows_of_a_child_table(bring: Ingest, con: Any, lake: Lake) -> None:
    for files in ({}, {"payments.csv": "ID,MONTH,AGENT\n"}, {"payments.csv": "ID,MONTH,AGENT"}):
        ingested = bring(files, Payment)
        assert (ingested.rows_in, ingested.rows_kept, ingested.rows_quarantined) == (0, 0, 0)
        assert rows(con, lake, "book/payments") == []
    with pytest.raises(BadDelivery, match=r"Table loans: no rows in loans\.csv"):
        bring({"loans.csv": LOANS})


def test_same_delivery_twice_leaves_the_same_rows(bring: Ingest, con: Any, lake: Lake) -> None:
    first = bring({"loans.csv": THREE})
    second = bring({"loans.csv": THREE})
    assert first.source_sha256 == second.source_sha256
    assert rows(con, lake) == THREE_ROWS


def test_correction_replaces_the_batch_and_clears_its_quarantine(bring: Ingest, con: Any, lake: Lake) -> None:
    bad = bring({"loans.csv": THREE.replace("1,0,A", "1,0,Z")})
    assert rows(con, lake) == THREE_ROWS[1:]
    assert bad.quarantine and bad.quarantine.exists()
    corrected = bring({"loans.csv": THREE})
    assert rows(con, lake) == THREE_ROWS
    assert corrected.quarantine is None
    assert not bad.quarantine.exists()
    assert lake.version("book/loans") == 1


def test_integer_beyond_double_precision_is_exact(bring: Ingest, con: Any, lake: Lake) -> None:
    class Big(Table):
        ID: np.int64 = pa.Field(unique=True)

    bring({"big.csv": f"ID\n{2**53 + 1}\n{2**53}\n-7\n"}, Big)
    assert rows(con, lake, "book/bigs") == [(-7,), (2**53,), (2**53 + 1,)]


@pytest.mark.parametrize("value", ["1.5", "200", "-129", "1e300", "x"])
def test_whole_number_that_does_not_fit_is_neither_rounded_nor_read_as_null(
    bring: Ingest, con: Any, lake: Lake, value: str
) -> None:
    class Count(Table):
        ID: np.int64 = pa.Field(unique=True)
        FLAG: pd.Int8Dtype = pa.Field(nullable=True)

    ingested = bring({"counts.csv": f"ID,FLAG\n1,5.0\n2,{value}\n3,\n4,1e1\n"}, Count)
    assert rows(con, lake, "book/counts") == [(1, 5), (3, None), (4, 10)]
    assert faults(ingested) == [(3, "FLAG", value, "must be a whole number from -128 to 127")]


# -- invalid rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, fault",
    [
        ("1.5,0,A,1,", ("ID", "1.5", "must be a whole number (32 bit)")),
        ("3000000000,0,A,1,", ("ID", "3000000000", "must be a whole number (32 bit)")),
        ("x,0,A,1,", ("ID", "x", "must be a whole number (32 bit)")),
        (",0,A,1,", ("ID", None, "must not be empty")),
        ("9,0,A,ten,", ("AMOUNT", "ten", "must be a number")),
        ('9,0,A,"1,5",', ("AMOUNT", "1,5", "must be a number")),
        ("9,0,A,-1,", ("AMOUNT", "-1.0", "must be at least 0")),
        ("9,2,A,1,", ("TARGET", "2.0", "must be one of 0, 1")),
        ("9,0,Q,1,", ("GRADE", "Q", "must be one of A, B, C, or worse")),
        ("9,0,,1,", ("GRADE", None, "must not be empty")),
        ("9,0,A", ("(row)", "3 fields", "must have 5 fields")),
        ("9,0,A,1,x,y", ("(row)", "6 fields", "must have 5 fields")),
        ('9,0,A,1,"open', ("(row)", '9,0,A,1,"open', "quotes do not pair up")),
        ('9,0,A,1,"a"b', ("(row)", '9,0,A,1,"a"b', "quotes do not pair up")),
        ("9,0,A,1,a\rb", ("(row)", "9,0,A,1,a\rb", "a carriage return inside the line")),
    ],
)
def test_invalid_row_loses_only_itself(
    bring: Ingest, con: Any, lake: Lake, line: str, fault: tuple[str, str | None, str]
) -> None:
    lines = THREE.splitlines()
    ingested = bring({"loans.csv": "\n".join([*lines[:2], line, *lines[2:]])})
    assert (ingested.rows_in, ingested.rows_kept, ingested.rows_quarantined) == (4, 3, 1)
    assert rows(con, lake) == THREE_ROWS
    assert faults(ingested) == [(3, *fault)]
    assert [(told.column, told.check, told.count) for told in ingested.violations] == [(fault[0], fault[2], 1)]
    (kept_aside,) = pq.read_table(ingested.quarantine).to_pylist()
    assert (kept_aside["file"], kept_aside["line"]) == ("loans.csv", line)


def test_all_faults_of_a_row_are_reported(bring: Ingest) -> None:
    ingested = bring({"loans.csv": THREE + "9,5,Q,-1,\n"})
    assert {column for _, column, _, _ in faults(ingested)} == {"TARGET", "GRADE", "AMOUNT"}
    assert ingested.rows_quarantined == 1


def test_two_lines_with_unclosed_quotes_do_not_swallow_the_lines_between(bring: Ingest, con: Any, lake: Lake) -> None:
    ingested = bring({"loans.csv": LOANS + '8,0,A,1,"open\n1,0,A,10.5,\nclose"\n3,,B,0,x\n'})
    assert rows(con, lake) == [THREE_ROWS[0], THREE_ROWS[2]]
    assert [(row, rule) for row, _, _, rule in faults(ingested)] == [
        (2, "quotes do not pair up"),
        (4, "must have 5 fields"),
    ]


def test_first_of_equal_rows_is_kept_and_none_of_conflicting_ones(bring: Ingest, con: Any, lake: Lake) -> None:
    ingested = bring({"loans.csv": THREE + "1,0,A,10.5,\n3,,B,5,x\n1,0,A,10.5,\n"})
    assert rows(con, lake) == THREE_ROWS[:2]
    assert (ingested.rows_in, ingested.rows_kept, ingested.rows_quarantined) == (6, 2, 4)
    assert faults(ingested) == [
        (4, "ID", "3", "must be unique; the rows with this key differ"),
        (5, "ID", "1", "repeats an earlier row"),
        (6, "ID", "3", "must be unique; the rows with this key differ"),
        (7, "ID", "1", "repeats an earlier row"),
    ]


def test_invalid_row_does_not_affect_the_valid_one_with_its_key(bring: Ingest, con: Any, lake: Lake) -> None:
    bring({"loans.csv": THREE + "1,0,Q,10.5,\n"})
    assert rows(con, lake) == THREE_ROWS


def test_orphan_is_quarantined_if_the_relation_is_enforced_and_counted_otherwise(
    bring: Ingest, con: Any, lake: Lake
) -> None:
    ingested = bring({"payments.csv": "ID,MONTH,AGENT\n1,0,7\n4,0,7\n2,-1,8\n2,-2,\n"}, Payment)
    assert faults(ingested) == [(3, "ID", "4", "must occur in loans.ID")]
    assert [(told.column, told.count) for told in ingested.orphans] == [("AGENT", 1)]
    assert rows(con, lake, "book/payments") == [(1, 0, 7.0), (2, -2, None), (2, -1, 8.0)]


def test_relation_without_its_parent_table_is_a_caller_s_error(con: Any, lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="relates to agents, loans"):
        ingest(
            con,
            lake,
            [],
            Target("book/payments", Payment, {}, "2026-01"),
            max_bad_share=0,
            quarantine_folder=tmp_path,
            scratch=tmp_path,
        )


def test_invalid_parquet_rows_are_reported_by_position(bring: Ingest, con: Any, lake: Lake) -> None:
    frame = pd.DataFrame(THREE_ROWS, columns=["ID", "TARGET", "GRADE", "AMOUNT", "NOTE"])
    frame = frame.astype({"ID": float})
    frame.loc[1, "ID"] = 1.5
    sink = io.BytesIO()
    frame.to_parquet(sink)
    ingested = bring({"loans.parquet": sink.getvalue()})
    assert rows(con, lake) == [THREE_ROWS[0], THREE_ROWS[2]]
    assert faults(ingested) == [(2, "ID", "1.5", "must be a whole number (32 bit)")]


def test_tolerated_share_of_invalid_rows_may_be_reached_but_not_exceeded(
    bring: Ingest, con: Any, lake: Lake, tmp_path: Path
) -> None:
    hundred = LOANS + "".join(f"{number},0,{'A' if number >= 29 else 'Q'},1,\n" for number in range(100))
    # In floating point 0.29 * 100 is less than 29.
    assert bring({"loans.csv": hundred}, share=0.29).rows_quarantined == 29
    bring({"loans.csv": THREE})
    quarter = THREE + "9,0,Q,1,\n"
    with pytest.raises(BadDelivery) as error:
        bring({"loans.csv": quarter}, share=0.24)
    for told in ["loans.csv", "Table loans", "row 5", "GRADE", "'Q'", "1 of 4 rows (25%)", "24% are allowed"]:
        assert told in str(error.value)
    assert "loans.csv row 5, column GRADE: must be one of" in error.value.without_values
    assert "'Q'" not in error.value.without_values
    assert error.value.examples.to_dict("records") == [
        {
            "file": "loans.csv",
            "row": 5,
            "column": "GRADE",
            "value": "Q",
            "rule": "must be one of A, B, C, or worse",
        }
    ]
    assert error.value.quarantine == tmp_path / "quarantine" / "loans.parquet"
    assert error.value.quarantine.exists()
    assert rows(con, lake) == THREE_ROWS
    assert lake.version("book/loans") == 1
    assert bring({"loans.csv": quarter}, share=0.25).rows_quarantined == 1


# -- tables whose later file wins ----------------------------------------------------------------------


class Outcome(Table):
    ID: np.int64 = pa.Field(unique=True)
    TARGET: np.int8 = pa.Field(isin=[0, 1])
    relations = (Relation("ID", "loans", "ID"),)


def counts(ingested: Ingested) -> tuple[int, int, int, int]:
    return (ingested.rows_in, ingested.rows_kept, ingested.rows_quarantined, ingested.rows_superseded)


def bring_outcomes(bring: Ingest, **files: str) -> Ingested:
    """Files with rows given as `ID,TARGET;ID,TARGET`."""
    written = {f"{name}.csv": "\n".join(["ID,TARGET", *rows.split(";")]) for name, rows in files.items()}
    return bring(written, Outcome, later_file_supersedes=True)


def test_last_file_wins_for_an_applicant_in_several_files(bring: Ingest, con: Any, lake: Lake) -> None:
    # The given order, which is not alphabetical.
    ingested = bring_outcomes(bring, b="1,0;2,0", c="2,1;3,1", a="2,0;3,0")
    assert rows(con, lake, "book/outcomes") == [(1, 0), (2, 0), (3, 0)]
    assert counts(ingested) == (6, 3, 0, 3)
    assert set(ingested.source_sha256) == {"a.csv", "b.csv", "c.csv"}


def test_invalid_row_overrides_nothing(bring: Ingest, con: Any, lake: Lake) -> None:
    ingested = bring_outcomes(bring, a="1,0;2,0;3,0", b="1,7;4,1;2,;3,1")
    assert rows(con, lake, "book/outcomes") == [(1, 0), (2, 0), (3, 1)]
    assert counts(ingested) == (7, 3, 3, 1)


def test_duplicate_applicant_within_one_file_is_a_fault(bring: Ingest, con: Any, lake: Lake) -> None:
    ingested = bring_outcomes(bring, a="1,0;2,0;3,0;3,0", b="1,1;1,0;2,1;2,1")
    assert rows(con, lake, "book/outcomes") == [(1, 0), (2, 1), (3, 0)]
    assert counts(ingested) == (8, 3, 4, 1)
    assert {told[:1] + told[3:] for told in faults(ingested)} == {
        (5, "repeats an earlier row"),
        (2, "must be unique; the rows with this key differ"),
        (3, "must be unique; the rows with this key differ"),
    }


def test_same_key_in_two_files_conflicts_unless_the_later_file_wins(bring: Ingest) -> None:
    header = "ID,TARGET\n"
    ingested = bring({"a.csv": f"{header}1,0\n2,0\n", "b.csv": f"{header}2,1\n"}, Outcome)
    assert counts(ingested) == (3, 1, 2, 0)


def test_later_file_can_only_win_in_a_table_with_one_key(bring: Ingest) -> None:
    class Keyless(Table):
        ID: np.int64

    with pytest.raises(ValueError, match="Table keylesss has 0 keys"):
        bring({"a.csv": "ID\n1\n", "b.csv": "ID\n1\n"}, Keyless, later_file_supersedes=True)


def test_damaged_parquet_file_among_several_is_refused(bring: Ingest) -> None:
    sink = io.BytesIO()
    pd.DataFrame({"ID": np.arange(50_000), "TARGET": np.int8(0)}).to_parquet(sink)
    damaged = sink.getvalue()[:500] + bytes(5000) + sink.getvalue()[5500:]
    with pytest.raises(BadDelivery, match=r"b\.parquet \(table outcomes\) is damaged"):
        bring({"a.csv": "ID,TARGET\n1,0\n", "b.parquet": damaged}, Outcome, later_file_supersedes=True)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0, 1, 7])), max_size=5),
        min_size=2,
        max_size=4,
    )
)
def test_every_row_of_any_files_of_outcomes_is_accounted_for(written: list[list[tuple[int, int]]]) -> None:
    expected, bad, superseded = {}, 0, 0
    for rows_of_file in written:
        good: dict[int, list[int]] = {}
        for number, target in rows_of_file:
            # Applicant 4 is not in the batch, 7 is no valid outcome.
            if number <= 3 and target <= 1:
                good.setdefault(number, []).append(target)
            else:
                bad += 1
        for number, targets in good.items():
            if len(set(targets)) > 1:
                bad += len(targets)
            else:
                bad += len(targets) - 1
                superseded += number in expected
                expected[number] = targets[0]
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        files = [Path(folder) / f"outcomes.{number}.csv" for number in range(len(written))]
        for file, rows_of_file in zip(files, written, strict=True):
            file.write_text("".join(f"{a},{b}\n" for a, b in [("ID", "TARGET"), *rows_of_file]))
        ingested = ingest(
            con,
            Lake(Path(folder) / "lake"),
            files,
            Target("outcomes", Outcome, PARENTS, later_file_supersedes=True),
            max_bad_share=1,
            quarantine_folder=Path(folder) / "quarantine",
            scratch=Path(folder) / "scratch",
        )
        kept = dict(con.sql(ingested.staged.query()).fetchall()) if ingested.rows_kept else {}
    assert kept == expected
    assert counts(ingested) == (sum(map(len, written)), len(expected), bad, superseded)


# -- unreadable files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files, told",
    [
        ({"loans.csv": ""}, ["loans.csv", "table loans", "is empty"]),
        ({"loans.csv.gz": gzip.compress(b"", mtime=0)}, ["loans.csv.gz", "lacks the column"]),
        ({"loans.csv": "ID,GRADE,NOTE\n1,A,\n"}, ["loans.csv", "table loans", "lacks", "AMOUNT", "Loan"]),
        ({"loans.csv": "id,TARGET,GRADE,AMOUNT,NOTE\n"}, ["lacks the column ID", "it has id", "case-sensitive"]),
        ({"loans.csv": THREE.replace("NOTE", "NOTE,MORE")}, ["has the column MORE", "Remove it", "Loan"]),
        ({"loans.csv": "ID,ID,GRADE,AMOUNT,NOTE\n"}, ["the column ID more than once"]),
        ({"loans.csv": THREE.replace(",", " ")}, ["lacks the column ID", "it has ID TARGET GRADE AMOUNT NOTE"]),
        ({"loans.csv": THREE.replace("\n", "\r")}, ["carriage return alone"]),
        (
            {"loans.csv": THREE.replace('"no"', "vér").encode("latin-1")},
            ["loans.csv", "table loans", "row 3", "column NOTE", "0xE9", "vér", "UTF-8"],
        ),
        ({"loans.csv": THREE.encode() + b"9,0,A,1,\xc3"}, ["row 5", "column NOTE", "0xC3"]),
        ({"loans.csv": THREE.encode("utf-16")}, ["loans.csv", "is in UTF-16"]),
        ({"loans.csv.gz": gzip.compress(THREE.encode() * 99, mtime=0)[:-12]}, ["loans.csv.gz", "truncated or damaged"]),
        ({"loans.csv.gz": THREE}, ["truncated or damaged"]),
        ({"loans.parquet": b"PAR1 and so on"}, ["not a complete Parquet file"]),
        ({"loans.xlsx": "x"}, ["loans.xlsx", "is not a .csv"]),
    ],
)
def test_file_that_does_not_fit_the_table_is_refused_completely(
    bring: Ingest, lake: Lake, files: dict[str, str | bytes], told: list[str], tmp_path: Path
) -> None:
    with pytest.raises(BadDelivery) as error:
        bring(files)
    for words in told:
        assert words in str(error.value)
    with pytest.raises(TableMissing):
        lake.version("book/loans")
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "4711,0,Q,99,SECRET\n4712,1,A,98,\n",
        "4711,4711,Q,99,SECRET\n",
        THREE.replace('"no"', "S\u00c9CRET SECRET"),
        "4711,0,Q,99,\n4712,0,A,1,S\u00c9CRET SECRET\n",
    ],
    ids=["no header", "no header and a number twice", "not UTF-8", "no header and not UTF-8"],
)
def test_masked_messages_quote_nothing_of_a_file(bring: Ingest, content: str) -> None:
    with pytest.raises(BadDelivery) as error:
        bring({"loans.csv": content.encode("latin-1")})
    assert any(value in str(error.value) for value in ("SECRET", "4711", "S\u00c9CRET"))
    assert "loans.csv (table loans)" in error.value.without_values
    for value in ("SECRET", "CRET", "4711", "99"):
        assert value not in error.value.without_values


def test_missing_file_is_named(con: Any, lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match=r"Table loans: there is no file .*gone\.csv"):
        ingest(
            con,
            lake,
            [tmp_path / "gone.csv"],
            Target("book/loans", Loan, {}, "2026-01"),
            max_bad_share=0,
            quarantine_folder=tmp_path,
            scratch=tmp_path,
        )


class Ids(Table):
    ID: np.int64 = pa.Field(unique=True)
    NAME: str
    RATIO: float = pa.Field(nullable=True, ge=-1, le=10)


def test_integers_of_any_type_are_ids_digit_for_digit(bring: Ingest, con: Any, lake: Lake) -> None:
    table = pyarrow.table(
        {
            "ID": pyarrow.array([Decimal(f"{2**62 + n}.00") for n in range(3)], pyarrow.decimal128(38, 2)),
            "NAME": pyarrow.array([Decimal(10**30 + n) for n in range(3)], pyarrow.decimal128(38, 0)),
            "RATIO": pyarrow.array([float("inf"), float("nan"), -float("inf")]),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    bring({"ids.parquet": sink.getvalue()}, Ids)
    assert rows(con, lake, "book/idss") == [(2**62 + n, str(10**30 + n), None) for n in range(3)]


def test_infinity_is_null_in_csv_too(bring: Ingest, con: Any, lake: Lake) -> None:
    bring({"ids.csv": "ID,NAME,RATIO\n1,a,inf\n2,b,-Infinity\n3,c,1.5\n"}, Ids)
    assert [row[2] for row in rows(con, lake, "book/idss")] == [None, None, 1.5]


def test_parquet_with_an_incompatible_type_is_refused(bring: Ingest) -> None:
    sink = io.BytesIO()
    frame = pd.DataFrame(THREE_ROWS, columns=["ID", "TARGET", "GRADE", "AMOUNT", "NOTE"])
    frame.astype({"ID": str}).to_parquet(sink)
    with pytest.raises(BadDelivery, match=r"loans\.parquet.*column ID: the file has .*string, .* INTEGER"):
        bring({"loans.parquet": sink.getvalue()})


def test_damaged_parquet_file_is_refused(bring: Ingest) -> None:
    sink = io.BytesIO()
    frame = pd.DataFrame(THREE_ROWS * 1000, columns=["ID", "TARGET", "GRADE", "AMOUNT", "NOTE"])
    frame["ID"] = range(len(frame))
    frame.to_parquet(sink)
    content = sink.getvalue()
    with pytest.raises(BadDelivery, match=r"loans\.parquet \(table loans\) is damaged"):
        bring({"loans.parquet": content[:500] + bytes(5000) + content[5500:]})


def test_file_that_changes_while_it_is_read_is_refused(con: Any, lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "loans.csv"
    file.write_text(THREE)

    class Disturbed(Lake):
        """A lake that touches the file while it writes."""

        def stage(self, *args: Any) -> Any:
            staged = super().stage(*args)
            with file.open("a") as more:
                more.write("4,0,A,1,\n")
            return staged

    with pytest.raises(BadDelivery, match=r"loans\.csv changed while being read"):
        ingest(
            con,
            Disturbed(tmp_path / "lake"),
            [file],
            Target("book/loans", Loan, {}, "2026-01"),
            max_bad_share=0,
            quarantine_folder=tmp_path / "quarantine",
            scratch=tmp_path / "scratch",
        )
    assert not list((tmp_path / "lake").rglob("*.parquet"))


# -- random mixtures -----------------------------------------------------------------------------------

GOOD = st.tuples(
    st.sampled_from(["", "0", "1", "0.0", "1.0"]),
    st.sampled_from(["A", '"A"', '"C, or worse"']),
    st.sampled_from(["", "5", "0.25", "1e3", "nan"]),
    st.sampled_from(["", "x", '"a, b"', '"say ""x"""', 'a"b', " blank ", "é", "#", "'", "\\"]),
)
BAD = st.sampled_from(
    [
        "{},0,A,1",
        "{},0,A,1,x,y",
        "{}.5,0,A,1,",
        "{},0,Q,1,",
        '{},0,A,1,"',
        '{},"0,A,1,',
        "{},0,A,x,",
    ]
)
NO_VALUES = st.sampled_from([" ", ",,,,", '"",,"",,', " , ,  ,,", ",,", ",,,,,,,,"])


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(st.one_of(GOOD, BAD, NO_VALUES, st.just("")), max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    notes=st.sampled_from([[], ["none of them"]]),
    separator=st.sampled_from([",", ";", "\t", "|"]),
)
def test_every_row_of_any_mixture_is_accounted_for(
    lines: list[tuple | str], end: str, last: bool, notes: list[str], separator: str
) -> None:
    def separated(line: str) -> str:
        """The line with commas and separators exchanged, except in a grade."""
        swapped = line.translate(str.maketrans({",": separator, separator: ","}))
        return swapped.replace(f"C{separator} or worse", "C, or worse")

    good, bad, empty, text = [], 0, 0, [separated(LOANS.strip())]
    for number, line in enumerate([("", "A", "", ""), *lines], start=1):
        if isinstance(line, tuple):
            written = ",".join([str(number), *line])
            _, target, grade, amount, note = next(csv.reader([written]))
            value = float(amount) if amount not in ("", "nan") else None
            good.append((number, float(target) if target else None, grade, value, separated(note) or None))
            text.append(separated(written))
        else:
            text.append(separated(line.format(number)))
            if line.strip(' ,"\t'):
                bad += 1
            else:
                empty += line != ""
    folder = Path(tempfile.mkdtemp())
    try:
        file = folder / "loans.csv"
        file.write_bytes((end.join(text) + (end if last else "")).encode())
        with duckdb.connect() as con:
            ingested = ingest(
                con,
                Lake(folder / "lake"),
                [file],
                Target("loans", Loan, {}),
                max_bad_share=1,
                quarantine_folder=folder / "quarantine",
                scratch=folder / "scratch",
                notes=notes,
            )
            kept = con.sql(f"SELECT * FROM ({ingested.staged.query()}) ORDER BY ID").fetchall()
        assert kept == good
        assert (ingested.rows_in, ingested.rows_kept) == (len(good) + bad, len(good))
        assert ingested.notes == ({EMPTY: empty} if empty else {})
        assert ingested.rows_quarantined == bad == (len(faulty_rows(ingested)) if ingested.quarantine else 0)
    finally:
        shutil.rmtree(folder)


def faulty_rows(ingested: Ingested) -> set[int]:
    return {row for row, *_ in faults(ingested)}


def test_real_applications_without_an_id_are_numbered(bring: Ingest, con: Any, lake: Lake, real_data: Path) -> None:
    file = real_data / "german_credit" / "german_credit.csv.gz"
    with gzip.open(file, "rt", newline="") as text:
        delivered = list(csv.DictReader(text))
    body: dict[str, Any] = {"__module__": __name__, "__annotations__": dict.fromkeys(["id", *delivered[0]], str)}
    body |= {"id": pa.Field(unique=True)} | {name: pa.Field() for name in delivered[0]}
    ingested = bring({"german_credit.csv.gz": file.read_bytes()}, type("German", (Table,), body), 0, numbered="id")
    assert counts(ingested) == (1000, 1000, 0, 0)
    stored = con.sql(f"SELECT * EXCLUDE (batch) FROM ({lake.query('book/germans')})").df().set_index("id")
    for nth, row in enumerate(delivered, start=1):
        assert stored.loc[f"2026-01-{nth}"].to_dict() == row


def test_real_sample_is_accepted_completely(bring: Ingest, real_data: Path) -> None:
    from credit_assets.schemas.home_credit import TABLES

    folder = real_data / "home_credit"
    names = ["application_train.csv.gz", "application_test.csv.gz"]
    ingested = bring({name: (folder / name).read_bytes() for name in names}, TABLES["applications"], share=0)
    assert ingested.rows_in == ingested.rows_kept == 3549 + 1972


# -- times with a zone ---------------------------------------------------------------------------------


class Moment(Table):
    ID: np.int32 = pa.Field(unique=True)
    AT: pd.Timestamp = pa.Field(nullable=True)
    DAY: pandera.typing.Date = pa.Field(nullable=True)


ZONED = {
    "2024-01-01 23:30:00-05:00": "2024-01-02 04:30:00",
    "2024-01-01T02:00:00.25+0530": "2023-12-31 20:30:00.250000",
    "2024-01-01T02:00:00Z": "2024-01-01 02:00:00",
    "2024-07-01 02:00:00 America/New_York": "2024-07-01 06:00:00",
    "2024-01-01 02:00 +02:00": "2024-01-01 00:00:00",
    "2024-01-01 02:00:00": "2024-01-01 02:00:00",
    "2024-01-01": "2024-01-01 00:00:00",
}


@pytest.mark.parametrize("bad_row", ["", "99,no moment,\n"])
def test_time_with_a_zone_is_stored_in_utc_by_both_ways_of_reading(
    bring: Ingest, con: Any, lake: Lake, bad_row: str
) -> None:
    written = "".join(f"{n},{text},{text}\n" for n, text in enumerate(ZONED))
    ingested = bring({"moments.csv": f"ID,AT,DAY\n{written}{bad_row}"}, Moment)
    assert ingested.rows_quarantined == bool(bad_row)
    stored = rows(con, lake, "book/moments")
    assert [str(at) for _, at, _ in stored] == list(ZONED.values())
    assert [str(day) for _, _, day in stored] == [text[:10] for text in ZONED.values()]


def test_time_with_a_zone_is_the_same_from_parquet_as_from_csv(bring: Ingest, con: Any, lake: Lake) -> None:
    at = pd.to_datetime(["2024-01-01 23:30:00"]).tz_localize("America/New_York")
    frame = pd.DataFrame({"ID": np.array([1], np.int32), "AT": at, "DAY": at})
    bring({"moments.csv": frame.to_csv(index=False)}, Moment)
    from_csv = rows(con, lake, "book/moments")
    content = io.BytesIO()
    frame.to_parquet(content)
    bring({"moments.parquet": content.getvalue()}, Moment)
    assert rows(con, lake, "book/moments") == from_csv
    assert str(from_csv[0][1]) == "2024-01-02 04:30:00"


# -- empty rows and index columns -----------------------------------------------------------------------


class Anything(Table):
    """A table without a key, so that only the reader keeps empty rows out."""

    N: float = pa.Field(nullable=True)
    WORD: str = pa.Field(nullable=True)


def parquet(frame: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.to_parquet(content)
    return content.getvalue()


@pytest.mark.parametrize("bad", ["", "x,a\n"])
def test_empty_rows_are_skipped_and_counted_wherever_they_stand(bring: Ingest, con: Any, lake: Lake, bad: str) -> None:
    ingested = bring({"anything.csv": f'N,WORD\n,\n1,a\n"",""\n , \n,"\t"\n2,\n{bad},\n,,,,\n'}, Anything)
    assert rows(con, lake, "book/anythings") == [(1.0, "a"), (2.0, None)]
    assert ingested.notes == {EMPTY: 6}
    assert ingested.rows_in == 2 + bool(bad)


def test_empty_rows_are_skipped_in_parquet_too(bring: Ingest, con: Any, lake: Lake) -> None:
    frame = pd.DataFrame({"N": [None, 1.0, None, np.nan], "WORD": ["", "a", "b", None]})
    ingested = bring({"anything.parquet": parquet(frame)}, Anything)
    assert rows(con, lake, "book/anythings") == [(1.0, "a"), (None, "b")]
    assert (ingested.rows_in, ingested.notes) == (2, {EMPTY: 2})


def test_empty_rows_are_not_numbered(bring: Ingest, con: Any, lake: Lake) -> None:
    frame = pd.DataFrame({"id": [None] * 4, "amount": [None, 1.0, None, 2.0]})
    named = [("2026-01-1", 1.0), ("2026-01-2", 2.0)]
    for files in (
        {"named.parquet": parquet(frame)},
        {"named.csv": "id,amount\n,\n,1\n,\n,2\n"},
        {"named.csv": "id,amount\n,\n,1\n,\n,2\n,x\n"},
    ):
        bring(files, Named, numbered="id")
        assert rows(con, lake, "book/nameds") == named


@pytest.mark.parametrize("bad", ["", "7,x,9,A,1,y\n"])
@pytest.mark.parametrize("name", ["", '""', "Unnamed: 0"])
def test_unnamed_index_column_is_dropped_and_reported(bring: Ingest, con: Any, lake: Lake, name: str, bad: str) -> None:
    lines = [f"{n},{line}" for n, line in enumerate(THREE.splitlines()[1:])]
    text = "\n".join([f"{name},{LOANS.strip()}", *lines, "12,,,,,", bad])
    ingested = bring({"loans.csv": text})
    assert rows(con, lake) == THREE_ROWS
    assert ingested.indexes == {"loans.csv": name.strip('"')}
    assert ingested.notes == {EMPTY: 1}


@pytest.mark.parametrize("first", ["x", "1", "1.5", ""])
def test_unnamed_first_column_that_does_not_count_rows_is_no_index(bring: Ingest, first: str) -> None:
    lines = [f"{number},{line}" for number, line in zip(["1", first, "3"], THREE.splitlines()[1:], strict=True)]
    with pytest.raises(BadDelivery, match="first column has no name and does not number the rows"):
        bring({"loans.csv": "\n".join([f",{LOANS.strip()}", *lines])})


def test_index_written_by_pandas_to_parquet_is_dropped(bring: Ingest, con: Any, lake: Lake) -> None:
    frame = pd.DataFrame({"N": [1.0, 2.0, None], "WORD": ["a", "b", None]}, index=[7, 3, 5])
    ingested = bring({"anything.parquet": parquet(frame)}, Anything)
    assert rows(con, lake, "book/anythings") == [(1.0, "a"), (2.0, "b")]
    assert ingested.indexes == {"anything.parquet": "__index_level_0__"}


# -- mistaken outcomes ---------------------------------------------------------------------------------


class Fate(Table):
    ID: np.int64 = pa.Field(unique=True)
    BAD: np.int8 = pa.Field(isin=[0, 1])
    relations = (Relation("ID", "loans", "ID"),)


ELSEWHERE = {"loans": "SELECT unnest([10, 11, 12, 3]) AS ID"}
FATES = "ID,BAD\n1,0\n2,1\n3,0\n"
WRONG = {
    "bad rows": b"ID,BAD\n1,7\n2,8\n3,9\n77,0\n",
    "another header": b"loan;outcome\n1;0\n",
    "no text": b"ID,BAD\n1,\xff\n",
    "empty": b"",
    "damaged": b"PAR1 and no more",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_refused_file_of_outcomes_is_superseded_by_the_next(bring: Ingest, con: Any, lake: Lake, wrong: str) -> None:
    name = "outcomes.parquet" if wrong == "damaged" else "outcomes.csv"
    with pytest.raises(BadDelivery):
        bring({name: WRONG[wrong]}, Fate, share=0.1, later_file_supersedes=True)
    files = {name: WRONG[wrong], "outcomes.2.csv": FATES}
    ingested = bring(files, Fate, share=0.1, later_file_supersedes=True)
    assert rows(con, lake, "book/fates") == [(1, 0), (2, 1), (3, 0)]
    assert list(ingested.refused) == [name]
    assert set(ingested.source_sha256) == set(files)
    assert ingested.rows_in == ingested.rows_kept + ingested.rows_superseded == (7 if wrong == "bad rows" else 3)


def test_outcomes_before_a_refused_file_are_kept_with_those_after_it(bring: Ingest, con: Any, lake: Lake) -> None:
    files = {"outcomes.csv": "ID,BAD\n1,0\n", "outcomes.2.csv": "ID,BAD\n2,7\n", "outcomes.3.csv": "ID,BAD\n2,1\n"}
    bring(files, Fate, share=0.1, later_file_supersedes=True)
    assert rows(con, lake, "book/fates") == [(1, 0), (2, 1)]


def test_refusal_of_the_newest_file_of_outcomes_gives_working_advice(bring: Ingest) -> None:
    files = {"outcomes.csv": FATES, "outcomes.2.csv": "ID,BAD\n1,7\n"}
    with pytest.raises(BadDelivery, match="Correct the file and deliver it the same way: it replaces this"):
        bring(files, Fate, share=0.1, later_file_supersedes=True)


@pytest.mark.parametrize("files", [1, 2])
def test_outcomes_of_applicants_in_other_batches_are_skipped_and_counted(
    bring: Ingest, con: Any, lake: Lake, files: int
) -> None:
    whole_book = FATES + "10,0\n11,5\n12,1\n"
    given = {"outcomes.csv": whole_book, "outcomes.2.csv": whole_book}
    names = list(given)[:files]
    ingested = bring({n: given[n] for n in names}, Fate, share=0, later_file_supersedes=True, elsewhere=ELSEWHERE)
    assert rows(con, lake, "book/fates") == [(1, 0), (2, 1), (3, 0)]
    assert ingested.notes == {OTHER_BATCHES: 3 * files}
    assert ingested.rows_in == 3 * files


def test_outcomes_of_applicants_in_no_batch_are_quarantined(bring: Ingest) -> None:
    ingested = bring({"outcomes.csv": FATES + "10,0\n77,0\n"}, Fate, later_file_supersedes=True, elsewhere=ELSEWHERE)
    assert faults(ingested) == [(6, "ID", "77", "must occur in loans.ID")]
    assert ingested.notes == {OTHER_BATCHES: 1}


def test_outcomes_only_of_other_batches_are_refused(bring: Ingest) -> None:
    with pytest.raises(BadDelivery, match=r"every row of outcomes\.csv belongs to a batch other than 2026-01"):
        bring({"outcomes.csv": "ID,BAD\n10,0\n"}, Fate, later_file_supersedes=True, elsewhere=ELSEWHERE)

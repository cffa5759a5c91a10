"""CSV files with few bad rows: only these are read row by row, with the result of reading every row by itself."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import numpy as np
import pandera.pandas as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.ingest import csv_rows, few_bad_rows, regular_lines, typed_read
from credit_assets.ingest.csv_bytes import count_lines
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import ingest
from credit_assets.lake.tables import Lake
from credit_assets.schemas.table import Table


class Loan(Table):
    ID: np.int64 = pa.Field(unique=True)
    MONTHS: np.int8 = pa.Field(ge=0)
    AMOUNT: float = pa.Field(nullable=True, ge=0)
    NOTE: str = pa.Field(nullable=True)

    class Config:
        unique: ClassVar = ["ID"]


LINES = st.one_of(
    st.tuples(st.integers(0, 9), st.integers(-1, 3)).map(lambda values: "{},{},1.5,x".format(*values)),
    st.sampled_from(
        [
            *("1,2,3,x", "1,2,3,x", "5,1.0,,", "6,1.5,,", "7,200,,", "8,1,x,", "9,1", "9,1,2,3,4", ",1,2,3", "", " "),
            *(",,,", "ID,MONTHS,AMOUNT,NOTE", "1,2,,a\rb", '"open', '2,1,,"open', '3,1,,"two', 'lines"', '4,1,,"a""b"'),
            *('4,1,,"a"b', f"{2**53 + 1},1,,", f"{2**63},1,,", "1e3,1,,", "nan,1,,", "10,1,inf,é", "11,1,2,,,"),
        ]
    ),
)


def result(files: list[bytes]) -> tuple[Any, ...]:
    """What ingesting the files yields: the rows, the counts, and the quarantine file."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        paths = [Path(folder, f"loans{n}.csv") for n in range(len(files))]
        for path, content in zip(paths, files, strict=True):
            path.write_bytes(content)
        done = ingest(
            con,
            Lake(Path(folder, "lake")),
            paths,
            Target("loans", Loan, {}),
            max_bad_share=1,
            quarantine_folder=Path(folder),
            scratch=Path(folder, "scratch"),
        )
        rows = con.sql(f"FROM ({done.staged.query()}) ORDER BY ALL").fetchall()
        bad = pq.read_table(done.quarantine).to_pylist() if done.quarantine else []
        return rows, done.rows_in, done.rows_quarantined, dict(done.notes), done.violations, bad


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(
    files=st.lists(st.lists(LINES, max_size=12), min_size=1, max_size=2),
    header=st.sampled_from(["ID,MONTHS,AMOUNT,NOTE", '\n"ID","MONTHS","AMOUNT",NOTE']),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_result_is_that_of_reading_every_row_by_itself(files: list[list[str]], header: str, end: str) -> None:
    contents = [end.join([header, f"{100 + n},0,0,first", *lines, ""]).encode() for n, lines in enumerate(files)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typed_read, "marker_of", lambda *_: None)
        expected = result(contents)
    assert result(contents) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_bad_rows, "SAMPLED", 0)
        patch.setattr(regular_lines, "PIECES", 2)
        patch.setattr(few_bad_rows, "HASHES", 2)
        patch.setattr(csv_rows, "BLOCK", 20)
        assert result(contents) == expected


@pytest.mark.parametrize(
    "line",
    [
        *("x,1,2,", "1.5,1,2,", "9,1", "9,1,2,3,4", '9,1,2,"open', '"9,1,2,open', "9,-1,2,", ",1,2,", "1,1,2,"),
        *("9,1,2,a\rb", ",,,", "ID,MONTHS,AMOUNT,NOTE", f"{2**53 + 1},1,2,"),
    ],
)
def test_only_the_bad_row_is_read_row_by_row(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    check_rows = few_bad_rows.check_rows

    def counting(*arguments: Any) -> Any:
        found = check_rows(*arguments)
        read.append(pq.read_metadata(arguments[3]).num_rows)
        return found

    monkeypatch.setattr(few_bad_rows, "check_rows", counting)
    monkeypatch.delattr(typed_read, "check_rows")
    good = [f"{n},1,2,x" for n in range(1, 9)]
    rows, *_ = result(["\n".join(["ID,MONTHS,AMOUNT,NOTE", *good, line, "99,1,2,y"]).encode()])
    assert len(read) == 1
    assert read[0] <= 2, "a repeated key has two rows"
    assert {(n, 1, 2.0, "x") for n in range(2, 9)} < set(rows)


@pytest.mark.parametrize(
    "content, irregular",
    [
        ('a,b\n"1","2"\n', False),
        ('a,b\r\n"1",2\r\n', False),
        ('a,b\n"1\n2",3\n', True),
        ('a,b\n1,"2\n', True),
        ('a,b\n1,"2', True),
        ('a,b\n"1,2\n"3,4\n', True),
        ("a,b\n1\r2,3\n", True),
    ],
)
@pytest.mark.parametrize("block", [2, 5, 1000])
def test_open_quotes_and_single_carriage_returns_are_noticed(
    content: str, irregular: bool, block: int, tmp_path: Path
) -> None:
    file = tmp_path / "loans.csv"
    file.write_bytes(content.encode())
    lines, found = count_lines(file, 1, b"a,b\n", "loans.csv", block)
    assert lines == len(content.removesuffix("\n").split("\n"))
    # Blocks of a few bytes may separate a carriage return from its line feed.
    assert found == irregular or (found and "\r" in content and block < 1000)


def test_sample_has_the_header_and_whole_lines_from_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regular_lines, "PIECES", 4)
    monkeypatch.setattr(regular_lines, "PIECE", 50)
    file, sample = tmp_path / "loans.csv", tmp_path / "sample.csv"
    lines = [f"{n},{'x' * (n % 7)}" for n in range(200)]
    file.write_text("\n".join(["ID,NOTE", *lines]))
    regular_lines.write_sample(file, sample)
    header, *taken = sample.read_text().splitlines()
    assert header == "ID,NOTE"
    assert set(taken) <= set(lines)
    parts = {lines.index(line) // 50 for line in taken}
    assert parts == {0, 1, 2, 3}
    assert len(taken) < 50


def test_bad_rows_in_a_sample_are_staged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    staged = []
    stage = Lake.stage

    def counting(*arguments: Any) -> Any:
        staged.append(arguments)
        return stage(*arguments)

    monkeypatch.setattr(Lake, "stage", counting)
    monkeypatch.setattr(few_bad_rows, "SAMPLED", 0)
    monkeypatch.setattr(regular_lines, "PIECES", 1)
    content = b"ID,MONTHS,AMOUNT,NOTE\n1,1,2,x\nx,1,2,y\n2,1,2,z\n"
    rows, rows_in, quarantined, *_ = result([content])
    assert (len(rows), rows_in, quarantined, len(staged)) == (2, 3, 1, 1)

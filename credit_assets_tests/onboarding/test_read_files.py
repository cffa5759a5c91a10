"""A lender's files: which can be read, which tables they form, and the kind of each column."""

from __future__ import annotations

import gzip
import re
import tempfile
import uuid
import zipfile
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.ingest.csv_rows import inspect_csv
from credit_assets.lake.connections import connect
from credit_assets.onboarding.files import BookError, Files, stem
from credit_assets.onboarding.read_files import read_files
from credit_assets_tests.onboarding.conftest import ReadTables
from credit_assets_tests.onboarding.lender import write


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_file_name_is_not_used_as_a_pattern(read_tables, tmp_path, ending):
    for name, value in {"loans[1]": 1, "loans1": 2, "loan*": 3, "loans": 4}.items():
        rows = pd.DataFrame({"a": [value] * value})
        path = tmp_path / f"{name}.{ending}"
        rows.to_csv(path, index=False) if ending == "csv" else rows.to_parquet(path)
    for name, value in {"loans[1]": 1, "loan*": 3}.items():
        (tmp_path / "workspace" / "0.parquet").unlink(missing_ok=True)
        [files] = read_tables(tmp_path / f"{name}.{ending}")
        assert (files.rows, files.columns["a"].value_counts) == (value, {str(value): value})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "3"], "whole"),
        (["1.0", "2.0", "-3"], "whole"),
        (["1", "2.5", "1e3"], "fraction"),
        (["1", None, "3"], "whole"),
        (["a", "2"], "text"),
        (["true", "false"], "text"),
        (["007", "010"], "text"),
        (["9007199254740993", "1"], "text"),
        (["inf", "1"], "text"),
        (["1_000", "2"], "text"),
        ([None, None], "empty"),
    ],
)
def test_kind_of_a_csv_column_depends_on_all_its_values(column, values, kind):
    assert column(values).kind == kind


def test_parquet_file_declares_its_column_types(read_tables, tmp_path):
    day = pd.Timestamp("2020-01-02")
    frame = pd.DataFrame({"w": [1, 2], "f": [1.0, 2.0], "t": ["1", "2"], "b": [True, False], "d": [day, day]})
    frame.to_parquet(tmp_path / "loans.parquet")
    [files] = read_tables(tmp_path / "loans.parquet")
    assert [column.kind for column in files.columns.values()] == ["whole", "fraction", "text", "boolean", "time"]
    assert files.columns["d"].date == "d"


def of_parquet(read_tables: ReadTables, path: Path, **columns: pa.Array) -> Files:
    pq.write_table(pa.table(columns), path)
    [files] = read_tables(path)
    return files


def test_parquet_nan_is_null_and_infinity_is_counted_without_setting_a_limit(read_tables, tmp_path):
    nan, inf = float("nan"), float("inf")
    files = of_parquet(
        read_tables,
        tmp_path / "loans.parquet",
        a=pa.array([nan, 1.5, 2.0, -0.0, 0.0]),
        b=pa.array([inf, -inf, 2.0, 3.0, 7.0], pa.float32()),
        c=pa.array([nan, inf, -inf, nan, None]),
    )
    a, b, c = files.columns.values()
    assert (a.filled, a.low, a.high, a.value_counts) == (4, 0, 2, {"0.0": 2, "1.5": 1, "2.0": 1})
    assert (b.filled, b.low, b.high) == (3, 2, 7)
    assert (c.kind, c.declared) == ("empty", "fraction")
    assert files.remarks == [
        "loans.parquet: b is infinite in 2 rows, which count as not known",
        "loans.parquet: c is infinite in 2 rows, which count as not known",
    ]


WHOLE_IN_PARQUET = {
    "uint64": (pa.array([1, 2, 2**63 + 1], pa.uint64()), "text"),
    "uint64 amounts": (pa.array([1, 1, 2**63 + 1], pa.uint64()), "fraction"),
    "small uint64": (pa.array([1, 2, 3], pa.uint64()), "whole"),
    "int64": (pa.array([2**53 + 1, 2**53 + 2, 2**62]), "whole"),
    "decimal(38, 0)": (pa.array([1, 2, 3]).cast(pa.decimal128(38, 0)), "whole"),
    "long decimal": (pa.array([Decimal(10**30 + n) for n in range(3)], pa.decimal128(38, 0)), "text"),
    "decimal(18, 2)": (pa.array([Decimal("1.00"), Decimal("2.50"), Decimal("3.00")]), "fraction"),
    "decimal of ids": (pa.array([Decimal(f"{2**53 + n}.00") for n in range(3)]), "whole"),
    "double": (pa.array([1.0, 2.0, 3.0]), "fraction"),
    "half": (pa.array([1.0, 2.0, 3.0]).cast(pa.float16()), "fraction"),
    "int8": (pa.array([1, 2, 3], pa.int8()), "whole"),
    "dictionary": (pa.array(["a", "b", "c"]).dictionary_encode(), "text"),
    "view": (pa.array(["a", "b", "c"], pa.string_view()), "text"),
    "uuid": (pa.array([uuid.UUID(int=n).bytes for n in range(3)], pa.uuid()), "text"),
    "date64": (pa.array([date(1, 1, 1), date(2019, 1, 1), date(9999, 12, 31)], pa.date64()), "time"),
    "zoned": (pa.array([datetime(2019, 1, n, tzinfo=UTC) for n in (1, 2, 3)]), "time"),
    "null": (pa.nulls(3), "empty"),
}


@pytest.mark.parametrize(("values", "kind"), WHOLE_IN_PARQUET.values(), ids=WHOLE_IN_PARQUET)
def test_parquet_types_are_read_digit_for_digit(read_tables, tmp_path, values, kind):
    found = of_parquet(read_tables, tmp_path / "loans.parquet", c=values, d=pa.array([1, 2, 3])).columns["c"]
    assert found.kind == kind
    if kind in ("whole", "text") and values.type != pa.uuid():
        assert set(found.value_counts) == {str(value).removesuffix(".00") for value in values.to_pylist()}


def test_nested_parquet_columns_are_named_in_one_line(read_tables, tmp_path):
    odd = {
        "l": pa.array([[1]]),
        "s": pa.array([{"a": 1}]),
        "b": pa.array([b"x"]),
        "t": pa.array([time(1)]),
        "ok": pa.array([1]),
    }
    with pytest.raises(BookError) as told:
        of_parquet(read_tables, tmp_path / "loans.parquet", **odd)
    assert "loans.parquet: l (list<" in str(told.value) and "\n" not in str(told.value)
    assert all(f" {name} (" in str(told.value) for name in "lsbt") and "leave it out" in str(told.value)


def test_truncated_parquet_file_is_refused_in_one_line(read_tables, tmp_path):
    of_parquet(read_tables, path := tmp_path / "loans.parquet", c=pa.array([f"{n * n}" for n in range(5000)]))
    content = path.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + b"\0" * (len(content) // 2) + content[4 + len(content) // 2 :])
    with pytest.raises(BookError, match=r"cut\.parquet.*damaged"):
        read_tables(tmp_path / "cut.parquet")


def test_files_with_the_same_columns_are_one_table(read_tables, tmp_path):
    write(tmp_path / "a.csv", {"x": [1, 2], "y": ["u", "v"]})
    write(tmp_path / "b.csv", {"y": ["w"], "x": [3]})
    write(tmp_path / "c.csv", {"z": [1]})
    (tmp_path / "notes.txt").write_text("not data")
    both, other = read_tables(tmp_path)
    assert (both.names, both.rows, both.columns["x"].high) == ("a.csv, b.csv", 3, 3)
    assert other.names == "c.csv"


def test_gzipped_and_zipped_files_are_read_like_plain_ones(read_tables, tmp_path):
    content = write(tmp_path / "plain.csv", {"x": [1, 2]}).read_bytes()
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(content))
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        archive.writestr("folder/inside.csv", content)
        archive.writestr("read me.txt", "no data")
    [files] = read_tables(tmp_path / "packed.csv.gz", tmp_path / "zipped.zip")
    assert [stem(part.path) for part in files.parts] == ["packed", "inside"]
    assert files.rows == 4


def test_zipped_csv_is_one_file_named_after_the_archive(read_tables, tmp_path):
    with zipfile.ZipFile(tmp_path / "loans.csv.zip", "w") as archive:
        archive.writestr("download/part-0001.csv", "x,y\n1,2\n")
        archive.writestr("__MACOSX/download/._part-0001.csv", "shadow")
    [files] = read_tables(tmp_path / "loans.csv.zip")
    assert ([stem(part.path) for part in files.parts], files.rows) == (["loans"], 1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("loans.csv", b"", "is empty: not even a header"),
        ("loans.csv", b"a,b\n", "has no rows"),
        ("loans.csv", b"a,,b\n1,2,3\n", "column 2 has no name"),
        ("loans.csv", b"a,A\n1,2\n", "two columns are called A"),
        ("loans.csv", b"batch\n1\n", "batch is reserved for the name"),
        ("loans.csv", b'"a ""b"""\n1\n', "has a quotation mark in its name"),
        ("loans.csv", b"a,b\n1,2,3\n", "line 2: '1,2,3' has 3 fields, the header 2 fields"),
        (
            "loans.csv",
            b"a,b\n1,Caf\xe9\n",
            "row 2, column b: the byte 0xE9 is not UTF-8 (read as Latin-1 the value is 'Café')",
        ),
        ("loans.csv", "a,b\n1,2\n".encode("utf-16"), "is in UTF-16"),
        ("loans.csv", b"a,b\r1,2\r", "ends its lines with a carriage return alone"),
        ("loans.csv.gz", b"no gzip", "is truncated or damaged"),
        ("loans.csv", b"a b  c\n1 2 3\n4 5   6\n", "the columns are separated by blanks. Separate them by commas"),
        ("loans.csv", b"a^b^c\n1^2^3\n4^5^6\n", "the columns are separated by '^'"),
        ("loans.csv", b"a,b,c\n1,2,3\n3,4,5\nTotal,6,8\n", "line 4: 'Total,6,8' is a total, not a row. Remove"),
        ("loans.csv", b"a,b\n1,2\n3,4\nTotal,oil\n", "line 4: 'Total,oil' is a total, not a row. Remove the line"),
        ("loans.csv", b"2024\na,b\n1,2\n3,4\n", "line 1: '2024' is neither a header nor a row. Remove the line"),
        ("loans.parquet", b"no parquet", "is not a complete Parquet file"),
        ("loans.zip", b"no zip", "is not a complete zip archive"),
        ("loans.xlsx", b"", "is not a .csv"),
    ],
)
def test_unreadable_file_is_refused_by_name(read_tables, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BookError, match=name) as told:
        read_tables(tmp_path / name)
    assert said in str(told.value)


AROUND_ROWS = {
    "title": ("Loan tape as of 31 Dec 2025 (internal)\n\na,b\n1,2\n3,4\n", ["Loan tape as of * (internal)"]),
    "title of a sheet": ("Loan tape 2025-12,\n,\na,b\n1,2\n3,4\n", ["Loan tape *"]),
    "two titles": ("Our book\nas of May 2025;\na;b\n1;2\n3;4\n", ["Our book", "as of *"]),
    "total": ("a,b\n1,2\n3,4\n\nTotal loans: 2\n", ["Total loans: *"]),
    "total of a sheet": ("a,b\n1,2\n3,4\nTotal,\n", ["Total"]),
    "total of two fields": ("a,b\n1,2\n3,4\nTotal,6\n", ["Total,*"]),
    "both": ('"Offered by us (https://x.org)",\na,b\n1,2\nLoans of another kind\n3,4\nTotal: 2\n', None),
    "nothing": ("a,b\n1,2\n3,4\n", []),
    "empty lines": ("a,b\n1,2\n,\n\n3,4\n ,\n", []),
    "empty lines above": ("\n,,\n\na,b\n1,2\n3,4\n", []),
    "index": (",a,b\n0,1,2\n1,3,4\n", []),
    "index of pandas": ("Unnamed: 0,a,b\n0,1,2\n1,3,4\n", []),
    "separator behind": ("a,b,\n1,2,\n3,4,\n", []),
    "separators behind the rows": ("a,b\n1,2,,\n3,4,,\n", []),
    "BOM": ("\ufeffa,b\n1,2\n3,4\n", []),
    "quoted": ('"a","b"\r\n"1","2"\r\n"3","4"\r\n', []),
}


@pytest.mark.parametrize(("text", "notes"), AROUND_ROWS.values(), ids=AROUND_ROWS)
def test_lines_beside_header_and_rows_are_skipped_as_in_a_delivery(read_tables, tmp_path, text, notes):
    path = tmp_path / "loans.csv"
    path.write_bytes(text.encode())
    [files] = read_tables(path)
    assert {name: column.value_counts for name, column in files.columns.items()} == {
        "a": {"1": 1, "3": 1},
        "b": {"2": 1, "4": 1},
    }
    [part] = files.parts
    assert notes is None or list(part.notes) == notes
    assert len(files.remarks) == len(part.notes) + text.startswith((",a", "Unnamed"))
    # A delivery of this file with these notes gives the same rows.
    source = inspect_csv(path, "loans.csv", tmp_path / "plain", part.notes)
    assert source.rows == 2 and [name for name in source.columns if name in files.columns] == ["a", "b"]


@pytest.mark.parametrize(
    ("total", "note", "later", "row"),
    [
        ('Total,,,"$14,354",', "Total,,,*", '"Total","","","$9.50",""', "Totalis,,,7,"),
        ('"Total, all",,,9,9', None, "", ""),
        ('"Total 2 loans","","","6",""', "Total * loans,,,*", "Total 30 loans,,,7,", '"Total, 3 loans",,,6,8'),
        ("Total,5,,,", "Total,*", "Total,77,,1,", '"Total, all",5,,,'),
        ("Total,5,6,7,8", None, "", ""),
        ("Total,car,,,", None, "", ""),
    ],
)
def test_total_with_several_fields_is_a_note_if_distinguishable_from_a_row(
    read_tables, tmp_path, total, note, later, row
):
    path, rows = tmp_path / "loans.csv", "a,b,c,d,e\n1,2,3,4,5\n3,4,5,6,7\n"
    path.write_text(f"{rows}{total}\n")
    if note is None:
        with pytest.raises(BookError, match="is a total, not a row"):
            read_tables(path)
        return
    [files] = read_tables(path)
    assert files.parts[0].notes == (note,) and files.rows == 2
    # A delivery skips the total of another month, and keeps a row with a similar start.
    path.write_text(f"{rows}{row}\n{later}\n")
    delivered = inspect_csv(path, "loans.csv", tmp_path / "plain", files.parts[0].notes)
    assert delivered.rows == 3 and delivered.skipped == {note: 1}


def test_total_that_starts_like_the_header_is_refused(read_tables, tmp_path):
    (tmp_path / "loans.csv").write_text("Total,b,c\n1,2,3\n3,4,5\nTotal,,8\n")
    with pytest.raises(BookError, match=r"line 4: 'Total,,8' is a total, not a row\."):
        read_tables(tmp_path / "loans.csv")


def test_errors_of_several_files_are_reported_at_once(read_tables, tmp_path):
    for name in ("loans.csv", "other.csv"):
        (tmp_path / name).write_text("a,b,c\n1,2,3\n3,4,5\nTotal,6,8\n")
    with pytest.raises(BookError, match=r"loans\.csv, line 4: .*\n.*other\.csv, line 4: "):
        read_tables(tmp_path / "loans.csv", tmp_path / "other.csv")


def test_line_break_in_a_column_name_becomes_a_blank(read_tables, tmp_path):
    (tmp_path / "loans.csv").write_bytes(b'id,"debt to\r\nincome",x\r\n1,0.5,2\r\n2,"0.7",3\r\n')
    [files] = read_tables(tmp_path / "loans.csv")
    assert list(files.columns) == ["id", "debt to income", "x"] and files.rows == 2


def test_few_broken_lines_are_skipped_and_reported(read_tables, tmp_path):
    rows = [f"{n},{n % 7},x" for n in range(100)]
    rows[41], rows[77] = "41,1,x,more", '77,"open,x'
    (tmp_path / "loans.csv").write_text("\n".join(["id,b,c", *rows]))
    [files] = read_tables(tmp_path / "loans.csv")
    assert files.rows == 98
    said = "2 lines are left out, because the header has 3 fields and line 43 has 4 fields."
    assert files.remarks == [f"loans.csv: {said}"]


PIECES = [
    "a",
    "b c",
    "1",
    "2.5",
    ",",
    ";",
    "\t",
    "|",
    " ",
    '"',
    "\n",
    "\r\n",
    "\r",
    "Total",
    "é",
    "\0",
    "^",
    "31/12/2019",
]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]),
)
def test_any_content_is_read_or_refused_in_one_line_without_the_reader_s_own_message(text, encoding):
    with tempfile.TemporaryDirectory() as folder, connect() as con:
        path = Path(folder) / "loans.csv"
        path.write_bytes(text.encode(encoding))
        (Path(folder) / "workspace").mkdir()
        try:
            read_files(con, [path], Path(folder) / "workspace")
        except BookError as error:
            assert "\n" not in str(error) and "loans.csv" in str(error)
            assert not re.search("Auto-Detected|strict_mode|Error:|ignore_errors|LINE 1", str(error))


def test_missing_and_duplicate_files_are_refused(read_tables, tmp_path):
    with pytest.raises(BookError, match=r"contains no \.csv\.gz"):
        read_tables(tmp_path)
    with pytest.raises(BookError, match="does not exist"):
        read_tables(tmp_path / "loans.csv")
    path = write(tmp_path / "loans.csv", {"x": [1]})
    with pytest.raises(BookError, match="have the same name"):
        read_tables(path, path)


def test_column_with_two_types_in_two_parquet_files_is_refused(read_tables, tmp_path):
    frames: Mapping[str, list[Any]] = {"a.parquet": [1], "b.parquet": ["x"]}
    for name, values in frames.items():
        pd.DataFrame({"c": values}).to_parquet(tmp_path / name)
    with pytest.raises(BookError, match=r"Column c has different types in a\.parquet, b\.parquet"):
        read_tables(tmp_path)


def test_empty_rows_are_skipped_in_parquet_too(read_tables: ReadTables, tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [1.0, None, 2.0, None], "word": ["a", "", "b", None], "income": [None] * 4})
    frame.to_parquet(tmp_path / "loans.parquet")
    [loans] = read_tables(tmp_path / "loans.parquet")
    assert loans.rows == 2
    assert loans.remarks == ["loans.parquet: 2 rows without any value, skipped."]

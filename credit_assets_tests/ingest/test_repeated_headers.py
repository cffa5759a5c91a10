"""Which lines, and which rows read by DuckDB, repeat the header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from credit_assets.ingest.csv_bytes import SEPARATORS
from credit_assets.ingest.repeated_headers import header_line, header_row
from credit_assets.lake.connections import connect
from credit_assets.lake.sql import identifier, sql_path

# As a header on one line has them: without control characters, which Python takes for line breaks in part.
names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12)
headers = st.lists(names, min_size=2, max_size=5, unique_by=lambda name: name.strip().casefold())


def line(names: list[str], separator: str, quoting: int = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quoting=quoting, lineterminator="").writerow(names)
    return text.getvalue()


def is_header(text: str, names: list[str], separator: str) -> bool:
    return pc.match_substring_regex(pa.array([text]), header_line(names, separator))[0].as_py()


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect() as connection:
        yield connection


@given(header=headers, separator=st.sampled_from(SEPARATORS))
@example(header=["a.*", "loan (EUR)"], separator="|")
@example(header=['the "amount"', "b"], separator=",")
def test_header_is_recognised_as_written_and_fully_quoted(header: list[str], separator: str) -> None:
    assert is_header(line(header, separator), header, separator)
    assert is_header(line(header, separator, csv.QUOTE_ALL), header, separator)
    assert not is_header(line([*header[:-1], header[-1] + "x"], separator), header, separator)
    assert not is_header(line([header[0] + "x", *header[1:]], separator), header, separator)
    assert not is_header(line([*header, "x"], separator), header, separator)


def test_header_of_twenty_thousand_columns_is_recognised() -> None:
    names = [f"external_source_score_{number}" for number in range(20_000)]
    assert is_header(line(names, ",").upper(), names, ",")
    assert not is_header(line(["1.5"] * len(names), ","), names, ",")


@given(header=headers)
@example(header=['the "amount"', "b"])
@example(header=["it's", "100%"])
def test_duckdb_finds_the_row_with_the_names(con: duckdb.DuckDBPyConnection, header: list[str]) -> None:
    again = header_row(dict.fromkeys(header, "VARCHAR"))
    columns = ", ".join(map(identifier, header))
    rows = [header, [f" {name} " for name in header], [*header[:-1], header[-1] + "x"], [None] * len(header)]
    values = ", ".join(f"({', '.join('?' * len(header))})" for _ in rows)
    found = con.execute(
        f"SELECT ({again}) IS TRUE FROM (VALUES {values}) AS t({columns})", [value for row in rows for value in row]
    ).fetchall()
    assert found == [(True,), (True,), (False,), (False,)]


@pytest.mark.parametrize(
    ("columns", "can_be_read"),
    [
        ({"ID": "VARCHAR", "TOWN": "VARCHAR"}, True),
        ({"ID": "VARCHAR", "2019": "DOUBLE"}, True),
        ({"ID": "VARCHAR", "yes": "BOOLEAN"}, True),
        ({"ID": "VARCHAR", "AMOUNT": "DOUBLE"}, False),
        ({"ID": "VARCHAR"}, False),
    ],
)
def test_repeated_header_is_searched_for_only_where_it_can_be_read_as_a_row(
    con: duckdb.DuckDBPyConnection, columns: dict[str, str], can_be_read: bool, tmp_path: Path
) -> None:
    again = header_row(columns)
    assert (again is not None) is can_be_read
    if again:
        (tmp_path / "rows.csv").write_text(f"{line([*columns], ',')}\n" * 2)
        types = ", ".join(f"{name!r}: {kind!r}" for name, kind in columns.items())
        read = f"read_csv({sql_path(tmp_path / 'rows.csv')}, header = true, columns = {{{types}}})"
        assert con.sql(f"SELECT {again} FROM {read}").fetchall() == [(True,)]

"""Names and values as SQL text: DuckDB reads back what was quoted, and sqlglot writes the same."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlglot import exp

from credit_assets.lake.connections import connect
from credit_assets.lake.sql import identifier, sql_files, sql_path, sql_text, table_expression

# DuckDB takes no NUL in a statement; half a surrogate pair is no text.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@pytest.fixture(scope="module")
def con():
    with connect() as connection:
        yield connection


@given(text=texts)
@example(text="it's \"quoted\" -- /* ; \\' \n")
def test_duckdb_reads_back_quoted_texts_and_names(con, text):
    answer = con.sql(f"SELECT {sql_text(text)} AS {identifier(text)}")
    assert (answer.columns, answer.fetchall()) == ([text], [(text,)])


@given(text=texts)
def test_quoting_equals_that_of_sqlglot(text):
    assert identifier(text) == exp.to_identifier(text, quoted=True).sql("duckdb")
    assert sql_text(text) == exp.Literal.string(text).sql("duckdb")


def test_path_with_wildcard_characters_names_one_file(con, tmp_path):
    named, other = tmp_path / "it's [1]*.csv", tmp_path / "it's 1.csv"
    named.write_text("a\n1\n")
    other.write_text("a\n2\n")
    assert con.sql(f"SELECT a FROM read_csv({sql_path(named)})").fetchall() == [(1,)]
    assert con.sql(f"SELECT a FROM read_csv({sql_files([str(named), str(other)])})").fetchall() == [(1,), (2,)]


def test_select_is_put_in_brackets_and_view_name_is_unchanged():
    assert table_expression("SELECT 1") == "(SELECT 1)"
    assert table_expression('"main"."rows"') == '"main"."rows"'

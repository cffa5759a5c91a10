"""Feature SQL as data: order, descriptions, errors that name file and line, and lineage back to raw columns."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.book.lineage import lineage, raw_lineage
from credit_assets.book.queries import NON_DETERMINISTIC, FeatureComment, FeatureQueryError, load

RAW = {
    "people": {"ID": "BIGINT", "INCOME": "DOUBLE", "GENDER": "VARCHAR"},
    "loans": {"ID": "BIGINT", "LOAN": "BIGINT", "AMOUNT": "DOUBLE", "DAY": "INTEGER", "OPEN": "VARCHAR"},
}

LOAN_SUMS = """\
-- Loans of a person,
-- one row each.
with past as (
    select ID, AMOUNT, OPEN from loans where DAY <= 0
)

select
    ID,
    -- how much
    sum(AMOUNT) as total, -- total of all loans
    sum(case when OPEN = 'Y' then AMOUNT end) as open_total, -- total of open loans
    count(*) filter (OPEN = 'Y') as open_count -- number of open loans
from past
group by ID
"""

JOINED = """\
-- Everything.
select
    p.ID,
    INCOME as income, -- income
    l.* exclude (ID),
    total / INCOME as total_to_income -- loans compared with income
from people as p
left join loan_sums as l using (ID)
"""


def write(folder: Path, **files: str) -> Path:
    for name, sql in files.items():
        (folder / f"{name}.sql").write_text(sql, encoding="utf-8")
    return folder


def select(*columns: str, table: str = "loans") -> str:
    listed = "\n    ".join(columns)
    return f"-- Words.\nselect\n    ID,\n    {listed}\nfrom {table}\n"


def test_query_has_inputs_key_description_and_column_descriptions(tmp_path: Path) -> None:
    query = load(write(tmp_path, loan_sums=LOAN_SUMS), RAW)["loan_sums"]

    assert query.inputs == ("loans",)
    assert query.description == "Loans of a person, one row each."
    assert query.key == "ID"
    assert query.descriptions == {
        "total": "total of all loans",
        "open_total": "total of open loans",
        "open_count": "number of open loans",
    }
    assert query.columns == ("ID", "total", "open_total", "open_count")


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("debt to income", FeatureComment("debt to income")),
        ("debt; if missing: no debt stated", FeatureComment("debt", missing="no debt stated")),
        ("debt; family: debts", FeatureComment("debt", family="debts")),
        ("debt; family: debts; if missing: no debt", FeatureComment("debt", "no debt", "debts")),
        ("debt ;  If Missing :none; or not told; FAMILY: debts", FeatureComment("debt", "none; or not told", "debts")),
        ("status; codes: 1 open, 2 closed", FeatureComment("status; codes: 1 open, 2 closed")),
        ("debt -- CONFIRM: by its name", FeatureComment("debt", guess="by its name")),
        ("debt; family: debts -- CONFIRM: by its name", FeatureComment("debt", "", "debts", "by its name")),
        ("debt; CONFIRM:", FeatureComment("debt", guess="no reason is given")),
        ("if missing: no debt", FeatureComment("", "no debt")),
    ],
)
def test_comment_is_a_description_followed_by_clauses(text: str, comment: FeatureComment) -> None:
    assert FeatureComment.parse(text) == comment


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("debt; missing: none", "`missing:` is not a clause; write `if missing:`"),
        ("debt; families: debts", "`families:` is not a clause; write `family:`"),
        ("debt; if missing:", "`if missing:` is empty"),
        ("debt; if missing: ; family: debts", "`if missing:` is empty"),
        ("debt; family: a; family: b", "`family:` occurs twice"),
    ],
)
def test_misspelled_clause_that_would_reach_an_applicant_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        FeatureComment.parse(text)


PLAIN = st.text("abc XYZ,.()%-'", min_size=1, max_size=20).map(str.strip).filter(bool)


@given(PLAIN, st.one_of(st.just(""), PLAIN), st.one_of(st.just(""), PLAIN), st.booleans())
def test_written_comment_is_parsed_back(description: str, missing: str, family: str, turned: bool) -> None:
    clauses = [f"; if missing: {missing}" if missing else "", f"; family: {family}" if family else ""]
    text = description + "".join(reversed(clauses) if turned else clauses)
    assert FeatureComment.parse(text) == FeatureComment(description, missing, family)


def test_clauses_and_guesses_are_kept_per_column_and_pass_through_a_star(tmp_path: Path) -> None:
    sums = LOAN_SUMS.replace("-- one row each.", "-- if no row: No earlier loan\n-- one row each.")
    sums = sums.replace("total of all loans", "total of all loans; if missing: no amount known; family: loans")
    sums = sums.replace("number of open loans", "number of open loans -- CONFIRM: Y stands for open")
    # of the value, not of the text
    sums = sums.replace("    sum(AMOUNT)", "    -- CONFIRM: 0 is an amount\n    sum(AMOUNT)")
    queries = load(write(tmp_path, features=JOINED, loan_sums=sums), RAW)

    for query in queries.values():
        assert query.descriptions["total"] == "total of all loans"
        assert query.missing == {"total": "no amount known"}
        assert query.families == {"total": "loans"}
        assert query.guesses == {"open_count": "Y stands for open"}
    assert queries["loan_sums"].description == "Loans of a person, one row each."
    assert (queries["loan_sums"].no_row, queries["features"].no_row) == ("No earlier loan", "")
    assert queries["features"].row_of == dict.fromkeys(("total", "open_total", "open_count"), "loan_sums")
    plain = load(write(tmp_path, loan_sums=LOAN_SUMS), RAW)["loan_sums"]
    assert queries["loan_sums"].version == plain.version


def test_queries_are_ordered_after_their_inputs(tmp_path: Path) -> None:
    queries = load(write(tmp_path, all_of_it=JOINED.replace("loan_sums", "z_sums"), z_sums=LOAN_SUMS), RAW)

    assert list(queries) == ["z_sums", "all_of_it"]
    assert queries["all_of_it"].inputs == ("people", "z_sums")


def test_star_copies_columns_and_descriptions_of_its_source(tmp_path: Path) -> None:
    queries = load(write(tmp_path, features=JOINED, loan_sums=LOAN_SUMS), RAW)

    assert queries["features"].descriptions == {
        "income": "income",
        **queries["loan_sums"].descriptions,
        "total_to_income": "loans compared with income",
    }


@pytest.mark.parametrize(
    ("sql", "line", "what"),
    [
        (select("AMOUNT as amount, -- money", "DAY as day"), 5, "column day has no description"),
        (
            select("AMOUNT as amount,", "-- of the next", "DAY as day -- when"),
            4,
            "column amount has no description",
        ),
        (select("AMOUNT as amount, -- money", "DAY as amount -- when"), 5, "column amount occurs twice"),
        (select("AMOUNT as amount, -- Money", "DAY as day -- money"), 5, "day has the same description as amount"),
        (
            select("AMOUNT as amount, -- money", "DAY as day -- when; missing: x"),
            5,
            "comment of column day: `missing:`",
        ),
        (
            "-- Words.\n-- if no row:\nselect ID, AMOUNT as amount -- money\nfrom loans",
            1,
            "`if no row:` must occur once",
        ),
        (select("AMOUNT + 1, -- money", "DAY as day -- when"), 4, "AMOUNT + 1 has no name"),
        (select("AMOUNT -- money", "DAY, -- when"), 5, "write `as` before the name, or the comma that is missing"),
        (select("AMOUNT as amount -- money", table="lons"), 5, "unknown table lons"),
        (select("AMOUNT as amount -- money", table="read_csv('x')"), 5, "only tables by name can be read"),
        (select("AMOUNT as amount, -- money", "random() as r -- luck"), 5, "RANDOM() is non-deterministic"),
        (select("AMOUNT as amount, -- money", "current_date as d -- now"), 5, "CURRENT_DATE is non-deterministic"),
        (select("datediff('day', now(), DAY) as d -- since when"), 4, "NOW() is non-deterministic"),
        (select("age(DAY) as d -- since when"), 4, "AGE(DAY) is non-deterministic"),
        (select("DAY.age() as d -- since when"), 4, "is non-deterministic"),
        (select("current_localtime() as t -- now"), 4, "is non-deterministic"),
        (select("AMOUNT as amount -- money", table="loans using sample 10%"), 5, "is non-deterministic"),
        (select("loans.* exclude (ID)"), 4, "is not the columns of another SQL file"),
        (select("AMOUNT as amount -- money") + ";\nselect 1 as x -- one\n", 1, "contains 2 statements"),
        (select("AMOUNT as amount -- money") + "union all select 1, 2", 1, "contains UNION"),
        ("-- Words.\ncreate table x as select 1 as y -- one\n", 1, "contains CREATE"),
        ("-- Words.\n", 1, "contains 0 statements"),
        ("select ID, AMOUNT as amount -- money\nfrom loans", 1, "does not start with a comment"),
        ("-- Words.\nselect ID,\n    sum(AMOUNT as amount -- money\nfrom loans", 3, "not valid SQL"),
        ("-- Words.\nselect ID, 'open as day -- when\nfrom loans", 1, "not valid SQL"),
    ],
)
def test_invalid_file_is_refused_with_its_line(tmp_path: Path, sql: str, line: int, what: str) -> None:
    with pytest.raises(FeatureQueryError) as error:
        load(write(tmp_path, bad=sql), RAW)

    assert str(error.value).startswith(f"bad.sql, line {line}: ")
    assert what in str(error.value)


def test_every_nondeterministic_function_of_duckdb_is_refused() -> None:
    with duckdb.connect() as con:
        found = con.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'")
        changing = {name for (name,) in found.fetchall()}
    # These return session settings, or nothing.
    of_no_value = {"error", "setseed", "sleep_ms", "stats", "write_log", "in_search_path"}
    of_session = {"current_database", "current_schema", "current_schemas", "current_query"}
    of_session |= {"current_connection_id", "current_query_id", "current_transaction_id"}
    assert changing - of_no_value - of_session <= NON_DETERMINISTIC


def test_circular_files_are_refused_with_the_circle(tmp_path: Path) -> None:
    one, two = select("x as a -- first", table="two"), select("a as x -- second", table="one")

    with pytest.raises(FeatureQueryError, match=r"reads itself: (one -> two -> one|two -> one -> two)"):
        load(write(tmp_path, one=one, two=two), RAW)


def test_folder_without_sql_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureQueryError, match=r"no \.sql files"):
        load(tmp_path)


def test_cte_may_have_the_name_of_the_table_it_reads(tmp_path: Path) -> None:
    sql = "-- Words.\nwith loans as (select * from loans where DAY <= 0)\n" + select("AMOUNT as a -- money")

    assert load(write(tmp_path, named=sql), RAW)["named"].inputs == ("loans",)


def test_lineage_names_the_input_columns(tmp_path: Path) -> None:
    found = lineage(load(write(tmp_path, features=JOINED, loan_sums=LOAN_SUMS), RAW), RAW)

    assert found["loan_sums"] == {
        "ID": (("loans", "DAY"),),
        "total": (("loans", "AMOUNT"), ("loans", "DAY")),
        "open_total": (("loans", "AMOUNT"), ("loans", "DAY"), ("loans", "OPEN")),
        "open_count": (("loans", "DAY"), ("loans", "OPEN")),
    }
    assert found["features"]["total_to_income"] == (("loan_sums", "total"), ("people", "INCOME"))
    assert found["features"]["open_count"] == (("loan_sums", "open_count"),)


def test_raw_lineage_passes_through_all_queries(tmp_path: Path) -> None:
    found = raw_lineage(lineage(load(write(tmp_path, features=JOINED, loan_sums=LOAN_SUMS), RAW), RAW))

    assert found["features"]["total_to_income"] == (
        ("loans", "AMOUNT"),
        ("loans", "DAY"),
        ("people", "INCOME"),
    )
    assert found["features"]["income"] == (("people", "INCOME"),)


@pytest.mark.slow
def test_lineage_requires_the_schema_of_every_raw_table(tmp_path: Path) -> None:
    queries = load(write(tmp_path, loan_sums=LOAN_SUMS))

    with pytest.raises(FeatureQueryError, match=r"loan_sums\.sql: no schema for table loans"):
        lineage(queries, {"people": RAW["people"]})


def test_column_missing_in_its_table_is_refused(tmp_path: Path) -> None:
    queries = load(write(tmp_path, loan_sums=LOAN_SUMS.replace("DAY", "DATE")), RAW)

    with pytest.raises(FeatureQueryError, match=r"loan_sums\.sql: .*date"):
        lineage(queries, RAW)


@pytest.mark.parametrize(
    "using_gender",
    [
        "select ID, case when GENDER = 'F' then INCOME end as x -- words\nfrom people",
        "select ID, sum(INCOME) filter (GENDER = 'F') as x -- words\nfrom people group by ID",
        "select ID, INCOME as x -- words\nfrom people where GENDER = 'F'",
        "select ID, max(INCOME) as x -- words\nfrom people group by ID, GENDER",
        "select ID, max(INCOME) as x -- words\nfrom people group by ID having min(GENDER) = 'F'",
        "select ID, sum(INCOME) over (partition by GENDER) as x -- words\nfrom people",
        "select ID, sum(INCOME) over w as x -- words\nfrom people window w as (partition by GENDER)",
        "select ID, INCOME as x -- words\nfrom people qualify row_number() over (partition by GENDER) = 1",
        "select ID, INCOME as x -- words\nfrom people order by GENDER limit 5",
        "select ID, (select max(GENDER) from people as q where q.ID = people.ID) as x -- words\nfrom people",
        "select ID, AMOUNT as x -- words\nfrom loans where ID in (select ID from people where GENDER = 'F')",
        "select ID, x -- words\nfrom (select ID, GENDER as x from people union all select ID, ID from loans)",
        "with g as (select ID, GENDER as s from people), h as (select ID, s from g)\n"
        "select ID, length(s) as x -- words\nfrom h",
        "with g as (select GENDER, avg(INCOME) as mean from people group by GENDER)\n"
        "select ID, mean as x -- words\nfrom people left join g using (GENDER)",
        "select l.ID, AMOUNT as x -- words\nfrom loans l inner join people p on l.ID = p.ID and GENDER = 'F'",
    ],
)
def test_lineage_covers_every_use_of_a_column(tmp_path: Path, using_gender: str) -> None:
    queries = load(write(tmp_path, hidden=f"-- Words.\n{using_gender}"), RAW)

    assert ("people", "GENDER") in lineage(queries, RAW)["hidden"]["x"]


def test_left_join_condition_is_no_lineage_of_the_left_side(tmp_path: Path) -> None:
    sql = """\
-- Words.
with old as (select ID, AMOUNT from loans where DAY < -9)
select
    people.ID,
    INCOME as x, -- income
    AMOUNT as y -- money
from people left join old using (ID)
"""

    found = lineage(load(write(tmp_path, joined=sql), RAW), RAW)["joined"]

    assert found["x"] == (("people", "INCOME"),)
    assert found["y"] == (("loans", "AMOUNT"), ("loans", "DAY"))

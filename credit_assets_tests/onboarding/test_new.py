"""A first portfolio drafted from files: whole and loadable whatever they hold, written over nothing."""

from __future__ import annotations

import ast
import itertools
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_assets.book.book import Book
from credit_assets.book.queries import FeatureQueryError
from credit_assets.features.compute import compute_features
from credit_assets.features.contract import feature_contracts
from credit_assets.ingest.csv_rows import look_over
from credit_assets.ingest.typed_read import ingest
from credit_assets.lake.connections import connect
from credit_assets.lake.contracts import check as held_to
from credit_assets.lake.tables import Lake
from credit_assets.onboarding.contract_drafts import _python
from credit_assets.onboarding.files import BookError
from credit_assets.onboarding.new import Drafted, listed, new
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.onboarding.lender import loans, write

Draft = Callable[..., Drafted]


@pytest.fixture
def drafted(project: Project, tmp_path: Path) -> Draft:
    """The portfolio `book` of loans.csv with columns replaced or added, and of other files."""

    def of(others: dict[str, dict[str, Any]] | None = None, **columns: Any) -> Drafted:
        changed = {name: values for name, values in (loans() | columns).items() if values is not None}
        files = [write(tmp_path / "loans.csv", changed)]
        files += [write(tmp_path / f"{name}.csv", content) for name, content in (others or {}).items()]
        return new(project, "book", files)

    return of


def config(project: Project) -> str:
    return project.config("book").read_text()


def sql(project: Project, name: str = "features") -> str:
    return (project.sql("book") / f"{name}.sql").read_text()


def marks(done: Drafted) -> list[str]:
    return [str(finding) for finding in done.to_confirm]


def test_dates_that_are_left_out_for_want_of_one_of_the_application_are_to_confirm(project, drafted):
    done = drafted(seen_on=["2020-01-31", "2020-02-01"] * 20, first_line=["2001-01-31", "2002-02-01"] * 20)
    [mark] = [mark for mark in marks(done) if "without one of the application" in mark]
    assert mark.startswith("sql/book/features.sql:") and "seen_on, first_line; which of them" in mark


def test_where_the_application_is_dated_no_date_is_left_out(project, drafted):
    done = drafted(seen_on=["2020-01-31", "2020-02-01"] * 20, app_date=["2020-02-03"] * 40)
    assert done.book.decided == "app_date"
    assert not any("without one of the application" in mark for mark in marks(done))


def test_a_draft_is_a_portfolio_that_loads_and_binds(project, drafted):
    done = drafted()
    book = Book.load(project, "book")
    queries = book.queries
    assert list(queries["features"].words) == ["amount", "rate", "purpose"]
    assert queries["features"].words["amount"] == "Amount"
    contract = feature_contracts(queries, book.contracts, book.portfolio.entity_key)["features"]
    assert column_types(contract) == {"loan_id": "VARCHAR", "amount": "BIGINT", "rate": "DOUBLE", "purpose": "VARCHAR"}
    assert (book.portfolio.target.column, book.portfolio.target.bad, book.portfolio.target.good) == (
        "default",
        (1,),
        (0,),
    )
    assert done.features == 3
    assert done.files == (
        project.config("book"),
        project.config("book").with_suffix(".py"),
        project.sql("book") / "features.sql",
    )


def test_the_drafted_contract_holds_the_files_rows_and_refuses_what_was_not_there(project, drafted):
    drafted(income=[None if n % 3 else 10.5 for n in range(40)])
    model = Book.load(project, "book").contracts["applications"]
    rows = pd.DataFrame(loans() | {"income": [None if n % 3 else 10.5 for n in range(40)]}).astype({"default": float})
    con = duckdb.connect()
    con.register("rows", rows)
    assert held_to(con, "SELECT * FROM rows", model, {}) == []
    for change, said in {
        "CASE WHEN purpose = 'car' THEN 'boat' ELSE purpose END AS purpose": "must be one of",
        "-amount AS amount": "must be at least 0",
        "amount * 1000 AS amount": "must be at most 100000",
        "'L0001' AS loan_id": "must be unique",
        '"default" + 5 AS "default"': "must be one of 0, 1",
        "nullif(purpose, 'car') AS purpose": "must not be empty",
    }.items():
        [broken] = held_to(con, f"SELECT * REPLACE ({change}) FROM rows", model, {})
        assert said in broken.check, broken


def test_a_word_seen_once_leaves_room_for_others(project, drafted):
    drafted(colour=["red", "blue"] + ["green"] * 38)
    assert "isin" not in project.config("book").with_suffix(".py").read_text().split("colour: ")[1].split("\n")[0]


def test_every_guess_is_marked_where_it_stands(project, drafted):
    done = drafted(
        SEX=[1, 2] * 20,
        recoveries=[0, 1, 2, 3] * 10,
        int_rate=[3.5, 4.5] * 20,
        overdue=[0, 1, 2, 98, 98] * 8,
        application_date=["2020-01-31", "2020-02-01"] * 20,
        birth_date=["1970-01-31", "1980-02-01"] * 20,
    )
    lines = {path.name: path.read_text().splitlines() for path in done.files}
    for finding in done.to_confirm:
        assert "CONFIRM" in lines[Path(finding.file).name][finding.line - 1]
        assert not finding.error
    assert [mark.split(" is a guess")[0].split(": ", 1)[1] for mark in marks(done)] == [
        "entity_key: loan_id",
        "target: {column: default, bad: [1], good: [0]}",
        "delivery: {every: quarter, max_bad_share: 0.05}",
        "gender: {column: SEX}",
        "a guess: birth_date is age, by its name; it has no groups to audit as it is; keep it out of features, "
        "or deliver it in groups",
        "recoveries: known only after the decision",
        "int_rate: the lender's own price or grade",
        "policy: {target_approval_rate: 0.8}",
        "int_rate, -- Interest rate",
        'a guess: 98 (16 rows) taken for "not known"; all others lie from 0 to 2',
    ]
    [to_write] = done.to_write
    assert "the text of overdue is marked as a guess (say what 98 means)" in str(to_write)
    assert sum("CONFIRM:" in line for text in lines.values() for line in text) == len(done.to_confirm) + 1


def test_what_a_model_must_not_see_is_no_feature(project, drafted):
    drafted(
        sex=["male", "female"] * 20,
        recoveries=[0, 1, 2, 3] * 10,
        dob=["1970-01-31", "1980-02-01"] * 20,
        always=[1] * 40,
        never=[None] * 40,
        customer_no=range(40),
        issue_year=[2019, 2020] * 20,
    )
    book = Book.load(project, "book")
    assert list(book.queries["features"].words) == ["amount", "rate", "purpose"]
    said = sql(project)
    assert "Left out, protected: dob, sex." in said or "Left out, protected: sex, dob." in said
    assert "Left out, known only after the decision: recoveries." in said
    assert "Left out, empty or always the same: always, never." in said
    assert "Left out, names that only tell rows apart: customer_no." in said
    assert "Left out, when the application came: issue_year." in said


def of_features(project: Project, query: str) -> list[tuple[Any, ...]]:
    """What a query over `features` gives on the delivered rows, typed as the contracts say."""
    book = Book.load(project, "book")
    con = duckdb.connect()
    for table, settings_ in book.portfolio.tables.items():
        for path in project.root.parent.glob(f"{settings_.files[0]}.csv"):
            types = column_types(book.contracts[table])
            columns = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
            read = f"read_csv('{path}', types = {{{columns}}}, nullstr = '')"
            con.execute(f"CREATE TABLE {table} AS SELECT * FROM {read}")
    compute_features(con, book.queries)
    return con.execute(query).fetchall()


def test_numbers_are_read_and_what_stands_for_not_known_is_null(project, drafted):
    drafted(
        overdue=[0, 1, 2, 96, 98] * 8,
        util=["13.5%", "NA", "7%", None, "0%"] * 8,
    )
    assert of_features(project, "SELECT DISTINCT overdue, util FROM features ORDER BY ALL") == [
        (0, 13.5),
        (1, None),
        (2, 7.0),
        (None, 0.0),
        (None, None),
    ]


def test_numbers_in_text_keep_their_writing_and_sign_in_the_contract(project, drafted):
    shares = [f"{n},5" for n in range(40)]
    columns = {"share": shares, "late": [*shares[:32], *["-9"] * 8]}
    drafted(**columns)
    model = Book.load(project, "book").contracts["applications"]
    con = duckdb.connect()
    con.register("rows", pd.DataFrame(loans() | columns).astype({"default": float}))
    assert held_to(con, "SELECT * FROM rows", model, {}) == []
    for value, share, late in (("1.250,5", 0, 0), ("-9", 1, 0), ("12.5", 1, 1), ("x", 1, 1)):
        for name, broken in (("share", share), ("late", late)):
            assert len(held_to(con, f"SELECT * REPLACE ('{value}' AS {name}) FROM rows", model, {})) == broken


WRITTEN = [
    (["1,234.5", "2.5", "n/a"], "must be a number such as 1,234.5 or 'n/a'"),
    (["1.234,5", "2,5", "3,5"], "must be a number such as 1.234,5"),
    (["12.5%", "3%", "4%"], "must be a number such as 12.5%"),
    (["$1,200", "($3)", "$4"], "must be a number such as ($1,234)"),
    (["31.05.2019", "01.06.2019", "?"], "must be a date such as 31.05.2019 or '?'"),
    (["May-2019", "Jun-2019", "Jul-2019"], "must be a date such as May-2019"),
]


@pytest.mark.parametrize(("values", "said"), WRITTEN)
def test_a_refused_value_is_explained_in_words_not_by_its_pattern(project, drafted, values, said):
    columns = {"odd": list(itertools.islice(itertools.cycle(values), 40))}
    drafted(**columns)
    model = Book.load(project, "book").contracts["applications"]
    con = duckdb.connect()
    con.register("rows", pd.DataFrame(loans() | columns).astype({"default": float}))
    assert held_to(con, "SELECT * FROM rows", model, {}) == []
    [broken] = held_to(con, "SELECT * REPLACE ('no such value' AS odd) FROM rows", model, {})
    assert broken.check == said


def test_dates_become_days_before_the_application(project, drafted):
    drafted(issue_d=["Mar-2020", "Apr-2020"] * 20, first_line=["2020-02-01", "2019-04-01"] * 20)
    assert of_features(project, "SELECT DISTINCT days_since_first_line FROM features ORDER BY ALL") == [(29,), (366,)]
    assert "delivery: {every: quarter, max_bad_share: 0.05} # CONFIRM: issue_d is when" in config(project)


def test_free_text_gives_its_length_and_many_words_nothing(project, drafted):
    texts = [f"I need the money for reason number {n}" for n in range(80)]
    drafted(
        loan_id=[f"L{n}" for n in range(80)],
        amount=range(80),
        rate=None,
        purpose=texts,
        default=[0, 1, 0, 0] * 20,
        zip_code=[f"{n:03}xx" for n in range(80)],
    )
    assert of_features(project, "SELECT min(purpose_length), max(purpose_length) FROM features") == [(36, 37)]
    assert "Left out, many different words (training.encodings can make numbers of them)" not in sql(project)
    assert "zip_code" in sql(project).split("select")[0]


def test_children_give_counts_means_largest_and_last(project, drafted):
    names = loans()["loan_id"]
    payments = {
        "loan_id": [names[0]] * 3 + [names[1]],
        "paid_on": ["2020-01-01", "2020-03-01", "2020-02-01", "2020-01-01"],
        "paid": [10, 20, 60, 5],
        "way": ["post", "bank", "post", "post"],
    }
    drafted({"payments": payments})
    assert of_features(
        project,
        "SELECT payments_rows, payments_paid_mean, payments_paid_max, payments_paid_last, payments_way_kinds, "
        "payments_way_last FROM features ORDER BY loan_id LIMIT 3",
    ) == [(3, 30.0, 60, 20, 2, "bank"), (1, 5.0, 5, 5, 1, "post"), (None,) * 6]
    assert "-- CONFIRM: every row of payments was known when the applicant applied" in sql(project, "payments_features")


def test_who_has_no_row_in_a_child_has_a_message_that_is_to_be_written(project, drafted):
    bureau = {"loan_id": [f"L{n:04d}" for n in range(20)], "sums": [17 * n for n in range(20)]}
    done = drafted({"old_loans": bureau})
    book = Book.load(project, "book")
    queries = book.queries
    assert queries["old_loans_features"].no_row == "no record in old loans"
    assert set(queries["features"].row_of.values()) == {"old_loans_features"}
    [draft] = [draft for draft in done.to_write if draft.file == "sql/book/old_loans_features.sql" and draft.line == 2]
    assert "is marked as a guess (drafted from the table's name)" in draft.message


def test_rows_of_children_after_the_application_do_not_count(project, drafted):
    names = loans()["loan_id"]
    payments = {"loan_id": [names[0]] * 3, "paid_on": ["2020-01-01", "2020-02-01", "2020-02-02"], "paid": [10, 20, 60]}
    drafted({"payments": payments}, application_date=["01.02.2020"] * 40)
    got = of_features(project, "SELECT payments_rows, payments_paid_max FROM features ORDER BY loan_id LIMIT 1")
    assert got == [(2, 20)]
    assert "-- CONFIRM: a row was known at the application if none of its dates (paid_on) is later" in sql(
        project, "payments_features"
    )


def test_of_several_dates_of_a_child_none_may_be_after_the_application(project, drafted):
    payments = {
        "loan_id": [loans()["loan_id"][0]] * 4,
        "due_on": ["2020-01-01", "2020-01-02", "2020-01-03", "2020-02-02"],
        "seen_on": ["2020-01-01", "2020-02-02", None, "2020-01-01"],
        "sum": [1, 2, 4, 8],
    }
    drafted({"payments": payments}, application_date=["2020-02-01"] * 40)
    got = of_features(project, "SELECT payments_rows, payments_sum_max FROM features ORDER BY loan_id LIMIT 1")
    assert got == [(2, 4)]


def test_what_is_protected_late_or_a_price_in_a_child_is_withheld_and_marked(project, drafted):
    of_child = {
        "loan_id": loans()["loan_id"],
        "sex": ["m", "f"] * 20,
        "age": [20, 30, 40, 51] * 10,
        "race": ["a", "b"] * 20,
        "birth_date": ["1970-01-31", "1980-02-01"] * 20,
        "recoveries": [0, 1, 2, 3] * 10,
        "closed_date": ["2019-01-01", "2023-01-01"] * 20,
        "int_rate": [3, 4] * 20,
        "income": [1, 2, 3] * 13 + [1],
        "seen": ["2018-01-01", "2018-01-02"] * 20,
    }
    done = drafted({"customers": of_child}, application_date=["2020-02-01"] * 40)
    book = Book.load(project, "book")
    assert set(book.portfolio.post_decision) == {"recoveries", "closed_date"}
    assert set(book.portfolio.left_out) == {"int_rate"}
    made = [name for name in book.queries["features"].words if name.startswith("customers_")]
    assert sorted(made) == sorted(
        ["customers_rows"]
        + [f"customers_{of}_{how}" for of in ("int_rate", "income") for how in ("mean", "max", "last")]
    )
    marked = [mark.split(": a guess: ")[1] for mark in marks(done) if " looks protected " in mark]
    assert marked == [
        "sex looks protected (gender) and is left out",
        "age looks protected (age) and is left out",
        "race looks protected (race) and is left out",
        "birth_date looks protected (age) and is left out",
    ]


def test_files_named_after_their_month_give_a_pattern_that_the_next_month_matches(project, tmp_path):
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


def test_a_table_that_no_features_are_made_of_is_told(project, drafted):
    payments = {"payment_id": range(80), "loan_id": loans()["loan_id"] * 2, "sum": [1, 2] * 40}
    done = drafted({"payments": payments, "reminders": {"payment_id": [1, 2, 3], "letters": [0, 1, 0]}})
    assert [table.name for table in done.book.without_features] == ["reminders"]
    [told] = [mark for mark in marks(done) if "reminders: " in mark]
    assert "no features are made of it, as its rows belong to payments" in told


def test_columns_called_like_what_a_contract_refers_to_are_columns_all_the_same(project, drafted):
    names = ("pa", "pd", "int", "float", "str", "Relation")
    drafted(
        {"payments": {"loan_id": loans()["loan_id"], **dict.fromkeys(names, [1, 2] * 20)}}, seen=["2020-01-01"] * 40
    )
    assert set(names) <= set(Book.load(project, "book").contracts["payments"].to_schema().columns)


def test_columns_called_like_what_the_platform_makes_become_features_of_another_name(project, drafted):
    names = ("pd", "PD_2", "decision", "Points", "cut_off", "reason_1", "fold", "score")
    drafted(**dict.fromkeys(names, [1, 2, 3, 4, 5] * 8))
    made = Book.load(project, "book").queries["features"].words
    assert set(made) == {
        *("amount", "rate", "purpose", "pd_2", "pd_2_2", "decision_2", "points_2", "cut_off_2", "reason_1_2"),
        *("fold_2", "score"),
    }


def persons() -> dict[str, list[Any]]:
    """Columns about persons and their homes."""
    names = ("Ana", "Ben", "Cem", "Dana", "Eva", "Finn", "Gil", "Hana")
    return {
        "full_name": [f"{names[n % 8]} {names[n // 8]}" for n in range(40)],
        "Kunde": [f"{names[n // 8]} von {names[n % 8]}" for n in range(40)],
        "contact": [f"a{n}@mail.test" for n in range(40)],
        "ssn": [957676640 + 7919 * n for n in range(40)],
        "doc": [f"{n:04}0000-aaaa-bbbb-cccc-{n:012}" for n in range(40)],
        "rufnummer": [f"030 {n}23 45 67" for n in range(40)],
        "zip": [10115 + 37 * n for n in range(40)],
        "latitude": [52 + n / 97 for n in range(40)],
        "state": ["NY", "CA", "TX", "WA", "OR"] * 8,
    }


def test_columns_about_the_person_are_no_features_nor_are_their_lengths(project, drafted):
    done = drafted(**persons())
    made = Book.load(project, "book").queries["features"].words
    assert list(made) == ["amount", "rate", "purpose", "state"]
    told = [mark.split(": a guess: ")[1] for mark in marks(done) if ": a guess: " in mark]
    assert told == [
        "state may stand for who lives there; leave it out, or keep it",
        "left out as being about the person: full_name (a name, by its name), Kunde (texts of a few words that hardly "
        "repeat, as names and addresses are, by its values), contact (an e-mail address, by its values), ssn (an "
        "official number, by its name), doc (a key of letters and digits, by its values), rufnummer (a telephone "
        "number, by its name)",
        "left out, as where somebody lives stands for who lives there: zip, latitude",
    ]
    assert "-- zip, -- Zip\n" in sql(project) and "-- ssn" not in sql(project)


def test_names_that_repeat_are_no_feature_and_the_contract_does_not_list_them(project, drafted):
    drafted(surname=["Nowak", "Garcia", "Meier", "Rossi", "Silva"] * 8)
    assert "Nowak" not in project.config("book").with_suffix(".py").read_text()
    assert "surname" not in Book.load(project, "book").queries["features"].words


def test_columns_about_the_person_in_a_child_are_no_features(project, drafted):
    drafted({"customers": {"loan_id": loans()["loan_id"], **persons(), "sum": [1, 2] * 20}})
    made = Book.load(project, "book").queries["customers_features"].words
    assert set(made) == {"customers_rows", "customers_sum_mean", "customers_sum_max", "customers_state_kinds"}


def test_where_nothing_was_recognised_as_protected_or_late_the_draft_asks(project, drafted):
    asked = [mark for mark in marks(drafted()) if "?" in mark]
    assert len(asked) == 2
    assert "protected: {} is a guess (which columns are sex" in asked[0]
    assert "post_decision: {} is a guess (which columns are known only after the decision?" in asked[1]


def test_columns_left_out_as_names_of_rows_are_to_confirm(project, drafted):
    done = drafted(customer_no=range(40), issue_year=[2018, 2019, 2020, 2021, 2022] * 8)
    assert [mark.split(": a guess: ")[1] for mark in marks(done) if ": a guess: " in mark] == [
        "left out, names that only tell rows apart: customer_no",
        "left out, when the application came: issue_year",
    ]


def test_what_is_measured_about_telephones_and_addresses_stays(project, drafted):
    names = (
        "days_since_phone_change",
        "years_at_address",
        "phone_bill",
        "mobile_payments",
        "FLAG_EMAIL",
        "num_phones",
        "name_type",
    )
    drafted(
        **{
            name: range(40) if name.islower() and "num" not in name and "type" not in name else [0, 1, 1, 0, 0] * 8
            for name in names
        }
    )
    made = Book.load(project, "book").queries["features"].words
    assert set(made) >= {name.lower() for name in names}


def test_what_was_left_out_can_be_put_back_by_deleting_dashes(project, drafted):
    drafted(recoveries=[0, 1, 2, 3, 4] * 8, zip=[10115 + 37 * n for n in range(40)])
    file = project.sql("book") / "features.sql"
    file.write_text(
        file.read_text().replace("    -- recoveries,", "    recoveries,").replace("    -- zip,", "    zip,")
    )
    words = Book.load(project, "book").queries["features"].words
    assert list(words) == ["recoveries", "zip", "amount", "rate", "purpose"]


def test_a_guessed_description_is_not_put_back(project, drafted):
    drafted(total_pymnt=[0, 1, 2, 3, 4] * 8)
    file = project.sql("book") / "features.sql"
    file.write_text(file.read_text().replace("    -- total_pymnt,", "    total_pymnt,"))
    with pytest.raises(FeatureQueryError, match="total_pymnt has no"):
        assert Book.load(project, "book").queries


def test_special_values_keep_their_meaning_apart(project, drafted):
    done = drafted(months=[3, 5, -7, -8, -9] * 8, score=[600, 650, 9999, 700, 640] * 8)
    got = of_features(project, "SELECT DISTINCT months, months_kind, score FROM features ORDER BY score NULLS LAST")
    assert got == [
        (3, "number", 600),
        (None, "code -9", 640),
        (5, "number", 650),
        (None, "code -8", 700),
        (None, "code -7", None),
    ]
    query = Book.load(project, "book").queries["features"]
    assert "score_kind" not in query.words
    assert query.families["months"] == query.families["months_kind"] == "Months"
    assert query.guesses["months_kind"] == "say what -9, -8, -7 mean"
    assert any("-9 (8 rows) and -8 (8 rows) and -7 (8 rows)" in mark for mark in marks(done))


def test_one_kind_of_special_value_beside_empty_ones_is_kept_apart_too(project, drafted):
    drafted(months=[3, 5, -9, None, 4] * 8)
    got = of_features(project, "SELECT DISTINCT months, months_kind FROM features ORDER BY ALL")
    assert got == [(3, "number"), (4, "number"), (5, "number"), (None, "code -9"), (None, "empty")]


def test_special_values_of_children_are_counted_apart(project, drafted):
    bureau = {"loan_id": [f"L{n // 2:04d}" for n in range(80)], "months": [3, -7, -8, 5, 7] * 16}
    drafted({"bureau": bureau})
    got = of_features(
        project,
        "SELECT bureau_months_mean, bureau_months_code_7, bureau_months_code_8 FROM features ORDER BY loan_id LIMIT 3",
    )
    assert got == [(3, 1, 0), (5, 0, 1), (5, 0, 0)]


def test_a_book_without_a_key_numbers_its_rows(project, drafted):
    drafted(loan_id=None)
    book = Book.load(project, "book")
    assert (book.portfolio.entity_key, book.portfolio.tables["applications"].numbered) == (
        "application_id",
        "application_id",
    )


def test_a_small_book_is_set_up_for_its_size_and_the_gate_stays_as_it_is(project, drafted):
    drafted()
    book = Book.load(project, "book")
    # How many folds there are follows the outcomes that training finds.
    assert (book.portfolio.training.cv_folds, book.portfolio.training.holdout_share) == (None, 0.4)
    assert (book.portfolio.performance.min_outcomes, book.portfolio.automation.min_new_outcomes) == (100, 100)
    assert "10 are too few to judge a model by" in config(project)
    assert book.portfolio.evaluation == Portfolio.load(Project(PROJECT), "home_credit").evaluation


@pytest.mark.parametrize(("rows", "share"), [(40, 0.05), (160, 0.02), (1000, 0.003), (2999, 0.002), (3000, 0.001)])
def test_a_batch_of_few_rows_may_have_a_few_bad_ones(project, drafted, rows, share):
    drafted(
        **{name: list(itertools.islice(itertools.cycle(values), rows)) for name, values in loans().items()}
        | {"loan_id": [f"L{n:04d}" for n in range(rows)]}
    )
    assert Book.load(project, "book").portfolio.delivery.max_bad_share == share
    assert ("may be bad and are set aside" in config(project)) == (share > 0.001)


def test_batches_that_are_cut_by_a_date_are_small_ones(project, drafted):
    drafted(issue_d=[f"{2016 + n // 4}-{1 + 3 * (n % 4):02d}-15" for n in range(40)])
    assert "# A batch has about 1 rows" in config(project)


MISSING = [
    ({"income": [3, 5, -9, 4, 2] * 8}, "income", "Income: no record", "say what -9 means"),
    ({"income": [3, 5, -9, -8, 2] * 8}, "income", "Income: no record", "say what -9, -8 mean"),
    ({"income": ["3", "n/a", "5", "4", "2"] * 8}, "income", "Income: not known", "say what 'n/a' means"),
    (
        {"income": [3, None, 5, 4, 2] * 8},
        "income",
        "Income: not known",
        "say what it means that 8 of 40 rows have no value",
    ),
    (
        {"months_since_last_loan": [3, None, 5, 4, 2] * 8},
        "months_since_last_loan",
        "Months since last loan: none on record",
        "say what it means that 8 of 40 rows have no value",
    ),
    ({"income": [3, 6, 5, 4, 2] * 7 + [3, 6, 5, 4, None]}, "income", "", ""),
    ({"income": [3, 6, 5, 4, 2] * 8}, "income", "", ""),
]


@pytest.mark.parametrize(("columns", "feature", "message", "why"), MISSING)
def test_what_a_missing_value_means_is_drafted_and_to_confirm(project, drafted, columns, feature, message, why):
    done = drafted(**columns)
    query = Book.load(project, "book").queries["features"]
    assert (query.missing.get(feature, ""), query.guesses.get(feature, "")) == (message, why)
    listed = [finding for finding in done.to_write if feature in str(finding)]
    assert bool(listed) == bool(message)


def test_a_message_for_a_missing_value_is_no_part_of_what_is_put_back(project, drafted):
    drafted(recoveries=[0, 1, None, 3] * 10)
    assert "-- recoveries, -- Recoveries\n" in sql(project)


# -- written whole, over nothing -------------------------------------------------------------------------


def tree(project: Project) -> dict[str, str]:
    return {str(path.relative_to(project.root)): path.read_text() for path in project.root.rglob("*") if path.is_file()}


PLACES = ("configs/book.yaml", "configs/book.py", "sql/book/features.sql", "sql/book/other.sql")


@pytest.mark.parametrize("existing", [s for n in range(1, 5) for s in itertools.combinations(PLACES, n)])
def test_nothing_is_written_where_anything_of_the_portfolio_is(project, drafted, existing):
    for place in existing:
        (project.root / place).parent.mkdir(parents=True, exist_ok=True)
        (project.root / place).write_text("mine")
    before = tree(project)
    with pytest.raises(FileExistsError, match=r"exists? already, and nothing is written over (it|them)\."):
        drafted()
    assert tree(project) == before


@pytest.mark.parametrize("what", ["default", "sql", "workspace"])
def test_where_it_cannot_be_written_whole_nothing_is(project, drafted, what):
    if what == "sql":
        (project.root / "sql").write_text("a file in the way")
    elif what == "workspace":
        (project.root / "workspace.yaml").write_text("load_from: [{python_module: {module_name: x}}]\n")
    before = tree(project)
    with pytest.raises((BookError, OSError)):
        drafted(**({"default": None} if what == "default" else {}))
    assert tree(project) == before


@pytest.mark.parametrize("name", ["Book", "1st", "my-book", "", "../book", "book\n"])
def test_a_name_that_cannot_be_a_portfolios_is_refused(project, tmp_path, name):
    with pytest.raises(BookError, match="cannot be a portfolio's name"):
        new(project, name, [write(tmp_path / "loans.csv", loans())])


def test_the_portfolio_is_added_to_the_workspace_once_and_all_else_stays(project, drafted):
    before = (project.root / "workspace.yaml").read_text()
    drafted()
    after = (project.root / "workspace.yaml").read_text()
    assert after.startswith(before.rstrip("\n"))
    assert yaml.safe_load(after)["load_from"][-1]["python_module"]["attribute"] == "book"
    assert listed(after, "book") == after


def test_an_entry_is_added_behind_the_last_and_before_what_follows():
    text = "# head\nload_from:\n- python_module: {module_name: a, attribute: x}\n\n# tail\nother: 1\n"
    assert listed(text, "book") == (
        "# head\nload_from:\n- python_module: {module_name: a, attribute: x}\n"
        "- python_module:\n    module_name: credit_assets.locations\n    attribute: book\n"
        "    location_name: book\n    working_directory: .\n"
        "\n# tail\nother: 1\n"
    )


@pytest.mark.parametrize(
    "text", ["", "- a\n", "load_from: []\n", "load_from: [{python_module: {attribute: x}}]\n", "a: ["]
)
def test_a_workspace_of_another_shape_is_left_to_its_owner(text):
    with pytest.raises(BookError, match="by hand"):
        listed(text, "book")


# -- whatever the files hold -----------------------------------------------------------------------------

ODD = ["order", "select", "Group By", "1st", "naïve größe", "a'b", "收入", "x" * 70, "class", "import", "validate"]
LETTERS = st.characters(exclude_characters='"', exclude_categories=["Cs", "Cc", "Zl", "Zp"])
NAMES = st.one_of(st.sampled_from(ODD), st.text(LETTERS, min_size=1, max_size=9))
CELLS: tuple[st.SearchStrategy[Any], ...] = (
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6).map(lambda number: round(number, 3)),
    st.sampled_from(["a", "b b", "it's", "c,d", 'e"f', "ß"]),
    st.sampled_from([0, 1, 98, 99, 365243]),
    st.dates().map(str),
    st.sampled_from(["1%", "2.5%", "NA"]),
    st.sampled_from(
        ["1e25", "inf", "1e308", "(1,234.5)", "5-", "#DIV/0!", "007", "1.2k", "12345678901234567890", "-0.0"]
    ),
    st.sampled_from(["05/14/19", "14/05/2019", "9999-12-31", "0001-01-01", "0000-00-00", "Dec-2011", "201905"]),
    st.none(),
)


@given(st.text(), st.lists(st.text(max_size=5), max_size=4))
def test_words_in_a_contract_are_the_words_of_the_file(word, several):
    assert ast.literal_eval(_python(word)) == word
    assert ast.literal_eval(_python(several, 10)) == several


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    rows = 2 * draw(st.integers(3, 9))
    names = draw(st.lists(NAMES, min_size=1, max_size=7, unique_by=lambda name: name.lower()))
    names = [name for name in names if name.strip() and name.lower() not in ("batch", "target", "amount")]
    table: dict[str, list[Any]] = {"target": [n % 2 for n in range(rows)], "amount": [n // 2 for n in range(rows)]}
    for name in names:
        cells = draw(st.sampled_from(CELLS))
        table[name] = draw(st.lists(st.one_of(cells, st.none()), min_size=rows, max_size=rows))
    return table


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_whatever_the_columns_are_called_and_hold_the_draft_loads_and_binds(table):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "configs").mkdir()
        shutil.copy(PROJECT / "workspace.yaml", folder)
        project = Project(Path(folder))
        # What it writes is checked on the way, and a draft that fails there is an error.
        done = new(project, "book", [write(Path(folder) / "loans.csv", table)], target="target")
        assert done.features >= 1
        book = Book.load(project, "book")
        assert set(table) <= set(book.contracts["applications"].to_schema().columns)


def test_excels_days_and_months_in_another_language_are_dates_to_confirm(project, drafted):
    done = drafted(
        application_date=[45000, 45031.5] * 20,
        opened=["12. März 2019", "1. Mai 2018"] * 20,
    )
    assert Book.load(project, "book").portfolio.delivery.date_formats == {"application_date": ["Excel 1900"]}
    [line] = [line for line in config(project).splitlines() if line.startswith("delivery:")]
    assert "CONFIRM" in line and "45000 is read as 2023-03-15, which Excel stores as this number" in line
    assert any("the month names are taken to be German" in mark for mark in marks(done))
    assert of_features(project, "SELECT DISTINCT days_since_opened FROM features ORDER BY 1") == [(1464,), (1810,)]


def test_the_order_of_day_and_month_is_written_where_deliveries_are_cut_and_two_readings_are_to_confirm(
    project, drafted
):
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


def test_dates_that_deliveries_cannot_be_cut_by_are_not_proposed(drafted):
    assert drafted(application_date=["9999-12-31", "2018-01-31"] * 20).book.decided is None


KEYS = {
    "decimal(38, 0)": pa.array([Decimal(10000 + n) for n in range(40)], pa.decimal128(38, 0)),
    "30 digits": pa.array([Decimal(10**29 + n) for n in range(40)], pa.decimal128(38, 0)),
    "decimal with two places": pa.array([Decimal(f"{2**53 + n}.00") for n in range(40)], pa.decimal128(38, 2)),
    "double": pa.array([float(10000 + n) for n in range(40)]),
    "beyond 2**53": pa.array([2**62 + n for n in range(40)]),
    "beyond 2**63": pa.array([2**63 + n for n in range(40)], pa.uint64()),
    "leading zeros": pa.array([f"{n:03}" for n in range(40)]),
    "uuid": pa.array([uuid.UUID(int=2**90 + n).bytes for n in range(40)], pa.uuid()),
}


@pytest.mark.parametrize("ids", KEYS.values(), ids=KEYS)
def test_a_key_of_any_type_is_kept_digit_for_digit_from_draft_to_delivery_and_outcomes(project, tmp_path, ids):
    columns = {name: values for name, values in loans().items() if name not in ("loan_id", "default")}
    pq.write_table(pa.table({"loan_id": ids, **columns}), tmp_path / "loans.parquet")
    names = [str(name).removesuffix(".00").removesuffix(".0") for name in ids.to_pylist()]
    write(tmp_path / "defaults.csv", {"loan_id": names, "default": loans()["default"]})
    done = new(project, "book", [tmp_path / "loans.parquet", tmp_path / "defaults.csv"])
    assert (done.book.key, done.book.bads, done.book.goods, len(done.book.outcomes.parts)) == ("loan_id", 10, 30, 1)
    assert "loan_id," in sql(project) and "loan_id, --" not in sql(project)
    models = Book.load(project, "book").contracts
    folder = {"quarantine_folder": tmp_path / "quarantine", "scratch": tmp_path / "scratch", "max_bad_share": 0.0}
    with connect() as con:
        lake = Lake(tmp_path / "lake")
        loaded = ingest(
            con,
            lake,
            [tmp_path / "loans.parquet"],
            "book/applications",
            models["applications"],
            "1",
            parents={},
            **folder,
        )
        parents = {"applications": f"SELECT loan_id FROM ({loaded.staged.query()})"}
        later = ingest(
            con, lake, [tmp_path / "defaults.csv"], "book/outcomes", models["outcomes"], "1", parents=parents, **folder
        )
        for found in (loaded, later):
            assert found.rows_kept == 40
            kept = con.execute(f"SELECT cast(loan_id AS varchar) FROM ({found.staged.query()}) ORDER BY ALL").fetchall()
            assert [name for (name,) in kept] == sorted(names)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([n / 2 for n in range(40)], "it is a fraction"),
        ([None, *range(39)], "it is empty in 1 of 40 rows"),
        ([1, *range(1, 40)], "it has 39 different values in 40 rows"),
        ([True, False] * 20, "it is a boolean"),
        ([date(2019, 1, 1) + timedelta(n) for n in range(40)], "it is a date"),
        ([f"2019-{n // 28 + 1:02}-{n % 28 + 1:02}" for n in range(40)], "its values are read as dates (%Y-%m-%d)"),
    ],
    ids=lambda it: str(it)[:20],
)
def test_a_key_that_cannot_be_one_is_refused_with_the_reason(project, tmp_path, values, why):
    columns = {name: column for name, column in loans().items() if name != "loan_id"}
    pq.write_table(pa.table({"ref": values, **columns}), tmp_path / "loans.parquet")
    with pytest.raises(BookError, match=re.escape(f"Column ref of loans.parquet cannot identify applicants: {why}")):
        new(project, "book", [tmp_path / "loans.parquet"], key="ref")


def test_a_child_table_ties_to_its_parent_though_its_ids_are_stored_otherwise(project, tmp_path):
    pq.write_table(pa.table(loans() | {"loan_id": [10000 + n for n in range(40)]}), tmp_path / "loans.parquet")
    visits = {"loan_id": [float(10000 + n // 2) for n in range(60)], "minutes": [float(n % 7) for n in range(60)]}
    visits["loan_id"][7] = None
    pq.write_table(pa.table(visits), tmp_path / "visits.parquet")
    done = new(project, "book", [tmp_path / "loans.parquet", tmp_path / "visits.parquet"])
    assert [(child.name, child.orphans) for child in done.book.children] == [("visits", 0)]
    models = Book.load(project, "book").contracts
    assert {column_types(models[table])["loan_id"] for table in ("applications", "visits")} == {"BIGINT"}


def test_columns_without_any_value_keep_the_type_that_parquet_declares(project, tmp_path):
    nothing = {
        "rate": pa.nulls(40, pa.float64()),
        "ratio": pa.array([float("nan")] * 40),
        "day": pa.nulls(40, pa.timestamp("us")),
        "flag": pa.nulls(40, pa.bool_()),
        "word": pa.nulls(40),
    }
    pq.write_table(pa.table(loans() | nothing), tmp_path / "loans.parquet")
    new(project, "book", [tmp_path / "loans.parquet"])
    types = column_types(Book.load(project, "book").contracts["applications"])
    assert [types[name] for name in nothing] == ["DOUBLE", "DOUBLE", "TIMESTAMP", "BOOLEAN", "VARCHAR"]


def test_infinite_and_unread_values_are_to_confirm_and_the_draft_is_whole(project, tmp_path):
    odd = {
        "ratio": [float("inf"), float("nan"), *[1.5 * n for n in range(38)]],
        "slip": [1e25, *[float(n) for n in range(39)]],
        "beyond": [1e308, -1e308, *[float(n) for n in range(38)]],
        "worth": [*[f"{n}.5" for n in range(30)], *[f"{n} CR" for n in range(10)]],
        "paid": [*[f"({n}.5)" for n in range(39)], "1.2k"],
    }
    pq.write_table(pa.table(loans() | odd), tmp_path / "loans.parquet")
    done = new(project, "book", [tmp_path / "loans.parquet"])
    assert done.book.remarks == ["loans.parquet: ratio is infinite in 1 row, which counts as not known"]
    assert "# loans.parquet: ratio is infinite in 1 row" in config(project)
    for column in ("slip", "beyond", "worth", "paid"):
        assert any(f" {column}" in mark for mark in marks(done)), column
    assert any("worth: 10 values of 40, first '0 CR', are not numbers" in mark for mark in marks(done))


@pytest.mark.parametrize(
    "name", ["features", "word", "v", "_line", "application_features", "rows", "count", "_link", "_index"]
)
def test_a_column_may_have_a_name_that_the_drafting_uses_itself(project, tmp_path, name):
    drawn = [f"{n * 7 % 11}.5" for n in range(40)]
    done = new(project, "book", [write(tmp_path / "loans.csv", {"": range(40), **loans(), name: drawn})])
    assert done.features == 4
    assert done.book.remarks == ["loans.csv: the first column, without a name, is taken for an index and left out."]


def test_what_is_no_row_is_drafted_as_notes_that_the_next_file_keeps(project, tmp_path):
    path = write(tmp_path / "loans.csv", loans())
    path.write_text(f"Loan tape as of 31 Dec 2025, internal\n\n{path.read_text()}\nTotal loans: 40\n")
    done = new(project, "book", [path])
    notes = Book.load(project, "book").portfolio.tables["applications"].notes
    assert notes == ["Loan tape as of *, internal", "Total loans: *"]
    assert any("lines like the `notes` are not rows" in mark for mark in marks(done))
    path.write_text(path.read_text().replace("31 Dec 2025", "28 Feb 2026").replace("Total loans: 40", "Total loans: 7"))
    source = look_over(path, "loans.csv", tmp_path / "plain", notes)
    assert (source.rows, source.columns) == (40, list(loans()))

"""Drafted features of the applications: which columns give a feature, and how the others are marked."""

from __future__ import annotations

import pytest

from credit_assets.book.book import Book
from credit_assets.book.queries import FeatureQueryError
from credit_assets_tests.onboarding.drafts import config, marks, of_features, persons, sql


def test_dates_excluded_for_lack_of_an_application_date_are_to_confirm(project, drafted):
    done = drafted(seen_on=["2020-01-31", "2020-02-01"] * 20, first_line=["2001-01-31", "2002-02-01"] * 20)
    [mark] = [mark for mark in marks(done) if "without an application date" in mark]
    assert mark.startswith("sql/book/features.sql:") and "seen_on, first_line; which of them" in mark


def test_no_date_is_excluded_if_the_application_is_dated(project, drafted):
    done = drafted(seen_on=["2020-01-31", "2020-02-01"] * 20, app_date=["2020-02-03"] * 40)
    assert done.book.decided == "app_date"
    assert not any("without an application date" in mark for mark in marks(done))


def test_columns_forbidden_to_models_give_no_features(project, drafted):
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
    assert list(book.queries["features"].descriptions) == ["amount", "rate", "purpose"]
    said = sql(project)
    assert "Left out, protected: dob, sex." in said or "Left out, protected: sex, dob." in said
    assert "Left out, known only after the decision: recoveries." in said
    assert "Left out, empty or always the same: always, never." in said
    assert "Left out, values that only identify rows: customer_no." in said
    assert "Left out, the period of the application: issue_year." in said


def test_numbers_are_read_and_codes_for_missing_become_null(project, drafted):
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


def test_dates_become_days_before_the_application(project, drafted):
    drafted(issue_d=["Mar-2020", "Apr-2020"] * 20, first_line=["2020-02-01", "2019-04-01"] * 20)
    assert of_features(project, "SELECT DISTINCT days_since_first_line FROM features ORDER BY ALL") == [(29,), (366,)]
    assert "delivery: {every: quarter, max_bad_share: 0.05} # CONFIRM: issue_d is the date" in config(project)


def test_free_text_gives_its_length_and_many_categories_give_nothing(project, drafted):
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
    assert "Left out, many different values (training.encodings can encode them)" not in sql(project)
    assert "zip_code" in sql(project).split("select")[0]


def test_columns_named_like_platform_columns_become_renamed_features(project, drafted):
    names = ("pd", "PD_2", "decision", "Points", "cut_off", "reason_1", "fold", "score")
    drafted(**dict.fromkeys(names, [1, 2, 3, 4, 5] * 8))
    made = Book.load(project, "book").queries["features"].descriptions
    assert set(made) == {
        *("amount", "rate", "purpose", "pd_2", "pd_2_2", "decision_2", "points_2", "cut_off_2", "reason_1_2"),
        *("fold_2", "score"),
    }


def test_personal_columns_and_their_lengths_give_no_features(project, drafted):
    done = drafted(**persons())
    made = Book.load(project, "book").queries["features"].descriptions
    assert list(made) == ["amount", "rate", "purpose", "state"]
    told = [mark.split(": a guess: ")[1] for mark in marks(done) if ": a guess: " in mark]
    assert told == [
        "state may be a proxy for the people who live there; leave it out, or keep it",
        "left out as personal data: full_name (named like a person's name), Kunde (texts of a few words that hardly "
        "repeat, like names and addresses), contact (values like an e-mail address), ssn (named like an official "
        "number), doc (values like a key of letters and digits), rufnummer (named like a telephone number)",
        "left out, as a place of residence is a proxy for the people who live there: zip, latitude",
    ]
    assert "-- zip, -- Zip\n" in sql(project) and "-- ssn" not in sql(project)


def test_recurring_personal_names_give_no_feature_and_are_not_listed_in_the_contract(project, drafted):
    drafted(surname=["Nowak", "Garcia", "Meier", "Rossi", "Silva"] * 8)
    assert "Nowak" not in project.config("book").with_suffix(".py").read_text()
    assert "surname" not in Book.load(project, "book").queries["features"].descriptions


def test_columns_excluded_as_row_names_are_to_confirm(project, drafted):
    done = drafted(customer_no=range(40), issue_year=[2018, 2019, 2020, 2021, 2022] * 8)
    assert [mark.split(": a guess: ")[1] for mark in marks(done) if ": a guess: " in mark] == [
        "left out, values that only identify rows: customer_no",
        "left out, the period of the application: issue_year",
    ]


def test_measurements_about_telephones_and_addresses_are_kept(project, drafted):
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
    made = Book.load(project, "book").queries["features"].descriptions
    assert set(made) >= {name.lower() for name in names}


def test_excluded_feature_is_restored_by_deleting_dashes(project, drafted):
    drafted(recoveries=[0, 1, 2, 3, 4] * 8, zip=[10115 + 37 * n for n in range(40)])
    file = project.sql("book") / "features.sql"
    file.write_text(
        file.read_text().replace("    -- recoveries,", "    recoveries,").replace("    -- zip,", "    zip,")
    )
    words = Book.load(project, "book").queries["features"].descriptions
    assert list(words) == ["recoveries", "zip", "amount", "rate", "purpose"]


def test_restored_feature_has_no_guessed_description(project, drafted):
    drafted(total_pymnt=[0, 1, 2, 3, 4] * 8)
    file = project.sql("book") / "features.sql"
    file.write_text(file.read_text().replace("    -- total_pymnt,", "    total_pymnt,"))
    with pytest.raises(FeatureQueryError, match="total_pymnt has no"):
        assert Book.load(project, "book").queries


def test_special_values_keep_their_separate_meaning(project, drafted):
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
    assert "score_kind" not in query.descriptions
    assert query.families["months"] == query.families["months_kind"] == "Months"
    assert query.guesses["months_kind"] == "say what -9, -8, -7 mean"
    assert any("-9 (8 rows) and -8 (8 rows) and -7 (8 rows)" in mark for mark in marks(done))


def test_single_special_value_beside_empty_fields_is_separated_too(project, drafted):
    drafted(months=[3, 5, -9, None, 4] * 8)
    got = of_features(project, "SELECT DISTINCT months, months_kind FROM features ORDER BY ALL")
    assert got == [(3, "number"), (4, "number"), (5, "number"), (None, "code -9"), (None, "empty")]


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


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "feature", "message", "why"), MISSING)
def test_meaning_of_a_missing_value_is_drafted_and_to_confirm(project, drafted, columns, feature, message, why):
    done = drafted(**columns)
    query = Book.load(project, "book").queries["features"]
    assert (query.missing.get(feature, ""), query.guesses.get(feature, "")) == (message, why)
    listed = [finding for finding in done.to_write if feature in str(finding)]
    assert bool(listed) == bool(message)


def test_message_for_a_missing_value_is_not_part_of_a_restored_feature(project, drafted):
    drafted(recoveries=[0, 1, None, 3] * 10)
    assert "-- recoveries, -- Recoveries\n" in sql(project)

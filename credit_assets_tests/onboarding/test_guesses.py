"""What a lender's columns are taken for, each from a file of a few lines."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from credit_assets.onboarding.files import BookError, Column
from credit_assets.onboarding.guesses import GuessedBook, guess
from credit_assets.onboarding.protected_columns import _attributes_of
from credit_assets.onboarding.read_files import read_files
from credit_assets_tests.onboarding.lender import loans, write

ROWS = 40
Guess = Callable[..., GuessedBook]


@pytest.fixture
def guessed(tmp_path: Path) -> Guess:
    """The book of loans.csv, columns replaced (by None: left out) or added, and of other files beside it."""

    def of(
        others: dict[str, dict[str, Any]] | None = None, settings: dict[str, str] | None = None, **columns: Any
    ) -> GuessedBook:
        (tmp_path / "workspace").mkdir()
        (tmp_path / "files").mkdir()
        changed = {name: values for name, values in (loans(ROWS) | columns).items() if values is not None}
        write(tmp_path / "files" / "loans.csv", changed)
        for name, content in (others or {}).items():
            write(tmp_path / "files" / f"{name}.csv", content)
        con = duckdb.connect()
        return guess(con, read_files(con, [tmp_path / "files"], tmp_path / "workspace"), **settings or {})

    return of


def turns(*values: Any, rows: int = ROWS) -> list[Any]:
    """The values in turn."""
    return [values[n % len(values)] for n in range(rows)]


# -- the key -------------------------------------------------------------------------------------------


def test_the_unique_column_that_is_named_like_a_key_names_the_applicants(guessed):
    book = guessed(voucher_number=range(ROWS))
    assert (book.key, book.numbered) == ("loan_id", False)


def test_a_first_column_that_counts_the_rows_names_them(guessed):
    without = dict.fromkeys(loans())
    assert guessed(**without, row=range(100, 100 + ROWS), was_bad=turns(1, 0)).key == "row"


@pytest.mark.parametrize(
    "column",
    [
        {"loan_id": None},
        {"loan_id": turns("a", "b")},
        {"loan_id": [None, *range(1, ROWS)]},
        {"loan_id": None, "income": [1000.5 + n for n in range(ROWS)]},
    ],
)
def test_where_no_column_is_unique_never_empty_and_named_like_a_key_rows_are_numbered(guessed, column):
    book = guessed(**column)
    assert (book.key, book.numbered) == ("application_id", True)


def test_the_users_word_for_the_key_counts_if_it_can_be_one(guessed, tmp_path):
    assert guessed(settings={"key": "ticket"}, ticket=[f"T{n}" for n in range(ROWS)]).key == "ticket"


@pytest.mark.parametrize(("key", "said"), [("nowhere", "no column nowhere"), ("purpose", "cannot identify applicants")])
def test_a_key_that_is_none_is_refused(guessed, key, said):
    with pytest.raises(BookError, match=said):
        guessed(settings={"key": key})


@pytest.mark.parametrize("name", ["pd", "Points", "fold"])
def test_a_key_does_not_have_a_name_of_the_platforms_own(guessed, name):
    without = dict.fromkeys(loans())
    assert guessed(**without, **{name: range(ROWS)}, was_bad=turns(1, 0)).numbered


def test_a_key_of_a_reserved_name_is_refused(guessed):
    with pytest.raises(BookError, match="pd cannot identify applicants under this name"):
        guessed(settings={"key": "pd"}, pd=range(ROWS))


def test_a_key_may_be_called_applicant(guessed):
    assert guessed(settings={"key": "applicant"}, applicant=range(ROWS)).key == "applicant"


# -- the outcome ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "bad", "good"),
    [
        ("target", turns("good", "bad", "good"), ("bad",), ("good",)),
        ("y", turns("yes", "no", "no"), ("yes",), ("no",)),
        ("default", turns(1, 0, 0), ("1",), ("0",)),
        ("TARGET", turns("1.0", "0.0", None), ("1.0",), ("0.0",)),
        ("SeriousDlqin2yrs", turns(0, 1, 0), ("1",), ("0",)),
        ("default payment next month", turns(0, 1), ("1",), ("0",)),
        ("class", turns(1, 2, 1, 1), ("2",), ("1",)),
        ("Creditability", turns(1, 0, 1), ("0",), ("1",)),
        ("fully_paid", turns("yes", "no", "yes"), ("no",), ("yes",)),
        ("RiskPerformance", turns("Bad", "Good", "Good"), ("Bad",), ("Good",)),
        ("not.fully.paid", turns(0, 0, 1), ("1",), ("0",)),
        ("not.fully.paid", turns(1, 1, 0), ("1",), ("0",)),
        ("unpaid", turns(0, 0, 1), ("1",), ("0",)),
        ("isNonDefault", turns(0, 1, 1), ("0",), ("1",)),
        ("no_default", turns("Y", "N", "Y"), ("N",), ("Y",)),
        ("non_performing", turns(0, 1, 0), ("1",), ("0",)),
        ("good_bad", turns(0, 0, 1), ("1",), ("0",)),
        ("good_bad", turns(1, 1, 0), ("0",), ("1",)),
        ("target", turns(1, 1, 1, 0), ("0",), ("1",)),
        ("default", turns(1, 1, 1, 0), ("1",), ("0",)),
        ("y", turns(-1, -1, 1), ("1",), ("-1",)),
        ("kredit", turns(1, 1, 0), ("0",), ("1",)),
        ("credit_risk", turns(1, 1, 0), ("0",), ("1",)),
        ("Zahlungsausfall", turns("ja", "nein", "nein"), ("ja",), ("nein",)),
        ("incumplimiento", turns("sí", "no", "no"), ("sí",), ("no",)),
        ("Loan_Status", turns("Y", "Y", "N"), ("N",), ("Y",)),
        ("loan_status", turns("Current", "Default", "Current"), ("Default",), ("Current",)),
        ("loan_status", turns("not default", "default"), ("default",), ("not default",)),
        ("status", turns("paid", "late", "paid"), ("late",), ("paid",)),
        ("status", turns("Fully Paid", "Current", "Charged Off"), ("Charged Off",), ("Fully Paid",)),
        ("MIS_Status", turns("P I F", "P I F", "CHGOFF"), ("CHGOFF",), ("P I F",)),
        ("flag", turns("G", "B", "G"), ("B",), ("G",)),
        (
            "loan_status",
            turns("Fully Paid", "Charged Off", "Current", "Late (31-120 days)"),
            ("Charged Off",),
            ("Fully Paid",),
        ),
    ],
)
def test_the_outcome_is_found_by_its_name_and_its_words_are_told_apart(guessed, name, values, bad, good):
    book = guessed(**{"default": None, name: values})
    assert (book.outcome.column, book.outcome.bad, book.outcome.good) == (name, bad, good)
    assert book.bads == sum(str(value) in bad for value in values)
    assert book.goods == sum(str(value) in good for value in values)


def test_a_likelier_name_goes_before_others(guessed):
    assert guessed(status=turns("open", "shut"), default=None, target=turns(0, 1)).outcome.column == "target"


def test_a_book_without_an_outcome_is_refused_with_what_to_do(guessed):
    with pytest.raises(BookError, match=r"No column tells how a loan went: .* Name the column with --target"):
        guessed(default=None)


def test_the_users_word_for_the_outcome_counts(guessed):
    book = guessed(settings={"target": "went"}, went=turns("back", "back", "lost"))
    assert (book.outcome.column, book.outcome.bad, book.outcome.good) == ("went", ("lost",), ("back",))
    assert "by its values" in book.outcome.why


@pytest.mark.parametrize(
    ("name", "values", "other"),
    [
        ("good_bad", turns(0, 0, 1), "bad: [0], good: [1]"),
        ("class", turns(1, 2, 1, 1), "bad: [1], good: [2]"),
        ("default", turns(1, 1, 0), "bad: [0], good: [1]"),
        ("RiskPerformance", turns("Bad", "Bad", "Good"), "bad: [Good], good: [Bad]"),
    ],
)
def test_where_the_name_says_neither_or_more_than_half_are_bad_both_readings_are_given(guessed, name, values, other):
    assert f"if it is the other way round: {other}" in guessed(**{"default": None, name: values}).outcome.why


def test_an_outcome_that_is_clear_has_one_reading(guessed):
    assert "the other way round" not in guessed(default=turns(1, 0, 0)).outcome.why


@pytest.mark.parametrize(
    ("target", "said"), [("nowhere", "No file has a column nowhere"), ("amount", "amount cannot be the target")]
)
def test_an_outcome_that_is_none_is_refused(guessed, target, said):
    with pytest.raises(BookError, match=said):
        guessed(settings={"target": target})


# -- what is protected ---------------------------------------------------------------------------------


def test_words_that_name_men_and_women_are_put_into_two_groups(guessed):
    book = guessed(state=turns("male : single", "female : married", "male : widowed"))
    gender = book.protected["gender"]
    assert gender.column == "state"
    assert gender.words == {"male : single": "male", "female : married": "female", "male : widowed": "male"}


def test_m_and_f_are_men_and_women_where_the_name_says_so_and_unknown_is_not_judged(guessed):
    book = guessed(CODE_GENDER=turns("M", "F", "XNA"), flag=turns("M", "F"))
    assert list(book.protected) == ["gender"]
    assert book.protected["gender"].words == {"M": "male", "F": "female"}
    assert book.protected["gender"].not_judged == ("XNA",)


def test_codes_are_left_for_the_user_to_say(guessed):
    gender = guessed(SEX=turns(1, 2)).protected["gender"]
    assert gender.words == {} and "say what its codes mean" in gender.why


@pytest.mark.parametrize(
    ("name", "values", "kind", "bands"),
    [
        ("person_age", turns(21, 30, 50, 47), "years", (25, 35, 45)),
        ("DAYS_BIRTH", turns(-9000, -20000), "days_before", (25, 35, 45, 55, 65)),
        ("age_group", turns("young", "old"), "words", ()),
    ],
)
def test_an_age_is_known_by_its_name_and_its_values(guessed, name, values, kind, bands):
    age = guessed(**{name: values}).protected["age"]
    assert (age.column, age.kind, age.bands) == (name, kind, bands)


@pytest.mark.parametrize("name", ["loan_age", "mortgage_age_months", "age_of_car", "message"])
def test_the_age_of_something_else_is_not_protected(guessed, name):
    assert guessed(**{name: turns(20, 30)}).protected == {}


def test_a_date_of_birth_makes_no_groups_and_is_kept_out_all_the_same(guessed):
    book = guessed(birth_date=[f"19{60 + n}-02-03" for n in range(ROWS)])
    assert book.protected == {} and list(book.unaudited) == ["birth_date"]
    assert "birth_date" in book.withheld


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("marital_status", "marital_status"),
        ("personal_status", "marital_status"),
        ("is_foreign_worker", "national_origin"),
        ("country_of_birth", "national_origin"),
        ("applicant_race", "race"),
        ("black", "race"),
        ("is_white", "race"),
        ("hispanic", "race"),
        ("ethnicGroup", "race"),
        ("religion", "religion"),
        ("is_female", "gender"),
        ("male", "gender"),
        ("customergender", "gender"),
        ("salutation", "gender"),
        ("public_assistance", "public_assistance"),
        ("NumberOfDependents", "dependents"),
        ("num_dependents", "dependents"),
        ("ageband", "age"),
        ("age_at_loan_start", "age"),
        ("card_holder_age", "age"),
    ],
)
def test_other_protected_attributes_are_known_by_their_names(guessed, name, attribute):
    assert guessed(**{name: turns("a", "b", "c")}).protected[attribute].column == name


@pytest.mark.parametrize(
    ("attribute", "columns"),
    [
        (
            "age",
            "alter Lebensalter âge edad età idade leeftijd wiek Altersgruppe agegte62 agelt62 age_over_65 geb_jahr",
        ),
        ("gender", "Geschlecht sexe sexo sesso género geslacht płeć Anrede civilité"),
        ("marital_status", "Familienstand fam_stand situation_familiale etat_civil estado_civil casado stato_civile"),
        ("marital_status", "burgerlijke_staat gehuwd stan_cywilny verheiratet MARSTAT"),
        ("national_origin", "gastarb Gastarbeiter Staatsangehörigkeit nationalité étranger nacionalidad extranjero"),
        (
            "national_origin",
            "cittadinanza nacionalidade nationaliteit buitenlander narodowość obywatelstwo foreignworker",
        ),
        ("race", "amind hipac native_american am_ind hispanic nonwhite raza etnia"),
        ("religion", "Religionszugehörigkeit konfession religión religione wyznanie geloof"),
        ("disability", "schwerbehindert discapacidad handicap disabilità invalidité niepełnosprawność"),
        ("dependents", "unterhaltspflichtige enfants hijos filhos dzieci kinderen"),
    ],
)
def test_protected_attributes_are_known_in_eight_languages_and_abbreviated(attribute, columns):
    for name in columns.split():
        column = Column(name, "text", 10, 10, 3, 1.0, value_counts={"a": 4, "b": 3, "c": 3})
        assert list(_attributes_of(column)) == [attribute], name


@pytest.mark.parametrize(
    "name",
    [
        "laufkont",
        "laufzeit",
        "verw",
        "hoehe",
        "sparkont",
        "wohnzeit",
        "beruf",
        "kontoalter",
        "konto_alter",
        "age_du_vehicule",
        "edad_del_vehiculo",
        "age_of_oldest_account",
        "black_list",
        "white_label",
        "colour_of_car",
        "credit_amount",
        "invalid_flag",
        "foreclosure_count",
        "message",
        "package",
        "betadat",
        "statement",
        "stage",
        "average",
    ],
)
def test_other_columns_are_not_taken_for_protected_in_any_language(name):
    assert _attributes_of(Column(name, "text", 10, 10, 3, 1.0, value_counts={"a": 4, "b": 3, "c": 3})) == {}


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        ("race", ("White", "Black", "Asian", "Hispanic")),
        ("religion", ("Hindu", "Muslim", "other")),
        ("marital_status", ("single", "married", "divorced")),
        ("gender", ("Herr", "Frau", "Frau")),
    ],
)
def test_what_the_values_say_is_protected_whatever_the_name(guessed, attribute, values):
    assert guessed(category=turns(*values)).protected[attribute].column == "category"


def test_a_column_of_sex_and_marital_status_is_named_for_both(guessed):
    book = guessed(personal=turns("male : single", "female : married", "male : married"))
    assert book.protected["gender"].words["male : single"] == "male"
    assert book.protected["marital_status"].words == {
        "male : single": "single",
        "female : married": "married",
        "male : married": "married",
    }


def test_codes_of_sex_and_marital_status_are_named_for_both_and_left_to_the_user(guessed):
    book = guessed(famges=turns(1, 2, 3, 4))
    assert {name: item.column for name, item in book.protected.items()} == {
        "gender": "famges",
        "marital_status": "famges",
    }
    assert "it mixes marital status with it" in book.protected["gender"].why


def test_flags_of_one_attribute_are_named_after_their_columns(guessed):
    book = guessed(amind=turns(0, 1), hipac=turns(1, 0, 0), agegte62=turns(0, 0, 1))
    assert {name: (item.column, item.kind) for name, item in book.protected.items()} == {
        "race": ("amind", "words"),
        "race_hipac": ("hipac", "words"),
        "age": ("agegte62", "words"),
    }


@pytest.mark.parametrize(
    ("ages", "said"),
    [
        ([123], "1 row above 120"),
        ([999, 999], "2 rows above 120"),
        ([-1, 130], "1 row above 120 and 1 row below 0"),
    ],
)
def test_a_few_values_that_are_no_age_do_not_lose_the_age(guessed, ages, said):
    rows = 600
    columns = {name: turns(*values, rows=rows) for name, values in loans().items()}
    columns |= {"loan_id": range(rows), "person_age": [*ages, *turns(*range(21, 70), rows=rows - len(ages))]}
    age = guessed(**columns).protected["age"]
    assert (age.kind, age.bands) == ("years", (25, 35, 45, 55, 65))
    assert said in age.why


@pytest.mark.parametrize("name", ["yob", "birthyear", "birth_year"])
def test_a_year_of_birth_is_kept_out(guessed, name):
    assert list(guessed(**{name: turns(1960, 1975, 1990)}).unaudited) == [name]


@pytest.mark.parametrize("name", ["cust_age", "coapplicant_age", "co_applicant_age", "age"])
def test_an_age_of_anybody_is_an_age(guessed, name):
    assert guessed(**{name: turns(21, 30, 50, 47)}).protected["age"].kind == "years"


def test_titles_that_tell_men_from_women_are_put_into_two_groups(guessed):
    assert guessed(title=turns("Mr", "Mrs", "Ms")).protected["gender"].words["Ms"] == "female"


# -- what tells the outcome ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "recoveries",
        "total_pymnt_inv",
        "last_pymnt_d",
        "out_prncp",
        "max_dpd",
        "settlement_amount",
        "write_off",
        "amount_repaid",
        "principal_paid",
        "days_in_arrears",
        "dpd_30",
        "closed",
        "closed_on",
        "loss",
        "net_loss",
        "outstanding_balance",
        "balance_outstanding",
    ],
)
def test_what_is_named_like_something_later_is_suspected(guessed, name):
    assert guessed(**{name: turns(1, 2, 3)}).late == {name: "by its name"}


@pytest.mark.parametrize(
    "name",
    ["chargeoff_within_12_mths", "collections_12_mths_ex_med", "total_acc", "delinq_2yrs", "loan_amnt", "PAY_AMT1"],
)
def test_what_a_bureau_knew_before_is_not(guessed, name):
    assert guessed(**{name: turns(1, 2, 3)}).late == {}


@pytest.mark.parametrize(
    "name",
    [
        "NumberOfTime30-59DaysPastDueNotWorse",
        "NumberOfTimes90DaysLate",
        "num_times_late_last_2_years",
        "foreclosures_last_7_years",
        "count_of_arrears",
        "prior_losses",
    ],
)
def test_how_often_something_went_wrong_before_is_history(guessed, name):
    assert guessed(**{name: turns(1, 2, 3)}).late == {}


def many_loans(rows: int = 1200) -> tuple[dict[str, Any], np.random.Generator]:
    """Columns for `guessed` of so many loans, none of which tells another; and where more can be drawn."""
    draws = np.random.default_rng(5)
    columns: dict[str, Any] = {
        "loan_id": range(rows),
        "amount": draws.integers(1000, 9000, rows).tolist(),
        "rate": None,
        "purpose": None,
        "default": (draws.random(rows) < 0.3).astype(int).tolist(),
    }
    return columns, draws


def test_history_that_ranks_alone_like_a_leak_is_suspected(guessed):
    columns, _ = many_loans()
    columns["NumberOfTimes90DaysLate"] = [3 * bad + n % 3 for n, bad in enumerate(columns["default"])]
    assert list(guessed(**columns).late) == ["NumberOfTimes90DaysLate"]


@pytest.mark.parametrize("together", ["sum", "difference", "ratio"])
def test_columns_that_together_give_back_a_leak_are_left_out(guessed, together):
    columns, draws = many_loans()
    leak = np.where(np.array(columns["default"]) == 1, draws.integers(300, 900, 1200), draws.integers(1000, 3000, 1200))
    paid = np.exp(draws.uniform(6, 14, 1200)) if together == "ratio" else draws.integers(5000, 20000, 1200)
    both = {"sum": paid + leak, "difference": paid - leak, "ratio": paid / leak}[together]
    columns |= {"days_used": leak.tolist(), "advanced": paid.tolist(), "xx": both.tolist()}
    late = guessed(**columns).late
    assert set(late) == {"days_used", "xx"}
    assert "gives days_used back" in late["xx"] and "advanced" in late["xx"]


def test_two_columns_that_leak_by_their_difference_alone_are_found(guessed):
    columns, draws = many_loans()
    leak = np.where(np.array(columns["default"]) == 1, draws.integers(0, 800, 1200), draws.integers(1000, 3000, 1200))
    paid = draws.integers(5000, 20000, 1200)
    late = guessed(**columns, advanced=paid.tolist(), xx=(paid + leak).tolist()).late
    assert len(late) == 1 and set(late) < {"advanced", "xx"}
    assert "ranks the outcomes with AUC" in next(iter(late.values()))


def test_honest_columns_are_no_leak_together(guessed):
    columns, draws = many_loans()
    columns["income"] = draws.integers(1000, 5000, 1200).tolist()
    columns["debt"] = [income + amount for income, amount in zip(columns["income"], columns["amount"], strict=True)]
    assert guessed(**columns).late == {}


def test_a_column_that_ranks_the_outcomes_almost_perfectly_is_suspected(guessed):
    rows = 400
    outcome = [int(n % 4 == 0) for n in range(rows)]
    columns = {name: turns(*values, rows=rows) for name, values in loans().items() if name != "loan_id"}
    columns |= {"default": outcome, "loan_id": [f"L{n}" for n in range(rows)]}
    columns["fee"] = [100 * bad + n % 90 for n, bad in enumerate(outcome)]
    columns["stamp"] = ["x" if bad and n % 8 else "y" for n, bad in enumerate(outcome)]
    book = guessed(**columns)
    assert set(book.late) == {"fee"}
    assert "alone it ranks the outcomes with an AUC of 1.00" in book.late["fee"]


def test_outcomes_are_ranked_though_few_of_the_rows_have_one(guessed, monkeypatch):
    monkeypatch.setattr("credit_assets.onboarding.late_columns.RANKED_ROWS", 100)
    rows = 3000
    went = [("bad", "good", "good")[n % 3] if n < 100 else "open" for n in range(rows)]
    columns = {
        name: turns(*values, rows=rows) for name, values in loans().items() if name not in ("loan_id", "default")
    }
    fee = [100 * (word == "bad") + n % 90 for n, word in enumerate(went)]
    book = guessed(**columns, default=None, loan_id=range(rows), loan_status=went, fee=fee)
    assert "alone it ranks the outcomes with an AUC of 1.00" in book.late["fee"]


@pytest.mark.parametrize(
    "name",
    [
        "app_date",
        "appdate",
        "APP_DT",
        "appl_dt",
        "appl_date",
        "applied_on",
        "appliedAt",
        "date_applied",
        "dateOfApplication",
        "date_app",
        "appDate",
        "application_dt",
        "application_timestamp",
        "submission_date",
        "date_submitted",
        "submitted_at",
        "loan_app_date",
        "app_received_date",
        "request_date",
        "requested_on",
        "Antragsdatum",
        "fecha_solicitud",
        "date_de_la_demande",
        "data_richiesta",
    ],
)
def test_a_date_named_for_the_application_comes_before_the_date_of_the_loan(guessed, name):
    book = guessed(issue_date=turns("2020-02-05", "2020-03-05"), **{name: turns("2020-01-05", "2020-02-04")})
    assert book.decided == name


@pytest.mark.parametrize("name", ["app_installed", "last_app_date", "app_usage", "appraisal", "card_opened"])
def test_a_date_of_something_else_is_not_taken_for_that_of_the_application(guessed, name):
    assert guessed(**{name: turns("2020-01-05", "2020-02-04")}).decided is None


def test_a_date_after_the_application_is_suspected(guessed):
    book = guessed(application_date=turns("2020-01-05", "2020-02-05"), seen_on=turns("2019-12-01", "2020-03-01"))
    assert book.decided == "application_date"
    assert book.late == {"seen_on": "after application_date on 20 rows"}


def test_the_lenders_own_price_is_named(guessed):
    assert set(guessed(int_rate=turns(5, 6), loan_grade=turns("A", "B")).price) == {"int_rate", "loan_grade"}


# -- several files -------------------------------------------------------------------------------------


def test_files_without_the_outcome_are_applicants_too(guessed):
    later = {name: [value] for name, value in zip(loans(), ("L9999", 1, 2.5, "car"), strict=False)}
    book = guessed({"loans_test": later})
    assert book.applications.files.rows == ROWS + 1
    assert book.applications.columns["default"].filled == ROWS
    assert (book.children, book.unused) == ((), ())


def test_outcomes_in_a_file_of_their_own_are_joined_to_the_applicants(guessed):
    told = {"loan_id": loans(ROWS)["loan_id"][:30], "default": turns(1, 0, 0, rows=30)}
    book = guessed({"labels": told}, default=None)
    assert book.outcomes is not None and book.outcomes.names == "labels.csv"
    assert (book.applications.files.names, book.bads, book.goods) == ("loans.csv", 10, 20)


def test_files_with_the_key_are_children_and_what_hangs_on_them_theirs(guessed):
    names = loans(ROWS)["loan_id"]
    book = guessed(
        {
            "payments": {
                "payment_id": range(80),
                "loan_id": [*names, *names[:39], "stray"],
                "paid": turns(1, 2, rows=80),
            },
            "reminders": {"payment_id": turns(1, 2, 3), "letters": turns(0, 1)},
            "weather": {"day": turns("sun", "rain")},
        }
    )
    assert [(table.name, table.parent, table.link, table.orphans) for table in book.children] == [
        ("payments", "applications", "loan_id", 1),
        ("reminders", "payments", "payment_id", 0),
    ]
    assert [files.names for files in book.unused] == ["weather.csv"]


def test_numbers_of_a_child_that_tell_the_outcome_are_suspected(guessed):
    names, outcome = loans(120)["loan_id"], [int(n % 3 == 0) for n in range(120)]
    columns = {name: turns(*values, rows=120) for name, values in loans().items()}
    paid = [50 - 40 * bad + n % 7 for n, bad in enumerate(outcome)]
    book = guessed(
        {
            "payments": {
                "loan_id": [*names, *names],
                "paid": [*paid, *paid],
                "try": turns(1, 2, 3, 4, 5, 6, 7, rows=240),
            }
        },
        **columns | {"loan_id": names, "default": outcome},
    )
    assert set(book.late) == {"paid"}
    assert "its mean in payments alone ranks the outcomes" in book.late["paid"]


# -- real files ----------------------------------------------------------------------------------------


def test_german_credit(real_data, tmp_path):
    con = duckdb.connect()
    book = guess(con, read_files(con, [real_data / "german_credit"], tmp_path))
    assert book.numbered and (book.bads, book.goods) == (300, 700)
    assert {name: item.column for name, item in book.protected.items()} == {
        "gender": "status_and_sex",
        "marital_status": "status_and_sex",
        "age": "age",
        "national_origin": "is_foreign_worker",
    }
    assert set(book.protected["gender"].words.values()) == {"male", "female"}
    assert book.late == {} and book.price == {}


def test_uci_credit_card(real_data, tmp_path):
    con = duckdb.connect()
    book = guess(con, read_files(con, [real_data / "uci_credit_card"], tmp_path))
    assert (book.key, book.outcome.column) == ("ID", "default payment next month")
    assert (book.bads, book.goods) == (6636, 23364)
    assert {item.column for item in book.protected.values()} == {"SEX", "MARRIAGE", "AGE"}
    assert all(not column.sentinels for column in book.applications.columns.values())


def test_lending_club(real_data, tmp_path):
    """Its first two thousand loans: every column written after the loan was made is suspected."""
    with gzip.open(real_data / "lending_club" / "loans_2007_2010.csv.gz", "rt", encoding="utf-8") as file:
        (tmp_path / "loans.csv").write_text("".join(line for line, _ in zip(file, range(2001), strict=False)))
    con = duckdb.connect()
    book = guess(con, read_files(con, [tmp_path / "loans.csv"], tmp_path))
    assert (book.outcome.column, book.decided) == ("loan_status", "issue_d")
    assert "Charged Off" in book.outcome.bad and "Fully Paid" in book.outcome.good
    later = {"recoveries", "collection_recovery_fee", "last_pymnt_d", "last_pymnt_amnt", "last_credit_pull_d"}
    later |= {"total_pymnt", "total_pymnt_inv", "total_rec_prncp", "total_rec_int", "total_rec_late_fee", "out_prncp"}
    assert later <= set(book.late)
    assert {"loan_amnt", "annual_inc", "dti", "purpose", "earliest_cr_line"}.isdisjoint(book.late)
    assert {"int_rate", "grade", "sub_grade"} == set(book.price)

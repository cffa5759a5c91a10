"""Protected attributes, recognised by the names and values of columns in several languages."""

from __future__ import annotations

import pytest

from credit_assets.onboarding.files import Column
from credit_assets.onboarding.protected_columns import _attributes_of
from credit_assets_tests.onboarding.lender import ROWS, loans, turns


def test_words_for_men_and_women_form_two_groups(guessed):
    book = guessed(state=turns("male : single", "female : married", "male : widowed"))
    gender = book.protected["gender"]
    assert gender.column == "state"
    assert gender.words == {"male : single": "male", "female : married": "female", "male : widowed": "male"}


def test_m_and_f_are_men_and_women_if_the_name_says_so_and_unknown_is_excluded(guessed):
    book = guessed(CODE_GENDER=turns("M", "F", "XNA"), flag=turns("M", "F"))
    assert list(book.protected) == ["gender"]
    assert book.protected["gender"].words == {"M": "male", "F": "female"}
    assert book.protected["gender"].not_judged == ("XNA",)


def test_codes_are_left_to_the_user(guessed):
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
def test_age_is_recognised_by_its_name_and_values(guessed, name, values, kind, bands):
    age = guessed(**{name: values}).protected["age"]
    assert (age.column, age.kind, age.bands) == (name, kind, bands)


@pytest.mark.parametrize("name", ["loan_age", "mortgage_age_months", "age_of_car", "message"])
def test_age_of_something_else_is_not_protected(guessed, name):
    assert guessed(**{name: turns(20, 30)}).protected == {}


def test_date_of_birth_forms_no_groups_but_is_excluded_from_models(guessed):
    book = guessed(birth_date=[f"19{60 + n}-02-03" for n in range(ROWS)])
    assert book.protected == {} and list(book.unaudited) == ["birth_date"]
    assert "birth_date" in book.withheld


@pytest.mark.slow
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
def test_other_protected_attributes_are_recognised_by_name(guessed, name, attribute):
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
def test_protected_attributes_are_recognised_in_eight_languages_and_abbreviated(attribute, columns):
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
def test_column_with_protected_values_is_protected_whatever_its_name(guessed, attribute, values):
    assert guessed(category=turns(*values)).protected[attribute].column == "category"


def test_column_of_sex_and_marital_status_is_listed_for_both(guessed):
    book = guessed(personal=turns("male : single", "female : married", "male : married"))
    assert book.protected["gender"].words["male : single"] == "male"
    assert book.protected["marital_status"].words == {
        "male : single": "single",
        "female : married": "married",
        "male : married": "married",
    }


def test_codes_of_sex_and_marital_status_are_listed_for_both_and_left_to_the_user(guessed):
    book = guessed(famges=turns(1, 2, 3, 4))
    assert {name: item.column for name, item in book.protected.items()} == {
        "gender": "famges",
        "marital_status": "famges",
    }
    assert "the column also has marital status" in book.protected["gender"].why


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
def test_few_impossible_values_do_not_hide_an_age(guessed, ages, said):
    rows = 600
    columns = {name: turns(*values, rows=rows) for name, values in loans().items()}
    columns |= {"loan_id": range(rows), "person_age": [*ages, *turns(*range(21, 70), rows=rows - len(ages))]}
    age = guessed(**columns).protected["age"]
    assert (age.kind, age.bands) == ("years", (25, 35, 45, 55, 65))
    assert said in age.why


@pytest.mark.parametrize("name", ["yob", "birthyear", "birth_year"])
def test_year_of_birth_is_excluded_from_models(guessed, name):
    assert list(guessed(**{name: turns(1960, 1975, 1990)}).unaudited) == [name]


@pytest.mark.parametrize("name", ["cust_age", "coapplicant_age", "co_applicant_age", "age"])
def test_age_of_any_person_is_an_age(guessed, name):
    assert guessed(**{name: turns(21, 30, 50, 47)}).protected["age"].kind == "years"


def test_titles_that_distinguish_men_and_women_form_two_groups(guessed):
    assert guessed(title=turns("Mr", "Mrs", "Ms")).protected["gender"].words["Ms"] == "female"

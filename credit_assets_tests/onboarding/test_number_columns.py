"""Number columns: how text is read as numbers, codes for missing values, and implausible numbers."""

from __future__ import annotations

import re

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.onboarding import numbers
from credit_assets_tests.onboarding.lender import read


def test_decimal_comma_is_recognised_if_no_other_reading_is_possible(column):
    rate = column(["13,5", "7", "0,125"])
    assert [read(rate, value) for value in ("13,5", "7", "0,125")] == [13.5, 7, 0.125]
    assert (rate.low, rate.high) == (0.125, 13.5)
    amount = column(["1.234.567,89 €", "1.000", "-12,00 €"])
    assert (read(amount, "1.234.567,89 €"), read(amount, "1.000"), amount.low) == (1234567.89, 1000, -12)
    assert read(column(["1,200", "17"]), "1,200") == 1200
    assert column(["13,5", "13.5"]).number is None


def test_pattern_of_numbers_in_text_refuses_other_text(column):
    rate = column(["13,5 %", "7", "n/a", "1.250,00"] * 2).pattern
    assert rate is not None
    assert [
        bool(re.match(rate, value)) for value in ("2,5", "n/a", "9.999,1", "abc", "12500.50", "7,5x", "unknown")
    ] == [
        *[True] * 3,
        *[False] * 4,
    ]
    amount = column(["$1,200.50", "$7"]).pattern
    assert amount is not None
    assert [bool(re.match(amount, value)) for value in ("$3", "1,234,567.8", "13,5", "free")] == [
        True,
        True,
        False,
        False,
    ]
    grouped = column(["1 200", "-7"]).pattern
    assert grouped is not None
    assert [bool(re.match(grouped, value)) for value in ("12 345 678", "-3", "1 2", "$7")] == [True, True, False, False]
    plain = column(["1e5", "7", "n/a"])
    assert plain.pattern is None and plain.high == 1e5, "what the pattern does not know is not refused"


def test_ambiguous_thousands_or_decimals_are_read_like_the_rest_of_the_table(read_tables, tmp_path):
    columns = {"amount": ["1.200", "900", "15.000"], "income": ["1,250", "2,375", "7"], "share": ["0.25", "1.5", "1"]}
    for rate, amount, income in ((["3,1", "2", "4"], 1200, 1.25), (["3.1", "2", "4"], 1.2, 1250)):
        (tmp_path / "loans.csv").write_text(pd.DataFrame(columns | {"rate": rate}).to_csv(sep=";", index=False))
        [files] = read_tables(tmp_path / "loans.csv")
        found = files.columns
        assert float(read(found["amount"], "1.200")) == amount
        assert float(read(found["income"], "1,250")) == income
        # A quarter cannot be written in thousands.
        assert found["share"].kind == "fraction"


def test_numbers_with_prefix_or_suffix_are_numbers(column):
    rate = column(["13.5%", "7%", " 9.25 %"])
    assert (rate.kind, rate.low, rate.high) == ("text", 7, 13.5)
    assert read(rate, "13.5%") == 13.5
    assert read(column(["$1,200.50", "$7"]), "$1,200.50") == 1200.5


ACCOUNTS = {
    "(1,234.56)": -1234.56,
    "1234.56-": -1234.56,
    "-(1,234.56)": -1234.56,
    "$(1,234)": -1234,
    "($1,234)": -1234,
    "- 5": -5,
    "\u2212 5.5": -5.5,
    "+5": 5,
    "12,34,567.8": 1234567.8,
    "1'234'567": 1234567,
    "1\u2019234.5": 1234.5,
    "1\u00a0234": 1234,
    "1\u202f234.5": 1234.5,
    "13.5 %": 13.5,
    "USD 1,200": 1200,
    "Rs. 1,20,000": 120000,
    "1,200 CHF": 1200,
    "₹ 7": 7,
    "EUR -12.5": -12.5,
}


@pytest.mark.slow
@pytest.mark.parametrize(("text", "meant"), ACCOUNTS.items())
def test_accounting_notation_is_read_with_its_sign(column, text, meant):
    seen = column([text, "7", "1,000,000.5", text])
    assert read(seen, text) == meant
    assert (seen.low, seen.high) == (min(meant, 7), max(meant, 1000000.5))
    assert seen.pattern and re.match(seen.pattern, text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("(1.234,56)", -1234.56),
        ("1234,56-", -1234.56),
        ("1.234.567,8 €", 1234567.8),
        ("1 234,5", 1234.5),
        ("-0,5", -0.5),
    ],
)
def test_accounting_notation_is_read_with_a_decimal_comma_too(column, text, meant):
    seen = column([text, "7", "12,5"])
    assert read(seen, text) == meant and re.match(seen.pattern, text)


@pytest.mark.parametrize("odd", ["1.2k", "12 CR", "1,2,3", "3+", "1'200.-", "five", "1-2", "<5", "1.2.3", "60 months"])
def test_single_odd_value_among_numbers_is_null_and_to_confirm(column, odd):
    seen = column([f"{n},{n:03}.50" for n in range(1, 40)] + [odd])
    assert read(seen, "7,007.50") == 7007.5
    assert read(seen, odd) is None
    assert seen.doubts == (f"1 value of 40, first {odd!r}, is not a number and counts as not known",)
    assert re.match(seen.pattern, odd) and not re.match(seen.pattern, "six")


def test_mostly_numeric_column_that_cannot_be_read_names_its_first_other_value(column):
    seen = column([f"{n}.5" for n in range(60)] + [f"{n} CR" for n in range(20)])
    assert seen.number is None
    assert seen.doubts == ("20 values of 80, first '0 CR', are not numbers, so the values are not read as numbers",)
    assert column(["a", "b", "c1", "7"]).doubts == ()


def test_signs_missing_on_some_values_are_to_confirm(column):
    assert column(["13.5%", "0.2"]).doubts == ("% is in 1 value and missing in 1; all are read as they are",)
    assert column(["$5", "€7"]).doubts == (
        "$ is in 1 value and missing in 1; all are read as they are",
        "€ is in 1 value and missing in 1; all are read as they are",
    )


amounts = st.decimals(-(10**9), 10**9, places=2)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(amounts, min_size=1, max_size=6),
    group=st.sampled_from([",", "'", " ", "\u00a0"]),
    below_zero=st.sampled_from(["-{}", "({})", "{}-", "$({})", "(${})", "-({})", "-$ {}", "{}- %"]),
)
def test_numbers_of_any_style_are_read_back(values, group, below_zero):
    for comma in (False, True):
        texts = []
        for value in values:
            text = f"{abs(value):,.2f}".replace(",", "\0")
            text = (
                text.replace(".", ",").replace("\0", "." if group == "," else group)
                if comma
                else text.replace("\0", group)
            )
            texts.append(below_zero.format(text) if value < 0 else text)
        seen = {sign for text in texts for sign in text if not sign.isdigit()}
        form = numbers.pattern(comma, seen)
        with duckdb.connect() as con:
            found = con.execute(
                f"SELECT {numbers.value('t', comma, seen)}, regexp_full_match(t, ?) FROM (SELECT unnest(?) AS t)",
                [form, texts],
            ).fetchall()
        assert [number for number, _ in found] == [pytest.approx(float(value)) for value in values]
        assert all(matched and re.fullmatch(form, text) for (_, matched), text in zip(found, texts, strict=True))


def test_words_for_missing_among_numbers_are_null(column):
    income = column(["100", "NA", "nan", "250.5", None])
    assert (income.kind, income.missing, income.low, income.high) == ("text", ("NA", "nan"), 100, 250.5)
    assert read(income, "nan") is None and read(income, "250.5") == 250.5


def test_other_words_among_numbers_make_the_column_text(column):
    dependants = column(["0", "1", "2", "3+"])
    assert dependants.number is None
    assert dependants.value_counts == {"0": 1, "1": 1, "2": 1, "3+": 1}


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([0, 1, 2, 13] * 5 + [96] * 5 + [98] * 6, {96: 5, 98: 6}),
        ([0, 50, 100] * 5 + [-7] * 5 + [-9] * 5, {-9: 5, -7: 5}),
        ([-3000, -17, -500] * 5 + [365243] * 9, {365243: 9}),
        ([4, 7, 27] * 5 + [999] * 5, {999: 5}),
        ([4, 7, 27] * 5 + [999] * 4, {}),
        ([-2, -1, 0, 8] * 9, {}),
        ([90, 95, 97, 99] * 9, {}),
        ([18, 40, 80, 99] * 9, {}),
        ([-1] * 9, {}),
    ],
)
def test_frequent_distant_number_is_a_code_for_missing(column, numbers, found):
    seen = column(numbers)
    assert seen.sentinels == found
    others = [number for number in numbers if number not in found]
    assert (seen.low, seen.high) == (min(others), max(others))


@pytest.mark.parametrize("huge", ["1e25", "1" + "0" * 25, "-1e99"])
def test_single_huge_number_is_to_confirm(column, huge):
    seen = column([*range(1, 400), huge])
    assert (seen.kind, float(read(seen, huge))) == ("fraction", float(huge))
    assert seen.doubts and "times the 99th percentile of the others" in seen.doubts[0]
    assert column([10**13 * n for n in range(1, 9)]).doubts == ()


@pytest.mark.parametrize("beyond", ["1e308", "-1e100", "1.7976931348623157e308"])
def test_impossible_number_is_null_and_sets_no_limit(column, beyond):
    seen = column([*range(40), beyond])
    assert (seen.low, seen.high, seen.extremes) == (0, 39, 1)
    assert seen.doubts == ("1 value beyond 1e+100 counts as not known",)
    assert read(seen, "39") == "39" and read(seen, beyond) is None
    with duckdb.connect() as con:
        assert con.execute(f"SELECT {seen.number} FROM (SELECT {beyond}::double AS c)").fetchall() == [(None,)]


@pytest.mark.parametrize("word", ["inf", "-Infinity", "#DIV/0!", "1e400"])
def test_results_of_failed_calculations_are_null_and_to_confirm(column, word):
    seen = column([*range(40), word])
    assert (seen.kind, seen.low, seen.high, read(seen, word)) == ("text", 0, 39, None)
    assert len(seen.doubts) == 1 and repr(word) in seen.doubts[0]

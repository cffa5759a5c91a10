"""The Home Credit contracts accept the real data and refuse impossible values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from credit_assets.schemas.home_credit import (
    TABLES,
    Applications,
    Bureau,
    BureauBalance,
    CreditCardBalance,
    InstallmentsPayments,
    Outcomes,
    PosCashBalance,
    PreviousApplications,
)
from credit_assets.schemas.table import Table

SOURCE_FILES: list[tuple[str, type[Table]]] = [
    ("application_train", Applications),
    ("application_test", Applications),
    ("bureau", Bureau),
    ("bureau_balance", BureauBalance),
    ("previous_application", PreviousApplications),
    ("POS_CASH_balance", PosCashBalance),
    ("credit_card_balance", CreditCardBalance),
    ("installments_payments", InstallmentsPayments),
]
MODELS = list(TABLES.values())


def stored_type(column: Any) -> type | str:
    return str if str(column.dtype) == "str" else str(column.dtype)


def allowed_value(column: Any) -> Any:
    """A value that every check of the column allows: its first category, or its largest number."""
    limits = {check.name: check.statistics for check in column.checks}
    if "isin" in limits:
        return next(iter(limits["isin"]["allowed_values"]))
    if "in_range_or_sentinel" in limits:
        return limits["in_range_or_sentinel"]["min_value"]
    return limits.get("less_than_or_equal_to", {"max_value": 1})["max_value"]


def good_row(model: type[Table], **changes: Any) -> pd.DataFrame:
    """One row that meets the contract, except for the changed columns."""
    columns = model.to_schema().columns
    row = pd.DataFrame(
        {name: pd.Series([allowed_value(column)], dtype=stored_type(column)) for name, column in columns.items()}
    )
    for name, value in changes.items():
        row[name] = pd.Series([value], dtype=stored_type(columns[name]) if value is not None else object)
    return row


def read(folder: Path, stem: str, model: type[Table]) -> pd.DataFrame:
    types = {name: stored_type(column) for name, column in model.to_schema().columns.items()}
    return pd.read_csv(folder / "home_credit" / f"{stem}.csv.gz", dtype=types, keep_default_na=False, na_values=[""])


@pytest.mark.parametrize(("stem", "model"), SOURCE_FILES)
def test_every_row_of_the_real_files_meets_its_contract(real_data: Path, stem: str, model: type[Table]) -> None:
    frame = read(real_data, stem, model)

    model.validate(frame, lazy=True)

    contract = [name for name in model.to_schema().columns if name != "TARGET" or stem != "application_test"]
    assert list(frame.columns) == contract


@pytest.mark.parametrize("model", MODELS)
def test_row_at_the_limits_is_accepted(model: type[Table]) -> None:
    model.validate(good_row(model), lazy=True)


@pytest.mark.parametrize(
    ("model", "column", "value"),
    [
        pytest.param(Applications, "CODE_GENDER", "female", id="a word never seen"),
        pytest.param(Applications, "SK_ID_CURR", 0, id="a key below one"),
        pytest.param(Applications, "AMT_CREDIT", 0.0, id="a loan of nothing"),
        pytest.param(Applications, "AMT_INCOME_TOTAL", -1.0, id="a wrong sign"),
        pytest.param(Applications, "AMT_INCOME_TOTAL", np.nan, id="a null where none may be"),
        pytest.param(Applications, "CODE_GENDER", None, id="a null word where none may be"),
        pytest.param(Applications, "EXT_SOURCE_2", 54.0, id="percent for a share"),
        pytest.param(Applications, "EXT_SOURCE_2", np.inf, id="infinity"),
        pytest.param(Applications, "DAYS_BIRTH", 12_000, id="an age not negated"),
        pytest.param(Applications, "DAYS_BIRTH", -35, id="an age in years"),
        pytest.param(Applications, "DAYS_EMPLOYED", 200, id="employed after applying, not the sentinel"),
        pytest.param(Applications, "DAYS_EMPLOYED", 365_244, id="beside the sentinel"),
        pytest.param(Applications, "FLAG_EMAIL", 2, id="a flag neither 0 nor 1"),
        pytest.param(Applications, "TARGET", 0.5, id="an outcome neither 0 nor 1"),
        pytest.param(Applications, "HOUR_APPR_PROCESS_START", 24, id="an hour past 23"),
        pytest.param(Bureau, "DAYS_CREDIT", 1, id="a bureau loan after the application"),
        pytest.param(Bureau, "AMT_CREDIT_SUM_DEBT", -np.inf, id="minus infinity"),
        pytest.param(BureauBalance, "STATUS", "6", id="a status never seen"),
        pytest.param(BureauBalance, "MONTHS_BALANCE", -2922, id="days for months"),
        pytest.param(PreviousApplications, "DAYS_TERMINATION", 30.0, id="an end to come, not the sentinel"),
        pytest.param(PreviousApplications, "SELLERPLACE_AREA", -2, id="below the sentinel of areas"),
        pytest.param(PosCashBalance, "SK_DPD", -1, id="late by less than nothing"),
        pytest.param(CreditCardBalance, "NAME_CONTRACT_STATUS", "Canceled", id="a status of another table"),
        pytest.param(InstallmentsPayments, "NUM_INSTALMENT_NUMBER", 0, id="instalment zero"),
        pytest.param(InstallmentsPayments, "AMT_PAYMENT", -5.0, id="a negative payment"),
        pytest.param(Outcomes, "TARGET", -1, id="an outcome that is no flag"),
    ],
)
def test_invalid_value_fails_and_names_its_column(model: type[Table], column: str, value: Any) -> None:
    with pytest.raises(pa.errors.SchemaErrors) as failure:
        model.validate(good_row(model, **{column: value}), lazy=True)

    assert set(failure.value.failure_cases["column"]) == {column}


@pytest.mark.parametrize(
    ("model", "column", "value"),
    [
        pytest.param(Applications, "DAYS_EMPLOYED", 365_243, id="not employed"),
        pytest.param(Applications, "AMT_INCOME_TOTAL", 117_000_000.0, id="the largest income"),
        pytest.param(Applications, "REGION_RATING_CLIENT_W_CITY", -1, id="one rating of the test file"),
        pytest.param(Applications, "NAME_FAMILY_STATUS", "Unknown", id="two applicants' marital status"),
        pytest.param(Applications, "ORGANIZATION_TYPE", "Industry: type 8", id="the rarest organisation"),
        pytest.param(Applications, "TARGET", np.nan, id="an outcome not known yet"),
        pytest.param(Applications, "AMT_REQ_CREDIT_BUREAU_QRT", 261.0, id="the most enquiries"),
        pytest.param(Bureau, "AMT_CREDIT_SUM", 585_000_000.0, id="the largest bureau loan"),
        pytest.param(Bureau, "AMT_CREDIT_SUM_DEBT", -4_705_600.32, id="the most overpaid"),
        pytest.param(Bureau, "AMT_CREDIT_SUM_LIMIT", -586_406.115, id="a negative limit"),
        pytest.param(Bureau, "DAYS_CREDIT_ENDDATE", -42_060.0, id="an end 115 years ago"),
        pytest.param(Bureau, "DAYS_CREDIT_ENDDATE", 31_199.0, id="an end in 85 years"),
        pytest.param(Bureau, "DAYS_ENDDATE_FACT", -42_023.0, id="ended 115 years ago"),
        pytest.param(Bureau, "DAYS_CREDIT_UPDATE", 372, id="heard of after the application"),
        pytest.param(Bureau, "DAYS_CREDIT_UPDATE", -41_947, id="heard of 115 years ago"),
        pytest.param(Bureau, "CREDIT_TYPE", "Mobile operator loan", id="the one loan of its kind"),
        pytest.param(PreviousApplications, "AMT_DOWN_PAYMENT", -0.9, id="a down payment below zero"),
        pytest.param(PreviousApplications, "RATE_DOWN_PAYMENT", -0.0000149, id="its rate"),
        pytest.param(PreviousApplications, "SELLERPLACE_AREA", 4_000_000, id="the largest shop"),
        pytest.param(PreviousApplications, "DAYS_FIRST_DRAWING", 365_243.0, id="never paid out"),
        pytest.param(PreviousApplications, "DAYS_LAST_DUE_1ST_VERSION", 2_389.0, id="due years ahead"),
        pytest.param(PreviousApplications, "PRODUCT_COMBINATION", None, id="no product"),
        pytest.param(PosCashBalance, "SK_DPD", 4_231, id="eleven years late"),
        pytest.param(PosCashBalance, "NAME_CONTRACT_STATUS", "XNA", id="a status not known"),
        pytest.param(CreditCardBalance, "AMT_BALANCE", -420_250.185, id="the most overpaid card"),
        pytest.param(CreditCardBalance, "AMT_DRAWINGS_CURRENT", -6_211.62, id="a negative drawing"),
        pytest.param(InstallmentsPayments, "DAYS_ENTRY_PAYMENT", -4_921.0, id="paid long before it was due"),
        pytest.param(InstallmentsPayments, "AMT_INSTALMENT", 3_771_487.845, id="the largest instalment"),
    ],
)
def test_known_oddity_of_the_source_is_accepted(model: type[Table], column: str, value: Any) -> None:
    model.validate(good_row(model, **{column: value}), lazy=True)


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
@pytest.mark.parametrize("model", [model for model in MODELS if model not in (BureauBalance, Outcomes)])
def test_decimal_number_may_not_be_infinite(model: type[Table], infinity: float) -> None:
    columns = model.to_schema().columns
    numbers = [name for name, column in columns.items() if str(column.dtype) == "float64"]

    with pytest.raises(pa.errors.SchemaErrors) as failure:
        model.validate(good_row(model, **dict.fromkeys(numbers, infinity)), lazy=True)

    assert set(failure.value.failure_cases["column"]) == set(numbers)


@pytest.mark.parametrize("model", [model for model in MODELS if model is not InstallmentsPayments])
def test_repeated_key_fails_and_is_named(model: type[Table]) -> None:
    twice = pd.concat([good_row(model)] * 2, ignore_index=True)

    with pytest.raises(pa.errors.SchemaErrors) as failure:
        model.validate(twice, lazy=True)

    assert set(failure.value.failure_cases["column"]) == set(model.to_schema().unique)


def test_instalments_may_repeat_because_nothing_identifies_a_payment() -> None:
    InstallmentsPayments.validate(pd.concat([good_row(InstallmentsPayments)] * 2, ignore_index=True))


@pytest.mark.parametrize("model", MODELS)
def test_missing_and_unknown_columns_fail(model: type[Table]) -> None:
    row = good_row(model)

    with pytest.raises(pa.errors.SchemaErrors, match="SK_ID"):
        model.validate(row.drop(columns=row.columns[0]), lazy=True)
    with pytest.raises(pa.errors.SchemaErrors, match="SURPRISE"):
        model.validate(row.assign(SURPRISE=1), lazy=True)


def test_wrong_type_fails_instead_of_being_truncated() -> None:
    row = good_row(Applications)
    row["CNT_CHILDREN"] = 1.5

    with pytest.raises(pa.errors.SchemaErrors, match="CNT_CHILDREN"):
        Applications.validate(row, lazy=True)


def test_applications_may_come_without_outcomes() -> None:
    Applications.validate(good_row(Applications).drop(columns="TARGET"))


@pytest.mark.parametrize("model", MODELS)
def test_every_column_has_a_description_and_a_rule(model: type[Table]) -> None:
    for name, column in model.to_schema().columns.items():
        assert column.description, name
        assert column.checks, name
        if name.startswith(("AMT_", "DAYS_", "MONTHS_")) and "REQ_CREDIT_BUREAU" not in name:
            assert column.metadata["unit"], name
    assert model.__doc__


def test_parents_precede_their_children() -> None:
    order = list(TABLES)
    for child, model in TABLES.items():
        for relation in model.relations:
            assert order.index(relation.parent) < order.index(child)
            assert relation.column in model.to_schema().columns
            assert TABLES[relation.parent].to_schema().unique == [relation.parent_column]


def test_only_relations_that_the_source_violates_are_not_enforced() -> None:
    loose = {(child, r.parent) for child, model in TABLES.items() for r in model.relations if not r.enforced}

    assert loose == {
        ("bureau_balance", "bureau"),
        ("pos_cash_balance", "previous_applications"),
        ("credit_card_balance", "previous_applications"),
        ("installments_payments", "previous_applications"),
    }

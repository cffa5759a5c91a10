"""The Home Credit features: against a naive computation in pandas, on histories small enough to check by hand, and for
what must never happen (a lost applicant, a value from the future, a protected attribute).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.book.lineage import lineage, raw_lineage
from credit_assets.book.queries import load
from credit_assets.features.compute import compute_features, compute_query
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.schemas.home_credit import TABLES

pytestmark = pytest.mark.slow

SQL = Path(__file__).parents[2] / "sql" / "home_credit"
QUERIES = load(SQL, TABLES)
SCHEMAS = {table: column_types(model) for table, model in TABLES.items()}
INPUTS = sorted({table for query in QUERIES.values() for table in query.inputs if table in TABLES})
FEATURES = list(QUERIES["features"].descriptions)

Row = dict[str, Any]


# -- running the SQL ---------------------------------------------------------------------------------


def connect(tables: Mapping[str, pd.DataFrame], threads: int = 1) -> duckdb.DuckDBPyConnection:
    """A database with the raw tables; tables and columns that are not given are empty, zero or null."""
    con = duckdb.connect(config={"threads": threads})
    for table in INPUTS:
        kinds = SCHEMAS[table]
        columns = ", ".join(f'"{name}" {kind}' for name, kind in kinds.items())
        con.execute(f"create table {table} ({columns})")
        frame = tables.get(table)
        if frame is not None and len(frame):
            con.register("given", frame)
            values = ", ".join(
                name if name in frame else "0" if "INT" in kind and name != "TARGET" else "null"
                for name, kind in kinds.items()
            )
            con.execute(f"insert into {table} select {values} from given")
            con.unregister("given")
    return con


def features(tables: Mapping[str, pd.DataFrame], threads: int = 1) -> pd.DataFrame:
    """The joined features, one row per applicant, sorted by applicant."""
    con = connect(tables, threads)
    try:
        return compute_features(con, QUERIES).order("SK_ID_CURR").df().set_index("SK_ID_CURR")
    finally:
        con.close()


def rows_of(query: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The result of one query that reads raw tables only, sorted by applicant."""
    con = connect(tables)
    try:
        return compute_query(con, QUERIES[query]).order("SK_ID_CURR").df()
    finally:
        con.close()


def only_row(query: str, **tables: Sequence[Row]) -> Row:
    """The result of one query for the only applicant in the tables."""
    rows = rows_of(query, {table: pd.DataFrame(rows) for table, rows in tables.items()})
    assert len(rows) == 1
    return dict(rows.iloc[0])


# -- a made-up portfolio of random numbers ---------------------------------------------------------------


def random_portfolio(applicants: int, months: int, seed: int = 7) -> dict[str, pd.DataFrame]:
    """Random rows for every table, with amounts of many decimals, so that sums depend on the order of addition."""
    random = np.random.default_rng(seed)

    def amounts(size: int) -> np.ndarray:
        return np.where(random.random(size) < 0.1, np.nan, random.lognormal(9, 2, size))

    def words(size: int, *choices: str) -> np.ndarray:
        return random.choice(choices, size)

    curr = 100_000 + np.arange(applicants)
    loans = 3 * applicants
    owner = random.choice(curr, loans)
    loan = 1_000_000 + np.arange(loans)
    of = np.repeat(np.arange(loans), months)
    month = -np.tile(np.arange(months), loans)
    size = len(of)
    opened = -random.integers(0, 2900, loans)
    due = (month * 30 - random.integers(0, 29, size)).astype(float)
    applications = pd.DataFrame(
        {
            "SK_ID_CURR": curr,
            "NAME_CONTRACT_TYPE": words(applicants, "Cash loans", "Revolving loans"),
            "DAYS_EMPLOYED": random.choice([365243, -100, -2000], applicants),
            **{name: amounts(applicants) for name in ("AMT_INCOME_TOTAL", "AMT_CREDIT", "AMT_ANNUITY")},
            **{f"EXT_SOURCE_{i}": random.random(applicants) for i in (1, 2, 3)},
        }
    )
    bureau = pd.DataFrame(
        {
            "SK_ID_CURR": owner,
            "SK_ID_BUREAU": loan,
            "CREDIT_ACTIVE": words(loans, "Active", "Closed"),
            "CREDIT_TYPE": words(loans, "Consumer credit", "Credit card", "Microloan", "Mortgage"),
            "CREDIT_CURRENCY": "currency 1",
            "DAYS_CREDIT": opened,
            "DAYS_CREDIT_UPDATE": np.maximum(opened, -20),
            "DAYS_CREDIT_ENDDATE": opened + 700.0,
            "DAYS_ENDDATE_FACT": np.where(random.random(loans) < 0.5, np.nan, opened * 0.5 // 1),
            "CNT_CREDIT_PROLONG": random.integers(0, 3, loans),
            **{
                f"AMT_CREDIT_{name}": amounts(loans)
                for name in ("SUM", "SUM_DEBT", "SUM_LIMIT", "SUM_OVERDUE", "MAX_OVERDUE")
            },
        }
    )
    bureau_balance = pd.DataFrame(
        {"SK_ID_BUREAU": loan[of], "MONTHS_BALANCE": month, "STATUS": words(size, *"CX0011235")}
    )
    previous_applications = pd.DataFrame(
        {
            "SK_ID_CURR": owner,
            "SK_ID_PREV": loan,
            "DAYS_DECISION": opened // 100 * 100,  # ties
            "NAME_CONTRACT_STATUS": words(loans, "Approved", "Refused", "Canceled"),
            "CODE_REJECT_REASON": words(loans, "HC", "LIMIT", "XAP"),
            "NAME_CONTRACT_TYPE": words(loans, "Cash loans", "Consumer loans"),
            "NAME_YIELD_GROUP": words(loans, "high", "middle", "XNA"),
            "CNT_PAYMENT": random.integers(6, 60, loans).astype(float),
            "DAYS_TERMINATION": words(loans, "-10", "365243").astype(float),
            "RATE_DOWN_PAYMENT": random.random(loans),
            **{f"AMT_{name}": amounts(loans) for name in ("APPLICATION", "CREDIT", "ANNUITY", "DOWN_PAYMENT")},
        }
    )
    pos_cash_balance = pd.DataFrame(
        {
            "SK_ID_CURR": owner[of],
            "SK_ID_PREV": loan[of],
            "MONTHS_BALANCE": month,
            "CNT_INSTALMENT": 12.0,
            "CNT_INSTALMENT_FUTURE": random.integers(0, 13, size).astype(float),
            "NAME_CONTRACT_STATUS": words(size, "Active", "Active", "Active", "Completed"),
            "SK_DPD": random.integers(0, 4, size) // 2 * 20,
            "SK_DPD_DEF": random.integers(0, 4, size) // 3 * 20,
        }
    )
    credit_card_balance = pd.DataFrame(
        {
            "SK_ID_CURR": owner[of],
            "SK_ID_PREV": loan[of],
            "MONTHS_BALANCE": month,
            "AMT_CREDIT_LIMIT_ACTUAL": random.integers(0, 5, size) * 45_000,
            "CNT_DRAWINGS_CURRENT": random.integers(0, 9, size),
            "SK_DPD": random.integers(0, 4, size) // 2 * 20,
            **{
                f"AMT_{name}": amounts(size)
                for name in (
                    *("BALANCE", "DRAWINGS_CURRENT", "DRAWINGS_ATM_CURRENT", "PAYMENT_TOTAL_CURRENT"),
                    *("INST_MIN_REGULARITY", "RECEIVABLE_PRINCIPAL", "TOTAL_RECEIVABLE"),
                )
            },
        }
    )
    installments_payments = pd.DataFrame(
        {
            "SK_ID_CURR": owner[of],
            "SK_ID_PREV": loan[of],
            "NUM_INSTALMENT_VERSION": 1.0,
            "NUM_INSTALMENT_NUMBER": months + month,
            "DAYS_INSTALMENT": due,
            "DAYS_ENTRY_PAYMENT": np.minimum(due + random.integers(-20, 20, size), 0),
            "AMT_INSTALMENT": random.lognormal(9, 1, size),
            "AMT_PAYMENT": random.lognormal(9, 1, size),
        }
    )
    return {
        "applications": applications,
        "bureau": bureau,
        "bureau_balance": bureau_balance,
        "previous_applications": previous_applications,
        "pos_cash_balance": pos_cash_balance,
        "credit_card_balance": credit_card_balance,
        "installments_payments": installments_payments,
    }


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Equal to the last bit, nulls included."""
    pd.testing.assert_frame_equal(left, right, check_exact=True)


# -- properties of the queries --------------------------------------------------------------------------


def test_portfolio_has_more_than_400_features() -> None:
    assert len(FEATURES) > 400


def test_descriptions_are_fit_for_an_applicant() -> None:
    for feature, words in QUERIES["features"].descriptions.items():
        assert words[0].islower() or words.startswith("e-mail"), feature
        assert not words.endswith((".", ",")), feature
        assert "score" not in words and "_" not in words, feature
        assert len(words) >= 6, feature


def test_no_feature_comes_from_a_protected_attribute_or_the_outcome() -> None:
    forbidden = {"CODE_GENDER", "DAYS_BIRTH", "NAME_FAMILY_STATUS", "TARGET"}

    for feature, origins in raw_lineage(lineage(QUERIES, SCHEMAS))["features"].items():
        assert not forbidden & {column for _, column in origins}, feature


def test_every_feature_but_the_key_uses_more_than_identifiers() -> None:
    for feature, origins in raw_lineage(lineage(QUERIES, SCHEMAS))["features"].items():
        if feature in FEATURES:
            assert any(not column.startswith("SK_ID") for _, column in origins), feature


# -- one row per applicant, no dependence on order, no look into the future -----------------------------


@pytest.fixture(scope="module")
def with_newcomer() -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """A random portfolio with an applicant without history, and its features."""
    tables = random_portfolio(applicants=40, months=6)
    newcomer = pd.DataFrame({"SK_ID_CURR": [1], "AMT_CREDIT": [1000.0], "AMT_INCOME_TOTAL": [500.0]})
    tables["applications"] = pd.concat([newcomer, tables["applications"]])
    return tables, features(tables)


def test_each_applicant_has_one_row_even_without_history(with_newcomer) -> None:
    tables, result = with_newcomer
    assert list(result.index) == sorted(tables["applications"]["SK_ID_CURR"])
    assert list(result.columns) == FEATURES
    assert result.loc[1, "credit_to_income"] == 2.0
    histories = [
        column
        for name in QUERIES
        if name not in ("application_features", "features")
        for column in QUERIES[name].descriptions
    ]
    assert result.loc[1, histories].isna().all()


def test_features_are_finite_doubles_or_text(with_newcomer) -> None:
    _, result = with_newcomer
    assert {str(kind) for kind in result.dtypes} == {"float64", "object"}
    assert not np.isinf(result.select_dtypes(float)).any(axis=None)


def test_row_order_and_number_of_threads_change_no_bit() -> None:
    # The large tables have more than one row group of 122,880 rows, so that two threads do share them.
    tables = random_portfolio(applicants=1000, months=60)
    shuffled = {name: table.sample(frac=1, random_state=3) for name, table in tables.items()}

    same(features(tables, threads=1), features(shuffled, threads=2))


FUTURE: dict[str, Row] = {
    "bureau": {"DAYS_CREDIT": 1, "DAYS_CREDIT_UPDATE": 1},
    "bureau_balance": {"MONTHS_BALANCE": 1, "STATUS": "5"},
    "previous_applications": {"DAYS_DECISION": 1},
    "pos_cash_balance": {"MONTHS_BALANCE": 1, "SK_DPD": 90},
    "credit_card_balance": {"MONTHS_BALANCE": 1, "SK_DPD": 90},
    "installments_payments": {"DAYS_INSTALMENT": 1.0, "DAYS_ENTRY_PAYMENT": 40.0},
}
LATER_KNOWN: dict[str, Row] = {
    "bureau": {"DAYS_CREDIT_UPDATE": 1},
    "installments_payments": {"DAYS_ENTRY_PAYMENT": 1.0, "NUM_INSTALMENT_NUMBER": 999},
}


READERS = {name: query for name, query in QUERIES.items() if name != "features"}
"""The queries that read raw tables; the features join their results."""


@pytest.fixture(scope="module")
def before_later_rows() -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """A random portfolio and the result of each query of raw tables."""
    tables = random_portfolio(applicants=30, months=6)
    return tables, {name: rows_of(name, tables) for name in READERS}


def test_features_join_what_other_queries_read_from_raw_tables() -> None:
    assert set(QUERIES["features"].inputs) == set(READERS)
    assert all(set(query.inputs) <= set(INPUTS) for query in READERS.values())


@pytest.mark.parametrize(
    ("table", "dates"),
    [*FUTURE.items(), *LATER_KNOWN.items()],
    ids=[*FUTURE, *(f"{table}, known later" for table in LATER_KNOWN)],
)
def test_row_dated_after_the_application_changes_nothing(before_later_rows, table: str, dates: Row) -> None:
    tables, without = before_later_rows
    later = tables[table].assign(**dates)
    if table == "bureau":
        later["SK_ID_BUREAU"] += 5_000_000
    if table == "previous_applications":
        later["SK_ID_PREV"] += 5_000_000

    with_later = {**tables, table: pd.concat([tables[table], later])}

    for name, query in READERS.items():
        if table in query.inputs:
            same(without[name], rows_of(name, with_later))


def test_every_dated_table_is_tested_with_later_rows() -> None:
    assert set(FUTURE) == set(INPUTS) - {"applications"}


# -- small histories, checked by hand ------------------------------------------------------------------


def instalment(number: int, due: int, paid: int | None, loan: int = 1, amount: float = 100.0, **row: Any) -> Row:
    return {
        "SK_ID_CURR": 1,
        "SK_ID_PREV": loan,
        "NUM_INSTALMENT_VERSION": 1.0,
        "NUM_INSTALMENT_NUMBER": number,
        "DAYS_INSTALMENT": float(due),
        "DAYS_ENTRY_PAYMENT": None if paid is None else float(paid),
        "AMT_INSTALMENT": amount,
        "AMT_PAYMENT": None if paid is None else amount,
        **row,
    }


def test_instalment_features_match_a_hand_checked_history() -> None:
    history = [
        instalment(1, due=-400, paid=-410),  # ten days early
        instalment(2, due=-370, paid=-340),  # thirty days late
        instalment(3, due=-60, paid=-58),  # two days late
        instalment(4, due=-30, paid=-30, AMT_PAYMENT=60.0),  # on time, 40 short
        instalment(5, due=-1, paid=None),  # not paid
    ]

    found = only_row("instalment_features", installments_payments=history)

    assert found["instalment_count"] == 5
    assert found["instalment_late_share"] == 3 / 5  # the second, third and fifth
    assert found["instalment_late_share_90"] == 2 / 3
    assert found["instalment_days_late_mean"] == (0 + 30 + 2 + 0) / 4
    assert found["instalment_days_late_mean_365"] == (2 + 0) / 2
    assert found["instalment_days_late_max"] == 30
    assert found["instalment_days_early_mean"] == 10 / 4
    assert found["instalment_unpaid"] == 1
    assert found["instalment_shortfall"] == (40 + 100) / 500
    assert found["instalment_short_share"] == 2 / 5
    assert found["instalment_late_share_change"] == 2 / 3 - 1 / 2
    assert found["instalment_current_late_run"] == 1
    assert found["instalment_longest_late_run"] == 2
    assert found["instalment_longest_on_time_run"] == 1
    assert found["instalment_days_since_late"] == 1
    assert found["instalment_days_since_last"] == 1
    assert np.isnan(found["instalment_last_delay"])  # the last one is not paid


def test_instalment_paid_in_parts_is_late_by_its_last_part_and_fully_paid() -> None:
    parts = [
        instalment(1, due=-30, paid=-40, AMT_PAYMENT=70.0),
        instalment(1, due=-30, paid=-25, AMT_PAYMENT=30.0),
    ]

    found = only_row("instalment_features", installments_payments=parts)

    assert found["instalment_count"] == 1
    assert found["instalment_days_late_max"] == 5
    assert found["instalment_shortfall"] == 0
    assert found["instalment_payments_mean"] == 2


late_or_not = st.lists(st.booleans(), min_size=1, max_size=30)


@settings(max_examples=20, deadline=None)
@given(late_or_not)
def test_instalment_runs_match_the_history(lates: list[bool]) -> None:
    # oldest first, on alternating loans: runs span all loans
    history = [
        instalment(i, due=10 * (i - len(lates)), paid=10 * (i - len(lates)) + late, loan=i % 2)
        for i, late in enumerate(lates)
    ]
    runs = [(late, len(list(run))) for late, run in groupby(lates)]

    found = only_row("instalment_features", installments_payments=history)

    assert found["instalment_longest_late_run"] == max([n for late, n in runs if late], default=0)
    assert found["instalment_longest_on_time_run"] == max([n for late, n in runs if not late], default=0)
    assert found["instalment_current_late_run"] == (runs[-1][1] if runs[-1][0] else 0)
    assert found["instalment_current_on_time_run"] == (0 if runs[-1][0] else runs[-1][1])


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.integers(-2000, -100), st.integers(-60, 60), min_size=2, max_size=25))
def test_instalment_trend_and_irregularity_are_slope_and_deviation(delays: dict[int, int]) -> None:
    history = [instalment(i, due=due, paid=due + delay) for i, (due, delay) in enumerate(delays.items())]
    due, delay = np.array(list(delays.items()), dtype=float).T

    found = only_row("instalment_features", installments_payments=history)

    assert found["instalment_delay_trend"] == pytest.approx(np.polyfit(due, delay, 1)[0] * 365, abs=1e-6)
    assert found["instalment_delay_deviation"] == pytest.approx(delay.std(ddof=1), abs=1e-9)
    last = int(np.argmax(due))
    assert found["instalment_last_delay"] == delay[last]
    assert found["instalment_last_delay_to_usual"] == pytest.approx(delay[last] - delay.mean())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-1000, 0), min_size=1, max_size=25))
def test_instalment_windows_hold_what_was_due_in_them(dues: list[int]) -> None:
    # every third is four days late, as far as the application date allows
    paid = [min(due + (4 if i % 3 == 0 else 0), 0) for i, due in enumerate(dues)]
    history = [instalment(i, due=due, paid=paid[i]) for i, due in enumerate(dues)]

    found = only_row("instalment_features", installments_payments=history)

    for days, suffix in ((90, "_90"), (180, "_180"), (365, "_365"), (730, "_730"), (9999, "")):
        delays = [paid[i] - due for i, due in enumerate(dues) if due >= -days]
        if delays:
            assert found[f"instalment_late_share{suffix}"] == sum(d > 0 for d in delays) / len(delays)
            assert found[f"instalment_days_late_mean{suffix}"] == sum(delays) / len(delays)
        else:
            assert np.isnan(found[f"instalment_late_share{suffix}"])


def test_bureau_month_features_match_a_hand_checked_history() -> None:
    loan = {
        "SK_ID_CURR": 1,
        "SK_ID_BUREAU": 5,
        "CREDIT_ACTIVE": "Active",
        "CREDIT_TYPE": "Credit card",
        "DAYS_CREDIT": -500,
        "AMT_CREDIT_SUM": 1000.0,
        "AMT_CREDIT_SUM_DEBT": 300.0,
        "AMT_CREDIT_SUM_LIMIT": 700.0,
    }
    statuses = {0: "C", -1: "0", -2: "1", -3: "2", -4: "0", -20: "1", -21: "X"}

    found = only_row(
        "bureau_features",
        bureau=[loan],
        bureau_balance=[
            {"SK_ID_BUREAU": 5, "MONTHS_BALANCE": month, "STATUS": status} for month, status in statuses.items()
        ],
    )

    assert found["bureau_card_utilisation"] == 300 / (300 + 700)
    assert found["bureau_debt_to_credit"] == 0.3
    assert found["bureau_months_reported"] == 7
    assert found["bureau_late_share"] == 3 / 5  # neither C nor X is known
    assert found["bureau_late_share_3"] == 2 / 3
    assert found["bureau_late_share_12"] == 2 / 4
    assert found["bureau_late_share_change"] == 2 / 4 - 1 / 1
    assert found["bureau_worst_delay"] == 2
    assert found["bureau_longest_late_run"] == 2
    assert found["bureau_late_runs"] == 2
    assert found["bureau_months_since_late"] == 2
    assert found["bureau_months_since_seriously_late"] == 3


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.integers(-40, 0), st.booleans(), min_size=1))
def test_past_due_runs_break_at_missing_and_on_time_months(months: dict[int, bool]) -> None:
    rows = [
        {"SK_ID_CURR": 1, "SK_ID_PREV": 9, "MONTHS_BALANCE": month, "SK_DPD": 5 if late else 0}
        for month, late in months.items()
    ]
    line = "".join("x" if months.get(month) else " " for month in range(-40, 1))

    found = only_row("pos_features", pos_cash_balance=rows)

    assert found["pos_longest_late_run"] == max((len(spell) for spell in line.split()), default=0)
    assert found["pos_late_runs"] == len(line.split())


def test_pos_loan_features_match_a_hand_checked_history() -> None:
    def month(loan: int, month: int, remaining: float, status: str = "Active", dpd: int = 0) -> Row:
        return {
            "SK_ID_CURR": 1,
            "SK_ID_PREV": loan,
            "MONTHS_BALANCE": month,
            "CNT_INSTALMENT": 10.0,
            "CNT_INSTALMENT_FUTURE": remaining,
            "NAME_CONTRACT_STATUS": status,
            "SK_DPD": dpd,
        }

    found = only_row(
        "pos_features",
        pos_cash_balance=[
            month(1, -1, 7.0),
            month(1, -2, 8.0, dpd=3),
            month(2, -30, 9.0),
            month(2, -29, 0.0, "Completed"),  # two of ten months: early
            month(3, -15, 4.0),  # neither ended nor recent
        ],
    )

    assert found["pos_loans"] == 3
    assert found["pos_loans_open"] == 1
    assert found["pos_remaining"] == 7
    assert found["pos_remaining_share"] == 0.7
    assert found["pos_completed_share"] == 1 / 3
    assert found["pos_completed_early_share"] == 1
    assert found["pos_late_share"] == 1 / 5
    assert found["pos_late_share_3"] == 1 / 2
    assert found["pos_months_since_late"] == 2
    assert found["pos_months_since_completed"] == 29


def card_month(month: int, balance: float, limit: int = 1000, card: int = 4, **row: Any) -> Row:
    return {
        "SK_ID_CURR": 1,
        "SK_ID_PREV": card,
        "MONTHS_BALANCE": month,
        "AMT_BALANCE": balance,
        "AMT_CREDIT_LIMIT_ACTUAL": limit,
        "AMT_DRAWINGS_CURRENT": 0.0,
        "AMT_PAYMENT_TOTAL_CURRENT": 0.0,
        "AMT_RECEIVABLE_PRINCIPAL": 0.0,
        "AMT_TOTAL_RECEIVABLE": 0.0,
        **row,
    }


def test_card_features_match_a_hand_checked_history() -> None:
    found = only_row(
        "card_features",
        credit_card_balance=[
            card_month(-1, 950.0, AMT_DRAWINGS_CURRENT=200.0, AMT_DRAWINGS_ATM_CURRENT=150.0, CNT_DRAWINGS_CURRENT=2),
            card_month(-2, 500.0, AMT_INST_MIN_REGULARITY=50.0, AMT_PAYMENT_TOTAL_CURRENT=20.0),
            card_month(-3, 400.0, AMT_INST_MIN_REGULARITY=50.0, AMT_PAYMENT_TOTAL_CURRENT=80.0),
            card_month(-15, 100.0, limit=500),
        ],
    )

    assert found["card_utilisation"] == 0.95
    assert found["card_utilisation_mean_3"] == pytest.approx((0.95 + 0.5 + 0.4) / 3)
    assert found["card_utilisation_trend"] == pytest.approx((0.95 - 0.4) / 2)
    assert found["card_nearly_full_share"] == 1 / 4
    assert found["card_limit_growth"] == 2
    assert found["card_cash_share"] == 0.75
    assert found["card_below_minimum_share"] == 1 / 2
    assert found["card_paid_to_minimum"] == 1
    assert found["card_months_since_drawing"] == 1


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.integers(-12, 0), st.integers(0, 2000), min_size=2))
def test_card_trend_and_irregularity_are_slope_and_deviation(balances: dict[int, int]) -> None:
    months = np.array(list(balances), dtype=float)
    used = np.array(list(balances.values())) / 1000

    found = only_row(
        "card_features",
        credit_card_balance=[card_month(month, float(balance)) for month, balance in balances.items()],
    )

    assert found["card_utilisation_trend"] == pytest.approx(np.polyfit(months, used, 1)[0], abs=1e-9)
    assert found["card_utilisation_deviation"] == pytest.approx(used.std(ddof=1), abs=1e-7)
    assert found["card_utilisation_max"] == used.max()


def test_previous_application_features_match_a_hand_checked_history() -> None:
    def previous(number: int, day: int, status: str, reason: str = "XAP", **row: Any) -> Row:
        return {
            "SK_ID_CURR": 1,
            "SK_ID_PREV": number,
            "DAYS_DECISION": day,
            "NAME_CONTRACT_STATUS": status,
            "CODE_REJECT_REASON": reason,
            "NAME_YIELD_GROUP": "XNA",
            **row,
        }

    found = only_row(
        "previous_application_features",
        previous_applications=[
            previous(1, -900, "Approved", AMT_APPLICATION=100.0, AMT_CREDIT=120.0, DAYS_TERMINATION=-300.0),
            previous(2, -500, "Approved", AMT_APPLICATION=200.0, AMT_CREDIT=200.0, DAYS_TERMINATION=365243.0),
            previous(3, -400, "Refused", "HC"),
            previous(4, -40, "Canceled"),
            previous(5, -40, "Refused", "LIMIT", AMT_APPLICATION=900.0),  # the same day: the later number is last
        ],
    )

    assert found["previous_approval_share"] == 2 / 5
    assert found["previous_refused_hc"] == 1
    assert found["previous_refusals_since_approval"] == 2
    assert found["previous_days_since_refused"] == 40
    assert found["previous_applications_365"] == 2
    assert found["previous_applications_change"] == 0
    assert found["previous_days_between"] == (900 - 40) / 4
    assert found["previous_credit_to_asked_mean"] == pytest.approx(1.1)
    assert found["previous_running"] == 1
    assert found["previous_days_since_ended"] == 300
    assert found["previous_last_status"] == "Refused"
    assert found["previous_last_reject_reason"] == "LIMIT"
    assert found["previous_last_asked"] == 900
    assert found["previous_last_credit"] == 200


def test_employment_of_a_thousand_years_means_no_employment() -> None:
    found = only_row("application_features", applications=[{"SK_ID_CURR": 1, "DAYS_EMPLOYED": 365243}])

    assert found["not_employed"] == 1
    assert np.isnan(found["days_employed"])


# -- the real sample against a naive computation in pandas -----------------------------------------------

Raw = dict[str, pd.DataFrame]
FILES = {
    "bureau": "bureau",
    "bureau_balance": "bureau_balance",
    "previous_applications": "previous_application",
    "pos_cash_balance": "POS_CASH_balance",
    "credit_card_balance": "credit_card_balance",
    "installments_payments": "installments_payments",
}


@pytest.fixture(scope="module")
def raw(real_data: Path) -> Raw:
    folder = real_data / "home_credit"
    tables = {table: pd.read_csv(folder / f"{file}.csv.gz") for table, file in FILES.items()}
    tables["applications"] = pd.concat(
        [pd.read_csv(folder / f"application_{part}.csv.gz") for part in ("train", "test")], ignore_index=True
    )
    return tables


@pytest.fixture(scope="module")
def real_features(raw: Raw) -> pd.DataFrame:
    return features(raw, threads=2)


@pytest.fixture(scope="module")
def settled_instalments(raw: Raw) -> pd.DataFrame:
    """Instalments with their parts combined, oldest first."""
    rows = raw["installments_payments"]
    key = ["SK_ID_CURR", "SK_ID_PREV", "NUM_INSTALMENT_NUMBER", "DAYS_INSTALMENT"]
    whole = rows.groupby(key).agg(
        amount=("AMT_INSTALMENT", "max"), paid=("AMT_PAYMENT", "sum"), day=("DAYS_ENTRY_PAYMENT", "max")
    )
    whole = whole.reset_index().sort_values(["DAYS_INSTALMENT", "SK_ID_PREV", "NUM_INSTALMENT_NUMBER"])
    return whole.assign(delay=whole["day"] - whole["DAYS_INSTALMENT"], late=whole["day"] > whole["DAYS_INSTALMENT"])


def slope(x: pd.Series, y: pd.Series) -> float:
    keep = x.notna() & y.notna()
    return np.polyfit(x[keep], y[keep], 1)[0] if x[keep].nunique() > 1 else np.nan


def longest_run(values: Sequence[bool]) -> int:
    return max([len(list(run)) for value, run in groupby(values) if value], default=0)


def ratio(top: pd.Series, bottom: pd.Series) -> pd.Series:
    return (top / bottom).replace([np.inf, -np.inf], np.nan)


def by(rows: pd.DataFrame) -> Any:
    return rows.groupby("SK_ID_CURR")


# Each gives the feature's value for the applicants it covers; for the others the feature must be null.
APPLICATION: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "credit_to_income": lambda a: a.AMT_CREDIT / a.AMT_INCOME_TOTAL,
    "annuity_to_income": lambda a: a.AMT_ANNUITY / a.AMT_INCOME_TOTAL,
    "credit_above_goods": lambda a: a.AMT_CREDIT - a.AMT_GOODS_PRICE,
    "income_per_family_member": lambda a: a.AMT_INCOME_TOTAL / a.CNT_FAM_MEMBERS,
    "days_employed": lambda a: -a.DAYS_EMPLOYED.where(a.DAYS_EMPLOYED != 365243),
    "documents_given": lambda a: a.filter(like="FLAG_DOCUMENT").sum(axis=1),
    "external_score_mean": lambda a: a.filter(like="EXT_SOURCE").mean(axis=1),
    "external_score_min": lambda a: a.filter(like="EXT_SOURCE").min(axis=1),
    "external_score_range": lambda a: a.filter(like="EXT_SOURCE").max(axis=1) - a.filter(like="EXT_SOURCE").min(axis=1),
    "external_scores_missing": lambda a: a.filter(like="EXT_SOURCE").isna().sum(axis=1),
    "enquiries_total": lambda a: a.filter(like="AMT_REQ_CREDIT_BUREAU").sum(axis=1, skipna=False),
    "building_facts_missing": lambda a: a.filter(like="_AVG").isna().sum(axis=1),
}

BUREAU: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "bureau_loans": lambda b: by(b).size(),
    "bureau_active_share": lambda b: by(b.assign(x=b.CREDIT_ACTIVE == "Active")).x.mean(),
    "bureau_cards_active": lambda b: by(
        b.assign(x=(b.CREDIT_ACTIVE == "Active") & (b.CREDIT_TYPE == "Credit card"))
    ).x.sum(),
    "bureau_credit_mean": lambda b: by(b).AMT_CREDIT_SUM.mean(),
    "bureau_debt": lambda b: by(b[b.CREDIT_ACTIVE == "Active"]).AMT_CREDIT_SUM_DEBT.sum(min_count=1),
    "bureau_max_overdue": lambda b: by(b).AMT_CREDIT_MAX_OVERDUE.max(),
    "bureau_prolongations": lambda b: by(b).CNT_CREDIT_PROLONG.sum(),
    "bureau_days_since_newest": lambda b: -by(b).DAYS_CREDIT.max(),
    "bureau_loan_age_mean": lambda b: -by(b).DAYS_CREDIT.mean(),
    "bureau_opened_365": lambda b: by(b.assign(x=b.DAYS_CREDIT >= -365)).x.sum(),
    "bureau_opened_change": lambda b: (
        by(b.assign(x=b.DAYS_CREDIT >= -365)).x.sum() - by(b.assign(x=b.DAYS_CREDIT.between(-730, -366))).x.sum()
    ),
    "bureau_closed_early_share": lambda b: by(
        b[(b.CREDIT_ACTIVE == "Closed") & b.DAYS_ENDDATE_FACT.notna() & (b.DAYS_CREDIT_ENDDATE <= 18250)].assign(
            x=lambda c: c.DAYS_CREDIT_ENDDATE > c.DAYS_ENDDATE_FACT
        )
    ).x.mean(),
}

PREVIOUS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "previous_applications_count": lambda p: by(p).size(),
    "previous_refusal_share": lambda p: by(p.assign(x=p.NAME_CONTRACT_STATUS == "Refused")).x.mean(),
    "previous_refused_hc": lambda p: by(p.assign(x=p.CODE_REJECT_REASON == "HC")).x.sum(),
    "previous_credit_mean": lambda p: by(
        p[(p.NAME_CONTRACT_STATUS == "Approved") & (p.AMT_CREDIT > 0)]
    ).AMT_CREDIT.mean(),
    "previous_days_since_refused": lambda p: -by(p[p.NAME_CONTRACT_STATUS == "Refused"]).DAYS_DECISION.max(),
    "previous_refusals_365": lambda p: by(
        p.assign(x=(p.NAME_CONTRACT_STATUS == "Refused") & (p.DAYS_DECISION >= -365))
    ).x.sum(),
    "previous_running": lambda p: by(
        p.assign(x=(p.NAME_CONTRACT_STATUS == "Approved") & (p.DAYS_TERMINATION == 365243))
    ).x.sum(),
    "previous_ended_early_days_mean": lambda p: by(
        p[p.NAME_CONTRACT_STATUS == "Approved"]
        .replace({"DAYS_LAST_DUE": {365243: np.nan}, "DAYS_LAST_DUE_1ST_VERSION": {365243: np.nan}})
        .assign(x=lambda q: q.DAYS_LAST_DUE_1ST_VERSION - q.DAYS_LAST_DUE)
        .dropna(subset=["x"])
    ).x.mean(),
    "previous_last_asked": lambda p: (
        p.sort_values(["DAYS_DECISION", "SK_ID_PREV"])
        .drop_duplicates("SK_ID_CURR", keep="last")
        .set_index("SK_ID_CURR")
        .AMT_APPLICATION.replace(0, np.nan)
    ),
}

INSTALMENT: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "instalment_count": lambda i: by(i).size(),
    "instalment_late_share": lambda i: by(i).late.mean(),
    "instalment_late_share_365": lambda i: by(i[i.DAYS_INSTALMENT >= -365]).late.mean(),
    "instalment_days_late_mean": lambda i: by(i.assign(x=i.delay.clip(lower=0))).x.mean(),
    "instalment_days_late_max_730": lambda i: by(
        i[i.DAYS_INSTALMENT >= -730].assign(x=lambda j: j.delay.clip(lower=0))
    ).x.max(),
    "instalment_shortfall": lambda i: by(i.assign(x=(i.amount - i.paid).clip(lower=0))).x.sum() / by(i).amount.sum(),
    "instalment_early_share": lambda i: by(i.assign(x=i.delay <= -7)).x.mean(),
    "instalment_delay_deviation": lambda i: by(i).delay.std(),
    "instalment_delay_trend": lambda i: by(i).apply(lambda j: 365 * slope(j.DAYS_INSTALMENT, j.delay)),
    "instalment_last_delay": lambda i: by(i).delay.last(),
    "instalment_longest_late_run": lambda i: by(i).late.agg(longest_run),
    "instalment_longest_on_time_run": lambda i: by(i.assign(x=~i.late)).x.agg(longest_run),
    "instalment_current_on_time_run": lambda i: by(i).late.agg(lambda late: int((~late)[::-1].cumprod().sum())),
}

POS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "pos_loans": lambda p: by(p).SK_ID_PREV.nunique(),
    "pos_late_share": lambda p: by(p.assign(x=p.SK_DPD > 0)).x.mean(),
    "pos_late_share_12": lambda p: by(p[p.MONTHS_BALANCE >= -12].assign(x=lambda q: q.SK_DPD > 0)).x.mean(),
    "pos_days_seriously_late_max": lambda p: by(p).SK_DPD_DEF.max(),
    "pos_months_since_late": lambda p: -by(p[p.SK_DPD > 0]).MONTHS_BALANCE.max(),
    "pos_completed_share": lambda p: by(
        p.assign(x=p.NAME_CONTRACT_STATUS == "Completed").groupby(["SK_ID_CURR", "SK_ID_PREV"]).x.max().reset_index()
    ).x.mean(),
    "pos_term_mean": lambda p: by(
        p.sort_values("MONTHS_BALANCE").groupby(["SK_ID_CURR", "SK_ID_PREV"]).tail(1)
    ).CNT_INSTALMENT.mean(),
}

CARD: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "card_count": lambda c: by(c).SK_ID_PREV.nunique(),
    "card_balance_mean": lambda c: by(c).AMT_BALANCE.mean(),
    "card_utilisation_mean": lambda c: by(c.assign(x=ratio(c.AMT_BALANCE, c.AMT_CREDIT_LIMIT_ACTUAL))).x.mean(),
    "card_utilisation_deviation": lambda c: by(c.assign(x=ratio(c.AMT_BALANCE, c.AMT_CREDIT_LIMIT_ACTUAL))).x.std(),
    "card_utilisation_trend": lambda c: by(
        c[c.MONTHS_BALANCE >= -12].assign(x=lambda d: ratio(d.AMT_BALANCE, d.AMT_CREDIT_LIMIT_ACTUAL))
    ).apply(lambda d: slope(d.MONTHS_BALANCE, d.x)),
    "card_cash_share": lambda c: ratio(
        by(c).AMT_DRAWINGS_ATM_CURRENT.sum(min_count=1), by(c).AMT_DRAWINGS_CURRENT.sum()
    ),
    "card_below_minimum_share": lambda c: by(
        c[c.AMT_INST_MIN_REGULARITY > 0].assign(x=lambda d: d.AMT_PAYMENT_TOTAL_CURRENT < d.AMT_INST_MIN_REGULARITY)
    ).x.mean(),
    "card_late_share_12": lambda c: by(c[c.MONTHS_BALANCE >= -12].assign(x=lambda d: d.SK_DPD > 0)).x.mean(),
}


def compare(found: pd.Series, expected: pd.Series) -> None:
    expected = expected.reindex(found.index).astype(float)
    # rates and shares are rounded to six decimals before averaging
    pd.testing.assert_series_equal(found, expected, check_names=False, rtol=1e-9, atol=2e-6)


def test_enough_features_have_an_independent_oracle() -> None:
    oracles = [*APPLICATION, *BUREAU, *PREVIOUS, *INSTALMENT, *POS, *CARD]
    assert len(set(oracles)) >= 40
    assert set(oracles) <= set(FEATURES)


@pytest.mark.parametrize("feature", APPLICATION)
def test_application_features_match_pandas_on_real_data(feature: str, raw: Raw, real_features: pd.DataFrame) -> None:
    compare(real_features[feature], APPLICATION[feature](raw["applications"].set_index("SK_ID_CURR")))


@pytest.mark.parametrize("feature", BUREAU)
def test_bureau_features_match_pandas_on_real_data(feature: str, raw: Raw, real_features: pd.DataFrame) -> None:
    compare(real_features[feature], BUREAU[feature](raw["bureau"]))


@pytest.mark.parametrize("feature", PREVIOUS)
def test_previous_application_features_match_pandas_on_real_data(
    feature: str, raw: Raw, real_features: pd.DataFrame
) -> None:
    compare(real_features[feature], PREVIOUS[feature](raw["previous_applications"]))


@pytest.mark.parametrize("feature", INSTALMENT)
def test_instalment_features_match_pandas_on_real_data(
    feature: str, settled_instalments: pd.DataFrame, real_features: pd.DataFrame
) -> None:
    compare(real_features[feature], INSTALMENT[feature](settled_instalments))


@pytest.mark.parametrize("feature", POS)
def test_pos_features_match_pandas_on_real_data(feature: str, raw: Raw, real_features: pd.DataFrame) -> None:
    compare(real_features[feature], POS[feature](raw["pos_cash_balance"]))


@pytest.mark.parametrize("feature", CARD)
def test_card_features_match_pandas_on_real_data(feature: str, raw: Raw, real_features: pd.DataFrame) -> None:
    compare(real_features[feature], CARD[feature](raw["credit_card_balance"]))


def test_bureau_balance_features_match_pandas_on_real_data(raw: Raw, real_features: pd.DataFrame) -> None:
    months = raw["bureau_balance"].merge(raw["bureau"][["SK_ID_CURR", "SK_ID_BUREAU"]], on="SK_ID_BUREAU")
    known = months[months.STATUS.isin(list("012345"))].assign(level=lambda m: m.STATUS.astype(int))
    late = known[known.level > 0]
    runs: dict[int, int] = {}
    for (applicant, _), loan in late.groupby(["SK_ID_CURR", "SK_ID_BUREAU"]):
        month = set(loan.MONTHS_BALANCE)
        line = [m in month for m in range(min(month), max(month) + 1)]
        runs[applicant] = max(runs.get(applicant, 0), longest_run(line))
    reported = by(months).size()

    compare(real_features["bureau_months_reported"], reported)
    compare(real_features["bureau_late_share"], by(known.assign(x=known.level > 0)).x.mean())
    recent = known[known.MONTHS_BALANCE >= -12]
    compare(real_features["bureau_late_share_12"], by(recent.assign(x=recent.level > 0)).x.mean())
    compare(real_features["bureau_worst_delay"], (reported * 0).add(by(late)["level"].max(), fill_value=0))
    compare(real_features["bureau_months_since_late"], -by(late).MONTHS_BALANCE.max())
    compare(real_features["bureau_longest_late_run"], (reported * 0).add(pd.Series(runs), fill_value=0))


def test_features_across_tables_match_pandas_on_real_data(raw: Raw, real_features: pd.DataFrame) -> None:
    application = raw["applications"].set_index("SK_ID_CURR")
    debt = BUREAU["bureau_debt"](raw["bureau"]).reindex(application.index)

    compare(real_features["debt_to_income"], debt / application.AMT_INCOME_TOTAL)
    compare(
        real_features["debt_with_loan_to_income"],
        (debt.fillna(0) + application.AMT_CREDIT) / application.AMT_INCOME_TOTAL,
    )
    compare(
        real_features["credit_to_previous_mean"],
        application.AMT_CREDIT / PREVIOUS["previous_credit_mean"](raw["previous_applications"]),
    )


def test_every_real_applicant_has_one_row(raw: Raw, real_features: pd.DataFrame) -> None:
    assert list(real_features.index) == sorted(raw["applications"].SK_ID_CURR)
    assert not np.isinf(real_features.select_dtypes(float)).any(axis=None)

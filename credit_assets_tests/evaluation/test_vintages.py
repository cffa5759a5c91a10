"""Risk over time, on books small enough to count by hand."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from credit_assets.evaluation.vintages import by_age, performance_by_batch, vintage_curves
from credit_assets.settings.evaluation import VintageConfig
from credit_assets.settings.target import Target
from credit_assets.statistics.comparison import auc_interval
from credit_assets.statistics.metrics import wilson

TARGET = Target(column="status", bad=("Charged Off",), good=("Fully Paid",))
DATES = VintageConfig(opened="issued", defaulted="last paid")
LOANS = [
    # Vintage a: opened in January and March 2010; its last date in the file is in March 2011.
    ("a", "Jan-2010", "Charged Off", "Mar-2010"),
    ("a", "2010-01-01", "Fully Paid", "2011-03-01"),
    ("a", "Mar-2010", "Charged Off", "2010-12-01"),
    ("a", "Mar-2010", "Charged Off", None),
    # Still running: no default as far as this file knows.
    ("b", "Jun-2010", "Current", "Sep-2010"),
    ("b", "Jun-2010", "Charged Off", "Aug-2010"),
    ("b", "no date", "Charged Off", "Aug-2010"),
    # Nothing was ever paid: zero months on book.
    ("c", "Jul-2010", "Charged Off", None),
]


def curves(loans: list[tuple[str, str, str, str | None]], dates: VintageConfig = DATES) -> pd.DataFrame:
    frame = pd.DataFrame(loans, columns=["batch", "issued", "status", "last paid"], dtype=object)
    with duckdb.connect() as connection:
        connection.register("loans", frame)
        return vintage_curves(connection, "SELECT * FROM loans", TARGET, dates)


def test_default_share_grows_with_months_on_book() -> None:
    found = curves(LOANS)
    a = found[found["batch"] == "a"].set_index("months_on_book")
    # In March 2011 the youngest loans had been on book for 12 months.
    assert list(a.index) == list(range(13))
    assert set(a["loans"]) == {4}
    # Never paid: 0 months; January to March: 2; March to December: 9.
    assert a["defaulted"].to_dict() == {month: 0.25 + 0.25 * (month >= 2) + 0.25 * (month >= 9) for month in range(13)}


def test_running_loan_is_no_default_and_loan_without_opening_date_is_not_counted() -> None:
    b = curves(LOANS).query("batch == 'b'")
    assert b["loans"].unique().tolist() == [2]
    assert b["defaulted"].tolist() == [0, 0, 0.5, 0.5]


def test_batch_without_a_later_date_has_no_curve() -> None:
    assert set(curves(LOANS)["batch"]) == {"a", "b"}


@pytest.mark.parametrize(
    ("opened", "defaulted", "named"), [("status", "last paid", "status"), ("issued", "batch", "batch")]
)
def test_column_without_any_date_is_named(opened: str, defaulted: str, named: str) -> None:
    with pytest.raises(ValueError, match=rf"evaluation.vintage: {named} has no date \(such as .* in any row"):
        curves(LOANS, VintageConfig(opened=opened, defaulted=defaulted))


@pytest.mark.parametrize("formats", [["%b-%Y", "%Y-%m-%d"], ["%d.%m.%y"]])
def test_dates_are_read_in_configured_or_detected_formats(formats: list[str]) -> None:
    frame = pd.DataFrame(LOANS, columns=["batch", "issued", "status", "last paid"], dtype=object)
    with duckdb.connect() as connection:
        connection.register("loans", frame)
        written = {"issued": formats, "last paid": formats}
        found = vintage_curves(connection, "SELECT * FROM loans", TARGET, DATES, written)
    pd.testing.assert_frame_equal(found, curves(LOANS))


def test_two_digit_year_is_not_read_as_four_digit_year() -> None:
    loans = [("a", "31.05.19", "Charged Off", "30.06.19"), ("a", "31.07.2019", "Current", "31.08.2019")]
    frame = pd.DataFrame(loans, columns=["batch", "issued", "status", "last paid"], dtype=object)
    with duckdb.connect() as connection:
        connection.register("loans", frame)
        written = {"issued": ["%d.%m.%Y"], "last paid": ["%d.%m.%Y"]}
        found = vintage_curves(connection, "SELECT * FROM loans", TARGET, DATES, written)
    assert found["loans"].unique().tolist() == [1]


def test_dates_may_have_a_date_type() -> None:
    with duckdb.connect() as connection:
        loans = (
            "SELECT 'a' AS batch, DATE '2010-01-15' AS issued, 'Charged Off' AS status, TIMESTAMP '2010-02-03' AS paid"
        )
        found = vintage_curves(connection, loans, TARGET, VintageConfig(opened="issued", defaulted="paid"))
    assert found["defaulted"].tolist() == [0, 1]


month = st.integers(0, 40)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), month, st.booleans(), month), min_size=1, max_size=30))
def test_curve_never_falls_and_ends_at_or_below_the_share_of_defaults(
    loans: list[tuple[str, int, bool, int]],
) -> None:
    def date(months: int) -> str:
        return f"{2007 + months // 12}-{months % 12 + 1:02}-01"

    dated = [
        (batch, date(opened), "Charged Off" if bad else "Fully Paid", date(opened + later))
        for batch, opened, bad, later in loans
    ]
    found = curves(dated)
    for batch, curve in found.groupby("batch"):
        own = [bad for name, _, bad, _ in loans if name == batch]
        assert curve["defaulted"].is_monotonic_increasing
        assert curve["defaulted"].iloc[-1] <= sum(own) / len(own) + 1e-12
        assert (curve["months_on_book"].to_numpy() == np.arange(len(curve))).all()


def test_table_by_age_has_one_row_per_vintage() -> None:
    table = by_age(curves(LOANS)).set_index("batch")
    assert list(table.columns) == ["loans", "6 months", "12 months"]
    assert table.loc["a"].tolist() == [4, 0.5, 0.75]


def predictions() -> tuple[pd.DataFrame, pd.DataFrame]:
    """(candidate, known): batch a is only learned from, b held out, c the test."""
    generator = np.random.default_rng(1)
    known = pd.DataFrame({"batch": np.repeat(["a", "b", "c"], [40, 50, 60]), "target": generator.integers(0, 2, 150)})
    known["fold"] = np.where(known["batch"] == "c", "test", np.where(known.index % 5 == 0, "valid", "train"))
    candidate = known[known["batch"] != "a"].assign(pd=lambda rows: generator.uniform(0.1, 0.9, len(rows)))
    return candidate, known


def test_each_batch_is_measured_on_rows_not_learned_from() -> None:
    candidate, known = predictions()
    table = performance_by_batch(candidate, known, 0.95).set_index("batch")
    assert table["fold"].to_dict() == {"a": "learned from", "b": "held out", "c": "test"}
    assert table["rows"].tolist() == [40, 50, 60]
    assert table["default_rate"].to_dict() == pytest.approx(known.groupby("batch")["target"].mean().to_dict())
    for batch in ("b", "c"):
        rows, line = candidate[candidate["batch"] == batch], table.loc[batch]
        interval = auc_interval(rows["target"].to_numpy(), rows["pd"].to_numpy(), 0.95)
        assert line["auc"] == pytest.approx(roc_auc_score(rows["target"], rows["pd"]))
        assert (line["auc_low"], line["auc_high"]) == (interval.low, interval.high)
        assert line["mean_pd"] == pytest.approx(rows["pd"].mean())
        assert (line["default_rate_low"], line["default_rate_high"]) == wilson(line["defaults"], line["rows"], 0.95)
    assert table.loc["a", ["mean_pd", "auc"]].isna().all()


def test_batch_with_a_single_outcome_has_no_auc() -> None:
    candidate, known = predictions()
    known["target"] = np.where(known["batch"] == "b", 0, known["target"])
    candidate["target"] = np.where(candidate["batch"] == "b", 0, candidate["target"])
    table = performance_by_batch(candidate, known, 0.95).set_index("batch")
    assert np.isnan(table.loc["b", "auc"])
    assert table.loc["b", "default_rate"] == 0


def test_held_out_and_test_rows_of_one_batch_are_separated() -> None:
    candidate, known = predictions()
    one, of_one = (rows[rows["batch"] != "a"].assign(batch="2026-01") for rows in (candidate, known))
    assert performance_by_batch(one, of_one, 0.95)["fold"].tolist() == ["held out", "test"]

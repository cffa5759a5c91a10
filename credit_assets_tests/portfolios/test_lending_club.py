"""LendingClub's book: its files in every layout and spelling, what may be learned from them, and how well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from credit_assets.book.book import Book
from credit_assets.features.compute import compute_features
from credit_assets.features.guard import LeakageError, check_inputs, made_from
from credit_assets.features.target import outcome_sql
from credit_assets.features.training_set import TEST, training_frame, training_rows_sql
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import Ingested, ingest
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT

pytestmark = pytest.mark.slow

BOOK = "lending_club"
COMPILED = Book.load(Project(PROJECT), BOOK)
PORTFOLIO = COMPILED.portfolio
CONTRACT = COMPILED.contracts["applications"]
COLUMNS = list(CONTRACT.to_schema().columns)
QUERIES = COMPILED.queries
ROOTS = COMPILED.raw_lineage["features"]
LEFT_OUT = made_from({name: ROOTS[name] for name in QUERIES["features"].descriptions}, PORTFOLIO.left_out)
FEATURES = [feature for feature in QUERIES["features"].descriptions if feature not in LEFT_OUT]
IN_LATER_FILES = {f"{whose}fico_range_{end}" for whose in ("", "last_", "sec_app_") for end in ("low", "high")}
FILE = "lending_club/loans_2007_2010.csv.gz"
QUARTER = "strftime(CAST(issue_d AS DATE), '%Y') || '-Q' || quarter(CAST(issue_d AS DATE))"

Bring = Callable[[Path], Ingested]


# -- the contract --------------------------------------------------------------------------------------


def test_contract_has_the_described_columns_of_both_layouts():
    # 151 of LendingClub's own, and one that a copy adds.
    assert len(COLUMNS) == 152
    assert len(set(COLUMNS) - IN_LATER_FILES - {"issue_year"}) == 145
    assert all(CONTRACT.descriptions().values())


def test_files_of_both_layouts_meet_the_contract(real_data):
    with duckdb.connect() as con:
        earlier = con.sql(f"FROM read_csv('{real_data / FILE}', all_varchar = true)").columns
    assert set(COLUMNS) - set(earlier) == IN_LATER_FILES
    assert set(earlier) - set(COLUMNS) == set()


def test_every_column_known_only_after_the_decision_is_listed_with_the_reason():
    since = COLUMNS[COLUMNS.index("loan_status") + 1 :]
    assert len(since) == 38
    assert set(since) <= set(PORTFOLIO.post_decision) <= set(COLUMNS)
    assert set(PORTFOLIO.left_out) <= set(COLUMNS)
    assert all([*PORTFOLIO.post_decision.values(), *PORTFOLIO.left_out.values()])


def test_features_use_nothing_known_after_the_decision_and_models_nothing_of_the_price():
    raw = {feature: {column for _, column in ROOTS[feature]} for feature in QUERIES["features"].descriptions}
    late = {*PORTFOLIO.post_decision, PORTFOLIO.target.column}
    assert {feature for feature, columns in raw.items() if columns & late} == set()
    assert set(LEFT_OUT) == {"interest_rate", "instalment", "instalment_to_income", "risk_grade"}
    assert {column for feature in FEATURES for column in raw[feature]} & set(PORTFOLIO.left_out) == set()


def test_status_of_a_running_loan_is_no_outcome():
    words = CONTRACT.to_schema().columns["loan_status"].checks[0].statistics["allowed_values"]
    target = PORTFOLIO.target
    with duckdb.connect() as con:
        told = con.execute(
            f"SELECT loan_status, {outcome_sql(target)} FROM (SELECT unnest($words) AS loan_status)", {"words": words}
        ).fetchall()
    outcome = dict(told)
    assert len(outcome) == 16
    assert {word for word, value in outcome.items() if value == 0} == {
        "Fully Paid",
        "Does not meet the credit policy. Status:Fully Paid",
    }
    assert all(outcome[word] == 1 for word in target.bad)
    assert Counter(outcome.values()) == {None: 10, 1: 4, 0: 2}


# -- the spellings -------------------------------------------------------------------------------------

HEADER = (
    "id,loan_amnt,term,int_rate,installment,emp_length,annual_inc,issue_d,loan_status,dti,earliest_cr_line,"
    "open_acc,pub_rec,mths_since_last_record,revol_bal,revol_util,total_acc,title,desc"
)
OUTSIDE = "Does not meet the credit policy. Status:Charged Off"
STORY = '"Need, I\n say"'
SPELLINGS = {
    "LoanStats3a.csv": [
        "Notes offered by Prospectus (https://www.lendingclub.com/info/prospectus.action)",
        HEADER,
        ",5000, 36 months, 10.65%,162.87,10+ years,24000,Dec-2011,Fully Paid,"
        f"27.65,Jan-1985,3,0,0,13648,83.7%,9,Computer,{STORY}",
        ",2500, 60 months,  6.0%,59.83,< 1 year,30000,Nov-2011,Current,1,Apr-1999,3,1,47,0,0%,4,,",
        "",
        "Loans that do not meet the credit policy,,,",
        f",1000, 36 months, 16.29%,35.3,n/a,,Oct-2007,{OUTSIDE},,,,,,0,,,bills,",
        "Total amount funded in policy code 1: 7500",
        "Total amount funded in policy code 2: 0",
    ],
    "accepted_2007_to_2018.csv": [
        HEADER,
        "x1,5000.0, 36 months,10.65,162.87,10+ years,24000.0,Dec-2011,Fully Paid,"
        f"27.65,Jan-1985,3.0,0.0,0.0,13648.0,83.7,9.0,Computer,{STORY}",
        "x2,2500.0, 60 months,6.0,59.83,< 1 year,30000.0,Nov-2011,Current,1.0,Apr-1999,3.0,1.0,47.0,0.0,0.0,4.0,,",
        f"x3,1000.0, 36 months,16.29,35.3,,,Oct-2007,{OUTSIDE},,,,,,0.0,,,bills,",
    ],
    "loans_2007_2011.csv": [
        HEADER,
        "1,5000,36,0.1065,162.87,10+ years,24000.0,2011-12-01,Fully Paid,"
        f"27.65,1985-01-01,3,0,0,13648,0.837,9,Computer,{STORY}",
        "2,2500,60,0.06,59.83,< 1 year,30000.0,2011-11-01,Current,1.0,1999-04-01,3,1,47,0,0.0,4,,",
        f"3,1000,36,0.1629,35.3,n/a,,2007-10-01,{OUTSIDE},,,,,,0,,,bills,",
    ],
}
"""The same three loans as LendingClub's own files, a collected copy of them and a cut of that copy write them."""


@pytest.fixture
def bring(tmp_path: Path) -> Bring:
    return lambda file: staged(file, tmp_path)


def staged(file: Path, folder: Path) -> Ingested:
    """The file as the portfolio's applications of batch 2011-Q4."""
    table = PORTFOLIO.tables["applications"]
    with duckdb.connect() as con:
        return ingest(
            con,
            Lake(folder / "lake"),
            [file],
            Target(PORTFOLIO.table("applications"), CONTRACT, batch="2011-Q4", numbered=table.numbered),
            max_bad_share=PORTFOLIO.delivery.max_bad_share,
            quarantine_folder=folder / "quarantine",
            scratch=folder,
            notes=table.notes,
        )


def features(applications: str) -> pd.DataFrame:
    """The features of the applications (a SELECT), sorted by the loan's id."""
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE applications AS {applications}")
        return compute_features(con, QUERIES).order("id").df()


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_the_files_gives_the_same_features(name, bring, tmp_path):
    file = tmp_path / name
    file.write_text("\n".join(SPELLINGS[name]) + "\n")
    done = bring(file)
    assert (done.rows_in, done.rows_kept) == (3, 3)
    told = {"Notes offered by *": 1, "Loans that do not meet the credit policy*": 1}
    told["Total amount funded in policy code *"] = 2
    numbered = ["2011-Q4-1", "2011-Q4-2", "2011-Q4-3"]
    assert done.notes == (told if name.startswith("LoanStats") else {})
    rows = features(done.staged.query())
    assert rows["id"].tolist() in (numbered, ["x1", "x2", "x3"], ["1", "2", "3"])
    expected = {
        "term_months": [36, 60, 36],
        "interest_rate": [0.1065, 0.06, 0.1629],
        "employment_years": [10, 0, None],
        "revolving_utilisation": [0.837, 0, None],
        "revolving_limit": [13648 / 0.837, None, None],
        "history_months": [323, 151, None],
        "months_since_record": [None, 47, None],
        "loan_to_income": [5000 / 24000, 2500 / 30000, None],
        "income_after_debts": [24000 * 0.7235, 29700, None],
        "title_length": [8, None, 5],
        "title_without_capitals": [0, None, 1],
        # The content of the description is not used.
        "says_need": [0, 0, 1],
        "fico_score": [None, None, None],
    }
    for feature, values in expected.items():
        np.testing.assert_allclose(
            rows[feature].astype(float), np.array(values, dtype=float), rtol=1e-12, err_msg=feature
        )


def test_zero_score_and_impossible_debt_to_income_count_as_missing(bring, tmp_path):
    file = tmp_path / "accepted_2007_to_2018.csv"
    lines = ["id,loan_amnt,term,annual_inc,issue_d,dti,fico_range_low,fico_range_high"]
    told = [("x1", 25, 660, 664), ("x2", -1, 0, 0), ("x3", 999, 0, 4), ("x4", 100, 700, 704), ("x5", 0, 845, 850)]
    lines += [f"{loan},1000, 36 months,50000,Nov-2011,{dti},{low},{high}" for loan, dti, low, high in told]
    file.write_text("\n".join(lines) + "\n")
    rows = features(bring(file).staged.query())
    expected = {
        "fico_score": [662, None, None, 702, 847.5],
        "debt_to_income": [25, None, None, 100, 0],
        "income_after_debts": [37_500, None, None, 0, 50_000],
        "loan_to_income_after_debts": [1 / 37.5, None, None, None, 1 / 50],
    }
    for feature, values in expected.items():
        np.testing.assert_allclose(rows[feature].astype(float), np.array(values, dtype=float), err_msg=feature)


@pytest.mark.parametrize(
    ("written", "instead", "column"),
    [
        ("36 months", "36 weeks", "term"),
        ("Dec-2011", "12/2011", "issue_d"),
        ("10.65%", "a tenth", "int_rate"),
        ("83.7%", "high", "revol_util"),
        ("Fully Paid", "Paid", "loan_status"),
        ("10+ years", "ten", "emp_length"),
    ],
)
def test_unexpected_spelling_of_a_value_is_named(written, instead, column, bring, tmp_path):
    file = tmp_path / "LoanStats3a.csv"
    file.write_text("\n".join(SPELLINGS["LoanStats3a.csv"]).replace(written, instead, 1) + "\n")
    with pytest.raises(BadDelivery, match=rf"column {column}: ' ?{instead}' must"):
        bring(file)


# -- the real book: 20,814 loans of 2007 to 2010 -------------------------------------------------------


@dataclass(frozen=True)
class Book:
    """The staged real file, and the training set made by the project's SQL and configuration, with the lender's price
    and the final status of the loans.
    """

    staged: Ingested
    rows: pd.DataFrame


@pytest.fixture(scope="module")
def book(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Book:
    done = staged(real_data / FILE, tmp_path_factory.mktemp("book"))
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE applications AS {done.staged.query()}")
        compute_features(con, QUERIES)
        con.execute(f"CREATE TABLE dated AS SELECT *, {QUARTER} AS batch FROM applications")
        con.execute("CREATE TABLE made AS SELECT features.*, batch FROM features JOIN dated USING (id)")
        con.execute("CREATE TABLE outcomes AS SELECT id, batch, loan_status FROM dated LIMIT 0")
        rows = training_rows_sql(PORTFOLIO, features="made", applications="dated", outcomes="outcomes")
        learned = training_frame(con.sql(rows))
        late = con.sql(f"SELECT id, {', '.join(map(identifier, PORTFOLIO.post_decision))} FROM dated").df()
    return Book(done, learned.merge(late, on="id").sort_values(["batch", "id"], ignore_index=True))


def test_every_row_of_the_real_file_meets_the_contract(book):
    assert (book.staged.rows_in, book.staged.rows_kept, book.staged.rows_quarantined) == (20_814, 20_814, 0)


def test_test_is_the_newest_year_and_every_loan_has_its_outcome(book):
    assert set(book.rows.loc[book.rows["fold"] == TEST, "batch"]) == {f"2010-Q{n}" for n in range(1, 5)}
    assert len(book.rows) == 20_814
    # As counted in the source: charged off, inside today's credit policy and outside it.
    assert book.rows["target"].sum() == 2_373 + 761
    first = book.rows.groupby(book.rows["batch"].str[:4])[FEATURES].count()
    known = first.columns[(first.loc[["2008", "2009", "2010"]] > 0).all()]
    assert len(known) > 35


def test_no_feature_reads_descriptions_which_grew_while_the_loans_were_listed(book):
    """The lender stamps additions with their day; texts of different days were added after the listing began."""
    days = book.rows["desc"].fillna("").str.findall(r"added on (\d\d/\d\d/\d\d)").map(set).str.len()
    assert (days > 1).sum() > 2_000
    assert days[book.rows["batch"] < "2009-Q4"].max() == 0 < days[book.rows["batch"] >= "2010-Q1"].median()
    assert "desc" in PORTFOLIO.post_decision
    assert not any("desc" in {column for _, column in ROOTS[feature]} for feature in QUERIES["features"].descriptions)


def refused(rows: pd.DataFrame, features: Sequence[str], post_decision: Mapping[str, str]) -> dict[str, str]:
    """Which of these inputs, each taken for a separate raw column, the guard refuses, and why."""
    with pytest.raises(LeakageError) as told:
        check_inputs(
            rows[rows["fold"] != TEST],
            target="target",
            features=features,
            roots={feature: [f"applications.{feature}"] for feature in features},
            target_columns=[PORTFOLIO.target.column],
            protected=[],
            post_decision=post_decision,
            max_single_auc=PORTFOLIO.training.max_single_feature_auc,
        )
    return {finding.feature: finding.reason for finding in told.value.findings}


def test_guard_refuses_all_columns_known_after_the_decision_by_name(book):
    found = refused(book.rows, [*PORTFOLIO.post_decision, *FEATURES], PORTFOLIO.post_decision)
    assert set(found) == set(PORTFOLIO.post_decision)


def test_guard_finds_the_strong_leaks_without_their_names(book):
    rows = book.rows.assign(principal_paid=book.rows["total_rec_prncp"] / book.rows["funded_amnt"])
    leaks = {"principal_paid", "recoveries", "total_pymnt", "last_credit_pull_d", "last_pymnt_d", "last_pymnt_amnt"}
    found = refused(rows, [*leaks, *FEATURES], {})
    assert set(found) == leaks
    assert all(why.startswith("alone ranks the outcomes") for why in found.values())


def test_models_reach_their_bars_on_the_year_after_the_training_data(book, tmp_path):
    from sklearn.metrics import roc_auc_score
    from xgboost import XGBClassifier

    from credit_assets.models.design_matrix import DesignMatrix
    from credit_assets.models.estimators.logistic_regression import fit_logistic
    from credit_assets.models.estimators.xgboost import fit_xgboost
    from credit_assets.models.folds import Folds
    from credit_assets.models.tuning import tune

    # The search's first trial; more trials change the third decimal.
    config = PORTFOLIO.training.model_copy(update={"trials": 1})
    design = DesignMatrix.of(book.rows, FEATURES, PORTFOLIO.entity_key, config.encodings)
    folds = Folds(design, design.validation(config), config)
    assert folds.validation.by == "batches"
    found = tune(folds, config, tmp_path, "real", lambda line: None)
    model, _ = fit_xgboost(design, folds, found.params, found.rounds, config)

    test = book.rows[book.rows["fold"] == TEST]
    words = {name: "category" for name in FEATURES if book.rows[name].dtype == object}
    plain = book.rows[FEATURES].astype(words)
    learned = book.rows["fold"] != TEST
    # The library's defaults, and careful settings without a search.
    by_hand = {"n_estimators": 300, "max_depth": 3, "learning_rate": 0.05}

    def auc(pds: np.ndarray) -> float:
        return roc_auc_score(test["target"], pds)

    served = auc(model.pd(test))
    assert served >= 0.665
    assert served >= auc(fit_logistic(design, design.validation(config)).pd(test))
    for params in ({}, by_hand):
        untuned = XGBClassifier(**params, enable_categorical=True, n_jobs=1, random_state=0)
        untuned.fit(plain[learned], book.rows.loc[learned, "target"])
        assert served >= auc(untuned.predict_proba(plain[~learned])[:, 1])
    assert abs(model.pd(test).mean() - test["target"].mean()) < PORTFOLIO.evaluation.gate.max_calibration_gap

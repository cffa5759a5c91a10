"""The synthetic lender: format, relations, reproducibility, hidden risk, scenarios."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from credit_assets.ingest.file_names import MARKER
from credit_assets.schemas.home_credit import TABLES
from credit_assets.synthetic import draws, instalments, lender
from credit_assets.synthetic.applications import draw_applicants
from credit_assets.synthetic.lender import batch_names, generate
from credit_assets.synthetic.scenarios import SCENARIOS

FILES = {
    "bureau": "bureau",
    "bureau_balance": "bureau_balance",
    "previous_application": "previous_applications",
    "POS_CASH_balance": "pos_cash_balance",
    "credit_card_balance": "credit_card_balance",
    "installments_payments": "installments_payments",
}
LABELLED, UNLABELLED = "2026-01", "2026-02"


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two batches of 3,000 applicants each, the second without outcomes."""
    folder = tmp_path_factory.mktemp("lender")
    generate(folder, 6_000, batches=2)
    return folder


@pytest.fixture(scope="module")
def lake(deliveries: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The labelled batch as DuckDB tables named like its files."""
    with duckdb.connect(config={"threads": 2}) as connection:
        for path in (deliveries / LABELLED).glob("*.csv"):
            # Without BOOLEAN among the candidates: EMERGENCYSTATE_MODE is written Yes and No.
            connection.execute(
                f"CREATE TABLE {path.stem} AS FROM read_csv('{path}', sample_size=-1, "
                "auto_type_candidates=['BIGINT', 'DOUBLE', 'VARCHAR'])"
            )
        yield connection


@pytest.fixture(scope="module")
def query_lake(lake: duckdb.DuckDBPyConnection) -> Callable[[str], pd.DataFrame]:
    return lambda sql: lake.execute(sql).df()


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# Format


def test_files_have_the_columns_of_the_contracts_in_the_order_of_the_source(deliveries: Path) -> None:
    for file, table in FILES.items():
        header = (deliveries / LABELLED / f"{file}.csv").open().readline().rstrip("\n").split(",")
        assert header == list(TABLES[table].to_schema().columns), file
    train = (deliveries / LABELLED / "application_train.csv").open().readline().rstrip("\n").split(",")
    test = (deliveries / UNLABELLED / "application_test.csv").open().readline().rstrip("\n").split(",")
    assert train == list(TABLES["applications"].to_schema().columns)
    assert test == [column for column in train if column != "TARGET"]


def test_column_order_and_number_types_equal_those_of_the_real_files(deliveries: Path, real_data: Path) -> None:
    for file in [*FILES, "application_train"]:
        real = pd.read_csv(real_data / "home_credit" / f"{file}.csv.gz", keep_default_na=False, na_values=[""])
        made = pd.read_csv(deliveries / LABELLED / f"{file}.csv", keep_default_na=False, na_values=[""])
        assert list(made.columns) == list(real.columns)
        kinds = {column: (made[column].dtype.kind, real[column].dtype.kind) for column in real}
        assert {column: pair for column, pair in kinds.items() if pair[0] != pair[1]} == {}, file


def test_missing_shares_are_close_to_the_real_ones(deliveries: Path, real_data: Path) -> None:
    for file in ["application_train", "bureau", "previous_application"]:
        real = pd.read_csv(real_data / "home_credit" / f"{file}.csv.gz", keep_default_na=False, na_values=[""])
        made = pd.read_csv(deliveries / LABELLED / f"{file}.csv", keep_default_na=False, na_values=[""])
        distance = (made.isna().mean() - real.isna().mean()).abs()
        assert distance.max() < 0.12, (file, distance.idxmax())


def test_categories_are_those_of_the_contracts(query_lake: Callable[[str], pd.DataFrame]) -> None:
    for file, table in {**FILES, "application_train": "applications"}.items():
        for column in TABLES[table].to_schema().columns.values():
            allowed = [check.statistics["allowed_values"] for check in column.checks if check.name == "isin"]
            if allowed:
                found = query_lake(f"SELECT DISTINCT {column.name} AS word FROM {file} WHERE word IS NOT NULL").word
                assert set(found) <= set(allowed[0]), (file, column.name)


def test_values_are_written_like_in_the_source(deliveries: Path) -> None:
    for path in (deliveries / LABELLED).glob("*.csv"):
        text = path.read_text()
        assert not re.search(r"(?:^|,)(?:nan|inf|None|NULL|-0\.0|-?\d[\d.]*e\+?\d*)(?:,|$)", text, re.M | re.I), path
        assert set(re.findall(r'"[^"]*"', text)) <= {'"Stone, brick"', '"Spouse, partner"'}
    line = (deliveries / LABELLED / "application_train.csv").open().readlines()[1].split(",")
    assert line[0] == "100001"  # an integer stays one,
    assert re.fullmatch(r"\d+\.\d+", line[8])  # an amount has decimals


def test_sentinels_appear_where_the_source_has_them(query_lake: Callable[[str], pd.DataFrame]) -> None:
    idle = query_lake("""
        SELECT avg((DAYS_EMPLOYED = 365243)::INT) AS share,
               bool_and((DAYS_EMPLOYED = 365243) = (ORGANIZATION_TYPE = 'XNA')) AS together
        FROM application_train""")
    assert 0.15 < idle.share[0] < 0.23
    assert idle.together[0]
    dates = query_lake("""
        SELECT bool_and(DAYS_FIRST_DRAWING IS NULL) FILTER (NAME_CONTRACT_STATUS <> 'Approved') AS no_dates,
               bool_and(DAYS_LAST_DUE_1ST_VERSION = 365243)
                   FILTER (NAME_CONTRACT_TYPE = 'Revolving loans' AND DAYS_FIRST_DUE IS NOT NULL) AS cards,
               bool_and(CODE_REJECT_REASON = 'XAP') FILTER (NAME_CONTRACT_STATUS = 'Approved') AS no_reason
        FROM previous_application""")
    assert dates.iloc[0].all()


def test_building_columns_are_missing_together(query_lake: Callable[[str], pd.DataFrame]) -> None:
    shares = query_lake("""
        SELECT avg((APARTMENTS_AVG IS NULL)::INT) AS missing,
               avg((APARTMENTS_AVG IS NULL)::INT) FILTER (LIVINGAREA_AVG IS NULL) AS given_area,
               bool_and((APARTMENTS_AVG IS NULL) = (APARTMENTS_MEDI IS NULL)) AS same
        FROM application_train""")
    assert 0.45 < shares.missing[0] < 0.57
    assert shares.given_area[0] > 0.85
    assert shares.same[0]


# Relations


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("bureau", "SK_ID_BUREAU"),
        ("previous_application", "SK_ID_PREV"),
        ("bureau_balance", "SK_ID_BUREAU, MONTHS_BALANCE"),
        ("POS_CASH_balance", "SK_ID_PREV, MONTHS_BALANCE"),
        ("credit_card_balance", "SK_ID_PREV, MONTHS_BALANCE"),
        ("application_train", "SK_ID_CURR"),
    ],
)
def test_keys_are_unique(query_lake: Callable[[str], pd.DataFrame], file: str, key: str) -> None:
    assert query_lake(f"SELECT {key} FROM {file} GROUP BY ALL HAVING count(*) > 1").empty


def test_every_history_row_belongs_to_its_parent_and_applicant(
    query_lake: Callable[[str], pd.DataFrame],
) -> None:
    for file, kinds in {
        "POS_CASH_balance": ("Cash loans", "Consumer loans"),
        "credit_card_balance": ("Revolving loans",),
        "installments_payments": ("Cash loans", "Consumer loans", "Revolving loans"),
    }.items():
        orphans = query_lake(f"""
            SELECT child.* FROM {file} AS child
            LEFT JOIN previous_application AS parent USING (SK_ID_PREV, SK_ID_CURR)
            WHERE parent.NAME_CONTRACT_STATUS IS DISTINCT FROM 'Approved'
               OR NOT list_contains({list(kinds)}, parent.NAME_CONTRACT_TYPE)""")
        assert orphans.empty, file
    assert query_lake("SELECT SK_ID_BUREAU FROM bureau_balance EXCEPT SELECT SK_ID_BUREAU FROM bureau").empty
    for file in ("bureau", "previous_application"):
        assert query_lake(f"SELECT SK_ID_CURR FROM {file} EXCEPT SELECT SK_ID_CURR FROM application_train").empty


def test_nothing_is_dated_after_the_application(query_lake: Callable[[str], pd.DataFrame]) -> None:
    latest = query_lake("""
        SELECT (SELECT max(greatest(DAYS_CREDIT, DAYS_CREDIT_UPDATE, DAYS_ENDDATE_FACT))
                FROM bureau) AS credit,
               (SELECT max(MONTHS_BALANCE) FROM bureau_balance) AS bureau_balance,
               (SELECT max(DAYS_DECISION) FROM previous_application) AS previous_application,
               (SELECT max(MONTHS_BALANCE) FROM POS_CASH_balance) AS pos,
               (SELECT max(MONTHS_BALANCE) FROM credit_card_balance) AS card,
               (SELECT max(greatest(DAYS_INSTALMENT, DAYS_ENTRY_PAYMENT))
                FROM installments_payments) AS paid""")
    assert latest.iloc[0].max() <= 0
    assert latest.loc[0, ["previous_application", "pos", "card", "paid"]].max() <= -1


def test_rows_per_applicant_equal_those_of_the_full_download(query_lake: Callable[[str], pd.DataFrame]) -> None:
    kaggle = {
        "bureau": 1_716_428,
        "bureau_balance": 27_299_925,
        "previous_application": 1_670_214,
        "POS_CASH_balance": 10_001_358,
        "credit_card_balance": 3_840_312,
        "installments_payments": 13_605_401,
    }
    for file, rows in kaggle.items():
        made = query_lake(f"SELECT count(*) AS rows FROM {file}").rows[0]
        assert made / 3_000 == pytest.approx(rows / 356_255, rel=0.12), file


# Labels and batches


def test_newest_batches_have_their_outcomes_in_a_separate_file(deliveries: Path) -> None:
    assert (deliveries / LABELLED / "application_train.csv").exists()
    assert not (deliveries / LABELLED / "application_test.csv").exists()
    assert not (deliveries / UNLABELLED / "application_train.csv").exists()
    outcomes = pd.read_csv(deliveries / "outcomes" / UNLABELLED / "outcomes.csv")
    asked = pd.read_csv(deliveries / UNLABELLED / "application_test.csv")
    assert list(outcomes.columns) == ["SK_ID_CURR", "TARGET"]
    assert list(outcomes.SK_ID_CURR) == list(asked.SK_ID_CURR)
    assert set(outcomes.TARGET) == {0, 1}
    assert not (deliveries / "outcomes" / LABELLED).exists()


def test_ids_are_unique_across_batches(deliveries: Path) -> None:
    for file, key in {"bureau": "SK_ID_BUREAU", "previous_application": "SK_ID_PREV"}.items():
        ids = [set(pd.read_csv(deliveries / batch / f"{file}.csv")[key]) for batch in (LABELLED, UNLABELLED)]
        assert not ids[0] & ids[1]


def test_batch_can_mix_labelled_and_unlabelled_applicants_like_kaggle_s_download(tmp_path: Path) -> None:
    (batch,) = generate(tmp_path, 200, unlabelled=0, test_share=0.25)
    train, test = (pd.read_csv(batch / f"application_{part}.csv") for part in ("train", "test"))
    assert (len(train), len(test)) == (150, 50)
    assert set(train.SK_ID_CURR) | set(test.SK_ID_CURR) == set(range(100_001, 100_201))
    assert "TARGET" not in test
    assert len(pd.read_csv(tmp_path / "outcomes" / batch.name / "outcomes.csv")) == 50


def test_batches_are_months_and_divide_the_applicants(tmp_path: Path) -> None:
    assert batch_names("2025-11", 3) == ["2025-11", "2025-12", "2026-01"]
    paths = generate(tmp_path, 100, batches=3, first_batch="2025-11")
    sizes = [len(pd.read_csv(next(path.glob("application_*.csv")))) for path in paths]
    assert sizes == [34, 33, 33]
    with pytest.raises(ValueError, match="a month such as 2026-01, not '2026-13'"):
        generate(tmp_path, 10, first_batch="2026-13")


def test_every_batch_is_marked_as_synthetic(deliveries: Path) -> None:
    for folder in (deliveries / LABELLED, deliveries / UNLABELLED, deliveries / "outcomes" / UNLABELLED):
        words = (folder / MARKER).read_text()
        assert "Synthetic" in words
        assert "prove nothing about real lending" in words
        assert "Seed: 7. Scenario: none." in words


def test_later_run_continues_with_new_applicants(tmp_path: Path) -> None:
    generate(tmp_path, 50)
    generate(tmp_path, 50, first_batch="2026-02", first_applicant=100_051)
    for file, key in {
        "application_test": "SK_ID_CURR",
        "bureau": "SK_ID_BUREAU",
        "previous_application": "SK_ID_PREV",
    }.items():
        first, second = (pd.read_csv(tmp_path / batch / f"{file}.csv") for batch in ("2026-01", "2026-02"))
        assert not set(first[key]) & set(second[key])
        assert not first.drop(columns=key).equals(second.drop(columns=key))


# Reproducibility and writing


def test_same_arguments_give_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("once", 7), ("again", 7), ("other", 8)):
        generate(tmp_path / name, 120, batches=2, seed=seed)
    assert digests(tmp_path / "once") == digests(tmp_path / "again")
    once, other = digests(tmp_path / "once"), digests(tmp_path / "other")
    assert once.keys() == other.keys()
    assert not set(once.values()) & set(other.values())


def test_chunks_are_joined_under_one_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lender, "CHUNK", 40)
    read_until: list[str] = []
    (batch,) = generate(tmp_path, 100, unlabelled=0, progress=read_until.append)
    assert len(read_until) == 3
    application = pd.read_csv(batch / "application_train.csv")
    assert list(application.SK_ID_CURR) == list(range(100_001, 100_101))
    previous = pd.read_csv(batch / "previous_application.csv")
    assert previous.SK_ID_PREV.is_unique
    assert previous.SK_ID_CURR.isin(application.SK_ID_CURR).all()
    assert sorted(path.name for path in tmp_path.rglob("*.part*")) == []


def test_synthetic_batch_is_replaced_but_foreign_data_never(tmp_path: Path) -> None:
    generate(tmp_path, 30, seed=1)
    generate(tmp_path, 30, seed=2)
    assert "Seed: 2" in (tmp_path / "2026-01" / MARKER).read_text()
    real = tmp_path / "2026-02"
    real.mkdir()
    (real / "bureau.csv").write_text("mine")
    with pytest.raises(FileExistsError, match="2026-02 exists and is not a synthetic delivery"):
        generate(tmp_path, 30, first_batch="2026-02")
    assert (real / "bureau.csv").read_text() == "mine"


@pytest.mark.parametrize("applicants", [1, 2, 7])
def test_few_applicants_are_enough(tmp_path: Path, applicants: int) -> None:
    (batch,) = generate(tmp_path, applicants, unlabelled=0)
    assert len(pd.read_csv(batch / "application_train.csv")) == applicants
    assert {path.stem for path in batch.glob("*.csv")} == {"application_train", *FILES}


def test_impossible_arguments_are_refused(tmp_path: Path) -> None:
    for wrong in (
        {"applicants": 2, "batches": 3},
        {"applicants": 5, "unlabelled": 2},
        {"applicants": 5, "test_share": 1.0},
    ):
        with pytest.raises(ValueError, match="cannot make"):
            generate(tmp_path, **wrong)  # type: ignore[arg-type]


# Hidden risk


def test_default_rate_and_groups_are_as_designed() -> None:
    ids = np.arange(20_000)
    people, columns = draw_applicants((draws.generator(1), draws.generator(2)), ids, None)
    men = columns["CODE_GENDER"].codes == 1  # type: ignore[union-attr]
    years = -columns["DAYS_BIRTH"] / 365.25  # type: ignore[operator]
    rate = people.target.mean()
    young, middle = people.target[years < 25].mean(), people.target[(years >= 35) & (years < 50)].mean()
    assert 0.07 < rate < 0.09
    assert 1.2 < people.target[men].mean() / people.target[~men].mean() < 1.7
    assert 1.25 < young / middle < 2.3


def test_histories_add_information_to_the_application(query_lake: Callable[[str], pd.DataFrame]) -> None:
    frame = query_lake("""
        WITH late AS (
            SELECT SK_ID_CURR, avg((DAYS_ENTRY_PAYMENT > DAYS_INSTALMENT)::INT) AS late,
                   avg(DAYS_ENTRY_PAYMENT - DAYS_INSTALMENT) AS days
            FROM installments_payments GROUP BY ALL
        ), refused AS (
            SELECT SK_ID_CURR, avg((NAME_CONTRACT_STATUS = 'Refused')::INT) AS refused
            FROM previous_application GROUP BY ALL
        ), elsewhere AS (
            SELECT SK_ID_CURR, avg(DAYS_CREDIT) AS recent, avg((CREDIT_ACTIVE = 'Active')::INT) AS active,
                   avg((AMT_CREDIT_MAX_OVERDUE > 0)::INT) AS overdue
            FROM bureau GROUP BY ALL
        )
        SELECT TARGET, EXT_SOURCE_1, EXT_SOURCE_2, EXT_SOURCE_3, (DAYS_EMPLOYED > 0)::INT AS idle,
               (NAME_EDUCATION_TYPE = 'Higher education')::INT AS educated, REGION_RATING_CLIENT AS region,
               late, days, refused, recent, active, overdue
        FROM application_train LEFT JOIN late USING (SK_ID_CURR) LEFT JOIN refused USING (SK_ID_CURR)
        LEFT JOIN elsewhere USING (SK_ID_CURR) ORDER BY SK_ID_CURR""")
    target = frame.pop("TARGET")
    frame = frame.fillna(frame.median())
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))

    def auc(columns: list[str]) -> float:
        scores = cross_val_predict(model, frame[columns], target, cv=5, method="predict_proba")[:, 1]
        return float(roc_auc_score(target, scores))

    application = auc(list(frame.columns[:6]))
    everything = auc(list(frame.columns))
    assert 0.68 < application < 0.78
    assert everything > application + 0.02
    assert everything < 0.82


# Scenarios


def test_unknown_scenarios_and_batches_are_named(tmp_path: Path) -> None:
    known = "concept_change, income_inflation, younger_channel"
    with pytest.raises(ValueError, match=f"unknown scenario 'flood' for batch 2026-01; known: {known}"):
        generate(tmp_path, 10, scenario={"2026-01": "flood"})
    with pytest.raises(ValueError, match="names batch 2027-01, but the batches are 2026-01"):
        generate(tmp_path, 10, scenario={"2027-01": "concept_change"})
    assert not any(tmp_path.iterdir())


def test_scenario_changes_only_its_batch_and_is_named_in_the_marker(tmp_path: Path) -> None:
    generate(tmp_path / "calm", 60, batches=2)
    generate(tmp_path / "drift", 60, batches=2, scenario={"2026-02": "younger_channel"})
    assert digests(tmp_path / "calm" / "2026-01") == digests(tmp_path / "drift" / "2026-01")
    assert SCENARIOS["younger_channel"] in (tmp_path / "drift" / "2026-02" / MARKER).read_text()


def drawn(scenario: str | None) -> pd.DataFrame:
    ids = np.arange(8_000)
    _, columns = draw_applicants((draws.generator(3), draws.generator(4)), ids, scenario)
    return pd.DataFrame(
        {
            name: np.array([*column.names, None], dtype=object)[column.codes]
            if isinstance(column, draws.Categorical)
            else column
            for name, column in columns.items()
        }
    )


def test_income_inflation_multiplies_amounts_only() -> None:
    calm, drift = drawn(None), drawn("income_inflation")
    amounts = ["AMT_INCOME_TOTAL", "AMT_CREDIT", "AMT_ANNUITY", "AMT_GOODS_PRICE"]
    ratio = drift[amounts] / calm[amounts]
    assert ratio.min().min() > 1.495
    assert ratio.max().max() < 1.505
    pd.testing.assert_frame_equal(calm.drop(columns=amounts), drift.drop(columns=amounts))


def test_younger_channel_brings_younger_and_riskier_applicants() -> None:
    calm, drift = drawn(None), drawn("younger_channel")
    assert (drift.DAYS_BIRTH > -30 * 365.25).mean() > (calm.DAYS_BIRTH > -30 * 365.25).mean() + 0.4
    assert drift.DAYS_EMPLOYED[drift.DAYS_EMPLOYED < 0].median() > calm.DAYS_EMPLOYED[calm.DAYS_EMPLOYED < 0].median()
    assert drift.TARGET.mean() > 1.3 * calm.TARGET.mean()


def test_concept_change_reverses_a_score_and_changes_no_input() -> None:
    calm, drift = drawn(None), drawn("concept_change")
    pd.testing.assert_frame_equal(calm.drop(columns="TARGET"), drift.drop(columns="TARGET"))
    known = calm.EXT_SOURCE_2.notna()
    assert roc_auc_score(calm.TARGET[known], -calm.EXT_SOURCE_2[known]) > 0.62
    assert roc_auc_score(drift.TARGET[known], drift.EXT_SOURCE_2[known]) > 0.55
    assert drift.TARGET.mean() == pytest.approx(calm.TARGET.mean(), abs=0.02)


# Random draws


@given(arrays(np.int64, st.integers(0, 30), elements=st.integers(0, 6)))
def test_spread_lists_every_group_with_its_positions(sizes: np.ndarray) -> None:
    group, position = draws.spread(sizes)
    expected = [(index, place) for index, size in enumerate(sizes) for place in range(size)]
    assert list(zip(group, position, strict=True)) == expected


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any), st.integers(0, 1_000))
def test_pick_never_draws_an_item_of_weight_zero(weights: list[int], seed: int) -> None:
    codes = draws.pick(draws.generator(seed), 200, weights)
    assert set(codes) <= {index for index, weight in enumerate(weights) if weight}


def test_curve_reproduces_its_quantiles() -> None:
    values = draws.curve(draws.generator(5).standard_normal(50_000), (0, 1, 2, 10, 20, 40, 90, 99, 100))
    assert np.quantile(values, [0.25, 0.5, 0.95]) == pytest.approx([10, 20, 90], rel=0.05)
    assert values.min() >= 0
    assert values.max() <= 100


@given(st.integers(0, 500), st.floats(0, 3))
def test_parts_of_a_payment_add_up_to_its_instalment(seed: int, further: float) -> None:
    size = 40
    rows = {
        "SK_ID_PREV": np.arange(size),
        "SK_ID_CURR": np.arange(size),
        "NUM_INSTALMENT_VERSION": np.ones(size),
        "NUM_INSTALMENT_NUMBER": np.ones(size, dtype=int),
        "DAYS_INSTALMENT": np.full(size, -5_000.0),
        "DAYS_ENTRY_PAYMENT": np.full(size, -5_000.0),
        "AMT_INSTALMENT": np.linspace(1_000, 9_000, size).round(3),
    }
    paid = pd.DataFrame(instalments.with_payments(draws.generator(seed), rows, np.zeros(size, np.float32), further))
    total = paid.groupby("SK_ID_PREV").AMT_PAYMENT.sum()
    instalment = paid.groupby("SK_ID_PREV").AMT_INSTALMENT.first()
    # A few payments stay below the instalment.
    assert (total <= instalment + 0.001).all()
    assert (total >= 0.6 * instalment - 0.001).all()
    assert (np.isclose(total, instalment, atol=0.001)).mean() > 0.8

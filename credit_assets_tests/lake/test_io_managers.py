"""The lake's IO manager in real Dagster runs: contracts enforced, inputs by annotation, versions recorded."""

from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pandera.pandas as pa
import pytest

from credit_assets.lake.io_managers import LAZY, column_schema, contract, lake_io_manager
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.resources import LakeResource, batches, lake_resource
from credit_assets.lake.tables import Lake
from credit_assets.schemas.table import Table
from credit_assets.settings.project import Project


class Loans(Table):
    """Loans of the test book."""

    loan: int = pa.Field(unique=True, description="The loan")
    amount: float = pa.Field(ge=0, le=1e6, nullable=True, description="Amount", metadata={"unit": "money"})


class Amounts(Table):
    """A narrower view of loans."""

    amount: float = pa.Field(ge=0, le=1e6, nullable=True, description="Amount")


class Notes(Table):
    """Loans with optional text."""

    loan: int = pa.Field(unique=True, description="The loan")
    note: str = pa.Field(nullable=True, description="What was noted")


@pytest.fixture
def resources(tmp_path: Path) -> dict[str, object]:
    return {"lake": lake_resource(Project(tmp_path)), "lake_io": lake_io_manager}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Project(tmp_path).lake)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("book_batches", ["2026-01", "2026-02"])
        yield instance


def loans(value) -> dg.AssetsDefinition:
    """An asset of loans; `value` computes its output from its lake."""

    @dg.asset(
        key=["book", "loans"],
        partitions_def=batches("book"),
        dagster_type=contract(Loans),
        io_manager_key="lake_io",
        code_version="7",
    )
    def make(context: dg.AssetExecutionContext, lake: LakeResource):
        return value(lake)

    return make


def relation(sql: str):
    return lambda lake: lake.connection.sql(sql)


GOOD = "SELECT i::BIGINT AS loan, 2.5::DOUBLE * i AS amount FROM range(4) t(i)"


def run(assets, resources, instance, batch="2026-01", selection=None, **kwargs):
    return dg.materialize(
        assets, resources=resources, instance=instance, partition_key=batch, selection=selection, **kwargs
    )


def test_commit_records_run_and_code_version(resources, instance, lake):
    result = run([loans(relation(GOOD))], resources, instance)
    made = lake.batches("book/loans")["2026-01"].provenance
    assert made.run_id == result.run_id
    assert made.asset_code_version == "7"
    assert str(made.code_version).startswith("0.")
    [event] = result.asset_materializations_for_node("book__loans")
    assert event.metadata["dagster/row_count"].value == 4
    assert event.metadata["table_version"].value == 0


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT i::BIGINT AS loan, -1.0::DOUBLE AS amount FROM range(4) t(i)", "amount: must be at least 0"),
        ("SELECT 1::BIGINT AS loan, 1.0::DOUBLE AS amount FROM range(2)", "loan: must be unique"),
        ("SELECT 1::BIGINT AS loan", "amount: column is missing"),
        ("SELECT 1::BIGINT AS loan, 1.0::DOUBLE AS amount, 2 AS other", "other: column is not in the contract"),
        ("SELECT '1' AS loan, 1.0::DOUBLE AS amount", "loan: column is VARCHAR"),
    ],
)
def test_relation_that_violates_its_contract_is_refused_and_the_previous_version_stays(
    resources, instance, lake, sql, said
):
    run([loans(relation(GOOD))], resources, instance)
    result = run([loans(relation(sql))], resources, instance, raise_on_error=False)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    told = failure.step_failure_data.user_failure_data
    assert said in told.description
    assert "book/loans" in told.description
    assert len(told.metadata["violations"].records) >= 1
    assert lake.version("book/loans") == 0
    assert len(list(Path(lake.address("book/loans")).rglob("*.parquet"))) == 1, "refused rows are not left lying about"


def test_frame_is_checked_by_pandera_and_cast_to_its_types(resources, instance, lake):
    run([loans(lambda _: pd.DataFrame({"loan": [1, 2], "amount": [1, 2]}))], resources, instance)
    assert [str(kind) for kind in lake.relation(duckdb.connect(), "book/loans").types[:2]] == ["BIGINT", "DOUBLE"]
    bad = loans(lambda _: pd.DataFrame({"loan": [1, 1], "amount": [1.0, 2e9]}))
    result = run([bad], resources, instance, raise_on_error=False)
    told = next(e for e in result.all_events if e.is_step_failure).step_failure_data.user_failure_data
    assert {record.data["column"] for record in told.metadata["violations"].records} == {"loan", "amount"}
    assert "such as" not in told.description and "2e+09" not in str(told) and "2000000000" not in str(told)
    assert lake.version("book/loans") == 0


def test_input_has_the_type_of_its_annotation(resources, instance):
    seen = {}
    contract(Amounts)

    def reader(name, kind):
        @dg.asset(
            key=["book", name],
            partitions_def=batches("book"),
            ins={"loans": dg.AssetIn(key=["book", "loans"])},
            io_manager_key="lake_io",
        )
        def read(loans: kind) -> pd.DataFrame:
            seen[name] = loans
            return pd.DataFrame({"rows": [len(loans)]})

        return read

    @dg.asset(
        key=["book", "by_type"],
        partitions_def=batches("book"),
        ins={"loans": dg.AssetIn(key=["book", "loans"], dagster_type=LAZY)},
        io_manager_key="lake_io",
    )
    def by_type(**tables):
        seen["by_type"] = tables["loans"]
        return pd.DataFrame({"a": [1]})

    kinds = {"lazy": duckdb.DuckDBPyRelation, "frame": pd.DataFrame, "narrow": Amounts}
    run([loans(relation(GOOD)), *[reader(name, kind) for name, kind in kinds.items()], by_type], resources, instance)
    assert isinstance(seen["lazy"], duckdb.DuckDBPyRelation)
    assert isinstance(seen["by_type"], duckdb.DuckDBPyRelation)
    assert list(seen["frame"].columns) == ["loan", "amount"], "a single batch comes without its batch column"
    assert list(seen["narrow"].columns) == ["amount"]


def test_unpartitioned_asset_reads_all_batches_and_records_the_version(resources, instance, lake):
    @dg.asset(key=["book", "total"], ins={"loans": dg.AssetIn(key=["book", "loans"])}, io_manager_key="lake_io")
    def total(loans: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        return loans.aggregate("batch, count(*) AS n")

    assets = [loans(relation(GOOD)), total]
    for batch in ("2026-01", "2026-02"):
        run(assets, resources, instance, batch, selection=["book/loans"])
    dg.materialize(assets, resources=resources, instance=instance, selection=["book/total"])
    assert lake.relation(duckdb.connect(), "book/total").order("batch").fetchall() == [("2026-01", 4), ("2026-02", 4)]
    assert lake.history("book/total")[0].provenance.inputs == {"book/loans": 1}


def test_data_made_from_synthetic_data_is_marked(resources, instance, lake):
    @dg.asset(
        key=["book", "loans"], partitions_def=batches("book"), dagster_type=contract(Loans), io_manager_key="lake_io"
    )
    def generated(lake: LakeResource):
        return dg.MaterializeResult(value=lake.connection.sql(GOOD), metadata={"synthetic": True})

    @dg.asset(
        key=["book", "copy"],
        partitions_def=batches("book"),
        ins={"loans": dg.AssetIn(key=["book", "loans"])},
        io_manager_key="lake_io",
    )
    def copy(loans: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        return loans

    run([generated, copy], resources, instance)
    assert lake.batches("book/copy")["2026-01"].provenance.synthetic


def test_contract_is_shown_as_column_schema():
    columns = {column.name: column for column in column_schema(Loans).columns}
    assert columns["loan"].type == "BIGINT"
    assert columns["loan"].constraints.unique
    assert not columns["loan"].constraints.nullable
    assert columns["amount"].description == "Amount [money]"
    assert "less_than_or_equal_to(1000000.0)" in columns["amount"].constraints.other


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_entirely_empty_text_column_is_stored_as_text(resources, instance, lake, nothing):
    @dg.asset(
        key=["book", "notes"], partitions_def=batches("book"), dagster_type=contract(Notes), io_manager_key="lake_io"
    )
    def notes() -> pd.DataFrame:
        return pd.DataFrame({"loan": [1, 2], "note": pd.Series([nothing, nothing], dtype=object)})

    assert run([notes], resources, instance).success
    with duckdb.connect() as con:
        stored = lake.relation(con, "book/notes")
        assert dict(zip(stored.columns, map(str, stored.types), strict=True))["note"] == "VARCHAR"
        assert stored.project("note").fetchall() == [(None,), (None,)]


class Margins(Table):
    """Loans as written by a later release."""

    loan: int = pa.Field(unique=True, description="The loan")
    margin: float = pa.Field(description="A figure that earlier releases did not have")


@pytest.mark.parametrize("batch", [None, "2026-01"])
def test_table_of_an_earlier_release_is_refused_with_the_command_that_rebuilds_it(resources, instance, lake, batch):
    with duckdb.connect() as con:
        lake.replace(con, "SELECT 1 AS loan", "book/loans", batch, Provenance())
    partitions = batches("book") if batch else None
    before = dg.AssetSpec(["book", "loans"], partitions_def=partitions)

    @dg.asset(
        ins={"loans": dg.AssetIn(key=["book", "loans"], dagster_type=contract(Margins))}, partitions_def=partitions
    )
    def report(loans: pd.DataFrame) -> None:
        raise AssertionError("nothing is loaded")

    failed = dg.materialize(
        [report, before.with_io_manager_key("lake_io")],
        instance=instance,
        resources=resources,
        partition_key=batch,
        raise_on_error=False,
        selection=[report],
    )
    said = str(failed.failure_data_for_node("report"))
    assert "Table book/loans was written by an earlier release, without margin." in said
    assert ("materialize loans for the batch" if batch else "`credit-assets train --portfolio book`") in said

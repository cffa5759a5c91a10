"""Features as assets, one per SQL file, and the training set over the window of known outcomes."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
import duckdb
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.book.queries import FeatureQuery
from credit_assets.features.checks import NO_LEAKAGE, hidden_columns_verdict, no_leakage, training_set_specs
from credit_assets.features.compute import compute_query
from credit_assets.features.contract import check_encodings, feature_contracts, training_set_contract
from credit_assets.features.guard import LeakageError, made_from
from credit_assets.features.training_inputs import (
    TrainingRefused,
    load_training_rows,
    refuse_features_of_other_sql,
    refuse_synthetic_mixture,
    training_tables,
    window_rows,
)
from credit_assets.features.versions import FEATURES
from credit_assets.lake.io_managers import LAZY, column_schema, contract, frame_table
from credit_assets.lake.resources import LakeResource, batches
from credit_assets.registry.resources import as_failure
from credit_assets.schemas.table import Table
from credit_assets.settings.portfolio import Portfolio
from credit_assets.verdicts.checks import check_result
from credit_assets.verdicts.verdict import Verdict

SHOWN = 20


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """A table of features for each query, and `training_set`."""
    portfolio, queries, sources, roots = book.portfolio, book.queries, book.lineage, book.raw_lineage
    contracts = feature_contracts(queries, book.contracts, portfolio.entity_key)
    tables = [
        _feature_table(
            portfolio, query, contract(contracts[name]), column_schema(contracts[name]), sources[name], roots[name]
        )
        for name, query in queries.items()
    ]
    query, features, origins = queries[FEATURES], contracts[FEATURES], roots[FEATURES]
    check_encodings(features, portfolio.training.encodings)
    left_out = made_from({name: origins[name] for name in query.descriptions}, portfolio.left_out)
    learned = training_set_contract(query, features, portfolio.entity_key, left_out)
    return [*tables, _training_set(portfolio, queries, origins, left_out, learned)]


def _feature_table(
    portfolio: Portfolio,
    query: FeatureQuery,
    kind: dg.DagsterType,
    schema: dg.TableSchema,
    sources: Mapping[str, tuple[tuple[str, str], ...]],
    roots: Mapping[str, tuple[tuple[str, str], ...]],
) -> dg.AssetsDefinition:
    def key(table: str) -> dg.AssetKey:
        return dg.AssetKey([portfolio.name, table])

    deps = {
        column: [dg.TableColumnDep(asset_key=key(table), column_name=name) for table, name in origins]
        for column, origins in sources.items()
    }
    readable = pd.DataFrame(
        [
            {
                "feature": column,
                "words": query.descriptions.get(column, "the applicant"),
                "raw columns": ", ".join(f"{table}.{name}" for table, name in roots[column]),
            }
            for column in query.columns
        ]
    )

    @dg.asset(
        key=key(query.name),
        ins={table: dg.AssetIn(key=key(table), dagster_type=LAZY) for table in query.inputs},
        partitions_def=batches(portfolio.name),
        dagster_type=kind,
        io_manager_key="lake_io",
        required_resource_keys={"lake"},
        group_name="features",
        kinds={"sql", "duckdb", "deltalake"},
        owners=portfolio.owners,
        description=query.description,
        # A change of the SQL marks existing tables as outdated.
        code_version=query.version,
        metadata={
            "dagster/column_schema": schema,
            "features": len(query.descriptions),
            "sql": dg.MetadataValue.md(f"```sql\n{query.sql}\n```"),
            "lineage": frame_table(readable),
        },
    )
    def feature_table(context: dg.AssetExecutionContext, **tables: duckdb.DuckDBPyRelation) -> dg.MaterializeResult:
        for table, relation in tables.items():
            relation.create_view(table, replace=True)
        lake: LakeResource = context.resources.lake
        return dg.MaterializeResult(
            value=compute_query(lake.connection, query),
            metadata={"dagster/column_lineage": dg.TableColumnLineage(deps_by_column=deps)},
        )

    return feature_table


def _training_set(
    portfolio: Portfolio,
    queries: Mapping[str, FeatureQuery],
    roots: Mapping[str, tuple[tuple[str, str], ...]],
    left_out: Mapping[str, str],
    model: type[Table],
) -> dg.AssetsDefinition:
    name, query = portfolio.name, queries[FEATURES]
    key = dg.AssetKey([name, "training_set"])
    features = [feature for feature in query.descriptions if feature not in left_out]
    raw_columns = {feature: [f"{table}.{column}" for table, column in roots[feature]] for feature in features}

    @dg.asset(
        key=key,
        deps=[dg.AssetKey([name, table]) for table in training_tables(portfolio)],
        dagster_type=contract(model),
        metadata={"dagster/column_schema": column_schema(model)},
        io_manager_key="lake_io",
        group_name="training",
        kinds={"duckdb", "deltalake"},
        owners=portfolio.owners,
        check_specs=training_set_specs(key),
    )
    def training_set(
        context: dg.AssetExecutionContext, lake: LakeResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """Features joined with known outcomes over the training window. An applicant's fold does not change when data
        are added: the newest matured batches are the out-of-time test; with only one batch, a share of its applicants.
        Features that the configuration leaves out remain in the features table but are not in this one."""
        con = lake.connection
        with as_failure(TrainingRefused):
            refuse_synthetic_mixture(lake.lake, portfolio)
            for table in training_tables(portfolio):
                con.sql(lake.select(context, portfolio.table(table), None)).create_view(f"_{table}", replace=True)
            window = {batch for (batch,) in window_rows(con, portfolio).project("batch").distinct().fetchall()}
            read = lake.reads(context)[portfolio.table(FEATURES)].version
            refuse_features_of_other_sql(lake.lake, portfolio, queries, read, window)
        found = load_training_rows(con, portfolio, features, left_out)
        try:
            alone = found.auc_of_each(portfolio, features, raw_columns)
        except LeakageError as error:
            yield check_result(Verdict(NO_LEAKAGE, False, str(error)))
            raise dg.Failure(str(error), allow_retries=False) from error
        yield dg.MaterializeResult(
            value=found.rows,
            metadata=_training_metadata(query, features, left_out, found.split, alone),
            check_results=[
                check_result(no_leakage(features, alone)),
                check_result(hidden_columns_verdict(found.hidden, found.reproduced)),
            ],
        )

    return training_set


def _training_metadata(
    query: FeatureQuery,
    features: Sequence[str],
    left_out: Mapping[str, str],
    split: pd.DataFrame,
    alone: pd.Series,
) -> dict[str, int | dg.MetadataValue]:
    """The training set's metadata for the UI; `alone` has the AUC of each feature on its own, largest first."""
    strongest = alone.head(SHOWN).rename_axis("feature").reset_index()
    reasons = [(feature, query.descriptions[feature], why) for feature, why in left_out.items()]
    return {
        "features": len(features),
        "features_left_out": len(left_out),
        "left_out": frame_table(pd.DataFrame(reasons, columns=["feature", "words", "why"], dtype=str)),
        "split": frame_table(split),
        "strongest_alone": frame_table(
            strongest.assign(words=[query.descriptions[feature] for feature in strongest["feature"]])
        ),
    }

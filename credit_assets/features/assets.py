"""Features as assets, one per SQL file, and the training set over the window of known outcomes."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import dagster as dg
import duckdb
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.book.queries import FeatureQuery
from credit_assets.features.checks import NO_LEAKAGE, no_leakage, nothing_given_back, training_set_specs
from credit_assets.features.combined_leaks import given_back
from credit_assets.features.compute import compute_query
from credit_assets.features.contract import check_encodings, feature_contracts, training_set_contract
from credit_assets.features.guard import LeakageError, check_inputs, made_from
from credit_assets.features.kept_back import kept_back
from credit_assets.features.training_set import TEST, rows_to_learn_from, split_summary, training_frame
from credit_assets.features.versions import FEATURES, made_by_other_sql
from credit_assets.lake.contracts import identifier, shorten
from credit_assets.lake.io_managers import LAZY, column_schema, contract, frame_table
from credit_assets.lake.resources import LakeResource, batches
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
    left_out = made_from({name: origins[name] for name in query.words}, portfolio.left_out)
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
                "words": query.words.get(column, "the applicant"),
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
        # A change of the SQL makes what it made before out of date.
        code_version=query.version,
        metadata={
            "dagster/column_schema": schema,
            "features": len(query.words),
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
    features = [feature for feature in query.words if feature not in left_out]
    raw_columns = {feature: [f"{table}.{column}" for table, column in roots[feature]] for feature in features}

    @dg.asset(
        key=key,
        deps=[dg.AssetKey([name, table]) for table in _read_by_training(portfolio)],
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
        """Features joined with known outcomes over the training window. The fold of each applicant does not change when
        data are added: the newest matured batches are the out-of-time test; if there is only one, a share of it is.
        Features that the configuration leaves out stay in the features table and are not in this one."""
        _refuse_a_mixture(lake, portfolio)
        con = lake.connection
        for table in _read_by_training(portfolio):
            con.sql(lake.select(context, portfolio.table(table), None)).create_view(f"_{table}", replace=True)
        read = lake.reads(context)[portfolio.table(FEATURES)].version
        _refuse_features_of_other_sql(lake, portfolio, queries, read, _in_the_window(con, portfolio))
        rows = _in_the_window(con, portfolio, *features)
        split = split_summary(rows.project("batch, fold, target").df())
        learned = training_frame(rows.filter(f"fold <> '{TEST}'"))
        applications = con.view(f"_{portfolio.application_table}")
        kept = kept_back(portfolio, learned, applications, con.view("_features"), left_out)
        back = given_back(kept, learned[features], learned["target"].to_numpy(dtype=bool))
        try:
            alone = check_inputs(
                learned,
                target="target",
                features=features,
                roots=raw_columns,
                target_columns=[portfolio.target.column],
                protected=portfolio.protected_columns,
                post_decision=portfolio.post_decision,
                max_single_auc=portfolio.training.max_single_feature_auc,
                together=back,
            )
        except LeakageError as error:
            yield check_result(Verdict(NO_LEAKAGE, False, str(error)))
            raise dg.Failure(str(error), allow_retries=False) from error
        yield dg.MaterializeResult(
            value=rows,
            metadata=_training_metadata(query, features, left_out, split, alone),
            check_results=[
                check_result(no_leakage(features, alone)),
                check_result(nothing_given_back(kept, back)),
            ],
        )

    return training_set


def _read_by_training(portfolio: Portfolio) -> tuple[str, ...]:
    return FEATURES, portfolio.application_table, portfolio.outcomes_table


def _in_the_window(con: duckdb.DuckDBPyConnection, portfolio: Portfolio, *columns: str) -> duckdb.DuckDBPyRelation:
    """The rows to learn from with these features, from the views of the tables that the training reads."""
    wanted = ", ".join(map(identifier, (portfolio.entity_key, "batch", *columns)))
    con.view("_features").project(wanted).create_view("_wanted_features", replace=True)
    return con.sql(
        rows_to_learn_from(
            portfolio,
            features="_wanted_features",
            applications=f"_{portfolio.application_table}",
            outcomes=f"_{portfolio.outcomes_table}",
        )
    )


def _training_metadata(
    query: FeatureQuery,
    features: Sequence[str],
    left_out: Mapping[str, str],
    split: pd.DataFrame,
    alone: pd.Series,
) -> dict[str, int | dg.MetadataValue]:
    """The training set's metadata for the UI; `alone` has the AUC of each feature on its own, largest first."""
    strongest = alone.head(SHOWN).rename_axis("feature").reset_index()
    reasons = [(feature, query.words[feature], why) for feature, why in left_out.items()]
    return {
        "features": len(features),
        "features_left_out": len(left_out),
        "left_out": frame_table(pd.DataFrame(reasons, columns=["feature", "words", "why"], dtype=str)),
        "split": frame_table(split),
        "strongest_alone": frame_table(
            strongest.assign(words=[query.words[feature] for feature in strongest["feature"]])
        ),
    }


def _refuse_features_of_other_sql(
    lake: LakeResource,
    portfolio: Portfolio,
    queries: Mapping[str, FeatureQuery],
    version: int,
    learned_from: duckdb.DuckDBPyRelation,
) -> None:
    """Raise Failure if a batch of the training window has features (in this version of their table) that were not made
    by the current SQL: one name would have two meanings."""
    batches = {batch for (batch,) in learned_from.project("batch").distinct().fetchall()}
    other = made_by_other_sql(cache(lake.lake.writings), portfolio.table(FEATURES), version, queries)
    if batches & other.keys():
        # Newer ones too: they are what the next champion may have to score.
        stale = [batch for batch in other if batch >= min(batches)]
        files = sorted({file for batch in stale for file in other[batch]})
        raise dg.Failure(
            f"The features of {shorten(', '.join(stale))} were made by other SQL than stands in sql/{portfolio.name} "
            f"now ({', '.join(files)}). `credit-assets train --portfolio {portfolio.name}` makes them again "
            "and trains; in the UI, run the job `ingest` for each of these batches, then `train`.",
            allow_retries=False,
        )


def _refuse_a_mixture(lake: LakeResource, portfolio: Portfolio) -> None:
    """Raise Failure if some batches are generated and others are not: a model of both proves nothing."""
    written = lake.lake.batches(portfolio.table("features"))
    generated = sorted(batch for batch, commit in written.items() if commit.provenance.synthetic)
    if generated and len(generated) < len(written):
        raise dg.Failure(
            f"Batches {', '.join(generated)} of {portfolio.name} are synthetic and the others are not; no model may "
            "learn from both. Keep real deliveries in a project whose data/ never held the demo's.",
            allow_retries=False,
        )

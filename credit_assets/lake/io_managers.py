"""The IO manager of the lake: an asset's output becomes a batch of a Delta table, its input a relation or frame.

The asset's Dagster type carries its contract (a `Table` model), which is enforced here. `tables.py` handles files,
commits and versions, `contracts.py` the contract in SQL.
"""

import base64
from collections.abc import Sequence
from functools import cache
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa

from credit_assets.lake.contracts import Violation, check, shorten
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.resources import LakeResource
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Staged
from credit_assets.plurals import number_of
from credit_assets.schemas.duckdb_types import column_types, is_text
from credit_assets.schemas.table import Table
from credit_assets.settings.project import code_version

EXAMPLES = 10

SOURCE, MODEL_VERSION, CHAMPION_VERSION = "source_sha256", "model_version", "champion_version"
"""Metadata keys of an asset that become fields of its provenance: the files its rows were read from, and the model
version that made or checked them."""

# An input of this type stays a lazy relation; for inputs whose names are not in a signature.
LAZY = dg.DagsterType(
    type_check_fn=lambda _, value: isinstance(value, duckdb.DuckDBPyRelation),
    name="LazyTable",
    typing_type=duckdb.DuckDBPyRelation,
)


@cache
def contract(model: type[Table]) -> dg.DagsterType:
    """The model as a Dagster type, which a signature may then name: `-> Scores`.

    The IO manager enforces it on the outputs of assets and checks it on their inputs.
    """
    kind = dg.DagsterType(
        # Values are checked by the IO manager, which can name the bad rows.
        type_check_fn=lambda _, value: isinstance(value, Staged | pd.DataFrame | duckdb.DuckDBPyRelation),
        name=model.__name__,
        description=(model.__doc__ or "").strip(),
        typing_type=model,
    )
    dg.make_python_type_usable_as_dagster_type(model, kind)
    return kind


def column_schema(model: type[Table]) -> dg.TableSchema:
    """The contract as the UI shows it: type, constraints and description of each column."""
    schema = model.to_schema()
    descriptions, types = model.descriptions(), column_types(model)
    unique = set(schema.unique or [])
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                types[name],
                description=descriptions[name],
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable,
                    unique=column.unique or unique == {name},
                    other=[str(rule.error or rule.name) for rule in column.checks],
                ),
            )
            for name, column in schema.columns.items()
        ],
        constraints=dg.TableConstraints(
            other=[f"unique together: {', '.join(schema.unique)}"] if len(schema.unique or []) > 1 else []
        ),
    )


class LakeIOManager(dg.IOManager):
    """Writes an asset's output to the lake in one commit, and loads an input according to its annotation.

    An output is a `Staged` (validated when it was made), a DuckDB relation or a pandas frame. An input annotated
    `duckdb.DuckDBPyRelation` stays lazy; for `pd.DataFrame` or a `Table` model it is loaded, for a model only its
    columns, and checked. The rows of one partition have no `batch` column; an input of several batches has it.
    """

    def __init__(self, lake: LakeResource) -> None:
        self.lake = lake

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        lake, con = self.lake.lake, self.lake.connection
        table = "/".join(context.asset_key.path)
        batch = context.partition_key if context.has_asset_partitions else None
        model = context.dagster_type.typing_type
        if isinstance(obj, Staged):
            staged = obj
        else:
            contracted = isinstance(model, type) and issubclass(model, Table)
            if isinstance(obj, pd.DataFrame):
                obj = _typed(con, _conforming(table, obj, model), model) if contracted else con.from_df(obj)
                contracted = False
            obj.create_view("_output", replace=True)
            staged = lake.stage(con, "SELECT * FROM _output", table, batch)
            try:
                if contracted:
                    refuse(table, check(con, staged.query(), model, {}))
            except BaseException:
                lake.discard(staged)
                raise
        reads = self.lake.reads(context)
        given = context.output_metadata
        synthetic = self.lake.synthetic(context) or bool(given["synthetic"].value if "synthetic" in given else False)
        versions = {name: read.version for name, read in reads.items()}
        provenance = Provenance(
            run_id=context.run_id,
            code_version=code_version(),
            asset_code_version=context.asset_spec.code_version or "",
            inputs=versions,
            synthetic=synthetic,
            **{name: given[name].value for name in (SOURCE, MODEL_VERSION, CHAMPION_VERSION) if name in given},
        )
        version = lake.commit(staged, provenance)
        metadata: dict[str, Any] = {
            "dagster/row_count": staged.rows,
            "table_version": version,
            "table_path": dg.MetadataValue.path(lake.address(table)),
            "input_versions": dg.MetadataValue.json(versions),
            "synthetic": synthetic,
        }
        context.add_output_metadata({name: value for name, value in metadata.items() if name not in given})

    def load_input(self, context: dg.InputContext) -> Any:
        table = "/".join(context.asset_key.path)
        # An asset without partitions reads all batches in the lake, whichever keys are registered.
        partitioned = context.has_asset_partitions and context.has_partition_key
        con = self.lake.connection
        query = self.lake.select(context, table, context.asset_partition_keys if partitioned else None)
        wanted = context.dagster_type.typing_type
        if wanted is duckdb.DuckDBPyRelation:
            return con.sql(query)
        if isinstance(wanted, type) and issubclass(wanted, Table):
            columns = list(wanted.to_schema().columns)
            _refuse_of_earlier_release(context.asset_key, partitioned, set(columns) - set(con.sql(query).columns))
            names = ", ".join(map(identifier, columns))
            return _conforming(table, con.sql(f"SELECT {names} FROM ({query})").df(), wanted)
        return con.sql(query).df()


@dg.io_manager(required_resource_keys={"lake"}, description="Assets as batches of Delta tables, contracts enforced.")
def lake_io_manager(context: dg.InitResourceContext) -> LakeIOManager:
    # Required by key, not nested in a ConfigurableIOManager, which would open its own connection: relations that assets
    # return belong to the connection of their resource.
    return LakeIOManager(context.resources.lake)


def _refuse_of_earlier_release(asset: dg.AssetKey, partitioned: bool, missing: set[str]) -> None:
    """Raise a Failure that says how to recreate a table without some columns of its contract. Tables are written with
    all columns, so an earlier release wrote it."""
    if not missing:
        return
    portfolio, name = asset.path[0], asset.path[-1]
    again = f"materialize {name} for the batch" if partitioned else f"run `credit-assets train --portfolio {portfolio}`"
    raise dg.Failure(
        f"Table {'/'.join(asset.path)} was written by an earlier release, without {', '.join(sorted(missing))}. "
        f"To recreate it, {again}.",
        allow_retries=False,
    )


def _conforming(table: str, frame: pd.DataFrame, model: type[Table]) -> pd.DataFrame:
    """The frame in the model's types, checked by Pandera: frames are small enough for it."""
    schema = model.to_schema()
    # Text is not cast: a cast would turn an empty cell into the text "None".
    kinds = {
        name: column.dtype.type
        for name, column in schema.columns.items()
        if name in frame.columns and not is_text(column)
    }
    frame = frame.astype({name: kind for name, kind in kinds.items() if frame[name].dtype != kind})
    try:
        return schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        violations = violations_of(error)
    # Raised outside the except block: Dagster would store Pandera's error, with every failing value, as the cause.
    refuse(table, violations)
    raise AssertionError("a contract that fails has violations")


def _typed(con: duckdb.DuckDBPyConnection, frame: pd.DataFrame, model: type[Table]) -> duckdb.DuckDBPyRelation:
    """The frame as a relation with the model's types: DuckDB infers a numeric type for text that is all null."""
    types = column_types(model)
    quoted = {name: identifier(name) for name in frame}
    kept = [f"CAST({sql} AS {types[name]}) AS {sql}" if name in types else sql for name, sql in quoted.items()]
    return con.from_df(frame).project(", ".join(kept))


def violations_of(error: pa.errors.SchemaErrors) -> list[Violation]:
    """Pandera's findings, one per rule, with a few shortened values."""
    cases = error.failure_cases
    # Pandera reports a rule of the whole row under every column; it is reported once here, without values.
    of_rows = cases["schema_context"] == "DataFrameSchema"
    found = [
        Violation("row", str(rule), some["index"].nunique())
        for rule, some in cases[of_rows].groupby("check", sort=False)
    ]
    for (column, rule), some in cases[~of_rows].groupby(["column", "check"], sort=False):
        examples = tuple(dict.fromkeys(shorten(str(value)) for value in some["failure_case"].head(EXAMPLES)))
        found.append(Violation(str(column), str(rule), len(some), examples))
    return found


def refuse(table: str, violations: Sequence[Violation]) -> None:
    """Raise the Failure that names table, columns, checks and counts, if there are violations. It is stored, so it
    contains no value of a row."""
    if not violations:
        return
    raise dg.Failure(
        f"Table {table} violates its contract: {number_of(len(violations), 'rule')}, first "
        f"{violations[0].without_values}. Nothing was written; the previous version stays current.",
        metadata={"violations": violations_table(violations)},
        allow_retries=False,
    )


def violations_table(violations: Sequence[Violation]) -> dg.TableMetadataValue:
    """The violations as the UI shows them, without values of rows."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord({"column": str(violation.column), "check": violation.check, "count": violation.count})
            for violation in violations
        ],
        schema=dg.TableSchema.from_name_type_dict({"column": "string", "check": "string", "count": "int"}),
    )


def frame_table(frame: pd.DataFrame) -> dg.TableMetadataValue:
    """A small frame as a table in the UI; floats at four significant digits."""
    records = [
        dg.TableRecord({str(name): _cell(value) for name, value in row.items()}) for row in frame.to_dict("records")
    ]
    kinds = {
        str(name): "bool"
        if kind.kind == "b"
        else "int"
        if kind.kind in "iu"
        else "float"
        if kind.kind == "f"
        else "string"
        for name, kind in frame.dtypes.items()
    }
    return dg.MetadataValue.table(records, schema=dg.TableSchema.from_name_type_dict(kinds))


def _cell(value: Any) -> str | int | float | bool | None:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return None if value is None else str(value)


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A small PNG as the UI draws it."""
    return dg.MetadataValue.md(f"![](data:image/png;base64,{base64.b64encode(png).decode('ascii')})")

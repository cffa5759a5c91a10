"""Checks configs/NAME.py against the configuration: types, keys, the outcome, and the columns that settings name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path

import duckdb

from credit_assets.book.book import Book
from credit_assets.features.target import outcome_sql
from credit_assets.lake.connections import connect
from credit_assets.lake.contracts import keys, rules
from credit_assets.lake.provenance import BATCH
from credit_assets.lake.sql import identifier, sql_text
from credit_assets.onboarding.findings import Findings
from credit_assets.schemas.duckdb_types import NUMBERS, column_types
from credit_assets.schemas.table import Table
from credit_assets.settings.portfolio import Portfolio, line_of


def check_contracts(findings: Findings, book: Book) -> dict[str, dict[str, str]]:
    """Check the contracts; return the columns and types of each raw table, or {} if a column has no known type."""
    schemas, portfolio = {}, book.portfolio
    for table, model in book.contracts.items():
        try:
            schemas[table] = column_types(model)
            rules(model)
        except TypeError as error:
            findings.add_error(*_line_of_contract(findings, model, str(error)), str(error))
        if taken := [column for column in model.to_schema().columns if column.lower() == BATCH]:
            message = f"{taken[0]} is reserved for the name of a delivery. Rename the column"
            findings.add_error(*_line_of_contract(findings, model, taken[0]), message)
    applications = book.contracts[portfolio.application_table]
    if (portfolio.entity_key,) not in keys(applications):
        contract = applications.__name__
        message = f"entity_key: {portfolio.entity_key} is not unique in the contract {contract}. Declare it unique"
        findings.add_setting(["entity_key"], message)
    return schemas if len(schemas) == len(book.contracts) else {}


def _line_of_contract(findings: Findings, model: type[Table], text: str) -> tuple[Path, int]:
    """File and line of a contract: of the first column that the text names, else of its class."""
    source = inspect.getsourcefile(model)
    file = Path(source) if source else findings.config
    if findings.project.root not in file.parents:
        return findings.config, line_of(findings.root, ["contracts"])
    lines = file.read_text(encoding="utf-8").splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith(f"class {model.__name__}(")), 0)
    for column in model.to_schema().columns:
        if column in text:
            for number, line in enumerate(lines[start:], start=start + 1):
                if re.match(rf"\s+{re.escape(column)}\s*:|.*alias=.{re.escape(column)}[\"']", line):
                    return file, number
    return file, start + 1


def check_columns(findings: Findings, portfolio: Portfolio, columns: Mapping[str, str]) -> None:
    """Check the settings that name columns of the applications, and patterns that would match every line of a file."""
    split_by = portfolio.delivery.split_by
    if columns and split_by is not None and split_by not in columns:
        message = f"delivery.split_by: table {portfolio.application_table} has no column {split_by}"
        findings.add_setting(["delivery", "split_by"], message)
    for attribute, protected in portfolio.protected.items():
        kind = columns.get(protected.column)
        if kind is not None and protected.kind != "words" and kind not in NUMBERS:
            message = (
                f"protected.{attribute}: kind {protected.kind} needs numbers, but {protected.column} is {kind}. "
                "Make it a number in the contract, or leave out `kind` to audit its values"
            )
            findings.add_setting(["protected", attribute], message)
    for table, settings in portfolio.tables.items():
        for n, pattern in enumerate(settings.notes):
            if not pattern.strip("*? "):
                message = f"tables.{table}.notes: {pattern!r} matches every line. Write how lines to skip begin"
                findings.add_setting(["tables", table, "notes", n], message)


def check_target(findings: Findings, book: Book, schemas: Mapping[str, Mapping[str, str]]) -> None:
    """Check that the values of the outcome are of its column's type, and allowed by the contract."""
    target, table = book.portfolio.target, book.portfolio.application_table
    kind = schemas.get(table, {}).get(target.column)
    if kind is None:
        return
    checks = book.contracts[table].to_schema().columns[target.column].checks
    known = next((list(check.statistics["allowed_values"]) for check in checks if check.name == "isin"), None)
    line = line_of(findings.root, ["target"])
    wrong = []
    with connect() as con:
        con.execute(f"CREATE TABLE applications ({identifier(target.column)} {kind})")
        for word in (*target.bad, *target.good):
            literal = word if isinstance(word, int) else sql_text(word)
            if (kind == "VARCHAR" and isinstance(word, int)) or (kind in NUMBERS and isinstance(word, str)):
                wrong.append(
                    f"{word!r} is not of the type of {target.column} ({kind}). Quote text, and do not quote numbers"
                )
            elif con.execute(f"SELECT try_cast({literal} AS {kind}) IS NULL").fetchone() == (True,):
                wrong.append(f"{word!r} is not a value of {target.column} ({kind})")
            elif known is not None and word not in known:
                wrong.append(f"{word!r} is not one of the values that the contract allows in {target.column}")
        try:
            con.execute(f"SELECT {outcome_sql(target)} FROM applications")
        except duckdb.Error as error:
            wrong = wrong or [str(error).splitlines()[0]]
    for words in wrong:
        findings.add_error(findings.config, line, f"target: {words}")

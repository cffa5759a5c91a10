"""Checks sql/NAME/*.sql: whether each file parses and binds, and which columns its features are made from.

Errors in one file do not hide errors in the others.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.book.lineage import Lineage, lineage, raw_lineage
from credit_assets.book.queries import NO_ROW, FeatureCommentError, FeatureQuery, FeatureQueryError, load
from credit_assets.explanations.texts import Draft, reason_texts
from credit_assets.features.contract import FeatureError, check_encodings, feature_contracts, training_set_contract
from credit_assets.features.guard import LeakageError, check_inputs, made_from
from credit_assets.features.totality import failures
from credit_assets.models.model import UnknownKind, estimator
from credit_assets.onboarding.findings import Findings, sentence
from credit_assets.settings.portfolio import Portfolio

NARROWING_S = 5.0
"""Seconds to search for a small example of rows on which features fail."""

REMEDY = "Guard the expression (nullif for a divisor, a wider type), or narrow the column's contract"


def check_features(findings: Findings, book: Book, schemas: Mapping[str, Mapping[str, str]]) -> int:
    """Check the SQL files, and the settings that name features; return the number of features."""
    portfolio = book.portfolio
    queries = _bind(findings, book, _parse(findings, schemas))
    if "features" not in queries:
        return 0
    query = queries["features"]
    try:
        direct = lineage(queries, schemas)
        roots = raw_lineage(direct)["features"]
    except FeatureQueryError as error:
        findings.add_error(findings.sql / error.file, error.line or 1, error.reason)
        return 0
    left_out = made_from({feature: roots[feature] for feature in query.descriptions}, portfolio.left_out)
    learned = [feature for feature in query.descriptions if feature not in left_out]
    for feature, reason in _refused_features(portfolio, learned, roots):
        findings.add_error(*_line_of_feature(findings, queries, feature), f"feature {feature} {reason}. Remove it")
    model = feature_contracts(queries, book.contracts, portfolio.entity_key)["features"]
    try:
        training_set_contract(query, model, portfolio.entity_key, left_out)
    except FeatureError as error:
        findings.add_setting(["left_out"], str(error))
    values = raw_lineage(lineage(queries, schemas, of_rows=False))["features"]
    texts = reason_texts(queries, values, roots)
    for name, why in texts.drafts_of(learned).items():
        _report_draft(findings, queries, name, why)
    findings.withheld = portfolio.reasons.unconfirmed == "block"
    try:
        estimator(portfolio.training.model)
    except UnknownKind as error:
        findings.add_setting(["training", "model"], str(error))
    for feature in portfolio.training.encodings:
        try:
            check_encodings(model, [feature])
        except FeatureError as error:
            findings.add_setting(["training", "encodings", feature], str(error))
    if not any(finding.error for finding in findings.found):
        _check_totality(findings, book, queries, direct)
    return len(query.descriptions)


def _check_totality(findings: Findings, book: Book, queries: Mapping[str, FeatureQuery], direct: Lineage) -> None:
    """Report features that fail, or are not a finite number, for rows that the contracts allow."""
    table, key = book.portfolio.application_table, book.portfolio.entity_key
    for failure in failures(queries, book.contracts, table, key, direct, NARROWING_S):
        if failure.feature is None:
            findings.add_error(findings.sql / f"{failure.query}.sql", 1, f"{failure.reason}{_for_row(failure.values)}")
        else:
            message = f"feature {failure.feature} {failure.reason}{_for_row(failure.values)}. {REMEDY}"
            findings.add_error(
                *_line_of_feature(findings, {failure.query: queries[failure.query]}, failure.feature), message
            )


def _parse(findings: Findings, tables: Collection[str]) -> dict[str, FeatureQuery]:
    """The queries that can be parsed. An invalid comment on a column is reported and replaced; a file with
    another error is reported and left out, with the files that read it."""
    if not (findings.sql / "features.sql").is_file():
        message = "the file does not exist. Write the features in it, as one SELECT"
        findings.add_error(findings.sql / "features.sql", 1, message)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for file in findings.sql.glob("*.sql"):
            shutil.copy(file, folder)
        repaired: set[tuple[str, int]] = set()
        while any(folder.glob("*.sql")):
            try:
                return load(folder, tables)
            except FeatureQueryError as error:
                copy, line = folder / error.file, error.line or 1
                findings.add_error(findings.sql / copy.name, line, error.reason)
                if isinstance(error, FeatureCommentError) and (copy.name, line) not in repaired:
                    repaired.add((copy.name, line))
                    lines = copy.read_text(encoding="utf-8").splitlines()
                    lines[line - 1] = re.sub(r"\s*--.*$", "", lines[line - 1]) + f" -- {copy.name} {line}"
                    copy.write_text("\n".join(lines), encoding="utf-8")
                else:
                    _remove_with_readers(folder, copy.stem)
    return {}


def _bind(findings: Findings, book: Book, queries: Mapping[str, FeatureQuery]) -> dict[str, FeatureQuery]:
    """The queries that DuckDB can bind to the raw tables, each after those that it reads; errors are reported."""
    good: dict[str, FeatureQuery] = {}
    for name, query in queries.items():
        if any(table in queries and table not in good for table in query.inputs):
            continue
        if query.key != book.portfolio.entity_key:
            message = f"the first column is {query.key}. Begin with the entity key, {book.portfolio.entity_key}"
            findings.add_error(findings.sql / f"{name}.sql", 1, message)
            continue
        unknown = list(_unknown_columns(query, book, good))
        for line, message in unknown:
            findings.add_error(findings.sql / f"{name}.sql", line, message)
        if unknown:
            continue
        try:
            feature_contracts(_with_sources({**good, name: query}, name), book.contracts, book.portfolio.entity_key)
            good[name] = query
        except FeatureError as error:
            if error.column in query.descriptions:
                findings.add_error(*_line_of_feature(findings, {name: query}, error.column), error.reason)
            else:
                # DuckDB quotes the line below its message.
                findings.add_error(findings.sql / f"{name}.sql", error.line or 1, error.reason.split("\n\n")[0])
    return good


def _refused_features(
    portfolio: Portfolio, features: list[str], roots: Mapping[str, Collection[tuple[str, str]]]
) -> Iterator[tuple[str, str]]:
    """The features that the guard before training will refuse because of their raw columns, each with the reason."""
    nothing = pd.DataFrame(0.0, index=range(8), columns=[*features, "target"]).assign(target=np.arange(8) % 2)
    try:
        check_inputs(
            nothing,
            target="target",
            features=features,
            roots={feature: [f"{table}.{column}" for table, column in roots[feature]] for feature in features},
            target_columns=[portfolio.target.column],
            protected=portfolio.protected_columns,
            post_decision=portfolio.post_decision,
            max_single_auc=1,
        )
    except LeakageError as error:
        for finding in error.findings:
            yield finding.feature, finding.reason


def _report_draft(findings: Findings, queries: Mapping[str, FeatureQuery], name: str, why: Draft) -> None:
    """Report a draft text: that of a feature, or of a file for applicants without a row in it. The mark on its line is
    not reported as a guess again."""
    lines = (findings.sql / f"{name}.sql").read_text(encoding="utf-8").splitlines() if name in queries else []
    line = next((n for n, text in enumerate(lines, start=1) if NO_ROW in text.lower()), 0)
    # A feature may have the same name as a file.
    if line:
        file, of = findings.sql / f"{name}.sql", f"the message of {name} for an applicant without a row"
    else:
        (file, line), of = _line_of_feature(findings, queries, name), f"the text of {name}"
    place = (findings.place(file), line)
    findings.found = [f for f in findings.found if f.error or (f.file, f.line) != place]
    unmark = ", then delete its mark" if why.guess else ""
    message = f"{of} {why}. Write what a declined applicant can read{unmark}"
    findings.add(file, line, sentence(message), error=False, draft=True)


def _line_of_feature(findings: Findings, queries: Mapping[str, FeatureQuery], feature: str) -> tuple[Path, int]:
    """File and line of a feature."""
    name = next(name for name, query in queries.items() if feature in query.lines)
    return findings.sql / f"{name}.sql", queries[name].lines[feature]


def _for_row(values: str) -> str:
    """The end of a message about a failure on a row."""
    return f", for a row that the contracts allow: {values}" if values else ""


def _remove_with_readers(folder: Path, name: str) -> None:
    """Remove a SQL file and those that read it."""
    (folder / f"{name}.sql").unlink(missing_ok=True)
    for file in sorted(folder.glob("*.sql")):
        if re.search(rf"\b{re.escape(name)}\b", file.read_text(encoding="utf-8")) and file.exists():
            _remove_with_readers(folder, file.stem)


def _with_sources(queries: Mapping[str, FeatureQuery], name: str) -> dict[str, FeatureQuery]:
    """The query and those that it reads, in order."""
    wanted, left = {name}, [name]
    while left:
        left = [table for query in left for table in queries[query].inputs if table in queries and table not in wanted]
        wanted |= set(left)
    return {other: query for other, query in queries.items() if other in wanted}


def _unknown_columns(query: FeatureQuery, book: Book, others: Mapping[str, FeatureQuery]) -> Iterator[tuple[int, str]]:
    """All columns that a table does not have, each with its line; DuckDB reports only the first. A column named without
    its table is checked only if one table is read."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    for scope in traverse_scope(sqlglot.parse_one(query.sql, dialect="duckdb")):
        tables = {name: table.name for name, table in scope.sources.items() if isinstance(table, exp.Table)}
        read = list(scope.selected_sources)
        alone = read[0] if len(read) == 1 and not scope.is_correlated_subquery else ""
        for column in scope.columns:
            table = tables.get(column.table or alone)
            if table is None or (not column.table and column.name in _aliases(scope.expression)):
                continue
            known = others[table].columns if table in others else book.contracts[table].to_schema().columns
            if column.name.lower() not in {str(name).lower() for name in known}:
                yield int(column.this.meta.get("line", 1)), f"table {table} has no column {column.name}"


def _aliases(select: Any) -> set[str]:
    """Names that a SELECT defines, and may use itself."""
    return {projection.alias for projection in select.expressions if projection.alias}

"""Contracts in SQL: a Pandera model compiled to DuckDB types and row predicates, and checked in DuckDB.

Rows are checked as Pandera would check them; `ingest/typed_read.py` reads files and quarantines bad rows.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import duckdb
import pandera.pandas as pa

from credit_assets.lake.connections import connect
from credit_assets.lake.sql import identifier, sql_text, table_expression
from credit_assets.plurals import number_of
from credit_assets.schemas.duckdb_types import FLOATS, NUMBERS, column_types
from credit_assets.schemas.table import Relation, Table

EXAMPLES = 3
EXAMPLE_LENGTH = 40
LISTED = 10
MOST_BITS = 2**29
"""The largest bitmap, in bits, by which a key is compared: 64 MB in each thread."""
BITS_PER_ROW = 256
WITHOUT_VALUES = "without_values"
"""Metadata key of failures and checks stored by earlier releases with values of rows: the message without them."""

WRITTEN = "written"
"""Metadata key of a column with a pattern: describes its values, to follow "must be"."""


@dataclass(frozen=True)
class Rule:
    """What a column's value must satisfy: as `text`, and as SQL that is TRUE for a good row and FALSE for a bad one."""

    column: str
    text: str
    good: str


@dataclass(frozen=True)
class Violation:
    """A broken rule: the column (or `A, B` for a key), the rule, the number of rows, and a few shortened values."""

    column: str
    check: str
    count: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        seen = f", such as {', '.join(repr(value) for value in self.examples)}" if self.examples else ""
        return f"{self.column}: {self.check} ({number_of(self.count, 'row')}{seen})"

    @property
    def without_values(self) -> str:
        """The message without values, which may be stored and sent."""
        return str(replace(self, examples=()))


def keys(model: type[Table]) -> list[tuple[str, ...]]:
    """The column sets whose values identify a row: `unique` in `Config`, and each `unique=True` column."""
    schema = model.to_schema()
    together = [schema.unique] if isinstance(schema.unique, str) else list(schema.unique or [])
    singles = [(name,) for name, column in schema.columns.items() if column.unique]
    found = ([tuple(together)] if together else []) + singles
    return list(dict.fromkeys(found))


def rules(model: type[Table]) -> list[Rule]:
    """The rules that a single row must satisfy, as SQL over its columns.

    Nulls (including NaN, as in Pandera) break only the rule that a column may not be null. Raises TypeError for a check
    without a counterpart here, so that no check is ever skipped.
    """
    schema = model.to_schema()
    for what in ("checks", "parsers", "index"):
        if getattr(schema, what, None):
            raise TypeError(f"{model.__name__}: {what} of the whole table have no counterpart in SQL")
    types = column_types(model)
    compiled = []
    for name, column in schema.columns.items():
        where = f"{model.__name__}.{name}"
        if column.parsers:
            raise TypeError(f"{where}: parsers have no counterpart in SQL")
        null = _null(name, types[name])
        if not column.nullable and column.required:
            compiled.append(Rule(name, "must not be empty", f"(NOT {null})"))
        for check in column.checks:
            if check.groupby or check.raise_warning or check.element_wise:
                raise TypeError(
                    f"{where}: check {check.name} groups, warns or works by element, which has no counterpart in SQL"
                )
            text, predicate = _predicate(check, identifier(name), types[name], where)
            if check.name == "str_matches" and (written := (column.metadata or {}).get(WRITTEN)):
                text = f"must be {written}"
            if check.ignore_na:
                compiled.append(Rule(name, text, f"({null} OR {predicate})"))
            else:
                compiled.append(Rule(name, text, f"(NOT {null} AND {predicate})"))
    return compiled


def relation_rules(model: type[Table], parents: Mapping[str, str], enforced: bool = True) -> list[Rule]:
    """The rule of each (not) enforced relation whose parent is given; an empty foreign key is no orphan."""
    return [
        Rule(
            relation.column,
            f"must occur in {relation.parent}.{relation.parent_column}",
            _has_parent(relation, parents[relation.parent]),
        )
        for relation in model.relations
        if relation.enforced == enforced and relation.parent in parents
    ]


def faults(checked: Sequence[Rule]) -> str:
    """SQL: the list of rules that a row violates, as `{column, value, rule}`; empty for a good row."""
    if not checked:
        return f"CAST([] AS {FAULTS_TYPE})"
    structs = [fault(rule.column, f"CAST({identifier(rule.column)} AS VARCHAR)", rule.text) for rule in checked]
    broken = ", ".join(f"CASE WHEN NOT {rule.good} THEN {it} END" for rule, it in zip(checked, structs, strict=True))
    good = " AND ".join(rule.good for rule in checked)
    return f"CASE WHEN {good} THEN [] ELSE list_filter([{broken}], lambda f: f IS NOT NULL) END"


FAULTS_TYPE = 'STRUCT("column" VARCHAR, "value" VARCHAR, "rule" VARCHAR)[]'


def fault(column: str, value: str, rule: str) -> str:
    """SQL: a struct that describes one fault; `value` is SQL, the others plain text."""
    return f"{{'column': {sql_text(column)}, 'value': {value}, 'rule': {sql_text(rule)}}}"


def check(
    con: duckdb.DuckDBPyConnection, source: str, model: type[Table], parents: Mapping[str, str]
) -> list[Violation]:
    """The rules of the model's contract that the source's rows violate; empty if there are none.

    `source` is a SELECT or the name of a view, `parents` the same for the tables that enforced relations refer to (a
    relation whose parent is not given is not checked). All row rules and relations take one pass, each key another;
    broken rules are counted in a further one.
    If columns are missing, additional or of another type, only these are reported, since rows cannot be checked then.
    """
    columns = check_columns(con, source, model)
    if columns:
        return columns
    rows = table_expression(source)
    checked = rules(model) + relation_rules(model, parents)
    violations = _broken_rules(con, rows, checked)
    for key in keys(model):
        if unique_by_bitmap(con, rows, key, column_types(model)):
            continue
        names = ", ".join(identifier(name) for name in key)
        shown = f"concat_ws(', ', {', '.join(f'CAST({identifier(name)} AS VARCHAR)' for name in key)})"
        count, examples = con.execute(
            f"SELECT coalesce(sum(n), 0), min(k, {EXAMPLES}) FROM ("
            f"SELECT {shown} AS k, n FROM "
            f"(SELECT {names}, count(*) AS n FROM {rows} GROUP BY {names} HAVING n > 1))"
        ).fetchall()[0]
        if count:
            violations.append(Violation(", ".join(key), "must be unique", int(count), _shortened(examples)))
    return violations


def unique_by_bitmap(con: duckdb.DuckDBPyConnection, rows: str, key: Sequence[str], types: Mapping[str, str]) -> bool:
    """Whether the rows' keys are unique, as far as a bitmap can show it, in a quarter of the time of GROUP BY: False
    does not mean that they are not.

    A key of whole numbers is the position of its bit: there are as many bits set as rows if all keys differ. This needs
    numbers in a range that is not much larger than the number of rows, as numbers given out in turn have.
    """
    if not all(types[name] in NUMBERS - FLOATS for name in key):
        return False
    columns = [f"CAST({identifier(name)} AS HUGEINT)" for name in key]
    ends = ", ".join(f"min({column}), max({column})" for column in columns)
    count, *found = con.execute(f"SELECT count(*), {ends} FROM {rows}").fetchall()[0]
    if not count or None in found:
        return False
    position, size = "0", 1
    for column, low, high in zip(columns, found[::2], found[1::2], strict=True):
        position, size = f"({position}) * {high - low + 1} + ({column} - ({low}))", size * (high - low + 1)
    if size > min(MOST_BITS, count * BITS_PER_ROW):
        return False
    bits = f"bitstring_agg(CAST({position} AS BIGINT), 0, {size - 1})"
    [(differing,)] = con.execute(f"SELECT bit_count({bits}) FROM {rows}").fetchall()
    return bool(differing == count)


def check_columns(con: duckdb.DuckDBPyConnection, source: str, model: type[Table]) -> list[Violation]:
    """The columns that are missing, of a type other than the model's, or (in a strict model) not in the model."""
    found = {
        name: kind for name, kind, *_ in con.execute(f"DESCRIBE SELECT * FROM {table_expression(source)}").fetchall()
    }
    types = column_types(model)
    violations = []
    for name, kind in types.items():
        if name not in found:
            violations.append(Violation(name, "column is missing", 0))
        elif found[name] != kind and not (kind == "TIMESTAMP" and found[name].startswith("TIMESTAMP_")):
            violations.append(Violation(name, f"column is {found[name]}, the contract requires {kind}", 0))
    if model.to_schema().strict:
        extra = [name for name in found if name not in types]
        violations += [Violation(name, "column is not in the contract", 0) for name in extra]
    return violations


def orphans(
    con: duckdb.DuckDBPyConnection, source: str, model: type[Table], parents: Mapping[str, str]
) -> list[Violation]:
    """The rows without a parent in relations that are not enforced: they are counted and kept."""
    return _broken_rules(con, table_expression(source), relation_rules(model, parents, enforced=False))


def _broken_rules(con: duckdb.DuckDBPyConnection, rows: str, checked: Sequence[Rule]) -> list[Violation]:
    if not checked:
        return []
    # DuckDB decides much of one condition by the statistics of a Parquet file; it computes a count for each rule.
    good = " AND ".join(rule.good for rule in checked)
    if not con.execute(f"SELECT count(*) FROM {rows} WHERE NOT ({good})").fetchall()[0][0]:
        return []
    counts = con.execute(
        f"SELECT {', '.join(f'count(*) FILTER (WHERE NOT {rule.good})' for rule in checked)} FROM {rows}"
    ).fetchall()[0]
    broken = [(rule, count) for rule, count in zip(checked, counts, strict=True) if count]
    if not broken:
        return []
    examples = con.execute(
        "SELECT "
        + ", ".join(
            f"min(CAST({identifier(rule.column)} AS VARCHAR), {EXAMPLES}) FILTER (WHERE NOT {rule.good})"
            for rule, _ in broken
        )
        + f" FROM {rows}"
    ).fetchall()[0]
    return [
        Violation(rule.column, rule.text, count, _shortened(values))
        for (rule, count), values in zip(broken, examples, strict=True)
    ]


def _shortened(values: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(shorten(value) for value in values or ()))


def shorten(value: str) -> str:
    """The value, shortened if it is long: reports describe a fault, they do not copy the data."""
    return value if len(value) <= EXAMPLE_LENGTH else value[:EXAMPLE_LENGTH] + "..."


def _has_parent(relation: Relation, parent: str) -> str:
    column, key = identifier(relation.column), identifier(relation.parent_column)
    return f"({column} IS NULL OR {column} IN (SELECT {key} FROM {table_expression(parent)} WHERE {key} IS NOT NULL))"


def _null(name: str, kind: str) -> str:
    column = identifier(name)
    return f"({column} IS NULL OR isnan({column}))" if kind in FLOATS else f"({column} IS NULL)"


def _predicate(check: pa.Check, column: str, kind: str, where: str) -> tuple[str, str]:
    """The check as text and as SQL over a value that is not null."""
    parameters: dict[str, Any] = check.statistics or {}

    def literal(value: Any) -> str:
        return _literal(value, kind, where)

    def one_of(values: Sequence[Any]) -> str:
        return ", ".join(literal(value) for value in values)

    match check.name:
        case "isin" if parameters["allowed_values"]:
            values = list(parameters["allowed_values"])
            return f"must be one of {_listed(values)}", f"{column} IN ({one_of(values)})"
        case "notin" if parameters["forbidden_values"]:
            values = list(parameters["forbidden_values"])
            return f"must be none of {_listed(values)}", f"{column} NOT IN ({one_of(values)})"
        case "equal_to":
            return f"must be {parameters['value']}", f"{column} = {literal(parameters['value'])}"
        case "not_equal_to":
            return f"must not be {parameters['value']}", f"{column} <> {literal(parameters['value'])}"
        case "greater_than":
            return f"must be above {parameters['min_value']}", f"{column} > {literal(parameters['min_value'])}"
        case "greater_than_or_equal_to":
            return f"must be at least {parameters['min_value']}", f"{column} >= {literal(parameters['min_value'])}"
        case "less_than":
            return f"must be below {parameters['max_value']}", f"{column} < {literal(parameters['max_value'])}"
        case "less_than_or_equal_to":
            return f"must be at most {parameters['max_value']}", f"{column} <= {literal(parameters['max_value'])}"
        case "in_range":
            low, high = parameters["min_value"], parameters["max_value"]
            lower, upper = (">=" if parameters["include_min"] else ">"), ("<=" if parameters["include_max"] else "<")
            return (
                f"must be {lower} {low} and {upper} {high}",
                f"({column} {lower} {literal(low)} AND {column} {upper} {literal(high)})",
            )
        case "in_range_or_sentinel":
            low, high, sentinel = parameters["min_value"], parameters["max_value"], parameters["sentinel"]
            return (
                f"must be from {low} to {high}, or {sentinel} for none",
                f"({column} BETWEEN {literal(low)} AND {literal(high)} OR {column} = {literal(sentinel)})",
            )
    if kind == "VARCHAR" and (found := _text_predicate(check.name, parameters, column, where)):
        return found
    raise TypeError(f"{where}: check {check.name} of a {kind} column has no counterpart in SQL")


def _text_predicate(name: str | None, parameters: Mapping[str, Any], column: str, where: str) -> tuple[str, str] | None:
    """The same for a check that applies only to text; None for any other check."""

    def literal(value: Any) -> str:
        return _literal(value, "VARCHAR", where)

    match name:
        case "str_matches" | "str_contains":
            pattern = str(getattr(parameters["pattern"], "pattern", parameters["pattern"]))
            anchored = f"^(?:{pattern})" if name == "str_matches" else pattern
            _test_pattern(anchored, where)
            verb = "match" if name == "str_matches" else "contain"
            return f"must {verb} {shorten(pattern)}", f"regexp_matches({column}, {sql_text(anchored)})"
        case "str_startswith":
            return (
                f"must start with {parameters['string']}",
                f"starts_with({column}, {literal(parameters['string'])})",
            )
        case "str_endswith":
            return (
                f"must end with {parameters['string']}",
                f"ends_with({column}, {literal(parameters['string'])})",
            )
        case "str_length":
            bounds = [
                (f"{phrase} {parameters[bound]}", f"length({column}) {sign} {int(parameters[bound])}")
                for bound, sign, phrase in (
                    ("min_value", ">=", "at least"),
                    ("max_value", "<=", "at most"),
                    ("exact_value", "=", "exactly"),
                )
                if parameters.get(bound) is not None
            ]
            return (
                f"must have {' and '.join(text for text, _ in bounds)} characters",
                "(" + " AND ".join(sql for _, sql in bounds) + ")",
            )
    return None


def _literal(value: Any, kind: str, where: str) -> str:
    """The Python value as SQL of the column's type. Raises TypeError if the two do not match."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool):
        if kind == "BOOLEAN":
            return str(value).upper()
    elif isinstance(value, int) and kind in NUMBERS - FLOATS:
        return str(value)
    elif isinstance(value, int | float) and kind in NUMBERS and value == value:
        return f"CAST('{value!r}' AS {kind if kind in FLOATS else 'DOUBLE'})"
    elif isinstance(value, str) and kind == "VARCHAR":
        return sql_text(value)
    elif isinstance(value, datetime.date) and kind in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DATE"):
        return f"CAST('{value.isoformat()}' AS {kind})"
    raise TypeError(f"{where}: a {kind} column cannot be compared with the value {value!r}")


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:LISTED])
    return shown if len(values) <= LISTED else f"{shown}, ... ({len(values)} in all)"


@cache
def _test_pattern(pattern: str, where: str) -> None:
    try:
        with connect() as con:
            con.execute(f"SELECT regexp_matches('', {sql_text(pattern)})").fetchall()
    except duckdb.Error as error:
        raise TypeError(f"{where}: the pattern {pattern} does not work in DuckDB: {error}") from error

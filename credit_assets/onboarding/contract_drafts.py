"""Drafts configs/NAME.py: a Pandera model for each raw table, with the limits seen in the first files."""

from __future__ import annotations

import json
from typing import Any

from credit_assets.lake.contracts import WRITTEN
from credit_assets.onboarding.applicants import is_identifier
from credit_assets.onboarding.child_tables import Table
from credit_assets.onboarding.files import (
    BOOLEAN,
    EMPTY,
    FRACTION,
    TEXT,
    TIME,
    WHOLE,
    Column,
)
from credit_assets.onboarding.guesses import GuessedBook
from credit_assets.onboarding.wording import (
    LINE_WIDTH,
    is_contract_attribute,
    one_line,
    phrase,
    plain,
    unique_name,
)
from credit_assets.plurals import number_of
from credit_assets.schemas.table import Table as Contract

USED_BY_CONTRACTS = {"pa", "pd", "int", "float", "str", "Relation"}
"""Names that the body of a contract's class uses."""


def draft_contracts(book: GuessedBook, name: str) -> str:
    """The text of configs/NAME.py: a Pandera model for each raw table."""
    tables = [book.applications, *book.children]
    classes: dict[str, str] = {}
    for table in tables:
        camel = "".join(part.capitalize() for part in plain(table.name).split("_"))
        classes[table.name] = unique_name(camel, ("Table", "Tables", "Relation", "pa", "pd", *classes.values()))
    models = [_model(book, table, classes[table.name]) for table in tables]
    related = "Relation, Table" if book.children else "Table"
    pandas = any("pd." in model for model in models)
    listed = "".join(f'    "{table}": {model},\n' for table, model in classes.items())
    return (
        f'"""The contracts of {name}, drafted from its first files. Later rows with other values are refused\n'
        'until these are allowed here. Limits are ten times the largest value, rounded up."""\n\n'
        + ("import pandas as pd\n" if pandas else "")
        + f"import pandera.pandas as pa\n\nfrom credit_assets.schemas.table import {related}\n\n\n"
        + "\n\n".join(models)
        + f"\n\n# Parents before children.\nTABLES = {{\n{listed}}}\n"
    )


def _model(book: GuessedBook, table: Table, name: str) -> str:
    about = one_line(f"{table.files.names}: {number_of(table.files.rows, 'row')}.").replace("\\", "/").replace('"', "'")
    lines = [f"class {name}(Table):", f'    """{about}"""', ""]
    attributes: list[str] = []
    applications = table is book.applications
    if applications and book.numbered:
        attributes.append(book.key)
        lines.append(f'    {book.key}: str = pa.Field(unique=True, description="Batch and row of the application")')
    absent = table.files.absent
    for column in table.columns.values():
        taken = hasattr(Contract, column.name) or column.name in USED_BY_CONTRACTS
        usable = is_contract_attribute(column.name) and not taken
        attribute = unique_name(column.name if usable else f"{plain(column.name)}_", attributes)
        attributes.append(attribute)
        kind, rules = _type_and_rules(book, column, table.name)
        if column.name == table.link:
            kind = _type_of_link(book, table, kind)
        if column.name in absent and not kind.endswith("| None"):
            kind, rules = f"{kind} | None", {**rules, "nullable": True}
        if attribute != column.name:
            rules = {"alias": column.name, **rules}
        rules["description"] = phrase(column.name)
        arguments = ", ".join(f"{rule}={_python(value)}" for rule, value in rules.items())
        line = f"    {attribute}: {kind} = pa.Field({arguments})"
        if len(line) > LINE_WIDTH + 4:
            inside = "".join(f"        {rule}={_python(value, 10)},\n" for rule, value in rules.items())
            line = f"    {attribute}: {kind} = pa.Field(\n{inside}    )"
        lines.append(line)
    if table.parent:
        enforced = ", enforced=False" if table.orphans else ""
        link = _python(table.link)
        lines += ["", f'    relations = (Relation({link}, "{table.parent}", {link}{enforced}),)']
    return "\n".join([*lines, ""])


def _type_and_rules(book: GuessedBook, column: Column, table: str) -> tuple[str, dict[str, Any]]:
    """The column's type as an annotation, and the arguments of its `pa.Field`."""
    applications = table == book.applications.name
    whole_key = column.whole and applications and column.name == book.key
    whole = (column.kind == WHOLE or whole_key) and column.filled == column.rows
    kind = {
        WHOLE: "int" if whole else "float",
        FRACTION: "int" if whole else "float",
        BOOLEAN: "pd.BooleanDtype",
        TIME: "pd.Timestamp",
    }.get(column.declared if column.kind == EMPTY else column.kind, "str")
    if applications and column.name == book.outcome.column:
        found = {WHOLE: "float", FRACTION: "float"}.get(column.kind, kind)
        values = [column.literal(word) for word in column.value_counts or ()]
        return f"{found} | None", {"isin": values, "nullable": True} if column.kind != BOOLEAN else {"nullable": True}
    rules: dict[str, Any] = {}
    if (applications and column.name == book.key) or is_identifier(column):
        return kind, {"unique": True} if column.unique else {"nullable": True} if column.filled < column.rows else {}
    if column.kind in (WHOLE, FRACTION):
        if set(column.value_counts or ()) == {"0", "1"}:
            rules["isin"] = [0, 1]
        elif not column.extremes:
            seen = (column.low or 0, column.high or 0, *column.sentinels)
            limit = 10 ** (len(str(int(max(map(abs, seen))))) + 1)
            rules |= {"ge": 0 if min(seen) >= 0 else -limit, "le": limit}
    elif column.pattern:
        rules["str_matches"] = column.pattern
        rules["metadata"] = {WRITTEN: column.pattern_text}
    # If a value occurs once, others have probably not occurred yet.
    elif (
        column.kind == TEXT
        and not column.formats
        and column.value_counts
        and min(column.value_counts.values()) > 1
        and column.name not in book.personal[table].identifying
    ):
        rules["isin"] = list(column.value_counts)
    if column.filled < column.rows:
        rules["nullable"] = True
    return kind, rules


def _type_of_link(book: GuessedBook, table: Table, kind: str) -> str:
    """The type of the column that refers to the parent table: text or whole numbers, as in the parent."""
    parents = {parent.name: parent for parent in (book.applications, *book.children)}
    referred, column = parents[table.parent or ""].columns[table.link or ""], table.columns[table.link or ""]
    if referred.kind == TEXT:
        return "str"
    return kind if kind == "str" else "int" if column.filled == column.rows else "pd.Int64Dtype"


def _python(value: Any, indent: int = 0) -> str:
    """The value as Python source, over several lines if it is a long list."""
    if isinstance(value, list):
        inside = ", ".join(map(_python, value))
        if indent and len(inside) > LINE_WIDTH - 2 * indent:
            return (
                "[\n" + "".join(f"{' ' * (indent + 2)}{_python(item)},\n" for item in value) + f"{' ' * (indent - 2)}]"
            )
        return f"[{inside}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_python(key)}: {_python(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}" if abs(value) < 10**15 else f"{float(value)!r}"
    return repr(value)

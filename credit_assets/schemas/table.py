"""The base of every table contract: a Pandera model with descriptions, units and relations.

`lake/contracts.py` translates contracts to SQL (types, predicates, quarantine).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera import extensions


@extensions.register_check_method(  # type: ignore[untyped-decorator]
    statistics=["min_value", "max_value", "sentinel"], supported_types=pd.Series
)
def in_range_or_sentinel(values: pd.Series, *, min_value: float, max_value: float, sentinel: float) -> pd.Series:
    """`min_value <= value <= max_value`, or the value is the source's code for "none" (365243)."""
    return values.between(min_value, max_value) | (values == sentinel)


@dataclass(frozen=True)
class Relation:
    """A foreign key of a child table: `column` must occur in `parent_column` of `parent`.

    `enforced=False` is for sources known to deliver orphans: they are counted and kept.
    """

    column: str
    parent: str
    parent_column: str
    enforced: bool = True


class Table(pa.DataFrameModel):
    """A table contract. Subclasses declare columns; the docstring is the table's description.

    A column is `NAME: <dtype> = pa.Field(nullable=..., isin=..., ge=..., le=..., description="...",
    metadata={"unit": "..."})`. With `str_matches`, `metadata={"written": "a date such as 31.05.2019"}` describes
    what a refused value must be. `unique` in `Config` names the key columns; write a plain
    `class Config:`, not one derived from `Table.Config`, or every schema is called "Table" (strict and coerce are
    inherited anyway). `relations` lists the foreign keys, which Pandera does not have.

    Rules are Pandera's built-in checks, so that they can be read (`check.name`, `check.statistics`) and run elsewhere,
    plus one custom check for sources that write a number outside the range to mean "none":
    `in_range_or_sentinel={"min_value": -36525, "max_value": 0, "sentinel": 365243}` passes if
    `min_value <= value <= max_value or value == sentinel`. Like every check it ignores nulls, which `nullable` allows
    or forbids.

    A column typed `... | None` may be absent from a delivered file (`required` is False in the schema); the stored
    table always has it, with nulls if it was absent.
    """

    # Not annotated: Pandera treats every annotated public name as a column, even a ClassVar.
    relations = tuple[Relation, ...]()

    class Config:
        strict = True
        coerce = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        vars(cls).get("__annotations__", {}).pop("relations", None)
        super().__init_subclass__(**kwargs)  # type: ignore[no-untyped-call]

    @classmethod
    def _get_model_attrs(cls) -> dict[str, Any]:
        """The attributes that Pandera reads as columns, without `relations`."""
        return {name: value for name, value in super()._get_model_attrs().items() if name != "relations"}

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """For each column its description, with the unit in brackets if it has one."""
        found: dict[str, str] = {}
        for name, column in cls.to_schema().columns.items():
            unit = unit_of(column.metadata)
            found[name] = (column.description or "") + (f" [{unit}]" if unit else "")
        return found


@cache
def with_text_key(model: type[Table]) -> type[Table]:
    """The contract of the same table in a portfolio whose entity key is text."""
    column = model.to_schema().columns["applicant"]
    body = {
        "__doc__": model.__doc__,
        "__module__": model.__module__,
        "__annotations__": {"applicant": str},
        "applicant": pa.Field(unique=column.unique, description=column.description),
    }
    return type(model.__name__, (model,), body)


def outcomes_of(name: str, applications: type[Table], key: str, target: str) -> type[Table]:
    """The contract of outcomes delivered after the applications (the table `name`), with that table's key and
    target."""
    columns = applications.to_schema().columns
    # A value that the applications do not allow is not allowed here either.
    allowed = next(
        (check.statistics["allowed_values"] for check in columns[target].checks if check.name == "isin"), None
    )
    body = {
        "__doc__": "The outcomes of the loans, delivered once they are known: one row per applicant of the same batch.",
        "__module__": __name__,
        "__annotations__": {"key": columns[key].dtype.type, "outcome": columns[target].dtype.type},
        "key": pa.Field(alias=key, unique=True, description=columns[key].description),
        "outcome": pa.Field(alias=target, nullable=True, isin=allowed, description=columns[target].description),
        "relations": (Relation(key, name, key),),
    }
    return type("Outcomes", (Table,), body)


def unit_of(metadata: dict[str, Any] | None) -> str | None:
    return (metadata or {}).get("unit")

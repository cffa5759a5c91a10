"""The base of contracts: units in descriptions, relations, and ranges with a sentinel."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from credit_assets.schemas.table import Relation, Table


class Child(Table):
    """Children."""

    ID: np.int64 = pa.Field(ge=1, description="Number of the child")
    SINCE: float = pa.Field(
        in_range_or_sentinel={"min_value": -10, "max_value": 0, "sentinel": 99},
        nullable=True,
        description="When it began",
        metadata={"unit": "days"},
    )

    relations = (Relation("ID", "parents", "ID"),)

    class Config:
        unique: ClassVar[list[str]] = ["ID"]


def test_units_follow_the_description() -> None:
    assert Child.descriptions() == {"ID": "Number of the child", "SINCE": "When it began [days]"}


def test_relations_are_not_columns() -> None:
    assert list(Child.to_schema().columns) == ["ID", "SINCE"]
    assert Child.relations == (Relation("ID", "parents", "ID", enforced=True),)
    assert Table.relations == ()


def test_relations_may_be_annotated() -> None:
    class Annotated(Child):
        relations: ClassVar[tuple[Relation, ...]] = ()

    assert Annotated.relations == ()
    assert list(Annotated.to_schema().columns) == ["ID", "SINCE"]


def test_contract_is_strict_never_coerces_and_has_its_own_name() -> None:
    schema = Child.to_schema()

    assert (schema.strict, schema.coerce, schema.name) == (True, False, "Child")


def test_sentinel_and_range_are_allowed_and_nothing_between() -> None:
    values = [-10.0, 0.0, 99.0, np.nan, -10.5, 0.5, 98.0, np.inf]
    frame = pd.DataFrame({"ID": range(1, 9), "SINCE": values})

    with pytest.raises(pa.errors.SchemaErrors) as failure:
        Child.validate(frame, lazy=True)

    assert list(failure.value.failure_cases["failure_case"]) == [-10.5, 0.5, 98.0, np.inf]


def test_sentinel_rule_can_be_read_back() -> None:
    (check,) = Child.to_schema().columns["SINCE"].checks

    assert check.name == "in_range_or_sentinel"
    assert check.statistics == {"min_value": -10, "max_value": 0, "sentinel": 99}

"""The provenance of a commit's rows: the run and code that made them, and the table versions they were made from.

The storage format, text in the commit's metadata, is defined only here; `log.py` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, NonNegativeInt, ValidationError

BATCH = "batch"
"""The partition column of a table, and a field in the metadata of every commit by this platform."""


class InvalidProvenance(ValueError):
    """A commit's metadata are damaged: `table`, `version`, and the fields that cannot be read."""

    def __init__(self, table: str, version: int, fields: list[str]) -> None:
        self.table, self.version, self.fields = table, version, fields
        super().__init__(f"The metadata of version {version} of table {table} cannot be read: {', '.join(fields)}.")


def _from_text(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class Provenance(BaseModel):
    """The provenance of a commit's rows. Fields that the writer did not set are not stored and have their default."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    batch: str | None = None
    """The batch, empty for a table without batches; None if the commit wrote no rows: another program made it, or it
    only merged files."""
    rows: NonNegativeInt = 0
    run_id: str | None = None
    code_version: str | None = None
    """The version of the platform."""
    asset_code_version: str | None = None
    """The version of the asset's own code, such as a feature's SQL."""
    inputs: Annotated[Mapping[str, int], BeforeValidator(_from_text)] = {}
    """For each table that the rows were made from, its version."""
    synthetic: bool = False
    """Whether the rows were made from any synthetic data."""
    source_sha256: Annotated[Mapping[str, str] | None, BeforeValidator(_from_text)] = None
    """For each file that the rows were read from, its SHA-256."""
    model_version: int | None = None
    """The model version that made or checked the rows."""
    champion_version: int | None = None
    """The champion that the rows compare a candidate with, 0 if there was none."""
    withdrawn: str | None = None
    """Why the batch was withdrawn, if the commit withdraws it."""
    withdrawn_file: str | None = None
    """The withdrawn file, if the commit withdraws one of several."""

    @property
    def sources(self) -> Mapping[str, str]:
        """`source_sha256`, or empty if the rows were read from no file."""
        return self.source_sha256 or {}

    def to_metadata(self) -> dict[str, str]:
        """The given fields, in the format that a commit stores."""
        return {name: _to_text(getattr(self, name)) for name in type(self).model_fields if name in self._stored}

    @property
    def _stored(self) -> set[str]:
        return {name for name in self.model_fields_set if getattr(self, name) is not None}

    @classmethod
    def from_metadata(cls, table: str, version: int, metadata: Mapping[str, Any]) -> Provenance:
        """The provenance in a commit's metadata; an empty one if they name no batch.

        Raises InvalidProvenance.
        """
        if BATCH not in metadata:
            return cls()
        try:
            return cls.model_validate(metadata)
        except ValidationError as error:
            raise InvalidProvenance(table, version, sorted({str(each["loc"][0]) for each in error.errors()})) from None


def _to_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else str(value)

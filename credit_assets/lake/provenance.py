"""What a commit says of the rows that it wrote: which run and code made them, and from which versions of which tables.

Here is the one place that knows how it is stored, as text in the commit's metadata; `log.py` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, NonNegativeInt, ValidationError

BATCH = "batch"
"""The partition column of a table, and the field that every commit of ours has."""


class InvalidProvenance(ValueError):
    """A commit's metadata are damaged: `table`, `version`, and the fields that cannot be read."""

    def __init__(self, table: str, version: int, fields: list[str]) -> None:
        self.table, self.version, self.fields = table, version, fields
        super().__init__(f"The metadata of version {version} of table {table} cannot be read: {', '.join(fields)}.")


def _from_text(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class Provenance(BaseModel):
    """The provenance of a commit's rows. A field that its writer did not know is not stored, and has its default."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    batch: str | None = None
    """The batch, empty for a table without batches; None where the commit wrote no rows of its own: another program
    made it, or it only merged files."""
    rows: NonNegativeInt = 0
    run_id: str | None = None
    code_version: str | None = None
    """The version of the platform."""
    asset_code_version: str | None = None
    """The version of the asset's own code: of its SQL, for a feature."""
    inputs: Annotated[Mapping[str, int], BeforeValidator(_from_text)] = {}
    """Table to the version that the rows were made from."""
    synthetic: bool = False
    """Whether generated data are among what the rows were made from."""
    source_sha256: Annotated[Mapping[str, str] | None, BeforeValidator(_from_text)] = None
    """File to the SHA-256 of its content, of the files that the rows were read from."""
    model_version: int | None = None
    """The model version that made, or judged, the rows."""
    withdrawn: str | None = None
    """Why the batch was withdrawn, where the commit withdraws it."""
    withdrawn_file: str | None = None
    """The file that was a mistake, where the commit withdraws one of several."""

    @property
    def sources(self) -> Mapping[str, str]:
        """`source_sha256`, empty where the rows were read from no file."""
        return self.source_sha256 or {}

    def to_metadata(self) -> dict[str, str]:
        """The fields that were given, as a commit stores them."""
        return {name: _to_text(getattr(self, name)) for name in type(self).model_fields if name in self._stored}

    @property
    def _stored(self) -> set[str]:
        return {name for name in self.model_fields_set if getattr(self, name) is not None}

    @classmethod
    def from_metadata(cls, table: str, version: int, metadata: Mapping[str, Any]) -> Provenance:
        """The provenance in a commit's metadata; that of an unknown writer where they name no batch.

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

"""The protected attributes of applicants, in groups: read from the raw application table for the audit alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from credit_assets.fairness.audit import bands_of_years


class ProtectedAttribute(BaseModel):
    """An attribute that is audited and never reaches a model: words as they are, or days before the
    application in bands of years. `not_judged` words are shown and not judged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    kind: Literal["words", "days_before"] = "words"
    bands: Annotated[list[int], Field(description="Years at which a new band begins")] = []
    not_judged: list[str] = []

    @model_validator(mode="after")
    def _bands_where_needed(self) -> ProtectedAttribute:
        if (self.kind == "days_before") != bool(self.bands):
            raise ValueError("bands (in years) go with kind: days_before, and only with it")
        return self


def groups(applications: pd.DataFrame, protected: Mapping[str, ProtectedAttribute]) -> pd.DataFrame:
    """One column an attribute, in the rows' order: the group of each applicant, null where not given."""
    return pd.DataFrame(
        {
            name: bands_of_years(applications[attribute.column], attribute.bands)
            if attribute.kind == "days_before"
            else applications[attribute.column]
            for name, attribute in protected.items()
        },
        index=applications.index,
    )

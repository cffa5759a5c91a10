"""The `reasons:` section of a portfolio."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ReasonsConfig(BaseModel):
    """Whether a person must have written the texts of adverse action reasons."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unconfirmed: Literal["warn", "block"] = Field(
        default="warn",
        description="what happens to scores while a text is a draft (it contains a column's name, or is marked as a "
        "guess): `warn` gives the scores with a warning, `block` withholds them",
    )

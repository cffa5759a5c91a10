"""The `fairness:` section and the protected attributes of a portfolio."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class FairnessConfig(BaseModel):
    """What the audit compares, and what a failure means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_group_size: int = Field(default=100, ge=1, description="applicants below which a group has no verdict")
    min_air: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="adverse impact ratio below which an attribute fails: four fifths",
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="confidence of intervals and significance tests")
    reference: dict[str, str] = Field(
        default={}, description="attribute to its reference group; by default the one with the highest approval rate"
    )
    blocking: tuple[str, ...] = Field(
        default=(), description="attributes whose failure stops a promotion; the others, and intersections, warn"
    )


def _code(value: Any) -> str:
    """A code as text, the same from YAML and from the source: 1, 1.0 and "1" are "1".

    Raises ValueError for true and false, which is how YAML reads yes, no, on and off without quotes.
    """
    if isinstance(value, bool):
        raise ValueError(
            f"{str(value).lower()} is how YAML reads some plain words; quote the code: 'yes', 'no', 'true'"
        )
    return as_text(value)


def as_text(value: Any) -> str:
    """A code as text: whole numbers without a point, booleans as SQL writes them."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # Applies to NumPy's and Python's booleans.
    return str(value).lower() if str(value) in ("True", "False") else str(value)


Code = Annotated[str, BeforeValidator(_code)]


class ProtectedAttribute(BaseModel):
    """An attribute that is audited and never reaches a model: categories (or codes with their meaning), an age in
    years, or a date of birth in days before the application, the last two in bands of years. `not_judged` groups are
    shown without a verdict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str = Field(description="its column in the application table")
    kind: Literal["words", "years", "days_before"] = Field(
        default="words", description="categories, an age in years, or a date of birth in days before the application"
    )
    words: dict[Code, str] = Field(default={}, description="meaning of the source's codes; several may share one")
    bands: list[int] = Field(default=[], description="ages at which a new band begins")
    not_judged: list[Code] = Field(default=[], description="groups that are shown without a verdict")

    @model_validator(mode="after")
    def _bands_where_needed(self) -> ProtectedAttribute:
        if (self.kind == "words") == bool(self.bands):
            raise ValueError("bands (in years) are required for kind: years or days_before, and allowed for no other")
        if mapped := set(self.not_judged) & set(self.words):
            raise ValueError(f"not_judged: {', '.join(sorted(mapped))} is a code; name the group that it belongs to")
        if self.words and self.kind != "words":
            raise ValueError("words are only allowed for kind: words")
        return self

"""The protected attributes of applicants, in groups: read from the raw application table for the audit alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from credit_assets.fairness.audit import bands_of_years, years_before


def _code(value: Any) -> str:
    """A code as text, alike from YAML and from the source: 1, 1.0 and "1" are "1".

    Raises ValueError for true and false, which is how YAML reads yes, no, on and off without quotes.
    """
    if isinstance(value, bool):
        raise ValueError(
            f"{str(value).lower()} is how YAML reads some plain words; quote the code: 'yes', 'no', 'true'"
        )
    return _as_text(value)


def _as_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # NumPy's booleans and Python's alike as SQL writes them.
    return str(value).lower() if str(value) in ("True", "False") else str(value)


Code = Annotated[str, BeforeValidator(_code)]


class ProtectedAttribute(BaseModel):
    """An attribute that is audited and never reaches a model: words (or codes, put into words), an age in years,
    or days before the application, the last two in bands of years. `not_judged` groups are shown and not judged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    kind: Literal["words", "years", "days_before"] = "words"
    words: Annotated[dict[Code, str], Field(description="The source's codes in words; several may share one")] = {}
    bands: Annotated[list[int], Field(description="Years at which a new band begins")] = []
    not_judged: list[Code] = []

    @model_validator(mode="after")
    def _bands_where_needed(self) -> ProtectedAttribute:
        if (self.kind == "words") == bool(self.bands):
            raise ValueError("bands (in years) go with kind: years or days_before, and only with them")
        if mapped := set(self.not_judged) & set(self.words):
            raise ValueError(f"not_judged: {', '.join(sorted(mapped))} is a code; name the word that it is put into")
        if self.words and self.kind != "words":
            raise ValueError("words go with kind: words, and only with it")
        return self

    def groups(self, values: pd.Series) -> pd.Series:
        """The group of each value of the column, null where it is null; ordered where there is an order.

        A code that `words` does not name is a group of its own, shown as it stands in the source, so that
        what the documentation of a source leaves out comes to light.
        """
        if self.kind == "years":
            return bands_of_years(values, self.bands)
        if self.kind == "days_before":
            return bands_of_years(years_before(values), self.bands)
        if not self.words and not pd.api.types.is_numeric_dtype(values):
            return values
        words = {value: self.words.get(_as_text(value), _as_text(value)) for value in values.dropna().unique()}
        others = sorted(set(words.values()) - set(self.words.values()))
        order = pd.CategoricalDtype([*dict.fromkeys(self.words.values()), *others], ordered=True)
        return values.astype(object).map(words).astype(order)


def groups(applications: pd.DataFrame, protected: Mapping[str, ProtectedAttribute]) -> pd.DataFrame:
    """One column an attribute, in the rows' order: the group of each applicant, null where not given."""
    return pd.DataFrame(
        {name: attribute.groups(applications[attribute.column]) for name, attribute in protected.items()},
        index=applications.index,
    )

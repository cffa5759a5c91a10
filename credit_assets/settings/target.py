"""The target of a portfolio: which values of a source mean a default, and which a repaid loan."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Word = int | str


class Target(BaseModel):
    """The column that shows how a loan ended, in the applications and in outcomes that are delivered later: which of
    its values mean a default, and which a repaid loan. With any other value, or none, the outcome is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str = Field(description="the column that shows how a loan ended")
    bad: tuple[Word, ...] = Field(default=(1,), min_length=1, description="values that mean a default")
    good: tuple[Word, ...] = Field(default=(0,), min_length=1, description="values that mean a repaid loan")

    @model_validator(mode="before")
    @classmethod
    def _column_alone(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @field_validator("bad", "good", mode="before")
    @classmethod
    def _words_as_written(cls, given: Any) -> Any:
        if isinstance(given, list | tuple) and any(isinstance(word, bool) for word in given):
            raise ValueError("YAML reads yes, no, true, false, on and off as booleans: put the word in quotes")
        return given

    @model_validator(mode="after")
    def _one_meaning_a_word(self) -> Target:
        if both := set(map(str, self.bad)) & set(map(str, self.good)):
            raise ValueError(f"{', '.join(sorted(both))}: both bad and good")
        return self

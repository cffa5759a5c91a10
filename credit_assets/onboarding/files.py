"""The profile of a lender's files: the tables that they form, and the columns of each.

Files are read in `read_files.py`; what a column may mean in lending is guessed in `guesses.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from credit_assets.ingest.dates import DateStyle
from credit_assets.ingest.file_names import ENDINGS
from credit_assets.onboarding.wording import in_sql

WHOLE, FRACTION, TEXT, BOOLEAN, TIME, EMPTY = "whole", "fraction", "text", "boolean", "time", "empty"

FEW_VALUES = 50
"""Columns with up to this many different values keep all of them, with the number of rows of each."""

NEARLY_ALL = 0.95
"""Share of values that must parse as numbers or dates for the column to be one of these; the rest count as missing."""


class BookError(ValueError):
    """No portfolio can be drafted from the files; the message names the file and what to do."""


@dataclass(frozen=True)
class Column:
    """The profile of a column. `kind` is the type that its contract gets; `declared` is the Parquet file's type, used
    if the column has no value.

    `filled` is the number of rows with a value. `distinct` is exact up to FEW_VALUES and near the number of rows, and
    an estimate between. `length` is the mean length of texts. `value_counts` maps each value to its number of rows,
    most frequent first, if there are few values. `number` is SQL of the value as a number, if it is one; `extremes` is
    the count of numbers that are too large to be real. `low` and `high` exclude `sentinels`: codes for a missing value,
    far from all other numbers, with their numbers of rows. `whole` is true if the numbers are whole and exact.
    `missing` has the texts that occur among numbers or dates and count as missing. `pattern` is a regular expression
    that all texts of numbers or dates match, `pattern_text` describes it. `dates` has the formats of dates, `years` the
    years of the first and the last. `doubts` are sentences about the reading, for a person to confirm.
    """

    name: str
    kind: str
    rows: int
    filled: int
    distinct: int
    length: float
    declared: str = ""
    value_counts: dict[str, int] | None = None
    low: float | None = None
    high: float | None = None
    number: str | None = None
    whole: bool = False
    extremes: int = 0
    missing: tuple[str, ...] = ()
    pattern: str | None = None
    pattern_text: str = ""
    sentinels: dict[int, int] = field(default_factory=dict)
    dates: DateStyle | None = None
    years: tuple[int | None, int | None] = (None, None)
    doubts: tuple[str, ...] = ()

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats of dates in text."""
        return self.dates.formats if self.dates else ()

    @property
    def sql(self) -> str:
        return in_sql(self.name)

    def identity(self, relation: str | None = None) -> str:
        """SQL of the value as text, for joining different files: 5.0 is 5."""
        column = f"{relation}.{self.sql}" if relation else self.sql
        return f"cast({f'cast({column} AS bigint)' if self.kind == FRACTION and self.whole else column} AS varchar)"

    def literal(self, value: str) -> int | str:
        """A value as the contract and the configuration have it: a number, if the column has numbers."""
        return int(float(value)) if self.kind in (WHOLE, FRACTION) else value

    @property
    def unique(self) -> bool:
        return self.filled == self.rows == self.distinct

    @property
    def date(self) -> str | None:
        """SQL of the value as a timestamp; None if it is not a date."""
        return self.date_of(None)

    def date_of(self, relation: str | None) -> str | None:
        """`date`, with the column qualified by the name of a relation."""
        column = f"{relation}.{self.sql}" if relation else self.sql
        if self.kind == TIME:
            return column
        if not self.dates:
            return None
        return self.dates.sql(column if self.kind == TEXT else f"cast({column} as varchar)")


@dataclass(frozen=True)
class Part:
    """One file: SQL of the relation that reads it, the kind it declares for each column (empty for CSV), sentences
    about what was skipped, and patterns of the lines that are not rows."""

    path: Path
    source: str
    kinds: dict[str, str]
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Files:
    """Files with the same columns, profiled as one table; `view` has their rows, those of CSV files as text."""

    parts: tuple[Part, ...]
    view: str
    rows: int
    columns: dict[str, Column]

    @property
    def remarks(self) -> list[str]:
        """Sentences about what was skipped in the files."""
        return [remark for part in self.parts for remark in part.remarks]

    @property
    def absent(self) -> list[str]:
        """The columns that some of the files do not have."""
        return [name for name in self.columns if any(name not in part.kinds for part in self.parts)]

    @property
    def names(self) -> str:
        return ", ".join(part.path.name for part in self.parts)


def stem(path: Path) -> str:
    """The file's name without its ending, as a configuration gives it."""
    return path.name[: -len(next(ending for ending in ENDINGS if path.name.lower().endswith(ending)))]

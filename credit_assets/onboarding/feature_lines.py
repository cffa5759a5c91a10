"""The lines of a drafted SQL file: one per feature, with its description, and comments on what was left out.

Which features are drafted is in `feature_drafts.py` and `child_feature_drafts.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from credit_assets.book.queries import MARK
from credit_assets.features.contract import RESERVED
from credit_assets.onboarding.applicants import is_identifier
from credit_assets.onboarding.child_tables import Table
from credit_assets.onboarding.files import BOOLEAN, EMPTY, Column
from credit_assets.onboarding.guesses import GuessedBook
from credit_assets.onboarding.wording import (
    comment,
    in_sql,
    is_guess,
    one_line,
    phrase,
    plain,
    unique_name,
)
from credit_assets.plurals import are, number_of


@dataclass(frozen=True)
class Feature:
    """A feature's line of SQL. `doubt` is the reason why its description is a guess; `missing` is the message for a
    missing value, and `missing_doubt` the reason why it is a guess; `notes` are further guesses, on the lines above."""

    sql: str
    name: str
    description: str
    family: str = ""
    doubt: str = ""
    notes: tuple[str, ...] = ()
    missing: str = ""
    missing_doubt: str = ""

    def line(self, comma: str) -> str:
        alias = "" if self.sql == self.name else f" as {self.name}"
        if not self.description:
            return f"{self.sql}{alias}{comma}"
        missing = f"; if missing: {self.missing}" if self.missing else ""
        family = f"; family: {self.family}" if self.family else ""
        doubts = "; ".join(filter(None, (self.doubt, self.missing_doubt)))
        doubt = f" -- {MARK}: {doubts}" if doubts else ""
        return f"{self.sql}{alias}{comma} -- {self.description}{missing}{family}{doubt}"


class FeatureNames:
    """Gives features names and descriptions that are unique in the portfolio."""

    def __init__(self, key: str) -> None:
        self.names = [key, *RESERVED]
        self.descriptions: list[str] = []

    def feature(
        self, sql: str, name: str, description: str, column: Column, family: str = "", notes: Sequence[str] = ()
    ) -> Feature:
        """A feature of a column; its description contains the column's name in plain words."""
        made = self.new(sql, name, description, family)
        why = "drafted from the name" if is_guess(column.name) else ""
        doubt = f"{why} {one_line(column.name)}; say what it means" if why else ""
        return replace(made, doubt=doubt, notes=tuple(map(one_line, notes)))

    def new(self, sql: str, name: str, description: str, family: str = "") -> Feature:
        name = plain(name)
        name = unique_name(f"{name}_value" if in_sql(name) != name else name, self.names)
        known = {other.casefold() for other in self.descriptions}
        numbered = (f"{description}, number {n}" for n in range(2, len(known) + 3))
        description = next(text for text in (description, *numbered) if text.casefold() not in known)
        self.names.append(name)
        self.descriptions.append(description)
        return Feature(sql, name, description, family)


def select_file(
    heading: str,
    left: Mapping[str, Sequence[str]],
    key: str,
    made: Sequence[Feature],
    source: Sequence[str],
    before: Sequence[str] = (),
    put_back: Sequence[Feature] = (),
) -> str:
    """The text of a SQL file: comments on what it has and leaves out, the CTEs (`before`), the key, the left-out
    features to `put_back` as comments, the features `made`, and its FROM clause (`source`)."""
    lines = comment("--", heading)
    for why, columns in left.items():
        lines += comment("--", f"Left out, {why}: {', '.join(map(one_line, columns))}.")
    lines += [*before, "select", f"    {key}," if made else f"    {key}"]
    if made and put_back:
        lines += [
            "    -- Left out. To use a column after all, delete the dashes before it and its entry under",
            "    -- `post_decision` in the configuration; if no description follows it, write what it means.",
            *(f"    -- {feature.line(',')}" for feature in put_back),
        ]
    for n, feature in enumerate(made, start=1):
        lines += [f"    -- {note}" for note in feature.notes]
        lines.append(f"    {feature.line(',' if n < len(made) else '')}")
    return "\n".join([*lines, *source, ""])


def personal_comments(book: GuessedBook, table: str) -> list[str]:
    """CONFIRM comments on the columns that are left out because they are personal data."""
    about = book.personal[table]
    persons = ", ".join(f"{one_line(name)} ({what})" for name, what in about.identifying.items())
    homes = ", ".join(map(one_line, about.home))
    proxy = "as a place of residence is a proxy for the people who live there"
    return [
        *([f"-- {MARK}: left out as personal data: {persons}"] if persons else []),
        *([f"-- {MARK}: left out, {proxy}: {homes}"] if homes else []),
    ]


def unread_comments(table: Table, hidden: Collection[str]) -> list[str]:
    """CONFIRM comments on the columns that are left out because their values cannot be read, except `hidden` ones."""
    return [
        f"-- {MARK}: {one_line(f'{column.name} is left out: {doubt}')}"
        for column in table.columns.values()
        if column.name not in hidden and not (column.date or column.number or column.value_counts)
        for doubt in column.doubts
    ]


IDENTIFIER = "values that only identify rows"
"""The reason to leave out an identifier."""


def why_useless(column: Column) -> str | None:
    """Why no feature can be made of the column; None if one can."""
    if column.kind == EMPTY or (column.distinct <= 1 and column.filled == column.rows):
        return "empty or always the same"
    return IDENTIFIER if is_identifier(column) else None


def lower_phrase(column: str) -> str:
    """The column's name in plain words, in lower case."""
    text = phrase(column)
    return text[0].lower() + text[1:]


def value_sql(column: Column) -> str:
    """SQL of the value as a feature; codes for a missing value are null."""
    if column.kind == BOOLEAN:
        return f"{column.sql}::integer"
    if not column.number:
        return column.sql
    match list(column.sentinels):
        case []:
            return column.number
        case [one]:
            return f"nullif({column.number}, {one})"
        case several:
            return f"case when {column.number} not in ({', '.join(map(str, several))}) then {column.number} end"


def notes_on(column: Column) -> list[str]:
    """CONFIRM comments on how the values of the column are read."""
    doubts = [f"{MARK}: {column.name}: {doubt}" for doubt in column.doubts]
    if not column.sentinels:
        return doubts
    codes = " and ".join(f"{value} ({number_of(rows, 'row')})" for value, rows in column.sentinels.items())
    verb = are(len(column.sentinels))
    taken = f'{MARK}: {codes} {verb} taken for "not known"; all others lie from {column.low:g} to {column.high:g}'
    return [*doubts, taken]


def special_value_sql(column: Column) -> str | None:
    """SQL that distinguishes the special values of a number and missing values; None if fewer than two occur."""
    if not column.number or len(column.sentinels) + (column.filled < column.rows) < 2:
        return None
    cases = [f"when {column.number} = {code} then 'code {code}'" for code in column.sentinels]
    if column.filled < column.rows:
        cases.insert(0, f"when {column.number} is null then 'empty'")
    return f"case {' '.join(cases)} else 'number' end"

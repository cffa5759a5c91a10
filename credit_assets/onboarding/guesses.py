"""Guesses what a lender's columns mean.

Each guess has its reason, for a person to confirm. The portfolio's files are drafted from the guesses in `new.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb

from credit_assets.ingest.split_by_date import YEARS
from credit_assets.onboarding import column_names
from credit_assets.onboarding.applicants import applicants_of, find_key, without_duplicates
from credit_assets.onboarding.child_tables import Table, child_tables
from credit_assets.onboarding.files import Files
from credit_assets.onboarding.late_columns import is_late_by_name, late_columns
from credit_assets.onboarding.outcome import Outcome, find_outcome
from credit_assets.onboarding.personal import Personal, personal
from credit_assets.onboarding.protected_columns import Protected, find_protected, protected_attribute
from credit_assets.onboarding.wording import BY_NAME, pattern_index, unique_name
from credit_assets.plurals import number_of

BATCH_PERIOD = "quarter"
"""The period of a batch, if applicants have a date of the decision."""


@dataclass(frozen=True)
class GuessedBook:
    """All guesses about a lender's files.

    If `numbered`, no column identifies an applicant, and `key` is a new column; `decided` is the date of the
    application or decision. `late`, `price` and `unaudited` map columns to the reason: known only after the decision,
    the lender's own price or grade (in any table), protected but without groups to audit. `protected_in` maps the
    protected columns of each child table to their attribute. `outcomes` are files with outcomes alone, `unused` those
    that cannot be joined to an applicant. `batches` is the number of batches in the files. `personal` has the columns
    with personal data, by table.
    """

    applications: Table
    children: tuple[Table, ...]
    key: str
    numbered: bool
    key_why: str
    outcome: Outcome
    bads: int
    goods: int
    protected: dict[str, Protected]
    unaudited: dict[str, str]
    late: dict[str, str]
    price: dict[str, str]
    protected_in: dict[str, dict[str, str]]
    personal: dict[str, Personal]
    decided: str | None
    batches: int
    outcomes: Files | None
    unused: tuple[Files, ...]

    @property
    def remarks(self) -> list[str]:
        """Sentences about what was skipped in the files."""
        found = [self.applications.files, *(child.files for child in self.children), *self.unused]
        return [remark for files in found for remark in files.remarks]

    @property
    def without_features(self) -> tuple[Table, ...]:
        """Tables without drafted features: their rows belong to rows of another child table, not to an applicant."""
        return tuple(child for child in self.children if child.parent != self.applications.name)

    @property
    def withheld(self) -> set[str]:
        """Columns of the applications that no feature may use."""
        protected = {item.column for item in self.protected.values()}
        return {
            self.key,
            self.outcome.column,
            *protected,
            *self.unaudited,
            *self.late,
            *self.personal_columns("applications"),
        }

    def personal_columns(self, table: str) -> set[str]:
        """Columns of a table that no feature may use, because they identify the person or a place of residence."""
        return {*self.personal[table].identifying, *self.personal[table].home}


def guess(
    con: duckdb.DuckDBPyConnection, found: Sequence[Files], key: str | None = None, target: str | None = None
) -> GuessedBook:
    """Guess the book in the files; `key` and `target` are the columns that the user names.

    Raises BookError if no column has the outcome of a loan, or the user's columns cannot be key or target.
    """
    labelled, outcome = find_outcome(found, target)
    others = [other for other in found if other is not labelled]
    files, outcomes, rest = applicants_of(con, labelled, others, outcome.column)
    files, duplicates = without_duplicates(con, files, outcome.column, key)
    key_column, key_why = find_key(files, outcome.column, key)
    key_why += f"; {number_of(duplicates, 'duplicate row')} dropped" if duplicates else ""
    name = key_column or unique_name("application_id", files.columns)
    applications = Table("applications", files)
    children = child_tables(con, applications, rest, key_column) if key_column else ()
    protected, unaudited = find_protected(con, files, {name, outcome.column})
    excluded = {name, outcome.column, *unaudited, *(item.column for item in protected.values())}
    decided = _decided(files, excluded)
    protected_in = {child.name: _protected_in(child, {name, outcome.column, child.link}) for child in children}
    about = {
        table.name: personal(con, table.files, {name, outcome.column, table.link or name, *hidden})
        for table, hidden in ((applications, excluded), *((child, protected_in[child.name]) for child in children))
    }
    excluded |= {*about["applications"].identifying, *about["applications"].home}
    kept = {name, outcome.column, decided, *(child.link for child in children)}
    of_children = [
        column.name
        for child in children
        for column in child.columns.values()
        if column.filled and column.name not in {*kept, *protected_in[child.name]}
    ]
    late = late_columns(con, files, children, outcome, name, excluded, decided, protected_in)
    late |= {column: BY_NAME for column in of_children if column not in late and is_late_by_name(column)}
    counts = files.columns[outcome.column].value_counts or {}
    return GuessedBook(
        applications=applications,
        children=children,
        key=name,
        numbered=key_column is None,
        key_why=key_why,
        outcome=outcome,
        bads=sum(counts[value] for value in outcome.bad),
        goods=sum(counts[value] for value in outcome.good),
        protected=protected,
        unaudited=unaudited,
        late=late,
        price=_price([*files.columns, *of_children], excluded | set(late)),
        protected_in=protected_in,
        personal=about,
        decided=decided,
        batches=_batches(con, files, decided),
        outcomes=outcomes,
        unused=tuple(other for other in rest if other not in [child.files for child in children]),
    )


def _protected_in(child: Table, excluded: Collection[str | None]) -> dict[str, str]:
    """The protected columns of a child table, each with its attribute."""
    columns = [column for column in child.columns.values() if column.name not in excluded]
    return {column.name: attribute for column in columns if (attribute := protected_attribute(column))}


def _price(columns: Sequence[str], skipped: Collection[str]) -> dict[str, str]:
    """The columns with the lender's own price or grade, each with the reason for the guess."""
    return {
        column: BY_NAME
        for column in dict.fromkeys(columns)
        if column not in skipped and pattern_index(column, column_names.PRICE) is not None
    }


def _decided(files: Files, excluded: set[str]) -> str | None:
    """The column that is named like a date of the application or decision; never null, so that deliveries can be split
    by it."""
    places = {
        column.name: place
        for column in files.columns.values()
        if column.date and column.filled == column.rows and column.name not in excluded and not column.missing
        if YEARS[0] <= (column.years[0] or 0) <= (column.years[1] or 0) <= YEARS[1]
        if (place := pattern_index(column.name, column_names.DECISION)) is not None
    }
    return min(places, key=lambda name: places[name], default=None)


def _batches(con: duckdb.DuckDBPyConnection, files: Files, decided: str | None) -> int:
    """The number of batches in the files: by the date of the decision, else one for each file."""
    if decided is None:
        return len(files.parts)
    period = f"date_trunc('{BATCH_PERIOD}', {files.columns[decided].date})"
    return int(con.execute(f"SELECT count(DISTINCT {period}) FROM {files.view}").fetchall()[0][0])

"""Drafts sql/NAME/*.sql: the features of the applications, joined to those of the child tables.

A guess that a person must confirm has a comment with `CONFIRM: why` on its line.
"""

from __future__ import annotations

from dataclasses import replace

from credit_assets.book.queries import MARK
from credit_assets.onboarding import column_names
from credit_assets.onboarding.child_feature_drafts import child_features, child_file
from credit_assets.onboarding.feature_lines import (
    IDENTIFIER,
    Feature,
    FeatureNames,
    lower_phrase,
    notes_on,
    personal_comments,
    select_file,
    special_value_sql,
    unread_comments,
    value_sql,
    why_useless,
)
from credit_assets.onboarding.files import BOOLEAN, BookError, Column
from credit_assets.onboarding.guesses import GuessedBook
from credit_assets.onboarding.missing_texts import missing_text
from credit_assets.onboarding.personal import Personal
from credit_assets.onboarding.wording import (
    in_sql,
    one_line,
    pattern_index,
    phrase,
)

CALENDAR = "the period of the application"
UNDATED = "dates without an application date to count from"
"""Reasons for leaving a column out, which are guesses."""


def draft_features(book: GuessedBook) -> dict[str, str]:
    """The texts of sql/NAME/*.sql, by stem.

    Raises BookError if no column is left to make a feature of.
    """
    names = FeatureNames(book.key)
    applications, left, put_back = _application_features(book, names)
    own = [(child, child_features(book, child, names)) for child in book.children if child not in book.without_features]
    if not applications and not own:
        raise BookError(
            "Every column is a key, an outcome, protected or known only later: no column is left to learn from."
        )
    key = in_sql(book.key)
    first = "features" if not own else "application_features"
    heading = f"What is known about an applicant at the application, from {book.applications.files.names}."
    doubts = [
        f"-- {MARK}: left out, {why}: {', '.join(map(one_line, left[why]))}"
        for why in (IDENTIFIER, CALENDAR)
        if why in left
    ]
    if UNDATED in left:
        dates = ", ".join(map(one_line, left[UNDATED]))
        doubts.append(f"-- {MARK}: left out, {UNDATED}: {dates}; which of them is the date of the application, if any?")
    source = [
        *doubts,
        *unread_comments(book.applications, book.withheld),
        *personal_comments(book, book.applications.name),
    ]
    files = {first: select_file(heading, left, key, applications, [*source, "from applications"], put_back=put_back)}
    for child, made in own:
        files[f"{child.name}_features"] = child_file(book, child, made)
    if own:
        joined = [f"{child.name}_features" for child, _ in own]
        stars = ",\n".join(f"    {table}.* exclude ({key})" for table in joined)
        joins = "\n".join(f"left join {table} using ({key})" for table in joined)
        files["features"] = (
            "-- All features, one row per applicant; those of a table are null for an applicant without rows in it.\n"
            f"select\n    application_features.*,\n{stars}\nfrom application_features\n{joins}\n"
        )
    return files


def _application_features(
    book: GuessedBook, names: FeatureNames
) -> tuple[list[Feature], dict[str, list[str]], list[Feature]]:
    """The features; the columns left out, by reason; and features of these that a person may put back."""
    made: list[Feature] = []
    left: dict[str, list[str]] = {}
    candidates: list[Column] = []
    decided = book.applications.columns[book.decided].date if book.decided else None
    about = book.personal[book.applications.name]
    forbidden = dict.fromkeys(book.withheld, "protected") | dict.fromkeys(about.identifying, "personal data")
    doubtful = dict.fromkeys(about.home, "a place of residence") | dict.fromkeys(
        book.late, "known only after the decision"
    )
    for column in book.applications.columns.values():
        if column.name in (book.key, book.outcome.column):
            continue
        why = doubtful.get(column.name) or forbidden.get(column.name) or why_useless(column) or _calendar(column)
        if why:
            left.setdefault(why, []).append(column.name)
            if (column.filled and column.name not in forbidden) or column.name in doubtful:
                candidates.append(column)
        elif column.name == book.decided:
            left.setdefault("the date from which the others are counted", []).append(column.name)
        elif column.date and not decided:
            left.setdefault(UNDATED, []).append(column.name)
        elif column.doubts and not (column.date or column.number or column.value_counts or column.kind == BOOLEAN):
            left.setdefault("values that cannot be read, as the CONFIRM lines state", []).append(column.name)
        elif not (made_of := _features_of(column, names, decided, about)):
            left.setdefault("many different values (training.encodings can encode them)", []).append(column.name)
            candidates.append(column)
        else:
            made += made_of
    back = [
        feature
        for column in candidates
        if column.distinct > 1 and not (column.date and not decided)
        for feature in _features_of(column, names, decided, about, any_text=True)[:1]
        if "\n" not in feature.sql and "\r" not in feature.sql
    ]
    # A mark in a comment would count for the next feature. A column without a description is refused when put back.
    back = [replace(feature, missing="", missing_doubt="") for feature in back]
    return made, left, [replace(feature, description="" if feature.doubt else feature.description) for feature in back]


def _features_of(
    column: Column, names: FeatureNames, decided: str | None, about: Personal, any_text: bool = False
) -> list[Feature]:
    """The features of a column of the applications; none for a text with many different values, except with
    `any_text`."""
    description = phrase(column.name)
    if column.date:
        days = f"date_diff('day', {column.date}, {decided})"
        since = f"Days since {lower_phrase(column.name)}"
        return [
            _with_missing(
                names.feature(days, f"days_since_{column.name}", since, column, notes=notes_on(column)), column
            )
        ]
    if column.number or column.kind == BOOLEAN or column.value_counts:
        notes = notes_on(column)
        if column.name in about.region:
            guess = "may be a proxy for the people who live there; leave it out, or keep it"
            notes.append(f"{MARK}: {one_line(column.name)} {guess}")
        if pattern_index(column.name, (column_names.HISTORY,)) is not None:
            guess = "is taken for history before the application, which does not include this loan"
            notes.append(f"{MARK}: {one_line(column.name)} {guess}")
        kinds = special_value_sql(column)
        family = description if kinds else ""
        made = [
            _with_missing(names.feature(value_sql(column), column.name, description, column, family, notes), column)
        ]
        if kinds:
            codes = ", ".join(map(str, column.sentinels))
            kind = names.feature(
                kinds, f"{column.name}_kind", f"{description}: number or special value", column, family
            )
            made.append(replace(kind, doubt=f"say what {codes} mean{'' if len(column.sentinels) > 1 else 's'}"))
        return made
    if column.name in about.free_texts:
        note = f"{MARK}: {one_line(column.name)} is free text, which may name persons; only its length is used"
        length = f"length({column.sql})"
        about_length = f"Length of {lower_phrase(column.name)}"
        return [names.feature(length, f"{column.name}_length", about_length, column, notes=[note])]
    return [names.feature(column.sql, column.name, description, column)] if any_text else []


def _with_missing(feature: Feature, column: Column) -> Feature:
    missing, doubt = missing_text(column)
    return replace(feature, missing=one_line(missing), missing_doubt=one_line(doubt))


def _calendar(column: Column) -> str | None:
    """The reason to leave out a column with the year or month of the application, which no later applicant shares."""
    return CALENDAR if pattern_index(column.name, (column_names.CALENDAR,)) == 0 else None

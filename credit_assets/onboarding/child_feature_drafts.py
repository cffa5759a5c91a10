"""Drafts the SQL file of a child table: counts, means and last values of an applicant's rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from credit_assets.book.queries import MARK
from credit_assets.onboarding.child_tables import Table
from credit_assets.onboarding.feature_lines import (
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
from credit_assets.onboarding.files import WHOLE
from credit_assets.onboarding.guesses import GuessedBook
from credit_assets.onboarding.wording import (
    in_sql,
    one_line,
    parts,
    phrase,
)


def child_features(book: GuessedBook, child: Table, names: FeatureNames) -> list[Feature]:
    """The features of an applicant's rows in the table: their number, and mean, largest and last values."""
    hidden = {*book.withheld, *book.protected_in[child.name], *book.personal_columns(child.name)}
    order = _order(child, hidden)
    name = child.name.replace("_", " ")
    made = [names.new("count(*)", f"{child.name}_rows", f"Number of rows in {name}")]
    for column in child.columns.values():
        if column.name in {child.link, *hidden} or why_useless(column) or column.date:
            continue
        value, about = value_sql(column), f"{lower_phrase(column.name)} in {name}"
        family, notes, prefix = f"{phrase(column.name)} in {name}", notes_on(column), f"{child.name}_{column.name}"
        drafts = []
        if column.number:
            drafts = [("mean", f"favg({value})", f"Average {about}"), ("max", f"max({value})", f"Largest {about}")]
            if special_value_sql(column):
                drafts += [
                    (
                        f"code_{abs(code)}",
                        f"count(*) filter ({column.number} = {code})",
                        f"Rows with {code} for {about}",
                    )
                    for code in column.sentinels
                ]
        elif column.value_counts:
            drafts = [("kinds", f"count(distinct {value})", f"Number of different values of {about}")]
        if order and order != column.sql and drafts:
            # Of several rows with the last date, the greatest value counts, so that their order does not matter.
            drafts.append(("last", f"arg_max({value}, ({order}, {value}))", f"Last known {about}"))
        for suffix, sql, description in drafts:
            made.append(names.feature(sql, f"{prefix}_{suffix}", description, column, family, notes))
            notes = []
    return made


def _order(child: Table, hidden: Collection[str]) -> str | None:
    """SQL that orders the rows in time: a date, or days or months before the application; None if no column does."""
    columns = [column for column in child.columns.values() if column.name not in hidden]
    for column in columns:
        if column.date and column.filled == column.rows:
            return column.date
    for column in columns:
        counted = {"day", "days", "month", "months"} & set(parts(column.name))
        if counted and column.kind == WHOLE and column.filled == column.rows and (column.high or 0) <= 0:
            return column.sql
    return None


def child_file(book: GuessedBook, child: Table, made: Sequence[Feature]) -> str:
    """The text of the child table's SQL file, which excludes rows with a date after the decision."""
    key, table = in_sql(book.key), in_sql(child.name)
    heading = f"Features from {child.files.names}: one row for each applicant with rows there."
    no_row = f"-- if no row: no record in {child.name.replace('_', ' ')} -- {MARK}: drafted from the table's name"
    protected = book.protected_in[child.name]
    marked = [
        f"-- {MARK}: {one_line(column)} looks protected ({attribute.replace('_', ' ')}) and is left out"
        for column, attribute in protected.items()
    ]
    marked += [*unread_comments(child, {*book.withheld, *protected}), *personal_comments(book, child.name)]
    # Columns that select rows count as sources of the features, so no withheld column may select them.
    hidden = {*book.withheld, *protected, *book.personal_columns(child.name)}
    dated = [column for column in child.columns.values() if column.date and column.name not in hidden]
    if not dated or not book.decided:
        doubt = f"-- {MARK}: every row of {child.name} was known when the applicant applied; no dates confirm it"
        return select_file(heading, {}, key, made, [*marked, doubt, f"from {table}", f"group by {key}"], [no_row])
    decided = book.applications.columns[book.decided].date_of("applications")
    names = ", ".join(one_line(column.name) for column in dated)
    earlier = "\n      and ".join(
        f"{column.date_of(table)} <= {decided}"
        if column.filled == column.rows
        else f"coalesce({column.date_of(table)} <= {decided}, true)"
        for column in dated
    )
    known = [
        no_row,
        "with known as (",
        f"    -- {MARK}: a row was known at the application if none of its dates ({names}) is later",
        f"    select {table}.*",
        f"    from {table} join applications on {table}.{key} = applications.{key}",
        f"    where {earlier}",
        ")",
        "",
    ]
    return select_file(heading, {}, key, made, [*marked, "from known", f"group by {key}"], known)

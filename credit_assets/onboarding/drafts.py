"""The first draft of a portfolio as text: contracts, feature SQL and configuration, made of what was guessed.

A guess that a person must confirm stands on a line with `CONFIRM: why`.
"""

from __future__ import annotations

import glob
import json
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from credit_assets.book.queries import MARK
from credit_assets.features.contract import RESERVED
from credit_assets.ingest.dates import EXCEL
from credit_assets.lake.contracts import WRITTEN
from credit_assets.onboarding import column_names
from credit_assets.onboarding.book_size import SMALL_BOOK, bad_share, sized
from credit_assets.onboarding.child_tables import Table
from credit_assets.onboarding.file_names import patterns
from credit_assets.onboarding.files import (
    BOOLEAN,
    EMPTY,
    FEW_VALUES,
    FRACTION,
    TEXT,
    TIME,
    WHOLE,
    BookError,
    Column,
    Files,
    stem,
)
from credit_assets.onboarding.guesses import EVERY, GuessedBook
from credit_assets.onboarding.missing_texts import missing_text
from credit_assets.onboarding.personal import Personal
from credit_assets.onboarding.protected_columns import ALWAYS_JUDGED, Protected
from credit_assets.onboarding.wording import distinct, in_python, in_sql, is_guess, parts, phrase, place_of, plain
from credit_assets.plurals import number_of
from credit_assets.schemas.table import Table as Contract

OF_THE_CLASS = {"pa", "pd", "int", "float", "str", "Relation"}
"""What the body of a contract's class refers to."""

NAMES = "names that only tell rows apart"
CALENDAR = "when the application came"
UNDATED = "dates without one of the application to count from"
"""Why a column is left out, by guess."""

WIDTH = 116


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _comment(sign: str, text: str) -> list[str]:
    return [f"{sign} {line}" for line in textwrap.wrap(text, WIDTH - len(sign), break_long_words=False)]


# -- contracts -------------------------------------------------------------------------------------------


def contracts(book: GuessedBook, name: str) -> str:
    """configs/NAME.py: a Pandera model for each raw table."""
    tables = [book.applications, *book.children]
    classes: dict[str, str] = {}
    for table in tables:
        camel = "".join(part.capitalize() for part in plain(table.name).split("_"))
        classes[table.name] = distinct(camel, ("Table", "Tables", "Relation", "pa", "pd", *classes.values()))
    models = [_model(book, table, classes[table.name]) for table in tables]
    related = "Relation, Table" if book.children else "Table"
    pandas = any("pd." in model for model in models)
    listed = "".join(f'    "{table}": {model},\n' for table, model in classes.items())
    return (
        f'"""The contracts of {name}, as its first files were found: what a later delivery has beyond them is refused\n'
        'until it is allowed here. Limits are ten times what was seen, rounded up."""\n\n'
        + ("import pandas as pd\n" if pandas else "")
        + f"import pandera.pandas as pa\n\nfrom credit_assets.schemas.table import {related}\n\n\n"
        + "\n\n".join(models)
        + f"\n\n# Parents before children.\nTABLES = {{\n{listed}}}\n"
    )


def _model(book: GuessedBook, table: Table, name: str) -> str:
    about = (
        _one_line(f"{table.files.names}: {number_of(table.files.rows, 'row')}.").replace("\\", "/").replace('"', "'")
    )
    lines = [f"class {name}(Table):", f'    """{about}"""', ""]
    attributes: list[str] = []
    applications = table is book.applications
    if applications and book.numbered:
        attributes.append(book.key)
        lines.append(f'    {book.key}: str = pa.Field(unique=True, description="The application, by batch and row")')
    absent = table.files.absent
    for column in table.columns.values():
        usable = in_python(column.name) and not hasattr(Contract, column.name) and column.name not in OF_THE_CLASS
        attribute = distinct(column.name if usable else f"{plain(column.name)}_", attributes)
        attributes.append(attribute)
        kind, rules = _typed(book, column, table.name)
        if column.name == table.link:
            kind = _like_parent(book, table, kind)
        if column.name in absent and not kind.endswith("| None"):
            kind, rules = f"{kind} | None", {**rules, "nullable": True}
        if attribute != column.name:
            rules = {"alias": column.name, **rules}
        rules["description"] = phrase(column.name)
        told = ", ".join(f"{rule}={_python(value)}" for rule, value in rules.items())
        line = f"    {attribute}: {kind} = pa.Field({told})"
        if len(line) > WIDTH + 4:
            inside = "".join(f"        {rule}={_python(value, 10)},\n" for rule, value in rules.items())
            line = f"    {attribute}: {kind} = pa.Field(\n{inside}    )"
        lines.append(line)
    if table.parent:
        enforced = ", enforced=False" if table.orphans else ""
        link = _python(table.link)
        lines += ["", f'    relations = (Relation({link}, "{table.parent}", {link}{enforced}),)']
    return "\n".join([*lines, ""])


def _typed(book: GuessedBook, column: Column, table: str) -> tuple[str, dict[str, Any]]:
    """The column's type as an annotation, and its rules."""
    applications = table == book.applications.name
    named = column.whole and applications and column.name == book.key
    whole = (column.kind == WHOLE or named) and column.filled == column.rows
    kind = {
        WHOLE: "int" if whole else "float",
        FRACTION: "int" if whole else "float",
        BOOLEAN: "pd.BooleanDtype",
        TIME: "pd.Timestamp",
    }.get(column.declared if column.kind == EMPTY else column.kind, "str")
    if applications and column.name == book.outcome.column:
        found = {WHOLE: "float", FRACTION: "float"}.get(column.kind, kind)
        values = [_word(column, word) for word in column.value_counts or ()]
        return f"{found} | None", {"isin": values, "nullable": True} if column.kind != BOOLEAN else {"nullable": True}
    rules: dict[str, Any] = {}
    if (applications and column.name == book.key) or _is_name(column):
        return kind, {"unique": True} if column.unique else {"nullable": True} if column.filled < column.rows else {}
    if column.kind in (WHOLE, FRACTION):
        if set(column.value_counts or ()) == {"0", "1"}:
            rules["isin"] = [0, 1]
        elif not column.extremes:
            seen = (column.low or 0, column.high or 0, *column.sentinels)
            limit = 10 ** (len(str(int(max(map(abs, seen))))) + 1)
            rules |= {"ge": 0 if min(seen) >= 0 else -limit, "le": limit}
    elif column.pattern:
        rules["str_matches"] = column.pattern
        rules["metadata"] = {WRITTEN: column.pattern_text}
    # A word seen once tells that others were not seen at all.
    elif (
        column.kind == TEXT
        and not column.formats
        and column.value_counts
        and min(column.value_counts.values()) > 1
        and column.name not in book.personal[table].about
    ):
        rules["isin"] = list(column.value_counts)
    if column.filled < column.rows:
        rules["nullable"] = True
    return kind, rules


def _like_parent(book: GuessedBook, table: Table, kind: str) -> str:
    """The type of the column that ties the table to its parent: ids that are text or whole there are so here."""
    parents = {parent.name: parent for parent in (book.applications, *book.children)}
    named, column = parents[table.parent or ""].columns[table.link or ""], table.columns[table.link or ""]
    if named.kind == TEXT:
        return "str"
    return kind if kind == "str" else "int" if column.filled == column.rows else "pd.Int64Dtype"


def _is_name(column: Column) -> bool:
    """Whether the values only tell rows apart: an id of many values, or what is named a number and hardly repeats."""
    if column.kind == FRACTION and not column.whole:
        return False
    if column.kind in (BOOLEAN, TIME) or column.formats or place_of(column.name, (column_names.KEY,)) is None:
        return False
    if (column.low or 0) < 0 or (place_of(column.name, (column_names.MEASURES,)) is not None and not column.unique):
        return False
    return column.distinct > (FEW_VALUES if "id" in parts(column.name) else max(0.9 * column.filled, 1))


def _python(value: Any, indent: int = 0) -> str:
    """The value as Python source, over several lines where it is a long list."""
    if isinstance(value, list):
        inside = ", ".join(map(_python, value))
        if indent and len(inside) > WIDTH - 2 * indent:
            return (
                "[\n" + "".join(f"{' ' * (indent + 2)}{_python(item)},\n" for item in value) + f"{' ' * (indent - 2)}]"
            )
        return f"[{inside}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_python(key)}: {_python(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}" if abs(value) < 10**15 else f"{float(value)!r}"
    return repr(value)


def _word(column: Column, word: str) -> int | str:
    """The word of a column as configuration and contract have it: a number, where it is one."""
    return int(float(word)) if column.kind in (WHOLE, FRACTION) else word


# -- features --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Feature:
    """A feature's line of SQL; `doubt` is why its description is a guess, `missing` the message for a missing value and
    `missing_doubt` why that is one, `notes` are the guesses on lines above it."""

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


class _Names:
    """The features' names and descriptions, no two alike in the whole portfolio."""

    def __init__(self, key: str) -> None:
        self.names = [key, *RESERVED]
        self.descriptions: list[str] = []

    def feature(
        self, sql: str, name: str, description: str, column: Column, family: str = "", notes: Sequence[str] = ()
    ) -> _Feature:
        """A feature of a column, described in a text that holds the column's name in plain words."""
        made = self.new(sql, name, description, family)
        why = "drafted from the name" if is_guess(column.name) else ""
        doubt = f"{why} {_one_line(column.name)}; say what it means" if why else ""
        return replace(made, doubt=doubt, notes=tuple(map(_one_line, notes)))

    def new(self, sql: str, name: str, description: str, family: str = "") -> _Feature:
        name = plain(name)
        name = distinct(f"{name}_value" if in_sql(name) != name else name, self.names)
        known = {other.casefold() for other in self.descriptions}
        numbered = (f"{description}, number {n}" for n in range(2, len(known) + 3))
        description = next(text for text in (description, *numbered) if text.casefold() not in known)
        self.names.append(name)
        self.descriptions.append(description)
        return _Feature(sql, name, description, family)


def features(book: GuessedBook) -> dict[str, str]:
    """The files of sql/NAME: stem to text."""
    names = _Names(book.key)
    applications, left, put_back = _of_applications(book, names)
    own = [(child, _of_child(book, child, names)) for child in book.children if child not in book.without_features]
    if not applications and not own:
        raise BookError(
            "Every column is a key, an outcome, protected or known too late: nothing is left to learn from."
        )
    key = in_sql(book.key)
    first = "features" if not own else "application_features"
    said = f"What is known of an applicant at the application, from {book.applications.files.names}."
    doubts = [
        f"-- {MARK}: left out, {why}: {', '.join(map(_one_line, left[why]))}"
        for why in (NAMES, CALENDAR)
        if why in left
    ]
    if UNDATED in left:
        dates = ", ".join(map(_one_line, left[UNDATED]))
        doubts.append(f"-- {MARK}: left out, {UNDATED}: {dates}; which of them is the day of the application, if any?")
    source = [*doubts, *_unread(book.applications, book.withheld), *_about_person(book, book.applications.name)]
    files = {first: _select(said, left, key, applications, [*source, "from applications"], put_back=put_back)}
    for child, made in own:
        files[f"{child.name}_features"] = _child_select(book, child, made)
    if own:
        joined = [f"{child.name}_features" for child, _ in own]
        stars = ",\n".join(f"    {table}.* exclude ({key})" for table in joined)
        joins = "\n".join(f"left join {table} using ({key})" for table in joined)
        files["features"] = (
            "-- All that is known of an applicant, one row each; who has no rows in a table has nulls for it.\n"
            f"select\n    application_features.*,\n{stars}\nfrom application_features\n{joins}\n"
        )
    return files


def _select(
    said: str,
    left: Mapping[str, Sequence[str]],
    key: str,
    made: Sequence[_Feature],
    source: Sequence[str],
    before: Sequence[str] = (),
    put_back: Sequence[_Feature] = (),
) -> str:
    """A SQL file: what it holds and leaves out, CTEs, its key, what was left out as comments, features, and what it
    reads."""
    lines = _comment("--", said)
    for why, columns in left.items():
        lines += _comment("--", f"Left out, {why}: {', '.join(map(_one_line, columns))}.")
    lines += [*before, "select", f"    {key}," if made else f"    {key}"]
    if made and put_back:
        lines += [
            "    -- Left out. To use a column after all, delete the dashes before it and its entry under",
            "    -- `post_decision` in the configuration; where no description follows it, write what it means.",
            *(f"    -- {feature.line(',')}" for feature in put_back),
        ]
    for n, feature in enumerate(made, start=1):
        lines += [f"    -- {note}" for note in feature.notes]
        lines.append(f"    {feature.line(',' if n < len(made) else '')}")
    return "\n".join([*lines, *source, ""])


def _of_applications(book: GuessedBook, names: _Names) -> tuple[list[_Feature], dict[str, list[str]], list[_Feature]]:
    """The features; the columns left out, by why; and the features that some of these would make."""
    made: list[_Feature] = []
    left: dict[str, list[str]] = {}
    candidates: list[Column] = []
    decided = book.applications.columns[book.decided].date if book.decided else None
    about = book.personal[book.applications.name]
    never = dict.fromkeys(book.withheld, "protected") | dict.fromkeys(about.about, "about the person")
    perhaps = dict.fromkeys(about.home, "where somebody lives") | dict.fromkeys(
        book.late, "known only after the decision"
    )
    for column in book.applications.columns.values():
        if column.name in (book.key, book.outcome.column):
            continue
        why = perhaps.get(column.name) or never.get(column.name) or _useless(column) or _calendar(column)
        if why:
            left.setdefault(why, []).append(column.name)
            if (column.filled and column.name not in never) or column.name in perhaps:
                candidates.append(column)
        elif column.name == book.decided:
            left.setdefault("the date that others are counted from", []).append(column.name)
        elif column.date and not decided:
            left.setdefault(UNDATED, []).append(column.name)
        elif column.doubts and not (column.date or column.number or column.value_counts or column.kind == BOOLEAN):
            left.setdefault("not read, as the lines to confirm say", []).append(column.name)
        elif not (made_of := _made_of(column, names, decided, about)):
            left.setdefault("many different values (training.encodings can make numbers of them)", []).append(
                column.name
            )
            candidates.append(column)
        else:
            made += made_of
    back = [
        feature
        for column in candidates
        if column.distinct > 1 and not (column.date and not decided)
        for feature in _made_of(column, names, decided, about, any_text=True)[:1]
        if "\n" not in feature.sql and "\r" not in feature.sql
    ]
    # A mark in a comment would be the next feature's; without a description, a column that is put back is refused.
    back = [replace(feature, missing="", missing_doubt="") for feature in back]
    return made, left, [replace(feature, description="" if feature.doubt else feature.description) for feature in back]


def _made_of(
    column: Column, names: _Names, decided: str | None, about: Personal, any_text: bool = False
) -> list[_Feature]:
    """The features of a column of the applications; of texts with many different values only with `any_text`."""
    said = phrase(column.name)
    if column.date:
        days = f"date_diff('day', {column.date}, {decided})"
        since = f"Days since {_lower(column.name)}"
        return [
            _with_missing(names.feature(days, f"days_since_{column.name}", since, column, notes=_notes(column)), column)
        ]
    if column.number or column.kind == BOOLEAN or column.value_counts:
        notes = _notes(column)
        if column.name in about.region:
            notes.append(f"{MARK}: {_one_line(column.name)} may stand for who lives there; leave it out, or keep it")
        if place_of(column.name, (column_names.HISTORY,)) is not None:
            told = "is taken for history before the application, not for what this loan did"
            notes.append(f"{MARK}: {_one_line(column.name)} {told}")
        kinds = _kinds(column)
        family = said if kinds else ""
        made = [_with_missing(names.feature(_value(column), column.name, said, column, family, notes), column)]
        if kinds:
            codes = ", ".join(map(str, column.sentinels))
            kind = names.feature(kinds, f"{column.name}_kind", f"{said}: number or special value", column, family)
            made.append(replace(kind, doubt=f"say what {codes} mean{'' if len(column.sentinels) > 1 else 's'}"))
        return made
    if column.name in about.free_texts:
        note = f"{MARK}: {_one_line(column.name)} is free text, which may name persons; only its length is used"
        length = f"length({column.sql})"
        about_length = f"Length of {_lower(column.name)}"
        return [names.feature(length, f"{column.name}_length", about_length, column, notes=[note])]
    return [names.feature(column.sql, column.name, said, column)] if any_text else []


def _with_missing(feature: _Feature, column: Column) -> _Feature:
    missing, doubt = missing_text(column)
    return replace(feature, missing=_one_line(missing), missing_doubt=_one_line(doubt))


def _about_person(book: GuessedBook, table: str) -> list[str]:
    """Lines to confirm what is left out of a table as being about the person, and why."""
    about = book.personal[table]
    persons = ", ".join(f"{_one_line(name)} ({what})" for name, what in about.about.items())
    homes = ", ".join(map(_one_line, about.home))
    return [
        *([f"-- {MARK}: left out as being about the person: {persons}"] if persons else []),
        *([f"-- {MARK}: left out, as where somebody lives stands for who lives there: {homes}"] if homes else []),
    ]


def _unread(table: Table, hidden: Collection[str]) -> list[str]:
    """What to confirm of columns that no feature is made of, as their values are not read as what most of them are."""
    return [
        f"-- {MARK}: {_one_line(f'{column.name} is left out: {doubt}')}"
        for column in table.columns.values()
        if column.name not in hidden and not (column.date or column.number or column.value_counts)
        for doubt in column.doubts
    ]


def _useless(column: Column) -> str | None:
    if column.kind == EMPTY or (column.distinct <= 1 and column.filled == column.rows):
        return "empty or always the same"
    return NAMES if _is_name(column) else None


def _calendar(column: Column) -> str | None:
    """A model that learned from the year would know nothing of the next."""
    return CALENDAR if place_of(column.name, (column_names.CALENDAR,)) == 0 else None


def _lower(column: str) -> str:
    said = phrase(column)
    return said[0].lower() + said[1:]


def _value(column: Column) -> str:
    """SQL of the value as a feature; what stands for "not known" is null."""
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


def _notes(column: Column) -> list[str]:
    doubts = [f"{MARK}: {column.name}: {doubt}" for doubt in column.doubts]
    if not column.sentinels:
        return doubts
    piles = " and ".join(f"{value} ({number_of(rows, 'row')})" for value, rows in column.sentinels.items())
    taken = f'{MARK}: {piles} taken for "not known"; all others lie from {column.low:g} to {column.high:g}'
    return [*doubts, taken]


def _kinds(column: Column) -> str | None:
    """SQL that tells special values of a number from each other and from empty ones; None where there is one kind."""
    if not column.number or len(column.sentinels) + (column.filled < column.rows) < 2:
        return None
    cases = [f"when {column.number} = {code} then 'code {code}'" for code in column.sentinels]
    if column.filled < column.rows:
        cases.insert(0, f"when {column.number} is null then 'empty'")
    return f"case {' '.join(cases)} else 'number' end"


def _of_child(book: GuessedBook, child: Table, names: _Names) -> list[_Feature]:
    """How many rows an applicant has in the table, and what they say: mean, largest, last known."""
    hidden = {*book.withheld, *book.protected_in[child.name], *book.personal_columns(child.name)}
    order = _order(child, hidden)
    name = child.name.replace("_", " ")
    made = [names.new("count(*)", f"{child.name}_rows", f"Number of rows in {name}")]
    for column in child.columns.values():
        if column.name in {child.link, *hidden} or _useless(column) or column.date:
            continue
        value, about = _value(column), f"{_lower(column.name)} in {name}"
        family, notes, prefix = f"{phrase(column.name)} in {name}", _notes(column), f"{child.name}_{column.name}"
        drafts = []
        if column.number:
            drafts = [("mean", f"favg({value})", f"Average {about}"), ("max", f"max({value})", f"Largest {about}")]
            if _kinds(column):
                drafts += [
                    (
                        f"code_{abs(code)}",
                        f"count(*) filter ({column.number} = {code})",
                        f"Rows with {code} for {about}",
                    )
                    for code in column.sentinels
                ]
        elif column.value_counts:
            drafts = [("kinds", f"count(distinct {value})", f"Different {about}")]
        if order and order != column.sql and drafts:
            # Of rows with one date the greatest value, so that the same rows always give the same.
            drafts.append(("last", f"arg_max({value}, ({order}, {value}))", f"Last known {about}"))
        for suffix, sql, description in drafts:
            made.append(names.feature(sql, f"{prefix}_{suffix}", description, column, family, notes))
            notes = []
    return made


def _order(child: Table, hidden: Collection[str]) -> str | None:
    """What the table's rows are in order of: a date, or days or months counted back from the application."""
    columns = [column for column in child.columns.values() if column.name not in hidden]
    for column in columns:
        if column.date and column.filled == column.rows:
            return column.date
    for column in columns:
        counted = {"day", "days", "month", "months"} & set(parts(column.name))
        if counted and column.kind == WHOLE and column.filled == column.rows and (column.high or 0) <= 0:
            return column.sql
    return None


def _child_select(book: GuessedBook, child: Table, made: Sequence[_Feature]) -> str:
    key, table = in_sql(book.key), in_sql(child.name)
    said = f"What {child.files.names} tells of an applicant; one row for each who has any."
    no_row = f"-- if no row: no record in {child.name.replace('_', ' ')} -- {MARK}: drafted from the table's name"
    protected = book.protected_in[child.name]
    marked = [
        f"-- {MARK}: {_one_line(column)} looks protected ({attribute.replace('_', ' ')}) and is left out"
        for column, attribute in protected.items()
    ]
    marked += [*_unread(child, {*book.withheld, *protected}), *_about_person(book, child.name)]
    # What selects the rows counts as what the features are made of, so nothing withheld may.
    hidden = {*book.withheld, *protected, *book.personal_columns(child.name)}
    dated = [column for column in child.columns.values() if column.date and column.name not in hidden]
    if not dated or not book.decided:
        doubt = f"-- {MARK}: every row of {child.name} was known when the applicant applied; no dates tell"
        return _select(said, {}, key, made, [*marked, doubt, f"from {table}", f"group by {key}"], [no_row])
    decided = book.applications.columns[book.decided].date_of("applications")
    names = ", ".join(_one_line(column.name) for column in dated)
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
    return _select(said, {}, key, made, [*marked, "from known", f"group by {key}"], known)


# -- configuration ---------------------------------------------------------------------------------------


def configuration(book: GuessedBook, name: str) -> str:
    """configs/NAME.yaml: what is known and guessed of the book, and what its size asks for."""
    target = book.applications.columns[book.outcome.column]
    bad, good = ([_word(target, word) for word in told] for told in (book.outcome.bad, book.outcome.good))
    known = book.bads + book.goods
    files = book.applications.files
    doubts_of_key = files.columns[book.key].doubts if book.key in files.columns else ()
    lines = [
        *_comment(
            "#",
            f"{name}: drafted by `credit-assets new` from {_one_line(files.names)} ({number_of(files.rows, 'row')}).",
        ),
        f"# Every guess is marked `{MARK}`: make the line right, then delete the mark. `credit-assets check {name}`",
        "# lists them. What is left out has the value given in configs/home_credit.yaml. See docs/portfolios.md.",
        f"name: {name}",
        f"title: {_yaml(name.replace('_', ' ').capitalize())}",
        'owners: ["team:credit-risk"]',
        f"contracts: {name}.py # beside this file",
        f"entity_key: {_yaml(book.key)} {_mark('; '.join([book.key_why, *doubts_of_key]))}",
        f"target: {_yaml({'column': target.name, 'bad': bad, 'good': good})} {_mark(book.outcome.why)}",
        "",
        "# Raw table: the names (without ending) of its files; `*` stands for anything.",
        "tables:",
        *_tables(book),
        *(line for remark in book.remarks for line in _comment("#", remark)),
        "",
    ]
    lines += _delivery(book)
    lines += ["# Audited, and never used: no feature may be made from these columns."]
    if not book.protected:
        asked = "name those that are, as docs/portfolios.md shows, or confirm that the files hold none"
        found = "none can be audited as it is" if book.unaudited else "no column was recognised as such"
        question = f"which columns are sex, race, age, marital status or the like? {found}; {asked}"
        lines.append(f"protected: {{}} {_mark(question)}")
    else:
        lines.append("protected:")
    if book.protected or book.unaudited:
        for attribute, item in book.protected.items():
            lines += _protected(attribute, item, book.applications.columns[item.column])
        for column, why in book.unaudited.items():
            lines.append(
                f"  {_mark(f'{_one_line(column)} is {why}; keep it out of features, or deliver it in groups')}"
            )
    lines.append("")
    for section, meaning, columns in (
        ("post_decision", "Known only after the decision: a feature made of one is refused", book.late),
        ("left_out", "Kept out of the models; delete a line to let them learn from it", book.price),
    ):
        if section == "post_decision" and not columns:
            asked = "which columns are known only after the decision? none was recognised as such, by name or figures"
            lines += [f"# {meaning}.", f"{section}: {{}} {_mark(asked)}", ""]
        if columns:
            lines += [f"# {meaning}.", f"{section}:"]
            reason = (
                "known only after the decision" if section == "post_decision" else "the lender's own price or grade"
            )
            lines += [f"  {_yaml(column)}: {reason} {_mark(why)}" for column, why in columns.items()]
            lines.append("")
    approved = min(max(round(book.goods / known, 1), 0.1), 0.9)
    lines += [
        f"policy: {{target_approval_rate: {approved}}} {_mark('as many as repaid here; or max_pd, the highest PD')}",
        *sized(book),
    ]
    if blocking := [name for name in book.protected if name.startswith(tuple(ALWAYS_JUDGED))]:
        smaller = "min_group_size: 30, " if known < SMALL_BOOK else ""
        lines.append(f"fairness: {{{smaller}blocking: {_yaml(blocking)}}} # failing one of these stops a promotion")
    return "\n".join([*lines, ""])


def _delivery(book: GuessedBook) -> list[str]:
    """What deliveries are cut by, and how many of their rows may be bad."""
    lines: list[str] = []
    delivery: dict[str, Any] = {}
    mark = ""
    if allowed := bad_share(book):
        share, why = allowed
        lines += _comment("#", why)
        delivery["max_bad_share"] = share
    if book.decided:
        decided = book.applications.columns[book.decided]
        said = f"{_one_line(book.decided)} is when a loan was applied for or given: deliver --split-by it"
        mark = f" {_mark('; '.join([said, *decided.doubts]))}"
        delivery = {"every": EVERY, **delivery}
        # A later delivery may hold the first days of months alone, which can be read in two orders; and numbers are
        # read as Excel's days only where the configuration says so.
        if decided.dates and (decided.dates.order or EXCEL in decided.formats):
            delivery["date_formats"] = {decided.name: list(decided.formats)}
    return [*lines, f"delivery: {_yaml(delivery)}{mark}", ""] if delivery else []


def _mark(why: str) -> str:
    return f"# {MARK}: {_one_line(why)}"


def _yaml(value: Any) -> str:
    """The value on one line, quoted where YAML needs it."""
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False).strip()[
        1:-1
    ]


def _tables(book: GuessedBook) -> list[str]:
    tables: dict[str, Files] = {table.name: table.files for table in (book.applications, *book.children)}
    if book.outcomes:
        tables["outcomes"] = book.outcomes
    stems = {name: [stem(part.path) for part in files.parts] for name, files in tables.items()}
    idle = {table.name: table.parent for table in book.without_features}
    lines = []
    for name in tables:
        files = patterns(stems[name], [other for of in stems if of != name for other in stems[of]])
        settings: dict[str, Any] = {"files": files}
        doubts = []
        if set(files) - set(map(glob.escape, stems[name])):
            doubts.append("`*` stands for the date or number in the name, so that later deliveries match")
        if notes := list(dict.fromkeys(note for part in tables[name].parts for note in part.notes)):
            settings["notes"] = notes
            doubts.append("lines like the `notes` are no rows of the table")
        if absent := [column for column in tables[name].absent if column != book.outcome.column]:
            doubts.append(f"not every file has {', '.join(map(_one_line, absent))}; is it one table all the same?")
        if name in idle:
            doubts.append(f"no features are made of it, as its rows belong to {idle[name]}")
        if name == "applications" and book.numbered:
            settings["numbered"] = book.key
        if name == "outcomes":
            settings["optional"] = True
        lines.append(f"  {_yaml(name)}: {_yaml(settings)}{' ' + _mark('; '.join(doubts)) if doubts else ''}")
    return lines


def _protected(attribute: str, item: Protected, column: Column) -> list[str]:
    settings: dict[str, Any] = {"column": item.column}
    if item.kind != "words":
        settings |= {"kind": item.kind, "bands": list(item.bands)}
    if item.not_judged:
        settings["not_judged"] = [str(_word(column, word)) for word in item.not_judged]
    if not item.words:
        return [f"  {attribute}: {_yaml(settings)} {_mark(item.why)}"]
    lines = [f"  {attribute}: {_mark(item.why)}", *(f"    {name}: {_yaml(value)}" for name, value in settings.items())]
    return [*lines, "    words:", *(f"      {_yaml(word)}: {group}" for word, group in item.words.items())]

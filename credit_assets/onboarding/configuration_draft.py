"""Drafts configs/NAME.yaml: the tables, the outcome, what models must not learn from, and settings for the book's size.

A guess that a person must confirm has a comment with `CONFIRM: why` on its line.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from typing import Any

import yaml

from credit_assets.book.queries import MARK
from credit_assets.ingest.dates import EXCEL
from credit_assets.onboarding.book_size import SMALL_BOOK, bad_share, size_settings
from credit_assets.onboarding.file_names import patterns
from credit_assets.onboarding.files import Column, Files, stem
from credit_assets.onboarding.guesses import BATCH_PERIOD, GuessedBook
from credit_assets.onboarding.protected_columns import BLOCKING, Protected
from credit_assets.onboarding.wording import comment, one_line
from credit_assets.plurals import number_of


def draft_configuration(book: GuessedBook, name: str) -> str:
    """The text of configs/NAME.yaml: what is known and guessed about the book, and settings for its size."""
    target = book.applications.columns[book.outcome.column]
    bad, good = ([target.literal(word) for word in words] for words in (book.outcome.bad, book.outcome.good))
    known = book.bads + book.goods
    files = book.applications.files
    doubts_of_key = files.columns[book.key].doubts if book.key in files.columns else ()
    lines = [
        *comment(
            "#",
            f"{name}: drafted by `credit-assets new` from {one_line(files.names)} ({number_of(files.rows, 'row')}).",
        ),
        f"# Every guess is marked `{MARK}`: correct the line, then delete the mark. `credit-assets check {name}`",
        "# lists them. Settings left out have the defaults in configs/home_credit.yaml. See docs/portfolios.md.",
        f"name: {name}",
        f"title: {_yaml(name.replace('_', ' ').capitalize())}",
        'owners: ["team:credit-risk"]',
        f"contracts: {name}.py # next to this file",
        f"entity_key: {_yaml(book.key)} {_mark('; '.join([book.key_why, *doubts_of_key]))}",
        f"target: {_yaml({'column': target.name, 'bad': bad, 'good': good})} {_mark(book.outcome.why)}",
        "",
        "# Raw table: the names (without ending) of its files; `*` stands for anything.",
        "tables:",
        *_table_lines(book),
        *(line for remark in book.remarks for line in comment("#", remark)),
        "",
    ]
    lines += [
        *_delivery_lines(book),
        *_protected_section(book),
        *_late_section(book),
        *_price_section(book),
    ]
    approved = min(max(round(book.goods / known, 1), 0.1), 0.9)
    lines += [
        f"policy: {{target_approval_rate: {approved}}} {_mark('the share of repaid loans; or max_pd, the highest PD')}",
        *size_settings(book),
    ]
    if blocking := [name for name in book.protected if name.startswith(tuple(BLOCKING))]:
        smaller = "min_group_size: 30, " if known < SMALL_BOOK else ""
        lines.append(f"fairness: {{{smaller}blocking: {_yaml(blocking)}}} # failing one of these stops a promotion")
    return "\n".join([*lines, ""])


def _protected_section(book: GuessedBook) -> list[str]:
    """The protected attributes to audit, and comments on protected columns that cannot be audited."""
    lines = ["# Audited, and never used: no feature may be made from these columns."]
    if not book.protected:
        asked = "name those that are, as docs/portfolios.md shows, or confirm that the files contain none"
        found = "none can be audited as it is" if book.unaudited else "no column was recognised"
        question = f"which columns are sex, race, age, marital status or the like? {found}; {asked}"
        lines.append(f"protected: {{}} {_mark(question)}")
    else:
        lines.append("protected:")
    for attribute, item in book.protected.items():
        lines += _protected_lines(attribute, item, book.applications.columns[item.column])
    for column, why in book.unaudited.items():
        lines.append(f"  {_mark(f'{one_line(column)} {why}; keep it out of features, or deliver it in groups')}")
    return [*lines, ""]


def _late_section(book: GuessedBook) -> list[str]:
    """The columns known only after the decision."""
    meaning = "# Known only after the decision: a feature made from one is refused."
    if not book.late:
        asked = "which columns are known only after the decision? none was recognised by its name or values"
        return [meaning, f"post_decision: {{}} {_mark(asked)}", ""]
    reason = "known only after the decision"
    return [meaning, "post_decision:", *_reasons(book.late, reason), ""]


def _price_section(book: GuessedBook) -> list[str]:
    """The lender's own prices and grades; nothing if there are none."""
    if not book.price:
        return []
    meaning = "# Kept out of the models; delete a line to let them learn from it."
    return [meaning, "left_out:", *_reasons(book.price, "the lender's own price or grade"), ""]


def _reasons(columns: Mapping[str, str], reason: str) -> list[str]:
    """A line for each column with the reason, marked with why it is assumed."""
    return [f"  {_yaml(column)}: {reason} {_mark(why)}" for column, why in columns.items()]


def _delivery_lines(book: GuessedBook) -> list[str]:
    """How deliveries are split into batches, and how many of their rows may be bad."""
    lines: list[str] = []
    delivery: dict[str, Any] = {}
    mark = ""
    if allowed := bad_share(book):
        share, why = allowed
        lines += comment("#", why)
        delivery["max_bad_share"] = share
    if book.decided:
        decided = book.applications.columns[book.decided]
        name = one_line(book.decided)
        guess = f"{name} is the date of the application or loan: deliver with --split-by {name}"
        mark = f" {_mark('; '.join([guess, *decided.doubts]))}"
        delivery = {"every": BATCH_PERIOD, **delivery}
        # A later delivery may have only dates that can be read in two orders, and numbers are read as Excel's days
        # only if the configuration states it.
        if decided.dates and (decided.dates.order or EXCEL in decided.formats):
            delivery["date_formats"] = {decided.name: list(decided.formats)}
    return [*lines, f"delivery: {_yaml(delivery)}{mark}", ""] if delivery else []


def _mark(why: str) -> str:
    """The comment that marks a guess."""
    return f"# {MARK}: {one_line(why)}"


def _yaml(value: Any) -> str:
    """The value on one line, quoted if YAML needs it."""
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False).strip()[
        1:-1
    ]


def _table_lines(book: GuessedBook) -> list[str]:
    """A line for each raw table, with the patterns of its files."""
    tables: dict[str, Files] = {table.name: table.files for table in (book.applications, *book.children)}
    if book.outcomes:
        tables["outcomes"] = book.outcomes
    stems = {name: [stem(part.path) for part in files.parts] for name, files in tables.items()}
    referred = {table.name: table.parent for table in book.without_features}
    lines = []
    for name in tables:
        files = patterns(stems[name], [other for of in stems if of != name for other in stems[of]])
        settings: dict[str, Any] = {"files": files}
        doubts = []
        if set(files) - set(map(glob.escape, stems[name])):
            doubts.append("`*` stands for the date or number in the name, so that later deliveries match")
        if notes := list(dict.fromkeys(note for part in tables[name].parts for note in part.notes)):
            settings["notes"] = notes
            doubts.append("lines like the `notes` are not rows of the table")
        if absent := [column for column in tables[name].absent if column != book.outcome.column]:
            doubts.append(f"not every file has {', '.join(map(one_line, absent))}; is this still one table?")
        if name in referred:
            doubts.append(f"no features are made from it, as its rows belong to {referred[name]}")
        if name == "applications" and book.numbered:
            settings["numbered"] = book.key
        if name == "outcomes":
            settings["optional"] = True
        lines.append(f"  {_yaml(name)}: {_yaml(settings)}{' ' + _mark('; '.join(doubts)) if doubts else ''}")
    return lines


def _protected_lines(attribute: str, item: Protected, column: Column) -> list[str]:
    """The lines of a protected attribute."""
    settings: dict[str, Any] = {"column": item.column}
    if item.kind != "words":
        settings |= {"kind": item.kind, "bands": list(item.bands)}
    if item.not_judged:
        settings["not_judged"] = [str(column.literal(word)) for word in item.not_judged]
    if not item.words:
        return [f"  {attribute}: {_yaml(settings)} {_mark(item.why)}"]
    lines = [f"  {attribute}: {_mark(item.why)}", *(f"    {name}: {_yaml(value)}" for name, value in settings.items())]
    return [*lines, "    words:", *(f"      {_yaml(word)}: {group}" for word, group in item.words.items())]

"""What a lender's columns may mean: who is who, how the loan went, what is protected, what tells the outcome.

Every guess carries why, for a person to confirm. Drafts are made of them in `drafts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb
import numpy as np
import pandas as pd

from credit_assets.fairness.audit import OLDEST
from credit_assets.features.combined_leaks import given_back, leading_pairs
from credit_assets.features.contract import KEY_MAY_BE, RESERVED
from credit_assets.ingest.split_by_date import YEARS
from credit_assets.lake.contracts import identifier
from credit_assets.lake.tables import sql_text
from credit_assets.onboarding import column_names
from credit_assets.onboarding.file_names import undated
from credit_assets.onboarding.files import (
    FRACTION,
    NEARLY_ALL,
    TEXT,
    TIME,
    WHOLE,
    BookError,
    Column,
    Files,
    Part,
    stem,
)
from credit_assets.onboarding.personal import Personal, personal
from credit_assets.onboarding.read_files import as_one_table
from credit_assets.onboarding.wording import distinct, parts, place_of, plain, unaccented
from credit_assets.plurals import number_of
from credit_assets.statistics.column_auc import single_feature_auc

EVERY = "quarter"
"""What a book with a date of the decision is cut by."""

LEAK_AUC = 0.9
"""A column that alone ranks better than this is suspected: the best of honest ones stay below 0.8."""

RANKED_ROWS = 50_000
"""Rows that suspicion is founded on."""

MOST_TOGETHER = 10
"""Columns that are left out as parts of leaks by a sum, difference, ratio or product, at most."""

MOSTLY = 0.6
"""The share of the rows above which 1 or yes is hardly the bad outcome, even of a sample balanced on purpose."""
ALWAYS_JUDGED = ("gender", "race", "religion", "national_origin")
AGE_BANDS = (25, 35, 45, 55, 65)
ODD_SHARE = 0.01
"""The share of values that may be no age in a column of ages."""
IN_COMMON = 0.5
"""The share of columns that files of two layouts of one table have in common at least."""
MANY_NUMBERS = 0.3
"""The share of columns named by numbers from which the first line is hardly a header."""
FLAGGED = 12
"""Numbers up to which a column named like an age holds flags or classes, not years."""


@dataclass(frozen=True)
class Outcome:
    """The column that tells how a loan went, its words, and why they are thought to mean that."""

    column: str
    bad: tuple[str, ...]
    good: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Protected:
    """A protected attribute: `words` from codes to groups, or `bands` of years where it is an age."""

    column: str
    kind: str
    why: str
    words: dict[str, str] = field(default_factory=dict)
    bands: tuple[int, ...] = ()
    not_judged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A raw table: its files, and the table and column that its rows refer to (`orphans` of them in vain)."""

    name: str
    files: Files
    parent: str | None = None
    link: str | None = None
    orphans: int = 0

    @property
    def columns(self) -> dict[str, Column]:
        return self.files.columns


@dataclass(frozen=True)
class GuessedBook:
    """All that was guessed of a lender's files.

    `numbered` is whether no column names an applicant, so that `key` is made up; `decided` is the date a loan was
    applied for or given. Columns to why: `late` are known only after the decision, `price` is the lender's own
    judgement (in any table), `unaudited` is protected and cannot be put in groups. `protected_in` has the protected
    columns of each child table with what they tell. `outcomes` are files that hold outcomes alone,
    `unused` those that nothing ties to an applicant. `batches` is how many the files make. `personal` has what is about
    the person, by table.
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
        """Sentences on what was not read of the files."""
        found = [self.applications.files, *(child.files for child in self.children), *self.unused]
        return [remark for files in found for remark in files.remarks]

    @property
    def idle(self) -> tuple[Table, ...]:
        """The tables that no features are drafted of: their rows belong to those of another, not to an applicant."""
        return tuple(child for child in self.children if child.parent != self.applications.name)

    @property
    def withheld(self) -> set[str]:
        """Columns of the applications that no feature may be made of."""
        protected = {item.column for item in self.protected.values()}
        return {self.key, self.outcome.column, *protected, *self.unaudited, *self.late, *self.of_nobody("applications")}

    def of_nobody(self, table: str) -> set[str]:
        """Columns of a table that no feature may be made of, as they are about the person or where somebody lives."""
        return {*self.personal[table].about, *self.personal[table].home}


def guess(
    con: duckdb.DuckDBPyConnection, found: Sequence[Files], key: str | None = None, target: str | None = None
) -> GuessedBook:
    """What the files may be a book of; `key` and `target` are the user's word for the columns.

    Raises BookError where nothing tells how a loan went, or the user's columns cannot be what they are said to be.
    """
    told, outcome = _outcome(found, target)
    files, outcomes, rest = _applicants(con, told, [other for other in found if other is not told], outcome.column)
    files, copies = _without_copies(con, files, outcome.column, key)
    key_column, key_why = _key(files, outcome.column, key)
    key_why += f"; of {number_of(copies, 'row')} that came twice, one is kept" if copies else ""
    name = key_column or distinct("application_id", files.columns)
    applications = Table("applications", files)
    children = _children(con, applications, rest, key_column) if key_column else ()
    protected, unaudited = _protected(con, files, {name, outcome.column})
    spared = {name, outcome.column, *unaudited, *(item.column for item in protected.values())}
    decided = _decided(files, spared)
    protected_in = {
        child.name: {
            column.name: attribute
            for column in child.columns.values()
            if column.name not in {name, outcome.column, child.link} and (attribute := _attribute(column))
        }
        for child in children
    }
    about = {
        table.name: personal(con, table.files, {name, outcome.column, table.link or name, *hidden})
        for table, hidden in ((applications, spared), *((child, protected_in[child.name]) for child in children))
    }
    spared |= {*about["applications"].about, *about["applications"].home}
    kept = {name, outcome.column, decided, *(child.link for child in children)}
    of_children = [
        column.name
        for child in children
        for column in child.columns.values()
        if column.filled and column.name not in {*kept, *protected_in[child.name]}
    ]
    late = _late(con, files, children, outcome, name, spared, decided, protected_in)
    late |= {column: "by its name" for column in of_children if column not in late and _late_by_name(column)}
    counts = files.columns[outcome.column].value_counts or {}
    return GuessedBook(
        applications=applications,
        children=children,
        key=name,
        numbered=key_column is None,
        key_why=key_why,
        outcome=outcome,
        bads=sum(counts[word] for word in outcome.bad),
        goods=sum(counts[word] for word in outcome.good),
        protected=protected,
        unaudited=unaudited,
        late=late,
        price={
            column: "by its name"
            for column in dict.fromkeys([*files.columns, *of_children])
            if column not in spared | set(late) and place_of(column, column_names.PRICE) is not None
        },
        protected_in=protected_in,
        personal=about,
        decided=decided,
        batches=_batches(con, files, decided),
        outcomes=outcomes,
        unused=tuple(other for other in rest if other not in [child.files for child in children]),
    )


# -- how the loan went ---------------------------------------------------------------------------------


def _outcome(found: Sequence[Files], target: str | None) -> tuple[Files, Outcome]:
    if target is not None:
        for files in found:
            if target in files.columns:
                return files, _meaning(files.columns[target])
        raise BookError(f"No file has a column {target}. There are: {'; '.join(', '.join(f.columns) for f in found)}.")
    candidates = [
        (place, -files.rows, -nth, files, column)
        for files in found
        for nth, column in enumerate(files.columns.values())
        if (place := place_of(column.name, column_names.OUTCOME)) is not None and _tells(column, place)
    ] or [
        (len(column_names.OUTCOME), -files.rows, -nth, files, column)
        for files in found
        for nth, column in enumerate(files.columns.values())
        if _speaks(column)
    ]
    if not candidates:
        raise BookError(
            "No column tells how a loan went: none of two values has a name such as target, default, bad or "
            "loan_status, or values such as Charged Off and Fully Paid. Name the column with --target."
            + "".join(map(_without_header, found))
        )
    *_, files, column = min(candidates, key=lambda candidate: candidate[:3])
    return files, _meaning(column)


def _without_header(files: Files) -> str:
    """A question, where the columns' names are such as values are; empty where they are not."""
    numbers = sum(re.fullmatch(r"[-+]?[0-9]+([.,][0-9]+)?", name.strip()) is not None for name in files.columns)
    if numbers < MANY_NUMBERS * len(files.columns):
        return ""
    begins = ", ".join(list(files.columns)[:2])
    return f" Is the first line of {files.names}, which begins with {begins}, a header? Write one above the rows."


def _tells(column: Column, place: int) -> bool:
    """Whether the column has two values, or more of which some say bad and others good."""
    values = list(column.value_counts or ())
    if len(values) == 2:
        return True
    senses = {_sense(value) for value in values}
    yes_and_no = any(map(_yes, values)) and any(map(_no, values))
    return {True, False} <= senses or (place == 0 and len(values) > 2 and yes_and_no)


def _speaks(column: Column) -> bool:
    """Whether the column has two values of which one says bad and the other good."""
    return {_sense(value, weakly=True) for value in column.value_counts or ()} == {True, False} and len(
        column.value_counts or ()
    ) == 2


def _yes(value: str) -> bool:
    return re.fullmatch(column_names.YES, _plainly(value)) is not None


def _no(value: str) -> bool:
    return re.fullmatch(column_names.NO, _plainly(value)) is not None


def _sense(text: str, weakly: bool = False) -> bool | None:
    """Whether a name or value speaks of bad loans (True) or good ones (False); None where of neither or of both. A
    negation turns what follows it round: `not fully paid` and `unpaid` are bad, `non-default` is good."""
    last = re.split(r"[.:;]\s*(?=\w+ |\w+$)", text)[-1] if " " in text.strip() else text
    said = unaccented(" ".join(parts(re.sub(r"(?i)(?<![^\W_])(un|non)(?=(re)?paid|performing|default)", r"\1 ", last))))
    bad = f"{column_names.BAD_ROOTS}|{column_names.WEAKLY_BAD_ROOTS}" if weakly else column_names.BAD_ROOTS
    negated, senses = False, set()
    for found in re.finditer(
        rf"\b(?:(?P<not>{column_names.NEGATIONS})|(?P<bad>{bad})|(?P<good>{column_names.GOOD_ROOTS}))\b", said
    ):
        if found["not"]:
            negated = True
        else:
            senses.add((found["bad"] is not None) != negated)
            negated = False
    return senses.pop() if len(senses) == 1 else None


def _meaning(column: Column) -> Outcome:
    """Which values mean bad and good: by what they say, else by the column's name, else by which is rarer."""
    counts = column.value_counts or {}
    values = list(counts)
    two = len(values) == 2
    bad, good = (tuple(v for v in values if _sense(v, weakly=two) is sense) for sense in (True, False))
    if {value.strip().lower() for value in values} == {"b", "g"}:
        bad, good = (tuple(v for v in values if v.strip().lower() == letter) for letter in "bg")
    if two and bool(bad) != bool(good):
        bad, good = bad or tuple(v for v in values if v not in good), good or tuple(v for v in values if v not in bad)
    yes, no = (tuple(v for v in values if test(v)) for test in (_yes, _no))
    doubtful = False
    if bad and good:
        why = "by its values"
    elif yes and no and (sense := _sense(column.name)) is not None:
        bad, good, why = (yes, no, "by the column's name") if sense else (no, yes, "by the column's name")
    elif yes and no and sum(counts[v] for v in yes) <= MOSTLY * sum(counts[v] for v in (*yes, *no)):
        bad, good, why, doubtful = yes, no, f"{yes[0]} is taken for bad, though the name does not say so", True
    elif two:
        good, bad, doubtful = (values[0],), (values[1],), True
        why = f"{values[1]} is the rarer value and is taken for bad"
    else:
        raise BookError(
            f"Column {column.name} cannot be the target: it needs two values, or values that say bad and good."
        )
    share = sum(counts[value] for value in bad) / (known := sum(counts[value] for value in (*bad, *good)))
    others = len(values) - len(bad) - len(good)
    why += f"; {share:.1%} of {known:,} are bad"
    if share > 0.5:
        why += ", which is more than half"
    if doubtful or share > 0.5:
        why += f"; if it is the other way round: bad: [{', '.join(good)}], good: [{', '.join(bad)}]"
    if others:
        why += f"; with its {others} other value{'s' if others > 1 else ''} the outcome is not known"
    return Outcome(column.name, bad, good, why)


def _applicants(
    con: duckdb.DuckDBPyConnection, told: Files, others: Sequence[Files], target: str
) -> tuple[Files, Files | None, list[Files]]:
    """The applicants' files, those with nothing but outcomes if there are any, and the rest.

    Files that lack only the target are applicants whose outcome is not known yet; files that have it, and most columns,
    are applicants of an earlier or later layout.
    """
    outcomes = None
    if len(told.columns) == 2:
        link = next(name for name in told.columns if name != target)
        whose = [other for other in others if link in other.columns and other.columns[link].unique]
        if whose and told.columns[link].unique:
            others, outcomes = [other for other in others if other is not whose[0]], told
            column = identifier(link)
            part = whose[0].parts[0]
            joined = (
                f"(SELECT a.*, o.* EXCLUDE ({column}) FROM {whose[0].view} a LEFT JOIN {told.view} o "
                f"ON {whose[0].columns[link].identity('a')} = {told.columns[link].identity('o')})"
            )
            remarks = (*whose[0].remarks, *told.remarks)
            kinds = {name: kind for p in (*told.parts, *whose[0].parts) for name, kind in p.kinds.items()}
            notes = tuple(note for p in whose[0].parts for note in p.notes)
            return as_one_table(con, [Part(part.path, joined, kinds, remarks, notes)]), outcomes, others
    unlabelled = [other for other in others if set(other.columns) == set(told.columns) - {target}]
    if not unlabelled:
        return told, None, list(others)
    files = as_one_table(con, [*told.parts, *(part for other in unlabelled for part in other.parts)])
    return files, None, [other for other in others if other not in unlabelled]


# -- who is who ----------------------------------------------------------------------------------------


def _key(files: Files, target: str, key: str | None) -> tuple[str | None, str]:
    """The column that names an applicant, if any does, and why."""
    if key is not None:
        if key not in files.columns:
            raise BookError(f"{files.names} has no column {key} to name applicants by.")
        if why := _no_name(files.columns[key]):
            raise BookError(f"Column {key} of {files.names} cannot name applicants: {why}.")
        if _is_reserved(key):
            raise BookError(f"Column {key} cannot name applicants under this name, which the platform uses itself.")
        return key, "as told"
    candidates = [
        column
        for column in files.columns.values()
        if column.name != target and _names_rows(column) and not _is_reserved(column.name)
    ]
    named = [column for column in candidates if place_of(column.name, (column_names.KEY,)) is not None]
    for chosen in sorted(named, key=lambda column: place_of(column.name, (column_names.WHO, "id")) is None):
        return chosen.name, "unique and never empty, by its name"
    first = next(iter(files.columns.values()))
    if first in candidates and (first.kind == TEXT or first.high - first.low + 1 == first.rows):  # type: ignore[operator]
        return first.name, "the first column, unique and never empty"
    nearly = [
        f"{column.name} is none: {_no_name(column)}"
        for column in files.columns.values()
        if column.name != target
        and place_of(column.name, (column_names.WHO, "id")) is not None
        and _nearly_unique(column)
    ]
    why = f" ({'; '.join(nearly)})" if nearly else ""
    return None, f"no column is unique, never empty and named like one{why}, so rows are named by batch and number"


def _nearly_unique(column: Column) -> bool:
    return column.kind in (WHOLE, TEXT) and column.distinct >= NEARLY_ALL * column.rows


def _without_copies(con: duckdb.DuckDBPyConnection, files: Files, target: str, key: str | None) -> tuple[Files, int]:
    """The files without rows that are copies of others, of which ingestion keeps one, and how many they are: where a
    column then names applicants that otherwise would not."""
    asked = (
        [key]
        if key in files.columns
        else []
        if key
        else [name for name in files.columns if name != target and place_of(name, (column_names.KEY,)) is not None]
    )
    if any(_names_rows(files.columns[name]) for name in asked):
        return files, 0
    for column in (files.columns[name] for name in asked):
        if column.filled < column.rows or not _nearly_unique(column):
            continue
        rows, keys = con.execute(
            f"SELECT count(*), count(DISTINCT {column.sql}) FROM (SELECT DISTINCT * FROM {files.view})"
        ).fetchall()[0]
        if rows == keys:
            first, *others = files.parts
            once = replace(first, source=f"(SELECT DISTINCT * FROM {files.view} ORDER BY ALL)")
            none = [replace(part, source=f"(SELECT * FROM {files.view} LIMIT 0)") for part in others]
            return as_one_table(con, [once, *none]), files.rows - rows
    return files, 0


def _is_reserved(name: str) -> bool:
    return name.lower() in RESERVED and name.lower() != KEY_MAY_BE


def _names_rows(column: Column) -> bool:
    return _no_name(column) is None


def _no_name(column: Column) -> str | None:
    """Why the column cannot name a row; None where it can."""
    if column.filled < column.rows:
        return f"it is empty in {column.rows - column.filled:,} of {column.rows:,} rows"
    if column.kind == FRACTION and not column.whole:
        return "it is a fraction, or a number too long for one"
    if column.kind not in (WHOLE, FRACTION, TEXT):
        return f"it is a {column.kind}" if column.kind != TIME else "it is a date"
    if column.formats:
        return f"its values are read as dates ({', '.join(column.formats)})"
    if not column.unique:
        return f"it has {column.distinct:,} different values in {column.rows:,} rows"
    return None


def _children(
    con: duckdb.DuckDBPyConnection, applications: Table, rest: Sequence[Files], key: str
) -> tuple[Table, ...]:
    """Tables whose rows belong to an applicant, then those that belong to a row of these, parents first."""
    tables, left = [applications], list(rest)
    links = {key: applications}
    while tied := [(files, link) for files in left for link in links if _ties(files, link, links[link])]:
        files, link = min(tied, key=lambda pair: list(links).index(pair[1]))
        left.remove(files)
        parent, column = links[link], identifier(link)
        [(orphans,)] = con.execute(
            f"SELECT count(*) FROM {files.view} WHERE {column} IS NOT NULL AND {files.columns[link].identity()} NOT IN "
            f"(SELECT {parent.columns[link].identity()} FROM {parent.files.view} WHERE {column} IS NOT NULL)"
        ).fetchall()
        reserved = {"outcomes", "features", *(table.name for table in tables)}
        reserved |= {f"{name}_features" for name in reserved}
        child = Table(distinct(_stem_in_common(files), reserved), files, parent.name, link, int(orphans))
        tables.append(child)
        for name, found in files.columns.items():
            if name not in links and _names_rows(found) and place_of(name, (column_names.KEY,)) is not None:
                links[name] = child
    return tuple(tables[1:])


def _ties(files: Files, link: str, parent: Table) -> bool:
    """Whether the rows of the files may belong to those of the table: both have names in the column."""
    column, named = files.columns.get(link), parent.columns[link]
    if column is None:
        return False
    whole = column.kind == WHOLE or (column.kind == FRACTION and column.whole)
    return whole if named.kind != TEXT else column.kind in (WHOLE, TEXT)


def _stem_in_common(files: Files) -> str:
    names = [undated(stem(part.path)) for part in files.parts]
    shared = next((n for n, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), len(names[0]))
    return plain(names[0][:shared].rstrip("_-. 0123456789") or names[0])


# -- what must not reach a model -----------------------------------------------------------------------


def _protected(
    con: duckdb.DuckDBPyConnection, files: Files, spared: set[str]
) -> tuple[dict[str, Protected], dict[str, str]]:
    protected: dict[str, Protected] = {}
    unaudited: dict[str, str] = {}
    for column in files.columns.values():
        if column.name in spared or not column.filled:
            continue
        found = _attributes(column)
        for attribute, (why, words) in found.items():
            if (item := _grouped(con, files, attribute, column, why, words)) is None:
                said = f"{attribute.replace('_', ' ')}, {why}; it has no groups to audit as it is"
                unaudited[column.name] = said
                continue
            if len(found) > 1 and not words:
                others = " and ".join(other.replace("_", " ") for other in found if other != attribute)
                said = f"{item.why}; it mixes {others} with it: give each code the word of this attribute alone"
                item = replace(item, why=said)
            name = attribute if attribute not in protected else f"{attribute}_{plain(column.name)}"
            protected[distinct(name, protected)] = item
    return protected, unaudited


def _attribute(column: Column) -> str | None:
    """What is protected in the column, if anything."""
    return next(iter(_attributes(column)), None)


def _attributes(column: Column) -> dict[str, tuple[str, dict[str, str]]]:
    """What is protected in the column, by its name or its values: why it is thought so, and which values name which
    group. A column may mix sex with marital status; otherwise the likeliest counts."""
    named = [name for name, pattern in column_names.PROTECTED.items() if place_of(column.name, (pattern,)) == 0]
    values = column.value_counts or {}
    by_name = "gender" in named or "title" in parts(column.name)
    sexes = _sexes(values, by_name)
    found: dict[str, tuple[str, dict[str, str]]] = {}
    if sexes or "gender" in named:
        found["gender"] = ("by its name" if "gender" in named else "its values name men and women", sexes)
    married = _marital(values) if sexes else {}
    if married or (found and "marital_status" in named):
        why = "by its name" if "marital_status" in named else "its values name marital status"
        found["marital_status"] = (why, married)
    if not found and named:
        found[named[0]] = ("by its name", {})
    for attribute, pattern in column_names.PROTECTED_VALUES.items():
        if not found and sum(re.fullmatch(pattern, _plainly(value)) is not None for value in values) > 1:
            found[attribute] = ("by its values", {})
    return found


def _grouped(
    con: duckdb.DuckDBPyConnection, files: Files, attribute: str, column: Column, why: str, words: dict[str, str]
) -> Protected | None:
    """How the column's values make groups; None where they make none."""
    low, high = column.low or 0, column.high or 0
    if attribute == "age" and column.kind in (WHOLE, FRACTION) and not (low >= 0 and high <= FLAGGED):
        return _ages(con, files, column, why)
    if not column.value_counts or column.date:
        return None
    unknown = tuple(word for word in column.value_counts if word.strip().lower() in column_names.UNKNOWN)
    if words:
        needed = set(words) != set(words.values())
        return Protected(column.name, "words", why, words=words if needed else {}, not_judged=unknown)
    codes = all(re.fullmatch(r"-?[0-9.]+", word) for word in column.value_counts)
    coded = codes and attribute != "dependents"
    hint = f"; say what its codes mean, as in `words: {{{next(iter(column.value_counts))}: ...}}`" if coded else ""
    return Protected(column.name, "words", f"{why}{hint}", not_judged=unknown)


def _ages(con: duckdb.DuckDBPyConnection, files: Files, column: Column, why: str) -> Protected | None:
    """Bands of an age in years, or in days before the application; a few values that are no age are reported."""
    value = f"try_cast({column.sql} AS double)"
    [(years, oldest, youngest, above, below, days)] = con.execute(
        f"SELECT count(*) FILTER (v BETWEEN 0 AND {OLDEST}), max(v) FILTER (v BETWEEN 0 AND {OLDEST}), "
        f"min(v) FILTER (v BETWEEN 0 AND {OLDEST}), count(*) FILTER (v > {OLDEST}), count(*) FILTER (v < 0), "
        f"count(*) FILTER (v BETWEEN -{OLDEST} * 366 AND -10 * 365) "
        f"FROM (SELECT {value} AS v FROM {files.view}) WHERE NOT isnan(v)"
    ).fetchall()
    enough = (1 - ODD_SHARE) * (years + above + below - sum(column.sentinels.values()))
    if years >= enough and years and oldest >= 30:
        bands = tuple(band for band in AGE_BANDS if youngest < band <= oldest)
        odd = [
            f"{n:,} row{'s' * (n > 1)} {where}" for n, where in ((above, f"above {OLDEST}"), (below, "below 0")) if n
        ]
        said = f"; {' and '.join(odd)}, taken as not given" if odd else ""
        return Protected(column.name, "years", f"an age in years, {why}{said}", bands=bands) if bands else None
    if days >= enough and days:
        odd_days = years + above + below - days
        said = f"; {odd_days:,} row{'s' * (odd_days > 1)} that can be no age, taken as not given" if odd_days else ""
        return Protected(column.name, "days_before", f"a birth in days before the application{said}", bands=AGE_BANDS)
    return None


def _plainly(value: str) -> str:
    return unaccented(" ".join(value.lower().replace("_", " ").split()))


def _sexes(values: Mapping[str, int], by_name: bool) -> dict[str, str]:
    """Each value to male or female, where all (but those for unknown) name one; M and F only `by_name`."""
    found = {}
    for value in values:
        if value.strip().lower() in column_names.UNKNOWN:
            continue
        said = {part for part in re.split(r"[\W_]+", _plainly(value)) if by_name or len(part) > 2}
        male, female = (any(re.fullmatch(of, part) for part in said) for of in (column_names.MALE, column_names.FEMALE))
        if male == female:
            return {}
        found[value] = "male" if male else "female"
    return found if set(found.values()) == {"male", "female"} else {}


def _marital(values: Mapping[str, int]) -> dict[str, str]:
    """Each value that names sex and marital status together to the latter; nothing where one of them does not."""
    found, sexes = {}, f"{column_names.MALE}|{column_names.FEMALE}"
    for value in values:
        left = [part for part in re.split(r"[\W_]+", _plainly(value)) if part and not re.fullmatch(sexes, part)]
        if not left and value.strip().lower() not in column_names.UNKNOWN:
            return {}
        if left:
            found[value] = "/".join(left)
    known = any(
        re.fullmatch(column_names.PROTECTED_VALUES["marital_status"], " ".join(group.split("/")))
        for group in found.values()
    )
    return found if known else {}


def _decided(files: Files, spared: set[str]) -> str | None:
    """The date a loan was applied for or given: never empty, such that a delivery can be cut by it, and named so."""
    places = {
        column.name: place
        for column in files.columns.values()
        if column.date and column.filled == column.rows and column.name not in spared and not column.missing
        if YEARS[0] <= (column.years[0] or 0) <= (column.years[1] or 0) <= YEARS[1]
        if (place := place_of(column.name, column_names.DECISION)) is not None
    }
    return min(places, key=lambda name: places[name], default=None)


def _batches(con: duckdb.DuckDBPyConnection, files: Files, decided: str | None) -> int:
    """How many batches the files make: cut by the date of the decision, else one a file."""
    if decided is None:
        return len(files.parts)
    day = files.columns[decided].date
    return int(con.execute(f"SELECT count(DISTINCT date_trunc('{EVERY}', {day})) FROM {files.view}").fetchall()[0][0])


def _late(
    con: duckdb.DuckDBPyConnection,
    files: Files,
    children: Sequence[Table],
    outcome: Outcome,
    key: str,
    spared: set[str],
    decided: str | None,
    protected_in: Mapping[str, Mapping[str, str]],
) -> dict[str, str]:
    """Columns that seem to be known only after the decision, each with why."""
    columns = [column for column in files.columns.values() if column.filled and column.name not in spared]
    late = {column.name: "by its name" for column in columns if column.name != decided and _late_by_name(column.name)}
    decision = files.columns[decided].date if decided else None
    for column in columns:
        if decision and column.date and column.name not in {decided, *late}:
            [(after,)] = con.execute(
                f"SELECT count(*) FILTER ({column.date} > {decision}) FROM {files.view}"
            ).fetchall()
            if after > 0.01 * column.filled:
                late[column.name] = f"after {decided} on {after:,} rows"
    values = {column.name: f"({_value(column)})" for column in columns}
    rows, bad = _ranked(con, files.view, values, files.columns[outcome.column].sql, outcome)
    aucs = {name: single_feature_auc(rows[name], bad)[0] for name in rows}
    for name, auc in aucs.items():
        if auc > LEAK_AUC and name not in late:
            late[name] = f"alone it ranks the outcomes with an AUC of {auc:.2f}"
    late |= _together(rows, bad, aucs, late)
    for child in children:
        numbers = {
            column.name: f"avg(try_cast({column.number} AS double))"
            for column in child.columns.values()
            if column.number and column.name not in {key, child.link, *late, *protected_in[child.name]}
        }
        if child.parent == "applications" and numbers:
            target, link = identifier(outcome.column), child.columns[key].identity()
            grouped = ", ".join(f"{value} AS {identifier(name)}" for name, value in numbers.items())
            joined = (
                f"(SELECT a.{target} AS _outcome, c.* FROM {files.view} a LEFT JOIN "
                f"(SELECT {link} AS _link, {grouped} FROM {child.files.view} GROUP BY 1) c "
                f"ON {files.columns[key].identity('a')} = _link)"
            )
            plainly = {name: identifier(name) for name in numbers}
            means, bad = _ranked(con, joined, plainly, "_outcome", outcome)
            for name in means:
                if (auc := single_feature_auc(means[name], bad)[0]) > LEAK_AUC:
                    late[name] = f"its mean in {child.name} alone ranks the outcomes with an AUC of {auc:.2f}"
    return late


def _late_by_name(column: str) -> bool:
    """Whether the name speaks of what happens after the decision. Counts of what went wrong before are history."""
    late = place_of(column, column_names.LATE) is not None
    return late and place_of(column, (column_names.HISTORY,)) is None


def _together(rows: pd.DataFrame, bad: np.ndarray, aucs: Mapping[str, float], late: Collection[str]) -> dict[str, str]:
    """Columns to leave out, each with why, so that no two or three of the others give back a column that is known too
    late, or rank the outcomes too well by a sum, difference, ratio or product. Of those that do so together, the one
    that alone ranks best goes."""
    found: dict[str, str] = {}
    hidden = rows[[name for name in rows if name in late]]
    while len(found) < MOST_TOGETHER:
        left = rows[[name for name in rows if name not in late and name not in found]]
        leaks = [leak for leak in given_back(hidden, left, bad) if leak.auc > LEAK_AUC or len(leak.features) == 1]
        leaks += leading_pairs(left, bad, LEAK_AUC)
        if not leaks:
            break
        for leak in leaks:
            if not set(leak.features) & set(found):
                found[max(leak.features, key=lambda name: aucs[name])] = f"a leak with others: {leak}"
    return found


def _value(column: Column) -> str:
    if column.number:
        return f"try_cast({column.number} AS double)"
    return f"epoch({column.date})" if column.date else f"cast({column.sql} AS varchar)"


def _ranked(
    con: duckdb.DuckDBPyConnection, source: str, values: Mapping[str, str], target: str, outcome: Outcome
) -> tuple[pd.DataFrame, np.ndarray]:
    """The columns (SQL of their values) of a sample of rows with known outcomes, and which of these are bad."""
    bad, known = (", ".join(map(sql_text, values)) for values in (outcome.bad, (*outcome.bad, *outcome.good)))
    target = f"cast({target} AS varchar)"
    rows = con.execute(
        f"SELECT {', '.join([f'{target} IN ({bad})', *values.values()])} "
        # a sample is drawn before WHERE of the same SELECT, and few of its rows may have a known outcome
        f"FROM (SELECT * FROM {source} WHERE {target} IN ({known})) USING SAMPLE {RANKED_ROWS} ROWS (reservoir, 1)"
    ).df()
    return rows.iloc[:, 1:].set_axis(list(values), axis=1), rows.iloc[:, 0].to_numpy(dtype=bool)

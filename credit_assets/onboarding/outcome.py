"""Finds the column with the outcome of a loan, and which of its values mean good and bad.

Files that hold outcomes alone are joined to the applicants in `applicants.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from credit_assets.onboarding import column_names
from credit_assets.onboarding.files import BookError, Column, Files
from credit_assets.onboarding.wording import BY_NAME, BY_VALUES, normalised, parts, pattern_index, unaccented

MAX_BAD_SHARE = 0.6
"""Above this share of rows, 1 or yes is unlikely to be the bad outcome, even in a deliberately balanced sample."""

MIN_SHARE_OF_NUMBERS = 0.3
"""If at least this share of the column names are numbers, the first line is unlikely to be a header."""


@dataclass(frozen=True)
class Outcome:
    """The column with the outcome of a loan, its values for bad and good, and the reason for this reading."""

    column: str
    bad: tuple[str, ...]
    good: tuple[str, ...]
    why: str


def find_outcome(found: Sequence[Files], target: str | None) -> tuple[Files, Outcome]:
    """The files with the outcome column, and what its values mean; `target` names the column, if the user has.

    Raises BookError if no column has the outcome of a loan.
    """
    if target is not None:
        for files in found:
            if target in files.columns:
                return files, _interpret(files.columns[target])
        raise BookError(f"No file has a column {target}. There are: {'; '.join(', '.join(f.columns) for f in found)}.")
    candidates = [
        (place, -files.rows, -nth, files, column)
        for files in found
        for nth, column in enumerate(files.columns.values())
        if (place := pattern_index(column.name, column_names.OUTCOME)) is not None and _may_be_outcome(column, place)
    ] or [
        (len(column_names.OUTCOME), -files.rows, -nth, files, column)
        for files in found
        for nth, column in enumerate(files.columns.values())
        if _means_good_and_bad(column)
    ]
    if not candidates:
        raise BookError(
            "No column with the outcome of a loan was found: none of two values has a name such as target, default, "
            "bad or loan_status, or values such as Charged Off and Fully Paid. Name the column with --target."
            + "".join(map(_header_question, found))
        )
    *_, files, column = min(candidates, key=lambda candidate: candidate[:3])
    return files, _interpret(column)


def _header_question(files: Files) -> str:
    """A question to the user if the names of the columns look like values; else empty."""
    numbers = sum(re.fullmatch(r"[-+]?[0-9]+([.,][0-9]+)?", name.strip()) is not None for name in files.columns)
    if numbers < MIN_SHARE_OF_NUMBERS * len(files.columns):
        return ""
    begins = ", ".join(list(files.columns)[:2])
    return f" Is the first line of {files.names}, which begins with {begins}, a header? Write one above the rows."


def _may_be_outcome(column: Column, place: int) -> bool:
    """Whether the column has two values, or more of which some mean bad and some good."""
    values = list(column.value_counts or ())
    if len(values) == 2:
        return True
    senses = {_sense(value) for value in values}
    yes_and_no = any(map(_is_yes, values)) and any(map(_is_no, values))
    return {True, False} <= senses or (place == 0 and len(values) > 2 and yes_and_no)


def _means_good_and_bad(column: Column) -> bool:
    """Whether the column has two values, one of which means bad and the other good."""
    return {_sense(value, weakly=True) for value in column.value_counts or ()} == {True, False} and len(
        column.value_counts or ()
    ) == 2


def _is_yes(value: str) -> bool:
    return re.fullmatch(column_names.YES, normalised(value)) is not None


def _is_no(value: str) -> bool:
    return re.fullmatch(column_names.NO, normalised(value)) is not None


def _sense(text: str, weakly: bool = False) -> bool | None:
    """Whether a name or value means a bad loan (True) or a good one (False); None if it means neither or both. A
    negation reverses what follows it: `not fully paid` and `unpaid` are bad, `non-default` is good."""
    last = re.split(r"[.:;]\s*(?=\w+ |\w+$)", text)[-1] if " " in text.strip() else text
    words = unaccented(
        " ".join(parts(re.sub(r"(?i)(?<![^\W_])(un|non)(?=(re)?paid|performing|default)", r"\1 ", last)))
    )
    bad = f"{column_names.BAD_ROOTS}|{column_names.WEAKLY_BAD_ROOTS}" if weakly else column_names.BAD_ROOTS
    negated, senses = False, set()
    for found in re.finditer(
        rf"\b(?:(?P<not>{column_names.NEGATIONS})|(?P<bad>{bad})|(?P<good>{column_names.GOOD_ROOTS}))\b", words
    ):
        if found["not"]:
            negated = True
        else:
            senses.add((found["bad"] is not None) != negated)
            negated = False
    return senses.pop() if len(senses) == 1 else None


def _interpret(column: Column) -> Outcome:
    """Which values mean bad and good: by their meaning, else by the column's name, else by which is rarer."""
    counts = column.value_counts or {}
    values = list(counts)
    two = len(values) == 2
    bad, good = (tuple(v for v in values if _sense(v, weakly=two) is sense) for sense in (True, False))
    if {value.strip().lower() for value in values} == {"b", "g"}:
        bad, good = (tuple(v for v in values if v.strip().lower() == letter) for letter in "bg")
    if two and bool(bad) != bool(good):
        bad, good = bad or tuple(v for v in values if v not in good), good or tuple(v for v in values if v not in bad)
    yes, no = (tuple(v for v in values if test(v)) for test in (_is_yes, _is_no))
    doubtful = False
    if bad and good:
        why = BY_VALUES
    elif yes and no and (sense := _sense(column.name)) is not None:
        bad, good, why = (yes, no, BY_NAME) if sense else (no, yes, BY_NAME)
    elif yes and no and sum(counts[v] for v in yes) <= MAX_BAD_SHARE * sum(counts[v] for v in (*yes, *no)):
        bad, good, why, doubtful = yes, no, f"{yes[0]} is taken for bad, though the column name does not show it", True
    elif two:
        good, bad, doubtful = (values[0],), (values[1],), True
        why = f"{values[1]} is the rarer value and is taken for bad"
    else:
        raise BookError(
            f"Column {column.name} cannot be the target: it needs two values, or values that mean bad and good."
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

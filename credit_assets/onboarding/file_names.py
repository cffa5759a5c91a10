"""Names of delivered files: the date or number of the delivery in a name, and the pattern of later names.

How a delivery's files are matched with patterns is in `ingest/inbox.py`.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from credit_assets.ingest import month_names

_NUMBERS_OF_MONTHS = month_names.any_language() | {
    "ene": 1,
    "abr": 4,
    "ago": 8,
    "okt": 10,
    "dic": 12,
    "dez": 12,
    "mai": 5,
}
_MONTHS = "|".join(sorted(_NUMBERS_OF_MONTHS, key=len, reverse=True))
_BETWEEN = r"[-_. ]?"
_YEAR, _MONTH, _DAY = r"(19|20)\d\d", r"(0[1-9]|1[0-2])", r"(0[1-9]|[12]\d|3[01])"
_TIME = r"([-_T ]?([01]\d|2[0-3])[-_.:]?[0-5]\d([-_.:]?[0-5]\d)?Z?)?"
_DATES = (
    rf"{_YEAR}{_BETWEEN}{_MONTH}{_BETWEEN}{_DAY}{_TIME}",
    rf"{_DAY}{_BETWEEN}{_MONTH}{_BETWEEN}{_YEAR}",
    rf"{_MONTH}{_BETWEEN}{_DAY}{_BETWEEN}{_YEAR}",
    rf"({_DAY}{_BETWEEN})?({_MONTHS}){_BETWEEN}(19|20)?\d\d",
    rf"{_YEAR}{_BETWEEN}({_MONTHS})({_BETWEEN}{_DAY})?",
    rf"{_YEAR}{_BETWEEN}[QHWKqhwk]\d\d?",
    rf"[QHWKqhwk]\d\d?{_BETWEEN}(19|20)?\d\d",
    rf"{_YEAR}{_BETWEEN}{_MONTH}",
    rf"{_MONTH}{_BETWEEN}{_YEAR}",
    r"1[5-9]\d{8}(\d{3})?",
    _YEAR,
)
"""Dates in a name: year, month and day in any order, a month by its name, a quarter, half-year or week, seconds since
1970, or a year alone. Of several that begin at the same place, the longest counts."""
_BATCHES = (
    rf"(?P<year>{_YEAR}){_BETWEEN}(?P<month>{_MONTH})({_BETWEEN}(?P<day>{_DAY}))?",
    # A day that may be a month, as in 01.02.2024, is ambiguous.
    rf"(?P<day>1[3-9]|2\d|3[01]){_BETWEEN}(?P<month>{_MONTH}){_BETWEEN}(?P<year>{_YEAR})",
    rf"(?P<month>{_MONTH}){_BETWEEN}((?P<day>1[3-9]|2\d|3[01]){_BETWEEN})?(?P<year>{_YEAR})",
    rf"((?P<day>{_DAY}){_BETWEEN})?(?P<name>{_MONTHS}){_BETWEEN}(?P<year>((19|20)?\d\d))",
    rf"(?P<year>{_YEAR}){_BETWEEN}(?P<name>{_MONTHS})({_BETWEEN}(?P<day>{_DAY}))?",
    rf"(?P<year>{_YEAR}){_BETWEEN}(?P<part>[QHWK]\d\d?)",
    rf"(?P<part>[QHWK]\d\d?){_BETWEEN}(?P<year>(19|20)\d\d)",
    rf"(?P<year>{_YEAR})",
)
_NUMBERS = r"[-_ ]?(v|ver|version)[-_ ]?\d+|[-_ ]?\(\d+\)"
_CHANGING = re.compile(
    rf"(?<![A-Za-z0-9])({'|'.join(_DATES)})(?![A-Za-z0-9])"
    rf"|(?<=[A-Za-z])({'|'.join(date for date in _DATES if date != _YEAR)})(?![0-9])"
    rf"|({_NUMBERS})(?![A-Za-z0-9])",
    re.IGNORECASE,
)


def patterns(stems: Sequence[str], others: Collection[str]) -> list[str]:
    """Patterns that match the names of one table's files and of later deliveries, in which dates, versions and (of
    several files) numbers differ; and no name in `others`, the files of other tables."""
    found: list[str] = []
    for stem in stems:
        changing = _spans(stem, stems)
        wide, narrow = _wide(stem, changing), _narrow(stem, changing)
        tried = [pattern for pattern in (wide, narrow) if pattern == narrow or re.search("[A-Za-z]{2}", pattern)]
        free = [pattern for pattern in tried if not any(_matches(other, pattern) for other in others)]
        chosen = free[0] if free else glob.escape(stem)
        if chosen not in found:
            found.append(chosen)
    return found


def undated(stem: str) -> str:
    """The name without the date or number of its delivery, for the name of a table."""
    left = stem
    for start, end in reversed(_spans(stem, [stem])):
        left = left[:start] + left[end:]
    return left.strip("_-. ") or stem


def batches_of(stems: Sequence[str]) -> list[str] | None:
    """Names of batches from the dates in the names of one table's files, which sort by date: `2024-01`, `2024-01-31`,
    `2024-Q1`, `2024`. None if a name has no date or an ambiguous one, or if two are equal."""
    found = [_batch(stem) for stem in stems]
    batches = [batch for batch in found if batch]
    one_form = len({re.sub(r"\d", "0", batch) for batch in batches}) == 1
    return batches if one_form and len(set(batches)) == len(stems) else None


def _batch(stem: str) -> str | None:
    dates = [found[0] for found in _CHANGING.finditer(stem)]
    if len(dates) != 1:
        return None
    for form in _BATCHES:
        if found := re.fullmatch(form, dates[0], re.IGNORECASE):
            parts = found.groupdict()
            if name := parts.pop("name", None):
                parts["month"] = _number_of(name)
            year = parts["year"] if len(parts["year"]) == 4 else f"20{parts['year']}"
            return "-".join([year, *(part.upper() for key in ("month", "day", "part") if (part := parts.get(key)))])
    return None


def _number_of(month: str) -> str:
    """The number of a month, given its name in one of the known languages."""
    return f"{_NUMBERS_OF_MONTHS[month.lower()]:02}"


def _spans(stem: str, stems: Sequence[str]) -> list[tuple[int, int]]:
    """The spans of the name that change between deliveries: dates, versions, and numbers in which files differ."""
    spans = [found.span() for found in _CHANGING.finditer(stem)]
    shape = re.sub(r"\d+", "0", stem)
    alike = [other for other in stems if other != stem and re.sub(r"\d+", "0", other) == shape]
    for nth, found in enumerate(re.finditer(r"\d+", stem)):
        differs = any(re.findall(r"\d+", other)[nth] != found[0] for other in alike)
        if differs and not any(start < found.end() and found.start() < end for start, end in spans):
            spans.append(found.span())
    return sorted(spans)


def _matches(stem: str, pattern: str) -> bool:
    return fnmatchcase(stem.lower(), pattern.lower())


def _wide(stem: str, spans: Sequence[tuple[int, int]]) -> str:
    """The name with `*` for what changes, except a year's century."""
    pattern, last = "", 0
    for start, end in spans:
        year = re.search(rf"(?<!\d){_YEAR}", stem[start:end])
        century = "" if year is None else f"*{year[1]}" if year.start() else year[1]
        pattern += glob.escape(stem[last:start]) + century + "*"
        last = end
    return re.sub(r"\*+", "*", pattern + glob.escape(stem[last:]))


def _narrow(stem: str, spans: Sequence[tuple[int, int]]) -> str:
    """The name with a digit for each digit that changes."""
    pattern, last = "", 0
    for start, end in spans:
        pattern += glob.escape(stem[last:start]) + re.sub(r"\d", "[0-9]", glob.escape(stem[start:end]))
        last = end
    return pattern + glob.escape(stem[last:])

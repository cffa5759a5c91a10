"""Numbers with the noun that they count, for messages: `1 row`, `2 rows`, `1,000 batches`."""

from __future__ import annotations

import re


def number_of(number: float, noun: str) -> str:
    """The number, in groups of three digits, and the noun in the singular or the plural.

    Examples:
        >>> number_of(1, "row"), number_of(1000, "batch")
        ('1 row', '1,000 batches')
    """
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a noun that has a regular one."""
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    return re.sub(r"(?<=[^aeiou])y$", "ie", noun) + "s"


def are(number: float) -> str:
    """The verb for so many."""
    return "is" if number == 1 else "are"

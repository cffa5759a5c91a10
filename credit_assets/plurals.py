"""Numbers with nouns in the singular or plural, for messages: `1 row`, `2 rows`, `1,000 batches`."""

from __future__ import annotations

import re


def number_of(number: float, noun: str) -> str:
    """The number with thousands separators, and the noun in the singular or plural.

    Examples:
        >>> number_of(1, "row"), number_of(1000, "batch")
        ('1 row', '1,000 batches')
    """
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The regular plural of a noun."""
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    return re.sub(r"(?<=[^aeiou])y$", "ie", noun) + "s"


def are(number: float) -> str:
    """The verb that agrees with the number."""
    return "is" if number == 1 else "are"

"""Numbers in text (grouped, with currency signs, negative in brackets): the SQL that reads them, and the pattern that
later deliveries must match.
"""

from __future__ import annotations

from collections.abc import Collection

from credit_assets.lake.sql import sql_text

PLAIN = r"\s*[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?\s*"
"""Numbers that a cast can read, unless they are too large for 64 bits."""

WHOLE = r"\s*[+-]?[0-9]+([.]0*)?\s*"
LEADING_ZERO = r"\s*[+-]?0[0-9]+\s*"

BLANKS = " \t\u00a0\u2009\u202f"
SIGNS = f"{BLANKS}%$€£¥₹₽₩₺"
APOSTROPHES = "'\u2019"
MINUS = "-\u2212\u2013"
CODES = r"US\$|R\$|USD|EUR|GBP|CHF|JPY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK|Rs[.]?|kr[.]?|zł|Kč"


def pattern(comma: bool, seen: Collection[str] | None = None) -> str:
    """A regular expression of numbers with a decimal point (or `comma`): with the signs `seen`, or all that are known.

    Thousands may be grouped as in 1,234,567 or 12,34,567, also by blanks and apostrophes. Negative numbers, if a minus
    or a bracket is among the signs: -1, 1-, (1), -(1).
    """
    known = set(f"{SIGNS}{APOSTROPHES}{MINUS}()aA") if seen is None else {*seen, " "}
    point, group = (",", ".") if comma else (".", ",")
    groups = "".join(sign for sign in f"{group}{APOSTROPHES}{BLANKS}" if sign == group or sign in known)
    signs = "".join(sign for sign in SIGNS if sign in known)
    negative = known & set(f"{MINUS}()")
    # A minus must be the last in a set of characters.
    minus = "".join(sign for sign in MINUS[::-1] if sign in known)
    before, after = (
        f"[{signs}{sign}{minus}]" if negative else f"[{signs}{plus}]" for sign, plus in (("+(", "+"), (")", ""))
    )
    if any(sign.isalpha() for sign in known):
        before, after = f"(?:{before}|{CODES})", f"(?:{after}|{CODES})"
    grouped = f"[1-9][0-9]{{0,2}}([{groups}][0-9]{{2,3}}){{0,9}}[{groups}][0-9]{{3}}"
    # The number of digits is limited, so that a matching text is never infinite.
    return f"{before}*({grouped}|[0-9]{{1,30}})([{point}][0-9]+)?{after}*"


def value(text: str, comma: bool, seen: Collection[str]) -> str:
    """SQL of the number in a text that matches `pattern`; for others it is null or a number made of their digits."""
    if comma:
        digits = f"replace(regexp_replace({text}, '^[^0-9]+|[^0-9,]+', '', 'g'), ',', '.')"
    else:
        digits = f"regexp_replace({text}, '^[^0-9]+|[^0-9.]+', '', 'g')"
    minus = "".join(sign for sign in MINUS[:0:-1] if sign in seen)
    below_zero = f"regexp_matches({text}, {sql_text(f'[({minus}-]')})"
    return f"try_cast(case when {below_zero} then '-' else '' end || {digits} as double)"


def example(comma: bool, seen: Collection[str]) -> str:
    """A number with the signs `seen`."""
    point, group = (",", ".") if comma else (".", ",")
    thousands = next((sign for sign in f"{group}{APOSTROPHES}{BLANKS[1:]}{BLANKS[0]}" if sign in seen), "")
    text = f"1{thousands}234{point if point in seen else ''}{'5' if point in seen else ''}"
    money = next((sign for sign in SIGNS if sign in seen and not sign.isspace() and sign != "%"), "")
    if "%" in seen:
        text = f"{12}{point}5%" if point in seen else "12%"
    return f"({money}{text})" if {"(", ")"} <= {*seen} else f"{money}{text}"

"""Texts that a regular expression matches, for the rows at the edges of contracts.

Python has no public parser of regular expressions. Only `_parsed` uses the private one; if a Python version moves it,
no texts are drawn, as for patterns with a lookaround.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

LONGEST = 500
"""The maximum number of repetitions drawn, outside of another repetition."""

REPEATS = 12
"""The maximum number of repetitions drawn within another repetition."""

DRAWS = 24


class UnknownPattern(ValueError):
    """No text can be drawn for part of a regular expression, such as a lookaround or a back reference."""


def texts_that_match(pattern: str, draws: int = DRAWS) -> list[str]:
    """Texts that a regular expression matches: its shortest, its longest (with limited repetitions) and `draws` others.
    Empty for a pattern with lookarounds or back references."""
    try:
        parsed = _parsed(pattern)
        draw = random.Random(1)
        shapes = [("least", REPEATS), ("greatest", LONGEST), *[("any", REPEATS)] * draws]
        found = [_text(parsed, which, most, draw) for which, most in shapes]
    except (re.error, UnknownPattern):
        return []
    return list(dict.fromkeys(found))


def _parsed(pattern: str) -> Iterable[tuple[Any, Any]]:
    """The parts of the regular expression: pairs of a constant, whose name is its text, and its arguments."""
    try:
        parser = import_module("re._parser")
    except ImportError as error:
        raise UnknownPattern("this Python has no known parser of regular expressions") from error
    found: Iterable[tuple[Any, Any]] = parser.parse(pattern)
    return found


def _text(parsed: Iterable[tuple[Any, Any]], which: str, repeats: int, draw: random.Random) -> str:
    def one_of(options: Sequence[Any]) -> Any:
        return {"least": options[0], "greatest": options[-1]}.get(which) or draw.choice(options)

    text = ""
    for kind, value in parsed:
        match str(kind):
            case "LITERAL":
                text += chr(value)
            case "NOT_LITERAL":
                text += "a" if value != ord("a") else "b"
            case "ANY":
                text += one_of("a 0")
            case "IN":
                text += one_of(_characters(value))
            case "BRANCH":
                text += _text(one_of(value[1]), which, repeats, draw)
            case "SUBPATTERN":
                text += _text(value[-1], which, repeats, draw)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inside = value
                most = max(least, min(int(most), repeats))
                times = {"least": least, "greatest": most}.get(which, draw.randint(least, most))
                text += "".join(_text(inside, which, REPEATS, draw) for _ in range(times))
            case "AT":
                pass
            case unknown:
                raise UnknownPattern(unknown)
    return text


def _characters(within: Iterable[tuple[Any, Any]]) -> list[str]:
    found: list[str] = []
    classes = {"DIGIT": string.digits, "SPACE": " \t", "WORD": "09AZ_az"}
    negated = False
    for kind, value in within:
        if str(kind) == "NEGATE":
            negated = True
        elif str(kind) == "LITERAL":
            found.append(chr(value))
        elif str(kind) == "RANGE":
            low, high = value
            found += map(chr, range(low, high + 1) if negated else (low, (low + high) // 2, high))
        else:
            name = str(value).removeprefix("CATEGORY_")
            known = classes[name.removeprefix("NOT_")]
            found += [sign for sign in "0Aa ~" if sign not in known] if name.startswith("NOT_") else list(known)
    return [sign for sign in string.printable if sign not in found] if negated else found

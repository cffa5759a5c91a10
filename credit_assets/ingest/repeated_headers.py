"""Finds headers repeated among the rows, as in concatenated files: they are not rows.

A repeated header may differ from the first in letter case, blanks, quotes and a byte order mark. A line with an
additional, missing or other name is a row, good or bad.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

from credit_assets.lake.sql import identifier, sql_text

LONGEST_PATTERN = 100_000
"""Characters of the expression for a header. Only the beginning of a longer one is compared: Arrow refuses the
expression for 20,000 columns."""
_MARK = r"(?i)\x{FEFF}?"
# Names that DuckDB may parse as a number or a BOOLEAN.
_VALUES = re.compile(r".*[0-9].*|true|false|t|f|yes|no|y|n|nan|[+-]?inf(inity)?", re.IGNORECASE)


def header_line(names: Sequence[str], separator: str) -> str:
    """A regular expression (valid in Arrow and DuckDB) of lines that repeat the header with these names."""
    between = {"\t": r"\t"}.get(separator, re.escape(separator))
    fields = [rf'[ \t]*"?{_name(name)}"?[ \t]*' for name in names]
    compared = sum(length <= LONGEST_PATTERN for length in accumulate(map(len, fields))) or 1
    # Spreadsheets add empty fields after the last column.
    rest = between if compared < len(fields) else rf'(?:{between}[ \t"]*)*$'
    return rf"^{_MARK}{between.join(fields[:compared])}{rest}"


def header_row(columns: Mapping[str, str]) -> str | None:
    """SQL: TRUE for a row whose value in each of the `columns` (name to type) is the column's name. None if a name is
    not a value of its type, so that no such row can occur."""
    tests = []
    for name, kind in columns.items():
        if kind == "VARCHAR":
            tests.append(f"regexp_full_match(CAST({identifier(name)} AS VARCHAR), {sql_text(_MARK + _name(name))})")
        elif _VALUES.fullmatch(name.strip()):
            tests.append(f"{identifier(name)} = TRY_CAST({sql_text(name)} AS {kind})")
        else:
            return None
    if len(tests) < 2:
        # With a single column, its name may be a value.
        return None
    # For nearly every row only the first test is computed.
    return f"CASE WHEN {tests[0]} THEN {' AND '.join(tests[1:])} ELSE false END"


def _name(name: str) -> str:
    """A regular expression of a column's name: a line break matches a blank, a quote may be doubled."""
    name_pattern = r"\s+".join(map(re.escape, re.findall(r"\S+", name, re.ASCII)))
    return rf"\s*{name_pattern}\s*".replace('"', '""?')

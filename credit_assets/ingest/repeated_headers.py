"""Headers that are repeated among the rows, as in files that were put together: they are no rows.

A repeated header may differ from the first in upper and lower case, blanks, quotes and a byte order mark. A line with
one name more, less or other is a row, good or bad.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from credit_assets.lake.sql import identifier, sql_text

_MARK = r"(?i)\x{FEFF}?"
# Names that DuckDB may read as a number or a BOOLEAN.
_VALUES = re.compile(r".*[0-9].*|true|false|t|f|yes|no|y|n|nan|[+-]?inf(inity)?", re.IGNORECASE)


def header_line(names: Sequence[str], separator: str) -> str:
    """A regular expression (of Arrow and DuckDB) of the lines that are the header of these names again."""
    between = {"\t": r"\t"}.get(separator, re.escape(separator))
    fields = between.join(rf'[ \t]*"?{_name(name)}"?[ \t]*' for name in names)
    # Empty fields after the last column are what spreadsheets add.
    return rf'^{_MARK}{fields}(?:{between}[ \t"]*)*$'


def header_row(columns: Mapping[str, str]) -> str | None:
    """SQL: TRUE for a row that has in each of the `columns` the column's name. Each column comes with the type that it
    is read as; None where a name is no value of its type, so that no such row can be read."""
    tests = []
    for name, kind in columns.items():
        if kind == "VARCHAR":
            tests.append(f"regexp_full_match(CAST({identifier(name)} AS VARCHAR), {sql_text(_MARK + _name(name))})")
        elif _VALUES.fullmatch(name.strip()):
            tests.append(f"{identifier(name)} = TRY_CAST({sql_text(name)} AS {kind})")
        else:
            return None
    if len(tests) < 2:
        # The name of a single column may be a value.
        return None
    # The first alone is computed for nearly every row.
    return f"CASE WHEN {tests[0]} THEN {' AND '.join(tests[1:])} ELSE false END"


def _name(name: str) -> str:
    """A regular expression of a column's name: a line break in it is a blank, a quote may be doubled."""
    words = r"\s+".join(map(re.escape, re.findall(r"\S+", name, re.ASCII)))
    return rf"\s*{words}\s*".replace('"', '""?')

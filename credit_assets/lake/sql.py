"""Names and values quoted as SQL text."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path


def identifier(name: str) -> str:
    """The name quoted for SQL.

    Examples:
        >>> print(identifier('loan "amount"'))
        "loan ""amount\"""
    """
    return '"' + name.replace('"', '""') + '"'


def table_expression(source: str) -> str:
    """The source for FROM: a view's name unchanged, a SELECT in parentheses."""
    return source if re.fullmatch(r'[\w."]+', source) else f"({source})"


def sql_text(text: str) -> str:
    """The text as an SQL literal.

    Examples:
        >>> print(sql_text("borrower's note"))
        'borrower''s note'
    """
    return "'" + text.replace("'", "''") + "'"


def sql_path(file: str | Path) -> str:
    """The path as an SQL literal that DuckDB does not treat as a pattern."""
    return sql_text(glob.escape(str(file)))


def sql_files(files: Sequence[str]) -> str:
    """The files as an SQL list for read_parquet, which would treat a `*` or `[` in a path as a pattern."""
    return "[" + ", ".join(map(sql_path, files)) + "]"

"""Names and words for columns: plain English of a column's name, and names that SQL and Python take."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Collection
from functools import cache

from credit_assets.lake.connections import connect
from credit_assets.lake.contracts import identifier

IN_FULL = {
    "acc": "account",
    "acct": "account",
    "accts": "accounts",
    "addr": "address",
    "amt": "amount",
    "amnt": "amount",
    "avg": "average",
    "bal": "balance",
    "cnt": "number of",
    "cr": "credit",
    "curr": "current",
    "delinq": "delinquency",
    "dpd": "days past due",
    "dti": "debt to income",
    "emp": "employment",
    "funded": "funded",
    "inc": "income",
    "inq": "enquiries",
    "il": "instalment loans",
    "int": "interest",
    "max": "largest",
    "min": "smallest",
    "mo": "months",
    "mos": "months",
    "mths": "months",
    "mnths": "months",
    "n": "number of",
    "nbr": "number of",
    "num": "number of",
    "op": "open",
    "pct": "percentage",
    "perc": "percentage",
    "pmt": "payment",
    "prev": "previous",
    "prncp": "principal",
    "pub": "public",
    "pymnt": "payment",
    "rec": "record",
    "ref": "reference",
    "rev": "revolving",
    "tot": "total",
    "util": "utilisation",
    "yr": "year",
    "yrs": "years",
}


def parts(name: str) -> list[str]:
    """The words in a column's name, in lower case: `creditAmount`, `credit_amount`, `Credit amount` are two."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [part.casefold() for part in re.split(r"[\W_]+", spaced) if part]


def phrase(name: str) -> str:
    """The column's name in plain words: `Credit amount`."""
    told = [piece for part in parts(name) for piece in re.split(r"(?<=[a-z]{3})(?=[0-9]+$)", part)]
    spoken = " ".join(IN_FULL.get(piece, piece) for piece in told) or "column"
    return f"{spoken[0].upper()}{spoken[1:]}"


def words(name: str) -> str:
    """The same with the name in brackets, so that no two are alike: `Credit amount (credit_amount)`."""
    return f"{phrase(name)} ({' '.join(name.split())})"


def plain(name: str) -> str:
    """The name in lower-case ASCII letters, digits and underscores, beginning with a letter."""
    ascii_only = unicodedata.normalize("NFKD", " ".join(parts(name))).encode("ascii", "ignore").decode()
    found = re.sub(r"[^a-z0-9]+", "_", ascii_only.lower()).strip("_")
    return found if found[:1].isalpha() else f"column_{found}".rstrip("_")


def distinct(name: str, taken: Collection[str]) -> str:
    """The name, numbered where it is taken already (upper and lower case are one)."""
    known = {other.lower() for other in taken}
    if name.lower() not in known:
        return name
    return next(numbered for n in range(2, len(known) + 3) if (numbered := f"{name}_{n}").lower() not in known)


def in_sql(name: str) -> str:
    """The column as SQL names it: quoted only where it must be."""
    bare = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) and name.lower() not in _sql_keywords()
    return name if bare else identifier(name)


def in_python(name: str) -> bool:
    """Whether a class may have an attribute of this name that Pandera takes for a column."""
    return name.isidentifier() and name.isascii() and not keyword.iskeyword(name) and not name.startswith("_")


@cache
def _sql_keywords() -> frozenset[str]:
    """What means something to DuckDB, or to the parser that reads the SQL for its lineage."""
    from sqlglot.dialects.duckdb import DuckDB

    with connect() as con:
        asked = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
        known = {word for (word,) in con.execute(asked).fetchall()}
    parser = DuckDB.parser_class
    read = (*DuckDB.tokenizer_class.KEYWORDS, *parser.NO_PAREN_FUNCTION_PARSERS)
    named = (kind.name.lower() for kind in parser.NO_PAREN_FUNCTIONS)
    return frozenset({*known, *(word.lower() for word in read), *named})

"""Text for columns: a name in plain English, names that are valid in SQL and Python, and parts of messages."""

from __future__ import annotations

import keyword
import re
import textwrap
import unicodedata
from collections.abc import Collection, Sequence
from functools import cache

from credit_assets.lake.connections import connect
from credit_assets.lake.sql import identifier

ABBREVIATIONS = {
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


KNOWN_WORDS = (
    "a about account accounts active activity actual add additional address adjusted advance after against age "
    "agreement alimony all allowance amount an and annual annuity any application applications applied approved "
    "area arrangement as asset assets at authorised available average back bad balance balances bank banking "
    "bankruptcies bankruptcy bill branch building bureau business buy by calls car card cards cash category "
    "change channel charge charged charges check checking child city class client co code collateral collection "
    "collections commercial company concession consolidation contract contracts cost count credit creditor "
    "credits current customer daily date day days debit debt debtor debtors debts decision deferred delay delays "
    "delinquencies delinquency delinquent dependents deposit deposits derogatory difference directors disbursed "
    "discount down draft drawings due duration during duty early earned education electronic else employed "
    "employees employer employment end enquiries enquiry equity established estimate ever existing expenditure "
    "expense expenses export external facility farm fee fees field file finance financial first fixed flag for "
    "foreign franchise free from fully furniture goods grade gross group guarantee guaranteed guarantor "
    "guarantors has high highest history home hour hours house household housing identity import in income "
    "industry information inquiries installment installments instalment instalments insurance interest internal "
    "internet inventory invoice is issue job joint kind land largest last late latitude lender length level "
    "liabilities liability lien liens limit limits line lines liquid live loan loans long longitude low lowest "
    "made main major management maximum mean median medical member merchant minimum missed mobile money month "
    "monthly months mortgage mortgages most near net never new next no non not number obligor obligors occupation "
    "of off office officer on once one online open opened opening or order organisation organization other others "
    "out outgoing outstanding over overdraft overdue own owned owner ownership paid part partner past pay payable "
    "payment payments pension per percent percentage period personal plan plans point points portfolio position "
    "postal premium previous price prime principal prior private product profession profit programme property "
    "public purchase purchases purpose quantity quarter rate rates rating ratio real reason recent record records "
    "recoveries recovery refinance refused region registered regular rejected relationship remaining renewal rent "
    "repayment repayments requested reserve residence residential residual restructured retail retirement return "
    "revenue review revolving risk salary sales satisfactory savings score scores secondary sector secured "
    "securities security self seller sentence service settlement share shares short since single size smallest "
    "source spending staff start started state statement status stock store street student sub subscription "
    "support tax taxes telephone tenure term terms the third this tier time times title to total town trade "
    "trades transaction transactions transfer transfers turnover type types under unemployed units unsecured "
    "unused usage use used utilisation utilities utility utilization value vehicle verification verified volume "
    "wage weekly weeks when with within without work worked working worst worth written year yearly years young "
    "zip"
)
"""English words of lending. A name of these words alone serves as a description; any other is a guess."""

_UNITS = {"month", "months", "day", "days", "year", "years", "last", "past", "within", "quarter", "quarters", "weeks"}

LINE_WIDTH = 116
"""Maximum length of a drafted line, without its indent."""

MAX_EXAMPLES = 3
"""Maximum number of examples in a message."""

BY_NAME, BY_VALUES = "inferred from the column name", "inferred from its values"
"""Reasons for a guess about a column."""


def parts(name: str) -> list[str]:
    """The words in a column's name, in lower case: `creditAmount`, `credit_amount` and `Credit amount` have two."""
    return [part.casefold() for part in _pieces(name)]


def _pieces(name: str) -> list[str]:
    # Before a capital after a small letter, and before the last capital of several: MInFile is M, In and File.
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])(?![A-Z]s(?![a-z]))", " ", name)
    return [part for part in re.split(r"[\W_]+", spaced) if part]


def pattern_index(column: str, patterns: Sequence[str]) -> int | None:
    """The index of the first pattern that matches the column's name; None if none does."""
    name = unaccented(" ".join(parts(column)))
    return next((n for n, pattern in enumerate(patterns) if re.fullmatch(pattern, name)), None)


def unaccented(text: str) -> str:
    """The text without accents on its letters: `âge` is `age`."""
    folded = text.replace("ł", "l").replace("Ł", "L")
    return "".join(letter for letter in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(letter))


def normalised(text: str) -> str:
    """The text in lower case, without accents, its words separated by one blank: `Très_bon` is `tres bon`."""
    return unaccented(" ".join(text.lower().replace("_", " ").split()))


def phrase(name: str) -> str:
    """The column's name in plain words: `Credit amount`. Abbreviations are written in full if they are separate
    words; a part of a name in mixed case is not."""
    text = " ".join(_read(name)) or "column"
    return f"{text[0].upper()}{text[1:]}"


def is_guess(name: str) -> bool:
    """Whether the `phrase` may describe the column wrongly: it has unknown words, or an abbreviation was written in
    full."""
    read = _read(name)
    known = set(KNOWN_WORDS.split())
    timed = bool(_UNITS & set(read))
    return not read or read != _split(name) or any(not (word in known or (word.isdigit() and timed)) for word in read)


def _split(name: str) -> list[str]:
    return [piece for part in parts(name) for piece in re.split(r"(?<=[a-z]{3})(?=[0-9]+$)", part)]


def _read(name: str) -> list[str]:
    apart = {part.casefold() for part in re.split(r"[\W_]+", name)}
    apart |= {re.sub(r"(?<=[a-z]{3})[0-9]+$", "", part) for part in apart}
    return [ABBREVIATIONS.get(piece, piece) if piece in apart else piece for piece in _split(name)]


def plain(name: str) -> str:
    """The name in lower-case ASCII letters, digits and underscores, beginning with a letter."""
    ascii_only = unicodedata.normalize("NFKD", " ".join(parts(name))).encode("ascii", "ignore").decode()
    found = re.sub(r"[^a-z0-9]+", "_", ascii_only.lower()).strip("_")
    return found if found[:1].isalpha() else f"column_{found}".rstrip("_")


def unique_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number added if it is already taken (case is ignored)."""
    known = {other.lower() for other in taken}
    if name.lower() not in known:
        return name
    return next(numbered for n in range(2, len(known) + 3) if (numbered := f"{name}_{n}").lower() not in known)


def in_sql(name: str) -> str:
    """The column's name in SQL, quoted only if necessary."""
    bare = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) and name.lower() not in _sql_keywords()
    return name if bare else identifier(name)


def is_contract_attribute(name: str) -> bool:
    """Whether a class can have an attribute of this name that Pandera treats as a column."""
    return name.isidentifier() and name.isascii() and not keyword.iskeyword(name) and not name.startswith("_")


@cache
def _sql_keywords() -> frozenset[str]:
    """The keywords of DuckDB, and of the parser that reads SQL for its lineage."""
    from sqlglot.dialects.duckdb import DuckDB

    with connect() as con:
        reserved = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
        known = {word for (word,) in con.execute(reserved).fetchall()}
    parser = DuckDB.parser_class
    read = (*DuckDB.tokenizer_class.KEYWORDS, *parser.NO_PAREN_FUNCTION_PARSERS)
    named = (kind.name.lower() for kind in parser.NO_PAREN_FUNCTIONS)
    return frozenset({*known, *(word.lower() for word in read), *named})


def count_as(count: int) -> str:
    """The verb of "counts as not known" for so many values."""
    return "count as" if count > 1 else "counts as"


def alternatives(what: str, words: Sequence[str]) -> str:
    """The allowed values, for a message that begins with "must be": `what`, or one of the `words`."""
    shown = [repr(word) for word in words if word.strip()]
    more = [f"{len(shown) - MAX_EXAMPLES} more words"] if len(shown) > MAX_EXAMPLES else []
    return " or ".join([what, *shown[:MAX_EXAMPLES], *more])


def one_line(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def comment(sign: str, text: str) -> list[str]:
    """The text as comment lines that begin with the sign."""
    return [f"{sign} {line}" for line in textwrap.wrap(text, LINE_WIDTH - len(sign), break_long_words=False)]

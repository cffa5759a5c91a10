"""SQL that converts delivered values to the types of a contract: a value that does not fit is null, never rounded."""

from __future__ import annotations

from collections.abc import Mapping

from credit_assets.lake.contracts import FAULTS_TYPE, fault
from credit_assets.lake.sql import identifier, sql_text
from credit_assets.schemas.duckdb_types import FLOATS, NUMBERS

TIME_TYPES = {"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DATE"}
# A time with a zone: `02:00:00Z`, `02:00:00+05:30`, `02:00:00 Europe/Paris`.
ZONED = r"[0-9]:[0-9.]+ *([+-]|[A-Za-z]).*"
# The largest range in which a DOUBLE is exact for whole numbers. Larger ones in CSV are cast from their digits.
EXACT = 2**53


def typed_or_error(raw: Mapping[str, str], kinds: Mapping[str, str], types: Mapping[str, str]) -> str:
    """SQL: as `typed_columns`, but a value that does not fit raises an error."""
    return _typed_or(raw, kinds, types, next(iter(types)), "error('wrong type')")


def typed_or_marked(raw: Mapping[str, str], kinds: Mapping[str, str], types: Mapping[str, str], marker: str) -> str:
    """SQL: as `typed_columns`, but the column `marker` is null if a value of the row does not fit."""
    return _typed_or(raw, kinds, types, marker, "NULL")


def _typed_or(
    raw: Mapping[str, str], kinds: Mapping[str, str], types: Mapping[str, str], marker: str, otherwise: str
) -> str:
    values, misfits = {}, []
    for name, wanted in types.items():
        if name not in raw:
            values[name] = f"CAST(NULL AS {wanted})"
        elif wanted in NUMBERS - FLOATS and kinds[name] == "fraction":
            # For all rows this takes a quarter of the time of `typed`.
            value, number = f"TRY_CAST({raw[name]} AS {wanted})", raw[name]
            misfits.append(f"{value} IS DISTINCT FROM {number}")
            if wanted == "BIGINT":
                misfits.append(f"abs({number}) >= {EXACT}")
            values[name] = value
        else:
            values[name] = typed(raw[name], kinds[name], wanted)
            if wanted in NUMBERS - FLOATS or (kinds[name] == "text" and wanted in TIME_TYPES):
                misfits.append(f"({raw[name]} IS NOT NULL AND {values[name]} IS NULL)")
    if misfits:
        values[marker] = f"CASE WHEN {' OR '.join(misfits)} THEN {otherwise} ELSE {values[marker]} END"
    return ", ".join(f"{value} AS {identifier(name)}" for name, value in values.items())


def typed(raw: str, kind: str, wanted: str) -> str:
    """SQL: the raw value (of kind text, integer, fraction, ...) as the wanted type; null if it does not fit."""
    if wanted in FLOATS:
        number = f"TRY_CAST({raw} AS {wanted})"
        return f"CASE WHEN isfinite({number}) THEN {number} END"
    if kind == "text" and wanted in TIME_TYPES:
        return f"CASE WHEN {_is_zoned(raw)} THEN {_in_utc(raw, wanted)} ELSE TRY_CAST({raw} AS {wanted}) END"
    if wanted not in NUMBERS or kind == "integer":
        return f"TRY_CAST({raw} AS {wanted})"
    number = f"TRY_CAST({raw} AS DOUBLE)" if kind == "text" else raw
    whole = f"{number} = trunc({number})"
    if kind != "decimal":
        whole += f" AND abs({number}) < {EXACT}"
    exact = f"CASE WHEN {whole} THEN TRY_CAST({number} AS {wanted})"
    if kind != "text":
        return f"{exact} END"
    digits = f"regexp_full_match({raw}, '\\s*[+-]?[0-9]+([.]0*)?\\s*')"
    return f"{exact} WHEN {digits} THEN TRY_CAST({raw} AS {wanted}) END"


def _is_zoned(raw: str) -> str:
    return f"regexp_matches({raw}, {sql_text(ZONED)})"


def _in_utc(raw: str, wanted: str) -> str:
    """SQL: a time with a zone, as text, converted to UTC; null if it is not a time. DuckDB requires seconds, and no
    blank before an offset."""
    seconds = f"regexp_replace({raw}, '([ T][0-9]{{1,2}}:[0-9]{{2}})( *[+-]| *[A-Za-z])', '\\1:00\\2')"
    joined = f"regexp_replace({seconds}, ' +([+-][0-9:]+)$', '\\1')"
    return f"CAST(TRY_CAST({joined} AS TIMESTAMP WITH TIME ZONE) AS {wanted})"


def typed_columns(raw: Mapping[str, str], kinds: Mapping[str, str], types: Mapping[str, str]) -> str:
    """SQL: the columns in their types (`types`), null if there is no raw value."""
    return ", ".join(
        (typed(raw[name], kinds[name], kind) if name in raw else f"CAST(NULL AS {kind})") + f" AS {identifier(name)}"
        for name, kind in types.items()
    )


def wrong_types(raw: Mapping[str, str], kinds: Mapping[str, str], types: Mapping[str, str]) -> str:
    """SQL: the list of faults of values that do not fit their column's type."""
    found = []
    for name, value in raw.items():
        wanted = types[name]
        # NaN and infinity are read as null, not as a wrong type.
        read = f"TRY_CAST({value} AS {wanted})" if wanted in FLOATS else typed(value, kinds[name], wanted)
        wrong = fault(name, f"CAST({value} AS VARCHAR)", f"must be {_TYPE_TEXTS.get(wanted, wanted)}")
        found.append(f"CASE WHEN {value} IS NOT NULL AND {read} IS NULL THEN {wrong} END")
    return f"CAST(list_filter([{', '.join(found)}], lambda f: f IS NOT NULL) AS {FAULTS_TYPE})"


_TYPE_TEXTS = {
    "TINYINT": "a whole number from -128 to 127",
    "SMALLINT": "a whole number from -32768 to 32767",
    "INTEGER": "a whole number (32 bit)",
    "BIGINT": "a whole number",
    "DOUBLE": "a number",
    "FLOAT": "a number",
    "BOOLEAN": "true or false",
    "TIMESTAMP": "a date and time",
    "DATE": "a date",
}

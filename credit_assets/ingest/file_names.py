"""What a file name says about a delivered file: its table, outcomes, a companion, hidden, or still being written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from credit_assets.ingest.bad_delivery import BadDelivery, MissingFile

ENDINGS = (".csv.gz", ".csv", ".csv.zip", ".parquet")
OUTCOMES = "outcomes"
# Endings of files that a program is still writing: rsync, scp clients, browsers, this program.
PARTIAL = (".part", ".partial", ".filepart", ".crdownload", ".tmp", "~")
RSYNC_FOLDERS = {".~tmp~", ".rsync-partial"}
# Hidden files that macOS and Windows create beside the user's.
SHADOWS = {"__MACOSX", "Thumbs.db", "desktop.ini"}
MARKER = "SYNTHETIC.md"
"""The file that marks a delivery as generated."""
# Files that describe the delivery and have no rows.
COMPANIONS = {MARKER.lower()}
_ANY_ENDING = "|".join(map(re.escape, ENDINGS))


@dataclass(frozen=True)
class Matched:
    """Files by the table they belong to; `unknown` files belong to none."""

    tables: Mapping[str, tuple[Path, ...]]
    companions: tuple[Path, ...]
    unknown: tuple[Path, ...]


def match_files(
    files: Iterable[Path],
    tables: Mapping[str, Sequence[str]],
    optional: Collection[str] = (),
    outcomes: str | None = None,
    where: Path | None = None,
) -> Matched:
    """Assign files to tables by name without ending, ignoring case.

    `tables` maps a table to the names of its source files (`*` is a wildcard), any one of which is enough; an
    `optional` table may have none. A file named in full by one table matches no pattern of another. `outcomes` is the
    table that also takes all files named `outcomes`, `outcomes.2`, `outcomes_may`, ..., sorted by `outcomes_order`.
    Messages place the files in `where`, or else in their folder. Raises MissingFile for a table without a file, and
    BadDelivery for two files of one name (`bureau.csv` and `bureau.csv.gz`) or a file that matches two tables.
    """
    files = sorted(files)
    folder = where or (files[0].parent if files else None)

    full_names = {name.lower() for names in tables.values() for name in names}

    def has_name(stem: str, name: str) -> bool:
        by_pattern = stem not in full_names and not (outcomes and _names_outcomes(stem))
        return stem == name.lower() or (by_pattern and fnmatchcase(stem, name.lower()))

    def of_table(stem: str, table: str) -> bool:
        return any(has_name(stem, name) for name in tables[table])

    found: dict[str, Path] = {}
    companions, unknown = [], []
    for file in files:
        stem = stem_of(file)
        owners = [table for table in tables if stem is not None and of_table(stem, table)]
        if is_companion(file):
            companions.append(file)
        elif stem is None or not (table := next(iter(owners), outcomes if is_outcomes(file) else None)):
            unknown.append(file)
        elif len(owners) > 1:
            raise BadDelivery(
                f"{file.name} in {folder} matches the tables {' and '.join(owners)}, by the names in the portfolio's "
                "configuration. Make the patterns there distinct, or name the file in full."
            )
        elif stem in found:
            raise BadDelivery(
                f"Table {table}: {found[stem].name} and {file.name} in {folder} are the same file twice. "
                "Keep one of them."
            )
        else:
            found[stem] = file
    matched = {
        table: tuple(dict.fromkeys(found[stem] for name in names for stem in sorted(found) if has_name(stem, name)))
        for table, names in tables.items()
    }
    if outcomes:
        more = [file for stem, file in found.items() if not any(of_table(stem, table) for table in tables)]
        matched[outcomes] = tuple(sorted((*matched[outcomes], *more), key=outcomes_order))
    if missing := [table for table, parts in matched.items() if not parts and table not in optional]:
        raise _missing(missing, tables, folder, unknown)
    return Matched(matched, tuple(companions), tuple(unknown))


def _missing(
    missing: Sequence[str], tables: Mapping[str, Sequence[str]], folder: Path | None, unknown: Sequence[Path]
) -> MissingFile:
    table, *more = missing
    others = f" (also missing: the files of {', '.join(more)})" if more else ""
    unknown_files = f" Unknown files there: {', '.join(file.name for file in unknown)}." if unknown else ""
    return MissingFile(
        f"Table {table}: no file {' or '.join(tables[table])} ({', '.join(ENDINGS)}) "
        f"in {folder or 'the delivery'}{others}.{unknown_files}"
    )


def outcomes_order(file: Path) -> tuple[int, int, str]:
    """Sort key of outcome files, oldest first: `outcomes`, then those with a name, by name, then the numbered ones that
    `Inbox.deliver` adds (`outcomes.2`)."""
    stem = stem_of(file) or ""
    rest = stem[len(OUTCOMES) + 1 :] if is_outcomes(file) else ""
    number = int(rest) if rest.isdecimal() else 0
    return (2 if number else 1 if rest else 0), number, stem


def stem_of(file: Path) -> str | None:
    """The file name in lower case without its ending; None if it is not a data file."""
    return file.name.lower().removesuffix(ending) if (ending := ending_of(file)) else None


def ending_of(file: Path) -> str | None:
    name = file.name.lower()
    return next((ending for ending in ENDINGS if name.endswith(ending)), None)


def is_outcomes(file: Path) -> bool:
    """Whether the file name is that of outcomes that arrive after their batch."""
    return _names_outcomes(stem_of(file) or "")


def is_companion(file: Path) -> bool:
    """Whether the file describes the delivery and has no rows."""
    return file.name.lower() in COMPANIONS


def _names_outcomes(stem: str) -> bool:
    return stem == OUTCOMES or bool(re.fullmatch(rf"{OUTCOMES}[._-].+", stem))


def is_partial(name: str) -> bool:
    """Whether a program is still writing a file of this name; rsync writes to `.bureau.csv.Xy12Ab`, for example."""
    if name.startswith("."):
        return name in RSYNC_FOLDERS or bool(re.fullmatch(rf"\..+({_ANY_ENDING})\.\w{{6}}", name.lower()))
    return name.lower().endswith(PARTIAL)


def is_hidden(path: PurePath) -> bool:
    """Whether the relative path is one that macOS, Windows or an editor creates beside the user's files."""
    return any((part.startswith(".") and part != "..") or part in SHADOWS for part in path.parts)

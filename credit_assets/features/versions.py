"""Which SQL made the existing features. The lake records it for every batch, and so for what a model learned from: a
name has one meaning only if the same SQL made it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import duckdb

from credit_assets.book.queries import FeatureQuery
from credit_assets.lake.log import Commit
from credit_assets.lake.tables import Lake, Writings

FEATURES = "features"


def made_by(writings: Writings, features: str, commit: Commit) -> dict[str, str]:
    """SQL file (without ending) to its version, for all that contributed to the commit's rows; both, if two versions of
    a file did. `features` is the table's name in the lake."""
    found: dict[str, set[str]] = {}
    for table, made in _behind(writings, features, commit):
        if version := made.provenance.asset_code_version:
            found.setdefault(table.rsplit("/", 1)[-1], set()).add(version)
    return {name: " and ".join(sorted(versions)) for name, versions in found.items()}


def stands_now(queries: Mapping[str, FeatureQuery]) -> dict[str, str]:
    """The same for what these queries would make."""
    found: dict[str, str] = {}
    wanted = [FEATURES]
    while wanted:
        query = queries[wanted.pop()]
        found[query.name] = query.version
        wanted += [name for name in query.inputs if name in queries and name not in found]
    return found


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The SQL files that differ between the two, with their ending."""
    return sorted(f"{name}.sql" for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def read_at(writings: Writings, table: str, batch: str, version: int) -> Commit | None:
    """The commit whose rows of the batch this version of the table contains; None if the log does not reach back to
    it."""
    return next((commit for commit in writings(table).get(batch, ()) if commit.version <= version), None)


def made_by_other_sql(
    writings: Writings, features: str, version: int, queries: Mapping[str, FeatureQuery]
) -> dict[str, list[str]]:
    """Batch to the SQL files that have changed since its features in this version of the table were made; only batches
    with any."""
    now = stands_now(queries)
    read = {batch: read_at(writings, features, batch, version) for batch in writings(features)}
    made = {batch: made_by(writings, features, commit) for batch, commit in read.items() if commit}
    return {batch: files for batch in sorted(made) if (files := differing(made[batch], now))}


def same_rows(writings: Writings, table: str, one: Commit, other: Commit) -> bool:
    """Whether two commits of a batch of the table were made from the same rows of the raw tables behind both: from the
    same number of rows of the same files."""
    first, second = (_raw_rows(writings, table, commit) for commit in (one, other))
    return all(first[raw] == second[raw] for raw in first.keys() & second.keys())


def _raw_rows(writings: Writings, table: str, commit: Commit) -> dict[str, set[tuple[frozenset[tuple[str, str]], int]]]:
    found: dict[str, set[tuple[frozenset[tuple[str, str]], int]]] = {}
    for raw, made in _behind(writings, table, commit):
        if made.provenance.source_sha256 is not None:
            found.setdefault(raw, set()).add((frozenset(made.provenance.sources.items()), made.provenance.rows))
    return found


def _behind(writings: Writings, table: str, commit: Commit) -> list[tuple[str, Commit]]:
    """The commit, and those of its batch that its rows were made from, however far back, each with its table; one that
    there are several ways to is named as often."""
    found = [(table, commit)]
    for source, version in commit.provenance.inputs.items():
        if read := read_at(writings, source, str(commit.provenance.batch), version):
            found += _behind(writings, source, read)
    return found


def made_before(writings: Writings, features: str, batch: str, sql: Mapping[str, str]) -> list[Commit]:
    """What this SQL makes, or has made before, from the current rows of the batch; newest first."""
    current, *_ = written = writings(features)[batch]
    by_it = (commit for commit in written if made_by(writings, features, commit) == sql)
    return [commit for commit in by_it if same_rows(writings, features, commit, current)]


def learned_from(
    con: duckdb.DuckDBPyConnection, lake: Lake, training_set: str, version: int, features: str
) -> dict[str, str]:
    """`made_by` for the features in a version of the training set, all of which the same SQL made."""
    [made] = [commit for commit in lake.history(training_set) if commit.version == version]
    [batch] = con.sql(f"SELECT min(batch) FROM ({lake.query(training_set, version=version)})").fetchall()[0]
    # A batch that a model learned from may have been withdrawn since.
    writings = partial(lake.writings, withdrawn=True)
    read = read_at(writings, features, batch, made.provenance.inputs[features])
    return made_by(writings, features, read) if read else {}

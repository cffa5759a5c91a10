"""The SQL versions that made existing features. The lake records them for every batch, and so for a model's training
rows: a feature name has one meaning only if the same SQL made it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import duckdb

from credit_assets.book.queries import FeatureQuery
from credit_assets.lake.log import Commit
from credit_assets.lake.tables import Lake, Writes

FEATURES = "features"


def sql_versions(writes: Writes, features: str, commit: Commit) -> dict[str, str]:
    """For each SQL file (without ending) that contributed to the commit's rows, its version; both, if two versions of a
    file did. `features` is the table's name in the lake."""
    found: dict[str, set[str]] = {}
    for table, made in _upstream_commits(writes, features, commit):
        if version := made.provenance.asset_code_version:
            found.setdefault(table.rsplit("/", 1)[-1], set()).add(version)
    return {name: " and ".join(sorted(versions)) for name, versions in found.items()}


def current_sql_versions(queries: Mapping[str, FeatureQuery]) -> dict[str, str]:
    """For each SQL file of these queries that contributes to the features, its version."""
    found: dict[str, str] = {}
    wanted = [FEATURES]
    while wanted:
        query = queries[wanted.pop()]
        found[query.name] = query.version
        wanted += [name for name in query.inputs if name in queries and name not in found]
    return found


def changed_sql_files(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The SQL files that differ between the two, with their ending."""
    return sorted(f"{name}.sql" for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def read_at(writes: Writes, table: str, batch: str, version: int) -> Commit | None:
    """The commit that wrote the batch's rows in this version of the table; None if the log does not reach back to
    it."""
    return next((commit for commit in writes(table).get(batch, ()) if commit.version <= version), None)


def made_by_other_sql(
    writes: Writes, features: str, version: int, queries: Mapping[str, FeatureQuery]
) -> dict[str, list[str]]:
    """For each batch, the SQL files that have changed since its features in this version of the table were made; only
    batches with any."""
    now = current_sql_versions(queries)
    read = {batch: read_at(writes, features, batch, version) for batch in writes(features)}
    made = {batch: sql_versions(writes, features, commit) for batch, commit in read.items() if commit}
    return {batch: files for batch in sorted(made) if (files := changed_sql_files(made[batch], now))}


def same_rows(writes: Writes, table: str, one: Commit, other: Commit) -> bool:
    """Whether two commits of a batch were made from the same rows of the raw tables that both depend on: the same
    number of rows from the same files."""
    first, second = (_raw_rows(writes, table, commit) for commit in (one, other))
    return all(first[raw] == second[raw] for raw in first.keys() & second.keys())


def _raw_rows(writes: Writes, table: str, commit: Commit) -> dict[str, set[tuple[frozenset[tuple[str, str]], int]]]:
    found: dict[str, set[tuple[frozenset[tuple[str, str]], int]]] = {}
    for raw, made in _upstream_commits(writes, table, commit):
        if made.provenance.source_sha256 is not None:
            found.setdefault(raw, set()).add((frozenset(made.provenance.sources.items()), made.provenance.rows))
    return found


def _upstream_commits(writes: Writes, table: str, commit: Commit) -> list[tuple[str, Commit]]:
    """The commit and all commits of its batch that its rows were made from, directly or not, each with its table; a
    commit reached several ways is repeated."""
    found = [(table, commit)]
    for source, version in commit.provenance.inputs.items():
        if read := read_at(writes, source, str(commit.provenance.batch), version):
            found += _upstream_commits(writes, source, read)
    return found


def commits_made_by(writes: Writes, features: str, batch: str, sql: Mapping[str, str]) -> list[Commit]:
    """The batch's commits, newest first, that this SQL made from the batch's current rows."""
    current, *_ = written = writes(features)[batch]
    by_it = (commit for commit in written if sql_versions(writes, features, commit) == sql)
    return [commit for commit in by_it if same_rows(writes, features, commit, current)]


def training_sql_versions(
    con: duckdb.DuckDBPyConnection, lake: Lake, training_set: str, version: int, features: str
) -> dict[str, str]:
    """`sql_versions` of the features in a version of the training set, all of which the same SQL made."""
    [made] = [commit for commit in lake.history(training_set) if commit.version == version]
    [batch] = con.sql(f"SELECT min(batch) FROM ({lake.query(training_set, version=version)})").fetchall()[0]
    # A batch of the training set may have been withdrawn since.
    writes = partial(lake.writes, withdrawn=True)
    read = read_at(writes, features, batch, made.provenance.inputs[features])
    return sql_versions(writes, features, read) if read else {}

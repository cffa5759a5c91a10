"""Which SQL made the features that are there. The lake remembers it of every batch, and so of what a model learned
from: the same name means the same thing only where the same SQL made it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import duckdb

from credit_assets.features.queries import FeatureQuery
from credit_assets.lake.tables import BATCH, CODE_VERSION, SOURCE, Commit, Lake, Writings

FEATURES = "features"


def made_by(writings: Writings, features: str, commit: Commit) -> dict[str, str]:
    """SQL file (without ending) to its version, of all that had a part in the commit's rows; `features` is the
    table's name in the lake."""
    behind = _behind(writings, features, commit).items()
    return {table.rsplit("/", 1)[-1]: version for table, made in behind if (version := made.metadata.get(CODE_VERSION))}


def stands_now(queries: Mapping[str, FeatureQuery]) -> dict[str, str]:
    """The same of what these queries would make."""
    found: dict[str, str] = {}
    wanted = [FEATURES]
    while wanted:
        query = queries[wanted.pop()]
        found[query.name] = query.version
        wanted += [name for name in query.inputs if name in queries and name not in found]
    return found


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The SQL files that are not the same in both, with their ending."""
    return sorted(f"{name}.sql" for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def made_by_other_sql(writings: Writings, features: str, queries: Mapping[str, FeatureQuery]) -> dict[str, list[str]]:
    """Batch to the SQL files that are others now than when its features were made; only where there are some."""
    now = stands_now(queries)
    made = {batch: made_by(writings, features, current) for batch, (current, *_) in writings(features).items()}
    return {batch: files for batch in sorted(made) if (files := differing(made[batch], now))}


def same_rows(writings: Writings, table: str, one: Commit, other: Commit) -> bool:
    """Whether two commits of a batch of the table were made from the same rows of the raw tables that both go back to:
    from as many rows of the same files."""
    first, second = (_raw_rows(writings, table, commit) for commit in (one, other))
    return all(first[raw] == second[raw] for raw in first.keys() & second.keys())


def _raw_rows(writings: Writings, table: str, commit: Commit) -> dict[str, tuple[str, str]]:
    behind = _behind(writings, table, commit).items()
    return {raw: (made.metadata[SOURCE], made.metadata["rows"]) for raw, made in behind if SOURCE in made.metadata}


def _behind(writings: Writings, table: str, commit: Commit) -> dict[str, Commit]:
    """The commit, and those of its batch that its rows were made from, however far back; by table."""
    found = {table: commit}
    for source, version in json.loads(commit.metadata.get("inputs", "{}")).items():
        written = writings(source).get(commit.metadata[BATCH], ())
        if read := next((candidate for candidate in written if candidate.version <= version), None):
            found |= _behind(writings, source, read)
    return found


def made_before(writings: Writings, features: str, batch: str, sql: Mapping[str, str]) -> Commit:
    """What this SQL once made of the rows that there are of the batch, the newest; if it never did, what is there."""
    current, *earlier = writings(features)[batch]
    by_it = (commit for commit in earlier if made_by(writings, features, commit) == sql)
    return next((commit for commit in by_it if same_rows(writings, features, commit, current)), current)


def learned_from(
    con: duckdb.DuckDBPyConnection, lake: Lake, training_set: str, version: int, features: str
) -> dict[str, str]:
    """What `made_by` tells of the features in a version of the training set, all of which the same SQL made."""
    [made] = [commit for commit in lake.history(training_set) if commit.version == version]
    read = json.loads(made.metadata["inputs"])[features]
    [batch] = con.sql(f"SELECT any_value(batch) FROM ({lake.query(training_set, version=version)})").fetchall()[0]
    of_batch = lake.writings(features)[batch]
    return made_by(lake.writings, features, next(commit for commit in of_batch if commit.version <= read))

"""What a portfolio still has to make: found from the inbox and the lake, never from a list kept beside them.

Plain questions, so that the command, a schedule and a sensor give the same answer. Runs are `runs.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from credit_assets.lake.io_managers import SOURCE
from credit_assets.lake.tables import Commit, Lake
from credit_assets.portfolio import Portfolio
from credit_assets.raw.delivery import BadDelivery, Inbox, match_files

FEATURES = "features"
SCORES = "scores"
SCORE_DRIFT = "score_drift"


@dataclass(frozen=True)
class Outstanding:
    """A job that is due, for a batch or (training) for none, and why. `tables`: these alone of the job."""

    job: str
    batch: str | None
    why: str
    tables: tuple[str, ...] = ()


def to_ingest(portfolio: Portfolio, inbox: Inbox, lake: Lake) -> list[Outstanding]:
    """The delivered batches whose files are not, or not as they are now, in the raw tables and features.

    Outcomes that arrive later for a batch are read by themselves: they change no feature, and so no
    decision that was made.
    """
    written = cache(lake.batches)
    due = []
    for batch in inbox.batches(portfolio.name):
        commits = {table: written(portfolio.table(table)).get(batch) for table in portfolio.models}
        changed = _changed(portfolio, inbox, batch, commits)
        late = _late(written, portfolio.table(FEATURES), batch)
        if not any(commits.values()):
            due.append(Outstanding("ingest", batch, "delivered, not ingested yet"))
        elif changed == (portfolio.outcomes_table,) and not late:
            due.append(Outstanding("ingest", batch, "outcomes were delivered", tables=changed))
        elif changed:
            due.append(Outstanding("ingest", batch, f"its files differ from what was ingested: {', '.join(changed)}"))
        elif late:
            due.append(Outstanding("ingest", batch, "its features are older than its raw tables"))
    return due


def _changed(portfolio: Portfolio, inbox: Inbox, batch: str, commits: Mapping[str, Commit | None]) -> tuple[str, ...]:
    """The tables of the batch whose delivered files are not those that were last read into them."""
    stems = {name: config.files for name, config in portfolio.tables.items()}
    optional = {name for name, config in portfolio.tables.items() if config.optional}
    delivered = inbox.fingerprint(portfolio.name, batch)
    try:
        files = match_files(inbox.files(portfolio.name, batch), stems, optional).tables
    except BadDelivery:
        # Not one that can be read: the run that tries will say what is wrong with it.
        return tuple(commits)
    return tuple(
        table
        for table, commit in commits.items()
        if commit is None or _sources(commit) != {file.name: delivered[file.name] for file in files[table]}
    )


def _late(written: Callable[[str], Mapping[str, Commit]], table: str, batch: str) -> bool:
    """Whether the batch of the table is missing, or something that it was made from, however far back, was
    written again since."""
    commit = written(table).get(batch)
    if commit is None:
        return True
    sources = json.loads(commit.metadata["inputs"])
    return any(
        _late(written, source, batch) or written(source)[batch].version > version for source, version in sources.items()
    )


def to_train(portfolio: Portfolio, lake: Lake, has_champion: bool) -> list[Outstanding]:
    """The training that is due because there are features and no champion to judge them."""
    if has_champion or not lake.exists(portfolio.table(FEATURES)):
        return []
    return [Outstanding("train", None, "there is no champion")]


def to_score(portfolio: Portfolio, lake: Lake) -> list[Outstanding]:
    """The batches whose features have not been scored as they are now, and the scores been looked over."""
    scores, drift = (lake.batches(portfolio.table(table)) for table in (SCORES, SCORE_DRIFT))
    due = []
    for batch, features in sorted(lake.batches(portfolio.table(FEATURES)).items()):
        made, looked = scores.get(batch), drift.get(batch)
        if made is None:
            due.append(Outstanding("score", batch, "not scored yet"))
        elif _read(made, portfolio.table(FEATURES)) < features.version:
            due.append(Outstanding("score", batch, "its features were made again since it was scored"))
        elif looked is None or _read(looked, portfolio.table(SCORES)) < made.version:
            due.append(Outstanding("score", batch, "its scores were not looked over for drift", tables=(SCORE_DRIFT,)))
    return due


def _read(commit: Commit, table: str) -> int:
    """The version of the table that the commit's rows were made from."""
    return json.loads(commit.metadata["inputs"])[table]


def _sources(commit: Commit) -> Mapping[str, str]:
    return json.loads(commit.metadata.get(SOURCE, "{}"))

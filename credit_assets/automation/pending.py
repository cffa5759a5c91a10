"""Pending work of a portfolio, determined from the inbox and the lake, never from a stored list.

Commands, schedules and sensors use the same functions, so they agree on what is due. `runs.py` runs jobs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from credit_assets.automation.due import (
    BatchDue,
    CheckedForAnother,
    DriftNotChecked,
    Due,
    FeaturesOlder,
    FeaturesRemade,
    FileMissing,
    FilesChanged,
    FilesDiffer,
    FilesUnreadable,
    FirstSeen,
    NoChampion,
    NotABatch,
    NotIngested,
    NotScored,
    OtherChampion,
    OutcomesDelivered,
    OutcomesTakenBack,
    PerformanceNotMeasured,
    SqlChanged,
    StillWritten,
    Waiting,
)
from credit_assets.book.queries import FeatureQuery
from credit_assets.features.target import outcome_sql
from credit_assets.features.training_rows import TRAINING_SET
from credit_assets.features.training_set import known_outcomes_sql, training_rows_sql
from credit_assets.features.versions import FEATURES, current_sql_versions, made_by_other_sql, read_at, same_rows
from credit_assets.ingest.bad_delivery import BadDelivery, MissingFile
from credit_assets.ingest.file_names import match_files
from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.snapshots import FolderSnapshot
from credit_assets.lake.connections import connect
from credit_assets.lake.log import Commit
from credit_assets.lake.sql import identifier, sql_text
from credit_assets.lake.storage import Storage
from credit_assets.lake.tables import Lake, Writes
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import release
from credit_assets.settings.target import Target

SCORES = "scores"
FEATURE_DRIFT = "feature_drift"
SCORE_DRIFT = "score_drift"
PERFORMANCE = "performance"


@dataclass(frozen=True)
class Arrivals:
    """The result of a poll of the inbox: the deliveries to ingest, and the reasons why others wait, by batch.

    `signatures`: those of all deliveries that are not ingested in their present state, for the next poll.
    """

    due: list[Due]
    waiting: dict[str, Waiting]
    signatures: dict[str, str]


TableFiles = Mapping[str, Collection[str]]
"""The names of the files of each table."""


def arrivals(portfolio: Portfolio, inbox: Inbox, lake: Lake, before: Mapping[str, str]) -> Arrivals:
    """The deliveries in the inbox that are not ingested; `before` are the signatures of the previous poll.

    A delivery is due if its files differ from what was ingested, none of them is missing, unreadable or named as still
    being written, and nothing has changed since the previous poll. A file is hashed only if it was touched and has the
    same size as the ingested one.
    """
    writes, match = cache(lake.writes), _matcher(portfolio)
    found = Arrivals([], {}, {})
    for snapshot in inbox.snapshots(portfolio.name):
        unchanged = snapshot.batch in before and before[snapshot.batch] == snapshot.signature
        files = _why_not_a_delivery(snapshot) or match(snapshot)
        if isinstance(files, NotABatch | StillWritten | FileMissing):
            found.waiting[snapshot.batch] = Waiting(files)
            continue
        due = _ingestion_due(portfolio, inbox, writes, snapshot, files, read=unchanged)
        if due is None:
            continue
        found.signatures[snapshot.batch] = snapshot.signature
        if unreadable := snapshot.unreadable:
            found.waiting[snapshot.batch] = Waiting(FilesUnreadable(tuple(unreadable)))
        elif unchanged:
            found.due.append(due)
        else:
            found.waiting[snapshot.batch] = Waiting(FilesChanged() if snapshot.batch in before else FirstSeen())
    return found


def batches_to_ingest(
    portfolio: Portfolio, inbox: Inbox, lake: Lake, untouched_since: float | None = None
) -> list[Due]:
    """The delivered batches whose present files have not been read into raw tables and features.

    A delivery that is still being copied is left out only if a file's name shows it. With `untouched_since` (seconds
    since 1970), only complete deliveries that were not changed after it are returned.

    Outcomes that arrive later for a batch are read alone, because they change no feature, and so no past decision.
    """
    writes, match = cache(lake.writes), _matcher(portfolio)
    due = []
    for snapshot in inbox.snapshots(portfolio.name):
        if untouched_since is not None and snapshot.touched > untouched_since:
            continue
        if _why_not_a_delivery(snapshot):
            continue
        files = match(snapshot)
        if isinstance(files, FileMissing):
            if untouched_since is not None:
                continue
            # A person requests the run; the run reports what is missing.
            files = None
        if found := _ingestion_due(portfolio, inbox, writes, snapshot, files, read=True):
            due.append(found)
    return due


def _why_not_a_delivery(snapshot: FolderSnapshot) -> NotABatch | StillWritten | None:
    """The reason why the batch cannot be ingested, whatever its files are; None if it can."""
    if snapshot.problem:
        return NotABatch(snapshot.problem)
    return StillWritten(tuple(snapshot.partial)) if snapshot.partial else None


def _matcher(portfolio: Portfolio) -> Callable[[FolderSnapshot], TableFiles | FileMissing | None]:
    """A function that assigns the files of a batch to its tables. It returns None if they cannot be assigned; a run
    then reports why."""
    stems = {name: config.files for name, config in portfolio.tables.items()}
    optional = {name for name, config in portfolio.tables.items() if config.optional}
    # Most batches have files of the same names.
    known: dict[frozenset[str], TableFiles | None] = {}

    def match(snapshot: FolderSnapshot) -> TableFiles | FileMissing | None:
        names = frozenset(snapshot.files)
        if names not in known:
            try:
                matched = match_files(snapshot.paths, stems, optional, portfolio.outcomes_table)
                known[names] = {table: {file.name for file in files} for table, files in matched.tables.items()}
            except MissingFile as error:
                return FileMissing(str(error))
            except BadDelivery:
                known[names] = None
        return known[names]

    return match


def _ingestion_due(
    portfolio: Portfolio,
    inbox: Inbox,
    writes: Writes,
    snapshot: FolderSnapshot,
    files: TableFiles | None,
    read: bool,
) -> Due | None:
    """The ingestion that the batch needs, or None. With `read`, files are hashed if only their content shows whether
    they have changed; without it, such files count as changed."""
    written = {table: writes(portfolio.table(table)).get(snapshot.batch, ()) for table in portfolio.tables}
    sources = {table: _sources(commits[0]) for table, commits in written.items() if commits}
    if files is None:
        changed = tuple(written)
    else:
        expected = {name: sha256 for of_table in sources.values() for name, sha256 in of_table.items()}
        differing = inbox.changed_files(portfolio.name, snapshot, expected, read)
        changed = tuple(
            table
            for table in written
            if table not in sources or set(sources[table]) != files[table] or not differing.isdisjoint(sources[table])
        )
    stale = _is_stale(writes, snapshot.batch, portfolio.table(FEATURES))
    if not changed and not stale:
        return None
    tables: tuple[str, ...] = ()
    job, later_outcomes = "ingest", bool(sources) and changed == (portfolio.outcomes_table,) and not stale
    reason: NotIngested | OutcomesDelivered | OutcomesTakenBack | FilesDiffer | FeaturesOlder
    if not sources:
        reason = NotIngested()
    elif later_outcomes:
        left = files is None or files[portfolio.outcomes_table]
        reason = OutcomesDelivered() if left else OutcomesTakenBack()
        if writes(portfolio.table(SCORES)).get(snapshot.batch):
            job = "outcomes"
        else:
            tables = changed
    elif changed:
        reason = FilesDiffer(changed)
    else:
        reason = FeaturesOlder()
    others: list[str] = []
    if portfolio.outcomes_table in changed and (files is None or files[portfolio.outcomes_table]):
        # The file may contain outcomes of these batches too; a run determines which.
        others = sorted(writes(portfolio.table(portfolio.application_table)).keys() - {snapshot.batch})
    # `replaced` and `others` do not change while the run writes one table after the other, nor if it fails.
    replaced = {table: _replaced_version(commits, table in changed) for table, commits in written.items()}
    # The release is part of the key, because another one may read what this one refuses.
    made_from = [snapshot.batch, snapshot.signature, replaced, portfolio.fingerprint, others, release()]
    serialised = json.dumps(made_from, sort_keys=True)
    correction = not later_outcomes and any(
        version is not None for table, version in replaced.items() if table != portfolio.outcomes_table
    )
    key = f"ingest:{snapshot.batch}:{hashlib.sha256(serialised.encode()).hexdigest()[:16]}"
    return Due(job, snapshot.batch, reason, tables, key, correction)


def _replaced_version(commits: Sequence[Commit], changed: bool) -> int | None:
    """The version of the batch's newest rows that were read from files other than the delivered ones; None if there is
    none."""
    if not commits or changed:
        return commits[0].version if commits else None
    return next((commit.version for commit in commits if _sources(commit) != _sources(commits[0])), None)


def _is_stale(writes: Writes, batch: str, table: str) -> bool:
    """Whether the batch is missing in the table, or any of its direct or indirect inputs was written again since."""

    @cache
    def stale(table: str) -> bool:
        commits = writes(table).get(batch)
        if not commits:
            return True
        sources = commits[0].provenance.inputs
        return any(stale(source) or writes(source)[batch][0].version > sources[source] for source in sources)

    return stale(table)


def first_training(portfolio: Portfolio, lake: Lake, has_champion: bool) -> list[Due]:
    """The training that is due if there are outcomes to learn from and no champion; else empty."""
    if has_champion or not new_outcomes(portfolio, lake, None):
        return []
    return [Due("train", None, NoChampion(), key=training_key(portfolio, lake))]


def training_key(portfolio: Portfolio, lake: Lake) -> str:
    """A key that is equal for trainings that learn from the same rows."""
    tables = (FEATURES, portfolio.application_table, portfolio.outcomes_table)
    return "train:" + ".".join(str(lake.version(portfolio.table(table))) for table in tables)


def new_outcomes(portfolio: Portfolio, lake: Lake, trained: int | None) -> int:
    """The number of outcomes of matured batches that became known, or changed, since version `trained` of the training
    set was made; all known ones if it is None."""
    sources = tuple(portfolio.table(table) for table in (portfolio.application_table, portfolio.outcomes_table))
    if not all(lake.exists(table) for table in (*sources, portfolio.table(FEATURES))):
        return 0
    # A model cannot learn from a batch without features.
    featured = lake.writes(portfolio.table(FEATURES))
    now, ready = tuple(lake.version(table) for table in sources), frozenset(featured)
    then, learned = None, frozenset[str]()
    if trained is not None:
        [made] = [commit for commit in lake.history(portfolio.table(TRAINING_SET)) if commit.version == trained]
        then = tuple(_version_read(made, table) for table in sources)
        read = _version_read(made, portfolio.table(FEATURES))
        learned = frozenset(batch for batch, commits in featured.items() if commits[-1].version <= read)
    return _new_outcomes(
        lake.storage,
        sources,
        (now, ready),
        then and (then, learned),
        portfolio.entity_key,
        portfolio.target,
        portfolio.training.matured_share,
    )


KnownRows = tuple[tuple[int, ...], frozenset[str]]
"""The versions of the applications and the outcomes, and the batches that had features."""


@lru_cache(maxsize=64)
def _new_outcomes(
    storage: Storage,
    tables: tuple[str, ...],
    now: KnownRows,
    then: KnownRows | None,
    entity_key: str,
    target: Target,
    matured_share: float,
) -> int:
    """Cached, because versions do not change and sensors call it at every poll."""
    if now == then:
        return 0

    def known(seen: KnownRows) -> str:
        versions, batches = seen
        applications, outcomes = (
            f"({Lake(storage).query(table, version=version)})" for table, version in zip(tables, versions, strict=True)
        )
        rows = known_outcomes_sql(
            applications=applications,
            outcomes=outcomes,
            entity_key=entity_key,
            target=target,
            matured_share=matured_share,
        )
        return f"SELECT * FROM ({rows}) WHERE batch IN ({', '.join(map(sql_text, sorted(batches))) or 'NULL'})"

    question = known(now) if then is None else f"({known(now)}) EXCEPT ({known(then)})"
    with connect() as con:
        counted = con.execute(f"SELECT count(*) FROM ({question})").fetchone()
    return int(counted[0]) if counted else 0


def batches_to_score(portfolio: Portfolio, lake: Lake, champion: int | None) -> list[Due]:
    """The batches whose current features have not been scored or whose scores have not been checked, and open batches
    that a version other than the champion scored."""
    scores, drift, performance = (lake.batches(portfolio.table(table)) for table in (SCORES, SCORE_DRIFT, PERFORMANCE))
    outcomes = lake.batches(portfolio.table(portfolio.outcomes_table))
    ready = sorted(lake.batches(portfolio.table(FEATURES)).items())
    open_from = max(0, len(ready) - portfolio.automation.rescore_open_batches)
    writes = cache(lake.writes)
    newest = outcomes.keys() & {batch for batch, _ in ready[open_from:]}
    due: list[Due] = []

    def add(batch: str, reason: BatchDue, key: str, *tables: str) -> None:
        due.append(Due("score", batch, reason, tables, key, champion=champion))

    for batch, features in ready:
        made, checked_drift, measured = scores.get(batch), drift.get(batch), performance.get(batch)
        # None if only the outcomes of the batch were refused.
        known = outcomes.get(batch)
        # With the version of the scores, so that each move between two champions has its own key.
        key = f"score:{batch}:{features.version}.{champion}.{made.version if made else 0}"
        if made is None:
            add(batch, NotScored(), key)
        elif _made_from_other_rows(portfolio, writes, batch, made, features):
            add(batch, FeaturesRemade(), key)
        elif (scored_by := made.provenance.model_version) is not None and (
            checked := _checked_against_another(portfolio, writes, batch, made)
        ) is not None:
            add(batch, CheckedForAnother(scored_by, checked), key)
        elif (
            champion is not None
            and batch in newest
            and _scored_by_another(made, champion)
            and not outcomes_known(portfolio, lake, batch)
        ):
            add(batch, OtherChampion(champion), key)
        elif checked_drift is None or _version_read(checked_drift, portfolio.table(SCORES)) < made.version:
            add(batch, DriftNotChecked(), f"drift:{batch}:{made.version}", SCORE_DRIFT)
        elif known and (measured is None or _is_older(measured, portfolio, made, known)):
            add(batch, PerformanceNotMeasured(), f"performance:{batch}:{made.version}.{known.version}", PERFORMANCE)
    return due


def _made_from_other_rows(portfolio: Portfolio, writes: Writes, batch: str, scores: Commit, features: Commit) -> bool:
    """Whether the features were made from other rows since they were scored. If only the SQL has changed, past
    decisions are not repeated."""
    table = portfolio.table(FEATURES)
    read = _version_read(scores, table)
    if read >= features.version:
        return False
    scored = read_at(writes, table, batch, read)
    return scored is None or not same_rows(writes, table, scored, features)


def stale_features(portfolio: Portfolio, lake: Lake, queries: Mapping[str, FeatureQuery]) -> list[Due]:
    """The features that were computed by SQL other than the current, in the batches that a training would learn
    from and in newer ones. Only a training that a person requests recomputes them."""
    window = _window(portfolio, lake)
    if not window:
        return []
    features = portfolio.table(FEATURES)
    stale = made_by_other_sql(cache(lake.writes), features, lake.version(features), queries)
    now = ".".join(current_sql_versions(queries).values())
    return [
        Due("ingest", batch, SqlChanged(tuple(files)), tuple(queries), key=f"features:{batch}:{now}")
        for batch, files in stale.items()
        if batch >= min(window)
    ]


def _window(portfolio: Portfolio, lake: Lake) -> list[str]:
    """The batches that a training would learn from and test on."""
    tables = (FEATURES, portfolio.application_table, portfolio.outcomes_table)
    if not all(lake.exists(portfolio.table(table)) for table in tables):
        return []
    features, applications, outcomes = (f"({lake.query(portfolio.table(table))})" for table in tables)
    keys = f"(SELECT {identifier(portfolio.entity_key)}, batch FROM {features})"
    rows = training_rows_sql(portfolio, features=keys, applications=applications, outcomes=outcomes)
    with connect() as con:
        return [batch for (batch,) in con.execute(f"SELECT DISTINCT batch FROM ({rows})").fetchall()]


def _is_older(measured: Commit, portfolio: Portfolio, scores: Commit, outcomes: Commit) -> bool:
    return (
        _version_read(measured, portfolio.table(SCORES)) < scores.version
        or _version_read(measured, portfolio.table(portfolio.outcomes_table)) < outcomes.version
    )


def outcomes_known(portfolio: Portfolio, lake: Lake, batch: str) -> int:
    """The number of applicants of the batch with a known outcome."""
    key, target = identifier(portfolio.entity_key), portfolio.target
    applications, outcomes = (
        f"({lake.query(portfolio.table(table), [batch])})"
        for table in (portfolio.application_table, portfolio.outcomes_table)
    )
    with connect() as con:
        counted = con.execute(
            f"SELECT count(coalesce({outcome_sql(target, 'o')}, {outcome_sql(target, 'a')})) "
            f"FROM {applications} a LEFT JOIN {outcomes} o USING ({key})"
        ).fetchone()
    return int(counted[0]) if counted else 0


def _scored_by_another(made: Commit, champion: int) -> bool:
    return made.provenance.model_version not in (None, champion)


def _checked_against_another(portfolio: Portfolio, writes: Writes, batch: str, made: Commit) -> int | None:
    """The version that the batch's features were checked against, if another version scored it; None if it is the same,
    or if the log does not contain it."""
    table = portfolio.table(FEATURE_DRIFT)
    read = made.provenance.inputs.get(table)
    if read is None:
        # Scores of earlier releases do not record the check that they rely on: it was the latest one at that time.
        checks = (commit for commit in writes(table).get(batch, ()) if commit.timestamp_ms <= made.timestamp_ms)
        checked = next(checks, None)
    else:
        checked = read_at(writes, table, batch, read)
    version = checked.provenance.model_version if checked else None
    return None if made.provenance.model_version in (None, version) else version


def _version_read(commit: Commit, table: str) -> int:
    """The version of the table that the commit's rows were made from."""
    return commit.provenance.inputs[table]


def _sources(commit: Commit) -> Mapping[str, str]:
    return commit.provenance.sources

"""What a portfolio still has to make, determined from the inbox and the lake, never from a stored list.

The commands, schedules and sensors use the same functions and get the same answer. `runs.py` runs jobs.
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
from credit_assets.features.training_set import known_outcomes_sql, rows_to_learn_from
from credit_assets.features.versions import FEATURES, made_by_other_sql, read_at, same_rows, stands_now
from credit_assets.ingest.bad_delivery import BadDelivery, MissingFile
from credit_assets.ingest.file_names import match_files
from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.looks import Look
from credit_assets.lake.connections import connect
from credit_assets.lake.log import Commit
from credit_assets.lake.sql import identifier, sql_text
from credit_assets.lake.storage import Storage
from credit_assets.lake.tables import Lake, Writings
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import release
from credit_assets.settings.target import Target

SCORES = "scores"
FEATURE_DRIFT = "feature_drift"
SCORE_DRIFT = "score_drift"
PERFORMANCE = "performance"


@dataclass(frozen=True)
class Arrivals:
    """What a poll of the inbox found: deliveries to be ingested, and by batch why others are not (yet).

    `looks`, for the next poll: the signatures of everything that is not ingested as it is.
    """

    due: list[Due]
    waiting: dict[str, Waiting]
    looks: dict[str, str]


Names = Mapping[str, Collection[str]]
"""Table to the names of the files that it is read from."""


def arrivals(portfolio: Portfolio, inbox: Inbox, lake: Lake, before: Mapping[str, str]) -> Arrivals:
    """The unannounced deliveries, recognised by their files; `before` are the signatures of the previous poll.

    A delivery is due if the inbox has other files than were ingested, none of them is missing, unreadable or named as
    still being written, and nothing has changed since the previous poll. A file is hashed only to determine whether one
    that was touched, and has the same size, has changed.
    """
    writings, match = cache(lake.writings), _matcher(portfolio)
    found = Arrivals([], {}, {})
    for look in inbox.looks(portfolio.name):
        settled = look.batch in before and before[look.batch] == look.signature
        files = _not_a_delivery(look) or match(look)
        if isinstance(files, NotABatch | StillWritten | FileMissing):
            found.waiting[look.batch] = Waiting(files)
            continue
        due = _due(portfolio, inbox, writings, look, files, read=settled)
        if due is None:
            continue
        found.looks[look.batch] = look.signature
        if unreadable := look.unreadable:
            found.waiting[look.batch] = Waiting(FilesUnreadable(tuple(unreadable)))
        elif settled:
            found.due.append(due)
        else:
            found.waiting[look.batch] = Waiting(FilesChanged() if look.batch in before else FirstSeen())
    return found


def to_ingest(portfolio: Portfolio, inbox: Inbox, lake: Lake, untouched_since: float | None = None) -> list[Due]:
    """The delivered batches whose files are not, or not as they are now, in the raw tables and features; of what is
    still being copied, those that do not say so by a file's name too. With a moment (seconds since 1970), only those
    that lack no file and that nothing has touched since.

    Outcomes that arrive later for a batch are read by themselves: they change no feature, and so no
    decision that was made.
    """
    writings, match = cache(lake.writings), _matcher(portfolio)
    due = []
    for look in inbox.looks(portfolio.name):
        if untouched_since is not None and look.touched > untouched_since:
            continue
        if _not_a_delivery(look):
            continue
        files = match(look)
        if isinstance(files, FileMissing):
            if untouched_since is not None:
                continue
            # Of somebody who asks for a run: it will say what is missing.
            files = None
        if found := _due(portfolio, inbox, writings, look, files, read=True):
            due.append(found)
    return due


def _not_a_delivery(look: Look) -> NotABatch | StillWritten | None:
    """The reason why a run of the batch is of no use (yet), whatever its files are."""
    if look.trouble:
        return NotABatch(look.trouble)
    return StillWritten(tuple(look.partial)) if look.partial else None


def _matcher(portfolio: Portfolio) -> Callable[[Look], Names | FileMissing | None]:
    """Assigns the files of a batch to its tables; None if two of them belong to one, which a run is to report."""
    stems = {name: config.files for name, config in portfolio.tables.items()}
    optional = {name for name, config in portfolio.tables.items() if config.optional}
    # Most batches have files of the same names.
    known: dict[frozenset[str], Names | None] = {}

    def match(look: Look) -> Names | FileMissing | None:
        names = frozenset(look.files)
        if names not in known:
            try:
                matched = match_files(look.paths, stems, optional, portfolio.outcomes_table)
                known[names] = {table: {file.name for file in files} for table, files in matched.tables.items()}
            except MissingFile as error:
                return FileMissing(str(error))
            except BadDelivery:
                known[names] = None
        return known[names]

    return match


def _due(
    portfolio: Portfolio,
    inbox: Inbox,
    writings: Writings,
    look: Look,
    files: Names | None,
    read: bool,
) -> Due | None:
    """The ingestion that the batch needs, if any. Without `read`, a file that only its content could distinguish from
    the ingested one counts as changed."""
    written = {table: writings(portfolio.table(table)).get(look.batch, ()) for table in portfolio.tables}
    sources = {table: _sources(commits[0]) for table, commits in written.items() if commits}
    if files is None:
        changed = tuple(written)
    else:
        expected = {name: sha256 for of_table in sources.values() for name, sha256 in of_table.items()}
        differing = inbox.differing(portfolio.name, look, expected, read)
        changed = tuple(
            table
            for table in written
            if table not in sources or set(sources[table]) != files[table] or not differing.isdisjoint(sources[table])
        )
    late = _late(writings, look.batch, portfolio.table(FEATURES))
    if not changed and not late:
        return None
    tables: tuple[str, ...] = ()
    job, later_outcomes = "ingest", bool(sources) and changed == (portfolio.outcomes_table,) and not late
    reason: NotIngested | OutcomesDelivered | OutcomesTakenBack | FilesDiffer | FeaturesOlder
    if not sources:
        reason = NotIngested()
    elif later_outcomes:
        left = files is None or files[portfolio.outcomes_table]
        reason = OutcomesDelivered() if left else OutcomesTakenBack()
        if writings(portfolio.table(SCORES)).get(look.batch):
            job = "outcomes"
        else:
            tables = changed
    elif changed:
        reason = FilesDiffer(changed)
    else:
        reason = FeaturesOlder()
    others: list[str] = []
    if portfolio.outcomes_table in changed and (files is None or files[portfolio.outcomes_table]):
        # Whose outcomes may be among them, which is for a run to read.
        others = sorted(writings(portfolio.table(portfolio.application_table)).keys() - {look.batch})
    # Both stay as they are while the run that this asks for writes one table after the other, and if it fails.
    replaced = {table: _replaced(commits, table in changed) for table, commits in written.items()}
    # Another release may read what this one refuses.
    made_from = [look.batch, look.signature, replaced, portfolio.fingerprint, others, release()]
    told = json.dumps(made_from, sort_keys=True)
    correction = not later_outcomes and any(
        version is not None for table, version in replaced.items() if table != portfolio.outcomes_table
    )
    key = f"ingest:{look.batch}:{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    return Due(job, look.batch, reason, tables, key, correction)


def _replaced(commits: Sequence[Commit], changed: bool) -> int | None:
    """The version of the batch's rows that were read from other files than the delivered ones, if there ever was
    one."""
    if not commits or changed:
        return commits[0].version if commits else None
    return next((commit.version for commit in commits if _sources(commit) != _sources(commits[0])), None)


def _late(writings: Writings, batch: str, table: str) -> bool:
    """Whether the batch of the table is missing, or something that it was made from, however far back, was written
    again since."""

    @cache
    def late(table: str) -> bool:
        commits = writings(table).get(batch)
        if not commits:
            return True
        sources = commits[0].provenance.inputs
        return any(late(source) or writings(source)[batch][0].version > sources[source] for source in sources)

    return late(table)


def to_train(portfolio: Portfolio, lake: Lake, has_champion: bool) -> list[Due]:
    """The training that is due because there are outcomes to learn from and no champion."""
    if has_champion or not new_outcomes(portfolio, lake, None):
        return []
    return [Due("train", None, NoChampion(), key=training_key(portfolio, lake))]


def training_key(portfolio: Portfolio, lake: Lake) -> str:
    """The same as long as a training would learn from the same rows."""
    tables = (FEATURES, portfolio.application_table, portfolio.outcomes_table)
    return "train:" + ".".join(str(lake.version(portfolio.table(table))) for table in tables)


def new_outcomes(portfolio: Portfolio, lake: Lake, trained: int | None) -> int:
    """How many outcomes of matured batches are known, or have changed, that were not when version `trained` of the
    training set was made; all known ones, for None."""
    sources = tuple(portfolio.table(table) for table in (portfolio.application_table, portfolio.outcomes_table))
    if not all(lake.exists(table) for table in (*sources, portfolio.table(FEATURES))):
        return 0
    # Without its features nobody could learn from a batch.
    featured = lake.writings(portfolio.table(FEATURES))
    now, ready = tuple(lake.version(table) for table in sources), frozenset(featured)
    then, learned = None, frozenset[str]()
    if trained is not None:
        [made] = [commit for commit in lake.history(portfolio.table(TRAINING_SET)) if commit.version == trained]
        then = tuple(_read(made, table) for table in sources)
        read = _read(made, portfolio.table(FEATURES))
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


Seen = tuple[tuple[int, ...], frozenset[str]]
"""Versions of the applications and the outcomes, and the batches that had features then."""


@lru_cache(maxsize=64)
def _new_outcomes(
    storage: Storage,
    tables: tuple[str, ...],
    now: Seen,
    then: Seen | None,
    entity_key: str,
    target: Target,
    matured_share: float,
) -> int:
    """Versions do not change, so they are counted once, however often a sensor asks."""
    if now == then:
        return 0

    def known(seen: Seen) -> str:
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


def to_score(portfolio: Portfolio, lake: Lake, champion: int | None) -> list[Due]:
    """The batches whose current features have not been scored, or whose scores have not been checked; and open batches
    that were scored by another version than the champion."""
    scores, drift, performance = (lake.batches(portfolio.table(table)) for table in (SCORES, SCORE_DRIFT, PERFORMANCE))
    outcomes = lake.batches(portfolio.table(portfolio.outcomes_table))
    ready = sorted(lake.batches(portfolio.table(FEATURES)).items())
    open_from = max(0, len(ready) - portfolio.automation.rescore_open_batches)
    writings = cache(lake.writings)
    newest = outcomes.keys() & {batch for batch, _ in ready[open_from:]}
    due: list[Due] = []

    def found(batch: str, reason: BatchDue, key: str, *tables: str) -> None:
        due.append(Due("score", batch, reason, tables, key, champion=champion))

    for batch, features in ready:
        made, looked, measured = scores.get(batch), drift.get(batch), performance.get(batch)
        # None where its outcomes were refused, and the rest was not.
        told = outcomes.get(batch)
        # Back and forth between two champions, each time is another work.
        key = f"score:{batch}:{features.version}.{champion}.{made.version if made else 0}"
        if made is None:
            found(batch, NotScored(), key)
        elif _of_other_rows(portfolio, writings, batch, made, features):
            found(batch, FeaturesRemade(), key)
        elif (scored_by := made.provenance.model_version) is not None and (
            checked := _checked_against_another(portfolio, writings, batch, made)
        ) is not None:
            found(batch, CheckedForAnother(scored_by, checked), key)
        elif (
            champion is not None
            and batch in newest
            and _scored_by_another(made, champion)
            and not outcomes_known(portfolio, lake, batch)
        ):
            found(batch, OtherChampion(champion), key)
        elif looked is None or _read(looked, portfolio.table(SCORES)) < made.version:
            found(batch, DriftNotChecked(), f"drift:{batch}:{made.version}", SCORE_DRIFT)
        elif told and (measured is None or _older(measured, portfolio, made, told)):
            found(batch, PerformanceNotMeasured(), f"performance:{batch}:{made.version}.{told.version}", PERFORMANCE)
    return due


def _of_other_rows(portfolio: Portfolio, writings: Writings, batch: str, scores: Commit, features: Commit) -> bool:
    """Whether the features were made from other rows since they were scored: what other SQL makes from the same rows is
    for later decisions, and no reason to repeat earlier ones."""
    table = portfolio.table(FEATURES)
    read = _read(scores, table)
    if read >= features.version:
        return False
    scored = read_at(writings, table, batch, read)
    return scored is None or not same_rows(writings, table, scored, features)


def to_make_again(portfolio: Portfolio, lake: Lake, queries: Mapping[str, FeatureQuery]) -> list[Due]:
    """The features that were made by other SQL than the current one, of the batches that a training would learn from,
    and of newer ones. Only a person requests it, for the training that needs it."""
    window = _window(portfolio, lake)
    if not window:
        return []
    features = portfolio.table(FEATURES)
    stale = made_by_other_sql(cache(lake.writings), features, lake.version(features), queries)
    now = ".".join(stands_now(queries).values())
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
    rows = rows_to_learn_from(portfolio, features=keys, applications=applications, outcomes=outcomes)
    with connect() as con:
        return [batch for (batch,) in con.execute(f"SELECT DISTINCT batch FROM ({rows})").fetchall()]


def _older(measured: Commit, portfolio: Portfolio, scores: Commit, outcomes: Commit) -> bool:
    return (
        _read(measured, portfolio.table(SCORES)) < scores.version
        or _read(measured, portfolio.table(portfolio.outcomes_table)) < outcomes.version
    )


def outcomes_known(portfolio: Portfolio, lake: Lake, batch: str) -> int:
    """How many applicants of the batch have a known outcome."""
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


def _checked_against_another(portfolio: Portfolio, writings: Writings, batch: str, made: Commit) -> int | None:
    """The version that the batch's features had been checked against when another one scored it; None if it is the
    same, or if the log does not say."""
    table = portfolio.table(FEATURE_DRIFT)
    read = made.provenance.inputs.get(table)
    if read is None:
        # Scores of earlier releases do not name the check that they rely on: it was the latest one then.
        checks = (commit for commit in writings(table).get(batch, ()) if commit.timestamp_ms <= made.timestamp_ms)
        checked = next(checks, None)
    else:
        checked = read_at(writings, table, batch, read)
    version = checked.provenance.model_version if checked else None
    return None if made.provenance.model_version in (None, version) else version


def _read(commit: Commit, table: str) -> int:
    """The version of the table that the commit's rows were made from."""
    return commit.provenance.inputs[table]


def _sources(commit: Commit) -> Mapping[str, str]:
    return commit.provenance.sources

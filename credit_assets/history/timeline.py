"""The history of a portfolio as tables: the champions over time, and all events in order.

All facts are read from the lake's commits and the registry each time. `plots.py` plots them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import zip_longest
from typing import Any

import duckdb
import pandas as pd

from credit_assets.decisions.policy import APPROVE
from credit_assets.lake.connections import connect
from credit_assets.lake.log import Commit
from credit_assets.lake.provenance import BATCH
from credit_assets.lake.sql import sql_files, sql_text
from credit_assets.lake.tables import Lake, TableMissing
from credit_assets.monitoring.drift_summary import summary
from credit_assets.plurals import number_of
from credit_assets.registry.champions import ChampionEvent, decided_at
from credit_assets.registry.errors import RegistryError
from credit_assets.registry.registry import Registry
from credit_assets.schemas.duckdb_types import is_text
from credit_assets.schemas.history import ChampionHistory, Timeline
from credit_assets.schemas.performance import ALL, EARLY, ESTIMATE
from credit_assets.schemas.table import Table
from credit_assets.settings.portfolio import Portfolio

BY = {"gate": "by the gate", "rollback": "automatically", "hand": "by hand", "override": "by override of the gate"}


@dataclass(frozen=True)
class Fact:
    """One row of the timeline; `schemas/history.py` describes the columns."""

    at: datetime
    kind: str
    words: str
    synthetic: bool
    batch: str | None = None
    model_version: int | None = None
    measure: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str | None = None
    run: str | None = None


def champion_history(registry: Registry) -> pd.DataFrame:
    """The changes of the alias `champion`, oldest first, as a `ChampionHistory` table."""
    events = registry.history()
    versions = {version.number: version for version in registry.versions()}
    auc = {
        number: registry.metrics(versions[number]).get("auc")
        for number in {event.version for event in events} & set(versions)
    }
    rows = [
        {
            "number": event.number,
            "version": event.version,
            "decided_from": event.at,
            "decided_until": after.at if after else None,
            "by": event.by,
            "why": event.why,
            "run": event.run_id,
            "replaced": event.replaced,
            "auc": auc.get(event.version),
            "synthetic": event.version in versions and versions[event.version].synthetic,
        }
        for event, after in zip_longest(events, events[1:])
    ]
    return _table(rows, ChampionHistory)


def timeline(portfolio: Portfolio, lake: Lake, registry: Registry) -> pd.DataFrame:
    """Everything known about the portfolio, oldest first, as a `Timeline` table."""
    champions = registry.history()
    with connect() as con:
        facts = [
            *_deliveries(portfolio, lake),
            *_drift(portfolio, lake, con, champions, registry),
            *_scored(portfolio, lake, con, champions),
            *_performance(portfolio, lake, con, champions),
            *_models(registry, champions),
        ]
    return _table([asdict(fact) for fact in sorted(facts, key=lambda fact: fact.at)], Timeline)


def _deliveries(portfolio: Portfolio, lake: Lake) -> Iterator[Fact]:
    """Deliveries (the first application table of a batch), corrections (a raw table from different files than before),
    outcomes (from different files than before) and withdrawals (of an application table or an outcomes file)."""
    corrected: dict[tuple[str, str], list[str]] = {}
    first: dict[tuple[str, str], Fact] = {}
    for table in portfolio.tables:
        sources: dict[str, Mapping[str, str]] = {}
        for commit in _history(lake, portfolio.table(table)):
            made = commit.provenance
            if not made.batch:
                continue
            fact = _fact_of(commit)
            if made.withdrawn is not None:
                sources.pop(made.batch, None)
                file = made.withdrawn_file
                if file or table == portfolio.application_table:
                    words = f"{f'{file} ' if file else ''}withdrawn: {made.withdrawn}"
                    yield replace(fact, kind="withdrawal", words=words)
                continue
            batch, rows = made.batch, made.rows
            before, files = sources.get(batch), made.sources
            sources[batch] = files
            if table == portfolio.outcomes_table:
                if files != (before or {}):
                    words = f"{number_of(rows, 'outcome')} known"
                    yield replace(fact, kind="outcomes", words=words, measure="outcomes", value=float(rows))
            elif before is None and table == portfolio.application_table:
                words = number_of(rows, "applicant")
                yield replace(fact, kind="delivery", words=words, measure="applicants", value=float(rows))
            elif before is not None and files != before:
                # One run reads all tables of a corrected delivery.
                key = (batch, str(fact.run))
                corrected.setdefault(key, []).append(table)
                first.setdefault(key, fact)
    for key, tables in corrected.items():
        yield replace(
            first[key], kind="correction", words=f"delivered again, with different files for {', '.join(tables)}"
        )


def _drift(
    portfolio: Portfolio,
    lake: Lake,
    con: duckdb.DuckDBPyConnection,
    champions: Sequence[ChampionEvent],
    registry: Registry,
) -> Iterator[Fact]:
    @cache
    def weights(version: int | None) -> Mapping[str, float] | None:
        if version is None:
            return None
        try:
            return registry.importance(registry.get(version))
        except RegistryError:
            # The version has been deleted.
            return None

    commits, rows = _written(lake, portfolio.table("feature_drift"))
    by_version = dict(list(con.execute(rows).df().groupby("written", sort=False))) if commits else {}
    for commit in commits:
        fact = replace(_fact_of(commit, champions), kind="drift", measure="features shifted")
        figures = by_version.get(commit.version)
        if figures is None:
            yield replace(fact, words="features: the figures are no longer available")
        else:
            found = summary(figures, portfolio.drift, weights(fact.model_version))
            yield replace(fact, value=float(found.shifted), verdict=found.verdict, words=f"features: {found.message}")
    commits, rows = _written(lake, portfolio.table("score_drift"))
    scores = _by_commit(con, f"SELECT * FROM ({rows})") if commits else {}
    for commit in commits:
        fact = replace(_fact_of(commit, champions), kind="drift", measure="score PSI")
        score = scores.get(commit.version)
        if score is None:
            yield replace(fact, words="score: the figures are no longer available")
        else:
            words = f"score: {score['verdict']}, PSI {score['psi']:.3f}; {score['change']}"
            yield replace(fact, value=score["psi"], verdict=score["verdict"], words=words)


def _scored(
    portfolio: Portfolio, lake: Lake, con: duckdb.DuckDBPyConnection, champions: Sequence[ChampionEvent]
) -> Iterator[Fact]:
    commits, rows = _written(lake, portfolio.table("scores"))
    query = (
        f"SELECT written, max(model_version) AS model_version, avg((decision = '{APPROVE}')::INT) AS approved, "
        f"avg(pd) AS mean_pd FROM ({rows}) GROUP BY written"
    )
    figures = _by_commit(con, query) if commits else {}
    scored: set[str] = set()
    for commit in commits:
        batch = str(commit.provenance.batch)
        fact = replace(_fact_of(commit, champions), kind="re-scored" if batch in scored else "scored")
        scored.add(batch)
        words = number_of(commit.provenance.rows, "applicant")
        if found := figures.get(commit.version):
            fact = replace(fact, model_version=found["model_version"], measure="approval rate", value=found["approved"])
            words += f": {found['approved']:.1%} approved, mean PD {found['mean_pd']:.1%}"
        yield replace(fact, words=words)


def _performance(
    portfolio: Portfolio, lake: Lake, con: duckdb.DuckDBPyConnection, champions: Sequence[ChampionEvent]
) -> Iterator[Fact]:
    commits, rows = _written(lake, portfolio.table("performance"))
    query = f"SELECT * FROM ({rows}) WHERE segment = '{ALL}' AND metric = 'auc'"
    figures = _by_commit(con, query) if commits else {}
    for commit in commits:
        # Without its rows it is unknown whether the figure was measured or estimated.
        if found := figures.get(commit.version):
            if measured := found["basis"] != ESTIMATE:
                early = "early " if found["basis"] == EARLY else ""
                on = f"on {number_of(found['outcomes'], f'{early}outcome')}"
            else:
                of_all = number_of(found["applicants"], "applicant")
                on = f"expected from the PDs of {of_all}: too few outcomes are known"
            yield replace(
                _fact_of(commit, champions),
                kind="performance" if measured else "estimate",
                model_version=found["model_version"],
                measure="AUC",
                value=found["value"],
                low=found["low"],
                high=found["high"],
                words=f"{_auc(found['value'], found['low'], found['high'])} {on}",
            )


def _models(registry: Registry, champions: Sequence[ChampionEvent]) -> Iterator[Fact]:
    versions = {version.number: version for version in registry.versions()}
    promoted = {event.version for event in champions}
    for number, version in versions.items():
        figures = registry.metrics(version)
        value, low, high = (figures.get(name) for name in ("auc", "auc_low", "auc_high"))
        parts = [
            f"candidate {number}"
            + ("" if value is None or low is None or high is None else f", {_auc(value, low, high)}"),
            version.why,
            version.gate or ("" if number in promoted else "not promoted"),
        ]
        yield Fact(
            version.created,
            "training",
            "; ".join(part for part in parts if part),
            version.synthetic,
            model_version=number,
            measure="AUC",
            value=value,
            low=low,
            high=high,
            run=version.dagster_run,
        )
        for repeat in version.repeats:
            yield Fact(
                repeat.at,
                "training",
                f"training reproduced version {number}, the same model from the same rows; {repeat.why}",
                version.synthetic,
                model_version=number,
                run=repeat.run_id,
            )
    for event in champions:
        instead = f", replacing version {event.replaced}" if event.replaced else ""
        yield Fact(
            event.at,
            "rollback" if event.is_rollback else "promotion",
            f"version {event.version} became champion{instead}, {BY[event.by]}: {event.why}",
            event.version in versions and versions[event.version].synthetic,
            model_version=event.version,
            run=event.run_id,
        )


def _history(lake: Lake, table: str) -> list[Commit]:
    """All commits of the table, oldest first; empty if there is no table."""
    try:
        return lake.history(table)[::-1]
    except TableMissing:
        return []


def _written(lake: Lake, table: str) -> tuple[list[Commit], str]:
    """The commits that wrote a batch, oldest first, and a SELECT of the rows that they wrote, with the version of the
    commit as `written`. Current rows are read from the table, replaced ones from the files of the commit if these still
    exist."""
    history = _history(lake, table)
    commits = [each for each in history if each.provenance.batch and each.provenance.withdrawn is None]
    if not commits:
        return [], ""
    current = {batch: commit.version for batch, commit in lake.batches(table).items()}
    rows = (
        f"SELECT *, map_extract_value({_sql_map(current)}, {BATCH}) AS written "
        f"FROM ({lake.query(table, version=history[-1].version)})"
    )
    standing = set(current.values())
    replaced = {
        file: commit.version
        for commit in commits
        if commit.version not in standing
        for file in lake.files_of(table, commit)
    }
    if replaced:
        rows += (
            " UNION ALL BY NAME SELECT * EXCLUDE (filename), "
            f"map_extract_value({_sql_map(replaced)}, filename) AS written FROM read_parquet("
            f"{sql_files(list(replaced))}, filename = true, union_by_name = true, hive_partitioning = false)"
        )
    return commits, rows


def _sql_map(numbers: Mapping[str, int]) -> str:
    return "MAP {" + ", ".join(f"{sql_text(key)}: {number}" for key, number in numbers.items()) + "}"


def _by_commit(con: duckdb.DuckDBPyConnection, query: str) -> dict[int, dict[str, Any]]:
    """The rows of the SELECT, one per commit, by version."""
    answer = con.execute(query)
    names = [column[0] for column in answer.description or []]
    rows = [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
    return {row["written"]: row for row in rows}


def _fact_of(commit: Commit, champions: Sequence[ChampionEvent] = ()) -> Fact:
    """The commit as a fact without a kind, with the model version that it records, or else the champion at its time."""
    at, made = moment(commit.timestamp_ms), commit.provenance
    return Fact(
        at,
        kind="",
        words="",
        synthetic=made.synthetic,
        batch=made.batch,
        model_version=made.model_version or decided_at(champions, at),
        run=made.run_id,
    )


def _auc(value: float, low: float, high: float) -> str:
    return f"AUC {value:.3f} ({low:.3f} to {high:.3f})"


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _table(rows: Sequence[Mapping[str, Any]], model: type[Table]) -> pd.DataFrame:
    """The rows as a frame with the columns and types of the model. Times are in UTC without a zone, as the lake stores
    them."""
    schema = model.to_schema()
    frame = pd.DataFrame(list(rows), columns=list(schema.columns))
    for name, column in schema.columns.items():
        if str(column.dtype).startswith("datetime"):
            frame[name] = pd.to_datetime(frame[name], utc=True).dt.tz_localize(None)
        elif not is_text(column):
            frame[name] = frame[name].astype(column.dtype.type)
    return frame

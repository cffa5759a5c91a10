"""How often the checks that trigger retraining fail on unshifted batches, and on shifted ones.

    python benchmarks/false_alarms.py data/scratch --applicants 80000 --batches 200 --rows 2000 20000

A pool of synthetic applicants is generated once, with the features of the portfolio's SQL. It is split repeatedly: one
part trains and tests a champion, and batches are drawn at random from the rest, without repeating an applicant within a
batch. So each batch and its reference are fair samples of one population; only batches of the same split share
applicants. Batches of the lender's scenarios are then compared with the same champions. Finally, all applicants unknown
to a champion are repeatedly distributed over the twelve batches of a year, each judged together with those before it.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.decisions.scorecard import band, points
from credit_assets.features.compute import compute_query
from credit_assets.features.target import outcome_sql
from credit_assets.features.training_set import TEST, TRAIN, VALID, training_frame
from credit_assets.ingest.file_names import match_files
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import ingest
from credit_assets.lake.provenance import BATCH, Provenance
from credit_assets.lake.tables import Lake
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.xgboost import XGBoostModel, fit_xgboost
from credit_assets.models.folds import Folds
from credit_assets.models.importance import importance
from credit_assets.monitoring.drift import measure
from credit_assets.monitoring.drift_summary import missing_moved, new_categories, summary
from credit_assets.monitoring.performance import holds
from credit_assets.monitoring.reference import Reference
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets.synthetic.lender import generate
from credit_assets.synthetic.scenarios import SCENARIOS

PROJECT = Project(Path(__file__).parents[1])
BOOK = "home_credit"
KEY = "SK_ID_CURR"
TRAINED, VALIDATED, TESTED = 12_000, 3_000, 5_000
"""Applicants of a champion's folds: of four batches of 5,000, the newest to test on."""

PARAMS = {
    "learning_rate": 0.07,
    "max_depth": 3,
    "min_child_weight": 20.0,
    "subsample": 0.8,
    "colsample_bytree": 0.4,
    "reg_lambda": 30.0,
    "reg_alpha": 1.0,
    "gamma": 0.01,
}
"""Of every champion: what is measured are the monitors, not a search."""

YEAR = 12
"""Batches that follow each other under one champion."""

RETRAIN = ("features_stable", "scores_stable", "performance_holds")
WARN = ("missingness_stable", "no_new_categories")


@dataclass(frozen=True)
class Champion:
    """A model with the references that batches are compared with."""

    model: XGBoostModel
    reference: Reference
    importance: dict[str, float]
    held_out: np.ndarray


def make_features(con: duckdb.DuckDBPyConnection, table: str, folder: Path, book: Book) -> int:
    """Write a delivery's features, with the outcome as `target`, to a table of the connection; its number of rows."""
    portfolio, lake, batch = book.portfolio, Lake(folder / "lake"), folder.name
    stems = {name: config.files for name, config in portfolio.tables.items()}
    files = match_files(list(folder.glob("*.csv")), stems, {portfolio.outcomes_table}).tables
    for name, model in book.contracts.items():
        result = ingest(
            con,
            lake,
            files[name],
            Target(name, model, {parent: lake.query(parent) for parent in book.parents(name)}, batch),
            max_bad_share=0,
            quarantine_folder=folder / "quarantine",
            scratch=folder / "scratch",
        )
        lake.commit(result.staged, Provenance())
    for query in book.queries.values():
        for name in query.inputs:
            con.execute(
                f"create or replace view {name} as select * exclude ({BATCH}) from ({lake.query(name, [batch])})"
            )
        compute_query(con, query).create_view("_made", replace=True)
        lake.replace(con, "FROM _made", query.name, batch, Provenance())
    features, applications = lake.query("features", [batch]), lake.query("applications", [batch])
    con.execute(
        f"create or replace table {table} as select f.* exclude ({BATCH}), "
        f"{outcome_sql(portfolio.target, 'a')} as target "
        f"from ({features}) f join ({applications}) a using ({KEY})"
    )
    return int(con.table(table).aggregate("count(*)").fetchall()[0][0])


def select_applicants(con: duckdb.DuckDBPyConnection, table: str, keys: np.ndarray) -> duckdb.DuckDBPyRelation:
    con.from_df(pd.DataFrame({KEY: keys})).create_view("dealt", replace=True)
    return con.sql(f"select * from {table} semi join dealt using ({KEY})")


def deal(con: duckdb.DuckDBPyConnection, portfolio: Portfolio, rng: np.random.Generator) -> Champion:
    """A champion of applicants drawn from the pool, and the remaining applicants."""
    keys = rng.permutation(con.sql(f"select {KEY} from pool order by 1").fetchnumpy()[KEY])
    parts = np.split(keys, np.cumsum([TRAINED, VALIDATED, TESTED]))
    fold = pd.DataFrame(
        {KEY: np.concatenate(parts[:3]), "fold": np.repeat([TRAIN, VALID, TEST], [len(part) for part in parts[:3]])}
    )
    frame = (
        training_frame(select_applicants(con, "pool", fold[KEY].to_numpy())).merge(fold, on=KEY).assign(batch="pool")
    )
    names = [name for name in frame.columns if name not in (KEY, "target", "fold", "batch")]
    design = DesignMatrix.of(frame, names, KEY)
    folds = Folds(design, design.validation(portfolio.training), portfolio.training)
    model, _ = fit_xgboost(design, folds, PARAMS, folds.boost(PARAMS).rounds, portfolio.training)
    test = frame[frame["fold"] == TEST]
    reference = Reference.build(
        select_applicants(con, "pool", np.concatenate(parts[:2])),
        model.features,
        portfolio.drift,
        score="pd",
        scores=con.from_df(pd.DataFrame({"pd": model.pd(test)})),
    )
    return Champion(model, reference, importance(model, test, KEY).to_dict(), parts[3])


def scored(champion: Champion, frame: pd.DataFrame, portfolio: Portfolio) -> pd.DataFrame:
    """The input of `holds`: the applicants' PDs, bands and outcomes."""
    pds = champion.model.pd(frame)
    bands = band(points(pds, portfolio.scorecard), portfolio.scorecard)
    return pd.DataFrame({"applicant": frame[KEY], "pd": pds, "band": bands, "outcome": frame["target"].astype(float)})


def years(
    con: duckdb.DuckDBPyConnection,
    champions: list[Champion],
    portfolio: Portfolio,
    rng: np.random.Generator,
    times: int,
) -> Counter[str]:
    """How many batches, and years with at least one, fail `performance_holds` in `times` years per champion."""
    fails: Counter[str] = Counter()
    for champion in champions:
        held_out = scored(champion, training_frame(select_applicants(con, "pool", champion.held_out)), portfolio)
        for _ in range(times):
            batches = [held_out.iloc[rows] for rows in np.array_split(rng.permutation(len(held_out)), YEAR)]
            alarms = [
                not holds(batch, portfolio.performance, pd.concat(batches[:place]) if place else None).passed
                for place, batch in enumerate(batches)
            ]
            fails.update(batches=sum(alarms), years=int(any(alarms)))
    return fails


def failed(
    con: duckdb.DuckDBPyConnection, champion: Champion, batch: duckdb.DuckDBPyRelation, portfolio: Portfolio
) -> list[str]:
    """The checks that fail on a batch whose outcomes are all known."""
    frame = training_frame(batch)
    scores = scored(champion, frame, portfolio)
    drift = measure(champion.reference, batch, portfolio.drift, champion.reference.features)
    of_score = measure(champion.reference, con.from_df(scores), portfolio.drift, ["pd"])
    passed = {
        "features_stable": summary(drift, portfolio.drift, champion.importance).verdict != "shifted",
        "scores_stable": of_score["verdict"].iloc[0] != "shifted",
        "performance_holds": holds(scores, portfolio.performance).passed,
        "missingness_stable": not missing_moved(drift, portfolio.drift),
        "no_new_categories": not new_categories(drift, portfolio.drift),
    }
    return [name for name, fine in passed.items() if not fine]


def report_failures(what: str, batches: int, fails: Counter[str], seconds: float) -> None:
    counted = ", ".join(f"{name} {fails[name]}" for name in (*RETRAIN, *WARN))
    print(f"{what:<34}{fails['any']:>5} of {batches} would retrain ({counted}); {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scratch", type=Path, help="a folder for the synthetic files; it is emptied first")
    parser.add_argument("--applicants", type=int, default=80_000, help="size of the pool")
    parser.add_argument("--batches", type=int, default=200, help="unshifted batches of each size")
    parser.add_argument("--shifted", type=int, default=10, help="shifted batches of each scenario and size")
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000, 20_000], help="applicants per batch")
    parser.add_argument("--champions", type=int, default=4, help="splits of the pool that share the batches")
    parser.add_argument("--seed", type=int, default=23)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    book = Book.load(PROJECT, BOOK)
    with duckdb.connect(config={"memory_limit": "3GB", "preserve_insertion_order": False}) as con:
        con.execute("set enable_progress_bar = false")
        pools = {"pool": ("", asked.applicants), **{name: (name, max(asked.rows) + 2_000) for name in SCENARIOS}}
        for number, (table, (scenario, applicants)) in enumerate(pools.items()):
            start = time.perf_counter()
            [folder] = generate(
                asked.scratch / table,
                applicants,
                seed=asked.seed,
                unlabelled=0,
                scenario={"2026-01": scenario} if scenario else None,
                first_applicant=100_001 + 1_000_000 * number,
            )
            rows = make_features(con, table, folder, book)
            shutil.rmtree(asked.scratch / table)
            print(f"{table}: {rows:,} applicants with features in {time.perf_counter() - start:.0f} s", flush=True)
        champions = [deal(con, book.portfolio, rng) for _ in range(asked.champions)]
        for size in asked.rows:
            for table in pools:
                batches, start = asked.batches if table == "pool" else asked.shifted, time.perf_counter()
                everyone = con.sql(f"select {KEY} from {table} order by 1").fetchnumpy()[KEY]
                fails: Counter[str] = Counter()
                for number in range(batches):
                    champion = champions[number % len(champions)]
                    keys = rng.choice(champion.held_out if table == "pool" else everyone, size, replace=False)
                    found = failed(con, champion, select_applicants(con, table, keys), book.portfolio)
                    fails.update([*found, *(["any"] if set(found) & set(RETRAIN) else [])])
                what = "no shift" if table == "pool" else table
                report_failures(f"{size:,} rows, {what}", batches, fails, time.perf_counter() - start)


if __name__ == "__main__":
    main()

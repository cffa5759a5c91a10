"""Champion, baseline and untuned libraries on the same features and rows: AUC with intervals, ECE, processor seconds.

    python benchmarks/search.py --seeds 1 2 3
    python benchmarks/search.py --problems "few rows" categorical --books german_credit home_credit
    python benchmarks/search.py --problems --sampled full/2026-01

Problems are generated (credit_assets_tests/models/problems.py). Books are real ones from the folder
CREDIT_ASSETS_REAL_DATA, and `synthetic_lender`. The untuned libraries are LightGBM with its defaults and XGBoost with a
learning rate of 0.03 and 400 trees of depth 4. LOST marks a champion that is significantly worse (DeLong, paired, 5%).
`--sampled` searches twice on a delivery's files, on a sample of the rows as the platform does and on all rows, and
compares the processor seconds and the AUC of both champions on the same test rows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.features.compute import compute_query
from credit_assets.features.guard import made_from
from credit_assets.features.training_set import TEST, TRAIN, VALID, hash_share, training_frame, training_rows_sql
from credit_assets.ingest.file_names import match_files
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import ingest
from credit_assets.lake.provenance import BATCH, Provenance
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.logistic_regression import fit_logistic
from credit_assets.models.estimators.xgboost import fit_xgboost
from credit_assets.models.folds import Folds
from credit_assets.models.tuning import tune
from credit_assets.settings.project import Project
from credit_assets.settings.training import TrainingConfig
from credit_assets.statistics.comparison import auc_interval, compare
from credit_assets.statistics.metrics import decile_of
from credit_assets.synthetic.lender import generate
from credit_assets_tests.models.problems import KEY, PROBLEMS, UNTUNED

PROJECT = Project(Path(__file__).parents[1])
REAL_DATA = Path(os.environ.get("CREDIT_ASSETS_REAL_DATA", "../shared/data"))
BOOKS = ("german_credit", "home_credit", "lending_club", "uci_credit_card", "synthetic_lender")
APPLICANTS = 20_000


def compare_models(name: str, frame: pd.DataFrame, key: str, config: TrainingConfig) -> None:
    """Fit everything on the training part and print a line for each model."""
    features = [column for column in frame.columns if column not in (key, "batch", "target", "fold")]
    design = DesignMatrix.of(frame, features, key, config.encodings)
    test = frame[frame["fold"] == TEST].sort_values(["batch", key], kind="stable")
    outcomes, pds, seconds = test["target"].to_numpy(), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        folds = Folds(design, design.validation(config), config)
        found = tune(folds, config, Path(folder), "1", progress=lambda line: None)
        model, _ = fit_xgboost(design, folds, found.params, found.rounds, config)
        seconds["champion"], pds["champion"] = time.process_time() - begin, model.pd(test)
    begin = time.process_time()
    baseline = fit_logistic(design, design.validation(config))
    seconds["baseline"], pds["baseline"] = time.process_time() - begin, baseline.pd(test)
    for library, fitted in UNTUNED.items():
        begin = time.process_time()
        pds[library] = fitted(design)
        seconds[library] = time.process_time() - begin
    rows, defaults = int(design.training.sum()), int(design.target[design.training].sum())
    print(
        f"\n{name}: {rows:,} rows with {defaults:,} defaults x {len(features)} features; {len(found.trials)} trials, "
        f"{found.ended}; rounds {found.rounds}, on an edge: {', '.join(found.edges) or 'none'}"
    )
    for model_name, values in pds.items():
        auc = auc_interval(outcomes, values)
        line = f"  {model_name:10} AUC {auc.value:.4f} ({auc.low:.4f} to {auc.high:.4f})"
        line += f"  ECE {calibration_error(outcomes, values):.4f}  log loss {log_loss(outcomes, values):.4f}"
        line += f"  {seconds[model_name]:.1f} s"
        if model_name != "champion":
            beside = compare(outcomes, pds["champion"], values)
            difference = beside.auc_difference
            line += f"  champion {difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"
            line += f", p = {beside.p_value:.2g}"
            line += "  LOST" if difference.high < 0 else ""
        print(line, flush=True)


class AllRows(Folds):
    """Folds whose trials are never fitted on a sample."""

    def sample(self) -> Folds:
        return self


def compare_sampling(frame: pd.DataFrame, key: str, config: TrainingConfig) -> None:
    """Search on a sample and on all rows, and print processor seconds, AUC and the paired difference."""
    features = [column for column in frame.columns if column not in (key, "batch", "target", "fold")]
    design = DesignMatrix.of(frame, features, key, config.encodings)
    test = frame[frame["fold"] == TEST].sort_values(["batch", key], kind="stable")
    pds, seconds = {}, {}
    print(f"{int(design.training.sum()):,} training rows x {len(features)} features, {len(test):,} test rows")
    for name, kind in {"sample": Folds, "all rows": AllRows}.items():
        begin = time.process_time()
        folds = kind(design, design.validation(config), config)
        with tempfile.TemporaryDirectory() as folder:
            found = tune(folds, config, Path(folder), "1", progress=lambda line: None)
        seconds[name] = time.process_time() - begin
        begin = time.process_time()
        model, _ = fit_xgboost(design, folds, found.params, found.rounds, config)
        pds[name] = model.pd(test)
        auc = auc_interval(test["target"].to_numpy(), pds[name])
        print(
            f"  {name:10} AUC {auc.value:.4f} ({auc.low:.4f} to {auc.high:.4f}); {len(found.trials)} trials, "
            f"{found.ended}; search {seconds[name]:.0f} s, model {time.process_time() - begin:.0f} s of processor",
            flush=True,
        )
    difference = compare(test["target"].to_numpy(), pds["sample"], pds["all rows"]).auc_difference
    print(
        f"  AUC of the sample's champion {difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}), "
        f"search in {seconds['sample'] / seconds['all rows']:.2f} of the processor time"
    )


def log_loss(outcomes: np.ndarray, pds: np.ndarray) -> float:
    pds = np.clip(pds, 1e-12, 1 - 1e-12)
    return float(-np.mean(np.where(outcomes == 1, np.log(pds), np.log1p(-pds))))


def calibration_error(outcomes: np.ndarray, pds: np.ndarray) -> float:
    """Mean distance between default rate and mean PD over deciles of the PD."""
    deciles = pd.DataFrame({"outcome": outcomes, "pd": pds}).groupby(decile_of(pds)).agg(["mean", "size"])
    distance = (deciles["outcome"]["mean"] - deciles["pd"]["mean"]).abs()
    return float((distance * deciles["pd"]["size"]).sum() / len(pds))


def german_credit() -> pd.DataFrame:
    """The raw columns except those about the person; a quarter of the applicants are the test."""
    rows = pd.read_csv(REAL_DATA / "german_credit" / "german_credit.csv.gz")
    rows = rows.drop(columns=["status_and_sex", "age", "is_foreign_worker"])
    keys = np.arange(len(rows))
    fold = np.where(
        hash_share(keys, "20:test") < 0.25, TEST, np.where(hash_share(keys, "20:valid") < 0.2, VALID, TRAIN)
    )
    return rows.assign(**{KEY: keys, "batch": "1994", "fold": fold, "target": (rows["target"] == "bad").astype("int8")})


def training_set(book: Book, deliveries: Sequence[Path], scratch: Path) -> pd.DataFrame:
    """The rows that the platform would train and test on: features of the deliveries by the portfolio's SQL, with
    folds.
    """
    portfolio, lake, queries = book.portfolio, Lake(scratch / "lake"), book.queries
    names = {name: table.files for name, table in portfolio.tables.items()}
    with duckdb.connect() as con:
        for delivery in deliveries:
            files = match_files([*delivery.iterdir()], names, {portfolio.outcomes_table} & names.keys()).tables
            for name in [table for table in book.contracts if files.get(table)]:
                done = ingest(
                    con,
                    lake,
                    files[name],
                    Target(
                        name,
                        book.contracts[name],
                        {parent: lake.query(parent, [delivery.name]) for parent in book.parents(name)},
                        delivery.name,
                        numbered=portfolio.tables[name].numbered,
                    ),
                    max_bad_share=portfolio.delivery.max_bad_share,
                    quarantine_folder=scratch / "quarantine",
                    scratch=scratch / "scratch",
                    notes=portfolio.tables[name].notes,
                )
                lake.commit(done.staged, Provenance())
            for query in queries.values():
                for name in query.inputs:
                    read = lake.query(name, [delivery.name])
                    con.execute(f"create or replace view {name} as select * exclude ({BATCH}) from ({read})")
                compute_query(con, query).create_view("_made", replace=True)
                lake.replace(con, "FROM _made", query.name, delivery.name, Provenance())
        key, batch = identifier(portfolio.entity_key), BATCH
        if column := portfolio.delivery.split_by:
            date = f"cast({identifier(column)} as date)"
            batch = f"strftime({date}, '%Y') || '-Q' || quarter({date}) as batch"
        con.execute(f"create table dated as select * exclude ({BATCH}), {batch} from ({lake.query('applications')})")
        con.execute(
            f"create table made as select features.* exclude ({BATCH}), dated.batch "
            f"from ({lake.query('features')}) as features join dated using ({key})"
        )
        con.execute("create table outcomes as from dated limit 0")
        rows = training_rows_sql(portfolio, features="made", applications="dated", outcomes="outcomes")
        frame = training_frame(con.sql(rows))
    made = {feature: book.raw_lineage["features"][feature] for feature in queries["features"].descriptions}
    return frame.drop(columns=list(made_from(made, portfolio.left_out)))


def book(name: str, scratch: Path) -> None:
    if name == "german_credit":
        compare_models(name, german_credit(), KEY, TrainingConfig())
        return
    compiled = Book.load(PROJECT, "home_credit" if name == "synthetic_lender" else name)
    synthetic = name == "synthetic_lender"
    deliveries = generate(scratch / "sample", APPLICANTS, 4)[:3] if synthetic else [REAL_DATA / name]
    frame = training_set(compiled, deliveries, scratch)
    compare_models(name, frame, compiled.portfolio.entity_key, compiled.portfolio.training)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--problems", nargs="*", choices=[*PROBLEMS], default=[*PROBLEMS])
    parser.add_argument("--books", nargs="*", choices=BOOKS, default=[], help="books from CREDIT_ASSETS_REAL_DATA")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--sampled", type=Path, metavar="FOLDER", help="files of a large Home Credit delivery")
    asked = parser.parse_args()
    for name in asked.problems:
        for seed in asked.seeds:
            compare_models(f"{name}, seed {seed}", PROBLEMS[name].training_set(seed), KEY, TrainingConfig())
    for name in asked.books:
        with tempfile.TemporaryDirectory() as folder:
            book(name, Path(folder))
    if asked.sampled:
        compiled = Book.load(PROJECT, "home_credit")
        with tempfile.TemporaryDirectory() as folder:
            frame = training_set(compiled, [asked.sampled], Path(folder))
        compare_sampling(frame, compiled.portfolio.entity_key, compiled.portfolio.training)


if __name__ == "__main__":
    main()

"""Processor seconds to score one batch from the lake to the lake, beside the bare prediction and TreeSHAP.

    python benchmarks/scoring.py data/lake 2026-01
    python benchmarks/scoring.py data/lake 2026-01 --rows 100000 --threads 1 --json

`ours` reads the batch's features, computes PDs, points, bands and decisions, checks the contract and writes the table:
once without declines, and once with reasons for a fifth of the applicants. `bare` reads the same columns, predicts with
`Booster.inplace_predict`, and writes keys and margins to Parquet. `TreeSHAP` computes the contributions of all rows,
and nothing else. The model has 300 trees of depth 4 on all features; what it predicts does not matter here.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.decisions.decide import Provenance as ScoredBy
from credit_assets.decisions.decide import score
from credit_assets.explanations.texts import ReasonTexts, reason_texts
from credit_assets.features.versions import FEATURES
from credit_assets.lake.provenance import BATCH, Provenance
from credit_assets.lake.tables import Lake
from credit_assets.models.calibration import Platt
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.xgboost import XGBoostModel
from credit_assets.models.folds import xgboost_params
from credit_assets.schemas.scores import Scores
from credit_assets.scoring.batch_scores import chunks_of
from credit_assets.settings.project import Project

PROJECT = Project(Path(__file__).parents[1])
LEARNED_ROWS, TREES, DEPTH = 20_000, 300, 4
DECLINED = 0.2
EXPLAINED_ROWS = 5_000
"""Rows on which TreeSHAP is measured: its time is proportional to the rows."""


def fitted(rows: pd.DataFrame, key: str, threads: int) -> XGBoostModel:
    """A model of the usual size. Its outcome is a noisy function of two features, so that its trees are full."""
    import xgboost

    names = [name for name in rows.columns if name != key]
    numbers = rows[names].select_dtypes("number").fillna(0)
    ranks = numbers.iloc[:, :2].rank(pct=True).sum(axis=1) + np.random.default_rng(1).normal(size=len(rows))
    outcome = (ranks > ranks.quantile(0.9)).astype("int8")
    design = DesignMatrix.of(rows.assign(batch="1", fold="train", target=outcome), names, key)
    matrix, encodings = design.binned(design.training, threads, 256)
    settings = xgboost_params({"max_depth": DEPTH, "learning_rate": 0.05}, 1, threads)
    booster = xgboost.train(settings, matrix, num_boost_round=TREES)
    return XGBoostModel(design.features, design.native, encodings, booster, Platt(1.0, 0.0))


def ours(
    book: Book,
    texts: ReasonTexts,
    model: XGBoostModel,
    features: duckdb.DuckDBPyRelation,
    cut_off: float,
    scratch: Path,
) -> float:
    """Processor seconds from the features in the lake to the scores in the lake."""
    begin = time.process_time()
    by = ScoredBy(book.name, 1, "run", 1, 1, True)
    key, scorecard = book.portfolio.entity_key, book.portfolio.scorecard
    scores = score(chunks_of(features), key, model, cut_off, scorecard, texts, by)
    scores = book.keyed(Scores).to_schema().validate(scores, lazy=True)
    with duckdb.connect() as con:
        con.register("scores", scores)
        Lake(scratch / "lake").replace(con, "FROM scores", "scores", "1", Provenance())
    return time.process_time() - begin


def bare(key: str, model: XGBoostModel, features: duckdb.DuckDBPyRelation, scratch: Path) -> tuple[float, np.ndarray]:
    """Processor seconds of a script that does no more than predict, and its margins."""
    begin = time.process_time()
    columns = features.fetchnumpy()
    values = np.empty((len(columns[key]), len(model.features)), dtype=np.float32)
    for position, name in enumerate(model.features):
        column = columns[name]
        if name in model.categories:
            codes = pd.Categorical(np.ma.filled(column, None), categories=list(model.categories[name])).codes
            column = np.where(codes < 0, np.nan, codes)
        elif name in model.encodings:
            column = model.encodings[name].of(pd.Series(np.ma.filled(column, None)))
        values[:, position] = np.ma.filled(column, np.nan)
    margins = model.booster.inplace_predict(values, predict_type="margin", validate_features=False)
    with duckdb.connect() as con:
        con.from_df(pd.DataFrame({key: columns[key], "margin": margins})).write_parquet(str(scratch / "bare.parquet"))
    return time.process_time() - begin, margins


def tree_shap(model: XGBoostModel, rows: pd.DataFrame) -> float:
    """Processor seconds for the contributions of these rows."""
    begin = time.process_time()
    model.contributions(rows)
    return time.process_time() - begin


def measure(asked: argparse.Namespace) -> dict[str, float]:
    book = Book.load(PROJECT, asked.portfolio)
    texts = reason_texts(book.queries, book.raw_lineage_of_values[FEATURES], book.raw_lineage[FEATURES])
    key, lake = book.portfolio.entity_key, Lake(asked.lake)
    table = next(name for name in (book.portfolio.table(FEATURES), FEATURES) if lake.exists(name))
    with duckdb.connect(config={"threads": asked.threads}) as con, tempfile.TemporaryDirectory() as folder:
        batch = lake.query(table, [asked.batch])
        limit = f"LIMIT {asked.rows}" if asked.rows else ""
        features = con.sql(f"SELECT * EXCLUDE ({BATCH}) FROM ({batch}) {limit}")
        sample = features.limit(LEARNED_ROWS).df()
        model = fitted(sample, key, asked.threads)
        model.booster.set_param({"nthread": asked.threads})
        of_bare, margins = bare(key, model, features, Path(folder))
        cut_off = float(model.calibration.pd(np.quantile(margins, 1 - DECLINED, keepdims=True))[0])
        without = ours(book, texts, model, features, 0.999999, Path(folder))
        with_reasons = ours(book, texts, model, features, cut_off, Path(folder))
        explained = sample.head(EXPLAINED_ROWS)
        of_all = tree_shap(model, explained) * len(margins) / len(explained)
    return {
        "rows": len(margins),
        "ours_cpu_s": without,
        "bare_cpu_s": of_bare,
        "share_of_bare_speed": of_bare / without,
        "ours_with_reasons_cpu_s": with_reasons,
        "tree_shap_cpu_s": of_all,
        "times_faster_than_tree_shap": of_all / with_reasons,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("lake", type=Path, help="the lake's folder")
    parser.add_argument("batch")
    parser.add_argument("--portfolio", default="home_credit")
    parser.add_argument("--rows", type=int, help="applicants to score; the default is all of the batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    measured = measure(asked)
    if asked.json:
        print(json.dumps({name: round(value, 3) for name, value in measured.items()}))
        return
    for name, value in measured.items():
        print(f"{name:30}{value:12,.2f}")


if __name__ == "__main__":
    main()

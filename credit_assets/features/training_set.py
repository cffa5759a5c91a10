"""The training set: features joined with known outcomes, each applicant in one fold.

Models are trained in `models/`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd

from credit_assets.features.target import outcome_sql
from credit_assets.lake.sql import identifier
from credit_assets.plurals import number_of
from credit_assets.settings.target import Target

if TYPE_CHECKING:
    from credit_assets.settings.portfolio import Portfolio

TRAIN, VALID, TEST = "train", "valid", "test"


class TrainingSetError(ValueError):
    """The known outcomes are not enough for a training set; the message says what a fold lacks."""


def known_outcomes_sql(
    *,
    applications: str,
    outcomes: str,
    entity_key: str,
    target: Target,
    matured_share: float,
) -> str:
    """A SELECT of every known outcome of a matured batch: `entity_key`, `batch`, `target` (0/1).

    `applications` and `outcomes` name relations keyed by `entity_key` and `batch`. An outcome in `outcomes` takes
    precedence over one in `applications`, because it is newer. A batch is matured once the outcomes of `matured_share`
    of its applicants are known: the first known outcomes are not representative, since a default shows early and a
    repaid loan only at its end.
    """
    key = identifier(entity_key)
    return f"""
SELECT {key}, batch, CAST(_outcome AS TINYINT) AS target
FROM (
    SELECT {key}, batch, coalesce({outcome_sql(target, "outcomes")}, {outcome_sql(target, "applications")}) AS _outcome
    FROM {applications} AS applications LEFT JOIN {outcomes} AS outcomes USING ({key}, batch)
    QUALIFY avg((_outcome IS NOT NULL)::INT) OVER (PARTITION BY batch) >= {matured_share}
)
WHERE _outcome IS NOT NULL
""".strip()


def training_set_sql(
    *,
    features: str,
    known_outcomes: str,
    entity_key: str,
    seed: int,
    holdout_share: float,
    valid_share: float,
    window_batches: int,
    test_batches: int,
) -> str:
    """A SELECT of the rows of `features` in the training window, plus `target` (0/1) and `fold`.

    `features` names a relation keyed by `entity_key` and `batch`, `known_outcomes` one with the columns of
    `known_outcomes_sql`.

    - The window is the newest batch with features and outcomes of both classes, and the `window_batches` - 1 batches
      with outcomes before it.
    - The newest `test_batches` batches of the window with both classes, and any between them, are the out-of-time test,
      but at most half of the window's batches, so that a young book has some to learn from. Rows of newer batches, and
      earlier rows of applicants in the test, are left out.
    - If the window is a single batch, the test is the share `holdout_share` of its applicants.
    - Of the other applicants, the share `valid_share` is in `valid`, the rest in `train`.
    """
    key = identifier(entity_key)
    return f"""
WITH learnable AS (
    SELECT known.* FROM {known_outcomes} AS known JOIN {features} AS features USING ({key}, batch)
),
batches AS (
    SELECT batch, bool_or(target = 0) AND bool_or(target = 1) AS testable FROM learnable GROUP BY batch
),
recent AS (
    SELECT
        batch,
        -- The number of newer batches with both classes.
        count(*) FILTER (WHERE testable) OVER (ORDER BY batch DESC) - testable::INT AS newer
    FROM batches
    WHERE batch <= (SELECT max(batch) FROM batches WHERE testable)
    QUALIFY row_number() OVER (ORDER BY batch DESC) <= {window_batches}
),
learned_from AS (
    SELECT batch, newer, count(*) OVER () AS batches FROM recent
),
folds AS (
    SELECT
        {key},
        batch,
        target,
        {_fold_sql(key, seed, test_batches, holdout_share, valid_share)} AS fold
    FROM learnable JOIN learned_from USING (batch)
)
SELECT features.*, folds.target, folds.fold
FROM {features} AS features
JOIN folds USING ({key}, batch)
WHERE fold = '{TEST}' OR {key} NOT IN (SELECT {key} FROM folds WHERE fold = '{TEST}')
""".strip()


def _fold_sql(key: str, seed: int, test_batches: int, holdout_share: float, valid_share: float) -> str:
    """SQL of an applicant's fold, from the numbers of newer batches with both classes (`newer`) and of all batches.

    Both shares are split by a hash of the entity key and the seed, at the same hash for goods and bads, so that their
    shares differ only by chance (a standard error of one percentage point for the test's share of 2,000 bads). No row's
    fold depends on which other rows exist: an applicant in `valid` stays out of `train` whatever is delivered later.
    """
    return f"""CASE
            WHEN newer < least({test_batches}, batches // 2) THEN '{TEST}'
            WHEN batches = 1 AND {hash_share_sql(key, f"{seed}:test")} < {holdout_share} THEN '{TEST}'
            WHEN {hash_share_sql(key, f"{seed}:valid")} < {valid_share} THEN '{VALID}'
            ELSE '{TRAIN}'
        END"""


def training_rows_sql(portfolio: Portfolio, *, features: str, applications: str, outcomes: str) -> str:
    """`training_set_sql` with the portfolio's settings, over its tables (relations, or SELECTs in parentheses)."""
    config = portfolio.training
    known = known_outcomes_sql(
        applications=applications,
        outcomes=outcomes,
        entity_key=portfolio.entity_key,
        target=portfolio.target,
        matured_share=config.matured_share,
    )
    return training_set_sql(
        features=features,
        known_outcomes=f"({known})",
        entity_key=portfolio.entity_key,
        seed=config.seed,
        holdout_share=config.holdout_share,
        valid_share=config.valid_share,
        window_batches=config.window_batches,
        test_batches=config.test_batches,
    )


def hash_share_sql(column: str, salt: str) -> str:
    """SQL for a number in [0, 1) that depends only on the column's value and the salt.

    It uses MD5, which is the same in every DuckDB version (`hash()` may change); `hash_share` computes it in numpy.
    """
    return f"md5_number_upper(concat('{salt}:', {column})) / 18446744073709551616.0"


def hash_share(keys: np.ndarray, salt: str) -> np.ndarray:
    """The values of `hash_share_sql` for an array of integer or text keys."""
    digests = (hashlib.md5(f"{salt}:{key}".encode(), usedforsecurity=False).digest() for key in keys.tolist())
    return np.array([int.from_bytes(digest[:8], "little") / 2.0**64 for digest in digests])


def split_summary(training_set: pd.DataFrame) -> pd.DataFrame:
    """Rows, defaults and default rate by fold and batch, of a frame with `fold`, `batch` and `target`.

    Raises TrainingSetError if train, valid or test lacks goods or bads.
    """
    by_fold = training_set.groupby("fold")["target"].agg(["size", "sum"])
    for fold in (TRAIN, VALID, TEST):
        rows, bads = by_fold.loc[fold] if fold in by_fold.index else (0, 0)
        if not 0 < bads < rows:
            raise TrainingSetError(
                f"The {fold} fold of the training set has {number_of(int(bads), 'default')} among "
                f"{number_of(int(rows), 'row')} with a "
                "known outcome; it needs some of both. Deliver more outcomes, or change the shares."
            )
    summary = training_set.groupby(["fold", "batch"], as_index=False, observed=True).agg(
        rows=("target", "size"), defaults=("target", "sum")
    )
    summary["default_rate"] = summary["defaults"] / summary["rows"]
    return summary


def training_frame(training_set: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """The training set in memory, with numbers as float32: the models' precision, at half the size."""
    kept = [
        f"CAST({identifier(name)} AS FLOAT) AS {identifier(name)}" if str(kind) == "DOUBLE" else identifier(name)
        for name, kind in zip(training_set.columns, training_set.types, strict=True)
    ]
    return training_set.project(", ".join(kept)).df()

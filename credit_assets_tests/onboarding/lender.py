"""Small files of an unknown lender: CSV text of hand-made or random loans."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from credit_assets.onboarding.files import Column

ROWS = 40
"""Rows of a small file, unless said otherwise."""


def write(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """Write the columns to a CSV file; None is an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
    return path


def loans(rows: int = ROWS) -> dict[str, list[Any]]:
    """A key, two numbers, a text column and an outcome, none of which determines another."""
    return {
        "loan_id": [f"L{n:04d}" for n in range(rows)],
        "amount": [1000 + 37 * (n * 7 % 11) for n in range(rows)],
        "rate": [round(3 + n * 5 % 13 / 7, 2) for n in range(rows)],
        "purpose": [("car", "house", "other")[n * n % 3] for n in range(rows)],
        "default": [int(n % 4 == 0) for n in range(rows)],
    }


def german(path: Path, rows: int = 1000, seed: int = 3) -> Path:
    """Random loans with the names and codes of Statlog's German credit data, for when those are not available."""
    draws = np.random.default_rng(seed)
    risk = draws.normal(size=rows)

    def by_risk(low: int, high: int, noise: float) -> list[int]:
        """Integers that grow with the risk."""
        level = 1 / (1 + np.exp(-(risk + draws.normal(0, noise, rows))))
        return (low + (high - low) * level).astype(int).tolist()

    balances = ("no checking account", ">= 200 DM", "0 to < 200 DM", "< 0 DM")
    words = {
        "credit_history": ("existing credits paid back duly till now", "delay in paying off in the past"),
        "purpose": ("radio/television", "car (new)", "furniture/equipment", "business"),
        "status_and_sex": ("male : single", "female : divorced/separated/married", "male : married/widowed"),
        "housing": ("own", "rent", "for free"),
        "is_foreign_worker": ("true", "false"),
    }
    columns: dict[str, Any] = {
        "status_account": [balances[n] for n in by_risk(0, 4, 1.0)],
        "month_duration": by_risk(4, 72, 1.0),
        "credit_amount": by_risk(250, 18000, 1.0),
        "n_credits": by_risk(1, 5, 2.0),
        "age": draws.integers(19, 75, rows).tolist(),
    }
    columns |= {name: draws.choice(known, rows).tolist() for name, known in words.items()}
    columns["target"] = np.where(draws.random(rows) < 1 / (1 + np.exp(1.3 - 2 * risk)), "bad", "good").tolist()
    return write(path, columns)


def turns(*values: Any, rows: int = ROWS) -> list[Any]:
    """The values in rotation."""
    return [values[n % len(values)] for n in range(rows)]


def read(column: Column, value: str) -> Any:
    """The value as read by the column's SQL."""
    with duckdb.connect() as con:
        source = f"(SELECT ? AS {column.sql})"
        return con.execute(f"SELECT {column.date or column.number} FROM {source}", [value]).fetchall()[0][0]

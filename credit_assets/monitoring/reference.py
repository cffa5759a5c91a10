"""The drift reference of a model: quantiles and category shares of its training data, stored with the model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import DuckDBPyRelation
from numpy.typing import NDArray

from credit_assets.monitoring.relation_columns import by_kind, category_counts, sorted_values
from credit_assets.settings.drift import DriftConfig

GRID = 512
"""Points of the quantile grid of a reference. KS is exact to within 1 / GRID."""

Counts = NDArray[np.int64]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NumericSketch:
    """A numeric column of the training data, without its rows. Infinities are values; NaN is missing.

    `cuts` are the right edges of the bins (the outer bins are open), `counts` the rows per bin, missing values last.
    `grid` has observed values that are about equally spaced in rank; `at_most` and `below` count the rows <= and <
    each. `commonest` is the share of the most frequent value among the non-missing rows.
    """

    rows: int
    missing: int
    cuts: Floats
    counts: Counts
    grid: Floats
    at_most: Counts
    below: Counts
    commonest: float

    @classmethod
    def of(cls, values: Floats, rows: int, bins: int) -> NumericSketch:
        """Sketch a column of `rows` rows from its sorted non-missing values."""
        cuts = _observed_quantiles(values, np.arange(1, bins) / bins)
        grid = _observed_quantiles(values, np.linspace(0, 1, GRID + 1))
        return cls(
            rows=rows,
            missing=rows - len(values),
            cuts=cuts,
            counts=bin_counts(values, rows, cuts),
            grid=grid,
            at_most=np.searchsorted(values, grid, "right"),
            below=np.searchsorted(values, grid, "left"),
            commonest=_longest_run(values) / len(values) if len(values) else 0.0,
        )

    def bin_names(self) -> list[str]:
        """The names of the bins, such as `(1, 2]`; the last is `missing`."""
        cuts = list(map(number_text, self.cuts))
        inner = [f"({low}, {high}]" for low, high in pairwise(cuts)]
        outer = [f"up to {cuts[0]}", f"above {cuts[-1]}"] if cuts else ["present"]
        return [*outer[:1], *inner, *outer[1:], "missing"]

    def median(self) -> float:
        """The lower median of the non-missing values, of which there must be at least one."""
        return float(self.grid[np.searchsorted(self.at_most, (self.rows - self.missing) / 2)])


@dataclass(frozen=True)
class CategorySketch:
    """A categorical column of the training data: the categories with their numbers of rows, most frequent first.

    Each of the first `kept` categories is a bin; the others, which are rare, share one.
    """

    rows: int
    missing: int
    categories: tuple[str, ...]
    counts: Counts
    kept: int

    @classmethod
    def of(cls, counts: Mapping[str | None, int], rare: float) -> CategorySketch:
        """Sketch a column from its number of rows per category; `None` is missing. `rare`: the smallest share of a
        bin."""
        rows = sum(counts.values())
        ordered = sorted(
            ((n, category) for category, n in counts.items() if category is not None), key=lambda x: (-x[0], x[1])
        )
        return cls(
            rows=rows,
            missing=counts.get(None, 0),
            categories=tuple(category for _, category in ordered),
            counts=np.array([n for n, _ in ordered], dtype=np.int64),
            kept=sum(n >= rare * rows for n, _ in ordered),
        )

    @property
    def commonest(self) -> float:
        """The share of the most frequent category among the non-missing rows."""
        return float(self.counts[0] / self.counts.sum()) if len(self.counts) else 0.0


Sketch = NumericSketch | CategorySketch


@dataclass(frozen=True)
class Reference:
    """One sketch per feature and one of the score, either of a version's training data, or of the population at its
    promotion, a `batch` that it did not learn from.

    It takes a few MB, whatever the number of rows. It is stored with the model, so that measuring a batch does not read
    the training data.
    """

    sketches: dict[str, Sketch]
    score: str | None = None
    batch: str | None = None

    @classmethod
    def build(
        cls,
        relation: DuckDBPyRelation,
        features: Sequence[str],
        config: DriftConfig,
        score: str | None = None,
        scores: DuckDBPyRelation | None = None,
    ) -> Reference:
        """Sketch the training rows' features, and column `score` of `scores` (by default of the same rows).

        Scores should come from rows that the model did not learn from (holdout or out-of-fold): scores of training rows
        are more extreme, so every batch would seem to have shifted. Raises ValueError if there are no rows, a column is
        unknown, or its type is neither numeric nor text.
        """
        sketches: dict[str, Sketch] = {}
        sources = [(relation, list(features))]
        if score is not None:
            sources.append((relation if scores is None else scores, [score]))
        for source, names in sources:
            numeric, categorical = by_kind(source, names)
            for name, values, rows in sorted_values(source, numeric):
                sketches[name] = NumericSketch.of(values, rows, config.bins)
            for name, counts in category_counts(source, categorical):
                sketches[name] = CategorySketch.of(counts, config.rare_category)
        ordered = [*features, *([] if score is None else [score])]
        return cls(sketches={name: sketches[name] for name in ordered}, score=score)

    @property
    def features(self) -> list[str]:
        return [name for name in self.sketches if name != self.score]

    def save(self, path: Path) -> None:
        """Write one Parquet file with a row per column. An existing file is replaced atomically."""
        rows = [
            {"name": name, "role": "score" if name == self.score else "feature"}
            | {field.name: getattr(sketch, field.name) for field in fields(sketch)}
            for name, sketch in self.sketches.items()
        ]
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        stored = _STORED.with_metadata({"batch": self.batch} if self.batch else None)
        pq.write_table(pa.Table.from_pylist(rows, schema=stored), partial, compression="zstd")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read what `save` wrote. Raises ValueError for a Parquet file that is not a drift reference."""
        table = pq.read_table(path)
        if not table.schema.equals(_STORED):
            raise ValueError(f"{path} is not a drift reference: its columns are {', '.join(table.schema.names)}.")
        sketches: dict[str, Sketch] = {}
        score = None
        for row in table.to_pylist():
            name, role = row.pop("name"), row.pop("role")
            score = name if role == "score" else score
            numeric = row["categories"] is None
            own: dict[str, Any] = {
                field.name: row[field.name] for field in fields(NumericSketch if numeric else CategorySketch)
            }
            own["counts"] = np.array(own["counts"], dtype=np.int64)
            if numeric:
                own |= {key: np.array(own[key], dtype=np.float64) for key in ("cuts", "grid")}
                own |= {key: np.array(own[key], dtype=np.int64) for key in ("at_most", "below")}
                sketches[name] = NumericSketch(**own)
            else:
                sketches[name] = CategorySketch(**own | {"categories": tuple(own["categories"])})
        batch = (table.schema.metadata or {}).get(b"batch")
        return cls(sketches=sketches, score=score, batch=batch.decode() if batch else None)


_STORED = pa.schema(
    [
        ("name", pa.string()),
        ("role", pa.string()),
        ("rows", pa.int64()),
        ("missing", pa.int64()),
        ("counts", pa.list_(pa.int64())),
        ("commonest", pa.float64()),
        ("cuts", pa.list_(pa.float64())),
        ("grid", pa.list_(pa.float64())),
        ("at_most", pa.list_(pa.int64())),
        ("below", pa.list_(pa.int64())),
        ("categories", pa.list_(pa.string())),
        ("kept", pa.int64()),
    ]
)


def bin_counts(values: Floats, rows: int, cuts: Floats) -> Counts:
    """The number of rows per bin of sorted values, with the rows without a value last."""
    up_to = np.searchsorted(values, cuts, "right")
    ends: Counts = np.array([0, *up_to, len(values), rows], dtype=np.int64)
    return ends[1:] - ends[:-1]


def _observed_quantiles(values: Floats, shares: Floats) -> Floats:
    """The distinct observed values at these quantiles of sorted values (the inverse distribution function)."""
    if not len(values):
        return values
    ranks = np.ceil(shares * len(values)).astype(np.int64) - 1
    return np.unique(values[np.maximum(ranks, 0)])


def number_text(value: float) -> str:
    """The number with four significant digits, or without decimals from 1,000 on."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:z.4g}"


def _longest_run(values: Floats) -> int:
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    return int(np.diff(ends, prepend=-1).max())

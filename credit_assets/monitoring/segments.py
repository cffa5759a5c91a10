"""The segments in which the calibration of a batch is tested: groups of the protected attributes, and ranges or
categories of the most important features."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from credit_assets.monitoring.reference import CategorySketch, NumericSketch, Reference

LEADING = 3
"""The number of most important features with segments."""

MISSING = "missing"


def leading_features(importance: Mapping[str, float], present: Collection[str]) -> list[str]:
    """The LEADING features with the largest importance, of those that are present."""
    ordered = sorted(importance, key=lambda name: (-importance[name], name))
    return [name for name in ordered if name in present][:LEADING]


def segment_columns(groups: pd.DataFrame, values: pd.DataFrame, reference: Reference) -> pd.DataFrame:
    """The segments of the same applicants, one column per attribute (`groups`: null is in no segment) or feature.

    A numeric feature of `values` is divided at the quartiles of the training data, a categorical one has a segment for
    each category that was not rare there; a missing value is a segment of its own.
    """
    columns: dict[str, pd.Series] = {
        name: groups[name].astype(object).where(groups[name].notna(), None) for name in groups.columns
    }
    for name in values.columns:
        sketch = reference.sketches[name]
        cut = _ranges(values[name], sketch) if isinstance(sketch, NumericSketch) else _categories(values[name], sketch)
        columns[name] = pd.Series(cut.to_numpy(), index=groups.index)
    return pd.DataFrame(columns, index=groups.index)


def _ranges(values: pd.Series, sketch: NumericSketch) -> pd.Series:
    present = sketch.rows - sketch.missing
    at = np.searchsorted(sketch.at_most, np.array([0.25, 0.5, 0.75]) * present)
    edges = np.unique(sketch.grid[at]) if len(sketch.grid) else np.array([])
    inner = [f"above {low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    names = [f"up to {edges[0]:.4g}", *inner, f"above {edges[-1]:.4g}"] if len(edges) else ["any"]
    numbers = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
    named = np.array(names, dtype=object)[np.searchsorted(edges, numbers, side="left").clip(max=len(names) - 1)]
    return pd.Series(np.where(np.isnan(numbers), MISSING, named), index=values.index)


def _categories(values: pd.Series, sketch: CategorySketch) -> pd.Series:
    kept = sketch.categories[: sketch.kept]
    categories = values.astype(object)
    return categories.where(categories.isin(kept) | categories.isna(), "another value").where(
        categories.notna(), MISSING
    )

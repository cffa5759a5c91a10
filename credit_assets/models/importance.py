"""How much a model relies on each feature: the mean absolute contribution to log-odds over a sample of rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from credit_assets.models.model import Model

SAMPLE_ROWS = 2_000
"""The maximum number of rows explained: the mean converges much earlier, and each row takes time."""


def importance(model: Model, frame: pd.DataFrame, entity_key: str) -> pd.Series:
    """Mean |contribution| (log-odds of default) by feature, largest first, over evenly spaced rows.

    Rows are spaced in the order of `batch` and entity key, so that the result does not depend on the frame's order.
    """
    order = np.lexsort((frame[entity_key].to_numpy(), frame["batch"].astype(str).to_numpy()))
    rows = np.unique(np.linspace(0, len(frame) - 1, min(SAMPLE_ROWS, len(frame))).astype(int))
    contributions = np.abs(model.contributions(frame.iloc[order[rows]])[:, :-1]).mean(axis=0)
    return pd.Series(contributions, index=list(model.features)).sort_values(ascending=False, kind="stable")


def leading(shares: pd.Series, descriptions: Mapping[str, str], number: int) -> pd.DataFrame:
    """The features that a model relies on most, with their descriptions and shares of the total."""
    leaders = (shares / shares.sum()).head(number)
    return pd.DataFrame(
        {
            "feature": leaders.index,
            "words": [descriptions[name] for name in leaders.index],
            "share": leaders.to_numpy(),
        }
    )

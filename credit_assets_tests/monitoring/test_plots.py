"""The plot of default rates by band is a small PNG, for measured and estimated tables."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from credit_assets.monitoring.performance import performance_table
from credit_assets.monitoring.plots import default_rate_by_band
from credit_assets.settings.performance import PerformanceConfig


@pytest.mark.parametrize("known", [True, False])
def test_small_plot_is_drawn(known: bool) -> None:
    rng = np.random.default_rng(1)
    pds = rng.beta(2, 20, 2000)
    rows = pd.DataFrame({"applicant": range(2000), "pd": pds, "band": np.where(pds > 0.1, "B", "A")})
    rows["outcome"] = (rng.random(2000) < pds) * 1.0 if known else np.nan

    png = default_rate_by_band(performance_table(rows, 1, PerformanceConfig(draws=100)))

    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == (450, 270)
    assert len(png) < 30_000

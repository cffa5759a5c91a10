"""Plots are PNGs of the documented size, small enough for an event log, whatever the data."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from credit_assets.evaluation import plots
from credit_assets.statistics.metrics import evaluate, wilson


def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    pds = 1 / (1 + np.exp(2.5 - rng.normal(size=n)))
    y = (rng.random(n) < pds).astype(int)
    y[:2] = 0, 1
    return y, pds


def pictures(y: np.ndarray, pds: np.ndarray) -> dict[str, bytes]:
    deciles = evaluate(y, pds, 0.1, n_bootstrap=1).deciles
    return {
        "roc": plots.roc(y, {"candidate": pds, "champion": 1 - pds}),
        "precision_recall": plots.precision_recall(y, {"candidate": pds, "champion": 1 - pds}),
        "calibration": plots.calibration(deciles),
        "score_distribution": plots.score_distribution(y, pds, 0.1),
        "gains": plots.gains(deciles),
    }


@pytest.mark.parametrize("n", [2, 300, 20_000])
def test_plots_are_small_pngs(n: int) -> None:
    for name, png in pictures(*drawn(n)).items():
        assert Image.open(io.BytesIO(png)).size == (500, 380), name
        assert len(png) < 40_000, name


def over_time(batches: int, rows: int) -> dict[str, bytes]:
    names = [f"{2007 + n // 4}-Q{n % 4 + 1}" for n in range(batches)]
    rates = np.linspace(0.25, 0.1, batches)
    folds = np.array(["learned from", "held out", "test"])[np.arange(batches) * 3 // batches]
    table = pd.DataFrame({"batch": names, "fold": folds, "default_rate": rates})
    low, high = wilson(rates * rows, np.full(batches, rows))
    table = table.assign(default_rate_low=low, default_rate_high=high, mean_pd=np.where(folds == "test", rates, np.nan))
    months = np.arange(40)
    curves = [pd.DataFrame({"batch": name, "months_on_book": months, "loans": rows}) for name in names]
    curves = [curve.assign(defaulted=rate * months / 40) for curve, rate in zip(curves, rates, strict=True)]
    return {
        "default_rate_by_batch": plots.default_rate_by_batch(table),
        "vintage_curves": plots.vintage_curves(pd.concat(curves)),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("batches", "rows"), [(2, 30), (15, 3000), (120, 500)])
def test_plots_over_time_are_small_pngs_of_few_and_many_batches(batches: int, rows: int) -> None:
    for name, png in over_time(batches, rows).items():
        assert Image.open(io.BytesIO(png)).size == (500, 380), name
        assert len(png) < 40_000, name


def test_plots_work_with_a_single_pd_for_all() -> None:
    y = np.array([0, 1, 0, 0])
    assert all(png.startswith(b"\x89PNG") for png in pictures(y, np.full(4, 0.08)).values())


def test_same_data_give_the_same_bytes() -> None:
    y, pds = drawn(300)
    assert plots.score_distribution(y, pds, 0.1) == plots.score_distribution(y, pds, 0.1)

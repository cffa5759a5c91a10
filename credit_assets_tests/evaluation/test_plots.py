"""The pictures are PNGs of the promised size, small enough for an event log, whatever the data."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from credit_assets.evaluation import plots
from credit_assets.evaluation.metrics import evaluate


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
def test_pictures_are_small_pngs(n: int) -> None:
    for name, png in pictures(*drawn(n)).items():
        assert Image.open(io.BytesIO(png)).size == (500, 380), name
        assert len(png) < 40_000, name


def test_one_pd_for_everybody_still_makes_pictures() -> None:
    y = np.array([0, 1, 0, 0])
    assert all(png.startswith(b"\x89PNG") for png in pictures(y, np.full(4, 0.08)).values())


def test_the_same_data_make_the_same_bytes() -> None:
    y, pds = drawn(300)
    assert plots.score_distribution(y, pds, 0.1) == plots.score_distribution(y, pds, 0.1)

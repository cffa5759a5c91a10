"""The plots of a history are drawn, and small, whatever has happened. Their legibility is judged by eye."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from credit_assets.history import plots
from credit_assets.schemas.history import ChampionHistory, Timeline

RED, BLUE = (192, 57, 43), (31, 78, 121)


def history_of(batches: int, moves: tuple[str, ...] = ()) -> pd.DataFrame:
    """Deliveries a day apart, each shifted and measured; and champion changes after all of them."""
    facts: list[dict] = []
    for place in range(batches):
        at, batch = pd.Timestamp("2026-01-01") + pd.Timedelta(days=place), f"{2026 + place // 12}-{place % 12 + 1:02}"
        about = {"at": at, "batch": batch, "model_version": 1}
        facts += [
            about | {"kind": "delivery", "value": 100.0},
            about | {"kind": "drift", "measure": "features shifted", "verdict": "stable", "value": 0.0},
            about | {"kind": "drift", "measure": "score PSI", "verdict": "moderate", "value": 0.2},
            about | {"kind": "performance", "value": 0.7, "low": 0.6, "high": 0.8},
        ]
    at = pd.Timestamp("2026-01-01") + pd.Timedelta(days=batches)
    facts += [{"at": at, "kind": kind, "model_version": number} for number, kind in enumerate(moves, 1)]
    return pd.DataFrame(facts, columns=list(Timeline.to_schema().columns)).astype({"model_version": "Int64"})


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def painted(png: bytes, colour: tuple[int, int, int]) -> int:
    return int((np.abs(pixels(png).astype(int) - colour).max(axis=2) < 12).sum())


@pytest.mark.parametrize("batches", [0, 1, 14, 100])
def test_history_of_any_length_is_one_small_plot(batches: int) -> None:
    png = plots.timeline_plot(history_of(batches).assign(synthetic=False), "A book")
    assert pixels(png).shape == (450, 990, 3)
    assert len(png) < 40_000


def test_synthetic_data_is_marked_in_red() -> None:
    told = history_of(2)
    real, synthetic = (plots.timeline_plot(told.assign(synthetic=generated), "A book") for generated in (False, True))
    assert painted(synthetic, RED) > painted(real, RED)


def test_rollback_is_drawn_beside_the_promotions() -> None:
    promoted = plots.timeline_plot(history_of(3, ("promotion",)).assign(synthetic=False), "A book")
    taken_back = plots.timeline_plot(history_of(3, ("promotion", "rollback")).assign(synthetic=False), "A book")
    assert painted(taken_back, RED) > painted(promoted, RED) + 100


@pytest.mark.parametrize("versions", [[], [1], [1, 2, 1]])
def test_champions_are_drawn_however_few_there_are(versions: list[int]) -> None:
    history = pd.DataFrame(
        {
            "version": pd.array(versions, dtype="int64"),
            "replaced": pd.array([None, *versions][: len(versions)], dtype="Int64"),
            "decided_from": pd.date_range("2026-01-01", periods=len(versions)),
            "synthetic": True,
        }
    )
    assert set(history) <= set(ChampionHistory.to_schema().columns)
    png = plots.champions(history, "Champions")
    assert pixels(png).shape == (234, 450, 3)
    assert (painted(png, BLUE) > 0) == bool(versions)

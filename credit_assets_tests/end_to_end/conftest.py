"""The two years that several files look at: one undisturbed, one with kills, lived at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from credit_assets_tests.end_to_end.year import Lived

KILLS, SEED = 30, 20


@dataclass(frozen=True)
class Years:
    made: Path
    ordinary: Lived
    killed: Lived


@pytest.fixture(scope="session")
def years(tmp_path_factory: pytest.TempPathFactory) -> Years:
    # Not above: the other tests of this folder need no daemon.
    from credit_assets_tests.end_to_end.year import Killer, live, make_deliveries

    folder = tmp_path_factory.mktemp("years")
    made = make_deliveries(folder / "made")
    with ThreadPoolExecutor(2) as both:
        ordinary = both.submit(live, folder / "ordinary", made)
        killed = both.submit(live, folder / "killed", made, Killer(SEED, KILLS))
        return Years(made, ordinary.result(), killed.result())

"""Fixtures that several rooms share: where the real data are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real public credit data; the test skips where it is not at hand."""
    folder = Path(os.environ.get("CREDIT_ASSETS_REAL_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "home_credit").is_dir():
        pytest.skip(f"real data not found at {folder}; set CREDIT_ASSETS_REAL_DATA to its folder")
    return folder

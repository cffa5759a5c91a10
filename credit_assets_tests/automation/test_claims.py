"""Work that is done once for all portfolios is claimed by one of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from credit_assets.automation.claims import LAPSES_AFTER_INTERVALS, SHORTEST_CLAIM_S, Claims
from credit_assets.settings.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_claim_is_held_while_renewed_and_lapses_otherwise(project):
    one, two = (Claims(project, name, 100) for name in ("one", "two"))
    lapse = LAPSES_AFTER_INTERVALS * 100
    assert one.claim("disk", 0)
    assert not two.claim("disk", lapse)
    assert one.claim("disk", lapse)
    assert not two.claim("disk", 2 * lapse)
    assert two.claim("disk", 2 * lapse + 1)
    assert not one.claim("disk", 2 * lapse + 2)


def test_claim_with_short_interval_outlasts_a_late_poll(project):
    assert Claims(project, "one", 1).claim("disk", 0)
    assert not Claims(project, "two", 1).claim("disk", SHORTEST_CLAIM_S)


def test_higher_rank_takes_over_a_claim_but_equal_rank_does_not(project):
    one, two = (Claims(project, name, 30) for name in ("one", "two"))
    assert one.claim("disk", 0)
    assert two.claim("disk", 1, rank=1)
    assert not one.claim("disk", 2, rank=1)
    assert not one.claim("disk", 2)


def test_claim_can_be_released_by_its_holder_only(project):
    one, two = (Claims(project, name, 30) for name in ("one", "two"))
    assert one.claim("disk", 0)
    two.release("disk")
    assert not two.claim("disk", 1)
    one.release("disk")
    assert two.claim("disk", 1)


def test_claims_of_different_work_are_independent(project):
    assert Claims(project, "one", 30).claim("disk", 0)
    assert Claims(project, "two", 30).claim("memory", 0)


def test_concurrent_claims_succeed_once(project):
    claims = [Claims(project, f"book {n}", 30) for n in range(12)]
    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(lambda each: each.claim("disk", 0), claims)) == 1

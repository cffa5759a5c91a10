"""Work that is done once for all portfolios is claimed by one of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from credit_assets.automation.claims import LAPSES_AFTER_INTERVALS, LEAST_S, Claims
from credit_assets.settings.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_first_has_it_for_as_long_as_it_comes_back(project):
    one, two = (Claims(project, name, 100) for name in ("one", "two"))
    lapse = LAPSES_AFTER_INTERVALS * 100
    assert one.claim("disk", 0)
    assert not two.claim("disk", lapse)
    assert one.claim("disk", lapse)
    assert not two.claim("disk", 2 * lapse)
    assert two.claim("disk", 2 * lapse + 1)
    assert not one.claim("disk", 2 * lapse + 2)


def test_a_claim_outlasts_a_late_poll_of_a_short_interval(project):
    assert Claims(project, "one", 1).claim("disk", 0)
    assert not Claims(project, "two", 1).claim("disk", LEAST_S)


def test_a_higher_rank_takes_it_and_an_equal_one_does_not(project):
    one, two = (Claims(project, name, 30) for name in ("one", "two"))
    assert one.claim("disk", 0)
    assert two.claim("disk", 1, rank=1)
    assert not one.claim("disk", 2, rank=1)
    assert not one.claim("disk", 2)


def test_what_is_released_is_anybodys_and_nobody_releases_anothers(project):
    one, two = (Claims(project, name, 30) for name in ("one", "two"))
    assert one.claim("disk", 0)
    two.release("disk")
    assert not two.claim("disk", 1)
    one.release("disk")
    assert two.claim("disk", 1)


def test_each_work_is_claimed_by_itself(project):
    assert Claims(project, "one", 30).claim("disk", 0)
    assert Claims(project, "two", 30).claim("memory", 0)


def test_of_many_that_come_at_once_one_has_it(project):
    claims = [Claims(project, f"book {n}", 30) for n in range(12)]
    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(lambda each: each.claim("disk", 0), claims)) == 1

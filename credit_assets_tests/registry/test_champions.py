"""What follows from a history of champions: which version a rollback selects, and which never."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.registry.champions import ChampionEvent, ChangedBy, predecessor_of, rolled_back

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def events(moves: list[tuple[int, ChangedBy]]) -> list[ChampionEvent]:
    """A history of (version, by)."""
    replaced = [None, *(version for version, _ in moves)]
    return [
        ChampionEvent(number, version, LONG_AGO, by, "", None, before)
        for number, ((version, by), before) in enumerate(zip(moves, replaced, strict=False), 1)
    ]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([], None),
        ([(1, "gate")], None),
        ([(1, "gate"), (2, "gate")], 1),
        ([(1, "gate"), (2, "gate"), (1, "rollback"), (3, "gate")], 1),
        ([(1, "gate"), (2, "gate"), (3, "gate"), (2, "rollback")], 1),
        ([(1, "gate"), (2, "gate"), (1, "rollback"), (3, "gate"), (4, "gate"), (3, "rollback")], 1),
        ([(1, "gate"), (2, "gate"), (1, "rollback"), (2, "hand")], 1),
        ([(1, "gate"), (2, "gate"), (1, "rollback"), (2, "hand"), (3, "gate")], 2),
    ],
)
def test_predecessor_is_an_earlier_champion_that_was_not_found_worse(moves, expected) -> None:
    assert predecessor_of(events(moves), range(9)) == expected


def test_deleted_version_is_no_rollback_target() -> None:
    moves = [(1, "gate"), (2, "gate"), (3, "gate")]
    assert predecessor_of(events(moves), {1, 2, 3}) == 2
    assert predecessor_of(events(moves), {1, 3}) == 1
    assert predecessor_of(events(moves), {3}) is None


@given(st.lists(st.sampled_from(["train", "back", "hand"]), max_size=30), st.data())
def test_repeated_rollbacks_end_and_never_select_a_version_known_to_be_worse(steps, data) -> None:
    moves: list[tuple[int, ChangedBy]] = [(1, "gate")]
    trained = 1

    def back() -> int | None:
        history = events(moves)
        to = predecessor_of(history, range(99))
        if to is not None:
            assert to < history[-1].version
            assert to not in rolled_back(history)
            moves.append((to, "rollback"))
        return to

    for step in steps:
        if step == "train":
            trained += 1
            moves.append((trained, "gate"))
        elif step == "back":
            back()
        elif (number := data.draw(st.integers(1, trained))) != moves[-1][0]:
            moves.append((number, "hand"))
    seen = []
    while (to := back()) is not None:
        seen.append(to)
    assert seen == sorted(set(seen), reverse=True)

"""Promotions by hand, in MLflow and in memory: required approvals, what is recorded, and what the gate and a rollback
may do afterwards. `test_contract.py` tests the rest of a registry.
"""

from __future__ import annotations

from typing import Any

import pytest

from credit_assets.registry.errors import PromotionRefused, RegistryError
from credit_assets.registry.moves import APPROVAL
from credit_assets.registry.tags import CHAMPION, PREVIOUS
from credit_assets_tests.registry.conftest import Book


def override(book: Book, number: int, by: str, why: str = "it is needed", approvals: int = 1, **more: Any) -> str:
    return str(book.registry.override(number, by=by, why=why, approvals=approvals, **more))


def test_manual_promotion_is_recorded_as_an_override_with_who_why_and_the_gate_result(book: Book) -> None:
    book.promote(1)
    book.registry.log_gate(2, "It was refused by the gate. AUC 0.6 is below 0.65.", passed=False)
    done = override(book, 2, " Ann  Smith ", "the test month was odd.", dagster_runs=["run", "root"])
    assert done == "Version 2 is promoted by hand, approved by Ann Smith."
    event = book.history()[-1]
    assert (event.version, event.by, event.replaced, event.run_id, event.is_rollback) == (
        2,
        "override",
        1,
        "run",
        False,
    )
    assert event.why == (
        "Promoted by hand. Ann Smith: the test month was odd. It was refused by the gate. AUC 0.6 is below 0.65."
    )
    assert book.aliases() == {CHAMPION: 2, PREVIOUS: 1}


def test_four_eyes_approval_requires_two_different_persons(book: Book) -> None:
    book.promote(1)
    for by in ("Ann Zoë", "ann  zoe\u0308", "A\u200bnn\u00a0ZOË", "\uff21nn Zoe\u0308", " ANN ZOË "):
        waiting = override(book, 3, by, approvals=2)
        assert waiting.startswith("Version 3 is approved by") and "once one other person approves too" in waiting
        assert book.versions() == [1]
    # An approval of another version does not count.
    assert "approved by Bob. It is promoted once" in override(book, 2, "Bob", approvals=2)
    assert book.registry.approvals_with(3, "Bob") == ["ANN ZOË", "Bob"]
    assert override(book, 3, "Bob", "I looked too", approvals=2).endswith("approved by ANN ZOË and Bob.")
    assert book.versions() == [1, 3]
    assert "ANN ZOË: it is needed; Bob: I looked too." in book.history()[-1].why


def test_approval_lapses_when_the_champion_changes(book: Book) -> None:
    book.promote(1)
    override(book, 3, "Ann", approvals=2)
    book.promote(2)
    assert "It is promoted once one other person" in override(book, 3, "Bob", approvals=2)
    assert book.versions() == [1, 2]


@pytest.mark.parametrize(
    ("number", "by", "why", "said"),
    [
        (2, " ", "so", "needs the name of the approver"),
        (2, "\u200b", "so", "needs the name of the approver"),
        (2, "Ann", " ", "and the reason"),
        (1, "Ann", "so", "Version 1 of .* is the champion already"),
        (4, "Ann", "so", r"has no drift_reference\.parquet"),
    ],
)
def test_missing_requirement_of_a_manual_promotion_is_named(
    book: Book, number: int, by: str, why: str, said: str
) -> None:
    book.promote(1)
    book.add(gated=False)
    with pytest.raises(PromotionRefused, match=said):
        override(book, number, by, why)
    with pytest.raises(RegistryError, match="no version 99"):
        override(book, 99, "Ann")
    assert book.versions() == [1]
    assert not [tag for tag in book.tags() if tag.startswith(APPROVAL)]


def test_rollback_does_not_bypass_the_approvals(book: Book) -> None:
    book.promote(1)
    book.registry.log_gate(3, "It was refused by the gate. AUC 0.6 is below 0.65.", passed=False)
    override(book, 3, "Ann", approvals=2)
    with pytest.raises(PromotionRefused, match=r"Version 3 .* never passed the gate\. .*credit-assets promote"):
        book.roll_back(to_version=3, by="hand")
    override(book, 3, "Bob", approvals=2)
    book.promote(2)
    assert book.roll_back(to_version=3, by="hand") == 3


def test_retried_run_overrides_once(book: Book) -> None:
    book.promote(1)
    override(book, 2, "Ann", dagster_runs=["first"])
    assert override(book, 2, "Ann", dagster_runs=["second", "first"]) == "Version 2 is promoted by hand."
    assert book.versions() == [1, 2]


def test_gate_does_not_undo_an_override_but_promotes_a_new_candidate(book: Book) -> None:
    book.promote(1)
    book.promote(3)
    override(book, 2, "Ann", "3 declines too many")
    with pytest.raises(PromotionRefused, match=r"Version 3 .* was replaced by hand at .*3 declines too many"):
        book.promote(3)
    book.add()
    book.promote(4)
    assert book.versions() == [1, 3, 2, 4]
    # Promoted again by hand, it is a champion like any other.
    override(book, 3, "Bob")
    book.promote(4, by="override")
    assert book.versions()[-2:] == [3, 4]


def test_overridden_champion_is_a_valid_rollback_target(book: Book) -> None:
    book.promote(1)
    override(book, 2, "Ann")
    assert book.registry.predecessor() == 1
    assert book.roll_back() == 1

"""How the champion changes, without Dagster. The asset `champion` has its own tests."""

from __future__ import annotations

import pandas as pd
import pytest

from credit_assets.book.book import Book
from credit_assets.registry.memory import Memory
from credit_assets.scoring.champion_moves import NoChampionYet, kept_champion, promote_by_hand, reasons_of_promotion
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.bare_versions import register_bare
from credit_assets_tests.conftest import PROJECT

PORTFOLIO = Portfolio.load(Project(PROJECT), "home_credit")


@pytest.mark.parametrize(
    ("requested", "why"),
    [
        ("", "It passed the gate. AUC 0.7. There is no champion."),
        ("features_stable failed", "features_stable failed. It passed the gate. AUC 0.7. There is no champion."),
    ],
)
def test_promotion_states_why_the_training_was_requested_and_the_gate_result(requested: str, why: str) -> None:
    words = {
        "discrimination": "AUC 0.7",
        "calibration": "ECE 0.01.",
        "not_worse_than_champion": "There is no champion.",
    }
    gate = pd.DataFrame({"verdict": list(words), "words": list(words.values())})
    assert reasons_of_promotion(gate, requested) == why


def test_nobody_decides_while_approvals_of_a_first_champion_are_missing() -> None:
    two = PORTFOLIO.promotion.model_copy(update={"approvals": 2})
    portfolio = PORTFOLIO.model_copy(update={"promotion": two})
    book = Book(Project(PROJECT), portfolio, registry=Memory().registry(PORTFOLIO.name))
    number = register_bare(book.registry)
    with pytest.raises(NoChampionYet, match=r"Until then there is no champion\.") as missing:
        promote_by_hand(book, number, "Ann Smith", "the test month was odd", ["first"])
    assert missing.value.override.missing == 1
    decides, done = promote_by_hand(book, number, "Bob Jones", "checked it", ["second"])
    assert (decides.number, done.missing) == (number, 0)


def test_candidate_without_repeated_trainings_may_become_champion() -> None:
    registry = Memory().registry(PORTFOLIO.name)
    assert kept_champion(registry, register_bare(registry), ["run"]) is None
    assert kept_champion(registry, 9, ["run"]) is None

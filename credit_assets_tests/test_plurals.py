"""Singular and plural in messages."""

from __future__ import annotations

import pytest

from credit_assets.plurals import are, number_of


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (1, "batch", "1 batch"),
        (2, "batch", "2 batches"),
        (1234, "delivery", "1,234 deliveries"),
        (3, "day", "3 days"),
        (2, "index", "2 indexes"),
    ],
)
def test_number_and_noun_agree(number: int, noun: str, said: str) -> None:
    assert number_of(number, noun) == said


def test_verb_agrees_with_the_number() -> None:
    assert [are(number) for number in (0, 1, 2)] == ["are", "is", "are"]

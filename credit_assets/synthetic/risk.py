"""The hidden causes of default: an applicant's traits, the outcome, and the named drift scenarios. The tables, which
show these traits with noise, are drawn in the neighbouring modules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_assets.synthetic.draws import sigmoid
from credit_assets.synthetic.scenarios import SCENARIOS

INFLATION = 1.5
CHANNEL_SHARE = 0.6

INTERCEPT = -3.27
ABILITY_WEIGHT, DISCIPLINE_WEIGHT, DEBT_WEIGHT = 1.05, 0.80, 0.60
REVERSED_SCORE_WEIGHT = 1.3


@dataclass(frozen=True)
class Traits:
    """Hidden traits of applicants, each roughly standard normal; higher is riskier.

    `ability` affects the external scores, `discipline` (the lack of it) late payments, and `debt` the number, age and
    size of running credits, refusals and enquiries. `channel` marks applicants of the new channel.
    """

    age: np.ndarray  # standard normal; low is young
    male: np.ndarray
    channel: np.ndarray
    ability: np.ndarray
    discipline: np.ndarray
    debt: np.ndarray


def check_scenario(scenario: dict[str, str], batches: list[str]) -> None:
    """Raise ValueError for an unknown scenario or a batch that will not be generated."""
    for batch, name in scenario.items():
        if name not in SCENARIOS:
            raise ValueError(f"unknown scenario {name!r} for batch {batch}; known: {', '.join(sorted(SCENARIOS))}")
        if batch not in batches:
            raise ValueError(f"scenario {name!r} names batch {batch}, but the batches are {', '.join(batches)}")


def draw_traits(rng: np.random.Generator, size: int, scenario: str | None) -> Traits:
    age = rng.standard_normal(size)
    gender = rng.random(size)
    ability, discipline, debt = rng.standard_normal((3, size))
    channel = rng.random(size) < CHANNEL_SHARE
    young = rng.random(size)
    if scenario == "younger_channel":
        age = np.where(channel, -2.3 + 1.5 * young, age)
    else:
        channel = np.zeros(size, dtype=bool)
    # Above z = 0.8 (about 55 years) most applicants are retired women.
    male = gender < np.where(age > 0.8, 0.21, 0.378)
    return Traits(
        age=age,
        male=male,
        channel=channel,
        ability=0.97 * ability + 0.17 * (male - 0.34) - 0.14 * age + 0.55 * channel,
        discipline=0.98 * discipline + 0.15 * (male - 0.34) - 0.07 * age,
        debt=0.99 * debt + 0.08 * (male - 0.34) - 0.05 * age + 0.4 * channel,
    )


def draw_outcomes(
    rng: np.random.Generator, traits: Traits, terms: np.ndarray, score_2: np.ndarray, scenario: str | None
) -> np.ndarray:
    """Who defaults (int8, 1 = default), drawn from the log-odds.

    `terms` are the log-odds of the application itself (job, education, region, loan terms), `score_2` is the standard
    normal behind EXT_SOURCE_2, whose effect the concept change reverses.
    """
    odds = (
        INTERCEPT
        + ABILITY_WEIGHT * traits.ability
        + DISCIPLINE_WEIGHT * traits.discipline
        + DEBT_WEIGHT * traits.debt
        + terms
    )
    if scenario == "concept_change":
        odds = odds + REVERSED_SCORE_WEIGHT * score_2
    return (rng.random(len(odds)) < sigmoid(odds)).astype(np.int8)
